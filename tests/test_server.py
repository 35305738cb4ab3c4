"""The relay on loopback, asked by real clients over real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import openai
import pytest
import requests

import tickertape
from tickertape.testing import Fault, Scenario, Tape, UnmatchedRequest, UnplayedError, _guard
from tickertape.testing._gallery import gallery
from tickertape.testing._links import from_loopback, to_loopback
from tickertape.testing._wire import body_of
from tickertape.testing.server import RelayServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tickertape.testing import Call

CAT = Scenario.image("a cat", n=2).progress(14, 48)
MESSAGES: list[Any] = [{"role": "user", "content": "a cat"}]
KEY = {"authorization": "Bearer sk-tickertape"}


@pytest.fixture(scope="module")
def started() -> Iterator[RelayServer]:
    server = RelayServer(strict=True)
    server.start()
    yield server
    server.close()


@pytest.fixture
def server(started: RelayServer) -> RelayServer:
    started.reset(speed=0.0, seed=0, validate=True, rewrite_links=True)
    return started


def body(**more: Any) -> dict[str, Any]:
    return {"model": "gpt-image-1.5", "messages": MESSAGES, **more}


def ask(server: RelayServer, **more: Any) -> httpx.Response:
    return httpx.post(f"{server.base_url}/chat/completions", json=body(**more), headers=KEY)


def soon(true: Callable[[], object]) -> bool:
    """Whether something becomes true; the server's thread may be a moment behind the client."""
    for _ in range(500):
        if true():
            return True
        time.sleep(0.01)
    return False


class Raw:
    """A client that shows what is on the wire."""

    def __init__(self, server: RelayServer) -> None:
        address = urlsplit(server.url)
        self.socket = socket.create_connection((address.hostname or "", address.port or 0), timeout=20)

    def post(self, path: str = "/v1/chat/completions", **more: Any) -> None:
        data = json.dumps(body(**more)).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-x\r\ncontent-length: {len(data)}\r\n\r\n"
        self.socket.sendall(head.encode() + data)

    def read(self) -> bytes:
        """All there is until FIN; a reset raises."""
        data = b""
        while piece := self.socket.recv(65536):
            data += piece
        return data

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def chunks(raw: bytes) -> list[bytes]:
    """The chunks of a chunked body (RFC 9112, 7.1), the last one, which is empty, included if it is there."""
    at, found = raw.index(b"\r\n\r\n") + 4, []
    while at < len(raw):
        start = raw.index(b"\r\n", at) + 2
        at = start + int(raw[at : start - 2], 16) + 2
        found.append(raw[start : at - 2])
    return found


# -- clients --------------------------------------------------------------------------


def test_the_openai_sdk_streams_and_reads_whole_answers(server: RelayServer) -> None:
    server.play(CAT, times=2)
    with openai.OpenAI(base_url=server.base_url, api_key="sk-tickertape") as client:
        whole = client.chat.completions.create(model="gpt-image-1.5", messages=MESSAGES)
        with client.chat.completions.create(model="gpt-image-1.5", messages=MESSAGES, stream=True) as stream:
            streamed = list(tickertape.iter_events(stream))
    task = tickertape.parse_response(whole)
    assert task.status == "completed"
    assert task.progress == (14, 48)
    assert [event.percent for event in streamed if isinstance(event, tickertape.events.Progress)] == [14, 48]
    assert [call.ended for call in server.calls] == ["eof", "eof"]
    assert [call.stream for call in server.calls] == [False, True]
    server.verify()


def test_the_asynchronous_openai_sdk_streams_and_reads_whole_answers(server: RelayServer) -> None:
    server.play(CAT, times=2)

    async def main() -> tuple[Any, list[Any]]:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="sk-tickertape") as client:
            whole = await client.chat.completions.create(model="gpt-image-1.5", messages=MESSAGES)
            stream = await client.chat.completions.create(model="gpt-image-1.5", messages=MESSAGES, stream=True)
            return whole, [event async for event in tickertape.aiter_events(stream)]

    whole, events = asyncio.run(main())
    assert tickertape.parse_response(whole).status == "completed"
    assert [event.percent for event in events if isinstance(event, tickertape.events.Progress)] == [14, 48]
    server.verify()


