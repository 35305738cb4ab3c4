"""Redaction: no secret reaches a tape, and what is left of a tape reads as before.

    redactor = Redactor()
    tape = redactor.redact(tape)            # the same secret gets the same placeholder everywhere
    findings = Redactor().scan(tape)        # nothing, now

Two passes: secrets are first looked for in every text (by the shapes and names in
`RULES`, also where a text is written with escapes of URLs, JSON or HTML, or in base64),
then they are replaced in all forms in all texts, of all interactions. Placeholders are
numbered as secrets come into sight, and not made of them: a hash of a short secret can
be guessed. They hold only characters that need no escape anywhere:

    REDACTED-key-1    user-1@redacted.invalid    990000001 (a JSON number)
    data:image/png;base64,REDACTED-image-1-sha256-0123456789abcdef-48213   (16 hex digits, bytes)

Pictures, films and sound in base64 are not looked into; those of answers stay.

What holds `REDACTED` is never a finding, and is left as it is: redacting twice is
redacting once. A redactor keeps the secrets it has seen, in memory only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from ._facts import Interaction
from ._own_rules import ConfigError, own_rules
from ._rewrite import Passage, opaque, rewrite_reply, rewrite_request
from ._secrets import RULES, Rule, media
from ._spans import apply, decode_any
from ._wire import Reply, Request, head_of
from .tape import Tape

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ._spans import Edit

__all__ = ["RULES", "ConfigError", "Finding", "Redactor", "Rule"]

Item = TypeVar("Item", str, Request, Reply, Interaction, Tape)

_PLACEHOLDER = re.compile(r"REDACTED-([a-z]+)-(\d{1,9})|(?:^|\b)user-(\d{1,9})@redacted\.invalid")
_LONGEST = 64
"""Characters of a placeholder, or more."""
_NUMBERS = 990_000_000
"""Placeholders of JSON numbers begin here."""
_LAYERS = 3
"""How often a text is decoded: a URL in a URL in a JSON string."""
_SHORTEST = 8
"""Characters of a secret that is replaced wherever it stands; shorter ones only where a rule finds them."""
_LONG = 256
"""Characters of a picture in base64 that no other rule is asked about."""
_WHOLE_WORDS = 16
"""Shorter secrets are replaced only between characters that are no letters and digits."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret that is left."""

    rule: str
    """The name of the rule; `compressed` for a body that cannot be looked into."""
    where: str
    """`interaction 2: response frame 3 $.error.message`"""
    excerpt: str
    """The text around it, secrets masked."""


class _Match(NamedTuple):
    start: int
    end: int
    rule: Rule
    secret: str
    """Without escapes: what tells whether two places hold the same."""


class _Secret(NamedTuple):
    rule: Rule
    number: int


class _Needle(NamedTuple):
    secret: str
    is_base64: bool


