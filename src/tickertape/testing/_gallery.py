"""Names of tapes to files: the folders of a project first, then the built-in gallery.

A name is `family/name` without a suffix. It may come from anywhere, also from a
control call over HTTP, so it is a name and no path: it cannot leave its folder.
"""

from __future__ import annotations

import difflib
import os
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from .._errors import TapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Folder = str | os.PathLike[str] | None

SUFFIXES = (".jsonl", ".json", ".sse", ".md", ".txt")
"""What a tape may be, in the order in which files of one name win."""
SIBLINGS = (".request.json", ".response.json", ".task.json")
"""What may stand beside a tape and is none: its request, its status and headers, what it is read as."""

_HIDDEN = ("fatal", "spec")
"""Folders of a checkout's `fixtures/` that hold no tapes."""
_LONGEST = 200
"""Characters of a name: it is compared with every other one when it is not found."""


def gallery_folder() -> Path:
    """Where the gallery is: in the wheel beside the code, in a checkout at its top."""
    package = Path(__file__).parents[1]
    packaged = package / "fixture_files"
    return packaged if packaged.is_dir() else package.parents[1] / "fixtures"


def gallery() -> tuple[str, ...]:
    """The names of the built-in tapes, sorted: `dalle/two-owls`, `domo/paper-crane`…"""
    return tuple(sorted(names_in(gallery_folder())))


def names_in(folder: str | os.PathLike[str]) -> set[str]:
    """The names under which the tapes of a folder, and of the folders in it, are found."""
    return {stem_of(path.relative_to(folder).as_posix()) for path in _tapes(Path(folder))}


def stem_of(name: str) -> str:
    """A file's name without the suffix of a tape; a name may hold dots (`gpt-image-1.5/cat`)."""
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


# -- the project's own folder ---------------------------------------------------------------

_entered: list[Callable[[], Folder]] = []
"""What tells the folder of each relay that is entered; the innermost last."""


@contextmanager
def entered(tapes: Callable[[], Folder]) -> Iterator[None]:
    """Names without a folder are looked for in this relay's, as long as it is entered."""
    _entered.append(tapes)
    try:
        yield
    finally:
        _entered.remove(tapes)


def project_tapes() -> Path:
    """The folder of the project's own tapes, there or not, as the plugin finds it without its ini file."""
    return Path(os.environ.get("TICKERTAPE_TAPES") or "tests/tapes")


def project_folders(given: Folder = None) -> list[Path]:
    """Where a name is looked for before the gallery: the folder that was given, or that of the innermost relay
    entered, or that of `TICKERTAPE_TAPES`, or `tests/tapes` where it is there; at most one."""
    told = (given, *(tapes() for tapes in reversed(_entered)), os.environ.get("TICKERTAPE_TAPES") or None)
    if (folder := next((each for each in told if each is not None), None)) is not None:
        return [Path(folder)]
    return [folder] if (folder := project_tapes()).is_dir() else []


# -- finding --------------------------------------------------------------------------------


def find(name: str, folders: Iterable[str | os.PathLike[str]] = ()) -> Path:
    """The file of a tape, looked for in the folders in order, then in the gallery.

    Safe for names that are not trusted. Of several files of one name the first of
    `SUFFIXES` wins; a name may end with the suffix to choose another. Raises
    `TapeError` for what is no name, for a link that leads out of its folder, and
    for a name that is nowhere, with the nearest ones there are.
    """
    if reason := _no_name(name):
        raise TapeError(
            f"{_shown(name)}: no name of a tape: {reason}; expected 'family/name', such as 'sora-2/kite-festival', "
            "or a path that exists"
        )
    looked_in = [*map(Path, folders), gallery_folder()]
    for folder in looked_in:
        if (path := next((each for each in _candidates(folder, name) if _is_tape(folder, each)), None)) is not None:
            if not path.resolve().is_relative_to(folder.resolve()):
                raise TapeError(f"{path}: a link that leads out of {folder}; put the tape itself there")
            return path
    raise TapeError(_missing(name, looked_in))


def _no_name(name: str) -> str | None:
    """Why a text cannot be a name, on any system: a test that passes on Linux shall pass on Windows."""
    if len(name) > _LONGEST:
        return f"longer than {_LONGEST} characters"
    if not name.isprintable() or "\\" in name or ":" in name:
        return "a backslash, a colon or a character that cannot be printed is in it"
    if name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
        return "it leads out of its folder, or a part of it is empty"
    return None


def _candidates(folder: Path, name: str) -> Iterator[Path]:
    if stem_of(name) != name:
        yield folder / name
    yield from (folder / f"{name}{suffix}" for suffix in SUFFIXES)
    # A suffix in capitals, where the system tells them from small letters.
    path = folder / name
    try:
        beside = [each for each in path.parent.iterdir() if stem_of(each.name) == path.name != each.name]
    except OSError:
        return
    yield from sorted(beside, key=lambda each: (SUFFIXES.index(each.suffix.lower()), each.name))


def _is_tape(folder: Path, path: Path) -> bool:
    try:
        return path.is_file() and _plays(folder, path)
    except OSError:  # a part of it is too long for the system, or may not be looked into
        return False


def _tapes(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and _is_tape(folder, path))


def _plays(folder: Path, path: Path) -> bool:
    if path.name.endswith(SIBLINGS) or path.name.lower() == "readme.md":
        return False
    return folder != gallery_folder() or PurePosixPath(path.relative_to(folder).as_posix()).parts[0] not in _HIDDEN


def _missing(name: str, looked_in: list[Path]) -> str:
    known = sorted({name for folder in looked_in for name in names_in(folder)})
    # Whoever leaves out the family, or takes another one, means the tape of that name.
    near = [other for other in known if other.rpartition("/")[2] == stem_of(name).rpartition("/")[2]]
    near = near or difflib.get_close_matches(name, known, n=3)
    nearest = f"did you mean {' or '.join(map(repr, near[:3]))}?" if near else "nothing is named like it;"
    where = ", ".join([*map(str, looked_in[:-1]), "the gallery"])
    if len(looked_in) == 1:
        where += " (there is no tests/tapes here; tapes= or TICKERTAPE_TAPES names another folder of your own)"
    if stem_of(name) != name:
        where += ", and no such file"
    return f"no tape {_shown(name)} in {where}; {nearest} 'tickertape list' shows all names"


def _shown(name: str) -> str:
    return repr(name if len(name) <= _LONGEST else name[:80] + "…")
