"""Failures: what gateways answer instead of a message, and the one table that sorts them into categories."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from tickertape import Envelope, ResponseReader, Result, Task, TaskError, parse, parse_response
from tickertape import events as ev
from tickertape.task import Category

CAT = "https://relay.example/cat.png"


def told(message: str | None, type_: str | None = None, code: Any = None, **more: Any) -> dict[str, Any]:
    """An error body as OpenAI writes it, and the gateways after it."""
    return {"error": {"message": message, "type": type_, "param": "", "code": code, **more}}


def flat(code: Any, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "data": None}


def error_of(body: Any, status_code: int | None) -> TaskError | None:
    """The error of a body that fails the task, read whole and in pieces."""
    text = json.dumps(body, ensure_ascii=False) if isinstance(body, dict) else body
    task = parse_response(text, status_code)
    assert task.status == "failed"
    if isinstance(body, dict):
        assert parse_response(body, status_code) == task
    reader = ResponseReader(status_code=status_code)
    data = text.encode() if isinstance(text, str) else text
    events = [event for at in range(0, len(data), 7) for event in reader.feed(data[at : at + 7])]
    events += reader.close()
    assert reader.task == task
    assert task.error is not None
    assert [event.reason for event in events if isinstance(event, ev.Failed)] == [task.error.message]
    return task.error


# -- HTTP errors ---------------------------------------------------------------------

HTTP: dict[str, list[tuple[int, Any, str | None, str | None]]] = {
    "moderation": [
        (
            400,
            told("Rejected by our safety system.", None, "moderation_blocked"),
            "moderation_blocked",
            "Rejected by our safety system.",
        ),
        (
            400,
            told("Bad prompt", "invalid_request_error", "content_policy_violation"),
            "content_policy_violation",
            "Bad prompt",
        ),
        (400, flat("task_failed", "图片可能违反相关政策"), "task_failed", "图片可能违反相关政策"),
        (
            500,
            told("This content may violate our guardrails", "server_error"),
            "server_error",
            "This content may violate our guardrails",
        ),
        (200, told("内容不合规"), None, "内容不合规"),
        (429, told("this prompt is banned", "rate_limit_error"), "rate_limit_error", "this prompt is banned"),
    ],
    "quota": [
        (401, told("该令牌额度已用尽", "gateway_error", ""), "gateway_error", "该令牌额度已用尽"),
        (
            403,
            told("用户额度不足, 剩余额度: ＄0.000000", "gateway_error", "insufficient_user_quota"),
            "insufficient_user_quota",
            "用户额度不足, 剩余额度: ＄0.000000",
        ),
        (403, told("user quota is not enough"), None, "user quota is not enough"),
        (
            429,
            told("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
            "insufficient_quota",
            "You exceeded your current quota",
        ),
        (402, told("Insufficient credits."), None, "Insufficient credits."),
        (402, told("pay first"), None, "pay first"),
        (402, told("no", None, "insufficient_balance"), "insufficient_balance", "no"),
        (200, flat(-1, "余额不足"), None, "余额不足"),
        (200, {"success": False, "message": "余额不足"}, None, "余额不足"),
    ],
    "rate_limit": [
        (
            429,
            told("Rate limit reached", "rate_limit_error", "rate_limit_exceeded"),
            "rate_limit_exceeded",
            "Rate limit reached",
        ),
        (429, {"error": {"message": "Too Many Requests", "type": "requests"}}, "requests", "Too Many Requests"),
        (429, told("slow down"), None, "slow down"),
        (429, told("请稍后再试", "", ""), None, "请稍后再试"),
        (400, told("no", None, "rate_limit_exceeded"), "rate_limit_exceeded", "no"),
        (200, told("Request failed with status code 429"), None, "Request failed with status code 429"),
        (429, {"code": 429, "message": "busy"}, None, "busy"),
        (429, {"status": "error", "message": "busy"}, None, "busy"),
    ],
    "overloaded": [
        (
            429,
            told("当前分组上游负载已饱和，请稍后再试", "rate_limit_error", ""),
            "rate_limit_error",
            "当前分组上游负载已饱和，请稍后再试",
        ),
        (
            429,
            told("当前分组上游负载已饱和", "insufficient_quota", "insufficient_user_quota"),
            "insufficient_user_quota",
            "当前分组上游负载已饱和",
        ),
        (429, told("The upstream load of the group is saturated"), None, "The upstream load of the group is saturated"),
        (
            503,
            told("The engine is currently overloaded", "server_error"),
            "server_error",
            "The engine is currently overloaded",
        ),
        (
            529,
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            "overloaded_error",
            "Overloaded",
        ),
        (500, told("no", None, "server_overloaded"), "server_overloaded", "no"),
        (500, told("no free account"), None, "no free account"),
    ],
    "auth": [
        (401, told("未提供令牌", "gateway_error", ""), "gateway_error", "未提供令牌"),
        (401, told("无效的令牌", "gateway_error"), "gateway_error", "无效的令牌"),
        (
            401,
            told("Incorrect API key provided", "invalid_request_error", "invalid_api_key"),
            "invalid_api_key",
            "Incorrect API key provided",
        ),
        (
            401,
            {"error": {"message": "You didn't provide an API key.", "type": "invalid_request_error"}},
            "invalid_request_error",
            "You didn't provide an API key.",
        ),
        (401, told("no", "invalid_request_error", "invalid_api_key"), "invalid_api_key", "no"),
        (
            401,
            told("Your API key has expired", "invalid_request_error"),
            "invalid_request_error",
            "Your API key has expired",
        ),
        (200, told("Missing token", "gateway_error"), "gateway_error", "Missing token"),
        (
            401,
            {"success": False, "message": "Unauthorized, invalid access token"},
            None,
            "Unauthorized, invalid access token",
        ),
        (401, {"detail": "Invalid API key"}, None, "Invalid API key"),
        (403, {"detail": "Not authenticated"}, None, "Not authenticated"),
        (401, {"code": 401, "msg": "令牌无效"}, None, "令牌无效"),
        (401, {"message": "no"}, None, "no"),
        (403, told("Forbidden"), None, "Forbidden"),
    ],
    "not_found": [
        (
            503,
            told("分组 vip 下模型 sora-2 无可用渠道（distributor）", "gateway_error", "model_not_found"),
            "model_not_found",
            "分组 vip 下模型 sora-2 无可用渠道（distributor）",
        ),
        (
            503,
            told("模型 sora-2 的可用渠道不存在", "gateway_error", "invalid_request"),
            "invalid_request",
            "模型 sora-2 的可用渠道不存在",
        ),
        (
            503,
            told("No available channels for model sora-2", "gateway_error", "invalid_request"),
            "invalid_request",
            "No available channels for model sora-2",
        ),
        (
            404,
            told("The model `sora-9` does not exist", "invalid_request_error", "model_not_found"),
            "model_not_found",
            "The model `sora-9` does not exist",
        ),
        (404, {"error": "未找到支持该模型的服务商: sora-9"}, None, "未找到支持该模型的服务商: sora-9"),
        (404, {"error": "no"}, None, "no"),
        (200, {"status": "error", "error": "Task not found"}, None, "Task not found"),
    ],
    "invalid_request": [
        (400, flat("invalid_request", "prompt is required"), "invalid_request", "prompt is required"),
        (200, flat("invalid_request", "prompt is required"), "invalid_request", "prompt is required"),
        (
            500,
            told("field messages is required", "gateway_error", "bad_text"),
            "bad_text",
            "field messages is required",
        ),
        (400, told("缺少必填参数 prompt", "gateway_error"), "gateway_error", "缺少必填参数 prompt"),
        (
            400,
            {"code": 400, "data": None, "error": {"message": "参数错误", "code": "bad_param"}},
            "bad_param",
            "参数错误",
        ),
        (413, told("no"), None, "no"),
        (422, told("no"), None, "no"),
    ],
    "timeout": [
        (
            500,
            told("Generation exceeded its limit: upstream timeout", "server_error"),
            "server_error",
            "Generation exceeded its limit: upstream timeout",
        ),
        (
            500,
            told("net/http: timeout awaiting response headers", "gateway_error", "do_request_failed"),
            "do_request_failed",
            "net/http: timeout awaiting response headers",
        ),
        (500, told("no", None, "request_timeout"), "request_timeout", "no"),
        (500, told("请求超时"), None, "请求超时"),
        (502, told("the task timed out"), None, "the task timed out"),
        (408, told("no"), None, "no"),
    ],
    "upstream": [
        (500, told("Upstream service unavailable", "upstream_error"), "upstream_error", "Upstream service unavailable"),
        (200, told("Something odd happened", "server_error"), "server_error", "Something odd happened"),
        (
            403,
            told("openai_error", "bad_response_status_code", "bad_response_status_code"),
            "bad_response_status_code",
            "openai_error",
        ),
        (500, {"error": "Internal Server Error"}, None, "Internal Server Error"),
        (500, {"message": "boom"}, None, "boom"),
        (500, {"status": "error", "message": "boom"}, None, "boom"),
        (
            500,
            {"timestamp": "2026-01-01T00:00:00", "status": 500, "error": "Oops", "path": "/v1/chat/completions"},
            None,
            "Oops",
        ),
        (500, {}, None, None),
        (599, told("no"), None, "no"),
    ],
    "unknown": [
        (200, told("boom", None, "generation_failed"), "generation_failed", "boom"),
        (418, told("no"), None, "no"),
        (600, told("no"), None, "no"),
    ],
}


@pytest.mark.parametrize(
    ("category", "status", "body", "code", "message"),
    [
        pytest.param(category, *case, id=f"{category}-{case[0]}-{case[3]}"[:60])
        for category, cases in HTTP.items()
        for case in cases
    ],
)
def test_an_error_body_has_a_category_a_code_and_a_message(
    category: Any, status: int, body: dict[str, Any], code: str | None, message: str | None
) -> None:
    assert error_of(body, status) == TaskError(category, code, message)


def test_every_category_has_its_cases() -> None:
    assert {*HTTP, "text_only"} == set(get_args(Category))


@pytest.mark.parametrize(
    ("message", "code", "status", "category"),
    [
        pytest.param("policy violation", "insufficient_quota", 401, "moderation", id="the message first"),
        pytest.param("no", "insufficient_quota", 401, "quota", id="then the code"),
        pytest.param("no", "odd", 401, "auth", id="then the status"),
        pytest.param("no", "odd", 200, "unknown", id="then nothing"),
        pytest.param("负载已饱和，额度", "insufficient_quota", 429, "overloaded", id="overload wins over quota"),
        pytest.param("quota: too many requests", None, 429, "quota", id="quota wins over rate limit"),
        pytest.param(
            "no", "invalid_request_error", 429, "rate_limit", id="a code that says nothing yields to the status"
        ),
        pytest.param("no", "invalid_request_error", 200, "invalid_request", id="unless there is none"),
    ],
)
def test_words_win_over_codes_and_codes_over_statuses(message: str, code: str, status: int, category: str) -> None:
    error = error_of(told(message, None, code), status)
    assert error is not None
    assert error.category == category


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"code": "a_code", "type": "a_type"}, "a_code"),
        ({"code": "", "type": "a_type"}, "a_type"),
        ({"code": None, "type": "a_type"}, "a_type"),
        ({"code": 4001, "type": "a_type"}, "a_type"),
        ({"code": 4001}, None),
        ({"code": "", "type": ""}, None),
        ({"code": "500"}, "500"),
        ({}, None),
    ],
)
def test_the_code_is_a_word_or_else_the_type(fields: dict[str, Any], code: str | None) -> None:
    error = error_of({"error": {"message": "boom", **fields}}, 500)
    assert error is not None
    assert error.code == code


@pytest.mark.parametrize("key", ["status", "status_code", "statusCode"])
def test_a_status_inside_the_error_counts_where_the_response_has_none(key: str) -> None:
    body = {"error": {"message": "busy", key: 429}}
    assert error_of(body, None) == TaskError("rate_limit", None, "busy")
    assert error_of(body, 200) == TaskError("rate_limit", None, "busy")
    assert error_of(body, 503) == TaskError("upstream", None, "busy")


# -- request ids -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "trailer",
    [
        " (request id: 20260101a7)",
        "(request id: 20260101a7)",
        "（request id: 20260101a7）",
        " (Request ID: 20260101a7)",
        " (request id: 20260101a7) (request id: 20260101b8)",
        " (request id: 20260101a7)\n",
        " (request id: 7)" * 30,
    ],
)
def test_a_trailing_request_id_is_taken_off(trailer: str) -> None:
    assert error_of(told("Upstream failed" + trailer), 500) == TaskError("upstream", None, "Upstream failed")
    assert error_of("Upstream failed" + trailer, 500) == TaskError("upstream", None, "Upstream failed")
    assert parse("生成失败: Upstream failed" + trailer).error == TaskError("upstream", None, "Upstream failed")


@pytest.mark.parametrize("message", ["failed (twice)", "(request id: 7) failed", "failed (7)", "failed)"])
def test_other_brackets_stay(message: str) -> None:
    assert error_of(told(message), 500) == TaskError("upstream", None, message)


# -- bodies that are no JSON -------------------------------------------------------------


def page(title: str, heading: str = "", text: str = "") -> str:
    heading = f"<center><h1>{heading}</h1></center>\r\n<hr>" if heading else ""
    return f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n{heading}{text}</body>\r\n</html>\r\n"


@pytest.mark.parametrize(
    ("status", "body", "category", "message"),
    [
        pytest.param(502, page("502", "502 Bad Gateway"), "upstream", "502 Bad Gateway", id="the heading"),
        pytest.param(503, page("Service Unavailable"), "upstream", "Service Unavailable", id="else the title"),
        pytest.param(500, page("", "", "<p>It\n broke.</p>"), "upstream", "It broke.", id="else the text"),
        pytest.param(502, page(""), "upstream", None, id="else nothing"),
        pytest.param(429, page("", "429 Too Many Requests"), "rate_limit", "429 Too Many Requests", id="429"),
        pytest.param(401, page("", "401 Authorization Required"), "auth", "401 Authorization Required", id="401"),
        pytest.param(
            413, page("", "Request Entity Too Large"), "invalid_request", "Request Entity Too Large", id="413"
        ),
        pytest.param(522, page("", "Connection timed out"), "timeout", "Connection timed out", id="words over status"),
        pytest.param(502, page("&amp;", "Bad &lt;Gateway&gt;"), "upstream", "Bad <Gateway>", id="entities"),
        pytest.param(502, page("Oops").upper(), "upstream", "OOPS", id="upper case"),
        pytest.param(
            502, "\n\n <!DOCTYPE html>\n" + page("Oops"), "upstream", "Oops", id="a doctype after white space"
        ),
        pytest.param(
            502,
            page("no", "Bad <b>gateway</b>\n<small>Error 502</small>", "<script>x='<h1>no</h1>'</script>"),
            "upstream",
            "Bad gateway Error 502",
            id="elements inside, a script",
        ),
        pytest.param(502, "<h1>Bad Gateway</h1>", "upstream", "Bad Gateway", id="a fragment"),
        pytest.param(502, "<html><head><title>502 Bad Ga", "upstream", "502 Bad Ga", id="cut off"),
    ],
)
def test_a_page_tells_by_its_heading(status: int, body: str, category: Any, message: str | None) -> None:
    assert error_of(body, status) == TaskError(category, None, message)


def test_a_page_is_a_failure_whatever_the_status_says() -> None:
    body = "<!doctype html>" + page("no", "502 Bad Gateway")
    for status in (None, 200):
        assert error_of(body, status) == TaskError("upstream", None, "502 Bad Gateway")


@pytest.mark.parametrize(
    ("status", "body", "category", "message"),
    [
        pytest.param(500, "Internal Server Error", "upstream", "Internal Server Error", id="500"),
        pytest.param(429, "Too Many Requests\n", "rate_limit", "Too Many Requests", id="429"),
        pytest.param(401, "Unauthorized", "auth", "Unauthorized", id="401"),
        pytest.param(400, "Bad Request", "invalid_request", "Bad Request", id="400"),
        pytest.param(404, "404 page not found", "not_found", "404 page not found", id="404"),
        pytest.param(502, "upstream request timeout", "timeout", "upstream request timeout", id="words over status"),
        pytest.param(500, "服务器内部错误", "upstream", "服务器内部错误", id="Chinese"),
        pytest.param(400, '"prompt is required"', "invalid_request", "prompt is required", id="a JSON string"),
        pytest.param(
            502, '{"error": {"message": "Upstr', "upstream", '{"error": {"message": "Upstr', id="JSON cut off"
        ),
        pytest.param(502, "", "upstream", None, id="empty"),
        pytest.param(429, b"", "rate_limit", None, id="empty bytes"),
        pytest.param(401, "  \r\n", "auth", None, id="white space"),
        pytest.param(502, "null", "upstream", None, id="null"),
    ],
)
def test_plain_text_is_its_own_message(status: int, body: Any, category: Any, message: str | None) -> None:
    task = parse_response(body, status)
    assert (task.status, task.error) == ("failed", TaskError(category, None, message))


def test_plain_text_of_a_good_response_is_content() -> None:
    assert parse_response("Internal Server Error", 200).error == TaskError("text_only", None, "Internal Server Error")


# -- messages and streams of failed requests --------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        pytest.param(
            401,
            'data: {"error": {"message": "令牌不合法", "type": "gateway_error", "code": ""}}\n\ndata: [DONE]\n\n',
            TaskError("auth", "gateway_error", "令牌不合法"),
            id="an error frame",
        ),
        pytest.param(
            503,
            'data: {"error": {"message": "oops"}}\n\n',
            TaskError("upstream", None, "oops"),
            id="an error frame that only the status tells",
        ),
        pytest.param(
            500,
            '{"choices": [{"message": {"content": "", "error": "no free account"}}]}',
            TaskError("overloaded", None, "no free account"),
            id="an error of a message",
        ),
        pytest.param(
            500,
            '{"choices": [{"message": {"content": "生成失败: timeout"}}]}',
            TaskError("timeout", "timeout", "timeout"),
            id="a failure told in the text",
        ),
        pytest.param(
            429,
            '{"choices": [{"message": {"content": "Please slow down."}}]}',
            TaskError("rate_limit", None, "Please slow down."),
            id="prose",
        ),
        pytest.param(
            502,
            '{"choices": [{"message": {"content": ""}}]}',
            TaskError("upstream", None, None),
            id="nothing",
        ),
        pytest.param(502, "data: [DONE]\n\n", TaskError("upstream", None, None), id="a stream of nothing"),
    ],
)
def test_a_failed_request_is_a_failed_task_whatever_its_body_is(status: int, body: str, error: TaskError) -> None:
    for response in (body, body.encode()):
        task = parse_response(response, status)
        assert (task.status, task.error) == ("failed", error)


def test_a_result_of_a_failed_request_is_still_a_result() -> None:
    body = {"choices": [{"message": {"content": f"![cat]({CAT})"}, "finish_reason": "stop"}]}
    task = parse_response(body, 500)
    assert (task.status, task.results, task.envelope) == ("completed", (Result("image", CAT),), Envelope("stop"))


def test_an_error_beside_empty_choices_is_read() -> None:
    body = {"choices": [], "error": {"message": "Upstream request failed", "type": "upstream_error"}}
    assert error_of(body, 200) == TaskError("upstream", "upstream_error", "Upstream request failed")


@pytest.mark.parametrize(
    "body",
    [
        {"code": 200, "message": "success", "data": None},
        {"code": 0, "message": "ok"},
        {"success": True, "message": "ok"},
        {"message": "a note"},
    ],
    ids=json.dumps,
)
def test_a_code_that_says_all_is_well_fails_nothing(body: dict[str, Any]) -> None:
    task = parse_response(body, 200)
    assert (task.status, task.error) == ("incomplete", None)


# -- failures told in the content -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("生成失败 ❌\n失败原因：input_moderation", TaskError("moderation", "input_moderation", "input_moderation")),
        ("> Generation failed ❌\n> Failure reason: timeout", TaskError("timeout", "timeout", "timeout")),
        (
            "生成失败: Request failed with status code 503",
            TaskError("upstream", None, "Request failed with status code 503"),
        ),
        ("> 生成失败，原因：余额不足", TaskError("quota", None, "余额不足")),
        ("> 任务失败：“用户额度不足”", TaskError("quota", None, "用户额度不足")),
        ("❌ 生成失败: Error: ECONNRESET", TaskError("unknown", None, "Error: ECONNRESET")),
        ("> 生成中.....生成失败", TaskError("unknown", None, "生成失败")),
        ("> 视频生成超时", TaskError("timeout", None, "视频生成超时")),
        ("Sorry, I can't draw that.", TaskError("text_only", None, "Sorry, I can't draw that.")),
        ("抱歉，这违反了内容政策。", TaskError("text_only", None, "抱歉，这违反了内容政策。")),
    ],
)
def test_failures_told_in_the_text_are_read_by_the_same_words(text: str, error: TaskError) -> None:
    for body in (text, {"choices": [{"message": {"content": text}}]}):
        task = parse_response(body)
        assert (task.status, task.error) == ("failed", error)


def test_an_error_reads_as_data() -> None:
    task = parse_response(told("slow down", "requests"), 429)
    assert task == Task("failed", error=TaskError("rate_limit", "requests", "slow down"))
    assert task.as_dict()["error"] == {"category": "rate_limit", "code": "requests", "message": "slow down"}
