"""The label distribution against full forward passes, for codes of one token and of several."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.response import parse_response
from taosr_she.domain.spans import decode_response
from taosr_she.engine.speedups import without
from taosr_she.model.label_probs import code_tokens, label_distribution, label_position, label_tokens, read_labels
from taosr_she.model.policy import Policy
from taosr_she.model.responses import parse_rollouts
from taosr_she.model.sampler import Rollouts, sample_groups
from taosr_she.model.sampling import Sampling

CONTEXTS = [[5, 9, 3, 30, 7, 12], [4], [21, 6, 2], [8, 8, 8, 8]]


def with_codes(*codes: str) -> Domain:
    raw = load_domain("taobao").model_dump()
    return Domain.model_validate(
        raw | {"labels": [{"code": c, "name": f"name {c}"} for c in codes], "rules": [], "tiers": {}}
    )


@pytest.fixture
def by_letter(make_policy: Callable[..., Policy]) -> Policy:
    """A tokenizer that knows the header, the space, and single characters, as many large models read digits."""
    policy = make_policy("qwen3")
    words = {w: i for i, w in enumerate(["<end>", "<pad>", "?", "[label]", " ", *"0123456789ABCDE"])}
    core = Tokenizer(models.WordLevel(words, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\[label\]|."), "isolated")
    policy.tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<end>")
    return policy


PROMPTS = [[5, 9, 3, 30, 7, 12], [4], [21, 6, 2], [8, 8, 8, 8]]
ARCHITECTURES = ["qwen3", "llama", "gpt2", "gemma2"]


def writes(make_policy: Callable[..., Policy], architecture: str) -> Policy:
    """A policy of random weights that ends nowhere: what it says is overwritten by `said`."""
    policy = make_policy(architecture)
    words = {w: i for i, w in enumerate(["<end>", "<pad>", "?", "[label]", " ", *"0123456789ABCDE", "\n"])}
    core = Tokenizer(models.WordLevel(words | {f"w{i}": i for i in range(len(words), 40)}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\[label\]|.|\n"), "isolated")
    core.decoder = decoders.Fuse()
    policy.tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<end>")
    return policy


def said(
    policy: Policy, texts: list[str], monkeypatch: pytest.MonkeyPatch, watched: list[int], max_rows: int = 512
) -> Rollouts:
    """Rollouts of the real sampler whose tokens are these texts: only what is drawn is laid down beforehand."""
    rows = [policy.encode_response(text) for text in texts]
    length = max(map(len, rows))
    scripted = torch.tensor([row + [0] * (length - len(row)) for row in rows], device=policy.device)
    monkeypatch.setattr(
        "taosr_she.model.sampler.row_uniforms",
        lambda numbers, steps, seed: torch.tensor(numbers)[:, None] + torch.arange(steps) / 1000,
    )

    def draw(logits: torch.Tensor, uniforms: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
        at = (uniforms % 1 * 1000).round().long()
        return scripted[uniforms.long(), at], torch.zeros(len(logits), device=logits.device)

    monkeypatch.setattr("taosr_she.model.sampler.draw", draw)
    return sample_groups(policy, PROMPTS, 2, Sampling(max_new_tokens=length), 0, max_rows, watched)


SAID = [
    "A\n[label] 4", "ABC\n[label] 3A", "[label] B", "A\n[label]4",  # the last one: no space, no code begins there
    "ABA", "AB\n[label]", "[label] ", "[label] 4\n[label] B",  # no label; broken off behind its header; twice
]  # fmt: skip


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("left_out", [(), ("copied_prompts",), ("shared_prompts",)])
@pytest.mark.parametrize("codes", [("4", "3A", "B"), ("10", "1", "2", "100"), ("4", "B", "BB")])
def test_decoding_has_read_what_a_pass_of_its_own_reads(
    architecture: str, left_out: tuple[str, ...], codes: tuple[str, ...], make_policy: Callable[..., Policy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    policy, domain = writes(make_policy, architecture), with_codes(*codes)
    tokens = label_tokens(policy, domain)
    passes: list[int] = []

    def counted(policy: Policy, domain: Domain, contexts: list[list[int]], batch_rows: int) -> np.ndarray:
        passes.append(len(contexts))
        return label_distribution(policy, domain, contexts, batch_rows)

    monkeypatch.setattr("taosr_she.model.label_probs.label_distribution", counted)
    with without(*left_out):
        rollouts = said(policy, SAID, monkeypatch, tokens.firsts or [], max_rows=6)
        parsed = parse_rollouts(policy, domain, rollouts)
        assert [r.text for r in parsed] == SAID
        found = read_labels(policy, domain, tokens, PROMPTS, rollouts, parsed)
    begun = [b for b, text in enumerate(SAID) if "[label]" in text]
    assert [b for b, row in enumerate(found) if row is not None] == begun
    # Broken off behind the header, or no space where every code begins with one: not read. "[label] " ends where the
    # code would begin: the end token was drawn there, from logits like any other.
    assert passes == [len([b for b in begun if tokens.firsts is None or SAID[b] in ("A\n[label]4", "AB\n[label]")])]
    contexts = []
    for b in begun:
        ids = rollouts.ids[b][rollouts.mask[b]].tolist()
        contexts.append(PROMPTS[b // 2] + ids[: label_position(domain, policy, ids, parsed[b])])
    # A recorded step on a GPU adds up in another order than a whole pass.
    tolerance = 2e-6 if policy.device.type == "cpu" else 2e-5
    np.testing.assert_allclose([found[b] for b in begun], label_distribution(policy, domain, contexts), atol=tolerance)


def test_sampling_is_the_same_when_tokens_are_watched(any_policy: Policy) -> None:
    sampling = Sampling(max_new_tokens=9, temperature=0.9)
    plain = sample_groups(any_policy, PROMPTS, 3, sampling, seed=1)
    watching = sample_groups(any_policy, PROMPTS, 3, sampling, seed=1, watched=[3, 7])
    assert torch.equal(plain.ids, watching.ids) and torch.equal(plain.logprobs, watching.logprobs)
    assert plain.watched.shape == (*plain.ids.shape, 0) and watching.watched.shape == (*plain.ids.shape, 2)


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
