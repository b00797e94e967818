"""The tiny model: a Qwen3 with random weights and a tokenizer trained on the run's own text. Nothing is downloaded."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy

END, PAD = "<|end|>", "<|pad|>"

# What may be one token: a word with the space before it and a colon after it ("Ġcolor:" is one where it is frequent),
# a digit, any other character. Values and ";" stay apart, numbers are read digit by digit.
_PIECES = r" ?\p{L}[\p{L}\p{M}]*(?:['’-]\p{L}[\p{L}\p{M}]*)*:?| ?\p{N}| ?[^\s\p{L}\p{N}]|\s"


class TinyConfig(Strict):
    """Size of the tiny model. The default has about a million weights."""

    hidden: int = Field(default=128, gt=0)
    """Width of the model."""
    layers: int = Field(default=4, gt=0)
    """Transformer blocks."""
    heads: int = Field(default=8, gt=0)
    """Attention heads; their width is hidden / heads. Comparing and copying many fields at once needs many heads: with
    4 heads of width 32, the same model learns this much later (see docs/log.md)."""
    kv_heads: int = Field(default=4, gt=0)
    """Key and value heads (grouped-query attention). With half as many as heads, sampling is a quarter faster."""
    ffn: int = Field(default=384, gt=0)
    """Width of the feed-forward layers."""
    vocab_size: int = Field(default=2048, ge=300)
    """Maximum vocabulary, including special tokens, section headers and the 256 bytes; a small text gives fewer."""
    max_positions: int = Field(default=2048, gt=0)
    """Maximum length of prompt and response together, in tokens."""
    init_std: float = Field(default=0.06, gt=0)
    """Standard deviation of the random weights. Hugging Face's default of 0.02 suits wide models. At width 128, the
    model then stays on a plateau for hundreds of steps before it learns to copy from the prompt (see docs/log.md)."""
    tie: bool = True
    """Use the token embeddings also as the output layer."""

    @model_validator(mode="after")
    def _check(self) -> "TinyConfig":
        if self.hidden % self.heads or self.hidden // self.heads % 2:
            raise ValueError(f"hidden / heads must be an even whole number, not {self.hidden} / {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads must be a multiple of kv_heads, not {self.heads} and {self.kv_heads}")
        return self


def build_tiny(texts: Iterable[str], domain: Domain, config: TinyConfig, seed: int) -> "Policy":
    """A new policy on the CPU in float32: tokenizer from `texts` (prompts with responses), weights from `seed`.

    The global random state is left as it was. Raises UserError when `vocab_size` leaves no room for the label codes.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from taosr_she.model.policy import Policy

    tokenizer = train_tokenizer(texts, domain, config)
    shape = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden,
        intermediate_size=config.ffn,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.hidden // config.heads,
        max_position_embeddings=config.max_positions,
        initializer_range=config.init_std,
        tie_word_embeddings=config.tie,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = Qwen3ForCausalLM(shape)
    return Policy(model.eval(), tokenizer, torch.device("cpu"), domain)


def train_tokenizer(texts: Iterable[str], domain: Domain, config: TinyConfig) -> Any:
    """A byte-level BPE tokenizer (PreTrainedTokenizerFast); the same texts in the same order give the same one.

    Any text survives encoding and decoding unchanged. A section header is one token, with the line break before it:
    `[query]` opens a response, `\\n[product]` goes on. Every label code is one token after a header.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    headers = [f"{before}[{key}]" for key in domain.step_keys for before in ("", "\n")]
    # A code is one piece even if it is a number or holds a sign ("10", "A+").
    codes = "|".join(re.escape(code) for code in sorted(domain.codes, key=len, reverse=True))
    pieces = rf" (?:{codes})(?![\p{{L}}\p{{N}}])|{_PIECES}"
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size - len(headers),
        min_frequency=2,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_learnt_texts(texts, domain, headers), trainer)
    core.add_tokens([AddedToken(header, normalized=False) for header in headers])
    broken = [code for code in domain.codes if len(core.encode(f" {code}").ids) > 1]
    if broken:
        raise UserError(f"tiny model: vocab_size={config.vocab_size} has no room for label '{broken[0]}': raise it")
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=config.max_positions,
    )


def _learnt_texts(texts: Iterable[str], domain: Domain, headers: list[str]) -> Iterator[str]:
    """The texts without headers, which are tokens already, then every label code as often as there are texts.

    A code that is rare in the texts would come out in pieces, and codes in pieces cannot be compared by one token.
    """
    pattern = re.compile("|".join(re.escape(h) for h in sorted(headers, key=len, reverse=True)))
    count = 2
    for text in texts:
        count += 1
        yield pattern.sub("\n", text)
    for code in domain.codes:
        yield f" {code}" * count
