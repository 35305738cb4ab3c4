"""What is asked of httpx and of httpx2, which are one interface."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import tickertape
from tickertape.testing import FakeRelay, Fault, Scenario, UnmatchedRequest

URL = "https://relay.example/v1/chat/completions"
HEADERS = {"authorization": "Bearer sk-test"}


def ask(stream: bool = False) -> dict[str, Any]:
    body = {"model": "sora-2", "stream": stream, "messages": [{"role": "user", "content": "a train"}]}
    return {"url": URL, "json": body, "headers": HEADERS}


def test_a_stream_is_read_as_it_comes(fake_relay: FakeRelay, http: Any) -> None:
    fake_relay.play(Scenario.video("a train").progress(20, 60))
    reader, kinds = tickertape.ResponseReader(), []
    with http.Client() as client, client.stream("POST", **ask(stream=True)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for chunk in response.iter_bytes():
            kinds += [type(event).__name__ for event in reader.feed(chunk)]
        kinds += [type(event).__name__ for event in reader.close()]
    assert kinds.count("Progress") >= 2
    assert reader.task.status == "completed"


def test_a_whole_answer_is_read(fake_relay: FakeRelay, http: Any) -> None:
    fake_relay.play(Scenario.video("a train"))
    with http.Client(timeout=60) as client:
        assert tickertape.parse_response(client.post(**ask()).json()).status == "completed"


@pytest.mark.parametrize("stream", [False, True])
def test_asynchronous_clients_read_the_same(fake_relay: FakeRelay, http: Any, stream: bool) -> None:
    fake_relay.play(Scenario.video("a train"))

    async def main() -> bytes:
        async with http.AsyncClient(timeout=60) as client, client.stream("POST", **ask(stream)) as response:
            return b"".join([chunk async for chunk in response.aiter_raw()])

    assert tickertape.parse_response(asyncio.run(main())).status == "completed"


def test_a_job_is_polled_and_its_result_downloaded(fake_relay: FakeRelay, http: Any) -> None:
    fake_relay.play(Scenario.video("a train").detached().queue(3).generate(20))
    with http.Client(timeout=60) as client:
        link = tickertape.parse_response(client.post(**ask()).json()).links["source"]
        while (task := client.get(link).json())["status"] not in ("completed", "failed"):
            time.sleep(10)
        assert client.get(task["video_url"]).content[4:8] == b"ftyp"
    assert fake_relay.clock.now >= 100
    fake_relay.assert_well_behaved()


def test_a_429_tells_when_to_come_again(fake_relay: FakeRelay, http: Any) -> None:
    fake_relay.fail(status=429, retry_after=20)
    fake_relay.play(Scenario.image("a train"))
    with http.Client(timeout=60) as client:
        while (answer := client.post(**ask())).status_code == 429:
            time.sleep(float(answer.headers["retry-after"]))
    assert fake_relay.calls[1].time - fake_relay.calls[0].time >= 20
    fake_relay.assert_well_behaved()


def test_faults_raise_what_sockets_do(fake_relay: FakeRelay, http: Any) -> None:
    for fault in (Fault.refused(), Fault.unanswered(), Fault.reset(byte=10), Fault.close(byte=10)):
        fake_relay.fail(fault=fault)
    with http.Client(timeout=0.3) as client:
        for kind in (http.ConnectError, http.ReadTimeout, http.ReadError, http.RemoteProtocolError):
            with pytest.raises(kind):
                client.post(**ask(stream=True))
    assert fake_relay.clock.now >= 0.3


def test_an_unmatched_request_reaches_the_caller_at_once(http: Any) -> None:
    with FakeRelay() as relay, http.Client() as client:
        with pytest.raises(UnmatchedRequest, match="nothing was played"):
            client.post(**ask())
        assert len(relay.calls) == 1
        relay.reset()
