"""Loads model and tokenizer from a folder, by a short name of ours, or from the Hugging Face hub.

Any problem is reported in one line.

The libraries that read these files raise many kinds of exception: tokenizers a bare Exception, torch a RuntimeError or
an UnpicklingError, transformers an ImportError. All of them are translated here and nowhere else. Custom code of a
model is never run.
"""

import errno
import logging
import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from taosr_she.base.errors import UserError
from taosr_she.engine.precision import count_weights, in_bfloat16
from taosr_she.model.folder import check_folder, is_adapter
from taosr_she.model.names import model_folder

log = logging.getLogger(__name__)


def load_parts(name: str, auto: Any, device: torch.device, precision: str = "auto") -> tuple[Any, Any]:
    """(model in eval mode on `device`, fast tokenizer) by one of the Auto classes of transformers.

    Weights are stored in bfloat16 if `in_bfloat16` says so for device, size and `precision`, else in float32.

    `name` is a folder, a short name of ours (see `names`) or a hub name.

    Raises UserError if there is no such model, or if it is of another kind, damaged, or does not fit its config; also
    if its tokenizer is not a fast one, has no end token, or has tokens without embeddings.
    """
    from transformers import AutoConfig

    name = model_folder(name)
    check_folder(name)
    if is_adapter(name):  # depending on what is installed, libraries would silently ignore it
        raise UserError(f"model {name}: is an adapter (adapter_config.json); merge it into its base model first")
    with no_progress_bars() if Path(name).exists() else nullcontext():  # a download takes minutes: keep its bar
        config = _read(name, "config", lambda: AutoConfig.from_pretrained(name, trust_remote_code=False))
        tokenizer = load_tokenizer(name)
        dtype = _read(name, "config", lambda: _dtype(config, auto, device, precision))
        # Wrong shapes are accepted here and reported below, with their numbers.
        with silent():
            model, info = _read(
                name,
                "weights",
                lambda: auto.from_pretrained(
                    name, dtype=dtype, trust_remote_code=False, ignore_mismatched_sizes=True, output_loading_info=True
                ),
                quantised_by(config),
            )
    _check_weights(name, model, info)
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"model {name}: its tokenizer is not a fast one (no tokenizer.json); convert it first")
    _read(name, "tokenizer", lambda: tokenizer("a", add_special_tokens=False))  # its options are looked at only here
    if tokenizer.eos_token_id is None:
        raise UserError(f"model {name}: the tokenizer has no end token; set eos_token in tokenizer_config.json")
    _check_tokens(name, model, tokenizer)
    return model.eval().to(device), tokenizer


def load_tokenizer(name: str) -> Any:
    """The fast tokenizer of a folder. Raises UserError."""
    from transformers import AutoTokenizer

    return _read(name, "tokenizer", lambda: AutoTokenizer.from_pretrained(name, trust_remote_code=False))


def _dtype(config: Any, auto: Any, device: torch.device, precision: str) -> torch.dtype:
    """The size is counted, on a model without memory for weights, only if the decision depends on it."""
    weights = math.inf
    if in_bfloat16(device, weights, precision) and device.type == "cpu" and precision == "auto":
        with torch.device("meta"), silent():
            weights = count_weights(auto.from_config(config))
    return torch.bfloat16 if in_bfloat16(device, weights, precision) else torch.float32


def quantised_by(config: Any) -> str:
    """The method of quantisation of the weights (gptq, bitsandbytes); "" if they are not quantised."""
    quantisation = getattr(config, "quantization_config", None)
    if not quantisation:
        return ""
    known = quantisation if isinstance(quantisation, dict) else vars(quantisation)
    method = known.get("quant_method", "by an unnamed method")
    return str(getattr(method, "value", method))


def _read(name: str, part: str, read: Callable[[], Any], quantised: str = "") -> Any:
    try:
        return read()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise UserError(_why(name, part, error, quantised)) from error


