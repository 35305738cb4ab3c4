"""Scenarios: a whole conversation with a relay, written from what is wanted of it.

    Scenario.image("a cat", n=2).progress(14, 48).fail("input_moderation")
    Scenario.video("a train").dialect("veo3").language("en").queue(3).generate(4).pace(20)
    Scenario.image("a cat").progress(20, 60, 99).stall(600)
    Scenario.audio("a song").signed(expires=60)

A scenario makes a world, not a text: `bind()` gives a `Job` whose result links
answer with files that decode, whose `source` and `web` links tell how the job
goes on, and whose `expected` says what a reader must take from the answer. In
every dialect (`Scenario.dialects()`) it is written as that family of relays does.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any, get_args

from .._errors import TickertapeError
from ..events import Kind
from ._errors import short
from ._job import Job
from ._script import Intent, Language, dialect_of, dialects, error, failure, languages, lines, models, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Job", "Scenario", "ScenarioError"]

DEFAULTS: dict[str, tuple[str, float]] = {
    "image": ("gpt-image-1.5", 2.0),
    "video": ("sora-2", 5.0),
    "audio": ("suno", 5.0),
}
"""Of each kind, the dialect and the seconds between two polls."""


class ScenarioError(TickertapeError, ValueError):
    """A scenario that cannot be written: says what was found, what is expected, and what to do."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A conversation to be played. Begin with `image()`, `video()` or `audio()`.

    Every method gives a new scenario and checks its arguments at once. Equal
    scenarios are equal, hash alike, and `repr` is a chain that evaluates back.
    What a dialect has no place for (a queue, percentages) is left out of the text;
    the job behind the links goes through it all the same. What a dialect cannot
    write is refused once the dialect was told, at the latest when it is bound or played.
    """

    intent: Intent
    """What is wanted, as plain data; to read, not to make scenarios from."""

    # -- the beginning -----------------------------------------------------------------

    @classmethod
    def image(cls, prompt: str, n: int = 1) -> Scenario:
        """A picture, or `n` of them, asked for with `prompt`."""
        return cls._begin("image", prompt, n)

    @classmethod
    def video(cls, prompt: str, n: int = 1) -> Scenario:
        """A video, or `n` of them."""
        return cls._begin("video", prompt, n)

    @classmethod
    def audio(cls, prompt: str, n: int = 1) -> Scenario:
        """A song, or `n` of them; suno delivers a picture and a clip with each."""
        return cls._begin("audio", prompt, n)

    @classmethod
    def _begin(cls, kind: Kind, prompt: str, n: int) -> Scenario:
        _text("prompt", prompt, empty=True)
        return cls(Intent(kind, prompt, _whole("n", n, least=1)))

    @staticmethod
    def dialects(kind: str | None = None) -> tuple[str, ...]:
        """The names `dialect()` takes; those that can write `kind`, where one is given."""
        if kind is not None and kind not in get_args(Kind):
            raise ScenarioError(f"dialects({kind!r}): expected one of {', '.join(get_args(Kind))}, or nothing for all")
        return tuple(name for name, table in dialects().items() if kind is None or kind in table["kinds"])

    # -- who writes, and how --------------------------------------------------------------

    def dialect(self, name: str) -> Scenario:
        """The family of relays that writes: a folder name of `fixtures/`, or the name of a model of that family."""
        kind = self.intent.kind
        able = self.dialects(kind)
        found = dialect_of(str(name))
        if found is None:
            near = [models()[model] for model in get_close_matches(str(name).lower(), models(), 1, 0.5)]
            hint = "".join(f"did you mean {dialect!r}? " for dialect in near)
            hint += "".join(f"It {_begin_with(dialect)}, or " for dialect in near if dialect not in able)
            raise ScenarioError(f"dialect({name!r}): no such dialect; {hint}use one of {', '.join(able)}")
        if found not in able:
            raise ScenarioError(
                f"dialect({name!r}): the scenario is of kind {kind}, this dialect {_begin_with(found)}, "
                f"or use one of {', '.join(able)}"
            )
        return self._with(dialect=None if found == DEFAULTS[kind][0] else found, told=(*self.intent.told, "dialect"))

    def language(self, language: str) -> Scenario:
        """`"zh"` or `"en"`, where the dialect has both; its first otherwise, mostly Chinese."""
        if language not in get_args(Language):
            raise ScenarioError(f"language({language!r}): expected one of {', '.join(get_args(Language))}")
        return self._with(language=language)

    def pace(self, seconds: float) -> Scenario:
        """Seconds between two writes of the server: 2 for images, 5 for others unless told."""
        return self._with(pace=_seconds("pace", seconds))

    def broken_fence(self) -> Scenario:
        """The fence around the echoed request is never closed; the JSON in it is whole."""
        return self._with(broken_fence=True)

    def broken_echo(self) -> Scenario:
        """The echoed request is no JSON: a string in it is not closed. `parameters` is None."""
        return self._with(broken_echo=True)

    # -- how the job goes on -----------------------------------------------------------------

    def queue(self, polls: int) -> Scenario:
        """The polls that find it queued: one dot each. One unless told; with 0 it never says that it is queued."""
        return self._with(queue=_whole("queue", polls))

    def generate(self, polls: int) -> Scenario:
        """The polls that find it generating: one dot each, before any percentage. Two unless told.

        With 0 it says all the same that it generates: no job is without it.
        """
        return self._with(generate=_whole("generate", polls))

    def progress(self, *percents: float) -> Scenario:
        """Percentages, one write each, to sixteen decimals; they may fall, as on relays that start over."""
        for percent in percents:
            if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
                listed = isinstance(percent, list | tuple)
                remedy = f"progress(*{percent!r})" if listed else "progress(14, 48.5) for 14 % and 48.5 %"
                raise ScenarioError(f"progress({percent!r}): expected numbers from 0 to 100; write {remedy}")
        # No reader takes longer digits for a percentage. Adding zero makes -0.0 none.
        return self._with(progress=tuple(round(float(p), 16) + 0 if isinstance(p, float) else p for p in percents))

    def stall(self, seconds: float) -> Scenario:
        """A silence before the end: after the last percentage (`.progress(50, 99).stall(600)`) or dot."""
        return self._with(stall=_seconds("stall", seconds))

    def retry(self, times: int = 1) -> Scenario:
        """The relay starts over by itself, so many times: its generating line again, or its own notice."""
        return self._with(retries=_whole("retry", times, least=1))

    def detached(self) -> Scenario:
        """The answer ends, properly, once the job is queued; it goes on behind its `source` link or id."""
        return self._with(detached=True)

    # -- what it delivers ----------------------------------------------------------------------

    def results(self, count: int) -> Scenario:
        """Fewer results than `n` asked for."""
        if _whole("results", count, least=1) > self.intent.n:
            raise ScenarioError(
                f"results({count}): more than the n={self.intent.n} asked for; "
                f"begin with Scenario.{self.intent.kind}(…, n={count})"
            )
        return self._with(results=count)

    def signed(self, expires: float = 3600.0) -> Scenario:
        """Links carry a signature, and answer 403 so many seconds after they were made, or without it."""
        return self._with(signed=_seconds("signed", expires))

    def unlinked(self) -> Scenario:
        """It finishes without a link: a success line, where the dialect has one, and nothing delivered."""
        return self._with(unlinked=True)

    def silent(self) -> Scenario:
        """The links come without a success line."""
        return self._with(silent=True)

    # -- the end -----------------------------------------------------------------------------------

    def complete(self) -> Scenario:
        """It delivers. Implied where no other end is told."""
        return self._end("complete")

    def fail(self, reason: str | None = None) -> Scenario:
        """The relay says that it failed, and `reason`, if any: a machine code, or words, over several lines too.

        A reason that a reader would take for something else (a retry, a link) is
        refused. What readers take off is no part of the message: white space and
        quote marks around it, a request id.
        """
        if reason is not None:
            _text("fail", reason, left=lambda text: failure(text, "")["message"])
        return self._end("fail", reason=reason)

    def refuse(self, text: str) -> Scenario:
        """The language model answers with prose in place of a job: there are no stages and no id.

        A text that a reader would take for something else (a status, a result) is refused.
        """
        _text("refuse", text, left=lambda text: refusal(text)["message"])
        return self._end("refuse", reason=text)

    def cut(self) -> Scenario:
        """The stream breaks off between the status and the links; the job is completed behind its `source` link.

        It reads as completed where the dialect has a success line, as incomplete elsewhere.
        """
        return self._end("cut")

    def error(self, message: str, code: str = "server_error") -> Scenario:
        """An error inside a 200: a frame of the stream, or the whole body, in place of the end."""
        _text("error", message)
        _text("error", code)
        if error(message, code) is None:
            raise ScenarioError(
                f"error(code={code!r}): to a reader this code says that there is no error; leave it out, or use another"
            )
        return self._end("error", reason=message, code=code)

    # -- playing -------------------------------------------------------------------------------------

    def bind(self, origin: str = "https://relay.example", *, seed: int = 0, number: int = 0) -> Job:
        """One play of it: ids and URLs under `origin`, the same for the same `seed` and `number`."""
        self._check()
        return Job(self, origin, seed=seed, number=number)

    def _check(self, *, decided: bool = True) -> None:
        """Raise `ScenarioError` where its dialect cannot write it; `bind()` and a relay's `play()` do this first.

        Unless the dialect is `decided` on, what another of the kind can write may still come to be.
        """
        if (lack := _lack(self.intent, self.name)) is None:
            return
        found, remedy = lack
        able = [name for name in self.dialects(self.intent.kind) if _lack(self.intent, name) is None]
        if decided or not able:
            use = f"use dialect {' or '.join(able)}" if able else None
            raise ScenarioError(f"{found}; {' or '.join(filter(None, (remedy, use))) or 'leave that call out'}")

    @property
    def name(self) -> str:
        """Its dialect's name."""
        return self.intent.dialect or DEFAULTS[self.intent.kind][0]

    @property
    def seconds(self) -> float:
        """Its pace."""
        return DEFAULTS[self.intent.kind][1] if self.intent.pace is None else self.intent.pace

    def __repr__(self) -> str:
        intent = self.intent
        chain = f"Scenario.{intent.kind}({intent.prompt!r}{f', n={intent.n}' if intent.n != 1 else ''})"
        for field in fields(Intent):
            value = getattr(intent, field.name)
            if field.name in _CALLS and value != field.default:
                chain += f".{_CALLS[field.name](value)}"
        if intent.end is not None:
            told = [repr(value) for value in (intent.reason, intent.code) if value is not None]
            chain += f".{intent.end}({', '.join(told)})"
        return chain

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The same where hypothesis or IPython show it: they would print a dataclass by its fields."""
        printer.text(repr(self))

    # -- one scenario from another ----------------------------------------------------------------------

    def _end(self, end: str, **told: str | None) -> Scenario:
        if "end" in self.intent.told or self.intent.end is not None:
            raise ScenarioError(
                f"{end}(): this scenario already ends with {self.intent.end or 'complete'}(); write one end"
            )
        # Complete is what every scenario is that has no other end.
        return self._with(end=None if end == "complete" else end, told=(*self.intent.told, "end"), **told)

    def _with(self, **changes: Any) -> Scenario:
        scenario = Scenario(replace(self.intent, **changes))
        wish = scenario.intent
        if wish.results is not None and wish.end in ("fail", "refuse", "error"):
            raise ScenarioError(
                f"results({wish.results}) and {wish.end}(): a job that fails delivers nothing; leave one of them out"
            )
        if wish.detached and wish.end in ("refuse", "cut", "error"):
            raise ScenarioError(f"detached() and {wish.end}(): the answer would end twice; leave one of them out")
        if wish.broken_fence and wish.broken_echo:
            raise ScenarioError(
                "broken_fence() and broken_echo(): nobody could tell where the echo ends; leave one of them out"
            )
        scenario._check(decided="dialect" in wish.told)
        return scenario


# -- what a dialect can write ------------------------------------------------------------------------


def _lack(intent: Intent, dialect: str) -> tuple[str, str | None] | None:
    """What a dialect cannot do of what is wanted, and what else to write if that is known; None where it can all."""
    language = intent.language
    if language is not None and language not in languages(dialect):
        return f"language({language!r}): {dialect} writes only {' and '.join(map(repr, languages(dialect)))}", None
    words = lines(dialect, language, intent.kind)
    who = dialect if language is None else f"{dialect} in {language!r}"
    fenced = words.get("echo") is not None and bool(words["fence"])
    if intent.broken_fence and not fenced:
        return f"broken_fence(): {who} writes no fence to break", None
    if intent.broken_echo and not (fenced and words.get("indent")):
        return f"broken_echo(): {who} writes no fence with the request in it over several lines", None
    if intent.detached and not words.named:
        return f"detached(): {who} tells no id to go on with", None
    if intent.reason is not None and intent.end in ("fail", "refuse"):
        alone = Intent(
            intent.kind,
            "a cat",
            dialect=dialect,
            language=language,
            queue=0,
            generate=0,
            broken_fence=intent.broken_fence,
            broken_echo=intent.broken_echo,
            end=intent.end,
            reason=intent.reason,
        )
        if taken := _misread(alone):
            call, other = f"{intent.end}({short(intent.reason)})", "write it in other words"
            read, meant = taken.get("error", (None, None))
            # A part that is read for the whole, such as what follows a label, may be all that was meant.
            part = read["message"] if read and read["category"] == meant["category"] else ""
            if len(taken) == 1 and part and part in intent.reason and not _misread(replace(alone, reason=part)):
                other = f"write {intent.end}({short(part)})"
            differs = [f"{key} {_told(read)} instead of {_told(meant)}" for key, (read, meant) in taken.items()]
            return f"{call}: a reader of {who} takes it for {', '.join(differs)}", other
    return None


@lru_cache(1024)
def _misread(intent: Intent) -> dict[str, tuple[Any, Any]]:
    """Where a reader takes the words of a failure or a refusal for something else: what it reads, and what is meant.

    The words are written as the dialect does, with as little as can be around them.
    """
    from ..parser import parse

    job = Job(Scenario(intent), "https://relay.example", seed=0, number=0)
    read, meant = parse(job.content).as_dict(), job.expected_content
    return {key: (read[key], meant[key]) for key in meant if read[key] != meant[key]}


def _told(value: Any) -> str:
    """A value of a task; of an error its message, and its category."""
    if isinstance(value, dict) and "category" in value:
        return f"{short(value['message'])} ({value['category']})"
    return short(value)


def _begin_with(dialect: str) -> str:
    kinds = dialects()[dialect]["kinds"]
    begun = " or ".join(f"Scenario.{kind}(…)" for kind in kinds)
    return f"writes {' or '.join(kinds)}; begin with {begun}"


# -- the chain ------------------------------------------------------------------------------------------


_CALLS: dict[str, Callable[[Any], str]] = {
    "dialect": lambda value: f"dialect({value!r})",
    "language": lambda value: f"language({value!r})",
    "queue": lambda value: f"queue({value!r})",
    "generate": lambda value: f"generate({value!r})",
    "progress": lambda value: f"progress({', '.join(map(repr, value))})",
    "pace": lambda value: f"pace({value!r})",
    "stall": lambda value: f"stall({value!r})",
    "retries": lambda value: "retry()" if value == 1 else f"retry({value!r})",
    "results": lambda value: f"results({value!r})",
    "signed": lambda value: f"signed({value!r})",
    "silent": lambda _: "silent()",
    "unlinked": lambda _: "unlinked()",
    "detached": lambda _: "detached()",
    "broken_fence": lambda _: "broken_fence()",
    "broken_echo": lambda _: "broken_echo()",
}


def _whole(name: str, value: Any, *, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        write = f"{name}=2" if name == "n" else f"{name}(2)"
        raise ScenarioError(f"{name}: expected a whole number, {least} or more, found {value!r}; write {write}")
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ScenarioError(f"{name}({value!r}): expected seconds, 0 or more; write {name}(2.5) for two and a half")
    return float(value)


def _text(name: str, value: Any, *, empty: bool = False, left: Callable[[str], str] = str.strip) -> None:
    """Refuse what is no text, or one of which a reader has nothing `left`."""
    if not isinstance(value, str):
        raise ScenarioError(f"{name}: expected a text, found {value!r}; write it in quotes")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ScenarioError(f"{name}: {value!r} holds half a character (a lone surrogate); write it whole") from None
    if not empty and not left(value):
        without = ", or fail() for a failure without a reason" if name == "fail" else ""
        raise ScenarioError(f"{name}: expected a text, found {value!r}; write some words{without}")
