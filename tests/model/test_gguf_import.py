"""GGUF files become model folders: the same weights, the same words, or one line that names the file."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from gguf_files import CONTROL, NAMES, TOKENS, gguf_weights, small_gguf, small_llama, write_gguf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_pair, render_prompt, render_system
from taosr_she.model.gguf_import import import_gguf
from taosr_she.model.policy import load_policy


def quiet(what: str, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_gguf(tmp_path_factory.mktemp("gguf") / "small.Q8_0.gguf")


@pytest.fixture(scope="module")
def folder(file: Path) -> Path:
    import_gguf(file, file.parent / "imported", quiet)
    return file.parent / "imported"


@pytest.mark.parametrize("tie", [True, False])
def test_a_file_of_float32_is_the_model_it_was_made_of(tmp_path: Path, tie: bool) -> None:
    model = small_llama(tie)
    import_gguf(write_gguf(tmp_path / "a.gguf", gguf_weights(model)), tmp_path / "out", quiet)
    again = load_policy(tmp_path / "out", "cpu").model
    ids = torch.arange(40).view(2, 20)
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model(ids).logits)
    assert again.config.tie_word_embeddings == tie


@pytest.mark.parametrize("kind", ["Q4_1", "Q4_0", "Q8_0", "F16", "BF16", "Q5_1"])
def test_weights_are_exactly_what_ggufs_own_reader_makes_of_them(tmp_path: Path, kind: str) -> None:
    file = small_gguf(tmp_path / "a.gguf", kind)
    source = import_gguf(file, tmp_path / "out", quiet)
    held = {t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(file).tensors}
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert len(saved) == len(held) and source["stored_as"] == {kind: 15, "F32": 5}
    assert "lm_head.weight" not in saved  # one matrix at both ends, stored once
    for key, weights in saved.items():
        name = key
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        wanted = held[name]
        if "attn_q" in name or "attn_k" in name:
            wanted = wanted.reshape(4 if "attn_q" in name else 2, -1, 2, 64).swapaxes(1, 2).reshape(wanted.shape)
        assert weights.dtype == torch.float32 and np.array_equal(weights.numpy(), wanted), key
    assert source["parameters"] == sum(weights.numel() for weights in saved.values())


def test_the_tokenizer_comes_along(folder: Path, domain: Domain, pair: Pair) -> None:
    policy = load_policy(folder, "cpu")
    tokenizer = policy.tokenizer
    assert tokenizer.get_vocab() == {token: i for i, token in enumerate(TOKENS)}
    assert [tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token] == [
        "<|im_end|>",
        "<|im_end|>",
        "<|im_start|>",
    ]
    assert policy.end_ids == (2,) and tokenizer.all_special_ids == [1, 2, 0]
    text = tokenizer.decode(policy.encode_prompt(domain, pair))
    turns = (("system", render_system(domain)), ("user", render_pair(domain, pair)))
    wanted = "".join(f"<|im_start|>{role}\n{said}<|im_end|>\n" for role, said in turns)
    assert text == wanted + "<|im_start|>assistant\n"
    hostile = policy.encode_response("".join(CONTROL))[:-1]
    assert not {0, 1, 2} & set(hostile) and tokenizer.decode(hostile) == "".join(CONTROL)


def test_digits_stand_alone_where_the_file_says_so(folder: Path, tmp_path: Path) -> None:
    """Two spaces before a digit are one token to SmolLM2; GPT-2 gives the second one to the number."""
    assert load_policy(folder, "cpu").tokenizer.tokenize("a  4") == ["a", "ĠĠ", "4"]
    import_gguf(small_gguf(tmp_path / "a.gguf", pre="gpt-2"), tmp_path / "out", quiet)
    assert load_policy(tmp_path / "out", "cpu").tokenizer.tokenize("a  4") == ["a", "Ġ", "Ġ", "4"]


def test_a_tokenizer_of_sentencepiece(tmp_path: Path, domain: Domain, pair: Pair) -> None:
    fields = {"tokenizer.ggml.pre": None, "tokenizer.ggml.padding_token_id": None, "tokenizer.chat_template": None}
    file = small_gguf(tmp_path / "a.gguf", fields=fields, sentencepiece=True)
    import_gguf(file, tmp_path / "out", quiet)
    policy = load_policy(tmp_path / "out", "cpu")
    assert policy.tokenizer.tokenize("red  4") == ["▁", "re", "d", "▁", "▁", "<0x34>"]
    assert policy.end_ids == (2,) and policy.pad_id == 2 and policy.tokenizer.bos_token == "<s>"
    assert policy.tokenizer.decode(policy.encode_prompt(domain, pair)).endswith(render_prompt(domain, pair))


def test_an_unknown_way_of_cutting_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import_gguf(small_gguf(tmp_path / "a.gguf", pre="viking"), tmp_path / "out", quiet)
    assert len(caplog.records) == 1 and "does not know the pre-tokenizer 'viking'" in caplog.text


def test_the_end_of_a_turn_ends_a_response_too(tmp_path: Path) -> None:
    import_gguf(small_gguf(tmp_path / "a.gguf", fields={"tokenizer.ggml.eot_token_id": 0}), tmp_path / "out", quiet)
    assert load_policy(tmp_path / "out", "cpu").end_ids == (2, 0)


def test_the_folder_says_what_it_was_made_of(folder: Path, file: Path) -> None:
    source = json.loads((folder / "source.json").read_text())
    assert source["license"] == "apache-2.0" and source["file"] == file.name and source["architecture"] == "llama"
    card = (folder / "README.md").read_text()
    assert source["sha256"] in card and "Licence (from the file): apache-2.0" in card and "15 in Q8_0" in card
    assert json.loads((folder / "config.json").read_text()).get("quantization_config") is None


def test_configs_beside_the_file_are_not_looked_at(file: Path, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "odd name.bin").write_bytes(file.read_bytes())
    for name in ("config.json", "tokenizer_config.json", "generation_config.json", "adapter_config.json"):
        (tmp_path / name).write_text("{")
    import_gguf(tmp_path / "odd name.bin", tmp_path / "out", quiet)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()


def test_nothing_is_drawn_and_all_work_is_told(file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[str, int, int]] = []
    import_gguf(file, tmp_path / "out", lambda *what: told.append(what))
    assert capfd.readouterr() == ("", "")
    for what in ("checksum", "reading", "writing"):
        last = [t for t in told if t[0] == what][-1]
        assert last[1] == last[2] > 0
    assert len([t for t in told if t[0] == "reading"]) == 21


def unlike(**fields: Any) -> Any:
    return lambda path: small_gguf(path, fields={key.replace("__", "."): value for key, value in fields.items()})


def missing(name: str) -> Any:
    return lambda path: write_gguf(path, {k: v for k, v in gguf_weights(small_llama()).items() if k != name})


def instead(name: str, value: np.ndarray) -> Any:
    return lambda path: write_gguf(path, gguf_weights(small_llama()) | {name: value})


WRONG: dict[str, tuple[Any, str]] = {
    "unknown architecture": (lambda p: small_gguf(p, architecture="strange"), "architecture strange is not supported"),
    "an encoder": (lambda p: small_gguf(p, architecture="t5encoder"), "cannot be read"),
    "a part of a model": (unlike(general__type="adapter"), r"no whole model but a part \(adapter\)"),
    "a part of a file": (unlike(split__count=3), "one of 3 parts; merge them"),
    "no end token": (unlike(tokenizer__ggml__eos_token_id=None), "names no end token"),
    "an end token that is not there": (unlike(tokenizer__ggml__eos_token_id=9999), "its eos token has the id 9999"),
    "parts that are no number": (unlike(split__count="many"), "one of many parts"),
    "a padding token that is not there": (unlike(tokenizer__ggml__padding_token_id=264), "padding token has the id"),
    "another tokenizer": (unlike(tokenizer__ggml__model="rwkv"), "its tokenizer is of the kind rwkv"),
    "too many layers": (unlike(llama__block_count=2**31), "llama.block_count is 2,147,483,648"),
    "a layer more": (unlike(llama__block_count=3), "its settings ask for .* weights, it has"),
    "a huge vocabulary": (unlike(llama__vocab_size=2**31), "its settings ask for"),
    "wide heads": (unlike(llama__rope__dimension_count=2**30), "its settings ask for"),
    "no heads": (unlike(llama__attention__head_count=0), "cannot be read"),
    "a tensor less": (missing("output_norm.weight"), "its settings ask for"),
    "a tensor in place of another": (
        lambda p: write_gguf(p, {k.replace("output_norm", "odd"): v for k, v in gguf_weights(small_llama()).items()}),
        "lacks the weights model.norm.weight",
    ),
    "another shape": (
        instead("blk.0.ffn_up.weight", np.zeros((64, 96), np.float32)), r"has the shape \(64, 96\), .* \(96, 64\)",
    ),
    "numbers that are none": (instead("output_norm.weight", np.full(64, np.nan, np.float32)), "infinite numbers"),
    "less words than tokens": (instead("token_embd.weight", np.zeros((64, 64), np.float32)), "damaged GGUF file"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_become_a_model_is_one_line(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write, message = WRONG[name]
    file = write(tmp_path / "wrong.gguf")
    with pytest.raises(UserError, match=message) as caught:
        import_gguf(file, tmp_path / "out", quiet)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{file}: ")
    assert str(caught.value).count(str(tmp_path)) == 1  # no folder of ours in it
    assert [p.name for p in tmp_path.iterdir()] == ["wrong.gguf"] and not caplog.records


@pytest.mark.fuzz
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_head_is_one_line_or_a_model(file: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Bytes of the settings or of the list of tensors are other ones: no hang, no trace, nothing half."""
    whole = file.read_bytes()
    place = data.draw(st.integers(0, 3000) | st.integers(0, len(whole) - 1))
    bytes_ = data.draw(st.binary(min_size=1, max_size=9))
    damaged, out = tmp_path / "damaged.gguf", tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    damaged.write_bytes(whole[:place] + bytes_ + whole[place + len(bytes_) :])
    try:
        import_gguf(damaged, out, quiet)
    except UserError as error:
        assert "\n" not in str(error) and str(error).startswith(f"{damaged}: ") and not out.exists()
    else:
        load_policy(out, "cpu")
    assert not (tmp_path / "out.part").exists()


