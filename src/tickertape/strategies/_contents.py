"""Texts: contents in every dialect and beyond, and the pieces in which they arrive."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from ..task import Task
from ._arguments import flag, strategy
from ._played import scenarios

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..testing.scenario import Scenario

Whole = TypeVar("Whole", str, bytes)


def contents(
    *,
    task: Task | None = None,
    scenario: st.SearchStrategy[Scenario] | None = None,
    allow_cut: bool = True,
    allow_wild: bool = True,
) -> st.SearchStrategy[str]:
    """The text of an assistant's message, as a relay writes it.

    With a `task`, texts that tell of it: whole for a settled one, the beginning of a
    text for one that is queued or in progress. Otherwise the texts of scenarios
    (`scenarios()` unless told), in every dialect; `allow_cut`, also broken off anywhere;
    `allow_wild`, also lines that only the grammar knows, in any order.

    Shrinks towards whole texts of plain scenarios, and wild ones to few, short lines.
    """
    if task is not None:
        if scenario is not None or not isinstance(task, Task):
            raise InvalidArgument(f"task={task!r}: expected a Task, and no scenario= beside it")
        return _telling(task)
    played = scenarios() if scenario is None else strategy("scenario", scenario)
    found = [played.map(lambda drawn: drawn.bind().content)]
    if flag("allow_cut", allow_cut):
        found.append(_cut(found[0]))
    if flag("allow_wild", allow_wild):
        found.append(st.deferred(lambda: _wild()))
    return st.one_of(found)


@st.composite
def _cut(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    text = draw(texts)
    return text[: draw(st.integers(0, len(text)))]


# -- texts for a task ----------------------------------------------------------------------------

_WORDS = {
    "zh": (
        "排队中",
        "生成中",
        "进度",
        "生成完成 ✅",
        "生成失败",
        "数据预览",
        "原始数据",
        "在线播放",
        "点击下载",
        "音频",
    ),
    "en": (
        "Queuing",
        "Generating",
        "Progress",
        "Generation complete ✅",
        "Generation failed",
        "Data Preview",
        "Source Data",
        "Watch Online",
        "Click to download",
        "Audio",
    ),
}


@st.composite
def _telling(draw: st.DrawFn, task: Task) -> str:
    language = draw(st.sampled_from(sorted(_WORDS, reverse=True)))
    dots = draw(st.integers(2, 6))
    return "".join(_lines(task, _WORDS[language], "." * dots))


def _lines(task: Task, words: tuple[str, ...], dots: str) -> Iterator[str]:
    queued, generating, progress, done, failed, web, source, play, download, _ = words
    if task.error is not None and task.error.category == "text_only":
        yield task.error.message or ""
        return
    if task.parameters is not None:
        yield f"```json\n{json.dumps(dict(task.parameters), ensure_ascii=False, indent=2)}\n```\n\n"
    if task.task_id is not None:
        yield f"> ID: `{task.task_id}`\n"
    if task.links:
        yield f">[{web}]({task.links['web']}) | [{source}]({task.links['source']})\n"
    for stage in task.stages:
        yield f"> {queued if stage == 'queued' else generating}{dots}\n"
    if task.progress:
        yield f"\n>🏃 {progress} {''.join(f'{percent}..' for percent in task.progress)}\n"
    if task.status == "completed":
        yield f"\n> {done}\n"
    for result in task.results:
        line = f"![image]({result.url})" if result.kind == "image" else f"[{play}▶️]({result.url})"
        yield f"\n{line}\n" + (f"[{download}]({result.download_url})\n" if result.download_url else "")
    if task.error is not None:
        yield f"\n> {failed}: {task.error.message}\n"


# -- texts of the grammar ----------------------------------------------------------------------------

UNITS = [
    "queued",
    "generating",
    "completed",
    "progress_word",
    "whole_tick",
    "percent_tick",
    "failed",
    "image",
    "link",
    "task_id",
    "identifier",
    "preparing",
    "optimizing",
    "done_tick",
    "decimal_tick",
    "tick_link",
    "lone_percent",
    "completed_count",
    "refused",
    "reason",
    "retrying",
    "warning",
    "notice",
    "table_row",
    "final",
    "setting",
    "submitted",
    "preview",
    "number_link",
    "labelled_link",
    "lone_stripped_link",
    "url",
    "element",
    "code",
    "fenced_parameters",
    "parameters",
    "bracketed",
    "goes_on",
    "number_goes_on",
]
"""The rules of the grammar whose texts make a line."""

_URLS = ("https://a.example/x.png", "/cdn/a.mp4", "u", "data:image/png;base64,AA==")
_SENTENCES = ("hello world", "你好", "生成", "进度", "x")
RUNS: dict[str, tuple[str, ...]] = {
    "_SP": (" ", "  ", "\u3000"),
    "_SPACE": (" ", "\n", "\r\n"),
    "_DOTS": ("..", ".", "......"),
    "_MARKS": (" ", "🏃", "**", "▶️", "，", "！"),
    "NUMBER": ("48", "100", "0", "7"),
    "FRACTION": ("5", "98"),
    "_LETTERS": ("x", "国"),
    "_LATIN": ("x", "images"),
    "TICKED_ID": ("task_1", "a b"),
    "BARE_ID": ("task_1", "s_1"),
    "_WORDS": _SENTENCES,
    "REASON": ("input_moderation", "余额不足", "no idea"),
    "ALT": ("a", "image 1"),
    "LABEL": ("在线播放▶️", "点击下载", "a"),
    "DESTINATION": _URLS,
    "URL_REST": ("a.example/x.png", "a.example"),
    "_TAIL": ("：mid", "x"),
    "_VALUE": ("1280x768",),
    "_ROW": ("name|label|", "a"),
    "_TITLE": ('t"',),
    "_ATTRIBUTES": (" controls", " "),
    "IN_DOUBLE": _URLS,
    "IN_SINGLE": _URLS,
    "UNQUOTED": ("https://a.example/v.mp4",),
    "_INFO": ("json", "html"),
    "_RAW": ("x\n", "> 生成完成\n"),
    "_CHARACTERS": ("prompt", "a cat", "图"),
    "_BETWEEN": (": ", ", ", "1"),
    "_BROKEN": ("x",),
}
"""For every run of these rules, texts it can be: a regular expression's own would not be readable."""


