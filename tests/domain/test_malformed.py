"""Above one fifth of malformed responses people are told, and what is wrong most often."""

from hypothesis import given
from hypothesis import strategies as st

from taosr_she.domain.malformed import WARN_ABOVE, malformed_share_warning, malformed_warning


@given(st.lists(st.sampled_from([None, None, None, "cut off", "no sections"]), max_size=60))
def test_it_speaks_exactly_above_the_limit(reasons: list[str | None]) -> None:
    share = sum(reason is not None for reason in reasons) / max(len(reasons), 1)
    assert (malformed_warning(reasons) is not None) == (share > WARN_ABOVE)
    assert (malformed_share_warning(share) is not None) == (share > WARN_ABOVE)


def test_it_names_counts_and_the_commonest_reason() -> None:
    said = malformed_warning(["cut off", "no sections", "no sections", None])
    assert said is not None and "\n" not in said
    assert "3 of 4 responses (75%) are malformed, most often: no sections (2)" in said
    assert malformed_warning([None] * 4 + ["cut off"]) is None  # exactly one fifth
