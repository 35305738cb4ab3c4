from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from picture_bot import PictureBot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def shown() -> list[float]:
    """The percentages that the bot showed."""
    return []


@pytest.fixture
def bot(relay_client: Callable[..., Any], shown: list[float]) -> Iterator[PictureBot]:
    bot = PictureBot(relay_client(), show=shown.append)
    yield bot
    bot.close()
