"""LoRA adapters of PEFT: added to a model, saved as a checkpoint of their own, merged into the weights when loaded.

An adapter is useless without the exact weights it was trained on. Their location is in PEFT's own file, as PEFT writes
it, and in `base.json` as a path that stays valid when both are moved, with a fingerprint that detects other weights.
"""

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.engine.lora import has_adapter
from taosr_she.model.folder import BASE_FILE, adapter_base, is_adapter
from taosr_she.model.lora import LoraConfig

SAMPLE = 1024
"""Number of values of each weight that its fingerprint reads."""


def add_adapter(model: Any, config: LoraConfig, base: str, seed: int) -> None:
    """Freeze the weights of `model` and add a LoRA layer of PEFT to each target: A random from `seed`, B zero.

    `base` is the folder or the hub name of the weights. Raises UserError for targets that the model does not have, for
    a model that already has an adapter, and if peft is not installed.
    """
    digest = fingerprint(base, model)
    if Path(base).is_dir():  # for other readers, which know only PEFT's file
        model.name_or_path = str(Path(base).resolve())
    adapt(model, config, seed)
    model.taosr_base = {"name": base, "fingerprint": digest}


def adapt(model: Any, config: LoraConfig, seed: int) -> None:
    """As `add_adapter`, for an adapter that will be merged (`fold`) and not saved by itself."""
    own = peft_config(model, config)
    with torch.random.fork_rng(devices=[] if model.device.type == "cpu" else [model.device]):
        torch.manual_seed(seed)
        model.add_adapter(own)


def peft_config(model: Any, config: LoraConfig) -> Any:
    """PEFT's settings of an adapter for this model. Raises UserError as `add_adapter`."""
    peft = _peft()
    if has_adapter(model):
        raise UserError("lora: the model already has an adapter; merge it first")
    return peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout,
        target_modules=_targets(model, config.targets), task_type="CAUSAL_LM",
    )  # fmt: skip


def save_adapter(model: Any, folder: Path, place: Path) -> None:
    """Write adapter and `base.json` to `folder`, which is renamed to `place` when it is complete."""
    model.save_pretrained(folder)
    base = model.taosr_base["name"]
    where = {"name": base}
    if Path(base).is_dir():  # relative, so that both can be moved together
        where = {"folder": os.path.relpath(Path(base).resolve(), place.resolve())}
    write_json(folder / BASE_FILE, where | {"fingerprint": model.taosr_base["fingerprint"]})


def fold_in(name: str, base: str, model: Any) -> Any:
    """`model`, loaded from `base`, with the adapter in the folder `name` merged into its weights, as PEFT merges it.

    Raises UserError if the adapter was trained on other weights, or if it does not fit.
    """
    record = adapter_base(name)
    if "fingerprint" in record and record["fingerprint"] != fingerprint(base, model):
        raise UserError(f"model {name}: this adapter was trained on other weights than those of its base model {base}")
    peft = _peft()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", "Found missing adapter keys")  # else the adapter would have no effect
            wrapped = peft.PeftModel.from_pretrained(model, name)
            merged = wrapped.merge_and_unload(safe_merge=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # third-party code and files
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"model {name}: this adapter does not fit its base model {base} ({said})") from error
    for weight in merged.parameters():
        weight.requires_grad_(True)
    return merged


def fold(model: Any) -> None:
    """Merge the model's adapter into its weights for good; it is then a plain model with trainable weights."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "lora_A") and hasattr(module, "merge"):
            module.merge(safe_merge=True)
            model.set_submodule(name, module.get_base_layer())
    model._hf_peft_config_loaded = False
    del model.peft_config
    vars(model).pop("taosr_base", None)
    for weight in model.parameters():
        weight.requires_grad_(True)


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters for an optimizer: all weights, or those of the adapter."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def fingerprint(base: str, model: nn.Module) -> str:
    """16 hex digits of names, shapes and a sample of the weights, the same in float32 and bfloat16.

    If the base is itself an adapter, its files are used: merging it rounds differently on another machine.
    """
    digest = hashlib.sha256()
    if is_adapter(base):
        for file in (BASE_FILE, "adapter_model.safetensors"):
            digest.update((Path(base) / file).read_bytes())
        return digest.hexdigest()[:16]
    for name, weight in model.named_parameters():
        flat = weight.detach().flatten()
        sample = flat[:: max(1, flat.numel() // SAMPLE)].to(torch.bfloat16).float().cpu()
        digest.update(f"{name}{tuple(weight.shape)}".encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]


def _targets(model: Any, wanted: Sequence[str]) -> list[str]:
    heads = (model.get_output_embeddings(), getattr(model, "score", None))  # of a language model, of a reward model
    there = {n.rpartition(".")[2] for n, m in model.named_modules() if type(m) is nn.Linear and m not in heads}
    if not there:
        raise UserError(f"lora: {type(model).__name__} has no linear layers to put adapters on")
    unknown = [name for name in wanted if name not in there]
    if unknown:
        raise UserError(f"lora: no linear layer is called '{unknown[0]}'; its layers are {', '.join(sorted(there))}")
    return sorted(wanted or there)


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise UserError("LoRA adapters need the package peft: pip install 'taosr-she[lora]'") from error
    return peft
