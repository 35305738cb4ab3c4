"""Responses and streams: whatever wraps the content, and however it is cut, the task is the same."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tickertape import (
    Envelope,
    Grammar,
    Parser,
    ParserClosed,
    ResponseError,
    ResponseReader,
    Result,
    Task,
    TaskError,
    TickertapeError,
    aiter_events,
    iter_events,
    parse,
    parse_response,
)
from tickertape import events as ev

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tickertape.events import Event

CONTENT = """```json
{"prompt": "a cat 🐈", "n": 1}
```

> ID: `task_01k7`
>[数据预览](https://relay.example/web/task_01k7) | [原始数据](https://relay.example/source/task_01k7)
> 排队中..
> 生成中.

>🏃 进度 36..81..

> 生成完成 ✅
> gen_id: `gen_7`

![gen_7](https://relay.example/cdn/cat.png)
[点击下载](https://relay.example/cdn/download/cat.png)
"""
TASK = parse(CONTENT)
CAT = "https://relay.example/cat.png"
DOG = "https://relay.example/dog.png"
INLINE = "data:image/png;base64,iVBORw0KGgo="
IMAGE = f"![cat]({CAT})"
UPSTREAM = {"message": "Upstream request failed", "type": "upstream_error"}


def enveloped(finish_reason: str | None = "stop", **told: Any) -> Task:
    """The task of `CONTENT`, its wrapping told beside it."""
    return replace(TASK, envelope=Envelope(finish_reason, **told))


def chunk(delta: Any, finish_reason: str | None = None, *, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def deltas(content: str, size: int = 7) -> list[dict[str, Any]]:
    return [chunk({"content": content[at : at + size]}) for at in range(0, len(content), size)]


def completion(content: Any, /, **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 1,
        "model": "relay-video",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}
        ],
        "usage": {"total_tokens": 3},
    }


def sse(*frames: Any, prefix: str = "data: ", end: str = "\n\n", escape: bool = False) -> str:
    """Frames as an SSE body; a str is a frame's text as it is."""
    texts = (frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=escape) for frame in frames)
    return "".join(f"{prefix}{text}{end}" for text in texts)


def whole(*, size: int = 7, **options: Any) -> str:
    """`CONTENT` as a stream that ends as it should."""
    role, stop = chunk({"role": "assistant", "content": ""}), chunk({}, "stop")
    return sse(role, *deltas(CONTENT, size), stop, "[DONE]", **options)


def printed(*, every_line: bool, size: int = 7) -> str:
    """Frames of JSON that is printed over several lines, with `data:` before the first or before each."""
    texts = [json.dumps(frame, ensure_ascii=False, indent=4) for frame in (*deltas(CONTENT, size), chunk({}, "stop"))]
    return sse(*(text.replace("\n", "\ndata: ") if every_line else text for text in texts), "[DONE]")


def wrapped(size: int = 7) -> list[dict[str, Any]]:
    """Frames of a gateway that has no choices: the pieces of content are its `data`."""
    return [
        {"id": "r7", "type": "string", "data": CONTENT[at : at + size], "code": 0}
        for at in range(0, len(CONTENT), size)
    ]


def fed(pieces: Iterable[Any], **options: Any) -> tuple[list[Event], Task]:
    reader = ResponseReader(**options)
    events = [event for piece in pieces for event in reader.feed(piece)]
    events += reader.close()
    return events, reader.task


async def collect(stream: Any) -> list[Event]:
    return [event async for event in aiter_events(stream)]


async def arriving(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def test_the_content_of_these_tests_tells_of_a_finished_task() -> None:
    assert parse(CONTENT).as_dict() == {
        "status": "completed",
        "task_id": "task_01k7",
        "ids": {"gen_id": "gen_7"},
        "parameters": {"prompt": "a cat 🐈", "n": 1},
        "stages": ["queued", "generating"],
        "progress": [36, 81],
        "links": {"web": "https://relay.example/web/task_01k7", "source": "https://relay.example/source/task_01k7"},
        "results": [
            {
                "kind": "image",
                "url": "https://relay.example/cdn/cat.png",
                "download_url": "https://relay.example/cdn/download/cat.png",
                "poster_url": None,
            }
        ],
        "previews": [],
        "error": None,
    }


# -- whole responses ------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(completion(CONTENT), id="dict"),
        pytest.param(json.dumps(completion(CONTENT)), id="text"),
        pytest.param(json.dumps(completion(CONTENT), ensure_ascii=False), id="text that escapes nothing"),
        pytest.param(json.dumps(completion(CONTENT)).replace("/", "\\/"), id="text that escapes slashes"),
        pytest.param(json.dumps(completion(CONTENT), indent=2), id="text over several lines"),
        pytest.param("\ufeff" + json.dumps(completion(CONTENT)), id="text after a BOM"),
        pytest.param("\n\n  \n" + json.dumps(completion(CONTENT)), id="text after white space that keeps alive"),
        pytest.param(json.dumps(completion(CONTENT), ensure_ascii=False).encode(), id="bytes"),
        pytest.param(b"\xef\xbb\xbf" + json.dumps(completion(CONTENT)).encode(), id="bytes after a BOM"),
        pytest.param(bytearray(json.dumps(completion(CONTENT)).encode()), id="bytearray"),
        pytest.param(memoryview(json.dumps(completion(CONTENT)).encode()), id="memoryview"),
        pytest.param(completion([{"type": "text", "text": CONTENT}]), id="content as one part"),
        pytest.param(completion([CONTENT[:99], {"type": "text", "text": CONTENT[99:]}]), id="content as two parts"),
        pytest.param({"choices": [{"text": CONTENT, "index": 0, "finish_reason": "stop"}]}, id="text completion"),
        pytest.param(json.dumps([*deltas(CONTENT), chunk({}, "stop")]), id="JSON array of chunks"),
    ],
)
def test_a_completion_is_read_in_any_form(body: Any) -> None:
    assert parse_response(body) == enveloped()


def test_a_message_alone_is_read() -> None:
    assert parse_response({"role": "assistant", "content": CONTENT}) == enveloped(None)


@pytest.mark.parametrize(
    "body",
    [CONTENT, CONTENT.encode(), b"\xef\xbb\xbf" + CONTENT.encode()],
    ids=["text", "bytes", "bytes after a BOM"],
)
def test_bare_content_has_no_envelope(body: str | bytes) -> None:
    assert parse_response(body) == TASK
    assert parse_response(body).envelope is None
    assert "envelope" not in parse_response(body).as_dict()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(SimpleNamespace(model_dump=lambda: completion(CONTENT)), id="model_dump()"),
        pytest.param(SimpleNamespace(to_dict=lambda: completion(CONTENT)), id="to_dict()"),
        pytest.param(SimpleNamespace(dict=lambda: completion(CONTENT)), id="dict()"),
        pytest.param(
            SimpleNamespace(status_code=200, content=json.dumps(completion(CONTENT)).encode()), id="HTTP response"
        ),
        pytest.param(SimpleNamespace(status_code=200, content=whole().encode()), id="HTTP response that is a stream"),
    ],
)
def test_objects_are_told_by_their_attributes(body: Any) -> None:
    assert parse_response(body) == enveloped()


