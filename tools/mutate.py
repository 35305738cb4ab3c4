"""Mutation testing of the reader: mutmut's mutants, in forks of one pytest session.

    pip install "mutmut==3.8.1"
    python tools/mutate.py                         the table, and every mutant that survived
    python tools/mutate.py --module _fold          of one module
    python tools/mutate.py --sample 100            of at most 100 a module, drawn with --seed
    python tools/mutate.py --only _fold:117        of one mutant, by the name the list gives it
    python tools/mutate.py --json result.json      keep what was found; --again tries only its survivors

mutmut makes the mutants (its operators, its rules of what to leave alone); it does
not run them, because it collects the tests anew for each. Here they are collected
once and measured once, line by line. Then each mutant is a fork in which the code
of one function (or the value of one constant) is exchanged, and the tests that
reach its line run until one fails. No file is written: the tree stays as it is.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import importlib
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypedDict

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "tickertape"
MODULES = (
    "parser",
    "_machine",
    "_lexicon",
    "_builders",
    "_phrases",
    "_fold",
    "_media",
    "_failures",
    "envelope",
    "_sse",
    "_poll",
)
TESTS = (
    "task",
    "parser",
    "failures",
    "poll",
    "envelope",
    "fixtures",
    "media",
    "rules",
    "escape",
    "grammar",
    "relay",
    "chat",
    "mutants",
    "properties",
    "guarantees",
)
KEPT = (
    "_lexicon",
    "_machine.Program",
    "_builders.Builders.__init__",
    "_builders.Builders.table",
    "_builders.Builders._find",
)
"""What is made once for a grammar and kept: every test that reads a text has used it."""
PATIENCE = 20.0
"""Seconds of tests, quick ones first, that a mutant has to survive."""

sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
os.environ["CI"] = "1"  # hypothesis draws the same examples for every mutant

import pytest  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Mutant:
    """One change of one function or constant."""

    name: str
    module: str
    scope: str
    """The function's dotted name; a constant's name when `constant`."""
    constant: bool
    code: str
    """The changed function or statement."""
    before: str
    after: str
    lines: tuple[int, ...]
    """A test that reaches one of them reaches the change."""
    outcome: str = ""
    killer: str = ""
    tests: int = 0


# ---- making mutants -----------------------------------------------------------------------


def mutants_of(module: str) -> Iterator[Mutant]:
    """What mutmut would change, in the order of the source."""
    cst, metadata = importlib.import_module("libcst"), importlib.import_module("libcst.metadata")
    create_mutations = importlib.import_module("mutmut.mutation.file_mutation").create_mutations
    path = PACKAGE / f"{module}.py"
    source = path.read_text("utf-8")
    tree, mutations, _, _ = create_mutations(str(path), source)
    where = metadata.MetadataWrapper(tree, unsafe_skip_copy=True).resolve(metadata.PositionProvider)
    statements = [s for s in ast.walk(ast.parse(source)) if isinstance(s, ast.stmt | ast.match_case)]
    owners = {f: f"{c.name.value}." for c in tree.body if isinstance(c, cst.ClassDef) for f in c.body.body}
    number = 0
    for mutation in mutations:
        function = mutation.contained_by_top_level_function
        position = where[mutation.original_node]
        if isinstance(function, cst.FunctionDef):
            holder: Any = function
            scope = owners.get(function, "") + function.name.value
        elif function is None:
            holder = next((s for s in tree.body if _holds(s, mutation.original_node)), None)
            target = _constant(holder)
            if target is None:
                continue
            scope = target
        else:
            continue  # a class's own statements: slots and fields
        number += 1
        changed = holder.deep_replace(mutation.original_node, mutation.mutated_node)
        before, after = (tree.code_for_node(n).strip() for n in (holder, changed))
        yield Mutant(
            f"{module}:{number}",
            module,
            scope,
            function is None,
            after,
            *_difference(before, after),
            _reach(statements, position.start.line, position.end.line),
        )


def _holds(node: Any, part: Any) -> bool:
    return node is part or any(_holds(child, part) for child in node.children)


def _constant(statement: Any) -> str | None:
    """The name that a module's statement gives a value to."""
    cst = importlib.import_module("libcst")
    if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
        inner = statement.body[0]
        if isinstance(inner, cst.AnnAssign) and isinstance(inner.target, cst.Name):
            return str(inner.target.value)
        if isinstance(inner, cst.Assign) and isinstance(name := inner.targets[0].target, cst.Name):
            return str(name.value)
    return None


