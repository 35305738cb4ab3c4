"""Is a tape safe to commit, and does it still say what it said?

    for finding in verify(Path("tests/tapes")):
        print(finding)        # tests/tapes/cat.jsonl: secret: interaction 1: request header …

Tapes made by any means: recorded, written by hand, imported, edited. Nothing is played
and nothing is changed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import TapeError
from . import _facts, _files, _scanner
from ._facts import Interaction, _line
from ._gallery import SIBLINGS, SUFFIXES, _tapes, gallery_folder, stem_of
from ._rewrite import opaque
from ._shape import summary, task_of, unknown_lines
from ._wire import body_of, end_of, head_of, whole
from .redaction import Redactor, _layers, _passages
from .tape import Tape

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["KINDS", "Finding", "noted", "summary", "verify"]

KINDS = {
    "unreadable": "the file is no tape, or one of a newer format",
    "secret": "one of tickertape's own rules finds a secret, or a body that cannot be looked into",
    "scanner": "a pattern of detect-secrets finds one",
    "changed": "the content is not read as it was when the tape was made",
    "unknown-line": "a line in the relay's voice that the grammar does not know",
    "missing-media": "a medium that the tape names is not in `media/` beside it, or is another one",
}
"""The kinds of findings."""

_MOST = 20
"""Unknown lines of one answer that are told one by one."""
_WORDS = re.compile(rb"[\x20-\x7e]{12,}")
"""What a medium says in words: a comment, what a camera or an editor notes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a tape."""

    path: str
    kind: str
    """One of `KINDS`."""
    where: str
    """`interaction 2: response frame 3 $.error.message`; empty for the file."""
    text: str
    """What was found, secrets masked, and what to do."""

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        return f"{self.path}: {self.kind}: {where}{self.text}"


def noted(interaction: Interaction) -> Interaction:
    """The interaction with its summary as a note behind its end; one that it had is replaced.

    A tape that was recorded, imported or migrated is kept with it, so that `verify` can
    tell when its content is no longer read as it was.
    """
    notes = tuple(note for note in interaction.notes if _note(note[1]) is None)
    if told := summary(interaction):
        notes = (*notes, (len(interaction.reply) + (interaction.request is not None), _line(told)))
    return replace(interaction, notes=notes)


def tapes_of(path: str | os.PathLike[str]) -> list[Path]:
    """The files that a path names: itself, or the tapes of a folder and the folders in it, sorted.

    What stands beside a bare tape (`NAME.request.json`) is checked with it, and names it.
    Raises `TapeError` for what is not there, and for a folder without tapes.
    """
    path = Path(path)
    if path.is_dir():
        folder = as_gallery(path)
        if found := sorted(path / tape.relative_to(folder) for tape in _tapes(folder)):
            return found
        raise TapeError(f"{path}: no tape in this folder; a tape is named {', '.join(SUFFIXES)}")
    if not path.exists():
        raise TapeError(f"{path}: no such file or folder; check the path")
    for sibling in SIBLINGS:
        if path.name.endswith(sibling):
            stem = path.name.removesuffix(sibling)
            mains = [main for suffix in SUFFIXES[1:] if (main := path.with_name(stem + suffix)).is_file()]
            return mains[:1] or [path]
    return [path]


def as_gallery(folder: Path) -> Path:
    """The folder; the gallery by its own name, for by that is known which of its folders hold no tapes."""
    gallery = gallery_folder()
    return gallery if folder.resolve() == gallery.resolve() else folder


def verify(
    *paths: str | os.PathLike[str], redactor: Redactor | None = None, allow: Iterable[str] = ()
) -> Iterator[Finding]:
    """The findings of these files and folders, file by file; each file is read once.

    `redactor` brings rules of your own, `allow` are kinds of findings that you accept.
    Raises `TapeError` for a path that is not there.
    """
    allowed = frozenset(allow)
    if unknown := sorted(allowed - KINDS.keys()):
        raise ValueError(f"no kind of finding: {', '.join(unknown)}; expected {', '.join(KINDS)}")
    files = dict.fromkeys(file for path in paths for file in tapes_of(path))
    rules = redactor or Redactor()
    for file in files:
        for finding in _file(file, rules):
            if finding.kind not in allowed:
                yield finding


def _file(path: Path, redactor: Redactor) -> Iterator[Finding]:
    name = str(path)
    tape: Tape | None = None
    missing: list[str] = []
    try:
        tape = _load(path, missing)
    except TapeError as error:
        yield Finding(name, "unreadable", "", str(error).removeprefix(f"{path}: ").removeprefix(f"{path}, "))
    for told in missing:
        yield Finding(name, "missing-media", "", told)
    yield from _beside(path, redactor, whole_file=tape is None)
    if tape is None:
        return
    yield from _secrets(tape, name, redactor)
    for number, interaction in enumerate(tape.interactions, 1):
        where = f"interaction {number}" if len(tape.interactions) > 1 else ""
        yield from _changed(interaction, name, where)
        yield from _unknown(interaction, name, where)
    yield from _other_task(tape, path)


def _load(path: Path, missing: list[str]) -> Tape:
    """The tape, also where media of it cannot be read: why is added to `missing`."""
    if path.suffix.lower() != ".jsonl":
        return Tape.load(path)

    def medium(name: object) -> bytes:
        try:
            return _files.read_medium(path.parent, name)
        except TapeError as error:
            missing.append(str(error))
            return b""

    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return Tape.load(path)  # which tells why not
    header, interactions = _facts.FactReader(str(path), medium).read(text)
    extra = {key: value for key, value in header.items() if key not in ("tape", "title", "recorded")}
    return Tape(stem_of(path.name), header.get("title") or "", None, interactions, extra)


# -- secrets ---------------------------------------------------------------------------


_REMEDY = "'tickertape migrate' writes placeholders over it; if it was ever committed, revoke it"


def _secrets(tape: Tape, name: str, redactor: Redactor) -> Iterator[Finding]:
    """What our rules find, and what the scanner finds besides."""
    for found in redactor.scan(tape):
        remedy = "" if found.rule == "compressed" else f"; {_REMEDY}"
        yield Finding(name, "secret", found.where, f"{found.rule}: {found.excerpt}{remedy}")
    for number, interaction in enumerate(tape.interactions, 1):
        head = head_of(interaction.reply)
        if head and (opaque({key.lower(): value for key, value in head.headers}) or "").startswith("media"):
            words = b"\n".join(_WORDS.findall(body_of(interaction.reply))).decode("ascii")
            for found in redactor.scan(words):
                text = f"{found.rule}: {found.excerpt}; record it again, a medium that tells a secret is replaced"
                yield Finding(name, "secret", f"interaction {number}: inside the medium", text)
    # What our rules would replace is no second finding.
    for passage in _passages(Redactor(redactor.rules).redact(tape)):
        yield from _scanned(passage, name, passage.where)


def _scanned(text: str, name: str, where: str) -> Iterator[Finding]:
    told = set()
    for layer, _ in _layers(text):
        for rule, start, end in _scanner.scan(layer):
            if (rule, layer[start:end]) not in told:
                told.add((rule, layer[start:end]))
                excerpt = " ".join(f"{layer[max(0, start - 24) : start]}•••({end - start})".split())
                yield Finding(name, "scanner", where, f"{rule}: {excerpt}; take it out, and revoke it if it is yours")


def _beside(path: Path, redactor: Redactor, *, whole_file: bool) -> Iterator[Finding]:
    """The same for what a tape does not take up: files beside it, or all of one that cannot be read."""
    lined = path.suffix.lower() == ".jsonl"
    siblings = [] if lined else [path.with_name(stem_of(path.name) + suffix) for suffix in SIBLINGS]
    files = [*([path] if whole_file else []), *(sibling for sibling in siblings if sibling.is_file())]
    for file in files:
        try:
            text = file.read_bytes().decode("utf-8-sig", "replace")
        except OSError:
            continue  # told as unreadable
        for number, line in enumerate(text.split("\n") if lined else [text], 1):
            rest = line if whole_file else _not_taken_up(line, file.name.rsplit(".", 2)[-2])
            where = f"line {number}" if lined else ""
            # As the body of an answer: there JSON is looked into at any depth, and pictures are no secrets.
            reply = whole(200, rest)
            found = redactor.scan(reply)
            for finding in found:
                place = " ".join((where, finding.where.removeprefix("response body").strip())).strip()
                yield Finding(str(file), "secret", place, f"{finding.rule}: {finding.excerpt}; {_REMEDY}")
            for passage in () if found else _passages(reply):
                yield from _scanned(passage, str(file), where)


def _not_taken_up(text: str, kind: str) -> str:
    """What of a file beside a bare tape is not kept in the tape."""
    try:
        fact = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if kind not in _facts.KNOWN or not isinstance(fact, dict):
        return text
    rest = {key: value for key, value in fact.items() if key not in _facts.KNOWN[kind]}
    return json.dumps(rest) if rest else ""


# -- what it says ------------------------------------------------------------------------


def _note(line: str) -> dict[str, Any] | None:
    """The summary that a note holds."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("events"), list) else None


