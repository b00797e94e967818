"""Tokenizers that cannot carry the response format or the pair are refused before anything is trained or judged."""

from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair
from taosr_she.model.carries import check_responses, why_lost
from taosr_she.model.policy import Policy

SPECIAL = ["<unk>", "<pad>", "<s>", "</s>"]


def sentencepiece(texts: list[str]) -> Tokenizer:
    """As sentencepiece with its default normalisation: a line break becomes a space."""
    core = Tokenizer(models.Unigram())
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), spaces])  # type: ignore[assignment]
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    core.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=500, special_tokens=SPECIAL, unk_token="<unk>"))
    return core


def uncased(texts: list[str]) -> Tokenizer:
    """As BERT: brackets and colons are words of their own."""
    core = Tokenizer(models.WordPiece(unk_token="<unk>"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=500, special_tokens=SPECIAL))
    return core


def of_bytes(texts: list[str], normalizer: Any = None) -> Tokenizer:
    core = Tokenizer(models.BPE())
    if normalizer is not None:
        core.normalizer = normalizer
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet)
    core.train_from_iterator(texts, trainer)
    return core


def lower(texts: list[str]) -> Tokenizer:
    return of_bytes(texts, normalizers.Lowercase())


@pytest.fixture
def make(tiny: Policy, texts: list[str]) -> Callable[[Callable[[list[str]], Tokenizer]], Policy]:
    def made(build: Callable[[list[str]], Tokenizer]) -> Policy:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=build([*texts, "[label] E\n[label] S\n[label] C\n[label] I"]),
            unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        )  # fmt: skip
        return Policy(tiny.model, tokenizer, tiny.device)

    return made


def test_what_carries_everything(make: Callable[..., Policy], tiny: Policy, pair: Pair) -> None:
    for policy in (make(of_bytes), tiny):
        for name in ("taobao", "esci", "wands"):
            assert policy.encode_prompt(load_domain(name), pair)


@pytest.mark.parametrize(
    ("build", "name", "why"),
    [
        (sentencepiece, "taobao", r"section \[product\] missing"),
        (uncased, "taobao", "no sections"),
        (lower, "esci", "label not on the scale"),
    ],
)
def test_formats_that_do_not_survive(
    make: Callable[..., Policy], pair: Pair, build: Callable[..., Tokenizer], name: str, why: str
) -> None:
    policy = make(build)
    policy.tokenizer.name_or_path = "./mine"
    match = rf"model ./mine: its tokenizer cannot write the response format: {why} \('\[.*' comes back as '.*'\)"
    for _ in range(2):  # not only the first time
        with pytest.raises(UserError, match=match) as caught:
            policy.encode_prompt(load_domain(name), pair)
        assert "\n" not in str(caught.value)


def test_codes_whose_case_does_not_matter_survive_lower_case(make: Callable[..., Policy], pair: Pair) -> None:
    assert make(lower).encode_prompt(load_domain("taobao"), pair)  # grades are digits


def test_each_domain_is_asked_once(make: Callable[..., Policy], pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("taosr_she.model.policy.check_carries", lambda _, domain, __: asked.append(domain.name))
    policy, taobao, esci = make(of_bytes), load_domain("taobao"), load_domain("esci")
    for domain in (taobao, taobao, esci, taobao):
        policy.encode_prompt(domain, pair)
    assert asked == ["taobao", "esci"]


def test_a_tokenizer_that_drops_the_pair(make: Callable[..., Policy], pair: Pair, domain: Domain) -> None:
    lines = normalizers.Replace(Regex(r"(Query|Title): [^\n]*"), "x")  # those of prompts; responses come through
    with pytest.raises(UserError, match="drops the text of the pair: all prompts are the same"):
        make(lambda texts: of_bytes(texts, lines)).encode_prompt(domain, pair)


def test_demonstrations_are_asked_one_by_one(make: Callable[..., Policy], domain: Domain) -> None:
    good = "[query] a: b\n[product] a: b\n[category] same\n[attributes] a: match\n[label] 3"
    swaps = make(lambda texts: of_bytes(texts, normalizers.Replace("near", "same")))
    rows = [("p1", good), ("p2", good.replace("same", "near")), ("p3", "malformed already")]
    assert why_lost(swaps, domain, good) == ""
    with pytest.raises(UserError, match=r"changes 1 of 3 demonstrations.*'p2'.*'near' becomes 'same'"):
        check_responses(swaps, domain, rows)
    check_responses(make(of_bytes), domain, rows)
