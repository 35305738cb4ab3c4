"""Scenarios: what is written is read back as intended, and the world behind it goes on as told."""

from __future__ import annotations

import io
import json
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tickertape
from tickertape.testing._relay import Relay
from tickertape.testing._script import dialects, models
from tickertape.testing._wire import Data, Reply, body_of, end_of, head_of
from tickertape.testing.scenario import Job, Scenario, ScenarioError

from .conftest import cut, read

if TYPE_CHECKING:
    from collections.abc import Callable

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
    "“血腥”内容违规": "moderation",
    "(code 3) no": "unknown",
    "`prompt` missing": "unknown",
    '{"code": 1, "msg": "x"}': "unknown",
    'x\nReason:\n```json\n{\n  "a": 1\n}\n```': "unknown",
    "no idea": "unknown",
}
"""What `meaning.md` says of them, by hand: the scenarios ask the reader."""
FRAGMENTS = (
    'the|request|failed|失败|重试|retry|again|。|.|,|，|：|:|(|)|"|“|”|`|429|50%|https://x.example/a.png|'
    '![a](https://x.example/a.png)|[a](https://x.example/a.mp4)|{"a": 1}|```|\\n|\n|\n\n|\n> |> |✅|❌|⚠️|完成|排队中|'
    "生成中|进度|ID: `task_1`|原因|Error|error: |queued|generating|(request id: 1)|sid: s_1|<b>|*|**|#|-|🎵|已|success|"
    "completed|正在|第 1 次|取消|…|...|\t|  |猫|I|n"
)
WORDS = st.lists(
    st.sampled_from(FRAGMENTS.split("|")) | st.text(st.characters(codec="utf-8"), max_size=3), min_size=1, max_size=5
).map("".join)
"""Reasons and prose, of which many read as something else."""
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
        "😔 抱歉，不行",
        "**Sorry**, no.",
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
    ends = ["", "complete", "results", "fail", "fail()"]
    end = draw(st.sampled_from(ends if scenario.intent.detached else [*ends, "refuse", "cut", "error"]))
    match end:
        case "complete" | "cut":
            return getattr(scenario, end)()  # type: ignore[no-any-return]
        case "results":
            return scenario.results(draw(st.integers(1, scenario.intent.n)))
        case "fail" | "refuse":
            told = draw(st.sampled_from(list(REASONS)) if end == "fail" else PROSE)
            for words in (draw(WORDS), told):
                try:
                    return getattr(scenario, end)(words)  # type: ignore[no-any-return]
                except ScenarioError:
                    continue  # read as something else
        case "fail()":
            return scenario.fail()
        case "error":
            message = draw(st.sampled_from(list(REASONS)) | WORDS.filter(str.strip))
            return scenario.error(message, draw(st.sampled_from(["server_error", "insufficient_user_quota"])))
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


@MANY
@given(st.sampled_from(SPOKEN), st.sampled_from(["fail", "refuse"]), WORDS)
def test_words_are_read_back_as_they_are_meant_or_refused(base: Scenario, end: str, words: str) -> None:
    try:
        scenario: Scenario = getattr(base, end)(words)
    except ScenarioError:
        return
    task = tickertape.parse(scenario.bind().content)
    assert (task.status, task.results, task.progress) == ("failed", (), ())
    assert task.error is not None
    assert (task.error.category == "text_only") == (end == "refuse")
    plain = words.strip()
    # Marks that quote a line or the whole, and a request id, are no part of the message.
    if not any(mark in words for mark in ("request id", "\n>", "\n ", "\n\t")) and plain[0] not in "\"“`'":
        assert (task.error.message or "").rstrip('。."”') == plain.rstrip('。."”')


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


@pytest.mark.parametrize(
    ("reason", "message"),
    [("  padded it ", "padded it"), ('"quoted words"', "quoted words"), ("line one\n> line two", "line one\nline two")],
)
def test_what_a_reader_takes_off_is_no_part_of_the_message(reason: str, message: str) -> None:
    assert tickertape.parse(Scenario.image("x").fail(reason).bind().content).error == tickertape.TaskError(
        "unknown", None, message
    )


@pytest.mark.parametrize(
    "text", ["😔 抱歉，不行", "**Sorry**, no.", " no", "`prompt` is what I need", "First.\n\nSecond."]
)
def test_prose_may_be_written_in_any_way_that_reads_as_prose(text: str) -> None:
    error = tickertape.parse(Scenario.image("x").refuse(text).bind().content).error
    assert error == tickertape.TaskError("text_only", None, text.strip())


@pytest.mark.parametrize(
    ("message", "code", "category"),
    [
        ("x", "insufficient_quota", "quota"),
        ("missing token", "server_error", "auth"),
        ("当前分组上游负载已饱和", "insufficient_user_quota", "overloaded"),
        ("两行\n  ```> 生成完成```", "server_error", "upstream"),
        (" a\\nb", "custom thing", "unknown"),
    ],
)
def test_an_error_says_anything_for_it_travels_in_json(message: str, code: str, category: str) -> None:
    job = Scenario.image("x").error(message, code).bind()
    for stream in (True, False):
        assert parsed(job.reply(stream=stream)).error == tickertape.TaskError(category, code, message.strip())  # type: ignore[arg-type]
    assert job.expected["error"]["category"] == category


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


