"""What a long stream takes: by tracemalloc, and by the growth of a process.

Tracing slows allocation about eightfold. So the longest stream runs untraced, in
a process of its own:

    python bench/memory.py parser 10000000    kB the process grew by, and the share of the stream it read
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import texts
from contenders import machine
from measure import environment

from tickertape.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

MAKERS: dict[str, Callable[[], Any]] = {"events": machine, "parser": lambda: Parser(history=False)}
_WARM_UP = 50_000


def traced(kind: str, size: int, limit: float) -> tuple[float, float]:
    """Bytes allocated at most while reading `size` bytes in deltas of 64, and the share read within `limit` seconds."""
    _read(kind, _WARM_UP, limit)
    gc.collect()
    tracemalloc.start()
    try:
        share = _read(kind, size, limit)
        return tracemalloc.get_traced_memory()[1], share
    finally:
        tracemalloc.stop()


def grown(kind: str, size: int, limit: float) -> tuple[float, float] | None:
    """Bytes a fresh process grew by, and the share; None where the system does not tell."""
    command = [sys.executable, str(Path(__file__)), kind, str(size), str(limit)]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment()).stdout.split()
    return (float(found[0]), float(found[1])) if found else None


def _read(kind: str, size: int, limit: float) -> float:
    parser = MAKERS[kind]()
    stop = time.perf_counter() + limit
    read = 0
    for job in texts.jobs():
        if read >= size or time.perf_counter() > stop:
            break
        for delta in texts.blocks(job, 64):
            parser.feed(delta)
        read += len(job.encode())
    parser.close()
    return min(1.0, read / size)


def _resident() -> int | None:
    """The most bytes this process has held, as Linux counts them."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), None)


def main(kind: str, size: str, limit: str = "60") -> None:
    _read(kind, _WARM_UP, float(limit))
    before = _resident()
    share = _read(kind, int(size), float(limit))
    after = _resident()
    if before is not None and after is not None:
        print(after - before, share)


if __name__ == "__main__":
    main(*sys.argv[1:])