def test_requests_httpx_and_aiohttp_get_the_same_bytes(server: RelayServer) -> None:
    tape = Tape.load("gpt-image-1.5/cat-drinking-milk")
    server.reset(rewrite_links=False)
    server.play(tape, times=3)
    url, data = f"{server.base_url}/chat/completions", body(stream=True)

    async def asynchronous() -> bytes:
        async with aiohttp.ClientSession() as session, session.post(url, json=data, headers=KEY) as response:
            return await response.read()

    found = [
        requests.post(url, json=data, headers=KEY, timeout=20).content,
        httpx.post(url, json=data, headers=KEY).content,
        asyncio.run(asynchronous()),
    ]
    assert found == [body_of(tape.reply(stream=True))] * 3


def test_models_are_those_that_were_asked_for(server: RelayServer) -> None:
    server.play(CAT, when={"model": "gpt-image-1.5"})
    ask(server)
    models = httpx.get(f"{server.base_url}/models", headers=KEY).json()
    assert [model["id"] for model in models["data"]] == ["gpt-image-1.5"]
    server.verify()


def test_any_prefix_is_a_base_url(server: RelayServer) -> None:
    server.play(CAT)
    response = httpx.post(f"{server.url}/openai/deployments/x/chat/completions", json=body(), headers=KEY)
    assert tickertape.parse_response(response.json()).status == "completed"


def test_the_results_media_and_pages_are_served(server: RelayServer) -> None:
    server.play(CAT)
    task = tickertape.parse_response(ask(server).json())
    pictures = [httpx.get(result.url) for result in task.results]
    assert [picture.headers["content-type"] for picture in pictures] == ["image/png", "image/png"]
    assert pictures[0].content != pictures[1].content
    assert httpx.get(task.links["source"]).json()["status"] == "completed"
    assert task.task_id is not None
    assert task.task_id in httpx.get(task.links["web"]).text
    assert httpx.get(f"{server.base_url}/video/query?id={task.task_id}").json()["status"] == "completed"
    assert httpx.get(f"{server.base_url}/videos/{task.task_id}").json()["status"] == "completed"
    assert [call.kind for call in server.calls] == ["chat", "media", "media", "poll", "web", "poll", "poll"]
    server.verify()


# -- links ----------------------------------------------------------------------------


def test_the_links_of_a_tape_lead_to_the_server(server: RelayServer) -> None:
    server.play("gpt-image-1.5/cat-drinking-milk")
    task = tickertape.parse_response(ask(server, stream=True).content)
    recorded = Tape.load("gpt-image-1.5/cat-drinking-milk").task
    assert [from_loopback(result.url, server.url) for result in task.results] == [r.url for r in recorded.results]
    for url in [result.url for result in task.results] + list(task.links.values()):
        assert url.startswith(server.url)
        assert httpx.get(url).status_code == 200
    server.verify()


def test_the_links_of_a_tape_stay_as_recorded_when_told(server: RelayServer) -> None:
    server.reset(rewrite_links=False)
    server.play("gpt-image-1.5/cat-drinking-milk")
    assert (
        tickertape.parse_response(ask(server).json()).results
        == Tape.load("gpt-image-1.5/cat-drinking-milk").task.results
    )


def test_rewriting_changes_no_tape_but_its_hosts(server: RelayServer) -> None:
    from tickertape.testing._links import moved_to

    changed = 0
    for name in gallery():
        tape = Tape.load(name)
        moved = moved_to(server.url, tape)
        told = json.dumps(moved.task.as_dict(), ensure_ascii=False)
        there = json.loads(to_loopback(json.dumps(tape.task.as_dict(), ensure_ascii=False), server.url))
        assert json.loads(told) == there, name
        changed += moved.interactions != tape.interactions
    assert changed > 20


