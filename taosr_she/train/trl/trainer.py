"""Shared by TRL's trainers: their arguments, the run itself, and the restoration of the model afterwards."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from taosr_she.base.errors import UserError, disk_errors
from taosr_she.ranks.work import processes
from taosr_she.train.settings import TrainerSettings

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


def arguments(
    kind: type, what: str, policy: "Policy", settings: TrainerSettings, steps: int, seed: int, folder: Path, **own: Any
) -> Any:
    """The arguments of a trainer: an instance of `kind` (`SFTConfig` and its like) for a run of `steps` steps.

    `own` are arguments that only this trainer has, or has with other values. `what` is the trained model, for messages.
    Raises UserError if several GPUs are visible: the trainer would split the batch among them.
    """
    from taosr_she.engine.precision import count_weights, in_bfloat16

    gpu = policy.device.type == "cuda"
    shared = {
        "output_dir": str(folder),
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": math.ceil(settings.warmup_share * steps),
        "max_grad_norm": settings.grad_clip,
        "seed": seed,
        "use_cpu": policy.device.type == "cpu",
        "bf16": in_bfloat16(policy.device, count_weights(policy.model), settings.precision),
        "gradient_checkpointing": False,
        "dataloader_pin_memory": gpu,
        "max_length": None,  # longer examples have already been left out
        "save_strategy": "no",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would replace a diverged loss by the mean of earlier ones
        "report_to": "none",
        "disable_tqdm": True,
    }
    with warnings.catch_warnings():
        # TRL 1.16 itself sets the old name of this option, whose renaming transformers 5.23 announces.
        warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated", FutureWarning)
        config = kind(**(shared | own))
    if processes() > 1:
        config._n_gpu = min(config.n_gpu, 1)  # the other GPUs belong to the other processes of the run
    if config.n_gpu > 1:
        raise UserError(f"{what}: training uses one GPU, but several are visible: set CUDA_VISIBLE_DEVICES=0")
    return config


def recomputes(policy: "Policy", choice: Literal["auto", "on", "off"]) -> bool:
    """Whether activations are recomputed instead of stored; `auto`: on a GPU."""
    return policy.device.type == "cuda" if choice == "auto" else choice == "on"


def run(trainer: Any, resume: Path | None = None) -> None:
    """Train without output, from the checkpoint `resume` if there is one."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    with disk_errors(Path(trainer.args.output_dir)):
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)


@contextmanager
def lent(model: Any) -> Iterator[None]:
    """For the time of training. Afterwards the model is a plain one again, on its device and in evaluation mode.

    TRL (fused head) and Accelerate (autocast) replace the forward method of a model; later stages need the original.
    """
    own_forward, device = vars(model).get("forward"), model.device
    yield
    for name in ("forward", "_original_forward"):
        vars(model).pop(name, None)
    if own_forward is not None:
        model.forward = own_forward
    if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        model.gradient_checkpointing_disable()
    model.to(device)
    model.zero_grad(set_to_none=True)
    model.eval()
