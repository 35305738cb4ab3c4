"""The recording proxy between real clients and an upstream on loopback: what passes, what is kept, what is not."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import html
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, quote_plus

import httpx
import openai
import pytest

import tickertape
from tickertape.testing import FakeRelay, Tape, TapeError, _shelf
from tickertape.testing import recorder as recorder_module
from tickertape.testing._facts import Interaction
from tickertape.testing._proxy import ProxyError, RecordingProxy
from tickertape.testing._wire import Data, End, Head, Reply, Request, body_of, end_of, head_of, streamed, whole
from tickertape.testing.redaction import Redactor
from tickertape.testing.server import RelayServer

from .test_redaction import unbase64, unescaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# -- secrets, made here: no scanner shall take this file for a leak -------------------------

KEY = "sk-" + "a1B2" * 12
OTHER = "sk-" + "proj-" + "c3D4" * 12
HEX = "0f1e" * 8
GOOGLE = "AI" + "za" + "S5yB" * 8 + "abc"
AWS = "AK" + "IA" + "Q3EG" * 4
GITHUB = "gh" + "p_" + "x9Y8" * 9
JWT = "ey" + "J" + "hbGciOi1" * 3 + "." + "eyJz1dWI" * 3 + "." + "s1gn" * 6
SIGNATURE = "Zz0+/" * 8 + "="
MAIL = "erika.mustermann" + "@" + "mail.provider-seven.de"
PICTURE = base64.b64encode(bytes(range(256)) * 4).decode()
FILE = "https://files.example/out/cat.png"


class Plant(NamedTuple):
    """A secret, and where it stands in what is asked and answered."""

    secret: str
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    query: dict[str, str] = {}  # noqa: RUF012
    body: dict[str, Any] = {}  # noqa: RUF012
    content: str = ""
    size: int = 3
    """Characters of a delta."""
    answered: tuple[tuple[str, str], ...] = ()
    extra: dict[str, Any] = {}  # noqa: RUF012
    """Beside the choices of each frame."""
    cut: int = 0
    """Bytes of a chunk; 0 is a frame a chunk."""


def asked_image(url: str) -> dict[str, Any]:
    image = {"type": "image_url", "image_url": {"url": url}}
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "a cat"}, image]}]}


def linked(query: str) -> str:
    return f"![image]({FILE}?w=2&{query})\n"


def deep(secret: str, levels: int = 12) -> dict[str, Any]:
    value: Any = {"api_key": secret}
    for _ in range(levels):
        value = {"inside": [value]}
    return {"settings": value}


def failed(text: str) -> str:
    return f"> 生成失败 ❌\n> 失败原因：{text}\n"


PLANTED: dict[str, Plant] = {
    "the key of the client": Plant(KEY),
    "a key header of Azure": Plant(HEX, headers={"api-key": HEX}),
    "a key header of Google": Plant(GOOGLE, headers={"x-goog-api-key": GOOGLE}),
    "a cookie of the client": Plant("c0ffee77", headers={"cookie": "theme=dark; session=c0ffee77"}),
    "a password in Basic": Plant(
        "hunter2-hunter2", headers={"x-authorization": "Basic " + base64.b64encode(b"me:hunter2-hunter2").decode()}
    ),
    "an organization header": Plant("org-" + "Q7r8" * 6, headers={"openai-organization": "org-" + "Q7r8" * 6}),
    "the address of a user": Plant("203.0.113.77", headers={"x-forwarded-for": "203.0.113.77"}),
    "a key in the query": Plant(HEX, query={"api_key": HEX}),
    "a token of Google's in the query": Plant(GOOGLE, query={"key": GOOGLE}),
    "a user in the body": Plant("customer-48121", body={"user": "customer-48121"}),
    "a key deep in the body": Plant(OTHER, body=deep(OTHER)),
    "a key in the prompt": Plant(OTHER, body={"messages": [{"role": "user", "content": f"draw {OTHER}, please"}]}),
    "a mail address in the prompt": Plant(MAIL, body={"messages": [{"role": "user", "content": f"ask {MAIL}"}]}),
    "a picture in the prompt": Plant(PICTURE, body=asked_image(f"data:image/png;base64,{PICTURE}")),
    "a signed link in the prompt": Plant(
        SIGNATURE, body=asked_image(f"{FILE}?se=2026-01-20&sig={quote(SIGNATURE, safe='')}")
    ),
    "a cookie of the relay": Plant("deadbeef99", answered=(("set-cookie", "sid=deadbeef99; Path=/; HttpOnly"),)),
    "two cookies of the relay": Plant(
        "deadbeef99", answered=(("set-cookie", "a=00ff00ff; Path=/"), ("set-cookie", "b=deadbeef99"))
    ),
    "an account in a header of the relay": Plant("org-" + "T5u6" * 6, answered=(("x-note", "org-" + "T5u6" * 6),)),
    "a key split over deltas": Plant(OTHER, content=failed(f"Incorrect API key provided: {OTHER}."), size=2),
    "a key split over chunks of one byte": Plant(OTHER, content=failed(f"bad key {OTHER}"), cut=1),
    "a key split over chunks of 37 bytes": Plant(OTHER, content=failed(f"bad key {OTHER}"), cut=37),
    "the signature of Azure in a link": Plant(SIGNATURE, content=linked("sig=" + quote(SIGNATURE, safe=""))),
    "the signature of Azure with plus signs": Plant(SIGNATURE, content=linked("sig=" + quote_plus(SIGNATURE))),
    "the signature of AWS in a link": Plant("9a8b" * 16, content=linked("X-Amz-Signature=" + "9a8b" * 16)),
    "a key id of AWS in a link": Plant(
        f"{AWS}/20260120/us-east-1", content=linked(f"X-Amz-Credential={AWS}%2F20260120%2Fus-east-1")
    ),
    "the signature of Aliyun in a link": Plant(
        "Ab1+" * 6 + "A=", content=linked("Expires=1&OSSAccessKeyId=x1&Signature=" + quote("Ab1+" * 6 + "A=", safe=""))
    ),
    "the signature of Tencent in a link": Plant("7c6d" * 10, content=linked("q-signature=" + "7c6d" * 10)),
    "a key in base64": Plant(OTHER, content=failed(base64.b64encode(f'{{"key": "{OTHER}"}}'.encode()).decode())),
    "a key in HTML": Plant(
        HEX + "<&>" + HEX, content=failed("api_key=&quot;" + html.escape(OTHER) + "&quot;"), size=5
    )._replace(secret=OTHER),
    "a token of GitHub's": Plant(GITHUB, content=failed(f"git clone https://x:{GITHUB}@github.com/a/b")),
    "a JWT": Plant(JWT, content=failed(f"token {JWT} has expired"), size=7),
    "an account in an error text": Plant("zhangsan_2024", content=failed("用户 [zhangsan_2024] 额度不足"), size=1),
    "an account beside the choices": Plant(
        "org-" + "V3w4" * 6, extra={"usage_note": "billed to org-" + "V3w4" * 6 + " today"}
    ),
    "a user's number beside the choices": Plant("7718845512", extra={"user_id": 7718845512}),
    "a key escaped as JSON": Plant(OTHER, extra={"debug": json.dumps({"api_key": OTHER})}),
}

HEAD_LINES = "> ID：`task_01kfcat`\n> 排队中..\n> 生成中..\n> 进度 14..48..100\n"


def frames(plant: Plant) -> list[bytes]:
    content = HEAD_LINES + (plant.content or linked("w=3"))
    pieces = [content[at : at + plant.size] for at in range(0, len(content), plant.size)]
    values = [{"id": "chatcmpl-1", **plant.extra, "choices": [{"index": 0, "delta": {"content": p}}]} for p in pieces]
    values.append({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    data = [b"data: " + json.dumps(value, ensure_ascii=plant.cut == 1).encode() + b"\n\n" for value in values]
    return [*data, b"data: [DONE]\n\n"]


def answer(plant: Plant) -> Reply:
    chunks = frames(plant)
    if plant.cut:
        joined = b"".join(chunks)
        chunks = [joined[at : at + plant.cut] for at in range(0, len(joined), plant.cut)]
    return streamed(200, [Data(0.0, chunk) for chunk in chunks], headers=plant.answered)


def one(reply: Reply, name: str = "planted") -> Tape:
    return Tape(name, interactions=(Interaction(None, reply),))


# -- the stage --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def started() -> Iterator[RelayServer]:
    server = RelayServer(strict=False, rewrite_links=False, validate=False)
    server.start()
    yield server
    server.close()


@pytest.fixture
def upstream(started: RelayServer) -> RelayServer:
    started.reset()
    return started


@pytest.fixture
def recorder(upstream: RelayServer, tmp_path: Path) -> Iterator[RecordingProxy]:
    with RecordingProxy(upstream.base_url, tmp_path / "tapes") as proxy:
        yield proxy


def kept(proxy: RecordingProxy, number: int = 0) -> Tape:
    """A tape, when it is written: the recorder's threads may be a moment behind the client."""
    for _ in range(2000):
        proxy.flush()
        if len(proxy.tapes) > number or proxy.errors:
            break
        time.sleep(0.005)
    assert proxy.errors == []
    return Tape.load(proxy.tapes[number])


