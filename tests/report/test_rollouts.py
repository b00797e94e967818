"""Which rollouts are chosen, and how one is laid out."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.report.names import Names
from taosr_she.report.responses import LOOKAHEAD, MAX_TOKENS, align_tokens, response_view
from taosr_she.report.rollouts import choose_rollouts, kind_of, marks

NAN = float("nan")


def test_thirty_spread_over_updates_of_all_kinds_from_groups_that_disagree(shared_run: Path) -> None:
    folder = shared_run / "stages" / "srpo" / "rollouts"
    rows = choose_rollouts(folder)
    assert str(rows) == str(choose_rollouts(folder)), "the same rows every time (compared as text: NaN)"
    assert len({(r["step"], r["group"], r["rollout"]) for r in rows}) == len(rows) == 30
    updates = [r["step"] for r in rows]
    assert updates == sorted(updates) and updates[0] == 1 and updates[-1] == 60
    assert max(Counter(updates).values()) <= 3
    kinds = Counter(r["kind"] for r in rows)
    assert min(kinds[kind] for kind in ("right", "wrong_reasoning", "wrong_label", "malformed")) >= 4
    assert all(r["group"] % 4 for r in rows), "every fourth group agrees in all its rollouts"
    assert all(0 <= r["group_right"] <= r["group_size"] == 8 for r in rows)


def test_kinds_and_marks() -> None:
    assert marks([1.0, 0.5, 0.49, NAN, None]) == ["right", "right", "wrong", "unknown", "unknown"]
    row = {"reason": None, "outcome": 1.0, "verdicts": [1.0, NAN]}
    assert kind_of(row) == "right"
    assert kind_of({**row, "verdicts": [0.2, 1.0]}) == "wrong_reasoning"
    assert kind_of({**row, "outcome": 0.0}) == "wrong_label"
    assert kind_of({**row, "reason": "cut off"}) == "malformed"


def test_broken_rollout_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "00000.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"00000\.parquet: not a Parquet file"):
        choose_rollouts(tmp_path)
    pq.write_table(pa.table({"group": [0]}), tmp_path / "00000.parquet")
    with pytest.raises(UserError, match="no column rollout, label"):
        choose_rollouts(tmp_path)
    assert choose_rollouts(tmp_path / "nowhere") == []


@given(st.lists(st.text(alphabet="ab [é:\n", min_size=1, max_size=6), max_size=12))
def test_aligned_pieces_give_the_text_back(words: list[str]) -> None:
    text = "".join(words)
    assert "".join(align_tokens(words, text)).rstrip() == text.rstrip()
    assert align_tokens([*words, "<end>"], text)[-1] == "<end>"


def test_alignment_restores_spaces_and_split_characters() -> None:
    assert align_tokens(["[", "query", "]", "wet", "<end>"], "[query] wet") == ["[", "query", "]", " wet", "<end>"]
    assert align_tokens(["caf", "\ufffd", "\ufffd", " au"], "café au") == ["caf", "", "", "é au"]
    far = "x" * (LOOKAHEAD + 1)
    assert align_tokens(["a", "z"], f"a{far}z") == ["a", ""], "a token far ahead belongs to somebody else"


def row(tokens: list[str], steps: list[int], advantages: list[float]) -> dict:
    return {
        "kind": "wrong_label", "reason": None, "step": 3, "rollout": 0, "group_size": 8, "group_right": 2,
        "pair_id": "p", "query": "q" * 900, "product": "t", "label": "4", "predicted": None, "tokens": tokens,
        "response": "".join(tokens), "token_steps": steps, "token_advantages": advantages,
        "verdicts": [1.0, 0.3, NAN], "sources": ["human", "gsrm", "unknown"],
    }  # fmt: skip


def test_a_response_laid_out_step_by_step() -> None:
    names = Names(grades={"4": "Excellent"}, steps={"query": "Query"})
    view = response_view(row(["[q]", " a", " b", "[c]"], [0, 0, 0, 1], [0.5, 0.5, -0.25, 0.0]), ["query", "c"], names)
    first, second, absent = view.steps
    assert (view.label, view.predicted, len(view.query)) == ("4 Excellent", "–", 402)
    assert [(s.text, s.advantage, s.tokens) for s in first.spans] == [("[q] a", 0.5, 2), (" b", -0.25, 1)]
    assert (first.title, first.verdict, first.source, first.advantage) == ("Query", "right", "human", "−0.25 to +0.50")
    assert first.spans[0].title == "advantage +0.500, 2 tokens"
    assert (second.verdict, second.source, second.advantage) == ("wrong, P 0.30", "gsrm", "0.00")
    assert (absent.title, absent.mark, absent.spans) == ("Step 3", "unknown", [])


def test_a_long_response_is_cut_and_says_so() -> None:
    n = MAX_TOKENS + 7
    view = response_view(row(["a "] * n, [0] * n, [0.1] * n), ["query"], Names())
    assert view.left_out == 7 and sum(s.tokens for step in view.steps for s in step.spans) == MAX_TOKENS
