"""Scenarios: what is written is read back as intended, and the world behind it goes on as told."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import urlsplit

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tickertape
from tickertape.testing._wire import Data, Reply, body_of, end_of, head_of
from tickertape.testing.scenario import Job, Scenario, ScenarioError

from .conftest import cut, read

MANY = settings(max_examples=settings().max_examples * 5 // 2)
FEW = settings(max_examples=settings().max_examples * 3 // 5)

KINDS = ("image", "video", "audio")
EVERY = [
    (kind, dialect, language) for kind in KINDS for dialect in Scenario.dialects(kind) for language in ("zh", "en")
]


def spoken() -> list[Scenario]:
    """One scenario for each dialect, kind and language there is."""
    found = []
    for kind, dialect, language in EVERY:
        begun: Scenario = getattr(Scenario, kind)("a cat", n=2).dialect(dialect)
        try:
            found.append(begun.language(language))
        except ScenarioError:
            continue
    return found


SPOKEN = spoken()
PROMPTS = st.one_of(
    st.sampled_from(
        [
            "",
            "a cat",
            "图中形象在喝牛奶",
            'say "no"\n```\n> 生成失败 ❌',
            "https://in.example/a.png 下载 download",
            "{}",
        ]
    ),
    st.text(st.characters(codec="utf-8"), max_size=30),
)
REASONS = {
    "input_moderation": "moderation",
    "该任务的输入或者输出可能违反了OpenAI的相关服务政策": "moderation",
    "余额不足，请充值": "quota",
    "当前分组上游负载已饱和，请稍后再试": "overloaded",
    "Too many requests, slow down": "rate_limit",
    "上游任务超时": "timeout",
    "Request failed with status code 502": "upstream",
    "nothing delivered": "upstream",
    "未找到视频地址": "upstream",
    "missing token": "auth",
    "令牌不合法": "auth",
    "401 Unauthorized": "auth",
    "无可用渠道": "not_found",
    "prompt is required": "invalid_request",
    "用户额度不足": "quota",
    "no idea": "unknown",
}
"""What `meaning.md` says of them, by hand: the scenarios ask the reader."""
PERCENTS = st.one_of(
    st.integers(0, 100),
    st.floats(0, 100),
    st.integers(0, 1000).map(lambda tenths: tenths / 10),
    st.sampled_from([98.75, 99.5, 99.6, 0.00001, 100.0, 100 / 3]),
)
PROSE = st.sampled_from(
    [
        "I can't draw that person. Would you like someone else?",
        "抱歉我不能画这个。换一个好吗？",
        "First line.\n\nSecond line, at length",
    ]
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Scenarios over all dialects, languages, kinds, chains and ends."""
    base = draw(st.sampled_from(SPOKEN))
    scenario: Scenario = getattr(Scenario, base.intent.kind)(draw(PROMPTS), n=draw(st.integers(1, 3)))
    scenario = scenario.dialect(base.name)
    if draw(st.booleans()):
        scenario = scenario.language(base.intent.language or "zh")
    scenario = scenario.queue(draw(st.integers(0, 3))).generate(draw(st.integers(0, 3)))
    scenario = scenario.progress(*draw(st.lists(PERCENTS, max_size=4)))
    for call, arguments in (
        ("pace", st.tuples(st.sampled_from([0, 0.5, 20]))),
        ("stall", st.tuples(st.floats(0, 900))),
        ("retry", st.tuples(st.integers(1, 2))),
        ("signed", st.tuples(st.integers(0, 100))),
        ("silent", st.just(())),
        ("unlinked", st.just(())),
        ("detached", st.just(())),
        ("broken_fence", st.just(())),
        ("broken_echo", st.just(())),
    ):
        if draw(st.integers(0, 4)) == 0:
            try:
                scenario = getattr(scenario, call)(*draw(arguments))
            except ScenarioError:
                continue  # this dialect cannot
    reasons = st.sampled_from(list(REASONS))
    ends = ["", "complete", "results", "fail", "fail()"]
    end = draw(st.sampled_from(ends if scenario.intent.detached else [*ends, "refuse", "cut", "error"]))
    match end:
        case "complete" | "cut":
            return getattr(scenario, end)()  # type: ignore[no-any-return]
        case "results":
            return scenario.results(draw(st.integers(1, scenario.intent.n)))
        case "fail":
            return scenario.fail(draw(reasons))
        case "fail()":
            return scenario.fail()
        case "refuse":
            return scenario.refuse(draw(PROSE))
        case "error":
            return scenario.error(draw(reasons), draw(st.sampled_from(["server_error", "insufficient_user_quota"])))
    return scenario


