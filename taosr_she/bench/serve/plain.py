"""The service to compare with: FastAPI over transformers' `generate`, as one would write it in an afternoon.

The candidates of a request are one batch, padded on the left, with a KV cache, greedy. Prompts, weights and data type
are those of our service. Usage: python -m taosr_she.bench.serve.plain '{"model": ..., ...}' (see `PlainSettings`).
"""

import asyncio
import sys
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI

from taosr_she.base.config import Strict
from taosr_she.data.columns import LAYOUTS
from taosr_she.data.rows import pair_from_row
from taosr_she.domain.response import parse_response
from taosr_she.model.domain_file import choose_domain
from taosr_she.model.policy import load_policy


class PlainSettings(Strict):
    """What it serves, and where."""

    model: str
    domain: str | None
    force_domain: bool
    dtype: str
    max_new_tokens: int
    port: int


def build(settings: PlainSettings) -> FastAPI:
    """The app with the one route `/v1/judge`."""
    domain = choose_domain(settings.domain, settings.model, settings.force_domain)
    policy = load_policy(settings.model, "cpu", settings.dtype)
    model, tokenizer = policy.model, policy.tokenizer
    app, busy = FastAPI(), asyncio.Lock()

    @torch.inference_mode()
    def judge(query: str, candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        pairs = [pair_from_row({"query": query, **c}, LAYOUTS["plain"]).pair for c in candidates]
        prompts = [policy.encode_prompt(domain, pair) for pair in pairs]
        width = max(map(len, prompts))
        ids = torch.tensor([[policy.pad_id] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        out = model.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, use_cache=True, pad_token_id=policy.pad_id,
            max_new_tokens=settings.max_new_tokens,
        )  # fmt: skip
        texts = tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
        responses = [parse_response(domain, text) for text in texts]
        return [{"label": r.label, "steps": [s.text if s else None for s in r.steps]} for r in responses]

    @app.post("/v1/judge")
    async def route(body: dict[str, Any]) -> dict[str, Any]:
        async with busy:
            return {"judgements": await asyncio.to_thread(judge, body["query"], body["candidates"])}

    return app


if __name__ == "__main__":
    given = PlainSettings.model_validate_json(sys.argv[1])
    uvicorn.run(build(given), host="127.0.0.1", port=given.port, log_level="warning", access_log=False)
