"""What stands in a tape for bytes that are too many, or not to be kept: a small valid file of the same kind."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ._media import SUFFIXES, media
from ._rewrite import Passage
from ._wire import Head

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TYPES = {
    "image/png": ".png",
    "image/webp": ".webp",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "video/mp4": ".mp4",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
}
_OF_THE_BYTES = ("content-range", "etag", "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges")
"""Headers that are true of the bytes that were, and of no others."""
_INLINE = re.compile(r"data:((?:image|video|audio)/[\w.+-]{1,40});base64,([A-Za-z0-9+/_=-]{64,}+)")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{64,}+={0,2}")


def instead(head: Head, path: str, size: int, digest: str, why: str) -> tuple[Head, bytes, dict[str, Any]]:
    """Head and body that stand for a medium of `size` bytes and this SHA-256, and the note that says so."""
    headers = {name.lower(): value for name, value in head.headers}
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    data, content_type = _make(media_type, path, digest, size)
    new = {"content-type": content_type, "content-length": str(len(data))}
    pairs = [(name, new.get(name.lower(), value)) for name, value in head.headers if name.lower() not in _OF_THE_BYTES]
    # Of a part that was asked for, the whole is sent: HTTP allows it, and the part is no more.
    status = 200 if head.status == 206 else head.status
    note = {"stand_in": {"bytes": size, "content_type": media_type, "sha256": digest, "why": why}}
    return Head(head.t, status, tuple(pairs)), data, note


def _make(media_type: str, path: str, digest: str, size: int) -> tuple[bytes, str]:
    number = int(digest[:12], 16)  # other bytes, another stand-in
    suffix = _TYPES.get(media_type)
    kind = media_type.partition("/")[0]
    if suffix is None and kind not in ("image", "video", "audio"):
        suffix = PurePosixPath(path).suffix.lower()
        if suffix not in SUFFIXES:
            return f"{size} bytes, SHA-256 {digest}, are not kept\n".encode(), media_type
        return media("image", number=number, suffix=suffix)[0], media_type
    return media(kind, number=number, suffix=suffix)  # type: ignore[arg-type]  # without a suffix, one of the three


def inline(text: str, most: int) -> Iterator[tuple[int, int, str]]:
    """Edits of a text of an answer: media in it, as base64, that have more than `most` bytes."""
    for match in _INLINE.finditer(text):
        if len(match[2]) * 3 // 4 > most:
            data, content_type = _make(match[1].lower(), "", hashlib.sha256(match[2].encode()).hexdigest(), 0)
            yield match.start(1), match.end(2), f"{content_type};base64,{base64.b64encode(data).decode()}"
    named = isinstance(text, Passage) and text.kind == "json" and text.name in ("b64_json", "bytesBase64Encoded")
    if named and len(text) * 3 // 4 > most and _BASE64.fullmatch(text):
        data, _ = _make("image/png", "", hashlib.sha256(text.encode()).hexdigest(), 0)
        yield 0, len(text), base64.b64encode(data).decode()


# -- requests -----------------------------------------------------------------------------


def uploads(body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body of a request without the files in it: of each, hash and size are kept."""
    content_type = headers.get("content-type", "")
    boundary = re.search(r'boundary="?([^";,]{1,200})"?', content_type)
    if content_type.lower().startswith("multipart/") and boundary:
        mark = b"--" + boundary[1].encode("latin-1", "replace")
        return mark.join(_part(part) for part in body.split(mark))
    try:
        body.decode()
    except UnicodeDecodeError:
        return _told(body)
    return body


def _part(part: bytes) -> bytes:
    head, blank, data = part.partition(b"\r\n\r\n")
    if not blank or b"filename" not in head.lower():
        return part
    return head + blank + _told(data.removesuffix(b"\r\n")) + b"\r\n"


def _told(data: bytes) -> bytes:
    # In the form of the redactor's own placeholders, which it leaves alone.
    return f"REDACTED-file-sha256-{hashlib.sha256(data).hexdigest()[:16]}-{len(data)}".encode()
