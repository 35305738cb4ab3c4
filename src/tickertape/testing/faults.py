"""Faults: what goes wrong between a relay and its client, as changes of a reply.

    Fault.reset(frame=3).apply(reply, random=Random(7))

A fault is a value: equal to another of the same making, hashable, and its repr
makes it again. Where it leaves a place open, the place is drawn from the
`Random` it is given, so one seed gives one reply. A place that the reply does
not have is a `FaultError`, and so is a fault that would change nothing: a test
must not pass because nothing went wrong.

Places: `byte=n` is after n bytes of the body; `frame=n` after its n-th frame of
server-sent events, counted from 1 (0 is after the head); `event="Progress"` or
`event=("Progress", 2)` after the frame in which the first, or second, event of
that class of `tickertape.events` became certain. Faults of one frame call it by
its number. Times are seconds of the reply's own clock.
"""

from __future__ import annotations

import inspect
import json
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .._errors import TickertapeError
from ._rules import error_reply, page, retry_after_text
from ._wire import Data, End, Head, Reply, body_of, end_of, head_of, streamed, whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from ..events import Event
    from ._rules import RetryAfter
    from ._wire import Ending, Step

    EventPlace = str | type[Event] | tuple[str | type[Event], int]


class FaultError(TickertapeError, ValueError):
    """A fault cannot be made so, or the reply has no such place."""


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """Something that goes wrong. Make one with the class methods."""

    kind: str
    """The name of the class method that made it."""
    options: tuple[tuple[str, Any], ...] = ()
    """Its arguments by name, defaults included."""

    def apply(self, reply: Reply, *, random: Random) -> Reply:
        """The reply with this fault. Pure: the same reply and state of `random` give the same.

        Raises `FaultError` where the reply has no such place, or is not what the fault `needs`.
        """
        try:
            broken = _APPLY[self.kind](reply, random, **dict(self.options))
            if broken == reply and self.needs is not None:
                raise FaultError("it would change nothing in this reply")
        except FaultError as error:
            raise FaultError(f"{self!r}: {error}") from None
        return broken

    @property
    def needs(self) -> Literal["answer", "stream", "json"] | None:
        """The answer it breaks: any with a body, server-sent events, a JSON body; None where it needs none."""
        options = dict(self.options)
        if self.kind in ("refused", "unanswered", "disconnect", "status", "html"):
            return None
        if self.kind in ("sse", "truncated_json"):
            return "json"
        named = options.get("frame") is not None or isinstance(options.get("event"), str | tuple)
        return "stream" if named or self.kind in ("malformed", "duplicate", "reorder") else "answer"

    # -- no answer -------------------------------------------------------------------

    @classmethod
    def refused(cls) -> Fault:
        """Nobody listens: the connection is refused."""
        return cls("refused")

    @classmethod
    def unanswered(cls) -> Fault:
        """The request is taken and never answered; the client's timeout decides."""
        return cls("unanswered")

    @classmethod
    def disconnect(cls, *, reset: bool = False) -> Fault:
        """The connection is closed before the answer begins; `reset`: by RST, as a server that crashes does."""
        return cls("disconnect", (("reset", reset),))

    # -- an answer that breaks off -----------------------------------------------------

    @classmethod
    def reset(cls, *, byte: int | None = None, frame: int | None = None, event: EventPlace | None = None) -> Fault:
        """The peer resets the connection (RST)."""
        return cls("reset", _place(byte, frame, event))

    @classmethod
    def close(cls, *, byte: int | None = None, frame: int | None = None, event: EventPlace | None = None) -> Fault:
        """The peer closes the connection (FIN) before the message is whole."""
        return cls("close", _place(byte, frame, event))

    @classmethod
    def end(cls, *, byte: int | None = None, frame: int | None = None, event: EventPlace | None = None) -> Fault:
        """A clean early end: well-formed HTTP that says too little, a stream without finish and `[DONE]`.

        Without a place a stream ends after a drawn frame before its finish.
        """
        return cls("end", _place(byte, frame, event))

    @classmethod
    def truncated_json(cls, *, byte: int | None = None, honest: bool = False) -> Fault:
        """A JSON body cut off: the connection closes with less than Content-Length.

        `honest`: a proxy that buffered what it got sends it with its true length,
        and only the JSON itself tells.
        """
        return cls("truncated_json", (*_place(byte, None, None)[:1], ("honest", honest)))

    # -- an answer that is slow or cut in other pieces -----------------------------------

    @classmethod
    def late(cls, seconds: float) -> Fault:
        """The whole answer comes later."""
        return cls("late", (("seconds", _positive("seconds", seconds)),))

    @classmethod
    def stall(
        cls,
        seconds: float | None = None,
        *,
        byte: int | None = None,
        frame: int | None = None,
        event: EventPlace | None = None,
    ) -> Fault:
        """Nothing comes for some seconds, or, without `seconds`, ever again."""
        if seconds is not None:
            _positive("seconds", seconds)
        return cls("stall", (("seconds", seconds), *_place(byte, frame, event)))

    @classmethod
    def drip(cls, bytes: int = 1, seconds: float = 0.05) -> Fault:
        """The body trickles: chunks of at most so many bytes, each so many seconds after the one before."""
        if not _whole(bytes) or bytes < 1:
            raise FaultError(f"bytes={bytes!r}: expected a whole number, 1 or more")
        return cls("drip", (("bytes", bytes), ("seconds", _positive("seconds", seconds))))

    @classmethod
    def split_utf8(cls) -> Fault:
        """A chunk border inside every character of more than one byte."""
        return cls("split_utf8")

    # -- a stream that is not in order ---------------------------------------------------

    @classmethod
    def malformed(cls, frame: int | None = None) -> Fault:
        """A frame whose JSON has a bracket too many, as seen (`…]]}`)."""
        return cls("malformed", (("frame", _count("frame", frame, 1)),))

    @classmethod
    def duplicate(cls, frame: int | None = None) -> Fault:
        """A frame comes twice."""
        return cls("duplicate", (("frame", _count("frame", frame, 1)),))

    @classmethod
    def reorder(cls, frame: int | None = None) -> Fault:
        """A frame and the next one change places."""
        return cls("reorder", (("frame", _count("frame", frame, 1)),))

    @classmethod
    def error_frame(
        cls,
        message: str = "当前分组上游负载已饱和，请稍后再试",
        type: str | None = "rate_limit_error",
        code: str | None = "rate_limit_exceeded",
        *,
        event: bool = False,
        frame: int | None = None,
    ) -> Fault:
        """An error inside a 200: a last frame `{"error": …}` and `[DONE]`; a whole answer is `{"error": …}` alone.

        `event`: as `event: error`, without a `[DONE]`. Without `frame`, after a drawn frame before the finish.
        """
        place = ("event", event), ("frame", _count("frame", frame, 0))
        return cls("error_frame", (("message", message), ("type", type), ("code", code), *place))

    # -- another answer ------------------------------------------------------------------

    @classmethod
    def status(
        cls,
        code: int,
        *,
        retry_after: RetryAfter | None = None,
        message: str | None = None,
        code_word: str | None = None,
        seconds: float = 0.0,
    ) -> Fault:
        """An HTTP error with the body seen with it; `message` and `code_word` put other words into it.

        `retry_after` is the header: seconds, a timedelta, a datetime, or its own text.
        `seconds` is how late it comes: Cloudflare gives its 524 after 100.
        """
        if not _whole(code) or not 400 <= code <= 599:
            raise FaultError(f"status code {code!r}: an error is a whole number from 400 to 599")
        if seconds:
            _positive("seconds", seconds)
        if retry_after is not None:
            try:
                written = retry_after_text(retry_after)
            except ValueError as error:
                raise FaultError(str(error)) from None
            if not written.isprintable():
                raise FaultError(f"retry_after={retry_after!r}: expected a text on one line, for it becomes a header")
            # As it is written: a fault is a value, and its repr makes it again.
            retry_after = retry_after if isinstance(retry_after, int | float) else written
        words = ("message", message), ("code_word", code_word), ("seconds", seconds)
        return cls("status", (("code", code), ("retry_after", retry_after), *words))

    @classmethod
    def html(cls, status: int = 502) -> Fault:
        """An HTML page instead of JSON: a gateway's, Cloudflare's (52x), or new-api's own web app (200)."""
        if not _whole(status) or (status != 200 and not 400 <= status <= 599):
            raise FaultError(f"status {status!r}: a page comes with 200, or with 400 to 599")
        return cls("html", (("status", status),))

    @classmethod
    def sse(cls, *, quoted: bool = False) -> Fault:
        """Server-sent events for a call that asked for none; `quoted`: as one JSON string, as some gateways do."""
        return cls("sse", (("quoted", quoted),))

    @classmethod
    def content_type(cls, value: str | None = "text/plain; charset=utf-8") -> Fault:
        """The right body under another Content-Type, or, with None, under none."""
        if value is not None and not (isinstance(value, str) and value.isprintable()):
            raise FaultError(f"content type {value!r}: expected a text on one line, or None for none")
        return cls("content_type", (("value", value),))

    def __repr__(self) -> str:
        parameters = inspect.signature(getattr(Fault, self.kind)).parameters
        shown = [
            f"{value!r}" if parameters[name].default is inspect.Parameter.empty else f"{name}={value!r}"
            for name, value in self.options
            if value != parameters[name].default
        ]
        return f"Fault.{self.kind}({', '.join(shown)})"

    def __str__(self) -> str:
        options = dict(self.options)
        where = _where(options)
        match self.kind:
            case "reset":
                return f"connection reset {where}"
            case "close":
                return f"connection closed {where}"
            case "end":
                return f"clean early end {where}"
            case "truncated_json":
                return f"JSON truncated {where}{', its length honest' if options['honest'] else ''}"
            case "late":
                return f"answer {options['seconds']:g} s late"
            case "stall":
                seconds = options["seconds"]
                return f"stall {'for ever' if seconds is None else f'of {seconds:g} s'} {where}"
            case "disconnect":
                return f"connection {'reset' if options['reset'] else 'closed'} before the answer"
            case "drip":
                size = options["bytes"]
                return f"slow drip, {size} byte{'s' if size > 1 else ''} every {options['seconds']:g} s"
            case "malformed" | "duplicate":
                return f"{self.kind} {_the(options['frame'])}"
            case "reorder":
                return f"{_the(options['frame'])} and the next one swapped"
            case "error_frame":
                return f"error frame {where}: {options['message']}"
            case "status":
                after = "" if options["retry_after"] is None else f", Retry-After {options['retry_after']}"
                return f"HTTP {options['code']}{after}"
            case "html":
                return f"HTML page with status {options['status']}"
            case "sse":
                return f"server-sent events{' in a JSON string' if options['quoted'] else ''} for a non-stream call"
            case "content_type":
                return f"Content-Type {options['value'] or 'missing'}"
        return _PHRASES[self.kind]


