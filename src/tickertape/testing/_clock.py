"""The relay's time: virtual by default, so that a ten-minute job takes milliseconds.

On a `VirtualClock` nothing sleeps. Whoever waits moves the clock: a reply whose
next chunk leaves at 41.3 s, a client that sleeps 10 s between two polls. Where
several wait at a time (tasks of an event loop, threads, loops of several threads),
each is a party with a time, and only the earliest moves the clock, when nobody
else is about to do anything:

- the tasks of asyncio's loop, when the loop has nothing ready to run, and no timer
  of its own (`asyncio.timeout`, `anyio.fail_after`) comes before;
- trio's, when all of them are blocked;
- threads, when the others wait too, here or for a lock, a queue or a selector.

So they wake in the order of their times, as they would in real time. What the
client itself waits for is made virtual by `_patches.py`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from math import inf, ulp
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from ._patches import asyncio_sleep, monotonic, patches, sleep

if TYPE_CHECKING:
    from collections.abc import Iterator

_PASSES = 2
"""Passes of asyncio's loop without anything ready, after which it is idle: the second one has polled for I/O."""
_TURNS = 5
"""The same for loops that do not show what is ready, such as uvloop's."""
_SAMPLE = 0.0005
"""Real seconds between two looks at what other threads do."""
_CALM = 3
"""Looks in a row at which all of them were found waiting: one that was just woken still looks so."""
_PATIENCE = 0.25
"""Real seconds after which a thread that never waits is not waited for: it may sleep by a name of its own."""
_QUIET = 0.01
"""Real seconds for which a loop that holds sockets must have heard nothing: a server may be about to answer."""
_DAY, _MOVES = 86400.0, 10_000
"""Virtual seconds, and moves of the clock, after which a wait without end is given up, though other tasks go on."""

_WAITING = frozenset(
    {
        ("threading", "wait"),
        ("threading", "join"),
        ("threading", "_wait_for_tstate_lock"),
        ("concurrent.futures.thread", "_worker"),
        ("selectors", "select"),
        ("trio._core._thread_cache", "_work"),
        ("trio._core._io_epoll", "get_events"),
        ("trio._core._io_kqueue", "get_events"),
        ("trio._core._io_windows", "get_events"),
        ("asyncio.runners", "run"),  # of a loop that waits in C
        ("uvloop", "run"),
        ("tickertape.testing._patches", "sleep"),  # a thread of its own time
    }
)
"""Module and function in which a thread that waits is found: for a lock, for work, for its event loop's I/O."""
_BLOCKED = frozenset({"threading", "concurrent.futures._base"})
"""Where a thread is found whose event loop cannot go on: it waits for another thread."""
_OF_LOOPS = ("asyncio.", "selectors", "trio.", "uvloop")
"""Where it is found while the loop itself is at work."""


servers: WeakSet[threading.Thread] = WeakSet()
"""Threads of relays on loopback in this process: whoever waits, waits for their answers too."""


