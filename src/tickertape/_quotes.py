"""Quote marks and emphasis around what a failure says: outer pairs are taken off, inner ones are its own."""

from __future__ import annotations

_PAIRS = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』", "【": "】", "`": "`"}
_PUNCTUATION = frozenset("「『【*_~`")
"""Opening marks that the grammar reads as punctuation, before it reads what they open."""
_EMPHASIS = "*_~"


def reopened(before: str, text: str) -> str:
    """A text with the opening marks that stand right before it and whose partners stand in it."""
    while (mark := before[-1:]) in _PUNCTUATION:
        if mark not in _PAIRS or _PAIRS[mark] == mark:
            mark = before[len(before.rstrip(mark)) :]
            if _count(text, mark) % 2 == 0:
                break
        elif text.count(_PAIRS[mark]) <= text.count(mark):
            break
        text, before = mark + text, before[: -len(mark)]
    return text


def unemphasized(text: str) -> str:
    """Without white space, and without the emphasis that is around all of it, or that ends what began before it."""
    text = text.strip()
    mark = text[len(text.rstrip(_EMPHASIS)) :]
    if not mark or len(mark) == len(text) or mark != mark[0] * len(mark):
        return text
    count = _count(text, mark)
    if count == 2 and text.startswith(mark):
        return text[len(mark) : -len(mark)].strip()
    return text[: -len(mark)].strip() if count % 2 and mark[0] == "*" else text


def unquoted(text: str) -> str:
    """Without the pair of quote marks that is around all of it, and the stop behind them."""
    inside = text.rstrip("。.")
    closing = _PAIRS.get(text[:1], "")
    if closing and _partner(inside, closing) == len(inside) - 1:
        return inside[1:-1].strip()
    # An opening mark is read as punctuation after the failure word.
    if text[-1:] in "」』】" and not any(mark in text for mark in "「『【"):
        return text[:-1].strip()
    return text


def _partner(text: str, closing: str) -> int:
    """Where the mark that a text begins with is closed; -1 if nowhere."""
    opening, depth = text[0], 0
    for at, character in enumerate(text):
        if character not in (opening, closing):
            continue
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        if opening == closing and _word(before) and _word(after):
            continue  # an apostrophe
        # A mark that closes what it opens opens where a word begins.
        opens = character == opening if opening != closing else not before.isalnum() and after.strip() != ""
        depth += 1 if opens else -1
        if depth == 0:
            return at
    return -1


def _count(text: str, mark: str) -> int:
    """How often an emphasis mark stands in a text, but for those inside a word."""
    count, at = 0, text.find(mark)
    while at >= 0:
        end = at + len(mark)
        count += not (mark[0] == "_" and _word(text[at - 1 : at]) and _word(text[end : end + 1]))
        at = text.find(mark, end)
    return count


def _word(character: str) -> bool:
    return character.isascii() and character.isalnum()