def test_the_status_of_a_response_object_counts_unless_another_is_given() -> None:
    response = SimpleNamespace(status_code=401, content=b"{}")
    assert parse_response(response).error == TaskError("auth", None, None)
    assert parse_response(response, 503).error == TaskError("upstream", None, None)


@pytest.mark.parametrize(
    ("body", "finish_reason"),
    [
        pytest.param(completion(None), "stop", id="content null"),
        pytest.param(completion(""), "stop", id="content empty"),
        pytest.param(completion([]), "stop", id="no parts"),
        pytest.param({"id": "chatcmpl-7", "object": "chat.completion", "choices": []}, None, id="no choices"),
        pytest.param("data: [DONE]\n\n", None, id="nothing but [DONE]"),
        pytest.param(sse(chunk({"role": "assistant"}), "[DONE]"), None, id="nothing but a role"),
    ],
)
def test_a_response_without_content_is_incomplete(body: Any, finish_reason: str | None) -> None:
    assert parse_response(body) == Task("incomplete", envelope=Envelope(finish_reason))


@pytest.mark.parametrize("body", ["", b""], ids=["text", "bytes"])
def test_an_empty_body_is_an_incomplete_task(body: str | bytes) -> None:
    assert parse_response(body) == Task("incomplete")


def test_content_that_is_nothing_but_an_echo_is_no_response() -> None:
    task = parse_response('{"prompt": "a cat", "n": 1}')
    assert (task.status, task.parameters, task.envelope) == ("incomplete", {"prompt": "a cat", "n": 1}, None)


def test_an_extended_grammar_reads_the_content() -> None:
    grammar = Grammar.from_text('%extend GENERATING: "画画中"')
    body = completion("> 画画中..\n")
    assert parse_response(body).stages == ()
    assert parse_response(body, grammar=grammar).stages == ("generating",)
    assert [event.stage for event in iter_events([body], grammar=grammar) if isinstance(event, ev.Stage)] == [
        "generating"
    ]


# -- streams ----------------------------------------------------------------------------

STREAMS = {
    "LF": whole(),
    "CRLF": whole(end="\r\n\r\n"),
    "CR": whole(end="\r\r"),
    "no blank lines": whole(end="\n"),
    "CRLF, no blank lines": whole(end="\r\n"),
    "CR, no blank lines": whole(end="\r"),
    "three newlines": whole(end="\n\n\n"),
    "data: without a space": whole(prefix="data:"),
    "data: with two spaces": whole(prefix="data:  "),
    "characters escaped": whole(escape=True),
    "one delta": whole(size=10_000),
    "a delta a character": whole(size=1),
    "a BOM": "\ufeff" + whole(),
    "newlines before it": "\n\n" + whole(),
    "comments before it": ": RELAY PROCESSING\n\n:\n\n" + whole(),
    "comments between frames": whole(prefix=": ping\n\ndata: "),
    "comments between lines": whole(prefix=": ping\ndata: "),
    "other fields": whole(prefix="id: 7\nevent: message\nretry: 100\ndata: "),
    "empty frames between": whole(prefix="data:\n\ndata: "),
    "[DONE] without a space": sse(*deltas(CONTENT), chunk({}, "stop")) + "data:[DONE]\n\n",
    "[DONE] with its newlines written out": sse(*deltas(CONTENT), chunk({}, "stop")) + "data: [DONE]\\n\\n",
    "[DONE] with them and real ones": sse(*deltas(CONTENT), chunk({}, "stop")) + "data: [DONE]\\n\\n\n\n",
    "no [DONE]": sse(*deltas(CONTENT), chunk({}, "stop")),
    "no [DONE], no newline": sse(*deltas(CONTENT), chunk({}, "stop")).rstrip("\n"),
    "the stop with the last content": sse(chunk({"content": CONTENT}, "stop")),
    "a role with content null": sse(chunk({"role": "assistant", "content": None}), *deltas(CONTENT), chunk({}, "stop")),
    "a delta null": sse(chunk(None), *deltas(CONTENT), chunk({}, "stop")),
    "a usage frame without choices": sse(*deltas(CONTENT), chunk({}, "stop"), {"id": "r7", "usage": {}}),
    "a usage frame with choices empty": sse(*deltas(CONTENT), chunk({}, "stop"), {"id": "r7", "choices": []}),
    "a usage frame with choices null": sse(*deltas(CONTENT), chunk({}, "stop"), {"id": "r7", "choices": None}),
    "ids of any type": sse(
        {"id": 17, "created": 1.5, **chunk({"content": CONTENT[:50]})},
        {"id": ["r7"], "created": None, "choices": [{"delta": {"content": CONTENT[50:]}, "finish_reason": "stop"}]},
    ),
    "keys beside the content": sse(
        chunk({"content": CONTENT, "wm": 1, "output": [], "tool_calls": None, "images": []}, "stop")
    ),
    "JSON over several lines, data: once": printed(every_line=False),
    "JSON over several lines, data: on each": printed(every_line=True),
    "JSON over several lines, no blank lines": printed(every_line=False).replace("\n\n", "\n"),
    "JSON over several lines, CRLF": printed(every_line=False).replace("\n", "\r\n"),
    "JSON over several lines, CR": printed(every_line=True).replace("\n", "\r"),
    "a JSON string": json.dumps(whole()),
    "a JSON string after a BOM": "\ufeff" + json.dumps(whole(), ensure_ascii=False),
}


