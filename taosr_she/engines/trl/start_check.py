"""The start-up check (`train/rl/start_check.py`) for TRL: does an update reach whoever samples?

Hugging Face's `generate` is asked for the log-probabilities of given tokens on the very way on which TRL samples:
through TRL's unwrapping of the model, with the sharding, the adapter and the cache of that way. Each process looks at
rollouts of its own. vLLM only tells the log-probabilities of what it samples, so there each update's are compared.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.engines.trl.world import Together
from taosr_she.train.rl.start_check import BOUNDS, FILE, ROWS, TOKENS, Look, judge

HALF_BOUND = BOUNDS[True][0]


class StartCheck:
    """Looks at the first update that learns. All processes call `before` and `after` together."""

    def __init__(self, trainer: Any, folder: Path) -> None:
        self._trainer, self._folder, self._state = trainer, folder, "new"

    def before(self, prompts: list[list[int]], responses: list[list[int]]) -> None:
        """With the weights before the first optimizer step that changes them, and B responses of this process, some of
        which are used."""
        if self._state != "new":
            return
        self._state = "begun"
        self._prompts, self._responses = prompts[:ROWS], [r[:TOKENS] for r in responses[:ROWS]]
        self._was = self._look()

    def after(self) -> None:
        """After it. Raises Together in all processes if it has not reached the sampler of one of them."""
        if self._state != "begun":
            return
        self._state = "done"
        mask = torch.zeros(len(self._responses), TOKENS, dtype=torch.bool)
        for row, response in zip(mask, self._responses, strict=True):
            row[: len(response)] = True
        (sampled_before, trained_before), (sampled, trained) = self._was, self._look()
        mine = Look(sampled_before, sampled, trained_before, trained, mask)
        looks = gathered(mine)
        try:
            found = judge(looks, self._trainer.args.bf16, self._folder.name)
        except UserError as error:  # all processes judge all looks
            raise Together(str(error)) from error
        if self._trainer.lead is not None:
            write_json(self._folder / FILE, found)

    def _look(self) -> tuple[Tensor, Tensor]:
        """Log-probabilities (R, T) by the sampler, and by the trainer."""
        trainer = self._trainer
        devices = [trainer.accelerator.device] if trainer.accelerator.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), forcing(trainer, self._responses) as heard:
            trainer._generate_single_turn(self._prompts, None, {}, trainer.num_generations)
        trained = trained_logprobs(trainer, self._prompts, self._responses)
        _give_back(trainer.model)
        return heard[0], trained


def _give_back(model: Any) -> None:
    """FSDP2 keeps some weights that a forward pass has gathered until the next backward pass. If anything else comes
    first that changes weights or saves them, these would be old."""
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def gathered(mine: Any) -> list[Any]:
    """What each process has, in the order of the ranks."""
    from accelerate.utils import gather_object

    found: list[Any] = gather_object([mine])
    return found


def trained_logprobs(trainer: Any, prompts: list[list[int]], responses: list[list[int]]) -> Tensor:
    """(R, TOKENS) log-probabilities of the responses' first tokens as the loss computes them, 0 after their end."""
    device, pad = trainer.accelerator.device, trainer._tokenizer.pad_token_id
    longest = max(map(len, prompts))
    rows = [
        [pad] * (longest - len(p)) + p + r + [pad] * (TOKENS - len(r)) for p, r in zip(prompts, responses, strict=True)
    ]
    seen = [
        [0] * (longest - len(p)) + [1] * (len(p) + len(r)) + [0] * (TOKENS - len(r))
        for p, r in zip(prompts, responses, strict=True)
    ]
    ids, mask = torch.tensor(rows, device=device), torch.tensor(seen, device=device)
    with torch.no_grad():
        logprobs, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, TOKENS)
    return logprobs.float().cpu().masked_fill(mask[:, -TOKENS:].cpu() == 0, 0.0)


@contextmanager
def forcing(trainer: Any, responses: list[list[int]]) -> Iterator[list[Tensor]]:
    """Inside, the model generates these responses whatever is drawn. The list then has their log-probabilities
    (R, TOKENS) by the sampler, at the sampling temperature, 0 after their end."""
    model, heard = trainer.accelerator.unwrap_model(trainer.model_wrapped), []
    own = vars(model).get("generate")
    generate: Callable[..., Any] = model.generate
    end = trainer._tokenizer.eos_token_id
    width = max(map(len, responses))
    wanted = torch.tensor([r + [end] * (width - len(r)) for r in responses], device=trainer.accelerator.device)

    def forced(**options: Any) -> Tensor:
        config = copy.deepcopy(options["generation_config"])
        config.update(max_new_tokens=wanted.shape[1], output_logits=True, return_dict_in_generate=True)
        only = LogitsProcessorList([_Wanted(wanted, options["input_ids"].shape[1])])
        said = generate(**options | {"generation_config": config, "logits_processor": only})
        logits = torch.stack(said.logits, dim=1).float() / trainer.temperature
        logprobs = logits.log_softmax(-1).gather(-1, wanted[:, : logits.shape[1], None])[..., 0].cpu()
        found = torch.zeros(len(responses), TOKENS)
        for row, logprob, response in zip(found, logprobs, responses, strict=True):
            row[: len(response)] = logprob[: len(response)]
        heard.append(found)
        sequences: Tensor = said.sequences
        return sequences

    model.generate = forced
    try:
        yield heard
    finally:
        if own is None:
            del model.generate
        else:
            model.generate = own


class _Wanted(LogitsProcessor):  # type: ignore[misc]
    """Leaves one token possible at each step: wanted (R, T)."""

    def __init__(self, wanted: Tensor, begins: int) -> None:
        self._wanted, self._begins = wanted, begins

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self._begins
        return torch.full_like(scores, -torch.inf).scatter_(1, self._wanted[:, step, None], 0.0)


def check_vllm(trainer: Any, prompts: list[list[int]], responses: list[list[int]], sampled: Tensor, stage: str) -> None:
    """Compare the log-probabilities that vLLM gave with some responses, sampled (B, T), with the trainer's.

    An adapter or an update that does not reach vLLM drives them apart, the further the longer it trains. Raises
    UserError in all processes if they differ by more than rounding in half precision."""
    firsts = [r[:TOKENS] for r in responses[:ROWS]]
    trained, gap, count = trained_logprobs(trainer, prompts[:ROWS], firsts), 0.0, 0
    for own, given, response in zip(trained, sampled[:ROWS].float().cpu(), firsts, strict=True):
        known = given[: len(response)].isfinite()
        gap += float((own[: len(response)] - given[: len(response)])[known].abs().sum())
        count += int(known.sum())
    totals = gathered((gap, count))
    apart = sum(g for g, _ in totals) / max(1, sum(n for _, n in totals))
    if apart > HALF_BOUND:
        raise Together(
            f"{stage}: stopped: vLLM's log-probabilities and the trainer's differ by {apart:.2g} per token on average "
            f"(at most {HALF_BOUND:g} expected): updates do not reach vLLM; please report this with your model and "
            "settings"
        )