_PHRASES = {
    "refused": "connection refused",
    "unanswered": "no answer",
    "split_utf8": "chunk borders inside multibyte characters",
}


def _where(options: dict[str, Any]) -> str:
    if options.get("byte") is not None:
        return f"after byte {options['byte']}"
    if options.get("frame") is not None:
        return f"after frame {options['frame']}"
    event = options.get("event")
    if isinstance(event, tuple):
        return f"after {event[0]} number {event[1]}"
    return f"after the first {event}" if isinstance(event, str) else "at a drawn place"


def _the(frame: int | None) -> str:
    return "a drawn frame" if frame is None else f"frame {frame}"


# -- arguments -----------------------------------------------------------------------


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(name: str, value: int | None, least: int) -> int | None:
    if value is not None and (not _whole(value) or value < least):
        raise FaultError(f"{name}={value!r}: expected a whole number, counted from {least}")
    return value


def _positive(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise FaultError(f"{name}={value!r}: expected a number, more than 0 and finite")
    return value


def _place(byte: int | None, frame: int | None, event: EventPlace | None) -> tuple[tuple[str, Any], ...]:
    if sum(value is not None for value in (byte, frame, event)) > 1:
        raise FaultError("give one of byte, frame and event")
    named = None if event is None else _event(event)
    return ("byte", _count("byte", byte, 0)), ("frame", _count("frame", frame, 0)), ("event", named)


def _event(event: EventPlace) -> str | tuple[str, int]:
    """The name of a class of events, and its number where one is told. The class itself will do."""
    from .. import events

    of, number = event if isinstance(event, tuple) and len(event) == 2 else (event, None)
    name = of.__name__ if isinstance(of, type) else of
    known = sorted({each.__name__ for each in events.Event.__subclasses__()})  # slots made each class twice
    if not isinstance(name, str) or name not in known:
        raise FaultError(f"event={event!r}: no event of tickertape.events; there are {', '.join(known)}")
    _count("event number", number, 1)
    return name if number is None else (name, number)


# -- places in a reply -----------------------------------------------------------------

# A blank line ends a frame; gateways leave it out after whole JSON.
_BORDER = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2,}|(?<=[}\]])(?:\r\n|\n|\r(?!\n))(?=data:|event:)")
_DATA_LINE = re.compile(rb"(?:\A|[\r\n])data:")
_SSE = re.compile(rb"\s*(?:data|event|id|retry)?:")


