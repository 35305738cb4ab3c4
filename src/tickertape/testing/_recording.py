"""A fake relay that also records: the tape's answers first, then the real relay's.

What plays counts before the tape, so that a test may let the first request fail and
record the second. Links of answers that were replayed, and that the tape does not hold,
are served as those of any tape: the real relay does not know placeholders.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ._endpoints import answer, orders
from ._forward import MARK, Forward
from ._matching import condition
from ._plays import Job, Play
from ._relay import is_chat
from ._world import TapeJob
from .tape import Tape

if TYPE_CHECKING:
    import httpx

    from ._clock import RealClock, VirtualClock
    from ._episodes import Episodes
    from ._facts import Interaction
    from ._journal import Call
    from ._relay import Relay
    from ._wire import Request


class Recording:
    """What a router asks instead of the relay alone."""

    def __init__(self, relay: Relay, episodes: Episodes, clock: VirtualClock | RealClock) -> None:
        self._relay = relay
        self._clock = clock
        self.episodes = episodes

    @staticmethod
    def passes(request: httpx.Request) -> bool:
        """Whether this is a request of ours, on its way to the network."""
        return MARK in request.extensions

    def answer(self, request: Request, now: float) -> Call | None:
        """The call that answers; None for what is to be forwarded, or matches nothing."""
        with self._relay.lock:
            return self._answer(request, now)

    def _answer(self, request: Request, now: float) -> Call | None:
        relay, episodes = self._relay, self.episodes
        if orders(request) and relay.plays and (call := answer(relay, request, now)) is not None:
            return call
        if (interaction := episodes.replay(request)) is not None:
            return self._replayed(request, interaction, now)
        if not episodes.forwards:
            return answer(relay, request, now)
        if request.method in ("GET", "HEAD"):
            return relay._recorded(request, now) or relay._linked(request, now)
        return None

    def forward(self, request: httpx.Request, arrived: Request) -> Forward:
        """Ask the real relay. To be sent by the caller, which may be asynchronous."""
        kind = "chat" if is_chat(arrived) else "other"
        with self._relay.lock:
            call = self._relay._call(arrived, self._clock.now, kind, answer="the real relay")
        return Forward(request, self.episodes.recorder, call, lambda: self._clock.now)

    def _replayed(self, request: Request, interaction: Interaction, now: float) -> Call:
        relay, name = self._relay, f"tape {self.episodes.path.stem}"
        reply = interaction.reply
        if self.episodes.forwards:  # time is real, and nobody wants to wait for what was
            reply = tuple(replace(step, t=0.0) for step in reply)
        if not is_chat(request):
            kind = "poll" if request.method == "GET" else "other"
            return relay._call(request, now, kind, answer=name, reply=reply)
        tape = Tape(name, interactions=(interaction,))
        world = TapeJob(tape, relay._begun)
        play = Play(tape, name=name, times=1, optional=True, when=condition(None), fault=None)
        job = relay.begin(Job(play, world, now, world.pace))
        return relay._call(request, now, "chat", answer=name, reply=reply, job=job)