@pytest.mark.parametrize("text", STREAMS.values(), ids=STREAMS)
def test_a_stream_reads_as_its_content_however_it_is_written(text: str) -> None:
    assert parse_response(text) == enveloped()
    assert parse_response(text.encode()) == enveloped()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(sse(*wrapped()), id="no [DONE]"),
        pytest.param(sse(*wrapped(), "[DONE]", end="\n"), id="no blank lines"),
    ],
)
def test_frames_whose_data_is_the_content_are_read(text: str) -> None:
    assert parse_response(text) == enveloped(None)


CUT = {
    "LF": whole(size=120),
    "CRLF": whole(size=120, end="\r\n\r\n"),
    "CR": whole(size=120, end="\r\r"),
    "no blank lines": whole(size=120, end="\n", prefix="data:"),
    "comments": whole(size=120, prefix=": ping\n\ndata: "),
    "JSON over several lines, CRLF": printed(every_line=False, size=200).replace("\n", "\r\n"),
    "JSON string": json.dumps(whole(size=120), ensure_ascii=False),
    "completion": json.dumps(completion(CONTENT), ensure_ascii=False),
    "BOM": "\ufeff" + whole(size=120),
}


@pytest.mark.parametrize("text", CUT.values(), ids=CUT)
def test_bytes_may_be_cut_anywhere(text: str) -> None:
    body = text.encode()
    assert fed([body])[1] == enveloped()
    differing = [at for at in range(1, len(body)) if fed([body[:at], body[at:]])[1] != enveloped()]
    assert differing == []


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("text", CUT.values(), ids=CUT)
def test_bytes_may_come_in_small_pieces(text: str, size: int) -> None:
    body = text.encode()
    events, task = fed(body[at : at + size] for at in range(0, len(body), size))
    assert task == enveloped()
    assert tuple(events) == TASK.events


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["LF", "CRLF", "CR", "no blank lines", "comments", "BOM"])
def test_text_may_come_in_small_pieces(name: str, size: int) -> None:
    text = CUT[name]
    assert fed(text[at : at + size] for at in range(0, len(text), size))[1] == enveloped()


def test_events_come_with_the_frame_that_makes_them_certain() -> None:
    reader = ResponseReader()
    assert reader.feed(sse(chunk({"content": "> 排队中"})).encode()) == []
    queued = reader.feed(sse(chunk({"content": "..\n> 生成中.\n>🏃 进度 3"})).encode())
    assert [event.stage for event in queued if isinstance(event, ev.Stage)] == ["queued", "generating"]
    assert summary(reader) == ("in_progress", ())
    assert reader.pending.endswith("3")
    ticked = reader.feed(sse(chunk({"content": "6..[61](https://relay.example/61.png).."})).encode())
    assert [event.percent for event in ticked if isinstance(event, ev.Progress)] == [36, 61]
    assert summary(reader) == ("in_progress", (36, 61))
    reader.close()
    assert summary(reader) == ("incomplete", (36, 61))


def summary(reader: ResponseReader) -> tuple[str, tuple[float, ...]]:
    return reader.task.status, reader.task.progress


def test_nothing_counts_after_done() -> None:
    late = sse(chunk({"content": "生成失败: timeout\n"}), {"error": UPSTREAM}, "no JSON")
    assert parse_response(whole() + late) == enveloped()


def test_line_separators_inside_json_are_no_line_ends() -> None:
    text = sse(chunk({"content": f"a\u2028b\x85c\x0b\n{IMAGE}"}, "stop"))
    task = parse_response(text)
    assert task.text == f"a\u2028b\x85c\x0b\n{IMAGE}"
    assert task.results == (Result("image", CAT),)


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    body = sse(chunk({"content": "caf_"})).encode().replace(b"_", b"\xff") + sse(chunk({"content": IMAGE})).encode()
    assert parse_response(body).text == "caf\ufffd" + IMAGE
    assert parse_response(body).results == (Result("image", CAT),)


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda text: parse_response(completion(text)).text, id="completion"),
        pytest.param(lambda text: parse_response(sse(*deltas(text, 3))).text, id="stream"),
        pytest.param(lambda text: parse_response(sse(*deltas(text, 3), escape=True).encode()).text, id="bytes"),
        pytest.param(lambda text: fed(deltas(text, 1))[1].text, id="chunks"),
        pytest.param(lambda text: fed(text)[1].text, id="deltas"),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(CONTENT, id="status stream"),
        pytest.param("  \r\n\r\n> 生成中..\r\n\ttabs \\n \u2028 \x00 end  \n\n", id="white space"),
        pytest.param("Персонаж café 🏃🏽‍♀️ 👨‍👩‍👧", id="scripts and joined emoji"),
    ],
)
def test_the_text_is_kept_verbatim(read: Any, text: str) -> None:
    assert read(text) == text


def test_without_history_the_task_is_the_same_but_for_text_and_events() -> None:
    _, task = fed([whole().encode()], history=False)
    assert task == replace(enveloped(), text="", events=())


# -- frames that are not JSON ------------------------------------------------------------

TORN = '{"choices":[{"index":0,"delta":{"content":"> x"}}]]}'


