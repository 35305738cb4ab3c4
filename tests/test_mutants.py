"""Rules that no other test tells: each was found by a change to the reader that went unnoticed (docs/mutation.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tickertape import (
    Grammar,
    Parser,
    ParserClosed,
    ResponseReader,
    Result,
    TaskError,
    UnknownLine,
    parse,
    parse_response,
)
from tickertape import events as ev

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape import Task
    from tickertape.events import Event

    EventsOf = Callable[[str], list[Event]]

U = "https://x.example/"


def told(text: str, events_of: EventsOf) -> tuple[Any, ...]:
    """What a text says between other lines, without its span; `()` where it stays unknown."""
    before, after = "> 排队中..\n", "\n> 排队中.."
    event = events_of(before + text + after)[2]
    assert (event.start, event.end) == (len(before), len(before + text))
    match event:
        case ev.Stage(stage=stage, label=label):
            return ("stage", stage, label)
        case ev.Progress(percent=percent, label=label):
            return ("progress", percent, label)
        case ev.Failed(label=label, reason=reason):
            return ("failed", label, reason)
        case ev.Completed(label=label):
            return ("completed", label)
    assert isinstance(event, ev.Unknown)
    assert not event.malformed
    return ()


# -- phrases that nobody listed ------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("> 🐎 引擎排队", ("stage", "queued", "🐎 引擎排队")),
        ("> the engine is in a queue...", ("stage", "queued", "the engine is in a queue")),
        ("> 引擎正在渲染...", ("stage", "generating", "引擎正在渲染")),
        ("> 引擎渲染中", ("stage", "generating", "引擎渲染中")),
        ("> 引擎渲染中🐎", ("stage", "generating", "引擎渲染中🐎")),
        ("> 🐎 引擎正在渲染 ", ("stage", "generating", "🐎 引擎正在渲染")),
        ("> 引擎正在上传素材...", ("stage", "preparing", "引擎正在上传素材")),
        ("> 引擎优化画质中。", ("stage", "optimizing", "引擎优化画质中")),
        ("> 引擎正在上传，正在优化，正在渲染...", ("stage", "preparing", "引擎正在上传，正在优化，正在渲染")),
        ("> 引擎正在渲染，正在上传...", ("stage", "generating", "引擎正在渲染，正在上传")),
        ("> 引擎正在上传并优化...", ("stage", "optimizing", "引擎正在上传并优化")),
        ("> 引擎正在渲染并上传...", ("stage", "preparing", "引擎正在渲染并上传")),
        ("> 引擎排队，渲染中", ("stage", "queued", "引擎排队，渲染中")),
        ("> 引擎排队，渲染中*", ("stage", "queued", "引擎排队，渲染中")),
    ],
)
def test_a_phrase_with_dots_an_emoji_or_the_word_for_going_on_is_the_stage_its_stems_tell(
    text: str, said: tuple[Any, ...], events_of: EventsOf
) -> None:
    assert told(text, events_of) == said


@pytest.mark.parametrize("text", ["> 引擎排队", "> 引擎正在渲染", "> 引擎渲染", "> 引擎渲染...", "> 🐎 引擎渲染"])
def test_stems_alone_make_no_stage_of_a_phrase(text: str, events_of: EventsOf) -> None:
    assert told(text, events_of) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("> 绘制引擎 45%", ("progress", 45, "绘制引擎")),
        ("> 视频引擎 7 层 45% 帧", ("progress", 45, "视频引擎 7 层")),
        ("> 🐎 引擎 45 帧 46%", ("progress", 46, "🐎 引擎 45 帧")),
        ("> **正在引擎** 45%", ("progress", 45, "正在引擎")),
        ("> 优化引擎 45%", ("progress", 45, "优化引擎")),
        ("> 上传引擎 45%", ("progress", 45, "上传引擎")),
        ("> 绘制引擎X 45%", ("progress", 45, "绘制引擎X")),
        ("> 引擎中 45%", ("progress", 45, "引擎中")),
        ("> 绘制引擎 123456789012345678%", ("progress", 123456789012345678, "绘制引擎")),
        ("> 绘制引擎 1234567890123456789%", ()),
        ("> 引擎 45%", ()),
        ("> 绘制引擎 45", ()),
    ],
)
def test_a_phrase_of_the_work_with_a_percentage_is_progress(
    text: str, said: tuple[Any, ...], events_of: EventsOf
) -> None:
    assert told(text, events_of) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("> 视频帧失败: 坏了。", ("failed", "视频帧失败", "坏了")),
        ("> 今天视频帧居然失败 ...", ("failed", "今天视频帧居然失败", None)),
        ("> 帧失败", ("failed", "帧失败", None)),
        ("> 我们都觉得它失败", ("failed", "我们都觉得它失败", None)),
        ("> 我们都会觉得它失败", ()),
        ("> 我们今天遇到了一些失败: 坏了", ("failed", "我们今天遇到了一些失败", "坏了")),
        ("> 我们今天遇到了一些失败 ： 坏了", ("failed", "我们今天遇到了一些失败", "坏了")),
        ("> 我们今天遇到了一些失败，坏了", ()),
        ("> 🐎 我们今天遇到了一些失败，坏了", ("failed", "🐎 我们今天遇到了一些失败", "坏了")),
        ("> 帧失败了", ()),
    ],
)
def test_a_phrase_fails_where_it_is_short_or_of_the_work_or_before_a_colon(
    text: str, said: tuple[Any, ...], events_of: EventsOf
) -> None:
    assert told(text, events_of) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("> 视频帧完成", ("completed", "视频帧完成")),
        ("> 🐎 帧完成!", ("completed", "🐎 帧完成")),
        ("> 视频帧完成🎉", ("completed", "视频帧完成🎉")),
        ("> 引擎 视频完成 - 稍候", ("completed", "引擎 视频完成 - 稍候")),
        ("> 视频，帧完成了，视频完成", ("completed", "视频，帧完成了，视频完成")),
        ("> 帧完成", ()),
        ("> 视频帧完成了吗", ()),
    ],
)
def test_a_phrase_of_the_work_is_done_where_the_word_for_it_ends_a_phrase(
    text: str, said: tuple[Any, ...], events_of: EventsOf
) -> None:
    assert told(text, events_of) == said


@pytest.mark.parametrize("text", ["> 提示词 视频完成", "> 🐎 如果失败", "> 🐎 prompt 正在渲染..."])
def test_a_phrase_with_a_condition_or_of_the_prompt_is_no_status(text: str, events_of: EventsOf) -> None:
    assert told(text, events_of) == ()


def test_a_phrase_of_more_than_eighty_characters_is_a_sentence(events_of: EventsOf) -> None:
    text = "> 引擎正在渲染" + "帧" * 69 + "..."
    assert len(text) == 80
    assert told(text, events_of)[:2] == ("stage", "generating")
    assert told(text.replace("...", "帧..."), events_of) == ()


@pytest.mark.parametrize(
    "medium", [f"![a]({U}a.png)", f"[播放]({U}a.mp4)", f'<video src="{U}a.mp4">', f"[视频]({U}a.mp4)"]
)
def test_after_a_picture_or_an_element_a_quoted_phrase_is_the_prompt(medium: str, events_of: EventsOf) -> None:
    says = [type(event) for event in events_of(f"{medium}\n> 引擎正在渲染...")]
    assert says[-1] is (ev.Stage if medium.startswith("[") else ev.Unknown)


# -- strict reading ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "shown"),
    [
        ("> 独角兽", 1, 3, "> 独角兽"),
        ("> 独角兽\n> 排队中..\n", 1, 3, "> 独角兽"),
        ("\n\n好\n > 独角兽", 4, 4, " > 独角兽"),
        ("> 排队中..\r\n> 独角兽\r\n> 排队中..", 2, 3, "> 独角兽"),
        ("> 排队中..\n> 独角兽\n好\n好\n", 2, 3, "> 独角兽"),
        ("\r> 独角兽", 1, 4, "\r> 独角兽"),
        ("\n> 独角兽", 2, 3, "> 独角兽"),
        ("> 独角兽  \r\n", 1, 3, "> 独角兽  "),
        ("> MAX\r\n", 1, 3, "> MAX"),
    ],
)
def test_the_unknown_line_is_shown_whole_and_alone(text: str, line: int, column: int, shown: str) -> None:
    with pytest.raises(UnknownLine) as caught:
        parse(text, strict=True)
    assert (caught.value.line, caught.value.column, caught.value.text) == (line, column, shown)


def test_a_text_that_ends_in_the_middle_of_something_tells_what_was_to_come() -> None:
    with pytest.raises(UnknownLine) as caught:
        parse("> ID: ", strict=True)
    assert caught.value.expected == ("BARE_ID",)
    with pytest.raises(UnknownLine) as caught:
        parse("> 排队中..\n![a](https://x", strict=True)
    assert (caught.value.line, caught.value.column) == (2, 15)
    assert caught.value.expected == ("DESTINATION", "LPAREN")
    with pytest.raises(UnknownLine) as caught:
        parse("[a](https://x (", strict=True)
    assert caught.value.expected == ("DESTINATION", "RPAREN")


def test_a_strict_reading_ends_where_something_is_too_long_to_wait_for() -> None:
    link = "![a](" + "a" * (1 << 26)
    with pytest.raises(UnknownLine) as caught:
        parse(f"> 排队中..\n{link}\n> 独角兽", strict=True)
    assert (caught.value.line, caught.value.column) == (2, 1)


# -- reading ---------------------------------------------------------------------------------


def test_a_text_is_read_as_ended_and_leniently_unless_told_otherwise() -> None:
    assert parse("> 独角兽\n> 排队中..").status == "incomplete"
    assert parse("> 排队中..", closed=False).status == "queued"


def test_a_grammar_that_is_given_is_the_one_that_reads() -> None:
    grammar = Grammar.from_text('%extend GENERATING: "painting away"i')
    text = "> Painting away\n"
    assert parse(text, grammar=grammar).stages == ("generating",)
    parser = Parser(grammar=grammar)
    parser.feed(text)
    assert parser.task.stages == ("generating",)
    reader = ResponseReader(grammar=grammar)
    reader.feed(text)
    assert reader.task.stages == ("generating",)
    assert parse(text).stages == ()


def test_what_is_no_text_is_refused_by_the_name_of_its_type() -> None:
    with pytest.raises(TypeError, match="got bytes"):
        parse(b"")  # type: ignore[arg-type]


def test_a_parser_may_hold_a_single_character_and_begins_open_and_empty() -> None:
    parser = Parser(max_pending=1)
    assert parser.closed is False
    assert parser.pending == ""
    parser.close()
    assert parser.closed is True
    with pytest.raises(ParserClosed, match=r"^feed"):
        parser.feed("")


@pytest.mark.parametrize("before", ["", "> 排队中..\n"])
def test_exactly_as_many_characters_wait_as_may_and_the_next_one_gives_them_up(before: str) -> None:
    link = "![a](https://x.example/" + "a" * 40
    for pieces in (list(link), [link], [link[:30], link[30:]]):
        parser = Parser(max_pending=len(link))
        parser.feed(before)
        assert [event for piece in pieces for event in parser.feed(piece)] == []
        assert parser.pending == link
        given_up, *_ = parser.feed("a")
        assert given_up == ev.Unknown(len(before), len(before) + len(link), link, True)


def test_a_line_end_that_was_escaped_is_written_in_small_letters(events_of: EventsOf) -> None:
    link = f"![a]({U}a.png)"
    assert [type(event) for event in events_of(rf"{link}\n好")] == [ev.Image, ev.LineEnd, ev.Text]
    assert [type(event) for event in events_of(rf"{link}\New")] == [ev.Image, ev.Text]


# -- numbers, labels and links ------------------------------------------------------------------


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_has_not_makes_no_parameters(number: str) -> None:
    assert parse(f'{{"a": {number}}}').parameters is None


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (f"[1]({U}a.mp4)", ev.Link(0, 0, "1", f"{U}a.mp4", None, None)),
        (f"[45%]({U}a.png)", ev.Progress(0, 0, 45, None, f"{U}a.png")),
        (f"[100]({U}a.png)", ev.Progress(0, 0, 100, None, f"{U}a.png")),
        (f"> 进度 [1]({U}a.png)", ev.Progress(0, 0, 1, "进度", f"{U}a.png")),
    ],
)
def test_a_number_as_a_label_is_a_citation_unless_it_is_a_tick(text: str, event: ev.Event, events_of: EventsOf) -> None:
    (read,) = events_of(text)
    assert read == type(event)(0, len(text), *(getattr(event, f) for f in [*event.__dataclass_fields__][2:]))


@pytest.mark.parametrize(
    ("label", "kind"), [("点击收听", "audio"), ("在线播放", "video"), ("播放音乐", "audio"), ("listen", "audio")]
)
def test_a_link_that_names_no_file_is_what_its_label_offers(label: str, kind: str) -> None:
    assert [r.kind for r in parse(f"[{label}]({U}a)").results] == [kind]


@pytest.mark.parametrize(("label", "kind"), [("视频", "video"), ("音频", "audio"), ("图片", "image")])
def test_a_label_before_a_link_says_its_kind(label: str, kind: str) -> None:
    assert [r.kind for r in parse(f"{label}: [a]({U}a)").results] == [kind]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (f"{U}a.png#b.mp4", "image"),
        (f"{U}a.png?b.mp4", "image"),
        (f"{U}a.mp4#b?c.png", "video"),
        (f"{U}a.png?of=https://y.example/b.mp4", "image"),
        (f"{U}go/https://y.mp4", "video"),
    ],
)
def test_the_path_says_the_kind_and_neither_query_nor_fragment(url: str, kind: str) -> None:
    assert [r.kind for r in parse(f"[a]({url})\n").results] == [kind]


def test_the_host_is_no_part_of_the_path() -> None:
    assert parse("[a](https://x.mp4)").results == ()
    assert parse("[a](x/y.mp4)").results == (Result("video", "x/y.mp4"),)


# -- what a text amounts to ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("我  们\n\n>  不能", "我  们\n\n不能"),
        ("> 独角兽\n  好的\n> 我们", "独角兽\n好的\n我们"),
        (f"好的\n{U}a.zip", f"好的\n{U}a.zip"),
        (f"去 [a]({U}a) 吧", f"去 [a]({U}a) 吧"),
    ],
)
def test_prose_is_told_without_the_marks_and_the_white_space_before_its_lines(text: str, message: str) -> None:
    assert parse(text).error == TaskError("text_only", None, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("生成失败: a\n```x\nb\n```\nc", "a\n```x\nb\n```"),
        ("生成失败: a\n> b\n```x\n> y\n```", "a\nb\n```x\n> y\n```"),
        ("生成失败: a\n  b\n\nc", "a\nb"),
        ("生成失败: a\n> 独角兽  c", "a\n独角兽  c"),
        ("生成失败: a\n```\nb\n```\n```\nc\n```", "a\n```\nb\n```"),
        ("生成失败: a\n```\nb\n```c", "a\n```\nb\n```"),
        ("生成失败: a ```b``` ```c```", "a ```b``` ```c```"),
    ],
)
def test_a_failures_message_goes_on_to_an_empty_line_or_the_end_of_a_fence(text: str, message: str) -> None:
    error = parse(text).error
    assert error is not None
    assert error.message == message


def test_a_url_on_the_line_of_a_failures_fence_is_no_result() -> None:
    assert parse(f"生成失败: a\n```\nb\n```{U}a.png\n").results == ()
    assert parse(f"生成失败: a\n```\nb\n```\n{U}a.png\n").results == (Result("image", f"{U}a.png"),)


def test_an_unknown_line_ends_what_stands_under_the_word_preview() -> None:
    assert parse(f"预览图:\n![a]({U}a.png)\n").previews == (f"{U}a.png",)
    task = parse(f"预览图:\n> 独角兽\n![a]({U}a.png)\n")
    assert (task.previews, task.results) == ((), (Result("image", f"{U}a.png"),))


def test_a_link_that_says_nothing_is_no_preview_although_it_stands_under_one() -> None:
    assert parse(f"预览图:\n[a]({U}a)\n[a]({U}b.mp4)\n视频: [a]({U}c)").previews == (f"{U}b.mp4", f"{U}c")
    assert parse(f"预览图:\n[播放]({U}a)\n").previews == (f"{U}a",)


def test_a_url_right_after_a_percentage_is_its_preview_and_a_labelled_link_is_not() -> None:
    task = parse(f"> 进度 99% ({U}a)")
    assert (task.progress, task.previews, task.results) == ((99,), (f"{U}a",), ())
    task = parse(f"> 进度 99% [视频]({U}a.mp4)")
    assert task.results == (Result("video", f"{U}a.mp4"),)


def test_an_outcome_in_the_content_gives_its_media_once_it_is_completed() -> None:
    outcome = {"status": "completed", "video_url": f"{U}a.mp4", "url": f"{U}b"}
    task = parse(json.dumps(outcome))
    assert task.results == (Result("video", f"{U}a.mp4"), Result("image", f"{U}b"))
    task = parse(json.dumps({**outcome, "status": "running"}))
    assert (task.status, task.results, task.error) == ("incomplete", (), None)


def test_a_download_goes_to_the_result_of_the_same_url_before_all_others() -> None:
    task = parse(f"[播放]({U}a.mp4)\n[播放]({U}b.mp4)\n[下载]({U}a.mp4)")
    assert task.results == (Result("video", f"{U}a.mp4", f"{U}a.mp4"), Result("video", f"{U}b.mp4"))


def test_a_download_goes_to_the_result_of_its_number() -> None:
    save = f"{U}cdn/download/7/x.mp4"
    task = parse(f"[视频1]({U}1.mp4)\n[视频2]({U}2.mp4)\n[视频3]({U}3.mp4)\n[下载2]({save})")
    assert [r.download_url for r in task.results] == [None, save, None]


@pytest.mark.parametrize("medium", [f'{{"status": "completed", "url": "{U}a.png"}}', f'<img src="{U}a.png">'])
def test_a_numbered_download_goes_to_a_result_without_a_label(medium: str) -> None:
    save = f"{U}cdn/download/7/b"
    assert parse(f"{medium}\n[下载1]({save})").results == (Result("image", f"{U}a.png", save),)


def test_a_download_stands_in_for_one_result_however_often_that_is_shown() -> None:
    save, video = f"{U}cdn/download/7/a.mp4", f"{U}cdn/7/a.mp4"
    task = parse(f"[下载]({save})\n[播放]({video})\n[播放]({video})\n[播放]({video}?v=2)")
    assert task.results == (Result("video", video, save), Result("video", f"{video}?v=2"))


def test_an_image_that_its_download_stood_in_for_can_be_a_cover() -> None:
    task = parse(f"[下载]({U}cdn/download/7/a.png)\n![a]({U}cdn/7/a.png)\n[播放]({U}b.mp4)")
    assert task.results == (Result("video", f"{U}b.mp4", None, f"{U}cdn/7/a.png"),)


@pytest.mark.parametrize(("label", "kind"), [("下载视频", "video"), ("下载音频", "audio"), ("下载", "image")])
def test_a_lone_download_of_no_known_kind_is_what_its_label_says(label: str, kind: Any) -> None:
    save = f"{U}cdn/download/7/a"
    assert parse(f"[{label}]({save})").results == (Result(kind, save, save),)


def test_an_image_whose_prompt_speaks_of_a_download_is_a_result() -> None:
    task = parse(f"![a]({U}a.png)\n![下载的猫]({U}b.png)")
    assert task.results == (Result("image", f"{U}a.png"), Result("image", f"{U}b.png"))


@pytest.mark.parametrize("text", [f"a]({U}a.png)", f"*a* ({U}a.png)", f"a ({U}a.png)"])
def test_a_link_that_lost_its_brackets_has_its_url_and_label(text: str, events_of: EventsOf) -> None:
    assert events_of(text) == [ev.Image(0, len(text), "a", f"{U}a.png")]


def test_a_percentage_of_what_is_done_is_progress_under_that_word(events_of: EventsOf) -> None:
    assert events_of("好\n> 完成 45%")[2:] == [ev.Progress(2, 10, 45, "完成", None)]


def test_a_lone_download_of_a_video_takes_the_image_above_it_as_its_poster() -> None:
    save = f"{U}cdn/download/7/a.mp4"
    assert parse(f"![a]({U}a.png)\n[下载]({save})").results == (Result("video", save, save, f"{U}a.png"),)


def test_a_source_without_its_element_is_a_video() -> None:
    assert parse(f'<source src="{U}a">').results == (Result("video", f"{U}a"),)


# -- what fields say of a failure --------------------------------------------------------------------


@pytest.mark.parametrize("key", ["msg", "detail", "reason", "error"])
def test_the_message_stands_under_any_of_its_names(key: str) -> None:
    task = response({"error": {key: "quota exceeded"}})
    assert task.error == TaskError("quota", None, "quota exceeded")


@pytest.mark.parametrize("code", [200, "200", "success", "ok", 0, "0", "", None])
def test_an_error_object_whose_code_says_nothing_is_none(code: Any) -> None:
    task = response({"choices": [], "error": {"code": code}})
    assert task.error is None


def test_a_status_of_four_hundred_in_the_response_stays() -> None:
    task = response({"error": {"message": "x", "status": 429}}, 400)
    assert task.error == TaskError("invalid_request", None, "x")


def test_the_failure_word_tells_the_category_where_the_message_does_not() -> None:
    assert parse("> 生成超时: 坏了\n").error == TaskError("timeout", None, "坏了")


@pytest.mark.parametrize("quoted", ['"坏了"', "'坏了'", "“坏了”", "‘坏了’"])
def test_quotes_around_a_message_are_taken_off(quoted: str) -> None:
    assert parse(f"生成失败: {quoted}").error == TaskError("unknown", None, "坏了")


def test_a_lone_quote_is_a_message() -> None:
    assert parse("生成失败: '").error == TaskError("unknown", None, "'")


def test_a_request_id_that_a_message_quotes_itself_is_taken_off_at_the_end_alone() -> None:
    mark = "(request id: 2026)"
    assert parse(f"生成失败: a {mark} b {mark}").error == TaskError("unknown", None, f"a {mark} b")


# -- what wraps the content -------------------------------------------------------------------------


def response(*pieces: Any, **options: Any) -> Task:
    """The task of a response that arrives in these pieces; a lone dict is a body."""
    status = next((p for p in pieces if isinstance(p, int)), None)
    reader = ResponseReader(status_code=status, **options)
    for piece in pieces:
        if not isinstance(piece, int):
            reader.feed(json.dumps(piece).encode() if isinstance(piece, dict) else piece)
    reader.close()
    return reader.task


def delta(content: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, **more}]}


@pytest.mark.parametrize("page", ["<!doctype html>", "<html>", "<HEAD>", "<body>", "<BODY>"])
def test_a_page_is_a_failure_however_it_begins_and_arrives(page: str) -> None:
    body = f"{page}<h1>502 Bad Gateway</h1>"
    for pieces in ([body], list(body), [body.encode()]):
        assert response(*pieces).error == TaskError("upstream", None, "502 Bad Gateway")


@pytest.mark.parametrize("key", ["id", "object", "choices", "error", "created", "code", "success"])
def test_a_str_that_begins_like_a_response_is_read_as_a_body_however_it_arrives(key: str) -> None:
    body = json.dumps({key: None, "choices": [{"message": {"content": "hi"}}]})
    for pieces in ([body], list(body), [" ", body]):
        assert response(*pieces).text == "hi"


@pytest.mark.parametrize("text", ['{"prompt": "x"}', '["a"]', '"a"', "{}", "{ ", "x"])
def test_a_str_that_begins_like_anything_else_is_content(text: str) -> None:
    for pieces in ([text], list(text)):
        assert response(*pieces).text == text


def test_a_str_that_is_a_picture_is_content_however_it_arrives() -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    for pieces in ([url], list(url), [url.encode()]):
        assert response(*pieces).results == (Result("image", url),)


@pytest.mark.parametrize("key", ["choices", "object", "error"])
def test_a_body_cut_off_in_the_middle_is_a_bad_frame_and_no_prose(key: str) -> None:
    body = f'{{"{key}": [{{"mess'
    task = response(body.encode())
    assert (task.status, task.text) == ("incomplete", "")
    assert task.envelope is not None
    assert task.envelope.error_log == (body,)


def test_a_picture_in_a_url_is_read_as_it_arrives() -> None:
    for body in ("data:image/png;base64,iVBORw0KGgo=", "data:image/png;base64,"):
        reader = ResponseReader()
        reader.feed(body)
        assert reader.task.text == body


def test_the_text_of_a_failed_request_is_its_body() -> None:
    assert response(b"no such model", 404).text == "no such model"


def test_a_percentage_that_ends_the_reasoning_counts() -> None:
    reader = ResponseReader()
    reader.feed({"choices": [{"delta": {"reasoning_content": "> 进度 48"}}]})
    reader.close()
    assert reader.task.progress == (48,)


def test_an_object_whose_chunk_is_a_method_is_no_wrapper() -> None:
    class Chunk:
        def chunk(self) -> None: ...

        def to_dict(self) -> dict[str, Any]:
            return delta("hi")

    reader = ResponseReader()
    reader.feed(Chunk())
    assert reader.task.text == "hi"


def test_text_in_a_data_field_is_content_unless_the_request_failed() -> None:
    assert response({"data": "hi"}).text == "hi"
    assert response({"data": "hi"}, 500).error == TaskError("upstream", None, None)


def test_what_began_as_a_body_stays_one_whatever_type_its_pieces_have() -> None:
    assert response(b'{"data": ', '"hi"}').text == "hi"


def test_a_bad_frame_is_kept_as_it_was_sent() -> None:
    task = response('data: [1, "é"]\n\n')
    assert task.envelope is not None
    assert task.envelope.error_log == ('[1, "é"]',)
    task = parse_response({"é": 1})
    assert task.envelope is not None
    assert task.envelope.error_log == ('{"é": 1}',)


def test_all_choices_of_a_chunk_are_read() -> None:
    both = {"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]}
    reader = ResponseReader()
    assert [type(event) for event in reader.feed(both)] == []
    assert reader.task.text == "ab"
    lines = {"choices": [{"index": n, "delta": {"content": "> 排队中..\n"}} for n in (0, 1)]}
    assert [type(event) for event in ResponseReader().feed(lines)].count(ev.Stage) == 2


@pytest.mark.parametrize("pair", ["😀", "\U00010000", "\U0010ffff", "\U000103ff", "\U0010fc00"])
def test_a_character_whose_halves_come_in_two_deltas_is_one(pair: str) -> None:
    high, low = json.dumps(pair)[1:7], json.dumps(pair)[7:13]
    frames = [f'data: {{"choices": [{{"delta": {{"content": "{half}"}}}}]}}\n\n' for half in (high, low)]
    assert response(*frames).text == pair


@pytest.mark.parametrize(
    "frames",
    [
        'event: error\ndata: {"message": "quota exceeded"}\n\n',
        'event: error\ndata: {\ndata: "message": "quota exceeded"\ndata: }\n\n',
        "event: error\ndata: quota exceeded\n\n",
        'event: error\ndata: "quota exceeded"\n\n',
    ],
)
def test_an_error_frame_is_an_error_whatever_its_data_is(frames: str) -> None:
    for pieces in ([frames], list(frames)):
        assert response(*pieces).error == TaskError("quota", None, "quota exceeded")


def test_events_before_an_error_frame_are_not_lost() -> None:
    reader = ResponseReader()
    chunk = json.dumps(delta("> 排队中..\n"))
    events = reader.feed(f'data: {chunk}\n\nevent: error\ndata: "x"\n\n')
    assert [type(event) for event in events] == [ev.Stage, ev.LineEnd, ev.Failed]


def test_the_name_of_an_event_ends_with_its_frame() -> None:
    chunk = json.dumps(delta("hi", message="x"))
    assert response(f'event: error\ndata: "x"\n\ndata: {chunk}\n\n').text == "hi"


def test_lines_without_their_ends_are_read_one_by_one() -> None:
    chunk = json.dumps(delta("hi"))
    bodies = (
        ["event: message", f"data: {chunk}", ": ping", "data: [DONE]"],
        [f"data: {chunk}", ": ping", "id: 1", "retry: 1", "event: message", "data: [DONE]"],
        [f"data: {chunk[:11]}", f"{chunk[11:]} ", "data: [DONE]", "data: [DONE]"],
        list(f"data: {chunk}"),
    )
    for lines in bodies:
        task = response(*lines)
        assert task.text == "hi"
        assert task.envelope is not None
        assert task.envelope.error_log == ()


def test_lines_end_at_their_ends_alone_once_one_was_seen() -> None:
    chunk = f"data: {json.dumps(delta('hi'))}"
    for end in ("\n", "\r", "\r\n"):
        task = response(f"{chunk}{end}", chunk, chunk)
        assert task.text == "hi"
        assert task.envelope is not None
        assert task.envelope.error_log == (f"{chunk}{chunk}".removeprefix("data: "),)


def test_the_last_line_needs_no_end_in_whatever_pieces_it_arrives() -> None:
    chunk = f"data: {json.dumps(delta('hi'))}"
    assert response(f"{chunk}\n", *chunk).text == "hihi"


def test_an_error_frame_is_one_also_without_line_ends() -> None:
    task = response(f"data: {json.dumps(delta('hi'))}", "event: error", 'data: "x"')
    assert (task.text, task.error) == ("hi", TaskError("unknown", None, "x"))


def test_a_frame_may_be_printed_over_lines_and_ends_with_its_bracket() -> None:
    whole = json.dumps(delta("hi"), indent=1)
    two = json.dumps(delta("hi")).replace(', "delta"', ',\n"delta"')
    for lines in (whole.split("\n"), f"{whole}\n".replace("\n", " \n").split("\n")[:-1], two.split("\n")):
        task = response("".join(f"data: {line}\n" for line in lines))
        assert task.text == "hi"
        assert task.envelope is not None
        assert task.envelope.bad_frames == 0
    task = response("data: {a\ndata: b\n\n")
    assert task.envelope is not None
    assert task.envelope.error_log == ("{a\nb",)
    task = response("data: [1,\ndata: 2]\n\n")
    assert task.envelope is not None
    assert task.envelope.error_log == ("[1, 2]",)


# -- poll bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["queueing", "queuing", "in_queue", "not_start", "not_started", "unstarted", "init"])
def test_every_word_for_waiting_is_queued(word: str) -> None:
    assert response({"status": word}).status == "queued"


@pytest.mark.parametrize("word", ["expired", "rejected", "timeout", "timed_out", "x_failed", "x_failure", "x_error"])
def test_every_word_for_an_end_without_result_is_failed(word: str) -> None:
    assert response({"status": word}).status == "failed"


@pytest.mark.parametrize("key", ["generations", "results", "data", "outputs", "video_result"])
def test_results_stand_in_a_list_of_any_of_its_names(key: str) -> None:
    task = response({"status": "completed", key: [{"url": f"{U}a.mp4"}]})
    assert task.results == (Result("video", f"{U}a.mp4"),)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("video_url", "video"),
        ("upsample_video_url", "video"),
        ("audio_url", "audio"),
        ("imageUrl", "image"),
        ("url", "image"),
        ("urls", "image"),
        ("result_url", "image"),
        ("output", "image"),
    ],
)
def test_a_result_stands_under_any_of_its_names(key: str, kind: Any) -> None:
    assert response({"status": "completed", key: f"{U}a"}).results == (Result(kind, f"{U}a"),)


@pytest.mark.parametrize("status", [200, True, {"code": 0}])
def test_a_status_that_is_no_word_says_nothing(status: Any) -> None:
    assert response({"status": status, "video_url": f"{U}a.mp4"}).status == "completed"


@pytest.mark.parametrize("key", ["thumbnail_url", "cover_url", "poster_url", "thumbnail"])
def test_a_poster_stands_under_any_of_its_names(key: str) -> None:
    task = response({"status": "completed", "url": f"{U}a.mp4", key: f"{U}p.png"})
    assert task.results == (Result("video", f"{U}a.mp4", None, f"{U}p.png"),)


def test_a_picture_has_no_poster() -> None:
    task = response({"status": "completed", "url": f"{U}a.png", "thumbnail": f"{U}p.png"})
    assert task.results == (Result("image", f"{U}a.png"),)


def test_previews_of_a_body_are_in_its_order_and_none_hides_the_next() -> None:
    body = {"status": "running", "x": {"y": {"video_url": f"{U}a.mp4"}}, "z": {"video_url": f"{U}b.mp4"}}
    assert response(body).previews == (f"{U}a.mp4", f"{U}b.mp4")


def test_the_http_status_tells_of_a_failed_task_that_tells_nothing() -> None:
    assert response({"status": "failed"}, 429).error == TaskError("rate_limit", None, None)


@pytest.mark.parametrize("key", ["input", "inputs", "request", "images", "image", "params", "parameters", "metadata"])
def test_a_video_in_what_was_asked_for_is_no_preview(key: str) -> None:
    video = {"video_url": f"{U}a.mp4"}
    assert response({"status": "running", key: video, "x": {key: video}}).previews == ()
    assert response({"status": "running", "x": {"y": video}}).previews == (f"{U}a.mp4",)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"video_url": f"{U}a.mp4"}, "completed"),
        ({"progress_pct": 0.5}, "in_progress"),
        ({"pending_info": {"progress_pct": 0.5}}, "in_progress"),
        ({"detail": {"web_url": f"{U}web"}}, "queued"),
        ({"source_url": f"{U}source"}, "queued"),
        ({"preview_url": f"{U}web"}, "queued"),
    ],
)
def test_a_body_is_a_tasks_by_any_of_its_fields(body: dict[str, Any], status: str) -> None:
    assert response(body).status == status
