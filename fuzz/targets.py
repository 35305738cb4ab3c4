"""What is fuzzed: functions of bytes that raise when something does not hold.

No fuzzer is imported here. `fuzz_*.py` gives a target to atheris, `tests/test_guarantees.py`
runs each on the whole corpus, and a find is replayed with

    python fuzz/targets.py parser FILE
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import builtins
import contextlib
import hashlib
import html
import io
import json
import os
import random
import re
import sys
import zlib
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock
from urllib.parse import quote, unquote

import tickertape
from tickertape import Parser, ResponseReader
from tickertape.testing import Tape, TapeError
from tickertape.testing._wire import Data, Reply, Request, body_of, streamed, whole
from tickertape.testing.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tickertape.events import Event

FOLDER = Path(__file__).parent
FIXTURES = FOLDER.parent / "fixtures"
SUFFIXES = (".jsonl", ".json", ".sse", ".md")


def check(holds: object, *told: object) -> None:
    """An assertion that `python -O` keeps."""
    if not holds:
        raise AssertionError(*told)


def rng_of(data: bytes) -> random.Random:
    """Drawn from the input itself, so that an input is readable and nothing else decides."""
    return random.Random(zlib.crc32(data))


def pieces_of(whole: Any, rng: random.Random) -> Iterator[Any]:
    at, most = 0, rng.choice((1, 3, 9, 40))
    while at < len(whole):
        size = rng.randint(1, most)
        yield whole[at : at + size]
        at += size


def text_of(data: bytes) -> str:
    """UTF-8; bytes that are none become lone surrogates, which content may hold."""
    return data.decode("utf-8", "surrogateescape")


# -- targets ---------------------------------------------------------------------------


def parser(data: bytes) -> None:
    """Content: no error, tiling, the same in any pieces, events of a prefix a prefix of the events, bounded waiting."""
    text, rng = text_of(data), rng_of(data)
    whole = Parser()
    events = whole.feed(text)
    waiting = whole.pending
    rest = whole.close()
    at = 0
    for event in (*events, *rest):
        check(event.start == at <= event.end, "spans do not tile", event, at)
        at = event.end
    check(at == len(text), "spans end before the text", at, len(text))

    cut = Parser()
    again: list[Event] = []
    for piece in pieces_of(text, rng):
        again += cut.feed(piece)
    check(again == events, "what is certain before the end depends on the pieces")
    check(cut.pending == waiting, "what waits depends on the pieces")
    check(cut.close() == rest, "the events depend on the pieces")
    check(cut.task == whole.task, "the task depends on the pieces")
    check(cut.close() == [] and cut.pending == "", "closing is not idempotent")
    json.dumps(whole.task.as_dict(), allow_nan=False)

    limit = rng.randint(1, 40)
    narrow = Parser(max_pending=limit, history=False)
    at = 0
    for piece in pieces_of(text, rng):
        for event in narrow.feed(piece):
            check(event.start == at, "spans do not tile in a narrow parser")
            at = event.end
        check(len(narrow.pending) <= limit + 120, "more waits than may", limit, len(narrow.pending))
    check(max((event.end for event in narrow.close()), default=at) == len(text), "a narrow parser loses text")

    prefix = text[: rng.randint(0, len(text))]
    early = tickertape.parse(prefix, closed=False).events
    check(list(early) == [*events, *rest][: len(early)], "the events of a prefix are no prefix of the events", prefix)
    try:
        tickertape.parse(text, strict=True)
    except tickertape.UnknownLine as unknown:
        str(unknown)
    tickertape.render((*events, *rest))


def envelope(data: bytes) -> None:
    """A body: no error, the same in any pieces and as text, with or without an HTTP status."""
    rng = rng_of(data)
    for status in (None, 200, 502):
        whole = tickertape.parse_response(data, status_code=status)
        json.dumps(whole.as_dict(), allow_nan=False, default=refuse)
        reader = ResponseReader(status_code=status)
        for piece in pieces_of(data, rng):
            reader.feed(piece)
        reader.close()
        check(reader.close() == [], "closing is not idempotent")
        check(reader.task == whole, "the task depends on where the bytes are cut", status)
    text = data.decode("utf-8-sig", "replace")
    as_text = tickertape.parse_response(text)
    check(as_text == tickertape.parse_response(data), "text reads otherwise than its bytes")
    list(tickertape.iter_events(list(pieces_of(text, rng))))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict):
        tickertape.parse_response(value)
        list(tickertape.iter_events([value]))


def refuse(value: object) -> None:
    raise AssertionError(f"a task holds {type(value).__name__}")


def tape(data: bytes) -> None:
    """A tape: `TapeError` or a tape, which saved and loaded is equal, in any pieces and form of answer."""
    for suffix in SUFFIXES:
        try:
            loaded = Tape.loads(data, suffix=suffix, name="fuzz/find")
        except TapeError as error:
            check(str(error), "an error that says nothing")
            continue
        kept = loaded.dumps()
        again = Tape.loads(kept, name="fuzz/find")
        check(again.dumps() == kept, "saved, loaded and saved it is another tape")
        check(again.task == loaded.task, "saved and loaded it tells another task")
        for how in (zlib.crc32(data), "every-byte", "inside-codepoint", "inside-frame"):
            other = loaded.rechunk(how)
            check(other.task == loaded.task, "in other pieces it tells another task", how)
        for index in range(len(loaded.interactions)):
            for stream in (True, False):
                loaded.reply(stream=stream, index=index, include_usage=True)


# -- redaction ---------------------------------------------------------------------------


def key_of(data: bytes) -> str:
    """What is planted: of the input's hash, for libFuzzer learns what it is compared with, and would write it too."""
    return "sk-" + hashlib.sha256(b"planted" + data).hexdigest()[:48]


