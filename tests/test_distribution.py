"""What is installed reads and extends the grammar, whichever way it was installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
USE = """
import tickertape
assert tickertape.parse("> 排队中").stages == ("queued",)
grammar = tickertape.Grammar.from_text('%extend QUEUED: "лежит в очереди"')
assert tickertape.parse("лежит в очереди", grammar=grammar).stages == ("queued",)
print(tickertape.__file__)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    hatch = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), "-t"]
    subprocess.run([*hatch, "sdist"], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    subprocess.run([sys.executable, "-m", "tarfile", "-e", str(sdist), str(folder)], check=True, capture_output=True)
    source = folder / sdist.name.removesuffix(".tar.gz")
    subprocess.run([*hatch, "wheel"], cwd=source, check=True, capture_output=True)
    return folder


def test_the_wheel_holds_the_code_the_grammar_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "tickertape/py.typed" in names
    assert "tickertape/grammar_files/vocabulary.lark" in names
    assert {name.partition("/")[0] for name in names} == {"tickertape", "tickertape-0.1.0.dist-info"}


def test_a_wheel_reads_and_extends_the_grammar(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n{USE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert str(tmp_path) in done.stdout


def test_a_checkout_reads_and_extends_the_grammar(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n{USE}"
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
