"""The material of `taosr-she bench trl`: a small model, pairs, and rollouts that both engines get."""

from pathlib import Path

import pytest

from taosr_she.bench.trl_equal import Given
from taosr_she.model.policy import save_policy


@pytest.fixture(scope="session")
def given() -> Given:
    return Given()


@pytest.fixture(scope="session")
def start(given: Given, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Start weights."""
    folder = tmp_path_factory.mktemp("trl") / "start"
    save_policy(given.policy(), folder)
    return folder
