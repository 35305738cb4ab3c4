"""`tickertape diff`: each kind of drift is named as it should be, and what is none is not."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.cli import main
from tickertape.testing import Scenario, Tape, TapeError
from tickertape.testing._chat import to_stream
from tickertape.testing._facts import Interaction
from tickertape.testing._gallery import gallery, gallery_folder
from tickertape.testing._wire import Data, End, Request, body_of, streamed, whole
from tickertape.testing.drift import CHANGES, Change, compare, compare_files

if TYPE_CHECKING:
    from tickertape.testing._wire import Reply

ROOT = Path(__file__).parents[1]
CORPUS = Path(os.environ.get("TICKERTAPE_CORPUS", ROOT.parent / "shared" / "corpus")) / "samples"

CHAT = Request("POST", "https://relay.example/v1/chat/completions", {}, b"{}")
CONTENT = (
    '```json\n{"prompt": "a cat", "n": 2}\n```\n\n> ID: `task_01k7`\n'
    ">[数据预览](https://r.example/web/task_01k7) | [原始数据](https://r.example/source/task_01k7)\n"
    "> 排队中..\n> 生成中.\n\n>🏃 进度 36..61..\n\n> 生成完成 ✅\n\n"
    "![cat](https://cdn.example/cdn/cat.png)\n\n[点击下载](https://cdn.example/cdn/download/cat.png)\n"
)


def completion(content: str, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        **more,
    }


def tape(*replies: Reply, requests: list[Request] | None = None) -> Tape:
    asked = requests or [CHAT] * len(replies)
    return Tape("a/b", "", None, tuple(Interaction(*pair) for pair in zip(asked, replies, strict=True)))


def said(content: str, **more: Any) -> Tape:
    return tape(whole(200, completion(content, **more)))


def stream(content: str = CONTENT, **more: Any) -> list[dict[str, Any]]:
    frames = to_stream(completion(content, **more), include_usage=True)
    return [json.loads(frame.data[6:]) for frame in frames if b"[DONE]" not in frame.data]


def streaming(frames: list[dict[str, Any]], tail: bytes = b"data: [DONE]\n\n", lead: bytes = b"") -> Tape:
    chunks = [lead, *(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames), tail]
    return tape(streamed(200, [Data(number / 10, chunk) for number, chunk in enumerate(chunks) if chunk]))


def found(old: Tape, new: Tape) -> list[str]:
    return [change.kind for change in compare(old, new)]


def body(old: dict[str, Any], new: dict[str, Any], status: int = 200) -> tuple[Tape, Tape]:
    return tape(whole(status, old)), tape(whole(status, new))


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in completion(CONTENT).items() if key not in keys}


def headers(*pairs: tuple[str, str]) -> Tape:
    return tape(whole(200, completion(CONTENT), headers=pairs))


ODD = CONTENT.replace("> 生成中.\n", "> 生成中.\n> 画画 7\n")
FAILED = "> 生成中.\n> 生成失败: {}\n"
POLL = Request("GET", "https://relay.example/v1/tasks/task_01k7")
RUNNING = {"id": "task_1", "status": "processing", "progress_pct": 0.48, "video_url": None}
DELIVERED = {"id": "task_1", "status": "completed", "video_url": "https://cdn.example/a.mp4"}

# Each kind of change by the pair of tapes that shows it, and nothing else.
PAIRS: dict[str, tuple[list[str], tuple[Tape, Tape]]] = {
    "a poll that is not answered any more": (
        ["request-lost"],
        (
            tape(whole(200, completion(CONTENT)), whole(200, DELIVERED), requests=[CHAT, POLL]),
            said(CONTENT),
        ),
    ),
    "a poll that is new": (
        ["request-new"],
        (
            said(CONTENT),
            tape(whole(200, completion(CONTENT)), whole(200, DELIVERED), requests=[CHAT, POLL]),
        ),
    ),
    "an HTTP error": (
        ["status", "outcome"],
        (said(CONTENT), tape(whole(503, {"error": {"message": "overloaded", "code": "x"}}))),
    ),
    "a stream that is reset": (
        ["ending"],
        (
            streaming(stream()),
            tape((*streaming(stream()).interactions[0].reply[:-1], End(99.0, "reset"))),
        ),
    ),
    "a stream that is whole now": (
        ["ending-mended"],
        (tape((*streaming(stream()).interactions[0].reply[:-1], End(99.0, "reset"))), streaming(stream())),
    ),
    "JSON instead of a stream": (["form"], (streaming(stream()), said(CONTENT))),
    "a task that fails": (["outcome"], (said(CONTENT), said(FAILED.format("input_moderation")))),
    "a poll that is further": (
        ["outcome-later"],
        body({"id": "task_1", "status": "pending"}, {"id": "task_1", "status": "processing"}),
    ),
    "an image less": (
        ["results-lost"],
        (said(CONTENT + "![two](https://cdn.example/2.png)\n"), said(CONTENT)),
    ),
    "an image more": (
        ["results-new"],
        (said(CONTENT), said(CONTENT + "![two](https://cdn.example/2.png)\n")),
    ),
    "a video instead of an image": (
        ["result-kind"],
        (
            said("> 生成完成 ✅\n\n![cat](https://cdn.example/cat.png)\n"),
            said("> 生成完成 ✅\n\n[在线播放](https://cdn.example/cat.mp4)\n"),
        ),
    ),
    "no link for saving": (
        ["download-lost"],
        (said(CONTENT), said(CONTENT.partition("[点击下载]")[0])),
    ),
    "a link for saving": (
        ["download-new"],
        (said(CONTENT.partition("[点击下载]")[0]), said(CONTENT)),
    ),
    "no cover": (
        ["poster-lost"],
        (
            said("> 完成 ✅\n![c](https://c.example/c.png)\n[在线播放](https://c.example/c.mp4)\n"),
            said("> 完成 ✅\n[在线播放](https://c.example/c.mp4)\n"),
        ),
    ),
    "no percentages": (["progress-lost"], (said(CONTENT), said(CONTENT.replace(">🏃 进度 36..61..\n\n", "")))),
    "percentages": (["progress-new"], (said(CONTENT.replace(">🏃 进度 36..61..\n\n", "")), said(CONTENT))),
    "no id": (["event-lost"], (said(CONTENT), said(CONTENT.replace("> ID: `task_01k7`\n", "")))),
    "no stage": (["event-lost"], (said(CONTENT), said(CONTENT.replace("> 排队中..\n", "")))),
    "no notice": (
        ["event-gone"],
        (said(CONTENT + "> ⚠️ 警告: 请尽快保存\n"), said(CONTENT)),
    ),
    "another stage": (["event-new"], (said(CONTENT), said(CONTENT.replace("> 生成中.\n", "> 生成中.\n> 优化中..\n")))),
    "links before the verdict": (
        ["order"],
        (
            said(CONTENT),
            said(CONTENT.replace("> 生成完成 ✅\n\n", "") + "\n> 生成完成 ✅\n"),
        ),
    ),
    "another language": (["wording"], (said(CONTENT), said(CONTENT.replace("生成完成", "Generation complete")))),
    "a line nobody knows": (
        ["unknown-line"],
        (said(CONTENT), said(CONTENT.replace("> 生成中.\n", "> 生成中.\n> 画画 7\n"))),
    ),
    "an unknown line that is gone": (
        ["unknown-gone"],
        (said(ODD), said(CONTENT)),
    ),
    "another category": (
        ["failure-category", "failure-words"],
        (said(FAILED.format("内容违规")), said(FAILED.format("上游超时"))),
    ),
    "another code": (
        ["failure-code"],
        body(
            {"error": {"message": "quota is used up", "code": "insufficient_quota"}},
            {"error": {"message": "quota is used up", "code": "no_quota"}},
            403,
        ),
    ),
    "other words of the same category": (
        ["failure-words"],
        (said(FAILED.format("内容违规")), said(FAILED.format("违反内容政策"))),
    ),
    "a field less": (["field-lost"], body(completion(CONTENT), without("model"))),
    "an optional field less": (
        ["field-gone"],
        body(completion(CONTENT, system_fingerprint="fp_1"), completion(CONTENT)),
    ),
    "a field more": (["field-new"], body(completion(CONTENT), completion(CONTENT, cost={"total": 1}))),
    "a number that is text": (["field-type"], body(completion(CONTENT), completion(CONTENT, created="1"))),
    "another finish_reason": (
        ["finish-reason"],
        body(
            completion(CONTENT),
            completion(CONTENT, choices=[{**completion(CONTENT)["choices"][0], "finish_reason": "length"}]),
        ),
    ),
    "a finish_reason where none was": (
        ["finish-reason-new"],
        body(
            completion(CONTENT, choices=[{**completion(CONTENT)["choices"][0], "finish_reason": None}]),
            completion(CONTENT),
        ),
    ),
    "no usage": (["usage-lost"], body(completion(CONTENT), without("usage"))),
    "usage": (["usage-new"], body(without("usage"), completion(CONTENT))),
    "no [DONE]": (["done-lost"], (streaming(stream()), streaming(stream(), tail=b""))),
    "[DONE]": (["done-new"], (streaming(stream(), tail=b""), streaming(stream()))),
    "frames that are no JSON": (
        ["bad-frames"],
        (streaming(stream()), streaming(stream(), tail=b'data: {"a"]\n\ndata: [DONE]\n\n')),
    ),
    "no frames any more that are no JSON": (
        ["bad-frames-gone"],
        (streaming(stream(), tail=b'data: {"a"]\n\ndata: [DONE]\n\n'), streaming(stream())),
    ),
    "comments": (["keep-alive-new"], (streaming(stream()), streaming(stream(), lead=b": PING\n\n"))),
    "no comments": (["keep-alive-lost"], (streaming(stream(), lead=b": PING\n\n"), streaming(stream()))),
    "no Retry-After": (
        ["header-lost"],
        (
            tape(whole(429, {"error": {"message": "429"}}, headers=[("Retry-After", "2")])),
            tape(whole(429, {"error": {"message": "429"}})),
        ),
    ),
    "no request id": (["header-gone"], (headers(("X-Request-Id", "1")), headers())),
    "a request id": (["header-new"], (headers(), headers(("X-Request-Id", "1")))),
    "another type of media": (
        ["form"],
        (
            tape(whole(200, b"\x89PNG", content_type="image/png"), requests=[Request("GET", "https://c.example/a")]),
            tape(whole(200, b"RIFF", content_type="image/webp"), requests=[Request("GET", "https://c.example/a")]),
        ),
    ),
}


@pytest.mark.parametrize(("kinds", "pair"), PAIRS.values(), ids=PAIRS)
def test_drift_is_named(kinds: list[str], pair: tuple[Tape, Tape]) -> None:
    assert found(*pair) == kinds
    for change in compare(*pair):
        assert change.severity == CHANGES[change.kind][0]


def test_every_kind_of_change_is_shown_by_a_test() -> None:
    shown = {kind for kinds, _ in PAIRS.values() for kind in kinds}
    # Of folders, of posters, and of compressed bodies, below.
    assert CHANGES.keys() - shown == {"tape-lost", "tape-new", "poster-new", "encoding"}


def test_a_cover_that_is_new_and_a_body_that_is_compressed() -> None:
    new, old = PAIRS["no cover"][1]
    assert found(old, new) == ["poster-new"]
    zipped = tape(whole(200, b"\x1f\x8b", headers=[("content-encoding", "gzip")]), requests=[POLL])
    plain = tape(whole(200, DELIVERED), requests=[POLL])
    assert "encoding" in found(plain, zipped)


@pytest.mark.parametrize("name", gallery())
def test_a_tape_has_not_drifted_from_itself(name: str) -> None:
    one = Tape.load(name)
    assert compare(one, one) == []
    assert compare(one, one.rechunk("inside-codepoint")) == []


NO_DRIFT = {
    "other ids, addresses and prompts": (
        said(CONTENT),
        said(
            CONTENT.replace("task_01k7", "task_02zz99").replace("cat", "dog").replace("a cat", "a dog in the rain, 4k"),
            id="chatcmpl-other",
            created=99,
        ),
    ),
    "more ticks and dots": (
        said(CONTENT),
        said(CONTENT.replace("36..61..", "3..9....36..61..99..").replace("排队中..", "排队中......")),
    ),
    "other numbers in an unknown line": (said(CONTENT + "> 第 3 次画画\n"), said(CONTENT + "> 第 14 次画画\n")),
    "another number of tokens": (
        said(CONTENT),
        said(CONTENT, usage={"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}),
    ),
    "other keys in the echo": (said(CONTENT), said(CONTENT.replace('"n": 2', '"ratio": "1:1"'))),
    "more polls": (
        tape(whole(200, RUNNING), whole(200, DELIVERED), requests=[POLL] * 2),
        tape(whole(200, RUNNING), whole(200, RUNNING), whole(200, DELIVERED), requests=[POLL] * 3),
    ),
    "polls of another task": (
        tape(whole(200, DELIVERED), requests=[POLL]),
        tape(whole(200, DELIVERED), requests=[Request("GET", "https://relay.example/v1/tasks/5b0c7a52-9d1e-4f6b")]),
    ),
}


@pytest.mark.parametrize("pair", NO_DRIFT.values(), ids=NO_DRIFT)
def test_what_differs_from_answer_to_answer_is_no_drift(pair: tuple[Tape, Tape]) -> None:
    assert compare(*pair) == []


@given(st.integers(0, 2**32), st.sampled_from([name for name in gallery() if not name.startswith(("poll", "errors"))]))
def test_how_an_answer_was_cut_into_chunks_is_no_drift(seed: int, name: str) -> None:
    assert compare(Tape.load(name), Tape.load(name).rechunk(seed)) == []


@pytest.mark.parametrize("dialect", Scenario.dialects())
def test_two_plays_of_one_scenario_have_not_drifted(dialect: str) -> None:
    kind = next(kind for kind in ("image", "video", "audio") if dialect in Scenario.dialects(kind))
    first, second = (
        getattr(Scenario, kind)(prompt).dialect(dialect).bind(seed=seed, number=seed)
        for seed, prompt in ((1, "a cat"), (2, "two dogs in the rain"))
    )
    answers = [tape(job.reply(stream=True, include_usage=False, model="m")) for job in (first, second)]
    assert compare(*answers) == []


def test_the_breaking_changes_come_first_and_a_change_is_told_once() -> None:
    old = tape(*[whole(200, completion(CONTENT, system_fingerprint="x"))] * 2)
    new = tape(*[whole(200, without("model"))] * 2)
    assert found(old, new) == ["field-lost", "field-gone"]


def test_a_lost_object_is_told_once_and_not_by_each_of_its_fields() -> None:
    old, new = body(completion(CONTENT, data={"a": {"b": 1}, "c": [{"d": 1}]}), completion(CONTENT))
    assert [change.old for change in compare(old, new)] == ["data"]


def test_a_failure_hides_what_follows_from_it() -> None:
    old = said(CONTENT)
    new = tape(whole(200, {"error": {"message": "overloaded", "code": "x"}}))
    assert found(old, new) == ["outcome"]


# -- files ----------------------------------------------------------------------------------

FAMILIES = [
    ("sora-2/kite-festival.md", "sora-2/lighthouse-remix.sse", ["wording"] * 5),
    ("sora-2/kite-festival.md", "sora-2/content-violation.md", ["outcome"]),
    ("sora-2/lighthouse-remix.sse", "sora-2/cut-while-running.sse", ["outcome"]),
    ("gpt-image-1/paper-boats.json", "gpt-image-1.5/cat-drinking-milk.json", []),
    (
        "gpt-image-1/paper-boats.json",
        "gpt-image-1/english-no-id.sse",
        ["form", "results-lost", "event-lost", "event-lost", "event-lost", "wording", "wording", "wording"],
    ),
    ("veo3/desert-train.md", "veo3/timed-out.md", ["outcome"]),
    ("dalle/two-owls.json", "dalle/brackets-taken-away.md", ["results-lost"]),
    ("poll/running.json", "poll/completed-after-retries.json", ["outcome"]),
    (
        "errors/invalid-token.json",
        "errors/no-channel.json",
        ["status", "failure-category", "failure-code", "failure-words"],
    ),
]


@pytest.mark.parametrize(("old", "new", "kinds"), FAMILIES)
def test_tapes_of_a_family_differ_as_they_are_known_to(old: str, new: str, kinds: list[str]) -> None:
    folder = gallery_folder()
    assert [change.kind for change in compare_files(folder / old, folder / new)[""]] == kinds


OBSERVED = [
    ("001-sora2-zh-video-ok.md", "004-sora2-zh-remix-joined.md", set()),
    ("003-sora2-zh-remix.sse", "004-sora2-zh-remix-joined.md", set()),
    ("006-image-pro-host-uuid-id.json", "007-image-pro-host-uuid-id.md", set()),
    ("t25-flow2api-image.sse", "t26-flow2api-error.sse", {"outcome"}),
    ("t17-suno.md", "t18-suno-one-failed-one-timeout.md", {"outcome"}),
    ("037-sora2api-final-chunk.sse", "t22-sora2api-retry.sse", {"outcome"}),
    (
        "047-foai-sora2-queue-malformed-chunk.sse",
        "049-foai-sora2-decimal-progress.md",
        {"event-lost", "event-gone", "bad-frames-gone", "progress-new"},
    ),
    ("020-veo3-zh-upsample.md", "021-veo3-frames-en-retries-preview.md", {"event-new", "wording"}),
]


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus of observed answers is not at {CORPUS}")
@pytest.mark.parametrize(("old", "new", "kinds"), OBSERVED)
def test_observed_answers_of_a_family_differ_as_they_are_known_to(old: str, new: str, kinds: set[str]) -> None:
    assert {change.kind for change in compare_files(CORPUS / old, CORPUS / new)[""]} == kinds


def test_folders_are_compared_by_name(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    said(CONTENT).save(old / "a/both.jsonl")
    said(CONTENT).save(old / "gone.jsonl")
    said(CONTENT.replace("36..61", "")).save(new / "a/both.jsonl")
    said(CONTENT).save(new / "come.jsonl")
    changes = compare_files(old, new)
    assert {name: [change.kind for change in each] for name, each in changes.items()} == {
        "a/both": ["progress-lost"],
        "come": ["tape-new"],
        "gone": ["tape-lost"],
    }


def test_the_gallery_has_not_drifted_from_itself() -> None:
    pairs = compare_files(gallery_folder(), gallery_folder())
    assert pairs == {name: [] for name in gallery()}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [("old", "nowhere", "no such file or folder"), ("old", "old/a.jsonl", "is a folder"), ("new", "old", "no tape in")],
)
def test_what_cannot_be_compared_is_an_error(old: str, new: str, told: str, tmp_path: Path) -> None:
    said(CONTENT).save(tmp_path / "old/a.jsonl")
    (tmp_path / "new").mkdir()
    with pytest.raises(TapeError, match=told):
        compare_files(tmp_path / old, tmp_path / new)


# -- the command -------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    said(CONTENT).save(tmp_path / "old.jsonl")
    said(CONTENT.replace("36..61", "").replace("生成完成", "Generation complete")).save(tmp_path / "new.jsonl")
    return str(tmp_path / "old.jsonl"), str(tmp_path / "new.jsonl")


def test_people_get_a_line_a_change_and_a_count(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *pair]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "breaking  progress-lost  percentages came, now none",
        "harmless  wording  Completed was '生成完成', is 'Generation complete'",
        "1 tape compared: 1 breaking, 1 harmless",
    ]


def test_a_job_gets_one_object(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "--json", *pair]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["old"], told["new"], told["breaking"], told["harmless"]) == (*pair, 1, 1)
    first, second = told["changes"]
    assert (first["severity"], first["kind"], first["tape"]) == ("breaking", "progress-lost", None)
    assert (second["old"], second["new"]) == ("生成完成", "Generation complete")


def test_what_is_only_harmless_is_status_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(CONTENT).save(tmp_path / "old.jsonl")
    said(CONTENT, cost=1).save(tmp_path / "new.jsonl")
    assert main(["diff", str(tmp_path / "old.jsonl"), str(tmp_path / "new.jsonl")]) == 0
    assert capsys.readouterr().out.startswith("harmless  field-new  cost (number)\n")


def test_what_cannot_be_read_is_status_2(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", pair[0], "nowhere.jsonl"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_the_page_explains_every_kind_of_change() -> None:
    page = (ROOT / "docs" / "drift.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (breaking|harmless) \| ", page, re.M)
    assert rows == [(kind, severity) for kind, (severity, _) in CHANGES.items()]


def test_a_change_reads_as_a_sentence() -> None:
    assert str(Change("status", "interaction 2", "HTTP 200, now 503")) == (
        "breaking  status  interaction 2: HTTP 200, now 503"
    )


def test_hostile_json_is_compared_within_bounds() -> None:
    deep: Any = {}
    for _ in range(500):
        deep = {"a": deep, "b": [deep] if not deep else []}
    wide = {
        f"name_{chr(97 + number % 26)}{chr(97 + number // 26 % 26)}{chr(97 + number // 676)}": 1
        for number in range(9000)
    }
    old, new = body(completion(CONTENT), completion(CONTENT, deep=deep, wide=wide))
    assert {change.kind for change in compare(old, new)} == {"field-new"}
    assert body_of(new.interactions[0].reply)
