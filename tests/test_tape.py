"""Tapes: the form on disk, what is refused, the gallery, names, converted and rechunked replies."""

from __future__ import annotations

import base64
import json
import os
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

import tickertape
from tickertape import TapeError
from tickertape.testing import FakeRelay, RelayServer
from tickertape.testing._facts import Interaction
from tickertape.testing._gallery import find, gallery, names_in
from tickertape.testing._wire import Data, End, Ending, Head, Reply, Request, body_of, end_of, head_of
from tickertape.testing.redaction import Redactor
from tickertape.testing.tape import Cut, Tape

FIXTURES = Path(__file__).parents[1] / "fixtures"
CHAT = "/v1/chat/completions"
COMPARED = ("status", "task_id", "progress", "results", "previews", "error", "links")
CUTS: tuple[Cut, ...] = ("every-byte", "inside-codepoint", "inside-frame")


def lines(*facts: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    """A tape's text: its header, then these facts."""
    facts = (header or {"tape": 1, "title": "a cat"}, *facts)
    return "".join(json.dumps(fact, ensure_ascii=False) + "\n" for fact in facts)


ENDS: tuple[Ending, ...] = ("eof", "reset", "timeout", "closed")
Fact = dict[str, Any]
OK: Fact = {"response": {"status": 200, "headers": {}}}
HELLO: Fact = {"t": 0.5, "data": 'data: {"choices":[{"delta":{"content":"> 排队中"}}]}\n\n'}
END: Fact = {"t": 1.0, "end": "eof"}
GZIP: Fact = {"response": {"status": 200, "headers": {"content-encoding": "gzip"}}}
IMAGE: Fact = {"response": {"status": 200, "headers": {"content-type": "image/jpeg"}}}


def data_of(reply: Reply) -> list[Data]:
    return [step for step in reply if isinstance(step, Data)]


def read(reply: Reply) -> dict[str, Any]:
    """What a reply says, in the fields in which every form of it must agree."""
    head = head_of(reply)
    assert head is not None
    task = tickertape.parse_response(body_of(reply), head.status).as_dict()
    return {name: task[name] for name in COMPARED}


# -- any tape is kept ------------------------------------------------------------------

milliseconds = st.integers(0, 10**7).map(lambda ms: ms / 1000)
texts = st.text(max_size=12)
names = st.text("abcdefgh-", min_size=1, max_size=8)
headers = st.lists(st.tuples(names, texts), max_size=4).map(tuple)
paths = st.sampled_from([CHAT + "?beta=1", "/source/task_1", "/a.png?sig=REDACTED&x=%20", "/"])
bodies = st.binary(max_size=30) | st.recursive(st.none() | st.integers() | texts, st.lists).map(
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "ignore")
)
requests = st.builds(
    lambda method, path, sent, body: Request(method, f"http://relay.invalid{path}", sent, body),
    st.sampled_from(["GET", "POST"]),
    paths,
    st.dictionaries(names, texts, max_size=3),
    bodies,
)
notes = st.sampled_from(['{"events": ["Stage", "Progress"]}', '{"note":  "two\u2028 spaces"}'])


@st.composite
def interactions(draw: st.DrawFn) -> Interaction:
    """Anything that came over a wire: any bytes in any chunks, and any end."""
    chunks = draw(st.lists(st.binary(max_size=9), max_size=6))
    times = sorted(draw(st.lists(milliseconds, min_size=len(chunks) + 2, max_size=len(chunks) + 2)))
    # A chat answer that came to its end must say something: these are errors or were cut.
    status = draw(st.sampled_from([204, 301, 404, 500]))
    how = draw(st.sampled_from(ENDS))
    data = (Data(t, chunk) for t, chunk in zip(times[1:-1], chunks, strict=True))
    reply: Reply = (Head(times[0], status, draw(headers)), *data, End(times[-1], how))
    reply = draw(st.sampled_from([reply, (End(times[0], "refused"),), (End(times[0], "timeout"),)]))
    request = draw(st.none() | requests)
    after = len(reply) + (request is not None)
    at = st.integers(1, after)
    return Interaction(
        request, reply, tuple(sorted(draw(st.lists(st.tuples(at, notes), max_size=2)), key=lambda n: n[0]))
    )


tapes = st.builds(
    Tape,
    st.just("any/tape"),
    st.text(),
    st.none() | st.just("2026-11-22T12:00:00Z"),
    st.lists(interactions(), min_size=1, max_size=3).map(tuple),
    st.just({}) | st.just({"redacted": True}),
)


@given(tapes)
def test_a_tape_loaded_from_what_it_saved_is_equal(tape: Tape) -> None:
    text = tape.dumps()
    again = Tape.loads(text, name="any/tape")
    # A JSON body is kept by its meaning; what was read once is kept to the byte.
    for was, now in zip(tape.interactions, again.interactions, strict=True):
        assert (was.reply, was.notes) == (now.reply, now.notes)
        if was.request is not None:
            assert now.request is not None
            assert (was.request.method, was.request.url, was.request.headers) == (
                now.request.method,
                now.request.url,
                now.request.headers,
            )
            assert was.request.json == now.request.json
            assert was.request.json is not None or was.request.body in (now.request.body, b"null")
    assert (again.title, again.recorded, again.extra) == (tape.title, tape.recorded, tape.extra)
    assert Tape.loads(again.dumps(), name="any/tape") == again
    assert again.dumps() == text


def test_the_name_of_a_tape_and_how_it_was_made_do_not_count() -> None:
    tape = Tape.load("sora-2/kite-festival")
    again = Tape.loads(tape.dumps())
    assert (again == tape, hash(again) == hash(tape), again.name) == (True, True, "tape")
    assert {tape, again} == {tape}
    assert Tape.load("sora-2/lighthouse-remix") not in {tape}


