"""Rules of a project's own, from its `pyproject.toml`: what they may say, and all that heeds them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tickertape.cli import main
from tickertape.testing import RecordingProxy, Tape
from tickertape.testing._facts import Interaction
from tickertape.testing._shelf import Shelf
from tickertape.testing._wire import Request, body_of, whole
from tickertape.testing.recorder import Recorder
from tickertape.testing.redaction import RULES, ConfigError, Redactor

# The server that stands for a relay elsewhere, and pytest runs against it.
from .test_record_modes import run, said, started, tapes, upstream  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tickertape.testing.server import RelayServer

RULE = """
[[tool.tickertape.redact]]
name = "tenant"
pattern = 'tenant-([a-z0-9]{6})'
family = "tenant"
"""
TOLD = "> 生成失败: tenant-4f2a9c has no quota\n"
HIDDEN = "> 生成失败: tenant-REDACTED-tenant-1 has no quota\n"


def config(folder: Path, text: str = RULE, name: str = "pyproject.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, "utf-8")
    return path


# -- what a file says ---------------------------------------------------------------------------------


def test_a_pattern_makes_placeholders_of_its_family(tmp_path: Path) -> None:
    config(tmp_path)
    assert Redactor.configured(tmp_path).redact(TOLD) == HIDDEN


def test_a_side_is_the_only_one_that_is_looked_at(tmp_path: Path) -> None:
    config(tmp_path, RULE + 'side = "request"\n')
    request = Request("POST", "https://relay.example/v1/x", body=b'{"user_hint": "tenant-4f2a9c"}')
    assert b"REDACTED-tenant-1" in Redactor.configured(tmp_path).redact(request).body
    assert Redactor.configured(tmp_path).redact(TOLD) == TOLD


def test_a_function_is_imported_from_the_folder_of_the_file(tmp_path: Path) -> None:
    config(tmp_path, '[[tool.tickertape.redact]]\nname = "invoice"\nfunction = "own_secrets_one:Finder.find"\n')
    source = """
        class Finder:
            def find(text):
                at = text.find("INV")
                return [(at, at + 8)] if at >= 0 else []
    """
    (tmp_path / "own_secrets_one.py").write_text(textwrap.dedent(source))
    before = list(sys.path)
    assert Redactor.configured(tmp_path).redact("paid INV-2026 twice") == "paid REDACTED-secret-1 twice"
    assert sys.path == before


def test_own_rules_come_before_the_built_in_ones_which_stay(tmp_path: Path) -> None:
    config(tmp_path)
    rules = Redactor.configured(tmp_path).rules
    assert (rules[0].name, rules[1:]) == ("tenant", RULES)


def test_the_nearest_file_with_a_table_counts(tmp_path: Path) -> None:
    config(tmp_path)
    config(tmp_path / "package", "[tool.other]\n")
    (tmp_path / "package" / "tests").mkdir()
    assert Redactor.configured(tmp_path / "package" / "tests").redact(TOLD) == HIDDEN
    config(tmp_path / "package", "[tool.tickertape]\nredact = []\n")
    assert Redactor.configured(tmp_path / "package" / "tests").rules == RULES


def test_without_a_file_the_built_in_rules_are_all(tmp_path: Path) -> None:
    assert Redactor.configured(tmp_path).rules == RULES


def entry(text: str) -> str:
    return f"[[tool.tickertape.redact]]\n{text}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tool.tickertape", "no TOML"),
        ("[tool.tickertape]\ntapes = 'x'", "has 'tapes'; expected [[tool.tickertape.redact]] alone"),
        ("[tool.tickertape]\nredact = 'x'", "a table for each rule"),
        ("[tool]\ntickertape = 3", "a table for each rule"),
        (entry("pattern = 'x'"), 'has no name; expected name = "tenant"'),
        (entry("name = 'a'"), "expected one of pattern, a regular expression, and function"),
        (entry("name = 'a'\npattern = 'x'\nfunction = 'a:b'"), "expected one of pattern"),
        (entry("name = 'a'\npattern = ''"), "pattern = ''; expected a text"),
        (entry("name = 'a'\npattern = 3"), "pattern = 3; expected a text"),
        (entry("name = 'a'\npattern = '('"), "pattern = '(' is no regular expression: missing )"),
        (entry("name = 'a'\npattern = 'x'\nfamily = 'A 1'"), "expected lower-case letters"),
        (entry("name = 'a'\npattern = 'x'\nside = 'both'"), "side = 'both'; expected 'request', 'response'"),
        (entry("name = 'a'\npattern = 'x'\nflags = 'i'"), "unknown key 'flags'; expected name, pattern"),
        (entry("name = 'a'\nfunction = 'no_such_module_here:f'"), "ModuleNotFoundError"),
        (entry("name = 'a'\nfunction = 'json:nothing'"), "AttributeError"),
        (entry("name = 'a'\nfunction = 'json'"), "expected 'module:name'"),
        (entry("name = 'a'\nfunction = 'json:__name__'"), "is str; expected what can be called"),
    ],
)
def test_what_a_file_cannot_say_is_told_with_its_place(text: str, told: str, tmp_path: Path) -> None:
    path = config(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        Redactor.configured(tmp_path)
    assert str(raised.value).startswith(f"{path}: ")
    assert told in str(raised.value)


def test_a_file_that_is_named_and_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"own\.toml: No such file"):
        Redactor.configured(tmp_path / "own.toml")


def test_a_span_that_is_not_in_the_text_is_told_with_the_rule(tmp_path: Path) -> None:
    config(tmp_path, '[[tool.tickertape.redact]]\nname = "far"\nfunction = "own_secrets_two:find"\n')
    (tmp_path / "own_secrets_two.py").write_text("def find(text):\n    return [(0, len(text) + 1)]\n")
    with pytest.raises(ConfigError, match=r"1 \(far\): .* returned \(0, 3\) for a text of 2; expected places in it"):
        Redactor.configured(tmp_path).redact("ab")


@pytest.mark.parametrize(
    ("number", "body", "told"),
    [
        (1, "raise KeyError('x')", "raised KeyError: 'x'"),
        (2, "return None", "returned None"),
        (3, "return ['a']", "returned a value of type str among its spans"),
        (4, "return 'ab'", "returned a value of type str"),
        (5, "return [(0, 1, 2)]", "returned a tuple of int, int, int among its spans"),
        (6, "return [(0.0, 1)]", "returned a tuple of float, int among its spans"),
        (7, "yield 0, 1; raise ValueError('late')", "raised ValueError: late"),
    ],
)
def test_a_function_that_does_not_do_as_it_should_is_told_with_the_rule(
    number: int, body: str, told: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = f"own_secrets_wrong_{number}"
    path = config(project, f'[[tool.tickertape.redact]]\nname = "far"\nfunction = "{module}:find"\n')
    (project / f"{module}.py").write_text(f"def find(text):\n    {body}\n")
    assert main(["verify", "cat.jsonl"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{path}: [[tool.tickertape.redact]] 1 (far): function = '{module}:find' {told}; expected an iter" in line


# -- who heeds it -------------------------------------------------------------------------------------


def chat(content: str) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": content}}]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a rule and a tape that holds what the rule finds; the one we are in."""
    config(tmp_path)
    Tape("x/cat", interactions=(Interaction(None, whole(200, chat(TOLD))),)).save(tmp_path / "cat.jsonl")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_verify_finds_what_the_project_calls_a_secret(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "cat.jsonl"]) == 1
    assert "secret" in capsys.readouterr().out
    assert main(["verify", "--config", str(config(project, "[tool.tickertape]\n", "none.toml")), "cat.jsonl"]) == 0


