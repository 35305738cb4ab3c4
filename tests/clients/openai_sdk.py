"""What is asked of the openai SDK, whichever its version."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import openai
import pytest

import tickertape
from tickertape.testing import FakeRelay, Fault, Scenario, UnmatchedRequest

BASE = "https://relay.example/v1"
ASK: dict[str, Any] = {"model": "sora-2", "messages": [{"role": "user", "content": "a train"}]}
VIDEO = Scenario.video("a train").progress(20, 60)


def client(**options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=BASE, api_key="sk-test", **options)


def aclient(**options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=BASE, api_key="sk-test", **options)


def said(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_stream_is_read_to_its_end(fake_relay: FakeRelay) -> None:
    fake_relay.play(VIDEO)
    with client() as sdk:
        chunks = list(sdk.chat.completions.create(**ASK, stream=True))
    task = tickertape.parse(said(chunks))
    assert task.status == "completed"
    assert task.progress[:2] == (20, 60)
    assert task.results == fake_relay.calls.last.task.results  # type: ignore[union-attr]
    assert fake_relay.clock.now > 10, "the job's time passed, on the relay's clock"


def test_a_whole_answer_is_read(fake_relay: FakeRelay) -> None:
    fake_relay.play(VIDEO)
    with client(timeout=60) as sdk:
        answer = sdk.chat.completions.create(**ASK)
    assert tickertape.parse_response(answer.to_dict()).status == "completed"


def test_asynchronous_clients_read_the_same(fake_relay: FakeRelay) -> None:
    fake_relay.play(VIDEO, times=2)

    async def main() -> tuple[str, str | None]:
        async with aclient(timeout=60) as sdk:
            stream = await sdk.chat.completions.create(**ASK, stream=True)
            chunks = [chunk async for chunk in stream]
            answer = await sdk.chat.completions.create(**ASK)
            return said(chunks), answer.choices[0].message.content

    tasks = [tickertape.parse(content or "") for content in asyncio.run(main())]
    assert [task.status for task in tasks] == ["completed", "completed"]
    assert [len(task.results) for task in tasks] == [1, 1]


def test_several_asynchronous_jobs_run_side_by_side(fake_relay: FakeRelay) -> None:
    fake_relay.play(VIDEO, times=3)

    async def one(sdk: openai.AsyncOpenAI) -> str:
        stream = await sdk.chat.completions.create(**ASK, stream=True)
        return said([chunk async for chunk in stream])

    async def main() -> list[str]:
        async with aclient() as sdk:
            return await asyncio.gather(*(one(sdk) for _ in range(3)))

    assert {tickertape.parse(content).status for content in asyncio.run(main())} == {"completed"}
    assert [call.time for call in fake_relay.calls] == pytest.approx([0, 0, 0])


def test_a_job_is_polled_and_its_result_downloaded(fake_relay: FakeRelay) -> None:
    fake_relay.play(Scenario.video("a train").detached().queue(3).generate(20))
    with client(timeout=60) as sdk, httpx.Client() as http:
        answer = sdk.chat.completions.create(**ASK)
        link = tickertape.parse_response(answer.to_dict()).links["source"]
        while (task := http.get(link).json())["status"] not in ("completed", "failed"):
            time.sleep(10)
        assert task["status"] == "completed"
        data = http.get(task["video_url"]).content
    assert data[4:8] == b"ftyp"
    assert fake_relay.clock.now >= 100
    fake_relay.assert_well_behaved()


def test_retry_after_is_honoured_in_virtual_time(fake_relay: FakeRelay) -> None:
    fake_relay.fail(status=429, retry_after=20, times=2)
    fake_relay.play(Scenario.image("a cat"))
    with client(timeout=60) as sdk:
        sdk.chat.completions.create(**ASK)
    first, second, third = fake_relay.calls
    assert [call.status for call in fake_relay.calls] == [429, 429, 200]
    assert second.time - first.time >= 20
    assert third.time - second.time >= 20
    fake_relay.assert_well_behaved()


def test_retry_after_is_honoured_by_asynchronous_clients_too(fake_relay: FakeRelay) -> None:
    fake_relay.fail(status=429, retry_after=20)
    fake_relay.play(Scenario.image("a cat"))

    async def main() -> None:
        async with aclient(timeout=60) as sdk:
            await sdk.chat.completions.create(**ASK)

    asyncio.run(main())
    assert fake_relay.calls[1].time - fake_relay.calls[0].time >= 20


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_an_unmatched_request_reaches_the_caller_at_once(asynchronous: bool, stream: bool) -> None:
    relay = FakeRelay()
    relay.play(Scenario.image("a cat"), when={"prompt": "a cat"}, optional=True)

    async def main() -> None:
        async with aclient() as sdk:
            await sdk.chat.completions.create(**ASK, stream=stream)

    def ask() -> None:
        with client() as sdk:
            sdk.chat.completions.create(**ASK, stream=stream)

    with relay:
        with pytest.raises(UnmatchedRequest, match="differs in prompt: expected 'a cat' in it, found 'a train'"):
            asyncio.run(main()) if asynchronous else ask()
        assert len(relay.calls) == 1
        assert relay.clock.now == 0
        relay.reset()


def test_a_stall_ends_at_the_clients_timeout_and_is_asked_again(fake_relay: FakeRelay) -> None:
    fake_relay.fail(fault=Fault.unanswered())
    fake_relay.play(Scenario.image("a cat"))
    with client(timeout=30) as sdk:
        sdk.chat.completions.create(**ASK)
    first, second = fake_relay.calls
    assert first.ended == "timeout"
    assert first.ended_at == pytest.approx(30)
    assert second.status == 200


def test_no_answer_at_all_ends_in_the_sdks_own_error(fake_relay: FakeRelay) -> None:
    fake_relay.fail(fault=Fault.unanswered(), times=3)
    with client(timeout=0.3) as sdk, pytest.raises(openai.APITimeoutError) as caught:
        sdk.chat.completions.create(**ASK)
    assert type(caught.value.__cause__).__name__ == "ReadTimeout"
    assert len(fake_relay.calls) == 3


def test_models_are_listed(fake_relay: FakeRelay) -> None:
    fake_relay.play(Scenario.video("a train"), when={"model": "sora-2"}, optional=True)
    with client() as sdk:
        assert [model.id for model in sdk.models.list()] == ["sora-2"]
