"""What tickertape raises.

TickertapeError
├── ParserClosed   feed() after close()
├── UnknownLine    strict reading met a line the grammar does not know
├── GrammarError   a grammar, or an extension of it, cannot be used
├── ResponseError  parse_response() or iter_events() was given no response
└── TapeError      a tape cannot be found, read or written

Reading itself never raises on what a relay sends: these are mistakes of the
program around it, or the answer that `strict=True` asks for.
"""

from __future__ import annotations


class TickertapeError(Exception):
    """The base class of all errors of this package."""


class ParserClosed(TickertapeError):
    """`feed()` was called after `close()`: a parser reads one message, make a new one."""


class GrammarError(TickertapeError, ValueError):
    """A grammar cannot be read, has a conflict, or cannot be lexed while text arrives."""


class ResponseError(TickertapeError, TypeError):
    """What was given as a response or a stream is neither."""


class TapeError(TickertapeError, ValueError):
    """A tape cannot be found, read or written; the message says where, what was expected, and the remedy."""


class UnknownLine(TickertapeError, ValueError):
    """A line in the relay's own voice that the grammar does not know (`strict=True`)."""

    def __init__(self, text: str, line: int, column: int, expected: tuple[str, ...]) -> None:
        self.text = text
        """The line as written, without its end."""
        self.line = line
        """Counted from 1."""
        self.column = column
        """Counted from 1, in characters."""
        self.expected = expected
        """What the grammar could have read there, by the names of its terminals."""
        super().__init__(text, line, column, expected)

    def __str__(self) -> str:
        shown = ", ".join(self.expected[:12]) + (", …" if len(self.expected) > 12 else "")
        # A wide character takes two columns of a terminal; the caret points by characters.
        return (
            f"line {self.line}, column {self.column}: unknown status line\n"
            f"  {self.text}\n  {' ' * (self.column - 1)}^\n"
            f"expected one of {shown}; add the spelling with Grammar.from_text('%extend …'), "
            "or read without strict=True to get it as an Unknown event"
        )
