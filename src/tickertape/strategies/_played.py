"""What a `FakeRelay` plays, and the bodies that come of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from ..events import Kind
from ..testing._facts import Interaction
from ..testing._rules import error_reply, page
from ..testing._script import Language, languages
from ..testing._wire import End, Head, Request, body_of, end_of, head_of
from ..testing.faults import Fault, FaultError
from ..testing.scenario import DEFAULTS, Scenario, ScenarioError
from ..testing.tape import Tape
from ._arguments import chosen, flag, seconds, strategy, whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..testing._wire import Reply

KINDS: tuple[str, ...] = get_args(Kind)
ENDS = ("complete", "fail", "refuse", "cut", "error")
"""How a scenario may end: the methods of `Scenario` of these names."""
TRAITS = (
    "falling",
    "retry",
    "stall",
    "detached",
    "silent",
    "unlinked",
    "fewer",
    "signed",
    "broken_fence",
    "broken_echo",
)
"""What else may be odd about a scenario: the methods of `Scenario` of these names, `falling`
percentages, and `fewer` results than were asked for."""

PROMPTS: st.SearchStrategy[str] = st.sampled_from(
    ["a cat", "图中形象在喝牛奶", 'say "no"\n```\n> 生成失败 ❌', "https://in.example/a.png download", "{}", ""]
) | st.text(st.characters(codec="utf-8"), max_size=30)
"""Words of a prompt decide nothing, whatever they are."""

REASONS = (
    "input_moderation",
    "该任务的输入或者输出可能违反了OpenAI的相关服务政策",
    "余额不足，请充值",
    "当前分组上游负载已饱和，请稍后再试",
    "Too many requests, slow down",
    "上游任务超时",
    "Request failed with status code 502",
    "no idea",
)
PROSE = (
    "I can't draw that person. Would you like someone else?",
    "抱歉我不能画这个。换一个好吗？",
    "First line.\n\nSecond line, at length",
)


# -- scenarios -----------------------------------------------------------------------------


def scenarios(
    *,
    kinds: str | Iterable[str] | None = None,
    dialects: str | Iterable[str] | None = None,
    languages: str | Iterable[str] | None = None,
    ends: str | Iterable[str] | None = None,
    traits: str | Iterable[str] | None = None,
    prompts: st.SearchStrategy[str] | None = None,
    max_n: int = 4,
    max_seconds: float = 900.0,
) -> st.SearchStrategy[Scenario]:
    """Conversations with a relay, for `FakeRelay.play()` or to `bind()`.

    `kinds`, `dialects`, `languages`, `ends` (`ENDS`) and `traits` (`TRAITS`) are what may
    occur; all of it unless told, and `traits=()` is none of them. `prompts` are texts
    without half characters, `max_n` bounds what is asked for at once, and no job takes
    longer than `max_seconds`.

    Shrinks towards `Scenario.image('a cat')`, one call of the chain after another.
    """
    bases = _bases(
        chosen("kinds", kinds, KINDS),
        chosen("dialects", dialects, Scenario.dialects()),
        chosen("languages", languages, get_args(Language)),
    )
    if not bases:
        raise InvalidArgument(
            f"no dialect of {dialects!r} writes kinds={kinds!r} in languages={languages!r}; leave one of them out"
        )
    return _scenarios(
        bases,
        chosen("ends", ends, ENDS),
        chosen("traits", traits, TRAITS, empty=True),
        PROMPTS if prompts is None else strategy("prompts", prompts),
        whole("max_n", max_n, least=1),
        seconds("max_seconds", max_seconds),
    )


@cache
def _bases(kinds: tuple[str, ...], dialects: tuple[str, ...], spoken: tuple[str, ...]) -> tuple[Scenario, ...]:
    """A scenario for every kind, dialect and language that go together; plain ones first."""
    found = []
    for kind in kinds:
        own = DEFAULTS[kind][0]
        for dialect in sorted(Scenario.dialects(kind), key=lambda name: name != own):
            begun: Scenario = getattr(Scenario, kind)("").dialect(dialect)
            for language in languages(dialect):
                if dialect in dialects and language in spoken:
                    first = language == languages(dialect)[0]
                    found.append(begun if first else begun.language(language))
    return tuple(sorted(found, key=lambda scenario: bool(scenario.intent.dialect) + bool(scenario.intent.language)))


@st.composite
def _scenarios(
    draw: st.DrawFn,
    bases: tuple[Scenario, ...],
    ends: tuple[str, ...],
    traits: tuple[str, ...],
    prompts: st.SearchStrategy[str],
    max_n: int,
    max_seconds: float,
) -> Scenario:
    base = draw(st.sampled_from(bases))
    end = draw(st.sampled_from(ends))
    odd = draw(st.lists(st.sampled_from(traits), unique=True, max_size=3)) if traits else []
    prompt = draw(prompts)
    if not isinstance(prompt, str):
        raise InvalidArgument(f"prompts gave {prompt!r}: expected texts")
    scenario = Scenario(replace(base.intent, prompt=prompt, n=draw(st.integers(1, max_n))))
    for polls in ("queue", "generate"):  # None: as the scenario has it
        if (count := draw(st.none() | st.integers(0, 4))) is not None:
            scenario = getattr(scenario, polls)(count)
    percents = draw(st.lists(st.integers(0, 100), max_size=4))
    if percents:
        scenario = scenario.progress(*(percents if "falling" in odd else sorted(percents)))
    scenario = _ended(draw, scenario, end)
    for trait in odd:
        scenario = _odd(draw, scenario, trait, max_seconds)
    return _in_time(scenario, max_seconds)


def _ended(draw: st.DrawFn, scenario: Scenario, end: str) -> Scenario:
    match end:
        case "fail":
            reason = draw(st.none() | st.sampled_from(REASONS))
            return scenario.fail(reason)
        case "refuse":
            return scenario.refuse(draw(st.sampled_from(PROSE)))
        case "error":
            return scenario.error(draw(st.sampled_from(REASONS)))
        case "cut":
            return scenario.cut()
    return scenario


def _odd(draw: st.DrawFn, scenario: Scenario, trait: str, max_seconds: float) -> Scenario:
    """The scenario with a trait, where its dialect and its end can have it."""
    arguments: tuple[Any, ...] = ()
    match trait:
        case "falling":
            return scenario
        case "retry":
            arguments = (draw(st.integers(1, 3)),)
        case "stall":
            arguments = (draw(st.integers(1, max(1, int(max_seconds)))),)
        case "signed":
            arguments = (draw(st.integers(0, 3600)),)
        case "fewer":
            trait, arguments = "results", (draw(st.integers(1, scenario.intent.n)),)
    try:
        changed: Scenario = getattr(scenario, trait)(*arguments)
    except ScenarioError:
        return scenario
    return changed


def _in_time(scenario: Scenario, max_seconds: float) -> Scenario:
    took = scenario.bind().duration
    if took > max_seconds and scenario.intent.stall:
        scenario = scenario.stall(max(0.0, scenario.intent.stall - (took - max_seconds)))
        took = scenario.bind().duration
    if took > max_seconds:
        stall = scenario.intent.stall
        scenario = scenario.pace(scenario.seconds * max(0.0, max_seconds - stall) / (took - stall) * 0.999)
    return scenario


# -- faults -----------------------------------------------------------------------------------


def faults(
    scenario: Scenario | Tape | None = None,
    *,
    stream: bool | None = None,
    kinds: str | Iterable[str] | None = None,
    max_seconds: float = 600.0,
) -> st.SearchStrategy[Fault]:
    """What goes wrong between a relay and its client, for `play(fault=…)` and `fail(fault=…)`.

    Given what is played, and whether the call asks for a `stream`, only faults that
    its answer can have are drawn, with places that are in it; that is the form to use
    with a relay, which raises `FaultError` for a fault that would change nothing.
    Without it faults are for `Fault.apply()` and may not fit. `kinds` are names of the
    class methods of `Fault`, `max_seconds` bounds what comes late.

    Shrinks towards no connection, and towards early places.
    """
    names = chosen("kinds", kinds, tuple(_MAKERS))
    longest = seconds("max_seconds", max_seconds)
    if stream is not None:
        flag("stream", stream)
    if scenario is None:
        fitting = {name: _made(name, 200, 20, (), longest) for name in names}
        if stream is not None:
            wrong = "json" if stream else "stream"
            fitting = {name: made.filter(lambda fault: fault.needs != wrong) for name, made in fitting.items()}
            fitting = {name: made for name, made in fitting.items() if _PLAIN[name].needs != wrong}
    else:
        reply = _reply(scenario, stream=stream)
        body, streamed = body_of(reply), _streamed(reply)
        frames = max(1, body.count(b"data:") // 3) if streamed else 0  # another seed cuts the echo into fewer
        events = _events(body) if streamed else ()
        fitting = {
            name: _made(name, len(body), frames, events, longest) for name in names if _fits(_PLAIN[name], reply)
        }
    if not fitting:
        raise InvalidArgument(f"kinds={kinds!r}: this answer can have none of them; leave kinds out")
    return st.sampled_from(sorted(fitting, key=names.index)).flatmap(fitting.__getitem__)


def _reply(played: Any, *, stream: bool | None) -> Reply:
    if isinstance(played, Scenario):
        return played.bind().reply(stream=bool(stream))
    if isinstance(played, Tape):
        return played.reply(stream=stream)
    raise InvalidArgument(f"scenario={played!r}: expected a Scenario or a Tape, which the fault breaks")


def _streamed(reply: Reply) -> bool:
    return body_of(reply).lstrip().startswith(b"data:")


def _events(body: bytes) -> tuple[str, ...]:
    """Events that happen in the middle of an answer."""
    from ..envelope import ResponseReader

    seen = {type(event).__name__ for event in ResponseReader().feed(body)}
    return tuple(name for name in ("TaskId", "Stage", "Progress") if name in seen)


def _fits(fault: Fault, reply: Reply) -> bool:
    try:
        fault.apply(reply, random=random.Random(0))
    except FaultError:
        return False
    return True


_PLAIN: dict[str, Fault] = {
    "refused": Fault.refused(),
    "disconnect": Fault.disconnect(),
    "status": Fault.status(503),
    "html": Fault.html(),
    "reset": Fault.reset(),
    "close": Fault.close(),
    "end": Fault.end(),
    "truncated_json": Fault.truncated_json(),
    "error_frame": Fault.error_frame(),
    "malformed": Fault.malformed(),
    "duplicate": Fault.duplicate(),
    "reorder": Fault.reorder(),
    "split_utf8": Fault.split_utf8(),
    "drip": Fault.drip(40),  # the coarsest that is drawn: it is tried on every answer
    "late": Fault.late(1.0),
    "stall": Fault.stall(1.0),
    "unanswered": Fault.unanswered(),
    "sse": Fault.sse(),
    "content_type": Fault.content_type(),
}
"""Each kind with its places open; those that break least of a client's assumptions first."""
_STATUSES = (503, 429, 500, 502, 504, 524, 400, 401, 403, 404, 408, 413)


