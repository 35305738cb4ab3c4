"""Observed answers of real relays, where they are at hand: they belong to others and are not in this repository."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import tickertape

CORPUS = Path(os.environ.get("TICKERTAPE_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
SAMPLES = sorted((CORPUS / "samples").iterdir()) if (CORPUS / "samples").is_dir() else []

pytestmark = pytest.mark.skipif(
    not SAMPLES, reason=f"the corpus of observed answers is not at {CORPUS}: set TICKERTAPE_CORPUS to where it is"
)


def close(got: Any, expected: Any) -> Any:
    """The expectation with its floats as they were got, where they are as good as equal."""
    if isinstance(expected, float) and isinstance(got, float):
        return got if got == pytest.approx(expected) else expected
    if isinstance(expected, list) and isinstance(got, list) and len(got) == len(expected):
        return [close(g, e) for g, e in zip(got, expected, strict=True)]
    return expected


def expectation(path: Path) -> Any:
    return json.loads((CORPUS / "expected" / f"{path.stem}.json").read_text("utf-8"))


@pytest.mark.parametrize("path", [p for p in SAMPLES if p.suffix == ".md"], ids=lambda p: p.stem)
def test_content_is_read_to_exactly_its_expectation(path: Path, events_of: Any) -> None:
    content, expected = path.read_text("utf-8"), expectation(path)
    assert tickertape.parse(content).as_dict() == expected
    assert list(tickertape.parse(content).events) == events_of(content)


@pytest.mark.parametrize("path", [p for p in SAMPLES if p.suffix in (".json", ".sse")], ids=lambda p: p.stem)
def test_a_response_is_read_to_exactly_its_expectation(path: Path) -> None:
    body, expected = path.read_bytes(), expectation(path)
    for form in (body, body.decode("utf-8")):
        got = tickertape.parse_response(form).as_dict()
        assert got == {key: close(got.get(key), value) for key, value in expected.items()}


@pytest.mark.parametrize("path", [p for p in SAMPLES if p.suffix == ".jsonl"], ids=lambda p: p.stem)
def test_an_error_body_is_read_to_exactly_its_expectation(path: Path) -> None:
    expected = [json.loads(line) for line in (CORPUS / "expected" / path.name).read_text("utf-8").splitlines()]
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for line, told in zip(lines, expected, strict=True):
        task = tickertape.parse_response(line["body"], status_code=line["http_status"])
        assert task.status == "failed"
        assert task.as_dict()["error"] == {key: told[key] for key in ("category", "code", "message")}
