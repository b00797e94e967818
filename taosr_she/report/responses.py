"""One rollout prepared for reading: its steps in order, each with its verdict and the advantage of its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from taosr_she.report.names import Names, number, signed
from taosr_she.report.rollouts import marks

MAX_TOKENS = 600
"""Longer responses are cut, with a note: thirty of them must not make a page of many megabytes."""
MAX_CHARS = 400
"""Longer queries and titles are cut."""
LOOKAHEAD = 16
"""Maximum distance, in characters, between a token and the text matched so far."""

OUTCOMES = {
    "right": "Right label, no known error",
    "wrong_reasoning": "Right label, wrong reasoning",
    "wrong_label": "Wrong label",
    "malformed": "Malformed",
}


@dataclass(frozen=True)
class Span:
    """Adjacent tokens of one step with the same advantage."""

    text: str
    advantage: float
    tokens: int

    @property
    def title(self) -> str:
        return f"advantage {signed(self.advantage, 3)}, {self.tokens} token{'s' if self.tokens > 1 else ''}"


@dataclass(frozen=True)
class StepBlock:
    """One step of the response; `spans` is empty if the section is missing."""

    title: str
    mark: str  # right | wrong | unknown
    verdict: str  # "right, P 0.83", "unknown"
    source: str
    advantage: str  # "+0.52", or its range
    spans: list[Span]


@dataclass(frozen=True)
class ResponseView:
    """One response on the page."""

    kind: str
    outcome: str
    reason: str
    update: int
    rollout: int
    group_size: int
    group_right: int
    pair_id: str
    query: str
    product: str
    label: str
    predicted: str
    steps: list[StepBlock]
    left_out: int  # tokens beyond MAX_TOKENS


def response_view(row: dict[str, Any], step_keys: Sequence[str], names: Names) -> ResponseView:
    """Prepare a row of `choose_rollouts`."""
    return ResponseView(
        kind=row["kind"],
        outcome=OUTCOMES[row["kind"]],
        reason=row["reason"] or "",
        update=row["step"],
        rollout=row["rollout"] + 1,
        group_size=row["group_size"],
        group_right=row["group_right"],
        pair_id=row["pair_id"],
        query=cut(row["query"]),
        product=cut(row["product"]),
        label=names.grade(row["label"]),
        predicted=names.grade(row["predicted"]),
        steps=_steps(row, step_keys, names),
        left_out=max(0, len(row["tokens"]) - MAX_TOKENS),
    )


def cut(text: str) -> str:
    """The first MAX_CHARS characters."""
    return text if len(text) <= MAX_CHARS else text[:MAX_CHARS].rstrip() + " …"


def align_tokens(tokens: Sequence[str], text: str) -> list[str]:
    """The piece of `text` for each token, with spaces and split characters as in the response.

    A token decoded alone may lack its space or be part of a character. Text between two matched tokens belongs to the
    later one. A token that is not in the text keeps its own text at the end (the end token); elsewhere it is empty.
    """
    pieces, position = [], 0
    for token in tokens:
        word = token if text.startswith(token, position) else token.strip()
        found = text.find(word, position, position + LOOKAHEAD + len(word)) if word else -1
        if found >= 0:
            pieces.append(text[position : found + len(word)])
            position = found + len(word)
        else:
            pieces.append(token if position >= len(text.rstrip()) else "")
    return pieces


def _steps(row: dict[str, Any], step_keys: Sequence[str], names: Names) -> list[StepBlock]:
    pieces = align_tokens(row["tokens"], row["response"])[:MAX_TOKENS]
    advantages = [number(a) or 0.0 for a in row["token_advantages"]]
    tokens = list(zip(row["token_steps"], pieces, advantages, strict=False))
    found = [(k, list(run)) for k, run in groupby(tokens, key=lambda token: token[0])]
    blocks = [_block(row, k, [(p, a) for _, p, a in run], step_keys, names) for k, run in found]
    if len(row["tokens"]) <= MAX_TOKENS:
        present = {k for k, _ in found}
        absent = [k for k in range(len(row["verdicts"])) if k not in present]
        blocks += [_block(row, k, [], step_keys, names) for k in absent]
    return blocks


def _block(
    row: dict[str, Any], k: int, tokens: list[tuple[str, float]], step_keys: Sequence[str], names: Names
) -> StepBlock:
    value = number(row["verdicts"][k])
    mark = marks(row["verdicts"])[k]
    certainty = f", P {value:.2f}" if value not in (None, 0.0, 1.0) else ""
    spans = []
    for advantage, run in groupby(tokens, key=lambda token: token[1]):
        texts = [text for text, _ in run]
        spans.append(Span("".join(texts), advantage, len(texts)))
    ends = sorted({signed(a, 2): a for _, a in tokens}.items(), key=lambda end: end[1])
    shown = "" if not ends else ends[0][0] if len(ends) == 1 else f"{ends[0][0]} to {ends[-1][0]}"
    return StepBlock(
        title=names.step(step_keys[k]) if k < len(step_keys) else f"Step {k + 1}",
        mark=mark,
        verdict=f"{mark}{certainty}",
        source=row["sources"][k],
        advantage=shown,
        spans=spans,
    )
