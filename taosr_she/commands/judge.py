"""`taosr-she judge`: a label, probabilities and steps for every pair of a file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

from taosr_she.commands.options import ColumnOption, DeviceOption, DomainOption, LayoutOption, LengthOption, columns
from taosr_she.commands.say import console, say_loaded

if TYPE_CHECKING:
    from taosr_she.domain.domain import Domain
    from taosr_she.domain.pair import Pair
    from taosr_she.evaluate.prediction import Prediction

CHUNK = 512
"""Pairs judged between two updates of the progress."""


def judge(
    model: Annotated[str, typer.Argument(help="Model folder or hub name.")],
    pairs: Annotated[Path, typer.Argument(help="Pairs; labels are not needed.")],
    out: Annotated[Path, typer.Option(help="Output: .jsonl, .csv, .tsv or .parquet.")] = Path("judged.jsonl"),
    domain: DomainOption = "taobao",
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    device: DeviceOption = "auto",
    max_new_tokens: LengthOption = 128,
) -> None:
    """Score pairs: label, probabilities and steps of each."""
    from taosr_she.data.validate import load_pairs
    from taosr_she.data.write import write_pairs
    from taosr_she.domain.domain import load_domain
    from taosr_she.evaluate.run import predict
    from taosr_she.examine.verifier import Verifier
    from taosr_she.model.policy import load_policy

    screen, shop, quarantine = console(), load_domain(domain), out.with_name(f"{out.name}.quarantine.jsonl")
    loaded = load_pairs(pairs, shop, layout=layout, columns=columns(column), quarantine=quarantine)
    policy = load_policy(model, device, "auto")
    nobody = Verifier(shop, [])
    judged: list[Pair] = []
    chunks = [loaded.pairs[i : i + CHUNK] for i in range(0, len(loaded.pairs), CHUNK)]
    for chunk in track(chunks, description="judging", console=screen, disable=not screen.is_terminal):
        predictions, _ = predict(policy, shop, chunk, nobody, max_new_tokens, batch_rows=256)
        judged += [judgement(shop, pair, p) for pair, p in zip(chunk, predictions, strict=True)]
    write_pairs(out, judged)
    say_loaded(screen, pairs, loaded, quarantine)
    malformed = sum(pair.extra["malformed"] is not None for pair in judged)
    screen.print(f"wrote {len(judged)} judgements to {out} ({malformed} malformed responses)", highlight=False)


def judgement(domain: "Domain", pair: "Pair", prediction: "Prediction") -> "Pair":
    """The pair as it came, with columns for the predicted grade, the probability of every grade, the text of every
    step, the response, and why it is malformed."""
    probabilities = prediction.probs or (None,) * len(domain.codes)
    found = {
        "predicted": prediction.predicted,
        **{f"p_{code}": p for code, p in zip(domain.codes, probabilities, strict=True)},
        **{f"step_{key}": text for key, text in zip(domain.step_keys, prediction.steps, strict=True)},
        "response": prediction.response,
        "malformed": prediction.reason,
    }
    return replace(pair, extra={**pair.extra, **found})
