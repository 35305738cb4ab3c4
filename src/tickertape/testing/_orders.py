"""What a control call says, made into what Python says: scenarios, faults, conditions.

Everything that comes in is looked up in a list of what may come in. No name from
outside is ever an attribute, a path, or code.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from .._errors import TickertapeError
from ._errors import short
from ._gallery import find, project_folders
from .faults import Fault
from .scenario import Scenario
from .tape import Tape

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

T = TypeVar("T")

MOST = 1000
"""Of anything that is counted: polls, results, times. A relay polls a job some hundred times at most."""

_KINDS: dict[str, Callable[..., Scenario]] = {
    "image": Scenario.image,
    "video": Scenario.video,
    "audio": Scenario.audio,
}
STEPS: dict[str, Callable[..., Scenario]] = {
    "dialect": Scenario.dialect,
    "language": Scenario.language,
    "pace": Scenario.pace,
    "broken_fence": Scenario.broken_fence,
    "broken_echo": Scenario.broken_echo,
    "queue": Scenario.queue,
    "generate": Scenario.generate,
    "progress": Scenario.progress,
    "stall": Scenario.stall,
    "retry": Scenario.retry,
    "detached": Scenario.detached,
    "results": Scenario.results,
    "signed": Scenario.signed,
    "unlinked": Scenario.unlinked,
    "silent": Scenario.silent,
    "complete": Scenario.complete,
    "fail": Scenario.fail,
    "refuse": Scenario.refuse,
    "cut": Scenario.cut,
    "error": Scenario.error,
}
"""The chain's methods."""
FAULTS: dict[str, Callable[..., Fault]] = {
    "refused": Fault.refused,
    "unanswered": Fault.unanswered,
    "disconnect": Fault.disconnect,
    "reset": Fault.reset,
    "close": Fault.close,
    "end": Fault.end,
    "truncated_json": Fault.truncated_json,
    "late": Fault.late,
    "stall": Fault.stall,
    "drip": Fault.drip,
    "split_utf8": Fault.split_utf8,
    "malformed": Fault.malformed,
    "duplicate": Fault.duplicate,
    "reorder": Fault.reorder,
    "error_frame": Fault.error_frame,
    "status": Fault.status,
    "html": Fault.html,
    "sse": Fault.sse,
    "content_type": Fault.content_type,
}
WHEN: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "prompt": str,
    "prompt_is": str,
    "image": bool,
    "stream": bool,
    "json": dict,
    "path": str,
    "call": int,
}
"""The fields of a condition that can be told in JSON, and their types."""
_HOW_OFTEN = ("times", "optional", "when")


class OrderError(TickertapeError, ValueError):
    """A control call that cannot be done: says what was found, what is expected, and what to do."""


def played(body: dict[str, Any], folder: str | os.PathLike[str] | None) -> tuple[Tape | Scenario, dict[str, Any]]:
    """What `POST /play` puts on, and the named arguments of `play()`."""
    _known("play", body, ("tape", "scenario", "fault", *_HOW_OFTEN))
    if ("tape" in body) == ("scenario" in body):
        raise OrderError('play: expected one of "tape" and "scenario", such as {"tape": "sora-2/kite-festival"}')
    options = _how_often(body)
    if body.get("fault") is not None:
        options["fault"] = fault(body["fault"])
    if "scenario" in body:
        return scenario(body["scenario"]), options
    name = _typed("tape", body["tape"], str)
    # By `find` alone: a name from outside never becomes a path.
    return Tape.load(find(name, project_folders(folder))), options


