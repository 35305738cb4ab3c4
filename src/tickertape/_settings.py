"""What decides how a test's relay is set up: option, environment, marker, ini file; `plugin.py` tells in which order.

Imported when a test has a relay or a marker, or where the environment or the ini file says something.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from .plugin import ARGUMENTS, MODES, no_mode

if TYPE_CHECKING:
    from collections.abc import Callable


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


_EXPECTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "tape": ("the name of a tape, a Tape, a Scenario, or a list of these", lambda value: value is not None),
    "record": (f"one of {', '.join(MODES)} (what vcrpy calls 'all' is rewrite)", lambda value: value in MODES),
    "base_url": (
        "a URL, or None for any",
        lambda value: value is None or (isinstance(value, str) and "://" in value),
    ),
    "tapes": ("a folder", lambda value: isinstance(value, str | os.PathLike)),
    "speed": (
        "a number above 0, or None for virtual time",
        lambda value: value is None or ((_whole(value) or isinstance(value, float)) and value > 0),
    ),
    "seed": ("an integer", _whole),
    "strict": ("True or False", _flag),
    "validate": ("True or False", _flag),
    "allow_hosts": (
        "a list of 'host' or 'host:port'",
        lambda value: isinstance(value, list | tuple | set) and all(isinstance(host, str) for host in value),
    ),
    "patch_time": ("True or False", _flag),
}
"""Of each argument of the marker, what is expected and whether a value is that."""

_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def options(item: pytest.Item) -> dict[str, Any]:
    """Arguments of FakeRelay, and `tape` and `record`, by the precedence in the plugin's head."""
    config = item.config
    decided = {
        "tapes": config.getini("tickertape_tapes"),
        "strict": config.getini("tickertape_strict"),
        **marked(item),
        **environment(config),
    }
    decided["tapes"] = config.rootpath / decided["tapes"]  # the environment's is absolute already
    if (seed := config.getoption("--tickertape-seed")) is not None:
        decided["seed"] = seed
    return decided


def mode(config: pytest.Config, marked: str | None) -> str:
    """What is recorded. In CI a marker cannot make a run record that would not without it."""
    asked: str | None = config.getoption("--tickertape-record") or os.environ.get("TICKERTAPE_RECORD")
    if asked:
        return asked
    ini = str(config.getini("tickertape_record"))
    if marked is not None and _WORDS.get((ci := os.environ.get("CI", "")).lower(), bool(ci)):
        return min(marked, ini, key=MODES.index)
    return marked or ini


def marked(item: pytest.Item) -> dict[str, Any]:
    """The arguments of all markers of a test, the nearest winning. Fails the test where they are wrong."""
    given: dict[str, Any] = {}
    for marker in item.iter_markers("tickertape"):
        if wrong := _wrong(marker):
            pytest.fail(f"@pytest.mark.tickertape: {wrong}", pytrace=False)
        given = {**marker.kwargs, **given}
    return given


def _wrong(marker: pytest.Mark) -> str | None:
    """What is wrong with a marker's arguments, if anything is."""
    expected = ", ".join(f"{name}=" for name in ARGUMENTS)
    if marker.args:
        return f"found {', '.join(map(repr, marker.args))} without a name; name it, one of {expected}"
    for name, value in marker.kwargs.items():
        if name not in _EXPECTED:
            return f"there is no argument {name}=; use {expected}"
        wanted, is_that = _EXPECTED[name]
        if not is_that(value):
            return f"{name}={value!r}: expected {wanted}"
    return None


def environment(config: pytest.Config) -> dict[str, Any]:
    """What the environment decides. Raises `pytest.UsageError` for what it, or the ini file, misspells."""
    decided: dict[str, Any] = {}
    if tapes := os.environ.get("TICKERTAPE_TAPES"):
        decided["tapes"] = config.invocation_params.dir / tapes
    if strict := os.environ.get("TICKERTAPE_STRICT"):
        if strict.lower() not in _WORDS:
            raise pytest.UsageError(f"TICKERTAPE_STRICT={strict!r}: expected 1 or 0")
        decided["strict"] = _WORDS[strict.lower()]
    for where, asked in (
        ("TICKERTAPE_RECORD", os.environ.get("TICKERTAPE_RECORD") or "none"),
        ("tickertape_record", str(config.getini("tickertape_record"))),
    ):
        if asked not in MODES:
            raise pytest.UsageError(f"{where}={asked!r}: {no_mode(asked)}")
    if seed := os.environ.get("TICKERTAPE_SEED"):
        try:
            decided["seed"] = int(seed)
        except ValueError:
            raise pytest.UsageError(f"TICKERTAPE_SEED={seed!r}: expected an integer") from None
    return decided