def _changed(interaction: Interaction, name: str, where: str) -> Iterator[Finding]:
    kept = next(filter(None, (_note(line) for _, line in interaction.notes)), None)
    if kept is None:
        return
    now = summary(interaction)
    # The events alone are a summary too; in a whole one, what is not told was not there.
    keys = ("events", *(_SUMMARY if "status" in kept else ()))
    if differences := [_difference(key, kept.get(key), now.get(key)) for key in keys if kept.get(key) != now.get(key)]:
        told = f"{'; '.join(differences)}; if that is right, 'tickertape migrate' keeps it as it is read now"
        yield Finding(name, "changed", where, told)


_SUMMARY = ("status", "results", "progress", "error")


def _difference(key: str, before: Any, after: Any) -> str:
    if key != "events" or not isinstance(before, list) or not isinstance(after, list):
        return f"{key} was {_shown(before)}, is read as {_shown(after)}"
    was, now = [str(kind) for kind in before], [str(kind) for kind in after]
    blocks = SequenceMatcher(None, was, now, autojunk=False).get_opcodes()
    parts = [
        f"{' '.join(was[a:b]) or 'nothing'} → {' '.join(now[c:d]) or 'nothing'}"
        for kind, a, b, c, d in blocks
        if kind != "equal"
    ]
    return f"events: {', '.join(parts[:3])}{', …' if len(parts) > 3 else ''}"


