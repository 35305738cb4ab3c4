"""What the fixtures of the plugin do, and what a test's report tells of its relay.

Imported when a test asks for one of them, never before: see `plugin.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

import pytest

from . import _settings
from .plugin import PLAYED, RECORD

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from .testing import FakeRelay, RelayServer

    Relay = FakeRelay | RelayServer

_MOST = 5
"""Explanations in a report; a client in a loop has hundreds."""


@dataclass
class Record:
    """What the plugin knows of a test that has a relay."""

    relays: dict[str, Relay] = field(default_factory=dict)
    """By the name of the fixture."""
    outcome: str | None = None
    """How the test itself ended; None until then, and where it never began."""
    told: str = ""
    """The report sections of an earlier phase."""


# -- the relay in process -----------------------------------------------------------------


def in_process(request: pytest.FixtureRequest) -> Iterator[FakeRelay]:
    """The body of `fake_relay`."""
    from .testing import FakeRelay

    options = _settings.options(request.node)
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


# -- the relay on loopback ------------------------------------------------------------------


def on_loopback(request: pytest.FixtureRequest, server: RelayServer) -> Iterator[RelayServer]:
    """The body of `relay_server`."""
    options = _settings.options(request.node)
    tape, mode = options.pop("tape", None), options.pop("record", None)
    if mode not in (None, "none") and "fake_relay" not in request.fixturenames:
        pytest.fail(
            f"@pytest.mark.tickertape(record={mode!r}): relay_server plays tapes and records none; record a client of "
            "httpx with fake_relay, any other with 'tickertape record', and name the tape here with tape= alone",
            pytrace=False,
        )
    decided = {name: options.get(name, default) for name, default in _SERVER_OPTIONS.items()}
    server.reset(**{**decided, "speed": decided["speed"] or 0.0})
    record = _begin(request, server, tape)
    from .testing._gallery import entered

    with entered(lambda: options.get("tapes")):
        yield server
    _judge(record, server)


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


# -- clients ------------------------------------------------------------------------------


def shared_clients() -> Generator[Callable[..., Any], None, None]:
    """The body of `relay_client`."""
    made: list[tuple[Callable[..., Any], dict[str, Any], Any]] = []

    def client(kind: Callable[..., Any] | None = None, **options: Any) -> Any:
        kind = kind or _openai()
        # Compared, not hashed: options are dicts and timeouts.
        for one in made:
            if one[0] is kind and one[1] == options and not _closed(one[2]):
                return one[2]
        new = kind(**{"base_url": _BASE_URL, "api_key": "sk-tickertape", **options})
        # Where its requests leave the process, an asynchronous client holds connections of one event loop.
        if not ("base_url" in options and iscoroutinefunction(getattr(new, "close", None))):
            made.append((kind, options, new))
        return new

    yield client
    for *_, one in made:
        close = getattr(one, "close", None)
        # An asynchronous client has no open connection to close: no request of it ever left the process.
        if close is not None and not iscoroutinefunction(close):
            close()


_BASE_URL = "https://relay.example/v1"


def _openai() -> Callable[..., Any]:
    try:
        from openai import OpenAI
    except ImportError as error:
        if error.name != "openai":
            raise
    else:
        return OpenAI
    pytest.fail(
        "relay_client() makes an openai.OpenAI, and openai is not installed: pip install openai, or name "
        "a class that takes base_url and api_key, relay_client(YourClient)",
        pytrace=False,
    )


def _closed(client: Any) -> bool:
    """A test may have closed it, by `with relay_client() as client`."""
    closed = getattr(client, "is_closed", False)
    return bool(closed() if callable(closed) else closed)


# -- a relay and its test -----------------------------------------------------------------


def _begin(request: pytest.FixtureRequest, relay: Relay, tape: Any) -> Record:
    """Note the relay for the report, and play the marker's tape."""
    from ._errors import TickertapeError
    from .testing import FakeRelay

    assert request.fixturename is not None
    record: Record = request.node.stash.setdefault(RECORD, Record())
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


def _judge(record: Record, relay: Relay) -> None:
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


def reported(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Note how a phase of a test with a relay ended, and let the report of a failure tell what the relay saw."""
    record = item.stash[RECORD]
    # Of the parts of a test (subtests) each makes a report: one that failed is not passed by the next.
    if call.when == "call" and record.outcome != "failed":
        skipped = call.excinfo is not None and isinstance(call.excinfo.value, pytest.skip.Exception)
        record.outcome = "skipped" if skipped else "passed" if call.excinfo is None and report.passed else "failed"
    if report.failed:
        sections = [(name.replace("_", " "), _section(relay, report)) for name, relay in record.relays.items()]
        if str(sections) != record.told:
            report.sections += sections
            record.told = str(sections)
    if call.when == "teardown":
        played = item.config.stash.setdefault(PLAYED, set())
        played.update(name for relay in record.relays.values() for name in relay.tapes_played)
        del item.stash[RECORD]  # the item outlives the test


def _section(relay: Relay, report: pytest.TestReport) -> str:
    """The seed, the journal, and the explanations that the report does not hold already."""
    shown = report.longreprtext
    told = dict.fromkeys(_printable(_explained(error)) for error in relay.unmatched)
    more = [text for text in told if not all(line.strip() in shown for line in text.partition(": ")[2].splitlines())]
    seed = f"seed {relay.seed}: run again with --tickertape-seed={relay.seed}"
    lines = [seed, str(relay.calls), *relay.calls.hints()[:_MOST], *more[:_MOST]]
    if len(more) > _MOST:
        lines.append(f"… {len(more) - _MOST} more requests that matched nothing")
    return _printable("\n".join(lines))


def _explained(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _printable(text: str) -> str:
    """Without half characters, which a report can neither write to a file nor send from a worker of xdist."""
    return text.encode("utf-8", "backslashreplace").decode()


# -- recording ----------------------------------------------------------------------------


def _recording(item: pytest.Item, tape: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What FakeRelay is told of a test that is recorded, or replayed as it was recorded; nothing for others.

    Those are tests whose marker says `record=`, and those whose marker names a tape that was recorded or,
    where a mode is asked for, may be: not the gallery's, and none that was written by hand, which has no
    requests to compare. A test without a tape's name has one of its own.
    """
    marked = options.pop("record", None)
    mode = _settings.mode(item.config, marked)
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
