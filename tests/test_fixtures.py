"""The fixtures: the readable specification, the gallery of playable files, and inputs that must do no harm.

`fixtures/README.md` explains the forms and how to add a case.
"""

from __future__ import annotations

import difflib
import json
import random
import re
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tickertape
from tickertape import Parser, ResponseReader
from tickertape import events as ev

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FIXTURES = Path(__file__).parent.parent / "fixtures"
TOPICS = (
    "covers-and-twins",
    "echo",
    "failure",
    "html",
    "ids-and-links",
    "layout",
    "media",
    "previews",
    "progress",
    "prose",
    "stages",
    "success",
)
FAMILIES = (
    "asyncdata-sora2",
    "asyncdata-image (emoji)",
    "asyncdata-image (percent)",
    "4o-all (bold percent)",
    "runway, vidu, cogvideo",
    "veo",
    "gpt-image-2 short",
    "dalle",
    "midjourney",
    "flux",
    "FOAI",
    "bare image",
    "sora2api, flow2api",
    "grok2api",
    "jimeng-free-api",
    "suno, domo",
)
"""As the first column of the table in `fixtures/README.md` names them, in its order."""

SEEDS = range(5)


# ---- reading fixtures ------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A case of the specification: title, text, and what it is read as."""

    topic: str
    line: int
    title: str
    text: str
    expected: str

    def __str__(self) -> str:
        return f"{self.topic}.md:{self.line} {self.title}"


def spec_cases(source: str, topic: str) -> Iterator[Case]:
    """The cases of a specification file: a title, `.`, a text, `.`, the expectation, `.`"""
    lines = source.split("\n")
    at = 0
    while True:
        while at < len(lines) and not lines[at].strip():
            at += 1
        if at == len(lines):
            return
        title_at = at
        parts = []
        for _ in range(3):
            end = lines.index(".", at)
            parts.append("\n".join(lines[at:end]))
            at = end + 1
        yield Case(topic, title_at + 1, *parts)


def load(path: Path) -> str:
    """Text as it is, carriage returns included."""
    return path.read_bytes().decode()


def spec() -> list[Case]:
    return [case for path in sorted((FIXTURES / "spec").glob("*.md")) for case in spec_cases(load(path), path.stem)]


def gallery() -> list[Path]:
    """Every playable file: contents (.md), responses (.json) and streams (.sse) in the folders of families."""
    return [
        path
        for path in sorted(FIXTURES.glob("*/*"))
        if path.parent.name not in ("spec", "fatal")
        and path.suffix in (".md", ".json", ".sse")
        and not path.name.endswith((".task.json", ".request.json"))
    ]


def gallery_name(path: Path) -> str:
    return path.relative_to(FIXTURES).as_posix()


def task_file(path: Path) -> Path:
    return path.with_suffix(".task.json")


def gallery_task(path: Path) -> tickertape.Task:
    if path.suffix == ".md":
        return tickertape.parse(load(path))
    return tickertape.parse_response(path.read_bytes())


def with_content() -> list[Path]:
    """The gallery without poll bodies and HTTP errors, which carry no content."""
    return [path for path in gallery() if path.suffix == ".md" or b'"content"' in path.read_bytes()]


# ---- writing down what was read ----------------------------------------------------


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def without_empty(value: dict[str, Any]) -> dict[str, Any]:
    """Without nulls and empty collections; inside results and errors, without nulls."""
    out = {}
    for key, inner in value.items():
        if key == "results":
            inner = [{k: v for k, v in result.items() if v is not None} for result in inner]
        if key == "error" and inner is not None:
            inner = {k: v for k, v in inner.items() if v is not None}
        if inner not in (None, [], {}):
            out[key] = inner
    return out


def event_line(event: ev.Event) -> str:
    """`Kind field="value" …`: without spans, without fields that are None, and
    without a text that its other fields retell."""
    words = [type(event).__name__]
    for field in fields(event):
        value = getattr(event, field.name)
        retold = field.name == "text" and isinstance(event, ev.Parameters | ev.Reason)
        if field.name not in ("start", "end") and value is not None and not retold:
            words.append(f"{field.name}={as_json(value)}")
    return " ".join(words)


