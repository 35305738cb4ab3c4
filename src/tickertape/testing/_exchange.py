"""One reply on its way through one connection, its times, chunks and end made real.

The twin of `fake_relay.Exchange`: what that one raises as an exception is here
done to the socket.

    Data      one chunk of the transfer coding, in a write of its own
    eof       the last chunk, or all of Content-Length
    closed    FIN before the message is whole
    reset     RST
    timeout   silence, until the client leaves
    refused   RST before any byte: a server that listens cannot refuse
"""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from .._errors import TickertapeError
from ._onward import raw
from ._wire import Data, End, Head, end_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import Send

    from ._journal import Call, Ended
    from ._pace import Pace
    from ._transport import Connection
    from ._wire import Reply, Step

_SLICE = 1 << 16
"""Bytes of a body with a Content-Length that are written at once. Its pieces are not seen by any client,
and what a reader that leaves was given is known to so many bytes (and to what its system has buffered)."""
_TURN = 64
"""Chunks without a pause after which other connections have their turn."""

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""RFC 9110, 7.6.1: headers about the connection that was recorded, not about this one."""
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110, 5.6.2: token."""
_UNSAFE = re.compile(r"[\0\r\n]")
"""RFC 9110, 5.5: what ends a field value, or may for a recipient."""


class IllegalHeader(TickertapeError, ValueError):
    """A header of an answer that would be another header, or another answer, on the wire."""


class Exchange:
    """Walks a call's reply. `changed` is told when the call has changed."""

    def __init__(
        self, call: Call, connection: Connection, send: Send, pace: Pace, changed: Callable[[Call], None]
    ) -> None:
        assert call.reply is not None
        self._call = call
        self._reply: Reply = call.reply
        self._connection = connection
        self._send = send
        self._pace = pace
        self._changed = changed
        self._silent = call.request.method == "HEAD"
        self._chunked = self._direct = True

    async def run(self) -> None:
        """Send all of it, or as much as the client stays for. Raises `IllegalHeader` before the first byte."""
        headers = headers_of(self._reply)
        self._chunked = b"content-length" not in {name.lower() for name, _ in headers}
        self._direct = self._chunked and self._connection.chunks
        try:
            await self._steps(headers)
        finally:
            self._connection.gathered.release()

    async def _steps(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        now, gone = self._pace.now - self._call.time, self._connection.gone
        for at, step in enumerate(self._reply, 1):
            if step.t > now:
                await self._due(step)
                now = self._pace.now - self._call.time
            if at % _TURN == 0:
                await asyncio.sleep(0)
            if gone.done():
                return self._left()
            if isinstance(step, Data):
                if not self._silent:
                    await self._body(step, self._reply[at])
            elif isinstance(step, Head):
                if isinstance(following := self._reply[at], Data) and following.t <= now and not self._silent:
                    self._connection.gathered.hold()  # one packet for both
                await self._send({"type": "http.response.start", "status": step.status, "headers": headers})
            else:
                return await self._finish(step)

    def cut(self) -> None:
        """The server itself ends it: a reset between tests, the end of the run. From the event loop only."""
        self._end("hang" if end_of(self._reply).how == "timeout" else "closed")
        self._connection.transport.abort()

    async def _due(self, step: Step) -> None:
        """Wait for the step's time, or until the client leaves."""
        gone = self._connection.gone
        while (seconds := self._pace.pause(self._call.time + step.t)) > 0 and not gone.done():
            await asyncio.wait([gone], timeout=seconds)

    async def _body(self, step: Data, following: Step) -> None:
        # Told before it is done: a client that has read the end may look at the journal at once.
        last = isinstance(following, End) and following.how == "eof" and following.t <= step.t
        size = len(step.data) if self._chunked else _SLICE
        for start in range(0, len(step.data), size or 1):
            piece = step.data[start : start + size]
            if self._connection.flow.write_paused:
                await self._connection.writable()
            if self._connection.gone.done():
                return
            self._call.received += len(piece)
            whole = last and start + size >= len(step.data)
            if whole:
                self._end("eof")
            else:
                self._changed(self._call)
            if self._direct and not whole:
                self._connection.chunk(piece)
            else:
                await self._send({"type": "http.response.body", "body": piece, "more_body": not whole})
            self._connection.gathered.release()

    async def _finish(self, step: End) -> None:
        if step.how == "timeout":
            await self._connection.gone
            self._end("timeout")
        elif step.how == "closed":
            self._end("closed")
            await self._connection.close()
        elif step.how in ("reset", "refused"):
            self._end(step.how)
            await self._connection.reset()
        elif self._call.ended is None:
            self._end("eof")
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _left(self) -> None:
        """SDKs go after `[DONE]`, without reading the end behind it: that is no leaving."""
        whole = self._call.received == _size(self._reply) and end_of(self._reply).how == "eof"
        self._end("eof" if whole else "left")

    def _end(self, how: Ended) -> None:
        if self._call.ended is None:
            self._call.ended = how
            self._call.ended_at = self._pace.now
            self._changed(self._call)


def headers_of(reply: Reply) -> Sequence[tuple[bytes, bytes]]:
    """The headers as they are sent; any web page may read the answer.

    Headers of the recorded connection are left out, and a Content-Length that
    cannot be kept: the body may have been recorded compressed, or changed.
    """
    head = reply[0]
    if not isinstance(head, Head):
        return ()
    return _sent(head.headers, _size(reply), end_of(reply).how == "eof", len(reply))


def _size(reply: Reply) -> int:
    """Bytes of the body."""
    return sum([len(step.data) for step in reply if isinstance(step, Data)])


@lru_cache(maxsize=64)  # the same few tapes are played over and over
def _sent(headers: tuple[tuple[str, str], ...], size: int, eof: bool, steps: int) -> Sequence[tuple[bytes, bytes]]:
    sent: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if not _NAME.fullmatch(name) or _UNSAFE.search(value):
            raise IllegalHeader(
                f"header {name[:80]!r}: {value[:80]!r}: expected a name of letters and digits and a value on one line; "
                "take the line break out of the tape or the fault"
            )
        key = name.lower()
        if key in _HOP_BY_HOP or (key == "content-length" and not _kept(value, size, eof, steps)):
            continue
        sent.append((name.encode(), raw(value.strip())))
    if not any(name.lower() == b"access-control-allow-origin" for name, _ in sent):
        sent += [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*")]
    return tuple(sent)


def _kept(value: str, size: int, eof: bool, steps: int) -> bool:
    if not (value.isascii() and value.isdigit()):
        return False
    if steps == 2:  # no body at all: the answer to HEAD, or one that breaks before it
        return True
    return int(value) == size if eof else int(value) >= size
