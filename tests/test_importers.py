"""`tickertape import`: cassettes and HAR files as tapes, safely and without secrets."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tickertape.cli import main
from tickertape.testing import Tape, TapeError
from tickertape.testing._wire import Data, body_of, end_of, head_of
from tickertape.testing.importers import import_to, read
from tickertape.testing.verify import verify

KEY = "sk-" + "a1" * 24
DONE = "> 生成中.\n> 生成完成 ✅\n\n![cat](https://cdn.example/cdn/cat.png)\n"
COMPLETION = {"id": "chatcmpl-1", "choices": [{"index": 0, "message": {"role": "assistant", "content": DONE}}]}
FRAMES = [{"choices": [{"index": 0, "delta": {"content": part}}]} for part in (DONE[:9], DONE[9:])]
SSE = "".join(f"data: {json.dumps(frame)}\n\n" for frame in FRAMES) + "data: [DONE]\n\n"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(64))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cassette(*interactions: dict[str, Any]) -> dict[str, Any]:
    return {"interactions": list(interactions), "version": 1}


def exchange(
    body: Any,
    *,
    uri: str = "https://api.relay.example/v1/chat/completions",
    method: str = "POST",
    status: int = 200,
    asked: Any = '{"model": "sora-2", "messages": []}',
    **headers: str,
) -> dict[str, Any]:
    """As vcrpy writes it."""
    told = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    return {
        "request": {
            "method": method,
            "uri": uri,
            "body": asked,
            "headers": {"authorization": [f"Bearer {KEY}"], "content-type": ["application/json"]},
        },
        "response": {
            "status": {"code": status, "message": "OK"},
            "headers": {name: [text] for name, text in told.items()},
            "body": body if isinstance(body, dict) else {"string": body},
        },
    }


def write(name: str, value: Any) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = value if isinstance(value, str) else json.dumps(value) if path.suffix != ".yaml" else yaml.safe_dump(value)
    path.write_text(text, "utf-8")
    return path


def tape_of(name: str, value: Any, **options: Any) -> Tape:
    tape = read(write(name, value), **options).tape
    assert tape is not None
    return tape


# -- cassettes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cat.yaml", "cat.json"])
def test_a_cassette_becomes_a_tape_that_says_the_same_and_is_safe_to_commit(name: str) -> None:
    path = write(name, cassette(exchange(json.dumps(COMPLETION), Date="Sun, 22 Nov 2026 12:00:00 GMT")))
    (imported,) = import_to([path], "tapes")
    assert imported.target == Path("tapes/cat.jsonl")
    tape = Tape.load(imported.target)
    assert [result.url for result in tape.task.results] == ["https://cdn.example/cdn/cat.png"]
    assert tape.title == f"imported from {name}"
    assert tape.recorded == "2026-11-22T12:00:00Z"
    assert tape.interactions[0].request is not None
    assert tape.interactions[0].request.headers["authorization"] == "Bearer REDACTED-key-1"
    assert tape.interactions[0].request.json == {"model": "sora-2", "messages": []}
    assert KEY not in imported.target.read_text("utf-8")
    assert list(verify("tapes")) == []


BODIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "text": (json.dumps(COMPLETION), {}),
    "bytes, which YAML writes as !!binary": (json.dumps(COMPLETION, ensure_ascii=False).encode(), {}),
    "gzip": (gzip.compress(json.dumps(COMPLETION).encode()), {"Content_Encoding": "gzip"}),
    "deflate": (zlib.compress(json.dumps(COMPLETION).encode()), {"Content_Encoding": "deflate"}),
    "gzip of two members": (
        gzip.compress(json.dumps(COMPLETION).encode()[:9]) + gzip.compress(json.dumps(COMPLETION).encode()[9:]),
        {"Content_Encoding": "gzip"},
    ),
    "gzip with padding": (gzip.compress(json.dumps(COMPLETION).encode()) + bytes(9), {"Content_Encoding": "gzip"}),
    "raw deflate": (zlib.compress(json.dumps(COMPLETION).encode(), wbits=-15), {"Content_Encoding": "deflate"}),
    "gzip twice": (gzip.compress(gzip.compress(json.dumps(COMPLETION).encode())), {"Content_Encoding": "gzip, gzip"}),
    "decoded, with the header left": (json.dumps(COMPLETION), {"Content_Encoding": "gzip"}),
    "decoded from br, with the header left": (json.dumps(COMPLETION), {"Content_Encoding": "br"}),
    "base64": ({"base64_string": base64.b64encode(json.dumps(COMPLETION).encode()).decode()}, {}),
}


@pytest.mark.parametrize(("body", "headers"), BODIES.values(), ids=BODIES)
def test_a_body_is_read_however_it_was_kept(body: Any, headers: dict[str, Any]) -> None:
    tape = tape_of("cat.yaml", cassette(exchange(body, Transfer_Encoding="chunked", **headers)))
    reply = tape.interactions[0].reply
    assert json.loads(body_of(reply)) == COMPLETION
    told = {name.lower(): value for name, value in (head_of(reply) or pytest.fail("no head")).headers}
    assert "content-encoding" not in told
    assert "transfer-encoding" not in told
    assert told["content-length"] == str(len(body_of(reply)))


def test_parsed_bodies_of_other_serializers_are_read() -> None:
    item = exchange("")
    item["request"].pop("body")
    item["request"]["parsed_body"] = {"model": "sora-2"}
    item["response"] = {"status": {"code": 200}, "headers": {"content-type": "application/json"}}
    item["response"]["parsed_body"] = COMPLETION
    tape = tape_of("cat.yaml", cassette(item))
    assert tape.task.status == "completed"
    assert tape.interactions[0].request is not None
    assert tape.interactions[0].request.json == {"model": "sora-2"}


def test_a_stream_is_kept_frame_by_frame() -> None:
    tape = tape_of("cat.yaml", cassette(exchange(SSE, Content_Type="text/event-stream")))
    chunks = [step.data for step in tape.interactions[0].reply if isinstance(step, Data)]
    assert [chunk[:6] for chunk in chunks] == [b"data: "] * 3
    assert b"".join(chunks).decode() == SSE


def test_an_http_error_keeps_its_status_and_headers() -> None:
    error = json.dumps({"error": {"message": "overloaded", "code": "x"}})
    tape = tape_of("cat.yaml", cassette(exchange(error, status=429, Retry_After="2")))
    head = head_of(tape.interactions[0].reply)
    assert head is not None
    assert (head.status, dict(head.headers)["Retry-After"]) == (429, "2")


TAGS = {
    "a call": "!!python/object/apply:os.system ['touch pwned']",
    "an object": "!!python/object/new:_io.BytesIO\n      state: !!python/tuple [abc, 0, null]",
    "a name": "!!python/name:os.system ''",
    "a tag of its own": "!evil {a: 1}",
}


@pytest.mark.parametrize("payload", TAGS.values(), ids=TAGS)
def test_a_tag_that_names_an_object_is_refused_and_nothing_is_run(payload: str) -> None:
    path = write("cat.yaml", f"interactions:\n- request:\n    body: {payload}\nversion: 1\n")
    with pytest.raises(TapeError, match="is not loaded; record the cassette again"):
        read(path)
    assert not Path("pwned").exists()


def test_names_that_multiply_are_refused_in_time() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    item = "- request: {method: POST, uri: 'https://r.example/v1/chat/completions'}\n"
    item += "  response: {status: {code: 200}, parsed_body: *a11}\n"
    imported = read(write("cat.yaml", "\n".join(lines) + "\ninteractions:\n" + item))
    assert imported.tape is None
    assert "more than 200000 values" in imported.left[0]


@pytest.mark.parametrize(
    "bomb", [gzip.compress(bytes(2_000_000)), gzip.compress(bytes(400_000)) * 5], ids=["one member", "five members"]
)
def test_a_body_that_unpacks_without_end_is_left(bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickertape.testing.importers._LARGEST", 1_000_000)
    imported = read(write("cat.yaml", cassette(exchange(bomb, Content_Encoding="gzip"))))
    assert imported.tape is None
    assert "unpacks to more than 1 MB" in imported.left[0]


LEFT = {
    "br": (exchange(b"\x0b\x02\x80\xff\xfe" * 9, Content_Encoding="br"), "compressed (br)"),
    "broken gzip": (exchange(b"\x1f\x8b\x08broken", Content_Encoding="gzip"), "compressed, and broken"),
    "no base64": (exchange({"base64_string": "###"}), "no base64"),
    "an empty answer": (exchange(""), "the body is empty"),
    "a page of the web": (exchange("<p>hi</p>", uri="https://www.example/x", method="GET"), "no answer of a relay"),
    "no status": ({**exchange("x"), "response": {}}, "method, uri or status"),
    "no request": ({"response": {}}, "no request"),
    "nothing": (None, "no request"),
}


@pytest.mark.parametrize(("item", "why"), LEFT.values(), ids=LEFT)
def test_what_is_not_taken_is_told_with_why(item: Any, why: str) -> None:
    imported = read(write("cat.json" if item is None else "cat.yaml", cassette(item, exchange(json.dumps(COMPLETION)))))
    assert imported.tape is not None
    assert len(imported.tape.interactions) == 1
    (line,) = imported.left
    assert why in line
    assert line.startswith("interaction 1: ")


def test_what_is_left_is_told_without_secrets() -> None:
    item = exchange("<p>hi</p>", uri=f"https://www.example/{KEY}/x?api_key={KEY}", method="GET")
    assert KEY not in " ".join(read(write("cat.yaml", cassette(item))).left)


def test_everything_is_taken_when_asked() -> None:
    item = exchange("<p>hi</p>", uri="https://www.example/x", method="GET", Content_Type="text/html")
    assert len(tape_of("cat.yaml", cassette(item), everything=True).interactions) == 1


def test_media_and_pages_that_an_answer_names_are_taken() -> None:
    picture = exchange(PICTURE, uri="https://cdn.example/cdn/cat.png", method="GET", Content_Type="image/png")
    other = exchange(PICTURE, uri="https://ads.example/banner.png", method="GET", Content_Type="image/png")
    imported = read(write("cat.yaml", cassette(exchange(json.dumps(COMPLETION)), picture, other)))
    assert imported.tape is not None
    assert [body_of(each.reply) for each in imported.tape.interactions][1] == PICTURE
    assert len(imported.left) == 1


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("cat.yaml", "a: [", "no YAML"),
        ("cat.yaml", "hello", "neither a cassette"),
        ("cat.json", "{", "no JSON"),
        ("cat.json", '{"log": {}}', "HAR without entries"),
        ("cat.har", "[]", "neither a cassette"),
        ("cat.yaml", "\x00", "no YAML"),
    ],
)
def test_what_is_no_recording_is_an_error(name: str, text: str, told: str) -> None:
    with pytest.raises(TapeError, match=told):
        read(write(name, text))


def test_without_pyyaml_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = write("cat.yaml", cassette())
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(TapeError, match=r"pip install 'tickertape\[cli\]'"):
        read(path)


# -- HAR --------------------------------------------------------------------------------------------


def har(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"log": {"version": "1.2", "creator": {"name": "x", "version": "1"}, "entries": list(entries)}}


def entry(
    text: str = SSE,
    *,
    url: str = "https://api.relay.example/v1/chat/completions",
    status: int = 200,
    mime: str = "text/event-stream",
    encoding: str | None = None,
    timings: dict[str, float] | None = None,
) -> dict[str, Any]:
    content = {"size": len(text), "mimeType": mime, "text": text, **({"encoding": encoding} if encoding else {})}
    return {
        "startedDateTime": "2026-11-22T13:00:00.250+01:00",
        "time": 41_300,
        "request": {
            "method": "POST",
            "url": url,
            "headers": [
                {"name": ":authority", "value": "api.relay.example"},
                {"name": "Authorization", "value": f"Bearer {KEY}"},
                {"name": "cookie", "value": "session=c0ffee"},
            ],
            "postData": {"mimeType": "application/json", "text": '{"model": "sora-2", "stream": true}'},
        },
        "response": {
            "status": status,
            "headers": [{"name": "content-type", "value": mime}, {"name": "content-encoding", "value": "gzip"}],
            "content": content,
        },
        "timings": {"blocked": -1, "dns": 10, "connect": 40, "ssl": 30, "send": 0, "wait": 250, "receive": 41_000}
        if timings is None
        else timings,
    }


def test_a_har_file_becomes_a_tape_with_its_times() -> None:
    (imported,) = import_to([write("site.har", har(entry()))], "tapes")
    assert imported.target is not None
    tape = Tape.load(imported.target)
    reply = tape.interactions[0].reply
    assert [step.t for step in reply] == [0.3, 0.3, 20.8, 41.3, 41.3]
    assert tape.recorded == "2026-11-22T12:00:00Z"
    assert tape.task.status == "completed"
    assert tape.interactions[0].request is not None
    assert tape.interactions[0].request.headers == {
        "authorization": "Bearer REDACTED-key-1",
        "cookie": "session=REDACTED-cookie-1",
    }
    assert list(verify("tapes")) == []


def test_a_har_file_that_knows_only_the_whole_time_has_its_end() -> None:
    reply = tape_of("site.har", har(entry(timings={"send": -1, "wait": -1, "receive": -1}))).interactions[0].reply
    assert (reply[0].t, end_of(reply).t) == (41.3, 41.3)


def test_a_request_that_got_no_answer_was_reset() -> None:
    tape = tape_of("site.har", har(entry(text="", status=0)), everything=True)
    assert [type(step).__name__ for step in tape.interactions[0].reply] == ["End"]
    assert end_of(tape.interactions[0].reply).how == "reset"


def test_content_in_base64_is_decoded() -> None:
    picture = entry(
        base64.b64encode(PICTURE).decode(), url="https://cdn.example/cdn/cat.png", mime="image/png", encoding="base64"
    )
    tape = tape_of("site.har", har(entry(), picture))
    assert body_of(tape.interactions[1].reply) == PICTURE


def test_of_a_browsers_har_only_the_relays_answers_are_taken() -> None:
    poll = entry('{"id": "task_1", "status": "queued"}', url="https://r.example/source/task_1", mime="application/json")
    page = entry("<html></html>", url="https://www.example/", mime="text/html")
    script = entry("let a", url="https://www.example/a.js", mime="text/javascript")
    imported = read(write("site.har", har(page, script, entry(), poll)))
    assert imported.tape is not None
    assert [each.request.path for each in imported.tape.interactions if each.request] == [
        "/v1/chat/completions",
        "/source/task_1",
    ]
    assert [line.partition(":")[0] for line in imported.left] == ["entry 1", "entry 2"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"request": {}}, "as HAR 1.2 writes them"),
        (None, "as HAR 1.2 writes them"),
        ({**entry(), "response": {"status": 200, "content": {"size": 9}}}, "export it with content"),
        (entry("###", encoding="base64"), "no base64"),
        (entry(status=99), "another type"),
    ],
)
def test_an_entry_that_is_not_as_it_should_be_is_left(value: Any, why: str) -> None:
    imported = read(write("site.har", har(value, entry())))
    assert imported.tape is not None
    assert [why in line for line in imported.left] == [True]


def posting(mime: str, *params: dict[str, str], text: str | None = None) -> dict[str, Any]:
    value = entry()
    value["request"]["postData"] = {
        "mimeType": mime,
        "params": list(params),
        **({} if text is None else {"text": text}),
    }
    return value


def test_a_form_whose_text_was_not_exported_is_put_together() -> None:
    fields = [{"name": "prompt", "value": "a cat & 猫"}, {"name": "n", "value": "2"}]
    for mime in ("application/x-www-form-urlencoded", "text/unknown"):
        (interaction,) = tape_of("site.har", har(posting(mime, *fields, text=""))).interactions
        assert interaction.request is not None
        assert interaction.request.body == b"prompt=a+cat+%26+%E7%8C%AB&n=2"
        assert interaction.request.headers["content-type"] == "application/x-www-form-urlencoded"


def test_multipart_whose_text_was_not_exported_is_put_together_and_what_is_missing_is_told() -> None:
    fields = [
        {"name": "prompt", "value": "a cat"},
        {"name": "image", "fileName": 'a"b.png', "contentType": "image/png"},
    ]
    imported = read(write("site.har", har(posting("multipart/form-data; boundary=x", *fields))))
    assert imported.tape is not None
    (request,) = [each.request for each in imported.tape.interactions]
    assert request is not None
    boundary = request.headers["content-type"].partition("boundary=")[2]
    assert request.body.decode().split(f"--{boundary}")[1:] == [
        '\r\ncontent-disposition: form-data; name="prompt"\r\n\r\na cat\r\n',
        '\r\ncontent-disposition: form-data; name="image"; filename="a%22b.png"\r\ncontent-type: image/png\r\n\r\n\r\n',
        "--\r\n",
    ]
    (line,) = imported.left
    assert "taken without the content of 'image' in its request: it was not exported" in line


def test_a_request_whose_body_was_not_exported_is_told() -> None:
    imported = read(write("site.har", har(posting("application/json"))))
    assert imported.tape is not None
    assert ["taken without the body of its request" in line for line in imported.left] == [True]


# -- files --------------------------------------------------------------------------------------------


def test_folders_keep_their_folders_and_names_become_names() -> None:
    write("cassettes/test_shop/test_a[x-猫 y].yaml", cassette(exchange(json.dumps(COMPLETION))))
    write("cassettes/plain.yaml", cassette(exchange(json.dumps(COMPLETION))))
    targets = [imported.target for imported in import_to(["cassettes"], "tapes")]
    assert targets == [Path("tapes/plain.jsonl"), Path("tapes/test_shop/test_a-x-猫-y.jsonl")]
    assert Tape.load("test_shop/test_a-x-猫-y", folder="tapes").task.status == "completed"


def test_in_a_folder_what_is_no_recording_is_left_and_the_rest_is_taken() -> None:
    write("cassettes/package.json", '{"name": "x"}')
    write("cassettes/plain.yaml", cassette(exchange(json.dumps(COMPLETION))))
    first, second = import_to(["cassettes"], "tapes")
    assert (first.tape, "neither a cassette" in first.left[0]) == (None, True)
    assert second.target == Path("tapes/plain.jsonl")


@pytest.mark.parametrize("name", ["..yaml", "...json", " .har", "-.yaml"])
def test_a_name_cannot_lead_out_of_the_folder(name: str) -> None:
    value = har(entry()) if name.endswith("har") else cassette(exchange(json.dumps(COMPLETION)))
    for imported in import_to([write(f"in/{name}", value)], "tapes"):
        assert imported.target is not None
        assert imported.target.resolve().parent == Path("tapes").resolve()


def test_a_link_that_leads_out_of_the_folder_is_refused() -> None:
    Path("outside").mkdir()
    Path("tapes").mkdir()
    Path("tapes/shop").symlink_to(Path("outside").resolve(), target_is_directory=True)
    write("cassettes/shop/cat.yaml", cassette(exchange(json.dumps(COMPLETION))))
    (refused,) = import_to(["cassettes"], "tapes")
    assert "leads out of" in refused.why
    assert list(Path("outside").iterdir()) == []


def test_a_tape_that_is_there_is_not_written_over_unless_told() -> None:
    path = write("cat.yaml", cassette(exchange(json.dumps(COMPLETION))))
    write("tapes/cat.jsonl", "mine")
    (refused,) = import_to([path], "tapes")
    assert (refused.target, "--force writes over it" in refused.why) == (None, True)
    assert Path("tapes/cat.jsonl").read_text("utf-8") == "mine"
    list(import_to([path], "tapes", force=True))
    assert Tape.load("cat", folder="tapes").task.status == "completed"


def test_two_files_of_one_name_are_not_written_over_each_other() -> None:
    paths = [write(name, cassette(exchange(json.dumps(COMPLETION)))) for name in ("cat.yaml", "cat.json")]
    first, second = import_to(paths, "tapes", force=True)
    assert (first.why, "just written from another file" in second.why) == ("", True)


def test_a_file_that_cannot_be_read_keeps_none_of_the_others_back(capsys: pytest.CaptureFixture[str]) -> None:
    write("cassettes/a.yaml", "a: [")
    write("cassettes/b.yaml", cassette(exchange(json.dumps(COMPLETION))))
    write("cassettes/c.har", "{")
    assert main(["import", "cassettes", "--out", "tapes"]) == 2
    told = capsys.readouterr()
    assert [line.partition(": ")[2].partition(": ")[0] for line in told.err.splitlines()] == [
        str(Path("cassettes/a.yaml")),
        str(Path("cassettes/c.har")),
    ]
    assert "1 tape written" in told.out
    assert Tape.load("b", folder="tapes").task.status == "completed"


def test_a_path_that_names_no_file_is_told_before_anything_is_written() -> None:
    path = write("cat.yaml", cassette(exchange(json.dumps(COMPLETION))))
    with pytest.raises(TapeError, match="no such file or folder"):
        list(import_to([path, "nowhere"], "tapes"))
    assert not Path("tapes").exists()


# -- the command -----------------------------------------------------------------------------------------


def test_the_command_says_what_was_taken_and_what_was_left(capsys: pytest.CaptureFixture[str]) -> None:
    page = exchange("<p>hi</p>", uri="https://www.example/x", method="GET")
    write("cat.yaml", cassette(page, exchange(json.dumps(COMPLETION))))
    assert main(["import", "cat.yaml", "--out", "tapes"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "left   cat.yaml: interaction 1: GET https://www.example/x: no answer of a relay; --all takes it too",
        f"taken  cat.yaml: 1 interaction → {Path('tapes/cat.jsonl')}",
        "1 tape written; 'tickertape verify tapes' checks them before you commit",
    ]


def test_nothing_to_take_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    write("cat.yaml", cassette())
    assert main(["import", "cat.yaml", "--out", "tapes"]) == 1
    assert not Path("tapes").exists()
    assert "holds no answer of a relay" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nowhere.yaml", "--out", "tapes"], ["cat.yaml", "--out", "tapes"]])
def test_what_cannot_be_read_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    write("cat.yaml", "interactions: !!python/object/apply:os.getcwd []")
    assert main(["import", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
