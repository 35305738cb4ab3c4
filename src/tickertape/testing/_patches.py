"""Patches of the process: how they are put and taken away, and those of what a client waits with.

`time.sleep`, `asyncio.sleep`, `anyio.sleep` and `trio.sleep` move the virtual clock, and
`time.monotonic` and `time.time` show it, so that a deadline that a client computes
comes when it should; so does one that asyncio keeps (`asyncio.timeout`,
`anyio.fail_after`), whose loop looks at `time.monotonic`. Deadlines of trio's scopes
stay real. Only threads that belong to a relay are meant: the one that entered it,
and those that have called it. What is patched to keep the network away is in `_guard.py`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._clock import VirtualClock

sleep = time.sleep
monotonic = time.monotonic
asyncio_sleep = asyncio.sleep

_FOREVER = 10 * 365 * 86400.0
"""A sleep this long means "until cancelled" and stays real."""


class Places:
    """What of ours stands in which places.

    Another patch (monkeypatch, freezegun) that finds one of ours in a place puts it back there
    when we are gone. It is inert then; but it must not be taken for the real thing later on, or
    we would patch our own patch, one deeper each time.
    """

    def __init__(self) -> None:
        self._standing: dict[tuple[Any, str], tuple[Any, bool]] = {}
        """Of each place, what we have put there, and whether the place had it from a base class."""
        self._ours: dict[int, Any] = {}
        """Of each real thing, by its id, what stands for it."""
        self._real: dict[int, Any] = {}
        """The other way round."""

    def put(self, place: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Patch it, unless ours stands there; over what stands there now, not what stood there at import."""
        found = getattr(place, name)
        if found is self._standing.get((place, name), (None,))[0]:
            return
        real = self._real.get(id(found), found)
        if id(real) not in self._ours:
            self._ours[id(real)] = ours = make(real)
            self._real[id(ours)] = real
        _, inherited = self._standing.get((place, name), (None, name not in vars(place)))
        self._standing[place, name] = self._ours[id(real)], inherited
        setattr(place, name, self._ours[id(real)])

    def bare(self, place: Any, name: str) -> bool:
        """Whether somebody has put the real thing back where ours should stand."""
        ours, _ = self._standing.get((place, name), (None, False))
        return ours is not None and getattr(place, name) is self._real[id(ours)]

    def take_away(self) -> None:
        while self._standing:
            (place, name), (ours, inherited) = self._standing.popitem()
            if vars(place).get(name) is not ours:  # another patch stands there, and is not ours to take away
                continue
            if inherited:
                delattr(place, name)
            else:
                setattr(place, name, self._real[id(ours)])


class Patches:
    """What a client waits with.

    One set for all clocks, not one a clock: relays may overlap without being nested
    (tasks, threads), and each would put back what another had put there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clocks: list[VirtualClock] = []
        self._places = Places()

    def add(self, clock: VirtualClock) -> None:
        with self._lock:
            if (around := self.here()) is not None:
                clock.offset = around.offset + around.now
            self._clocks.append(clock)
            _entered.set(clock)
            self._stand()

    def remove(self, clock: VirtualClock) -> None:
        with self._lock:
            self._clocks.remove(clock)
            if not self._clocks:
                self._places.take_away()

    def here(self) -> VirtualClock | None:
        """The clock that the caller's waiting is meant for: that of its task, else that of its thread."""
        thread, mine = threading.current_thread(), _entered.get()
        if mine is not None and thread in mine._threads and mine in self._clocks:
            return mine
        return next((clock for clock in reversed(self._clocks) if thread in clock._threads), None)

    def _stand(self) -> None:
        self._places.put(time, "sleep", self._sleep)
        for name in ("monotonic", "time"):
            self._places.put(time, name, self._ahead)
        # Not imported for its own sake: a client that does not have them yet cannot sleep by them.
        for module in ("asyncio", "anyio", "trio"):
            if hasattr(sys.modules.get(module), "sleep"):
                self._places.put(sys.modules[module], "sleep", self._asleep)

    def _sleep(self, real: Callable[[float], None]) -> Callable[[float], None]:
        def sleep(seconds: float) -> None:
            clock = self.here()
            if clock is None or not 0 <= seconds < _FOREVER:
                return real(seconds)
            self._renew()
            clock.wait_until(clock.now + seconds)

        return sleep

    def _ahead(self, real: Callable[[], float]) -> Callable[[], float]:
        def ahead() -> float:
            clock = self.here()
            return real() if clock is None else real() + clock.offset + clock.now

        return ahead

    def _asleep(self, real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def sleep(delay: float, *result: Any, **named: Any) -> Any:
            clock = self.here()
            if clock is None or not 0 < delay < _FOREVER:
                return await real(delay, *result, **named)
            self._renew()
            await clock.wait_until_async(clock.now + delay)
            return result[0] if result else named.get("result")

        return sleep

    def _renew(self) -> None:
        """A patch that was laid over ours and is gone (freezegun's) has put the real clock back: so do we ours."""
        if self._places.bare(time, "monotonic"):
            with self._lock:
                self._stand()


_entered: ContextVar[VirtualClock | None] = ContextVar("tickertape_clock", default=None)
patches = Patches()
