"""Record modes: a test's tape under none, once, new_episodes and rewrite, with every family of client."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import textwrap
import threading
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import httpx2
import openai
import pytest

from tickertape.testing import FakeRelay, Tape, TapeError, UncoveredTransport, UnmatchedRequest, UnplayedError, _guard
from tickertape.testing._episodes import MODES, Episodes, RecordError, name_of
from tickertape.testing._facts import Interaction
from tickertape.testing._files import Lock, TapeBusy
from tickertape.testing._onward import Compressed, response_headers
from tickertape.testing._wire import Data, Request, body_of, end_of, whole
from tickertape.testing.redaction import Redactor
from tickertape.testing.server import RelayServer

from .test_record_proxy import CHAT, FRAME, KEY, PLANTED, Upstream, answer, beside, one, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = PLANTED["a key split over deltas"]


@pytest.fixture(scope="module")
def started() -> Iterator[RelayServer]:
    server = RelayServer(strict=False, rewrite_links=False, validate=False)
    server.start()
    # It stands for a relay elsewhere: what a relay of this process serves is let through, and never recorded.
    _guard.served.clear()
    yield server
    server.close()


@pytest.fixture
def upstream(started: RelayServer) -> RelayServer:
    started.reset()
    return started


def said(text: str) -> Tape:
    return one(whole(200, {"choices": [{"message": {"role": "assistant", "content": text}}]}))


def ask(base_url: str, prompt: str = "a cat", **more: Any) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], **more}
    response = httpx.post(f"{base_url}/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"})
    return str(response.json()["choices"][0]["message"]["content"])


def contents(path: Path) -> list[str]:
    return [
        json.loads(body_of(each.reply))["choices"][0]["message"]["content"] for each in Tape.load(path).interactions
    ]


# -- the modes ------------------------------------------------------------------------------


def test_once_records_where_there_is_no_tape_and_replays_where_there_is(upstream: RelayServer, tmp_path: Path) -> None:
    upstream.play(said("first"))
    for _ in range(2):
        with FakeRelay(tapes=tmp_path, tape="shop/cat", record="once"):
            assert ask(upstream.base_url) == "first"
    assert len(upstream.calls) == 1
    with FakeRelay(tapes=tmp_path, tape="shop/cat", record="none"):
        assert ask("https://elsewhere.example/v1") == "first"
    assert contents(tmp_path / "shop" / "cat.jsonl") == ["first"]


def test_none_asks_nobody_and_says_how_to_record(upstream: RelayServer, tmp_path: Path) -> None:
    upstream.play(said("first"))
    with pytest.raises(UnmatchedRequest, match="--tickertape-record=once"):  # noqa: SIM117 - leaving raises too
        with FakeRelay(tapes=tmp_path, tape="cat", record="none"):
            ask(upstream.base_url)
    assert len(upstream.calls) == 0
    assert list(tmp_path.iterdir()) == []


def test_new_episodes_adds_behind_what_there_is(upstream: RelayServer, tmp_path: Path) -> None:
    upstream.play([said("first"), said("second")])
    with FakeRelay(tapes=tmp_path, tape="cat", record="once"):
        ask(upstream.base_url, "one")
    with FakeRelay(tapes=tmp_path, tape="cat", record="new_episodes"):
        assert ask(upstream.base_url, "two") == "second"
        assert ask(upstream.base_url, "one") == "first"
    assert [call.prompt for call in upstream.calls] == ["one", "two"]
    assert contents(tmp_path / "cat.jsonl") == ["first", "second"]


def test_rewrite_truly_replaces(upstream: RelayServer, tmp_path: Path) -> None:
    upstream.play([said("first"), said("second"), said("third")])
    with FakeRelay(tapes=tmp_path, tape="cat", record="once"):
        ask(upstream.base_url, "one")
        ask(upstream.base_url, "two")
    with FakeRelay(tapes=tmp_path, tape="cat", record="rewrite"):
        assert ask(upstream.base_url, "one") == "third"
    assert contents(tmp_path / "cat.jsonl") == ["third"]


def test_a_rewrite_that_asked_nothing_is_told_and_leaves_the_tape(upstream: RelayServer, tmp_path: Path) -> None:
    upstream.play(said("first"))
    with FakeRelay(tapes=tmp_path, tape="cat", record="once"):
        ask(upstream.base_url)
    with (
        pytest.raises(UnplayedError, match="nothing was asked"),
        FakeRelay(tapes=tmp_path, tape="cat", record="rewrite"),
    ):
        pass
    assert contents(tmp_path / "cat.jsonl") == ["first"]


@pytest.mark.parametrize("mode", ["once", "new_episodes", "rewrite"])
def test_nothing_is_written_when_the_test_fails(mode: Any, upstream: RelayServer, tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text(said("old").dumps())
    upstream.play(said("new"), times=2)
    for name in ("new", "old"):
        relay = FakeRelay(tapes=tmp_path, tape=name, record=mode, strict=False)
        with pytest.raises(ZeroDivisionError), relay:  # noqa: PT012 - the test that is recorded
            if name == "new" or mode != "once":
                ask(upstream.base_url)
            raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["old.jsonl"]
    assert contents(tmp_path / "old.jsonl") == ["old"]


def test_what_of_a_tape_nobody_asked_for_is_told(upstream: RelayServer, tmp_path: Path) -> None:
    upstream.play(said("first"), times=2)
    with FakeRelay(tapes=tmp_path, tape="cat", record="once"):
        ask(upstream.base_url, "one")
        ask(upstream.base_url, "two")
    with pytest.raises(UnplayedError, match="played in part"), FakeRelay(tapes=tmp_path, tape="cat", record="none"):
        ask("https://elsewhere.example/v1", "one")


def test_a_failure_that_is_played_comes_before_the_tape(upstream: RelayServer, tmp_path: Path) -> None:
    upstream.play(said("first"))
    for mode in ("once", "none"):
        with FakeRelay(tapes=tmp_path, tape="cat", record=mode) as relay:
            relay.fail(status=429)
            with openai.OpenAI(base_url=upstream.base_url, api_key=KEY, max_retries=0) as client:
                with pytest.raises(openai.RateLimitError):
                    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "a cat"}])
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": "a cat"}])
    assert contents(tmp_path / "cat.jsonl") == ["first"]


# -- clients -----------------------------------------------------------------------------------


def sync_of(family: Any) -> Callable[[str], bytes]:
    def run(url: str) -> bytes:
        with family.Client() as client, client.stream("POST", url, json=CHAT) as response:
            return b"|".join(response.iter_raw())

    return run


def async_of(family: Any) -> Callable[[str], bytes]:
    async def run(url: str) -> bytes:
        async with family.AsyncClient() as client, client.stream("POST", url, json=CHAT) as response:
            return b"|".join([chunk async for chunk in response.aiter_raw()])

    return lambda url: asyncio.run(run(url))


def trio_of(family: Any) -> Callable[[str], bytes]:
    async def run(url: str) -> bytes:
        async with family.AsyncClient() as client, client.stream("POST", url, json=CHAT) as response:
            return b"|".join([chunk async for chunk in response.aiter_raw()])

    def start(url: str) -> bytes:
        import trio

        return trio.run(run, url)

    return start


CLIENTS = {
    f"{family.__name__}, {name}": make(family)
    for family in (httpx, httpx2)
    for name, make in (("sync", sync_of), ("asyncio", async_of), ("trio", trio_of))
}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_records_chunk_by_chunk(client: str, upstream: RelayServer, tmp_path: Path) -> None:
    upstream.play(one(answer(SECRET)))
    with FakeRelay(tapes=tmp_path, tape="cat", record="once", validate=False) as relay:
        live = CLIENTS[client](f"{upstream.base_url}/chat/completions")
        assert relay.calls.last.received == len(live.replace(b"}\n\n|", b"}\n\n"))
        assert relay.calls.last.ended == "eof"
    (interaction,) = Tape.load(tmp_path / "cat.jsonl").interactions
    sent = [step.data for step in answer(SECRET) if isinstance(step, Data)]
    assert live == b"|".join(sent)
    assert len([step for step in interaction.reply if isinstance(step, Data)]) == len(sent)
    with FakeRelay(tapes=tmp_path, tape="cat", record="none", validate=False):
        replayed = CLIENTS[client]("https://elsewhere.example/v1/chat/completions")
    assert replayed.count(b"|") == live.count(b"|")
    assert SECRET.secret.encode() not in replayed


def test_the_openai_sdk_records_without_secrets_and_replays(upstream: RelayServer, tmp_path: Path) -> None:
    plant = PLANTED["a key in the prompt"]
    upstream.play(one(answer(plant)))
    with FakeRelay(tapes=tmp_path, tape="cat", record="once", validate=False):
        live = stream(upstream.base_url, plant)
    text = (tmp_path / "cat.jsonl").read_text()
    assert plant.secret not in text
    assert KEY not in text
    assert Redactor().scan(Tape.load(tmp_path / "cat.jsonl")) == []
    with FakeRelay(tapes=tmp_path, tape="cat", record="none", validate=False):
        replayed = stream("https://elsewhere.example/v1", plant)
    assert [chunk.choices for chunk in replayed] == [chunk.choices for chunk in live]
    # The prompt is compared redacted with redacted, and so another key is the same prompt; other words are not.
    with FakeRelay(tapes=tmp_path, tape="cat", record="none", validate=False) as relay:
        with pytest.raises(UnmatchedRequest, match=r"messages\[0\].content: expected"):
            stream("https://elsewhere.example/v1", plant._replace(body={}))
        relay.reset()  # it was meant
        other = plant.body["messages"][0]["content"].replace(plant.secret, "sk-" + "f7G8" * 12)
        stream("https://elsewhere.example/v1", plant._replace(body={"messages": [{"role": "user", "content": other}]}))


def test_the_client_reads_the_first_chunk_before_the_upstream_sends_the_second(tmp_path: Path) -> None:
    upstream, read = Upstream(), threading.Event()

    def work() -> None:
        upstream.accept()
        upstream.answer()
        upstream.chunk(FRAME)
        assert read.wait(20)
        upstream.chunk(b"data: [DONE]\n\n")
        upstream.chunk(b"")

    with beside(upstream, work), FakeRelay(tapes=tmp_path, tape="cat", record="once", validate=False):  # noqa: SIM117
        with httpx.stream("POST", f"{upstream.base_url}/chat/completions", json=CHAT) as response:
            chunks = response.iter_raw()
            assert next(chunks) == FRAME
            read.set()
            assert list(chunks) == [b"data: [DONE]\n\n"]


@pytest.mark.parametrize("how", ["closed", "reset", "timeout", "left", "done"])
def test_how_a_stream_ended_is_on_the_tape(how: str, tmp_path: Path) -> None:
    upstream, read = Upstream(), threading.Event()

    def work() -> None:
        upstream.accept()
        upstream.answer()
        upstream.chunk(FRAME)
        if how == "done":
            upstream.chunk(b"data: [DONE]\n\n")
        assert read.wait(20)
        if how == "closed":
            upstream.close()
        elif how == "reset":
            upstream.reset()

    with beside(upstream, work):
        with FakeRelay(tapes=tmp_path, tape="cat", record="once", validate=False) as relay:
            with httpx.stream("POST", f"{upstream.base_url}/chat/completions", json=CHAT, timeout=0.5) as response:
                chunks = response.iter_raw()
                next(chunks)
                if how == "done":
                    next(chunks)
                if how == "timeout":
                    with pytest.raises(httpx.ReadTimeout):
                        next(chunks)
                read.set()
                if how in ("closed", "reset"):
                    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                        next(chunks)
            assert relay.calls.last.ended == {"done": "eof"}.get(how, how)
        read.set()
    (interaction,) = Tape.load(tmp_path / "cat.jsonl").interactions
    assert end_of(interaction.reply).how == {"left": "timeout", "done": "eof"}.get(how, how)
    told = [note for _, note in interaction.notes if "left" in json.loads(note)]
    assert len(told) == (1 if how == "left" else 0)
    assert len(interaction.notes) == len(told) + 1, "and a summary, for verify"


def test_a_connection_that_is_refused_is_recorded_and_replayed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1/chat/completions"
    for mode in ("once", "none"):
        with FakeRelay(tapes=tmp_path, tape="cat", record=mode, validate=False), pytest.raises(httpx.ConnectError):
            httpx.post(url, json=CHAT)
    assert end_of(Tape.load(tmp_path / "cat.jsonl").interactions[0].reply).how == "refused"


def test_headers_that_are_no_ascii_are_recorded_and_replayed_as_bytes(tmp_path: Path) -> None:
    body, disposition = b'{"choices": [{"message": {"content": "a"}}]}', 'attachment; filename="猫.png"'.encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
    upstream = Upstream(head=head + b"content-disposition: " + disposition + b"\r\n\r\n")

    def work() -> None:
        upstream.accept()
        upstream.answer()
        upstream.send(body)

    with beside(upstream, work):
        for mode in ("once", "none"):
            with FakeRelay(tapes=tmp_path, tape="cat", record=mode, validate=False):
                response = httpx.post(f"{upstream.base_url}/chat/completions", json=CHAT)
            assert dict(response.headers.raw)[b"content-disposition"] == disposition


ONE, OTHER = b'{"choices": ', b"[]}"
COMPRESSED = {
    "gzip": ("gzip", gzip.compress(ONE + OTHER)),
    "gzip of two members": ("gzip", gzip.compress(ONE) + gzip.compress(OTHER)),
    "gzip with padding": ("gzip", gzip.compress(ONE + OTHER) + bytes(9)),
    "deflate": ("deflate", zlib.compress(ONE + OTHER)),
    "deflate without its header": ("deflate", zlib.compress(ONE + OTHER, wbits=-15)),
}


@pytest.mark.parametrize("size", [1, 2, 5, 999])
@pytest.mark.parametrize(("coding", "data"), COMPRESSED.values(), ids=COMPRESSED)
def test_a_compressed_body_is_read_to_its_end(coding: str, data: bytes, size: int) -> None:
    headers, decode = response_headers([("content-encoding", coding), ("content-length", str(len(data)))])
    assert headers == ()
    assert b"".join(decode(data[at : at + size]) for at in range(0, len(data), size)) == ONE + OTHER


@pytest.mark.parametrize(
    "data", [b"\xff\xffnope", gzip.compress(ONE)[:-8] + b"12345678"], ids=["no header", "a wrong checksum"]
)
def test_a_body_that_cannot_be_decoded_is_refused(data: bytes) -> None:
    _, decode = response_headers([("content-encoding", "deflate")])
    with pytest.raises(Compressed, match="cannot be decoded"):
        decode(data)


# -- the guard -----------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
def test_only_the_forwarded_connection_gets_out(
    asynchronous: bool, upstream: RelayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(upstream.url.rpartition(":")[2])
    resolve, asked = socket.getaddrinfo, []

    def fake(host: Any, *args: Any, **kwargs: Any) -> Any:  # what DNS would say
        asked.append(host)
        return resolve("127.0.0.1" if host in ("real.example", b"real.example") else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    upstream.play(said("first"))
    url = f"http://real.example:{port}/v1/chat/completions"
    body = {**CHAT, "stream": False}

    async def aask() -> Any:
        async with httpx.AsyncClient() as client:
            return await client.post(url, json=body)

    with FakeRelay(tapes=tmp_path, tape="cat", record="once", validate=False) as relay:
        response = asyncio.run(aask()) if asynchronous else httpx.post(url, json=body)
        assert response.status_code == 200
        with pytest.raises(UncoveredTransport):
            socket.create_connection(("real.example", port))
        with pytest.raises(UncoveredTransport):
            socket.getaddrinfo("other.example", 443)
        relay._relay.missed.clear()  # they were meant
    assert "real.example" in [host if isinstance(host, str) else host.decode() for host in asked]
    assert "real.example" not in (tmp_path / "cat.jsonl").read_text()


def test_patches_are_gone_afterwards(upstream: RelayServer, tmp_path: Path) -> None:
    import httpcore
    import httpcore2

    before = [kind.__dict__["handle_request"] for kind in (httpcore.ConnectionPool, httpcore2.ConnectionPool)]
    upstream.play(said("first"))
    with FakeRelay(tapes=tmp_path, tape="cat", record="once"):
        ask(upstream.base_url)
    assert [kind.__dict__["handle_request"] for kind in (httpcore.ConnectionPool, httpcore2.ConnectionPool)] == before
    assert "handle_request" not in httpcore.HTTPProxy.__dict__


# -- matching -------------------------------------------------------------------------------------


def episodes(tmp_path: Path, *requests: Request) -> Episodes:
    answers = [Interaction(request, whole(200, {"id": str(number)})) for number, request in enumerate(requests)]
    tape = Redactor().redact(Tape("t", interactions=tuple(answers)))
    tape.save(tmp_path / "t.jsonl")
    return Episodes(tmp_path / "t.jsonl", "none")


def request(body: Any = None, path: str = "/v1/videos", method: str = "POST", **headers: str) -> Request:
    return Request(method, f"https://relay.example{path}", headers, b"" if body is None else json.dumps(body).encode())


def posted(content_type: str, body: bytes) -> Request:
    return Request("POST", "https://relay.example/v1/images/edits", {"content-type": content_type}, body)


def form(**fields: str) -> Request:
    return posted("application/x-www-form-urlencoded", urlencode(fields).encode())


def parts(boundary: str = "b1", *, data: bytes = b"\x89PNG", name: str = "cat.png", **fields: str) -> Request:
    made = httpx.Request(
        "POST",
        "https://relay.example/v1/images/edits",
        data=fields,
        files={"image": (name, data, "image/png")},
        headers={"content-type": f"multipart/form-data; boundary={boundary}"},
    )
    return posted(made.headers["content-type"], made.read())


def text(words: str) -> Request:
    return posted("text/plain", words.encode())


IMAGE = "data:image/png;base64," + "iVBORw0KGgo" * 9


@pytest.mark.parametrize(
    ("recorded", "asked"),
    [
        (request({"a": 1, "b": [2]}), request({"b": [2], "a": 1})),
        (request({"user": "customer-1001"}), request({"user": "customer-2002"})),
        (request({"n": "x"}, authorization=f"Bearer {KEY}"), request({"n": "x"}, authorization="Bearer other")),
        (request(path="/v1/f?sig=" + "Zz09" * 9, method="GET"), request(path="/v1/f?sig=" + "Yy18" * 9, method="GET")),
        (request({"user_id": 771884551}), request({"user_id": 12})),
        (request({"image": IMAGE}), request({"image": IMAGE})),
        (request({"text": f"ask {KEY} now"}), request({"text": "ask REDACTED-key-1 now"})),
        (
            request(path="/c.png?u=cat@pictures.dev", method="GET"),
            request(path="/c.png?u=user-1%40redacted.invalid", method="GET"),
        ),
        (
            request(path="/c.png?u=user-1%40redacted.invalid", method="GET"),
            request(path="/c.png?u=user-1@redacted.invalid", method="GET"),
        ),
        (request(path="/a%20b?q=%7E1&r=x+y", method="GET"), request(path="/a b?q=~1&r=x%20y", method="GET")),
        (form(prompt="a cat", user="u-1001"), form(user="u-2002", prompt="a cat")),
        (parts(prompt="a cat"), parts("another", prompt="a cat", name="tmp1x.png")),
        (parts(prompt=f"a cat {KEY}"), parts("b", prompt="a cat REDACTED-key-7")),
        (text(f"draw with {KEY}"), text("draw with REDACTED-key-1")),
    ],
    ids=[
        "order of keys",
        "user",
        "key",
        "signature",
        "number",
        "same image",
        "placeholder followed",
        "address in a query",
        "placeholder encoded",
        "percent-encoding",
        "form",
        "boundary and name of a file",
        "placeholder in multipart",
        "text",
    ],
)
def test_requests_that_are_alike_redacted_are_alike(recorded: Request, asked: Request, tmp_path: Path) -> None:
    assert episodes(tmp_path, recorded).replay(asked) is not None


@pytest.mark.parametrize(
    ("recorded", "asked", "told"),
    [
        (request({"a": 1}), request({"a": 2}), "json.a: expected 1, found 2"),
        (request({"a": 1}), request({"a": True}), "json.a: expected 1, found true"),
        (request({"a": 1}), request({"a": 1, "b": 1}), "json.b: expected no such key, found 1"),
        (request({"a": [1]}), request({"a": [1, 2]}), "json.a: expected [1], found [1, 2]"),
        (request({"a": "x"}), request({"a": "x"}, path="/v1/other"), "path: expected /v1/videos, found /v1/other"),
        (request(), request(method="DELETE"), "method: expected POST, found DELETE"),
        (request({"image": IMAGE}), request({"image": IMAGE + "AAAA"}), "json.image: expected"),
        (request({"t": f"ask {KEY} now"}), request({"t": "ask  now"}), "json.t: expected"),
        (request({"t": f"ask {KEY} now"}), request({"t": f"ask {KEY} then"}), "json.t: expected"),
        (
            request(path="/v1/f?a=1%262", method="GET"),
            request(path="/v1/f?a=1&2", method="GET"),
            "path: expected /v1/f?a=1%262, found /v1/f?a=1&2",
        ),
        (form(prompt="a cat"), form(prompt="a dog"), 'form.prompt: expected "a cat", found "a dog"'),
        (form(prompt="a"), form(prompt="a", n="2"), 'form.n: expected no such key, found "2"'),
        (parts(prompt="a cat"), parts(prompt="a dog"), 'multipart.prompt: expected "a cat", found "a dog"'),
        (parts(), parts(data=b"\x89PN"), 'multipart.image: expected "REDACTED-file-sha256-'),
        (text("a cat"), text("a dog"), 'text: expected "a cat", found "a dog"'),
        (text("a cat"), posted("text/plain", b""), 'text: expected "a cat", found null'),
        (request({"a": 1}), form(a="1"), "body: expected JSON, found a form"),
        (form(prompt="a cat"), parts(prompt="a cat"), "body: expected a form, found multipart"),
    ],
)
def test_requests_that_differ_are_told_where(recorded: Request, asked: Request, told: str, tmp_path: Path) -> None:
    on_tape = episodes(tmp_path, recorded)
    assert on_tape.replay(asked) is None
    assert told in on_tape.explain(asked)


def test_requests_that_are_alike_get_their_answers_in_order(tmp_path: Path) -> None:
    polls = [request(path="/v1/videos/1", method="GET")] * 3
    on_tape = episodes(tmp_path, *polls)
    got = [found and json.loads(body_of(found.reply))["id"] for found in map(on_tape.replay, [*polls, polls[0]])]
    assert got == ["0", "1", "2", None]


# -- one writer ------------------------------------------------------------------------------------


def test_a_tape_that_is_being_recorded_is_not_recorded_a_second_time(tmp_path: Path) -> None:
    first, second = Episodes(tmp_path / "t.jsonl", "once"), Episodes(tmp_path / "t.jsonl", "once")
    first.begin()
    with pytest.raises(TapeBusy, match="another test or process"):
        second.begin()
    first.end()
    second.begin()
    second.end()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    for path in (tmp_path / "out" / "t.jsonl", tmp_path / "out" / "deep" / "t.jsonl"):
        with pytest.raises(TapeError, match="is a file, choose another folder"):
            Lock(path).acquire()


def test_what_cannot_be_recorded_to_is_refused(tmp_path: Path) -> None:
    for options in ({}, {"tape": "../up"}, {"tape": tmp_path / "cat.json"}, {"tape": "cat", "record": "always"}):
        with pytest.raises((RecordError, TapeError)):
            FakeRelay(**{"tapes": tmp_path, "record": "once", **options})  # type: ignore[arg-type]


def test_every_test_has_a_name_of_its_own() -> None:
    ids = ["tests/test_a.py::test_x[1]", "tests/test_a.py::test_x[2]", "tests/b/test_a.py::test_x[1]", "t.py::测试[🐈]"]
    names = [name_of(each) for each in ids]
    assert len(set(names)) == 4
    assert names[0].startswith("test_a/test_x-1-")
    assert all(name.isascii() and name.count("/") == 1 for name in names)


# -- pytest -----------------------------------------------------------------------------------------

PRELUDE = """
import httpx, pytest
from tickertape.testing import Scenario

