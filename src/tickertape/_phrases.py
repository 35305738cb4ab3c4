"""What a quoted phrase says that is none of the vocabulary's: its stems may still tell.

A relay quotes its own lines, but also the prompts it was given, which may hold
every stem there is. So a phrase is a status only where something says so: an
emoji before it, dots after it, or that it speaks of the work.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from . import events as ev

if TYPE_CHECKING:
    from .grammar import Grammar

MARKS = " \t\u3000*#_~>|-\u200b\ufeff"
"""What stands around words and is none of them."""

_AROUND = MARKS + ".。…!！:：,，"
_SHORT = 8
"""Characters of a phrase that is hardly more than its stem."""
DIGITS = 18
"""A longer number is no percentage; Python would refuse to read one of thousands of digits."""
_STAGES: tuple[tuple[str, ev.StageName], ...] = (
    ("OPTIMIZE_STEM", "optimizing"),
    ("PREPARE_STEM", "preparing"),
    ("MAKE_STEM", "generating"),
)
_WORK = frozenset({"WORK_STEM", "MAKE_STEM", "PREPARE_STEM", "OPTIMIZE_STEM", "NOW_STEM", "STILL_STEM"})
_ENDS = frozenset({"BREAK", "KEEP_ALIVE", "ANNOUNCEMENT", ""})


def phrase_event(grammar: Grammar, start: int, end: int, text: str) -> ev.Event | None:
    """The event of a phrase in the relay's own voice, or None where it stays unknown."""
    tokens = list(grammar.tokens("status_words", text))
    names = {name for name, _ in tokens}
    announced = "ANNOUNCEMENT" in names
    of_work = announced or bool(names & _WORK)
    still = announced or next((name for name, word in reversed(tokens) if word.strip(MARKS)), "") in (
        "STILL_STEM",
        "KEEP_ALIVE",
    )
    for (name, number), (following, _) in pairwise(tokens):
        if name == "NUMBER" and following == "PERCENT_SIGN" and of_work and len(number) <= DIGITS:
            return ev.Progress(start, end, int(number), text[: text.index(number)].strip(MARKS), None)
    at = 0
    said: set[str] = set()
    for i, (name, word) in enumerate(tokens):
        at += len(word)
        said.add(name)
        if name == "ASIDE_STEM":
            return None
        after, sign = next((token for token in tokens[i + 1 :] if token[1] != " "), ("", ""))
        if after not in _ENDS:
            continue
        phrase = text[:at].strip(MARKS)
        if name == "FAIL_STEM" and (of_work or len(phrase) <= _SHORT or sign in grammar.words("_COLON")):
            return ev.Failed(start, end, phrase, text[at:].strip(_AROUND) or None)
        stage = _stage(said) if still or name == "STILL_STEM" else None
        if stage is not None:
            return ev.Stage(start, end, stage, text.strip(_AROUND))
        if name == "DONE_STEM" and of_work:
            return ev.Completed(start, end, text.strip(_AROUND))
    return None


def _stage(said: set[str]) -> ev.StageName | None:
    if "QUEUE_STEM" in said:
        return "queued"
    if said & {"NOW_STEM", "STILL_STEM"}:
        return next((stage for stem, stage in _STAGES if stem in said), None)
    return None