@given(tapes, st.integers() | st.sampled_from(CUTS))
def test_a_rechunked_tape_has_the_same_bytes_ends_and_order_of_times(tape: Tape, how: int | Cut) -> None:
    cut = tape.rechunk(how)
    assert cut == tape.rechunk(how)
    for was, now in zip(tape.interactions, cut.interactions, strict=True):
        assert body_of(now.reply) == body_of(was.reply)
        assert end_of(now.reply) == end_of(was.reply)
        assert head_of(now.reply) == head_of(was.reply)
        assert all(a.t <= b.t for a, b in pairwise(now.reply))
        assert [text for _, text in now.notes] == [text for _, text in was.notes]
        # A piece leaves when its last byte did.
        sent = [chunk.t for chunk in data_of(was.reply) for _ in chunk.data]
        ends = accumulate(len(piece.data) for piece in data_of(now.reply))
        assert [piece.t for piece in data_of(now.reply)] == [sent[end - 1] for end in ends]
    Tape.loads(cut.dumps())


@pytest.mark.parametrize("name", gallery())
def test_a_tape_of_the_gallery_is_kept_as_json_lines(name: str) -> None:
    tape = Tape.load(name)
    assert Tape.loads(tape.dumps(), name=name) == tape


# -- the form ----------------------------------------------------------------------------


def test_a_saved_tape_is_one_line_a_fact_with_sorted_keys_and_readable_text() -> None:
    request = Request(
        "POST", f"http://relay.invalid{CHAT}?a=1", {"authorization": "REDACTED"}, b'{"stream":true,"n":1}'
    )
    whale = "🐋".encode()
    reply: Reply = (
        Head(0.1, 200, (("x-b", "1"), ("x-a", "2"))),
        Data(0.51249, "data: 生".encode() + whale[:2]),
        Data(0.6, whale[2:] + b"\r\n\r\n"),
        End(41.3, "reset"),
    )
    tape = Tape("a/b", "a\u2028cat", "2026-11-22T12:00:00Z", (Interaction(request, reply),))
    assert tape.dumps().split("\n") == [
        '{"recorded": "2026-11-22T12:00:00Z", "tape": 1, "title": "a\u2028cat"}',
        '{"request": {"headers": {"authorization": "REDACTED"}, "json": {"n": 1, "stream": true}, '
        f'"method": "POST", "path": "{CHAT}?a=1"}}}}',
        '{"response": {"headers": {"x-a": "2", "x-b": "1"}, "status": 200}, "t": 0.1}',
        '{"b64": "ZGF0YTog55Sf8J8=", "t": 0.512}',
        '{"b64": "kIsNCg0K", "t": 0.6}',
        '{"end": "reset", "t": 41.3}',
        "",
    ]
    assert Tape.loads(tape.dumps()).title == "a\u2028cat"


def test_headers_that_repeat_are_a_list_of_pairs_in_their_order() -> None:
    pairs = [["set-cookie", "b=1"], ["date", "now"], ["set-cookie", "a=2"]]
    text = lines({"response": {"status": 200, "headers": pairs}}, HELLO, END)
    tape = Tape.loads(text)
    head = head_of(tape.interactions[0].reply)
    assert head is not None
    assert head.headers == tuple(map(tuple, pairs))
    assert json.dumps(pairs) in tape.dumps()


def test_a_response_without_a_time_begins_with_its_first_chunk() -> None:
    reply = Tape.loads(lines(OK, HELLO, END)).interactions[0].reply
    assert [step.t for step in reply] == [0.5, 0.5, 1.0]


def test_comments_carriage_returns_broken_utf_8_and_chunks_are_kept() -> None:
    chunks = [
        b": ping\r\n\r\ndata: ",
        b'{"choices":[{"delta":{"content":"> \xe6\x8e',
        b'\x92\xe9\x98\x9f\xe4\xb8\xad \xff"}}]}\r\n\r\n',
    ]
    reply: Reply = (Head(0, 200), *(Data(0, chunk) for chunk in chunks), End(0))
    again = Tape.loads(Tape("t", interactions=(Interaction(None, reply),)).dumps())
    assert [chunk.data for chunk in data_of(again.interactions[0].reply)] == chunks
    assert again.task.stages == ("queued",)


def test_lines_that_are_no_facts_are_kept_where_they_stand() -> None:
    text = Tape.loads(lines(OK, HELLO, END, OK, HELLO, END)).dumps().split("\n")
    note = '{"events":   ["Stage"]}'
    for at in range(1, len(text)):
        noted = "\n".join([*text[:at], note, *text[at:]])
        assert Tape.loads(noted).dumps() == noted


ASKED: Fact = {"request": {"headers": {}, "json": {"model": "m"}, "method": "POST", "path": CHAT, "zz": "猫"}, "t": 0}


def test_keys_that_nobody_knows_are_kept_where_they_stand() -> None:
    answered = {"response": {"headers": {}, "reason": "OK", "status": 200}, "seen": 1}
    noted: Fact = {"a": 1, **HELLO, "comment": {"b": [None]}}
    facts = [ASKED, answered, noted, {"note": 1}, HELLO, {"by": "me", **END}]
    text = lines(*facts, *facts[1:], header={"redacted": ["host"], "tape": 1, "title": ""})
    text = "".join(
        json.dumps(json.loads(line), ensure_ascii=False, sort_keys=True) + "\n" for line in text.splitlines()
    )
    tape = Tape.loads(text)
    assert tape.extra == {"redacted": ["host"]}
    assert tape.task.stages == ("queued", "queued")
    assert tape.dumps() == text
    assert tape != Tape.loads(text.replace('"zz"', '"yy"'))


def test_what_stands_beside_a_chunk_goes_to_the_piece_that_ends_it() -> None:
    chunks = [{**HELLO, "n": number, f"only-{number}": 1} for number in range(3)]
    tape = Tape.loads(lines(ASKED, {**OK, "n": "head"}, *chunks, {**END, "n": "end"}))
    size = len(HELLO["data"].encode())
    for how in (*CUTS, 1, 2, 3):
        facts = [json.loads(line) for line in tape.rechunk(how).dumps().splitlines()]
        assert [fact.get("n") for fact in facts][2 :: len(facts) - 3] == ["head", "end"]
        assert facts[1] == {**ASKED, "request": ASKED["request"]}
        at, pieces = 0, []
        for fact in facts[3:-1]:
            start, at = at, at + len(base64.b64decode(fact["b64"]) if "b64" in fact else fact["data"].encode())
            held = [number for number in range(3) if start < (number + 1) * size <= at]
            assert [f"only-{number}" in fact for number in range(3)] == [number in held for number in range(3)]
            pieces += held
        assert pieces == [0, 1, 2]


