"""What a call through a test double costs, beside the bare transport: prints one table.

    python bench/doubles.py            about a minute
    python bench/doubles.py --quick    some seconds

Every call goes through the real openai SDK. What is compared takes its turn in
each round; the figure is the median of the rounds, and × is its ratio to the
bare `MockTransport` of the same run. Rivals that are installed join in.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import openai
from measure import environment

from tickertape.testing import FakeRelay, Scenario, Tape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tickertape import Task

BASE = "http://relay.test/v1"
CHUNKS = 200
PIECES = ["> ID: `task_01`\n", "排队中 ", "进度 ", "48", "..", "[100]", "(https://x.test/a.mp4)\n", "生成中\n"]
MESSAGES = [{"role": "user", "content": "a cat"}]


def _chunk(number: int) -> bytes:
    delta = {"content": PIECES[number % len(PIECES)]} if number else {"role": "assistant", "content": ""}
    finish = "stop" if number == CHUNKS - 1 else None
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


EVENTS = [*map(_chunk, range(CHUNKS)), b"data: [DONE]\n\n"]
BODY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "![a](https://x.test/a.png)"},
            }
        ],
    },
    ensure_ascii=False,
).encode()
SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}


def streams(module: Any) -> Any:
    class Stream(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            yield from EVENTS

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for event in EVENTS:
                yield event

    def answer(request: Any) -> Any:
        if b'"stream":true' in request.content.replace(b" ", b""):
            return module.Response(200, headers=SSE, stream=Stream())
        return module.Response(200, headers=JSON, content=BODY)

    return answer


class Double:
    """One way to answer the SDK: a client of each kind, and what must be entered around its calls."""

    def __init__(self, *, transport: Callable[[], tuple[Any, Any]] | None = None, around: Any = None) -> None:
        options: dict[str, Any] = {"base_url": BASE, "api_key": "sk-bench", "max_retries": 0}
        sync, asynchronous = transport() if transport else (None, None)
        self.sync: Any = openai.OpenAI(**options, http_client=sync)
        self.asynchronous: Any = openai.AsyncOpenAI(**options, http_client=asynchronous)
        self.around = around or contextlib.nullcontext

    def json(self) -> None:
        self.sync.chat.completions.create(model="m", messages=MESSAGES)

    def stream(self) -> None:
        for _ in self.sync.chat.completions.create(model="m", messages=MESSAGES, stream=True):
            pass

    async def ajson(self) -> None:
        await self.asynchronous.chat.completions.create(model="m", messages=MESSAGES)

    async def astream(self) -> None:
        async for _ in await self.asynchronous.chat.completions.create(model="m", messages=MESSAGES, stream=True):
            pass


def bare() -> Double:
    transport = httpx2.MockTransport(streams(httpx2))
    return Double(transport=lambda: (httpx2.Client(transport=transport), httpx2.AsyncClient(transport=transport)))


def fake_relay() -> Double:
    def lines(chunks: list[bytes], content_type: str) -> str:
        head = [
            {"tape": 1, "title": "bench"},
            {"request": {"method": "POST", "path": "/v1/chat/completions", "headers": {}, "json": {}}},
            {"response": {"status": 200, "headers": {"content-type": content_type}}},
        ]
        body = [{"t": 0, "data": chunk.decode()} for chunk in chunks]
        return "".join(json.dumps(fact) + "\n" for fact in [*head, *body, {"t": 0, "end": "eof"}])

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        with FakeRelay() as relay:
            relay.play(Tape.loads(lines(EVENTS, "text/event-stream")), times=None, when={"stream": True}, optional=True)
            relay.play(Tape.loads(lines([BODY], "application/json")), times=None, optional=True)
            yield

    return Double(around=around)


def respx_routes() -> Double:
    """respx with one route, taught httpcore2 as its own documentation does not say."""
    import respx
    from respx.mocks import HTTPCoreMocker

    from tickertape.testing._stacks import _TARGETS

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        HTTPCoreMocker.add_targets(*_TARGETS)
        try:
            with respx.mock(assert_all_called=False) as router:
                router.post(f"{BASE}/chat/completions").mock(side_effect=streams(httpx))
                yield
        finally:
            HTTPCoreMocker.remove_targets(*_TARGETS)

    return Double(around=around)


def vcrpy() -> Double:
    import vcr

    cassette = os.path.join(tempfile.mkdtemp(), "bench.yaml")
    with vcr.use_cassette(cassette, record_mode="all"):
        double = bare()
        double.json()

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        with vcr.use_cassette(cassette, record_mode="none", allow_playback_repeats=True):
            yield

    return Double(around=around)


DOUBLES: dict[str, Callable[[], Double]] = {
    "bare `MockTransport`": bare,
    "`FakeRelay`": fake_relay,
    "respx, one route": respx_routes,
}


def measure(rounds: int, times: int) -> dict[str, dict[str, float]]:
    doubles = {name: make() for name, make in DOUBLES.items()}
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in doubles}
    loop = asyncio.new_event_loop()

    async def several(one: Callable[[], Any], count: int) -> None:
        for _ in range(count):
            await one()

    for turn in range(rounds + 1):
        for name in sorted(doubles, key=lambda n: hash((n, turn))):
            double = doubles[name]
            with double.around():
                for kind, count in (("json", times), ("stream", max(2, times // 10))):
                    began = time.perf_counter()
                    for _ in range(count):
                        getattr(double, kind)()
                    spent = time.perf_counter() - began
                    began = time.perf_counter()
                    loop.run_until_complete(several(getattr(double, f"a{kind}"), count))
                    aspent = time.perf_counter() - began
                    if turn:  # the first round warms up
                        taken[name].setdefault(kind, []).append(spent / count)
                        taken[name].setdefault(f"a{kind}", []).append(aspent / count)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    return {name: {kind: statistics.median(values) for kind, values in kinds.items()} for name, kinds in taken.items()}


def told(relay: FakeRelay) -> Task:
    task = relay.calls.last.task
    assert task is not None
    return task


def job() -> tuple[float, float, int]:
    """A ten-minute video job, streamed, polled and downloaded: real seconds, virtual seconds, requests."""
    sdk: Any = openai.OpenAI(base_url=BASE, api_key="sk-bench", max_retries=0)
    client = httpx.Client()
    scenario = Scenario.video("a kite").queue(6).generate(10).progress(*range(5, 100, 5)).pace(36).detached()
    began = time.perf_counter()
    with FakeRelay() as relay:
        relay.play(scenario)
        stream = sdk.chat.completions.create(model="sora-2", messages=MESSAGES, stream=True)
        for _ in stream:
            pass
        task = told(relay)
        source = task.links["source"]
        while task.status != "completed":
            time.sleep(10)
            client.get(source)
            task = told(relay)
        for result in task.results:
            client.get(result.url)
        virtual, calls = relay.clock.now, len(relay.calls)
    return time.perf_counter() - began, virtual, calls


def startup(rounds: int) -> dict[str, float]:
    """The least seconds of `pytest --version` and of collecting nothing, with the plugin and without."""
    commands = {
        "--version": ["--version"],
        "--version, with the plugin": ["--version", "-p", "tickertape.plugin"],
        "--collect-only": ["--collect-only", "-q"],
        "--collect-only, with the plugin": ["--collect-only", "-q", "-p", "tickertape.plugin"],
    }
    # Without the other plugins that happen to be installed: some of them cost a second.
    kept = environment() | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "test_one.py"), "w") as file:
            file.write("def test_one():\n    pass\n")
        for turn in range(rounds + 1):
            for name, arguments in commands.items():
                began = time.perf_counter()
                command = [sys.executable, "-m", "pytest", *arguments]
                subprocess.run(command, cwd=folder, env=kept, capture_output=True, check=False)
                if turn:
                    taken[name].append(time.perf_counter() - began)
    return {name: min(values) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    if importlib.util.find_spec("vcr"):
        DOUBLES["vcrpy, replay"] = vcrpy
    figures = measure(*((5, 20) if quick else (25, 50)))
    floor = figures["bare `MockTransport`"]
    kinds = {"json": "JSON", "ajson": "async JSON", "stream": f"{CHUNKS} chunks", "astream": f"async {CHUNKS} chunks"}
    print("| double | " + " | ".join(f"{title} ms | ×" for title in kinds.values()) + " |")
    print("|---" * (2 * len(kinds) + 1) + "|")
    for name, values in figures.items():
        cells = [f"{values[kind] * 1e3:.2f} | {values[kind] / floor[kind]:.2f}" for kind in kinds]
        print(f"| {name} | " + " | ".join(cells) + " |")
    job()
    real, virtual, calls = min(job() for _ in range(3 if quick else 9))
    print(f"\na job of {virtual:.0f} virtual seconds, {calls} requests: {real * 1e3:.0f} ms")
    for name, value in startup(3 if quick else 15).items():
        print(f"pytest {name}: {value * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
