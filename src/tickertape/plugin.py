"""The pytest plugin: `fake_relay`, `relay_server` and `relay_client`, the marker `tickertape`, an option, ini keys.

Nothing but pytest is imported until a test asks for a fixture: every run of every
project that has tickertape installed loads this module.

What decides: the command line's option, then the environment (`TICKERTAPE_SEED`,
`TICKERTAPE_TAPES`, `TICKERTAPE_STRICT`, `TICKERTAPE_RECORD`; empty is unset), then the marker, of several
the nearest to the test, then the ini file. A folder is relative to where pytest was
started when the environment names it, to the root of the project when the ini file
does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from .testing import FakeRelay, RelayServer

    Relay = FakeRelay | RelayServer

_MODES = ("none", "once", "new_episodes", "rewrite")
"""Those of `testing._episodes`, from the least to the most that is written."""

_FIXTURES = ("fake_relay", "relay_server")
"""Those that give a relay, and play the marker's tape."""


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


_ARGUMENTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "tape": ("the name of a tape, a Tape, a Scenario, or a list of these", lambda value: value is not None),
    "record": (f"one of {', '.join(_MODES)} (what vcrpy calls 'all' is rewrite)", lambda value: value in _MODES),
    "base_url": (
        "a URL, or None for any",
        lambda value: value is None or (isinstance(value, str) and "://" in value),
    ),
    "speed": (
        "a number above 0, or None for virtual time",
        lambda value: value is None or ((_whole(value) or isinstance(value, float)) and value > 0),
    ),
    "seed": ("an integer", _whole),
    "strict": ("True or False", _flag),
    "validate": ("True or False", _flag),
    "allow_hosts": (
        "a list of 'host' or 'host:port'",
        lambda value: isinstance(value, list | tuple | set) and all(isinstance(host, str) for host in value),
    ),
    "patch_time": ("True or False", _flag),
}
"""What the marker takes: of each argument, what is expected and whether a value is that."""

_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

_MOST = 5
"""Explanations in a report; a client in a loop has hundreds."""


@dataclass
class _Record:
    """What the plugin knows of a test that has a relay."""

    relays: dict[str, Relay] = field(default_factory=dict)
    """By the name of the fixture."""
    outcome: str | None = None
    """How the test itself ended; None until then, and where it never began."""
    told: str = ""
    """The report sections of an earlier phase."""


_record = pytest.StashKey[_Record]()


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
        metavar="{" + ",".join(_MODES) + "}",
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
    if text not in _MODES:
        raise pytest.UsageError(f"--tickertape-record={text}: {_no_mode(text)}")
    return text


