"""Changing text inside recorded bytes without harming their form.

    rewrite_reply(reply, lambda text: [(m.start(), m.end(), "…") for m in SECRET.finditer(text)])

What is to be changed is asked for every text of a message, decoded: header values,
the names and values of a query, the strings of JSON at any depth, lines of a stream
that are no JSON, pages, plain text; and what a stream says in deltas is asked joined,
for a word may be cut by frames. An edit is written back in the place's own form
(percent-encoded, or escaped as JSON) over the characters it replaces, and nothing
else is written: where no edit hits, every byte stays, spacing, escapes, CRLF and
broken UTF-8 included.

- Strings that are no known deltas, but stand at the same place of several frames (or lines
  of JSON), are asked one by one and joined: for a part may be cut there, too.
- An edit over several deltas goes into the first of them; the others lose their part,
  and one that loses all stays, empty.
- Steps keep their number and their times. An edit over several chunks is divided among
  them by what each loses, at characters; a chunk is left empty only where the edit has
  fewer characters than it had chunks. Chunks are cut inside a character only where they were.
- Bodies that are media, or compressed, hold no text: they are not read.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby, pairwise
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

    __slots__ = ("again", "also", "kind", "name", "side", "where")
    again: bool
    """Whether its parts are asked by themselves too; this is for what they say together."""
    also: str
    """Another name of it: `user-id` of an `id` in a `user`, or `authorization:` that stands beside it as its name."""
    kind: Kind
    name: str
    """Of the header (in lower case), of the query's parameter, or the nearest JSON key; may be empty."""
    side: Side
    where: str
    """For people: `response frame 3 $.error.message`."""

    @classmethod
    def of(cls, text: str, kind: Kind, name: str, side: Side, where: str, also: str = "") -> Passage:
        passage = cls(text)
        passage.kind, passage.name, passage.side, passage.where = kind, name, side, where
        passage.also, passage.again = also, False
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
    found: dict[int, list[Edit]] = field(default_factory=dict)
    """Edits of parts that are asked by themselves too, by where they start."""


