"""The recording proxy: a loopback address that passes everything on to a relay, and keeps it.

    with RecordingProxy("https://relay.example/v1", "tests/tapes") as proxy:
        subprocess.run(["node", "app.js"], env={"OPENAI_BASE_URL": proxy.base_url, ...})

Each chunk leaves as it comes, before the next is waited for; redacting and writing
happen behind, when an answer has ended, on a thread of their own. How the upstream
ends is passed on too: a cut is a cut, a reset a reset.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvicorn
from uvicorn.server import ServerState

from .._errors import TapeError, TickertapeError
from . import _guard
from ._app import Gone, TooLarge, _body, _headers, _target, _too_large, problem
from ._onward import Compressed, ending, request_headers, response_headers
from ._shelf import Shelf
from ._transport import Connection
from ._wire import Request
from .recorder import MAX_MEDIA, Recorder
from .server import MAX_BODY, _authority, _listen

if TYPE_CHECKING:
    import os
    import socket
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from starlette.types import Receive, Scope, Send

    from ._wire import Ending
    from .recorder import Take
    from .redaction import Redactor

_CONNECT = 30.0
"""Seconds to reach the upstream. All later waiting is the client's: it has timeouts of its own."""
_PAUSE = 10.0
"""Between two writings pass so many times the seconds that the first one took, while exchanges wait."""
_LAST_WORDS = 1.0
"""Seconds that answers get to notice that they were cut off."""


class ProxyError(TickertapeError, ValueError):
    """An upstream that cannot be one, or nothing to reach it with."""


