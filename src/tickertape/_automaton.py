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

    An action `a` on a terminal means, with `n` the number of states:
    `0 <= a < n` go to state `a`; `a >= n` replace the top state by `a - n`
    (a shift and the reduction it leads to, in one step); `a < 0` reduce by
    production `~a`, then look again.
    """

    terminals: tuple[Terminal, ...]
    symbols: tuple[str, ...]
    productions: tuple[Production, ...]
    rows: tuple[Row, ...]
    """Distinct action rows; `actions` says which one a state has."""
    actions: tuple[int, ...]
    defaults: tuple[int, ...]
    """The production a state reduces by without look-ahead, or -1."""
    gotos: tuple[Row, ...]
    starts: tuple[tuple[str, int], ...]
    """Start rules and their states."""
