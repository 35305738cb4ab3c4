"""Many requests and many streams: nothing is lost, and nothing grows that need not."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest

import tickertape
from tickertape.testing import Fault, Scenario, Tape, _relay
from tickertape.testing._wire import body_of
from tickertape.testing.server import KEPT, RelayServer

from .clients.loopback import ASK, CAT, KEY, STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickertape.testing import Call

KEEP = 20


def ask(server: RelayServer, client: httpx.Client, **more: Any) -> httpx.Response:
    return client.post(f"{server.base_url}/chat/completions", json={**ASK, **more})


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(headers=KEY, timeout=20) as client:
        yield client


@pytest.fixture
def forgetful() -> Iterator[RelayServer]:
    """A server that is run as `tickertape serve` runs it, with a smaller journal."""
    server = RelayServer(keep=KEEP, strict=False).start()
    server.answer_all(lambda request: CAT)
    yield server
    server.close()


def test_two_hundred_streams_at_once_lose_no_byte(relay_server: RelayServer) -> None:
    # Each of another length and cut elsewhere, so that none can be another's.
    tapes = [Tape.loads(f"> {'.' * 20}\n" * (5 + n % 7) + "![a](/a.png)", suffix=".md") for n in range(200)]
    streams = [tape.reply(stream=True) for tape in tapes]
    whole = [
        Tape(f"t{n}", interactions=(type(tape.interactions[0])(None, streams[n]),)).rechunk(n)
        for n, tape in enumerate(tapes)
    ]
    for number, tape in enumerate(whole):
        relay_server.play(tape, when={"prompt_is": f"cat {number}"})

    async def main() -> list[bytes]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers=KEY) as session:

            async def one(number: int) -> bytes:
                body = {**STREAM, "messages": [{"role": "user", "content": f"cat {number}"}]}
                async with session.post(f"{relay_server.base_url}/chat/completions", json=body) as response:
                    return await response.read()

            return await asyncio.gather(*map(one, range(200)))

    assert asyncio.run(main()) == list(map(body_of, streams))
    assert [call.ended for call in relay_server.calls] == ["eof"] * 200


def test_two_thousand_requests_in_sequence_are_all_in_the_journal(
    relay_server: RelayServer, client: httpx.Client
) -> None:
    relay_server.play("gpt-image-1.5/cat-drinking-milk", times=None)
    first = ask(relay_server, client).content
    assert all(ask(relay_server, client).content == first for _ in range(1999))
    assert [call.number for call in relay_server.calls] == list(range(1, 2001))
    assert {(call.status, call.received) for call in relay_server.calls} == {(200, len(first))}


# -- a journal that forgets ------------------------------------------------------------------


def test_a_journal_that_forgets_holds_the_last_calls_and_their_jobs_and_no_more(
    forgetful: RelayServer, client: httpx.Client
) -> None:
    seen: list[weakref.ref[Call]] = []
    for _ in range(5 * KEEP):
        assert tickertape.parse_response(ask(forgetful, client).json()).status == "completed"
        seen.append(weakref.ref(forgetful.calls.last))
    assert [call.number for call in forgetful.calls] == list(range(4 * KEEP + 1, 5 * KEEP + 1))
    assert forgetful.calls.seen == 5 * KEEP
    core = forgetful.session("")._relay
    assert len(core._jobs) == KEEP
    assert len(core.plays) <= 1
    assert len(forgetful.session("").feed.since(0)) <= 2 * KEEP
    gc.collect()
    assert sum(each() is not None for each in seen) <= KEEP + 1  # one may be on the stack of the server's thread


def test_links_are_good_for_as_long_as_a_call_of_their_job_is_kept(
    forgetful: RelayServer, client: httpx.Client
) -> None:
    first = tickertape.parse_response(ask(forgetful, client).json())
    second = tickertape.parse_response(ask(forgetful, client).json())
    for _ in range(2 * KEEP):  # who goes on to ask for a job keeps it
        assert client.get(first.links["source"]).status_code == 200
    assert client.get(second.links["source"]).status_code == 404
    assert client.get(first.results[0].url).content.startswith(b"\x89PNG")


def test_what_is_under_way_is_not_forgotten(forgetful: RelayServer, client: httpx.Client) -> None:
    forgetful.reset(speed=1.0)
    forgetful.play(Scenario.image("a cat").progress(14).pace(0.01), fault=Fault.stall(event="Progress"))
    with client.stream("POST", f"{forgetful.base_url}/chat/completions", json=STREAM) as response:
        pieces = response.iter_raw()  # kept: a generator that is let go closes the answer
        next(pieces)
        for _ in range(2 * KEEP):
            client.get(f"{forgetful.base_url}/models")
        assert [call.number for call in forgetful.calls][:2] == [1, KEEP + 3]
        assert forgetful.calls.first.ended is None


def test_the_controls_tell_of_the_calls_that_are_kept(forgetful: RelayServer, client: httpx.Client) -> None:
    for _ in range(KEEP + 5):
        ask(forgetful, client)
    controls = f"{forgetful.url}/__tickertape__"
    numbers = [call["number"] for call in client.get(f"{controls}/journal").json()["calls"]]
    assert numbers == list(range(6, KEEP + 6))
    assert client.get(f"{controls}/calls/6").json()["number"] == 6
    gone = client.get(f"{controls}/calls/5")
    assert gone.status_code == 404
    assert f"there were {KEEP + 5} calls" in gone.json()["error"]["message"]


def test_large_requests_are_forgotten_sooner(
    forgetful: RelayServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_relay, "_MOST_HELD", 300_000)
    for number in range(10):
        ask(forgetful, client, padding=str(number) * 100_000)
    assert [call.number for call in forgetful.calls] == [9, 10]
    ask(forgetful, client, padding="x" * 1_000_000)
    assert [call.number for call in forgetful.calls] == [11], "the last one is kept, whatever its size"


def test_what_was_asked_in_vain_is_forgotten_too(forgetful: RelayServer, client: httpx.Client) -> None:
    for _ in range(2 * KEEP):
        assert client.get(f"{forgetful.url}/nothing").status_code == 404
    assert len(forgetful.unmatched) == KEEP


def test_serve_forgets_and_a_fixture_does_not(relay_server: RelayServer) -> None:
    assert relay_server._options.keep is None
    assert KEPT >= 1000


# -- what is made once -----------------------------------------------------------------------


def test_a_tape_is_converted_once_for_all_requests() -> None:
    tape = Tape.load("gpt-image-1.5/cat-drinking-milk")
    for stream in (True, False, None):
        assert tape.reply(stream=stream) is tape.reply(stream=stream)
    assert tape.reply(stream=True, include_usage=True) != tape.reply(stream=True)
    assert tape.rechunk(1).reply(stream=False) is not tape.reply(stream=False)
    assert tape == Tape.load("gpt-image-1.5/cat-drinking-milk"), "what was converted is no part of the tape"


def test_a_tape_that_answers_all_is_led_to_the_server_once(forgetful: RelayServer, client: httpx.Client) -> None:
    tape = Tape.load("gpt-image-1.5/cat-drinking-milk")
    forgetful.answer_all(lambda request: tape)
    answers = [ask(forgetful, client) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert f"{forgetful.url}/+" in answers[0].text
    replies = [call.reply for call in forgetful.calls]
    assert replies[0] is replies[1] is replies[2]


def test_a_request_that_the_rules_refuse_uses_up_no_turn(forgetful: RelayServer, client: httpx.Client) -> None:
    told: list[str] = []

    def fallback(request: Any) -> Scenario:
        told.append(json.loads(request.body)["messages"][0]["content"])
        return Scenario.image(told[-1])

    forgetful.answer_all(fallback)
    assert httpx.post(f"{forgetful.base_url}/chat/completions", json=ASK).status_code == 401
    mine = {"messages": [{"role": "user", "content": "mine"}]}
    assert '"mine"' in tickertape.parse_response(ask(forgetful, client, **mine).json()).text
