"""The group sampler: each prompt is run once for its whole group, and finished rows leave the batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from taosr_she.base.errors import UserError
from taosr_she.engine.attention import inputs
from taosr_she.engine.decode import CopiedPrompts, SharedPrompts
from taosr_she.engine.draw import draw, row_uniforms
from taosr_she.engine.recorded import RecordedPrompts, recordable
from taosr_she.engine.shared_prefix import shares, unshareable
from taosr_she.engine.threads import generating
from taosr_she.model.batches import one_prompt_at_a_time
from taosr_she.model.policy import Policy, evaluating
from taosr_she.model.sampling import Sampling
from taosr_she.ranks.work import deal, everywhere, split

ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""All but cuDNN attention, which plans again for every new length and made bfloat16 decoding 4 times slower (H200)."""

LOOK_EVERY = {"cpu": 1}
"""Tokens between two checks for finished rows on a CPU; 8 elsewhere, because a check waits for the device."""

NOTHING = torch.zeros(0, 0, 0)


@dataclass
class Rollouts:
    """B = P prompts x G rollouts on the CPU; the rows of a group are adjacent, in the order of the prompts.

    `logprobs` are those of the model at the sampling temperature (1 when greedy), before top-k and top-p: what a
    trainer recomputes when it divides its logits by the same temperature.
    """

    ids: torch.Tensor  # (B, T) long; T is the longest response; pad_id behind the end
    mask: torch.Tensor  # (B, T) bool: generated tokens, end token included
    logprobs: torch.Tensor  # (B, T) float32; 0 behind the end
    finished: torch.Tensor  # (B,) bool: ended by an end token, not by the length limit
    group: torch.Tensor  # (B,) long: index of the prompt
    watched: torch.Tensor = NOTHING  # (B, T, W) float32: logits of W watched tokens at every sampled position


@dataclass(frozen=True)
class Decoding:
    """What does not depend on the prompts, for `_sample`."""

    group_size: int
    sampling: Sampling
    seed: int
    max_rows: int
    watched: tuple[int, ...]
    end_ids: tuple[int, ...]
    pad_id: int


Chunk = tuple[torch.Tensor, ...]
"""For the R rollouts at the places `rows` (R,), on the CPU: rows, ids (R, T), logprobs (R, T), lengths (R,),
finished (R,), and logits of the watched tokens (R, T, W)."""


