"""The shape of an answer: what kinds of things it says, in which order and form, without what is said.

Ids, addresses, prompts, numbers of ticks and times are no part of it. `verify`
compares the events of a tape with the summary it was kept with, `drift` two tapes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from .. import events as ev
from .._errors import ResponseError
from .._sse import Decoder
from ..responses import parse_response
from . import _chat
from ._rewrite import opaque
from ._wire import body_of, end_of, head_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..events import Event
    from ..task import Task
    from ._facts import Interaction

HEADERS = (
    "content-encoding",
    "content-type",
    "location",
    "retry-after",
    "x-oneapi-request-id",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-request-id",
    "x-should-retry",
)
"""Response headers that clients act on, or quote."""

_DEPTH, _PATHS, _OBJECTS = 16, 2_000, 20_000
"""Bounds of what is looked at in JSON: levels, names, objects of a stream. Shapes repeat long before."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,39}\d{0,2}")
"""A key that is a name; others (ids, addresses, numbers) are data, and shown as `{}`."""


def task_of(interaction: Interaction) -> Task | None:
    """What the answer says; None for media, pages, and what cannot be read."""
    head, body = head_of(interaction.reply), body_of(interaction.reply)
    if head is None or not body.strip() or opaque({name.lower(): value for name, value in head.headers}):
        return None
    if not interaction.is_chat and body.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return parse_response(body, head.status)
    except ResponseError:
        return None


def kind_of(event: Event) -> str:
    """The class of an event, and what of its fields is a word of ours and none of the relay's."""
    name = type(event).__name__
    match event:
        case ev.Stage(stage=word) | ev.TaskLink(rel=word) | ev.Notice(kind=word) | ev.Element(name=word):
            return f"{name} {word}"
        case ev.Link(role=role, kind=kind) if role or kind:
            return " ".join(filter(None, (name, kind, role)))
        case ev.Parameters(value=None):
            return f"{name} broken"
        case ev.Unknown(malformed=True):
            return f"{name} malformed"
    return name


def summary(interaction: Interaction) -> dict[str, Any]:
    """What a tape keeps of what its answer was read as; empty where there is nothing to read.

        {"events": ["Parameters", "TaskId", "Stage queued", "Progress*12", "Completed", "Image*2"],
         "results": ["image", "image"], "status": "completed"}

    No word of the relay is in it: it holds no secret, and redaction leaves it as it is.
    """
    task = task_of(interaction)
    if task is None:
        return {}
    kinds = (kind_of(event) for event in task.events if not isinstance(event, ev.LineEnd))
    # In how many pieces prose is read is no more than how it was cut into lines.
    runs = ((kind, 1 if kind in ("Text", "Code") else len(list(run))) for kind, run in groupby(kinds))
    told: dict[str, Any] = {
        "events": [f"{kind}*{count}" if count > 1 else kind for kind, count in runs],
        "status": task.status,
    }
    if task.results:
        told["results"] = [result.kind for result in task.results]
    if task.progress:
        told["progress"] = len(task.progress)
    if task.error is not None:
        told["error"] = task.error.category
    return told


@dataclass(frozen=True)
class Shape:
    """Everything of an answer that drift is told by."""

    route: str
    """`POST /v1/chat/completions`, ids in the path as `{}`."""
    status: int | None
    ending: str
    form: str
    """`stream`, `json`, `text`, `media (image/png)`, `compressed (gzip)`, or `nothing`."""
    headers: dict[str, str]
    outcome: str | None
    """The task's status."""
    kinds: tuple[str, ...]
    """Of the events, in order of their first coming; of media, of their last: previews come before results."""
    words: frozenset[tuple[str, str]]
    """What the relay calls them."""
    unknown: frozenset[str]
    """Unknown lines, without ids, addresses and numbers."""
    progress: bool
    results: tuple[str, ...]
    downloads: int
    posters: int
    error: tuple[str, str | None, str] | None
    """Category, code, words."""
    fields: dict[str, frozenset[str]]
    """Of the JSON in frames or body: path to the types seen there."""
    finish_reasons: frozenset[str]
    usage: bool
    done: bool
    keep_alive: bool
    bad_frames: bool


