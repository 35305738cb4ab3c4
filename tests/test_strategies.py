"""The strategies: what they draw is true, what they shrink to is readable, and mistakes are told at once."""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.stateful import run_state_machine_as_test

import tickertape
from tickertape import ResponseReader, parse_response
from tickertape.strategies import (
    ENDS,
    TRAITS,
    RelayMachine,
    chunkings,
    contents,
    faults,
    responses,
    scenarios,
    tapes,
    tasks,
)
from tickertape.strategies._contents import RUNS, UNITS
from tickertape.strategies._tasks import STATUSES
from tickertape.testing import ClientMisbehaved, FakeRelay, Fault, Scenario, Tape
from tickertape.testing._wire import body_of, end_of

from .test_properties import stock

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "https://relay.example/v1/chat/completions"
SHRINK = settings(max_examples=2000, database=None, derandomize=True)


def ask(prompt: str = "a cat") -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], "stream": True}
    return httpx.post(URL, json=body, headers={"authorization": "Bearer sk-test"}, timeout=2000)


# -- what is drawn is true -----------------------------------------------------------------


@given(scenarios(), st.integers(0, 99))
def test_a_stream_of_any_scenario_is_read_back_as_it_was_meant(scenario: Scenario, seed: int) -> None:
    job = scenario.bind(seed=seed)
    task = parse_response(body_of(job.reply(stream=True))).as_dict()
    task.pop("envelope")
    assert task == job.expected


@given(st.data())
def test_a_content_for_a_task_tells_of_that_task_in_any_pieces(data: st.DataObject) -> None:
    task = data.draw(tasks())
    parser = tickertape.Parser()
    for piece in data.draw(chunkings(data.draw(contents(task=task)))):
        parser.feed(piece)
    if task.status not in ("queued", "in_progress"):
        parser.close()
    assert parser.task.as_dict() == task.as_dict()


@pytest.mark.parametrize("status", STATUSES)
@given(st.data())
def test_a_status_that_is_asked_for_is_what_is_drawn(status: str, data: st.DataObject) -> None:
    assert data.draw(tasks(statuses=status)).status == status


@given(st.data(), st.booleans(), st.integers(0, 99))
def test_a_fault_drawn_for_a_scenario_breaks_its_answer_whatever_its_seed(
    data: st.DataObject, stream: bool, seed: int
) -> None:
    scenario = data.draw(scenarios())
    reply = scenario.bind(seed=seed, number=3).reply(stream=stream, model="m")
    fault = data.draw(faults(scenario, stream=stream))
    assert fault.apply(reply, random=random.Random(seed)) != reply


@given(st.data(), st.booleans())
def test_a_fault_drawn_for_one_kind_of_call_needs_no_other(data: st.DataObject, stream: bool) -> None:
    assert data.draw(faults(stream=stream)).needs != ("json" if stream else "stream")


@given(tapes())
def test_a_drawn_tape_is_equal_to_what_is_loaded_from_what_it_saves(tape: Tape) -> None:
    assert Tape.loads(tape.dumps(), name=tape.name) == tape
    assert tape.interactions[0].is_chat


@given(st.data())
def test_a_tape_without_faults_ends_as_its_scenario_does(data: st.DataObject) -> None:
    tape = data.draw(tapes(scenario=st.just(Scenario.image("a cat")), allow_faults=False, max_interactions=1))
    (interaction,) = tape.interactions
    assert (tape.task.status, end_of(interaction.reply).how) == ("completed", "eof")


@given(responses())
def test_a_response_is_read_to_a_task_whatever_its_form(response: Any) -> None:
    task = parse_response(response.body, response.status_code)
    if response.form == "error":
        assert (task.status, response.status_code >= 400) == ("failed", True)
    elif response.form == "poll":
        assert task.status in ("queued", "in_progress", "completed", "failed")


@given(st.text(max_size=20) | st.binary(max_size=20), st.booleans(), st.integers(1, 5), st.data())
def test_chunks_join_to_the_whole_and_are_no_more_than_allowed(
    whole: Any, allow_empty: bool, most: int, data: st.DataObject
) -> None:
    pieces = data.draw(chunkings(whole, max_size=most, allow_empty=allow_empty))
    assert whole[:0].join(pieces) == whole
    assert len(pieces) <= most
    assert allow_empty or all(pieces)


