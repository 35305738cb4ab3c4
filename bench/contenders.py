"""The ways of reading a status stream that the benchmark compares.

Each way is a function from a whole text to something. Those that yield events
must yield tickertape's own, spans included, or they are left out (`checked`).
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from scanner import scan

from tickertape._builders import Builders
from tickertape._compiler import grammar_folder
from tickertape.events import Event
from tickertape.grammar import Grammar
from tickertape.parser import MAX_PENDING, Parser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tickertape._machine import Builder, Machine

    Read = Callable[[str], Any]

EVENTS_ONLY = "tickertape, events only"
WITH_TASK = "tickertape, `Parser` with the task"
STOCK_LARK = "stock Lark, LALR, contextual lexer"
SCANNER = "hand-written regex scanner"


def machine() -> Machine:
    """tickertape without the task fold."""
    return Grammar.default().machine(max_pending=MAX_PENDING)


def read_events(text: str) -> list[Event]:
    reader = machine()
    return reader.feed(text) + reader.close()


def read_task(text: str) -> list[Event]:
    parser = Parser()
    events = parser.feed(text) + parser.close()
    assert parser.task is not None
    return events


class StockLark:
    """The same grammar file, read by Lark as it comes, calling the same functions when it reduces.

    `iter_parse()` is the loop of `Lark.parse()` with the tokens shown: their ends
    are the spans, and cost nothing measurable.
    """

    def __init__(self) -> None:
        import lark

        folder = grammar_folder()
        path = folder / "status_stream.lark"
        sink = type("Sink", (lark.Transformer,), self._callbacks())
        self._lark = lark.Lark(
            path.read_text("utf-8"),
            parser="lalr",
            lexer="contextual",
            start="document",
            import_paths=[str(folder)],
            source_path=str(path),
            transformer=sink(),
        )

    def __call__(self, text: str) -> list[Event]:
        self._text = text
        self._events: list[Event] = []
        self._emitted = self._stop = last = 0
        self.label: str | None = None
        self.delivered = False
        parse: Any = self._lark.parse_interactive(text)
        for token in parse.iter_parse():
            self._stop, last = last, token.end_pos
        self._stop = last
        parse.feed_eof()
        return self._events

    # What the functions of tickertape ask its machine for: text(), emitted, label, delivered.

    @property
    def emitted(self) -> int:
        return self._emitted

    def text(self, stop: int) -> str:
        return self._text[self._emitted : stop]

    def _callbacks(self) -> dict[str, Any]:
        table = Builders(Grammar.default()).table()
        return {rule: staticmethod(partial(self._reduce, build)) for rule, build in table.items()}

    def _reduce(self, build: Builder, children: list[Any]) -> Any:
        value = build(self, self._emitted, self._stop, children)  # type: ignore[arg-type]
        if isinstance(value, Event):
            self._events.append(value)
            self._emitted = self._stop
            return None
        return value


def _markdown_it() -> Read:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").parse


def _mistune() -> Read:
    import mistune

    return mistune.create_markdown(renderer=None)


def _makers() -> Iterator[tuple[str, Callable[[], Read], bool]]:
    yield EVENTS_ONLY, lambda: read_events, True
    yield WITH_TASK, lambda: read_task, True
    yield STOCK_LARK, StockLark, True
    yield SCANNER, lambda: scan, True
    yield "markdown-it-py, commonmark", _markdown_it, False
    yield "mistune, AST", _mistune, False


def checked(texts: list[str]) -> tuple[dict[str, Read], dict[str, str]]:
    """The contenders that read all the texts as tickertape does, and why the others are left out."""
    ready: dict[str, Read] = {}
    left_out: dict[str, str] = {}
    expected = [read_events(text) for text in texts]
    for name, make, yields_events in _makers():
        try:
            read = make()
            found = [read(text) for text in texts]
        except Exception as error:  # a contender that fails is a line of the report, not its end
            left_out[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            continue
        difference = _difference(expected, found) if yields_events else ""
        if difference:
            left_out[name] = difference
        else:
            ready[name] = read
    return ready, left_out


def _difference(expected: list[list[Event]], found: list[list[Event]]) -> str:
    for ours, theirs in zip(expected, found, strict=True):
        for one, other in zip(ours, theirs, strict=False):
            if one != other:
                return f"{other} instead of {one}"
        if len(ours) != len(theirs):
            return f"{len(theirs)} events instead of {len(ours)}"
    return ""


_PROGRESS = re.compile(r"(?:进度|Progress)[^\n]*")
_PERCENT = re.compile(r"([0-9]+)(?:\.\.|\])")
_IMAGE = re.compile(r"!\[[^\]]*\]\((https?://[^)\s]+)\)")
_TASK = re.compile(r"ID:\s*`([^`]+)`")
_SOURCE = re.compile(r"\[原始数据\]\((https?://[^)]+)\)")


def find_all(text: str) -> tuple[list[str], list[str], list[str], list[str]]:
    """The few searches that stand in for a parser, over everything received so far."""
    percents = [percent for line in _PROGRESS.findall(text) for percent in _PERCENT.findall(line)]
    return percents, _IMAGE.findall(text), _TASK.findall(text), _SOURCE.findall(text)
