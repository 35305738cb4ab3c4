"""Test doubles for relays: tapes, scenarios, faults; in process or on loopback.

    from tickertape.testing import FakeRelay, Scenario

    with FakeRelay() as relay:
        relay.play(Scenario.image("a cat", n=2).progress(14, 48).fail("input_moderation"))

As with `tickertape` itself, a name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._errors import TapeError
    from ._errors import EndlessWait, UncoveredTransport, UnmatchedRequest, UnplayedError, UnusablePlay
    from ._facts import Interaction
    from ._journal import Call, Calls
    from ._matching import When
    from ._proxy import RecordingProxy
    from ._verdict import ClientMisbehaved, Finding
    from .fake_relay import FakeRelay
    from .faults import Fault
    from .scenario import Scenario
    from .server import RelayServer
    from .tape import Tape

__all__ = [
    "Call",
    "Calls",
    "ClientMisbehaved",
    "EndlessWait",
    "FakeRelay",
    "Fault",
    "Finding",
    "Interaction",
    "RecordingProxy",
    "RelayServer",
    "Scenario",
    "Tape",
    "TapeError",
    "UncoveredTransport",
    "UnmatchedRequest",
    "UnplayedError",
    "UnusablePlay",
    "When",
]

_MODULES = {
    "._errors": ("EndlessWait", "UncoveredTransport", "UnmatchedRequest", "UnplayedError", "UnusablePlay"),
    "._journal": ("Call", "Calls"),
    "._matching": ("When",),
    "._proxy": ("RecordingProxy",),
    "._verdict": ("ClientMisbehaved", "Finding"),
    ".fake_relay": ("FakeRelay",),
    ".faults": ("Fault",),
    ".scenario": ("Scenario",),
    ".server": ("RelayServer",),
    "._facts": ("Interaction",),
    ".tape": ("Tape",),
    ".._errors": ("TapeError",),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            try:
                loaded = import_module(module, __name__)
            except ModuleNotFoundError as error:
                extra = "server" if module in (".server", "._proxy") else "testing"
                raise ModuleNotFoundError(
                    f"tickertape.testing.{name} needs {error.name}: pip install 'tickertape[{extra}]'", name=error.name
                ) from error
            globals().update({n: getattr(loaded, n) for n in names})
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
