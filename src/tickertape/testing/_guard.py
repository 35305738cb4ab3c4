"""Nothing reaches the network while a relay answers in process.

httpx and httpx2 are answered above their connection pools. Every other way out
is refused here: libraries that are known by name, where they are asked for a
request; and, by the interpreter's audit events, every connection, datagram and
name look-up that is not for loopback, by whatever name it was imported.

What cannot be seen from Python is not covered: subprocesses; C libraries that open
sockets of their own (pycurl, curl_cffi, grpc); and what a bare socket sends that was
connected before. The last would be seen at a price: a debugger and the workers of a
test run speak over such sockets.
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
from urllib.request import getproxies

from .._errors import TickertapeError
from ._errors import UncoveredTransport
from ._patches import Places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Target = tuple[str, int | None]
    """Host and port that a request is for; None where no port was told."""
    Note = Callable[[UncoveredTransport], None]

served: set[tuple[str, int]] = set()
"""Addresses of relays on loopback in this process: what `relay_server` listens on is the way out."""

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_EPHEMERAL = 32768
"""From here on systems choose a port of their own, another one in the next run (Linux; IANA's begin at 49152)."""

_LIBRARIES = {
    "aiohttp": "aiohttp",
    "aiohappyeyeballs": "aiohttp",  # connects for it, in tasks of its own
    "requests": "requests",
    "urllib3": "urllib3",
    "niquests": "niquests",
    "urllib3_future": "urllib3_future",
    "httplib2": "httplib2",
    "tornado": "tornado",
}
"""Whose connections are refused even to loopback: a client of a relay would use them for that."""


class Allowed:
    """What `allow_hosts` lets through. Raises `TickertapeError` for what is neither "host" nor "host:port"."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._targets = frozenset(map(_allowed, entries))
        self.hosts = frozenset(host for host, _ in self._targets)

    def __contains__(self, target: Target) -> bool:
        host = _canonical(target[0])
        return (host, None) in self._targets or (host, target[1]) in self._targets


def _allowed(entry: str) -> Target:
    try:
        _ = ipaddress.IPv6Address(entry)
        return _canonical(entry), None
    except ValueError:
        pass
    try:
        parts = urlsplit(f"//{entry}")
        if parts.hostname and parts.netloc == entry and parts.username is None:
            return _canonical(parts.hostname), parts.port
    except ValueError:
        pass
    raise TickertapeError(f"allow_hosts={entry!r}: expected 'host' or 'host:port', such as 'localhost:9000'")


class _Guard:
    """One relay's: whom to tell of refusals, and what may be reached."""

    def __init__(self, note: Note, allowed: Allowed) -> None:
        self.note = note
        self.allowed = allowed
        self.names: dict[str, set[str]] = {}
        """Of an address, the names that are allowed and that it was the answer for."""

    def lets(self, host: str, port: int | None) -> bool:
        return any((name, port) in self.allowed for name in (host, *self.names.get(host, ())))


@contextmanager
def guarded(note: Note, allow: Allowed) -> Iterator[None]:
    """Refuse uncovered transports; `note` is told of each refusal."""
    guard = _Guard(note, allow)
    with _lock:
        _listen()
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

# One set of patches for all guards: relays may overlap without being nested, and each
# would put back what another had put there. Reentrant: what holds it may raise audit events.
_lock = threading.RLock()
_guards: list[_Guard] = []
_places = Places()
_late: set[str] = set()
"""Packages of `_ENTRANCES` whose import has begun while a guard was there."""


def _install() -> None:
    global _installing
    with _lock:
        if _installing or not _guards:  # to patch a class raises audit events, of which this hears
            return
        _installing = True
        try:
            for owner, name, make in _patched():
                _places.put(owner, name, make)
        finally:
            _installing = False


_installing = False


def _uninstall() -> None:
    _late.clear()
    _places.take_away()


def _patched() -> Iterator[tuple[Any, str, Any]]:
    # To learn what names are resolved to, which no audit event tells.
    yield socket, "getaddrinfo", _resolve
    # A name that is given instead of an address is resolved before their events are raised.
    for name, at in (("connect", 0), ("connect_ex", 0), ("sendto", 1), ("sendmsg", 3)):
        if hasattr(socket.socket, name):
            yield socket.socket, name, partial(_addressed, at)
    for module, kind, name, make in _ENTRANCES:
        owner = vars(sys.modules[module]).get(kind) if module in sys.modules else None
        if hasattr(owner, name):
            yield owner, name, make


# -- what is let through ------------------------------------------------------------------


def is_served(host: str, port: int | None) -> bool:
    """Whether a relay of this process listens there."""
    return bool(served) and not {(host, port), (_canonical(host), port)}.isdisjoint(served)


def port_of(scheme: str, port: int | None) -> int | None:
    """The port that a URL means."""
    return _PORTS.get(scheme) if port is None else port


def _free(host: str, port: int | None) -> bool:
    mine = _released.get()
    if is_served(host, port) or (mine is not None and (host, port) in mine.targets | mine.addresses):
        return True
    return all(guard.lets(host, port) for guard in list(_guards))


def _admit(host: str, port: int | None, library: str | None = None, otherwise: str = "a socket") -> None:
    """Raise where nobody may go there; known libraries not even on loopback."""
    library = library or _caller()
    if not _free(host, port) and (library or not _loopback(host) or port in _proxies()):
        raise _refuse(library or otherwise, _shown(host, port))


def _admit_name(host: Any, port: Any = None) -> None:
    """The same for a look-up, where a port is not always told, and none is needed to be allowed."""
    name = _text(host)
    if (
        _free(name, port)
        or (_loopback(name) and port not in _proxies())
        or any((name, port) in each.targets for each in list(_resolving))
        or all(_canonical(name) in guard.allowed.hosts or name in guard.names for guard in list(_guards))
        # A server that binds to all addresses, and `email.utils.make_msgid`, ask for their own name.
        or name == socket.gethostname()
    ):
        return
    raise _refuse(_caller() or "a socket", _shown(name, port))


def _refuse(library: str, target: str) -> UncoveredTransport:
    host, _, port = target.rpartition(":")
    allow = host if port.isdigit() and int(port) >= _EPHEMERAL else target
    error = UncoveredTransport(
        f"{library} asked for {target}, which fake_relay does not answer: it answers httpx and httpx2 in process.\n"
        "  remedy: use the relay_server fixture, which plays the same tapes on loopback for every client, "
        f"or let it through: allow_hosts=[{allow!r}] in @pytest.mark.tickertape(…) or FakeRelay(…)"
    )
    for guard in list(_guards):
        guard.note(error)
    return error


def _shown(host: str, port: Any) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return f"{bracketed}:{port}" if port else bracketed


def _text(host: Any) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else host or ""


def _canonical(host: str) -> str:
    """As names are compared: in lower case, and all of loopback by one name."""
    name = host.strip("[]").lower().rstrip(".")
    return "localhost" if _loopback(name) else name


def _loopback(host: str) -> bool:
    name = host.strip("[]").lower().rstrip(".")
    if name in ("localhost", "") or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _proxies() -> set[int]:
    """The ports on loopback to which the environment, or the system, says that requests are to be sent."""
    ports = set()
    for kind, url in getproxies().items():
        try:
            parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
            if kind != "no" and _loopback(parts.hostname or "elsewhere"):
                ports.add(parts.port or _PORTS.get(parts.scheme, 1080))
        except ValueError:
            continue
    return ports


def _caller() -> str | None:
    """The library on whose behalf this connection is made, where it is one of the known ones."""
    # What the application called: requests calls urllib3, and is the outermost.
    library, frame = None, sys._getframe(1)
    while frame is not None:
        library = _LIBRARIES.get(str(frame.f_globals.get("__name__", "")).partition(".")[0], library)
        frame = frame.f_back  # type: ignore[assignment]
    return library


# -- connections, datagrams, look-ups -----------------------------------------------------


def _listen() -> None:
    """Hear the interpreter's audit events, from the first guard on: a hook cannot be taken back."""
    global _listening
    if not _listening:
        _listening = True
        sys.addaudithook(_heard)


_listening = False


def _heard(event: str, args: tuple[Any, ...]) -> None:
    # Called some hundred thousand times where much is imported: what costs comes last.
    if not _guards:
        return
    if event == "import" and args[0].partition(".")[0] in _PACKAGES:
        _late.add(args[0].partition(".")[0])
    elif _late:  # it may have come so far that there is something to patch
        _install()
        _late.difference_update([name for name in _late if _imported(name)])
    if event in _JUDGED and not getattr(_judged, "already", False):
        _JUDGED[event](*args)


def _imported(package: str) -> bool:
    spec = getattr(sys.modules.get(package), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def _judge_address(sock: Any, address: Any) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6) and address is not None:
        _admit(_text(address[0]), address[1])


def _judge_name(host: Any, port: Any = None, *_: Any) -> None:
    _admit_name(host, port)


_JUDGED: dict[str, Callable[..., None]] = {
    "socket.connect": _judge_address,
    "socket.sendto": _judge_address,
    "socket.sendmsg": _judge_address,
    "socket.getaddrinfo": _judge_name,
    "socket.gethostbyname": _judge_name,
    "socket.gethostbyaddr": _judge_name,
    "socket.getnameinfo": lambda address: _admit_name(address[0]),
}
"""Audit events, by https://docs.python.org/3/library/audit_events.html."""


_judged = threading.local()
"""`already`: within a call of this thread that was judged. A patch beneath may lead elsewhere: the test's own."""


def _trusted(real: Any, *args: Any, **kwargs: Any) -> Any:
    before, _judged.already = getattr(_judged, "already", False), True
    try:
        return real(*args, **kwargs)
    finally:
        _judged.already = before


def _addressed(at: int, real: Any) -> Any:
    """`at` is the place of the address, or of the flags that may stand before it."""

    def call(self: socket.socket, *args: Any) -> Any:
        if len(args) > at and isinstance(args[-1], tuple):
            _judge_address(self, args[-1])
            return _trusted(real, self, *args)
        return real(self, *args)

    return call


def _resolve(real: Any) -> Any:
    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        _admit_name(host, port)  # another patch may be beneath, and raise no event
        found = _trusted(real, host, port, *args, **kwargs)
        _resolved(host, port, found)
        return found

    return getaddrinfo


def _resolved(host: Any, port: Any, found: Iterable[Any]) -> None:
    name, addresses = _text(host), [address for *_, address in found]
    for each in list(_resolving):
        if (name, port) in each.targets:
            each.addresses.update((str(address[0]), int(address[1])) for address in addresses)
    for guard in list(_guards):
        if _canonical(name) in guard.allowed.hosts:
            for address in addresses:
                guard.names.setdefault(str(address[0]), set()).add(name)


# -- libraries ----------------------------------------------------------------------------


def _entrance(targets: Callable[..., Iterator[Target]], library: str | None, otherwise: str, real: Any) -> Any:
    """Judge what is asked for before the library has done anything."""

    def asked(self: Any, *args: Any, **kwargs: Any) -> Any:
        for host, port in targets(self, *args, **kwargs):
            _admit(host, port, (_caller() or library) if library else None, otherwise)
        return real(self, *args, **kwargs)

    return asked


def _resolving_loop(real: Any) -> Any:
    async def getaddrinfo(self: Any, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        _admit_name(host, port)
        found = await real(self, host, port, *args, **kwargs)
        _resolved(host, port, found)
        return found

    return getaddrinfo


def _naming_loop(real: Any) -> Any:
    async def getnameinfo(self: Any, sockaddr: Any, *args: Any, **kwargs: Any) -> Any:
        _admit_name(sockaddr[0])
        return await real(self, sockaddr, *args, **kwargs)

    return getnameinfo


def _of_url(url: str) -> Iterator[Target]:
    parts = urlsplit(url)
    if parts.hostname:
        yield parts.hostname, port_of(parts.scheme, parts.port)


def _of_pool(pool: Any, method: str, url: Any = "", *_: Any, **__: Any) -> Iterator[Target]:
    """urllib3's: by a proxy the pool is the proxy's, and the URL is absolute."""
    yield from _of_url(str(url))
    yield (pool.host or "").strip("[]"), port_of(pool.scheme, pool.port)


def _of_session(session: Any, method: str, url: Any = "", **_: Any) -> Iterator[Target]:
    """aiohttp's: the session's own address is in front of a path."""
    yield from _of_url(str(session._build_url(url)))


def _of_fetch(client: Any, request: Any, *_: Any, **__: Any) -> Iterator[Target]:
    yield from _of_url(str(getattr(request, "url", request)))


def _of_connection(connection: Any, method: str = "", url: str = "", *_: Any, **__: Any) -> Iterator[Target]:
    """http.client's: by a proxy it asks for an absolute URL, or has a tunnel."""
    if "://" in url:
        yield from _of_url(url)
    if connection._tunnel_host:
        yield connection._tunnel_host.strip("[]"), connection._tunnel_port
    yield connection.host.strip("[]"), connection.port


def _of_loop(loop: Any, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Iterator[Target]:
    if host:
        yield _text(host), port


def _of_endpoint(
    loop: Any, factory: Any, local_addr: Any = None, remote_addr: Any = None, **_: Any
) -> Iterator[Target]:
    if isinstance(remote_addr, tuple):
        yield _text(remote_addr[0]), remote_addr[1]


def _known(targets: Callable[..., Iterator[Target]], library: str) -> Callable[[Any], Any]:
    return partial(_entrance, targets, library, library)


def _any(targets: Callable[..., Iterator[Target]], otherwise: str = "a socket") -> Callable[[Any], Any]:
    return partial(_entrance, targets, None, otherwise)


_ENTRANCES: tuple[tuple[str, str, str, Callable[[Any], Any]], ...] = (
    ("aiohttp.client", "ClientSession", "_request", _known(_of_session, "aiohttp")),
    ("urllib3.connectionpool", "HTTPConnectionPool", "urlopen", _known(_of_pool, "urllib3")),
    ("urllib3._async.connectionpool", "AsyncHTTPConnectionPool", "urlopen", _known(_of_pool, "urllib3")),
    ("urllib3_future.connectionpool", "HTTPConnectionPool", "urlopen", _known(_of_pool, "urllib3_future")),
    (
        "urllib3_future._async.connectionpool",
        "AsyncHTTPConnectionPool",
        "urlopen",
        _known(_of_pool, "urllib3_future"),
    ),
    ("tornado.httpclient", "AsyncHTTPClient", "fetch", _known(_of_fetch, "tornado")),
    # httplib2, urllib and xmlrpc keep connections open that are these.
    ("http.client", "HTTPConnection", "putrequest", _any(_of_connection, "http.client")),
    ("http.client", "HTTPConnection", "_tunnel", _any(_of_connection, "http.client")),
    # uvloop opens its sockets in C, which raises no audit event.
    ("uvloop", "Loop", "create_connection", _any(_of_loop)),
    ("uvloop", "Loop", "create_datagram_endpoint", _any(_of_endpoint)),
    ("uvloop", "Loop", "getaddrinfo", _resolving_loop),
    ("uvloop", "Loop", "getnameinfo", _naming_loop),
)
"""Where a library that may hold open connections, or opens them out of sight, is asked: module, class, method."""

_PACKAGES = frozenset(module.partition(".")[0] for module, *_ in _ENTRANCES)
