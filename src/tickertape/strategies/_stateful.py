"""A state machine for projects that keep jobs: order, look, wait, call off, order again, with faults."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_args

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, multiple, precondition, rule

from ..task import Status
from ..testing._verdict import retry_after
from ..testing.fake_relay import FakeRelay
from ..testing.faults import Fault
from ..testing.scenario import Scenario
from ._played import faults, scenarios

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..testing._clock import VirtualClock
    from ..testing._journal import Call

STATUSES = get_args(Status)
FINAL = ("completed", "failed", "incomplete")
TROUBLES = (Fault.status(503), Fault.reset(), Fault.html(502), Fault.status(429, retry_after=20), Fault.refused())
"""What a poll link answers while it is out of order. A Retry-After is shorter than `interval`."""


@dataclass(eq=False)
class Held:
    """A job that the client keeps."""

    handle: Any
    """What `submit()` returned."""
    prompt: str
    scenario: Scenario
    number: Any
    """The relay's own, of the last order; None where no order reached it."""
    broken: bool
    """Whether a fault was in the way."""
    status: str | None = None
    """What `poll()` said last."""

    def __repr__(self) -> str:
        return f"<job {self.prompt!r}: {self.scenario!r}>"


class RelayMachine(RuleBasedStateMachine):
    """Drives a client that keeps jobs, and checks what it says of them against what became of them.

    Subclass it, as any machine of hypothesis; say how the client orders (`submit`), asks
    (`poll`) and, if it can, calls off (`cancel`); and let pytest run its `TestCase`:

        class Bot(RelayMachine):
            refusals = (openai.APIError,)

            def start(self):
                self.bot = PictureBot(OpenAI(base_url="https://relay.example/v1", api_key="sk-test"))

            def submit(self, prompt):
                return self.bot.order(prompt)

            def poll(self, job):
                return self.bot.status(job)

        TestBot = Bot.TestCase

    Checked is that each job ends with a verdict, that none is completed before its relay
    has completed it or fails while nothing failed, that a verdict stays, that a job called
    off is left alone, that `submit` and `poll` raise `refusals` alone, and at the end all that
    `FakeRelay.assert_well_behaved()` finds. Rules and invariants of your own see `self.relay`.
    """

    scenarios: ClassVar[st.SearchStrategy[Scenario]] = scenarios()
    """What is played; prompts are replaced by such as no other order has."""
    stream: ClassVar[bool] = True
    """Whether the client asks for streams: what faults must break."""
    allow_faults: ClassVar[bool] = True
    refusals: ClassVar[tuple[type[Exception], ...]] = ()
    """What `submit()` may raise when there is no job to keep, and `poll()` while its link is out of order."""
    allow: ClassVar[tuple[str, ...]] = ()
    """Findings of `assert_well_behaved()` that are meant."""
    interval: ClassVar[float] = 30.0
    """Seconds that pass before each look: polls are not the machine's to hammer with."""
    patience: ClassVar[float] = 3600.0
    """Seconds in which a job must end with a verdict, once nothing else happens."""

    jobs = Bundle("jobs")

    # -- what a subclass says ------------------------------------------------------------

    def start(self) -> None:
        """Make the client. `self.relay` answers it."""

    def submit(self, prompt: str) -> Any:
        """Order a job, and return what the client keeps of it."""
        raise NotImplementedError("a RelayMachine needs submit(prompt): order a job with your client and return it")

    def poll(self, job: Any) -> str:
        """One of the words of `Task.status`, for what `submit()` returned."""
        raise NotImplementedError("a RelayMachine needs poll(job): the status that your client tells of the job")

    def cancel(self, job: Any) -> None:
        """Give a job up; only machines that override it are asked to."""

    # -- the machine ---------------------------------------------------------------------

    def __init__(self) -> None:
        super().__init__()
        self.relay = FakeRelay(strict=False)
        self._clock = cast("VirtualClock", self.relay.clock)
        self._held: list[Held] = []
        self._left: list[tuple[Held, int]] = []
        self._orders = 0
        self._free_at = 0.0
        self._sound = True
        self._meant: set[str] = set(self.allow)
        self.relay.__enter__()
        try:
            self.start()
        except BaseException:
            self.relay.close()
            raise

    @rule(target=jobs, data=st.data())
    def order(self, data: st.DataObject) -> Held | MultipleResults[Held]:
        """A job is ordered; on its way something may go wrong."""
        with self._judged():
            self._orders += 1
            drawn = data.draw(self.scenarios, label="scenario")
            scenario = Scenario(replace(drawn.intent, prompt=f"job {self._orders}"))
            held = self._submit(scenario, data)
            if held is None:
                return multiple()
            self._held.append(held)
            return held

    @rule(job=jobs)
    def look(self, job: Held) -> None:
        """The client is asked what became of a job."""
        if job in self._held:
            with self._judged():
                self._look(job)

    @precondition(lambda self: self.allow_faults)
    @rule(job=jobs, fault=st.sampled_from(TROUBLES))
    def look_in_vain(self, job: Held, fault: Fault) -> None:
        """The client asks while the poll link is out of order, which says nothing of the job."""
        if job in self._held:
            with self._judged():
                self.relay.fail(fault=fault, on="poll", optional=True)
                try:
                    self._look(job)
                except self.refusals:
                    pass  # not a verdict either
                finally:
                    self.relay._relay.plays.clear()

    @rule(seconds=st.sampled_from([1.0, 30.0, 600.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._clock.advance(seconds)

    @precondition(lambda self: type(self).cancel is not RelayMachine.cancel)
    @rule(job=jobs)
    def call_off(self, job: Held) -> None:
        """A job is called off, and left alone from then on."""
        if job in self._held:
            with self._judged():
                self.cancel(job.handle)
                self._held.remove(job)
                self._left.append((job, self._calls(job)))
                self._meant.add("gave_up")

    @rule(target=jobs, job=jobs, data=st.data())
    def order_again(self, job: Held, data: st.DataObject) -> Held | MultipleResults[Held]:
        """What failed is ordered once more."""
        if job not in self._held or job.status != "failed":
            return multiple()
        with self._judged():
            self._held.remove(job)
            self._meant |= {"submitted_twice", "retried_hopeless"}  # it is the machine that does
            drawn = data.draw(self.scenarios, label="scenario")
            held = self._submit(Scenario(replace(drawn.intent, prompt=job.prompt)), data)
            if held is None:
                return multiple()
            self._held.append(held)
            return held

    def teardown(self) -> None:
        try:
            if self._sound:
                for job in self._held:
                    self._settle(job)
                for job, calls in self._left:
                    assert self._calls(job) == calls, f"{job} was called off, and the relay asked for it again"
                self.relay.assert_well_behaved(allow=self._meant)
        finally:
            self.relay.close()

    # -- steps -----------------------------------------------------------------------------

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """A step that went wrong is the finding: what is left behind is not judged as well."""
        try:
            yield
        except BaseException:
            self._sound = False
            raise

    def _submit(self, scenario: Scenario, data: st.DataObject) -> Held | None:
        fault = None
        if self.allow_faults:
            fault = data.draw(st.none() | faults(scenario, stream=self.stream), label="fault")
        relay, before = self.relay, len(self.relay.calls)
        if fault is not None:
            relay.fail(fault=fault, optional=True)
        relay.play(scenario, times=None, optional=True)
        self._clock.advance(max(0.0, self._free_at - relay.clock.now))
        try:
            handle = self.submit(scenario.intent.prompt)
        except self.refusals:
            self._heed(relay.calls[before:])
            return None
        finally:
            relay._relay.plays.clear()  # what is ordered later is another job
        numbers = [call.job for call in relay.calls[before:] if call.job is not None]
        return Held(handle, scenario.intent.prompt, scenario, numbers[-1] if numbers else None, fault is not None)

    def _heed(self, calls: Sequence[Call]) -> None:
        """Note the Retry-After of a refused order: the next one is the machine's to wait with, not the client's."""
        wait = retry_after(calls[-1]) if calls else None
        if wait is not None:
            self._free_at = self.relay.clock.now + wait

    def _look(self, job: Held) -> str:
        self._clock.advance(self.interval)
        status = self.poll(job.handle)
        assert status in STATUSES, f"{job}: poll() said {status!r}; expected one of {', '.join(STATUSES)}"
        assert job.status not in ("completed", "failed") or status == job.status, (
            f"{job}: a verdict stays, but {job.status} became {status}"
        )
        job.status = status
        truth = self._truth(job)
        if status == "completed":
            assert truth == "completed", f"{job}: the client says completed, the relay's job is {truth or 'unknown'}"
        elif status == "failed" and not job.broken and self._undisturbed(job):
            assert truth == "failed", f"{job}: the client says failed, nothing failed, and the relay's job is {truth}"
        return status

    def _settle(self, job: Held) -> None:
        waited = 0.0
        while self._look(job) not in FINAL:
            waited += self.interval
            assert waited < self.patience, f"{job}: no verdict after {waited:g} s, poll() still says {job.status}"

    def _truth(self, job: Held) -> str | None:
        """What became of the job at the relay by now."""
        if job.number is None:
            return None
        played = self.relay._relay._jobs[job.number]
        status_at: Any = getattr(played.world, "status_at", lambda t: None)
        return str(status_at(self.relay.clock.now - played.began + played.skipped))

    def _undisturbed(self, job: Held) -> bool:
        """Whether its orders were answered to the end. A poll that broke off is no reason to call a job failed."""
        orders = (call for call in self.relay.calls.chats if call.job == job.number)
        return all(call.ended == "eof" for call in orders)

    def _calls(self, job: Held) -> int:
        return sum(call.job == job.number for call in self.relay.calls) if job.number is not None else 0
