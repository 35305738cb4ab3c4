"""From events to a task: the rules of what a stream means.

A fold adds one event at a time and never looks back at the text; a task can be
taken from it at any moment for the price of copying its lists.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import events as ev
from ._failures import Failures
from ._media import media_kind, url_path
from .task import Envelope, Result, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .grammar import Grammar
    from .task import Status, TaskError


_KEEP_COVER = (ev.LineEnd, ev.Image)
"""What may stand between a cover and its film; a tuple that is made once, for it is asked of every event."""


@dataclass(slots=True, eq=False)
class _Medium:
    """A result in the making; each is itself alone, however alike."""

    kind: ev.Kind
    url: str
    label: str
    before: str | None = None
    download_url: str | None = None
    poster_url: str | None = None
    place: int = 0
    """How many results came before it."""
    is_cover: bool = False

    @property
    def waits(self) -> bool:
        """Whether a download link may be its twin. What does not wait any more never does again."""
        return self.download_url is None and not self.is_cover


class _Message:
    """A failure's message, which may go on over lines and into a fence."""

    __slots__ = ("blank", "failure_word", "fenced", "newlines", "parts")

    def __init__(self, failure_word: str, reason: str | None) -> None:
        self.failure_word = failure_word
        self.parts = [reason] if reason else []
        self.newlines = 0
        self.fenced = False

    def line_end(self) -> None:
        self.newlines += 1

    def add(self, text: str, *, fence: bool = False) -> bool:
        """Whether the text still belongs to the message."""
        if (self.newlines > 1 and not fence) or (self.fenced and (self.newlines or not fence)):
            return False
        if self.newlines or not fence:
            text = text.lstrip(" \t>")
        gap = "\n" * self.newlines or (" " if fence and not self.fenced else "")
        self.parts.append(gap + text if self.parts else text)
        self.newlines = 0
        self.fenced = self.fenced or fence
        return True

    def reason(self) -> str:
        return "".join(self.parts).strip()


