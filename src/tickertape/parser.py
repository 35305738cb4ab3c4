"""Reading content: whole with `parse()`, delta by delta with `Parser`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._errors import ParserClosed, UnknownLine
from ._fold import Fold
from .events import LineEnd, Link, Url
from .grammar import Grammar

if TYPE_CHECKING:
    from ._machine import Machine
    from .events import Event
    from .task import Task

_WITHOUT_TEXT = (LineEnd, Link, Url)
"""Events that may be prose and do not carry the text of their span."""

MAX_PENDING = 1 << 26
"""Characters that may wait for the end of one construct: 64 Mi.

A picture in a `data:` URL is one construct. OpenAI accepts images up to 50 MB,
which base64 makes 67 million characters long; h11 stops a header at 16 KiB, but
there a longer one is an attack and here it is a result.
"""


class Parser:
    """An incremental, sans-I/O reader of one message.

    `feed()` takes the content in any pieces, `close()` says that no more will
    come; both return the events that became certain, and the events do not
    depend on where the pieces were cut. Time is linear in the content. With
    `history=False` memory is bounded by `max_pending` and by what the task
    itself holds (results, percentages); otherwise the text and the events are
    kept for `task.text` and `task.events`.

    One parser reads one message; use one per thread or task.
    """

    def __init__(self, *, grammar: Grammar | None = None, max_pending: int = MAX_PENDING, history: bool = True) -> None:
        if max_pending < 1:
            raise ValueError(f"max_pending is {max_pending}: at least 1 character must be allowed to wait")
        self._grammar = grammar if grammar is not None else Grammar.default()
        self._machine: Machine = self._grammar.machine(max_pending=max_pending)
        self._fold = Fold(self._grammar)
        self._history = history
        self._text: list[str] = []
        self._events: list[Event] = []
        self._recent: list[str] | None = []  # the text from the last event on, while it may be prose
        self._closed = False
        self._task: Task | None = None

    def feed(self, text: str) -> list[Event]:
        """Read the next piece; the events it made certain, in order.

        Raises `ParserClosed` after `close()`, and never anything because of the text.
        """
        if self._closed:
            raise ParserClosed("feed() after close(): a parser reads one message, make a new Parser for the next")
        if self._history:
            self._text.append(text)
        if self._recent is not None:
            self._recent.append(text)
        return self._take(self._machine.feed(text))

    def close(self) -> list[Event]:
        """No more will come; the last events. Closing twice does nothing the second time."""
        if self._closed:
            return []
        self._closed = True
        return self._take(self._machine.close())

    @property
    def pending(self) -> str:
        """Text that no event accounts for yet: what `feed()` is waiting to understand."""
        return self._machine.pending

    @property
    def closed(self) -> bool:
        """Whether `close()` was called: until then, `task` may still change."""
        return self._closed

    @property
    def task(self) -> Task:
        """What the text so far amounts to. Reads nothing again; costs a copy of the task's lists."""
        if self._task is None:
            if len(self._text) > 1:
                self._text = ["".join(self._text)]
            text = self._text[0] if self._text else ""
            self._task = self._fold.task(closed=self._closed, events=self._events, text=text)
        return self._task

    def _take(self, events: list[Event]) -> list[Event]:
        if events:
            if self._recent is None:
                for event in events:
                    self._fold.add(event)
            else:
                self._tell(events, self._recent)
            if self._history:
                self._events += events
        self._task = None
        return events

    def _tell(self, events: list[Event], recent: list[str]) -> None:
        """Tell the fold events with the text of those that do not carry their own."""
        fold, start, joined = self._fold, events[0].start, ""
        for event in events:
            text = ""
            if isinstance(event, _WITHOUT_TEXT) and fold.listening:
                joined = joined or "".join(recent)
                text = joined[event.start - start : event.end - start]
            fold.add(event, text)
        self._recent = [(joined or "".join(recent))[events[-1].end - start :]] if fold.listening else None


def parse(content: str, *, closed: bool = True, strict: bool = False, grammar: Grammar | None = None) -> Task:
    """The task of an assistant message's content.

    `closed=False` reads the text as one that is still arriving. `strict=True`
    raises `UnknownLine` at the first words in the relay's own voice (a quoted
    line) that the grammar does not know.
    """
    if not isinstance(content, str):
        raise TypeError(
            f"parse() reads content, a str; got {type(content).__name__}: give a response to parse_response()"
        )
    parser = Parser(grammar=grammar)
    parser.feed(content)
    if closed:
        parser.close()
    unknown = parser._machine.unknown
    if strict and unknown is not None:
        offset, state = unknown
        raise _unknown_line(content, offset, parser._machine.expected(state))
    return parser.task


def _unknown_line(content: str, offset: int, expected: tuple[str, ...]) -> UnknownLine:
    first = content.rfind("\n", 0, offset) + 1
    last = content.find("\n", offset)
    line = content[first : last if last >= 0 else len(content)].rstrip("\r")
    return UnknownLine(line, content.count("\n", 0, first) + 1, offset - first + 1, expected)
