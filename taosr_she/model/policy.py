"""A policy: a causal language model with its tokenizer on one device, and how pairs and responses become token ids."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_pair, render_prompt, render_system
from taosr_she.errors import UserError, disk_errors
from taosr_she.model.domain_file import save_domain, saved_domain


@dataclass
class Policy:
    """Any Hugging Face causal LM with its fast tokenizer."""

    model: Any  # PreTrainedModel with a language modelling head
    tokenizer: Any  # PreTrainedTokenizerFast
    device: torch.device
    domain: Domain | None = None  # what it was trained for; None where nobody said so

    def to(self, device: str) -> "Policy":
        """This policy, moved to `device` ("auto": the GPU if there is one)."""
        self.device = resolve_device(device)
        self.model.to(self.device)
        return self

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The model in eval mode; afterwards in the mode it was in."""
        was_training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(was_training)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens that end a response: the tokenizer's end token first, then those of the generation config."""
        config = getattr(self.model, "generation_config", None)
        more = getattr(config, "eos_token_id", None)
        more = [more] if isinstance(more, int) else more or []
        return tuple(dict.fromkeys([self.tokenizer.eos_token_id, *more]))

    @property
    def pad_id(self) -> int:
        """What fills batches. Without a pad token it is the end token: masks, never ids, say what is padding."""
        pad = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if pad is None else pad

    def encode_prompt(self, domain: Domain, pair: Pair) -> list[int]:
        """Token ids of the prompt of a pair; the response follows directly.

        With a chat template: the domain's part as system turn (before the user's text where the template has no system
        turn), the pair as user turn, thinking switched off where the template knows the switch. Without one: the plain
        prompt, after the start token if the tokenizer sets one. No text of the pair can produce a control token: every
        special and added token in it is taken apart first.
        """
        if not self.tokenizer.chat_template:
            return self._start + self._encode(render_prompt(domain, pair, self._control_strings))
        system, user = render_system(domain), render_pair(domain, pair, self._control_strings)
        if not system:
            turns = [("user", user)]
        elif self._has_system_turn:
            turns = [("system", system), ("user", user)]
        else:
            turns = [("user", f"{system}\n\n{user}")]
        return self._encode(self._chat(turns))

    def encode_response(self, text: str) -> list[int]:
        """Token ids of a response and the end token. Names of special tokens in the text are encoded as plain text."""
        return [*self._encode(text, split_special_tokens=True), self.tokenizer.eos_token_id]

    def _encode(self, text: str, **options: bool) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False, **options)["input_ids"]
        return ids

    def _chat(self, turns: list[tuple[str, str]]) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        text: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return text

    @cached_property
    def _control_strings(self) -> tuple[str, ...]:
        added = (token.content for token in self.tokenizer.added_tokens_decoder.values())
        return tuple(sorted({*self.tokenizer.all_special_tokens, *added}))

    @cached_property
    def _start(self) -> list[int]:
        bos = self.tokenizer.bos_token_id
        return [bos] if bos is not None and self.tokenizer("")["input_ids"][:1] == [bos] else []

    @cached_property
    def _has_system_turn(self) -> bool:
        """Some templates refuse a system turn, others leave it out in silence."""
        from jinja2 import TemplateError

        try:
            return "RULES" in self._chat([("system", "RULES"), ("user", "x")])
        except TemplateError:
            return False


def resolve_device(name: str) -> torch.device:
    """`auto`: the GPU if there is one, else the CPU; otherwise any device name of torch. Raises UserError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device '{name}': expected auto, cpu, cuda or cuda:<number>") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device '{name}': torch sees {torch.cuda.device_count()} GPUs here; use auto or cpu")
    return device


def load_policy(path_or_name: str | Path, device: str = "auto", dtype: str = "auto") -> Policy:
    """Load a causal LM with its fast tokenizer from a folder or, by name, from the Hugging Face hub, in eval mode.

    `dtype` is `auto` (float32 on the CPU, bfloat16 on a GPU), `float32` or `bfloat16`. Raises UserError when there is
    no such model, or it is no causal LM, misses weights, has no fast tokenizer or no end token.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = resolve_device(device)
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    dtypes["auto"] = dtypes["float32" if place.type == "cpu" else "bfloat16"]
    if dtype not in dtypes:
        raise UserError(f"dtype '{dtype}': expected auto, float32 or bfloat16")
    name = str(path_or_name)
    _check_folder(name)
    try:
        with no_progress_bars() if Path(name).exists() else nullcontext():  # a download takes minutes: keep its bar
            tokenizer = AutoTokenizer.from_pretrained(name)
            model, info = AutoModelForCausalLM.from_pretrained(name, dtype=dtypes[dtype], output_loading_info=True)
    except (OSError, ValueError, SafetensorError) as error:  # not reachable, no causal LM, broken files
        raise UserError(f"model {name} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    if info["missing_keys"]:  # they would be random numbers
        raise UserError(f"model {name}: its weights lack {sorted(info['missing_keys'])[0]} and perhaps more")
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"model {name}: its tokenizer is not a fast one (no tokenizer.json); convert it first")
    if tokenizer.eos_token_id is None:
        raise UserError(f"model {name}: the tokenizer has no end token; set eos_token in tokenizer_config.json")
    return Policy(model.to(place).eval(), tokenizer, place, saved_domain(name))


def save_policy(policy: Policy, folder: Path) -> None:
    """Write a Hugging Face model folder, which `from_pretrained` and vLLM open unchanged: whole or not at all.

    The domain that the policy was trained for stands beside the weights (`domain_file`)."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    with no_progress_bars(), disk_errors(part):
        policy.model.save_pretrained(part)
        policy.tokenizer.save_pretrained(part)
        if policy.domain is not None:
            save_domain(policy.domain, part)
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)


def _check_folder(name: str) -> None:
    """What looks like a folder must be one, with a model and a tokenizer in it: the hub is not asked for a path."""
    folder = Path(name)
    if not folder.exists():
        if folder.is_absolute() or name.count("/") > 1 or name.startswith("."):
            raise UserError(f"model {name}: no such folder")
        return
    if not (folder / "config.json").is_file():
        raise UserError(f"model {name}: no config.json there; expected a Hugging Face model folder")
    if not any(file.name.startswith(("tokenizer.", "vocab", "spiece", "tekken")) for file in folder.iterdir()):
        raise UserError(f"model {name}: no tokenizer there (tokenizer.json); copy that of the base model")


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Loading and saving draw bars that would cut through the run's own progress display."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