def spec_lines(text: str, *, open_task: bool = False) -> str:
    """What a specification file says of a text: its events, then its task.

    With `open_task` the task is told twice: after `~>` as long as the text may
    still go on, after `=>` when it is complete.
    """
    parser = Parser()
    events = parser.feed(text)
    still_open = parser.task
    events += parser.close()
    lines = [event_line(event) for event in events if not isinstance(event, ev.LineEnd)]
    if open_task:
        lines.append(f"~> {as_json(without_empty(still_open.as_dict()))}")
    lines.append(f"=> {as_json(without_empty(parser.task.as_dict()))}")
    return "\n".join(lines)


def task_json(task: tickertape.Task) -> str:
    return json.dumps(task.as_dict(), ensure_ascii=False, indent=2) + "\n"


def differences(expected: str, got: str) -> str:
    """A unified diff; empty when both are the same."""
    if expected == got:
        return ""
    diff = difflib.unified_diff(
        expected.split("\n"), got.split("\n"), "as the fixture says", "as it was read", lineterm=""
    )
    return "\n".join(["", *diff])


# ---- reading in pieces -----------------------------------------------------------------


def whole(text: str) -> list[str]:
    return [text]


def characters(text: str) -> list[str]:
    return list(text)


def chunks(text: str, seed: int) -> list[str]:
    """The text cut at places that a seed decides, most pieces as short as a language model's."""
    places = random.Random(seed)
    longest = places.choice((3, 8, 20, 60))
    out = []
    at = 0
    while at < len(text):
        length = places.randint(1, longest)
        out.append(text[at : at + length])
        at += length
    return out


def read(pieces: Iterable[str]) -> tuple[list[ev.Event], tickertape.Task]:
    parser = Parser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    events += parser.close()
    return events, parser.task


def read_response(pieces: Iterable[bytes]) -> tuple[list[ev.Event], dict[str, Any]]:
    reader = ResponseReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    events += reader.close()
    return events, reader.task.as_dict()


def assert_tiles(events: list[ev.Event], text: str) -> None:
    """Spans begin where the one before ended, and cover the text."""
    assert [event.start for event in events[:1]] == ([0] if text else [])
    assert all(before.end == after.start for before, after in pairwise(events))
    assert (events[-1].end if events else 0) == len(text)
    for event in events:
        assert getattr(event, "text", text[event.start : event.end]) == text[event.start : event.end], event


def assert_reads_the_same_in_any_pieces(text: str) -> None:
    events, task = read(whole(text))
    assert_tiles(events, text)
    for pieces in (characters(text), *(chunks(text, seed) for seed in SEEDS)):
        assert "".join(pieces) == text
        again, task_again = read(pieces)
        assert again == events
        assert task_again == task


# ---- the specification -----------------------------------------------------------------


@pytest.mark.parametrize("case", spec(), ids=str)
def test_a_case_of_the_specification_is_read_as_it_says(case: Case) -> None:
    open_task = any(line.startswith("~> ") for line in case.expected.split("\n"))
    diff = differences(case.expected, spec_lines(case.text, open_task=open_task))
    assert not diff, diff


@pytest.mark.parametrize("case", spec(), ids=str)
def test_a_case_of_the_specification_reads_the_same_in_any_pieces(case: Case) -> None:
    assert_reads_the_same_in_any_pieces(case.text)


def test_the_specification_has_cases_for_every_topic_and_no_title_twice() -> None:
    cases = spec()
    count = {topic: sum(case.topic == topic for case in cases) for topic in TOPICS}
    assert sorted({case.topic for case in cases}) == sorted(TOPICS)
    assert all(number >= 5 for number in count.values()), count
    titles = [case.title for case in cases]
    assert len(set(titles)) == len(titles), [title for title in titles if titles.count(title) > 1]
    assert not [case for case in cases if "\n" in case.title or not case.title.endswith((".", "?"))]