class VirtualClock:
    """Time that passes only when somebody waits. Thread-safe."""

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = threading.Lock()
        self._parties: dict[_Party, float] = {}
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()
        self._threads: WeakSet[threading.Thread] = WeakSet()
        """Those that belong to the relay: by themselves, for a system gives their numbers again."""
        self._before: WeakSet[threading.Thread] = WeakSet()
        """Threads that were there before the relay was: they are of the test runner."""
        self._own: WeakKeyDictionary[threading.Thread, float] = WeakKeyDictionary()
        self._busy: dict[threading.Thread, tuple[int, int]] = {}
        """Of threads that were not waited for any longer, where they were: in a call that takes its time, while they
        stay there."""
        self.offset = 0.0
        """How far the clock around this one had come when this one began: the client's time does not go back."""
        self.moves = 0

    @property
    def now(self) -> float:
        """Virtual seconds since the relay began."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass by hand."""
        _forward(seconds)
        self.wait_until(self._now + seconds)

    def wait_until(self, t: float) -> None:
        """Wait in the calling thread, at once where it is alone."""
        if t > self._now and (self._parties or self._others()):
            with _Party(self, t) as party:
                while t > self._now and not party.may_move_to(t):
                    sleep(_SAMPLE)
        self._move(t)

    @property
    def own(self) -> float:
        """Until when the calling thread itself has waited: other threads may have moved `now` on."""
        return self._own.get(threading.current_thread(), 0.0)

    async def wait_until_async(self, t: float) -> None:
        """Wait in a task. Until `inf`: until cancelled, or until nothing can happen any more."""
        if t <= self._now:
            return
        if in_asyncio():
            await self._in_asyncio(t)
        else:
            await self._in_trio(t)

    async def _in_asyncio(self, t: float) -> None:
        loop = asyncio.get_running_loop()
        if t < inf and not self._parties and _alone(loop) and self.due(t) >= t and not self._others():
            self._move(t)
            return
        waiters = self._loops.get(loop)
        if waiters is None:
            waiters = self._loops[loop] = _Loop(self)
        await waiters.wait(loop, t)

    async def _in_trio(self, t: float) -> None:
        from trio.testing import wait_all_tasks_blocked

        with _Party(self, t, in_trio=True) as party:
            while t > (now := self._now):
                await wait_all_tasks_blocked()
                # Woken together with others, one of which has moved the clock and runs on.
                if self._now == now and party.may_move_to(t):
                    break
                if self._others():
                    sleep(_SAMPLE)
        if t < inf:
            self._move(t)

    def due(self, t: float) -> float:
        """`t`, or the time of asyncio's next timer where that is earlier: `asyncio.timeout`, `anyio.fail_after`."""
        if patches.here() is not self or not in_asyncio():
            return t
        loop = asyncio.get_running_loop()
        if not (timers := _timers(loop)):
            return t
        # A little more: where time is frozen at that of the calendar, the loop's own resolution is lost in rounding.
        when = min(timers)
        return min(t, self._now + max(when - loop.time() + 2 * ulp(when), 0.0))

    def _move(self, t: float) -> None:
        with self._lock:
            self._now = max(self._now, t)
            self.moves += 1
        self._own[threading.current_thread()] = t

    def _others(self) -> bool:
        """Whether there are other threads that time must wait for: new ones, and those that have called the relay."""
        return threading.active_count() > 1 and any(self._theirs())

    def _theirs(self) -> Iterator[threading.Thread]:
        me = threading.get_ident()
        for thread in threading.enumerate():
            known = thread in self._before and thread not in self._threads and thread not in servers
            if thread.ident != me and not known:
                yield thread

    def _active(self) -> dict[threading.Thread, tuple[int, int]]:
        """Those of these threads that were not found waiting, and where they were."""
        frames = sys._current_frames()
        parties = {party.thread for party in list(self._parties)}
        active = {}
        for thread in self._theirs():
            if thread.ident is None:  # it is being started
                active[thread] = (0, 0)
            elif (frame := frames.get(thread.ident)) is not None:
                module, where = frame.f_globals.get("__name__"), (id(frame), frame.f_lasti)
                if module == __name__ and thread.ident in parties:
                    continue
                waits = (module, frame.f_code.co_name) in _WAITING
                if (waits and _runs(thread)) or (not waits and self._busy.get(thread) != where):
                    active[thread] = where
        return active

    def join(self) -> None:
        """The calling thread belongs to the relay: its sleeps are virtual while patched."""
        if not self._threads:
            self._before.update(threading.enumerate())
        self._threads.add(threading.current_thread())

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Make the waiting of the client under test virtual, see `_patches.py`."""
        patches.add(self)
        try:
            yield
        finally:
            patches.remove(self)


class _Party:
    """Somebody who waits: a thread, a task of trio, an event loop of asyncio. From now on, and until it leaves."""

    def __init__(
        self, clock: VirtualClock, t: float, loop: asyncio.AbstractEventLoop | None = None, *, in_trio: bool = False
    ) -> None:
        self._clock = clock
        self.in_trio = in_trio
        clock._parties[self] = t
        self._loop = loop
        self.thread = threading.get_ident()
        self._calm = 0
        self._since = monotonic()
        self._seen = clock.now

    def __enter__(self) -> _Party:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        self._clock._parties.pop(self, None)

    def stands_before(self, other: _Party) -> bool:
        """Whether the other must wait for this one, whose time is earlier: not if this one cannot act.

        A loop that was left with tasks in it cannot, nor one whose thread is blocked: by the other
        itself, in code that does not wait as a coroutine should, or by waiting for another thread.
        """
        if self._loop is not None and not self._loop.is_running():
            return False
        if self.thread == other.thread:
            return self.in_trio and other.in_trio
        if not (self._loop or self.in_trio):
            return True
        frame = sys._current_frames().get(self.thread)
        if frame is None or (module := str(frame.f_globals.get("__name__"))) in _BLOCKED:
            return False
        # One that is in neither its driver nor its selector computes, or waits for a socket: as long as for any thread.
        return module == __name__ or module.startswith(_OF_LOOPS) or other.patient

    @property
    def patient(self) -> bool:
        """Whether the clock has stood still for no longer than others are waited for."""
        return monotonic() - self._since < _PATIENCE

    def may_move_to(self, t: float) -> bool:
        """Whether nobody waits for an earlier time, and nobody else is about to do anything."""
        clock = self._clock
        clock._parties[self] = t
        if clock.now != self._seen:
            self._seen, self._since = clock.now, monotonic()
        # Of several with one time the one that came first looks around for all.
        first = True
        for party, until in list(clock._parties.items()):
            if party is self:
                first = False
            elif (until < t or (until == t and first)) and party.stands_before(self):
                self._calm = 0
                return False
        if not clock._others():
            return True
        active = clock._active()
        if not active:
            self._calm += 1
        elif self.patient or not servers.isdisjoint(active):
            self._calm = 0
        else:
            clock._busy.update(active)
            self._calm = _CALM
        return self._calm >= _CALM


_drivers: WeakSet[asyncio.Handle] = WeakSet()
"""What the clocks themselves have to run: of two relays in one loop each would take the other's for work to be done."""


