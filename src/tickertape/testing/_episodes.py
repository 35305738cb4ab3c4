"""Record modes: what is answered from a tape, what is asked of the real relay, and what is written at the end.

    none           only what is on the tape; a request that is not is an error
    once           the same where there is a tape; where there is none, all is recorded
    new_episodes   what is on the tape is answered from it, all else is recorded behind it
    rewrite        all is recorded anew, and the tape replaced

A request is answered by the first interaction left whose method, path, query and body
(JSON, form, multipart or text) are its own, redacted as the tape is: where a placeholder
stands, anything matches (but an image or a file only the same). So requests that are
alike get their answers in order.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from .._errors import TapeError, TickertapeError
from . import _files, _standin
from ._gallery import _no_name, find, gallery_folder, project_folders, stem_of
from .recorder import MAX_MEDIA, Recorder
from .redaction import Redactor
from .tape import Tape

if TYPE_CHECKING:
    from ._facts import Interaction
    from ._wire import Request
    from .drift import Change

Mode = Literal["none", "once", "new_episodes", "rewrite"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""From the least to the most that is written."""

_WILD = re.compile(r"REDACTED-(?!image-)[a-z]+-\d+|user-\d+(?:@|%40)redacted\.invalid")
_IMAGE = re.compile(r"REDACTED-image-\d+-(?=sha256-)")  # its number depends on what was seen before, its hash does not
_FIELD = re.compile(rb"""(?i)[;\s]name=(?:"([^"\r\n]*)"|([^;\s]*))""")
"""The name of a part of multipart, in its head."""
_WILD_NUMBER = re.compile(r"9900\d{5}")


class RecordError(TickertapeError, ValueError):
    """A mode that there is not, or one without a tape."""


class Episodes:
    """One test's tape under a mode.

    path       the tape's file, `.jsonl`; it need not be there
    mode       see the module's head
    """

    def __init__(self, path: Path, mode: Mode, *, redactor: Redactor | None = None) -> None:
        if mode not in MODES:
            hint = "; what vcrpy calls 'all' is rewrite" if str(mode) == "all" else ""
            raise RecordError(f"record={mode!r}: expected one of {', '.join(MODES)}{hint}")
        self.path = path
        self.mode: Mode = mode
        self.recorder = Recorder(redactor=redactor, max_media=MAX_MEDIA)
        there = path.is_file()
        self.forwards = mode in ("new_episodes", "rewrite") or (mode == "once" and not there)
        """Whether what is not on the tape is asked of the real relay."""
        self.tape = Tape.load(path) if there and mode != "rewrite" else None
        self._left: list[Interaction] = list(self.tape.interactions) if self.tape else []
        self.drift: list[Change] = []
        """How what was saved differs in shape from the tape that it replaced."""
        self.written = False
        """Whether the tape was saved."""
        self.owner: str | None = None
        """Another test of this run, that has recorded the tape just now."""
        self._lock = _files.Lock(path)
        self._wrong: TapeError | None = None

    @property
    def name(self) -> str:
        """The tape's name: its folder and its file, without the suffix."""
        return f"{self.path.parent.name}/{self.path.stem}"

    # -- the test begins --------------------------------------------------------------

    def begin(self) -> None:
        """Claim the tape, where it may be written. Raises `TapeBusy` when another test is recording it."""
        if not self.forwards:
            return
        try:
            self._lock.acquire()
        except _files.TapeBusy:
            raise
        except TapeError as error:  # the test runs all the same: told when it has ended
            self._wrong = error

    def end(self) -> None:
        """Let go of the tape."""
        self._lock.release()

    # -- requests ---------------------------------------------------------------------

    def replay(self, request: Request) -> Interaction | None:
        """The recorded interaction that this request repeats; it is used up."""
        asked = self._redacted(request)
        for interaction in self._left:
            if interaction.request is not None and next(_differences(interaction.request, asked), None) is None:
                self._left.remove(interaction)
                return interaction
        return None

    def explain(self, request: Request) -> str:
        """Why this request is not on the tape: the nearest one that is left, and where it differs."""
        if self.tape is None:
            return f"found: no tape {self.path}\n  remedy: record it with --tickertape-record=once"
        asked = self._redacted(request)
        judged = [(list(_differences(each.request, asked)), each.request) for each in self._left if each.request]
        if not judged:
            return (
                f"found: all of {self.path} was played already\n  remedy: {self._remedy('--tickertape-record=rewrite')}"
            )
        differs, nearest = min(judged, key=lambda each: len(each[0]))
        return (
            f"nearest on {self.path.name}: {nearest.method} {nearest.path}\n  differs in "
            + "\n  differs in ".join(differs)
            + f"\n  remedy: {self._remedy('--tickertape-record=new_episodes, or all of it with =rewrite')}"
        )

    def _remedy(self, flags: str) -> str:
        if self.owner is None:
            return f"record what is new with {flags}"
        return f"{self.owner} has recorded this tape just now; give each test a tape of its own"

    def _redacted(self, request: Request) -> Request:
        """As it would be on a tape of its own: the numbers of placeholders say nothing."""
        bare = replace(request, body=_standin.uploads(request.body, request.headers), native=None)
        return Redactor(self.recorder.redactor.rules).redact(bare)

    @property
    def unplayed(self) -> str | None:
        """What of the tape nobody asked for, as a sentence."""
        if self.mode == "rewrite" and not self.recorder.takes:
            return f"tape {self.path.name} was to be recorded anew, and nothing was asked; it is as it was"
        rest = ", ".join(f"{each.request.method} {each.request.path}" for each in self._left if each.request)
        return f"tape {self.path.name} was played in part: {rest} was never asked for" if rest else None

    # -- the test has passed ----------------------------------------------------------

    def save(self) -> Tape | None:
        """Write what was recorded; None where nothing was. Raises `TapeError`: the tape is as it was then."""
        if not self.recorder.takes:
            return None
        if self._wrong is not None:
            raise self._wrong
        before = self._replaced()
        saved = self.recorder.save(self.path, before=self.tape.interactions if self.tape else ())
        self.written = True
        if before is not None:
            from .drift import compare

            self.drift = compare(before, saved)
        return saved

    def _replaced(self) -> Tape | None:
        """The tape that is about to be recorded anew; None where there is none that can be read."""
        try:
            return Tape.load(self.path) if self.mode == "rewrite" and self.path.is_file() else None
        except TapeError:
            return None


