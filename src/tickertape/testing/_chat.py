"""The OpenAI wire form: content to completions and streams, and one into the other.

The shapes are those of the lineage of most families (see `fixtures/README.md`).
A stream begins with the role; a language model writes the echo of the request in
one to three characters; an empty delta ends it; from there on the server writes,
a status at a time, its dots one by one, and what follows the verdict line by line.

What a message says is read by `ResponseReader`, as everywhere in this package; its
other keys (tool calls, a refusal) go along as they are. Choices stay apart, but for
those of relays that number what they write. What is no message (poll bodies, HTTP
errors) is left to the caller.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
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
    return [*_pieces(content[:by_model], rng), "", *_by_server(content, events, by_model)]


def _pieces(text: str, rng: random.Random) -> Iterator[str]:
    """One to three characters at a time, as a language model writes."""
    at = 0
    while at < len(text):
        end = at + rng.randint(1, 3)
        yield text[at:end]
        at = end


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
    yield from _lines(held)


def _lines(text: str) -> list[str]:
    """The lines of a text, each with the line ends before it, as relays write them; the last with those behind it."""
    end = len(text.rstrip("\r\n"))
    cuts = [at for at in range(1, end) if text[at] in "\r\n" and text[at - 1] not in "\r\n"]
    return [text[a:b] for a, b in pairwise([0, *cuts, len(text)])] if text else []


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
    timed, head = list(deltas), _Head(completion_id, model, created)
    first, last = (timed[at][0] if timed else 0.0 for at in (0, -1))
    told = [head.frame(first, {"role": "assistant", "content": ""})]
    told += [head.frame(t, {"content": delta} if delta else {}) for t, delta in timed]
    if not done:
        return told
    told.append(head.frame(last, {}, finish_reason))
    if include_usage:
        told.append(head.usage(last, estimate_usage("".join(delta for _, delta in timed))))
    return [*told, Data(last, _DONE)]


def to_stream(answer: dict[str, Any] | bytes, *, include_usage: bool, pace: float = 0.0) -> list[Data]:
    """A whole answer as a stream with `pace` seconds between its frames; empty where it holds no message.

    What stands beside the content goes where relays write it: reasoning before, tool
    calls and the like behind, media in the last delta, an error in a frame of its own at
    the end. Choices follow each other: read as one message they say what they said.
    """
    said = _Answer.read(answer if isinstance(answer, bytes) else dump(answer))
    if said is None:
        return []
    return [replace(frame, t=number * pace) for number, frame in enumerate(said.stream(include_usage))]


def to_completion(sse: bytes, *, usage: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """A stream as the whole answer the relay would have given; None where it holds no message.

    The content joined, reasoning, media and all other keys beside it, an error in the message or,
    where there is nothing else, instead of it. `usage` wins over the stream's own.
    """
    answer = _Answer.read(sse)
    return None if answer is None else answer.whole(usage)


def calls_tools(body: bytes) -> bool:
    """Whether a message says something by what is no text: tool calls, or speech."""
    choices = (choice for value in _objects(body) for choice in _choices(value))
    return any(message.get(key) for choice in choices for _, message in _messages(choice) for key in _SAYING)


_DONE = b"data: [DONE]\n\n"
_SAYING = ("tool_calls", "function_call", "audio")
_READ = ("role", "content", "reasoning_content", "reasoning", "images", "error")
"""Keys of a message that `ResponseReader` reads, and that are written from what it read."""
_FINISHES = ("stop", "length", "tool_calls", "content_filter", "function_call")
"""The words there are; sora2api writes "STOP", and for any other word a relay stops."""


@dataclass(frozen=True, slots=True)
class _Head:
    """What all frames of a stream have in common."""

    id: str
    model: str
    created: int

    def _told(self) -> dict[str, Any]:
        return {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}

    def frame(self, t: float, delta: dict[str, Any], finish_reason: str | None = None, index: int = 0) -> Data:
        choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
        return _data(t, {**self._told(), "choices": [choice]})

    def usage(self, t: float, usage: dict[str, Any]) -> Data:
        return _data(t, {**self._told(), "choices": [], "usage": usage})


@dataclass(frozen=True)
class _Said:
    """What one choice says, in whichever form it came."""

    index: int
    content: str | None
    reasoning: str | None
    media: tuple[dict[str, Any], ...]
    """Image parts that came beside the text."""
    other: dict[str, Any]
    """All other keys of the message, deltas joined."""
    finish_reason: str

    @classmethod
    def read(cls, index: int, choices: list[dict[str, Any]], finish: str | None) -> _Said:
        """`choices` are those of all frames that make this one; `finish` is what the body says without them."""
        reader = ResponseReader()
        events: list[ev.Event] = []
        other: dict[str, Any] = {}
        is_text = False
        for choice in choices:
            read = {key: value for key, value in choice.items() if key != "index"}
            for key, message in _messages(choice):
                read[key] = {name: value for name, value in message.items() if name in _READ}
                _join(other, {name: value for name, value in message.items() if name not in _READ})
                is_text = is_text or message.get("content") is not None
            events += reader.feed({"choices": [read]})
            finish = _word(choice.get("finish_reason")) or finish
        events += reader.close()
        task, envelope = reader.task, reader.task.envelope
        media = tuple(
            {"type": f"{kind}_url", f"{kind}_url": {"url": event.url}}
            for event in events
            if event.start == event.end and isinstance(event, ev.Image | ev.Link)
            for kind in [(isinstance(event, ev.Link) and event.kind) or "image"]
        )
        finish = (finish or "").lower()
        return cls(
            index,
            task.text if task.text or is_text else None,
            envelope.reasoning if envelope is not None else None,
            media,
            other,
            # A relay stops, whatever became of the task.
            finish if finish in _FINISHES else "stop",
        )

    @property
    def says_nothing(self) -> bool:
        return not (self.content or self.reasoning or self.media or any(self.other.values()))

    @property
    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.content, **self.other}
        if self.reasoning is not None:
            message["reasoning_content"] = self.reasoning
        if self.media:
            message["images"] = list(self.media)
        return message

    def deltas(self) -> Iterator[dict[str, Any]]:
        """The message as a relay writes it, without its role and its finish."""
        for line in (self.reasoning or "").splitlines(keepends=True):
            yield {"content": None, "reasoning_content": line}
        yield from ({"content": delta} if delta else {} for delta in deltas_of(self.content or ""))
        for key, value in self.other.items():
            yield from _call_deltas(value) if key == "tool_calls" and isinstance(value, list) else ({key: value},)
        if self.media:
            yield {"images": list(self.media)}


@dataclass(frozen=True)
class _Answer:
    """What an answer says, in whichever form it came."""

    head: _Head
    said: tuple[_Said, ...]
    error: Any = None
    usage: dict[str, Any] | None = None

    @classmethod
    def read(cls, body: bytes) -> _Answer | None:
        """What a stream or a completion says; None where neither a message nor an error is in it."""
        reader = ResponseReader()
        reader.feed(body)
        reader.close()
        envelope = reader.task.envelope
        if envelope is None:
            return None
        heads = _objects(body)
        apart = _apart([_choices(value) for value in heads])
        said = tuple(_Said.read(index, group, envelope.finish_reason) for index, group in apart)
        if envelope.error is None and all(each.says_nothing for each in said):
            return None
        first = next((value for value in heads if value.get("choices")), {})
        created = first.get("created")
        return cls(
            _Head(
                str(first.get("id") or "chatcmpl-0"),
                str(first.get("model") or "unknown"),
                int(created) if isinstance(created, int | float) and math.isfinite(created) else 0,
            ),
            said,
            envelope.error,
            next((value["usage"] for value in reversed(heads) if isinstance(value.get("usage"), dict)), None),
        )

    @property
    def _text(self) -> str:
        return "".join(each.content or "" for each in self.said)

    def whole(self, usage: dict[str, Any] | None) -> dict[str, Any]:
        if self.error is not None and all(each.says_nothing for each in self.said):
            return {"error": self.error}
        body = completion(
            None,
            model=self.head.model,
            completion_id=self.head.id,
            created=self.head.created,
            usage=usage or self.usage or estimate_usage(self._text),
        )
        body["choices"] = [
            {"index": each.index, "message": each.message, "finish_reason": each.finish_reason} for each in self.said
        ]
        if self.error is not None:
            body["choices"][0]["message"]["error"] = self.error
        return body

    def stream(self, include_usage: bool) -> Iterator[Data]:
        """One frame for each delta, and those around them; no times yet."""
        for said in self.said:
            role = {"role": "assistant", "content": None if said.content is None else ""}
            for delta in (role, *said.deltas()):
                yield self.head.frame(0.0, delta, index=said.index)
            if self.error is None:
                yield self.head.frame(0.0, {}, said.finish_reason, said.index)
        if self.error is not None:
            yield _data(0.0, {"error": self.error})
        elif include_usage:
            yield self.head.usage(0.0, self.usage or estimate_usage(self._text))
        yield Data(0.0, _DONE)


def _choices(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The choices of a completion, or of a frame; a bare message, and text in an event, are one."""
    if isinstance(value.get("choices"), list):
        return _list(value["choices"])
    if "role" in value and "content" in value:
        return [{"message": value}]
    return [{"text": value["data"]}] if isinstance(value.get("data"), str) else []


