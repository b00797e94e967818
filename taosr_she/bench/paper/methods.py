"""What is compared: one entry a method. All start from the same SFT checkpoint and train on the same pairs."""

from dataclasses import dataclass, field
from typing import Any, Literal

Group = Literal["main", "ablation", "noise"]
STEP_RULES = ("process", "pivot", "mask", "token_penalty", "min_form", "srpo")
"""Credit rules that read verdicts on steps."""
FLIPS = (0.1, 0.2, 0.4)
"""Shares of verdicts that are flipped; no verdict is added."""


@dataclass(frozen=True)
class Method:
    """One way to train from the SFT start."""

    title: str
    """Its row in the table."""
    what: str
    """One sentence: what differs from the other rows."""
    kind: Literal["none", "label_sft", "rejection", "dpo", "rl"] = "rl"
    """Kind of the stage; `none` is the SFT start itself."""
    group: Group = "main"
    """Which table it belongs to."""
    tuned_as: str = ""
    """The method whose tuned settings it takes; empty: its own."""
    against: str = ""
    """The row it is compared with in its table; empty: GRPO, or in the ablations the method of `tuned_as`."""
    credit: dict[str, Any] = field(default_factory=dict)
    """Credit options (rl)."""
    examination: Literal["none", "scalar_reward_model", "hybrid", "human_only", "gsrm_only"] = "none"
    """Who examines (rl). In a setting without a GSRM, `hybrid` means only the references."""
    select: Literal["", "by_both", "by_difficulty", "by_diversity"] = ""
    """The select stage whose pairs it trains on; empty: the whole training split."""
    curriculum: bool = False
    """With the stages of `settings.CURRICULUM`."""
    updates: int = 0
    """Updates (rl); 0: as many as every other row."""
    flip: float = 0.0
    """Share of the verdicts on reasoning steps that are flipped; the examiner is then the exact truth."""


def _rule(name: str, title: str, what: str) -> Method:
    return Method(title, what, credit={"rule": name}, examination="hybrid")


def _full(title: str, what: str, **changes: Any) -> Method:
    """The full system with something taken away or changed."""
    base: dict[str, Any] = {
        "credit": {"rule": "srpo"}, "examination": "hybrid", "select": "by_both", "curriculum": True,
        "group": "ablation", "tuned_as": "full",
    }  # fmt: skip
    return Method(title, what, **(base | changes))


def _srpo(title: str, what: str, **credit: Any) -> Method:
    """SRPO without selection and curriculum, with one option of the rule changed."""
    return Method(
        title, what, group="ablation", tuned_as="srpo", examination="hybrid", credit={"rule": "srpo"} | credit
    )


METHODS: dict[str, Method] = {
    "sft": Method("SFT (start)", "The demonstrations alone; every other row starts here.", kind="none"),
    "label_sft": Method(
        "SFT continued on labels", "Reads its own reasoning and learns the label of every pair.", kind="label_sft"
    ),
    "rejection": Method(
        "Rejection sampling", "SFT on its own responses that end in the right label.", kind="rejection"
    ),
    "dpo": Method("DPO", "Its own responses with the right label before those with a wrong one (TRL).", kind="dpo"),
    "grpo": Method("GRPO", "The outcome on every token: vanilla GRPO.", credit={"rule": "outcome"}),
    "scalar": Method(
        "GRPO + scalar reward model", "One score of a trained reward model on every token.",
        credit={"rule": "scalar"}, examination="scalar_reward_model",
    ),
    "process": _rule("process", "GRPO + process rewards", "Sum of the normalised step rewards from a step on."),
    "pivot": _rule("pivot", "pivot", "The outcome on the right prefix or the first error."),
    "mask": _rule("mask", "mask", "The outcome on the steps that agree with it."),
    "token_penalty": _rule("token_penalty", "token penalty", "The outcome less a penalty on wrong steps."),
    "min_form": _rule("min_form", "min form", "The least of the rewards from a step on."),
    "srpo": _rule("srpo", "SRPO", "The outcome plus the step's own advantage."),
    "full": _full("full system", "SRPO on diverse pairs, in order of difficulty.", group="main", tuned_as=""),
    "no_gsrm": _full("without GSRM", "Only people examine.", examination="human_only"),
    "no_verifier": _full("without verifier", "Only the GSRM examines.", examination="gsrm_only"),
    "no_difficulty": _full("without difficulty", "Pairs chosen by diversity alone; the curriculum without bands.",
                           select="by_diversity"),
    "no_diversity": _full("without diversity", "Pairs chosen by difficulty alone.", select="by_difficulty"),
    "no_curriculum": _full("without curriculum", "One stage with SRPO's own weights.", curriculum=False),
    "std": _srpo("SRPO, std", "Advantages over the group's standard deviation.", std=True),
    "after_outcome": _srpo("SRPO, outcome after error", "The outcome alone after the first error.",
                           after_error="outcome"),
    "after_negative": _srpo("SRPO, negative outcome after error", "The outcome after the first error when negative.",
                            after_error="negative_outcome"),
    "reached": _srpo("SRPO, baseline reached", "A step is compared among the rollouts that reached it.",
                     step_baseline="reached"),
    "half_steps": _srpo("SRPO, weights 1 and 0.5", "Half the weight on steps.", step_weight=0.5),
    "half_outcome": _srpo("SRPO, weights 0.5 and 1", "Half the weight on the outcome.",
                          outcome_weight=0.5, allow_step_heavy=True),
    "strict": _srpo("SRPO, flawed outcome 0", "A right label out of a wrong step earns nothing.", flawed_outcome=0.0),
    "grpo_long": Method("GRPO, 300 updates", "Three times the tokens: every training pair once.", group="ablation",
                        tuned_as="grpo", credit={"rule": "outcome"}, updates=300),
    "srpo_long": Method("SRPO, 300 updates", "Three times the tokens: every training pair once.", group="ablation",
                        tuned_as="srpo", against="grpo_long", credit={"rule": "srpo"}, examination="hybrid",
                        updates=300),
}  # fmt: skip
for _flip in (0.0, *FLIPS):
    for _name in STEP_RULES:
        METHODS[f"{_name}_flip{round(100 * _flip)}"] = Method(
            f"{METHODS[_name].title}, {_flip:.0%} flipped", f"Exact verdicts, {_flip:.0%} of them flipped.",
            group="noise", tuned_as=_name, credit={"rule": _name}, examination="human_only", flip=_flip,
        )  # fmt: skip


CLASSIC = {
    "majority": ("Majority label", "The commonest label of the training pairs, always."),
    "tfidf": ("TF-IDF", "Logistic regression on words of query and product, on the labels of the training pairs."),
}
"""Models that read labels alone, measured beside the SFT start: key -> title, what it is."""


def group(name: Group) -> tuple[str, ...]:
    """Keys of the methods of one table, in order."""
    return tuple(key for key, method in METHODS.items() if method.group == name)
