"""Did the client behave? What the journal tells of it, in words.

A judge must not accuse wrongly, or nobody listens. So every check asks what the
client could know when it acted: an answer counts from the time at which it was
read, and only as far as it was read.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import groupby, pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._errors import TickertapeError
from ..responses import parse_response
from ._journal import seconds
from ._wire import Data, body_of, end_of, head_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from ..task import TaskError
    from ._journal import Call

FINDINGS: dict[str, str] = {
    "submitted_twice": "a paid job was submitted again though the relay had taken it and it had not failed",
    "retry_after_ignored": "a request came sooner than the Retry-After of the refusal before it",
    "retried_hopeless": "a request was repeated after an answer that cannot change",
    "hammered": "a job was polled again and again in less than the interval",
    "polled_after_end": "a job was polled though the client had read how it ended",
    "gave_up": "a job was left while it ran, though nothing had failed",
    "truncated_accepted": "a stream that broke off cleanly was taken for the whole",
    "preview_downloaded": "a cover or a preview was fetched and the result never was",
    "no_read_timeout": "a client without a read timeout waited for bytes that would never come",
}
"""Every finding by its name, and what it means."""

_SAME = 1e-3
"""Seconds. Times this close are one moment: sums of floats, and a Retry-After in milliseconds."""
_JITTER = 0.1
"""Of the interval between polls: a timer that is late once is early the next time."""
_CLOSE_POLLS = 3
"""Polls in a row that came too soon, before it is called hammering: one may be a redraw, two a reload."""
_FINAL_STATUSES = frozenset({400, 401, 403, 404, 422})
_FINAL_CATEGORIES = frozenset({"moderation", "quota", "invalid_request", "auth", "not_found"})
_PASSING_CATEGORIES = frozenset({"overloaded", "rate_limit", "timeout", "upstream"})
"""Words of a message that win over the status: gateways wrap a busy upstream into a 400."""
_DONE = re.compile(rb"^data: ?\[DONE\]", re.MULTILINE)


class UnknownFinding(TickertapeError, ValueError):
    """A name that is no finding's was to be allowed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the client did that it should not."""

    name: str
    """A key of `FINDINGS`."""
    calls: tuple[int, ...]
    """The numbers of the calls it is about, ascending."""
    explanation: str
    """What was seen, why it matters, what to do: a sentence each."""

    def __str__(self) -> str:
        return f"{self.name} ({_listed(self.calls)}): {self.explanation}"


