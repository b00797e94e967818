"""The words of the report in plain English. Names of metrics in the tables lead here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One entry; `key` is what links point at."""

    key: str
    name: str
    text: str


GLOSSARY: tuple[tuple[str, tuple[Term, ...]], ...] = (
    (
        "Labels",
        (
            Term(
                "macro_f1", "Macro-F1",
                "F1 of every grade that occurs, averaged so that each grade counts the same however rare it is. "
                "F1 is the harmonic mean of precision (how many of the pairs given a grade have it) and recall "
                "(how many of the pairs with a grade were given it). It decides between models.",
            ),
            Term(
                "good_f1", "Good F1",
                "F1 of the yes-or-no question whether a product is a good result, that is, has one of the grades "
                "that the domain counts as good.",
            ),
            Term(
                "accuracy", "Accuracy",
                "Share of pairs that got the right label. A malformed response counts as wrong.",
            ),
            Term(
                "qwk", "QWK, quadratic weighted kappa",
                "Agreement with the true grades beyond what chance would give, where an error of two grades weighs "
                "four times one of one grade: 1 is always right, 0 no better than dealing the same answers at random. "
                "Only for scales of three grades or more. A malformed response counts as the grade farthest from the "
                "true one.",
            ),
            Term(
                "grade_error", "Mean grade error",
                "How many grades the answer lies from the true one, on average. Malformed responses count as for QWK.",
            ),
            Term(
                "labels_given", "Labels given",
                "How the answers are spread over the grades, to be compared with the true spread. A model that gives "
                "one grade to nearly everything has given up the others.",
            ),
            Term(
                "label_entropy", "Entropy of the labels given",
                "How evenly the answers are spread over the grades, in nats: 0 when all are alike. It should be near "
                "that of the true grades.",
            ),
            Term(
                "person_person", "Person against person",
                "How well two people agree who graded the same pairs: each is measured against each other one as a "
                "model would be, and the mean is taken. What a model can be expected to reach.",
            ),
            Term(
                "person_final", "Person against final grade",
                "How well single people agree with the grade that counts as true. That grade is made of what the "
                "people said, so this flatters them.",
            ),
            Term(
                "malformed", "Malformed",
                "Share of responses that do not keep to the form (a section missing, twice or in the wrong place, "
                "no label). They have no label and count as wrong. A baseline writes no response, so it cannot be "
                "malformed.",
            ),
            Term(
                "ece", "ECE, expected calibration error",
                "How far stated probabilities are from how often they hold, averaged over ten bins of the "
                "probability. 0: where it says 80%, it is right on 80 of 100. For a model, the probability of its "
                "most probable grade; for a GSRM, that a step is right. A small test set makes it look larger than "
                "it is.",
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
                "Baseline: logistic regression on the embeddings that a small pretrained encoder makes of query and "
                "product.",
            ),
            Term(
                "cross_encoder", "Cross-encoder",
                "Baseline: the same small encoder, reading query and product together and fine-tuned for the grades.",
            ),
        ),
    ),
    (
        "Reasoning",
        (
            Term(
                "step", "Step",
                "One named part of a response: what is asked, what the product is, category, attributes, label. "
                "The number of a step is the share of its known verdicts that are right.",
            ),
            Term(
                "verdict", "Verdict",
                "What the examiner says of one step: the probability that it is right, below one half an error, "
                "or unknown. Its source is a person, a program, a GSRM, a scalar model, or the outcome.",
            ),
            Term(
                "steps_all_right", "All steps right",
                "Share of responses whose every step is right, label included, among those whose every step has a "
                "verdict.",
            ),
            Term(
                "right_label_wrong_reasoning", "Right label, wrong reasoning",
                "Share of responses that end in the right label although a step before it is wrong: lucky "
                "answers, which a reward for the label alone pays.",
            ),
            Term(
                "wrong_label_right_reasoning", "Wrong label, right reasoning",
                "Share of responses whose steps are all right up to a wrong label: sound reasoning, which a "
                "reward for the label alone punishes.",
            ),
            Term(
                "first_error", "First error",
                "The first wrong step of a response. What follows from it is wrong for that reason.",
            ),
        ),
    ),
    (
        "Training",
        (
            Term(
                "sft", "SFT, supervised fine-tuning",
                "The model learns to write given demonstrations, word by word. The start of everything else.",
            ),
            Term(
                "rollout", "Rollout, group",
                "A response sampled in training, and all rollouts of one pair. Rollouts are compared within their "
                "group.",
            ),
            Term(
                "outcome", "Outcome",
                "1 if the response is well formed and ends in the label that people gave, else 0.",
            ),
            Term(
                "grpo", "GRPO, group relative policy optimisation",
                "Reinforcement learning that rewards a rollout by how much its outcome lies above the mean of its "
                "group, the same for each of its words (arXiv 2402.03300). Vanilla GRPO here is credit rule "
                "outcome.",
            ),
            Term(
                "srpo", "SRPO, stepwise reward policy optimisation",
                "GRPO with a reward on every step: the words of a step are paid for the outcome and for that "
                "step's own verdict (after the abstract of arXiv 2510.07972, with documented choices).",
            ),
            Term(
                "credit", "Credit",
                "How verdicts and outcome become the advantage of each word. The credit rule of a model stands "
                "under its name.",
            ),
            Term(
                "advantage", "Advantage",
                "How much more, or less, probable training makes a word. Zero: it learns nothing from it.",
            ),
            Term(
                "signal", "Signal",
                "A group has signal when some advantage in it is not zero. All rollouts alike give none, and are "
                "not trained on.",
            ),
            Term(
                "entropy", "Entropy",
                "How undecided the model is about the next word, in nats. Near zero it has stopped to try "
                "anything.",
            ),
            Term(
                "kl", "KL",
                "How far the model has moved from its start, in nats a word.",
            ),
            Term(
                "dpo", "DPO, direct preference optimisation",
                "Training on pairs of responses, the better before the worse, without sampling (arXiv "
                "2305.18290).",
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
                "Looks up what people said of a step in stored annotations. Its hit rate is the share of the "
                "responses where they said something.",
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
                "ones that pass (as ProcessBench, arXiv 2412.06559). Who always says the same has 0.",
            ),
            Term(
                "kappa", "κ, Cohen's kappa",
                "Agreement of two annotators beyond what chance would give: 1 is always, 0 no more than chance.",
            ),
        ),
    ),
    (
        "Numbers",
        (
            Term(
                "interval", "95% interval",
                "Where the number would probably lie for other queries of the same kind, from drawing whole "
                "queries again and again (bootstrap). It says nothing of another training run; only other seeds "
                "can.",
            ),
            Term(
                "paired", "Paired comparison, p",
                "The difference of two models on the very same pairs. Better and worse mean that its 95% interval "
                "leaves out zero. p is how often chance alone would give so large a difference; it is not "
                "corrected for the number of rows.",
            ),
            Term(
                "best", "★",
                "The best value of a row. It does not say that the difference is more than chance, and is not "
                "given where more is neither better nor worse, as for speed.",
            ),
            Term(
                "mean_tokens", "Tokens a response",
                "Mean length. A token is a piece of a word; neither more nor less is better.",
            ),
            Term(
                "tokens_per_second", "Tokens a second",
                "How fast the evaluation generated, on the machine of this run and with whatever else it was "
                "doing. It tells two models apart only where they were measured on a quiet machine.",
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
