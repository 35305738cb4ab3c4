"""Fault by fault: what a client sees in process is what it sees of a real socket, on every stack.

The socket is that of a few plain lines of the tests, which know nothing of tickertape's
server, and that of `RelayServer`.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from openai._base_client import BaseClient

from tickertape.testing import Fault
from tickertape.testing._wire import End

from .conformance import CASES, STACKS, Case, Seen, in_process, on_server, on_socket, tape

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "faults.md"
RUNS = [(case, stream) for case in CASES for stream in case.streams]

BACKENDS = {"a socket": on_socket, "the relay on loopback": on_server}


@dataclass(frozen=True)
class Difference:
    """Where a socket is known to show something else, and why."""

    reason: str
    without: Callable[[Case, Seen], Seen]
    """What would be seen if there were no such difference."""
    stacks: tuple[str, ...] = tuple(STACKS)
    backends: tuple[str, ...] = tuple(BACKENDS)


def _not_cancelled(case: Case, seen: Seen) -> Seen:
    raised = seen.raised + seen.beneath
    if raised[-1:] not in [("asyncio.CancelledError",), ("trio.Cancelled",)]:
        return seen
    if seen.beneath:
        return replace(seen, beneath=seen.beneath[:-1])
    return replace(seen, raised=seen.raised[:-1], messages=seen.messages[:-1])


def _without_cors(case: Case, seen: Seen) -> Seen:
    added = ("access-control-allow-origin", "access-control-expose-headers")
    return replace(seen, headers=[pair for pair in seen.headers if pair[0] not in added])


DIFFERENCES = (
    Difference(
        "Behind the TimeoutError or TooSlowError of an asynchronous client stands, last of all, the cancellation by "
        "which the event loop kept the deadline. On virtual time nothing is cancelled.",
        _not_cancelled,
        stacks=tuple(stack for stack in STACKS if stack.endswith(("asyncio", "trio"))),
    ),
    Difference(
        "The relay on loopback lets web pages of any origin read the answer (CORS), which no page in process asks for.",
        _without_cors,
        stacks=tuple(stack for stack in STACKS if stack.startswith("httpx")),  # the SDK shows no headers
        backends=("the relay on loopback",),
    ),
)
"""The whole list. Compared are also the texts of all exceptions, headers in their order, and chunk borders.

