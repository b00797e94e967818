"""Annotations held out from training."""

from taosr_she.data.probe import hold_out
from taosr_she.domain.pair import Annotation


def test_hold_out_keeps_pairs_whole() -> None:
    annotations = [Annotation(f"p{i}", step, "x") for i in range(20) for step in ("query", "category")]
    kept, probe = hold_out(annotations, 0.25, seed=1)
    assert {a.pair_id for a in probe}.isdisjoint({a.pair_id for a in kept})
    assert len({a.pair_id for a in probe}) == 5 and sorted(map(str, kept + probe)) == sorted(map(str, annotations))
    assert hold_out(reversed(annotations), 0.25, seed=1)[1] == list(reversed(probe))
    assert hold_out(annotations, 0.25, seed=2)[1] != probe
    assert hold_out(annotations, 0.0, seed=1) == (annotations, [])