def shape_of(interaction: Interaction) -> Shape:
    """The shape of what answered a request."""
    reply, body, head = interaction.reply, body_of(interaction.reply), head_of(interaction.reply)
    headers = {name.lower(): value for name, value in head.headers} if head else {}
    task = task_of(interaction)
    objects, done, comments = _objects(body) if not opaque(headers) else ([], False, False)
    paths: dict[str, set[str]] = {}
    for value in objects:
        _walk(value, "", paths, 0)
    events = [event for event in task.events if not isinstance(event, ev.LineEnd)] if task else []
    error = task.error if task else None
    reasons = {
        str(choice["finish_reason"])
        for value in objects
        for choice in _list(value.get("choices"))
        if isinstance(choice, dict) and choice.get("finish_reason") is not None
    }
    return Shape(
        route=_route(interaction),
        status=head.status if head else None,
        ending=end_of(reply).how,
        form=_form(body, headers),
        headers={name: headers[name] for name in HEADERS if name in headers},
        outcome=task.status if task else None,
        kinds=_order(events),
        words=frozenset((kind_of(event), plain(label)) for event in events if (label := getattr(event, "label", None))),
        unknown=frozenset(plain(event.text) for event in events if isinstance(event, ev.Unknown)),
        progress=bool(task and task.progress),
        results=tuple(result.kind for result in task.results) if task else (),
        downloads=sum(result.download_url is not None for result in task.results) if task else 0,
        posters=sum(result.poster_url is not None for result in task.results) if task else 0,
        error=None if error is None else (error.category, error.code, plain(error.message or "")),
        fields={path: frozenset(types) for path, types in paths.items()},
        finish_reasons=frozenset(reasons),
        usage=any(value.get("usage") for value in objects),
        done=done,
        keep_alive=comments,
        bad_frames=bool(task and task.envelope and task.envelope.bad_frames),
    )


def _order(events: Iterable[Event]) -> tuple[str, ...]:
    kinds: dict[str, None] = {}
    for event in events:
        kind = kind_of(event)
        if isinstance(event, ev.Image | ev.Link | ev.Url | ev.Element):
            kinds.pop(kind, None)
        kinds[kind] = None
    return tuple(kinds)


_URL = re.compile(r"(?:https?://|data:)[^\s)\]>\"'`]+")
_ID = re.compile(
    r"`[^`\n]{4,}`|\b(?=[\w-]{0,80}\d)[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)+\b|\b(?=[A-Za-z]*\d)[A-Za-z0-9]{8,}\b"
)


def plain(text: str) -> str:
    """A text without what differs from answer to answer: addresses, ids, numbers, white space."""
    text = _URL.sub("URL", text[:2_000])
    text = re.sub(r"\d+(?:\.\d+)?", "N", _ID.sub("ID", text))
    return " ".join(text.split())[:200]


def _route(interaction: Interaction) -> str:
    request = interaction.request
    if request is None:
        return "POST /v1/chat/completions"
    parts = [part if re.fullmatch(r"[a-z._-]+|v\d[a-z0-9]*", part) else "{}" for part in request.path.split("/")[1:]]
    return f"{request.method} /{'/'.join(parts)}"


def _form(body: bytes, headers: dict[str, str]) -> str:
    if not body:
        return "nothing"
    if why := opaque(headers):
        return why
    if _chat.is_stream(body):
        return "stream"
    return "json" if body.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] in (b"{", b"[") else "text"


def _objects(body: bytes) -> tuple[list[dict[str, Any]], bool, bool]:
    """The JSON objects of a body or of a stream's frames; whether [DONE] came, and comments."""
    if not _chat.is_stream(body):
        value = _json(body)
        return [value] if isinstance(value, dict) else [], False, False
    decoder = Decoder()
    frames = [*decoder.decode(body.decode("utf-8", "replace")), *decoder.flush()]
    values = [frame.data for frame in frames if isinstance(frame.data, dict)]
    return values[:_OBJECTS], any(frame.done for frame in frames), re.search(rb"(?m)^:", body) is not None


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _walk(value: Any, path: str, paths: dict[str, set[str]], depth: int) -> None:
    if depth > _DEPTH or len(paths) > _PATHS:
        return
    if path:
        paths.setdefault(path, set()).add(_type(value))
    if isinstance(value, dict):
        for key, inner in value.items():
            name = key if _NAME.fullmatch(key) else "{}"
            _walk(inner, f"{path}.{name}" if path else name, paths, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _walk(inner, f"{path}[]", paths, depth + 1)


def _type(value: Any) -> str:
    kinds = {dict: "object", list: "list", str: "text", bool: "boolean", int: "number", float: "number"}
    return kinds.get(type(value), "null")


def _list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def unknown_lines(task: Task) -> Iterator[tuple[int, str, bool]]:
    """Line, text, and whether it is markup that broke off, of what the grammar does not know."""
    line, at = 1, 0
    for event in task.events:
        if isinstance(event, ev.Unknown):
            lead = len(event.text) - len(event.text.lstrip())
            line += task.text.count("\n", at, event.start + lead)
            at = event.start + lead
            yield line, event.text.strip(), event.malformed