class Fold:
    """A task in the making."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._line_ends = sorted(grammar.words("_NL"), key=len, reverse=True)
        self._failures = Failures(grammar)
        self._task_id: str | None = None
        self._ids: dict[str, str] = {}
        self._parameters: dict[str, Any] | None = None
        self._echoed = False  # a parameter object was seen, valid or not
        self._fenced = False  # and the fence that it stands in is still open
        self._stages: list[str] = []
        self._progress: list[float] = []
        self._links: dict[str, str] = {}
        self._media: list[_Medium] = []
        self._by_url: dict[str, _Medium] = {}
        self._by_path: dict[str, deque[_Medium]] = {}  # of their URLs,
        self._by_twin: dict[str, _Medium] = {}  # and of what a lone download link is the twin of
        self._unnumbered: list[_Medium] = []  # whose labels no download has asked for yet,
        self._by_number: dict[str, deque[_Medium]] = {}  # and the others
        self._latest: dict[ev.Kind, list[_Medium]] = {"image": [], "video": [], "audio": []}
        self._downloads: set[str] = set()
        self._previews: dict[str, None] = {}
        self._prose: list[str] = []
        self._spoke = False  # whether it holds words, and not marks and fences alone
        self._succeeded = False
        self._failed = False
        self._reasoned = False  # the last failure was told by its reason alone
        self._message: _Message | None = None  # the last failure's, while it may go on
        self._error: TaskError | None = None
        self._last: ev.Event | None = None
        self._cover: _Medium | None = None  # an image with only white space after it so far
        self._preview = False  # under a line that says preview
        self._previewed = 0  # how many previews were listed above that line
        self._preview_twin = False  # right after a preview link
        self._retrying = False
        self._url: tuple[str, bool, str] | None = None  # a bare URL whose line has not ended
        self._element: tuple[ev.Kind, str | None] = ("video", None)
        self.envelope: Envelope | None = None
        self.told: TaskError | None = None
        """What an error frame told: it decides over the text."""

    # -- what has been read so far ---------------------------------------------------

    def task(self, *, closed: bool, events: Iterable[ev.Event] = (), text: str = "") -> Task:
        media, prose = [medium for medium in self._media if not medium.is_cover], ""
        if closed:
            prose = "".join(self._prose)
            if self._url is not None:
                medium = self._bare(self._url[0])
                if medium is not None:
                    media.append(medium)
                else:
                    prose += self._url[2]
        error = self._error
        if self._message is not None:
            error = self._failures.told(self._message.failure_word, self._message.reason())
        status: Status
        if media:
            status = "completed"
        elif self._failed:
            status = "failed"
        elif self._succeeded:
            status = "completed"
        elif not closed:
            status = "in_progress" if self._progress or any(s != "queued" for s in self._stages) else "queued"
        elif self.listening and (self._spoke or self._url is not None):
            status, error = "failed", self._failures.text_only(prose)
        else:
            status = "incomplete"
        if self.told is not None:
            status, error = "failed", self.told
        taken = {m.url for m in media} | {m.download_url for m in media}
        return Task(
            status,
            self._task_id,
            dict(self._ids),
            self._parameters,
            tuple(self._stages),
            tuple(self._progress),
            dict(self._links),
            tuple(Result(m.kind, m.url, m.download_url, m.poster_url) for m in media),
            tuple(url for url in self._previews if url not in taken),
            error,
            tuple(events),
            text,
            self.envelope,
        )

    # -- events ------------------------------------------------------------------------

    @property
    def listening(self) -> bool:
        """Whether prose may still be all there is, and so the message of a refusal."""
        seen = self._task_id or self._stages or self._progress or self._media
        return not (seen or self._failed or self._succeeded)

    def add(self, event: ev.Event, text: str = "") -> None:
        """Add an event; with the text of its span while `listening`, where the event does not carry it."""
        if self._message is not None and not self._goes_on(event):
            self._error = self._failures.told(self._message.failure_word, self._message.reason())
            self._message = None
        elif self._message is not None and not isinstance(event, ev.Failed):
            self._last = event
            return
        if self._url is not None:
            self._settle_url(event)
        match event:
            case ev.LineEnd():
                if self._prose:
                    self._say(self._line(text))
                self._preview_twin = False
            case ev.Text(text=words):
                self._speak(words)
            case ev.Unknown(malformed=True):
                pass
            case ev.Unknown(text=words):
                self._speak(words)
                self._preview = False
            case ev.Parameters(text=echo, value=value):
                self._object(value, echo)
            case ev.Code(text=code):
                if not self._fenced:
                    self._say(code)
                self._fenced = False
            case ev.TaskId(value=value):
                self._task_id = value
            case ev.Identifier(name=name, value=value):
                self._ids[name] = value
            case ev.TaskLink(rel=rel, url=url):
                self._links[rel] = url
            case ev.Stage(stage=stage):
                self._stages.append(stage)
                self._preview = self._retrying = False
            case ev.Progress(percent=percent, preview_url=url):
                if isinstance(self._last, ev.Stage) and self._stages[-2:] == [self._last.stage] * 2:
                    self._stages.pop()  # the tick's own words, not a stage entered again
                self._progress.append(percent)
                if url:
                    self._previews[url] = None
            case ev.Completed():
                self._succeeded = True
                self._preview = self._retrying = False
            case ev.Failed(label=label, reason=reason):
                if reason is not None or not self._reasoned:  # `失败原因：…` may come before `生成失败`
                    self._fail(label, reason)
                self._preview = self._retrying = self._reasoned = False
            case ev.Reason(label=label, reason=reason):
                if not self._retrying:
                    self._fail(label, reason)
                    self._reasoned = reason is not None
            case ev.Retrying():
                self._retrying = True
                self._preview = False
            case ev.Notice(kind="preview"):
                self._preview = True
                self._previewed = len(self._previews)
            case ev.Notice(kind="final"):
                self._preview = False
            case ev.Notice(kind="notice", text=line):
                if not line.lstrip().startswith(">"):  # a model's table, not a relay's line
                    self._say(line)
            case ev.Notice():
                pass
            case ev.Image():
                self._image(event)
            case ev.Link():
                self._link(event, text)
            case ev.Url(url=url):
                follows = isinstance(self._last, ev.Completed | ev.Progress)
                if follows or self._last is None or isinstance(self._last, ev.LineEnd):
                    self._url = url, follows, text
            case ev.Element():
                self._html(event)
        if not isinstance(event, _KEEP_COVER):
            self._cover = None
        self._last = event

    def add_progress(self, event: ev.Event) -> None:
        """Of a text that is read for its percentages alone."""
        if isinstance(event, ev.Progress):
            self._progress.append(event.percent)

    # -- failure -------------------------------------------------------------------------

    def _fail(self, label: str, reason: str | None) -> None:
        self._failed = True
        self._message = _Message(label, reason)

    def _goes_on(self, event: ev.Event) -> bool:
        """Whether an event still belongs to the last failure's message."""
        message = self._message
        assert message is not None
        match event:
            case ev.LineEnd():
                message.line_end()
                return True
            case ev.Text(text=text) | ev.Unknown(text=text, malformed=False):
                return message.add(text)
            case ev.Reason(text=text, reason=reason):
                if not message.parts:
                    if reason:
                        message.parts.append(reason)
                    message.newlines = 0
                    return True
                return message.add(text)
            case ev.Code(text=text) | ev.Parameters(text=text) | ev.Unknown(text=text) if "`" in text or message.fenced:
                return message.add(text, fence=True)
        return False

    def _object(self, value: dict[str, Any] | None, text: str) -> None:
        if value is not None and ("status" in value or "error" in value):
            self._outcome(value)
        elif not self._echoed:
            self._echoed = True
            self._parameters = value
            self._fenced = "`" in text.partition("{")[0] and not text.endswith("`")
        else:
            self._say(text)

    def _outcome(self, value: dict[str, Any]) -> None:
        from ._poll import read_outcome  # which needs media_kind from here

        outcome = read_outcome(value, self._failures, self._grammar)
        if outcome.task_id is not None:
            self._task_id = outcome.task_id
        if not self._echoed and outcome.rest:
            self._parameters = outcome.rest
        if outcome.status == "failed":
            self._failed, self._error = True, outcome.error
        elif outcome.status == "completed":
            self._succeeded = True
        for kind, url in outcome.results:
            self._result(kind, url, "")

    # -- media ------------------------------------------------------------------------------

    def _image(self, image: ev.Image) -> None:
        alt, url = image.alt, image.url
        ticked = not alt and image.before is None and isinstance(self._last, ev.Progress)
        if self._preview or ticked:
            self._previews[url] = None
            self._cover = None
            return
        if self._is_download(url) or (self._says_download(image.before or alt) and self._media):
            self._download(alt, url, image.before)
            return
        known = url in self._by_url
        medium = self._result("image", url, alt, image.before)
        self._cover = None if known else medium

    def _link(self, link: ev.Link, text: str) -> None:
        url, role = link.url, link.role
        kind = self._kind(url)
        if not link.label and isinstance(self._last, ev.Progress):
            self._previews[url] = None  # `100 (url)`: a tick whose brackets were taken away
            return
        download = role == "download" or self._is_download(url)
        if self._preview or role == "preview" or self._preview_twin:
            # A preview's twin; a label before the only link under the line says no more than the line does.
            if download and (link.before is None or len(self._previews) > self._previewed or kind is None):
                return
            if role is not None or kind is not None or link.kind is not None:
                self._previews[url] = None
                self._preview_twin = not self._preview
                return
        if download:
            in_sentence = link.before is not None and isinstance(self._last, ev.Text | ev.Unknown)
            if in_sentence and kind is None and not self._media:
                self._speak(text)
            else:
                self._download(link.label, url, link.before)
            return
        if link.kind is not None:
            kind = link.kind
        elif role == "watch" and kind is None:
            kind = "video"
        if kind is None:
            self._speak(text)
            return
        # A label before the link stands between it and an image: no cover.
        self._result(kind, url, link.label, link.before, poster=self._cover if link.kind is None else None)

    def _speak(self, words: str) -> None:
        self._say(words)
        self._spoke = True

    def _say(self, text: str) -> None:
        """Keep prose, without what stands before its lines, for as long as it may be all there is."""
        if not self.listening:
            self._prose.clear()
            return
        if not self._prose or self._prose[-1].endswith("\n"):
            text = text.lstrip(" \t>")
        if text:
            self._prose.append(text)

    def _html(self, element: ev.Element) -> None:
        name = element.name
        if name in ("video", "audio"):
            self._element = ("video" if name == "video" else "audio"), element.poster
        kind: ev.Kind = "image" if name == "img" else self._element[0]
        if not element.src:
            return
        if self._preview:
            self._previews[element.src] = None
            return
        medium = self._result(kind, element.src, "")
        if kind == "video" and medium.poster_url is None:
            medium.poster_url = element.poster or self._element[1]

    def _settle_url(self, event: ev.Event) -> None:
        """A URL counts when it is all of its line, or follows a status on its line."""
        assert self._url is not None
        url, follows, text = self._url
        if (follows or isinstance(event, ev.LineEnd)) and (medium := self._bare(url)) is not None:
            if self._preview:
                self._previews[url] = None
            else:
                self._result(medium.kind, url, "")
        else:
            self._speak(text)
        self._url = None

    def _bare(self, url: str) -> _Medium | None:
        kind = self._kind(url)
        return None if kind is None or url in self._by_url else _Medium(kind, url, "")

    def _result(
        self, kind: ev.Kind, url: str, label: str, before: str | None = None, *, poster: _Medium | None = None
    ) -> _Medium:
        medium = self._by_url.get(url)
        if medium is None and (twin := self._twin_of(url)) is not None:
            # Its download link came first and stood in for it.
            medium = twin
            medium.url, medium.kind = url, kind
            self._by_url[url] = medium
            self._by_path.setdefault(url_path(url), deque()).append(medium)
        if medium is None:
            medium = _Medium(kind, url, label, before, place=len(self._media))
            self._media.append(medium)
            self._by_url[url] = medium
            self._by_path.setdefault(url_path(url), deque()).append(medium)
            self._unnumbered.append(medium)
            self._latest[kind].append(medium)
        if poster is not None and kind == "video" and poster is not medium:
            poster.is_cover = True
            del self._by_url[poster.url]
            medium.poster_url = poster.url
        return medium

    def _download(self, label: str, url: str, before: str | None) -> None:
        if url in self._downloads:
            return
        twin = self._twin_path(url)
        medium = (
            self._by_url.get(url)
            or (_first(self._by_path.get(twin)) if twin is not None else None)
            or self._numbered(before or label)
            or self._nearest(url)
        )
        if medium is None:
            kind = self._kind(url) or self._labelled_kind(label)
            medium = self._result(kind, url, label, before, poster=self._cover)
            if twin is not None:
                self._by_twin[twin] = medium
        medium.download_url = medium.download_url or url
        self._downloads.add(url)

    def _twin_path(self, url: str) -> str | None:
        """The path of what a download link downloads: /cdn/download/X is the twin of /cdn/X."""
        path = url_path(url)
        for folder in self._grammar.words("DOWNLOAD_PATH"):
            if folder in path:
                return path.replace(folder, folder.replace("/download", ""))
        return None

    def _twin_of(self, url: str) -> _Medium | None:
        medium = self._by_twin.get(url_path(url))
        return medium if medium is not None and medium.url == medium.download_url else None

    def _numbered(self, label: str) -> _Medium | None:
        number = self._number(label, strict=False)
        if number is None:
            return None
        for medium in self._unnumbered:
            # A picture's description is often its prompt, which may well have a number in it.
            told = self._number(medium.before or medium.label, strict=medium.before is None and medium.kind == "image")
            if told is not None:
                self._by_number.setdefault(told, deque()).append(medium)
        self._unnumbered.clear()
        return _first(self._by_number.get(number))

    def _nearest(self, url: str) -> _Medium | None:
        kind = self._kind(url)
        found = None
        for media in (self._latest[kind],) if kind is not None else self._latest.values():
            while media and not media[-1].waits:
                media.pop()
            if media and (found is None or media[-1].place > found.place):
                found = media[-1]
        return found

    def _number(self, label: str, *, strict: bool) -> str | None:
        """The one number of a label; strictly, of a label that is nothing but its kind and number."""
        words = self._grammar.spot("label_words", label)
        numbers = [word for name, word in words if name == "NUMBER"]
        if len(numbers) != 1:
            return None
        return None if strict and not self._only_label(label) else numbers[0]

    def _says_download(self, alt: str) -> bool:
        """Whether a description is a download's label and nothing else; a prompt may well speak of one."""
        words = self._grammar.spot("label_words", alt)
        return any(name == "DOWNLOAD_LABEL" for name, _ in words) and self._only_label(alt)

    def _only_label(self, label: str) -> bool:
        return not any(name == "OTHER" and text.isalpha() for name, text in self._grammar.tokens("label_words", label))

    def _labelled_kind(self, label: str) -> ev.Kind:
        says = {name for name, _ in self._grammar.spot("label_words", label)}
        if "VIDEO_LABEL" in says:
            return "video"
        return "audio" if "AUDIO_LABEL" in says else "image"

    def _line(self, text: str) -> str:
        """The text of a line's end with a newline for whatever ended it, without quote marks that nothing follows."""
        end = next((end for end in self._line_ends if text.endswith(end)), "")
        marks = text.removesuffix(end)
        rest = marks.rstrip(" \t>")
        # The one of `</b>` is none: white space stands before a quote mark.
        closing = marks[len(rest) :].startswith(">") and not (rest or self._prose[-1])[-1].isspace()
        marks = rest + ">" if closing else rest
        return marks + "\n" if end else marks

    def _is_download(self, url: str) -> bool:
        return self._twin_path(url) is not None

    def _kind(self, url: str) -> ev.Kind | None:
        """What a URL's path, or a `data:` URL's media type, says it is."""
        return media_kind(self._grammar, url)


def _first(media: deque[_Medium] | None) -> _Medium | None:
    """The first that waits for a download; those before it are forgotten, so that none is looked at twice."""
    while media and not media[0].waits:
        media.popleft()
    return media[0] if media else None
