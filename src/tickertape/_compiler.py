"""From a Lark grammar to the tables of the push parser; the only user of Lark.

Lark reads the grammar, expands it and builds the LALR(1) automaton. What is
added here: the proof that every state can be lexed while text arrives, default
reductions, and the removal of steps that make nothing.
"""

from __future__ import annotations

import logging
import re
import re._constants as sre  # type: ignore[import-not-found]  # typeshed leaves them out
import re._parser as sre_parser  # type: ignore[import-not-found]
import sys
from itertools import combinations
from itertools import product as cartesian
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._automaton import Production, Row, Tables, Terminal
from ._errors import GrammarError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lark import Lark

STARTS = ("document", "status_words", "phrase_words", "label_words", "message_words", "path_words", "variants")

_MAX_WORDS = 20_000
"""Literals one terminal may stand for; the built-in vocabulary's largest has some hundreds."""


def grammar_folder() -> Path:
    """Where the grammar files are: in the wheel beside the code, in a checkout at its top."""
    packaged = Path(__file__).parent / "grammar_files"
    if packaged.is_dir():
        return packaged
    return Path(__file__).parents[2] / "grammar"


def compile_grammar(extension: str = "", *, name: str = "the grammar") -> Tables:
    """Build the tables of the built-in grammar, extended by lines of `%extend` and `%override`.

    Raises `GrammarError` when Lark cannot read the grammar, when it has a
    conflict, or when a state could not be lexed while text arrives.
    """
    folder = grammar_folder()
    source = (folder / "status_stream.lark").read_text("utf-8")
    return _tables(_lark(f"{source}\n{extension}\n", folder, name))


def _lark(source: str, folder: Path, name: str) -> Lark:
    import lark

    conflicts: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                conflicts.append(record.getMessage())

    listener = Listener()
    level, handlers, propagate = lark.logger.level, list(lark.logger.handlers), lark.logger.propagate
    lark.logger.setLevel(logging.WARNING)
    lark.logger.handlers, lark.logger.propagate = [listener], False
    try:
        parser = lark.Lark(
            source,
            parser="lalr",
            lexer="contextual",
            start=list(STARTS),
            import_paths=[str(folder)],
            source_path=str(folder / "status_stream.lark"),
            debug=True,
        )
    except (lark.exceptions.LarkError, ValueError, re.error) as error:
        raise GrammarError(f"{name}: {error}") from error
    finally:
        lark.logger.setLevel(level)
        lark.logger.handlers, lark.logger.propagate = handlers, propagate
    if conflicts:
        raise GrammarError(f"{name} is not LALR(1): {'; '.join(' '.join(c.split()) for c in conflicts[:4])}")
    return parser


# -- terminals ------------------------------------------------------------------


def _language(tree: Any, folded: bool = False) -> Iterator[tuple[str, bool]]:
    """The finite language of a parsed regular expression; `ValueError` if it is not one."""
    parts: list[list[tuple[str, bool]]] = []
    for op, argument in tree:
        if op is sre.LITERAL:
            parts.append([(chr(argument), folded)])
        elif op is sre.BRANCH:
            parts.append([word for branch in argument[1] for word in _language(branch, folded)])
        elif op is sre.SUBPATTERN:
            fold = folded or bool(argument[1] & re.IGNORECASE)
            parts.append(list(_language(argument[3], fold)))
        elif op is sre.IN and all(kind is sre.LITERAL for kind, _ in argument):
            parts.append([(chr(code), folded) for _, code in argument])
        elif op in (sre.MAX_REPEAT, sre.MIN_REPEAT) and argument[1] != sre.MAXREPEAT:
            low, high, body = argument
            words = list(_language(body, folded))
            parts.append(
                [
                    ("".join(w for w, _ in group), any(f for _, f in group))
                    for count in range(low, high + 1)
                    for group in cartesian(words, repeat=count)
                ]
            )
        else:
            raise ValueError(f"{op}")
        size = 1
        for part in parts:
            size *= len(part)
        if size > _MAX_WORDS:
            raise ValueError(f"more than {_MAX_WORDS} strings")
    for group in cartesian(*parts):
        yield "".join(w for w, _ in group), any(f for _, f in group)


def _class(tree: Any, pattern: str) -> str:
    """The class of a run's one character, as it was written."""
    if len(tree) != 1 or tree[0][0] not in (sre.IN, sre.NOT_LITERAL, sre.LITERAL, sre.ANY):
        raise ValueError("a run repeats one class")
    return pattern


