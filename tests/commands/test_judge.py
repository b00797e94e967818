"""`taosr-she judge`: whose domain it is, what it says, and what it refuses before the model is loaded."""

import json
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from taosr_she.data.write import write_pairs
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import parse_response
from taosr_she.judge.decision import Decision, save_decision
from taosr_she.judge.judgement import judgement, judgement_columns

Cli = Callable[..., tuple[int, str, str]]
SHORT = ("--max-new-tokens", 4)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the model would be too late."""

    def loaded(*_: object) -> None:
        raise AssertionError("the model was loaded before the input was checked")

    monkeypatch.setattr("taosr_she.model.policy.load_policy", loaded)


def test_the_models_own_domain_is_used_and_malformed_answers_are_told(
    model: Path, pairs: Path, tmp_path: Path, own_domain: Domain, cli: Cli
) -> None:
    out = tmp_path / "judged.jsonl"
    code, said, _ = cli("judge", model, pairs, "--out", out, *SHORT)
    assert code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 8 and all(row["malformed"] for row in rows)
    lines = said.splitlines()
    assert lines[0] == f"{pairs}: 8 of 9 rows are usable" and any("missing title" in line for line in lines)
    assert f"judging 8 pairs with {model}, domain 'esci'" in lines  # said before the work, without a terminal
    assert any(line.startswith("  judging: 8/8") for line in lines)
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert "8 of 8 responses (100%) are malformed" in warning


def test_the_models_own_decision_rule_is_used_and_said_and_can_be_left_out(
    model: Path, pairs: Path, tmp_path: Path, cli: Cli
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(model, folder)
    save_decision(Decision(rule="tiers", threshold=0.4), folder)
    for command, out in (("judge", "judged.jsonl"), ("evaluate", "evaluation")):
        code, said, _ = cli(command, folder, pairs, "--out", tmp_path / out, *SHORT)
        assert code == 0 and "domain 'esci', decision rule tiers 0.4" in said
        code, said, _ = cli(command, folder, pairs, "--out", tmp_path / f"as-{out}", *SHORT, "--as-written")
        assert code == 0 and "domain 'esci'\n" in said and "decision rule" not in said
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("evaluation", "as-evaluation")]
    assert [found["models"]["model"]["decision"] for found in results] == ["tiers 0.4", "text"]
    (folder / "decision.json").write_text('{"rule": "tiers"}')
    code, _, error = cli("judge", folder, pairs, "--out", tmp_path / "judged.jsonl", *SHORT)
    assert code == 2 and "rule 'tiers' takes threshold, not none" in error and len(error.splitlines()) == 1


def test_labels_are_written_for_a_search_tool(
    model: Path, pairs: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge is a real one; its malformed responses are given labels, as a trained model would."""
    from taosr_she.judge import pairs as judging

    own = judging.judge_pairs

    def labelled(policy: object, domain: Domain, batch: list[Pair], *rest: object, **options: object) -> object:
        found = own(policy, domain, batch, *rest, **options)  # type: ignore[arg-type]
        given = [replace(j, label=None if i == 1 else "ES"[i % 2]) for i, j in enumerate(found.judgements)]
        return found._replace(judgements=given)

    monkeypatch.setattr(judging, "judge_pairs", labelled)
    out = tmp_path / "ratings.csv"
    code, said, _ = cli("judge", model, pairs, "--out", out, "--format", "quepid", *SHORT)
    assert code == 0 and out.read_text().splitlines()[0] == "query,docid,rating"
    assert said.splitlines()[-1] == (
        f"wrote 7 ratings of 4 queries to {out} as quepid, 3=E,2=S,1=C,0=I (rating=label); pairs left out: 1 without a "
        "label"
    )
    assert not list(tmp_path.glob("*.parts")) and not list(tmp_path.glob(".*"))


