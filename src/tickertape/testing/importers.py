"""Recordings of other tools as tapes: cassettes of vcrpy and pytest-recording, and HAR files.

    imported = read(Path("cassettes/test_cat.yaml"))
    imported.tape, imported.left       # without secrets; what was not taken, and why

Everything goes through the redactor, also what another tool has filtered. Cassettes are
read by a loader that makes plain data only: a tag that names a Python object is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from .._errors import ResponseError, TapeError
from ..responses import parse_response
from . import _chat, _facts
from ._facts import Interaction
from ._shape import task_of
from ._wire import Data, End, Head, Reply, Request, body_of, streamed, whole
from .redaction import RULES, Redactor
from .tape import Tape
from .verify import noted

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

__all__ = ["Imported", "import_to", "read"]

SUFFIXES = (".yaml", ".yml", ".json", ".har")
_LARGEST = 200_000_000
"""Bytes of a file, and of a body that is unpacked: what is larger is no test recording, or a trap."""
_NODES = 200_000
"""Values of a body that is kept as data. YAML can name one list a million times over."""
_API = re.compile(r"/v\d[a-z0-9]*/|/chat/completions$")
_MEDIA_HEAD = 512
_DROPPED = ("content-length", "content-encoding", "transfer-encoding", "connection", "keep-alive")


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file gave."""

    source: Path
    tape: Tape | None
    """None where nothing of it is a relay's."""
    left: tuple[str, ...] = ()
    """What was not taken, and why, a line each."""
    target: Path | None = None
    """Where it was written."""
    why: str = ""
    """Of a file that could not be read, or its tape not be written: why."""


class _OtherFile(TapeError):
    what = "neither a cassette (interactions) nor HAR (log)"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: {self.what}; give it a recording of one of those")


@dataclass(slots=True)
class _Entry:
    """One exchange, whatever tool kept it; times in seconds after the request."""

    where: str
    method: str
    url: str
    request_headers: list[tuple[str, str]]
    request_body: bytes
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    head_at: float = 0.0
    end_at: float = 0.0
    started: str | None = None


def import_to(
    paths: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    everything: bool = False,
    force: bool = False,
    redactor: Redactor | None = None,
) -> Iterator[Imported]:
    """Import files, and those of folders, as tapes below `out`, each named after its file.

    A tape that is there is not written over unless `force`. `redactor` brings rules of
    your own; each tape has placeholders of its own. A file that cannot be imported is
    told (`why`), and the others are all the same. Raises `TapeError` for a path that
    names no file.
    """
    rules = redactor.rules if redactor is not None else RULES
    paths, folder, written = list(paths), Path(out), set[Path]()
    for file, name in list(_files(paths)):
        named, target = any(file == Path(path) for path in paths), folder / f"{name}.jsonl"
        try:
            imported = read(file, name=name, everything=everything, redactor=Redactor(rules))
            if imported.tape is not None:
                _save(imported.tape, file, target, folder, force, written)
                imported = replace(imported, target=target)
        except _OtherFile as error:  # in a folder, JSON may be anything
            left = () if named else (f"{error.what}; left alone",)
            imported = Imported(file, None, left, why=str(error) if named else "")
        except TapeError as error:
            imported = Imported(file, None, why=str(error))
        yield imported


def _save(tape: Tape, file: Path, target: Path, folder: Path, force: bool, written: set[Path]) -> None:
    if not target.resolve().is_relative_to(folder.resolve()):
        raise TapeError(f"{target}: a link leads out of {folder}; remove the link")
    if target in written:
        raise TapeError(f"{file}: {target} was just written from another file; rename one of them")
    if target.exists() and not force:
        raise TapeError(f"{target}: is there already; --force writes over it, or give another --out")
    tape.save(target)
    written.add(target)


