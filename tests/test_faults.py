"""Faults: each one named, and what holds for all of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tickertape
from tickertape import events as ev
from tickertape.testing._wire import Data, End, Head, Reply, body_of, end_of, head_of, streamed, whole
from tickertape.testing.faults import Fault, FaultError

UNTYPED: Any = Fault
"""For arguments that a type checker would refuse already."""

FIXTURES = Path(__file__).parent.parent / "fixtures"
STREAMS = {path.stem: path.read_bytes() for path in sorted(FIXTURES.glob("*/*.sse"))}


def frame(content: str | None = None, finish: str | None = None) -> bytes:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


FRAMES = (
    frame("> ID: `task_1`\n"),
    frame("> 生成中"),
    frame("..\n> 进度 36"),
    frame("..\n> 进度 72..\n"),
    frame("![a](https://files.example/a.png)"),
    frame(finish="stop"),
    b"data: [DONE]\n\n",
)
STREAM = streamed(200, [Data(1.0 + at, each) for at, each in enumerate(FRAMES)], head_at=0.5)
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1768300000,
    "model": "gpt-image-1",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "![猫](https://files.example/a.png)"},
            "finish_reason": "stop",
        }
    ],
}
JSON = whole(200, COMPLETION, t=40.0)


def broken(fault: Fault, reply: Reply = STREAM, seed: int = 7) -> Reply:
    """The reply with the fault, which must be well-formed."""
    out = fault.apply(reply, random=Random(seed))
    assert isinstance(out[-1], End)
    assert [at for at, step in enumerate(out) if isinstance(step, Head)] in ([0], [])
    assert sum(isinstance(step, End) for step in out) == 1
    assert [step.t for step in out] == sorted(step.t for step in out)
    assert all(step.data for step in out if isinstance(step, Data))
    if head_of(out) is None:
        assert len(out) == 1
    else:
        assert end_of(out).how != "refused"
    return out


def header(reply: Reply, name: str) -> str | None:
    head = head_of(reply)
    assert head is not None
    return dict(head.headers).get(name)


def contents(reply: Reply) -> list[str]:
    """What the frames of a stream say, one by one."""
    frames = [each.removeprefix("data: ") for each in body_of(reply).decode().split("\n\n") if each]
    chunks = [json.loads(each) for each in frames if each != "[DONE]"]
    return [choice["delta"].get("content", "") for chunk in chunks for choice in chunk.get("choices", [])]


def task_of(reply: Reply) -> tickertape.Task:
    return tickertape.parse_response(body_of(reply), status_code=200)


# -- values ----------------------------------------------------------------------------

EVERY = [
    Fault.refused(),
    Fault.unanswered(),
    Fault.disconnect(),
    Fault.reset(),
    Fault.reset(byte=10),
    Fault.reset(frame=0),
    Fault.reset(event="Progress"),
    Fault.reset(event=("Progress", 2)),
    Fault.close(),
    Fault.close(frame=2),
    Fault.end(),
    Fault.end(event="Stage"),
    Fault.truncated_json(),
    Fault.truncated_json(byte=20, honest=True),
    Fault.late(30),
    Fault.stall(),
    Fault.stall(2.5, frame=3),
    Fault.drip(),
    Fault.drip(7, 0.5),
    Fault.split_utf8(),
    Fault.malformed(),
    Fault.malformed(2),
    Fault.duplicate(),
    Fault.duplicate(3),
    Fault.reorder(),
    Fault.reorder(1),
    Fault.error_frame(),
    Fault.error_frame("no 'quotes' left", None, None, event=True, frame=2),
    Fault.status(429, retry_after=2),
    Fault.status(503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT", message="无可用渠道", code_word="model_not_found"),
    Fault.status(524, seconds=100),
    Fault.html(),
    Fault.html(200),
    Fault.sse(),
    Fault.sse(quoted=True),
    Fault.content_type(),
    Fault.content_type(None),
]


@pytest.mark.parametrize("fault", EVERY, ids=repr)
def test_a_repr_makes_the_fault_again(fault: Fault) -> None:
    again = eval(repr(fault), {"Fault": Fault})
    assert again == fault
    assert hash(again) == hash(fault)


def test_different_faults_differ_and_tell_so() -> None:
    assert len(set(EVERY)) == len(EVERY)
    assert len({str(fault) for fault in EVERY}) == len(EVERY)
    assert all("\n" not in str(fault) for fault in EVERY)


@pytest.mark.parametrize(
    ("fault", "shown", "phrase"),
    [
        (Fault.reset(frame=3), "Fault.reset(frame=3)", "connection reset after frame 3"),
        (Fault.close(byte=9), "Fault.close(byte=9)", "connection closed after byte 9"),
        (Fault.end(event="Progress"), "Fault.end(event='Progress')", "clean early end after the first Progress"),
        (
            Fault.stall(event=("Progress", 2)),
            "Fault.stall(event=('Progress', 2))",
            "stall for ever after Progress number 2",
        ),
        (Fault.stall(2.5), "Fault.stall(seconds=2.5)", "stall of 2.5 s at a drawn place"),
        (Fault.refused(), "Fault.refused()", "connection refused"),
        (Fault.status(429, retry_after=2), "Fault.status(429, retry_after=2)", "HTTP 429, Retry-After 2"),
        (Fault.drip(), "Fault.drip()", "slow drip, 1 byte every 0.05 s"),
        (Fault.late(30), "Fault.late(30)", "answer 30 s late"),
        (Fault.duplicate(), "Fault.duplicate()", "duplicate a drawn frame"),
        (Fault.reorder(2), "Fault.reorder(frame=2)", "frame 2 and the next one swapped"),
        (Fault.content_type(None), "Fault.content_type(value=None)", "Content-Type missing"),
    ],
)
def test_a_fault_is_readable(fault: Fault, shown: str, phrase: str) -> None:
    assert repr(fault) == shown
    assert str(fault) == phrase


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Fault.reset(byte=1, frame=1), "one of byte, frame and event"),
        (lambda: Fault.close(byte=-1), "byte=-1: expected a whole number, counted from 0"),
        (lambda: Fault.malformed(0), "frame=0: expected a whole number, counted from 1"),
        (lambda: Fault.end(event="Percent"), "no event of tickertape.events; there are Code, Completed"),
        (lambda: Fault.end(event=("Progress", 0)), "event number=0: expected a whole number, counted from 1"),
        (lambda: Fault.stall(0), "seconds=0: expected a number, more than 0"),
        (lambda: Fault.stall(float("inf")), "seconds=inf: expected a number, more than 0 and finite"),
        (lambda: Fault.drip(0), "bytes=0: expected a whole number, 1 or more"),
        (lambda: Fault.drip(1, float("nan")), "seconds=nan"),
        (lambda: Fault.late(-1), "seconds=-1"),
        (lambda: Fault.status(200), "status code 200: an error is a whole number from 400 to 599"),
        (lambda: Fault.status(600), "status code 600"),
        (lambda: Fault.html(302), "a page comes with 200, or with 400 to 599"),
        # What a test would only meet at the request, or the client as an error of its own.
        (lambda: UNTYPED.reset(byte=1.5), "byte=1.5: expected a whole number"),
        (lambda: UNTYPED.reset(byte="3"), "byte='3': expected a whole number"),
        (lambda: UNTYPED.reset(frame=True), "frame=True: expected a whole number"),
        (lambda: UNTYPED.reset(event=int), "event=<class 'int'>: no event of tickertape.events"),
        (lambda: UNTYPED.reset(event=("Progress", 1, 2)), "no event of tickertape.events"),
        (lambda: UNTYPED.stall("x"), "seconds='x': expected a number"),
        (lambda: UNTYPED.drip(1.5), "bytes=1.5: expected a whole number"),
        (lambda: UNTYPED.status("429"), "status code '429': an error is a whole number"),
        (lambda: UNTYPED.html("502"), "status '502'"),
        (lambda: UNTYPED.status(429, retry_after=-1), "retry_after=-1: expected seconds, 0 or more"),
        (lambda: UNTYPED.status(429, retry_after=True), "retry_after=True: expected seconds"),
        (lambda: UNTYPED.status(429, retry_after="1\r\nx: y"), "expected a text on one line"),
        (lambda: UNTYPED.content_type(5), "content type 5: expected a text on one line"),
        (lambda: UNTYPED.content_type("a\r\nx-injected: b"), "expected a text on one line"),
    ],
)
def test_what_cannot_be_a_fault_is_told_where_it_is_made(make: Any, words: str) -> None:
    with pytest.raises(FaultError, match=words):
        make()


def test_a_retry_after_may_be_a_time_of_day_or_a_span() -> None:
    midnight = datetime(2026, 11, 27, tzinfo=UTC)
    assert Fault.status(429, retry_after=midnight) == Fault.status(429, retry_after="Fri, 27 Nov 2026 00:00:00 GMT")
    assert Fault.status(429, retry_after=timedelta(minutes=1)) == Fault.status(429, retry_after="60")


def test_every_event_class_can_be_a_place() -> None:
    for event in ev.Event.__subclasses__():
        assert Fault.reset(event=event.__name__).needs == "stream"
        assert Fault.reset(event=event) == Fault.reset(event=event.__name__)
        assert Fault.reset(event=(event, 2)) == Fault.reset(event=(event.__name__, 2))


@pytest.mark.parametrize("name", ["content-length", "Content-Length"])
def test_a_tapes_headers_are_known_in_any_letter_case(name: str) -> None:
    body = b'{"choices": []}'
    reply = (Head(0.0, 200, ((name, str(len(body))),)), Data(0.0, body), End(0.0))
    short = Fault.end(byte=5).apply(reply, random=Random(0))
    assert [value for key, value in head_of(short).headers if key.lower() == "content-length"] == ["5"]  # type: ignore[union-attr]
    with pytest.raises(FaultError, match="its Content-Length says so"):
        Fault.reset(byte=len(body)).apply(reply, random=Random(0))


def test_a_fault_error_is_an_error_of_the_package_and_a_value_error() -> None:
    assert issubclass(FaultError, tickertape.TickertapeError)
    assert issubclass(FaultError, ValueError)


@pytest.mark.parametrize(
    ("needs", "faults"),
    [
        (None, [Fault.refused(), Fault.unanswered(), Fault.disconnect(), Fault.status(429), Fault.html()]),
        ("answer", [Fault.reset(), Fault.close(byte=3), Fault.end(), Fault.drip(), Fault.error_frame(event=True)]),
        ("stream", [Fault.reset(frame=0), Fault.stall(event="Stage"), Fault.malformed(), Fault.error_frame(frame=1)]),
        ("json", [Fault.truncated_json(), Fault.sse()]),
    ],
)
def test_a_fault_tells_what_it_needs(needs: str | None, faults: list[Fault]) -> None:
    assert {fault.needs for fault in faults} == {needs}


# -- no answer ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "how"), [(Fault.refused(), "refused"), (Fault.unanswered(), "timeout"), (Fault.disconnect(), "closed")]
)
def test_without_an_answer_there_is_only_an_end(fault: Fault, how: str) -> None:
    assert [(step.t, step.how) for step in broken(fault) if isinstance(step, End)] == [(0.0, how)]
    assert len(broken(fault)) == 1


# -- an answer that breaks off -------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "how"),
    [(Fault.reset, "reset"), (Fault.close, "closed"), (Fault.end, "eof"), (lambda **at: Fault.stall(**at), "timeout")],
)
def test_a_cut_after_a_frame_keeps_the_frames_before_it_and_their_times(make: Any, how: str) -> None:
    out = broken(make(frame=3))
    assert out[:-1] == STREAM[:4]
    assert out[-1] == End(3.0, how)  # type: ignore[arg-type]


def test_a_cut_before_the_first_frame_leaves_the_head() -> None:
    assert broken(Fault.reset(frame=0)) == (STREAM[0], End(0.5, "reset"))
    assert broken(Fault.reset(byte=0)) == (STREAM[0], End(0.5, "reset"))


def test_a_cut_inside_a_chunk_splits_it_at_its_time() -> None:
    out = broken(Fault.close(byte=len(FRAMES[0]) + 5))
    assert out[1:] == (Data(1.0, FRAMES[0]), Data(2.0, FRAMES[1][:5]), End(2.0, "closed"))


def test_frames_are_counted_by_their_bytes_not_by_chunks() -> None:
    body = b"".join(FRAMES)
    rechunked = streamed(200, [Data(float(at), body[at : at + 50]) for at in range(0, len(body), 50)])
    for number in range(1, len(FRAMES) + 1):
        out = broken(Fault.reset(frame=number), rechunked)
        assert body_of(out) == b"".join(FRAMES[:number])


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_frames_end_with_any_newlines_and_comments_are_none(newline: bytes) -> None:
    body = b": hello\n\n" + b"event: message\n" + FRAMES[0] + b": ping\n\n\n" + FRAMES[1] + FRAMES[2]
    reply = streamed(200, [Data(0.0, body.replace(b"\n", newline))])
    kept = body_of(broken(Fault.reset(frame=2), reply)).replace(newline, b"\n")
    assert kept == body[: -len(FRAMES[2])]
    with pytest.raises(FaultError, match="there is no frame 4: the stream has 3"):
        broken(Fault.reset(frame=4), reply)


def test_frames_without_blank_lines_are_frames() -> None:
    body = b"".join(FRAMES).replace(b"\n\n", b"\n")
    out = broken(Fault.reset(frame=2), streamed(200, [Data(0.0, body)]))
    assert body_of(out) == b"".join(FRAMES[:2]).replace(b"\n\n", b"\n")


@pytest.mark.parametrize(
    ("event", "frames"),
    [
        ("TaskId", 1),
        ("Stage", 3),  # the words may go on: only the dots end them
        ("Progress", 4),
        (("Progress", 2), 4),
        ("Image", 5),
    ],
)
def test_a_cut_after_an_event_is_after_the_frame_that_made_it_certain(event: Any, frames: int) -> None:
    assert body_of(broken(Fault.reset(event=event))) == b"".join(FRAMES[:frames])


def test_an_event_that_only_the_end_makes_certain_is_after_the_last_frame() -> None:
    reply = streamed(200, [Data(0.0, frame("> 生成失败"))])
    events = tickertape.ResponseReader().feed(body_of(reply))
    assert not any(isinstance(each, ev.Failed) for each in events)
    assert broken(Fault.reset(event="Failed"), reply) == (*reply[:-1], End(0.0, "reset"))


def test_the_same_frames_in_other_chunks_have_their_events_at_the_same_bytes() -> None:
    body = b"".join(FRAMES)
    rechunked = streamed(200, [Data(0.0, body[at : at + 3]) for at in range(0, len(body), 3)])
    for name in ("TaskId", "Stage", "Progress"):
        assert body_of(broken(Fault.close(event=name), rechunked)) == body_of(broken(Fault.close(event=name)))


@pytest.mark.parametrize(
    ("fault", "reply", "words"),
    [
        (Fault.reset(byte=9999), STREAM, f"there is no byte 9999: the body has {len(body_of(STREAM))}"),
        (Fault.reset(frame=8), STREAM, "there is no frame 8: the stream has 7"),
        (Fault.reset(event=("Progress", 3)), STREAM, "no Progress number 3: the events are 2 of them"),
        (Fault.reset(event="Failed"), STREAM, "no Failed number 1: the events are TaskId"),
        (Fault.reset(frame=1), JSON, r"no stream of server-sent events but \d+ bytes \(application/json\)"),
        (Fault.reset(event="Progress"), JSON, "no stream of server-sent events"),
        (Fault.malformed(), JSON, "no stream of server-sent events"),
        (Fault.reset(byte=len(body_of(JSON))), JSON, "is the end of the body, and its Content-Length says so"),
        (Fault.end(byte=len(body_of(STREAM))), STREAM, "where the body ends anyway"),
        (Fault.reset(), (End(0.0, "refused"),), r"the reply has no body \(refused\)"),
        (Fault.drip(), whole(204, ""), r"the reply has no body \(eof\)"),
        (Fault.content_type(), (End(0.0, "timeout"),), r"the reply has no head \(timeout\)"),
        (Fault.content_type("text/event-stream"), STREAM, "would change nothing"),
        (Fault.drip(10**6), STREAM, "would change nothing"),
        (Fault.split_utf8(), streamed(200, [Data(0.0, b"\xc3"), Data(0.0, b"\xa9")]), "would change nothing"),
        (Fault.close(), whole(200, "x"), "no inside: it is 1 byte long"),
        (Fault.split_utf8(), whole(200, "ascii"), "all ASCII"),
        (Fault.malformed(7), STREAM, r"frame 7 of 7 cannot have it: data: \[DONE\]"),
        (Fault.duplicate(7), STREAM, "frame 7 of 7 cannot have it"),
        (Fault.reorder(6), STREAM, "frame 6 of 7 cannot have it"),
        (Fault.reorder(7), STREAM, "frame 7 of 7 cannot have it"),
        (Fault.duplicate(8), STREAM, "there is no frame 8"),
        (Fault.malformed(), streamed(200, [Data(0.0, FRAMES[-1])]), "none of the 1 frames can have it"),
        (Fault.error_frame(frame=7), STREAM, r"frame 7 is \[DONE\]: nobody reads on"),
        (Fault.error_frame(frame=1), JSON, "no stream of server-sent events"),
        (Fault.sse(), STREAM, "no whole chat completion"),
        (Fault.sse(), whole(200, {"error": {}}), "no whole chat completion"),
        (Fault.truncated_json(), STREAM, "the reply is no JSON"),
        (Fault.malformed(), streamed(200, [Data(0.0, b": ping\n\n")]), "has no frame"),
    ],
)
def test_a_place_the_reply_does_not_have_is_an_error_that_tells_what_there_is(
    fault: Fault, reply: Reply, words: str
) -> None:
    with pytest.raises(FaultError, match=words) as told:
        fault.apply(reply, random=Random(7))
    assert str(told.value).startswith(repr(fault))


def test_a_reset_or_close_leaves_the_content_length_that_was_promised() -> None:
    for fault in (Fault.reset(byte=20), Fault.close(byte=20), Fault.stall(byte=20)):
        out = broken(fault, JSON)
        assert header(out, "content-length") == str(len(body_of(JSON)))
        assert len(body_of(out)) == 20


def test_a_clean_early_end_of_a_stream_has_no_finish_and_no_done() -> None:
    for seed in range(20):
        body = body_of(broken(Fault.end(), seed=seed))
        assert body
        assert body.endswith(b"\n\n")
        assert b'"stop"' not in body
        assert b"[DONE]" not in body


def test_a_clean_early_end_of_a_whole_answer_has_a_true_length() -> None:
    out = broken(Fault.end(byte=20), JSON)
    assert header(out, "content-length") == "20"
    assert end_of(out).how == "eof"


def test_truncated_json_promises_more_than_it_sends_unless_it_is_honest() -> None:
    whole_length = len(body_of(JSON))
    for seed in range(20):
        lied, honest = (broken(Fault.truncated_json(honest=h), JSON, seed) for h in (False, True))
        assert body_of(lied) == body_of(honest)
        assert 0 < len(body_of(lied)) < whole_length
        assert (header(lied, "content-length"), end_of(lied).how) == (str(whole_length), "closed")
        assert (header(honest, "content-length"), end_of(honest).how) == (str(len(body_of(honest))), "eof")
        with pytest.raises(ValueError, match=r"."):
            json.loads(body_of(lied))


def test_truncated_json_of_a_chunked_body_gets_a_length_to_fall_short_of() -> None:
    chunked = streamed(200, [Data(0.0, body_of(JSON))], content_type="application/json")
    assert header(broken(Fault.truncated_json(byte=9), chunked), "content-length") == str(len(body_of(JSON)))


# -- an answer that is slow, or cut in other pieces ------------------------------------------


def test_a_late_answer_is_all_of_it_later() -> None:
    assert [step.t for step in broken(Fault.late(30))] == [step.t + 30 for step in STREAM]
    assert body_of(broken(Fault.late(30))) == body_of(STREAM)


def test_a_stall_makes_everything_after_it_later() -> None:
    out = broken(Fault.stall(100, frame=2))
    assert [step.t for step in out] == [0.5, 1, 2, 103, 104, 105, 106, 107, 107]
    assert body_of(out) == body_of(STREAM)
    assert end_of(out).how == "eof"


def test_a_stall_inside_a_chunk_holds_its_rest_back() -> None:
    out = broken(Fault.stall(10, byte=3))
    assert out[1:3] == (Data(1.0, FRAMES[0][:3]), Data(11.0, FRAMES[0][3:]))


def test_a_drip_sends_pieces_no_faster_than_told_and_no_sooner_than_they_came() -> None:
    reply = streamed(200, [Data(0.0, b"data: 1"), Data(10.0, b"\n\n")])
    out = broken(Fault.drip(3, 0.5), reply)
    assert out[1:] == (
        Data(0.0, b"dat"),
        Data(0.5, b"a: "),
        Data(1.0, b"1"),
        Data(10.0, b"\n\n"),
        End(10.0),
    )
    assert end_of(broken(Fault.drip(1, 60), reply)).t == 8 * 60


def test_split_utf8_cuts_every_multibyte_character_once() -> None:
    reply = whole(200, "a猫é🏃b")
    chunks = [step.data for step in broken(Fault.split_utf8(), reply) if isinstance(step, Data)]
    assert chunks == [b"a\xe7", b"\x8c\xab\xc3", b"\xa9\xf0", b"\x9f\x8f\x83b"]


# -- a stream that is not in order -----------------------------------------------------------


def test_a_malformed_frame_is_one_bad_frame_and_the_rest_is_read() -> None:
    out = broken(Fault.malformed(2))
    assert body_of(out) == body_of(STREAM).replace(FRAMES[1], FRAMES[1].replace(b"]}", b"]]}"))
    envelope = task_of(out).envelope
    assert envelope is not None
    assert envelope.bad_frames == 1
    assert task_of(out).results == task_of(STREAM).results


def test_a_drawn_malformed_frame_is_never_done() -> None:
    bodies = {body_of(broken(Fault.malformed(), seed=seed)) for seed in range(60)}
    assert len(bodies) == 6
    assert all(body.endswith(FRAMES[-1]) for body in bodies)


def test_a_duplicate_frame_comes_twice_in_a_row() -> None:
    out = broken(Fault.duplicate(3))
    assert body_of(out) == b"".join((*FRAMES[:3], FRAMES[2], *FRAMES[3:]))
    assert contents(out)[2] == contents(out)[3] == contents(STREAM)[2]


def test_reordered_frames_are_two_neighbours_swapped() -> None:
    out = broken(Fault.reorder(2))
    assert body_of(out) == b"".join((FRAMES[0], FRAMES[2], FRAMES[1], *FRAMES[3:]))
    for seed in range(20):
        drawn = broken(Fault.reorder(), seed=seed)
        assert body_of(drawn) != body_of(STREAM)
        assert sorted(contents(drawn)) == sorted(contents(STREAM))


def test_swapping_the_last_frame_glues_nothing_when_no_blank_line_follows_it() -> None:
    body = FRAMES[0] + FRAMES[1].rstrip()
    out = broken(Fault.reorder(1), streamed(200, [Data(0.0, body)]))
    assert body_of(out) == FRAMES[1] + FRAMES[0].rstrip()


@pytest.mark.parametrize(
    "fault", [Fault.malformed(2), Fault.duplicate(2), Fault.reorder(2), Fault.error_frame(frame=2)]
)
def test_a_changed_stream_with_a_content_length_gets_a_true_one(fault: Fault) -> None:
    out = broken(fault, whole(200, body_of(STREAM), content_type="text/event-stream"))
    assert header(out, "content-length") == str(len(body_of(out)))
    assert body_of(out) == body_of(broken(fault))


def test_an_error_frame_ends_the_stream_with_an_error_and_done() -> None:
    out = broken(Fault.error_frame("no 'luck'", "server_error", "boom", frame=2))
    told = b'data: {"error": {"message": "no \'luck\'", "type": "server_error", "code": "boom"}}\n\n'
    assert body_of(out) == b"".join((*FRAMES[:2], told, FRAMES[-1]))
    assert end_of(out) == End(2.0)
    error = task_of(out).error
    assert error is not None
    assert (error.code, error.message) == ("boom", "no 'luck'")


def test_an_error_event_ends_the_stream_without_done() -> None:
    out = broken(Fault.error_frame(event=True, frame=2))
    assert body_of(out).startswith(b"".join(FRAMES[:2]) + b"event: error\ndata: {")
    assert b"[DONE]" not in body_of(out)
    error = task_of(out).error
    assert error is not None
    assert error.category == "overloaded"


def test_an_error_frame_is_one_of_its_own_after_a_frame_that_no_blank_line_ends() -> None:
    out = broken(Fault.error_frame(frame=1), streamed(200, [Data(0.0, FRAMES[0].rstrip())]))
    assert body_of(out).startswith(FRAMES[0] + b"data: ")


def test_a_drawn_error_frame_comes_before_the_finish() -> None:
    for seed in range(20):
        out = broken(Fault.error_frame(), seed=seed)
        assert b'"stop"' not in body_of(out)
        assert body_of(out).count(b'"error"') == 1
        assert body_of(out).endswith(FRAMES[-1])


def test_an_error_inside_a_whole_200_is_the_error_alone() -> None:
    out = broken(Fault.error_frame("图片违反政策", None, None), JSON)
    assert json.loads(body_of(out)) == {"error": {"message": "图片违反政策"}}
    head = head_of(out)
    assert head is not None
    assert (head.t, head.status) == (40.0, 200)
    error = task_of(out).error
    assert error is not None
    assert error.category == "moderation"


# -- another answer ----------------------------------------------------------------------------


def test_a_status_is_an_answer_of_its_own() -> None:
    out = broken(Fault.status(429, retry_after=2, message="慢一点", code_word="rate_limit_exceeded", seconds=3))
    head = head_of(out)
    assert head is not None
    assert (head.t, head.status, header(out, "retry-after")) == (3, 429, "2")
    error = json.loads(body_of(out))["error"]
    assert (error["message"].partition(" (")[0], error["code"]) == ("慢一点", "rate_limit_exceeded")
    assert broken(Fault.status(429), JSON) == broken(Fault.status(429), (End(0.0, "refused"),))


@pytest.mark.parametrize("status", [200, 502, 524])
def test_html_comes_instead_of_json(status: int) -> None:
    out = broken(Fault.html(status), JSON)
    head = head_of(out)
    assert head is not None
    assert head.status == status
    assert (header(out, "content-type") or "").startswith("text/html")
    assert tickertape.parse_response(body_of(out), status_code=status).status == "failed"


@pytest.mark.parametrize("quoted", [False, True])
def test_a_non_stream_call_can_be_answered_with_events_that_say_the_same(quoted: bool) -> None:
    out = broken(Fault.sse(quoted=quoted), JSON)
    assert task_of(out).results == task_of(JSON).results != ()
    assert task_of(out).text == task_of(JSON).text
    assert header(out, "content-type") == ("application/json" if quoted else "text/event-stream")
    assert header(out, "content-length") == (str(len(body_of(out))) if quoted else None)
    text = json.loads(body_of(out)) if quoted else body_of(out).decode()
    assert text.startswith("data: {")
    assert text.endswith("data: [DONE]\n\n")


def test_a_content_type_can_be_another_or_missing() -> None:
    assert header(broken(Fault.content_type()), "content-type") == "text/plain; charset=utf-8"
    assert header(broken(Fault.content_type(None)), "content-type") is None
    assert broken(Fault.content_type())[1:] == STREAM[1:]
    head = Head(0.0, 200, (("Content-Type", "image/png"), ("X-A", "b")))
    changed = broken(Fault.content_type("text/html"), (head, Data(0.0, b"x"), End(0.0)))
    assert changed[0] == Head(0.0, 200, (("Content-Type", "text/html"), ("X-A", "b")))


# -- what holds for all ------------------------------------------------------------------------


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """A stream of the fixtures, in any chunks, at any times."""
    body = STREAMS[draw(st.sampled_from(sorted(STREAMS)))]
    cuts = draw(st.lists(st.integers(1, len(body) - 1), max_size=30))
    borders = sorted({0, *cuts, len(body)})
    waits = draw(st.lists(st.integers(0, 50), min_size=len(borders), max_size=len(borders)))
    t, chunks = 0.0, []
    for start, stop, wait in zip(borders, borders[1:], waits, strict=False):
        t += wait
        chunks.append(Data(t, body[start:stop]))
    if draw(st.booleans()):
        return streamed(200, chunks)
    length = (("content-length", str(len(body))),)
    return streamed(200, chunks, headers=length)


PLACES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.integers(0, 6000).map(lambda n: {"byte": n}),
    st.integers(0, 30).map(lambda n: {"frame": n}),
    st.sampled_from(["Progress", "Stage", "Image", "Link", "TaskId", "LineEnd"]).map(lambda n: {"event": n}),
    st.integers(1, 4).map(lambda n: {"event": ("Progress", n)}),
)
SECONDS = st.integers(1, 600).map(lambda n: n / 4)
CUTS = st.one_of(*(st.builds(lambda make, at: make(**at), st.just(m), PLACES) for m in (Fault.reset, Fault.close))) | (
    st.builds(lambda at: Fault.end(**at), PLACES) | st.builds(lambda at: Fault.stall(**at), PLACES)
)
SAME_BYTES = st.one_of(
    st.builds(Fault.drip, st.integers(1, 500), SECONDS),
    st.just(Fault.split_utf8()),
    st.builds(Fault.late, SECONDS),
    st.builds(lambda seconds, at: Fault.stall(seconds, **at), SECONDS, PLACES),
    st.sampled_from([Fault.content_type(), Fault.content_type(None)]),
)
NUMBERS = st.none() | st.integers(1, 30)
EDITS = st.one_of(
    st.builds(Fault.malformed, NUMBERS),
    st.builds(Fault.duplicate, NUMBERS),
    st.builds(Fault.reorder, NUMBERS),
    st.builds(lambda event, at: Fault.error_frame(event=event, frame=at), st.booleans(), NUMBERS),
)
OTHERS = st.sampled_from([fault for fault in EVERY if fault.needs is None])


def maybe(fault: Fault, reply: Reply, seed: int) -> Reply | None:
    """The reply with the fault, or None where it has no such place."""
    try:
        return broken(fault, reply, seed)
    except FaultError:
        return None


SEEDS = st.integers(0, 2**32)


@given(CUTS | SAME_BYTES | EDITS | OTHERS, replies(), SEEDS)
def test_one_seed_gives_one_well_formed_reply_and_the_repr_gives_it_too(fault: Fault, reply: Reply, seed: int) -> None:
    kept = tuple(reply)
    out = maybe(fault, reply, seed)
    assert out == maybe(eval(repr(fault), {"Fault": Fault}), reply, seed)
    assert reply == kept
    assert out != reply


@given(CUTS, replies(), SEEDS)
def test_a_cut_keeps_a_prefix_of_the_bytes_and_of_their_times(fault: Fault, reply: Reply, seed: int) -> None:
    out = maybe(fault, reply, seed)
    if out is None:
        return
    assert body_of(reply).startswith(body_of(out))
    for old, new in zip(reply[1:], out[1:-1], strict=False):
        assert isinstance(old, Data)
        assert isinstance(new, Data)
        assert new.t == old.t
        assert old.data.startswith(new.data)
    if fault.kind == "end" and header(out, "content-length") is not None:
        assert header(out, "content-length") == str(len(body_of(out)))


@given(SAME_BYTES, replies(), SEEDS)
def test_a_fault_of_time_or_pieces_keeps_every_byte_and_hurries_none(fault: Fault, reply: Reply, seed: int) -> None:
    out = maybe(fault, reply, seed)
    if out is None:
        return
    assert body_of(out) == body_of(reply)
    assert end_of(out).how == end_of(reply).how
    assert end_of(out).t >= end_of(reply).t
    assert arrivals(out) >= arrivals(reply)
    assert all(new >= old for new, old in zip(arrivals(out), arrivals(reply), strict=True))


def arrivals(reply: Reply) -> list[float]:
    """When each byte of the body comes."""
    return [step.t for step in reply if isinstance(step, Data) for _ in step.data]


@given(st.sampled_from(["reset", "close", "end", "stall"]), replies(), SEEDS)
def test_a_drawn_place_is_always_inside_the_body(kind: str, reply: Reply, seed: int) -> None:
    size = len(body_of(broken(getattr(Fault, kind)(), reply, seed)))
    assert size < len(body_of(reply))
    if kind != "end":  # a stream of one frame that finishes ends early only before it
        assert size > 0


@given(EDITS, replies(), SEEDS)
def test_a_changed_stream_keeps_the_bytes_before_the_change_and_a_true_length(
    fault: Fault, reply: Reply, seed: int
) -> None:
    out = maybe(fault, reply, seed)
    if out is None:
        return
    assert header(out, "content-length") in (None, str(len(body_of(out))))
    if fault.kind in ("duplicate", "malformed"):
        assert len(body_of(out)) > len(body_of(reply))
    if fault.kind == "reorder":
        assert sorted(body_of(out)) == sorted(body_of(reply))


def test_other_seeds_draw_other_places() -> None:
    for fault in (Fault.reset(), Fault.end(), Fault.malformed(), Fault.reorder(), Fault.error_frame()):
        assert len({broken(fault, STREAM, seed) for seed in range(40)}) > 3
