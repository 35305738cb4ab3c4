"""The tables of the push parser: plain data, made from `grammar/` by Lark.

Nothing here knows Lark, and nothing happens at import: `_tables.py` is generated
and checked in, so that a user's process never builds a grammar.
"""

from __future__ import annotations

from typing import NamedTuple

Row = tuple[tuple[int, int], ...]
"""Pairs of (terminal or symbol number, action or state)."""


class Terminal(NamedTuple):
    """A literal (a finite set of strings) or a run (characters of one class)."""

    name: str
    priority: int
    literals: tuple[str, ...]
    """Read as written."""
    folded: tuple[str, ...]
    """Read in any case of the letters a to z; written in lower case here."""
    run: str
    """For a run, the regular expression of its class; empty for a literal."""
    stop_first: str
    """For a run with stops, the class of the characters a stop can begin with."""
    stops: tuple[str, ...]
    """Where a run ends although its class goes on."""


class Production(NamedTuple):
    """A rule's one alternative, as the parser needs it."""

    rule: str
    """The name of the rule when reading it makes something, empty otherwise."""
    symbol: int
    size: int
    keep: tuple[int, ...]
    """Which of its children carry a value."""


class Tables(NamedTuple):
    """An LALR(1) automaton whose states can all be lexed while text arrives.

    With `n` states and `p` productions, the action on a terminal is

        0 <= a < n      shift: go to state a
        n <= a < n + p  shift, and reduce by production a - n at once
        a = n + p       shift, and stay: a silent element of a list
        a < 0           reduce by production ~a, then look again

    and what follows a reduction is a state, or `n` and a production to go on
    with. No state is ever entered in which a reduction is all there is to do.
    """

    terminals: tuple[Terminal, ...]
    symbols: tuple[str, ...]
    productions: tuple[Production, ...]
    actions: tuple[int, ...]
    """State -> number of its action row."""
    rows: tuple[Row, ...]
    """Pairs of a terminal and an action; the two numbers after the terminals' are `_ERROR` and `$END`."""
    gotos: tuple[Row, ...]
    """State -> pairs of a symbol and what follows its reduction there."""
    starts: tuple[tuple[str, int, int], ...]
    """Start rules, each with the two states at the bottom of the stack."""