def stream(base_url: str, plant: Plant) -> list[Any]:
    body = {"messages": [{"role": "user", "content": "a cat"}], "model": "gpt-image-1.5", **plant.body}
    extra = {key: value for key, value in body.items() if key not in ("messages", "model")}
    with (
        openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client,
        client.chat.completions.create(
            model=body["model"],
            messages=body["messages"],
            stream=True,
            extra_headers=plant.headers,
            extra_query=plant.query,
            extra_body=extra,
        ) as chunks,
    ):
        return list(chunks)


def told(chunks: list[Any], secret: str) -> list[Any]:
    """The events of a stream, in which neither the secret nor what stands for it is to be seen."""
    written = [secret, quote(secret, safe=""), quote_plus(secret)]
    known = "|".join(re.escape(each) for each in sorted(set(written), key=len, reverse=True))
    hidden = re.compile(
        rf"{known}|REDACTED-[a-z]+-\d+|user-\d+@redacted\.invalid|(?<=[a-z]=)x1\b|[A-Za-z0-9+/]{{40,}}=*"
    )
    found = []
    for event in tickertape.iter_events(chunks):
        fields = {f.name: getattr(event, f.name) for f in dataclasses.fields(event) if f.name not in ("start", "end")}
        found.append((type(event).__name__, hidden.sub("•", str(fields))))
    return found


