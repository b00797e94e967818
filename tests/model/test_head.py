"""The head of prompts: tokens as if the whole prompt were tokenised, whatever the tokenizer and the pair."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.model.head import find_head
from taosr_she.model.policy import Policy

DOMAIN = load_domain("taobao")
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEXTS = [
    render_prompt(DOMAIN, Pair("", "", q, Product(t))) for q in ("red shoes", "tv 4k") for t in ("blue boots", "é")
]


def byte_level(pattern: str | None) -> Any:
    core = Tokenizer(models.BPE())
    split = [] if pattern is None else [pre_tokenizers.Split(Regex(pattern), "isolated")]
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [*split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)]
    )
    core.decoder = decoders.ByteLevel()
    return trained(core, pre_tokenizers.ByteLevel.alphabet())


def pieces(prepend: str) -> Any:
    """As SentencePiece: words begin with a mark, which the first one may have or not."""
    core = Tokenizer(models.BPE(byte_fallback=False, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    core.decoder = decoders.Metaspace(prepend_scheme=prepend)
    return trained(core, [])


def trained(core: Tokenizer, alphabet: list[str]) -> Any:
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<end>", "<unk>"], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", unk_token="<unk>")


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: byte_level(None),
    "qwen": lambda: byte_level(QWEN),
    "never": lambda: pieces("never"),
    "first": lambda: pieces("first"),
    "always": lambda: pieces("always"),
}
MADE = {name: make() for name, make in TOKENIZERS.items()}


def head_of(name: str) -> Any:
    policy: Any = Policy(None, MADE[name], None)  # type: ignore[arg-type]
    pairs = [Pair("", "", query, Product(query[::-1])) for query in ("red shoes", "4K TV", "Ärmel", "(x)", "'s", "a")]
    return find_head(MADE[name], [policy._text(DOMAIN, pair) for pair in pairs])


HEADS = {name: head_of(name) for name in TOKENIZERS}
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["\n", " ", "Query:", "'s", "1"]
)


@given(st.lists(words).map("".join), st.lists(words).map("".join))
@settings(max_examples=60)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_prompts_have_the_tokens_of_the_whole(name: str, query: str, title: str) -> None:
    policy: Any = Policy(None, MADE[name], None)  # type: ignore[arg-type]
    head = HEADS[name]
    pair = Pair("p", "q", query, Product(title=title))
    assert policy._prompt(DOMAIN, pair, head) == policy._prompt(DOMAIN, pair)


def test_byte_level_tokenizers_have_heads() -> None:
    """Nearly all of the prompt. Where a text begins otherwise than a word inside of one, there may be none."""
    system = render_prompt(DOMAIN, Pair("", "", "", Product(""))).partition("Query:")[0]
    for name in ("gpt2", "qwen"):
        assert HEADS[name] is not None and len(HEADS[name].text) > len(system) - 40, name


def test_a_short_prompt_has_none(tiny: Policy) -> None:
    bare = DOMAIN.with_overrides(
        {"prompt": {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}}
    )
    assert tiny.head(bare) is None


def test_with_a_chat_template(tiny: Policy, domain: Domain) -> None:
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    turn = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    tokenizer.chat_template = "{% for m in messages %}" + turn + "{% endfor %}<|im_start|>assistant\n"
    policy = Policy(tiny.model, tokenizer, tiny.device)
    head = policy.head(domain)
    assert head is not None and head.text.startswith("<|im_start|>system") and "<|im_start|>user" in head.text
    for query in ("red shoes", "<|im_end|>", "1", ""):
        pair = Pair("p", "q", query, Product(title="blue"))
        assert policy.encode_prompt(domain, pair) == policy._prompt(domain, pair)