@pytest.mark.parametrize(
    ("recorded", "moved"),
    [
        ("https://a.example/cdn/download/x.png?b=1#c", "http://127.0.0.1:1/+a.example/cdn/download/x.png?b=1#c"),
        ("http://a.example:8080/x", "http://127.0.0.1:1/+http+a.example:8080/x"),
        ("https://a.example", "http://127.0.0.1:1/+a.example"),
        ("https://a.example/fetch/https://b.example/y", "http://127.0.0.1:1/+a.example/fetch/https://b.example/y"),
        ("http://127.0.0.1:1/source/x", "http://127.0.0.1:1/source/x"),
        ("ftp://a.example/x", "ftp://a.example/x"),
    ],
)
def test_a_link_is_moved_and_moved_back(recorded: str, moved: str) -> None:
    assert to_loopback(recorded, "http://127.0.0.1:1") == moved
    assert from_loopback(moved, "http://127.0.0.1:1") == recorded


def test_what_a_tape_recorded_behind_a_link_is_answered_there(server: RelayServer) -> None:
    link = "https://asyncdata.net/source/task_1?a=b"
    content = f"> ID: `task_1`\\n>[原始数据]({link})\\n\\n>⚡ 生成中.\\n"
    tape = Tape.loads(
        '{"tape": 1, "title": "x"}\n'
        '{"request": {"method": "POST", "path": "/v1/chat/completions", "headers": {}, "json": {}}}\n'
        '{"response": {"status": 200, "headers": {"content-type": "application/json"}}}\n'
        '{"t": 0, "data": "{\\"choices\\": [{\\"index\\": 0, \\"message\\": {\\"role\\": \\"assistant\\", '
        f'\\"content\\": \\"{content.replace(chr(92), chr(92) * 2)}\\"}}}}]}}"}}\n'
        '{"t": 0, "end": "eof"}\n'
        '{"request": {"method": "GET", "path": "/source/task_1?a=b", "headers": {}}}\n'
        '{"response": {"status": 200, "headers": {"content-type": "application/json"}}}\n'
        '{"t": 0, "data": "{\\"id\\": \\"recorded\\", \\"url\\": \\"https://b.example/x.png\\"}"}\n'
        '{"t": 0, "end": "eof"}\n'
    )
    server.play(tape)
    task = tickertape.parse_response(ask(server).json())
    assert task.links["source"] == f"{server.url}/+asyncdata.net/source/task_1?a=b"
    assert httpx.get(task.links["source"]).json() == {"id": "recorded", "url": f"{server.url}/+b.example/x.png"}
    server.verify()


# -- HTTP -----------------------------------------------------------------------------


