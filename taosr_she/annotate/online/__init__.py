"""People beside a running training: it asks them about its own rollouts and prefers their verdicts from then on.

`online` is the examiner's human side, and the listener that the training loop tells about every update. `questions`
chooses what to ask by the policies of the queue, and `ledger` knows which questions are open. `record` keeps what was
asked and heard at every update, so that a killed run repeats itself exactly. `said` is what an answer says beyond the
text it judges. `simulated` are people of the market, who answer through the same store. `config` has the settings.
"""
