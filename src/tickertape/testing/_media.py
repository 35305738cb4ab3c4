"""Bytes that a decoder opens, and that tell which result they are.

Two results never have equal bytes: every file carries its number where its
format keeps a comment. The same number gives the same bytes, on every machine:
nothing here is compressed when it is asked for.
"""

from __future__ import annotations

import struct
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING
from zlib import adler32, crc32

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..events import Kind

SIDE = 32
"""Pixels, of every picture and clip."""


def media(kind: Kind, *, number: int = 0, suffix: str | None = None) -> tuple[bytes, str]:
    """A file and its content type.

    `kind` picks `.png`, `.mp4` or `.mp3` where no `suffix` does; `number` may be
    of any size, 0 or more. Raises `ValueError` for another suffix or a negative number.
    """
    suffix = suffix or {"image": ".png", "video": ".mp4", "audio": ".mp3"}[kind]
    if suffix not in _MAKERS:
        raise ValueError(f"expected a suffix of {', '.join(_MAKERS)}, found {suffix!r}: use one of these")
    if number < 0:
        raise ValueError(f"expected a number that is 0 or more, found {number}")
    make, content_type = _MAKERS[suffix]
    return make(number, f"tickertape {number}".encode()), content_type


@cache
def _seed(name: str) -> bytes:
    return (resources.files(__package__) / "media" / name).read_bytes()


def _png(number: int, comment: bytes) -> bytes:
    """One colour, in a `tEXt` chunk its number (W3C PNG, 11.3.3)."""
    colour = struct.pack(">I", 0x336699 + number % 0xFFFFFF * 0x10001 & 0xFFFFFF)[1:]
    rows = (b"\0" + colour * SIDE) * SIDE
    # One stored block (RFC 1951, 3.2.4): the same bytes whatever zlib there is.
    stored = struct.pack("<BHH", 1, len(rows), len(rows) ^ 0xFFFF) + rows
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc32(name + body))
        for name, body in (
            (b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)),
            (b"tEXt", b"Comment\0" + comment),
            (b"IDAT", b"\x78\x01" + stored + struct.pack(">I", adler32(rows))),
            (b"IEND", b""),
        )
    )


def _riff(form: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    body = form + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp(number: int, comment: bytes) -> bytes:
    """The extended format, with an XMP chunk (RFC 9649, 2.7)."""
    seed = _seed("still.webp")  # RIFF, its length, WEBP, then one chunk: VP8, its length, its data
    picture = seed[20 : 20 + struct.unpack_from("<I", seed, 16)[0]]
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><!-- %b --></x:xmpmeta>' % comment
    canvas = struct.pack("<I", 0x04) + struct.pack("<I", SIDE - 1)[:3] * 2
    return _riff(b"WEBP", (b"VP8X", canvas), (b"VP8 ", picture), (b"XMP ", xmp))


def _jpg(number: int, comment: bytes) -> bytes:
    """A COM segment after the start of the image (ITU-T T.81, B.2.4.5)."""
    seed = _seed("still.jpg")
    return seed[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + seed[2:]


def _gif(number: int, comment: bytes) -> bytes:
    """A comment extension before the trailer (GIF89a, 24)."""
    return _seed("still.gif")[:-1] + b"\x21\xfe" + bytes((len(comment),)) + comment + b"\0\x3b"


def _mp4(number: int, comment: bytes) -> bytes:
    """A `free` box at the end (ISO/IEC 14496-12, 8.1.2)."""
    return _seed("clip.mp4") + struct.pack(">I", len(comment) + 8) + b"free" + comment


def _mp3(number: int, comment: bytes) -> bytes:
    """An ID3v2.3 tag with a title before the frames; its own length has 7 bits a byte."""
    frame = b"TIT2" + struct.pack(">IH", len(comment) + 1, 0) + b"\0" + comment
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + frame + _seed("tone.mp3")


def _wav(number: int, comment: bytes) -> bytes:
    """A tenth of a second at 500 Hz, 8 kHz, 8 bit, and an INFO list."""
    comment += b"\0" * (1 + (len(comment) + 1) % 2)
    info = b"INFO" + b"ICMT" + struct.pack("<I", len(comment)) + comment
    wave = (b"\xa0" * 8 + b"\x60" * 8) * 50
    return _riff(b"WAVE", (b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)), (b"LIST", info), (b"data", wave))


_MAKERS: dict[str, tuple[Callable[[int, bytes], bytes], str]] = {
    ".png": (_png, "image/png"),
    ".webp": (_webp, "image/webp"),
    ".jpg": (_jpg, "image/jpeg"),
    ".gif": (_gif, "image/gif"),
    ".mp4": (_mp4, "video/mp4"),
    ".mp3": (_mp3, "audio/mpeg"),
    ".wav": (_wav, "audio/wav"),
}

SUFFIXES = frozenset(_MAKERS)
"""What files can be made."""
