"""The server's time: real, faster, or with the relay's pauses left out."""

from __future__ import annotations

import threading
import time

# A `fake_relay` beside this server patches the module's own functions.
_monotonic = time.monotonic


class Pace:
    """Seconds since the server began, `speed` times as fast as real ones.

    At speed 0 the relay's own pauses take no time: the clock jumps over them. What
    the client takes goes by really, so that a verdict sees how long it waited.
    Thread-safe.
    """

    def __init__(self, speed: float = 0.0) -> None:
        if not 0 <= speed < float("inf"):
            raise ValueError(f"speed={speed!r}: expected 0 (no pauses), 1.0 (as recorded), 10.0 (ten times as fast)")
        self.speed = speed
        self._began = _monotonic()
        self._jumped = 0.0
        self._lock = threading.Lock()

    @property
    def now(self) -> float:
        """Seconds of the relay's time since the server began."""
        return (_monotonic() - self._began) * (self.speed or 1.0) + self._jumped

    def advance(self, seconds: float) -> None:
        """Let time pass by hand. A pause that is under way is not cut short."""
        if not seconds >= 0:
            raise ValueError(f"time does not go back: expected seconds >= 0, got {seconds!r}")
        with self._lock:
            self._jumped += seconds

    def pause(self, t: float) -> float:
        """Real seconds to wait until it is `t`; at speed 0 it is `t` now."""
        left = t - self.now
        if left <= 0:
            return 0.0
        if not self.speed:
            self.advance(left)
            return 0.0
        return left / self.speed