def _run(tree: Any, pattern: str) -> tuple[str, tuple[str, ...]]:
    """The class and the stops of `/[class]+/` or `/(?:(?!stop|stop)[class])+/`."""
    if len(tree) != 1:
        raise ValueError("more than one piece")
    op, argument = tree[0]
    if op is not sre.MAX_REPEAT:
        return _class(tree, pattern), ()  # one character: the run of OTHER
    low, high, body = argument
    if low != 1 or high != sre.MAXREPEAT:
        raise ValueError("a run has at least one character and no upper bound")
    if len(body) == 1 and body[0][0] is sre.SUBPATTERN:
        body = body[0][1][3]
    if len(body) == 1:
        return _class(body, pattern[:-1]), ()
    if len(body) == 2 and body[0][0] is sre.ASSERT_NOT:
        stops = tuple(sorted({word for word, _ in _language(body[0][1][1])}))
        inner = pattern.removeprefix("(?:").removesuffix(")+")
        depth, end = 0, 0
        for end, character in enumerate(inner):  # the end of the look-ahead
            if inner[end - 1 : end] == "\\" and inner[end - 2 : end - 1] != "\\":
                continue
            depth += (character == "(") - (character == ")")
            if depth == 0:
                break
        return _class(body[1:], inner[end + 1 :]), stops
    raise ValueError("a run is one class, after a look-ahead for its stops")


def _terminal(definition: Any) -> Terminal:
    name, priority = str(definition.name), definition.priority
    pattern = definition.pattern.to_regexp()
    tree = sre_parser.parse(pattern)
    try:
        words = sorted(set(_language(tree)))
    except ValueError as not_literal:
        try:
            run, stops = _run(tree, pattern)
        except ValueError as not_run:
            raise GrammarError(
                f"{name} /{pattern}/ is neither a literal ({not_literal}) nor a run ({not_run}): write it as "
                "strings, as /[class]+/, or as /(?:(?!stop)[class])+/"
            ) from None
        one = "" if pattern.endswith("+") else "{1}"
        first = "".join(sorted({stop[0] for stop in stops}))
        return Terminal(name, priority, (), (), run + one, first, stops)
    return Terminal(
        name,
        priority,
        tuple(word for word, fold in words if not fold or word.lower() == word.upper()),
        tuple(sorted({word.lower() for word, fold in words if fold and word.lower() != word.upper()})),
        "",
        "",
        (),
    )


def _with_variants(terminals: list[Terminal]) -> list[Terminal]:
    """With the stops of runs in the other spelling of their characters too; literals are read in both as they are."""
    variants = next(t.literals for t in terminals if t.name == "VARIANT")
    other = {ord(words[0]): words[1] for words in variants}
    out = []
    for terminal in terminals:
        stops = {*terminal.stops, *(stop.translate(other) for stop in terminal.stops)}
        out.append(terminal._replace(stops=tuple(sorted(stops))))
    return out


_SAMPLE = [
    chr(c) for c in (*range(0x3000), *range(0x3000, 0xA000, 3), *range(0xFF00, 0xFFF0), *range(0x1F000, 0x1FB00))
]


def _prove(owner: str, terminals: list[Terminal], classes: dict[str, frozenset[str]], plain: dict[int, str]) -> None:
    """That one state's next token never depends on text that has not arrived.

    `plain` maps characters to those they are read for.
    """
    owners: dict[str, Terminal] = {}
    for terminal in terminals:
        for word in (*terminal.literals, *terminal.folded):
            other = owners.setdefault(word.lower().translate(plain), terminal)
            if other is not terminal and (
                word in other.literals or word in other.folded or other.priority == terminal.priority
            ):
                raise GrammarError(
                    f"{owner}: {word!r} is both {other.name} and {terminal.name}: keep it in one of them"
                )
    runs = [terminal for terminal in terminals if terminal.run]
    for run in runs:
        for word, terminal in owners.items():
            if (
                terminal.priority == run.priority
                and word[0] in classes[run.name]
                and not any(word.startswith(stop) for stop in run.stops)
            ):
                raise GrammarError(
                    f"{owner}: {terminal.name} {word!r} begins like the run {run.name}, and both have "
                    f"priority {run.priority}: give one of them another"
                )
    for one, two in combinations(runs, 2):
        shared = classes[one.name] & classes[two.name]
        if shared and one.priority == two.priority:
            raise GrammarError(
                f"{owner}: the runs {one.name} and {two.name} share {min(shared)!r}, and both have "
                f"priority {one.priority}: give one of them another"
            )


