"""One played scenario: its answer, and the world behind the links in it."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit
from uuid import UUID

from ._media import media
from ._script import Script, Write, error_frame, fold, lines
from ._videos import content, no_content, variant_of
from ._wire import Data, End, streamed, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..events import Kind
    from ._script import Intent, Lines
    from ._wire import Reply
    from .scenario import Scenario

Role = Literal["result", "download", "poster", "preview", "input", "web", "source"]
State = Literal["queued", "in_progress", "completed", "failed", "incomplete"]

EPOCH = datetime(2026, 1, 2, tzinfo=UTC)
"""What the clock of every scenario's world shows when the request arrives."""


@dataclass(frozen=True, slots=True)
class Medium:
    """The URLs of one result."""

    kind: Kind
    url: str
    download: str
    cover: str
    still: str
    clip: str


@dataclass(frozen=True, slots=True)
class Asset:
    """What a URL answers with."""

    role: Role
    kind: Kind
    number: int
    suffix: str
    ready: float
    """Seconds after the request from which it is there."""


class Names:
    """Every id and URL of one job, made from its seed and number and nothing else."""

    def __init__(self, origin: str, seed: int, number: int, intent: Intent, lines: Lines) -> None:
        self._origin = origin.rstrip("/")
        self._key = f"{seed}/{number}"
        self._signed = intent.signed
        self._lines = lines
        shape = lines.get("id", "task_{hex:.26}")
        self.task_id: str = shape.format(hex=self.hex("id"), uuid=UUID(self.hex("id") + "a0"))
        self.media: list[Medium] = []
        self.assets: dict[str, Asset] = {}

    def hex(self, name: str) -> str:
        """Thirty hexadecimal digits, as relays name files."""
        return blake2b(f"{self._key}/{name}".encode(), digest_size=15).hexdigest()

    def identifier(self, name: str) -> str:
        digits = self.hex(name)
        return {"sid": f"s_{digits}", "request_id": f"req-{digits[:12]}"}.get(name, str(int(digits[:15], 16)).zfill(19))

    def link(self, rel: str) -> str:
        return f"{self._origin}/{rel}/{self.task_id}"

    def medium(self, i: int, t: float) -> Medium:
        """The URLs of result number `i`, which is there from `t` on."""
        lines, kind = self._lines, self._lines.kind
        name = f"{self.hex(f'result {i}')}{lines.suffix}"
        number = int(self.hex(f"result {i}"), 16)
        medium = Medium(
            kind,
            self._asset("/cdn/20260102/", name, Asset("result", kind, number, lines.suffix, t)),
            self._asset("/cdn/download/20260102/", name, Asset("download", kind, number, lines.suffix, t)),
            *(
                self._asset(
                    "/cdn/20260102/", f"{self.hex(f'{role} {i}')}{suffix}", Asset(role, what, number, suffix, t)
                )
                for role, what, suffix in _BESIDE
            ),
        )
        self.media.append(medium)
        return medium

    def preview(self, t: float) -> str:
        """A picture, or a stream, of the unfinished work."""
        suffix, name = self._lines.preview_suffix, self.hex(f"preview {len(self.assets)}")
        kind: Kind = "audio" if suffix == ".mp3" else "image"
        return self._asset("/vg-assets/", name + suffix, Asset("preview", kind, int(name, 16), suffix, t))

    def _asset(self, folder: str, name: str, asset: Asset) -> str:
        bare = f"{self._origin}{folder}{name}"
        url = f"{bare}{self.signature(asset, asset.ready)}"
        self.assets[url] = asset
        return url

    def signature(self, asset: Asset, t: float) -> str:
        """The query of a link that is handed out at `t`: one that has expired is signed anew."""
        if self._signed is None:
            return ""
        # Links that are good for no time at all are never signed anew.
        periods = max(0, (t - asset.ready) // self._signed) if self._signed else 0
        begins = asset.ready + periods * self._signed
        start, expiry = (quote(_stamp(at), safe="") for at in (begins, begins + self._signed))
        # Azure's shape; the signature is no secret and looks like none.
        return f"?st={start}&se={expiry}&sp=r&sv=2024-08-04&sr=b&sig=REDACTED"


_BESIDE: tuple[tuple[Role, Kind, str], ...] = (
    ("poster", "image", ".webp"),
    ("result", "image", ".png"),
    ("result", "video", ".mp4"),
)
"""A video's cover; a song's picture and its clip."""


class Job:
    """A scenario that is being played: a state machine over the seconds since its request.

    `scenario.bind(origin, seed=…, number=…)` makes it. Nothing here waits or knows
    a clock: `reply()` is the chat answer with its times, `answer(url, t)` what a
    GET of one of its URLs gets at `t`.
    """

    def __init__(self, scenario: Scenario, origin: str, *, seed: int, number: int) -> None:
        intent = scenario.intent
        spoken = lines(scenario.name, intent.language, intent.kind)
        names = Names(origin, seed, number, intent, spoken)
        script = Script(intent, names, scenario.seconds, spoken)
        self.scenario = scenario
        self.pace = scenario.seconds
        """Seconds between two polls."""
        self.task_id: str = names.task_id
        """What the task is asked for with, whether or not the text tells it."""
        self.duration = script.ended
        """Seconds from the request to the verdict."""
        self.writes = tuple(script.writes)
        """Everything the answer writes, reasoning included."""
        self.asked: dict[str, Any] = {}
        """What was asked for by OpenAI's `POST …/videos`: its video job tells it again."""
        self._intent = intent
        self._script = script
        self._names = names
        self._created = int(EPOCH.timestamp()) + number
        # What is told in pictures beside the result is a result of its own only where the text shows it.
        shown = "".join(write.text for write in script.writes)
        self._assets = {
            url: asset
            for url, asset in names.assets.items()
            if url in shown or html.escape(url) in shown or url in {u for m in names.media for u in (m.url, m.download)}
        }

    # -- the answer --------------------------------------------------------------------

    @property
    def deltas(self) -> tuple[tuple[float, str], ...]:
        """The content as it is written: seconds since the request, and text."""
        return tuple((w.t, w.text) for w in self.writes if w.channel == "content" and not _framed(w))

    @property
    def content(self) -> str:
        return "".join(text for _, text in self.deltas)

    @property
    def reasoning(self) -> str:
        return "".join(w.text for w in self.writes if w.channel == "reasoning")

    @property
    def expected(self) -> dict[str, Any]:
        """What a reader of the streamed answer must take from it: `Task.as_dict()` without the envelope."""
        return fold(self.writes)

    @property
    def expected_content(self) -> dict[str, Any]:
        """The same for a reader of `content` alone, without reasoning and error frames."""
        return fold(w for w in self.writes if w.channel == "content" and not _framed(w))

    def reply(self, *, stream: bool, include_usage: bool = False, model: str = "") -> Reply:
        """The chat answer: a stream with its times, or a whole completion when the job has ended."""
        return self._streamed(include_usage, model) if stream else self._whole(model)

    def _streamed(self, include_usage: bool, model: str) -> Reply:
        from ._chat import dump, frames

        written = [write for write in self.writes if not _framed(write)]
        told = next((write for write in self.writes if _framed(write)), None)
        cut = self._intent.end == "cut" and not self._intent.detached
        stream = frames(
            [(write.t, write.text) for write in written],
            model=model,
            completion_id=self._completion_id,
            created=self._created,
            include_usage=include_usage,
            done=not cut and told is None,
        )
        body = [
            stream[0],
            *(_placed(*pair) for pair in zip(stream[1:], written, strict=False)),
            *stream[1 + len(written) :],
        ]
        if told is not None:
            body += [Data(told.t, b"data: " + dump(self._error) + b"\n\n"), Data(told.t, b"data: [DONE]\n\n")]
        # A stream that is cut stays open for as long as the job runs.
        return streamed(200, body, end=End(max(body[-1].t, self.duration if cut else 0.0)))

    def _whole(self, model: str) -> Reply:
        """It finishes with `stop`, however it ends: so do these relays, after failures too."""
        from ._chat import completion

        t = max((write.t for write in self.writes), default=0.0)
        if self._intent.end == "error":
            return whole(200, self._error, t=t)
        body = completion(self.content, model=model, completion_id=self._completion_id, created=self._created)
        if self.reasoning:
            body["choices"][0]["message"]["reasoning_content"] = self.reasoning
        return whole(200, body, t=t)

    @property
    def _completion_id(self) -> str:
        return f"chatcmpl-{self._names.hex('completion')}"

    @property
    def _error(self) -> dict[str, Any]:
        return error_frame(self._intent.reason, self._intent.code)

    # -- the world -----------------------------------------------------------------------

    @cached_property
    def urls(self) -> Mapping[str, Role]:
        """Every URL this job answers, and what it is."""
        roles: dict[str, Role] = {url: asset.role for url, asset in self._assets.items()}
        roles[self._names.link("web")] = "web"
        roles[self._names.link("source")] = "source"
        return MappingProxyType(roles)

    def status_at(self, t: float) -> State:
        """What has become of the job itself, whatever its answer tells of it."""
        if t >= self.duration:
            return "completed" if self._script.error is None else "failed"
        return "in_progress" if t >= self._script.started else "queued"

    def progress_at(self, t: float) -> float | None:
        """The last percentage the job reached; None before the first."""
        return next((percent for at, percent in reversed(self._script.ticks) if at <= t), None)

    def results_at(self, t: float) -> list[str]:
        """The URLs of what is finished, signed anew where the first signature has expired."""
        if self.status_at(t) != "completed":
            return []
        urls = [medium.url for medium in self._names.media]
        return [url.partition("?")[0] + self._names.signature(self._assets[url], t) for url in urls]

    def role_of(self, url: str) -> Role | None:
        """What a URL is to this job, whenever it was signed; None where it is no link of its answers."""
        path = unquote(urlsplit(url).path)
        if path.endswith(f"/v1/videos/{self.task_id}/content"):
            return "poster" if variant_of(url) else "result"
        return next((role for known, role in self.urls.items() if unquote(urlsplit(known).path) == path), None)

    def answer(self, url: str, t: float) -> Reply | None:
        """What a GET of `url` gets `t` seconds after the request; None where the URL is not of this job.

        A medium is 404 until it is ready, and 403 when its signature has expired
        or was left out. A task's page, its source and its video job always answer.
        """
        parts = urlsplit(url)
        path = unquote(parts.path)
        for known, asset in self._assets.items():
            if unquote(urlsplit(known).path) == path:
                return self._medium(asset, parts.query, t)
        if path == f"/web/{self.task_id}":
            return whole(200, self._page(t), content_type="text/html; charset=utf-8")
        queried = path.endswith("/v1/video/query") and self.task_id in parse_qs(parts.query).get("id", ())
        if path == f"/source/{self.task_id}" or queried:
            return whole(200, self._source(t))
        if path.endswith(f"/v1/videos/{self.task_id}"):
            return whole(200, self._video_job(t))
        if path.endswith(f"/v1/videos/{self.task_id}/content"):
            return self._video_content(t, variant_of(url))
        return None

    def _medium(self, asset: Asset, query: str, t: float) -> Reply:
        if t < asset.ready:
            return _storage_error(404, "BlobNotFound", "The specified blob does not exist.", t)
        expected = parse_qs(self._names.signature(asset, t)[1:])
        if expected and (parse_qs(query) != expected or not self._intent.signed):
            until = parse_qs(query).get("se", [_stamp(asset.ready)])[0]
            detail = f"Signature not valid in the specified time frame: Expiry [{html.escape(until)}]"
            detail += f" - Current [{_stamp(t)}]"
            message = (
                "Server failed to authenticate the request. Make sure the value of Authorization header is formed "
            )
            return _storage_error(
                403, "AuthenticationFailed", message + "correctly including the signature.", t, detail
            )
        data, content_type = media(asset.kind, number=asset.number, suffix=asset.suffix)
        return whole(200, data, content_type=content_type)

    def _source(self, t: float) -> dict[str, Any]:
        """The JSON behind the `source` link, in asyncdata's field names."""
        status, percent, results = self.status_at(t), self.progress_at(t), self.results_at(t)
        word = {"queued": "pending", "in_progress": "processing"}.get(status, status)
        pending: dict[str, Any] = {"status": word, "failure_reason": None}
        if percent is not None and status == "in_progress":
            pending["progress_pct"] = float(Decimal(repr(percent)) / 100)  # 57.1 is 0.571, as it is written
        body: dict[str, Any] = {
            "id": self.task_id,
            "status": word,
            "running": status in ("queued", "in_progress"),
            "retry_count": sum(began <= t for began in self._script.retried),
            "status_update_time": int((EPOCH.timestamp() + t) * 1000),
            "input": {"prompt": self._intent.prompt, "n": self._intent.n},
            "pending_info": pending,
            "fail_reason": None,
        }
        if status == "failed" and self._script.error is not None:
            body["fail_reason"] = self._intent.reason
        elif results and self._intent.kind == "video":
            body |= {"video_url": results[0], "urls": results}
        else:
            body["urls"] = results
        return body

    def _video_job(self, t: float) -> dict[str, Any]:
        """The same as OpenAI's video job."""
        status = self.status_at(t)
        created = int(EPOCH.timestamp())
        error = self._script.error if status == "failed" else None
        return {
            "id": self.task_id,
            "object": "video",
            "model": self.scenario.name,
            "status": status,
            "progress": 100 if status == "completed" else int(self.progress_at(t) or 0),
            "created_at": created,
            "completed_at": created + int(self.duration) if status == "completed" else None,
            "error": error and {"code": error["code"] or "generation_failed", "message": error["message"]},
            **self.asked,
        }

    def _video_content(self, t: float, variant: str | None) -> Reply:
        if not self.results_at(t):
            return no_content(self.task_id, self.status_at(t))
        asset = self._assets[self._names.media[0].url]
        return content(asset.kind, asset.number, asset.suffix, variant)

    def _page(self, t: float) -> str:
        percent = self.progress_at(t)
        state = self.status_at(t) if percent is None else f"{self.status_at(t)} {percent}%"
        links = "".join(f'<li><a href="{html.escape(url)}">{html.escape(url)}</a>' for url in self.results_at(t))
        return f"<!doctype html><meta charset=utf-8><title>{self.task_id}</title><p>{state}<ul>{links}</ul>"


def _framed(write: Write) -> bool:
    """Whether this is the error frame, which is no part of the content."""
    return any(fact[0] == "frame" for fact in write.facts)


def _placed(frame: Data, write: Write) -> Data:
    """A frame whose text goes to the channel and the choice of its write."""
    if write.channel == "content" and not write.index:
        return frame
    from ._chat import dump

    value = json.loads(frame.data.removeprefix(b"data: "))
    choice = value["choices"][0]
    choice["index"] = write.index
    if write.channel == "reasoning":
        choice["delta"] = {"content": None, "reasoning_content": write.text}
    return Data(frame.t, b"data: " + dump(value) + b"\n\n")


def _stamp(t: float) -> str:
    return (EPOCH + timedelta(seconds=min(t, 1e9))).strftime("%Y-%m-%dT%H:%M:%SZ")


def _storage_error(status: int, code: str, message: str, t: float, detail: str = "") -> Reply:
    """An error as Azure's blob storage writes it, byte order mark aside."""
    more = f"<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>" if detail else ""
    told = f"<Code>{code}</Code><Message>{message}\nTime:{_stamp(t)}</Message>{more}"
    body = f'<?xml version="1.0" encoding="utf-8"?><Error>{told}</Error>'
    return whole(status, body, headers=(("x-ms-error-code", code),), content_type="application/xml")
