"""openai[aiohttp]: requests go by aiohttp, which is not answered in process; the refusal tells the way.

On loopback they are answered.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

openai: Any = pytest.importorskip("openai", reason="openai is not installed; nox -s openai_aiohttp")
pytest.importorskip("aiohttp", reason="aiohttp is not installed; nox -s openai_aiohttp")
if int(openai.__version__.partition(".")[0]) < 3:
    pytest.skip("openai 3 is not what is installed; nox -s openai_aiohttp", allow_module_level=True)

from tickertape.testing import FakeRelay, RelayServer, Scenario, UncoveredTransport  # noqa: E402

from .loopback import CAT, STREAM, Reader, Seen, in_process  # noqa: E402


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("host", ["relay.example", "127.0.0.1:9"])
def test_a_request_is_refused_at_once_and_told_the_way(stream: bool, host: str) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(
            base_url=f"http://{host}/v1", api_key="sk-test", http_client=openai.DefaultAioHttpClient()
        ) as client:
            await client.chat.completions.create(
                model="gpt-image-1.5", messages=[{"role": "user", "content": "a cat"}], stream=stream
            )

    relay = FakeRelay()
    relay.play(Scenario.image("a cat"), optional=True)
    relay.__enter__()
    with pytest.raises(UncoveredTransport, match=r"^aiohttp asked for .*(?s:.*)relay_server"):
        asyncio.run(main())
    with pytest.raises(UncoveredTransport, match=host):
        relay.__exit__(None, None, None)
    assert not relay.calls
    assert relay.clock.now == 0, "the SDK must not have waited to ask again"


def test_the_same_sdk_without_aiohttp_is_answered(fake_relay: FakeRelay) -> None:
    fake_relay.play(Scenario.image("a cat"))

    async def main() -> Any:
        async with openai.AsyncOpenAI(base_url="https://relay.example/v1", api_key="sk-test", timeout=60) as client:
            return await client.chat.completions.create(
                model="gpt-image-1.5", messages=[{"role": "user", "content": "a cat"}]
            )

    assert asyncio.run(main()).choices[0].message.content


def test_on_loopback_the_sdk_sees_what_a_client_sees_in_process(relay_server: RelayServer) -> None:
    relay_server.play(CAT)

    async def main() -> Seen:
        reader = Reader()
        async with openai.DefaultAioHttpClient() as http:
            client = openai.AsyncOpenAI(base_url=relay_server.base_url, api_key="sk-test", http_client=http)
            async with client.chat.completions.with_streaming_response.create(**STREAM) as response:
                async for piece in response.iter_bytes():
                    reader.feed(piece)
            reader.seen.media = [(await http.get(url)).content for url in reader.urls()]
        return reader.seen

    assert asyncio.run(main()) == in_process(relay_server.url)
    relay_server.assert_well_behaved()
