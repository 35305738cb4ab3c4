"""Tapes as JSON Lines: one line a fact, and what is refused on reading them.

    {"recorded": "2026-11-22T12:00:00Z", "tape": 1, "title": "…"}
    {"request": {"headers": {…}, "json": {…}, "method": "POST", "path": "/v1/chat/completions"}}
    {"response": {"headers": {…}, "status": 200}, "t": 0.4}
    {"data": "data: {…}\\n\\n", "t": 0.512}
    {"end": "eof", "t": 41.3}

`t` is in seconds after the request, to the millisecond. That of a response is
there only when its head came before its first byte. Media lie in files of their own,
named by their hash: `{"media": "<sha256>.png", "t": 0.512}`. A body is `json`, `text` or
`b64`; a JSON body is kept by its meaning, not by its white space and the order of
its keys. Response headers are an object, or a list of pairs where a name repeats;
where none does their order is not kept, HTTP gives it no meaning.
Lines that hold none of these facts are notes, and kept as they are; so are keys of a
fact that nobody knows.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, get_args
from urllib.parse import urlsplit

from .._errors import TapeError
from .._poll import is_poll
from ..envelope import ResponseReader
from ..events import LineEnd, Parameters, Text
from ._chat import calls_tools, dump, is_text
from ._gallery import SUFFIXES as TAPES
from ._rewrite import opaque
from ._wire import Data, End, Ending, Head, Reply, Request, body_of, end_of, head_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Headers = tuple[tuple[str, str], ...]
Fail = Callable[[str, str], NoReturn]
"""Raises `TapeError`, told what was found, and what was expected and how to mend it."""

FORMAT = 1
HOST = "http://relay.invalid"
"""What a loaded request's URL begins with: the host is not recorded, and this one can never resolve."""

_FACTS = ("request", "response", "data", "b64", "media", "end")
KNOWN = {"request": ("method", "path", "headers", "json", "text", "b64"), "response": ("status", "headers")}
"""Keys of those that are objects."""
_HEADER = '{"tape": 1, "title": "…", "recorded": "…"}'


@dataclass(frozen=True, slots=True)
class Interaction:
    """A request and what came of it."""

    request: Request | None
    """None where only the answer was kept: in a bare file."""
    reply: Reply
    """As recorded: with the boundaries of its chunks and their times, which never fall. Its headers are sorted
    where no name repeats, so that a tape is equal to what is loaded from what it saved."""
    notes: tuple[tuple[int, str], ...] = ()
    """Lines that are no facts, as written, each with the number of the interaction's facts before it."""
    more: tuple[tuple[int, str], ...] = ()
    """Keys of facts that nobody knows, as JSON such as `{"comment": "…", "request": {"zz": 1}}`, each with the
    number of the interaction's facts before theirs."""
    inline: bool = field(default=False, compare=False)
    """Whether a medium stays in the tape, because it was there when the tape was read."""

    def __post_init__(self) -> None:
        last = 0.0
        for step in self.reply:
            if step.t < last:
                raise TapeError(f"a step at {step.t} s after one at {last} s; times never fall, sort the steps")
            last = step.t
        if (head := head_of(self.reply)) is not None and _unique(head.headers):
            sorted_head = Head(head.t, head.status, tuple(sorted(head.headers)))
            object.__setattr__(self, "reply", (sorted_head, *self.reply[1:]))

    @property
    def is_chat(self) -> bool:
        """Whether this is a chat answer, and no poll, medium or page; a bare file is one."""
        return self.request is None or self.request.path.rstrip("/").endswith("/chat/completions")

    @property
    def succeeded(self) -> bool:
        head = head_of(self.reply)
        return head is not None and 200 <= head.status < 300 and head.status != 204


class Unread(NamedTuple):
    """Why an answer cannot be read, and how to mend it where that is not to record it again."""

    found: str
    remedy: str = ""


