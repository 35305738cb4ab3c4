"""Nothing reaches the network while a relay answers in process.

httpx and httpx2 are answered above their connection pools. Every other way out
is refused here: libraries that are known by name, at the call and, where they
were imported later, at the connection; and any socket to anywhere but loopback.
What cannot be seen from Python is not covered: subprocesses, and C libraries
that open sockets of their own (pycurl, grpc).
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._errors import UncoveredTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

served: set[tuple[str, int]] = set()
"""Addresses of relays on loopback in this process: what `relay_server` listens on is the way out."""

_LIBRARIES = ("aiohttp", "requests", "urllib3", "niquests", "urllib3_future", "httplib2", "tornado")
"""Whose connections are refused even to loopback: a client of a relay would use them for that."""

_ENTRANCES = (
    ("aiohttp.client", "ClientSession", "_request"),
    ("urllib3.connectionpool", "HTTPConnectionPool", "urlopen"),
    ("urllib3_future.connectionpool", "HTTPConnectionPool", "urlopen"),
    ("http.client", "HTTPConnection", "request"),
)
"""Where a library that may hold open connections is asked for a request."""


@contextmanager
def guarded(note: Callable[[UncoveredTransport], None], allow: Iterable[str] = ()) -> Iterator[None]:
    """Refuse uncovered transports; `note` is told of each refusal, `allow` is "host" or "host:port"."""
    guard = (note, frozenset(allow))
    with _lock:
        _guards.append(guard)
        _install()
    try:
        yield
    finally:
        with _lock:
            _guards.remove(guard)
            if not _guards:
                _uninstall()


@contextmanager
def released(targets: frozenset[tuple[str, int]]) -> Iterator[None]:
    """Let the caller connect to these hosts and ports: a request that is forwarded to be recorded, and only that.

    Names are resolved on other threads too, which do not know the caller: for these it is
    enough that somebody may ask for the name now. To connect is for the caller alone.
    """
    mine = _Released(targets)
    token = _released.set(mine)
    with _lock:
        _resolving.append(mine)
    try:
        yield
    finally:
        _released.reset(token)
        with _lock:
            _resolving.remove(mine)


class _Released:
    def __init__(self, targets: frozenset[tuple[str, int]]) -> None:
        self.targets = targets
        self.addresses: set[tuple[str, int]] = set()
        """What the names were resolved to."""


_released: ContextVar[_Released | None] = ContextVar("tickertape_released", default=None)
_resolving: list[_Released] = []

Guard = tuple["Callable[[UncoveredTransport], None]", frozenset[str]]

# One set of patches for all guards: relays may overlap without being nested, and each
# would put back what another had put there.
_lock = threading.Lock()
_guards: list[Guard] = []
_undo: dict[tuple[Any, str], Any] = {}


def _install() -> None:
    for owner, name, make in _patches():
        if (owner, name) not in _undo:
            _undo[owner, name] = owner.__dict__.get(name)
            setattr(owner, name, make(getattr(owner, name)))


def _uninstall() -> None:
    while _undo:
        (owner, name), before = _undo.popitem()
        if before is None:  # it was inherited
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _free(host: str, port: int | None) -> bool:
    mine = _released.get()
    if (host, port) in served or (mine is not None and (host, port) in mine.targets | mine.addresses):
        return True
    return all(host in allowed or f"{host}:{port}" in allowed for _, allowed in list(_guards))


def _refuse(library: str, target: str) -> UncoveredTransport:
    error = UncoveredTransport(
        f"{library} asked for {target}, which fake_relay does not answer: it answers httpx and httpx2 in process.\n"
        "  remedy: use the relay_server fixture, which plays the same tapes on loopback for every client, "
        f"or let it through with FakeRelay(allow_hosts=[{target.partition('/')[0]!r}])"
    )
    for note, _ in list(_guards):
        note(error)
    return error


def _patches() -> Iterator[tuple[Any, str, Any]]:
    yield socket.socket, "connect", _connect
    yield socket.socket, "connect_ex", _connect
    for name, at in (("sendto", 1), ("sendmsg", 3)):
        if hasattr(socket.socket, name):
            yield socket.socket, name, partial(_send, at)
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
        yield socket, name, _resolve
    for module, owner, name in _ENTRANCES:
        if module in sys.modules and hasattr(sys.modules[module], owner):
            yield getattr(sys.modules[module], owner), name, partial(_enter, module.partition(".")[0])


def _connect(real: Any) -> Any:
    def connect(self: socket.socket, address: Any) -> Any:
        _check(self, address)
        return real(self, address)

    return connect


def _send(at: int, real: Any) -> Any:
    """Datagrams, which need no connection; `at` is the place of the address, or of the flags before it."""

    def send(self: socket.socket, *args: Any) -> Any:
        if len(args) > at and isinstance(args[-1], tuple):
            _check(self, args[-1])
        return real(self, *args)

    return send


def _check(sock: socket.socket, address: Any) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        host, port = address[0], address[1]
        library = _caller()
        if not _free(host, port) and (library or not _loopback(host)):
            raise _refuse(library or "a socket", f"{host}:{port}")


def _resolve(real: Any) -> Any:
    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        port = args[0] if args else None
        asking = [each for each in list(_resolving) if (name, port) in each.targets]
        if name and not asking and not _loopback(name) and not _free(name, port):
            raise _refuse(_caller() or "a socket", f"{name}:{port}" if port is not None else name)
        found = real(host, *args, **kwargs)
        for each in asking:  # of getaddrinfo alone: the others are given no port
            each.addresses.update((str(address[0]), int(address[1])) for *_, address in found)
        return found

    return resolve


def _enter(library: str, real: Any) -> Any:
    def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        host, port, shown = _target(self, args)
        if not _free(host, port) and (library != "http" or not _loopback(host)):
            raise _refuse(_caller() or ("http.client" if library == "http" else library), shown)
        return real(self, *args, **kwargs)

    return request


def _target(client: Any, args: tuple[Any, ...]) -> tuple[str, int | None, str]:
    """Host, port and how to show them, of an aiohttp session's request or of a connection (pool)."""
    host, port = getattr(client, "host", None), getattr(client, "port", None)
    if host is None:
        url = str(args[1]) if len(args) > 1 else ""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    return host.strip("[]"), port, f"{host}:{port}" if port else host


def _loopback(host: str) -> bool:
    if host in ("localhost", "") or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _caller() -> str | None:
    """The library on whose behalf this connection is made, where it is one of the known ones."""
    frame = sys._getframe(1)
    while frame is not None:
        library = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if library in _LIBRARIES:
            outer = frame.f_back
            while outer is not None:  # requests calls urllib3: name what the application called
                name = str(outer.f_globals.get("__name__", "")).partition(".")[0]
                library = name if name in _LIBRARIES else library
                outer = outer.f_back
            return library
        frame = frame.f_back  # type: ignore[assignment]
    return None
