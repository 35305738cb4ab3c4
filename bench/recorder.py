"""What the recording proxy adds to each chunk, beside a proxy that only passes bytes on, in one run.

    python bench/recorder.py            half a minute
    python bench/recorder.py --quick

An upstream on loopback sends one chunk when it is told to; the client notes how long it
takes until it has it. The ways take turns, chunk by chunk, so that what else the machine
does meets them all alike:

    direct         no proxy
    bytes          passed on by asyncio's streams, unread: the least that a proxy can do
    HTTP           the recorder's own server and client (uvicorn, httpx2), without taking anything down
    recorded       the recorder
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import statistics
import tempfile
import threading
import time
from typing import TYPE_CHECKING

from tickertape.testing._proxy import RecordingProxy
from tickertape.testing.recorder import Take

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_FRAME = b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"\xe8\xbf\x9b\xe5\xba\xa6 48.."}}]}\n\n'
_CHUNK = b"%x\r\n%b\r\n" % (len(_FRAME), _FRAME)
_BODY = b'{"model":"m","stream":true}'


class PassThrough:
    """Bytes from one socket to another, and back: the least that a proxy can do."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, out = await asyncio.open_connection("127.0.0.1", self._upstream)
        await asyncio.gather(self._pipe(reader, out), self._pipe(upstream, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class Way:
    """One connection of a client to the upstream, open while its answer is streamed."""

    def __init__(self, listening: socket.socket, port: int) -> None:
        self._client = socket.create_connection(("127.0.0.1", port))
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-length: %d\r\n\r\n"
        self._client.sendall(head % (port, len(_BODY)) + _BODY)
        self._upstream, _ = listening.accept()
        for each in (self._client, self._upstream):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asked = b""
        while _BODY not in asked:
            asked += self._upstream.recv(1 << 16)
        self._upstream.sendall(_HEAD)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._client.recv(1)

    def chunk(self) -> float:
        """Seconds from the upstream's write until the client has all of it."""
        start, left = time.perf_counter(), len(_CHUNK)
        self._upstream.sendall(_CHUNK)
        while left > 0:
            left -= len(self._client.recv(left))
        return time.perf_counter() - start

    def end(self) -> None:
        self._upstream.sendall(b"0\r\n\r\n")
        self._client.recv(64)
        self._client.close()
        self._upstream.close()


class Deaf(Take):
    """Takes nothing down."""

    def data(self, t: float, data: bytes) -> None:
        pass


def port_of(proxy: RecordingProxy) -> int:
    return int(proxy.url.rpartition(":")[2])


@contextlib.contextmanager
def ways() -> Iterator[dict[str, Way]]:
    with socket.create_server(("127.0.0.1", 0)) as listening, tempfile.TemporaryDirectory() as folder:
        port = listening.getsockname()[1]
        plain = PassThrough(port)
        upstream = f"http://127.0.0.1:{port}/v1"
        with RecordingProxy(upstream, folder) as recorder, RecordingProxy(upstream, folder) as bare:
            bare._recorder.begin = lambda request: Deaf(request, 0)  # type: ignore[method-assign]
            opened = {
                "direct": Way(listening, port),
                "bytes": Way(listening, plain.port),
                "HTTP": Way(listening, port_of(bare)),
                "recorded": Way(listening, port_of(recorder)),
            }
            yield opened
            for way in opened.values():
                way.end()
            plain.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer chunks")
    chunks = 300 if parser.parse_args().quick else 6000
    rng = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in ("direct", "bytes", "HTTP", "recorded")}
    with ways() as opened:
        for number in range(chunks):
            # In another order each time: whoever comes after whom matters to the processor.
            for name, way in rng.sample(list(opened.items()), len(opened)):
                taken = way.chunk()
                if number >= chunks // 10:  # the first warm up
                    times[name].append(taken)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print("| a chunk | median µs | 99 % µs | added µs | × bytes | × HTTP |")
    print("|---|---|---|---|---|---|")
    for name, each in times.items():
        slow = sorted(each)[len(each) * 99 // 100]
        added = medians[name] - medians["direct"]
        ratios = [added / (medians[other] - medians["direct"]) for other in ("bytes", "HTTP")]
        told = f"{added * 1e6:.0f} | {ratios[0]:.2f} | {ratios[1]:.2f}" if added else "– | – | –"
        print(f"| {name} | {medians[name] * 1e6:.0f} | {slow * 1e6:.0f} | {told} |")


if __name__ == "__main__":
    main()
