"""The push parser: early, lossless, bounded, and deaf to where the text was cut."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

import tickertape
from tickertape import Parser, ParserClosed, UnknownLine
from tickertape import events as ev

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.events import Event

    EventsOf = Callable[[str], list[Event]]


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events if not isinstance(event, ev.LineEnd)]


def arrival(text: str, kind: type[Event]) -> int:
    """How many characters it took until the first event of a kind came."""
    parser = Parser()
    for at, character in enumerate(text, 1):
        if any(isinstance(event, kind) for event in parser.feed(character)):
            return at
    parser.close()
    return -1


# -- as early as possible ---------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "at"),
    [
        ("> ID: `task_01`\n", ev.TaskId, len("> ID: `task_01`")),
        ("![a](https://x.example/a.png)\n", ev.Image, len("![a](https://x.example/a.png)")),
        ("[b](https://x.example/b)\n", ev.Link, len("[b](https://x.example/b)")),
        (">🏃 进度 48..69..", ev.Progress, len(">🏃 进度 48..")),
        (">🏃 进度 48%..69", ev.Progress, len(">🏃 进度 48%")),
        (">🏃 进度 12.5.", ev.Progress, len(">🏃 进度 12.5.")),
        (">🏃 进度 48[100](u)", ev.Progress, len(">🏃 进度 48[")),
        (">🕐 排队中...\n", ev.Stage, len(">🕐 排队中.")),
        ('```json\n{"n": 1}\n```\n', ev.Parameters, len('```json\n{"n": 1}')),
        ("> 生成中...✅\n", ev.Completed, len("> 生成中...✅")),
        ("<video src='u'>\n", ev.Element, len("<video src='u'>")),
    ],
)
def test_an_event_comes_with_the_character_that_makes_it_certain(text: str, kind: type[Event], at: int) -> None:
    assert arrival(text, kind) == at


def test_a_percentage_waits_while_it_may_become_a_decimal() -> None:
    parser = Parser()
    assert parser.feed(">🏃 进度 48.") == []
    assert parser.feed("5") == []
    (event,) = parser.feed("%")
    assert isinstance(event, ev.Progress)
    assert event.percent == 48.5


def test_a_phrase_that_goes_on_is_not_the_status_it_began_as() -> None:
    parser = Parser()
    assert parser.feed("生成中") == []
    parser.feed("国风的插画\n")
    assert kinds(list(parser.task.events)) == ["Text"]


def test_pending_is_the_text_no_event_accounts_for() -> None:
    parser = Parser()
    parser.feed("> 排队中.\n![a](https://x.exa")
    assert parser.pending == "![a](https://x.exa"
    parser.feed("mple/a.png)")
    assert parser.pending == ""


# -- lossless ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "> ",
        ">>>>",
        "]](((",
        "![a](b",
        "[a](b\n> 生成完成 ✅\n",
        "```json\n{",
        '{"a": "b',
        "<video src='x",
        "\x00\ud800\udfff\ufeff",
        "\\n\\",
        "48%..[100](",
        "> ID: \n>`",
        "生成失败",
        "{\n\n}",
        '{""',
        "放▶(http://4)",
    ],
)
def test_spans_tile_any_text(text: str, events_of: EventsOf) -> None:
    at = 0
    for event in events_of(text):
        assert event.start == at
        assert event.end >= at
        at = event.end
    assert at == len(text)


@pytest.mark.parametrize(
    "malformed",
    [
        "![image](https://x.example/a.pn",
        "[在线播放](https://x.example/a",
        "> 某种没有见过的话",
        "<video src='https://x.example/a.mp4",
        "> ID: ",
        "{",
        '{"prompt": "a ca',
        "(((",
        "> id",
        "`",
    ],
)
@pytest.mark.parametrize("following", ["> 生成完成 ✅", "![b](https://x.example/b.png)", "生成失败: 余额不足"])
def test_a_malformed_line_never_spoils_the_next(malformed: str, following: str, events_of: EventsOf) -> None:
    alone = events_of(following)[0]
    found = [event for event in events_of(f"{malformed}\n{following}\n") if type(event) is type(alone)]
    assert found, "the next line was not read"
    assert [getattr(found[-1], name) for name in fields(alone)] == [getattr(alone, name) for name in fields(alone)]


def fields(event: Event) -> list[str]:
    return [name for name in type(event).__dataclass_fields__ if name not in ("start", "end", "text")]


def test_unknown_and_text_carry_the_text_of_their_span(events_of: EventsOf) -> None:
    text = "你好。\n> 🦄 没有见过的话\n![broken\n"
    for event in events_of(text):
        if isinstance(event, ev.Unknown | ev.Text):
            assert event.text == text[event.start : event.end]


def test_what_the_content_ends_in_the_middle_of_is_malformed(events_of: EventsOf) -> None:
    (event,) = events_of("![a](https://x.example/a.pn")
    assert event == ev.Unknown(0, 27, "![a](https://x.example/a.pn", True)


# -- misuse -----------------------------------------------------------------------------


def test_feed_after_close_says_what_to_do() -> None:
    parser = Parser()
    parser.close()
    with pytest.raises(ParserClosed, match="new Parser"):
        parser.feed("x")


def test_closing_twice_gives_nothing_twice() -> None:
    parser = Parser()
    parser.feed("> 生成完成 ✅")
    assert parser.close()
    assert parser.close() == []
    assert parser.closed


def test_max_pending_must_allow_a_character() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Parser(max_pending=0)


def test_parse_wants_content_and_names_the_function_for_responses() -> None:
    with pytest.raises(TypeError, match="parse_response"):
        tickertape.parse({"choices": []})  # type: ignore[arg-type]


# -- bounded ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["[" + "a" * 500, "```\n" + "b" * 500, "![" * 250, "{" * 500, '{"' + "c" * 500, " " * 500]
)
def test_no_more_than_max_pending_characters_wait(text: str) -> None:
    parser = Parser(max_pending=40)
    for character in text:
        parser.feed(character)
        assert len(parser.pending) <= 40 + len("the longest literal, some eighty characters of a sentence of English")
    parser.close()
    assert "".join(text[e.start : e.end] for e in parser.task.events) == text


def test_a_long_stream_is_read_in_bounded_memory() -> None:
    line = ">🏃 进度 36..44..61..\n> 生成中......\n"
    parser = Parser(history=False)
    for _ in range(100):
        parser.feed(line)
    tracemalloc.start()
    for _ in range(20_000):  # some 700,000 characters
        parser.feed("> 生成中...... 请稍候\n"[:35])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(parser.pending) < 100
    assert peak < 4_000_000  # the list of stages; the text alone would be more than twice as much


def test_a_data_url_of_ten_megabytes_is_a_result() -> None:
    url = "data:image/png;base64," + "A" * 10_000_000
    parser = Parser(history=False)
    content = f"> 生成中...\n![image]({url})\n"
    for at in range(0, len(content), 65_536):
        parser.feed(content[at : at + 65_536])
    parser.close()
    assert [result.url for result in parser.task.results] == [url]


# -- strict ---------------------------------------------------------------------------------


def test_strict_names_the_line_the_column_and_what_was_expected() -> None:
    with pytest.raises(UnknownLine) as caught:
        tickertape.parse("> 排队中..\n> 🎨 独角兽\n", strict=True)
    error = caught.value
    assert (error.line, error.column, error.text) == (2, 5, "> 🎨 独角兽")
    assert {"GENERATING", "COMPLETED", "TASK_KEY"} <= set(error.expected)
    shown = str(error).splitlines()
    assert shown[1] == "  > 🎨 独角兽"
    assert shown[2] == "      ^"
    assert "%extend" in shown[3]


def test_strict_lets_prose_and_known_lines_pass() -> None:
    assert tickertape.parse("好的！\n> 排队中..\n> 生成完成 ✅\n", strict=True).status == "completed"


# -- history -----------------------------------------------------------------------------------


def test_the_text_and_the_events_are_kept_unless_told_otherwise() -> None:
    content = "> 排队中..\n> 生成完成 ✅\n"
    for history in (True, False):
        parser = Parser(history=history)
        seen = [event for character in content for event in parser.feed(character)] + parser.close()
        assert parser.task.text == (content if history else "")
        assert list(parser.task.events) == (seen if history else [])
        assert parser.task.status == "completed"


def test_the_task_is_the_same_object_until_something_is_read() -> None:
    parser = Parser()
    parser.feed("> 排队中")
    assert parser.task is parser.task


# -- events are plain frozen data ------------------------------------------------------------------


def all_events() -> list[Any]:
    return [
        value
        for value in vars(ev).values()
        if isinstance(value, type) and issubclass(value, ev.Event) and value is not ev.Event
    ]


@pytest.mark.parametrize("kind", all_events(), ids=lambda kind: kind.__name__)
def test_every_event_is_frozen_slotted_and_documented(kind: type[Event]) -> None:
    assert kind.__doc__
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert not hasattr(kind(*[0] * len(kind.__dataclass_fields__)), "__dict__")


def test_the_union_names_every_event() -> None:
    assert set(ev.AnyEvent.__args__) == set(all_events())
