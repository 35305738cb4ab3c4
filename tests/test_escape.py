"""Nothing reaches the network while a FakeRelay is active, whatever goes wrong; afterwards all is as it was."""

from __future__ import annotations

import _socket as beneath
import asyncio
import contextlib
import email.utils
import http.client
import importlib.util
import json
import socket
import subprocess
import sys
import threading
import time
import types
import urllib.request
import xmlrpc.client
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from socket import getaddrinfo as bound_early
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

from tickertape import TickertapeError
from tickertape.testing import (
    FakeRelay,
    Fault,
    RelayServer,
    Scenario,
    UncoveredTransport,
    UnmatchedRequest,
    UnplayedError,
    UnusablePlay,
    _guard,
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


def _resolve_early() -> None:
    bound_early("relay.invalid", 443)


def _resolve_host() -> None:
    socket.gethostbyname("relay.invalid")


def _resolve_host_ex() -> None:
    socket.gethostbyname_ex("relay.invalid")


def _resolve_address() -> None:
    socket.gethostbyaddr(NOWHERE)


def _name_address() -> None:
    socket.getnameinfo((NOWHERE, 80), 0)


def _connect_name() -> None:
    with socket.socket() as sock:
        sock.connect(("relay.invalid", 80))


def _beneath() -> None:
    sock = beneath.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(1)
        sock.connect((NOWHERE, 80))
    finally:
        sock.close()


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
        _resolve_early,
        _resolve_host,
        _resolve_host_ex,
        _resolve_address,
        _name_address,
        _connect_name,
        _beneath,
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


def test_a_server_on_all_addresses_and_a_message_id_may_ask_for_their_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def by_address(name: str) -> tuple[str, list[str], list[str]]:  # what /etc/hosts or DNS would say
        asked.append(name)
        _guard._heard("socket.gethostbyaddr", (name,))
        return name, [], ["192.0.2.7"]

    monkeypatch.setattr(socket, "gethostname", lambda: "build-7")
    monkeypatch.setattr(socket, "gethostbyaddr", by_address)
    with FakeRelay(), HTTPServer(("", 0), BaseHTTPRequestHandler) as server:
        assert email.utils.make_msgid()
        assert server.server_name == "build-7"
    assert asked == ["build-7", "build-7"]


def _sent_by_the_proxy(url: str) -> None:
    urllib.request.build_opener().open(url, timeout=5).close()  # urlopen remembers the proxies of its first call


def _through_a_tunnel(url: str, proxy: str, tunnel: Callable[[http.client.HTTPConnection], None]) -> None:
    connection = http.client.HTTPConnection(proxy.removeprefix("http://"), timeout=5)
    connection.set_tunnel("api.example", 443)
    try:
        tunnel(connection)
    finally:
        connection.close()


WAYS_BY_A_PROXY: dict[str, Callable[[str, str], None]] = {
    "urllib": lambda url, proxy: _sent_by_the_proxy(url),
    "urllib, tunnelled": lambda url, proxy: _sent_by_the_proxy(url.replace("http:", "https:")),
    "http.client, absolute": lambda url, proxy: http.client.HTTPConnection(proxy[7:]).request("GET", url),
    "http.client, tunnelled": lambda url, proxy: _through_a_tunnel(url, proxy, lambda it: it.request("GET", "/")),
    "http.client, connected": lambda url, proxy: _through_a_tunnel(url, proxy, lambda it: it.connect()),
    "a socket": lambda url, proxy: socket.create_connection(("127.0.0.1", int(proxy.rpartition(":")[2]))).close(),
    "requests": lambda url, proxy: requests.get(url, timeout=5).close(),
}


@pytest.mark.parametrize("way", WAYS_BY_A_PROXY.values(), ids=WAYS_BY_A_PROXY)
def test_a_proxy_on_loopback_is_no_way_out(
    way: Callable[[str, str], None], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, origin.url)
    relay = FakeRelay()
    with leaving_raises(UncoveredTransport, relay), pytest.raises(UncoveredTransport):
        way("http://api.example/v1/models", origin.url)
    assert origin.hits == []


def test_a_proxy_that_is_allowed_is_reached_and_does_not_let_through_what_is_not(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", origin.url)
    with FakeRelay(allow_hosts=[f"127.0.0.1:{origin.port}", "api.example"]) as relay:
        _sent_by_the_proxy("http://api.example/v1/models")
        with pytest.raises(UncoveredTransport, match=r"asked for other\.example:80"):
            _sent_by_the_proxy("http://other.example/v1/models")
        relay.reset()
    assert origin.hits == ["http://api.example/v1/models"]


@pytest.fixture
def nowhere_is_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 stands for an address anywhere."""
    monkeypatch.setattr(_guard, "_loopback", lambda host: host.lower() in ("localhost", ""))


@pytest.mark.usefixtures("nowhere_is_loopback")
def test_what_http_client_has_connected_before_sends_nothing(origin: Origin) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", origin.port)
    server = xmlrpc.client.ServerProxy(origin.url)
    connection.request("GET", "/before")
    connection.getresponse().read()
    with contextlib.suppress(xmlrpc.client.Error, Exception):
        server.before()
    sent = len(origin.hits)
    relay = FakeRelay()
    with leaving_raises(UncoveredTransport, relay):
        with pytest.raises(UncoveredTransport, match=r"^http\.client asked for"):
            connection.putrequest("GET", "/inside")
        with pytest.raises(UncoveredTransport, match=r"^http\.client asked for"):
            server.inside()
    connection.close()
    server("close")()
    assert len(origin.hits) == sent


def test_httplib2_sends_nothing_over_a_connection_that_it_has_kept(origin: Origin) -> None:
    # It asks http.client, as this does, from a module of its name.
    asking: dict[str, Any] = {"__name__": "httplib2.stand_in"}
    exec("def ask(connection): connection.request('GET', '/kept')", asking)
    connection = http.client.HTTPConnection("127.0.0.1", origin.port)
    asking["ask"](connection)
    connection.getresponse().read()
    relay = FakeRelay()
    with leaving_raises(UncoveredTransport, relay), pytest.raises(UncoveredTransport, match=r"^httplib2 asked for"):
        asking["ask"](connection)
    connection.close()
    assert origin.hits == ["/kept"]


class _OpensInC:
    """As uvloop's own loop: what it does raises no audit event."""

    def __init__(self) -> None:
        self.went: list[str] = []

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        self.went.append(f"{host}:{port}")

    async def create_datagram_endpoint(self, factory: Any, local_addr: Any = None, remote_addr: Any = None) -> Any:
        self.went.append(f"{remote_addr}")

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        self.went.append(f"{host}:{port}")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (NOWHERE, port))]

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        self.went.append(f"{sockaddr}")