class _Frame(NamedTuple):
    start: int
    stop: int
    """Behind the blank line that ends it."""
    text: bytes
    """Without the newlines that end it."""

    @property
    def data(self) -> bytes:
        lines = self.text.splitlines()
        return b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError):
            return None

    @property
    def done(self) -> bool:
        return self.data.startswith(b"[DONE]")

    @property
    def finishes(self) -> bool:
        """Whether the message is over with it: `[DONE]`, or a frame that says why it finished."""
        value = self.json
        choices = value.get("choices") if isinstance(value, dict) else None
        return self.done or any(
            isinstance(choice, dict) and choice.get("finish_reason") is not None
            for choice in (choices if isinstance(choices, list) else ())
        )


def _body(reply: Reply) -> bytes:
    body = body_of(reply)
    if not body:
        raise FaultError(f"the reply has no body ({end_of(reply).how})")
    return body


def _is_sse(reply: Reply) -> bool:
    return _SSE.match(body_of(reply)) is not None


def _frames(reply: Reply) -> list[_Frame]:
    """The frames of a stream; comments between them are none."""
    body = _body(reply)
    if not _is_sse(reply):
        head = head_of(reply)
        kind = (head.header("content-type") or "no content type") if head else "no head"
        raise FaultError(f"the reply is no stream of server-sent events but {len(body)} bytes ({kind})")
    frames, at = [], 0
    for start, stop in [*(border.span() for border in _BORDER.finditer(body)), (len(body), len(body))]:
        text = body[at:start].rstrip(b"\r\n")
        if _DATA_LINE.search(text):
            frames.append(_Frame(at, stop, text))
        at = stop
    if not frames:
        raise FaultError(f"the stream of {len(body)} bytes has no frame")
    return frames