URL = {url!r}

def ask(prompt="a cat"):
    body = {{"model": "m", "messages": [{{"role": "user", "content": prompt}}]}}
    headers = {{"authorization": "Bearer sk-x"}}
    return httpx.post(URL + "/chat/completions", json=body, headers=headers, timeout=900).json()
"""


@pytest.fixture
def run(pytester: pytest.Pytester, upstream: RelayServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    for name in ("CI", "TICKERTAPE_RECORD", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    upstream.play(said("first"), times=None, optional=True)

    def run(source: str, *flags: str, apart: bool = False, **environment: str) -> Any:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        pytester.makepyfile(test_it=PRELUDE.format(url=upstream.base_url) + textwrap.dedent(source))
        start = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        result = start("-p", "no:asyncio", "--strict-markers", *flags)
        for name in environment:
            monkeypatch.delenv(name)
        return result

    return run


def tapes(pytester: pytest.Pytester) -> list[str]:
    folder = pytester.path / "tests" / "tapes"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


MARKED = """
    @pytest.mark.tickertape(tape="shop/cat", record={mode!r})
    def test_marked(fake_relay):
        assert ask()["choices"]
"""
NAMED = """
    @pytest.mark.tickertape(tape="shop/cat")
    def test_named(fake_relay):
        assert ask()["choices"]
