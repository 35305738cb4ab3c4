"""What every client is asked on loopback, and what it must see: the bytes that a client in process is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

import tickertape
from tickertape.testing import FakeRelay, Scenario

CAT = Scenario.image("a cat", n=2).progress(14, 48)
KEY = {"authorization": "Bearer sk-test"}
ASK: dict[str, Any] = {"model": "gpt-image-1.5", "messages": [{"role": "user", "content": "a cat"}]}
STREAM = {**ASK, "stream": True}


@dataclass
class Seen:
    """What a client saw."""

    body: bytes = b""
    """Of the stream, as it came."""
    progress: list[float] = field(default_factory=list)
    media: list[bytes] = field(default_factory=list)


def in_process(url: str) -> Seen:
    """What a FakeRelay answers, as if it were at this address. It cannot be: who listens there is let through."""
    here = "https://relay.example"
    with FakeRelay() as relay, httpx.Client(headers=KEY, timeout=60) as client:
        relay.play(CAT)
        body = client.post(f"{here}/v1/chat/completions", json=STREAM).content
        task = tickertape.parse_response(body)
        media = [client.get(result.url).content for result in task.results]
    return Seen(body.replace(here.encode(), url.encode()), list(task.progress[:2]), media)


def content_of(seen: Seen) -> str:
    """What a client is told that does not show the bytes."""
    return tickertape.parse_response(seen.body).text


class Reader:
    """Reads the stream as it comes, as an application would."""

    def __init__(self) -> None:
        self.seen = Seen()
        self._reader = tickertape.ResponseReader()

    def feed(self, piece: bytes) -> None:
        self.seen.body += piece
        for event in self._reader.feed(piece):
            if isinstance(event, tickertape.events.Progress):
                self.seen.progress.append(event.percent)

    def urls(self) -> list[str]:
        """The links of the results, at the end."""
        self._reader.close()
        return [result.url for result in self._reader.task.results]