def _frame(reply: Reply, number: int) -> _Frame:
    frames = _frames(reply)
    if number > len(frames):
        raise FaultError(f"there is no frame {number}: the stream has {len(frames)}")
    return frames[number - 1]


def _drawn(reply: Reply, random: Random, number: int | None, fits: Callable[[list[_Frame], int], bool]) -> int:
    """The index of the frame of that number, or of one that fits."""
    frames = _frames(reply)
    if number is None:
        fitting = [at for at in range(len(frames)) if fits(frames, at)]
        if not fitting:
            raise FaultError(f"none of the {len(frames)} frames can have it")
        return random.choice(fitting)
    frame = _frame(reply, number)
    if not fits(frames, number - 1):
        raise FaultError(f"frame {number} of {len(frames)} cannot have it: {frame.text[:80].decode(errors='replace')}")
    return number - 1


def _unfinished(frames: list[_Frame]) -> int:
    """How many frames come before the first that finishes the message."""
    return next((at for at, frame in enumerate(frames) if frame.finishes), len(frames))


def _at(reply: Reply, random: Random, byte: int | None, frame: int | None, event: str | tuple[str, int] | None) -> int:
    """The place as a number of bytes of the body."""
    body = _body(reply)
    if frame is not None:
        at = _frame(reply, frame).stop if frame else (_frames(reply)[0].start)
    elif event is not None:
        at = _event_at(reply, *((event, 1) if isinstance(event, str) else event))
    elif byte is not None:
        at = byte
    elif len(body) < 2:
        raise FaultError(f"the body has no inside: it is {len(body)} byte long")
    else:
        at = random.randrange(1, len(body))
    if at > len(body):
        raise FaultError(f"there is no byte {at}: the body has {len(body)}")
    if at == len(body) and _length(reply) is not None:
        raise FaultError(f"byte {at} is the end of the body, and its Content-Length says so")
    return at