def _why(name: str, part: str, error: Exception, quantised: str) -> str:
    said = " ".join(str(error).split())[:300]
    if isinstance(error, LookupError | TypeError | AttributeError) or not said:  # their texts alone say little
        said = f"{type(error).__name__}: {said}"
    if quantised:
        return f"model {name} is quantised ({quantised}) and does not load here: {said}; or take the original weights"
    if "custom code" in said or "trust_remote_code" in said:
        return f"model {name} cannot be loaded: it needs custom code, which is never run; use another model"
    if part == "tokenizer" and not isinstance(error, OSError | ImportError):
        return f"model {name}: its tokenizer.json cannot be read ({said}); damaged, or saved by a newer tokenizers?"
    if part == "weights" and _damaged(error):
        if isinstance(error, pickle.UnpicklingError):  # torch's own text suggests running the file's content
            said = "it contains something other than weights"
        first = said.split(". ")[0][:150]
        return f"model {name} cannot be loaded: its weights are damaged ({first}); download them again"
    return f"model {name} cannot be loaded: {said}"


def _damaged(error: Exception) -> bool:
    """Whether an error means that a file of weights is not of the type that its name says."""
    return (
        isinstance(error, SafetensorError | pickle.UnpicklingError | EOFError | LookupError)
        or (isinstance(error, RuntimeError) and "PytorchStreamReader" in str(error))
        or (isinstance(error, OSError) and error.errno == errno.EINVAL)  # a seek beyond the end of the file
    )


def _check_weights(name: str, model: Any, info: dict[str, Any]) -> None:
    embeddings = model.get_input_embeddings().weight
    for key, found, wanted in sorted(info["mismatched_keys"]):
        found, wanted = tuple(found), tuple(wanted)
        what = f"{key} has the shape {found}, the config says {wanted}"
        if len(found) == 2 and wanted == tuple(embeddings.shape) and found[1] == wanted[1]:
            what = f"the embeddings have {found[0]} rows, the config says {wanted[0]} ({key})"
        raise UserError(f"model {name} cannot be loaded: {what}; config.json and weights are of different models")
    if info["missing_keys"]:  # they would be random numbers
        first, kind = sorted(info["missing_keys"])[0], type(model).__name__
        raise UserError(f"model {name}: its weights lack {first}, and perhaps more of what a {kind} needs")
    unused = sorted(info["unexpected_keys"])
    if unused:
        log.warning("model %s: %d of its weights are not used, %s the first of them", name, len(unused), unused[0])


def _check_tokens(name: str, model: Any, tokenizer: Any) -> None:
    """Every token of text, the end token and the pad token need a row in the embeddings.

    Other special tokens may lie beyond: some text-only models keep the image token of their family.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    for what, number in (
        ("end", tokenizer.eos_token_id), ("pad", tokenizer.pad_token_id), ("start", tokenizer.bos_token_id),
    ):  # fmt: skip
        if number is not None and number >= rows:
            fix = ", or make the end token the pad_token in tokenizer_config.json" if what == "pad" else ""
            raise UserError(
                f"model {name}: its {what} token is number {number}, the embeddings have {rows} rows, 0 to {rows - 1}: "
                f"resize them{fix}"
            )
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    last, text = max(((i, t) for t, i in tokenizer.get_vocab().items() if i not in special), default=(0, ""))
    if last >= rows:
        raise UserError(
            f"model {name}: token '{text}' of its tokenizer is number {last}, the embeddings have {rows} rows; "
            "the tokenizer is of another model, or the embeddings must be resized"
        )


@contextmanager
def silent() -> Iterator[None]:
    """Without transformers' loading report, a table of many lines: our own messages have the important part."""
    from transformers.utils import logging as theirs

    with errors_only(theirs):
        yield


@contextmanager
def errors_only(library: Any) -> Iterator[None]:
    """A Hugging Face library logs only errors; `library` is its module `logging`."""
    before = library.get_verbosity()
    library.set_verbosity_error()
    try:
        yield
    finally:
        library.set_verbosity(before)


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Without the progress bars of loading and saving, which would disrupt the run's own progress display."""
    from transformers.utils import logging as theirs

    shown = theirs.is_progress_bar_enabled()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            theirs.enable_progress_bar()
