"""The journal: what was asked, what was answered, and how far the client read.

The relay makes a `Call` when a request arrives and moves `received`, `ended` and
`ended_at` on while the client reads. All else is worked out when it is asked for,
so that an entry costs a test that never looks at it next to nothing.
"""

from __future__ import annotations

import json
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

from .._errors import TickertapeError
from ..responses import parse_response
from ._wire import End, Ending, Reply, Request, body_of, head_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from ..task import Task
    from ._client import Asker

CallKind = Literal["chat", "poll", "web", "media", "models", "other", "unmatched"]
"""`poll` asked for a task's JSON, `web` for its page; `unmatched` is what no play answers."""
Ended = Ending | Literal["left", "hang"]
"""How a call ended: as the reply did, or

`left`     the client closed the connection, or its response, before the end
`timeout`  the client's own timeout ended it
`hang`     nothing more would ever have come, and the client had no timeout
"""

_HOW_TO_SEND = ("stream", "stream_options")
"""What a request says of the answer's form. The job, and its price, are the same."""


class NoCalls(TickertapeError, IndexError):
    """A call was asked for that there is not."""


class UnknownKind(TickertapeError, ValueError):
    """Calls of a kind were asked for that no call can be of."""


@dataclass(eq=False, repr=False)
class Call:
    """One request and what became of it. Only the relay changes it."""

    number: int
    """Counted from 1, in order of arrival."""
    time: float
    """When the request arrived, in virtual seconds since the relay began."""
    request: Request
    kind: CallKind
    answer: str = ""
    """What answered: the name of a play, or what a fault did."""
    reply: Reply | None = None
    """The whole answer, also where the client did not read all of it."""
    role: str | None = None
    """What a medium is to its job: `result`, `download`, `poster`, `preview`, `input`; None where that is unknown."""
    job: Hashable = None
    """Joins a chat call, the polls and the media of one job: equal for all of them."""
    received: int = 0
    """Bytes of the body that the client was given so far."""
    ended: Ended | None = None
    """None while it is under way."""
    ended_at: float | None = None
    """In virtual seconds since the relay began."""
    shown: float | None = None
    """What the client's own clock showed when it asked, in seconds since the relay began. It also goes on while
    the client computes. None where nobody can tell."""
    asker: Asker | None = None
    """Which task or thread of the client asked; None where nobody can tell."""
    wall: float | None = None
    """The time of day by the client's clock, as `time.time()`, where the answer names one."""
    _earlier: Sequence[Call] = field(default=(), init=False)
    _ordered: Request | None = field(default=None, init=False)
    """The chat request that orders the same, where another endpoint was asked."""
    _read: tuple[int, Task] | None = field(default=None, init=False)

    def order_as(self, chat: Request | None) -> None:
        """Note the chat request that orders the same, where another endpoint was asked; for the relay."""
        self._ordered = None if chat is self.request else chat

    @property
    def _body(self) -> dict[str, Any]:
        return body if isinstance(body := (self._ordered or self.request).json, dict) else {}

    @cached_property
    def _users(self) -> list[list[dict[str, Any]]]:
        """The parts of each message of the user; a bare text is one part."""
        messages = self._body.get("messages", self._body.get("input"))
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        if not isinstance(messages, list):
            return []
        return [_parts(m.get("content")) for m in messages if isinstance(m, dict) and m.get("role") == "user"]

    @cached_property
    def prompt(self) -> str:
        """The text of the user's last message, its parts joined by newlines; empty where there is none."""
        return "\n".join(_texts(self._users[-1])) if self._users else ""

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The URL, or `data:` URL, of every image in the user's messages, in order."""
        return tuple(url for parts in self._users for part in parts if (url := _image(part)))

    @property
    def model(self) -> str:
        """As asked for; empty where the request names none."""
        return model if isinstance(model := self._body.get("model"), str) else ""

    @property
    def stream(self) -> bool:
        """Whether a stream was asked for."""
        return self._body.get("stream") is True

    @property
    def retry(self) -> int | None:
        """How often the OpenAI SDK says that it has tried before; None where another client asks."""
        count = self.request.headers.get("x-stainless-retry-count", "")
        return int(count) if count.isascii() and count.isdigit() and len(count) < 10 else None

    @property
    def payer(self) -> str:
        """The key that was sent: what a relay charges, and counts against a limit. Empty where there is none."""
        return self.request.headers.get("authorization", "")

    @cached_property
    def attempt(self) -> int:
        """Counted from 1 among the chat calls of this journal that order the same with the same key."""
        before = [call for call in self._earlier if call.kind == "chat" and call.number < self.number]
        return 1 + sum(call.payer == self.payer and call.order == self.order for call in before)

    @cached_property
    def order(self) -> str:
        """A key, equal for chat requests that order (and pay for) the same; see `order_of`."""
        return order_of(self._ordered or self.request)

    @cached_property
    def wish(self) -> str:
        """A key, equal for chat requests with the same messages, whichever model is to make of them what it can."""
        try:
            messages = self._body.get("messages")
            return json.dumps(messages, sort_keys=True) if messages else self.order
        except RecursionError:
            return self.order

    @property
    def status(self) -> int | None:
        """The HTTP status of the answer; None where there was no answer."""
        head = head_of(self.reply or ())
        return head.status if head else None

    @property
    def task(self) -> Task | None:
        """What the client has been sent so far, as `parse_response` reads it; None for other calls than chats
        and polls, and where nothing answered."""
        if self.kind not in ("chat", "poll") or self.reply is None or self.status is None:
            return None
        if self._read is None or self._read[0] != self.received:  # it depends on nothing else
            self._read = (self.received, parse_response(body_of(self.reply)[: self.received], self.status))
        return self._read[1]

    @cached_property
    def public(self) -> Call:
        """What was asked, without keys, cookies and signatures; nothing of the answer."""
        from ._public import public  # the redactor, for reports only

        asked = [self.request] if self._ordered is None else [self.request, self._ordered]
        request, *ordered = public(*asked)
        call = Call(self.number, self.time, request, self.kind)
        call._ordered = ordered[0] if ordered else None
        return call

    def as_dict(self) -> dict[str, Any]:
        """The call as JSON data. Keys, cookies and signatures of the request are `REDACTED`; see `public`."""
        task, asked = self.task, self.public
        return {
            "number": self.number,
            "time": self.time,
            "kind": self.kind,
            "request": {
                "method": self.request.method,
                "url": asked.request.url,
                "headers": dict(asked.request.headers),
                "json": asked.request.json,
            },
            "prompt": asked.prompt,
            "images": list(asked.images),
            "model": asked.model,
            "stream": self.stream,
            "attempt": self.attempt,
            "retry": self.retry,
            "answer": self.answer,
            "status": self.status,
            "role": self.role,
            "job": None if self.job is None else str(self.job),
            "received": self.received,
            "ended": self.ended,
            "ended_at": self.ended_at,
            "task": None if task is None else task.as_dict(),
        }

    def __repr__(self) -> str:
        # Without headers: a failure report must not tell a key.
        request = _fit(f"{self.request.method} {self.request.path}", 60)
        return f"<Call {self.number} at {seconds(self.time)}: {self.kind} {request} -> {self.status or 'no answer'}>"


