"""The speed-ups in use: all of them, unless a benchmark or a test switches some off.

They may change rounding, but not what is computed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Speedups:
    """The speed-ups that can be switched off."""

    lean_pass: bool = True
    """Models built like Llama run without calling their modules (`runner`)."""
    split_attention: bool = True
    """Responses attend to their prompt and themselves in separate calls (`two_part`, `flash_parts`), not `masked`."""
    copied_prompts: bool = True
    """Small prompts are copied to their rows while decoding on a CPU (`decode`)."""
    shared_prompts: bool = True
    """Common prefixes of prompts are run once, in decoding, label probabilities and the update."""
    kept_prefixes: bool = True
    """A service runs the rules, with which all prompts begin, once for all batches (`kept`)."""
    labels_in_decoding: bool = True
    """Label probabilities are read during decoding, where the label is written, not in an extra pass."""
    recorded_steps: bool = True
    """Decoding on a GPU is recorded as a CUDA graph (`recorded`)."""


ALL = Speedups()
_current: ContextVar[Speedups] = ContextVar("speedups", default=ALL)


def speedups() -> Speedups:
    """The speed-ups in use now."""
    return _current.get()


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Switch off the named speed-ups (fields of `Speedups`) in this context."""
    token = _current.set(replace(_current.get(), **dict.fromkeys(names, False)))
    try:
        yield
    finally:
        _current.reset(token)