def _no_mode(text: str) -> str:
    return f"expected one of {', '.join(_MODES)}" + ("; what vcrpy calls 'all' is rewrite" if text == "all" else "")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"tickertape({', '.join(f'{name}=…' for name in _ARGUMENTS)}): "
        "set up the relay of a test; tape= is played before it begins, the others are those of FakeRelay.",
    )
    _environment(config)  # what is misspelt there must not wait for the first test that reads it


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A marker that cannot be meant so fails the test before anything runs, also where nothing reads it."""
    marker = _marked(item)
    names = getattr(item, "fixturenames", ())
    if "tape" in marker and not any(name in names for name in _FIXTURES):
        pytest.fail(
            f"@pytest.mark.tickertape(tape={marker['tape']!r}): the test asks for no relay that could play it, and "
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
    from .testing import FakeRelay

    options = _options(request.node)
    tape = options.pop("tape", None)
    recording = _recording(request.node, tape, options)
    relay = _told(lambda: FakeRelay(**options, **recording))
    if recording:
        _alone(request.node, relay)
    record = _begin(request, relay, None if recording else tape)
    _told(relay.__enter__)
    yield relay
    relay.close()  # not by `with`, which would judge: that depends on how the test ended
    passed = False
    try:
        _judge(record, relay)
        passed = record.outcome == "passed"
    finally:
        _told(lambda: relay.keep(passed=passed))
        _note_writer(request.node, relay)
    if request.config.getoption("--tickertape-diff"):
        _compared(relay)


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
    options = _options(request.node)
    tape, mode = options.pop("tape", None), options.pop("record", None)
    if mode not in (None, "none") and "fake_relay" not in request.fixturenames:
        pytest.fail(
            f"@pytest.mark.tickertape(record={mode!r}): relay_server plays tapes and records none; record a client of "
            "httpx with fake_relay, any other with 'tickertape record', and name the tape here with tape= alone",
            pytrace=False,
        )
    decided = {name: options.get(name, default) for name, default in _SERVER_OPTIONS.items()}
    _relay_server.reset(**{**decided, "speed": decided["speed"] or 0.0})
    record = _begin(request, _relay_server, tape)
    yield _relay_server
    _judge(record, _relay_server)


_SERVER_OPTIONS: dict[str, Any] = {
    "tapes": None,
    "speed": 0.0,
    "seed": 0,
    "validate": True,
    "strict": True,
    "rewrite_links": True,
}
"""What holds of the server in each test, unless the test decides otherwise. What is virtual time in process is no
pauses here."""


@pytest.fixture(scope="session")
def relay_client() -> Iterator[Callable[..., Any]]:
    """A factory of SDK clients that are built once a session, since building one costs some 20 ms.

        def test_two_images(fake_relay, relay_client):
            bot = Bot(relay_client(max_retries=0))

    `relay_client()` is an `openai.OpenAI`; `relay_client(openai.AsyncOpenAI, timeout=5)` is another
    class, which takes `base_url` and `api_key`, with its options. The same class and options give
    the same client, so do not change it: `client.with_options(…)` gives a changed copy.
    """
    made: list[tuple[Callable[..., Any], dict[str, Any], Any]] = []

    def client(kind: Callable[..., Any] | None = None, **options: Any) -> Any:
        if kind is None:
            from openai import OpenAI

            kind = OpenAI
        # Compared, not hashed: options are dicts and timeouts.
        for one in made:
            if one[0] is kind and one[1] == options and not _closed(one[2]):
                return one[2]
        made.append((kind, options, kind(**{"base_url": _BASE_URL, "api_key": "sk-tickertape", **options})))
        return made[-1][2]

    yield client
    from inspect import iscoroutinefunction

    for *_, one in made:
        close = getattr(one, "close", None)
        # An asynchronous client has no open connection to close: no request of it ever left the process.
        if close is not None and not iscoroutinefunction(close):
            close()


_BASE_URL = "https://relay.example/v1"


def _closed(client: Any) -> bool:
    """A test may have closed it, by `with relay_client() as client`."""
    closed = getattr(client, "is_closed", False)
    return bool(closed() if callable(closed) else closed)


_played = pytest.StashKey[set[str]]()
_unused = pytest.StashKey[list[str]]()
_WORKER = "tickertape_played"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker of xdist tells which tapes its tests played."""
    node.config.stash.setdefault(_played, set()).update(getattr(node, "workeroutput", {}).get(_WORKER, ()))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look for tapes that nothing played; a worker only tells what it knows."""
    config = session.config
    played = config.stash.get(_played, set())
    if hasattr(config, "workeroutput"):
        config.workeroutput[_WORKER] = sorted(played)
    elif config.getoption("--tickertape-unused") != "ignore":
        from .testing._gallery import names_in

        folder = _environment(config).get("tapes", config.rootpath / config.getini("tickertape_tapes"))
        # A tape that was named by its path has the name of its folder only.
        known = [name for name in names_in(folder) if not any(name == p or name.endswith(f"/{p}") for p in played)]
        config.stash[_unused] = known
        if known and config.getoption("--tickertape-unused") == "fail" and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if names := config.stash.get(_unused, []):
        terminalreporter.section("tapes that no test played")
        for name in names:
            terminalreporter.write_line(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    record = item.stash.get(_record, None)
    if record is None:
        return report
    if call.when == "call":
        skipped = call.excinfo is not None and isinstance(call.excinfo.value, pytest.skip.Exception)
        record.outcome = "skipped" if skipped else "passed" if call.excinfo is None and report.passed else "failed"
    if report.failed:
        sections = [(name.replace("_", " "), _section(relay, report)) for name, relay in record.relays.items()]
        if str(sections) != record.told:
            report.sections += sections
            record.told = str(sections)
    if call.when == "teardown":
        played = item.config.stash.setdefault(_played, set())
        played.update(name for relay in record.relays.values() for name in relay.tapes_played)
        del item.stash[_record]  # the item outlives the test
    return report


# -- a relay and its test -----------------------------------------------------------------


def _begin(request: pytest.FixtureRequest, relay: Relay, tape: Any) -> _Record:
    """Note the relay for the report, and play the marker's tape."""
    from ._errors import TickertapeError
    from .testing import FakeRelay

    assert request.fixturename is not None
    record: _Record = request.node.stash.setdefault(_record, _Record())
    record.relays[request.fixturename] = relay
    if tape is not None:
        wrong = None
        try:
            relay.play(tape)
        except TickertapeError as error:
            wrong = error
        if wrong is not None:  # not in the clause above: the traceback there is of no use
            missing = isinstance(tape, str) and str(wrong).startswith("no tape ")
            hint = "; record it with --tickertape-record=once" if missing and isinstance(relay, FakeRelay) else ""
            pytest.fail(_printable(f"@pytest.mark.tickertape(tape={tape!r}): {wrong}{hint}"), pytrace=False)
    return record


