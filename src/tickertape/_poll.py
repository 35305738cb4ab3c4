"""What the JSON behind a task's `source` link says, and acknowledgements of a submission.

The field names are those of asyncdata's source bodies, of the sora and veo query
routes of new-api, and of OpenAI's own video job. The same words decide when a
model writes the outcome as JSON into its content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._media import media_kind
from .task import Result, Task, TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._failures import Failures
    from .events import Kind
    from .grammar import Grammar
    from .task import Status

_QUEUED = frozenset(
    {
        "pending",
        "queued",
        "queueing",
        "queuing",
        "in_queue",
        "waiting",
        "submitted",
        "not_start",
        "created",
        "accepted",
        "not_started",
        "unstarted",
        "init",
    }
)
_COMPLETED = frozenset({"completed", "complete", "succeeded", "success", "successful", "finished", "done", "succeed"})
_FAILED = frozenset(
    {"failed", "fail", "failure", "error", "cancelled", "canceled", "expired", "rejected", "timeout", "timed_out"}
)

_STATUS_KEYS = ("status", "task_status", "state")
_ID_KEYS = ("id", "task_id", "taskId")
_WEB_KEYS = ("preview_url", "web_url")
_SOURCE_KEYS = ("source_url",)
_ERROR_KEYS = (
    "error",
    "error_message",
    "fail_reason",
    "failure_reason",
    "video_generation_error",
    "failReason",
    "reason",
    "message",
)
_MEDIA_KEYS: tuple[tuple[str, Kind | None], ...] = (
    ("video_url", "video"),
    ("url", None),
    ("urls", None),
    ("result_url", None),
    ("output", None),
    ("audio_url", "audio"),
    ("imageUrl", "image"),
    ("upsample_video_url", "video"),
)
_LIST_KEYS = ("generations", "results", "data", "outputs", "video_result")
_POSTER_KEYS = ("thumbnail_url", "cover_url", "poster_url", "thumbnail")
_INPUT_KEYS = frozenset({"input", "inputs", "request", "images", "image", "params", "parameters", "metadata"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a JSON object with `status` or `error` amounts to."""

    status: Status | None
    task_id: str | None
    error: TaskError | None
    results: tuple[tuple[Kind, str], ...]
    rest: dict[str, Any]


def status_of(value: Any) -> Status | None:
    """A gateway's word for a status in the words of `Task.status`; None when it says nothing."""
    if not isinstance(value, str) or not value:
        return None
    word = value.strip().lower()
    if word in _QUEUED:
        return "queued"
    if word in _COMPLETED:
        return "completed"
    if word in _FAILED or word.endswith(("_failed", "_failure", "_error")):
        return "failed"
    return "in_progress"


def read_outcome(value: dict[str, Any], failures: Failures, grammar: Grammar) -> Outcome:
    """An outcome that a model wrote as JSON into its content."""
    status = status_of(_first(value, _STATUS_KEYS))
    told = failures.body(value.get("error"))
    if status is None and told is not None:
        status = "failed"
    error = (told or _failure(value, failures)) if status == "failed" else None
    results = tuple((r.kind, r.url) for r in _results(value, grammar)) if status == "completed" else ()
    rest = {k: v for k, v in value.items() if k not in (*_STATUS_KEYS, "error", "id")}
    return Outcome(status, _text(value, ("id",)), error, results, rest)


def is_poll(body: dict[str, Any]) -> bool:
    """Whether a JSON object is a task's status or an acknowledgement of it."""
    return any(
        any(isinstance(place.get(k), str) for k in _STATUS_KEYS)
        or any(k in place for k in (*_WEB_KEYS, *_SOURCE_KEYS, "video_url", "pending_info", "progress_pct"))
        for place in _places(body)
    )


