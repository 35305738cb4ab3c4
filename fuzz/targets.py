"""What is fuzzed: functions of bytes that raise when something does not hold.

No fuzzer is imported here. `fuzz_*.py` gives a target to atheris, `tests/test_guarantees.py`
runs each on the whole corpus, and a find is replayed with

    python fuzz/targets.py parser FILE
"""

from __future__ import annotations

import json
import random
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tickertape
from tickertape import Parser, ResponseReader
from tickertape.testing import Tape, TapeError

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


TARGETS: dict[str, Callable[[bytes], None]] = {"parser": parser, "envelope": envelope, "tape": tape}
"""Name -> target. One more is a function above, its name here, and a `fuzz_NAME.py` like the others."""


# -- the corpus --------------------------------------------------------------------------


def seeds(name: str) -> dict[str, bytes]:
    """Where a target begins: the fixtures, and what earlier runs found to lead further."""
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
    return found | {f"kept-{number}": data for number, data in enumerate(kept(name))}


def words() -> list[bytes]:
    """What relays write, for a fuzzer to write as well: every literal of the grammar."""
    from tickertape._tables import TABLES

    literals = {word for terminal in TABLES.terminals for word in (*terminal.literals, *terminal.folded)}
    return sorted(word.encode() for word in literals if len(word) > 1)


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
