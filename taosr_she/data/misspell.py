"""Typing errors, for the market's shoppers and for the robustness probes."""

from random import Random


def misspell(rng: Random, text: str) -> str:
    """One typing error in a word of more than four letters: two letters swapped, or one dropped or doubled.

    A text without such a word is returned unchanged.
    """
    words = text.split()
    long = [i for i, w in enumerate(words) if len(w) > 4]
    if not long:
        return text
    i = rng.choice(long)
    at = rng.randrange(1, len(words[i]) - 1)
    w = words[i]
    words[i] = rng.choice((w[:at] + w[at + 1] + w[at] + w[at + 2 :], w[:at] + w[at + 1 :], w[:at] + w[at] + w[at:]))
    return " ".join(words)
