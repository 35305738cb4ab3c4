"""The server's ASGI app: the relay's face on every path, its controls under `/__tickertape__/`.

A request is read, given to its session's `Relay`, and the reply that comes back
is walked (`_exchange.py`). What belongs to HTTP and not to a relay is done here:
CORS, HEAD, ranges, limits, and errors that name the remedy.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount

from ._control import PREFIX, control
from ._exchange import Exchange, IllegalHeader
from ._relay import is_chat
from ._session import SessionError
from ._wire import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from ._journal import Call
    from ._session import Session, Sessions
    from ._transport import Connection

SESSION = "x-tickertape-session"

_LINGER = 5.0
"""Seconds in which what is too large is still read, and thrown away: a connection that is closed with unread
bytes is reset, and the client would never see the 413. nginx does the same (`lingering_timeout 5s`)."""


class TooLarge(Exception):
    """A body above the limit."""


class Gone(Exception):
    """The client left before it had sent all of its request."""


def app(sessions: Sessions, *, url: str, hosts: Iterable[str], max_body: int) -> ASGIApp:
    """The app of a server at `url`, which `hosts` are names of."""
    relay = RelayApp(sessions, url=url, max_body=max_body)
    controls = Starlette(routes=[Mount(PREFIX, app=control(sessions, url=url, hosts=hosts))])

    # What a relay is asked goes by no router and no middleware: each takes its time of every chunk.
    def either(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (controls if scope["path"].startswith(f"{PREFIX}/") else relay)(scope, receive, send)

    return either


class RelayApp:
    """Answers as the relay does, on any path."""

    def __init__(self, sessions: Sessions, *, url: str, max_body: int) -> None:
        self._sessions = sessions
        self._url = url
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        if scope["method"] == "OPTIONS":
            return await _preflight(headers)(scope, receive, send)
        path = _target(scope)
        if path in _BROWSERS_OWN:  # no client asked: nothing for the journal, nor for a verdict
            return await Response(status_code=404)(scope, receive, send)
        if path == "/__tickertape__":
            return await RedirectResponse("/__tickertape__/")(scope, receive, send)
        try:
            session, url = self._route(path, headers)
            body = await _body(receive, headers, self._max_body)
        except SessionError as error:
            return await problem(400, "unknown_session", str(error))(scope, receive, send)
        except TooLarge:
            return await _too_large(self._max_body, receive, send)
        except Gone:
            return
        request = Request(scope["method"], url, headers, body)
        try:
            call = session.answer(request)
        except Exception as mistake:  # the test's own: a fault without a place, a `when` that raised
            session.errors.append(mistake)
            told = f"{type(mistake).__name__}: {mistake}"
            return await problem(500, "tickertape_error", told)(scope, receive, send)
        if call is None:
            return await _unmatched(session, request)(scope, receive, send)
        await self._exchange(call, session, scope, receive, send)

    def _route(self, path: str, headers: dict[str, str]) -> tuple[Session, str]:
        """The session that a request belongs to, and its URL as that session's relay knows it."""
        name = headers.get(SESSION)
        if path.startswith("/@"):
            name, slash, rest = path[2:].partition("/")
            # Links of tapes carry their session's name, those of scenarios are of one session anyway.
            path = path if rest.startswith("+") else slash + rest
        url = self._url + path
        return (self._sessions.owner(url) if name is None else self._sessions[name]), url

    async def _exchange(self, call: Call, session: Session, scope: Scope, receive: Receive, send: Send) -> None:
        assert call.reply is not None
        connection: Connection = scope["state"]["connection"]
        exchange = Exchange(call, connection, send, session.pace, session.feed.changed)
        session.feed.changed(call)
        session.under_way.add(exchange)
        try:
            await exchange.run()
        except IllegalHeader as error:
            session.errors.append(error)
            await problem(500, "illegal_header", str(error))(scope, receive, send)
        finally:
            session.under_way.discard(exchange)


_BROWSERS_OWN = frozenset({"/favicon.ico", "/.well-known/appspecific/com.chrome.devtools.json"})


def problem(status: int, type: str, message: str, **headers: str) -> Response:
    """An error of this server, not of the relay it plays: SDKs are told not to try again."""
    told = {"x-should-retry": "false", "access-control-allow-origin": "*", **headers}
    error = {"message": message, "type": type, "param": None, "code": type}
    return JSONResponse({"error": error}, status_code=status, headers=told)


def _unmatched(session: Session, request: Request) -> Response:
    message = str(session.missed(request))
    path = request.path.rstrip("/")
    expected = "POST" if is_chat(request) else "GET" if path.endswith("/models") else None
    if expected is not None and request.method != expected:
        return problem(405, "method_not_allowed", message, allow=f"{expected}, OPTIONS")
    return problem(404, "unmatched_request", message)


def _preflight(headers: dict[str, str]) -> Response:
    """Fetch, 4.10: any page may ask, with any method and any header (`*` would leave out Authorization)."""
    told = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": headers.get("access-control-request-method", "GET, HEAD, POST"),
        "access-control-allow-headers": headers.get("access-control-request-headers", "*"),
        "access-control-max-age": "600",
        "allow": "GET, HEAD, POST, OPTIONS",
        "vary": "access-control-request-method, access-control-request-headers",
    }
    if headers.get("access-control-request-private-network") == "true":
        told["access-control-allow-private-network"] = "true"
    return Response(status_code=204, headers=told)


def _target(scope: Scope) -> str:
    """Path and query as they were sent, escapes included."""
    query: bytes = scope["query_string"]
    target: bytes = scope["raw_path"] + (b"?" + query if query else b"")
    return target.decode("latin-1")


def _headers(scope: Scope) -> dict[str, str]:
    """Names in lower case, as ASGI gives them; several fields of one name are one (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _body(receive: Receive, headers: dict[str, str], most: int) -> bytes:
    told = headers.get("content-length", "")
    if told.isascii() and told.isdigit() and int(told) > most:
        raise TooLarge
    body, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body.append(message.get("body", b""))
        size += len(body[-1])
        if size > most:
            raise TooLarge
        more = message.get("more_body", False)
    return b"".join(body)


async def _too_large(most: int, receive: Receive, send: Send) -> None:
    message = f"the body is larger than {most} bytes; send less, or start the server with a larger max_body"
    told = problem(413, "request_too_large", message, connection="close")
    await send({"type": "http.response.start", "status": 413, "headers": told.raw_headers})
    await send({"type": "http.response.body", "body": told.body, "more_body": True})
    try:
        async with asyncio.timeout(_LINGER):
            more = True
            while more:
                more = (await receive()).get("more_body", False)
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
