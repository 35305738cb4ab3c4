"""The task that a status stream tells of, as plain frozen data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .events import Event, Kind

Status = Literal["queued", "in_progress", "completed", "failed", "incomplete"]
Category = Literal[
    "moderation",
    "quota",
    "rate_limit",
    "overloaded",
    "auth",
    "not_found",
    "invalid_request",
    "timeout",
    "upstream",
    "text_only",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class Result:
    """A finished medium."""

    kind: Kind
    url: str
    """As written: absolute, relative, or a `data:` URL. Never fetched, never made up."""
    download_url: str | None = None
    """A second link to the same medium, for saving it."""
    poster_url: str | None = None
    """A video's cover image."""

    @property
    def unsafe(self) -> str | None:
        """Why no program should follow one of these links unseen, in words; None where nothing speaks against it.

        Relays pass on what a language model wrote. Told are schemes other than
        http(s) and `data:`, characters that do not show (directions, zero width),
        and hosts in letters that may look like others. An address inside a private
        network is not: self-hosted relays have such.
        """
        urls = (self.url, self.download_url, self.poster_url)
        return next((reason for url in urls if url and (reason := _unsafe(url)) is not None), None)


def _unsafe(url: str) -> str | None:
    from unicodedata import category, name
    from urllib.parse import urlsplit

    if url[:5].lower() == "data:":
        return None
    hidden = next((c for c in url if category(c) in ("Cc", "Cf")), None)
    if hidden is not None:
        return f"it holds a character that does not show: {name(hidden, f'U+{ord(hidden):04X}')}"
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        return f"it is no URL: {error}"
    if parts.scheme not in ("http", "https", ""):
        return f"its scheme is {parts.scheme}:"
    if not parts.scheme and parts.netloc:
        return f"it leads to another host, {host}, without a scheme"
    if not host.isascii():
        return f"its host is written in letters that may look like others: {host}"
    return None


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a task failed."""

    category: Category
    """What to do about it, whatever language or gateway told it."""
    code: str | None
    """The machine code as written."""
    message: str | None
    """The reason as written, its label taken off."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the wrapping of the content said."""

    finish_reason: str | None = None
    """As written: relays say `stop`, `STOP`, or nothing, also after a failure."""
    reasoning: str | None = None
    """All `reasoning_content`, joined; only its percentages count."""
    error: Any = None
    """The `error` of the response or of an error frame, as decoded JSON."""
    bad_frames: int = 0
    """Frames that were not JSON; their text is in `error_log`."""
    error_log: tuple[str, ...] = ()
    """The text of the bad frames, in order."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a status stream amounts to. Names follow OpenAI's own video job."""

    status: Status = "queued"
    task_id: str | None = None
    """The id to poll with."""
    ids: Mapping[str, str] = field(default_factory=dict)
    """Every other id, under its own name; the last value wins."""
    parameters: Mapping[str, Any] | None = None
    """The request as the relay understood it; None when absent or broken JSON."""
    stages: tuple[str, ...] = ()
    """The stages entered, in order; one that a retry enters again is there again."""
    progress: tuple[float, ...] = ()
    """Every percentage, in the order written: 0 to 100, not always rising."""
    links: Mapping[str, str] = field(default_factory=dict)
    """`web` is a page, `source` is JSON; absent ones are left out."""
    results: tuple[Result, ...] = ()
    """The finished media in order, without covers, previews, inputs and duplicates."""
    previews: tuple[str, ...] = ()
    """Media that are not results."""
    error: TaskError | None = None
    events: tuple[Event, ...] = field(default=(), repr=False)
    """What the content was read as; empty for poll bodies and HTTP errors."""
    text: str = field(default="", repr=False)
    """The content, verbatim: send it back as it is in the next turn."""
    envelope: Envelope | None = None
    """What the wrapping said, when there was one."""

    def as_dict(self) -> dict[str, Any]:
        """The task as JSON data; `envelope` is there only when there was a wrapping."""
        out: dict[str, Any] = {
            "status": self.status,
            "task_id": self.task_id,
            "ids": dict(self.ids),
            "parameters": None if self.parameters is None else dict(self.parameters),
            "stages": list(self.stages),
            "progress": list(self.progress),
            "links": dict(self.links),
            "results": [asdict(result) for result in self.results],
            "previews": list(self.previews),
            "error": None if self.error is None else asdict(self.error),
        }
        if self.envelope is not None:
            out["envelope"] = {
                "finish_reason": self.envelope.finish_reason,
                "reasoning": self.envelope.reasoning,
                "error": self.envelope.error,
                "bad_frames": self.envelope.bad_frames,
            }
        return out
