"""The grammar a parser reads by: the built-in one, or that one extended."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from ._builders import Builders
from ._errors import GrammarError
from ._machine import Machine, Program

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from ._automaton import Tables


class Grammar:
    """A vocabulary and a structure, compiled to the tables of the push parser.

    The built-in grammar is `Grammar.default()`. One line extends it:

        Grammar.from_text('%extend GENERATING: "画画中" | "painting away"i')

    Compiling an extension imports lark and takes about a second; keep the object.
    Grammars are immutable and may be shared between threads.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._words: dict[tuple[str, ...], tuple[str, ...]] = {}

    @staticmethod
    def default() -> Grammar:
        """The built-in grammar; its tables are generated, no lark is needed."""
        return _default()

    @classmethod
    def from_text(cls, text: str, *, name: str = "<text>") -> Grammar:
        """The built-in grammar with lines of `%extend` and `%override` (Lark's own directives).

        Raises `GrammarError` when the lines cannot be read, contradict the
        vocabulary, or would make a status depend on text that has not arrived.
        """
        from ._compiler import compile_grammar

        return cls(compile_grammar(text, name=name))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Grammar:
        """`from_text` with the text of a `.lark` file, UTF-8."""
        from pathlib import Path

        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise GrammarError(f"{path}: cannot be read as UTF-8 text: {error}") from error
        return cls.from_text(text, name=str(path))

    @cached_property
    def _program(self) -> Program:
        return Program(self._tables, Builders(self).table())

    def machine(self, *, max_pending: int) -> Machine:
        """A new parse by this grammar, without the task fold."""
        return Machine(self._program, max_pending=max_pending)

    def words(self, *names: str) -> tuple[str, ...]:
        """What the vocabulary's terminals are called; in lower case where any case counts."""
        found = self._words.get(names)
        if found is None:
            found = self._words[names] = self._find_words(names)
        return found

    def _find_words(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(w for t in self._tables.terminals if t.name in names for w in (*t.literals, *t.folded))

    def spot(self, rule: str, text: str) -> tuple[tuple[str, str], ...]:
        """The terminals of a word-spotting rule (`label_words`…) that occur in a text, in order."""
        return tuple(token for token in self.tokens(rule, text) if token[0] != "OTHER")

    def tokens(self, rule: str, text: str) -> Iterator[tuple[str, str]]:
        """All of a text as the terminals of a word-spotting rule; OTHER is any one character."""
        program = self._program
        lexis = program.lexicon.lexis(program.starts[rule][1])
        runs = lexis.after
        at = 0
        while at < len(text):
            view, best, stop, pos = lexis.begin(text[at]), -1, at + 1, at
            while view is not None:
                pos += 1
                if view.terminal >= 0:
                    best, stop = view.terminal, pos
                view = view.step(text[pos]) if pos < len(text) else None
            if best < 0 and runs is not None and (match := runs.final(text, at)):
                run = runs.runs[match.lastindex or 0]
                best, stop = run.number, match.end()
            yield program.names[best], text[at:stop]
            at = stop


@lru_cache(1)
def _default() -> Grammar:
    from ._tables import TABLES

    return Grammar(TABLES)
