"""Parts of a medium: a player asks for the end of a video before it plays the beginning.

RFC 9110, section 14: one range of bytes is answered with 206. Several at once
are answered with the whole, as section 14.2 lets a server do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ._wire import Data, End, Head, body_of, end_of, head_of

if TYPE_CHECKING:
    from ._wire import Reply, Request

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.IGNORECASE | re.ASCII)
_ABOUT_THE_WHOLE = ("content-length", "content-range", "accept-ranges")


def ranged(reply: Reply, request: Request) -> Reply:
    """The part of a medium that a GET asks for; the whole, told that it has parts, where it asks for none."""
    head = head_of(reply)
    if head is None or head.status != 200 or end_of(reply).how != "eof":
        return reply
    headers = tuple(pair for pair in head.headers if pair[0].lower() not in _ABOUT_THE_WHOLE)
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    # If-Range names a version. These answers have none, so that the condition never holds (13.1.5).
    if asked is None or not (asked[1] or asked[2]) or request.method != "GET" or "if-range" in request.headers:
        return (Head(head.t, 200, (*head.headers, ("accept-ranges", "bytes"))), *reply[1:])
    body = body_of(reply)
    size, end = len(body), end_of(reply)
    first, last = _between(asked[1], asked[2], size)
    if asked[1] and asked[2] and int(asked[1]) > int(asked[2]):  # invalid (14.1.1), hence ignored
        return reply
    if first > last:
        refusal = (*headers, ("content-range", f"bytes */{size}"), ("content-length", "0"))
        return (Head(head.t, 416, refusal), End(head.t))
    told = (("content-range", f"bytes {first}-{last}/{size}"), ("content-length", str(last - first + 1)))
    part = Head(head.t, 206, (*headers, ("accept-ranges", "bytes"), *told))
    return (part, Data(end.t, body[first : last + 1]), End(end.t))


def _between(first: str, last: str, size: int) -> tuple[int, int]:
    """First and last byte, both counted; the first above the last where there is none."""
    if not first:
        return (max(size - int(last), 0), size - 1) if int(last) else (size, -1)
    return int(first), min(int(last), size - 1) if last else size - 1