class RecordingProxy:
    """Records what any client says to `upstream`, and what it is answered, as tapes in the folder `out`.

    upstream   the base URL of the relay, such as `https://relay.example/v1`
    out        where tapes go; what is there is never overwritten
    port       0: one that is free
    max_media  bytes of a medium that are kept; a larger one is replaced by a small one of its kind
    redactor   with rules of your own
    told       called with a line for people whenever a tape was written, or could not be
    max_body   bytes of a request's body; above it is 413
    """

    def __init__(
        self,
        upstream: str,
        out: str | os.PathLike[str],
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        max_media: int = MAX_MEDIA,
        redactor: Redactor | None = None,
        told: Callable[[str], None] | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        self._upstream, self._path = _origin(upstream)
        self._host, self._port, self._max_body = host, port, max_body
        self._http = _library()
        self._recorder = Recorder(redactor=redactor, max_media=max_media)
        self._shelf = Shelf(Path(out), self._recorder)
        self._told = told or (lambda line: None)
        self._numbers = count(1)
        self._ended = self._taken = 0  # exchanges that have ended, and of these what the saving thread has taken up
        self._added: list[tuple[Path, str]] = []  # those on tapes that are not written yet, and what is told of them
        self._due = 0.0  # when tapes are written at the latest, where others wait
        self._thread: threading.Thread | None = None
        self._url = ""
        self.tapes: list[Path] = []
        """What was written, in order; each once."""
        self.errors: list[TapeError] = []
        """Why something was not."""

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return self._url

    @property
    def base_url(self) -> str:
        """What a client is given in place of the upstream's base URL."""
        return self._url + self._path

    # -- starting and stopping ------------------------------------------------------------

    def start(self) -> RecordingProxy:
        """Listen; returns when clients can connect. Raises `TapeError` where nothing could be written."""
        if self._thread is not None:
            raise TickertapeError("this RecordingProxy runs already: use it, or make another one")
        self._shelf.check()
        sock = _listen(self._host, self._port)
        port = sock.getsockname()[1]
        self._url = f"http://{_authority(self._host)}:{port}"
        names = {"127.0.0.1", "localhost", "[::1]", _authority(self._host)}
        self._names = {f"{name}:{port}" for name in names}
        self._addresses = {(name.strip("[]"), port) for name in (*names, self._host)}
        self._saver = ThreadPoolExecutor(1, "tickertape recorder")
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(sock, ready)), daemon=True)
        self._thread.start()
        ready.wait()
        _guard.served.update(self._addresses)
        return self

    def flush(self) -> None:
        """Wait until what has ended, as far as the recorder has seen, is written."""
        if self._thread is not None:  # once closed, all of it is
            self._saver.submit(lambda: None).result()

    def close(self) -> None:
        """Break off what is under way, which is not kept, stop listening, and write what has ended."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        _guard.served.difference_update(self._addresses)
        self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join()
        self._saver.shutdown()
        self._shelf.close()

    async def _serve(self, sock: socket.socket, ready: threading.Event) -> None:
        self._loop, self._stopping, state = asyncio.get_running_loop(), asyncio.Event(), ServerState()
        config = uvicorn.Config(
            self,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
        )
        config.load()
        limits = self._http.Limits(max_connections=None)
        async with self._http.AsyncClient(limits=limits) as self._client:
            server = await self._loop.create_server(lambda: Connection(config, state, {}), sock=sock)
            ready.set()
            await self._stopping.wait()
            server.close()
            for connection in list(state.connections):
                connection.transport.abort()
            if state.tasks:
                await asyncio.wait(state.tasks, timeout=_LAST_WORDS)

    def __enter__(self) -> RecordingProxy:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- passing on -----------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI app."""
        headers, target = _headers(scope), _target(scope)
        if headers.get("host") not in self._names or not target.startswith("/"):
            # A page in a browser whose name was made to lead here, or somebody who takes it for an open proxy.
            told = f"this is the recorder of {self._upstream}; ask {self.base_url}"
            return await problem(403, "not_here", told)(scope, receive, send)
        try:
            body = await _body(receive, headers, self._max_body)
        except TooLarge:
            return await _too_large(self._max_body, receive, send)
        except Gone:
            return None
        connection: Connection = scope["state"]["connection"]
        exchange = _Exchange(self, Request(scope["method"], self._upstream + target, headers, body), connection, send)
        number, pump = next(self._numbers), asyncio.create_task(exchange.run(scope, receive))

        def cancel(_: object) -> None:
            pump.cancel()

        connection.gone.add_done_callback(cancel)
        try:
            with suppress(asyncio.CancelledError):
                await pump
        finally:
            connection.gone.remove_done_callback(cancel)
            if (take := exchange.take) is not None:
                take.left(exchange.now)
                if self._stopping.is_set() and not take.whole:
                    self._told("not kept: an answer that was under way when the recorder stopped")
                else:
                    self._ended += 1
                    self._saver.submit(self._keep, number, take)

    def _keep(self, number: int, take: Take) -> None:
        self._taken += 1
        self._recorder.takes.remove(take)  # it is on its tape from here on
        request = f"{take.request.method} {urlsplit(take.request.url).path}"
        try:
            path = self._shelf.add(number, take)
            self._added.append((path, f"{self._recorder.redactor.redact(request)}, {take.told}"))
        except Exception as error:  # whatever it is, the next answer shall be recorded
            self._not_recorded(error)
        # Where answers end faster than tapes are written, several are written at once.
        if self._taken == self._ended or time.perf_counter() >= self._due:
            began = time.perf_counter()
            self._write()
            now = time.perf_counter()
            self._due = now + _PAUSE * (now - began)

    def _write(self) -> None:
        added, self._added = self._added, []
        try:
            wrong = dict(self._shelf.save())
        except Exception as error:
            return self._not_recorded(error)
        for each in filter(None, wrong.values()):
            self._not_recorded(each)
        for path, told in added:
            if wrong.get(path) is None:
                if path not in self.tapes:
                    self.tapes.append(path)
                self._told(f"{path.name}: {told}")

    def _not_recorded(self, error: Exception) -> None:
        told = error if isinstance(error, TapeError) else TapeError(f"{type(error).__name__}: {error}")
        self.errors.append(told)
        self._told(f"not recorded: {told}")


