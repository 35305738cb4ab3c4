"""Tapes: conversations with a relay, as they were on the wire.

    tape = Tape.load("sora-2/kite-festival")      # of the project or the gallery
    tape.task.status, tape.reply(stream=True), tape.rechunk("inside-codepoint")

The form is JSON Lines (`_facts.py`). A bare `.json` (response body), `.sse`
(stream as `curl -N` saved it), `.md` or `.txt` (content) is a tape too, without
times; beside `NAME.json`, `NAME.request.json` is its request and
`NAME.response.json` its status and headers, in the shapes of those facts.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args

from .._errors import TapeError
from ..responses import parse_response
from . import _chat, _facts, _files
from ._facts import Interaction
from ._gallery import SUFFIXES, find, gallery, project_folders, stem_of
from ._wire import Data, Head, Reply, Request, body_of, end_of, head_of, streamed, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..task import Task

Cut = Literal["every-byte", "inside-codepoint", "inside-frame"]
"""Where `rechunk` cuts: after every byte, inside every character of several bytes, once inside every frame."""

_CREATED = 1_768_300_000
"""When content without a response was answered, in Unix seconds: as in the gallery's own responses."""
_OF_THE_BODY = ("content-type", "content-length", "content-encoding", "transfer-encoding")
"""Headers that tell of the form of a body, and not of the one it is converted to."""
_STATUSES = {
    "auth": 401,
    "invalid_request": 400,
    "moderation": 400,
    "not_found": 503,  # new-api: no channel has the model
    "overloaded": 429,
    "quota": 403,
    "rate_limit": 429,
    "timeout": 504,
    "upstream": 502,
}
"""The HTTP status new-api sends an error of each category with."""


