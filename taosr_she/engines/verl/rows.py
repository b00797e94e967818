"""Pairs as rows of verl's data: `python -m taosr_she.engines.verl.rows PAIRS OUT.parquet DOMAIN`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import dumps, replacing
from taosr_she.data.columns import LAYOUTS
from taosr_she.data.rows import pair_from_row, row_from_pair
from taosr_she.data.validate import load_pairs
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_pair, render_system

SOURCE = "taosr-she"
"""`data_source` of the rows."""


def write_rows(pairs: Path, out: Path, domain_name: str) -> int:
    """Write the labelled pairs of a file as verl's Parquet; returns their number. Rejected rows go to quarantine.

    The column `prompt` is what verl shows and measures; the tokens that the model reads are made by the agent loop.
    UserError for a file that cannot be read or has no labelled pair.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    domain = load_domain(domain_name)
    loaded = load_pairs(pairs, domain, require_label=True, quarantine=Path(f"{out}.quarantine.jsonl"))
    if not loaded.pairs:
        raise UserError(f"{pairs}: no labelled pair (see {out}.quarantine.jsonl)")
    system = render_system(domain)
    rows = []
    for number, pair in enumerate(loaded.pairs):
        turns = [{"role": "system", "content": system}] if system else []
        turns.append({"role": "user", "content": render_pair(domain, pair)})
        row = {
            "data_source": SOURCE, "prompt": turns, "reward_model": {"ground_truth": pair.label, "style": "srpo"},
            "extra_info": {"index": number, "pair": dumps(row_from_pair(pair))},
        }  # fmt: skip
        rows.append(row)
    with replacing(out) as part:
        parquet.write_table(pyarrow.Table.from_pylist(rows), part)
    return len(rows)


def pair_of(row: Mapping[str, Any]) -> Pair:
    """The pair of a row that verl has read. UserError for a row that `write_rows` has not written."""
    told = row.get("extra_info")
    if not isinstance(told, Mapping) or "pair" not in told:
        raise UserError("a row has no extra_info.pair: make the data with python -m taosr_she.engines.verl.rows")
    return pair_from_row(json.loads(told["pair"]), LAYOUTS["plain"]).pair


def main(arguments: list[str]) -> None:
    """The command line."""
    if len(arguments) != 3:
        raise SystemExit("usage: python -m taosr_she.engines.verl.rows PAIRS OUT.parquet DOMAIN")
    try:
        count = write_rows(Path(arguments[0]), Path(arguments[1]), arguments[2])
    except UserError as error:
        raise SystemExit(f"taosr-she: {error}") from None
    print(f"wrote {count} pairs to {arguments[1]}")


if __name__ == "__main__":
    main(sys.argv[1:])
