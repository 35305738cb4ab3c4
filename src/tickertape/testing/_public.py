"""What a request may be shown as: without keys, cookies and signatures.

By the redactor's own rules, of secrets only: who the user is, and the pictures that were
sent, are what a test asks about. What goes by a secret's name is one here however short.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from ._rewrite import Passage
from ._secrets import RULES, Rule, _named_as
from .redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._wire import Request

_NO_SECRETS = frozenset({"account", "address", "email", "image", "user"})
"""Families of what is private, and opens nothing."""


def public(*requests: Request) -> list[Request]:
    """The requests without secrets, those of the one taken out of the others too.

    A header that held one is `REDACTED`; elsewhere it is what the redactor puts in its place.
    """
    redactor = Redactor(_rules())
    for request in requests:
        redactor.learn(request)
    return [_shown(request, redactor.redact(request)) for request in requests]


def _shown(request: Request, redacted: Request) -> Request:
    headers = zip(request.headers.items(), redacted.headers.values(), strict=True)
    return replace(redacted, headers={name: new if new == old else "REDACTED" for (name, old), new in headers})


@cache
def _rules() -> tuple[Rule, ...]:
    return (Rule("named", _named, "key"), *(rule for rule in RULES if rule.family not in _NO_SECRETS))


def _named(text: str) -> Iterator[tuple[int, int]]:
    if isinstance(text, Passage) and text.kind in ("header", "query", "json"):
        named = _named_as(text.kind, text.name)
        if named is not None and named.family not in _NO_SECRETS:
            yield 0, len(text)
