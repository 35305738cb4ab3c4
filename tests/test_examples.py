"""The downstream project of `examples/` passes its own tests, with this tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("example", sorted(path.parent.name for path in ROOT.glob("examples/*/pyproject.toml")))
def test_an_example_passes_its_own_tests_without_a_warning(example: str) -> None:
    # pytest-asyncio, which no example uses, warns where its ini key is not set.
    command = [sys.executable, "-m", "pytest", f"examples/{example}", "-W", "error"]
    plugins = ["-p", "no:asyncio", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *plugins], capture_output=True, text=True, cwd=ROOT, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_an_example() -> None:
    assert (ROOT / "examples/picture_bot/picture_bot.py").is_file()
