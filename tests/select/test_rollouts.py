"""Rollouts kept as parts: read again, taken up after a kill, thrown away when anything about them changes."""

import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from taosr_she.base.errors import UserError
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_prompt
from taosr_she.examine.verifier import Verifier
from taosr_she.model.policy import Policy
from taosr_she.model.tiny import TinyConfig, build_tiny
from taosr_she.select.config import DifficultyConfig
from taosr_she.select.rollouts import PairRollouts, read_part, sample_rollouts

DOMAIN = load_domain("taobao")
CONFIG = DifficultyConfig.model_validate({"rollouts": 3, "part_pairs": 8, "sampling": {"max_new_tokens": 10}})


@cache
def setting() -> tuple[Policy, list[Pair], Verifier]:
    market = generate_market(
        MarketConfig(demonstration_pairs=30, training_pairs=40, development_pairs=0, test_pairs=0), 1
    )
    by_id = {p.pair_id: p for p in market.pairs["demonstration"]}
    texts = [render_prompt(DOMAIN, by_id[d.pair_id]) + d.response for d in market.demonstrations]
    policy = build_tiny(texts, DOMAIN, TinyConfig(hidden=32, layers=1, heads=2, kv_heads=1, ffn=32, vocab_size=600), 1)
    return policy, market.pairs["training"], Verifier(DOMAIN, market.annotations)


def sample(
    folder: Path, seed: int = 5, config: DifficultyConfig = CONFIG, slow: float = 0.0
) -> dict[str, PairRollouts]:
    policy, pairs, verifier = setting()
    return sample_rollouts(policy, DOMAIN, pairs, verifier, config, seed, folder, lambda done, parts: time.sleep(slow))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, PairRollouts]]:
    folder = tmp_path_factory.mktemp("rollouts") / "r"
    return folder, sample(folder)


def test_every_pair_has_its_rollouts(whole: tuple[Path, dict[str, PairRollouts]]) -> None:
    folder, found = whole
    assert len(found) == 40 and len(list(folder.glob("part-*.parquet"))) == 5
    assert list(found) == [p.pair_id for p in setting()[1]]
    for r in found.values():
        assert len(r.outcomes) == len(r.conclusions) == 3 and {len(v) for v in r.verdicts} == {5}
        assert 3 <= r.tokens <= 30


def test_what_is_there_is_read_and_not_sampled_again(whole: tuple[Path, dict[str, PairRollouts]]) -> None:
    folder, found = whole
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert str(sample(folder)) == str(found)  # NaN is not equal to itself, its text is
    assert before == {p: p.stat().st_mtime_ns for p in folder.iterdir()}


def test_what_people_have_said_since_counts_without_sampling(
    whole: tuple[Path, dict[str, PairRollouts]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, pairs, verifier = setting()
    nobody = sample_rollouts(policy, DOMAIN, pairs, Verifier(DOMAIN, []), CONFIG, 5, tmp_path)
    assert str(nobody) != str(whole[1])
    written = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr("taosr_she.select.rollouts.sample_responses", lambda *_: pytest.fail("sampled again"))
    assert str(sample_rollouts(policy, DOMAIN, pairs, verifier, CONFIG, 5, tmp_path)) == str(whole[1])
    assert all((tmp_path / name).read_bytes() != old for name, old in written.items() if name.startswith("part-"))


def test_other_settings_start_anew(whole: tuple[Path, dict[str, PairRollouts]], tmp_path: Path) -> None:
    sample(tmp_path)
    assert str(sample(tmp_path, seed=6)) != str(whole[1])
    fewer = sample(tmp_path, config=CONFIG.model_copy(update={"rollouts": 2}))
    assert {len(r.outcomes) for r in fewer.values()} == {2}


def test_killed_between_parts_it_ends_with_the_same_rollouts(
    whole: tuple[Path, dict[str, PairRollouts]], tmp_path: Path
) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from pathlib import Path; from test_rollouts import sample\nsample(Path({str(tmp_path)!r}), slow=0.5)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("part-*.parquet"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {p.name: p.read_bytes() for p in tmp_path.glob("part-*.parquet")}
    assert 2 <= len(kept) < 5
    assert str(sample(tmp_path)) == str(whole[1])
    assert all((tmp_path / name).read_bytes() == content for name, content in kept.items())
    assert not list(tmp_path.glob("*.part")) and read_part(tmp_path / "part-00004.parquet")


def test_a_pair_without_label_is_named(tmp_path: Path) -> None:
    policy, pairs, verifier = setting()
    unlabelled = [Pair("p1", "q1", pairs[0].query, pairs[0].product)]
    with pytest.raises(UserError, match="pair 'p1' has no label"):
        sample_rollouts(policy, DOMAIN, unlabelled, verifier, CONFIG, 1, tmp_path)