def failed(body: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `fail()`."""
    _known("fail", body, ("status", "fault", "retry_after", "message", *_HOW_OFTEN))
    options = _how_often(body)
    if body.get("status") is not None:
        options["status"] = _typed("status", body["status"], int)
        if not 400 <= options["status"] <= 599:
            raise OrderError(f"status: expected an error, 400 to 599, found {options['status']}")
    if body.get("fault") is not None:
        options["fault"] = fault(body["fault"])
    if body.get("retry_after") is not None:
        options["retry_after"] = _one_line("retry_after", _typed("retry_after", body["retry_after"], (int, float, str)))
    if body.get("message") is not None:
        options["message"] = _typed("message", body["message"], str)
    return options


def scenario(told: Any) -> Scenario:
    """`{"kind": "image", "prompt": "a cat", "n": 2, "steps": [["progress", 14, 48], ["fail", "input_moderation"]]}`"""
    told = _typed("scenario", told, dict)
    _known("scenario", told, ("kind", "prompt", "n", "steps"))
    kind = told.get("kind", "image")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise OrderError(f"scenario.kind: expected one of {', '.join(_KINDS)}, found {short(kind)}")
    result = _made("scenario", _KINDS[kind], told.get("prompt", ""), _counted("scenario.n", told.get("n", 1)))
    for number, step in enumerate(_typed("scenario.steps", told.get("steps", []), list)):
        where = f"scenario.steps[{number}]"
        name, *arguments = [step] if isinstance(step, str) else _typed(where, step, list) or [None]
        if not isinstance(name, str) or name not in STEPS:
            raise OrderError(f"{where}: expected one of {', '.join(STEPS)}, found {short(name)}")
        for argument in arguments:
            if not isinstance(argument, str | int | float | None) or isinstance(argument, bool):
                raise OrderError(f"{where}: expected numbers and texts, found {short(argument)}")
            if name in ("queue", "generate", "retry", "results"):
                _counted(where, argument)
        if len(arguments) > MOST:
            raise OrderError(f"{where}: expected at most {MOST} numbers, found {len(arguments)}")
        result = _made(where, STEPS[name], result, *arguments)
    return result


def fault(told: Any) -> Fault:
    """`{"reset": {"frame": 3}}`, or `"refused"` for one without arguments."""
    if isinstance(told, str):
        told = {told: {}}
    if not isinstance(told, dict) or len(told) != 1:
        raise OrderError(
            f'fault: expected one name with its arguments, such as {{"reset": {{"frame": 3}}}}, found {short(told)}'
        )
    ((name, arguments),) = told.items()
    if name not in FAULTS:
        raise OrderError(f"fault: expected one of {', '.join(FAULTS)}, found {short(name)}")
    parameters = inspect.signature(FAULTS[name]).parameters
    given = {}
    for key, value in _typed(f"fault.{name}", arguments, dict).items():
        if key not in parameters:
            expected = ", ".join(parameters) or "no arguments"
            raise OrderError(f"fault.{name}: expected {expected}, found {short(key)}")
        place = isinstance(value, list) and key == "event" and [type(v) for v in value] == [str, int]
        if not place and not isinstance(value, str | int | float | None):
            raise OrderError(f"fault.{name}.{key}: expected a number or a text, found {short(value)}")
        given[key] = tuple(value) if place else value
        if key in ("retry_after", "value"):  # these become headers
            _one_line(f"fault.{name}.{key}", value)
    return _made(f"fault.{name}", FAULTS[name], **given)


def _how_often(body: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if "times" in body:
        options["times"] = None if body["times"] is None else _counted("times", body["times"])
    if "optional" in body:
        options["optional"] = _typed("optional", body["optional"], bool)
    if body.get("when") is not None:
        when = _typed("when", body["when"], dict)
        _known("when", when, WHEN)
        options["when"] = {key: _typed(f"when.{key}", value, WHEN[key]) for key, value in when.items()}
    return options


def _made(where: str, make: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """What a method makes of arguments from outside, its errors told with the place they are at."""
    try:
        return make(*arguments, **named)
    except TickertapeError as error:
        raise OrderError(f"{where}: {error}") from error
    except (TypeError, ValueError) as error:
        told = str(error).replace(f"{getattr(make, '__qualname__', '')}()", "it")
        raise OrderError(f"{where}: {told}; see /__tickertape__/openapi.json") from error


def _known(where: str, body: dict[str, Any], names: Iterable[str]) -> None:
    if unknown := [key for key in body if key not in names]:
        raise OrderError(f"{where}: expected {', '.join(names)}, found {', '.join(map(short, unknown[:5]))}")


def _typed(where: str, value: Any, expected: Any) -> Any:
    types = expected if isinstance(expected, tuple) else (expected,)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = " or ".join(_JSON[each] for each in types)
        raise OrderError(f"{where}: expected {names}, found {short(value)}")
    return value


_JSON = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "an array",
}


def _counted(where: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise OrderError(f"{where}: expected a whole number up to {MOST}, found {short(value)}")
    return value


def _one_line(where: str, value: Any) -> Any:
    if isinstance(value, str) and not value.isprintable():
        raise OrderError(f"{where}: expected one line, for it becomes a header; found {short(value)}")
    return value
