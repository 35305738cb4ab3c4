"""`tickertape list`: what there is to play, how old it is, and who uses it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tickertape.cli import main
from tickertape.testing import Scenario, Tape, TapeError
from tickertape.testing._facts import Interaction
from tickertape.testing._gallery import gallery
from tickertape.testing._wire import Data, Request, streamed, whole
from tickertape.testing.catalogue import catalogue, project_tapes, scenarios, users

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DONE = "> 生成完成 ✅\n\n![cat](https://cdn.example/cat.png)\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TICKERTAPE_TAPES", raising=False)
    return tmp_path


def write(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, "utf-8")


def save(name: str, recorded: str | None = "2026-11-20T12:00:00Z", model: str = "sora-2-pro") -> None:
    frame = b"data: " + json.dumps({"choices": [{"delta": {"content": DONE}}]}).encode() + b"\n\n"
    body = json.dumps({"model": model}).encode()
    chat = Interaction(
        Request("POST", "https://r.example/v1/chat/completions", {}, body), streamed(200, [Data(41.3, frame)])
    )
    poll = Interaction(Request("GET", "https://r.example/v1/tasks/1"), whole(200, {"id": "1", "status": "queued"}))
    Tape(name, "", recorded, (chat, poll)).save(Path("tests/tapes", f"{name}.jsonl"))


def test_a_tape_is_listed_with_what_it_tells() -> None:
    save("checkout/cat")
    write("tests/test_checkout.py", 'fake_relay.play("checkout/cat")\n')
    (entry,) = catalogue("tests/tapes", tests="tests", now=NOW)
    assert entry.as_dict() == {
        "name": "checkout/cat",
        "path": str(Path("tests/tapes/checkout/cat.jsonl")),
        "dialect": "sora-2",
        "status": "completed",
        "duration": 41.3,
        "recorded": "2026-11-20T12:00:00Z",
        "age_days": 2,
        "interactions": 2,
        "used_by": ["tests/test_checkout.py"],
        "error": None,
    }


@pytest.mark.parametrize(
    ("recorded", "age"),
    [("2026-11-22T11:59:00Z", 0), ("2025-11-22T12:00:00+00:00", 365), ("2027-01-01", 0), ("soon", None), (None, None)],
)
def test_the_age_is_told_by_the_tape_and_not_by_the_file(recorded: str | None, age: int | None) -> None:
    save("cat", recorded)
    assert [entry.age_days for entry in catalogue("tests/tapes", now=NOW)] == [age]


def test_the_gallery_is_listed_where_nothing_is_asked_for() -> None:
    entries = catalogue()
    assert tuple(entry.name for entry in entries) == gallery()
    assert {entry.dialect for entry in entries} == {name.partition("/")[0] for name in gallery()}
    # Bare files have no times.
    assert {entry.duration for entry in entries} == {None}
    assert not any(entry.error for entry in entries)


def test_a_model_that_no_family_is_named_like_tells_no_dialect() -> None:
    save("cat", model="my-model")
    assert [entry.dialect for entry in catalogue("tests/tapes")] == [None]


def test_a_tape_that_cannot_be_read_is_listed_with_why() -> None:
    write("tests/tapes/cat.jsonl", "{}\n")
    (entry,) = catalogue("tests/tapes")
    assert entry.error is not None
    assert "no header" in entry.error
    assert entry.status is None


def test_a_file_is_listed_by_itself_and_a_path_that_is_not_there_is_an_error() -> None:
    save("checkout/cat")
    assert [entry.name for entry in catalogue("tests/tapes/checkout/cat.jsonl")] == ["checkout/cat"]
    with pytest.raises(TapeError, match="check the path"):
        catalogue("nowhere")


# -- users ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'play("checkout/cat")',
        "play('checkout/cat.jsonl')",
        'Tape.load("tests/tapes/checkout/cat.jsonl")',
        '@pytest.mark.tickertape(tape="checkout/cat", record="once")',
        "# see checkout/cat",
        "tape: checkout/cat\n",
    ],
)
def test_a_file_that_names_a_tape_uses_it(text: str) -> None:
    write("tests/test_a.py", text)
    assert users({"checkout/cat"}, "tests") == {"checkout/cat": ["tests/test_a.py"]}


@pytest.mark.parametrize("text", ['play("checkout/cat-2")', 'play("checkout/category")', "checkoutXcat", ""])
def test_a_longer_name_is_another_one(text: str) -> None:
    write("tests/test_a.py", text)
    assert users({"checkout/cat"}, "tests") == {}


def test_of_two_names_the_whole_one_is_meant() -> None:
    write("tests/test_a.py", 'play("a/cat.v2")')
    assert users({"a/cat", "a/cat.v2"}, "tests") == {"a/cat.v2": ["tests/test_a.py"]}


@pytest.mark.parametrize("name", [".venv/test_a.py", "node_modules/a.js", "site-packages/a.py", "tests/a.bin"])
def test_what_is_no_source_of_the_project_is_not_searched(name: str) -> None:
    write(f"tests/{name}", 'play("checkout/cat")')
    assert users({"checkout/cat"}, "tests") == {}


def test_only_so_much_of_a_file_is_searched() -> None:
    write("tests/test_a.py", "#" * 1_000_001 + ' "checkout/cat"')
    assert users({"checkout/cat"}, "tests") == {}


def test_no_names_no_users() -> None:
    write("tests/test_a.py", 'play("")')
    assert users((), "tests") == {}


# -- scenarios --------------------------------------------------------------------------------------


def test_every_dialect_of_scenarios_is_listed() -> None:
    listed = {each["scenario"]: each for each in scenarios()}
    assert tuple(listed) == Scenario.dialects()
    for kind in ("image", "video", "audio"):
        assert {name for name, each in listed.items() if kind in each["kinds"]} == set(Scenario.dialects(kind))


# -- the command ------------------------------------------------------------------------------------


def test_the_command_lists_the_projects_tapes_the_gallery_and_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    save("checkout/cat")
    write("tests/test_checkout.py", 'fake_relay.play("checkout/cat")\n')
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["TAPE", "DIALECT", "STATUS", "DURATION", "AGE", "USED", "BY"]
    (own,) = [line for line in lines if line.startswith("checkout/cat ")]
    assert own.split()[1:5] == ["sora-2", "completed", "41.3", "s"]
    assert own.endswith("tests/test_checkout.py")
    assert sum(line.split()[:1] == [name] for line in lines for name in gallery()) == len(gallery())
    assert lines[-len(scenarios()) - 1].split() == ["SCENARIO", "KINDS", "LANGUAGES"]


def test_a_path_lists_its_tapes_alone(capsys: pytest.CaptureFixture[str]) -> None:
    save("checkout/cat")
    assert main(["list", "tests/tapes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["TAPE", "checkout/cat"]


def test_json_is_an_object_a_tape_and_a_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [value["name"] for value in values if "name" in value] == list(gallery())
    assert [value["scenario"] for value in values if "scenario" in value] == list(Scenario.dialects())


def test_the_environment_tells_where_the_projects_tapes_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert project_tapes() == Path("tests/tapes")
    monkeypatch.setenv("TICKERTAPE_TAPES", "elsewhere")
    assert project_tapes() == Path("elsewhere")


@pytest.mark.parametrize("arguments", [["nowhere"], ["--tests", "nowhere"]])
def test_what_is_not_there_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_an_unreadable_tape_is_listed_and_the_others_too(capsys: pytest.CaptureFixture[str]) -> None:
    save("cat")
    write("tests/tapes/dog.jsonl", "{}\n")
    assert main(["list", "tests/tapes"]) == 0
    assert [line.split()[:1] + line.split()[2:3] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["cat", "completed"],
        ["dog", "unreadable"],
    ]