@pytest.mark.parametrize("end", ["\n\n", "\n", "\r\n\r\n"], ids=["LF", "no blank lines", "CRLF"])
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param([TORN], id="a bracket too many"),
        pytest.param(["upstream hiccup"], id="words"),
        pytest.param(["{'choices': []}"], id="a Python literal"),
        pytest.param([TORN, '{"choices":'], id="two"),
    ],
)
def test_a_frame_that_is_no_json_is_counted_kept_and_skipped(bad: list[str], end: str) -> None:
    text = sse(chunk({"content": CONTENT[:60]}), *bad, chunk({"content": CONTENT[60:]}, "stop"), "[DONE]", end=end)
    task = parse_response(text)
    assert task == enveloped(bad_frames=len(bad), error_log=tuple(bad))
    assert task.envelope is not None
    assert task.as_dict()["envelope"] == {
        "finish_reason": "stop",
        "reasoning": None,
        "error": None,
        "bad_frames": len(bad),
    }


@pytest.mark.parametrize("value", ["7", '"words"', "[1]", "true"])
def test_json_that_is_no_object_is_a_bad_frame(value: str) -> None:
    text = sse(value, chunk({"content": CONTENT}, "stop"))
    assert parse_response(text) == enveloped(bad_frames=1, error_log=(value,))


def test_a_line_without_a_field_is_a_bad_frame() -> None:
    text = sse(chunk({"content": CONTENT}, "stop")) + "connection reset\n\n"
    assert parse_response(text) == enveloped(bad_frames=1, error_log=("connection reset",))


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_last_frame_cut_off_is_a_bad_frame(end: str) -> None:
    text = sse(chunk({"content": CONTENT}, "stop")) + 'data: {"id":"r7","cho' + end
    assert parse_response(text) == enveloped(bad_frames=1, error_log=('{"id":"r7","cho',))


def test_a_completion_cut_off_is_a_bad_frame_and_an_incomplete_task() -> None:
    text = json.dumps(completion(CONTENT))[:90]
    assert parse_response(text) == Task("incomplete", envelope=Envelope(bad_frames=1, error_log=(text,)))


def test_an_object_that_is_no_response_is_a_bad_frame() -> None:
    assert parse_response({"pong": 1}) == Task(
        "incomplete", envelope=Envelope(bad_frames=1, error_log=('{"pong": 1}',))
    )


def test_bad_frames_make_no_events() -> None:
    events, task = fed([sse("hiccup", "hiccup").encode()])
    assert events == []
    assert task.status == "incomplete"


# -- errors beside the text ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param(
            sse({"error": UPSTREAM}, "[DONE]"),
            TaskError("upstream", "upstream_error", "Upstream request failed"),
            id="error frame",
        ),
        pytest.param(
            sse({"error": UPSTREAM}),
            TaskError("upstream", "upstream_error", "Upstream request failed"),
            id="error frame, no [DONE]",
        ),
        pytest.param(
            sse({"error": "Upstream request failed"}),
            TaskError("upstream", None, "Upstream request failed"),
            id="error as a string",
        ),
        pytest.param(
            sse({"id": "r7", "choices": [], "error": UPSTREAM}),
            TaskError("upstream", "upstream_error", "Upstream request failed"),
            id="error beside choices",
        ),
        pytest.param(
            "event: error\n" + sse({"error": UPSTREAM}),
            TaskError("upstream", "upstream_error", "Upstream request failed"),
            id="event: error",
        ),
        pytest.param(
            "event:error\r\n" + sse({"error": UPSTREAM}, prefix="data:", end="\r\n\r\n"),
            TaskError("upstream", "upstream_error", "Upstream request failed"),
            id="event:error, CRLF",
        ),
        pytest.param(
            "event: error\n" + sse({"message": "Upstream request failed", "code": "upstream_error"}),
            TaskError("upstream", "upstream_error", "Upstream request failed"),
            id="event: error, flat",
        ),
        pytest.param(
            "event: error\n" + sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            TaskError("overloaded", "overloaded_error", "Overloaded"),
            id="event: error, error in error",
        ),
        pytest.param(
            'event: error\ndata: "upstream timeout"\n\n',
            TaskError("timeout", None, "upstream timeout"),
            id="event: error, a JSON string",
        ),
        pytest.param(
            "event: error\ndata: upstream timeout\n\n",
            TaskError("timeout", None, "upstream timeout"),
            id="event: error, plain words",
        ),
        pytest.param(
            sse(chunk({"error": "timeout"}), chunk({}, "stop"), "[DONE]"),
            TaskError("timeout", None, "timeout"),
            id="delta.error as a string",
        ),
        pytest.param(
            sse(chunk({"error": {"message": "no free account", "code": "no_account"}}, "stop")),
            TaskError("overloaded", "no_account", "no free account"),
            id="delta.error as an object",
        ),
        pytest.param(
            json.dumps(completion("", error="Request failed with status code 429")),
            TaskError("rate_limit", None, "Request failed with status code 429"),
            id="message.error",
        ),
        pytest.param(
            sse({"choices": [{"index": 0, "delta": {}, "error": {"code": 502, "message": "Bad gateway"}}]}),
            TaskError("upstream", None, "Bad gateway"),
            id="error of a choice",
        ),
        pytest.param(
            sse({"error": {"message": "busy", "statusCode": 429}}),
            TaskError("rate_limit", None, "busy"),
            id="statusCode beside the message",
        ),
        pytest.param(
            sse({"error": {"message": "nope", "status_code": 503}}),
            TaskError("upstream", None, "nope"),
            id="status_code beside the message",
        ),
        pytest.param(
            sse({"error": {"message": "nope", "code": 500}}),
            TaskError("upstream", None, "nope"),
            id="code that is an HTTP status",
        ),
        pytest.param(
            sse({"error": {"msg": "余额不足", "code": 4001}}),
            TaskError("quota", None, "余额不足"),
            id="msg for message",
        ),
        pytest.param(
            sse({"error": {"type": "server_error"}}), TaskError("upstream", "server_error", None), id="type alone"
        ),
        pytest.param(
            sse({"error": {"code": "generation_failed"}}),
            TaskError("unknown", "generation_failed", None),
            id="code alone",
        ),
        pytest.param(
            sse({"id": "r7", "data": "", "code": 500, "msg": "余额不足"}),
            TaskError("quota", None, "余额不足"),
            id="error of a frame without choices",
        ),
        pytest.param(
            sse(chunk({"content": "Sorry, I can't draw that."}), {"error": UPSTREAM}),
            TaskError("upstream", "upstream_error", "Upstream request failed"),
            id="error after prose",
        ),
        pytest.param(
            sse(chunk({"content": "> 生成完成 ✅\n"}), {"error": UPSTREAM}),
            TaskError("upstream", "upstream_error", "Upstream request failed"),
            id="error after a success line",
        ),
        pytest.param(
            sse(chunk({"content": "> 生成失败: timeout\n"}), {"error": {"message": "额度不足"}}),
            TaskError("quota", None, "额度不足"),
            id="error after a failure line",
        ),
    ],
)
def test_an_error_frame_fails_the_task(text: str, error: TaskError) -> None:
    task = parse_response(text)
    assert (task.status, task.error) == ("failed", error)
    assert parse_response(text.encode()) == task


