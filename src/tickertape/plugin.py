"""The pytest plugin: `fake_relay`, `relay_server` and `relay_client`, the marker `tickertape`, options, ini keys.

Every run of every project that has tickertape installed loads this module, and where no bytecode is kept
compiles it. So it holds what pytest must know at its start, imports nothing but pytest, and hands on:
what a fixture does is in `_fixtures.py`, what decides how in `_settings.py`.

What decides: the command line's option, then the environment (`TICKERTAPE_SEED`,
`TICKERTAPE_TAPES`, `TICKERTAPE_STRICT`, `TICKERTAPE_RECORD`; empty is unset), then the marker, of several
the nearest to the test, then the ini file. A folder is relative to where pytest was
started when the environment names it, to the root of the project when the marker or the ini file
does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from ._fixtures import Record
    from .testing import FakeRelay, RelayServer

MODES = ("none", "once", "new_episodes", "rewrite")
"""Those of `testing._episodes`, from the least to the most that is written."""

ARGUMENTS = ("tape", "record", "base_url", "tapes", "speed", "seed", "strict", "validate", "allow_hosts", "patch_time")
"""What the marker takes."""

RECORD: pytest.StashKey[Record] = pytest.StashKey()
"""On a test: what is known of its relays; see `_fixtures.Record`."""

PLAYED: pytest.StashKey[set[str]] = pytest.StashKey()
"""On the session: the names of the tapes that its tests played."""

_UNUSED: pytest.StashKey[list[str]] = pytest.StashKey()
_WORKER = "tickertape_played"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tickertape", "fake relays for image and video models")
    group.addoption(
        "--tickertape-seed",
        type=int,
        metavar="N",
        help="seed of all randomness of fake relays; a failing test prints the one it used (default: 0)",
    )
    group.addoption(
        "--tickertape-record",
        type=_asked_mode,
        metavar="{" + ",".join(MODES) + "}",
        help="what tests that name a tape, or have record= in their marker, ask of the real relay, and keep: "
        "once: where there is no tape; new_episodes: what the tape does not hold; rewrite: all (default: none)",
    )
    group.addoption(
        "--tickertape-diff",
        action="store_true",
        help="with --tickertape-record=rewrite: fail a test whose tape changed its shape so that clients break",
    )
    group.addoption(
        "--tickertape-unused",
        choices=("ignore", "report", "fail"),
        default="ignore",
        help="what to do about tapes of the project that no test of this run played: "
        "report: list them at the end; fail: fail the run as well (default: ignore)",
    )
    parser.addini("tickertape_record", "as --tickertape-record (default: none)", default="none")
    parser.addini(
        "tickertape_tapes",
        "folder of the project's own tapes, relative to the root (default: tests/tapes)",
        default="tests/tapes",
    )
    parser.addini(
        "tickertape_strict",
        "whether a tape or scenario that no request asked for fails the test (default: true)",
        type="bool",
        default=True,
    )


def _asked_mode(text: str) -> str:
    if text not in MODES:
        raise pytest.UsageError(f"--tickertape-record={text}: {no_mode(text)}")
    return text


def no_mode(text: str) -> str:
    """What is expected in place of a mode that is none."""
    return f"expected one of {', '.join(MODES)}" + ("; what vcrpy calls 'all' is rewrite" if text == "all" else "")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"tickertape({', '.join(f'{name}=…' for name in ARGUMENTS)}): "
        "set up the relay of a test; tape= is played before it begins, the others are those of FakeRelay.",
    )
    # What is misspelt there must not wait for the first test that reads it.
    try:
        config.getini("tickertape_strict")
    except (pytest.UsageError, TypeError, ValueError) as error:  # which one is a matter of pytest's version
        raise pytest.UsageError(f"tickertape_strict in the ini file: {error}; expected true or false") from None
    if config.getini("tickertape_record") != "none" or any(name.startswith("TICKERTAPE_") for name in os.environ):
        from ._settings import environment

        environment(config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A marker that cannot be meant so fails the test before anything runs, also where nothing reads it."""
    if item.get_closest_marker("tickertape") is not None:
        from ._settings import marked

        marked(item)


