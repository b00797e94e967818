import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from taosr_she.evaluate.labels import label_counts, label_entropy, label_shares, macro_f1

CODES = ("E", "S", "I")
ANSWERS = st.lists(
    st.tuples(st.none() | st.sampled_from(CODES), st.none() | st.sampled_from(CODES)), min_size=1, max_size=30
)


@given(ANSWERS)
def test_counts_shares_and_entropy_equal_their_definitions(answers: list[tuple[str | None, str | None]]) -> None:
    known = [(true, found) for true, found in answers if true is not None]
    counts = label_counts(CODES, *zip(*answers, strict=True))
    for i, true in enumerate(CODES):
        for j, found in enumerate((*CODES, None)):
            assert counts[i, j] == known.count((true, found))
    written = [found for _, found in known if found is not None]
    given_shares, true_shares = (label_shares(CODES, counts, given=g) for g in (True, False))
    for code in CODES:
        assert given_shares[code] == pytest.approx(written.count(code) / max(1, len(written)))
        assert true_shares[code] == pytest.approx([t for t, _ in known].count(code) / max(1, len(known)))
    shares = [written.count(c) / len(written) for c in set(written)]
    assert label_entropy(given_shares.values()) == pytest.approx(sum(-s * math.log(s) for s in shares))


@given(ANSWERS)
def test_macro_f1_equals_scikit_learn_over_the_labels_that_occur(answers: list[tuple[str | None, str | None]]) -> None:
    counts = label_counts(CODES, *zip(*answers, strict=True))
    known = [(true, found or "none") for true, found in answers if true is not None]
    if not known:
        assert math.isnan(macro_f1(counts))
        return
    truth, found = zip(*known, strict=True)
    expected = f1_score(truth, found, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert macro_f1(counts) == pytest.approx(expected)


def test_entropy_of_an_even_spread() -> None:
    assert label_entropy([0.25] * 4) == pytest.approx(math.log(4))
    assert label_entropy([1.0, 0.0]) == 0 and macro_f1(np.array([[3, 0, 0], [2, 0, 0]])) == pytest.approx(3 / 8)
