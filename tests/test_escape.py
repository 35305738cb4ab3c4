"""Nothing reaches the network while a FakeRelay is active, whatever goes wrong; afterwards all is as it was."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import json
import socket
import threading
import time
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import httpcore
import httpcore2
import httpx
import httpx2
import openai
import pytest
import requests
import respx
import trio
import urllib3

from tickertape.testing import (
    FakeRelay,
    Fault,
    Scenario,
    UncoveredTransport,
    UnmatchedRequest,
    UnplayedError,
    UnusablePlay,
)

from .conformance import BODY, CASES, JSON, KEY, tape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOWHERE = "192.0.2.1"
"""TEST-NET-1 (RFC 5737): no host has it."""
CHAT = "/v1/chat/completions"
HEADERS = {"authorization": f"Bearer {KEY}"}


class Origin:
    """A server on loopback that counts the requests that get out."""

    def __init__(self) -> None:
        origin = self
        self.hits: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                origin.hits.append(self.path)
                body = json.dumps({"id": "origin", "object": "chat.completion", "choices": []}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def origin() -> Iterator[Origin]:
    made = Origin()
    yield made
    made.close()


# -- clients: each keeps its connections from one request to the next ---------------------


@contextlib.contextmanager
def _openai(origin: Origin, http_client: Any = None) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{origin.url}/v1", api_key=KEY, http_client=http_client) as client:
        yield lambda path, body: client.post(path.removeprefix("/v1"), cast_to=object, body=body)


@contextlib.contextmanager
def _openai_async(origin: Origin, make: Callable[[], Any] = lambda: None) -> Iterator[Any]:
    with asyncio.Runner() as runner:

        async def build() -> openai.AsyncOpenAI:
            return openai.AsyncOpenAI(base_url=f"{origin.url}/v1", api_key=KEY, http_client=make())

        client = runner.run(build())

        async def send(path: str, body: dict[str, Any]) -> Any:
            return await client.post(path.removeprefix("/v1"), cast_to=object, body=body)

        yield lambda path, body: runner.run(send(path, body))
        runner.run(client.close())


@contextlib.contextmanager
def _http(origin: Origin, module: Any, url: str | None = None, **options: Any) -> Iterator[Any]:
    with module.Client(trust_env=False, timeout=60, **options) as client:
        yield lambda path, body: client.post((url or origin.url) + path, json=body, headers=HEADERS).raise_for_status()


@contextlib.contextmanager
def _http_async(origin: Origin, module: Any, url: str | None = None, **options: Any) -> Iterator[Any]:
    with asyncio.Runner() as runner:
        client = module.AsyncClient(trust_env=False, timeout=60, **options)

        async def send(path: str, body: dict[str, Any]) -> Any:
            answer = await client.post((url or origin.url) + path, json=body, headers=HEADERS)
            return answer.raise_for_status()

        yield lambda path, body: runner.run(send(path, body))
        runner.run(client.aclose())


@contextlib.contextmanager
def _aiohttp(origin: Origin) -> Iterator[Any]:
    with asyncio.Runner() as runner:

        async def build() -> aiohttp.ClientSession:
            return aiohttp.ClientSession()

        session = runner.run(build())

        async def send(path: str, body: dict[str, Any]) -> Any:
            async with session.post(origin.url + path, json=body, headers=HEADERS) as answer:
                return await answer.read()

        yield lambda path, body: runner.run(send(path, body))
        runner.run(session.close())


@contextlib.contextmanager
def _requests(origin: Origin) -> Iterator[Any]:
    with requests.Session() as session:
        session.trust_env = False
        yield lambda path, body: session.post(origin.url + path, json=body, headers=HEADERS, timeout=5)


@contextlib.contextmanager
def _urllib3(origin: Origin) -> Iterator[Any]:
    with urllib3.PoolManager() as pool:
        yield lambda path, body: pool.request("POST", origin.url + path, json=body, headers=HEADERS)


def _mounts(module: Any) -> dict[str, Any]:
    return {"all://": module.HTTPTransport()}


COVERED: dict[str, Callable[[Origin], Any]] = {
    "openai": _openai,
    "openai async": _openai_async,
    "openai on httpx": lambda origin: _openai(origin, httpx.Client()),
    "openai async on httpx": lambda origin: _openai_async(origin, httpx.AsyncClient),
    "httpx": lambda origin: _http(origin, httpx),
    "httpx async": lambda origin: _http_async(origin, httpx),
    "httpx2": lambda origin: _http(origin, httpx2),
    "httpx2 async": lambda origin: _http_async(origin, httpx2),
    "httpx, mounted": lambda origin: _http(origin, httpx, mounts=_mounts(httpx)),
    "httpx2, mounted": lambda origin: _http(origin, httpx2, mounts=_mounts(httpx2)),
    "httpx, proxied": lambda origin: _http(origin, httpx, "http://relay.example", proxy=origin.url),
    "httpx2, proxied": lambda origin: _http(origin, httpx2, "http://relay.example", proxy=origin.url),
    "httpx2 async, proxied": lambda origin: _http_async(origin, httpx2, "http://relay.example", proxy=origin.url),
}
UNCOVERED: dict[str, Callable[[Origin], Any]] = {
    "aiohttp": _aiohttp,
    "requests": _requests,
    "urllib3": _urllib3,
}
if importlib.util.find_spec("httpx_aiohttp") is not None:
    UNCOVERED["openai[aiohttp]"] = lambda origin: _openai_async(origin, openai.DefaultAioHttpClient)
ALL = COVERED | UNCOVERED


# -- ways of failing ----------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How a request fails: what the relay is, what is played, what is asked for."""

    play: Callable[[FakeRelay], None]
    path: str = CHAT
    body: Any = None
    base_url: str | None = None
    unmatched: bool = True
    """Whether nothing answers it, and not a refusal or a fault that was played."""


