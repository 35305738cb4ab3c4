"""Tapes of other forms, rewritten as those of today.

There is one format so far, and what was before it: bare files, with their request and
response beside them. What a later format changes has its place in `UPGRADES`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import TapeError
from ._facts import FORMAT, _line
from ._gallery import SIBLINGS, stem_of
from .redaction import RULES, Redactor
from .tape import Tape
from .verify import noted, tapes_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

Lines = list[dict[str, Any]]

UPGRADES: dict[int, Callable[[Lines], Lines]] = {}
"""By the format that it reads: makes lines, the header first, those of the next format."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """What became of a file."""

    path: Path
    target: Path
    did: str
    """`written`, `unchanged`, `kept` where a tape of the new form was already there, or `unread`."""
    left: tuple[Path, ...] = ()
    """Files that the tape now takes the place of; they are not touched."""
    why: str = ""
    """Of what was not read: why."""


def migrate(path: str | os.PathLike[str], *, redactor: Redactor | None = None) -> Iterator[Migrated]:
    """Rewrite the tapes that a path names as `.jsonl` of today's format, without secrets and with their summary.

    A bare file stays, beside the new one, which wins over it. Migrating twice is
    migrating once. `redactor` brings rules of your own; each tape has placeholders of its
    own. A file that cannot be read is told, and the others are done all the same. Raises
    `TapeError` for a path that names none.
    """
    rules = redactor.rules if redactor is not None else RULES
    return (_told(file, Redactor(rules)) for file in tapes_of(path))


def _told(path: Path, redactor: Redactor) -> Migrated:
    target = path.with_name(f"{stem_of(path.name)}.jsonl")
    try:
        return _one(path, target, redactor)
    except TapeError as error:
        return Migrated(path, target, "unread", why=str(error))


def _one(path: Path, target: Path, redactor: Redactor) -> Migrated:
    is_bare = path.suffix.lower() != ".jsonl"
    if is_bare and target.exists():
        return Migrated(path, target, "kept")
    tape = Tape.load(path) if is_bare else _upgraded_tape(path)
    redacted = redactor.redact(tape)
    tape = replace(redacted, interactions=tuple(noted(interaction) for interaction in redacted.interactions))
    # With media by their names, as they are saved.
    if not is_bare and tape._dumps(_medium_name).encode() == path.read_bytes():
        return Migrated(path, target, "unchanged")
    Tape.loads(tape.dumps(), name=str(target))  # what could not be read again is not written
    tape.save(target)
    # What the bare tape is read as, NAME.task.json, holds for the new one too.
    beside = [path.with_name(stem_of(path.name) + suffix) for suffix in SIBLINGS if suffix != ".task.json"]
    left = (path, *(sibling for sibling in beside if sibling.is_file())) if is_bare else ()
    return Migrated(path, target, "written", left)


def _medium_name(data: bytes, suffix: str) -> str:
    return hashlib.sha256(data).hexdigest() + suffix


def _upgraded_tape(path: Path) -> Tape:
    return Tape._read(upgraded(path).encode("utf-8", "surrogatepass"), ".jsonl", path.stem, str(path), {}, path.parent)


def upgraded(path: Path) -> str:
    """The text of a tape in today's format; as it is, where its format is not told or not known."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TapeError(f"{path}: {error.strerror}; check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise TapeError(f"{path}: not UTF-8 at byte {error.start}; convert it, or record it again") from error
    try:
        lines = [json.loads(line) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError):
        return text  # reading it tells the line
    version = lines[0].get("tape") if lines and isinstance(lines[0], dict) else None
    if type(version) is not int or version not in UPGRADES:
        return text
    while version < FORMAT and version in UPGRADES:
        lines = UPGRADES[version](lines)
        version += 1
        lines[0] = {**lines[0], "tape": version}
    return "".join(f"{_line(line)}\n" for line in lines)
