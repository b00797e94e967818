"""Hostile text for a terminal and for Markdown."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from taosr_she.base.escape import code, markdown, one_line, plain

render = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render
HOSTILE = st.text(st.sampled_from("<>&`*_[]()|\\~#!\"'$ab :/\n\r\x1b\x07\x9b\u202e\u2066\u2028\ud800é中"), max_size=40)


def test_escape_sequences_are_shown() -> None:
    assert plain("a\x1b[31mb\x07\x9bc\rd\ne\tf\u202eg\ud800") == r"a\x1b[31mb\x07\x9bc\rd" + "\ne\tf" + r"\u202eg\ud800"
    assert one_line("a\nb\tc") == r"a\nb\tc"
    assert plain("Größe 中文 👩‍🦰 שלום") == "Größe 中文 👩‍🦰 שלום"


@given(HOSTILE)
def test_no_control_character_is_left_and_the_rest_stays(text: str) -> None:
    shown = plain(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\u2066\ud800]", shown)
    assert plain(shown) == shown
    assert "\n" not in one_line(text)


@given(HOSTILE)
def test_markdown_renders_the_very_words(text: str) -> None:
    rendered = render(f"word {markdown(text)} word")
    inner = rendered.strip().removeprefix("<p>").removesuffix("</p>")
    assert "<" not in inner, rendered
    assert html.unescape(inner).split() == ["word", *plain(text).split(), "word"]


@given(HOSTILE, HOSTILE)
def test_markdown_stays_in_its_cell(a: str, b: str) -> None:
    rendered = render(f"| x | y |\n| --- | --- |\n| {markdown(a)} | {markdown(b)} |\n")
    cells = re.findall(r"<td>(.*?)</td>", rendered)
    assert [html.unescape(cell).split() for cell in cells] == [plain(a).split(), plain(b).split()]


@given(HOSTILE)
def test_code_is_one_span(text: str) -> None:
    rendered = render(f"word {code(text)} word")
    assert rendered.count("<code>") == rendered.count("</code>") == 1 and len(re.findall("<", rendered)) == 4


@pytest.mark.parametrize(("text", "shown"), [("p1", "`p1`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("", "` `")])
def test_code(text: str, shown: str) -> None:
    assert code(text) == shown
