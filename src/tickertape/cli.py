"""The command line: `tickertape parse`, `explain` and `watch`.

Exit status: 0 done; 1 the question was answered with no; 2 usage or unreadable
input. An error is one line on standard error that names the remedy.

What relays send is untrusted. It reaches the terminal through `visible()` alone,
and as plain `Text`: neither escape sequences nor rich's markup in it count.
Nothing is wrapped or cut where output is no terminal, so that grep finds URLs.
"""

from __future__ import annotations

import argparse
import codecs
import dataclasses
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ._errors import ResponseError, UnknownLine
from .envelope import ResponseReader, parse_response
from .events import Code, LineEnd, Parameters, Text, Unknown
from .parser import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from .events import Event
    from .task import Task

DONE, NO, UNUSABLE, INTERRUPTED = 0, 1, 2, 130

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""What a terminal obeys instead of showing (C0, C1, directions of text), and what cannot be encoded (surrogates)."""
_DATA_URL = re.compile(r"(data:[^\s,]{1,80},[^\s)\"'>]{24})[^\s)\"'>]{100,}")
_STYLES = {"completed": "bold green", "failed": "bold red", "incomplete": "bold yellow"}
_READ = 1 << 16


class _Refused(Exception):
    """An input that cannot be used; its text is the line for standard error."""


class _ArgumentParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong; argparse would print the usage above it."""
        _complain(f"{message}; see '{self.prog} --help'")
        raise SystemExit(UNUSABLE)


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe that is not UTF-8 shows what it cannot encode as escapes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = _arguments().parse_args(argv)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except _Refused as refused:
        _complain(str(refused))
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # inputs are read under _Refused: this is standard output
        _abandon_stdout()
        if isinstance(error, BrokenPipeError):  # `tickertape … | head`: no one is left to tell
            return NO
        _complain(f"standard output: {error.strerror}; give it a place that can be written to")
        return UNUSABLE
    return status


def _arguments() -> argparse.ArgumentParser:
    from importlib.metadata import version

    parser = _ArgumentParser(
        prog="tickertape",
        description="Read the markdown status stream of image and video relays.",
        epilog="Exit status: 0 done; 1 the question was answered with no; 2 usage or unreadable input.",
    )
    parser.add_argument("--version", action="version", version=f"tickertape {version('tickertape')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    command = commands.add_parser(
        "parse",
        help="the task that files tell of",
        description="Print the task that each file tells of: its status, ids, progress and results.",
        epilog="Exit status: 0 done; 1 --strict found an unknown line; 2 a file could not be read, the others were.",
    )
    command.add_argument("--json", action="store_true", help="one JSON task a line, in the order given")
    command.add_argument("--strict", action="store_true", help="refuse files with words in the relay's voice that the grammar does not know")
    command.add_argument(
        "files", nargs="+", metavar="FILE", help="content (.md, .txt), a response (.json), a stream (.sse); - is standard input"
    )
    command.set_defaults(run=_parse)

    command = commands.add_parser(
        "explain",
        help="the source of a file, every span named",
        description="Print the source with the event that each span was read as, and a caret under the first unknown words.",
        epilog="The content of a response or a stream is explained joined. Exit status: 0 done; 2 the file could not be read.",
    )
    command.add_argument("file", metavar="FILE", help="content, a response or a stream; - is standard input")
    command.set_defaults(run=_explain)

    command = commands.add_parser(
        "watch",
        help="follow a response while it arrives",
        description="Show the progress of a response on standard input, then its results: curl -N … | tickertape watch",
        epilog="Exit status: 0 the task completed; 1 it failed or is incomplete; 2 nothing could be read; 130 Ctrl-C.",
    )
    command.set_defaults(run=_watch)
    return parser


# -- parse ------------------------------------------------------------------------


