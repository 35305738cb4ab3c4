"""The client under test, as far as an adapter in its own process can see it: who asks, and what its clock shows.

A verdict asks what the client could know when it acted, and how long it had waited by
a clock of its own.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from weakref import ref

from ._clock import VirtualClock
from ._patches import monotonic

if TYPE_CHECKING:
    from ._clock import RealClock

Asker = ref[Any]
"""A task or a thread; equal where it is the same one. It is not kept for that."""


class Client:
    """What a `Relay` notes of each call, where there is one to ask."""

    def __init__(self, clock: VirtualClock | RealClock) -> None:
        self._clock = clock
        self._began = monotonic()

    @property
    def shown(self) -> float:
        """Seconds since the relay began by the client's `time.monotonic()`: virtual ones, and what it computed."""
        real = monotonic() - self._began
        return real + self._clock.now if isinstance(self._clock, VirtualClock) else real

    @property
    def wall(self) -> float:
        """The time of day by the client's `time.time()`, which is virtual where its sleeps are."""
        return time.time()

    @property
    def asker(self) -> Asker:
        """The task that runs now; where there is none the thread."""
        return ref(current_task() or threading.current_thread())


def current_task() -> Any:
    """The task of asyncio or trio that runs now; None where there is none."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop of asyncio's runs here
        trio = sys.modules.get("trio")
    try:
        return None if trio is None else trio.lowlevel.current_task()
    except RuntimeError:
        return None
