"""What the test double raises.

UnmatchedRequest          nothing was played for this request (a BaseException, see there)
├── UncoveredTransport    the request came by a library that is not answered in process
└── UnusablePlay          what was played for it cannot answer it
EndlessWait               the client waits for ever (a BaseException too)
UnplayedError             something was played for requests that never came

`TapeError`, `ScenarioError` and `FaultError` are `TickertapeError`s: mistakes in
what a test hands to the relay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import TickertapeError

if TYPE_CHECKING:
    from ._wire import Request


class UnmatchedRequest(BaseException):
    """A request that nothing was played for. It never reached the network.

    Not an `Exception`, as pytest's own failures are not: an SDK that retries on
    every exception (openai 2) would ask again and tell of a connection error,
    and an application that logs and goes on would pass its test.
    """

    def __init__(self, message: str, request: Request | None = None) -> None:
        super().__init__(message)
        self.request = request
        """The request, where there was one (a refused socket has none)."""


class UncoveredTransport(UnmatchedRequest):
    """A request by a library that the in-process relay cannot answer: aiohttp, requests, a socket."""


class UnusablePlay(UnmatchedRequest):
    """What was played for a request cannot answer it: a fault has no place there, a condition raised.

    The mistake itself is the `__cause__`.
    """


class EndlessWait(BaseException):
    """The relay never answers, and the client has no read timeout: on a socket it would wait for ever."""


class UnplayedError(TickertapeError, AssertionError):
    """Something was played that no request asked for, or not as often as it should have been."""


def short(value: Any, width: int = 60) -> str:
    """A value as messages show it."""
    shown = repr(value)
    return shown if len(shown) <= width else shown[: width - 1] + "…"