class Calls(Sequence[Call]):
    """The calls in order of arrival. Only the relay appends to it."""

    def __init__(self, calls: Iterable[Call] = (), *, of: Calls | None = None, kinds: Sequence[str] = ()) -> None:
        self._calls = list(calls)
        self._of, self._kinds = of, kinds
        """What these are a part of, and which: to tell why there are none."""
        self.seen = len(self._calls)
        """How many there were, with those that were forgotten."""

    def append(self, call: Call) -> None:
        """Note the next call; for the relay."""
        call._earlier = self._calls  # it will hold later ones too: `attempt` looks at numbers
        self._calls.append(call)
        self.seen += 1

    def forget(self) -> Call | None:
        """Drop the oldest call that has ended; for the relay. None where all are under way."""
        for at, call in enumerate(self._calls):
            if call.ended is not None:
                return self._calls.pop(at)
        return None

    def numbered(self, number: int) -> Call | None:
        """The call of this number; None where it was forgotten, or never made."""
        at = bisect_left(self._calls, number, key=lambda call: call.number)
        return self._calls[at] if at < len(self._calls) and self._calls[at].number == number else None

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> Calls: ...
    def __getitem__(self, index: int | slice) -> Call | Calls:
        if isinstance(index, slice):
            return Calls(self._calls[index], of=self)
        try:
            return self._calls[index]
        except IndexError:
            raise NoCalls(f"there is no such call: {self._number(index)}") from None

    def _number(self, index: int) -> str:
        """How many there are, for one who asks for more."""
        if self._calls:
            return f"[{index}] of {len(self._calls)}, of which the first is [0] and the last [-1]"
        if self._of is None or not self._of.seen:
            return "no request has reached the relay; give the client the relay's base_url, and look after it has asked"
        if not self._kinds:
            return f"this is an empty part of {self._of.seen} calls"
        others = ", ".join(dict.fromkeys(call.kind for call in self._of))
        return f"none of the {self._of.seen} calls is of the kind {' or '.join(self._kinds)}; there are {others}"

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    @property
    def first(self) -> Call:
        """Raises `NoCalls`, an IndexError, where there is none."""
        return self[0]

    @property
    def last(self) -> Call:
        """Raises `NoCalls`, an IndexError, where there is none."""
        return self[-1]

    def of_kind(self, *kinds: CallKind) -> Calls:
        """The calls of these kinds so far. Raises `UnknownKind`, a ValueError, for what is none."""
        if unknown := [kind for kind in kinds if kind not in get_args(CallKind)]:
            raise UnknownKind(
                f"no call is of the kind {', '.join(map(repr, unknown))}; there are {', '.join(get_args(CallKind))}"
            )
        return Calls((call for call in self._calls if call.kind in kinds), of=self, kinds=kinds)

    @property
    def chats(self) -> Calls:
        """The chat completions asked for: what is paid."""
        return self.of_kind("chat")

    @property
    def polls(self) -> Calls:
        """The looks at a running job, at its JSON or its page."""
        return self.of_kind("poll", "web")

    @property
    def media(self) -> Calls:
        """The images, videos and sounds fetched."""
        return self.of_kind("media")

    @property
    def unmatched(self) -> Calls:
        """What nothing was there to answer."""
        return self.of_kind("unmatched")

    def table(self, rows: int = 50) -> str:
        """The last `rows` calls as text for a terminal: a line each, nothing in it that a terminal would obey."""
        lines = [_COLUMNS, *(_cells(call) for call in self._calls[max(0, len(self._calls) - rows) :])]
        widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(map(_pad, cells, widths)).rstrip() for cells in lines]
        if len(self._calls) > rows:
            table.insert(1, f"… {len(self._calls) - rows} earlier")
        return "\n".join(table) if self._calls else "no calls"

    __str__ = table

    def hints(self) -> list[str]:
        """What those who meet the relay for the first time stumble over, where it was so: a sentence each."""
        told = []
        for call in self._calls:
            last = (call.reply or (None,))[-1]
            if call.answer.startswith("refused: "):
                told.append(
                    f"call {call.number} was refused as a relay does, with status {call.status}: send what it asks for "
                    "(a key is any 'Authorization: Bearer …'), or give validate=False"
                )
            elif call.ended == "timeout" and isinstance(last, End) and last.how == "eof":
                told.append(
                    f"call {call.number}: the whole answer would have come after {seconds(last.t)}, and the client's "
                    "read timeout ended it before; httpx gives 5 s unless it is told otherwise (timeout=60)"
                )
        return told

    def __repr__(self) -> str:
        return f"<Calls: {len(self._calls)}>\n{self.table()}"