# -- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_secret_is_not_on_the_tape_which_replays_as_it_was(
    name: str, upstream: RelayServer, recorder: RecordingProxy
) -> None:
    plant = PLANTED[name]
    upstream.play(one(answer(plant)))
    live = stream(recorder.base_url, plant)
    tape = kept(recorder)
    raw = recorder.tapes[0].read_bytes().decode()
    (interaction,) = tape.interactions
    joined = "".join(
        delta["content"]
        for line in body_of(interaction.reply).decode().splitlines()
        if line.startswith("data: {") and "content" in (delta := json.loads(line[6:])["choices"][0]["delta"])
    )
    said = "\n".join([raw, joined, json.dumps(interaction.request.json if interaction.request else None)])
    everything = "\n".join([said, unescaped(said), unescaped(said.replace("+", " ")), unbase64(said)])
    for secret in {plant.secret, KEY}:
        assert secret not in everything
        assert quote(secret, safe="") not in everything
    # What was planted did arrive, on both ways: nothing is proved of a secret that never passed.
    call = upstream.calls.last
    passed = f"{call.request.url}{dict(call.request.headers)}{call.request.body.decode()}"
    passed += f"{head_of(call.reply or ())}{body_of(call.reply or ()).decode()}{[c.model_dump() for c in live]}"
    passed += "".join(choice.delta.content or "" for chunk in live for choice in chunk.choices)
    assert plant.secret in "\n".join([passed, unescaped(passed), unbase64(passed)])
    assert Redactor().scan(tape) == []
    # Chunk for chunk, and event for event.
    sizes = [step for step in interaction.reply if isinstance(step, Data)]
    assert len(sizes) == len([step for step in answer(plant) if isinstance(step, Data)])
    with FakeRelay(validate=False) as relay:
        relay.play(tape)
        replayed = stream("https://relay.example/v1", plant)
    assert len(replayed) == len(live)
    assert told(replayed, plant.secret) == told(live, plant.secret)
    assert told(live, plant.secret)