def told(task: tickertape.Task) -> dict[str, Any]:
    """A task as data, without the envelope."""
    return {key: value for key, value in task.as_dict().items() if key != "envelope"}


def parsed(reply: Reply | None) -> tickertape.Task:
    assert reply is not None
    return tickertape.parse_response(body_of(reply))


def status(reply: Reply | None) -> int:
    head = head_of(reply or ())
    assert head is not None
    return head.status


# -- what is written is read back ---------------------------------------------------------------


@MANY
@given(scenarios(), st.integers(0, 1 << 30), st.integers(0, 99))
def test_what_a_scenario_writes_is_read_back_as_intended(scenario: Scenario, seed: int, number: int) -> None:
    job = scenario.bind("https://relay.example", seed=seed, number=number)
    assert told(tickertape.parse(job.content)) == job.expected_content
    parser = tickertape.Parser()
    for _, delta in job.deltas:
        parser.feed(delta)
    parser.close()
    assert told(parser.task) == job.expected_content
    assert read(cut(job.content, seed)) == read([job.content])
    assert told(parsed(job.reply(stream=True, include_usage=True, model="m"))) == job.expected


def ticks(scenario: Scenario) -> list[float]:
    """The percentages that a reader must find."""
    told = scenario.intent.end != "refuse" and not scenario.intent.detached
    silent = ["gpt-image-2", "runway", "veo3", "dalle", "flux", "nano-banana", "jimeng", "suno", "domo"]
    return list(scenario.intent.progress) if told and scenario.name not in silent else []


@MANY
@given(scenarios())
def test_percentages_are_read_back_as_they_were_given(scenario: Scenario) -> None:
    assert list(parsed(scenario.bind().reply(stream=True)).progress) == ticks(scenario)


@given(st.lists(PERCENTS))
def test_a_percentage_is_kept_to_sixteen_decimals(percents: list[float]) -> None:
    assert Scenario.image("x").progress(*percents).intent.progress == tuple(
        pytest.approx(p, abs=1e-16) for p in percents
    )
    assert Scenario.image("x").progress(100 / 3, 0.1, 98.7, 1).intent.progress == (100 / 3, 0.1, 98.7, 1)


@FEW
@given(scenarios())
def test_a_whole_answer_says_what_the_stream_says(scenario: Scenario) -> None:
    job = scenario.bind()
    task = told(parsed(job.reply(stream=False, model="m")))
    if scenario.intent.end == "error":
        # Nothing but the error: gateways drop what they had.
        assert (task["status"], task["error"], task["task_id"]) == ("failed", job.expected["error"], None)
    else:
        assert task == job.expected


@FEW
@given(scenarios())
def test_a_repr_evaluates_back(scenario: Scenario) -> None:
    again = eval(repr(scenario), {"Scenario": Scenario})
    assert again == scenario
    assert hash(again) == hash(scenario)
    assert repr(again) == repr(scenario)


@FEW
@given(scenarios())
def test_times_never_fall_and_every_number_is_another_job(scenario: Scenario) -> None:
    job, same, other = (scenario.bind(seed=3, number=n) for n in (0, 0, 1))
    times = [write.t for write in job.writes]
    assert times == sorted(times)
    assert times[-1:] <= [job.duration]
    assert job.content == same.content
    assert job.urls == same.urls
    assert not set(job.urls) & set(other.urls)
    for frames in (job.reply(stream=True), job.reply(stream=False)):
        steps = [step.t for step in frames]
        assert steps == sorted(steps)


