"""litellm: synchronous calls go by httpx and are answered; asynchronous ones by aiohttp and are refused.

On loopback both are answered.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx
import pytest

# Or a thread of its own asks GitHub for prices when it is imported, which a relay that is there by then refuses.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

litellm: Any = pytest.importorskip("litellm", reason="litellm is not installed; nox -s litellm")

import tickertape  # noqa: E402
from tickertape.testing import FakeRelay, RelayServer, Scenario, UncoveredTransport, UnmatchedRequest  # noqa: E402

from .loopback import CAT, content_of, in_process  # noqa: E402

ASK: dict[str, Any] = {
    "model": "openai/gpt-image-1.5",
    "messages": [{"role": "user", "content": "a cat"}],
    "api_base": "https://relay.example/v1",
    "api_key": "sk-test",
    "timeout": 60,
}


def test_a_synchronous_call_is_answered(fake_relay: FakeRelay) -> None:
    fake_relay.play(Scenario.image("a cat"))
    answer = litellm.completion(**ASK)
    assert tickertape.parse(answer.choices[0].message.content).status == "completed"


def test_a_synchronous_stream_is_answered(fake_relay: FakeRelay) -> None:
    fake_relay.play(Scenario.image("a cat").progress(14, 48))
    chunks = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(**ASK, stream=True)]
    assert len(chunks) > 10
    assert tickertape.parse("".join(chunks)).progress[:2] == (14, 48)


def test_an_unmatched_synchronous_request_reaches_the_caller_at_once() -> None:
    with FakeRelay() as relay:
        with pytest.raises(UnmatchedRequest, match="nothing was played"):
            litellm.completion(**ASK)
        assert len(relay.calls) == 1
        relay.reset()


@pytest.mark.parametrize("stream", [False, True])
def test_an_asynchronous_call_is_refused_and_told_the_way(stream: bool) -> None:
    relay = FakeRelay()
    relay.play(Scenario.image("a cat"), optional=True)
    relay.__enter__()
    with pytest.raises(UncoveredTransport, match=r"^aiohttp asked for .*(?s:.*)relay_server"):
        asyncio.run(litellm.acompletion(**ASK, stream=stream))
    with pytest.raises(UncoveredTransport, match="relay_server"):
        relay.__exit__(None, None, None)
    assert not relay.calls


def test_an_asynchronous_call_is_answered_where_aiohttp_is_switched_off(
    fake_relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", True)
    litellm.in_memory_llm_clients_cache.flush_cache()
    fake_relay.play(Scenario.image("a cat"))
    answer = asyncio.run(litellm.acompletion(**ASK))
    assert tickertape.parse(answer.choices[0].message.content).status == "completed"


# -- on loopback --------------------------------------------------------------------------


def seen_of(chunks: list[str]) -> tuple[str, list[float], list[bytes]]:
    """The content, the progress as it came, and the media."""
    parser, progress = tickertape.Parser(), []
    for event in [event for chunk in chunks for event in parser.feed(chunk)] + parser.close():
        if isinstance(event, tickertape.events.Progress):
            progress.append(event.percent)
    return "".join(chunks), progress, [httpx.get(result.url).content for result in parser.task.results]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_on_loopback_a_stream_is_what_it_is_in_process(relay_server: RelayServer, asynchronous: bool) -> None:
    litellm.in_memory_llm_clients_cache.flush_cache()
    relay_server.play(CAT)
    ask = {**ASK, "api_base": relay_server.base_url, "stream": True}

    async def main() -> list[str]:
        return [chunk.choices[0].delta.content or "" async for chunk in await litellm.acompletion(**ask)]

    def synchronous() -> list[str]:
        return [chunk.choices[0].delta.content or "" for chunk in litellm.completion(**ask)]

    expected = in_process(relay_server.url)
    chunks = asyncio.run(main()) if asynchronous else synchronous()
    assert seen_of(chunks) == (content_of(expected), expected.progress, expected.media)
    relay_server.assert_well_behaved()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_on_loopback_a_whole_answer_is_read(relay_server: RelayServer, asynchronous: bool) -> None:
    litellm.in_memory_llm_clients_cache.flush_cache()
    relay_server.play(CAT)
    ask = {**ASK, "api_base": relay_server.base_url}
    answer = asyncio.run(litellm.acompletion(**ask)) if asynchronous else litellm.completion(**ask)
    assert answer.choices[0].message.content == content_of(in_process(relay_server.url))
