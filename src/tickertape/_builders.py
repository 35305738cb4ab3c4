"""What each rule of the grammar makes: an event, or a value for the rule around it.

One function a named rule; rules whose names begin with an underscore make
nothing. A function is given the machine (for the exact text of the span), the
span, and the values that the rule's parts carry.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from . import events as ev
from ._media import media_kind
from ._phrases import DIGITS, MARKS, phrase_event
from ._quotes import reopened, unemphasized

if TYPE_CHECKING:
    from ._machine import Builder, Machine
    from .grammar import Grammar

_EMPHASIS = " *_`"
"""What Markdown puts around words."""
_PHRASE = 80
"""Characters of a phrase, marks included; what is longer is a sentence."""


class Builders:
    """The functions for one grammar; labels and reasons are read by that same grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._says = lru_cache(1024)(self._find)
        self._retries = lru_cache(1024)(self._find_retry)

    def table(self) -> dict[str, Builder]:
        """Rule name -> function."""
        return {name: getattr(self, name) for name in dir(self) if name != "table" and name[0] != "_"}

    def _find(self, rule: str, text: str) -> frozenset[str]:
        return frozenset(name for name, _ in self._grammar.spot(rule, text))

    # -- structure ----------------------------------------------------------------

    def line_end(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.LineEnd(start, end)

    joint = line_end

    def text(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Text(start, end, machine.text(end))

    goes_on = number_goes_on = some_go_on = broken_off = bracketed = text

    def unknown(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        """A phrase in the relay's own voice that is none of the vocabulary's: its stems may still tell."""
        text = machine.text(end)
        # After a medium, a quoted phrase is most likely the prompt it was made from.
        event = None
        if len(text) <= _PHRASE and not machine.delivered:
            event = phrase_event(self._grammar, start, end, text)
        if event is None:
            machine.unknown = machine.unknown or machine.stuck or (start, 0)
            event = ev.Unknown(start, end, text, False)
        return event

    goes_on_quoted = unknown

    def bracketed_phrase(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        """A status is one in brackets too: `[排队中]`."""
        label = "".join(children)
        said = [
            token for token in self._grammar.tokens("phrase_words", label) if token[0] != "OTHER" or token[1].isalnum()
        ]
        if len(said) == 1 and (name := said[0][0]) != "OTHER":
            build: Builder = getattr(self, name.lower())  # each phrase has its rule
            event: ev.Event = build(machine, start, end, [said[0][1]])
            return event
        return self.text(machine, start, end, [])

    def malformed(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        machine.unknown = machine.unknown or machine.stuck
        return ev.Unknown(start, end, machine.text(end), True)

    def code(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Code(start, end, machine.text(end))

    fence_start = fence_end = markup = tag = code

    def parameters(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        text = machine.text(end)
        try:
            value = json.loads(text[text.index("{") :], parse_constant=_no_constant)
        except (ValueError, RecursionError):  # broken, or deeper than this interpreter reads
            value = None
        return ev.Parameters(start, end, text, value if isinstance(value, dict) else None)

    fenced_parameters = parameters

    def broken_parameters(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Parameters(start, end, machine.text(end), None)

    # -- ids ------------------------------------------------------------------------

    def task_id(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.TaskId(start, end, children[0], children[1])

    def identifier(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Identifier(start, end, children[0], children[1])

    # -- status -----------------------------------------------------------------------

    def queued(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Stage(start, end, "queued", children[0])

    def preparing(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Stage(start, end, "preparing", children[0])

    def generating(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        machine.label = None
        return ev.Stage(start, end, "generating", children[0])

    def optimizing(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Stage(start, end, "optimizing", children[0])

    def completed(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Completed(start, end, children[0])

    done = completed_count = completed

    def counted(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        """`已完成 4/4` is done, `已完成 1/4` is not yet."""
        word, count, total = children
        return self.completed(machine, start, end, [word]) if count == total else self.notice(machine, start, end, [])

    def progress_word(self, machine: Machine, start: int, end: int, children: list[Any]) -> None:
        machine.label = children[0]

    def whole_tick(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return _progress(machine, start, end, children[0], None)

    dotted_tick = whole_tick

    def percent_tick(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        machine.signed = end
        return _progress(machine, start, end, children[0], None)

    def plain_tick(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        # In `35% (12s)` and `35% 12s` it is the seconds that follow; in `35%..48` a percentage.
        between = machine.text(end).removesuffix(children[0])
        if "(" in between or "（" in between or (start == machine.signed and "." not in between):
            return ev.Notice(start, end, "notice", machine.text(end))
        return _progress(machine, start, end, children[0], None)

    def done_tick(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        machine.label = children[0]
        return _progress(machine, start, end, children[1], None)

    def decimal_tick(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return _progress(machine, start, end, ".".join(children[:2]), None)

    def lone_percent(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        machine.label = None
        return _progress(machine, start, end, ".".join(children[:2]), None)

    def done_percent(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        """`87% 完成` is a percentage, `✅ 100% 完成` a verdict as well."""
        text = machine.text(end)
        if children != ["100"] or not any(mark in text for mark in self._grammar.words("CHECK")):
            return self.lone_percent(machine, start, end, children)
        at = max(text.find(sign) for sign in self._grammar.words("PERCENT_SIGN")) + 1
        machine.emit(self.lone_percent(machine, start, start + at, children))
        return ev.Completed(start + at, end, text[at:].strip())

    def bracketed_percent(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return _progress(machine, start, end, children[0], None)

    def tick_link(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        number = ".".join(part for part in children[:-1] if part.isdecimal())
        return _progress(machine, start, end, number, children[-1])

    def count(self, machine: Machine, start: int, end: int, children: list[Any]) -> None:
        return None

    def failed(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        reason = _reason(machine.text(end), children)
        if reason and self._retries(reason):
            return ev.Retrying(start, end, machine.text(end))
        return ev.Failed(start, end, children[-1], reason)

    some_failed = failed

    def refused(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        rest = children.pop()[0] if type(children[-1]) is tuple else ""
        return ev.Failed(start, end, "", unemphasized(children[0] + rest))

    def reason(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        text = machine.text(end)
        return ev.Reason(start, end, text, children[0], _reason(text, children))

    def rest(self, machine: Machine, start: int, end: int, children: list[Any]) -> tuple[str]:
        return (children[0],)

    def retrying(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Retrying(start, end, machine.text(end))

    recounted = retrying

    def warning(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Notice(start, end, "warning", machine.text(end))

    def notice(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Notice(start, end, "notice", machine.text(end))

    table_row = ratio = notice

    def final(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Notice(start, end, "final", machine.text(end))

    def setting(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Notice(start, end, "setting", machine.text(end))

    def submitted(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Notice(start, end, "submitted", machine.text(end))

    def preview(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Notice(start, end, "preview", machine.text(end))

    # -- media --------------------------------------------------------------------------

    def destination(self, machine: Machine, start: int, end: int, children: list[Any]) -> str:
        return "".join(children).strip()

    torn_destination = destination

    def label(self, machine: Machine, start: int, end: int, children: list[Any]) -> str:
        return "".join(children)

    def outer_label(self, machine: Machine, start: int, end: int, children: list[Any]) -> tuple[str]:
        return ("".join(children),)

    def image(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        (before,) = children.pop(0) if type(children[0]) is tuple else (None,)
        alt, url = children[0] if len(children) > 1 else "", children[-1]
        # ![45%](…) is [45%](…); so is a 100 right after a tick.
        if (alt.endswith("%") and alt[:-1].isdecimal()) or (alt == "100" and start == machine.ticked):
            return _progress(machine, start, end, alt.removesuffix("%"), url)
        machine.delivered = True
        return ev.Image(start, end, alt, url, before)

    labelled_image = image

    def torn_image(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return self._torn(machine, end, children, self.image, self.malformed)

    def torn_link(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return self._torn(machine, end, children, self.link, self.text)

    def _torn(self, machine: Machine, end: int, children: list[Any], build: Builder, otherwise: Builder) -> ev.Event:
        """What its line ended, and the line's end; otherwise no more than a piece of a URL had arrived."""
        start = machine.emitted
        at = start + machine.text(end).rindex(")") + 1
        children[-1] = children[-1].removesuffix(")")
        whole = media_kind(self._grammar, children[-1]) is not None
        machine.emit((build if whole else otherwise)(machine, start, at, children))
        return ev.LineEnd(at, end)

    def link(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        if len(children) > 1 and children[0].strip(_EMPHASIS) in ("100", "100%"):  # [**100**](…) is [100](…)
            return _progress(machine, start, end, "100", children[-1])
        return self._link(start, end, children[0] if len(children) > 1 else "", children[-1])

    framed = link

    def labelled_link(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        (before,) = children[0]
        return self._link(start, end, children[1] if len(children) > 2 else "", children[-1], before)

    def number_link(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        # Outside a progress line, [1](…) is a citation and [45%](…) a tick; and so is a 100.
        number, url = children[0], children[-1]
        if len(children) > 2 or number == "100":
            machine.label = None
            return _progress(machine, start, end, number, url)
        return self._link(start, end, number, url)

    def stripped_link(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        opening, rest = children[-2:]
        url = (opening.removeprefix("]").removeprefix("(") + rest).strip()
        text = machine.text(end)
        label = text[: text.rindex(opening + rest)].strip(MARKS).removeprefix("![")
        link = self._link(start, end, label, url)
        if isinstance(link, ev.Link) and link.role is None and link.kind is None:
            kind = media_kind(self._grammar, url)
            if kind is None and label:
                return ev.Text(start, end, text)  # a sentence that names a site
            if kind == "image":
                return ev.Image(start, end, label, url)
        return link

    lone_stripped_link = stripped_link

    def url(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        return ev.Url(start, end, "".join(children))

    def src(self, machine: Machine, start: int, end: int, children: list[Any]) -> tuple[str, str]:
        return ("src", _unescape(children[0]))

    def poster(self, machine: Machine, start: int, end: int, children: list[Any]) -> tuple[str, str]:
        return ("poster", _unescape(children[0]))

    def element(self, machine: Machine, start: int, end: int, children: list[Any]) -> ev.Event:
        name: Literal["video", "audio", "source", "img"] = children[0][1:].lower()
        machine.delivered = True
        attributes: dict[str, str] = dict(child for child in reversed(children) if type(child) is tuple)
        return ev.Element(start, end, name, attributes.get("src"), attributes.get("poster"))

    # -- what labels say ------------------------------------------------------------------

    def _link(self, start: int, end: int, label: str, url: str, before: str | None = None) -> ev.Event:
        says = self._says("label_words", label)
        if "SOURCE_LABEL" in says:
            return ev.TaskLink(start, end, "source", label, url)
        if "WEB_LABEL" in says:
            return ev.TaskLink(start, end, "web", label, url)
        role: ev.Role | None = None
        kind = self._kind(before) if before is not None else None
        if "DOWNLOAD_LABEL" in says or (before is not None and kind is None):
            role = "download"
        elif "PREVIEW_LABEL" in says:
            role = "preview"
        elif "LISTEN_LABEL" in says or "WATCH_LABEL" in says:
            role = "watch"
            if kind is None and ("LISTEN_LABEL" in says or "AUDIO_LABEL" in says):
                kind = "audio"
        return ev.Link(start, end, label, url, role, kind, before)

    def _kind(self, label: str) -> ev.Kind | None:
        """What a label before a link says it is; None where it says that it is a download."""
        says = self._says("label_words", label)
        if "DOWNLOAD_LABEL" in says:
            return None
        if "AUDIO_LABEL" in says:
            return "audio"
        return "video" if "VIDEO_LABEL" in says else "image"

    def _find_retry(self, reason: str) -> bool:
        """Whether a failure's reason says that it retries, by the vocabulary's rules for each word."""
        retries = asked = False
        for name, _ in self._grammar.spot("message_words", reason):
            match name:
                case "RETRIES_NOW":
                    return True
                case "RETRY_NOTICE":
                    retries = True
                case "RETRY_LATER":
                    retries = retries or not asked
                case "GIVEN_UP":
                    retries = False
                case "ASKED" | "BREAK":
                    asked = name == "ASKED"
        return retries


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _progress(machine: Machine, start: int, end: int, number: str, preview_url: str | None) -> ev.Event:
    label, machine.label, machine.ticked = machine.label, None, end
    if len(number) > DIGITS:
        return ev.Text(start, end, machine.text(end))
    return ev.Progress(start, end, float(number) if "." in number else int(number), label, preview_url)


def _reason(span: str, children: list[Any]) -> str | None:
    """What a failure says: the end of its span, if it says anything."""
    if type(children[-1]) is not tuple:
        return None
    (text,) = children.pop()
    return unemphasized(reopened(span.removesuffix(text), text)) or None


def _unescape(value: str) -> str:
    if "&" not in value:
        return value
    from html import unescape  # and its 2,231 entities

    return unescape(value)