class Redactor:
    """Replaces secrets by placeholders. Linear in the size of what it is given, times the secrets in it.

    `extra` are rules of your own, tried before `rules`: `Rule("tenant", r"tenant-\\d+")`;
    `Redactor.configured()` has those that `pyproject.toml` tells.
    """

    def __init__(self, rules: Iterable[Rule] = RULES, extra: Iterable[Rule] = ()) -> None:
        self.rules: tuple[Rule, ...] = (*extra, *rules)
        self._secrets: dict[str, _Secret] = {}
        self._needles: dict[str, _Needle] = {}  # by how a secret may be written
        self._numbers: Counter[str] = Counter()  # the last one given, by family
        self._seen: dict[tuple[str, ...], list[_Match]] = {}
        self._within: dict[str, Rule] = {}  # secrets that were found as a part of longer ones

    @classmethod
    def configured(cls, where: str | os.PathLike[str] = ".") -> Redactor:
        """One with the project's own rules: `[[tool.tickertape.redact]]` of a file, or of a folder's `pyproject.toml`.

        Raises `ConfigError`. A function that such a rule names is imported.
        """
        return cls(extra=own_rules(where))

    @property
    def seen(self) -> int:
        """How many secrets it has seen."""
        return sum(secret.number > 0 for secret in self._secrets.values())

    def __repr__(self) -> str:
        return f"<Redactor with {len(self.rules)} rules and {self.seen} secrets seen>"

    def redact(self, item: Item) -> Item:
        """The same without secrets: a tape, an interaction, a request, a reply, or text (content).

        What held none is returned as it is. Secrets of earlier calls are replaced too.
        """
        self.learn(item)
        redacted = _rewrite(item, lambda passage: [self._edit(passage, match) for match in self._find(passage)])
        self._seen.clear()
        return cast("Item", redacted)

    def learn(self, item: str | Request | Reply | Interaction | Tape) -> None:
        """See the secrets of an item that is redacted later, so that others are already without them."""
        passages = list(_passages(item))
        for passage in passages:
            for placeholder in _PLACEHOLDER.finditer(_without_media(passage)[0]):
                family, number = placeholder[1] or "email", int(placeholder[2] or placeholder[3])
                self._numbers[family] = max(self._numbers[family], number)
        for passage in passages:
            for match in self._match(passage):
                self._add(match.secret, match.rule)
        for secret, rule in self._within.items():
            self._add(secret, rule, is_part=True)
        self._within.clear()

    def scan(self, item: str | Request | Reply | Interaction | Tape) -> list[Finding]:
        """What `redact` would replace, in order, and bodies that it cannot look into."""
        scanner = Redactor(self.rules)
        scanner._secrets, scanner._needles = dict(self._secrets), dict(self._needles)
        scanner.learn(item)
        findings = []
        told: set[str] = set()
        for passage in _passages(item):
            matches = scanner._find(passage)
            if passage.again:  # what is new in it
                matches = [match for match in matches if match.secret not in told]
            told.update(match.secret for match in matches)
            masked = [(match.start, match.end, f"•••({match.end - match.start})") for match in matches]
            for number, match in enumerate(matches):
                before = apply(passage[: match.start], masked[:number])[-24:]
                rest = [(start - match.end, end - match.end, mask) for start, end, mask in masked[number + 1 :]]
                after = apply(passage[match.end :], rest)[:24]
                excerpt = " ".join(f"{before}{masked[number][2]}{after}".split())
                findings.append(Finding(match.rule.name, passage.where, excerpt))
        return findings + [Finding("compressed", where, why) for where, why in _unread(item)]

    # -- secrets -----------------------------------------------------------------------

    def _add(self, secret: str, rule: Rule, *, is_part: bool = False) -> None:
        """A part of a longer one gets its number when it is met alone."""
        known = self._secrets.get(secret)
        if known and (known.number or is_part):
            return
        self._numbers[rule.family] += not is_part
        self._secrets[secret] = _Secret(rule, 0 if is_part else self._numbers[rule.family])
        if known:
            return
        # In a query a space is written as `+`; all other escapes are decoded before a text is searched.
        if rule.family == "image":
            self._needles.setdefault(secret, _Needle(secret, False))
            return
        for written in dict.fromkeys((secret, secret.replace(" ", "+"), *_passwords(secret))):
            kinds = sum(bool(re.search(kind, written)) for kind in ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]"))
            if len(written) >= _WHOLE_WORDS or (len(written) >= _SHORTEST and kinds > 1):
                self._needles.setdefault(written, _Needle(secret, False))
                for core in _base64_cores(written):
                    self._needles.setdefault(core, _Needle(secret, True))

    def _edit(self, passage: Passage, match: _Match) -> Edit:
        secret = self._secrets[match.secret]
        if not secret.number:
            self._add(match.secret, secret.rule)
            secret = self._secrets[match.secret]
        family, number = secret.rule.family, str(secret.number)
        if passage.kind == "number" or _is_number(passage, match.start, match.end):
            new = str(_NUMBERS + secret.number)
        elif family == "email":
            new = f"user-{number}@redacted.invalid"
        elif family == "image":
            data = _unbase64(match.secret) or _utf8(match.secret)
            new = f"REDACTED-image-{number}-sha256-{hashlib.sha256(data).hexdigest()[:16]}-{len(data)}"
        else:
            new = f"REDACTED-{family}-{number}"
        return match.start, match.end, new

    # -- finding -----------------------------------------------------------------------

    def _find(self, passage: Passage) -> list[_Match]:
        """What the rules find, and all that was seen before; sorted, without overlaps."""
        matches = [*self._match(passage)]
        for start, end in media(passage) if self._needles else ():
            if known := self._needles.get(passage[start:end]):
                matches += _at(passage, start, end, self._secrets[known.secret].rule, known.secret)
        for layer, offsets in _layers(passage) if self._needles else ():
            for written, needle in self._needles.items():
                if written in layer:
                    rule = self._secrets[needle.secret].rule
                    for start, end in _occurrences(layer, written, is_base64=needle.is_base64):
                        matches += _at(passage, offsets[start], offsets[end], rule, needle.secret)
        return _merged(matches)

    def _match(self, passage: Passage) -> list[_Match]:
        """What the rules find."""
        key = (passage, passage.kind, passage.name, passage.also, passage.side)
        if key not in self._seen:
            matches: list[_Match] = []
            pictures = [rule for rule in self.rules if rule.family == "image" and rule.side in (None, passage.side)]
            for rule in pictures:  # these alone look into media
                for start, end in rule.find(passage):
                    matches += _at(passage, start, end, rule)
            taken = [(match.start, match.end) for match in matches if match.end - match.start >= _LONG]
            for layer, offsets in _layers(passage, taken):
                for rule in self.rules:
                    for start, end in rule.find(layer):
                        matches += _at(passage, offsets[start], offsets[end], rule)
                for start, end, text in _tokens(layer):
                    for inside, _ in _layers(Passage.of(text, "text", "", passage.side, passage.where)):
                        for rule in self.rules:
                            for first, last in rule.find(inside):
                                matches += _at(passage, offsets[start], offsets[end], rule, inside[first:last])
            self._seen[key] = merged = _merged(matches)
            whole = {match.secret for match in merged}
            self._within.update((match.secret, match.rule) for match in matches if match.secret not in whole)
        return self._seen[key]


