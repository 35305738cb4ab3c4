"""What a status stream says, as typed facts.

Every event is frozen and knows its span: `start` and `end` count characters of
the content, half-open as in `re.Match.span()`. Spans tile the content: an event
begins where the one before it ended, so marks and white space before a fact
belong to its span, and the spans joined give the content back.

    match event:
        case Progress(percent=percent): bar.update(percent)
        case Image(url=url) | Link(url=url): print(url)
        case Failed(reason=reason): raise JobFailed(reason)

Don't subclass these, and don't rely on their order of definition: new kinds may
be added in a minor release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

StageName = Literal["queued", "preparing", "generating", "optimizing"]
Kind = Literal["image", "video", "audio"]
Role = Literal["watch", "download", "preview"]


@dataclass(frozen=True, slots=True)
class Event:
    """The base class of all events."""

    start: int
    """Where its span begins, in characters from the start of the content."""
    end: int
    """Where its span ends, exclusive."""


@dataclass(frozen=True, slots=True)
class LineEnd(Event):
    """A line ended: a newline, a literal backslash-n, or the end of the content.

    Where whatever passed a text on has put its lines in one, also the quote mark behind a failure.
    """


@dataclass(frozen=True, slots=True)
class Parameters(Event):
    """A JSON object: the request as the relay understood it, or the outcome itself."""

    text: str
    """The text of the span, fence and all."""
    value: dict[str, Any] | None
    """The object, or None where a language model wrote broken JSON."""


@dataclass(frozen=True, slots=True)
class Code(Event):
    """A piece of a fence that holds no parameters, its marks included."""

    text: str
    """The text of the span."""


@dataclass(frozen=True, slots=True)
class TaskId(Event):
    """The id to poll the task with."""

    label: str
    """What the line calls it: `ID`, `任务ID`, `task_id`…"""
    value: str
    """Without its backticks."""


@dataclass(frozen=True, slots=True)
class Identifier(Event):
    """Any other id that stands under its own name."""

    name: str
    """As written: `sid`, `gen_id`, `message_id`…"""
    value: str
    """Without its backticks."""


@dataclass(frozen=True, slots=True)
class TaskLink(Event):
    """Where the task can be followed."""

    rel: Literal["web", "source"]
    """`web` is a page for people, `source` is JSON."""
    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Stage(Event):
    """The task entered a stage. The dots that follow are keep-alives."""

    stage: StageName
    label: str
    """The words of the relay: `排队中`, `Generating`…"""


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """A percentage."""

    percent: float
    """As written: an int for `48`, a float for `98.7`; relays write 0 to 100."""
    label: str | None
    """The words before the first percentage of a run: `进度`, `Progress`; None after it."""
    preview_url: str | None
    """Where the percentage is a link, what it links to."""


@dataclass(frozen=True, slots=True)
class Image(Event):
    """A Markdown image `![alt](url)`; whether it is a result depends on its surroundings."""

    alt: str
    url: str
    before: str | None = None
    """What a label before it says: `图片1: ![…](…)`."""


@dataclass(frozen=True, slots=True)
class Link(Event):
    """A Markdown link `[label](url)`, or `label (url)` where the brackets were taken away."""

    label: str
    url: str
    role: Role | None
    """What the label says the link is for, if it does."""
    kind: Kind | None
    """What a label before the link says it is: `音频🎧: [点击播放](…)`."""
    before: str | None = None
    """What that label says, without its marks: `音频1`, `下载2`."""


@dataclass(frozen=True, slots=True)
class Url(Event):
    """A bare URL where a line or a phrase may begin."""

    url: str


@dataclass(frozen=True, slots=True)
class Element(Event):
    """An HTML element: `<video>`, `<audio>`, `<source>` or `<img>`."""

    name: Literal["video", "audio", "source", "img"]
    src: str | None
    """Its source, entities decoded."""
    poster: str | None


@dataclass(frozen=True, slots=True)
class Completed(Event):
    """The relay says that the work is done."""

    label: str


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """The relay says that the work failed."""

    label: str
    """The failure word, `生成失败`; empty where the sentence is its own failure word."""
    reason: str | None
    """What follows on the same line, or the whole sentence."""


@dataclass(frozen=True, slots=True)
class Reason(Event):
    """A line of its own that gives the reason of a failure: `失败原因：input_moderation`."""

    text: str
    """The text of the span."""
    label: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Retrying(Event):
    """The relay tries again by itself; whatever this line says of failure is not final."""

    text: str
    """The text of the span."""


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """A line that is known and decides nothing but whether the media after it are a `preview` or `final`."""

    kind: Literal["notice", "warning", "submitted", "setting", "preview", "final"]
    text: str
    """The text of the span."""


@dataclass(frozen=True, slots=True)
class Text(Event):
    """Prose: words the grammar gives no meaning to."""

    text: str
    """The text of the span."""


@dataclass(frozen=True, slots=True)
class Unknown(Event):
    """What the grammar does not know: words in the relay's own voice (a quoted line), or broken markup."""

    text: str
    """The text of the span."""
    malformed: bool
    """Whether something known began here and broke off: an image, a tag, or what the content ended in the middle of."""


AnyEvent = (
    LineEnd
    | Parameters
    | Code
    | TaskId
    | Identifier
    | TaskLink
    | Stage
    | Progress
    | Image
    | Link
    | Url
    | Element
    | Completed
    | Failed
    | Reason
    | Retrying
    | Notice
    | Text
    | Unknown
)
"""All events, for exhaustive `match` statements."""