def test_the_specification_shows_every_kind_of_event() -> None:
    shown = {line.partition(" ")[0] for case in spec() for line in case.expected.split("\n")}
    kinds = {kind.__name__ for kind in ev.Event.__subclasses__()} - {"LineEnd"}
    assert kinds - shown == set()


def test_a_case_with_one_wrong_character_is_told_by_a_diff() -> None:
    (case,) = spec_cases('A stage.\n.\n> 排队中\n.\nStage stage="queued" label="排队"\n=> {}\n.\n', "example")
    assert (case.title, case.text, case.line) == ("A stage.", "> 排队中", 1)
    diff = differences(case.expected, spec_lines(case.text))
    assert '-Stage stage="queued" label="排队"' in diff
    assert '+Stage stage="queued" label="排队中"' in diff
    assert '+=> {"status": "incomplete", "stages": ["queued"]}' in diff


def test_a_case_that_does_not_end_is_an_error_and_not_skipped() -> None:
    with pytest.raises(ValueError, match="not in list"):
        list(spec_cases("A title.\n.\na text\n.\n=> {}\n", "example"))


# ---- the gallery ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", gallery(), ids=gallery_name)
def test_a_file_of_the_gallery_gives_the_task_beside_it(path: Path) -> None:
    diff = differences(load(task_file(path)), task_json(gallery_task(path)))
    assert not diff, diff


@pytest.mark.parametrize("path", with_content(), ids=gallery_name)
def test_a_content_of_the_gallery_reads_the_same_in_any_pieces(path: Path) -> None:
    text = gallery_task(path).text
    assert text
    assert_reads_the_same_in_any_pieces(text)


@pytest.mark.parametrize("path", [path for path in gallery() if path.suffix != ".md"], ids=gallery_name)
def test_a_response_of_the_gallery_reads_the_same_wherever_its_bytes_are_cut(path: Path) -> None:
    body = path.read_bytes()
    events, task = read_response([body])
    assert json.loads(load(task_file(path))) == task
    cuts: list[list[bytes]] = [[body[i : i + 1] for i in range(len(body))]]
    cuts += [[piece.encode("latin-1") for piece in chunks(body.decode("latin-1"), seed)] for seed in SEEDS]
    for pieces in cuts:
        assert b"".join(pieces) == body
        assert read_response(pieces) == (events, task)


@pytest.mark.parametrize("path", [path for path in gallery() if path.suffix == ".md"], ids=gallery_name)
def test_a_content_of_the_gallery_may_come_with_the_line_ends_of_windows(path: Path) -> None:
    text = load(path)
    plain = tickertape.parse(text).as_dict()
    windows = tickertape.parse(text.replace("\n", "\r\n")).as_dict()
    if plain["error"] is not None:  # a message of several lines keeps its own line ends
        windows["error"]["message"] = windows["error"]["message"].replace("\r\n", "\n")
    assert windows == plain


def test_every_playable_file_has_a_task_and_every_task_a_playable_file() -> None:
    assert {task_file(path) for path in gallery()} == set(FIXTURES.glob("*/*.task.json"))


@cache
def family_table() -> dict[str, tuple[str, ...]]:
    """The table of `fixtures/README.md`: the folders of a family."""
    rows = re.findall(r"^\| *([^|]+?) *\| *((?:`[\w.-]+/`(?:, )?)+) *\|", load(FIXTURES / "README.md"), re.MULTILINE)
    return {family: tuple(re.findall(r"`([\w.-]+)/`", folders)) for family, folders in rows}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_a_playable_file_in_the_folders_of_the_table(family: str) -> None:
    folders = family_table()[family]
    assert folders
    for folder in folders:
        assert [path for path in gallery() if path.parent.name == folder], folder


def test_the_table_of_families_lists_every_folder_once() -> None:
    assert tuple(family_table())[: len(FAMILIES)] == FAMILIES
    listed = [folder for folders in family_table().values() for folder in folders]
    there = {path.name for path in FIXTURES.iterdir() if path.is_dir()} - {"spec", "fatal"}
    assert sorted(listed) == sorted(there)


