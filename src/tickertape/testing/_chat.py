"""The OpenAI wire form: content to completions and streams, and one into the other.

The shapes are those of the lineage of most families (see `fixtures/README.md`).
A stream begins with the role; a language model writes the echo of the request in
one to three characters; an empty delta ends it; from there on the server writes,
a status at a time, its dots one by one, and all that follows the verdict at once.

What a body says is read by `ResponseReader`, as everywhere in this package: all
choices are one message, and what is no message (poll bodies, HTTP errors) is left
to the caller.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .. import events as ev
from .._sse import Decoder
from ..envelope import ResponseReader, _kind
from ..parser import parse
from ._wire import Data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WRITTEN_BY_A_MODEL = (ev.Parameters, ev.Code, ev.Text, ev.LineEnd)
_WRITTEN_AT_ONCE = (ev.Stage, ev.Progress)


# -- bytes ------------------------------------------------------------------------


def dump(value: Any, *, sort_keys: bool = False) -> bytes:
    """Compact JSON as relays write it, in UTF-8; escaped where half an emoji leaves no other way."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys).encode()


def is_stream(body: bytes) -> bool:
    """Whether a body is server-sent events, by how it begins."""
    return _begins_as(body) == "sse"


def is_text(body: bytes) -> bool:
    """Whether a body is neither events, nor JSON, nor a page, by how it begins."""
    return _begins_as(body) in ("content", "")


def _begins_as(body: bytes) -> str:
    return _kind(body[:256].decode("utf-8", "ignore").lstrip(" \t\r\n\ufeff"), body=True)


def frames_of(body: bytes) -> list[bytes]:
    """A stream's frames, each with the blank lines after it; joined they are the body.

    A frame also ends with its data, because gateways leave the blank lines out.
    """
    decoder = Decoder()
    frames: list[bytes] = []
    lines: list[bytes] = []
    ended = False
    for line in body.splitlines(keepends=True):  # of bytes: at \n, \r and \r\n only
        blank = not line.strip()
        if ended and not blank:
            frames.append(b"".join(lines))
            lines, ended = [], False
        lines.append(line)
        ended = bool(decoder.decode(line.decode("utf-8", "replace"))) or blank or ended
    return [*frames, b"".join(lines)] if lines else frames


# -- content to deltas ------------------------------------------------------------


def deltas_of(content: str, *, seed: int = 0) -> list[str]:
    """The content in the pieces in which a relay writes it; joined they are the content.

    One of them is empty: the model has ended, the server goes on. The same seed
    gives the same pieces.
    """
    rng = random.Random(seed)
    events = parse(content).events
    by_model = 0  # characters
    for event in events:
        if not isinstance(event, _WRITTEN_BY_A_MODEL):
            break
        if not isinstance(event, ev.LineEnd):
            by_model = event.end
    deltas, at = [], 0
    while at < by_model:
        end = min(at + rng.randint(1, 3), by_model)
        deltas.append(content[at:end])
        at = end
    return [*deltas, "", *_by_server(content, events, by_model)]


def _by_server(content: str, events: Iterable[ev.Event], start: int) -> Iterator[str]:
    held = ""  # written with the next status, or with all else at the end
    dots_may_follow = False
    for event in events:
        source = content[event.start : event.end] if event.start >= start else ""
        if isinstance(event, _WRITTEN_AT_ONCE):
            words = held + source
            # "排队中" and its dots, but "36.." of one percentage
            text = words.rstrip(".") if isinstance(event, ev.Stage) else words
            yield text
            yield from words[len(text) :]
            held, dots_may_follow = "", True
            continue
        if dots_may_follow and isinstance(event, ev.LineEnd):
            dots = len(source) - len(source.lstrip("."))
            yield from source[:dots]
            source = source[dots:]
        held += source
        dots_may_follow = False
    if held:
        yield held


# -- the forms ----------------------------------------------------------------------


