"""Rules of your own for the redactor, as data: `[[tool.tickertape.redact]]` in `pyproject.toml`.

    [[tool.tickertape.redact]]
    name = "tenant"                   # what findings call it
    pattern = 'tenant-([a-z0-9]+)'    # the group `secret`, else the first, else all of it is the secret
    family = "tenant"                 # placeholders are REDACTED-tenant-1; "secret" where it is left out
    side = "response"                 # or "request"; both where it is left out

    [[tool.tickertape.redact]]
    name = "invoice"
    function = "shop.secrets:invoices"    # gets a text, returns spans of secrets in it: (start, end)

A function is imported as from the folder of the file, which is code of the project: only
what records, verifies and imports tapes asks for it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import TickertapeError
from ._secrets import Rule

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

_KEYS = ("name", "pattern", "function", "family", "side")


class ConfigError(TickertapeError, ValueError):
    """A `[tool.tickertape]` that cannot be read, or does not say what it has to."""


def own_rules(where: str | os.PathLike[str] = ".") -> tuple[Rule, ...]:
    """The rules of a TOML file, or of the nearest `pyproject.toml` from a folder upwards that has `[tool.tickertape]`.

    None, where there is no such file. Raises `ConfigError`.
    """
    start = Path(where).absolute()
    if not start.is_dir():
        return _rules(start, _table(start))
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if path.is_file() and (table := _table(path)):
            return _rules(path, table)
    return ()


def _table(path: Path) -> dict[str, Any]:
    try:
        tools = tomllib.loads(path.read_text("utf-8")).get("tool", {})
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a TOML file that has [[tool.tickertape.redact]]") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise ConfigError(f"{path}: no TOML: {error}") from error
    table = tools.get("tickertape", {}) if isinstance(tools, dict) else {}
    return table if isinstance(table, dict) else {"redact": table}


def _rules(path: Path, table: dict[str, Any]) -> tuple[Rule, ...]:
    for key in table:
        if key != "redact":
            raise ConfigError(f"{path}: [tool.tickertape] has {key!r}; expected [[tool.tickertape.redact]] alone")
    entries = table.get("redact", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path}: tool.tickertape.redact: expected [[tool.tickertape.redact]], a table for each rule")
    return tuple(_rule(path, number, entry) for number, entry in enumerate(entries, 1))


def _rule(path: Path, number: int, entry: dict[str, Any]) -> Rule:
    at = f"{path}: [[tool.tickertape.redact]] {number}"
    for key, value in entry.items():
        if key not in _KEYS:
            raise ConfigError(f"{at}: unknown key {key!r}; expected {', '.join(_KEYS)}")
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{at}: {key} = {value!r}; expected a text")
    if "name" not in entry:
        raise ConfigError(f'{at}: has no name; expected name = "tenant", what findings call it')
    at = f"{at} ({entry['name']})"
    if ("pattern" in entry) == ("function" in entry):
        raise ConfigError(f"{at}: expected one of pattern, a regular expression, and function, 'module:name'")
    if entry.get("side", "request") not in ("request", "response"):
        raise ConfigError(f"{at}: side = {entry['side']!r}; expected 'request', 'response', or none for both")
    find: Any = entry["pattern"] if "pattern" in entry else _function(at, path.parent, entry["function"])
    try:
        return Rule(entry["name"], find, entry.get("family", "secret"), entry.get("side"), str(path))
    except re.error as error:
        raise ConfigError(f"{at}: pattern = {entry['pattern']!r} is no regular expression: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{at}: {error}") from error


def _function(at: str, folder: Path, name: str) -> Callable[[str], Any]:
    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(folder))
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # importing runs the project's code: whatever it raises, this is where
        raise ConfigError(
            f"{at}: function = {name!r} cannot be imported from {folder}: {type(error).__name__}: {error}; "
            "expected 'module:name'"
        ) from error
    finally:
        sys.path.remove(str(folder))
    if not callable(found):
        raise ConfigError(f"{at}: function = {name!r} is {type(found).__name__}; expected what can be called")
    return _checked(at, name, found)


def _checked(at: str, name: str, function: Callable[[str], Any]) -> Callable[[str], Any]:
    """The function, with what it raises, or returns that is no spans, told by the rule's place in the file."""

    def find(text: str) -> list[tuple[int, int]]:
        wanted = "expected an iterable of (start, end), such as [(0, 8)], and [] for nothing"
        try:
            found = function(text)
            spans = found if found is None or isinstance(found, str) else list(found)
        except Exception as error:  # the project's own code: whatever it raises, this is where
            raise ConfigError(f"{at}: function = {name!r} raised {type(error).__name__}: {error}; {wanted}") from error
        if not isinstance(spans, list):
            raise ConfigError(f"{at}: function = {name!r} returned {_kind(spans)}; {wanted}")
        for span in spans:
            if not (isinstance(span, tuple | list) and len(span) == 2 and all(type(place) is int for place in span)):
                raise ConfigError(f"{at}: function = {name!r} returned {_kind(span)} among its spans; {wanted}")
            if not 0 <= span[0] <= span[1] <= len(text):
                raise ConfigError(
                    f"{at}: function = {name!r} returned {tuple(span)} for a text of {len(text)}; "
                    "expected places in it, from 0 to its length"
                )
        return [(start, end) for start, end in spans]

    return find


def _kind(value: object) -> str:
    """What a value is, and not what it says: that may be the secret itself."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {', '.join(type(each).__name__ for each in value) or 'nothing'}"
    return "None" if value is None else f"a value of type {type(value).__name__}"
