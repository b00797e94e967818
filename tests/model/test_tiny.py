"""The tiny model: a tokenizer that loses nothing and spends one token on what is frequent; repeatable weights."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.response import parse_response
from taosr_she.domain.spans import decode_response, token_steps
from taosr_she.model.policy import Policy
from taosr_she.model.tiny import TinyConfig, build_tiny, train_tokenizer

RESPONSE = "[query] color: red\n[product] color: blue\n[category] same\n[attributes] color: conflict\n[label] 3"


def pieces(policy: Policy, text: str) -> list[str]:
    ids = policy.encode_response(text)[:-1]
    return [policy.tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in ids]


def test_frequent_things_are_one_token(tiny: Policy) -> None:
    assert pieces(tiny, RESPONSE) == [
        "[query]", " color:", " red", "\n[product]", " color:", " blue", "\n[category]", " same",
        "\n[attributes]", " color:", " conflict", "\n[label]", " 3",
    ]  # fmt: skip
    assert pieces(tiny, " red; 425") == [" red", ";", " 4", "2", "5"]


def test_headers_are_not_special(tiny: Policy, domain: Domain) -> None:
    assert not {f"[{key}]" for key in domain.step_keys} & set(tiny.tokenizer.all_special_tokens)
    assert decode_response(tiny.tokenizer, tiny.encode_response(RESPONSE)) == RESPONSE


def test_token_spans_are_exact(tiny: Policy, domain: Domain) -> None:
    ids = tiny.encode_response(RESPONSE)
    steps = token_steps(domain, tiny.tokenizer, ids, parse_response(domain, RESPONSE))
    assert steps == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text()
    | st.lists(st.sampled_from(["[query]", "\n", "[label]", " 4", "10", "é", "̈", "：", "<|end|>", " "])).map("".join)
)
def test_any_text_round_trips(tiny: Policy, text: str) -> None:
    ids = tiny.encode_response(text)
    assert tiny.tokenizer.decode(ids[:-1], clean_up_tokenization_spaces=False) == text
    assert not set(ids[:-1]) & set(tiny.tokenizer.all_special_ids)


@pytest.mark.parametrize("codes", [("4", "3"), ("10", "1", "2"), ("Exact", "Partial"), ("A+", "A", "4.5")])
def test_label_codes_are_one_token_though_the_texts_lack_them(codes: tuple[str, ...], small: TinyConfig) -> None:
    raw = load_domain("taobao").model_dump()
    raw |= {"labels": [{"code": c, "name": f"name {c}"} for c in codes], "rules": [], "tiers": {}}
    tokenizer = train_tokenizer(["[label] blue"], Domain.model_validate(raw), small)
    encoded = [tokenizer(f"\n[label] {c}")["input_ids"] for c in codes]
    assert [len(ids) for ids in encoded] == [2] * len(codes)
    assert len({ids[1] for ids in encoded}) == len(codes)


def test_no_room_for_the_codes(texts: list[str]) -> None:
    with pytest.raises(UserError, match="vocab_size=300 has no room for label"):
        train_tokenizer(texts * 9, load_domain("wands"), TinyConfig(vocab_size=300))


def test_same_seed_same_policy_and_global_randomness_untouched(
    texts: list[str], domain: Domain, small: TinyConfig
) -> None:
    before = torch.get_rng_state()
    a, b, c = (build_tiny(iter(texts), domain, small, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert a.tokenizer.backend_tokenizer.to_str() == b.tokenizer.backend_tokenizer.to_str()
    weights = [p.model.model.layers[0].mlp.up_proj.weight for p in (a, b, c)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert weights[0].dtype == torch.float32
    assert a.model.lm_head.weight is a.model.model.embed_tokens.weight
    assert a.model.config.vocab_size == len(a.tokenizer)


def test_untied_output_layer(texts: list[str], domain: Domain, small: TinyConfig) -> None:
    model = build_tiny(texts, domain, small.model_copy(update={"tie": False}), 1).model
    assert model.lm_head.weight is not model.model.embed_tokens.weight


@pytest.mark.parametrize(
    "shape", [{"hidden": 130}, {"hidden": 12, "heads": 4}, {"heads": 4, "kv_heads": 3}, {"width": 1}]
)
def test_impossible_sizes(shape: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        TinyConfig(**shape)
