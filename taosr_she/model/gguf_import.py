"""Converts a GGUF file, which llama.cpp runs, to a Hugging Face model folder, which can be trained.

transformers reads the file and converts its quantised blocks to float32. But it trusts lengths in a damaged file, fills
missing weights with random numbers, draws its own progress bars, and tokenises some texts differently than in training.
All of this is checked or corrected here.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from warnings import catch_warnings, simplefilter

import torch

from taosr_she import __version__
from taosr_she.base.errors import UserError
from taosr_she.base.files import replacing_folder, sha256, write_json, write_text
from taosr_she.model.gguf_head import GGUFHead, Update, read_head
from taosr_she.model.loading import load_parts, no_progress_bars, silent
from taosr_she.model.names import CONVERSION, SOURCE

log = logging.getLogger(__name__)

TOKENIZERS = ("gpt2", "llama", "gemma4")
"""Kinds of tokenizers of causal models that transformers can build from a GGUF file."""
SPECIAL = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
"""GGUF's name of a special token -> that of transformers."""
ENDS = ("eos", "eot", "eom")
"""Tokens that end a text, a turn or a message."""
ALONE = {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"}
"""Pre-tokenizers, by llama.cpp's name, that split off every digit and then split as GPT-2 does. transformers does only
the second part, so runs of spaces before a number become other tokens than in training."""
AS_GPT2 = {"", "default", "gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling"}


def import_gguf(file: Path, folder: Path, update: Update, card: str = "") -> dict[str, Any]:
    """Write `folder`, a Hugging Face model folder in float32, completely or not at all; returns the `source.json`.

    `card` is the text of its README.md; without one, it is written from the file's own description.

    Raises UserError for a file that is damaged, of a kind that transformers does not support, or not usable here (see
    `load_parts`), and OSError if the folder cannot be written.
    """
    with _named(file):
        head = read_head(file)
        _check(head)
    source = {
        "program": f"taosr-she {__version__}",
        "conversion": CONVERSION,
        "file": file.name,
        "sha256": sha256(file, lambda done, size: update("checksum", done, size)),
        "architecture": head.architecture,
        "name": str(head.fields.get("general.name", file.stem)),
        "license": str(head.fields.get("general.license", "not stated")),
        "stored_as": dict(Counter(tensor.kind for tensor in head.tensors)),
    }
    with replacing_folder(folder) as part, _named(file, part):
        model, tokenizer = _read(file, head, update)
        source["parameters"] = sum(p.numel() for p in model.parameters())
        update("writing", 0, 1)
        with no_progress_bars():
            model.save_pretrained(part)
            tokenizer.save_pretrained(part)
        del model
        load_parts(str(part), _auto(), torch.device("cpu"), "float32")  # reports now what any later load would report
        source["files"] = {path.name: sha256(path) for path in sorted(part.iterdir())}
        write_text(part / "README.md", card or _card(source))
        write_json(part / SOURCE, source)
        update("writing", 1, 1)
    return source


def _auto() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM


@contextmanager
def _named(file: Path, part: Path | None = None) -> Iterator[None]:
    """Makes read errors name the file, not the folder in which it is converted."""
    try:
        yield
    except UserError as error:
        said = str(error).removeprefix(f"model {part}").removeprefix(str(file)).lstrip(": ")
        raise UserError(f"{file}: {said}") from error


def _check(head: GGUFHead) -> None:
    """Checks that need no weights. Counts that become modules are compared with the size of the file."""
    fields, kind = head.fields, head.fields.get("general.type", "model")
    if kind != "model":
        raise UserError(f"holds no whole model but a part ({kind}); take the model's own file")
    parts, words = fields.get("split.count", 0), fields.get("tokenizer.ggml.tokens", 0)
    if parts not in (0, 1):
        raise UserError(f"one of {parts} parts; merge them with llama.cpp's gguf-split --merge first")
    if fields.get("tokenizer.ggml.model") not in TOKENIZERS:
        raise UserError(
            f"its tokenizer is of the kind {fields.get('tokenizer.ggml.model')} (tokenizer.ggml.model); supported are "
            f"{', '.join(TOKENIZERS)}"
        )
    if fields.get("tokenizer.ggml.eos_token_id") is None:
        raise UserError("names no end token (tokenizer.ggml.eos_token_id); use another file")
    for name in (*SPECIAL, *ENDS):
        number = fields.get(f"tokenizer.ggml.{name}_token_id", 0)
        if not isinstance(number, int) or not isinstance(words, int) or not 0 <= number < words:
            raise UserError(f"a damaged GGUF file: its {name} token has the id {number}, but it has {words} tokens")
    largest = max((max(tensor.shape) for tensor in head.tensors), default=0)
    for key, most in (("block_count", len(head.tensors)), ("expert_count", largest)):
        count = fields.get(f"{head.architecture}.{key}", 0)
        if isinstance(count, int) and count > most:
            raise UserError(f"a damaged GGUF file: {head.architecture}.{key} is {count:,}; download it again")


def _read(file: Path, head: GGUFHead, update: Update) -> tuple[Any, Any]:
    """(model in float32, tokenizer), ready to be saved."""
    from transformers import AutoConfig, AutoTokenizer

    auto = _auto()
    # The file is alone in a folder: next to it, transformers would find configs of other models.
    with TemporaryDirectory() as alone, no_progress_bars(), silent(), catch_warnings(), _counted(update):
        simplefilter("ignore")  # NaN is reported below; numpy would add a warning of its own
        (Path(alone) / "model.gguf").symlink_to(file.resolve())
        how: dict[str, Any] = {"gguf_file": "model.gguf", "trust_remote_code": False}
        config = _foreign("settings", lambda: AutoConfig.from_pretrained(alone, **how))
        shell = _foreign("settings", lambda: _empty(config))
        needed = sum(p.numel() for p in shell.parameters())
        if needed > head.elements:
            raise UserError(
                f"a damaged GGUF file: its settings ask for {needed:,} weights, it has {head.elements:,}; download it "
                "again"
            )
        tokenizer = _foreign("tokenizer", lambda: AutoTokenizer.from_pretrained(alone, **how))
        model, info = _foreign(
            "weights",
            lambda: auto.from_pretrained(
                alone, **how, config=config, dtype=torch.float32, quantization_config=_dense(),
                output_loading_info=True, ignore_mismatched_sizes=True,
            ),
        )  # fmt: skip
    _check_weights(model, info)
    _mend_special(tokenizer, head)
    _mend_pieces(tokenizer, head)
    _mend_ends(model, head)
    return model, tokenizer


def _foreign(part: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # third-party code may raise anything
        said = " ".join(str(error).split())[:300]
        if isinstance(error, LookupError | TypeError | AttributeError) or not said:  # their messages alone say little
            said = f"{type(error).__name__}: {said}"
        raise UserError(f"its {part} cannot be read ({said}); damaged, or not supported by transformers") from error


def _empty(config: Any) -> Any:
    """The model without memory for its weights, to get names and shapes."""
    with torch.device("meta"):
        return _auto().from_config(config, dtype=torch.float32)


def _dense() -> Any:
    """Every weight converted to numbers, even if a kernel could compute with the quantised blocks."""
    from transformers import GgufConfig

    return GgufConfig(dequantize=True)


@contextmanager
def _counted(update: Update) -> Iterator[None]:
    """Reports every tensor that is read to `update`, instead of the progress bar of transformers."""
    from transformers import modeling_gguf_pytorch_utils as theirs

    def heard(items: Any, **_: Any) -> Iterator[Any]:
        for done, item in enumerate(items):
            update("reading", done, len(items))
            yield item
        update("reading", len(items), len(items))

    before = theirs.tqdm
    theirs.tqdm = heard
    try:
        yield
    finally:
        theirs.tqdm = before


def _check_weights(model: Any, info: dict[str, Any]) -> None:
    for key, found, wanted in sorted(info["mismatched_keys"]):
        raise UserError(
            f"a damaged GGUF file: {key} has the shape {tuple(found)}, its settings say {tuple(wanted)}; download it "
            "again"
        )
    if info["missing_keys"]:  # transformers would fill them with random numbers
        raise UserError(f"lacks the weights {sorted(info['missing_keys'])[0]}, and perhaps others; use another file")
    for name, weights in model.named_parameters():
        if not bool(weights.isfinite().all()):
            raise UserError(f"a damaged GGUF file: {name} contains infinite numbers or NaN; download it again")


def _mend_special(tokenizer: Any, head: GGUFHead) -> None:
    """Sets start, end, padding and unknown token as in the file: transformers 5.17 uses others."""
    for name, ours in SPECIAL.items():
        number = head.fields.get(f"tokenizer.ggml.{name}_token_id")
        token = None if number is None else tokenizer.convert_ids_to_tokens(number)
        if getattr(tokenizer, ours) != token:
            setattr(tokenizer, ours, token)


def _mend_pieces(tokenizer: Any, head: GGUFHead) -> None:
    """Sets the pre-tokenizer of training, if the file names one that transformers does not know."""
    from tokenizers import pre_tokenizers

    core = tokenizer.backend_tokenizer
    known = str(head.fields.get("tokenizer.ggml.pre", ""))
    if not isinstance(core.pre_tokenizer, pre_tokenizers.ByteLevel) or known in AS_GPT2:
        return  # sentencepiece, or one that transformers knows
    if known in ALONE:
        core.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        return
    log.warning(
        "transformers does not know the pre-tokenizer '%s' and uses GPT-2's; some texts become other tokens than in "
        "training: compare with the tokenizer of the original model", known,
    )  # fmt: skip


def _mend_ends(model: Any, head: GGUFHead) -> None:
    """Chat models end a turn with another token than a text; llama.cpp stops at both."""
    ends = [head.fields.get(f"tokenizer.ggml.{key}_token_id") for key in ENDS]
    ends = list(dict.fromkeys(end for end in ends if end is not None))
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]


def _card(source: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count} in {kind}" for kind, count in source["stored_as"].items())
    return (
        f"# {source['name']}\n\nConverted from the GGUF file `{source['file']}` (SHA-256 `{source['sha256']}`) by "
        f"{source['program']}. Its {source['parameters']:,} weights are float32 numbers here; the precision lost by "
        f"quantisation is not restored (tensors: {kinds}).\n\nLicence (from the file): {source['license']}.\n"
    )
