"""What a call through a test double costs, beside the bare transport: prints one table.

    python bench/doubles.py            some minutes
    python bench/doubles.py --quick    some seconds
    nox -s rivals                      with every rival that can be installed, for openai 3 and openai 2

Every call goes through the real openai SDK, so over httpx2 where that is openai 3,
over httpx where it is openai 2. What is compared takes its turn in each round; the
figure is the median of the rounds, and × is the median of its ratios to the bare
`MockTransport` in the same round. Rivals that are installed join in.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import httpx
import openai
from measure import environment

from tickertape.testing import FakeRelay, Scenario, Tape

hx: Any = importlib.import_module("httpx2" if int(openai.__version__.partition(".")[0]) >= 3 else "httpx")
"""What the SDK's own client is made of."""

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
    transport = hx.MockTransport(streams(hx))
    return Double(transport=lambda: (hx.Client(transport=transport), hx.AsyncClient(transport=transport)))


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
    """respx with one route; for httpx2 it is taught httpcore2 as its own documentation does not say."""
    import respx
    from respx.mocks import HTTPCoreMocker

    from tickertape.testing._stacks import _TARGETS

    taught = _TARGETS if hx.__name__ == "httpx2" else ()

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        HTTPCoreMocker.add_targets(*taught)
        try:
            with respx.mock(assert_all_called=False) as router:
                router.post(f"{BASE}/chat/completions").mock(side_effect=streams(httpx))
                yield
        finally:
            HTTPCoreMocker.remove_targets(*taught)

    return Double(around=around)


def sibling() -> str:
    """pytest-httpx, or for httpx2 the package that is called httpx2-pytest and imported as pytest_httpx2."""
    return "pytest_httpx2" if hx.__name__ == "httpx2" else "pytest_httpx"


def pytest_httpx() -> Double:
    """What its fixture does, which can be had in a test alone."""
    from unittest.mock import patch

    made: Any = importlib.import_module(f"{sibling()}._httpx_mock").HTTPXMock
    options: Any = importlib.import_module(f"{sibling()}._options")._HTTPXMockOptions

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        mock = made(options(assert_all_responses_were_requested=False))
        mock.add_callback(streams(hx), is_reusable=True)

        async def handle(transport: Any, request: Any) -> Any:
            return await mock._handle_async_request(transport, request)

        with (
            patch.object(hx.HTTPTransport, "handle_request", lambda t, r: mock._handle_request(t, r)),
            patch.object(hx.AsyncHTTPTransport, "handle_async_request", handle),
        ):
            yield

    return Double(around=around)


def openai_responses() -> Double:
    """Its route for chat completions, answered by a function; streams as respx's, for its own classes are slower."""
    made: Any = importlib.import_module("openai_responses").OpenAIMock

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        mock = made(base_url=BASE)
        mock.chat.completions.create.response = streams(hx)
        with mock.router:
            yield

    return Double(around=around)


def vcrpy() -> Double:
    """A cassette of both answers. It holds the stream as one body: the SDK gets it in one piece."""
    import vcr

    cassette = os.path.join(tempfile.mkdtemp(), "bench.yaml")
    on = ["method", "scheme", "host", "port", "path", "query", "body"]
    with vcr.use_cassette(cassette, record_mode="all"):
        recorded = bare()
        recorded.json()
        recorded.stream()

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        with vcr.use_cassette(cassette, record_mode="none", allow_playback_repeats=True, match_on=on):
            yield

    return Double(around=around)


def installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is not there, or is another package of that name
        return False


def versions() -> str:
    names = ("openai", hx.__name__, "respx", "httpx2-pytest", "pytest-httpx", "openai-responses", "vcrpy")
    found = []
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return f"CPython {platform.python_version()}, {os.cpu_count()} CPUs; {', '.join(found)}"


def doubles() -> dict[str, Double]:
    made: dict[str, Callable[[], Double]] = {
        FLOOR: bare,
        "`FakeRelay`": fake_relay,
        "respx, one route": respx_routes,
    }
    if installed(f"{sibling()}._httpx_mock"):
        made["httpx2-pytest" if hx.__name__ == "httpx2" else "pytest-httpx"] = pytest_httpx
    if installed("openai_responses"):
        made["openai-responses"] = openai_responses
    if installed("vcr"):
        made["vcrpy, replay"] = vcrpy
    return {name: make() for name, make in made.items()}


FLOOR = "bare `MockTransport`"


Figures = dict[str, dict[str, tuple[float, float]]]
"""Of each double and kind of call: median seconds, and the median of the ratios to the floor, round by round."""