_FORMS: tuple[Callable[[str], str], ...] = (
    lambda key: key,
    lambda key: f"password={key[3:]}",
    lambda key: "".join(f"%{ord(character):02x}" for character in key),
    lambda key: quote("".join(f"%{ord(character):02X}" for character in key)),
    lambda key: "".join(f"\\u{ord(character):04x}" for character in key),
    lambda key: "".join(f"&#{ord(character)};" for character in key),
    lambda key: base64.b64encode(f"key: {key}".encode()).decode(),
)
"""How a secret may be written, as `redaction.py` tells."""


def plant(text: str, key: str, rng: random.Random) -> str:
    """The text with a key somewhere, between spaces: what is glued to a word is part of the word, by contract."""
    at = rng.randint(0, len(text))
    form = rng.choice(_FORMS) if rng.random() < 0.5 else _FORMS[0]
    return f"{text[:at]} {form(key)} {text[at:]}"


def unescaped(text: str) -> str:
    """All layers of escapes off, in our own way and not in the redactor's."""
    for _ in range(4):
        text = html.unescape(unquote(re.sub(r"\\u00([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text)))
    return text


def clean(told: object, key: str) -> None:
    """The key is not there, nor a part that says much."""
    text = told if isinstance(told, str) else repr(told)
    words = re.findall(r"[A-Za-z0-9+/_-]{20,}", text)
    said = [base64.b64decode(word[: len(word) // 4 * 4].replace("-", "+").replace("_", "/")) for word in words]
    for left in (text, unescaped(text), *(each.decode("latin-1") for each in said)):
        check(not any(key[at : at + 12] in left for at in range(len(key) - 11)), "a key is left", text)


def settled(item: Any, key: str) -> Any:
    """The item redacted: without a key, once and for all, and nothing is left to find."""
    once = Redactor()
    redacted = once.redact(item)
    clean(redacted.dumps() if isinstance(redacted, Tape) else redacted, key)
    check(once.redact(redacted) == redacted, "redacting twice is not redacting once", redacted)
    found = [finding for finding in Redactor().scan(redacted) if finding.rule != "compressed"]
    check(not found, "something is left to find", found, redacted)
    return redacted


def few(whole: Any, rng: random.Random) -> list[Any]:
    """In up to 20 pieces: each is looked at again and again."""
    cuts = sorted(rng.randint(0, len(whole)) for _ in range(rng.choice((0, 3, 19))))
    return [whole[start:end] for start, end in pairwise([0, *cuts, len(whole)])]


def reply_of(pieces: list[bytes]) -> Reply:
    return streamed(200, [Data(number / 8, piece) for number, piece in enumerate(pieces)])


def same_form(before: bytes, after: bytes) -> None:
    """UTF-8 stays UTF-8, JSON stays JSON of the same shape."""
    try:
        before.decode()
    except UnicodeDecodeError:
        return
    after.decode()
    try:
        value = json.loads(before)
    except (ValueError, RecursionError):
        return
    check(shape(json.loads(after)) == shape(value), "JSON has another shape", after)


def shape(value: Any) -> Any:
    """What of JSON no redaction changes. A number may become a text where it stood under the name of a secret."""
    todo, told = [value], []
    while todo:
        each = todo.pop()
        told.append(f"{type(each).__name__} {len(each)}" if isinstance(each, list | dict) else isinstance(each, bool))
        todo += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
    return told


def plant_in_json(value: Any, key: str, rng: random.Random) -> None:
    """A key in one of the texts of a list or an object."""
    while isinstance(value, list | dict) and value:
        at: Any = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if not (isinstance(value[at], list | dict) and value[at]):
            value[at] = plant(value[at] if isinstance(value[at], str) else "", key, rng)
        value = value[at]


def redactor(data: bytes) -> None:
    """Nothing raises; a planted key is gone; twice is once; in pieces as joined; JSON and UTF-8 stay what they are."""
    rng, key = rng_of(data), key_of(data)
    text = plant(text_of(data), key, rng)
    once = settled(text, key)

    deltas = few(text, rng)
    frames = [{"choices": [{"delta": {"content": each}}]} for each in deltas]
    reply = reply_of(few(b"".join(b"data: %b\n\n" % json.dumps(frame).encode() for frame in frames), rng))
    out = Redactor().redact(reply)
    said = [json.loads(line[6:])["choices"][0]["delta"]["content"] for line in body_of(out).split(b"\n\n")[:-1]]
    check("".join(said) == once, "the redaction of deltas is not that of the text", said, once)
    check(len(said) == len(deltas), "a frame is lost")
    check([step.t for step in out] == [step.t for step in reply], "a step is lost")

    # The bytes as a body, whatever it is.
    at = rng.randint(0, len(data))
    body = b"%b %b %b" % (data[:at], rng.choice(_FORMS[:4])(key).encode(), data[at:])
    redacted = body_of(settled(whole(200, body), key))
    same_form(body, redacted)
    in_pieces = body_of(Redactor().redact(reply_of(few(body, rng))))
    check(in_pieces == redacted, "the redaction depends on the chunks", in_pieces, redacted)

    rng.choice((as_request, as_json, as_tape))(data, key, rng)


def as_request(data: bytes, key: str, rng: random.Random) -> None:
    text = plant(text_of(data), key, rng)
    url = f"https://relay.example/v1?q={quote(text, errors='surrogateescape')}#{key}"
    redacted = settled(Request("POST", url, {"x-note": text}, data), key)
    same_form(data, redacted.body)


def as_json(data: bytes, key: str, rng: random.Random) -> None:
    try:
        value = [json.loads(text_of(data))]
        plant_in_json(value, key, rng)
        body = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogateescape")
    except (ValueError, RecursionError):
        return
    item: Any = rng.choice((whole(200, body), Request("POST", "https://relay.example/v1", {}, body)))
    redacted = settled(item, key)
    same_form(body, redacted.body if isinstance(redacted, Request) else body_of(redacted))


def as_tape(data: bytes, key: str, rng: random.Random) -> None:
    try:
        loaded = Tape.loads(data, suffix=rng.choice(SUFFIXES), name="fuzz/find")
    except TapeError:
        return
    else:
        kept = settled(replace(loaded, title=plant(loaded.title, key, rng)), key).dumps()
        check(Tape.loads(kept, name="fuzz/find").dumps() == kept, "a redacted tape is loaded as another one")


# -- the controls of the server ------------------------------------------------------------

HOST = "127.0.0.1:80"
CONTROL = "/__tickertape__"
_BETWEEN = b"\n---\n"
_MOST_CALLS = 6
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ILLEGAL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CHAT = {"model": "m", "messages": [{"role": "user", "content": "a cat"}], "stream": True}


class Sent(NamedTuple):
    """One request of an input. `CHAT` for a method asks the relay itself, so that there are calls to look at."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


def sent_of(data: bytes) -> list[Sent]:
    """`METHOD /path?query`, headers, an empty line and the body, as they are written; a line `---` between requests.

    What a server's HTTP parser lets nobody send is left out, or percent-encoded.
    """
    found = []
    for each in data.split(_BETWEEN)[:_MOST_CALLS]:
        head, _, body = each.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        method, _, target = first.partition(b" ")
        pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        headers = [pair for pair in pairs if _TOKEN.fullmatch(pair[0]) and not _ILLEGAL.search(pair[1])]
        if not any(name == b"host" for name, _ in headers):
            headers.append((b"host", HOST.encode()))
        known = method.decode("latin-1") if _TOKEN.fullmatch(method) else "POST"
        found.append(
            Sent(known, quote(b"/" + target.lstrip(b"/"), safe="%/?#[]@!$&'()*+,;=:~").encode(), headers, body)
        )
    return found


class _Leaving(asyncio.Future[None]):
    """Of a client that goes as soon as anybody waits for it to: nothing here takes time."""

    def __await__(self) -> Any:
        if not self.done():
            self.set_result(None)
        return super().__await__()

    __iter__ = __await__


class _Connection:
    """What `_exchange.py` asks of a connection, without a socket."""

    chunks = True
    write_paused = False

    def __init__(self) -> None:
        self.gone = _Leaving()
        self.body: list[bytes] = []
        self.flow = self.gathered = self.transport = self

    def chunk(self, data: bytes) -> None:
        self.body.append(data)

    def abort(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def hold(self) -> None: ...

    release = hold

    async def close(self) -> None:
        self.abort()

    reset = close


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


async def asked(app: Any, sent: Sent, rng: random.Random) -> Answer | None:
    """Ask the app as uvicorn would; None where the client went before an answer began."""
    target, _, query = sent.target.partition(b"?")
    is_chat = sent.method == "CHAT"
    path = b"/v1/chat/completions" if is_chat else CONTROL.encode() + target
    connection = _Connection()
    pieces = list(pieces_of(sent.body, rng)) or [b""]
    left = len(pieces) if rng.random() < 0.9 else rng.randrange(len(pieces))  # one in ten goes too early
    begun: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal left
        if pieces and left:
            left -= 1
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
        for _ in range(50):  # a feed has no end: it is left after some lines
            await asyncio.sleep(0)
        connection.abort()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            check(not begun, "two answers to one request")
            begun.append(message)
        else:
            connection.body.append(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST" if is_chat else sent.method,
        "scheme": "http",
        "path": unquote(path.decode()),
        "raw_path": path,
        "root_path": "",
        "query_string": query,
        "headers": sent.headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {"connection": connection},
    }
    await app(scope, receive, send)
    if not begun:
        return None
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in begun[0]["headers"]}
    check(not any(re.search(r"[\0\r\n]", told) for pair in headers.items() for told in pair), "a header is broken")
    return Answer(begun[0]["status"], headers, b"".join(connection.body))


@cache
def tapes_folder() -> Path:
    """A project's tapes, and beside them what nobody may read."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    tapes = Path(folder.name, "tapes")
    (tapes / "own").mkdir(parents=True)
    (tapes / "own" / "cat.md").write_text("> ID: `task_1`\n> 生成完成 ✅\n![a](https://cdn.example/a.png)\n", "utf-8")
    (tapes.parent / "secret.md").write_text("> ID: `task_2`\n", "utf-8")
    with contextlib.suppress(OSError):  # on Windows links are for administrators
        (tapes / "link").symlink_to(tapes.parent)
        (tapes / "out.md").symlink_to(tapes.parent / "secret.md")
    return tapes


@contextlib.contextmanager
def reading_tapes_only() -> Iterator[None]:
    """Whatever else is opened is told."""
    package = Path(tickertape.__file__).parent
    allowed = [os.path.realpath(path) for path in (tapes_folder(), FIXTURES, package)]
    opened, before = [], io.open

    def noted(file: Any, *arguments: Any, **named: Any) -> Any:
        opened.append(file)
        return before(file, *arguments, **named)

    with mock.patch.object(io, "open", noted), mock.patch.object(builtins, "open", noted):
        yield
    for file in opened:
        real = os.path.realpath(file)
        check(any(real.startswith(folder + os.sep) for folder in allowed), "a file was read", file)


def plain_json(body: bytes) -> Any:
    """RFC 8259, which knows no NaN."""
    return json.loads(body.decode(), parse_constant=refuse)


def control(data: bytes) -> None:
    """Calls of the server's controls: an answer below 500, JSON where it says so, no file but tapes, and it goes on."""
    from tickertape.testing._app import app
    from tickertape.testing._session import Options, Sessions

    rng, folder = rng_of(data), tapes_folder()
    sessions = Sessions(f"http://{HOST}", Options(folder, keep=20))
    server = app(sessions, url=f"http://{HOST}", hosts=[HOST], max_body=1 << 20)
    chat = Sent("CHAT", b"", [(b"host", HOST.encode()), (b"authorization", b"Bearer x")], json.dumps(_CHAT).encode())
    post = chat._replace(method="POST")

    async def series() -> None:
        for sent in sent_of(data):
            if sent.method == "CHAT":  # what was put on, so it may be anything that a relay answers
                await asked(server, sent if sent.body else sent._replace(body=chat.body), rng)
            elif (answer := await asked(server, sent, rng)) is not None:
                judged(sent, answer)
        await asked(server, chat, rng)
        for target, body in ((b"/reset", b""), (b"/play", b'{"tape": "own/cat"}')):
            done = await asked(server, post._replace(target=target, body=body), random.Random(0))
            check(done is not None and done.status in (200, 201), "it takes no more orders", target, done)
        last = await asked(server, chat, random.Random(0))
        check(last is not None and tickertape.parse_response(last.body).task_id == "task_1", "it answers no more", last)

    with reading_tapes_only(), asyncio.Runner() as runner:
        runner.run(series())


def judged(sent: Sent, answer: Answer) -> None:
    """What holds for every answer of a control."""
    told = (sent.method, sent.target, answer.status, answer.body[:300])
    check(answer.status < 500, "a control broke", *told)
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    if media_type == "application/json":
        value = plain_json(answer.body)
        check(answer.status < 400 or value["error"]["message"], "an error that says nothing", *told)
    elif media_type == "text/event-stream":
        for line in answer.body.decode().split("\n"):
            if line.startswith("data: "):
                plain_json(line[6:].encode())
    check("task_2" not in answer.body.decode("latin-1"), "a file beside the tapes was told", *told)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "parser": parser,
    "envelope": envelope,
    "tape": tape,
    "redactor": redactor,
    "control": control,
}
"""Name -> target. One more is a function above, its name here, and a `fuzz_NAME.py` like the others."""


# -- the corpus --------------------------------------------------------------------------


def seeds(name: str) -> dict[str, bytes]:
    """Where a target begins: the fixtures, and what earlier runs found to lead further."""
    if name == "control":
        return _calls() | {f"kept-{number}": data for number, data in enumerate(kept(name))}
    found: dict[str, bytes] = {}
    for path in sorted(FIXTURES.glob("*/*")):
        if path.parent.name == "fatal" and name == "parser":
            found[f"fatal/{path.stem}"] = json.loads(path.read_text("utf-8")).encode("utf-8", "surrogatepass")
        elif path.parent.name == "spec" and name == "parser":
            for number, case in enumerate(path.read_text("utf-8").split("\n.\n")[1::3]):
                found[f"spec/{path.stem}-{number}"] = case.encode()
        elif path.suffix in (".md", ".json", ".sse") and path.parent.name not in ("fatal", "spec"):
            found[path.relative_to(FIXTURES).as_posix()] = path.read_bytes()
    if name == "tape":
        found |= {
            f"{key}.jsonl": Tape.loads(data, suffix=Path(key).suffix, name=key).dumps().encode()
            for key, data in found.items()
            if not key.endswith((".task.json", ".request.json"))
        }
    if name == "redactor":  # every rule is tried on every text: short ones say as much
        found = {key: data for key, data in found.items() if len(data) <= 300} | _secrets()
    return found | {f"kept-{number}": data for number, data in enumerate(kept(name))}


def _secrets() -> dict[str, bytes]:
    """What the redactor looks for, by name and by shape, made here of letters that repeat."""
    value = "a1B2" * 6
    beside = {
        "query": f"![a](https://files.example/a.png?se=1&sig={value}%3D&w=2)",
        "json": json.dumps({"password": value, "user_id": 4815, "a": [{"token": f"{value}x"}]}),
        "escaped": json.dumps(json.dumps({"client_secret": value})),
        "headers": f"authorization: Bearer {value}\ncookie: a={value}; b=c\nx-forwarded-for: 203.0.113.7",
        "url": f"https://bot:{value}@relay.example/?api_key={value}&next=https%3A%2F%2Fa.example%2F%3Fsig%3D{value}",
        "e-mail": "to anna.k@studio-nine.cn, a%40b.cn",
        "account": "用户 [4815] 额度不足; user 4815 quota; account: [studio9]",
        "pem": f"-----BEGIN {'PRIVATE'} KEY-----\n{value}\n{value}\n-----END",
        "image": f"data:image/png;base64,{value * 3}",
        "base64": base64.b64encode(f"me:{value}".encode()).decode(),
        "masked": "sk-" + "a1b2***" + "***c3",
        "placeholders": "REDACTED-key-3 user-1@redacted.invalid 990000001 data:image/png;base64,REDACTED-image-1",
        "deltas": "".join(
            f'data: {{"choices":[{{"index":{number},"delta":{{"content":"sig={piece}"}}}}]}}\n\n'
            for number, piece in enumerate((value, value, "\\n"))
        ),
    }
    return {f"secret/{name}": text.encode() for name, text in beside.items()}


def _calls() -> dict[str, bytes]:
    """Every control, with what its document gives as examples, every step and every fault."""
    from tickertape.testing._control import ROUTES, openapi
    from tickertape.testing._orders import FAULTS, STEPS

    paths = {f"{method} {path}": "" for method, path, _ in ROUTES if "{" not in path}
    for path in ("/play", "/fail"):
        examples = openapi()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        paths |= {f"POST {path} {name}": json.dumps(example["value"]) for name, example in examples.items()}
    for name in STEPS:
        told: dict[str, Any] = {"scenario": {"kind": "video", "prompt": "a cat", "n": 1, "steps": [[name, 1], name]}}
        paths[f"POST /play {name}"] = json.dumps(told)
    for name in FAULTS:
        paths[f"POST /play {name}"] = json.dumps({"tape": "own/cat", "fault": {name: {}}, "when": {"stream": True}})
        paths[f"POST /fail {name}"] = json.dumps({"fault": {name: {"frame": 2}}, "times": None})
    for name in ("../secret", "own/../../secret", "link/secret", "out", "/etc/passwd", "own/cat.md"):
        paths[f"POST /play tape {name}"] = json.dumps({"tape": name})
    found = {}
    for key, body in paths.items():
        method, path, *_ = key.split(" ")
        found[key] = f"{method} {path}\n\n{body}".encode()
    looks = (b"GET /journal", b"GET /calls/1?session=", b"GET /events?form=lines", b"GET /verdict?allow=unread")
    found["a whole run"] = _BETWEEN.join((found["POST /play tape own/cat.md"], b"CHAT", *looks))
    found["a session"] = b"POST /play\nx-tickertape-session: one\n\n" + b'{"scenario": {}, "optional": true}'
    found["strangers"] = (
        b"GET /tapes\nhost: evil.example\n---\nGET /\norigin: null\n---\nGET /\naccept: text/html;q=0.9"
    )
    found["no control"] = b"DELETE /calls/0/media/%2e%2e%2Fx?a=%00\n---\nHEAD /calls/99999999999"
    return found


def words(name: str) -> list[bytes]:
    """What a fuzzer shall write as well: every literal of the grammar, names of secrets, words of the controls."""
    if name == "control":
        from tickertape.testing._orders import FAULTS, STEPS, WHEN

        beside = (
            "CHAT GET POST HEAD x-tickertape-session last-event-id session form=lines allow steps times null NaN 1e999"
        )
        fields = (
            "tape scenario fault when optional status retry_after message kind prompt n frame byte event ../ %2e%2e"
        )
        found = {*STEPS, *FAULTS, *WHEN, *beside.split(), *fields.split(), _BETWEEN.decode(), "\n\n", "own/cat"}
    elif name == "redactor":
        from tickertape.testing._secrets import NAMED

        beside = (
            "sk- Bearer REDACTED- redacted.invalid &amp; &#x61; %25 \\\\u0041 ://a:b@ data:image/png;base64, eyJ @ 用户"
        )
        found = {
            *(each for named in NAMED for each in named.names),
            *beside.split(),
            "\ndata: ",
            '{"choices":[{"delta":',
        }
    else:
        from tickertape._tables import TABLES

        found = {word for terminal in TABLES.terminals for word in (*terminal.literals, *terminal.folded)}
    return sorted(word.encode() for word in found if len(word) > 1)


def kept(name: str) -> list[bytes]:
    """`corpus/NAME.jsonl`: one JSON string a line, bytes that are no UTF-8 as lone surrogates."""
    path = FOLDER / "corpus" / f"{name}.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return [json.loads(line).encode("utf-8", "surrogateescape") for line in lines]


def keep(name: str, inputs: list[bytes]) -> None:
    """Write what a run found, smallest first."""
    path = FOLDER / "corpus" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    lines = [json.dumps(text_of(data)) + "\n" for data in sorted(set(inputs), key=lambda data: (len(data), data))]
    path.write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    for file in sys.argv[2:]:
        TARGETS[sys.argv[1]](Path(file).read_bytes())
