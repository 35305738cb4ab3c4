"""What reading a status stream costs: prints one table, in about a minute.

    python bench/bench.py           the whole table, under 90 s
    python bench/bench.py --quick   smaller texts, about 10 s

How to read it. Times are the best of several rounds in which everything that is
compared takes its turn; start-up is a median. Machines differ and are noisy: what
counts are the ratios, the columns marked ×, which compare figures of this run.
MB are 10^6 bytes of UTF-8.

Whole text     one call on a whole text. All that yield events yield the same ones,
               spans included: the program checks it, and leaves out what differs.
Streaming      µs a delta; flat when a delta costs the same in a long stream.
Growth         a message streamed by characters: × 2 a line is linear, × 4 quadratic.
Hostile        shapes made to hurt; × compares with half of the text.
Start-up       ms over an interpreter that does nothing, in fresh processes.
Memory         the most that was allocated at a time, by tracemalloc; and, because that
               is slow, by how much a fresh process grew.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import time
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import contenders
import memory
import texts
from contenders import EVENTS_ONLY, SCANNER, STOCK_LARK
from measure import doubling, interleaved, processes, streamed

from tickertape._compiler import grammar_folder
from tickertape.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

_COLUMNS = 8
_PARSER = "`Parser(history=False)`"
_IMPORTS = ("`import tickertape`", "`from tickertape import Parser`")
_COMPARED = ("tickertape", "lark", "markdown-it-py", "mistune", "interegular")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, int, int] = (800, 10_000, 1_000_000)
    whole_budget: float = 2.5
    stream_budget: float = 1.0
    growth: int = 7
    hostile: float = 1.0
    memory: tuple[int, int] = (1_000_000, 10_000_000)
    patience: float = 7.0
    """Seconds after which a measurement of its kind is given up."""
    processes: int = 15
    heavy_processes: int = 5


_QUICK = Plan(
    sizes=(800, 10_000, 100_000),
    whole_budget=0.2,
    stream_budget=0.1,
    growth=5,
    hostile=1 / 40,
    memory=(50_000, 500_000),
    patience=1.0,
    processes=3,
    heavy_processes=1,
)


class Table:
    """One table of several sections: each begins with a row that names its columns."""

    def __init__(self) -> None:
        self._rows: list[list[str]] = []

    def section(self, *cells: str) -> None:
        self._rows.append([f"**{cell}**" if cell else "" for cell in cells])

    def row(self, *cells: str) -> None:
        self._rows.append(list(cells))

    def render(self) -> str:
        rows = [row + [""] * (_COLUMNS - len(row)) for row in self._rows]
        widths = [max(_width(row[column]) for row in rows) for column in range(_COLUMNS)]
        lines = ["| " + " | ".join(map(_pad, row, widths, range(_COLUMNS))) + " |" for row in rows]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]])


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _pad(text: str, width: int, column: int) -> str:
    space = " " * (width - _width(text))
    return space + text if column else text + space


def _number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def _times(value: float, base: float | None) -> str:
    return f"× {value / base:.2f}" if base else ""


def _size(count: int) -> str:
    return f"{round(count / 1e6)} MB" if count >= 950_000 else f"{max(1, round(count / 1e3))} KB"


# -- the sections ---------------------------------------------------------------


class Bench:
    """One run: sections add their rows to the table and their verdicts to the targets."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._texts = [texts.message(size) for size in plan.sizes]
        self._sizes = [len(text.encode()) for text in self._texts]
        self._table = Table()
        self._targets: list[tuple[str, str, bool | None]] = []
        self._notes: list[str] = []

    def run(self) -> str:
        # Start-up comes before memory: it leaves the package compiled, which takes more than any stream.
        sections = (self.whole, self.streaming, self.growth, self.hostile, self.start_up, self.memory)
        for section in sections:
            start = time.perf_counter()
            section()
            print(f"{section.__name__}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
        self.targets()
        return "\n\n".join((self._table.render(), *self._notes))

    def whole(self) -> None:
        ready, left_out = contenders.checked(self._texts)
        names = [_size(size) for size in self._sizes]
        self._table.section(
            "Whole text", *(f"{name}, µs" for name in names), *(f"{name}, MB/s" for name in names), f"{names[1]}, ×"
        )
        best = [
            interleaved({name: _bound(read, text) for name, read in ready.items()}, self._plan.whole_budget)
            for text in self._texts
        ]
        for name in ready:
            rates = (size / taken[name] / 1e6 for size, taken in zip(self._sizes, best, strict=True))
            self._table.row(
                name,
                *(_number(taken[name] * 1e6) for taken in best),
                *map(_number, rates),
                _times(best[1][name], best[1][EVENTS_ONLY]),
            )
        self._notes += (f"{name} is left out: {reason}" for name, reason in left_out.items())
        self._compare(best[1], STOCK_LARK, f"at least 2.5 × as fast as stock Lark, {names[1]}", 2.5)
        self._compare(best[1], SCANNER, f"within 4 × of the regex scanner, {names[1]}", 1 / 4)

    def streaming(self) -> None:
        names = [_size(size) for size in self._sizes]
        self._table.section("Streaming", *(f"{name}, µs a delta" for name in names), f"{names[2]} / {names[0]}")
        makers = {_PARSER: _parser, EVENTS_ONLY: contenders.machine}
        cuts: dict[str, Callable[[str], list[str]]] = {"1 character": list, "4 characters": _by_four}
        lines = [(who, how) for who in makers for how in cuts]
        streams = {
            (who, how, at): (makers[who], cuts[how](text)) for who, how in lines for at, text in enumerate(self._texts)
        }
        taken = streamed(streams, self._plan.stream_budget)
        for who, how in lines:
            each = [taken[who, how, at] * 1e6 for at in range(len(self._texts))]
            self._table.row(f"{who}, {how} a delta", *map(_number, each), _times(each[2], each[0]))
            if who == _PARSER:
                ratio = each[2] / each[0]
                what = f"{how} a delta: {names[2]} / {names[0]} at most 1.5"
                self._targets.append((what, f"{ratio:.2f}", ratio <= 1.5))

    def growth(self) -> None:
        sizes = [1_000 << step for step in range(self._plan.growth)]
        text = texts.message(sizes[-1] * 2)[: sizes[-1]]
        limit = self._plan.patience
        ours = doubling(lambda size: _bound(_stream, _parser, list(text[:size])), sizes, limit, limit / 4)
        theirs = doubling(lambda size: _bound(_reparse, text[:size]), sizes, limit / 4, limit / 2)
        columns = ("`Parser`, ms", "× line above", "`findall` on all so far, ms", "× line above")
        self._table.section("Growth, by characters", *columns)
        for size in sizes:
            self._table.row(f"{size:,} characters", *_grown(ours, size), *_grown(theirs, size))

    def hostile(self) -> None:
        share = self._plan.hostile
        columns = ("MB", "whole, ms", "MB/s", "× half", "64 a delta, ms", "MB/s", "× half")
        self._table.section("Hostile" if share == 1 else f"Hostile, 1/{1 / share:.0f} of it", *columns)
        shapes = [texts.hostile(share / part) for part in (4, 2, 1)]
        for name, full in shapes[-1].items():
            each = [shape[name] for shape in shapes]
            size = len(full.encode()) / 1e6
            self._table.row(name, _number(size), *self._hostile(each, size, _whole), *self._hostile(each, size, _by_64))

    def _hostile(self, each: list[str], size: float, cut: Callable[[str], list[str]]) -> tuple[str, str, str]:
        limit = self._plan.patience * 3
        taken = doubling(lambda part: _bound(_stream, _parser, cut(each[part])), [0, 1, 2], limit, limit / 40)
        if 2 not in taken:
            return "too slow", "", _times(taken[len(taken) - 1], taken.get(len(taken) - 2))
        return _number(taken[2] * 1e3), _number(size / taken[2]), _times(taken[2], taken[1])

    def start_up(self) -> None:
        light, heavy = _programs(self._texts[0], _size(self._sizes[0]))
        self._table.section("Start-up", "ms over a bare interpreter")
        for programs, rounds in ((light, self._plan.processes), (heavy, self._plan.heavy_processes)):
            taken = processes({"": "pass", **programs}, rounds)
            for name in (name for name in programs if name in taken):
                over = max(0.0, taken[name] - taken[""]) * 1e3
                self._table.row(name, _number(over))
                if name in _IMPORTS:
                    self._targets.append((f"{name} at most 30 ms over bare", f"{over:.1f} ms", over <= 30))

    def memory(self) -> None:
        small, large = (_size(size) for size in self._plan.memory)
        columns = (f"{small}, traced peak, kB", f"{small}, process grew, kB", f"{large}, process grew, kB")
        self._table.section("Memory, 64 a delta", *columns)
        for name, kind in ((EVENTS_ONLY, "events"), (f"{_PARSER}, which holds the results", "parser")):
            peak = memory.traced(kind, self._plan.memory[0], self._plan.patience)
            growth = [memory.grown(kind, size, self._plan.patience) for size in self._plan.memory]
            self._table.row(name, *(_held(*each) if each else "—" for each in (peak, *growth)))

    def targets(self) -> None:
        self._table.section("Targets", "measured", "met")
        for what, measured, met in self._targets:
            self._table.row(what, measured, "—" if met is None else "yes" if met else "no")

    def _compare(self, best: dict[str, float], other: str, what: str, least: float) -> None:
        if other not in best:
            self._targets.append((what, "left out", None))
            return
        faster = best[other] / best[EVENTS_ONLY]
        shown = f"{faster:.2f} ×" if least > 1 else f"{1 / faster:.2f} ×"
        self._targets.append((what, shown, faster >= least))


# -- what is measured -------------------------------------------------------------


def _bound(run: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: run(*arguments)


def _parser() -> Parser:
    return Parser(history=False)


def _by_four(text: str) -> list[str]:
    return texts.pieces(text, 4)


def _by_64(text: str) -> list[str]:
    return texts.blocks(text, 64)


def _whole(text: str) -> list[str]:
    return [text]


def _stream(make: Callable[[], Parser], deltas: list[str]) -> None:
    parser = make()
    feed = parser.feed
    for delta in deltas:
        feed(delta)
    parser.close()


def _reparse(text: str) -> None:
    """What projects without an incremental parser do."""
    so_far = ""
    for character in text:
        so_far += character
        contenders.find_all(so_far)


def _held(size: float, share: float) -> str:
    return _number(size / 1e3) + ("" if share == 1 else f" after {share:.0%}")


def _programs(text: str, size: str) -> tuple[dict[str, str], dict[str, str]]:
    folder = str(grammar_folder())
    build = f"""
import lark, pathlib
path = pathlib.Path({folder!r}) / "status_stream.lark"
lark.Lark(path.read_text("utf-8"), parser="lalr", start="document", import_paths=[{folder!r}], source_path=str(path))
"""
    light = {
        "`import dataclasses, json, re`": "import dataclasses, json, re",
        **{name: name.strip("`") for name in _IMPORTS},
        "— and `Parser()`": "from tickertape import Parser; Parser()",
        f"— and reading {size}": f"from tickertape import Parser; Parser().feed({text!r})",
        "`import lark`": "import lark",
    }
    return light, {"— and `Lark(grammar)`": build}


def _grown(taken: dict[int, float], size: int) -> tuple[str, str]:
    if size not in taken:
        return "", ""
    return _number(taken[size] * 1e3), _times(taken[size], taken.get(size // 2))


def _versions() -> str:
    found = []
    for name in _COMPARED:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {name}")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    return f"{python} on {machine}; {', '.join(found)}"


def main() -> int:
    arguments = argparse.ArgumentParser(description="What reading a status stream costs: prints one table.")
    arguments.add_argument("--quick", action="store_true", help="smaller texts and fewer rounds, about 10 s")
    plan = _QUICK if arguments.parse_args().quick else Plan()
    start = time.perf_counter()
    table = Bench(plan).run()
    print(f"{_versions()}\n\n{table}\n\n{time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
