"""Changing text inside recorded bytes without harming their form.

    rewrite_reply(reply, lambda text: [(m.start(), m.end(), "…") for m in SECRET.finditer(text)])

What is to be changed is asked for every text of a message, decoded: header values,
the names and values of a query, the strings of JSON at any depth, lines of a stream
that are no JSON, pages, plain text; and what a stream says in deltas is asked joined,
for a word may be cut by frames. An edit is written back in the place's own form
(percent-encoded, or escaped as JSON) over the characters it replaces, and nothing
else is written: where no edit hits, every byte stays, spacing, escapes, CRLF and
broken UTF-8 included.

- An edit over several deltas goes into the first of them; the others lose their part,
  and one that loses all stays, empty.
- Steps keep their number and their times. An edit over several chunks is divided among
  them by what each loses, at characters; a chunk is left empty only where the edit has
  fewer characters than it had chunks. Chunks are cut inside a character only where they were.
- Bodies that are media, or compressed, hold no text: they are not read.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from typing import Literal as OneOf
from urllib.parse import quote

from ..envelope import _kind
from ._spans import apply, decode_query, frames, literals
from ._wire import Data, Head, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ._spans import Edit, Kind, Literal, Path

    Side = OneOf["request", "response"]


class Passage(str):
    """A text of a message, decoded, that knows where it stands; this is what is asked for edits.

    A `number` is a JSON number as written: an edit that makes it no number makes it a string.
    """

    __slots__ = ("kind", "name", "side", "where")
    kind: Kind
    name: str
    """Of the header (in lower case), of the query's parameter, or the nearest JSON key; may be empty."""
    side: Side
    where: str
    """For people: `response frame 3 $.error.message`."""

    @classmethod
    def of(cls, text: str, kind: Kind, name: str, side: Side, where: str) -> Passage:
        passage = cls(text)
        passage.kind, passage.name, passage.side, passage.where = kind, name, side, where
        return passage


def rewrite_reply(reply: Reply, edits: Callable[[str], Iterable[Edit]]) -> Reply:
    """The reply with the edits made; the very same one where there are none.

    `edits` is given each text, a `Passage`, and returns edits of it that do not overlap;
    any that do, or that lie outside, are a `ValueError`.
    """
    head = reply[0] if reply and isinstance(reply[0], Head) else None
    reader = _Reader(edits, "response")
    chunks = [step.data for step in reply if isinstance(step, Data)]
    headers = head.headers if head else ()
    rewritten = reader.headers(headers)
    body = _rewrite_body(reader, chunks, dict(_lowered(headers)))
    if body is not None:
        grown = sum(map(len, body)) - sum(map(len, chunks))
        rewritten = [(name, _longer(name, value, grown)) for name, value in rewritten]
    if body is None and tuple(rewritten) == headers:
        return reply
    left = iter(chunks if body is None else body)
    steps = (replace(step, data=next(left)) if isinstance(step, Data) else step for step in reply)
    return tuple(replace(step, headers=tuple(rewritten)) if isinstance(step, Head) else step for step in steps)


def rewrite_request(request: Request, edits: Callable[[str], Iterable[Edit]]) -> Request:
    """The same for a request. A changed one has no `native`: that is still as it was."""
    reader = _Reader(edits, "request")
    url = reader.url(request.url)
    headers = dict(reader.headers(request.headers.items()))
    body = _rewrite_body(reader, [request.body], dict(_lowered(request.headers.items())))
    if body is not None:
        grown = len(body[0]) - len(request.body)
        headers = {name: _longer(name, value, grown) for name, value in headers.items()}
    if body is None and url == request.url and headers == request.headers:
        return request
    return replace(request, url=url, headers=headers, body=body[0] if body else request.body, native=None)


def opaque(headers: Mapping[str, str]) -> str | None:
    """Why a body is not read, by its headers (names in lower case); None where it is."""
    coding = headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        return f"compressed ({coding})"
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_media = media_type.startswith(("image/", "video/", "audio/", "font/")) and not media_type.endswith("+xml")
    return f"media ({media_type})" if is_media or media_type in _BINARY else None


_BINARY = ("application/octet-stream", "application/zip", "application/gzip", "application/pdf")