def _files(paths: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[Path, str]]:
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            if not inside:
                raise TapeError(f"{path}: no file in this folder is named {', '.join(SUFFIXES)}")
            yield from ((file, _name(file.relative_to(path))) for file in inside)
        elif path.is_file():
            yield path, _name(Path(path.name))
        else:
            raise TapeError(f"{path}: no such file or folder; check the path")


def _name(path: Path) -> str:
    """A tape's name that is one on any system: `test_a[x-y].yaml` is `test_a-x-y`."""
    parts = path.with_suffix("").parts
    return "/".join(re.sub(r"[^\w.-]+", "-", part).strip("-.") or "tape" for part in parts)


def read(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    everything: bool = False,
    redactor: Redactor | None = None,
) -> Imported:
    """The tape in a cassette (`.yaml`, `.yml`, `.json`) or a HAR file (`.har`, `.json`).

    Taken are requests to an API (`/v1/…`), what answers with a task, and the media and
    links that those answers name; `everything` takes the rest too. Raises `TapeError`
    for what is neither, or cannot be read safely.
    """
    path = Path(path)
    value = _load(path)
    if isinstance(value, dict) and isinstance(value.get("log"), dict):
        entries, left = _collect(_har(value["log"], path))
    elif isinstance(value, dict) and isinstance(value.get("interactions"), list):
        entries, left = _collect(_cassette(value["interactions"], path))
    else:
        raise _OtherFile(path)
    interactions, named = [], ""
    for entry in entries:
        why = None if everything or _is_wanted(entry, named) else "no answer of a relay; --all takes it too"
        interaction = _interaction(entry)
        if why is None and (unread := _facts.unreadable(interaction)):
            why = f"{unread.found}; {unread.remedy or 'record it again'}"
        if why is not None:
            left.append(f"{entry.where}: {_asked(entry)}: {why}")
            continue
        interactions.append(interaction)
        if (task := task_of(interaction)) is not None:  # joined: deltas part links
            named += task.text + body_of(interaction.reply).decode("utf-8", "replace").replace("\\/", "/")
    redactor = redactor or Redactor()
    told = redactor.redact("\n".join(left)).split("\n") if left else []
    if not interactions:
        return Imported(path, None, tuple(told))
    recorded = next((entry.started for entry in entries if entry.started), None)
    tape = Tape(name or _name(Path(path.name)), f"imported from {path.name}", recorded, tuple(interactions))
    tape = redactor.redact(tape)
    tape = replace(tape, interactions=tuple(map(noted, tape.interactions)))
    # As it will be read: a tape that cannot be is told here, and not in a test.
    return Imported(path, Tape.loads(tape.dumps(), name=tape.name), tuple(told))


def _collect(found: Iterator[_Entry | str]) -> tuple[list[_Entry], list[str]]:
    entries, left = [], []
    for each in found:
        if isinstance(each, str):
            left.append(each)
        else:
            entries.append(each)
    return entries, left


def _asked(entry: _Entry) -> str:
    return f"{entry.method} {entry.url.partition('?')[0][:120]}"


def _is_wanted(entry: _Entry, named: str) -> bool:
    """Whether this is a relay's: by its path, by its answer, or because an answer before it names the URL."""
    if _API.search(urlsplit(entry.url).path) or (len(entry.url) > 12 and entry.url in named):
        return True
    if entry.body.lstrip()[:1] != b"{":
        return _chat.is_stream(entry.body)
    try:
        task = parse_response(entry.body, entry.status)
    except ResponseError:
        return False
    return bool(task.task_id or task.results or task.stages)


def _interaction(entry: _Entry) -> Interaction:
    url = urlsplit(entry.url)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = {name.lower(): value for name, value in entry.request_headers if name.lower() not in _DROPPED}
    request = Request(entry.method.upper(), _facts.HOST + path, headers, entry.request_body)
    return Interaction(request, _reply(entry))


