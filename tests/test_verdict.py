"""The verdict on the client: each finding where it is due, and each near miss let go."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from weakref import ref

import httpx
import openai
import pytest
import trio

from tickertape import TickertapeError, parse_response
from tickertape.testing import FakeRelay, Fault, Scenario
from tickertape.testing._journal import Call, Calls
from tickertape.testing._verdict import (
    FINDINGS,
    ClientMisbehaved,
    Finding,
    UnknownFinding,
    allowed,
    judge,
    render_findings,
)
from tickertape.testing._wire import Data, End, Reply, Request, body_of, end_of, streamed, whole
from tickertape.testing.server import scenario_of

FIXTURES = Path(__file__).parent.parent / "fixtures"
ORIGIN = "http://relay.test"
DONE = b"data: [DONE]\n\n"


def file(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def completion(content: str) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return whole(200, {"choices": [choice]})


def sse(content: str, end: str = "eof", *, done: bytes = b"") -> Reply:
    """A stream, a frame a second, of the lines of a content."""
    frames = [{"choices": [{"index": 0, "delta": {"content": line}}]} for line in content.splitlines(keepends=True)]
    data = [Data(at + 1.0, b"data: " + json.dumps(f).encode() + b"\n\n") for at, f in enumerate(frames)]
    data += [Data(len(data) + 1.0, done)] if done else []
    return streamed(200, data, head_at=0.5, end=End(data[-1].t if data else 0.5, end))  # type: ignore[arg-type]


LINKS = "> ID: `task_1`\n>[Source Data](http://relay.test/source/task_1)\n"
RUNNING = LINKS + "> Queuing..\n> Generating..\n>🏃 Progress 36.."
NAMELESS = "> Queuing..\n> Generating..\n"
FAILED = RUNNING + "\n> 生成失败: timeout\n"
MODERATED = RUNNING + "\n> 生成失败\n> 失败原因：input_moderation\n"
REDRAWN = MODERATED.replace("input", "output")
VIDEO = RUNNING + "\n> Done ✅\n\n![cover](http://relay.test/a.webp)\n[在线播放▶️](http://relay.test/a.mp4)\n"
INLINE = RUNNING + "\n![image](data:image/png;base64,AAAA)\n"
NO_ADDRESS = RUNNING + "\n> 生成完成 ✅\n"
HALF = 300
"""Bytes of a stream: more than its links, less than a result."""
WORDS = "I would rather talk about the weather."
STREAM = streamed(200, [Data(1.0, file("sora-2/lighthouse-remix.sse"))])
CUT = streamed(200, [Data(1.0, file("sora-2/cut-while-running.sse"))])
POLL_RUNNING = whole(200, file("poll/running.json"))
POLL_DONE = whole(200, file("poll/completed-after-retries.json"))
POLL_FAILED = whole(200, file("poll/failed-without-a-word.json"))


def refused(status: int, *, t: float = 0.0, error: str = "no", **headers: str) -> Reply:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return whole(status, {"error": {"message": error}}, headers=fields, t=t)


class Story:
    """A journal told call by call: each begins `after` seconds after the one before it ended."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.now = 0.0

    def chat(
        self, reply: Reply | None, *, prompt: str = "a cat", stream: bool = False, model: str = "m", **told: Any
    ) -> Story:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": stream}
        headers, host = told.pop("headers", {}), told.pop("host", ORIGIN)
        told.setdefault("job", len(self.calls.chats))
        asked = Request("POST", f"{host}/v1/chat/completions", headers, json.dumps(body).encode())
        return self._call(asked, "chat", reply, **told)

    def poll(
        self,
        reply: Reply,
        *,
        after: float = 5.0,
        job: Any = 0,
        kind: Any = "poll",
        path: str = "source",
        method: str = "GET",
        **told: Any,
    ) -> Story:
        return self._call(Request(method, f"{ORIGIN}/{path}/{job}"), kind, reply, after=after, job=job, **told)

    def media(
        self,
        role: str,
        *,
        status: int = 200,
        method: str = "GET",
        job: Any = 0,
        reply: Reply | None = None,
        path: str | None = None,
        **told: Any,
    ) -> Story:
        reply = reply or whole(status, b"x")
        return self._call(Request(method, f"{ORIGIN}/{path or role}"), "media", reply, role=role, job=job, **told)

    def _call(
        self,
        request: Request,
        kind: Any,
        reply: Reply | None,
        *,
        job: Any,
        role: str | None = None,
        after: float = 0.0,
        received: int | None = None,
        ended: Any = "",
        ended_at: float | None = None,
        **seen: Any,
    ) -> Story:
        self.now += after
        call = Call(len(self.calls) + 1, self.now, request, kind, "a play", reply, role, job, **seen)
        if reply is not None:
            call.received = len(body_of(reply)) if received is None else received
            call.ended = ended or (ended if ended is None else end_of(reply).how)
            if call.ended is not None:
                call.ended_at = self.now + end_of(reply).t if ended_at is None else ended_at
                self.now = max(self.now, call.ended_at)
        self.calls.append(call)
        return self

    def findings(self) -> list[tuple[str, tuple[int, ...]]]:
        return [(finding.name, finding.calls) for finding in judge(self.calls, end_time=self.now)]


Told = Callable[[Story], Story]


def refusals(number: int, reply: Reply, *, after: float = 1.0) -> Told:
    def told(story: Story) -> Story:
        for _ in range(number):
            story.chat(reply, after=after)
        return story

    return told


def polls(number: int, *, after: float, reply: Reply = POLL_RUNNING, kind: str = "poll") -> Told:
    def told(story: Story) -> Story:
        story.chat(completion(RUNNING))
        for _ in range(number):
            story.poll(reply, after=after, kind=kind)
        return story.poll(POLL_DONE)

    return told


def side_by_side(story: Story) -> Story:
    for job in range(9):
        story.chat(completion(RUNNING), prompt=f"cat {job}")
    for job in range(9):
        story.poll(POLL_DONE, after=0.0, job=job)
    return story


class Worker:
    """A task of the client, or a thread."""


ONE, TWO = Worker(), Worker()