def read_poll(body: dict[str, Any], failures: Failures, grammar: Grammar, status_code: int | None = None) -> Task:
    """The task that a poll body or an acknowledgement tells of. Its `status` decides alone."""
    outer = body
    for keys in (_STATUS_KEYS, (*_WEB_KEYS, *_SOURCE_KEYS)):  # new-api and others wrap the task once more
        found = next((place for place in _places(outer) if _text(place, keys) is not None), None)
        if found is not None:
            body = found
            break
    progress = tuple(_progress(body))
    status = status_of(_first(body, _STATUS_KEYS))
    if status is None:
        status = "completed" if any(True for _ in _results(body, grammar)) else "queued"
    if status == "queued" and any(progress):
        status = "in_progress"
    links = {
        rel: url
        for rel, keys in (("web", _WEB_KEYS), ("source", _SOURCE_KEYS))
        if (url := _text(body, keys)) is not None
    }
    results = tuple(_results(body, grammar))
    if status == "completed" and not results:  # there is no outer one: the inner one is not another
        results = next((inner for place in _places(body) if (inner := tuple(_results(place, grammar)))), ())
    taken = {result.url for result in results}
    previews = dict.fromkeys(url for url in _inner_videos(body) if url not in taken)
    return Task(
        status=status,
        task_id=_text(body, _ID_KEYS) or _text(outer, _ID_KEYS),
        progress=progress,
        links=links,
        results=results,
        previews=tuple(previews),
        error=_failure(body, failures, status_code) if status == "failed" else None,
    )


def _first(body: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((body[key] for key in keys if body.get(key) not in (None, "")), None)


def _text(body: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    value = _first(body, keys)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _failure(body: dict[str, Any], failures: Failures, status_code: int | None = None) -> TaskError:
    for place in _places(body):
        for key in _ERROR_KEYS:
            if (told := failures.body(place.get(key), status_code)) is not None:
                return told
    return failures.error(None, None, status_code)


_DEPTH = 8
"""Objects a gateway may wrap a task in; deeper ones are data."""


def _places(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The object itself, then what describes the task inside it."""
    places = [body]
    for place in places:
        yield place
        if len(places) < _DEPTH:
            places += [inner for key in ("detail", "pending_info", "data") if isinstance(inner := place.get(key), dict)]


def _progress(body: dict[str, Any]) -> Iterator[float]:
    for place in _places(body):
        fraction = place.get("progress_pct")
        if isinstance(fraction, int | float) and not isinstance(fraction, bool):
            from decimal import Decimal  # few bodies tell one

            yield float(Decimal(repr(fraction)).scaleb(2))  # 0.07 is 7 %, and not 7.000000000000001
        percent = place.get("progress")
        if isinstance(percent, str):
            try:
                percent = float(percent.strip().rstrip("%"))
            except ValueError:
                continue
            percent = int(percent) if percent.is_integer() else percent
        if isinstance(percent, int | float) and not isinstance(percent, bool):
            yield percent


def _results(body: dict[str, Any], grammar: Grammar) -> Iterator[Result]:
    poster = _text(body, _POSTER_KEYS)
    seen: set[str] = set()
    for place in (body, *_items(body)):
        for key, kind in _MEDIA_KEYS:
            if key == "upsample_video_url" and seen:
                continue  # the same video once more
            values = place.get(key)
            for url in values if isinstance(values, list) else [values]:
                if isinstance(url, str) and url and url not in seen:
                    seen.add(url)
                    known = kind or media_kind(grammar, url) or "image"
                    yield Result(known, url, None, poster if known == "video" else None)


def _items(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key in _LIST_KEYS:
        items = body.get(key)
        if isinstance(items, list):
            yield from (item for item in items if isinstance(item, dict))


def _inner_videos(body: dict[str, Any]) -> Iterator[str]:
    """Every `video_url` further inside, in order, inputs aside."""
    waiting: list[Any] = [inner for key, inner in body.items() if key not in _INPUT_KEYS and key not in _LIST_KEYS]
    seen = 0
    while waiting and (seen := seen + 1) < _VALUES:
        value = waiting.pop(0)
        if isinstance(value, dict):
            url = value.get("video_url")
            if isinstance(url, str) and url:
                yield url
            value = [inner for key, inner in value.items() if key not in _INPUT_KEYS]
        if isinstance(value, list):
            waiting[:0] = [inner for inner in value if isinstance(inner, dict | list)]


_VALUES = 10_000
"""Values of a body that are looked through; a poll body has some hundreds."""
