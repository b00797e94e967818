"""TRL's GRPOConfig for the settings of our own loop, so that both compute the same update."""

import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from taosr_she.base.errors import UserError
from taosr_she.engine.precision import count_weights, in_bfloat16
from taosr_she.engines.trl.settings import TRLSettings
from taosr_she.model.policy import Policy
from taosr_she.train.rl.settings import StepCreditSettings

LOSSES = {"token": "dapo", "response": "grpo"}
"""Our `normalise` -> TRL's loss type. `dapo` divides by the tokens of the whole batch, over all processes."""


def rows_at_once(settings: StepCreditSettings, longest: int, processes: int) -> tuple[int, int]:
    """Responses of a forward and backward pass of a process, and the number of its passes in an update.

    `longest` is the number of tokens of the longest prompt. As many responses as `tokens_per_microbatch` allows;
    TRL wants them in equal parts. Raises UserError if the responses cannot be divided among the processes.
    """
    whole = settings.pairs_per_update * settings.group_size
    if whole % processes:
        raise UserError(
            f"engine: trl: pairs_per_update x group_size = {whole} responses cannot be divided equally among "
            f"{processes} processes: change one of them"
        )
    mine = whole // processes
    size = longest + settings.sampling.max_new_tokens
    passes = next(
        (n for n in range(1, mine + 1) if not mine % n and mine // n * size <= settings.tokens_per_microbatch), 0
    )
    if not passes:
        raise UserError(
            f"engine: trl: a prompt of {longest} tokens and max_new_tokens={settings.sampling.max_new_tokens} exceed "
            f"tokens_per_microbatch={settings.tokens_per_microbatch}: raise it"
        )
    return mine // passes, passes


def grpo_arguments(
    policy: Policy,
    settings: StepCreditSettings,
    trl: TRLSettings,
    seed: int,
    folder: Path,
    longest: int,
    device: torch.device,
    processes: int,
) -> Any:
    """An instance of GRPOConfig. Raises UserError for `trl.arguments` that it does not have or that are ours to set."""
    from trl import GRPOConfig

    rows, passes = rows_at_once(settings, longest, processes)
    gpu, steps = device.type == "cuda", settings.epochs_per_batch
    half = in_bfloat16(device, count_weights(policy.model), settings.precision)
    ours: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": passes,
        "steps_per_generation": passes,
        "num_generations": settings.group_size,
        "num_iterations": steps,
        "max_steps": settings.updates * steps,
        "shuffle_dataset": False,  # pairs come in the order of our own loop
        "ignore_data_skip": True,  # a resumed run finds its pairs by the number of the update
        "max_completion_length": settings.sampling.max_new_tokens,
        "temperature": settings.sampling.temperature,
        "top_k": settings.sampling.top_k,
        "top_p": settings.sampling.top_p,
        "loss_type": LOSSES[settings.loss.normalise],
        "epsilon": settings.loss.clip_low,
        "epsilon_high": settings.loss.clip_high,
        "beta": settings.loss.beta,
        "use_bias_correction_kl": False,
        "importance_sampling_level": "token",
        "scale_rewards": "none",
        "disable_dropout": True,  # the update must be of the policy that sampled
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "constant",  # SRPOTrainer has our schedule
        "optim": "adamw_torch_fused" if gpu or half else "adamw_torch",
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.grad_clip,
        "seed": seed,
        "use_cpu": not gpu,
        "bf16": half,
        "gradient_checkpointing": gpu if trl.gradient_checkpointing == "auto" else trl.gradient_checkpointing == "on",
        "ddp_find_unused_parameters": False,
        "accelerator_config": {"use_configured_state": True},
        "dataloader_pin_memory": gpu,
        "remove_unused_columns": False,
        "save_strategy": "steps",
        "save_steps": settings.checkpoint_every * steps,
        "save_total_limit": 1,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "use_vllm": trl.vllm != "off",
    }
    if trl.vllm != "off":
        ours |= {
            "vllm_mode": trl.vllm,
            "vllm_importance_sampling_correction": trl.vllm_correction != "off",
            "vllm_importance_sampling_mode": "token_mask" if trl.vllm_correction == "token_mask" else "token_truncate",
            "vllm_gpu_memory_utilization": trl.vllm_memory,
        }
    if trl.vllm == "server":
        ours["vllm_server_base_url"] = trl.vllm_server
    known = {field.name for field in fields(GRPOConfig) if field.init}
    for name in trl.arguments:
        if name not in known:
            raise UserError(f"engine: trl: trl.arguments.{name}: GRPOConfig has no such argument; check its spelling")
        if name in ours:
            raise UserError(f"engine: trl: trl.arguments.{name} follows from the settings of the stage; leave it out")
    with warnings.catch_warnings():
        # TRL 1.16 itself sets the old name of this option, whose renaming transformers 5.23 announces.
        warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated", FutureWarning)
        config = GRPOConfig(**(ours | trl.arguments))
    if config.n_gpu > 1:
        raise UserError(
            "engine: trl: one process sees several GPUs: start it with `accelerate launch` (docs/scale.md), or set "
            "CUDA_VISIBLE_DEVICES=0"
        )
    return config


def peft_arguments(policy: Policy, settings: StepCreditSettings) -> Any:
    """PEFT's LoraConfig for `settings.lora`, as our own loop's; None without an adapter."""
    if settings.lora is None:
        return None
    from taosr_she.model.adapter import peft_config

    return peft_config(policy.model, settings.lora)