def test_the_gallery_shows_success_and_failure_in_chinese_and_english() -> None:
    shown = set()
    for path in gallery():
        task = gallery_task(path)
        shown.add((task.status, bool(re.search("[\u4e00-\u9fff]", task.text))))
    assert {(status, chinese) for status in ("completed", "failed") for chinese in (True, False)} <= shown
    assert {"queued", "in_progress", "incomplete"} <= {status for status, _ in shown}


def test_nothing_in_the_fixtures_is_a_secret() -> None:
    for path in FIXTURES.rglob("*"):
        if path.is_file():
            text = load(path)
            for name, value in re.findall(
                r"[?&](sig|signature|token|key|skoid|sktid)=([^&\s)\"']*)", text, re.IGNORECASE
            ):
                assert value == "REDACTED", (path, name)
            assert not re.search(r"\bsk-[A-Za-z0-9]{8}|Bearer [A-Za-z0-9]|AKIA[0-9A-Z]{8}", text), path


# ---- the response that the project began with --------------------------------------------------


def test_the_cat_that_drinks_milk_gives_two_pictures_and_all_that_is_known_of_their_task() -> None:
    path = FIXTURES / "gpt-image-1.5" / "cat-drinking-milk.json"
    request = json.loads(load(path.with_name("cat-drinking-milk.request.json")))
    assert (request["method"], request["path"]) == ("POST", "/v1/chat/completions")
    assert request["json"]["model"] == json.loads(path.read_bytes())["model"] == "gpt-image-1.5"
    task = tickertape.parse_response(path.read_bytes())
    task_id = "task_01kctyffzxen691hatw9fvvq52"
    assert task.parameters == {"prompt": "图中形象在喝牛奶", "ratio": "1:1", "n": 2}
    assert task.parameters["prompt"] == request["json"]["messages"][0]["content"][0]["text"]
    assert task.task_id == task_id
    assert task.links == {
        "web": f"https://asyncdata.net/web/{task_id}",
        "source": f"https://asyncdata.net/source/{task_id}",
    }
    assert task.stages == ("queued", "generating")
    assert task.progress == (48, 100)
    (preview,) = task.previews
    assert preview.startswith(f"https://videos.openai.com/az/vg-assets/{task_id}%2F1766135973_img_1.webp?se=")
    assert task.status == "completed"
    assert task.error is None
    first, second = task.results
    assert first.kind == second.kind == "image"
    assert (
        first.url
        == first.download_url
        == "https://filesystem.site/cdn/download/20251219/1f1d0fea4a925722a0bb3178e81a92.png"
    )
    assert (
        second.url
        == second.download_url
        == "https://filesystem.site/cdn/download/20251219/79bd92f0f823ce68c93858f4f215ae.png"
    )
    assert task.text == json.loads(path.read_bytes())["choices"][0]["message"]["content"]


# ---- inputs that must do no harm ------------------------------------------------------------------

