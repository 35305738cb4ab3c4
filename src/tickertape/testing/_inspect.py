"""What the inspector is told of a call, as JSON data: its bytes as they were delivered, and what they say.

A page that is open must not change what it shows: nothing here asks the relay
anything, adds to the journal, or takes from a tape what a client has yet to ask
for. All of it is bounded, because a client may be sent, or send, any size.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
import threading
from bisect import bisect_right
from dataclasses import fields
from hashlib import blake2b
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_to_bytes

from .._sse import Decoder
from ..envelope import ResponseReader
from ..events import Progress
from ._rewrite import opaque
from ._spans import frames, json_offsets, literals
from ._wire import Data, Head, body_of, end_of, head_of, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..events import Event
    from ..task import Task
    from ._journal import Call
    from ._spans import Literal
    from ._verdict import Finding
    from ._wire import Reply

    Peek = Callable[[str], Reply | None]
    """What a link of an answer would be answered now."""

_HEAD, _TAIL = 120_000, 40_000
"""Characters of a body that are told: of its beginning, and of its end."""
_MOST_READ = 4 << 20
"""Bytes of a body that are read for events: some seconds of work."""
_MOST_EVENTS, _MOST_FRAMES, _MOST_POINTS, _MOST_MEDIA, _MOST_ITEMS = 1_500, 500, 1_000, 48, 100
_LONG, _SHORT, _DEEP = 20_000, 2_000, 12
"""Characters of a prompt, of any other text, and steps into a JSON value."""
_SHOWN = re.compile(r"(?:image|video|audio)/[A-Za-z0-9.+-]{1,64}")
"""Media types that the page shows; anything else from a relay would be a document of this server's own origin."""


class Told(NamedTuple):
    """An event, when it became certain (seconds after the request), and by which chunk."""

    event: Event
    t: float
    chunk: int


