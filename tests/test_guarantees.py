"""The guarantees of `docs/guarantees.md` that no other test shows."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import importlib.util
import io
import json
import re
import shlex
import socket
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tickertape
from tickertape import Grammar, Parser, ResponseReader, TapeError, parse, parse_response
from tickertape._tables import TABLES
from tickertape.cli import main
from tickertape.events import Code, Parameters
from tickertape.strategies import chunkings, contents, responses, tapes
from tickertape.testing import Tape
from tickertape.testing._wire import Data, body_of, streamed, whole
from tickertape.testing.redaction import Redactor

from .conftest import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ROOT = Path(__file__).parents[1]
FATAL = sorted((ROOT / "fixtures" / "fatal").glob("*.json"))


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _load(ROOT / "fuzz" / "targets.py")


# -- what the fuzzer asks, without a fuzzer --------------------------------------------------


@pytest.mark.parametrize("name", sorted(fuzz.TARGETS))
def test_a_fuzzed_target_holds_on_its_whole_corpus(name: str) -> None:
    seeds = fuzz.seeds(name)
    assert len(seeds) > 50
    for data in seeds.values():
        fuzz.TARGETS[name](data)


@pytest.mark.parametrize("name", sorted(fuzz.TARGETS))
@pytest.mark.parametrize("path", FATAL, ids=lambda path: path.stem)
def test_a_find_is_replayed_by_every_target(path: Path, name: str) -> None:
    fuzz.TARGETS[name](json.loads(path.read_text("utf-8")).encode("utf-8", "surrogatepass"))


def test_a_target_that_is_broken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz.Parser, "close", lambda self: [])
    with pytest.raises(AssertionError, match="spans end before the text"):
        fuzz.TARGETS["parser"]("> 生成".encode())


def test_the_kept_corpus_is_text_and_small() -> None:
    for path in (ROOT / "fuzz" / "corpus").glob("*.jsonl"):
        assert path.stem in fuzz.TARGETS
        assert path.stat().st_size < 200_000
        assert all(isinstance(json.loads(line), str) for line in path.read_text("utf-8").splitlines())


@given(st.data())
def test_any_response_reads_the_same_wherever_its_bytes_are_cut(data: st.DataObject) -> None:
    response = data.draw(responses())
    reader = ResponseReader(status_code=response.status_code)
    for piece in data.draw(chunkings(response.body)):
        reader.feed(piece)
    reader.close()
    assert reader.task == parse_response(response.body, response.status_code)


@given(st.data())
def test_any_content_reads_the_same_in_any_pieces(data: st.DataObject) -> None:
    text = data.draw(contents())
    assert read(data.draw(chunkings(text))) == read([text])


def test_a_line_of_a_stream_may_be_cut_where_another_could_begin() -> None:
    # Found by fuzzing: `data: [DONE]` and `: …` after it, in two pieces of one line.
    for line in ("data: [DONE]: x", 'data: {"choices":[]}data: [DONE]'):
        first = 'data: {"choices":[{"delta":{"content":"> 排队中"}}]}\n\n'
        body = f"{first}{line}\n\n{first}".encode()
        whole = parse_response(body)
        assert whole.stages == ("queued", "queued")
        for at in range(len(body)):
            reader = ResponseReader()
            reader.feed(body[:at])
            reader.feed(body[at:])
            reader.close()
            assert reader.task == whole, at


@given(tapes())
def test_any_tape_is_kept_and_tells_the_same_in_other_pieces(tape: Tape) -> None:
    fuzz.TARGETS["tape"](tape.dumps().encode())


SECRETS = [
    "sk-" + "a1B2" * 12,
    "bob@corp-mail.cn",
    "password=" + "hunter2x",
    "用户 [4815] 额度不足",
    "%73k-" + "a1" * 20,
]


@settings(max_examples=settings().max_examples // 4)  # each is redacted twice, in 50 rules
@given(st.data())
def test_any_redacted_content_is_utf8_and_json_and_reads_as_it_did(data: st.DataObject) -> None:
    text, secret = data.draw(contents()), data.draw(st.sampled_from(SECRETS))
    # Behind the echo, which a secret between its strings breaks in one way, and its placeholder in another.
    echo = max((event.end for event in parse(text).events if isinstance(event, Parameters | Code)), default=0)
    at = data.draw(st.integers(echo, len(text)))
    text = f"{text[:at]} {secret} {text[at:]}"
    redacted = Redactor().redact(text)
    assert redacted != text
    assert [type(event) for event in parse(redacted).events] == [type(event) for event in parse(text).events]
    deltas = [{"choices": [{"delta": {"content": piece}}]} for piece in data.draw(chunkings(text, max_size=20))]
    body = b"".join(b"data: %b\n\n" % json.dumps(delta, ensure_ascii=False).encode() for delta in deltas)
    reply = streamed(200, [Data(0.0, piece) for piece in data.draw(chunkings(body, max_size=20))])
    frames = body_of(Redactor().redact(reply)).decode().split("\n\n")[:-1]
    said = [json.loads(frame.removeprefix("data: "))["choices"][0]["delta"]["content"] for frame in frames]
    assert (len(said), "".join(said)) == (len(deltas), redacted)


def test_a_frame_that_is_almost_too_deep_is_redacted_or_left() -> None:
    # As deep as a first look at it could just bear, a second one from further inside could not.
    for depth in range(600, 1000, 3):
        frame = f'data: {{"choices": {"[" * depth}{"]" * depth}}}\n\n'
        assert Redactor().redact(whole(200, frame)) == whole(200, frame)


# -- linear time, bounded memory -----------------------------------------------------------------

FAMILIES: dict[str, Callable[[int], str]] = {
    "open brackets": lambda n: "[" * n,
    "nested links": lambda n: "[a](" * n,
    "images that never end": lambda n: "![" * n,
    "images that never end, one a line": lambda n: "![a\n" * n,
    "nested objects": lambda n: '{"a":' * n,
    "open braces": lambda n: "{" * n,
    "quote marks": lambda n: ">" * n,
    "backticks": lambda n: "`" * n,
    "fences": lambda n: "```\n" * n,
    "tags that never end": lambda n: "<video " * n,
    "attributes": lambda n: "<video " + "a='b' " * n + ">",
    "parentheses in a URL": lambda n: "![a](https://cdn.example/" + "(" * n,
    "percentages": lambda n: ">🏃 进度 " + "12..3.4%.." * n,
    "digits": lambda n: ">🏃 进度 " + "9" * n,
    "ids that go on": lambda n: "> id\n" * n,
    "words that almost are": lambda n: "> 生成国生成" * n,
    "whole lines": lambda n: "> 排队中..\n> 生成中..\n![a](https://cdn.example/a.png)\n" * n,
    "results": lambda n: "".join(f"![a](https://cdn.example/{i}.png)\n" for i in range(n)),
    "numbered downloads": lambda n: "".join(f"[下载{i}](https://cdn.example/{i})\n" for i in range(n)),
    "downloads of one kind": lambda n: "".join(f"[下载](https://cdn.example/{i}.png)\n" for i in range(n)),
    "twins of one path": lambda n: "".join(
        f"![](https://cdn.example/cdn/a.png?{i})\n[下载](https://cdn.example/cdn/download/a.png?{i})\n"
        for i in range(n)
    ),
    "failures": lambda n: "生成失败: no\n" * n,
    "backslashes": lambda n: "\\" * n,
    "escaped line ends": lambda n: "\\n" * n,
    "half pairs": lambda n: "\ud83c" * n,
}


def operations(action: Callable[[], object]) -> int:
    """Calls of functions, Python's and C's: a count that no clock and no other process changes."""
    count = 0

    def step(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(step)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("family", FAMILIES)
def test_twice_the_text_takes_at_most_twice_the_operations(family: str) -> None:
    def whole(n: int) -> int:
        text = FAMILIES[family](n)
        return operations(lambda: parse(text))

    def single(n: int) -> int:
        text = FAMILIES[family](n)
        return operations(lambda: read(list(text)))

    parse(FAMILIES[family](3))  # what is made once, of the grammar, is made
    for way in (whole, single):
        small, large = way(400), way(800)
        assert large <= 2.1 * small + 100, (small, large)


def test_the_count_of_operations_would_show_a_quadratic_reader() -> None:
    def quadratic(n: int) -> Callable[[], object]:
        return lambda: [parse("> " * k) for k in range(0, n, 10)]

    assert operations(quadratic(400)) > 2.1 * operations(quadratic(200)) + 100


@pytest.mark.parametrize("family", ["quote marks", "whole lines", "images that never end, one a line"])
def test_memory_does_not_grow_with_the_text(family: str) -> None:
    def peak(n: int) -> int:
        piece = FAMILIES[family](50)
        parser = Parser(max_pending=256, history=False)
        tracemalloc.start()
        for _ in range(n):
            parser.feed(piece)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(20)
    read_more = len(FAMILIES[family](50)) * 200
    # What the task holds (the list of stages) is 8 bytes an entry; the text would be one a character, or more.
    assert peak(400) - peak(200) < 0.5 * read_more


# -- isolation ---------------------------------------------------------------------------------------

TEXTS = [path.read_text("utf-8") for path in sorted((ROOT / "fixtures").glob("*/*.md")) if path.parent.name != "spec"]


def test_many_threads_share_a_grammar_that_none_has_used_before() -> None:
    assert len(TEXTS) > 10
    expected = [parse(text) for text in TEXTS]
    grammar = Grammar(TABLES)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            rounds = [pool.submit(parse, text, grammar=grammar) for _ in range(4) for text in TEXTS]
            assert [job.result() for job in rounds] == expected * 4
    finally:
        sys.setswitchinterval(before)


def test_tasks_of_one_loop_read_side_by_side() -> None:
    async def trickle(text: str) -> AsyncIterator[str]:
        for at in range(0, len(text), 5):
            await asyncio.sleep(0)
            yield text[at : at + 5]

    async def one(text: str) -> list[Any]:
        return [event async for event in tickertape.aiter_events(trickle(text))]

    async def all_of_them() -> list[list[Any]]:
        return await asyncio.gather(*map(one, TEXTS))

    assert asyncio.run(all_of_them()) == [list(tickertape.iter_events([text])) for text in TEXTS]


IN_ANOTHER = """
import sys
sys.path[:] = {path!r}
import tickertape
task = tickertape.parse({text!r})
assert task.status == "completed" and "lark" not in sys.modules, task
"""


def test_another_interpreter_of_the_process_reads_on_its_own() -> None:
    interpreters: Any = None
    for name in ("_interpreters", "_xxsubinterpreters"):  # 3.13 and later; before
        with contextlib.suppress(ImportError):
            interpreters = interpreters or importlib.import_module(name)
    if interpreters is None:
        pytest.skip("this Python has no module for other interpreters")
    code = IN_ANOTHER.format(path=sys.path, text="> 生成完成 ✅\n![a](https://cdn.example/a.png)")
    for _ in range(2):
        made = interpreters.create()
        try:
            failed = getattr(interpreters, "exec", interpreters.run_string)(made, code)  # before 3.13 it raises
            assert failed is None, failed
        finally:
            interpreters.destroy(made)


# -- hostile input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "zlib"])
def test_a_decompression_bomb_stays_packed(pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(b"0" * 50_000_000)
    tracemalloc.start()
    parse_response(bomb)
    with pytest.raises(TapeError):
        Tape.loads(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000, "something unpacked it"


DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
HUGE = "9" * 5_000
"""More digits than Python makes a number of (4300, CVE-2020-10735)."""


@pytest.mark.parametrize("value", [DEEP, "[" * 100_000, HUGE, f"-{HUGE}", f"1e{HUGE}", "NaN", "Infinity", "-0"])
@pytest.mark.parametrize(
    "wrapped",
    [
        "{}",
        '{{"prompt": {}}}',
        '```json\n{{"prompt": {}}}\n```\n> 生成完成',
        'data: {}\n\ndata: {{"choices":[{{"delta":{{"content":"> 排队中"}}}}]}}\n\n',
        '{{"status": "running", "progress": {}}}',
        '{{"error": {{"code": {}, "message": "no"}}}}',
        '{{"choices": [{{"index": {}, "message": {{"content": "> 生成完成"}}}}]}}',
        '{{"tape": 1}}\n{{"response": {{"status": 200, "headers": {{}}}}, "t": {}}}\n{{"end": "eof", "t": 1}}',
        '{{"tape": {}}}',
    ],
)
def test_a_value_of_any_depth_and_size_is_read_or_refused(wrapped: str, value: str) -> None:
    text = wrapped.format(value)
    for task in (parse(text), parse_response(text), parse_response(text, status_code=500)):
        json.dumps(task.as_dict(), allow_nan=True)
    with contextlib.suppress(TapeError):
        Tape.loads(text)


def test_a_percentage_of_more_digits_than_a_number_may_have_is_words() -> None:
    task = parse(f">🏃 进度 {HUGE}..{HUGE}%\n> 进度 48%\n> {HUGE}.5%")
    assert task.progress == (48,)


def test_halves_of_an_emoji_join_over_deltas_and_a_lone_half_harms_nothing() -> None:
    high, low = "\ud83c", "\udfc3"
    frames = [{"choices": [{"delta": {"content": half}}]} for half in ("> ", high, low, " 进度 48%", high)]
    reader = ResponseReader()
    for frame in frames:
        reader.feed(frame)
    reader.close()
    assert reader.task.text == "> 🏃 进度 48%" + high
    assert reader.task.progress == (48,)


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example/a\u202egnp.exe",
        "https://cdn.exam\u200bple/a.png",
        "https://\u0430pple.example/a.png",  # a Cyrillic letter
        "https://cdn。example/a.png",
        "https://cdn.example@evil.example/a.png",
        "javascript:alert(1)//.png",
        "JaVaScRiPt:alert(1)",
        "file:///etc/passwd",
        "vbscript:x",
        "//evil.example/a.png",
        "\\\\evil\\share\\a.png",
    ],
)
def test_a_url_is_told_as_written_and_never_followed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*arguments: object, **options: object) -> None:
        raise AssertionError(f"something was opened: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", opened)
    monkeypatch.setattr(socket, "getaddrinfo", opened)
    monkeypatch.setattr("builtins.open", opened)
    monkeypatch.setattr(io, "open", opened)
    task = parse(f"> 生成完成 ✅\n![image]({url})\n")
    assert [result.url for result in task.results] == [url]
    beside = {"choices": [{"message": {"content": None, "images": [{"image_url": {"url": url}}]}}]}
    assert [result.url for result in parse_response(beside).results] == [url]


# -- the terminal ------------------------------------------------------------------------------------------

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
ATTACKS = [
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",  # OSC 8: a link under other words
    "\x1b]0;owned\x07",
    "\x1b]52;c;cm0gLXJm\x07",  # OSC 52: the clipboard
    "\x1b[2J\x1b[31m",
    "\x1bP+q\x1b\\",
    "\x9b31m",
    "\x9d0;owned\x9c",
    "\u202egnp.exe",
    "\u2066\u2069",
    "\x07\x08\x7f",
    "[bold red]x[/]",
]
PLACES = [
    "> ID: `{}`\n",
    "![{}](https://cdn.example/a.png)\n",
    "![a](https://cdn.example/{}.png)\n",
    "[在线播放{}](https://cdn.example/a.mp4)\n",
    ">[数据预览](https://cdn.example/{})\n",
    "生成失败: {}\n",
    "> sid: `{}`\n",
    "> {}\n",
    '```json\n{{"prompt": "{}"}}\n```\n',
    ">🏃 进度 48..[100](https://cdn.example/{})\n",
    "<video src='{}' poster='{}'></video>\n",
]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(ATTACKS)), min_size=1, max_size=4),
    st.sampled_from([["parse"], ["parse", "--json"], ["parse", "--strict"], ["explain"]]),
    st.sampled_from([".md", ".sse", ".json", ".jsonl"]),
)
def test_no_content_makes_a_terminal_obey(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str]], command: list[str], suffix: str
) -> None:
    text = "".join(line.format(attack, attack) for line, attack in lines)
    file = tmp_path_factory.mktemp("hostile") / f"a{suffix}"
    file.write_bytes(text.encode())
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        main([*command, str(file)])
    shown = out.getvalue() + err.getvalue()
    assert shown
    assert not OBEYED.search(shown), ascii(shown)


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_name_of_a_file_makes_a_terminal_obey(attack: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = attack.replace("\x00", "") + ".md"
    assert main(["parse", name]) == 2
    assert not OBEYED.search(capsys.readouterr().err)


# -- the list itself -------------------------------------------------------------------------------------------


def test_every_command_of_the_list_names_a_test_that_there_is() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
    commands = re.findall(r"`pytest ([^`]+)`", page)
    assert len(commands) >= 15
    for command in commands:
        words = shlex.split(command)
        file, expression = words[0], words[words.index("-k") + 1] if "-k" in words else ""
        source = (ROOT / file.partition("::")[0]).read_text("utf-8")
        tests = re.findall(r"def (test_\w+)", source)
        for name in [file.partition("::")[2], *re.split(r" or | and ", expression)]:
            assert not name or any(name in test for test in tests), command