# -- the automaton ----------------------------------------------------------------


def _plain(name: object) -> str:
    # Lark's names are Tokens: a str whose __eq__ is Python code, run by every look-up.
    return sys.intern(str(name))


class _Automaton:
    """Lark's tables, numbered so that they never depend on the order of a set."""

    def __init__(self, parser: Lark) -> None:
        from lark.parsers.lalr_analysis import Shift

        conf = {start: parser.parse_interactive(start=start).parser_state.parse_conf for start in STARTS}
        states = conf[STARTS[0]].states
        rules = sorted(parser.rules, key=lambda r: (str(r.origin.name), [str(s.name) for s in r.expansion], r.order))
        number = {rule: i for i, rule in enumerate(rules)}
        self.terminals = _with_variants(sorted((_terminal(t) for t in parser.terminals), key=lambda t: t.name))
        self.names = [t.name for t in self.terminals] + ["_ERROR", "$END"]
        self.symbols = sorted({_plain(rule.origin.name) for rule in rules})
        self.rules = rules

        queue = [conf[start].start_state for start in STARTS]
        ids = {state: i for i, state in enumerate(queue)}
        self.shifts: list[dict[str, int]] = []
        self.gotos: list[dict[str, int]] = []
        known = set(self.names)
        for state in queue:
            shift: dict[str, int] = {}
            goto: dict[str, int] = {}
            for symbol, (kind, argument) in sorted(states[state].items(), key=lambda item: str(item[0])):
                target = argument
                if kind is Shift and target not in ids:
                    ids[target] = len(ids)
                    queue.append(target)
                name = _plain(symbol)
                if kind is not Shift:
                    shift[name] = ~number[argument]
                elif name in known:
                    shift[name] = ids[target]
                else:
                    goto[name] = ids[target]
            self.shifts.append(shift)
            self.gotos.append(goto)

    def productions(self) -> list[Production]:
        dropped = {t.name for t in self.terminals if t.name.startswith("_")} | {"_ERROR"}
        heads: dict[str, list[Any]] = {}
        for rule in self.rules:
            heads.setdefault(_plain(rule.origin.name), []).append(rule)
        # Only what a named rule reads through underscore rules is ever looked at.
        read: set[str] = set()
        pending = [h for h in heads if not h.startswith("_") and h not in STARTS]
        while pending:
            for rule in heads[pending.pop()]:
                for symbol in rule.expansion:
                    name = _plain(symbol.name)
                    if name in heads and name not in read and not self._silent(name):
                        read.add(name)
                        if name.startswith("_"):
                            pending.append(name)

        def carries(name: str) -> bool:
            if name in heads:
                return name in read and not self._silent(name) and self._has_value(name, heads, dropped, set())
            return name not in dropped

        out = []
        for rule in self.rules:
            head = _plain(rule.origin.name)
            named = not head.startswith("_") and head not in STARTS
            keep = tuple(i for i, s in enumerate(rule.expansion) if carries(_plain(s.name)))
            if not named and head not in read:
                keep = ()
            out.append(Production(head if named else "", self.symbols.index(head), len(rule.expansion), keep))
        return out

    @staticmethod
    def _silent(name: str) -> bool:
        return name.startswith("_") and name.endswith("_part")

    def _has_value(self, name: str, heads: dict[str, list[Any]], dropped: set[str], seen: set[str]) -> bool:
        if self._silent(name):
            return False
        if not name.startswith("_"):
            return True
        seen.add(name)
        for rule in heads[name]:
            for symbol in rule.expansion:
                child = _plain(symbol.name)
                if child in heads:
                    if child not in seen and self._has_value(child, heads, dropped, seen):
                        return True
                elif child not in dropped:
                    return True
        return False


