import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.files import (
    PART,
    dumps,
    open_text,
    replacing,
    replacing_folder,
    sha256,
    sync_tree,
    write_json,
    write_jsonl,
    write_text,
)


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "new folder" / "a.txt"
    write_text(path, "old")
    path.chmod(0o640)
    write_text(path, "new\r\nline\n")
    assert path.read_bytes() == b"new\r\nline\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), open_text(path) as file:
        file.write("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_kill_leaves_the_old_file_and_the_next_write_cleans_up(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = f"""
import os, signal
from pathlib import Path
from taosr_she.base.files import open_text
with open_text(Path({str(path)!r})) as file:
    file.write("half" * 10000)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_is_written_is_synced_before_it_takes_its_place(tmp_path, monkeypatch):
    calls = []
    real = {name: getattr(os, name) for name in ("fsync", "replace", "rename")}
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.readlink(f"/proc/self/fd/{fd}")), real["fsync"](fd)))
    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, lambda a, b, name=name: (calls.append("rename"), real[name](a, b)))
    write_text(tmp_path / "a.txt", "x")
    assert calls == [str(tmp_path / f"a.txt{PART}"), "rename", str(tmp_path)]


def test_sync_tree_reaches_every_file_and_folder(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_text("x")
    (tmp_path / "link").symlink_to("nowhere")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    sync_tree(tmp_path)
    assert set(synced) == {str(tmp_path), str(tmp_path / "b"), str(tmp_path / "b" / "c.txt")}


def test_a_link_is_followed(tmp_path):
    (tmp_path / "far").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to("far/a.txt")
    write_text(link, "first")  # the link points at nothing yet
    write_text(link, "second")
    assert link.is_symlink()
    assert (tmp_path / "far" / "a.txt").read_text() == "second"
    assert os.listdir(tmp_path / "far") == ["a.txt"]


def test_a_device_stays_a_device(tmp_path):
    null = tmp_path / "null.json"
    null.symlink_to("/dev/null")
    write_json(null, {"a": 1})
    assert null.is_symlink()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_device_that_takes_nothing_is_named(tmp_path):
    full = tmp_path / "full.txt"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        write_text(full, "x")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(full))
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_pipe_gets_the_content(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_text(pipe, "x" * 100_000)
    reader.join()
    assert got == [b"x" * 100_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("redirect", ["> out", ">> out", "| cat > out"])
def test_the_standard_output_gets_the_content_between_what_is_printed(tmp_path, redirect):
    code = (
        "from pathlib import Path; from taosr_she.base.files import write_text; "
        "print(1); write_text(Path('/dev/stdout'), '2\\n'); print(3)"
    )
    (tmp_path / "out").write_text("")
    subprocess.run(f'{sys.executable} -c "{code}" {redirect}', shell=True, check=True, cwd=tmp_path, env=_here())
    assert (tmp_path / "out").read_text() == "1\n2\n3\n"


def test_a_folder_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(IsADirectoryError) as caught, replacing(tmp_path):
        pytest.fail("the body must not run")
    assert caught.value.filename == str(tmp_path)


def test_a_place_that_cannot_be_is_named_as_the_user_wrote_it(tmp_path):
    path = tmp_path / ("n" * 252)  # no room for the ending of an unfinished file
    with pytest.raises(OSError) as caught:
        write_text(path, "x")
    assert (caught.value.errno, caught.value.filename) == (errno.ENAMETOOLONG, str(path))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def _null(value):
    if isinstance(value, dict):
        return {k: _null(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_null(v) for v in value]
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value


@pytest.mark.fuzz
@given(VALUES)
def test_json_is_json_and_comes_back_with_null_for_what_it_cannot_hold(value):
    assert _strict(dumps(value)) == _null(value)
    assert _strict(dumps(value, indent=1)) == _null(value)


def test_what_python_alone_can_hold_is_still_refused():
    with pytest.raises(TypeError):
        dumps({"a": {1, 2}})


def test_jsonl_and_json_files_are_json_and_utf8(tmp_path):
    rows = [{"a": float("nan"), "b": "é\ud800"}, [float("inf")]]
    write_jsonl(tmp_path / "a.jsonl", rows)
    assert [_strict(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()] == _null(rows)
    write_json(tmp_path / "a.json", rows)
    assert _strict((tmp_path / "a.json").read_text("utf-8")) == _null(rows)


def _here():
    return os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = tmp_path / "new" / "a"
    with replacing_folder(folder) as part:
        (part / "x").write_text("1")
        assert not folder.exists()
    with pytest.raises(RuntimeError), replacing_folder(folder) as part:
        (part / "x").write_text("2")
        raise RuntimeError
    assert [p.name for p in folder.parent.iterdir()] == ["a"] and (folder / "x").read_text() == "1"
    for left in (f"a{PART}", f"a.old{PART}"):  # of a process that was killed
        (folder.parent / left).mkdir()
        (folder.parent / left / "y").write_text("half")
    with replacing_folder(folder) as part:
        (part / "z").write_text("3")
    assert [p.name for p in folder.parent.iterdir()] == ["a"] and [p.name for p in folder.iterdir()] == ["z"]


def test_a_kill_while_the_old_folder_is_deleted_leaves_the_new_one(tmp_path, monkeypatch):
    """Never half of the old one under its name."""
    folder = tmp_path / "a"
    for text in "12":
        with replacing_folder(folder) as part:
            (part / "x").write_text(text)
            monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    assert (folder / "x").read_text() == "2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", f"a.old{PART}"]


def test_the_checksum_of_a_file_is_told_as_it_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 2_000_000)
    told = []
    found = sha256(tmp_path / "a", lambda done, size: told.append((done, size)))
    assert found == hashlib.sha256(b"abc" * 2_000_000).hexdigest()
    assert told == [(1 << 22, 6_000_000), (6_000_000, 6_000_000)]
