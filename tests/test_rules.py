"""What the test double's relay refuses, and that its error bodies are read as what they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tickertape import parse_response
from tickertape.testing._rules import RetryAfter, error_reply, page, refuse
from tickertape.testing._wire import Reply, Request, body_of, end_of, head_of

CHAT: dict[str, Any] = {"model": "sora-2", "messages": [{"role": "user", "content": "a lighthouse"}]}
ID = " (request id: 20261122120000000000000TicTape0)"


def chat(body: Any, key: str | None = "Bearer sk-test") -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if key is None else {"authorization": key}
    return Request("POST", "https://relay.example/v1/chat/completions", headers, data)


def sent(reply: Reply | None) -> tuple[int, Any]:
    """Status and decoded body of a JSON reply."""
    assert reply is not None
    head = head_of(reply)
    assert head is not None
    headers = dict(head.headers)
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["content-length"] == str(len(body_of(reply)))
    assert end_of(reply).how == "eof"
    return head.status, json.loads(body_of(reply))


def with_content(content: Any) -> dict[str, Any]:
    return {**CHAT, "messages": [{"role": "user", "content": content}]}


PICTURE = {"type": "image_url", "image_url": {"url": "https://files.example/cat.png"}}


# -- what is taken -------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        CHAT,
        {**CHAT, "stream": True},
        {**CHAT, "stream": False},
        {**CHAT, "stream": None},
        {**CHAT, "stream_options": {"include_usage": True}, "n": 2},
        with_content([{"type": "text", "text": "a cat"}, PICTURE]),
        with_content([{"type": "video_url", "video_url": {"url": "https://files.example/cat.mp4"}}]),
        with_content([{"type": "input_audio", "input_audio": {}}, {"type": "file", "file": {}}]),
        with_content(""),
        {**CHAT, "messages": [{"role": "assistant", "content": None}, {"role": "user"}]},
    ],
)
def test_a_request_that_a_relay_takes_is_not_refused(body: dict[str, Any]) -> None:
    assert refuse(chat(body)) is None


@pytest.mark.parametrize("key", ["Bearer sk-test", "bearer test", "Bearer  sk-a-b-c ", "sk-test", "BEARER sk-x"])
def test_any_printable_key_is_taken_with_or_without_its_scheme(key: str) -> None:
    assert refuse(chat(CHAT, key)) is None


# -- the key ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer ", "bearer   ", "Bearer sk-"])
def test_a_missing_key_is_refused_in_the_words_of_new_api(key: str | None) -> None:
    status, body = sent(refuse(chat(CHAT, key)))
    assert status == 401
    assert body == {"error": {"code": "", "message": "未提供令牌" + ID, "type": "new_api_error"}}


@pytest.mark.parametrize(
    "key", ["Basic dXNlcjpwYXNz", "Bearer sk-a b", "Bearer 密钥", "Bearer None", "Bearer undefined", "Bearer sk-null"]
)
def test_a_key_that_is_none_is_refused(key: str) -> None:
    status, body = sent(refuse(chat(CHAT, key)))
    assert status == 401
    assert body == {"error": {"code": "invalid_request", "message": "令牌不合法" + ID, "type": "new_api_error"}}


def test_the_key_is_looked_at_before_the_body() -> None:
    assert sent(refuse(chat(b"{", None)))[0] == 401


# -- the body --------------------------------------------------------------------------


def message_of(body: Any) -> str:
    status, answer = sent(refuse(chat(body)))
    assert status == 400
    message = answer["error"]["message"]
    assert isinstance(message, str)
    assert message.endswith(ID)
    return message.removesuffix(ID)


@pytest.mark.parametrize("body", [b"", b"{", b'{"model": "sora-2"', b"\xff\xfe\xfa", b"model=sora-2"])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    assert message_of(body) == "无效的请求，invalid JSON request body"


@pytest.mark.parametrize(
    ("body", "kind"), [([CHAT], "array"), ("hi", "string"), (3, "number"), (2.5, "number"), (True, "bool")]
)
def test_a_body_that_is_no_object_is_refused(body: Any, kind: str) -> None:
    assert message_of(body) == (
        f"无效的请求，json: cannot unmarshal {kind} into Go value of type middleware.ModelRequest"
    )


@pytest.mark.parametrize("model", ["", None, ...])
def test_a_request_without_a_model_is_refused(model: Any) -> None:
    body = {key: value for key, value in {**CHAT, "model": model}.items() if value is not ...}
    status, answer = sent(refuse(chat(body)))
    assert status == 400
    assert answer == {
        "error": {"code": "", "message": "未指定模型名称，模型名称不能为空" + ID, "type": "new_api_error"}
    }


def test_a_model_that_is_no_string_is_refused() -> None:
    assert message_of({**CHAT, "model": 4}) == "无效的请求，field model must be a string"


@pytest.mark.parametrize("messages", [[], None, ...])
def test_a_request_without_messages_is_refused(messages: Any) -> None:
    body = {key: value for key, value in {**CHAT, "messages": messages}.items() if value is not ...}
    status, answer = sent(refuse(chat(body)))
    assert status == 400
    assert answer == {
        "error": {
            "message": "field messages is required" + ID,
            "type": "new_api_error",
            "param": "",
            "code": "invalid_request",
        }
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"messages": "a cat"}, "string into Go struct field GeneralOpenAIRequest.messages of type []dto.Message"),
        ({"messages": {}}, "object into Go struct field GeneralOpenAIRequest.messages of type []dto.Message"),
        ({"messages": ["a cat"]}, "string into Go struct field GeneralOpenAIRequest.messages of type dto.Message"),
        ({"messages": [None]}, "null into Go struct field GeneralOpenAIRequest.messages of type dto.Message"),
        ({"stream": "true"}, "string into Go struct field GeneralOpenAIRequest.stream of type bool"),
        ({"stream": 1}, "number into Go struct field GeneralOpenAIRequest.stream of type bool"),
    ],
)
def test_a_field_of_another_type_is_refused_as_go_tells_it(change: dict[str, Any], words: str) -> None:
    assert message_of({**CHAT, **change}) == f"json: cannot unmarshal {words}"


@pytest.mark.parametrize(
    ("content", "param", "code", "words"),
    [
        (
            [{"type": "text", "text": "a cat"}, {"type": "image", "image": "https://files.example/cat.png"}],
            "messages[0].content[1].type",
            "invalid_value",
            "Invalid value: 'image'. Supported values are: "
            "'text', 'image_url', 'input_audio', 'refusal', 'audio', and 'file'.",
        ),
        (
            [{"text": "a cat"}],
            "messages[0].content[0].type",
            "missing_required_parameter",
            "Missing required parameter: 'messages[0].content[0].type'.",
        ),
        (
            ["a cat"],
            "messages[0].content[0]",
            "invalid_type",
            "Invalid type for 'messages[0].content[0]': expected an object, but got a string instead.",
        ),
        (
            7,
            "messages[0].content",
            "invalid_type",
            "Invalid type for 'messages[0].content': expected one of a string or array of objects, "
            "but got an integer instead.",
        ),
    ],
)
def test_a_content_part_nobody_knows_is_refused_by_the_upstream(
    content: Any, param: str, code: str, words: str
) -> None:
    status, answer = sent(refuse(chat(with_content(content))))
    assert status == 400
    assert answer == {"error": {"message": words + ID, "type": "invalid_request_error", "param": param, "code": code}}


def test_a_bad_part_is_found_in_any_message() -> None:
    messages = [*CHAT["messages"], {"role": "user", "content": [{"type": "picture"}]}]
    assert sent(refuse(chat({**CHAT, "messages": messages})))[1]["error"]["param"] == "messages[1].content[0].type"


@pytest.mark.parametrize(
    ("type_", "words"), [(["text"], "an array"), ({"a": 1}, "an object"), (None, "null"), (3, "an integer")]
)
def test_a_part_type_that_is_no_string_is_refused_in_the_words_of_openai(type_: Any, words: str) -> None:
    told = message_of(with_content([{"type": type_}]))
    assert told == f"Invalid type for 'messages[0].content[0].type': expected a string, but got {words} instead."


@pytest.mark.parametrize(
    ("request_", "category"),
    [
        (chat(CHAT, None), "auth"),
        (chat(CHAT, "Bearer None"), "auth"),
        (chat(b"{"), "invalid_request"),
        (chat([]), "invalid_request"),
        (chat({**CHAT, "model": ""}), "invalid_request"),
        (chat({**CHAT, "messages": []}), "invalid_request"),
        (chat({**CHAT, "stream": "yes"}), "invalid_request"),
        (chat(with_content([{"type": "image"}])), "invalid_request"),
    ],
)
def test_a_refusal_is_read_as_one(request_: Request, category: str) -> None:
    reply = refuse(request_)
    status, body = sent(reply)
    assert reply is not None
    task = parse_response(body_of(reply), status_code=status)
    assert task.status == "failed"
    assert task.error is not None
    assert task.error.category == category
    assert task.error.message == body["error"]["message"].removesuffix(ID)


def test_request_ids_are_counted_not_drawn() -> None:
    request = chat(CHAT, None)
    assert refuse(request, number=1) == refuse(request, number=1)
    assert refuse(request, number=1) != refuse(request, number=2)


# -- error bodies ------------------------------------------------------------------------

# meaning.md, Error: by the message's words, then the code, then the status.
CATEGORIES = {
    400: "invalid_request",
    401: "auth",
    403: "quota",
    404: "not_found",
    408: "timeout",
    413: "invalid_request",
    422: "invalid_request",
    429: "overloaded",
    500: "upstream",
    502: "upstream",
    503: "not_found",
    504: "upstream",  # nginx writes "Time-out", which is no word of meaning.md's
    520: "upstream",
    521: "upstream",
    522: "timeout",
    523: "upstream",
    524: "timeout",
    599: "upstream",
}


@pytest.mark.parametrize(("status", "category"), CATEGORIES.items())
def test_the_body_of_a_status_is_read_into_its_category(status: int, category: str) -> None:
    reply = error_reply(status)
    head = head_of(reply)
    assert head is not None
    assert head.status == status
    assert dict(head.headers)["content-length"] == str(len(body_of(reply)))
    task = parse_response(body_of(reply), status_code=status)
    assert task.status == "failed"
    assert task.error is not None
    assert task.error.category == category
    assert task.error.message
    assert "request id" not in task.error.message


@pytest.mark.parametrize(
    ("status", "content_type", "server"),
    [
        (400, "application/json; charset=utf-8", None),
        (429, "application/json; charset=utf-8", None),
        (413, "text/html", "nginx"),
        (502, "text/html", "nginx"),
        (504, "text/html", "nginx"),
        (524, "text/html; charset=UTF-8", "cloudflare"),
    ],
)
def test_a_page_comes_from_the_proxy_in_front_and_json_from_the_relay(
    status: int, content_type: str, server: str | None
) -> None:
    head = head_of(error_reply(status))
    assert head is not None
    headers = dict(head.headers)
    assert headers["content-type"] == content_type
    assert headers.get("server") == server
    assert ("cf-ray" in headers) == (server == "cloudflare")


def test_the_400_is_flat_as_seen_until_a_type_makes_it_an_error_object() -> None:
    assert sent(error_reply(400)) == (
        400,
        {"code": "invalid_request", "message": "prompt is required", "data": None},
    )
    assert sent(error_reply(400, type="new_api_error"))[1]["error"]["message"] == "prompt is required" + ID


@pytest.mark.parametrize(
    ("status", "code", "category"),
    [(429, "rate_limit_exceeded", "rate_limit"), (429, "insufficient_user_quota", "overloaded")],
)
def test_a_code_picks_the_body_that_was_seen_with_it(status: int, code: str, category: str) -> None:
    body = sent(error_reply(status, code=code))[1]
    error = parse_response(body, status_code=status).error
    assert body["error"]["code"] == code
    assert error is not None
    assert error.category == category


@pytest.mark.parametrize("status", [400, 401, 418, 502, 524])
def test_words_of_its_own_make_json_of_any_status(status: int) -> None:
    body = sent(error_reply(status, message="图片违反政策", code="blocked", type="upstream_error"))[1]
    assert body["error"] == {"message": "图片违反政策" + ID, "type": "upstream_error", "param": "", "code": "blocked"}
    error = parse_response(body, status_code=status).error
    assert error is not None
    assert (error.category, error.code, error.message) == ("moderation", "blocked", "图片违反政策")


@pytest.mark.parametrize("status", [400, 401, 429, 502, 503, 524])
@pytest.mark.parametrize(
    ("given", "header"),
    [
        (2, "2"),
        (0, "0"),
        (1.5, "1.5"),
        ("30", "30"),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ("soon", "soon"),
        (timedelta(minutes=2), "120"),
        (timedelta(milliseconds=1500), "1.5"),
        (datetime(2026, 10, 21, 7, 28, tzinfo=UTC), "Wed, 21 Oct 2026 07:28:00 GMT"),
        (datetime(2026, 10, 21, 9, 28, tzinfo=timezone(timedelta(hours=2))), "Wed, 21 Oct 2026 07:28:00 GMT"),
        (None, None),
    ],
)
def test_retry_after_is_sent_as_given(status: int, given: RetryAfter | None, header: str | None) -> None:
    head = head_of(error_reply(status, retry_after=given))
    assert head is not None
    assert dict(head.headers).get("retry-after") == header


@pytest.mark.parametrize("given", [-1, float("nan"), float("inf"), True, timedelta(seconds=-1), [3]])
def test_a_retry_after_that_no_relay_could_mean_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="expected seconds, 0 or more, a timedelta or a datetime"):
        error_reply(429, retry_after=given)


def test_an_error_comes_as_late_as_it_is_told_to() -> None:
    for status in (400, 429, 524):
        assert [step.t for step in error_reply(status, t=100.0)] == [100.0] * 3


def test_a_page_with_200_is_the_web_app_and_is_read_as_no_content() -> None:
    reply = page(200)
    task = parse_response(body_of(reply), status_code=200)
    assert task.status == "failed"
    assert task.results == ()
    assert task.error is not None
    assert task.error.category == "upstream"


@pytest.mark.parametrize("status", [403, 500, 502, 524, 599])
def test_every_status_has_a_page_that_names_it(status: int) -> None:
    text = body_of(page(status)).decode()
    assert str(status) in text
    assert text.lstrip().lower().startswith(("<html", "<!doctype"))