def _apart(frames: list[list[dict[str, Any]]]) -> list[tuple[int, list[dict[str, Any]]]]:
    """Choices by their index; all as one where a relay numbers what it writes.

    That is jimeng-free-api's way: each write has an index of its own, and the last alone a finish.
    """
    groups: dict[int, list[dict[str, Any]]] = {}
    order: list[int] = []
    for frame in frames:
        for number, choice in enumerate(frame):
            index = index if type(index := choice.get("index")) is int else number
            groups.setdefault(index, []).append(choice)
            if order[-1:] != [index]:
                order.append(index)
    finished = all(any(_word(choice.get("finish_reason")) for choice in group) for group in groups.values())
    returns, together = len(order) > len(groups), any(len(frame) > 1 for frame in frames)
    if finished or returns or together:
        return sorted(groups.items())
    return [(0, [choice for frame in frames for choice in frame])]


def _call_deltas(calls: list[Any]) -> Iterator[dict[str, Any]]:
    """Tool calls, each begun with its name, its arguments in small pieces."""
    rng = random.Random(0)
    for number, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict) or not isinstance(arguments, str):
            yield {"tool_calls": [{**call, "index": number} if isinstance(call, dict) else call]}
            continue
        yield {"tool_calls": [{**call, "index": number, "function": {**function, "arguments": ""}}]}
        for piece in _pieces(arguments, rng):
            yield {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}