def _event_at(reply: Reply, name: str, number: int) -> int:
    from ..envelope import ResponseReader

    reader, body, at = ResponseReader(), _body(reply), 0
    found: list[str] = []
    for frame in _frames(reply):
        found += [type(event).__name__ for event in reader.feed(body[at : frame.stop])]
        at = frame.stop
        if found.count(name) >= number:
            return at
    found += [type(event).__name__ for event in reader.close()]
    if found.count(name) >= number:  # only the end of the content made it certain
        return at
    has = f"{found.count(name)} of them" if name in found else ", ".join(dict.fromkeys(found)) or "none"
    raise FaultError(f"there is no {name} number {number}: the events are {has}")


def _length(reply: Reply) -> str | None:
    head = head_of(reply)
    return head.header("content-length") if head else None


# -- changes of a reply ----------------------------------------------------------------


def _split(steps: tuple[Step, ...], at: int) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps before and after that byte; a chunk across it becomes two, at its time."""
    before: list[Step] = []
    after: list[Step] = []
    for step in steps:
        if isinstance(step, Head):
            before.append(step)
        elif isinstance(step, End):
            after.append(step)
        else:
            first, second = step.data[: max(at, 0)], step.data[max(at, 0) :]
            before += [replace(step, data=first)] if first else []
            after += [replace(step, data=second)] if second else []
            at -= len(step.data)
    return tuple(before), tuple(after)


def _splice(reply: Reply, start: int, stop: int, *pieces: bytes) -> Reply:
    """Other bytes in place of some, sent when the last of those were."""
    before, rest = _split(reply, start)
    dropped, after = _split(rest, stop - start)
    t = (dropped or before)[-1].t
    return _measured((*before, *(Data(t, piece) for piece in pieces), *after))


def _measured(reply: Reply) -> Reply:
    """With a Content-Length that is true again, where there is one."""
    return reply if _length(reply) is None else _with_header(reply, "content-length", str(len(body_of(reply))))


def _with_header(reply: Reply, name: str, value: str | None) -> Reply:
    head = head_of(reply)
    if head is None:
        raise FaultError(f"the reply has no head ({end_of(reply).how})")
    headers = [(key, old if key.lower() != name else value) for key, old in head.headers]
    if name not in (key.lower() for key, _ in headers):
        headers.append((name, value))
    return (replace(head, headers=tuple((key, each) for key, each in headers if each is not None)), *reply[1:])


def _cut(reply: Reply, at: int, how: Ending) -> Reply:
    before, _ = _split(reply, at)
    return (*before, End(before[-1].t, how))


def _later(steps: tuple[Step, ...], seconds: float) -> tuple[Step, ...]:
    return tuple(replace(step, t=step.t + seconds) for step in steps)


def _end(reply: Reply, random: Random, **place: Any) -> Reply:
    if all(value is None for value in place.values()) and _is_sse(reply):
        frames = _frames(reply)
        most = min(_unfinished(frames), len(frames) - 1)  # after the last one would be no early end
        place["frame"] = random.randint(1, most) if most else 0
    at = _at(reply, random, **place)
    if at == len(body_of(reply)):
        raise FaultError(f"byte {at} is where the body ends anyway")
    return _measured(_cut(reply, at, "eof"))


def _truncated(reply: Reply, random: Random, byte: int | None, honest: bool) -> Reply:
    try:
        json.loads(_body(reply))
    except (ValueError, RecursionError):
        raise FaultError("the reply is no JSON; malformed() and end() are for streams") from None
    if not honest and _length(reply) is None:
        reply = _with_header(reply, "content-length", str(len(body_of(reply))))
    at = _at(reply, random, byte, None, None)
    return _measured(_cut(reply, at, "eof")) if honest else _cut(reply, at, "closed")


def _stall(reply: Reply, random: Random, seconds: float | None, **place: Any) -> Reply:
    at = _at(reply, random, **place)
    if seconds is None:
        return _cut(reply, at, "timeout")
    before, after = _split(reply, at)
    return (*before, *_later(after, seconds))


def _drip(reply: Reply, bytes: int, seconds: float) -> Reply:
    _body(reply)
    out: list[Step] = []
    free = 0.0  # when the next piece may leave
    for step in reply:
        if isinstance(step, Data):
            for at in range(0, len(step.data), bytes):
                t = max(step.t, free)
                out.append(Data(t, step.data[at : at + bytes]))
                free = t + seconds
        else:
            out.append(replace(step, t=max(step.t, out[-1].t)) if out else step)
    return tuple(out)


def _split_utf8(reply: Reply) -> Reply:
    body = _body(reply)
    if body.isascii():
        raise FaultError("the body is all ASCII: it has no character to split")
    borders = [first.end() for first in re.finditer(rb"[\xc2-\xf4](?=[\x80-\xbf])", body)]
    out: list[Step] = []
    at = 0
    for step in reply:
        if not isinstance(step, Data):
            out.append(step)
            continue
        stop = at + len(step.data)
        inside = borders[bisect_right(borders, at) : bisect_left(borders, stop)]
        out += [replace(step, data=body[a:b]) for a, b in pairwise((at, *inside, stop))]
        at = stop
    return tuple(out)


def _malformed(reply: Reply, random: Random, frame: int | None) -> Reply:
    at = _drawn(reply, random, frame, lambda frames, at: isinstance(frames[at].json, dict))
    found = _frames(reply)[at]
    before, _, after = found.text.rpartition(b"}")
    return _splice(reply, found.start, found.start + len(found.text), before + b"]}" + after)


def _duplicate(reply: Reply, random: Random, frame: int | None) -> Reply:
    at = _drawn(reply, random, frame, lambda frames, at: not frames[at].done)
    found = _frames(reply)[at]
    return _splice(reply, found.start, found.start, found.text + b"\n\n")


def _reorder(reply: Reply, random: Random, frame: int | None) -> Reply:
    at = _drawn(reply, random, frame, _swappable)
    first, second = _frames(reply)[at : at + 2]
    gap = body_of(reply)[first.start + len(first.text) : second.start]
    return _splice(reply, first.start, second.start + len(second.text), second.text + gap, first.text)


def _swappable(frames: list[_Frame], at: int) -> bool:
    pair = frames[at : at + 2]
    return len(pair) == 2 and pair[0].text != pair[1].text and not any(frame.done for frame in pair)


def _error_frame(
    reply: Reply, random: Random, message: str, type: str | None, code: str | None, event: bool, frame: int | None
) -> Reply:
    told = {"message": message, "type": type, "code": code}
    error = {"error": {key: value for key, value in told.items() if value is not None}}
    if frame is None and not _is_sse(reply):
        head = head_of(reply)
        return whole(200, error, t=head.t if head else 0.0)
    frames = _frames(reply)
    if frame is None:
        frame = random.randint(0, _unfinished(frames))
    elif frame and _frame(reply, frame).done:
        raise FaultError(f"frame {frame} is [DONE]: nobody reads on")
    at = frames[frame - 1].stop if frame else frames[0].start
    before, _ = _split(reply, at)
    gap = "" if not at or body_of(before).endswith((b"\n", b"\r")) else "\n\n"
    name = "event: error\n" if event else ""
    text = f"{gap}{name}data: {json.dumps(error, ensure_ascii=False)}\n\n"
    t = before[-1].t
    done = () if event else (Data(t, b"data: [DONE]\n\n"),)
    return _measured((*before, Data(t, text.encode()), *done, End(t)))


def _sse(reply: Reply, quoted: bool) -> Reply:
    """All of the content in one delta, as some relays write it anyway."""
    try:
        value = json.loads(_body(reply))
        choice = value["choices"][0]
        delta = dict(choice["message"])
    except (ValueError, RecursionError, LookupError, TypeError):
        raise FaultError("the reply is no whole chat completion") from None
    fields = {key: value[key] for key in ("id", "created", "model") if key in value}
    chunks = [(delta, None), ({}, choice.get("finish_reason") or "stop")]
    texts = [
        json.dumps(
            {**fields, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": d, "finish_reason": f}]},
            ensure_ascii=False,
        )
        for d, f in chunks
    ]
    frames = [f"data: {text}\n\n" for text in (*texts, "[DONE]")]
    head, last = head_of(reply), end_of(reply)
    assert head is not None  # it has a body
    headers = [(k, v) for k, v in head.headers if k.lower() not in ("content-type", "content-length")]
    if quoted:
        body = json.dumps("".join(frames), ensure_ascii=False)
        return whole(head.status, body, headers=headers, content_type="application/json", t=last.t)
    return streamed(head.status, [Data(last.t, each.encode()) for each in frames], headers=headers, head_at=head.t)


_APPLY: dict[str, Callable[..., Reply]] = {
    "refused": lambda reply, random: (End(0.0, "refused"),),
    "unanswered": lambda reply, random: (End(0.0, "timeout"),),
    "disconnect": lambda reply, random, reset: (End(0.0, "reset" if reset else "closed"),),
    "reset": lambda reply, random, **place: _cut(reply, _at(reply, random, **place), "reset"),
    "close": lambda reply, random, **place: _cut(reply, _at(reply, random, **place), "closed"),
    "end": _end,
    "truncated_json": _truncated,
    "late": lambda reply, random, seconds: _later(reply, seconds),
    "stall": _stall,
    "drip": lambda reply, random, bytes, seconds: _drip(reply, bytes, seconds),
    "split_utf8": lambda reply, random: _split_utf8(reply),
    "malformed": _malformed,
    "duplicate": _duplicate,
    "reorder": _reorder,
    "error_frame": _error_frame,
    "status": lambda reply, random, code, retry_after, message, code_word, seconds: error_reply(
        code, retry_after=retry_after, message=message, code=code_word, t=seconds
    ),
    "html": lambda reply, random, status: page(status),
    "sse": lambda reply, random, quoted: _sse(reply, quoted),
    "content_type": lambda reply, random, value: _with_header(reply, "content-type", value),
}
