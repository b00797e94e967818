"""The generative stepwise reward model (GSRM): a causal LM that writes what every step should be and gives verdicts.

It first reasons through the pair by itself; its conclusions are the critique, what each step should say. A closed step
is right if it has the same conclusion, compared canonically as with a person's reference. A free step is read: the GSRM
sees the response after its own reasoning and answers `correct` or `wrong`, and the verdict is the probability of
`correct` there. `gsrm_prompt` has the form, and why reasoning comes before reading. Training data is in `gsrm_data`;
`gsrm_endpoint` has a GSRM behind an endpoint, without training. Verdict slots are forced, and only the GSRM's own
reasoning is free: the weights decide what the verdicts are, but never whether there are K of them.

Closed steps are compared by a program because that is exact, costs nothing, and replaces what a small model does worst:
the same tiny GSRM had a first-error F1 of 0.54 by reading and 0.75 by comparison (docs/log.md).

Cost of an examination of P pairs with B different responses:

| option | cost |
| --- | --- |
| all steps closed and compared | one reasoning for each new pair (as one rollout); with `votes: n`, n of them |
| some steps read | the same, and one forward pass over B rows; with `votes: n` over n·B |
| `critique: false` | one forward pass over B shorter rows; nothing is generated, everything is read |

The same response of the same pair is examined only once: within a call, and as long as it is in the cache.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from pydantic import ValidationError
from torch.nn.attention import sdpa_kernel

from taosr_she.base.config import describe
from taosr_she.base.errors import UserError
from taosr_she.base.files import write_text
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response, parse_response
from taosr_she.domain.spans import decode_response
from taosr_she.engine.logprobs import logits_at
from taosr_she.examine.gsrm_config import GSRMConfig
from taosr_she.examine.gsrm_prompt import Check, GSRMForm, Shown, shown_steps
from taosr_she.examine.verdicts import CODE, Critiques, Examination, Verdicts
from taosr_she.model.policy import Policy, evaluating, load_policy
from taosr_she.model.sampler import ATTENTION, Sampling, sample_groups
from taosr_she.ranks.work import deal, split

CONFIG_FILE = "gsrm.json"
"""File next to the GSRM's weights with its examination settings."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """A bounded cache that drops the least recently used entry (LRU)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def recall(self, keys: Iterable[Key]) -> dict[Key, Value]:
        """What is known of these keys."""
        known = {key: self._kept[key] for key in keys if key in self._kept}
        for key in known:
            self._kept.move_to_end(key)
        return known

    def remember(self, items: dict[Key, Value]) -> None:
        self._kept.update(items)
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)


def compared_steps(domain: Domain, config: GSRMConfig) -> tuple[bool, ...]:
    """(K,): whether the step is examined by comparing its conclusion with the GSRM's own."""
    compares = config.critique and config.closed_steps == "compare"
    return tuple(compares and (spec.kind == "closed" or spec.form == "label") for spec in domain.steps)


_Key = tuple[str, Shown]  # pair_id and what the GSRM reads of the response
_Reasoning = list[list[int]]  # `votes` token lists, end token left out


class _Row(NamedTuple):
    """A response to examine, as it is shown, and the reasonings to examine it by."""

    pair: Pair
    shown: Shown
    reasonings: _Reasoning