def test_an_error_frame_keeps_what_was_told_before_it() -> None:
    text = sse(chunk({"content": "> 生成中..\n>🏃 进度 36..\n"}), {"error": UPSTREAM})
    task = parse_response(text)
    assert (task.status, task.stages, task.progress) == ("failed", ("generating",), (36,))
    assert task.envelope == Envelope(error=UPSTREAM)


def test_an_error_frame_decides_over_a_result_before_it() -> None:
    task = parse_response(sse(chunk({"content": IMAGE}, "stop"), {"error": UPSTREAM}))
    assert (task.status, task.results) == ("failed", (Result("image", CAT),))


HARMLESS: list[Any] = [
    None,
    {},
    [],
    "",
    False,
    0,
    {"code": 200},
    {"code": "200"},
    {"code": 0, "message": ""},
    {"code": 200, "message": "success"},
    {"message": "", "type": "", "param": "", "code": None},
    {"message": None, "type": None, "param": None, "code": None},
]


@pytest.mark.parametrize("error", HARMLESS, ids=json.dumps)
def test_a_harmless_error_fails_nothing(error: Any) -> None:
    finished = enveloped()
    assert parse_response(completion(CONTENT) | {"error": error}) == finished
    assert parse_response(completion(CONTENT, error=error)) == finished
    assert parse_response(sse({"error": error}, chunk({"content": CONTENT}, "stop"))) == finished
    assert parse_response(sse(chunk({"content": CONTENT, "error": error}, "stop"))) == finished
    assert (
        parse_response(sse(chunk({"content": CONTENT}, "stop")) + "event: error\n" + sse({"error": error})) == finished
    )


def test_the_name_of_an_event_ends_with_its_frame() -> None:
    text = "event: error\n" + sse({"error": {"code": 200}}, {"message": "a note"}, chunk({"content": CONTENT}, "stop"))
    assert parse_response(text) == enveloped()


# -- what the content is made of -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "results"),
    [
        pytest.param(
            {"content": ["Done. ", {"type": "image_url", "image_url": {"url": CAT}}]}, [("image", CAT)], id="image part"
        ),
        pytest.param(
            {"content": [{"type": "text", "text": IMAGE}, {"type": "image_url", "image_url": DOG}]},
            [("image", CAT), ("image", DOG)],
            id="image in a text part, then an image part",
        ),
        pytest.param(
            {"content": [{"type": "video_url", "video_url": {"url": "https://relay.example/cdn/7"}}]},
            [("video", "https://relay.example/cdn/7")],
            id="video part",
        ),
        pytest.param(
            {"content": [{"type": "audio_url", "audio_url": {"url": "https://relay.example/cdn/8"}}]},
            [("audio", "https://relay.example/cdn/8")],
            id="audio part",
        ),
        pytest.param(
            {"content": "", "images": [{"type": "image_url", "image_url": {"url": INLINE}}]},
            [("image", INLINE)],
            id="images",
        ),
        pytest.param(
            {"content": None, "images": [{"url": CAT}, {"image_url": {"url": DOG}}]},
            [("image", CAT), ("image", DOG)],
            id="images beside content null",
        ),
        pytest.param({"content": None, "images": [CAT]}, [("image", CAT)], id="an image as a string"),
        pytest.param(
            {"content": "", "images": [CAT, DOG]},
            [("image", CAT), ("image", DOG)],
            id="images as strings",
        ),
        pytest.param(
            {"content": "", "images": [{"url": CAT}, DOG]},
            [("image", CAT), ("image", DOG)],
            id="images as an object and a string",
        ),
        pytest.param(
            {"content": IMAGE, "images": [{"image_url": {"url": CAT}}]}, [("image", CAT)], id="the same image twice"
        ),
        pytest.param({"content": INLINE}, [("image", INLINE)], id="content that is a data: URL"),
        pytest.param(
            {"content": [None, 7, {"type": "text"}, {"image_url": None}, {"image_url": {}}, IMAGE]},
            [("image", CAT)],
            id="parts that say nothing",
        ),
    ],
)
def test_media_count_wherever_the_message_holds_them(message: dict[str, Any], results: list[tuple[str, str]]) -> None:
    expected = tuple(Result(kind, url) for kind, url in results)  # type: ignore[arg-type]
    for body in (completion(None, **message), sse(chunk(message, "stop"))):
        task = parse_response(body)
        assert (task.status, task.results, task.envelope) == ("completed", expected, Envelope("stop"))


