"""What the documentation shows is run."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "grammar" / "README.md", *(ROOT / "docs").glob("*.md")])


def python_of(page: Path) -> str:
    """The Python blocks of a page, as one program with the page's line numbers."""
    lines, inside, out = page.read_text("utf-8").split("\n"), False, []
    for line in lines:
        fence = line.startswith("```")
        inside = line == "```python" or (inside and not fence)
        out.append(line if inside and not fence else "")
    return "\n".join(out)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if python_of(p).strip()], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_the_python_of_a_page_runs(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(python_of(page), str(page), "exec"), {"__name__": "docs"})
    capsys.readouterr()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for piece in page.read_text("utf-8").split("](")[1:]:
        target = piece.partition(")")[0].partition("#")[0]
        if "://" not in target and target.endswith((".md", "/")):
            assert (page.parent / target).exists(), target


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = [
        line[2:] for line in (ROOT / "README.md").read_text("utf-8").split("\n") if line.endswith("python -m pytest")
    ]
    assert command in (ROOT / ".ci" / "run").read_text("utf-8")
