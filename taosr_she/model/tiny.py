"""The tiny model: a small Qwen3-architecture LM and a tokenizer, both made from the run's own text. No download."""

from collections.abc import Iterable

import torch
from pydantic import Field

from taosr_she.domain.domain import Domain, Strict
from taosr_she.model.policy import Policy

END, PAD = "<|end|>", "<|pad|>"

# A line break, a word with its space and a key's colon, a single digit, or other signs. Splitting digits makes prices
# readable digit by digit; joining " color:" keeps responses short.
_WORDS = r"\n| ?\p{L}+:?| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+"


class TinyConfig(Strict):
    """Size of the tiny model; the default has about one million parameters."""

    hidden: int = Field(default=128, gt=0)
    """Width; a multiple of `heads`."""
    layers: int = Field(default=4, gt=0)
    """Transformer layers."""
    heads: int = Field(default=4, gt=0)
    """Attention heads."""
    ffn: int = Field(default=384, gt=0)
    """Width of the feed-forward layers."""
    vocab_size: int = Field(default=2048, ge=300)
    """Most tokens of the tokenizer; small texts give fewer."""
    max_positions: int = Field(default=1024, gt=0)
    """Longest sequence."""


def build_tiny(texts: Iterable[str], domain: Domain, config: TinyConfig, seed: int) -> Policy:
    """A model with random weights by `seed` and a byte-level BPE tokenizer trained on `texts`, on the CPU.

    The domain's section headers are single tokens. They are added tokens, not special ones: they belong to the text.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    headers = [f"[{key}]" for key in domain.step_keys]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size - len(headers), special_tokens=[END, PAD], initial_alphabet=alphabet,
        show_progress=False,
    )  # fmt: skip
    bpe.train_from_iterator(texts, trainer)
    bpe.add_tokens([AddedToken(header, normalized=False) for header in headers])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token=PAD, model_max_length=config.max_positions
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer), hidden_size=config.hidden, num_hidden_layers=config.layers,
                num_attention_heads=config.heads, num_key_value_heads=config.heads,
                head_dim=config.hidden // config.heads, intermediate_size=config.ffn, tie_word_embeddings=True,
                max_position_embeddings=config.max_positions, bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, dtype="float32",
            )
        )  # fmt: skip
    return Policy(model.eval(), tokenizer, torch.device("cpu"))