class _Loop:
    """The waiting tasks of one event loop of asyncio, and the callback that moves the clock when the loop is idle."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._waiting: list[tuple[float, int, float, int, asyncio.Future[None]]] = []
        """Until when, its number, the clock's time and moves when it began, and what wakes it."""
        self._numbers = count()
        self._party: _Party | None = None
        self._heard = 0.0
        """When the loop last had anything to do, in real seconds."""

    async def wait(self, loop: asyncio.AbstractEventLoop, t: float) -> None:
        woken: asyncio.Future[None] = loop.create_future()
        heappush(self._waiting, (t, next(self._numbers), self._clock.now, self._clock.moves, woken))
        if self._party is None:
            self._party = _Party(self._clock, t, loop)
            _drivers.add(loop.call_soon(self._drive, loop, 0))
        await woken

    def _drive(self, loop: asyncio.AbstractEventLoop, idle: int) -> None:
        while self._waiting and self._waiting[0][-1].done():  # cancelled
            heappop(self._waiting)
        if not self._waiting:
            assert self._party is not None
            self._party.leave()
            self._party = None
            return
        ready = getattr(loop, "_ready", None)
        if ready and any(handle not in _drivers for handle in ready):
            idle, self._heard = 0, monotonic()
        elif idle < (_PASSES if ready is not None else _TURNS):
            idle += 1
        elif _holds_sockets(loop) and monotonic() - self._heard < _QUIET:
            sleep(_SAMPLE)
        elif self._moved():
            idle, self._heard = 0, monotonic()
        elif self._clock._others():
            sleep(_SAMPLE)
        _drivers.add(loop.call_soon(self._drive, loop, idle))

    def _moved(self) -> bool:
        """Move the clock to the next time, if it is this loop's turn, and wake who waited for it."""
        clock = self._clock
        t = clock.due(self._waiting[0][0])
        assert self._party is not None
        if t > clock.now and not self._party.may_move_to(t):
            return False
        if t < inf:
            clock._move(t)
        for until, _, began, moves, woken in self._waiting:
            # Nothing can end a wait without end any more, or nothing has for long.
            long = clock.now - began > _DAY or clock.moves - moves > _MOVES
            over = until <= clock.now or (until == inf and (t == inf or long))
            if over and not woken.done():
                woken.set_result(None)
        return True


class RealClock:
    """Real time, `speed` times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError(f"expected a speed above 0, got {speed!r}; leave it out for virtual time")
        self._speed = speed
        self._began = monotonic()

    @property
    def now(self) -> float:
        return (monotonic() - self._began) * self._speed

    @property
    def own(self) -> float:
        """Real time is the same for all threads."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time have passed by hand."""
        _forward(seconds)
        self._began -= seconds / self._speed

    def join(self) -> None:
        """Every thread's time is real."""

    def wait_until(self, t: float) -> None:
        if (left := t - self.now) > 0:
            sleep(left / self._speed)

    async def wait_until_async(self, t: float) -> None:
        """Wait in a task; until `inf`: until cancelled, or until no deadline is left that could do it."""
        if t == inf:
            while in_asyncio() and _timers(asyncio.get_running_loop()):
                await asyncio_sleep(_PATIENCE)
        elif (left := t - self.now) > 0:
            if in_asyncio():
                await asyncio_sleep(left / self._speed)
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


def _alone(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether nothing else of this event loop could run meanwhile."""
    return not getattr(loop, "_ready", True) and len(asyncio.all_tasks(loop)) == 1


def _runs(thread: threading.Thread) -> bool:
    """Whether a thread that was found waiting has been woken, and the system has had no processor for it yet."""
    try:
        with open(f"/proc/self/task/{thread.native_id}/stat", "rb") as file:  # of Linux; elsewhere looks must do
            return file.read().rpartition(b")")[2].lstrip().startswith(b"R")
    except OSError:
        return False


def _holds_sockets(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop waits for more than its own wake-up: for a server on loopback, say."""
    selector = getattr(loop, "_selector", None)
    return selector is not None and len(selector.get_map() or ()) > 1


def _timers(loop: asyncio.AbstractEventLoop) -> list[float]:
    """When the timers of a loop are due, by its own time; none where it does not show them."""
    return [timer.when() for timer in getattr(loop, "_scheduled", ()) if not timer.cancelled()]


def _forward(seconds: float) -> None:
    if not seconds >= 0:
        raise ValueError(f"time does not go back: expected seconds >= 0, got {seconds!r}")
