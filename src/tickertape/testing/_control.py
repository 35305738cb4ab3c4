"""The control surface: what Python says to a relay, over HTTP, for suites in other languages.

It is documented by `openapi.json`, which it serves. A request is let in when its
Host is a name of this server and its Origin, if any, is the server's own: a page
that a name server leads here (DNS rebinding) is not, nor is another site's form.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from .._errors import TapeError, TickertapeError
from ._gallery import gallery, names_in, project_folders
from ._inspect import Reading, detail, medium_of, summary, unread
from ._orders import failed, played
from ._ranges import ranged
from ._session import DEFAULT, SessionError
from ._wire import Head, body_of, whole
from ._wire import Request as Asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ._feed import Change
    from ._journal import Call
    from ._session import Session, Sessions

    Readings = WeakKeyDictionary[Call, Reading]
    Endpoint = Callable[[Request], Awaitable[Response]]

PREFIX = "/__tickertape__"
SESSION = "x-tickertape-session"
MOST_BYTES = 1 << 20
"""Of a control call: nginx's own `client_max_body_size`."""
_LOOK = 0.05
"""Seconds between two looks at the journal, for whoever watches it: faster than an eye."""
_GONE = b"event: reset\ndata: {}\n\n"
"""Of a session that a reset of the server ended; who looks again looks at the next one of its name."""
_KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment tells proxies that the feed is alive, as HTML, 9.2.7 advises."""

_SAFE = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
"""Headers of what a browser shows."""


class NoControl(TickertapeError):
    """A control call that is refused, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def control(sessions: Sessions, *, url: str, hosts: Iterable[str]) -> ASGIApp:
    """The app under `/__tickertape__`, for a server at `url` that `hosts` (`name:port`) are names of."""
    desk = Desk(sessions, url)
    routes = [Route(path, getattr(desk, name), methods=[method]) for method, path, name in ROUTES]
    inner = Starlette(routes=routes, exception_handlers={TickertapeError: _told, 404: _nothing, 405: _nothing})
    return Door(inner, frozenset(hosts))


ROUTES = (
    ("GET", "/", "index"),
    ("GET", "/openapi.json", "document"),
    ("POST", "/play", "play"),
    ("POST", "/fail", "fail"),
    ("POST", "/reset", "reset"),
    ("GET", "/journal", "journal"),
    ("GET", "/verdict", "verdict"),
    ("GET", "/tapes", "tapes"),
    ("GET", "/events", "events"),
    ("GET", "/calls/{number}", "call"),
    ("GET", "/calls/{number}/media/{key}", "medium"),
)
"""Method, path and the method of `Desk` that answers; `openapi.json` tells the same."""


