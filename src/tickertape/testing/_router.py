"""The in-process adapter: a respx router whose answers come from the sans-I/O relay.

respx stands between httpx and its connection pool. What is added here is the walk
through a reply: waiting, the client's own timeouts, and what a socket would raise.
"""

from __future__ import annotations

import inspect
import threading
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Any, NoReturn, cast

import httpx
from respx.models import AllMockedAssertionError, PassThrough, Route
from respx.router import MockRouter

from ._client import current_task
from ._endpoints import answer
from ._errors import EndlessWait
from ._guard import is_served, port_of
from ._onward import raw_headers
from ._stacks import break_off, first_generation, mockers, module_of, raised_as_known
from ._wire import Data, Head, Request, end_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from respx.mocks import Mocker
    from respx.patterns import Pattern

    from ._clock import RealClock, VirtualClock
    from ._guard import Allowed
    from ._journal import Call
    from ._recording import Recording
    from ._relay import Relay
    from ._wire import Ending, Reply, Step


_ROUNDING = 1e-9
"""Seconds by which sums of floats may be over a timeout that they are to keep."""

_lock = threading.Lock()
"""respx's mockers are classes, one set of patches for all routers."""


class RelayRouter(MockRouter):
    """A respx router that asks the relay for what its own routes do not answer."""

    def __init__(
        self,
        relay: Relay,
        clock: VirtualClock | RealClock,
        allow: Allowed,
        recording: Recording | None = None,
    ) -> None:
        super().__init__(assert_all_called=False)
        self._recording = recording
        self._relay = relay
        self._clock = clock
        self._allow = allow
        self._mockers: tuple[type[Mocker], ...] = ()
        self._thread, self._in_task = 0, False
        self._around: RelayRouter | None = None

    def start(self) -> None:
        self.snapshot()
        self._thread, self._in_task, self._around = threading.get_ident(), current_task() is not None, _entered.get()
        _entered.set(self)
        with _lock:
            self._mockers = mockers()
            for mocker in self._mockers:
                mocker.routers.insert(0, self)  # whoever came last is asked first
                mocker.start()

    def stop(self, clear: bool = True, reset: bool = True, quiet: bool = False) -> None:
        with _lock:
            for mocker in self._mockers:
                mocker.unregister(self)
            if clear:
                self.rollback()
            if reset:
                self.reset()
            for mocker in self._mockers:
                mocker.stop()
        if _entered.get() is self:  # not where it is left in another context
            _entered.set(self._around)

    def route(self, *patterns: Pattern, name: str | None = None, **lookups: Any) -> Route:
        return self.add(_Route(*patterns, **lookups), name=name)

    def handler(self, request: httpx.Request) -> httpx.Response:
        return self._meant()._handle(request)

    async def async_handler(self, request: httpx.Request) -> httpx.Response:
        return await self._meant()._handle_async(request)

    def _meant(self) -> RelayRouter:
        """The relay that was entered in the caller's task, else the last one of its thread, else the last one."""
        relays = [router for router in self._mockers[0].routers if isinstance(router, RelayRouter)]
        if len(relays) < 2:
            return self
        mine, thread = _entered.get(), threading.get_ident()
        if mine is not None and mine in relays and mine._in_task:
            return mine
        # One that was entered outside of tasks says nothing by its context: a loop keeps that in which it was made.
        of_thread = [router for router in relays if router._thread == thread]
        of_tests = [router for router in of_thread if not router._in_task]
        return next(iter([*of_tests, *([mine] if mine in relays else []), *of_thread]), self)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self._let_pass(request)
        if self.routes:
            try:
                with raised_as_known(request):
                    return super().handler(request)
            except AllMockedAssertionError:
                pass
        exchange = self._exchange(request)
        if exchange is not None:
            exchange.begin()
            return self._respond(request, exchange)
        for other in self._others():
            try:
                with raised_as_known(request):
                    return cast("httpx.Response", other.handler(request))
            except AllMockedAssertionError:
                continue
        if self._recording is not None and self._recording.episodes.forwards:
            return self._noted(request, self._recording.forward(request, _arrived(request)).send())
        raise self._unmatched(request)

    async def _handle_async(self, request: httpx.Request) -> httpx.Response:
        self._let_pass(request)
        if self.routes:
            try:
                with raised_as_known(request):
                    return await super().async_handler(request)
            except AllMockedAssertionError:
                pass
        exchange = self._exchange(request)
        if exchange is not None:
            await exchange.begin_async()
            return self._respond(request, exchange)
        for other in self._others():
            try:
                with raised_as_known(request):
                    return cast("httpx.Response", await other.async_handler(request))
            except AllMockedAssertionError:
                continue
        if self._recording is not None and self._recording.episodes.forwards:
            return self._noted(request, await self._recording.forward(request, _arrived(request)).asend())
        raise self._unmatched(request)

    def _others(self) -> list[Any]:
        """Other routers that are active: `respx_mock`, or another relay, if not of another thread."""
        found = dict.fromkeys(router for mocker in self._mockers for router in list(mocker.routers))
        others: list[Any] = []
        for router in found:
            if not isinstance(router, RelayRouter):
                others.append(router)
            elif router is not self and router._thread == self._thread:
                others.append(_Alone(router))
        return others

    def _exchange(self, request: httpx.Request) -> Exchange | None:
        if is_served(request.url.host, _port(request.url)):
            raise PassThrough("a relay on loopback, in this process", request=request, origin=Route())
        self._clock.join()
        now = self._clock.now
        try:
            arrived, recording = _arrived(request), self._recording
            call = answer(self._relay, arrived, now) if recording is None else recording.answer(arrived, now)
        except Exception as error:
            # As a request that matched nothing: an SDK must not take it for a failing network.
            raise self._relay.unusable(_arrived(request), now, error) from error
        return None if call is None else Exchange(call, self._clock, request)

    def _respond(self, request: httpx.Request, exchange: Exchange) -> httpx.Response:
        head = exchange.head
        response = httpx.Response(
            head.status,
            headers=_on_the_wire(head, request.method),
            stream=exchange,
            request=request,
            extensions={"http_version": b"HTTP/1.1"},
        )
        return self._noted(request, response)

    def _noted(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        self.calls.record(request, response)
        return response

    def _let_pass(self, request: httpx.Request) -> None:
        """What is on its way to the network, to be recorded, is asked for by every layer of the pool."""
        if self._recording is not None and self._recording.passes(request):
            raise PassThrough("forwarded to be recorded", request=request, origin=Route())

    def _unmatched(self, request: httpx.Request) -> BaseException:
        if (request.url.host, _port(request.url)) in self._allow:
            return PassThrough("let through by allow_hosts", request=request, origin=Route())
        error = self._relay.unmatched(_arrived(request), self._clock.now)
        if self._recording is not None:
            # Of what a test played it tells only where it did play something: the tape is what it was asked for.
            played = f"\n  {error}" if self._relay.plays else ""
            asked = f"{request.method} {str(request.url).partition('?')[0]} is not on the tape."
            error.args = (f"{asked}\n  {self._recording.episodes.explain(_arrived(request))}{played}",)
        return error


_entered: ContextVar[RelayRouter | None] = ContextVar("tickertape_router", default=None)


class _Route(Route):
    """A route that takes the responses and exceptions of httpx2 as well as those of httpx."""

    @property
    def return_value(self) -> httpx.Response | None:
        return super().return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        Route.return_value.fset(self, first_generation(value))  # type: ignore[attr-defined]

    def __mod__(self, response: Any) -> Route:
        return super().__mod__(first_generation(response))

    def _next_side_effect(self) -> Any:
        return first_generation(super()._next_side_effect())

    def _call_side_effect(self, effect: Any, request: httpx.Request, **matched: Any) -> Any:
        own = {"route": self} if "route" in inspect.getfullargspec(effect).args else {}

        async def awaited(result: Any) -> Any:
            return first_generation(await result)

        def called(request: httpx.Request, **matched: Any) -> Any:
            result = effect(request, **{**matched, **own})
            return awaited(result) if inspect.isawaitable(result) else first_generation(result)

        return super()._call_side_effect(called, request, **matched)


class _Alone:
    """Another relay, asked for its own answers only: relays that ask each other would not end."""

    def __init__(self, router: RelayRouter) -> None:
        self._router = router

    def handler(self, request: httpx.Request) -> httpx.Response:
        exchange = self._router._exchange(request)
        if exchange is None:
            raise AllMockedAssertionError("nothing was played for this request")
        exchange.begin()
        return self._router._respond(request, exchange)

    async def async_handler(self, request: httpx.Request) -> httpx.Response:
        exchange = self._router._exchange(request)
        if exchange is None:
            raise AllMockedAssertionError("nothing was played for this request")
        await exchange.begin_async()
        return self._router._respond(request, exchange)


class Exchange(httpx.SyncByteStream, httpx.AsyncByteStream):
    """One reply on its way to one client: waits, honours the client's timeouts, raises what a socket would."""

    def __init__(self, call: Call, clock: VirtualClock | RealClock, request: httpx.Request) -> None:
        assert call.reply is not None
        self._call = call
        self._clock = clock
        self._core = module_of(request)
        self._asynchronous = False
        self._target = request.url.host, _port(request.url) or 80
        self._began = self._told = clock.now
        self._steps: Reply = call.reply
        # Read once, though it be asked twice: after [DONE] openai 3 drains what it has not read.
        self._rest = iter(call.reply[1:])
        timeout = request.extensions.get("timeout") or {}
        self._read: float | None = timeout.get("read")

    @property
    def head(self) -> Head:
        head = self._steps[0]
        assert isinstance(head, Head)
        return head

    def begin(self) -> None:
        """Wait for the head; raises when there is none."""
        first = self._steps[0]
        try:
            self._wait(first)
            if not isinstance(first, Head):
                self._break(first, begun=False)
        except BaseException:
            self._given_up()
            raise

    async def begin_async(self) -> None:
        self._asynchronous = True
        first = self._steps[0]
        try:
            await self._wait_async(first)
            if not isinstance(first, Head):
                self._break(first, begun=False)
        except BaseException:
            self._given_up()
            raise

    def _given_up(self) -> None:
        """A client that was cancelled, or broken off, before there was anything that it could close."""
        if self._call.ended is None:
            self._end("left")

    def __iter__(self) -> Iterator[bytes]:
        for step in self._rest:
            self._wait(step)
            if isinstance(step, Data):
                self._call.received += len(step.data)
                yield step.data
            else:
                self._finish(step)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._rest:
            await self._wait_async(step)
            if isinstance(step, Data):
                self._call.received += len(step.data)
                yield step.data
            else:
                self._finish(step)

    def close(self) -> None:
        if self._call.ended is None:  # SDKs go after [DONE], without reading the end behind it
            sent = sum(len(step.data) for step in self._steps if isinstance(step, Data))
            whole = self._call.received == sent and end_of(self._steps).how == "eof"
            self._end("eof" if whole else "left")

    async def aclose(self) -> None:
        self.close()

    # -- waiting ------------------------------------------------------------------------

    def _deadline(self, step: Step) -> tuple[float, bool]:
        """Until when to wait, and whether the client gives up then."""
        due = self._began + step.t
        # Other threads may have moved the clock since: what counts is this client's own waiting.
        asked = max(self._told, self._clock.own)
        self._told = max(asked, due)
        silent = _silent(step)
        if self._read is not None and (silent or due - asked > self._read + _ROUNDING):
            return asked + self._read, True
        if silent:
            self._end("hang")
            raise EndlessWait(
                "the relay sends nothing more and the client has no read timeout: on a socket it would wait "
                "for ever; give the client a timeout (httpx.Timeout(read=…), OpenAI(timeout=…))"
            )
        return due, False

    def _wait(self, step: Step) -> None:
        until, late = self._deadline(step)
        if until > self._clock.now:
            self._clock.wait_until(until)
        if late:
            self._late(begun=step is not self._steps[0])

    async def _wait_async(self, step: Step) -> None:
        if self._read is None and _silent(step):
            # A deadline of the event loop, or another task, may end it: by an exception here.
            await self._clock.wait_until_async(inf)
        until, late = self._deadline(step)
        if until > self._clock.now:
            await self._clock.wait_until_async(until)
        if late:
            self._late(begun=step is not self._steps[0])

    # -- ending -------------------------------------------------------------------------

    def _late(self, *, begun: bool) -> None:
        self._end("timeout")
        self._break_off("timeout", begun=begun)

    def _finish(self, step: Any) -> None:
        if step.how == "eof":
            self._end("eof")
        else:
            self._break(step, begun=True)

    def _break(self, step: Any, *, begun: bool) -> None:
        self._end(step.how)
        self._break_off(step.how, begun=begun)

    def _break_off(self, how: Ending, *, begun: bool) -> NoReturn:
        length = next((int(v) for k, v in self.head.headers if k.lower() == "content-length"), None) if begun else None
        break_off(
            self._core,
            how,
            begun=begun,
            asynchronous=self._asynchronous,
            target=self._target,
            whole=(self._call.received, length),
        )

    def _end(self, how: Any) -> None:
        self._call.ended = how
        self._call.ended_at = self._clock.now
        self._rest = iter(())


def _silent(step: Step) -> bool:
    return not isinstance(step, Data | Head) and step.how == "timeout"


def _port(url: httpx.URL) -> int | None:
    return port_of(url.scheme, url.port)


def _arrived(request: httpx.Request) -> Request:
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in request.headers.raw}
    return Request(request.method, str(request.url), headers, request.content, request)


def _on_the_wire(head: Head, method: str) -> list[tuple[bytes, bytes]]:
    """The head's headers, and the one that tells how a body without a length is sent."""
    headers = list(head.headers)
    bodiless = method == "HEAD" or head.status in (204, 304)
    if not bodiless and not {"content-length", "transfer-encoding"} & {key.lower() for key, _ in headers}:
        headers.append(("transfer-encoding", "chunked"))
    return raw_headers(headers)
