"""What TRL's trainers are told about the GPUs of a machine."""

from pathlib import Path
from typing import Any

import pytest
from toy_models import random_policy

from taosr_she.base.errors import UserError
from taosr_she.train.settings import TrainerSettings
from taosr_she.train.trl import trainer


class EightGpus:
    """As transformers' arguments in a process that sees eight GPUs and is not part of a group."""

    def __init__(self, **options: Any) -> None:
        self._n_gpu = 8

    @property
    def n_gpu(self) -> int:
        return self._n_gpu


def test_one_of_several_processes_leaves_the_gpus_of_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, policy = TrainerSettings(learning_rate=1e-3), random_policy("llama")
    with pytest.raises(UserError, match="several are visible"):
        trainer.arguments(EightGpus, "DPO", policy, settings, 10, 1, Path())
    monkeypatch.setattr(trainer, "processes", lambda: 8)
    assert trainer.arguments(EightGpus, "DPO", policy, settings, 10, 1, Path()).n_gpu == 1
