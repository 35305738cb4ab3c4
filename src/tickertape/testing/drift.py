"""What has changed between two recordings of the same conversation, by its shape.

    for change in compare(Tape.load(old), Tape.load(new)):
        print(change)      # breaking  progress-lost  interaction 1: percentages came, now none

Bytes differ each time; ids, addresses, prompts, ticks and times are not compared. A change
is breaking when a client that reads the old answer would miss something in the new one, or
would take it for something else.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .._errors import TapeError
from ._gallery import find, names_in
from ._shape import Shape, shape_of
from .tape import Tape
from .verify import as_gallery

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Iterator

__all__ = ["CHANGES", "Change", "compare", "compare_files"]

Severity = Literal["breaking", "harmless"]

CHANGES: dict[str, tuple[Severity, str]] = {
    "tape-lost": ("breaking", "a tape of the old folder is not in the new one"),
    "tape-new": ("harmless", "a tape is only in the new folder"),
    "request-lost": ("breaking", "a kind of request (a poll, a download) was answered, and is not any more"),
    "request-new": ("harmless", "a kind of request is there that was not"),
    "status": ("breaking", "another HTTP status"),
    "ending": ("breaking", "the answer breaks off in another way, or did not before"),
    "ending-mended": ("harmless", "an answer that broke off is now whole"),
    "form": ("breaking", "a stream where there was JSON, JSON where there was a page, another type of media…"),
    "outcome": ("breaking", "the task ends with another status"),
    "outcome-later": ("harmless", "a task that was queued is found in progress, or the other way"),
    "results-lost": ("breaking", "fewer results"),
    "results-new": ("harmless", "more results"),
    "result-kind": ("breaking", "a result of another kind: a video where there was an image"),
    "download-lost": ("breaking", "results had a second link for saving them, and have none"),
    "download-new": ("harmless", "results have a second link for saving them"),
    "poster-lost": ("harmless", "videos had a cover, and have none"),
    "poster-new": ("harmless", "videos have a cover"),
    "progress-lost": ("breaking", "percentages came, and come no more"),
    "progress-new": ("harmless", "percentages come"),
    "event-lost": ("breaking", "a kind of event is gone: the task's id, a link, a stage, the echoed parameters…"),
    "event-gone": ("harmless", "the same of what decides nothing: prose, notices, retries, code"),
    "event-new": ("harmless", "a kind of event is there that was not"),
    "order": ("breaking", "the same kinds of events come in another order"),
    "wording": ("harmless", "other words for the same, and read as the same"),
    "unknown-line": ("breaking", "a line that the grammar does not know, and that was not there"),
    "unknown-gone": ("harmless", "an unknown line is not there any more"),
    "failure-category": ("breaking", "a failure of another category"),
    "failure-code": ("breaking", "another machine code, or none"),
    "failure-words": ("harmless", "other words for a failure of the same category"),
    "field-lost": ("breaking", "a field of the frames or of the body is gone"),
    "field-gone": ("harmless", "the same of a field that clients need not have, or of the echoed request"),
    "field-new": ("harmless", "a field is there that was not"),
    "field-type": ("breaking", "a field holds another type of value"),
    "finish-reason": ("breaking", "another finish_reason, or none"),
    "finish-reason-new": ("harmless", "a finish_reason where there was none"),
    "usage-lost": ("breaking", "no usage any more"),
    "usage-new": ("harmless", "usage where there was none"),
    "done-lost": ("breaking", "the stream ends without [DONE]"),
    "done-new": ("harmless", "the stream ends with [DONE]"),
    "bad-frames": ("breaking", "frames that are no JSON"),
    "bad-frames-gone": ("harmless", "no frames any more that are no JSON"),
    "keep-alive-lost": ("harmless", "no comments keep the stream alive any more"),
    "keep-alive-new": ("harmless", "comments keep the stream alive"),
    "header-lost": ("breaking", "a header that clients act on is gone: Retry-After, Location, X-Should-Retry"),
    "header-gone": ("harmless", "a header that clients only quote is gone, such as X-Request-Id"),
    "header-new": ("harmless", "a header of interest is there that was not"),
    "encoding": ("breaking", "the body is compressed in another way"),
}
"""Every kind of change: whether it breaks a client, and what it is."""

_ACTED_ON = ("location", "retry-after", "x-should-retry")
_DECIDES_NOTHING = ("Text", "Notice", "Retrying", "Code", "LineEnd", "Parameters broken")
_MEDIA = ("Image", "Link", "Url", "Element")
_ORDERLESS = (*_DECIDES_NOTHING, "Unknown")
_OPTIONAL = (
    "annotations",
    "audio",
    "function_call",
    "logprobs",
    "native_finish_reason",
    "object",
    "obfuscation",
    "provider",
    "provider_specific_fields",
    "refusal",
    "service_tier",
    "system_fingerprint",
    "tool_calls",
)
"""Fields that OpenAI's own types call optional, or that gateways add; no reader of a status stream needs them."""
_ECHOED = ("input", "metadata", "parameters", "request")
_RUNNING = ("queued", "in_progress")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference of shape."""

    kind: str
    """One of `CHANGES`."""
    where: str
    """`interaction 1`, or the name of a tape."""
    text: str
    old: str = ""
    new: str = ""

    @property
    def severity(self) -> Severity:
        return CHANGES[self.kind][0]

    @property
    def is_breaking(self) -> bool:
        return self.severity == "breaking"

    def __str__(self) -> str:
        return f"{self.severity}  {self.kind}  {f'{self.where}: ' if self.where else ''}{self.text}"


def compare(old: Tape, new: Tape, *, content_only: bool = False) -> list[Change]:
    """What has changed, the breaking first. Without what wraps the content, where one of the two is only content."""
    before, after = _by_route(old), _by_route(new)
    changes = []
    for route, pairs in before.items():
        if route not in after:
            changes.append(_change("request-lost", "", f"{route} is not answered any more", route))
            continue
        for (number, was), (_, now) in _pairs(pairs, after[route]):
            where = f"interaction {number}" if len(old.interactions) > 1 else ""
            changes += _changes(was, now, where, content_only=content_only)
    changes += [
        _change("request-new", "", f"{route} was not asked before", "", route) for route in after if route not in before
    ]
    # Two polls may show the same difference: told once, where it came first.
    seen = {(change.kind, change.text): change for change in reversed(changes)}
    return sorted(
        (change for change in changes if seen[change.kind, change.text] is change),
        key=lambda each: not each.is_breaking,
    )


def compare_files(old: str | os.PathLike[str], new: str | os.PathLike[str]) -> dict[str, list[Change]]:
    """The changes of two tapes, or, of two folders, of the tapes of each name that are in both.

    Raises `TapeError` for what cannot be read, and for a folder beside a file.
    """
    before, after = Path(old), Path(new)
    for path in (before, after):
        if not path.exists():
            raise TapeError(f"{path}: no such file or folder; check the path")
    if before.is_dir() != after.is_dir():
        folder, file = (before, after) if before.is_dir() else (after, before)
        raise TapeError(f"{folder} is a folder, {file} is a file; give two of a kind")
    if not before.is_dir():
        return {"": _compare_two(before, after)}
    before, after = as_gallery(before), as_gallery(after)
    names, others = names_in(before), names_in(after)
    if not names:
        raise TapeError(f"{before}: no tape in this folder; record one first")
    found: dict[str, list[Change]] = {}
    for name in sorted(names | others):
        if name not in others:
            found[name] = [_change("tape-lost", "", f"{name} is not in {after}", name)]
        elif name not in names:
            found[name] = [_change("tape-new", "", f"{name} is not in {before}", "", name)]
        else:
            found[name] = _compare_two(find(name, [before]), find(name, [after]))
    return found


def _compare_two(old: Path, new: Path) -> list[Change]:
    content_only = any(path.suffix.lower() in (".md", ".txt") for path in (old, new))
    return compare(Tape.load(old), Tape.load(new), content_only=content_only)


def _by_route(tape: Tape) -> dict[str, list[tuple[int, Shape]]]:
    routes: dict[str, list[tuple[int, Shape]]] = defaultdict(list)
    for number, interaction in enumerate(tape.interactions, 1):
        shape = shape_of(interaction)
        # Pictures and videos are fetched from paths of any form.
        is_media = interaction.request is not None and not interaction.is_chat and shape.form.startswith("media")
        routes["downloads of media" if is_media else shape.route].append((number, shape))
    return routes


_Numbered = tuple[int, Shape]


def _pairs(old: list[_Numbered], new: list[_Numbered]) -> Iterator[tuple[_Numbered, _Numbered]]:
    """How often something is polled is chance: of unequal numbers the first are compared, and the last."""
    if len(old) == len(new):
        yield from zip(old, new, strict=True)
        return
    yield old[0], new[0]
    yield old[-1], new[-1]


def _change(kind: str, where: str, text: str, old: object = "", new: object = "") -> Change:
    return Change(kind, where, text, str(old), str(new))


def _changes(old: Shape, new: Shape, where: str, *, content_only: bool) -> Iterator[Change]:
    def say(kind: str, text: str, was: object = "", now: object = "") -> Change:
        return _change(kind, where, text, was, now)

    if old.status != new.status:
        yield say("status", f"HTTP {old.status or 'none'}, now {new.status or 'none'}", old.status, new.status)
    if old.ending != new.ending:
        kind = "ending-mended" if new.ending == "eof" else "ending"
        yield say(kind, f"ended by {old.ending}, now by {new.ending}", old.ending, new.ending)
    if not content_only:
        if old.form != new.form:
            yield say("form", f"{old.form}, now {new.form}", old.form, new.form)
        yield from (say(*found) for found in _headers(old, new))
    if old.outcome != new.outcome:
        kind = "outcome-later" if old.outcome in _RUNNING and new.outcome in _RUNNING else "outcome"
        text = f"{old.outcome or 'no task'}, now {new.outcome or 'no task'}"
        yield say(kind, text, old.outcome or "", new.outcome or "")
    yield from (say(*found) for found in _failures(old, new))
    yield from (say(*found) for found in _unknown(old, new))
    if new.bad_frames != old.bad_frames:
        kind = "bad-frames" if new.bad_frames else "bad-frames-gone"
        yield say(kind, "frames that are no JSON" + (" come now" if new.bad_frames else " came"))
    if _kind_of_outcome(old) != _kind_of_outcome(new):
        return  # everything else is another story, told by the outcome
    yield from (say(*found) for found in _results(old, new))
    yield from (say(*found) for found in _events(old, new))
    if not content_only and old.form == new.form:
        yield from (say(*found) for found in _envelope(old, new))
        yield from (say(*found) for found in _fields(old, new))


def _kind_of_outcome(shape: Shape) -> tuple[bool, str | None]:
    is_error = shape.status is None or shape.status >= 400
    return is_error, "running" if shape.outcome in _RUNNING else shape.outcome


_Found = tuple[str, str, str, str]


def _headers(old: Shape, new: Shape) -> Iterator[_Found]:
    for name in sorted({*old.headers, *new.headers} - {"content-type"}):
        was, now = old.headers.get(name, ""), new.headers.get(name, "")
        if name == "content-encoding":
            if was != now:
                yield "encoding", f"{was or 'not compressed'}, now {now or 'not compressed'}", was, now
        elif name not in new.headers:
            yield "header-lost" if name in _ACTED_ON else "header-gone", f"no {name} any more", was, ""
        elif name not in old.headers:
            yield "header-new", f"{name} is sent", "", now


def _failures(old: Shape, new: Shape) -> Iterator[_Found]:
    if old.error is None or new.error is None:
        return  # the outcome tells, or a failure amid results, which decides nothing
    (category, code, words), (category_now, code_now, words_now) = old.error, new.error
    if category != category_now:
        yield "failure-category", f"{category}, now {category_now}: {words_now or 'no words'}", category, category_now
    if code != code_now and (code, code_now) != (words, words_now):
        yield "failure-code", f"{code or 'none'}, now {code_now or 'none'}", code or "", code_now or ""
    if words != words_now:
        yield "failure-words", f"{words or 'no words'!r}, now {words_now or 'no words'!r}", words, words_now


def _unknown(old: Shape, new: Shape) -> Iterator[_Found]:
    for line in sorted(new.unknown - old.unknown):
        yield "unknown-line", f"{line!r} is not known to the grammar", "", line
    for line in sorted(old.unknown - new.unknown):
        yield "unknown-gone", f"{line!r} came before", line, ""


def _results(old: Shape, new: Shape) -> Iterator[_Found]:
    was, now = _told(old.results), _told(new.results)
    if len(new.results) < len(old.results):
        yield "results-lost", f"{was}, now {now}", was, now
    elif len(new.results) > len(old.results):
        yield "results-new", f"{was}, now {now}", was, now
    if old.results and new.results and not set(old.results) <= set(new.results):
        yield "result-kind", f"{was}, now {now}", was, now
    if new.results and bool(old.downloads) != bool(new.downloads):
        kind = "download-lost" if old.downloads else "download-new"
        yield kind, f"{old.downloads} results with a link for saving, now {new.downloads}", *_counts(old, new)
    if new.results and bool(old.posters) != bool(new.posters):
        kind = "poster-lost" if old.posters else "poster-new"
        yield kind, f"{old.posters} results with a cover, now {new.posters}", str(old.posters), str(new.posters)


def _counts(old: Shape, new: Shape) -> tuple[str, str]:
    return str(old.downloads), str(new.downloads)


def _told(kinds: Collection[str]) -> str:
    counts = {kind: list(kinds).count(kind) for kind in dict.fromkeys(kinds)}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "no results"


def _events(old: Shape, new: Shape) -> Iterator[_Found]:
    if old.progress != new.progress:
        kind, text = ("progress-lost", "came, now none") if old.progress else ("progress-new", "come now")
        yield kind, f"percentages {text}", "", ""
    # Results, percentages and unknown lines have findings of their own.
    skip = ("Progress", "Unknown", "Text", *_MEDIA)
    was = [kind for kind in old.kinds if kind.partition(" ")[0] not in skip]
    now = [kind for kind in new.kinds if kind.partition(" ")[0] not in skip]
    for kind in was:
        if kind not in now:
            lost = "event-gone" if kind.startswith(_DECIDES_NOTHING) else "event-lost"
            yield lost, f"{kind} came, now none", kind, ""
    for kind in now:
        if kind not in was:
            yield "event-new", f"{kind} comes now", "", kind
    told, told_now = ", ".join(_decisive(old, new)), ", ".join(_decisive(new, old))
    if told != told_now:
        yield "order", f"{told}; now {told_now}", told, told_now
    for kind in was:
        before = {word for name, word in old.words if name == kind}
        after = {word for name, word in new.words if name == kind}
        # A word that came is no other wording while those of before still come.
        if kind in now and before and after and not before <= after:
            lost, came = " ".join(sorted(before - after)), " ".join(sorted(after - before)) or " ".join(sorted(after))
            yield "wording", f"{kind} was {lost!r}, is {came!r}", lost, came


def _decisive(shape: Shape, other: Shape) -> list[str]:
    """The kinds of events that both have and that decide something, in order; all media are one."""
    kinds = [kind for kind in shape.kinds if kind in other.kinds and not kind.startswith(_ORDERLESS)]
    named = ["media" if kind.startswith(_MEDIA) else kind for kind in kinds]
    return [kind for number, kind in enumerate(named) if kind != "media" or "media" not in named[number + 1 :]]


def _envelope(old: Shape, new: Shape) -> Iterator[_Found]:
    was, now = " ".join(sorted(old.finish_reasons)), " ".join(sorted(new.finish_reasons))
    if was != now:
        yield "finish-reason" if was else "finish-reason-new", f"{was or 'none'}, now {now or 'none'}", was, now
    if old.usage != new.usage:
        yield (
            "usage-lost" if old.usage else "usage-new",
            "usage " + ("came, now none" if old.usage else "comes"),
            "",
            "",
        )
    if old.form != "stream":
        return
    if old.done != new.done:
        yield "done-lost" if old.done else "done-new", "[DONE] " + ("came, now none" if old.done else "comes"), "", ""
    if old.keep_alive != new.keep_alive:
        kind = "keep-alive-lost" if old.keep_alive else "keep-alive-new"
        yield kind, "comments " + ("came, now none" if old.keep_alive else "come"), "", ""


def _fields(old: Shape, new: Shape) -> Iterator[_Found]:
    # Of an object that is gone, or has come, its own name says enough.
    for path in _outermost(old.fields.keys() - new.fields.keys()):
        if path.partition(".")[0] == "usage":
            continue
        kind = "field-gone" if _is_optional(path) or old.fields[path] == {"null"} else "field-lost"
        yield kind, f"{path} is gone", path, ""
    for path in _outermost(new.fields.keys() - old.fields.keys()):
        if path.partition(".")[0] != "usage":
            yield "field-new", f"{path} ({', '.join(sorted(new.fields[path]))})", "", path
    for path in sorted(old.fields.keys() & new.fields.keys()):
        was, now = old.fields[path] - {"null"}, new.fields[path] - {"null"}
        # Null beside a value is the value not yet told; a type that is added is new to a client too.
        if was and now and not now <= was and not _is_optional(path):
            told, told_now = " or ".join(sorted(was)), " or ".join(sorted(now))
            yield "field-type", f"{path} was {told}, is {told_now}", told, told_now


def _outermost(paths: Iterable[str]) -> list[str]:
    found: list[str] = []
    for path in sorted(paths):
        if not any(path.startswith((f"{outer}.", f"{outer}[")) for outer in found):
            found.append(path)
    return found


def _is_optional(path: str) -> bool:
    names = path.replace("[]", "").split(".")
    return names[-1] in _OPTIONAL or any(name in (*_ECHOED, *_OPTIONAL) or name == "{}" for name in names)