@pytest.mark.parametrize("scenario", SPOKEN, ids=lambda s: f"{s.name}-{s.intent.kind}-{s.intent.language}")
def test_without_a_link_it_is_completed_where_the_dialect_has_a_success_line(scenario: Scenario) -> None:
    table = dialects()[scenario.name][str(scenario.intent.language)]
    for end, lines in ((scenario.cut(), ["success"]), (scenario.unlinked(), ["success", "closing"])):
        says_so = any(line in table for line in lines)
        assert tickertape.parse(end.bind().content).status == ("completed" if says_so else "incomplete")


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


def test_what_holds_anyway_makes_no_other_scenario() -> None:
    begun = Scenario.image("x")
    for same in (begun.complete(), begun.dialect("gpt-image-1.5"), begun.queue(1), begun.progress()):
        assert (same, hash(same), repr(same)) == (begun, hash(begun), repr(begun))


@pytest.mark.parametrize(
    ("kind", "model", "dialect"),
    [
        *[
            ("video", name, "sora-2")
            for name in ("sora2", "SORA-2", "sora-2-pro", "sora-2-hd-15s-chat", "asyncdata-sora2")
        ],
        *[("video", name, "veo3") for name in ("veo", "veo2", "Veo3.1-fast", "veo3.1-pro-frames")],
        *[
            ("video", name, "runway")
            for name in ("sora1", "sora-9:16-480p-5s", "vidu", "luma", "cogvideo", "cogvideox")
        ],
        *[("video", name, "foai") for name in ("FOAI", "sora_video2-landscape-hd")],
        *[("video", name, "flow2api") for name in ("sora2api", "sora2-landscape-10s", "flow")],
        *[("video", name, "grok") for name in ("grok-imagine", "grok2api", "grok-imagine-1.0")],
        *[
            ("image", name, "gpt-image-1")
            for name in ("gpt-4o-image", "gpt-4o-image-vip", "sora_image", "asyncdata-image")
        ],
        *[("image", name, "gpt-image-1-vip") for name in ("asyncdata-image (percent)", "gpt-image-1-vip")],
        ("image", "gpt-image-1.5", "gpt-image-1.5"),
        ("image", "4o-all", "gpt-4o-all"),
        ("image", "openai-image-2-4k", "gpt-image-2"),
        *[("image", name, "dalle") for name in ("dall-e-3", "gpt-4-dalle", "gpt-4-all", "GPTs")],
        *[("image", name, "midjourney") for name in ("mj-chat", "mjplus", "midjourney chat")],
        *[("image", name, "flux") for name in ("flux-pro", "mjweb")],
        *[("image", name, "nano-banana") for name in ("gemini-2.5-flash-image", "nano-banana-pro", "bare image")],
        *[("image", name, "jimeng") for name in ("jimeng-3.0", "jimeng-free-api")],
        ("audio", "suno-v3", "suno"),
        ("video", "domo", "domo"),
    ],
)
def test_a_dialect_may_be_named_by_its_models(kind: str, model: str, dialect: str) -> None:
    begun: Scenario = getattr(Scenario, kind)("x")
    named = begun.dialect(model)
    assert named.name == dialect
    assert named == begun.dialect(dialect)
    assert repr(named) == repr(begun.dialect(dialect))


def test_no_model_is_listed_twice_or_in_capitals() -> None:
    listed = [(model, name) for name, table in dialects().items() for model in (name, *table.get("models", ()))]
    assert dict(listed) == models()
    assert len(models()) == len(listed)
    assert [model for model in models() if model != model.lower()] == []


# -- when it is refused -----------------------------------------------------------------------------


def test_the_order_of_the_chain_does_not_decide() -> None:
    told = Scenario.image("x").language("en").detached().dialect("gpt-image-1-vip")
    assert told == Scenario.image("x").dialect("gpt-image-1-vip").detached().language("en")
    assert told.bind().expected["task_id"]


def test_what_cannot_be_written_does_not_wait_for_the_first_request() -> None:
    undecided = Scenario.image("x").language("en").detached()
    relay = Relay()
    for late in (undecided.bind, partial(relay.play, undecided)):
        with pytest.raises(ScenarioError, match=r"gpt-image-1.5 in 'en' tells no id .*; use dialect gpt-image-1-vip$"):
            late()
    assert relay.plays == []
    at_once: list[Callable[[], Scenario]] = [
        Scenario.image("x").dialect("gpt-image-1.5").language("en").detached,
        partial(undecided.dialect, "gpt-image-1.5"),
        Scenario.audio("x").broken_fence,  # which no dialect of its kind can
    ]
    for call in at_once:
        with pytest.raises(ScenarioError):
            call()


def test_words_may_be_for_another_dialect() -> None:
    begun = Scenario.video("x").fail("失败原因：busy")
    assert tickertape.parse(begun.bind().content).error == tickertape.TaskError("unknown", None, "失败原因：busy")
    with pytest.raises(ScenarioError, match=r"error 'busy' .* write fail\('busy'\) or use dialect sora-2$"):
        begun.dialect("veo3")


