"""The relay without I/O: what is played for which request, in which order, and what is said of the rest."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

import tickertape
from tickertape.testing import Fault, Scenario, Tape, UnmatchedRequest, UnplayedError, When
from tickertape.testing._client import Client
from tickertape.testing._clock import VirtualClock
from tickertape.testing._endpoints import answer
from tickertape.testing._facts import Interaction
from tickertape.testing._journal import Call
from tickertape.testing._matching import MatchError
from tickertape.testing._plays import PlayError
from tickertape.testing._relay import Relay
from tickertape.testing._wire import Request, body_of, end_of, head_of, whole

CAT = "gpt-image-1.5/cat-drinking-milk"


def chat(
    prompt: str = "a cat", *, model: str = "gpt-image-1.5", image: str | None = None, url: str = "", **body: Any
) -> Request:
    content: Any = prompt
    if image is not None:
        content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": image}}]
    request = {"model": model, "messages": [{"role": "user", "content": content}], **body}
    headers = {"authorization": "Bearer sk-test", "content-type": "application/json"}
    return Request("POST", url or "https://any.example/v1/chat/completions", headers, json.dumps(request).encode())


def order(path: str, **body: Any) -> Request:
    """What OpenAI's other endpoints are asked."""
    headers = {"authorization": "Bearer sk-test", "content-type": "application/json"}
    told = {"model": "sora-2", "prompt": "a cat", **body}
    return Request("POST", f"https://any.example/v1/{path}", headers, json.dumps(told).encode())


def get(url: str, method: str = "GET") -> Request:
    return Request(method, url, {"authorization": "Bearer sk-test"})


def content(relay: Relay, request: Request, now: float = 0.0) -> str:
    """The content that a chat request is answered with."""
    call = relay.answer(request, now)
    assert call is not None
    assert call.reply is not None
    return str(json.loads(body_of(call.reply))["choices"][0]["message"]["content"])


def read(call: Call) -> Call:
    """The call, its answer read to the end."""
    assert call.reply is not None
    call.received, call.ended, call.ended_at = len(body_of(call.reply)), end_of(call.reply).how, call.time
    return call


# -- which play -----------------------------------------------------------------------


def test_plays_are_asked_in_the_order_in_which_they_were_made() -> None:
    relay = Relay()
    relay.play(Scenario.image("first"))
    relay.play(Scenario.image("second"))
    assert '"first"' in content(relay, chat())
    assert '"second"' in content(relay, chat())
    assert relay.answer(chat(), 0.0) is None


def test_a_list_is_a_sequence() -> None:
    relay = Relay()
    relay.play([Scenario.image("first"), CAT], times=2)
    told = [content(relay, chat()) for _ in range(4)]
    assert ['"first"' in text for text in told] == [True, True, False, False]


@pytest.mark.parametrize(
    ("when", "right", "wrong"),
    [
        pytest.param({"model": "sora-2"}, chat(model="sora-2"), chat(model="sora-2-pro"), id="model"),
        pytest.param({"model": re.compile("^sora")}, chat(model="sora-2"), chat(), id="model by pattern"),
        pytest.param({"prompt": "cat"}, chat("a cat"), chat("a dog"), id="prompt holds a text"),
        pytest.param({"prompt": re.compile("c.t|dog")}, chat("a dog"), chat("a cow"), id="prompt by pattern"),
        pytest.param({"prompt_is": "a cat"}, chat("a cat"), chat("a cat, please"), id="prompt is a text"),
        pytest.param({"image": True}, chat(image="https://x.test/a.png"), chat(), id="with an image"),
        pytest.param({"image": False}, chat(), chat(image="https://x.test/a.png"), id="without an image"),
        pytest.param({"stream": True}, chat(stream=True), chat(), id="streamed"),
        pytest.param({"json": {"size": "1:1"}}, chat(size="1:1", n=2), chat(size="16:9"), id="a part of the body"),
        pytest.param({"json": {"a": {"b": [1]}}}, chat(a={"b": [1], "c": 2}), chat(a={"b": [1, 2]}), id="nested"),
        pytest.param(
            {"json": {"messages": [{"content": "a cat"}]}},
            chat("a cat"),
            chat("a dog"),
            id="a part of what a list holds",
        ),
        pytest.param({"json": {"n": 1}}, chat(n=1), chat(n=True), id="true is not 1"),
        pytest.param({"json": {"n": True}}, chat(n=True), chat(n=1), id="1 is not true"),
        pytest.param({"json": {"n": 0}}, chat(n=0.0), chat(n=False), id="0 is 0.0 and not false"),
        pytest.param({"json": {"size": re.compile("^16:")}}, chat(size="16:9"), chat(size=16), id="a text by pattern"),
        pytest.param({"json": {"n": lambda n: n > 2}}, chat(n=3), chat(n=2), id="a value by a function"),
        pytest.param(
            {"path": "/pro/v1/chat/completions"},
            chat(url="https://x.test/pro/v1/chat/completions"),
            chat(),
            id="the route",
        ),
        pytest.param(lambda call: len(call.prompt) > 5, chat("a long one"), chat("cat"), id="a function of the call"),
        pytest.param(When(model="m", stream=False), chat(model="m"), chat(model="m", stream=True), id="several"),
    ],
)
def test_a_play_answers_only_what_its_conditions_hold_for(when: Any, right: Request, wrong: Request) -> None:
    relay = Relay()
    relay.play(CAT, when=when)
    assert relay.answer(wrong, 0.0) is None
    assert relay.answer(right, 0.0) is not None


