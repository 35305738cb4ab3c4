"""What a relay refuses, and the error bodies it answers with.

The order of the checks and the words are new-api's: the key (middleware/auth.go),
the model (middleware/distributor.go), the messages (relay/helper/valid_request.go);
content parts are judged by the upstream, in OpenAI's words. The bodies are those of
`dialects.md`, c4. Hosts, ids and rays are invented, their shapes are not.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ._wire import whole

if TYPE_CHECKING:
    from ._wire import Reply, Request

RetryAfter = float | str | datetime | timedelta
"""Seconds, a time of day (without a time zone: local), or the header's own text, which may be nonsense."""

Shape = Literal["error", "flat", "nginx", "cloudflare"]

_JSON = "application/json; charset=utf-8"  # as gin writes it
_CLOUDFLARE = (("server", "cloudflare"), ("cf-ray", "9a1b2c3d4e5f6789-HKG"))


class _Seen(NamedTuple):
    status: int
    message: str
    type: str = "new_api_error"
    code: str = ""
    shape: Shape = "error"


_SEEN = (
    _Seen(400, "prompt is required", code="invalid_request", shape="flat"),
    _Seen(401, "令牌不合法", code="invalid_request"),
    _Seen(403, "用户额度不足", code="insufficient_user_quota"),
    _Seen(403, "openai_error", "bad_response_status_code", "bad_response_status_code"),
    _Seen(404, "Invalid URL (POST /v1/chat/completion)", "invalid_request_error"),
    _Seen(408, "Request timed out", "upstream_error", "request_timeout"),
    _Seen(413, "413 Request Entity Too Large", shape="nginx"),
    # A quota's code for an overload: new-api rewrites what the upstream said.
    _Seen(429, "当前分组上游负载已饱和，请稍后再试", "insufficient_quota", "insufficient_user_quota"),
    _Seen(429, "Rate limit reached for this model, please slow down", "rate_limit_error", "rate_limit_exceeded"),
    _Seen(500, "Upstream service temporarily unavailable (4028)", "upstream_error", "upstream_error"),
    _Seen(502, "502 Bad Gateway", "upstream_error", "upstream_error", "nginx"),
    _Seen(503, "No available channel for model sora-2 under group default (distributor)", code="model_not_found"),
    _Seen(504, "504 Gateway Time-out", "upstream_error", "upstream_error", "nginx"),
    _Seen(520, "Web server is returning an unknown error", shape="cloudflare"),
    _Seen(521, "Web server is down", shape="cloudflare"),
    _Seen(522, "Connection timed out", shape="cloudflare"),
    _Seen(523, "Origin is unreachable", shape="cloudflare"),
    _Seen(524, "A timeout occurred", "upstream_error", "upstream_error", "cloudflare"),
)
"""By status; where one has several, the first is the usual one and a `code` picks another."""

_NGINX = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_CLOUDFLARE_PAGE = (
    '<!DOCTYPE html>\n<html class="no-js" lang="en-US">\n<head>\n<title>relay.example | {0}: {1}</title>\n'
    '<meta charset="UTF-8" />\n</head>\n<body>\n<div id="cf-error-details">\n<h1>{1} <span>Error code {0}</span></h1>\n'
    "<p>Ray ID: 9a1b2c3d4e5f6789</p>\n</div>\n</body>\n</html>\n"
)

_WEB_APP = (
    '<!doctype html>\n<html lang="zh">\n<head>\n<meta charset="utf-8" />\n<title>New API</title>\n</head>\n'
    "<body>\n<noscript>You need to enable JavaScript to run this app.</noscript>\n"
    '<div id="root"></div>\n</body>\n</html>\n'
)