def test_a_secret_under_a_key_that_nobody_knows_is_redacted() -> None:
    key = "sk-" + "aB3" * 16
    tape = Tape.loads(lines(ASKED, OK, {**HELLO, "by": {"authorization": f"Bearer {key}"}}, END))
    redacted = Redactor().redact(tape)
    assert key not in redacted.dumps()
    assert '"by": {"authorization": "Bearer REDACTED-key-1"}' in redacted.dumps()


def test_several_interactions_follow_each_other_and_the_task_is_that_of_the_chat() -> None:
    poll: list[Fact] = [
        {"request": {"method": "GET", "path": "/source/1"}},
        OK,
        {"t": 0.1, "data": "{}"},
        {"t": 0.2, "end": "eof"},
    ]
    chat: list[Fact] = [{"request": {"method": "POST", "path": CHAT, "json": {"stream": True}}}, OK, HELLO, END]
    tape = Tape.loads(lines(*poll, *chat))
    assert len(tape.interactions) == 2
    assert tape.task.stages == ("queued",)
    assert tape.duration == 1.0
    assert tape.chat.request is not None
    assert tape.chat.request.url == f"http://relay.invalid{CHAT}"
    assert tape.chat.request.json == {"stream": True}


def test_a_tape_that_git_gave_carriage_returns_is_read_all_the_same() -> None:
    text = lines(OK, HELLO, END)
    assert Tape.loads("\ufeff" + text.replace("\n", "\r\n")) == Tape.loads(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: the file is empty; expected the header"),
        ("{]\n", "line 1: no JSON (Expecting property name"),
        ("[" * 100_000, "line 1: no JSON (maximum recursion"),
        ("[]\n", "line 1: found a list; expected one object a line"),
        (lines(OK)[len(lines()) :], "line 1: no header; expected {"),
        (lines(header={"tape": 2}), "line 1: tape format 2; expected format 1, which this tickertape reads; pip"),
        (lines(header={"tape": "1"}), "line 1: tape format '1'; expected format 1"),
        (lines(header={"tape": True}), "line 1: tape format True; expected format 1"),
        (lines(header={"tape": 1, "title": 5}), "line 1: title is a number; expected text"),
        (lines(), "line 2: no interaction follows the header"),
        (lines(OK, HELLO), "line 4: the last interaction has no end; add {"),
        (lines(OK, OK), "line 3: a response before the end of the one above"),
        (lines(OK, HELLO, {"request": {"path": "/"}}), "line 4: a request before the end of the interaction above"),
        (lines(header={"tape": 1, **ASKED}), "line 1: request on the line of the header; expected one fact a line"),
        (lines(header={"tape": 1, **OK}), "line 1: response on the line of the header"),
        (lines({"request": []}), "line 2: a request that is a list"),
        (lines({"request": {"path": "/", "json": 1, "text": "a"}}), "line 2: a request with json and text; expected o"),
        (lines({"request": {"path": "/", "text": 5}}), "line 2: a request whose text is a number; put it in quotes"),
        (lines({"request": {"path": "a"}}), "line 2: method 'POST' and path 'a'; expected such as 'POST' and '/v1"),
        (lines({"request": {"path": "/", "headers": {"a": 1}}}), "line 2: headers of a request"),
        (lines({"request": {"path": "/", "b64": "?"}}), "line 2: b64 that is no base64"),
        (lines({"response": {"status": "200"}}), "line 2: a response with the status '200'"),
        (lines({"response": {"status": 200, "headers": [["a"]]}}), "line 2: headers of a response that are no texts"),
        (lines(HELLO), "line 2: data before a response; add {"),
        (lines(OK, {"t": 0.1, "data": 5}), "line 3: data that is no text"),
        (lines(OK, {"t": 0.1, "data": "\ud83d"}).encode("utf-8", "surrogatepass"), "not UTF-8 at byte"),
        (lines(OK).encode() + b'{"t": 0.1, "data": "\\ud83d"}', "line 3: data that is no text UTF-8 can hold"),
        (lines(OK, {"t": 0.1, "b64": "?"}), "line 3: b64 that is no base64"),
        (lines(OK, {"data": "a"}), "line 3: t is None; expected seconds"),
        (lines(OK, {"t": True, "data": "a"}), "line 3: t is True; expected seconds"),
        (lines(OK, {"t": -1, "data": "a"}), "line 3: t is -1; expected seconds"),
        (lines(OK, {"t": float("nan"), "data": "a"}), "line 3: t is nan; expected seconds"),
        (lines(OK, HELLO, {"t": 0.4, "end": "eof"}), "line 4: t falls from 0.5 to 0.4; expected times that never fall"),
        (lines(OK, {"t": 1, "data": "a", "end": "eof"}), "line 3: data and end in one line"),
        (lines(OK, HELLO, {"t": 1, "end": "bang"}), "line 4: end 'bang'; expected one of eof, reset"),
        (lines(OK, HELLO, {"t": 1, "end": ["eof"]}), "line 4: end ['eof']; expected one of eof, reset"),
        (lines(END), "line 2: an end of a message that did not begin"),
        (lines(OK, HELLO, {"t": 1, "end": "refused"}), "line 4: a response from a connection that was refused"),
        (lines(OK, END), "line 3: the body is empty, in the answer that ends here; record it again"),
        (lines(OK, {"t": 0, "data": "data: [DONE]\n\n"}, END), "line 4: the body of 14 bytes says nothing"),
        (lines(OK, {"t": 0, "data": "data: {]\n\n"}, END), "no content, no status, no error, 1 of its frames"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_tape_is_told_with_its_line_and_a_remedy(text: str | bytes, told: str) -> None:
    with pytest.raises(TapeError) as raised:
        Tape.loads(text, name="cats/cat.jsonl")
    assert str(raised.value).startswith("cats/cat.jsonl")
    assert told in str(raised.value)
    assert ";" in str(raised.value)


NULL: Fact = {"t": 0, "data": "null"}
UTF_16: Fact = {"t": 0, "b64": base64.b64encode(HELLO["data"].encode("utf-16")).decode()}
PNG: Fact = {"t": 0, "b64": base64.b64encode(b"\x89PNG\r\n\x1a\n1234").decode()}
JPEG: Fact = {"t": 0, "b64": base64.b64encode(b"\xff\xd8\xff").decode()}
POLL: Fact = {"t": 0, "data": '{"id": "task_1", "status": "completed"}'}
IMAGES: Fact = {"t": 0, "data": '{"data": [{"url": "https://cdn.example/b.png"}]}'}


@pytest.mark.parametrize(
    ("response", "body", "told", "remedy"),
    [
        (OK, NULL, "the body is null", "expected a completion, a stream, a task's status or an error"),
        (OK, {**NULL, "data": "true"}, "the body is true or false", "expected a completion"),
        (OK, {**NULL, "data": " 42\n"}, "the body is a number", "expected a completion"),
        (OK, {**NULL, "data": "{}"}, "the body of 2 bytes says nothing: no content, no status, no error", "record it"),
        (GZIP, PNG, "the body is compressed (gzip)", "store it decoded, and take the header content-encoding out"),
        (GZIP, HELLO, "the body is compressed (gzip)", "store it decoded"),
        (OK, UTF_16, "the body is UTF-16", "relays write UTF-8, convert it"),
        (
            OK,
            PNG,
            "the body is no text (its first bytes are 89 50 4e 47 0d 0a 1a 0a)",
            "add the request that it answered",
        ),
        (IMAGE, JPEG, "the body is no text (media (image/jpeg))", "add the request that it answered before it"),
    ],
)
def test_an_answer_that_cannot_be_read_is_refused_with_a_remedy(
    response: Fact, body: Fact, told: str, remedy: str
) -> None:
    with pytest.raises(TapeError) as raised:
        Tape.loads(lines(response, body, END))
    assert str(raised.value).startswith(f"tape, line 4: {told}, in the answer that ends here; {remedy}")


@pytest.mark.parametrize(("response", "body"), [(OK, POLL), (OK, IMAGES), (OK, NULL), (IMAGE, JPEG)])
def test_behind_another_an_answer_without_a_request_must_read_as_one(response: Fact, body: Fact) -> None:
    with pytest.raises(TapeError) as raised:
        Tape.loads(lines(OK, HELLO, END, response, body, END))
    assert str(raised.value) == (
        "tape, line 7: an answer without a request, behind another one, that reads as no chat answer; add its request "
        'before it, such as {"request": {"method": "GET", "path": "/v1/videos/task_1"}}'
    )
    asked: Fact = {"request": {"method": "GET", "path": "/v1/videos/task_1"}}
    kept = Tape.loads(lines(OK, HELLO, END, asked, response, body, END)).interactions
    assert [each.is_chat for each in kept] == [True, False]


@pytest.mark.parametrize(
    "facts",
    [
        ({"t": 0, "end": "refused"},),
        ({"t": 30, "end": "timeout"},),
        (OK, {"t": 1, "end": "reset"}),
        ({"response": {"status": 204}}, END),
        ({"response": {"status": 502}}, END),
        ({"request": {"method": "GET", "path": "/a.png"}}, OK, {"t": 0.1, "b64": "iVBORw=="}, END),
        (OK, {"t": 0.1, "data": '{"status": "queued"}'}, END),
        (OK, HELLO, END, OK, {**HELLO, "data": HELLO["data"] + ": \0\n\n"}, END),
        (OK, HELLO, END, {"response": {"status": 404}}, END),
        (OK, HELLO, END, OK, {"t": 0.1, "data": '{"error": {"message": "overloaded"}}'}, END),
        (OK, HELLO, END, OK, {"t": 0.1, "data": '{"status":'}, {"t": 1, "end": "reset"}),
        (OK, {"t": 0.1, "data": '"data: {\\"choices\\": [{\\"delta\\": {\\"content\\": \\"hi\\"}}]}"'}, END),
        (OK, {"t": 0.1, "data": "upstream busy"}, END),
        (
            OK,
            {"t": 0.1, "data": json.dumps({"choices": [{"message": {"content": None, "tool_calls": [{"id": "a"}]}}]})},
            END,
        ),
        (OK, {"t": 0.1, "data": 'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a"}]}}]}\n\n'}, END),
        (OK, HELLO, END, {"request": {"method": "GET", "path": "/source/1"}}, OK, {"t": 0, "data": "null"}, END),
        (OK, HELLO, END, {"request": {"method": "GET", "path": "/source/1"}}, OK, END),
    ],
)
def test_an_answer_may_be_empty_or_odd_where_that_is_what_was_recorded(facts: tuple[dict[str, Any], ...]) -> None:
    tape = Tape.loads(lines(*facts))
    assert Tape.loads(tape.dumps()) == tape


def test_times_that_fall_cannot_be_made_into_an_interaction() -> None:
    with pytest.raises(TapeError, match=r"a step at 0.1 s after one at 0.5 s; times never fall"):
        Interaction(None, (Head(0.5, 200), End(0.1)))


# -- files -------------------------------------------------------------------------------


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_tape_is_saved_whole_into_a_folder_that_is_made_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    tape = Tape.loads(lines(OK, HELLO, END), name="cats/milk")
    path = tmp_path / "cats" / "milk.jsonl"
    for _ in range(2):
        tape.save(path)
    assert os.listdir(path.parent) == ["milk.jsonl"]
    assert Tape.load(path) == tape
    assert path.read_bytes() == tape.dumps().encode()


def test_a_medium_that_was_in_the_tape_stays_in_it_and_a_recorded_one_lies_beside(tmp_path: Path) -> None:
    get: Fact = {"request": {"headers": {}, "method": "GET", "path": "/cat.png"}}
    png = {"response": {"headers": {"content-type": "image/png"}, "status": 200}}
    data = b"\x89PNG\r\n\x1a\n\0"
    text = lines(OK, HELLO, END, get, png, {"b64": base64.b64encode(data).decode(), "t": 0.1}, {"end": "eof", "t": 0.2})
    text = "".join(
        json.dumps(json.loads(line), ensure_ascii=False, sort_keys=True) + "\n" for line in text.splitlines()
    )
    path = write(tmp_path / "a.jsonl", text)
    Tape.load(path).save(tmp_path / "b.jsonl")
    assert (tmp_path / "b.jsonl").read_text("utf-8") == text
    assert not (tmp_path / "media").exists()
    tape = Tape.load(path)
    made = Tape("t", "a cat", None, tuple(Interaction(each.request, each.reply) for each in tape.interactions))
    made.save(tmp_path / "c.jsonl")
    assert '"media": "' in (tmp_path / "c.jsonl").read_text("utf-8")
    assert [medium.read_bytes() for medium in (tmp_path / "media").iterdir()] == [data]
    assert Tape.load(tmp_path / "c.jsonl") == made
    Tape.load(tmp_path / "c.jsonl").save(tmp_path / "d.jsonl")
    assert (tmp_path / "d.jsonl").read_bytes() == (tmp_path / "c.jsonl").read_bytes()


def test_a_tape_that_cannot_be_saved_leaves_the_old_one(tmp_path: Path) -> None:
    tape = Tape.loads(lines(OK, HELLO, END))
    with pytest.raises(TapeError, match=r"a tape is saved as \.jsonl"):
        tape.save(tmp_path / "a.json")
    file = write(tmp_path / "file", "")
    with pytest.raises(TapeError, match="cannot be written"):
        tape.save(file / "a.jsonl")
    (tmp_path / "old.jsonl").mkdir()
    with pytest.raises(TapeError, match="cannot be written"):
        tape.save(tmp_path / "old.jsonl")
    assert sorted(os.listdir(tmp_path)) == ["file", "old.jsonl"]


def test_content_is_a_whole_answer_and_its_folder_names_the_model(tmp_path: Path) -> None:
    content = "\ufeff> 排队中..\r\n> 生成失败: 余额不足\r\n"
    for suffix in ("md", "txt", "MD"):
        tape = Tape.load(write(tmp_path / "sora-2" / f"cat.{suffix}", content))
        body = json.loads(body_of(tape.reply()))
        assert body["choices"][0]["message"]["content"] == content.removeprefix("\ufeff")
        assert body["model"] == "sora-2"
        assert (tape.name, tape.dialect, tape.duration) == ("sora-2/cat", "sora-2", 0.0)
        ChatCompletion.model_validate(body, strict=True)


def test_a_stream_is_kept_as_curl_saved_it_one_chunk_a_frame(tmp_path: Path) -> None:
    frames = [
        b": ping\r\n\r\n",
        b'data: {"choices":[{"delta":{"content":"> \xe7\x94\x9f\xff"}}]}\n\n',
        b"data: [DONE]\n\n",
    ]
    reply = Tape.load(write(tmp_path / "a.sse", b"".join(frames))).reply()
    assert [(chunk.t, chunk.data) for chunk in data_of(reply)] == [(0.0, frame) for frame in frames]
    head = head_of(reply)
    assert head is not None
    assert dict(head.headers)["content-type"] == "text/event-stream"


def test_a_request_and_a_status_may_stand_beside_a_bare_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}')
    write(tmp_path / "a.request.json", json.dumps({"path": CHAT, "json": {"model": "m"}}))
    write(
        tmp_path / "a.response.json",
        json.dumps({"status": 429, "headers": {"retry-after": "2", "content-length": "1"}}),
    )
    tape = Tape.load(path)
    head = head_of(tape.reply())
    assert head is not None
    assert head.status == 429
    assert dict(head.headers)["retry-after"] == "2"
    assert dict(head.headers)["content-length"] == str(path.stat().st_size)
    assert tape.chat.request is not None
    assert tape.chat.request.json == {"model": "m"}
    assert names_in(tmp_path) == {"a"}


@pytest.mark.parametrize(
    ("folder", "message", "status"),
    [
        ("errors", "slow down, rate limit reached", 429),
        ("errors", "令牌不合法", 401),
        ("errors", "no idea", 500),
        ("cats", "slow down, rate limit reached", 200),
    ],
)
def test_an_error_has_the_status_of_its_category_in_a_folder_of_errors_only(
    tmp_path: Path, folder: str, message: str, status: int
) -> None:
    path = write(tmp_path / folder / "a.json", json.dumps({"error": {"message": message}}))
    head = head_of(Tape.load(path).reply())
    assert head is not None
    assert head.status == status


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.md", b"", "the body is empty; record it again"),
        ("a.md", b" \n", "the body is empty; record it again"),
        ("a.md", b"\xff", "not UTF-8 at byte 0; convert it"),
        ("a.json", b"> hi", "no JSON (Expecting value: line 1 column 1 (char 0)); mend it, or name a stream .sse"),
        ("a.json", b'{"choices": []}', "says nothing"),
        ("a.json", b"{}", "the body of 2 bytes says nothing"),
        ("a.json", b"null", "the body is null; expected a completion, a stream, a task's status or an error"),
        (
            "a.json",
            json.dumps({"choices": [{"message": {"content": "hi"}}]}).encode("utf-16"),
            "the body is UTF-16; relays",
        ),
        ("a.sse", b"hello", "no frame at its start; expected lines of 'data: …'"),
        ("a.sse", b"data: [DONE]\n\n", "says nothing"),
        ("a.yaml", b"tape: 1", "the suffix '.yaml' is not that of a tape; name it .jsonl, .json, .sse, .md, .txt"),
        ("a.jsonl", b"\xff\xfe", "not UTF-8 at byte 0"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(
    tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    path = write(tmp_path / name, data)
    with pytest.raises(TapeError) as raised:
        Tape.load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert told in str(raised.value)


def test_a_path_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match=r"a\.md: No such file or directory; check the path"):
        Tape.load(tmp_path / "a.md")
    with pytest.raises(TapeError, match="Is a directory"):
        Tape.load(tmp_path)


def test_a_path_without_its_suffix_is_told_of_the_file_that_has_one(tmp_path: Path) -> None:
    path = write(tmp_path / "cat.v2.jsonl", "")
    with pytest.raises(TapeError, match=r"No such file or directory; did you mean .*cat\.v2\.jsonl\? A path has its"):
        Tape.load(path.with_suffix(""))


@pytest.mark.parametrize("given", [{"tape": 1}, Path("a.jsonl"), [], 5])
def test_what_is_no_text_of_a_tape_is_told_where_files_go(given: Any) -> None:
    with pytest.raises(TapeError) as raised:
        Tape.loads(given)
    assert str(raised.value) == (
        f"found {type(given).__name__}; expected the text of a tape, str or bytes; a file goes to Tape.load"
    )
    assert Tape.loads(bytearray(lines(OK, HELLO, END).encode())) == Tape.loads(lines(OK, HELLO, END))


@pytest.mark.parametrize(("kind", "told"), [("request", "a request that is a list"), ("response", "a response with")])
def test_a_sibling_that_says_something_else_is_named(tmp_path: Path, kind: str, told: str) -> None:
    path = write(tmp_path / "a.md", "> 排队中")
    write(tmp_path / f"a.{kind}.json", "[]")
    with pytest.raises(TapeError, match=rf"a\.{kind}\.json: {told}"):
        Tape.load(path)


def test_a_broken_sibling_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.md", "> 排队中")
    write(tmp_path / "a.request.json", "{")
    with pytest.raises(TapeError, match=r"a\.request\.json: no JSON"):
        Tape.load(path)


# -- names ---------------------------------------------------------------------------------


def test_a_name_is_looked_for_in_the_folder_of_the_project_and_then_in_the_gallery(tmp_path: Path) -> None:
    assert Tape.load("sora-2/kite-festival", folder=tmp_path).task.results[0].kind == "video"
    path = write(tmp_path / "sora-2" / "kite-festival.md", "> 排队中")
    assert Tape.load("sora-2/kite-festival", folder=tmp_path).task.stages == ("queued",)
    assert find("sora-2/kite-festival", [tmp_path / "nowhere", tmp_path]) == path


def test_without_a_folder_a_name_is_looked_for_where_the_relay_around_it_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("tests/tapes", "environment", "outer", "inner"):
        write(tmp_path / folder / "sora-2" / "kite-festival.md", f"> ID: `{folder.replace('/', '_')}`")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TICKERTAPE_TAPES", raising=False)

    def found() -> str | None:
        return Tape.load("sora-2/kite-festival").task.task_id

    assert found() == "tests_tapes"
    with FakeRelay():  # a relay that names none
        assert found() == "tests_tapes"
        monkeypatch.setenv("TICKERTAPE_TAPES", "environment")
        assert found() == "environment"
    with RelayServer(tapes="outer", strict=False) as server, FakeRelay():
        assert found() == "outer"
        with FakeRelay(tapes="inner", strict=False) as relay:
            assert found() == "inner"
            relay.play("sora-2/kite-festival")
            relay.play(Tape.load("sora-2/kite-festival"))
            plays = [play.source for play in relay._relay.plays]
            assert plays[0] == plays[1]
        server.reset(tapes="inner")
        assert found() == "inner"
    assert found() == "environment"
    monkeypatch.delenv("TICKERTAPE_TAPES")
    monkeypatch.chdir(tmp_path / "outer")
    assert found() == Tape.load("sora-2/kite-festival", folder=FIXTURES).task.task_id


def test_relays_and_records_without_a_folder_take_the_one_that_a_tape_is_loaded_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tape.loads(lines(OK, HELLO, END)).save(tmp_path / "tests" / "tapes" / "checkout" / "cat.jsonl")
    monkeypatch.chdir(tmp_path)
    with FakeRelay(strict=False) as relay:
        relay.play("checkout/cat")
        relay.play(Tape.load("checkout/cat").rechunk(1))
    with RelayServer(strict=False) as server:
        server.play("checkout/cat")
        assert "checkout/cat" in httpx.get(f"{server.url}/__tickertape__/tapes").json()["tapes"]
        assert httpx.post(f"{server.url}/__tickertape__/play", json={"tape": "checkout/cat"}).status_code == 201
    recording = FakeRelay(tape="checkout/cat", record="none")._recording
    assert recording is not None
    assert recording.episodes.tape == Tape.load("checkout/cat")


def test_of_several_files_of_one_name_the_one_that_tells_most_wins(tmp_path: Path) -> None:
    for suffix in (".txt", ".md", ".sse", ".json", ".jsonl"):
        path = write(tmp_path / f"v1.5{suffix}", "")
        assert find("v1.5", [tmp_path]) == path
    assert find("v1.5.md", [tmp_path]) == tmp_path / "v1.5.md"
    assert names_in(tmp_path) == {"v1.5"}


def test_a_suffix_in_capitals_is_found_as_it_is_listed(tmp_path: Path) -> None:
    for suffix in (".MD", ".JsonL"):
        path = write(tmp_path / "in" / f"CAT{suffix}", "")
        assert names_in(tmp_path) == {"in/CAT"}
        assert find("in/CAT", [tmp_path]) == path
    small = write(tmp_path / "in" / "CAT.txt", "")
    assert find("in/CAT", [tmp_path]) == small
    with pytest.raises(TapeError, match="did you mean 'in/CAT'"):
        find("in/CAT2", [tmp_path])


def test_a_file_that_there_is_may_be_given_as_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path / "in" / "x", "").parent)
    path = write(tmp_path / "a.md", "> 排队中")
    assert Tape.load("../a.md").task.stages == ("queued",)
    assert Tape.load(str(path)).name == f"{tmp_path.name}/a"