class Door:
    """Lets in who may come in."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(scope)) is not None:
            await _error(403, "forbidden", refusal)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        told = {name: [v.decode("latin-1") for n, v in scope["headers"] if n == name] for name in (b"host", b"origin")}
        expected = ", ".join(sorted(self._hosts))
        if [host.lower() in self._hosts for host in told[b"host"]] != [True]:
            return f"Host {told[b'host']}: expected one of {expected}; call the server by its own address"
        own = {f"http://{host}" for host in self._hosts}
        if not all(origin.lower() in own for origin in told[b"origin"]):
            return f"Origin {told[b'origin']}: only pages of this server may use its controls; call it from a program"
        return None


class Desk:
    """The control calls."""

    def __init__(self, sessions: Sessions, url: str) -> None:
        self._sessions = sessions
        self._url = url
        self._readings: Readings = WeakKeyDictionary()
        """Of the calls that somebody looked at: each is read once."""

    async def index(self, request: Request) -> Response:
        """What there is: for a browser the inspector, for a program where everything is."""
        if _prefers_html(request.headers.get("accept", "")):
            document, policy = page()
            return Response(document, 200, {**_SAFE, "content-security-policy": policy, "vary": "accept"}, "text/html")
        links = [PREFIX + path for method, path, _ in ROUTES if method == "GET" and path != "/"]
        names = [session.name for session in self._sessions]
        return _json({"base_url": self._sessions.default.base_url, "links": links, "sessions": names})

    async def document(self, request: Request) -> Response:
        return _json({**openapi(), "servers": [{"url": self._url + PREFIX}]})

    async def play(self, request: Request) -> Response:
        session = self._session(request)
        what, options = played(await _body(request), session.options.tapes)
        session.play(what, **options)
        return _json({"session": session.name, "played": getattr(what, "name", None) or repr(what)}, 201)

    async def fail(self, request: Request) -> Response:
        session = self._session(request)
        session.fail(**failed(await _body(request)))
        return _json({"session": session.name}, 201)

    async def reset(self, request: Request) -> Response:
        session = self._session(request)
        forgot = len(session.calls)
        session.cut()
        self._sessions.end(session.name)
        return _json({"session": session.name, "forgot": {"calls": forgot}})

    async def journal(self, request: Request) -> Response:
        session = self._session(request)
        calls = list(session.calls)
        # What may be shown of a request takes a while to tell, and streams are under way.
        told = await asyncio.to_thread(lambda: [call.as_dict() for call in calls])
        return _json({"session": session.name, "calls": told})

    async def verdict(self, request: Request) -> Response:
        session = self._session(request)
        allow = [name for told in request.query_params.getlist("allow") for name in told.split(",") if name]
        # Of thousands of calls a judge takes a while, and streams are under way.
        findings = await asyncio.to_thread(session.findings, allow)
        found = [{"name": f.name, "calls": list(f.calls), "explanation": f.explanation} for f in findings]
        told = {
            "unmatched": session.unmatched,
            "unplayed": session.unplayed,
            "errors": [f"{type(error).__name__}: {error}" for error in session.errors],
        }
        passed = not found and not any(told.values())
        return _json({"session": session.name, "passed": passed, "findings": found, **told})

    async def tapes(self, request: Request) -> Response:
        own = [name for folder in project_folders(self._sessions.options.tapes) for name in names_in(folder)]
        return _json({"tapes": sorted({*own, *gallery()})})

    async def call(self, request: Request) -> Response:
        session, call = self._call(request)
        reading = self._readings.setdefault(call, Reading(call))

        def told() -> Response:
            return _json(detail(call, findings=session.findings(), peek=session.peek, reading=reading))

        return await asyncio.to_thread(told)  # a long answer takes a while to read: the relay goes on

    async def medium(self, request: Request) -> Response:
        """One of the media that a call shows, without a request to the relay, which would be in the journal."""
        session, call = self._call(request)
        found = await asyncio.to_thread(medium_of, call, request.path_params["key"], session.peek)
        if found is None:
            raise NoControl(404, f"call {call.number} has no such medium that can be shown")
        data, content_type = found
        asked = Asked("GET", str(request.url), dict(request.headers))
        head, *rest = ranged(whole(200, data, content_type=content_type), asked)
        assert isinstance(head, Head)
        headers = {**_SAFE, "content-security-policy": "sandbox; default-src 'none'", **dict(head.headers)}
        return Response(body_of((head, *rest)), head.status, headers)

    def _call(self, request: Request) -> tuple[Session, Call]:
        session, number = self._session(request), request.path_params["number"]
        whole = number.isascii() and number.isdigit() and len(number) < 10
        if not whole or (call := session.calls.numbered(int(number))) is None:
            there = f"there were {session.calls.seen} calls, counted from 1, of which {len(session.calls)} are kept"
            raise NoControl(404, f"call {number[:20]!r}: {there}")
        return session, call

    async def events(self, request: Request) -> Response:
        """Server-sent events of the journal's changes."""
        session = self._session(request)
        last = request.headers.get("last-event-id", "")
        since = int(last) if last.isascii() and last.isdigit() and len(last) < 16 else 0
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        feed = _lines(session, self._sessions, self._readings) if request.query_params.get("form") == "lines" else None
        return StreamingResponse(
            feed or _feed(session, self._sessions, since), media_type="text/event-stream", headers=headers
        )

    def _session(self, request: Request) -> Session:
        """Named in the header, or, for an EventSource, which cannot send one, in the query."""
        name = request.headers.get(SESSION) or request.query_params.get("session") or DEFAULT
        return self._sessions[name]


async def _feed(session: Session, sessions: Sessions, since: int) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    quiet = 0.0
    while True:
        for change in session.feed.since(since):
            call = change.call
            data = _bare(change) if call is None else await asyncio.to_thread(call.as_dict)
            since, quiet = change.id, 0.0
            yield f"id: {change.id}\nevent: {change.name}\ndata: {_dump(data)}\n\n".encode()
        if all(each.feed is not session.feed for each in sessions):
            yield _GONE
            return
        await asyncio.sleep(_LOOK)
        if (quiet := quiet + _LOOK) >= _KEEP_ALIVE:
            quiet = 0.0
            yield b": alive\n\n"


def _bare(change: Change) -> dict[str, Any]:
    """What is told of a change that has no call to show."""
    return {} if change.number is None else {"number": change.number}