def at_once(reply: Reply, *, then: float, **seen: Any) -> Told:
    """Two workers ask in the same moment, and each again when it has waited."""

    def told(story: Story) -> Story:
        for worker in (ONE, TWO):
            story.chat(reply, prompt=f"cat {id(worker)}", asker=ref(worker), **seen)
        for worker in (ONE, TWO):
            story.chat(STREAM, prompt=f"cat {id(worker)}", asker=ref(worker), after=then if worker is ONE else -1.0)
        return story

    return told


def at_a_fixed_rate(interval: float, *, slow: float) -> Told:
    """A client whose own clock goes on while it computes: it waits for the rest of the interval only."""

    def told(story: Story) -> Story:
        story.chat(completion(RUNNING), shown=0.0)
        for number in range(1, 9):
            story.poll(POLL_RUNNING, after=interval - slow, shown=number * interval)
        return story.poll(POLL_DONE, shown=99.0)

    return told


DATES: dict[str, Any] = {"date": "Sun, 22 Nov 2026 12:00:00 GMT", "retry_after": "Sun, 22 Nov 2026 12:00:09 GMT"}
NOON = parsedate_to_datetime(DATES["date"]).timestamp()
LATER = {"authorization": "Bearer two"}
ELSEWHERE = "http://backup.test"
DONE_SOMEWHERE = whole(200, {"id": "video_1", "object": "video", "status": "completed", "progress": 100})
"""OpenAI's video job says no URL."""
DONE_FOR_NOTHING = whole(200, {"id": "task_1", "status": "completed", "urls": []})
"""A relay's own, which would say one."""
SUCCESS_LINE = RUNNING + "\n> ✅ 生成完成\n"
BROKEN = (*sse(RUNNING)[:-1], Data(9.0, b'data: {"choices": [{"index": 0, "delta": {"conte\n\n'), End(9.0))
"""A frame that is no JSON, in the middle of a stream."""

