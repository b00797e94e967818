"""Whether a training has learnt its labels."""

import math

import pytest

from taosr_she.train.sft.learnt import label_learnt

LABELS = ["E"] * 50 + ["I"] * 50


def test_frequencies_alone_are_nothing_and_certainty_is_all() -> None:
    knows_frequencies = math.log(2) / 4  # of four tokens only the label's is in doubt
    assert label_learnt([knows_frequencies] * 50, 1, 4.0, LABELS) == pytest.approx(0)
    assert label_learnt([2.0] * 40 + [0.0] * 10, 1, 4.0, LABELS) == pytest.approx(1)
    assert label_learnt([2.0] * 40 + [knows_frequencies / 4] * 10, 1, 4.0, LABELS) == pytest.approx(3 / 4)


def test_only_the_end_of_the_first_pass_counts_because_its_examples_are_new() -> None:
    first, second = [math.log(2)] * 40, [0.0] * 40
    assert label_learnt(first + second, 2, 1.0, LABELS) == pytest.approx(0)
    assert label_learnt(first + second, 1, 1.0, LABELS) == pytest.approx(1)


def test_what_cannot_be_told_is_unknown() -> None:
    assert math.isnan(label_learnt([0.1] * 19, 1, 1.0, LABELS))
    assert math.isnan(label_learnt([0.1] * 50, 1, 1.0, ["E"] * 100))
