"""`tickertape verify`: what is found in tapes made by any means, and what is not."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickertape import _arguments
from tickertape.cli import main
from tickertape.testing import Tape, TapeError, _migrate, _scanner
from tickertape.testing._facts import Interaction
from tickertape.testing._gallery import gallery, gallery_folder
from tickertape.testing._migrate import migrate
from tickertape.testing._wire import Data, End, Request, streamed, whole
from tickertape.testing.redaction import Redactor, Rule
from tickertape.testing.verify import KINDS, Finding, noted, summary, verify

from .test_redaction import PLANTED

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
KEY = "sk-" + "a1" * 24
DONE = "> 排队中..\n> 生成中.\n> 进度 36..61..\n\n> 生成完成 ✅\n\n![cat](https://cdn.example/cat.png)\n"


def chat(content: str, **headers: str) -> Interaction:
    request = Request("POST", "https://relay.example/v1/chat/completions", headers, b'{"model":"sora-2"}')
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]}
    return Interaction(request, whole(200, body))


def saved(folder: Path, *interactions: Interaction, name: str = "cat.jsonl") -> Path:
    path = folder / name
    Tape("a/cat", "a cat", "2026-11-22T12:00:00Z", interactions).save(path)
    return path


def kinds(path: Path, **options: Any) -> list[str]:
    return [finding.kind for finding in verify(path, **options)]


def edited(path: Path, old: str, new: str) -> Path:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    return path


# -- what is fine ---------------------------------------------------------------------------


def test_the_gallery_is_clean() -> None:
    assert list(verify(gallery_folder())) == []


def test_a_tape_that_was_recorded_is_clean(tmp_path: Path) -> None:
    assert kinds(saved(tmp_path, noted(chat(DONE)))) == []


# The host of a request, and so the password before it, is on no tape.
FORMS = {name: item for name, (_, item) in PLANTED.items() if name != "the password of a URL"}


@pytest.mark.parametrize("item", FORMS.values(), ids=FORMS)
def test_a_planted_secret_is_found_and_its_redacted_tape_is_clean(item: Interaction, tmp_path: Path) -> None:
    assert item.request
    if item.is_chat:  # an answer that says nothing would be refused before it is looked into
        item = replace(item, request=replace(item.request, url="https://h.example/x"))
    assert "secret" in kinds(saved(tmp_path, item))
    tape = Redactor().redact(Tape("a/b", "", None, (item,)))
    tape.save(tmp_path / "clean.jsonl")
    assert kinds(tmp_path / "clean.jsonl") == []


# -- secrets ------------------------------------------------------------------------------------


def test_a_secret_is_told_with_its_place_and_masked(tmp_path: Path) -> None:
    path = saved(tmp_path, chat(DONE, authorization=f"Bearer {KEY}"))
    (finding,) = verify(path)
    assert KEY not in str(finding)
    assert str(finding).startswith(f"{path}: secret: interaction 1: request header authorization: openai-key: ")


def test_a_secret_that_deltas_part_is_found(tmp_path: Path) -> None:
    frames = [
        Data(number / 10, b"data: " + json.dumps({"choices": [{"delta": {"content": part}}]}).encode() + b"\n\n")
        for number, part in enumerate((DONE, "key ", KEY[:9], KEY[9:]))
    ]
    assert "secret" in kinds(saved(tmp_path, Interaction(chat("").request, streamed(200, frames))))


@pytest.mark.parametrize(
    "place",
    ['{"tape": 1, "title": "x", "by": {"token": "%s"}}', '{"tape": 1, "title": "of %s"}'],
)
def test_a_secret_in_the_header_is_found(place: str, tmp_path: Path) -> None:
    path = saved(tmp_path, chat(DONE))
    lines = path.read_text("utf-8").split("\n")
    path.write_text("\n".join([place % KEY, *lines[1:]]), "utf-8")
    assert kinds(path) == ["secret"]


def test_a_secret_under_a_key_that_nobody_knows_is_found_and_taken_out(tmp_path: Path) -> None:
    path = edited(saved(tmp_path, chat(DONE)), '"method": "POST"', f'"cert": "{KEY}", "method": "POST"')
    (finding,) = verify(path)
    assert (finding.kind, finding.where) == ("secret", "interaction 1: request body $.request.cert")
    list(migrate(path))
    assert '"cert": "REDACTED-' in path.read_text("utf-8")
    assert list(verify(path)) == []


def test_a_secret_in_a_tape_that_cannot_be_read_is_found_all_the_same(tmp_path: Path) -> None:
    path = saved(tmp_path, chat(f"{DONE} {KEY}"))
    path.write_text(path.read_text("utf-8").rstrip().rpartition("\n")[0], "utf-8")  # without its end
    assert kinds(path) == ["unreadable", "secret"]


def test_a_secret_beside_a_bare_tape_is_found_under_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "cat.md").write_text(DONE, "utf-8")
    beside = tmp_path / "cat.request.json"
    beside.write_text(json.dumps({"path": "/v1/chat/completions", "cert": KEY}), "utf-8")
    assert [(finding.path, finding.kind) for finding in verify(tmp_path)] == [(str(beside), "secret")]
    assert [(finding.path, finding.kind) for finding in verify(beside)] == [(str(beside), "secret")]


def test_a_body_that_cannot_be_looked_into_is_a_finding(tmp_path: Path) -> None:
    reply = whole(200, b"\x1f\x8b\x08\x00", headers=[("content-encoding", "gzip")])
    item = Interaction(Request("GET", "https://relay.example/v1/models"), reply)
    assert kinds(saved(tmp_path, item)) == ["secret"]


def test_a_medium_that_tells_a_secret_is_a_finding(tmp_path: Path) -> None:
    reply = whole(200, b"\x89PNG\x00 comment by bob@corp-mail.cn \x00", content_type="image/png")
    path = saved(tmp_path, chat(DONE), Interaction(Request("GET", "https://cdn.example/cat.png"), reply))
    (finding,) = verify(path)
    assert (finding.kind, finding.where) == ("secret", "interaction 2: inside the medium")


def test_a_rule_of_your_own_is_applied(tmp_path: Path) -> None:
    path = saved(tmp_path, chat(DONE + "for tenant-42\n"))
    assert kinds(path) == []
    assert kinds(path, redactor=Redactor(extra=[Rule("tenant", r"tenant-\d+")])) == ["secret"]


SCANNED = {
    "Square": "sq0csp-" + "aB3" * 14 + "x",
    "Mailchimp": "0f" * 16 + "-us12",
    "Twilio": "SK" + "0f" * 16,
    "Discord": "M" + "aB3" * 8 + "." + "Xy1_-z" + "." + "aB3" * 9,
    "npm in a config": "_authToken=" + "0f0f0f0f-" * 4,
}


@pytest.mark.parametrize("secret", SCANNED.values(), ids=SCANNED)
@pytest.mark.parametrize("form", ["plain", "escaped", "deltas"])
def test_detect_secrets_finds_what_no_rule_of_ours_knows(secret: str, form: str, tmp_path: Path) -> None:
    content = f"> 生成失败: {secret} is not valid\n"
    item = chat(content)
    if form == "escaped":
        text = "".join(f"\\u{ord(each):04x}" for each in secret)
        item = Interaction(item.request, whole(500, '{"error": {"message": "' + text + '"}}'))
    elif form == "deltas":
        frames = [
            Data(0.0, b"data: " + json.dumps({"choices": [{"delta": {"content": part}}]}).encode() + b"\n\n")
            for part in re.findall(r"(?s).{1,3}", content)
        ]
        item = Interaction(item.request, streamed(200, frames))
    path = saved(tmp_path, item)
    findings = list(verify(path))
    assert [finding.kind for finding in findings] == ["scanner"]
    assert secret[-12:] not in str(findings[0])


def test_only_patterns_of_the_scanner_are_used_so_that_nothing_is_sent_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a request was made")

    monkeypatch.setattr(requests.Session, "request", refuse)
    assert kinds(saved(tmp_path, chat(f"> 生成失败: {SCANNED['Mailchimp']}\n"))) == ["scanner"]


def test_every_plugin_of_the_scanner_is_there() -> None:
    names = {name for name, _ in _scanner.patterns() or ()}
    assert len(names) == len(_scanner.PLUGINS)


def test_without_the_scanner_our_rules_are_applied_and_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, chat(DONE, authorization=f"Bearer {KEY}"))
    monkeypatch.setitem(sys.modules, "detect_secrets", None)
    _scanner.patterns.cache_clear()
    try:
        assert main(["verify", str(path)]) == 1
    finally:
        _scanner.patterns.cache_clear()
    captured = capsys.readouterr()
    assert captured.out.endswith("1 tape, 1 finding\n")
    assert "pip install 'tickertape[cli]'" in captured.err


# -- what cannot be read ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("cat.jsonl", '{"tape": 2}\n', "pip install -U tickertape"),
        ("cat.jsonl", "", "the file is empty"),
        ("cat.json", '{"a"', "no JSON"),
        ("cat.md", " \n", "the body is empty"),
        ("cat.sse", "hello", "no frame at its start"),
        ("cat.jsonl", '{"tape": 1}\n{"response": {"status": 200}}\n', "has no end"),
    ],
)
def test_a_tape_that_cannot_be_read_is_one_finding(name: str, text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    (finding,) = verify(path)
    assert finding.kind == "unreadable"
    assert told in finding.text
    assert str(finding).count(str(path)) == 1


def test_bytes_that_are_no_text_are_one_finding(tmp_path: Path) -> None:
    (tmp_path / "cat.jsonl").write_bytes(b"\xff\xfe\x00")
    assert kinds(tmp_path / "cat.jsonl") == ["unreadable"]


def test_a_task_beside_a_tape_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "cat.md").write_text(DONE, "utf-8")
    (tmp_path / "cat.task.json").write_text(json.dumps({"status": "completed", "by": {"password": "hunter2"}}), "utf-8")
    assert [Path(finding.path).name for finding in verify(tmp_path) if finding.kind == "secret"] == ["cat.task.json"]


def test_a_mark_at_the_start_of_a_file_is_no_finding(tmp_path: Path) -> None:
    path = saved(tmp_path, chat(DONE))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert kinds(path) == []


@pytest.mark.parametrize("name", ["nowhere", "nowhere.jsonl"])
def test_a_path_that_is_not_there_is_an_error_and_no_finding(name: str, tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="no such file or folder; check the path"):
        list(verify(tmp_path / name))


def test_a_folder_without_tapes_is_an_error(tmp_path: Path) -> None:
    # A misspelt folder in a pre-commit hook would pass for ever.
    (tmp_path / "notes.rst").write_text("hello", "utf-8")
    with pytest.raises(TapeError, match="no tape in this folder"):
        list(verify(tmp_path))


# -- what it says -----------------------------------------------------------------------------------


def test_the_summary_tells_kinds_in_order_and_collapses_what_repeats() -> None:
    assert summary(chat(DONE)) == {
        "events": ["Stage queued", "Stage generating", "Progress*2", "Completed", "Image"],
        "status": "completed",
        "results": ["image"],
        "progress": 2,
    }


@pytest.mark.parametrize("name", gallery())
def test_a_summary_says_nothing_of_what_is_said(name: str) -> None:
    told = json.dumps(summary(Tape.load(name).chat))
    assert re.fullmatch(r'[A-Za-z*0-9_ \[\]{}":,]*', told)
    assert "://" not in told


def test_media_have_no_summary() -> None:
    item = Interaction(None, whole(200, b"\x89PNG\r\n", content_type="image/png"))
    assert summary(item) == {}
    assert noted(item) == item


def test_noting_twice_is_noting_once_and_survives_a_save(tmp_path: Path) -> None:
    item = noted(chat(DONE))
    assert noted(item) == item
    (kept,) = Tape.load(saved(tmp_path, item)).interactions
    assert kept.notes == item.notes
    assert noted(kept) == kept


def test_other_notes_stay() -> None:
    item = Interaction(chat(DONE).request, chat(DONE).reply, ((4, '{"left": "x"}'),))
    assert next(note for _, note in noted(item).notes) == '{"left": "x"}'


def test_content_that_is_no_longer_read_as_it_was_is_told_with_the_difference(tmp_path: Path) -> None:
    path = edited(saved(tmp_path, noted(chat(DONE))), "生成完成 ✅", "画好啦")
    findings = {finding.kind: finding.text for finding in verify(path)}
    assert findings.keys() == {"changed", "unknown-line"}
    assert findings["changed"].startswith("events: Completed → Unknown; ")


@pytest.mark.parametrize(
    ("key", "value"),
    [("status", "failed"), ("results", ["video"]), ("progress", 3), ("error", "timeout"), ("events", ["Completed"])],
)
def test_each_part_of_a_summary_counts(key: str, value: Any, tmp_path: Path) -> None:
    item = noted(chat(DONE))
    ((at, line),) = item.notes
    note = json.dumps({**json.loads(line), key: value})
    (finding,) = verify(saved(tmp_path, Interaction(item.request, item.reply, ((at, note),))))
    assert (finding.kind, finding.text.partition(" ")[0].rstrip(":")) == ("changed", key)


def test_a_summary_of_the_events_alone_is_one(tmp_path: Path) -> None:
    item = chat(DONE)
    note = json.dumps({"events": summary(item)["events"]})
    assert kinds(saved(tmp_path, Interaction(item.request, item.reply, ((4, note),)))) == []


def test_a_bare_tape_is_compared_with_the_task_beside_it(tmp_path: Path) -> None:
    for name in ("kite-festival.md", "kite-festival.task.json"):
        shutil.copy(gallery_folder() / "sora-2" / name, tmp_path)
    assert kinds(tmp_path) == []
    edited(tmp_path / "kite-festival.md", "12..37..58..81", "12..37..58")
    (finding,) = verify(tmp_path)
    assert finding.kind == "changed"
    assert finding.text.startswith("progress is [12, 37, 58, 81] in kite-festival.task.json, and read as [12, 37, 58]")


def test_an_unknown_line_is_told_with_its_place_in_the_content(tmp_path: Path) -> None:
    (finding,) = verify(saved(tmp_path, chat(DONE + "> 画画中 now\n")))
    assert (finding.kind, finding.where) == ("unknown-line", "line 8 of the content")
    assert finding.text.startswith("'> 画画中 now': ")


def test_what_a_broken_stream_ends_in_the_middle_of_is_no_broken_markup(tmp_path: Path) -> None:
    frame = b"data: " + json.dumps({"choices": [{"delta": {"content": DONE[:-10]}}]}).encode() + b"\n\n"
    cut = Interaction(chat("").request, streamed(200, [Data(0.1, frame)], end=End(0.1, "reset")))
    assert kinds(saved(tmp_path, cut)) == []
    assert kinds(saved(tmp_path, chat(DONE + "![cat](https://cdn.exam\nand more\n"))) == ["unknown-line"]


def test_a_kind_of_finding_can_be_accepted_and_a_misspelt_one_cannot(tmp_path: Path) -> None:
    path = saved(tmp_path, chat(DONE + "> 画画中 now\n"))
    assert kinds(path, allow=["unknown-line"]) == []
    with pytest.raises(ValueError, match="no kind of finding: unknown; expected unreadable"):
        kinds(path, allow=["unknown"])


# -- media ---------------------------------------------------------------------------------------------


def with_medium(folder: Path) -> tuple[Path, Path]:
    data = b"\x89PNG\r\n\x1a\n" + bytes(100)
    medium = Interaction(Request("GET", "https://cdn.example/cat.png"), whole(200, data, content_type="image/png"))
    path = saved(folder, chat(DONE), medium)
    return path, folder / "media" / f"{hashlib.sha256(data).hexdigest()}.png"


def test_media_that_are_there_are_no_finding(tmp_path: Path) -> None:
    path, medium = with_medium(tmp_path)
    assert medium.is_file()
    assert kinds(path) == []


def test_a_medium_that_is_not_there_is_named_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    path, medium = with_medium(tmp_path)
    medium.unlink()
    edited(path, "https://cdn.example/cat.png)", f"https://cdn.example/cat.png) {KEY}")
    missing, secret = verify(path)
    assert missing.kind == "missing-media"
    assert medium.name in missing.text
    assert secret.kind == "secret"


def test_a_medium_that_is_another_one_is_a_finding(tmp_path: Path) -> None:
    path, medium = with_medium(tmp_path)
    medium.write_bytes(b"\x89PNG other")
    assert kinds(path) == ["missing-media"]


# -- the command ------------------------------------------------------------------------------------------


def test_one_line_a_finding_and_the_status_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, chat(DONE + "> 画画中 now\n", authorization=f"Bearer {KEY}"))
    assert main(["verify", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in lines[:-1]] == ["secret", "unknown-line"]
    assert lines[-1] == "1 tape, 2 findings"


def test_nothing_found_is_status_0_and_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(gallery_folder())]) == 0
    assert capsys.readouterr().out == f"{len(gallery())} tapes, 0 findings\n"
    assert main(["verify", "--quiet", str(gallery_folder() / "sora-2")]) == 0
    assert capsys.readouterr().out == ""


def test_json_is_one_object_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, chat(DONE + "> 画画中 now\n"))
    assert main(["verify", "--json", str(path)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert Finding(**json.loads(line)) == next(verify(path))


@pytest.mark.parametrize("arguments", [["verify", "nowhere"], ["verify"], ["verify", "--allow", "x", "y"]])
def test_wrong_usage_is_status_2(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(list(arguments))
    except SystemExit as stopped:
        status = int(str(stopped.code))
    assert status == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_a_relay_wrote_does_not_reach_the_terminal_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["verify", str(saved(tmp_path, chat(DONE + "> 画画中 \x1b[31m\n")))])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "画画中" in out


@pytest.mark.parametrize("command", ["verify", "diff", "list", "import", "migrate"])
def test_the_help_of_each_command_names_its_exit_status(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert "Exit status: 0" in capsys.readouterr().out


def test_the_other_commands_load_nothing_of_what_these_need() -> None:
    heavy = ("yaml", "rich", "detect_secrets", "tickertape.testing", "tickertape._commands")
    program = f"import sys, tickertape.cli; sys.exit(str([name for name in {heavy!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == "[]\n"


def test_the_commands_need_no_rich(tmp_path: Path) -> None:
    path = saved(tmp_path, chat(DONE))
    program = "import sys; sys.modules['rich'] = None; from tickertape.cli import main; sys.exit(main(sys.argv[1:]))"
    for arguments in (["verify", str(path)], ["diff", str(path), str(path)], ["list", str(path)]):
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_command_knows_every_kind_of_finding() -> None:
    assert tuple(KINDS) == _arguments.KINDS


def test_the_page_explains_every_kind_of_finding() -> None:
    page = (ROOT / "docs" / "verify.md").read_text("utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \| ", page, re.M) == list(KINDS)


def test_the_hook_for_pre_commit_runs_the_command_on_tapes_only() -> None:
    import yaml

    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert hook["entry"].split()[:2] == ["tickertape", "verify"]
    wanted = re.compile(hook["files"])
    assert wanted.search("tests/tapes/checkout/cat.jsonl")
    assert wanted.search("tests/tapes/cat.request.json")
    assert not wanted.search("tests/test_cat.py")
    assert not wanted.search("package.json")


# -- migrate -------------------------------------------------------------------------------------------------


def test_a_bare_tape_is_rewritten_with_what_stands_beside_it(tmp_path: Path) -> None:
    (tmp_path / "cat.md").write_text(DONE, "utf-8")
    (tmp_path / "cat.request.json").write_text(
        json.dumps({"path": "/v1/chat/completions", "headers": {"Authorization": f"Bearer {KEY}"}, "json": {"n": 1}})
    )
    before = Tape.load(tmp_path / "cat.md")
    (done,) = migrate(tmp_path / "cat.md")
    assert done.did == "written"
    assert done.left == (tmp_path / "cat.md", tmp_path / "cat.request.json")
    after = Tape.load(tmp_path / "cat.jsonl")
    assert after.task == before.task
    assert after.interactions[0].request is not None
    assert after.interactions[0].request.headers["authorization"] == "Bearer REDACTED-key-1"
    assert kinds(tmp_path / "cat.jsonl") == []
    assert {each.path.name: each.did for each in migrate(tmp_path)} == {"cat.jsonl": "unchanged", "cat.md": "kept"}
    # What stays beside it is still looked at.
    assert [finding.path for finding in verify(tmp_path)] == [str(tmp_path / "cat.md")]


@pytest.mark.parametrize("name", gallery())
def test_every_tape_of_the_gallery_migrates_to_one_that_says_the_same(name: str, tmp_path: Path) -> None:
    family = gallery_folder() / name.partition("/")[0]
    shutil.copytree(family, tmp_path / family.name)
    before = Tape.load(name, folder=tmp_path)
    (done,) = migrate(
        Path(*[path for path in [tmp_path / f"{name}{s}" for s in (".json", ".sse", ".md")] if path.is_file()])
    )
    after = Tape.load(done.target)
    assert (after.task, after.interactions[0].reply) == (before.task, before.interactions[0].reply)
    assert [each.did for each in migrate(done.target)] == ["unchanged"]


def test_migrating_takes_secrets_out_and_keeps_media_as_files(tmp_path: Path) -> None:
    path, medium = with_medium(tmp_path)
    edited(path, "https://cdn.example/cat.png)", f"https://cdn.example/cat.png) {KEY}")
    assert [each.did for each in migrate(path)] == ["written"]
    assert kinds(path) == []
    assert medium.name in path.read_text("utf-8")
    assert [each.did for each in migrate(path)] == ["unchanged"]


def test_an_older_format_is_upgraded_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = edited(saved(tmp_path, chat(DONE)), '"tape": 1', '"tape": -1')
    text = path.read_text("utf-8").replace('"end"', '"fin"')
    path.write_text(text, "utf-8")
    assert kinds(path) == ["unreadable"]

    def rename(old: str, new: str) -> Any:
        return lambda lines: [{new if key == old else key: value for key, value in line.items()} for line in lines]

    monkeypatch.setitem(_migrate.UPGRADES, -1, rename("fin", "stop"))
    monkeypatch.setitem(_migrate.UPGRADES, 0, rename("stop", "end"))
    assert [each.did for each in migrate(path)] == ["written"]
    assert json.loads(path.read_text("utf-8").partition("\n")[0])["tape"] == 1
    assert Tape.load(path).task.status == "completed"


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = edited(saved(tmp_path, chat(DONE)), '"tape": 1', '"tape": 2')
    before = path.read_bytes()
    assert main(["migrate", str(path)]) == 2
    assert "pip install -U tickertape" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_the_migrate_command_says_what_it_did_and_deletes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cat.md").write_text(DONE, "utf-8")
    assert main(["migrate", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split()[0] == "written"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.jsonl", "cat.md"]


def test_base64_of_an_answer_is_no_secret(tmp_path: Path) -> None:
    picture = base64.b64encode(bytes(range(256)) * 40).decode()
    assert kinds(saved(tmp_path, chat(f"{DONE}![a](data:image/png;base64,{picture})\n"))) == []


def test_a_tape_that_cannot_be_read_keeps_none_of_the_others_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text("{", "utf-8")
    (tmp_path / "b.md").write_text("> 生成完成 ✅\n", "utf-8")
    (tmp_path / "c.json").write_text("{", "utf-8")
    assert main(["migrate", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert [name in line for name, line in zip(("a.jsonl", "c.json"), told.err.splitlines(), strict=True)] == [True] * 2
    assert f"written    {tmp_path / 'b.jsonl'}" in told.out
    assert {each.path.name: each.did for each in migrate(tmp_path)}["a.jsonl"] == "unread"
