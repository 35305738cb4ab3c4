"""The relay's time: virtual by default, so that a ten-minute job takes milliseconds.

On a `VirtualClock` nothing sleeps. Whoever waits moves the clock: a reply whose
next chunk leaves at 41.3 s, a client that sleeps 10 s between two polls. Tasks
of one event loop that wait at the same time wake in the order of their times,
as they would in real time: each waiter lets the others run first, and only the
earliest moves the clock.

`patched()` makes the client's own waiting virtual too: `time.sleep`,
`asyncio.sleep`, `anyio.sleep` and `trio.sleep` move the clock, and
`time.monotonic` and `time.time` show it, so that a deadline that a client
computes comes when it should; so does one that asyncio keeps (`asyncio.timeout`,
`anyio.fail_after`). Deadlines of trio's scopes stay real. Only threads that belong to the relay are meant:
the one that entered it, and those that have called it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_sleep = time.sleep
_monotonic = time.monotonic
_time = time.time
_asyncio_sleep = asyncio.sleep

_TURNS = 5
"""Turns of the event loop that a waiter gives to other tasks before it moves the clock."""

_FOREVER = 10 * 365 * 86400.0
"""A sleep this long means "until cancelled" and stays real."""


class Clock(Protocol):
    """Seconds since the relay began, and waiting until one of them."""

    @property
    def now(self) -> float: ...

    def wait_until(self, t: float) -> None: ...

    async def wait_until_async(self, t: float) -> None: ...


class VirtualClock:
    """Time that passes only when somebody waits. Thread-safe."""

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, int]] = []
        self._numbers = count()
        self._threads: set[int] = set()
        self._own: dict[int, float] = {}

    @property
    def now(self) -> float:
        """Virtual seconds since the relay began."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass by hand."""
        if not seconds >= 0:
            raise ValueError(f"time does not go back: expected seconds >= 0, got {seconds!r}")
        self.wait_until(self._now + seconds)

    def wait_until(self, t: float) -> None:
        with self._lock:
            self._now = max(self._now, t)
            self._own[threading.get_ident()] = t

    @property
    def own(self) -> float:
        """Until when the calling thread itself has waited: other threads may have moved `now` on."""
        return self._own.get(threading.get_ident(), 0.0)

    async def wait_until_async(self, t: float) -> None:
        if t <= self._now:
            return
        if not self._waiting and _alone() and self._due(t) >= t:
            self.wait_until(t)
            return
        waiter = (t, next(self._numbers))
        with self._lock:
            heappush(self._waiting, waiter)
        try:
            turns = 0
            while self._now < t:
                await _checkpoint()
                if self._waiting[0] is waiter:
                    turns += 1
                    if turns > _TURNS:
                        self.wait_until(self._due(t))
                        turns = 0
        finally:
            with self._lock:
                self._forget(waiter)

    def _due(self, t: float) -> float:
        """`t`, or the time of asyncio's next timer where that is earlier: `asyncio.timeout`, `anyio.fail_after`."""
        if _patches.here() is not self or not in_asyncio():
            return t
        loop = asyncio.get_running_loop()
        timers = [timer.when() for timer in getattr(loop, "_scheduled", ()) if not timer.cancelled()]
        return min(t, self._now + max(min(timers) - loop.time(), 0.0)) if timers else t

    def _forget(self, waiter: tuple[float, int]) -> None:
        if self._waiting[0] is waiter:
            heappop(self._waiting)
        else:
            self._waiting.remove(waiter)
            self._waiting.sort()

    def join(self) -> None:
        """The calling thread belongs to the relay: its sleeps are virtual while patched."""
        self._threads.add(threading.get_ident())

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Make the waiting of the client under test virtual (see the module's head)."""
        _patches.add(self)
        try:
            yield
        finally:
            _patches.remove(self)


class _Patches:
    """The patches of the process: there as long as any clock wants them.

    One set for all clocks, not one a clock: relays may overlap without being nested
    (tasks, threads), and each would put back what another had put there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clocks: list[VirtualClock] = []
        self._undo: list[tuple[Any, str, Any]] = []

    def add(self, clock: VirtualClock) -> None:
        with self._lock:
            self._clocks.append(clock)
            _entered.set(clock)
            if len(self._clocks) == 1:
                self._install()

    def remove(self, clock: VirtualClock) -> None:
        with self._lock:
            self._clocks.remove(clock)
            if not self._clocks:
                while self._undo:
                    setattr(*self._undo.pop())

    def here(self) -> VirtualClock | None:
        """The clock that the caller's waiting is meant for: that of its task, else that of its thread."""
        thread, mine = threading.get_ident(), _entered.get()
        if mine is not None and thread in mine._threads and mine in self._clocks:
            return mine
        return next((clock for clock in reversed(self._clocks) if thread in clock._threads), None)

    def _install(self) -> None:
        self._patch(time, "sleep", self._sleep)
        for name in ("monotonic", "time"):
            self._patch(time, name, self._ahead)
        # Not imported for its own sake: a client that does not have them yet cannot sleep by them.
        for module in ("asyncio", "anyio", "trio"):
            if hasattr(sys.modules.get(module), "sleep"):
                self._patch(sys.modules[module], "sleep", self._asleep)

    def _patch(self, place: Any, name: str, make: Callable[[Any], Any]) -> None:
        # What stands there now, not what stood there at import: another patch may be around this one.
        real = getattr(place, name)
        self._undo.append((place, name, real))
        setattr(place, name, make(real))

    def _sleep(self, real: Callable[[float], None]) -> Callable[[float], None]:
        def sleep(seconds: float) -> None:
            clock = self.here()
            if clock is None or not 0 <= seconds < _FOREVER:
                return real(seconds)
            clock.wait_until(clock.now + seconds)

        return sleep

    def _ahead(self, real: Callable[[], float]) -> Callable[[], float]:
        def ahead() -> float:
            clock = self.here()
            return real() if clock is None else real() + clock.now

        return ahead

    def _asleep(self, real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def sleep(delay: float, *result: Any, **named: Any) -> Any:
            clock = self.here()
            if clock is None or not 0 < delay < _FOREVER:
                return await real(delay, *result, **named)
            await clock.wait_until_async(clock.now + delay)
            return result[0] if result else named.get("result")

        return sleep


_entered: ContextVar[VirtualClock | None] = ContextVar("tickertape_clock", default=None)
_patches = _Patches()


class RealClock:
    """Real time, `speed` times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError(f"expected a speed above 0, got {speed!r}; leave it out for virtual time")
        self._speed = speed
        self._began = _monotonic()

    @property
    def now(self) -> float:
        return (_monotonic() - self._began) * self._speed

    @property
    def own(self) -> float:
        """Real time is the same for all threads."""
        return self.now

    def join(self) -> None:
        """Every thread's time is real."""

    def wait_until(self, t: float) -> None:
        if (left := t - self.now) > 0:
            _sleep(left / self._speed)

    async def wait_until_async(self, t: float) -> None:
        if (left := t - self.now) > 0:
            if in_asyncio():
                await _asyncio_sleep(left / self._speed)
            else:
                import trio

                await trio.sleep(left / self._speed)


def in_asyncio() -> bool:
    """Whether the caller runs in asyncio's event loop (and not in trio's)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _alone() -> bool:
    """Whether no other task of this event loop could run meanwhile."""
    try:
        return len(asyncio.all_tasks()) == 1
    except RuntimeError:
        return False


async def _checkpoint() -> None:
    if in_asyncio():
        await _asyncio_sleep(0)
    else:
        import trio

        await trio.lowlevel.checkpoint()
