"""Where a half-finished stage goes on, in words."""

import re
from pathlib import Path

from taosr_she.train.rl.state import saved_updates
from taosr_she.train.trl.sft import last_complete_checkpoint


def saved_point(folder: Path) -> str | None:
    """`after update 8`, `after step 200`, `after part 3`; None where the stage has saved nothing that it can use."""
    updates = saved_updates(folder)
    if updates:
        return f"after update {updates}"
    checkpoint = last_complete_checkpoint(folder / "trainer")
    if checkpoint is not None:
        return f"after step {checkpoint.name.split('-')[1]}"
    parts = [int(p.stem.split("-")[1]) for p in folder.glob("rollouts/part-*.parquet") if re.search(r"-\d+$", p.stem)]
    return f"after part {max(parts) + 1}" if parts else None