PIECE = 1 << 16
BOUND = 1 << 20
PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * (10_000_000 // 11)
STATUS = "> 排队中.. > 生成中.... >🏃 进度 12..48.. > ✅ 生成完成 ![a](https://cdn.example/a.png) "
BIG: dict[str, Callable[[], str]] = {
    "a picture of ten million characters in a data URL": lambda: f"> 生成完成 ✅\n![image]({PICTURE})\n",
    "a data URL of ten million characters that never ends": lambda: f"![image]({PICTURE}",
    "a hundred thousand open brackets": lambda: "[" * 100_000,
    "a hundred thousand nested links": lambda: "[a](" * 100_000,
    "a hundred thousand pairs of brackets": lambda: "[" * 50_000 + "]" * 50_000,
    "a hundred thousand images that never end": lambda: "![" * 100_000,
    "a hundred thousand images whose descriptions never end, one a line": lambda: "![a\n" * 100_000,
    "a hundred thousand parentheses in a URL": lambda: "![a](https://cdn.example/" + "(" * 100_000,
    "a hundred thousand open braces": lambda: "{" * 100_000,
    "a hundred thousand nested objects": lambda: '{"a":' * 100_000,
    "a hundred thousand quote marks": lambda: ">" * 100_000,
    "a hundred thousand backticks": lambda: "`" * 100_000,
    "a hundred thousand fences": lambda: "```\n" * 100_000,
    "a fence of a million characters that never closes": lambda: "```json\n" + '{"prompt": "' + "a cat " * 170_000,
    "a hundred thousand tags that never end": lambda: "<video " * 100_000,
    "a tag with a hundred thousand attributes": lambda: (
        "<video " + "a='b' " * 100_000 + "src='https://cdn.example/a.mp4'>"
    ),
    "a message of a million characters on one line": lambda: STATUS * (1_000_000 // len(STATUS)),
    "a million dots": lambda: "> 生成中" + "." * 1_000_000,
    "a percentage of a million digits": lambda: ">🏃 进度 " + "9" * 1_000_000,
    "three hundred thousand line ends": lambda: "\n" * 300_000,
    "a failure of half a million characters": lambda: "生成失败: " + "no " * 166_666,
}


def fatal() -> list[Path]:
    return sorted((FIXTURES / "fatal").glob("*.json"))


@pytest.mark.parametrize("path", fatal(), ids=lambda path: path.stem)
def test_a_hostile_input_is_read_without_an_error_and_the_same_in_any_pieces(path: Path) -> None:
    text = json.loads(load(path))
    assert isinstance(text, str)
    assert text
    assert_reads_the_same_in_any_pieces(text)
    assert tickertape.parse(text).text == text
    tickertape.parse(text, closed=False).as_dict()


@pytest.mark.parametrize("path", fatal(), ids=lambda path: path.stem)
def test_a_hostile_input_is_read_by_a_parser_that_may_hardly_wait(path: Path) -> None:
    text = json.loads(load(path))
    parser = Parser(max_pending=16)
    events = []
    for character in text:
        events += parser.feed(character)
        assert len(parser.pending) <= 32
    events += parser.close()
    assert_tiles(events, text)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("title", BIG)
def test_a_big_input_does_not_hang_and_tiles(title: str) -> None:
    text = BIG[title]()
    events, task = read(whole(text))
    assert_tiles(events, text)
    assert len(events) <= len(text) + 1
    pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
    again, task_again = read(pieces)
    assert again == events
    assert task_again.as_dict() == task.as_dict()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("title", BIG)
def test_the_first_hundred_thousand_characters_of_a_big_input_may_come_one_by_one(title: str) -> None:
    text = BIG[title]()[:100_000]
    parser = Parser(history=False)
    ends = [event.end for character in text for event in parser.feed(character)]
    ends += [event.end for event in parser.close()]
    assert ends == [event.end for event in read(whole(text))[0]]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("title", BIG)
def test_a_big_input_makes_nothing_wait_beyond_the_bound(title: str) -> None:
    text = BIG[title]()
    parser = Parser(max_pending=BOUND, history=False)
    at = 0
    for start in range(0, len(text), PIECE):
        for event in parser.feed(text[start : start + PIECE]):
            assert event.start == at
            at = event.end
        assert len(parser.pending) <= BOUND + PIECE
    for event in parser.close():
        assert event.start == at
        at = event.end
    assert at == len(text)


def test_a_picture_in_a_data_url_is_a_result_whatever_its_size() -> None:
    (result,) = read(whole(BIG["a picture of ten million characters in a data URL"]()))[1].results
    assert result.url == PICTURE


def test_a_message_that_lost_its_newlines_is_read_to_its_end() -> None:
    text = BIG["a message of a million characters on one line"]()
    task = tickertape.parse(text)
    assert task.status == "completed"
    assert len(task.progress) == 2 * text.count("进度")
    assert [result.url for result in task.results] == ["https://cdn.example/a.png"]
