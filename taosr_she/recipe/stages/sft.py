"""Supervised fine-tuning of the start model on the demonstrations."""

import json
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.domain.prompt import render_prompt
from taosr_she.model.carries import check_responses
from taosr_she.model.example import answer
from taosr_she.model.policy import load_policy
from taosr_she.model.tiny import build_tiny
from taosr_she.recipe.context import Context
from taosr_she.recipe.kinds import SFTStage
from taosr_she.train.trl.sft import train_sft


def run(context: Context, stage: SFTStage) -> dict[str, Any]:
    """Build or load the model, tokenise the demonstrations, train, save the checkpoint."""
    data, domain, seed = context.data(stage.data), context.domain, context.recipe.seed
    pairs = {p.pair_id: p for p in data.pairs("demonstration")}
    demonstrations = data.demonstrations()
    if not demonstrations:
        raise UserError(f"stage '{context.name}': the data stage '{stage.data}' has no demonstrations")
    if stage.model == "tiny":
        texts = [render_prompt(domain, pairs[d.pair_id]) + d.response for d in demonstrations]
        policy = build_tiny(texts, domain, stage.tiny, seed).to(context.recipe.device)
    else:
        policy = load_policy(stage.model, context.recipe.device, "float32")
        policy.domain = domain  # from here on; `start.py` has seen to it that another one was asked for
    examples = [
        answer(policy.encode_prompt(domain, pairs[d.pair_id]), policy.encode_response(d.response))
        for d in demonstrations
    ]
    check_responses(policy, domain, [(d.pair_id, d.response) for d in demonstrations])
    total = stage.settings.total_steps(len(examples))
    update = context.progress.stage(context.name, total)
    policy = train_sft(
        policy, examples, stage.settings, seed, context.folder,
        lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}"),
    )  # fmt: skip
    parameters = sum(p.numel() for p in policy.model.parameters())
    counts = json.loads((context.folder / "sft.json").read_text("utf-8"))  # without what was too long
    return {key: counts[key] for key in ("examples", "too_long", "steps")} | {"parameters": parameters}