async def _lines(session: Session, sessions: Sessions, readings: Readings) -> AsyncIterator[bytes]:
    """The feed of the inspector: a line of each call, sent again when more is known of it, and `caught_up`
    when all is told. What ended is read one by one, in a thread: there may be thousands of them."""
    yield b"retry: 1000\n\n"
    since, quiet, behind = 0, 0.0, True
    left: list[Call] = []
    while True:
        changes = session.feed.since(since)
        if not since:  # an earlier reset is no news to who comes now
            changes = [change for change in changes if change.call is not None]
        for change in changes:
            call, data, since = change.call, _bare(change), change.id
            if change.name == "reset":
                left.clear()
            elif change.name == "forgotten":
                left = [each for each in left if each.number != change.number]
            elif call is not None and change.name == "started" and call.ended is None:
                readings.setdefault(call, Reading(call))
            if call is not None:
                data = summary(call, readings.get(call))
                if unread(call):
                    left.append(call)
            yield f"event: {change.name}\ndata: {_dump(data)}\n\n".encode()
        quiet, behind = (0.0, True) if changes else (quiet + _LOOK, behind)
        if left:
            call = left.pop()
            await asyncio.to_thread(getattr, call, "task")
            yield f"event: progressed\ndata: {_dump(summary(call))}\n\n".encode()
            continue
        if behind:
            behind = False
            yield b"event: caught_up\ndata: {}\n\n"
        if all(each.feed is not session.feed for each in sessions):
            yield _GONE
            return
        await asyncio.sleep(_LOOK)
        if quiet >= _KEEP_ALIVE:
            quiet = 0.0
            yield b": alive\n\n"


@cache
def page() -> tuple[bytes, str]:
    """The inspector and its Content-Security-Policy: it runs what stands in it and nothing else, and speaks to
    this server only. What relays and clients write gets into it as text, and could do nothing as markup."""
    document = (resources.files(__package__) / "inspector.html").read_bytes()
    hashes = {}
    for element in (b"script", b"style"):
        (inside,) = re.findall(rb"<%b>(.*?)</%b>" % (element, element), document, re.DOTALL)
        hashes[element] = b64encode(sha256(inside).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes[b'script']}'; style-src 'sha256-{hashes[b'style']}'; "
        "connect-src 'self'; img-src 'self' data:; media-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return document, policy


def _prefers_html(accept: str) -> bool:
    """RFC 9110, 12.5.1: a page is for who names it before JSON, as browsers do; `*/*` is a program."""
    told: dict[str, float] = {}
    for each in accept.lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        told[name] = float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight) else 0.0
    json_ = told.get("application/json", told.get("application/*", told.get("*/*", 0.0)))
    return told.get("text/html", 0.0) > json_


@cache
def openapi() -> dict[str, Any]:
    """The document, as it is kept; without `servers`."""
    document: dict[str, Any] = json.loads((resources.files(__package__) / "openapi.json").read_bytes())
    return document


async def _body(request: Request) -> dict[str, Any]:
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_BYTES:
                raise NoControl(413, f"the body is larger than {MOST_BYTES} bytes; a tape is played by its name")
    except ClientDisconnect as error:  # nobody reads the answer; half an order is none
        raise NoControl(400, "the client left before it had sent all of its body") from error
    try:
        told = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise NoControl(400, f"the body is no JSON ({error}); expected an object, see {PREFIX}/openapi.json") from error
    if not isinstance(told, dict):
        raise NoControl(400, f"the body: expected an object, found {type(told).__name__}; see {PREFIX}/openapi.json")
    return told


async def _told(request: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, TapeError) else error.status if isinstance(error, NoControl) else 400
    kind = {404: "no_tape", 413: "request_too_large"}.get(status, "invalid_request")
    return _error(
        status, "unknown_session" if isinstance(error, SessionError) else kind, str(error), close=status == 413
    )


async def _nothing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    allow = getattr(error, "headers", None) or {}
    there = ", ".join(f"{method} {PREFIX}{path}" for method, path, _ in ROUTES)
    return _error(
        status,
        "no_control",
        f"{request.method} {request.url.path}: there is no such control; there are {there}",
        **allow,
    )


def _error(status: int, type: str, message: str, *, close: bool = False, **headers: str) -> Response:
    if close:
        headers["connection"] = "close"
    return _json({"error": {"message": message, "type": type}}, status, headers)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    told = {"cache-control": "no-store", "x-content-type-options": "nosniff", **(headers or {})}
    return Response(_dump(value) + "\n", status, told, "application/json")


def _dump(value: Any) -> str:
    # Escaped: a lone surrogate in a prompt cannot be UTF-8, and no line break ends an event.
    return json.dumps(value)
