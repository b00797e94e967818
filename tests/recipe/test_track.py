"""Trackers are shown the rows of the files: all of them, once, in order, also over kills."""

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from taosr_she.base.errors import UserError
from taosr_she.recipe import track
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.track import Follower, TensorBoard, Tracked, check_tracker, flat, followed


class Heard:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.closed = False

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, dict(values)))

    def close(self) -> None:
        self.closed = True


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard reads in a folder: name -> step -> value."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {name: {e.step: e.value for e in events.Scalars(name)} for name in events.Tags()["scalars"]}


def expected(rows: list[dict[str, Any]], prefix: str = "") -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        for name, value in flat(row, prefix).items():
            found.setdefault(name, {})[row["step"]] = pytest.approx(value, rel=1e-6)  # TensorBoard keeps 32 bits
    return found


def test_tensorboard_has_the_rows_of_every_stage_of_a_run(toy_run: Path) -> None:
    tracked = toy_run / "track" / "tensorboard"
    stages = {path.parent.name for path in toy_run.glob("stages/*/metrics.jsonl")}
    assert {path.name for path in tracked.iterdir()} == stages and {
        "sft",
        "scalar_reward_model",
        "gsrm",
        "hybrid",
    } <= stages
    for name in stages:
        folder = toy_run / "stages" / name
        rows = read_rows(folder / "metrics.jsonl")
        watched = read_rows(folder / "watch.jsonl") if name == "hybrid" else []
        assert scalars(tracked / name) == expected(rows) | expected(watched, "development/")
    assert set(scalars(tracked / "hybrid")["development/macro_f1"]) == {0, 2, 4}
    assert set(scalars(tracked / "hybrid")["sources/query/human"]) <= {1, 2, 3, 4}


def test_after_a_kill_a_tracker_has_what_the_file_has(tmp_path: Path) -> None:
    """The first sitting came to row 3; the second goes on after row 1, with other rows 2 and 3."""
    what = Tracked(tmp_path, "run", "rl", "0123456789abcdef", {"kind": "rl"})
    file = tmp_path / "metrics.jsonl"
    for rows in ([(1, 0.1), (2, 0.2), (3, 0.3)], [(1, 0.1), (2, 0.7), (3, 0.8), (4, 0.9)]):
        write_rows(file, [{"step": step, "reward": reward} for step, reward in rows])
        follower = Follower(tmp_path, lambda: TensorBoard(what))
        follower.follow()
        follower.close()
    found = scalars(tmp_path / "track" / "tensorboard" / "rl")
    assert found == expected(read_rows(file)) and len(found["reward"]) == 4


@given(st.lists(st.integers(1, 60), max_size=30), st.integers(1, 12))
def test_every_row_is_handed_on_once_however_the_file_grows(pieces: list[int], count: int) -> None:
    import tempfile

    rows = [{"step": step, "loss": step / 7, "text": "ü\u2028"} for step in range(1, count + 1)]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    with tempfile.TemporaryDirectory() as folder:
        heard = Heard()
        follower = Follower(Path(folder), lambda: heard)
        with (Path(folder) / "metrics.jsonl").open("wb") as file:
            for size in [*pieces, len(content)]:
                file.write(content[:size])
                file.flush()
                content = content[size:]
                follower.follow()
    assert heard.rows == [(row["step"], {"loss": row["loss"]}) for row in rows]


def test_steps_never_fall_although_two_files_are_read(tmp_path: Path) -> None:
    heard = Heard()
    follower = Follower(tmp_path, lambda: heard)
    follower.follow()
    write_rows(tmp_path / "watch.jsonl", [{"step": 0, "macro_f1": 0.1}])
    write_rows(tmp_path / "metrics.jsonl", [{"step": 1, "reward": 0.5}])
    follower.follow()
    write_rows(tmp_path / "watch.jsonl", [{"step": 0, "macro_f1": 0.1}, {"step": 1, "macro_f1": 0.2}])
    write_rows(tmp_path / "metrics.jsonl", [{"step": step, "reward": 0.5} for step in (1, 2)])
    follower.follow()
    assert [step for step, _ in heard.rows] == [0, 1, 1, 2]
    assert heard.rows[2] == (1, {"development/macro_f1": 0.2})