def _join(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add what a delta holds to the message, as SDKs do: texts are joined, and tool calls by their index."""
    for key, value in delta.items():
        was = message.get(key)
        if value is None:
            continue
        if isinstance(was, str) and isinstance(value, str) and key not in _NAMES:
            message[key] = was + value
        elif isinstance(was, dict) and isinstance(value, dict):
            _join(was, value)
        elif isinstance(value, list):
            message[key] = _joined(was if isinstance(was, list) else [], value)
        elif value != "" or was is None:
            message[key] = _joined_dict(value) if isinstance(value, dict) else value


_NAMES = ("id", "type", "name", "object", "index")
"""What some relays write in every delta, and is one all the same."""


def _joined_dict(value: dict[str, Any]) -> dict[str, Any]:
    """A copy: it is added to."""
    copy: dict[str, Any] = {}
    _join(copy, value)
    return copy


def _joined(was: list[Any], items: list[Any]) -> list[Any]:
    """Items of a delta added to a list; those with an index to the one that has it, which is its place."""
    joined = list(was)
    for item in items:
        if not (isinstance(item, dict) and type(index := item.get("index")) is int and index >= 0):
            joined.append(item)
            continue
        bare = {key: value for key, value in item.items() if key != "index"}
        if index < len(joined) and isinstance(joined[index], dict):
            _join(joined[index], bare)
        else:
            joined.append(_joined_dict(bare))
    return joined


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _list(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _messages(choice: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(key, message) for key in ("delta", "message") if isinstance(message := choice.get(key), dict)]


def _data(t: float, value: dict[str, Any]) -> Data:
    return Data(t, b"data: " + dump(value) + b"\n\n")


def _objects(body: bytes) -> list[dict[str, Any]]:
    """The JSON objects of a body: one, or one a frame until `[DONE]`; also of a stream within a JSON text."""
    text = body.decode("utf-8-sig", "replace")
    if not is_stream(body):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return []
        if not (isinstance(value, str) and is_stream(value.encode("utf-8", "replace"))):
            return _list(value if isinstance(value, list) else [value])
        text = value
    decoder = Decoder()
    frames = takewhile(lambda frame: not frame.done, (*decoder.decode(text), *decoder.flush()))
    return _list([frame.data for frame in frames])
