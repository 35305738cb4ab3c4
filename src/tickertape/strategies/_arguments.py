"""Arguments of strategies, checked when the strategy is made."""

from __future__ import annotations

from difflib import get_close_matches
from math import isfinite
from typing import TYPE_CHECKING, Any

from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def chosen(
    name: str, given: str | Iterable[str] | None, known: Sequence[str], *, empty: bool = False
) -> tuple[str, ...]:
    """Those of the known words that are valid, in their own order: all of them for None."""
    if given is None:
        return tuple(known)
    try:
        words = [given] if isinstance(given, str) else list(given)
    except TypeError:
        raise InvalidArgument(f"{name}={given!r}: expected some of {', '.join(known)}") from None
    for word in words:
        if word not in known:
            near = get_close_matches(str(word), known, 1, 0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InvalidArgument(f"{name}={given!r}: there is no {word!r}; {hint}use some of {', '.join(known)}")
    if not words and not empty:
        raise InvalidArgument(f"{name}={given!r}: nothing is left to draw; use some of {', '.join(known)}")
    return tuple(word for word in known if word in words)


def whole(name: str, value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArgument(f"{name}={value!r}: expected a whole number, {least} or more")
    return value


def seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
        raise InvalidArgument(f"{name}={value!r}: expected seconds, more than 0")
    return float(value)


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(f"{name}={value!r}: expected True or False")
    return value


def strategy(name: str, value: Any) -> SearchStrategy[Any]:
    if not isinstance(value, SearchStrategy):
        raise InvalidArgument(f"{name}={value!r}: expected a strategy, such as st.just({value!r})")
    return value
