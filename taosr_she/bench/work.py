"""The work that is measured: a model with random weights and prompts of an exact length, the same for both sides."""

import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from taosr_she.bench.shapes import shape_config
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.prompt import render_prompt
from taosr_she.model.policy import Policy
from taosr_she.model.tiny import TinyConfig, build_tiny

PROMPTS = 8
"""Number of groups in a step."""

SIZES = {"tiny": TinyConfig(), "30M": TinyConfig(hidden=512, layers=9, ffn=1536, init_std=0.02)}
"""Models by name, besides those in the shape of a known model (SHAPES)."""


@dataclass(frozen=True)
class StepSize:
    """One setting: tokens of a prompt and of a response, group size, share of groups without signal."""

    size: str
    prompt: int
    response: int
    group: int
    no_signal: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def name(self) -> str:
        """Prompt, response and group size, as shown in tables."""
        return f"{self.prompt} / {self.response} / G {self.group}"

    @property
    def silent(self) -> int:
        """How many of the groups have no signal."""
        return round(PROMPTS * self.no_signal)


class Endless(Policy):
    """A policy whose responses end only at the length limit, so both sides generate the same number of tokens."""

    @property
    def end_ids(self) -> tuple[int, ...]:
        """An id that no token has."""
        return (-1,)


class Bench:
    """A domain, and models with a tokenizer trained on a small market."""

    def __init__(self) -> None:
        self.domain: Domain = load_domain("taobao")
        config = MarketConfig(demonstration_pairs=200, training_pairs=0, development_pairs=0, test_pairs=0)
        market = generate_market(config, 1)
        pairs = {p.pair_id: p for p in market.pairs["demonstration"]}
        self.texts = [render_prompt(self.domain, pairs[d.pair_id]) + d.response for d in market.demonstrations]
        self._built: dict[str, Policy] = {}

    def policy(self, size: str) -> Endless:
        """A fresh copy of the model of that size, weights included."""
        if size not in self._built and size in SIZES:
            self._built[size] = build_tiny(self.texts, self.domain, SIZES[size], 1)
        elif size not in self._built:
            tiny = self.policy("tiny")
            torch.manual_seed(1)
            model = AutoModelForCausalLM.from_config(shape_config(size, pad_token_id=tiny.pad_id), dtype=torch.float32)
            self._built[size] = Policy(model, tiny.tokenizer, torch.device("cpu"))
        built = self._built[size]
        return Endless(copy.deepcopy(built.model), built.tokenizer, torch.device("cpu"))

    def prompts(self, policy: Policy, count: int, length: int, shared: int = 0) -> list[list[int]]:
        """`count` prompts of `length` tokens, whole words, that come back the same when their text is encoded again.

        The first `shared` tokens are the same in all.
        """
        vocabulary = policy.tokenizer.get_vocab()
        words = sorted(i for token, i in vocabulary.items() if token[0] == "Ġ" and token[1:].isalpha())
        random = np.random.default_rng(1)
        same = random.choice(words, shared).tolist()
        prompts = [same + random.choice(words, length - shared).tolist() for _ in range(count)]
        for prompt in prompts:
            text = policy.tokenizer.decode(prompt)
            if policy.tokenizer(text)["input_ids"] != prompt:
                raise AssertionError(f"not the same tokens again: {text}")
        return prompts
