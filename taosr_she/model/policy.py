"""A policy: a causal language model with its tokenizer, and how pairs and responses become token ids."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_pair, render_prompt, render_system
from taosr_she.errors import UserError


@dataclass
class Policy:
    """A Hugging Face causal LM and its fast tokenizer on one device."""

    model: Any
    tokenizer: Any
    device: torch.device
    special_tokens: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.device = torch.device(self.device)
        added = (token.content for token in self.tokenizer.added_tokens_decoder.values())
        self.special_tokens = tuple(dict.fromkeys([*self.tokenizer.all_special_tokens, *added]))

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens that end a response: the tokenizer's end token first, then those of the generation config."""
        more = getattr(self.model.generation_config, "eos_token_id", None)
        more = [] if more is None else more if isinstance(more, list) else [more]
        return tuple(dict.fromkeys([self.tokenizer.eos_token_id, *more]))

    @property
    def pad_id(self) -> int:
        """What fills unused places. May equal the end token: masks, not ids, say what is padding."""
        pad = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if pad is None else pad

    def encode_prompt(self, domain: Domain, pair: Pair) -> list[int]:
        """The prompt's token ids: through the tokenizer's chat template if it has one, else as plain text.

        Special and added tokens in user text are broken up first, so they never become structure.
        """
        if not self.tokenizer.chat_template:
            text = render_prompt(domain, pair, self.special_tokens)
            return self.tokenizer(text, add_special_tokens=True)["input_ids"]
        system, user = render_system(domain), render_pair(domain, pair, self.special_tokens)
        turns = [{"role": "system", "content": system}] if system else []
        turns.append({"role": "user", "content": user})
        if system and not self._has_system_turn():
            turns = [{"role": "user", "content": f"{system}\n\n{user}"}]
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def encode_response(self, text: str) -> list[int]:
        """The response's token ids with the end token."""
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id]

    def to(self, device: str) -> "Policy":
        """This policy on another device (`auto`: a GPU if there is one)."""
        target = choose_device(device)
        return Policy(self.model.to(target), self.tokenizer, target)

    def _has_system_turn(self) -> bool:
        """Whether the chat template shows a system turn; some refuse it, some drop it."""
        probe = [{"role": "system", "content": "SYSTEM-PROBE"}, {"role": "user", "content": "u"}]
        try:
            return "SYSTEM-PROBE" in self.tokenizer.apply_chat_template(probe, tokenize=False)
        except Exception as error:  # templates refuse through jinja's raise_exception, whose type is jinja's own
            if type(error).__name__ != "TemplateError":
                raise
            return False


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device '{name}': expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device '{name}': torch sees no GPU here; use cpu or auto")
    return device


def load_policy(path_or_name: str | Path, device: str = "auto", dtype: str = "auto") -> Policy:
    """Any Hugging Face causal LM from a folder or a hub name.

    dtype `auto` is bfloat16 on a GPU and float32 elsewhere; for training ask for float32 (autocast does the rest).
    Raises UserError with the mend when there is no such model, or no fast tokenizer or end token.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    target = choose_device(device)
    if dtype == "auto":
        dtype = "bfloat16" if target.type == "cuda" else "float32"
    name = str(path_or_name)
    if not Path(name).is_dir() and (Path(name).is_absolute() or name.startswith(".") or name.count("/") > 1):
        raise UserError(f"model '{name}': no such folder")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"model '{name}': neither a model folder nor a model on the hub ({reason})") from error
    if not tokenizer.is_fast:
        raise UserError(f"model '{name}': its tokenizer has no fast version, which exact step spans need")
    if tokenizer.eos_token_id is None:
        raise UserError(f"model '{name}': its tokenizer names no end token (eos_token)")
    return Policy(model.to(target).eval(), tokenizer, target)


def save_policy(policy: Policy, folder: Path) -> None:
    """A Hugging Face model folder that `from_pretrained` and vLLM open unchanged, written whole or not at all."""
    part = folder.with_name(folder.name + ".part")
    policy.model.save_pretrained(part)
    policy.tokenizer.save_pretrained(part)
    if folder.exists():
        shutil.rmtree(folder)
    part.replace(folder)