@pytest.mark.parametrize("late", [False, True])
def test_uvloop_is_refused_at_its_loop(late: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    kind = type("Loop", (_OpensInC,), {})
    if late:  # a package that is imported while the relay is there
        (tmp_path / "uvloop.py").write_text("from tests.test_escape import _OpensInC\nclass Loop(_OpensInC): pass\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "uvloop", raising=False)
    else:
        module = types.ModuleType("uvloop")
        module.Loop = kind  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "uvloop", module)
    relay = FakeRelay(allow_hosts=["metrics.example:443"])
    with leaving_raises(UncoveredTransport, relay):
        import uvloop  # type: ignore[import-not-found]

        loop = uvloop.Loop()
        for attempt in (
            lambda: loop.create_connection(asyncio.Protocol, "relay.invalid", 443),
            lambda: loop.create_connection(asyncio.Protocol, host=NOWHERE, port=443),
            lambda: loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(NOWHERE, 53)),
            lambda: loop.getaddrinfo("relay.invalid", 443),
            lambda: loop.getnameinfo((NOWHERE, 443)),
        ):
            with pytest.raises(UncoveredTransport):
                asyncio.run(_awaited(attempt))
        assert loop.went == []

        async def allowed() -> None:
            await loop.create_connection(asyncio.Protocol, "127.0.0.1", 443)
            await loop.getaddrinfo("metrics.example", 443)
            await loop.create_connection(asyncio.Protocol, NOWHERE, 443)

        asyncio.run(allowed())
        assert loop.went == ["127.0.0.1:443", "metrics.example:443", f"{NOWHERE}:443"]
    sys.modules.pop("uvloop", None) if late else None
    assert all(name not in vars(kind) for name in ("create_connection", "getaddrinfo"))