def estimate_usage(content: str, prompt: str = "") -> dict[str, int]:
    """A usage where none was recorded: one token for each four bytes of UTF-8, as a rule of thumb."""
    asked, written = (-(-len(text.encode("utf-8", "surrogatepass")) // 4) for text in (prompt, content))
    return {"prompt_tokens": asked, "completion_tokens": written, "total_tokens": asked + written}


def completion(
    content: str | None,
    *,
    model: str,
    completion_id: str,
    created: int,
    finish_reason: str | None = "stop",
    usage: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A whole answer; `usage` is estimated where none is given. `created` is in Unix seconds."""
    message = {"role": "assistant", "content": content}
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": estimate_usage(content or "") if usage is None else usage,
    }


def frames(
    deltas: Iterable[tuple[float, str]],
    *,
    model: str,
    completion_id: str,
    created: int,
    include_usage: bool = False,
    finish_reason: str | None = "stop",
    done: bool = True,
) -> list[Data]:
    """The same as a stream, one `Data` a frame, from deltas with their times in seconds.

    The role goes first, at the time of the first delta; an empty delta is `{}`;
    the finish, the usage where asked for, and `[DONE]` leave with the last delta.
    `done=False` leaves all three out: a stream that is cut.
    """
    timed = list(deltas)
    answer = _Answer(
        id=completion_id,
        model=model,
        created=created,
        content="".join(delta for _, delta in timed) if include_usage else "",
        finish_reason=finish_reason,
    )
    written = [(t, {"content": delta} if delta else {}) for t, delta in timed]
    return list(answer.stream(written, include_usage=include_usage, done=done))


def to_stream(answer: dict[str, Any] | bytes, *, include_usage: bool, pace: float = 0.0) -> list[Data]:
    """A whole answer as a stream with `pace` seconds between its frames; empty where it holds no message.

    What stands beside the content goes where relays write it: reasoning before,
    media in the last delta, an error in a frame of its own at the end.
    """
    said = _Answer.read(answer if isinstance(answer, bytes) else dump(answer))
    if said is None:
        return []
    deltas: list[dict[str, Any]] = [
        {"content": None, "reasoning_content": line} for line in (said.reasoning or "").splitlines(keepends=True)
    ]
    deltas += [{"content": delta} if delta else {} for delta in deltas_of(said.content)]
    if said.media:
        deltas.append({"images": said.media})
    stream = said.stream([(0.0, delta) for delta in deltas], include_usage=include_usage)
    return [replace(frame, t=number * pace) for number, frame in enumerate(stream)]


def to_completion(sse: bytes, *, usage: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """A stream as the whole answer the relay would have given; None where it holds no message.

    The content joined, reasoning and media beside it, an error in the message or,
    where there is nothing else, instead of it. `usage` wins over the stream's own.
    """
    answer = _Answer.read(sse)
    return None if answer is None else answer.whole(usage)


@dataclass(frozen=True)
class _Answer:
    """What an answer says, in whichever form it came."""

    id: str = ""
    model: str = ""
    created: int = 0
    content: str = ""
    reasoning: str | None = None
    media: tuple[dict[str, Any], ...] = ()
    """Image parts that came beside the text."""
    error: Any = None
    finish_reason: str | None = "stop"
    usage: dict[str, Any] | None = None

    @classmethod
    def read(cls, body: bytes) -> _Answer | None:
        """What a stream or a completion says; None where neither a message nor an error is in it."""
        reader = ResponseReader()
        events = [*reader.feed(body), *reader.close()]
        task, envelope = reader.task, reader.task.envelope
        if envelope is None:
            return None
        beside = [event for event in events if event.start == event.end]
        media = tuple(
            {"type": f"{kind}_url", f"{kind}_url": {"url": event.url}}
            for event in beside
            if isinstance(event, ev.Image | ev.Link)
            for kind in [(isinstance(event, ev.Link) and event.kind) or "image"]
        )
        if not (task.text or media or envelope.reasoning or envelope.error is not None):
            return None
        heads = [value for value in _objects(body) if isinstance(value, dict)]
        first = next((value for value in heads if value.get("choices")), {})
        created = first.get("created")
        finish = (envelope.finish_reason or "").lower()  # sora2api writes "STOP"
        return cls(
            id=str(first.get("id") or "chatcmpl-0"),
            model=str(first.get("model") or "unknown"),
            created=int(created) if isinstance(created, int | float) and math.isfinite(created) else 0,
            content=task.text,
            reasoning=envelope.reasoning,
            media=media,
            error=envelope.error,
            # A relay stops, whatever became of the task.
            finish_reason=finish if finish in ("length", "content_filter") else "stop",
            usage=next((value["usage"] for value in reversed(heads) if isinstance(value.get("usage"), dict)), None),
        )

    def whole(self, usage: dict[str, Any] | None) -> dict[str, Any]:
        if self.error is not None and not (self.content or self.reasoning or self.media):
            return {"error": self.error}
        body = completion(
            self.content,
            model=self.model,
            completion_id=self.id,
            created=self.created,
            finish_reason=self.finish_reason,
            usage=usage or self.usage,
        )
        message = body["choices"][0]["message"]
        if self.reasoning is not None:
            message["reasoning_content"] = self.reasoning
        if self.media:
            message["images"] = list(self.media)
        if self.error is not None:
            message["error"] = self.error
        return body

    def stream(
        self, deltas: Iterable[tuple[float, dict[str, Any]]], *, include_usage: bool, done: bool = True
    ) -> Iterator[Data]:
        """One frame for each delta, and those around them."""
        deltas = list(deltas)
        first, last = (deltas[at][0] if deltas else 0.0 for at in (0, -1))
        yield self._frame(first, {"role": "assistant", "content": ""})
        for t, delta in deltas:
            yield self._frame(t, delta)
        if not done:
            return
        if self.error is not None:
            yield _data(last, {"error": self.error})
        else:
            yield self._frame(last, {}, self.finish_reason)
            if include_usage:
                usage = self.usage or estimate_usage(self.content)
                yield _data(last, {**self._head(), "choices": [], "usage": usage})
        yield Data(last, b"data: [DONE]\n\n")

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}

    def _frame(self, t: float, delta: dict[str, Any], finish_reason: str | None = None) -> Data:
        return _data(t, {**self._head(), "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


def _data(t: float, value: dict[str, Any]) -> Data:
    return Data(t, b"data: " + dump(value) + b"\n\n")


def _objects(body: bytes) -> list[Any]:
    """The JSON values of a body: one, or one a frame."""
    text = body.decode("utf-8-sig", "replace")
    if not is_stream(body):
        try:
            return [json.loads(text)]
        except (ValueError, RecursionError):
            return []
    decoder = Decoder()
    return [frame.data for frame in (*decoder.decode(text), *decoder.flush())]