def _difference(before: str, after: str) -> tuple[str, str]:
    """The lines in which two texts differ."""
    old, new = before.splitlines(), after.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return tuple(" ".join(map(str.strip, part)) for part in (old, new))  # type: ignore[return-value]


def _reach(statements: list[Any], first: int, last: int) -> tuple[int, ...]:
    """The lines of a change, and of the statement it is in as far as its body."""
    best = (0, first, first)
    for node in statements:
        start = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
        body = getattr(node, "body", None) or getattr(node, "cases", None)
        inner = body[0] if body else None
        if inner is None:
            end = node.end_lineno
        else:
            end = max(start, (inner.pattern if isinstance(inner, ast.match_case) else inner).lineno - 1)
        if start <= first <= end:
            if isinstance(node, ast.FunctionDef):  # a default: whoever runs the function has it
                end = node.end_lineno
            best = max(best, (start, start, end))
    return tuple(range(best[1], best[2] + 1))


def apply(mutant: Mutant) -> None:
    """Exchange the code where it is: what holds the function goes on holding it."""
    module = importlib.import_module(f"tickertape.{mutant.module}")
    space: dict[str, Any] = dict(vars(module))
    if mutant.constant:
        old = space[mutant.scope]
        exec(_compiled(mutant.code), space)
        for other in [m for n, m in sys.modules.items() if n.startswith("tickertape") and m is not None]:
            for name in [n for n, value in vars(other).items() if value is old and n == mutant.scope]:
                setattr(other, name, space[mutant.scope])
        return
    exec(_compiled(mutant.code), space)
    owner, _, name = mutant.scope.rpartition(".")
    old = vars(getattr(module, owner))[name] if owner else getattr(module, name)
    assert isinstance(old, FunctionType)
    new = space[name]
    old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__


def _compiled(code: str) -> Any:
    return compile(f"from __future__ import annotations\n{code}", "<mutant>", "exec")


# ---- running them ----------------------------------------------------------------------


class Measured(TypedDict):
    """What the fork that measures tells, as JSON has it: lists where the session has sets."""

    failed: list[int]
    """The tests that fail without any mutant."""
    seconds: list[float]
    """How long each test takes."""
    reached: list[tuple[str, int, list[int]]]
    """A module, a line of it, the tests that reach the line."""


