"""pydantic-ai's OpenAI chat model, on openai 3 and httpx2."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pydantic_ai: Any = pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed; nox -s pydantic_ai")
openai_models: Any = pytest.importorskip("pydantic_ai.models.openai", reason="pydantic-ai-slim[openai]")
openai_provider: Any = pytest.importorskip("pydantic_ai.providers.openai", reason="pydantic-ai-slim[openai]")

import tickertape  # noqa: E402
from tickertape.testing import FakeRelay, Scenario, UnmatchedRequest  # noqa: E402


def agent() -> Any:
    provider = openai_provider.OpenAIProvider(base_url="https://relay.example/v1", api_key="sk-test")
    return pydantic_ai.Agent(openai_models.OpenAIChatModel("gpt-image-1.5", provider=provider))


def test_a_whole_answer_is_read(fake_relay: FakeRelay) -> None:
    fake_relay.play(Scenario.image("a cat").progress(14, 48))
    assert tickertape.parse(agent().run_sync("a cat").output).status == "completed"
    assert fake_relay.calls.last.prompt == "a cat"


def test_a_stream_is_read(fake_relay: FakeRelay) -> None:
    fake_relay.play(Scenario.image("a cat").progress(14, 48))

    async def main() -> list[str]:
        async with agent().run_stream("a cat") as result:
            return [delta async for delta in result.stream_text(delta=True, debounce_by=None)]

    deltas = asyncio.run(main())
    assert len(deltas) > 10
    assert tickertape.parse("".join(deltas)).progress[:2] == (14, 48)
    assert fake_relay.calls.last.stream


def test_retry_after_is_honoured_in_virtual_time(fake_relay: FakeRelay) -> None:
    fake_relay.fail(status=429, retry_after=20)
    fake_relay.play(Scenario.image("a cat"))
    agent().run_sync("a cat")
    assert fake_relay.calls[1].time - fake_relay.calls[0].time >= 20
    fake_relay.assert_well_behaved()


@pytest.mark.parametrize("stream", [False, True])
def test_an_unmatched_request_reaches_the_caller_at_once(stream: bool) -> None:
    async def main() -> None:
        if not stream:
            await agent().run("a cat")
            return
        async with agent().run_stream("a cat") as result:
            await result.get_output()

    with FakeRelay() as relay:
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - in a group, where tasks were
            asyncio.run(main())
        assert "nothing was played" in str(_first(caught.value))
        assert isinstance(_first(caught.value), UnmatchedRequest)
        assert len(relay.calls) == 1
        relay.reset()


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