def episodes_of(tape: Any, folder: Any, mode: Mode, redactor: Redactor | None = None) -> Episodes:
    """The episodes of a tape by its name in a folder, or by its path. Raises `RecordError`, `TapeError`."""
    if tape is None:
        raise RecordError(f"record={mode!r}: which tape? Give tape='family/name', or a path that ends with .jsonl")
    if isinstance(tape, str):
        if reason := _no_name(tape):
            raise RecordError(f"tape={tape[:80]!r}: no name of a tape: {reason}; expected 'family/name'")
        tape = next(iter(project_folders(folder)), Path()) / f"{stem_of(tape)}.jsonl"
    path = Path(tape)
    if path.suffix != ".jsonl":
        raise RecordError(f"tape={str(path)!r}: a tape is recorded as .jsonl; rename it")
    return Episodes(path, mode, redactor=redactor)


def recorded_at(tape: str, folder: Any) -> Path | None:
    """Where a tape of the project's own lies that was recorded: it tells when, and each interaction has its request.

    None for what is to be played: the gallery's, a bare file, a tape written by hand. Raises `TapeError` for a tape
    that is nowhere, or cannot be read.
    """
    named = Path(tape)
    path = named if named.suffix == ".jsonl" and os.path.isfile(named) else find(tape, [folder])
    if path.suffix != ".jsonl" or path.resolve().is_relative_to(gallery_folder().resolve()):
        return None
    found = Tape.load(path)
    return path if found.recorded and all(each.request is not None for each in found.interactions) else None


