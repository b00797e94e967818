"""The header of a GGUF file. Every length in it is checked against the size of the file.

Libraries trust those lengths. With one damaged count they loop for hours or use all memory, and for a truncated file
they report that some array cannot be reshaped. So the header is read here first, without the weights.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from taosr_she.base.errors import UserError
from taosr_she.model.folder import POINTER
from taosr_she.model.names import check_gguf

Update = Callable[[str, int, int], None]
"""Receives a part of the work, the amount done, and the total."""

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF's number types -> format characters of `struct`."""
STRING, ARRAY = 8, 9
VERSIONS = (2, 3)
"""Versions in use; version 1 used 32-bit counts."""
MOST_DIMS = 4  # of GGML


class HeldTensor(NamedTuple):
    """A tensor in the file."""

    name: str
    shape: tuple[int, ...]  # the fastest-changing axis first, as in GGML
    kind: str  # storage type: F32, Q4_1, ...

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class GGUFHead:
    """The contents of a file, without the weights themselves."""

    fields: dict[str, Any]
    """Key -> number or text; for an array, its length."""
    tensors: tuple[HeldTensor, ...]

    @property
    def architecture(self) -> str:
        """llama.cpp's name of it: llama, qwen2, gemma3, ..."""
        return str(self.fields["general.architecture"])

    @property
    def elements(self) -> int:
        """Number of weights in all tensors."""
        return sum(tensor.elements for tensor in self.tensors)


def read_head(file: Path) -> GGUFHead:
    """The header of a complete file. Raises a UserError that names a file that is not GGUF, truncated or damaged."""
    check_gguf()
    if not file.exists():
        raise UserError(f"{file}: no such file")
    if file.is_dir():
        raise UserError(f"{file}: is a folder; name the .gguf file itself")
    if not file.stat().st_size:
        raise UserError(f"{file}: is empty; download it again")
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as held:
        try:
            return _head(_Reader(held))
        except _Broken as broken:
            raise UserError(f"{file}: {broken}") from broken


class _Broken(Exception):
    """A problem of the file, without its name."""


def _damaged(what: str) -> _Broken:
    return _Broken(f"a damaged GGUF file: {what}; download it again")


class _Reader:
    """A reading position in the file."""

    def __init__(self, held: mmap.mmap) -> None:
        self.held, self.place = held, 0

    def number(self, kind: str) -> Any:
        start, self.place = self.place, self.place + struct.calcsize(f"<{kind}")
        if self.place > len(self.held):
            raise _Broken(f"a truncated GGUF file: its header ends after {len(self.held):,} bytes; download it again")
        return struct.unpack_from(f"<{kind}", self.held, start)[0]

    def skip(self, length: int) -> None:
        self.place += length
        if self.place > len(self.held):
            raise _Broken(
                f"a truncated or damaged GGUF file: its header needs more than {self.place:,} bytes, the file has "
                f"{len(self.held):,}; download it again"
            )

    def text(self) -> str:
        length = self.number("Q")
        start = self.place
        self.skip(length)
        try:
            return self.held[start : start + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise _damaged(f"the bytes at {start:,} are not text") from error

    def value(self, kind: int) -> Any:
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            raise _damaged(f"a value of the type {kind}, which GGUF does not have")
        inner, length = self.number("I"), self.number("Q")
        if inner in NUMBERS:
            self.skip(length * struct.calcsize(NUMBERS[inner]))
        elif inner == STRING:
            for _ in range(length):  # stops at the end of the file at the latest
                self.skip(self.number("Q"))
        else:
            raise _damaged(f"an array of the type {inner}")
        return length


def _head(read: _Reader) -> GGUFHead:
    _check_kind(read)
    count, pairs = read.number("Q"), read.number("Q")
    fields: dict[str, Any] = {}
    for _ in range(pairs):
        key = read.text()
        if key in fields:
            raise _damaged(f"the key {key[:80]} comes twice")
        fields[key] = read.value(read.number("I"))
    if not isinstance(fields.get("general.architecture"), str):
        raise _damaged("it names no architecture (general.architecture)")
    entries = [_tensor(read) for _ in range(count)]
    align = fields.get("general.alignment", 32)
    if not isinstance(align, int) or align < 1 or align & (align - 1):
        raise _damaged(f"an alignment of {align}")
    start = -(-read.place // align) * align
    names = [tensor.name for tensor, _, _ in entries]
    if len(set(names)) < len(names):
        raise _damaged("two of its tensors have the same name")
    for tensor, offset, length in entries:
        if start + offset + length > len(read.held):
            raise _Broken(
                f"a truncated GGUF file: {tensor.name} ends at byte {start + offset + length:,}, the file has "
                f"{len(read.held):,}; download it again"
            )
    return GGUFHead(fields, tuple(tensor for tensor, _, _ in entries))


def _check_kind(read: _Reader) -> None:
    start = read.held[: len(POINTER)]
    if start == POINTER:
        raise _Broken("a Git LFS pointer, not the file itself; run `git lfs pull`")
    if start[:4] != b"GGUF":
        raise _Broken("not a GGUF file (it does not begin with GGUF)")
    read.skip(4)
    version = read.number("I")
    if version and not version & 0xFFFF:
        raise _Broken("a GGUF file for big-endian machines; use one for x86 and ARM")
    if version not in VERSIONS:
        raise _Broken(f"a GGUF file of version {version}; only versions 2 and 3 are supported")


def _tensor(read: _Reader) -> tuple[HeldTensor, int, int]:
    """(tensor, offset of its data after the header, their length in bytes)."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    name, dims = read.text(), read.number("I")
    if not 1 <= dims <= MOST_DIMS:
        raise _damaged(f"tensor {name[:80]} has {dims} axes")
    shape = tuple(read.number("Q") for _ in range(dims))
    number, offset = read.number("I"), read.number("Q")
    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        raise _Broken(
            f"tensor {name[:80]} has the storage type {number}, which the installed gguf does not know; damaged, or "
            "made for a newer version: pip install --upgrade gguf"
        ) from None
    tensor, (block, size) = HeldTensor(name, shape, kind.name), GGML_QUANT_SIZES[kind]
    if not tensor.elements or shape[0] % block:
        raise _damaged(f"tensor {name[:80]} has the shape {shape} in blocks of {block}")
    return tensor, offset, tensor.elements // block * size
