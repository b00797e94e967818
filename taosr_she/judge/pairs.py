"""Judgements of pairs by a loaded policy, in two modes.

`reason`: the model writes its response, steps and label; the label distribution is read where it writes the label.
`label`: the label distribution alone, in one pass over the prompt and the header of the label step. It needs a domain
with the label step first, because in any other the label depends on the steps before it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.engine.speedups import speedups
from taosr_she.judge.chains import merged, numbers_of, sampled
from taosr_she.judge.decision import WRITTEN, Decision
from taosr_she.judge.judgement import Judgement, judgement, label_judgement, refusal
from taosr_she.judge.mode import Mode, check_mode
from taosr_she.model.head import Head
from taosr_she.model.label_probs import label_distribution, label_tokens, read_labels
from taosr_she.model.policy import Policy
from taosr_she.model.responses import parse_rollouts, pieces
from taosr_she.model.sampler import sample_groups
from taosr_she.model.sampling import Sampling
from taosr_she.ranks.work import cut, processes, split

T = TypeVar("T")
Written = Callable[[int, str], None]
"""Called with the number of a pair and the next piece of its response."""

PART_PAIRS = {"cpu": 64, "cuda": 256}
"""Number of pairs in a part of `judge_in_parts`, generated together, of each process. On a CPU, larger parts are not
faster."""


class Judged(NamedTuple):
    """Judgements in the order of the pairs."""

    judgements: list[Judgement]
    seconds: float  # time for the responses, or in mode `label` for the distributions


def greedy(max_new_tokens: int) -> Sampling:
    """Greedy decoding: the most probable token at every position. Judging and evaluation use it."""
    return Sampling(max_new_tokens=max_new_tokens, temperature=0.0)


def judge_pairs(
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    sampling: Sampling,
    batch_rows: int,
    seed: int = 0,
    decision: Decision = WRITTEN,
    mode: Mode = "reason",
    written: Written | None = None,
) -> Judged:
    """Judgements of all pairs, at most `batch_rows` responses generated at a time; `seed` counts when sampling.

    A pair whose prompt leaves no room for a response of `max_new_tokens` is not given to the model: its judgement has a
    reason instead of a label, and the other pairs are judged. In mode `label`, `sampling` and `seed` do not count, and
    the judgements have no response and no step but the label.

    With `decision.chains` above 1, so many responses to each pair are sampled, and the judgement has their mean label
    distribution (`judge.chains`). Their temperature is that of `sampling`; if that is 0, it is 1, and the chains of a
    pair are always the same.

    `written` is called with the number of a pair and the next piece of its response while the model writes, or once
    with the chosen one of several chains. Under torchrun, each process judges a part of the pairs, from prompt to
    judgement, but with `written` only this one. Raises UserError for a problem with the model, and in mode `label` for
    a domain that does not have the label step first.
    """
    check_mode(domain, mode)
    if written is not None or processes() == 1:
        return _judged(policy, domain, pairs, sampling, batch_rows, seed, decision, mode, written)
    started = time.perf_counter()
    shares = cut(list(enumerate(pairs)))
    kept = [policy.model, policy.tokenizer, domain]
    options = (policy.head(domain), sampling, batch_rows, seed, decision, mode)
    found = [judgement for share in split(_share, kept, shares, *options) for judgement in share]
    return Judged(found, time.perf_counter() - started)


def _share(
    model: Any,
    tokenizer: Any,
    domain: Domain,
    share: Sequence[tuple[int, Pair]],
    head: Head | None,
    sampling: Sampling,
    batch_rows: int,
    seed: int,
    decision: Decision,
    mode: Mode,
) -> list[Judgement]:
    """The judgements of pairs with their numbers, which decide about the random numbers."""
    policy = Policy(model, tokenizer, model.get_input_embeddings().weight.device, domain, heads=[(domain, head)])
    numbers, pairs = [number for number, _ in share], [pair for _, pair in share]
    return _judged(policy, domain, pairs, sampling, batch_rows, seed, decision, mode, None, numbers).judgements


def _judged(
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    sampling: Sampling,
    batch_rows: int,
    seed: int,
    decision: Decision,
    mode: Mode,
    written: Written | None = None,
    numbers: Sequence[int] | None = None,
) -> Judged:
    """As `judge_pairs`, in this process."""
    if mode == "label":
        return _by_label(policy, domain, pairs, batch_rows, decision)
    started = time.perf_counter()
    prompts = [policy.encode_prompt(domain, pair) for pair in pairs]
    room = None if policy.positions is None else policy.positions - sampling.max_new_tokens
    asked = [i for i, prompt in enumerate(prompts) if room is None or len(prompt) <= room]
    tokens = label_tokens(policy, domain)
    put = [prompts[i] for i in asked]
    watched = tokens.firsts if speedups().labels_in_decoding else None
    own = None if numbers is None else [numbers[i] for i in asked]
    heard = None if written is None else pieces(policy, lambda row, text: written(asked[row], text))
    if decision.chains > 1:
        own = own if sampling.temperature else numbers_of(put)
        heard = None if written is None else _unheard  # which chain is shown is known at the end
        sampling = sampled(sampling)
    rollouts = sample_groups(policy, put, decision.chains, sampling, seed, batch_rows, watched or (), heard, own)
    seconds = time.perf_counter() - started
    responses = parse_rollouts(policy, domain, rollouts)
    rows = read_labels(policy, domain, tokens, put, rollouts, responses, batch_rows)
    counts = rollouts.mask.sum(dim=1).tolist()
    chains = [slice(k, k + decision.chains) for k in range(0, len(responses), decision.chains)]
    answers = {i: merged(responses[k], rows[k], counts[k], domain.codes) for i, k in zip(asked, chains, strict=True)}
    judgements = []
    for i, pair in enumerate(pairs):
        if i in answers:
            response, row, count = answers[i]
            probabilities = None if row is None else dict(zip(domain.codes, row.tolist(), strict=True))
            judgements.append(judgement(domain, pair.pair_id, response, probabilities, count, decision))
            if written is not None and heard is _unheard:
                written(i, response.text)
        else:
            reason = (
                f"prompt too long: with {sampling.max_new_tokens} new tokens it exceeds the model's {policy.positions} "
                "positions"
            )
            judgements.append(refusal(domain, pair.pair_id, reason))
    return Judged(judgements, seconds)


def judge_in_parts(
    policy: Policy,
    domain: Domain,
    pairs: Iterable[Pair | Judgement],
    sampling: Sampling,
    seed: int = 0,
    decision: Decision = WRITTEN,
    mode: Mode = "reason",
    written: Written | None = None,
) -> Iterator[list[Judgement]]:
    """Judgements of all pairs in order, part by part. So memory is needed only for one part, and the caller can report
    progress. Pairs are read as they are needed. Items that are already judgements (refusals) keep their position.
    `written` is as for `judge_pairs`, with the number of the item."""
    size = part_size(policy)
    for number, part in enumerate(in_parts(pairs, size)):
        places = [i for i, pair in enumerate(part, number * size) if isinstance(pair, Pair)]
        asked = [pair for pair in part if isinstance(pair, Pair)]
        heard = None if written is None else partial(_at, written, places)
        own = seed + number if sampling.temperature else seed  # several chains of a pair are the same in every part
        judged = iter(judge_pairs(policy, domain, asked, sampling, size, own, decision, mode, heard).judgements)
        yield [next(judged) if isinstance(pair, Pair) else pair for pair in part]


def _by_label(policy: Policy, domain: Domain, pairs: Sequence[Pair], batch_rows: int, decision: Decision) -> Judged:
    """Judgements from the label distributions alone. A prompt that leaves no room for the label is refused."""
    started = time.perf_counter()
    prompts = [policy.encode_prompt(domain, pair) for pair in pairs]
    header = policy.encode_response(domain.label_header)[:-1]
    tokens = label_tokens(policy, domain)
    needed = len(header) + len(tokens.shared) + max(map(len, tokens.rests))
    room = None if policy.positions is None else policy.positions - needed
    asked = [i for i, prompt in enumerate(prompts) if room is None or len(prompt) <= room]
    rows = label_distribution(policy, domain, [prompts[i] + header for i in asked], batch_rows)
    found = dict(zip(asked, rows.tolist(), strict=True))
    seconds = time.perf_counter() - started
    judgements = []
    for i, pair in enumerate(pairs):
        if i in found:
            probabilities = dict(zip(domain.codes, found[i], strict=True))
            judgements.append(label_judgement(domain, pair.pair_id, probabilities, decision))
        else:
            reason = f"prompt too long: with the label it exceeds the model's {policy.positions} positions"
            judgements.append(refusal(domain, pair.pair_id, reason))
    return Judged(judgements, seconds)


def _unheard(rows: list[int], tokens: list[int]) -> None:
    """Nobody is told while several chains are written."""


def _at(written: Written, places: Sequence[int], number: int, text: str) -> None:
    written(places[number], text)


def part_size(policy: Policy) -> int:
    """Number of pairs in a part, for the policy's device, in all processes together."""
    return PART_PAIRS.get(policy.device.type, PART_PAIRS["cuda"]) * processes()


def in_parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one shorter."""
    left = iter(items)
    while part := list(islice(left, size)):
        yield part
