"""Events back to Markdown."""

from __future__ import annotations

from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING

from . import events as ev
from .grammar import Grammar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .events import Event


def render(events: Iterable[Event], *, grammar: Grammar | None = None) -> str:
    """Write events as the content of a message.

    Words are those the events carry, so a message keeps its dialect; marks that
    no event carries (emoji, the dots of a stage) are not written again. Reading
    the result gives equal events, spans aside.
    """
    writer = _Writer(grammar if grammar is not None else Grammar.default())
    items = list(events)
    return "".join(writer.write(event, items[i + 1] if i + 1 < len(items) else None) for i, event in enumerate(items))


_STAGES = ("QUEUED", "PREPARING", "GENERATING", "OPTIMIZING")


class _Writer:
    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._ticking = False  # on a progress line, where bare numbers are percentages
        self._running = False  # after a generating phrase, where they may be
        self._fresh = True  # at the beginning of a line

    def write(self, event: Event, following: Event | None) -> str:
        text = self._write(event)
        in_line = self._ticking or self._running
        lone = isinstance(event, ev.Progress) and not in_line and event.label is None and event.preview_url is None
        labelled = isinstance(event, ev.Link | ev.Image) and bool(event.before or getattr(event, "kind", None))
        exact: str = getattr(following, "text", "")  # what follows is written as it was read
        if isinstance(event, ev.Stage) or lone or (isinstance(event, ev.Completed) and text.startswith(">")):
            # A phrase ends where other words must not go on with it.
            if isinstance(following, ev.Text | ev.Unknown) and exact[:1].isalpha():
                text += " "
        elif isinstance(event, ev.Url):
            if not exact and not isinstance(following, ev.LineEnd | None):
                text += " "
        elif isinstance(event, ev.Failed) and exact.startswith("`"):
            text += " "  # a fence, not the end of the reason
        elif isinstance(event, ev.LineEnd) and isinstance(following, ev.Unknown) and not following.malformed:
            # A phrase is unknown behind a quote mark only: without one of its own, it stood behind one in the line.
            text = text if ">" in exact else " > "
        if (lone or labelled or isinstance(event, ev.Url)) and not self._fresh:
            text = f"> {text}"  # words before it on its line must not swallow it
        self._fresh = isinstance(event, ev.LineEnd)
        if isinstance(event, ev.Progress):
            self._ticking = event.label is not None or in_line
        elif not (isinstance(event, ev.Link) and not labelled):
            self._ticking = False
        self._running = isinstance(event, ev.Stage) and event.stage == "generating"
        return text

    def _write(self, event: Event) -> str:
        match event:
            case ev.LineEnd():
                return "\n"
            case (
                ev.Parameters(text=text)
                | ev.Code(text=text)
                | ev.Reason(text=text)
                | ev.Retrying(text=text)
                | ev.Notice(text=text)
                | ev.Text(text=text)
                | ev.Unknown(text=text)
            ):
                return text
            case ev.TaskId(label=name, value=value) | ev.Identifier(name=name, value=value):
                return f"> {name}: `{value}`"
            case ev.Stage(label=label):
                # A phrase that only its stems told is told again by dots.
                return f"> {label}" if self._known(label, *_STAGES) else f"> {label}..."
            case ev.Completed(label=label):
                if label in self._grammar.words("CHECK"):
                    return label
                return f"> {label}" if self._known(label, "COMPLETED", "DONE_WORD") else f"> ✅ {label}"
            case ev.Progress():
                return self._progress(event)
            case ev.Failed(label=label, reason=reason):
                return f"> {label}: {reason}" if label and reason else f"> {label or reason or ''}"
            case ev.Image(alt=alt, url=url, before=before):
                return (f"{before}: " if before else "") + f"![{alt}]({url})"
            case ev.Link(label=label, url=url, kind=kind, before=before):
                words = {"audio": "AUDIO", "video": "VIDEO", "image": "IMAGE"}.get(kind or "")
                if before is None and words:
                    before = min(self._grammar.words(words), key=len)
                return (f"{before}: " if before else "") + _link(label, url)
            case ev.TaskLink(label=label, url=url):
                return _link(label, url)
            case ev.Url(url=url):
                return url
            case ev.Element(name=name, src=src, poster=poster):
                attributes = [f' {key}="{escape(value)}"' for key, value in (("src", src), ("poster", poster)) if value]
                return f"<{name}{''.join(attributes)}>"
        raise TypeError(f"{type(event).__name__} is no event of this package: give render() what parse() made")

    def _known(self, label: str, *terminals: str) -> bool:
        words = self._grammar.words(*terminals)
        return label in words or label.lower() in words

    def _progress(self, tick: ev.Progress) -> str:
        number = str(tick.percent) if isinstance(tick.percent, int) else format(Decimal(repr(tick.percent)), "f")
        before = f"> {tick.label} " if tick.label is not None else ""
        if tick.preview_url is not None:
            return f"{before}[{number}%]({tick.preview_url})"
        in_line = tick.label is not None or self._ticking or self._running
        known = tick.label is None or self._known(tick.label, "PROGRESS")
        return f"{before}{number}{'..' if in_line and known and number.isdecimal() else '%'}"


def _link(label: str, url: str) -> str:
    # A bracket can only have come from a link whose own brackets were taken away.
    return f"{label} ({url})" if "[" in label or "]" in label else f"[{label}]({url})"
