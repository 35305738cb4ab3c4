"""The in-process adapter: a respx router whose answers come from the sans-I/O relay.

respx stands between httpx and its connection pool. What is added here is the walk
through a reply: waiting, the client's own timeouts, and what a socket would raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

import httpx
from respx.models import AllMockedAssertionError, PassThrough, Route
from respx.router import MockRouter

from ._endpoints import answer
from ._errors import EndlessWait
from ._guard import is_served, port_of
from ._onward import raw_headers
from ._stacks import break_off, mockers, module_of
from ._wire import Data, Head, Request, end_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from respx.mocks import Mocker

    from ._clock import RealClock, VirtualClock
    from ._guard import Allowed
    from ._journal import Call
    from ._recording import Recording
    from ._relay import Relay
    from ._wire import Ending, Reply, Step


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

    def start(self) -> None:
        self.snapshot()
        self._mockers = mockers()
        for mocker in self._mockers:
            mocker.register(self)
            mocker.start()

    def stop(self, clear: bool = True, reset: bool = True, quiet: bool = False) -> None:
        for mocker in self._mockers:
            mocker.unregister(self)
        if clear:
            self.rollback()
        if reset:
            self.reset()
        for mocker in self._mockers:
            mocker.stop()

    def handler(self, request: httpx.Request) -> httpx.Response:
        self._let_pass(request)
        if self.routes:
            try:
                return super().handler(request)
            except AllMockedAssertionError:
                pass
        exchange = self._exchange(request)
        if exchange is not None:
            exchange.begin()
            return self._respond(request, exchange)
        for other in self._others():
            try:
                return cast("httpx.Response", other.handler(request))
            except AllMockedAssertionError:
                continue
        if self._recording is not None and self._recording.episodes.forwards:
            return self._noted(request, self._recording.forward(request, _arrived(request)).send())
        raise self._unmatched(request)

    async def async_handler(self, request: httpx.Request) -> httpx.Response:
        self._let_pass(request)
        if self.routes:
            try:
                return await super().async_handler(request)
            except AllMockedAssertionError:
                pass
        exchange = self._exchange(request)
        if exchange is not None:
            await exchange.begin_async()
            return self._respond(request, exchange)
        for other in self._others():
            try:
                return cast("httpx.Response", await other.async_handler(request))
            except AllMockedAssertionError:
                continue
        if self._recording is not None and self._recording.episodes.forwards:
            return self._noted(request, await self._recording.forward(request, _arrived(request)).asend())
        raise self._unmatched(request)

    def _others(self) -> list[Any]:
        """Other routers that are active: `respx_mock`, or another relay."""
        found = [router for mocker in self._mockers for router in mocker.routers if router is not self]
        return [_Alone(r) if isinstance(r, RelayRouter) else r for r in dict.fromkeys(found)]

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
        self._wait(first)
        if not isinstance(first, Head):
            self._break(first, begun=False)

    async def begin_async(self) -> None:
        self._asynchronous = True
        first = self._steps[0]
        await self._wait_async(first)
        if not isinstance(first, Head):
            self._break(first, begun=False)

    def __iter__(self) -> Iterator[bytes]:
        for step in self._steps[1:]:
            self._wait(step)
            if isinstance(step, Data):
                self._call.received += len(step.data)
                yield step.data
            else:
                self._finish(step)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._steps[1:]:
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
        silent = not isinstance(step, Data | Head) and step.how == "timeout"
        if self._read is not None and (silent or due - asked > self._read):
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
        self._clock.wait_until(until)
        if late:
            self._late(begun=step is not self._steps[0])

    async def _wait_async(self, step: Step) -> None:
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