def test_migrate_takes_it_out(project: Path) -> None:
    assert main(["migrate", "cat.jsonl"]) == 0
    assert Tape.load(project / "cat.jsonl").task.text == HIDDEN


def test_import_takes_it_out(project: Path) -> None:
    request = {"method": "POST", "url": "https://relay.example/v1/chat/completions", "headers": []}
    response = {
        "status": 200,
        "headers": [{"name": "content-type", "value": "application/json"}],
        "content": {"text": json.dumps(chat(TOLD)), "mimeType": "application/json"},
    }
    (project / "one.har").write_text(json.dumps({"log": {"entries": [{"request": request, "response": response}]}}))
    assert main(["import", "--out", "out", "one.har"]) == 0
    assert Tape.load(project / "out" / "one.jsonl").task.text == HIDDEN


@pytest.mark.parametrize(
    "command", [["verify", "cat.jsonl"], ["record", "--upstream", "http://x.example", "--out", "."]]
)
def test_a_command_tells_what_is_wrong_with_the_file(
    command: list[str], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config(project, entry("pattern = 'x'"))
    assert main(command) == 2
    assert "has no name" in capsys.readouterr().err


def test_the_record_command_keeps_it_off_the_tape(project: Path, upstream: RelayServer) -> None:  # noqa: F811
    upstream.play(said(TOLD))
    command = [sys.executable, "-m", "tickertape", "record", "--upstream", upstream.base_url, "--out", "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        body = {"model": "m", "messages": [{"role": "user", "content": "for tenant-4f2a9c"}]}
        answer = httpx.post(f"{url}/chat/completions", json=body, headers={"authorization": "Bearer sk-x"})
        assert answer.json() == chat(TOLD) | answer.json()
        process.terminate()
        process.communicate(timeout=30)
    (interaction,) = Tape.load(project / "out" / "m-001.jsonl").interactions
    assert interaction.request is not None
    assert interaction.request.json["messages"][0]["content"] == "for tenant-REDACTED-tenant-1"
    assert HIDDEN in json.loads(body_of(interaction.reply))["choices"][0]["message"]["content"]


def test_in_a_test_it_is_kept_off_the_tape_and_still_matched(
    run: Callable[..., Any],  # noqa: F811
    upstream: RelayServer,  # noqa: F811
    pytester: pytest.Pytester,
) -> None:
    config(pytester.path)
    pytester.makeini("[pytest]\n")
    upstream.reset()
    upstream.play(said(TOLD))
    source = """
        @pytest.mark.tickertape(tape="shop/cat", record="once")
        def test_it(fake_relay):
            assert "has no quota" in str(ask("for tenant-%s"))
    """
    run(source % "4f2a9c").assert_outcomes(passed=1)
    assert tapes(pytester) == ["shop/cat.jsonl"]
    tape = Tape.load(pytester.path / "tests" / "tapes" / "shop" / "cat.jsonl")
    assert tape.task.text == HIDDEN
    assert len(upstream.calls) == 1
    run(source % "0000aa").assert_outcomes(passed=1)  # another tenant is the same request
    assert len(upstream.calls) == 1


def test_in_a_test_a_wrong_file_fails_it_with_the_place(run: Callable[..., Any], pytester: pytest.Pytester) -> None:  # noqa: F811
    path = config(pytester.path, entry("pattern = 'x'"))
    pytester.makeini("[pytest]\n")
    result = run("""
        @pytest.mark.tickertape(tape="shop/cat", record="once")
        def test_it(fake_relay):
            ask()

        def test_that_records_nothing(fake_relay):
            fake_relay.play(Scenario.image("a cat"))
            ask()
    """)
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines([f"{path}: *has no name*"])


# -- what a grown tape costs --------------------------------------------------------------------------


def test_polls_that_tell_no_new_secret_do_not_redact_the_tape_again(tmp_path: Path) -> None:
    recorder = Recorder()
    shelf, asked = Shelf(tmp_path, recorder), []
    redacted = recorder.redacted

    def counted(tape: Tape) -> Tape:
        asked.append(len(tape.interactions))
        return redacted(tape)

    recorder.redacted = counted  # type: ignore[method-assign]

    def kept(number: int, method: str, target: str, data: bytes) -> Path:
        take = recorder.begin(Request(method, f"https://relay.example{target}", body=b'{"model": "m"}'))
        take.head(0.0, 200, [("content-type", "application/json")])
        take.data(0.0, data)
        take.end(0.0, "eof")
        path = shelf.add(number, take)
        assert list(shelf.save()) == [(path, None)]
        return path

    secret = "sk-" + "a1B2" * 12
    path = kept(0, "POST", "/v1/chat/completions", json.dumps(chat("> ID: `task_0000001`\n")).encode())
    for number in range(1, 20):
        kept(number, "GET", "/v1/videos/task_0000001", b'{"status": "processing", "progress": %d}' % number)
    assert asked == [1] * 20
    kept(20, "GET", "/v1/videos/task_0000001", b'{"status": "processing", "key": "%b"}' % secret.encode())
    assert asked[20:] == [1, 21]  # what it tells may stand in the earlier ones
    shelf.close()
    assert len(Tape.load(path).interactions) == 21
    assert secret not in path.read_text("utf-8")


def test_a_proxy_takes_a_redactor(tmp_path: Path, upstream: RelayServer) -> None:  # noqa: F811
    config(tmp_path)
    upstream.play(said(TOLD))
    with RecordingProxy(upstream.base_url, tmp_path / "out", redactor=Redactor.configured(tmp_path)) as proxy:
        body = {"model": "m", "messages": [{"role": "user", "content": "a cat"}]}
        httpx.post(f"{proxy.base_url}/chat/completions", json=body, headers={"authorization": "Bearer sk-x"})
    assert Tape.load(proxy.tapes[0]).task.text == HIDDEN


def test_the_rules_are_those_of_the_project_that_the_tape_is_in(
    project: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert main(["verify", str(project / "cat.jsonl")]) == 1
    assert main(["migrate", str(project)]) == 0
    assert Tape.load(project / "cat.jsonl").task.text == HIDDEN
    capsys.readouterr()
