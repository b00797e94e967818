"""The scalar reward model: trained by TRL from the policy's weights, then an examiner of whole responses."""

import json
import logging
import math
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForSequenceClassification

from taosr_she.base.errors import UserError
from taosr_she.credit.advantages import step_advantages
from taosr_she.credit.config import CreditConfig
from taosr_she.data.market.market import Market, MarketConfig, generate_market
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.domain.response import Response, parse_response, render_response
from taosr_she.examine.scalar import ScalarExaminer
from taosr_she.examine.verdicts import CODE
from taosr_she.model.lora import LoraConfig
from taosr_she.model.policy import Policy
from taosr_she.model.tiny import TinyConfig, build_tiny
from taosr_she.train.trl.preferences import Preference, preference, preferences_by_outcome
from taosr_she.train.trl.scalar_reward_model import ScalarSettings, reward_model, train_scalar

BARE = {"prompt": {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}}
DOMAIN = load_domain("taobao").with_overrides(BARE)
SETTINGS = ScalarSettings(learning_rate=1e-2, batch_size=16)


@pytest.fixture(scope="module")
def market() -> Market:
    sizes = {"demonstration_pairs": 160, "training_pairs": 0, "development_pairs": 40, "test_pairs": 0}
    return generate_market(MarketConfig(**sizes), 1)


@pytest.fixture(scope="module")
def policy(market: Market) -> Policy:
    pairs = {p.pair_id: p for p in market.pairs["demonstration"]}
    texts = [render_prompt(DOMAIN, pairs[d.pair_id]) + d.response for d in market.demonstrations]
    return build_tiny(texts, DOMAIN, TinyConfig(hidden=32, layers=2, heads=2, kv_heads=1, ffn=64, vocab_size=500), 1)


def truth(market: Market, pair: Pair) -> str:
    return render_response(DOMAIN, market.cases[pair.pair_id].truth.steps)


def corrupted(market: Market, pair: Pair, rng: Random) -> str:
    """A corruption that even a model of this size sees at once: a step drops out, and the label is another."""
    other = rng.choice([code for code in DOMAIN.codes if code != pair.label])
    steps = {**market.cases[pair.pair_id].truth.steps, "label": other}
    return render_response(DOMAIN, steps).replace("[category]", "[attributes]")


@pytest.fixture(scope="module")
def preferences(market: Market, policy: Policy) -> list[Preference]:
    rng, pairs = Random(0), market.pairs["demonstration"]
    return [preference(policy, DOMAIN, p, truth(market, p), corrupted(market, p, rng)) for p in pairs]


@pytest.fixture(scope="module")
def trained(
    policy: Policy, preferences: list[Preference], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, float]]]:
    """Folder of a finished run, and the rows that `on_step` saw."""
    folder, seen = tmp_path_factory.mktemp("scalar") / "run", []
    assert train_scalar(policy, preferences, SETTINGS, 3, folder, seen.append) == folder / "checkpoint"
    return folder, seen


def test_it_learns_writes_metrics_and_nothing_but_a_checkpoint(trained: tuple[Path, list[dict[str, float]]]) -> None:
    folder, seen = trained
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows == seen and [r["step"] for r in rows] == list(range(1, SETTINGS.total_steps(160) + 1))
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"] and rows[-1]["accuracy"] == 1.0 and rows[-1]["margin"] > 1
    assert sorted(f.name for f in folder.iterdir()) == ["checkpoint", "metrics.jsonl"]


def test_it_starts_from_the_policy_and_leaves_it_alone(policy: Policy) -> None:
    model = reward_model(policy, 7)
    body, ours = model.base_model.state_dict(), policy.model.base_model.state_dict()
    assert body.keys() == ours.keys() and all(torch.equal(body[name], ours[name]) for name in ours)
    assert all(a.data_ptr() != b.data_ptr() for a, b in zip(body.values(), ours.values(), strict=True))
    assert model.score.weight.shape == (1, 32) and torch.equal(model.score.weight, reward_model(policy, 7).score.weight)
    assert not torch.equal(model.score.weight, reward_model(policy, 8).score.weight)