class ClientMisbehaved(AssertionError):
    """The client did what it should not; `findings` says what."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(self.findings)

    def __str__(self) -> str:
        return render_findings(self.findings)


def allowed(names: Iterable[str]) -> frozenset[str]:
    """The names as a set. Raises `UnknownFinding`, a ValueError, for a name that is not in `FINDINGS`."""
    given = frozenset((names,) if isinstance(names, str) else names)
    if unknown := sorted(given - FINDINGS.keys()):
        raise UnknownFinding(f"no finding is called {', '.join(map(repr, unknown))}; there are {', '.join(FINDINGS)}")
    return given


def render_findings(findings: Iterable[Finding]) -> str:
    """The findings as text for a failure report; empty where there is none."""
    told = list(findings)
    if not told:
        return ""
    names = ", ".join(f'"{name}"' for name in dict.fromkeys(finding.name for finding in told))
    count = "one finding" if len(told) == 1 else f"{len(told)} findings"
    lines = [f"the client misbehaved: {count}", *(f"- {finding}" for finding in told)]
    return "\n".join([*lines, f"What is meant to be so is allowed by name: allow=[{names}]"])


def judge(calls: Sequence[Call], *, end_time: float, minimum_poll_interval: float = 1.0) -> list[Finding]:
    """What the client did wrong, in the order in which it began; empty where it behaved.

    `calls` are in order of arrival. `end_time` is the virtual time at which the
    test ends, in seconds as `Call.time`; `minimum_poll_interval` is in seconds too.
    """
    case = _Case(calls, end_time)
    found = [
        *_submitted_twice(case),
        *_retry_after_ignored(case),
        *_retried_hopeless(case),
        *_hammered(case, minimum_poll_interval),
        *_polled_after_end(case),
        *_left_unfinished(case),
        *_preview_downloaded(case),
        *_no_read_timeout(case),
    ]
    return sorted(found, key=lambda finding: finding.calls[0])


class _Case:
    """The calls, by what they belong to, and what the client knew when."""

    def __init__(self, calls: Sequence[Call], end_time: float) -> None:
        self.calls = calls
        self.end_time = end_time
        self.jobs: defaultdict[Hashable, list[Call]] = defaultdict(list)
        self.orders: defaultdict[Hashable, list[Call]] = defaultdict(list)
        """What is paid for, by whom; on whichever host, for a fallback after a timeout pays twice as well."""
        self.wishes: defaultdict[str, list[Call]] = defaultdict(list)
        for call in calls:
            self.jobs[_job(call)].append(call)
            if call.kind == "chat":
                self.orders[call.order, call.payer].append(call)
                self.wishes[call.wish].append(call)

    def looks(self, chat: Call, time: float) -> list[Call]:
        """What had told the client of this chat's job by that time: the chat, then the polls."""
        looks = (chat, *(c for c in self.jobs[_job(chat)] if c.kind == "poll"))
        return [call for call in looks if _read_at(call) <= time + _SAME]

    def failure(self, chat: Call, time: float) -> tuple[Call, TaskError] | None:
        """The call that had told the client, by that time, that this chat's job failed."""
        for call in self.looks(chat, time):
            error = call.task.error if call.task and _told(call) == "failed" else None
            if error is not None:
                return call, error
        return None

    def result(self, chat: Call, time: float) -> Call | None:
        """The call that had told the client, by that time, where the result of this chat's job is."""
        return next((c for c in self.looks(chat, time) if _told(c) == "completed" and _has_address(c)), None)

    def came_to_nothing(self, chat: Call, time: float) -> bool:
        """Whether the client had read, by that time, that this chat's job is over, and got nothing of it, nor has
        any way left to ask for it."""
        looks = self.looks(chat, time)
        if any(map(_has_address, looks)):
            return False
        if not any(map(_can_be_asked_for, looks)):
            return chat in looks and _finished(chat) and _told(chat) in ("completed", "incomplete")
        done = [call for call in looks if _told(call) == "completed"]
        if any(call.kind == "poll" and not _tells_no_url(call) for call in done):
            return True
        over = min(map(_read_at, done), default=math.inf)
        asked = _fetched(self.jobs[_job(chat)], "result", "download")
        return any(c.status == 404 and c.time >= over - _SAME and _head_at(c) <= time + _SAME for c in asked)

    def came_back(self, chat: Call) -> bool:
        """Whether the same was wanted again later: of another model or host, perhaps, but not by another user."""
        later = (call for call in self.wishes[chat.wish] if call.number > chat.number)
        return any(call.payer == chat.payer or _host(call) != _host(chat) for call in later)


def _submitted_twice(case: _Case) -> Iterator[Finding]:
    for order in case.orders.values():
        taken: list[Call] = []
        live: Call | None = None
        again: list[Call] = []
        for call in order:
            running = [
                earlier
                for earlier in taken
                if case.failure(earlier, call.time) is None and not case.came_to_nothing(earlier, call.time)
            ]
            if running:
                live = live or running[0]
                again.append(call)
            if _taken(call):
                taken.append(call)
        if live is None:
            continue
        by_sdk = ", by the SDK's own retry," if any(call.retry for call in again) else ""
        remedy = "give paid requests max_retries=0 and a timeout longer than a job"
        looks = case.looks(live, again[0].time)
        if any(map(_can_be_asked_for, looks)):
            done = any(_told(call) == "completed" for call in looks)
            ask = "ask the job that is done for its result" if done else "poll the job that runs"
            remedy = f"{ask} instead, and {remedy}"
        if (told := case.result(live, again[0].time)) is not None:
            remedy = f"use the result that call {told.number} told of, or allow submitted_twice where two are meant"
        yield _finding(
            "submitted_twice",
            (live, *again),
            f"the paid request of call {live.number} was sent again{by_sdk} at {_times(again)}, though the relay had "
            f"taken it at {seconds(live.time)} and the client had not read of a failure (it read: {_knowledge(live)})",
            "the relay runs, and charges, the same job once more",
            remedy,
        )


