"""Why something failed: from words, codes and HTTP statuses to one category."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ._quotes import unquoted
from .task import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .grammar import Grammar
    from .task import Category

# Message words in the order in which they win.
_CATEGORIES: tuple[tuple[str, Category], ...] = (
    ("MODERATION", "moderation"),
    ("OVERLOADED", "overloaded"),
    ("QUOTA", "quota"),
    ("RATE_LIMIT", "rate_limit"),
    ("AUTH", "auth"),
    ("NOT_FOUND", "not_found"),
    ("INVALID_REQUEST", "invalid_request"),
    ("TIMEOUT", "timeout"),
    ("UPSTREAM", "upstream"),
)

_STATUSES: dict[int, Category] = {
    400: "invalid_request",
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    408: "timeout",
    413: "invalid_request",
    422: "invalid_request",
    429: "rate_limit",
}


_CHAIN = 64
"""Relays behind one another; two have been seen."""
_LOOKED_AT = 2000
"""Characters of a message whose words are looked for: a relay's reason is a sentence, an endless one must not cost."""


def _by_status(status: int | None) -> Category | None:
    if status is not None and 500 <= status <= 599:
        return "upstream"
    return _STATUSES.get(status or 0)


class Failures:
    """Reads what failures say, by the words of one grammar."""

    def __init__(self, grammar: Grammar) -> None:
        # A task may be asked for at every delta of a long message, whose head stays the same.
        self._tokens = lru_cache(8)(lambda text: tuple(grammar.tokens("message_words", text)))

    def told(self, failure_word: str, reason: str) -> TaskError:
        """A failure told in the text itself, by its word and what follows it."""
        message = unquoted(self._without_request_id(reason)) or failure_word
        word = message.replace("_", "")
        code = message if word.isascii() and word.isalpha() and message.islower() else None
        category = self.category(message, None, None)
        if category == "unknown":
            category = self.category(failure_word, None, None)
        return TaskError(category, code, message)

    def text_only(self, prose: str) -> TaskError:
        return TaskError("text_only", None, self._without_request_id(prose))

    def error(self, message: str | None, code: str | None, status: int | None = None) -> TaskError:
        """A failure told in fields."""
        if message is not None:
            message = self._without_request_id(message)
        return TaskError(self.category(message, code, status), code, message)

    def body(self, error: Any, status: int | None = None) -> TaskError | None:
        """An `error` as gateways write it: an object, a string; None for a harmless one."""
        if isinstance(error, str):
            return self.error(error, None, status) if error.strip() else None
        if not isinstance(error, dict):
            return None
        message, code = error.get("message"), error.get("code")
        if not isinstance(message, str) or not message.strip():
            message = next(
                (v for k in ("msg", "detail", "reason", "error") if isinstance(v := error.get(k), str) and v), None
            )
        kind = error.get("type")
        if code in (200, "200", "success", "ok") or (code in (0, "0", None, "") and not kind and message is None):
            return None
        own = error.get("status_code", error.get("statusCode", error.get("status")))
        if status is None or status < 400:
            status = own if isinstance(own, int) else code if isinstance(code, int) else status
        named = code if isinstance(code, str) and code else kind if isinstance(kind, str) and kind else None
        return self.error(message, named, status)

    def category(self, message: str | None, code: str | None, status: int | None) -> Category:
        """By the message's words, then the code, then the HTTP status."""
        by_code: Category | None = None
        for text in (message, code):
            for category in self._categories(text or ""):
                if text is message:
                    return category
                by_code = by_code or category
        by_status = _by_status(status)
        # `invalid_request_error` is what gateways call whatever they refuse, a bad key too.
        if by_code == "invalid_request":
            return by_status or by_code
        return by_code or by_status or "unknown"

    def _categories(self, text: str) -> Iterator[Category]:
        found = self._tokens(text[:_LOOKED_AT])
        names = {name for name, _ in found}
        yield from (category for name, category in _CATEGORIES if name in names)
        for at, (name, word) in enumerate(found):
            if name == "NUMBER" and len(word) == 3 and (category := _by_status(int(word))) and _stands_alone(found, at):
                yield category

    def _without_request_id(self, message: str) -> str:
        """Gateways of the one-api family append `(request id: …)`; it says nothing of the failure."""
        message = message.strip()
        for _ in range(_CHAIN):  # each relay of a chain appends its own
            if not message.endswith((")", "）")):
                break
            end = message[-_LOOKED_AT:]
            words = [word for name, word in self._tokens(end) if name == "REQUEST_ID"]
            if not words:
                break
            message = message[: message.rindex(words[-1])].rstrip()
        return message


def _stands_alone(found: Sequence[tuple[str, str]], at: int) -> bool:
    """Whether a number may be an HTTP status: no size (500x500), no part of a name or sum, and it counts nothing."""
    before = found[at - 1][1][-1] if at else " "
    after = [word for _, word in found[at + 1 : at + 3]] + [" ", " "]
    if before in "_.-/xX×*" or after[0][0] in "_%/×*" or (after[0][0].isascii() and after[0][0].isalpha()):
        return False
    follows = at + 2 if after[0] == " " else at + 1
    return follows >= len(found) or found[follows][0] != "UNIT"
