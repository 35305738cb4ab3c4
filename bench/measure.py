"""How the benchmark measures time: rounds that interleave what is compared, and the best of them."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Key = TypeVar("Key")

_LEAST = 0.004
"""Seconds one measurement should last: shorter calls are repeated in it."""
_ROUNDS = 3
_BLOCK = 5_000
"""Deltas of a stream that are timed together."""


def seconds(run: Callable[[], Any], times: int = 1) -> float:
    """Seconds a call, over `times` calls in a row. The collector runs before, and stays on, as it does for users."""
    gc.collect()
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) / times


def settle() -> None:
    """Take what is there already out of the collector's sight: it shall not cost what is measured."""
    gc.collect()
    gc.freeze()


def interleaved(runs: dict[Key, Callable[[], Any]], budget: float) -> dict[Key, float]:
    """Seconds of the fastest call of each: all called in turn, three rounds or more, until the budget is spent."""
    settle()
    start = time.perf_counter()
    best = {key: seconds(run) for key, run in runs.items()}
    times = {key: max(1, round(_LEAST / once)) for key, once in best.items()}
    rounds = 1
    while rounds < _ROUNDS or time.perf_counter() - start < budget:
        best = {key: min(best[key], seconds(run, times[key])) for key, run in runs.items()}
        rounds += 1
    return best


def streamed(streams: dict[Key, tuple[Callable[[], Any], list[str]]], budget: float) -> dict[Key, float]:
    """Seconds a delta of streams fed in turn, as `interleaved`.

    A long stream is timed in blocks, and the fastest of each block counts: one
    disturbance does not spoil it. Short streams are repeated for as long.
    """
    settle()
    start = time.perf_counter()
    best: dict[Key, list[float]] = {}
    rounds = 0
    while rounds < _ROUNDS or time.perf_counter() - start < budget:
        for key, (make, deltas) in streams.items():
            times = _blocks(make, deltas)
            best[key] = list(map(min, best.get(key, times), times))
        rounds += 1
    return {key: sum(times) / len(streams[key][1]) for key, times in best.items()}


def _blocks(make: Callable[[], Any], deltas: list[str]) -> list[float]:
    repeats = _BLOCK // len(deltas)
    if repeats > 1:
        return [sum(_feeding(make(), deltas) for _ in range(repeats)) / repeats]
    parser = make()
    return [_feeding(parser, deltas[at : at + _BLOCK]) for at in range(0, len(deltas), _BLOCK)]


def _feeding(parser: Any, deltas: list[str]) -> float:
    feed = parser.feed
    start = time.perf_counter()
    for delta in deltas:
        feed(delta)
    return time.perf_counter() - start


def doubling(
    make: Callable[[int], Callable[[], Any]], sizes: list[int], limit: float, budget: float
) -> dict[int, float]:
    """Seconds at each size, each twice the one before; stops where the next, if quadratic, would exceed `limit`.

    The best of up to five rounds, as many as the budget allows.
    """
    settle()
    runs: dict[int, Callable[[], Any]] = {}
    best: dict[int, float] = {}
    for size in sizes:
        runs[size] = make(size)
        best[size] = seconds(runs[size])
        if best[size] * 4 > limit:
            break
    for _ in range(min(4, int(budget / sum(best.values())))):
        best = {size: min(best[size], seconds(run)) for size, run in runs.items()}
    return best


def environment() -> dict[str, str]:
    """That of this process, except that compiled files are always kept: a user's are."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def processes(programs: dict[str, str], rounds: int) -> dict[str, float]:
    """Median seconds of fresh interpreters that run the programs, started in turn; compiled files are warm.

    A program that fails is left out.
    """

    def start(program: str) -> int:
        command = [sys.executable, "-c", program]
        return subprocess.run(command, check=False, env=environment(), stderr=subprocess.DEVNULL).returncode

    taken: dict[str, list[float]] = {name: [] for name, program in programs.items() if start(program) == 0}
    for _ in range(rounds):
        for name, times in taken.items():
            times.append(seconds(partial(start, programs[name])))
    return {name: statistics.median(times) for name, times in taken.items()}
