"""From what a scenario wants to the writes of one dialect, each with its time and what it tells.

The words are data: `dialects.toml`. A slot of a dialect is a template, and what
it tells follows from its own fields, so a text and what a reader must take from
it cannot drift apart, and the parser has no part in it.

    Write(t=4.0, text="\\n> ID: `task_1f0c`\\n> 排队中", facts=(("task_id", "task_1f0c"), ("stage", "queued")))

Everything takes whole steps of the scenario's pace: the language model has
written its echo after one, and each poll of the server is another.
"""

from __future__ import annotations

import json
import random
import re
import tomllib
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from functools import cache
from html import escape
from importlib import resources
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .._failures import Failures
    from ..events import Kind
    from ._job import Medium, Names

Language = Literal["zh", "en"]
End = Literal["complete", "fail", "refuse", "cut", "error"]
Fact = tuple[Any, ...]
"""A key of `Task.as_dict()` or a word of `fold()`, and its values."""

WORDS = {
    "zh": {"image": "图片", "video": "视频", "audio": "音频"},
    "en": {"image": "image", "video": "video", "audio": "audio"},
}
IDS = ("sid", "gen_id", "request_id", "message_id", "channel_id")
"""Fields whose line is an id under its own name."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What a scenario wants. `None` is: what the dialect or the kind has."""

    kind: Kind
    prompt: str
    n: int = 1
    dialect: str | None = None
    language: Language | None = None
    queue: int = 1
    generate: int = 2
    progress: tuple[float, ...] = ()
    pace: float | None = None
    stall: float = 0.0
    retries: int = 0
    results: int | None = None
    signed: float | None = None
    silent: bool = False
    unlinked: bool = False
    detached: bool = False
    broken_fence: bool = False
    broken_echo: bool = False
    end: End | None = None
    reason: str | None = None
    """The reason of a failure, the prose of a refusal, the message of an error."""
    code: str | None = None
    """An error's."""
    told: tuple[str, ...] = field(default=(), compare=False)
    """Which of `dialect` and `end` were told, even if only what holds anyway."""


@dataclass(frozen=True, slots=True)
class Write:
    """What a relay writes at once."""

    t: float
    """Seconds since the request."""
    text: str
    facts: tuple[Fact, ...] = ()
    """What a reader must take from it."""
    channel: Literal["content", "reasoning"] = "content"
    index: int = 0
    """The choice it is written to."""


# -- dialects -----------------------------------------------------------------------


@cache
def dialects() -> dict[str, dict[str, Any]]:
    return tomllib.loads((resources.files(__package__) / "dialects.toml").read_text("utf-8"))


@cache
def models() -> dict[str, str]:
    """How models' names begin, in lower case and the longest first, and the dialect of each; its own name is one."""
    found = {model: name for name, table in dialects().items() for model in (name, *table.get("models", ()))}
    return {model: found[model] for model in sorted(found, key=len, reverse=True)}


def dialect_of(model: str) -> str | None:
    """The dialect that a model is written in, by how its name begins; letter case aside."""
    return next((name for begins, name in models().items() if model.lower().startswith(begins)), None)


def languages(dialect: str) -> list[Language]:
    """The first is what the dialect writes where nothing is asked for."""
    return [language for language in ("zh", "en") if language in dialects()[dialect]]


class Lines:
    """One dialect in one language, for one kind."""

    def __init__(self, dialect: str, language: Language, kind: Kind) -> None:
        table = dialects()[dialect]
        self._slots = {
            key: value[kind] if isinstance(value, dict) and key in table[language] and kind in value else value
            for key, value in {**table, **table[language]}.items()
        }
        self.kind = kind
        self.word = WORDS[language][kind]
        self.reasoning: list[str] = table.get("reasoning", [])
        suffixes: dict[str, str] = table.get("suffixes", {})
        self.suffix = suffixes.get(kind, {"image": ".png", "video": ".mp4", "audio": ".mp3"}[kind])
        self.preview_suffix = suffixes.get("preview", ".webp")

    def __getitem__(self, slot: str) -> str:
        """A slot's template; empty where the dialect has none."""
        return str(self._slots.get(slot, ""))

    def get(self, key: str, default: Any = None) -> Any:
        return self._slots.get(key, default)

    def __contains__(self, slot: str) -> bool:
        return slot in self._slots

    @property
    def named(self) -> bool:
        """Whether the text tells an id to ask for the task with."""
        return "id" in fields(self["head"]) and "head" not in self.reasoning