@pytest.mark.parametrize(
    "name",
    [
        "../x", "a/../../x", "..", ".", "", "/etc/passwd", "//host/x", "a//b", "a/", "./a", "a/./b",
        "C:x", "C:/x", "c:\\x", "a\\..\\x", "\\\\host\\x", "a\0", "a\nb", "a\u202eb", "\ud800", "x" * 201, "../a.md",
    ],
)  # fmt: skip
def test_what_could_leave_the_folder_is_no_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A text that is the path of a file there is, seen from here, would be that path.
    (tmp_path / "else" / "where").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "else" / "where")
    write(tmp_path / "x.md", "> 排队中")
    write(tmp_path / "a.md", "> 排队中")
    (tmp_path / "in").mkdir()
    with pytest.raises(TapeError, match="no name of a tape"):
        find(name, [tmp_path / "in"])
    with pytest.raises(TapeError, match="no name of a tape"):
        Tape.load(name, folder=tmp_path / "in")


def test_a_link_that_leads_out_of_the_folder_is_refused_and_one_inside_is_not(tmp_path: Path) -> None:
    write(tmp_path / "secret.md", "> 排队中")
    inside = write(tmp_path / "tapes" / "a.md", "> 排队中").parent
    (inside / "out.md").symlink_to(tmp_path / "secret.md")
    (inside / "up").symlink_to(tmp_path)
    (inside / "b.md").symlink_to("a.md")
    (inside / "loop.md").symlink_to("loop.md")
    for name in ("out", "up/secret"):
        with pytest.raises(TapeError, match="a link that leads out of"):
            find(name, [inside])
    assert find("b", [inside]) == inside / "b.md"
    with pytest.raises(TapeError, match="no tape 'loop'"):
        find("loop", [inside])


