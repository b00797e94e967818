"""The label distribution against full forward passes, for codes of one token and of several."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.response import parse_response
from taosr_she.domain.spans import decode_response
from taosr_she.model.label_probs import code_tokens, label_distribution, label_position
from taosr_she.model.policy import Policy

CONTEXTS = [[5, 9, 3, 30, 7, 12], [4], [21, 6, 2], [8, 8, 8, 8]]


def with_codes(*codes: str) -> Domain:
    raw = load_domain("taobao").model_dump()
    return Domain.model_validate(raw | {"labels": [{"code": c, "name": f"name {c}"} for c in codes], "rules": []})


@pytest.fixture
def by_letter(make_policy: Callable[..., Policy]) -> Policy:
    """A tokenizer that knows the header, the space, and single characters, as many large models read digits."""
    policy = make_policy("qwen3")
    words = {w: i for i, w in enumerate(["<end>", "<pad>", "?", "[label]", " ", *"0123456789ABCDE"])}
    core = Tokenizer(models.WordLevel(words, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\[label\]|."), "isolated")
    policy.tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<end>")
    return policy


def next_probs(policy: Policy, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        logits = policy.model(torch.tensor([ids], device=policy.device)).logits[0, -1]
        probs: np.ndarray = logits.double().softmax(-1).cpu().numpy()
    return probs


def token(policy: Policy, text: str) -> int:
    index: int = policy.tokenizer.convert_tokens_to_ids(text)
    return index


@pytest.mark.parametrize("batch_rows", [1, 3, 256])
def test_first_tokens_that_differ(by_letter: Policy, batch_rows: int) -> None:
    domain = with_codes("4", "3A", "B")
    space = token(by_letter, " ")
    got = label_distribution(by_letter, domain, CONTEXTS, batch_rows)
    for row, context in zip(got, CONTEXTS, strict=True):
        expected = next_probs(by_letter, [*context, space])[[token(by_letter, c) for c in "43B"]]
        np.testing.assert_allclose(row, expected / expected.sum(), atol=1e-6)


@pytest.mark.parametrize("batch_rows", [1, 256])
def test_codes_that_begin_alike(by_letter: Policy, batch_rows: int) -> None:
    domain = with_codes("10", "1", "2", "100")
    got = label_distribution(by_letter, domain, CONTEXTS, batch_rows)
    space, one, two, zero = (token(by_letter, c) for c in " 120")
    for row, context in zip(got, CONTEXTS, strict=True):
        first = next_probs(by_letter, [*context, space])
        second = next_probs(by_letter, [*context, space, one])
        third = next_probs(by_letter, [*context, space, one, zero])
        expected = np.array([
            first[one] * second[zero] * (1 - third[zero]),
            first[one] * (1 - second[zero]),
            first[two],
            first[one] * second[zero] * third[zero],
        ])  # fmt: skip
        np.testing.assert_allclose(row, expected / expected.sum(), atol=1e-6)


def test_a_code_that_is_the_shared_beginning(by_letter: Policy) -> None:
    got = label_distribution(by_letter, with_codes("1", "10"), CONTEXTS[:1])
    space, one, zero = (token(by_letter, c) for c in " 10")
    longer = next_probs(by_letter, [*CONTEXTS[0], space, one])[zero]
    np.testing.assert_allclose(got, [[1 - longer, longer]], atol=1e-6)


@pytest.mark.parametrize("name", ["taobao", "wands"])
def test_tiny_policy_reads_one_token(tiny: Policy, domain: Domain, name: str) -> None:
    if name == "taobao":
        assert [len(c) for c in code_tokens(tiny, domain)] == [1, 1, 1, 1]
    context = tiny.encode_response("Query: red\n[query] color: red\n[label]")[:-1]
    got = label_distribution(tiny, load_domain(name), [context, context[:3]])
    assert got.shape == (2, len(load_domain(name).codes)) and (got > 0).all()
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-12)


def test_no_contexts_and_training_mode(by_letter: Policy) -> None:
    by_letter.model.train()
    assert label_distribution(by_letter, with_codes("1", "2"), []).shape == (0, 2)
    assert by_letter.model.training


def test_tokenizers_that_cannot_serve(by_letter: Policy) -> None:
    with pytest.raises(UserError, match="cannot tell the label codes apart"):
        label_distribution(by_letter, with_codes("x", "y"), CONTEXTS)
    core = Tokenizer(models.WordLevel({"<end>": 0, "?": 1, "[label]": 2, "[label] 1": 3}, unk_token="?"))
    by_letter.tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")
    with pytest.raises(UserError, match=r"joins '\[label\]' with label '1'"):
        label_distribution(by_letter, with_codes("1", "2"), CONTEXTS)


def test_the_label_stands_behind_its_header(tiny: Policy, domain: Domain) -> None:
    text = "[query] red shoes\n[product] shoes\n[category] same\n[attributes] color: unknown\n[label] 3"
    ids = tiny.encode_response(text)[:-1]
    found = label_position(domain, tiny, ids, parse_response(domain, text))
    assert decode_response(tiny.tokenizer, ids[:found]).rstrip() == text[:-2]
    early = text[: text.index("[label]")]
    assert label_position(domain, tiny, ids, parse_response(domain, early)) == len(ids)
