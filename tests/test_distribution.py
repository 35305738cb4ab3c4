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
PLAY = """
import tickertape
from tickertape.testing._gallery import gallery
from tickertape.testing.tape import Tape
tapes = [Tape.load(name) for name in gallery()]
assert Tape.load("sora-2/kite-festival").task.results[0].kind == "video"
print(tickertape.__file__)
print(*gallery())
"""


def playable() -> list[str]:
    """The names of the gallery, by the rule that `fixtures/README.md` gives for its files."""
    return sorted(
        f"{path.parent.name}/{path.stem}"
        for path in (ROOT / "fixtures").glob("*/*")
        if path.parent.name not in ("spec", "fatal")
        and path.suffix in (".md", ".json", ".sse")
        and not path.name.endswith((".task.json", ".request.json"))
    )


def play(site: Path, folder: Path, *, editable: bool = False) -> tuple[Path, list[str]]:
    """Where the package was imported from with only this on the path, and the names of its gallery."""
    add = "import site; site.addsitedir" if editable else "import sys; sys.path.insert"
    code = f"{add}({'' if editable else '0, '}{str(site)!r})\n{PLAY}"
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, encoding="utf-8")
    file, names = done.stdout.splitlines()
    return Path(file), names.split(" ")


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


def test_the_wheel_holds_the_families_of_the_fixtures_and_not_the_specification(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    prefix = "tickertape/fixture_files/"
    names = [name.removeprefix(prefix) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(prefix)]
    families = {name.partition("/")[0] for name in playable()}
    assert {name.partition("/")[0] for name in names if "/" in name} == families
    assert [name for name in names if "/" not in name] == ["README.md"]


def test_the_gallery_plays_from_the_wheel_of_an_sdist(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    file, names = play(tmp_path / "site", tmp_path)
    assert file.is_relative_to(tmp_path / "site")
    assert names == playable()


def test_the_gallery_plays_from_the_wheel_of_a_checkout(tmp_path: Path) -> None:
    hatch = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(hatch, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    file, names = play(tmp_path / "site", tmp_path)
    assert file.is_relative_to(tmp_path / "site")
    assert names == playable()


def test_the_gallery_plays_from_a_checkout(tmp_path: Path) -> None:
    file, names = play(ROOT / "src", tmp_path)
    assert file.is_relative_to(ROOT / "src")
    assert names == playable()


def test_the_gallery_plays_from_an_editable_install(built: Path, tmp_path: Path) -> None:
    (source,) = (path for path in built.iterdir() if path.is_dir())
    build = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    file, names = play(tmp_path / "site", tmp_path, editable=True)
    assert file.is_relative_to(source / "src")
    assert names == playable()