def error_reply(
    status: int,
    *,
    retry_after: RetryAfter | None = None,
    message: str | None = None,
    code: str | None = None,
    type: str | None = None,
    number: int = 0,
    t: float = 0.0,
) -> Reply:
    """An HTTP error as a relay, its nginx or Cloudflare in front of it writes it.

    Without words of its own the body is the one seen with `status`, an HTML page
    where that is what comes (413, 502, 504, 52x); a `message`, `code` or `type`
    makes it new-api's JSON. `retry_after` becomes the header, a text as it is given.
    `number` makes the request id, `t` is in seconds.
    """
    rows = [row for row in _SEEN if row.status == status] or [_Seen(status, _phrase(status))]
    row = next((row for row in rows if row.code == code), rows[0])
    headers = () if retry_after is None else (("retry-after", retry_after_text(retry_after)),)
    own = message is not None or type is not None or (code is not None and code != row.code)
    if row.shape in ("nginx", "cloudflare") and not own and code is None:
        return page(status, headers=headers, t=t)
    words = row.message if message is None else message
    if row.shape == "flat" and type is None:
        flat = {"code": row.code if code is None else code, "message": words, "data": None}
        return whole(status, flat, headers=headers, content_type=_JSON, t=t)
    error = _error(words, row.type if type is None else type, row.code if code is None else code, number=number)
    return whole(status, error, headers=(*_id_header(number), *headers), content_type=_JSON, t=t)


def retry_after_text(value: RetryAfter) -> str:
    """The Retry-After header: seconds, or an HTTP date (RFC 9110, 10.2.3). Raises ValueError."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        from email.utils import format_datetime  # for tests of dates only

        return format_datetime(value.astimezone(UTC), usegmt=True)
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(
            f"retry_after={value!r}: expected seconds, 0 or more, a timedelta or a datetime; "
            "what is no such thing may be sent as a text"
        )
    return str(int(seconds) if isinstance(value, timedelta) and seconds == int(seconds) else seconds)


def page(status: int, *, headers: tuple[tuple[str, str], ...] = (), t: float = 0.0) -> Reply:
    """The HTML page that comes with `status`: Cloudflare's for its own 52x, else nginx's.

    200 is new-api's web app, which answers every path it does not know, such as
    that of a base URL without its `/v1`.
    """
    if status < 400:
        return whole(status, _WEB_APP, headers=headers, content_type="text/html; charset=utf-8", t=t)
    seen = next((row for row in _SEEN if row.status == status and row.shape == "cloudflare"), None)
    if seen is not None:
        html = _CLOUDFLARE_PAGE.format(status, seen.message)
        return whole(status, html, headers=(*_CLOUDFLARE, *headers), content_type="text/html; charset=UTF-8", t=t)
    known = next((row.message for row in _SEEN if row.status == status and row.shape == "nginx"), None)
    html = _NGINX.format(known or f"{status} {_phrase(status)}")
    return whole(status, html, headers=(("server", "nginx"), *headers), content_type="text/html", t=t)


def refuse(request: Request, *, number: int = 0) -> Reply | None:
    """The 400 or 401 a relay gives this chat completion request; None when it would take it.

    `number` tells requests apart: it makes the request id, so that nothing here is random.
    """
    return _bad_key(request.headers.get("authorization", ""), number) or _bad_body(request, number)


def refuse_key(request: Request, *, number: int = 0) -> Reply | None:
    """The 401 for a request of any kind whose key is missing or malformed; None when there is one."""
    return _bad_key(request.headers.get("authorization", ""), number)


_PARTS = ("text", "image_url", "input_audio", "refusal", "audio", "file")
"""Types of content parts, in the order in which OpenAI names them."""
_RELAY_PARTS = (*_PARTS, "video_url")
"""new-api knows one more."""

_UNSET = ("None", "null", "undefined")
"""What a program sends whose key was never set."""


def _bad_key(header: str, number: int) -> Reply | None:
    scheme, _, rest = header.strip().partition(" ")
    key = rest.strip() if scheme.lower() == "bearer" else header.strip()  # new-api takes a bare key too
    key = key.removeprefix("sk-")
    if not key:
        return _refusal(401, "未提供令牌", number)
    if key in _UNSET or not (key.isascii() and key.isprintable()) or " " in key:
        return _refusal(401, "令牌不合法", number, code="invalid_request")
    return None


def _bad_body(request: Request, number: int) -> Reply | None:
    body = request.json
    if body is None:
        return _refusal(400, "无效的请求，invalid JSON request body", number)
    if not isinstance(body, dict):
        words = f"无效的请求，json: cannot unmarshal {_go(body)} into Go value of type middleware.ModelRequest"
        return _refusal(400, words, number)
    model, messages, stream = body.get("model"), body.get("messages"), body.get("stream")
    if model is not None and not isinstance(model, str):
        return _refusal(400, "无效的请求，field model must be a string", number)
    if not model:
        return _refusal(400, "未指定模型名称，模型名称不能为空", number)
    if messages is not None and not isinstance(messages, list):
        return _invalid(_unmarshal(messages, "messages", "[]dto.Message"), number)
    if stream is not None and not isinstance(stream, bool):
        return _invalid(_unmarshal(stream, "stream", "bool"), number)
    if not messages:
        return _invalid("field messages is required", number)
    for message in messages:
        if not isinstance(message, dict):
            return _invalid(_unmarshal(message, "messages", "dto.Message"), number)
    for at, message in enumerate(messages):
        if (bad := _bad_content(at, message, number)) is not None:
            return bad
    return None


def _bad_content(at: int, message: dict[str, Any], number: int) -> Reply | None:
    content = message.get("content")
    if content is None or isinstance(content, str):  # null: an assistant's message that only calls tools
        return None
    where = f"messages[{at}].content"
    if not isinstance(content, list):
        words = (
            f"Invalid type for '{where}': expected one of a string or array of objects, but got {_a(content)} instead."
        )
        return _upstream(words, where, "invalid_type", number)
    for place, part in enumerate(content):
        inside = f"{where}[{place}]"
        if not isinstance(part, dict):
            words = f"Invalid type for '{inside}': expected an object, but got {_a(part)} instead."
            return _upstream(words, inside, "invalid_type", number)
        if "type" not in part:
            words = f"Missing required parameter: '{inside}.type'."
            return _upstream(words, f"{inside}.type", "missing_required_parameter", number)
        if not isinstance(part["type"], str):
            words = f"Invalid type for '{inside}.type': expected a string, but got {_a(part['type'])} instead."
            return _upstream(words, f"{inside}.type", "invalid_type", number)
        if part["type"] not in _RELAY_PARTS:
            known = ", ".join(f"'{name}'" for name in _PARTS[:-1])
            words = f"Invalid value: '{part['type']}'. Supported values are: {known}, and '{_PARTS[-1]}'."
            return _upstream(words, f"{inside}.type", "invalid_value", number)
    return None


# -- bodies --------------------------------------------------------------------------


def _refusal(status: int, message: str, number: int, *, code: str = "") -> Reply:
    """What new-api's middleware writes: a sorted map, so `code` is first and there is no `param`."""
    error = {"code": code, "message": _with_id(message, number), "type": "new_api_error"}
    return whole(status, {"error": error}, headers=_id_header(number), content_type=_JSON)