@pytest.mark.parametrize("scenario", SPOKEN, ids=lambda s: f"{s.name}-{s.intent.kind}-{s.intent.language}")
def test_every_dialect_delivers_in_every_language(scenario: Scenario) -> None:
    job = scenario.progress(48).bind()
    task = parsed(job.reply(stream=True))
    assert task.status == "completed"
    assert {result.kind for result in task.results} >= {scenario.intent.kind}
    assert not any(isinstance(event, tickertape.events.Unknown) for event in task.events)
    for result in task.results:
        assert status(job.answer(result.url, job.duration)) == 200


def test_every_folder_of_the_gallery_that_is_a_family_is_a_dialect() -> None:
    from pathlib import Path

    folders = {path.name for path in (Path(__file__).parent.parent / "fixtures").iterdir() if path.is_dir()}
    assert set(Scenario.dialects()) == folders - {"spec", "fatal", "errors", "poll", "proxies"}


# -- what each word of the chain does --------------------------------------------------------------


def test_the_first_example_fails_for_moderation() -> None:
    job = Scenario.image("a cat", n=2).progress(14, 48).fail("input_moderation").bind()
    task = tickertape.parse(job.content)
    assert (task.status, task.progress, task.results) == ("failed", (14, 48), ())
    assert task.error is not None
    assert (task.error.category, task.error.code) == ("moderation", "input_moderation")
    assert task.parameters == {"prompt": "a cat", "ratio": "1:1", "n": 2}


@pytest.mark.parametrize(("reason", "category"), REASONS.items())
def test_a_reason_has_the_category_that_its_words_say(reason: str, category: str) -> None:
    assert Scenario.image("x").fail(reason).bind().expected["error"]["category"] == category


def test_a_request_id_is_no_part_of_the_message() -> None:
    job = Scenario.video("x").fail("upstream said no (request id: 2026ab)").bind()
    assert job.expected["error"]["message"] == "upstream said no"
    assert told(tickertape.parse(job.content)) == job.expected


def test_queue_and_generate_write_a_dot_a_poll_at_the_pace() -> None:
    job = Scenario.image("x").queue(3).generate(4).pace(10).bind()
    assert "排队中...\n" in job.content
    assert "生成中....\n" in job.content
    assert [t for t, text in job.deltas if text == "."] == [30, 40, 50, 70, 80, 90, 100]


def test_a_ten_minute_video_takes_ten_minutes() -> None:
    job = Scenario.video("x").queue(3).generate(4).progress(*range(5, 100, 5)).pace(20).bind()
    assert job.duration == 600
    assert len(job.expected["progress"]) == 19


def test_a_stall_is_a_silence_before_the_end() -> None:
    calm, stalled = (s.bind() for s in (Scenario.image("x").progress(99), Scenario.image("x").progress(99).stall(600)))
    assert stalled.duration == calm.duration + 600
    assert stalled.deltas[-1][0] - stalled.deltas[-2][0] == 600 + stalled.pace
    assert [text for _, text in stalled.deltas] == [text for _, text in calm.deltas]


def test_a_queue_of_none_is_never_told() -> None:
    for scenario in (Scenario.video("x").queue(0), Scenario.audio("x").queue(0)):
        job = scenario.detached().bind()
        assert job.expected["task_id"] == job.task_id
        assert job.expected["stages"] == []
        assert job.status_at(job.deltas[-1][0]) == "in_progress"
        assert scenario.bind().expected["stages"] == ["generating"]
    assert Scenario.video("x").generate(0).bind().expected["stages"] == ["queued", "generating"]


