"""`taosr-she examine`: whose domain it is, what it refuses before the work, and what Ctrl-C keeps."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from taosr_she.domain.annotation import write_annotations
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation
from taosr_she.examine.gsrm import GSRM, GSRMConfig
from taosr_she.model.policy import load_policy

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    """Two responses to one pair that nobody could read, and annotations of the pair."""
    path = tmp_path / "responses.jsonl"
    row = {"pair_id": "p1", "query": "red boots", "title": "Boots"}
    path.write_text("".join(json.dumps({**row, "response": text}) + "\n" for text in ("no sections", "none here")))
    write_annotations(tmp_path / "said.jsonl", [Annotation("p1", "category", "same", annotator="ann")])
    return path


@pytest.fixture
def gsrm(model: Path, own_domain: Domain, tmp_path: Path) -> Path:
    shutil.copytree(model, tmp_path / "gsrm")
    GSRM(load_policy(model, "cpu"), own_domain, GSRMConfig(max_reasoning_tokens=4)).save_config(tmp_path / "gsrm")
    return tmp_path / "gsrm"


def test_the_gsrms_own_domain_is_used_and_malformed_responses_are_told(
    gsrm: Path, responses: Path, own_domain: Domain, cli: Cli
) -> None:
    out = responses.parent / "examined.jsonl"
    code, said, _ = cli("examine", responses, "--gsrm", gsrm, "--out", out)
    assert code == 0 and "warning: 2 of 2 responses (100%) are malformed, most often: no sections (2)" in said
    assert "examining: 2/2" in said
    row = json.loads(out.read_text().splitlines()[0])
    assert {f"verdict_{key}" for key in own_domain.step_keys} <= row.keys()
    code, _, error = cli("examine", responses, "--gsrm", gsrm, "--domain", "taobao", "--out", out)
    assert code == 2 and "--domain taobao differs" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "o.xlsx"], "o.xlsx: unknown file ending"),
        (["--out", "responses.jsonl"], "--out responses.jsonl: is the input"),
        (["--out", "said.jsonl"], "--out said.jsonl: is the input"),
        (["--mode", "people"], "--mode people: expected one of human_first, gsrm_only, human_only, agree"),
        (["--mode", "agree"], "--mode agree needs a GSRM"),
        (["--column", "x"], "--column x: expected field=column"),
        (["--domain", "nowhere"], "domain 'nowhere' is neither shipped"),
        (["--device", "gpu", "--gsrm", "gsrm"], "device 'gpu'"),
        (["--gsrm", "empty"], "model empty: it has no domain.yaml"),
        (["--gsrm", "nowhere"], "--gsrm nowhere: no such folder"),
        (["--endpoint", "nothttp", "--endpoint-model", "m"], "--endpoint: "),
        (["--endpoint", "http://localhost:1/v1"], "--endpoint together with --endpoint-model"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, gsrm: Path, responses: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(responses.parent)
    Path("empty").mkdir()
    before = responses.read_bytes()
    code, _, error = cli("examine", "responses.jsonl", "--annotations", "said.jsonl", *arguments)
    assert code == 2, error
    (line,) = error.strip().splitlines()
    assert line.startswith("taosr-she: ") and message in line and responses.read_bytes() == before


def test_ctrl_c_says_whether_paid_answers_are_kept(
    gsrm: Path, responses: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("taosr_she.examine.hybrid.Hybrid.examine", pressed)
    out = responses.parent / "o.jsonl"
    code, _, error = cli("examine", responses, "--gsrm", gsrm, "--out", out)
    assert code == 130 and "stopped; 0 of 2 responses were examined and nothing is kept" in error
    monkeypatch.setattr("taosr_she.examine.gsrm_endpoint.EndpointGSRM", lambda *_: SimpleNamespace())
    endpoint = ("--endpoint", "http://localhost:1/v1", "--endpoint-model", "m")
    code, _, error = cli("examine", responses, *endpoint, "--out", out)
    assert code == 130 and len(error.splitlines()) == 1
    assert f"kept in {out}.gsrm-answers.jsonl: run the same command again to continue" in error
