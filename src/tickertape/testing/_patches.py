"""What a client waits with, made virtual: there as long as a virtual clock is entered.

`time.sleep`, `asyncio.sleep`, `anyio.sleep` and `trio.sleep` move the clock, and
`time.monotonic` and `time.time` show it, so that a deadline that a client computes
comes when it should; so does one that asyncio keeps (`asyncio.timeout`,
`anyio.fail_after`), whose loop looks at `time.monotonic`. Deadlines of trio's scopes
stay real. Only threads that belong to a relay are meant: the one that entered it,
and those that have called it.
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


class Patches:
    """The patches of the process.

    One set for all clocks, not one a clock: relays may overlap without being nested
    (tasks, threads), and each would put back what another had put there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clocks: list[VirtualClock] = []
        self._standing: dict[tuple[Any, str], Any] = {}
        """Of each place, what we have put there."""
        self._ours: dict[int, Any] = {}
        """Of each real thing, by its id, what stands for it."""
        self._real: dict[int, Any] = {}
        """The other way round. Both are kept: another patch (monkeypatch, freezegun) that found one of ours in a
        place puts it back there when we are gone, and it must not be taken for the real thing then."""

    def add(self, clock: VirtualClock) -> None:
        with self._lock:
            self._clocks.append(clock)
            _entered.set(clock)
            self._stand()

    def remove(self, clock: VirtualClock) -> None:
        with self._lock:
            self._clocks.remove(clock)
            if not self._clocks:
                for (place, name), ours in self._standing.items():
                    if getattr(place, name) is ours:  # else another patch stands there, and is not ours to take away
                        setattr(place, name, self._real[id(ours)])
                self._standing.clear()

    def here(self) -> VirtualClock | None:
        """The clock that the caller's waiting is meant for: that of its task, else that of its thread."""
        thread, mine = threading.get_ident(), _entered.get()
        if mine is not None and thread in mine._threads and mine in self._clocks:
            return mine
        return next((clock for clock in reversed(self._clocks) if thread in clock._threads), None)

    def _stand(self) -> None:
        """Patch every place where nothing of ours stands: at first, and where another patch put the real thing back."""
        self._patch(time, "sleep", self._sleep)
        for name in ("monotonic", "time"):
            self._patch(time, name, self._ahead)
        # Not imported for its own sake: a client that does not have them yet cannot sleep by them.
        for module in ("asyncio", "anyio", "trio"):
            if hasattr(sys.modules.get(module), "sleep"):
                self._patch(sys.modules[module], "sleep", self._asleep)

    def _patch(self, place: Any, name: str, make: Callable[[Any], Any]) -> None:
        # What stands there now, not what stood there at import: another patch may be around this one.
        found = getattr(place, name)
        real = self._real.get(id(found), found)
        if id(real) not in self._ours:
            self._ours[id(real)] = ours = make(real)
            self._real[id(ours)] = real
        self._standing[place, name] = self._ours[id(real)]
        setattr(place, name, self._ours[id(real)])

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
            return real() if clock is None else real() + clock.now

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
        ours = self._standing.get((time, "monotonic"))
        if ours is not None and time.monotonic is self._real[id(ours)]:
            with self._lock:
                self._stand()


_entered: ContextVar[VirtualClock | None] = ContextVar("tickertape_clock", default=None)
patches = Patches()