def test_percentages_are_written_in_the_digits_they_were_given_in() -> None:
    job = Scenario.image("x").progress(48, 14.0, 98.7, 99.6, 0.00001, 100).bind()
    assert "48..14..98.7..99.6..0.00001..[100](" in job.content
    assert len(job.expected["previews"]) == 1
    foai = Scenario.image("x").dialect("foai").progress(48, 98.7, 98.75).bind().content
    assert [f"{told}%" in foai for told in ("48.0", "98.7", "98.75")] == [True] * 3
    assert Scenario.video("x").progress(57.1).detached().bind().progress_at(1e6) == 57.1


def test_percentages_may_fall() -> None:
    job = Scenario.video("x").progress(40, 80, 10, 60).bind()
    assert tickertape.parse(job.content).progress == (40, 80, 10, 60)


def test_a_retry_enters_its_stage_again_and_succeeds() -> None:
    task = tickertape.parse(Scenario.video("x").dialect("veo3").retry(2).bind().content)
    assert task.stages == ("queued", "generating", "generating", "generating", "optimizing")
    assert task.status == "completed"


def test_a_retry_may_be_announced_by_a_failure_that_is_none() -> None:
    job = Scenario.image("x").dialect("flow2api").retry().progress(96).bind()
    assert "生成失败" in job.content
    assert (job.expected["status"], job.expected["error"]) == ("completed", None)


def test_fewer_results_than_asked_for() -> None:
    job = Scenario.image("x", n=4).results(3).bind()
    task = tickertape.parse(job.content)
    assert task.parameters is not None
    assert (task.parameters["n"], len(task.results)) == (4, 3)


@pytest.mark.parametrize("scenario", SPOKEN, ids=lambda s: f"{s.name}-{s.intent.kind}-{s.intent.language}")
def test_every_dialect_delivers_as_many_as_were_asked_for(scenario: Scenario) -> None:
    results = tickertape.parse(scenario.bind().content).results
    assert len(results) == (2 * 3 if scenario.name == "suno" else 2)  # suno: a picture, a song and a clip of each


def test_it_may_finish_without_a_link_or_link_without_success() -> None:
    unlinked = tickertape.parse(Scenario.video("x").unlinked().bind().content)
    assert (unlinked.status, unlinked.results) == ("completed", ())
    silent = Scenario.video("x").silent().bind()
    assert "完成" not in silent.content
    assert tickertape.parse(silent.content).status == "completed"


def test_a_broken_fence_keeps_its_parameters_and_a_broken_echo_does_not() -> None:
    fence, echo = Scenario.image("x").broken_fence().bind(), Scenario.image("x").broken_echo().bind()
    assert fence.content.count("```") == 1
    assert fence.expected["parameters"]["prompt"] == "x"
    with pytest.raises(json.JSONDecodeError):
        json.loads(echo.content.split("```")[1].removeprefix("json"))
    assert (echo.expected["parameters"], echo.expected["status"]) == (None, "completed")


def test_a_refusal_is_prose_without_a_job() -> None:
    job = Scenario.image("x").queue(3).progress(5).refuse("I can't draw that.").bind()
    task = tickertape.parse(job.content)
    assert (task.status, task.stages, task.progress, task.task_id) == ("failed", (), (), None)
    assert task.error == tickertape.TaskError("text_only", None, "I can't draw that.")
    assert job.status_at(job.duration) == "failed"


def test_an_error_frame_ends_a_stream_that_began_well() -> None:
    reply = (
        Scenario.image("x")
        .progress(14)
        .error("当前分组上游负载已饱和", "insufficient_user_quota")
        .bind()
        .reply(stream=True)
    )
    frames = [step.data for step in reply if isinstance(step, Data)]
    assert json.loads(frames[-2][6:])["error"]["code"] == "insufficient_user_quota"
    assert frames[-1] == b"data: [DONE]\n\n"
    assert b'"stop"' not in body_of(reply)
    task = parsed(reply)
    assert (task.status, task.progress, task.error and task.error.category) == ("failed", (14,), "overloaded")


