"""TRL's GRPOTrainer on the same work, step by step, with a callback after each step."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from taosr_she.bench.machine import PeakMemory
from taosr_she.bench.work import PROMPTS, StepSize
from taosr_she.model.policy import Policy

WATCHED = 1
"""The step whose memory is measured."""

TOKENS_AT_ONCE = 16384
"""Token budget of a forward and backward pass, the same as in our own settings."""


def run_trl(
    policy: Policy, prompts: list[list[int]], cell: StepSize, steps: int, between: Callable[[], None]
) -> list[dict[str, float]]:
    """Train for `steps` updates and call `between` after each. Returns the seconds by part and `memory` of each step.

    `policy.model` is trained in place. Prompts are passed as text, which is tokenised to the same ids.
    """
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    measured: list[dict[str, float]] = []
    parts: dict[str, float] = {}
    clock: dict[str, Any] = {}

    class Steps(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            parts.clear()
            clock["memory"] = PeakMemory().__enter__() if len(measured) == WATCHED else None
            clock["started"] = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            total = time.perf_counter() - clock["started"]
            if clock["memory"]:
                clock["memory"].__exit__()
            update = parts["forward"] + parts["backward"]
            rest = total - update - parts["generation"] - parts["examination"]
            measured.append(
                {
                    "generation": parts["generation"], "examination": parts["examination"], "update": update,
                    "rest": rest, "total": total, "memory": clock["memory"].rise if clock["memory"] else 0,
                }
            )  # fmt: skip
            between()

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                parts[name] = parts.get(name, 0.0) + time.perf_counter() - started

        return run

    texts = [policy.tokenizer.decode(p) for p in prompts]
    silent = set(texts[: cell.silent])

    def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [float(p in silent or len(c) % 2 == 0) for p, c in zip(prompts, completions, strict=True)]

    rows = PROMPTS * cell.group
    passes = next(
        n for n in range(1, rows + 1) if not rows % n and rows // n * (cell.prompt + cell.response) <= TOKENS_AT_ONCE
    )
    with TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=str(Path(folder)), use_cpu=True, bf16=cell.precision == "bfloat16", beta=0.0,
            gradient_checkpointing=False, report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, max_steps=steps,
            per_device_train_batch_size=rows // passes, gradient_accumulation_steps=passes,
            num_generations=cell.group, max_completion_length=cell.response, learning_rate=1e-6, temperature=1.0,
            generation_kwargs={"min_new_tokens": cell.response}, dataloader_pin_memory=False, seed=1,
        )  # fmt: skip
        trainer = GRPOTrainer(
            model=policy.model, reward_funcs=reward, args=arguments, processing_class=policy.tokenizer,
            train_dataset=Dataset.from_dict({"prompt": texts}), callbacks=[Steps()],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer._generate = timed("generation", trainer._generate)  # type: ignore[method-assign]
        trainer._calculate_rewards = timed("examination", trainer._calculate_rewards)  # type: ignore[method-assign]
        trainer._compute_loss = timed("forward", trainer._compute_loss)  # type: ignore[method-assign]
        trainer.accelerator.backward = timed("backward", trainer.accelerator.backward)
        trainer.train()
    return measured
