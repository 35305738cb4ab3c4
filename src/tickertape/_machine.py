"""An online LALR(1) parser: text in, in any pieces; values of its rules out.

Theory of operation
-------------------

The tables come from Lark (`_compiler.py`). Three rules make an online parser of
them:

* A token is taken only when no further text could change it. A literal waits
  while a longer one is possible; a run (`[class]+`) is known from its first
  character and ends at the first one outside its class. Text held back is
  therefore shorter than the longest literal, and the pieces of an open run are
  kept in a list and joined once: each character is looked at once, O(n).
* A state whose only action is one reduction takes it at once, without waiting
  for the next token (Bison's "default reductions"); and a reduction that waits
  for a run is taken when the run begins. So an event comes with the character
  that makes it certain.
* Where nothing fits, states are given up until one takes yacc's `error` token,
  which the grammar places itself (`_ERROR`). The text given up stays part of the
  next event's span: nothing is lost, and the next line is read as if nothing had
  happened.

Text that no event accounts for is bounded by `max_pending`. Beyond it, exactly
that many characters are given up as `Unknown`, and the line goes on as prose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._lexicon import Lexicon
from .events import Event, LineEnd, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._automaton import Tables
    from ._lexicon import Run

    Builder = Callable[["Machine", int, int, list[Any]], Any]


_ATTEMPTS = 9
"""Rules that may be given up at one place before its character is skipped: fences, objects and links nest no deeper."""


class Program:
    """Tables made ready to run: what all parsers of one grammar share."""

    def __init__(self, tables: Tables, builders: dict[str, Builder]) -> None:
        self.lexicon = Lexicon(tables)
        self.names = (*(t.name for t in tables.terminals), "_ERROR", "$END")
        self.error = len(tables.terminals)
        self.end = self.error + 1
        self.defaults = tables.defaults
        self.gotos = tuple(map(dict, tables.gotos))
        self.productions = tuple((builders[p.rule] if p.rule else None, p.size, p.keep, p.symbol) for p in tables.productions)
        self.starts = dict(tables.starts)
        self.document = tables.symbols.index("document")
        self.states = len(tables.actions)


class Machine:
    """One parse. `feed()` and `close()` return the events that became certain."""

    def __init__(self, program: Program, *, max_pending: int) -> None:
        self._program = program
        self._max_pending = max_pending
        self._states = [program.starts["document"]]
        self._values: list[Any] = [None]
        self._held = ""  # a literal, or the stop of a run, that has not ended yet
        self._run: tuple[Run, int] | None = None  # an open run and its action,
        self._parts: list[str] = []  # and its text so far
        self._buffer = ""  # the text being read, and
        self._base = 0  # the offset of its first character
        self._offset = 0  # characters read into tokens, finished or open
        self._emitted = 0  # where the last event's span ended
        self._raw: list[str] = []  # the text from there up to _base
        self._events: list[Event] = []
        self._closing = False
        self._gave_up = (-1, 0)  # where states were last given up, and how many were left
        self.stuck: tuple[int, tuple[str, ...]] | None = None
        """Where nothing fitted last, and what could have been read there."""
        self.unknown: tuple[int, tuple[str, ...]] | None = None
        """`stuck` as it was at the first `Unknown`."""
        self.label: str | None = None
        """The word for progress that no percentage has followed yet."""
        self._settle(0)

    def feed(self, text: str) -> list[Event]:
        self._read(text)
        events, self._events = self._events, []
        return events

    def close(self) -> list[Event]:
        if not self._closing:
            self._closing = True
            self._read("")
            self._finish()
        events, self._events = self._events, []
        return events

    @property
    def pending(self) -> str:
        """Text no event accounts for yet."""
        return "".join(self._raw) + self._held

    @property
    def emitted(self) -> int:
        """Where the last event's span ended."""
        return self._emitted

    def text(self, stop: int) -> str:
        """The text from the end of the last event up to `stop`."""
        start = self._emitted - self._base
        if start >= 0:
            return self._buffer[start : stop - self._base]
        return "".join(self._raw) + self._buffer[: stop - self._base]

    # -- reading tokens ---------------------------------------------------------

    def _read(self, text: str) -> None:
        buffer = self._buffer = self._held + text if self._held else text
        base = self._base = self._offset
        self._held = ""
        pos, end = 0, len(buffer)
        gave_up_at, attempts = -1, 0
        states, lexis, closing = self._states, self._program.lexicon.lexis, self._closing
        while pos < end:
            limit = self._emitted + self._max_pending - base
            if self._run is not None:
                run, action = self._run
                found = (run.final if closing else run.going)(buffer, pos)
                stop = found.end() if found else pos
                if stop > limit:
                    pos = self._overflow(limit)
                    continue
                if found:
                    self._parts.append(buffer[pos:stop])
                    pos = stop
                if pos == end and not closing:
                    break
                if run.partial and not closing and buffer[pos:] in run.partial:
                    self._held = buffer[pos:]
                    break
                token = "".join(self._parts)
                self._run, self._parts = None, []
                self._shift(action, token, base + pos)
                continue

            lex = lexis(states[-1])
            number = -1
            stop = pos
            level = lex.before
            found = None
            run_found: Run | None = None
            if level is not None:
                found = (level.final if closing else level.going)(buffer, pos)
                if found is None and level.longest >= end - pos and not closing and buffer[pos:] in level.partial:
                    self._held = buffer[pos:]
                    break
            if found is None:
                node = lex.first.get(buffer[pos])
                if node is not None:
                    mask, at = lex.mask, pos
                    while node is not None and node.here & mask:
                        at += 1
                        for terminal in node.ends:
                            if mask >> terminal & 1:
                                number, stop = terminal, at
                        if at == end:
                            break
                        node = node.children.get(buffer[at])
                    if at == end and node is not None and node.below & mask and not closing:
                        self._held = buffer[pos:]
                        break
                if number < 0:
                    level = lex.after
                    if level is not None:
                        found = (level.final if closing else level.going)(buffer, pos)
                        if found is None and level.longest >= end - pos and not closing and buffer[pos:] in level.partial:
                            self._held = buffer[pos:]
                            break
            if found is not None:
                assert level is not None and found.lastindex is not None
                run_found = level.runs[found.lastindex]
                assert run_found is not None
                number, stop = run_found.number, found.end()
            elif number < 0:
                attempts = attempts + 1 if pos == gave_up_at else 0
                gave_up_at = pos
                if attempts > _ATTEMPTS:
                    pos = self._overflow(pos + 1)
                else:
                    self._give_up(base + pos)
                continue

            action = lex.row[number]
            while action < 0:
                self._reduce(~action, base + pos)
                self._settle(base + pos)
                row = lexis(states[-1]).row
                if number not in row:  # the look-ahead was a merged one: nothing fits here
                    action = -1
                    break
                action = row[number]
            if action < 0:
                continue
            limit = self._emitted + self._max_pending - base
            if stop > limit:
                pos = self._overflow(limit)
                continue
            if run_found is not None and not closing:
                rest = buffer[stop:] if end - stop <= 12 else None
                if stop == end or (rest is not None and rest in run_found.partial):
                    self._run = run_found, action
                    self._parts.append(buffer[pos:stop])
                    self._held = rest or ""
                    pos = stop
                    break
            self._shift(action, buffer[pos:stop], base + stop)
            pos = stop

        self._offset = base + pos
        if self._emitted < base:
            self._raw.append(buffer[:pos])
        else:
            self._raw = [buffer[self._emitted - base : pos]]

    # -- the automaton ------------------------------------------------------------

    def _shift(self, action: int, text: str, stop: int) -> None:
        if action >= self._program.states:
            return  # a silent element of a list
        self._states.append(action)
        self._values.append(text)
        self._settle(stop)

    def _settle(self, stop: int) -> None:
        """Take the reductions that need no look-ahead."""
        defaults, states = self._program.defaults, self._states
        number = defaults[states[-1]]
        while number >= 0:
            self._reduce(number, stop)
            number = defaults[states[-1]]

    def _reduce(self, number: int, stop: int) -> None:
        build, size, keep, symbol = self._program.productions[number]
        states, values = self._states, self._values
        value: Any = None
        if build is not None or keep:
            children: list[Any] = []
            first = len(values) - size
            for index in keep:
                child = values[first + index]
                if type(child) is list:
                    children += child
                elif child is not None:
                    children.append(child)
            value = children
            if build is not None:
                value = build(self, self._emitted, stop, children)
                if isinstance(value, Event):
                    self._events.append(value)
                    self._emitted = stop
                    value = None
        if size:
            del states[-size:]
            del values[-size:]
        states.append(self._program.gotos[states[-1]][symbol])
        values.append(value)

    # -- giving up ------------------------------------------------------------------

    def _give_up(self, at: int) -> None:
        """Drop states until one takes malformed input."""
        program, states, values = self._program, self._states, self._values
        lexis, error = program.lexicon.lexis, program.error
        row = lexis(states[-1]).row
        self.stuck = at, tuple(sorted(n for n in map(program.names.__getitem__, row) if n[0] not in "_$"))
        while True:
            if len(states) == 1:  # the grammar left no way out: begin anew
                self._settle(at)
                self._gave_up = (-1, 0)
            action = lexis(states[-1]).row.get(error)
            # Given up here before and still stuck: fewer states must be left.
            if action is None or (action >= 0 and self._gave_up[0] == at and len(states) >= self._gave_up[1]):
                states.pop()
                values.pop()
                continue
            if action < 0:
                self._reduce(~action, at)
                self._settle(at)
                continue
            self._gave_up = at, len(states)
            self._shift(action, "", at)
            return

    def _overflow(self, limit: int) -> int:
        at = self._base + limit
        self.unknown = self.unknown or (self._emitted, ("an end within max_pending characters",))
        self._events.append(Unknown(self._emitted, at, self.text(at), True))
        self._emitted = at
        self._run, self._parts = None, []
        self._gave_up = (-1, 0)
        self._give_up(at)
        return limit

    def _finish(self) -> None:
        program, states = self._program, self._states
        lexis = program.lexicon.lexis
        self._buffer, self._base = "", self._offset
        if self._run is not None:
            _, action = self._run
            token = "".join(self._parts)
            self._run, self._parts = None, []
            self._shift(action, token, self._offset)
        while self._emitted < self._offset:
            action = lexis(states[-1]).row.get(program.end)
            if action is None:  # the text ended in the middle of something
                self.unknown = self.unknown or (self._offset, ("an end",))
                self._events.append(Unknown(self._emitted, self._offset, self.text(self._offset), True))
                self._emitted = self._offset
            elif program.productions[~action][3] == program.document:
                break
            else:
                self._reduce(~action, self._offset)
                self._settle(self._offset)
        if self._emitted < self._offset:  # marks that no event has claimed
            self._events.append(LineEnd(self._emitted, self._offset))
            self._emitted = self._offset
        self._raw = []
