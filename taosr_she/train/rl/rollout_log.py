"""Rollouts as Parquet: the responses, the verdict on each step, and the advantage of each token."""

from pathlib import Path

from taosr_she.base.files import replacing
from taosr_she.examine.verdicts import SOURCES
from taosr_she.model.policy import Policy
from taosr_she.train.rl.batch import CreditedBatch


def write_rollouts(path: Path, step: int, batch: CreditedBatch, policy: Policy) -> None:
    """Write all rollouts of one update, one row each, through a temporary file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    mask, ids = batch.rollouts.mask.cpu(), batch.rollouts.ids.cpu()
    seen: dict[int, int] = {}
    for b, (pair, response) in enumerate(zip(batch.pairs, batch.responses, strict=True)):
        group = int(batch.rollouts.group[b])
        seen[group] = seen.get(group, -1) + 1
        tokens = ids[b][mask[b]].tolist()
        rows.append(
            {
                "step": step + 1,
                "pair_id": pair.pair_id,
                "query": pair.query,
                "product": pair.product.title,
                "label": pair.label,
                "group": group,
                "rollout": seen[group],
                "response": response.text,
                "predicted": response.label,
                "reason": response.reason,
                "outcome": float(batch.outcomes[b]),
                "tokens": [policy.tokenizer.decode([t], clean_up_tokenization_spaces=False) for t in tokens],
                "token_steps": batch.token_steps[b][: len(tokens)].tolist(),
                "token_advantages": batch.advantages[b][: len(tokens)].tolist(),
                "verdicts": batch.verdicts.values[b].tolist(),
                "sources": [SOURCES[code] for code in batch.verdicts.sources[b]],
            }
        )
    with replacing(path) as part:
        pq.write_table(pa.Table.from_pylist(rows), part, compression="zstd")
