"""What was put on: plays, how far they were played, and the jobs that answered requests began.

A `Play` is what one `play()` or `fail()` said; a `Run` is a tape of it that is under way;
a `Job` is one answered order, with the world behind its links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit

from .._errors import TickertapeError
from ._world import same_url
from .tape import Tape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._matching import When
    from ._wire import Reply, Request
    from .faults import Fault
    from .scenario import Scenario

On = Literal["chat", "poll", "web", "media", "models"]
"""Which requests a failure is for."""


class World(Protocol):
    """What stands behind an answer's links: a `scenario.Job` or a `TapeJob`."""

    @property
    def urls(self) -> Mapping[str, str]: ...

    def role_of(self, url: str) -> str | None: ...

    def answer(self, url: str, t: float) -> Reply | None: ...


class PlayError(TickertapeError, TypeError):
    """What was given to `play()` or `fail()` cannot be played."""


class Play:
    """One thing that was put on: a tape, a scenario or a failure, for some requests, so many times."""

    def __init__(
        self,
        source: Tape | Scenario | None,
        *,
        name: str,
        times: int | None,
        optional: bool,
        when: When,
        fault: Fault | None,
        failure: Reply | None = None,
        on: On = "chat",
    ) -> None:
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise PlayError(f"times={times!r}: expected a number above 0, or None for any number of times")
        self.source = source
        self.name = name
        self.times = times
        self.optional = optional
        self.when = when
        self.fault = fault
        self.failure = failure
        self.on = on
        self.played = 0
        self.runs: list[Run] = []
        """A tape as it was played so far, once for each time; several may be under way."""
        self._next: Run | None = None
        """The one that its first chat request will begin, where what is recorded in front of that was asked for."""
        self._chats: tuple[int, ...] = ()
        self._others: tuple[int, ...] = ()
        if isinstance(source, Tape):
            numbered = list(enumerate(source.interactions))
            self._chats = tuple(index for index, interaction in numbered if interaction.is_chat)
            self._others = tuple(index for index, interaction in numbered if not interaction.is_chat)

    @property
    def exhausted(self) -> bool:
        return self._begun and not (self.runs and self.runs[-1].chats)

    @property
    def _begun(self) -> bool:
        """Whether it was begun as often as `times` says."""
        return self.times is not None and self.played >= self.times

    @property
    def unplayed(self) -> str | None:
        """What the requests left over, as a sentence; None when all was played."""
        if self.optional:
            return None
        if self.played < (1 if self.times is None else self.times):
            often = "was never played" if not self.played else f"was played {self.played} of {self.times} times"
            return f"{self.name} {often}"
        rest = ", ".join(run.called(index) for run in self.runs for index in sorted(run.chats + run.others))
        return f"{self.name} was played in part: {rest} was never asked for" if rest else None

    @property
    def chat(self) -> int:
        """Which of a tape's interactions answers the next chat request."""
        return self.runs[-1].chats[0] if self.runs and self.runs[-1].chats else self._chats[0]

    def next_chat(self) -> tuple[Run | None, int]:
        """Which interaction of the tape the next chat request is answered with, and where it stood."""
        if not isinstance(self.source, Tape):
            self.played += 1
            return None, 0
        if not self.runs or not self.runs[-1].chats:
            if self.runs and not self.runs[-1].others:
                self.runs.pop()
            self.runs.append(self._next or self._run(self.source))
            self._next = None
            self.played += 1
        run = self.runs[-1]
        return run, run.chats.pop(0)

    def in_front(self, request: Request) -> tuple[Run, int] | None:
        """What the tape recorded of such a request before the first chat request, which is still to come."""
        if not isinstance(self.source, Tape) or self._begun or not self._others or self._others[0] > self._chats[0]:
            return None
        run = self._next or self._run(self.source)
        index = run.other(request)
        if index is None or index > self._chats[0]:
            return None
        self._next = run
        return run, index

    def _run(self, tape: Tape) -> Run:
        return Run(tape, list(self._chats), list(self._others))


class Run:
    """A tape while it is played: which of its interactions are still to be asked for."""

    __slots__ = ("chats", "others", "tape")

    def __init__(self, tape: Tape, chats: list[int], others: list[int]) -> None:
        self.tape = tape
        self.chats = chats
        """Answers to chat requests."""
        self.others = others
        """Answers to all other requests."""

    def other(self, request: Request) -> int | None:
        """The recorded answer to a request that is no chat request."""
        return next((index for index in self.recorded(request) if index in self.others), None) if self.others else None

    def recorded(self, request: Request) -> list[int]:
        """All answers to such a request."""
        asked = ((index, each.request) for index, each in enumerate(self.tape.interactions))
        return [
            index
            for index, recorded in asked
            if recorded is not None and recorded.method == request.method and _same_target(recorded, request)
        ]

    def called(self, index: int) -> str:
        request = self.tape.interactions[index].request
        if request is not None:
            return f"{request.method} {request.path}"
        return f"its {_ORDINALS[index]} answer" if index < len(_ORDINALS) else f"its answer number {index + 1}"


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


class Job:
    """One answered play: when it began, and the world behind its links."""

    def __init__(
        self, play: Play, world: World, began: float, pace: float, run: Run | None = None, index: int = 0
    ) -> None:
        self.play = play
        self.run = run
        self.index = index
        """Which interaction of the run's tape it was answered with."""
        self.world = world
        self.began = began
        self.pace = pace
        self.skipped = 0.0
        self.asked = began
        """When its links were last asked."""
        self.calls = 0
        """How many calls of the journal are of this job."""

    def time(self, now: float, *, poll: bool, virtual: bool) -> float:
        """Seconds since the request, as the job counts them.

        A client that polls without waiting would ask for ever, because virtual time
        stands still: each poll then counts as one pace of the job.
        """
        if poll and virtual:
            if (short := self.pace - (now - self.asked)) > 0:
                self.skipped += short
            self.asked = now
        return now - self.began + self.skipped

    def peek(self, url: str, now: float) -> Reply | None:
        """What a GET of this URL would be answered, as it was recorded, or made; nothing is used up by it."""
        source = self.play.source
        for interaction in source.interactions if isinstance(source, Tape) else ():
            recorded = interaction.request
            if recorded is not None and recorded.method == "GET" and same_url(recorded.url, url):
                return interaction.reply
        return self.world.answer(url, now - self.began + self.skipped)


def _same_target(recorded: Request, request: Request) -> bool:
    a, b = urlsplit(recorded.url), urlsplit(request.url)
    return a.path == b.path and a.query == b.query