def test_a_cut_answer_has_the_status_and_no_link_and_no_ending() -> None:
    job = Scenario.video("x").progress(50).cut().bind()
    reply = job.reply(stream=True)
    assert job.content.endswith("sid: " + job.expected["ids"]["sid"])
    assert job.expected["results"] == []
    assert b"[DONE]" not in body_of(reply)
    assert b'"stop"' not in body_of(reply)
    assert (end_of(reply).t, end_of(reply).how) == (job.duration, "eof")
    source = parsed(job.answer(job.expected["links"]["source"], job.duration))
    assert source.status == "completed"
    assert status(job.answer(source.results[0].url, job.duration)) == 200


def test_a_detached_answer_ends_while_the_job_is_queued() -> None:
    job = Scenario.video("x").queue(1).progress(50).detached().bind()
    reply = job.reply(stream=True)
    assert body_of(reply).endswith(b"data: [DONE]\n\n")
    assert end_of(reply).t < job.duration
    assert (job.expected["status"], job.expected["stages"]) == ("incomplete", ["queued"])
    source = job.expected["links"]["source"]
    polled = [parsed(job.answer(source, t)) for t in (end_of(reply).t, job.duration - 1, job.duration)]
    assert [task.status for task in polled] == ["queued", "in_progress", "completed"]


def test_a_detached_answer_leaves_the_whole_queue_to_those_who_poll() -> None:
    job = Scenario.video("x").queue(3).generate(1).detached().bind()
    (_, last) = job.deltas[-1]
    end = end_of(job.reply(stream=True)).t
    assert last.endswith("> 排队中")
    source = job.expected["links"]["source"]
    assert [parsed(job.answer(source, end + 5 * poll)).status for poll in range(6)] == [
        *["queued"] * 4,
        "in_progress",
        "in_progress",
    ]


def test_the_source_counts_the_attempts_that_have_begun() -> None:
    job = Scenario.video("x").queue(1).generate(1).retry(2).bind()
    source = job.expected["links"]["source"]
    begun = [t for t, text in job.deltas if "生成中" in text]
    counts = [json.loads(body_of(job.answer(source, t) or ()))["retry_count"] for t in (0, *begun, job.duration)]
    assert counts == [0, 0, 1, 2, 2]


def test_reasoning_and_choices_go_where_the_family_writes_them() -> None:
    flow = Scenario.video("x").dialect("flow2api").progress(24, 87).bind()
    assert (flow.expected["progress"], flow.expected_content["progress"]) == ([24, 87], [])
    task = parsed(flow.reply(stream=True))
    assert task.envelope is not None
    assert task.envelope.reasoning == flow.reasoning
    frames = [
        json.loads(s.data[6:])
        for s in Scenario.image("x").dialect("jimeng").bind().reply(stream=True)[1:-2]
        if isinstance(s, Data)
    ]
    assert [f["choices"][0]["index"] for f in frames if f["choices"][0]["delta"].get("content")] == [0, 1]


def test_a_model_writes_the_echo_in_small_deltas_and_the_server_the_rest_at_once() -> None:
    deltas = [text for _, text in Scenario.video("x").progress(5).bind().deltas]
    middle = deltas.index("")
    assert all(1 <= len(text) <= 3 for text in deltas[:middle])
    assert "> ID:" in deltas[middle + 1]
    assert deltas[middle + 1].endswith("排队中")
    assert "生成完成" in deltas[-1]
    assert "在线播放" in deltas[-1]


def test_every_method_gives_a_new_scenario() -> None:
    begun = Scenario.image("x")
    begun.progress(5).fail("no")
    assert begun == Scenario.image("x")
    assert len({begun, Scenario.image("x"), begun.pace(1)}) == 2


# -- the world --------------------------------------------------------------------------------------


