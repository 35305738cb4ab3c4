"""Read the markdown status stream of image and video relays."""

from ._errors import GrammarError, ParserClosed, ResponseError, TickertapeError, UnknownLine
from .envelope import ResponseReader, aiter_events, iter_events, parse_response
from .grammar import Grammar
from .parser import Parser, parse
from .task import Envelope, Result, Task, TaskError