def unreadable(interaction: Interaction) -> Unread | None:
    """Why the body of a chat answer cannot be read; None when it can, or need not be: an answer
    that is no success, was cut on purpose, or is no chat at all may have any body."""
    if not (interaction.is_chat and interaction.succeeded and end_of(interaction.reply).how == "eof"):
        return None
    body = body_of(interaction.reply)
    if not body.strip():
        return Unread("the body is empty")
    head = head_of(interaction.reply)
    kind = opaque({name.lower(): value for name, value in head.headers} if head else {}) or ""
    if kind.startswith("compressed"):
        return Unread(f"the body is {kind}", "store it decoded, and take the header content-encoding out")
    if (encoding := _other_encoding(body)) is not None:
        return Unread(f"the body is {encoding}", "relays write UTF-8, convert it")
    if is_text(body) and (body.translate(None, _CONTROLS) != body or (kind and not _is_utf_8(body))):
        kind = kind or f"its first bytes are {body[:8].hex(' ')}"
        return Unread(f"the body is no text ({kind})", "add the request that it answered before it")
    value = _json(body)
    if value is None or isinstance(value, bool | int | float):
        return Unread(f"the body is {_kind_of(value)}", "expected a completion, a stream, a task's status or an error")
    reader = ResponseReader()
    events = [*reader.feed(body), *reader.close()]
    envelope = reader.task.envelope
    # A bare object is read as an echo, or as prose; it is an answer only in a message.
    no_answer = (LineEnd, Parameters, *((Text,) if isinstance(value, dict) else ()))
    told = [event for event in events if envelope is not None or not isinstance(event, no_answer)]
    is_bare = envelope is None and isinstance(value, dict) and reader.task.text
    if told or (reader.task.error is not None and not is_bare) or (envelope is not None and envelope.reasoning):
        return None
    if (isinstance(value, dict) and is_poll(value)) or calls_tools(body):
        return None
    bad = f", {envelope.bad_frames} of its frames are no JSON" if envelope is not None and envelope.bad_frames else ""
    return Unread(f"the body of {len(body)} bytes says nothing: no content, no status, no error{bad}")


_CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t\n\v\f\r\x1b"})
"""What no text holds, and any picture does."""
_NO_JSON: Any = object()


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return _NO_JSON


def _is_utf_8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _other_encoding(body: bytes) -> str | None:
    """`UTF-16`, where a body is text in it."""
    encoding = json.detect_encoding(body)
    try:
        body.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if encoding.startswith("utf-8") else encoding.upper()[:6]


def _is_task(body: bytes) -> bool:
    """Whether a body tells of a task and is no chat answer: a poll's, or that of another route."""
    value = _json(body)
    return (
        isinstance(value, dict) and "choices" not in value and (is_poll(value) or isinstance(value.get("data"), list))
    )


# -- writing ------------------------------------------------------------------------


Store = Callable[[bytes, str], str]
"""Keeps a medium, told its suffix, and gives the name it goes by."""


def dumps(header: Mapping[str, Any], interactions: Iterable[Interaction], store: Store | None = None) -> str:
    """The lines of a tape, each ended by a newline; with `store`, media are kept by it and only named."""
    lines = [_line({**header, "tape": FORMAT})]
    for interaction in interactions:
        more = {number: json.loads(text) for number, text in interaction.more}
        facts = [_line(_merged(more.get(number, {}), fact)) for number, fact in enumerate(_facts(interaction, store))]
        notes = sorted(interaction.notes, key=lambda note: note[0])
        for number in range(len(facts) + 1):
            lines += [text for at, text in notes if min(at, len(facts)) == number]
            lines += facts[number : number + 1]
    return "".join(f"{line}\n" for line in lines)


def _merged(more: dict[str, Any], fact: dict[str, Any]) -> dict[str, Any]:
    """A fact with the keys of it that nobody knows."""
    inner = {key: {**more[key], **fact[key]} for key in KNOWN if key in more and key in fact}
    return {**more, **fact, **inner}