def test_numbers_of_a_row_by_name() -> None:
    row = {
        "step": 3, "reward": 0.5, "entropy": math.nan, "kl": None, "no_signal": {"all_right": 2}, "warnings": ["x"],
        "sources": {"query": {"human": 1.0}}, "stage": "easy", "stage_ended": "",
    }  # fmt: skip
    assert flat(row) == {"reward": 0.5, "no_signal/all_right": 2.0, "warnings": 1.0, "sources/query/human": 1.0}


def test_a_stage_without_rows_makes_no_run_and_an_error_closes_the_tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Heard] = []

    def make(_: Tracked) -> Heard:
        heard.append(Heard())
        return heard[-1]

    monkeypatch.setitem(track.TRACKERS, "tensorboard", make)
    what = Tracked(tmp_path, "run", "rl", "f", {})
    with followed("tensorboard", tmp_path, lambda: what) as follow:
        follow()
    assert heard == []
    write_rows(tmp_path / "metrics.jsonl", [{"step": 1, "loss": 1.0}])
    with pytest.raises(ZeroDivisionError), followed("tensorboard", tmp_path, lambda: what) as follow:
        follow()
        raise ZeroDivisionError
    (one,) = heard
    assert one.closed and one.rows == [(1, {"loss": 1.0})]
    with followed("none", tmp_path, lambda: what) as follow:
        follow()
    assert len(heard) == 1


def test_a_missing_package_is_one_line_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"track: wandb is not installed; pip install 'taosr-she\[track\]'"):
        check_tracker("wandb")
    check_tracker("none")


def test_the_command_refuses_it_and_writes_nothing(
    tmp_path: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track.importlib.util, "find_spec", lambda name: None)
    code, _, error = cli("run", "smoke", "track=trackio", f"out={tmp_path / 'run'}")
    (line,) = error.splitlines()
    assert code == 2 and "pip install 'taosr-she[track]'" in line and not (tmp_path / "run" / "stages").exists()


def test_a_folder_that_wandb_left_behind_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trackio").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(UserError, match="trackio is not installed"):
        check_tracker("trackio")


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(ValueError, match="tensorboard"):
        Recipe.model_validate({"name": "x", "track": "mlflow", "stages": {}})


ROWS = [{"step": step, "reward": step / 10, "sources": {"query": {"human": 0.5}}} for step in range(1, 6)]


def log_records(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """The records of a wandb file: seven bytes of its own, then LevelDB's log format."""
    position, record = 7, b""
    while position + 7 <= len(data):
        if block - position % block < 7:
            position += block - position % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_wandb_offline(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb")
    write_rows(tmp_path / "metrics.jsonl", ROWS)
    what = Tracked(tmp_path, "demo run", "srpo", "0123456789abcdef", {"kind": "rl"})
    for _ in range(2):  # the second sitting takes the place of the first
        with followed("wandb", tmp_path, lambda: what) as follow:
            follow()
    (folder,) = (tmp_path / "track" / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    assert file.name == "run-srpo-0123456789abcdef.wandb"
    from wandb.proto import wandb_internal_pb2

    found = []
    for data in log_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            found.append((items["_step"], items["reward"], items["sources/query/human"]))
    assert found == [(row["step"], row["reward"], 0.5) for row in ROWS] and wandb.run is None


def test_trackio_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    from trackio import utils
    from trackio.sqlite_storage import SQLiteStorage

    for module in (utils, __import__("trackio.sqlite_storage", fromlist=["x"])):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio", raising=False)
    write_rows(tmp_path / "metrics.jsonl", ROWS)
    what = Tracked(tmp_path, "demo", "srpo", "0123456789abcdef", {"kind": "rl"})
    for _ in range(2):
        with followed("trackio", tmp_path, lambda: what) as follow:
            follow()
    assert SQLiteStorage.get_runs("demo") == ["srpo-01234567"]
    rows = SQLiteStorage.get_logs("demo", "srpo-01234567")
    found = [(row["step"], row["reward"], row["sources/query/human"]) for row in rows]
    assert found == [(row["step"], row["reward"], 0.5) for row in ROWS]
    assert (tmp_path / "trackio").is_dir(), "nothing is written elsewhere"