def _nothing(relay: FakeRelay) -> None:
    pass


def _exhausted(relay: FakeRelay) -> None:
    relay.play(tape(JSON))
    httpx.post("http://relay.example" + CHAT, json=BODY, headers=HEADERS).raise_for_status()


def _raising(relay: FakeRelay) -> None:
    def when(call: Any) -> bool:
        raise ZeroDivisionError

    relay.play(tape(JSON), when=when, optional=True)


def _faulty(fault: Fault) -> Callable[[FakeRelay], None]:
    return lambda relay: relay.play(tape(JSON), times=None, fault=fault, optional=True)


WAYS: dict[str, Way] = {
    "nothing played": Way(_nothing),
    "another path": Way(lambda relay: relay.play(tape(JSON), optional=True), path="/v1/embeddings"),
    "another prompt": Way(lambda relay: relay.play(tape(JSON), when={"prompt": "dog"}, optional=True)),
    "all played": Way(_exhausted),
    "another base_url": Way(lambda relay: relay.play(tape(JSON), optional=True), base_url="https://narrow.example/v1"),
    "an error in when": Way(_raising),
    "refused by the rules": Way(
        lambda relay: relay.play(tape(JSON), optional=True), body={"messages": []}, unmatched=False
    ),
    **{
        str(case): Way(_faulty(case.fault), unmatched=False)
        for case in CASES
        if case.fault is not None and False in case.streams and case.fault.kind != "status"
    },
    "status 429": Way(_faulty(Fault.status(429, retry_after=3)), unmatched=False),
    "status 502": Way(_faulty(Fault.status(502)), unmatched=False),
}


@contextlib.contextmanager
def leaving_raises(kind: type[BaseException], relay: FakeRelay) -> Iterator[None]:
    """The relay is entered, and its leaving, not what is done inside, raises."""
    relay.__enter__()
    try:
        yield
    except BaseException:
        relay.close()
        raise
    with pytest.raises(kind, match="remedy"):
        relay.__exit__(None, None, None)


@pytest.mark.parametrize("name", ALL)
def test_no_request_gets_out_by_any_client_in_any_way_of_failing(name: str, origin: Origin) -> None:
    with ALL[name](origin) as send:
        send(CHAT, BODY)  # its pool has an open connection now
        assert len(origin.hits) == 1
        for told, way in WAYS.items():
            relay = FakeRelay(base_url=way.base_url)
            refused = name in UNCOVERED or way.unmatched
            with leaving_raises(UnmatchedRequest, relay) if refused else relay:
                way.play(relay)
                with contextlib.suppress(BaseException):  # an application that swallows everything
                    send(way.path, BODY if way.body is None else way.body)
            assert len(origin.hits) == 1, told
        send(CHAT, BODY)
        assert len(origin.hits) == 2, "the same client reaches the origin again"


@pytest.mark.parametrize("name", ALL)
def test_a_client_that_is_made_inside_gets_nothing_out_either(name: str, origin: Origin) -> None:
    relay = FakeRelay()
    with leaving_raises(UnmatchedRequest, relay), ALL[name](origin) as send:
        with contextlib.suppress(BaseException):
            send(CHAT, BODY)
        assert relay.calls or name in UNCOVERED
    assert origin.hits == []


