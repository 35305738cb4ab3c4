"""For every stream that a relay could send: the pictures, or why there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from stream_reader import NoPicture, first_draft, pictures

from tickertape.strategies import chunkings, scenarios
from tickertape.testing import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IMAGES = scenarios(dialects="gpt-image-1.5", traits=("retry", "stall", "fewer"), ends=("complete", "fail", "cut"))


def right(reader: Callable[[Iterable[str]], list[str]], scenario: Scenario, pieces: Iterable[str]) -> bool:
    """Whether the reader says what the scenario was written to say."""
    expected = [result["url"] for result in scenario.bind().expected_content["results"]]
    try:
        found = reader(pieces)
    except NoPicture:
        return not expected
    return found == expected != []


@settings(deadline=None)  # how long one example takes says nothing on a busy machine
@given(st.data())
def test_every_stream_ends_in_its_pictures_or_in_a_reason(data: st.DataObject) -> None:
    scenario = data.draw(IMAGES)
    pieces = data.draw(chunkings(scenario.bind().content))
    assert right(pictures, scenario, pieces)


def test_the_first_draft_is_wrong_on_a_stream_that_a_strategy_finds() -> None:
    plain = settings(max_examples=2000, database=None, derandomize=True)
    scenario = find(
        IMAGES, lambda drawn: not right(first_draft, drawn, [text for _, text in drawn.bind().deltas]), settings=plain
    )
    assert repr(scenario) == "Scenario.image('a cat').cut()"  # no picture, no reason, and nothing is raised


def test_the_stream_that_was_found_is_read_now() -> None:
    deltas = [text for _, text in Scenario.image("a cat").cut().bind().deltas]
    assert first_draft(deltas) == []
    with pytest.raises(NoPicture):
        pictures(deltas)