def measure(rounds: int, times: int) -> Figures:
    compared = doubles()
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in compared}
    loop = asyncio.new_event_loop()

    async def several(one: Callable[[], Any], count: int) -> None:
        for _ in range(count):
            await one()

    for turn in range(rounds + 1):
        names = list(compared)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            double = compared[name]
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

    def figure(name: str, kind: str) -> tuple[float, float]:
        pairs = zip(taken[name][kind], taken[FLOOR][kind], strict=True)
        return statistics.median(taken[name][kind]), statistics.median(own / floor for own, floor in pairs)

    return {name: {kind: figure(name, kind) for kind in kinds} for name, kinds in taken.items()}


def told(relay: FakeRelay) -> Task:
    task = relay.calls.last.task
    assert task is not None
    return task


def job() -> tuple[float, float, int]:
    """A ten-minute video job, streamed, polled and downloaded: real seconds, virtual seconds, requests."""
    sdk: Any = openai.OpenAI(base_url=BASE, api_key="sk-bench", max_retries=0)
    client = httpx.Client()
    scenario = Scenario.video("a kite").queue(3).generate(4).progress(*range(5, 100, 5)).pace(20).detached()
    began = time.perf_counter()
    with FakeRelay() as relay:
        relay.play(scenario)
        stream = sdk.chat.completions.create(model="sora-2", messages=MESSAGES, stream=True)
        for _ in stream:
            pass
        task = told(relay)
        source = task.links["source"]
        while task.status != "completed":
            time.sleep(20)
            client.get(source)
            task = told(relay)
        for result in task.results:
            client.get(result.url)
        virtual, calls = relay.clock.now, len(relay.calls)
    return time.perf_counter() - began, virtual, calls


COLLECTED = 1_000
"""Tests in the project that is collected."""


def startup(rounds: int) -> dict[str, tuple[float, float, float]]:
    """CPU seconds of `pytest --version` and of a collection; what our plugin adds, and what one that is empty does.

    All three in turn; what is added is the median of the differences, round by round. CPU time, for others who
    work on the machine do not add to it. pytest takes some milliseconds for any plugin, hence the empty one.
    """
    commands = {"--version": ["--version"], "--collect-only": ["--collect-only", "-q"]}

    def spent(*arguments: str) -> float:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        process = subprocess.Popen(command, cwd=folder, env=kept, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        return usage.ru_utime + usage.ru_stime

    measured: dict[str, tuple[float, float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        # Without the other plugins that happen to be installed: some of them cost a second.
        kept = environment() | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": folder}
        with open(os.path.join(folder, "test_many.py"), "w") as file:
            file.writelines(f"def test_{number}():\n    pass\n" for number in range(COLLECTED))
        with open(os.path.join(folder, "empty_plugin.py"), "w") as file:
            file.write('"""Nothing."""\n')
        for name, arguments in commands.items():
            ways: tuple[list[str], ...] = ([], ["-p", "tickertape.plugin"], ["-p", "empty_plugin"])
            rows = [[spent(*arguments, *way) for way in ways] for _ in range(rounds + 1)][1:]  # the first compiles
            added = [statistics.median(row[at] - row[0] for row in rows) for at in (1, 2)]
            measured[name] = (statistics.median(row[0] for row in rows), added[0], added[1])
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    print(f"{versions()}\n")
    figures = measure(*((5, 20) if quick else (25, 50)))
    kinds = {"json": "JSON", "ajson": "async JSON", "stream": f"{CHUNKS} chunks", "astream": f"async {CHUNKS} chunks"}
    print("| double | " + " | ".join(f"{title} ms | ×" for title in kinds.values()) + " |")
    print("|---" * (2 * len(kinds) + 1) + "|")
    for name, values in figures.items():
        cells = [f"{values[kind][0] * 1e3:.2f} | {values[kind][1]:.2f}" for kind in kinds]
        print(f"| {name} | " + " | ".join(cells) + " |")
    job()
    real, virtual, calls = min(job() for _ in range(3 if quick else 9))
    print(f"\na job of {virtual:.0f} virtual seconds, {calls} requests: {real * 1e3:.0f} ms")
    for name, (without, ours, empty) in startup(5 if quick else 40).items():
        print(
            f"pytest {name}: {without * 1e3:.0f} ms of CPU; our plugin adds {ours * 1e3:.1f} ms, "
            f"one that is empty {empty * 1e3:.1f} ms"
        )


if __name__ == "__main__":
    main()
