"""Asking the real relay while respx stands between the client and its connections.

The client's own connection pool is asked: its proxies, certificates and timeouts are the
ones that count. respx does not tell which pool a request came by; a patch around its own
does. A request that goes on carries a mark, by which the router lets it pass.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import httpx

from . import _guard
from ._onward import Compressed, ending, raw_headers, request_headers, response_headers
from ._stacks import FAMILY, module_of
from ._wire import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ._journal import Call
    from .recorder import Recorder, Take

MARK = "tickertape.forward"
"""The request extension of what goes on to the network."""

_CLASSES = (("_sync.connection_pool", "ConnectionPool"), ("_sync.http_proxy", "HTTPProxy"))
_pool: ContextVar[Any] = ContextVar("tickertape_pool", default=None)
_lock = threading.Lock()
_users = 0
_undo: list[tuple[type, str, Any]] = []


@contextmanager
def pools_told() -> Iterator[None]:
    """Know by which pool a request comes. To be entered after respx's patches, and left before them."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _install()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            while not _users and _undo:
                kind, name, before = _undo.pop()
                if before is None:
                    delattr(kind, name)
                else:
                    setattr(kind, name, before)


def _install() -> None:
    for family in ("httpcore", "httpcore2"):
        if find_spec(family) is None:
            continue
        for module, name in _CLASSES:
            for prefix, method, wrap in (
                ("", "handle_request", _told),
                ("Async", "handle_async_request", _told_async),
            ):
                where = module.replace("_sync", "_async") if prefix else module
                kind = getattr(import_module(f"{family}.{where}"), prefix + name)
                _undo.append((kind, method, kind.__dict__.get(method)))
                setattr(kind, method, wrap(getattr(kind, method)))


def _told(real: Any) -> Any:
    def handle_request(self: Any, request: Any) -> Any:
        token = _pool.set(self)
        try:
            return real(self, request)
        finally:
            _pool.reset(token)

    return handle_request


def _told_async(real: Any) -> Any:
    async def handle_async_request(self: Any, request: Any) -> Any:
        token = _pool.set(self)
        try:
            return await real(self, request)
        finally:
            _pool.reset(token)

    return handle_async_request


class Forward(httpx.SyncByteStream, httpx.AsyncByteStream):
    """One request that goes on, and its answer on the way back; both are recorded.

    `ended` is told how, once: `eof`, `reset`, `closed`, `timeout`, `refused`, or `left`.
    """

    def __init__(self, request: httpx.Request, recorder: Recorder, call: Call, now: Callable[[], float]) -> None:
        self._request = request
        self._call = call
        self._now = now
        self._began = time.perf_counter()
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in request.headers.raw}
        self._take: Take = recorder.begin(Request(request.method, str(request.url), headers, request.content))
        self._recorder = recorder
        self._core = module_of(request)
        self._stream: Any = None
        self._decode: Callable[[bytes], bytes] = bytes

    @property
    def _t(self) -> float:
        return time.perf_counter() - self._began

    # -- asking -----------------------------------------------------------------------

    def send(self) -> httpx.Response:
        """The answer's head, when it has come. Raises what the pool raises."""
        pool, request = self._onward()
        with _guard.released(_targets(pool, self._request)):
            try:
                response = pool.handle_request(request)
            except BaseException as error:
                self._fail(error, begun=False)
                raise
        return self._answer(response)

    async def asend(self) -> httpx.Response:
        """The same for an asynchronous client."""
        pool, request = self._onward()
        with _guard.released(_targets(pool, self._request)):
            try:
                response = await pool.handle_async_request(request)
            except BaseException as error:
                self._fail(error, begun=False)
                raise
        return self._answer(response)

    def _onward(self) -> tuple[Any, Any]:
        asked, url = self._request, self._request.url
        pool = _pool.get()
        assert pool is not None, "a request that came by no pool"
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._headers()]
        extensions = {key: value for key, value in asked.extensions.items() if key != FAMILY}
        return pool, self._core.Request(
            asked.method.encode(),
            self._core.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=headers,
            content=asked.content,
            extensions={**extensions, MARK: True},
        )

    def _headers(self) -> list[tuple[str, str]]:
        pairs = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in self._request.headers.raw]
        kept = [(k, v) for k, v in pairs if k.lower() in ("host", "content-length")]
        length = [] if kept or not self._request.content else [("content-length", str(len(self._request.content)))]
        return [*kept, *length, *request_headers(pairs), ("accept-encoding", "identity")]

    def _answer(self, response: Any) -> httpx.Response:
        pairs = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in response.headers]
        headers, self._decode = response_headers(pairs)
        self._take.head(self._t, response.status, headers)
        self._stream = response.stream
        extensions = {key: value for key, value in response.extensions.items() if key != "network_stream"}
        # A chunked answer shall look like one; what the tape keeps does not depend on it.
        if not any(name == "content-length" for name, _ in headers) and response.status not in (204, 304):
            headers = (*headers, ("transfer-encoding", "chunked"))
        return httpx.Response(
            response.status, headers=raw_headers(headers), stream=self, request=self._request, extensions=extensions
        )

    # -- the answer -------------------------------------------------------------------

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream:
                if data := self._taken(chunk):
                    yield data
        except GeneratorExit:
            raise
        except BaseException as error:
            self._fail(error, begun=True)
            raise
        self._finish("eof")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                if data := self._taken(chunk):
                    yield data
        except GeneratorExit:
            raise
        except BaseException as error:
            self._fail(error, begun=True)
            raise
        self._finish("eof")

    def _taken(self, chunk: bytes) -> bytes:
        data = self._decode(chunk)
        self._take.data(self._t, data)
        self._call.received += len(data)
        return data

    def close(self) -> None:
        self._left()
        if self._stream is not None:
            self._stream.close()

    async def aclose(self) -> None:
        self._left()
        if self._stream is not None:
            await self._stream.aclose()

    # -- ending -----------------------------------------------------------------------

    def _left(self) -> None:
        if not self._take.ended:
            self._take.left(self._t)
            self._note()

    def _finish(self, how: Any) -> None:
        self._take.end(self._t, how)
        self._note()

    def _fail(self, error: BaseException, *, begun: bool) -> None:
        if isinstance(error, Compressed) or not isinstance(error, Exception):
            # Nothing that a relay did: a body nobody can read, or the test was broken off.
            if self._take in self._recorder.takes:
                self._recorder.takes.remove(self._take)
            self._take.left(self._t)
            return
        self._finish(ending(error, begun=begun))

    def _note(self) -> None:
        interaction = self._take.interaction
        self._call.reply = interaction.reply
        last = interaction.reply[-1]
        self._call.ended = "left" if interaction.notes and last.how == "timeout" else last.how  # type: ignore[union-attr]
        self._call.ended_at = self._now()


def _targets(pool: Any, request: httpx.Request) -> frozenset[tuple[str, int]]:
    """Where this one request may connect to: its host, or the proxy of its pool."""
    port = request.url.port or (443 if request.url.scheme == "https" else 80)
    targets = {(request.url.host, port)}
    proxy = getattr(pool, "_proxy_url", None)
    if proxy is not None:
        scheme = proxy.scheme.decode()
        targets.add((proxy.host.decode(), proxy.port or {"https": 443, "http": 80}.get(scheme, 1080)))
    return frozenset(targets)