A body with a Content-Length has no borders on a wire: there the bytes are compared.
"""


def comparable(seen: Seen, stream: bool) -> Seen:
    return seen if stream or not isinstance(seen.body, bytes) else replace(seen, chunks=[seen.body])


INSTEAD = {Fault.refused(): tape((End(0.0, "reset"),))}
"""What the relay on loopback does in place of a fault: whoever listens cannot refuse. The request is read, and the
connection is reset before any byte of an answer."""


def _calmly(case: Case, stack: str, backend: str) -> tuple[Seen, str]:
    """What a client with a short timeout sees of a stream when nothing else delays it.

    On a busy machine even the head may take longer than that timeout, and the SDK then asks
    once more, which it does not do once a stream has begun: measured again, alone.
    """
    for _ in range(4):
        seen, url = BACKENDS[backend](case, stack, True)
        if seen.requests == 1:
            break
    return seen, url


# The SDK leaves its generators to the collector, which trio's hooks tell of.
@pytest.mark.filterwarnings("ignore:Async generator 'openai:ResourceWarning")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stack", STACKS)
def test_in_process_a_client_sees_of_each_fault_what_it_sees_of_a_socket(
    stack: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How often the SDK asks again is compared; how long it waits before that would only cost time here.
    monkeypatch.setattr(BaseClient, "_calculate_retry_timeout", lambda *_: 0.01)
    with ThreadPoolExecutor(8) as pool:
        wire = list(pool.map(lambda run: BACKENDS[backend](run[0], stack, run[1]), RUNS))
    listed = [each for each in DIFFERENCES if stack in each.stacks and backend in each.backends]
    needed = []
    for (case, stream), (there, url) in zip(RUNS, wire, strict=True):
        if stream and there.requests > 1 and case.fault is not None and case.fault.kind == "stall":
            there, url = _calmly(case, stack, backend)
        for known in listed:
            if (without := known.without(case, there)) != there:
                needed.append(known.reason)
                there = without
        if backend == "the relay on loopback" and case.fault in INSTEAD:
            assert comparable(in_process(case, stack, stream, url), stream) != comparable(there, stream), (
                "as in process"
            )
            here = in_process(Case(None), stack, stream, url, INSTEAD[case.fault])
        else:
            here = in_process(case, stack, stream, url)
        assert comparable(here, stream) == comparable(there, stream), f"{case}, stream={stream}"
    assert set(needed) == {known.reason for known in listed}, "a difference that is none any more"


def test_the_table_has_every_fault_there_is() -> None:
    kinds = {name for name, member in vars(Fault).items() if isinstance(member, classmethod)}
    assert {case.fault.kind for case in CASES if case.fault is not None} == kinds


@cache
def seen(fault: Fault | None, stack: str, stream: bool) -> Seen:
    (case,) = (case for case in CASES if case.fault == fault)
    return in_process(case, stack, stream)


# Not only that both are equal, also what they are: measured on sockets before there was a double.


@pytest.mark.parametrize(
    ("fault", "stream", "raised", "requests"),
    [
        (None, True, (), 1),
        (Fault.refused(), True, ("APIConnectionError", "ConnectError", "ConnectError"), 3),
        (Fault.unanswered(), False, ("APITimeoutError", "ReadTimeout", "ReadTimeout"), 3),
        (Fault.late(600.0), True, ("APITimeoutError", "ReadTimeout", "ReadTimeout"), 3),
        (Fault.disconnect(), True, ("APIConnectionError", "RemoteProtocolError", "RemoteProtocolError"), 3),
        (Fault.reset(frame=3), True, ("APIConnectionError", "ReadError", "ReadError", "ConnectionResetError"), 1),
        (Fault.close(frame=3), True, ("APIConnectionError", *3 * ["RemoteProtocolError"]), 1),
        (Fault.end(frame=3), True, (), 1),
        (Fault.stall(600.0, frame=3), True, ("APITimeoutError", "ReadTimeout", "ReadTimeout", "TimeoutError"), 1),
        (Fault.malformed(3), True, ("JSONDecodeError",), 1),
        (Fault.error_frame(frame=3), True, ("APIError",), 1),
        (Fault.error_frame(), False, (), 1),
        (Fault.status(400), True, ("BadRequestError",), 1),
        (Fault.status(429, retry_after=0.05), False, ("RateLimitError",), 3),
        (Fault.status(524), False, ("InternalServerError",), 3),
        (Fault.html(200), False, (), 1),
    ],
    ids=repr,
)
def test_the_sdk_raises_and_asks_again_as_it_was_measured_to(
    fault: Fault | None, stream: bool, raised: tuple[str, ...], requests: int
) -> None:
    found = seen(fault, "openai", stream)
    names = tuple(each.rpartition(".")[2] for each in found.raised if "HTTPStatusError" not in each)
    assert (names, found.requests) == (raised, requests)


def test_a_reset_after_the_third_frame_leaves_the_three_chunks_before_it() -> None:
    whole, broken = (seen(fault, "openai", True).chunks for fault in (None, Fault.reset(frame=3)))
    assert broken == whole[:3]


def test_the_table_of_faults_can_be_printed() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "fault_table.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for case in CASES:
        assert case.fault is None or f"`{case}`" in done.stdout


def test_the_page_on_faults_has_the_table_as_it_is_measured() -> None:
    if not PAGE.exists():
        pytest.skip("docs/faults.md is not written yet")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "fault_table.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_case_applies_its_fault_to_what_is_played() -> None:
    for case, stream in RUNS:
        if case.fault is not None:
            assert case.reply(stream) != Case(None).reply(stream), case
