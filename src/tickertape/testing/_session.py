"""One relay of the server: what is played, the journal, and what is under way.

A server has a default session, which is the one a test in Python speaks to, and
named ones, which parallel tests of other languages keep to themselves. The test
speaks to it from its thread, the server from the event loop's: a lock stands
between.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from .._errors import TickertapeError
from . import _endpoints
from ._feed import Feed
from ._links import moved_to
from ._pace import Pace
from ._relay import Relay
from ._verdict import ClientMisbehaved, allowed, judge
from .scenario import Scenario
from .tape import Tape

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from ._errors import UnmatchedRequest
    from ._exchange import Exchange
    from ._journal import Call, Calls
    from ._verdict import Finding
    from ._wire import Reply, Request
    from .faults import Fault

    Fallback = Callable[[Request], Tape | Scenario]

DEFAULT = ""
"""The name of the default session."""
MOST_SESSIONS = 256
"""Far above the workers of any test runner: what asks for more forgot to end them."""

_MOST_MOVED = 64
"""Tapes whose links are led to the server once, and not anew for each request."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class SessionError(TickertapeError, ValueError):
    """A name that no session can have, or one session too many."""


@dataclass(frozen=True)
class Options:
    """What `RelayServer` takes, of what its sessions need."""

    tapes: str | os.PathLike[str] | None = None
    speed: float = 0.0
    seed: int = 0
    validate: bool = True
    strict: bool = True
    rewrite_links: bool = True
    keep: int | None = None


class Session:
    """A relay behind a lock. Its methods are those of `FakeRelay`."""

    def __init__(self, name: str, url: str, pace: Pace, options: Options, feed: Feed | None = None) -> None:
        self.name = name
        self.pace = pace
        self.options = options
        self.origin = f"{url}/@{name}" if name else url
        """Where links of tapes lead: a client that follows them stays in its session."""
        self.base_url = f"{self.origin}/v1"
        self.feed = feed or Feed()
        self.under_way: set[Exchange] = set()
        """For the event loop only."""
        self.fallback: Fallback | None = None
        """What answers a chat request that nothing was played for."""
        self.errors: deque[BaseException] = deque(maxlen=options.keep)
        """What went wrong in the server while it answered: a fault without a place, a `when` that raised."""
        self._lock = threading.RLock()
        # Other ids and URLs for every session: what a link without a session's name belongs to is certain.
        seed = (
            int.from_bytes(blake2b(f"{options.seed}/{name}".encode(), digest_size=4).digest()) if name else options.seed
        )
        self._relay = Relay(
            origin=url,
            tapes=options.tapes,
            seed=seed,
            validate=options.validate,
            virtual=not options.speed,
            keep=options.keep,
            forgotten=self.feed.forget,
        )
        self._moved: dict[int, tuple[Tape, Tape]] = {}
        """Tapes by their `id`, each with itself as it is served: the same few are played over and over."""

    # -- what a test says ---------------------------------------------------------------

    def play(
        self,
        what: Any,
        *,
        times: int | None = 1,
        optional: bool = False,
        when: Any = None,
        fault: Fault | None = None,
    ) -> None:
        put_on = self._loaded(what)
        with self._lock:
            self._relay.play(put_on, times=times, optional=optional, when=when, fault=fault)

    def fail(self, **told: Any) -> None:
        with self._lock:
            self._relay.fail(**told)

    @property
    def calls(self) -> Calls:
        return self._relay.calls

    def findings(self, allow: Iterable[str] = ()) -> list[Finding]:
        names = allowed(allow)
        with self._lock:
            calls, now = list(self.calls), self.pace.now
        # Without the lock, for which the next request waits: of many calls a judge takes a while.
        return [each for each in judge(calls, end_time=now) if each.name not in names]

    def assert_well_behaved(self, *, allow: Iterable[str] = ()) -> None:
        if found := self.findings(allow):
            raise ClientMisbehaved(found)

    def reset(self) -> None:
        with self._lock:
            self._relay.reset()
            self.errors.clear()
            self.feed.reset()

    def verify(self) -> None:
        with self._lock:
            if self.errors:
                raise self.errors[0]
            if self._relay.missed or self.options.strict:
                self._relay.verify()

    @property
    def unmatched(self) -> list[str]:
        """What was asked in vain, each explained."""
        return [str(error) for error in self._relay.missed]

    @property
    def unplayed(self) -> list[str]:
        """What was played and not asked for, a sentence each."""
        return [told for play in self._relay.plays if (told := play.unplayed)]

    # -- what the server asks -----------------------------------------------------------

    def answer(self, request: Request) -> Call | None:
        """The call that answers, now; None when nothing does."""
        relay = self._relay
        with self._lock:
            if self.fallback is None or not _endpoints.orders(request):
                return _endpoints.answer(relay, request, self.pace.now)
            relay.plays = [play for play in relay.plays if not play.exhausted]
            call = _endpoints.answer(relay, request, self.pace.now) if relay.plays else None
            if call is None:
                relay.play(self._loaded(self.fallback(request)), optional=True)
                last = relay.plays[-1]
                call = _endpoints.answer(relay, request, self.pace.now)
                if not last.played:  # the relay's rules refused the request
                    relay.plays.remove(last)
            return call

    def missed(self, request: Request) -> UnmatchedRequest:
        """Note a request that nothing answers, and explain it."""
        with self._lock:
            error = self._relay.unmatched(request, self.pace.now)
            self.feed.changed(self.calls.last)
            return error

    def cut(self) -> None:
        """Break off what is under way. From the event loop only."""
        for exchange in list(self.under_way):
            exchange.cut()

    def knows(self, url: str) -> bool:
        """Whether a link of an answer of this session leads there."""
        with self._lock:
            return any(job.world.answer(url, 0.0) is not None for job in self._relay._jobs.values())

    def peek(self, url: str) -> Reply | None:
        """What a link of an answer that leads here would be answered now. Nobody has asked: nothing is noted."""
        if "://" in url and not url.startswith(self._relay.origin + "/"):
            return None
        with self._lock:
            for job in reversed(self._relay._jobs.values()):
                if (reply := job.peek(url, self.pace.now)) is not None:
                    return reply
        return None

    def _loaded(self, what: Any) -> Any:
        """Tapes, read, with their links led to this server; everything else as it is."""
        if isinstance(what, Tape):
            return self._led_here(what) if self.options.rewrite_links else what
        if isinstance(what, list | tuple):
            return [self._loaded(each) for each in what]
        if isinstance(what, str) or hasattr(what, "__fspath__"):
            return self._loaded(Tape.load(what, folder=self.options.tapes))
        return what

    def _led_here(self, tape: Tape) -> Tape:
        if id(tape) not in self._moved:
            if len(self._moved) == _MOST_MOVED:
                self._moved.clear()
            self._moved[id(tape)] = tape, moved_to(self.origin, tape)
        return self._moved[id(tape)][1]


