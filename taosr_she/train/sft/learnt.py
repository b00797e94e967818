"""How much of the labels a training has learnt, from its own loss.

A fine-tuning on labels alone soon knows how frequent each label is, and then stays there, sometimes for half of its
steps, until it finds what the label depends on. With bad luck it does not find it before the learning rate has fallen.
Then nothing fails: the loss is low, and the model judges without having read the pair (docs/log.md has an example).
"""

import math
from collections import Counter
from collections.abc import Sequence

LITTLE = 0.2
"""Below this share, a model may be one that knows frequencies alone. On real pairs, trainings that found more had 0.26
to 0.67, the one that did not had 0.09."""
FEWEST = 20
"""Steps of a pass, below which its end says nothing."""


def label_learnt(losses: Sequence[float], epochs: int, tokens: float, labels: Sequence[str]) -> float:
    """1 - (loss of an example at the end of the first pass) / (entropy of the labels): 0 for a model that knows how
    frequent each label is, 1 for one that is always right and sure. NaN if the pass has too few steps, or if all labels
    are the same.

    In the first pass every example is new, so this is the loss on unseen examples.

    Args:
        losses: the mean loss per token of every step, before the step.
        epochs: number of passes.
        tokens: mean number of trained tokens of an example; all but the label's must be easy, as in the label alone.
        labels: the label of every example.
    """
    first = losses[: len(losses) // epochs]
    counts = Counter(labels)
    entropy = -sum(n / len(labels) * math.log(n / len(labels)) for n in counts.values())
    if len(first) < FEWEST or len(counts) < 2:
        return math.nan
    end = first[-(len(first) // 5) :]
    return 1 - sum(end) / len(end) * tokens / entropy