def _lowered(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((name.lower(), value) for name, value in headers)


def _longer(name: str, value: str, grown: int) -> str:
    """Content-Length of a changed body. A body that was cut stays as much too short as it was."""
    is_length = name.lower() == "content-length" and value.strip().isdecimal()
    return str(max(0, int(value) + grown)) if is_length else value


# -- edits of text and of its parts -------------------------------------------------


def _spread(sizes: Sequence[int], edits: Iterable[Edit], *, evenly: bool = False) -> Iterator[tuple[int, Edit]]:
    """Edits of joined parts as edits of the parts: each with the part's number, in order.

    What is new goes into the first part touched, or `evenly` into all of them.
    """
    starts = [0, *accumulate(sizes)]
    for start, end, new in edits:
        # The last of those that start there: parts before it are empty.
        part = min(bisect_right(starts, start) - 1, len(sizes) - 1)
        last = max(part, min(bisect_right(starts, end - 1) - 1, len(sizes) - 1))
        for number in range(part, last + 1):
            first, lost = max(start, starts[number]), min(end, starts[number + 1])
            share = len(new)
            if evenly and number < last:
                wanted = min(share - (last - number), round(share * (lost - first) / (end - first)))
                share = max(1, wanted) if lost > first else 0
            if lost > first or new[:share]:
                yield number, (first - starts[number], lost - starts[number], new[:share])
            new = new[share:]


def _rewrite_body(reader: _Reader, chunks: list[bytes], headers: Mapping[str, str]) -> list[bytes] | None:
    """The chunks with the edits made; None where there are none."""
    if not any(chunks) or opaque(headers):
        return None
    # Bytes that are no UTF-8 become lone surrogates, and the same bytes again.
    text = b"".join(chunks).decode("utf-8", "surrogateescape")
    edits = sorted(reader.body(text, headers.get("content-type", "").lower()))
    if not edits:
        return None
    in_bytes: list[Edit] = []
    at = offset = 0
    for start, end, new in edits:
        first = offset + len(text[at:start].encode("utf-8", "surrogateescape"))
        at, offset = end, first + len(text[start:end].encode("utf-8", "surrogateescape"))
        in_bytes.append((first, offset, new))
    by_chunk: list[list[Edit]] = [[] for _ in chunks]
    for number, edit in _spread([len(chunk) for chunk in chunks], in_bytes, evenly=True):
        by_chunk[number].append(edit)
    return [_apply_bytes(chunk, edits) for chunk, edits in zip(chunks, by_chunk, strict=True)]


def _apply_bytes(data: bytes, edits: list[Edit]) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for start, end, new in edits:
        pieces += data[at:start], new.encode("utf-8", "surrogateescape")
        at = end
    return b"".join([*pieces, data[at:]])


# -- messages -------------------------------------------------------------------------


@dataclass
class _Joined:
    """Literals that are one text: what a choice says in its deltas."""

    where: str
    parts: list[Literal] = field(default_factory=list)
    choices: list[int] = field(default_factory=list)


class _Reader:
    """Finds the texts of a message, asks for their edits and gives them as edits of the source."""

    def __init__(self, edits: Callable[[str], Iterable[Edit]], side: Side) -> None:
        self._edits = edits
        self._side = side

    def _ask(self, text: str, kind: Kind, where: str, name: str = "") -> list[Edit]:
        if not text:
            return []
        edits = sorted(self._edits(Passage.of(text, kind, name, self._side, f"{self._side} {where}")))
        at = 0
        for start, end, _ in edits:
            if not at <= start <= end <= len(text):
                raise ValueError(f"edits overlap or lie outside of {len(text)} characters: {edits[:5]}")
            at = end
        return [edit for edit in edits if text[edit[0] : edit[1]] != edit[2]]

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        return [
            (name, apply(value, self._ask(value, "header", f"header {name.lower()}", name.lower())))
            for name, value in headers
        ]

    def url(self, url: str) -> str:
        base, mark, query = url.partition("?")
        query, hash_mark, fragment = query.partition("#") if mark else ("", "", "")
        base = apply(base, self._ask(base, "text", "url"))
        fragment = apply(fragment, self._ask(fragment, "text", "url fragment"))
        return base + mark + apply(query, self._form(query, "query")) + hash_mark + fragment

    def body(self, text: str, content_type: str) -> Iterator[Edit]:
        """Edits of a body, in any order."""
        start = text[:256].lstrip(" \t\r\n\ufeff")
        if "x-www-form-urlencoded" in content_type:
            yield from self._form(text, "form")
        elif self._side == "response" and _kind(start, body=True) == "sse":
            yield from self._stream(text, "")
        elif _json(text.removeprefix("\ufeff")) is not None:
            yield from self._strings(text, [((len(text) - len(text.removeprefix("\ufeff")), len(text)), "body")])
        else:
            yield from self._ask(text, "text", "body")

    def _form(self, text: str, where: str) -> Iterator[Edit]:
        at = 0
        for pair in text.split("&"):
            written, equals, _ = pair.partition("=")
            name = decode_query(written)[0]
            for start, end, key in ((at, at + len(written), ""), (at + len(written) + 1, at + len(pair), name)):
                if end > start and (equals or not key):
                    decoded, offsets = decode_query(text[start:end])
                    for first, last, new in self._ask(decoded, "query" if key else "text", f"{where} {name}", key):
                        new = quote(new, safe="", encoding="utf-8", errors="surrogateescape")
                        yield start + offsets[first], start + offsets[last], new
            at += len(pair) + 1

    def _stream(self, text: str, where: str) -> Iterator[Edit]:
        """Edits of server-sent events; `where` tells those inside of a string."""
        in_json: list[tuple[tuple[int, int], str]] = []
        for number, frame in enumerate(frames(text), 1):
            name = f"{where}frame {number}"
            if isinstance(frame, tuple):
                in_json.append((frame, name))
                continue
            parts = [text[start:end] for start, end in frame]
            sizes = [len(part) + 1 for part in parts]  # with the line end between them
            joined = "\n".join(parts)
            if len(parts) > 1 and _json(joined) is not None:
                found = self._strings(joined, [((0, len(joined)), name)])
            else:
                found = iter(self._ask(joined, "text", name))
            for part, (start, end, new) in _spread(sizes, sorted(found)):
                end = min(end, len(parts[part]))  # the line end stays
                yield frame[part][0] + min(start, end), frame[part][0] + end, new
        yield from self._strings(text, in_json)

    def _strings(self, text: str, texts: list[tuple[tuple[int, int], str]]) -> Iterator[Edit]:
        """Edits of JSON texts, those of a stream or the only one, each with its name."""
        joined: dict[Path, _Joined] = {}
        for (start, end), name in texts:
            source = text[start:end] if self._side == "response" else ""
            value = _json(source) if '"choices"' in source else None  # read before, but maybe just not too deep
            for literal in literals(text, start, end):
                key = _delta(literal) if source and literal.kind == "json" else None
                if key is not None:
                    said = joined.setdefault(key, _Joined(f"{name} and on, {key[-1]}"))
                    said.parts.append(literal)
                    said.choices.append(_choice(value, literal.path))
                elif literal.kind == "json" and _is_stream(literal.text):
                    inside = sorted(self._stream(literal.text, f"{name} {literal.where} "))
                    yield from literal.raw(text, inside)
                else:
                    name_ = "" if literal.kind == "key" else literal.name
                    found = self._ask(literal.text, literal.kind, f"{name} {literal.where}", name_)
                    if found:
                        yield from literal.raw(text, found)
        for said in joined.values():
            for parts in _messages(said):
                edits = self._ask("".join(part.text for part in parts), "text", said.where)
                spread = _spread([len(part.text) for part in parts], edits)
                for number, of_part in groupby(spread, key=itemgetter(0)):
                    yield from parts[number].raw(text, [edit for _, edit in of_part])


def _json(text: str) -> Any:
    """Decoded JSON, or None (which nothing is that holds text)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_stream(text: str) -> bool:
    """Whether a string is a whole stream, as some gateways wrap them."""
    return text.startswith(("data:", "event:")) and '"choices"' in text and _kind(text[:256], body=True) == "sse"


def _delta(literal: Literal) -> Path | None:
    """What joins this string to those of other frames: its path without numbers; None where it stands alone."""
    path = literal.path[1:] if literal.path and isinstance(literal.path[0], int) else literal.path
    match path:
        case (
            ("choices", int(), "delta", "content")
            | ("choices", int(), "delta", "content", int())
            | ("choices", int(), "delta", "content", int(), "text")
        ):
            return ("choices", "delta", "content")
        case ("choices", int(), "delta", "reasoning_content" | "reasoning" as key):
            return ("choices", "delta", str(key))
        case ("choices", int(), "delta", "tool_calls", int() as call, "function", "arguments"):
            return ("choices", "delta", "tool_calls", call, "arguments")
        case ("choices", int(), "text"):
            return ("choices", "text")
        case ("delta",) | ("delta", "text" | "thinking" | "partial_json") | ("data",):
            return path
        case ("candidates", int(), "content", "parts", int(), "text"):
            return ("candidates", "text")
    return None


def _choice(value: Any, path: Path) -> int:
    """The index of the choice in which a path lies."""
    try:
        choice = value[path[0]][path[1]] if path[0] == "choices" else value[path[0]]["choices"][path[2]]
        return int(choice.get("index") or 0)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return 0


def _messages(said: _Joined) -> Iterable[list[Literal]]:
    """The parts of each message. Choices are messages of their own only where one comes back after another:

    jimeng-free-api counts the index up with every write of one message.
    """
    runs = [index for at, index in enumerate(said.choices) if at == 0 or said.choices[at - 1] != index]
    if len(runs) == len(set(runs)):
        return [said.parts]
    by_choice: dict[int, list[Literal]] = {}
    for index, part in zip(said.choices, said.parts, strict=True):
        by_choice.setdefault(index, []).append(part)
    return by_choice.values()
