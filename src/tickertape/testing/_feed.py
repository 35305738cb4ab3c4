"""What changed in a journal, for those who watch it: the inspector, a script."""

from __future__ import annotations

import threading
from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from ._journal import Call

Name = Literal["started", "progressed", "ended", "forgotten", "reset"]

_GONE = 1000
"""Calls whose end in the journal is told to those who watch; who looks more seldom sees them go on a reload."""


class Change(NamedTuple):
    """One event of the feed."""

    id: int
    """Counted from 1, never again; the Last-Event-ID of server-sent events."""
    name: Name
    call: Call | None
    """As it is now, not as it was then; None for `forgotten` and `reset`."""
    number: int | None = None
    """The call's."""


class Feed:
    """Numbers every change of a call. Thread-safe; a change costs less than a microsecond.

    It keeps two numbers for each call and no copies: whoever asks late gets the last
    state of each call that changed, and no more.
    """

    def __init__(self) -> None:
        self._version = 0
        self._reset = 0
        self._marks: dict[Call, tuple[int, int]] = {}
        """When each call started and changed last; in the order of the latter."""
        self._gone: deque[Change] = deque(maxlen=_GONE)
        self._lock = threading.Lock()

    def changed(self, call: Call) -> None:
        with self._lock:
            self._version += 1
            started, _ = self._marks.pop(call, (self._version, 0))
            self._marks[call] = (started, self._version)

    def forget(self, call: Call) -> None:
        """The journal has dropped it, to stay within its bounds."""
        with self._lock:
            self._version += 1
            self._marks.pop(call, None)
            self._gone.append(Change(self._version, "forgotten", None, call.number))

    def reset(self) -> None:
        with self._lock:
            self._version += 1
            self._reset = self._version
            self._marks.clear()
            self._gone.clear()

    def since(self, version: int) -> list[Change]:
        """What changed after `version`, in order. A version that was never reached is 0: another run's."""
        with self._lock:
            if version > self._version:
                version = 0
            changes = []
            for call, (started, changed) in reversed(self._marks.items()):
                if changed <= version:
                    break
                if started > version:
                    changes.append(Change(started, "started", call, call.number))
                if changed > started:
                    name: Name = "progressed" if call.ended is None else "ended"
                    changes.append(Change(changed, name, call, call.number))
            if version:  # who comes now was never told of them
                changes += takewhile(lambda gone: gone.id > version, reversed(self._gone))
            if self._reset > version:
                changes.append(Change(self._reset, "reset", None))
        return sorted(changes)