"""


@pytest.mark.parametrize(
    ("flags", "environment", "marker", "ini", "written"),
    [
        ((), {}, None, "none", False),
        ((), {}, "once", "none", True),
        ((), {}, None, "once", True),
        ((), {"TICKERTAPE_RECORD": "once"}, None, "none", True),
        (("--tickertape-record=once",), {}, None, "none", True),
        (("--tickertape-record=none",), {"TICKERTAPE_RECORD": "once"}, "once", "once", False),
        (("--tickertape-record=once",), {"TICKERTAPE_RECORD": "none"}, "none", "none", True),
        ((), {"TICKERTAPE_RECORD": "none"}, "once", "once", False),
        ((), {}, "none", "once", False),
        ((), {"CI": "true"}, "once", "none", False),
        ((), {"CI": "true"}, "none", "once", False),
        ((), {"CI": "false"}, "once", "none", True),
        (("--tickertape-record=once",), {"CI": "true"}, None, "none", True),
        ((), {"CI": "1", "TICKERTAPE_RECORD": "once"}, "once", "none", True),
    ],
)
def test_option_environment_marker_and_ini_decide_in_this_order(
    flags: tuple[str, ...],
    environment: dict[str, str],
    marker: str | None,
    ini: str,
    written: bool,
    run: Callable[..., Any],
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini(f"[pytest]\ntickertape_record = {ini}\n")
    result = run(NAMED if marker is None else MARKED.format(mode=marker), *flags, **environment)
    assert tapes(pytester) == (["shop/cat.jsonl"] if written else [])
    assert ("passed" in result.parseoutcomes()) is written


def test_a_test_without_a_tape_has_one_named_after_itself(run: Callable[..., Any], pytester: pytest.Pytester) -> None:
    source = """
        @pytest.mark.tickertape(record="none")
        @pytest.mark.parametrize("prompt", ["one", "two"])
        def test_own(fake_relay, prompt):
            assert ask(prompt)["choices"]
    """
    run(source, "--tickertape-record=once").assert_outcomes(passed=2)
    names = tapes(pytester)
    assert [name.rpartition("-")[0] for name in names] == ["test_it/test_own-one", "test_it/test_own-two"]
    run(source).assert_outcomes(passed=2)


def test_tests_that_name_no_tape_ask_nobody_whatever_the_option(
    run: Callable[..., Any], upstream: RelayServer, pytester: pytest.Pytester
) -> None:
    source = """
        def test_scenario(fake_relay):
            fake_relay.play(Scenario.image("a cat"))
            ask()

        @pytest.mark.tickertape(tape="gpt-image-1.5/cat-drinking-milk")
        def test_gallery(fake_relay):
            ask()

        def test_unmatched(fake_relay):
            ask()
    """
    run(source, "--tickertape-record=rewrite").assert_outcomes(passed=2, failed=1)
    assert len(upstream.calls) == 0
    assert tapes(pytester) == []


@pytest.mark.parametrize("ending", ["assert False", "pytest.skip('no')", "fake_relay.play(Scenario.image('x'))"])
def test_a_tape_is_written_only_when_the_test_passed(
    ending: str, run: Callable[..., Any], pytester: pytest.Pytester
) -> None:
    run(MARKED.format(mode="once") + f"        {ending}\n")
    assert tapes(pytester) == []


def test_a_tape_that_cannot_be_written_is_told_and_the_test_has_passed(
    run: Callable[..., Any], pytester: pytest.Pytester
) -> None:
    (pytester.path / "tests").mkdir()
    (pytester.path / "tests" / "tapes").write_text("a file, no folder")
    result = run(MARKED.format(mode="once"))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*shop/cat.jsonl: cannot be written*"])


def test_a_full_disk_is_told_and_the_test_has_passed(run: Callable[..., Any], pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        import errno, os, pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_teardown(item):
            from tickertape.testing import _files
            def fill(draft, data):
                raise OSError(errno.ENOSPC, "No space left on device")
            _files._fill = fill
    """)
    result = run(MARKED.format(mode="once"), apart=True)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*No space left on device; make room on the disk*"])
    assert tapes(pytester) == []


