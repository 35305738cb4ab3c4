"""The table of what a client sees of each fault, for docs/faults.md.

    python tools/fault_table.py            print it
    python tools/fault_table.py --write    put it between the markers of docs/faults.md
    python tools/fault_table.py --check    exit 1 when the page does not have it

Measured in process; tests/test_conformance.py holds that against real sockets.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- table: faults -->\n", "<!-- end -->"

sys.path.insert(0, str(ROOT))

from tests.conformance import CASES, RETRIES, Case, Seen, in_process  # noqa: E402

HEAD = (
    f"| fault | answer | openai 3 (`max_retries={RETRIES}`) | requests | httpx2, and httpx |\n|---|---|---|---:|---|\n"
)


def render() -> str:
    """The Markdown table."""
    return HEAD + "".join(_rows(case) for case in CASES)


def _rows(case: Case) -> str:
    shown = "none" if case.fault is None else f"`{case}`"
    told = {stream: _row(case, stream) for stream in case.streams}
    if len(set(told.values())) == 1:
        answers = "both" if len(told) == 2 else _answer(*told)
        return f"| {shown} | {answers} | {told[case.streams[0]]} |\n"
    return "".join(f"| {shown} | {_answer(stream)} | {cells} |\n" for stream, cells in told.items())


def _answer(stream: bool) -> str:
    return "stream" if stream else "JSON"


def _row(case: Case, stream: bool) -> str:
    # Synchronous clients stand for all: the asynchronous ones raise the same down to httpcore.
    sdk, http = in_process(case, "openai", stream), in_process(case, "httpx2", stream)
    return f"{_raised(sdk, stream)} | {sdk.requests} | {_raised(http, stream)}"


def _raised(seen: Seen, stream: bool) -> str:
    names = [each for each in seen.raised if not each.startswith("httpcore2.")]
    count = len(seen.chunks)
    if seen.status is not None:  # no SDK
        got = f"{len(seen.body)} bytes"
    elif not names and not stream and isinstance(seen.chunks[0], str):
        got = "the body as a `str`"
    elif not names and not stream and not seen.chunks[0].get("choices"):
        got = "a completion without choices"
    else:
        got = f"{count} chunk{'s' if count != 1 else ''}" if stream else "the completion"
    if not names:
        status = f"status {seen.status}, " if seen.status not in (None, 200) else ""
        return f"nothing; {status}{got}"
    after = f" after {got}" if seen.chunks else ""
    return " ← ".join(f"`{each}`" for each in names) + after


def main(arguments: list[str]) -> int:
    if not arguments:
        print(render(), end="")
        return 0
    if arguments not in (["--write"], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"{PAGE.relative_to(ROOT)}: expected the markers {BEGIN.strip()} and {END}", file=sys.stderr)
        return 1
    made = before + begin + render() + end + after
    if arguments == ["--write"]:
        PAGE.write_text(made, encoding="utf-8")
    elif made != page:
        print(f"{PAGE.relative_to(ROOT)} is not what is measured: python tools/fault_table.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
