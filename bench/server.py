"""The relay on loopback beside a bare uvicorn app that sends the same bytes: prints tables.

    python bench/server.py            about two minutes
    python bench/server.py --quick    some seconds

Each server is a process of its own. What is compared takes its turn in each round; a
figure is the median of the rounds, and × the median of the ratios to the bare app in
the same round. pytest-httpserver joins in where it is installed, aimock where
`--aimock` names a folder that npm installed `@copilotkit/aimock` into.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai
from doubles import BODY, CHUNKS, EVENTS, MESSAGES, PIECES

from tickertape.testing import Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEADERS = [("access-control-allow-origin", "*"), ("access-control-expose-headers", "*")]
"""What the relay sends beside the content type, so that the bare app sends the same bytes."""
SSE, JSON = "text/event-stream", "application/json"


# -- servers: run in processes of their own ------------------------------------------------


def tape(chunks: list[bytes], content_type: str) -> Tape:
    lines = [
        {"tape": 1, "title": "bench"},
        {"request": {"method": "POST", "path": "/v1/chat/completions", "headers": {}, "json": {}}},
        {"response": {"status": 200, "headers": {"content-type": content_type}}},
        *({"t": 0, "data": chunk.decode()} for chunk in chunks),
        {"t": 0, "end": "eof"},
    ]
    return Tape.loads("".join(json.dumps(line) + "\n" for line in lines))


def relay() -> None:
    """As `tickertape serve` runs it, without pauses."""
    from tickertape.testing import server

    stream, whole = tape(EVENTS, SSE), tape([BODY], JSON)
    begin = server.RelayServer.answer_all
    server.RelayServer.answer_all = (  # type: ignore[method-assign]
        lambda self, fallback: begin(self, lambda request: stream if request.json.get("stream") else whole)
    )
    server.serve([stream], speed=0, rewrite_links=False)


def bare() -> None:
    """uvicorn and nothing else, with the relay's own settings: asyncio, h11, no log."""
    import uvicorn

    headers = [(name.encode(), value.encode()) for name, value in HEADERS]
    starts = {
        kind: {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", kind.encode()), *headers],
        }
        for kind in (SSE, JSON)
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        stream = json.loads(body).get("stream")
        await send(starts[SSE if stream else JSON])
        for chunk in EVENTS if stream else [BODY]:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    # Said to be TCP, asyncio sends each chunk at once; otherwise each would wait 40 ms for a receipt.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(2048)  # whoever connects from here on is answered
        print(f"http://127.0.0.1:{sock.getsockname()[1]}/v1", flush=True)
        told: dict[str, Any] = {"server_header": False, "date_header": False, "proxy_headers": False}
        config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", loop="asyncio", log_config=None, **told)
        uvicorn.Server(config).run([sock])


def httpserver() -> None:
    import logging

    from pytest_httpserver import HTTPServer
    from werkzeug import Request, Response

    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    def answer(request: Request) -> Response:
        if request.get_json().get("stream"):
            return Response(iter(EVENTS), 200, [("content-type", SSE), *HEADERS])
        return Response(BODY, 200, [("content-type", JSON), *HEADERS])

    with HTTPServer() as server:
        server.expect_request("/v1/chat/completions").respond_with_handler(answer)
        print(server.url_for("/v1"), flush=True)
        sys.stdin.read()


AIMOCK = """
import { LLMock } from "@copilotkit/aimock";
const pieces = JSON.parse(process.argv[1]);
const mock = new LLMock({ port: 0, chunkSize: pieces.size, logLevel: "silent" });
mock.onMessage("a cat", { content: pieces.text });
await mock.start();
console.log(mock.url + "/v1");
"""


def commands(aimock: str | None) -> dict[str, list[str]]:
    def own(name: str) -> list[str]:
        return [sys.executable, os.path.abspath(__file__), "--serve", name]

    found = {"bare uvicorn app": own("bare"), "`tickertape serve`": own("relay")}
    if importlib.util.find_spec("pytest_httpserver"):
        found["pytest-httpserver"] = own("httpserver")
    node = shutil.which("node")
    if aimock and node:
        # Not the same bytes: it writes its own frames, about as many.
        text = "".join(PIECES[number % len(PIECES)] for number in range(CHUNKS))
        told = json.dumps({"text": text, "size": -(-len(text) // CHUNKS)})
        found["aimock"] = [node, "--input-type=module", "-e", AIMOCK, told]
    return found


class Served:
    """A server's process."""

    def __init__(self, command: list[str], folder: str | None = None) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
        assert self.process.stdout is not None
        self.base_url = self.process.stdout.readline().strip()

    @property
    def memory(self) -> float:
        """Megabytes that are resident."""
        with open(f"/proc/{self.process.pid}/status") as status:
            (line,) = [line for line in status if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate()


# -- clients -----------------------------------------------------------------------------


class Raw:
    """One connection, and next to nothing around it: what the server takes is what is measured."""

    def __init__(self, base_url: str) -> None:
        address = urlsplit(base_url)
        self._host, self._port = address.hostname or "", address.port or 0
        self._requests = {stream: self._request(stream) for stream in (False, True)}
        self._socket: socket.socket | None = None

    def _request(self, stream: bool) -> bytes:
        body = json.dumps({"model": "m", "messages": MESSAGES, "stream": stream}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self._host}:{self._port}\r\n"
        head += f"authorization: Bearer sk-x\r\ncontent-type: {JSON}\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def ask(self, stream: bool) -> bytes:
        """The answer, as it was on the wire."""
        kept = self._socket or socket.create_connection((self._host, self._port))
        kept.sendall(self._requests[stream])
        data, size = bytearray(), -1
        while True:
            piece = kept.recv(1 << 18)
            data += piece
            if size < 0 and (end := data.find(b"\r\n\r\n")) > 0:
                _, found, told = bytes(data[:end]).lower().partition(b"content-length:")
                size = end + 4 + int(told.split(b"\r\n")[0]) if found else 0
            if not piece or (len(data) >= size if size else data.endswith(b"\r\n0\r\n\r\n")):
                ended = not piece or b"connection: close" in bytes(data[:1024]).lower()
                # At the next request, and not now: a server without threads would wait for it.
                self._socket = None if ended else kept
                if ended:
                    kept.close()
                return bytes(data) if data else self.ask(stream)  # it did not wait for our next request

    def json(self) -> None:
        self.ask(False)

    def stream(self) -> None:
        self.ask(True)


class Sdk:
    def __init__(self, base_url: str) -> None:
        self._client: Any = openai.OpenAI(base_url=base_url, api_key="sk-x", max_retries=0)

    def json(self) -> None:
        self._client.chat.completions.create(model="m", messages=MESSAGES)

    def stream(self) -> None:
        for _ in self._client.chat.completions.create(model="m", messages=MESSAGES, stream=True):
            pass


CLIENTS: dict[str, Callable[[str], Any]] = {"raw socket": Raw, "openai SDK": Sdk}
KINDS = {"json": "JSON", "stream": f"{CHUNKS} chunks"}


def beside(served: dict[str, Served], rounds: int, times: int) -> None:
    clients = {
        (server, client): make(one.base_url) for server, one in served.items() for client, make in CLIENTS.items()
    }
    taken: dict[tuple[str, str, str], list[float]] = {}
    for turn in range(rounds + 1):
        for client in CLIENTS:
            for kind in KINDS:
                for server in random.Random(turn).sample(list(served), len(served)):
                    run, count = getattr(clients[server, client], kind), times if kind == "json" else times // 10
                    began = time.perf_counter()
                    for _ in range(count):
                        run()
                    if turn:  # the first round warms up
                        spent = (time.perf_counter() - began) / count
                        taken.setdefault((server, client, kind), []).append(spent)
    first = next(iter(served))
    print("| server | " + " | ".join(f"{c}: {k} ms | ×" for c in CLIENTS for k in KINDS.values()) + " |")
    print("|---" * (1 + 2 * len(CLIENTS) * len(KINDS)) + "|")
    for server in served:
        cells = []
        for client in CLIENTS:
            for kind in KINDS:
                here, there = taken[server, client, kind], taken[first, client, kind]
                ratio = statistics.median(a / b for a, b in zip(here, there, strict=True))
                cells.append(f"{statistics.median(here) * 1e3:.2f} | {ratio:.2f}")
        print(f"| {server} | " + " | ".join(cells) + " |")


# -- load ----------------------------------------------------------------------------------


def in_sequence(served: Served, requests: int) -> None:
    """So many requests, one after the other, with the memory after each fifth."""
    client = Raw(served.base_url)
    expected = client.ask(False).partition(b"\r\n\r\n")[2]
    memory = [served.memory]
    began = time.perf_counter()
    for number in range(1, requests + 1):
        assert client.ask(False).partition(b"\r\n\r\n")[2] == expected
        if number % (requests // 5) == 0:
            memory.append(served.memory)
    spent = time.perf_counter() - began
    told = ", ".join(f"{each:.1f}" for each in memory)
    print(f"{requests:,} requests in sequence: {spent:.1f} s, {requests / spent:,.0f} a second; memory, MB: {told}")


def at_once(served: Served, streams: int, times: int) -> None:
    """So many streams at the same time, several times over."""
    expected = Raw(served.base_url).ask(True).partition(b"\r\n\r\n")[2]
    address, request = urlsplit(served.base_url), Raw(served.base_url)._requests[True]

    async def one() -> bool:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        with contextlib.closing(writer):
            writer.write(request)
            data = await reader.readuntil(b"\r\n0\r\n\r\n")
        return data.partition(b"\r\n\r\n")[2] == expected

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(one() for _ in range(streams)))

    memory, took = [served.memory], []
    for _ in range(times):
        began = time.perf_counter()
        assert all(asyncio.run(all_of_them())), "a byte was lost"
        took.append(time.perf_counter() - began)
        memory.append(served.memory)
    told = ", ".join(f"{each:.1f}" for each in memory)
    print(f"{streams} streams of {CHUNKS} chunks at once: {statistics.median(took):.2f} s; memory, MB: {told}")


@contextlib.contextmanager
def running(aimock: str | None) -> Iterator[dict[str, Served]]:
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(Served(command, aimock if name == "aimock" else None))
            for name, command in commands(aimock).items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--aimock", metavar="FOLDER", help="where npm installed @copilotkit/aimock")
    parser.add_argument("--serve", choices=["bare", "relay", "httpserver"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return {"bare": bare, "relay": relay, "httpserver": httpserver}[options.serve]()
    with running(options.aimock) as served:
        bodies = {name: Raw(one.base_url).ask(True).partition(b"\r\n\r\n")[2] for name, one in served.items()}
        assert bodies["`tickertape serve`"] == bodies["bare uvicorn app"], "they do not send the same"
        beside(served, *((5, 50) if options.quick else (25, 200)))
    print()
    for number, name in enumerate(("bare uvicorn app", "`tickertape serve`")):
        with Served(commands(None)[name]) as one:
            print(f"{name}:" if not number else f"\n{name}:")
            in_sequence(one, 2_000 if options.quick else 10_000)
            at_once(one, 200, 2 if options.quick else 5)


if __name__ == "__main__":
    main()