def test_workers_of_xdist_write_tapes_of_their_own(run: Callable[..., Any], pytester: pytest.Pytester) -> None:
    source = """
        @pytest.mark.tickertape(record="once")
        @pytest.mark.parametrize("number", range(6))
        def test_own(fake_relay, number):
            assert ask(str(number))["choices"]
    """
    run(source, "-n", "2", apart=True).assert_outcomes(passed=6)
    assert len(tapes(pytester)) == 6
    asked = [Tape.load(pytester.path / "tests" / "tapes" / name).interactions[0].request for name in tapes(pytester)]
    assert sorted(each.json["messages"][0]["content"] for each in asked if each) == list("012345")


def test_a_tape_that_was_recorded_is_replayed_by_matching_whatever_the_mode(
    run: Callable[..., Any], upstream: RelayServer
) -> None:
    run(NAMED, "--tickertape-record=once").assert_outcomes(passed=1)
    other = NAMED.replace("ask()", "ask('a dog')")
    for flags in ((), ("--tickertape-record=none",), ("--tickertape-record=once",)):
        run(NAMED, *flags).assert_outcomes(passed=1)
        result = run(other, *flags)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            [
                "*UnmatchedRequest: POST */v1/chat/completions is not on the tape.",
                "*nearest on cat.jsonl: POST /v1/chat/completions",
                '*differs in json.messages*content: expected "a cat", found "a dog"',
                "*remedy: record what is new with --tickertape-record=new_episodes*",
            ]
        )
        for misleading in ("*fake_relay.play(*", "*nothing was played*"):
            result.stdout.no_fnmatch_line(misleading)
    assert len(upstream.calls) == 1


