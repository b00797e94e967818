"""A whole training by TRL: from the start weights to a checkpoint like that of our own loop, in all processes."""

import logging
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from taosr_she.base.errors import UserError, disk_errors
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.engines.trl.lead import METRICS, Lead
from taosr_she.engines.trl.settings import TRLSettings
from taosr_she.engines.trl.world import Together, alone_or_together, divided_here, world
from taosr_she.examine.verdicts import Examiner
from taosr_she.model.loading import no_progress_bars
from taosr_she.model.policy import Policy, load_policy, put_adapter, resolve_device, save_policy, save_trained
from taosr_she.ranks.work import processes, split
from taosr_she.train.rl.collapse import CollapseConfig
from taosr_she.train.rl.curriculum import Curriculum
from taosr_she.train.rl.monitor import Monitor
from taosr_she.train.rl.settings import StepCreditSettings
from taosr_she.train.state import rows_lead_to
from taosr_she.train.trl.checkpoints import divided_by, last_complete_checkpoint

TRAINER = "trainer"
"""Folder of TRL's own checkpoints, in the folder of the stage; removed at the end."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What every process needs to know."""

    start: str  # folder or hub name of the start weights
    device: str
    domain: Domain
    pairs: Sequence[Pair]
    settings: StepCreditSettings
    trl: TRLSettings
    seed: int
    folder: Path
    name: str  # of the process group
    resume: Path | None
    curriculum: Curriculum | None


def train_by_trl(
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    examiner: Examiner,
    settings: StepCreditSettings,
    seed: int,
    folder: Path,
    on_update: Callable[[dict[str, Any]], None] = lambda row: None,
    monitor: Monitor | None = None,
    collapse: CollapseConfig | None = None,
    trl: TRLSettings | None = None,
    device: str = "auto",
    curriculum: Curriculum | None = None,
) -> dict[str, Any]:
    """As `train_step_credit`, with TRL's sampler, optimizer and processes, on `device`; `policy` is used up.

    The processes are those of the run. Each loads the start weights itself, and several machines need a shared disk.
    Raises UserError for settings that TRL cannot follow, and if the first update does not reach the sampler.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if curriculum is not None:
        settings = settings.model_copy(update={"updates": curriculum.updates})
    if policy.source is None:  # weights made here; the others must be able to load them
        save_policy(policy, folder / "base")
        policy.source = str(folder / "base")
    lead = Lead(policy, domain, pairs, examiner, settings, folder, on_update, monitor, collapse, curriculum)
    resume = resumable(folder, settings)
    lead.open(updates_of(resume, settings))
    if resume is not None and lead.ended:  # killed between its end and its checkpoint
        log.warning("%s: the training had ended without its checkpoint; it starts again", folder)
        resume = None
        lead.open(0)
    work = Work(
        policy.source, resolve_device(device).type, domain, pairs, settings, trl or TRLSettings(), seed, folder,
        f"trl {folder} {time.time_ns()}", resume, curriculum,
    )  # fmt: skip
    shares = [(policy, lead), *[None] * (processes() - 1)]
    weights = split(_train, [], shares, work)[0]
    start = load_policy(policy.source, "cpu", "float32")
    start.domain = policy.domain
    if settings.lora is not None:
        put_adapter(start, settings.lora, seed, folder)
    put_weights(start.model, weights)
    save_trained(start, folder, settings.lora)
    shutil.rmtree(folder / TRAINER, ignore_errors=True)
    return lead.close()


def _train(share: tuple[Policy, Lead] | None, work: Work) -> dict[str, torch.Tensor]:
    """In each process; rank 0 has a share. Returns the trained weights there, nothing elsewhere."""
    with alone_or_together():
        return _trained(share, work)


def _trained(share: tuple[Policy, Lead] | None, work: Work) -> dict[str, torch.Tensor]:
    from taosr_she.engines.trl.trainer import SRPOTrainer

    device = torch.device(work.device)
    with world(device, work.name) as count:
        policy, lead = share or (load_policy(work.start, "cpu", "float32"), None)
        policy.model.config._name_or_path = work.start  # TRL loads the KL reference from there
        padding = policy.tokenizer.pad_token
        with disk_errors(work.folder), no_progress_bars(), _without_old_names():
            try:
                trainer = SRPOTrainer(
                    policy, work.domain, work.pairs, lead, work.settings, work.trl, work.seed, work.folder, device,
                    count, work.curriculum,
                )  # fmt: skip
            except UserError as error:  # about settings: all processes find the same
                raise Together(str(error)) from error
            trainer.train(resume_from_checkpoint=str(work.resume) if work.resume else None)
            weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        policy.tokenizer.pad_token = padding  # TRL sets one
        return weights if lead is not None else {}


@contextmanager
def _without_old_names() -> Iterator[None]:
    """TRL 1.16 uses names whose renaming transformers 5.23 announces."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def put_weights(model: Any, weights: dict[str, torch.Tensor]) -> None:
    """Overwrite the weights that are trained with those of the same name, which PEFT's wrapper has put a prefix on."""
    named = {name.removeprefix("base_model.model."): weight for name, weight in weights.items()}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                weight.copy_(named[name])


def resumable(folder: Path, settings: StepCreditSettings) -> Path | None:
    """TRL's newest complete checkpoint in the folder of a stage, if the rows of all its updates exist."""
    found = last_complete_checkpoint(folder / TRAINER)
    wrong = None
    if found is not None and not rows_lead_to(folder / METRICS, updates_of(found, settings)):
        wrong = f"rows before {found.name} are missing"
    elif found is not None and divided_by(found) != divided_here():
        wrong = f"{found.name} is of processes that divided the model in another way"
    if wrong:
        log.warning("%s: %s; training starts again", folder, wrong)
        found = None
    for other in (folder / TRAINER).glob("checkpoint-*"):
        if other != found:
            shutil.rmtree(other)
    return found


def updates_of(checkpoint: Path | None, settings: StepCreditSettings) -> int:
    """Number of finished updates in a checkpoint of TRL."""
    return int(checkpoint.name.split("-")[1]) // settings.epochs_per_batch if checkpoint else 0
