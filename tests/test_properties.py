"""What must hold for every text, whatever a relay sends."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import lark
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark

import tickertape
from tickertape import Parser, ResponseReader
from tickertape._compiler import grammar_folder
from tickertape._machine import Machine, Program
from tickertape._tables import TABLES

from .conftest import read

if TYPE_CHECKING:
    from tickertape.events import Event

PIECES = [
    *(
        "```",
        "```json\n",
        "{\n",
        '{"prompt": "a cat", "n": 2}',
        '"',
        '  "n": 1\n',
        "}",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        ">",
        "> ",
        " > ",
    ),
    *(
        "ID:",
        "任务ID: ",
        "`",
        "`task_01`",
        "[",
        "![",
        "](",
        ")",
        "(",
        "|",
        " | ",
        "排队中",
        "生成中",
        "生成完成",
        "生成",
        "进度",
        "进度 4",
    ),
    *(
        "8",
        "..",
        "100",
        "%",
        "48..",
        "[100](u)",
        "[45%](u)",
        "98.7%",
        "🏃",
        "🏃‍♂️",
        "▶️",
        "✅",
        "❌",
        "⚠️",
        "https://a.example/x.png",
    ),
    *(
        "http://a.example/v.mp4",
        "sid: s_1",
        "Generating",
        "Generation complete",
        "\t",
        "x",
        " ",
        "`x`\n",
        "\ud83c",
        "生成失败",
    ),
    *(
        "生成失败: ",
        "失败原因：",
        "input_moderation",
        "，",
        "。",
        "？",
        ". ",
        "...",
        "正在重试",
        "Progress",
        "[在线播放▶️](https://x.example/v.mp4)",
    ),
    *(
        "[点击下载](/cdn/download/a.png)",
        "![image](/cdn/a.png)",
        "下载1 (https://x.example/a.png)",
        "<video src='u'>",
        "<video ",
        " src=",
    ),
    *(
        ' poster="p" ',
        "</video>",
        "\\n",
        "\\",
        "预览",
        "类型: ",
        "请稍候",
        "id\n>abc",
        "音频🎧: ",
        "hello world",
        "你好",
        "Preview video generated",
    ),
    *(
        "第 1 次重试",
        "已接收到参数",
        "中国",
        "{",
        "“",
        "Type: ",
        "已完成",
        "已完成 45%",
        "|a|b|",
        "> 新的话",
        "data:image/png;base64,AA==",
    ),
]
contents = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=14).map("".join)


@st.composite
def chunked(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = draw(contents)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return text, [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(chunked())
def test_the_events_do_not_depend_on_where_the_text_was_cut(case: tuple[str, list[str]]) -> None:
    text, pieces = case
    assert read(pieces) == read([text]) == read(list(text))


@given(contents)
def test_spans_tile_the_text(text: str) -> None:
    at = 0
    for event in read([text]):
        assert event.start == at <= event.end
        at = event.end
    assert at == len(text)


@given(contents, st.data())
def test_the_events_of_a_prefix_are_a_prefix_of_the_events(text: str, data: st.DataObject) -> None:
    parser = Parser()
    early = parser.feed(text[: data.draw(st.integers(0, len(text)))])
    assert read([text])[: len(early)] == early


@given(chunked(), st.integers(1, 40))
def test_waiting_text_is_bounded_and_the_bound_does_not_show_in_chunks(case: tuple[str, list[str]], limit: int) -> None:
    text, pieces = case
    parser = Parser(max_pending=limit)
    events = []
    for piece in pieces:
        events += parser.feed(piece)
        assert len(parser.pending) <= limit + 120
    events += parser.close()
    assert events == read([text], max_pending=limit)
    assert "".join(text[e.start : e.end] for e in events) == text


@given(contents)
def test_no_text_raises_and_every_task_is_json(text: str) -> None:
    import json

    for closed in (True, False):
        json.dumps(tickertape.parse(text, closed=closed).as_dict(), allow_nan=False)
    tickertape.parse_response(text)


@given(contents, st.data())
def test_the_task_at_any_moment_is_the_task_of_the_text_so_far(text: str, data: st.DataObject) -> None:
    prefix = text[: data.draw(st.integers(0, len(text)))]
    parser = Parser()
    for character in prefix:
        parser.feed(character)
    assert parser.task == tickertape.parse(prefix, closed=False)


@given(contents, st.lists(st.integers(0, 400), max_size=6))
def test_a_stream_of_bytes_may_be_cut_anywhere(text: str, cuts: list[int]) -> None:
    import json

    frame = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    body = f"data: {json.dumps(frame, ensure_ascii=False)}\r\n\r\ndata: [DONE]\r\n\r\n".encode("utf-8", "replace")
    whole = tickertape.parse_response(body)
    reader = ResponseReader()
    places = sorted({min(c, len(body)) for c in cuts})
    for a, b in zip([0, *places], [*places, len(body)], strict=True):
        reader.feed(body[a:b])
    reader.close()
    assert reader.task == whole


@given(st.binary(max_size=200))
def test_no_bytes_raise(body: bytes) -> None:
    tickertape.parse_response(body)
    tickertape.parse_response(body, status_code=502)
    list(tickertape.iter_events([body]))


# -- against stock Lark, on texts from the grammar itself ------------------------------------------


@cache
def stock() -> lark.Lark:
    """Lark's own LALR parser and contextual lexer on the same grammar file."""
    folder = grammar_folder()
    source = (folder / "status_stream.lark").read_text("utf-8")
    return lark.Lark(source, parser="lalr", lexer="contextual", start="document", import_paths=[str(folder)])


