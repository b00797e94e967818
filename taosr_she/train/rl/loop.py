"""The step-credit loop: sample groups, examine their steps, credit them, update. Plain PyTorch.

Rollouts come from the current policy, so with one epoch per batch the old policy is the current one, and no extra
forward pass is needed. Groups without signal are dropped before the update. A killed run resumes from its last state
with the same numbers, because everything random depends only on the seed and the update number. Under torchrun,
sampling and gradients are split over the processes, and everything else happens here, in rank 0.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from taosr_she.base.errors import UserError
from taosr_she.credit.label_balance import entropy_bonus, label_weights
from taosr_she.credit.loss import policy_loss
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.engine.lora import adapter_off, has_adapter
from taosr_she.engine.precision import computing, count_weights, in_bfloat16
from taosr_she.engine.shared_prefix import shared_logprobs, shares
from taosr_she.examine.verdicts import Examiner
from taosr_she.model.adapter import trained
from taosr_she.model.label_probs import label_position, label_tokens
from taosr_she.model.policy import Policy, load_policy, put_adapter, save_policy, save_trained
from taosr_she.model.sampler import sample_groups
from taosr_she.ranks.work import add_gradients, split
from taosr_she.train.rl.batch import CreditedBatch, Learnt, credit_rollouts, share_rows
from taosr_she.train.rl.collapse import CollapseConfig, collapse_signs
from taosr_she.train.rl.curriculum import Curriculum, Leg
from taosr_she.train.rl.listener import Listener
from taosr_she.train.rl.metrics import batch_metrics
from taosr_she.train.rl.monitor import Monitor
from taosr_she.train.rl.refill import CreditedGroups, refilled
from taosr_she.train.rl.rollout_log import write_rollouts
from taosr_she.train.rl.schedule import balanced_pairs_for_update, learning_rate, pairs_for_update, sampling_seed
from taosr_she.train.rl.settings import StepCreditSettings
from taosr_she.train.rl.start_check import StartCheck
from taosr_she.train.rl.watch import Watch
from taosr_she.train.state import MetricsFile, as_read, load_state, rows_lead_to, save_state, saved_updates

METRICS = "metrics.jsonl"
log = logging.getLogger(__name__)


def train_step_credit(
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    examiner: Examiner,
    settings: StepCreditSettings,
    seed: int,
    folder: Path,
    on_update: Callable[[dict[str, Any]], None] = lambda row: None,
    monitor: Monitor | None = None,
    curriculum: Curriculum | None = None,
    watch: Watch | None = None,
    collapse: CollapseConfig | None = None,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Train `policy` in place on labelled pairs; writes `metrics.jsonl`, `rollouts/`, `state.pt` and `checkpoint/`.

    `policy` must have the start weights, in float32. With `settings.lora` they are frozen and an adapter is trained.
    Returns a summary. `on_update` receives each row of metrics, to which `monitor` adds its own. With a `curriculum`,
    pairs and settings come from its stages, and each row names its stage. A `watch` evaluates on development pairs
    every few updates. A `listener` is told before and after every update. `collapse` detects that too few labels are
    given, and may stop the run with a UserError.
    """
    collapse, check = collapse or CollapseConfig(), StartCheck(folder)
    legs = curriculum.legs if curriculum else [Leg(pairs, settings)]
    if settings.lora is not None:
        put_adapter(policy, settings.lora, seed, folder)
    optimizer = make_optimizer(policy, settings)
    reference = None
    if any(leg.settings.loss.beta > 0 for leg in legs):
        reference = start_reference(policy, folder)
    finished = 0
    saved = saved_updates(folder)
    if rows_lead_to(folder / METRICS, saved) and (watch is None or watch.leads_to(folder, saved)):
        finished = load_state(folder, policy.model, optimizer)
    else:  # the curriculum, the monitor and the curves need them all
        log.warning("%s: rows before update %d are missing; training starts again", folder / METRICS, saved)
    metrics = MetricsFile(folder / METRICS, finished)
    if monitor is not None:
        monitor.resume(metrics.kept)
    if listener is not None:
        listener.resume(finished)
    tokens = int(metrics.last.get("tokens", 0))
    rows = list(metrics.kept)
    if watch is not None:
        watch.open(folder, finished)
        with computing(policy.model, settings.precision):
            watch.look(policy, finished, tokens, seconds_of(rows))
    for update in range(finished, curriculum.updates if curriculum else settings.updates):
        leg = curriculum.next_leg(rows) if curriculum else legs[0]
        if leg is None:
            break
        if listener is not None:
            listener.before(update + 1)
        row = one_update(
            policy, reference, domain, leg, examiner, seed, update, optimizer, folder, monitor, listener, check
        )
        tokens += row.pop("new_tokens")
        row = as_read(row | {"tokens": tokens})
        if curriculum:
            curriculum.mark(row, leg, rows)
        row |= collapse_signs([*rows, row], collapse)
        rows.append(row)
        metrics.write(row)
        on_update(row)
        if row["collapse"] and collapse.on_collapse == "stop":
            metrics.close()
            raise UserError(f"{folder.name}, update {row['step']}: stopped, {row['collapse']}")
        if watch is not None:
            with computing(policy.model, leg.settings.precision):
                watch.look(policy, update + 1, tokens, seconds_of(rows))
        if (update + 1) % settings.checkpoint_every == 0:
            metrics.sync()
            save_state(folder, update + 1, policy.model, optimizer)
    metrics.close()
    if watch is not None:
        watch.close()
    save_trained(policy, folder, settings.lora)
    (folder / "state.pt").unlink(missing_ok=True)
    return {"updates": len(rows), "tokens": tokens, "reward": metrics.last.get("reward", 0.0)}


