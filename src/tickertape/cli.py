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
import contextlib
import dataclasses
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from . import events as ev
from ._arguments import add_tape_commands
from ._errors import ResponseError, TapeError, UnknownLine
from ._serving import add_serving_commands
from .envelope import ResponseReader
from .parser import parse
from .responses import parse_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from .task import Task

DONE, NO, UNUSABLE, INTERRUPTED = 0, 1, 2, 130

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""What a terminal obeys instead of showing (C0, C1, directions of text), and what cannot be encoded (surrogates)."""
_DATA_URL = re.compile(r"(data:[^\s,]{1,80},[^\s)\"'>]{24})[^\s)\"'>]{100,}")
_STYLES = {"completed": "bold green", "failed": "bold red", "incomplete": "bold yellow"}
_PIPE = "curl -N … | tickertape watch"


class Refused(Exception):
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
        return int(args.run(args))
    except Refused as refused:
        _complain(str(refused))
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # inputs are read under Refused: this is standard output
        # The interpreter flushes at exit, and would complain once more: let it flush to nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # `tickertape … | head`: no one is left to tell
            return NO
        _complain(f"standard output: {error.strerror}; give it a place that can be written to")
        return UNUSABLE


def _arguments() -> argparse.ArgumentParser:
    from importlib.metadata import version

    parser = _ArgumentParser(
        prog="tickertape",
        description="Read the markdown status stream of image and video relays.",
        epilog="Exit status: 0 done; 1 the question was answered with no; 2 usage or unreadable input.",
    )
    parser.add_argument("--version", action="version", version=f"tickertape {version('tickertape')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    file = "content (.md, .txt), a response (.json), a stream (.sse), a tape (.jsonl); - is standard input"
    command = commands.add_parser(
        "parse",
        help="the task that files tell of",
        description="Print the task that each file tells of: its status, ids, progress and results.",
        epilog="Exit status: 0 done; 1 --strict found an unknown line; 2 a file could not be read, the others were.",
    )
    command.add_argument("--json", action="store_true", help="one JSON task a line, in the order given")
    command.add_argument("--strict", action="store_true", help="refuse status lines that the grammar does not know")
    command.add_argument("files", metavar="FILE", nargs="+", help=file)
    command.set_defaults(run=_parse)

    command = commands.add_parser(
        "explain",
        help="the source of a file, every span named",
        description="Print the content with what each span was read as, and a caret under the first unknown words.",
        epilog="Exit status: 0 done; 2 the file could not be read.",
    )
    command.add_argument("file", metavar="FILE", help=file)
    command.set_defaults(run=_explain)

    command = commands.add_parser(
        "watch",
        help="follow a response while it arrives",
        description=f"Show the progress of a response on standard input, then its results: {_PIPE}",
        epilog="Exit status: 0 the task completed; 1 it did not; 2 nothing could be read; 130 Ctrl-C.",
    )
    command.set_defaults(run=_watch)

    add_tape_commands(commands)
    add_serving_commands(commands)
    return parser


def _parse(args: argparse.Namespace) -> int:
    console = None if args.json else _console()
    status, gap = DONE, ""
    for name in args.files:
        try:
            task = _task(name)
            if args.strict:
                parse(task.text, strict=True)
        except Refused as refused:
            status = UNUSABLE
            _complain(str(refused))
        except UnknownLine as unknown:
            status = max(status, NO)
            _complain(
                f"{name}:{unknown.line}:{unknown.column}: unknown status line: {unknown.text.strip()}; "
                "'tickertape explain' shows what was expected there, without --strict the file is read all the same"
            )
        else:
            if console is None:
                print(_json({"file": name, **task.as_dict()}), flush=True)
                continue
            if len(args.files) > 1:
                _print(console, (gap, ""), (visible(name), "bold"))
                gap = "\n"
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
    if (error := task.error) is not None:
        code = f" [{error.code}]" if error.code not in (None, error.message) else ""
        yield "error", f"{error.category}{code}" + (f": {error.message}" if error.message else ""), "red"
    if task.envelope is not None and task.envelope.bad_frames:
        yield "bad frames", str(task.envelope.bad_frames), "yellow"


def _json(value: object) -> str:
    """One line of JSON that any pipe can carry and no terminal obeys: escapes inside strings change no value."""
    ascii_only = not (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    try:
        text = json.dumps(value, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:  # Python reads NaN and 1e999 in an echo, JSON has no words for them
        finite = json.loads(json.dumps(value), parse_constant=lambda _: None)
        text = json.dumps(finite, ensure_ascii=ascii_only)
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _explain(args: argparse.Namespace) -> int:
    console = _console()
    from rich.cells import cell_len

    content = _task(args.file).text
    if not content:
        raise Refused(f"{args.file}: holds no content to explain; 'tickertape parse' shows what its fields say")
    unknown = _first_unknown(content)
    line = 1
    for event in parse(content).events:
        source, at, name, facts = content[event.start : event.end], event.start, type(event).__name__, _facts(event)
        style = "bold red" if isinstance(event, ev.Unknown) else "cyan"
        for piece in re.findall(r"[^\n]*\n|[^\n]+", source) or [""]:
            # A newline has a sign of its own: relays also write a backslash and an n.
            shown = visible(piece.removesuffix("\n")) + "↵" * piece.endswith("\n")
            _print(console, (f"{line:>4}  ", "dim"), (f"{name:<12}", style), (shown, ""), (facts, "dim"))
            name = facts = ""
            line += piece.endswith("\n")
            start, at = at, at + len(piece)
            if unknown is not None and start <= unknown[0] <= at and isinstance(event, ev.Unknown):
                # A wide character takes two columns of a terminal; the caret points by columns.
                indent = " " * (18 + cell_len(visible(piece[: unknown[0] - start].removesuffix("\n"))))
                _print(console, (f"{indent}^ expected here: {', '.join(unknown[1].expected)}", "bold red"))
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


def _facts(event: ev.Event) -> str:
    """The fields that tell more of an event than its source does at a glance."""
    if isinstance(event, ev.Parameters):
        facts = ["broken JSON" if event.value is None else f"keys={','.join(event.value)}"]
    else:
        names = [field.name for field in dataclasses.fields(event) if field.name not in ("start", "end", "text")]
        values = {name: getattr(event, name) for name in names}
        facts = [f"{name}={value}" for name, value in values.items() if str(value) not in ("None", "False", "")]
    return visible("  ← " + " ".join(facts)) if facts else ""


def _watch(args: argparse.Namespace) -> int:
    console, stdin = _console(), _stdin()
    if stdin.isatty():
        raise Refused(f"standard input: a terminal, no response; pipe one in: {_PIPE}")
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    left, right = (TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("stage", "percent"))
    columns = (left, BarColumn(), right, TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    reader = ResponseReader()
    status = INTERRUPTED
    with contextlib.suppress(KeyboardInterrupt):
        with bar:
            row = bar.add_task("", total=None, stage="waiting", percent="")
            for stage, percent in _changes(reader, stdin):
                total, shown = (None, "") if percent is None else (100, f"{percent}%")
                bar.update(row, completed=percent or 0, total=total, stage=stage, percent=shown)
                if bar.disable:
                    _print(console, (f"{stage} {shown}".rstrip(), ""))
        reader.close()
        status = DONE  # the stream was followed to its end, whatever became of the task
    _print_task(console, reader.task)
    return status


def _changes(reader: ResponseReader, stdin: io.BufferedReader) -> Iterator[tuple[str, float | None]]:
    """Status and stage, and the percentage, whenever one of them changed."""
    last: tuple[str, float | None] | None = None
    for piece in _arriving(stdin):
        # The task costs a copy, and a megabyte of dots or of a picture changes nothing in it.
        if all(isinstance(event, ev.LineEnd | ev.Text | ev.Code) for event in reader.feed(piece)):
            continue
        task = reader.task
        stage, percent = str(task.status), None
        if stage in ("queued", "in_progress"):
            stage = " ".join(dict.fromkeys((stage, *task.stages[-1:])))  # not "queued queued"
            percent = task.progress[-1] if task.progress else None
        if (stage, percent) != last:
            last = stage, percent
            yield last


def _arriving(stdin: io.BufferedReader) -> Iterator[bytes]:
    """Standard input as it comes, and what came at once by lines, so that each frame shows."""
    try:
        while data := stdin.read1(1 << 16):
            yield from data.splitlines(keepends=True)
    except OSError as error:
        raise Refused(f"standard input: {error.strerror}; pipe a response in: {_PIPE}") from None


def _task(name: str) -> Task:
    """The task of a file, by what its name says it is; of anything else by how it begins."""
    text, suffix = _text(name), Path(name).suffix.lower()
    if suffix in (".md", ".txt"):
        return parse(text)
    if suffix == ".jsonl":
        from .testing.tape import Tape

        try:
            return Tape.loads(text, name=name).task
        except TapeError as error:
            raise Refused(str(error)) from None
    try:
        return parse_response(text)
    except ResponseError as error:
        raise Refused(f"{name}: {error}") from None


def _stdin() -> io.BufferedReader:
    if sys.stdin is None:  # closed by the shell: `<&-`
        raise Refused("standard input: closed; pipe a response in")
    return cast("io.BufferedReader", sys.stdin.buffer)


def _text(name: str) -> str:
    try:
        data = _stdin().read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        remedy = "give the files in it" if Path(name).is_dir() else "check the path and its permissions"
        raise Refused(f"{name}: {error.strerror}; {remedy}") from None
    try:
        # A stream that was cut off may end inside a character; elsewhere that is another encoding.
        return codecs.getincrementaldecoder("utf-8-sig")().decode(data, final=not name.lower().endswith(".sse"))
    except UnicodeDecodeError as error:
        raise Refused(f"{name}: not UTF-8 at byte {error.start}; convert it, e.g. with iconv -t UTF-8") from None


def _console() -> Console:
    try:
        from rich.console import Console
    except ImportError:
        raise Refused("only parse --json works without rich; pip install 'tickertape[cli]'") from None
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
