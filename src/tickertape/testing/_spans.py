"""Where the texts of a message stand: in JSON, in server-sent events, in percent-encoding.

All places are characters of the source. What is found is decoded, and edits of it
become edits of the source again.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, NamedTuple
from typing import Literal as OneOf

from .._sse import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Edit = tuple[int, int, str]
"""Start, end, and what stands there instead, in characters of the text that was asked."""
Kind = OneOf["header", "query", "json", "key", "number", "text"]
"""Where a text stands: a header's value, a query's or a form's, a JSON string, key or number, or anywhere else."""
Path = tuple[str | int, ...]


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with sorted edits made."""
    pieces: list[str] = []
    at = 0
    for start, end, new in edits:
        pieces += text[at:start], new
        at = end
    return "".join([*pieces, text[at:]])


# -- decoded text and what it was written as -----------------------------------------

_JSON_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.", re.DOTALL)
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})++")
_QUERY = re.compile(rf"{_PERCENT.pattern}|\+")
_ANY = re.compile(
    rf"{_PERCENT.pattern}|\\u[dD][89abAB][0-9A-Fa-f]{{2}}\\u[dD][c-fC-F][0-9A-Fa-f]{{2}}|\\u[0-9A-Fa-f]{{4}}"
    r"|\\[\"\\/bfnrt]|&(?:amp|quot|apos|lt|gt|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});"
)


def decode_query(source: str) -> tuple[str, Sequence[int]]:
    """A name or a value of a query, decoded, and where each of its characters began, and the last one ended.

    Bytes that are no UTF-8 become lone surrogates.
    """
    return _decode(source, _QUERY)


def decode_any(source: str) -> tuple[str, Sequence[int]]:
    """The same for text that holds escapes of URLs, JSON or HTML, one layer of them."""
    return _decode(source, _ANY) if re.search(r"[%\\&]", source) else (source, range(len(source) + 1))


def _decode(source: str, pattern: re.Pattern[str]) -> tuple[str, Sequence[int]]:
    pieces: list[str] = []
    offsets: list[int] = []
    at = 0
    for match in pattern.finditer(source):
        decoded = _decoded(match[0])
        pieces += source[at : match.start()], decoded
        offsets += range(at, match.start())
        place = match.start()
        for character in decoded:
            offsets.append(place)
            place += 3 * len(character.encode("utf-8", "surrogateescape")) if match[0][0] == "%" else 0
        at = match.end()
    return "".join([*pieces, source[at:]]), [*offsets, *range(at, len(source) + 1)]


def _decoded(escape: str) -> str:
    if escape[0] == "%":
        return bytes.fromhex(escape.replace("%", "")).decode("utf-8", "surrogateescape")
    if escape[0] == "\\":
        return str(json.loads(f'"{escape}"'))
    return " " if escape == "+" else html.unescape(escape)


def json_offsets(source: str) -> Sequence[int]:
    """Where each character of a JSON string began, and the last one ended; `source` is without its quotes."""
    if "\\" not in source:
        return range(len(source) + 1)
    offsets: list[int] = []
    at = 0
    for match in _JSON_ESCAPE.finditer(source):
        offsets += [*range(at, match.start()), match.start()]
        at = match.end()
    return [*offsets, *range(at, len(source) + 1)]


def json_escaped(text: str) -> str:
    is_lone = any("\ud800" <= character <= "\udfff" for character in text)
    return json.dumps(text, ensure_ascii=is_lone)[1:-1]


class Literal(NamedTuple):
    """A string or a number of a JSON text."""

    start: int  # without the quotes
    end: int
    text: str
    path: Path
    kind: Kind

    @property
    def name(self) -> str:
        return next((step for step in reversed(self.path) if isinstance(step, str)), "")

    @property
    def where(self) -> str:
        return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)

    def raw(self, source: str, edits: Iterable[Edit]) -> Iterator[Edit]:
        """Edits of the decoded text as edits of the source."""
        if self.kind == "number":
            new = apply(self.text, edits)
            yield self.start, self.end, new if _NUMBER.fullmatch(new) else f'"{json_escaped(new)}"'
            return
        offsets = json_offsets(source[self.start : self.end])
        for start, end, new in edits:
            yield self.start + offsets[start], self.start + offsets[end], json_escaped(new)


_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],]|-?[0-9][0-9.eE+-]*+', re.DOTALL)
_DEEPEST = 12
"""Steps of a path that are kept: paths of hostile nesting would be long."""


def literals(source: str, start: int, end: int) -> Iterator[Literal]:
    """The strings and numbers of a valid JSON text."""
    path: list[str | int | None] = []  # for each open object its key, None where one is due; the number in arrays
    for match in _TOKEN.finditer(source, start, end):
        token = match[0]
        if token == "{":
            path.append(None)
        elif token == "[":
            path.append(0)
        elif token in "}]":
            path.pop()
        elif token == ",":
            path[-1] = path[-1] + 1 if isinstance(path[-1], int) else None
        else:
            is_string = token[0] == '"'
            text = token if not is_string else json.loads(token) if "\\" in token else token[1:-1]
            kind: Kind = "json" if is_string else "number"
            if path and path[-1] is None:
                kind, path[-1] = "key", text
            known = [step for step in (path if len(path) <= _DEEPEST else path[-_DEEPEST:]) if step is not None]
            yield Literal(match.start() + is_string, match.end() - is_string, text, tuple(known), kind)


# -- server-sent events ----------------------------------------------------------------

_LINE_END = re.compile(r"\r\n|\r|\n")
_FIELD = re.compile(rf"({'|'.join(FIELDS)}|):[ \t]*")
_AFTER_JSON = re.compile(rf"[ \t]*(?:\\n\\n[ \t]*)?(?=[\r\n]|\Z|(?:{'|'.join(FIELDS)}):)")
"""The end of a line, also written literally as sora2api does, or a next field where gateways leave the line end out."""
_DECODER = json.JSONDecoder()


def frames(text: str) -> Iterator[tuple[int, int] | list[tuple[int, int]]]:
    """Where a stream's texts stand: the span of a frame that is JSON, or the spans of lines that are not.

    Read as loosely as `_sse.Decoder` does: a line of data is a frame of its own if it is
    JSON, and the next one may begin behind it; else the lines are tried together.
    """
    held: list[tuple[int, int]] = []
    at = int(text.startswith("\ufeff"))
    while at < len(text):
        line_end = _LINE_END.search(text, at)
        end, following = line_end.span() if line_end else (len(text), len(text))
        name = _FIELD.match(text, at)
        if name is None and text[at:end].strip():
            held.append((at, end))
        elif name is not None and name[1] == "data":
            try:
                _, stop = _DECODER.raw_decode(text, name.end())
                after = _AFTER_JSON.match(text, stop)
            except (ValueError, RecursionError):
                after = None
            if after is None:
                held.append((name.end(), end))
            else:
                if held:
                    yield held
                    held = []
                yield name.end(), stop
                following = after.end()
        else:  # a blank line ends a frame, and so do other fields and comments
            if held:
                yield held
                held = []
            if name is not None and name.end() < end:
                yield [(name.end(), end)]
        at = following
    if held:
        yield held