def _shown(value: Any) -> str:
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _other_task(tape: Tape, path: Path) -> Iterator[Finding]:
    """What a bare tape is read as, where `NAME.task.json` tells it."""
    expected = path.with_name(f"{stem_of(path.name)}.task.json")
    if not expected.is_file():
        return
    try:
        kept: Mapping[str, Any] = json.loads(expected.read_bytes())
        now = json.loads(json.dumps(tape.task.as_dict()))
        differs = [key for key, value in kept.items() if now.get(key) != value]
    except (OSError, ValueError, RecursionError, AttributeError):
        yield Finding(str(expected), "unreadable", "", "no JSON object; mend it, or delete it")
        return
    for key in differs:
        told = f"{key} is {_short(kept[key])} in {expected.name}, and read as {_short(now.get(key))}"
        yield Finding(str(path), "changed", "", f"{told}; mend the one that is wrong")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _unknown(interaction: Interaction, name: str, where: str) -> Iterator[Finding]:
    task = task_of(interaction)
    if task is None or not interaction.is_chat:
        return
    is_cut = end_of(interaction.reply).how != "eof" or task.status == "incomplete"
    # What a broken stream ends in the middle of is not broken markup.
    found = [each for each in unknown_lines(task) if not (each[2] and is_cut)]
    for line, text, malformed in found[:_MOST]:
        place = ", ".join(filter(None, (where, f"line {line} of the content")))
        shown = text if len(text) <= 120 else f"{text[:120]}…"
        remedy = "broken markup; look at it" if malformed else "extend the grammar (Grammar.from_file), or report it"
        yield Finding(name, "unknown-line", place, f"{shown!r}: {remedy}")
    if len(found) > _MOST:
        yield Finding(name, "unknown-line", where, f"and {len(found) - _MOST} more; 'tickertape explain' shows them")