def test_the_nth_call_counts_what_was_answered() -> None:
    relay = Relay()
    relay.fail(status=500, when={"call": 2})
    relay.play(CAT, times=None)
    statuses = [call.status for _ in range(3) if (call := relay.answer(chat(), 0.0))]
    assert statuses == [200, 500, 200]


def test_several_plays_go_on_at_once() -> None:
    relay = Relay()
    relay.play(Scenario.video("a dog").detached(), when={"prompt": "dog"})
    relay.play(Scenario.video("a cat").detached(), when={"prompt": "cat"})
    cat = tickertape.parse(content(relay, chat("a cat")))
    dog = tickertape.parse(content(relay, chat("a dog")))
    for task in (dog, cat):
        poll = relay.answer(get(task.links["source"]), 10_000.0)
        assert poll is not None
        assert poll.reply is not None
        assert tickertape.parse_response(body_of(poll.reply)).task_id == task.task_id
    assert cat.task_id != dog.task_id
    assert [call.job for call in relay.calls] == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"modell": "x"}, "found 'modell', expected call, image, json, model"),
        (3, "expected a When, a dict"),
        ({"call": 0}, "when call=0: expected a number above 0"),
        ({"call": True}, "when call=True: expected a number above 0"),
        ({"test": 5}, "when test=5: expected a function"),
        ({"pattern": "x"}, "when pattern='x': expected a respx pattern"),
        ({"prompt": re.compile(b"cat")}, "when prompt=.*: expected a text, a compiled pattern"),
        ({"model": [None]}, "when model=.*: expected a text, a compiled pattern"),
    ],
)
def test_a_condition_that_is_none_is_refused_early(when: Any, message: str) -> None:
    with pytest.raises(MatchError, match=message):
        Relay().play(CAT, when=when)


EDITS = Tape("edits", interactions=(Interaction(Request("POST", "https://r.example/v1/images/edits"), whole(200, {})),))


@pytest.mark.parametrize(
    ("play", "message"),
    [
        (lambda relay: relay.play(3), "expected a tape's name or path"),
        (lambda relay: relay.play([]), "expected at least one"),
        (lambda relay: relay.play(CAT, times=0), "expected a number above 0"),
        (lambda relay: relay.play(EDITS), "no answer to a chat completion, .*found POST /v1/images/edits"),
        (lambda relay: relay.play(CAT, fault="reset"), "expected a Fault"),
        (lambda relay: relay.fail(), "expected one of status= and fault="),
        (lambda relay: relay.fail(status=429, fault=Fault.refused()), "expected one of status= and fault="),
        (lambda relay: relay.fail(fault="reset"), "expected a Fault"),
        (lambda relay: relay.play(CAT, times=True), "expected a number above 0"),
        *(
            (lambda relay, status=status: relay.fail(status=status), "expected a number from 400 to 599, such as 429")
            for status in (200, 301, 99, 600, "429", True)
        ),
        (
            lambda relay: relay.fail(status=429, retry_after=float("nan")),
            "retry_after=nan: expected seconds, 0 or more",
        ),
    ],
)
def test_what_cannot_be_played_is_refused_early(play: Any, message: str) -> None:
    with pytest.raises(PlayError, match=message):
        play(Relay())


