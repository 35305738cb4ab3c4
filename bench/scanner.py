"""What can be had in pure Python without a grammar: one regular expression, written for the benchmark's texts.

It knows the dialect of those texts and no other, needs the whole text, cannot
tell a malformed line from prose, and must be read to be changed. It is here as
the limit that a parser in Python can approach.
"""

from __future__ import annotations

import json
import re

from tickertape.events import (
    Code,
    Completed,
    Event,
    Identifier,
    Image,
    LineEnd,
    Link,
    Parameters,
    Progress,
    Role,
    Stage,
    TaskId,
    TaskLink,
    Text,
)

# One alternative an event, with the marks before it, the frequent ones first. The named group that closes last
# tells which one it was.
_EVENT = re.compile(
    r"""
      (?P<tick>[0-9]+)\.\.
    | [ .✅]*\n(?:```(?=\n)(?P<close>)|(?P<line_end>))
    | >[ ]?(?:
          [🕐⏳⚡]?[ ]?(?:(?P<queued>排队中|Queuing)|(?P<generating>生成中|Generating))[ ]?
        | 🏃?[ ]?(?P<word>进度|Progress)[ ]*(?P<first>[0-9]+)\.\.
        | \[(?P<task_label>[^\]\n]+)\]\((?P<task_link>[^()\s]+)\)
        | (?P<key>(?:任务)?ID):[ ]?`(?P<task>[^`\n]+)`
        | (?P<name>sid|gen_id):[ ]?(?P<identifier>[0-9A-Za-z_-]+)
        | ✅?[ ]?(?P<completed>生成完成|Generation\ complete)[ ]?
      )
    | (?:[ ]\|[ ])?\[(?:(?P<last>[0-9]+)\]\((?P<preview>[^()\s]+)|(?P<label>[^\]\n]+)\]\((?P<link>[^()\s]+))\)
    | !\[(?P<alt>[^\]\n]*)\]\((?P<image>[^()\s]+)\)
    | ```json\s*(?P<echo>\{[^`]*\})
    | (?P<text>[^\n]+)
    """,
    re.VERBOSE,
)
_ROLES: tuple[tuple[str, Role], ...] = (("下载", "download"), ("预览", "preview"), ("播放", "watch"))


def scan(text: str) -> list[Event]:
    """The events of a whole text."""
    events: list[Event] = []
    add = events.append
    at = 0
    for match in _EVENT.finditer(text):
        kind = match.lastgroup
        stop = match.end()
        if kind == "line_end":
            add(LineEnd(at, stop))
        elif kind == "tick":
            add(Progress(at, stop, int(match["tick"]), None, None))
        elif kind == "link":
            add(_link(at, stop, match["label"], match["link"]))
        elif kind == "task_link":
            add(_link(at, stop, match["task_label"], match["task_link"]))
        elif kind == "first":
            add(Progress(at, stop, int(match["first"]), match["word"], None))
        elif kind == "image":
            add(Image(at, stop, match["alt"], match["image"]))
        elif kind == "queued":
            add(Stage(at, stop, "queued", match["queued"]))
        elif kind == "generating":
            add(Stage(at, stop, "generating", match["generating"]))
        elif kind == "preview":
            add(Progress(at, stop, int(match["last"]), None, match["preview"]))
        elif kind == "completed":
            add(Completed(at, stop, match["completed"]))
        elif kind == "task":
            add(TaskId(at, stop, match["key"], match["task"]))
        elif kind == "identifier":
            add(Identifier(at, stop, match["name"], match["identifier"]))
        elif kind == "echo":
            add(Parameters(at, stop, match[0], json.loads(match["echo"])))
        elif kind == "close":
            add(Code(at, stop, match[0]))
        else:
            add(Text(at, stop, match[0]))
        at = stop
    return events


def _link(start: int, end: int, label: str, url: str) -> Event:
    if label == "数据预览":
        return TaskLink(start, end, "web", label, url)
    if label == "原始数据":
        return TaskLink(start, end, "source", label, url)
    for word, role in _ROLES:
        if word in label:
            return Link(start, end, label, url, role, None)
    return Link(start, end, label, url, None, None)