@dataclass
class Session:
    """A pytest plugin in place of the loop over the tests."""

    mutants: list[Mutant]
    patience: float
    report: Callable[[Mutant], None]
    failed: str = ""
    seconds: dict[int, float] = field(default_factory=dict)
    reached: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    kills: Counter[tuple[str, int]] = field(default_factory=Counter)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        from tickertape import Grammar

        grammars = [thing for thing in gc.get_objects() if isinstance(thing, Grammar)]
        gc.collect()
        gc.freeze()
        print(f"{len(session.items)} tests", file=sys.stderr)
        self._measure(session)
        for mutant in self.mutants:
            self._try(session, mutant, grammars)
            self.report(mutant)
        return True

    def _run(self, session: pytest.Session, number: int) -> None:
        item = session.items[number]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)

    def _measure(self, session: pytest.Session) -> None:
        """Which lines each test reaches, in a fork: nothing must be warm for the mutants."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            pid = os.fork()
            if not pid:
                _silent()
                with contextlib.suppress(BaseException):
                    json.dump(self._measured(session), file)
                    file.flush()
                    os._exit(0)
                os._exit(1)
            if os.waitpid(pid, 0)[1]:
                raise SystemExit("the tests could not be measured")
            file.seek(0)
            measured: Measured = json.load(file)
        failed = set(measured["failed"])
        self.seconds = dict(enumerate(measured["seconds"]))
        self.reached = {(module, line): set(tests) for module, line, tests in measured["reached"]}
        for number in sorted(failed):
            print(f"left out, it fails without any mutant: {session.items[number].nodeid}", file=sys.stderr)
        for numbers in self.reached.values():
            numbers -= failed

    def _measured(self, session: pytest.Session) -> Measured:
        _fresh(session)
        measure = importlib.import_module("coverage").Coverage(
            data_file=None, include=[str(PACKAGE / "*.py")], config_file=False
        )
        measure.start()
        seconds: list[float] = []
        failed: list[int] = []
        for number in range(len(session.items)):
            measure.switch_context(str(number))
            started = time.process_time()
            self._run(session, number)
            seconds.append(time.process_time() - started)
            if self.failed:
                failed.append(number)
                self.failed = ""
        measure.stop()
        data = measure.get_data()
        reached: list[tuple[str, int, list[int]]] = []
        for file in data.measured_files():
            for line, contexts in data.contexts_by_lineno(file).items():
                reached.append((Path(file).stem, line, [int(c) for c in contexts if c]))
        return {"failed": failed, "seconds": seconds, "reached": reached}

    def _tests(self, mutant: Mutant) -> list[int]:
        lines = set()
        if mutant.constant:  # where it is named
            word = re.compile(rf"\b{mutant.scope}\b")
            for module in MODULES:
                for n, line in enumerate((PACKAGE / f"{module}.py").read_text("utf-8").splitlines(), 1):
                    if word.search(line):
                        lines.add((module, n))
        else:
            lines = {(mutant.module, line) for line in mutant.lines}
        if f"{mutant.module}.{mutant.scope}".startswith(KEPT):
            lines |= {line for line in self.reached if line[0] == "_machine"}
        found = set[int]().union(*(self.reached.get(line, ()) for line in lines))
        return sorted(found, key=lambda n: (-self.kills[mutant.scope, n], self.seconds[n], n))

    def _try(self, session: pytest.Session, mutant: Mutant, grammars: list[Any]) -> None:
        tests = self._tests(mutant)
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reading)
            _silent()
            resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
            try:
                _fresh(session)
                for grammar in grammars:
                    grammar.__dict__.pop("_program", None)
                    grammar._words.clear()
                _allow(20.0)
                apply(mutant)
                self._until_one_fails(session, tests, writing)
            except BaseException:
                os.write(writing, b"-1 0\n")
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read().split("\n")
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            mutant.outcome = "timed out"
            return
        killer, mutant.tests = map(int, said[-2].split())
        if killer == -2:
            mutant.outcome = "survived" if tests or mutant.outcome == "survived" else "no tests"
            return
        mutant.outcome = "killed"
        if killer >= 0:
            self.kills[mutant.scope, killer] += 1
            mutant.killer = session.items[killer].nodeid

    def _until_one_fails(self, session: pytest.Session, tests: list[int], writing: int) -> None:
        spent = 0.0
        for count, number in enumerate(tests, 1):
            spent += self.seconds[number]
            if spent > self.patience:
                os.write(writing, f"-2 {count - 1}\n".encode())
                return
            _allow(3 + 10 * self.seconds[number])
            self._run(session, number)
            if self.failed:
                os.write(writing, f"{number} {count}\n".encode())
                return
        os.write(writing, f"-2 {len(tests)}\n".encode())


def _fresh(session: pytest.Session) -> None:
    session.config.pluginmanager.unregister(name="terminalreporter")


def _silent() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        os.dup2(nothing, number)


def _allow(seconds: float) -> None:
    """End this process after so many seconds of its own work, or far more on the clock."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 60 + 10 * seconds)


