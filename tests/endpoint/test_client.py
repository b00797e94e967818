"""One request: what is sent, and what becomes of any answer."""

import gzip
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from taosr_she.base.errors import UserError
from taosr_she.endpoint import transport
from taosr_she.endpoint.client import ChatClient
from taosr_she.endpoint.failures import Refused, TryAgain
from taosr_she.endpoint.settings import EndpointConfig

KEY = "sk-test-0123"
HELLO = [{"role": "user", "content": "hello \ud800"}]
Make = Callable[..., ChatClient]


@pytest.fixture
def make(make_config: Callable[..., EndpointConfig]) -> Iterator[Make]:
    made: list[ChatClient] = []

    def new(**settings: Any) -> ChatClient:
        made.append(ChatClient(make_config(**settings)))
        return made[-1]

    yield new
    for client in made:
        client.close()


def test_a_key_is_sent_only_when_it_is_asked_for_by_name(server, make: Make, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    make().ask(HELLO)
    make(api_key_env="OPENAI_API_KEY").ask(HELLO)
    assert [h.get("Authorization") for h in server.headers] == [None, f"Bearer {KEY}"]
    server.say = lambda h: h.send(401, {"error": {"message": f"no {h.headers['Authorization']}"}})
    with pytest.raises(UserError, match=r"does not accept a request without a key \(name the .*\): no None"):
        make().ask(HELLO)
    with pytest.raises(UserError, match=r"does not accept the key in OPENAI_API_KEY: no Bearer \*\*\*$"):
        make(api_key_env="OPENAI_API_KEY").ask(HELLO)
    with pytest.raises(UserError, match=r"has a user and password, and OPENAI_API_KEY has a key"):
        make(base_url="http://ann:secret@127.0.0.1/v1", api_key_env="OPENAI_API_KEY")


def test_secrets_of_the_url_are_sent_and_never_shown(server, make: Make) -> None:
    url = server.url.replace("//", "//ann:s3cret@") + "?api-key=hidden99"
    server.say = lambda h: h.send(404, {"error": f"{h.headers['Authorization']} ann s3cret {h.path}"})
    with pytest.raises(UserError) as caught:
        make(base_url=url).ask(HELLO)
    assert server.paths == ["/v1/chat/completions?api-key=hidden99"]
    assert server.headers[0]["Authorization"].startswith("Basic ")
    basic = server.headers[0]["Authorization"].split()[1]
    assert not any(secret in str(caught.value) for secret in ("s3cret", "hidden99", "ann", basic))
    assert "127.0.0.1" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://", "http://u:p#w@host/v1", "http://h:99999/", "http://[1/v1", "localhost:1/v1", "http://***@h/v1"]
)
def test_a_url_that_is_none_is_told_without_quoting_it(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        EndpointConfig(base_url=url, model="m")
    assert "u:p" not in str(caught.value)


def test_a_request_ends_after_the_deadline_whatever_drips_in(server, make: Make) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"
    drips = {
        "body": lambda h: h.raw(head, *[b" "] * 100, pause=0.05),
        "headers": lambda h: h.raw(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 100, pause=0.05),
        "nothing": lambda h: h.raw(b"", b"", pause=5),
    }
    client = make(deadline_seconds=0.4, timeout_seconds=10)
    for name, say in drips.items():
        server.say = say
        start = time.monotonic()
        with pytest.raises(TryAgain, match=r"no complete answer within 0\.4 seconds") as caught:
            client.ask(HELLO)
        assert caught.value.lost, name
        assert 0.3 < time.monotonic() - start < 3, name


def test_a_body_beyond_the_cap_is_not_read_on(server, make: Make) -> None:
    sent = [0]

    def huge(h: Any) -> None:
        h.send_response(200)
        h.send_header("Content-Length", str(1 << 30))
        h.end_headers()
        for _ in range(1 << 10):
            h.wfile.write(b" " * (1 << 20))
            sent[0] += 1

    server.say = huge
    with pytest.raises(TryAgain, match="longer than 8 MiB") as caught:
        make().ask(HELLO)
    assert caught.value.lost and sent[0] < 64


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_stays_packed(server, make: Make, layers: int) -> None:
    bomb = gzip.compress(b" " * (200 << 20), 9)
    packing = "gzip"
    if layers == 2:
        bomb, packing = gzip.compress(bomb, 9), "gzip, gzip"
    server.say = lambda h: h.send(200, bomb, {"Content-Encoding": packing})
    tracemalloc.start()
    try:
        with pytest.raises(TryAgain, match="longer than 8 MiB" if layers == 1 else "compressed as 'gzip, gzip'"):
            make().ask(HELLO)
        assert tracemalloc.get_traced_memory()[1] < 3 * transport.BODY_LIMIT
    finally:
        tracemalloc.stop()


def test_a_packed_answer_that_nobody_asked_for_is_unpacked(server, make: Make) -> None:
    good = json.dumps({"choices": [{"message": {"content": "hi"}}]}).encode()
    server.say = lambda h: h.send(200, gzip.compress(good), {"Content-Encoding": "gzip"})
    assert make().ask(HELLO).text == "hi"
    assert server.headers[0]["Accept-Encoding"] == "identity"
    server.say = lambda h: h.send(200, gzip.compress(good)[:-9], {"Content-Encoding": "gzip"})
    with pytest.raises(TryAgain, match="the compressed answer is incomplete"):
        make().ask(HELLO)
    server.say = lambda h: h.send(200, b"\x00" + gzip.compress(good), {"Content-Encoding": "gzip"})
    with pytest.raises(TryAgain, match="the connection broke: error"):
        make().ask(HELLO)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"error": {"message": "Provider returned error", "code": 502}}, "status 502: Provider returned error"),
        ({"error": {"message": "slow down", "code": "429"}}, "status 429: slow down"),
        ({"error": "boom"}, "an error instead of an answer: boom"),
        ({"choices": [{"error": {"message": "behind", "code": 503}, "message": {"content": ""}}]}, "503: behind"),
        ({"choices": None}, r'the answer is damaged, no choice in it: {"choices": null}'),
        ({"choices": []}, "no choice in it"),
        ({"choices": ["x"]}, "no choice in it"),
        ({"choices": [{"text": "x"}]}, "no message in it"),
        (b'{"choices": [{"message": {"content": "go', r'the answer is damaged, no JSON: {"choices": \[{"message'),
        (b"", "the answer is damaged, no JSON"),
        (b"{" * 100_000, "the answer is damaged, no JSON"),
        (b'{"usage": 1' + b"0" * 5000 + b"}", "the answer is damaged, no JSON"),
    ],
)
def test_a_200_without_an_answer_is_tried_again_and_quoted(server, make: Make, content: Any, reason: str) -> None:
    server.say = lambda h: h.send(200, content)
    with pytest.raises(TryAgain, match=reason):
        make().ask(HELLO)


