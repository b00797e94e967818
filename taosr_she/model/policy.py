"""A policy: a causal language model with its tokenizer on one device, and how pairs and responses become token ids."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from taosr_she.base.errors import UserError
from taosr_she.base.files import replacing_folder
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_pair, render_prompt, render_system
from taosr_she.engine.lora import has_adapter
from taosr_she.engine.precision import count_weights, in_bfloat16
from taosr_she.model.adapter import add_adapter, fold, fold_in, save_adapter
from taosr_she.model.carries import check_carries
from taosr_she.model.chat import Chat
from taosr_she.model.domain_file import save_domain, saved_domain
from taosr_she.model.folder import base_of, is_adapter
from taosr_she.model.head import PROBES, Head, find_head
from taosr_she.model.loading import load_parts, load_tokenizer, no_progress_bars
from taosr_she.model.lora import LoraConfig


@dataclass
class Policy:
    """Any Hugging Face causal LM with its fast tokenizer."""

    model: Any  # PreTrainedModel with a language modelling head
    tokenizer: Any  # PreTrainedTokenizerFast
    device: torch.device
    domain: Domain | None = None  # the domain it was trained for; None if unknown
    source: str | None = None  # folder or hub name of its weights; None if they were made here
    heads: list[tuple[Domain, Head | None]] = field(default_factory=list, repr=False, compare=False)
    """Domains whose responses and pairs the tokenizer carries, with the head of their prompts."""

    def to(self, device: str) -> "Policy":
        """This policy, moved to `device` ("auto": the GPU if there is one)."""
        self.device = resolve_device(device)
        self.model.to(self.device)
        return self

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """As the function of that name, for its model."""
        with evaluating(self.model):
            yield

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens that end a response: the tokenizer's end token first, then those of the generation config."""
        config = getattr(self.model, "generation_config", None)
        more = getattr(config, "eos_token_id", None)
        more = [more] if isinstance(more, int) else more or []
        return tuple(dict.fromkeys([self.tokenizer.eos_token_id, *more]))

    @property
    def pad_id(self) -> int:
        """The id that fills batches. Without a pad token it is the end token: padding is marked by masks, not ids."""
        pad = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if pad is None else pad

    @property
    def positions(self) -> int | None:
        """Maximum number of tokens of prompt and response together; None if the architecture sets no limit."""
        limit: int | None = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return limit

    def encode_prompt(self, domain: Domain, pair: Pair) -> list[int]:
        """Token ids of the prompt of a pair; the response follows directly.

        With a chat template, the domain's part is the system turn (or comes before the user's text if the template has
        no system turn), the pair is the user turn, and thinking is switched off if the template has a switch for it.
        Without a chat template, it is the plain prompt, after the start token if the tokenizer sets one. No text of the
        pair can produce a control token: every special and added token in it is broken up first.

        Raises UserError if the tokenizer or its chat template does not preserve the domain's responses or the pair,
        which is checked once for each domain.
        """
        return self._prompt(domain, pair, self.head(domain))

    def head(self, domain: Domain) -> Head | None:
        """What all prompts of the domain begin with. Raises UserError as `encode_prompt`."""
        for known, head in self.heads:
            if known is domain:
                return head
        check_carries(self, domain, partial(self._prompt, domain))
        probes = [Pair("probe", "probe", query, Product(title=query[::-1])) for query in PROBES]
        self.heads.append((domain, find_head(self.tokenizer, [self._text(domain, pair) for pair in probes])))
        return self.heads[-1][1]

    def encode_response(self, text: str) -> list[int]:
        """Token ids of a response and the end token. Names of special tokens in the text are encoded as plain text."""
        return [*self._encode(text, split_special_tokens=True), self.tokenizer.eos_token_id]

    def _prompt(self, domain: Domain, pair: Pair, head: Head | None = None) -> list[int]:
        text, start = self._text(domain, pair), [] if self.tokenizer.chat_template else self._start
        if head is None or not text.startswith(head.text):
            return start + self._encode(text)
        return start + head.ids + self._encode(text[len(head.text) :])

    def _text(self, domain: Domain, pair: Pair) -> str:
        if not self.tokenizer.chat_template:
            return render_prompt(domain, pair, self._control_strings)
        system, user = render_system(domain), render_pair(domain, pair, self._control_strings)
        if not system:
            turns = [("user", user)]
        elif self._chat.has_system_turn:
            turns = [("system", system), ("user", user)]
        else:
            turns = [("user", f"{system}\n\n{user}")]
        return self._chat.text(turns)

    def _encode(self, text: str, **options: bool) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False, **options)["input_ids"]
        return ids

    @cached_property
    def _chat(self) -> Chat:
        return Chat(self.tokenizer)

    @cached_property
    def _control_strings(self) -> tuple[str, ...]:
        added = (token.content for token in self.tokenizer.added_tokens_decoder.values())
        return tuple(sorted({*self.tokenizer.all_special_tokens, *added}))

    @cached_property
    def _start(self) -> list[int]:
        bos = self.tokenizer.bos_token_id
        return [bos] if bos is not None and self.tokenizer("")["input_ids"][:1] == [bos] else []


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put the model in eval mode, and restore its mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


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

    The folder may contain an adapter: its base model is then loaded, and the adapter merged into the weights.

    `dtype` is `auto` (bfloat16 on a GPU, and for larger models on a CPU that multiplies it; else float32), `float32` or
    `bfloat16`. Raises UserError if there is no such model, or if it cannot be used (see `load_parts`).
    """
    from transformers import AutoModelForCausalLM

    place = resolve_device(device)
    if dtype not in ("auto", "float32", "bfloat16"):
        raise UserError(f"dtype '{dtype}': expected auto, float32 or bfloat16")
    if is_adapter(path_or_name):
        return _load_adapter(str(path_or_name), place, dtype)
    model, tokenizer = load_parts(str(path_or_name), AutoModelForCausalLM, place, dtype)
    return Policy(model, tokenizer, place, saved_domain(str(path_or_name)), str(path_or_name))


def _load_adapter(name: str, place: torch.device, dtype: str) -> Policy:
    """Merged in float32 and rounded afterwards, so that the small values of the adapter are not lost."""
    base = base_of(name)
    policy = load_policy(base, "cpu", "float32")
    model = fold_in(name, base, policy.model)
    rounded = torch.bfloat16 if in_bfloat16(place, count_weights(model), dtype) else torch.float32
    own = (Path(name) / "tokenizer.json").is_file()
    tokenizer = load_tokenizer(name) if own else policy.tokenizer
    return Policy(model.to(place, rounded).eval(), tokenizer, place, saved_domain(name) or policy.domain, name)


def put_adapter(policy: Policy, config: LoraConfig, seed: int, folder: Path) -> None:
    """Freeze the policy's weights and add a LoRA adapter; from now on, only the adapter is trained and saved.

    Weights that exist only in memory are first written to `folder/base`, because an adapter is useless without them.
    Raises UserError as `add_adapter`.
    """
    if policy.source is None:
        save_policy(policy, folder / "base")
        policy.source = str(folder / "base")
    add_adapter(policy.model, config, policy.source, seed)


def save_trained(policy: Policy, folder: Path, lora: LoraConfig | None) -> None:
    """Write `folder/checkpoint` and, for an adapter if requested, the whole model to `folder/merged`; the policy is
    then a plain model."""
    save_policy(policy, folder / "checkpoint")
    if lora is not None and lora.merged:
        fold(policy.model)
        save_policy(policy, folder / "merged")


def save_policy(policy: Policy, folder: Path) -> None:
    """Write a Hugging Face model folder, which `from_pretrained` and vLLM open unchanged, completely or not at all.
    For a policy with an adapter, only the adapter is written, as PEFT writes it.

    The domain that the policy was trained for is saved with the weights (`domain_file`)."""
    with no_progress_bars(), replacing_folder(folder) as part:
        if has_adapter(policy.model):
            save_adapter(policy.model, part, folder)
        else:
            policy.model.save_pretrained(part)
        policy.tokenizer.save_pretrained(part)
        if policy.domain is not None:
            save_domain(policy.domain, part)