def test_a_name_that_is_nowhere_is_answered_with_the_nearest_and_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(TapeError) as raised:
        Tape.load("sora2/kite-festival", folder=tmp_path)
    assert str(raised.value) == (
        f"no tape 'sora2/kite-festival' in {tmp_path}, the gallery; "
        "did you mean 'sora-2/kite-festival'? 'tickertape list' shows all names"
    )
    with pytest.raises(TapeError, match="did you mean 'veo3/timed-out'"):
        Tape.load("timed-out")
    with pytest.raises(TapeError, match="nothing is named like it"):
        Tape.load("xqzw")


def test_where_there_is_no_folder_of_the_project_the_error_says_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TapeError) as raised:
        Tape.load("checkout/cat.jsonl")
    assert str(raised.value) == (
        "no tape 'checkout/cat.jsonl' in the gallery (there is no tests/tapes here; tapes= or TICKERTAPE_TAPES names "
        "another folder of your own), and no such file; nothing is named like it; 'tickertape list' shows all names"
    )


@pytest.mark.parametrize(
    "name", ["README", "spec/echo", "fatal/nuls", "sora-2/kite-festival.task", "sora-2", "é" * 199]
)
def test_what_is_no_tape_of_the_gallery_is_not_found_there(name: str) -> None:
    assert name not in gallery()
    with pytest.raises(TapeError, match="no tape"):
        find(name)


