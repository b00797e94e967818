"""Set-up of all tests: one thread, no network, a modest number of random examples."""

import os

# Before torch is imported anywhere. One thread: tests run beside other work, and sums then add up in one fixed order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("taosr", deadline=None, max_examples=50)
settings.load_profile("taosr")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets that lie beside the repository; tests that need them skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared/data folder beside the repository: the real data sets are not here")
    return folder