def test_enough_is_planted() -> None:
    assert len(PLANTED) >= 30


def test_the_same_secret_has_the_same_placeholder_on_all_tapes(upstream: RelayServer, recorder: RecordingProxy) -> None:
    for plant in (PLANTED["a key in the prompt"], PLANTED["a JWT"], PLANTED["a key split over deltas"]):
        upstream.play(one(answer(plant)))
        stream(recorder.base_url, plant)
    asked = kept(recorder, 0).interactions[0].request
    assert asked is not None
    (placeholder,) = re.findall(r"REDACTED-key-\d+", asked.body.decode())
    assert f"Incorrect API key provided: {placeholder}." in kept(recorder, 2).task.text


# -- what passes ----------------------------------------------------------------------------------


class Upstream:
    """A relay of one answer, in steps that the test lets happen: bytes, or how the connection ends."""

    def __init__(self, *, head: bytes = b"") -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self._head = head or b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.asked = b""
        self._peer: socket.socket | None = None

    def accept(self) -> None:
        """Read the request, to its end."""
        self._peer, _ = self._socket.accept()
        self._peer.settimeout(20)
        while b"\r\n\r\n" not in self.asked:
            self.asked += self._peer.recv(65536)
        length = re.search(rb"content-length: (\d+)", self.asked.lower())
        head, _, _ = self.asked.partition(b"\r\n\r\n")
        while length and len(self.asked) < len(head) + 4 + int(length[1]):
            self.asked += self._peer.recv(65536)

    def send(self, data: bytes) -> None:
        assert self._peer is not None
        self._peer.sendall(data)

    def answer(self) -> None:
        self.send(self._head)

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def close(self) -> None:
        assert self._peer is not None
        self._peer.close()

    def end(self) -> None:
        for each in (self._peer, self._socket):
            if each is not None:
                each.close()

    def reset(self) -> None:
        assert self._peer is not None
        linger = bytes([1, 0, 0, 0, 0, 0, 0, 0])
        self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._peer.close()