def sample_groups(
    policy: Policy,
    prompts: Sequence[list[int]],
    group_size: int,
    sampling: Sampling,
    seed: int,
    max_rows: int = 512,
    watched: Sequence[int] = (),
    heard: Callable[[list[int], list[int]], None] | None = None,
    numbers: Sequence[int] | None = None,
) -> Rollouts:
    """Generate `group_size` responses to each prompt (token ids).

    At most `max_rows` responses (but at least one group) are generated at a time, prompts of similar length together.
    The random numbers of row b depend only on (seed, b), not on its neighbours, on `max_rows`, or on finished rows;
    `numbers` count there instead of the positions of the prompts. The same call gives the same rollouts. The raw logits
    of the tokens `watched` are kept at every position. `heard` is called after every step with the numbers of the rows
    that go on and their new tokens; without it, the prompts are split over the processes of the run. Raises UserError
    if a prompt leaves no room for a response, if the model keeps no keys and values (pure state space models) or gives
    other answers in a batch, and if its output is not finite.
    """
    if "past_key_values" not in inputs(type(policy.model).forward):
        raise UserError(f"{type(policy.model).__name__} keeps no keys and values: use a model with attention")
    limit = getattr(policy.model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(map(len, prompts), default=0)
    if limit and longest + sampling.max_new_tokens > limit:
        raise UserError(
            f"a prompt of {longest} tokens and max_new_tokens={sampling.max_new_tokens} exceed the model's {limit} "
            "positions: lower max_new_tokens or cut the prompt's fields in the domain"
        )
    rows = len(prompts) * group_size
    ids = torch.full((rows, sampling.max_new_tokens), policy.pad_id)
    logprobs = torch.zeros(rows, sampling.max_new_tokens)
    lengths = torch.zeros(rows, dtype=torch.long)
    finished = torch.zeros(rows, dtype=torch.bool)
    seen = torch.zeros(rows, sampling.max_new_tokens, len(watched))
    places = range(len(prompts))
    numbered = sorted(zip(places, numbers or places, prompts, strict=True), key=lambda one: len(one[2]))
    how = Decoding(group_size, sampling, seed, max_rows, tuple(watched), policy.end_ids, policy.pad_id)
    if heard is None:
        parts = split(_sample, [policy.model], deal(numbered), how)
    else:
        parts = [_sample(policy.model, numbered, how, heard)]
    for into, *found in (chunk for part in parts for chunk in part):
        ids[into], logprobs[into], lengths[into], finished[into], seen[into] = found
    if not bool(logprobs.isfinite().all()):
        raise UserError("the model's output is not finite: it has diverged; lower the learning rate or use float32")
    longest = int(lengths.max()) if rows else 0
    mask = torch.arange(longest) < lengths[:, None]
    return Rollouts(
        ids=ids[:, :longest].masked_fill(~mask, policy.pad_id),
        mask=mask,
        logprobs=logprobs[:, :longest].masked_fill(~mask, 0.0),
        finished=finished,
        group=torch.arange(len(prompts)).repeat_interleave(group_size),
        watched=seen[:, :longest],
    )


def _sample(
    model: Any,
    numbered: Sequence[tuple[int, int, list[int]]],
    how: Decoding,
    heard: Callable[[list[int], list[int]], None] | None = None,
) -> list[Chunk]:
    """Rollouts of prompts with their places and numbers, in the order of their lengths; some prompts at a time."""
    size, found = how.group_size, []
    step = max(1, how.max_rows // size)
    if unshareable(model) and one_prompt_at_a_time(model):
        step = 1
    with evaluating(model), torch.inference_mode(), sdpa_kernel(ATTENTION):
        for start in range(0, len(numbered), step):
            chosen = numbered[start : start + step]
            rows = torch.tensor([p * size + g for p, _, _ in chosen for g in range(size)])
            drawn_by = [n * size + g for _, n, _ in chosen for g in range(size)]
            with generating(model, len(rows)):
                found.append(_sample_chunk(model, [prompt for *_, prompt in chosen], rows, drawn_by, how, heard))
    return found


def sampler_logprobs(
    policy: Policy,
    prompts: Sequence[list[int]],
    group: torch.Tensor,
    ids: torch.Tensor,
    mask: torch.Tensor,
    temperature: float,
) -> list[torch.Tensor]:
    """Log-probabilities (R, T) of given responses as the sampler computes them: token by token, in every process.

    `group` (R,) in increasing order indexes `prompts`, with equally many rows each; ids and mask (R, T), True for the
    first tokens of a row. 0 where the mask is False. No random number is drawn.
    """
    size = len(group) // len(prompts)
    sampling = Sampling(max_new_tokens=ids.shape[1], temperature=temperature)
    how = Decoding(size, sampling, 0, len(group), (), policy.end_ids, policy.pad_id)
    return everywhere(_forced, [policy.model], list(prompts), ids.cpu(), mask.cpu(), how)


def _forced(model: Any, prompts: list[list[int]], ids: torch.Tensor, mask: torch.Tensor, how: Decoding) -> torch.Tensor:
    with evaluating(model), torch.inference_mode(), sdpa_kernel(ATTENTION):
        logprobs = _sample_chunk(model, prompts, torch.arange(len(ids)), range(len(ids)), how, forced=ids)[2]
    return logprobs.clone().masked_fill(~mask, 0.0)


def _sample_chunk(
    model: Any,
    prompts: list[list[int]],
    rows: torch.Tensor,
    drawn_by: Sequence[int],
    how: Decoding,
    heard: Callable[[list[int], list[int]], None] | None = None,
    forced: torch.Tensor | None = None,
) -> Chunk:
    """The R rollouts at the places `rows`, with random numbers by the numbers `drawn_by`; or the responses `forced`
    (R, T).

    After a row's end the results hold whatever was sampled until the row left the batch.
    """
    device, sampling, steps = model.get_input_embeddings().weight.device, how.sampling, how.sampling.max_new_tokens
    uniforms = row_uniforms(drawn_by, steps, how.seed).to(device)
    given = None if forced is None else forced.to(device)
    end_ids = torch.tensor(how.end_ids, device=device)
    ids = torch.full((len(rows), steps), how.pad_id, device=device)
    logprobs = torch.zeros(len(rows), steps, device=device)
    lengths = torch.full((len(rows),), steps, device=device)
    columns = torch.tensor(how.watched, dtype=torch.long, device=device)
    seen = torch.zeros(len(rows), steps, len(columns), device=device)

    live = torch.arange(len(rows), device=device)  # which rollout each row of the batch is
    state = _decoder(model, steps)(model, prompts, live // how.group_size, steps)
    look_every = LOOK_EVERY.get(device.type, 8)
    logits = state.logits
    done = torch.zeros(len(rows), dtype=torch.bool, device=device)
    for step in range(steps):
        tokens, logp = draw(
            logits, uniforms[live, step], sampling.temperature, sampling.top_k, sampling.top_p,
            None if given is None else given[live, step],
        )  # fmt: skip
        ids[live, step], logprobs[live, step] = tokens, logp
        if how.watched:
            seen[live, step] = logits.index_select(1, columns).float()
        ended = (tokens[:, None] == end_ids).any(dim=1) & ~done
        lengths[live] = torch.where(ended, step + 1, lengths[live])
        done |= ended
        if heard is not None:
            heard(rows[live[~done].cpu()].tolist(), tokens[~done].tolist())
        if step + 1 == steps:
            break
        if (step + 1) % look_every == 0:
            finished = int(done.sum())
            if finished == len(live):
                break
            if finished * state.compact_share >= len(live):
                keep = (~done).nonzero()[:, 0]
                state.keep(keep)
                live, done, tokens = live[keep], done[keep], tokens[keep]
        logits = state.advance(tokens)
    ended_rows = torch.ones(len(rows), dtype=torch.bool, device=device)
    ended_rows[live] = done
    return rows, *(t.cpu() for t in (ids, logprobs, lengths, ended_rows, seen))


def _decoder(model: Any, steps: int) -> type[SharedPrompts] | type[CopiedPrompts]:
    """The fastest way to decode that this model allows."""
    if not shares(model):
        return CopiedPrompts
    return RecordedPrompts if recordable(model, steps) else SharedPrompts