def _made(name: str, size: int, frames: int, events: tuple[str, ...], longest: float) -> st.SearchStrategy[Fault]:
    made: st.SearchStrategy[Fault] = _MAKERS[name](size, frames, events, longest)
    return made


def _places(name: str, size: int, frames: int, events: tuple[str, ...]) -> st.SearchStrategy[Fault]:
    """A fault at a place, or with its place open: early bytes first."""
    make = getattr(Fault, name)
    found = [st.builds(make, byte=st.integers(0 if name != "end" else 1, max(1, size - 1)))] if size > 1 else []
    if frames:
        found.append(st.builds(make, frame=st.integers(1, frames)))
    if events and name != "end":
        found.append(st.builds(make, event=st.sampled_from(events)))
    return st.one_of(st.just(make()), *found)


def _stalls(size: int, frames: int, events: tuple[str, ...], longest: float) -> st.SearchStrategy[Fault]:
    places = _places("stall", size, frames, events)

    def stalled(place: Fault, length: float | None) -> Fault:
        return Fault.stall(length, **{key: value for key, value in place.options if key != "seconds"})

    return st.builds(stalled, places, st.none() | _lengths(longest))


def _lengths(longest: float) -> st.SearchStrategy[float]:
    return st.integers(1, max(1, int(longest))).map(lambda whole: min(float(whole), longest))