def rules_by_lark(text: str) -> list[str]:
    """The named rules, in the order in which Lark reduced them."""
    found: list[str] = []

    class Listener(lark.Transformer[lark.Token, None]):
        def __default__(self, data: str, children: Any, meta: Any) -> None:
            if not data.startswith(("_", "document")):
                found.append(str(data))

    Listener().transform(stock().parse(text))
    return found


def rules_by_tickertape(text: str) -> list[str]:
    """The same by the push parser, character by character, with nothing but its tables."""
    found: list[str] = []

    def recorder(rule: str) -> Any:
        return lambda machine, start, end, children: found.append(rule)

    rules = {production.rule for production in TABLES.productions if production.rule}
    machine = Machine(Program(TABLES, {rule: recorder(rule) for rule in rules}), max_pending=1 << 20)
    for character in text:
        machine.feed(character)
    machine.close()
    return found


@cache
def out_of_order() -> tuple[str, ...]:
    """Words that begin like a word of another terminal. We take the longest; Lark tries its terminals in one order."""
    owners = {word: t.name for t in TABLES.terminals for word in (*t.literals, *t.folded) if len(word) > 1}
    return tuple(
        word.lower()
        for word, owner in owners.items()
        if any(owners.get(word[:n], owner) != owner for n in range(2, len(word)))
    )


@cache
def from_the_grammar() -> st.SearchStrategy[str]:
    return from_lark(stock(), start="document", explicit={"_ERROR": st.nothing()})


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_stock_lark_agrees_on_texts_of_the_grammar(data: st.DataObject) -> None:
    text = data.draw(from_the_grammar())
    assume(not any(word in text.lower() for word in out_of_order()))
    try:
        expected = rules_by_lark(text)
    except lark.UnexpectedInput:
        reject()  # terminals that run into each other: no text of the language after all
    assert rules_by_tickertape(text) == expected


# -- render ----------------------------------------------------------------------------------------

LINES = [
    *(
        '```json\n{\n  "prompt": "a cat"\n}\n```',
        "> ID: `task_01`",
        ">[数据预览](https://a.example/web/1) | [原始数据](https://a.example/source/1)",
    ),
    *(
        ">🕐 排队中...",
        "> Queuing..",
        ">⚡ 生成中.......",
        "> 生成中...12%.45%..100%",
        ">🏃 进度 36..44..[100](https://a.example/p.webp)",
    ),
    *(
        "> 进度 **67%**",
        "> 🏃 进度：98.7%",
        "正在生成视频中，当前进度25%",
        "> 🔄 正在优化视频质量....",
        "> 生成完成 ✅",
        "> ✅ Generation complete",
    ),
    *(
        "> 生成中......✅",
        "> sid: s_1",
        "> gen_id: `gen_1`",
        "![gen_1](https://a.example/1.png)",
        "[点击下载](https://a.example/cdn/download/1.png)",
    ),
    *(
        "[▶️ 在线观看](https://a.example/v.mp4) | [⏬ 下载视频](https://a.example/cdn/download/v.mp4)",
        "音频1🎧: [点击播放](https://a.example/1)",
    ),
    *(
        "<video src='https://a.example/v.mp4' poster=\"p.jpg\" controls></video>",
        "https://a.example/v.mp4",
        "生成失败: 余额不足",
        "生成失败 ❌",
    ),
    *(
        "失败原因：input_moderation",
        "❌ 生成失败: timeout",
        "**生成失败，正在重试**",
        "第 1 次重试（共 3 次）...",
        "⚠️ 放大失败，返回原图...",
        "> 类型: 文生视频",
    ),
    *(
        "> ✅ Preview video generated",
        "> 提交任务✅ ",
        "✅已接收到参数",
        "Here you go!",
        "请上传图片。谢谢！",
        "|a|b|",
        "",
    ),
]


@given(st.lists(st.sampled_from(LINES), max_size=12), st.sampled_from(["\n", "\n\n", " > ", " "]))
def test_reading_what_was_rendered_gives_equal_events(lines: list[str], between: str) -> None:
    events = read([between.join(lines)])
    again = read([tickertape.render(events)])
    assert [payload(event) for event in again] == [payload(event) for event in events]


def payload(event: Event) -> list[Any]:
    names = [name for name in type(event).__dataclass_fields__ if name not in ("start", "end")]
    return [type(event).__name__, *(getattr(event, name) for name in names)]