MISBEHAVED: dict[str, dict[str, tuple[Told, tuple[int, ...]]]] = {
    "submitted_twice": {
        "after success": (lambda s: s.chat(STREAM).chat(STREAM), (1, 2)),
        "after a mid-stream reset": (lambda s: s.chat(sse(RUNNING, "reset")).chat(STREAM), (1, 2)),
        "before the head came": (
            lambda s: s.chat(whole(200, VIDEO, t=90.0), received=0, ended="timeout", ended_at=30.0).chat(STREAM),
            (1, 2),
        ),
        "after a poll that was refused": (
            lambda s: s.chat(completion(RUNNING)).poll(refused(500)).chat(STREAM),
            (1, 3),
        ),
        "never answered": (
            lambda s: s.chat((End(0.0, "timeout"),), received=0, ended="timeout", ended_at=30.0).chat(STREAM),
            (1, 2),
        ),
        "unstreamed the second time": (lambda s: s.chat(CUT, stream=True).chat(completion(VIDEO)), (1, 2)),
        "while the first runs": (lambda s: s.chat(sse(VIDEO), received=0, ended=None).chat(STREAM), (1, 2)),
        "over and over": (lambda s: s.chat(STREAM).chat(STREAM).chat(refused(500)).chat(STREAM), (1, 2, 3, 4)),
        "failed unread": (
            lambda s: s.chat(sse(FAILED), received=60, ended="left", ended_at=1.0).chat(STREAM),
            (1, 2),
        ),
        "on another host": (
            lambda s: s.chat(whole(200, VIDEO, t=90.0), received=0, ended="timeout", ended_at=30.0).chat(
                STREAM, host=ELSEWHERE
            ),
            (1, 2),
        ),
        "a success that broke off": (lambda s: s.chat(sse(NAMELESS + "> ✅ 生成完成\n")).chat(STREAM), (1, 2)),
        "refused, then taken, then again": (lambda s: s.chat(refused(503)).chat(STREAM).chat(STREAM), (2, 3)),
        "done without an address, never asked": (lambda s: s.chat(completion(NO_ADDRESS)).chat(STREAM), (1, 2)),
        "done, the result not asked for at the address that goes without saying": (
            lambda s: s.chat(completion(RUNNING)).poll(DONE_SOMEWHERE, path="v1/videos").chat(STREAM),
            (1, 3),
        ),
        "done for nothing by a poll that came too late": (
            lambda s: (
                s.chat(completion(RUNNING))
                .poll(whole(200, body_of(DONE_FOR_NOTHING), t=30.0))
                .chat(STREAM, after=-20.0)
            ),
            (1, 3),
        ),
        "not there while it ran": (
            lambda s: s.chat(completion(RUNNING)).media("result", status=404).chat(STREAM),
            (1, 3),
        ),
        "the result told, and gone": (lambda s: s.chat(STREAM).media("result", status=404).chat(STREAM), (1, 3)),
        "cut, with nowhere to ask": (lambda s: s.chat(sse(NAMELESS)).chat(STREAM), (1, 2)),
        "left in the middle, with nowhere to ask": (
            lambda s: s.chat(sse(NAMELESS, done=DONE), received=90, ended="left").chat(STREAM),
            (1, 2),
        ),
    },
    "retry_after_ignored": {
        "chat in seconds": (lambda s: s.chat(refused(429, retry_after="9")).chat(STREAM, after=8.0), (1, 2)),
        "chat with another prompt": (
            lambda s: s.chat(refused(503, retry_after="0.5")).chat(STREAM, prompt="a dog", after=0.4),
            (1, 2),
        ),
        "by date": (lambda s: s.chat(refused(429, **DATES)).chat(STREAM, after=8.9), (1, 2)),
        "counted from the answer": (
            lambda s: s.chat(refused(429, t=5.0, retry_after="9")).chat(STREAM, after=6.0),
            (1, 2),
        ),
        "by the time of day": (
            lambda s: s.chat(refused(429, retry_after=DATES["retry_after"]), wall=NOON + 0.9).chat(STREAM, after=8.0),
            (1, 2),
        ),
        "poll": (
            lambda s: s.chat(completion(RUNNING)).poll(refused(429, retry_after="9")).poll(POLL_DONE, after=5.0),
            (2, 3),
        ),
        "download": (
            lambda s: s.chat(STREAM).media("result", reply=refused(429, retry_after="9")).media("result", after=5.0),
            (2, 3),
        ),
        "too soon by the client's own clock as well": (
            lambda s: s.chat(refused(429, retry_after="9"), shown=5.0).chat(STREAM, after=8.0, shown=13.5),
            (1, 2),
        ),
        "another task, later": (
            lambda s: s.chat(refused(429, retry_after="9"), asker=ref(ONE)).chat(
                STREAM, prompt="a dog", asker=ref(TWO), after=1.0
            ),
            (1, 2),
        ),
        "the same task, at once": (
            lambda s: s.chat(refused(429, retry_after="9"), asker=ref(ONE)).chat(STREAM, asker=ref(ONE)),
            (1, 2),
        ),
    },
    "retried_hopeless": {
        **{f"status {status}": (refusals(2, refused(status)), (1, 2)) for status in (400, 401, 403, 404, 422)},
        "three times": (refusals(3, refused(400)), (1, 2, 3)),
        "quota as 429": (refusals(2, refused(429, error="insufficient balance")), (1, 2)),
        "moderation in a stream": (lambda s: s.chat(sse(MODERATED)).chat(STREAM), (1, 2)),
        "moderation told by a poll": (
            lambda s: (
                s.chat(completion(RUNNING)).poll(whole(200, {"status": "failed", "error": "policy"})).chat(STREAM)
            ),
            (1, 3),
        ),
        "a link that ran out": (
            lambda s: s.chat(STREAM).media("result", status=403).media("result", status=403),
            (2, 3),
        ),
    },
    "hammered": {
        "three too soon": (polls(4, after=0.2), (2, 3, 4, 5)),
        "its page": (polls(6, after=0.0, kind="web"), (2, 3, 4, 5, 6, 7)),
        "refused": (polls(4, after=0.2, reply=refused(500)), (2, 3, 4, 5)),
    },
    "polled_after_end": {
        "completed": (lambda s: s.chat(completion(RUNNING)).poll(POLL_DONE).poll(POLL_DONE).poll(POLL_DONE), (2, 3, 4)),
        "failed": (lambda s: s.chat(completion(RUNNING)).poll(POLL_FAILED).poll(POLL_FAILED), (2, 3)),
        "told by the chat": (lambda s: s.chat(STREAM).poll(POLL_DONE), (1, 2)),
        "failure told by the chat": (lambda s: s.chat(sse(FAILED)).poll(POLL_DONE), (1, 2)),
        "left open": (lambda s: s.chat(sse(VIDEO), ended=None).poll(POLL_DONE, after=60.0), (1, 2)),
        "done over and over": (
            lambda s: s.chat(completion(RUNNING)).poll(DONE_SOMEWHERE).poll(DONE_SOMEWHERE).poll(DONE_SOMEWHERE),
            (3, 4),
        ),
        "another route over and over": (
            lambda s: (
                s.chat(completion(RUNNING))
                .poll(DONE_SOMEWHERE, path="videos")
                .poll(DONE_SOMEWHERE, path="videos")
                .poll(DONE_SOMEWHERE, path="query")
                .poll(DONE_SOMEWHERE, path="query")
            ),
            (3, 5),
        ),
    },
    "gave_up": {
        "answered with a link": (lambda s: s.chat(completion(RUNNING)), (1,)),
        "an acknowledgement": (lambda s: s.chat(whole(200, file("poll/acknowledged.json"))), (1,)),
        "stream with [DONE]": (lambda s: s.chat(sse(RUNNING, done=DONE)), (1,)),
        "stream left early": (lambda s: s.chat(sse(VIDEO), received=HALF, ended="left"), (1,)),
        "stream left before a link": (lambda s: s.chat(sse(NAMELESS), received=90, ended="left"), (1,)),
        "stream left open": (lambda s: s.chat(sse(VIDEO), received=HALF, ended=None), (1,)),
        "left unheard": (lambda s: s.chat(whole(200, VIDEO, t=9.0), received=0, ended="left", ended_at=3.0), (1,)),
        "left before the relay fell silent": (
            lambda s: s.chat(sse(RUNNING, "timeout"), received=HALF, ended="left", ended_at=3.0),
            (1,),
        ),
        "left at the last word, before any silence": (
            lambda s: s.chat(sse(RUNNING, "timeout"), ended="left", ended_at=5.0),
            (1,),
        ),
        "polled once": (lambda s: s.chat(completion(RUNNING)).poll(POLL_RUNNING), (2,)),
        "cut, then polled once": (lambda s: s.chat(CUT).poll(POLL_RUNNING), (2,)),
        "timed out before a word": (
            lambda s: s.chat(whole(200, VIDEO, t=600.0), received=0, ended="timeout", ended_at=20.0),
            (1,),
        ),
        "timed out in the stream": (lambda s: s.chat(sse(VIDEO), received=HALF, ended="timeout"), (1,)),
        "and another user ordered the same": (
            lambda s: s.chat(sse(VIDEO), received=HALF, ended="left").chat(STREAM, headers=LATER),
            (1,),
        ),
    },
    "truncated_accepted": {
        "cut while running": (lambda s: s.chat(CUT), (1,)),
        "cut before a link": (lambda s: s.chat(sse(NAMELESS)), (1,)),
        "nothing but the head": (lambda s: s.chat(sse("")), (1,)),
        "cut in its first words": (lambda s: s.chat(sse(WORDS)), (1,)),
        "cut behind a line of success": (lambda s: s.chat(sse(SUCCESS_LINE)), (1,)),
        "cut in the middle of a frame": (
            lambda s: s.chat((*sse(RUNNING)[:-1], Data(9.0, b'data: {"choi'), End(9.0))),
            (1,),
        ),
    },
    "preview_downloaded": {
        "cover": (lambda s: s.chat(STREAM).media("poster"), (2,)),
        "preview and cover": (lambda s: s.chat(completion(VIDEO)).media("preview").media("poster"), (2, 3)),
        "result only looked at": (lambda s: s.chat(STREAM).media("result", method="HEAD").media("poster"), (3,)),
        "result of another job": (
            lambda s: s.chat(STREAM).chat(STREAM, prompt="a dog").media("result", job=1).media("poster"),
            (4,),
        ),
        "cover of a job that tells no URL": (
            lambda s: (
                s.chat(completion(RUNNING))
                .poll(DONE_SOMEWHERE, path="v1/videos")
                .media("poster", path="v1/videos/0/content?variant=thumbnail")
            ),
            (3,),
        ),
    },
    "no_read_timeout": {
        "in a stream": (lambda s: s.chat(sse(RUNNING, "timeout"), ended="hang"), (1,)),
        "before the head": (lambda s: s.chat((End(0.0, "timeout"),), ended="hang"), (1,)),
    },
}