def test_a_page_of_any_origin_may_ask(server: RelayServer) -> None:
    server.play(CAT)
    preflight = httpx.options(
        f"{server.base_url}/chat/completions",
        headers={
            "origin": "https://app.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, x-stainless-os",
        },
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert ask(server).headers["access-control-allow-origin"] == "*"
    assert len(server.calls) == 1


def test_head_gives_the_length_and_no_body(server: RelayServer) -> None:
    server.play(CAT)
    url = tickertape.parse_response(ask(server).json()).results[0].url
    head, whole = httpx.head(url), httpx.get(url)
    assert head.status_code == 200
    assert head.headers["content-length"] == str(len(whole.content))
    assert head.content == b""


@pytest.mark.parametrize(
    ("asked", "part", "told"),
    [
        ("bytes=0-3", slice(0, 4), "bytes 0-3/{}"),
        ("bytes=10-", slice(10, None), "bytes 10-{last}/{}"),
        ("bytes=-5", slice(-5, None), "bytes {minus5}-{last}/{}"),
        ("bytes=10-99999999", slice(10, None), "bytes 10-{last}/{}"),
    ],
)
def test_a_player_gets_the_part_it_asks_for(server: RelayServer, asked: str, part: slice, told: str) -> None:
    server.play(Scenario.video("a train"))
    url = tickertape.parse_response(ask(server).json()).results[0].url
    whole = httpx.get(url)
    assert whole.headers["accept-ranges"] == "bytes"
    got, size = httpx.get(url, headers={"range": asked}), len(whole.content)
    assert got.status_code == 206
    assert got.content == whole.content[part]
    assert got.headers["content-range"] == told.format(size, last=size - 1, minus5=size - 5)


def test_a_part_behind_the_end_is_refused_and_nonsense_is_ignored(server: RelayServer) -> None:
    server.play(CAT)
    url = tickertape.parse_response(ask(server).json()).results[0].url
    whole = httpx.get(url).content
    behind = httpx.get(url, headers={"range": "bytes=99999999-"})
    assert behind.status_code == 416
    assert behind.headers["content-range"] == f"bytes */{len(whole)}"
    for nonsense in ("bytes=5-2", "bytes=-", "lines=1-2", "bytes=0-1,4-5", "bytes=x"):
        assert httpx.get(url, headers={"range": nonsense}).content == whole
    assert httpx.get(url, headers={"range": "bytes=0-1", "if-range": '"x"'}).content == whole


def test_what_nothing_was_played_for_is_404_and_names_the_remedy(server: RelayServer) -> None:
    with (
        openai.OpenAI(base_url=server.base_url, api_key="sk-tickertape") as client,
        pytest.raises(openai.NotFoundError) as error,
    ):
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert "nothing was played" in error.value.message
    assert "remedy" in error.value.message
    assert [call.kind for call in server.calls] == ["unmatched"]
    with pytest.raises(UnmatchedRequest, match="nothing was played"):
        server.verify()


def test_a_wrong_method_is_405_with_the_right_one(server: RelayServer) -> None:
    for method, path, allow in [("GET", "/chat/completions", "POST, OPTIONS"), ("POST", "/models", "GET, OPTIONS")]:
        response = httpx.request(method, server.base_url + path)
        assert (response.status_code, response.headers["allow"]) == (405, allow)


def test_what_was_never_asked_for_is_told_at_the_end() -> None:
    with pytest.raises(UnplayedError, match="never played"), RelayServer() as server:
        server.play(CAT)


def test_a_mistake_of_the_test_comes_to_light_in_the_test(server: RelayServer) -> None:
    server.play(CAT, fault=Fault.reset(frame=9999))
    response = ask(server, stream=True)
    assert response.status_code == 500
    assert response.headers["x-should-retry"] == "false"
    assert "frame=9999" in response.json()["error"]["message"]
    with pytest.raises(Exception, match="frame=9999"):
        server.verify()


def test_the_client_is_judged(server: RelayServer) -> None:
    server.fail(status=429, retry_after=60)
    server.play(CAT)
    ask(server)
    ask(server)
    with pytest.raises(AssertionError, match="retry_after_ignored"):
        server.assert_well_behaved()
    server.assert_well_behaved(allow=["retry_after_ignored"])


def test_a_wait_that_the_test_lets_pass_counts(server: RelayServer) -> None:
    server.fail(status=429, retry_after=60)
    server.play(CAT)
    ask(server)
    server.clock.advance(61)
    ask(server)
    server.assert_well_behaved()


# -- OpenAI's other endpoints -----------------------------------------------------------


def test_images_are_generated_as_urls_and_as_base64(server: RelayServer) -> None:
    server.play(CAT, times=2)
    with openai.OpenAI(base_url=server.base_url, api_key="sk-tickertape") as client:
        urls = client.images.generate(model="dall-e-3", prompt="a cat", n=2, response_format="url")
        inline = client.images.generate(model="gpt-image-1.5", prompt="a cat", n=2)
    assert urls.data is not None
    assert inline.data is not None
    assert len(urls.data) == len(inline.data) == 2
    pictures = [base64.b64decode(each.b64_json or "") for each in inline.data]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert pictures[0] != pictures[1]
    assert httpx.get(urls.data[0].url or "").content.startswith(b"\x89PNG")
    assert server.calls[0].request.path == "/v1/images/generations"
    assert [call.prompt for call in server.calls.chats] == ["a cat", "a cat"]
    server.assert_well_behaved(allow=["submitted_twice"])
    server.verify()


@pytest.mark.parametrize("count", [1, 2])
def test_an_edit_of_images_is_an_order_with_them(server: RelayServer, count: int) -> None:
    server.play(CAT)
    pictures = [("a.png", b"\x89PNG one", "image/png"), ("b.png", b"\x89PNG two", "image/png")][:count]
    with openai.OpenAI(base_url=server.base_url, api_key="sk-tickertape") as client:
        edited = client.images.edit(
            model="dall-e-2", image=pictures if count > 1 else pictures[0], prompt="with a hat", response_format="url"
        )
    assert edited.data is not None
    assert httpx.get(edited.data[0].url or "").content.startswith(b"\x89PNG")
    call = server.calls.chats.last
    assert (call.request.path, call.prompt) == ("/v1/images/edits", "with a hat")
    assert [url.partition(",")[0] for url in call.images] == ["data:image/png;base64"] * count


def test_images_that_are_moderated_are_an_error(server: RelayServer) -> None:
    server.play(CAT.fail("input_moderation"))
    with (
        openai.OpenAI(base_url=server.base_url, api_key="sk-tickertape") as client,
        pytest.raises(openai.BadRequestError) as error,
    ):
        client.images.generate(model="gpt-image-1.5", prompt="a cat")
    assert error.value.code == "input_moderation"


def test_images_without_a_prompt_are_refused_in_openais_words(server: RelayServer) -> None:
    server.play(CAT, optional=True)
    response = httpx.post(f"{server.base_url}/images/generations", json={"model": "x"}, headers=KEY)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "prompt"


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")  # OpenAI's own; relays go on
def test_a_video_is_a_job_that_is_polled_and_downloaded(server: RelayServer) -> None:
    server.play(Scenario.video("a train").progress(30, 80))
    with openai.OpenAI(base_url=server.base_url, api_key="sk-tickertape") as client:
        job = client.videos.create(model="sora-2", prompt="a train", seconds="4", size="1280x720")
        assert (job.status, job.progress, job.seconds) == ("queued", 0, "4")
        polls = 0
        while job.status in ("queued", "in_progress"):
            job = client.videos.retrieve(job.id)
            assert (polls := polls + 1) < 50
        assert polls > 1
        assert job.status == "completed"
        film = client.videos.download_content(job.id).read()
    assert film[4:8] == b"ftyp"
    assert server.calls.first.prompt == "a train"
    server.verify()


def test_a_picture_in_a_form_is_a_picture_of_the_order(server: RelayServer) -> None:
    server.play(Scenario.video("a train"), when={"image": True})
    files = {"input_reference": ("x.png", b"\x89PNG\r\n--x", "image/png")}
    answer = requests.post(
        f"{server.base_url}/videos",
        data={"prompt": "ein Zug, größer", "model": "m"},
        files=files,
        headers=KEY,
        timeout=20,
    )
    assert answer.json()["status"] == "queued"
    assert server.calls.last.prompt == "ein Zug, größer"
    assert server.calls.last.model == "m"
    assert server.calls.last.images == ("data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n--x").decode(),)