def _judge(record: _Record, relay: Relay) -> None:
    """Fail a test that passed, where the relay has something against it.

    Of one that failed the report tells what the relay saw; a second failure would
    only hide the first. One that was skipped midway may leave plays, not more.
    """
    from .testing import UnmatchedRequest, UnplayedError

    if record.outcome != "passed" and not (record.outcome == "skipped" and relay.unmatched):
        return
    found: BaseException | None = None
    try:
        relay.verify()
    except (UnmatchedRequest, UnplayedError) as error:
        found = error
    if found is not None:  # as an outcome of pytest's own: UnmatchedRequest is a BaseException, as Ctrl-C is
        pytest.fail(_printable(_explained(found)), pytrace=False)


def _section(relay: Relay, report: pytest.TestReport) -> str:
    """The seed, the journal, and the explanations that the report does not hold already."""
    shown = report.longreprtext
    told = dict.fromkeys(_printable(_explained(error)) for error in relay.unmatched)
    more = [text for text in told if not all(line.strip() in shown for line in text.partition(": ")[2].splitlines())]
    lines = [f"seed {relay.seed}: run again with --tickertape-seed={relay.seed}", str(relay.calls), *more[:_MOST]]
    if len(more) > _MOST:
        lines.append(f"… {len(more) - _MOST} more requests that matched nothing")
    return _printable("\n".join(lines))


