"""What is compared on real pairs: one entry per row of the table."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class RealRow:
    """One way to judge the pairs."""

    title: str
    """Title of its row in the table."""
    what: str
    """One sentence: how it differs from the other rows."""
    kind: Literal["classic", "zero", "labels", "first", "student", "sft", "dpo", "rl"]
    """`classic`: a baseline of the evaluation. `zero` and `labels`: the model without reasoning, before and after
    training. `first`: SFT with the label before the steps. `student`: distilled from a model that reasons. The others:
    stage kinds."""
    credit: dict[str, Any] = field(default_factory=dict)
    """Credit options (rl)."""
    own: dict[str, Any] = field(default_factory=dict)
    """Options of its own instead of those that all rows share (rl)."""
    temperature: float | None = None
    """Temperature of rollouts of its own (rl)."""
    gsrm: bool = False
    """Whether a GSRM examines the steps that nobody knows (rl)."""
    selected: bool = False
    """Whether it trains on diverse pairs, in order of difficulty (rl)."""


IN_ONE_PASS = ("zero", "labels", "first", "student")
"""Kinds of rows of a language model whose label is read without a response."""

ROWS: dict[str, RealRow] = {
    "majority": RealRow("Majority label", "The most frequent label of the training pairs.", "classic"),
    "tfidf": RealRow("TF-IDF", "Logistic regression on words of query and product.", "classic"),
    "minilm": RealRow("MiniLM", "Logistic regression on MiniLM's embeddings of query and product.", "classic"),
    "cross_encoder": RealRow("Cross-encoder", "MiniLM on query and product together, fine-tuned.", "classic"),
    "zero": RealRow("SmolLM2, zero-shot", "No training; the prompt names grades and rules.", "zero"),
    "labels": RealRow("SmolLM2, labels alone", "SFT on labels and made-up queries, without reasoning.", "labels"),
    "sft": RealRow("SFT", "Continued from there on demonstrations of the steps; every row below starts here.", "sft"),
    "dpo": RealRow("DPO", "Prefers the model's own responses with the right label to those with a wrong one.", "dpo"),
    "grpo": RealRow("GRPO", "The outcome on every token.", "rl", credit={"rule": "outcome"}),
    "grpo_own": RealRow("GRPO, its own setting", "At temperature 1, with the label as outcome: on the development fold "
                        "better for GRPO, as the shared setting is for SRPO.", "rl", credit={"rule": "outcome"},
                        own={"outcome_by": "label"}, temperature=1.0),
    "process": RealRow("GRPO + process rewards", "Sum of the normalised step rewards from this step on.", "rl",
                       credit={"rule": "process"}),
    "srpo": RealRow("SRPO", "The outcome plus the step's own advantage; verdicts from people and a program.", "rl",
                    credit={"rule": "srpo"}),
    "hybrid": RealRow("SRPO, hybrid", "The same, and a GSRM where neither people nor the program know.", "rl",
                      credit={"rule": "srpo"}, gsrm=True),
    "full": RealRow("Full system", "Hybrid, on diverse pairs, in order of difficulty.", "rl",
                    credit={"rule": "srpo"}, gsrm=True, selected=True),
    "first": RealRow("Label first", "SFT with the label before the steps, read in one pass without writing them.",
                     "first"),
    "student": RealRow("Student", "The label alone, in one pass, distilled from SRPO's label distribution.", "student"),
}  # fmt: skip
