"""A connection of the server, as the app may treat it: cut, reset, watched.

ASGI knows whole answers and gone clients. Faults need the socket itself, so
uvicorn's HTTP/1.1 protocol (the one on h11, which is always there; ten times as
fast as a client reads) shows itself to the app, as `scope["state"]["connection"]`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

_RESET_ON_CLOSE = struct.pack("hh" if hasattr(socket, "SO_EXCLUSIVEADDRUSE") else "ii", 1, 0)
"""`struct linger {on, 0 seconds}`: two shorts on Windows, two ints elsewhere."""


class Gathered:
    """A transport that writes at once what is written between `hold()` and `release()`."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: list[bytes] | None = None

    def hold(self) -> None:
        self._held = []

    def release(self) -> None:
        held, self._held = self._held, None
        if held:
            self._transport.write(b"".join(held))

    def write(self, data: bytes) -> None:
        if self._held is None:
            self._transport.write(data)
        else:
            self._held.append(data)

    def close(self) -> None:
        self.release()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Connection(H11Protocol):
    """One connection; it outlives an answer where the client keeps it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.gone: asyncio.Future[None] = self.loop.create_future()
        """Done when the connection is no more, whoever ended it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        self.gathered = Gathered(transport)
        super().connection_made(self.gathered)  # type: ignore[arg-type]
        # asyncio does it for sockets whose protocol is told as TCP, which those of `socket.create_server` are
        # not. Without it a chunk waits for the receipt of the one before: 40 ms.
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.gone.done():
            self.gone.set_result(None)

    @property
    def chunks(self) -> bool:
        """Whether an answer without a Content-Length is sent in chunks: HTTP/1.0 knows none."""
        version: str = self.scope["http_version"]
        return version == "1.1"

    def chunk(self, data: bytes) -> None:
        """One chunk that is not the last. h11 has no state to keep for it, and asking it takes most of the time."""
        if not self.transport.is_closing():
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def writable(self) -> None:
        """Wait for a slow reader: what is not yet on its way is below the high-water mark, or nobody reads."""
        if self.flow.write_paused:
            await self.flow.drain()

    async def flushed(self) -> None:
        """Wait until the system has every byte, or nobody reads any more."""
        self.transport.set_write_buffer_limits(high=0)  # pauses writing if anything is left
        await self.writable()
        self.transport.set_write_buffer_limits()

    async def close(self) -> None:
        """FIN, after what was written."""
        self.transport.close()
        await self.gone

    async def reset(self) -> None:
        """RST, after what was written.

        On Linux a reader gets the bytes before it gets the reset; elsewhere the
        reset may overtake what it has not read yet, as with any server.
        """
        await self.flushed()
        if (sock := self.transport.get_extra_info("socket")) is not None and not self.gone.done():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()
        await self.gone
