"""The recorder without a network: what it keeps, what it replaces, and that files are whole whatever happens."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.testing import Tape, TapeError, _files
from tickertape.testing._facts import Interaction
from tickertape.testing._media import media
from tickertape.testing._onward import Compressed, response_headers
from tickertape.testing._wire import Data, End, Head, Request, body_of, end_of, head_of, whole
from tickertape.testing.recorder import Recorder, save

from .test_record_proxy import FRAME, KEY, OTHER

if TYPE_CHECKING:
    from pathlib import Path

DONE = b"data: [DONE]\n\n"


def chat(body: Any = None, **headers: str) -> Request:
    data = json.dumps(body or {"model": "m"}).encode()
    return Request("POST", "https://relay.example/v1/chat/completions", headers, data)


def get(path: str) -> Request:
    return Request("GET", f"https://relay.example{path}")


def medium(recorder: Recorder, data: bytes, content_type: str, path: str = "/v1/files/1", **more: str) -> Interaction:
    """A medium, downloaded in two pieces, as the tape keeps it."""
    take = recorder.begin(get(path))
    status = 206 if "content-range" in {name.replace("_", "-") for name in more} else 200
    headers = [("content-type", content_type), ("content-length", str(len(data))), *more.items()]
    take.head(0.1, status, [(name.replace("_", "-"), value) for name, value in headers])
    take.data(0.2, data[: len(data) // 2])
    take.data(0.3, data[len(data) // 2 :])
    take.end(0.3, "eof")
    return recorder.tape("t").interactions[-1]


# -- takes ------------------------------------------------------------------------------------


def test_interactions_stand_in_the_order_of_their_requests() -> None:
    recorder = Recorder()
    first, second = recorder.begin(get("/v1/a")), recorder.begin(get("/v1/b"))
    for take in (second, first):
        take.head(0.1, 204, [])
        take.end(0.1, "eof")
    assert [each.request.path for each in recorder.tape("t").interactions if each.request] == ["/v1/a", "/v1/b"]


@pytest.mark.parametrize(
    ("data", "headers", "how"),
    [
        ((FRAME, DONE), (), "eof"),
        ((FRAME, DONE[:7], DONE[7:]), (), "eof"),
        ((FRAME,), (), "timeout"),
        ((b"12345",), (("content-length", "5"),), "eof"),
        ((b"1234",), (("content-length", "5"),), "timeout"),
        ((), (), "timeout"),
    ],
)
def test_a_client_that_leaves_has_read_all_or_meets_silence(data: Any, headers: Any, how: str) -> None:
    take = Recorder().begin(chat())
    take.head(0.1, 200, headers)
    for number, piece in enumerate(data):
        take.data(0.2 + number, piece)
    take.left(9.0)
    assert end_of(take.interaction.reply).how == how
    assert len(take.interaction.notes) == (how == "timeout")
    take.end(10.0, "reset")  # the first word counts
    assert end_of(take.interaction.reply) == End(9.0, how)


def test_headers_of_the_connection_and_the_host_are_not_kept() -> None:
    headers = {"host": "relay.example", "content-length": "3", "connection": "x-a", "x-a": "1", "x-b": "2"}
    (interaction,) = _ended(chat(**headers))
    assert interaction.request is not None
    assert dict(interaction.request.headers) == {"x-b": "2"}


def _ended(request: Request) -> tuple[Interaction, ...]:
    recorder = Recorder()
    take = recorder.begin(request)
    take.head(0.0, 204, [])
    take.end(0.0, "eof")
    return recorder.tape("t").interactions


def test_files_in_a_form_are_replaced_by_their_hash_and_size() -> None:
    picture, _ = media("image")
    body = (
        b'--xyz\r\ncontent-disposition: form-data; name="prompt"\r\n\r\na cat\r\n'
        b'--xyz\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        + picture
        + b"\r\n--xyz--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=xyz"}
    (interaction,) = _ended(Request("POST", "https://relay.example/v1/images/edits", headers, body))
    assert interaction.request is not None
    kept = interaction.request.body
    assert b"a cat" in kept
    assert picture not in kept
    assert f"sha256-{hashlib.sha256(picture).hexdigest()[:16]}-{len(picture)}".encode() in kept
    assert kept.endswith(b"\r\n--xyz--\r\n")


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_chunks_are_kept_as_they_came_but_for_empty_ones(pieces: list[bytes]) -> None:
    recorder = Recorder()
    take = recorder.begin(get("/v1/x"))
    take.head(0.0, 500, [("content-type", "text/plain")])
    for number, piece in enumerate(pieces):
        take.data(float(number), piece)
    take.end(99.0, "reset")
    kept = [(step.t, step.data) for step in take.interaction.reply if isinstance(step, Data)]
    assert kept == [(float(number), piece) for number, piece in enumerate(pieces) if piece]


# -- media --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".gif", ".mp4", ".mp3", ".wav"])
def test_a_medium_that_is_too_large_is_replaced_by_a_small_one_of_its_kind(suffix: str) -> None:
    kind = {".mp4": "video", ".mp3": "audio", ".wav": "audio"}.get(suffix, "image")
    small, content_type = media(kind, suffix=suffix)  # type: ignore[arg-type]
    large = small + bytes(5000)
    interaction = medium(Recorder(max_media=4000), large, content_type, etag="x", content_range="bytes 0-9/10")
    head, body = head_of(interaction.reply), body_of(interaction.reply)
    assert head is not None
    assert body[:4] == small[:4]
    assert dict(head.headers) == {"content-type": content_type, "content-length": str(len(body))}
    assert head.status == 200
    (note,) = [json.loads(text)["stand_in"] for _, text in interaction.notes]
    assert note["bytes"] == len(large)
    assert note["sha256"] == hashlib.sha256(large).hexdigest()
    other = medium(Recorder(max_media=4000), large + b"!", content_type)
    assert body_of(other.reply) != body


def test_a_medium_within_the_bound_stays_as_it_is() -> None:
    picture, content_type = media("image")
    interaction = medium(Recorder(max_media=len(picture)), picture, content_type)
    assert body_of(interaction.reply) == picture
    assert interaction.notes == ()


def test_what_is_no_known_medium_is_told_by_its_size() -> None:
    interaction = medium(Recorder(max_media=10), bytes(100), "application/octet-stream")
    assert body_of(interaction.reply).startswith(b"100 bytes, SHA-256 ")


def test_a_medium_in_which_a_secret_stands_is_replaced() -> None:
    picture, content_type = media("image")
    interaction = medium(Recorder(), picture + b"\0tEXtparameters\0" + OTHER.encode(), content_type)
    assert OTHER.encode() not in body_of(interaction.reply)
    assert json.loads(interaction.notes[0][1])["stand_in"]["why"] == "it held a secret"


def test_media_in_the_text_of_an_answer_are_bounded_too() -> None:
    recorder = Recorder(max_media=1000)
    data = base64.b64encode(bytes(3000)).decode()
    take = recorder.begin(chat())
    reply = whole(200, {"data": [{"b64_json": data}], "text": f"![a](data:video/webm;base64,{data})"})
    head = head_of(reply)
    assert head is not None
    take.head(0.0, 200, head.headers)
    take.data(0.1, body_of(reply))
    take.end(0.1, "eof")
    kept = json.loads(body_of(take.interaction.reply))
    assert base64.b64decode(kept["data"][0]["b64_json"]).startswith(b"\x89PNG")
    url = kept["text"][5:-1]
    assert url.startswith("data:video/mp4;base64,")
    assert b"ftyp" in base64.b64decode(url.partition(",")[2])[:12]


def saved(tmp_path: Path) -> tuple[Tape, str]:
    recorder = Recorder()
    picture, content_type = media("image", number=3)
    medium(recorder, picture, content_type)
    tape = recorder.save(tmp_path / "t.jsonl")
    return tape, hashlib.sha256(picture).hexdigest() + ".png"


def test_a_tape_with_media_is_loaded_as_it_was(tmp_path: Path) -> None:
    tape, name = saved(tmp_path)
    assert json.loads((tmp_path / "t.jsonl").read_text().splitlines()[3]) == {"media": name, "t": 0.3}
    (reply,) = (each.reply for each in tape.interactions)
    assert Tape.load(tmp_path / "t.jsonl").interactions[0].reply == reply
    assert Tape.loads(tape.dumps()).interactions[0].reply == reply  # without a folder, they stay in the text


@pytest.mark.parametrize("name", ["../t.jsonl", "/etc/passwd", "a" * 64 + ".png/../x", "a" * 63 + ".png", 7, None])
def test_a_medium_cannot_be_looked_for_elsewhere(name: Any, tmp_path: Path) -> None:
    saved(tmp_path)
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    lines[3] = json.dumps({"t": 0.3, "media": name})
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    with pytest.raises(TapeError, match=r"line 4: medium .*expected 64 hex digits"):
        Tape.load(tmp_path / "t.jsonl")


def test_a_medium_that_is_missing_changed_or_a_link_is_told(tmp_path: Path) -> None:
    _, name = saved(tmp_path)
    path = tmp_path / "media" / name
    path.write_bytes(b"other")
    with pytest.raises(TapeError, match="not what its name says"):
        Tape.load(tmp_path / "t.jsonl")
    path.unlink()
    with pytest.raises(TapeError, match="record the tape again, or put the medium back"):
        Tape.load(tmp_path / "t.jsonl")
    with pytest.raises(TapeError, match="no folder to look for it"):
        Tape.loads((tmp_path / "t.jsonl").read_text())
    if os.name == "posix":
        path.symlink_to("/etc/hostname")
        with pytest.raises(TapeError, match="a link that leads out"):
            Tape.load(tmp_path / "t.jsonl")


# -- codings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["br", "zstd", "gzip, br", "compress"])
def test_a_coding_that_is_not_known_is_refused(value: str) -> None:
    with pytest.raises(Compressed, match="cannot be searched for secrets"):
        response_headers([("Content-Encoding", value)])


def test_identity_is_no_coding() -> None:
    pairs, decode = response_headers([("Content-Encoding", "identity"), ("Content-Length", "3")])
    assert ("content-length", "3") in pairs
    assert decode(b"abc") == b"abc"


# -- files ---------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from tickertape.testing import _files, Tape
from tickertape.testing._facts import Interaction
from tickertape.testing._media import media
from tickertape.testing._wire import Data, End, Head, whole

folder, point = Path(sys.argv[1]), int(sys.argv[2])
picture = Interaction(None, (Head(0, 404, (("content-type", "image/png"),)), Data(0, media("image")[0]), End(0)))
chat = Interaction(None, whole(200, {"choices": [{"message": {"content": "new " * 999}}]}))
calls = 0

def counted(name):
    real = getattr(os, name)
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == point:
            if name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        calls += 1
        if calls == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(os, name, call)

for name in ("open", "write", "fsync", "close", "replace", "unlink"):
    counted(name)
Tape("t", "new", interactions=(chat, picture)).save(folder / "t.jsonl")
print(calls)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
def test_kill_9_at_any_moment_leaves_the_old_tape_or_the_new_one(tmp_path: Path) -> None:
    old = Tape(
        "t", "old", interactions=(Interaction(None, whole(200, {"choices": [{"message": {"content": "old"}}]})),)
    )
    program = tmp_path / "program.py"
    program.write_text(KILLED)
    titles, point, killed = set(), 0, True
    while killed:
        point += 1
        folder = tmp_path / str(point)
        old.save(folder / "t.jsonl")
        ran = subprocess.run([sys.executable, str(program), str(folder), str(point)], capture_output=True, text=True)
        killed = ran.returncode == -signal.SIGKILL
        assert killed or ran.returncode == 0, ran.stderr
        tape = Tape.load(folder / "t.jsonl")  # and its media, which it names by their hash
        titles.add(tape.title)
        assert tape.title == ("new" if len(tape.interactions) == 2 else "old")
        assert killed or tape.title == "new"
        left = [path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".tmp")]
        assert set(left) <= {"t.jsonl", hashlib.sha256(media("image")[0]).hexdigest() + ".png"}
    assert titles == {"old", "new"}
    assert point > 16  # two files, of some five calls each, before and after every one


@pytest.mark.parametrize("name", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "make room"), (errno.EROFS, "read-only"), (errno.EACCES, "permissions")]
)
def test_a_disk_that_refuses_is_told_and_changes_nothing(
    name: str, number: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("old")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(f"os.{name}", refuse)
        with pytest.raises(TapeError, match=f"cannot be written: .*{remedy}") as caught:
            _files.write(path, b"new")
    assert os.strerror(number) in str(caught.value)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("t.jsonl", "old")]


def test_a_disk_that_takes_little_at_a_time_gets_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, bytes(data)[:7]))
    _files.write(tmp_path / "t", bytes(range(100)))
    assert (tmp_path / "t").read_bytes() == bytes(range(100))


def test_no_secret_is_ever_given_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = os.write, []

    def write(file: int, data: Any) -> int:
        written.append(bytes(data))
        return real(file, data)

    monkeypatch.setattr(os, "write", write)
    recorder = Recorder()
    take = recorder.begin(chat({"model": "m", "key": KEY}, authorization=f"Bearer {KEY}"))
    take.head(0.1, 401, [("content-type", "application/json")])
    take.data(0.1, f'{{"error": "bad key {KEY}"}}'.encode())
    take.end(0.1, "eof")
    recorder.save(tmp_path / "t.jsonl")
    assert len(written) == 1
    assert KEY.encode() not in written[0]
    assert b"REDACTED-key-1" in written[0]


def test_a_tape_that_could_not_be_loaded_again_is_not_written(tmp_path: Path) -> None:
    tape = Tape("t", interactions=(Interaction(chat(), (Head(0, 200), End(0))),))
    with pytest.raises(TapeError, match="not written: in interaction 1 the body is empty"):
        save(tape, tmp_path / "t.jsonl")
    assert list(tmp_path.iterdir()) == []


LOCKED = """
import sys, time
from pathlib import Path
from tickertape.testing._files import Lock, TapeBusy
lock = Lock(Path(sys.argv[1]))
try:
    lock.acquire()
except TapeBusy:
    print("busy", flush=True)
else:
    print("mine", flush=True)
    time.sleep(60)
"""


def test_a_lock_holds_between_processes_and_ends_with_the_one_that_has_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOCKED, str(tmp_path / "t.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "mine\n"
        assert subprocess.run(command, capture_output=True, text=True).stdout == "busy\n"
        first.kill()
    lock = _files.Lock(tmp_path / "t.jsonl")
    lock.acquire()
    lock.release()
    assert list(tmp_path.iterdir()) == []
