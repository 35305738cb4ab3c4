"""The wire form: what a relay's streams and completions are made of, and one made of the other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

import tickertape
from tickertape.testing import _chat
from tickertape.testing._wire import Data

CONTENT = (
    '```json\n{"prompt": "一只猫", "n": 1}\n```\n\n> ID: `task_1`\n> 排队中...\n> 生成中..\n\n'
    ">🏃 进度 36..72..\n\n> 生成完成 ✅\n\n![a](https://cdn.example/a.png)\n\n再见"
)
HEAD: dict[str, Any] = {"model": "m", "completion_id": "chatcmpl-1", "created": 7}


def chunks(data: list[Data]) -> list[dict[str, Any]]:
    """The JSON of all frames but the last, which must be `[DONE]`."""
    assert data[-1].data == b"data: [DONE]\n\n"
    for frame in data:
        assert frame.data.startswith(b"data: ")
        assert frame.data.endswith(b"\n\n")
    return [json.loads(frame.data[6:]) for frame in data[:-1]]


def contents(data: list[Data]) -> list[str]:
    return [choice["delta"].get("content") or "" for chunk in chunks(data) for choice in chunk["choices"]]


def joined(data: list[Data]) -> bytes:
    return b"".join(frame.data for frame in data)


# -- deltas -------------------------------------------------------------------------


def test_a_model_writes_the_echo_and_the_server_a_status_at_a_time() -> None:
    deltas = _chat.deltas_of(CONTENT)
    middle = deltas.index("")
    assert "".join(deltas[:middle]) == CONTENT[: CONTENT.index("\n\n> ID")]
    assert {len(delta) for delta in deltas[:middle]} == {1, 2, 3}
    assert deltas[middle + 1 :] == [
        "\n\n> ID: `task_1`\n> 排队中",
        *"...",
        "\n> 生成中",
        *"..",
        "\n\n>🏃 进度 36..",
        "72..",
        "\n\n> 生成完成 ✅",
        "\n\n![a](https://cdn.example/a.png)",
        "\n\n再见",
    ]


def test_what_the_server_writes_at_once_is_cut_at_its_lines() -> None:
    lines = [
        "![a](https://cdn.example/a.png)",
        "\r\n\r\n![b](https://cdn.example/b.png)",
        "\n[下载](https://cdn.example/c)\n\n",
    ]
    assert _chat.deltas_of("".join(lines)) == ["", *lines]
    assert _chat.deltas_of("\n") == ["", "\n"]


def test_prose_is_all_written_by_the_model() -> None:
    deltas = _chat.deltas_of("I can describe the scene for you.")
    assert deltas[-1] == ""
    assert all(1 <= len(delta) <= 3 for delta in deltas[:-1])


def test_a_seed_gives_the_same_deltas_again_and_another_seed_others() -> None:
    assert _chat.deltas_of(CONTENT, seed=1) == _chat.deltas_of(CONTENT, seed=1)
    assert _chat.deltas_of(CONTENT, seed=1) != _chat.deltas_of(CONTENT, seed=2)


@given(st.one_of(st.text(), st.lists(st.sampled_from(CONTENT.splitlines(keepends=True))).map("".join)))
def test_deltas_joined_are_the_content_and_exactly_one_is_empty(content: str) -> None:
    deltas = _chat.deltas_of(content)
    assert "".join(deltas) == content
    assert deltas.count("") == 1


# -- frames -------------------------------------------------------------------------


def test_a_stream_is_role_then_deltas_then_stop_then_done() -> None:
    data = _chat.frames([(0.5, "a"), (0.7, ""), (1.0, "b")], **HEAD)
    told = [(chunk["choices"][0]["delta"], chunk["choices"][0]["finish_reason"]) for chunk in chunks(data)]
    assert told == [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "a"}, None),
        ({}, None),
        ({"content": "b"}, None),
        ({}, "stop"),
    ]
    assert [frame.t for frame in data] == [0.5, 0.5, 0.7, 1.0, 1.0, 1.0]
    assert data[1].data == (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m",'
        b'"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
    )


def test_content_is_written_as_it_is_and_not_escaped() -> None:
    assert "排队中".encode() in joined(_chat.frames([(0, "排队中")], **HEAD))


def test_half_an_emoji_is_escaped_for_utf_8_cannot_hold_it() -> None:
    data = _chat.frames([(0, "\ud83d"), (0, "\ude00")], **HEAD)
    assert rb'"\ud83d"' in joined(data)
    assert tickertape.parse_response(joined(data)).text == "😀"


def test_the_usage_has_a_frame_without_choices_only_where_it_is_asked_for() -> None:
    assert all("usage" not in chunk for chunk in chunks(_chat.frames([(0, "abcdefgh")], **HEAD)))
    *_, last = chunks(_chat.frames([(0, "abcdefgh")], **HEAD, include_usage=True))
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2}


def test_a_stream_that_is_not_done_just_ends() -> None:
    data = _chat.frames([(0, "a")], **HEAD, done=False)
    assert b"stop" not in joined(data)
    assert b"[DONE]" not in joined(data)
    assert len(data) == 2


# -- one form into the other -----------------------------------------------------------


def test_a_completion_as_a_stream_and_back_is_the_completion() -> None:
    usage = {"prompt_tokens": 90, "completion_tokens": 510, "total_tokens": 600}
    whole = _chat.completion(CONTENT, **HEAD, usage=usage)
    data = _chat.to_stream(whole, include_usage=True, pace=0.25)
    assert _chat.to_completion(joined(data)) == whole
    assert [frame.t for frame in data[:3]] == [0, 0.25, 0.5]
    ChatCompletion.model_validate(whole, strict=True)
    for chunk in chunks(data):
        ChatCompletionChunk.model_validate(chunk, strict=True)


def test_reasoning_goes_before_the_content_with_a_content_of_null() -> None:
    whole = _chat.completion("![a](https://cdn.example/a.png)", **HEAD)
    whole["choices"][0]["message"]["reasoning_content"] = "生成进度: 42%\n生成进度: 96%\n"
    data = _chat.to_stream(whole, include_usage=False)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(data)]
    assert deltas[1:3] == [
        {"content": None, "reasoning_content": "生成进度: 42%\n"},
        {"content": None, "reasoning_content": "生成进度: 96%\n"},
    ]
    assert _chat.to_completion(joined(data)) == whole
    assert tickertape.parse_response(joined(data)).progress == (42, 96)


def test_media_beside_the_text_come_along() -> None:
    whole = _chat.completion("here", **HEAD)
    whole["choices"][0]["message"]["images"] = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "video_url", "video_url": {"url": "https://cdn.example/a.mp4"}},
    ]
    stream = joined(_chat.to_stream(whole, include_usage=False))
    assert _chat.to_completion(stream) == whole
    kinds = [result.kind for result in tickertape.parse_response(stream).results]
    assert kinds == [result.kind for result in tickertape.parse_response(whole).results] == ["image", "video"]


def test_an_error_after_some_content_stands_in_the_message_and_alone_it_is_the_body() -> None:
    error = {"message": "当前分组上游负载已饱和", "type": "new_api_error", "code": "overloaded"}
    frame = b"data: " + _chat.dump({"error": error}) + b"\n\n"
    body = _chat.to_completion(joined(_chat.frames([(0, "> 排队中")], **HEAD, done=False)) + frame)
    assert body is not None
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "> 排队中", "error": error}
    again = chunks(_chat.to_stream(body, include_usage=True))
    assert again[-1] == {"error": error}
    assert all(chunk.get("choices", [{}])[0].get("finish_reason") is None for chunk in again)
    assert _chat.to_completion(frame) == {"error": error}


def frame(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return b"data: " + _chat.dump({"id": "chatcmpl-1", "created": 7, "model": "m", "choices": [choice]}) + b"\n\n"


def said(body: dict[str, Any] | None) -> list[tuple[int, str | None, str]]:
    assert body is not None
    return [(each["index"], each["message"]["content"], each["finish_reason"]) for each in body["choices"]]


def test_several_choices_keep_their_deltas_and_their_finish_apart() -> None:
    whole = _chat.completion("one", **HEAD)
    whole["choices"] += [
        {
            "index": 1,
            "message": {"role": "assistant", "content": "![a](https://cdn.example/a.png)"},
            "finish_reason": "length",
        },
        {"index": 2, "message": {"role": "assistant", "content": "three"}, "finish_reason": "content_filter"},
    ]
    stream = _chat.to_stream(whole, include_usage=True)
    told = [choice for chunk in chunks(stream) for choice in chunk["choices"]]
    for index, (content, finish) in enumerate([("one", "stop"), (None, "length"), ("three", "content_filter")]):
        mine = [choice for choice in told if choice["index"] == index]
        assert mine[0]["delta"] == {"role": "assistant", "content": ""}
        assert [choice["finish_reason"] for choice in mine] == [None] * (len(mine) - 1) + [finish]
        assert content in (None, "".join(choice["delta"].get("content", "") for choice in mine))
    assert _chat.to_completion(joined(stream)) == whole
    assert tickertape.parse_response(joined(stream)).text == tickertape.parse_response(whole).text


def test_choices_of_a_stream_stay_apart_where_they_end_or_come_back() -> None:
    ended = [frame(1, {"content": "b"}), frame(0, {"content": "a"}), frame(1, {}, "length"), frame(0, {}, "STOP")]
    assert said(_chat.to_completion(b"".join(ended))) == [(0, "a", "stop"), (1, "b", "length")]
    broken_off = [frame(0, {"content": "a"}), frame(1, {"content": "b"}), frame(0, {"content": "a"})]
    assert said(_chat.to_completion(b"".join(broken_off))) == [(0, "aa", "stop"), (1, "b", "stop")]
    choices = [{"message": {"content": "a"}}, {"message": {"content": "b"}}]
    assert {
        chunk["choices"][0]["index"] for chunk in chunks(_chat.to_stream({"choices": choices}, include_usage=False))
    } == {0, 1}


def test_choices_that_only_number_what_is_written_are_one_message() -> None:
    growing = [
        frame(0, {"role": "assistant", "content": "a"}),
        frame(1, {"content": "b"}),
        frame(2, {"content": "c"}, "stop"),
    ]
    assert said(_chat.to_completion(b"".join(growing))) == [(0, "abc", "stop")]


CALL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "draw", "arguments": '{"prompt": "猫"}'},
}


@pytest.mark.parametrize("content", [None, "I draw."])
def test_tool_calls_go_along_in_small_pieces_and_so_does_their_finish(content: str | None) -> None:
    whole = _chat.completion(content, **HEAD, finish_reason="tool_calls")
    whole["choices"][0]["message"]["tool_calls"] = [CALL, {**CALL, "id": "call_2"}]
    stream = _chat.to_stream(whole, include_usage=True)
    for chunk in chunks(stream):
        ChatCompletionChunk.model_validate(chunk, strict=True)
    deltas = [choice["delta"] for chunk in chunks(stream) for choice in chunk["choices"]]
    assert deltas[0] == {"role": "assistant", "content": None if content is None else ""}
    written = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [call["index"] for call in written if "id" in call] == [0, 1]
    assert max(len(call["function"]["arguments"]) for call in written) <= 3
    assert _chat.to_completion(joined(stream)) == whole


def test_a_name_that_a_relay_writes_in_every_delta_is_one() -> None:
    again = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "draw", "arguments": '{"pro'}}
    rest = {"index": 0, "id": "", "type": "function", "function": {"name": "draw", "arguments": 'mpt": "猫"}'}}
    stream = frame(0, {"tool_calls": [again]}) + frame(0, {"tool_calls": [rest]}) + frame(0, {}, "tool_calls")
    body = _chat.to_completion(stream)
    assert body is not None
    assert body["choices"][0]["message"]["tool_calls"] == [CALL]


def test_a_refusal_and_keys_that_nobody_knows_stand_beside_the_content() -> None:
    whole = _chat.completion(None, **HEAD)
    whole["choices"][0]["message"] |= {"refusal": "I can't help with that.", "annotations": [{"a": 1}], "wm": {"b": 2}}
    stream = joined(_chat.to_stream(whole, include_usage=True))
    assert _chat.to_completion(stream) == whole
    assert tickertape.parse_response(stream).text == tickertape.parse_response(whole).text == "I can't help with that."


def test_a_bare_message_is_one_choice_with_its_media() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://cdn.example/a.png"}}
    stream = _chat.to_stream(
        {"role": "assistant", "content": [{"type": "text", "text": "hi"}, part]}, include_usage=False
    )
    assert said(_chat.to_completion(joined(stream))) == [(0, "hi", "stop")]
    assert chunks(stream)[-2]["choices"][0]["delta"] == {"images": [part]}


def test_nothing_is_said_after_the_end_of_a_stream() -> None:
    stream = frame(0, {"content": "a"}) + b"data: [DONE]\n\n" + frame(0, {"content": "b", "tool_calls": [CALL]})
    body = _chat.to_completion(stream)
    assert body is not None
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "a"}


def test_an_error_that_says_all_is_well_is_no_error() -> None:
    whole = {**_chat.completion("hi", **HEAD), "error": {"code": 200}}
    assert b"error" not in joined(_chat.to_stream(whole, include_usage=False))


@pytest.mark.parametrize("created", [None, "soon", float("nan"), 1e400, 1768300000.5])
def test_odd_heads_are_made_such_that_an_sdk_reads_them(created: object) -> None:
    choice = {"index": 0, "message": {"content": "hi"}, "finish_reason": "STOP"}
    stream = _chat.to_stream({"id": 5, "created": created, "choices": [choice]}, include_usage=False)
    for chunk in chunks(stream):
        ChatCompletionChunk.model_validate(chunk, strict=True)
    assert chunks(stream)[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "body",
    [
        b"data: [DONE]\n\n",
        b'{"id":"a","status":"processing"}',
        b'{"error":{"message":"no"}}',
        b"<html></html>",
        b"",
        b"{",
    ],
)
def test_what_holds_no_message_is_not_converted(body: bytes) -> None:
    assert _chat.to_completion(body) is None
    assert _chat.to_stream(body, include_usage=False) == []


# -- frames of a stream ---------------------------------------------------------------


def test_a_frame_ends_after_its_blank_lines() -> None:
    frames = [b": ping\n\n", b"event: error\ndata: {}\n\n\n", b'data: {"a":\r\ndata: 1}\r\n\r\n', b"data: [DONE]"]
    assert _chat.frames_of(b"".join(frames)) == frames


def test_a_frame_ends_with_its_data_where_the_blank_lines_are_left_out() -> None:
    frames = [b'data: {"a":1}\n', b'data: {"a":2}\n', b"data: [DONE]\n"]
    assert _chat.frames_of(b"".join(frames)) == frames


@given(
    st.binary()
    | st.lists(st.sampled_from([b"data: ", b"{}", b"\n", b"\r", b": x", "猫".encode(), b"\xff"])).map(b"".join)
)
def test_frames_joined_are_the_body_and_none_is_empty(body: bytes) -> None:
    frames = _chat.frames_of(body)
    assert b"".join(frames) == body
    assert all(frames)


@pytest.mark.parametrize(
    ("body", "stream"), [(b"\xef\xbb\xbf\r\ndata: {}", True), (b": ping\n", True), (b'{"data": 1}', False)]
)
def test_a_stream_is_told_by_how_it_begins(body: bytes, stream: bool) -> None:
    assert _chat.is_stream(body) is stream