def test_a_full_disk_leaves_nothing(file: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom taosr_she.model.gguf_import import import_gguf\n"
        "import transformers.models.llama\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    import_gguf(Path(sys.argv[1]), Path(sys.argv[2]), lambda *_: None)\n"
        "except OSError as error:\n    print(error.strerror, error.filename)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, file, tmp_path / "out"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"File too large {tmp_path / 'out.part'}\n" and not list(tmp_path.iterdir())


def test_a_killed_import_leaves_no_folder_and_the_next_one_is_whole(file: Path, folder: Path, tmp_path: Path) -> None:
    """Killed for good the moment that weights are in its folder."""
    out = tmp_path / "out"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom taosr_she.model import gguf_import\n"
        "gguf_import.load_parts = lambda *_: time.sleep(60)\n"  # waits before the last steps
        "gguf_import.import_gguf(Path(sys.argv[1]), Path(sys.argv[2]), lambda *_: None)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, file, out])
    part = tmp_path / "out.part"
    end = time.monotonic() + 120
    while not (part / "tokenizer.json").exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (part / "model.safetensors").exists() and not out.exists()
    import_gguf(file, out, quiet)
    assert not part.exists()
    assert {f.name: f.read_bytes() for f in out.iterdir()} == {f.name: f.read_bytes() for f in folder.iterdir()}
