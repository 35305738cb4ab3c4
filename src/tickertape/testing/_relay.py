"""The relay itself, without I/O: what was played, what is asked, what is answered.

An adapter gives `Relay.answer()` a request and the time and gets a `Call` with its
reply, or None when nothing was played for it; then it asks `unmatched()` for the
error to raise. The relay's own paths are answered on any host:

    POST …/chat/completions     the first play whose conditions hold
    GET  …/models               the models that plays name
    GET  a link of an answer    media, the task's `source` and `web` pages

Plays are asked in the order in which they were made, each as often as `times`
says. A failure (`fail()`) is a play like any other, so that "429 twice, then
the answer" is written as it is read.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit

from ..responses import parse_response
from ._errors import UnmatchedRequest, UnplayedError, UnusablePlay
from ._journal import Call, Calls
from ._matching import condition
from ._plays import Job, On, Play, PlayError
from ._ranges import ranged
from ._rules import error_reply, refuse, refuse_key
from ._wire import body_of, head_of, whole
from ._world import TapeJob
from .faults import Fault
from .scenario import Scenario
from .tape import Tape

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Hashable

    from ._client import Client
    from ._plays import Run, World
    from ._rules import RetryAfter
    from ._wire import Reply, Request

_MOST_HELD = 64 << 20
"""Bytes of requests that a journal which forgets holds: pictures are sent as base64."""

DEFAULT_ORIGIN = "https://relay.example"
"""Where the links of scenarios point, unless the adapter has an address of its own."""


class Relay:
    """The sans-I/O core that both adapters drive."""

    def __init__(
        self,
        *,
        base_url: str | None = None,
        origin: str | None = None,
        tapes: str | os.PathLike[str] | None = None,
        seed: int = 0,
        validate: bool = True,
        virtual: bool = True,
        keep: int | None = None,
        forgotten: Callable[[Call], None] | None = None,
        client: Client | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/") if base_url else None
        self.origin = origin or _origin(self.base_url) or DEFAULT_ORIGIN
        self.tapes = tapes
        self.seed = seed
        self.validate = validate
        self.virtual = virtual
        self.keep = keep
        """How many calls the journal holds at most, beside those under way; their jobs with them. None: all."""
        self._forgotten = forgotten
        self._client = client
        self.lock = threading.RLock()
        """Held while a request is answered: of requests at the same moment each gets its own number, play and job.
        Whoever changes the answer afterwards holds it too."""
        self.reset()

    def reset(self) -> None:
        """Forget plays and calls."""
        with self.lock:
            self._begin()

    def _begin(self) -> None:
        self.plays: list[Play] = []
        self.calls = Calls()
        self.missed: list[UnmatchedRequest] = []
        self._jobs: dict[Hashable, Job] = {}
        self._begun = 0
        """How many jobs there were; the number of the next one."""
        self._asked: Counter[str] = Counter()
        """How many calls there were of each kind."""
        self._held = 0
        """Bytes of the requests in the journal."""
        self._chats = 0
        self._random = random.Random(self.seed)

    # -- putting on -----------------------------------------------------------------

    def play(
        self,
        what: Any,
        *,
        times: int | None = 1,
        optional: bool = False,
        when: Any = None,
        fault: Fault | None = None,
    ) -> None:
        """Answer the next `times` matching chat requests with a tape, a scenario, or a list of these in order."""
        if isinstance(what, list | tuple):
            if not what:
                raise PlayError("play([]): expected at least one tape or scenario")
            for item in what:
                self.play(item, times=times, optional=optional, when=when, fault=fault)
            return
        if fault is not None and not isinstance(fault, Fault):
            raise PlayError(f"fault={fault!r}: expected a Fault, such as Fault.reset(frame=3)")
        source = what if isinstance(what, Tape | Scenario) else self._load(what)
        if isinstance(source, Scenario):
            source._check()  # not when a client asks
        name = f"tape {source.name}" if isinstance(source, Tape) else repr(source)
        if isinstance(source, Tape) and not any(i.request is None or is_chat(i.request) for i in source.interactions):
            asked = ", ".join(f"{i.request.method} {i.request.path}" for i in source.interactions if i.request)
            raise PlayError(
                f"{name}: holds no answer to a chat completion, which is what play() answers; found {asked}. "
                "What was recorded of other routes is replayed by FakeRelay(tape=…, record='none'), or a marker's tape="
            )
        self.plays.append(Play(source, name=name, times=times, optional=optional, when=condition(when), fault=fault))

    def fail(
        self,
        *,
        status: int | None = None,
        fault: Fault | None = None,
        retry_after: RetryAfter | None = None,
        message: str | None = None,
        times: int | None = 1,
        optional: bool = False,
        when: Any = None,
        on: On = "chat",
    ) -> None:
        """Fail the next `times` matching requests of a kind: with an HTTP status, or with a fault.

        A fault that needs an answer to break takes that of the play behind it, which
        stays to be played.
        """
        if (status is None) == (fault is None):
            raise PlayError("fail(): expected one of status= and fault=, such as fail(status=429, retry_after=2)")
        if on not in get_args(On):
            raise PlayError(f"on={on!r}: expected one of {', '.join(get_args(On))}")
        if fault is not None and not (retry_after is None and message is None):
            raise PlayError("fail(fault=…): retry_after= and message= belong to status=; give one or the other")
        failure = None
        if status is not None:
            if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
                raise PlayError(
                    f"fail(status={status!r}): expected a number from 400 to 599, such as 429; "
                    "an answer that is no error is played: play(…)"
                )
            try:
                failure = error_reply(status, retry_after=retry_after, message=message)
            except ValueError as error:
                raise PlayError(f"fail(): {error}") from error
        elif not isinstance(fault, Fault):
            raise PlayError(f"fault={fault!r}: expected a Fault, such as Fault.reset(frame=3)")
        name = f"fail(status={status})" if status is not None else f"fail(fault={fault!r})"
        self.plays.append(
            Play(
                None,
                name=name,
                times=times,
                optional=optional,
                when=condition(when),
                fault=fault,
                failure=failure,
                on=on,
            )
        )

    def _load(self, what: Any) -> Tape:
        if isinstance(what, str) or hasattr(what, "__fspath__"):
            return Tape.load(what, folder=self.tapes)
        raise PlayError(f"play({what!r}): expected a tape's name or path, a Tape, a Scenario, or a list of these")

    # -- answering --------------------------------------------------------------------

    def answer(self, request: Request, now: float) -> Call | None:
        """The call that answers a request which arrived at `now`; None when nothing was played for it."""
        with self.lock:
            return self._answer(request, now)

    def order(self, request: Request, chat: Request, now: float) -> Call | None:
        """The same for an order by another endpoint than that of chats; `chat` is the request that orders the same."""
        with self.lock:
            return self._chat(request, now, chat) if self.mine(request) else None

    def _answer(self, request: Request, now: float) -> Call | None:
        if request.method == "POST" and is_chat(request):
            return self._chat(request, now) if self.mine(request) else None
        if (call := self._recorded(request, now)) is not None:
            return call
        if request.method in ("GET", "HEAD"):
            if (call := self._linked(request, now)) is not None:
                return call
            if self.mine(request):
                return self._models(request, now)
        return None

    def mine(self, request: Request) -> bool:
        """Whether a request is for this relay: of any host, unless `base_url` was given."""
        return self.base_url is None or request.url.startswith(self.base_url + "/")

    def _call(self, request: Request, now: float, kind: Any, **told: Any) -> Call:
        call = Call(number=self.calls.seen + 1, time=now, request=request, kind=kind, **told)
        if kind == "media" and call.reply is not None:
            call.reply = ranged(call.reply, request)
        play = self._first(call, on=kind) if kind not in ("chat", "unmatched") else None
        if play is not None:
            play.played += 1
            call.answer = play.name
            if play.failure is not None:
                call.reply = play.failure
            elif play.fault is not None and call.reply is not None:
                call.reply = play.fault.apply(call.reply, random=self._random)
            _dated(call, self._client)
        self._note(call)
        return call

    def _note(self, call: Call) -> None:
        if self._client is not None:
            call.shown, call.asker = self._client.shown, self._client.asker
        self.calls.append(call)
        self._asked[call.kind] += 1
        self._held += len(call.request.body)
        if call.job in self._jobs:
            self._jobs[call.job].calls += 1
        while self.keep is not None and (len(self.calls) > self.keep or self._held > _MOST_HELD):
            if len(self.calls) == 1 or (old := self.calls.forget()) is None:
                break
            self._held -= len(old.request.body)
            job = self._jobs.get(old.job)
            if job is not None:
                job.calls -= 1
                if not job.calls:
                    del self._jobs[old.job]
                    if job.run in job.play.runs[:-1]:
                        job.play.runs.remove(job.run)
            if self._forgotten is not None:
                self._forgotten(old)

    def begin(self, job: Job) -> int:
        """Note a job; its number, by which its calls name it."""
        number, self._begun = self._begun, self._begun + 1
        self._jobs[number] = job
        return number

    @property
    def awaits(self) -> bool:
        """Whether anything that was played may still be asked for: where nothing is, not even a refusal is given."""
        return any(play.on == "chat" and not play.exhausted for play in self.plays)

    def _chat(self, request: Request, now: float, chat: Request | None = None) -> Call | None:
        chat = chat or request
        number = self.calls.seen + 1
        if self.validate and self.awaits and (refusal := refuse(chat, number=number)) is not None:
            call = self._call(request, now, "chat", answer=f"refused: {_words(refusal)}", reply=refusal)
            call.order_as(chat)
            return call
        probe = Call(number=number, time=now, request=request, kind="chat", answer="")
        probe.order_as(chat)  # conditions see the request that came, and the order's prompt, images and model
        play = self._first(probe)
        if play is None:
            return None
        self._chats += 1
        probe.answer = play.name
        if play.failure is not None:
            play.played += 1
            probe.reply = play.failure
        else:
            probe.reply = self._perform(play, probe)
        if play.failure is not None or play.fault is not None:
            _dated(probe, self._client)
        self._note(probe)
        return probe

    def _first(self, call: Call, *, failures: bool = True, on: str = "chat") -> Play | None:
        ordinal = 1 + (self._chats if on == "chat" else self._asked[on])
        for play in self.plays:
            if play.exhausted or play.on != on or (play.source is None and not failures):
                continue
            if not play.when.differs(call, ordinal):
                return play
        return None

    def _perform(self, play: Play, call: Call) -> Reply:
        if play.source is None:  # a fault, which breaks the answer of the play behind it
            behind = self._first(call, failures=False)
            source = behind.source if behind is not None else None
            source = source or Scenario.image(call.prompt).progress(14, 48)
            index = behind.chat if behind is not None and isinstance(source, Tape) else 0
            reply = self._reply(play, source, call, None, index)
        else:
            run, index = play.next_chat()
            reply = self._reply(play, play.source, call, run, index)
        if play.fault is not None:
            reply = play.fault.apply(reply, random=self._random)
        if play.source is None:  # not before: a fault that has no place there was not played
            play.played += 1
        return reply

    def _reply(self, play: Play, source: Tape | Scenario, call: Call, run: Run | None, index: int) -> Reply:
        options = call._body.get("stream_options")
        usage = isinstance(options, dict) and bool(options.get("include_usage"))
        number = self._begun
        world: World
        if isinstance(source, Tape):
            reply = source.reply(stream=call.stream, include_usage=usage, index=index)
            world = TapeJob(source, number, source.interactions[index])
            pace = world.pace
        else:
            job = source.bind(self.origin, seed=self.seed, number=number)
            reply = job.reply(stream=call.stream, include_usage=usage, model=call.model or "")
            world, pace = job, job.pace
        call.job = self.begin(Job(play, world, call.time, pace, run, index))
        return reply

    def _recorded(self, request: Request, now: float) -> Call | None:
        """A request that a played tape holds an answer to: a poll, a download."""
        for job in self._jobs.values():
            if job.run is not None and (index := job.run.other(request)) is not None:
                return self._replayed(request, now, job.play, job.run, index)
        for play in self.plays:
            if (found := play.in_front(request)) is not None:
                return self._replayed(request, now, play, *found)
        for job in reversed(self._jobs.values()):
            if job.run is None or not (indices := job.run.recorded(request)):
                continue
            # What was given is given again where it stays so; what would come next of a job is not made up.
            reply = job.run.tape.interactions[indices[-1]].reply
            if _kind(request, job.world.role_of(request.url), reply) in ("media", "models") or _told_the_end(reply):
                return self._replayed(request, now, job.play, job.run, indices[-1])
        return None

    def _replayed(self, request: Request, now: float, play: Play, run: Run, index: int) -> Call:
        number = self._owner(run, index)
        role = None if number is None else self._jobs[number].world.role_of(request.url)
        reply = run.tape.interactions[index].reply
        kind = _kind(request, role, reply)
        role = role if kind == "media" else None
        call = self._call(request, now, kind, answer=play.name, reply=reply, role=role, job=number)
        if index in run.others and call.answer == play.name:  # what a failure took the place of is still to come
            run.others.remove(index)
        return call

    def _owner(self, run: Run, index: int) -> Hashable:
        """The job that an interaction is about: that of the chat answer before it."""
        jobs = [(job.index, number) for number, job in self._jobs.items() if job.run is run]
        before = [number for at, number in jobs if at < index]
        return before[-1] if before else jobs[0][1] if jobs else None

    def _linked(self, request: Request, now: float) -> Call | None:
        for number, job in reversed(self._jobs.items()):
            role = job.world.role_of(request.url)
            poll = role in (None, "source", "web")
            reply = job.world.answer(request.url, now - job.began + job.skipped)
            if reply is None:
                continue
            if poll:
                reply = job.world.answer(request.url, job.time(now, poll=True, virtual=self.virtual)) or reply
            if request.method == "HEAD":
                reply = (reply[0], reply[-1])
            kind = "web" if role == "web" else "poll" if poll else "media"
            return self._call(
                request, now, kind, answer=job.play.name, reply=reply, role=None if poll else role, job=number
            )
        return None

    def _models(self, request: Request, now: float) -> Call | None:
        path, _, last = request.path.rpartition("/")
        if last != "models" and not path.endswith("/models"):
            return None
        names = {name: None for play in self.plays if (name := _model(play))}
        names.update(dict.fromkeys(call.model for call in self.calls.chats if call.model))
        models = [{"id": n, "object": "model", "created": 1626777600, "owned_by": "tickertape"} for n in names]
        if self.validate and (refusal := refuse_key(request, number=self.calls.seen + 1)) is not None:
            return self._call(request, now, "models", answer=f"refused: {_words(refusal)}", reply=refusal)
        if last == "models":
            reply = whole(200, {"object": "list", "data": models})
        else:
            found = [model for model in models if model["id"] == last]
            words = f"The model '{last}' does not exist or you do not have access to it."
            unknown = error_reply(404, message=words, type="invalid_request_error", code="model_not_found")
            reply = whole(200, found[0]) if found else unknown
        return self._call(request, now, "models", answer="the models of what is played", reply=reply)

    # -- what did not match -------------------------------------------------------------

    def unusable(self, request: Request, now: float, cause: Exception) -> UnusablePlay:
        """Note a request whose answer failed by a mistake of the test: a fault without a place, a raising `when`."""
        from ._explain import bare  # for an error only

        lines = [
            f"{request.method} {bare(request.url)} could not be answered by what was played for it.",
            f"found: {type(cause).__name__}: {cause}",
            "remedy: mend the fault or the condition that was played",
        ]
        error = UnusablePlay("\n  ".join(lines), request)
        with self.lock:
            self._call(request, now, "unmatched", answer=type(cause).__name__, ended="refused", ended_at=now)
            self._miss(error)
        return error

    def unmatched(self, request: Request, now: float) -> UnmatchedRequest:
        """Note a request that nothing answers, and explain it."""
        from ._endpoints import as_order
        from ._explain import explain  # for an error only

        with self.lock:
            call = self._call(request, now, "unmatched", answer="nothing", ended="refused", ended_at=now)
            call.order_as(as_order(request))
            error = UnmatchedRequest(explain(self, call), request)
            self._miss(error)
            return error

    def _miss(self, error: UnmatchedRequest) -> None:
        self.missed.append(error)
        if self.keep is not None:
            del self.missed[: -self.keep]

    def judged(self, call: Call) -> list[tuple[list[str], Play]]:
        """What speaks against each play for this call, which none of them answers."""
        return [(play.when.differs(call, self._chats + 1), play) for play in self.plays if play.on == "chat"]

    def used_up(self, request: Request) -> tuple[str, int] | None:
        """The play that held answers to this request, and how many, which were all given."""
        given = ((job, len(job.run.recorded(request))) for job in reversed(self._jobs.values()) if job.run is not None)
        return next(((job.play.name, count) for job, count in given if count), None)

    def link(self, url: str) -> tuple[str, str] | None:
        """The play whose answer leads there, and what the URL is to it."""
        roles = ((job, job.world.role_of(url)) for job in reversed(self._jobs.values()))
        return next(((job.play.name, role) for job, role in roles if role is not None), None)

    def links(self) -> list[str]:
        """What the answers so far lead to."""
        return [url for job in self._jobs.values() for url in job.world.urls]

    @property
    def tapes_played(self) -> set[str]:
        """The names of the tapes that requests were answered from."""
        return {play.source.name for play in self.plays if isinstance(play.source, Tape) and play.played}

    def verify(self) -> None:
        """Raise what a test must not end with: a request that nothing matched, a play that nothing asked for."""
        if self.missed:
            raise self.missed[0]
        left = [told for play in self.plays if (told := play.unplayed)]
        if left:
            raise UnplayedError(
                "; ".join(left) + ". Expected every play to be asked for; play it with optional=True if it need not be"
            )


def _words(refusal: Reply) -> str:
    """What the relay says of a request that it refuses by its rules."""
    error = parse_response(body_of(refusal), 400).error
    return "" if error is None else str(error.message)


def is_chat(request: Request) -> bool:
    return request.path.rstrip("/").endswith("/chat/completions")


def _dated(call: Call, client: Client | None) -> None:
    """Send the time of day with a failure that names another one: what a client waits for is the time between them."""
    head = head_of(call.reply or ())
    named = None if head is None else head.header("retry-after")
    if head is None or call.reply is None or named is None or "," not in named or head.header("date") is not None:
        return
    from email.utils import formatdate, parsedate_to_datetime  # for tests of dates only

    with contextlib.suppress(ValueError):  # any text may be sent
        parsedate_to_datetime(named)
        call.wall = None if client is None else client.wall
        dated = (*head.headers, ("date", formatdate(call.wall, usegmt=True)))
        call.reply = (replace(head, headers=dated), *call.reply[1:])


def _model(play: Play) -> str | None:
    """The model a play stands for: that of its condition, of the recorded request, or the dialect's name."""
    if isinstance(play.when.model, str):
        return play.when.model
    if not isinstance(play.source, Tape):
        return play.source.name if play.source is not None else None
    recorded = play.source.chat.request
    body = recorded.json if recorded is not None else None
    model = body.get("model") if isinstance(body, dict) else None
    return model if isinstance(model, str) else play.source.dialect


def _kind(request: Request, role: str | None, reply: Reply) -> Literal["poll", "web", "media", "models"]:
    """What a recorded request was for, by what its URL is to the job, else by itself and its answer."""
    if role is not None:
        return "web" if role == "web" else "poll" if role == "source" else "media"
    if "models" in request.path.rsplit("/", 2)[1:]:
        return "models"
    head = head_of(reply)
    content_type = (None if head is None else head.header("content-type")) or ""
    return "media" if content_type.startswith(("image/", "video/", "audio/")) else "poll"


def _told_the_end(reply: Reply) -> bool:
    """Whether a poll was told how the job ended; one that was refused was told nothing of it."""
    head = head_of(reply)
    if head is None or head.status >= 400:
        return False
    return parse_response(body_of(reply), head.status).status in ("completed", "failed")


def _origin(base_url: str | None) -> str | None:
    if base_url is None:
        return None
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}"
