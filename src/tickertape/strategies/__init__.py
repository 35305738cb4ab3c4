"""Strategies for hypothesis: every stream a relay could send, and every way it goes wrong.

    @given(st.data())
    def test_any_stream_ends_with_a_verdict(data):
        with FakeRelay(strict=False) as relay:
            relay.play(data.draw(scenarios()))
            ...

`scenarios()`, `faults()` and `tapes()` are played by a `FakeRelay`; `contents()`,
`chunkings()` and `responses()` are read; `tasks()` are what has been read. Arguments
say what is valid, by keyword, and are checked when a strategy is made. As with
`tickertape` itself, a name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._contents import chunkings, contents
    from ._played import ENDS, TRAITS, Response, faults, responses, scenarios, tapes
    from ._stateful import RelayMachine
    from ._tasks import tasks

__all__ = [
    "ENDS",
    "TRAITS",
    "RelayMachine",
    "Response",
    "chunkings",
    "contents",
    "faults",
    "responses",
    "scenarios",
    "tapes",
    "tasks",
]

_MODULES = {
    "._contents": ("chunkings", "contents"),
    "._played": ("ENDS", "TRAITS", "Response", "faults", "responses", "scenarios", "tapes"),
    "._stateful": ("RelayMachine",),
    "._tasks": ("tasks",),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            try:
                loaded = import_module(module, __name__)
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(
                    f"tickertape.strategies.{name} needs {error.name}: pip install 'tickertape[testing]'",
                    name=error.name,
                ) from error
            globals().update({n: getattr(loaded, n) for n in names})
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
