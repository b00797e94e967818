"""Held-out annotations: during training they show whether the GSRM still agrees with people."""

from collections.abc import Iterable
from random import Random

from taosr_she.domain.pair import Annotation


def hold_out(annotations: Iterable[Annotation], share: float, seed: int) -> tuple[list[Annotation], list[Annotation]]:
    """Annotations to train and verify with, and the held-out ones of a `share` of the annotated pairs.

    All annotations of a pair stay together.
    """
    everything = list(annotations)
    pairs = sorted({a.pair_id for a in everything})
    probe = set(Random(f"probe {seed}").sample(pairs, round(share * len(pairs))))
    return [a for a in everything if a.pair_id not in probe], [a for a in everything if a.pair_id in probe]