# -- the gallery, in every form ---------------------------------------------------------------


def test_the_gallery_is_what_the_fixtures_have_a_task_for() -> None:
    tasks = [path.relative_to(FIXTURES).as_posix() for path in FIXTURES.glob("*/*.task.json")]
    assert list(gallery()) == sorted(name.removesuffix(".task.json") for name in tasks)


@pytest.mark.parametrize("stream", [None, True, False])
@pytest.mark.parametrize("name", gallery())
def test_every_form_of_an_answer_is_read_as_the_same_task(name: str, stream: bool | None) -> None:
    expected = json.loads((FIXTURES / f"{name}.task.json").read_bytes())
    tape = Tape.load(name)
    assert tape.task.as_dict()["status"] == expected["status"]
    assert read(tape.reply(stream=stream)) == {key: expected[key] for key in COMPARED}
    assert tape.dialect == name.partition("/")[0]


@pytest.mark.parametrize("name", [name for name in gallery() if not name.startswith(("errors/", "poll/"))])
def test_a_converted_answer_is_what_an_sdk_expects(name: str) -> None:
    tape = Tape.load(name)
    whole, stream = tape.reply(stream=False), tape.reply(stream=True)
    assert {name: dict(head_of(reply).headers)["content-type"] for name, reply in (("w", whole), ("s", stream))} == {  # type: ignore[union-attr]
        "w": "application/json",
        "s": "text/event-stream",
    }
    if tape.reply() == stream:  # what relays really wrote need not be what the SDK's types say
        ChatCompletion.model_validate(json.loads(body_of(whole)), strict=True)
        return
    assert tape.reply() == whole
    *chunks, done = data_of(tape.reply(stream=True, include_usage=True))
    assert done.data == b"data: [DONE]\n\n"
    told = [json.loads(chunk.data.removeprefix(b"data: ")) for chunk in chunks]
    for chunk in told:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    *deltas, stop = [chunk["choices"][0] for chunk in told[:-1]]
    assert deltas[0]["delta"] == {"role": "assistant", "content": ""}
    assert [each["delta"] for each in deltas].count({}) == 1
    assert (stop["delta"], stop["finish_reason"]) == ({}, "stop")
    content = json.loads(body_of(whole))["choices"][0]["message"]["content"]
    assert "".join(each["delta"].get("content", "") for each in deltas) == content
    assert told[-1]["choices"] == []
    assert told[-1]["usage"]["total_tokens"] > 0
    assert b'"usage"' not in body_of(stream)