def _line(value: dict[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    try:
        text.encode()
    except UnicodeEncodeError:  # half an emoji, which UTF-8 cannot hold
        text = json.dumps(value, sort_keys=True)
    return text


def _facts(interaction: Interaction, store: Store | None) -> Iterator[dict[str, Any]]:
    request, suffix = interaction.request, medium_suffix(interaction.reply)
    if request is not None:
        url = urlsplit(request.url)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        fact = {"method": request.method, "path": path, "headers": dict(request.headers), **_body(request.body)}
        yield {"request": fact}
    for number, step in enumerate(interaction.reply):
        t = round(step.t, 3)
        if isinstance(step, Head):
            fact = {"response": {"status": step.status, "headers": _headers(step.headers)}}
            yield fact if t == round(interaction.reply[number + 1].t, 3) else {**fact, "t": t}
        elif isinstance(step, Data) and store is not None and suffix is not None and not interaction.inline:
            yield {"t": t, "media": store(step.data, suffix)}
        elif isinstance(step, Data):
            yield {"t": t, **_text("data", step.data)}
        else:
            yield {"t": t, "end": step.how}


def medium_suffix(reply: Reply) -> str | None:
    """The suffix of the file that a reply's body is kept in; None where it stays in the tape: what is no
    medium, and one whose chunks were kept."""
    head = head_of(reply)
    headers = {name.lower(): value for name, value in head.headers} if head else {}
    if sum(isinstance(step, Data) for step in reply) != 1 or not (opaque(headers) or "").startswith("media"):
        return None
    media_type = headers["content-type"].partition(";")[0].strip().lower()
    suffix = _SUFFIXES.get(media_type) or f".{re.sub('[^a-z0-9]', '', media_type.rpartition('/')[2])[:8] or 'bin'}"
    return ".bin" if suffix in TAPES else suffix  # it shall not look like a tape


_SUFFIXES = {"image/jpeg": ".jpg", "audio/mpeg": ".mp3", "audio/x-wav": ".wav", "application/octet-stream": ".bin"}


def _body(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        return {"json": json.loads(body.decode())}
    except (ValueError, RecursionError):
        return _text("text", body)


def _text(key: str, data: bytes) -> dict[str, Any]:
    try:
        return {key: data.decode()}
    except UnicodeDecodeError:  # a character cut by the end of its chunk, or never whole
        return {"b64": base64.b64encode(data).decode()}


def _headers(headers: Headers) -> dict[str, str] | list[list[str]]:
    return dict(headers) if _unique(headers) else [list(pair) for pair in headers]


def _unique(headers: Headers) -> bool:
    return len({name.lower() for name, _ in headers}) == len(headers)


# -- reading ------------------------------------------------------------------------


class FactReader:
    """One pass over the lines of a tape. Every error names the file, the line and the remedy."""

    def __init__(self, where: str, media: Callable[[object], bytes] | None = None) -> None:
        """`media` gives a medium by its name, or raises `TapeError`; None where there is no folder to look in."""
        self._where = where
        self._media = media
        self._line = 0
        self._done: list[tuple[Interaction, list[tuple[int, str]]]] = []
        self._begin()

    def _begin(self) -> None:
        self._request: Request | None = None
        self._response: tuple[float | None, int, Headers] | None = None
        self._steps: list[Head | Data | End] = []
        self._notes: list[tuple[int, str]] = []
        self._more: list[tuple[int, str]] = []
        self._inline = False
        self._count = 0
        self._t = 0.0

    def read(self, text: str) -> tuple[dict[str, Any], tuple[Interaction, ...]]:
        """The header and the interactions."""
        header: dict[str, Any] | None = None
        for self._line, line in enumerate(text.split("\n"), 1):  # splitlines() would break at U+2028
            line = line.strip(" \t\r")
            if line and header is None:
                header = self._header(self._decode(line))
            elif line:
                self._fact(self._decode(line), line)
        if header is None:
            self._fail("the file is empty", f"expected the header {_HEADER}; record it again")
        if self._count:
            self._fail("the last interaction has no end", 'add {"t": …, "end": "eof"}, or record it again')
        if not self._done:
            self._fail("no interaction follows the header", "expected a response, its data and its end")
        return header, tuple(replace(interaction, notes=tuple(notes)) for interaction, notes in self._done)

    def _fail(self, found: str, remedy: str) -> NoReturn:
        raise TapeError(f"{self._where}, line {self._line}: {found}; {remedy}")

    def _decode(self, line: str) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            self._fail(f"no JSON ({error})", "expected one object a line; mend the line, or record the tape again")
        if not isinstance(value, dict):
            self._fail(f"found {_kind_of(value)}", "expected one object a line; mend the line")
        return value

    def _header(self, value: dict[str, Any]) -> dict[str, Any]:
        found = value.get("tape")
        if found is None:
            self._fail("no header", f"expected {_HEADER} first; name content .md, a response .json, a stream .sse")
        if type(found) is not int or found != FORMAT:
            newer = type(found) is int and found > FORMAT
            remedy = "pip install -U tickertape" if newer else f'write "tape": {FORMAT}, or record it again'
            self._fail(f"tape format {found!r}", f"expected format {FORMAT}, which this tickertape reads; {remedy}")
        if found := next((key for key in _FACTS if key in value), None):
            self._fail(f"{found} on the line of the header", "expected one fact a line; put it on a line of its own")
        for key in ("title", "recorded"):
            if not isinstance(value.get(key), str | None):
                self._fail(f"{key} is {_kind_of(value[key])}", "expected text; put it in quotes")
        return value

    def _fact(self, value: dict[str, Any], line: str) -> None:
        found = [key for key in _FACTS if key in value]
        if not found and "t" in value:
            self._fail(
                f"a time with {', '.join(repr(key) for key in value if key != 't') or 'nothing'}",
                "expected data, b64 or end beside t; mend the line",
            )
        if not found:
            if self._count or not self._done:
                self._notes.append((self._count, line))
            else:  # a note after an end tells of what has ended
                interaction, notes = self._done[-1]
                notes.append((len(interaction.reply) + (interaction.request is not None), line))
            return
        if len(found) > 1:
            self._fail(f"{' and '.join(found)} in one line", "expected one fact a line; part them")
        if told := unknown_keys(found[0], value):
            self._more.append((self._count, told))
        getattr(self, f"_read_{found[0]}")(value)
        if found[0] != "end":
            self._count += 1

    def _read_request(self, value: dict[str, Any]) -> None:
        if self._count:
            self._fail("a request before the end of the interaction above", 'add {"t": …, "end": "eof"} before it')
        self._request = read_request(value["request"], self._fail)

    def _read_response(self, value: dict[str, Any]) -> None:
        if self._response is not None:
            self._fail("a response before the end of the one above", 'add {"t": …, "end": "eof"} before it')
        t = self._time(value) if "t" in value else None
        self._response = (t, *read_response(value["response"], self._fail))

    def _read_data(self, value: dict[str, Any]) -> None:
        try:
            self._add(Data(self._time(value), value["data"].encode()))
        except (AttributeError, UnicodeEncodeError):
            self._fail("data that is no text UTF-8 can hold", 'write bytes as "b64"')

    def _read_b64(self, value: dict[str, Any]) -> None:
        self._inline = True
        self._add(Data(self._time(value), _unbase64(value["b64"], self._fail)))

    def _read_media(self, value: dict[str, Any]) -> None:
        if self._media is None:
            self._fail("a medium, and no folder to look for it", "load the tape from its file")
        try:
            self._add(Data(self._time(value), self._media(value["media"])))
        except TapeError as error:
            raise TapeError(f"{self._where}, line {self._line}: {error}") from error

    def _read_end(self, value: dict[str, Any]) -> None:
        how, t = value["end"], self._time(value)
        if how not in get_args(Ending):
            self._fail(f"end {how!r}", f"expected one of {', '.join(get_args(Ending))}")
        if self._response is None and how == "eof":
            self._fail("an end of a message that did not begin", 'add its response, or end it with "reset"')
        if self._response is not None and how == "refused":
            self._fail("a response from a connection that was refused", 'end it with "reset" or "closed"')
        self._add(End(t, how))
        reply = tuple(self._steps)
        interaction = Interaction(self._request, reply, more=tuple(self._more), inline=self._inline)
        told = unreadable(interaction)
        if self._request is None and self._done and (told or (interaction.succeeded and _is_task(body_of(reply)))):
            self._fail(
                "an answer without a request, behind another one, that reads as no chat answer",
                'add its request before it, such as {"request": {"method": "GET", "path": "/v1/videos/task_1"}}',
            )
        if told:
            remedy = told.remedy or "record it again, or end it as it was cut"
            self._fail(f"{told.found}, in the answer that ends here", remedy)
        self._done.append((interaction, self._notes))
        self._begin()

    def _add(self, step: Data | End) -> None:
        if self._response is not None and not self._steps:
            t, status, headers = self._response
            self._steps.append(Head(step.t if t is None else t, status, headers))
        elif not self._steps and isinstance(step, Data):
            self._fail("data before a response", 'add {"response": {"status": 200, "headers": {}}} before it')
        self._steps.append(step)

    def _time(self, value: dict[str, Any]) -> float:
        t = value.get("t")
        if not isinstance(t, int | float) or isinstance(t, bool) or not math.isfinite(t) or t < 0:
            self._fail(f"t is {t!r}", "expected seconds after the request, such as 0.512")
        if t < self._t:
            self._fail(f"t falls from {self._t} to {t}", "expected times that never fall; sort the lines, or mend t")
        self._t = float(t)
        return self._t


def unknown_keys(fact: str, value: dict[str, Any]) -> str:
    """The keys of a line, and of the request or response on it, that nobody knows, as JSON; empty without any."""
    more = {key: told for key, told in value.items() if key not in ("t", fact)}
    if fact == "request" and "t" in value:  # only what is answered has a time
        more["t"] = value["t"]
    if isinstance(inner := value[fact], dict) and (
        inside := {key: told for key, told in inner.items() if key not in KNOWN.get(fact, ())}
    ):
        more[fact] = inside
    return _line(more) if more else ""


def more_of(*told: str) -> str:
    """The keys of several lines, as JSON, when these become one."""
    return (
        told[0] if len(told) == 1 else _line({key: value for text in told for key, value in json.loads(text).items()})
    )


def read_request(value: Any, fail: Fail) -> Request:
    """A request as the `request` fact and `NAME.request.json` hold it; `fail(found, remedy)` raises."""
    if not isinstance(value, dict):
        fail(f"a request that is {_kind_of(value)}", "expected an object with method and path")
    method, path, headers = value.get("method", "POST"), value.get("path"), value.get("headers", {})
    if not isinstance(method, str) or not isinstance(path, str) or not path.startswith("/"):
        fail(f"method {method!r} and path {path!r}", "expected such as 'POST' and '/v1/chat/completions'")
    if not isinstance(headers, dict) or not all(isinstance(text, str) for text in headers.values()):
        fail("headers of a request that are no object of texts", 'write them as {"name": "value"}')
    bodies = [key for key in ("json", "text", "b64") if key in value]
    if len(bodies) > 1:
        fail(f"a request with {' and '.join(bodies)}", "expected one body; take the others out")
    body = b""
    if "json" in value:
        body = dump(value["json"], sort_keys=True)
    elif "text" in value:
        if not isinstance(value["text"], str):
            fail(f"a request whose text is {_kind_of(value['text'])}", 'put it in quotes, or write "json"')
        body = value["text"].encode("utf-8", "surrogatepass")
    elif "b64" in value:
        body = _unbase64(value["b64"], fail)
    return Request(method, HOST + path, {name.lower(): text for name, text in headers.items()}, body)


def read_response(value: Any, fail: Fail) -> tuple[int, Headers]:
    """Status and headers as the `response` fact and `NAME.response.json` hold them."""
    status = value.get("status") if isinstance(value, dict) else None
    if not isinstance(status, int) or not 100 <= status <= 599:
        fail(f"a response with the status {status!r}", "expected an HTTP status, such as 200")
    headers = value.get("headers", {})
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in pairs
    ):
        fail("headers of a response that are no texts", 'write them as {"name": "value"} or [["name", "value"]]')
    return status, tuple((name, text) for name, text in pairs)


def _unbase64(text: Any, fail: Fail) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        fail("b64 that is no base64", "mend the line, or record it again")


def _kind_of(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")
