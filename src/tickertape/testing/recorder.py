"""The recorder: takes down exchanges as they happen, and makes tapes that are safe to commit. No I/O but files.

    recorder = Recorder()
    take = recorder.begin(request)            # an adapter forwards it, and tells what comes back
    take.head(0.4, 200, headers)
    take.data(0.5, b"data: …")
    take.end(41.3, "eof")
    recorder.save(Path("tests/tapes/cat.jsonl"))

Nothing is written before it is redacted: what is recorded stays in memory until then.
Media are kept whole up to `max_media` bytes; what is larger, or tells a secret, is
replaced by a small file of the same kind.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .._errors import TapeError
from . import _standin
from ._facts import Interaction, unreadable
from ._onward import request_headers
from ._rewrite import opaque, rewrite_reply
from ._wire import Data, End, Head, Request
from .redaction import Redactor
from .tape import Tape
from .verify import noted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ._wire import Ending

MAX_MEDIA = 8 << 20
"""Bytes of a medium that are kept: a picture is, a film often is not."""

_DONE = re.compile(rb"data: ?\[DONE\]\s*$")
_TAIL = 64
"""Bytes at the end of a stream in which `[DONE]` is looked for."""


class Take:
    """One exchange while it happens. Times are seconds after the request arrived; they never fall."""

    def __init__(self, request: Request, max_media: int) -> None:
        self.request = request
        self._max_media = max_media
        self._head: Head | None = None
        self._data: list[Data] = []
        self._end: End | None = None
        self._left = False
        self._medium = False
        self._size = 0
        self._hash = hashlib.sha256()
        self._tail = b""

    def head(self, t: float, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Status and headers as they are passed on (`_onward.response_headers`)."""
        self._head = Head(t, status, tuple(headers))
        told = {name.lower(): value for name, value in self._head.headers}
        self._medium = (opaque(told) or "").startswith("media")

    def data(self, t: float, data: bytes) -> None:
        """A chunk, decoded."""
        if not data:
            return
        self._size += len(data)
        self._tail = (self._tail + data)[-_TAIL:]
        if self._medium:
            self._hash.update(data)
            if self._size > self._max_media:  # it will be replaced: not even kept in memory
                self._data = [Data(t, b"")]
                return
        self._data.append(Data(t, data))

    def end(self, t: float, how: Ending) -> None:
        """How it ended. The first word counts."""
        if self._end is None:
            last = self._data[-1].t if self._data else self._head.t if self._head else 0.0
            self._end = End(max(t, last), how if self._head or how != "eof" else "closed")

    def left(self, t: float) -> None:
        """The client went before the end.

        After `[DONE]`, or with all of Content-Length, it had read all there was. Else the tape goes
        on with silence: a client that leaves by itself leaves again, one with a timeout runs into it.
        """
        if self._end is not None:
            return
        length = next((v for k, v in self._head.headers if k.lower() == "content-length"), "") if self._head else ""
        whole = self._head is not None and (_DONE.search(self._tail) is not None or length == str(self._size))
        self._left = not whole
        self.end(t, "eof" if whole else "timeout")

    @property
    def ended(self) -> bool:
        return self._end is not None

    @property
    def whole(self) -> bool:
        """Whether it ended by itself, in whatever way, and not because the client went."""
        return self._end is not None and not self._left

    @property
    def begun(self) -> bool:
        """Whether there is a head."""
        return self._head is not None

    @property
    def told(self) -> str:
        """What was answered, for people: `200, 41 chunks, 5210 bytes, eof`."""
        status = str(self._head.status) if self._head else "no answer"
        how = "client left" if self._left else self._end.how if self._end else "under way"
        return f"{status}, {len(self._data)} chunks, {self._size} bytes, {how}"

    @property
    def interaction(self) -> Interaction:
        """What was taken down, media bounded, nothing redacted yet. The end must have been told."""
        assert self._end is not None
        notes = [{"left": "the client closed the connection before the answer had ended"}] if self._left else []
        head, data = self._head, self._data
        if head is not None and self._medium and data:
            data = [Data(data[-1].t, b"".join(each.data for each in data))]
            if self._size > self._max_media:
                head, made, note = _standin.instead(
                    head, self.request.path, self._size, self._hash.hexdigest(), "larger than max_media"
                )
                data, notes = [Data(data[-1].t, made)], [*notes, note]
        reply = (*([head] if head else ()), *data, self._end)
        if not self._medium:
            reply = rewrite_reply(reply, lambda text: _standin.inline(text, self._max_media))
        number = len(reply) + 1
        return Interaction(self.request, reply, tuple((number, _line(note)) for note in notes))