@pytest.mark.parametrize("name", COVERED)
def test_a_client_whose_pool_was_open_before_is_answered_in_process(name: str, origin: Origin) -> None:
    with COVERED[name](origin) as send:
        send(CHAT, BODY)
        with FakeRelay() as relay:
            relay.play(tape(JSON))
            send(CHAT, BODY)
        assert len(relay.calls) == len(origin.hits) == 1


@pytest.mark.parametrize("name", UNCOVERED)
def test_a_transport_that_is_not_covered_is_told_the_way(name: str, origin: Origin) -> None:
    relay = FakeRelay()
    library = "aiohttp" if "aiohttp" in name else name
    told = pytest.raises(UncoveredTransport, match=rf"^{library} asked for .*(?s:.*)relay_server")
    with UNCOVERED[name](origin) as send, leaving_raises(UncoveredTransport, relay), told:
        send(CHAT, BODY)
    assert origin.hits == []


@pytest.mark.parametrize("name", UNCOVERED)
def test_a_host_that_is_allowed_is_reached_by_what_is_not_covered(name: str, origin: Origin) -> None:
    with UNCOVERED[name](origin) as send:
        with FakeRelay(allow_hosts=[f"127.0.0.1:{origin.port}"]):
            send(CHAT, BODY)
        assert len(origin.hits) == 1


@pytest.mark.parametrize("name", ["openai", "openai async", "openai on httpx"])
def test_an_unmatched_request_reaches_the_caller_at_once(name: str, origin: Origin) -> None:
    relay = FakeRelay()
    with COVERED[name](origin) as send, leaving_raises(UnmatchedRequest, relay):
        with pytest.raises(UnmatchedRequest, match="matches nothing that was played"):
            send(CHAT, BODY)
        assert len(relay.calls) == 1, "the SDK must not ask again"
        assert relay.clock.now == 0
    assert relay.calls.last.kind == "unmatched"


def test_an_error_in_when_reaches_a_bare_client() -> None:
    relay = FakeRelay()
    with leaving_raises(UnusablePlay, relay), httpx.Client() as client:
        _raising(relay)
        with pytest.raises(UnusablePlay) as raised:
            client.post("https://relay.example" + CHAT, json=BODY, headers=HEADERS)
        assert isinstance(raised.value.__cause__, ZeroDivisionError)


# -- sockets ------------------------------------------------------------------------------


def _socket() -> None:
    with socket.socket() as sock:
        sock.settimeout(1)
        sock.connect((NOWHERE, 80))


def _socket_ex() -> None:
    with socket.socket() as sock:
        sock.settimeout(1)
        sock.connect_ex((NOWHERE, 80))


def _create_connection() -> None:
    socket.create_connection((NOWHERE, 80), timeout=1)


def _datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (NOWHERE, 9))


def _datagram_with_flags() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendmsg([b"x"], [], 0, (NOWHERE, 9))


def _open_connection() -> None:
    asyncio.run(asyncio.wait_for(asyncio.open_connection(NOWHERE, 80), 1))


def _connect_tcp() -> None:
    anyio.run(anyio.connect_tcp, NOWHERE, 80)


def _trio_tcp() -> None:
    trio.run(trio.open_tcp_stream, NOWHERE, 80)


def _resolve() -> None:
    socket.getaddrinfo("relay.invalid", 443)


def _resolve_bytes() -> None:
    socket.getaddrinfo(b"relay.invalid", 443)


def _urlopen() -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(f"http://{NOWHERE}/", timeout=1)


def _http_client() -> None:
    http.client.HTTPSConnection("relay.invalid", timeout=1).request("GET", "/")


@pytest.mark.parametrize(
    "attempt",
    [
        _socket,
        _socket_ex,
        _create_connection,
        _datagram,
        _datagram_with_flags,
        _open_connection,
        _connect_tcp,
        _trio_tcp,
        _resolve,
        _resolve_bytes,
        _urlopen,
        _http_client,
    ],
)
def test_a_socket_to_anywhere_but_loopback_is_refused(attempt: Callable[[], None]) -> None:
    relay = FakeRelay()
    with leaving_raises(UncoveredTransport, relay):
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - trio and anyio put it into a group
            attempt()
        assert list(_refusals(caught.value)), "refused by something else"