def test_errors_and_poll_bodies_are_answered_as_they_are_whatever_was_asked_for() -> None:
    for name in ("errors/invalid-token", "errors/no-channel", "poll/running"):
        tape = Tape.load(name)
        assert tape.reply(stream=True) == tape.reply(stream=False) == tape.reply() == tape.interactions[0].reply


def timed(*facts: dict[str, Any], end: dict[str, Any]) -> Tape:
    return Tape.loads(
        lines({"response": {"status": 200, "headers": {"x-id": "1", "content-length": "9"}}}, *facts, end)
    )


def test_a_whole_answer_asked_for_as_a_stream_takes_the_same_time() -> None:
    body = body_of(Tape.load("gpt-image-1/paper-boats").reply()).decode()
    tape = timed({"t": 41.0, "data": body}, end={"t": 41.3, "end": "eof"})
    reply = tape.reply(stream=True)
    times = [step.t for step in reply]
    assert times[0] == times[1] == 0.0
    assert times[-2:] == [41.3, 41.3]
    assert times == sorted(times)
    assert len(set(times)) == len(times) - 2
    head = head_of(reply)
    assert head is not None
    assert head.headers == (("content-type", "text/event-stream"), ("x-id", "1"))


def test_a_stream_asked_for_as_a_whole_answer_comes_at_its_end() -> None:
    reply = timed(HELLO, end={"t": 9.5, "end": "eof"}).reply(stream=False)
    assert {step.t for step in reply} == {9.5}
    head = head_of(reply)
    assert head is not None
    assert dict(head.headers)["content-length"] == str(len(body_of(reply)))


