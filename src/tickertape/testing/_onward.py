"""What a message becomes when it is passed on: headers of one connection off, no compression.

The upstream is asked for `identity`. One that compresses all the same is decoded here,
chunk by chunk, so that the client reads on while it arrives, and the recorder sees text.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from .._errors import TickertapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._wire import Ending

Pairs = tuple[tuple[str, str], ...]

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110, 7.6.1, and the credentials of a proxy: about one connection, not about the message."""
_ASKED = frozenset({"host", "content-length", "accept-encoding", "expect"})
"""Of a request, what whoever sends it on says anew."""


class Compressed(TickertapeError):
    """A body in a coding that cannot be decoded, and so neither be searched for secrets."""


def request_headers(headers: Iterable[tuple[str, str]]) -> Pairs:
    """The headers of a request that go on, and to the tape; names in lower case."""
    pairs = [(name.lower(), value) for name, value in headers]
    off = HOP_BY_HOP | _ASKED | _named(pairs)
    return tuple(pair for pair in pairs if pair[0] not in off)


def response_headers(headers: Iterable[tuple[str, str]]) -> tuple[Pairs, Callable[[bytes], bytes]]:
    """The headers of an answer that go on, and to the tape, and what decodes its chunks.

    Raises `Compressed`.
    """
    pairs = [(name.lower(), value) for name, value in headers]
    codings = [
        coding
        for name, value in pairs
        if name == "content-encoding"
        for coding in map(str.strip, value.lower().split(","))
        if coding not in ("", "identity")
    ]
    off = HOP_BY_HOP | _named(pairs)
    if codings:
        if len(codings) > 1 or codings[0] not in _CODINGS:
            raise Compressed(
                f"the upstream answers in the coding {', '.join(codings)!r}, though it was asked for none: "
                "it cannot be searched for secrets; turn compression off there, or record behind what compresses"
            )
        off |= {"content-encoding", "content-length"}
    decode = _decoder(_CODINGS[codings[0]]) if codings else _as_it_is
    return tuple(pair for pair in pairs if pair[0] not in off), decode


def _named(pairs: Iterable[tuple[str, str]]) -> set[str]:
    """Headers that `Connection` says are its own."""
    options = [value for name, value in pairs if name == "connection"]
    return {option.strip().lower() for value in options for option in value.split(",")}


_CODINGS = {"gzip": 47, "x-gzip": 47, "deflate": 47}
"""By coding, zlib's window bits: 47 takes gzip's and zlib's own header."""


def _decoder(bits: int) -> Callable[[bytes], bytes]:
    inflate = zlib.decompressobj(bits)

    def decode(data: bytes) -> bytes:
        try:
            return inflate.decompress(data)
        except zlib.error as error:
            raise Compressed(f"the upstream's compressed body cannot be decoded: {error}; ask it without") from error

    return decode


def _as_it_is(data: bytes) -> bytes:
    return data


def ending(error: BaseException, *, begun: bool) -> Ending:
    """How a peer ended, by what a client raised; the names are the same in httpx, httpx2, httpcore and httpcore2."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"ConnectError", "ConnectTimeout", "ProxyError"} and not begun:
        return "refused"
    if any(name.endswith("Timeout") for name in names):
        return "timeout"
    return "closed" if "ProtocolError" in names else "reset"