def test_errors_with_status_200_mean_what_their_code_means(server, make: Make) -> None:
    client = make()
    for code, kind in ((400, Refused), (401, UserError), (402, UserError), (429, TryAgain), (99, TryAgain)):
        server.say = lambda h, code=code: h.send(200, {"error": {"message": "no", "code": code}})
        with pytest.raises(kind):
            client.ask(HELLO)


def test_a_web_page_is_a_wrong_address_only_before_the_first_answer(server, make: Make) -> None:
    client = make()
    server.say = lambda h: h.send(200, b"<html>\n<b>hello</b>")
    with pytest.raises(UserError, match=r"check base_url \(it often ends in /v1\): <html> <b>hello</b>$"):
        client.ask(HELLO)
    server.say = lambda h: h.answer()
    client.ask(HELLO)
    server.say = lambda h: h.send(200, b"<html>maintenance</html>")
    with pytest.raises(TryAgain, match="maintenance"):
        client.ask(HELLO)


def test_what_an_endpoint_says_is_one_line_of_plain_text(server, make: Make) -> None:
    server.say = lambda h: h.send(400, {"error": {"message": "\x1b[31mRED\x07\r\ntaosr-she: fake\u2028line \ud800"}})
    with pytest.raises(Refused) as caught:
        make().ask(HELLO)
    assert str(caught.value) == "status 400: [31mRED taosr-she: fake line"
    server.say = lambda h: h.send(400, b"x" * (1 << 20))
    with pytest.raises(Refused, match=r"status 400: x{200}$"):
        make().ask(HELLO)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        (42, ""),
        ([{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}, 3], "ab"),
        ("\ud800", "?"),
    ],
)
def test_content_that_is_no_text(server, make: Make, content: Any, text: str) -> None:
    server.say = lambda h: h.answer(content)
    assert make().ask(HELLO).text == text


@pytest.mark.parametrize("count", [-1, "x", True, 10**400, None, 1.5])
def test_counts_of_tokens_that_are_none_are_left_out(server, make: Make, count: Any) -> None:
    server.say = lambda h: h.answer(usage={"prompt_tokens": count, "completion_tokens": 3})
    answer = make().ask(HELLO)
    assert (answer.tokens_in, answer.tokens_out) == (None, 3)


NO_MAX_TOKENS = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)
NO_TEMPERATURE = (
    "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) is supported."
)


def test_a_reasoning_model_gets_what_it_wants(server, make: Make) -> None:
    def say(h: Any) -> None:
        wrong = NO_MAX_TOKENS if "max_tokens" in h.body else NO_TEMPERATURE if "temperature" in h.body else ""
        h.send(400, {"error": {"message": wrong}}) if wrong else h.answer()

    server.say = say
    client = make(max_tokens=7)
    assert client.ask(HELLO).text == client.ask(HELLO).text == "good"
    assert [set(body) - {"model", "messages"} for body in server.requests] == [
        {"max_tokens", "temperature"}, {"max_completion_tokens", "temperature"},
        {"max_completion_tokens"}, {"max_completion_tokens"},
    ]  # fmt: skip
    assert server.requests[-1]["max_completion_tokens"] == 7
    assert len(client.adapted) == 2 and "max_completion_tokens" in client.adapted[0]


def test_the_name_of_the_limit_can_be_set(server, make: Make) -> None:
    make(max_tokens_name="max_completion_tokens", temperature=None).ask(HELLO)
    assert set(server.requests[0]) == {"model", "messages", "max_completion_tokens"}
    server.say = lambda h: h.send(400, {"error": {"message": NO_MAX_TOKENS}})
    with pytest.raises(Refused, match="max_completion_tokens"):
        make(max_tokens_name="max_tokens").ask(HELLO)


def test_environment_that_stops_the_http_client_is_told(make: Make, monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://ann:secret@x")
    with pytest.raises(UserError, match=r"the HTTP client cannot start.*HTTPS_PROXY") as caught:
        make()
    assert "secret" not in str(caught.value)
