"""The public surface, and what it costs to mention it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import tickertape


def test_all_is_sorted_complete_and_loadable() -> None:
    assert tickertape.__all__ == sorted(
        tickertape.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    for name in tickertape.__all__:
        assert getattr(tickertape, name) is not None
    assert set(tickertape.__all__) <= set(dir(tickertape))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tickertape.nonsense


def test_every_public_name_is_documented() -> None:
    for name in tickertape.__all__:
        value = getattr(tickertape, name)
        if callable(value):
            assert value.__doc__, name


def test_the_version_is_that_of_the_distribution() -> None:
    assert tickertape.__version__ == version("tickertape")


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()} | set(done.stdout.split())


def test_importing_the_package_loads_none_of_its_modules() -> None:
    loaded = loaded_by("import tickertape")
    assert {name for name in loaded if name.startswith("tickertape.")} == set()


def test_reading_needs_neither_lark_nor_an_http_client_nor_pydantic() -> None:
    loaded = loaded_by("import tickertape; tickertape.parse('> 生成中'); tickertape.parse_response('data: [DONE]')")
    assert not loaded & {"lark", "httpx", "httpx2", "requests", "aiohttp", "openai", "pydantic", "rich", "hypothesis"}


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(tickertape.__file__).parent / "py.typed").is_file()


def test_errors_share_one_base() -> None:
    for name in ("GrammarError", "ParserClosed", "ResponseError", "TapeError", "UnknownLine"):
        assert issubclass(getattr(tickertape, name), tickertape.TickertapeError)