class _Exchange:
    """One request on its way to the upstream, and the answer back."""

    def __init__(self, proxy: RecordingProxy, request: Request, connection: Connection, send: Send) -> None:
        self._proxy = proxy
        self._request = request
        self._connection = connection
        self._send = send
        self._began = time.perf_counter()
        self.take: Take | None = proxy._recorder.begin(request)

    @property
    def now(self) -> float:
        """Seconds since the request arrived."""
        return time.perf_counter() - self._began

    async def run(self, scope: Scope, receive: Receive) -> None:
        take, http = self.take, self._proxy._http
        assert take is not None
        try:
            response = await self._proxy._client.send(self._onward(), stream=True)
        except http.TransportError as error:
            how = ending(error, begun=False)
            take.end(self.now, how)
            if how != "refused":
                return await self._break(how)
            told = f"the recorder cannot reach {self._proxy._upstream}: {error}; check --upstream, and that it is up"
            return await problem(502, "upstream_unreachable", told)(scope, receive, self._send)
        try:
            headers, decode = response_headers(_pairs(response))
            take.head(self.now, response.status_code, headers)
            raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            await self._send({"type": "http.response.start", "status": response.status_code, "headers": raw})
            async for chunk in response.aiter_raw():
                if data := decode(chunk):
                    take.data(self.now, data)
                    await self._connection.writable()
                    await self._send({"type": "http.response.body", "body": data, "more_body": True})
            take.end(self.now, "eof")
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        except Compressed as error:
            await self._refuse(error, scope, receive)
        except http.TransportError as error:
            how = ending(error, begun=True)
            take.end(self.now, how)
            await self._break(how)
        finally:
            await response.aclose()

    def _onward(self) -> Any:
        http, asked = self._proxy._http, self._request
        origin = http.URL(self._proxy._upstream)
        target = asked.url.removeprefix(self._proxy._upstream).encode("latin-1")
        # A request of its own making: the client's would add headers that nobody sent.
        return http.Request(
            asked.method,
            origin.copy_with(raw_path=target),
            headers=[*request_headers(asked.headers.items()), ("accept-encoding", "identity")],
            content=asked.body or None,
            extensions={"timeout": {"connect": _CONNECT, "read": None, "write": None, "pool": None}},
        )

    async def _refuse(self, error: Compressed, scope: Scope, receive: Receive) -> None:
        take, self.take = self.take, None
        assert take is not None
        self._proxy._recorder.takes.remove(take)
        self._proxy.errors.append(TapeError(str(error)))
        self._proxy._told(f"not recorded: {error}")
        if take.begun:
            return await self._connection.close()
        await problem(502, "compressed", str(error))(scope, receive, self._send)

    async def _break(self, how: Ending) -> None:
        if how == "closed":
            await self._connection.close()
        else:
            await self._connection.reset()


def _pairs(response: Any) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw]


def _origin(upstream: str) -> tuple[str, str]:
    """`https://host:port` and the path of an upstream. Raises `ProxyError`."""
    try:
        parts = urlsplit(upstream)
        fits = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        fits = False
    if not fits or parts.query or parts.fragment or "@" in parts.netloc:
        # Not shown: it may hold a key.
        raise ProxyError(
            "--upstream: expected a base URL without user, query and fragment, such as https://relay.example/v1"
        )
    return f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")


def _library() -> Any:
    for name in ("httpx2", "httpx"):
        with suppress(ModuleNotFoundError):
            return import_module(name)
    raise ProxyError("the recorder needs httpx2 or httpx: pip install 'tickertape[testing,server]'")


# -- in the foreground --------------------------------------------------------------------


def record(
    upstream: str,
    out: str | os.PathLike[str],
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    max_media: int = MAX_MEDIA,
    redactor: Redactor | None = None,
) -> None:
    """Record until Ctrl-C or SIGTERM; what `tickertape record` does.

    Prints one line, the base URL, when clients can connect; on standard error, a line for
    each exchange. Raises `TickertapeError` before it listens.
    """
    stop = threading.Event()

    def stopped(signum: int, frame: FrameType | None) -> None:
        stop.set()

    def told(line: str) -> None:
        print(line.encode("unicode_escape").decode(), file=sys.stderr, flush=True)

    proxy = RecordingProxy(upstream, out, port=port, host=host, max_media=max_media, redactor=redactor, told=told)
    before = {each: signal.signal(each, stopped) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        proxy.start()
        print(proxy.base_url, flush=True)
        while not stop.wait(0.5):  # Windows wakes for Ctrl-C between two waits only
            pass
    finally:
        proxy.close()
        for each, handler in before.items():
            signal.signal(each, handler)