def test_another_domain_is_refused_until_the_user_insists(
    model: Path, pairs: Path, tmp_path: Path, cli: Cli, no_model: None
) -> None:
    code, _, error = cli("judge", model, pairs, "--domain", "esci")
    assert code == 2 and len(error.splitlines()) == 1
    assert "--domain esci differs from it in prompt.instruction" in error and "--force-domain" in error
    code, _, error = cli("judge", model, pairs, "--domain", "taobao", "--out", tmp_path / "x.jsonl")
    assert code == 2 and "differs from it in name" in error and not (tmp_path / "x.jsonl").exists()


def test_the_same_domain_by_another_file_is_the_same(model: Path, pairs: Path, tmp_path: Path, cli: Cli) -> None:
    shutil.copy(model / "domain.yaml", tmp_path / "shop.yaml")
    assert cli("judge", model, pairs, "--domain", tmp_path / "shop.yaml", "--out", tmp_path / "o.csv", *SHORT)[0] == 0


def test_with_force_domain_another_one_is_taken(model: Path, tmp_path: Path, cli: Cli) -> None:
    path, out = tmp_path / "one.jsonl", tmp_path / "o.jsonl"
    path.write_text('{"query": "red boots", "title": "boots", "label": "4"}\n')
    assert cli("judge", model, path, "--domain", "taobao", "--force-domain", "--out", out, *SHORT)[0] == 0
    assert json.loads(out.read_text())["label"] == "4"  # no grade of the model's own domain