def test_a_tape_of_other_than_chat_requests_is_replayed_without_record_in_the_marker(
    run: Callable[..., Any], upstream: RelayServer
) -> None:
    source = """
        @pytest.mark.tickertape(tape="shop/edit", strict=False)
        def test_edit(fake_relay):
            files = {"image": ("cat.png", b"PNG", "image/png")}
            edited = httpx.post(URL + "/images/variations", data={"prompt": %r}, files=files)
            assert edited.status_code == 404
    """
    run(source % "a hat", "--tickertape-record=once").assert_outcomes(passed=1)
    asked = len(upstream.calls)
    run(source % "a hat").assert_outcomes(passed=1)
    result = run(source % "a bow")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*differs in multipart.prompt: expected "a hat", found "a bow"'])
    assert len(upstream.calls) == asked


@pytest.mark.parametrize("name", ["cat.md", "cat.jsonl"])
@pytest.mark.parametrize("flags", [(), ("--tickertape-record=none",), ("--tickertape-record=once",)])
def test_a_tape_that_was_written_by_hand_is_played_whatever_is_asked(
    name: str, flags: tuple[str, ...], run: Callable[..., Any], upstream: RelayServer, pytester: pytest.Pytester
) -> None:
    folder = pytester.path / "tests" / "tapes" / "shop"
    folder.mkdir(parents=True)
    (folder / name).write_text("![a](https://x.test/a.png)" if name == "cat.md" else said("by hand").dumps(), "utf-8")
    run(NAMED.replace("ask()", "ask('anything')"), *flags).assert_outcomes(passed=1)
    assert len(upstream.calls) == 0
    assert tapes(pytester) == [f"shop/{name}"]