def _retry_after_ignored(case: _Case) -> Iterator[Finding]:
    asked = [call for call in case.calls if call.kind != "unmatched"]
    for at, refusal in enumerate(asked):
        wait = retry_after(refusal)
        if wait is None or refusal.status not in (429, 503) or not _saw_head(refusal):
            continue
        told = _head_at(refusal)
        early = [
            call
            for call in asked[at + 1 :]
            if _route(call) == _route(refusal)
            and _knew(call, refusal, told)
            and _waited(call, refusal, told) < wait - _SAME
        ]
        if early:
            yield _finding(
                "retry_after_ignored",
                (refusal, *early),
                f"call {refusal.number} was refused at {seconds(told)} with status {refusal.status} and a Retry-After "
                f"of {seconds(wait)}, and the same route was asked again at {_times(early)}",
                "a relay counts what comes too soon against its limit and refuses for longer",
                f"wait until {seconds(told + wait)}, all workers of that key together",
            )


def _retried_hopeless(case: _Case) -> Iterator[Finding]:
    same: defaultdict[Hashable, list[Call]] = defaultdict(list)
    for call in case.calls:
        if call.kind != "unmatched":
            # With another key, or of another host, it is another request.
            what = (call.order, _host(call)) if call.kind == "chat" else (call.request.method, call.request.url)
            same[what, call.payer].append(call)
    for group in same.values():
        for at, call in enumerate(group[:-1]):
            again = [later for later in group[at + 1 :] if _hopeless(case, call, later)]
            if again:
                yield _finding(
                    "retried_hopeless",
                    (call, *again),
                    f"the request of call {call.number} was repeated unchanged at {_times(again)} after "
                    f"{_refusal(case, call, again[0].time)}",
                    "that answer stays the same: the user only waits longer, and relays lock out keys for it",
                    "show the error at once, and retry only rate_limit, overloaded, timeout and upstream failures",
                )
                break


def _hammered(case: _Case, interval: float) -> Iterator[Finding]:
    for job in case.jobs.values():
        polls = [call for call in job if call.kind in ("poll", "web")]
        soon = interval * (1 - _JITTER)
        gaps = groupby(pairwise(polls), key=lambda pair: _waited(pair[1], pair[0], pair[0].time) < soon - _SAME)
        runs = [list(pairs) for close, pairs in gaps if close]
        longest = max(runs, key=len, default=[])
        if len(longest) >= _CLOSE_POLLS:
            run = [longest[0][0], *(later for _, later in longest)]
            took = run[-1].time - run[0].time
            yield _finding(
                "hammered",
                run,
                f"one job was polled {len(run)} times within {seconds(took)} from {seconds(run[0].time)} on, "
                f"{seconds(took / len(longest))} apart on average",
                "a job takes minutes, and relays answer such clients with 429",
                f"wait at least {seconds(interval)} between polls, better longer each time",
            )


def _polled_after_end(case: _Case) -> Iterator[Finding]:
    for job in case.jobs.values():
        end = _end(job)
        if end is None:
            continue
        read = _read_at(end)
        after = [call for call in job if call.number > end.number and _knew(call, end, read)]
        # A link that has run out is a reason to ask for a fresh one.
        broken = next((c.number for c in after if c.kind == "media" and (c.status or 500) >= 400), math.inf)
        # Only a GET asks how the job is: a HEAD tests a link, a DELETE tidies up.
        polls = [c for c in after if c.kind == "poll" and c.request.method == "GET" and c.number < broken]
        if not _has_address(end) and _told(end) == "completed":
            # Where it is may be asked once of another route, which tells addresses.
            other = next((call for call in polls if call.request.url != end.request.url), None)
            polls = [call for call in polls if call is not other]
        if polls:
            yield _finding(
                "polled_after_end",
                (end, *polls),
                f"call {end.number} told at {seconds(read)} that the job is {_told(end)}, and it was polled again at "
                f"{_times(polls)}",
                "no answer can follow that one, so a loop that misses the end may never stop",
                "stop polling when the status is completed or failed",
            )