def test_tran_acknowledges_and_the_job_goes_on_behind_it(server: RelayServer) -> None:
    server.play(CAT)
    path = "/tran/https://api.example.com/v1/chat/completions"
    ack = httpx.post(server.url + path, json=body(), headers=KEY).json()
    assert set(ack) == {"id", "preview_url", "source_url"}
    states = [httpx.get(ack["source_url"]).json()["status"] for _ in range(20)]
    assert states[0] != "completed"
    assert states[-1] == "completed"
    assert httpx.get(ack["preview_url"]).status_code == 200


# -- the wire ---------------------------------------------------------------------------


def test_every_chunk_is_a_chunk_on_the_wire(server: RelayServer) -> None:
    server.reset(rewrite_links=False)
    tape = Tape.load("gpt-image-1.5/cat-drinking-milk")
    streamed = Tape("x", interactions=(type(tape.interactions[0])(None, tape.reply(stream=True)),))
    for cut in ("every-byte", "inside-codepoint", 7):
        rechunked = streamed.rechunk(cut)
        server.play(rechunked)
        with Raw(server) as client:
            client.post(stream=True)
            expected = [step.data for step in rechunked.chat.reply if hasattr(step, "data")]
            data = b""
            while not data.endswith(b"\r\n0\r\n\r\n"):
                data += client.socket.recv(65536)
        assert chunks(data) == [*expected, b""]


