"""What is kept of a row on a fold: its predictions and its cost, valid only while its fingerprint is up to date."""

import json
from pathlib import Path
from typing import Any

from taosr_she.bench.archive import finished
from taosr_she.bench.predictions import encode, encode_pairs
from taosr_she.bench.real.examined import encode_examined
from taosr_she.bench.real.recipes import EVALUATE, measured, real_recipe
from taosr_she.bench.real.rows import ROWS
from taosr_she.bench.real.settings import FOLDS, SETTINGS
from taosr_she.domain.domain import Domain
from taosr_she.evaluate.people import ratings
from taosr_she.evaluate.prediction import read_predictions
from taosr_she.recipe.data_folder import DataFolder
from taosr_she.recipe.plan import plan

Kept = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""Training -> data set -> fold -> `pairs` (labels, queries, raters, split), `rows` (row -> record with its
fingerprint). A training is the kind of processor that trained."""


def gather(base: Path, earlier: Kept, training: str) -> Kept:
    """The rows in `base`, which are of this training, and those of `earlier` that are not out of date."""
    found: Kept = {one: {} for one in dict.fromkeys((*earlier, training))}
    for name, setting in SETTINGS.items():
        if not all(file.is_file() for file in setting.files):  # without the data, nothing can be compared
            for one, sets in earlier.items():
                found[one] |= {name: sets[name]} if name in sets else {}
            continue
        for fold in range(FOLDS):
            for row in ROWS:
                recipe = real_recipe(name, fold, [row], base, 1)
                domain = recipe.load_domain()
                planned = {p.name: p for p in plan(recipe, domain, to_run=False)}[EVALUATE + row]
                for one, sets in found.items():
                    old = earlier.get(one, {}).get(name, {}).get(str(fold), {"rows": {}})
                    if one == training and finished(planned.folder) == planned.fingerprint:
                        pairs = _pairs(recipe.folder / "stages", row, domain)
                        record = _record(recipe.folder / "stages", row, domain) | {"fingerprint": planned.fingerprint}
                    elif old["rows"].get(row, {}).get("fingerprint") == planned.fingerprint:
                        pairs, record = old["pairs"], old["rows"][row]
                    else:
                        continue
                    cell = sets.setdefault(name, {}).setdefault(str(fold), {"rows": {}})
                    cell["pairs"] = pairs
                    cell["rows"][row] = record
    return found


def is_kept(kept: Kept, training: str, name: str, fold: int, row: str) -> bool:
    """Whether a row need not run. A classic baseline is the same in every training."""
    among = kept if ROWS[row].kind == "classic" else (training,)
    return any(row in kept.get(one, {}).get(name, {}).get(str(fold), {"rows": {}})["rows"] for one in among)


def _predictions(stages: Path, row: str) -> Path:
    return stages / f"{EVALUATE}{row}" / f"predictions-{measured(row)}.jsonl"


def _pairs(stages: Path, row: str, domain: Domain) -> dict[str, Any]:
    predictions = read_predictions(_predictions(stages, row))
    raters = {p.pair_id: ratings(domain, p) for p in DataFolder(stages / "data").pairs("test")}
    return encode_pairs(domain, predictions, ()) | {"raters": [raters[p.pair_id] for p in predictions]}


def _record(stages: Path, row: str, domain: Domain) -> dict[str, Any]:
    """Predictions, the decision rule, the seconds of training and judging, and what the row's GSRM said, if it has
    one."""
    results = json.loads((stages / f"{EVALUATE}{row}" / "results.json").read_text("utf-8"))
    (model,) = results["models"].values()
    record = encode(domain, read_predictions(_predictions(stages, row))) | {"decision": model.get("decision", "")}
    record["judging_seconds"] = json.loads((stages / f"{EVALUATE}{row}" / "stage.json").read_text("utf-8"))["seconds"]
    if ROWS[row].kind not in ("classic", "zero"):
        stage = json.loads((stages / row / "stage.json").read_text("utf-8"))
        record |= {"seconds": stage["seconds"], "tokens": stage["summary"].get("tokens", 0)}
    if ROWS[row].gsrm:
        record["gsrm"] = encode_examined(stages)
    return record
