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
* A state whose only action is one reduction is never entered: the step before
  takes the reduction at once, without waiting for the next token (Bison's
  "default reductions", as shift-reduce actions); and a reduction that waits for a
  run is taken when the run begins. So an event comes with the character that
  makes it certain.
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
    from ._lexicon import Lexis, Run

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
        self.line_end = self.names.index("_NL")
        gotos: list[dict[int, int]] = [{} for _ in tables.symbols]
        for state, row in enumerate(tables.gotos):
            for symbol, target in row:
                gotos[symbol][state] = target
        self.productions = tuple(
            (
                builders[p.rule] if p.rule else None,
                p.size - 1,
                # Counted from the end of the stack; 0 is the last part, which is not on it.
                tuple(i - p.size + 1 for i in p.keep),
                gotos[p.symbol],
            )
            for p in tables.productions
        )
        self.shifts = len(tables.actions)
        self.absorb = self.shifts + len(tables.productions)
        self.carries = tuple(not t.name.startswith("_") for t in tables.terminals)
        self.starts = {name: states for name, *states in tables.starts}
        document = tables.symbols.index("document")
        self.accepts = frozenset(n for n, p in enumerate(tables.productions) if p.symbol == document)
        """The productions that end the document."""


class Machine:
    """One parse. `feed()` and `close()` return the events that became certain."""

    def __init__(self, program: Program, *, max_pending: int) -> None:
        self._program = program
        self._max_pending = max_pending
        self._states = list(program.starts["document"])
        self._values: list[Any] = [None, None]
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
        self.stuck: tuple[int, int] | None = None
        """Where nothing fitted last, and the state that was there."""
        self.unknown: tuple[int, int] | None = None
        """`stuck` as it was at the first `Unknown`."""
        self.label: str | None = None
        """The word for progress that no percentage has followed yet."""
        self.ticked = self.signed = -1
        """Where the last percentage ended, and the last one with a sign."""
        self.delivered = False
        """Whether a medium has been read."""

    def feed(self, text: str) -> list[Event]:
        if self._run is not None and not self._held and self._goes_on(text):
            return []
        self._read(text)
        events, self._events = self._events, []
        return events

    def _goes_on(self, text: str) -> bool:
        """Whether all of a delta belongs to the open run: most do, and then there is nothing else to do."""
        assert self._run is not None
        size = len(text)
        found = self._run[0].going(text, 0)
        if found is None or found.end() < size or self._offset + size - self._emitted > self._max_pending:
            return False
        if self._emitted < self._offset:
            self._raw.append(text)
        else:
            self._raw = [text]
        self._parts.append(text)
        self._offset += size
        self._buffer, self._base = "", self._offset
        return True

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

    def expected(self, state: int) -> tuple[str, ...]:
        """What a state can read, by the names of the terminals that mean something."""
        names = map(self._program.names.__getitem__, self._program.lexicon.lexis(state).row)
        return tuple(sorted(name for name in names if name[0] not in "_$"))

    def emit(self, event: Event) -> None:
        """Take an event of a rule that makes two; the other is what its builder returns."""
        self._events.append(event)
        self._emitted = event.end

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
        if self._run is not None:
            pos = self._read_on(end)
        gave_up_at, attempts = -1, 0
        program, closing = self._program, self._closing
        lexes, lexis, states, values = program.lexicon.lexes, program.lexicon.lexis, self._states, self._values
        carries, shifts, absorb = program.carries, program.shifts, program.absorb
        limit = self._emitted + self._max_pending - base

        if self._run is not None or self._held:
            end = pos  # still waiting
        while pos < end:
            lex = lexes[states[-1]] or lexis(states[-1])
            stop = pos + 1
            run = None
            number = lex.single.get(buffer[pos], -1)
            if number < 0:
                number, stop, run = self._token(lex, pos, end)
                if number < 0:
                    if self._held:
                        break
                    attempts = attempts + 1 if pos == gave_up_at else 0
                    gave_up_at = pos
                    if attempts > _ATTEMPTS:
                        pos = self._overflow(pos + 1)
                    else:
                        self._give_up(base + pos)
                    limit = self._emitted + self._max_pending - base
                    continue

            action = lex.row[number]
            while action < 0:  # reductions that this token decides
                self._reduce(~action, base + pos)
                limit = self._emitted + self._max_pending - base
                # LALR look-ahead is merged: the reduction may lead where the token does not fit.
                action = (lexes[states[-1]] or lexis(states[-1])).row.get(number, absorb + 1)
            if action > absorb:
                continue
            if stop > limit:
                pos = self._overflow(limit)
                limit = self._emitted + self._max_pending - base
                continue
            if (
                run is not None
                and not closing
                and end - stop <= run.longest
                and (stop == end or buffer[stop:] in run.partial)
            ):
                self._run = run, action
                self._parts.append(buffer[pos:stop])
                self._held = buffer[stop:]
                pos = stop
                break
            if action < shifts:
                states.append(action)
                values.append(buffer[pos:stop] if carries[number] else None)
            elif action < absorb:
                self._complete(action - shifts, buffer[pos:stop] if carries[number] else None, base + stop)
                limit = self._emitted + self._max_pending - base
            pos = stop

        self._offset = base + pos
        if self._emitted < base:
            self._raw.append(buffer[:pos])
        else:
            self._raw = [buffer[self._emitted - base : pos]]

    def _read_on(self, end: int) -> int:
        """Go on with an open run at the start of the buffer; where it stopped."""
        assert self._run is not None
        run, action = self._run
        buffer, base = self._buffer, self._base
        found = (run.final if self._closing else run.going)(buffer, 0)
        stop = found.end() if found else 0
        limit = self._emitted + self._max_pending - base
        if stop > limit:
            return self._overflow(limit)
        if stop:
            self._parts.append(buffer[:stop])
        if not self._closing:
            if stop == end:
                return stop
            if end - stop <= run.longest and buffer[stop:] in run.partial:
                self._held = buffer[stop:]
                return stop
        token = "".join(self._parts)
        self._run, self._parts = None, []
        self._shift(action, token, base + stop)
        return stop

    def _token(self, lex: Lexis, pos: int, end: int) -> tuple[int, int, Run | None]:
        """The next token: its terminal, where it stops, and its run if it is one.

        The terminal is -1 when nothing fits, or when more text must decide,
        which `_held` tells. Runs are looked for twice in the same words, before
        literals and after them: this is the hot path, and a call would cost 4 %.
        """
        buffer = self._buffer
        level = lex.before
        if level is not None:
            found = (level.final if self._closing else level.going)(buffer, pos)
            if found is not None:
                run = level.runs[found.lastindex or 0]
                return run.number, found.end(), run
            if end - pos <= level.longest and not self._closing and buffer[pos:] in level.partial:
                self._held = buffer[pos:]
                return -1, pos, None
        view = lex.first.get(buffer[pos]) or lex.begin(buffer[pos])
        if view is not None:
            number, stop, at = -1, pos, pos
            while True:
                at += 1
                if view.terminal >= 0:
                    number, stop = view.terminal, at
                if not view.more:
                    break
                if at == end:
                    if self._closing:
                        break
                    self._held = buffer[pos:]
                    return -1, pos, None
                view = view.children.get(buffer[at]) or view.step(buffer[at])
                if view is None:
                    break
            if number >= 0:
                return number, stop, None
        level = lex.after
        if level is not None:
            found = (level.final if self._closing else level.going)(buffer, pos)
            if found is not None:
                run = level.runs[found.lastindex or 0]
                return run.number, found.end(), run
            if end - pos <= level.longest and not self._closing and buffer[pos:] in level.partial:
                self._held = buffer[pos:]
        return -1, pos, None

    # -- the automaton ------------------------------------------------------------

    def _shift(self, action: int, text: str, stop: int) -> None:
        program = self._program
        if action < program.shifts:
            self._states.append(action)
            self._values.append(text)
        elif action < program.absorb:
            self._complete(action - program.shifts, text, stop)

    def _reduce(self, number: int, stop: int) -> None:
        """Take a reduction that the look-ahead decided."""
        self._states.pop()
        self._complete(number, self._values.pop(), stop)

    def _complete(self, number: int, last: Any, stop: int) -> None:
        """Reduce by a production whose last part has just been read and is not on the stack."""
        productions, shifts = self._program.productions, self._program.shifts
        states, values = self._states, self._values
        while True:
            build, below, keep, gotos = productions[number]
            value: Any = None
            if keep or build is not None:
                value = []
                for index in keep:
                    child = last if index == 0 else values[index]
                    if type(child) is list:
                        # Its only owner is being popped: a growing list is not copied.
                        value = child if not value else value + child
                    elif child is not None:
                        value.append(child)
                if build is not None:
                    value = build(self, self._emitted, stop, value)
                    if isinstance(value, Event):
                        self._events.append(value)
                        self._emitted = stop
                        value = None
            if below == 1:
                states.pop()
                values.pop()
            elif below:
                del states[-below:]
                del values[-below:]
            target = gotos[states[-1]]
            if target < shifts:
                states.append(target)
                values.append(value)
                return
            number, last = target - shifts, value

    # -- giving up ------------------------------------------------------------------

    def _give_up(self, at: int) -> None:
        """Drop states until one takes malformed input."""
        program, states, values = self._program, self._states, self._values
        lexis, error = program.lexicon.lexis, program.error
        self.stuck = at, states[-1]
        while True:
            if len(states) < 2:  # the grammar left no way out: begin anew
                states[:] = program.starts["document"]
                values[:] = [None, None]
                self._gave_up = (-1, 0)
            action = lexis(states[-1]).row.get(error)
            # Given up here before and still stuck: fewer states must be left.
            if action is None or (action >= 0 and self._gave_up[0] == at and len(states) >= self._gave_up[1]):
                states.pop()
                values.pop()
                continue
            if action < 0:
                self._reduce(~action, at)
                continue
            self._gave_up = at, len(states)
            self._shift(action, "", at)
            return

    def _overflow(self, limit: int) -> int:
        at = self._base + limit
        self.unknown = self.unknown or (self._emitted, self._states[-1])
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
        line_ended = False
        while self._emitted < self._offset:
            row = lexis(states[-1]).row
            ended = row.get(program.end)
            if ended is None and not line_ended:
                ended = row.get(program.line_end)  # the end of the text ends its line
                line_ended = ended is not None and ended >= 0
            if ended is None:  # the text ended in the middle of something
                self.unknown = self.unknown or (self._offset, states[-1])
                self._events.append(Unknown(self._emitted, self._offset, self.text(self._offset), True))
                self._emitted = self._offset
            elif ended >= 0:
                self._shift(ended, "", self._offset)
            elif ~ended in program.accepts:
                break
            else:
                self._reduce(~ended, self._offset)
        if self._emitted < self._offset:  # marks that no event has claimed
            self._events.append(LineEnd(self._emitted, self._offset))
            self._emitted = self._offset
        self._raw = []
