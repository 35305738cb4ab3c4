"""Poll bodies and acknowledgements: the JSON behind a task's `source` link is read into the same task."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tickertape import Envelope, ResponseReader, Result, Task, TaskError, parse, parse_response
from tickertape import events as ev

CAT = "https://relay.example/cdn/cat.mp4"
DOG = "https://relay.example/cdn/dog.mp4"
PNG = "https://relay.example/cdn/cat.png"
JPG = "https://relay.example/cdn/dog.jpg"
INPUT = "https://upload.example/in.png"
WEB = "https://relay.example/web/v7"
SOURCE = "https://relay.example/source/v7"


def clip(url: str = CAT, poster: str | None = None) -> Result:
    return Result("video", url, None, poster)


def reads(body: dict[str, Any], task: Task, status_code: int | None = None) -> None:
    """As an object, as JSON, and as bytes in pieces, a body tells of one task."""
    text = json.dumps(body, ensure_ascii=False)
    assert parse_response(body, status_code) == task
    assert parse_response(text, status_code) == task
    assert parse_response("\ufeff" + json.dumps(body, indent=4).replace("/", "\\/"), status_code) == task
    reader = ResponseReader(status_code=status_code)
    data = text.encode()
    for at in range(0, len(data), 5):
        assert reader.feed(data[at : at + 5]) == []
    reader.close()
    assert reader.task == task


# -- the word for the status ---------------------------------------------------------

WORDS = {
    "queued": "pending queued queueing in_queue waiting submitted SUBMITTED NOT_START not_started created init",
    "in_progress": (
        "processing running in_progress IN_PROGRESS preprocessing video_generating video_upsampling image_downloading "
        "video_generation_completed in-progress"
    ),
    "completed": "completed COMPLETED complete succeeded succeed SUCCESS successful finished done",
    "failed": "failed Fail FAILURE error cancelled canceled expired rejected timed_out video_generation_failed",
}


@pytest.mark.parametrize(("status", "word"), [(status, word) for status in WORDS for word in WORDS[status].split()])
@pytest.mark.parametrize("key", ["status", "task_status", "state"])
def test_a_word_for_the_status_decides(status: str, word: str, key: str) -> None:
    task = parse_response({"id": "v7", key: word})
    assert (task.status, task.task_id) == (status, "v7")
    assert (task.error is not None) == (status == "failed")


@pytest.mark.parametrize(
    ("body", "task"),
    [
        pytest.param({"id": "v7", "status": "pending", "status_update_time": 1}, Task("queued", "v7"), id="submission"),
        pytest.param({"id": "v7", "status": "pending", "video_url": None}, Task("queued", "v7"), id="video_url null"),
        pytest.param({"id": 17, "status": "pending"}, Task("queued", "17"), id="id that is a number"),
        pytest.param({"task_id": "t7", "status": "pending"}, Task("queued", "t7"), id="task_id"),
        pytest.param({"taskId": "t7", "status": "pending"}, Task("queued", "t7"), id="taskId"),
        pytest.param({"status": "pending"}, Task("queued"), id="no id"),
        pytest.param(
            {"id": "v7", "running": True, "status": "pending", "images": [{"url": INPUT, "status": "downloading"}]},
            Task("queued", "v7"),
            id="inputs are still fetched",
        ),
        pytest.param(
            {"id": "v7", "status": "processing", "error_message": "HTTP 500", "retry_count": 1},
            Task("in_progress", "v7"),
            id="processing with an error of an earlier try",
        ),
        pytest.param(
            {"id": "v7", "status": "pending", "error": {"message": "policy"}},
            Task("queued", "v7"),
            id="pending with an error",
        ),
        pytest.param(
            {"id": "v7", "status": "completed", "error": {"message": "policy"}, "video_url": CAT},
            Task("completed", "v7", results=(clip(),)),
            id="completed with an error",
        ),
        pytest.param(
            {"id": "v7", "status": "queued", "error": {"code": 0, "message": ""}, "url": ""},
            Task("queued", "v7"),
            id="empty fields",
        ),
        pytest.param(
            {"id": "v7", "object": "video", "model": "sora-2", "status": "completed", "progress": 100, "error": None},
            Task("completed", "v7", progress=(100,)),
            id="completed, its file elsewhere",
        ),
    ],
)
def test_the_status_decides_alone(body: dict[str, Any], task: Task) -> None:
    reads(body, task)


# -- progress ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "progress"),
    [
        pytest.param({"status": "queued", "progress": 0}, "queued", (0,), id="zero is still queued"),
        pytest.param({"status": "queued", "progress": "0%"}, "queued", (0,), id="zero as text"),
        pytest.param({"status": "pending", "progress": 12}, "in_progress", (12,), id="progress is more than pending"),
        pytest.param({"status": "in_progress", "progress": 33}, "in_progress", (33,), id="number"),
        pytest.param({"status": "IN_PROGRESS", "progress": "30%"}, "in_progress", (30,), id="text with %"),
        pytest.param({"status": "processing", "progress": "45"}, "in_progress", (45,), id="text without %"),
        pytest.param({"status": "processing", "progress": "45.5%"}, "in_progress", (45.5,), id="text with a fraction"),
        pytest.param({"status": "processing", "progress": ""}, "in_progress", (), id="empty text"),
        pytest.param({"status": "processing", "progress": "soon"}, "in_progress", (), id="words"),
        pytest.param({"status": "processing", "progress": None}, "in_progress", (), id="null"),
        pytest.param({"status": "processing", "progress": True}, "in_progress", (), id="true"),
        pytest.param({"status": "processing", "progress_pct": 0.5}, "in_progress", (50,), id="fraction"),
        pytest.param({"status": "processing", "progress_pct": 0.29}, "in_progress", (29,), id="odd fraction"),
        pytest.param({"status": "processing", "progress_pct": 0.07}, "in_progress", (7,), id="odder fraction"),
        pytest.param({"status": "succeeded", "progress_pct": 1}, "completed", (100,), id="the whole as a fraction"),
        pytest.param({"status": "preprocessing", "progress_pct": None}, "in_progress", (), id="fraction null"),
        pytest.param(
            {"status": "pending", "detail": {"status": "pending", "pending_info": {"progress_pct": 0.25}}},
            "in_progress",
            (25,),
            id="fraction inside",
        ),
        pytest.param(
            {"status": "pending", "detail": {"pending_info": {"status": "queued", "progress_pct": None}}},
            "queued",
            (),
            id="fraction null inside",
        ),
    ],
)
def test_percentages_are_percent_and_fractions_are_made_so(
    fields: dict[str, Any], status: str, progress: tuple[float, ...]
) -> None:
    task = parse_response({"id": "v7", **fields})
    assert (task.status, task.task_id) == (status, "v7")
    assert task.progress == progress


def test_percentages_as_text_are_ints_where_they_are_whole() -> None:
    (percent,) = parse_response({"status": "running", "progress": "30%"}).progress
    assert isinstance(percent, int)


# -- acknowledgements ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "task"),
    [
        pytest.param(
            {"id": "v7", "preview_url": WEB, "source_url": SOURCE},
            Task("queued", "v7", links={"web": WEB, "source": SOURCE}),
            id="both links",
        ),
        pytest.param(
            {"id": "v7", "source_url": SOURCE}, Task("queued", "v7", links={"source": SOURCE}), id="source alone"
        ),
        pytest.param({"id": "v7", "web_url": WEB}, Task("queued", "v7", links={"web": WEB}), id="web alone"),
        pytest.param(
            {"id": "v7", "status": "queued", "preview_url": WEB, "source_url": SOURCE},
            Task("queued", "v7", links={"web": WEB, "source": SOURCE}),
            id="with a status",
        ),
        pytest.param(
            {"id": "v7", "object": "chat.completion", "preview_url": WEB, "source_url": SOURCE},
            Task("queued", "v7", links={"web": WEB, "source": SOURCE}),
            id="that calls itself a completion",
        ),
        pytest.param(
            {"code": "success", "message": "", "data": {"id": "v7", "preview_url": WEB, "source_url": SOURCE}},
            Task("queued", "v7", links={"web": WEB, "source": SOURCE}),
            id="inside data",
        ),
    ],
)
def test_an_acknowledgement_is_a_queued_task_with_links(body: dict[str, Any], task: Task) -> None:
    reads(body, task)


# -- results and previews ------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "results", "previews"),
    [
        pytest.param({"video_url": CAT}, [clip()], [], id="video_url"),
        pytest.param(
            {"video_url": "https://relay.example/cdn/7"}, [clip("https://relay.example/cdn/7")], [], id="no extension"
        ),
        pytest.param({"url": CAT}, [clip()], [], id="url of a video"),
        pytest.param(
            {"url": PNG + "?sig=1"}, [Result("image", PNG + "?sig=1")], [], id="url of an image, with a query"
        ),
        pytest.param({"imageUrl": PNG}, [Result("image", PNG)], [], id="imageUrl"),
        pytest.param(
            {"audio_url": "https://a.example/7"}, [Result("audio", "https://a.example/7")], [], id="audio_url"
        ),
        pytest.param({"urls": [PNG, JPG]}, [Result("image", PNG), Result("image", JPG)], [], id="urls"),
        pytest.param({"output": CAT}, [clip()], [], id="output"),
        pytest.param({"generations": [{"url": CAT}, {"url": DOG}]}, [clip(), clip(DOG)], [], id="generations"),
        pytest.param({"data": [{"url": PNG, "id": "a"}]}, [Result("image", PNG)], [], id="data as a list"),
        pytest.param({"url": PNG, "generations": [{"url": PNG}]}, [Result("image", PNG)], [], id="the same twice"),
        pytest.param({"video_url": CAT, "thumbnail_url": PNG}, [clip(poster=PNG)], [], id="poster"),
        pytest.param({"video_url": CAT, "upsample_video_url": DOG}, [clip()], [], id="the same video upsampled"),
        pytest.param({"upsample_video_url": DOG}, [clip(DOG)], [], id="nothing but the upsampled one"),
        pytest.param({"video_url": CAT, "detail": {"video_url": DOG}}, [clip()], [DOG], id="another inside"),
        pytest.param({"video_url": CAT, "detail": {"video_url": CAT}}, [clip()], [], id="the same inside"),
        pytest.param({"video_url": None, "detail": {"video_url": CAT}}, [clip()], [], id="one inside alone"),
        pytest.param({"detail": {"status": "completed", "url": CAT}}, [clip()], [], id="url inside alone"),
        pytest.param({"detail": {"generations": [{"url": PNG}]}}, [Result("image", PNG)], [], id="generations inside"),
        pytest.param({"video_url": CAT, "images": [INPUT, {"url": INPUT}]}, [clip()], [], id="images are inputs"),
        pytest.param({"video_url": CAT, "input": {"images": [INPUT], "video_url": DOG}}, [clip()], [], id="input"),
        pytest.param({"video_url": CAT, "detail": {"input": {"video_url": DOG}}}, [clip()], [], id="input inside"),
        pytest.param({"images": [INPUT], "input": {"images": [INPUT]}}, [], [], id="inputs alone"),
        pytest.param({"video_url": ""}, [], [], id="empty"),
        pytest.param({"video_url": 7, "urls": [7, None], "data": [7]}, [], [], id="of other types"),
    ],
)
def test_the_outer_media_are_the_results(fields: dict[str, Any], results: list[Result], previews: list[str]) -> None:
    reads(
        {"id": "v7", "status": "completed", **fields},
        Task("completed", "v7", results=tuple(results), previews=tuple(previews)),
    )


def test_a_video_inside_a_running_task_is_a_preview() -> None:
    body = {"id": "v7", "status": "video_upsampling", "detail": {"video_url": CAT}}
    reads(body, Task("in_progress", "v7", previews=(CAT,)))


def test_a_whole_body_reads_as_one_task() -> None:
    body = {
        "id": "veo:v7",
        "status": "completed",
        "video_url": CAT,
        "detail": {
            "id": "veo:v7",
            "req": {"model": "veo", "images": [INPUT], "prompt": "a cat", "enable_upsample": True},
            "images": [{"url": INPUT, "status": "completed"}],
            "status": "completed",
            "running": False,
            "video_url": DOG,
            "upsample_video_url": CAT,
            "error_message": "[403] Request failed with status code 403",
            "video_generation_error": "the prompt was rejected",
            "video_generation_status": "SUCCESSFUL",
        },
    }
    reads(body, Task("completed", "veo:v7", results=(clip(),), previews=(DOG,)))


# -- failures ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({}, TaskError("unknown", None, None), id="no reason"),
        pytest.param(
            {"error": "content policy"}, TaskError("moderation", None, "content policy"), id="error as a string"
        ),
        pytest.param(
            {"error": {"code": "moderation_blocked", "message": "blocked by moderation"}},
            TaskError("moderation", "moderation_blocked", "blocked by moderation"),
            id="error as an object",
        ),
        pytest.param(
            {"error": {"code": 500, "message": "internal", "type": "server_error"}},
            TaskError("upstream", "server_error", "internal"),
            id="code that is an HTTP status",
        ),
        pytest.param({"error_message": "task timeout"}, TaskError("timeout", None, "task timeout"), id="error_message"),
        pytest.param({"fail_reason": "用户额度不足"}, TaskError("quota", None, "用户额度不足"), id="fail_reason"),
        pytest.param({"failReason": "Banned prompt"}, TaskError("moderation", None, "Banned prompt"), id="failReason"),
        pytest.param(
            {"video_generation_error": "violates policy"},
            TaskError("moderation", None, "violates policy"),
            id="video_generation_error",
        ),
        pytest.param(
            {"error": {}, "error_message": "violates policy"},
            TaskError("moderation", None, "violates policy"),
            id="an empty error, then another",
        ),
        pytest.param(
            {"error_message": "task timeout", "video_generation_error": "unsafe"},
            TaskError("timeout", None, "task timeout"),
            id="two reasons",
        ),
        pytest.param(
            {"error": "上游负载已饱和 (request id: 2026a7)"},
            TaskError("overloaded", None, "上游负载已饱和"),
            id="a request id",
        ),
        pytest.param(
            {"error_message": "[429] Request failed with status code 429"},
            TaskError("rate_limit", None, "[429] Request failed with status code 429"),
            id="an HTTP status in the words",
        ),
        pytest.param(
            {"detail": {"status": "failed", "error_message": "上游超时"}},
            TaskError("timeout", None, "上游超时"),
            id="inside",
        ),
        pytest.param(
            {"detail": {"pending_info": {"failure_reason": "input_moderation"}}},
            TaskError("moderation", None, "input_moderation"),
            id="two levels inside",
        ),
    ],
)
def test_a_failed_task_tells_why(fields: dict[str, Any], error: TaskError) -> None:
    reads({"id": "v7", "status": "failed", **fields}, Task("failed", "v7", error=error))


def test_the_http_status_decides_where_a_failed_task_says_nothing() -> None:
    body = {"id": "v7", "status": "failed", "error": {"message": "busy"}}
    reads(body, Task("failed", "v7", error=TaskError("unknown", None, "busy")))
    reads(body, Task("failed", "v7", error=TaskError("rate_limit", None, "busy")), status_code=429)


# -- bodies that wrap the task ---------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "task"),
    [
        pytest.param(
            {"code": "success", "message": "", "data": {"task_id": "t7", "status": "NOT_START", "progress": "0%"}},
            Task("queued", "t7", progress=(0,)),
            id="not started",
        ),
        pytest.param(
            {"code": 0, "msg": "ok", "data": {"task_id": "t7", "status": "processing", "progress": 12}},
            Task("in_progress", "t7", progress=(12,)),
            id="code 0",
        ),
        pytest.param(
            {"code": 200, "message": "success", "data": {"task_id": "t7", "status": "succeeded", "video_url": CAT}},
            Task("completed", "t7", results=(clip(),)),
            id="code 200",
        ),
        pytest.param(
            {"code": "success", "data": {"task_id": "t7", "status": "FAILURE", "fail_reason": "task timed out"}},
            Task("failed", "t7", error=TaskError("timeout", None, "task timed out")),
            id="failed",
        ),
        pytest.param(
            {"code": "success", "data": {"task_id": "t7", "status": "SUCCESS", "data": {"video_url": CAT}}},
            Task("completed", "t7", results=(clip(),)),
            id="wrapped twice",
        ),
        pytest.param(
            {"success": True, "taskId": "t7", "data": {"status": "completed", "video_url": CAT}},
            Task("completed", "t7", results=(clip(),)),
            id="the id outside",
        ),
        pytest.param(
            {"created": 1, "data": [{"url": PNG, "revised_prompt": "a cat"}]},
            Task("completed", results=(Result("image", PNG),)),
            id="an images response",
        ),
    ],
)
def test_a_task_is_found_in_what_wraps_it(body: dict[str, Any], task: Task) -> None:
    reads(body, task)


def test_a_frame_of_a_stream_may_be_a_poll_body() -> None:
    body = json.dumps({"id": "v7", "status": "completed", "video_url": CAT})
    assert parse_response(f"data: {body}\n\ndata: [DONE]\n\n") == Task("completed", "v7", results=(clip(),))


def test_a_status_beside_choices_makes_no_poll_body() -> None:
    body = {"id": "r7", "status": "failed", "choices": [{"message": {"content": f"![cat]({PNG})"}}]}
    task = parse_response(body)
    assert (task.status, task.results, task.envelope) == ("completed", (Result("image", PNG),), Envelope())


# -- events ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "events"),
    [
        pytest.param({"id": "v7", "status": "pending"}, [ev.TaskId(0, 0, "id", "v7")], id="queued"),
        pytest.param(
            {"status": "running", "progress": 12}, [ev.Progress(0, 0, 12, None, None)], id="in progress, no id"
        ),
        pytest.param(
            {"id": "v7", "status": "completed", "progress": 100, "urls": [CAT, PNG]},
            [
                ev.TaskId(0, 0, "id", "v7"),
                ev.Progress(0, 0, 100, None, None),
                ev.Link(0, 0, "", CAT, "watch", "video"),
                ev.Image(0, 0, "", PNG),
                ev.Completed(0, 0, "completed"),
            ],
            id="completed",
        ),
        pytest.param(
            {"id": "v7", "status": "failed", "error": "boom"},
            [ev.TaskId(0, 0, "id", "v7"), ev.Failed(0, 0, "", "boom")],
            id="failed",
        ),
    ],
)
def test_a_poll_body_makes_events_of_no_width(body: dict[str, Any], events: list[ev.Event]) -> None:
    reader = ResponseReader()
    assert [*reader.feed(json.dumps(body).encode()), *reader.close()] == events


# -- the same words in content -----------------------------------------------------------


@pytest.mark.parametrize("fence", ["{}", "```json\n{}\n```"], ids=["bare", "fenced"])
@pytest.mark.parametrize(
    ("outcome", "task"),
    [
        pytest.param(
            {"id": "v7", "status": "failed", "error": {"code": "moderation_blocked", "message": "blocked"}},
            Task("failed", "v7", error=TaskError("moderation", "moderation_blocked", "blocked")),
            id="failed",
        ),
        pytest.param(
            {"status": "failed", "error": "violates policy", "prompt": "a cat"},
            Task("failed", parameters={"prompt": "a cat"}, error=TaskError("moderation", None, "violates policy")),
            id="failed, with its parameters",
        ),
        pytest.param(
            {"error": {"message": "余额不足"}}, Task("failed", error=TaskError("quota", None, "余额不足")), id="error"
        ),
        pytest.param(
            {"status": "failed"}, Task("failed", error=TaskError("unknown", None, None)), id="failed, no reason"
        ),
    ],
)
def test_an_outcome_written_into_the_content_is_read_by_the_same_words(
    outcome: dict[str, Any], task: Task, fence: str
) -> None:
    read = parse(fence.replace("{}", json.dumps(outcome, ensure_ascii=False)))
    assert (read.status, read.task_id, read.error) == (task.status, task.task_id, task.error)
    assert (read.parameters or None) == task.parameters


# -- what must not raise -------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["-1", "1e999", "NaN", '"NaN"', '"inf"', '"1e999"', '"%"', '"٣"', "null", "true", "[]", "{}", "1" * 4000]
)
@pytest.mark.parametrize(
    ("word", "statuses"),
    [
        ("pending", {"queued", "in_progress"}),
        ("processing", {"in_progress"}),
        ("completed", {"completed"}),
        ("failed", {"failed"}),
    ],
)
@pytest.mark.parametrize(
    "key", ["id", "progress", "progress_pct", "generations", "urls", "detail", "pending_info", "error", "reason"]
)
def test_values_of_any_type_are_read_anywhere(key: str, word: str, statuses: set[str], value: str) -> None:
    task = parse_response(f'{{"task_id": "v7", "status": "{word}", "{key}": {value}}}')
    assert task.status in statuses
    assert json.dumps(task.as_dict())


@pytest.mark.parametrize("data", ["", "handed to the upstream"])
def test_data_that_is_a_string_does_not_hide_the_status(data: str) -> None:
    reads({"task_id": "v7", "status": "processing", "data": data}, Task("in_progress", "v7"))


def test_an_object_inside_itself_is_read() -> None:
    body: dict[str, Any] = {"id": "v7", "status": "completed", "video_url": CAT}
    body["detail"] = body
    assert parse_response(body) == Task("completed", "v7", results=(clip(),))


@pytest.mark.parametrize("key", ["detail", "data", "pending_info", "x"])
def test_objects_of_any_depth_are_read(key: str) -> None:
    body: dict[str, Any] = {"video_url": DOG}
    for _ in range(2_000):
        body = {key: body}
    task = parse_response({"id": "v7", "status": "completed", "video_url": CAT, **body})
    assert (task.status, task.results) == ("completed", (clip(),))