@given(scenarios(), st.floats(0, 1.2))
def test_the_source_tells_how_the_job_goes_on(scenario: Scenario, part: float) -> None:
    job = scenario.bind()
    t = job.duration * part
    (source,) = (url for url, role in job.urls.items() if role == "source")
    task = parsed(job.answer(source, t))
    assert task.status == job.status_at(t)
    assert task.task_id == job.task_id
    percent = job.progress_at(t) if task.status == "in_progress" else None
    assert task.progress == (() if percent is None else (pytest.approx(percent, rel=1e-15),))
    assert [result.url for result in task.results] == job.results_at(t)
    if task.status == "failed":
        assert task.error is not None
        assert task.error.message == scenario.intent.reason  # which may be none: relays fail without a word


def test_a_failed_job_says_failed_and_why_behind_its_source_too() -> None:
    job = Scenario.video("x").fail("input_moderation").bind()
    task = parsed(job.answer(job.expected["links"]["source"], job.duration))
    assert task.status == "failed"
    assert task.error is not None
    assert (task.error.category, task.error.message) == ("moderation", "input_moderation")


@FEW
@given(scenarios())
def test_every_link_answers_and_media_only_when_they_are_ready(scenario: Scenario) -> None:
    job = scenario.bind()
    for url, role in job.urls.items():
        now = status(job.answer(url, job.duration))
        if role in ("web", "source"):
            assert (now, status(job.answer(url, 0.0))) == (200, 200)
        elif role != "preview":
            assert now == (403 if scenario.intent.signed == 0 else 200)
            assert status(job.answer(url, job.duration - 0.01)) == 404 or job.duration < 0.01
    linked = [r[key] for r in job.expected["results"] for key in ("url", "download_url", "poster_url") if r[key]]
    assert {*linked, *job.expected["previews"], *job.expected["links"].values()} <= set(job.urls)


def opened(job: Job, url: str) -> Any:
    reply = job.answer(url, job.duration)
    head = head_of(reply or ())
    assert head is not None
    assert reply is not None
    assert head.status == 200
    content_type, data = dict(head.headers)["content-type"], body_of(reply)
    if content_type.startswith("image/"):
        picture = Image.open(io.BytesIO(data))
        picture.load()
        assert picture.get_format_mimetype() == content_type
        return data
    with av.open(io.BytesIO(data), "r") as container:
        assert list(container.decode(video=0) if content_type == "video/mp4" else container.decode(audio=0))
    return data


@pytest.mark.parametrize("scenario", SPOKEN, ids=lambda s: f"{s.name}-{s.intent.kind}-{s.intent.language}")
def test_results_are_files_that_decode_and_no_two_are_equal(scenario: Scenario) -> None:
    job = scenario.bind()
    files = [opened(job, result["url"]) for result in job.expected["results"]]
    assert len(set(files)) == len(files)
    for result, data in zip(job.expected["results"], files, strict=True):
        if result["download_url"]:
            assert opened(job, result["download_url"]) == data
        if result["poster_url"]:
            assert opened(job, result["poster_url"]) != data


def test_a_signed_link_expires_with_azures_words() -> None:
    job = Scenario.image("x").signed(expires=60).bind()
    (result,) = job.expected["results"]
    assert "sig=REDACTED" in result["url"]
    assert status(job.answer(result["url"], job.duration + 59)) == 200
    late = job.answer(result["url"], job.duration + 60)
    assert late is not None
    assert status(late) == 403
    assert b"<Code>AuthenticationFailed</Code>" in body_of(late)
    assert status(job.answer(result["url"].partition("?")[0], job.duration)) == 403


def test_an_escaped_url_is_the_same_url_and_another_is_none() -> None:
    job = Scenario.video("x").dialect("veo3").bind()
    source = job.expected["links"]["source"]
    assert status(job.answer(source.replace("veo3-pro:", "veo3-pro%3A"), 0)) == 200
    assert job.answer("https://relay.example/cdn/20260102/other.mp4", 0) is None


