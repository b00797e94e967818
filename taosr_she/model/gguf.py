"""A GGUF file as a Hugging Face model folder: plain weights, with tokenizer and chat template beside them."""

import copy
from pathlib import Path

from taosr_she.base.errors import UserError, disk_errors
from taosr_she.model.policy import no_progress_bars


def import_gguf(file: Path, folder: Path) -> int:
    """Write the model in `file` to `folder`, in float32; how many parameters it has.

    Whatever the file's weights were rounded to, they are trained on as plain numbers. Raises UserError when the file is
    missing or no GGUF file, its architecture is unknown to transformers, or `folder` is there already.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not file.is_file():
        raise UserError(f"{file}: no such file")
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise UserError(f"{file}: not a GGUF file (it begins with other bytes)")
    if folder.exists():
        raise UserError(f"{folder}: it exists already; name another folder")
    try:
        with no_progress_bars():
            source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
            tokenizer = AutoTokenizer.from_pretrained(**source)
            model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    except ImportError as error:
        raise UserError("reading GGUF files needs the package gguf: pip install gguf") from error
    except (KeyError, OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {' '.join(str(error).split())[:300]}") from error
    # transformers does not save a model whose config says that its weights are quantised, which they no longer are.
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = copy.deepcopy(model.generation_config)
    with no_progress_bars(), disk_errors(folder):
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return sum(p.numel() for p in plain.parameters())