def test_a_tape_that_is_not_there_is_told_with_how_to_record_it(run: Callable[..., Any]) -> None:
    for flags in ((), ("--tickertape-record=none",)):
        result = run(NAMED, *flags)
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*no tape 'shop/cat' in *record it with --tickertape-record=once"])


TWO = """
    @pytest.mark.tickertape(tape="shop/cat")
    @pytest.mark.parametrize("prompt", ["one", "two"])
    def test_two(fake_relay, prompt):
        assert ask(prompt)["choices"]
"""


@pytest.mark.parametrize("mode", ["rewrite", "new_episodes"])
def test_a_tape_is_not_recorded_by_two_tests_of_one_run(
    mode: str, run: Callable[..., Any], pytester: pytest.Pytester
) -> None:
    result = run(TWO, f"--tickertape-record={mode}")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*cat.jsonl: was recorded by test_it.py::test_two?one? in this run, "
            "and test_it.py::test_two?two? would record it too*give each test a tape of its own*"
        ]
    )
    (interaction,) = Tape.load(pytester.path / "tests" / "tapes" / "shop" / "cat.jsonl").interactions
    assert interaction.request is not None
    assert interaction.request.json["messages"][0]["content"] == "one"


def test_with_once_a_second_test_that_asks_something_else_is_told_who_recorded_the_tape(
    run: Callable[..., Any],
) -> None:
    result = run(TWO, "--tickertape-record=once")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*remedy: test_it.py::test_two?one? has recorded this tape just now; give each test*"])


