"""langchain-openai's ChatOpenAI, on openai 3 and httpx2."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

langchain_openai: Any = pytest.importorskip(
    "langchain_openai", reason="langchain-openai is not installed; nox -s langchain"
)

import tickertape  # noqa: E402
from tickertape.testing import FakeRelay, Scenario, UnmatchedRequest  # noqa: E402


def chat(**options: Any) -> Any:
    return langchain_openai.ChatOpenAI(
        model="gpt-image-1.5", base_url="https://relay.example/v1", api_key="sk-test", timeout=60, **options
    )


def status(content: str) -> str:
    return tickertape.parse(content).status


def test_a_whole_answer_is_read(fake_relay: FakeRelay) -> None:
    fake_relay.play(Scenario.image("a cat").progress(14, 48))
    assert status(chat().invoke("a cat").content) == "completed"
    assert fake_relay.calls.last.prompt == "a cat"


def test_a_stream_is_read(fake_relay: FakeRelay) -> None:
    fake_relay.play(Scenario.image("a cat").progress(14, 48))
    chunks = [chunk.content for chunk in chat().stream("a cat")]
    assert len(chunks) > 10
    task = tickertape.parse("".join(chunks))
    assert (task.status, task.progress[:2]) == ("completed", (14, 48))


def test_asynchronous_calls_read_the_same(fake_relay: FakeRelay) -> None:
    fake_relay.play(Scenario.image("a cat"), times=2)

    async def main() -> list[str]:
        model = chat()
        return [(await model.ainvoke("a cat")).content, "".join([c.content async for c in model.astream("a cat")])]

    assert [status(content) for content in asyncio.run(main())] == ["completed", "completed"]


def test_retry_after_is_honoured_in_virtual_time(fake_relay: FakeRelay) -> None:
    fake_relay.fail(status=429, retry_after=20)
    fake_relay.play(Scenario.image("a cat"))
    chat().invoke("a cat")
    assert fake_relay.calls[1].time - fake_relay.calls[0].time >= 20
    fake_relay.assert_well_behaved()


def test_an_unmatched_request_reaches_the_caller_at_once() -> None:
    with FakeRelay() as relay:
        with pytest.raises(UnmatchedRequest, match="nothing was played"):
            chat().invoke("a cat")
        assert len(relay.calls) == 1
        relay.reset()


def test_an_unmatched_asynchronous_request_fails_at_once_and_is_told_at_the_end() -> None:
    relay = FakeRelay()
    relay.__enter__()
    # ainvoke() gathers exceptions and takes what is no Exception for a result.
    with pytest.raises((UnmatchedRequest, AttributeError), match=r"UnmatchedRequest|nothing was played"):
        asyncio.run(chat().ainvoke("a cat"))
    assert len(relay.calls) == 1
    with pytest.raises(UnmatchedRequest, match="nothing was played"):
        relay.__exit__(None, None, None)