@cache
def lines(dialect: str, language: Language | None, kind: Kind) -> Lines:
    return Lines(dialect, language or languages(dialect)[0], kind)


@cache
def fields(template: str) -> tuple[str, ...]:
    """The names of a template's fields, in order."""
    return tuple(name for _, name, _, _ in Formatter().parse(template) if name)


# -- what a failure is ------------------------------------------------------------------


@cache
def _failures() -> Failures:
    from .._failures import Failures
    from ..grammar import Grammar

    return Failures(Grammar.default())


def failure(reason: str | None, failure_word: str) -> dict[str, Any]:
    """The error of a failure told in the text. Of its further lines, the marks that quote them are no part of it."""
    return asdict(_failures().told(failure_word, _unquoted(reason or "")))


def refusal(prose: str) -> dict[str, Any]:
    """The error of prose in place of a job."""
    return asdict(_failures().text_only(_unquoted(prose)))


def error_frame(message: str | None, code: str | None) -> dict[str, Any]:
    """An error as gateways write it."""
    return {"error": {"message": message, "type": "upstream_error", "param": "", "code": code}}


def error(message: str | None, code: str | None) -> dict[str, Any] | None:
    """The error of such a frame; None where its code says that there is none."""
    told = _failures().body(error_frame(message, code)["error"])
    return None if told is None else asdict(told)


def _unquoted(text: str) -> str:
    return re.sub(r"\n[ \t]*>[ \t>]*", "\n", text)


# -- writing ----------------------------------------------------------------------------