def test_a_reset_is_a_reset_after_all_that_came_before(server: RelayServer) -> None:
    server.play(CAT, fault=Fault.reset(frame=3))
    with Raw(server) as client:
        client.post(stream=True)
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while True:
                piece = client.socket.recv(65536)
                assert piece, "a FIN in place of a reset"
                data += piece
    assert len(chunks(data)) == 3
    assert server.calls.last.ended == "reset"
    assert server.calls.last.received == sum(map(len, chunks(data)))


def test_an_early_close_is_a_fin_without_the_last_chunk(server: RelayServer) -> None:
    server.play(CAT, fault=Fault.close(frame=3))
    with Raw(server) as client:
        client.post(stream=True)
        data = client.read()
    assert len(chunks(data)) == 3
    assert b"" not in chunks(data)
    assert server.calls.last.ended == "closed"


def test_a_body_shorter_than_its_length_is_closed_in_the_middle(server: RelayServer) -> None:
    server.play(CAT, fault=Fault.truncated_json())
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        ask(server)


def test_a_refused_connection_is_a_reset_before_any_byte(server: RelayServer) -> None:
    server.fail(fault=Fault.refused())
    with Raw(server) as client:
        client.post()
        with pytest.raises(ConnectionResetError):
            client.read()
    assert server.calls.last.ended == "refused"


def test_a_disconnect_is_a_fin_before_any_byte(server: RelayServer) -> None:
    server.fail(fault=Fault.disconnect())
    with Raw(server) as client:
        client.post()
        assert client.read() == b""


def test_an_answer_that_never_comes_ends_with_the_clients_timeout(server: RelayServer) -> None:
    server.fail(fault=Fault.unanswered())
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.base_url}/chat/completions", json=body(), headers=KEY, timeout=0.2)
    assert soon(lambda: server.calls.last.ended == "timeout")
    call = server.calls.last
    assert call.ended_at is not None
    assert call.ended_at - call.time > 0.1


def test_the_same_faults_raise_the_same_errors_in_the_sdk(server: RelayServer) -> None:
    with openai.OpenAI(base_url=server.base_url, api_key="sk-tickertape", max_retries=0, timeout=0.5) as client:
        for fault, expected in [
            (Fault.reset(frame=3), openai.APIConnectionError),
            (Fault.close(frame=3), openai.APIConnectionError),
            (Fault.stall(frame=3), openai.APITimeoutError),
        ]:
            server.play(CAT, fault=fault)
            with pytest.raises(expected):
                for _ in client.chat.completions.create(model="m", messages=MESSAGES, stream=True):
                    pass


def test_broken_frames_come_as_they_are(server: RelayServer) -> None:
    server.play(CAT, fault=Fault.malformed(frame=3))
    response = ask(server, stream=True)
    frames = [frame for frame in response.text.split("\n\n") if frame.startswith("data: {")]
    with pytest.raises(ValueError, match=r"Extra data|Expecting"):
        json.loads(frames[2].removeprefix("data: "))


def test_pauses_are_real_and_scaled_by_speed(server: RelayServer) -> None:
    server.reset(speed=10.0)
    server.play(Scenario.image("a cat").queue(0).generate(0).progress(20, 60).pace(2.0))
    with httpx.stream("POST", f"{server.base_url}/chat/completions", json=body(stream=True), headers=KEY) as response:
        came = [(time.monotonic(), data) for data in response.iter_raw()]
    at = {word: next(t for t, data in came if word in data) for word in (b"20..", b"60..")}
    assert at[b"60.."] - at[b"20.."] > 0.15  # 2 s at ten times the speed, less what the system's clock may skip
    duration = server.calls.last.ended_at
    assert duration is not None
    assert duration - server.calls.last.time > 4.0


def test_a_client_that_leaves_in_a_pause_is_noticed(server: RelayServer) -> None:
    server.reset(speed=1.0)
    server.play(Scenario.image("a cat").progress(20, 60).pace(0.05).stall(600))
    with Raw(server) as client:
        client.post(stream=True)
        assert client.socket.recv(65536)
    assert soon(lambda: server.calls.last.ended == "left")
    call = server.calls.last
    assert call.ended_at is not None
    assert call.reply is not None
    assert call.received < len(body_of(call.reply))