BEHAVED: dict[str, dict[str, Told]] = {
    "submitted_twice": {
        "another prompt": lambda s: s.chat(STREAM).chat(STREAM, prompt="a dog"),
        **{f"refused with {status}": refusals(2, refused(status)) for status in (408, 409, 429, 500, 502, 503)},
        "no connection": refusals(2, (End(0.0, "refused"),)),
        "reset before a head": refusals(2, (End(0.0, "reset"),)),
        "the job failed": lambda s: s.chat(sse(FAILED)).chat(STREAM),
        "the job failed and its stream was closed late": lambda s: s.chat(
            sse(FAILED), ended="left", ended_at=90.0
        ).chat(STREAM, after=-60.0),
        "the job failed and its stream was never closed": lambda s: s.chat(sse(FAILED), ended=None).chat(
            STREAM, after=60.0
        ),
        "a poll told of the failure": lambda s: s.chat(sse(RUNNING, "reset")).poll(POLL_FAILED).chat(STREAM),
        "an error frame": lambda s: s.chat(streamed(200, [Data(0.1, file("errors/error-event.sse"))])).chat(STREAM),
        "only words": lambda s: s.chat(completion(WORDS)).chat(STREAM),
        "only words, not wrapped": lambda s: s.chat(whole(200, WORDS)).chat(STREAM),
        "by two users": lambda s: s.chat(STREAM).chat(STREAM, headers=LATER),
        "done, with nothing to show and nowhere to ask": lambda s: s.chat(completion("> ✅ 生成完成\n")).chat(STREAM),
        "finished, with nothing to show and nowhere to ask": lambda s: s.chat(completion(NAMELESS)).chat(STREAM),
        "finished so in a stream": lambda s: s.chat(sse(NAMELESS, done=DONE)).chat(STREAM),
        "done for nothing, by a poll": lambda s: s.chat(completion(RUNNING)).poll(DONE_FOR_NOTHING).chat(STREAM),
        "done for nothing, by a chat and a poll": lambda s: (
            s.chat(completion(NO_ADDRESS)).poll(DONE_FOR_NOTHING).chat(STREAM)
        ),
        "done, and the result is not there": lambda s: (
            s.chat(completion(RUNNING)).poll(DONE_SOMEWHERE, path="v1/videos").media("result", status=404).chat(STREAM)
        ),
    },
    "retry_after_ignored": {
        "waited": lambda s: s.chat(refused(429, retry_after="9")).chat(STREAM, after=9.0),
        "waited by date": lambda s: s.chat(refused(429, **DATES)).chat(STREAM, after=9.0),
        "another route": lambda s: s.poll(refused(429, retry_after="9"), job=1).chat(STREAM).poll(POLL_DONE, job=2),
        "sent before the refusal came": lambda s: s.chat(refused(429, t=5.0, retry_after="9"), ended_at=0.0).chat(
            STREAM, prompt="a dog", after=4.0
        ),
        "another status": lambda s: s.chat(refused(500, retry_after="9")).chat(STREAM),
        "nonsense": lambda s: s.chat(refused(429, retry_after="soon")).chat(STREAM),
        "not a number": lambda s: s.chat(refused(429, retry_after="nan")).chat(STREAM),
        "a date without a Date": lambda s: s.chat(refused(429, retry_after=DATES["retry_after"])).chat(STREAM),
        "another key": lambda s: s.chat(refused(429, retry_after="9")).chat(STREAM, headers=LATER),
        "another host": lambda s: s.chat(refused(429, retry_after="9")).chat(STREAM, host=ELSEWHERE),
        "waited by the time of day": lambda s: s.chat(
            refused(429, retry_after=DATES["retry_after"]), wall=NOON + 0.9
        ).chat(STREAM, after=8.1),
        "waited by the client's own clock": lambda s: s.chat(refused(429, retry_after="9"), shown=5.0).chat(
            STREAM, after=8.9, shown=14.0
        ),
        "two workers at once, which both wait": at_once(refused(429, retry_after="9"), then=9.0),
        "left unheard": lambda s: s.chat(
            refused(429, t=5.0, retry_after="9"), received=0, ended="timeout", ended_at=1.0
        ).chat(STREAM, after=5.0),
    },
    "retried_hopeless": {
        "no channel as 503": refusals(2, whole(503, file("errors/no-channel.json"))),
        "with another key": lambda s: s.chat(refused(401)).chat(STREAM, headers=LATER),
        "of another host": lambda s: s.chat(refused(404)).chat(STREAM, host=ELSEWHERE),
        "by two workers at once": lambda s: s.chat(refused(400), asker=ref(ONE)).chat(refused(400), asker=ref(TWO)),
        "with another prompt": lambda s: s.chat(sse(MODERATED)).chat(STREAM, prompt="a nicer cat"),
        "the relay says later": lambda s: s.chat(refused(404, retry_after="1")).chat(STREAM, after=1.0),
        "busy upstream as 400": refusals(2, refused(400, error="当前分组上游负载已饱和")),
        "rate limit as 403": refusals(2, refused(403, error="rate limit")),
        "another drawing may pass": lambda s: s.chat(sse(REDRAWN)).chat(STREAM),
        "not there yet": lambda s: s.chat(STREAM).media("result", status=404).media("result"),
        "poll not there yet": lambda s: s.chat(completion(RUNNING)).poll(refused(404)).poll(POLL_DONE),
    },
    "hammered": {
        "in time": polls(9, after=1.0),
        "two too soon": polls(3, after=0.2),
        "at a fixed rate, by a client that computes": at_a_fixed_rate(1.0, slow=0.4),
        "at a fixed rate, by a timer that is late now and then": polls(9, after=0.95),
        "jobs side by side": side_by_side,
    },
    "polled_after_end": {
        "until the end": lambda s: s.chat(completion(RUNNING)).poll(POLL_RUNNING).poll(POLL_DONE),
        "poll refused": lambda s: s.chat(completion(RUNNING)).poll(refused(500)).poll(refused(404)).poll(POLL_DONE),
        "cut in its first words": lambda s: s.chat(sse(WORDS)).poll(POLL_DONE),
        "done without an address": lambda s: s.chat(completion(NO_ADDRESS)).poll(POLL_DONE),
        "the link ran out": lambda s: s.chat(STREAM).media("result", status=403).poll(POLL_DONE),
        "done, then asked of another route for the address": lambda s: (
            s.chat(completion(RUNNING))
            .poll(DONE_SOMEWHERE, path="videos")
            .poll(DONE_SOMEWHERE, path="videos")
            .poll(POLL_DONE)
        ),
        "its link only looked at": lambda s: s.chat(STREAM).poll(whole(200, ""), method="HEAD"),
        "deleted at the relay": lambda s: s.chat(STREAM).poll(whole(200, {"deleted": True}), method="DELETE"),
        "two workers at once": lambda s: (
            s.chat(completion(RUNNING)).poll(POLL_DONE, asker=ref(ONE)).poll(POLL_DONE, asker=ref(TWO), after=0.0)
        ),
        "asked while the end was on its way": lambda s: (
            s.chat(completion(RUNNING)).poll(whole(200, body_of(POLL_DONE), t=3.0), ended=None).poll(POLL_DONE, after=1)
        ),
    },
    "gave_up": {
        "completed": lambda s: s.chat(STREAM),
        "left after the result": lambda s: s.chat(
            sse(VIDEO + "\nbye\n"), received=len(body_of(sse(VIDEO))), ended="left"
        ),
        "failed": lambda s: s.chat(sse(FAILED)),
        "nowhere to ask": lambda s: s.chat(completion(NAMELESS)),
        "left behind [DONE], nowhere to ask": lambda s: s.chat(sse(NAMELESS, done=DONE), ended="left"),
        "reset": lambda s: s.chat(sse(RUNNING, "reset")),
        "closed": lambda s: s.chat(sse(RUNNING, "closed")),
        "the relay fell silent": lambda s: s.chat(sse(RUNNING, "timeout")),
        "timed out, then another model": lambda s: s.chat(sse(VIDEO), received=HALF, ended="timeout").chat(
            STREAM, model="other"
        ),
        "a frame that is no JSON": lambda s: s.chat(BROKEN, ended="left"),
        "the poll failed": lambda s: s.chat(completion(RUNNING)).poll(refused(500)),
        "the poll timed out": lambda s: s.chat(completion(RUNNING)).poll((End(0.0, "timeout"),)),
        "looked at its page": lambda s: s.chat(completion(RUNNING)).poll(whole(200, "<html>"), kind="web"),
        "fetched the result": lambda s: s.chat(completion(RUNNING)).media("result"),
        "refused": lambda s: s.chat(refused(503)),
        "a deadline of its own, after the relay fell silent": lambda s: s.chat(
            sse(RUNNING, "timeout"), ended="left", ended_at=60.0
        ),
        "a deadline of its own, after the relay fell silent behind its head": lambda s: s.chat(
            sse("", "timeout"), ended="left", ended_at=60.0
        ),
    },
    "truncated_accepted": {
        "polled": lambda s: s.chat(CUT).poll(POLL_DONE),
        "the poll failed": lambda s: s.chat(CUT).poll(refused(500)),
        "result, but no [DONE]": lambda s: s.chat(sse(VIDEO)),
        "words with [DONE]": lambda s: s.chat(sse(WORDS, done=DONE)),
        "verdict": lambda s: s.chat(sse(FAILED)),
        "an error": lambda s: s.chat(sse(NAMELESS, "closed")),
        "a frame that is no JSON": lambda s: s.chat(BROKEN),
        "another model asked in its place": lambda s: s.chat(CUT).chat(STREAM, model="other"),
        "another host asked in its place": lambda s: s.chat(CUT).chat(STREAM, model="n", host=ELSEWHERE, headers=LATER),
        "a line of success, then polled": lambda s: s.chat(sse(SUCCESS_LINE)).poll(POLL_DONE),
    },
    "preview_downloaded": {
        "and the result": lambda s: s.chat(STREAM).media("poster").media("result"),
        "and the download": lambda s: s.chat(STREAM).media("download").media("preview"),
        "of a job that failed": lambda s: s.chat(sse(FAILED)).media("preview"),
        "of a result that came inline": lambda s: s.chat(completion(INLINE)).media("preview"),
        "and the result, of a job that tells no URL": lambda s: (
            s.chat(completion(RUNNING))
            .poll(DONE_SOMEWHERE, path="v1/videos")
            .media("poster", path="v1/videos/0/content?variant=thumbnail")
            .media("result", path="v1/videos/0/content")
        ),
        "of a job that tells no URL, at an address that says of none": lambda s: (
            s.chat(completion(RUNNING)).poll(DONE_SOMEWHERE, path="v1/videos").media("poster")
        ),
        "cover that is not there": lambda s: s.chat(STREAM).media("poster", status=404),
        "cover of a job that came to nothing": lambda s: (
            s.chat(completion(RUNNING))
            .poll(DONE_SOMEWHERE, path="v1/videos")
            .media("poster", status=404, path="v1/videos/0/content?variant=thumbnail")
        ),
    },
    "no_read_timeout": {"timed out": lambda s: s.chat(sse(RUNNING, "timeout"))},
}


