"""`SRPOTrainer`: TRL's GRPOTrainer whose advantages are those of our credit rules, one for each token.

Two private methods of TRL 1.16 are replaced: `_tokenize_prompts`, so that prompts are those of the domain, token by
token; and `_generate_and_score_completions` is followed by the advantages. Rollouts are gathered, so that rank 0 sees
whole groups; it examines and credits them, and every process takes its own rows of the result.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOTrainer

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.engines.trl.arguments import grpo_arguments, peft_arguments
from taosr_she.engines.trl.lead import Credited, Lead
from taosr_she.engines.trl.settings import TRLSettings
from taosr_she.engines.trl.start_check import StartCheck, check_vllm, gathered
from taosr_she.engines.trl.world import Together
from taosr_she.model.policy import Policy
from taosr_she.train.rl.curriculum import Curriculum, Leg
from taosr_she.train.rl.schedule import balanced_pairs_for_update, learning_rate, pairs_for_update, sampling_seed
from taosr_she.train.rl.settings import StepCreditSettings


class SRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """Trains `policy.model` on pairs, with credit on steps. Every process makes one, inside of `world`.

    >>> with world(policy.device, "my training") as processes:                           # doctest: +SKIP
    ...     lead = Lead(policy, domain, pairs, examiner, settings, folder) if rank == 0 else None
    ...     trl = TRLSettings()
    ...     SRPOTrainer(policy, domain, pairs, lead, settings, trl, seed, folder, policy.device, processes).train()
    """

    def __init__(
        self,
        policy: Policy,
        domain: Domain,
        pairs: Sequence[Pair],
        lead: Lead | None,
        settings: StepCreditSettings,
        trl: TRLSettings,
        seed: int,
        folder: Path,
        device: torch.device,
        processes: int = 1,
        curriculum: Curriculum | None = None,
    ) -> None:
        """`policy` has the start weights, in float32; its `source` is where they lie, for the KL reference. `lead` is
        rank 0's alone. All else is the same in all processes. With a `curriculum`, pairs and credit are those of its
        stages, and `settings.updates` is their sum."""
        self._legs = curriculum.legs if curriculum else [Leg(pairs, settings)]
        self.pairs: list[Pair] = []  # of the present update
        self._settings, self._seed = settings, seed
        used = {
            pair.pair_id: pair
            for leg in self._legs
            for update in range(settings.updates)
            for pair in self._pairs_of(leg, update)
        }
        self._prompts = {name: policy.encode_prompt(domain, pair) for name, pair in used.items()}
        longest = max(map(len, self._prompts.values()))
        _check_room(policy, longest, settings)
        self.policy, self.lead, self._folder = policy, lead, folder
        self._counts: list[Tensor] = []  # of an optimizer step: tokens of each micro-batch that take part in the loss
        self._clock: dict[str, float] = {}
        self._began = 0.0
        self._credited: Credited | None = None
        self._responses: list[list[int]] = []  # of this process
        arguments = grpo_arguments(policy, settings, trl, seed, folder / "trainer", longest, device, processes)

        def outcome(completion_ids: list[list[int]], **_: Any) -> list[float]:
            return self._credit(completion_ids)

        adapter = peft_arguments(policy, settings)
        torch.manual_seed(seed)  # of the adapter's start, as in our own loop
        super().__init__(
            model=policy.model,
            args=arguments,
            reward_funcs=outcome,
            processing_class=policy.tokenizer,
            peft_config=adapter,
            # A prompt is the place of its pair among all of the training.
            train_dataset=Dataset.from_dict(
                {"prompt": [str(place) for place in range(settings.updates * settings.pairs_per_update)]}
            ),
            callbacks=[_Steps(self)],
        )
        self.remove_callback(PrinterCallback)
        self.check = None if trl.vllm != "off" else StartCheck(self, folder)

    @property
    def update(self) -> int:
        """The number of the present update, counted from 0."""
        return int(self.state.global_step) // self._settings.epochs_per_batch

    @property
    def rows(self) -> slice:
        """Where the rollouts of this process are among all of the update."""
        whole = self._settings.pairs_per_update * self._settings.group_size
        mine = whole // self.accelerator.num_processes
        return slice(mine * self.accelerator.process_index, mine * (self.accelerator.process_index + 1))

    def _pairs_of(self, leg: Leg, update: int) -> list[Pair]:
        choose = balanced_pairs_for_update if self._settings.balance else pairs_for_update
        return choose(leg.pairs, update, self._settings.pairs_per_update, self._seed)

    def my_prompts(self) -> list[list[int]]:
        """Token ids of the prompt of each of this process's rollouts."""
        size = self._settings.group_size
        return [self._prompts[self.pairs[b // size].pair_id] for b in range(self.rows.start, self.rows.stop)]

    def looked_at(self) -> tuple[list[list[int]], list[list[int]]]:
        """Prompts and responses of this process for the start-up check: those with signal first."""
        assert self._credited is not None
        signal = self._credited.signal[self.rows].tolist()
        order = sorted(range(len(signal)), key=lambda b: not signal[b])
        prompts = self.my_prompts()
        return [prompts[b] for b in order], [self._responses[b] for b in order]

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """The pairs follow from the number of the update, also in a resumed run whose data begin anew."""
        size, groups = self._settings.group_size, self._settings.pairs_per_update
        expected = [b // size for b in range(self.rows.start, self.rows.stop)]
        assert [int(place) % groups for place in prompts] == expected, "TRL has dealt the prompts in another order"
        return self.my_prompts(), None, {}

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's batch with advantages (B, T); groups without signal take no part in the loss, but count in its mean."""
        self._clock, self._began = {"examine": 0.0}, time.perf_counter()
        self.pairs = self._pairs_of(self._legs[self._of_lead(lambda lead: lead.begin())], self.update)
        # Everything random depends on seed, update and process, so a resumed run goes on as it would have.
        torch.manual_seed(sampling_seed(self.args.seed, self.update) + self.accelerator.process_index)
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.use_vllm:
            check_vllm(self, self.my_prompts(), self._responses, output["sampling_per_token_logps"], self._folder.name)
        assert self._credited is not None
        if self.check is not None and self._credited.advantages.any():  # else there is no gradient
            # Not later: with DeepSpeed, the optimizer's step is a part of the backward pass.
            self.check.before(*self.looked_at())
        length, device = output["completion_ids"].shape[1], output["completion_ids"].device
        output["advantages"] = self._credited.advantages[self.rows, :length].to(device)
        signal = self._credited.signal[self.rows, None].long().expand(-1, length)
        output["tool_mask"] = signal.to(device)
        self._clock["generate"] = time.perf_counter() - self._began - self._clock["examine"]
        self._began = time.perf_counter()
        return output

    def mark_divided(self) -> None:
        """Let `generate` know that the model is divided: each process must then take as many steps as the others, or
        they wait for ever. transformers 5.23 knows this only of models that it has divided itself."""
        if self.is_fsdp_enabled:
            for model in (self.model, _inner(self.model)):
                model._is_fsdp_managed_module = True

    def _credit(self, responses: list[list[int]]) -> list[float]:
        """Outcomes of the rollouts of this process; rank 0 has seen those of all."""
        started = time.perf_counter()
        self._responses = responses
        every = [row for part in gathered(responses) for row in part]
        credited: Credited = self._of_lead(lambda lead: lead.credit(self.pairs, every))
        self._credited = credited
        self._clock["examine"] = time.perf_counter() - started
        return credited.outcomes[self.rows]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        loss: Tensor = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self._counts.append((inputs["completion_mask"] * inputs["tool_mask"]).sum())
        return loss

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """All of them, as in our own loop."""
        return [name for name, _ in model.named_parameters()]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The learning rate of our own loop; each epoch over a batch has that of its update."""
        s = self._settings

        def factor(step: int) -> float:
            return learning_rate(1.0, step // s.epochs_per_batch, s.warmup_updates, s.updates, s.schedule)

        if self.lr_scheduler is None:
            self.lr_scheduler: Any = LambdaLR(self.optimizer if optimizer is None else optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """After each optimizer step, in all processes: rank 0 writes the row of a finished update."""
        if "grad_norm" in logs and "loss" in logs:
            self._log_update(logs)
        super().log(logs, start_time)

    def _log_update(self, logs: dict[str, float]) -> None:
        counts = self.accelerator.reduce(torch.stack(self._counts), reduction="sum").tolist()
        self._counts.clear()
        step, epochs = int(self.state.global_step), self._settings.epochs_per_batch
        if step % epochs:
            return
        whole, seen = sum(counts), self._metrics["train"]

        def mean(name: str) -> float:
            """TRL has a mean over the tokens of each micro-batch; those of an update's last epoch come last."""
            values = seen[name][-len(counts) :]
            return sum(n * value for n, value in zip(counts, values, strict=True)) / whole

        stats: dict[str, Any] = {
            "loss": logs["loss"] if whole else 0.0,
            "grad_norm": logs["grad_norm"] if whole else 0.0,
            "entropy": mean("entropy") if whole else float("nan"),
            "kl": mean("kl") if whole and self.beta else 0.0,
            "clip_share": mean("clip_ratio/region_mean") if whole else 0.0,
            "lr": logs["learning_rate"],
        }
        seconds = {
            "generate": self._clock["generate"], "examine": self._clock["examine"],
            "update": time.perf_counter() - self._began,
        }  # fmt: skip
        if self._of_lead(lambda lead: lead.write(step // epochs - 1, stats, seconds)):
            self.control.should_training_stop = True

    def _of_lead(self, call: Callable[[Lead], Any]) -> Any:
        """What rank 0's lead answers, in all processes; its UserError is raised in all of them."""
        from accelerate.utils import broadcast_object_list

        told: list[Any] = [None]
        if self.lead is not None:
            try:
                told = [call(self.lead)]
            except UserError as error:  # the others wait for an answer
                told = [error]
        (answer,) = broadcast_object_list(told)
        if isinstance(answer, UserError):
            raise Together(str(answer))
        return answer


class _Steps(TrainerCallback):  # type: ignore[misc]
    """What happens around an optimizer step."""

    def __init__(self, trainer: SRPOTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._trainer.mark_divided()

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        trainer = self._trainer
        assert trainer._credited is not None
        if not trainer._credited.signal.any():
            # Nothing to learn: an optimizer would go on in the direction of earlier updates.
            trainer.optimizer.zero_grad(set_to_none=True)

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        if self._trainer.check is not None:
            self._trainer.check.after()


def _inner(model: Any) -> Any:
    """The language model inside of PEFT's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _check_room(policy: Policy, longest: int, settings: StepCreditSettings) -> None:
    limit = policy.positions
    if limit and longest + settings.sampling.max_new_tokens > limit:
        raise UserError(
            f"a prompt of {longest} tokens and max_new_tokens={settings.sampling.max_new_tokens} exceed the model's "
            f"{limit} positions: lower max_new_tokens or cut the prompt's fields in the domain"
        )
