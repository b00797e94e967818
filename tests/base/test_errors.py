"""A disk that takes no more: real writes of a process whose files may not grow beyond 100 kB."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from taosr_she.base.errors import disk_errors

SAVING = """
import resource, sys
from pathlib import Path
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM
from taosr_she.model.policy import Policy, save_policy
from taosr_she.train.state import save_state

shape = Qwen3Config(vocab_size=500, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
model = Qwen3ForCausalLM(shape)
optimizer = torch.optim.AdamW(model.parameters())
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder = Path(sys.argv[1])
ways = {
    "policy": lambda: save_policy(Policy(model, None, torch.device("cpu")), folder / "policy"),
    "state": lambda: save_state(folder, 1, model, optimizer),
}
for name, save in ways.items():
    try:
        save()
    except OSError as error:
        print(name, error.errno, error.filename)
"""


def test_a_full_disk_is_a_system_error_that_names_the_file(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SAVING, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"policy {errno.EFBIG} {tmp_path / 'policy.part'}",
        f"state {errno.EFBIG} {tmp_path / 'state.pt'}",
    ]
    assert not (tmp_path / "policy").exists() and not (tmp_path / "state.pt").exists()


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), disk_errors(Path("x")):
        try:
            Path("/not/there").read_text()
        except FileNotFoundError:
            raise RuntimeError("shapes differ") from None