def _invalid(message: str, number: int) -> Reply:
    body = _error(message, "new_api_error", "invalid_request", number=number)
    return whole(400, body, headers=_id_header(number), content_type=_JSON)


def _upstream(message: str, param: str, code: str, number: int) -> Reply:
    body = _error(message, "invalid_request_error", code, param=param, number=number)
    return whole(400, body, headers=_id_header(number), content_type=_JSON)


def _error(message: str, type: str, code: str, *, number: int, param: str = "") -> dict[str, Any]:
    return {"error": {"message": _with_id(message, number), "type": type, "param": param, "code": code}}


def _with_id(message: str, number: int) -> str:
    return f"{message} (request id: {_request_id(number)})"


def _id_header(number: int) -> tuple[tuple[str, str], ...]:
    return (("x-oneapi-request-id", _request_id(number)),)


def _request_id(number: int) -> str:
    """A time to the second, nine digits, eight letters."""
    return f"20261122120000{number:09d}TicTape0"


def _unmarshal(value: Any, field: str, type_: str) -> str:
    return f"json: cannot unmarshal {_go(value)} into Go struct field GeneralOpenAIRequest.{field} of type {type_}"


def _go(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    names = {bool: "bool", str: "string", list: "array", dict: "object", type(None): "null"}
    return names.get(type(value), "number")


def _a(value: Any) -> str:
    """What OpenAI calls a JSON value."""
    names = {bool: "a boolean", str: "a string", list: "an array", dict: "an object", int: "an integer"}
    return names.get(type(value), "a decimal" if isinstance(value, float) else "null")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Status"