_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|[\"\\/bfnrt])|%[0-9A-Fa-f]{2}")


def _at(passage: str, start: int, end: int, rule: Rule, secret: str = "") -> Iterator[_Match]:
    """A match at a place of the original text; none where it is a placeholder, or touches one."""
    run = passage[max(0, start - 64) : start]
    backslashes = len(run) - len(run.rstrip("\\"))
    for before in (1, 2):  # letters and digits at the start may belong to an escape: it stays whole
        escape = _ESCAPE.match(passage, start - before) if start >= before else None
        if escape and escape.end() > start and (escape[0][0] == "%" or backslashes % 2):
            start = escape.end()
    found = passage[start:end]
    is_number = re.fullmatch(r"9900\d{5}", found) and (
        (isinstance(passage, Passage) and passage.kind == "number") or _is_number(passage, start, end)
    )
    near = _PLACEHOLDER.finditer(passage, max(0, start - _LONGEST), end + _LONGEST)
    is_part = any(placeholder.start() < end and start < placeholder.end() for placeholder in near)
    is_mark = is_number or is_part or any(mark in found for mark in ("REDACTED", "redacted.invalid"))
    if start < end and not is_mark:
        yield _Match(start, end, rule, secret or _unescaped(found))


_BARE = re.compile(r"[\"'][ \t\r\n]{0,8}:[ \t\r\n]{0,8}$")


def _is_number(passage: str, start: int, end: int) -> bool:
    """Whether a place is a number of JSON inside of a text: what stands there instead is a number too."""
    if end - start > 24 or not re.fullmatch("-?[0-9]+", passage[start:end]):
        return False
    return bool(_BARE.search(_unescaped(passage[max(0, start - 48) : start])))


