"""Draws pictures through an OpenAI-compatible relay.

    OPENAI_BASE_URL=https://relay.example/v1 OPENAI_API_KEY=sk-… python picture_bot.py "a cat" pictures

A picture is a paid job that takes minutes, so it is ordered once. When the stream
breaks off or falls silent the job goes on, and is asked for at its own link.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, OpenAI

from tickertape import ResponseReader, Task, parse_response
from tickertape.events import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

BUSY = ("rate_limit", "overloaded")
"""Refusals that pass: the relay began nothing, and may take the same order later."""


class PictureError(Exception):
    """There is no picture; `task` is all that is known of the job."""

    def __init__(self, message: str, task: Task) -> None:
        super().__init__(message)
        self.task = task


class PictureBot:
    """Orders pictures and fetches them; `patience` is the seconds a picture may take."""

    def __init__(
        self,
        client: OpenAI,
        *,
        model: str = "gpt-image-1.5",
        patience: float = 900.0,
        show: Callable[[float], object] = lambda percent: None,
    ) -> None:
        # The SDK's own retries would order, and pay for, the same picture again after a timeout.
        self._client = client.with_options(max_retries=0, timeout=60)
        # Links lead anywhere: they are followed without the key.
        self._web = httpx2.Client(timeout=30, follow_redirects=True)
        self._model = model
        self._patience = patience
        self._show = show

    def close(self) -> None:
        self._web.close()

    def draw(self, prompt: str, folder: Path) -> list[Path]:
        """Draw, and save what was drawn. Raises `PictureError`."""
        deadline = time.monotonic() + self._patience
        task = self._order(prompt, deadline)
        if task.status != "failed" and not (task.status == "completed" and task.results):
            task = self._follow(task, deadline)
        if task.error is not None:
            raise PictureError(f"{task.error.category}: {task.error.message}", task)
        if not task.results:
            raise PictureError(f"the relay told of no picture, and the job is {task.status}", task)
        folder.mkdir(parents=True, exist_ok=True)
        return [self._fetch(task, number, folder) for number in range(len(task.results))]

    def _order(self, prompt: str, deadline: float) -> Task:
        """What the answer's stream told, whole or not."""
        while True:
            try:
                stream = self._client.chat.completions.create(
                    model=self._model, messages=[{"role": "user", "content": prompt}], stream=True
                )
                break
            except APIStatusError as error:
                task = parse_response(error.response)
                if task.error is None or task.error.category not in BUSY:
                    raise PictureError(f"the relay refused: {error.message}", task) from error
                wait(retry_after(error.response, 20.0), deadline, task)
        reader = ResponseReader()
        with stream:
            try:
                for chunk in stream:
                    for event in reader.feed(chunk):
                        if isinstance(event, Progress):
                            self._show(event.percent)
            except (APIConnectionError, ValueError):
                pass  # it broke off, fell silent, or sent half a frame; what was told until then counts
            except APIError as error:
                reader.feed({"error": error.body})
        reader.close()
        return reader.task

    def _follow(self, task: Task, deadline: float) -> Task:
        """The job's end, asked for at its link. A job that told no link is given back as it is."""
        source, pause = task.links.get("source"), 5.0
        while source is not None:
            wait(pause, deadline, task)
            pause = min(pause * 1.5, 30.0)
            try:
                response = self._web.get(self._absolute(source))
            except httpx2.TransportError:
                continue
            if response.is_success:
                seen = parse_response(response)
                if seen.status in ("completed", "failed"):
                    return seen
            elif response.status_code < 500 and response.status_code != 429:
                raise PictureError(f"the job's link answered {response.status_code}", task)
            pause = retry_after(response, pause)
        return task

    def _fetch(self, task: Task, number: int, folder: Path) -> Path:
        result = task.results[number]
        url = self._absolute(result.download_url or result.url)
        if urlsplit(url).scheme not in ("https", "http"):
            raise PictureError(f"not a link to a picture: {url[:60]}", task)
        response = self._web.get(url)
        if not response.is_success:
            raise PictureError(f"{url} answered {response.status_code}", task)
        path = folder / f"picture-{number + 1}{Path(urlsplit(url).path).suffix or '.png'}"
        path.write_bytes(response.content)
        return path

    def _absolute(self, url: str) -> str:
        return urljoin(str(self._client.base_url), url)


def retry_after(response: httpx2.Response, default: float) -> float:
    """The seconds a relay asks to be left alone."""
    try:
        return max(0.0, float(response.headers["retry-after"]))
    except (KeyError, ValueError):
        return default


def wait(seconds: float, deadline: float, task: Task) -> None:
    if time.monotonic() + seconds > deadline:
        where = task.links.get("source")
        raise PictureError("out of patience" + (f", ask again at {where}" if where else ""), task)
    time.sleep(seconds)


def main() -> None:
    prompt, folder = sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else ".")
    with OpenAI() as client:
        bot = PictureBot(client, show=lambda percent: print(f"{percent:g} %", file=sys.stderr))
        try:
            print(*bot.draw(prompt, folder), sep="\n")
        except PictureError as error:
            sys.exit(str(error))
        finally:
            bot.close()


if __name__ == "__main__":
    main()
