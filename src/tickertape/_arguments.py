"""What the commands about tapes take; `_commands` runs them.

Apart from it, for `tickertape parse` shall not load what only they need.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Commands = argparse._SubParsersAction[Any]

KINDS = ("unreadable", "secret", "scanner", "changed", "unknown-line", "missing-media")
"""The findings of `verify`, whose own table is not loaded to tell them."""


def add_tape_commands(commands: Commands) -> None:
    """Tell the command line of them."""
    unreadable = "2 usage, or a path that cannot be read"
    command = commands.add_parser(
        "verify",
        help="is this tape safe to commit, and does it still parse?",
        description="Look for secrets, unreadable tapes, content that is no longer read as it was, unknown lines and "
        "missing media; one line a finding. A folder stands for the tapes in it.",
        epilog=f"Exit status: 0 nothing was found; 1 something was; {unreadable}.",
    )
    command.add_argument("--json", action="store_true", help="one JSON object a finding")
    command.add_argument("--quiet", action="store_true", help="findings only, no last line")
    command.add_argument(
        "--allow", action="append", default=[], metavar="KIND", choices=KINDS, help=f"accept: {', '.join(KINDS)}"
    )
    add_config(command)
    command.add_argument("paths", metavar="PATH", nargs="+", help="a tape, or a folder of tapes")
    command.set_defaults(run=_tape_command("verify"))

    command = commands.add_parser(
        "diff",
        help="what has changed between two tapes, by the shape of their events",
        description="Compare two tapes, or the tapes of the same names in two folders: kinds of events and their "
        "order, results, failures, unknown lines, fields, status; not bytes, ids, addresses, prompts and times.",
        epilog=f"Exit status: 0 nothing that breaks a client; 1 something that does; {unreadable}.",
    )
    command.add_argument("--json", action="store_true", help="one JSON object with all changes")
    command.add_argument("old", metavar="OLD", help="a tape, or a folder of tapes")
    command.add_argument("new", metavar="NEW", help="the same, as it is now")
    command.set_defaults(run=_tape_command("diff"))

    command = commands.add_parser(
        "list",
        help="the tapes and scenarios at hand",
        description="List tapes with their dialect, status, duration, age and the files that name them. Without PATH: "
        "the project's tapes (tests/tapes, or TICKERTAPE_TAPES), the gallery, and the dialects of scenarios.",
        epilog=f"Exit status: 0 done; {unreadable}.",
    )
    command.add_argument("--json", action="store_true", help="one JSON object a tape, and a scenario")
    command.add_argument("--tests", metavar="DIR", help="where to look for users (default: tests, if it is there)")
    command.add_argument("paths", metavar="PATH", nargs="*", help="a tape, or a folder of tapes")
    command.set_defaults(run=_tape_command("list"))

    command = commands.add_parser(
        "import",
        help="make tapes of vcrpy cassettes and HAR files",
        description="Make tapes of cassettes (vcrpy, pytest-recording; YAML or JSON) and HAR files, without secrets.",
        epilog=f"Exit status: 0 done; 1 no answer of a relay in them; {unreadable}.",
    )
    command.add_argument("--out", metavar="DIR", required=True, help="the folder that the tapes are written to")
    command.add_argument("--all", action="store_true", help="take everything, not only what a relay answered")
    command.add_argument("--force", action="store_true", help="write over tapes that are there")
    add_config(command)
    command.add_argument("files", metavar="FILE", nargs="+", help=".yaml, .yml, .json, .har, or a folder of them")
    command.set_defaults(run=_tape_command("import"))

    command = commands.add_parser(
        "migrate",
        help="rewrite tapes of other forms as today's",
        description="Rewrite bare files (.json, .sse, .md, .txt) and tapes of older formats as .jsonl of today's "
        "format, without secrets and with the summary that verify compares. Nothing is deleted.",
        epilog=f"Exit status: 0 done; {unreadable}, those before it are done.",
    )
    add_config(command)
    command.add_argument("paths", metavar="PATH", nargs="+", help="a tape, or a folder of tapes")
    command.set_defaults(run=_tape_command("migrate"))


def add_config(command: argparse.ArgumentParser) -> None:
    """Where a command that redacts has the project's own rules from."""
    command.add_argument(
        "--config",
        metavar="FILE",
        help="where [[tool.tickertape.redact]] has your own rules (default: the nearest pyproject.toml)",
    )


def _tape_command(name: str) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        from ._commands import run as run_command  # parse and watch need none of what it loads

        return run_command(name, args)

    return run
