"""A response of verl's: its text, its steps and their verdicts, as in our own loop. Knows nothing of verl."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from taosr_she.base.files import dumps
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response, parse_response
from taosr_she.domain.spans import decode_response, token_steps
from taosr_she.engines.verl.codes import check_steps, pack
from taosr_she.examine.foreign import Foreign
from taosr_she.examine.hybrid import Hybrid
from taosr_she.examine.store import read_all
from taosr_she.examine.verdicts import Examiner, outcomes
from taosr_she.examine.verifier import Verifier
from taosr_she.model.policy import Policy


@dataclass(frozen=True)
class Examined:
    """A response with its verdicts."""

    response: Response
    rewards: list[float]  # one a token, as `codes.pack` writes them
    verdicts: torch.Tensor  # (K,) float32, NaN unknown
    outcome: float


class Examining:
    """Prompts and verdicts for the pairs of a domain, with one tokenizer. Safe in several threads."""

    def __init__(
        self, tokenizer: Any, domain: Domain, annotations: str | None, examiner: str | None, options: Mapping[str, Any]
    ) -> None:
        """`annotations`: file or database; without one, people have only given labels. `examiner`: import path of a
        class for the steps that nobody has annotated, as `examiner` of a recipe. UserError for what cannot be used."""
        check_steps(len(domain.steps))
        self.domain = domain
        self.policy = Policy(None, tokenizer, torch.device("cpu"), domain)
        people = Verifier(domain, read_all(annotations) if annotations else [])
        self.examiner: Examiner = Hybrid(people, Foreign(examiner, options, domain)) if examiner else people
        self._lock = threading.Lock()

    def prompt(self, pair: Pair) -> list[int]:
        """Token ids of the prompt, the same as everywhere in this program."""
        with self._lock:
            return self.policy.encode_prompt(self.domain, pair)

    def examine(self, pair: Pair, ids: Sequence[int], end_ids: Sequence[int]) -> Examined:
        """A response of these generated ids, which is finished if the last one is an end token."""
        tokenizer = self.policy.tokenizer
        response = parse_response(self.domain, decode_response(tokenizer, ids), bool(ids) and ids[-1] in end_ids)
        steps = token_steps(self.domain, tokenizer, ids, response)
        with self._lock:
            found = self.examiner.examine([pair], [response])
        earned = outcomes([pair], [response]) if found.outcomes is None else found.outcomes
        verdicts, outcome = torch.from_numpy(found.values[0]), float(earned[0])
        return Examined(response, pack(steps, verdicts, outcome).tolist(), verdicts, outcome)


def examining(
    tokenizer: Any, domain: str, annotations: str | None, examiner: str | None, options: Mapping[str, Any]
) -> Examining:
    """As the class; made once in a process, because verl makes an agent loop for every response."""
    return _kept(_Same(tokenizer), domain, annotations, examiner, dumps(dict(options)))


class _Same:
    """A tokenizer as a key: equal if it is the same object."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.tokenizer is self.tokenizer

    def __hash__(self) -> int:
        return id(self.tokenizer)


@lru_cache(maxsize=4)
def _kept(tokenizer: _Same, domain: str, annotations: str | None, examiner: str | None, options: str) -> Examining:
    return Examining(tokenizer.tokenizer, load_domain(domain), annotations, examiner, json.loads(options))
