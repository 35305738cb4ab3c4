"""The pytest plugin, as a downstream project meets it: each test runs a pytest of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

# Imported here, so that runs within this process find them loaded and leave them so.
import openai  # noqa: F401
import pytest
import trio  # noqa: F401

from tickertape import plugin
from tickertape.testing import FakeRelay, Scenario, Tape  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., pytest.RunResult]

PRELUDE = """
import openai, pytest, tickertape, unittest
from tickertape.testing import FakeRelay, Fault, Scenario, Tape, UnmatchedRequest

CAT = "gpt-image-1.5/cat-drinking-milk"

def asked(prompt="a cat"):
    return {"model": "gpt-image-1.5", "messages": [{"role": "user", "content": prompt}]}

def ask(client=None, prompt="a cat"):
    client = client or openai.OpenAI(base_url="https://relay.example/v1", api_key="sk-test")
    return client.chat.completions.create(**asked(prompt))

async def aask(prompt="a cat"):
    async with openai.AsyncOpenAI(base_url="https://relay.example/v1", api_key="sk-test") as client:
        return await client.chat.completions.create(**asked(prompt))

def ask_and_swallow(*args):
    try:
        ask(*args)
    except:
        pass
"""
TWO_ANSWERS = """\
{"tape": 1, "title": "two"}
{"request": {"method": "POST", "path": "/v1/chat/completions"}}
{"response": {"status": 200, "headers": {"content-type": "application/json"}}}
{"t": 1.0, "data": "{\\"choices\\": [{\\"message\\": {\\"content\\": \\"![a](https://cdn.example/a.png)\\"}}]}"}
{"t": 1.0, "end": "eof"}
{"request": {"method": "POST", "path": "/v1/chat/completions"}}
{"response": {"status": 200, "headers": {"content-type": "application/json"}}}
{"t": 1.0, "data": "{\\"choices\\": [{\\"message\\": {\\"content\\": \\"![b](https://cdn.example/b.png)\\"}}]}"}
{"t": 1.0, "end": "eof"}
"""
STRICT = ("-W", "error", "--strict-markers", "--strict-config")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEED", "TAPES", "STRICT"):
        monkeypatch.delenv(f"TICKERTAPE_{name}", raising=False)
    for name in ("CI", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):  # in CI pytest's summary tells errors whole
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Runs pytest on the source of a test module."""

    def run(source: str, *flags: str, apart: bool = False, asyncio: bool = False) -> pytest.RunResult:
        pytester.makepyfile(test_it=PRELUDE + source)
        # pytest-asyncio warns where its ini key is not set: that is not ours to judge.
        off = () if asyncio else ("-p", "no:asyncio")
        start = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        return start(*STRICT, *off, *flags)

    return run


def own_tape(pytester: pytest.Pytester, name: str, folder: str = "tests/tapes") -> None:
    path = pytester.path / folder / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TWO_ANSWERS, encoding="utf-8")


# -- the fixture and its verdict ------------------------------------------------------------


def test_a_test_that_asks_for_what_is_played_passes(run: Run) -> None:
    result = run("""
def test_it(fake_relay):
    fake_relay.play(CAT)
    assert tickertape.parse_response(ask()).status == "completed"
    assert fake_relay.calls.last.prompt == "a cat"
""")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*fake relay*")


def test_each_test_has_a_relay_of_its_own(run: Run) -> None:
    run("""
@pytest.mark.parametrize("n", range(3))
def test_it(fake_relay, n):
    assert len(fake_relay.calls) == 0 and fake_relay.clock.now == 0
    fake_relay.play(CAT)
    ask()
""").assert_outcomes(passed=3)


def test_a_failure_carries_the_seed_and_the_journal(run: Run) -> None:
    result = run(
        """
def test_it(fake_relay):
    fake_relay.play(CAT)
    ask(prompt="a dog")
    assert False, "of the test"
""",
        "--tickertape-seed=7",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*of the test*", "*- fake relay -*", "seed 7: *--tickertape-seed=7", "*chat*/v1/chat/completions*a dog*200*"]
    )


def test_a_test_that_failed_is_not_failed_again_for_what_it_left(run: Run) -> None:
    result = run("""
def test_it(fake_relay):
    fake_relay.play(CAT)
    assert False
""")
    result.assert_outcomes(failed=1)


def test_an_unmatched_request_fails_the_test_where_it_is_made_and_is_made_once(run: Run) -> None:
    result = run("""
def test_it(fake_relay):
    try:
        ask(prompt="a lion")
    except Exception:
        pass
    finally:
        assert len(fake_relay.calls) == 1
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*UnmatchedRequest: POST https://relay.example/v1/chat/completions*"])
    # It is in the traceback, so the section does not repeat it.
    assert sum("remedy: fake_relay.play" in line for line in result.outlines) == 1


def test_an_unmatched_request_that_the_application_swallowed_fails_the_test_at_its_end(run: Run) -> None:
    result = run("""
def test_it(fake_relay):
    ask_and_swallow()
""")
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*at teardown of test_it*", "UnmatchedRequest: POST *", "*- fake relay -*", "*unmatched*"]
    )
    result.stdout.no_fnmatch_line("During handling of the above*")


def test_a_swallowed_request_is_explained_where_the_test_failed_by_itself(run: Run) -> None:
    result = run("""
def test_it(fake_relay):
    ask_and_swallow(None, "a lion")
    assert False, "of the test"
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*of the test*", "*- fake relay -*", "UnmatchedRequest: POST*", "*'a lion'*", "*remedy:*"]
    )


def test_a_refused_transport_counts_also_after_a_reset(run: Run) -> None:
    result = run("""
import socket

def test_it(fake_relay):
    fake_relay.reset()
    try:
        socket.create_connection(("relay.example", 443))
    except:
        pass
""")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["UncoveredTransport: a socket asked for relay.example:443*", "*remedy: *relay_server*"]
    )


def test_a_hundred_unmatched_requests_are_told_in_a_few_explanations(run: Run) -> None:
    result = run("""
def test_it(fake_relay, relay_client):
    for n in range(100):
        ask_and_swallow(relay_client(), f"prompt {n}")
    assert False
""")
    result.assert_outcomes(failed=1)
    assert sum("remedy: " in line for line in result.outlines) == 5
    result.stdout.fnmatch_lines(["… 95 more requests that matched nothing"])


def test_what_was_never_asked_for_fails_the_test(run: Run) -> None:
    result = run("""
def test_tape(fake_relay):
    fake_relay.play(CAT)

def test_scenario(fake_relay):
    fake_relay.play(Scenario.image("a cat"))

def test_failure(fake_relay):
    fake_relay.fail(status=429)

def test_half_a_count(fake_relay):
    fake_relay.play(CAT, times=2)
    ask()
""")
    result.assert_outcomes(passed=4, errors=4)
    result.stdout.fnmatch_lines(["UnplayedError: tape gpt-image-1.5/cat-drinking-milk was never played*"])
    result.stdout.fnmatch_lines(["UnplayedError: *1 of 2 times*"])


def test_a_tape_that_was_played_in_part_fails_the_test(run: Run, pytester: pytest.Pytester) -> None:
    own_tape(pytester, "two")
    result = run("""
def test_half(fake_relay):
    fake_relay.play("two")
    ask()

def test_whole(fake_relay):
    fake_relay.play("two")
    ask(), ask()
""")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*at teardown of test_half*", "UnplayedError: tape two was played in part*"])


def test_a_sequence_that_is_exhausted_matches_nothing_more(run: Run) -> None:
    result = run("""
def test_it(fake_relay):
    fake_relay.play(CAT)
    ask()
    ask()
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*differs in times*"])


def test_each_strictness_has_an_opt_out(run: Run) -> None:
    run("""
def test_optional(fake_relay):
    fake_relay.play(CAT, optional=True)

def test_any_number(fake_relay):
    fake_relay.play(CAT, times=None)
    ask(), ask(), ask()

@pytest.mark.tickertape(strict=False)
def test_not_strict(fake_relay):
    fake_relay.play(CAT)
""").assert_outcomes(passed=3)


def test_not_being_strict_does_not_excuse_an_unmatched_request(run: Run) -> None:
    run("""
@pytest.mark.tickertape(strict=False)
def test_it(fake_relay):
    ask_and_swallow()
""").assert_outcomes(passed=1, errors=1)


def test_a_test_that_is_skipped_midway_may_leave_plays_but_no_unmatched_request(run: Run) -> None:
    result = run("""
def test_left(fake_relay):
    fake_relay.play(CAT)
    pytest.skip("not today")

def test_unmatched(fake_relay):
    ask_and_swallow()
    pytest.skip("the network is down")
""")
    result.assert_outcomes(skipped=2, errors=1)
    result.stdout.fnmatch_lines(["*at teardown of test_unmatched*"])


def test_an_expected_failure_is_expected_whatever_the_relay_saw(run: Run) -> None:
    run("""
@pytest.mark.xfail(strict=True, raises=UnmatchedRequest)
def test_it(fake_relay):
    fake_relay.play(CAT, when={"prompt": "a dog"})
    ask()
""").assert_outcomes(xfailed=1)


def test_a_setup_that_fails_elsewhere_is_not_the_relays_failure(run: Run) -> None:
    result = run("""
@pytest.fixture
def broken(fake_relay):
    fake_relay.play(CAT)
    raise RuntimeError("of the fixture")

def test_it(broken):
    pass
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*of the fixture*", "*- fake relay -*", "seed 0*", "no calls"])


def test_fixtures_of_others_are_torn_down_when_the_relay_fails_the_test(run: Run) -> None:
    result = run("""
@pytest.fixture
def before():
    yield
    print("before is torn down")

@pytest.fixture
def after(fake_relay):
    yield
    print("after is torn down")

def test_it(before, fake_relay, after):
    ask_and_swallow()
""")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["after is torn down", "before is torn down"])


def test_what_fixtures_ask_when_they_are_torn_down_counts(run: Run) -> None:
    run("""
@pytest.fixture
def late(fake_relay):
    fake_relay.play(CAT)
    yield
    ask()

def test_it(late):
    pass
""").assert_outcomes(passed=1)


def test_a_failure_and_a_failing_teardown_do_not_tell_the_same_twice(run: Run) -> None:
    result = run("""
@pytest.fixture
def late(fake_relay):
    yield
    raise RuntimeError

def test_it(late):
    assert False
""")
    result.assert_outcomes(failed=1, errors=1)
    assert sum("- fake relay -" in line for line in result.outlines) == 1


def test_an_interrupted_test_is_not_judged(run: Run) -> None:
    result = run(
        """
def test_it(fake_relay):
    fake_relay.play(CAT)
    raise KeyboardInterrupt
""",
        apart=True,
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    for stream in (result.stdout, result.stderr):
        stream.no_fnmatch_line("*INTERNALERROR*")
        stream.no_fnmatch_line("*UnplayedError*")


def test_a_test_that_is_run_again_is_judged_again(run: Run, pytester: pytest.Pytester) -> None:
    # As pytest-rerunfailures does.
    pytester.makeconftest("""
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    runtestprotocol(item, log=False, nextitem=nextitem)
    item._initrequest()
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        item.ihook.pytest_runtest_logreport(report=report)
    return True
""")
    run("""
runs = []

def test_it(fake_relay):
    runs.append(1)
    fake_relay.play(CAT)
    assert len(runs) == 2
""").assert_outcomes(passed=1, errors=1)


def test_a_failing_subtest_carries_the_journal(run: Run) -> None:
    result = run("""
def test_it(fake_relay, subtests):
    fake_relay.play(CAT)
    with subtests.test("first"):
        ask(prompt="a dog")
        assert False
""")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*- fake relay -*", "*chat*a dog*"])
    result.stdout.no_fnmatch_line("*UnplayedError*")


def test_a_project_may_build_on_the_fixture_under_its_own_name(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
import pytest

@pytest.fixture
def fake_relay(fake_relay):
    fake_relay.play("gpt-image-1.5/cat-drinking-milk")
    return fake_relay
""")
    run("""
def test_it(fake_relay):
    ask()

def test_unused(fake_relay):
    pass
""").assert_outcomes(passed=2, errors=1)


def test_misbehaviour_is_explained_and_the_journal_is_beside_it(run: Run) -> None:
    result = run("""
def test_it(fake_relay, relay_client):
    fake_relay.fail(status=429, retry_after=30)
    fake_relay.play(CAT)
    client = relay_client(max_retries=0)
    with pytest.raises(openai.RateLimitError):
        ask(client)
    ask(client)
    fake_relay.assert_well_behaved()
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*retry_after_ignored*", "*- fake relay -*", "1 *429*", "2 *200*"])


# -- the marker -----------------------------------------------------------------------------


def test_the_marker_plays_a_tape(run: Run, pytester: pytest.Pytester) -> None:
    own_tape(pytester, "checkout/cat")
    result = run("""
@pytest.mark.tickertape(tape="checkout/cat")
def test_own(fake_relay):
    ask(), ask()

@pytest.mark.tickertape(tape=[CAT, Scenario.image("a dog")])
def test_gallery(fake_relay):
    ask(), ask()

@pytest.mark.tickertape(tape="checkout/cat")
def test_unused(fake_relay):
    pass
""")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*at teardown of test_unused*"])


def test_the_marker_sets_up_the_relay(run: Run) -> None:
    run("""
@pytest.mark.tickertape(base_url="https://other.example/v1")
def test_base_url(fake_relay):
    with pytest.raises(UnmatchedRequest, match="base_url"):
        ask()
    fake_relay.reset()

@pytest.mark.tickertape(validate=False)
def test_validate(fake_relay):
    import httpx
    fake_relay.play(CAT)
    assert httpx.post("https://relay.example/v1/chat/completions", json={}).status_code == 200

@pytest.mark.tickertape(speed=1000)
def test_speed(fake_relay):
    before = fake_relay.clock.now
    import time; time.sleep(0.01)
    assert fake_relay.clock.now > before

@pytest.mark.tickertape(patch_time=False)
def test_patch_time(fake_relay):
    import time
    before = fake_relay.clock.now
    time.sleep(0.01)
    assert fake_relay.clock.now == before
""").assert_outcomes(passed=4)


def test_of_several_markers_the_nearest_decides_argument_by_argument(run: Run) -> None:
    run("""
pytestmark = pytest.mark.tickertape(seed=1, strict=False)

@pytest.mark.tickertape(seed=2)
class TestIt:
    @pytest.mark.tickertape(tape=CAT)
    def test_it(self, fake_relay):
        assert (fake_relay.seed, fake_relay.strict) == (2, False)
        ask()

def test_far(fake_relay):
    assert fake_relay.seed == 1
""").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("tap=CAT", "no argument tap=; use tape=, *patch_time="),
        ("CAT", "found 'gpt-image-1.5/cat-drinking-milk' without a name*"),
        ("tape=None", "tape=None: expected the name of a tape*"),
        ("tape=3", "*tape=3*expected a tape's name*"),
        ("tape='no/such'", "*tape='no/such'*no tape 'no/such'*"),
        ("seed=True", "seed=True: expected an integer"),
        ("seed='1'", "seed='1': expected an integer"),
        ("speed=0", "speed=0: expected a number above 0*"),
        ("strict=1", "strict=1: expected True or False"),
        ("validate='no'", "validate='no': expected True or False"),
        ("patch_time=None", "patch_time=None: expected True or False"),
        ("base_url='relay.example'", "base_url='relay.example': expected a URL*"),
        ("allow_hosts='localhost'", "allow_hosts='localhost': expected a list*"),
        ("allow_hosts=[1]", "allow_hosts=[[]1]: expected a list*"),
    ],
)
def test_a_marker_that_cannot_be_meant_so_fails_the_test_in_one_line(run: Run, arguments: str, told: str) -> None:
    result = run(f"""
@pytest.mark.tickertape({arguments})
def test_it(fake_relay):
    raise RuntimeError("never run")
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["@pytest.mark.tickertape*" + told])
    result.stdout.no_fnmatch_line("Traceback*")
    result.stdout.no_fnmatch_line("*During handling*")


def test_a_marker_is_checked_even_where_no_relay_reads_it(run: Run) -> None:
    run("""
@pytest.mark.tickertape(sed=1)
def test_it():
    pass
""").assert_outcomes(errors=1)


def test_a_tape_for_a_test_without_a_relay_never_reaches_the_network(run: Run) -> None:
    result = run("""
@pytest.mark.tickertape(tape=CAT)
def test_it():
    raise RuntimeError("never run")
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['*asks for no relay*usefixtures("fake_relay")'])


# -- options, environment, ini ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "environment", "marker", "seed"),
    [
        (4, 3, 2, 4),
        (None, 3, 2, 3),
        (None, None, 2, 2),
        (None, None, None, 0),
        (0, 3, 2, 0),
        (None, "", 2, 2),
    ],
)
def test_the_seed_is_the_options_then_the_environments_then_the_markers(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    option: int | None,
    environment: int | str | None,
    marker: int | None,
    seed: int,
) -> None:
    if environment is not None:
        monkeypatch.setenv("TICKERTAPE_SEED", str(environment))
    run(
        f"""
@pytest.mark.tickertape({"" if marker is None else f"seed={marker}"})
def test_it(fake_relay):
    assert fake_relay.seed == {seed}
""",
        *([] if option is None else [f"--tickertape-seed={option}"]),
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("environment", "marker", "ini", "strict"),
    [
        ("1", False, "false", True),
        ("off", True, "true", False),
        (None, True, "false", True),
        (None, False, "true", False),
        (None, None, "false", False),
        (None, None, None, True),
    ],
)
def test_strictness_is_the_environments_then_the_markers_then_the_inis(
    run: Run,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    environment: str | None,
    marker: bool | None,
    ini: str | None,
    strict: bool,
) -> None:
    if environment is not None:
        monkeypatch.setenv("TICKERTAPE_STRICT", environment)
    if ini is not None:
        pytester.makeini(f"[pytest]\ntickertape_strict = {ini}")
    result = run(f"""
@pytest.mark.tickertape({"" if marker is None else f"strict={marker}"})
def test_it(fake_relay):
    fake_relay.play(CAT)
""")
    result.assert_outcomes(passed=1, errors=int(strict))


def test_the_ini_file_names_the_folder_of_tapes_from_the_root(run: Run, pytester: pytest.Pytester) -> None:
    own_tape(pytester, "two", folder="recordings")
    pytester.makeini("[pytest]\ntickertape_tapes = recordings")
    (pytester.path / "deep").mkdir()
    run("""
import os

@pytest.mark.tickertape(tape="two")
def test_it(fake_relay, monkeypatch):
    monkeypatch.chdir("deep")
    fake_relay.play("two")
    ask(), ask(), ask(), ask()

def test_a_tape_is_loaded_from_there_too(fake_relay, relay_server):
    from tickertape.testing import Tape
    fake_relay.play(Tape.load("two").rechunk(1))
    ask(), ask()

def test_and_where_the_server_alone_is(relay_server):
    from tickertape.testing import Tape
    relay_server.play(Tape.load("two"), optional=True)
""").assert_outcomes(passed=3)


@pytest.mark.parametrize("flags", [(), ("-n", "1")], ids=["here", "xdist"])
def test_the_environment_names_the_folder_of_tapes_from_where_pytest_was_started(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    own_tape(pytester, "two", folder="deep/recordings")
    pytester.makeini("[pytest]\ntickertape_tapes = nowhere")
    monkeypatch.setenv("TICKERTAPE_TAPES", "recordings")
    monkeypatch.chdir("deep")
    run(
        """
@pytest.mark.tickertape(tape="two")
def test_it(fake_relay):
    ask(), ask()
""",
        "..",
        *flags,
        apart=True,
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize(("name", "value"), [("SEED", "seven"), ("STRICT", "perhaps")])
def test_an_environment_that_cannot_be_read_is_an_error_of_usage(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"TICKERTAPE_{name}", value)
    result = run("def test_it(): pass", apart=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: TICKERTAPE_{name}='{value}': expected *"])


def test_a_seed_that_is_no_number_is_an_error_of_usage(run: Run) -> None:
    assert run("def test_it(): pass", "--tickertape-seed=x", apart=True).ret == pytest.ExitCode.USAGE_ERROR


# -- the factory of clients ---------------------------------------------------------------------


def test_a_client_is_built_once_a_session_for_each_class_and_options(run: Run) -> None:
    run("""
seen = []

@pytest.mark.parametrize("n", range(2))
def test_it(fake_relay, relay_client, n):
    fake_relay.play([CAT, CAT])
    ask(relay_client()), ask(relay_client(max_retries=0))
    seen.append((relay_client(), relay_client(max_retries=0), relay_client(openai.AsyncOpenAI)))

def test_the_same():
    assert all(a is b for a, b in zip(*seen, strict=True))
    plain, options, other = seen[0]
    assert isinstance(plain, openai.OpenAI) and options.max_retries == 0
    assert isinstance(other, openai.AsyncOpenAI)
    assert len({id(one) for one in seen[0]}) == 3
""").assert_outcomes(passed=3)


def test_a_client_that_a_test_closed_is_built_anew(run: Run) -> None:
    run("""
@pytest.mark.parametrize("n", range(2))
def test_it(fake_relay, relay_client, n):
    fake_relay.play(CAT)
    with relay_client() as client:
        ask(client)
""").assert_outcomes(passed=2)


# -- other plugins and ways of testing ----------------------------------------------------------


def test_under_xdist_failures_carry_the_same_report(run: Run) -> None:
    result = run(
        """
@pytest.mark.parametrize("n", range(4))
def test_it(fake_relay, relay_client, n):
    fake_relay.play(CAT)
    ask(relay_client())

def test_unmatched(fake_relay):
    ask_and_swallow()

@pytest.mark.tickertape(tape="half a character: \\ud83d")
def test_marker(fake_relay):
    pass
""",
        "-n",
        "2",
        "--tickertape-seed=5",
        apart=True,
    )
    result.assert_outcomes(passed=5, errors=2)
    result.stdout.fnmatch_lines(["UnmatchedRequest: POST*", "*- fake relay -*", "seed 5*", "*unmatched*"])


ASYNC_TESTS = """
async def test_it(fake_relay):
    fake_relay.play(CAT)
    assert tickertape.parse_response(await aask()).status == "completed"

async def test_unmatched(fake_relay):
    try:
        await aask()
    except Exception:
        pass

async def test_swallowed(fake_relay):
    try:
        await aask()
    except:
        pass

async def test_unused(fake_relay):
    fake_relay.play(CAT)
"""


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_tests_of_pytest_asyncio_are_judged_like_any_other(run: Run, pytester: pytest.Pytester, mode: str) -> None:
    pytester.makeini(f"[pytest]\nasyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function")
    marked = "pytestmark = pytest.mark.asyncio\n" if mode == "strict" else ""
    result = run(marked + ASYNC_TESTS, asyncio=True, apart=True)
    result.assert_outcomes(passed=3, failed=1, errors=2)


def test_tests_of_anyio_are_judged_like_any_other_on_asyncio_and_trio(run: Run) -> None:
    backends = """
# anyio leaves a task whose failure is logged, with its source, when it is collected. That may be while pytest
# parses a source, and Python 3.11 cannot parse within parsing (gh-106905).
import gc; gc.disable()

pytestmark = pytest.mark.anyio

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
"""
    run(backends + ASYNC_TESTS, apart=True).assert_outcomes(passed=6, failed=2, errors=4)


def test_a_class_of_unittest_gets_the_relay_by_a_fixture(run: Run) -> None:
    result = run("""
class Base(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _relay(self, fake_relay):
        self.relay = fake_relay

class TestPlays(Base):
    def test_it(self):
        self.relay.play(CAT)
        ask()
        self.assertEqual(self.relay.calls.last.prompt, "a cat")

    def test_unmatched(self):
        ask()

    def test_swallowed(self):
        ask_and_swallow()

    def test_failed(self):
        self.relay.play(CAT)
        self.fail("of the test")

    def test_skipped(self):
        self.relay.play(CAT)
        self.skipTest("not today")

@pytest.mark.usefixtures("fake_relay")
@pytest.mark.tickertape(tape=CAT)
class TestMarked(unittest.TestCase):
    def test_it(self):
        ask()
""")
    result.assert_outcomes(passed=3, failed=2, skipped=1, errors=1)
    result.stdout.fnmatch_lines(["*at teardown of TestPlays.test_swallowed*"])


def test_it_shares_a_test_with_respx(run: Run) -> None:
    result = run("""
import httpx

def test_both(fake_relay, respx_mock):
    respx_mock.get("https://api.example/weather").respond(json={"sky": "clear"})
    fake_relay.play(CAT)
    assert httpx.get("https://api.example/weather").json() == {"sky": "clear"}
    ask()

def test_the_other_order(respx_mock, fake_relay):
    respx_mock.get("https://api.example/weather").respond(json={"sky": "clear"})
    fake_relay.play(CAT)
    assert httpx.get("https://api.example/weather").json() == {"sky": "clear"}
    ask()

def test_neither(fake_relay, respx_mock):
    with pytest.raises(UnmatchedRequest):
        httpx.get("https://api.example/weather")
    fake_relay.reset()
""")
    result.assert_outcomes(passed=3)


def test_with_hypothesis_each_example_has_its_relay_or_resets_one(run: Run) -> None:
    run("""
from hypothesis import HealthCheck, given, settings, strategies as st

client = openai.OpenAI(base_url="https://relay.example/v1", api_key="sk-test")
few = settings(max_examples=5, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
few = settings(few, deadline=None)

@few
@given(st.integers(1, 3))
def test_own(n):
    with FakeRelay() as relay:
        relay.play(Scenario.image("a cat", n=n))
        assert len(tickertape.parse_response(ask(client)).results) == n

@few
@given(st.integers(1, 3))
def test_reset(fake_relay, n):
    fake_relay.reset()
    fake_relay.play(Scenario.image("a cat", n=n))
    assert len(tickertape.parse_response(ask(client)).results) == n
    assert len(fake_relay.calls) == 1
""").assert_outcomes(passed=2)


def test_without_the_plugin_there_is_no_fixture_and_nothing_breaks(run: Run) -> None:
    result = run(
        """
def test_it(fake_relay):
    pass

def test_relay():
    with FakeRelay() as relay:
        relay.play(CAT)
        ask()
""",
        "-p",
        "no:tickertape",
        apart=True,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'fake_relay' not found*"])


# -- what it shows and what it costs ----------------------------------------------------------------


def test_fixtures_marker_options_and_ini_keys_are_documented(pytester: pytest.Pytester) -> None:
    fixtures = pytester.runpytest_inprocess("-p", "no:asyncio", "--fixtures")
    fixtures.stdout.fnmatch_lines(["fake_relay -- *plugin.py:*", "*it answers every httpx and httpx2 client*"])
    fixtures.stdout.fnmatch_lines(["relay_client [[]session scope[]] -- *plugin.py:*", "*factory of SDK clients*"])
    markers = pytester.runpytest_inprocess("-p", "no:asyncio", "--markers")
    markers.stdout.fnmatch_lines(["@pytest.mark.tickertape(tape=…, *): *"])
    options = pytester.runpytest_inprocess("-p", "no:asyncio", "--help")
    options.stdout.fnmatch_lines(
        ["*--tickertape-seed=N*", "*tickertape_tapes (string):*", "*tickertape_strict (bool):*"]
    )


def test_a_server_that_is_asked_to_record_says_what_does(run: Run) -> None:
    result = run("""
@pytest.mark.tickertape(tape=CAT, record="once")
def test_it(relay_server):
    pass

@pytest.mark.tickertape(tape=CAT, record="none", strict=False)
def test_that_plays(relay_server):
    pass
""")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(
        ["*relay_server plays tapes and records none; record a client of httpx with fake_relay*"]
    )


def test_the_names_of_the_fixtures_are_no_other_plugins(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest_inprocess("-p", "no:asyncio", "--fixtures", "-v")
    for name in ("fake_relay", "relay_client"):
        assert sum(line.split(" ")[0] == name for line in shown.outlines) == 1


def test_the_marker_takes_what_a_relay_takes() -> None:
    from inspect import signature

    options = {name for name, each in signature(FakeRelay).parameters.items() if each.kind is each.KEYWORD_ONLY}
    # What holds for the whole project is no test's to say.
    assert options - {"redactor"} == {*plugin.ARGUMENTS}


@pytest.mark.parametrize(
    ("marker", "loaded"),
    [("", {"tickertape", "tickertape.plugin"}), ("@pytest.mark.tickertape(seed=3)", {"tickertape._settings"})],
    ids=["plain", "marked"],
)
def test_nothing_is_imported_until_a_test_asks(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, marker: str, loaded: set[str]
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest("""
import sys

def pytest_sessionfinish():
    with open("modules", "w") as file:
        print(*sys.modules, file=file)
""")
    pytester.makepyfile(f"""
import pytest

{marker}
def test_it():
    assert False
""")
    result = pytester.runpytest_subprocess("-p", "tickertape.plugin")
    result.assert_outcomes(failed=1)
    modules = (pytester.path / "modules").read_text().split()
    heavy = {"respx", "httpx", "httpx2", "httpcore", "hypothesis", "lark", "openai", "pydantic", "asyncio", "anyio"}
    assert not heavy & {*modules}
    ours = {name for name in modules if name.partition(".")[0] == "tickertape"}
    assert ours == {"tickertape", "tickertape.plugin"} | loaded


# -- tapes that nobody plays ----------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "status", "workers"), [("ignore", 0, ()), ("report", 0, ()), ("fail", 1, ()), ("fail", 1, ("-n", "2"))]
)
def test_tapes_that_no_test_played_are_told_and_fail_the_run_when_asked(
    pytester: pytest.Pytester, how: str, status: int, workers: tuple[str, ...]
) -> None:
    folder = pytester.mkdir("tests") / "tapes" / "mine"
    folder.mkdir(parents=True)
    for name in ("one", "two", "forgotten", "../by-path", "../one", "deep/by-path"):
        (folder / f"{name}.md").parent.mkdir(exist_ok=True)
        (folder / f"{name}.md").write_text("> 生成完成 ✅\n![a](https://x.test/a.png)\n", "utf-8")
    pytester.makepyfile(
        """
import httpx, pytest

@pytest.mark.parametrize("name", ["mine/one", "mine/two", "tests/tapes/by-path.md"])
def test_it(fake_relay, name):
    fake_relay.play(name)
    body = {"model": "m", "messages": [{"role": "user", "content": "a cat"}]}
    url = fake_relay.base_url + "/chat/completions"
    assert httpx.post(url, json=body, headers={"authorization": "Bearer sk-test"}).status_code == 200
"""
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", f"--tickertape-unused={how}", *workers)
    result.assert_outcomes(passed=3)
    assert result.ret == status
    told = result.stdout.str().partition("tapes that no test played")[2].splitlines()[1:-1]
    assert [line for line in told if line] == (
        [] if how == "ignore" else ["mine/deep/by-path", "mine/forgotten", "one"]
    )


# -- relay_server --------------------------------------------------------------------------

ASK_SERVER = """
import requests

def ask_server(relay_server, path="/chat/completions"):
    headers = {"authorization": "Bearer sk-test"}
    return requests.post(relay_server.base_url + path, json=asked(), headers=headers, timeout=20)
"""


def test_relay_server_plays_for_clients_that_are_not_answered_in_process(run: Run) -> None:
    run(
        ASK_SERVER
        + """
def test_it(relay_server):
    relay_server.play(CAT)
    assert tickertape.parse_response(ask_server(relay_server).json()).status == "completed"
    assert relay_server.calls.last.prompt == "a cat"

def test_nothing_is_left_of_the_test_before(relay_server):
    assert len(relay_server.calls) == 0
    relay_server.reset(seed=7, rewrite_links=False, speed=1.0)

def test_nor_of_its_options(relay_server):
    relay_server.play(CAT)
    assert relay_server.seed == 0
    task = tickertape.parse_response(ask_server(relay_server).json())
    assert task.results[0].url.startswith(relay_server.url)
"""
    ).assert_outcomes(passed=3)


def test_what_was_never_asked_of_relay_server_fails_the_test(run: Run) -> None:
    result = run("""
def test_unplayed(relay_server):
    relay_server.play(CAT)

def test_optional(relay_server):
    relay_server.play(CAT, optional=True)

@pytest.mark.tickertape(strict=False)
def test_not_strict(relay_server):
    relay_server.play(CAT)
""")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*UnplayedError: tape gpt-image-1.5/cat-drinking-milk was never played*"])


def test_what_was_asked_of_relay_server_in_vain_is_told(run: Run) -> None:
    result = run(
        ASK_SERVER
        + """
def test_it(relay_server):
    assert ask_server(relay_server).status_code == 404
"""
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*UnmatchedRequest: POST http://127.0.0.1:*/v1/chat/completions matches nothing that was played.",
            "*remedy: *",
            "* relay server *",
            "seed 0: run again with --tickertape-seed=0",
            "1 * unmatched *",
        ]
    )


def test_the_marker_is_for_relay_server_too(run: Run) -> None:
    run(
        ASK_SERVER
        + """
@pytest.mark.tickertape(tape=CAT, seed=3, validate=False)
def test_it(relay_server):
    assert relay_server.seed == 3
    assert requests.post(relay_server.base_url + "/chat/completions", json=asked(), timeout=20).status_code == 200
"""
    ).assert_outcomes(passed=1)


def test_both_fixtures_in_one_test_do_not_stand_in_each_others_way(run: Run) -> None:
    run(
        ASK_SERVER
        + """
def test_it(fake_relay, relay_server):
    fake_relay.play(CAT)
    relay_server.play(CAT, times=3)
    ask()
    client = openai.OpenAI(base_url=relay_server.base_url, api_key="sk-test")
    ask(client)
    ask_server(relay_server)
    ask_server(relay_server)
    assert len(fake_relay.calls) == 1
    assert len(relay_server.calls) == 3
"""
    ).assert_outcomes(passed=1)


def test_each_worker_of_xdist_has_a_server_of_its_own(run: Run, pytester: pytest.Pytester) -> None:
    result = run(
        ASK_SERVER
        + """
@pytest.mark.parametrize("n", range(6))
def test_it(relay_server, n, worker_id):
    relay_server.play(CAT)
    ask_server(relay_server)
    assert len(relay_server.calls) == 1
    with open(f"{worker_id}.port", "a") as file:
        print(relay_server.url, file=file)
""",
        "-n",
        "2",
        "--dist",
        "each",
        apart=True,
    )
    result.assert_outcomes(passed=12)
    told = [{*(pytester.path / f"gw{number}.port").read_text().split()} for number in (0, 1)]
    assert [len(urls) for urls in told] == [1, 1]
    assert told[0] != told[1]


# -- what goes on around a test ---------------------------------------------------------------


def test_a_relay_that_a_fixture_asks_for_by_name_plays_the_tape_of_the_marker(run: Run) -> None:
    result = run("""
@pytest.fixture(params=["fake_relay", "relay_server"])
def relay(request):
    return request.getfixturevalue(request.param)

@pytest.mark.tickertape(tape=CAT)
def test_it(relay):
    client = openai.OpenAI(base_url=relay.base_url, api_key="sk-test")
    assert client.chat.completions.create(**asked()).choices
""")
    result.assert_outcomes(passed=2)


def test_a_marker_that_records_needs_a_relay_as_well(run: Run) -> None:
    result = run("""
@pytest.mark.tickertape(record="once")
def test_it():
    raise AssertionError("it ran")
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*record='once'): the test asks for no relay that could play it*"])


def test_a_failed_part_of_a_test_is_not_judged_once_more(run: Run) -> None:
    result = run("""
def test_parts(fake_relay, subtests):
    fake_relay.play(CAT)
    with subtests.test(part=1):
        assert False

class TestParts(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _relay(self, fake_relay):
        fake_relay.play(CAT)

    def test_parts(self):
        with self.subTest(part=1):
            assert False
""")
    assert result.parseoutcomes().get("errors", 0) == 0
    result.stdout.fnmatch_lines(["*fake relay*", "seed 0: run again with*"])


def test_the_marker_names_a_folder_of_tapes(run: Run, pytester: pytest.Pytester) -> None:
    pytester.mkdir("mine").joinpath("cat.md").write_text("![a](https://cdn.example/a.png)\n")
    result = run("""
@pytest.mark.tickertape(tapes="mine", tape="cat")
def test_it(fake_relay):
    assert "cdn.example/a.png" in ask().choices[0].message.content
""")
    result.assert_outcomes(passed=1)


def test_a_strictness_that_is_neither_is_told_at_the_start(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ntickertape_strict = maybe\n")
    result = pytester.runpytest_inprocess("-p", "no:asyncio")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*tickertape_strict in the ini file*expected true or false*"])


def test_an_asynchronous_client_of_a_server_is_its_tests_own(run: Run) -> None:
    # Its connections belong to the event loop of one test.
    result = run("""
import asyncio

@pytest.mark.parametrize("number", range(3))
def test_it(relay_server, relay_client, number):
    async def ask():
        async with relay_client(openai.AsyncOpenAI, base_url=relay_server.base_url, max_retries=0) as client:
            return await client.chat.completions.create(**asked())
    relay_server.play(CAT)
    assert asyncio.run(ask()).choices

def test_not_shared(relay_client):
    own = {"base_url": "http://127.0.0.1:9/v1"}
    assert relay_client(openai.AsyncOpenAI, **own) is not relay_client(openai.AsyncOpenAI, **own)
    assert relay_client(openai.AsyncOpenAI) is relay_client(openai.AsyncOpenAI)
    assert relay_client(**own) is relay_client(**own)
""")
    result.assert_outcomes(passed=4)


def test_without_openai_the_factory_says_what_to_install(run: Run) -> None:
    result = run("""
import sys

def test_it(relay_client, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    relay_client()
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*openai is not installed: pip install openai, or name a class*"])