class Script:
    """The writes of one played scenario, and when its job turned."""

    def __init__(self, intent: Intent, names: Names, pace: float, lines: Lines) -> None:
        self._intent = intent
        self._names = names
        self._pace = pace
        self._lines = lines
        self._choice = 0
        self.t = 0.0
        self.writes: list[Write] = []
        self.ticks: list[tuple[float, float]] = []
        """When the job reached which percentage, told or not."""
        self.retried: list[float] = []
        """When each further attempt began."""
        self.started = self.ended = 0.0
        """When the job left the queue, and when its verdict came."""
        self.error: dict[str, Any] | None = None
        """Why the job failed."""
        kept = self._perform()
        if kept is not None:
            del self.writes[kept:]

    def _perform(self) -> int | None:
        """Write everything; the answer is how many writes are sent where not all are."""
        intent, lines = self._intent, self._lines
        self._echo()
        if intent.end == "refuse":
            self._prose(intent.reason or "")
            self.started = self.ended = self.t
            self.error = refusal(intent.reason or "")
            return None
        queues = bool(intent.queue and lines["queued"])
        self._say("head", "queued" if queues else "", stage="queued" if queues else None)
        # The queue is still to be waited for: behind the links of an answer that ends here.
        kept = len(self.writes) if intent.detached else None
        self.started = self.t
        self._dots(intent.queue, queues)
        self._generate()
        self._tick()
        self.t += intent.stall
        if intent.end == "fail":
            self.error = failure(intent.reason, lines["failure"].strip("\n> #❌").split("\n")[-1])
            self._say("failure", "reason" if intent.reason else "", fact=("error", self.error), reason=intent.reason)
        elif intent.end == "error":
            self.t += self._pace
            self.error = error(intent.reason, intent.code)
            self.writes.append(Write(self.t, "", (("frame", self.error),)))
        else:
            if lines["optimizing"]:
                self._say("optimizing", stage="optimizing")
            cut = self._deliver()
            kept = kept if kept is not None else cut
        self.ended = self.t
        return kept

    # -- the language model ---------------------------------------------------------------

    def _echo(self) -> None:
        """The request in one to three characters a delta, and an empty delta when the model has ended."""
        pattern = self._lines.get("echo")
        if pattern is None:
            return
        intent, lines = self._intent, self._lines
        own = {"{prompt}": intent.prompt, "{n}": intent.n}
        parameters: dict[str, Any] | None = {key: own.get(value, value) for key, value in pattern.items()}
        text = json.dumps(parameters, ensure_ascii=False, indent=lines.get("indent"))
        if intent.broken_echo:
            quoted = json.dumps(intent.prompt, ensure_ascii=False)
            text = text.replace(f": {quoted}", f": {quoted[:-1]}", 1)  # its line ends in the middle of a string
            parameters = None
        if (fence := lines["fence"]) and intent.broken_fence:
            text = f"{fence}\n{text}"
        elif fence:
            text = f"{fence}\n{text}\n```"
        self._by_model(text, ("parameters", parameters))

    def _prose(self, text: str) -> None:
        before = "" if not self.writes or self._lines.get("glued") else "\n\n"
        self._by_model(before + text, ("prose", refusal(text)))

    def _by_model(self, text: str, fact: Fact) -> None:
        rng = random.Random(f"{self._names.hex('model')}{len(self.writes)}")
        pieces, at = [], 0
        while at < len(text):
            size = rng.randint(1, 3)
            pieces.append(text[at : at + size])
            at += size
        began = self.t
        for number, piece in enumerate(pieces, 1):
            self._put(round(began + self._pace * number / len(pieces), 6), piece)
        self.t = began + self._pace
        self._put(self.t, "", (fact,))

    # -- the server ---------------------------------------------------------------------------

    def _put(
        self, t: float, text: str, facts: tuple[Fact, ...] = (), channel: Literal["content", "reasoning"] = "content"
    ) -> None:
        self.writes.append(Write(t, text, facts, channel, self._choice))
        if self._lines.get("choices"):
            self._choice += 1

    def _say(
        self, *slots: str, stage: str | None = None, fact: Fact | None = None, wait: bool = True, **values: Any
    ) -> None:
        """Write slots in one delta, a pace after what was before; nothing where the dialect has none of them."""
        if wait:
            self.t += self._pace
        template = "".join(self._lines[slot] for slot in slots if slot)
        text, facts = self._fill(template, **values)
        if stage is not None:
            facts.append(("stage", stage))
        if fact is not None:
            facts.append(fact)
        if template:
            aside = any(slot in self._lines.reasoning for slot in slots)
            kept = tuple(f for f in facts if not aside or f[0] == "progress")
            self._put(self.t, text, kept, "reasoning" if aside else "content")

    def _fill(self, template: str, **values: Any) -> tuple[str, list[Fact]]:
        facts: list[Fact] = []
        own: dict[str, Any] = {"word": self._lines.word, "token": self._names.hex("token")[:12], **values}
        for name in fields(template):
            if name == "id":
                own[name] = self._names.task_id
                facts.append(("task_id", own[name]))
            elif name in ("web", "source"):
                own[name] = self._names.link(name)
                facts.append(("links", name, own[name]))
            elif name in IDS:
                own.setdefault(name, self._names.identifier(name))
                facts.append(("ids", name, own[name]))
            elif name == "preview":
                own[name] = self._names.preview(self.t)
                facts.append(("previews", own[name]))
            elif name == "percent":
                facts.append(("progress", json.loads(own[name])))
        return template.format_map(own), facts

    def _dots(self, polls: int, told: bool) -> None:
        dot = self._lines.get("dot", ".") if told else ""
        for _ in range(polls):
            self.t += self._pace
            if dot:
                self._put(self.t, dot)

    def _generate(self) -> None:
        lines = self._lines
        for attempt in range(self._intent.retries + 1):
            if attempt and lines["retry"]:
                self._say("retry", attempt=attempt)
            if not attempt or lines.get("restarts", True):
                self._say("generating", stage="generating" if lines["generating"] else None)
            if attempt:
                self.retried.append(self.t)
            else:
                if self._intent.queue:
                    self.started = self.t
                for number in range(1, self._intent.n + 1 if lines["early"] else 1):
                    self._say("early", wait=False, number=number)
                self._say("waiting", wait=False)
            self._dots(self._intent.generate, bool(lines["generating"]))

    def _tick(self) -> None:
        lines = self._lines
        for number, percent in enumerate(self._intent.progress):
            self.ticks.append((self.t + self._pace, percent))
            slot = "hundred" if percent == 100 and "hundred" in lines else "tick"
            fact = ("stage_once", lines["tick_stage"]) if lines["tick_stage"] else None
            written = in_digits(percent, lines.get("decimals", 0))
            self._say("" if number else "ticks", slot, fact=fact, percent=written)

    # -- the end -----------------------------------------------------------------------------------

    def _deliver(self) -> int | None:
        """The tail, in one delta; what is left of the writes where the answer is cut before the links."""
        intent, lines = self._intent, self._lines
        self.t += self._pace
        text, facts = self._fill("".join(lines[s] for s in ("success", "info") if s == "info" or not intent.silent))
        if lines["success"] and not intent.silent:
            facts.append(("success",))
        media: tuple[str, list[Fact]] = ("", []) if intent.unlinked else self._media()
        if intent.end == "cut":
            if text:
                self._put(self.t, text, tuple(facts))
            kept = len(self.writes)
            self._put(self.t, media[0], tuple(media[1]))
            return kept
        closing, more = self._fill(
            ("" if intent.silent else lines["closing"]) + ("" if intent.unlinked else lines["footer"])
        )
        if lines["closing"] and not intent.silent:
            more.append(("success",))
        if text or media[0] or closing:
            self._put(self.t, text + media[0] + closing, (*facts, *media[1], *more))
        return None

    def _media(self) -> tuple[str, list[Fact]]:
        intent, lines = self._intent, self._lines
        count = intent.n if intent.results is None else intent.results
        media = [self._names.medium(i, self.t) for i in range(count)]
        text, facts = lines["media_open"], []
        told = (*fields(lines["media"]), *fields(lines["downloads"]))
        downloads = ""
        for i, medium in enumerate(media):
            values = self._values(i, medium)
            piece, more = self._fill(lines["media"], **values)
            text += piece
            downloads += lines["downloads"].format_map(values)
            facts += [*more, *(("results", result) for result in _results(told, medium))]
        if downloads:
            text += lines["downloads_open"] + downloads.rstrip("\t")
        return text, facts

    def _values(self, i: int, medium: Medium) -> dict[str, Any]:
        token = self._names.hex(f"token {i}")[:12]
        caption = re.sub(r"[^\w ,.，。-]+", " ", self._intent.prompt).strip()[:60] or "image"
        return {
            "url": medium.url,
            "url_html": escape(medium.url),
            "again": medium.url,
            "download": medium.download,
            "cover": medium.cover,
            "still": medium.still,
            "clip": medium.clip,
            "number": i + 1,
            "index": i,
            "token": token,
            "gen_id": f"gen_{token}",
            "caption": caption,
        }