def _reply(entry: _Entry) -> Reply:
    kept = [(name, value) for name, value in entry.headers if name.lower() not in _DROPPED]
    content_type = next((value for name, value in kept if name.lower() == "content-type"), None)
    kept = [(name, value) for name, value in kept if name.lower() != "content-type"]
    if not entry.status:  # HAR's way to say that nothing came back
        return (End(entry.end_at, "reset"),)
    if _chat.is_stream(entry.body):
        frames = _chat.frames_of(entry.body)
        pace = (entry.end_at - entry.head_at) / max(len(frames) - 1, 1)
        # The frames' own times are lost: they are spread over the time that the body took.
        data = [Data(min(entry.head_at + number * pace, entry.end_at), frame) for number, frame in enumerate(frames)]
        kind = content_type or "text/event-stream"
        end = End(entry.end_at)
        return streamed(entry.status, data, headers=kept, content_type=kind, head_at=entry.head_at, end=end)
    reply = whole(entry.status, entry.body, headers=kept, content_type=content_type or "application/octet-stream")
    times = {Head: entry.head_at, Data: entry.end_at, End: entry.end_at}
    return tuple(replace(step, t=times[type(step)]) for step in reply)


# -- files ------------------------------------------------------------------------------


def _load(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise TapeError(f"{path}: larger than {_LARGEST // 1_000_000} MB; part it, or record less")
        data = path.read_bytes()
    except OSError as error:
        raise TapeError(f"{path}: {error.strerror}; check the path and its permissions") from error
    if path.suffix.lower() in (".yaml", ".yml"):
        return _yaml(data, path)
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise TapeError(f"{path}: no JSON ({error}); name a cassette in YAML .yaml") from error


def _yaml(data: bytes, path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise TapeError(f"{path}: YAML needs PyYAML; pip install 'tickertape[cli]'") from error
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(data, Loader=loader)
    except yaml.constructor.ConstructorError as error:
        tag = re.search(r"tag:yaml\.org,2002:(python/[\w./:]+)", str(error))
        found = f"the tag !!{tag[1]}" if tag else f"{error.problem}"
        raise TapeError(f"{path}: {found} is no plain data and is not loaded; record the cassette again") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TapeError(f"{path}: no YAML ({' '.join(str(error).split())[:200]}); mend or record it again") from error


# -- cassettes ----------------------------------------------------------------------------


def _cassette(interactions: list[Any], path: Path) -> Iterator[_Entry | str]:
    """vcrpy's form, which pytest-recording writes too; and the parsed bodies of its JSON serializers."""
    for number, value in enumerate(interactions, 1):
        where = f"interaction {number}"
        try:
            request, response = value["request"], value["response"]
            method, url = request["method"], request.get("uri") or request["url"]
            status = response.get("status", response.get("status_code"))
            code = status["code"] if isinstance(status, dict) else status
        except (KeyError, TypeError, AttributeError):
            yield f"{where}: no request with method and uri, and response with status, as vcrpy writes them"
            continue
        if not (isinstance(method, str) and isinstance(url, str) and type(code) is int and 100 <= code <= 599):
            yield f"{where}: method, uri or status is of another type than vcrpy writes"
            continue
        headers = _vcr_headers(response.get("headers"))
        try:
            entry = _Entry(
                where,
                method,
                url,
                _vcr_headers(request.get("headers")),
                _vcr_body(request),
                code,
                headers,
                _unpacked(_vcr_body(response), headers),
                started=_date(headers, value.get("recorded_at")),
            )
        except ValueError as error:
            yield f"{where}: {method} {url.partition('?')[0][:120]}: {error}"
            continue
        yield entry


def _vcr_headers(value: Any) -> list[tuple[str, str]]:
    """A value, or a list of them, by name; vcrpy keeps lists, pydantic-ai's serializer one text."""
    pairs = value.items() if isinstance(value, dict) else ()
    return [
        (str(name), _as_text(one))
        for name, values in pairs
        for one in (values if isinstance(values, list) else [values])
    ]


def _as_text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _vcr_body(message: dict[str, Any]) -> bytes:
    body = message.get("body")
    if "parsed_body" in message:
        return _bounded_json(message["parsed_body"])
    if isinstance(body, dict):
        if "base64_string" in body:
            return _unbase64(body["base64_string"], "body")
        body = body.get("string")
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode("utf-8", "surrogateescape")
    if isinstance(body, bytes):
        return body
    return _bounded_json(body)


def _unbase64(text: Any, what: str) -> bytes:
    try:  # tools break the lines of it
        return base64.b64decode("".join(_as_text(text).split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"its {what} is no base64") from None


def _bounded_json(value: Any) -> bytes:
    waiting, count = [value], 0
    while waiting:
        count += 1
        if count > _NODES:
            raise ValueError(f"its body holds more than {_NODES} values")
        each = waiting.pop()
        waiting.extend(each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
    try:
        return _chat.dump(value)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("its body is no JSON") from None


def _date(headers: list[tuple[str, str]], recorded: Any = None) -> str | None:
    """When it was answered, by the server's own clock where the tool does not tell."""
    told = recorded if isinstance(recorded, str) else next((v for n, v in headers if n.lower() == "date"), "")
    for read_date in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read_date(told)
        except (ValueError, TypeError, IndexError):
            continue
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return None


def _unpacked(body: bytes, headers: list[tuple[str, str]]) -> bytes:
    """The body without its codings; some tools decode it, and leave the header as it was."""
    told = ",".join(value for name, value in headers if name.lower() == "content-encoding")
    for coding in reversed([part.strip().lower() for part in told.split(",") if part.strip()]):
        if coding in ("gzip", "x-gzip") and body[:2] == b"\x1f\x8b":
            body = _inflated(body, 31)
        elif coding == "deflate" and body and not _is_text(body):
            # RFC 9110 means zlib's form by it; some servers send the bare one.
            body = _inflated(body, 15 if body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0 else -15)
        elif coding in ("br", "zstd", "compress") and not _is_text(body):
            raise ValueError(f"its body is compressed ({coding}); record it with decode_compressed_response=True")
    return body


def _is_text(body: bytes) -> bool:
    try:
        body[:_MEDIA_HEAD].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > _MEDIA_HEAD - 4  # a character that the cut has parted
    return b"\x00" not in body[:_MEDIA_HEAD]


def _inflated(body: bytes, bits: int) -> bytes:
    unpacked: list[bytes] = []
    room = _LARGEST
    while body:
        packed = zlib.decompressobj(bits)
        try:
            unpacked.append(packed.decompress(body, max(room, 1)))
        except zlib.error:
            raise ValueError("its body is compressed, and broken") from None
        room -= len(unpacked[-1])
        if packed.unconsumed_tail or room < 0:
            raise ValueError(f"its body unpacks to more than {_LARGEST // 1_000_000} MB")
        # gzip may have several members; what follows and is none is padding.
        body = packed.unused_data if packed.unused_data[:2] == b"\x1f\x8b" else b""
    return b"".join(unpacked)


# -- HAR ----------------------------------------------------------------------------------


def _har(log: dict[str, Any], path: Path) -> Iterator[_Entry | str]:
    """HTTP Archive 1.2, as browsers and proxies export it: bodies are decoded, times are in milliseconds."""
    entries = log.get("entries")
    if not isinstance(entries, list):
        raise TapeError(f"{path}: HAR without entries; export it with content")
    for number, value in enumerate(entries, 1):
        where = f"entry {number}"
        try:
            request, response = value["request"], value["response"]
            method, url, status = request["method"], request["url"], int(response["status"])
            content, posted = response.get("content") or {}, request.get("postData") or {}
            headers, timings = _har_headers(response.get("headers")), value.get("timings") or {}
            body = _har_text(content)
            received = _ms(timings, "receive")
            # Without its parts only the whole is known; connect holds ssl already.
            told = [_ms(timings, name) for name in ("blocked", "dns", "connect", "send", "wait")]
            head_at = sum(told) if any(told) else max(0.0, _ms(value, "time") - received)
        except (KeyError, TypeError, AttributeError):
            yield f"{where}: no request and response as HAR 1.2 writes them"
            continue
        except ValueError as error:
            yield f"{where}: {error}"
            continue
        if not isinstance(method, str) or not isinstance(url, str) or (status and not 100 <= status <= 599):
            yield f"{where}: method, url or status is of another type than HAR 1.2 writes"
            continue
        if status and not body and isinstance(size := content.get("size"), int) and size > 0:
            yield f"{where}: {method} {url.partition('?')[0][:120]}: exported without content; export it with content"
            continue
        asked, missing = _har_posted(posted)
        sent = _har_headers(request.get("headers"))
        if asked and (kind := asked[0]):
            sent = [(name, text) for name, text in sent if name.lower() != "content-type"] + [("content-type", kind)]
        if missing:
            yield f"{where}: {method} {url.partition('?')[0][:120]}: taken without {missing}: it was not exported"
        yield _Entry(
            where,
            method,
            url,
            sent,
            asked[1] if asked else b"",
            status,
            headers,
            body,
            round(head_at, 3),
            round(head_at + received, 3),
            _date([], value.get("startedDateTime")),
        )


def _har_headers(value: Any) -> list[tuple[str, str]]:
    pairs = [(each["name"], each["value"]) for each in value or [] if isinstance(each, dict)]
    # Chrome lists what HTTP/2 has instead of a request line.
    return [(name, text) for name, text in pairs if isinstance(name, str) and isinstance(text, str) and name[:1] != ":"]


def _har_text(content: dict[str, Any]) -> bytes:
    text = content.get("text")
    if not isinstance(text, str):
        return b""
    if content.get("encoding") == "base64":
        return _unbase64(text, "content")
    return text.encode("utf-8", "surrogateescape")


_BOUNDARY = "----tickertape-import"


def _har_posted(posted: dict[str, Any]) -> tuple[tuple[str, bytes] | None, str]:
    """The body of a request, with the Content-Type where it was put together, and what of it is missing."""
    text, kind, params = posted.get("text"), str(posted.get("mimeType") or ""), posted.get("params")
    if isinstance(text, str) and (text or not params):
        return ("", text.encode("utf-8", "surrogateescape")), ""
    fields = [each for each in params or () if isinstance(each, dict) and isinstance(each.get("name"), str)]
    if not isinstance(params, list) or not fields:
        return None, "the body of its request" if kind or posted else ""
    values = [(each["name"], each["value"] if isinstance(each.get("value"), str) else "") for each in fields]
    missing = [each["name"] for each in fields if not isinstance(each.get("value"), str)]
    told = f"the content of {', '.join(map(repr, missing))} in its request" if missing else ""
    if not kind.lower().startswith("multipart/"):
        kind = kind if "urlencoded" in kind.lower() else "application/x-www-form-urlencoded"
        return (kind, urlencode(values, errors="surrogateescape").encode()), told
    parts = []
    for (name, value), each in zip(values, fields, strict=True):
        head = f'content-disposition: form-data; name="{_quoted(name)}"'
        if isinstance(each.get("fileName"), str):
            head += f'; filename="{_quoted(each["fileName"])}"'
        if isinstance(each.get("contentType"), str):
            head += f"\r\ncontent-type: {_quoted(each['contentType'])}"
        parts.append(f"--{_BOUNDARY}\r\n{head}\r\n\r\n{value}\r\n")
    body = "".join([*parts, f"--{_BOUNDARY}--\r\n"])
    return (f"multipart/form-data; boundary={_BOUNDARY}", body.encode("utf-8", "surrogateescape")), told


def _quoted(text: str) -> str:
    """As browsers write a name in a head of multipart."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _ms(value: dict[str, Any], name: str) -> float:
    """Seconds; HAR writes -1 for what does not apply."""
    number = value.get(name)
    return max(0.0, float(number)) / 1000 if isinstance(number, int | float) else 0.0
