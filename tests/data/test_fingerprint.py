import os
import subprocess
import sys
from dataclasses import replace

import pytest

from taosr_she.base.errors import UserError
from taosr_she.data.fingerprint import fingerprint_config, fingerprint_file, fingerprint_pairs
from taosr_she.domain.pair import Pair, Product

CONTENT = {"b": [1, 2.5, None, "été"], "a": {"y": True, "x": "龍"}}
PAIR = Pair("p1", "q1", "red shoes", Product("Shoe", attributes={"color": "red"}), "4", extra={"n": 1})


def test_config_is_stable_over_key_order_processes_and_releases() -> None:
    assert fingerprint_config(CONTENT) == fingerprint_config(dict(reversed(CONTENT.items())))
    assert fingerprint_config(CONTENT) == "eb7dc0c4ab6288c9"  # a change here invalidates every run folder in the world
    code = f"from taosr_she.data.fingerprint import fingerprint_config as f; print(f({CONTENT!r}))"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"}
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        assert run.stdout.strip() == fingerprint_config(CONTENT)


def test_config_tells_types_and_values_apart() -> None:
    variants = [1, "1", 1.5, [1], None, True, {"1": 1}]
    assert len({fingerprint_config(v) for v in variants}) == len(variants)
    with pytest.raises(TypeError):
        fingerprint_config({1, 2})


def test_file_and_folder_follow_their_content(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_bytes(b"one")
    (tmp_path / "same.txt").write_bytes(b"one")
    assert fingerprint_file(tmp_path / "a" / "x.txt") == fingerprint_file(tmp_path / "same.txt")
    before = fingerprint_file(tmp_path / "a")
    (tmp_path / "a" / "x.txt").rename(tmp_path / "a" / "y.txt")
    assert fingerprint_file(tmp_path / "a") != before
    with pytest.raises(UserError, match=r"gone\.txt: cannot be read"):
        fingerprint_file(tmp_path / "gone.txt")


def test_pairs_see_every_field_and_the_order() -> None:
    other = replace(PAIR, pair_id="p2")
    changed = [replace(PAIR, label="3"), replace(PAIR, extra={}), replace(PAIR, product=Product("Shoe"))]
    prints = {fingerprint_pairs([p]) for p in [PAIR, other, *changed]}
    assert len(prints) == 5
    assert fingerprint_pairs([PAIR, other]) != fingerprint_pairs([other, PAIR])
