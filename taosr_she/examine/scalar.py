"""The scalar reward model as an examiner: one number for a whole response, the baseline that step verdicts must beat."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.errors import UserError
from taosr_she.examine.verdicts import CODE, Verdicts
from taosr_she.model.policy import Policy, resolve_device


class ScalarExaminer:
    """Scores responses with the checkpoint of `train_scalar`, or any one-label sequence classification folder.

    The score, sigmoid(reward) in (0, 1), stands on all K steps with the source `scalar`: credit and trainer then see
    verdicts like any others and need not know that a reward model is behind them. Credit rule `scalar` reads the number
    back. Other rules may be fed with it as a control; a score below 0.5 is then an error at the first step.

    >>> ScalarExaminer(folder / "checkpoint", domain).examine(pairs, responses).values  # (B, K)  # doctest: +SKIP
    """

    def __init__(self, folder: Path, domain: Domain, device: str = "auto", batch_rows: int = 64) -> None:
        """At most `batch_rows` responses are scored at a time. Raises UserError when there is no such model."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        if not (folder / "config.json").is_file():
            raise UserError(f"scalar reward model {folder}: no config.json there; train one, or name its folder")
        place = resolve_device(device)
        dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
        model, info = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype, output_loading_info=True)
        if model.config.num_labels != 1 or info["missing_keys"]:
            raise UserError(f"scalar reward model {folder}: not a reward model (one label, with its weights)")
        self.domain, self.batch_rows = domain, batch_rows
        self._scorer = Policy(model.to(place).eval(), AutoTokenizer.from_pretrained(folder), place)

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts (B, K), the same number in all K columns."""
        scores = self.scores(pairs, responses)
        values = np.repeat(scores[:, None], len(self.domain.steps), axis=1)
        return Verdicts(values, np.full(values.shape, CODE["scalar"], dtype=np.int8))

    @torch.inference_mode()
    def scores(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> np.ndarray:
        """(B,) float32 in (0, 1). A response counts as ended, also when it was cut off at the length limit."""
        scorer = self._scorer
        rows = [
            scorer.encode_prompt(self.domain, pair) + scorer.encode_response(response.text)
            for pair, response in zip(pairs, responses, strict=True)
        ]
        order = sorted(range(len(rows)), key=lambda b: len(rows[b]))
        scores = np.zeros(len(rows), dtype=np.float32)
        for start in range(0, len(order), self.batch_rows):
            chosen = order[start : start + self.batch_rows]
            width = len(rows[chosen[-1]])
            ids = torch.tensor([rows[b] + [scorer.pad_id] * (width - len(rows[b])) for b in chosen])
            mask = torch.tensor([[t < len(rows[b]) for t in range(width)] for b in chosen])
            out = scorer.model(
                input_ids=ids.to(scorer.device), attention_mask=mask.to(scorer.device), use_cache=False
            )  # logits (rows, 1)
            scores[chosen] = out.logits[:, 0].float().sigmoid().cpu().numpy()
        return scores
