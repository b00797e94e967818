import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.domain.response import Response, parse_response, render_response
from taosr_she.examine.hybrid import Hybrid
from taosr_she.examine.verdicts import CODE, Verdicts, outcomes
from taosr_she.examine.verifier import Verifier
from taosr_she.model.sampler import Rollouts
from taosr_she.train.rl.batch import CreditedBatch
from taosr_she.train.rl.monitor import Monitor, MonitorConfig, Row, batch_row, trends, warnings

DOMAIN = load_domain("taobao")
LABEL = DOMAIN.label_step
TRUTH = {
    "query": "category: boots; color: red", "product": "category: boots", "category": "same",
    "attributes": "color: match", "label": "4",
}  # fmt: skip
NAN = math.nan
CONFIG = MonitorConfig(window=3, first_updates=2, min_verdicts=4)


def pair(name: str) -> Pair:
    return Pair(name, "q", "red boots", Product("red boots"), label="4")


def references(name: str) -> list[Annotation]:
    return [Annotation(name, key, text, annotator="anna") for key, text in TRUTH.items() if key != "label"]


def response(**changes: str) -> Response:
    return parse_response(DOMAIN, render_response(DOMAIN, {**TRUTH, **changes}))


class Judge:
    """Fixed verdicts for every response, the same on all steps."""

    def __init__(self, value: float) -> None:
        self.value = value

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        shape = (len(responses), len(DOMAIN.steps))
        return Verdicts(np.full(shape, self.value, np.float32), np.full(shape, CODE["gsrm"], np.int8))


def credited(pairs: list[Pair], responses: list[Response], verdicts: Verdicts, length: int = 10) -> CreditedBatch:
    n = len(responses)
    mask = torch.ones(n, length, dtype=torch.bool)
    ids = torch.zeros(n, length, dtype=torch.long)
    rollouts = Rollouts(ids, mask, torch.zeros(n, length), torch.ones(n, dtype=torch.bool), torch.arange(n))
    zeros = torch.zeros(n, len(DOMAIN.steps))
    return CreditedBatch(
        pairs, rollouts, responses, ids, verdicts, outcomes(pairs, responses), zeros, torch.zeros(n, length)
    )


rows_of_verdicts = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.4, 0.5, 0.9]), st.sampled_from(["gsrm", "human", "unknown"]),
            st.sampled_from([0.0, 1.0, NAN]), st.sampled_from(["human", "machine"]),
        ),
        min_size=5, max_size=5,
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@given(rows_of_verdicts, st.data())
def test_counts_equal_the_loop_reference(cells: list, data: st.DataObject) -> None:
    n = len(cells)
    labels = data.draw(st.lists(st.sampled_from(["4", "1"]), min_size=n, max_size=n))
    values = [[v if s != "unknown" else NAN for v, s, _, _ in row] for row in cells]
    verdicts = Verdicts(np.array(values, np.float32), np.array([[CODE[s] for _, s, _, _ in r] for r in cells], np.int8))
    people = [[CODE["unknown"] if math.isnan(p) else CODE[w] for _, _, p, w in row] for row in cells]
    probe = Verdicts(np.array([[p for _, _, p, _ in r] for r in cells], np.float32), np.array(people, np.int8))
    batch = credited([pair("p")] * n, [response(label=label) for label in labels], verdicts, length=7)

    expected = dict.fromkeys(
        ["gsrm_verdicts", "gsrm_passed", "gsrm_passed_wrong", "probe_verdicts", "probe_agreed", "probe_wrong",
         "probe_wrong_passed"], 0,
    )  # fmt: skip
    seen = []
    for row, label in zip(cells, labels, strict=True):
        own = [v for v, source, _, _ in row if source == "gsrm"]
        seen += own
        if own and min(own) >= 0.5:
            expected["gsrm_passed"] += 1
            expected["gsrm_passed_wrong"] += label != "4"
        for k, (value, source, person, who) in enumerate(row):
            if k == LABEL or source != "gsrm" or who != "human" or math.isnan(person):
                continue
            expected["probe_verdicts"] += 1
            expected["probe_agreed"] += (value >= 0.5) == (person == 1.0)
            expected["probe_wrong"] += person == 0.0
            expected["probe_wrong_passed"] += person == 0.0 and value >= 0.5
    expected["gsrm_verdicts"] = len(seen)
    found = batch_row(batch, probe, LABEL)
    assert {key: found[key] for key in expected} == expected
    assert found["gsrm_mean"] == (pytest.approx(sum(seen) / len(seen), abs=1e-6) if seen else None)
    assert found["reward"] == pytest.approx(labels.count("4") / n) and found["length"] == 7


def row(**changes: float | None) -> Row:
    quiet = {
        "gsrm_verdicts": 8, "gsrm_mean": 0.8, "gsrm_passed": 10, "gsrm_passed_wrong": 1, "probe_verdicts": 10,
        "probe_agreed": 9, "probe_wrong": 4, "probe_wrong_passed": 1, "reward": 0.6, "length": 50.0,
    }  # fmt: skip
    return {**quiet, **changes}


def test_trends_weigh_counts_over_the_window_and_compare_with_the_first_updates() -> None:
    rows = [
        row(gsrm_mean=0.5, reward=0.4, length=40.0), row(gsrm_mean=0.7, reward=0.6, length=60.0),
        row(gsrm_mean=0.9, probe_verdicts=30, probe_agreed=10), row(gsrm_mean=None, length=80.0),
        row(gsrm_mean=0.8, probe_verdicts=0, probe_agreed=0, reward=0.9, length=70.0),
    ]  # fmt: skip
    found = trends(rows, CONFIG)
    assert found["gsrm_agreement"] == pytest.approx(19 / 40)  # rows 3 to 5
    assert found["gsrm_drift"] == pytest.approx(0.85 - 0.6) and found["reward_drift"] == pytest.approx(0.7 - 0.5)
    assert found["length_factor"] == pytest.approx((50 + 80 + 70) / 3 / 50)
    assert (found["gsrm_false_pass"], found["gsrm_high_label_wrong"]) == (0.25, 0.1)