def test_a_slow_reader_is_waited_for_and_gets_every_byte(server: RelayServer) -> None:
    # 30 MB in chunks of 100 kB: more than all the buffers of a system between two sockets.
    frame = "data: " + "x" * 100_000 + "\n\n"
    lines = [
        '{"tape": 1, "title": "large"}',
        '{"response": {"status": 200, "headers": {"content-type": "text/event-stream"}}}',
    ]
    lines += [json.dumps({"t": 0, "data": 'data: {"choices": [{"index": 0, "delta": {"content": "> 1%"}}]}\n\n'})]
    lines += [json.dumps({"t": 0, "data": frame})] * 300 + ['{"t": 0, "end": "eof"}']
    tape = Tape.loads("\n".join(lines) + "\n")
    server.reset(rewrite_links=False)
    server.play(tape)
    with Raw(server) as client:
        client.post(stream=True)
        assert soon(lambda: len(server.calls) == 1 and server.calls.last.received)
        stopped = -1
        while stopped != server.calls.last.received:  # until the server waits
            stopped = server.calls.last.received
            time.sleep(0.2)
        assert stopped < 20_000_000
        assert server.calls.last.ended is None
        data = bytearray()
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += client.socket.recv(1 << 20)
    assert b"".join(chunks(bytes(data))) == body_of(tape.chat.reply)
    assert server.calls.last.ended == "eof"


def test_fifty_streams_at_once_lose_nothing(server: RelayServer) -> None:
    server.reset(rewrite_links=False)
    tape = Tape.load("gpt-image-1.5/cat-drinking-milk")
    server.play(tape, times=None)
    expected = body_of(tape.reply(stream=True))

    async def main() -> list[bytes]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers=KEY) as session:

            async def one() -> bytes:
                async with session.post(f"{server.base_url}/chat/completions", json=body(stream=True)) as response:
                    return await response.read()

            return await asyncio.gather(*(one() for _ in range(50)))

    assert asyncio.run(main()) == [expected] * 50
    assert {call.ended for call in server.calls} == {"eof"}
    assert {call.received for call in server.calls} == {len(expected)}


def test_streams_with_pauses_do_not_wait_for_each_other(server: RelayServer) -> None:
    server.reset(speed=1.0)
    server.play(Scenario.image("a cat").progress(20, 60).pace(0.1), times=None)
    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: ask(server, stream=True).content, range(20)))
    elapsed = time.monotonic() - began
    assert all(tickertape.parse_response(answer).status == "completed" for answer in answers)
    alone = max((call.ended_at or 0) - call.time for call in server.calls)
    assert elapsed < 20 * alone / 2


# -- sessions -----------------------------------------------------------------------------


def test_sessions_keep_parallel_tests_apart(server: RelayServer) -> None:
    one, two = server.session("one"), server.session("two")
    one.play(Scenario.image("a cat"))
    two.play("gpt-image-1.5/cat-drinking-milk")
    assert httpx.post(f"{one.base_url}/chat/completions", json=body(), headers=KEY).status_code == 200
    by_header = {**KEY, "x-tickertape-session": "two"}
    answer = httpx.post(f"{server.base_url}/chat/completions", json=body(), headers=by_header)
    for session, told in [(one, one.calls.last.reply), (two, two.calls.last.reply)]:
        task = tickertape.parse_response(body_of(told or ()))
        # A browser follows a link without the header.
        for url in [task.results[0].url, task.links["source"]]:
            assert httpx.get(url).status_code == 200
        assert [call.kind for call in session.calls] == ["chat", "media", "poll"]
        session.verify()
    assert tickertape.parse_response(answer.json()).results[0].url.startswith(f"{server.url}/@two/+")
    assert len(server.calls) == 0


def test_sessions_are_bounded_and_named(server: RelayServer) -> None:
    for number in range(256):
        server.session(f"worker-{number}")
    response = httpx.post(
        f"{server.base_url}/chat/completions", json=body(), headers={"x-tickertape-session": "one-more"}
    )
    assert response.status_code == 400
    assert "256" in response.json()["error"]["message"]
    response = httpx.post(f"{server.base_url}/chat/completions", json=body(), headers={"x-tickertape-session": "a b"})
    assert response.status_code == 400


