"""Any answer of an endpoint is usable, tried again, refused, or one clear line: never another exception."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.endpoint import transport
from taosr_she.endpoint.asker import Asker

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("good"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "error", "code", "usage", "prompt_tokens", "completion_tokens"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def _answer(content: Any, finish: Any, usage: Any) -> Any:
    return {"choices": [{"message": {"content": content}, "finish_reason": finish}], "usage": usage}


def _error(message: Any, code: Any) -> Any:
    return {"error": {"message": message, "code": code}}


nearly_right = (
    st.builds(_answer, json_values, json_values, json_values)
    | st.builds(_error, json_values, st.integers(0, 999) | json_values)
    | st.fixed_dictionaries({"choices": json_values})
)
bodies = (
    st.one_of(json_values, nearly_right).map(lambda value: json.dumps(value).encode())
    | st.tuples(nearly_right, st.integers(0, 60)).map(lambda v: json.dumps(v[0]).encode()[: v[1]])
    | st.binary(max_size=200)
    | st.sampled_from(
        [
            b"",
            b"[" * 50_000, b'{"a":' * 50_000, b"<html>", b"data: {}\n\n", "\ufeff{}".encode(), b'{"choices": 1e999}',
            b'{"error": ' + b'{"a":' * 900 + b"1" + b"}" * 901, b" " * 400_000, "é".encode("latin-1") * 9,
            b'{"usage": ' + b"9" * 5000 + b"}",
        ]
    )
)  # fmt: skip
# HTTP allows no line ends and hardly any control characters in headers; the rest may be anything.
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
headers = st.dictionaries(
    st.sampled_from(
        [
            "Content-Encoding", "Content-Type", "Retry-After", "Location", "Connection", "Transfer-Encoding", "X-Any",
            "Set-Cookie", "WWW-Authenticate", "Upgrade",
        ]
    ),
    header_values
    | st.sampled_from(
        ["gzip", "br", "chunked", "text/html; charset=x", "0", "-1", "9" * 400, "close", "identity", "/x", "deflate"]
    ),
    max_size=3,
)  # fmt: skip
statuses = st.sampled_from([200] * 12 + [201, 204, 301, 307, 400, 401, 404, 413, 422, 429, 500, 503]) | st.integers(
    0, 999
)
lengths = st.sampled_from(["right"] * 6 + ["none", "short", "long", "-1", "x", "1" * 30])
packings = st.sampled_from(["plain"] * 5 + ["gzip", "cut gzip"])


@pytest.mark.fuzz
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(statuses, headers, bodies, lengths, packings, st.booleans())
@example(200, {"Set-Cookie": "\x80"}, b"", "right", "plain", False)  # the HTTP client could not send it back
@example(200, {"Retry-After": "Mon, 01 Jan 0001 00:00:00 +2359"}, b"", "short", "cut gzip", True)
def test_any_answer_is_usable_tried_again_or_one_clear_line(
    server, make_config, ask, tmp_path, monkeypatch, status, headers, body, length, packing, slow
) -> None:
    monkeypatch.setattr(transport, "BODY_LIMIT", 300_000)
    sent = gzip.compress(body) if packing != "plain" else body
    sent = sent[: len(sent) // 2] if packing == "cut gzip" else sent
    told = {"right": len(sent), "short": len(sent) // 2, "long": len(sent) + 5}.get(length, length)
    lines = [f"HTTP/1.1 {status:03d} X"] + [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {told}"] * (length != "none") + ["Content-Encoding: gzip"] * (packing != "plain")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    parts = [head, sent[:100], sent[100:]] if slow else [head + sent]
    server.say = lambda h: h.raw(*parts)
    config = make_config(retries=1, attempts=2, timeout_seconds=0.5, deadline_seconds=0.8, price_in=1, spend_limit=9e9)
    path = tmp_path / "answers.jsonl"
    path.unlink(missing_ok=True)
    asker = Asker(config, path, lambda seconds: None)
    try:
        asker.ask_all(ask(1))
    except UserError as error:
        assert str(error).isprintable() and len(str(error)) < 1000
    else:
        (question,) = ask(1)
        record = asker.decided(question.key)
        assert (record is not None) != (question.key in asker.unanswered)
        if record is not None and record.outcome == "kept":
            assert record.response == "good"
    finally:
        asker.close()
    Asker(config, path).close()  # the file of answers can be read again
    with server.lock:
        server.requests.clear()
        server.headers.clear()
        server.paths.clear()