def test_a_video_can_be_polled_as_openai_and_new_api_have_it() -> None:
    job = Scenario.video("x").progress(30, 60).bind()
    origin = "https://relay.example/v1"
    running = json.loads(body_of(job.answer(f"{origin}/videos/{job.task_id}", job.duration - 1) or ()))
    assert (running["object"], running["status"], running["progress"]) == ("video", "in_progress", 60)
    assert parsed(job.answer(f"{origin}/video/query?id={job.task_id}", job.duration)).status == "completed"
    content = f"{origin}/videos/{job.task_id}/content"
    assert status(job.answer(content, job.duration - 1)) == 404
    done = job.answer(content, job.duration)
    assert body_of(done or ()) == body_of(job.answer(job.expected["results"][0]["url"], job.duration) or ())
    assert job.answer(f"{origin}/videos/other", 0) is None


def test_urls_stand_under_the_origin() -> None:
    job = Scenario.video("x").bind("http://127.0.0.1:8123/")
    assert {urlsplit(url).netloc for url in job.urls} == {"127.0.0.1:8123"}


# -- mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: Scenario.image("x", n=0), "n: expected a whole number, 1 or more, found 0"),
        (lambda: Scenario.image(5), "prompt: expected a text, found 5"),  # type: ignore[arg-type]
        (lambda: Scenario.image("\ud83c"), "lone surrogate"),
        (lambda: Scenario.image("x").queue(True), "queue: expected a whole number, 0 or more, found True"),
        (lambda: Scenario.image("x").progress(101), "progress(101): expected numbers from 0 to 100"),
        (lambda: Scenario.image("x").progress(float("nan")), "progress(nan)"),
        (lambda: Scenario.image("x").pace(-1), "pace(-1): expected seconds"),
        (lambda: Scenario.image("x").stall(float("inf")), "stall(inf): expected seconds"),
        (lambda: Scenario.image("x").dialect("sora"), "no such dialect"),
        (lambda: Scenario.video("x").dialect("sora2"), "did you mean 'sora-2'?"),
        (
            lambda: Scenario.video("x").dialect("dalle"),
            "writes image, the scenario is of kind video; use one of sora-2",
        ),
        (lambda: Scenario.image("x").language("fr"), "expected one of zh, en"),
        (
            lambda: Scenario.image("x").dialect("dalle").language("en"),
            "dalle does not write it; use dialect gpt-image-1",
        ),
        (lambda: Scenario.image("x").language("en").dialect("dalle"), "dalle does not write it"),
        (lambda: Scenario.audio("x").language("en"), "suno does not write it; leave that call out"),
        (
            lambda: Scenario.video("x").dialect("veo3").broken_fence(),
            "veo3 writes no fence to break; use dialect sora-2",
        ),
        (lambda: Scenario.image("x").dialect("dalle").broken_echo(), "writes no fence with the request in it"),
        (lambda: Scenario.image("x").dialect("dalle").detached(), "dalle tells no id to go on with"),
        (lambda: Scenario.image("x").results(2), "more than the n=1 asked for"),
        (lambda: Scenario.image("x", n=2).results(1).fail("no"), "a job that fails delivers nothing"),
        (lambda: Scenario.image("x").detached().error("no"), "detached() and error(): the answer would end twice"),
        (lambda: Scenario.image("x").broken_echo().broken_fence(), "nobody could tell where the echo ends"),
        (lambda: Scenario.image("x").fail("no").complete(), "already ends with fail()"),
        (lambda: Scenario.image("x").fail(""), "begins with a word, found ''"),
        (lambda: Scenario.image("x").fail("a\nb"), "expected one line"),
        (lambda: Scenario.image("x").refuse(" no"), "begins with a word"),
        (lambda: Scenario.dialects("text"), "expected one of image, video, audio"),
    ],
)
def test_a_mistake_is_told_at_once_with_its_remedy(mistake: Any, words: str) -> None:
    with pytest.raises(ScenarioError) as told:
        mistake()
    assert words in str(told.value)
    assert isinstance(told.value, tickertape.TickertapeError)
    assert isinstance(told.value, ValueError)
