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
from math import isfinite
from typing import TYPE_CHECKING, Any, get_args

from .._errors import TickertapeError
from ..events import Kind
from ._job import Job
from ._script import Intent, Language, Lines, dialects, languages, lines

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
    the job behind the links goes through it all the same.
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
        """The family of relays that writes: a folder name of `fixtures/`."""
        able = self.dialects(self.intent.kind)
        if name not in dialects():
            near = get_close_matches(str(name), able, 1, 0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ScenarioError(f"dialect({name!r}): no such dialect; {hint}use one of {', '.join(able)}")
        if name not in able:
            kinds = " or ".join(dialects()[name]["kinds"])
            raise ScenarioError(
                f"dialect({name!r}): this dialect writes {kinds}, the scenario is of kind {self.intent.kind}; "
                f"use one of {', '.join(able)}"
            )
        return self._with(dialect=None if name == DEFAULTS[self.intent.kind][0] else name)

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
        """The relay says that it failed, and `reason`, if any: a machine code or one line of words."""
        if reason is not None:
            _text("fail", reason, one_line=True)
        return self._end("fail", reason=reason)

    def refuse(self, text: str) -> Scenario:
        """The language model answers with prose in place of a job: there are no stages and no id."""
        _text("refuse", text)
        return self._end("refuse", reason=text)

    def cut(self) -> Scenario:
        """The stream breaks off between the status and the links; the job is completed behind its `source` link."""
        return self._end("cut")

    def error(self, message: str, code: str = "server_error") -> Scenario:
        """An error inside a 200: a frame of the stream, or the whole body, in place of the end."""
        _text("error", message, one_line=True)
        _text("error", code, one_line=True)
        return self._end("error", reason=message, code=code)

    # -- playing -------------------------------------------------------------------------------------

    def bind(self, origin: str = "https://relay.example", *, seed: int = 0, number: int = 0) -> Job:
        """One play of it: ids and URLs under `origin`, the same for the same `seed` and `number`."""
        return Job(self, origin, seed=seed, number=number)

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
        if self.intent.end is not None:
            raise ScenarioError(f"{end}(): this scenario already ends with {self.intent.end}(); write one end")
        return self._with(end=end, **told)

    def _with(self, **changes: Any) -> Scenario:
        scenario = Scenario(replace(self.intent, **changes))
        for able, wanted, what in _NEEDS:
            if wanted(scenario.intent) and not able(scenario):
                others = [name for name in self.dialects(self.intent.kind) if able(scenario, name)]
                raise ScenarioError(
                    f"{what.format(scenario.name)}; "
                    + (f"use dialect {' or '.join(others)}" if others else "leave that call out")
                )
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
        return scenario

    def _lines(self, dialect: str) -> Lines | None:
        language = self.intent.language
        usable = language is None or language in languages(dialect)
        return lines(dialect, language, self.intent.kind) if usable else None


def _able(test: Callable[[Lines], bool]) -> Callable[..., bool]:
    def able(scenario: Scenario, dialect: str | None = None) -> bool:
        spoken = scenario._lines(dialect or scenario.name)
        return spoken is not None and test(spoken)

    return able


_NEEDS: tuple[tuple[Callable[..., bool], Callable[[Intent], bool], str], ...] = (
    (_able(lambda _: True), lambda intent: intent.language is not None, "language: {} does not write it"),
    (
        _able(lambda spoken: spoken.get("echo") is not None and bool(spoken["fence"])),
        lambda intent: intent.broken_fence,
        "broken_fence(): {} writes no fence to break",
    ),
    (
        _able(lambda spoken: spoken.get("echo") is not None and bool(spoken["fence"] and spoken.get("indent"))),
        lambda intent: intent.broken_echo,
        "broken_echo(): {} writes no fence with the request in it over several lines",
    ),
    (
        _able(lambda spoken: spoken.named),
        lambda intent: intent.detached,
        "detached(): {} tells no id to go on with",
    ),
)
"""What a dialect must have for a wish, when that is wished, and what to say where it has not."""

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
        raise ScenarioError(f"{name}: expected a whole number, {least} or more, found {value!r}")
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ScenarioError(f"{name}({value!r}): expected seconds, 0 or more; write pace(2.5) for two and a half")
    return float(value)


def _text(name: str, value: Any, *, empty: bool = False, one_line: bool = False) -> None:
    if not isinstance(value, str):
        raise ScenarioError(f"{name}: expected a text, found {value!r}; write it in quotes")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ScenarioError(f"{name}: {value!r} holds half a character (a lone surrogate); write it whole") from None
    if empty:
        return
    if not value[:1].isalnum() or value != value.strip():
        raise ScenarioError(f"{name}: expected a text that begins with a word, found {value!r}; leave marks out")
    if one_line and len(value.splitlines()) > 1:
        raise ScenarioError(f"{name}: expected one line, found {value!r}; relays end a reason with its line")
