"""Server-sent events as relays write them, from text in any pieces.

WHATWG's event stream, read more loosely: each `data:` line is a frame of its
own whether or not a blank line follows it, because gateways leave those out;
lines of a frame that is not JSON yet are tried together, because others print
their JSON over several lines.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = ("data", "event", "id", "retry")

_MAX_LINES = 1000
"""Lines that may make up one frame: each is a try at JSON, so their number must be bounded."""


class Frame:
    """One frame: the event's name, its data as decoded JSON, or the text that is none."""

    __slots__ = ("bad", "data", "done", "name")

    def __init__(self, name: str, data: Any = None, *, bad: str | None = None, done: bool = False) -> None:
        self.name = name
        self.data = data
        self.bad = bad
        self.done = done


class Decoder:
    """Text in, frames out. O(n): a line's pieces are joined once."""

    def __init__(self) -> None:
        self._pieces: list[str] = []  # the line that has not ended yet
        self._return = False  # the last line ended in \r: a \n that follows belongs to it
        self._ends = False  # a line end came: where text is cut says nothing of lines
        self._name = ""
        self._partial: list[str] = []  # a frame that is not JSON yet

    def decode(self, text: str) -> list[Frame]:
        if self._return and text:
            self._return = False
            text = text.removeprefix("\n")
        joined = self._pieces and not self._ends and self._whole_line_before(text)
        self._ends = self._ends or "\n" in text or "\r" in text
        if joined:
            text = "\n" + text
        frames: list[Frame] = []
        # Not splitlines(): it also breaks at U+2028 and the like, which JSON may hold.
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._return = text.endswith("\r")
        for line in lines[:-1]:
            self._pieces.append(line)
            whole, self._pieces = "".join(self._pieces), []
            frames += self._line(whole)
        if lines[-1]:
            self._pieces.append(lines[-1])
        return frames

    def flush(self) -> list[Frame]:
        frames = list(self._line("".join(self._pieces)))
        self._pieces = []
        return [*frames, *self._give_up()]

    def _whole_line_before(self, text: str) -> bool:
        """Whether lines come without their ends: a field begins, and the frame before it is whole."""
        if text and not text.startswith((*(f"{field}:" for field in FIELDS), ":")):
            return False
        if not self._pieces[-1].rstrip().endswith(("}", "]")) and not self._pieces[0].startswith("event:"):
            return False  # joined only where the end of a frame is possible: not quadratic
        line = "".join(self._pieces)
        data = line.partition(":")[2].strip()
        return line.startswith("event:") or data == "[DONE]" or _json(data) is not None

    def _line(self, line: str) -> Iterator[Frame]:
        field, colon, value = line.partition(":")
        if not line.strip():
            yield from self._give_up()
            self._name = ""
        elif not field and colon:
            pass  # a comment, for keep-alive
        elif field == "data" and colon:
            yield from self._data(value.removeprefix(" "))
        elif field == "event" and colon:
            yield from self._give_up()
            self._name = value.strip()
        elif field in FIELDS and colon:
            pass
        elif self._partial:
            yield from self._more(line)
        else:
            yield Frame(self._name, bad=line)

    def _data(self, data: str) -> Iterator[Frame]:
        value = data.strip().removesuffix("\\n\\n").strip()  # sora2api writes the ends of one line literally
        if value == "[DONE]":
            yield from self._give_up()
            yield Frame(self._name, done=True)
        elif not value:
            return
        elif (decoded := _json(value)) is not None:
            yield from self._give_up()
            yield Frame(self._name, decoded)
        else:
            yield from self._more(data)

    def _more(self, data: str) -> Iterator[Frame]:
        if self._partial and data.startswith('{"') and self._partial[0].startswith('{"'):
            yield from self._give_up()  # another frame begins: a printed one begins with a brace alone
        self._partial.append(data)
        if len(self._partial) > 1 and data.rstrip().endswith(("}", "]")):
            decoded = _json("\n".join(self._partial))
            if decoded is not None:
                self._partial = []
                yield Frame(self._name, decoded)
                return
        if len(self._partial) >= _MAX_LINES:
            yield from self._give_up()

    def _give_up(self) -> Iterator[Frame]:
        if self._partial:
            text, self._partial = "\n".join(self._partial), []
            yield Frame(self._name, bad=text)


def _json(text: str) -> Any:
    """Decoded JSON, or None (which no frame is)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