def test_first_loss_is_that_of_the_formula(policy: Policy, preferences: list[Preference], tmp_path: Path) -> None:
    """-log sigmoid(r+ - r-) + center (r+ + r-)^2, one response at a time: no padding, no mask."""
    few = preferences[:5]
    model = reward_model(policy, 3).eval()
    expected = 0.0
    for p in few:
        with torch.no_grad():
            good, bad = (model(torch.tensor([p.prompt + side])).logits.item() for side in (p.preferred, p.rejected))
        expected += -math.log(1 / (1 + math.exp(bad - good))) + 0.5 * (good + bad) ** 2
    seen: list[dict[str, float]] = []
    train_scalar(policy, few, ScalarSettings(batch_size=5, center=0.5), 3, tmp_path, seen.append)
    assert [row["loss"] for row in seen] == [pytest.approx(expected / 5, rel=1e-4)]


def test_an_adapter_and_the_head_learn_and_are_merged(
    policy: Policy, preferences: list[Preference], tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"lora": LoraConfig(rank=4, targets=("q_proj",)), "learning_rate": 2e-2})
    seen: list[dict[str, float]] = []
    path = train_scalar(policy, preferences, settings, 3, tmp_path, seen.append)
    assert seen[-1]["loss"] < 0.7 * seen[0]["loss"]
    start = reward_model(policy, 3).state_dict()
    learnt = AutoModelForSequenceClassification.from_pretrained(path).state_dict()
    moved = {name.split(".")[-2] for name, weight in start.items() if not torch.equal(learnt[name], weight)}
    assert learnt.keys() == start.keys() and moved == {"q_proj", "score"}


def test_same_seed_same_weights_and_the_policy_is_untouched(
    policy: Policy, preferences: list[Preference], tmp_path: Path
) -> None:
    before = {name: w.clone() for name, w in policy.model.state_dict().items()}
    paths = [train_scalar(policy, preferences[:32], SETTINGS, 3, tmp_path / name) for name in ("a", "b")]
    train_scalar(policy, preferences[:32], SETTINGS, 3, tmp_path / "b")  # again into the same folder: starts over
    a, b = (AutoModelForSequenceClassification.from_pretrained(path).state_dict() for path in paths)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert len((tmp_path / "b" / "metrics.jsonl").read_text().splitlines()) == 2
    assert all(torch.equal(before[name], w) for name, w in policy.model.state_dict().items())


def test_the_examiner_prefers_on_pairs_it_never_saw(
    trained: tuple[Path, list[dict[str, float]]], market: Market
) -> None:
    examiner, rng = ScalarExaminer(trained[0] / "checkpoint", DOMAIN, "cpu"), Random(1)
    pairs = market.pairs["development"]
    good = examiner.scores(pairs, [parse_response(DOMAIN, truth(market, p)) for p in pairs])
    bad = examiner.scores(pairs, [parse_response(DOMAIN, corrupted(market, p, rng)) for p in pairs])
    assert np.mean(good > bad) > 0.95
    assert good.mean() > 0.5 > bad.mean()  # centred


def test_one_score_on_all_steps_the_same_in_any_batch(
    trained: tuple[Path, list[dict[str, float]]], market: Market, policy: Policy
) -> None:
    pairs = market.pairs["development"][:7]
    responses: list[Response] = [parse_response(DOMAIN, truth(market, p)) for p in pairs]
    responses[2] = parse_response(DOMAIN, "no sections at all", finished=False)
    responses[3] = parse_response(DOMAIN, "")
    examiner = ScalarExaminer(trained[0] / "checkpoint", DOMAIN, "cpu", batch_rows=3)
    found = examiner.examine([*pairs, pairs[0]], [*responses, responses[0]])
    assert found.values.dtype == np.float32 and found.values.shape == (8, 5)
    assert (found.sources == CODE["scalar"]).all() and found.sources.dtype == np.int8
    assert (found.values == found.values[:, :1]).all() and found.values[7, 0] == found.values[0, 0]
    model = AutoModelForSequenceClassification.from_pretrained(trained[0] / "checkpoint").eval()
    for pair, response, value in zip(pairs, responses, found.values[:, 0], strict=False):
        ids = policy.encode_prompt(DOMAIN, pair) + policy.encode_response(response.text)
        with torch.no_grad():
            assert value == pytest.approx(model(torch.tensor([ids])).logits.sigmoid().item(), abs=1e-5)
    assert examiner.examine([], []).values.shape == (0, 5)


