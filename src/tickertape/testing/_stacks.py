"""The two HTTP stacks that are answered in process: httpcore under httpx, httpcore2 under httpx2.

What a fault raises is what httpcore itself raises when a socket does the same,
with the same error of anyio, trio or the operating system beneath it, so that
httpx maps it as it maps the real one.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

import httpcore
import httpx
from respx.mocks import HTTPCoreMocker, Mocker

from ._clock import in_asyncio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._wire import Ending

FAMILY = "tickertape.family"
"""The request extension that names the stack a request came by."""

_TARGETS = tuple(
    f"httpcore2._{kind}.{module}.{prefix}{name}"
    for kind, prefix in (("sync", ""), ("async", "Async"))
    for module, name in (
        ("connection", "HTTPConnection"),
        ("connection_pool", "ConnectionPool"),
        ("http_proxy", "HTTPProxy"),
    )
)
_NAME = "tickertape-httpcore2"


@cache
def mockers() -> tuple[type[Mocker], ...]:
    """respx's own mocker for httpcore, and one like it for httpcore2 where that is installed."""
    if find_spec("httpcore2") is None:
        return (HTTPCoreMocker,)
    if _NAME in Mocker.registry:
        return (HTTPCoreMocker, Mocker.registry[_NAME])
    core2: Any = import_module("httpcore2")

    class HTTPCore2Mocker(HTTPCoreMocker):
        # A mocker of our own rather than more targets for respx's: it knows by which stack a
        # request came, and answers with that stack's response. respx knows httpcore alone (0.23).
        name = _NAME
        targets = list(_TARGETS)  # noqa: RUF012 - respx declares it as a mutable ClassVar

        @classmethod
        def to_httpx_request(cls, **kwargs: Any) -> httpx.Request:
            core: Any = kwargs["request"]
            at = core.url
            # Built from its parts: respx writes the URL out and parses it twice more.
            url = httpx.URL(scheme=at.scheme.decode(), host=at.host.decode(), port=at.port, raw_path=at.target)
            extensions = {**core.extensions, FAMILY: "httpcore2"}
            return httpx.Request(
                core.method.decode(), url, headers=core.headers, stream=core.stream, extensions=extensions
            )

        @classmethod
        def from_sync_httpx_response(cls, httpx_response: httpx.Response, target: Any, **kwargs: Any) -> Any:
            return core2.Response(
                status=httpx_response.status_code,
                headers=httpx_response.headers.raw,
                content=httpx_response.stream,
                extensions=httpx_response.extensions,
            )

    return (HTTPCoreMocker, HTTPCore2Mocker)


def module_of(request: httpx.Request) -> Any:
    """The module whose exceptions the client of this request expects."""
    return httpcore if FAMILY not in request.extensions else import_module(request.extensions[FAMILY])


_TWINS = {"httpx2": "httpx", "httpcore2": "httpcore"}
"""Of the second generation's packages, those whose classes are called the same."""


def first_generation(value: Any) -> Any:
    """A response, or the class of an exception, of httpx2 as httpx has it; all else as it is."""
    if isinstance(value, type):
        return _twin(value, _TWINS) or value
    kind = _twin(type(value), _TWINS)
    if kind is None or not issubclass(kind, httpx.Response):
        return value
    read = {"content": value.content} if value.is_stream_consumed or value.is_closed else {"stream": value.stream}
    return httpx.Response(value.status_code, headers=value.headers.raw, extensions=value.extensions, **read)


@contextmanager
def raised_as_known(request: httpx.Request) -> Iterator[None]:
    """Raise an exception of the other generation as the one of that name that the request's client knows."""
    try:
        yield
    except Exception as error:
        own = {old: new for new, old in _TWINS.items()} if FAMILY in request.extensions else _TWINS
        kind = _twin(type(error), own)
        if kind is None:
            raise
        raise kind(*error.args) from error


def _twin(kind: type, packages: dict[str, str]) -> type | None:
    """The class of the same name in the package that stands for the one of `kind`, or of a class it is made from."""
    for each in kind.__mro__:
        package = packages.get(each.__module__.partition(".")[0])
        if package is not None:
            twin = getattr(import_module(package), each.__name__, None)
            if isinstance(twin, type):
                # A status error needs a response, and is no transport's.
                return None if issubclass(twin, httpx.HTTPStatusError) else twin
    return None


def break_off(
    core: Any,
    how: Ending,
    *,
    begun: bool,
    asynchronous: bool,
    target: tuple[str, int],
    whole: tuple[int, int | None] = (0, None),
) -> NoReturn:
    """Raise what httpcore raises when the peer ends like this.

    `target` is host and port, `whole` the bytes received and Content-Length.
    The connection pool raises `from None`, save httpcore2's once the answer has begun: what
    the operating system said is the error's `__context__`, which a traceback does not show.
    """
    library = "socket" if not asynchronous else "anyio" if in_asyncio() else "trio"
    if how == "closed" and not begun:
        raise core.RemoteProtocolError("Server disconnected without sending a response.") from None
    kind, beneath = _closed(whole) if how == "closed" else _BROKEN[how](library, target)
    try:
        # Raised in fact, so that an exception which the application is handling stands behind it.
        raise beneath
    except Exception:
        shown = beneath if begun and core.__name__ == "httpcore2" else None
        raise getattr(core, kind)(beneath) from shown


def _closed(whole: tuple[int, int | None]) -> tuple[str, Exception]:
    import h11  # httpcore's own parser

    received, expected = whole
    detail = "incomplete chunked read" if expected is None else f"received {received} bytes, expected {expected}"
    message = f"peer closed connection without sending complete message body ({detail})"
    return "RemoteProtocolError", h11.RemoteProtocolError(message)


def _refused(library: str, target: tuple[str, int]) -> tuple[str, Exception]:
    if library == "socket":
        return "ConnectError", ConnectionRefusedError(111, "Connection refused")
    refused = ConnectionRefusedError(111, f"Connect call failed {target}")
    if library == "anyio":
        return "ConnectError", _caused(OSError("All connection attempts failed"), refused)
    message = f"all attempts to connect to {target[0]}:{target[1]} failed"
    return "ConnectError", _caused(OSError(message), ExceptionGroup(message, [refused]))


def _reset(library: str, target: tuple[str, int]) -> tuple[str, Exception]:
    reset = ConnectionResetError(104, "Connection reset by peer")
    if library == "socket":
        return "ReadError", reset
    broken: type[Exception] = import_module(library).BrokenResourceError
    return "ReadError", _caused(broken(*(() if library == "anyio" else (f"socket connection broken: {reset}",))), reset)


def _timeout(library: str, target: tuple[str, int]) -> tuple[str, Exception]:
    if library == "trio":
        return "ReadTimeout", import_module(library).TooSlowError()
    return "ReadTimeout", TimeoutError(*(("timed out",) if library == "socket" else ()))


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = error.__context__ = cause
    return error


_BROKEN: dict[str, Callable[[str, tuple[str, int]], tuple[str, Exception]]] = {
    "refused": _refused,
    "reset": _reset,
    "timeout": _timeout,
}
