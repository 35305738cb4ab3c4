"""What the documentation shows is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tickertape.testing import Fault
from tickertape.testing._gallery import gallery
from tickertape.testing._script import dialects, languages
from tickertape.testing._verdict import FINDINGS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "grammar" / "README.md", *(ROOT / "docs").glob("*.md")])


def python_of(page: Path, info: str = "python") -> str:
    """The blocks of a page with this info string, as one program with the page's line numbers.

    `python` is executed, `python test` is run by pytest; `py` is the code of others, and only shown.
    """
    lines, inside, out = page.read_text("utf-8").split("\n"), False, []
    for line in lines:
        fence = line.startswith("```")
        inside = line == f"```{info}" or (inside and not fence)
        out.append(line if inside and not fence else "")
    return "\n".join(out)


def having(info: str) -> list[Path]:
    return [page for page in PAGES if python_of(page, info).strip()]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", having("python"), ids=name_of)
def test_the_python_of_a_page_runs(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(python_of(page), str(page), "exec"), {"__name__": "docs"})
    capsys.readouterr()


@pytest.mark.timeout(300)  # dozens of tests in one process
def test_the_tests_of_the_pages_pass(tmp_path: Path) -> None:
    # In a project of its own, as a reader would have it: only the installed plugin is there.
    for page in having("python test"):
        (tmp_path / f"test_{page.stem}.py").write_text(python_of(page, "python test"), "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n", "utf-8")
    # The same examples each time, and few: what a page says is judged here, not what hypothesis happens to draw.
    (tmp_path / "conftest.py").write_text(
        "from hypothesis import settings\n\n"
        'settings.register_profile("pages", settings.get_profile("ci"), max_examples=25)\n'
        'settings.load_profile("pages")\n',
        "utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=280)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for piece in page.read_text("utf-8").split("](")[1:]:
        target = piece.partition(")")[0].partition("#")[0]
        if "://" not in target and target.endswith((".md", "/")):
            assert (page.parent / target).exists(), target


def rows_of(page: str, title: str) -> list[list[str]]:
    """The cells of the table whose head begins with this title."""
    _, _, table = (ROOT / "docs" / page).read_text("utf-8").partition(f"| {title} | ")
    rows = table.partition("\n\n")[0].split("\n")[2:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows if row]


def test_the_table_of_dialects_is_complete() -> None:
    rows = {
        name: (kinds.split(", "), languages.split(", "))
        for name, kinds, languages, _ in rows_of("scenarios.md", "dialect")
    }
    assert rows == {name: (table["kinds"], languages(name)) for name, table in dialects().items()}


def test_the_table_of_the_gallery_is_complete() -> None:
    assert tuple(name for name, *_ in rows_of("tapes.md", "tape")) == gallery()


def test_every_finding_is_explained() -> None:
    assert [name for name, *_ in rows_of("verdicts.md", "finding")] == list(FINDINGS)


def test_every_fault_is_explained() -> None:
    text = " ".join(name for name, *_ in rows_of("faults.md", "fault"))
    made = [name for name, made in vars(Fault).items() if isinstance(made, classmethod)]
    assert [name for name in made if f"{name}(" not in text] == []


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = [
        line[2:] for line in (ROOT / "README.md").read_text("utf-8").split("\n") if line.endswith("python -m pytest")
    ]
    assert command in (ROOT / ".ci" / "run").read_text("utf-8")
