"""The bot, as its users run it: a command of its own, in a process that no double reaches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tickertape.testing import Scenario

if TYPE_CHECKING:
    from tickertape.testing import RelayServer

BOT = Path(__file__).parents[1] / "picture_bot.py"


def draw(relay: RelayServer, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OPENAI_BASE_URL": relay.base_url, "OPENAI_API_KEY": "sk-picture-bot", "NO_PROXY": "*"}
    return subprocess.run(
        [sys.executable, str(BOT), "a cat", str(folder)], env=environment, capture_output=True, text=True, timeout=30
    )


def test_the_command_draws_and_shows_how_far_it_is(relay_server: RelayServer, tmp_path: Path) -> None:
    relay_server.play(Scenario.image("a cat", n=2).progress(14, 48))
    done = draw(relay_server, tmp_path)
    assert (done.returncode, done.stderr.split("\n")[:2]) == (0, ["14 %", "48 %"])
    pictures = [Path(line) for line in done.stdout.splitlines()]
    assert [picture.read_bytes()[:4] for picture in pictures] == 2 * [b"\x89PNG"]
    relay_server.assert_well_behaved()


def test_the_command_tells_a_failure_in_one_line_and_orders_once(relay_server: RelayServer, tmp_path: Path) -> None:
    relay_server.play(Scenario.image("a cat").fail("input_moderation"))
    done = draw(relay_server, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("moderation: ")
    assert len(relay_server.calls) == 1