def test_every_finding_has_its_cases() -> None:
    assert MISBEHAVED.keys() == BEHAVED.keys() == FINDINGS.keys()


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}: {case}") for name in MISBEHAVED for case in MISBEHAVED[name]],
)
def test_what_the_client_did_wrong_is_found(name: str, case: str) -> None:
    told, calls = MISBEHAVED[name][case]
    found = dict(told(Story()).findings())
    assert found.get(name) == calls
    # One mistake is one finding; some of these stories also stop before their job's end.
    assert found.keys() <= {name, "gave_up"}


@pytest.mark.parametrize(
    ("name", "case"), [pytest.param(name, case, id=f"not {name}: {case}") for name in BEHAVED for case in BEHAVED[name]]
)
def test_what_is_no_mistake_is_let_go(name: str, case: str) -> None:
    assert BEHAVED[name][case](Story()).findings() == []


@pytest.mark.parametrize(("interval", "found"), [(0.2, False), (1.0, True)])
def test_the_interval_between_polls_can_be_chosen(interval: float, found: bool) -> None:
    story = polls(9, after=0.2)(Story())
    assert bool(judge(story.calls, end_time=story.now, minimum_poll_interval=interval)) is found


@pytest.mark.parametrize("name", sorted(path.stem for path in FIXTURES.glob("*/*.sse")))
def test_wherever_a_stream_breaks_off_there_is_one_finding_until_the_job_is_over(name: str) -> None:
    [path] = FIXTURES.glob(f"*/{name}.sse")
    data = path.read_bytes()
    for received in range(0, len(data), 61):
        task = parse_response(data[:received], 200)
        failed = task.error is not None and task.error.category != "text_only"
        over = failed or task.status == "completed"
        cut = Story().chat(streamed(200, [Data(1.0, data[:received])])).findings()
        left = Story().chat(streamed(200, [Data(1.0, data)]), received=received, ended="left").findings()
        ended = bool(task.envelope and task.envelope.finish_reason)
        assert left == ([] if over or (ended and not task.task_id) else [("gave_up", (1,))])
        told = failed or task.results  # a line of success is no result
        assert cut == left if ended else cut == ([] if told else [("truncated_accepted", (1,))])


