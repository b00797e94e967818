import pytest

from taosr_she.base.errors import UserError
from taosr_she.data.read import read_pairs, read_rows


def test_what_is_not_there_or_not_data_is_one_clear_line(tmp_path) -> None:
    cases = {
        tmp_path / "gone.csv": "no such file or folder",
        tmp_path: "a folder without files of pairs .*, and neither a saved Hugging Face dataset nor .* label.csv",
        tmp_path / "x.txt": "unknown file ending",
    }
    (tmp_path / "x.txt").write_text("a")
    for path, message in cases.items():
        with pytest.raises(UserError, match=message):
            list(read_rows(path))
    with pytest.raises(UserError, match="only a Hugging Face dataset on disk has splits"):
        list(read_rows(tmp_path / "x.txt", split="train"))


@pytest.mark.parametrize(("line", "reason"), [("{", "broken json"), ('{"query": "a"}', "missing title")])
def test_our_own_files_hold_no_broken_rows(tmp_path, line: str, reason: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"query": "a", "title": "b"}\n' + line)
    with pytest.raises(UserError, match=rf"x\.jsonl, row 2: {reason}: "):
        read_pairs(path)
