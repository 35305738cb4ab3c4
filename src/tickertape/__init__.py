"""Read the markdown status stream of image and video relays.

    task = tickertape.parse(content)
    task.status, task.progress, task.results, task.error

`Parser` reads delta by delta, `parse_response` a whole response, `iter_events`
and `aiter_events` a live stream. Nothing here opens a connection.

Importing the package loads none of its modules: a name is loaded when it is
first used, so that a pytest plugin or a command line that only mentions
tickertape pays nothing for it.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # importing typing costs more than all the rest
if TYPE_CHECKING:
    from . import events
    from ._errors import GrammarError, ParserClosed, ResponseError, TapeError, TickertapeError, UnknownLine
    from .envelope import ResponseReader
    from .grammar import Grammar
    from .parser import MAX_PENDING, Parser, parse
    from .responses import aiter_events, iter_events, parse_response
    from .task import Envelope, Result, Task, TaskError
    from .writer import render

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
    "TapeError",
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

_MODULES = {
    "_errors": ("GrammarError", "ParserClosed", "ResponseError", "TapeError", "TickertapeError", "UnknownLine"),
    "envelope": ("ResponseReader",),
    "grammar": ("Grammar",),
    "parser": ("MAX_PENDING", "Parser", "parse"),
    "responses": ("aiter_events", "iter_events", "parse_response"),
    "task": ("Envelope", "Result", "Task", "TaskError"),
    "writer": ("render",),
}


def __getattr__(name: str) -> object:
    if name == "events":
        return import_module(".events", __name__)
    for module, names in _MODULES.items():
        if name in names:
            loaded = import_module(f".{module}", __name__)
            globals().update({n: getattr(loaded, n) for n in names})
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