def test_nothing_is_found_where_nothing_was_asked() -> None:
    assert judge([], end_time=0.0) == []
    assert Story()._call(Request("GET", ORIGIN), "unmatched", None, job=None).findings() == []


def test_calls_of_no_known_job_are_told_apart_by_their_urls() -> None:
    story = Story()
    for number in range(8):
        request = Request("GET", f"{ORIGIN}/source/{number % 2}")
        story._call(request, "poll", POLL_RUNNING, after=0.2, job=None)
    assert [name for name, _ in story.findings()] == ["hammered", "hammered", "gave_up", "gave_up"]
    assert Story().chat(STREAM, job=None).chat(STREAM, prompt="a dog", job=None).findings() == []


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_is_explained_in_three_short_sentences(name: str) -> None:
    for told, _ in MISBEHAVED[name].values():
        story = told(Story())
        [finding] = [f for f in judge(story.calls, end_time=story.now) if f.name == name]
        assert finding.explanation.count(". ") == 2
        assert finding.explanation.endswith(".")
        assert "call" in str(finding)
        assert len(str(finding)) < 600


def test_a_finding_tells_numbers_times_and_the_remedy() -> None:
    story = Story().chat(sse(RUNNING, "reset")).chat(STREAM, headers={"x-stainless-retry-count": "1"})
    [finding] = judge(story.calls, end_time=story.now)
    assert str(finding) == (
        "submitted_twice (calls 1, 2): The paid request of call 1 was sent again, by the SDK's own retry, at 5 s, "
        "though the relay had taken it at 0 s and the client had not read of a failure (it read: incomplete, 36 %). "
        "The relay runs, and charges, the same job once more. Poll the job that runs instead, and give paid requests "
        "max_retries=0 and a timeout longer than a job."
    )


def test_a_truncated_stream_tells_what_cannot_be_seen_and_how_to_allow_it() -> None:
    [finding] = judge(Story().chat(CUT).calls, end_time=1.0)
    assert "an exception your own code raised cannot be seen from here" in finding.explanation
    assert "allow truncated_accepted" in finding.explanation


def explained(story: Story) -> str:
    [finding] = judge(story.calls, end_time=story.now)
    return finding.explanation


def test_a_line_of_success_that_was_cut_is_told_as_one_without_a_result() -> None:
    told = explained(Story().chat(sse(SUCCESS_LINE)))
    assert "ended at 6 s with a line of success, but without a result, finish_reason or [DONE]" in told
    assert "Raise when the task has no results" in told


def test_what_was_done_already_is_to_be_used_and_not_to_be_polled() -> None:
    told = explained(Story().chat(STREAM).chat(STREAM))
    assert told.endswith("Use the result that call 1 told of, or allow submitted_twice where two are meant.")
    told = explained(Story().chat(completion(RUNNING)).poll(POLL_DONE).chat(STREAM))
    assert "Use the result that call 2 told of" in told


def test_a_job_that_is_done_is_not_told_as_one_that_runs() -> None:
    told = explained(Story().chat(completion(RUNNING)).poll(DONE_SOMEWHERE, path="v1/videos").chat(STREAM))
    assert "once more. Ask the job that is done for its result instead, and give paid requests max_retries=0" in told


def test_nobody_is_told_to_poll_a_job_that_cannot_be_asked_for() -> None:
    told = explained(Story().chat(sse(NAMELESS, "reset")).chat(STREAM))
    assert told.endswith("same job once more. Give paid requests max_retries=0 and a timeout longer than a job.")
    assert "Poll the job that runs instead" in explained(Story().chat(sse(RUNNING, "reset")).chat(STREAM))


def test_a_job_that_was_given_up_is_told_as_that_job_though_another_was_polled() -> None:
    story = Story().chat(completion(RUNNING)).chat(completion(RUNNING), prompt="a dog").poll(POLL_DONE, job=1)
    assert "nothing more was asked of it until 5 s" in explained(story)


def test_a_timeout_of_the_clients_own_is_told_as_one() -> None:
    told = explained(Story().chat(whole(200, VIDEO, t=600.0), received=0, ended="timeout", ended_at=20.0))
    assert "Call 1 was ended by the client's own timeout at 20 s while the job was not over" in told
    assert told.endswith("nobody fetches what it makes. Give it a timeout longer than the job.")
    told = explained(Story().chat(sse(VIDEO), received=HALF, ended="timeout"))
    assert told.endswith("Give it a timeout longer than the job, or poll its link.")