def order_of(request: Request) -> str:
    """What a chat request orders, as a key: path and body, in any order of keys, streamed or not."""
    body = request.json
    if isinstance(body, dict):
        ordered = {key: value for key, value in body.items() if key not in _HOW_TO_SEND}
        try:
            return f"{request.path} {json.dumps(ordered, sort_keys=True)}"
        except RecursionError:
            pass
    return f"{request.path} {request.body!r}"


def seconds(time: float) -> str:
    """A time for people: milliseconds at most, no idle zeros: `0.25 s`, `40 s`."""
    return f"{time:.3f}".rstrip("0").rstrip(".") + " s"


# -- messages -------------------------------------------------------------------------


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _texts(parts: list[dict[str, Any]]) -> list[str]:
    return [
        text
        for part in parts
        if part.get("type") in ("text", "input_text") and isinstance(text := part.get("text"), str)
    ]


def _image(part: dict[str, Any]) -> str | None:
    if part.get("type") not in ("image_url", "input_image"):
        return None
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else None


# -- the table ------------------------------------------------------------------------

_COLUMNS = ("#", "time", "kind", "request", "asked", "status", "answer", "ended")


def _cells(call: Call) -> tuple[str, ...]:
    asked = " ".join(filter(None, (call.model, f'"{call.prompt[:200]}"' if call.prompt else "")))
    ended = call.ended or "under way"
    at = "" if call.ended_at is None else f" at {seconds(call.ended_at)}"
    return (
        str(call.number),
        seconds(call.time),
        f"{call.kind} {call.role or ''}".rstrip(),
        _fit(f"{call.request.method} {call.request.path}", 44),
        _fit(asked, 36) + (f" (attempt {call.attempt})" if call.attempt > 1 else ""),
        str(call.status or "-"),
        _fit(call.answer, 32),
        f"{ended}{at}, {call.received} bytes",
    )


def _fit(text: str, width: int) -> str:
    """A text in at most so many columns, its middle left out, that a terminal shows and does not obey."""
    from ..cli import visible  # argparse and more, for a report only

    text = visible(text)
    if _width(text) <= width:
        return text
    head = _columns(text, width * 2 // 3)
    tail = _columns(text[::-1], width - 1 - _width(head))[::-1]
    return f"{head}…{tail}"


def _columns(text: str, width: int) -> str:
    """The beginning of a text that takes at most so many columns."""
    at = 0
    while at < len(text) and (width := width - _width(text[at])) >= 0:
        at += 1
    return text[:at]


def _width(text: str) -> int:
    """Columns of a terminal: a Chinese character or an emoji takes two, a mark that joins the letter before it none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
