"""Which tape of a folder an exchange goes on, when nobody has said: each order begins a tape of its own,
`MODEL-001.jsonl`, and what follows up on it (polls, downloads) goes on the same.

Tapes that are there already are left alone: there is always another number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from .._errors import TapeError
from ._files import Lock, TapeBusy
from ._wire import body_of
from .recorder import save, tape_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ._facts import Interaction
    from ._wire import Request
    from .recorder import Recorder, Take

_ID = re.compile(r"(?!REDACTED|9900\d{5}$)(?=[^0-9]*[0-9])[A-Za-z0-9_.:-]{8,}")
"""What may tell a task in a URL: of eight characters or more, with a digit; no placeholder, which any tape may hold."""


@dataclass
class _Entry:
    """A tape that grows."""

    lock: Lock
    began: datetime
    interactions: list[tuple[int, Interaction]] = field(default_factory=list)
    """Redacted, with the numbers of their requests: those that were saved in that order, then those that were not."""
    saved: int = 0
    """How many of them are in the file."""
    seen: int = 0
    """How many secrets were known when these were redacted."""


class Shelf:
    """Not thread-safe: one thread adds."""

    def __init__(self, folder: Path, recorder: Recorder) -> None:
        self._folder = folder
        self._recorder = recorder
        self._entries: list[_Entry] = []

    def check(self) -> None:
        """Raises `TapeError` where tapes could not be written."""
        probe = Lock(self._folder / "record")
        try:
            probe.acquire()
        except TapeBusy:  # another recorder that starts: it can write there
            return
        probe.release()

    def add(self, number: int, take: Take) -> Path:
        """Put an exchange that has ended on its tape, which `save()` writes; the tape's path."""
        (interaction,) = self._recorder.redacted(tape_of("", [take.interaction], datetime.now(UTC))).interactions
        entry = self._owner(interaction) or self._begin(interaction)
        entry.interactions.append((number, interaction))
        return entry.lock.path

    def save(self) -> Iterator[tuple[Path, TapeError | None]]:
        """Write the tapes that have grown; what was added to one that cannot be written is not kept."""
        for entry in self._entries:
            if len(entry.interactions) == entry.saved:
                continue
            recorder, path = self._recorder, entry.lock.path
            ordered = sorted(entry.interactions, key=lambda each: each[0])
            tape = tape_of(path.stem, (each for _, each in ordered), entry.began)
            # What a new exchange told to be a secret may stand in earlier ones. Most tell none that is new, such as
            # a job's polls: they do not cost the whole tape again.
            if recorder.redactor.seen > entry.seen:
                tape = recorder.redacted(tape)
            try:
                save(tape, path)
            except TapeError as error:
                del entry.interactions[entry.saved :]
                yield path, error
                continue
            numbers = (each for each, _ in ordered)
            entry.interactions = list(zip(numbers, tape.interactions, strict=True))
            entry.saved, entry.seen = len(entry.interactions), recorder.redactor.seen
            yield path, None

    def close(self) -> None:
        for entry in self._entries:
            entry.lock.release()

    def _owner(self, interaction: Interaction) -> _Entry | None:
        """The latest tape whose answers tell an id that this request asks for."""
        if interaction.is_chat or interaction.request is None:
            return None
        ids = [each.encode() for each in _ids(interaction.request)]
        for entry in reversed(self._entries):
            bodies = [body_of(each.reply) for _, each in entry.interactions]
            if any(each in body for each in ids for body in bodies):
                return entry
        return None

    def _begin(self, interaction: Interaction) -> _Entry:
        stem = _stem(interaction.request)
        for number in count(1):
            lock = Lock(self._folder / f"{stem}-{number:03}.jsonl")
            if lock.path.exists():
                continue
            try:
                lock.acquire()
            except TapeBusy:
                continue
            if not lock.path.exists():
                break
            lock.release()  # another recorder was faster, and is done
        self._entries.append(_Entry(lock, datetime.now(UTC)))
        return self._entries[-1]


def _ids(request: Request) -> list[str]:
    url = urlsplit(request.url)
    words = [*url.path.split("/"), *(value for _, value in parse_qsl(url.query))]
    return [word for word in words if _ID.fullmatch(word)]


def _stem(request: Request | None) -> str:
    """The model's name, or the last part of the path; redacted, for the request is."""
    body = request.json if request is not None else None
    model = body.get("model") if isinstance(body, dict) else None
    name = (
        model if isinstance(model, str) and model else (request.path.rstrip("/").rpartition("/")[2] if request else "")
    )
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "tape"