def _left_unfinished(case: _Case) -> Iterator[Finding]:
    """`truncated_accepted` and `gave_up`: one fact each, never both of one job."""
    for job in case.jobs.values():
        looks = [call for call in job if call.kind in ("poll", "web") or _accepted(call)]
        if not looks or any(_told(call) in ("completed", "failed") for call in looks):
            continue
        last = max(looks, key=lambda call: (_read_at(call), call.number))
        came_back = any(case.came_back(call) for call in looks if call.kind == "chat")
        has_result = _fetched(job, "result", "download")
        if came_back or has_result or last.kind == "web" or not _ok(last) or _failed_under_way(last):
            continue
        to_ask = any(call.kind == "poll" or _can_be_asked_for(call) for call in looks)
        if _truncated(last):
            done = last.task is not None and last.task.status == "completed"
            lacked = "a result, finish_reason or [DONE]" if done else "finish_reason, [DONE], verdict or result"
            yield _finding(
                "truncated_accepted",
                (last,),
                f"the stream of call {last.number} ended at {seconds(_over_at(last))} "
                f"{'with a line of success, but ' if done else ''}without {lacked}, and the client neither polled nor "
                "asked again",
                "the SDK raises nothing there, so a half-told job passes for success",
                f"raise when the task {'has no results' if done else 'is incomplete'}"
                f"{', or poll its link' if to_ask else ''}; an exception your own code raised cannot be seen from "
                "here: if it did, allow truncated_accepted in this test",
            )
        elif not _finished(last) or to_ask:
            how = _HOW_LEFT.get(last.ended, _HOW_LEFT[None])
            go_on = "poll its link" if to_ask else "read on"
            remedy = f"{go_on} until the status is completed or failed, with a deadline longer than the job"
            if last.ended == "timeout":
                remedy = "give it a timeout longer than the job" + (f", or {go_on}" if to_ask else "")
            yield _finding(
                "gave_up",
                (last,),
                f"call {last.number} {how} at {seconds(_over_at(last))} while the job was not over (it told: "
                f"{_knowledge(last)}), and nothing more was asked of it until {seconds(case.end_time)}",
                "the job runs on and is paid, and nobody fetches what it makes",
                remedy,
            )


_HOW_LEFT = {
    "eof": "was answered to its end",
    "left": "was left by the client",
    "timeout": "was ended by the client's own timeout",
    None: "stayed open",
}
"""By how a call ended: what the client did."""


def _preview_downloaded(case: _Case) -> Iterator[Finding]:
    for job in case.jobs.values():
        fetched = [call for call in _fetched(job, "poster", "preview") if _ok(call)]
        known = [result.url for call in job if call.task for result in call.task.results]
        # A preview of a job that is not done, or of a result that came as a data URL, is no mistake.
        to_fetch = any(not url.startswith("data:") for url in known)
        if not known and any(call.kind == "poll" and _told(call) == "completed" for call in job):
            # OpenAI's video job tells no URL: its cover, and its result, are variants of one address.
            to_fetch = any(call.request.path.endswith("/content") for call in fetched)
        if fetched and to_fetch and not _fetched(job, "result", "download"):
            roles = " and ".join(dict.fromkeys(f"the {call.role}" for call in fetched))
            yield _finding(
                "preview_downloaded",
                fetched,
                f"{roles} of a job was fetched at {_times(fetched)}, and none of its results ever was",
                "a cover or a preview is small, and gone after hours: the user gets the wrong file",
                "fetch the url (or download_url) of task.results, not poster_url and not task.previews"
                if known
                else "fetch the job's content without a variant, or with variant=video",
            )


def _no_read_timeout(case: _Case) -> Iterator[Finding]:
    for call in case.calls:
        if call.ended == "hang":
            yield _finding(
                "no_read_timeout",
                (call,),
                f"call {call.number} of {seconds(call.time)} got {call.received} bytes and then nothing more, and the "
                "client had no read timeout to end it",
                "a connection that dies silently blocks such a client for ever",
                "set a read timeout longer than the relay's pauses, such as timeout=120",
            )


# -- what the client knew -------------------------------------------------------------


def _job(call: Call) -> Hashable:
    """A call that the relay joined to no job is a job of its own; looks at one URL are one."""
    if call.job is not None:
        return ("job", call.job)
    return ("call", call.number) if call.kind == "chat" else ("url", call.request.url)


def _ok(call: Call) -> bool:
    return call.status is not None and call.status < 400


def _accepted(call: Call) -> bool:
    """Whether the relay took the order, also where the client did not wait to hear it."""
    return call.kind == "chat" and _ok(call)


def _taken(call: Call) -> bool:
    """Whether the relay has the order: it answered, or took the request and never said a word."""
    silent = call.reply is not None and call.status is None and end_of(call.reply).how == "timeout"
    return _accepted(call) or (call.kind == "chat" and silent)