@cache
def _wild() -> st.SearchStrategy[str]:
    """Lines of the grammar, some of them joined; made when first drawn, for it compiles the grammar."""
    import lark
    from hypothesis.extra.lark import from_lark

    from .._compiler import grammar_folder
    from .._tables import TABLES

    folder = grammar_folder()
    source = (folder / "status_stream.lark").read_text("utf-8")
    grammar = lark.Lark(
        f"{source}\nunit: {' | '.join(UNITS)}\n", parser=None, lexer="basic", start="unit", import_paths=[str(folder)]
    )
    _, rules, _ = grammar.grammar.compile(["unit"], ())
    used = {symbol.name for rule in rules for symbol in rule.expansion if symbol.is_term}
    words = {t.name: sorted((*t.literals, *t.folded), key=lambda word: (len(word), word)) for t in TABLES.terminals}
    explicit: dict[str, st.SearchStrategy[str]] = {
        name: st.sampled_from(words.get(name) or RUNS.get(name) or ["x"]) for name in sorted(used) if name != "_ERROR"
    }
    if "_ERROR" in used:
        explicit["_ERROR"] = st.nothing()  # what is malformed is no text of the grammar
    units = from_lark(grammar, start="unit", explicit=explicit)
    joints = st.sampled_from(["\n", "\n> ", " ", "", "\n\n", "\r\n", "\\n"])
    lines = st.tuples(units, joints).map("".join)
    return st.lists(lines, max_size=8).map("".join)


# -- pieces ------------------------------------------------------------------------------------------


def chunkings(
    whole: Whole, *, max_size: int | None = None, allow_empty: bool = False
) -> st.SearchStrategy[list[Whole]]:
    """Lists of pieces that join to `whole`, a text or bytes: what a network, or a model, makes of it.

    At most `max_size` pieces; empty ones too where `allow_empty`. Shrinks towards few
    cuts, and early ones: a minimal list of two pieces is cut where it first goes wrong.
    """
    if not isinstance(whole, str | bytes):
        raise InvalidArgument(f"whole={whole!r}: expected a text or bytes; draw it first, or use flatmap(chunkings)")
    if max_size is not None and (isinstance(max_size, bool) or not isinstance(max_size, int) or max_size < 1):
        raise InvalidArgument(f"max_size={max_size!r}: expected a whole number, 1 or more, or None")
    size, edge = len(whole), 0 if flag("allow_empty", allow_empty) else 1
    most = size + 1 if max_size is None else max_size - 1
    if size < 2 * edge or not most:
        return st.builds(list, st.just([whole] if size or allow_empty else []))
    return _pieces(whole, edge, min(most, 24), size if most > size else 0)


@st.composite
def _pieces(draw: st.DrawFn, whole: Whole, edge: int, most: int, dense: int) -> list[Whole]:
    size = len(whole)
    cuts: list[int] = sorted(draw(st.lists(st.integers(edge, size - edge), unique=edge > 0, max_size=most)))
    if cuts and dense:  # and from there on in pieces of one size, down to single characters
        step = draw(st.none() | st.integers(1, 9))
        if step is not None:
            cuts = list(range(cuts[0], size - edge + 1, step))
    return [whole[a:b] for a, b in pairwise((0, *cuts, size))]
