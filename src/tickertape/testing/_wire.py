"""What travels between a client and a relay, without any I/O.

A request comes in; its answer is a `Reply`: `Head`, then `Data`, then `End`, each
with the time at which it leaves the relay, in seconds after the request
arrived. An adapter (the respx router in process, the server on loopback) walks
the reply and does what the steps say; tapes, scenarios and faults only ever
make or change replies.

    (Head(0.4, 200, …), Data(0.5, b"data: …"), Data(41.3, b"data: [DONE]"), End(41.3))
    (End(0.0, "refused"),)                       no connection at all
    (Head(0.1, 200, …), Data(0.2, b"da"), End(0.2, "reset"))
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Ending = Literal["eof", "reset", "timeout", "closed", "refused"]
"""How a reply ends.

`eof`      the message is whole: the last chunk, or all of Content-Length, was sent
`closed`   the peer closed the connection (FIN) before the message was whole
`reset`    the peer reset the connection (RST)
`timeout`  nothing more is ever sent; the client's own timeout decides
`refused`  there is no connection: nobody listens (only as the first step)
"""


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers."""

    t: float
    status: int
    headers: tuple[tuple[str, str], ...] = ()

    def header(self, name: str) -> str | None:
        """The first of this name, letter case aside; `name` is in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the body that leave together: one chunk of the transfer coding."""

    t: float
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """Nothing follows."""

    t: float
    how: Ending = "eof"


_UNREAD: Any = object()

Step = Head | Data | End
Reply = tuple[Step, ...]
"""Steps in order: at most one `Head`, first; one `End`, last; times never fall."""


@dataclass(frozen=True)
class Request:
    """A request as it arrived, its body read."""

    method: str
    url: str
    """Absolute, query included."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    native: Any = field(default=None, compare=False)
    """The adapter's own object, such as an `httpx.Request`."""

    _json = _UNREAD  # of the class: most requests are never asked for it

    def __repr__(self) -> str:
        # Query and body may hold a key, which a failure report must not tell.
        url, mark, _ = self.url.partition("?")
        return f"<Request {self.method} {url}{'?…' if mark else ''}, {len(self.body)} bytes>"

    @property
    def path(self) -> str:
        return urlsplit(self.url).path  # it remembers what it split last

    @property
    def json(self) -> Any:
        """The decoded body; None where it is no JSON."""
        # No `cached_property`, which gives every request a dict of its own, and before Python 3.12 takes a lock.
        if self._json is _UNREAD:
            try:
                decoded = json.loads(self.body)
            except (ValueError, RecursionError):
                decoded = None
            object.__setattr__(self, "_json", decoded)
        return self._json


def whole(
    status: int,
    body: bytes | str | dict[str, Any] | list[Any],
    *,
    headers: Iterable[tuple[str, str]] = (),
    content_type: str | None = None,
    t: float = 0.0,
) -> Reply:
    """A reply sent at once, with its Content-Length; `t` is the seconds until then."""
    if isinstance(body, dict | list):
        content_type = content_type or "application/json"
        body = json.dumps(body, ensure_ascii=False)
    data = body.encode() if isinstance(body, str) else body
    head = Head(
        t,
        status,
        (("content-type", content_type or "text/plain; charset=utf-8"), *headers, ("content-length", str(len(data)))),
    )
    return (head, Data(t, data), End(t)) if data else (head, End(t))


def streamed(
    status: int,
    chunks: Iterable[Data],
    *,
    headers: Iterable[tuple[str, str]] = (),
    content_type: str = "text/event-stream",
    head_at: float | None = None,
    end: End | None = None,
) -> Reply:
    """A reply sent chunk by chunk (chunked transfer coding: no Content-Length)."""
    body = tuple(chunks)
    first = body[0].t if body else 0.0
    last = body[-1].t if body else first
    head = Head(first if head_at is None else head_at, status, (("content-type", content_type), *headers))
    return (head, *body, end or End(last))


def head_of(reply: Reply) -> Head | None:
    return reply[0] if reply and isinstance(reply[0], Head) else None


def body_of(reply: Reply) -> bytes:
    """All bytes of the body, joined."""
    return b"".join(step.data for step in reply if isinstance(step, Data))


def end_of(reply: Reply) -> End:
    last = reply[-1]
    assert isinstance(last, End)
    return last
