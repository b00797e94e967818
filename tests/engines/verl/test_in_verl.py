"""The plug-in in verl's own functions: verl 0.9.1 without its CUDA parts. Its trainer as a whole does not run here."""

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

verl = pytest.importorskip("verl", reason="the extra `verl` is not installed (docs/scale.md says how, without CUDA)")
from tensordict import TensorDict  # noqa: E402
from verl import DataProto  # noqa: E402
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, DictConfigWrap  # noqa: E402
from verl.trainer.ppo.core_algos import get_adv_estimator_fn  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402
from verl.utils.tensordict_utils import list_of_dict_to_tensordict  # noqa: E402

from taosr_she.base.errors import UserError  # noqa: E402
from taosr_she.credit.config import CreditConfig  # noqa: E402
from taosr_she.engines.verl import agent_loop as ours  # noqa: E402
from taosr_she.engines.verl import plugin  # noqa: E402, F401
from taosr_she.engines.verl.advantage import srpo  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "taosr_she" / "engines" / "verl"


def test_the_version_is_the_one_that_was_read():
    assert version("verl") == "0.9.1"


def test_verl_finds_the_estimator_by_the_entry_point_alone(tmp_path):
    """In a new process that imports nothing of ours. The distribution is built from pyproject.toml's own lines."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["verl.plugins"]
    info = tmp_path / "taosr_she_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: taosr-she-plugin\nVersion: 1\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[verl.plugins]", *lines]) + "\n")
    code = "import verl; from verl.trainer.ppo.core_algos import get_adv_estimator_fn as f; print(f('srpo').__module__)"
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert found.stdout.split()[-1:] == ["taosr_she.engines.verl.advantage"], found.stderr[-2000:]


@dataclass
class Server:
    """In place of verl's client of vLLM: it answers with the responses it was given, one a call."""

    answers: list[list[int]]
    prompts: list[list[int]] = field(default_factory=list)

    async def generate(self, request_id, *, prompt_ids, sampling_params):
        self.prompts.append(prompt_ids)
        ids = self.answers[len(self.prompts) - 1]
        from verl.workers.rollout.replica import TokenOutput

        return TokenOutput(token_ids=ids, log_probs=[-0.5] * len(ids), extra_fields={"min_global_steps": 1})


def loop_of(policy, server, tmp_path, prompt_length=4096, **options):
    rollout = SimpleNamespace(prompt_length=prompt_length, response_length=512)
    config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=rollout))
    return ours.SRPOAgentLoop(
        DictConfigWrap(config), server, policy.tokenizer, None, None, DictConfigWrap({}), domain="taobao", **options
    )


@pytest.fixture
def outputs(groups, tiny, domain, tmp_path):
    """What the loop gives for every rollout, the way verl calls it."""
    records = tmp_path / "annotations.jsonl"
    told = [{"pair_id": a.pair_id, "step": a.step, "conclusion": a.conclusion} for a in groups.annotations]
    records.write_text("".join(json.dumps(row | {"verdict": "correct"}) + "\n" for row in told))
    from taosr_she.data.rows import row_from_pair

    server = Server([groups.ids(row) for row in range(len(groups.rollouts.ids))])

    async def run_all():
        found = []
        for group in groups.rollouts.group.tolist():
            loop = loop_of(tiny, server, tmp_path, annotations=str(records))
            extra = {"index": group, "pair": json.dumps(row_from_pair(groups.pairs[group]))}
            found.append(await loop.run({"temperature": 1.0}, extra_info=extra, uid=f"u{group}", raw_prompt=[]))
        return found

    found = asyncio.run(run_all())
    assert server.prompts == [tiny.encode_prompt(domain, groups.pairs[g]) for g in groups.rollouts.group.tolist()]
    return found


def test_the_loop_is_verls_and_its_rewards_are_one_a_token(outputs, groups):
    assert issubclass(ours.SRPOAgentLoop, AgentLoopBase)
    for row, output in enumerate(outputs):
        fields = output.as_dict()
        assert fields["rm_scores"].shape == fields["response_mask"].shape == fields["responses"].shape
        assert fields["responses"].tolist() == groups.ids(row) and "token_rewards" not in fields
        assert len(fields["rollout_log_probs"]) == len(groups.ids(row))
        assert output.reward_score is not None and set(fields["extra_fields"]["reward_extra_info"]) >= {"acc"}


def test_advantages_of_verls_trainer_equal_those_of_our_loop(outputs, groups, tiny):
    """Through the functions that verl's trainer calls: rows as nested tensors with a row of its padding, padded, and
    `compute_advantage` with the estimator that is registered."""
    from omegaconf import OmegaConf
    from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

    rows = [
        {"uid": f"u{g}", **output.as_dict()} for g, output in zip(groups.rollouts.group.tolist(), outputs, strict=True)
    ]
    stored = list_of_dict_to_tensordict([pick(row) for row in [*rows, padding(rows[0])]])
    batch = TensorDict(
        {name: stored[name].to_padded_tensor(0) for name in ("rm_scores", "response_mask")}, len(rows) + 1
    )
    data = DataProto(batch=batch)
    data.batch["token_level_rewards"] = data.batch["rm_scores"]
    data.non_tensor_batch["uid"] = np.array([*(row["uid"] for row in rows), "pad0"], dtype=object)
    config = OmegaConf.create({"srpo": {"domain": "taobao", "credit": {"rule": "srpo", "std": True}}})
    assert get_adv_estimator_fn("srpo") is srpo
    expected = groups.credited(tiny, CreditConfig(std=True)).advantages.float()
    for compute, keys in ((compute_advantage, {}), (compute_advantage_for_multi_trajectories, {"batch_keys": []})):
        found = compute(data, adv_estimator="srpo", config=config, **keys).batch["advantages"]
        torch.testing.assert_close(found[:-1], expected, atol=1e-6, rtol=0)
        assert not found[-1].any()


def pick(row):
    return {name: row[name] for name in ("rm_scores", "response_mask")}


def padding(row):
    from verl.trainer.ppo.padding_utils import construct_minimal_padding_template

    template, _ = construct_minimal_padding_template(dict(row), {}, 0)
    return template


def test_a_prompt_that_is_too_long_is_told_with_its_pair(groups, tiny, tmp_path):
    from taosr_she.data.rows import row_from_pair

    loop = loop_of(tiny, Server([]), tmp_path, prompt_length=3)
    extra = {"index": 0, "pair": json.dumps(row_from_pair(groups.pairs[0]))}
    with pytest.raises(UserError, match=r"pair p0: its prompt has \d+ tokens, more than data.max_prompt_length=3"):
        asyncio.run(loop.run({}, extra_info=extra))


def test_the_example_is_a_configuration_of_verl():
    """Composed with verl's own defaults by hydra, and checked by verl as its `main_ppo` does."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    with initialize_config_dir(str(EXAMPLE), version_base=None):
        config = compose("two_nodes")
    validate_config(config, need_reference_policy(config), need_critic(config))
    assert config.trainer.use_v1 and not need_critic(config)
    assert OmegaConf.to_container(config.algorithm.srpo) == {
        "domain": "/shared/run/domain.yaml", "credit": {"rule": "srpo"}
    }  # fmt: skip
    (agent,) = OmegaConf.load(EXAMPLE / "agents.yaml")
    assert agent.name == config.actor_rollout_ref.rollout.agent.default_agent_loop
    assert agent._target_ == f"{ours.SRPOAgentLoop.__module__}.{ours.SRPOAgentLoop.__qualname__}"
