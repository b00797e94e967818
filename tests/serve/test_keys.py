"""Where keys come from, and what counts as one."""

from pathlib import Path

import pytest

from taosr_she.base.errors import UserError
from taosr_she.serve.keys import VARIABLE, read_keys, shown_key

ONE, TWO = "first-key-0123456789", "second-key-0123456789"


def test_keys_of_a_file_and_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of the shop\n\n{ONE}\n")
    monkeypatch.setenv(VARIABLE, TWO)
    keys = read_keys(file, VARIABLE)
    assert keys and keys.have(ONE) and keys.have(TWO)
    assert not keys.have("") and not keys.have(ONE[:-1]) and not keys.have("schlüssel\udcff")
    monkeypatch.delenv(VARIABLE)
    assert not read_keys(None, VARIABLE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("short\n", "at least 16"),
        ("# nothing\n", "has no key"),
        ("clé-clé-clé-clé-clé\n", "ASCII"),
        (None, "FileNotFound"),
    ],
)
def test_a_wrong_file_is_one_line_that_quotes_no_key(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError) as wrong:
        read_keys(file, VARIABLE)
    line = str(wrong.value)
    assert said in line and str(file) in line and "short" not in line.replace(str(file), "") and "\n" not in line


def test_the_headers_that_clients_send() -> None:
    assert shown_key([(b"Authorization", b"Bearer  abc")]) == "abc"
    assert shown_key([(b"api-key", b"abc")]) == shown_key([(b"x-api-key", b"abc")]) == "abc"
    assert shown_key([(b"authorization", b"Basic abc")]) == shown_key([]) == ""
