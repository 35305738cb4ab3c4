"""What there is to play: tapes, with what they tell, how old they are and who uses them; and scenarios.

for entry in catalogue(Path("tests/tapes"), tests=Path("tests")):
    print(entry.name, entry.status, entry.used_by)
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import TapeError
from ._gallery import find, gallery, gallery_folder, names_in, project_tapes, stem_of
from ._shape import task_of
from .tape import Tape
from .verify import as_gallery

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Entry", "catalogue", "project_tapes", "scenarios", "users"]

_FILES, _BYTES, _DEPTH = 5_000, 1_000_000, 12
"""Bounds of the search for users: files looked into, bytes of each, levels of folders."""
_SOURCES = (".py", ".pyi", ".js", ".mjs", ".ts", ".tsx", ".go", ".rb", ".sh", ".toml", ".ini", ".cfg", ".yaml", ".yml")
_SKIPPED = ("node_modules", "venv", "site-packages", "__pycache__", "build", "dist")
_IN_A_NAME = r"[\w./-]"


@dataclass(frozen=True, slots=True)
class Entry:
    """A tape."""

    name: str
    path: str
    dialect: str | None = None
    """Of the gallery's folders the one of this name, or of the model that was asked for; None when neither tells."""
    status: str | None = None
    """The task's; None for a tape without a chat answer, or that cannot be read."""
    duration: float | None = None
    """Seconds that the answer took; None for a bare file, which has no times."""
    recorded: str | None = None
    age_days: int | None = None
    interactions: int = 0
    used_by: tuple[str, ...] = ()
    """Files that name it."""
    error: str | None = None
    """Why it cannot be read."""

    def as_dict(self) -> dict[str, Any]:
        """The entry as JSON data."""
        return {**asdict(self), "used_by": list(self.used_by)}


def catalogue(
    *paths: str | os.PathLike[str], tests: str | os.PathLike[str] | None = None, now: datetime | None = None
) -> list[Entry]:
    """The tapes of these folders and files, sorted by name; without any, the gallery's.

    `tests` is a folder whose sources are searched for the names. Raises `TapeError` for
    a path that is not there; a tape that cannot be read is an entry with its `error`.
    """
    now = now or datetime.now(UTC)
    entries = [_entry(name, file, now) for name, file in _named(paths)]
    if tests is not None:
        used = users({entry.name for entry in entries}, tests)
        entries = [replace(entry, used_by=tuple(used.get(entry.name, ()))) for entry in entries]
    return sorted(entries, key=lambda entry: (entry.name, entry.path))


def _named(paths: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[str, Path]]:
    for path in map(Path, paths or (gallery_folder(),)):
        if path.is_dir():
            folder = as_gallery(path)
            yield from ((name, find(name, [folder])) for name in names_in(folder))
        elif path.is_file():
            yield stem_of(f"{path.parent.name}/{path.name}".lstrip("/")), path
        else:
            raise TapeError(f"{path}: no such file or folder; check the path")


def _entry(name: str, path: Path, now: datetime) -> Entry:
    entry = Entry(name, str(path))
    try:
        tape = Tape.load(path)
        task = task_of(tape.chat)
        dialect = tape.dialect or _dialect(tape)
    except TapeError as error:
        return replace(entry, error=str(error))
    is_timed = path.suffix.lower() == ".jsonl"
    return replace(
        entry,
        dialect=dialect,
        status=task.status if task is not None else None,
        duration=round(tape.duration, 3) if is_timed else None,
        recorded=tape.recorded,
        age_days=_age(tape.recorded, now),
        interactions=len(tape.interactions),
    )


def _dialect(tape: Tape) -> str | None:
    """By the model that was asked for, where a family is named like it."""
    request = tape.chat.request
    asked = request.json if request is not None else None
    model = asked.get("model") if isinstance(asked, dict) else None
    families = sorted({name.partition("/")[0] for name in gallery()}, key=len, reverse=True)
    return next((family for family in families if isinstance(model, str) and model.startswith(family)), None)


def _age(recorded: str | None, now: datetime) -> int | None:
    """Days; None for what is no time. A clock that goes wrong makes no tape younger than new."""
    try:
        then = datetime.fromisoformat(recorded or "")
    except ValueError:
        return None
    return max(0, (now - (then if then.tzinfo else then.replace(tzinfo=UTC))).days)


def scenarios() -> list[dict[str, Any]]:
    """What `Scenario.dialect` takes: names, kinds and languages."""
    from ._script import dialects, languages

    return [
        {"scenario": name, "kinds": list(table["kinds"]), "languages": list(languages(name))}
        for name, table in dialects().items()
    ]


# -- who uses them -------------------------------------------------------------------------


def users(names: Iterable[str], folder: str | os.PathLike[str]) -> dict[str, list[str]]:
    """The source files of a folder that hold each name, sorted.

    A plain search for the text, by which a name that is put together while a test runs is
    not found, and one in a comment is. At most 5,000 files are searched, of each the first
    megabyte; hidden folders, virtual environments and the like are not.
    """
    wanted = set(names)
    if not wanted:
        return {}
    longest = sorted(map(re.escape, wanted), key=len, reverse=True)
    suffixes = "jsonl|json|sse|md|txt"
    pattern = re.compile(rf"(?<!{_IN_A_NAME})(?:[\w./-]*/)??({'|'.join(longest)})(?:\.(?:{suffixes}))?(?!{_IN_A_NAME})")
    found: dict[str, set[str]] = {}
    for path in _sources(Path(folder)):
        try:
            with path.open("rb") as file:
                text = file.read(_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        for match in pattern.finditer(text):
            found.setdefault(match[1], set()).add(path.as_posix())
    return {name: sorted(paths) for name, paths in found.items()}


def _sources(folder: Path) -> Iterator[Path]:
    count = 0
    for where, folders, files in os.walk(folder):
        depth = len(Path(where).relative_to(folder).parts)
        wanted = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        folders[:] = wanted if depth < _DEPTH else []
        for name in sorted(files):
            if name.endswith(_SOURCES):
                if count >= _FILES:
                    return
                count += 1
                yield Path(where, name)
