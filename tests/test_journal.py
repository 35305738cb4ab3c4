"""The journal tells each request and what was answered, as far as the client read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tickertape import TickertapeError
from tickertape.testing import FakeRelay, Fault, Scenario
from tickertape.testing._journal import Call, Calls, NoCalls, UnknownKind, seconds
from tickertape.testing._wire import Data, End, Request, body_of, streamed, whole

FIXTURES = Path(__file__).parent.parent / "fixtures"
PLANTED = "sk-" + 3 * "SECRET7"
"""Of a key's shape, which no file should show."""
ORIGIN = "http://relay.test"
CAT = json.loads((FIXTURES / "gpt-image-1.5/cat-drinking-milk.request.json").read_text("utf-8"))["json"]
CAT_REPLY = whole(
    200, (FIXTURES / "gpt-image-1.5/cat-drinking-milk.json").read_bytes(), content_type="application/json"
)
TEXT = [{"role": "user", "content": "a cat"}]


def request(body: Any, **headers: str) -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request("POST", f"{ORIGIN}/v1/chat/completions", {k.replace("_", "-"): v for k, v in headers.items()}, data)


def chat(body: Any, **fields: Any) -> Call:
    return Call(1, 0.0, request(body), "chat", **fields)


def message(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": url}


TEXT_PART = {"type": "text", "text": "a cat"}


def test_a_recorded_request_is_told() -> None:
    call = chat(CAT)
    assert call.prompt == "图中形象在喝牛奶"
    assert call.images == ("https://aliyuncs.com/wiki/code/mdjourney/cat_3.png",)
    assert (call.model, call.stream, call.attempt, call.retry) == ("gpt-image-1.5", False, 1, None)


@pytest.mark.parametrize(
    ("body", "prompt", "images"),
    [
        pytest.param({"messages": TEXT}, "a cat", (), id="content that is text"),
        pytest.param({"messages": [message(TEXT_PART, {"type": "text", "text": "b"})]}, "a cat\nb", (), id="two parts"),
        pytest.param({"messages": [*TEXT, message(TEXT_PART, role="assistant")]}, "a cat", (), id="an answer after it"),
        pytest.param({"messages": [*TEXT, {"role": "user", "content": "a dog"}]}, "a dog", (), id="the last message"),
        pytest.param(
            {"messages": [message(image({"url": "x:1"})), message(TEXT_PART, image("x:2"))]},
            "a cat",
            ("x:1", "x:2"),
            id="images of all messages",
        ),
        pytest.param(
            {"messages": [message(image({"url": "x:1"}), role="assistant")]}, "", (), id="no input of the user"
        ),
        pytest.param(
            {"input": [message({"type": "input_text", "text": "b"}, {"type": "input_image", "image_url": "x:1"})]},
            "b",
            ("x:1",),
            id="input of the Responses API",
        ),
        pytest.param({"input": "a cat"}, "a cat", (), id="input that is text"),
        pytest.param({"messages": "a cat"}, "a cat", (), id="messages that are text"),
        pytest.param(
            {"messages": [None, {"role": "user"}, message(None, image(3), image({}))]}, "", (), id="odd parts"
        ),
        pytest.param({"messages": 3, "model": 3, "stream": "yes"}, "", (), id="odd types"),
        pytest.param([1], "", (), id="a list"),
        pytest.param(b"\xff{", "", (), id="no JSON"),
        pytest.param(b"", "", (), id="no body"),
    ],
)
def test_prompt_and_images_are_those_of_the_user(body: Any, prompt: str, images: tuple[str, ...]) -> None:
    call = chat(body)
    assert (call.prompt, call.images, call.model, call.stream) == (prompt, images, "", False)


def test_an_asked_for_stream_is_told() -> None:
    assert chat({"messages": TEXT, "stream": True}).stream is True


@pytest.mark.parametrize(
    ("header", "retry"), [("2", 2), ("0", 0), ("", None), ("-1", None), ("²", None), ("9" * 5000, None)]
)
def test_the_retry_count_of_the_sdk_is_told(header: str, retry: int | None) -> None:
    call = Call(1, 0.0, request({}, x_stainless_retry_count=header), "chat")
    assert call.retry == retry


@pytest.mark.parametrize(
    ("body", "attempt"),
    [
        pytest.param(b'{"model": "m", "n": 1}', 2, id="the same bytes"),
        pytest.param(b'{"n":1,"model":"m"}', 2, id="the same JSON"),
        pytest.param(b'{"n":1,"model":"m","stream":true,"stream_options":{}}', 2, id="streamed this time"),
        pytest.param(b'{"n":2,"model":"m"}', 1, id="another number"),
        pytest.param(b'{"n":true,"model":"m"}', 1, id="true is not 1"),
        pytest.param(b"", 1, id="nothing"),
    ],
)
def test_an_attempt_counts_the_chats_that_order_the_same(body: bytes, attempt: int) -> None:
    calls = Calls()
    calls.append(chat(b'{"model": "m", "n": 1}'))
    calls.append(Call(2, 0.0, request(body), "other"))
    calls.append(Call(3, 0.0, request(body), "chat"))
    calls.append(Call(4, 0.0, request(b'{"model": "m", "n": 1}'), "chat"))
    assert calls[2].attempt == attempt
    assert calls[0].attempt == 1


def test_an_order_nested_too_deep_to_write_is_told_by_its_bytes() -> None:
    for body in (b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", b"[" * 100_000):
        calls = Calls()
        for number in (1, 2):
            calls.append(Call(number, 0.0, request(body), "chat"))
        assert calls.last.attempt == 2


def test_the_task_is_what_the_client_was_sent_so_far() -> None:
    call = chat(CAT, reply=CAT_REPLY)
    assert call.task is not None
    assert call.task.status == "incomplete"
    call.received, call.ended = len(body_of(CAT_REPLY)), "eof"
    task = call.task
    assert task is not None
    assert (task.status, len(task.results)) == ("completed", 2)
    assert call.task is task


def test_the_task_of_a_stream_grows_with_what_is_received() -> None:
    data = (FIXTURES / "sora-2/lighthouse-remix.sse").read_bytes()
    call = chat({"messages": TEXT}, reply=streamed(200, [Data(0.1, data)]))
    seen = []
    for received in range(0, len(data) + 1, 97):
        call.received = received
        assert call.task is not None
        seen.append(len(call.task.text))
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    assert call.task is not None
    assert call.task.status == "completed"


def test_the_task_of_an_error_is_read_with_its_status() -> None:
    call = chat(CAT, reply=whole(503, (FIXTURES / "errors/no-channel.json").read_bytes()), received=10**6)
    assert call.task is not None
    assert call.task.error is not None
    assert (call.status, call.task.error.category) == (503, "not_found")


@pytest.mark.parametrize(
    ("kind", "reply"), [("web", CAT_REPLY), ("media", CAT_REPLY), ("chat", None), ("chat", (End(0.0, "refused"),))]
)
def test_what_tells_of_no_task_has_none(kind: Any, reply: Any) -> None:
    call = Call(1, 0.0, request(CAT), kind, reply=reply)
    assert call.task is None
    assert call.status == (200 if reply is CAT_REPLY else None)


def test_a_call_is_json_data_without_secrets() -> None:
    keys = {"Authorization": "Bearer sk-secret", "x_api_key": "sk-secret", "cookie": "sk-secret", "accept": "*/*"}
    call = Call(
        3, 1.5, request(CAT, **keys), "chat", answer="cat", reply=CAT_REPLY, job=("a", 1), received=10**6, ended="eof"
    )
    told = json.loads(json.dumps(call.as_dict()))
    assert "sk-secret" not in str(told)
    assert "sk-secret" not in f"{call!r} {Calls([call])!r}"
    assert told["request"]["headers"] == {
        "Authorization": "REDACTED",
        "x-api-key": "REDACTED",
        "cookie": "REDACTED",
        "accept": "*/*",
    }
    assert (told["number"], told["time"], told["status"], told["prompt"]) == (3, 1.5, 200, "图中形象在喝牛奶")
    assert told["task"]["status"] == "completed"
    assert Call(1, 0.0, Request("GET", ORIGIN), "unmatched").as_dict()["task"] is None


def test_secrets_are_taken_out_wherever_a_request_holds_them() -> None:
    url = f"{ORIGIN}/v1/chat/completions?key=SECRET1&api_key=SECRET2&n=1"
    headers = {
        "authorization": "Bearer SECRET3",
        "x-auth-token": "SECRET4",
        "mj-api-secret": "SECRET5",
        "accept": "*/*",
    }
    body = {
        "model": "m",
        "api_key": "SECRET6",
        "user": "ann",
        "messages": [message({"type": "text", "text": f"say {PLANTED}"}, image("data:image/png;base64,AA"))],
    }
    call = Call(1, 0.0, Request("POST", url, headers, json.dumps(body).encode()), "chat")
    told = call.as_dict()
    assert "SECRET" not in json.dumps(told)
    assert "SECRET" not in repr(call.request)
    assert repr(call.request) == f"<Request POST {ORIGIN}/v1/chat/completions?…, {len(call.request.body)} bytes>"
    assert told["request"]["url"].endswith("&n=1")
    assert told["request"]["headers"]["accept"] == "*/*"
    assert (told["request"]["json"]["user"], told["model"]) == ("ann", "m")
    assert told["prompt"].startswith("say REDACTED")
    assert told["images"] == ["data:image/png;base64,AA"]
    assert call.prompt == f"say {PLANTED}"


def test_an_attempt_is_one_of_the_same_key() -> None:
    calls = Calls()
    for number, key in enumerate(("a", "b", "a"), 1):
        calls.append(Call(number, 0.0, request({"messages": TEXT}, authorization=f"Bearer {key}"), "chat"))
    assert [call.attempt for call in calls] == [1, 1, 2]


def test_calls_are_a_sequence_that_grows_with_the_journal() -> None:
    calls = Calls()
    kinds: list[Any] = ["chat", "poll", "web", "media", "models", "unmatched", "chat"]
    journal = [Call(number, 0.0, request(CAT), kind) for number, kind in enumerate(kinds, 1)]
    for call in journal:
        calls.append(call)
    assert len(calls) == 7
    assert list(calls) == journal == [calls[at] for at in range(7)]
    assert (calls.first.number, calls.last.number) == (1, 7)
    told = {name: [c.number for c in getattr(calls, name)] for name in ("chats", "polls", "media", "unmatched")}
    assert told == {"chats": [1, 7], "polls": [2, 3], "media": [4], "unmatched": [6]}
    assert [call.number for call in calls.of_kind("models", "media")] == [4, 5]
    assert isinstance(calls[1:3], Calls)
    assert calls[1:3].last.number == 3


@pytest.mark.parametrize("part", [lambda calls: calls[-1], lambda calls: calls[0]])
def test_an_index_of_no_call_is_told_with_the_remedy(part: Any) -> None:
    with pytest.raises(NoCalls, match="no request has reached the relay; give the client the relay's base_url"):
        part(Calls())
    with pytest.raises(NoCalls, match=r"there is no such call: \[7\] of 1, "):
        Calls([chat(CAT)])[7]


def test_calls_that_are_of_no_such_kind_are_told_with_the_kinds_that_there_are() -> None:
    calls = Calls([chat(CAT), Call(2, 0.0, request(CAT), "models")])
    with pytest.raises(NoCalls, match="none of the 2 calls is of the kind media; there are chat, models"):
        calls.media.last  # noqa: B018
    with pytest.raises(NoCalls, match="none of the 2 calls is of the kind poll or web"):
        calls.polls[0]
    with pytest.raises(NoCalls, match="an empty part of 2 calls"):
        calls[2:].first  # noqa: B018
    with pytest.raises(NoCalls, match="no request has reached the relay"):
        Calls().media.last  # noqa: B018


def test_a_kind_that_no_call_can_be_of_is_refused() -> None:
    with pytest.raises(UnknownKind, match="no call is of the kind 'chatt'; there are chat, poll, web, ") as error:
        Calls().of_kind("chat", "chatt")  # type: ignore[arg-type]
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("name", ["first", "last"])
def test_a_call_that_is_not_there_is_told_with_the_remedy(name: str) -> None:
    with pytest.raises(NoCalls, match="no request has reached the relay; give the client the relay's base_url"):
        getattr(Calls(), name)
    assert issubclass(NoCalls, IndexError)
    assert issubclass(NoCalls, TickertapeError)


def test_the_table_tells_a_call_a_line() -> None:
    first = chat(CAT, answer="cat", reply=CAT_REPLY, received=12, ended="left", ended_at=41.25)
    poster = Request("GET", f"{ORIGIN}/cdn/{'x' * 60}/poster.webp?sig=secret")
    calls = Calls()
    for call in (first, Call(2, 60.0, poster, "media", role="poster"), Call(3, 61.0, request(CAT), "chat")):
        calls.append(call)
    header, *lines = str(calls).splitlines()
    assert header.split() == ["#", "time", "kind", "request", "asked", "status", "answer", "ended"]
    assert lines[0].split("  ")[:2] == ["1", "0 s"]
    assert 'gpt-image-1.5 "图中形象在喝牛奶"  ' in lines[0]
    assert lines[0].endswith("  200     cat     left at 41.25 s, 12 bytes")
    assert "media poster  GET /cdn/" in lines[1]
    assert "…" in lines[1]
    assert "/poster.webp " in lines[1]
    assert "secret" not in lines[1]
    assert "(attempt 2)  -" in lines[2]
    assert lines[2].endswith("under way, 0 bytes")
    assert repr(calls) == f"<Calls: 3>\n{calls}"
    assert str(Calls()) == "no calls"


def test_the_columns_of_the_table_stand_below_each_other_whatever_the_width_of_a_character() -> None:
    prompts = ["a cat", "图中形象在喝牛奶" * 9, "🐈" * 40, "e\u0301" * 30]
    calls = Calls([chat({"messages": [{"role": "user", "content": p}]}, answer="ANSWER") for p in prompts])
    header, *lines = str(calls).splitlines()
    at = header.index("answer")
    for line in lines:
        before = line[: line.index("ANSWER")]
        wide = sum(c > "\u2fff" for c in before) - before.count("\u0301")
        assert len(before) + wide == at


def test_a_terminal_obeys_nothing_in_a_table() -> None:
    evil = "\x1b[2J\x07\n\r\u202e\x9b31m"
    call = Call(
        1,
        0.0,
        Request("GET\x1b", f"{ORIGIN}/\x1b]0;x", {}, json.dumps({"model": evil, "input": evil}).encode()),
        "other",
        answer=evil,
    )
    shown = f"{Calls([call])}{call!r}"
    assert not set(shown) & set(evil.replace("[2J", "").replace("31m", "")) - {"\n"}
    assert len(str(Calls([call])).splitlines()) == 2
    assert "\\x1b" in shown


def test_a_long_table_is_cut_at_its_beginning() -> None:
    calls = Calls([Call(number, 0.0, request(CAT), "chat") for number in range(1, 101)])
    lines = str(calls).splitlines()
    assert len(lines) == 52
    assert lines[1] == "… 50 earlier"
    assert lines[-1].startswith("100 ")
    assert len(calls.table(rows=100).splitlines()) == 101


@pytest.mark.parametrize(
    ("time", "text"), [(0, "0 s"), (40.0, "40 s"), (0.25, "0.25 s"), (1 / 3, "0.333 s"), (100, "100 s")]
)
def test_times_are_written_without_idle_zeros(time: float, text: str) -> None:
    assert seconds(time) == text


def test_who_meets_the_relay_for_the_first_time_is_told_what_they_stumble_over() -> None:
    with FakeRelay(strict=False) as relay, httpx.Client() as client:
        relay.play(Scenario.video("a kite"), times=3)
        body = {"model": "sora-2", "messages": [{"role": "user", "content": "a kite"}]}
        keyless = client.post("https://relay.example/v1/chat/completions", json=body)
        with pytest.raises(httpx.ReadTimeout):
            client.post("https://relay.example/v1/chat/completions", json=body, headers={"authorization": "Bearer x"})
        patient = {"authorization": "Bearer x"}
        client.post("https://relay.example/v1/chat/completions", json=body, headers=patient, timeout=60)
    assert keyless.status_code == 401
    refused, late = relay.calls.hints()
    assert refused.startswith("call 1 was refused as a relay does, with status 401: send what it asks for")
    assert late.startswith("call 2: the whole answer would have come after 35 s, and the client's read timeout")
    assert relay.calls.first.answer == "refused: 未提供令牌"


def test_a_silence_that_nothing_ends_is_no_answer_that_would_have_come() -> None:
    with FakeRelay(strict=False, validate=False) as relay, httpx.Client() as client:
        relay.fail(fault=Fault.unanswered())
        with pytest.raises(httpx.ReadTimeout):
            client.post("https://relay.example/v1/chat/completions", json={})
    assert relay.calls.hints() == []