class GSRM:
    """The GSRM on this machine; an `Examiner` whose verdicts have the source `gsrm`.

    A missing or empty section, and a label that is not on the scale, gets the verdict 0 without running the model. A
    compared step is unknown if the GSRM's reasoning has no conclusion for it. `asked` and `examined` count responses,
    and those of them for which the model was run, over the life of the object.

    >>> gsrm = GSRM.load(Path("runs/hybrid/stages/gsrm/checkpoint"), domain)                # doctest: +SKIP
    >>> gsrm.examine([pair], [parse_response(domain, text)]).values  # (1, K)               # doctest: +SKIP
    """

    def __init__(self, policy: Policy, domain: Domain, config: GSRMConfig, seed: int = 0) -> None:
        """Raises UserError if the tokenizer cannot write the form (see `GSRMForm`)."""
        self.policy, self.domain, self.config, self.seed = policy, domain, config, seed
        self.form = GSRMForm(policy, domain)
        self.asked = self.examined = 0
        self._verdicts: Recent[_Key, tuple[float, ...]] = Recent(config.cache_size)
        self._reasonings: Recent[str, _Reasoning] = Recent(config.cache_size)

    @classmethod
    def load(
        cls, folder: str | Path, domain: Domain, device: str = "auto", seed: int = 0, cache_size: int | None = None
    ) -> "GSRM":
        """From the checkpoint of a GSRM stage, with its training's settings (`save_config`); `cache_size` replaces one.
        UserError if there are no settings: a model that was not trained as a GSRM would still give verdicts."""
        path = Path(folder) / CONFIG_FILE
        if not path.is_file():
            raise UserError(f"GSRM {folder}: it has no {CONFIG_FILE}; name the checkpoint folder of a GSRM stage")
        try:
            config = GSRMConfig.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise UserError(
                f"GSRM {folder}: {CONFIG_FILE} cannot be read ({describe(error)}); train the GSRM again"
            ) from error
        if cache_size is not None:
            config = config.model_copy(update={"cache_size": cache_size})
        return cls(load_policy(str(folder), device, "auto"), domain, config, seed)

    def save_config(self, folder: Path) -> None:
        """Write the settings next to the weights."""
        write_text(folder / CONFIG_FILE, self.config.model_dump_json(indent=1) + "\n")

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts (B, K) for B responses, one pair entry each."""
        keys = [self._key(pair, response) for pair, response in zip(pairs, responses, strict=True)]
        found = self._verdicts.recall(keys)
        new = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in found}
        fresh = self._examine_new(new)
        self._verdicts.remember(fresh)
        self.asked += len(keys)
        self.examined += len(fresh)
        found |= fresh
        shape = (len(keys), len(self.domain.steps))
        values = np.array([found[key] for key in keys], dtype=np.float32).reshape(shape)
        sources = np.where(np.isnan(values), CODE["unknown"], CODE["gsrm"]).astype(np.int8)
        return Verdicts(values, sources)

    def examine_with_critiques(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Examination:
        """The same, with what each step should say by the GSRM's first reasoning; all None without `critique`."""
        verdicts = self.examine(pairs, responses)
        reasonings = self._reason({pair.pair_id: pair for pair in pairs}) if self.config.critique else {}
        said: dict[str, Critiques] = {}
        for pair_id, reasoning in reasonings.items():
            own = parse_response(self.domain, decode_response(self.policy.tokenizer, reasoning[0]))
            said[pair_id] = tuple(step.text if step else None for step in own.steps)
        nothing: Critiques = (None,) * len(self.domain.steps)
        return Examination(verdicts, tuple(said.get(pair.pair_id, nothing) for pair in pairs))

    def _key(self, pair: Pair, response: Response) -> _Key:
        """Responses that differ only in white space have the same key."""
        return pair.pair_id, shown_steps(self.domain, response, self.config.max_step_chars, self.form.special_tokens)

    def examine_after(
        self, pairs: Sequence[Pair], responses: Sequence[Response], reasonings: Sequence[list[int]]
    ) -> np.ndarray:
        """Verdicts (B, K) for B responses, each after a given reasoning (token ids without the end) instead of its own.

        Nothing is generated or remembered: this is what a reasoning is worth, for reinforcement learning.
        """
        rows = [
            _Row(pair, self._key(pair, response)[1], [own])
            for pair, response, own in zip(pairs, responses, reasonings, strict=True)
        ]
        shape = (len(rows), len(self.domain.steps))
        return np.array(self._values(rows), dtype=np.float32).reshape(shape)

    def _examine_new(self, new: dict[_Key, Pair]) -> dict[_Key, tuple[float, ...]]:
        """K values for each new response; NaN if no reasoning has a conclusion for the step."""
        pairs = {pair.pair_id: pair for key, pair in new.items() if any(key[1])}
        reasonings = self._reason(pairs) if self.config.critique else {pair_id: [[]] for pair_id in pairs}
        rows = [_Row(pair, shown, reasonings.get(pair_id, [])) for (pair_id, shown), pair in new.items()]
        return dict(zip(new, self._values(rows), strict=True))

    def _values(self, rows: Sequence[_Row]) -> list[tuple[float, ...]]:
        """K values for each row: the mean over its reasonings."""
        compared = compared_steps(self.domain, self.config)
        values = [[0.0] * len(self.domain.steps) for _ in rows]
        if not all(compared):
            prompts = {row.pair.pair_id: self.form.prompt(row.pair) for row in rows if any(row.shown)}
            asked: list[tuple[int, list[int], Check]] = []
            for b, row in enumerate(rows):
                for own in row.reasonings if any(row.shown) else ():
                    before = prompts[row.pair.pair_id] + own
                    asked.append((b, before, self.form.fitting_check(row.shown, len(before), row.pair)))
            read = self._read([(before, check) for _, before, check in asked])
            for (b, _, check), verdicts in zip(asked, read, strict=True):
                for k, verdict in zip(check.asked, verdicts, strict=True):
                    values[b][k] += verdict / len(rows[b].reasonings)
        known: dict[tuple[tuple[int, ...], ...], list[list[str | None]]] = {}
        for row, value in zip(rows, values, strict=True) if any(compared) else ():
            reasonings = tuple(map(tuple, row.reasonings))  # one for all responses of a pair: read once
            if reasonings not in known:
                known[reasonings] = self._conclusions(row.reasonings)
            for k, spec in enumerate(self.domain.steps):
                text = row.shown[k]
                if compared[k] and text is not None:
                    said = [own[k] for own in known[reasonings] if own[k] is not None]
                    shown = canonical(self.domain, spec, text)
                    value[k] = sum(one == shown for one in said) / len(said) if said else math.nan
        return [tuple(value) for value in values]

    def _conclusions(self, reasoning: _Reasoning) -> list[list[str | None]]:
        """Canonical conclusions of every step, for each vote; None for a step that it does not speak of."""
        parsed = [parse_response(self.domain, decode_response(self.policy.tokenizer, ids)) for ids in reasoning]
        return [
            [
                canonical(self.domain, spec, s.text) if s else None
                for spec, s in zip(self.domain.steps, r.steps, strict=True)
            ]
            for r in parsed
        ]

    def _reason(self, pairs: dict[str, Pair]) -> dict[str, _Reasoning]:
        """The GSRM's own reasoning for each pair_id; missing ones are generated, all in one batch."""
        found = self._reasonings.recall(pairs)
        new = [pair_id for pair_id in pairs if pair_id not in found]
        if new:
            votes = self.config.votes
            sampling = Sampling(
                max_new_tokens=self.config.max_reasoning_tokens,
                temperature=self.config.temperature if votes > 1 else 0.0,
            )
            prompts = [self.form.prompt(pairs[pair_id]) for pair_id in new]
            rollouts = sample_groups(self.policy, prompts, votes, sampling, self.seed, self.config.batch_rows)
            ends = self.policy.end_ids
            ids = [
                [token for token in row[mask].tolist() if token not in ends]
                for row, mask in zip(rollouts.ids, rollouts.mask, strict=True)
            ]
            fresh = {pair_id: ids[n * votes : (n + 1) * votes] for n, pair_id in enumerate(new)}
            self._reasonings.remember(fresh)
            found |= fresh
        return found

    def _read(self, rows: Sequence[tuple[list[int], Check]]) -> list[list[float]]:
        """P(correct) / (P(correct) + P(wrong)) at every slot; rows of like length are run together."""
        read: list[list[float]] = [[] for _ in rows]
        shares = deal(sorted(range(len(rows)), key=lambda i: len(rows[i][0]) + len(rows[i][1].ids)))
        asked = [
            [(rows[i][0] + rows[i][1].ids, [len(rows[i][0]) + slot for slot in rows[i][1].slots]) for i in share]
            for share in shares
        ]
        words = self.form.correct[0], self.form.wrong[0]
        found = split(_probabilities, [self.policy.model], asked, words, self.config.batch_rows)
        for share, values in zip(shares, found, strict=True):
            for i, row in zip(share, values, strict=True):
                read[i] = row
        return read


@torch.inference_mode()
def _probabilities(
    model: Any, rows: Sequence[tuple[list[int], list[int]]], words: tuple[int, int], batch_rows: int
) -> list[list[float]]:
    """For each sequence with its places: P(first word) / (P(first) + P(second)) after every place."""
    read: list[list[float]] = [[] for _ in rows]
    with evaluating(model), sdpa_kernel(ATTENTION):
        for start in range(0, len(rows), batch_rows):
            chosen = rows[start : start + batch_rows]
            places = [(n, place) for n, (_, of_row) in enumerate(chosen) for place in of_row]
            row, position = torch.tensor(places).T
            logits = logits_at(model, [sequence for sequence, _ in chosen], row, position)
            values = torch.sigmoid(logits[:, words[0]] - logits[:, words[1]])
            if not bool(values.isfinite().all()):
                raise UserError("the GSRM's output is not finite: its training diverged; lower the learning rate")
            for (n, _), value in zip(places, values.tolist(), strict=True):
                read[start + n].append(value)
    return read
