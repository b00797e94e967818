"""What a benchmark leaves: figures as JSON, the table of the docs as Markdown."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console


def write_result(console: Console, out: Path, name: str, result: dict[str, Any], text: str) -> None:
    """Print the table `text`; write it to `<name>.md` and the figures to `<name>.json` in the folder `out`."""
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(text, highlight=False, soft_wrap=True)
