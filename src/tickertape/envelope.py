"""What wraps the content: completions, SSE streams, poll bodies, HTTP errors.

`ResponseReader` is the sans-I/O core; `responses.py` feeds it.
"""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any

from . import events as ev
from ._errors import ParserClosed, ResponseError
from ._failures import Failures
from ._poll import is_poll, read_poll
from ._sse import FIELDS, Decoder, Frame
from .grammar import Grammar
from .parser import MAX_PENDING, Parser
from .task import Envelope, Task, TaskError

if TYPE_CHECKING:
    from .events import Event, Kind

_SSE_STARTS = (*(f"{field}:" for field in FIELDS), ":")
_DATA_URLS = ("data:image/", "data:video/", "data:audio/")
_PAGES = ("<!doctype", "<html", "<head", "<body")
_RESPONSE_KEYS = ("id", "object", "choices", "error", "created", "code", "success")
"""What a JSON response begins with and an echoed request does not."""


class ResponseReader:
    """An incremental, sans-I/O reader of one HTTP response or of the chunks made of it.

    `feed()` takes bytes or text of the body in any pieces (an SSE stream, a JSON
    body, or bare content), or chunks as dicts or SDK objects; it returns the
    events that became certain. What comes beside the text makes events too, with
    empty spans: an error frame a `Failed`, an image part an `Image`.
    """

    def __init__(
        self,
        *,
        status_code: int | None = None,
        choice: int | None = None,
        grammar: Grammar | None = None,
        max_pending: int = MAX_PENDING,
        history: bool = True,
    ) -> None:
        self._grammar = grammar if grammar is not None else Grammar.default()
        self._failures = Failures(self._grammar)
        self._parser = Parser(grammar=self._grammar, max_pending=max_pending, history=history)
        self._reasoning = self._grammar.machine(max_pending=max_pending)
        self._status_code = status_code
        self._choice = choice
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._mode = ""  # "", "sse", "content" or "body"
        self._start: list[str] = []  # text whose kind is not clear yet, or a whole body
        self._sse = Decoder()
        self._done = False
        self._closed = False
        self._high = ""  # the first half of a surrogate pair cut by two deltas
        self._wrapped = False
        self._finish_reason: str | None = None
        self._thoughts: list[str] = []
        self._error: Any = None
        self._bad: list[str] = []
        self._task: Task | None = None  # when the body was no message

    @property
    def _failed_request(self) -> bool:
        return self._status_code is not None and self._status_code >= 400

    @property
    def task(self) -> Task:
        """What the response so far amounts to."""
        if self._task is not None:
            return self._task
        if self._wrapped or self._bad:
            self._parser._fold.envelope = Envelope(
                self._finish_reason,
                "".join(self._thoughts) if self._thoughts else None,
                self._error,
                len(self._bad),
                tuple(self._bad),
            )
            self._parser._task = None
        return self._parser.task

    @property
    def pending(self) -> str:
        """Text that no event accounts for yet."""
        return "".join(self._start) + self._parser.pending

    def feed(self, data: Any) -> list[Event]:
        """Read the next piece: bytes or str of the body, or one chunk as a dict or SDK object."""
        if self._closed:
            raise ParserClosed("feed() after close(): a reader reads one response, make a new ResponseReader")
        if isinstance(data, bytes | bytearray | memoryview):
            return self._text(self._utf8.decode(bytes(data)), body=True)
        if isinstance(data, str):
            return self._text(data, body=False)
        return self._frame(as_dict(data), "")

    def close(self) -> list[Event]:
        """The body has ended; the last events."""
        if self._closed:
            return []
        events = self._text(self._utf8.decode(b"", True), body=True)
        self._closed = True
        if self._mode == "sse":
            events += self._frames(self._sse.flush())
        elif self._start:
            text, self._start = "".join(self._start), []
            events += self._body(text)
        if self._high:
            events += self._parser.feed(self._high)
        for event in self._reasoning.close():
            self._parser._fold.add_progress(event)
        events += self._parser.close()
        self._judge_status()
        return events

    # -- the body as text -----------------------------------------------------------

    def _text(self, text: str, *, body: bool) -> list[Event]:
        if not text and self._mode != "sse":
            return []
        if self._mode == "sse":
            return self._frames(self._sse.decode(text))
        if self._mode == "content":
            return self._parser.feed(text)
        self._start.append(text)
        if self._mode == "body":
            return []
        start = "".join(self._start).lstrip(" \t\r\n\ufeff")
        self._mode = _kind(start, body=body)
        if self._mode == "content" and self._failed_request:
            self._mode = "body"
        if self._mode == "sse":
            self._wrapped = True
            text, self._start = "".join(self._start).lstrip("\ufeff"), []
            return self._frames(self._sse.decode(text))
        if self._mode == "content":
            text, self._start = "".join(self._start), []
            return self._parser.feed(text)
        return []

    def _body(self, text: str) -> list[Event]:
        """A body that had to be complete before it could be read."""
        try:
            value = json.loads(text.lstrip("\ufeff"))
        except (ValueError, RecursionError):
            return self._no_json(text)
        if value is None or (isinstance(value, str) and self._failed_request):
            return self._fail_body(self._failures.error(value, None, self._status_code))
        if isinstance(value, str):  # an SSE body as a JSON string, as some gateways answer
            if _kind(value.lstrip(), body=True) == "sse":
                self._mode, self._wrapped = "sse", True
                return self._frames([*self._sse.decode(value), *self._sse.flush()])
            return self._parser.feed(value)
        if isinstance(value, list):
            return [event for item in value if isinstance(item, dict) for event in self._frame(item, "")]
        return self._object(value, text) if isinstance(value, dict) else self._parser.feed(text)

    def _no_json(self, text: str) -> list[Event]:
        start = text.lstrip().lower()
        if start.startswith("<") and (self._failed_request or start.startswith(_PAGES)):
            from ._html import page_message  # an HTML parser for the rare page

            code = self._status_code if self._failed_request else 502  # a page is what a broken gateway sends
            return self._fail_body(self._failures.error(page_message(text), None, code), text)
        if self._failed_request:
            return self._fail_body(self._failures.error(text.strip() or None, None, self._status_code), text)
        if start.startswith("{") and any(f'"{key}"' in start[:400] for key in ("choices", "object", "error")):
            self._bad.append(text)  # a response cut off in the middle
            return []
        return self._parser.feed(text)

    def _object(self, value: dict[str, Any], text: str | None = None) -> list[Event]:
        if "choices" in value or ("content" in value and "role" in value):
            return self._frame(value, "")
        poll = is_poll(value)
        if isinstance(value.get("data"), str) and not poll and not self._failed_request and not _flat_error(value):
            return self._frame(value, "")
        told = self._failures.body(value.get("error"), self._status_code)
        if told is not None and not poll:
            return self._fail_body(told)
        if _flat_error(value) or (self._failed_request and not poll):
            told = self._failures.body(value, self._status_code)
            return self._fail_body(told or self._failures.error(None, None, self._status_code))
        if poll or isinstance(value.get("data"), list):
            return self._poll(value)
        if text is not None:  # content that is nothing but the echo
            return self._parser.feed(text)
        self._bad.append(json.dumps(value, ensure_ascii=False, default=str))
        return []

    def _fail_body(self, error: TaskError, text: str = "") -> list[Event]:
        self._task = Task("failed", error=error, text=text)
        return [ev.Failed(0, 0, "", error.message)]

    def _poll(self, value: dict[str, Any]) -> list[Event]:
        """A task's status or an acknowledgement. It has no text: its media and its verdict make the events."""
        self._task = task = read_poll(value, self._failures, self._grammar, self._status_code)
        events: list[Event] = [ev.TaskId(0, 0, "id", task.task_id)] if task.task_id else []
        events += [ev.Progress(0, 0, percent, None, None) for percent in task.progress]
        events += [_medium(0, result.kind, result.url) for result in task.results]
        if task.error is not None:
            events.append(ev.Failed(0, 0, "", task.error.message))
        elif task.status == "completed":
            events.append(ev.Completed(0, 0, "completed"))
        return events

    # -- frames -------------------------------------------------------------------------

    def _frames(self, frames: list[Frame]) -> list[Event]:
        events: list[Event] = []
        for frame in frames:
            if self._done:
                break
            if frame.done:
                self._done = True
            elif frame.bad is not None and frame.name == "error":
                self._wrapped = True
                events += self._read_error(frame.bad)
            elif frame.bad is not None:
                self._bad.append(frame.bad)
            elif isinstance(frame.data, dict):
                events += self._frame(frame.data, frame.name)
            elif isinstance(frame.data, str) and frame.name == "error":
                events += self._read_error(frame.data)
            else:
                self._bad.append(json.dumps(frame.data, ensure_ascii=False))
        return events

    def _frame(self, value: dict[str, Any], name: str) -> list[Event]:
        self._wrapped = True
        events: list[Event] = []
        choices = value.get("choices")
        if "role" in value and "content" in value and choices is None:
            events += self._message(value)
        elif isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict) and self._choice in (None, choice.get("index", 0)):
                    events += self._read_choice(choice)
        elif isinstance(value.get("data"), str) and not _flat_error(value):
            events += self._content(value["data"])
        elif is_poll(value) and not self._parser.task.text:
            return self._poll(value)
        self._finish_reason = _text_of(value.get("finish_reason")) or self._finish_reason
        error = value.get("error")
        if error is None and (name == "error" or _flat_error(value)):
            error = value
        return events + self._read_error(error)

    def _read_choice(self, choice: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        for key in ("delta", "message"):
            message = choice.get(key)
            if isinstance(message, dict):
                events += self._message(message)
        if isinstance(text := choice.get("text"), str):
            events += self._content(text)
        self._finish_reason = _text_of(choice.get("finish_reason")) or self._finish_reason
        return events + self._read_error(choice.get("error"))

    def _message(self, message: dict[str, Any]) -> list[Event]:
        for key in ("reasoning_content", "reasoning"):
            if isinstance(thought := message.get(key), str):
                if thought:
                    self._thoughts.append(thought)
                    for event in self._reasoning.feed(thought):
                        self._parser._fold.add_progress(event)
                break
        events = self._content(message.get("content"))
        # What OpenAI's models refuse with stands beside the content, which is null then.
        events += self._content(message.get("refusal"))
        images = message.get("images")
        for image in images if isinstance(images, list) else ():
            events += self._beside("image", image) if isinstance(image, str) and image else self._part(image)
        return events + self._read_error(message.get("error"))

    def _content(self, content: Any) -> list[Event]:
        if isinstance(content, str):
            return self._parser.feed(self._pair(content))
        if isinstance(content, list):
            return [event for part in content for event in self._part(part)]
        return []

    def _part(self, part: Any) -> list[Event]:
        """One part of a content that is a list, or one of `images`."""
        if isinstance(part, str):
            return self._content(part)
        if not isinstance(part, dict):
            return []
        for key in ("text", "refusal"):
            if isinstance(said := part.get(key), str):
                return self._content(said)
        for key, kind in _PARTS:
            medium = part.get(key)
            url = medium.get("url") if isinstance(medium, dict) else medium
            if isinstance(url, str) and url:
                return self._beside(kind, url)
        return []

    def _beside(self, kind: Kind, url: str) -> list[Event]:
        return self._parser._take([_medium(self._parser._machine.emitted, kind, url)])

    def _read_error(self, error: Any) -> list[Event]:
        told = self._failures.body(error, self._status_code)
        if told is None:
            return []
        self._error = error
        self._parser._fold.told = told
        at = self._parser._machine.emitted
        return self._parser._take([ev.Failed(at, at, "", told.message)])

    def _pair(self, text: str) -> str:
        """Join surrogate pairs: JSON may escape an emoji as two halves, and a relay cut between them."""
        if text.isascii() and not self._high:
            return text
        text, self._high = self._high + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._high = text[:-1], text[-1]
        if any("\ud800" <= character <= "\udfff" for character in text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return text

    def _judge_status(self) -> None:
        """An HTTP error is a failure, whatever the body looks like."""
        if self._status_code is None or self._status_code < 400 or self._task is not None:
            return
        task = self.task
        if not task.results and (task.error is None or task.error.category == "text_only"):
            error = self._failures.error(task.text.strip() or None, None, self._status_code)
            self._task = Task("failed", error=error, events=task.events, text=task.text, envelope=task.envelope)


_PARTS: tuple[tuple[str, Kind], ...] = (
    ("image_url", "image"),
    ("video_url", "video"),
    ("audio_url", "audio"),
    ("url", "image"),
)


def _medium(at: int, kind: Kind, url: str) -> Event:
    """A medium that came beside the text."""
    return ev.Image(at, at, "", url) if kind == "image" else ev.Link(at, at, "", url, "watch", kind)


def _text_of(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def as_dict(value: Any) -> dict[str, Any]:
    """A chunk or a response as a dict; SDK objects are pydantic models or have `to_dict`."""
    if isinstance(value, dict):
        return value
    chunk = getattr(value, "chunk", None)  # the SDK's `.stream()` helper wraps chunks into events
    if chunk is not None and not callable(chunk):
        value = chunk
    for method in ("model_dump", "to_dict", "dict"):
        if callable(dump := getattr(value, method, None)):
            dumped = dump()
            if isinstance(dumped, dict):
                return dumped
    raise ResponseError(f"expected a dict, text, bytes or an SDK object, got {type(value).__name__}")


def _flat_error(value: dict[str, Any]) -> bool:
    """`{"code": …, "message": …, "data": null}` and `{"success": false, "message": …}`."""
    if is_poll(value) or not isinstance(value.get("message", value.get("msg", value.get("detail"))), str):
        return False
    if "prompt" in value:  # an echoed request
        return False
    harmless = value.get("code") in (None, 0, 200, "0", "200", "success", "ok")
    return value.get("success") is False or not harmless


def _kind(start: str, *, body: bool) -> str:
    """What text that begins like this is; empty while it could still be either."""
    if not start:
        return ""
    lowered = start[:16].lower()
    if start.startswith(_DATA_URLS):
        return "content"
    if any(url.startswith(start) for url in _DATA_URLS):
        return ""
    if any(start.startswith(sse) for sse in _SSE_STARTS):
        return "sse"
    if any(sse.startswith(start) for sse in _SSE_STARTS):
        return ""
    for page in _PAGES:
        if lowered.startswith(page):
            return "body"
        if page.startswith(lowered):
            return ""
    if start[0] not in '{["':
        return "content"
    if body:
        return "body"
    # A str is most often a delta of content, which may begin with a bare object.
    if start[0] != "{":
        return "content"
    inside = start[1:].lstrip()
    if not inside or any(f'"{key}"'.startswith(inside) for key in _RESPONSE_KEYS):
        return ""
    return "body" if any(inside.startswith(f'"{key}"') for key in _RESPONSE_KEYS) else "content"