def _unescaped(text: str) -> str:
    """The text with all layers of escapes off."""
    for _ in range(_LAYERS):
        decoded, _ = decode_any(text)
        if decoded == text:
            break
        text = decoded
    return text


def _merged(matches: Iterable[_Match]) -> list[_Match]:
    """Sorted; what overlaps is one, and is called after its longest part."""
    merged: list[_Match] = []
    longest = 0
    for match in sorted(matches, key=lambda match: (match.start, -match.end)):
        if not merged or match.start >= merged[-1].end:
            merged.append(match)
            longest = match.end - match.start
            continue
        last = merged[-1]
        if match.end - match.start > longest:
            longest = match.end - match.start
            last = last._replace(rule=match.rule, secret=match.secret)
        merged[-1] = last._replace(end=max(last.end, match.end))
    return merged


def _without_media(text: str, spans: Iterable[tuple[int, int]] = ()) -> tuple[str, Sequence[int]]:
    """The text with one character in place of each medium and of each span, and places of it in the text."""
    cuts = sorted({*media(text), *spans})
    if not cuts:
        return text, range(len(text) + 1)
    pieces: list[str] = []
    places: list[int] = []
    at = 0
    for start, end in cuts:
        if start >= at:
            pieces += text[at:start], "\N{OBJECT REPLACEMENT CHARACTER}"
            places += range(at, start + 1)
            at = end
    return "".join([*pieces, text[at:]]), [*places, *range(at, len(text) + 1)]


def _layers(text: str, spans: Iterable[tuple[int, int]] = ()) -> list[tuple[Any, Sequence[int]]]:
    """The text, and what it is when its escapes are decoded once, twice…, each with places in the text.

    Media are left out, and so are `spans`.
    """
    short, whole = _without_media(text, spans)
    if isinstance(text, Passage) and short is not text:
        short = Passage.of(short, text.kind, text.name, text.side, text.where, text.also)
    layers: list[tuple[str, Sequence[int]]] = [(short, whole)]
    for _ in range(_LAYERS):
        last, places = layers[-1]
        decoded, offsets = decode_any(last)
        if decoded == last:
            break
        if isinstance(text, Passage):
            decoded = Passage.of(decoded, text.kind, text.name, text.side, text.where, text.also)
        layers.append((decoded, [places[offset] for offset in offsets]))
    return layers


def _occurrences(text: str, needle: str, *, is_base64: bool) -> Iterator[tuple[int, int]]:
    at = text.find(needle)
    while at >= 0:
        start, end = at, at + len(needle)
        if is_base64:  # what is encoded with it goes too: half a token decodes to nothing
            while start > 0 and text[start - 1] in _ALPHABET:
                start -= 1
            while end < len(text) and text[end] in _ALPHABET:
                end += 1
            yield start, end
        elif len(needle) >= _WHOLE_WORDS or not (_is_word(text[start - 1 : start]) or _is_word(text[end : end + 1])):
            yield start, end
        at = text.find(needle, end)


def _is_word(character: str) -> bool:
    return character.isascii() and character.isalnum()


# -- base64 -----------------------------------------------------------------------------

_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-=")
_TOKEN = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{20,65536}+={0,2}")


def _unbase64(text: str) -> bytes | None:
    try:
        text = text.replace("-", "+").replace("_", "/").rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


_DEEPEST = 2
"""How often base64 is decoded."""


def _tokens(text: str, depth: int = 1) -> Iterator[tuple[int, int, str]]:
    """Words that are base64 of a text, with it; and with the texts that are base64 in it."""
    for match in _TOKEN.finditer(text):
        try:
            decoded = (_unbase64(match[0]) or b"").decode()
        except UnicodeDecodeError:
            continue
        if decoded and decoded.translate(_LINES).isprintable():
            yield match.start(), match.end(), decoded
            if depth < _DEEPEST:
                yield from ((*match.span(), inside) for _, _, inside in _tokens(decoded, depth + 1))


