"""Real clients over loopback: what they hand over is read as it is, sync and async, while it arrives."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import openai
import pytest
import requests

from tickertape import (
    Envelope,
    ResponseError,
    ResponseReader,
    Result,
    Task,
    TaskError,
    aiter_events,
    iter_events,
    parse,
    parse_response,
)
from tickertape import events as ev

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tickertape.events import Event

pytestmark = pytest.mark.timeout(10)

CONTENT = """```json
{"prompt": "a cat 🐈", "n": 1}
```

> ID: `task_01k7`
> 排队中..
> 生成中.

>🏃 进度 36..81..

> 生成完成 ✅

![cat](https://relay.example/cdn/cat.png)
[点击下载](https://relay.example/cdn/download/cat.png)
"""
BEFORE, AFTER = CONTENT[: CONTENT.index(">🏃")], CONTENT[CONTENT.index(">🏃") :]
CONTENT_TASK = parse(CONTENT)
SATURATED = TaskError("overloaded", "gateway_error", "当前分组上游负载已饱和")
REQUEST: dict[str, Any] = {"model": "relay-video", "messages": [{"role": "user", "content": "a cat"}]}


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "r7", "object": "chat.completion.chunk", "created": 1, "model": "relay-video", "choices": [choice]}


def sse(*frames: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(frame, ensure_ascii=False).encode() + b"\n\n" for frame in frames)


def deltas(content: str) -> list[dict[str, Any]]:
    return [chunk({"content": content[at : at + 5]}) for at in range(0, len(content), 5)]


COMPLETION = {
    "id": "r7",
    "object": "chat.completion",
    "created": 1,
    "model": "relay-video",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": CONTENT}, "finish_reason": "stop"}],
}
STREAM = sse(*deltas(CONTENT), chunk({}, "stop")) + b"data: [DONE]\n\n"
ERROR = {"error": {"message": "当前分组上游负载已饱和 (request id: 7)", "type": "gateway_error", "code": ""}}
ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "stream": (200, "text/event-stream", STREAM),
    "json": (200, "application/json", json.dumps(COMPLETION).encode()),
    "limited": (429, "application/json", json.dumps(ERROR).encode()),
    "page": (502, "text/html", b"<html><body><h1>502 Bad Gateway</h1></body></html>"),
    "plain": (503, "text/plain", b"no healthy upstream"),
    "broken": (200, "text/event-stream", sse(chunk({"content": "> 生成中..\n"}), ERROR)),
    "thinking": (
        200,
        "text/event-stream",
        sse(
            chunk({"content": None, "reasoning_content": "生成进度: 42%\n"}),
            chunk({"content": "", "images": [{"image_url": {"url": "https://relay.example/cat.png"}}]}, "STOP"),
        ),
    ),
}
JOB = {"id": "video_7", "object": "video", "model": "sora-2", "status": "in_progress", "progress": 33, "created_at": 1}
PICTURES = {"created": 1, "data": [{"url": "https://relay.example/cat.png"}]}


class Relay(ThreadingHTTPServer):
    """A relay on 127.0.0.1 that answers by the first part of the path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = threading.Event()
        """Set by a test once it has the events of the first half of `gated`."""
        self.in_time: bool | None = None
        """Whether that was before the second half was sent."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client may hang up on what it has refused
            super().handle_error(request, client_address)

    def chat(self, name: str) -> str:
        return f"{self.url}/{name}/chat/completions"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 5
    server: Relay

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        name = self.path.split("/")[1]
        if name == "images":
            self.whole(200, "application/json", json.dumps(PICTURES).encode())
        elif name == "gated":
            self.streamed(self.gated())
        else:
            status, kind, body = ANSWERS[name]
            if kind == "text/event-stream":
                self.streamed(body[at : at + 37] for at in range(0, len(body), 37))
            else:
                self.whole(status, kind, body)

    def do_GET(self) -> None:
        self.whole(200, "application/json", json.dumps(JOB).encode())

    def gated(self) -> Iterator[bytes]:
        yield sse(*deltas(BEFORE))
        self.server.in_time = self.server.seen.wait(3)
        yield sse(*deltas(AFTER), chunk({}, "stop")) + b"data: [DONE]\n\n"

    def whole(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def streamed(self, pieces: Iterable[bytes]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    with Relay() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


def watch(events: Iterable[Event], relay: Relay) -> list[Event]:
    """All events; tells the relay when the one is there that ends the first half."""
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, ev.Stage) and event.stage == "generating":
            relay.seen.set()
    return seen


async def awatch(stream: Any, relay: Relay) -> list[Event]:
    seen: list[Event] = []
    async for event in aiter_events(stream):
        seen += watch([event], relay)
    return seen


def run(events: Any) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(events, 8)

    return asyncio.run(bounded())


# -- every client, every way -----------------------------------------------------------


def by_httpx(
    module: Any, read: Callable[[Any], Any] = lambda response: response
) -> Callable[[Relay, str], list[Event]]:
    def events(relay: Relay, name: str) -> list[Event]:
        with module.Client(timeout=5) as client, client.stream("POST", relay.chat(name), json=REQUEST) as response:
            return watch(iter_events(read(response)), relay)

    return events


def by_async_httpx(
    module: Any, read: Callable[[Any], Any] = lambda response: response
) -> Callable[[Relay, str], list[Event]]:
    async def events(relay: Relay, name: str) -> list[Event]:
        async with (
            module.AsyncClient(timeout=5) as client,
            client.stream("POST", relay.chat(name), json=REQUEST) as response,
        ):
            return await awatch(read(response), relay)

    return lambda relay, name: run(events(relay, name))


def by_requests(read: Callable[[Any], Any] = lambda response: response) -> Callable[[Relay, str], list[Event]]:
    def events(relay: Relay, name: str) -> list[Event]:
        with requests.post(relay.chat(name), json=REQUEST, stream=True, timeout=5) as response:
            return watch(iter_events(read(response)), relay)

    return events


def by_aiohttp(read: Callable[[Any], Any] = lambda response: response) -> Callable[[Relay, str], list[Event]]:
    async def events(relay: Relay, name: str) -> list[Event]:
        aiohttp = pytest.importorskip("aiohttp")
        async with aiohttp.ClientSession() as session, session.post(relay.chat(name), json=REQUEST) as response:
            return await awatch(read(response), relay)

    return lambda relay, name: run(events(relay, name))


def sync_openai(relay: Relay, name: str) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", base_url=f"{relay.url}/{name}", max_retries=0, timeout=5)


def async_openai(relay: Relay, name: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="none", base_url=f"{relay.url}/{name}", max_retries=0, timeout=5)


def by_openai(relay: Relay, name: str) -> list[Event]:
    with sync_openai(relay, name) as client, client.chat.completions.create(stream=True, **REQUEST) as stream:
        return watch(iter_events(stream), relay)


def by_openai_helper(relay: Relay, name: str) -> list[Event]:
    with sync_openai(relay, name) as client, client.chat.completions.stream(**REQUEST) as stream:
        return watch(iter_events(stream), relay)


def by_openai_raw(relay: Relay, name: str) -> list[Event]:
    with (
        sync_openai(relay, name) as client,
        client.chat.completions.with_streaming_response.create(stream=True, **REQUEST) as response,
    ):
        return watch(iter_events(response), relay)


def by_async_openai(relay: Relay, name: str) -> list[Event]:
    async def events() -> list[Event]:
        async with async_openai(relay, name) as client:
            stream = await client.chat.completions.create(stream=True, **REQUEST)
            async with stream:
                return await awatch(stream, relay)

    return run(events())  # type: ignore[no-any-return]


RESPONSES: dict[str, Callable[[Relay, str], list[Event]]] = {
    "httpx": by_httpx(httpx),
    "httpx async": by_async_httpx(httpx),
    "httpx2": by_httpx(httpx2),
    "httpx2 async": by_async_httpx(httpx2),
    "requests": by_requests(),
    "aiohttp": by_aiohttp(),
}
"""Clients that hand over the response itself."""
OPENAI: dict[str, Callable[[Relay, str], list[Event]]] = {
    "openai": by_openai,
    "openai async": by_async_openai,
    "openai stream helper": by_openai_helper,
    "openai streaming response": by_openai_raw,
}
PARTS: dict[str, Callable[[Relay, str], list[Event]]] = {
    "httpx iter_bytes": by_httpx(httpx, lambda response: response.iter_bytes(11)),
    "httpx iter_lines": by_httpx(httpx, lambda response: response.iter_lines()),
    "httpx iter_text": by_httpx(httpx, lambda response: response.iter_text()),
    "httpx aiter_lines": by_async_httpx(httpx, lambda response: response.aiter_lines()),
    "httpx2 iter_raw": by_httpx(httpx2, lambda response: response.iter_raw()),
    "httpx2 iter_lines": by_httpx(httpx2, lambda response: response.iter_lines()),
    "httpx2 aiter_text": by_async_httpx(httpx2, lambda response: response.aiter_text()),
    "requests iter_content": by_requests(lambda response: response.iter_content(7)),
    "requests iter_lines": by_requests(lambda response: response.iter_lines()),
    "aiohttp content": by_aiohttp(lambda response: response.content),
    "aiohttp iter_chunked": by_aiohttp(lambda response: response.content.iter_chunked(9)),
}
LIVE = RESPONSES | OPENAI
ALL = LIVE | PARTS


@pytest.mark.parametrize("client", ALL.values(), ids=ALL)
def test_a_stream_gives_the_events_of_its_content(client: Callable[[Relay, str], list[Event]], relay: Relay) -> None:
    assert tuple(client(relay, "stream")) == CONTENT_TASK.events


@pytest.mark.parametrize("client", LIVE.values(), ids=LIVE)
def test_events_come_while_the_relay_is_still_at_work(
    client: Callable[[Relay, str], list[Event]], relay: Relay
) -> None:
    assert tuple(client(relay, "gated")) == CONTENT_TASK.events
    assert relay.in_time is True


@pytest.mark.parametrize("client", RESPONSES.values(), ids=RESPONSES)
def test_a_stream_that_is_answered_with_json_is_read(client: Callable[[Relay, str], list[Event]], relay: Relay) -> None:
    assert tuple(client(relay, "json")) == CONTENT_TASK.events


@pytest.mark.parametrize("client", RESPONSES.values(), ids=RESPONSES)
@pytest.mark.parametrize(
    ("name", "message"),
    [("limited", SATURATED.message), ("page", "502 Bad Gateway"), ("plain", "no healthy upstream")],
)
def test_an_http_error_is_a_failed_event(
    client: Callable[[Relay, str], list[Event]], relay: Relay, name: str, message: str
) -> None:
    assert client(relay, name) == [ev.Failed(0, 0, "", message)]


@pytest.mark.parametrize("client", RESPONSES.values(), ids=RESPONSES)
def test_an_error_frame_is_a_failed_event_after_the_text(
    client: Callable[[Relay, str], list[Event]], relay: Relay
) -> None:
    events = [event for event in client(relay, "broken") if isinstance(event, ev.Stage | ev.Failed)]
    at = len("> 生成中..\n")
    assert [type(event) for event in events] == [ev.Stage, ev.Failed]
    assert events[1] == ev.Failed(at, at, "", SATURATED.message)


# -- whole responses ------------------------------------------------------------------------


@pytest.mark.parametrize("module", [httpx, httpx2, requests], ids=lambda module: module.__name__)
@pytest.mark.parametrize("name", ["stream", "json"])
def test_a_response_that_was_read_is_a_task(module: ModuleType, name: str, relay: Relay) -> None:
    response = module.post(relay.chat(name), json=REQUEST, timeout=5)
    task = parse_response(response)
    assert (task.as_dict(), task.text) == (
        CONTENT_TASK.as_dict() | {"envelope": task.as_dict()["envelope"]},
        CONTENT,
    )
    assert task.envelope == Envelope("stop")
    assert tuple(iter_events(response)) == CONTENT_TASK.events


@pytest.mark.parametrize("module", [httpx, httpx2, requests], ids=lambda module: module.__name__)
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("limited", SATURATED),
        ("page", TaskError("upstream", None, "502 Bad Gateway")),
        ("plain", TaskError("upstream", None, "no healthy upstream")),
    ],
)
def test_the_status_of_a_response_counts(module: ModuleType, name: str, error: TaskError, relay: Relay) -> None:
    task = parse_response(module.post(relay.chat(name), json=REQUEST, timeout=5))
    assert (task.status, task.error) == ("failed", error)


# -- openai's objects ------------------------------------------------------------------------


def test_a_completion_of_the_sdk_is_a_task(relay: Relay) -> None:
    with sync_openai(relay, "json") as client:
        completion = client.chat.completions.create(**REQUEST)
        raw = client.chat.completions.with_raw_response.create(**REQUEST)
    for body in (completion, raw):
        task = parse_response(body)
        assert (task.results, task.text, task.envelope) == (CONTENT_TASK.results, CONTENT, Envelope("stop"))
        assert tuple(iter_events([completion])) == CONTENT_TASK.events


def test_a_completion_of_the_asynchronous_sdk_is_a_task(relay: Relay) -> None:
    async def complete() -> Any:
        async with async_openai(relay, "json") as client:
            return await client.chat.completions.create(**REQUEST)

    task = parse_response(run(complete()))
    assert (task.results, task.text, task.envelope) == (CONTENT_TASK.results, CONTENT, Envelope("stop"))


def test_chunks_of_the_sdk_keep_what_relays_add_to_them(relay: Relay) -> None:
    reader = ResponseReader()
    with sync_openai(relay, "thinking") as client, client.chat.completions.create(stream=True, **REQUEST) as stream:
        for piece in stream:
            reader.feed(piece)
    reader.close()
    assert (reader.task.progress, reader.task.results) == ((42,), (Result("image", "https://relay.example/cat.png"),))
    assert reader.task.envelope == Envelope("STOP", reasoning="生成进度: 42%\n")


def test_an_error_of_the_sdk_tells_by_its_response_or_its_body(relay: Relay) -> None:
    with sync_openai(relay, "limited") as client, pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(**REQUEST)
    error = caught.value
    assert parse_response(error.response).error == SATURATED
    assert parse_response(error.body, error.status_code).error == SATURATED


def test_a_video_job_of_the_sdk_is_a_task(relay: Relay) -> None:
    with sync_openai(relay, "job") as client, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # OpenAI takes its own back; relays go on
        job = client.videos.retrieve("video_7")
    assert parse_response(job) == Task("in_progress", "video_7", progress=(33,))


def test_an_images_response_of_the_sdk_is_a_task(relay: Relay) -> None:
    with sync_openai(relay, "images") as client:
        pictures = client.images.generate(prompt="a cat")
    assert parse_response(pictures).results == (Result("image", "https://relay.example/cat.png"),)


# -- misuse ------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [httpx, httpx2], ids=lambda module: module.__name__)
def test_a_response_of_the_wrong_colour_is_refused(module: Any, relay: Relay) -> None:
    async def asynchronous() -> None:
        async with (
            module.AsyncClient(timeout=5) as client,
            client.stream("POST", relay.chat("stream"), json=REQUEST) as response,
        ):
            with pytest.raises(ResponseError, match="in aiter_events"):
                list(iter_events(response))

    async def synchronous(response: Any) -> None:
        with pytest.raises(ResponseError, match="in iter_events"):
            await anext(aiter_events(response))

    run(asynchronous())
    with module.Client(timeout=5) as client, client.stream("POST", relay.chat("stream"), json=REQUEST) as response:
        run(synchronous(response))


def test_a_stream_of_the_sdk_of_the_wrong_colour_is_refused(relay: Relay) -> None:
    async def asynchronous() -> None:
        async with async_openai(relay, "stream") as client:
            stream = await client.chat.completions.create(stream=True, **REQUEST)
            async with stream:
                with pytest.raises(ResponseError, match=r"AsyncStream is asynchronous.* in aiter_events"):
                    list(iter_events(stream))

    async def synchronous(stream: Any) -> None:
        with pytest.raises(ResponseError, match=r"got Stream.* iter_events\(stream\)"):
            await anext(aiter_events(stream))

    run(asynchronous())
    with sync_openai(relay, "stream") as client, client.chat.completions.create(stream=True, **REQUEST) as stream:
        run(synchronous(stream))
        with pytest.raises(ResponseError, match="got Stream"):
            parse_response(stream)


def test_a_response_of_aiohttp_is_refused_by_the_synchronous_twin(relay: Relay) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def asynchronous() -> None:
        async with aiohttp.ClientSession() as session, session.post(relay.chat("stream"), json=REQUEST) as response:
            with pytest.raises(ResponseError, match="ClientResponse"):
                list(iter_events(response))
            with pytest.raises(ResponseError, match="got ClientResponse"):
                parse_response(response)

    run(asynchronous())