# -- life -----------------------------------------------------------------------------------


def test_a_server_ends_what_is_under_way_and_frees_its_port() -> None:
    server = RelayServer(speed=1.0)
    server.start()
    address = urlsplit(server.url)
    assert (address.hostname, address.port) in _guard.served
    server.fail(fault=Fault.unanswered())
    threads = threading.active_count()
    with Raw(server) as client:
        client.post()
        assert soon(lambda: len(server.calls))
        server.close()
        with contextlib.suppress(ConnectionResetError):  # FIN or RST, as the system likes; a wait is a TimeoutError
            assert client.read() == b""
    assert server.calls.last.ended == "hang"
    assert (address.hostname, address.port) not in _guard.served
    assert threading.active_count() == threads - 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname or "", address.port or 0))


def test_a_reset_breaks_off_what_is_under_way(server: RelayServer) -> None:
    server.reset(speed=1.0)
    server.play(Scenario.image("a cat").pace(0.05).stall(600))
    with httpx.stream("POST", f"{server.base_url}/chat/completions", json=body(stream=True), headers=KEY) as response:
        pieces = response.iter_raw()
        next(pieces)
        call: Call = server.calls.last
        server.reset()
        with pytest.raises(httpx.TransportError):
            for _ in pieces:
                pass
    assert call.ended == "closed"
    assert len(server.calls) == 0


def test_a_server_is_an_asynchronous_context_manager() -> None:
    async def main() -> None:
        async with RelayServer() as server:
            server.play(CAT)
            async with httpx.AsyncClient() as client:
                response = await client.post(f"{server.base_url}/chat/completions", json=body(), headers=KEY)
            assert response.status_code == 200

    asyncio.run(main())


def test_a_port_that_is_taken_is_told_with_a_remedy(server: RelayServer) -> None:
    port = urlsplit(server.url).port or 0
    with pytest.raises(tickertape.TickertapeError, match=r"cannot listen .* take another port"):
        RelayServer(port=port).start()


def test_a_server_that_does_not_run_says_so() -> None:
    with pytest.raises(tickertape.TickertapeError, match="does not run"):
        RelayServer().play(CAT)


_SERVE = "from tickertape.testing.server import serve; serve({!r}, speed=0)"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_one_line_plays_in_turn_and_ends_cleanly(how: signal.Signals) -> None:
    tapes = ["gpt-image-1.5/cat-drinking-milk", "sora-2/kite-festival"]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _SERVE.format(tapes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    base_url = process.stdout.readline().strip()
    kinds = []
    for _ in range(4):
        answer = httpx.post(f"{base_url}/chat/completions", json=body(), headers=KEY).json()
        kinds.append(tickertape.parse_response(answer).results[0].kind)
    process.send_signal(how)
    out, err = process.communicate(timeout=20)
    assert kinds == ["image", "video", "image", "video"]
    assert (process.returncode, out, err) == (0, "", "")


def test_serve_without_tapes_answers_with_a_scenario_of_the_model(server: RelayServer) -> None:
    from tickertape.testing.server import _scenarios

    server.answer_all(_scenarios(None))
    try:
        film = httpx.post(f"{server.base_url}/chat/completions", json=body(model="sora-2-pro"), headers=KEY).json()
        picture = httpx.post(f"{server.base_url}/chat/completions", json=body(model="any"), headers=KEY).json()
        wrong = httpx.post(f"{server.base_url}/elsewhere", json=body(), headers=KEY)
    finally:
        server.answer_all(None)
    assert tickertape.parse_response(film).results[0].kind == "video"
    assert tickertape.parse_response(picture).results[0].kind == "image"
    assert wrong.status_code == 404


def test_what_a_browser_asks_by_itself_is_no_call(server: RelayServer) -> None:
    assert httpx.get(f"{server.url}/favicon.ico").status_code == 404
    assert httpx.get(f"{server.url}/__tickertape__").headers["location"] == "/__tickertape__/"
    assert len(server.calls) == 0
    server.verify()