def test_a_model_that_says_no_domain_needs_one_named(
    model: Path, pairs: Path, tmp_path: Path, cli: Cli, no_model: None
) -> None:
    shutil.copytree(model, tmp_path / "old")
    (tmp_path / "old" / "domain.yaml").unlink()
    code, _, error = cli("judge", tmp_path / "old", pairs, "--out", tmp_path / "o.jsonl")
    assert code == 2 and len(error.splitlines()) == 1
    assert (
        "it has no domain.yaml" in error
        and "--domain (taobao, esci, wands, chorus, esci-typed, or a YAML file)" in error
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pairs.jsonl", "--out", "judged.xlsx"], "judged.xlsx: unknown file ending"),
        (["pairs.jsonl", "--out", "judged.parquet.gz"], "judged.parquet.gz: unknown file ending"),
        (["pairs.jsonl", "--out", "pairs.jsonl"], "--out pairs.jsonl: is the input"),
        (["pairs.jsonl", "--out", "linked.jsonl"], "--out linked.jsonl: is the input"),
        (["x.jsonl.quarantine.jsonl", "--out", "x.jsonl"], "quarantine beside --out x.jsonl, x.jsonl.quarantine.jsonl"),
        (["pairs.jsonl", "--out", "folder"], "--out folder: exists and is no Hugging Face dataset"),
        (["pairs.jsonl", "--out", "folder.csv"], "--out folder.csv: is a folder"),
        (["pairs.jsonl", "--out", "pairs.jsonl/o.csv"], "--out pairs.jsonl/o.csv: pairs.jsonl is not a folder"),
        (["pairs.jsonl", "--out", "/proc/o.csv"], "--out /proc/o.csv: cannot write to /proc"),
        (["pairs.jsonl", "--out", "."], "--out .: is not a file name"),
        (["pairs.jsonl", "--out", "o.csv", "--format", "html"], "'--format'"),
        (
            ["pairs.jsonl", "--out", "o.csv", "--format", "trec"],
            "--format trec writes a file that ends in .txt or .trec",
        ),
        (["pairs.jsonl", "--out", "o.txt", "--format", "trec", "--parts"], "--parts: --format trec is one file"),
        (["pairs.jsonl", "--out", "o.txt", "--format", "trec", "--ratings", "1=E"], "has no rating for S, C, I"),
        (["pairs.jsonl", "--out", "o.txt", "--format", "trec", "--ratings", "1=E,0.5=S,2=C,0=I"], "are whole numbers"),
        (["pairs.jsonl", "--ratings", "codes"], "--ratings: belongs to --format"),
        (["pairs.jsonl", "--actors", "2"], "--actors, --actor-cores: belong to --ray; leave them out, or name an"),
        (["pairs.jsonl", "--mode", "label"], "mode 'label' needs a domain with the label step first"),
        (["pairs.jsonl", "--parts", "--out", "folder"], "folder: unknown file ending"),
        (["pairs.jsonl", "--parts", "--out", "full.csv"], "full.csv: is a folder with other files in it"),
        (["pairs.jsonl", "--parts", "--out", "pairs.jsonl"], "pairs.jsonl: is a file; with --parts it is a folder"),
        (["full.csv", "--out", "full.csv/o.csv"], "full.csv/o.csv: is in the folder of the input"),
        (["pairs.jsonl", "--max-new-tokens", "0"], "'--max-new-tokens'"),
        (["pairs.jsonl", "--layout", "html"], "unknown layout 'html'"),
        (["pairs.jsonl", "--column", "query"], "--column query: expected field=column"),
        (["pairs.jsonl", "--column", "query=a", "--column", "query=b"], "--column query=b: 'query' was already given"),
        (["pairs.jsonl", "--column", "colour=a"], "--column"),
        (["pairs.jsonl", "--domain", "no.yaml"], "domain 'no.yaml' is neither shipped"),
        (["./no//such.jsonl"], "./no//such.jsonl: no such file"),
        (["empty.jsonl"], "empty.jsonl: is empty"),
        (["bad.jsonl"], "bad.jsonl: no usable pair"),
    ],
)
def test_what_can_be_known_is_said_in_one_line_before_the_model_is_loaded(
    arguments: list[str], message: str, model: Path, pairs: Path, cli: Cli, no_model: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(pairs.parent)
    Path("linked.jsonl").symlink_to("pairs.jsonl")
    shutil.copy("pairs.jsonl", "x.jsonl.quarantine.jsonl")
    for folder in ("folder", "folder.csv", "full.csv"):
        Path(folder).mkdir()
    shutil.copy("pairs.jsonl", "full.csv/pairs.jsonl")
    Path("empty.jsonl").write_text("")
    Path("bad.jsonl").write_text('{"query": "", "title": "boots"}\n')
    before = pairs.read_bytes()
    code, _, error = cli("judge", model, *arguments)
    assert code == 2, error
    (line,) = error.strip().splitlines()
    assert line.startswith("taosr-she: ") and message in line
    assert pairs.read_bytes() == Path("x.jsonl.quarantine.jsonl").read_bytes() == before


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_probabilities_that_are_no_numbers_are_null(suffix: str, tmp_path: Path) -> None:
    domain = load_domain("taobao")
    found = judgement(domain, "p", parse_response(domain, "[label] 4"), dict.fromkeys(domain.codes, math.nan), 3)
    out = tmp_path / f"o{suffix}"
    write_pairs(out, [Pair("p", "q", "boots", Product("boots"), extra=judgement_columns(domain, found))])
    if suffix == ".jsonl":
        assert "NaN" not in out.read_text()
        json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_ctrl_c_keeps_what_was_judged_and_says_so(model: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "many.jsonl", tmp_path / "judged.csv"
    rows = (json.dumps({"query": f"boots {i}", "title": f"red boots {i}"}) for i in range(4000))
    path.write_text("\n".join(rows) + "\n")
    command = [sys.executable, "-m", "taosr_she.cli", "judge", str(model), str(path), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    for line in process.stdout:  # lines come while it works, though this is a pipe
        if line.startswith("  judging: "):
            break
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    (line,) = error.splitlines()
    assert line.startswith("taosr-she: stopped; ") and f"of 4000 pairs are judged and kept in {out}.parts; " in line
    judged = int(line.split("stopped; ")[1].split()[0])
    assert 64 <= judged < 4000 and not out.exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=120)
    lines = again.stdout.splitlines()
    kept = int(lines[0].removeprefix(f"{out}.parts: ").split()[0])
    assert lines[0] == f"{out}.parts: {kept} of 4000 pairs are judged already" and kept >= judged
    assert lines[1].startswith(f"judging {4000 - kept} pairs with ")
    assert lines[-1].startswith(f"wrote 4000 judgements to {out} ")
    assert len(out.read_text().splitlines()) > 4000 and not out.with_name("judged.csv.parts").exists()