class Recorder:
    """Collects takes, in the order in which their requests came.

    `redactor` is shared by recorders that must give the same secret the same placeholder.
    """

    def __init__(self, *, redactor: Redactor | None = None, max_media: int = MAX_MEDIA) -> None:
        if max_media < 0:
            raise ValueError(f"max_media={max_media}: expected bytes, 0 or more")
        self.redactor = redactor or Redactor()
        self.max_media = max_media
        self.takes: list[Take] = []

    def begin(self, request: Request) -> Take:
        """Take down the exchange that this request begins."""
        headers = dict(request_headers(request.headers.items()))
        body = _standin.uploads(request.body, headers)
        take = Take(Request(request.method, request.url, headers, body), self.max_media)
        self.takes.append(take)
        return take

    def tape(self, name: str, *, before: Sequence[Interaction] = (), now: datetime | None = None) -> Tape:
        """Everything that was taken down, after `before`, redacted. Takes without an end count as left."""
        for take in self.takes:
            take.left(0.0)  # at the time of its last word
        taken = (take.interaction for take in self.takes)
        return self.redacted(tape_of(name, (*before, *taken), now or datetime.now(UTC)))

    def redacted(self, tape: Tape) -> Tape:
        """The tape without secrets, and with what `verify` compares noted down."""
        tape = self.redactor.redact(tape)
        return replace(tape, interactions=tuple(noted(self._clean(each)) for each in tape.interactions))

    def save(self, path: Path, *, before: Sequence[Interaction] = ()) -> Tape:
        """Write the tape to a file, whole or not at all. Raises `TapeError`; nothing is changed then."""
        tape = self.tape(f"{path.parent.name}/{path.stem}", before=before)
        save(tape, path)
        return tape

    def _clean(self, interaction: Interaction) -> Interaction:
        """Media that tell a secret (a comment, what a camera notes) are replaced; so is nothing else."""
        head = interaction.reply[0]
        if not isinstance(head, Head) or not _is_medium(head):
            return interaction
        data = b"".join(step.data for step in interaction.reply if isinstance(step, Data))
        words = b"\n".join(re.findall(rb"[\x20-\x7e]{12,}", data)).decode()
        if not words or not self.redactor.scan(words):
            return interaction
        path = interaction.request.path if interaction.request else ""
        digest = hashlib.sha256(data).hexdigest()
        head, made, note = _standin.instead(head, path, len(data), digest, "it held a secret")
        steps = (Data(step.t, made) if isinstance(step, Data) else step for step in interaction.reply[1:])
        reply = (head, *steps)
        return replace(interaction, reply=reply, notes=(*interaction.notes, (len(reply) + 1, _line(note))))


def tape_of(name: str, interactions: Iterable[Interaction], recorded: datetime) -> Tape:
    """A tape of these as they are."""
    return Tape(name, name, recorded.strftime("%Y-%m-%dT%H:%M:%SZ"), tuple(interactions))


def save(tape: Tape, path: Path) -> None:
    """Write a recorded tape. Raises `TapeError`, also for one that could not be loaded again."""
    for number, interaction in enumerate(tape.interactions, 1):
        if told := unreadable(interaction):
            raise TapeError(
                f"{path}: not written: in interaction {number} {told.found}; ask for what can be read again"
            )
    tape.save(path)


def _is_medium(head: Head) -> bool:
    return (opaque({name.lower(): value for name, value in head.headers}) or "").startswith("media")


def _line(note: dict[str, Any]) -> str:
    return json.dumps(note, ensure_ascii=False, sort_keys=True)


__all__ = ["MAX_MEDIA", "Recorder", "Take", "save"]