class Sessions:
    """The sessions of a server by name; made when they are first named. Thread-safe."""

    def __init__(self, url: str, options: Options) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._begin(options, Feed())

    def _begin(self, options: Options, feed: Feed) -> None:
        self.options = options
        self.pace = Pace(options.speed)
        self.default = Session(DEFAULT, self._url, self.pace, options, feed)
        self._sessions = {DEFAULT: self.default}

    def __getitem__(self, name: str) -> Session:
        """Raises `SessionError`."""
        with self._lock:
            if (session := self._sessions.get(name)) is not None:
                return session
            if not _NAME.fullmatch(name):
                raise SessionError(
                    f"session {name[:80]!r}: expected 1 to 64 letters, digits, dots, underscores and hyphens, "
                    "a letter or digit first; call it 'worker-3'"
                )
            if len(self._sessions) > MOST_SESSIONS:
                raise SessionError(
                    f"session {name!r}: there are {MOST_SESSIONS} already; "
                    "end those that are done with POST /__tickertape__/reset, or use fewer names"
                )
            session = self._sessions[name] = Session(name, self._url, self.pace, self.options)
            session.fallback = self.default.fallback
            return session

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def owner(self, url: str) -> Session:
        """Whose link this is; the default session where nobody knows."""
        if len(self._sessions) == 1:
            return self.default
        return next((session for session in self if session.knows(url)), self.default)

    def end(self, name: str) -> None:
        """Forget what a session played and was asked, and, unless it is the default one, the session itself."""
        with self._lock:
            session = self.default if name == DEFAULT else self._sessions.pop(name, None)
        if session is not None:
            session.reset()

    def reset(self, options: Options) -> list[Session]:
        """Begin anew; what there was, to be cut. Whoever watches the default session goes on to watch it."""
        with self._lock:
            ended, fallback = list(self._sessions.values()), self.default.fallback
            self.default.feed.reset()
            self._begin(options, self.default.feed)
            self.default.fallback = fallback
            return ended
