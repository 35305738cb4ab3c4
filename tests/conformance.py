"""What a client sees of each fault, in process, from a real socket and from the relay on loopback, on every stack.

Shared by `test_conformance.py`, which compares them, and by
`tools/fault_table.py`, which writes the table of `docs/faults.md` from the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import openai
import trio

from tickertape.testing import FakeRelay, Fault, Interaction, RelayServer, Tape
from tickertape.testing._chat import completion, frames
from tickertape.testing._wire import Data, Head, Reply, Request, end_of, head_of, streamed, whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

try:
    import httpx2
except ModuleNotFoundError:  # beside openai 2, which is on httpx
    httpx2 = None  # type: ignore[assignment]

KEY = "sk-test"
BODY: dict[str, Any] = {"model": "gpt-image-1.5", "messages": [{"role": "user", "content": "一只猫"}]}
RETRIES = 2
"""What the SDK allows itself, as by default."""
SHORT = 0.5
"""The client's timeout where the fault is one of time."""
LONG = 30.0
"""The client's timeout where it is not: no noise of the machine reaches it."""

# -- what is played ---------------------------------------------------------------------

_ID: dict[str, Any] = {"model": "gpt-image-1.5", "completion_id": "chatcmpl-1", "created": 1768300000}
_DELTAS = ("> 正在生成", "..", "\n> 进度 14", "..48", "\n\n![猫](https://files.example/猫.png)\n")
STREAM = streamed(200, frames([(0.01 * at, text) for at, text in enumerate(_DELTAS)], **_ID))
JSON = whole(200, completion("".join(_DELTAS), **_ID), t=0.01)


def tape(reply: Reply) -> Tape:
    """A tape that answers with this."""
    return Tape(name="conformance", title="", recorded=None, interactions=(Interaction(None, reply),))


@dataclass(frozen=True)
class Case:
    """A fault, and the answers that can have it."""

    fault: Fault | None
    streams: tuple[bool, ...] = (True, False)
    timeout: float = LONG

    def __str__(self) -> str:
        return "no fault" if self.fault is None else repr(self.fault).removeprefix("Fault.")

    def reply(self, stream: bool) -> Reply:
        """What leaves the relay."""
        reply = tape(STREAM if stream else JSON).reply(stream=stream)
        return reply if self.fault is None else self.fault.apply(reply, random=Random(0))


_STREAM, _JSON = (True,), (False,)
CASES = (
    Case(None),
    Case(Fault.refused()),
    Case(Fault.unanswered(), timeout=SHORT),
    Case(Fault.disconnect()),
    Case(Fault.disconnect(reset=True)),
    Case(Fault.reset(byte=0)),
    Case(Fault.reset(byte=20)),
    Case(Fault.reset(frame=3), _STREAM),
    Case(Fault.reset(event="Progress"), _STREAM),
    Case(Fault.close(byte=20)),
    Case(Fault.close(frame=3), _STREAM),
    Case(Fault.end(frame=3), _STREAM),
    Case(Fault.end(byte=40)),
    Case(Fault.truncated_json(byte=40), _JSON),
    Case(Fault.truncated_json(byte=40, honest=True), _JSON),
    Case(Fault.late(600.0), timeout=SHORT),
    Case(Fault.late(0.05)),
    Case(Fault.stall(600.0, frame=3), _STREAM, timeout=SHORT),
    Case(Fault.stall(600.0, byte=20), timeout=SHORT),
    Case(Fault.stall(frame=3), _STREAM, timeout=SHORT),
    Case(Fault.stall(0.05, frame=3), _STREAM),
    Case(Fault.drip(200, 0.001)),
    Case(Fault.split_utf8()),
    Case(Fault.malformed(3), _STREAM),
    Case(Fault.duplicate(3), _STREAM),
    Case(Fault.reorder(3), _STREAM),
    Case(Fault.error_frame(frame=3), _STREAM),
    Case(Fault.error_frame(frame=3, event=True), _STREAM),
    Case(Fault.error_frame(), _JSON),
    *(Case(Fault.status(code)) for code in (400, 401, 403, 404, 408, 409, 413, 422, 500, 502, 503, 524)),
    Case(Fault.status(429, retry_after=0.05)),
    Case(Fault.html()),
    Case(Fault.html(200)),
    Case(Fault.html(524)),
    Case(Fault.sse(), _JSON),
    Case(Fault.sse(quoted=True), _JSON),
    Case(Fault.content_type()),
    Case(Fault.content_type(None)),
)


# -- what is seen -----------------------------------------------------------------------


