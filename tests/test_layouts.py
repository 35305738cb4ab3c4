"""Layouts that relays, models and what passes texts on make of a stream: one line, broken echoes, odd labels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import tickertape

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.events import Event

    EventsOf = Callable[[str], list[Event]]


def task(events_of: EventsOf, text: str) -> tickertape.Task:
    events_of(text)  # in every way it can arrive
    return tickertape.parse(text)


# -- the echo, broken -------------------------------------------------------------------------------

AFTER = "> ID: `task_01`\n> 排队中.\n> 生成失败: 超时\n"


@pytest.mark.parametrize("rest", ["}", ",", ";", " // as asked", "\nok", "\n// as asked", "}\n\n"])
def test_a_fence_closes_after_whatever_the_model_wrote_behind_the_echo(rest: str, events_of: EventsOf) -> None:
    read = task(events_of, f'```json\n{{"prompt": "y"}}{rest}\n```\n{AFTER}')
    assert (read.status, read.task_id, read.stages) == ("failed", "task_01", ("queued",))
    assert read.error == tickertape.TaskError("timeout", None, "超时")
    assert read.parameters == {"prompt": "y"}


def test_a_fence_that_was_never_closed_hides_no_status(events_of: EventsOf) -> None:
    assert task(events_of, f'```json\n{{"prompt": "y"}}\n{AFTER}').status == "failed"


@pytest.mark.parametrize(
    "echo",
    [
        '```json\n{"prompt": "a cat\nin a hat ![x](https://in.example/a.png)",\n "n": 1}\n```',
        '```json\n{\n  "prompt": "a cat\n![x](https://in.example/a.png)\n```inline``` > 生成失败",\n  "n": 1\n}\n```',
        '{\n  "prompt": "a cat\nin a hat ![x](https://in.example/a.png)",\n  "n": 1\n}',
        '{\n  "prompt": "a cat\n![x](https://in.example/a.png)"\n}',
        "{'prompt': '![x](https://in.example/a.png)'}",
        "{“prompt”: “![x](https://in.example/a.png)”}",
        '```json\n{"prompt": "a cat,\n  "image": "https://in.example/a.png"\n}\n```',
    ],
)
def test_what_a_broken_echo_holds_is_no_result(echo: str, events_of: EventsOf) -> None:
    read = task(events_of, f"{echo}\n> ID: `task_01`\n> 排队中.\n")
    assert (read.status, read.task_id, read.stages) == ("incomplete", "task_01", ("queued",))
    assert read.results == ()


@pytest.mark.parametrize("prompt", ["a cat\nin a hat", "a cat\n\tin a hat, 3 > 2", "一只猫\n视频风格：水墨"])
def test_a_string_of_an_echo_of_several_lines_goes_on_over_line_ends(prompt: str, events_of: EventsOf) -> None:
    read = task(events_of, f'{{\n  "prompt": "{prompt}",\n  "n": 1\n}}\n> ID: `task_01`\n')
    assert (read.status, read.task_id, read.ids, read.parameters) == ("incomplete", "task_01", {}, None)
    assert [type(event).__name__ for event in read.events] == ["Parameters", "LineEnd", "TaskId", "LineEnd"]


@pytest.mark.parametrize(
    "line", ["> ID: `task_01`", ">🕐 排队中...", "生成失败: 超时", "![a](https://a.example/a.png)"]
)
@pytest.mark.parametrize("text", ["a cat", 'a cat, "n": 2}', '5\'11" tall", "n": 2}'])
def test_a_string_that_was_never_closed_ends_where_its_line_does(text: str, line: str, events_of: EventsOf) -> None:
    alone = [type(event).__name__ for event in events_of(f"{line}\n")]
    found = [type(event).__name__ for event in events_of(f'{{"prompt": "{text}\n{line}\n')]
    assert found == ["Parameters", "LineEnd", *alone]


@pytest.mark.parametrize("word", ["生成失败", "生成失败，还有", "Generating", "生成完成", "正在重试", "预览视频"])
@pytest.mark.parametrize(
    "form", ['{{"prompt": "she said "{}" and left", "n": 1}}', '{{\n"prompt": "she said "{}" and left",\n"n": 1\n}}']
)
def test_a_word_between_unescaped_quotes_decides_nothing(form: str, word: str, events_of: EventsOf) -> None:
    for end in ("\n", " ", "\\n"):
        read = task(events_of, f"{form.format(word)}{end}> 排队中\n")
        assert (read.status, read.stages, read.error) == ("incomplete", ("queued",), None)


def test_an_echo_that_breaks_off_is_no_prose_wherever_it_is_cut(events_of: EventsOf) -> None:
    echo = '{"prompt": "a \\"cat\\" \\\\ in C:\\\\x \\u4e2d", "n": 1'
    for end in range(2, len(echo)):
        assert task(events_of, echo[:end]).status == "incomplete", echo[:end]


# -- a message that has lost its line ends ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("> 生成失败：额度不足 > ID: `task_01` > sid: s_1", "额度不足"),
        ("> ❌ 生成失败：超时 >[数据预览](https://r.example/web/t) | [原始数据](https://r.example/source/t)", "超时"),
        ("> 生成失败 ❌ > 失败原因：input_moderation > ID: `task_01`", "input_moderation"),
        ("> Generation failed: timed out > ✅ Preview video generated", "timed out"),
        ("> 生成失败: a > b is wrong", "a > b is wrong"),
        ("> 生成失败: width must be > 512", "width must be > 512"),
    ],
)
def test_a_reason_ends_where_the_next_status_begins(text: str, message: str, events_of: EventsOf) -> None:
    read = task(events_of, text)
    assert read.error is not None
    assert read.error.message == message
    if "ID" in text:
        assert read.task_id == "task_01"
    if "web" in text:
        assert read.links == {"web": "https://r.example/web/t", "source": "https://r.example/source/t"}


def test_a_phrase_behind_a_failure_is_rendered_behind_it(events_of: EventsOf) -> None:
    events = events_of("> 生成失败 ❌ > Here you go!\n> 某种没有见过的话\n")
    again = events_of(tickertape.render(events))
    assert [type(event) for event in again] == [type(event) for event in events]
    assert [getattr(event, "text", None) for event in again] == [getattr(event, "text", None) for event in events]


# -- failures, spelt otherwise ------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["**错误**:", "**错误：**", "**失败**：", "**Error**:", "错误 ：", "**生成失败**："])
def test_a_label_may_be_bold(label: str, events_of: EventsOf) -> None:
    for mark in ("> ❌ ", "> ", ""):
        read = task(events_of, f"{mark}{label} 超时\n")
        assert read.error == tickertape.TaskError("timeout", None, "超时")


@pytest.mark.parametrize(
    "reason",
    ["`input_moderation`", '"input_moderation"', '"input_moderation"。', "「input_moderation」", "“input_moderation”"],
)
def test_quote_marks_around_a_reason_are_taken_off(reason: str, events_of: EventsOf) -> None:
    read = task(events_of, f"> 失败原因：{reason}\n")
    assert read.error == tickertape.TaskError("moderation", "input_moderation", "input_moderation")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("'it's broken'", "it's broken"),
        ('"He said "no""', 'He said "no"'),
        ("`a` or `b`", "`a` or `b`"),
        ('"a" or "b"', '"a" or "b"'),
        ("“a” 或 “b”", "“a” 或 “b”"),
        ("“「猫」违规”", "「猫」违规"),
        ("【审核】未通过", "【审核】未通过"),
        ("「猫」违规", "「猫」违规"),
        ("「猫」和「狗」", "「猫」和「狗」"),
        ("**blocked** now", "**blocked** now"),
        ("now **blocked**", "now **blocked**"),
        ("**blocked**", "blocked"),
        ("_blocked_ now", "_blocked_ now"),
    ],
)
def test_only_the_outer_quote_marks_are_taken_off(reason: str, message: str, events_of: EventsOf) -> None:
    error = task(events_of, f"> 生成失败: {reason}\n").error
    assert error is not None
    assert error.message == message


@pytest.mark.parametrize(
    "text", ["**生成失败：审核**", "**生成失败：**审核", "**生成失败**：审核", "生成失败：**审核**"]
)
def test_emphasis_that_began_at_the_failure_word_is_no_part_of_its_message(text: str, events_of: EventsOf) -> None:
    assert task(events_of, f"> {text}\n").error == tickertape.TaskError("unknown", None, "审核")


@pytest.mark.parametrize(
    "reason",
    [
        "failed after retrying 3 times",
        "failed after 3 retry attempts",
        "自动重试失败",
        "重试 3 次后仍失败",
        "重试 10 次后仍失败",
        "重试失败",
        "已重试 1 次",
        "不再自动重试",
        "all retries exhausted",
        "giving up after 3 retries",
        "请求太多，请 30 秒后重试",
        "建议 30 秒后重试",
        "请在 30 秒后重试",
        "自动重试次数已达上限",
        "已超过最大自动重试次数",
        "超时，已自动重试 3 次",
    ],
)
def test_a_failure_whose_retries_are_over_is_one(reason: str, events_of: EventsOf) -> None:
    for failure in (
        f"> 生成失败: {reason}\n",
        f"> Generation failed: {reason}\n",
        f"> ❌ 生成失败 > 失败原因：{reason}\n",
    ):
        read = task(events_of, failure)
        assert read.status == "failed"
        assert read.error is not None
        assert read.error.message == reason


@pytest.mark.parametrize(
    "line",
    [
        "自动重试失败",
        "多次重试后仍然失败",
        "重试次数已用完",
        "已达到最大重试次数",
        "All retries failed",
        "Retry failed",
    ],
)
def test_a_retry_that_failed_is_a_failure_and_its_own_message(line: str, events_of: EventsOf) -> None:
    for mark in ("> ", "> ❌ ", ""):
        assert task(events_of, f"{mark}{line}\n").error == tickertape.TaskError("unknown", None, line)


@pytest.mark.parametrize(
    "line",
    [
        "正在重试",
        "第 1 次重试",
        "第 1 次重试失败，正在重试",
        "生成失败，正在重试",
        "生成失败: 重试失败，正在重试",
        "生成失败，请稍候，正在重试",
        "生成失败，将在 5 秒后重试",
        "将在 5 秒后重试",
        "将在 10s 后自动重试...",
        "Retrying (1/3)",
        "Generation failed: retrying (1/3)",
        "生成失败，正在重试（最大重试次数: 3）",
        "生成失败，正在重试（重试次数 1/3）",
        "生成失败，正在重试（第 1 次，最大重试次数 3）",
        "生成失败，正在重试，已重试 2 次",
        "生成失败: 上游错误，正在进行第 2 次重试（已重试 1 次）",
        "生成失败，将自动重试（已重试 1 次）",
        "生成失败，请稍等正在重试",
        "生成失败，请稍候正在重试...",
        "生成失败，请等待自动重试",
        "生成失败，正在重试，重试失败将退款",
        "生成失败，正在重试，如 3 次后仍失败将放弃",
        "Generation failed, retrying (max retry attempts: 3)",
        "Generation failed. Retrying... retry attempts left: 2",
    ],
)
def test_a_notice_that_it_retries_is_no_verdict_and_no_prose(line: str, events_of: EventsOf) -> None:
    for mark in ("> ", "> ❌ ", ""):
        read = task(events_of, f"{mark}{line}\n")
        assert (read.status, read.error) == ("incomplete", None)


def test_the_reason_of_a_retry_that_is_counted_is_no_failure(events_of: EventsOf) -> None:
    for count in ("最大重试次数: 3", "重试次数 1/3"):
        for after in ("失败原因：timeout", "> 生成中.."):
            assert task(events_of, f"**生成失败，正在重试（{count}）**\n\n{after}\n").status == "incomplete"


def test_a_time_that_is_none_of_a_retry_is_prose(events_of: EventsOf) -> None:
    for line in ("将在 5 分钟内完成", "将在明天"):
        assert [type(event).__name__ for event in events_of(f"{line}\n")] == ["Text", "LineEnd"]


def test_a_reason_may_come_before_the_failure(events_of: EventsOf) -> None:
    read = task(events_of, "> 失败原因：input_moderation\n> 生成失败 ❌\n")
    assert read.error == tickertape.TaskError("moderation", "input_moderation", "input_moderation")
    read = task(events_of, "> 失败原因：input_moderation\n> 生成失败 ❌: 超时\n")
    assert read.error == tickertape.TaskError("timeout", None, "超时")


@pytest.mark.parametrize(
    ("message", "category"),
    [
        ("HTTP 500", "upstream"),
        ("HTTP500", "upstream"),
        ("500 错误", "upstream"),
        ("状态码：429，请稍后", "rate_limit"),
        ("(401)", "auth"),
        ("image 500x500 too small", "unknown"),
        ("提示词超过500字", "unknown"),
        ("提示词超过 400 字", "unknown"),
        ("only 502/1000 frames", "unknown"),
        ("task_500abc lost", "unknown"),
        ("at most 400 characters", "unknown"),
    ],
)
def test_a_number_is_a_status_where_it_counts_nothing_and_is_part_of_nothing(message: str, category: str) -> None:
    error = tickertape.parse(f"> 生成失败: {message}\n").error
    assert error is not None
    assert error.category == category


# -- a refusal ----------------------------------------------------------------------------------------

REFUSALS = [
    "Sorry, see [our policy](https://openai.com/policies).",
    "See [a](https://a.example/), [b](https://b.example/) (and [c](https://c.example/))!",
    "**[Our policy](https://a.example/)** says no.",
    "I can't draw that. Here is a better prompt:\n```\nA cat > a dog\n```\nShall I use it?",
    "```text\nA cat\n```\nShall I use it?",
    'I can\'t draw that. Shall I use this?\n```json\n{"prompt": "a cat"}\n```\nIt has no dog.',
    "No.\n\n---\n\n**Try again** later.",
    "Two ways:\n\n- a cat\n- a dog",
    "|was|is|\n|---|---|\n|a|b|\nShall I?",
    "The width must be > 512, not <512>",
    "See [brackets](https://a.example/wiki/Bracket_(mark)",
    "No, see https://a.example/rules\nhttps://b.example/rules",
]


@pytest.mark.parametrize("prose", REFUSALS)
@pytest.mark.parametrize(
    "echo",
    [
        "",
        '```json\n{"prompt": "y"}\n```\n\n',
        '{"prompt": "y"}\n',
        '```json\n{"prompt": "y\n```\n',
        '{"prompt": "y"}\n\n---\n\n',
    ],
    ids=["none", "fenced", "bare", "broken", "and a line"],
)
def test_a_refusal_is_told_as_the_model_wrote_it_without_the_echo(echo: str, prose: str, events_of: EventsOf) -> None:
    if not echo and '"prompt"' in prose:
        return  # then that is the echo
    read = task(events_of, echo + prose + "\n")
    assert (read.status, read.error) == ("failed", tickertape.TaskError("text_only", None, prose))
    for pieces in (list(echo + prose), [echo + prose]):
        parser = tickertape.Parser(history=False)
        for piece in pieces:
            parser.feed(piece)
        parser.close()
        assert parser.task.error == read.error


@pytest.mark.parametrize("text", ["---\n", "```\nA cat\n```\n", "|a|b|\n", "> ✅ 已接收到参数\n\n---\n"])
def test_what_holds_no_words_of_a_model_is_no_refusal(text: str, events_of: EventsOf) -> None:
    assert task(events_of, text).status == "incomplete"


# -- traditional characters ---------------------------------------------------------------------------


def test_a_stream_may_be_written_in_traditional_characters(events_of: EventsOf) -> None:
    text = (
        "> 任務ID: `task_01`\n>[數據預覽](https://r.example/w) | [原始資料](https://r.example/s)\n"
        ">🕐 排隊中...\n>⚡ 生成中..\n"
        ">🏃 進度 36..[100](https://r.example/p.webp)\n> 當前進度：45%\n> 🔄 正在優化視頻質量....\n> ✅ 生成完成\n"
        "> ✅ 預覽影片已生成\n[📺 預覽](https://r.example/q)\n> 最終結果\n"
        "![圖片1](https://r.example/1.webp)\n[線上播放▶️](https://r.example/v)\n[點擊下載](https://r.example/d)\n"
    )
    read = task(events_of, text)
    assert (read.status, read.task_id, read.stages) == ("completed", "task_01", ("queued", "generating", "optimizing"))
    assert (read.progress, read.links) == (
        (36, 100, 45),
        {"web": "https://r.example/w", "source": "https://r.example/s"},
    )
    assert read.results == (
        tickertape.Result("video", "https://r.example/v", "https://r.example/d", "https://r.example/1.webp"),
    )
    assert read.previews == ("https://r.example/p.webp", "https://r.example/q")


@pytest.mark.parametrize(
    ("text", "status", "stages"),
    [
        ("> 佇列中\n> 影片生成中...\n", "incomplete", ("queued", "generating")),
        ("> 處理中\n> 影片生成完成\n", "completed", ("generating",)),
        ("> 重試中\n", "incomplete", ()),
        ("> 生成失敗，正在重試\n", "incomplete", ()),
        ("⏳ 正在為您生成圖片，請稍候...\n", "incomplete", ("generating",)),
        ("> 任務已建立\n> 🎬 開始為您繪製圖片...\n", "incomplete", ("generating",)),
    ],
)
def test_a_status_in_traditional_characters(
    text: str, status: str, stages: tuple[str, ...], events_of: EventsOf
) -> None:
    read = task(events_of, text)
    assert (read.status, read.stages) == (status, stages)


@pytest.mark.parametrize(
    ("text", "message", "category"),
    [
        ("> 生成失敗 ❌\n> 失敗原因：內容違規\n", "內容違規", "moderation"),
        ("> 生成失敗: 額度不足 > 任務ID: `task_01`", "額度不足", "quota"),
        ("> 影片生成逾時\n", "影片生成逾時", "timeout"),
        ("> 請求失敗：無可用渠道\n", "無可用渠道", "not_found"),
        ("> 生成失敗：重試 3 次後仍失敗\n", "重試 3 次後仍失敗", "unknown"),
    ],
)
def test_a_failure_in_traditional_characters(text: str, message: str, category: str, events_of: EventsOf) -> None:
    error = task(events_of, text).error
    assert error is not None
    assert (error.message, error.category) == (message, category)


# -- statuses, set otherwise ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "stages"),
    [
        ("[排队中]", ("queued",)),
        ("> [生成中...]", ("generating",)),
        ("> 🕐 [Queued]", ("queued",)),
        ("> [排队中] [生成中]", ("queued", "generating")),
        ("> `生成中`", ("generating",)),
        ("> `排队中`...", ("queued",)),
        ("> `Generating...`", ("generating",)),
    ],
)
def test_a_stage_may_stand_in_brackets_or_in_backticks(line: str, stages: tuple[str, ...], events_of: EventsOf) -> None:
    read = task(events_of, f"{line}\n")
    assert (read.status, read.stages) == ("incomplete", stages)


@pytest.mark.parametrize(
    ("text", "stages", "progress"),
    [
        ("> 🚀 任务开始执行...\n> 🎨 正在绘制中...", ("generating", "generating"), ()),
        ("🎬 Your video is being generated...", ("generating",), ()),
        ("> [12:00:05] 生成中... 35%", ("generating",), (35,)),
        ("> 🔁 正在第 2 次重试，上次失败原因：超时\n> 生成中", ("generating",), ()),
        ("> 进度：[####------] 40%\n> ██████░░ 75%", (), (40, 75)),
        ("Progress: 10% → 20% → 30%", (), (10, 20, 30)),
        ("> 生成中 (35%)\n> 生成中 (70%)", ("generating",), (35, 70)),
        ("> 第 1/4 张 生成中...", ("generating",), ()),
    ],
)
def test_what_a_relay_may_say_of_its_work(
    text: str, stages: tuple[str, ...], progress: tuple[float, ...], events_of: EventsOf
) -> None:
    read = task(events_of, f"{text}\n")
    assert (read.status, read.stages, read.progress) == ("incomplete", stages, progress)


@pytest.mark.parametrize(
    ("line", "status", "stages"),
    [("> 生成中..[排队中]", "incomplete", ("generating",)), ("生成完成 [生成中]", "completed", ())],
)
def test_a_stage_in_brackets_after_a_status_is_none(
    line: str, status: str, stages: tuple[str, ...], events_of: EventsOf
) -> None:
    read = task(events_of, f"{line}\n")
    assert (read.status, read.stages) == (status, stages)


def test_so_may_a_verdict(events_of: EventsOf) -> None:
    for line in ("[生成完成]", "> [✅ 生成完成]", "> `生成完成` ✅", "> `✅ 生成完成`"):
        assert task(events_of, f"{line}\n").status == "completed"
    error = task(events_of, "> ❌ `生成失败`: 图片太大\n").error
    assert error == tickertape.TaskError("unknown", None, "图片太大")


@pytest.mark.parametrize(
    "text",
    ["Press [Generation complete] to go on.", "[Verse]", "Say `生成完成` to me.", "[生成完成的图](https://a.example/)"],
)
def test_brackets_and_backticks_in_prose_are_prose(text: str, events_of: EventsOf) -> None:
    read = task(events_of, f"{text}\n")
    assert (read.stages, read.error) == ((), tickertape.TaskError("text_only", None, text))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("已完成 3/4，1 张生成失败: timeout", "timeout"),
        ("已完成 1/2，生成失败: timeout", "timeout"),
        ("> 已完成 1/2 生成失败: timeout", "timeout"),
        ("> 已完成 3/4 张，1 张图片生成失败", "生成失败"),
        ("> 3 张图片生成失败", "3 张图片生成失败"),
    ],
)
def test_a_failure_after_a_count_is_one(line: str, message: str, events_of: EventsOf) -> None:
    read = task(events_of, f"{line}\n")
    assert read.error is not None
    assert (read.status, read.error.message) == ("failed", message)


def test_a_count_that_retries_is_no_verdict(events_of: EventsOf) -> None:
    for line in ("已完成 4/4，正在重试", "> 已完成 4/4 张（正在重试）", "Completed 4 of 4, retrying (1/3)"):
        read = task(events_of, f"{line}\n")
        assert (read.status, read.error) == ("incomplete", None)


def test_parts_that_fail_are_only_spoken_of(events_of: EventsOf) -> None:
    text = "3 张图片生成失败的原因不明。"
    assert task(events_of, text).error == tickertape.TaskError("text_only", None, text)


@pytest.mark.parametrize("line", ["Finished 1 of 4", "已完成 1 / 4", "已完成 1/4 张图片", "✅ Completed 2 of 4 images"])
def test_a_part_that_is_done_is_no_verdict(line: str, events_of: EventsOf) -> None:
    for mark in ("> ", ""):
        read = task(events_of, f"> 生成中\n{mark}{line}\n")
        assert (read.status, read.progress) == ("incomplete", ())
    assert task(events_of, "> 已完成 4/4\n").status == "completed"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("✅ 100% 完成", "completed"),
        ("✅ 100% completed", "completed"),
        ("✅ 100％ 完成", "completed"),
        ("100% 完成", "incomplete"),
        ("✅ 100%", "incomplete"),
        ("进度 100% 完成", "incomplete"),
    ],
)
def test_a_hundred_percent_is_a_verdict_where_a_check_mark_and_a_word_say_so(
    line: str, status: str, events_of: EventsOf
) -> None:
    for mark in ("> ", ""):
        read = task(events_of, f"{mark}{line}\n")
        assert (read.status, read.progress) == (status, (100,))
    read = task(events_of, "> ✅ 45% 完成\n")
    assert (read.status, read.progress) == ("incomplete", (45,))


# -- progress -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "progress"),
    [
        ("> 进度 35% (12s)", (35,)),
        ("> 进度 42% 12s", (42,)),
        ("> 进度 35% (2/4)", (35,)),
        ("> Progress 35% 1024x1024", (35,)),
        ("> 进度 3/10", ()),
        ("> 进度 36%..44%..61..", (36, 44, 61)),
        ("> 🏃 进度 36 44 61", (36, 44, 61)),
    ],
)
def test_numbers_beside_a_percentage_are_none(text: str, progress: tuple[float, ...], events_of: EventsOf) -> None:
    read = task(events_of, text + "\n")
    assert (read.progress, read.status) == (progress, "incomplete")


@pytest.mark.parametrize("tick", ["[**100**]", "[`100`]", "[ 100 ]", "![100]", "[100%]"])
def test_a_linked_hundred_is_a_tick_however_it_is_set(tick: str, events_of: EventsOf) -> None:
    read = task(events_of, f">🏃 进度 48..{tick}(https://r.example/p.png)\n")
    assert (read.progress, read.previews, read.status) == ((48, 100), ("https://r.example/p.png",), "incomplete")


def test_a_picture_described_by_a_percentage_is_a_tick(events_of: EventsOf) -> None:
    read = task(events_of, "> 开始绘制 ![12%](https://r.example/1.webp) ![50%](https://r.example/2.webp)\n")
    assert (read.progress, read.results) == ((12, 50), ())


# -- media --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("play", "save"), [("在线播放{}", "下载{}"), ("▶️ 在线观看 {}", "⏬ 下载视频 {}")])
def test_downloads_of_films_are_matched_by_number(play: str, save: str, events_of: EventsOf) -> None:
    lines = [f"[{play.format(n)}](https://r.example/{n}.mp4)" for n in (1, 2)]
    lines += [f"[{save.format(n)}](https://r.example/file/{n}0.mp4)" for n in (1, 2)]
    read = task(events_of, "\n".join(lines))
    assert [(each.url[-5:], each.download_url) for each in read.results] == [
        (f"{n}.mp4", f"https://r.example/file/{n}0.mp4") for n in (1, 2)
    ]


@pytest.mark.parametrize(
    ("play", "save"),
    [
        ("视频{}: [播放]", "下载{}: [点击]"),
        ("视频 {}：[播放]", "下载 {}：[点击这里]"),
        ("音频{}🎧: [点击播放]", "**下载{}**: [点击]"),
        ("Video {}: [Play]", "Download {}: [Click here]"),
        ("[播放{}]", "下载链接{}: [点击]"),
        ("视频{}: [播放]", "[下载{}]"),
        ("图片{}: ![]", "下载{}: [点击]"),
        ("![图{}]", "下载{}: [点击]"),
        ("![图片 {}]", "⏬ 下载{}: ![下载]"),
    ],
)
def test_downloads_are_matched_by_the_number_of_a_label_before_the_link(
    play: str, save: str, events_of: EventsOf
) -> None:
    lines = [f"{play.format(n)}(https://r.example/item/{n * 7})" for n in (1, 2, 3)]
    lines += [f"{save.format(n)}(https://r.example/file/{n * 9})" for n in (2, 1, 3)]
    read = task(events_of, "\n".join(lines))
    assert [(each.url, each.download_url) for each in read.results] == [
        (f"https://r.example/item/{n * 7}", f"https://r.example/file/{n * 9}") for n in (1, 2, 3)
    ]
    assert events_of(tickertape.render(read.events)) != []
    again = tickertape.parse(tickertape.render(read.events))
    assert again.results == read.results
    assert [getattr(event, "before", None) for event in again.events] == [
        getattr(event, "before", None) for event in read.events
    ]


@pytest.mark.parametrize("end", ["", "\n", "\n\n> 生成完成 ✅\n", "\r\n", "\\n> 生成完成"])
@pytest.mark.parametrize("name", ["a_(1.png", "(a.png", "a(b)_(c.png", "a_(.png"])
def test_a_bracket_that_stays_open_in_a_url_loses_no_image(name: str, end: str, events_of: EventsOf) -> None:
    url = f"https://r.example/{name}"
    assert [each.url for each in task(events_of, f"![a]({url}){end}").results] == [url]
    film = url.replace(".png", ".mp4")
    assert [each.url for each in task(events_of, f"[在线播放]({film}){end}").results] == [film]


@pytest.mark.parametrize("end", ["", "\n", "\n> 排队中"])
def test_a_url_that_broke_off_is_no_result_although_a_bracket_closed_in_it(end: str, events_of: EventsOf) -> None:
    for broken in ("![a](https://r.example/(1)", "![a](https://r.example/a.png", "[在线播放](https://r.example/(1)"):
        assert task(events_of, broken + end).results == ()


R = "https://r.example/"


@pytest.mark.parametrize(
    ("text", "results"),
    [
        (f"[![cover]({R}c.jpg)]({R}v.mp4)", [("video", f"{R}v.mp4", f"{R}c.jpg")]),
        (f"[![image]({R}x)]({R}x)", [("image", f"{R}x", None)]),
        (f"[![image]({R}x)](https://site.example/)", [("image", f"{R}x", None)]),
        ("[![image](/a.png)](/a.png)", [("image", "/a.png", None)]),
        (f"<{R}a.mp4>", [("video", f"{R}a.mp4", None)]),
        (f"> ✅ 生成完成\n> <{R}a.png>", [("image", f"{R}a.png", None)]),
        (f"> 🖼 ![c]({R}c.jpg)\n>\n> [在线播放▶️]({R}v)", [("video", f"{R}v", f"{R}c.jpg")]),
        (f"![a]({R}a.png)[放大]({R}page)", [("image", f"{R}a.png", None)]),
        (f"> 图片 1 生成完成\n> 图片 2 生成失败：超时\n![1]({R}1.png)", [("image", f"{R}1.png", None)]),
    ],
)
def test_media_as_markdown_may_set_them(
    text: str, results: list[tuple[str, str, str | None]], events_of: EventsOf
) -> None:
    read = task(events_of, f"{text}\n")
    assert [(each.kind, each.url, each.poster_url) for each in read.results] == results
    assert read.status == "completed"


def test_a_url_in_angle_brackets_inside_a_sentence_is_text(events_of: EventsOf) -> None:
    text = f"Visit <{R}a.mp4> or <{R}> today."
    assert task(events_of, text).error == tickertape.TaskError("text_only", None, text)


def test_a_labelled_image_after_a_tick_is_a_result(events_of: EventsOf) -> None:
    read = task(events_of, f">🏃 进度 100% 图片: ![]({R}1.png)\n")
    assert ([each.url for each in read.results], read.previews) == ([f"{R}1.png"], ())
    read = task(events_of, f">🏃 进度 100% ![]({R}1.png)\n")
    assert (read.results, read.previews) == ((), (f"{R}1.png",))


@pytest.mark.parametrize("end", [" > ", " >", " > \n", "\n> \n"])
def test_a_quote_mark_that_nothing_follows_is_no_part_of_a_refusal(end: str, events_of: EventsOf) -> None:
    for text in ("我做不到。 > 换一个吧。", "I can't > do", "No <b>way</b>"):
        assert task(events_of, text + end).error == tickertape.TaskError("text_only", None, text)


def test_a_word_for_download_inside_a_sentence_makes_no_result_of_a_page(events_of: EventsOf) -> None:
    text = f"I uploaded it. Download: [site]({R}page)"
    assert task(events_of, text).error == tickertape.TaskError("text_only", None, text)
    assert [each.url for each in task(events_of, f"I uploaded it. Download: [site]({R}a.png)").results] == [f"{R}a.png"]
    read = task(events_of, f"![a]({R}a.png)\nI uploaded it. Download: [site]({R}page)\n")
    assert [each.download_url for each in read.results] == [f"{R}page"]


def test_a_labelled_link_under_a_preview_is_one_where_none_is_listed_yet(events_of: EventsOf) -> None:
    assert task(events_of, f"预览视频：\n下载链接: [点击]({R}x.png)\n").previews == (f"{R}x.png",)
    both = f"预览视频：\n[播放]({R}p.mp4)\n下载链接: [点击]({R}x.mp4)\n"
    assert task(events_of, both).previews == (f"{R}p.mp4",)


def test_links_may_be_parted_by_a_wide_bar(events_of: EventsOf) -> None:
    read = task(events_of, f"> [原始数据]({R}s)｜[数据预览]({R}w)\n")
    assert (read.status, read.links) == ("incomplete", {"source": f"{R}s", "web": f"{R}w"})


# -- the envelope -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "refusal": "I cannot draw that."},
        {"content": [{"type": "refusal", "refusal": "I cannot draw that."}]},
    ],
)
def test_a_refusal_beside_the_content_is_what_the_model_said(message: dict[str, Any]) -> None:
    read = tickertape.parse_response(json.dumps({"choices": [{"message": message}]}))
    assert read.error == tickertape.TaskError("text_only", None, "I cannot draw that.")


def test_a_refusal_may_come_in_deltas() -> None:
    deltas = [{"role": "assistant", "refusal": "I can"}, {"refusal": "not draw that."}]
    body = "".join(f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n" for delta in deltas)
    error = tickertape.parse_response(body + "data: [DONE]\n\n").error
    assert error is not None
    assert error.message == "I cannot draw that."
