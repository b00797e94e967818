"""A run in which one model reasons before its label, one after it, and a student gives the label alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taosr_she import load_judge
from taosr_she.base.errors import UserError
from taosr_she.credit.config import CreditConfig
from taosr_she.data.read import read_pairs
from taosr_she.evaluate.prediction import read_predictions
from taosr_she.examine.verifier import Verifier
from taosr_she.judge.decision import saved_decision
from taosr_she.model.domain_file import saved_domain
from taosr_she.model.policy import load_policy
from taosr_she.model.sampler import sample_groups
from taosr_she.model.sampling import Sampling
from taosr_she.recipe import teaching
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.records import check_ours
from taosr_she.recipe.run import prepare
from taosr_she.recipe.table import results_table
from taosr_she.recipe.teaching import Teaching, teacher_distributions
from taosr_she.train.rl.batch import credit_rollouts
from taosr_she.train.rl.loop import label_places

from .conftest import SAMPLING, UPDATES, run_toy, toy_recipe

KEYS = ("query", "product", "category", "attributes", "label")
FIRST = ("label", *KEYS[:-1])
TINY = {"hidden": 48, "layers": 1, "heads": 2, "kv_heads": 1, "ffn": 64, "vocab_size": 400}
SFT = {"epochs": 40, "batch_size": 16, "learning_rate": 1e-2}
RL = {**UPDATES, "updates": 2, "checkpoint_every": 2}


def recipe(shop: Path, out: Path) -> dict[str, Any]:
    stages = {
        "first": {
            "kind": "sft", "tiny": TINY, "settings": SFT, "domain_overrides": {"answer_first": True},
            "reasoning_masked": 0.3,
        },
        "turned": {
            "kind": "sft", "start": "sft", "settings": {**SFT, "epochs": 10, "learning_rate": 3e-3},
            "domain_overrides": {"answer_first": True},
        },
        "first_rl": {"kind": "rl", "start": "first", "settings": {**RL, "credit": {"outcome_on": "label"}}},
        "first_labels": {
            "kind": "label_sft", "start": "first", "max_new_tokens": 40,
            "settings": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-4},
        },
        "student": {
            "kind": "distil", "teacher": "sft", "splits": ["training", "demonstration"], "tiny": TINY,
            "teaching": {"sampling": {"max_new_tokens": 40, "temperature": 0.0}}, "settings": {**SFT, "epochs": 20},
        },
        "second": {
            "kind": "distil", "teacher": "first_rl", "start": "first", "unlabelled": str(shop / "pairs.jsonl"),
            "splits": [], "settings": {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "human": 0.5},
        },
        "evaluate": {
            "kind": "evaluate", "models": ["sft", "first_rl", "student"], "max_new_tokens": 40, "resamples": 100,
            "label_mode": ["first_rl", "first_labels", "student", "second"], "baselines": ["majority", "tfidf"],
            "compare": [["sft", "student-label"]], "decision": {"rule": "text", "tier_threshold": "auto"},
            "robustness_pairs": 3,
        },
    }  # fmt: skip
    raw = toy_recipe(shop, out, stages)
    del raw["stages"]["gsrm"], raw["stages"]["scalar_reward_model"]
    return raw


@pytest.fixture(scope="module")
def run(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_toy(recipe(shop, tmp_path_factory.mktemp("label") / "run")).parent


@pytest.fixture(scope="module")
def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "stages/evaluate/results.json").read_text())
    return found


def checkpoint(run: Path, stage: str) -> Path:
    return run / "stages" / stage / "checkpoint"


@pytest.mark.parametrize(
    ("stage", "keys"),
    [
        ("sft", KEYS), ("first", FIRST), ("turned", FIRST), ("first_rl", FIRST), ("first_labels", FIRST),
        ("student", FIRST[:1]), ("second", FIRST[:1]),
    ],
)  # fmt: skip
def test_every_checkpoint_holds_its_own_domain(run: Path, stage: str, keys: tuple[str, ...]) -> None:
    own = saved_domain(checkpoint(run, stage))
    assert own is not None and own.step_keys == keys and own.tier_names == ("good", "mid", "bad")
    card = (checkpoint(run, stage) / "README.md").read_text("utf-8")
    order = {KEYS: "5 steps, then one of 4 grades", FIRST: "one of 4 grades, then 4 steps"}
    assert order.get(keys, "one of 4 grades, without reasoning") in card
    assert ("test split, in mode `label`, shares" in card) == (stage not in ("sft", "first", "turned"))


def test_label_first_and_student_are_judged_without_a_response(run: Path) -> None:
    pairs = read_pairs(run / "stages/data/test.jsonl")
    for stage in ("first_rl", "student", "second"):
        for one, whole in zip(
            load_judge(checkpoint(run, stage), device="cpu", mode="label")(pairs),
            load_judge(checkpoint(run, stage), device="cpu")(pairs), strict=True,
        ):  # fmt: skip
            assert one.probabilities == pytest.approx(whole.probabilities, abs=1e-5) and one.tier is not None
            if whole.reason is None:
                assert one.label == whole.label
    with pytest.raises(UserError, match="in 'taobao', 4 steps come before it"):
        load_judge(checkpoint(run, "sft"), device="cpu", mode="label")


def test_one_table_holds_all_of_them(run: Path, results: dict[str, Any]) -> None:
    names = ["majority", "tfidf", "sft", "first_rl", "student", "first_rl-label", "first_labels-label", "student-label",
             "second-label"]  # fmt: skip
    assert list(results["models"]) == names and results["step_keys"] == list(KEYS)
    for name, model in results["models"].items():
        quick = name.endswith("-label")
        assert (model["metrics"]["mean_tokens"] == 0) == (quick or name in ("majority", "tfidf"))
        assert (model["metrics"]["pairs_per_second"] is None) == (name == "majority")
        assert model["tiers"]["names"] == ["good", "mid", "bad"] and 0 < model["tiers"]["threshold"] < 1
        assert model["metrics"]["tier_macro_f1"] == model["tiers"]["metrics"]["macro_f1"]
        assert set(model["tiers"]["threshold_scores"]) == {f"{n / 20:g}" for n in range(1, 20)}
        rows = read_predictions(run / f"stages/evaluate/predictions-{name}.jsonl")
        assert all(len(row.verdicts) == 5 for row in rows)
        if quick:
            assert all(row.steps[:4] == (None,) * 4 and row.steps[4] == row.predicted for row in rows)
    metrics = {name: model["metrics"] for name, model in results["models"].items()}
    assert metrics["first_rl-label"]["ece"] == pytest.approx(metrics["first_rl"]["ece"], abs=1e-4)
    assert {(row["a"], row["b"]) for row in results["paired"]} == {("sft", "student-label")}
    rows_of_table = dict(results_table(results).rows)
    assert "tier macro-F1" in rows_of_table and "pairs/s" in rows_of_table
    page = (run / "report.html").read_text("utf-8")
    assert "Macro-F1 of tiers" in page and "Pairs per second" in page and "tier threshold" in page
    domain = saved_domain(checkpoint(run, "sft"))
    assert domain is not None
    for name, stage in (("sft", "sft"), ("student-label", "student")):
        saved = saved_decision(checkpoint(run, stage), domain)
        assert (saved.rule, saved.tier_threshold) == ("text", results["models"][name]["tiers"]["threshold"])


def test_the_steps_of_a_label_first_model_are_examined_in_its_own_order(run: Path) -> None:
    """Verdicts of the training rollouts: the label step is the first of the model, the last of the run."""
    import pyarrow.parquet as pq

    files = sorted((run / "stages/first_rl/rollouts").glob("*.parquet"))
    for row in pq.read_table(files[0]).to_pylist():
        if row["reason"] is None:
            assert row["verdicts"][0] == row["outcome"]
            assert row["token_steps"] == sorted(row["token_steps"])
            text = row["response"]
            assert text.startswith(f"[label] {row['predicted']}\n[query]")
    page = (run / "report.html").read_text("utf-8")
    assert page.index("Relevance decision") > 0


def test_the_bonus_of_the_label_goes_to_its_token(run: Path) -> None:
    """`loss.label_entropy` needs the position of the label, which here is among the first tokens."""
    policy = load_policy(checkpoint(run, "first"), "cpu")
    domain, pairs = policy.domain, read_pairs(run / "stages/data/test.jsonl")[:4]
    assert domain is not None
    prompts = [policy.encode_prompt(domain, pair) for pair in pairs]
    rollouts = sample_groups(policy, prompts, 2, Sampling(max_new_tokens=40), seed=1)
    batch = credit_rollouts(policy, domain, pairs, rollouts, Verifier(domain, []), CreditConfig())
    places = label_places(policy, domain, batch).tolist()
    header = len(policy.encode_response(domain.label_header)) - 1
    for place, ids, response in zip(places, rollouts.ids.tolist(), batch.responses, strict=True):
        if response.label is not None:
            assert place in (header, header + 1)
            assert policy.tokenizer.decode([ids[place]]).strip() == response.label


def test_what_the_label_is_trained_on_does_not_end_a_response_that_goes_on(run: Path) -> None:
    """`label_sft` behind a label that comes first would otherwise teach to stop there."""
    found = load_judge(checkpoint(run, "first_labels"), device="cpu")(read_pairs(run / "stages/data/test.jsonl"))
    assert sum(one.reason is None for one in found) > 0.5 * len(found)


def test_a_teacher_is_not_asked_twice(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = load_policy(checkpoint(run, "sft"), "cpu")
    pairs = read_pairs(run / "stages/data/test.jsonl")[:10]
    monkeypatch.setattr(teaching, "PART", 4)
    how = Teaching.model_validate({"chains": 2, "sampling": {**SAMPLING, "temperature": 1.5}})
    asked: list[int] = []

    def count(*arguments: Any, original: Callable[..., Any] = teaching._asked) -> Any:
        asked.append(len(arguments[2]))
        if len(asked) == 3 and not (tmp_path / "whole").exists():
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(teaching, "_asked", count)
    with pytest.raises(KeyboardInterrupt):
        teacher_distributions(teacher, pairs, how, 1, tmp_path / "cut", 8, lambda done: None)
    (tmp_path / "whole").mkdir()
    whole = teacher_distributions(teacher, pairs, how, 1, tmp_path / "whole", 8, lambda done: None)
    before = len(asked)
    resumed = teacher_distributions(teacher, pairs, how, 1, tmp_path / "cut", 8, lambda done: None)
    assert resumed == whole and asked[before:] == [2]
    known = [row for row in whole.distributions if row is not None]
    assert known and all(sum(row.values()) == pytest.approx(1) for row in known)


@pytest.mark.parametrize("stage", ["first", "student", "second"])
def test_all_that_a_stage_leaves_is_ours_to_clear(run: Path, stage: str) -> None:
    check_ours(run / "stages" / stage)


@pytest.mark.parametrize(
    ("stage", "changes", "told"),
    [
        ("sft", {"reasoning_masked": 0.5}, r"reasoning_masked is for a domain with the label first"),
        ("first", {"domain_overrides": {"labels": [{"code": "a", "name": "A"}, {"code": "b", "name": "B"}],
                                        "rules": []}}, "changes the labels to a, b, and the pairs have 4, 3, 2, 1"),
        ("first", {"domain_overrides": {"steps": [{"key": "label", "title": "x", "form": "label"},
                                                  {"key": "why", "title": "y"}], "answer_first": True}},
         "adds the step 'why'"),
    ],
)  # fmt: skip
def test_overrides_that_make_no_sense_are_told_before_the_work(
    stage: str, changes: dict[str, Any], told: str, shop: Path, tmp_path: Path
) -> None:
    raw = recipe(shop, tmp_path / "run")
    raw["stages"][stage] |= changes
    with pytest.raises(UserError, match=told):
        prepare(Recipe.model_validate(raw))


def test_tiers_are_needed_for_their_threshold(shop: Path, tmp_path: Path) -> None:
    raw = recipe(shop, tmp_path / "run")
    raw["domain_overrides"]["tiers"] = {}
    with pytest.raises(UserError, match=r"decision\.tier_threshold needs a domain with tiers, and 'taobao' has none"):
        prepare(Recipe.model_validate(raw))


def test_mode_label_of_a_model_that_reasons_first_is_refused(shop: Path, tmp_path: Path) -> None:
    raw = recipe(shop, tmp_path / "run")
    raw["stages"]["evaluate"]["label_mode"] = ["student", "sft"]
    with pytest.raises(UserError, match=r"stage 'evaluate', label_mode of 'sft': .* 4 steps come before it"):
        prepare(Recipe.model_validate(raw))


def test_a_gsrm_of_the_other_order_is_refused(shop: Path, tmp_path: Path) -> None:
    raw = recipe(shop, tmp_path / "run")
    rl = raw["stages"].pop("first_rl")
    raw["stages"] = {name: raw["stages"][name] for name in ("data", "sft", "first")}
    raw["stages"] |= {"gsrm": {"kind": "gsrm"}, "rl": {**rl, "examination": {"gsrm": "gsrm"}}}
    told = "stage 'rl': the GSRM 'gsrm' reads responses of another domain, which differs in steps"
    with pytest.raises(UserError, match=told):
        prepare(Recipe.model_validate(raw))
    raw["stages"]["gsrm"]["start"] = "first"
    prepare(Recipe.model_validate(raw))


def test_a_run_of_its_own_order_throughout(shop: Path, tmp_path: Path) -> None:
    """`answer_first` of the run's domain: demonstrations are put in its order, everything else follows."""
    raw = recipe(shop, tmp_path / "run")
    raw["domain_overrides"]["answer_first"] = True
    raw["stages"] = {name: raw["stages"][name] for name in ("data", "sft")} | {
        "gsrm": {"kind": "gsrm", "sampling": SAMPLING, "resamples": 100,
                 "settings": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}},
        "rl": {"kind": "rl", "settings": RL, "examination": {"gsrm": "gsrm", "override_bar": True}},
        "chosen": {"kind": "select", "selection": {"difficulty": {"rollouts": 2, "pass_low": 0, "pass_high": 1,
                                                                  "sampling": SAMPLING}, "diversity": None}},
        "evaluate": {"kind": "evaluate", "models": ["sft", "rl"], "label_mode": ["rl"], "max_new_tokens": 40,
                     "resamples": 100},
    }  # fmt: skip
    out = run_toy(raw).parent
    found = json.loads((out / "stages/evaluate/results.json").read_text())
    assert found["step_keys"] == list(FIRST)
    assert found["models"]["rl"]["metrics"]["malformed"] < 0.2
    assert found["models"]["rl"]["metrics"]["macro_f1"] == pytest.approx(
        found["models"]["rl-label"]["metrics"]["macro_f1"], abs=0.1
    )
