"""What each state of the automaton can read next, compiled when it is first needed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._automaton import Tables, Terminal

    Match = Callable[[str, int], re.Match[str] | None]


Entry = tuple[str, int, bool]
"""A literal, its terminal, and whether it is read in any case."""


class View:
    """A place in the trie of the literals one state can read; made when it is first walked."""

    __slots__ = ("_depth", "_entries", "_groups", "_variants", "children", "more", "terminal")

    def __init__(self, entries: list[Entry], depth: int, variants: dict[str, str]) -> None:
        self.terminal = next((number for word, number, _ in entries if len(word) == depth), -1)
        self.more = len(entries) > (self.terminal >= 0)
        """Whether a longer literal begins like this."""
        self.children: dict[str, View] = {}
        """Filled in by `step()`."""
        self._depth = depth
        self._entries = entries
        self._variants = variants
        self._groups: dict[str, list[Entry]] = {}

    def step(self, character: str) -> View | None:
        """Where the literals go on with a character, if any does."""
        if not self._groups:
            self._group()
        entries = self._groups.get(character)
        if entries is None:
            return None
        view = self.children[character] = View(entries, self._depth + 1, self._variants)
        return view

    def _group(self) -> None:
        groups: dict[str, list[Entry]] = {}
        for entry in self._entries:
            word, _, folded = entry
            if len(word) > self._depth:
                character = word[self._depth]
                groups.setdefault(character, []).append(entry)
                if folded and (upper := character.upper()) != character:
                    groups.setdefault(upper, []).append(entry)
        _add_variants(groups, self._variants)
        self._groups = groups  # at once: other threads walk here too


def _add_variants(groups: dict[str, list[Entry]], variants: dict[str, str]) -> None:
    """Where literals go on with a character, let them go on with what is read for it too."""
    for character in [c for c in groups if c in variants]:
        for other in variants[character]:
            groups[other] = groups.get(other, []) + groups[character]


class Pattern:
    """Matches with all of the text at hand, `final`, and with more to come, `going`.

    Either is compiled when it is first asked for: many stops take milliseconds.
    """

    __slots__ = ("final", "going")

    final: Match
    going: Match

    def __getattr__(self, name: str) -> Match:  # only where the slot is empty
        if name not in Pattern.__slots__:
            raise AttributeError(name)
        match = re.compile(self.source(name == "going")).match
        setattr(self, name, match)
        return match

    def source(self, going: bool) -> str:
        raise NotImplementedError


class Run(Pattern):
    """An open-ended terminal: how to go on with it, and where it has to wait."""

    __slots__ = ("longest", "number", "partial", "terminal")

    def __init__(self, number: int, terminal: Terminal) -> None:
        self.number = number
        self.terminal = terminal
        self.partial = frozenset(stop[:n] for stop in terminal.stops for n in range(1, len(stop)))
        """Beginnings of stops: at the end of the text so far, a run waits before one."""
        self.longest = max(map(len, self.partial), default=0)

    def source(self, going: bool) -> str:
        return _patterns(self.terminal, self.partial)[going]


def _patterns(terminal: Terminal, partial: Iterable[str]) -> tuple[str, str]:
    """A run as regular expressions: with all of the text at hand, and with more to come.

    Stops are looked for only at the characters one can begin with, so that the
    rest of a long run costs what a plain class costs.
    """
    one = terminal.run
    if one.endswith("{1}"):
        return one, one
    if not terminal.stops:
        return one + "+", one + "+"
    first = re.escape(terminal.stop_first)
    safe = f"[^{first}]" if one == r"[\s\S]" else f"{one[:-1]}{first}]"
    stops = "|".join(map(re.escape, terminal.stops))
    starts = "|".join(map(re.escape, sorted(partial, key=lambda p: (-len(p), p))))
    final = f"(?:{safe}+|(?!{stops})(?=[{first}]){one})+"
    going = f"(?:{safe}+|(?!{stops}|(?:{starts})\\Z)(?=[{first}]){one})+" if starts else final
    return final, going


class Level(Pattern):
    """The runs of one state that literals lose to, or that lose to literals."""

    __slots__ = ("longest", "partial", "runs")

    def __init__(self, runs: list[Run]) -> None:
        runs.sort(key=lambda run: -run.terminal.priority)
        self.runs = (runs[0], *runs)  # counted from 1, as groups are
        self.partial = frozenset[str]().union(*(run.partial for run in runs))
        self.longest = max(map(len, self.partial), default=0)

    def source(self, going: bool) -> str:
        runs = self.runs[1:]
        return runs[0].source(going) if len(runs) == 1 else "|".join(f"({run.source(going)})" for run in runs)


class Lexis:
    """What one state can read: its actions, its literals, its runs."""

    __slots__ = ("_accepted", "_initials", "_variants", "after", "before", "first", "row", "single")

    def __init__(
        self,
        row: dict[int, int],
        initials: dict[str, list[Entry]],
        terminals: tuple[Terminal, ...],
        runs: dict[int, Run],
        variants: dict[str, str],
    ) -> None:
        self.row = row
        self._accepted = accepted = {number for number in row if number < len(terminals)}
        self._initials = initials
        self._variants = variants
        self.first: dict[str, View | None] = {}
        self.single: dict[str, int] = {}
        """The short cut: literals of one character that no longer literal begins with.
        Both are filled in by `begin()`."""
        mine = [runs[number] for number in accepted if number in runs]
        before = [run for run in mine if terminals[run.number].priority > 0]
        after = [run for run in mine if terminals[run.number].priority <= 0]
        self.before = Level(before) if before else None
        self.after = Level(after) if after else None

    def begin(self, character: str) -> View | None:
        """The literals of this state that begin with a character, if any does."""
        if character in self.first:
            return self.first[character]
        if character not in self._initials:  # not kept: it could be anything
            return None
        entries = [entry for entry in self._initials[character] if entry[1] in self._accepted]
        view = self.first[character] = View(entries, 1, self._variants) if entries else None
        if view is not None and not view.more and self.before is None:
            self.single[character] = view.terminal
        return view


class Lexicon:
    """The lexes of one grammar. Shared by all its parsers; only ever added to."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.runs: dict[int, Run] = {}
        self._initials: dict[str, list[Entry]] = {}
        self._variants = {w[0]: w[1:] for t in tables.terminals if t.name == "VARIANT" for w in t.literals}
        for number, terminal in enumerate(tables.terminals):
            if terminal.run:
                self.runs[number] = Run(number, terminal)
            for word in terminal.literals:
                self._initials.setdefault(word[0], []).append((word, number, False))
            for word in terminal.folded:
                for initial in {word[0], word[0].upper()}:
                    self._initials.setdefault(initial, []).append((word, number, True))
        _add_variants(self._initials, self._variants)
        self._rows: dict[int, Lexis] = {}
        self.lexes: list[Lexis | None] = [None] * len(tables.actions)
        """By state; filled in by `lexis()`."""

    def lexis(self, state: int) -> Lexis:
        row = self.tables.actions[state]
        found = self._rows.get(row)
        if found is None:
            found = self._rows[row] = Lexis(
                dict(self.tables.rows[row]), self._initials, self.tables.terminals, self.runs, self._variants
            )
        self.lexes[state] = found
        return found
