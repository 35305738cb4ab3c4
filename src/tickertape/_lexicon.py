"""What each state of the automaton can read next, compiled when it is first needed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._automaton import Tables, Terminal

    Match = Callable[[str, int], re.Match[str] | None]


class Node:
    """A place in the trie of all literals of a grammar."""

    __slots__ = ("children", "ends", "here")

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        self.ends: tuple[int, ...] = ()
        self.here = 0
        """The terminals that end here or further down, as bits."""


class View:
    """A node of the trie as one state sees it: only what that state can read. Made when first walked."""

    __slots__ = ("children", "more", "terminal")

    def __init__(self, node: Node, mask: int) -> None:
        self.terminal = next((number for number in node.ends if mask >> number & 1), -1)
        self.children: dict[str, Node | View] = {c: n for c, n in node.children.items() if n.here & mask}
        self.more = bool(self.children)


class Run:
    """An open-ended terminal: how to go on with it, and where it has to wait."""

    __slots__ = ("final", "going", "longest", "number", "partial")

    def __init__(self, number: int, terminal: Terminal) -> None:
        self.number = number
        self.partial = frozenset(stop[:n] for stop in terminal.stops for n in range(1, len(stop)))
        """Beginnings of stops: at the end of the text so far, a run waits before one."""
        self.longest = max(map(len, self.partial), default=0)
        final, going = _patterns(terminal, self.partial)
        self.final: Match = re.compile(final).match
        self.going: Match = re.compile(going).match


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


class Level:
    """The runs of one state that literals lose to, or that lose to literals."""

    __slots__ = ("final", "going", "longest", "partial", "runs")

    def __init__(self, runs: list[Run], terminals: tuple[Terminal, ...]) -> None:
        runs.sort(key=lambda run: -terminals[run.number].priority)
        self.runs = (runs[0], *runs)  # counted from 1, as groups are
        self.partial = frozenset[str]().union(*(run.partial for run in runs))
        self.longest = max(map(len, self.partial), default=0)
        both = [_patterns(terminals[run.number], run.partial) for run in runs]
        self.final: Match = re.compile("|".join(f"({final})" for final, _ in both)).match
        self.going: Match = re.compile("|".join(f"({going})" for _, going in both)).match


class Lexis:
    """What one state can read: its actions, its literals, its runs."""

    __slots__ = ("after", "before", "first", "mask", "row", "single")

    def __init__(self, row: dict[int, int], root: Node, terminals: tuple[Terminal, ...], runs: dict[int, Run]) -> None:
        self.row = row
        accepted = [number for number in row if number < len(terminals)]
        self.mask = sum(1 << number for number in accepted)
        self.first: dict[str, View] = {}
        self.single: dict[str, int] = {}
        """The short cut: literals of one character that no longer literal begins with."""
        mine = [runs[number] for number in accepted if number in runs]
        before = [run for run in mine if terminals[run.number].priority > 0]
        after = [run for run in mine if terminals[run.number].priority <= 0]
        self.before = Level(before, terminals) if before else None
        self.after = Level(after, terminals) if after else None
        for character, node in root.children.items():
            if node.here & self.mask:
                view = self.first[character] = View(node, self.mask)
                if not view.more and not before:
                    self.single[character] = view.terminal

    def step(self, view: View, character: str) -> View | None:
        """Where a literal goes on with a character."""
        child = view.children.get(character)
        if isinstance(child, Node):
            child = view.children[character] = View(child, self.mask)
        return child


class Lexicon:
    """The lexes of one grammar. Shared by all its parsers; only ever added to."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.root = Node()
        self.runs: dict[int, Run] = {}
        for number, terminal in enumerate(tables.terminals):
            if terminal.run:
                self.runs[number] = Run(number, terminal)
            for word in terminal.literals:
                self._add(word, number, folded=False)
            for word in terminal.folded:
                self._add(word, number, folded=True)
        self._rows: dict[int, Lexis] = {}
        self.lexes: list[Lexis | None] = [None] * len(tables.actions)
        """By state; filled in by `lexis()`."""

    def _add(self, word: str, number: int, *, folded: bool) -> None:
        bit = 1 << number
        node = self.root
        for character in word:
            child = node.children.get(character)
            if child is None:
                child = node.children[character] = Node()
            if folded:
                node.children.setdefault(character.upper(), child)
            child.here |= bit
            node = child
        if number not in node.ends:
            node.ends += (number,)

    def lexis(self, state: int) -> Lexis:
        row = self.tables.actions[state]
        found = self._rows.get(row)
        if found is None:
            found = self._rows[row] = Lexis(dict(self.tables.rows[row]), self.root, self.tables.terminals, self.runs)
        self.lexes[state] = found
        return found