def make_optimizer(policy: Policy, settings: StepCreditSettings) -> torch.optim.Optimizer:
    """AdamW over all weights, or those of the adapter. Fused on a GPU, and on a CPU that computes in bfloat16: 7 times
    faster there, with other last digits. Runs in float32 on a CPU keep theirs."""
    fused = policy.device.type == "cuda" or in_bfloat16(policy.device, count_weights(policy.model), settings.precision)
    return torch.optim.AdamW(
        trained(policy.model), lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=settings.weight_decay,
        fused=fused,
    )  # fmt: skip


def seconds_of(rows: Sequence[Mapping[str, Any]]) -> float:
    """The cost of the updates of these rows."""
    return sum(float(row["seconds"]) for row in rows)


def start_reference(policy: Policy, folder: Path) -> Policy:
    """The start weights as the KL reference: the policy with its adapter off, or else a copy, kept for a resumed run.

    A damaged copy is written again.
    """
    if has_adapter(policy.model):
        return policy
    kept = folder / "reference"
    try:
        return load_policy(str(kept), str(policy.device), "float32")
    except UserError:  # missing or damaged; `policy` still has the start weights
        save_policy(policy, kept)
        return load_policy(str(kept), str(policy.device), "float32")


def one_update(
    policy: Policy,
    reference: Policy | None,
    domain: Domain,
    leg: Leg,
    examiner: Examiner,
    seed: int,
    update: int,
    optimizer: torch.optim.Optimizer,
    folder: Path,
    monitor: Monitor | None,
    listener: Listener | None = None,
    check: StartCheck | None = None,
) -> dict[str, Any]:
    """Sample, examine, credit, update once. Returns the row of metrics."""
    settings = leg.settings
    clock = Clock()

    def sample(group_pairs: list[Pair], round_: int) -> CreditedGroups:
        """Sample the groups of these pairs. Round 0 is the update's own batch; later rounds refill it."""
        prompts = [policy.encode_prompt(domain, p) for p in group_pairs]
        drawn_by = sampling_seed(seed, update) + round_
        with clock.part("generate"), computing(policy.model, settings.precision):
            rollouts = sample_groups(
                policy, prompts, settings.group_size, settings.sampling, drawn_by, settings.sample_rows
            )
        with clock.part("examine"):
            credited = credit_rollouts(
                policy, domain, group_pairs, rollouts, examiner, settings.credit, weights, settings.outcome_by
            )
            return prompts, credited

    strength = settings.credit.label_weight
    weights = label_weights([pair.label for pair in leg.pairs], strength) if strength else None
    choose = balanced_pairs_for_update if settings.balance else pairs_for_update
    first = sample(choose(leg.pairs, update, settings.pairs_per_update, seed), 0)
    prompts, batch, refills, spent = refilled(first, leg.pairs, settings.refill, seed, update, sample, settings.balance)
    lr = learning_rate(settings.learning_rate, update, settings.warmup_updates, settings.updates, settings.schedule)
    for group in optimizer.param_groups:
        group["lr"] = lr
    with clock.part("update"):
        at = label_places(policy, domain, batch) if settings.loss.label_entropy else None
        update_stats = update_policy(policy, reference, prompts, batch, settings, optimizer, at, check)
    if update % settings.keep_rollouts_every == 0 or update + 1 == settings.updates:
        write_rollouts(folder / "rollouts" / f"{update:05d}.parquet", update, batch, policy)
    # Metrics of the original batch: the refilled one is selected for signal, which would inflate reward and signal.
    row = batch_metrics(update + 1, first[1], domain)
    row["new_tokens"] = int(batch.rollouts.mask.sum()) + spent
    if settings.refill:
        row["refills"] = refills
    row |= update_stats | {"lr": lr, "seconds": clock.total}
    row |= {f"seconds_{name}": seconds for name, seconds in clock.parts.items()}
    row["tokens_per_second"] = row["new_tokens"] / clock.total
    if monitor is not None:
        row |= monitor.observe(batch)
    return row if listener is None else row | listener.after(update + 1, batch)


