"""Virtual time: who waits moves it, and everybody wakes in the order of real time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
import trio

from tickertape.testing import FakeRelay, RelayServer, Scenario
from tickertape.testing._clock import RealClock, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

URL = "https://relay.example/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "a cat"}], "stream": True}
KEY = {"authorization": "Bearer sk-test"}
JOB = 35.0
"""Seconds that the job of a plain video scenario takes."""
VIDEO = Scenario.video("a cat").generate(6)


def ask(_: int = 0) -> httpx.Response:
    return httpx.post(URL, json=BODY, headers=KEY, timeout=60)


def run(backend: str, main: Callable[[], Awaitable[Any]]) -> Any:
    return trio.run(main) if backend == "trio" else asyncio.run(main())  # type: ignore[arg-type]


# -- one thread ---------------------------------------------------------------------------------


def test_a_thread_that_is_alone_waits_no_real_time() -> None:
    with FakeRelay() as relay:
        began = time.perf_counter()
        time.sleep(3600)
        assert relay.clock.now == 3600
        assert time.perf_counter() - began < 60


def test_time_does_not_go_back() -> None:
    for clock in (VirtualClock(), RealClock()):
        with pytest.raises(ValueError, match=r"time does not go back: expected seconds >= 0, got -1"):
            clock.advance(-1)


@pytest.mark.parametrize("clock", [VirtualClock(), RealClock(), RealClock(10)], ids=["virtual", "real", "faster"])
def test_time_is_advanced_by_hand(clock: VirtualClock | RealClock) -> None:
    before = clock.now
    clock.advance(600)
    assert 600 <= clock.now - before < 660


# -- tasks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_task_that_is_busy_for_many_turns_still_wakes_in_its_order(backend: str) -> None:
    woken = []

    async def main() -> None:
        async def busy() -> None:
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
            await anyio.sleep(1)
            woken.append(("busy", relay.clock.now))

        async def idle() -> None:
            await anyio.sleep(10)
            woken.append(("idle", relay.clock.now))

        with FakeRelay() as relay:
            async with anyio.create_task_group() as group:
                group.start_soon(idle)
                group.start_soon(busy)

    run(backend, main)
    assert woken == [("busy", 1.0), ("idle", 10.0)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tasks_behind_one_lock_take_their_turns(backend: str) -> None:
    async def main() -> list[float]:
        lock, ended = anyio.Lock(), []

        async def one() -> None:
            async with lock:
                await anyio.sleep(2)
            await anyio.sleep(5)
            ended.append(relay.clock.now)

        with FakeRelay() as relay:
            async with anyio.create_task_group() as group:
                for _ in range(30):
                    group.start_soon(one)
        return ended

    assert run(backend, main) == [2.0 * number + 5 for number in range(1, 31)]


def test_what_was_to_run_soon_runs_before_time_passes() -> None:
    async def main() -> list[float]:
        seen: list[float] = []
        with FakeRelay() as relay:
            asyncio.get_running_loop().call_soon(lambda: seen.append(relay.clock.now))
            await asyncio.sleep(600)
        return seen

    assert asyncio.run(main()) == [0.0]


def test_a_task_that_is_cancelled_waits_for_nothing_any_more() -> None:
    async def main() -> float:
        with FakeRelay() as relay:
            task = asyncio.create_task(asyncio.sleep(5))
            other = asyncio.create_task(asyncio.sleep(1000))
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.sleep(9)
            other.cancel()
            return relay.clock.now

    assert asyncio.run(main()) == 10.0


def test_a_wait_without_end_ends_when_nothing_can_happen_any_more() -> None:
    async def main() -> float:
        with FakeRelay() as relay:
            beat = asyncio.create_task(asyncio.sleep(30))
            await relay.clock.wait_until_async(inf)
            assert beat.done()
            return relay.clock.now

    assert asyncio.run(main()) == 30.0


def test_a_wait_without_end_ends_by_the_deadline_around_it() -> None:
    async def main() -> float:
        with FakeRelay() as relay:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(10):
                    await relay.clock.wait_until_async(inf)
            return relay.clock.now

    assert 9 < asyncio.run(main()) <= 10.1


def test_a_wait_without_end_beside_a_task_that_never_stops_ends_after_a_day() -> None:
    async def main() -> float:
        async def beat() -> None:
            while True:
                await asyncio.sleep(600)

        with FakeRelay() as relay:
            task = asyncio.create_task(beat())
            await relay.clock.wait_until_async(inf)
            task.cancel()
            return relay.clock.now

    assert 86400 <= asyncio.run(main()) <= 2 * 86400


def test_in_real_time_too_a_wait_without_end_ends_by_the_deadline_around_it() -> None:
    async def main() -> None:
        clock = RealClock(100)
        await clock.wait_until_async(inf)  # nothing could end it
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await clock.wait_until_async(inf)

    asyncio.run(main())


# -- threads ----------------------------------------------------------------------------------------


def test_jobs_that_threads_wait_for_at_a_time_pass_at_a_time() -> None:
    with FakeRelay() as relay:
        relay.play(VIDEO, times=3)
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(ask, range(3)))
        assert [answer.status_code for answer in answers] == [200] * 3
        assert relay.clock.now == VIDEO.bind().duration


def test_threads_wake_in_the_order_of_virtual_time() -> None:
    woken = []
    with FakeRelay() as relay:

        def wait(name: str, seconds: float) -> None:
            relay.clock.join()
            time.sleep(seconds)
            woken.append((name, relay.clock.now))

        threads = [threading.Thread(target=wait, args=each) for each in (("a", 30.0), ("b", 10.0), ("c", 20.0))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert woken == [("b", 10.0), ("c", 20.0), ("a", 30.0)]


def test_threads_that_poll_do_not_add_up_their_sleeps() -> None:
    with FakeRelay() as relay:

        def poll(_: int) -> float:
            relay.clock.join()
            began = time.monotonic()
            for _ in range(10):
                time.sleep(5)
            return time.monotonic() - began

        with ThreadPoolExecutor(3) as pool:
            waited = list(pool.map(poll, range(3)))
        assert relay.clock.now == 50
        assert all(50 <= seconds < 55 for seconds in waited)


def test_the_loops_time_waits_for_a_thread_that_asks() -> None:
    async def main() -> tuple[int, int, float]:
        beats = []

        async def beat() -> None:
            while True:
                await asyncio.sleep(1)
                beats.append(relay.clock.now)

        with FakeRelay() as relay:
            relay.play(VIDEO)
            task = asyncio.create_task(beat())
            answer = await asyncio.wait_for(asyncio.to_thread(ask), 60)
            task.cancel()
            return answer.status_code, len(beats), relay.clock.now

    duration = VIDEO.bind().duration
    status, beats, now = asyncio.run(main())
    assert (status, now) == (200, duration)
    assert duration - 1 <= beats <= duration


def test_a_loop_that_was_left_with_tasks_in_it_holds_nobody_up() -> None:
    loop = asyncio.new_event_loop()

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(asyncio.sleep(5))
        await asyncio.get_running_loop().create_task(asyncio.sleep(0))
        return task

    with FakeRelay() as relay:
        task = loop.run_until_complete(begin())
        time.sleep(60)
        assert relay.clock.now == 60
        loop.run_until_complete(task)
    loop.close()


# -- the patches ----------------------------------------------------------------------------------------


def test_a_patch_that_was_there_before_and_goes_after_leaves_time_as_it_was() -> None:
    # As monkeypatch does, asked for before fake_relay: it puts back what it found, and that was ours.
    for _ in range(3):
        with FakeRelay():
            found = time.monotonic
            time.monotonic = lambda: 5.0
        time.monotonic = found
    with FakeRelay() as relay:
        began = time.monotonic()
        time.sleep(100)
        assert 100 <= time.monotonic() - began < 110
        assert relay.clock.now == 100


def test_a_patch_that_is_laid_over_ours_and_put_back_to_the_real_thing_is_patched_anew() -> None:
    # As freezegun does: it puts back what it knows to be the real clock.
    real = time.monotonic
    with FakeRelay():
        time.monotonic = real
        began = time.monotonic()
        turns = 0
        while time.monotonic() - began < 60 and turns < 100:
            time.sleep(5)
            turns += 1
        assert turns <= 13
    assert time.monotonic is real


# -- what blocks, and what is real -------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("how", ["a sleep", "a request", "a thread"])
def test_a_coroutine_that_blocks_its_loop_lets_the_others_wake_late(backend: str, how: str) -> None:
    def joined() -> None:
        relay.clock.join()
        time.sleep(5)

    def blocked() -> None:
        if how == "a sleep":
            time.sleep(5)
        elif how == "a request":
            ask()
        else:
            thread = threading.Thread(target=joined)
            thread.start()
            thread.join()

    async def beat() -> None:
        await anyio.sleep(1)
        woken.append(relay.clock.now)

    async def block() -> None:
        await anyio.lowlevel.checkpoint()
        blocked()
        woken.append(relay.clock.now)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(beat)
            group.start_soon(block)

    woken: list[float] = []
    with FakeRelay() as relay:
        if how == "a request":
            relay.play(VIDEO)
        run(backend, main)
    late = VIDEO.bind().duration if how == "a request" else 5
    assert sorted(woken) in ([late, late], [1, late])


def test_a_loop_that_is_blocked_by_another_ones_thread_holds_it_not_up() -> None:
    async def inner() -> float:
        relay.clock.join()
        await asyncio.sleep(5)
        return relay.clock.now

    async def main() -> list[float]:
        beat = asyncio.create_task(asyncio.sleep(1))
        await asyncio.sleep(0)
        with ThreadPoolExecutor(1) as pool:
            seen = pool.submit(asyncio.run, inner()).result()  # no coroutine should wait so
        await beat
        return [seen, relay.clock.now]

    with FakeRelay() as relay:
        assert asyncio.run(main()) == [5.0, 5.0]


def test_a_loop_that_is_blocked_by_a_socket_holds_the_thread_behind_it_not_up() -> None:
    here, there = socket.socketpair()

    def serve() -> None:
        relay.clock.join()
        time.sleep(5)
        there.send(b"x")

    async def main() -> float:
        beat = asyncio.create_task(asyncio.sleep(1))
        await asyncio.sleep(0)
        thread = threading.Thread(target=serve)
        thread.start()
        here.recv(1)  # no coroutine should wait so
        await beat
        thread.join()
        return relay.clock.now

    with FakeRelay() as relay, here, there:
        assert asyncio.run(main()) == 5.0


@pytest.mark.parametrize("how", ["a sleep of its own time", "a lock", "a socket"])
def test_a_thread_that_is_busy_where_it_is_costs_its_patience_once(how: str) -> None:
    done = threading.Event()
    lock = threading.Lock()
    pair = socket.socketpair()

    def busy() -> None:
        if how == "a lock":
            lock.acquire()
        elif how == "a socket":
            pair[0].recv(1)
        else:
            while not done.is_set():
                time.sleep(0.01)

    lock.acquire()
    with FakeRelay() as relay:
        thread = threading.Thread(target=busy, daemon=True)
        thread.start()
        began = time.perf_counter()
        for _ in range(40):
            time.sleep(10)
        spent = time.perf_counter() - began
        assert relay.clock.now == 400
    done.set()
    lock.release()
    pair[1].send(b"x")
    thread.join()
    for each in pair:
        each.close()
    assert spent < 40 * 0.25 / 2, "not a quarter of a second for every wait"


def test_a_request_on_a_socket_is_answered_before_a_virtual_sleep_beside_it_ends() -> None:
    async def main(server: RelayServer) -> int:
        async def real() -> int:
            async with httpx.AsyncClient(timeout=5) as client:
                answer = await client.post(f"{server.base_url}/chat/completions", json=BODY, headers=KEY)
                return answer.status_code

        status, _ = await asyncio.gather(real(), asyncio.sleep(60))
        return int(status)

    with RelayServer() as server:
        server.play(VIDEO)
        with FakeRelay():
            assert asyncio.run(main(server)) == 200


def test_a_relay_within_a_relay_does_not_turn_time_back() -> None:
    with FakeRelay():
        time.sleep(600)
        before = time.monotonic()
        with FakeRelay():
            assert time.monotonic() >= before
            time.sleep(60)
            assert time.monotonic() >= before + 60
