"""httpx2, without an SDK."""

from __future__ import annotations

from typing import Any

import pytest

httpx2: Any = pytest.importorskip("httpx2", reason="httpx2 is not installed; nox -s httpx2_only")

from .bare import *  # noqa: E402, F403


@pytest.fixture
def http() -> Any:
    return httpx2