def test_every_dialect_end_and_trait_is_drawn() -> None:
    seen: set[str] = set()

    @settings(max_examples=800, database=None, derandomize=True, phases=[Phase.generate])
    @given(scenarios())
    def collect(scenario: Scenario) -> None:
        intent = scenario.intent
        seen.update((scenario.name, intent.end or "complete"))
        seen.update(name for name in TRAITS if getattr(intent, name, False) not in (False, None))
        if intent.retries:
            seen.add("retry")
        if intent.results is not None:
            seen.add("fewer")
        if list(intent.progress) != sorted(intent.progress):
            seen.add("falling")

    collect()
    assert {*Scenario.dialects(), *ENDS, *TRAITS} - seen == set()


def test_a_run_of_the_grammar_is_written_as_its_regular_expression_allows() -> None:
    patterns = {terminal.name: terminal.pattern.to_regexp() for terminal in stock().terminals}
    assert set(RUNS) <= set(patterns)
    for name, texts in RUNS.items():
        for text in texts:
            assert re.fullmatch(patterns[name], text), (name, text)


def test_wild_contents_are_what_lark_makes_of_every_unit_of_the_grammar() -> None:
    kinds: set[str] = set()

    @settings(max_examples=450, database=None, derandomize=True, phases=[Phase.generate])
    @given(contents(scenario=st.just(Scenario.image("")), allow_cut=False))
    def collect(text: str) -> None:
        kinds.update(type(event).__name__ for event in tickertape.parse(text).events)

    collect()
    every = {kind.__name__ for kind in tickertape.events.Event.__subclasses__()}
    assert every - kinds == set()
    assert len(UNITS) > 30


# -- arguments say what is valid ------------------------------------------------------------------


@given(scenarios(kinds="video", dialects=["veo3", "sora-2"], languages="en", ends="fail", traits=(), max_n=1))
def test_only_what_is_valid_is_drawn(scenario: Scenario) -> None:
    intent = scenario.intent
    assert (intent.kind, intent.language, intent.end, intent.n) == ("video", "en", "fail", 1)
    assert scenario.name in ("veo3", "sora-2")
    assert (intent.retries, intent.stall, intent.detached, intent.signed) == (0, 0.0, False, None)


@given(scenarios(max_seconds=20.0))
def test_no_job_takes_longer_than_allowed(scenario: Scenario) -> None:
    assert scenario.bind().duration <= 20.0


@given(faults(kinds=["stall", "late", "drip"], max_seconds=3.0))
def test_no_fault_is_longer_than_allowed(fault: Fault) -> None:
    seconds = dict(fault.options)["seconds"]
    assert seconds is None or seconds <= 3.0


@given(scenarios(prompts=st.just("a dog")))
def test_prompts_are_those_that_were_given(scenario: Scenario) -> None:
    assert scenario.intent.prompt == "a dog"


MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: scenarios(kinds="picture"), "there is no 'picture'; use some of image, video, audio"),
    (lambda: scenarios(dialects=["sora2"]), "did you mean 'sora-2'"),
    (lambda: scenarios(kinds="audio", dialects="veo3"), "leave one of them out"),
    (lambda: scenarios(ends=[]), "nothing is left to draw"),
    (lambda: scenarios(traits="slow"), "there is no 'slow'"),
    (lambda: scenarios(languages=5), "languages=5: expected some of zh, en"),  # type: ignore[arg-type]
    (lambda: scenarios(prompts="a cat"), "expected a strategy, such as st.just('a cat')"),  # type: ignore[arg-type]
    (lambda: scenarios(max_n=0), "max_n=0: expected a whole number, 1 or more"),
    (lambda: scenarios(max_seconds=float("inf")), "max_seconds=inf: expected seconds"),
    (lambda: faults(kinds="explode"), "there is no 'explode'"),
    (lambda: faults("a cat"), "expected a Scenario or a Tape"),  # type: ignore[arg-type]
    (lambda: faults(stream="yes"), "expected True or False"),  # type: ignore[arg-type]
    (lambda: faults(Scenario.image("a"), stream=True, kinds="truncated_json"), "this answer can have none of them"),
    (lambda: faults(stream=False, kinds="reorder"), "this answer can have none of them"),
    (lambda: tapes(max_interactions=0), "max_interactions=0"),
    (lambda: tapes(allow_faults=1), "allow_faults=1: expected True or False"),  # type: ignore[arg-type]
    (lambda: responses(forms="page"), "there is no 'page'"),
    (lambda: tasks(statuses="done"), "there is no 'done'; use some of queued"),
    (lambda: contents(task="a cat"), "expected a Task"),  # type: ignore[arg-type]
    (lambda: contents(scenario=Scenario.image("a")), "expected a strategy"),  # type: ignore[arg-type]
    (lambda: chunkings(7), "expected a text or bytes"),
    (lambda: chunkings("a", max_size=0), "max_size=0"),
]