def test_a_link_is_to_be_polled_where_one_was_told() -> None:
    told = explained(Story().chat(sse(VIDEO), received=HALF, ended="left"))
    assert told.endswith("Poll its link until the status is completed or failed, with a deadline longer than the job.")
    told = explained(Story().chat(sse(NAMELESS), received=90, ended="left"))
    assert told.endswith("Read on until the status is completed or failed, with a deadline longer than the job.")
    told = explained(Story()._call(Request("GET", f"{ORIGIN}/source/1"), "poll", POLL_RUNNING, job=None))
    assert "Poll its link" in told
    assert "Raise when the task is incomplete, or poll its link; an" in explained(Story().chat(CUT))
    assert "Raise when the task is incomplete; an" in explained(Story().chat(sse(NAMELESS)))


@pytest.mark.parametrize(("ended", "how"), [("left", "left by the client"), ("timeout", "ended by the client's own")])
def test_a_call_is_over_when_the_client_ended_it_and_not_when_its_last_word_came(ended: str, how: str) -> None:
    told = explained(Story().chat(sse(VIDEO), received=HALF, ended=ended, ended_at=40.0))
    assert f"Call 1 was {how}" in told
    assert "at 40 s while the job was not over" in told


def test_an_answer_is_over_when_its_end_comes_though_the_client_closes_it_later() -> None:
    late_end = (*sse(RUNNING)[:-1], End(9.0))
    assert "The stream of call 1 ended at 9 s without" in explained(Story().chat(late_end, ended_at=90.0))
    assert "was answered to its end at 0 s" in explained(Story().chat(completion(RUNNING), ended_at=90.0))
    assert "stayed open at 4 s" in explained(Story().chat(sse(VIDEO), received=HALF, ended=None))


# -- of real clients ----------------------------------------------------------------------

RELAY = "https://relay.example/v1"
KEY = {"authorization": "Bearer sk-mine"}


def asked(prompt: str = "a cat", **more: Any) -> dict[str, Any]:
    body = {"model": "sora-2", "messages": [{"role": "user", "content": prompt}], **more}
    return {"url": f"{RELAY}/chat/completions", "json": body, "headers": KEY, "timeout": 120}


def found(relay: FakeRelay) -> list[str]:
    try:
        relay.assert_well_behaved()
    except ClientMisbehaved as error:
        return [finding.name for finding in error.findings]
    return []


