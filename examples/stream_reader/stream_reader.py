"""A small reader of a relay's stream: the pictures of an answer, and nothing else.

`first_draft` is how such readers are written: it looks for words in each delta. A
strategy found the stream on which it goes wrong (`tests/test_stream_reader.py`);
`pictures` is what became of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tickertape import Parser

if TYPE_CHECKING:
    from collections.abc import Iterable

LINK = re.compile(r"\]\((https?://[^)]+)\)")


class NoPicture(Exception):
    """There is no picture, and why."""


def first_draft(deltas: Iterable[str]) -> list[str]:
    """The addresses of the pictures."""
    found: list[str] = []
    for delta in deltas:
        if "生成失败" in delta or "failed" in delta:
            raise NoPicture(delta)
        if "生成完成" in delta or "complete" in delta:
            found += LINK.findall(delta)
    return found


def pictures(deltas: Iterable[str]) -> list[str]:
    """The addresses of the pictures, or `NoPicture`."""
    parser = Parser()
    for delta in deltas:
        parser.feed(delta)
    parser.close()
    task = parser.task
    if task.status != "completed" or not task.results:
        raise NoPicture(task.error.message if task.error is not None else task.status)
    return [result.url for result in task.results]
