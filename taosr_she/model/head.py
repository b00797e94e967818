"""The head of a domain's prompts: instruction, grades, rules and form, which are the same for every pair.

It is often fifty times as long as the rest, and tokenising it again takes longer than a GPU needs to judge the pair. So
it is tokenised once, and a prompt is its tokens followed by those of the rest. Whether a tokenizer allows that, and
where to cut, is found by trial: on several pairs, both parts must have exactly the tokens of the whole. The text on
both sides of the cut is the same for every pair, so what holds for some pairs holds for all.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

SHORT = 16
"""Tokens below which a head is not worth it."""
FIXED = 2
"""Tokens after the cut that must not depend on the pair either."""
TRIES = 16
"""Places tried, from the end of what is fixed."""
PROBES = ("red shoes", "4K TV", "Ärmel", "中文 shoes", "(x)", "'s", "1.5 l", "a")
"""Queries of the trial; they begin in different ways."""


class Head(NamedTuple):
    """The beginning of all prompts of a domain, and its tokens."""

    text: str
    ids: list[int]


def find_head(tokenizer: Any, texts: Sequence[str]) -> Head | None:
    """The longest head of these prompts that may be tokenised by itself; None if there is none that is worth it."""
    shortest = min(map(len, texts))
    fixed = next((i for i in range(shortest) if len({text[i] for text in texts}) > 1), shortest)
    wholes = [_encode(tokenizer, text) for text in texts]
    ids, offsets = wholes[0]
    inside = sum(end <= fixed for _, end in offsets)
    for k in range(inside - FIXED, max(inside - FIXED - TRIES, SHORT - 1), -1):
        head = Head(texts[0][: offsets[k][0]], ids[:k])
        if all(
            whole[:k] == head.ids and _encode(tokenizer, text[len(head.text) :])[0] == whole[k:]
            for text, (whole, _) in zip(texts, wholes, strict=True)
        ):
            return head
    return None


def _encode(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    found = tokenizer(text, add_special_tokens=False, verbose=False, return_offsets_mapping=True)
    return found["input_ids"], found["offset_mapping"]