def _told(call: Call) -> str | None:
    """The status a chat or poll told the client; None where it told none. A poll that is refused tells none."""
    if call.task is None or not _saw_head(call) or (call.kind == "poll" and not _ok(call)):
        return None
    error = call.task.error
    if error is not None and error.category == "text_only" and not _finished(call):
        return "incomplete"  # prose that breaks off may have been about to become a job
    if call.task.status == "completed" and not call.task.results and _truncated(call):
        return "incomplete"  # a line of success is none while what it promises is missing
    return call.task.status


def _end(job: Iterable[Call]) -> Call | None:
    """The call that left nothing to ask for: it told of a failure, or where the result is; or it told for the second
    time that the job is done, for a job that gives no address may be asked for it."""
    done: set[str] = set()
    for call in job:
        status = _told(call) if _ok(call) else None
        if status == "failed" or (status == "completed" and (_has_address(call) or call.request.url in done)):
            return call
        if status == "completed" and call.kind == "poll":
            done.add(call.request.url)
    return None


def _has_address(call: Call) -> bool:
    return call.task is not None and bool(call.task.results)


def _can_be_asked_for(call: Call) -> bool:
    return call.task is not None and bool(call.task.links or call.task.task_id)


def _tells_no_url(poll: Call) -> bool:
    """Whether what was polled is OpenAI's video job, which never says where its result is: it is at …/content.

    https://platform.openai.com/docs/api-reference/videos/object
    """
    return poll.request.path.rpartition("/")[0].endswith("/videos")


def _knew(later: Call, earlier: Call, told: float) -> bool:
    """Whether the client could know, when it made the later call, what the earlier one had told at that time.

    A bare client that asks at that very moment has read it; another of its tasks, or threads, may not have.
    """
    known_to_be_others = None not in (earlier.asker, later.asker) and earlier.asker != later.asker
    return later.time >= told + (_SAME if known_to_be_others else -_SAME)


def _waited(later: Call, earlier: Call, since: float) -> float:
    """Seconds from a time at which the client read of the earlier call to the later one.

    By the client's own clock, if that was ahead: a deadline that it computed comes when that clock shows it.
    """
    waited = later.time - since
    if earlier.shown is None or later.shown is None:
        return waited
    return max(waited, later.shown - (earlier.shown + since - earlier.time))


def _fetched(job: Iterable[Call], *roles: str) -> list[Call]:
    """The downloads of media of these roles; a HEAD fetches nothing."""
    return [call for call in job if call.role in roles and call.request.method == "GET"]


def _streams(call: Call) -> bool:
    return (_header(call, "content-type") or "").lower().startswith("text/event-stream")


def _finished(call: Call) -> bool:
    """Whether the answer said of itself that it is whole."""
    if not _streams(call):
        return call.ended == "eof"
    envelope = call.task.envelope if call.task else None
    if envelope is not None and envelope.finish_reason:
        return True
    return _DONE.search(body_of(call.reply or ())[: call.received]) is not None


def _failed_under_way(call: Call) -> bool:
    """Whether the client met an error that ends a reading: a connection that broke, a frame that is no JSON, or a
    relay that would never have said another word."""
    if _bad_frames(call):
        return True
    if call.ended == "timeout":
        return call.reply is None or end_of(call.reply).how != "eof"
    if call.ended == "left":
        return _met_silence(call)
    return call.ended not in ("eof", None)


def _met_silence(call: Call) -> bool:
    """Whether the client waited in vain for more, and a deadline of its own ended that instead of its timeout."""
    if call.reply is None or end_of(call.reply).how != "timeout" or call.received < len(body_of(call.reply)):
        return False
    return (call.ended_at or 0.0) > _read_at(call) + _SAME


def _bad_frames(call: Call) -> bool:
    """Whether a frame that came whole is no JSON. One that broke off is nothing to a reader of a stream."""
    if call.task is None or call.task.envelope is None or not call.task.envelope.bad_frames:
        return False
    came = body_of(call.reply or ())[: call.received]
    end = max(came.rfind(b"\n\n") + 2, came.rfind(b"\r\n\r\n") + 4)
    envelope = parse_response(came[:end], call.status).envelope
    return envelope is not None and envelope.bad_frames > 0


def _truncated(call: Call) -> bool:
    return call.kind == "chat" and call.ended == "eof" and _streams(call) and not _finished(call)