def _refusals(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _refusals(each)
    elif isinstance(error, UncoveredTransport):
        yield error


def test_a_connection_to_loopback_is_free_for_what_is_no_client_of_relays(origin: Origin) -> None:
    with FakeRelay():
        with socket.create_connection(("127.0.0.1", origin.port)):
            pass
        assert socket.getaddrinfo("localhost", origin.port)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(origin.url) as answer:
            assert answer.status == 200
    assert len(origin.hits) == 1


# -- more than one double at a time ---------------------------------------------------------


@pytest.mark.parametrize("module", [httpx, httpx2], ids=lambda module: module.__name__)
@pytest.mark.parametrize("outside", ["respx", "relay"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_respx_may_be_active_around_it_or_within_it(
    module: Any, outside: str, asynchronous: bool, origin: Origin
) -> None:
    relay, mock = FakeRelay(), respx.mock(assert_all_called=False)
    doubles: list[Any] = [mock, leaving_raises(UnmatchedRequest, relay)]
    if outside == "relay":
        doubles.reverse()
    make: Any = _http_async if asynchronous else _http
    with make(origin, module) as send, make(origin, module, "https://other.example") as other:
        with doubles[0], doubles[1]:
            mock.post("https://other.example/quota").respond(202)
            relay.play(tape(JSON))
            assert other("/quota", {}).status_code == 202
            assert send(CHAT, BODY).json()["object"] == "chat.completion"
            for path in ("/elsewhere", CHAT):
                with pytest.raises(UnmatchedRequest):
                    send(path, BODY)
        assert origin.hits == []
        send(CHAT, BODY)
        assert len(origin.hits) == 1


@pytest.mark.parametrize("module", [httpx, httpx2], ids=lambda module: module.__name__)
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_two_relays_answer_an_address_each(module: Any, asynchronous: bool, order: int, origin: Origin) -> None:
    one, two = (FakeRelay(base_url=f"https://{name}.example/v1") for name in ("one", "two"))
    make: Any = _http_async if asynchronous else _http
    with contextlib.ExitStack() as stack:
        for relay in (one, two)[::order]:
            stack.enter_context(relay)
        one.play(Scenario.image("a cat"))
        two.play(Scenario.image("a dog"), times=2)
        asks = [stack.enter_context(make(origin, module, f"https://{name}.example")) for name in ("one", "two", "two")]
        for ask in asks:
            ask(CHAT, BODY)
    assert (len(one.calls.chats), len(two.calls.chats)) == (1, 2)


def test_an_exception_inside_goes_its_way_and_all_is_put_back(origin: Origin) -> None:
    with _http(origin, httpx2) as send:
        relay = FakeRelay()
        relay.play(tape(JSON))
        with pytest.raises(KeyError, match="the test's own"), relay:
            raise KeyError("the test's own")
        send(CHAT, BODY)
    assert len(origin.hits) == 1


def test_what_was_played_and_never_asked_for_fails_at_the_end() -> None:
    relay = FakeRelay()
    relay.play(tape(JSON))
    with pytest.raises(UnplayedError, match="never played"), relay:
        pass
    with FakeRelay(strict=False) as relay:
        relay.play(tape(JSON))


def _patched() -> dict[str, Any]:
    found: dict[str, Any] = {
        "time.sleep": time.sleep,
        "time.monotonic": time.monotonic,
        "time.time": time.time,
        "asyncio.sleep": asyncio.sleep,
        "anyio.sleep": anyio.sleep,
        "trio.sleep": trio.sleep,
        "getaddrinfo": socket.getaddrinfo,
        "aiohttp": aiohttp.ClientSession._request,
        "urllib3": urllib3.HTTPConnectionPool.urlopen,
        "http.client": http.client.HTTPConnection.request,
    }
    for name in ("connect", "connect_ex", "sendto", "sendmsg"):
        # Inherited: not even a copy of it may stay behind.
        found[f"socket.{name}"] = (name in vars(socket.socket), getattr(socket.socket, name))
    for core in (httpcore, httpcore2):
        for kind in ("ConnectionPool", "HTTPConnection", "HTTPProxy"):
            found[f"{core.__name__}.{kind}"] = getattr(core, kind).handle_request
            found[f"{core.__name__}.Async{kind}"] = getattr(core, f"Async{kind}").handle_async_request
    return found


_INHERITED = [f"{core}.{kind}HTTPProxy" for core in ("httpcore", "httpcore2") for kind in ("", "Async")]
"""A proxy is a pool, whose method is patched; its own is that one."""


def test_whatever_is_patched_is_put_back_as_it_was() -> None:
    before = _patched()
    with FakeRelay():
        inside = _patched()
        with pytest.raises(KeyError), FakeRelay():
            raise KeyError
        assert _patched() == inside
    after = _patched()
    for name, value in before.items():
        assert after[name] == value, name
        assert inside[name] != value or name in _INHERITED, f"{name} is not patched"