async def _awaited(attempt: Callable[[], Any]) -> Any:
    return await attempt()


def test_aiohttp_that_is_imported_inside_is_refused_as_well(origin: Origin) -> None:
    # In an interpreter of its own: here it is imported long since. `localhost` has several
    # addresses, which are tried in tasks of their own.
    program = f"""
import asyncio, socket
real = socket.getaddrinfo
def several(host, port, *args, **kwargs):
    found = real(host, port, *args, **kwargs)
    if host != "localhost":
        return found
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.1", "127.0.0.2")]
socket.getaddrinfo = several
from tickertape.testing import FakeRelay, UncoveredTransport
async def ask(how):
    import aiohttp
    async with aiohttp.ClientSession() as session:
        if how == "session":
            await session.get("http://localhost:{origin.port}/")
        else:
            import aiohappyeyeballs
            found = await asyncio.get_running_loop().getaddrinfo("localhost", {origin.port})
            await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=0.25)
relay = FakeRelay(strict=False)
relay.__enter__()
for how in ("session", "connector"):
    try:
        asyncio.run(ask(how))
    except BaseException:
        pass
    assert relay.unmatched and str(relay.unmatched[0]).startswith("aiohttp asked for"), (how, relay.unmatched)
    relay.reset()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)
    assert origin.hits == []


def test_tornado_is_refused_where_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    # In its callbacks a refusal would be lost, and `fetch` would never return.
    class AsyncHTTPClient:
        def fetch(self, request: Any, raise_error: bool = True) -> Any:
            raise AssertionError("it was asked")

    module = types.ModuleType("tornado.httpclient")
    module.AsyncHTTPClient = AsyncHTTPClient  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tornado.httpclient", module)
    relay = FakeRelay()
    with leaving_raises(UncoveredTransport, relay):
        for request in ("http://127.0.0.1:9000/", types.SimpleNamespace(url="http://127.0.0.1:9000/")):
            with pytest.raises(UncoveredTransport, match=r"^tornado asked for 127\.0\.0\.1:9000"):
                AsyncHTTPClient().fetch(request)


@pytest.mark.parametrize("package", ["urllib3", "urllib3_future"])
def test_the_asynchronous_pools_under_niquests_are_refused(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class AsyncHTTPConnectionPool:
        scheme, host, port = "http", "127.0.0.1", 9000

        async def urlopen(self, method: str, url: str) -> Any:
            raise AssertionError("it was asked")

    module = types.ModuleType(f"{package}._async.connectionpool")
    module.AsyncHTTPConnectionPool = AsyncHTTPConnectionPool  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    relay = FakeRelay()
    told = pytest.raises(UncoveredTransport, match=rf"^{package} asked for 127\.0\.0\.1:9000")
    with leaving_raises(UncoveredTransport, relay), told:
        asyncio.run(_awaited(lambda: AsyncHTTPConnectionPool().urlopen("GET", "/")))


# -- what is allowed ------------------------------------------------------------------------


def _get_httpx(module: Any) -> Callable[[str], Any]:
    def get(url: str) -> Any:
        with module.Client(trust_env=False) as client:
            return client.get(url).status_code

    return get


def _get_httpx_async(module: Any) -> Callable[[str], Any]:
    async def get(url: str) -> Any:
        async with module.AsyncClient(trust_env=False) as client:
            return (await client.get(url)).status_code

    return lambda url: asyncio.run(get(url))


def _get_aiohttp(url: str) -> Any:
    async def get() -> Any:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status

    return asyncio.run(get())


def _get_requests(url: str) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url).status_code


def _get_urllib3(url: str) -> Any:
    with urllib3.PoolManager() as pool:
        return pool.request("GET", url).status


def _get_urllib(url: str) -> Any:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
        return answer.status


GETS: dict[str, Callable[[str], Any]] = {
    "httpx": _get_httpx(httpx),
    "httpx2": _get_httpx(httpx2),
    "httpx async": _get_httpx_async(httpx),
    "httpx2 async": _get_httpx_async(httpx2),
    "requests": _get_requests,
    "urllib3": _get_urllib3,
    "aiohttp": _get_aiohttp,
    "urllib": _get_urllib,
}


@pytest.mark.parametrize("get", GETS.values(), ids=GETS)
@pytest.mark.parametrize("allowed", ["localhost:{port}", "LocalHost", "127.0.0.1:{port}", "[::1]:{port}"])
def test_loopback_may_be_allowed_by_any_of_its_names(get: Any, allowed: str, origin: Origin) -> None:
    with FakeRelay(allow_hosts=[allowed.format(port=origin.port)]):
        assert get(f"http://localhost:{origin.port}/") == 200
        assert get(origin.url) == 200


@pytest.mark.usefixtures("nowhere_is_loopback")
@pytest.mark.parametrize("get", GETS.values(), ids=GETS)
@pytest.mark.parametrize("allowed", ["metrics.example", "Metrics.Example:{port}"])
def test_a_host_may_be_allowed_by_its_name(
    get: Any, allowed: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", origin.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)  # what DNS would say
    allow = [allowed.format(port=origin.port)]
    with FakeRelay(allow_hosts=allow):
        assert get(f"http://metrics.example:{origin.port}/") == 200
        assert get(f"http://METRICS.example:{origin.port}/") == 200
    relay = FakeRelay(allow_hosts=["metrics.example:1"])
    with leaving_raises(UnmatchedRequest, relay), pytest.raises(BaseException) as caught:  # noqa: PT011
        get(f"http://metrics.example:{origin.port}/")
    assert isinstance(caught.value, UnmatchedRequest)
    assert len(origin.hits) == 2


@pytest.mark.parametrize("get", GETS.values(), ids=GETS)
def test_where_the_tests_own_patches_lead_an_allowed_name_is_their_affair(
    get: Any, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, connect = socket.getaddrinfo, socket.socket.connect

    def resolved(host: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve(NOWHERE if host in ("metrics.example", b"metrics.example") else host, *args, **kwargs)

    def connected(sock: socket.socket, address: Any) -> None:
        connect(sock, ("127.0.0.1", origin.port) if address[0] == NOWHERE else address)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(socket.socket, "connect", connected)
    with FakeRelay(allow_hosts=["metrics.example:80"]):
        assert get("http://metrics.example/") == 200
    assert len(origin.hits) == 1


@pytest.mark.parametrize("module", [httpx, httpx2])
@pytest.mark.parametrize("allowed", ["metrics.example", "metrics.example:80"])
def test_the_port_that_a_url_does_not_say_is_that_of_its_scheme(
    module: Any, allowed: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", origin.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    with FakeRelay(allow_hosts=[allowed]):
        assert _get_httpx(module)("http://metrics.example/") == 200
    relay = FakeRelay(allow_hosts=["metrics.example:443"])
    with leaving_raises(UnmatchedRequest, relay), pytest.raises(UnmatchedRequest):
        _get_httpx(module)("http://metrics.example/")


@pytest.mark.parametrize("entry", ["http://localhost:9000", "localhost:9000/v1", "localhost:http", "", "a@b"])
def test_what_is_no_host_cannot_be_allowed(entry: str) -> None:
    with pytest.raises(TickertapeError, match=r"expected 'host' or 'host:port'"):
        FakeRelay(allow_hosts=[entry])


def test_a_refusal_names_what_to_allow_and_where() -> None:
    for port, told in ((54321, r"\['relay\.invalid'\]"), (443, r"\['relay\.invalid:443'\]")):
        relay = FakeRelay()
        with leaving_raises(UncoveredTransport, relay), pytest.raises(UncoveredTransport) as caught:
            socket.getaddrinfo("relay.invalid", port)
        assert caught.match(rf"allow_hosts={told} in @pytest\.mark\.tickertape\(…\) or FakeRelay\(…\)")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_session_of_aiohttp_with_an_address_of_its_own_is_known_by_it(name: str) -> None:
    async def ask(base: str) -> int:
        async with (
            aiohttp.ClientSession(base_url=base) as session,
            session.post("chat/completions", json=BODY, headers=HEADERS) as answer,
        ):
            return answer.status

    relay = FakeRelay()
    with RelayServer() as server, leaving_raises(UncoveredTransport, relay):
        server.play(tape(JSON))
        assert asyncio.run(ask(server.base_url.replace("127.0.0.1", name) + "/")) == 200
        with pytest.raises(UncoveredTransport, match=rf"^aiohttp asked for {name}:9000,"):
            asyncio.run(ask(f"http://{name}:9000/v1/"))


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


@pytest.mark.parametrize("module", [httpx, httpx2], ids=lambda module: module.__name__)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_relay_that_was_entered_last_is_asked_first(module: Any, asynchronous: bool, origin: Origin) -> None:
    make: Any = _http_async if asynchronous else _http
    with FakeRelay() as outer, make(origin, module) as ask:
        outer.play(Scenario.image("a dog"), times=2)
        ask(CHAT, BODY)
        with FakeRelay() as inner:
            inner.play(Scenario.image("a cat"))
            ask(CHAT, BODY)
            assert (len(outer.calls), len(inner.calls)) == (1, 1)
        ask(CHAT, BODY)
    assert (len(outer.calls), len(inner.calls)) == (2, 1)


@pytest.mark.parametrize("module", [httpx, httpx2], ids=lambda module: module.__name__)
@pytest.mark.parametrize("first", ["respx", "relay"])
def test_the_relay_is_asked_before_respx_whichever_came_first(module: Any, first: str, origin: Origin) -> None:
    mock = respx.mock(assert_all_called=False)
    with contextlib.ExitStack() as stack:
        ask = stack.enter_context(_http(origin, module))
        if first == "respx":
            stack.enter_context(mock)
        relay = stack.enter_context(FakeRelay())
        if first == "relay":
            stack.enter_context(mock)
        mock.post(path=CHAT).respond(202)
        relay.play(tape(JSON))
        assert [ask(CHAT, BODY).status_code for _ in range(2)] == [200, 202]


def _says(relay: FakeRelay, word: str) -> None:
    relay.play(Scenario.image(word))


def test_each_thread_is_answered_by_the_relay_that_it_entered(origin: Origin) -> None:
    barrier, told = threading.Barrier(2, timeout=20), {}

    def run(word: str, late: bool) -> None:
        with FakeRelay() as relay, _http(origin, httpx2) as ask:
            _says(relay, word)
            barrier.wait()
            if late:  # the other one asks first
                barrier.wait()
            text = ask(CHAT, {**BODY, "messages": [{"role": "user", "content": word}]}).text
            with pytest.raises(UnmatchedRequest):  # and the other's plays are not for it
                ask(CHAT, BODY)
            if not late:
                barrier.wait()
            barrier.wait()
            told[word] = (word in text, [call.prompt for call in relay.calls.chats])
            relay.reset()

    threads = [threading.Thread(target=run, args=(word, word == "a cat")) for word in ("a cat", "a dog")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == {word: (True, [word]) for word in ("a cat", "a dog")}
    assert origin.hits == []


def test_each_task_is_answered_by_the_relay_that_it_entered() -> None:
    async def run(word: str, seconds: float) -> list[str]:
        async with FakeRelay() as relay, httpx2.AsyncClient(timeout=60) as client:
            _says(relay, word)
            await asyncio.sleep(seconds)
            body = {**BODY, "messages": [{"role": "user", "content": word}]}
            await client.post("https://relay.example" + CHAT, json=body, headers=HEADERS)
            await asyncio.sleep(60)
            return [call.prompt for call in relay.calls]

    async def main() -> Any:
        return await asyncio.gather(run("a cat", 2), run("a dog", 1))

    assert asyncio.run(main()) == [["a cat"], ["a dog"]]


def test_a_task_that_leaves_a_relay_is_back_in_the_one_around_it() -> None:
    async def main() -> list[int]:
        async with FakeRelay() as middle, httpx2.AsyncClient(timeout=60) as client:
            async with FakeRelay():
                pass
            _says(middle, "a cat")
            await client.post("https://relay.example" + CHAT, json=BODY, headers=HEADERS)
            return [len(outer.calls), len(middle.calls)]

    with FakeRelay(strict=False) as outer:
        _says(outer, "a dog")
        assert asyncio.run(main()) == [0, 1]


def test_two_threads_may_enter_their_first_relay_at_once() -> None:
    program = """
