"""The commands about tapes: `verify`, `diff`, `list`, `import` and `migrate`.

Loaded by `cli` when one of them is called: what they need is heavy, and `parse` does not
need it. All of them print plain lines, and work without rich.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import TapeError, TickertapeError
from .cli import DONE, NO, UNUSABLE, _complain, _json, visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from .testing.catalogue import Entry
    from .testing.redaction import Redactor


def run(name: str, args: argparse.Namespace) -> int:
    """Run one of the commands and return its exit status."""
    try:
        return _COMMANDS[name](args)
    except TickertapeError as error:  # a tape that cannot be read, or rules of one's own
        _complain(str(error))
        return UNUSABLE


def redactor_of(args: argparse.Namespace, where: str) -> Redactor:
    """With the rules of the project that the tapes are in, wherever the command is called."""
    from .testing.redaction import Redactor

    folder = Path(where).absolute()
    while not folder.is_dir():  # a tape, or a folder that is not made yet
        folder = folder.parent
    return Redactor.configured(args.config or folder)


def _say(text: str) -> None:
    print(visible(text), flush=True)


def _verify(args: argparse.Namespace) -> int:
    from .testing import _scanner
    from .testing.verify import tapes_of, verify

    files = {file: path for path in args.paths for file in tapes_of(path)}
    count = 0
    for path in dict.fromkeys(files.values()):
        own = [file for file in files if files[file] == path]
        for finding in verify(*own, redactor=redactor_of(args, path), allow=args.allow):
            count += 1
            if args.json:
                print(_json(asdict(finding)), flush=True)
            else:
                _say(str(finding))
    if _scanner.patterns() is None:
        remedy = "pip install 'tickertape[cli]'"
        _complain(f"detect-secrets is not installed, only tickertape's own rules were applied; {remedy}")
    if not args.json and not args.quiet:
        _say(f"{_many(len(files), 'tape')}, {_many(count, 'finding')}")
    return NO if count else DONE


def _diff(args: argparse.Namespace) -> int:
    from .testing.drift import compare_files

    pairs = compare_files(args.old, args.new)
    changes = [(name, change) for name, found in pairs.items() for change in found]
    breaking = sum(change.is_breaking for _, change in changes)
    counts = {"breaking": breaking, "harmless": len(changes) - breaking}
    if args.json:
        told = [{"tape": name or None, "severity": change.severity, **asdict(change)} for name, change in changes]
        print(_json({"old": args.old, "new": args.new, "compared": len(pairs), **counts, "changes": told}))
    else:
        for name, change in changes:
            _say(f"{name}: {change}" if name else str(change))
        _say(f"{_many(len(pairs), 'tape')} compared: {breaking} breaking, {counts['harmless']} harmless")
    return NO if breaking else DONE


def _list(args: argparse.Namespace) -> int:
    from .testing._gallery import gallery_folder
    from .testing.catalogue import catalogue, project_tapes, scenarios

    own = project_tapes()
    paths = [Path(path) for path in args.paths] or [*([own] if own.is_dir() else []), gallery_folder()]
    tests = args.tests if args.tests is not None else "tests" if Path("tests").is_dir() else None
    if args.tests is not None and not Path(args.tests).is_dir():
        raise TapeError(f"{args.tests}: no such folder; give --tests the one that holds your tests")
    entries = catalogue(*paths, tests=tests)
    # What can be made of nothing is at hand too, where nobody asked for a folder.
    made = [] if args.paths else scenarios()
    if args.json:
        for value in [*(entry.as_dict() for entry in entries), *made]:
            print(_json(value))
        return DONE
    rows = [("TAPE", "DIALECT", "STATUS", "DURATION", "AGE", "USED BY")] + [_row(entry) for entry in entries]
    _table(rows)
    if made:
        _say("")
        _table(
            [("SCENARIO", "KINDS", "LANGUAGES")]
            + [(each["scenario"], ", ".join(each["kinds"]), ", ".join(each["languages"])) for each in made]
        )
    return DONE


def _row(entry: Entry) -> tuple[str, ...]:
    if entry.error is not None:
        return entry.name, "-", "unreadable", "-", "-", "'tickertape verify' says why"
    duration = "-" if entry.duration is None else f"{entry.duration:.1f} s"
    age = "-" if entry.age_days is None else _many(entry.age_days, "day")
    used = ", ".join(entry.used_by[:3]) + (f" and {len(entry.used_by) - 3} more" if len(entry.used_by) > 3 else "")
    return entry.name, entry.dialect or "-", entry.status or "-", duration, age, used or "-"


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(visible(row[column])) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (visible(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _import(args: argparse.Namespace) -> int:
    from .testing.importers import import_to

    status, count, unread = NO, 0, 0
    redactor = redactor_of(args, args.out)
    for imported in import_to(args.files, args.out, everything=args.all, force=args.force, redactor=redactor):
        for line in imported.left:
            _say(f"left   {imported.source}: {line}")
        if imported.why:
            unread += 1
            _complain(imported.why)
            continue
        if imported.tape is None:
            _complain(f"{imported.source}: holds no answer of a relay; --all takes what it holds")
            continue
        count += 1
        status = DONE
        size = _many(len(imported.tape.interactions), "interaction")
        _say(f"taken  {imported.source}: {size} → {imported.target}")
    if count or not unread:
        _say(f"{_many(count, 'tape')} written; 'tickertape verify {args.out}' checks them before you commit")
    return UNUSABLE if unread else status


def _migrate(args: argparse.Namespace) -> int:
    from .testing._migrate import migrate

    status = DONE
    for path in args.paths:
        for done in migrate(path, redactor=redactor_of(args, path)):
            if done.did == "unread":
                status = UNUSABLE
                _complain(done.why)
            elif done.did == "written":
                _say(f"written    {done.target}")
                if done.left:
                    _say(f"           takes the place of {', '.join(map(str, done.left))}: delete what you do not need")
            elif done.did == "kept":
                _say(f"kept       {done.path}: {done.target} is there already, and wins over it")
            else:
                _say(f"unchanged  {done.path}")
    return status


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


_COMMANDS: dict[str, Callable[[Any], int]] = {
    "diff": _diff,
    "import": _import,
    "list": _list,
    "migrate": _migrate,
    "verify": _verify,
}
