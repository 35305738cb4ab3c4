"""OpenAI's other endpoints for the same jobs, answered from what is played for chats.

    POST …/images/generations    the results as URLs or base64, or the failure as an HTTP error; …/images/edits too
    POST …/videos                the job, which GET …/videos/ID goes on to tell of
    POST …/tran/…                an acknowledgement: where the job's page and its JSON are

A request is put as the chat request that orders the same; the relay chooses
what answers it, and the answer is put back into the endpoint's own form. What a
chat answer does not hold is not made up: a fault, a refusal and an HTTP error
pass as they are.

`answer()` stands in for `Relay.answer()`; both adapters can use it.
"""

from __future__ import annotations

import base64
import json
from email import policy
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..responses import parse_response
from ._relay import is_chat
from ._wire import Request, body_of, end_of, head_of, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..task import Task
    from ._journal import Call
    from ._relay import Relay
    from ._wire import Reply

    Convert = Callable[[Relay, Call, Request, dict[str, Any]], Reply]


def answer(relay: Relay, request: Request, now: float) -> Call | None:
    """As `Relay.answer()`, for these endpoints too."""
    convert = _converter(request)
    if convert is None:
        return relay.answer(request, now)
    with relay.lock:
        return _converted(relay, request, now, convert)


def _converted(relay: Relay, request: Request, now: float, convert: Convert) -> Call | None:
    asked = _asked(request)
    expected = relay.validate and relay.awaits and relay.mine(request) and not is_chat(request)
    if expected and (refusal := _refusal(asked)) is not None:
        return relay._call(request, now, "chat", answer="refused: no prompt", reply=refusal)
    call = relay.order(request, request if is_chat(request) else _as_chat(request, asked), now)
    if call is None:
        return None
    if call.reply is not None and _succeeded(call.reply):
        call.reply = convert(relay, call, request, asked)
    return call


def orders(request: Request) -> bool:
    """Whether a request asks for a job, and what is played answers it."""
    return request.method == "POST" and (is_chat(request) or _converter(request) is not None)


def as_order(request: Request) -> Request | None:
    """The chat request that orders the same: itself, where it is one; None for what orders nothing."""
    if not orders(request):
        return None
    return request if is_chat(request) else _as_chat(request, _asked(request))


def _converter(request: Request) -> Convert | None:
    if request.method != "POST":
        return None
    path = request.path.rstrip("/")
    if (convert := next((each for end, each in ENDPOINTS.items() if path.endswith(end)), None)) is not None:
        return convert
    return _acknowledgement if "/tran/" in path and is_chat(request) else None


def _succeeded(reply: Reply) -> bool:
    head = head_of(reply)
    return head is not None and head.status == 200 and end_of(reply).how == "eof"


# -- requests ---------------------------------------------------------------------------


def _asked(request: Request) -> dict[str, Any]:
    """The body's fields, of JSON or of a form; files of a form are `data:` URLs."""
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        return request.json if isinstance(request.json, dict) else {}
    head = f"content-type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=policy.HTTP).parsebytes(head + request.body)
    fields: dict[str, Any] = {}
    for part in message.iter_parts():
        name, data = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(data, bytes):
            text = data.decode("utf-8", "replace")
            value = _data_url(part.get_content_type(), data) if part.get_filename() else text
            if name.endswith("[]"):
                fields.setdefault(name, []).append(value)
            else:
                fields[name] = value
    return fields


def _data_url(content_type: str, data: bytes) -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


def _refusal(asked: dict[str, Any]) -> Reply | None:
    """OpenAI's words for a body without a prompt."""
    if isinstance(asked.get("prompt"), str) and asked["prompt"]:
        return None
    error = {"message": "Missing required parameter: 'prompt'.", "type": "invalid_request_error", "param": "prompt"}
    return whole(400, {"error": {**error, "code": "missing_required_parameter"}})


