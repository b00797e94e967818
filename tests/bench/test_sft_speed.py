"""The benchmark of fine-tuning on work of a few tokens: both sides take their steps, and what it writes is complete."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import LlamaConfig, LlamaForCausalLM

from taosr_she.bench import sft_speed
from taosr_she.bench.sft_speed import SFTSize, make_examples, needed_operations
from taosr_she.model.example import IGNORE, Example


def test_both_sides_train_and_everything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sft_speed, "FULL", [SFTSize("tiny", 5, 5, 4, "float32"), SFTSize("small", 5, 5, 2, "bfloat16")])
    sft_speed.measure_sft(Console(), tmp_path, quick=False, steps=1)
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed == json.loads((tmp_path / "sft_speed.json").read_text())
    for row in printed["cells"]:
        assert row["factor"] == pytest.approx(row["trl"] / row["ours"]) and row["ours"] > 0
        assert 0 < row["share_of_limit"]["ours"] < 1
    text = (tmp_path / "sft_speed.md").read_text()
    assert "| tiny | float32 | 4 |" in text and "| small | bfloat16 | 2 |" in text


def test_needed_operations_equal_those_of_a_real_pass() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, attn_implementation="eager",
    )  # fmt: skip
    (example,) = make_examples(SFTSize("tiny", 20, 20, 1, "float32"), 50, 1)
    model, ids = LlamaForCausalLM(config), torch.tensor([example.ids[:-1]])
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids).logits.sum().backward()
    # Real attention also computes what the causal mask hides, and the real head runs on the prompt too. Nothing before
    # the embeddings needs a gradient, yet the first products pass one on to them.
    n, learnt = ids.shape[1], sum(label >= 0 for label in example.labels)
    hidden_pairs, head = n * n / 2 * 4 * 32 * 2, (n - learnt) * 2 * 32 * 50
    assert counter.get_total_flops() == pytest.approx(needed_operations(config, [example]) + 3 * (hidden_pairs + head))


def test_what_examples_share_counts_once() -> None:
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    three = make_examples(SFTSize("tiny", 20, 10, 3, "float32", shared=12), 50, 3)
    assert len({tuple(e.ids[:12]) for e in three}) == 1 and len({tuple(e.ids[:13]) for e in three}) > 1
    beginning = Example(three[0].ids[:13], [IGNORE] * 13)  # its last token is not run
    alone = sum(needed_operations(config, [e]) for e in three)
    assert needed_operations(config, three, 12) == pytest.approx(alone - 2 * needed_operations(config, [beginning]))