class Reading:
    """A call's answer, read as far as the client has read it. `advance()` goes on where it stopped. Thread-safe."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        call = self._call
        self._reply = call.reply
        head = head_of(call.reply or ())
        headers = {name.lower(): value for name, value in head.headers} if head else {}
        self.opaque = opaque(headers)
        """Why the body is no text."""
        self._reader: ResponseReader | None = None
        if call.kind in ("chat", "poll") and head is not None and not self.opaque:
            self._reader = ResponseReader(status_code=head.status)
        self._sse = Decoder()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._streams = self._closed = False
        self.chunks: list[tuple[float, int, str]] = []
        """Time, bytes and text of each; bytes that are no UTF-8 are lone surrogates, and a character
        that is cut in two belongs to the chunk that ends it."""
        self.said: list[int] = []
        """Characters of the content that there were after each chunk."""
        self.events: list[Told] = []
        self.frames: list[tuple[float, int, str, str, str]] = []
        """Time, chunk, name, what it is (`json`, `done`, `bad`) and text."""
        self.frame_count = 0
        self.unread = 0
        """Bytes beyond those that are read for events."""
        self._at = self._within = self._read = 0  # the next step, bytes of it that were read, and of all

    def advance(self) -> Reading:
        call = self._call
        with self._lock:
            if call.reply is not self._reply:  # it was answered in another form
                self._begin()
            ended = call.ended  # before `received`, which an end does not change
            self._take(call.received)
            if ended is not None and not self._closed:
                self._closed = True
                t = (call.time if call.ended_at is None else call.ended_at) - call.time
                if (rest := self._utf8.decode(b"", True)) and self.chunks:
                    last = self.chunks[-1]
                    self.chunks[-1] = (last[0], last[1], last[2] + rest)
                self._frames(self._sse.flush(), t)
                if self._reader is not None:
                    self._tell(self._reader.close(), t)
        return self

    def _take(self, received: int) -> None:
        reply = self._reply or ()
        while self._at < len(reply) and self._read < received:
            step = reply[self._at]
            if not isinstance(step, Data):
                self._at += 1
                continue
            data = step.data[self._within : self._within + received - self._read]
            rest = self._within > 0
            self._within += len(data)
            self._read += len(data)
            if self._within == len(step.data):
                self._at, self._within = self._at + 1, 0
            if data:
                self._chunk(step.t, data, rest=rest)

    def _chunk(self, t: float, data: bytes, *, rest: bool) -> None:
        text = "" if self.opaque else self._utf8.decode(data)
        if rest:  # of one that the client had a part of
            _, size, before = self.chunks.pop()
            self.chunks.append((t, size + len(data), before + text))
            self.said = self.said[: len(self.chunks) - 1]
        else:
            self.chunks.append((t, len(data), text))
        if self._reader is None:
            return
        if self._read - len(data) >= _MOST_READ:
            self.unread += len(data)
            return
        self._tell(self._reader.feed(data), t)
        parser = self._reader._parser
        self.said.append(parser._machine.emitted + len(parser.pending))
        if self._reader._mode == "sse":
            if not self._streams:  # what it is was not clear from the first bytes
                self._streams, text = True, "".join(piece for _, _, piece in self.chunks).lstrip("\ufeff")
            self._frames(self._sse.decode(text), t)

    def _tell(self, events: Iterable[Event], t: float) -> None:
        self.events += [Told(event, t, max(0, len(self.chunks) - 1)) for event in events]

    def _frames(self, found: Sequence[Any], t: float) -> None:
        self.frame_count += len(found)
        for frame in found[: _MOST_FRAMES - len(self.frames)]:
            what = "done" if frame.done else "json" if frame.bad is None else "bad"
            text = "[DONE]" if frame.done else frame.bad
            if text is None:
                text = json.dumps(_cut(frame.data, 500), ensure_ascii=False)
            self.frames.append((t, max(0, len(self.chunks) - 1), frame.name, what, text[:_SHORT]))

    @property
    def task(self) -> Task | None:
        return None if self._reader is None else self._reader.task

    @property
    def progress(self) -> list[tuple[float, float]]:
        """Time and percentage, in order."""
        return [(told.t, told.event.percent) for told in self.events if isinstance(told.event, Progress)]


def summary(call: Call, reading: Reading | None = None) -> dict[str, Any]:
    """A call as a line of a list. Without a reading nothing is read for it: `outcome` is None until somebody did."""
    outcome = percent = None
    results = 0
    task: Task | None = None
    if reading is not None:
        task = reading.advance().task
    elif call._read is not None and call._read[0] == call.received:
        task = call._read[1]
    if task is not None:
        outcome, results = task.status, len(task.results)
        percent = task.progress[-1] if task.progress else None
    return {
        "number": call.number,
        "time": call.time,
        "kind": call.kind,
        "role": call.role,
        "method": call.request.method[:20],
        "path": _text(call.request.path, 200),
        "prompt": _text(call.prompt, 200),
        "images": len(call.images),
        "model": _text(call.model, 80),
        "stream": call.stream,
        "retry": call.retry,
        "answer": _text(call.answer, 200),
        "status": call.status,
        "received": call.received,
        "ended": call.ended,
        "ended_at": call.ended_at,
        "outcome": outcome,
        "percent": percent,
        "results": results,
    }


def unread(call: Call) -> bool:
    """Whether a call's `task` has yet to be worked out: for `outcome`, and for the verdict."""
    is_read = call._read is not None and call._read[0] == call.received
    return call.ended is not None and call.kind in ("chat", "poll") and call.status is not None and not is_read