@dataclass(frozen=True)
class Tape:
    """A recording; immutable."""

    name: str = field(compare=False)
    """`family/name`, without a suffix. It does not count where tapes are compared: that is where a tape lies."""
    title: str = ""
    recorded: str | None = None
    """When, as written: ISO 8601 in UTC; None for a bare file."""
    interactions: tuple[Interaction, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What else the header holds; kept."""
    chunking: tuple[int | Cut, ...] = field(default=(), compare=False, repr=False)
    """How `rechunk` has cut it, in order: converted replies are cut so too. Not saved."""

    def __hash__(self) -> int:
        return hash((self.title, self.recorded, tuple(each.reply for each in self.interactions)))

    # -- loading and saving ---------------------------------------------------------

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None) -> Tape:
        """Read a tape, and what it says.

        A path is a `Path`, or a text with the suffix of a tape that names a file
        there is; anything else is a name, looked for in `folder`, then in the
        gallery. Without `folder` it is that of the innermost relay entered, or of
        `TICKERTAPE_TAPES`, or `tests/tapes` where it is there. Of several files of one
        name `.jsonl`, `.json`, `.sse`, `.md`, `.txt` win in this order. A name that is
        not trusted goes through `_gallery.find` first: it may not become a path.

        A bare body is sent with 200, as relays that wrap their errors do, unless
        `NAME.response.json` tells another status; in a folder named `errors` an
        error is sent with the HTTP status of its category.

        Raises `TapeError` for what is not there, cannot be read, or says nothing.
        """
        path = Path(name_or_path)
        is_path = isinstance(name_or_path, os.PathLike) or (path.suffix.lower() in SUFFIXES and os.path.isfile(path))
        if not is_path:
            path = find(str(name_or_path), project_folders(folder))
        name = stem_of(f"{path.parent.name}/{path.name}".lstrip("/") if is_path else str(name_or_path))
        siblings: dict[str, _Sibling] = {}
        for kind in ("request", "response"):
            sibling = path.with_name(f"{stem_of(path.name)}.{kind}.json")
            if sibling.is_file():
                siblings[kind] = _decoded(_bytes(sibling), str(sibling)), str(sibling)
        return cls._read(_bytes(path), path.suffix.lower(), name, str(path), siblings, path.parent)

    @classmethod
    def loads(cls, data: str | bytes | bytearray, *, suffix: str = ".jsonl", name: str = "tape") -> Tape:
        """Read the text of a tape, or of the bare file that the suffix tells. Raises `TapeError`."""
        if not isinstance(data, str | bytes | bytearray):
            raise TapeError(
                f"found {type(data).__name__}; expected the text of a tape, str or bytes; a file goes to Tape.load"
            )
        data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)
        return cls._read(data, suffix, name, name, {})

    @classmethod
    def _read(
        cls, data: bytes, suffix: str, name: str, where: str, siblings: dict[str, _Sibling], folder: Path | None = None
    ) -> Tape:
        if suffix == ".jsonl":
            media = None if folder is None else partial(_files.read_medium, folder)
            header, interactions = _facts.FactReader(where, media).read(_text(data, where))
            known = {"tape", "title", "recorded"}
            extra = {key: value for key, value in header.items() if key not in known}
            return cls(name, header.get("title") or "", header.get("recorded"), interactions, extra)
        if suffix not in SUFFIXES:
            raise TapeError(f"{where}: the suffix {suffix!r} is not that of a tape; name it {', '.join(SUFFIXES)}")
        if not data.strip():
            raise TapeError(f"{where}: the body is empty; record it again, or delete the file")
        return cls(name, name.rpartition("/")[2], None, (_bare(data, suffix, name, where, siblings),))

    def dumps(self) -> str:
        """The tape as JSON Lines; loaded again it is equal, its times to the millisecond."""
        return self._dumps(None)

    def _dumps(self, store: _facts.Store | None) -> str:
        recorded = {} if self.recorded is None else {"recorded": self.recorded}
        return _facts.dumps({**self.extra, "title": self.title, **recorded}, self.interactions, store)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tape to a `.jsonl` file, whole or not at all; its folder is made.

        Media go into `media/` beside it, each once (see `_files.py`). Raises `TapeError`.
        """
        path = Path(path)
        if path.suffix.lower() != ".jsonl":
            raise TapeError(f"{path}: a tape is saved as .jsonl, other suffixes are for bare bodies; rename it")
        # Media first: a tape that names them must find them.
        _files.write(path, self._dumps(partial(_files.store_medium, path.parent)).encode())

    # -- what it holds ----------------------------------------------------------------

    @property
    def chat(self) -> Interaction:
        """The first chat answer; without one, the first interaction."""
        return next((each for each in self.interactions if each.is_chat), self.interactions[0])

    @cached_property
    def task(self) -> Task:
        """What the chat answer says, read with its HTTP status."""
        head = head_of(self.chat.reply)
        return parse_response(body_of(self.chat.reply), None if head is None else head.status)

    @property
    def duration(self) -> float:
        """Seconds from the chat request to the end of its answer."""
        return end_of(self.chat.reply).t

    @property
    def dialect(self) -> str | None:
        """The gallery's folder of this name, such as `sora-2`; None outside of them."""
        family, _, _ = self.name.rpartition("/")
        return family if family in {name.partition("/")[0] for name in gallery()} else None

    # -- replying ------------------------------------------------------------------------

    def reply(self, *, stream: bool | None = None, include_usage: bool = False, index: int | None = None) -> Reply:
        """What interaction `index` is answered with: as recorded, or as the other kind of request would get it.

        Without an index it is the first chat answer (`chat`).
        `stream` is what the request asks for, None for as recorded. Only chat
        answers that succeeded are converted: HTTP errors, poll bodies, and what
        was cut before it could be read stay as they are. The frames of a
        converted answer are spread over the time that it took; a stream that was
        cut is, asked for as a whole, cut before it begins. `include_usage` is
        `stream_options.include_usage`; a stream that was recorded stays as it was.
        A tape that was rechunked gives converted answers in such pieces too.
        """
        index = self.interactions.index(self.chat) if index is None else index
        asked = stream, include_usage, index
        if asked not in self._replies:
            reply = self._converted(*asked)
            if reply is not self.interactions[index].reply:
                for how in self.chunking:
                    reply = _recut(reply, how, _seeded(how))
            self._replies[asked] = reply
        return self._replies[asked]

    @cached_property
    def _replies(self) -> dict[tuple[bool | None, bool, int], Reply]:
        """Those that were asked for: a tape is played more than once."""
        return {}

    def _converted(self, stream: bool | None, include_usage: bool, index: int) -> Reply:
        interaction = self.interactions[index]
        reply, body = interaction.reply, body_of(interaction.reply)
        head, end = head_of(reply), end_of(reply)
        if stream is None or head is None or not (interaction.is_chat and interaction.succeeded):
            return reply
        if stream == _chat.is_stream(body):
            return reply
        headers = _without_body(head.headers)
        if stream:
            frames = _chat.to_stream(body, include_usage=include_usage)
            if not frames:
                return reply
            pace = end.t / max(len(frames) - 1, 1)
            timed = [Data(min(number * pace, end.t), frame.data) for number, frame in enumerate(frames)]
            return streamed(head.status, timed, headers=headers, head_at=0.0, end=end)
        if end.how != "eof":
            return (end,)
        answer = _chat.to_completion(body)
        if answer is None:
            return reply
        return whole(head.status, _chat.dump(answer), headers=headers, content_type="application/json", t=end.t)

    def rechunk(self, how: int | Cut) -> Tape:
        """The same bytes in other chunks: random ones by a seed, or all cut where it hurts.

        A seed and "every-byte" cut anew; the others add their cuts to the chunks that there are, so
        that they can be combined. A piece leaves when its last byte did. The same seed gives the same pieces.
        """
        rng = _seeded(how)
        if rng is None and how not in get_args(Cut):
            raise TapeError(f"no way to cut: {how!r}; expected a seed or one of {', '.join(get_args(Cut))}")
        interactions = tuple(_rechunked(each, how, rng) for each in self.interactions)
        return replace(self, interactions=interactions, chunking=(*self.chunking, how))


def _seeded(how: int | Cut) -> random.Random | None:
    return random.Random(how) if isinstance(how, int) else None


def _rechunked(interaction: Interaction, how: int | Cut, rng: random.Random | None) -> Interaction:
    reply = _recut(interaction.reply, how, rng)
    more = len(reply) - len(interaction.reply)
    # Notes before the data stay there, those among them or behind move with the end.
    first = sum(isinstance(step, Head) for step in reply) + (interaction.request is not None)
    notes = tuple((at if at <= first else max(first, at + more), text) for at, text in interaction.notes)
    told = _moved(interaction, reply, first)
    return replace(interaction, reply=reply, notes=notes, more=told)


def _moved(interaction: Interaction, reply: Reply, first: int) -> tuple[tuple[int, str], ...]:
    """What was written beside a chunk goes to the piece that ends it, or holds its last byte."""
    was, now = (
        list(accumulate(len(step.data) for step in each if isinstance(step, Data)))
        for each in (interaction.reply, reply)
    )
    moved: dict[int, list[str]] = {}
    for at, text in interaction.more:
        number = at - first
        if number >= 0:
            at = first + (bisect_left(now, was[number]) if number < len(was) else len(now))
        moved.setdefault(at, []).append(text)
    return tuple((at, _facts.more_of(*texts)) for at, texts in sorted(moved.items()))


def _recut(reply: Reply, how: int | Cut, rng: random.Random | None) -> Reply:
    body = body_of(reply)
    chunks = [step for step in reply if isinstance(step, Data)]
    ends = list(accumulate(len(chunk.data) for chunk in chunks))
    cuts = {*_cuts(body, how, rng), len(body)}
    if how in ("inside-codepoint", "inside-frame"):
        cuts.update(ends)
    stops = sorted(cuts - {0})
    pieces = [Data(chunks[bisect_left(ends, stop)].t, body[start:stop]) for start, stop in pairwise([0, *stops])]
    return (*(step for step in reply if isinstance(step, Head)), *pieces, end_of(reply))


def _cuts(body: bytes, how: int | Cut, rng: random.Random | None) -> Iterator[int]:
    """Where pieces end, without the end of the body."""
    if rng is not None:
        # Bytes, lines and whole frames: each kind of piece hides other mistakes. None is more than a
        # quarter, or a short body would come whole, and at the time of its last byte.
        longest = [min(size, max(1, len(body) // 4)) for size in (1, 9, 99, 999)]
        at = 0
        while (at := at + rng.randint(1, rng.choice(longest))) < len(body):
            yield at
    elif how == "every-byte":
        yield from range(1, len(body))
    elif how == "inside-codepoint":
        # A lead byte and a continuation; the next lead byte begins another character.
        yield from (at for at in range(1, len(body)) if body[at - 1] >= 0xC0 and 0x80 <= body[at] < 0xC0)
    else:
        at = 0
        for frame in _chat.frames_of(body) if _chat.is_stream(body) else [body]:
            size = len(frame.rstrip(b"\r\n"))
            if size > 1:
                yield at + size // 2
            at += len(frame)


# -- bare files ------------------------------------------------------------------------

_Sibling = tuple[Any, str]
"""What stands beside a bare file, decoded, and its path."""


def _bare(data: bytes, suffix: str, name: str, where: str, siblings: dict[str, _Sibling]) -> Interaction:
    def failing(where: str) -> _facts.Fail:
        def fail(found: str, remedy: str) -> NoReturn:
            raise TapeError(f"{where}: {found}; {remedy}")

        return fail

    fail = failing(where)

    request = None
    if "request" in siblings:
        value, beside = siblings["request"]
        request = _facts.read_request(value, failing(beside))
    status: int = 200
    headers: _facts.Headers = ()
    if "response" in siblings:
        value, beside = siblings["response"]
        status, headers = _facts.read_response(value, failing(beside))
    elif suffix == ".json" and "errors" in name.split("/")[:-1]:
        status = _error_status(data)
    headers = _without_body(headers)
    if suffix == ".sse":
        if not _chat.is_stream(data):
            fail("no frame at its start", "expected lines of 'data: …'; name a response .json, content .md")
        reply = streamed(status, [Data(0.0, frame) for frame in _chat.frames_of(data)], headers=headers)
    elif suffix == ".json":
        _decoded(data, where)
        reply = whole(status, data, headers=headers, content_type="application/json")
    else:
        reply = whole(
            status,
            _chat.dump(_answer(_text(data, where), name, request)),
            headers=headers,
            content_type="application/json",
        )
    interaction = Interaction(request, reply)
    if told := _facts.unreadable(interaction):
        fail(told.found, told.remedy or "record it again, or give it a suffix that tells what it is")
    return interaction


def _without_body(headers: _facts.Headers) -> _facts.Headers:
    return tuple(pair for pair in headers if pair[0].lower() not in _OF_THE_BODY)


def _answer(content: str, name: str, request: Request | None) -> dict[str, Any]:
    """The completion around a content; the folders of the gallery are named by their models."""
    asked = request.json if request is not None else None
    model = asked.get("model") if isinstance(asked, dict) else None
    return _chat.completion(
        content,
        model=model if isinstance(model, str) else name.rpartition("/")[0] or "unknown",
        completion_id=f"chatcmpl-{hashlib.sha256(content.encode()).hexdigest()[:24]}",
        created=_CREATED,
    )


def _error_status(body: bytes) -> int:
    task = parse_response(body)
    if task.error is None or task.envelope is not None:
        return 200
    return _STATUSES.get(task.error.category, 500)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        near = [str(each) for suffix in SUFFIXES if (each := path.with_name(path.name + suffix)).is_file()]
        remedy = f"did you mean {near[0]}? A path has its suffix" if near else "check the path and its permissions"
        raise TapeError(f"{path}: {reason}; {remedy}") from error


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TapeError(
            f"{where}: not UTF-8 at byte {error.start}; convert it, or keep broken bytes in a .sse or as b64"
        ) from error


def _decoded(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TapeError(f"{where}: no JSON ({error}); mend it, or name a stream .sse and content .md") from error