_MAKERS: dict[str, Any] = {
    **{name: lambda *told, fault=fault: st.just(fault) for name, fault in _PLAIN.items()},
    **{
        name: lambda size, frames, events, longest, name=name: _places(name, size, frames, events)
        for name in ("reset", "close", "end")
    },
    "stall": _stalls,
    "truncated_json": lambda size, frames, events, longest: st.builds(Fault.truncated_json, honest=st.booleans()),
    "late": lambda size, frames, events, longest: _lengths(longest).map(Fault.late),
    "drip": lambda size, frames, events, longest: st.builds(
        Fault.drip, st.sampled_from([40, 7, 1]), st.just(min(0.05, longest / max(1, size)))
    ),
    "status": lambda size, frames, events, longest: st.builds(
        Fault.status, st.sampled_from(_STATUSES), retry_after=st.none() | st.integers(1, max(1, int(min(longest, 120))))
    ),
    "html": lambda size, frames, events, longest: st.sampled_from([502, 504, 524, 200]).map(Fault.html),
    "error_frame": lambda size, frames, events, longest: (
        st.builds(Fault.error_frame, st.sampled_from(REASONS), event=st.booleans())
        if frames
        else st.builds(Fault.error_frame, st.sampled_from(REASONS))
    ),
    "sse": lambda size, frames, events, longest: st.booleans().map(lambda quoted: Fault.sse(quoted=quoted)),
    "content_type": lambda size, frames, events, longest: st.sampled_from(
        [Fault.content_type(), Fault.content_type(None)]
    ),
}