def detail(
    call: Call, *, findings: Iterable[Finding] = (), peek: Peek | None = None, reading: Reading | None = None
) -> dict[str, Any]:
    """All the page shows of one call. Offsets and sizes of text are characters (code points), of bodies bytes."""
    reading = (reading or Reading(call)).advance()
    told, count = list(reading.events), len(reading.chunks)
    task, reply = reading.task, call.reply or ()
    content = "" if task is None else task.text
    head = head_of(reply)
    request, asked = call.request, call.public
    chunks, shown = _chunks(reading, count)
    sources = _Sources(reading, "".join(text for _, _, text in reading.chunks[:shown]), content)
    events = [_event(each, sources, content) for each in told[:_MOST_EVENTS]]
    return {
        "number": call.number,
        "time": call.time,
        "kind": call.kind,
        "role": call.role,
        "answer": _text(call.answer, _SHORT),
        "job": None if call.job is None else str(call.job),
        "request": {
            "method": request.method,
            "url": _text(asked.request.url, _SHORT),
            "headers": [[name, _text(value, _SHORT)] for name, value in _items(asked.request)],
            "json": _cut(asked.request.json, _SHORT),
            "size": len(request.body),
        },
        "prompt": _text(asked.prompt, _LONG),
        "model": _text(asked.model, 200),
        "stream": call.stream,
        "attempt": call.attempt if call.kind == "chat" else None,
        "retry": call.retry,
        "status": call.status,
        "headers": [[name, _text(value, _SHORT)] for name, value in head.headers[:_MOST_ITEMS]] if head else [],
        "head_at": head.t if head else None,
        "reply": {"size": len(body_of(reply)), "t": end_of(reply).t, "how": end_of(reply).how} if reply else None,
        "received": call.received,
        "ended": call.ended,
        "ended_at": call.ended_at,
        "opaque": reading.opaque,
        "bytes": body_of(reply)[: min(call.received, 256)].hex() if reading.opaque else "",
        "chunks": chunks,
        "frames": [
            dict(zip(("t", "chunk", "name", "kind", "text"), frame, strict=True)) for frame in list(reading.frames)
        ],
        "frame_count": reading.frame_count,
        "events": events,
        "event_count": len(told),
        "unread": reading.unread,
        "content": {"text": content[: _HEAD // 2], "size": len(content)},
        "progress": _thinned(reading.progress),
        "task": None if task is None else _cut(task.as_dict(), _SHORT),
        "media": [_shown(call, medium, peek) for medium in media(call, task)],
        "findings": [
            {"name": each.name, "calls": list(each.calls), "explanation": _text(each.explanation, _SHORT)}
            for each in findings
            if call.number in each.calls
        ],
    }


# -- bodies -----------------------------------------------------------------------------


def _chunks(reading: Reading, count: int) -> tuple[list[dict[str, Any]], int]:
    """The first chunks and the last ones, what is between them counted; and how many of the first are whole."""
    chunks = reading.chunks[:count]
    if reading.opaque:
        return [{"chunk": i, "t": t, "size": size, "text": "", "cut": 0} for i, (t, size, _) in enumerate(chunks)][
            :_MOST_EVENTS
        ], 0
    first, left = 0, _HEAD
    while first < count and first < _MOST_EVENTS and left - len(chunks[first][2]) >= 0:
        left -= len(chunks[first][2])
        first += 1
    last, left = count, _TAIL
    while last > first and count - last < _MOST_FRAMES and left > 0:
        last -= 1
        left -= len(chunks[last][2])
    out = []
    for i in (*range(first), *range(last, count)):
        t, size, text = chunks[i]
        if i == last > first:
            skipped = chunks[first:last]
            out.append({"skipped": len(skipped), "size": sum(each[1] for each in skipped)})
        cut = max(0, len(text) - _TAIL) if i >= first else 0
        out.append({"chunk": i, "t": t, "size": size, "text": text[: len(text) - cut], "cut": cut})
    return out, first


class _Sources:
    """Where the characters of the content stand in the body: exactly, where the whole way from one to the
    other is understood; by chunks, always."""

    def __init__(self, reading: Reading, raw: str, content: str) -> None:
        self._said = list(reading.said)
        self._parts: list[tuple[int, Literal, Sequence[int]]] = []
        self._raw_is_content = raw[: len(content)] == content[: len(raw)]
        if self._raw_is_content or not content:
            return
        at = 0
        for literal in _contents(raw):
            if not content.startswith(literal.text, at):  # it is read in another way, which only the reader knows
                self._parts = []
                return
            self._parts.append((at, literal, json_offsets(raw[literal.start : literal.end])))
            at += len(literal.text)
        self._end = at

    def exact(self, start: int, end: int) -> list[list[int]] | None:
        """Spans of the body, in characters; None where only the chunks are known."""
        if self._raw_is_content:
            return [[start, end]]
        if not self._parts or end > self._end or start == end:
            return None
        spans: list[list[int]] = []
        number = max(0, bisect_right(self._parts, start, key=lambda part: part[0]) - 1)
        for at, literal, offsets in self._parts[number:]:
            if at >= end:
                break
            first, last = max(start, at) - at, min(end - at, len(literal.text))
            if last > first:
                spans.append([literal.start + offsets[first], literal.start + offsets[last]])
        return spans

    def chunks(self, start: int, end: int, certain: int) -> list[int]:
        """The first and the last chunk that a span came in."""
        if start == end or not self._said:
            return [certain, certain]
        return [min(bisect_right(self._said, start), certain), min(bisect_right(self._said, end - 1), certain)]


def _contents(raw: str) -> Iterator[Literal]:
    """The strings of a body that are its content, in order."""
    if raw.lstrip("\ufeff \t\r\n").startswith("{"):
        try:
            json.loads(raw.lstrip("\ufeff"))
        except (ValueError, RecursionError):
            return
        spans: Iterable[Any] = [(0, len(raw))]
    else:
        spans = (frame for frame in frames(raw) if isinstance(frame, tuple))
    for start, end in spans:
        yield from (literal for literal in literals(raw, start, end) if literal.kind == "json" and _says(literal.path))


def _says(path: tuple[str | int, ...]) -> bool:
    match path:
        case (
            ("choices", int(), "delta" | "message", "content")
            | ("choices", int(), "delta" | "message", "content", int())
            | ("choices", int(), "delta" | "message", "content", int(), "text")
            | ("choices", int(), "text")
            | ("data",)
        ):
            return True
    return False


def _event(told: Told, sources: _Sources, content: str) -> dict[str, Any]:
    event = told.event
    names = [field.name for field in fields(event) if field.name not in ("start", "end", "text")]
    return {
        "type": type(event).__name__,
        "start": event.start,
        "end": event.end,
        "t": told.t,
        "chunk": told.chunk,
        "chunks": sources.chunks(event.start, event.end, told.chunk),
        "raw": sources.exact(event.start, event.end),
        "text": _text(content[event.start : event.end], 500),
        "fields": {name: _cut(getattr(event, name), 500) for name in names},
    }


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Few enough to draw; the last one is kept."""
    every = -(-len(points) // _MOST_POINTS) or 1
    return [point for number, point in enumerate(points) if number % every == 0 or number == len(points) - 1]


# -- media ------------------------------------------------------------------------------


class Medium(NamedTuple):
    role: str
    kind: str
    url: str

    @property
    def key(self) -> str:
        return blake2b(self.url.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def media(call: Call, task: Task | None) -> list[Medium]:
    """What a call shows: the images of its request, and the media that its answer names, or is."""
    found = [Medium("input", "image", url) for url in call.images]
    if call.kind == "media":
        head = head_of(call.reply or ())
        headers = {name.lower(): value for name, value in head.headers} if head else {}
        kind = headers.get("content-type", "").partition("/")[0].lower()
        found.append(Medium(call.role or "media", kind, call.request.url))
    for result in () if task is None else task.results:
        found.append(Medium("result", result.kind, result.url))
        found += [Medium("download", result.kind, result.download_url)] if result.download_url else []
        found += [Medium("poster", "image", result.poster_url)] if result.poster_url else []
    found += [Medium("preview", "image", url) for url in (() if task is None else task.previews)]
    known: dict[str, Medium] = {}
    for medium in found:
        known.setdefault(medium.url, medium)
    return list(known.values())[:_MOST_MEDIA]


def medium_of(call: Call, key: str, peek: Peek | None) -> tuple[bytes, str] | None:
    """The bytes of one of `media()`, and their type; None where there is nothing that may be shown."""
    for medium in media(call, Reading(call).advance().task):
        if medium.key == key:
            reply = _answer(call, medium, peek)
            content_type = _type(reply)
            return (body_of(reply), content_type) if reply and content_type else None
    return None


def _shown(call: Call, medium: Medium, peek: Peek | None) -> dict[str, Any]:
    reply = _answer(call, medium, peek)
    head = head_of(reply or ())
    note = ""
    if reply is None:
        here = medium.kind == "media" or medium.url == call.request.url
        note = "not whole" if here else "not of this server: not fetched"
    elif head is None or head.status not in (200, 206):
        note = f"answers {head.status} now" if head else "does not answer now"
    elif _type(reply) is None:
        note = "no medium that a browser shows"
    return {
        "key": medium.key,
        "role": medium.role,
        "kind": medium.kind,
        "url": _text(medium.url, 300),
        "shown": not note,
        "note": note,
    }


def _answer(call: Call, medium: Medium, peek: Peek | None) -> Reply | None:
    if medium.url[:5].lower() == "data:":
        return _decoded(medium.url)
    if call.kind == "media" and medium.url == call.request.url:
        is_whole = call.reply is not None and call.received == len(body_of(call.reply)) and call.status == 200
        return call.reply if is_whole else None
    return None if peek is None else peek(medium.url)


def _decoded(url: str) -> Reply | None:
    """What a `data:` URL holds (RFC 2397)."""
    told, comma, data = url[5:].partition(",")
    if not comma:
        return None
    raw = unquote_to_bytes(data)
    if told.lower().endswith(";base64"):
        try:
            raw = base64.b64decode(re.sub(rb"\s", b"", raw), validate=True)
        except (binascii.Error, ValueError):
            return None
    return whole(200, raw, content_type=told.partition(";")[0].lower() or "text/plain")


def _type(reply: Reply | None) -> str | None:
    head = head_of(reply or ())
    if not isinstance(head, Head) or head.status not in (200, 206):
        return None
    told = (head.header("content-type") or "").partition(";")[0].strip()
    return told if _SHOWN.fullmatch(told) else None


# -- bounds -----------------------------------------------------------------------------


def _items(request: Any) -> list[tuple[str, str]]:
    return list(request.headers.items())[:_MOST_ITEMS]


def _text(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} more characters)"


def _cut(value: Any, most: int, deep: int = 0) -> Any:
    """JSON data in bounds: long texts, long lists and deep places are told of, not told."""
    if isinstance(value, str):
        return _text(value, most)
    if isinstance(value, dict | list | tuple) and deep >= _DEEP:
        return "…" if value else value
    if isinstance(value, dict):
        pairs = [(_text(str(k), 200), _cut(v, most, deep + 1)) for k, v in list(value.items())[:_MOST_ITEMS]]
        return dict(pairs) if len(value) <= _MOST_ITEMS else {**dict(pairs), "…": f"{len(value) - _MOST_ITEMS} more"}
    if isinstance(value, list | tuple):
        out = [_cut(each, most, deep + 1) for each in value[:_MOST_ITEMS]]
        return out if len(value) <= _MOST_ITEMS else [*out, f"… {len(value) - _MOST_ITEMS} more"]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 1 << 53:
        return str(value)  # a browser's numbers are doubles
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # which JSON has no word for
    return value