def test_credit_of_the_scores_is_their_distance_from_the_groups_mean(
    trained: tuple[Path, list[dict[str, float]]], market: Market
) -> None:
    pair, rng = market.pairs["development"][0], Random(2)
    texts = [truth(market, pair), *(corrupted(market, pair, rng) for _ in range(3))]
    examiner = ScalarExaminer(trained[0] / "checkpoint", DOMAIN, "cpu")
    verdicts = examiner.examine([pair] * 4, [parse_response(DOMAIN, text) for text in texts])
    scores = verdicts.values[:, 0]
    advantages = step_advantages(
        CreditConfig(rule="scalar"), torch.from_numpy(verdicts.values), torch.zeros(4), torch.zeros(4).long(), 4
    )
    for k in range(5):
        np.testing.assert_allclose(advantages[:, k], scores - scores.mean(), atol=1e-6)
    assert advantages[0, 0] > 0.1


def test_preferences_from_rollouts(policy: Policy) -> None:
    def pair(name: str) -> Pair:
        return Pair(name, "q", f"red boots {name}", Product("red boots"), label="4")

    def response(steps: str, label: str) -> str:
        return f"[query] {steps}\n[product] a\n[category] same\n[attributes] b\n[label] {label}"

    mixed = [response("r1", "4"), response("w1", "3"), response("r2", "4"), response("r2", "4"), response("w2", "1")]
    broken = "[label] 4"  # malformed: rejected whatever its label
    clean = [response("r3", "4"), response("r4", "4")]
    pairs = [pair("a")] * 6 + [pair("b")] * 2
    responses = [parse_response(DOMAIN, text) for text in [*mixed, broken, *clean]]
    found = preferences_by_outcome(policy, DOMAIN, pairs, responses, per_pair=5, seed=1)
    texts = [[policy.tokenizer.decode(ids[:-1]) for ids in (p.preferred, p.rejected)] for p in found]
    assert sorted(good for good, _ in texts) == [mixed[0], mixed[2]]  # r2 once; pair b has nothing to reject
    assert len({bad for _, bad in texts} & {mixed[1], mixed[4], broken}) == 2
    assert {tuple(p.prompt) for p in found} == {tuple(policy.encode_prompt(DOMAIN, pair("a")))}
    assert all(p.preferred[-1] == p.rejected[-1] == policy.tokenizer.eos_token_id for p in found)
    assert preferences_by_outcome(policy, DOMAIN, pairs, responses, per_pair=5, seed=1) == found
    assert len(preferences_by_outcome(policy, DOMAIN, pairs, responses, per_pair=1, seed=1)) == 1


def test_too_long_preferences_are_left_out_and_counted(
    policy: Policy, preferences: list[Preference], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    p = preferences[0]
    long = Preference(p.prompt, p.preferred, [5] * 600)
    settings = ScalarSettings(max_length=400)
    with caplog.at_level(logging.WARNING):
        train_scalar(policy, [*preferences[:3], long], settings, 1, tmp_path)
    assert "1 of 4 exceed max_length=400" in caplog.text
    with pytest.raises(UserError, match="none of 1 fits into max_length=400"):
        train_scalar(policy, [long], settings, 1, tmp_path)


def test_mistakes_of_the_user(policy: Policy, preferences: list[Preference], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scalar reward model .*: it has no config\.json"):
        ScalarExaminer(tmp_path, DOMAIN, "cpu")
    policy.model.save_pretrained(tmp_path / "lm")
    policy.tokenizer.save_pretrained(tmp_path / "lm")
    with pytest.raises(UserError, match=r"weights lack score\.weight, and perhaps more of what a .*ForSequenceClass"):
        ScalarExaminer(tmp_path / "lm", DOMAIN, "cpu")
    two = AutoModelForSequenceClassification.from_config(policy.model.config, dtype=torch.float32)
    two.save_pretrained(tmp_path / "lm")
    with pytest.raises(UserError, match=r"not a reward model \(it has 2 labels\)"):
        ScalarExaminer(tmp_path / "lm", DOMAIN, "cpu")
    with pytest.raises(ValidationError, match="Extra inputs"):
        ScalarSettings.model_validate({"lr": 1e-3})
    with pytest.raises(UserError, match="loss is nan at step 1: lower 'learning_rate'"):
        broken = Policy(nan_copy(policy), policy.tokenizer, policy.device)
        train_scalar(broken, preferences[:2], SETTINGS, 1, tmp_path / "nan")


def nan_copy(policy: Policy) -> torch.nn.Module:
    """The policy's model with a body of NaN."""
    model = type(policy.model)(policy.model.config)
    with torch.no_grad():
        model.model.norm.weight.fill_(math.nan)
    return model