def test_what_is_beside_the_text_makes_events_of_no_width() -> None:
    body = sse(
        chunk({"content": "> 生成中..\n"}),
        chunk({"images": [{"image_url": {"url": CAT}}]}),
        chunk({"content": [{"video_url": {"url": DOG}}, "> 生成完成\n"]}),
        {"error": UPSTREAM},
    )
    events, task = fed([body.encode()])
    beside = [event for event in events if event.start == event.end and not isinstance(event, ev.LineEnd)]
    at = len("> 生成中..\n")
    assert beside == [
        ev.Image(at, at, "", CAT),
        ev.Link(at, at, "", DOG, "watch", "video"),
        ev.Failed(len(task.text), len(task.text), "", "Upstream request failed"),
    ]
    assert task.events == tuple(events)
    assert [left.end for left, _ in pairwise(events)] == [right.start for _, right in pairwise(events)]
    assert "".join(task.text[event.start : event.end] for event in events) == "> 生成中..\n> 生成完成\n"


TWO = {
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": f"> 生成中..\n{IMAGE}\n"}, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": f"![dog]({DOG})"}, "finish_reason": "length"},
    ]
}


@pytest.mark.parametrize(
    ("choice", "urls", "stages", "finish_reason"),
    [
        pytest.param(None, [CAT, DOG], ("generating",), "length", id="all"),
        pytest.param(0, [CAT], ("generating",), "stop", id="the first"),
        pytest.param(1, [DOG], (), "length", id="the second"),
        pytest.param(2, [], (), None, id="one that is not there"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(TWO, id="completion"),
        pytest.param(
            sse(
                chunk({"content": "> 生成中..\n"}),
                {"choices": [{"index": 0, "delta": {"content": IMAGE}}, {"index": 1, "delta": {"content": ""}}]},
                chunk({"content": "\n"}, "stop"),
                chunk({"content": f"![dog]({DOG})"}, "length", index=1),
            ),
            id="stream",
        ),
    ],
)
def test_choices_are_one_message_unless_one_is_asked_for(
    body: Any, choice: int | None, urls: list[str], stages: tuple[str, ...], finish_reason: str | None
) -> None:
    task = parse_response(body, choice=choice)
    assert [result.url for result in task.results] == urls
    assert task.stages == stages
    assert task.envelope == Envelope(finish_reason)


def test_one_choice_can_be_asked_of_a_live_stream() -> None:
    stream = [chunk({"content": IMAGE}), chunk({"content": f"![dog]({DOG})"}, index=1)]
    assert [event.url for event in iter_events(stream, choice=1) if isinstance(event, ev.Image)] == [DOG]
    async_events = asyncio.run(_choice(arriving(stream), 0))
    assert [event.url for event in async_events if isinstance(event, ev.Image)] == [CAT]


async def _choice(stream: Any, choice: int) -> list[Event]:
    return [event async for event in aiter_events(stream, choice=choice)]


def test_a_choice_without_an_index_is_the_first() -> None:
    body = {"choices": [{"message": {"content": IMAGE}}]}
    assert parse_response(body, choice=0).results == (Result("image", CAT),)
    assert parse_response(body, choice=1).results == ()


@pytest.mark.parametrize(
    ("frames", "finish_reason"),
    [
        pytest.param([chunk({"content": CONTENT}, "stop")], "stop", id="with the content"),
        pytest.param([chunk({"content": CONTENT}), chunk({}, "stop")], "stop", id="after it"),
        pytest.param([chunk({"content": CONTENT}) | {"finish_reason": "stop"}], "stop", id="at the top"),
        pytest.param([chunk({"content": CONTENT}, "STOP")], "STOP", id="as written"),
        pytest.param([chunk({"content": CONTENT}, ""), chunk({}, "stop")], "stop", id="after an empty one"),
        pytest.param([chunk({"content": CONTENT}, "stop"), chunk({}, "")], "stop", id="before an empty one"),
        pytest.param([chunk({"content": CONTENT}, "stop"), chunk({}, None)], "stop", id="before null"),
        pytest.param([{"choices": [{"delta": {"content": CONTENT}}]}], None, id="nowhere"),
        pytest.param([{"choices": [{"delta": {"content": CONTENT}, "finish_reason": 7}]}], None, id="not a word"),
    ],
)
def test_the_finish_reason_is_taken_wherever_it_stands(frames: list[dict[str, Any]], finish_reason: str | None) -> None:
    assert parse_response(sse(*frames)) == enveloped(finish_reason)
    assert fed(frames)[1] == enveloped(finish_reason)


# -- reasoning ---------------------------------------------------------------------------------------


def thoughts(*texts: str, key: str = "reasoning_content") -> list[dict[str, Any]]:
    return [chunk({"content": None, key: text}) for text in texts]


@pytest.mark.parametrize(
    ("texts", "progress"),
    [
        pytest.param(["**Video Generation Progress**: 8% (queued)\n", "Progress: 87%\n"], (8, 87), id="lines"),
        pytest.param(["生成进度: 4", "2%\n生成", "进度: 8", "7%\n"], (42, 87), id="cut anywhere"),
        pytest.param(["生成进度: 66.6%"], (66.6,), id="at the very end"),
        pytest.param([">🏃 进度 36..44..\n"], (36, 44), id="a run"),
        pytest.param(["❌ 生成失败: timeout\n"], (), id="a failure"),
        pytest.param(["✅ 生成完成\n"], (), id="a success"),
        pytest.param(["> ID: `task_9`\n> sid: s_9\n> 排队中..\n> 生成中..\n"], (), id="ids and stages"),
        pytest.param([f"{IMAGE}\n[在线播放](https://relay.example/x.mp4)\n"], (), id="media"),
        pytest.param(["[原始数据](https://relay.example/source/9)\n"], (), id="task links"),
        pytest.param(['{"prompt": "x"}\n'], (), id="an echo"),
    ],
)
@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_only_the_percentages_of_the_reasoning_count(texts: list[str], progress: tuple[float, ...], key: str) -> None:
    task = parse_response(sse(*thoughts(*texts, key=key), chunk({}, "stop")))
    assert task == Task("incomplete", progress=progress, envelope=Envelope("stop", reasoning="".join(texts)))


def test_reasoning_ticks_join_progress_in_order_of_arrival() -> None:
    frames = [
        chunk({"content": ">🏃 进度 10..\n"}),
        *thoughts("生成进度: 20%\n"),
        chunk({"content": ">🏃 进度 30..\n"}),
        *thoughts("生成进度: 40%\n"),
        chunk({"content": IMAGE}),
    ]
    task = parse_response(sse(*frames))
    assert (task.status, task.progress) == ("completed", (10, 20, 30, 40))


def test_reasoning_makes_no_events_and_no_text() -> None:
    events, task = fed([*thoughts("生成进度: 20%\n"), chunk({"content": IMAGE, "reasoning_content": "进度 40%\n"})])
    assert (task.progress, task.text) == ((20, 40), IMAGE)
    assert not any(isinstance(event, ev.Progress) for event in events)


def test_the_reasoning_of_a_completion_is_read() -> None:
    task = parse_response(completion(IMAGE, reasoning_content="生成进度: 42%\n"))
    assert (task.progress, task.envelope) == ((42,), Envelope("stop", reasoning="生成进度: 42%\n"))


def test_empty_reasoning_is_none() -> None:
    assert parse_response(completion(CONTENT, reasoning_content="")) == enveloped()


# -- surrogate halves --------------------------------------------------------------------------------


def units(text: str) -> list[str]:
    """Text as JavaScript would cut it: in UTF-16 code units."""
    data = text.encode("utf-16-le")
    return [data[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(data), 2)]


def test_a_character_may_be_cut_in_halves_over_two_deltas() -> None:
    assert "\ud83c" in units(CONTENT)
    frames = [*(chunk({"content": unit}) for unit in units(CONTENT)), chunk({}, "stop")]
    assert fed(frames)[1] == enveloped()
    assert parse_response(sse(*frames, escape=True)) == enveloped()
    assert parse_response(sse(*frames, escape=True).encode()) == enveloped()


@pytest.mark.parametrize("empty", [chunk({"content": ""}), chunk({}), chunk({"content": None}), {"choices": []}])
def test_frames_without_text_may_come_between_the_halves(empty: dict[str, Any]) -> None:
    text = sse(chunk({"content": "> \ud83c"}), empty, chunk({"content": "\udfc3 进度 36.."}), escape=True)
    task = parse_response(text)
    assert (task.text, task.progress) == ("> 🏃 进度 36..", (36,))


@pytest.mark.parametrize(
    "pieces", [["a\ud83c"], ["a\ud83c", "b"], ["\udfc3a"], ["\ud83c", "\ud83c", "\udfc3"]], ids=ascii
)
def test_half_a_character_without_the_other_is_kept(pieces: list[str]) -> None:
    task = parse_response(sse(*(chunk({"content": piece}) for piece in pieces), escape=True))
    assert task.text == "".join(pieces).replace("\ud83c\udfc3", "🏃")


# -- live streams --------------------------------------------------------------------------------------

LINES = whole().split("\n")
SOURCES: dict[str, Any] = {
    "one str": lambda: CONTENT,
    "deltas": lambda: [CONTENT[at : at + 3] for at in range(0, len(CONTENT), 3)],
    "a generator of characters": lambda: (character for character in CONTENT),
    "bytes of bare content": lambda: [CONTENT.encode()[at : at + 2] for at in range(0, len(CONTENT.encode()), 2)],
    "chunks": lambda: deltas(CONTENT),
    "SDK objects": lambda: [SimpleNamespace(model_dump=lambda c=c: c) for c in deltas(CONTENT)],
    "events of the SDK's helper": lambda: [
        SimpleNamespace(type="chunk", chunk=SimpleNamespace(to_dict=lambda c=c: c)) for c in deltas(CONTENT)
    ],
    "one body": lambda: whole().encode(),
    "pieces of a body": lambda: [whole().encode()[at : at + 13] for at in range(0, len(whole().encode()), 13)],
    "a file of bytes": lambda: io.BytesIO(whole().encode()),
    "a file of text": lambda: io.StringIO(whole()),
    "lines with their ends": lambda: whole().splitlines(keepends=True),
    "lines without": lambda: LINES,
    "lines without, as bytes": lambda: [line.encode() for line in LINES],
    "lines without, no blank ones": lambda: [line for line in LINES if line],
    "lines without, no blank ones, as bytes": lambda: [line.encode() for line in LINES if line],
    "one completion": lambda: completion(CONTENT),
    "a list of one completion": lambda: [completion(CONTENT)],
    "chunks as JSON": lambda: [*(json.dumps(c) for c in deltas(CONTENT)), "[DONE]"],
}
NOT_CHUNKS = [name for name in SOURCES if name not in ("one str", "one body", "one completion", "chunks as JSON")]


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "chunks as JSON"])
def test_iter_events_gives_the_events_of_the_content(name: str) -> None:
    assert tuple(iter_events(SOURCES[name]())) == TASK.events


