"""What all tests share: one way to read a text in every way it can arrive."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import tickertape

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.events import Event

pytest_plugins = ["pytester"]


def read(pieces: list[str], **options: int) -> list[Event]:
    """The events of content that arrives in these pieces."""
    parser = tickertape.Parser(**options)  # type: ignore[arg-type]
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.close()


def cut(text: str, seed: int) -> list[str]:
    """The text in random pieces of 1 to 9 characters."""
    rng, pieces, at = random.Random(seed), [], 0
    while at < len(text):
        size = rng.randint(1, 9)
        pieces.append(text[at : at + size])
        at += size
    return pieces


@pytest.fixture(scope="session")
def events_of() -> Callable[[str], list[Event]]:
    """Reads a text whole, by characters and in random chunks, and gives the events, which must be equal."""

    def events(text: str) -> list[Event]:
        whole = read([text])
        assert read(list(text)) == whole
        for seed in range(3):
            assert read(cut(text, seed)) == whole
        assert "".join(text[event.start : event.end] for event in whole) == text
        return whole

    return events


# Machines are noisy: how long one example takes says nothing. Failures must replay, and a change is
# judged by the same examples each time; new ones are looked for by hand, and with the thorough profile.
settings.register_profile("default", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
