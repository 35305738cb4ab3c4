"""What a status stream means: the rules by which a text becomes a task, each as a test.

The sections are the fields, the layout, the parameters, the results, the status
and the error; a test's name is its rule. Every text is read whole, by character
and in random pieces (`read`), and the rules that a layout could break are read
in each of them (`in_every_layout`). Hosts and ids are invented.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tickertape import Parser, Result, TaskError, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tickertape import Task

    Layout = Callable[..., str]

SEEDS = range(3)

CDN = "https://media.example/cdn/7/"
SAVE = "https://media.example/cdn/download/7/"
WEB = "https://follow.example/web/task_01abc"
SOURCE = "https://follow.example/source/task_01abc"
ECHO = '```json\n{\n  "prompt": "two otters",\n  "n": 2\n}\n```\n\n'


# ---- reading -------------------------------------------------------------------------


def chunkings(text: str) -> Iterator[list[str]]:
    """By character, then cut at random places: the same places in every run."""
    yield list(text)
    for seed in SEEDS:
        rnd = random.Random(f"{seed} {text}")
        cuts = sorted(rnd.sample(range(len(text) + 1), k=min(len(text), 1 + len(text) // 9)))
        yield [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]


def read(text: str, *, closed: bool = True) -> Task:
    """The task of a text: one and the same, its events included, however the text arrives."""
    task = parse(text, closed=closed)
    for pieces in chunkings(text):
        parser = Parser()
        for piece in pieces:
            parser.feed(piece)
        if closed:
            parser.close()
        assert parser.task == task
    return task


def quoted(*lines: str) -> str:
    return "\n".join(f"> {line}" for line in lines)


LAYOUTS: dict[str, Layout] = {
    "quoted": quoted,
    "quoted tightly": lambda *lines: "\n".join(f">{line}" for line in lines),
    "quoted one by one": lambda *lines: "\n\n".join(f"> {line}" for line in lines),
    "unquoted": lambda *lines: "\n".join(lines),
    "joined": lambda *lines: "> " + " > ".join(lines),
    "newlines as spaces": lambda *lines: " ".join(lines),
    "crlf": lambda *lines: quoted(*lines).replace("\n", "\r\n"),
    "literal backslash-n": lambda *lines: quoted(*lines).replace("\n", "\\n"),
    "trailing spaces": lambda *lines: quoted(*lines).replace("\n", "  \n") + "  \n\n",
}

LINES = [name for name in LAYOUTS if name != "newlines as spaces"]

in_every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
in_lines = pytest.mark.parametrize("layout", [LAYOUTS[name] for name in LINES], ids=LINES)
"""For free text, whose end nothing tells but the end of its line or a quote mark."""


def image(url: str, download: str | None = None) -> Result:
    return Result("image", url, download)


def video(url: str, download: str | None = None, poster: str | None = None) -> Result:
    return Result("video", url, download, poster)


def audio(url: str, download: str | None = None) -> Result:
    return Result("audio", url, download)


# ---- the task as a whole -------------------------------------------------------------

CHINESE = (
    "ID: `task_01abc`",
    f"[数据预览]({WEB}) | [原始数据]({SOURCE})",
    "🕐 排队中......",
    "⚡ 生成中...",
    f"🏃 进度 7..36.5..[100]({CDN}tick.webp)",
    "✅ 生成完成",
    "sid: `s_68`",
    f"![otters]({CDN}otters.webp)",
    f"[在线播放▶️]({CDN}otters.mp4)",
    f"[⏬ 下载视频]({SAVE}otters.mp4)",
)
ENGLISH = (
    "Task ID: task_01abc",
    f"[Data Preview]({WEB}) | [Source Data]({SOURCE})",
    "🕐 Queuing......",
    "⚡ Generating...",
    f"🏃 Progress 7..36.5..[100]({CDN}tick.webp)",
    "✅ Generation complete",
    "sid: s_68",
    f"![otters]({CDN}otters.webp)",
    f"[▶️ Watch Online]({CDN}otters.mp4)",
    f"[⏬ Download Video]({SAVE}otters.mp4)",
)
AS_DICT: dict[str, Any] = {
    "status": "completed",
    "task_id": "task_01abc",
    "ids": {"sid": "s_68"},
    "parameters": {"prompt": "two otters", "n": 2},
    "stages": ["queued", "generating"],
    "progress": [7, 36.5, 100],
    "links": {"web": WEB, "source": SOURCE},
    "results": [
        {
            "kind": "video",
            "url": f"{CDN}otters.mp4",
            "download_url": f"{SAVE}otters.mp4",
            "poster_url": f"{CDN}otters.webp",
        }
    ],
    "previews": [f"{CDN}tick.webp"],
    "error": None,
}


@in_every_layout
@pytest.mark.parametrize("lines", [CHINESE, ENGLISH], ids=["Chinese", "English"])
def test_one_stream_in_any_layout_and_language_is_one_task(lines: tuple[str, ...], layout: Layout) -> None:
    assert read(ECHO + layout(*lines)).as_dict() == AS_DICT


@pytest.mark.parametrize("lines", [CHINESE, ENGLISH], ids=["Chinese", "English"])
def test_a_whole_message_may_have_lost_its_newlines(lines: tuple[str, ...]) -> None:
    assert read((ECHO + quoted(*lines)).replace("\n", " ")).as_dict() == AS_DICT
    assert read((ECHO + quoted(*lines)).replace("\n", "")).as_dict() == AS_DICT


def test_as_dict_is_json_in_the_order_of_the_fields() -> None:
    told = read(ECHO + quoted(*CHINESE)).as_dict()
    assert list(told) == list(AS_DICT)
    assert [list(result) for result in told["results"]] == [["kind", "url", "download_url", "poster_url"]]
    assert json.loads(json.dumps(told)) == AS_DICT


def test_as_dict_tells_an_error_by_category_code_and_message() -> None:
    told = read("生成失败 ❌\n失败原因：input_moderation").as_dict()
    assert list(told["error"].items()) == [
        ("category", "moderation"),
        ("code", "input_moderation"),
        ("message", "input_moderation"),
    ]


def test_an_empty_text_is_an_empty_task() -> None:
    assert read("").as_dict() == {
        "status": "incomplete",
        "task_id": None,
        "ids": {},
        "parameters": None,
        "stages": [],
        "progress": [],
        "links": {},
        "results": [],
        "previews": [],
        "error": None,
    }


@pytest.mark.parametrize(
    "text",
    [
        ECHO + quoted(*CHINESE),
        "\ufeff \r\n> 排队中..\\n\t\r> 生成中  \n\n\n",
        "No.\n",
        '{"prompt": "cut off',
        f"![cut off]({CDN}",
        "",
    ],
)
def test_the_text_is_kept_verbatim(text: str) -> None:
    task = read(text)
    assert task.text == text
    assert "".join(text[event.start : event.end] for event in task.events) == text


def test_content_without_a_wrapping_has_no_envelope() -> None:
    task = read(quoted(*CHINESE))
    assert task.envelope is None
    assert "envelope" not in task.as_dict()


# ---- fields: task_id -----------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "ID: `{}`",
        "ID: {}",
        "ID：`{}`",
        "任务ID: `{}`",
        "任务ID：{}",
        "任务编号: {}",
        "Task ID: `{}`",
        "task_id: `{}`",
        "**任务ID**: `{}`",
        "🆔 Task ID: {}",
    ],
)
@pytest.mark.parametrize("value", ["task_01abc", "veo9-pro:1f00-42", "42-0a1b"])
def test_the_task_id_is_as_written_without_backticks(line: str, value: str) -> None:
    task = read(quoted(line.format(value), "排队中.."))
    assert (task.task_id, task.ids, task.stages) == (value, {}, ("queued",))


@in_every_layout
def test_the_task_id_stands_in_any_layout(layout: Layout) -> None:
    task = read(layout("排队中..", "任务ID: `veo9:1f00`", "生成中."))
    assert (task.task_id, task.stages) == ("veo9:1f00", ("queued", "generating"))


def test_the_task_id_may_stand_on_the_line_after_its_name() -> None:
    assert read("> id\n>0a1b2c3d-11\n等待中: 🎵🎵\n").task_id == "0a1b2c3d-11"


def test_a_text_that_names_no_task_id_has_none() -> None:
    assert read(quoted("排队中..", "gen_id: `gen_1`")).task_id is None
    assert read("Your ID: please tell me more about the picture.").task_id is None


# ---- fields: ids ---------------------------------------------------------------------


@in_every_layout
@pytest.mark.parametrize(
    "name", ["sid", "gen_id", "message_id", "channel_id", "request_id", "generation_id", "video_id", "post_id"]
)
def test_every_other_id_stands_under_its_own_name(name: str, layout: Layout) -> None:
    task = read(layout("ID: `task_1`", f"{name}: `x_42`", "排队中"))
    assert (task.task_id, task.ids) == ("task_1", {name: "x_42"})


def test_an_id_may_lack_its_backticks_or_have_a_fullwidth_colon() -> None:
    assert read(quoted("sid: s_1", "gen_id：`gen_2`")).ids == {"sid": "s_1", "gen_id": "gen_2"}


def test_an_id_that_comes_twice_keeps_its_last_value() -> None:
    assert read(quoted("gen_id: `g_1`", "sid: s_1", "gen_id: `g_2`")).ids == {"gen_id": "g_2", "sid": "s_1"}


def test_an_alt_text_is_not_an_id() -> None:
    task = read(f"> 生成完成 ✅\n\n![gen_01abc]({CDN}a.png)\n![gen_id: gen_02abc]({CDN}b.png)")
    assert (task.ids, task.task_id) == ({}, None)
    assert task.results == (image(f"{CDN}a.png"), image(f"{CDN}b.png"))


# ---- fields: stages ------------------------------------------------------------------

STAGES = {
    "queued": [
        "排队中.",
        "排队中......",
        "排队中",
        "🕐 排队中.",
        "🕐排队中…",
        "等待处理中.",
        "任务正在排队",
        "⌛️ 任务正在队列中，请耐心等待...",
        "Queuing........",
        "Queued",
        "In queue...",
        "Waiting for processing",
        "状态：排队中",
    ],
    "preparing": [
        "🖼️ 正在处理图片（下载/裁剪/上传）.",
        "🖼️ Processing images (download/crop/upload).",
        "准备中...",
        "初始化中...",
        "Preparing...",
        "Uploading images...",
        "Enhancing prompt...",
    ],
    "generating": [
        "生成中.....",
        "⚡ 生成中",
        "🎨 生成中...",
        "🖌️正在绘画",
        "🎬 开始生成视频......",
        "正在生成 1 张图片...",
        "⏳生成中，请稍等...",
        "开始绘制.......",
        "Generating.....",
        "🎬 Starting video generation....",
        "Rendering...",
        "Creating image...",
        "Status: generating",
    ],
    "optimizing": [
        "🔄 正在优化视频质量....",
        "🔄 Optimizing video quality....",
        "正在提升画质...",
        "Upscaling video...",
    ],
}


@pytest.mark.parametrize(("stage", "line"), [(stage, line) for stage in STAGES for line in STAGES[stage]])
def test_a_stage_has_many_spellings(stage: str, line: str) -> None:
    assert read(quoted("ID: `task_1`", line)).stages == (stage,)
    assert read(f"{line}\n").stages == (stage,)


@in_every_layout
@pytest.mark.parametrize("language", [0, 1], ids=["Chinese", "English"])
def test_stages_are_listed_in_order(language: int, layout: Layout) -> None:
    lines = [
        ("排队中...", "Queuing..."),
        ("🖼️ 正在处理图片.", "🖼️ Processing images."),
        ("🎬 开始生成视频..", "🎬 Starting video generation.."),
        ("🔄 正在优化视频质量....", "🔄 Optimizing video quality...."),
    ]
    assert read(layout(*(line[language] for line in lines))).stages == (
        "queued",
        "preparing",
        "generating",
        "optimizing",
    )


@in_every_layout
def test_a_stage_that_is_written_again_is_listed_again(layout: Layout) -> None:
    task = read(layout("排队中..", "生成中..", "生成中..", "排队中..", "生成中.."))
    assert task.stages == ("queued", "generating", "generating", "queued", "generating")


def test_dots_do_not_restart_a_stage() -> None:
    assert read("> 排队中.\n.\n...\n> 生成中\n....\n" + "." * 500).stages == ("queued", "generating")


@in_every_layout
@pytest.mark.parametrize(
    ("stage", "tick"),
    [
        ("排队中..", "正在生成视频中，当前进度{}%"),
        ("排队中..", "生成中 {}%"),
        ("Queuing..", "Generating... {}%"),
    ],
)
def test_a_tick_whose_own_words_say_that_it_generates_enters_generating_once(
    stage: str, tick: str, layout: Layout
) -> None:
    task = read(layout(stage, tick.format(25), tick.format(50), tick.format(75)))
    assert (task.stages, task.progress) == (("queued", "generating"), (25, 50, 75))


def test_such_a_tick_enters_generating_again_when_another_stage_came_between() -> None:
    task = read("生成中..\n正在生成视频中，当前进度25%\n排队中..\n正在生成视频中，当前进度50%\n")
    assert task.stages == ("generating", "queued", "generating")


@in_every_layout
@pytest.mark.parametrize("tick", ["进度 45%", "🏃 进度：45%", "当前进度：45%", "Progress 45%", "🏃 Progress: 45%"])
def test_progress_alone_enters_no_stage(tick: str, layout: Layout) -> None:
    task = read(layout("排队中..", tick))
    assert (task.stages, task.progress) == (("queued",), (45,))


@pytest.mark.parametrize(
    "line",
    [
        "类型: 文字生成",
        "Type: VEO9 start frame video generation",
        "视频生成任务已创建",
        "Video generation task created",
        "✅ 任务创建成功",
    ],
)
def test_a_notice_enters_no_stage(line: str) -> None:
    assert read(quoted("ID: `task_1`", line)).stages == ()


# ---- fields: progress ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "progress"),
    [
        ("🏃 进度 76..", [76]),
        ("🏃 进度 36..44..61..", [36, 44, 61]),
        ("🏃 进度 72..100", [72, 100]),
        ("🏃 Progress 7....13....25...27...", [7, 13, 25, 27]),
        ("进度 14%.", [14]),
        ("进度 14%....", [14]),
        ("进度 **67%**", [67]),
        ("进度：98.7%", [98.7]),
        ("🏃 进度：36.0%", [36]),
        ("当前进度 45%", [45]),
        ("已完成 45%", [45]),
        ("45%", [45]),
        ("进度 45％", [45]),
        ("Progress: 45.5%", [45.5]),
        ("Progress: [██████░░░░] 60%", [60]),
        ("**Video Generation Progress**: 87% (running)", [87]),
        ("🏃 进度 10%..20%..30%", [10, 20, 30]),
        ("进度 0%", [0]),
    ],
)
def test_a_percentage_is_a_number_whatever_its_spelling(line: str, progress: list[float]) -> None:
    assert list(read(quoted("ID: `task_1`", line)).progress) == progress
    assert list(read(f"{line}\n").progress) == progress


@in_every_layout
def test_percentages_are_in_the_order_written(layout: Layout) -> None:
    task = read(layout("🏃 进度 12..44..", "进度 30%", "Progress: 98.7%", "进度 **98.7%**"))
    assert task.progress == (12, 44, 30, 98.7, 98.7)


def test_a_percentage_in_prose_is_no_progress() -> None:
    task = read("The battery is at 45% and the mood is calm, so I would suggest a darker palette.")
    assert (task.progress, task.status) == ((), "failed")


# ---- fields: links -------------------------------------------------------------------


@in_every_layout
@pytest.mark.parametrize(
    "line",
    [
        f"[数据预览]({WEB}) | [原始数据]({SOURCE})",
        f"[Data Preview]({WEB}) | [Source Data]({SOURCE})",
        f"[Data Preview]({WEB}) | [Raw Data]({SOURCE})",
        f"[原始数据]({SOURCE})|[数据预览]({WEB})",
        f"数据预览 ({WEB}) | 原始数据 ({SOURCE})",
        f"Data Preview ({WEB}) | Source Data ({SOURCE})",
    ],
)
def test_web_is_a_page_and_source_is_json(line: str, layout: Layout) -> None:
    task = read(layout("ID: `task_01abc`", line, "排队中.."))
    assert (task.links, task.task_id, task.stages) == ({"web": WEB, "source": SOURCE}, "task_01abc", ("queued",))
    assert (task.results, task.previews) == ((), ())


def test_absent_links_are_left_out() -> None:
    assert read(f"> [数据预览]({WEB})\n> 排队中").links == {"web": WEB}
    assert read(f"> [Source Data]({SOURCE})\n> Queuing").links == {"source": SOURCE}
    assert read("> 排队中").links == {}


# ---- layout --------------------------------------------------------------------------


def test_lines_may_come_in_any_order() -> None:
    task = read(ECHO + quoted(*CHINESE))
    body = list(CHINESE[:7])
    for seed in range(8):
        random.Random(seed).shuffle(body)
        other = read(ECHO + quoted(*body, *CHINESE[7:]))
        assert (other.status, other.task_id, other.ids, other.links) == (
            task.status,
            task.task_id,
            task.ids,
            task.links,
        )
        assert sorted(other.stages) == sorted(task.stages)
        assert (other.progress, other.results, other.previews) == (task.progress, task.results, task.previews)


@pytest.mark.parametrize("missing", range(7))
def test_any_status_line_may_be_missing(missing: int) -> None:
    lines = [line for i, line in enumerate(CHINESE) if i != missing]
    task = read(quoted(*lines))
    assert (task.status, task.results) == ("completed", read(quoted(*CHINESE)).results)


def test_a_whole_message_may_be_repeated() -> None:
    once = read(quoted(*CHINESE))
    twice = read(quoted(*CHINESE, *CHINESE))
    assert twice.results == once.results
    assert (twice.stages, twice.progress) == (once.stages * 2, once.progress * 2)
    assert (twice.status, twice.task_id, twice.ids, twice.links) == (once.status, once.task_id, once.ids, once.links)


@pytest.mark.parametrize(
    "line",
    [
        "> 排队中... 生成中. 进度 42..",
        "> 排队中...> 生成中.>🏃 进度 42..",
        "排队中... > 生成中. > 进度 42%",
        "> Queuing... Generating. Progress 42..",
        "Queuing... > Generating. >🏃 Progress 42%.",
    ],
)
def test_several_statuses_may_share_a_line(line: str) -> None:
    task = read(line)
    assert (task.stages, task.progress) == (("queued", "generating"), (42,))


def test_a_literal_backslash_n_ends_a_line() -> None:
    task = read(f"正在生成视频中，当前进度100%\\n{CDN}a.mp4\\nHere is the video")
    assert (task.progress, task.results) == ((100,), (video(f"{CDN}a.mp4"),))
    assert read("生成失败: all clips were lost\\n\\nGoodbye").error == TaskError("unknown", None, "all clips were lost")


def test_inside_the_echo_a_backslash_n_is_the_strings_own() -> None:
    task = read('```json\n{"prompt": "one\\ntwo"}\n```\\n> 排队中..')
    assert (task.parameters, task.stages) == ({"prompt": "one\ntwo"}, ("queued",))


@in_every_layout
@pytest.mark.parametrize(
    ("line", "results"),
    [
        (f"otter ({CDN}a.png)", [image(f"{CDN}a.png")]),
        (f"{CDN}a.png ({CDN}a.png)", [image(f"{CDN}a.png")]),
        (f"在线播放▶️ ({CDN}a.mp4)", [video(f"{CDN}a.mp4")]),
        ("▶️ Watch Online (https://v.example/12)", [video("https://v.example/12")]),
        (f"▶️ 在线观看 ({CDN}a.mp4) | ⏬ 下载视频 ({SAVE}a.mp4)", [video(f"{CDN}a.mp4", f"{SAVE}a.mp4")]),
    ],
)
def test_a_label_before_a_url_in_brackets_is_a_link_or_by_its_extension_an_image(
    line: str, results: list[Result], layout: Layout
) -> None:
    task = read(layout("✅ 生成完成", "sid: s_1", line))
    assert (task.status, task.ids, list(task.results)) == ("completed", {"sid": "s_1"}, results)


@pytest.mark.parametrize("mark", ["", "> "])
@pytest.mark.parametrize(
    ("url", "result"), [(f"{CDN}a.png", image(f"{CDN}a.png")), (f"{CDN}a.mp4", video(f"{CDN}a.mp4"))]
)
def test_a_url_in_brackets_alone_on_a_line_is_a_link_or_by_its_extension_an_image(
    mark: str, url: str, result: Result
) -> None:
    assert read(f"> ✅ 生成完成\n{mark}({url})\n").results == (result,)


def test_a_stripped_image_before_a_stripped_video_is_its_cover_and_a_stripped_download_its_twin() -> None:
    task = read(f"> 生成完成 ✅\n\ncover ({CDN}a.webp)\n在线播放▶️ ({CDN}a.mp4)\n⏬下载 ({SAVE}a.mp4)")
    assert task.results == (video(f"{CDN}a.mp4", f"{SAVE}a.mp4", f"{CDN}a.webp"),)


def test_a_page_in_brackets_is_text() -> None:
    said = "See the docs (https://docs.example/guide) for more, I can't draw this."
    assert read(said).error == TaskError("text_only", None, said)


# ---- parameters ----------------------------------------------------------------------

REST = f"\n\n> ID: `task_1`\n> 生成中...\n\n![otters]({CDN}a.png)"


def echoed(echo: str) -> dict[str, Any] | None:
    """The parameters of an echo, after which all the rest is read as ever."""
    task = read(echo + REST)
    assert (task.status, task.task_id, task.stages, task.progress) == ("completed", "task_1", ("generating",), ())
    assert (task.results, task.previews, task.error) == ((image(f"{CDN}a.png"),), (), None)
    return None if task.parameters is None else dict(task.parameters)


@pytest.mark.parametrize(
    "echo",
    [
        '```json\n{\n  "prompt": "two otters"\n}\n```',
        '```json\n{\n    "prompt": "two otters"\n}\n```',
        '```\n{"prompt": "two otters"}\n```',
        '```json\r\n{\r\n  "prompt": "two otters"\r\n}\r\n```',
        '```json {"prompt": "two otters"} ```',
        '```json\n{"prompt": "two otters"}\n```Drawing them now!',
        'Here it is: ```json\n{"prompt": "two otters"}\n```',
        '\\`\\`\\`\n{\n  "prompt": "two otters"\n}\n\\`\\`\\`',
        '\\`\\`\\`json\n{"prompt": "two otters"}\n\\`\\`\\`',
    ],
)
def test_the_echo_may_stand_in_a_fence(echo: str) -> None:
    assert echoed(echo) == {"prompt": "two otters"}


@pytest.mark.parametrize(
    "echo",
    [
        '{"prompt": "two otters"}',
        '{\n  "prompt": "two otters"\n}',
        '{\n  "prompt": "two otters"\n}Drawing them now!',
        '好的，马上画。\n\t{"prompt": "two otters"}',
        'Sure:\n\n    {"prompt": "two otters"}',
        '好的，马上画。{"prompt": "two otters"}',
        'Sure, here it goes: {"prompt": "two otters"}',
    ],
)
def test_the_echo_may_be_bare(echo: str) -> None:
    assert echoed(echo) == {"prompt": "two otters"}


def test_the_echo_is_decoded_as_json() -> None:
    echo = '{"a": [1, -1.5e3, true, null], "b": {"c": "\\u4f60 \\"hi\\" C:\\\\x \\/"}, "n": 2}'
    assert echoed(f"```json\n{echo}\n```") == json.loads(echo)


def test_the_first_object_is_the_echo() -> None:
    assert echoed('{"prompt": "one"}\n\n{"prompt": "two"}') == {"prompt": "one"}
    assert echoed('```json\n{"prompt": "one"}\n```\n\n```json\n{"prompt": "two"}\n```') == {"prompt": "one"}


def test_a_text_without_an_object_has_no_parameters() -> None:
    assert echoed("Sure, drawing them now!") is None
    assert echoed("```\nprompt: two otters\n```") is None


@pytest.mark.parametrize(
    "echo",
    [
        '```json\n{\n  "prompt": "two otters",\n}\n```',
        '```json\n{\n  "prompt": "two "tame" otters",\n  "n": 1\n}\n```',
        "```json\n{'prompt': 'two otters', 'image': None}\n```",
        '```json\n{"prompt": "two\notters"}\n```',
        '```json\n{\n  "prompt": "two otters"\n```',
        "```json\n{“prompt”: “two otters”}\n```",
        '{"prompt": "two "tame" otters", "n": 1}',
        '\\`\\`\\`\n{\n  "prompt": "two "tame" otters"\n}\n\\`\\`\\`',
    ],
)
def test_an_echo_that_is_not_valid_json_is_null_and_harms_nothing(echo: str) -> None:
    assert echoed(echo) is None


@pytest.mark.parametrize(
    "prompt",
    [
        "write ``` and ```json here",
        "a > b\n> 排队中...\n> 生成完成 ✅",
        "as in https://in.example/ref.png and https://in.example/ref.mp4",
        "![ref](https://in.example/ref.png) [在线播放](https://in.example/ref.mp4)",
        "<video src='https://in.example/ref.mp4'></video>",
        "braces } { and {curly} ones",
    ],
)
def test_the_strings_of_the_echo_hold_anything(prompt: str) -> None:
    for spaces in (None, 2):
        echo = json.dumps({"prompt": prompt}, ensure_ascii=False, indent=spaces)
        assert echoed(echo) == {"prompt": prompt}
        assert echoed(f"```json\n{echo}\n```") == {"prompt": prompt}


@pytest.mark.parametrize("end", ["", ","], ids=["valid", "broken"])
def test_urls_inside_the_echo_are_never_results(end: str) -> None:
    task = read(f'```json\n{{"prompt": "otters", "image": ["{CDN}in.png", "{CDN}in.mp4"]{end}}}\n```\n> 排队中..')
    assert (task.results, task.previews, task.status) == ((), (), "incomplete")


def test_an_input_that_is_delivered_outside_the_echo_is_a_result() -> None:
    assert read(f'{{"image": "{CDN}a.png"}}\n\n![done]({CDN}a.png)').results == (image(f"{CDN}a.png"),)


@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```", ECHO + "{}", "> ID: `task_0`\n> 排队中..\n{}"])
def test_an_object_with_status_or_error_is_the_outcome(form: str) -> None:
    told = '{"id": "task_9", "status": "failed", "error": {"code": "c_1", "message": "The clip violates our policy"}}'
    task = read(form.replace("{}", told))
    assert (task.status, task.task_id) == ("failed", "task_9")
    assert task.error == TaskError("moderation", "c_1", "The clip violates our policy")


def test_either_of_status_and_error_makes_an_object_the_outcome() -> None:
    task = read('{"id": "task_9", "error": {"message": "lost", "code": "c_1"}}')
    assert (task.status, task.task_id, task.error) == ("failed", "task_9", TaskError("unknown", "c_1", "lost"))
    task = read('{"id": "task_9", "status": "failed"}')
    assert (task.status, task.task_id, task.error) == ("failed", "task_9", TaskError("unknown", None, None))


def test_an_outcomes_other_keys_are_the_parameters() -> None:
    task = read('{"id": "task_9", "status": "failed", "error": {"message": "lost"}, "model": "veo9", "seconds": 8}')
    assert task.parameters == {"model": "veo9", "seconds": 8}


def test_an_outcome_leaves_the_echo_before_it_alone() -> None:
    task = read(ECHO + '{"id": "task_9", "status": "failed", "error": {"message": "lost"}, "model": "veo9"}')
    assert task.parameters == {"prompt": "two otters", "n": 2}


def test_the_echo_is_the_first_object_that_is_no_outcome() -> None:
    task = read('{"status": "queued", "id": "task_9"}\n\n{"prompt": "two otters"}')
    assert (task.task_id, task.parameters) == ("task_9", {"prompt": "two otters"})


@pytest.mark.parametrize("failure", ["生成失败:", "Generation failed:", "> 生成失败，错误原因如下"])
def test_a_fence_after_a_failure_belongs_to_its_message(failure: str) -> None:
    fence = '```json\n{"detail": "lost at sea"}\n```'
    task = read(f"{failure}\n\n{fence}")
    assert task.parameters is None
    assert task.error == TaskError("unknown", None, fence)


# ---- results: images -----------------------------------------------------------------


@in_every_layout
@pytest.mark.parametrize(
    "url",
    [
        f"{CDN}a.png",
        f"{CDN}no-extension",
        "https://other.example/a.png?sig=a%2Bb%3D&se=2031-04-09T02%3A55%3A56Z#frag",
        "https://other.example/a(1).png",
        "/files/a.png",
        "images/a.png",
        "data:image/png;base64,iVBORw0KGgo=",
    ],
)
def test_an_image_is_a_result_and_its_parentheses_hold_its_url(url: str, layout: Layout) -> None:
    task = read(layout("✅ 生成完成", f"![otter]({url})"))
    assert (task.status, task.results) == ("completed", (image(url),))


@pytest.mark.parametrize(
    "text",
    [
        "Here you go! ![otter]({}) Hope you like it.",
        "给你画好了，一只水獭。![otter]({})希望你喜欢！",
        "1. ![otter]({})",
        "**![otter]({})**",
        "| ![otter]({}) |\n|---|",
    ],
)
def test_an_image_in_prose_is_a_result(text: str) -> None:
    assert read(text.replace("{}", f"{CDN}a.png")).results == (image(f"{CDN}a.png"),)


@pytest.mark.parametrize(
    "host",
    [
        "https://media.example",
        "http://localhost:8000",
        "http://10.0.0.7:40005",
        "https://follow.example",
        "//h.example",
    ],
)
def test_a_host_never_decides(host: str) -> None:
    assert read(f"![otter]({host}/x/1)").results == (image(f"{host}/x/1"),)
    assert read(f"[在线播放]({host}/x/1)").results == (video(f"{host}/x/1"),)
    assert read(f"I looked it up at [this site]({host}/x/1), no pictures there.").results == ()


# ---- results: video and audio links --------------------------------------------------


@in_every_layout
@pytest.mark.parametrize(
    "label",
    ["在线播放▶️", "▶️ 在线观看", "点击播放", "点击这里", "▶️ Watch Online", "Play Video", "Online Play▶️", "Click here"],
)
def test_a_link_is_a_video_when_its_label_says_play_or_watch(label: str, layout: Layout) -> None:
    task = read(layout("✅ 生成完成", f"[{label}](https://v.example/12?token=1)"))
    assert (task.status, task.results) == ("completed", (video("https://v.example/12?token=1"),))


@pytest.mark.parametrize("query", ["", "?name=a.png", "?a=1&b=2#t=0.1"])
@pytest.mark.parametrize(
    ("path", "result"), [("a.mp4", video), ("A.MOV", video), ("a.webm", video), ("a.mp3", audio), ("a.wav", audio)]
)
def test_a_link_is_a_video_or_audio_when_its_path_ends_in_an_extension_query_aside(
    path: str, result: Callable[[str], Result], query: str
) -> None:
    assert read(f"[the otters]({CDN}{path}{query})").results == (result(f"{CDN}{path}{query}"),)


def test_an_extension_in_the_query_does_not_count() -> None:
    assert read("Look at [the site](https://site.example/find?name=a.mp4).").results == ()


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("音频1🎧: [点击播放]({})", audio),
        ("音频🎧：[点击播放]({})", audio),
        ("视频🖥: [点击播放]({})", video),
        ("> 视频🖥️: [点击播放]({})", video),
        ("Audio: [Play]({})", audio),
        ("Video: [Play]({})", video),
        ("音频1🎧: 点击播放 ({})", audio),
    ],
)
def test_a_label_outside_the_link_decides_the_kind(line: str, result: Callable[[str], Result]) -> None:
    url = "https://v.example/?id=1"
    assert read(line.replace("{}", url)).results == (result(url),)


@pytest.mark.parametrize(
    "text",
    [
        "I took the weather from [a weather page](https://weather.example/today), but drew nothing.",
        "请访问 [帮助中心](https://help.example/) 了解更多。",
    ],
)
def test_a_link_inside_a_sentence_is_text(text: str) -> None:
    task = read(text)
    assert (task.results, task.previews) == ((), ())
    assert task.error == TaskError("text_only", None, text)


# ---- results: HTML and bare URLs -----------------------------------------------------


@pytest.mark.parametrize(
    ("html", "result"),
    [
        (f"<video src='{CDN}a.mp4' controls></video>", video(f"{CDN}a.mp4")),
        (f'<VIDEO CONTROLS SRC="{CDN}a.mp4"></VIDEO>', video(f"{CDN}a.mp4")),
        (f'<video>\n  <source src="{CDN}a.mp4" type="video/mp4">\n</video>', video(f"{CDN}a.mp4")),
        ('<video src="/files/a"></video>', video("/files/a")),
        (f'<img alt="a > b" src="{CDN}a.png" />', image(f"{CDN}a.png")),
        (f'<p align="center"><img src="{CDN}a.png"></p>', image(f"{CDN}a.png")),
        (f'<audio controls src="{CDN}a.mp3"></audio>', audio(f"{CDN}a.mp3")),
        (f"<video src='{CDN}a?x=1&amp;y=2'></video>", video(f"{CDN}a?x=1&y=2")),
    ],
)
def test_html_media_count_entities_decoded(html: str, result: Result) -> None:
    assert read(html).results == (result,)
    assert read(f"> 生成中...\n> 生成完成 ✅\n\n{html}\n\nEnjoy!").results == (result,)


@pytest.mark.parametrize(
    "html",
    [
        f'<video poster="{CDN}a.webp?x=1&amp;y=2" src="{CDN}a.mp4"></video>',
        f"<video controls poster='{CDN}a.webp?x=1&amp;y=2'>\n<source src='{CDN}a.mp4'>\n</video>",
    ],
)
def test_a_poster_attribute_is_that_videos_poster(html: str) -> None:
    assert read(html).results == (video(f"{CDN}a.mp4", None, f"{CDN}a.webp?x=1&y=2"),)


@pytest.mark.parametrize("line", ["{}", "> {}", "  {}  "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\\n", ""])
@pytest.mark.parametrize(
    ("url", "result"),
    [
        (f"{CDN}a.mp4", video),
        (f"{CDN}a.mp4?a=1&b=2#t=0.1", video),
        (f"{CDN}a.png", image),
        (f"{CDN}a.mp3", audio),
    ],
)
def test_a_line_that_is_nothing_but_a_url_counts_by_its_extension(
    url: str, result: Callable[[str], Result], line: str, end: str
) -> None:
    assert read("> 生成完成 ✅\n" + line.replace("{}", url) + end).results == (result(url),)


@pytest.mark.parametrize(
    "text", [f"See {CDN}a.mp4 for what I mean.", f"{CDN}a.mp4 is what I meant.", "https://v.example/video/1"]
)
def test_a_url_with_words_beside_it_or_without_an_extension_is_text(text: str) -> None:
    task = read(text)
    assert (task.results, task.error) == ((), TaskError("text_only", None, text))


# ---- results: covers -----------------------------------------------------------------


@in_every_layout
@pytest.mark.parametrize("label", ["在线播放▶️", "▶️ Watch Online", "otters"])
def test_an_image_directly_before_a_video_link_is_its_poster(label: str, layout: Layout) -> None:
    task = read(layout("生成完成 ✅", f"![cover]({CDN}a.webp)", f"[{label}]({CDN}a.mp4)"))
    assert task.results == (video(f"{CDN}a.mp4", None, f"{CDN}a.webp"),)
    assert task.previews == ()


@pytest.mark.parametrize("space", ["", " ", "\t", "\n", "\n\n\n", "  \n", "\r\n", "\n \n"])
def test_only_white_space_stands_between_a_cover_and_its_video(space: str) -> None:
    task = read(f"![cover]({CDN}a.webp){space}[在线播放]({CDN}a.mp4)")
    assert task.results == (video(f"{CDN}a.mp4", None, f"{CDN}a.webp"),)


@pytest.mark.parametrize("between", ["视频🖥: ", "Video: ", "Here it moves:\n", "> sid: s_1\n", "✅ 生成完成\n"])
def test_with_anything_else_between_the_image_is_a_result(between: str) -> None:
    task = read(f"![otters]({CDN}a.webp)\n{between}[点击播放]({CDN}a.mp4)")
    assert task.results == (image(f"{CDN}a.webp"), video(f"{CDN}a.mp4"))


def test_each_video_has_its_own_cover() -> None:
    text = "\n\n".join(f"![c]({CDN}{n}.webp)\n[在线播放{n}]({CDN}{n}.mp4)" for n in (1, 2))
    assert read(text).results == (
        video(f"{CDN}1.mp4", None, f"{CDN}1.webp"),
        video(f"{CDN}2.mp4", None, f"{CDN}2.webp"),
    )


def test_an_image_before_an_audio_link_is_no_cover() -> None:
    assert read(f"![otters]({CDN}a.webp)\n[the song]({CDN}a.mp3)").results == (
        image(f"{CDN}a.webp"),
        audio(f"{CDN}a.mp3"),
    )


# ---- results: download twins ---------------------------------------------------------


@in_every_layout
@pytest.mark.parametrize(
    "label", ["点击下载", "下载⏬", "⏬ 下载视频", "高清下载", "Click to download", "⏬ Download Video", "DOWNLOAD"]
)
def test_a_link_whose_label_says_download_is_the_results_download(label: str, layout: Layout) -> None:
    task = read(layout("✅ 生成完成", f"![otter]({CDN}a.png)", f"[{label}](https://save.example/get?id=9)"))
    assert task.results == (image(f"{CDN}a.png", "https://save.example/get?id=9"),)


@pytest.mark.parametrize("label", ["下载1", "下载⏬", "Download"])
def test_an_image_whose_label_says_download_is_a_twin_too(label: str) -> None:
    url = "https://save.example/get?id=9"
    assert read(f"![image1]({CDN}a.png)\n\n![{label}]({url})").results == (image(f"{CDN}a.png", url),)


def test_a_download_path_is_a_twin_whatever_its_label() -> None:
    assert read(f"![otter]({CDN}a.png)\n\n[the original]({SAVE}a.png)").results == (
        image(f"{CDN}a.png", f"{SAVE}a.png"),
    )
    assert read(f"![otter]({CDN}a.png)\n\n![otter]({SAVE}a.png)").results == (image(f"{CDN}a.png", f"{SAVE}a.png"),)


def test_a_twin_is_matched_by_path_before_its_number() -> None:
    task = read(f"![image1]({CDN}a.png)![image2]({CDN}b.png)\n[下载1]({SAVE}b.png)\t[下载2]({SAVE}a.png)")
    assert task.results == (image(f"{CDN}a.png", f"{SAVE}a.png"), image(f"{CDN}b.png", f"{SAVE}b.png"))


@pytest.mark.parametrize("download", ["下载", "Download "])
def test_a_twin_is_matched_by_number_before_the_nearest(download: str) -> None:
    task = read(
        "![image1](https://a.example/1)![image2](https://a.example/2)\n"
        f"[{download}1](https://b.example/x)\t[{download}2](https://b.example/y)"
    )
    assert task.results == (
        image("https://a.example/1", "https://b.example/x"),
        image("https://a.example/2", "https://b.example/y"),
    )


def test_a_twin_goes_to_the_nearest_earlier_result_that_has_none() -> None:
    first, second = "![otter](https://a.example/1)\n", "![otter](https://a.example/2)\n"
    x, y = "[点击下载](https://b.example/x)\n", "[点击下载](https://b.example/y)\n"
    assert read(first + x + second + y).results == (
        image("https://a.example/1", "https://b.example/x"),
        image("https://a.example/2", "https://b.example/y"),
    )
    assert read(first + second + x + y).results == (
        image("https://a.example/1", "https://b.example/y"),
        image("https://a.example/2", "https://b.example/x"),
    )


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (f"[点击下载]({SAVE}a.png)", image(f"{SAVE}a.png", f"{SAVE}a.png")),
        (f"[⏬ Download Video]({SAVE}a.mp4)", video(f"{SAVE}a.mp4", f"{SAVE}a.mp4")),
        (f"![Generated Image]({SAVE}a.png)", image(f"{SAVE}a.png", f"{SAVE}a.png")),
    ],
)
def test_a_twin_with_no_result_of_its_own_is_the_result_as_written(text: str, result: Result) -> None:
    task = read(f"> 生成完成 ✅\n\n{text}")
    assert (task.status, task.results) == ("completed", (result,))


def test_a_twin_may_come_before_its_result() -> None:
    assert read(f"[点击下载]({SAVE}a.png)\n\n![otter]({CDN}a.png)").results == (image(f"{CDN}a.png", f"{SAVE}a.png"),)


# ---- results: duplicates -------------------------------------------------------------


@in_every_layout
def test_the_same_url_twice_is_one_result_at_its_first_place(layout: Layout) -> None:
    task = read(layout(f"![a]({CDN}a.png)", f"![b]({CDN}b.png)", f"![again]({CDN}a.png)"))
    assert task.results == (image(f"{CDN}a.png"), image(f"{CDN}b.png"))


def test_a_link_and_its_bare_url_are_one_result() -> None:
    assert read(f"[在线播放]({CDN}a.mp4)\n{CDN}a.mp4\n").results == (video(f"{CDN}a.mp4"),)


def test_a_url_bracketed_twice_is_one_link() -> None:
    assert read(f"![otter]({CDN}a.png]({CDN}a.png)").results == (image(f"{CDN}a.png"),)
    assert read(f"[在线播放]({CDN}a.mp4]({CDN}a.mp4)").results == (video(f"{CDN}a.mp4"),)


# ---- results: previews ---------------------------------------------------------------


@in_every_layout
@pytest.mark.parametrize("word", ["开始绘制.......", "进度 ", "🏃 Progress "])
def test_media_linked_from_a_progress_tick_are_previews(word: str, layout: Layout) -> None:
    task = read(layout(f"{word}[0%]({CDN}0.webp).[31%]({CDN}31.webp)", "sid: s_1"))
    assert (task.progress, task.previews) == ((0, 31), (f"{CDN}0.webp", f"{CDN}31.webp"))
    assert (task.results, task.status) == ((), "incomplete")


@in_every_layout
@pytest.mark.parametrize("tick", ["[100]({})", "[100%]({})", "100 ({})"])
def test_a_hundred_that_is_a_link_is_a_progress_tick(tick: str, layout: Layout) -> None:
    task = read(layout("🏃 进度 72.." + tick.replace("{}", f"{CDN}tick.png"), "✅ 生成完成"))
    assert (task.progress, task.previews) == ((72, 100), (f"{CDN}tick.png",))
    assert (task.results, task.status) == ((), "completed")


@in_every_layout
@pytest.mark.parametrize(
    ("preview", "link", "stage"),
    [
        ("✅ 预览视频已生成", "[▶️ 在线观看]({})", "🔄 正在优化视频质量...."),
        ("✅ 预览视频已生成", "[📺 在线预览]({})", "🔄 正在优化视频质量...."),
        ("✅ Preview video generated", "[📺 Online Preview]({})", "🔄 Optimizing video quality...."),
        ("✅ Preview video generated", "[▶️ Watch Online]({})", "🔄 Optimizing video quality...."),
    ],
)
def test_media_under_a_line_that_says_preview_are_previews_and_their_twins_are_nothing(
    preview: str, link: str, stage: str, layout: Layout
) -> None:
    twin = f" | [⏬ Download Video]({SAVE}low.mp4)"
    task = read(layout(preview, link.replace("{}", f"{CDN}low.mp4") + twin, stage))
    assert (task.previews, task.results) == ((f"{CDN}low.mp4",), ())
    assert (task.stages, task.status) == (("optimizing",), "incomplete")


def test_media_after_the_preview_are_results() -> None:
    task = read(
        quoted("✅ 预览视频已生成", f"[📺 在线预览]({CDN}low.mp4)", "🔄 正在优化视频质量..", "🎉 高质量视频已生成")
        + f"\n\n[▶️ 在线观看]({CDN}a.mp4)"
    )
    assert (task.previews, task.results) == ((f"{CDN}low.mp4",), (video(f"{CDN}a.mp4"),))


@pytest.mark.parametrize("label", ["临时播放", "Streaming", "Temporary link", "Play (temporary)"])
def test_media_labelled_streaming_or_temporary_are_previews(label: str) -> None:
    task = read(f"> 生成中...\n\n[{label}]({CDN}a.mp4)")
    assert (task.previews, task.results, task.status) == ((f"{CDN}a.mp4",), (), "incomplete")


@pytest.mark.parametrize("label", ["📺 在线预览", "📺 Online Preview"])
def test_the_download_twin_of_a_labelled_preview_is_nothing(label: str) -> None:
    task = read(f"> 生成中...\n\n[{label}]({CDN}low.mp4) | [⏬ 下载视频]({SAVE}low.mp4)\n\n> 生成中..")
    assert (task.previews, task.results) == ((f"{CDN}low.mp4",), ())


@pytest.mark.parametrize("line", ["✅ 预览图片已生成", "✅ Preview image generated"])
@pytest.mark.parametrize(
    "medium", ["![otter]({})", "<img src='{}'>", "{}", "otter ({})"], ids=["image", "html", "url", "stripped"]
)
def test_images_under_a_line_that_says_preview_are_previews_too(line: str, medium: str) -> None:
    task = read(quoted(line, medium.replace("{}", f"{CDN}low.png"), "生成中.."))
    assert (task.previews, task.results) == ((f"{CDN}low.png",), ())


def test_a_preview_that_is_a_result_later_is_not_listed() -> None:
    task = read(f"> 开始绘制.[50%]({CDN}50.webp).[100%]({CDN}a.png)\n\n![otter]({CDN}a.png)")
    assert (task.previews, task.results) == ((f"{CDN}50.webp",), (image(f"{CDN}a.png"),))


def test_a_preview_that_was_a_result_before_is_not_listed() -> None:
    task = read(f"![otter]({CDN}a.png)\n\n> 进度 [50%]({CDN}50.webp).[100%]({CDN}a.png)")
    assert (task.previews, task.results) == ((f"{CDN}50.webp",), (image(f"{CDN}a.png"),))


# ---- status: while the text is still arriving ----------------------------------------


@in_every_layout
@pytest.mark.parametrize("queued_line", ["排队中...", "Queuing..."])
def test_an_open_text_is_queued_if_its_last_stage_is(queued_line: str, layout: Layout) -> None:
    assert read(layout("ID: `task_1`", queued_line) + "\n", closed=False).status == "queued"


def test_an_open_text_is_queued_if_a_task_id_is_all_there_is() -> None:
    task = read("> ID: `task_1`\n", closed=False)
    assert (task.task_id, task.status) == ("task_1", "queued")


@in_every_layout
@pytest.mark.parametrize(
    "line", ["生成中...", "🖼️ 正在处理图片.", "🔄 正在优化视频质量..", "🏃 进度 36..", "Generating...", "Progress 36%."]
)
def test_an_open_text_is_in_progress_once_a_later_stage_or_any_progress_was_seen(line: str, layout: Layout) -> None:
    assert read(layout("ID: `task_1`", "排队中...", line) + "\n", closed=False).status == "in_progress"


def test_an_open_text_is_completed_or_failed_as_soon_as_it_says_so() -> None:
    assert read("> 生成中..\n> 生成完成 ✅\n", closed=False).status == "completed"
    assert read(f"> 生成中..\n\n![otter]({CDN}a.png)\n", closed=False).status == "completed"
    assert read("> 生成中..\n> 生成失败: timeout\n\n", closed=False).status == "failed"
    assert read(f"> 生成失败: timeout\n\n![otter]({CDN}a.png)\n", closed=False).status == "completed"


@pytest.mark.parametrize("text", ["", "I'm sorry, but", "> 生成中..\n", "抱歉，我画不了。\n\n", ECHO])
def test_an_open_text_is_never_incomplete_nor_taken_for_a_refusal(text: str) -> None:
    task = read(text, closed=False)
    assert task.status in ("queued", "in_progress")
    assert task.error is None


def test_a_whole_text_is_complete_unless_said_otherwise() -> None:
    text = "> ID: `task_1`\n> 排队中..\n"
    assert parse(text) == parse(text, closed=True)
    assert (parse(text).status, parse(text, closed=False).status) == ("incomplete", "queued")


# ---- status: success -----------------------------------------------------------------


@in_every_layout
@pytest.mark.parametrize(
    "line",
    [
        "生成完成 ✅",
        "✅ 生成完成",
        "🎉 高质量视频已生成",
        "✅ 绘图已完成",
        "✅ 视频生成成功",
        "图像生成完成！",
        "任务完成",
        "Generation complete ✅",
        "✅ Generation complete",
        "🎉 High-quality video generated",
        "✅ Image generated",
        "Task completed",
        "状态: 已完成",
        "Status: completed",
    ],
)
def test_a_success_line_makes_it_completed(line: str, layout: Layout) -> None:
    task = read(layout("ID: `task_1`", "生成中...", line))
    assert (task.status, task.stages, task.results, task.error) == ("completed", ("generating",), (), None)


@pytest.mark.parametrize("line", ["> 生成中......✅", "> 生成中✅", "> Generating...✅"])
def test_a_check_mark_glued_to_the_dots_is_success(line: str) -> None:
    assert read(line).status == "completed"


@in_every_layout
def test_a_result_makes_it_completed(layout: Layout) -> None:
    assert read(layout("🎨 生成中...", f"![otter]({CDN}a.png)")).status == "completed"


def test_progress_below_100_does_not_matter() -> None:
    assert read(">🏃 进度 12..\n> 生成完成 ✅").status == "completed"
    assert read(f"> Progress 12%.\n\n![otter]({CDN}a.png)").status == "completed"


def test_progress_of_100_alone_is_no_success() -> None:
    assert read("> 排队中..\n> 进度 100%\n").status == "incomplete"


@in_lines
@pytest.mark.parametrize(
    "line",
    [
        "✅已接收到参数",
        "✅已设置变化强度：low",
        "✅ 参数设置成功",
        "✅ Settings applied",
        "提交任务✅",
        "✅ 提交成功",
        "✅ 任务创建成功",
        "✅ Task submitted successfully",
        "✅ 预览视频已生成",
        "✅ 预览视频生成完成",
        "✅ Preview video generated",
        "✅ Preview ready",
    ],
)
def test_a_success_word_beside_a_setting_a_submission_or_a_preview_is_no_success(line: str, layout: Layout) -> None:
    task = read(layout("ID: `task_1`", line, "排队中.."))
    assert (task.status, task.task_id, task.stages) == ("incomplete", "task_1", ("queued",))


@pytest.mark.parametrize("space", ["\n", "\n\n"])
def test_a_closing_line_after_a_failure_is_no_success(space: str) -> None:
    task = read(f"图片生成失败 ❌ - timeout{space}图片处理完成。")
    assert task.status == "failed"
    assert read("图片处理完成。").status == "completed"


# ---- status: failure -----------------------------------------------------------------


@in_every_layout
@pytest.mark.parametrize(
    "line",
    [
        "生成失败 ❌",
        "❌ 视频生成失败",
        "生成失败: 余额不足",
        "❌ 图片绘制失败：内容违规",
        "任务失败，原因：余额不足",
        "生成超时",
        "Generation failed ❌",
        "❌ Video generation failed",
        "Generation failed: content policy",
        "Task failed",
    ],
)
def test_a_failure_line_makes_it_failed(line: str, layout: Layout) -> None:
    task = read(layout("ID: `task_1`", "生成中...", line))
    assert (task.status, task.task_id, task.stages) == ("failed", "task_1", ("generating",))
    assert task.error is not None


@pytest.mark.parametrize(
    ("success", "failure"),
    [
        ("生成完成 ✅", "生成失败: 未找到视频地址"),
        ("Generation complete ✅", "Generation failed: nothing was delivered"),
    ],
)
@pytest.mark.parametrize("between", ["\n> ", "\n", " > "])
def test_a_failure_after_a_success_line_makes_it_failed(success: str, failure: str, between: str) -> None:
    task = read(f"> {success}{between}{failure}")
    assert task.status == "failed"
    assert task.error is not None
    assert task.error.category == "upstream"


@pytest.mark.parametrize("glued", ["> 生成中...生成失败", "> 排队中..生成失败", ">🏃 进度 36..44..生成失败 ❌"])
def test_a_failure_may_be_glued_to_the_dots(glued: str) -> None:
    assert read(glued).error == TaskError("unknown", None, "生成失败")
    assert read(glued).status == "failed"


@pytest.mark.parametrize(
    "line",
    [
        "生成失败，正在重试...",
        "**生成失败，正在重试**",
        "第 1 次重试（共 3 次）...",
        "⚠️ 生成失败，3 秒后重试",
        "Generation failed, retrying...",
        "Retrying (1/3)...",
    ],
)
def test_a_notice_that_says_it_retries_is_no_failure(line: str) -> None:
    task = read(quoted("ID: `task_1`", "生成中...", line, "生成中..."))
    assert (task.status, task.error, task.stages) == ("incomplete", None, ("generating", "generating"))


def test_the_reason_of_a_retry_is_no_failure() -> None:
    task = read("> ID: `task_1`\n\n**生成失败，正在重试**\n\n第 1 次重试（共 3 次）...\n\n失败原因：timeout\n\n")
    assert (task.status, task.error) == ("incomplete", None)


def test_a_failure_after_a_retry_is_one() -> None:
    task = read(quoted("生成失败，正在重试...", "生成中...", "生成失败: 内容违规"))
    assert (task.status, task.error) == ("failed", TaskError("moderation", None, "内容违规"))


@pytest.mark.parametrize(
    "line", ["⚠️ 放大失败，返回原图...", "⚠️ 生成失败的图片已跳过", "⚠️ Generation failed for clip 2", "⚠ 生成失败"]
)
def test_a_warning_is_no_failure(line: str) -> None:
    assert read(f"> 生成中...\n{line}\n").error is None
    assert read(f"> 生成中...\n{line}\n").status == "incomplete"
    task = read(f"> 生成中...\n> {line}\n\n![otter]({CDN}a.png)")
    assert (task.status, task.error) == ("completed", None)


@pytest.mark.parametrize(
    "result", [f"![otter]({CDN}a.png)", f"[在线播放]({CDN}a.mp4)", f"{CDN}a.mp4", f"<video src='{CDN}a.mp4'></video>"]
)
@pytest.mark.parametrize("failure", ["> 生成失败: timeout", "> Generation failed: timeout"])
def test_a_result_after_a_failure_makes_it_completed_again(failure: str, result: str) -> None:
    task = read(f"{failure}\n\n> 生成中...\n\n{result}")
    assert (task.status, len(task.results)) == ("completed", 1)


@pytest.mark.parametrize("success", ["生成完成 ✅", "🎉 High-quality video generated", "Task completed"])
def test_only_a_result_does(success: str) -> None:
    task = read(quoted("生成失败: timeout", success))
    assert (task.status, task.error) == ("failed", TaskError("timeout", "timeout", "timeout"))


@pytest.mark.parametrize("clips", ["ABB", "BBA", "BAB"])
def test_some_clips_failed_and_some_delivered_is_completed_with_the_last_failure(clips: str) -> None:
    failures = iter(["timeout", "余额不足"])
    told = {
        "A": lambda: f"Otter Song\n音频🎧: [点击播放]({CDN}1.mp3)\n",
        "B": lambda: f"生成失败: {next(failures)}\n",
    }
    task = read("> ID: `task_1`\n> 生成中...\n\n" + "\n\n".join(told[clip]() for clip in clips))
    assert (task.status, task.results) == ("completed", (audio(f"{CDN}1.mp3"),))
    assert task.error == TaskError("quota", None, "余额不足")


# ---- status: neither -----------------------------------------------------------------

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "抱歉，我无法生成该图片。请换一个描述再试试。",
    "I failed to generate the image because of our content policy.",
    "如果生成失败，请重试。我需要更多信息才能开始。",
    "生成完成后我会第一时间通知你，但请先告诉我主题。",
    "What would you like me to draw?\nI can do cats, dogs and horses.\n- cats\n- dogs",
    "The last job's progress was 45%. Pending your confirmation, I will start.",
    "Generation failed is what you would see if I tried, so I won't.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_prose_and_no_task_id_stage_or_progress_is_text_only_with_the_prose_as_message(text: str) -> None:
    task = read(text)
    assert (task.status, task.error) == ("failed", TaskError("text_only", None, text))
    assert (task.task_id, task.stages, task.progress, task.results) == (None, (), (), ())


@pytest.mark.parametrize("text", REFUSALS)
def test_the_echo_is_no_part_of_the_prose(text: str) -> None:
    task = read(ECHO + text)
    assert (task.status, task.error) == ("failed", TaskError("text_only", None, text))
    assert task.parameters == {"prompt": "two otters", "n": 2}


@pytest.mark.parametrize("text", REFUSALS)
def test_prose_beside_a_result_is_not_told(text: str) -> None:
    task = read(f"{text}\n\n![otter]({CDN}a.png)\n\n{text}")
    assert (task.status, task.error, task.stages, task.progress) == ("completed", None, (), ())


@in_every_layout
@pytest.mark.parametrize("line", ["ID: `task_1`", "排队中...", "Generating...", "🏃 进度 36.."])
def test_a_text_that_ends_after_a_task_id_a_stage_or_progress_is_incomplete(line: str, layout: Layout) -> None:
    task = read(layout(line))
    assert (task.status, task.error, task.results) == ("incomplete", None, ())


@pytest.mark.parametrize("line", ["> ID: `task_1`", "> 排队中...", "> Generating...", ">🏃 进度 36.."])
def test_prose_after_a_task_id_a_stage_or_progress_is_no_refusal(line: str) -> None:
    task = read(f"{line}\n\n抱歉，我画不了这张图片。")
    assert (task.status, task.error) == ("incomplete", None)


@pytest.mark.parametrize("text", ["", "\n\n  \n", ECHO, '{"prompt": "two otters"', f"![otter]({CDN}"])
def test_a_text_that_says_nothing_is_incomplete(text: str) -> None:
    task = read(text)
    assert (task.status, task.error, task.results) == ("incomplete", None, ())


def test_an_incomplete_task_says_where_to_ask() -> None:
    task = read(quoted(*CHINESE[:4]))
    assert (task.status, task.error) == ("incomplete", None)
    assert (task.task_id, task.links) == ("task_01abc", {"web": WEB, "source": SOURCE})


# ---- words in a prompt ---------------------------------------------------------------

WORDS = [
    "生成失败",
    "生成失败: 余额不足",
    "排队中...",
    "生成完成 ✅",
    "进度 45%..50..",
    "Generation failed",
    "Generation complete ✅",
    "Queuing...",
    "Progress 45%",
    "预览视频",
    "download the preview",
    "第 1 次重试",
    "ID: `task_666`",
]


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize(
    "form",
    [
        '```json\n{"prompt": "<>", "n": 1}\n```',
        '```json\n{\n  "prompt": "<>",\n  "n": 1\n}\n```',
        '{"prompt": "<>", "n": 1}',
        '```json\n{"prompt": "say "<>" twice", "n": 1}\n```',
        '```json\n{"prompt": "one\n<>\n> <>\nfour", "n": 1}\n```',
    ],
    ids=["fence", "lines", "bare", "broken", "raw newlines"],
)
def test_words_in_a_prompt_never_decide_anything(words: str, form: str) -> None:
    task = read(form.replace("<>", words) + f"\n\n> ID: `task_1`\n> 生成中..\n\n![otter]({CDN}a.png)")
    assert (task.status, task.error, task.task_id) == ("completed", None, "task_1")
    assert (task.stages, task.progress, task.ids) == (("generating",), (), {})
    assert (task.results, task.previews) == ((image(f"{CDN}a.png"),), ())


@pytest.mark.parametrize("words", WORDS)
def test_words_in_an_alt_text_never_decide_anything(words: str) -> None:
    for picture in (f"![{words}]({CDN}a.png)", f'<img alt="{words}" src="{CDN}a.png">'):
        task = read(f"> ID: `task_1`\n\n{picture}")
        assert (task.status, task.error, task.task_id) == ("completed", None, "task_1")
        assert (task.stages, task.progress, task.ids) == ((), (), {})
        assert (task.results, task.previews) == ((image(f"{CDN}a.png"),), ())


# ---- error: message ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("生成失败: 文件太大了", "文件太大了"),
        ("> ❌ 生成失败：文件太大了", "文件太大了"),
        ("生成失败 ❌\n失败原因：文件太大了", "文件太大了"),
        ("> 生成失败 ❌\n> 失败原因: 文件太大了", "文件太大了"),
        ("> 生成失败 ❌ > 失败原因：文件太大了", "文件太大了"),
        ("生成失败 ❌\\n失败原因：文件太大了", "文件太大了"),
        ("生成失败 ❌\r\n失败原因：文件太大了\r\n", "文件太大了"),
        ("生成失败, 原因: 文件太大了", "文件太大了"),
        ("> 任务失败，原因：文件太大了", "文件太大了"),
        ("图片生成失败 ❌ - 文件太大了", "文件太大了"),
        ("Generation failed: the file is too big", "the file is too big"),
        ("> ❌ Generation failed\n> Failure reason: the file is too big", "the file is too big"),
        ("Generation failed ❌\nfailure reason：the file is too big", "the file is too big"),
        ("> ❌ Generation failed - the file is too big", "the file is too big"),
        ("生成失败: see https://docs.example/errors for details", "see https://docs.example/errors for details"),
        ("> 生成失败：生成完成后文件太大了", "生成完成后文件太大了"),
    ],
)
def test_the_message_is_what_follows_the_failure_word_and_its_label(text: str, message: str) -> None:
    assert read(text).error == TaskError("unknown", None, message)
    assert read(f"> 排队中..\n\n{text}\n").error == TaskError("unknown", None, message)


@pytest.mark.parametrize("marks", ['"{}"', "'{}'", "“{}”", "  {}  "])
def test_quote_marks_and_outer_white_space_are_taken_off(marks: str) -> None:
    assert read("生成失败: " + marks.replace("{}", "文件太大了")).error == TaskError("unknown", None, "文件太大了")


@pytest.mark.parametrize("fence", ["```json\nundefined\n```", '```json\n{\n  "a": "b"\n}\n```', "```\nfetch lost\n```"])
def test_a_fence_after_the_message_is_kept_as_written(fence: str) -> None:
    assert read(f"生成失败: the file is too big\n{fence}\n").error == TaskError(
        "unknown", None, f"the file is too big\n{fence}"
    )


def test_a_blank_line_ends_the_message_unless_a_fence_follows() -> None:
    assert read("生成失败: one\n> two\nthree\n\nfour").error == TaskError("unknown", None, "one\ntwo\nthree")
    assert read("生成失败: one two\n\n```\nthree\n```\n\nfour").error == TaskError(
        "unknown", None, "one two\n\n```\nthree\n```"
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("生成失败", "生成失败"),
        ("> 生成失败 ❌", "生成失败"),
        ("❌ 视频生成失败\n", "视频生成失败"),
        ("> Generation failed ❌", "Generation failed"),
        ("> Task failed", "Task failed"),
    ],
)
def test_when_nothing_follows_the_message_is_the_failure_word(text: str, word: str) -> None:
    assert read(text).error == TaskError("unknown", None, word)


@pytest.mark.parametrize("id_", ["(request id: 20310409abc)", "(request id: 1) (request id: 2)"])
def test_a_trailing_request_id_is_taken_off(id_: str) -> None:
    assert read(f"生成失败: 文件太大了 {id_}").error == TaskError("unknown", None, "文件太大了")
    assert read(f"生成失败 {id_}").error == TaskError("unknown", None, "生成失败")


def test_json_that_gives_no_reason_has_no_message() -> None:
    assert read('{"id": "task_1", "status": "failed"}').error == TaskError("unknown", None, None)


@pytest.mark.parametrize(
    "line", ["> request_id: `r_1`", f"> [数据预览]({WEB})", "> 任务ID: `task_1`"], ids=["id", "link", "task id"]
)
def test_a_line_of_its_own_is_no_part_of_the_message(line: str) -> None:
    assert read(f"> 生成失败: 文件太大了\n{line}").error == TaskError("unknown", None, "文件太大了")


# ---- error: code ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"message": "lost", "code": "c_1", "type": "t_1"}, "c_1"),
        ({"message": "lost", "code": "", "type": "t_1"}, "t_1"),
        ({"message": "lost", "code": None, "type": "t_1"}, "t_1"),
        ({"message": "lost", "type": "t_1"}, "t_1"),
        ({"message": "lost"}, None),
        ("lost", None),
    ],
)
def test_the_code_is_the_errors_code_or_else_its_type(error: object, code: str | None) -> None:
    task = read(json.dumps({"status": "failed", "error": error}))
    assert (task.status, task.error) == ("failed", TaskError("unknown", code, "lost"))


@in_every_layout
@pytest.mark.parametrize("word", ["input_moderation", "output_moderation"])
@pytest.mark.parametrize(
    ("failure", "label"), [("生成失败 ❌", "失败原因："), ("Generation failed ❌", "Failure reason: ")]
)
def test_a_reason_that_is_one_word_is_both_code_and_message(
    word: str, failure: str, label: str, layout: Layout
) -> None:
    assert read(layout(failure, label + word)).error == TaskError("moderation", word, word)


@pytest.mark.parametrize("reason", ["PUBLIC_ERROR_OTTERS", "too big", "400 Bad Request", "otters2", "文件太大了"])
def test_any_other_reason_has_no_code(reason: str) -> None:
    error = read(f"生成失败: {reason}").error
    assert error is not None
    assert (error.code, error.message) == (None, reason)


# ---- error: category -----------------------------------------------------------------

CATEGORIES = {
    "moderation": [
        "blocked by moderation",
        "against our content policy",
        "This may violate our guardrails",
        "Banned prompt: blood",
        "内容违规",
        "提示词违反了规定",
        "由于合规问题已被过滤",
        "不符合政策",
    ],
    "quota": ["Your balance is too low", "quota exceeded", "Insufficient credits", "用户额度不足", "余额不足"],
    "rate_limit": ["rate limit exceeded", "Too many requests", "Request failed with status code 429"],
    "overloaded": ["The service is overloaded", "channel saturated", "上游已饱和", "负载过高", "no free account"],
    "auth": ["invalid token given", "401 Unauthorized", "令牌不合法"],
    "not_found": ["The model does not exist", "模型 veo9 无可用渠道"],
    "invalid_request": ["400 Bad Request", "prompt is required"],
    "timeout": ["timeout of 30000ms exceeded", "the job timed out", "请求超时"],
    "upstream": ["503 Service Unavailable", "status code 500", "upstream broke", "server_error 9", "nothing delivered"],
    "unknown": ["fetch was lost", "文件太大了"],
}


@pytest.mark.parametrize(("category", "message"), [(name, said) for name in CATEGORIES for said in CATEGORIES[name]])
def test_the_category_is_told_by_the_messages_words(category: str, message: str) -> None:
    for text in (f"生成失败: {message}", f"> ❌ Generation failed\n> Reason: {message}"):
        error = read(text).error
        assert error is not None
        assert (error.category, error.message) == (category, message)


@pytest.mark.parametrize(
    ("message", "code", "category"),
    [
        ("lost", "content_policy_violation", "moderation"),
        ("lost", "insufficient_user_quota", "quota"),
        ("lost", "server_error", "upstream"),
        ("against our policy", "insufficient_user_quota", "moderation"),
        ("the job timed out", "server_error", "timeout"),
        ("当前分组上游负载已饱和，请稍后再试", "insufficient_user_quota", "overloaded"),
    ],
)
def test_the_messages_words_decide_before_the_code(message: str, code: str, category: str) -> None:
    error = read(json.dumps({"status": "failed", "error": {"message": message, "code": code}})).error
    assert error is not None
    assert (error.category, error.code, error.message) == (category, code, message)


@pytest.mark.parametrize(("message", "category"), [("400 against our policy", "moderation"), ("500 余额不足", "quota")])
def test_words_decide_before_an_http_status(message: str, category: str) -> None:
    error = read(f"生成失败: {message}").error
    assert error is not None
    assert (error.category, error.code) == (category, None)


@pytest.mark.parametrize(("word", "category"), [("生成超时", "timeout"), ("生成失败", "unknown")])
def test_a_failure_word_alone_decides_by_itself(word: str, category: str) -> None:
    error = read(f"> 排队中..\n> {word}").error
    assert error is not None
    assert (error.category, error.message) == (category, word)


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("图片检测系统认为内容可能违反相关政策", "moderation"),
        ("此内容可能违反了我们的内容政策。", "moderation"),
        ("该图像处理服务器已掉线", "unknown"),
        ("当前分组上游负载已饱和，请稍后再试", "overloaded"),
    ],
)
def test_a_sentence_that_is_its_own_failure_word_is_its_own_message(text: str, category: str) -> None:
    error = read(text).error
    assert error is not None
    assert (error.category, error.code, error.message) == (category, None, text)


# ---- mid-stream ----------------------------------------------------------------------

LONG = (
    "好的，马上为您生成！\n\n"
    '```json\n{\n  "prompt": "两只水獭，```> 生成失败```",\n  "image": "https://in.example/ref.png"\n}\n```\n\n'
    "> 视频生成任务已创建\n> 任务ID: `veo9:1f00-42`\n"
    f"> [数据预览]({WEB}) | [原始数据]({SOURCE})\n> 等待处理中.....\n\n"
    "> 🎬 开始生成视频......\n"
    f">🏃 进度 7..36.5..[100]({CDN}tick.webp)\n"
    f"> ✅ 预览视频已生成\n> [📺 在线预览]({CDN}low.mp4) | [⏬ 下载视频]({SAVE}low.mp4)\n\n"
    "> 生成失败，正在重试...\n> 🎬 开始生成视频...\\n> 🔄 正在优化视频质量....\n\n"
    "> 🎉 高质量视频已生成\r\n> sid: s_68\n\n"
    f"![水獭]({CDN}a.webp)\n[▶️ 在线观看]({CDN}a.mp4) | [⏬ 下载视频]({SAVE}a.mp4)\n\n"
    f"<video src='{CDN}b.mp4' poster='{CDN}b.webp'></video>\n{CDN}c.png\n"
    "> 生成失败: 第 3 个视频太大了 (request id: 20310409)\n\n希望您喜欢！"
)


def test_the_task_mid_stream_is_the_task_of_the_prefix() -> None:
    parser = Parser()
    assert parser.task == parse("", closed=False)
    for end, character in enumerate(LONG, 1):
        parser.feed(character)
        assert parser.task == parse(LONG[:end], closed=False)
    parser.close()
    assert parser.task == parse(LONG)
    assert parser.task.as_dict() == {
        "status": "completed",
        "task_id": "veo9:1f00-42",
        "ids": {"sid": "s_68"},
        "parameters": {"prompt": "两只水獭，```> 生成失败```", "image": "https://in.example/ref.png"},
        "stages": ["queued", "generating", "generating", "optimizing"],
        "progress": [7, 36.5, 100],
        "links": {"web": WEB, "source": SOURCE},
        "results": [
            asdict(video(f"{CDN}a.mp4", f"{SAVE}a.mp4", f"{CDN}a.webp")),
            asdict(video(f"{CDN}b.mp4", None, f"{CDN}b.webp")),
            asdict(image(f"{CDN}c.png")),
        ],
        "previews": [f"{CDN}tick.webp", f"{CDN}low.mp4"],
        "error": {"category": "unknown", "code": None, "message": "第 3 个视频太大了"},
    }


def test_a_stream_that_works_goes_from_queued_over_in_progress_to_completed() -> None:
    parser = Parser()
    seen = [parser.task.status]
    for character in ECHO + quoted(*CHINESE):
        parser.feed(character)
        if parser.task.status != seen[-1]:
            seen.append(parser.task.status)
    parser.close()
    assert [*seen, parser.task.status] == ["queued", "in_progress", "completed", "completed"]


def test_a_stream_never_tells_a_url_that_is_still_arriving() -> None:
    told = set()
    parser = Parser()
    for character in LONG:
        parser.feed(character)
        told |= {url for result in parser.task.results for url in (result.url, result.download_url, result.poster_url)}
        told |= set(parser.task.previews) | set(parser.task.links.values())
    assert told - {None} == {
        *(WEB, SOURCE, f"{CDN}tick.webp", f"{CDN}low.mp4"),
        *(f"{CDN}a.mp4", f"{SAVE}a.mp4", f"{CDN}a.webp", f"{CDN}b.mp4", f"{CDN}b.webp", f"{CDN}c.png"),
    }


# -- links that no program should follow unseen ---------------------------------------


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("javascript:alert(1)//a.png", "its scheme is javascript:"),
        ("file:///etc/passwd.png", "its scheme is file:"),
        ("//other.example/a.png", "another host, other.example"),
        ("https://ex\u0430mple.com/a.png", "letters that may look like others"),
        ("https://x.test/\u202egnp.exe", "RIGHT-TO-LEFT OVERRIDE"),
        ("https://x.test/a\u200b.png", "ZERO WIDTH SPACE"),
        ("https://[x.test/a.png", "it is no URL"),
        ("https://x.test/a.png", None),
        ("http://10.0.0.8:40005/a.mp4", None),
        ("/cdn/a.png", None),
        ("data:image/png;base64,AAAA", None),
    ],
)
def test_an_unsafe_link_is_flagged_with_the_reason(url: str, reason: str | None) -> None:
    for result in (Result("image", url), Result("image", "https://x.test/b.png", url)):
        if reason is None:
            assert result.unsafe is None
        else:
            assert reason in (result.unsafe or "")


def test_what_flags_a_link_is_no_part_of_the_tasks_json() -> None:
    task = parse("![a](javascript:x)")
    assert task.results[0].unsafe == "its scheme is javascript:"
    assert task.as_dict()["results"] == [
        {"kind": "image", "url": "javascript:x", "download_url": None, "poster_url": None}
    ]