@pytest.mark.parametrize(("mistake", "told"), MISTAKES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_mistake_is_told_when_the_strategy_is_made(mistake: Callable[[], Any], told: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(told)):
        mistake()


# -- what is shrunk to is readable -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("holds", "shown"),
    [
        (lambda scenario: True, "Scenario.image('a cat')"),
        (lambda scenario: scenario.intent.end == "fail", "Scenario.image('a cat').fail()"),
        (lambda scenario: scenario.name == "veo3", "Scenario.video('a cat').dialect('veo3')"),
        (lambda scenario: max(scenario.intent.progress, default=0) >= 48, "Scenario.image('a cat').progress(48)"),
        (lambda scenario: scenario.intent.detached, "Scenario.image('a cat').detached()"),
    ],
)
def test_a_scenario_shrinks_to_the_calls_that_matter(holds: Callable[[Scenario], bool], shown: str) -> None:
    assert repr(find(scenarios(), holds, settings=SHRINK)) == shown


def test_pieces_shrink_to_one_early_cut() -> None:
    text = "> 生成完成 ✅\n"
    assert find(chunkings(text), lambda pieces: len(pieces) > 1, settings=SHRINK) == [text[:1], text[1:]]
    assert find(chunkings(text), lambda pieces: True, settings=SHRINK) == [text]


def test_a_content_shrinks_to_the_line_that_matters() -> None:
    wild = contents(scenario=st.just(Scenario.image("")), allow_cut=False)
    text = find(wild, lambda drawn: tickertape.parse(drawn).progress == (100,), settings=SHRINK)
    assert len(text) <= 12, text


def test_a_fault_shrinks_to_no_connection_and_an_early_byte() -> None:
    scenario = Scenario.image("a cat")
    assert find(faults(scenario, stream=True), lambda fault: True, settings=SHRINK) == Fault.refused()
    drawn = find(
        faults(scenario, stream=True, kinds="reset"), lambda f: dict(f.options)["byte"] is not None, settings=SHRINK
    )
    assert drawn == Fault.reset(byte=0)


def test_a_failing_example_shows_the_chain_that_makes_it_again(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from hypothesis import given, settings
        from tickertape.strategies import scenarios

        @settings(database=None, derandomize=True)
        @given(scenario=scenarios())
        def test_it(scenario):
            assert scenario.intent.end != "cut"
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*scenario=Scenario.image('a cat').cut()*"])


# -- with a relay ------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.data())
def test_what_is_drawn_is_played_inside_given_with_a_relay_of_its_own(data: st.DataObject) -> None:
    with FakeRelay() as relay:
        scenario = data.draw(scenarios())
        relay.play(scenario)
        body = ask().content
        assert parse_response(body).status == scenario.bind().expected["status"]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_fixture_serves_every_example_when_it_is_reset_first(fake_relay: FakeRelay, data: st.DataObject) -> None:
    fake_relay.reset()
    fake_relay.play(data.draw(scenarios(max_seconds=50)))
    ask()
    assert len(fake_relay.calls) == 1


@settings(max_examples=30)
@given(st.data())
def test_a_drawn_fault_ends_in_an_answer_or_an_error_of_the_client(data: st.DataObject) -> None:
    scenario = data.draw(scenarios())
    fault = data.draw(faults(scenario, stream=True))
    with FakeRelay(strict=False) as relay:
        relay.play(scenario, fault=fault)
        with contextlib.suppress(httpx.TransportError):
            parse_response(ask().content)
        assert len(relay.calls.chats) == 1


# -- the machine ---------------------------------------------------------------------------------------


class Keeper(RelayMachine):
    """A client that keeps jobs, and goes by their `source` link."""

    scenarios: ClassVar[Any] = scenarios(
        dialects=["gpt-image-1.5", "sora-2"], ends=["complete", "fail", "cut"], traits=["detached", "stall", "retry"]
    )
    refusals: ClassVar[tuple[type[Exception], ...]] = (httpx.HTTPError, LookupError)
    allow = ("submitted_twice", "truncated_accepted")

    def start(self) -> None:
        self.client = httpx.Client(timeout=700)
        self.asked: list[str] = []

    def submit(self, prompt: str) -> dict[str, Any]:
        reader = ResponseReader()
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt}]}
        with self.client.stream("POST", URL, json=body, headers={"authorization": "Bearer sk-test"}) as response:
            response.raise_for_status()
            try:
                for piece in response.iter_raw():
                    reader.feed(piece)
            except httpx.TransportError:
                pass  # the job goes on at its own link
        reader.close()
        if "source" not in reader.task.links:
            raise LookupError("the answer told of no job")
        return {"status": reader.task.status, "link": reader.task.links["source"]}

    def poll(self, job: dict[str, Any]) -> str:
        if job["status"] not in ("completed", "failed"):
            job["status"] = parse_response(self.client.get(job["link"]).raise_for_status()).status
        return str(job["status"])

    def cancel(self, job: dict[str, Any]) -> None:
        job["status"] = "failed"


