"""One FakeRelay answers every stack in process, with the bytes of the wire, on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import inspect
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import httpx2
import openai
import pytest
import trio
from respx.patterns import M

from tickertape import TickertapeError
from tickertape.testing import EndlessWait, FakeRelay, Fault, Scenario, UnmatchedRequest, UnplayedError
from tickertape.testing._wire import Data, End, Head, body_of, streamed

from .conformance import BODY, JSON, KEY, STREAM, SocketRelay, tape

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HOST = "https://relay.example"
CHAT = f"{HOST}/v1/chat/completions"
AUTH = {"authorization": f"Bearer {KEY}"}
MODULES = [httpx, httpx2]
BACKENDS = ["asyncio", "trio"]


def ask(client: Any, *, stream: bool = False, **options: Any) -> Any:
    """A request and its answer, or the coroutine of it."""
    return client.post(CHAT, json={**BODY, "stream": stream}, headers=AUTH, **options)


def sdk(**options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{HOST}/v1", api_key=KEY, **options)


def asdk(**options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{HOST}/v1", api_key=KEY, **options)


def run(backend: str, main: Callable[[], Awaitable[None]]) -> None:
    anyio.run(main, backend=backend)


@pytest.fixture(autouse=True)
def no_real_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting in earnest fails: beneath FakeRelay's own patches stands this one."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("a real sleep")

    real = asyncio.sleep

    async def arefuse(delay: float, *result: Any) -> Any:
        if delay:
            refuse()
        return await real(delay, *result)

    monkeypatch.setattr(time, "sleep", refuse)
    monkeypatch.setattr(asyncio, "sleep", arefuse)


# -- every stack ------------------------------------------------------------------------


def test_one_relay_answers_all_clients_alike() -> None:
    seen: list[bytes] = []
    with FakeRelay() as relay:
        relay.play(tape(JSON), times=None)
        for module in MODULES:
            with module.Client() as client:
                seen.append(ask(client).content)

            async def main(module: Any = module) -> None:
                async with module.AsyncClient() as client:
                    seen.append((await ask(client)).content)

            for backend in BACKENDS:
                run(backend, main)
        with sdk() as client:
            seen.append(client.chat.completions.with_raw_response.create(**BODY).content)

        async def openai_main() -> None:
            async with asdk() as client:
                answer = await client.chat.completions.with_raw_response.create(**BODY)
                seen.append(answer.http_response.content)

        for backend in BACKENDS:
            run(backend, openai_main)
    assert seen == [body_of(JSON)] * 9
    assert len(relay.calls) == 9


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_has_the_status_headers_and_chunks_of_the_wire(module: Any, stream: bool) -> None:
    head, *rest = STREAM if stream else JSON
    assert isinstance(head, Head)
    reply = (
        Head(head.t, 201, (*head.headers, ("x-oneapi-request-id", "2026"), ("x-twice", "a"), ("x-twice", "b"))),
        *rest,
    )

    def answer(url: str) -> tuple[Any, ...]:
        body = {**BODY, "stream": stream}
        with (
            module.Client(trust_env=False) as client,
            client.stream("POST", f"{url}/chat/completions", json=body, headers=AUTH) as got,
        ):
            chunks = list(got.iter_raw())
            told = (got.status_code, got.reason_phrase, got.http_version, got.headers.multi_items())
            return (*told, chunks if stream else b"".join(chunks))

    with SocketRelay(lambda request: reply) as server:
        wire = answer(server.url)
    with FakeRelay() as relay:
        relay.play(tape(reply))
        assert answer(server.url) == wire
    assert wire[-1] == ([step.data for step in rest if isinstance(step, Data)] if stream else body_of(JSON))


@pytest.mark.parametrize("stream", [True, False])
def test_the_sdk_reads_the_same_on_every_stack(stream: bool) -> None:
    seen: list[list[Any]] = []
    with FakeRelay() as relay:
        relay.play(tape(STREAM), times=None)
        for http in (None, httpx.Client()):
            with sdk(http_client=http) as client:
                answer: Any = client.chat.completions.create(**BODY, stream=stream)
                seen.append([each.to_dict() for each in (answer if stream else [answer])])

        async def main() -> None:
            async with asdk() as client:
                answer: Any = await client.chat.completions.create(**BODY, stream=stream)
                seen.append([each.to_dict() async for each in answer] if stream else [answer.to_dict()])

        run("asyncio", main)
    assert seen[0] == seen[1] == seen[2]
    message = "message" if not stream else "delta"
    said = "".join(each["choices"][0][message].get("content") or "" for each in seen[0] if each["choices"])
    assert "进度 14..48" in said
    assert "files.example" in said


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_compressed_answer_is_sent_compressed_and_read_in_clear(module: Any) -> None:
    packed = gzip.compress(body_of(JSON), mtime=0)
    pieces = [packed[:50], packed[50:]]
    reply = streamed(200, [Data(0.0, each) for each in pieces], headers=[("content-encoding", "gzip")])
    with FakeRelay() as relay:
        relay.play(tape(reply), times=2)
        with module.Client() as client:
            assert ask(client).content == body_of(JSON)
            with client.stream("POST", CHAT, json=BODY, headers=AUTH) as answer:
                assert list(answer.iter_raw()) == pieces


# -- respx ------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_routes_of_ones_own_are_asked_first(module: Any) -> None:
    with FakeRelay() as relay:
        route = relay.router.post(CHAT, name="own").respond(418, json={"own": True})
        relay.play(tape(JSON))
        with module.Client() as client:
            assert ask(client).status_code == 418
            route.pass_through(False)
            relay.router.pop("own")
            assert ask(client).status_code == 200
        assert [call.response.status_code for call in relay.router.calls] == [418, 200]
        assert [call.status for call in relay.calls] == [200]
    assert route.call_count == 1


def test_a_route_of_ones_own_may_stand_for_another_service_on_every_async_stack() -> None:
    with FakeRelay() as relay:
        relay.router.get("https://billing.example/quota").respond(json={"left": 3})

        async def main() -> None:
            for module in MODULES:
                async with module.AsyncClient() as client:
                    assert (await client.get("https://billing.example/quota")).json() == {"left": 3}

        for backend in BACKENDS:
            run(backend, main)
        assert relay.router.calls.call_count == 4


EXCEPTIONS = ("ConnectError", "ReadTimeout", "RemoteProtocolError")


@pytest.mark.parametrize("client", MODULES, ids=lambda module: module.__name__)
@pytest.mark.parametrize("given", MODULES, ids=lambda module: module.__name__)
@pytest.mark.parametrize("name", EXCEPTIONS)
def test_an_exception_of_either_generation_is_raised_as_that_of_the_client(client: Any, given: Any, name: str) -> None:
    kind: Any = getattr(given, name)

    class Own(kind):  # type: ignore[misc]
        pass

    def raising(request: Any) -> Any:
        raise Own("by a function")

    async def raising_async(request: Any) -> Any:
        raise kind("by a function")

    with FakeRelay() as relay:
        for effect, told in ((kind, "Mock Error"), (kind("an instance"), "an instance"), (raising, "by a function")):
            relay.router.get("https://other.example/", name="other").mock(side_effect=effect)
            with client.Client() as http, pytest.raises(getattr(client, name), match=told) as raised:
                http.get("https://other.example/")
            assert raised.value.request.url == "https://other.example/"
        relay.router.get("https://other.example/", name="other").mock(side_effect=raising_async)

        async def main() -> None:
            async with client.AsyncClient() as http:
                with pytest.raises(getattr(client, name), match="by a function"):
                    await http.get("https://other.example/")

        asyncio.run(main())


@pytest.mark.parametrize("client", MODULES, ids=lambda module: module.__name__)
@pytest.mark.parametrize("given", MODULES, ids=lambda module: module.__name__)
def test_a_response_of_either_generation_answers_both(client: Any, given: Any) -> None:
    def answer(request: Any, route: Any) -> Any:
        return given.Response(203, json={"asked": route.call_count})

    async def answer_async(request: Any) -> Any:
        return given.Response(204)

    with FakeRelay() as relay, client.Client() as http:
        route = relay.router.get("https://other.example/")
        route.return_value = given.Response(201, text="one", headers={"x-a": "1"})
        first = http.get("https://other.example/")
        assert (first.status_code, first.text, first.headers["x-a"]) == (201, "one", "1")
        effects: Any = [given.Response(202), answer]
        route.mock(side_effect=effects)
        assert http.get("https://other.example/").status_code == 202
        relay.router.get("https://third.example/").mock(side_effect=answer)
        assert http.get("https://third.example/").json() == {"asked": 0}
        relay.router.get("https://fourth.example/") % given.Response(418)
        assert http.get("https://fourth.example/").status_code == 418
        relay.router.get("https://fifth.example/").mock(side_effect=answer_async)

        async def main() -> int:
            async with client.AsyncClient() as http:
                return int((await http.get("https://fifth.example/")).status_code)

        assert asyncio.run(main()) == 204


# -- entering and leaving -----------------------------------------------------------------


def test_an_error_on_its_way_out_is_told_the_seed_and_what_was_asked() -> None:
    def application() -> None:
        with httpx.Client() as client:
            ask(client, timeout=60)
            with contextlib.suppress(BaseException):
                client.get("https://other.example/unknown")
        raise KeyError("of the application")

    with pytest.raises(KeyError) as raised, FakeRelay(seed=7, tape="gpt-image-1.5/cat-drinking-milk"):
        application()
    (note,) = raised.value.__notes__
    assert note.startswith("fake relay: FakeRelay(seed=7) draws the same again\n")
    assert "POST /v1/chat/completions" in note
    assert "UnmatchedRequest: GET https://other.example/unknown matches nothing that was played" in note


def test_what_leaving_raises_is_told_the_same() -> None:
    with pytest.raises(UnplayedError) as raised, FakeRelay(seed=9) as relay:
        relay.play(Scenario.image("a cat"))
    assert raised.value.__notes__ == ["fake relay: FakeRelay(seed=9) draws the same again\nno calls"]


def test_a_tape_that_a_relay_is_made_with_is_played_first() -> None:
    for first in ("gpt-image-1.5/cat-drinking-milk", Scenario.image("a cat")):
        with FakeRelay(tape=first) as relay:
            relay.play(Scenario.image("a dog"), optional=True)
            with httpx.Client() as client:
                ask(client, timeout=60)
        assert relay.calls.last.answer in ("tape gpt-image-1.5/cat-drinking-milk", "Scenario.image('a cat')")


def test_a_decorated_object_that_is_called_asynchronously_is_answered_while_it_runs() -> None:
    class Job:
        async def __call__(self, fake_relay: FakeRelay) -> int:
            fake_relay.play(Scenario.image("a cat"))
            async with httpx.AsyncClient() as client:
                return int((await ask(client, timeout=60)).status_code)

    decorated: Any = FakeRelay()(Job())
    assert asyncio.run(decorated()) == 200


def test_a_function_that_returns_a_coroutine_is_no_coroutine_function() -> None:
    async def work() -> None:
        raise AssertionError("it ran")

    @FakeRelay()
    def begin() -> Any:
        return work()

    with pytest.raises(TickertapeError, match="returned a coroutine; decorate the coroutine function itself"):
        begin()


def test_it_is_an_async_context_manager() -> None:
    async def main() -> None:
        async with FakeRelay() as relay:
            relay.play(tape(JSON))
            async with httpx.AsyncClient() as client:
                assert (await ask(client)).status_code == 200

    for backend in BACKENDS:
        run(backend, main)


def test_leaving_async_judges_as_well() -> None:
    async def main() -> None:
        async with FakeRelay() as relay:
            relay.play(tape(JSON))

    with pytest.raises(UnplayedError, match="never played"):
        asyncio.run(main())


def test_a_decorated_function_is_handed_the_relay_if_it_asks_for_it() -> None:
    @FakeRelay(seed=7)
    def with_it(number: int, *, fake_relay: FakeRelay) -> int:
        fake_relay.play(tape(JSON))
        with httpx.Client() as client:
            return number + int(ask(client).status_code) + fake_relay.seed

    @FakeRelay()
    def without_it(number: int) -> int:
        with httpx2.Client() as client, pytest.raises(UnmatchedRequest):
            ask(client)
        return number

    given: Any = with_it
    assert given(1) == 208
    assert given(2) == 209, "a relay of its own for every call"
    assert list(inspect.signature(with_it).parameters) == ["number"]
    with pytest.raises(UnmatchedRequest):
        without_it(1)


def test_a_decorated_coroutine_function_is_handed_the_relay_if_it_asks_for_it() -> None:
    @FakeRelay()
    async def with_it(fake_relay: FakeRelay) -> int:
        fake_relay.play(tape(JSON))
        async with httpx2.AsyncClient() as client:
            return int((await ask(client)).status_code)

    @FakeRelay()
    async def without_it() -> None:
        async with httpx.AsyncClient() as client:
            with pytest.raises(UnmatchedRequest):
                await ask(client)

    assert inspect.iscoroutinefunction(with_it)
    given: Any = with_it
    for backend in BACKENDS:
        assert anyio.run(given, backend=backend) == 200
        with pytest.raises(UnmatchedRequest):
            anyio.run(without_it, backend=backend)


def test_the_decorator_without_its_brackets_is_told() -> None:
    wrong: Any = FakeRelay
    with pytest.raises(TickertapeError, match=r"write @FakeRelay\(\)"):
        wrong(lambda: None)


@pytest.mark.parametrize(
    "base_url", ["HTTPS://Relay.Mine/v1", "https://relay.mine:443/v1/", "https://me@relay.mine/v1"]
)
def test_an_address_is_the_same_however_it_is_written(base_url: str) -> None:
    with FakeRelay(base_url=base_url) as relay, httpx.Client() as client:
        assert relay.base_url == "https://relay.mine/v1"
        relay.play(tape(JSON), times=2)
        for asked in ("https://relay.mine/v1", "https://RELAY.mine:443/v1"):
            assert client.post(f"{asked}/chat/completions", json=BODY, headers=AUTH).status_code == 200


@pytest.mark.parametrize(
    "base_url", ["relay.mine", "relay.mine/v1", "", "/v1", "ftp://relay.mine", "https://", "http://a:b"]
)
def test_what_is_no_address_is_told(base_url: str) -> None:
    with pytest.raises(TickertapeError, match="expected a URL with its scheme"):
        FakeRelay(base_url=base_url)


# -- virtual time -------------------------------------------------------------------------


def test_a_client_that_sleeps_moves_the_virtual_clock() -> None:
    with FakeRelay() as relay:
        began = time.monotonic()
        time.sleep(600)
        assert relay.clock.now == 600
        assert time.monotonic() - began >= 600
        relay.play(Scenario.video("a train"))
        with sdk() as client:
            for _ in client.chat.completions.create(model="sora-2", messages=BODY["messages"], stream=True):
                pass
        assert relay.clock.now > 600
        assert relay.calls.last.time == 600


@pytest.mark.parametrize("backend", BACKENDS)
def test_sleeps_of_every_event_loop_are_virtual(backend: str) -> None:
    async def main() -> None:
        with FakeRelay() as relay:
            await anyio.sleep(100)
            await (asyncio.sleep(100) if backend == "asyncio" else trio.sleep(100))
            assert relay.clock.now == 200

    run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_tasks_wake_in_the_order_of_virtual_time(backend: str) -> None:
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append(seconds)

    async def main() -> None:
        with FakeRelay():
            async with anyio.create_task_group() as group:
                for seconds in (30.0, 10.0, 20.0, 5.0):
                    group.start_soon(sleeper, seconds)

    run(backend, main)
    assert woken == [5, 10, 20, 30]


@pytest.mark.parametrize("backend", BACKENDS)
def test_streams_that_are_read_at_once_come_interleaved_as_in_real_time(backend: str) -> None:
    heard: list[tuple[str, float]] = []

    async def reader(relay: FakeRelay, model: str) -> None:
        async with httpx2.AsyncClient() as client:
            body = {**BODY, "model": model, "stream": True}
            async with client.stream("POST", CHAT, json=body, headers=AUTH) as answer:
                async for _ in answer.aiter_raw():
                    heard.append((model, relay.clock.now))

    async def main() -> None:
        with FakeRelay() as relay:
            for model, times in (("slow", (1.0, 4.0, 7.0)), ("fast", (2.0, 3.0, 5.0))):
                relay.play(tape(streamed(200, [Data(t, b"data: {}\n\n") for t in times])), when={"model": model})
            async with anyio.create_task_group() as group:
                group.start_soon(reader, relay, "slow")
                group.start_soon(reader, relay, "fast")

    run(backend, main)
    assert [(model, round(t)) for model, t in heard] == [
        ("slow", 1), ("fast", 2), ("fast", 3), ("slow", 4), ("fast", 5), ("slow", 7),
    ]  # fmt: skip


def test_a_deadline_by_the_monotonic_clock_comes() -> None:
    with FakeRelay() as relay:
        relay.play(Scenario.video("a train").detached().stall(3600.0))
        with httpx2.Client(timeout=60) as client:
            link = _source(ask(client).json())
            deadline = time.monotonic() + 60
            polls = 0
            while time.monotonic() < deadline:
                client.get(link)
                polls += 1
                time.sleep(5)
    assert polls == 12


def _source(answer: dict[str, Any]) -> str:
    import tickertape

    task = tickertape.parse_response(answer)
    return task.links["source"]


async def _timeout(client: Any) -> None:
    async with asyncio.timeout(30):
        await ask(client, stream=True)


async def _wait_for(client: Any) -> None:
    await asyncio.wait_for(ask(client, stream=True), 30)


async def _fail_after(client: Any) -> None:
    with anyio.fail_after(30):
        await ask(client, stream=True)


async def _wait(client: Any) -> None:
    task = asyncio.ensure_future(ask(client, stream=True))
    done, _ = await asyncio.wait([task], timeout=30)
    assert not done
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    raise TimeoutError


async def _sleep(client: Any) -> None:
    async with asyncio.timeout(30):
        await asyncio.sleep(600)


@pytest.mark.parametrize("deadline", [_timeout, _wait_for, _fail_after, _wait, _sleep])
@pytest.mark.parametrize("others", [0, 3])
def test_a_deadline_that_asyncio_keeps_comes_in_virtual_time(deadline: Any, others: int) -> None:
    async def main() -> None:
        with FakeRelay() as relay:
            relay.play(tape(STREAM), fault=Fault.stall(600.0, frame=3), optional=True)
            sleepers = [asyncio.ensure_future(asyncio.sleep(7.0 * n)) for n in range(1, others + 1)]
            async with httpx2.AsyncClient(timeout=None) as client:
                with pytest.raises(TimeoutError):
                    await deadline(client)
            assert 25 < relay.clock.now <= 30
            assert all(sleeper.done() for sleeper in sleepers)
            if relay.calls:
                assert relay.calls.last.ended == "left"

    asyncio.run(main())


def test_a_deadline_that_asyncio_keeps_and_that_is_later_than_the_answer_does_no_harm() -> None:
    async def main() -> None:
        with FakeRelay() as relay:
            relay.play(tape(STREAM), fault=Fault.stall(20.0, frame=3))
            async with httpx2.AsyncClient(timeout=60) as client, asyncio.timeout(30):
                assert (await ask(client, stream=True)).content == body_of(STREAM)
            assert relay.clock.now == pytest.approx(20.05, abs=0.02)

    asyncio.run(main())


def test_a_ten_minute_job_with_polling_takes_no_real_time() -> None:
    with FakeRelay() as relay:
        relay.play(Scenario.video("a train").detached().queue(20).generate(100).pace(5.0))
        with sdk() as client, httpx2.Client() as http:
            answer = client.chat.completions.create(model="sora-2", messages=BODY["messages"])
            link = _source(answer.to_dict())
            while (state := http.get(link).json())["status"] not in ("completed", "failed"):
                time.sleep(10)
        assert state["status"] == "completed"
        assert relay.clock.now >= 540
        assert len(relay.calls.polls) >= 50


def test_another_thread_of_the_process_keeps_real_time() -> None:
    told: list[float] = []
    with FakeRelay() as relay:
        time.sleep(1000)
        thread = threading.Thread(target=lambda: told.append(time.monotonic()))
        thread.start()
        thread.join()
        assert relay.clock.now == 1000
        assert time.monotonic() - told[0] >= 900


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_stall_of_ten_minutes_ends_at_the_clients_own_timeout(module: Any) -> None:
    with FakeRelay() as relay:
        relay.play(tape(STREAM), fault=Fault.stall(600.0, byte=20))
        with module.Client(timeout=0.3) as client, pytest.raises(module.ReadTimeout):
            ask(client, stream=True)
        assert relay.clock.now == pytest.approx(0.3)
    assert relay.calls.last.ended == "timeout"
    assert relay.calls.last.received == 20


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stall_ends_at_the_timeout_on_every_event_loop(backend: str) -> None:
    async def main() -> None:
        with FakeRelay() as relay:
            relay.play(tape(STREAM), fault=Fault.unanswered())
            async with httpx2.AsyncClient(timeout=0.3) as client:
                with pytest.raises(httpx2.ReadTimeout):
                    await ask(client)
            assert relay.clock.now == pytest.approx(0.3)

    run(backend, main)


def test_waiting_without_a_timeout_for_what_never_comes_is_told() -> None:
    with FakeRelay() as relay:
        relay.play(tape(STREAM), fault=Fault.stall(frame=3))
        with httpx.Client(timeout=None) as client, pytest.raises(EndlessWait, match="timeout"):
            ask(client, stream=True)
    assert relay.calls.last.ended == "hang"


@pytest.mark.parametrize("deadline", [_timeout, _wait_for, _fail_after, _wait])
@pytest.mark.parametrize("fault", [Fault.unanswered(), Fault.stall(frame=3)], ids=["unanswered", "stall"])
@pytest.mark.parametrize("others", [0, 3])
def test_a_deadline_that_asyncio_keeps_ends_a_silence_without_end(deadline: Any, fault: Fault, others: int) -> None:
    async def main() -> None:
        with FakeRelay() as relay:
            relay.play(tape(STREAM), fault=fault)
            sleepers = [asyncio.ensure_future(asyncio.sleep(7.0 * n)) for n in range(1, others + 1)]
            async with httpx2.AsyncClient(timeout=None) as client:
                with pytest.raises(TimeoutError):
                    await deadline(client)
            assert relay.clock.now == pytest.approx(30, abs=0.1)
            assert all(sleeper.done() for sleeper in sleepers)
            assert relay.calls.last.ended == "left"

    asyncio.run(main())


def test_another_task_ends_a_silence_without_end() -> None:
    async def main() -> None:
        with FakeRelay() as relay:
            relay.play(tape(STREAM), fault=Fault.unanswered())
            async with httpx.AsyncClient(timeout=None) as client:
                asking = asyncio.ensure_future(ask(client))
                await asyncio.sleep(40)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
            assert relay.clock.now == 40
            assert (relay.calls.last.ended, relay.calls.last.ended_at) == ("left", 40)

    asyncio.run(main())


def test_a_deadline_ends_a_silence_without_end_in_real_time() -> None:
    async def main() -> None:
        with FakeRelay(speed=1.0) as relay:
            relay.play(tape(STREAM), fault=Fault.unanswered())
            async with httpx.AsyncClient(timeout=None) as client:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(ask(client), 0.05)
            assert relay.calls.last.ended == "left"

    asyncio.run(main())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("speed", [None, 1.0])
def test_a_silence_that_nobody_would_end_is_told_to_an_asynchronous_client(backend: str, speed: float | None) -> None:
    async def main() -> None:
        with FakeRelay(speed=speed) as relay:
            relay.play(tape(STREAM), fault=Fault.unanswered())
            async with httpx.AsyncClient(timeout=None) as client:
                with pytest.raises(EndlessWait, match="timeout"):
                    await ask(client)
            assert relay.calls.last.ended == "hang"

    run(backend, main)


def test_a_late_answer_within_the_timeout_takes_its_virtual_time() -> None:
    with FakeRelay() as relay:
        relay.play(tape(JSON), fault=Fault.late(20.0))
        with httpx.Client(timeout=30) as client:
            assert ask(client).status_code == 200
        assert relay.clock.now == pytest.approx(20.01)


def test_retry_after_is_waited_for_in_virtual_time() -> None:
    with FakeRelay() as relay:
        relay.fail(status=429, retry_after=20)
        relay.play(tape(JSON))
        with sdk() as client:
            client.chat.completions.create(**BODY)
        first, second = relay.calls
        assert second.time - first.time >= 20
        assert (first.status, second.status, second.attempt) == (429, 200, 2)
        relay.assert_well_behaved()


def test_real_time_at_a_speed_waits_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with FakeRelay(speed=20.0) as relay:
        relay.play(tape(streamed(200, [Data(0.0, b"data: {}\n\n"), Data(2.0, b"data: [DONE]\n\n")])))
        began = time.perf_counter()
        with httpx.Client() as client:
            ask(client, stream=True)
        assert time.perf_counter() - began >= 0.1
        assert relay.clock.now >= 2.0


# -- the journal --------------------------------------------------------------------------


def test_a_client_that_leaves_early_is_noted() -> None:
    with FakeRelay() as relay:
        relay.play(tape(STREAM))
        body = {**BODY, "stream": True}
        with httpx2.Client() as client, client.stream("POST", CHAT, json=body, headers=AUTH) as answer:
            next(answer.iter_raw())
    assert relay.calls.last.ended == "left"
    assert 0 < relay.calls.last.received < len(body_of(STREAM))


@pytest.mark.parametrize("fault", [Fault.late(600.0), Fault.unanswered()], ids=["late", "unanswered"])
def test_a_client_that_is_cancelled_before_there_is_an_answer_is_noted(fault: Fault) -> None:
    async def main() -> None:
        with FakeRelay() as relay:
            relay.play(tape(JSON), fault=fault)
            async with httpx2.AsyncClient(timeout=None) as client:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(ask(client), 30)
            assert (relay.calls.last.ended, relay.calls.last.received) == ("left", 0)

    asyncio.run(main())


def test_what_the_sdk_has_read_is_counted_once() -> None:
    size = len(body_of(STREAM))
    received: list[Any] = []

    async def main(relay: FakeRelay) -> None:
        async with openai.AsyncOpenAI(api_key=KEY, max_retries=0) as client:
            async for _ in await client.chat.completions.create(**BODY, stream=True):
                pass
        received.append((relay.calls.last.received, relay.calls.last.ended))

    with FakeRelay() as relay:
        relay.play(tape(STREAM), times=2)
        with openai.OpenAI(api_key=KEY, max_retries=0) as client:
            for _ in client.chat.completions.create(**BODY, stream=True):
                pass
        received.append((relay.calls.last.received, relay.calls.last.ended))
        asyncio.run(main(relay))
    assert received == [(size, "eof"), (size, "eof")]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_that_is_asked_for_again_goes_on_where_it_was(asynchronous: bool) -> None:
    # As openai 3 drains what it has not read, below the response that would refuse it.
    async def main() -> bytes:
        body, read = {**BODY, "stream": True}, []
        if asynchronous:
            async with httpx.AsyncClient() as aclient, aclient.stream("POST", CHAT, json=body, headers=AUTH) as late:
                astream: Any = late.stream
                read.append(await anext(aiter(astream)))
                for _ in range(2):
                    read += [chunk async for chunk in astream]
        else:
            with httpx.Client() as client, client.stream("POST", CHAT, json=body, headers=AUTH) as answer:
                stream: Any = answer.stream
                read.append(next(iter(stream)))
                for _ in range(2):
                    read += list(stream)
        return b"".join(read)

    with FakeRelay() as relay:
        relay.play(tape(STREAM))
        assert asyncio.run(main()) == body_of(STREAM)
    assert (relay.calls.last.received, relay.calls.last.ended) == (len(body_of(STREAM)), "eof")


def test_a_refused_connection_was_asked_for_and_gave_nothing() -> None:
    with FakeRelay() as relay:
        relay.fail(fault=Fault.refused())
        with httpx2.Client() as client, pytest.raises(httpx2.ConnectError):
            ask(client)
    assert (relay.calls.last.ended, relay.calls.last.status) == ("refused", None)
    assert relay.calls.last.reply == (End(0.0, "refused"),)


def test_respx_patterns_are_conditions() -> None:
    with FakeRelay() as relay:
        relay.play(tape(JSON), when=M(host="one.example"))
        with httpx.Client() as client:
            assert client.post("https://one.example/v1/chat/completions", json=BODY, headers=AUTH).status_code == 200
            with pytest.raises(UnmatchedRequest):
                ask(client)
        with pytest.raises(UnmatchedRequest):
            relay.verify()
        relay.reset()