class Clock:
    """Seconds of the named parts of an update, and in total."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.parts[name] = self.parts.get(name, 0.0) + time.perf_counter() - started

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def update_policy(
    policy: Policy,
    reference: Policy | None,
    prompts: list[list[int]],
    batch: CreditedBatch,
    settings: StepCreditSettings,
    optimizer: torch.optim.Optimizer,
    at: torch.Tensor | None = None,
    check: StartCheck | None = None,
) -> dict[str, float]:
    """Optimizer steps on the groups with signal. If there are none, nothing changes and the row has `loss` 0.

    `at` (B,) is the position of each label, for `label_entropy`: every rollout with a label then takes part. `check`
    looks at the first of all updates."""
    rollouts = batch.rollouts
    train = batch.rows_with_signal if at is None else batch.rows_with_signal | (at >= 0)
    rows = torch.nonzero(train).flatten()
    if len(rows) == 0:
        return {"loss": 0.0, "grad_norm": 0.0, "entropy": float("nan"), "kl": 0.0, "clip_share": 0.0}
    # The mean is over all tokens of the batch, including groups without signal: dropping them saves computation, but
    # does not change the update.
    mask = rollouts.mask
    denominator = float(mask.sum()) if settings.loss.normalise == "token" else float(len(mask))
    totals: dict[str, float] = {}
    epochs = []
    models = [policy.model, None if reference is None else reference.model]
    parts = share_rows(Learnt(prompts, rollouts, batch.advantages, at), rows)
    for epoch in range(settings.epochs_per_batch):
        totals = {"loss": 0.0, "entropy": 0.0, "kl": 0.0, "clipped": 0.0, "tokens": 0.0}
        for found in split(learn, models, parts, settings, denominator):
            for key, value in found.items():
                totals[key] += value
        add_gradients(policy.model)
        norm = torch.nn.utils.clip_grad_norm_(trained(policy.model), settings.grad_clip)
        if check is not None and epoch == 0 and norm > 0:
            check.before(policy, prompts, batch, rows, settings)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        epochs.append(float(norm))
    if check is not None:
        check.after(policy)
    return {
        "loss": totals["loss"],
        "grad_norm": epochs[-1],
        "entropy": totals["entropy"] / totals["tokens"],
        "kl": totals["kl"] / totals["tokens"],
        "clip_share": totals["clipped"] / totals["tokens"],
    }


def learn(
    model: Any, reference: Any, share: tuple[Learnt, torch.Tensor], settings: StepCreditSettings, denominator: float
) -> dict[str, float]:
    """Add the gradient of a share of the rows' part of the loss, micro-batch by micro-batch. Returns sums for the
    metrics."""
    learnt, rows = share
    totals: dict[str, float] = {}
    if not len(rows):
        return totals
    for part in microbatches(rows, learnt.prompts, learnt, settings.tokens_per_microbatch, shares(model)):
        for key, value in backward(model, reference, learnt, part, settings, denominator).items():
            totals[key] = totals.get(key, 0.0) + value
    return totals


def backward(
    model: Any,
    reference: Any,
    learnt: Learnt,
    rows: torch.Tensor,
    settings: StepCreditSettings,
    denominator: float,
) -> dict[str, float]:
    """Add the gradient of these rollouts' part of the loss. Returns sums for the metrics."""
    device = model.get_input_embeddings().weight.device
    prompts, rollouts, at = learnt.prompts, learnt.rollouts, learnt.at
    length = int(rollouts.mask[rows].sum(dim=1).max())
    ids = rollouts.ids[rows, :length].to(device)
    mask = rollouts.mask[rows, :length].to(device)
    group = rollouts.group[rows].to(device)
    temperature = settings.sampling.temperature
    with computing(model, settings.precision):
        logp, entropy = shared_logprobs(model, prompts, group, ids, mask, temperature, with_entropy=True)
        reference_logp = None
        if reference is not None:
            with torch.no_grad(), adapter_off(reference):
                reference_logp, _ = shared_logprobs(reference, prompts, group, ids, mask, temperature)
    on_policy = settings.epochs_per_batch == 1
    assert entropy is not None
    advantages = learnt.advantages[rows, :length].to(device)
    if at is not None:
        weight = settings.loss.label_entropy
        advantages = advantages + entropy_bonus(logp.detach(), entropy, at[rows].to(device), weight)
    loss, stats = policy_loss(
        logp, None if on_policy else rollouts.logprobs[rows, :length].to(device), advantages, mask, settings.loss,
        ref_logp=reference_logp, denominator=denominator,
    )  # fmt: skip
    loss.backward()
    count = float(mask.sum())
    return {
        "loss": float(loss.detach()),
        "entropy": float((entropy * mask).sum()),
        "kl": stats["kl"] * count,
        "clipped": stats["clip_share"] * count,
        "tokens": count,
    }


