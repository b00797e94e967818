"""Learning curves from the files of a run."""

import json
import math
from pathlib import Path

from taosr_she.bench.paper.curves import curve_of
from taosr_she.train.rl.watch import WATCH


def test_what_has_no_value_is_no_number_in_the_curve(tmp_path: Path) -> None:
    """An update without signal has no entropy, and a look without a right label no share of wrong reasoning."""
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "entropy": None}) + "\n")
    look = {"step": 1, "tokens": 10, "seconds": 2.0, "macro_f1": 0.5, "steps_all_right": 0.1}
    (tmp_path / WATCH).write_text(json.dumps(look | {"right_label_wrong_reasoning": None}) + "\n")
    (point,) = curve_of(tmp_path, 5.0)
    assert point["tokens"] == 15.0 and point["macro_f1"] == 0.5
    assert math.isnan(point["entropy"]) and math.isnan(point["right_label_wrong_reasoning"])