def lines(*rows: Row) -> list[str]:
    return warnings(trends(rows, CONFIG), rows, CONFIG)


def test_a_quiet_run_has_no_warnings() -> None:
    assert lines(row()) == lines(*[row()] * 9) == []
    empty = row(gsrm_mean=None, **dict.fromkeys([key for key in row() if key.startswith(("probe", "gsrm_p"))], 0))
    assert lines(*[empty] * 9) == []  # the GSRM examined nothing: human_only


@pytest.mark.parametrize(
    ("last", "line"),
    [
        ({"probe_agreed": 5}, "GSRM and people disagree: they agree on only 50% of the held-out steps"),
        ({"probe_wrong_passed": 3}, "GSRM and people disagree: it passes 75% of the steps that people call"),
        ({"gsrm_passed_wrong": 4}, "40% of the responses in which the GSRM finds no error have a wrong label"),
        ({"gsrm_mean": 1.0, "reward": 0.55}, "mean verdict moved by +0.20 since the start, the outcome by -0.05"),
        ({"gsrm_mean": 0.6, "reward": 0.65}, "mean verdict moved by -0.20 since the start, the outcome by +0.05"),
        ({"length": 80.0}, "responses are 1.60 times as long as at the start"),
        ({"length": 30.0}, "responses are 0.60 times as long as at the start"),
    ],
)
def test_each_threshold_has_its_line(last: dict[str, float], line: str) -> None:
    (found,) = lines(row(), row(), *[row(**last)] * 3)
    assert line in found


def test_few_verdicts_give_no_warning() -> None:
    few = row(probe_verdicts=1, probe_agreed=0, probe_wrong=1, probe_wrong_passed=1, gsrm_passed=1,
              gsrm_passed_wrong=1)  # fmt: skip
    assert lines(*[few] * 3) == []


def test_a_share_reaches_back_until_it_has_its_verdicts_and_no_further() -> None:
    keys = ("probe_verdicts", "probe_agreed", "probe_wrong", "probe_wrong_passed", "gsrm_passed", "gsrm_passed_wrong")
    none = row(**dict.fromkeys(keys, 0))
    bad = row(probe_verdicts=2, probe_agreed=0, probe_wrong=2, probe_wrong_passed=2, gsrm_passed=2,
              gsrm_passed_wrong=2)  # fmt: skip
    good = row(probe_verdicts=9, probe_agreed=9, probe_wrong=9, probe_wrong_passed=0, gsrm_passed=9,
               gsrm_passed_wrong=0)  # fmt: skip
    far = [good, bad, none, none, none, none, bad, none, none, none]
    assert trends(far, CONFIG)["gsrm_agreement"] == 0 and len(lines(*far)) == 3
    assert trends([good, *far[2:]], CONFIG)["gsrm_agreement"] == 9 / 11  # two are too few, and the next are those nine


def test_both_rising_together_is_learning() -> None:
    assert lines(row(), row(), *[row(gsrm_mean=0.99, reward=0.95)] * 3) == []


def test_a_gsrm_that_passes_everything_is_found_on_held_out_people() -> None:
    """Through the real parts: p0 stays with the verifier, p1 is the probe, p2 has no people at all."""
    pairs = [pair(f"p{i % 3}") for i in range(12)]
    responses = [response(category="near") if i % 2 else response() for i in range(12)]
    hybrid = Hybrid(Verifier(DOMAIN, references("p0")), Judge(0.95))
    monitor = Monitor(Verifier(DOMAIN, references("p1")), LABEL, CONFIG)
    found = monitor.observe(credited(pairs, responses, hybrid.examine(pairs, responses)))
    assert hybrid.asked == 8
    assert found["gsrm_verdicts"] == 8 * 4 and found["gsrm_mean"] == pytest.approx(0.95)  # the label is human
    assert (found["probe_verdicts"], found["probe_agreed"], found["probe_wrong"]) == (16, 14, 2)
    assert found["gsrm_agreement"] == 14 / 16 and found["gsrm_false_pass"] == 1.0
    assert found["warnings"] == []  # two wrong steps are too few to say
    found = monitor.observe(credited(pairs, responses, hybrid.examine(pairs, responses)))
    assert found["warnings"] == [
        "GSRM and people disagree: it passes 100% of the steps that people call wrong (at most 50% expected)"
    ]


def test_a_monitor_goes_on_from_the_rows_of_the_metrics_file() -> None:
    probe = Verifier(DOMAIN, references("p1"))
    judges = [Judge(value) for value in (0.9, 0.7, 0.2, 0.6, 0.95)]
    pairs, responses = [pair("p1")] * 2, [response(), response(query="color: blue")]
    batches = [credited(pairs, responses, j.examine(pairs, responses), 8 + i) for i, j in enumerate(judges)]
    whole = Monitor(probe, LABEL, CONFIG)
    rows = [{"step": i, "loss": 0.1, **whole.observe(batch)} for i, batch in enumerate(batches)]
    resumed = Monitor(probe, LABEL, CONFIG)
    resumed.resume(rows[:3])
    assert [resumed.observe(batch) for batch in batches[3:]] == [
        {key: value for key, value in r.items() if key not in ("step", "loss")} for r in rows[3:]
    ]


def test_unknown_option_is_an_error() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        MonitorConfig.model_validate({"windows": 3})