class _Reader:
    """Finds the texts of a message, asks for their edits and gives them as edits of the source."""

    def __init__(self, edits: Callable[[str], Iterable[Edit]], side: Side) -> None:
        self._edits = edits
        self._side = side

    def _ask(
        self, text: str, kind: Kind, where: str, name: str = "", also: str = "", *, again: bool = False
    ) -> list[Edit]:
        if not text:
            return []
        passage = Passage.of(text, kind, name, self._side, f"{self._side} {where}", also)
        passage.again = again
        edits = sorted(self._edits(passage))
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
        if "=" in fragment:  # names and values, behind the route of an app
            route, route_mark, form = fragment.rpartition("?")
            route = apply(route, self._ask(route, "text", "url fragment")) + route_mark
            fragment = route + apply(form, self._form(form, "url fragment"))
        else:
            fragment = apply(fragment, self._ask(fragment, "text", "url fragment"))
        return base + mark + apply(query, self._form(query, "query")) + hash_mark + fragment

    def body(self, text: str, content_type: str) -> Iterator[Edit]:
        """Edits of a body, in any order."""
        start = text[:256].lstrip(" \t\r\n\ufeff")
        if "x-www-form-urlencoded" in content_type:
            yield from self._form(text, "form")
        elif "multipart/" in content_type and (boundary := _BOUNDARY.search(content_type)):
            yield from self._multipart(text, f"--{boundary[1] or boundary[2]}")
        elif self._side == "response" and _kind(start, body=True) == "sse":
            yield from self._stream(text, "")
        elif _json(text.removeprefix("\ufeff")) is not None:
            yield from self._strings(text, [((len(text) - len(text.removeprefix("\ufeff")), len(text)), "body")])
        elif lines := _json_lines(text):
            yield from self._strings(text, lines)
            end = lines[-1][0][1]
            if text[end:].strip():  # a last line that breaks off
                found = self._ask(text[end:], "text", "body")
                yield from ((end + first, end + last, new) for first, last, new in found)
        else:
            yield from self._ask(text, "text", "body")

    def _multipart(self, text: str, boundary: str) -> Iterator[Edit]:
        """Edits of a form in parts: each value stands under its name, as in a query."""
        at = 0
        lowered = text.lower()  # as the header was; only places of the boundary are taken from it
        is_same = len(lowered) == len(text)
        while at < len(text):
            end = (lowered if is_same else text).find(boundary, at)
            end = end if end >= 0 else len(text)
            blank = _BLANK_LINE.search(text, at, end)
            head = text[at : blank.end() if blank else end]
            told = _FIELD_NAME.search(head) if blank else None
            name = (told[1] if told[1] is not None else told[2]) if told else ""
            is_file = "filename" in head.lower()
            last = end - len(text[at:end]) + len(text[at:end].rstrip("\r\n")) if not is_file else end
            value = at + len(head)
            is_plain = is_file or not name
            texts: list[tuple[int, int, Kind]] = [(at, value, "text")]
            texts.append((value, max(value, last), "text" if is_plain else "query"))
            for start, stop, kind in texts:
                called = name if kind == "query" else ""
                for first, past, new in self._ask(text[start:stop], kind, f"form {name}".rstrip(), called):
                    yield start + first, start + past, new
            at = end + len(boundary)

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
        others: dict[Path, _Joined] = {}
        for (start, end), name in texts:
            source = text[start:end] if self._side == "response" else ""
            is_said = len(texts) > 1 or '"choices"' in source
            value = _json(source) if is_said and source else None  # read before, but maybe just not too deep
            called = _called(text, start, end)
            for literal in literals(text, start, end):
                key = _delta(literal) if source and literal.kind == "json" else None
                if key is not None:
                    said = joined.setdefault((*key, *_turn(value, literal.path)), _Joined(f"{name} and on, {key[-1]}"))
                    said.parts.append(literal)
                    said.choices.append(_choice(value, literal.path))
                elif literal.kind == "json" and _is_stream(literal.text):
                    inside = sorted(self._stream(literal.text, f"{name} {literal.where} "))
                    yield from literal.raw(text, inside)
                else:
                    name_ = "" if literal.kind == "key" else literal.name
                    also = "" if literal.kind == "key" else called.get(literal.path, "") or _of_parent(literal)
                    found = self._ask(literal.text, literal.kind, f"{name} {literal.where}", name_, also)
                    place = _place(value, literal) if len(texts) > 1 and source else None
                    if place is not None:
                        said = others.setdefault(place, _Joined(f"{name} and on, {literal.name}"))
                        said.parts.append(literal)
                        said.choices.append(_choice(value, literal.path))
                        said.found[literal.start] = found
                    elif found:
                        yield from literal.raw(text, found)
        for said in joined.values():
            for parts in _messages(said):
                edits = self._ask("".join(part.text for part in parts), "text", said.where)
                yield from _raw(text, parts, edits)
        for said in others.values():
            for parts in _messages(said):
                for run in _runs(parts):
                    edits = [edit for part in run for edit in said.found[part.start]]
                    if len(run) == 1:
                        yield from run[0].raw(text, edits) if edits else ()
                        continue
                    starts = accumulate((len(part.text) for part in run), initial=0)
                    edits = [
                        (at + first, at + last, new)
                        for at, part in zip(starts, run, strict=False)
                        for first, last, new in said.found[part.start]
                    ]
                    together = self._ask("".join(part.text for part in run), "text", said.where, again=True)
                    yield from _raw(text, run, _united(together, edits))


def _raw(text: str, parts: list[Literal], edits: Iterable[Edit]) -> Iterator[Edit]:
    """Edits of joined literals as edits of the source."""
    spread = _spread([len(part.text) for part in parts], edits)
    for number, of_part in groupby(spread, key=itemgetter(0)):
        yield from parts[number].raw(text, [edit for _, edit in of_part])


def _united(first: list[Edit], second: list[Edit]) -> list[Edit]:
    """Edits of one text, sorted; where two overlap, the longer one's text stands over both."""
    united: list[Edit] = []
    for edit in sorted({*first, *second}, key=lambda edit: (edit[0], -edit[1])):
        if united and edit[0] < united[-1][1]:
            last = united[-1]
            new = last[2] if last[1] - last[0] >= edit[1] - edit[0] else edit[2]
            united[-1] = (last[0], max(last[1], edit[1]), new)
        else:
            united.append(edit)
    return united


_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s";,]{1,200}))')
_BLANK_LINE = re.compile(r"\r\n\r\n|\n\n")
_FIELD_NAME = re.compile(r'(?i:[;\s]name\*?=)(?:"([^"\r\n]{0,256})"|([^";\s]{1,256}))')


