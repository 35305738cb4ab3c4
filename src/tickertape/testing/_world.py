"""What stands behind the links of a tape's answer, where the tape itself did not record it.

A tape keeps what a relay said; its client goes on to follow the links. What the
answer tells can be served honestly: media of the kind that was promised, and a
task that has the outcome the text told. What it does not tell (an answer that
was cut) is not made up: the request stays unmatched.

A scenario brings its own world (`scenario.Job`); both have the same methods.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from ..responses import parse_response
from ._media import SUFFIXES, media
from ._videos import content, no_content, variant_of
from ._wire import body_of, end_of, head_of, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..events import Kind
    from ..task import Task
    from ._facts import Interaction
    from ._wire import Reply
    from .tape import Tape


class TapeJob:
    """The world of one played tape: a task that ends as its text says, after the tape's duration."""

    pace = 1.0

    def __init__(self, tape: Tape, number: int, chat: Interaction | None = None) -> None:
        self._tape = tape
        self._number = number
        self.asked: dict[str, Any] = {}
        """What was asked for by OpenAI's `POST …/videos`, which answers with it."""
        self._chat = tape.chat if chat is None else chat
        """The answer that was given; a tape may hold several."""

    @cached_property
    def _task(self) -> Task:
        if self._chat is self._tape.chat:
            return self._tape.task  # read once for all its jobs
        head = head_of(self._chat.reply)
        return parse_response(body_of(self._chat.reply), None if head is None else head.status)

    @property
    def task_id(self) -> str | None:
        """As the answer told it."""
        return self._task.task_id

    @cached_property  # not before a link is followed: most answers are only read
    def urls(self) -> Mapping[str, str]:
        """Every URL this world answers, with its role."""
        return _roles(self._tasks)

    @cached_property
    def _tasks(self) -> list[Task]:
        """What the answer told, and what the recorded polls did."""
        polls = [i.reply for i in self._tape.interactions if not i.is_chat and _is_json(i.reply)]
        return [self._task, *(parse_response(body_of(reply)) for reply in polls)]

    def role_of(self, url: str) -> str | None:
        """What a URL is to this answer; None where it is none of its links."""
        if self._asks_for_content(url):
            return "poster" if variant_of(url) else "result"
        return next((role for known, role in self.urls.items() if same_url(known, url)), None)

    def status_at(self, t: float) -> str:
        """The task's status `t` seconds after the request."""
        return self._task.status if t >= end_of(self._chat.reply).t else "in_progress"

    def answer(self, url: str, t: float) -> Reply | None:
        """What a GET of this URL gets `t` seconds after the request; None when it is not of this world."""
        if self._asks_for_content(url):
            return self._content(url, t)
        known = next((k for k in self.urls if same_url(k, url)), None)
        role = self.urls[known] if known is not None else self._poll_role(url)
        if role is None or (role in ("source", "web") and self._task.status not in ("completed", "failed")):
            return None
        if role == "source":
            return whole(200, self._poll(t))
        if role == "web":
            return whole(200, _page(self._task, self.status_at(t)), content_type="text/html; charset=utf-8")
        assert known is not None
        data, content_type = media(_kind(self._tasks, known), number=self._numbered(known), suffix=_suffix(known))
        return whole(200, data, content_type=content_type)

    def _numbered(self, known: str) -> int:
        return 100 * self._number + list(self.urls).index(known)

    def _asks_for_content(self, url: str) -> bool:
        task_id = self._task.task_id
        return task_id is not None and unquote(urlsplit(url).path).endswith(f"/videos/{task_id}/content")

    def _content(self, url: str, t: float) -> Reply | None:
        if self._task.status not in ("completed", "failed"):
            return None
        first = next((known for known, role in self.urls.items() if role == "result"), None)
        if first is None or self.status_at(t) != "completed":
            return no_content(str(self._task.task_id), self.status_at(t))
        return content(_kind(self._tasks, first), self._numbered(first), _suffix(first), variant_of(url))

    def _poll_role(self, url: str) -> str | None:
        """A task is also asked for by its id alone: new-api's query route, OpenAI's video job."""
        parts, task_id = urlsplit(url), self._task.task_id
        if task_id is None:
            return None
        if parts.path.endswith("/video/query") and task_id in parse_qs(parts.query).get("id", ()):
            return "source"
        return "source" if unquote(parts.path).endswith(f"/videos/{task_id}") else None

    def _poll(self, t: float) -> dict[str, Any]:
        task = self._task
        body: dict[str, Any] = {"id": task.task_id, "status": "processing", "progress": _last(task.progress)}
        if self.status_at(t) == "completed":
            body |= {"status": "completed", "progress": 100}
            body |= {f"{r.kind}_url" if r.kind != "image" else "url": r.url for r in reversed(task.results)}
            body["urls"] = [r.url for r in task.results]
        elif self.status_at(t) == "failed":
            error = task.error
            body |= {"status": "failed", "fail_reason": error.message if error else None}
        return body


def _last(progress: tuple[float, ...]) -> float:
    return progress[-1] if progress else 0


def _roles(tasks: Iterable[Task]) -> dict[str, str]:
    """Every URL of the tasks with its role; what it was first counts."""
    urls: list[tuple[str, str]] = []
    for task in tasks:
        urls += [(r.url, "result") for r in task.results]
        urls += [(r.download_url, "download") for r in task.results if r.download_url]
        urls += [(r.poster_url, "poster") for r in task.results if r.poster_url]
        urls += [(url, "preview") for url in task.previews]
        urls += [(url, rel) for rel, url in task.links.items()]
    roles: dict[str, str] = {}
    for url, role in urls:
        if not url.startswith("data:"):
            roles.setdefault(url, role)
    return roles


def _kind(tasks: Iterable[Task], url: str) -> Kind:
    results = [result for task in tasks for result in task.results]
    return next((r.kind for r in results if url in (r.url, r.download_url)), "image")


def _is_json(reply: Reply) -> bool:
    head = head_of(reply)
    headers = {name.lower(): value for name, value in head.headers} if head else {}
    return "json" in headers.get("content-type", "")


def _suffix(url: str) -> str | None:
    """The suffix of a URL's path where it is one of a medium that can be made."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    return suffix if suffix in SUFFIXES else None


def _page(task: Task, status: str) -> str:
    state = json.dumps({"id": task.task_id, "status": status}, ensure_ascii=False).replace("<", "\\u003c")
    return f"<!doctype html><title>task</title><script type=application/json>{state}</script>"


def same_url(known: str, asked: str) -> bool:
    """Whether a client that follows `known` asks for `asked`: escapes and fragments aside.

    A relative URL stands for its path on any host.
    """
    if known == asked:
        return True
    known, asked = unquote(known.partition("#")[0]), unquote(asked.partition("#")[0])
    if "://" in known:
        return known == asked
    return asked.endswith("/" + known.lstrip("/"))
