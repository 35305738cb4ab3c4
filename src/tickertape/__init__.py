"""Read the markdown status stream of image and video relays.

    task = tickertape.parse(content)
    task.status, task.progress, task.results, task.error

`Parser` reads delta by delta, `parse_response` a whole response, `iter_events`
and `aiter_events` a live stream. Nothing here opens a connection.
"""

from . import events
from ._errors import GrammarError, ParserClosed, ResponseError, TickertapeError, UnknownLine
from .envelope import ResponseReader, aiter_events, iter_events, parse_response
from .grammar import Grammar
from .parser import MAX_PENDING, Parser, parse
from .render import render
from .task import Envelope, Result, Task, TaskError

__version__ = "0.1.0"

__all__ = [
    "MAX_PENDING",
    "Envelope",
    "Grammar",
    "GrammarError",
    "Parser",
    "ParserClosed",
    "ResponseError",
    "ResponseReader",
    "Result",
    "Task",
    "TaskError",
    "TickertapeError",
    "UnknownLine",
    "__version__",
    "aiter_events",
    "events",
    "iter_events",
    "parse",
    "parse_response",
    "render",
]
