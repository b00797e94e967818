"""The glossary of the report, in plain English. Names of metrics in the tables link to it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One entry; `key` is the target of links."""

    key: str
    name: str
    text: str


GLOSSARY: tuple[tuple[str, tuple[Term, ...]], ...] = (
    (
        "Labels",
        (
            Term(
                "macro_f1", "Macro-F1",
                "Mean of the F1 scores of all grades that occur; rare grades count as much as frequent ones. "
                "F1 is the harmonic mean of precision (the share of the pairs given a grade that have it) and recall "
                "(the share of the pairs with a grade that were given it). This metric decides between models.",
            ),
            Term(
                "good_f1", "Good F1",
                "F1 of the yes-or-no question whether a product is a good result: whether it has one of the grades "
                "that the domain counts as good.",
            ),
            Term(
                "accuracy", "Accuracy",
                "Share of pairs that got the right label. A malformed response counts as wrong.",
            ),
            Term(
                "qwk", "QWK, quadratic weighted kappa",
                "Agreement with the true grades beyond chance, in which an error of two grades weighs four times as "
                "much as one of one grade: 1 is always right, 0 no better than the same answers in random order. "
                "Only for scales of three grades or more. A malformed response counts as the grade farthest from the "
                "true one.",
            ),
            Term(
                "grade_error", "Mean grade error",
                "Mean distance between the answer and the true grade, in grades. Malformed responses count as for QWK.",
            ),
            Term(
                "tier_macro_f1", "Macro-F1 of tiers",
                "Macro-F1 over the domain's tiers, such as good, mid and bad, instead of its grades. The tier of a "
                "pair is the best one whose probability, summed from the best grade downwards, reaches one threshold.",
            ),
            Term(
                "labels_given", "Predicted labels",
                "Distribution of the answers over the grades, to be compared with the true distribution. A model that "
                "gives one grade to nearly every pair has given up the others.",
            ),
            Term(
                "label_entropy", "Entropy of the predicted labels",
                "How evenly the answers are distributed over the grades, in nats: 0 if all are equal. It should be "
                "close to the entropy of the true grades.",
            ),
            Term(
                "person_person", "Person against person",
                "Agreement of two people who graded the same pairs: each one is scored against each other one like a "
                "model, and the mean is taken. A model can be expected to reach this.",
            ),
            Term(
                "person_final", "Person against final grade",
                "Agreement of single people with the grade that counts as true. That grade is derived from the same "
                "people's grades, so this value is too high.",
            ),
            Term(
                "malformed", "Malformed",
                "Share of responses that break the response format (a section is missing, repeated or in the wrong "
                "place, or there is no label). They have no label and count as wrong. A baseline writes no response, "
                "so it cannot be malformed.",
            ),
            Term(
                "ece", "ECE, expected calibration error",
                "Mean difference between the stated probability of being right and the actual share that is right, "
                "over ten bins of the probability. At 0, a stated 80% is right in 80 of 100 cases. For a model, it "
                "is about the probability of its most probable grade; for a GSRM, about the probability that a step "
                "is right. On a small test set it is too high.",
            ),
            Term(
                "majority", "Majority",
                "Baseline: always the most frequent grade of the training pairs.",
            ),
            Term(
                "tfidf", "TF-IDF",
                "Baseline: logistic regression on the weighted words of query and product. It learns in seconds "
                "and writes no reasoning.",
            ),
            Term(
                "minilm", "MiniLM",
                "Baseline: logistic regression on the embeddings by a small pretrained encoder of query and "
                "product.",
            ),
            Term(
                "cross_encoder", "Cross-encoder",
                "Baseline: the same small encoder, with query and product as one input, fine-tuned for the grades.",
            ),
        ),
    ),
    (
        "Reasoning",
        (
            Term(
                "step", "Step",
                "One named part of a response: what is asked, what the product is, category, attributes, label. "
                "The number shown for a step is the share of its known verdicts that are right.",
            ),
            Term(
                "verdict", "Verdict",
                "The examiner's result for one step: the probability that it is right (below one half, the step "
                "counts as wrong), or unknown. Its source is a person, a program, a GSRM, a scalar reward model or "
                "the outcome.",
            ),
            Term(
                "steps_all_right", "All steps right",
                "Share of responses in which every step is right, including the label, among those in which every "
                "step has a verdict.",
            ),
            Term(
                "right_label_wrong_reasoning", "Right label, wrong reasoning",
                "Share of responses that end in the right label although an earlier step is wrong: lucky answers, "
                "which a reward for the label alone reinforces.",
            ),
            Term(
                "wrong_label_right_reasoning", "Wrong label, right reasoning",
                "Share of responses with a wrong label although all earlier steps are right: sound reasoning, which "
                "a reward for the label alone punishes.",
            ),
            Term(
                "no_known_error", "No known error",
                "Share of responses without any step known to be wrong, the label included, among those in which an "
                "earlier step than the label has a verdict. Unknown steps may be wrong, so it is an upper bound.",
            ),
            Term(
                "right_label_known_error", "Right label, known error",
                "Share of responses that end in the right label although an earlier step is known to be wrong, among "
                "those in which an earlier step has a verdict. A lower bound.",
            ),
            Term(
                "first_error", "First error",
                "The first wrong step of a response. Later steps may be wrong only because of it.",
            ),
        ),
    ),
    (
        "Training",
        (
            Term(
                "sft", "SFT, supervised fine-tuning",
                "The model learns to write given demonstrations, token by token. All other training starts from it.",
            ),
            Term(
                "rollout", "Rollout, group",
                "A response sampled in training, and all rollouts of one pair. Rollouts are compared within their "
                "group.",
            ),
            Term(
                "outcome", "Outcome",
                "1 if the response is well formed and ends in the human label, otherwise 0.",
            ),
            Term(
                "grpo", "GRPO, group relative policy optimisation",
                "Reinforcement learning that rewards a rollout by how far its outcome is above the mean of its "
                "group, equally on all its tokens (arXiv 2402.03300). Here, vanilla GRPO is the credit rule "
                "outcome.",
            ),
            Term(
                "srpo", "SRPO, stepwise reward policy optimisation",
                "GRPO with a reward on every step: the tokens of a step are rewarded for the outcome and for that "
                "step's own verdict (follows the abstract of arXiv 2510.07972, with documented choices).",
            ),
            Term(
                "credit", "Credit",
                "The rule that turns verdicts and outcome into the advantage of each token. The credit rule of a "
                "model is shown below its name.",
            ),
            Term(
                "advantage", "Advantage",
                "How strongly training makes a token more probable (positive) or less probable (negative). At zero, "
                "the token teaches nothing.",
            ),
            Term(
                "signal", "Signal",
                "A group has signal if any advantage in it is not zero. If all its rollouts are alike, it has none "
                "and is not trained on.",
            ),
            Term(
                "entropy", "Entropy",
                "How uncertain the model is about the next token, in nats. Near zero, it has stopped exploring.",
            ),
            Term(
                "kl", "KL",
                "How far the model has moved from its start, in nats per token.",
            ),
            Term(
                "dpo", "DPO, direct preference optimisation",
                "Training on pairs of a better and a worse response, without sampling (arXiv 2305.18290).",
            ),
            Term(
                "pass_rate", "Pass rate",
                "Share of a pair's rollouts with outcome 1: how easy the pair is for the model.",
            ),
        ),
    ),
    (
        "Who examines",
        (
            Term(
                "verifier", "Offline verifier",
                "Looks up the verdict on a step in stored annotations by people. Its hit rate is the share of "
                "responses for which it finds one.",
            ),
            Term(
                "gsrm", "GSRM",
                "Generative stepwise reward model: reads a response and writes a critique and a verdict for each "
                "step.",
            ),
            Term(
                "scalar", "Scalar model",
                "Control: one number for a whole response. It cannot say where the error is.",
            ),
            Term(
                "first_error_f1", "First-error F1",
                "Harmonic mean of two shares: flawed responses whose first error is named exactly, and faultless "
                "ones that pass (as in ProcessBench, arXiv 2412.06559). An examiner that always says the same has 0.",
            ),
            Term(
                "kappa", "κ, Cohen's kappa",
                "Agreement of two annotators beyond chance: 1 is perfect agreement, 0 is no more than chance.",
            ),
        ),
    ),
    (
        "Numbers",
        (
            Term(
                "interval", "95% interval",
                "The range in which the number would probably lie for other queries of the same kind, from "
                "resampling whole queries (bootstrap). It does not cover another training run; only several seeds "
                "do.",
            ),
            Term(
                "paired", "Paired comparison, p",
                "The difference between two models on the same pairs. Better and worse mean that its 95% interval "
                "excludes zero. p is how often chance alone would give such a large difference; it is not corrected "
                "for the number of rows.",
            ),
            Term(
                "best", "★",
                "The best value of a row. It does not mean that the difference is more than chance. It is not shown "
                "if more is neither better nor worse, as for length.",
            ),
            Term(
                "mean_tokens", "Tokens per response",
                "Mean length. A token is a piece of a word; neither more nor less is better.",
            ),
            Term(
                "tokens_per_second", "Tokens per second",
                "Speed of generation in the evaluation, on the machine of this run and with its other load. Compare "
                "models only if they were measured on a quiet machine.",
            ),
            Term(
                "pairs_per_second", "Pairs per second",
                "Speed of judging in the evaluation, from the text of a pair to its label, on the machine of this run. "
                "A row that ends in -label was judged in mode label: one pass over the prompt, and no response.",
            ),
        ),
    ),
)  # fmt: skip

TERMS = {term.key: term for _, terms in GLOSSARY for term in terms}


def term_of(metric: str) -> Term | None:
    """The entry that explains a metric, a column or a model; None where the name says it all."""
    for prefix in ("step_", "accuracy_"):
        if metric.startswith(prefix) and metric not in TERMS:
            return TERMS["step"]
    return TERMS.get(metric)
