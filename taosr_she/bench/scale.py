"""`taosr-she bench scale`: what judging and training cost from one core to 1,000 GPUs, computed from measured rates.

A model on paper: nothing is run. Every number that goes in is a `Figure` with where it comes from; every number that
comes out is derived. The page that explains it is docs/scale.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from taosr_she.bench.results import write_result
from taosr_she.bench.shapes import SHAPES

BILLION = 1e9
GROUPS = 8
"""Of the measured training step."""
HOUR = 3600.0


@dataclass(frozen=True)
class Figure:
    """A number that goes in."""

    value: float
    unit: str
    how: Literal["measured", "published"]
    source: str


FIGURES = {
    # The work
    "rules": Figure(1156, "tokens", "measured", "prompt of the domain taobao, the part that all pairs share"),
    "pair": Figure(24, "tokens", "measured", "query and product of the demo's test pairs, on average"),
    "response": Figure(69, "tokens", "measured", "the demo's responses in SmolLM2's tokens (docs/serving.md)"),
    "bytes in": Figure(271, "bytes", "measured", "a pair of the demo's test.jsonl"),
    "bytes out": Figure(218, "bytes", "measured", "a judgement with steps in Parquet, same pairs"),
    "prompt": Figure(92e-6, "s", "measured", "by hand: CPU time of a prompt, rules tokenised once, one core"),
    "record": Figure(26e-6, "s", "measured", "by hand: CPU time to make a judgement and its columns"),
    "read": Figure(92e-6, "s", "measured", "by hand: CPU time to read and check a row, which `judge` does twice"),
    "sent": Figure(24e-6, "s", "measured", "by hand: CPU time to pickle a pair and a judgement to another process"),
    # One core, models of a million weights, prompts of 23 tokens
    "core, reasons": Figure(326, "pairs/s", "measured", "tiny reasoner (docs/label-mode.md)"),
    "core, student": Figure(1134, "pairs/s", "measured", "tiny student, mode label (docs/label-mode.md)"),
    "core, rules": Figure(315, "pairs/s", "measured", "by hand: tiny model, mode label, prompts of 1,179 tokens"),
    # One H100, shape of Qwen3-0.6B
    "rate": Figure(760e12, "operations/s", "measured", "bfloat16 product of 8,192 (docs/performance.md)"),
    "share": Figure(0.29, "of the rate", "measured", "our packed forward and backward pass, same table"),
    "token step": Figure(0.758 / 128, "s", "measured", "128 rows decode a token, same table, prompts' pass included"),
    "generation": Figure(0.758, "s", "measured", "8 prompts of 768, 128 responses of 128 tokens"),
    "examination": Figure(0.262, "s", "measured", "parsing and examination of these 128 responses, on a CPU"),
    "update": Figure(0.391, "s", "measured", "the update on them, optimizer included"),
    # Hardware and its failures
    "bandwidth": Figure(3.35e12, "bytes/s", "published", "memory of an H100 SXM, NVIDIA's data sheet"),
    "memory": Figure(80e9, "bytes", "published", "the same"),
    "nvlink": Figure(450e9, "bytes/s", "published", "NVLink of an H100, each direction, the same"),
    "network": Figure(50e9, "bytes/s", "published", "400 Gbit/s per GPU, NVIDIA's DGX H100 data sheet"),
    "between failures": Figure(
        16_384 * 54 * 24 / 419, "GPU hours", "published",
        "419 unexpected stops of 16,384 GPUs in 54 days (arXiv 2407.21783)",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What of a decoder costs time and memory."""

    name: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    key_heads: int
    width: int  # of a head
    words: int

    @property
    def body(self) -> float:
        """Weights of the layers."""
        attention = self.hidden * self.width * (2 * self.heads + 2 * self.key_heads)
        return self.layers * (attention + 3 * self.hidden * self.ffn)

    @property
    def weights(self) -> float:
        """All weights, with tied embeddings."""
        return self.body + self.words * self.hidden

    @property
    def kept(self) -> float:
        """Bytes of the keys and values of a token, in bfloat16."""
        return self.layers * 2 * self.key_heads * self.width * 2.0

    def operations(self, new: float, before: float, read: float) -> float:
        """Of `new` tokens that follow `before` others, with logits at `read` of them."""
        attention = 4 * self.layers * self.heads * self.width * new * (before + new / 2)
        return 2 * self.body * new + attention + 2 * read * self.words * self.hidden


def shape_of(name: str) -> Shape:
    """A shape of `SHAPES`."""
    s = SHAPES[name]
    heads = s["num_attention_heads"], s["num_key_value_heads"], s["head_dim"]
    return Shape(name, s["num_hidden_layers"], s["hidden_size"], s["intermediate_size"], *heads, s["vocab_size"])


QWEN3_8B = Shape("qwen3-8b", 36, 4096, 12288, 32, 8, 128, 151_936)
"""Published sizes; its embeddings are not tied, which `weights` leaves out."""


def value(name: str) -> float:
    """A number that goes in."""
    return FIGURES[name].value


def bandwidth_share() -> float:
    """Share of the memory's bandwidth that decoding reaches: bytes of the measured token step over its time."""
    measured = shape_of("qwen3-0.6b")
    tokens = 8 * 768 + 128 * 64  # kept on average: prompts once, responses half written
    read = 2 * measured.weights + tokens * measured.kept
    return read / value("token step") / value("bandwidth")


