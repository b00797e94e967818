"""What the clients of the benchmark ask: queries of the market, each with the same number of products."""

from pathlib import Path
from typing import Any

from taosr_she.base.strict_yaml import dump_yaml
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.data.rows import row_from_pair
from taosr_she.domain.domain import Domain

SENT = ("title", "description", "brand", "category", "price", "attributes")


def requests(queries: int, candidates: int, seed: int = 5) -> list[dict[str, Any]]:
    """Bodies of `/v1/judge`."""
    config = MarketConfig(
        demonstration_pairs=0, training_pairs=0, development_pairs=0, test_pairs=queries * candidates,
        products_per_query=candidates,
    )  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = {}
    for pair in generate_market(config, seed).pairs["test"]:
        row = row_from_pair(pair)
        product = {name: row[name] for name in SENT if row[name]}
        found.setdefault(pair.query, []).append({"id": pair.pair_id, **product})
    return [{"query": query, "candidates": products} for query, products in found.items()]


def label_first(domain: Domain, file: Path) -> Path:
    """Write a domain with the label step first, which mode `label` needs. For a model that was trained with another
    order the answers mean nothing, but they take the same time."""
    raw = domain.model_dump(mode="json")
    step = raw["steps"].pop(domain.label_step)
    raw |= {"steps": [step, *raw["steps"]], "answer_first": True}
    file.write_text(dump_yaml(raw), encoding="utf-8")
    return file