def test_with_once_tests_that_ask_the_same_share_a_tape(run: Callable[..., Any], upstream: RelayServer) -> None:
    source = NAMED + NAMED.replace("test_named", "test_again")
    run(source, "--tickertape-record=once").assert_outcomes(passed=2)
    run(source).assert_outcomes(passed=2)
    assert len(upstream.calls) == 1


def test_what_vcrpy_calls_all_is_told_to_be_rewrite(run: Callable[..., Any], tmp_path: Path) -> None:
    result = run(NAMED, "--tickertape-record=all")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--tickertape-record=all: expected one of none, once, *vcrpy calls 'all' is rewrite"])
    run(MARKED.format(mode="all")).stdout.fnmatch_lines(["*vcrpy calls 'all' is rewrite*"])
    with pytest.raises(RecordError, match="'all' is rewrite"):
        Episodes(tmp_path / "t.jsonl", "all")  # type: ignore[arg-type]


def test_a_mode_that_there_is_not_is_refused(run: Callable[..., Any]) -> None:
    assert run(NAMED, "--tickertape-record=always").ret == pytest.ExitCode.USAGE_ERROR
    assert run(NAMED, TICKERTAPE_RECORD="always").ret == pytest.ExitCode.USAGE_ERROR
    run(MARKED.format(mode="always")).assert_outcomes(errors=1)


def test_the_plugin_knows_the_modes() -> None:
    from tickertape import plugin

    assert plugin.MODES == MODES


def test_a_tape_recorded_anew_is_compared_with_the_one_it_replaces(
    run: Callable[..., Any], upstream: RelayServer, pytester: pytest.Pytester
) -> None:
    def answers(text: str) -> None:
        upstream.reset()
        upstream.play(said(text), times=None, optional=True)

    answers("> 生成完成 ✅\n![a](https://x.test/a.png)\n")
    run(NAMED, "--tickertape-record=once").assert_outcomes(passed=1)
    answers("> 生成完成 ✅\n![b](https://x.test/b.png)\n")
    run(NAMED, "--tickertape-record=rewrite", "--tickertape-diff").assert_outcomes(passed=1)
    answers("> 生成失败: input_moderation\n")
    result = run(NAMED, "--tickertape-record=rewrite", "--tickertape-diff")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*drifted from its tape*", "breaking *"])
    (told,) = contents(pytester.path / "tests" / "tapes" / "shop" / "cat.jsonl")
    assert "input_moderation" in told, "it is written anew all the same"
