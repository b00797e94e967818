"""A small market, a tiny gsrm with random weights, and models of other architectures for the tests of this room."""

from collections.abc import Callable

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from taosr_she.data.market.market import Market, MarketConfig, generate_market
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_prompt
from taosr_she.domain.response import Response, parse_response
from taosr_she.model.policy import Policy
from taosr_she.model.tiny import TinyConfig, build_tiny

COMPACT = {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}
ARCHITECTURES = {
    "llama": {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 1024,
    },
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 1024},
}  # fmt: skip


@pytest.fixture(scope="session")
def domain() -> Domain:
    return load_domain("taobao").with_overrides({"prompt": COMPACT})


@pytest.fixture(scope="session")
def market() -> Market:
    sizes = {"demonstration_pairs": 60, "training_pairs": 30, "development_pairs": 40, "test_pairs": 0}
    return generate_market(MarketConfig(**sizes), 3)


@pytest.fixture(scope="session")
def texts(market: Market, domain: Domain) -> list[str]:
    """What the tiny tokenizer is learnt from; the verdict words are in it, as a recipe's texts should have them."""
    by_id = {p.pair_id: p for p in market.pairs["demonstration"]}
    shown = [render_prompt(domain, by_id[d.pair_id]) + d.response for d in market.demonstrations]
    return [*shown, *["Check:\ncorrect\nwrong"] * len(shown)]


@pytest.fixture(scope="session")
def make_gsrm(texts: list[str], domain: Domain) -> Callable[..., Policy]:
    """Random weights, wide enough that verdicts differ clearly."""

    def make(architecture: str = "qwen3", seed: int = 1) -> Policy:
        small = TinyConfig(hidden=32, layers=2, heads=2, kv_heads=1, ffn=48, vocab_size=800, init_std=0.3)
        policy = build_tiny(texts, domain, small, seed)
        if architecture != "qwen3":
            torch.manual_seed(seed)
            ids = {"eos_token_id": policy.tokenizer.eos_token_id, "pad_token_id": policy.tokenizer.pad_token_id}
            config = CONFIG_MAPPING[architecture](
                **ARCHITECTURES[architecture],
                vocab_size=len(policy.tokenizer),
                initializer_range=0.3,
                bos_token_id=None,
                **ids,
            )
            policy.model = AutoModelForCausalLM.from_config(config).eval()
        return policy

    return make


@pytest.fixture(scope="session")
def demonstrated(market: Market, domain: Domain) -> tuple[list[Pair], list[Response]]:
    """12 pairs, each with two responses: its demonstration and that of another pair."""
    by_id = {p.pair_id: p for p in market.pairs["demonstration"]}
    chosen = market.demonstrations[:12]
    pairs = [by_id[d.pair_id] for d in chosen for _ in range(2)]
    texts = [text for d, e in zip(chosen, chosen[::-1], strict=True) for text in (d.response, e.response)]
    return pairs, [parse_response(domain, text) for text in texts]
