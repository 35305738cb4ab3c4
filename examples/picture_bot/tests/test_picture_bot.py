"""The bot against a relay in process. Nothing waits, and nothing reaches the network."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import httpx
import picture_bot
import pytest
from picture_bot import PictureBot, PictureError

from tickertape.testing import Fault, Scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.testing import FakeRelay

CAT = Scenario.image("a cat", n=2).progress(14, 48)
PNG = b"\x89PNG\r\n"


def test_two_pictures_are_ordered_shown_and_saved(
    fake_relay: FakeRelay, bot: PictureBot, shown: list[float], tmp_path: Path
) -> None:
    fake_relay.play(CAT)
    first, second = bot.draw("a cat", tmp_path / "new")
    assert shown == [14, 48]
    assert (first.name, second.name) == ("picture-1.png", "picture-2.png")
    assert first.read_bytes().startswith(PNG)
    assert first.read_bytes() != second.read_bytes()
    assert fake_relay.calls.first.prompt == "a cat"
    fake_relay.assert_well_behaved()


@pytest.mark.tickertape(tape="gpt-image-1.5/cat-drinking-milk")
def test_the_answer_of_a_real_relay_is_understood(fake_relay: FakeRelay, bot: PictureBot, tmp_path: Path) -> None:
    pictures = bot.draw("图中形象在喝牛奶", tmp_path)
    assert all(picture.read_bytes().startswith(PNG) for picture in pictures)
    assert len(pictures) == len(fake_relay.calls.chats.last.task.results)  # type: ignore[union-attr]
    fake_relay.assert_well_behaved()


def test_what_is_saved_is_the_result_and_not_its_cover(fake_relay: FakeRelay, bot: PictureBot, tmp_path: Path) -> None:
    fake_relay.play(Scenario.video("a train").dialect("veo3"))
    (clip,) = bot.draw("a train", tmp_path)
    assert clip.suffix == ".mp4"
    assert {call.role for call in fake_relay.calls.media} <= {"result", "download"}
    fake_relay.assert_well_behaved()


def test_a_picture_that_moderation_stops_is_not_ordered_again(
    fake_relay: FakeRelay, bot: PictureBot, tmp_path: Path
) -> None:
    fake_relay.play(CAT.fail("input_moderation"))
    with pytest.raises(PictureError, match="moderation") as caught:
        bot.draw("a cat", tmp_path)
    assert caught.value.task.error is not None
    assert caught.value.task.error.category == "moderation"
    assert not list(tmp_path.iterdir())
    fake_relay.assert_well_behaved()


@pytest.mark.parametrize(
    ("scenario", "category"),
    [
        (Scenario.image("a cat").refuse("I would rather talk about it."), "text_only"),
        (Scenario.image("a cat").error("the upstream is down"), "upstream"),
    ],
)
def test_other_failures_are_told_by_their_category(
    fake_relay: FakeRelay, bot: PictureBot, tmp_path: Path, scenario: Scenario, category: str
) -> None:
    fake_relay.play(scenario)
    with pytest.raises(PictureError, match=category):
        bot.draw("a cat", tmp_path)
    fake_relay.assert_well_behaved()


def test_a_busy_relay_is_asked_again_when_it_said_so(fake_relay: FakeRelay, bot: PictureBot, tmp_path: Path) -> None:
    fake_relay.fail(status=429, retry_after=7, times=2)
    fake_relay.play(CAT)
    assert len(bot.draw("a cat", tmp_path)) == 2
    first, second, third = fake_relay.calls.chats
    assert second.time - first.time == pytest.approx(7)
    assert third.time - second.time == pytest.approx(7)
    fake_relay.assert_well_behaved()


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_final_refusal_is_told_at_once(fake_relay: FakeRelay, bot: PictureBot, tmp_path: Path, status: int) -> None:
    fake_relay.fail(status=status)
    with pytest.raises(PictureError, match="refused"):
        bot.draw("a cat", tmp_path)
    assert len(fake_relay.calls) == 1
    fake_relay.assert_well_behaved()


def test_a_stream_that_is_cut_is_followed_at_the_jobs_link(
    fake_relay: FakeRelay, bot: PictureBot, tmp_path: Path
) -> None:
    fake_relay.play(CAT.cut())
    assert len(bot.draw("a cat", tmp_path)) == 2
    assert len(fake_relay.calls.chats) == 1
    assert fake_relay.calls.polls
    fake_relay.assert_well_behaved()


@pytest.mark.parametrize(
    "fault",
    [Fault.reset(event="Progress"), Fault.close(event="Progress"), Fault.stall(event="Progress")],
    ids=["reset", "closed", "silent for ever"],
)
def test_a_stream_that_breaks_is_followed_and_never_paid_twice(
    fake_relay: FakeRelay, bot: PictureBot, tmp_path: Path, fault: Fault
) -> None:
    fake_relay.play(CAT, fault=fault)
    assert len(bot.draw("a cat", tmp_path)) == 2
    assert len(fake_relay.calls.chats) == 1
    fake_relay.assert_well_behaved()


def test_ten_silent_minutes_at_99_percent_are_waited_out_by_polling(
    fake_relay: FakeRelay, bot: PictureBot, shown: list[float], tmp_path: Path
) -> None:
    fake_relay.play(Scenario.image("a cat").progress(20, 60, 99).stall(600))
    assert len(bot.draw("a cat", tmp_path)) == 1
    assert shown == [20, 60, 99]
    assert fake_relay.calls.first.ended == "timeout"
    assert fake_relay.calls.last.time > 600
    fake_relay.assert_well_behaved()


def test_a_busy_link_is_left_alone_for_as_long_as_it_says(
    fake_relay: FakeRelay, bot: PictureBot, tmp_path: Path
) -> None:
    refused: list[float] = []

    def busy_once(request: httpx.Request) -> httpx.Response | None:
        if refused:
            return None  # the relay answers
        refused.append(fake_relay.clock.now)
        return httpx.Response(429, headers={"Retry-After": "120"}, json={"error": {"message": "slow down"}})

    fake_relay.play(CAT.cut())
    fake_relay.router.get(path__regex="^/source/").mock(side_effect=busy_once)
    assert len(bot.draw("a cat", tmp_path)) == 2
    assert fake_relay.calls.polls.first.time - refused[0] == pytest.approx(120)


def test_patience_ends_and_the_link_is_told(fake_relay: FakeRelay, relay_client: Any, tmp_path: Path) -> None:
    fake_relay.play(Scenario.image("a cat").progress(99).stall(3600))
    bot = PictureBot(relay_client(), patience=300)
    with pytest.raises(PictureError, match=r"patience, ask again at https://.+/source/"):
        bot.draw("a cat", tmp_path)
    bot.close()
    assert fake_relay.clock.now < 300
    fake_relay.assert_well_behaved(allow=["gave_up"])


def test_the_command_prints_where_the_pictures_are(
    fake_relay: FakeRelay, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fake_relay.play(CAT)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://relay.example/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-picture-bot")
    monkeypatch.setattr(sys, "argv", ["picture_bot.py", "a cat", str(tmp_path)])
    picture_bot.main()
    printed = capsys.readouterr()
    assert printed.out.split() == [str(tmp_path / "picture-1.png"), str(tmp_path / "picture-2.png")]
    assert printed.err.split("\n")[:2] == ["14 %", "48 %"]


def test_the_command_tells_a_failure_in_one_line(
    fake_relay: FakeRelay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_relay.play(CAT.fail("input_moderation"))
    monkeypatch.setenv("OPENAI_BASE_URL", "https://relay.example/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-picture-bot")
    monkeypatch.setattr(sys, "argv", ["picture_bot.py", "a cat", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^moderation: "):
        picture_bot.main()