_LINES = dict.fromkeys(map(ord, "\n\r\t"), " ")


def _base64_cores(secret: str) -> Iterator[str]:
    """What base64 of any text that holds the secret holds, by where in a group of three bytes it begins."""
    data = _utf8(secret)
    for before, borrowed in ((0, 0), (1, 2), (2, 3)):
        whole = (before + len(data)) * 8 // 6
        core = base64.b64encode(bytes(before) + data).decode()[borrowed:whole]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def _utf8(text: str) -> bytes:
    """Lone surrogates are bytes that were no UTF-8, or halves of a pair, which JSON may hold."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _passwords(secret: str) -> list[str]:
    """Of Basic authorization: what it says, and the password in it."""
    try:
        said = (_unbase64(secret) or b"").decode()
    except UnicodeDecodeError:
        return []
    return [said, said.partition(":")[2]] if ":" in said and said.isprintable() else []


# -- items ------------------------------------------------------------------------------


def _rewrite(item: Any, edits: Callable[[Passage], Iterable[Edit]], prefix: str = "") -> Any:
    """The item with the edits made in all of its texts."""

    def ask(text: str) -> Iterable[Edit]:
        passage = text if isinstance(text, Passage) else Passage.of(text, "text", "", "response", "text")
        passage.where = prefix + passage.where
        return edits(passage)

    if isinstance(item, str):
        return apply(item, ask(item))
    if isinstance(item, Request):
        return rewrite_request(item, ask)
    if isinstance(item, tuple):
        return rewrite_reply(item, ask)
    if isinstance(item, Interaction):
        request = item.request and rewrite_request(item.request, ask)
        reply = rewrite_reply(item.reply, ask)
        notes = tuple((number, apply(note, ask(note))) for number, note in item.notes)
        more = tuple((number, _rewrite_json(told, ask)) for number, told in item.more)
        is_same = request is item.request and reply is item.reply and (notes, more) == (item.notes, item.more)
        return item if is_same else replace(item, request=request, reply=reply, notes=notes, more=more)
    title = apply(item.title, ask(item.title))
    header = json.dumps(dict(item.extra))
    extra = json.loads(new) if (new := _rewrite_json(header, ask)) is not header else item.extra
    interactions = tuple(
        _rewrite(interaction, edits, f"interaction {number}: ")
        for number, interaction in enumerate(item.interactions, 1)
    )
    is_same = title == item.title and extra is item.extra and all(map(is_, interactions, item.interactions))
    return item if is_same else replace(item, title=title, extra=extra, interactions=interactions)


def _rewrite_json(text: str, ask: Callable[[str], Iterable[Edit]]) -> str:
    """JSON text that is no message; the very same where there is no edit."""
    body = Request("", "", body=text.encode())
    return text if (new := rewrite_request(body, ask)) is body else new.body.decode()


def _passages(item: str | Request | Reply | Interaction | Tape) -> Iterator[Passage]:
    """All texts of an item."""
    passages: list[Passage] = []

    def keep(passage: Passage) -> tuple[Edit, ...]:
        passages.append(passage)
        return ()

    _rewrite(item, keep)
    return iter(passages)


def _unread(item: str | Request | Reply | Interaction | Tape) -> Iterator[tuple[str, str]]:
    """Bodies that are compressed, and why they are not read."""
    interactions = item.interactions if isinstance(item, Tape) else (item,) if isinstance(item, Interaction) else ()
    messages: list[Any] = [message for each in interactions for message in (each.request, each.reply)] or [item]
    for message in messages:
        if isinstance(message, Request):
            headers, side = dict(message.headers), "request"
        elif isinstance(message, tuple) and (head := head_of(message)):
            headers, side = {name.lower(): value for name, value in head.headers}, "response"
        else:
            continue
        if (why := opaque(headers)) and why.startswith("compressed"):
            yield f"{side} body", f"{why}; record it without the coding"