# -- tapes ----------------------------------------------------------------------------------------


def tapes(
    *,
    scenario: st.SearchStrategy[Scenario] | None = None,
    allow_faults: bool = True,
    max_interactions: int = 3,
) -> st.SearchStrategy[Tape]:
    """Recordings of conversations: a chat request with its answer, then polls of its job.

    `scenario` gives the conversations; answers may be broken (`allow_faults`). A tape is
    as if it was loaded from a file: equal to what is loaded from what it saves.

    Shrinks towards one answer of the plainest scenario.
    """
    return _tapes(
        scenarios() if scenario is None else strategy("scenario", scenario),
        flag("allow_faults", allow_faults),
        whole("max_interactions", max_interactions, least=1),
    )


@st.composite
def _tapes(draw: st.DrawFn, played: st.SearchStrategy[Scenario], allow_faults: bool, most: int) -> Tape:
    from ..testing._chat import dump
    from ..testing._facts import HOST, unreadable

    scenario = draw(played)
    stream = draw(st.booleans())
    job = scenario.bind()
    reply = job.reply(stream=stream, model=scenario.name)
    if allow_faults and draw(st.booleans()):
        fault = draw(faults(scenario, stream=stream))
        if _fits(fault, reply):
            reply = fault.apply(reply, random=random.Random(0))
    body: dict[str, Any] = {"model": scenario.name, "messages": [{"role": "user", "content": scenario.intent.prompt}]}
    body |= {"stream": True} if stream else {}
    chat = Interaction(Request("POST", f"{HOST}/v1/chat/completions", {}, dump(body, sort_keys=True)), _timed(reply))
    if unreadable(chat) is not None:  # an answer that says nothing is kept as one that broke off
        chat = Interaction(chat.request, (*chat.reply[:-1], End(end_of(chat.reply).t, "closed")))
    interactions = [chat]
    source = next(url for url, role in job.urls.items() if role == "source")
    path = source.removeprefix("https://relay.example")
    for t in sorted(draw(st.lists(st.integers(0, 900), max_size=most - 1))):
        answer = job.answer(source, t)
        assert answer is not None
        interactions.append(Interaction(Request("GET", HOST + path), answer))
    tape = Tape(f"drawn/{scenario.intent.kind}", repr(scenario), None, tuple(interactions))
    return Tape.loads(tape.dumps(), name=tape.name)


def _timed(reply: Reply) -> Reply:
    """With times that a tape keeps: milliseconds."""
    return tuple(replace(step, t=round(step.t, 3)) for step in reply)


# -- responses ------------------------------------------------------------------------------------

Form = Literal["completion", "stream", "poll", "error"]


@dataclass(frozen=True, slots=True)
class Response:
    """A body as it came, for `parse_response(body, status_code)`."""

    form: Form
    status_code: int
    body: bytes


def responses(
    *, forms: str | Iterable[str] | None = None, scenario: st.SearchStrategy[Scenario] | None = None
) -> st.SearchStrategy[Response]:
    """Bodies with their HTTP status, in any of the `forms`: completion, stream, poll, error.

    A poll is the JSON behind a job's `source` link at some moment, an error what a
    relay or a gateway refuses with. Shrinks towards a completion of the plainest scenario.
    """
    played = scenarios() if scenario is None else strategy("scenario", scenario)
    return st.sampled_from(chosen("forms", forms, get_args(Form))).flatmap(lambda form: _responses(form, played))


@st.composite
def _responses(draw: st.DrawFn, form: Any, played: st.SearchStrategy[Scenario]) -> Response:
    if form == "error":
        code = draw(st.sampled_from(_STATUSES))
        reply = draw(st.sampled_from([error_reply(code), page(code)]))
    else:
        scenario = draw(played)
        job = scenario.bind()
        if form == "poll":
            source = next(url for url, role in job.urls.items() if role == "source")
            answer = job.answer(source, draw(st.floats(0, max(1.0, 1.2 * job.duration))))
            assert answer is not None
            reply = answer
        else:
            reply = job.reply(stream=form == "stream", model=scenario.name)
    head = head_of(reply)
    assert isinstance(head, Head)
    return Response(form, head.status, body_of(reply))
