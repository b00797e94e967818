"""The generative stepwise reward model (GSRM): a causal LM that writes a critique and a verdict for every step.

Form and prompt are in `gsrm_prompt`, decoding in `gsrm_decode`, training data in `gsrm_data`.

What an examination of B different responses costs, in forward passes over rows of a batch:

| option | cost |
| --- | --- |
| `critique: true` | the prompts once, then one short pass a token of the longest answer: about as much as sampling |
| `critique: true, votes: n` | the prompts once, then n times the answers |
| `critique: false` | the prompts once, with the K slots behind them; nothing is generated |

The same response of the same pair is judged once: within a call, and as long as the cache remembers it.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field, model_validator

from taosr_she.domain.domain import Domain, Strict
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.gsrm_decode import (
    Answer,
    Question,
    answer_room,
    verdicts_in_one_pass,
    verdicts_with_critiques,
)
from taosr_she.examine.gsrm_prompt import (
    JudgeFormat,
    Shown,
    asked_steps,
    control_strings,
    judge_prompt,
    shown_steps,
    stop_tokens,
)
from taosr_she.examine.verdicts import CODE, Verdicts
from taosr_she.model.policy import Policy

Critiques = tuple[str | None, ...]
"""K critiques of one response; None where the judge was not asked, empty where it wrote nothing."""


class GSRMConfig(Strict):
    """How the judge judges. The mode must be the one it was trained for."""

    critique: bool = True
    """Write a critique before each verdict. Without one the K verdicts come from a single forward pass."""
    max_critique_tokens: int = Field(default=40, gt=0)
    """Longest critique of one step; a longer one is cut and the verdict asked for."""
    votes: int = Field(default=1, ge=1)
    """Answers drawn for each response; the verdict is their mean. With one the critique is the likeliest."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the critiques when there are several votes."""
    max_step_chars: int = Field(default=300, gt=0)
    """Longer step texts are cut before the judge reads them."""
    batch_rows: int = Field(default=256, gt=0)
    """Answers decoded at a time."""
    cache_size: int = Field(default=100_000, ge=0)
    """Judged responses remembered; the ones not asked about for longest are forgotten first."""

    @model_validator(mode="after")
    def _check(self) -> "GSRMConfig":
        if self.votes > 1 and not self.critique:
            raise ValueError("votes above 1 need 'critique: true': without critiques all votes would be the same")
        return self


@dataclass(frozen=True)
class Examination:
    """Verdicts (B, K) with the critiques (B entries of K) behind them."""

    verdicts: Verdicts
    critiques: tuple[Critiques, ...]


_Key = tuple[str, Shown, tuple[int, ...]]
_Judgement = tuple[tuple[float, ...], Critiques]  # K values, K critiques


class GSRM:
    """The judge on this machine; an `Examiner` whose verdicts have the source `judge` on every step.

    A missing or empty section, and a label that is not on the scale, has the verdict 0 without being asked about.

    >>> judge = GSRM(load_policy("runs/demo/stages/judge/checkpoint"), domain, GSRMConfig())  # doctest: +SKIP
    >>> judge.examine([pair], [parse_response(domain, text)]).values  # (1, K)               # doctest: +SKIP
    """

    def __init__(self, policy: Policy, domain: Domain, config: GSRMConfig, seed: int = 0) -> None:
        """Raises UserError when the tokenizer cannot write the form (see `JudgeFormat`)."""
        self.policy, self.domain, self.config, self.seed = policy, domain, config, seed
        self.form = JudgeFormat.of(policy, domain)
        self.asked = self.judged = 0  # responses examined; those of them that the model was run for
        self._stops = torch.tensor(stop_tokens(policy))
        self._specials = control_strings(policy.tokenizer)
        self._cache: OrderedDict[_Key, _Judgement] = OrderedDict()

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts (B, K) for B responses, one pair entry each."""
        return self.examine_with_critiques(pairs, responses).verdicts

    def examine_with_critiques(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Examination:
        """The same, with what the judge wrote before each verdict."""
        keys = [self._key(pair, response) for pair, response in zip(pairs, responses, strict=True)]
        found: dict[_Key, _Judgement] = {}
        new: dict[_Key, Pair] = {}
        for key, pair in zip(keys, pairs, strict=True):
            if key in self._cache:
                self._cache.move_to_end(key)
                found[key] = self._cache[key]
            else:
                new[key] = pair
        fresh = self._judge(new)
        self.asked += len(keys)
        self.judged += len(fresh)
        self._cache.update(fresh)
        while len(self._cache) > self.config.cache_size:
            self._cache.popitem(last=False)
        found |= fresh
        judgements = [found[key] for key in keys]
        shape = (len(keys), len(self.domain.steps))
        values = np.array([values for values, _ in judgements], dtype=np.float32).reshape(shape)
        sources = np.full(shape, CODE["judge"], dtype=np.int8)
        return Examination(Verdicts(values, sources), tuple(critiques for _, critiques in judgements))

    def _key(self, pair: Pair, response: Response) -> _Key:
        """What the judge would read of the response: two texts that differ in white space alone are one."""
        shown = shown_steps(self.domain, response, self.config.max_step_chars, self._specials)
        return pair.pair_id, shown, asked_steps(self.domain, response, shown)

    def _judge(self, new: dict[_Key, Pair]) -> dict[_Key, _Judgement]:
        width = len(self.domain.steps)
        asked = [key for key in new if key[2]]
        questions = [self._question(key, new[key]) for key in asked]
        judgements: dict[_Key, _Judgement] = {key: ((0.0,) * width, (None,) * width) for key in new}
        for key, answers in zip(asked, self._answers(questions), strict=True):
            values, critiques = [0.0] * width, [None] * width
            for n, k in enumerate(key[2]):
                values[k] = sum(answer.verdicts[n] for answer in answers) / len(answers)
                critiques[k] = self.policy.tokenizer.decode(answers[0].critiques[n]).strip()
            judgements[key] = (tuple(values), tuple(critiques))
        return judgements

    def _question(self, key: _Key, pair: Pair) -> Question:
        config = self.config
        room = answer_room(self.form, len(key[2]), config.max_critique_tokens if config.critique else 0)
        prompt = judge_prompt(self.policy, self.domain, pair, key[1], room)
        digest = hashlib.sha256(repr((self.seed, key)).encode()).digest()
        return Question(prompt, key[2], int.from_bytes(digest[:8], "big"))

    def _answers(self, questions: list[Question]) -> list[list[Answer]]:
        config = self.config
        if not config.critique:
            return [[a] for a in verdicts_in_one_pass(self.policy, self.form, questions, config.batch_rows)]
        temperature = config.temperature if config.votes > 1 else 0.0
        return verdicts_with_critiques(
            self.policy, self.form, questions, self._stops, config.max_critique_tokens, temperature, config.votes,
            config.batch_rows,
        )  # fmt: skip
