"""What a recipe may set about TRL, and what this engine refuses, in a file that needs neither torch nor TRL."""

from typing import Any, Literal

from pydantic import Field, model_validator

from taosr_she.base.config import Strict
from taosr_she.train.rl.settings import StepCreditSettings

REFUSED = {
    "use_liger_kernel": "its kernels were not compared with ours",
    "importance_sampling_level": "a ratio of whole responses would mix the advantages of their steps",
    "loss_type": "`settings.loss` decides it",
    "scale_rewards": "`settings.credit.std` decides it",
    "multi_objective_aggregation": "advantages come from `settings.credit`",
    "reward_weights": "advantages come from `settings.credit`",
    "top_entropy_quantile": "it would drop the advantages of most tokens",
    "off_policy_mask_threshold": "it needs one advantage for each response",
    "mask_truncated_completions": "a response that was cut off is malformed, and is trained on as such",
    "entropy_coef": "our loss has no such term",
    "use_adaptive_entropy": "our loss has no such term",
    "delta": "our loss has no such term",
    "sync_ref_model": "the KL is to the start policy",
    "use_transformers_continuous_batching": "it was not tried here",
    "generation_kwargs": "`settings.sampling` decides how responses are sampled",
    "chat_template_kwargs": "prompts are those of the domain",
    "auto_find_batch_size": "a batch is one update: lower `settings.tokens_per_microbatch`",
}
"""Argument of TRL's GRPOConfig -> why it is refused."""


class TRLSettings(Strict):
    """How TRL trains and samples, for `engine: trl`. How many processes there are, and how they share the model, is up
    to `accelerate launch`."""

    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Recompute activations instead of storing them: less memory, about a fifth slower. `auto`: on a GPU."""
    vllm: Literal["off", "colocate", "server"] = "off"
    """`off`: Hugging Face's `generate` samples. `colocate`: vLLM on the GPUs that train. `server`: a `trl vllm-serve`
    elsewhere."""
    vllm_server: str = "http://127.0.0.1:8000"
    """Address of the server."""
    vllm_memory: float = Field(default=0.3, gt=0, lt=1)
    """Share of a GPU's memory for vLLM, if colocated."""
    vllm_correction: Literal["off", "token_truncate", "token_mask"] = "token_truncate"
    """vLLM's probabilities differ from the trainer's by rounding. Multiply the loss of each token by their ratio, cut
    at 3 (`token_truncate`), or drop tokens above it (`token_mask`). Our own loop needs no such thing."""
    arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Further arguments of TRL's GRPOConfig about speed and memory, such as `{vllm_enable_sleep_mode: true}`."""

    @model_validator(mode="after")
    def _no_other_loss(self) -> "TRLSettings":
        for name in self.arguments:
            if name in REFUSED:
                raise ValueError(f"arguments.{name} is refused: {REFUSED[name]}; leave it out")
        return self


def refusal(settings: StepCreditSettings, stage: dict[str, Any]) -> str | None:
    """Why this engine cannot run an `rl` stage with these settings, and the fix; None if it can.

    `stage` has those fields of the stage that only our own loop reads: name -> value, if it is set.
    """
    given = stage | {
        "`settings.refill`": settings.refill > 0,
        "`settings.loss.label_entropy`": settings.loss.label_entropy > 0,
    }
    for name, wanted in given.items():
        if wanted:
            return f"{name}: only engine: own can do it; leave it out, or use our own loop"
    return None
