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
    decode = _Inflate(bare=codings[0] == "deflate").decode if codings else _as_it_is
    return tuple(pair for pair in pairs if pair[0] not in off), decode


def raw_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Headers as bytes, which they came as: httpx takes text for ASCII. What was written by hand may be UTF-8."""
    return [(raw(name), raw(value)) for name, value in headers]


def raw(text: str) -> bytes:
    """A name or value of a header as bytes."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _named(pairs: Iterable[tuple[str, str]]) -> set[str]:
    """Headers that `Connection` says are its own."""
    options = [value for name, value in pairs if name == "connection"]
    return {option.strip().lower() for value in options for option in value.split(",")}


_CODINGS = ("gzip", "x-gzip", "deflate")
_WRAPPED, _BARE = 47, -15
"""zlib's window bits: for gzip's and zlib's own header, and for deflate without one, which some send as `deflate`."""


class _Inflate:
    """A compressed body, chunk by chunk: gzip of one member or several, deflate with its header or, `bare`, without."""

    def __init__(self, *, bare: bool) -> None:
        self._bare = bare
        self._inflate = zlib.decompressobj(_WRAPPED)
        self._seen = b""
        """What came of a member before its first byte was decoded."""
        self._begun = False
        """Whether there was such a byte."""
        self._members = 0
        self._done = False

    def decode(self, data: bytes) -> bytes:
        decoded = []
        while data and not self._done:
            try:
                new = self._inflate.decompress(data)
            except zlib.error as error:
                data = self._again(data, error)
                continue
            decoded.append(new)
            self._begun = self._begun or bool(new)
            self._seen = b"" if self._begun else self._seen + data
            data = b""
            if self._inflate.eof:
                data, self._inflate = self._inflate.unused_data, zlib.decompressobj(_WRAPPED)
                self._members += 1
                self._bare = self._begun = False
                self._seen = b""
        return b"".join(decoded)

    def _again(self, data: bytes, error: zlib.error) -> bytes:
        """What is to be decoded in another way, from its start."""
        if self._members and not self._begun:  # no member, but padding, which every client leaves alone
            self._done = True
            return b""
        if not self._bare or self._begun:
            raise Compressed(f"the upstream's compressed body cannot be decoded: {error}; ask it without") from error
        self._bare = False
        self._inflate = zlib.decompressobj(_BARE)
        return self._seen + data


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