def name_of(node_id: str) -> str:
    """The name of a test's own tape: `test_shop/test_two-cats-1a2b3c4d`; of another test, another name."""
    module, _, test = node_id.partition("::")
    digest = hashlib.sha256(node_id.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    folder, name = (re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[:80] for text in (module.removesuffix(".py"), test))
    return f"{folder.rpartition('-')[2] or 'tests'}/{name or 'test'}-{digest}"


def _differences(recorded: Request, asked: Request) -> Any:
    """What speaks against two requests, both redacted, being the same: a sentence each."""
    if recorded.method != asked.method:
        yield f"method: expected {recorded.method}, found {asked.method}"
    if not _same_target(recorded, asked):
        yield f"path: expected {_target(recorded)}, found {_target(asked)}"
    yield from _in_body(recorded, asked)


def _target(request: Request) -> str:
    url = urlsplit(request.url)
    return url.path + (f"?{url.query}" if url.query else "")


def _same_target(recorded: Request, asked: Request) -> bool:
    """Whether path and query are the same, however they are percent-encoded."""
    if _same_text(_target(recorded), _target(asked)):
        return True
    parts = [_parted(request) for request in (recorded, asked)]
    return len(parts[0]) == len(parts[1]) and all(map(_same_text, *parts))


def _parted(request: Request) -> list[str]:
    """The path, and the names and values of the query, decoded."""
    url = urlsplit(request.url)
    pairs = parse_qsl(url.query, keep_blank_values=True, errors="surrogateescape")
    return [unquote(url.path, errors="surrogateescape"), *(part for pair in pairs for part in pair)]


def _in_body(recorded: Request, asked: Request) -> Any:
    (kind, expected), (other, found) = _read(recorded), _read(asked)
    if kind == other:
        yield from _in_json(expected, found, kind)
    elif None in (expected, found):
        yield from _in_json(expected, found, other if expected is None else kind)
    else:
        yield f"body: expected {_KINDS[kind]}, found {_KINDS[other]}"


_KINDS = {"json": "JSON", "form": "a form", "multipart": "multipart", "text": "text"}


def _read(request: Request) -> tuple[str, Any]:
    """How a body is compared, and as what; None for an empty one."""
    if not request.body:
        return "json", None
    content_type = request.headers.get("content-type", "").lower()
    if "x-www-form-urlencoded" in content_type:
        text = request.body.decode("utf-8", "surrogateescape")
        return "form", _by_name(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))
    if content_type.startswith("multipart/") and (parts := _parts(request.body)) is not None:
        return "multipart", _by_name(parts)
    if request.json is not None:
        return "json", request.json
    return "text", request.body.decode("utf-8", "surrogateescape")


def _by_name(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Fields by name: a value, or a list of those that have one name."""
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in fields.items()}


def _parts(body: bytes) -> list[tuple[str, str]] | None:
    """Names and values of a multipart body; None where it is none. Its first line is the boundary."""
    mark = body.partition(b"\r\n")[0]
    if not mark.startswith(b"--"):
        return None
    parts = []
    for part in (b"\r\n" + body).split(b"\r\n" + mark)[1:]:
        head, blank, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if blank:
            if b"filename" in head.lower() and not data.startswith(b"REDACTED-file-"):
                data = _standin._told(data)  # on a tape of another tool's recording files are whole
            named = _FIELD.search(head)
            name = (named[1] or named[2]) if named else b""
            parts.append((name.decode("utf-8", "surrogateescape"), data.decode("utf-8", "surrogateescape")))
    return parts


def _in_json(recorded: Any, asked: Any, at: str) -> Any:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for key in dict.fromkeys((*recorded, *asked)):
            if key not in recorded or key not in asked:
                yield f"{at}.{key}: expected {_shown(recorded, key)}, found {_shown(asked, key)}"
            else:
                yield from _in_json(recorded[key], asked[key], f"{at}.{key}")
    elif isinstance(recorded, list) and isinstance(asked, list) and len(recorded) == len(asked):
        for number, (one, other) in enumerate(zip(recorded, asked, strict=True)):
            yield from _in_json(one, other, f"{at}[{number}]")
    elif not _same(recorded, asked):
        yield f"{at}: expected {_short(recorded)}, found {_short(asked)}"


def _same(recorded: Any, asked: Any) -> bool:
    if isinstance(recorded, str) and isinstance(asked, str):
        return _same_text(recorded, asked)
    if type(recorded) is int and _WILD_NUMBER.fullmatch(str(recorded)):
        return isinstance(asked, int)
    return type(recorded) is type(asked) and bool(recorded == asked)


def _same_text(recorded: str, asked: str) -> bool:
    recorded, asked = _IMAGE.sub("REDACTED-image-", recorded), _IMAGE.sub("REDACTED-image-", asked)
    if recorded == asked:
        return True
    fixed = _WILD.split(recorded)
    # A placeholder stands for what was not empty; of many, no regular expression would be sure to be linear.
    if len(fixed) == 1 or not (asked.startswith(fixed[0]) and asked.endswith(fixed[-1])):
        return False
    at, end = len(fixed[0]), len(asked) - len(fixed[-1])
    for text in fixed[1:-1]:
        found = asked.find(text, at + 1)
        if found < 0:
            return False
        at = found + len(text)
    return at < end


def _shown(value: dict[str, Any], key: str) -> str:
    return _short(value[key]) if key in value else "no such key"


def _short(value: Any, width: int = 60) -> str:
    shown = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= width else shown[: width - 1] + "…"
