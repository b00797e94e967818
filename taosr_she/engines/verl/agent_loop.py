"""verl's agent loop `srpo`: one response to a pair, whose steps are examined before it goes to the trainer."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import torch
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput
from verl.utils.profiler import simple_timer

from taosr_she.base.errors import UserError
from taosr_she.engines.verl.examined import examining
from taosr_she.engines.verl.rows import pair_of


class SRPOOutput(AgentLoopOutput):
    """What the loop gives to verl, with a reward for every token instead of one for the whole response."""

    token_rewards: list[float]
    """One for each of `response_ids`, as `codes.pack` writes them."""

    def as_dict(self) -> dict[str, Any]:
        """verl's own fields. Its trainer (`verl.trainer.ppo.v1`) stores them, and the estimator gets `rm_scores`."""
        output: dict[str, Any] = super().as_dict()
        output["rm_scores"] = torch.tensor(output.pop("token_rewards"), dtype=torch.float32)
        return output


class SRPOAgentLoop(AgentLoopBase):  # type: ignore[misc]  # verl is not typed
    """Asks the model once about the pair of a row, and examines the steps of its response.

    Its options stand in the file that `actor_rollout_ref.rollout.agent.agent_loop_config_path` names: `domain`,
    `annotations`, `examiner`, `examiner_options` as in `examined.Examining`, and `end_ids`, further tokens that end a
    response beside the tokenizer's own. UserError for a pair whose prompt is too long.
    """

    def __init__(
        self,
        *arguments: Any,
        domain: str,
        annotations: str | None = None,
        examiner: str | None = None,
        examiner_options: Mapping[str, Any] | None = None,
        end_ids: tuple[int, ...] = (),
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.examining = examining(self.tokenizer, domain, annotations, examiner, examiner_options or {})
        self.end_ids = (self.tokenizer.eos_token_id, *end_ids)

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> SRPOOutput:
        """`row`: the columns that `rows.write_rows` wrote. The result has the outcome as `acc`, which verl's validation
        reports, and a step with a known verdict as `step_<key>`, else -1."""
        pair = pair_of(row)
        prompt = await asyncio.to_thread(self.examining.prompt, pair)
        if len(prompt) > self.rollout_config.prompt_length:
            raise UserError(
                f"pair {pair.pair_id}: its prompt has {len(prompt)} tokens, more than data.max_prompt_length="
                f"{self.rollout_config.prompt_length}; raise it, or leave the pair out"
            )
        spent: dict[str, Any] = {}
        with simple_timer("generate_sequences", spent):
            found = await self.server_manager.generate(
                request_id=uuid4().hex, prompt_ids=prompt, sampling_params=sampling_params
            )
        ids = list(found.token_ids)[: self.rollout_config.response_length]
        with simple_timer("compute_score", spent):
            examined = await asyncio.to_thread(self.examining.examine, pair, ids, self.end_ids)
        keys = self.examining.domain.step_keys
        steps = {f"step_{key}": v if v == v else -1.0 for key, v in zip(keys, examined.verdicts.tolist(), strict=True)}
        preempted = -1 if found.num_preempted is None else found.num_preempted
        told = {"acc": examined.outcome, "well_formed": float(examined.response.well_formed), **steps}
        return SRPOOutput(
            prompt_ids=prompt,
            response_ids=ids,
            response_mask=[1] * len(ids),
            response_logprobs=list(found.log_probs)[: len(ids)] if found.log_probs else None,
            reward_score=examined.outcome,  # if it were None, verl would ask its reward functions
            num_turns=2,
            metrics=AgentLoopMetrics(**spent, num_preempted=preempted),
            extra_fields={**found.extra_fields, "turn_scores": [], "tool_rewards": [], "reward_extra_info": told},
            token_rewards=examined.rewards,
        )