def compute(seconds: float) -> None:
    """Real time that goes by while no relay waits."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


@pytest.mark.parametrize(("short", "findings"), [(0.0, []), (2.0, ["retry_after_ignored"])])
def test_a_deadline_by_the_clients_own_clock_is_kept_however_slow_the_machine(
    short: float, findings: list[str]
) -> None:
    with FakeRelay() as relay:
        relay.fail(status=429, retry_after=30)
        relay.play(Scenario.image("a cat"))
        httpx.post(**asked())
        due = time.monotonic() + 30 - short
        compute(0.02)
        time.sleep(due - time.monotonic())
        httpx.post(**asked())
        assert relay.calls[1].time < 29.99
        assert found(relay) == findings


@pytest.mark.parametrize("short", [0.0, 2.0])
def test_a_retry_after_that_is_a_date_is_judged_by_the_clients_time_of_day(short: float) -> None:
    with FakeRelay() as relay:
        relay.fail(status=429, retry_after=datetime.now(UTC) + timedelta(seconds=30))
        relay.play(Scenario.image("a cat"))
        headers = httpx.post(**asked()).headers
        due = parsedate_to_datetime(headers["retry-after"])
        assert timedelta(seconds=28) < due - parsedate_to_datetime(headers["date"]) < timedelta(seconds=32)
        time.sleep(due.timestamp() - time.time() - short)
        httpx.post(**asked())
        assert found(relay) == (["retry_after_ignored"] if short else [])


@pytest.mark.parametrize("how", ["asyncio", "trio", "threads"])
def test_what_two_workers_ask_at_once_neither_could_know(how: str) -> None:
    with FakeRelay() as relay:
        relay.fail(status=429, retry_after=30, times=2)
        relay.play(Scenario.image("a cat"), times=2)

        async def work(number: int, sleep: Any) -> None:
            async with httpx.AsyncClient() as client:
                for _ in range(2):
                    response = await client.post(**asked(f"cat {number}"))
                    if response.status_code == 429:
                        await sleep(30)

        async def gather() -> None:
            await asyncio.gather(work(1, asyncio.sleep), work(2, asyncio.sleep))

        async def nursery() -> None:
            async with trio.open_nursery() as workers:
                workers.start_soon(work, 1, trio.sleep)
                workers.start_soon(work, 2, trio.sleep)

        if how == "threads":
            together = threading.Barrier(2)

            def thread(number: int) -> None:
                if httpx.post(**asked(f"cat {number}")).status_code == 429:
                    together.wait()
                    time.sleep(30)
                    httpx.post(**asked(f"cat {number}"))

            with ThreadPoolExecutor(2) as pool:
                list(pool.map(thread, range(2)))
        else:
            asyncio.run(gather()) if how == "asyncio" else trio.run(nursery)
        assert [call.status for call in relay.calls] == [429, 429, 200, 200]
        assert found(relay) == []


def test_what_one_task_asks_twice_it_could_know() -> None:
    async def impatient() -> None:
        async with httpx.AsyncClient() as client:
            for _ in range(2):
                await client.post(**asked())

    with FakeRelay() as relay:
        relay.fail(status=429, retry_after=30)
        relay.play(Scenario.image("a cat"))
        asyncio.run(impatient())
        assert found(relay) == ["retry_after_ignored"]


@pytest.mark.parametrize("by", ["a read timeout", "a deadline"])
def test_a_relay_that_falls_silent_may_be_left_by_whichever_deadline(by: str) -> None:
    async def ask() -> None:
        async with httpx.AsyncClient() as client, asyncio.timeout(60 if by == "a deadline" else 600):
            await client.post(**{**asked(stream=True), "timeout": 600 if by == "a deadline" else 60})

    with FakeRelay() as relay:
        relay.fail(fault=Fault.stall(frame=3))
        with pytest.raises(TimeoutError if by == "a deadline" else httpx.ReadTimeout):
            asyncio.run(ask())
        assert found(relay) == []


def test_a_deadline_shorter_than_the_job_is_told_with_its_time() -> None:
    with FakeRelay() as relay:
        relay.play(Scenario.video("a cat").progress(14).stall(600))
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(**{**asked(stream=True), "timeout": 30})
        [finding] = judge(relay.calls, end_time=65.0)
        assert f"timeout at {relay.calls[0].ended_at:g} s" in finding.explanation
        assert relay.calls[0].ended_at == pytest.approx(65.0)


@pytest.mark.parametrize("name", Scenario.dialects())
def test_a_stream_that_a_scenario_cuts_is_truncated_in_every_dialect(name: str) -> None:
    with FakeRelay() as relay:
        relay.play(scenario_of(name, "a cat").cut())
        httpx.post(**asked(stream=True))
        assert found(relay) == ["truncated_accepted"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", Scenario.dialects())
def test_a_job_that_came_to_nothing_may_be_ordered_again_in_every_dialect(name: str, stream: bool) -> None:
    with FakeRelay() as relay:
        relay.play(scenario_of(name, "a cat").unlinked())
        relay.play(scenario_of(name, "a cat"))
        task = parse_response(httpx.post(**asked(stream=stream)).text)
        if "source" in task.links:
            httpx.get(task.links["source"])
        elif task.task_id:
            while httpx.get(f"{RELAY}/videos/{task.task_id}", headers=KEY).json()["status"] != "completed":
                time.sleep(5)
            assert httpx.get(f"{RELAY}/videos/{task.task_id}/content", headers=KEY).status_code == 404
        httpx.post(**asked(stream=stream))
        assert found(relay) == []


@pytest.mark.parametrize("played", [Scenario.video("a cat").progress(14, 48), "sora-2/kite-festival"])
def test_a_result_may_be_fetched_by_the_id_of_its_job(played: Any) -> None:
    with FakeRelay() as relay:
        relay.play(played)
        task = parse_response(httpx.post(**asked(stream=True)).text)
        content = f"{RELAY}/videos/{task.task_id}/content"
        assert httpx.get(f"{content}?variant=thumbnail", headers=KEY).content[8:12] == b"WEBP"
        assert found(relay) == ["preview_downloaded"]
        result = httpx.get(content, headers=KEY)
        assert (result.content[4:8], result.headers["content-type"]) == (b"ftyp", "video/mp4")
        assert result.content == httpx.get(task.results[0].url).content
        assert [(call.kind, call.role) for call in relay.calls][1:3] == [("media", "poster"), ("media", "result")]
        assert found(relay) == []


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
@pytest.mark.parametrize("variant", ["thumbnail", "spritesheet", "video"])
def test_a_cover_fetched_by_openais_video_api_is_no_result(variant: Any) -> None:
    with FakeRelay() as relay:
        relay.play(Scenario.video("a cat"))
        videos = openai.OpenAI(base_url=RELAY, api_key="sk-mine", timeout=120, max_retries=0).videos
        job = videos.create_and_poll(model="sora-2", prompt="a cat", poll_interval_ms=5000)
        assert videos.download_content(job.id, variant=variant).read()
        assert found(relay) == ([] if variant == "video" else ["preview_downloaded"])


def test_of_a_job_that_tells_no_url_the_content_is_to_be_fetched() -> None:
    told, _ = MISBEHAVED["preview_downloaded"]["cover of a job that tells no URL"]
    assert explained(told(Story())).endswith("Fetch the job's content without a variant, or with variant=video.")


def test_a_result_that_is_asked_for_too_early_is_not_there() -> None:
    with FakeRelay() as relay:
        relay.play(Scenario.video("a cat").progress(14, 48).detached())
        task = parse_response(httpx.post(**asked()).text)
        content = f"{RELAY}/videos/{task.task_id}/content"
        assert httpx.get(content).status_code == 404
        time.sleep(60)
        assert httpx.get(content).status_code == 200
        assert found(relay) == []


def test_a_job_that_is_asked_for_by_its_id_is_over_when_it_is_done() -> None:
    with FakeRelay() as relay:
        relay.play(Scenario.video("a cat").detached())
        task = parse_response(httpx.post(**asked()).text)
        for _ in range(12):
            httpx.get(f"{RELAY}/videos/{task.task_id}")
            time.sleep(5)
        assert found(relay) == ["polled_after_end"]


def test_findings_come_in_the_order_in_which_they_began() -> None:
    story = Story().chat(CUT, prompt="a").chat(refused(400)).chat(refused(400)).chat(CUT, prompt="b")
    assert story.findings() == [
        ("truncated_accepted", (1,)),
        ("retried_hopeless", (2, 3)),
        ("truncated_accepted", (4,)),
    ]


def test_findings_are_rendered_with_the_names_to_allow() -> None:
    findings = [Finding("gave_up", (1, 2, 5, 6, 7), "A. B. C."), Finding("hammered", (3,), "D. E. F.")] * 2
    assert render_findings(findings[:2]).splitlines() == [
        "the client misbehaved: 2 findings",
        "- gave_up (calls 1, 2, 5-7): A. B. C.",
        "- hammered (call 3): D. E. F.",
        'What is meant to be so is allowed by name: allow=["gave_up", "hammered"]',
    ]
    assert render_findings(findings).endswith('allow=["gave_up", "hammered"]')
    assert render_findings(findings[:1]).startswith("the client misbehaved: one finding\n")
    assert render_findings([]) == ""


def test_the_error_carries_its_findings_to_another_process() -> None:
    finding = Finding("gave_up", (1,), "A. B. C.")
    error = pickle.loads(pickle.dumps(ClientMisbehaved([finding])))
    assert error.findings == (finding,)
    assert str(error) == render_findings([finding])
    assert isinstance(error, AssertionError)


@pytest.mark.parametrize("names", [[], ["gave_up"], ("gave_up", "hammered"), FINDINGS, "gave_up"])
def test_findings_are_allowed_by_name(names: Any) -> None:
    assert allowed(names) == ({"gave_up"} if names == "gave_up" else set(names))


@pytest.mark.parametrize("names", [["gave_up", "gaveup"], "gaveup"])
def test_an_unknown_name_is_an_error_that_lists_the_names(names: Any) -> None:
    with pytest.raises(UnknownFinding, match="no finding is called 'gaveup'; there are submitted_twice, ") as error:
        allowed(names)
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, TickertapeError)
    assert all(name in str(error.value) for name in FINDINGS)