def _as_chat(request: Request, asked: dict[str, Any]) -> Request:
    """The chat request that orders the same: on relays these models are chat models too."""
    prompt = asked.get("prompt", "")
    parts: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
    for field in _PICTURES:
        given = asked.get(field)
        for url in given if isinstance(given, list) else [given]:
            if isinstance(url, str) and url.startswith(("data:", "http")):
                parts.append({"type": "image_url", "image_url": {"url": url}})
    body = {key: value for key, value in asked.items() if key not in ("prompt", "stream", *_PICTURES)}
    body |= {"messages": [{"role": "user", "content": parts if len(parts) > 1 else prompt}]}
    path = request.path.rstrip("/")
    path = path.removesuffix(next(end for end in ENDPOINTS if path.endswith(end)))
    origin = urlsplit(request.url)
    url = f"{origin.scheme}://{origin.netloc}{path}/chat/completions"
    return Request("POST", url, request.headers, json.dumps(body, ensure_ascii=False).encode(), request.native)


_PICTURES = ("image", "image[]", "input_reference")
"""Fields that hold pictures, of images/edits and of videos."""


# -- answers ----------------------------------------------------------------------------


def _images(relay: Relay, call: Call, request: Request, asked: dict[str, Any]) -> Reply:
    """https://platform.openai.com/docs/api-reference/images/object"""
    assert call.reply is not None
    end, task = end_of(call.reply), parse_response(body_of(call.reply))
    urls = [result.url for result in task.results if result.kind == "image"]
    if not urls:
        return _failure(task, end.t)
    # gpt-image models answer base64 only; dall-e, and relays, answer URLs unless told otherwise.
    form = asked.get("response_format") or ("b64_json" if str(asked.get("model")).startswith("gpt-image") else "url")
    data = [{"b64_json": _base64(relay, call, url, end.t)} if form == "b64_json" else {"url": url} for url in urls]
    return whole(200, {"created": 1_768_300_000 + int(end.t), "data": data}, t=end.t)


def _failure(task: Task, t: float) -> Reply:
    """The failure of the job as an HTTP error: what the client asked for wrongly is 400, all else 500."""
    error = task.error
    message = error.message if error else f"no image came: the task's status is {task.status}"
    refused = error is not None and error.category in ("moderation", "invalid_request", "text_only")
    code = (error.code if error else None) or ("moderation_blocked" if refused else None)
    type_ = "image_generation_user_error" if refused else "server_error"
    return whole(400 if refused else 500, {"error": {"message": message, "type": type_, "code": code}}, t=t)


def _base64(relay: Relay, call: Call, url: str, t: float) -> str:
    if url.startswith("data:"):
        return url.partition(",")[2]
    reply = _world(relay, call).answer(url, t)
    return base64.b64encode(body_of(reply)).decode() if reply is not None else ""


def _video(relay: Relay, call: Call, request: Request, asked: dict[str, Any]) -> Reply:
    """https://platform.openai.com/docs/api-reference/videos/object, as it is at once: the job goes on behind it."""
    world = _world(relay, call)
    state = world.answer(f"https://relay.example/v1/videos/{world.task_id}", 0.0)
    if world.task_id is None or state is None:
        return whole(500, {"error": {"message": "what was played has no task id", "type": "server_error"}})
    told = {"id": world.task_id, "object": "video", "status": "queued", "progress": 0, "created_at": 1_768_300_000}
    world.asked = {key: asked[key] for key in ("model", "prompt", "seconds", "size") if key in asked}
    found = json.loads(body_of(state))
    return whole(200, told | (found if found.get("object") == "video" else {}) | world.asked)


def _acknowledgement(relay: Relay, call: Call, request: Request, asked: dict[str, Any]) -> Reply:
    """asyncdata.net/tran/UPSTREAM answers at once; the job is then polled."""
    world = _world(relay, call)
    links = {role: url for url, role in world.urls.items() if role in ("web", "source")}
    ack = {"id": world.task_id, "preview_url": links.get("web"), "source_url": links.get("source")}
    return whole(200, ack)


def _world(relay: Relay, call: Call) -> Any:
    """The `scenario.Job` or `TapeJob` behind a call."""
    assert isinstance(call.job, int)
    return relay._jobs[call.job].world


ENDPOINTS: dict[str, Convert] = {"/images/generations": _images, "/images/edits": _images, "/videos": _video}
"""By how their paths end, and how an answer is put into their form."""