def judging(shape: Shape, reasons: bool, rows: int = 256) -> dict[str, float]:
    """A judgement on one H100: operations, bytes that decoding reads, seconds of the GPU, and seconds of a process that
    also reads, prepares and records it, one after the other, as ours does."""
    own, rules, response = value("pair"), value("rules"), value("response")
    operations = shape.operations(own, rules, 1)
    seconds = operations / (value("rate") * value("share"))
    read = 0.0
    if reasons:
        operations += shape.operations(response, rules + own, response)
        step = 2 * shape.weights + (rules + rows * (own + response / 2)) * shape.kept
        read = step * response / rows
        seconds += read / (value("bandwidth") * bandwidth_share())
    job = seconds + value("read") + value("prompt") + value("record")
    return {"operations": operations, "bytes": read, "seconds": seconds, "job": job}


def training(gpus: int) -> dict[str, float]:
    """Seconds of a step of Qwen3-0.6B's shape, 128 responses: the same batch on more GPUs, and a batch for each.

    Of generation, nothing is known below 128 rows: its token step is many small kernels. `least` divides it by the
    GPUs, `most` does not. A group is not divided, so the same batch has work for no more GPUs than groups.
    """
    busy = min(gpus, GROUPS)
    sent = 4 * shape_of("qwen3-0.6b").weights / value("nvlink" if gpus <= 8 else "network")
    wire = 2 * sent if gpus > 1 else 0.0  # gradients to rank 0, weights back
    shared = (value("examination") + value("update")) / busy + wire
    return {
        "least": value("generation") / busy + shared,
        "most": value("generation") + shared,
        "batch for each": value("generation") + value("examination") + value("update") + wire,
        "wire": wire,
    }


SIZES = (1, 8, 64, 1000)


def measure_scale(console: Console, out: Path) -> None:
    """Print the tables and write `scale.json` and `scale.md` to the folder `out`."""
    small = shape_of("qwen3-0.6b")
    ways = {
        "Qwen3-0.6B's shape, mode label (a student)": judging(small, False),
        "Qwen3-0.6B's shape, with reasons": judging(small, True),
        "Qwen3-8B's shape, mode label": judging(QWEN3_8B, False),
        "Qwen3-8B's shape, with reasons": judging(QWEN3_8B, True),
    }
    cores = {"tiny student, mode label": "core, student", "the same with all rules in the prompt": "core, rules",
             "tiny reasoner, with reasons": "core, reasons"}  # fmt: skip
    result: dict[str, Any] = {
        "figures": {name: vars(figure) for name, figure in FIGURES.items()},
        "bandwidth_share": bandwidth_share(),
        "judging": ways,
        "cores": {name: value(key) for name, key in cores.items()},
        "training": {str(gpus): training(gpus) for gpus in SIZES},
        "limits": limits(ways),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_result(console, out, "scale", result, tables(result))


def limits(ways: dict[str, dict[str, float]]) -> dict[str, float]:
    """Where one part can no longer keep up with the others."""
    label, reasons = (ways[f"Qwen3-0.6B's shape, {how}"] for how in ("mode label (a student)", "with reasons"))
    lead = value("read") + value("sent") + value("record")
    each = value("prompt")
    return {
        "GPUs for which rank 0 can read and record, mode label, 0.6B": (label["seconds"] + each) / lead,
        "the same with reasons": (reasons["seconds"] + each) / lead,
        "weights of a model that rank 0 can train whole": value("memory") * 0.8 / 16,
        "weights of a model that a GPU can hold beside an adapter": value("memory") * 0.8 / 4,
        "hours between failures of 1,000 GPUs": value("between failures") / 1000,
    }


def tables(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = ["What goes in:", "", "| | | | from |", "| --- | ---: | --- | --- |"]
    for name, figure in FIGURES.items():
        lines.append(f"| {name} | {figure.value:,.4g} {figure.unit} | {figure.how} | {figure.source} |")
    lines += ["", "A billion pairs on cores (derived from measured rates):", "",
              "| | pairs/s of a core | core hours | 1,000 cores |", "| --- | ---: | ---: | ---: |"]  # fmt: skip
    for name, rate in result["cores"].items():
        hours = BILLION / rate / HOUR
        lines.append(f"| {name} | {rate:,.0f} | {hours:,.0f} | {span(hours / 1000)} |")
    lines += [
        "", "A judgement and a billion pairs on H100s (derived); the hours are with one job for each GPU:", "",
        "| | operations | bytes read in decoding | pairs/s of a GPU | of a job | GPU hours | "
        + " | ".join(f"{n:,} GPU{'s' * (n > 1)}" for n in SIZES) + " |",
        "| --- |" + " ---: |" * (5 + len(SIZES)),
    ]  # fmt: skip
    for name, way in result["judging"].items():
        hours = BILLION * way["job"] / HOUR
        read = f"{way['bytes']:.2g}" if way["bytes"] else "–"
        rates = " | ".join(f"{1 / way[key]:,.0f}" for key in ("seconds", "job"))
        times = " | ".join(span(hours / n) for n in SIZES)
        lines.append(f"| {name} | {way['operations']:.2g} | {read} | {rates} | {hours:,.0f} | {times} |")
    lines += [
        "", "A training step of Qwen3-0.6B's shape, seconds (derived; 1 GPU: measured):", "",
        "| GPUs | 128 responses in all, at least | at most | 128 for each GPU | of it gradients and weights |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for gpus, step in result["training"].items():
        seconds = " | ".join(f"{step[key]:.2f}" for key in ("least", "most", "batch for each", "wire"))
        lines.append(f"| {int(gpus):,} | {seconds} |")
    lines += ["", "Limits (derived):", "", "| | |", "| --- | ---: |"]
    lines += [f"| {name} | {number:,.2g} |" for name, number in result["limits"].items()]
    return "\n".join(lines) + "\n"


def span(hours: float) -> str:
    """A time in its natural unit."""
    if hours >= 48:
        return f"{hours / 24:,.0f} days"
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"
