"""A tagger of queries, trained on annotations: an averaged perceptron (Collins 2002) over words and their neighbours.

Its output is a guess. It shapes demonstrations of queries that nobody annotated, and never becomes a verdict.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random

EPOCHS = 5
Tagged = tuple[Sequence[str], Sequence[str]]
"""Words, with one BIO tag each."""


class Tagger:
    """Tags words with BIO tags, from left to right. The same examples and seed give the same tagger."""

    def __init__(self, examples: Sequence[Tagged], seed: int = 0) -> None:
        """Learn from annotated queries; ten thousand take a few seconds. Raises ValueError if there are none."""
        if not examples:
            raise ValueError("a tagger needs annotated queries to learn from")
        self.tags = sorted({tag for _, tags in examples for tag in tags})
        self._weights: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._train(examples, Random(seed))

    def tag(self, words: Sequence[str]) -> list[str]:
        """A tag for each word; an `I-` always continues a span of its kind."""
        found: list[str] = []
        for n in range(len(words)):
            before = found[-1] if found else "O"
            found.append(self._best(list(features(words, n, before)), before))
        return found

    def _best(self, active: Sequence[str], before: str) -> str:
        scores = dict.fromkeys(self.tags, 0.0)
        for feature in active:
            for tag, weight in self._weights.get(feature, {}).items():
                scores[tag] += weight
        allowed = [t for t in self.tags if not t.startswith("I-") or before[2:] == t[2:]]
        return max(allowed, key=lambda t: (scores[t], t))

    def _train(self, examples: Sequence[Tagged], rng: Random) -> None:
        sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        order, now = list(range(len(examples))), 0
        for _ in range(EPOCHS):
            rng.shuffle(order)
            for i in order:
                words, tags = examples[i]
                before = "O"
                for n, tag in enumerate(tags):
                    now += 1
                    active = list(features(words, n, before))
                    guess = self._best(active, before)
                    if guess != tag:
                        for feature in active:
                            for each, sign in ((tag, 1.0), (guess, -1.0)):
                                self._weights[feature][each] += sign
                                sums[feature][each] += sign * now
                    before = tag
        for feature, row in sums.items():
            for tag, total in row.items():
                self._weights[feature][tag] -= total / (now + 1)  # the mean of the weights over all steps


def features(words: Sequence[str], n: int, before: str) -> Iterator[str]:
    """Features of word n: itself, its neighbours, its ending and shape, its position, and the previous tag."""
    at = [w.casefold() for w in words]
    word = at[n]
    previous = at[n - 1] if n else "<s>"
    following = at[n + 1] if n + 1 < len(at) else "</s>"
    yield f"w {word}"
    yield f"p {previous}"
    yield f"n {following}"
    yield f"pw {previous} {word}"
    yield f"wn {word} {following}"
    yield f"t {before}"
    yield f"tw {before} {word}"
    yield f"tn {before} {following}"
    yield f"e {word[-3:]}"
    yield f"s {word[:3]}"
    yield f"f {''.join('0' if c.isdigit() else 'a' if c.isalpha() else c for c in word)[:6]}"
    yield f"last {n + 1 == len(at)} {n == 0}"
    yield f"l2 {at[n + 2] if n + 2 < len(at) else ''}"
