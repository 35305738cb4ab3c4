"""The command line: what it prints, where, and with which exit status."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickertape import cli
from tickertape.cli import main, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCS = Path(__file__).parent.parent / "docs"
COMMAND = [sys.executable, "-m", "tickertape"]

VIDEO = """```json
{"prompt": "a cat", "n": 1}
```

> ID: `task_01k7`
>[数据预览](https://relay.example/web/task_01k7) | [原始数据](https://relay.example/source/task_01k7)
> 排队中...
> 生成中.

>🏃 进度 36..[61](https://relay.example/61.png)..

> 生成完成 ✅
> sid: s_68ec

![cover](https://relay.example/cover.webp)
[在线播放▶️](https://relay.example/cat.mp4)
[点击下载](https://relay.example/cat-download.mp4)
"""
FAILED = "> 排队中.\n> 生成中..\n> 生成失败 ❌\n> 失败原因：input_moderation\n"
ODD = "> 排队中.\n> 画画中 now\n"
RUNNING = "> ID: `task_01k7`\n> 排队中.\n"


def frames(*deltas: str) -> str:
    chunks = [{"choices": [{"index": 0, "delta": {"content": delta}}]} for delta in deltas]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)


def lines_of(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n", text)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in a folder of its own, and on no terminal."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], None]:
    def say(text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))

    return say


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is a terminal, for rich."""
    monkeypatch.setenv("FORCE_COLOR", "1")


def write(name: str, text: str | bytes) -> str:
    Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
    return name


# -- parse ------------------------------------------------------------------------


def test_parse_prints_one_fact_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", write("cat.md", VIDEO)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "status      completed",
        "task id     task_01k7",
        "id          sid: s_68ec",
        'parameters  {"prompt": "a cat", "n": 1}',
        "stages      queued, generating",
        "progress    36 61",
        "web         https://relay.example/web/task_01k7",
        "source      https://relay.example/source/task_01k7",
        "video       https://relay.example/cat.mp4",
        "  download  https://relay.example/cat-download.mp4",
        "  poster    https://relay.example/cover.webp",
        "preview     https://relay.example/61.png",
    ]


def test_a_failure_is_shown_with_its_category(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", write("cat.md", FAILED)]) == 0
    out = capsys.readouterr().out
    assert "status      failed\n" in out
    assert "error       moderation: input_moderation\n" in out


def test_an_error_code_that_is_not_the_message_stands_beside_the_category(capsys: pytest.CaptureFixture[str]) -> None:
    body = {"error": {"message": "余额不足", "code": "insufficient_user_quota", "type": "new_api_error"}}
    assert main(["parse", write("cat.json", json.dumps(body))]) == 0
    assert "error       quota [insufficient_user_quota]: 余额不足\n" in capsys.readouterr().out


def test_the_further_lines_of_a_message_stand_below_its_first(capsys: pytest.CaptureFixture[str]) -> None:
    body = {"error": {"message": "quota\nstatus      completed", "code": "x"}}
    main(["parse", write("cat.json", json.dumps(body))])
    assert capsys.readouterr().out.splitlines()[-1] == " " * 12 + "status      completed"


def test_parse_reads_a_tape(capsys: pytest.CaptureFixture[str]) -> None:
    header, response = '{"tape": 1, "title": "a cat"}', '{"response": {"status": 200, "headers": {}}}'
    facts = [header, response, json.dumps({"t": 0.5, "data": frames("> 排队中", "...")}), '{"t": 1.0, "end": "eof"}']
    assert main(["parse", "--json", write("cat.jsonl", "\n".join(facts))]) == 0
    assert json.loads(capsys.readouterr().out)["stages"] == ["queued"]


def test_a_tape_that_cannot_be_read_is_an_error_of_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", "--json", write("cat.jsonl", '{"tape": 2}\n')]) == 2
    assert capsys.readouterr().err == (
        "tickertape: cat.jsonl, line 1: tape format 2; expected format 1, which this tickertape reads; "
        "pip install -U tickertape\n"
    )


def test_several_files_are_headed_with_their_names_and_one_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.md", FAILED)
    write("b.md", VIDEO)
    main(["parse", "a.md", "b.md"])
    out = capsys.readouterr().out
    assert out.startswith("a.md\nstatus      failed\n")
    assert "\n\nb.md\nstatus      completed\n" in out
    main(["parse", "a.md"])
    assert "a.md" not in capsys.readouterr().out


def test_json_is_one_task_a_line_in_the_order_given_and_names_its_file_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("a.md", FAILED)
    write("b.md", VIDEO)
    assert main(["parse", "--json", "b.md", "a.md"]) == 0
    tasks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(next(iter(task.items())), task["status"]) for task in tasks] == [
        (("file", "b.md"), "completed"),
        (("file", "a.md"), "failed"),
    ]


def test_json_is_written_in_the_language_of_the_relay(capsys: pytest.CaptureFixture[str]) -> None:
    main(["parse", "--json", write("a.md", "> 生成失败 ❌\n> 失败原因：余额不足\n")])
    assert "余额不足" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["md", "txt", "TXT", "json", "sse", "log", ""])
def test_every_form_of_a_response_is_read_by_its_name_or_else_by_how_it_begins(
    suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = {"choices": [{"index": 0, "message": {"content": VIDEO}, "finish_reason": "stop"}]}
    text = {"json": json.dumps(message), "sse": frames(*lines_of(VIDEO)), "log": frames(VIDEO)}.get(suffix, VIDEO)
    assert main(["parse", "--json", write(f"cat.{suffix}", text)]) == 0
    task = json.loads(capsys.readouterr().out)
    assert (task["status"], task["results"][0]["url"]) == ("completed", "https://relay.example/cat.mp4")


@pytest.mark.parametrize("text", [VIDEO, frames(VIDEO), json.dumps({"choices": [{"message": {"content": VIDEO}}]})])
def test_a_dash_is_standard_input_in_any_form(text: str, stdin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stdin(text)
    assert main(["parse", "--json", "-"]) == 0
    task = json.loads(capsys.readouterr().out)
    assert (task["file"], task["status"], task["progress"]) == ("-", "completed", [36, 61])


def test_frames_that_are_no_json_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    main(["parse", write("cat.sse", "data: {oops\n\n" + frames(VIDEO))])
    assert "bad frames  1\n" in capsys.readouterr().out


def test_a_url_is_neither_cut_nor_wrapped_where_grep_reads_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    url = f"https://relay.example/{'a-b/' * 200}x.png?sig={'%2F' * 100}"
    main(["parse", write("cat.md", f"> 生成完成 ✅\n\n![x]({url})\n")])
    assert f"image       {url}" in capsys.readouterr().out.splitlines()


def test_a_picture_in_a_url_is_whole_in_a_pipe_and_short_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "data:image/png;base64," + "iVBOR" * 1000
    write("cat.md", f"![x]({url})\n")
    main(["parse", "cat.md"])
    assert url in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["parse", "cat.md"])
    out = capsys.readouterr().out
    assert "data:image/png;base64,iVBOR" in out
    assert len(out) < 300


@pytest.mark.usefixtures("terminal")
def test_the_status_is_coloured_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    main(["parse", write("cat.md", VIDEO)])
    assert "\x1b[1;32mcompleted\x1b[0m" in capsys.readouterr().out


def test_what_json_has_no_words_for_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    main(["parse", "--json", write("cat.md", '{"prompt": "a cat", "scale": 1e999}\n\n> 进度 3%\n')])

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    task = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert task["parameters"] == {"prompt": "a cat", "scale": None}


# -- parse --strict ---------------------------------------------------------------


def test_strict_reading_of_what_the_grammar_knows_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", "--strict", write("cat.md", VIDEO)]) == 0
    assert capsys.readouterr().err == ""


def test_strict_reading_of_an_unknown_line_is_one_line_on_standard_error_and_a_no(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("odd.md", ODD)
    write("cat.md", VIDEO)
    assert main(["parse", "--json", "--strict", "odd.md", "cat.md"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("tickertape: odd.md:2:3: unknown status line: > 画画中 now; ")
    assert "tickertape explain" in captured.err
    assert captured.err.count("\n") == 1
    assert [json.loads(line)["file"] for line in captured.out.splitlines()] == ["cat.md"]


def test_strict_reading_looks_into_the_content_of_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", "--strict", write("odd.sse", frames(*ODD))]) == 1
    assert "odd.sse:2:3: unknown status line" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_outweighs_an_unknown_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", "--strict", "missing.md", write("odd.md", ODD)]) == 2
    assert capsys.readouterr().err.count("\n") == 2


# -- what cannot be read ----------------------------------------------------------


def test_a_missing_file_is_one_line_on_standard_error_and_the_others_are_still_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["parse", "missing.md", write("cat.md", VIDEO)]) == 2
    captured = capsys.readouterr()
    assert captured.err == "tickertape: missing.md: No such file or directory; check the path and its permissions\n"
    assert captured.out.startswith("cat.md\nstatus      completed\n")


def test_a_directory_is_one_line_that_asks_for_the_files_in_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "answers").mkdir()
    assert main(["parse", "answers"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("tickertape: answers: ")
    assert err.endswith("; give the files in it\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["cat.md", "cat.json", "cat.sse", "cat"])
def test_a_file_in_another_encoding_is_one_line_that_names_the_byte(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parse", write(name, "> 进度 3%\n".encode("gbk"))]) == 2
    assert capsys.readouterr().err == (
        f"tickertape: {name}: not UTF-8 at byte 2; convert it, e.g. with iconv -t UTF-8\n"
    )


def test_a_stream_that_was_cut_inside_a_character_is_still_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", write("cat.sse", frames(VIDEO).encode() + "data: 图".encode()[:-1])]) == 0
    assert "status      completed\n" in capsys.readouterr().out


def test_a_byte_order_mark_is_no_part_of_a_response(capsys: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"choices": [{"message": {"content": VIDEO}}]})
    main(["parse", "--json", write("cat.json", b"\xef\xbb\xbf" + body.encode())])
    assert json.loads(capsys.readouterr().out)["status"] == "completed"


def test_an_empty_file_is_an_incomplete_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parse", write("cat.md", "")]) == 0
    assert capsys.readouterr().out == "status      incomplete\n"


# -- untrusted text ---------------------------------------------------------------

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\x7f\r[bold red]:smile:[/]"
COMMANDS_OF_TERMINALS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def hostile_file() -> str:
    content = f"""```json
{{"prompt": {json.dumps(HOSTILE)}}}
```
> ID: `task{HOSTILE}`
> 画画中 {HOSTILE}
> 生成失败: {HOSTILE}

![{HOSTILE}](https://relay.example/{HOSTILE}.png)
[在线播放▶️](https://relay.example/\x1b[31mcat.mp4)
"""
    poll = {"status": "failed", "id": HOSTILE, "error": {"message": HOSTILE, "code": HOSTILE}, "video_url": HOSTILE}
    write("poll.json", json.dumps(poll))
    return write("hostile.md", content)


@pytest.mark.parametrize("arguments", [["parse"], ["parse", "--json"], ["explain"]])
def test_no_command_to_the_terminal_is_passed_on(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    hostile_file()
    for name in ("hostile.md", "poll.json") if arguments != ["explain"] else ("hostile.md",):
        assert main([*arguments, name]) == 0
        assert not COMMANDS_OF_TERMINALS.search(capsys.readouterr().out)


def test_no_command_to_the_terminal_is_passed_on_while_watching(stdin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stdin(Path(hostile_file()).read_bytes())
    main(["watch"])
    assert not COMMANDS_OF_TERMINALS.search(capsys.readouterr().out)


def test_no_command_to_the_terminal_is_passed_on_by_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    main(["parse", "--strict", hostile_file(), f"missing{HOSTILE}"])
    with pytest.raises(SystemExit):
        main(["parse", "--\x1b[2J\u202e", "x"])
    err = capsys.readouterr().err
    assert err.count("\n") == 3
    assert not COMMANDS_OF_TERMINALS.search(err)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("command", ["parse", "explain"])
def test_the_markup_of_rich_is_text_like_any_other(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([command, write("cat.md", '{"prompt": "[bold red]:smile:[/] [link=x]"}\n\n> 进度 3%\n')])
    assert "[bold red]:smile:[/] [link=x]" in capsys.readouterr().out


def test_escapes_in_json_change_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    main(["parse", "--json", hostile_file()])
    task = json.loads(capsys.readouterr().out)
    assert task["parameters"] == {"prompt": HOSTILE}


def test_half_a_surrogate_pair_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    write("cat.md", '{"prompt": "\\ud83d"}\n\n> 进度 3%\n')
    assert main(["parse", "cat.md"]) == 0
    assert 'parameters  {"prompt": "\\ud83d"}\n' in capsys.readouterr().out
    assert main(["parse", "--json", "cat.md"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == {"prompt": "\ud83d"}


def test_visible_leaves_words_and_emoji_as_they_are() -> None:
    assert visible("生成中 👩\u200d🎨 ▶️ é") == "生成中 👩\u200d🎨 ▶️ é"
    assert visible("\x1b[0m\u202e\x85") == r"\x1b[0m\u202e\x85"


# -- explain ----------------------------------------------------------------------


def test_explain_names_every_span_of_the_source_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["explain", write("cat.md", "> ID: `t_1`\n> 排队中..\n>🏃 进度 36..[61](https://x.example/61.png)\n")])
        == 0
    )
    assert capsys.readouterr().out.splitlines() == [
        "   1  TaskId      > ID: `t_1`  ← label=ID value=t_1",
        "   1  LineEnd     ↵",
        "   2  Stage       > 排队中  ← stage=queued label=排队中",
        "   2  LineEnd     ..↵",
        "   3  Progress    >🏃 进度 36..  ← percent=36 label=进度",
        "   3  Progress    [61](https://x.example/61.png)  ← percent=61 preview_url=https://x.example/61.png",
        "   3  LineEnd     ↵",
    ]


def test_the_spans_that_explain_shows_tile_the_content(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", write("cat.md", VIDEO)])
    rows = [re.sub(r"  ← .*", "", line[18:]) for line in capsys.readouterr().out.splitlines()]
    assert "".join(rows).replace("↵", "\n") == VIDEO


def test_a_span_of_several_lines_is_shown_by_lines(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", write("cat.md", '{\n  "prompt": "a cat"\n}\n\n> 进度 3%\n')])
    assert capsys.readouterr().out.splitlines()[:3] == [
        "   1  Parameters  {↵  ← keys=prompt",
        '   2                "prompt": "a cat"↵',
        "   3              }",
    ]


def test_a_broken_echo_is_named_as_broken(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", write("cat.md", '```json\n{"prompt": "a cat",}\n```\n\n> 进度 3%\n')])
    assert "← broken JSON" in capsys.readouterr().out


def test_explain_points_at_the_first_unknown_words_and_says_what_was_expected(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain", write("odd.md", "> 画画中 now\n> 涂涂中 now\n")]) == 0
    out = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(out) if line.lstrip().startswith("^ expected here: "))
    assert out[at - 1].startswith("   1  Unknown     > 画画中")
    assert out[at].index("^") == out[at - 1].index("画")
    assert "GENERATING" in out[at]
    assert "PROGRESS" in out[at]
    assert sum("expected here" in line for line in out) == 1


def test_the_caret_stands_under_wide_characters_by_columns(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", write("odd.md", "> 进度 3% 画画中\n> 🏃 涂涂中\n")])
    out = capsys.readouterr().out.splitlines()
    assert "          " + "^" in next(line for line in out if "expected here" in line)


def test_what_is_explained_of_a_stream_is_its_joined_content(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", write("cat.md", VIDEO)])
    whole = capsys.readouterr().out
    main(["explain", write("cat.sse", frames(*VIDEO))])
    assert capsys.readouterr().out == whole


@pytest.mark.parametrize(("name", "text"), [("cat.md", ""), ("poll.json", '{"id": "t_1", "status": "pending"}')])
def test_where_there_is_no_content_explain_refers_to_parse(
    name: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", write(name, text)]) == 2
    err = capsys.readouterr().err
    assert err == f"tickertape: {name}: holds no content to explain; 'tickertape parse' shows what its fields say\n"


# -- watch ------------------------------------------------------------------------


def test_watch_prints_a_line_for_every_change_and_then_the_results(
    stdin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(frames(*lines_of(VIDEO.replace("36..", "36..\n>🏃 进度 ")), "\n"))
    assert main(["watch"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:6] == [
        "queued",
        "in_progress generating",
        "in_progress generating 36%",
        "in_progress generating 61%",
        "completed",
        "status      completed",
    ]
    assert "video       https://relay.example/cat.mp4\n" in out


@pytest.mark.usefixtures("terminal")
def test_watch_shows_a_bar_on_a_terminal_and_leaves_the_results(stdin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stdin(frames(*lines_of(VIDEO)))
    assert main(["watch"]) == 0
    out = capsys.readouterr().out
    assert "━" in out
    assert "https://relay.example/cat.mp4" in out.rpartition("━")[2]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (VIDEO, "completed"),
        (FAILED, "failed"),
        (RUNNING, "incomplete"),
        ("", "incomplete"),
        ('{"error": {"message": "余额不足", "code": 403}}', "failed"),
    ],
)
def test_watch_is_done_when_the_stream_is_whatever_became_of_the_task(
    text: str, status: str, stdin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(text)
    assert main(["watch"]) == 0
    assert f"status      {status}\n" in capsys.readouterr().out


def test_standard_input_that_is_closed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert (main(["watch"]), main(["parse", "-"])) == (2, 2)
    assert capsys.readouterr().err == "tickertape: standard input: closed; pipe a response in\n" * 2


def test_watch_on_a_terminal_says_how_to_pipe_a_response_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Keyboard(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Keyboard()))
    assert main(["watch"]) == 2
    err = capsys.readouterr().err
    assert "curl -N … | tickertape watch" in err
    assert err.count("\n") == 1


def test_a_connection_that_breaks_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Broken()))
    assert main(["watch"]) == 2
    assert capsys.readouterr().err.startswith("tickertape: standard input: Input/output error; ")


# -- the process ------------------------------------------------------------------


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started = []

    def run(*arguments: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        pipe = subprocess.PIPE
        process = subprocess.Popen([*COMMAND, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def next_line(process: subprocess.Popen[bytes], seconds: float = 20) -> str:
    assert process.stdout is not None
    line = b""
    deadline = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"nothing but {line!r} within {seconds} s"
        piece = os.read(process.stdout.fileno(), 1)
        if not piece:
            break
        line += piece
    return line.decode().rstrip()


def feed(process: subprocess.Popen[bytes], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text.encode())
    process.stdin.flush()


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"tickertape \d+\.\d+\S*\n", done.stdout)


def test_the_arguments_of_the_process_are_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tickertape", "parse", write("cat.md", VIDEO)])
    assert main() == 0
    assert capsys.readouterr().out.startswith("status      completed\n")


@pytest.mark.skipif(sys.platform == "win32", reason="select() there knows sockets only")
def test_watch_tells_a_change_before_the_next_bytes_arrive(start: Any) -> None:
    process = start("watch")
    feed(process, frames("> 排队中", "..\n"))
    assert next_line(process) == "queued"
    feed(process, frames("> 生成中", ".\n", "> 进度 48%.")[:-20])  # no line end yet
    assert next_line(process) == "in_progress generating"
    out, err = process.communicate()
    assert process.returncode == 0
    assert out.decode().splitlines()[0] == "status      incomplete"
    assert err == b""


@pytest.mark.skipif(sys.platform == "win32", reason="a process there cannot be sent Ctrl-C alone")
def test_ctrl_c_prints_what_is_known_so_far(start: Any) -> None:
    process = start("watch")
    feed(process, frames("> ID: `task_01k7`\n", "> 生成中.\n"))
    while next_line(process) != "in_progress generating":
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    # The signal may have come while the last line was being written, which then stands there again.
    assert [line for line in out.decode().splitlines() if line != "in_progress generating"][:2] == [
        "status      in_progress",
        "task id     task_01k7",
    ]
    assert err == b""


@pytest.mark.skipif(sys.platform == "win32", reason="pipes there break in another way")
def test_a_broken_pipe_ends_watch_quietly(start: Any) -> None:
    process = start("watch")
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(frames("> 排队中.\n", "> 生成中.\n").encode())
    assert process.returncode == 1
    assert err == b""


@pytest.mark.skipif(sys.platform == "win32", reason="pipes there break in another way")
@pytest.mark.parametrize("arguments", [["parse"], ["parse", "--json"], ["explain"]])
def test_a_broken_pipe_ends_every_command_quietly(arguments: list[str], start: Any) -> None:
    process = start(*arguments, write("cat.md", VIDEO * 200))
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate()
    assert process.returncode == 1
    assert err == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["parse"], ["parse", "--json"]])
def test_a_full_disk_is_one_line(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        command = [*COMMAND, *arguments, write("cat.md", VIDEO)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("tickertape: standard output: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["parse"], ["parse", "--json"]])
def test_a_pipe_that_is_not_utf_8_shows_escapes_and_keeps_json_whole(arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [*COMMAND, *arguments, write("cat.md", "> 生成失败: 额度不足 😿\n")]
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    out = done.stdout.decode("ascii")
    if "--json" in arguments:
        assert json.loads(out)["error"]["message"] == "额度不足 😿"
    else:
        assert r"\u989d\u5ea6\u4e0d\u8db3 \U0001f63f" in out


# -- usage ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [[], ["parse"], ["explain"], ["explain", "a", "b"], ["frob"], ["parse", "--frob", "x"]]
)
def test_wrong_usage_is_one_line_that_refers_to_the_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "--help'" in err


@pytest.mark.parametrize("command", ["parse", "explain", "watch"])
def test_every_command_has_a_help_that_names_its_exit_status(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert "Exit status: 0" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["parse", "cat.md"], ["explain", "cat.md"], ["watch"]])
def test_without_rich_one_line_says_what_to_install(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, stdin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write("cat.md", VIDEO)
    stdin(VIDEO)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "tickertape: only parse --json works without rich; pip install 'tickertape[cli]'\n"


def test_json_needs_no_rich() -> None:
    program = "import sys; sys.modules['rich'] = None; from tickertape.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "parse", "--json", write("cat.md", VIDEO)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(done.stdout)["status"] == "completed"


# -- the page ---------------------------------------------------------------------


def examples() -> list[tuple[str, str]]:
    """The commands of docs/cli.md, each with the output shown below it."""
    blocks = re.findall(r"^~~~console\n(.*?)^~~~$", (DOCS / "cli.md").read_text("utf-8"), re.M | re.S)
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks), re.M)


@pytest.mark.parametrize(("command", "output"), examples())
def test_the_page_shows_what_the_commands_print(
    command: str, output: str, stdin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "cli.md").read_text("utf-8")
    for name, text in re.findall(r"^`(\S+)`:\n\n~~~\w*\n(.*?)^~~~$", page, re.M | re.S):
        write(name, text)
    source, _, run = command.removesuffix("; echo $?").rpartition(" | ")
    if source:
        stdin(Path(source.removeprefix("cat ")).read_bytes())
    status = main(shlex.split(run)[1:])
    captured = capsys.readouterr()
    printed = captured.out + captured.err + (f"{status}\n" if "; echo $?" in command else "")
    # A line that ends with an ellipsis is shown shortened.
    assert re.fullmatch(re.escape(output).replace("…\\\n", ".*\n"), printed)


def test_the_page_has_an_example_of_every_command() -> None:
    commands = " ".join(command for command, _ in examples())
    assert all(f"tickertape {name}" in commands for name in ("parse", "explain", "watch"))


def test_the_exit_statuses_are_those_of_the_contract() -> None:
    assert (cli.DONE, cli.NO, cli.UNUSABLE) == (0, 1, 2)
