"""The head of a GGUF file: what it says, and one line for whatever is wrong with it."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGUFReader
from gguf_files import TOKENS, small_gguf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.model.gguf_head import read_head


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf", "Q4_1")


def test_it_says_what_ggufs_own_reader_says(file: Path) -> None:
    head, theirs = read_head(file), GGUFReader(file)
    assert head.architecture == "llama" and head.fields["tokenizer.ggml.tokens"] == len(TOKENS)
    for key, value in head.fields.items():
        held = theirs.fields[key].contents()
        assert value == (len(held) if isinstance(held, list) else held)
    assert len(head.fields) == len(theirs.fields) - 3  # version and counts stand before the fields
    wanted = [(t.name, tuple(t.shape.tolist()), t.tensor_type.name) for t in theirs.tensors]
    assert [tuple(tensor) for tensor in head.tensors] == wanted
    assert head.elements == sum(t.n_elements for t in theirs.tensors)


def number(place: int, kind: str, value: int) -> Callable[[bytes], bytes]:
    def change(whole: bytes) -> bytes:
        return whole[:place] + struct.pack(kind, value) + whole[place + struct.calcsize(kind) :]

    return change


def behind(text: bytes, skip: int, kind: str, value: int) -> Callable[[bytes], bytes]:
    return lambda whole: number(whole.index(text) + len(text) + skip, kind, value)(whole)


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda whole: whole.replace(old, new, 1)


WRONG: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda b: b"", "is empty; download it again"),
    "another file": (lambda b: b"PK\3\4" + b, r"not a GGUF file \(it does not begin with GGUF\)"),
    "a pointer": (lambda b: b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
    "its first word": (lambda b: b[:4], "its header ends after 4 bytes"),
    "version 1": (number(4, "<I", 1), "a GGUF file of version 1; only versions 2 and 3 are supported"),
    "the other byte order": (number(4, "<I", 3 << 24), "for big-endian machines"),
    "many fields": (number(16, "<Q", 2**60), "damaged GGUF file|truncated"),
    "many tensors": (number(8, "<Q", 2**60), "damaged GGUF file|truncated"),
    "a long key": (number(24, "<Q", 2**62), "its header needs more than 4,611,686,018,427,387,936 bytes"),
    "an unknown type": (behind(b"general.architecture", 0, "<I", 77), "a value of the type 77"),
    "a list of lists": (behind(b"tokenizer.ggml.token_type", 4, "<I", 9), "an array of the type 9"),
    "a list without an end": (behind(b"tokenizer.ggml.token_type", 8, "<Q", 2**60), "its header needs"),
    "words without an end": (behind(b"tokenizer.ggml.tokens", 8, "<Q", 2**60), "truncated"),
    "a key twice": (replaced(b"ggml.eos_token_id", b"ggml.bos_token_id"), "tokenizer.ggml.bos_token_id comes twice"),
    "a tensor twice": (replaced(b"blk.1.attn_q", b"blk.1.attn_k"), "two of its tensors have the same name"),
    "no architecture": (replaced(b"general.arch", b"general.erch"), "names no architecture"),
    "no text": (replaced(b"llama.block", b"llama.bl\xff\xffk"), "are not text"),
    "an unknown kind of tensor": (behind(b"token_embd.weight", 20, "<I", 999), "has the storage type 999"),
    "no axis": (behind(b"token_embd.weight", 0, "<I", 0), "token_embd.weight has 0 axes"),
    "many axes": (behind(b"token_embd.weight", 0, "<I", 2**31), "token_embd.weight has 2147483648 axes"),
    "an odd width": (behind(b"token_embd.weight", 4, "<Q", 63), r"has the shape \(63, \d+\) in blocks of 32"),
    "half": (lambda b: b[: len(b) // 2], "a truncated GGUF file: .* ends at byte"),
    "the last block cut off": (lambda b: b[:-33], r"ends at byte [\d,]+, the file has [\d,]+; download"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_line(name: str, file: Path, tmp_path: Path) -> None:
    change, message = WRONG[name]
    (tmp_path / "a.gguf").write_bytes(change(file.read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        read_head(tmp_path / "a.gguf")
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{tmp_path / 'a.gguf'}: ")


def test_what_is_no_file(tmp_path: Path) -> None:
    for path, message in ((tmp_path, "is a folder; name the .gguf file"), (tmp_path / "x", "no such file")):
        with pytest.raises(UserError, match=message):
            read_head(path)


@pytest.mark.fuzz
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_anywhere_is_one_line(file: Path, tmp_path: Path, share: float) -> None:
    whole = file.read_bytes()
    last = max(tensor.data_offset + tensor.n_bytes for tensor in GGUFReader(file).tensors)  # behind it is only padding
    (tmp_path / "a.gguf").write_bytes(whole[: int(share * last)])
    with pytest.raises(UserError, match=r"truncated|empty|not a GGUF file") as caught:
        read_head(tmp_path / "a.gguf")
    assert "\n" not in str(caught.value)


@pytest.mark.fuzz
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_cost_neither_time_nor_memory(file: Path, tmp_path: Path, data: st.DataObject) -> None:
    whole = file.read_bytes()
    place = data.draw(st.integers(0, 12_000))
    damage = data.draw(st.binary(min_size=1, max_size=8))
    (tmp_path / "a.gguf").write_bytes(whole[:place] + damage + whole[place + len(damage) :])
    tracemalloc.start()
    try:
        assert read_head(tmp_path / "a.gguf").elements > 0
    except UserError as error:
        assert "\n" not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20 * len(whole)
