"""The relay on loopback: the same tapes, scenarios and faults for every client and language.

    with RelayServer() as relay:
        relay.play("gpt-image-1.5/cat-drinking-milk")
        subprocess.run(["node", "app.js"], env={"OPENAI_BASE_URL": relay.base_url, ...})

It runs on a thread with an event loop of its own, and listens on 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.server import ServerState

from .._errors import TickertapeError
from . import _guard
from ._app import app
from ._clock import servers
from ._gallery import entered
from ._script import dialect_of
from ._session import Options, Session, Sessions
from ._transport import Connection
from .scenario import DEFAULTS, Scenario
from .tape import Tape

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from types import FrameType, TracebackType

    from ._errors import UnmatchedRequest
    from ._journal import Calls
    from ._pace import Pace
    from ._plays import On
    from ._rules import RetryAfter
    from ._session import Fallback
    from ._wire import Request
    from .faults import Fault

MAX_BODY = 64 << 20
"""Bytes of a request. nginx takes 1 MiB unless told, OpenAI 50 MB of images a request, new-api 32 MB unless told;
a client that is refused here would have been refused there."""
KEPT = 1000
"""Calls that the journal of `tickertape serve` holds, which runs for weeks; more than anybody looks at."""
_BACKLOG = 2048
"""Connections that wait to be taken: as uvicorn's own default."""
_LAST_WORDS = 1.0
"""Seconds that answers get to notice that they were cut off."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class RelayServer:
    """A relay that listens on loopback, for every client that can be given a base URL.

    Also an async context manager. Leaving it raises as leaving `FakeRelay` does:
    for a request that matched nothing, and for what was never asked for. `start()`
    and `close()` do without that, for a server that serves many tests with
    `reset()` between them.

    tapes          the folder of the project's own tapes; the built-in gallery follows it. None: as of `FakeRelay`
    speed          0: no pauses. 1.0: as recorded. 10.0: ten times as fast
    seed           of all randomness
    validate       refuse requests that a relay would not take
    strict         leaving raises for what was never asked for
    rewrite_links  links in the answers of tapes lead to this server (`/+host/path`); False: as recorded
    port           0: one that is free
    host           another address to listen on. Whoever reaches it can use the controls
    max_body       bytes of a request's body; above it is 413
    keep           how many calls the journal holds; older ones are forgotten, and their links. None: all
    """

    def __init__(
        self,
        *,
        tapes: str | os.PathLike[str] | None = None,
        speed: float = 0.0,
        seed: int = 0,
        validate: bool = True,
        strict: bool = True,
        rewrite_links: bool = True,
        port: int = 0,
        host: str = "127.0.0.1",
        max_body: int = MAX_BODY,
        keep: int | None = None,
    ) -> None:
        self._options = Options(tapes, speed, seed, validate, strict, rewrite_links, keep)
        self._host, self._port, self._max_body = host, port, max_body
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._listening: socket.socket | None = None
        self._sessions: Sessions | None = None
        self._url = ""
        self._entered = ExitStack()

    # -- where it is ----------------------------------------------------------------------

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`; the controls are under `/__tickertape__/`."""
        self._started()
        return self._url

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT/v1`: what a client is given."""
        return self._started().default.base_url

    @property
    def clock(self) -> Pace:
        """Seconds since the server began, or was reset, at its speed."""
        return self._started().pace

    @property
    def seed(self) -> int:
        return self._options.seed

    def session(self, name: str) -> Session:
        """A relay of its own on the same server, which clients reach by its `base_url`, or by sending
        `x-tickertape-session: NAME`. It has the methods of this class that a test says."""
        return self._started()[name]

    # -- what a test says ---------------------------------------------------------------

    def play(
        self,
        what: Any,
        *,
        times: int | None = 1,
        optional: bool = False,
        when: Any = None,
        fault: Fault | None = None,
    ) -> None:
        """Answer the next `times` matching chat requests; as `FakeRelay.play`."""
        self._started().default.play(what, times=times, optional=optional, when=when, fault=fault)

    def fail(
        self,
        *,
        status: int | None = None,
        fault: Fault | None = None,
        retry_after: RetryAfter | None = None,
        message: str | None = None,
        times: int | None = 1,
        optional: bool = False,
        when: Any = None,
        on: On = "chat",
    ) -> None:
        """Fail the next `times` matching requests; as `FakeRelay.fail`."""
        self._started().default.fail(
            status=status,
            fault=fault,
            retry_after=retry_after,
            message=message,
            times=times,
            optional=optional,
            when=when,
            on=on,
        )

    @property
    def calls(self) -> Calls:
        """Every request of the default session, in order, and what it was answered."""
        return self._started().default.calls

    @property
    def unmatched(self) -> tuple[UnmatchedRequest, ...]:
        """What was asked in vain, each explained; leaving raises the first."""
        return tuple(self._started().default._relay.missed)

    @property
    def tapes_played(self) -> frozenset[str]:
        """The names of the tapes that requests were answered from."""
        return frozenset(self._started().default._relay.tapes_played)

    def assert_well_behaved(self, *, allow: Iterable[str] = ()) -> None:
        """Raise `ClientMisbehaved` for what a client should not do; as `FakeRelay.assert_well_behaved`."""
        self._started().default.assert_well_behaved(allow=allow)

    def verify(self) -> None:
        """What leaving does: raise for a request that matched nothing, a play that nothing asked for, or a
        mistake of the test that came to light while the server answered."""
        self._started().default.verify()

    def reset(self, **options: Any) -> None:
        """Forget all sessions, what was played and asked; break off what is under way.

        `options` are those of the constructor up to `rewrite_links`, and hold from here on.
        """
        ended = self._started().reset(replace(self._options, **options))
        self._options = self._sessions.options if self._sessions else self._options
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_cut, ended)

    def answer_all(self, fallback: Fallback | None) -> None:
        """Answer chat requests that nothing was played for with what a function of the request gives."""
        self._started().default.fallback = fallback

    # -- starting and stopping ------------------------------------------------------------

    def start(self) -> RelayServer:
        """Listen; returns when clients can connect."""
        if self._thread is not None:
            raise TickertapeError("this RelayServer runs already: use it, or make another one")
        sock = _listen(self._host, self._port)
        port = sock.getsockname()[1]
        self._url = f"http://{_authority(self._host)}:{port}"
        self._sessions = Sessions(self._url, self._options)
        hosts = {f"{name}:{port}" for name in (*_LOOPBACK, _authority(self._host))}
        config = uvicorn.Config(
            app(self._sessions, url=self._url, hosts=hosts, max_body=self._max_body),
            http=Connection,
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # What a client sees is the relay's: of headers those of the tape, and no others.
            server_header=False,
            date_header=False,
            proxy_headers=False,
        )
        config.load()
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(config, sock, ready)), name=f"tickertape {self._url}", daemon=True
        )
        servers.add(self._thread)
        self._thread.start()
        ready.wait()
        _guard.served.update((name, port) for name in ("127.0.0.1", "localhost", self._host))
        return self

    def close(self) -> None:
        """Break off what is under way and stop listening, without judging. Calls stay to be read."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        port = int(self._url.rpartition(":")[2])
        _guard.served.difference_update((name, port) for name in ("127.0.0.1", "localhost", self._host))
        assert self._loop is not None
        assert self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join()

    async def _serve(self, config: uvicorn.Config, sock: socket.socket, ready: threading.Event) -> None:
        """What `uvicorn.Server` does, without its ticks of a tenth of a second, its signals and its log."""
        self._loop, self._stopping, state = asyncio.get_running_loop(), asyncio.Event(), ServerState()
        server = await self._loop.create_server(lambda: Connection(config, state, {}), sock=sock, backlog=_BACKLOG)
        ready.set()
        await self._stopping.wait()
        server.close()
        assert self._sessions is not None
        _cut(self._sessions)
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=_LAST_WORDS)

    def _started(self) -> Sessions:
        if self._sessions is None:
            raise TickertapeError(
                "this RelayServer does not run yet: enter it (with RelayServer() as relay), or start() it"
            )
        return self._sessions

    def __enter__(self) -> RelayServer:
        self.start()
        self._entered.enter_context(entered(lambda: self._options.tapes))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered.close()
        self.close()
        if error is None:
            self.verify()

    async def __aenter__(self) -> RelayServer:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<RelayServer {self._url or 'that does not run yet'}>"


def _cut(sessions: Iterable[Session]) -> None:
    for session in sessions:
        session.cut()


def _authority(host: str) -> str:
    """A host as it stands in a URL; what listens on every address is reached on loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket at once, so that its port is known, and a client that is early waits in its backlog."""
    try:
        sock = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
        )
    except (OSError, OverflowError) as error:
        raise TickertapeError(
            f"cannot listen on {host}:{port}: {error}; take another port, or 0 for a free one"
        ) from error
    sock.setblocking(False)
    return sock


# -- in the foreground --------------------------------------------------------------------


def serve(
    play: Sequence[str | os.PathLike[str] | Tape | Scenario] = (),
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    tapes: str | os.PathLike[str] | None = None,
    scenario: str | None = None,
    speed: float = 1.0,
    seed: int = 0,
    rewrite_links: bool = True,
) -> None:
    """Serve until Ctrl-C or SIGTERM; what `tickertape serve` does.

    Prints one line, the base URL, when clients can connect. The tapes in `play` answer
    chat requests in turn, over and over. Without any, `scenario` does, the name
    of a dialect or of a kind (`image`, `video`, `audio`), with the prompt of the
    request; without that, the dialect the request's model is the name of.

    Raises `TapeError` and `ScenarioError` before it listens.
    """
    fallback = _in_turn(play, tapes) if play else _scenarios(scenario)
    stop = threading.Event()

    def stopped(signum: int, frame: FrameType | None) -> None:
        stop.set()

    server = RelayServer(
        tapes=tapes,
        speed=speed,
        seed=seed,
        strict=False,
        rewrite_links=rewrite_links,
        port=port,
        host=host,
        keep=KEPT,
    )
    before = {each: signal.signal(each, stopped) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.start()
        server.answer_all(fallback)
        print(server.base_url, flush=True)
        while not stop.wait(0.5):  # Windows wakes for Ctrl-C between two waits only
            pass
    finally:
        server.close()
        for each, handler in before.items():
            signal.signal(each, handler)


def _in_turn(play: Sequence[Any], folder: str | os.PathLike[str] | None) -> Fallback:
    loaded = [each if isinstance(each, Tape | Scenario) else Tape.load(each, folder=folder) for each in play]
    turns = cycle(loaded)
    return lambda request: next(turns)


def _scenarios(name: str | None) -> Fallback:
    scenario_of(name or "image", "a cat")  # an unknown name is told before anybody asks

    def fallback(request: Request) -> Scenario:
        from ._journal import Call

        call = Call(0, 0.0, request, "chat")
        model = call.model if name is None and dialect_of(call.model) is not None else None
        return scenario_of(model or name or "image", call.prompt)

    return fallback


def scenario_of(name: str, prompt: str) -> Scenario:
    """The scenario of a kind (`image`, `video`, `audio`), or of a dialect or a model. Raises `ScenarioError`."""
    if name in DEFAULTS:
        return Scenario._begin(name, prompt, 1)  # type: ignore[arg-type]
    kind = next((kind for kind in DEFAULTS if dialect_of(name) in Scenario.dialects(kind)), "image")
    return Scenario._begin(kind, prompt, 1).dialect(name)  # type: ignore[arg-type]
