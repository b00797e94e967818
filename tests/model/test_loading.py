"""Model folders that cannot be used: one line that names the folder as it was written, whatever a library raises."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoTokenizer

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.model.policy import load_policy

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4665a5ea\nsize 516520\n"
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128}
FOUR_BITS = {"quant_method": "bitsandbytes", "load_in_4bit": True}
OWN_CODE = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}


def without(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink()


def with_keys(folder: Path, name: str, **keys: object) -> None:
    content = json.loads((folder / name).read_text()) | keys
    (folder / name).write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def written(name: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def keys(name: str, **keys: object) -> Callable[[Path], object]:
    return lambda folder: with_keys(folder, name, **keys)


def bin_weights(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """The weights as torch's own file, changed."""

    def spoil(folder: Path) -> None:
        target = folder / "pytorch_model.bin"
        torch.save(load_file(folder / "model.safetensors"), target)
        target.write_bytes(change(target.read_bytes()))
        without(folder, "model.safetensors")

    return spoil


def another_vocabulary(folder: Path) -> None:
    with_keys(folder, "config.json", vocab_size=json.loads((folder / "config.json").read_text())["vocab_size"] + 1)


def newer_tokenizer(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace('"type": "BPE"', '"type": "BPE2"'))


def one_more_token(**how: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_special_tokens(how) if how else tokenizer.add_tokens(["[new]"])
        tokenizer.save_pretrained(folder)

    return spoil


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: without(f, "config.json"), "it has no config.json"),
    "empty folder": (lambda f: without(f, *(p.name for p in f.iterdir())), "it has no config.json"),
    "no tokenizer": (lambda f: without(f, "tokenizer.json"), "it has no tokenizer"),
    "no weights": (lambda f: without(f, "model.safetensors"), "no file named"),
    "an adapter": (written("adapter_config.json", "{}"), "adapter_config.json of this adapter names no base model"),
    "no weights but a byte": (written("model.safetensors", "x"), "its weights are damaged"),
    "half a safetensors": (lambda f: os.truncate(f / "model.safetensors", 9000), "its weights are damaged"),
    "half a .bin": (bin_weights(lambda b: b[: len(b) // 2]), r"its weights are damaged \(.*\); download them again"),
    "an empty .bin": (bin_weights(lambda b: b""), "its weights are damaged"),
    "a text as .bin": (bin_weights(lambda b: b"hello"), "its weights are damaged"),
    "a pointer as .bin": (bin_weights(lambda b: POINTER.encode()), "pytorch_model.bin is a Git LFS pointer"),
    "a pointer": (written("model.safetensors", POINTER), "model.safetensors is a Git LFS pointer.*`git lfs pull`"),
    "a pointer as tokenizer": (written("tokenizer.json", POINTER), "tokenizer.json is a Git LFS pointer"),
    "a pointer as config": (written("config.json", POINTER), "config.json is a Git LFS pointer"),
    "half a tokenizer": (written("tokenizer.json", "{"), "tokenizer.json cannot be read .*; damaged"),
    "a newer tokenizer": (newer_tokenizer, "tokenizer.json cannot be read .*saved by a newer tokenizers"),
    "a tokenizer of another library": (written("tokenizer.json", "[]"), "tokenizer.json cannot be read"),
    "config is a list": (written("config.json", "[1]"), "config.json is not a JSON object"),
    "config is half": (written("config.json", '{"a": '), "config.json is not JSON"),
    "config is not text": (written("config.json", b"\xff\xfe"), "config.json is not JSON"),
    "config is deep": (written("config.json", '{"a":' * 100_000), "config.json is not JSON"),
    "tokenizer config is a text": (written("tokenizer_config.json", '"x"'), "tokenizer_config.json is not a JSON"),
    "generation config is a list": (written("generation_config.json", "[]"), "generation_config.json is not a JSON"),
    "special tokens are a number": (written("special_tokens_map.json", "4"), "special_tokens_map.json is not a JSON"),
    "a config of texts": (keys("config.json", hidden_size="wide"), "cannot be loaded"),
    "heads that do not divide": (keys("config.json", num_key_value_heads=0), "cannot be loaded"),
    "an unknown architecture": (keys("config.json", model_type="qwen9"), "qwen9"),
    "no architecture": (keys("config.json", model_type=None, architectures=None), "cannot be loaded"),
    "no causal LM": (keys("config.json", model_type="t5"), "cannot be loaded"),
    "own code": (keys("config.json", model_type="own", auto_map=OWN_CODE), r"custom code \(auto_map\), which is"),
    "a layer is missing": (keys("config.json", num_hidden_layers=3, layer_types=None), "weights lack model.layers.2"),
    "another vocabulary": (another_vocabulary, r"the embeddings have (\d+) rows, the config says (\d+) "),
    "another width": (keys("config.json", intermediate_size=64), r"has the shape \(\d+, 48\), .* \(\d+, 64\)"),
    "gptq": (keys("config.json", quantization_config=GPTQ), r"is quantised \(gptq\).*or take the original weights"),
    "4 bits": (keys("config.json", quantization_config=FOUR_BITS), r"is quantised \(bitsandbytes\)"),
    "a length of letters": (keys("tokenizer_config.json", model_max_length="long"), "tokenizer.json cannot be read"),
    "no end token": (keys("tokenizer_config.json", eos_token=None), "no end token"),
    "a new pad token": (one_more_token(pad_token="[PAD]"), r"its pad token is number (\d+), the embeddings have \1 "
                        ".*or make the end token the pad_token"),
    "a new end token": (one_more_token(eos_token="[END]"), "its end token is number"),
    "a new word": (one_more_token(), r"token '\[new\]' of its tokenizer is number"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_unusable_folders(saved: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    spoil, message = SPOILT[name]
    spoil(saved)
    written_as = f"{saved.parent}/./{saved.name}/"
    with pytest.raises(UserError, match=message) as caught:
        load_policy(written_as, "cpu")
    assert "\n" not in str(caught.value) and f"model {written_as}" in str(caught.value)
    assert not caplog.records  # one line, not a table before it


JSON = st.recursive(
    st.sampled_from([None, True, 0, -1, 2, 10**12, 3.5, float("nan"), "", "x", "../..", "float32"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "type"]), inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_load_or_are_one_line(saved: Path, domain: Domain, pair: Pair, data: st.DataObject) -> None:
    """Some value of a JSON file is another one, or some file is cut off or has other bytes."""
    names = sorted(f.name for f in saved.iterdir() if f.suffix in (".json", ".safetensors"))
    file = saved / data.draw(st.sampled_from(names))
    whole = file.read_bytes()
    if file.suffix == ".json" and data.draw(st.booleans()):
        content = node = json.loads(whole)
        key = data.draw(st.sampled_from(sorted(node)))
        while isinstance(node[key], dict) and node[key] and data.draw(st.booleans()):
            node = node[key]
            key = data.draw(st.sampled_from(sorted(node)))
        node[key] = data.draw(JSON)
        file.write_text(json.dumps(content))
    elif data.draw(st.booleans()):
        file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        place = data.draw(st.integers(0, min(len(whole), 2000) - 1))
        file.write_bytes(whole[:place] + data.draw(st.binary(max_size=3)) + whole[place + 1 :])
    try:
        load_policy(saved, "cpu").encode_prompt(domain, pair)
    except UserError as error:
        assert "\n" not in str(error) and str(saved) in str(error)
    finally:
        file.write_bytes(whole)


def test_special_tokens_without_embeddings_that_nothing_can_hold(saved: Path) -> None:
    """As Gemma 3 of text alone has one for images."""
    tokenizer = AutoTokenizer.from_pretrained(saved)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(saved)
    assert len(load_policy(saved, "cpu").tokenizer) > load_policy(saved, "cpu").model.config.vocab_size


def test_own_code_that_the_library_has_made_superfluous(saved: Path) -> None:
    with_keys(saved, "config.json", auto_map=OWN_CODE)
    (saved / "own.py").write_text("raise SystemExit('run')\n")
    load_policy(saved, "cpu")


def test_weights_that_are_not_used_are_told(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    with_keys(saved, "config.json", num_hidden_layers=1, layer_types=None)
    load_policy(saved, "cpu")
    assert "of its weights are not used, model.layers.1" in caplog.text and len(caplog.records) == 1


def test_a_file_is_no_folder(saved: Path) -> None:
    with pytest.raises(UserError, match="is a file; name the Hugging Face model folder"):
        load_policy(saved / "model.safetensors")


def test_no_memory_is_not_called_a_damaged_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", full)
    with pytest.raises(MemoryError):
        load_policy(saved, "cpu")


def test_own_tokenizer_code_is_not_needed_beside_a_tokenizer_json(saved: Path) -> None:
    own = {"AutoTokenizer": [None, "own.OwnTokenizer"]}
    with_keys(saved, "tokenizer_config.json", auto_map=own, tokenizer_class="OwnTokenizer")
    (saved / "own.py").write_text("raise SystemExit('run')\n")
    assert load_policy(saved, "cpu").tokenizer.is_fast


def test_own_code_is_never_run_nor_asked_for(saved: Path, tmp_path: Path) -> None:
    """As the user meets it, somebody at the keyboard answering `y`."""
    (saved / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass OwnConfig: pass\n")
    with_keys(saved, "config.json", model_type="own", auto_map=OWN_CODE)
    (tmp_path / "pairs.jsonl").write_text('{"query": "red shoes", "title": "shoes"}\n')
    done = subprocess.run(
        [sys.executable, "-m", "taosr_she.cli", "judge", "./model/", "pairs.jsonl", "--out", "out.jsonl"],
        input="y\n" * 9, capture_output=True, text=True, cwd=tmp_path, timeout=120,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert not (tmp_path / "ran").exists() and "[y/N]" not in done.stdout + done.stderr
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("taosr-she: model ./model/: it needs custom code")