def _explained(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _printable(text: str) -> str:
    """Without half characters, which a report can neither write to a file nor send from a worker of xdist."""
    return text.encode("utf-8", "backslashreplace").decode()


# -- options ------------------------------------------------------------------------------


def _options(item: pytest.Item) -> dict[str, Any]:
    """Arguments of FakeRelay, and `tape`, by the precedence in this module's head."""
    config = item.config
    options = {
        "tapes": config.rootpath / config.getini("tickertape_tapes"),
        "strict": config.getini("tickertape_strict"),
        **_marked(item),
        **_environment(config),
    }
    if (seed := config.getoption("--tickertape-seed")) is not None:
        options["seed"] = seed
    return options


def _recording(item: pytest.Item, tape: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What FakeRelay is told of a test that is recorded, or replayed as it was recorded; nothing for others.

    Those are tests whose marker says `record=`, and those whose marker names a tape that was recorded or,
    where a mode is asked for, may be: not the gallery's, and none that was written by hand, which has no
    requests to compare. A test without a tape's name has one of its own.
    """
    marked = options.pop("record", None)
    mode = _mode(item.config, marked)
    if not isinstance(tape, str | None):
        if marked is not None:
            pytest.fail(
                f"@pytest.mark.tickertape(record={marked!r}): tape= must be a name, found {tape!r}", pytrace=False
            )
        return {}
    if marked is None and tape is None:
        return {}
    from ._errors import TapeError
    from .testing._episodes import name_of, recorded_at
    from .testing._gallery import gallery

    if tape in gallery():  # it was not recorded here
        return {}
    which: Any = tape or name_of(item.nodeid)
    if marked is None and mode in ("none", "once"):
        try:
            which = recorded_at(which, options["tapes"])
        except TapeError:
            if mode == "none":
                return {}  # playing it tells why it cannot be
        else:
            if which is None:
                return {}
    return {"record": mode, "tape": which, "redactor": _told(lambda: _redactor(item.config))}


_writers = pytest.StashKey[dict[str, str]]()
"""Which test of this run has written which tape; a worker of xdist knows of its own tests."""


def _alone(item: pytest.Item, relay: FakeRelay) -> None:
    """Refuse to write a tape that another test of this run has written."""
    assert relay._recording is not None
    episodes = relay._recording.episodes
    owner = item.config.stash.get(_writers, {}).get(str(episodes.path.resolve()))
    if owner is None or owner == item.nodeid:  # the same test may be run again
        return
    episodes.owner = owner
    if episodes.forwards:
        pytest.fail(
            _printable(
                f"{episodes.path}: was recorded by {owner} in this run, and {item.nodeid} would record it too "
                f"(mode {episodes.mode}); give each test a tape of its own: another name, or record= without tape=, "
                "which names one for each test and parameter. Tests that ask the same may share a tape: "
                "record it with one of them alone (-k)"
            ),
            pytrace=False,
        )


def _note_writer(item: pytest.Item, relay: FakeRelay) -> None:
    if relay._recording is not None and relay._recording.episodes.written:
        path = str(relay._recording.episodes.path.resolve())
        item.config.stash.setdefault(_writers, {})[path] = item.nodeid


_rules = pytest.StashKey[Any]()


def _redactor(config: pytest.Config) -> Any:
    """A new one with the project's own rules: placeholders are numbered tape by tape, whatever else runs."""
    from .testing.redaction import Redactor

    if _rules not in config.stash:
        config.stash[_rules] = Redactor.configured(config.rootpath).rules
    return Redactor(config.stash[_rules])


def _mode(config: pytest.Config, marked: str | None) -> str:
    """Option, environment, marker, ini. In CI a marker cannot make a run record that would not without it."""
    asked: str | None = config.getoption("--tickertape-record") or os.environ.get("TICKERTAPE_RECORD")
    if asked:
        return asked
    ini = str(config.getini("tickertape_record"))
    if marked is not None and _WORDS.get((ci := os.environ.get("CI", "")).lower(), bool(ci)):
        return min(marked, ini, key=_MODES.index)
    return marked or ini


def _compared(relay: FakeRelay) -> None:
    """Fail for a tape that was recorded anew and would break a client of the old one; print what is harmless."""
    changes = [_printable(str(change)) for change in relay.drift]
    if any(change.is_breaking for change in relay.drift):
        pytest.fail("the relay has drifted from its tape, which is written anew:\n" + "\n".join(changes), pytrace=False)
    if changes:
        print("\n".join(changes))  # pytest shows it with -rP, or -s


def _told(run: Callable[[], Any]) -> Any:
    """What goes wrong with a tape as an outcome of pytest's own, without a traceback."""
    from ._errors import TapeError, TickertapeError

    wrong: TickertapeError | None = None
    try:
        return run()
    except TickertapeError as error:
        if not isinstance(error, TapeError) and type(error).__name__ not in ("RecordError", "ConfigError"):
            raise
        wrong = error
    pytest.fail(_printable(str(wrong)), pytrace=False)


def _marked(item: pytest.Item) -> dict[str, Any]:
    """The arguments of all markers of a test, the nearest winning."""
    options: dict[str, Any] = {}
    for marker in item.iter_markers("tickertape"):
        if wrong := _wrong(marker):
            pytest.fail(f"@pytest.mark.tickertape: {wrong}", pytrace=False)
        options = {**marker.kwargs, **options}
    return options


def _wrong(marker: pytest.Mark) -> str | None:
    """What is wrong with a marker's arguments, if anything is."""
    expected = ", ".join(f"{name}=" for name in _ARGUMENTS)
    if marker.args:
        return f"found {', '.join(map(repr, marker.args))} without a name; name it, one of {expected}"
    for name, value in marker.kwargs.items():
        if name not in _ARGUMENTS:
            return f"there is no argument {name}=; use {expected}"
        wanted, is_that = _ARGUMENTS[name]
        if not is_that(value):
            return f"{name}={value!r}: expected {wanted}"
    return None


def _environment(config: pytest.Config) -> dict[str, Any]:
    """What the environment decides."""
    options: dict[str, Any] = {}
    if tapes := os.environ.get("TICKERTAPE_TAPES"):
        options["tapes"] = config.invocation_params.dir / tapes
    if strict := os.environ.get("TICKERTAPE_STRICT"):
        if strict.lower() not in _WORDS:
            raise pytest.UsageError(f"TICKERTAPE_STRICT={strict!r}: expected 1 or 0")
        options["strict"] = _WORDS[strict.lower()]
    for where, mode in (
        ("TICKERTAPE_RECORD", os.environ.get("TICKERTAPE_RECORD") or "none"),
        ("tickertape_record", str(config.getini("tickertape_record"))),
    ):
        if mode not in _MODES:
            raise pytest.UsageError(f"{where}={mode!r}: {_no_mode(mode)}")
    if seed := os.environ.get("TICKERTAPE_SEED"):
        try:
            options["seed"] = int(seed)
        except ValueError:
            raise pytest.UsageError(f"TICKERTAPE_SEED={seed!r}: expected an integer") from None
    return options