def label_places(policy: Policy, domain: Domain, batch: CreditedBatch) -> torch.Tensor:
    """(B,) long: position of the first token in which the labels differ in each response, -1 if there is none."""
    shared = len(label_tokens(policy, domain).shared)
    mask, ids = batch.rollouts.mask.cpu(), batch.rollouts.ids.cpu()
    places = []
    for own, keep, response in zip(ids, mask, batch.responses, strict=True):
        has_label = response.steps[domain.label_step] is not None
        place = label_position(domain, policy, own[keep].tolist(), response) + shared if has_label else -1
        places.append(place if place < int(keep.sum()) else -1)
    return torch.tensor(places)


def microbatches(
    rows: torch.Tensor, prompts: list[list[int]], batch: CreditedBatch | Learnt, budget: int, shared: bool = True
) -> list[torch.Tensor]:
    """Split rows into parts whose padded size is within the token budget; rows of similar length go together.

    With `shared` prompts, the rows of a group stay together as far as the budget allows. The size of a part then counts
    each prompt once, plus its padded responses. Otherwise every row counts its own prompt.
    """
    lengths = batch.rollouts.mask.sum(dim=1).tolist()
    group = batch.rollouts.group.tolist()
    longest: dict[int, int] = {}
    for b in rows.tolist():
        longest[group[b]] = max(lengths[b], longest.get(group[b], 0))

    def size(part: list[int]) -> int:
        of = [len(prompts[g]) for g in {group[b] for b in part}]
        return (sum(of) if shared else len(part) * max(of)) + len(part) * max(lengths[b] for b in part)

    def place(b: int) -> tuple[int, ...]:
        return (longest[group[b]], group[b], lengths[b]) if shared else (lengths[b], len(prompts[group[b]]))

    parts: list[list[int]] = [[]]
    for b in sorted(rows.tolist(), key=place):
        if parts[-1] and size([*parts[-1], b]) > budget:
            parts.append([])
        parts[-1].append(b)
    return [torch.tensor(part) for part in parts]