def _tables(parser: Lark) -> Tables:
    automaton = _Automaton(parser)
    productions = automaton.productions()
    shifts, gotos = automaton.shifts, automaton.gotos
    by_name = {t.name: t for t in automaton.terminals}
    starts = list(range(len(STARTS)))

    # Default reductions: where one reduction is all a state can do, it need not wait.
    defaults = [-1] * len(shifts)
    for state, row in enumerate(shifts):
        reductions = set(row.values())
        if len(reductions) == 1 and min(reductions) < 0:
            defaults[state] = ~reductions.pop()

    classes = {
        t.name: frozenset(filter(re.compile(t.run.removesuffix("{1}")).match, _SAMPLE))
        for t in automaton.terminals
        if t.run
    }
    plain = {ord(other): words[0] for words in by_name["VARIANT"].literals for other in words[1:]}
    proven: set[tuple[str, ...]] = set()
    for state, row in enumerate(shifts):
        key = tuple(name for name in row if name in by_name)
        if defaults[state] < 0 and key not in proven:
            proven.add(key)
            shown = ", ".join(key[:6]) + (", …" if len(key) > 6 else "")
            _prove(f"where {shown} may follow", [by_name[n] for n in key], classes, plain)

    # A start rule that begins with an empty part has read that part already.
    entries = list(starts)
    for i, state in enumerate(starts):
        if defaults[state] >= 0 and productions[defaults[state]].size == 0:
            entries[i] = gotos[state][automaton.symbols[productions[defaults[state]].symbol]]

    for state, row in enumerate(shifts):
        for action in row.values():
            if action < 0 and productions[~action].size == 0 and state not in starts:
                raise GrammarError(
                    f"{automaton.rules[~action].origin.name} may be empty: say so where it is used, with `?`"
                )

    # A step that makes nothing is taken when the tables are built, not when text is read.
    def idle(number: int) -> bool:
        return number >= 0 and not productions[number].rule and productions[number].size == 1

    changed = True
    while changed:
        changed = False
        for state in range(len(shifts)):
            for table in (shifts[state], gotos[state]):
                for name, target in table.items():
                    if target >= 0 and idle(defaults[target]):
                        head = automaton.symbols[productions[defaults[target]].symbol]
                        if head in gotos[state] and gotos[state][head] != target:
                            table[name] = gotos[state][head]
                            changed = True

    # A left-recursive list swallows a silent element without moving, and a state
    # that can only reduce need not be entered: the step before it reduces.
    def ahead(state: int, name: str, target: int) -> int:
        number = defaults[target]
        if number < 0 or productions[number].size == 0:
            return target
        production, rule = productions[number], automaton.rules[number]
        head = _plain(rule.origin.name)
        if (
            production.size == 2
            and not production.rule
            and not production.keep
            and name in automaton.names
            and _plain(rule.expansion[0].name) == head
            and all(row.get(head) == state for row in gotos if state in row.values())
        ):
            return _ABSORB
        return _REDUCE + number

    actions = [{name: ahead(s, name, t) if t >= 0 else t for name, t in row.items()} for s, row in enumerate(shifts)]
    targets = [{name: ahead(s, name, t) for name, t in row.items()} for s, row in enumerate(gotos)]
    return _pack(automaton, productions, actions, targets, list(zip(starts, entries, strict=True)))


_REDUCE = 1 << 20
_ABSORB = 1 << 21


def _pack(
    automaton: _Automaton,
    productions: list[Production],
    actions: list[dict[str, int]],
    gotos: list[dict[str, int]],
    starts: list[tuple[int, int]],
) -> Tables:
    """Leave out what cannot be reached, share equal rows, and number what is left."""
    order = list(dict.fromkeys(state for pair in starts for state in pair))
    for state in order:
        for target in (*actions[state].values(), *gotos[state].values()):
            if 0 <= target < _REDUCE and target not in order:
                order.append(target)
    number = {state: i for i, state in enumerate(order)}

    def code(target: int) -> int:
        if target == _ABSORB:
            return len(order) + len(productions)
        if target >= _REDUCE:
            return len(order) + target - _REDUCE
        return target if target < 0 else number[target]

    terminals = {name: i for i, name in enumerate(automaton.names)}
    symbols = {name: i for i, name in enumerate(automaton.symbols)}
    rows: dict[Row, int] = {}
    numbered = [tuple(sorted((terminals[n], code(t)) for n, t in actions[state].items())) for state in order]
    return Tables(
        tuple(automaton.terminals),
        tuple(automaton.symbols),
        tuple(productions),
        tuple(rows.setdefault(row, len(rows)) for row in numbered),
        tuple(rows),
        tuple(tuple(sorted((symbols[n], code(t)) for n, t in gotos[state].items())) for state in order),
        tuple((name, number[state], number[entry]) for name, (state, entry) in zip(STARTS, starts, strict=True)),
    )
