"""Links of tapes on loopback: `https://host/path` is `http://127.0.0.1:PORT/+host/path`.

The path and the query stay as they are, because readers tell media by them (a
suffix, `/cdn/download/` beside `/cdn/`). What stands between is reversible: a
plus begins no host, so `/+host/` was https and `/+http+host/` was http.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ._wire import Request

if TYPE_CHECKING:
    from ._facts import Interaction
    from ._wire import Reply
    from .tape import Tape

# A URL inside another one (`?url=https://…`, `/fetch/https://…`) is a part of it and stays.
_ELSEWHERE = re.compile(r"(?<![=/&])(https?)://([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?)(?![\w@:])")
_HERE = re.compile(r"/\+(?:(http)\+)?([^/?#+]+)(.*)", re.DOTALL)


def to_loopback(text: str, origin: str) -> str:
    """The text with every link to elsewhere led to `origin`, such as `http://127.0.0.1:4321`."""
    for start, end, moved in reversed(edits(text, origin)):
        text = text[:start] + moved + text[end:]
    return text


def from_loopback(url: str, origin: str) -> str:
    """What was recorded, of one URL; any other URL stays as it is."""
    moved = _HERE.fullmatch(url.removeprefix(origin)) if url.startswith(origin) else None
    return url if moved is None else f"{moved[1] or 'https'}://{moved[2]}{moved[3]}"


def edits(text: str, origin: str) -> list[tuple[int, int, str]]:
    """What `to_loopback` changes: start, end and the new text of each scheme and host, in order."""
    here = urlsplit(origin).netloc
    return [
        (*found.span(), f"{origin}/+{'http+' if found[1] == 'http' else ''}{found[2]}")
        for found in _ELSEWHERE.finditer(text)
        if found[2] != here
    ]


def moved_to(origin: str, tape: Tape) -> Tape:
    """The tape with every link in its answers led to `origin`, and what it recorded behind them too."""
    links: dict[str, str] = {}

    def note(text: str) -> list[tuple[int, int, str]]:
        found = edits(text, origin)
        for _, end, new in found:
            rest = re.match(r"[^\s\"'<>()\[\]|\\]*", text[end:])
            assert rest is not None
            links.setdefault(rest[0].partition("#")[0], new + rest[0])
        return found

    from ._rewrite import rewrite_reply

    replies = [rewrite_reply(each.reply, note) for each in tape.interactions]
    changed = [_moved(each, reply, links) for each, reply in zip(tape.interactions, replies, strict=True)]
    return replace(tape, interactions=tuple(changed))


def _moved(interaction: Interaction, reply: Reply, links: dict[str, str]) -> Interaction:
    """An interaction whose request, if it followed a link, follows where that leads now."""
    request = interaction.request
    if request is not None and not interaction.is_chat:
        parts = urlsplit(request.url)
        link = links.get(parts.path + (f"?{parts.query}" if parts.query else ""))
        if link is not None:
            request = Request(request.method, link, request.headers, request.body)
    return replace(interaction, request=request, reply=reply)