def _json_lines(text: str) -> list[tuple[tuple[int, int], str]]:
    """The JSON texts of a body that has one or several on each of its lines; none where a line is none.

    The last line may break off.
    """
    found: list[tuple[tuple[int, int], str]] = []
    at = len(text) - len(text.removeprefix("\ufeff"))
    number = 0
    while at < len(text):
        line_end = text.find("\n", at)
        end = line_end if line_end >= 0 else len(text)
        number += 1
        line = text[at:end].rstrip()
        place = 0
        while (space := _SPACE.match(line, place)) and space.end() < len(line):
            place = space.end()
            try:
                if line[place] not in "{[":
                    raise ValueError
                _, stop = _DECODER.raw_decode(line, place)
            except (ValueError, RecursionError):
                return found if not text[end:].strip() else []
            found.append(((at + place, at + stop), f"line {number}"))
            place = stop
        at = end + 1
    return found


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*+")
CALLED = ("name", "key", "header", "field")
"""Under which JSON tells the name of what stands beside it as `value`."""


def _called(text: str, start: int, end: int) -> dict[Path, str]:
    """By the path of a `value`, what stands beside it as its name."""
    if text.find('"value"', start, end) < 0:
        return {}
    named: dict[Path, str] = {}
    values: list[Literal] = []
    for literal in literals(text, start, end):
        if literal.kind == "json" and literal.name.lower() in CALLED and literal.path[-1:] == (literal.name,):
            named[literal.path[:-1]] = literal.text
        elif literal.path[-1:] == ("value",) and literal.kind != "key":
            values.append(literal)
    return {literal.path: f"{named[literal.path[:-1]]}:" for literal in values if literal.path[:-1] in named}


def _of_parent(literal: Literal) -> str:
    """`user-id` of an `id` in a `user`."""
    match literal.path[-2:]:
        case (str(parent), str(key)):
            return f"{parent}-{key}"
    return ""


_LONGEST_PART = 4096
"""Characters of a string that may be a part of a longer one: a delta is short."""


def _runs(parts: list[Literal]) -> Iterator[list[Literal]]:
    """Strings that may be one text in parts; one by one where each says the whole again, or begins anew."""
    texts = [part.text for part in parts if part.text]
    again = all(later.startswith(earlier) for earlier, later in pairwise(texts))
    run: list[Literal] = []
    for part in parts:
        is_long = len(part.text) > _LONGEST_PART
        if run and (again or is_long or part.text.startswith(("http://", "https://", "data:"))):
            yield run
            run = []
        run.append(part)
        if is_long:
            yield run
            run = []
    if run:
        yield run


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
        case ("choices", int(), "delta", "reasoning_content" | "reasoning" | "reasoning_text" | "refusal" as key):
            return ("choices", "delta", str(key))
        case ("choices", int(), "delta", "reasoning_details", int(), "text" | "summary" as key):
            return ("choices", "delta", "reasoning_details", str(key))
        case ("choices", int(), "delta", "audio", "transcript"):
            return ("choices", "delta", "transcript")
        case ("choices", int(), "delta", "function_call", "arguments"):
            return ("choices", "delta", "arguments")
        case ("choices", int(), "delta", "tool_calls", int(), "function", "arguments"):
            return ("choices", "delta", "tool_calls", "arguments")
        case ("choices", int(), "text"):
            return ("choices", "text")
        case ("delta",) | ("delta", "text" | "thinking" | "partial_json") | ("data",):
            return path
        case ("candidates", int(), "content", "parts", int(), "text"):
            return ("candidates", "text")
    return None


_TURNS = ("type", "index", "output_index", "content_index", "summary_index")


def _turn(value: Any, path: Path, *, places: bool = False) -> Path:
    """Whose turn it is: what a frame says of itself, and the `index` of all that is in arrays but choices.

    Without one, an array's place counts only for the calls of tools, or for all with `places`.
    """
    turn: list[str | int] = []
    if path and isinstance(path[0], int) and isinstance(value, list) and path[0] < len(value):
        value, path = value[path[0]], path[1:]
    if isinstance(value, dict) and path and path[0] not in ("choices", "candidates"):
        # Some relays make up a new id of the item with every frame: its index says it better.
        keys = _TURNS if "output_index" in value else (*_TURNS, "item_id")
        turn += [f"{key}={value[key]}" for key in keys if isinstance(value.get(key), str | int)]
    before: str | int = ""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):  # a path that was cut
            return (*turn, *(path if places else ()))
        if isinstance(step, int) and before != "choices":
            index = value.get("index") if isinstance(value, dict) else None
            if isinstance(index, int | str):
                turn.append(index)
            elif places or before == "tool_calls":
                turn.append(step)
        before = step
    return tuple(turn)


def _place(value: Any, literal: Literal) -> Path | None:
    """What joins any other string to those of other frames; None where it cannot be told."""
    if literal.kind != "json" or not literal.path or value is None:
        return None
    path = literal.path[1:] if isinstance(literal.path[0], int) else literal.path
    return (*(step for step in path if isinstance(step, str)), *_turn(value, literal.path, places=True))


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