# -- failures -------------------------------------------------------------------------


def test_a_failure_comes_first_and_then_the_answer() -> None:
    relay = Relay()
    relay.fail(status=429, retry_after=2, times=2)
    relay.play(CAT)
    calls = [relay.answer(chat(), t) for t in (0.0, 2.0, 4.0)]
    assert [call.status for call in calls if call] == [429, 429, 200]
    assert calls[0] is not None
    head = head_of(calls[0].reply or ())
    assert head is not None
    assert ("retry-after", "2") in head.headers


@pytest.mark.parametrize(
    "failed",
    [
        pytest.param({"status": 503, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, id="a status"),
        pytest.param({"fault": Fault.status(503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT")}, id="a fault"),
        pytest.param({"status": 503, "retry_after": datetime(2026, 10, 21, 7, 28, tzinfo=UTC)}, id="a datetime"),
    ],
)
def test_a_date_to_wait_for_comes_with_the_date_of_now(failed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_792_567_670.5)  # ten seconds before
    relay = Relay(client=Client(VirtualClock()))
    relay.fail(**failed)
    relay.fail(on="models", **failed)
    for request in (chat(), get("https://any.example/v1/models")):
        call = relay.answer(request, 0.0)
        assert call is not None
        head = head_of(call.reply or ())
        assert head is not None
        assert dict(head.headers)["retry-after"] == "Wed, 21 Oct 2026 07:28:00 GMT"
        assert dict(head.headers)["date"] == "Wed, 21 Oct 2026 07:27:50 GMT"
        assert call.wall == 1_792_567_670.5


def test_a_text_to_wait_for_that_is_no_date_comes_alone() -> None:
    relay = Relay()
    relay.fail(status=503, retry_after="soon, perhaps")
    call = relay.answer(chat(), 0.0)
    assert call is not None
    head = head_of(call.reply or ())
    assert head is not None
    assert (dict(head.headers).get("date"), call.wall) == (None, None)


def test_a_fault_breaks_the_answer_behind_it_and_leaves_it_to_be_played() -> None:
    relay = Relay()
    relay.fail(fault=Fault.reset(frame=3))
    relay.play(CAT)
    broken, whole = relay.answer(chat(stream=True), 0.0), relay.answer(chat(stream=True), 0.0)
    assert broken is not None
    assert whole is not None
    assert end_of(broken.reply or ()).how == "reset"
    assert end_of(whole.reply or ()).how == "eof"
    assert body_of(whole.reply or ()).startswith(body_of(broken.reply or ()))
    relay.verify()


def test_a_fault_with_nothing_behind_it_breaks_a_picture() -> None:
    relay = Relay()
    relay.fail(fault=Fault.stall(frame=1))
    call = relay.answer(chat("a cat", stream=True), 0.0)
    assert call is not None
    assert end_of(call.reply or ()).how == "timeout"


def test_one_seed_breaks_the_same_way() -> None:
    def broken(seed: int) -> list[bytes]:
        relay = Relay(seed=seed)
        relay.play(CAT, times=4, fault=Fault.close())
        calls = [relay.answer(chat(stream=True), 0.0) for _ in range(4)]
        return [body_of(call.reply or ()) for call in calls if call]

    assert broken(7) == broken(7)
    assert broken(7) != broken(8)


# -- the rules of the relay -----------------------------------------------------------


def test_a_request_that_a_relay_refuses_is_refused_and_plays_nothing() -> None:
    relay = Relay()
    relay.play(CAT)
    request = chat()
    nameless = Request("POST", request.url, {}, request.body)
    assert [relay.answer(r, 0.0).status for r in (nameless, chat(model=""), request)] == [401, 400, 200]  # type: ignore[union-attr]
    assert Relay(validate=False).answer(nameless, 0.0) is None


@pytest.mark.parametrize("path", ["chat/completions", "images/generations", "videos"])
def test_a_request_that_nothing_is_played_for_is_not_even_refused(path: str) -> None:
    # Or a test would pass on the 401 of a relay that was to answer nothing.
    relay = Relay(base_url="https://one.example/v1")
    keyless = Request("POST", f"https://one.example/v1/{path}", {}, b"{}")
    assert answer(relay, keyless, 0.0) is None
    relay.play(CAT)
    assert answer(relay, Request("POST", f"https://two.example/v1/{path}", {}, b"{}"), 0.0) is None
    refused = answer(relay, keyless, 0.0)
    assert refused is not None
    assert refused.status in (400, 401)
    relay.answer(chat(url="https://one.example/v1/chat/completions"), 0.0)
    assert answer(relay, keyless, 0.0) is None


@pytest.mark.parametrize("body", [b"[1]", b'"hi"', b"3", b"null", b"no JSON", b"", b'{"stream_options": 3}'])
@pytest.mark.parametrize("path", ["chat/completions", "images/generations", "videos"])
@pytest.mark.parametrize("what", [CAT, Scenario.video("a cat")])
def test_a_relay_that_does_not_validate_takes_any_body(body: bytes, path: str, what: Any) -> None:
    relay = Relay(validate=False)
    relay.play(what)
    call = answer(relay, Request("POST", f"https://any.example/v1/{path}", {}, body), 0.0)
    assert call is not None
    assert (call.prompt, call.model) == ("", "")
    assert str(call.as_dict()["request"]["json"]) == str(call.request.json)


# -- tapes ----------------------------------------------------------------------------

TWO_POLLS = """\
{"tape": 1, "title": "two polls"}
{"request": {"method": "POST", "path": "/v1/chat/completions", "headers": {}, "json": {}}}
{"response": {"status": 200, "headers": {"content-type": "application/json"}}}
{"t": 1, "data": "{\\"choices\\": [{\\"message\\": {\\"content\\": \\"> ID: `task_1`\\\\n> 排队中\\"}}]}"}
{"t": 1, "end": "eof"}
{"request": {"method": "GET", "path": "/source/task_1", "headers": {}}}
{"response": {"status": 200, "headers": {"content-type": "application/json"}}}
{"t": 0.1, "data": "{\\"id\\": \\"task_1\\", \\"status\\": \\"processing\\", \\"progress\\": 40}"}
{"t": 0.1, "end": "eof"}
{"request": {"method": "GET", "path": "/source/task_1", "headers": {}}}
{"response": {"status": 200, "headers": {"content-type": "application/json"}}}
{"t": 0.1, "data": "{\\"id\\": \\"task_1\\", \\"status\\": \\"completed\\", \\"video_url\\": \\"https://x.test/a.mp4\\"}"}
{"t": 0.1, "end": "eof"}
"""


SOURCE = get("https://any.example/source/task_1")


def statuses(relay: Relay, number: int, request: Request = SOURCE) -> list[str | None]:
    """What so many polls are told; None where nothing answers."""
    calls = [relay.answer(request, 10.0 * at) for at in range(1, number + 1)]
    return [tickertape.parse_response(body_of(call.reply or ())).status if call else None for call in calls]


def test_a_tape_answers_the_polls_it_recorded_in_order_and_stays_at_its_end() -> None:
    relay = Relay()
    relay.play(Tape.loads(TWO_POLLS, name="polls"))
    assert "排队中" in content(relay, chat())
    assert statuses(relay, 4) == ["in_progress", "completed", "completed", "completed"]
    relay.verify()


REFUSED = Interaction(Request("GET", "https://any.example/source/task_1"), whole(502, {"error": "upstream"}))


@pytest.mark.parametrize(
    ("tape", "told_so_far"),
    [
        (Tape.loads(TWO_POLLS.replace("completed", "processing"), name="polls"), ["in_progress", "in_progress"]),
        (
            Tape("polls", interactions=(*Tape.loads(TWO_POLLS).interactions[:2], REFUSED)),
            ["in_progress", "failed"],  # that one poll
        ),
    ],
)
def test_a_poll_more_than_a_tape_recorded_of_a_running_job_is_not_made_up_but_told(
    tape: Tape, told_so_far: list[str]
) -> None:
    relay = Relay()
    relay.play(tape)
    content(relay, chat())
    assert statuses(relay, 3) == [*told_so_far, None]
    told = str(relay.unmatched(SOURCE, 30.0))
    assert "found: one request more than tape polls holds: its 2 recorded answers were all given" in told
    assert "remedy: record the job to its end" in told
    assert "nearest" not in told


def test_jobs_of_one_tape_that_overlap_lose_no_poll() -> None:
    relay = Relay()
    relay.play(Tape.loads(TWO_POLLS, name="polls"), times=2)
    content(relay, chat())
    content(relay, chat())
    with pytest.raises(UnplayedError, match="GET /source/task_1, GET /source/task_1, GET /source/task_1"):
        relay.verify()
    assert statuses(relay, 4) == ["in_progress", "completed"] * 2
    relay.verify()


def test_a_poll_that_fails_leaves_what_was_recorded_to_the_next_one() -> None:
    relay = Relay()
    relay.play(Tape.loads(TWO_POLLS, name="polls"))
    relay.fail(status=502, on="poll")
    content(relay, chat())
    assert statuses(relay, 3) == ["failed", "in_progress", "completed"]


def recorded(*asked: tuple[str, str | bytes], chats: int = 1) -> Tape:
    """A tape of GET requests, each with a JSON text or a picture; None is where a chat was recorded."""
    told = [
        Interaction(
            Request("GET", f"https://any.example{path}"),
            whole(200, body, content_type="image/png" if isinstance(body, bytes) else "application/json"),
        )
        for path, body in asked
        if path
    ]
    picture = "![a cat](https://any.example/cat.png)"
    choice = {"index": 0, "message": {"role": "assistant", "content": picture}, "finish_reason": "stop"}
    made = Interaction(chat(), whole(200, {"choices": [choice]}))
    at = next((number for number, (path, _) in enumerate(asked) if not path), 0)
    return Tape("recorded", interactions=(*told[:at], *[made] * chats, *told[at:]))


def test_a_recorded_medium_is_given_again_as_it_was() -> None:
    relay = Relay()
    relay.play(recorded(("", ""), ("/cat.png", b"PNG of a cat")))
    content(relay, chat())
    calls = [relay.answer(get("https://any.example/cat.png"), t) for t in (1.0, 2.0, 3.0)]
    assert [body_of(call.reply or ()) for call in calls if call] == [b"PNG of a cat"] * 3
    assert [(call.kind, call.role) for call in calls if call] == [("media", "result")] * 3


def test_what_was_recorded_before_the_chat_is_answered_before_it() -> None:
    relay = Relay()
    relay.play(recorded(("/v1/models", '{"data": [{"id": "mine"}]}'), ("", ""), ("/cat.png", b"PNG")), times=2)
    models, medium = get("https://any.example/v1/models"), get("https://any.example/cat.png")
    for _ in range(2):
        call = relay.answer(models, 0.0)
        assert call is not None
        assert (call.kind, body_of(call.reply or ())) == ("models", b'{"data": [{"id": "mine"}]}')
        content(relay, chat())
        assert relay.answer(medium, 1.0) is not None
    relay.verify()


def test_what_was_recorded_behind_the_chat_waits_for_it() -> None:
    relay = Relay()
    relay.play(recorded(("", ""), ("/cat.png", b"PNG")))
    assert relay.answer(get("https://any.example/cat.png"), 0.0) is None


@pytest.mark.parametrize("chats", [2, 3])
def test_an_answer_without_a_request_that_was_not_asked_for_is_told_by_its_place(chats: int) -> None:
    relay = Relay()
    tape = recorded(("", ""), chats=chats)
    relay.play(Tape("bare", interactions=tuple(Interaction(None, each.reply) for each in tape.interactions)))
    content(relay, chat())
    rest = "its second answer" if chats == 2 else "its second answer, its third answer"
    with pytest.raises(UnplayedError, match=f"played in part: {rest} was never asked for"):
        relay.verify()


def test_a_fault_in_front_of_a_tape_breaks_its_next_chat_answer() -> None:
    relay = Relay()
    relay.fail(fault=Fault.reset(byte=100))
    relay.play(recorded(("/v1/models", '{"data": []}'), ("", "")))
    broken = relay.answer(chat(), 0.0)
    assert broken is not None
    assert end_of(broken.reply or ()).how == "reset"
    assert b'"choices"' in body_of(broken.reply or ())
    listed = Relay()
    listed.play(recorded(("/v1/files", "{}"), ("", "")))
    models = listed.answer(get("https://any.example/v1/models"), 0.0)
    assert models is not None
    assert [model["id"] for model in json.loads(body_of(models.reply or ()))["data"]] == ["gpt-image-1.5"]


def test_the_links_of_an_answer_behind_a_refusal_on_the_same_tape_are_served() -> None:
    refusal = Interaction(chat(), whole(429, {"error": {"message": "slow down"}}))
    relay = Relay()
    relay.play(Tape("retried", interactions=(refusal, *recorded(("", "")).interactions)))
    assert [call.status for _ in range(2) if (call := relay.answer(chat(), 0.0))] == [429, 200]
    medium = relay.answer(get("https://any.example/cat.png"), 1.0)
    assert medium is not None
    assert (medium.role, body_of(medium.reply or ())[:4]) == ("result", b"\x89PNG")


def test_a_tape_that_was_played_in_part_fails_the_test() -> None:
    relay = Relay()
    relay.play(Tape.loads(TWO_POLLS, name="polls"))
    content(relay, chat())
    relay.answer(get("https://any.example/source/task_1"), 10.0)
    with pytest.raises(UnplayedError, match="played in part: GET /source/task_1 was never asked for"):
        relay.verify()


def test_a_tape_played_optionally_may_be_played_in_part_or_not_at_all() -> None:
    relay = Relay()
    relay.play(Tape.loads(TWO_POLLS, name="polls"), optional=True)
    relay.verify()
    content(relay, chat())
    relay.verify()


def test_the_media_of_a_tape_are_valid_stand_ins_of_their_kind() -> None:
    relay = Relay()
    relay.play("sora-2/kite-festival")
    (result,) = tickertape.parse(content(relay, chat())).results
    video, cover = relay.answer(get(result.url), 0.0), relay.answer(get(result.poster_url or ""), 0.0)
    assert video is not None
    assert cover is not None
    assert body_of(video.reply or ())[4:8] == b"ftyp"
    assert body_of(cover.reply or ())[8:12] == b"WEBP"
    assert (video.kind, video.role, cover.role) == ("media", "result", "poster")


# -- the world behind the links -------------------------------------------------------


def test_a_job_goes_on_behind_its_source_link_in_the_relays_time() -> None:
    relay = Relay(virtual=False)
    relay.play(Scenario.video("a kite").queue(2).progress(20, 60).pace(10).detached())
    task = tickertape.parse(content(relay, chat()))
    seen = []
    for t in range(0, 400, 10):
        call = relay.answer(get(task.links["source"]), float(t))
        assert call is not None
        seen.append(tickertape.parse_response(body_of(call.reply or ())).status)
    assert list(dict.fromkeys(seen)) == ["queued", "in_progress", "completed"]


def test_polls_without_a_pause_move_the_job_so_that_no_client_asks_for_ever() -> None:
    relay = Relay()
    relay.play(Scenario.video("a kite").queue(2).progress(20, 60).pace(10).detached())
    task = tickertape.parse(content(relay, chat()))
    polls, status = 0, ""
    while status != "completed" and polls < 100:
        polls += 1
        call = relay.answer(get(task.links["source"]), 0.0)
        assert call is not None
        status = tickertape.parse_response(body_of(call.reply or ())).status
    assert 4 < polls < 20


def test_a_head_request_gets_the_head_alone() -> None:
    relay = Relay()
    relay.play(CAT)
    result = tickertape.parse(content(relay, chat())).results[0]
    call = relay.answer(get(result.url, "HEAD"), 0.0)
    assert call is not None
    assert body_of(call.reply or ()) == b""
    assert call.status == 200


def test_models_are_those_that_were_played_for_or_asked_for() -> None:
    relay = Relay()
    relay.play(CAT, when={"model": "gpt-image-1.5"})
    listed = relay.answer(get("https://any.example/v1/models"), 0.0)
    one = relay.answer(get("https://any.example/v1/models/gpt-image-1.5"), 0.0)
    none = relay.answer(get("https://any.example/v1/models/nonsense"), 0.0)
    assert listed is not None
    assert [m["id"] for m in json.loads(body_of(listed.reply or ()))["data"]] == ["gpt-image-1.5"]
    assert (one and one.status, none and none.status) == (200, 404)
    keyless = relay.answer(Request("GET", "https://any.example/v1/models"), 0.0)
    assert keyless is not None
    assert keyless.status == 401


@pytest.mark.parametrize(
    "when",
    [
        {"path": "/images/generations"},
        {"json": {"prompt": "a cat"}},
        {"prompt": "cat"},
        lambda call: call.request.json["prompt"] == "a cat",
    ],
    ids=["path", "json", "prompt", "a function"],
)
def test_conditions_see_the_request_that_came_by_another_endpoint(when: Any) -> None:
    relay = Relay()
    relay.play(Scenario.image("x"), when=when)
    request = Request(
        "POST",
        "https://any.example/v1/images/generations",
        {"authorization": "Bearer x"},
        b'{"model":"m","prompt":"a cat"}',
    )
    call = answer(relay, request, 0.0)
    assert call is not None
    assert (call.status, call.prompt, call.request) == (200, "a cat", request)


def test_an_unknown_model_is_told_as_such() -> None:
    call = Relay().answer(get("https://any.example/v1/models/nonsense"), 0.0)
    assert call is not None
    error = json.loads(body_of(call.reply or ()))["error"]
    assert (call.status, error["code"]) == (404, "model_not_found")
    assert error["message"].startswith("The model 'nonsense' does not exist")


def test_a_part_of_a_medium_is_served_as_on_the_wire() -> None:
    relay = Relay()
    relay.play(Scenario.video("x"))
    call = relay.answer(chat(), 0.0)
    assert call is not None
    call.received = len(body_of(call.reply or ()))
    assert call.task is not None
    (result,) = call.task.results
    ranged = Request("GET", result.url, {"range": "bytes=4-7"})
    part = relay.answer(ranged, 900.0)
    assert part is not None
    assert (part.status, body_of(part.reply or ())) == (206, b"ftyp")


def test_a_video_job_tells_what_was_asked_for_again() -> None:
    relay = Relay()
    relay.play(Scenario.video("x"))
    made = answer(relay, order("videos", model="sora-2-pro", prompt="a kite", seconds="8"), 0.0)
    assert made is not None
    job = json.loads(body_of(made.reply or ()))
    seen = relay.answer(get(f"https://any.example/v1/videos/{job['id']}"), 5.0)
    assert seen is not None
    again = json.loads(body_of(seen.reply or ()))
    for told in (job, again):
        assert (told["model"], told["prompt"], told["seconds"]) == ("sora-2-pro", "a kite", "8")


# -- what matches nothing -------------------------------------------------------------


@pytest.mark.parametrize(
    ("play", "request_", "told"),
    [
        pytest.param(lambda relay: None, chat(), "nothing was played", id="nothing was played"),
        pytest.param(
            lambda relay: relay.play(CAT, when={"model": "sora-2"}),
            chat(),
            "nearest: tape gpt-image-1.5/cat-drinking-milk\n  "
            "differs in model: expected 'sora-2', found 'gpt-image-1.5'",
            id="another model",
        ),
        pytest.param(
            lambda relay: (relay.play(CAT), relay.answer(chat(), 0.0)),
            chat(),
            "differs in times: it was played 1 of 1 already\n  remedy: play it with times=2",
            id="exhausted",
        ),
        pytest.param(
            lambda relay: (relay.play(CAT, times=2), relay.answer(chat(), 0.0), relay.answer(chat(), 0.0)),
            chat(),
            "differs in times: it was played 2 of 2 already\n  remedy: play it with times=3",
            id="exhausted after more",
        ),
        pytest.param(
            lambda relay: (
                relay.play([Scenario.image("one"), Scenario.image("two")]),
                relay.answer(chat(), 0.0),
                relay.answer(chat(), 0.0),
            ),
            chat(),
            "nearest: Scenario.image('two')\n  found: all 2 plays that match are used up, of which this is the last\n  "
            "differs in times: it was played 1 of 1 already\n  remedy: play it with times=2",
            id="all exhausted",
        ),
        pytest.param(
            lambda relay: (
                relay.play(CAT),
                relay.fail(status=500),
                relay.answer(chat(), 0.0),
                relay.answer(chat(), 0.0),
            ),
            chat(),
            "nearest: tape gpt-image-1.5/cat-drinking-milk\n  found: all 2 plays",
            id="all exhausted, of which one can be had more of",
        ),
        pytest.param(
            lambda relay: (relay.fail(status=500, on="poll"), relay.play(CAT, when={"model": "sora-2"})),
            chat(),
            "nearest: tape gpt-image-1.5/cat-drinking-milk\n  ",
            id="what was played for polls is not near a chat",
        ),
        pytest.param(
            lambda relay: relay.play(CAT, when={"model": "sora-2"}),
            Request("POST", "https://any.example/v1/videos", {}, b'{"model": "veo3", "prompt": "a dog"}'),
            "found: model 'veo3', prompt 'a dog', stream False\n  "
            "nearest: tape gpt-image-1.5/cat-drinking-milk\n  "
            "differs in model: expected 'sora-2', found 'veo3'",
            id="an order by another endpoint",
        ),
        pytest.param(
            lambda relay: relay.play(CAT),
            Request("POST", "https://any.example/v1/chat/completion", {}, b"{}"),
            "differs in path: expected …/chat/completions, found /v1/chat/completion",
            id="a slip of the pen",
        ),
        pytest.param(
            lambda relay: relay.play(CAT),
            get("https://any.example/v1/chat/completions"),
            "differs in method: expected POST, found GET",
            id="another method",
        ),
        pytest.param(
            lambda relay: (relay.play("sora-2/cut-while-running"), relay.answer(chat(stream=True), 0.0)),
            get("https://asyncdata.example/source/task_01kf2q8h5r"),
            "found: a link of tape sora-2/cut-while-running (source), which holds no answer to it and does not tell "
            "how the job ended\n  remedy: record the poll as well",
            id="a link whose answer is not told",
        ),
        pytest.param(
            lambda relay: (relay.play("sora-2/cut-while-running"), relay.answer(chat(stream=True), 0.0)),
            get("https://asyncdata.example/source/task_01kf2q8h5r", "POST"),
            "differs in method: expected GET, found POST",
            id="a link by another method",
        ),
        pytest.param(
            lambda relay: (relay.play(CAT), relay.answer(chat(), 0.0)),
            get("https://filesystem.site/cdn/download/20251219/other.png"),
            "nearest: https://filesystem.site/cdn/download/20251219/",
            id="a link of no answer",
        ),
    ],
)
def test_an_unmatched_request_is_told_with_the_nearest_play_the_difference_and_the_remedy(
    play: Any, request_: Request, told: str
) -> None:
    relay = Relay()
    play(relay)
    assert relay.answer(request_, 1.0) is None
    error = relay.unmatched(request_, 1.0)
    assert isinstance(error, UnmatchedRequest)
    assert not isinstance(error, Exception), "an SDK that retries on every exception must let it through"
    assert told in str(error)
    assert str(error).count("remedy: ") == 1
    assert not ("neither an order" in str(error) and "found: a link of" in str(error)), "it says both"
    assert relay.calls.last.kind == "unmatched"
    with pytest.raises(UnmatchedRequest):
        relay.verify()


def test_base_url_narrows_what_is_answered() -> None:
    relay = Relay(base_url="https://one.example/v1/")
    relay.play(CAT)
    assert relay.answer(chat(url="https://two.example/v1/chat/completions"), 0.0) is None
    assert "outside base_url='https://one.example/v1'" in str(
        relay.unmatched(chat(url="https://two.example/v1/chat/completions"), 0.0)
    )
    assert relay.answer(get("https://two.example/v1/models"), 0.0) is None
    assert relay.answer(chat(url="https://one.example/v1/chat/completions"), 0.0) is not None


def test_what_was_played_and_never_asked_for_fails_the_test() -> None:
    relay = Relay()
    relay.play(CAT, times=3)
    relay.fail(status=500, optional=True)
    relay.answer(chat(), 0.0)
    with pytest.raises(UnplayedError, match="cat-drinking-milk was played 1 of 3 times"):
        relay.verify()
    relay.reset()
    relay.verify()
    assert len(relay.calls) == 0


# -- requests at the same moment ------------------------------------------------------


@pytest.mark.parametrize("path", ["chat/completions", "videos"])
def test_requests_at_the_same_moment_get_numbers_plays_and_jobs_of_their_own(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, threads = Relay(), 4
    together = threading.Barrier(threads)
    relay.play(Scenario.video("a cat").detached(), times=threads)
    bind = Scenario.bind

    def slowly(*given: Any, **told: Any) -> Any:
        # A thread that waits here while others are let in would be given the number of another.
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(0.1)
        return bind(*given, **told)

    monkeypatch.setattr(Scenario, "bind", slowly)
    asked = chat(url=f"https://any.example/v1/{path}") if path != "videos" else order("videos")
    with ThreadPoolExecutor(threads) as pool:
        calls = list(pool.map(lambda _: answer(relay, asked, 0.0), range(threads)))
    assert sorted(call.number for call in calls if call) == [1, 2, 3, 4]
    assert [call.number for call in relay.calls] == [1, 2, 3, 4]
    told = {read(call).task.task_id for call in calls if call}  # type: ignore[union-attr]
    assert told == {job.world.task_id for job in relay._jobs.values()}  # type: ignore[attr-defined]
    assert len(told) == threads
