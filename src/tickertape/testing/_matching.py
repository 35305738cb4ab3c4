"""Which requests something is played for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from .._errors import TickertapeError
from ._errors import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._journal import Call

Text = str | re.Pattern[str] | Sequence["str | re.Pattern[str]"]
"""A text, a pattern, or several of which one must hold."""


class MatchError(TickertapeError, TypeError):
    """What was given as `when=` is no condition."""


@dataclass(frozen=True, slots=True)
class When:
    """Conditions on a chat request; all that are given must hold.

    When(model="sora-2", prompt=re.compile("cat|dog"), image=True)
    {"prompt": "a cat", "json": {"size": "1:1"}}        the same as a dict
    lambda call: len(call.images) == 2                   or any function of a call
    """

    model: Text | None = None
    """The model's name, or a pattern found in it; a list of these: one of them."""
    prompt: Text | None = None
    """Text that the prompt contains, or a pattern found in it."""
    prompt_is: str | None = None
    """The whole prompt."""
    image: bool | None = None
    """Whether the messages hold an image."""
    stream: bool | None = None
    """Whether a stream is asked for."""
    json: Mapping[str, Any] | None = None
    """A part of the body: objects match by the keys given, lists element by element, texts by a pattern too, and
    what a function holds for; everything else by equality, in which true is not 1."""
    path: Text | None = None
    """The end of the URL's path, or a pattern found in it."""
    call: int | None = None
    """Only the n-th chat request that this relay answers from plays, counted from 1."""
    test: Callable[[Call], bool] | None = field(default=None)
    """Any function of the call."""
    pattern: Any = field(default=None)
    """A respx pattern (`respx.patterns.M(…)`); in process only."""

    def __post_init__(self) -> None:
        for name, expected in (("model", self.model), ("prompt", self.prompt), ("path", self.path)):
            several = expected if isinstance(expected, list | tuple) else (expected,)
            if expected is not None and not (several and all(map(_is_text, several))):
                raise MatchError(
                    f"when {name}={expected!r}: expected a text, a compiled pattern, or a list of these; "
                    "a function of the whole call goes to when= itself"
                )
        kinds = (("prompt_is", str), ("image", bool), ("stream", bool), ("json", Mapping), ("call", int))
        for name, kind in kinds:
            if not isinstance(value := getattr(self, name), kind | None):
                raise MatchError(f"when {name}={value!r}: expected {kind.__name__}")
        if self.call is not None and (isinstance(self.call, bool) or self.call < 1):
            raise MatchError(f"when call={self.call!r}: expected a number above 0, calls are counted from 1")
        if self.test is not None and not callable(self.test):
            raise MatchError(f"when test={self.test!r}: expected a function of a call")
        if self.pattern is not None and not _is_respx(self.pattern):
            raise MatchError(
                f"when pattern={self.pattern!r}: expected a respx pattern, such as M(host='relay.example')"
            )

    def differs(self, call: Call, ordinal: int) -> list[str]:
        """What speaks against this call, one sentence each; empty when it matches."""
        return [] if self is _ALWAYS else list(self._differences(call, ordinal))

    def _differences(self, call: Call, ordinal: int) -> Iterator[str]:
        prompt = call.prompt or ""
        if self.model is not None and not _is(self.model, call.model or ""):
            yield f"model: expected {_shown(self.model)}, found {call.model!r}"
        if self.prompt is not None and not _in(self.prompt, prompt):
            yield f"prompt: expected {_shown(self.prompt)} in it, found {short(prompt)}"
        if self.prompt_is is not None and self.prompt_is != prompt:
            yield f"prompt: expected {short(self.prompt_is)}, found {short(prompt)}"
        if self.image is not None and self.image != bool(call.images):
            yield f"image: expected {'one' if self.image else 'none'}, found {len(call.images)}"
        if self.stream is not None and self.stream != call.stream:
            yield f"stream: expected {self.stream}, found {call.stream}"
        if self.json is not None and (told := _subset(self.json, call.request.json, "json")):
            yield told
        if self.path is not None and not _ends(self.path, call.request.path):
            yield f"path: expected {_shown(self.path)}, found {call.request.path!r}"
        if self.call is not None and self.call != ordinal:
            yield f"call: expected chat request {self.call}, this is number {ordinal}"
        if self.test is not None and not self.test(call):
            yield f"{getattr(self.test, '__name__', 'function')}(call) was false"
        if self.pattern is not None and not self.pattern.match(call.request.native):
            yield f"respx pattern: {self.pattern!r} does not match"


def condition(when: Any) -> When:
    """A `When` of what `play(when=…)` takes: a `When`, a dict of its fields, a function, a respx pattern."""
    if when is None:
        return _ALWAYS
    if isinstance(when, When):
        return when
    if isinstance(when, Mapping):
        known = {f.name for f in fields(When)}
        if unknown := [key for key in when if key not in known]:
            raise MatchError(f"when={{…}}: found {', '.join(map(repr, unknown))}, expected {', '.join(sorted(known))}")
        return When(**when)
    if _is_respx(when):
        return When(pattern=when)
    if callable(when):
        return When(test=when)
    raise MatchError(
        f"when={when!r}: expected a When, a dict such as {{'model': 'sora-2', 'prompt': 'a cat'}}, "
        "a function of a call, or a respx pattern"
    )


_ALWAYS = When()


def _is_respx(pattern: Any) -> bool:
    return hasattr(pattern, "match") and hasattr(pattern, "lookup")


def _is_text(expected: Any) -> bool:
    return isinstance(expected, str) or (isinstance(expected, re.Pattern) and isinstance(expected.pattern, str))


def _is(expected: Text, text: str) -> bool:
    return _any(expected, text, str.__eq__)


def _in(expected: Text, text: str) -> bool:
    return _any(expected, text, str.__contains__)


def _ends(expected: Text, path: str) -> bool:
    return _any(expected, path, str.endswith)


def _any(expected: Text, text: str, holds: Callable[[str, str], bool]) -> bool:
    """Whether a pattern is found in the text, or a plain text `holds`."""
    if isinstance(expected, str):
        return holds(text, expected)
    if isinstance(expected, re.Pattern):
        return expected.search(text) is not None
    return any(_any(one, text, holds) for one in expected)


def _subset(expected: Any, found: Any, at: str) -> str | None:
    """Where `found` is not what `expected` asks for."""
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            return f"{at}: expected an object, found {short(found)}"
        for key, value in expected.items():
            if key not in found:
                return f"{at}.{key}: expected {short(value)}, found no such key"
            if told := _subset(value, found[key], f"{at}.{key}"):
                return told
        return None
    if isinstance(expected, list | tuple) and isinstance(found, list) and len(expected) == len(found):
        differences = (_subset(*pair, f"{at}[{i}]") for i, pair in enumerate(zip(expected, found, strict=True)))
        return next((told for told in differences if told), None)
    if isinstance(expected, re.Pattern) and _is_text(expected):
        holds = isinstance(found, str) and expected.search(found) is not None
    elif callable(expected):
        holds = bool(expected(found))
    else:
        holds = expected == found and isinstance(expected, bool) == isinstance(found, bool)
    return None if holds else f"{at}: expected {_wanted(expected)}, found {short(found)}"


def _wanted(expected: Any) -> str:
    if isinstance(expected, re.Pattern):
        return _shown(expected)
    return f"what {getattr(expected, '__name__', 'a function')} holds for" if callable(expected) else short(expected)


def _shown(text: Text) -> str:
    if isinstance(text, str):
        return repr(text)
    return f"/{text.pattern}/" if isinstance(text, re.Pattern) else " or ".join(map(_shown, text))
