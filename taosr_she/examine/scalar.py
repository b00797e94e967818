"""The scalar reward model as an examiner: one number for a whole response, the baseline of step verdicts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import CODE, Verdicts
from taosr_she.model.loading import load_parts
from taosr_she.model.policy import Policy, resolve_device
from taosr_she.ranks.work import deal, split


class ScalarExaminer:
    """Scores responses with the checkpoint of `train_scalar`, or any one-label sequence classification folder.

    The score, sigmoid(reward) in (0, 1), is the verdict of all K steps, with the source `scalar`. Credit and trainer
    see verdicts like any others and do not depend on the reward model. Credit rule `scalar` reads the number back.
    Other rules can use it as a control; a score below 0.5 is then an error at the first step.

    >>> ScalarExaminer(folder / "checkpoint", domain).examine(pairs, responses).values  # (B, K)  # doctest: +SKIP
    """

    def __init__(self, folder: Path, domain: Domain, device: str = "auto", batch_rows: int = 64) -> None:
        """At most `batch_rows` responses are scored at a time. Raises UserError if there is no such model."""
        from transformers import AutoModelForSequenceClassification

        if not (folder / "config.json").is_file():
            raise UserError(f"scalar reward model {folder}: it has no config.json; train one, or name its folder")
        place = resolve_device(device)
        model, tokenizer = load_parts(str(folder), AutoModelForSequenceClassification, place)
        if model.config.num_labels != 1:
            raise UserError(
                f"scalar reward model {folder}: not a reward model (it has {model.config.num_labels} labels)"
            )
        self.domain, self.batch_rows = domain, batch_rows
        self._scorer = Policy(model, tokenizer, place)

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts (B, K), the same number in all K columns."""
        scores = self.scores(pairs, responses)
        values = np.repeat(scores[:, None], len(self.domain.steps), axis=1)
        return Verdicts(values, np.full(values.shape, CODE["scalar"], dtype=np.int8))

    def scores(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> np.ndarray:
        """(B,) float32 in (0, 1). A response counts as ended even if it was cut off at the length limit."""
        rows = [
            (*self._scorer.encode_prompt(self.domain, pair), *self._scorer.encode_response(response.text))
            for pair, response in zip(pairs, responses, strict=True)
        ]
        # Equal responses get one score: padding would otherwise tell them apart in the last digit, which a division by
        # a group's small standard deviation turns into a signal.
        different = sorted(set(rows), key=len)
        found: dict[tuple[int, ...], float] = {}
        shares = deal(different)
        scores = split(_scores, [self._scorer.model], shares, self._scorer.pad_id, self.batch_rows)
        for share, of_share in zip(shares, scores, strict=True):
            found |= zip(share, of_share, strict=True)
        return np.array([found[row] for row in rows], dtype=np.float32)


@torch.inference_mode()
def _scores(model: Any, rows: Sequence[tuple[int, ...]], pad_id: int, batch_rows: int) -> list[float]:
    """Scores of token rows, in the order of their lengths; padded on the right, as in training."""
    scores: list[float] = []
    for start in range(0, len(rows), batch_rows):
        chosen = rows[start : start + batch_rows]
        width = len(chosen[-1])
        ids = torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in chosen], device=model.device)
        mask = torch.tensor([[t < len(row) for t in range(width)] for row in chosen], device=model.device)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits  # (rows, 1)
        scores += logits[:, 0].float().sigmoid().tolist()
    return scores