@pytest.mark.parametrize("name", NOT_CHUNKS)
def test_aiter_events_is_its_twin(name: str) -> None:
    assert tuple(asyncio.run(collect(arriving(SOURCES[name]())))) == TASK.events


@pytest.mark.parametrize(
    "delta",
    [
        f"date: today\n{IMAGE}",
        f"ideas: {IMAGE}",
        f"{{a}} {IMAGE}",
        f"[a] {IMAGE}",
        '{"prompt": "x"}\n> 生成中..',
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_a_delta_that_begins_like_something_else_loses_nothing(delta: str, size: int) -> None:
    parser = Parser()
    expected = [*parser.feed(delta), *parser.close()]
    assert list(iter_events([delta[at : at + size] for at in range(0, len(delta), size)])) == expected


def test_a_stream_whose_response_says_error_ends_in_failed() -> None:
    response = SimpleNamespace(status_code=503, iter_bytes=lambda: iter([b"no healthy ", b"upstream"]))
    assert list(iter_events(response)) == [ev.Failed(0, 0, "", "no healthy upstream")]


def test_iter_events_prefers_bytes_of_the_body() -> None:
    body = whole().encode()
    responses = [
        SimpleNamespace(status_code=200, iter_bytes=lambda: iter([body]), iter_lines=lambda: 1 / 0),
        SimpleNamespace(status_code=200, iter_content=lambda size: iter([body]), iter_lines=lambda: 1 / 0),
    ]
    assert [tuple(iter_events(response)) for response in responses] == [TASK.events, TASK.events]


def test_aiter_events_reads_a_response_by_any_of_its_names() -> None:
    pieces = [whole().encode()]
    responses = [
        SimpleNamespace(status_code=200, aiter_bytes=lambda: arriving(pieces)),
        SimpleNamespace(status=200, content=SimpleNamespace(iter_any=lambda: arriving(pieces))),
        SimpleNamespace(iter_any=lambda: arriving(pieces)),
    ]
    assert [tuple(asyncio.run(collect(response))) for response in responses] == [TASK.events] * 3


# -- misuse ----------------------------------------------------------------------------------------------


def test_feeding_after_close_raises_and_closing_twice_does_not() -> None:
    reader = ResponseReader()
    reader.feed(whole())
    assert reader.close() == []
    assert reader.close() == []
    with pytest.raises(ParserClosed, match="make a new ResponseReader"):
        reader.feed("")


@pytest.mark.parametrize(
    "body", [None, 5, 1.5, True, [], [1], (), object(), dict, iter(["a"])], ids=lambda body: type(body).__name__
)
def test_parse_response_refuses_what_is_no_response(body: Any) -> None:
    with pytest.raises(ResponseError, match=f"got {type(body).__name__}$") as caught:
        parse_response(body)
    assert isinstance(caught.value, TickertapeError)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("stream", [None, 5, object(), lambda: 1], ids=lambda stream: type(stream).__name__)
def test_iter_events_refuses_what_is_no_stream(stream: Any) -> None:
    with pytest.raises(ResponseError, match=f"got {type(stream).__name__}$"):
        list(iter_events(stream))


@pytest.mark.parametrize("piece", [None, 5, object(), [1]], ids=lambda piece: type(piece).__name__)
def test_a_piece_that_is_no_chunk_is_refused(piece: Any) -> None:
    with pytest.raises(ResponseError, match=f"got {type(piece).__name__}$"):
        list(iter_events([piece]))
    with pytest.raises(ResponseError, match=f"got {type(piece).__name__}$"):
        asyncio.run(collect(arriving([piece])))


def test_an_asynchronous_stream_is_sent_to_aiter_events() -> None:
    streams = [
        arriving([]),
        SimpleNamespace(aiter_bytes=lambda: arriving([])),
        SimpleNamespace(aiter_bytes=None, iter_bytes=None, stream=arriving([])),
    ]
    for stream in streams:
        with pytest.raises(ResponseError, match="use `async for … in aiter_events"):
            list(iter_events(stream))


@pytest.mark.parametrize(
    "stream",
    [None, 5, "content", [], SimpleNamespace(aiter_bytes=None, iter_bytes=None, stream=[])],
    ids=lambda stream: type(stream).__name__,
)
def test_a_synchronous_stream_is_sent_to_iter_events(stream: Any) -> None:
    with pytest.raises(ResponseError, match=r"[^a]iter_events\(stream\)"):
        asyncio.run(collect(stream))


def test_a_reader_that_may_wait_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 character"):
        ResponseReader(max_pending=0)


# -- what must not raise, hang or grow -------------------------------------------------------------------

ODD = ["-1", "1e999", "NaN", "-Infinity", '"NaN"', "null", "true", "[]", "{}", "[[]]", '""', "1" * 4000, '"٣"']


@pytest.mark.parametrize("value", ODD, ids=lambda value: value[:9])
@pytest.mark.parametrize(
    "shape",
    [
        "%s",
        '{"choices": %s}',
        '{"choices": [%s]}',
        '{"choices": [{"index": %s, "delta": %s, "message": %s, "finish_reason": %s}]}',
        '{"choices": [{"delta": {"content": %s, "error": %s, "reasoning_content": %s, "images": %s}}]}',
        '{"choices": [{"message": {"content": [%s, {"text": %s}, {"image_url": %s}, {"url": {"url": %s}}]}}]}',
        '{"error": {"message": %s, "code": %s, "type": %s, "status": %s}}',
        '{"id": %s, "data": %s, "code": %s, "message": %s}',
    ],
)
def test_values_of_any_type_are_read_anywhere(shape: str, value: str) -> None:
    text = shape.replace("%s", value)
    for body in (text, sse(text), json.dumps(sse(text))):
        for status in (None, 500):
            task = parse_response(body, status_code=status)
            assert json.dumps(task.as_dict())
            assert task.status == "failed" or status is None or task.results


@pytest.mark.parametrize("depth", [100, 990, 20_000])
@pytest.mark.parametrize(
    ("before", "middle", "after"),
    [
        ("[", "", "]"),
        ("[", "", ""),
        ('{"a":', "1", "}"),
        ('{"data":', "1", "}"),
        ('{"error":', "1", "}"),
        ('{"choices":', "1", "}"),
    ],
    ids=["list", "open list", "object", "data", "error", "choices"],
)
def test_json_of_any_depth_is_read(before: str, middle: str, after: str, depth: int) -> None:
    text = before * depth + middle + after * depth
    assert parse_response(text).results == ()
    assert parse_response(sse(text, chunk({"content": IMAGE}))).results == (Result("image", CAT),)


def test_lines_that_never_become_json_are_given_up() -> None:
    lines = 5_000
    task = parse_response("data: {\n" * lines + sse(chunk({"content": IMAGE})))
    assert task.envelope is not None
    assert 1 < task.envelope.bad_frames < lines
    assert "\n".join(task.envelope.error_log).count("{") == lines
    assert task.results == (Result("image", CAT),)