def _hopeless(case: _Case, call: Call, later: Call) -> bool:
    """Whether the client had read an answer that cannot change when it asked again."""
    if call.kind != "chat":
        # Media and polls that are not there yet are 404; refused for good are the others.
        final = call.status in _FINAL_STATUSES - {404} and retry_after(call) is None
        return final and _saw_head(call) and _knew(later, call, _head_at(call))
    told = case.failure(call, later.time)
    if told is None or retry_after(told[0]) is not None:  # the relay itself says that it may change
        return False
    teller, error = told
    if not _knew(later, teller, _read_at(teller)):
        return False
    if (teller.status or 0) >= 500:  # RFC 9110, 15.6: the server's fault, which may pass whatever it says
        return False
    if error.category in _PASSING_CATEGORIES or error.code == "output_moderation":  # another drawing may pass
        return False
    return teller.status in _FINAL_STATUSES or error.category in _FINAL_CATEGORIES


def _refusal(case: _Case, call: Call, time: float) -> str:
    told = case.failure(call, time) if call.kind == "chat" else None
    return f"status {call.status}" + (f" and a failure of category {told[1].category}" if told else "")


def _saw_head(call: Call) -> bool:
    """Whether the client waited for the answer's status."""
    if call.status is None:
        return False
    gone = call.ended in ("left", "timeout", "hang") and call.received == 0 and call.ended_at is not None
    return not gone or _head_at(call) <= (call.ended_at or 0.0) + _SAME


def _read_at(call: Call) -> float:
    """When the client had read of a call what it ever read. It may close the response much later."""
    time, left = _head_at(call), call.received
    for step in call.reply or ():
        if isinstance(step, Data) and left > 0:
            time, left = call.time + step.t, left - len(step.data)
    return time if call.ended_at is None else min(time, call.ended_at)


def _over_at(call: Call) -> float:
    """When the client left a call, or the answer's end came; while it is open, as far as it was read."""
    if call.ended == "eof" and call.reply is not None:
        end = call.time + end_of(call.reply).t
        return end if call.ended_at is None else min(end, call.ended_at)  # closed much later, perhaps
    return _read_at(call) if call.ended_at is None else call.ended_at


def _head_at(call: Call) -> float:
    head = head_of(call.reply or ())
    return call.time + (head.t if head else 0.0)


def _header(call: Call, name: str) -> str | None:
    head = head_of(call.reply or ())
    return head.header(name) if head else None


def retry_after(call: Call) -> float | None:
    """Seconds to wait after the answer's head; None where it says none that can be understood.

    An HTTP date counts from the time of day by the client's clock, where that is known, else from the answer's
    own Date: virtual time has no calendar.
    """
    value = _header(call, "retry-after")
    if value is None:
        return None
    try:
        wait = float(value)
    except ValueError:
        try:
            due = parsedate_to_datetime(value)
            if call.wall is not None:
                wait = due.timestamp() - call.wall - (_head_at(call) - call.time)
            else:
                wait = (due - parsedate_to_datetime(_header(call, "date") or "")).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return wait if math.isfinite(wait) and wait >= 0 else None


def _route(call: Call) -> tuple[str, ...]:
    """What a limit is counted by: other hosts, and other keys, have their own."""
    return (call.request.method, _host(call), call.request.path, call.payer)


def _host(call: Call) -> str:
    return urlsplit(call.request.url).netloc


# -- words ----------------------------------------------------------------------------


def _finding(name: str, calls: Iterable[Call], seen: str, why: str, remedy: str) -> Finding:
    sentences = " ".join(f"{text[0].upper()}{text[1:]}." for text in (seen, why, remedy))
    return Finding(name, tuple(call.number for call in calls), sentences)


def _knowledge(call: Call) -> str:
    """What a call told of its job: numbers and our own words only, none of the relay's."""
    status = _told(call)
    if status is None or call.task is None or not call.received:
        return "nothing yet"
    return f"{status}, {call.task.progress[-1]:g} %" if call.task.progress else status


def _times(calls: Sequence[Call]) -> str:
    shown = [seconds(call.time) for call in calls[:5]]
    if len(calls) > len(shown):
        return f"{', '.join(shown)} and {len(calls) - len(shown)} times more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _listed(numbers: tuple[int, ...]) -> str:
    """`call 3`, `calls 1, 3-9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    shown = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    return f"{'call' if len(numbers) == 1 else 'calls'} {shown}"
