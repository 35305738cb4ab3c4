"""The engine that changes text inside recorded bytes: what it finds, and that all else stays."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tickertape
from tickertape.testing._rewrite import Passage, opaque, rewrite_reply, rewrite_request
from tickertape.testing._wire import Data, End, Head, Reply, Request, body_of, head_of, streamed, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).parent.parent / "fixtures"
BODIES = sorted(path for path in FIXTURES.glob("*/*") if path.suffix in (".json", ".sse", ".md"))


def edits(text: str) -> list[tuple[int, int, str]]:
    """Wherever a word stands, another one does."""
    return [(*match.span(), "新" if match[0] == "alt" else "changed") for match in re.finditer("secret|alt", text)]


def nothing(text: str) -> list[tuple[int, int, str]]:
    return []


def frame(delta: dict[str, Any], index: int = 0) -> bytes:
    value = {"id": "c1", "choices": [{"index": index, "delta": delta}]}
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def said(*contents: str) -> list[bytes]:
    return [frame({"content": content}) for content in contents]


def stream(*frames: bytes) -> Reply:
    return streamed(200, [Data(number / 8, data) for number, data in enumerate(frames)])


def chunks(reply: Reply) -> list[bytes]:
    return [step.data for step in reply if isinstance(step, Data)]


def deltas(reply: Reply, key: str = "content") -> list[str]:
    values = [json.loads(line[6:]) for line in body_of(reply).decode().split("\n") if line.startswith("data: {")]
    return [choice["delta"][key] for value in values for choice in value["choices"]]


def places(message: Reply | Request) -> list[tuple[str, str, str, str]]:
    """All texts that are asked for edits."""
    asked: list[tuple[str, str, str, str]] = []

    def ask(text: str) -> list[tuple[int, int, str]]:
        assert isinstance(text, Passage)
        asked.append((text.where, text.kind, text.name, str(text)))
        return []

    rewritten = rewrite_request(message, ask) if isinstance(message, Request) else rewrite_reply(message, ask)
    assert rewritten is message
    return asked


# -- where texts stand ----------------------------------------------------------------


def test_every_text_of_a_request_is_asked_decoded_with_its_place_and_name() -> None:
    body = b'{"a": [{"b": "\\u732b\\/"}, 7], "c": true}'
    request = Request("POST", "https://h/p?x=a%20b&f#g", {"accept": "*/*"}, body)
    assert places(request) == [
        ("request url", "text", "", "https://h/p"),
        ("request url fragment", "text", "", "g"),
        ("request query x", "text", "", "x"),
        ("request query x", "query", "x", "a b"),
        ("request query f", "text", "", "f"),
        ("request header accept", "header", "accept", "*/*"),
        ("request body $.a", "key", "", "a"),
        ("request body $.a[0].b", "key", "", "b"),
        ("request body $.a[0].b", "json", "b", "猫/"),
        ("request body $.a[1]", "number", "a", "7"),
        ("request body $.c", "key", "", "c"),
    ]


def test_every_text_of_a_stream_is_asked_and_its_deltas_joined() -> None:
    reply = stream(
        b": ping\n",
        *said("a", "b"),
        b"event: error\ndata: no json\n\n",
        frame({"reasoning_content": "r"}),
        b"data: [DONE]",
    )
    asked = [(where, text) for where, kind, _, text in places(reply) if kind == "text"]
    assert asked == [
        ("response frame 1", "ping"),
        ("response frame 4", "error"),
        ("response frame 5", "no json"),
        ("response frame 7", "[DONE]"),
        ("response frame 2 and on, content", "ab"),
        ("response frame 6 and on, reasoning_content", "r"),
    ]


def test_a_header_is_rewritten_and_the_other_ones_stay() -> None:
    reply = whole(200, "", headers=[("X-A", "a secret"), ("x-b", "b")], content_type="text/plain")
    head = head_of(rewrite_reply(reply, edits))
    assert head
    assert head.headers == (
        ("content-type", "text/plain"),
        ("X-A", "a changed"),
        ("x-b", "b"),
        ("content-length", "0"),
    )


def test_a_query_is_edited_decoded_and_written_encoded() -> None:
    request = Request("GET", "https://h/secret?a=b+se%63ret%26&%61lt=1&c=%ff#secret")
    assert rewrite_request(request, edits).url == "https://h/changed?a=b+changed%26&%E6%96%B0=1&c=%ff#changed"


def test_a_form_is_edited_like_a_query() -> None:
    request = Request("POST", "https://h/", {"content-type": "application/x-www-form-urlencoded"}, b"a=%73ecret&b=c")
    assert rewrite_request(request, edits).body == b"a=changed&b=c"


def test_json_is_edited_at_any_depth_and_keeps_its_spacing_order_and_escapes() -> None:
    body = b'{ "z":1.50,\r\n\t"secret" :[["\\u0073ecret\\/\\n", {"a":"\\"secret\\""} ]],"b":"\\u732b"}'
    rewritten = rewrite_reply(whole(200, body), edits)
    assert (
        body_of(rewritten) == b'{ "z":1.50,\r\n\t"changed" :[["changed\\/\\n", {"a":"\\"changed\\""} ]],"b":"\\u732b"}'
    )


def test_what_is_written_into_json_is_escaped() -> None:
    rewritten = rewrite_reply(
        whole(200, b'["secret"]'), lambda text: [(0, 6, 'a"\\\n\ud83d')] if text == "secret" else []
    )
    assert json.loads(body_of(rewritten)) == ['a"\\\n\ud83d']


@pytest.mark.parametrize(("new", "written"), [("9", b"[9, 2.5]"), ("x", b'["x", 2.5]'), ("01", b'["01", 2.5]')])
def test_a_number_stays_a_number_or_becomes_a_string(new: str, written: bytes) -> None:
    rewritten = rewrite_reply(whole(200, b"[12, 2.5]"), lambda text: [(0, 2, new)] if text == "12" else [])
    assert body_of(rewritten) == written


@pytest.mark.parametrize(
    "body",
    [
        b"<html><h1>a secret</h1></html>",
        b"plain secret \xff\xfe text",
        b'{"choices": [{"message": {"content": "a secret that is cut',
        b"\xef\xbb\xbfsecret",
        b'\xef\xbb\xbf{"a": "secret"}',
        b"data: {broken secret]]}\r\n\r\n",
        b": a comment with a secret\n\ndata: [DONE]\n\n",
        b"event: secret\n\n",
        b'\xef\xbb\xbfdata: {"a": "secret"}\n\n',
    ],
)
def test_a_body_of_any_kind_is_edited_and_nothing_but_the_word_changes(body: bytes) -> None:
    assert body_of(rewrite_reply(whole(200, body), edits)) == body.replace(b"secret", b"changed")


@pytest.mark.parametrize("content_type", ["image/png", "video/mp4; x=y", "application/octet-stream"])
def test_media_are_not_read(content_type: str) -> None:
    reply = whole(200, b"secret", content_type=content_type)
    assert rewrite_reply(reply, edits) is reply


def test_a_compressed_body_is_not_read_and_can_be_told() -> None:
    reply = whole(200, b"secret", headers=[("Content-Encoding", "gzip")])
    assert rewrite_reply(reply, edits) is reply
    assert opaque({"content-encoding": "gzip"}) == "compressed (gzip)"
    assert opaque({"content-encoding": "identity", "content-type": "image/svg+xml"}) is None


# -- deltas -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["content", "reasoning_content"])
def test_a_word_cut_by_deltas_is_written_into_the_first_of_them(key: str) -> None:
    reply = stream(*(frame({key: part}) for part in ("a se", "cr", "", "et b", " c")))
    assert deltas(rewrite_reply(reply, edits), key) == ["a changed", "", "", " b", " c"]


def test_only_the_frames_that_are_touched_change() -> None:
    odd = b'data:{"choices" : [{"delta":{"content":"\\u732b"}}]}\r\n\r\n'
    frames = [odd, *said("se", "cret"), b": ping\n\n", odd, b"data: [DONE]\n\n"]
    rewritten = chunks(rewrite_reply(stream(*frames), edits))
    assert rewritten == [odd, *said("changed", ""), b": ping\n\n", odd, b"data: [DONE]\n\n"]


def test_choices_that_take_turns_are_messages_of_their_own() -> None:
    cut = [frame({"content": part}, index) for index, part in ((0, "se"), (1, "secr"), (0, "cret"), (1, "et"))]
    assert deltas(rewrite_reply(stream(*cut), edits)) == ["changed", "changed", "", ""]


def test_choices_counted_up_with_every_write_are_one_message() -> None:
    cut = [frame({"content": part}, index) for index, part in enumerate(("a se", "cr", "et"))]
    assert deltas(rewrite_reply(stream(*cut), edits)) == ["a changed", "", ""]


def test_parts_of_a_content_and_the_arguments_of_a_tool_are_joined_too() -> None:
    parts = [frame({"content": [{"type": "text", "text": text}]}) for text in ("se", "cret")]
    calls = [frame({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}) for text in ("se", "cret")]
    rewritten = body_of(rewrite_reply(stream(*parts, *calls), edits))
    assert rewritten.count(b'"changed"') == 2
    assert rewritten.count(b'""') == 2


def test_a_word_cut_by_halves_of_an_emoji_is_found_behind_them() -> None:
    reply = stream(
        b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ude00se"}}]}\n\n',
        *said("cret"),
    )
    assert deltas(rewrite_reply(reply, edits)) == ["\ud83d", "\ude00changed", ""]


def test_a_whole_stream_inside_a_string_is_read_as_a_stream() -> None:
    inside = b"".join(said("a se", "cret")).decode()
    rewritten = body_of(rewrite_reply(whole(200, json.dumps(inside)), edits))
    assert json.loads(rewritten) == b"".join(said("a changed", "")).decode()


def test_frames_without_line_ends_between_them_are_frames() -> None:
    one = b'data: {"choices":[{"delta":{"content":"%s"}}]}'
    reply = stream(one % b"a se", one % b"cret", b"data: [DONE]")
    assert chunks(rewrite_reply(reply, edits)) == [one % b"a changed", one % b"", b"data: [DONE]"]


def test_a_frame_printed_over_several_lines_is_json() -> None:
    body = b'data: {\ndata:   "a": "\\u0073ecret"\ndata: }\n\ndata: {\n "a":\n "\\u0073ecret"\n}\n\n'
    assert body_of(rewrite_reply(whole(200, body), edits)) == body.replace(b"\\u0073ecret", b"changed")


# -- chunks -----------------------------------------------------------------------------


def test_a_word_cut_by_chunks_is_divided_among_them() -> None:
    reply = stream(b'{"a": "se', b"cr", b'et"}')
    assert chunks(rewrite_reply(reply, edits)) == [b'{"a": "ch', b"an", b'ged"}']


def test_a_chunk_is_left_empty_only_where_there_is_not_enough_to_divide() -> None:
    reply = stream(b"\xe7", b"\x8c", b"\xab!")
    rewritten = rewrite_reply(reply, lambda text: [(0, 1, "x")])
    assert chunks(rewritten) == [b"x", b"", b"!"]
    assert [step.t for step in rewritten] == [step.t for step in reply]


def test_a_chunk_that_was_empty_stays_empty() -> None:
    assert chunks(rewrite_reply(stream(b"sec", b"", b"ret"), edits)) == [b"chan", b"", b"ged"]


@given(st.binary(max_size=40), st.lists(st.integers(0, 60), max_size=8))
def test_bytes_around_a_word_stay_whatever_they_are_and_however_they_are_cut(noise: bytes, cuts: list[int]) -> None:
    noise = noise.replace(b"secret", b"").replace(b"alt", b"")
    body = b"plain " + noise + b"\xe7\x8c\xab secret alt \xe7\x8c\xab" + noise
    borders = [0, *sorted(cut for cut in cuts if cut <= len(body)), len(body)]
    pieces = [body[start:end] for start, end in pairwise(borders)]
    reply = streamed(200, [Data(0.5, piece) for piece in pieces], content_type="text/plain")
    rewritten = rewrite_reply(reply, edits)
    head, _, tail = body.partition(b"secret alt")
    assert body_of(rewritten) == head + b"changed " + "新".encode() + tail
    assert len(rewritten) == len(reply)


@pytest.mark.parametrize("how", ["eof", "closed"])
def test_content_length_follows_the_body_and_a_cut_one_stays_cut(how: Any) -> None:
    missing = 0 if how == "eof" else 10
    reply = (Head(0, 200, (("Content-Length", str(8 + missing)),)), Data(0, b"a secret"), End(0, how))
    head = head_of(rewrite_reply(reply, edits))
    assert head
    assert head.headers == (("Content-Length", str(9 + missing)),)


def test_content_length_of_a_request_follows_its_body_and_its_native_object_goes() -> None:
    request = Request("POST", "https://h/", {"content-length": "10"}, b'["secret"]', native=object())
    rewritten = rewrite_request(request, edits)
    assert (rewritten.body, rewritten.headers, rewritten.native) == (b'["changed"]', {"content-length": "11"}, None)


# -- what holds always -------------------------------------------------------------------


@pytest.mark.parametrize("path", BODIES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_of_the_corpus_is_the_same_object_without_edits_and_reads_the_same_with_every_string_asked(
    path: Path,
) -> None:
    body = path.read_bytes()
    reply = whole(200, body, content_type="text/plain")
    assert rewrite_reply(reply, nothing) is reply
    # Each text replaced by itself and one mark more: all are found, and JSON and frames stay whole.
    marked = rewrite_reply(reply, lambda text: [(len(text), len(text), "☂")])
    assert body_of(marked).replace("☂".encode(), b"").replace(b'"', b"") == body.replace(b'"', b"")


def contents() -> Iterator[tuple[str, int]]:
    for seed in range(30):
        rng = Random(seed)
        words = rng.choices(["secret", "alt", "猫", '"', "\\", "\n", "😀", "se", "cret", "> 生成中", "a", "}"], k=30)
        yield "".join(words), seed


@pytest.mark.parametrize(("content", "seed"), list(contents()))
def test_the_joined_content_of_a_rewritten_stream_is_the_rewritten_content(content: str, seed: int) -> None:
    rng = Random(seed)
    pieces = [content[at : at + 3] for at in range(0, len(content), 3)]
    body = b"".join(said(*pieces))
    cuts = [0, *sorted(rng.sample(range(1, len(body)), 40)), len(body)]
    reply = stream(*(body[start:end] for start, end in pairwise(cuts)))
    rewritten = rewrite_reply(reply, edits)
    expected = re.sub("secret", "changed", content).replace("alt", "新")
    assert "".join(deltas(rewritten)) == expected
    assert tickertape.parse_response(body_of(rewritten)).text == expected
    assert len(chunks(rewritten)) == len(chunks(reply))


@pytest.mark.parametrize("wrong", [[(0, 2, ""), (1, 3, "")], [(2, 1, "")], [(0, 99, "")], [(-1, 1, "")]])
def test_edits_that_overlap_or_lie_outside_are_refused(wrong: list[tuple[int, int, str]]) -> None:
    with pytest.raises(ValueError, match="overlap or lie outside"):
        rewrite_reply(whole(200, "plain"), lambda text: wrong if text == "plain" else [])


@pytest.mark.parametrize(
    "body",
    [
        b"data: " * 40_000,
        b'data: {"a":' * 20_000,
        b"[" * 100_000,
        b"data: [\n" * 20_000,
        b'{"a": "' + b"\\u0061" * 40_000 + b'"}',
        b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n' * 5_000,
        b'{"a":' * 500 + b'"b"' + b"}" * 500,
        b'"' * 100_001,
    ],
    ids=["fields", "broken frames", "brackets", "open frames", "escapes", "frames", "depth", "quotes"],
)
def test_hostile_bodies_are_read_in_linear_time(body: bytes) -> None:
    reply = whole(200, body)
    assert rewrite_reply(reply, nothing) is reply