import sys, threading
from tickertape.testing import FakeRelay
sys.setswitchinterval(1e-6)
failed, barrier = [], threading.Barrier(8)
def run():
    barrier.wait()
    try:
        with FakeRelay():
            pass
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=run) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failed, failed
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)


@pytest.mark.parametrize("module", [httpx, httpx2], ids=lambda module: module.__name__)
def test_relays_that_come_and_go_in_other_threads_let_nothing_out(module: Any, origin: Origin) -> None:
    failed: list[Any] = []

    def run() -> None:
        for _ in range(20):
            with FakeRelay() as relay, _http(origin, module) as ask:
                relay.router.post(path="/x").respond(203)
                if (status := ask("/x", BODY).status_code) != 203:
                    failed.append(status)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == origin.hits == []


def test_an_exception_inside_goes_its_way_and_all_is_put_back(origin: Origin) -> None:
    with _http(origin, httpx2) as send:
        relay = FakeRelay()
        relay.play(tape(JSON))
        with pytest.raises(KeyError, match="the test's own"), relay:
            raise KeyError("the test's own")
        send(CHAT, BODY)
    assert len(origin.hits) == 1


def test_an_application_that_replaces_the_error_is_told_of_what_was_unmatched(origin: Origin) -> None:
    with _http(origin, httpx2) as send:

        def application() -> None:
            try:
                send("/v1/nothing", BODY)
            except UnmatchedRequest:
                raise KeyError("its own") from None

        with pytest.raises(KeyError, match="its own") as raised, FakeRelay():
            application()
        (note,) = raised.value.__notes__
        assert "/v1/nothing matches nothing that was played" in note
        with pytest.raises(UnmatchedRequest) as unmatched, FakeRelay():
            send("/v1/nothing", BODY)
        (note,) = unmatched.value.__notes__
        assert "matches nothing" not in note, "the error itself says so"


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
        "http.client": http.client.HTTPConnection.putrequest,
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


def test_a_patch_that_outlives_the_guard_is_not_patched_over_again() -> None:
    # monkeypatch, asked for before fake_relay, puts back what it found: what the guard had put there.
    depths = []
    for _ in range(3):
        with FakeRelay():
            found = socket.getaddrinfo
            socket.getaddrinfo = lambda *_: []
        socket.getaddrinfo = found
        depths.append(found)
    try:
        assert depths[0] is depths[1] is depths[2]
        assert socket.getaddrinfo("127.0.0.1", 1)
    finally:
        with FakeRelay():
            pass
    assert socket.getaddrinfo is not found, "the next relay has put the real one back"