@contextmanager
def beside(upstream: Upstream, work: Callable[[], None]) -> Iterator[None]:
    """The upstream does its work on a thread; all is closed at the end."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(20)
        upstream.end()
        assert not thread.is_alive()


CHAT = {"model": "m", "messages": [{"role": "user", "content": "a cat"}], "stream": True}
FRAME = b'data: {"choices":[{"index":0,"delta":{"content":"> \xe7\x94\x9f\xe6\x88\x90\xe4\xb8\xad"}}]}\n\n'


def post(proxy: RecordingProxy, **options: Any) -> Any:
    return httpx.stream("POST", f"{proxy.base_url}/chat/completions", json=CHAT, timeout=20, **options)


def test_the_first_byte_is_out_before_the_upstream_has_sent_the_second(tmp_path: Path) -> None:
    upstream, read = Upstream(), threading.Event()

    def work() -> None:
        upstream.accept()
        upstream.answer()
        upstream.chunk(FRAME)
        # The upstream goes on only when the client has the first chunk: held back, it never would.
        assert read.wait(20)
        upstream.chunk(b"data: [DONE]\n\n")
        upstream.chunk(b"")

    with RecordingProxy(upstream.base_url, tmp_path) as proxy, beside(upstream, work):
        with post(proxy) as response:
            chunks = response.iter_raw()
            assert next(chunks) == FRAME
            read.set()
            assert b"".join(chunks) == b"data: [DONE]\n\n"
        assert [step.data for step in kept(proxy).interactions[0].reply if isinstance(step, Data)] == [
            FRAME,
            b"data: [DONE]\n\n",
        ]


@pytest.mark.parametrize(
    ("how", "error"),
    [("closed", httpx.RemoteProtocolError), ("reset", (httpx.ReadError, httpx.RemoteProtocolError))],
)
@pytest.mark.parametrize("begun", [True, False], ids=["after a chunk", "before the head"])
def test_a_broken_answer_breaks_for_the_client_and_on_the_tape(
    how: str, error: Any, begun: bool, tmp_path: Path
) -> None:
    upstream, read = Upstream(), threading.Event()

    def work() -> None:
        upstream.accept()
        if begun:
            upstream.answer()
            upstream.chunk(FRAME)
            assert read.wait(20)
        upstream.close() if how == "closed" else upstream.reset()

    with RecordingProxy(upstream.base_url, tmp_path) as proxy, beside(upstream, work):
        with pytest.raises(error), post(proxy) as response:  # noqa: PT012 - all of it may raise
            for _ in response.iter_raw():
                read.set()
        read.set()
        reply = kept(proxy).interactions[0].reply
        assert end_of(reply).how == how
        assert body_of(reply) == (FRAME if begun else b"")


def test_a_body_that_is_shorter_than_its_length_was_closed(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
    upstream = Upstream(head=head)

    def work() -> None:
        upstream.accept()
        upstream.answer()
        upstream.send(b'{"choices": [')
        upstream.close()

    with RecordingProxy(upstream.base_url, tmp_path) as proxy, beside(upstream, work):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(f"{proxy.base_url}/chat/completions", json=CHAT)
        reply = kept(proxy).interactions[0].reply
    assert end_of(reply).how == "closed"
    assert body_of(reply) == b'{"choices": ['


def test_a_client_that_gives_up_is_recorded_as_silence(tmp_path: Path) -> None:
    upstream, left = Upstream(), threading.Event()

    def work() -> None:
        upstream.accept()
        upstream.answer()
        upstream.chunk(FRAME)
        assert left.wait(20)
        upstream.close()

    with RecordingProxy(upstream.base_url, tmp_path) as proxy, beside(upstream, work):
        with post(proxy) as response:
            next(response.iter_raw())
        (interaction,) = kept(proxy).interactions
        left.set()
    assert end_of(interaction.reply).how == "timeout"
    assert ["left" in json.loads(note) for _, note in interaction.notes] == [True, False]


def test_an_upstream_that_is_not_there_is_told_and_recorded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with RecordingProxy(f"http://127.0.0.1:{port}/v1", tmp_path) as proxy:
        response = httpx.post(f"{proxy.base_url}/chat/completions", json=CHAT)
        assert response.status_code == 502
        assert "--upstream" in response.json()["error"]["message"]
        assert kept(proxy).interactions[0].reply[-1] == End(end_of(kept(proxy).interactions[0].reply).t, "refused")


def test_headers_of_one_connection_stay_there_and_no_compression_is_asked_for(tmp_path: Path) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\n"
        b"keep-alive: timeout=5\r\nx-stays: yes\r\ncontent-length: 2\r\n\r\n"
    )
    upstream = Upstream(head=head)

    def work() -> None:
        upstream.accept()
        upstream.answer()
        upstream.send(b"{}")

    headers = {"connection": "x-mine", "x-mine": "1", "x-goes": "on", "accept-encoding": "br, gzip"}
    with RecordingProxy(upstream.base_url, tmp_path) as proxy, beside(upstream, work):
        response = httpx.post(f"{proxy.base_url}/images/edits?a=%2Fb", json=CHAT, headers=headers)
        tape = kept(proxy)
    asked = upstream.asked.lower()
    assert asked.startswith(b"post /v1/images/edits?a=%2fb http/1.1")
    assert b"accept-encoding: identity" in asked
    assert b"br" not in asked.partition(b"\r\n\r\n")[0].replace(b"127.0.0.1", b"")
    assert b"x-goes: on" in asked
    assert b"x-mine" not in asked
    assert response.headers["x-stays"] == "yes"
    assert response.headers["content-length"] == "2"
    assert not {"x-hop", "keep-alive"} & set(response.headers)
    (interaction,) = tape.interactions
    told_head = head_of(interaction.reply)
    assert told_head is not None
    assert dict(told_head.headers) == {"content-type": "application/json", "x-stays": "yes", "content-length": "2"}
    assert interaction.request is not None
    assert not {"host", "connection", "content-length", "accept-encoding"} & set(interaction.request.headers)


def compressed(coding: bytes, data: bytes) -> tuple[Upstream, Callable[[], None]]:
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: %b\r\ntransfer-encoding: chunked\r\n"
    )
    upstream = Upstream(head=head % coding + b"\r\n")

    def work() -> None:
        upstream.accept()
        upstream.answer()
        for at in range(0, len(data), 20):
            upstream.chunk(data[at : at + 20])
        upstream.chunk(b"")

    return upstream, work


def test_what_is_compressed_all_the_same_is_recorded_as_text(tmp_path: Path) -> None:
    body = FRAME + b"data: [DONE]\n\n"
    upstream, work = compressed(b"gzip", gzip.compress(body))
    with RecordingProxy(upstream.base_url, tmp_path) as proxy, beside(upstream, work):
        with post(proxy) as response:
            assert b"".join(response.iter_raw()) == body
            assert "content-encoding" not in response.headers
        assert body_of(kept(proxy).interactions[0].reply) == body
        assert Redactor().scan(kept(proxy)) == []


def test_a_coding_that_cannot_be_decoded_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    upstream, work = compressed(b"br", b"")
    with RecordingProxy(upstream.base_url, tmp_path) as proxy, beside(upstream, work):
        response = httpx.post(f"{proxy.base_url}/chat/completions", json=CHAT)
        proxy.flush()
        assert response.status_code == 502
        assert "'br'" in response.json()["error"]["message"]
        assert proxy.tapes == []
        assert len(proxy.errors) == 1


# -- tapes --------------------------------------------------------------------------------------


def test_polls_go_on_the_tape_of_what_they_ask_for_and_orders_begin_tapes(
    upstream: RelayServer, recorder: RecordingProxy
) -> None:
    jobs = [("task_first0001", "> ID：`task_first0001`\n> 排队中\n"), ("task_other0002", "> ID：`task_other0002`\n")]
    for task, content in jobs:
        poll = Request("GET", f"http://relay.invalid/v1/videos/{task}")
        reply = whole(200, {"choices": [{"message": {"content": content}}]})
        tape = Tape(task, interactions=(Interaction(None, reply), Interaction(poll, whole(200, {"id": task}))))
        upstream.play(tape)
    with httpx.Client(base_url=recorder.base_url) as client:
        for _ in jobs:
            client.post("/chat/completions", json={**CHAT, "model": "sora-2", "stream": False})
        for task, _ in jobs:
            client.get(f"/videos/{task}")
    recorder.close()  # waits for what has ended
    paths = [[each.request.path for each in kept(recorder, number).interactions if each.request] for number in range(2)]
    assert paths == [["/v1/chat/completions", f"/v1/videos/{task}"] for task, _ in jobs]
    assert [path.name for path in recorder.tapes] == ["sora-2-001.jsonl", "sora-2-002.jsonl"]


def test_two_recorders_of_one_folder_never_write_one_file(upstream: RelayServer, tmp_path: Path) -> None:
    (tmp_path / "m-001.jsonl").write_text("what was there")
    with RecordingProxy(upstream.base_url, tmp_path) as one_, RecordingProxy(upstream.base_url, tmp_path) as other:
        for proxy in (one_, other, one_):
            upstream.play(one(answer(Plant(KEY))))
            with post(proxy) as response:
                response.read()
        for proxy in (one_, other):
            proxy.close()
        assert not set(one_.tapes) & set(other.tapes)
        assert len({*one_.tapes, *other.tapes}) == 3
    assert (tmp_path / "m-001.jsonl").read_text() == "what was there"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_media_are_kept_once_beside_the_tape(upstream: RelayServer, recorder: RecordingProxy) -> None:
    from tickertape.testing._media import media

    picture, _ = media("image", number=5)
    get = Request("GET", "http://relay.invalid/v1/files/picture-0001")
    reply = (Head(0.0, 200, (("content-type", "image/png"),)), Data(0.0, picture[:99]), Data(0.0, picture[99:]), End(0))
    chat = Interaction(None, whole(200, {"choices": [{"message": {"content": "/v1/files/picture-0001"}}]}))
    for _ in range(2):
        upstream.play(Tape("t", interactions=(chat, Interaction(get, reply))))
    with httpx.Client(base_url=recorder.base_url) as client:
        for _ in range(2):
            client.post("/chat/completions", json={**CHAT, "stream": False})
            assert client.get("/files/picture-0001").content == picture
    recorder.close()  # waits for what has ended
    (medium,) = (recorder.tapes[0].parent / "media").iterdir()
    assert medium.read_bytes() == picture
    assert medium.name in recorder.tapes[0].read_text()
    for number in range(2):
        assert body_of(kept(recorder, number).interactions[1].reply) == picture


@pytest.mark.parametrize(
    "url", ["me.example/v1", "ftp://me.example", "https://u:p@me.example", "http://me.example/?k=v"]
)
def test_what_cannot_be_an_upstream_is_refused_without_showing_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match="expected a base URL") as caught:
        RecordingProxy(url, tmp_path)
    assert "me.example" not in str(caught.value)


def test_a_folder_that_cannot_be_written_to_is_told_before_it_listens(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TapeError, match="cannot be written"):
        RecordingProxy("http://127.0.0.1:1/v1", tmp_path / "file" / "tapes").start()


def test_a_page_of_another_host_is_refused(recorder: RecordingProxy, upstream: RelayServer) -> None:
    response = httpx.post(f"{recorder.base_url}/chat/completions", json=CHAT, headers={"host": "evil.example"})
    assert response.status_code == 403
    assert len(upstream.calls) == 0


def test_in_the_foreground_it_prints_its_base_url_and_ends_cleanly_on_ctrl_c(
    upstream: RelayServer, tmp_path: Path
) -> None:
    upstream.play(one(answer(PLANTED["a key split over deltas"])))
    program = f"from tickertape.testing._proxy import record; record({upstream.base_url!r}, {str(tmp_path)!r})"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", base_url)
        stream(base_url, PLANTED["a key split over deltas"])
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == ""
    assert error.startswith("gpt-image-1.5-001.jsonl: POST /v1/chat/completions, 200, ")
    assert error.count("\n") == 1
    assert os.listdir(tmp_path) == ["gpt-image-1.5-001.jsonl"]
    assert Redactor().scan(Tape.load(tmp_path / "gpt-image-1.5-001.jsonl")) == []


def test_an_id_that_was_taken_out_leads_to_no_tape(upstream: RelayServer, recorder: RecordingProxy) -> None:
    # The second order's answer holds a placeholder; so does the request, of another user.
    for content in ("a cat", "no quota for user_id=4711"):
        upstream.play(one(whole(200, {"choices": [{"message": {"content": content}}], "user_id": 4711})))
    with httpx.Client(base_url=recorder.base_url) as client:
        for model in ("sora-2", "veo3"):
            client.post("/chat/completions", json={**CHAT, "model": model, "stream": False})
        client.get("/cdn/unrelated.png?user_id=4712")
    recorder.close()
    assert [path.name for path in recorder.tapes] == ["sora-2-001.jsonl", "veo3-001.jsonl", "unrelated.png-001.jsonl"]


def test_what_ends_while_a_tape_is_written_is_written_at_once_with_the_rest(
    upstream: RelayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = Request("GET", "http://relay.invalid/v1/videos/task_first0001")
    order = whole(200, {"choices": [{"message": {"content": "> ID：`task_first0001`\n> 排队中\n"}}]})
    upstream.play(Tape("job", interactions=(Interaction(None, order), Interaction(poll, whole(200, {"id": "t"})))))
    writing, go_on, saved = threading.Event(), threading.Event(), []
    save = recorder_module.save

    def slow(tape: Tape, path: Path) -> None:
        saved.append(len(tape.interactions))
        writing.set()
        go_on.wait(20)
        save(tape, path)

    monkeypatch.setattr(_shelf, "save", slow)
    with RecordingProxy(upstream.base_url, tmp_path) as proxy, httpx.Client(base_url=proxy.base_url) as client:
        client.post("/chat/completions", json={**CHAT, "model": "sora-2", "stream": False})
        assert writing.wait(20)
        for _ in range(30):
            client.get("/videos/task_first0001")
        go_on.set()
    assert len(Tape.load(proxy.tapes[0]).interactions) == 31
    assert saved[0] == 1
    assert saved[-1] == 31
    assert len(saved) <= 3  # the last one may have ended after the others were written