def test_a_stream_that_was_cut_asked_for_as_a_whole_answer_is_cut_before_it_begins() -> None:
    assert timed(HELLO, end={"t": 9.5, "end": "reset"}).reply(stream=False) == (End(9.5, "reset"),)


def test_another_interaction_is_answered_by_its_index() -> None:
    poll: list[Fact] = [
        {"request": {"method": "GET", "path": "/source/1"}},
        OK,
        {"t": 0.1, "data": '{"status": "queued"}'},
        END,
    ]
    tape = Tape.loads(lines(OK, HELLO, END, *poll))
    assert body_of(tape.reply(stream=True, index=1)) == b'{"status": "queued"}'
    turned = Tape.loads(lines(*poll, OK, HELLO, END))
    assert turned.reply() == turned.chat.reply == tape.reply()
    assert body_of(turned.reply(index=0)) == b'{"status": "queued"}'


# -- rechunking --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sora-2/lighthouse-remix", "foai/rainy-street", "gpt-image-1/paper-boats"])
def test_each_way_of_cutting_cuts_where_it_says(name: str) -> None:
    tape = Tape.load(name)
    body = body_of(tape.reply())
    chunks = {how: [chunk.data for chunk in data_of(tape.rechunk(how).reply())] for how in (*CUTS, 1, 2)}
    assert all(b"".join(pieces) == body for pieces in chunks.values())
    assert {len(piece) for piece in chunks["every-byte"]} == {1}
    cuts = {how: set(accumulate(map(len, pieces))) - {len(body)} for how, pieces in chunks.items()}
    recorded = set(accumulate(len(chunk.data) for chunk in data_of(tape.reply())))
    for how in ("inside-codepoint", "inside-frame"):  # these are added to the cuts that there were
        assert recorded - {len(body)} <= cuts[how]
        cuts[how] -= recorded
    starts = list(accumulate((len(character.encode()) for character in body.decode()), initial=0))
    wide = [range(start + 1, stop) for start, stop in pairwise(starts) if stop - start > 1]
    assert cuts["inside-codepoint"]
    assert all(len(cuts["inside-codepoint"] & set(inside)) == 1 for inside in wide)
    assert len(cuts["inside-codepoint"]) == len(wide)
    assert len(cuts["inside-frame"]) == len(recorded)
    assert all(body[cut : cut + 1].strip() for cut in cuts["inside-frame"])
    assert cuts[1] != cuts[2]


@pytest.mark.parametrize("how", [*CUTS, 1, 2])
@pytest.mark.parametrize("name", ["sora-2/kite-festival", "sora-2/lighthouse-remix"])
def test_a_converted_answer_of_a_rechunked_tape_is_cut_too(name: str, how: int | Cut) -> None:
    tape = Tape.load(name)
    cut = tape.rechunk(how)
    assert "chunking" not in repr(cut)
    assert cut.chat.reply in (cut.reply(stream=True), cut.reply(stream=False))
    for stream in (True, False):
        was, now = tape.reply(stream=stream), cut.reply(stream=stream)
        pieces = [chunk.data for chunk in data_of(now)]
        assert b"".join(pieces) == body_of(was)
        assert pieces != [chunk.data for chunk in data_of(was)]
        assert {len(piece) for piece in pieces} == {1} or how != "every-byte"
        assert (head_of(now), end_of(now)) == (head_of(was), end_of(was))


def test_ways_of_cutting_are_combined() -> None:
    tape = Tape.load("sora-2/kite-festival")
    whole, stream = tape.reply(), tape.reply(stream=True)
    for reply in (whole, stream):
        asked = reply is stream
        one, other = (tape.rechunk(how).reply(stream=asked) for how in ("inside-codepoint", "inside-frame"))
        both = tape.rechunk("inside-codepoint").rechunk("inside-frame").reply(stream=asked)
        cuts = [set(accumulate(len(chunk.data) for chunk in data_of(each))) for each in (one, other, both)]
        assert cuts[0] | cuts[1] == cuts[2]


def test_cuts_inside_keep_the_chunks_and_the_times_that_were_recorded() -> None:
    later = {"t": 2.5, "data": 'data: {"choices":[{"delta":{"content":"."}}]}\n\n'}
    tape = Tape.loads(lines(OK, HELLO, later, {"t": 3.0, "end": "eof"}))
    for how in ("inside-codepoint", "inside-frame"):
        pieces = data_of(tape.rechunk(how).reply())
        assert b"".join(piece.data for piece in pieces if piece.t == 0.5) == HELLO["data"].encode()
        assert {piece.t for piece in pieces} == {0.5, 2.5}


@pytest.mark.parametrize("body", [b'"a"', b"> ok", HELLO["data"].encode(), HELLO["data"].encode() * 5])
def test_any_seed_cuts_a_short_body_and_its_pieces_do_not_all_leave_at_the_end(body: bytes) -> None:
    half = len(body) // 2
    steps = (Head(0.0, 200), Data(1.0, body[:half]), Data(9.0, body[half:]), End(9.0))
    tape = Tape("t", interactions=(Interaction(None, steps),))
    for seed in range(200):
        pieces = data_of(tape.rechunk(seed).reply())
        assert len(pieces) >= min(len(body), 4)
        assert pieces[0].t == 1.0


def test_a_way_of_cutting_that_there_is_not_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(TapeError, match="'sideways'; expected a seed or one of every-byte, inside-codepoint"):
        Tape.load("sora-2/kite-festival").rechunk("sideways")  # type: ignore[arg-type]


def test_notes_stay_before_the_data_or_move_with_the_end() -> None:
    text = Tape.loads(lines(OK, HELLO, END)).dumps().split("\n")
    noted = "\n".join([text[0], '{"n": 1}', text[1], '{"n": 2}', *text[2:4], '{"n": 3}', ""])
    facts = [json.loads(line) for line in Tape.loads(noted).rechunk("every-byte").dumps().split("\n")[:-1]]
    assert [index for index, fact in enumerate(facts) if "n" in fact] == [1, 3, len(facts) - 1]
