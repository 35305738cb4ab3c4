"""httpx alone: all that `tickertape[testing]` brings with it."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import pytest

from .bare import *  # noqa: F403


@pytest.fixture
def http() -> Any:
    import httpx

    return httpx


def test_no_other_client_is_needed() -> None:
    if "NOX_CURRENT_SESSION" not in os.environ:
        pytest.skip("only the environment of nox -s httpx_only has no other client")
    for name in ("httpx2", "openai", "aiohttp", "requests", "trio"):
        assert importlib.util.find_spec(name) is None, name