def _parse(args: argparse.Namespace) -> int:
    console = None if args.json else _console()
    status = DONE
    for number, name in enumerate(args.files):
        try:
            task = _task(name)
            if args.strict:
                parse(task.text, strict=True)
        except _Refused as refused:
            status = UNUSABLE
            _complain(str(refused))
        except UnknownLine as unknown:
            status = max(status, NO)
            _complain(
                f"{name}:{unknown.line}:{unknown.column}: unknown status line: {unknown.text.strip()}; "
                "'tickertape explain' shows what was expected, without --strict it is read all the same"
            )
        else:
            if console is None:
                print(_json({"file": name, **task.as_dict()}))
            else:
                if len(args.files) > 1:
                    _print(console, ("\n" if number else "", ""), (visible(name), "bold"))
                _print_task(console, task)
    return status


def _print_task(console: Console, task: Task) -> None:
    for label, value, style in _rows(task):
        # What a message has of further lines stands below its first, and below no label.
        for number, line in enumerate(value.split("\n")):
            _print(console, (f"{'' if number else label:<12}", "dim"), (visible(line), style))


def _rows(task: Task) -> Iterator[tuple[str, str, str]]:
    """Label, value, style: everything known of a task, one fact a line."""
    yield "status", task.status, _STYLES.get(task.status, "bold cyan")
    if task.task_id is not None:
        yield "task id", task.task_id, "bold"
    for name, value in task.ids.items():
        yield "id", f"{name}: {value}", ""
    if task.parameters is not None:
        yield "parameters", json.dumps(dict(task.parameters), ensure_ascii=False), ""
    if task.stages:
        yield "stages", ", ".join(task.stages), ""
    if task.progress:
        yield "progress", " ".join(map(str, task.progress)), ""
    for name, url in task.links.items():
        yield name, url, "blue"
    for result in task.results:
        yield result.kind, result.url, "green"
        if result.download_url is not None:
            yield "  download", result.download_url, "green"
        if result.poster_url is not None:
            yield "  poster", result.poster_url, "green"
    for url in task.previews:
        yield "preview", url, ""
    if task.error is not None:
        code = f" [{task.error.code}]" if task.error.code not in (None, task.error.message) else ""
        yield "error", f"{task.error.category}{code}" + (f": {task.error.message}" if task.error.message else ""), "red"
    if task.envelope is not None and task.envelope.bad_frames:
        yield "bad frames", str(task.envelope.bad_frames), "yellow"


def _json(value: object) -> str:
    """One line of JSON that any pipe can carry and no terminal obeys: escapes inside strings change no value."""
    ascii_only = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], json.dumps(value, ensure_ascii=ascii_only))


# -- explain ----------------------------------------------------------------------


def _explain(args: argparse.Namespace) -> int:
    console = _console()
    content = _task(args.file).text
    if not content:
        raise _Refused(f"{args.file}: holds no content to explain; 'tickertape parse' shows what its fields say")
    unknown = _first_unknown(content)
    line = 1
    for event in parse(content).events:
        source, name = content[event.start : event.end], type(event).__name__
        style = "bold red" if isinstance(event, Unknown) else "cyan"
        at = event.start
        for piece in re.findall(r"[^\n]*\n|[^\n]+", source) or [""]:
            first = at == event.start
            facts = f"  {_facts(event)}" if first else ""
            _print(console, (f"{line:>4}  {name if first else '':<11}", style), (visible(piece), ""), (facts.rstrip(), "dim"))
            line += piece.endswith("\n")
            at += len(piece)
            if unknown is not None and event.start <= unknown[0] < at and isinstance(event, Unknown):
                _print_caret(console, piece[: unknown[0] - at + len(piece)], unknown[1].expected)
                unknown = None
    return DONE


def _first_unknown(content: str) -> tuple[int, UnknownLine] | None:
    """Where the first words in the relay's voice stand that the grammar does not know, and what it expected."""
    try:
        parse(content, strict=True)
    except UnknownLine as unknown:
        lines = content.split("\n", unknown.line - 1)
        return sum(len(line) + 1 for line in lines[:-1]) + unknown.column - 1, unknown
    return None


def _print_caret(console: Console, before: str, expected: tuple[str, ...]) -> None:
    from rich.cells import cell_len

    # A wide character takes two columns of a terminal; the caret points by columns.
    indent = " " * (17 + cell_len(visible(before)))
    _print(console, (f"{indent}^ expected here: {', '.join(expected)}", "bold red"))


