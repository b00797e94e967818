"""Where a half-finished stage continues, in words."""

import re
from pathlib import Path

from taosr_she.recipe.parts import FOLDER
from taosr_she.train.sft.train import FACTS
from taosr_she.train.state import saved_updates
from taosr_she.train.trl.checkpoints import last_complete_checkpoint


def saved_point(folder: Path) -> str | None:
    """`after update 8`, `after step 200`, `after part 3`; None if the stage has saved nothing usable."""
    updates = saved_updates(folder)
    if updates:
        return f"after {'step' if (folder / FACTS).exists() else 'update'} {updates}"
    checkpoint = last_complete_checkpoint(folder / "trainer")
    if checkpoint is not None:
        return f"after step {checkpoint.name.split('-')[1]}"
    kept = ("rollouts/part-*.parquet", "teacher/part-*.json", f"{FOLDER}/*/part-*.json")
    written = [path for pattern in kept for path in folder.glob(pattern)]
    parts = [int(p.stem.split("-")[1]) for p in written if re.search(r"-\d+$", p.stem)]
    return f"after part {max(parts) + 1}" if parts else None