def in_digits(percent: float, decimals: int) -> str:
    """A percentage as it was given, with so many decimals where they tell all of it: 48, 48.0; never an exponent."""
    if round(percent, decimals) == percent:
        return f"{percent:.{decimals}f}"
    return f"{Decimal(repr(percent)):f}"


def _results(told: Iterable[str], medium: Medium) -> Iterator[dict[str, str | None]]:
    """The results that lines with these fields tell of, in order."""
    names = list(dict.fromkeys(told))
    alone = "download" in names and not {"url", "url_html"} & set(names)
    for name in names:
        if name in ("url", "url_html") or (name == "download" and alone):
            twin = medium.download if "download" in names else medium.url if "again" in names else None
            yield {
                "kind": medium.kind,
                "url": medium.download if alone else medium.url,
                "download_url": twin,
                "poster_url": medium.cover if "cover" in names else None,
            }
        elif name in ("still", "clip"):
            kind, url = ("image", medium.still) if name == "still" else ("video", medium.clip)
            yield {"kind": kind, "url": url, "download_url": None, "poster_url": None}


# -- reading --------------------------------------------------------------------------------------------


def fold(writes: Iterable[Write]) -> dict[str, Any]:
    """`Task.as_dict()` of what these writes tell, without the envelope."""
    task: dict[str, Any] = {
        "status": "incomplete",
        "task_id": None,
        "ids": {},
        "parameters": None,
        "stages": [],
        "progress": [],
        "links": {},
        "results": [],
        "previews": [],
        "error": None,
    }
    said: dict[str, Any] = {}
    for name, *values in (fact for write in writes for fact in write.facts):
        if name in ("task_id", "parameters", "error"):
            task[name] = values[0]
        elif name in ("ids", "links"):
            task[name][values[0]] = values[1]
        elif name in ("progress", "results", "previews"):
            task[name].append(values[0])
        elif name == "stage" or (name == "stage_once" and task["stages"][-1:] != values):
            task["stages"].append(values[0])
        elif name in ("success", "prose", "frame"):
            said[name] = values
    if task["results"] or ("success" in said and task["error"] is None):
        task["status"] = "completed"
    elif task["error"] is not None:
        task["status"] = "failed"
    elif "prose" in said:
        task["status"], task["error"] = "failed", said["prose"][0]
    if "frame" in said:
        task["status"], task["error"] = "failed", said["frame"][0]
    return task