def _facts(event: Event) -> str:
    """The fields that tell more of an event than its source does at a glance."""
    if isinstance(event, Parameters):
        return "broken JSON" if event.value is None else f"keys={','.join(event.value)}"
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    return " ".join(f"{k}={v}" for k, v in values.items() if k not in ("start", "end", "text") and v not in (None, ""))


# -- watch ------------------------------------------------------------------------


def _watch(args: argparse.Namespace) -> int:
    console = _console()
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[percent]}", markup=False))
    reader = ResponseReader()
    try:
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("waiting", total=None, percent="")
            for words, percent in _changes(reader):
                shown = "" if percent is None else f"{percent}%"
                progress.update(bar, description=words, percent=shown, completed=percent or 0, total=None if percent is None else 100)
                if not console.is_terminal:
                    _print(console, (f"{words} {shown}".rstrip(), ""))
        reader.close()
    except KeyboardInterrupt:
        _print_task(console, reader.task)
        return INTERRUPTED
    _print_task(console, reader.task)
    return DONE if reader.task.status == "completed" else NO


def _changes(reader: ResponseReader) -> Iterator[tuple[str, float | None]]:
    """Status and stage, and the percentage, whenever one of them changed."""
    last: tuple[str, float | None] | None = None
    for piece in _arriving():
        # The task costs a copy, and a megabyte of dots or of a picture changes nothing in it.
        if all(isinstance(event, LineEnd | Text | Code) for event in reader.feed(piece)):
            continue
        task = reader.task
        words, percent = task.status, None
        if words in ("queued", "in_progress"):
            words = " ".join(dict.fromkeys((words, *task.stages[-1:])))
            percent = task.progress[-1] if task.progress else None
        if (words, percent) != last:
            last = words, percent
            yield last


def _arriving() -> Iterator[bytes]:
    """Standard input as it comes, and what came at once by lines, so that each frame shows."""
    if sys.stdin is None or sys.stdin.isatty():
        raise _Refused("watch: no response on standard input; pipe one in: curl -N … | tickertape watch")
    while True:
        try:
            data = sys.stdin.buffer.read1(_READ)
        except OSError as error:
            raise _Refused(f"standard input: {error.strerror}; pipe a response in: curl -N … | tickertape watch") from None
        if not data:
            return
        yield from data.splitlines(keepends=True)


# -- input and output -------------------------------------------------------------


def _task(name: str) -> Task:
    """The task of a file, by what its name says it is; of anything else by how it begins."""
    text = _text(name)
    if Path(name).suffix.lower() in (".md", ".txt"):
        return parse(text)
    try:
        return parse_response(text)
    except ResponseError as error:
        raise _Refused(f"{name}: {error}") from None


def _text(name: str) -> str:
    try:
        if name == "-":
            data = sys.stdin.buffer.read() if sys.stdin is not None else b""
        else:
            data = Path(name).read_bytes()
    except OSError as error:
        remedy = "give the files in it" if Path(name).is_dir() else "check the path and its permissions"
        raise _Refused(f"{name}: {error.strerror}; {remedy}") from None
    # A stream that was cut off may end inside a character; elsewhere that is another encoding.
    whole = not name.lower().endswith(".sse")
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(data, whole)
    except UnicodeDecodeError as error:
        raise _Refused(f"{name}: not UTF-8 at byte {error.start}; save it as UTF-8, or convert it with iconv -t UTF-8") from None


def _console() -> Console:
    try:
        from rich.console import Console
    except ImportError:
        raise _Refused("rich is not installed, only parse --json works without it: pip install 'tickertape[cli]'") from None
    return Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


def _print(console: Console, *parts: tuple[str, str]) -> None:
    from rich.text import Text

    if console.is_terminal:  # no one reads the base64 of a picture
        parts = tuple((_DATA_URL.sub(r"\1…", text), style) for text, style in parts)
    console.print(Text.assemble(*parts))


def visible(text: str) -> str:
    """A text that a terminal shows and does not obey: `\\x1b` for the escape character, and so on."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _complain(message: str) -> None:
    print(f"tickertape: {visible(message)}", file=sys.stderr)


def _abandon_stdout() -> None:
    """Let the interpreter flush to nowhere at exit, where it would complain once more."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
