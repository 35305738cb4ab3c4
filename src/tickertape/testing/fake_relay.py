"""The relay in process: every httpx and httpx2 client is answered without a socket.

What tests say to it is here; `_relay.py` decides, `_router.py` answers, `_guard.py` refuses the rest.
"""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import httpx

from .._errors import TickertapeError
from ._client import Client
from ._clock import RealClock, VirtualClock
from ._errors import UnplayedError
from ._gallery import entered
from ._guard import Allowed, guarded
from ._relay import Relay
from ._router import RelayRouter
from ._verdict import ClientMisbehaved, allowed, judge

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from ._episodes import Mode
    from ._errors import UnmatchedRequest
    from ._journal import Calls
    from ._plays import On
    from ._recording import Recording
    from ._rules import RetryAfter
    from .drift import Change
    from .faults import Fault
    from .redaction import Redactor
    from .scenario import Scenario
    from .tape import Tape

    F = TypeVar("F", bound=Callable[..., Any])

_MOST = 5
"""Hints in a note; a client in a loop has hundreds."""


class FakeRelay:
    """A relay that answers every httpx and httpx2 client of the process, offline.

        with FakeRelay() as relay:
            relay.play("gpt-image-1.5/cat-drinking-milk")
            ...

    Also an async context manager, and a decorator, which hands the relay to an
    argument called `fake_relay` if the function has one. Leaving it raises
    `UnmatchedRequest` when a request matched nothing, even if the application
    swallowed the error, and `UnplayedError` when something was never asked for.

    base_url   answer only clients of this address; by default any host. `TickertapeError` where it is none
    tapes      the folder of the project's own tapes; the built-in gallery follows it. None: that of the relay around
               this one, of `TICKERTAPE_TAPES`, or `tests/tapes`
    speed      None: virtual time, nothing waits. 1.0: as recorded. 10.0: ten times as fast
    seed       of all randomness
    validate   refuse what a relay refuses: no key, no model, no messages (400 and 401)
    strict     whether plays that nothing asked for fail the test
    allow_hosts  "host" or "host:port" that may be reached: a server of the test itself, say
    patch_time   make the client's sleeps virtual as well (virtual time only)
    tape       what is played first, as by `play()`; with `record` the tape that is replayed and recorded, by its
               name in `tapes`, or its path
    record     "none", "once", "new_episodes" or "rewrite": what is asked of the real relay, and kept on
               `tape` when all went well. While it may be asked, time is real. None: no tape of its own
    redactor   with `record`: one with rules of your own, such as `Redactor.configured()`
    """

    def __init__(
        self,
        *misplaced: NoReturn,
        base_url: str | None = None,
        tapes: str | os.PathLike[str] | None = None,
        speed: float | None = None,
        seed: int = 0,
        validate: bool = True,
        strict: bool = True,
        allow_hosts: str | Iterable[str] = (),
        patch_time: bool = True,
        tape: str | os.PathLike[str] | Tape | Scenario | None = None,
        record: Mode | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        if misplaced:
            raise TickertapeError(
                f"FakeRelay({misplaced[0]!r}): expected named options only; as a decorator write @FakeRelay()"
            )
        base_url = None if base_url is None else _address(base_url)
        self._options: dict[str, Any] = {
            "base_url": base_url,
            "tapes": tapes,
            "speed": speed,
            "seed": seed,
            "validate": validate,
            "strict": strict,
            "allow_hosts": (allow_hosts,) if isinstance(allow_hosts, str) else tuple(allow_hosts),
            "patch_time": patch_time,
            "tape": tape,
            "record": record,
            "redactor": redactor,
        }
        episodes = None
        if record is not None:
            from ._episodes import episodes_of  # and the redactor with it: most tests record nothing

            episodes = episodes_of(tape, tapes, record, redactor)
            speed = 1.0 if episodes.forwards and speed is None else speed
        self.seed = seed
        self.strict = strict
        self.clock: VirtualClock | RealClock = VirtualClock() if speed is None else RealClock(speed)
        """Virtual or real seconds since the relay was made."""
        self._relay = Relay(
            base_url=base_url,
            tapes=tapes,
            seed=seed,
            validate=validate,
            virtual=speed is None,
            client=Client(self.clock),
        )
        self._recording: Recording | None = None
        if episodes is not None:
            from ._recording import Recording

            self._recording = Recording(self._relay, episodes, self.clock)
        self._allowed = Allowed(self._options["allow_hosts"])
        self.router = RelayRouter(self._relay, self.clock, self._allowed, self._recording)
        """The respx router: add routes of your own, look at `router.calls`. They are asked first."""
        self._stack: ExitStack | None = None

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
        """Answer the next `times` matching chat requests.

        `what` is a tape's name or path, a `Tape`, a `Scenario`, or a list of these in
        order. `times=None` is any number of times. `when` is a `When`, a dict of its
        fields, a function of a call, or a respx pattern. `fault` breaks the answer.
        """
        self._relay.play(what, times=times, optional=optional, when=when, fault=fault)

    def fail(
        self,
        *,
        status: int | None = None,
        fault: Fault | None = None,
        retry_after: RetryAfter | None = None,
        message: str | None = None,
        times: int | None = 1,
        optional: bool = False,
        when: Any = None,
        on: On = "chat",
    ) -> None:
        """Fail the next `times` matching requests, with an HTTP status or a fault.

        They are chat requests, unless `on` says "poll", "web", "media" or "models". A fault
        in the middle of an answer takes the answer of the play behind it, which stays to be
        played.
        """
        self._relay.fail(
            on=on,
            status=status,
            fault=fault,
            retry_after=retry_after,
            message=message,
            times=times,
            optional=optional,
            when=when,
        )

    @property
    def base_url(self) -> str:
        """What to give a client: any host will do, unless `base_url` was given."""
        return self._relay.base_url or f"{self._relay.origin}/v1"

    @property
    def calls(self) -> Calls:
        """Every request that came to the relay, in order, and what it was answered."""
        return self._relay.calls

    @property
    def unmatched(self) -> tuple[UnmatchedRequest, ...]:
        """What was asked in vain, each explained; leaving raises the first."""
        return tuple(self._relay.missed)

    def assert_well_behaved(self, *, allow: Iterable[str] = ()) -> None:
        """Raise `ClientMisbehaved` when the client cost money, hammered, gave up, or believed too much.

        Each finding is explained; `allow` names those that are meant.
        """
        names = allowed(allow)
        found = [finding for finding in judge(self.calls, end_time=self.clock.now) if finding.name not in names]
        if found:
            raise ClientMisbehaved(found)

    def reset(self) -> None:
        """Forget what was played and what was asked."""
        self._relay.reset()
        self.router.reset()

    def verify(self) -> None:
        """What leaving does: raise for a request that matched nothing, or a play that nothing asked for."""
        if self._relay.missed or self.strict:
            self._relay.verify()
        if self.strict and self._recording is not None and (left := self._recording.episodes.unplayed):
            raise UnplayedError(f"{left}. Expected all of it to be asked for; record it anew with record='rewrite'")

    # -- entering and leaving -----------------------------------------------------------

    def __enter__(self) -> FakeRelay:
        if self._stack is not None:
            raise TickertapeError("this FakeRelay was entered already: make another one")
        with ExitStack() as stack:
            self.clock.join()
            if self._recording is not None:
                self._recording.episodes.begin()
                stack.push(self._abandon)
            self.router.start()
            stack.callback(self.router.stop, quiet=True)
            if self._recording is not None and self._recording.episodes.forwards:
                from ._forward import pools_told

                stack.enter_context(pools_told())
            # By name at each refusal: reset() begins a new list.
            stack.enter_context(guarded(lambda error: self._relay.missed.append(error), self._allowed))
            stack.enter_context(entered(lambda: self._options["tapes"]))
            if isinstance(self.clock, VirtualClock) and self._options["patch_time"]:
                stack.enter_context(self.clock.patched())
            if self._options["tape"] is not None and self._recording is None:
                self.play(self._options["tape"])
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        try:
            if error is None:
                self.verify()
        except BaseException as found:
            found.add_note(self._told(found))
            self.keep(passed=False)
            raise
        if error is not None:
            error.add_note(self._told(error))
        self.keep(passed=error is None)

    def _told(self, error: BaseException) -> str:
        """What a failure report tells of the relay: its seed, what it was asked, and what it was asked in vain."""
        missed = self.unmatched
        told = [f"{type(missed[0]).__name__}: {missed[0]}"] if missed and error not in missed else []
        seed = f"fake relay: FakeRelay(seed={self.seed}) draws the same again"
        return "\n".join((seed, str(self.calls), *self.calls.hints()[:_MOST], *told))

    def close(self) -> None:
        """Stop answering, without judging. Calls stay to be read."""
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()

    def _abandon(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let go of the tape where entering failed."""
        if kind is not None and self._recording is not None:
            self._recording.episodes.end()

    @property
    def tapes_played(self) -> frozenset[str]:
        """The names of the tapes that requests were answered from."""
        recorded = set() if self._recording is None else {self._recording.episodes.name}
        return frozenset(recorded | self._relay.tapes_played)

    def keep(self, *, passed: bool) -> None:
        """Write what was recorded, if the test passed; what leaving does, after `verify`.

        Raises `TapeError` when it cannot be written: the tape is as it was then.
        """
        if self._recording is not None:
            try:
                if passed:
                    self._recording.episodes.save()
            finally:
                self._recording.episodes.end()

    @property
    def drift(self) -> list[Change]:
        """How the tape that was recorded anew differs in shape from the one it replaced; for `record="rewrite"`."""
        return [] if self._recording is None else self._recording.episodes.drift

    async def __aenter__(self) -> FakeRelay:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        if inspect.isclass(function):
            raise TickertapeError(
                f"@FakeRelay() on the class {function.__name__}: expected a function; decorate its methods, "
                'or use @pytest.mark.usefixtures("fake_relay")'
            )
        wants = "fake_relay" in inspect.signature(function).parameters

        def relay(kwargs: dict[str, Any]) -> FakeRelay:
            # One of its own for every call: a decorated test may be parametrised.
            made = FakeRelay(**self._options)
            if wants:
                kwargs["fake_relay"] = made
            return made

        wrapped: Any
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):

            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                with relay(kwargs):
                    return await function(*args, **kwargs)

        elif inspect.isasyncgenfunction(function):

            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                with relay(kwargs):
                    async for item in function(*args, **kwargs):
                        yield item

        elif inspect.isgeneratorfunction(function):

            def wrapped(*args: Any, **kwargs: Any) -> Any:
                with relay(kwargs):
                    return (yield from function(*args, **kwargs))

        else:

            def wrapped(*args: Any, **kwargs: Any) -> Any:
                with relay(kwargs):
                    result = function(*args, **kwargs)
                    if inspect.iscoroutine(result):  # it would run when the relay is gone, and reach the network
                        result.close()
                        raise TickertapeError(
                            f"@FakeRelay() on {function.__name__}: it is no coroutine function and returned a "
                            "coroutine; decorate the coroutine function itself"
                        )
                    return result

        wrapped = wraps(function)(wrapped)
        if wants:  # pytest must not look for a fixture that the decorator gives
            signature = inspect.signature(function)
            kept = [p for p in signature.parameters.values() if p.name != "fake_relay"]
            wrapped.__signature__ = signature.replace(parameters=kept)
        return cast("F", wrapped)

    def __repr__(self) -> str:
        plain = {name: each.default for name, each in inspect.signature(FakeRelay).parameters.items()}
        given = ", ".join(f"{k}={v!r}" for k, v in self._options.items() if repr(v) != repr(plain[k]))
        return f"FakeRelay({given})"


def _address(base_url: str) -> str:
    """As requests write it: scheme and host in lower case, without the scheme's own port."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise TickertapeError(f"base_url={base_url!r}: expected a URL with its scheme, such as 'https://relay.mine/v1'")
    return f"{url.scheme}://{url.netloc.decode()}{url.raw_path.decode().partition('?')[0]}"