@dataclass
class Seen:
    """What reached the caller."""

    requests: int = 0
    """As the client counts them: a refused connection is one."""
    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[Any] = field(default_factory=list)
    """Bytes as they came, or what the SDK made of them."""
    raised: tuple[str, ...] = ()
    """The exception, and behind it each one's cause, or context where that is shown."""
    messages: tuple[str, ...] = ()
    beneath: tuple[str, ...] = ()
    """What stands behind the last of these all the same, in `__context__`: the system's own error."""

    @property
    def body(self) -> Any:
        """All that was seen, joined."""
        return b"".join(self.chunks) if all(isinstance(each, bytes) for each in self.chunks) else self.chunks


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what a traceback shows behind it."""
    while error is not None:
        yield error
        error = error.__cause__ if error.__cause__ is not None or error.__suppress_context__ else error.__context__


def hidden(error: BaseException) -> Iterator[BaseException]:
    """What stands behind an exception and is not shown in its traceback."""
    behind = error.__cause__ or error.__context__
    while behind is not None:
        yield behind
        behind = behind.__cause__ or behind.__context__


def name(error: BaseException) -> str:
    """Where a class is imported from, without the rooms inside its package."""
    kind = type(error)
    package = kind.__module__.partition(".")[0]
    return kind.__qualname__ if package == "builtins" else f"{package}.{kind.__qualname__}"


_CLIENT: dict[str, Any] = {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
"""Certificates would be loaded for each client anew, and are not asked for here."""


def _openai(http_client: Callable[..., Any]) -> Callable[[str, bool, float, Seen], None]:
    def run(url: str, stream: bool, timeout: float, seen: Seen) -> None:
        options: dict[str, Any] = {"base_url": url, "api_key": KEY, "timeout": timeout, "max_retries": RETRIES}
        http = http_client(event_hooks=_hooks(seen), **_CLIENT)
        with openai.OpenAI(**options, http_client=http) as client:
            answer: Any = client.chat.completions.create(**BODY, stream=stream)
            for chunk in answer if stream else [answer]:
                seen.chunks.append(_model(chunk))

    return run


async def _openai_async(url: str, stream: bool, timeout: float, seen: Seen) -> None:
    http = openai.DefaultAsyncHttpxClient(event_hooks=_hooks(seen, True), **_CLIENT)
    async with openai.AsyncOpenAI(
        base_url=url, api_key=KEY, timeout=timeout, max_retries=RETRIES, http_client=http
    ) as client:
        answer: Any = await client.chat.completions.create(**BODY, stream=stream)
        if not stream:
            seen.chunks.append(_model(answer))
            return
        async for chunk in answer:
            seen.chunks.append(_model(chunk))


def _model(answer: Any) -> Any:
    """A chat completion, a chunk of one, or what the SDK gave in its place."""
    return answer.to_dict() if hasattr(answer, "to_dict") else answer


def _sync(module: Any) -> Callable[[str, bool, float, Seen], None]:
    def run(url: str, stream: bool, timeout: float, seen: Seen) -> None:
        hooks = _hooks(seen)
        with (
            module.Client(timeout=timeout, event_hooks=hooks, **_CLIENT) as client,
            client.stream("POST", f"{url}/chat/completions", **_request(stream)) as response,
        ):
            _head(seen, response)
            for chunk in response.iter_raw():
                seen.chunks.append(chunk)

    return run


def _async(module: Any) -> Callable[[str, bool, float, Seen], Awaitable[None]]:
    async def run(url: str, stream: bool, timeout: float, seen: Seen) -> None:
        hooks = _hooks(seen, True)
        async with (
            module.AsyncClient(timeout=timeout, event_hooks=hooks, **_CLIENT) as client,
            client.stream("POST", f"{url}/chat/completions", **_request(stream)) as response,
        ):
            _head(seen, response)
            async for chunk in response.aiter_raw():
                seen.chunks.append(chunk)

    return run


def _request(stream: bool) -> dict[str, Any]:
    return {"json": {**BODY, "stream": stream}, "headers": {"authorization": f"Bearer {KEY}"}}


def _head(seen: Seen, response: Any) -> None:
    seen.status, seen.headers = response.status_code, list(response.headers.multi_items())


def _hooks(seen: Seen, asynchronous: bool = False) -> dict[str, Any]:
    def count(request: Any) -> None:
        seen.requests += 1

    async def acount(request: Any) -> None:
        seen.requests += 1

    return {"request": [acount if asynchronous else count]}


def _asyncio(run: Callable[..., Awaitable[None]]) -> Callable[[str, bool, float, Seen], None]:
    def outer(*args: Any) -> None:
        async def main() -> None:
            await run(*args)

        asyncio.run(main())

    return outer


def _trio(run: Callable[..., Awaitable[None]]) -> Callable[[str, bool, float, Seen], None]:
    def outer(*args: Any) -> None:
        trio.run(run, *args)

    return outer


STACKS: dict[str, Callable[[str, bool, float, Seen], None]] = {
    "openai": _openai(openai.DefaultHttpxClient),
    "openai asyncio": _asyncio(_openai_async),
    "openai trio": _trio(_openai_async),
    "openai on httpx": _openai(httpx.Client),
    "httpx": _sync(httpx),
    "httpx asyncio": _asyncio(_async(httpx)),
    "httpx trio": _trio(_async(httpx)),
}
if httpx2 is not None:
    STACKS |= {
        "httpx2": _sync(httpx2),
        "httpx2 asyncio": _asyncio(_async(httpx2)),
        "httpx2 trio": _trio(_async(httpx2)),
    }


def see(stack: str, url: str, stream: bool, timeout: float) -> Seen:
    """Ask once, as an application would, and note all that comes of it."""
    seen = Seen()
    try:
        STACKS[stack](url, stream, timeout, seen)
    except Exception as error:
        errors = list(chain(error))
        seen.raised, seen.messages = tuple(map(name, errors)), tuple(map(str, errors))
        seen.beneath = tuple(map(name, hidden(errors[-1])))
    return seen


def in_process(
    case: Case, stack: str, stream: bool, url: str = "http://127.0.0.1:9/v1", played: Tape | None = None
) -> Seen:
    """What a client sees of FakeRelay, whose journal must agree with the client."""
    with FakeRelay() as relay:
        relay.play(played or tape(STREAM if stream else JSON), times=None, fault=case.fault)
        seen = see(stack, url, stream, case.timeout)
    assert len(relay.calls) == seen.requests, relay.calls
    return seen


# -- the relay on loopback --------------------------------------------------------------


def on_server(case: Case, stack: str, stream: bool) -> tuple[Seen, str]:
    """What a client sees of RelayServer, whose journal must agree with the client; and where. Time is real."""
    with RelayServer(speed=1.0, rewrite_links=False) as server:
        server.play(tape(STREAM if stream else JSON), times=None, fault=case.fault)
        seen = see(stack, server.base_url, stream, case.timeout)
        assert len(server.calls) == seen.requests, server.calls
        return seen, server.base_url


# -- the real socket --------------------------------------------------------------------


class SocketRelay:
    """Writes replies to real sockets, step by step, and does to the connection what they say.

    Gaps that a client would sit out are cut short; those that it would not are `PAUSE`.
    """

    PAUSE = 5 * SHORT

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self._answer = answer
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self._closed = threading.Event()
        self._open: set[socket.socket] = set()
        self.requests: list[Request] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> SocketRelay:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        threads = []
        while not self._closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(OSError):
            # Whole: closing a connection with unread bytes would be a reset.
            while (request := _read(connection)) is not None:
                self.requests.append(request)
                if not self._write(connection, self._answer(request)):
                    return

    def _write(self, connection: socket.socket, reply: Reply) -> bool:
        """Whether the connection can be used again."""
        head = head_of(reply)
        chunked = head is not None and "content-length" not in {key.lower() for key, _ in head.headers}
        now = 0.0
        for step in reply:
            if step.t > now:
                self._closed.wait(min(step.t - now, self.PAUSE))
                now = step.t
            if isinstance(step, Head):
                lines = [f"HTTP/1.1 {step.status} {httpx.codes.get_reason_phrase(step.status)}"]
                lines += [f"{key}: {value}" for key, value in step.headers]
                lines += ["transfer-encoding: chunked"] if chunked else []
                connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            elif isinstance(step, Data):
                data = step.data
                connection.sendall(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
                self._closed.wait(0.001)  # most of the chunks leave in packets of their own
            elif step.how == "eof":
                connection.sendall(b"0\r\n\r\n" if chunked else b"")
                return True
            elif step.how == "timeout":
                connection.recv(1)  # until the client goes
            elif step.how == "reset":
                self._closed.wait(0.05)  # what was sent is read before
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


def _read(connection: socket.socket) -> Request | None:
    got = b""
    while b"\r\n\r\n" not in got:
        part = connection.recv(65536)
        if not part:
            return None
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return Request(method, f"http://{headers['host']}{target}", headers, body)


def on_socket(case: Case, stack: str, stream: bool) -> tuple[Seen, str]:
    """What a client sees of the same reply on a socket, whose server must agree with the client; and where."""
    reply = case.reply(stream)
    if end_of(reply).how == "refused":
        with socket.socket() as nobody:  # bound, and not listening
            nobody.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
            return see(stack, url, stream, case.timeout), url
    with SocketRelay(lambda request: reply) as relay:
        seen = see(stack, relay.url, stream, case.timeout)
    assert len(relay.requests) == seen.requests
    return seen, relay.url