@pytest.hookimpl(specname="pytest_runtest_setup", trylast=True)
def pytest_tickertape_after_setup(item: pytest.Item) -> None:
    """A marker that wants a tape, and no relay; not asked before, for a fixture may ask for the relay by its name."""
    if item.get_closest_marker("tickertape") is None or RECORD in item.stash:
        return
    from ._settings import marked

    options = marked(item)
    if asked := [f"{name}={options[name]!r}" for name in ("tape", "record") if name in options]:
        pytest.fail(
            f"@pytest.mark.tickertape({', '.join(asked)}): the test asks for no relay that could play it, and "
            'would reach the network; add the argument fake_relay, or @pytest.mark.usefixtures("fake_relay")',
            pytrace=False,
        )


@pytest.fixture
def fake_relay(request: pytest.FixtureRequest) -> Iterator[FakeRelay]:
    """A relay in process: it answers every httpx and httpx2 client, and nothing reaches the network.

        def test_two_images(fake_relay):
            fake_relay.play("gpt-image-1.5/cat-drinking-milk")

    What was played and never asked for fails the test at its end, and so does a
    request that nothing was played for, even if the application swallowed the error.
    """
    from ._fixtures import in_process

    yield from in_process(request)


@pytest.fixture(scope="session")
def _relay_server() -> Iterator[RelayServer]:
    """One server a session; a worker of xdist is a session of its own."""
    from .testing import RelayServer

    server = RelayServer().start()
    yield server
    server.close()


@pytest.fixture
def relay_server(request: pytest.FixtureRequest, _relay_server: RelayServer) -> Iterator[RelayServer]:
    """A relay on loopback, for clients in any language: it plays what `fake_relay` plays.

        def test_from_node(relay_server):
            relay_server.play("gpt-image-1.5/cat-drinking-milk")
            subprocess.run(["node", "app.js"], env={"OPENAI_BASE_URL": relay_server.base_url, ...})

    The server is one for the session, and forgets everything between two tests.
    """
    from ._fixtures import on_loopback

    yield from on_loopback(request, _relay_server)


@pytest.fixture(scope="session")
def relay_client() -> Iterator[Callable[..., Any]]:
    """A factory of SDK clients that are built once a session, since building one costs some 20 ms.

        def test_two_images(fake_relay, relay_client):
            bot = Bot(relay_client(max_retries=0))

    `relay_client()` is an `openai.OpenAI`; `relay_client(openai.AsyncOpenAI, timeout=5)` is another
    class, which takes `base_url` and `api_key`, with its options. The same class and options give
    the same client, so do not change it: `client.with_options(…)` gives a changed copy. An asynchronous
    client with a `base_url` of its own is made anew each time: its connections belong to one event loop.
    """
    from ._fixtures import shared_clients

    yield from shared_clients()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker of xdist tells which tapes its tests played."""
    node.config.stash.setdefault(PLAYED, set()).update(getattr(node, "workeroutput", {}).get(_WORKER, ()))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look for tapes that nothing played; a worker only tells what it knows."""
    config = session.config
    played = config.stash.get(PLAYED, set())
    if hasattr(config, "workeroutput"):
        config.workeroutput[_WORKER] = sorted(played)
    elif config.getoption("--tickertape-unused") != "ignore":
        from ._settings import environment
        from .testing._gallery import names_in

        folder = environment(config).get("tapes", config.rootpath / config.getini("tickertape_tapes"))
        root = folder.resolve().name
        # A tape that was named by its path has the name of its folder, and of no other.
        known = [
            n for n in sorted(names_in(folder)) if not any(n == p or f"/{root}/{n}".endswith(f"/{p}") for p in played)
        ]
        config.stash[_UNUSED] = known
        if known and config.getoption("--tickertape-unused") == "fail" and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if names := config.stash.get(_UNUSED, []):
        terminalreporter.section("tapes that no test played")
        for name in names:
            terminalreporter.write_line(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if RECORD in item.stash:
        from ._fixtures import reported

        reported(item, call, report)
    return report