@pytest.mark.parametrize("dialect", ["flux", "gpt-4o-all", "nano-banana"])
@pytest.mark.parametrize(
    "reason", ["正在重试", "失败原因：input_moderation", "a\\nb", "I*", "request![a](https://x/a.png)"]
)
def test_a_reason_that_reads_as_something_else_is_refused(dialect: str, reason: str) -> None:
    with pytest.raises(ScenarioError, match=rf"^fail\(.*: a reader of {dialect} takes it for .* instead of .*; write "):
        Scenario.image("x").dialect(dialect).fail(reason)


@pytest.mark.parametrize(
    "text", ["生成完成", "Done", "很抱歉，图片生成失败，请稍后再试。", "queued", "http://e.example/a.png", '{"a": 1}']
)
@pytest.mark.parametrize("begun", [Scenario.image("x"), Scenario.video("x"), Scenario.video("x").dialect("veo3")])
def test_prose_that_reads_as_something_else_is_refused(begun: Scenario, text: str) -> None:
    with pytest.raises(ScenarioError, match=r"^refuse\(.* takes it for "):
        begun.refuse(text)


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
        reason = scenario.intent.reason  # which may be none: relays fail without a word
        assert task.error.message == (reason and reason.partition("(request id")[0].strip())


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
        (lambda: Scenario.image("x", n=0), "n: expected a whole number, 1 or more, found 0; write n=2"),
        (lambda: Scenario.image(5), "prompt: expected a text, found 5"),  # type: ignore[arg-type]
        (lambda: Scenario.image("\ud83c"), "lone surrogate"),
        (
            lambda: Scenario.image("x").queue(True),
            "queue: expected a whole number, 0 or more, found True; write queue(2)",
        ),
        (lambda: Scenario.image("x").progress(101), "progress(101): expected numbers from 0 to 100"),
        (lambda: Scenario.image("x").progress(float("nan")), "progress(nan)"),
        (lambda: Scenario.image("x").progress([14, 48]), "write progress(*[14, 48])"),  # type: ignore[arg-type]
        (lambda: Scenario.image("x").pace(-1), "pace(-1): expected seconds, 0 or more; write pace(2.5)"),
        (lambda: Scenario.image("x").stall(float("inf")), "stall(inf): expected seconds, 0 or more; write stall(2.5)"),
        (lambda: Scenario.image("x").signed("x"), "signed('x'): expected seconds, 0 or more; write signed(2.5)"),  # type: ignore[arg-type]
        (
            lambda: Scenario.image("x").dialect("sora"),
            "no such dialect; did you mean 'sora-2'? It writes video; begin with Scenario.video(…), or use one of gpt-",
        ),
        (lambda: Scenario.video("x").dialect("sroa-2"), "did you mean 'sora-2'?"),
        (lambda: Scenario.video("x").dialect(2), "dialect(2): no such dialect; use one of sora-2"),  # type: ignore[arg-type]
        (
            lambda: Scenario.video("x").dialect("dall-e-3"),
            "kind video, this dialect writes image; begin with Scenario.image(…), or use one of sora-2",
        ),
        (lambda: Scenario.audio("x").dialect("veo"), "writes video; begin with Scenario.video(…)"),
        (lambda: Scenario.image("x").language("fr"), "expected one of zh, en"),
        (
            lambda: Scenario.image("x").dialect("dalle").language("en"),
            "language('en'): dalle writes only 'zh'; use dialect gpt-image-1",
        ),
        (lambda: Scenario.image("x").language("en").dialect("dalle"), "language('en'): dalle writes only 'zh'"),
        (lambda: Scenario.audio("x").language("en"), "language('en'): suno writes only 'zh'; leave that call out"),
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
        (lambda: Scenario.image("x").complete().fail("no"), "already ends with complete()"),
        (lambda: Scenario.image("x").complete().complete(), "already ends with complete()"),
        (lambda: Scenario.image("x").fail(""), "expected a text, found ''; write some words, or fail()"),
        (lambda: Scenario.image("x").fail(" \n"), "expected a text, found ' \\n'; write some words"),
        (lambda: Scenario.image("x").fail("(request id: 1)"), "found '(request id: 1)'; write some words"),
        (lambda: Scenario.image("x").refuse(" \n> "), "refuse: expected a text, found ' \\n> '; write some words"),
        (lambda: Scenario.image("x").refuse(" "), "refuse: expected a text, found ' '"),
        (lambda: Scenario.image("x").error("no", ""), "error: expected a text, found ''"),
        (
            lambda: Scenario.image("x").error("no", "ok"),
            "error(code='ok'): to a reader this code says that there is no",
        ),
        (lambda: Scenario.dialects("text"), "expected one of image, video, audio"),
    ],
)
def test_a_mistake_is_told_at_once_with_its_remedy(mistake: Any, words: str) -> None:
    with pytest.raises(ScenarioError) as told:
        mistake()
    assert words in str(told.value)
    assert isinstance(told.value, tickertape.TickertapeError)
    assert isinstance(told.value, ValueError)