# ---- the report ----------------------------------------------------------------------------


def table(mutants: list[Mutant], made: dict[str, int]) -> str:
    """Markdown: a row a module."""
    head = "| module | mutants | tried | killed | timed out | survived | not reached | score |\n"
    rows = [head, "|---|--:|--:|--:|--:|--:|--:|--:|\n"]
    for module in (*made, "all"):
        mine = [m for m in mutants if module in (m.module, "all")]
        count = Counter(m.outcome for m in mine)
        total = sum(made.values()) if module == "all" else made[module]
        score = 100 * (count["killed"] + count["timed out"]) / max(1, len(mine))
        cells = (total, len(mine), count["killed"], count["timed out"], count["survived"], count["no tests"])
        rows.append(f"| `{module}` | {' | '.join(map(str, cells))} | {score:.1f} % |\n")
    return "".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--module", action="append", choices=MODULES)
    parser.add_argument("--sample", type=int, default=0, help="at most so many mutants a module")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--only", action="append", help="a mutant's name")
    parser.add_argument("--tests", action="append", help="files of tests, without test_ and .py")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds of tests for a mutant")
    parser.add_argument("--json", type=Path, help="where the outcomes are kept")
    parser.add_argument("--again", action="store_true", help="only what survived in --json")
    arguments = parser.parse_args()

    os.chdir(ROOT)  # where mutmut looks for its configuration
    made: dict[str, int] = {}
    chosen: list[Mutant] = []
    done: dict[str, dict[str, Any]] = {}
    if arguments.again:
        done = {m["name"]: m for m in json.loads(arguments.json.read_text())}
    for module in arguments.module or MODULES:
        mutants = list(mutants_of(module))
        made[module] = len(mutants)
        if arguments.sample and arguments.sample < len(mutants):
            drawn = sorted(random.Random(arguments.seed).sample(range(len(mutants)), arguments.sample))
            mutants = [mutants[n] for n in drawn]
        chosen += mutants
    if arguments.only:
        chosen = [m for m in chosen if m.name in arguments.only]
    if arguments.again:
        chosen = [m for m in chosen if m.name in done]
        for m in chosen:
            m.outcome, m.killer, m.tests = (done[m.name][k] for k in ("outcome", "killer", "tests"))
    waiting = [m for m in chosen if m.outcome in ("", "survived", "no tests")]

    def keep() -> None:
        if arguments.json:
            arguments.json.write_text(json.dumps([vars(m) for m in chosen if m.outcome], indent=1, ensure_ascii=False))

    count = Counter[str]()

    def report(mutant: Mutant) -> None:
        count[mutant.outcome] += 1
        if mutant.outcome in ("survived", "no tests") or arguments.only:
            print(f"{mutant.name} {mutant.scope} {mutant.outcome} after {mutant.tests} tests {mutant.killer}")
            print(f"    - {mutant.before}\n    + {mutant.after}", flush=True)
        if sum(count.values()) % 50 == 0:
            print(f"{sum(count.values())} of {len(waiting)}: {dict(count)}", file=sys.stderr, flush=True)
            keep()

    files = [ROOT / "tests" / f"test_{name}.py" for name in arguments.tests or TESTS]
    options = ["-q", "-n0", "-p", "no:cacheprovider", "--capture=sys", "-o", "timeout=0", "--rootdir", str(ROOT)]
    options += ["-k", "not big_input and not generated_tables and not stock_lark"]  # minutes, for what others tell
    pytest.main(
        [*options, *(str(file) for file in files if file.exists())],
        plugins=[Session(waiting, arguments.patience, report)],
    )
    keep()
    print(table(chosen, made))


if __name__ == "__main__":
    main()