class Believer(Keeper):
    """Takes the end of a stream for the end of the job."""

    def poll(self, job: dict[str, Any]) -> str:
        return "completed"


class Forgetful(Keeper):
    """Never asks again."""

    def poll(self, job: dict[str, Any]) -> str:
        return "completed" if job["status"] == "completed" else "queued"


class Chatty(Keeper):
    """Asks about what was called off."""

    def cancel(self, job: dict[str, Any]) -> None:
        self.asked.append(job["link"])

    def poll(self, job: dict[str, Any]) -> str:
        for link in self.asked:
            self.client.get(link)
        return super().poll(job)


class Rash(Keeper):
    """Takes a poll that fails for a job that failed."""

    scenarios = st.just(Scenario.video("a cat").progress(14, 98).detached())

    def poll(self, job: dict[str, Any]) -> str:
        if job["status"] not in ("completed", "failed"):
            job["status"] = parse_response(self.client.get(job["link"])).status
        return str(job["status"])


class Leaky(Keeper):
    """Lets errors through that it does not tell of."""

    refusals = ()


class Wordy(Keeper):
    def poll(self, job: dict[str, Any]) -> str:
        return super().poll(job).upper()


RUN = settings(max_examples=12, stateful_step_count=8, database=None, derandomize=True)
HUNT = settings(RUN, max_examples=150, phases=[Phase.generate], report_multiple_bugs=False)


def test_a_client_that_keeps_its_jobs_passes_the_machine() -> None:
    run_state_machine_as_test(Keeper, settings=RUN)


@pytest.mark.parametrize(
    ("client", "told"),
    [
        (Believer, "the client says completed, the relay's job is"),
        (Forgetful, "no verdict after 3600 s, poll() still says queued"),
        (Chatty, "was called off, and the relay asked for it again"),
        (Wordy, "expected one of queued, in_progress"),
        (Rash, "the client says failed, nothing failed"),
        (type("Silent", (RelayMachine,), {}), "needs submit(prompt)"),
    ],
)
def test_a_client_that_does_not_is_found_out(client: type[RelayMachine], told: str) -> None:
    with pytest.raises((AssertionError, NotImplementedError), match=re.escape(told)):
        run_state_machine_as_test(client, settings=HUNT)


def test_an_error_that_the_client_does_not_tell_of_is_found() -> None:
    with pytest.raises((httpx.HTTPError, LookupError)):
        run_state_machine_as_test(Leaky, settings=HUNT)


# -- importing -------------------------------------------------------------------------------------------


def test_importing_the_strategies_loads_no_hypothesis_until_one_is_named() -> None:
    code = (
        "import sys, tickertape.strategies as s; assert not {'hypothesis', 'lark', 'httpx'} & set(sys.modules);"
        "s.chunkings; assert 'hypothesis' in sys.modules and 'lark' not in sys.modules; assert 'tasks' in dir(s)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_no_strategy_is_an_attribute_error() -> None:
    import tickertape.strategies

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tickertape.strategies.nothing  # noqa: B018


def test_where_hypothesis_is_missing_the_remedy_is_told() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import tickertape.strategies as s; s.tasks"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'tickertape[testing]'" in done.stderr


class Eager(Keeper):
    """Is refused each time, and asks as soon as its caller orders again."""

    scenarios = st.just(Scenario.image("a cat"))

    def submit(self, prompt: str) -> dict[str, Any]:
        self.relay._relay.plays.clear()  # instead of what the machine lets the order end in
        self.relay.fail(status=429, retry_after=56, times=None, optional=True)
        return super().submit(prompt)


class Hasty(Eager):
    """Asks once more within the time that the refusal told it to wait."""

    def submit(self, prompt: str) -> dict[str, Any]:
        with contextlib.suppress(httpx.HTTPError):
            return super().submit(prompt)
        return super().submit(prompt)


def test_the_machine_waits_with_its_next_order_as_a_refusal_asks() -> None:
    run_state_machine_as_test(Eager, settings=RUN)


def test_a_client_that_does_not_wait_within_an_order_is_found_out() -> None:
    with pytest.raises(ClientMisbehaved, match="retry_after_ignored"):
        run_state_machine_as_test(Hasty, settings=HUNT)
