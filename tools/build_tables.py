"""Generate src/tickertape/_tables.py from grammar/.

    python tools/build_tables.py           write it
    python tools/build_tables.py --check   exit 1 when it is not what grammar/ says

Needs lark and this package, and nothing else. The bytes do not depend on the
hash seed or on the Python version. Exits with the clash's description when a
grammar has a conflict or a state that cannot be lexed while text arrives.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tickertape import TickertapeError
from tickertape._compiler import compile_grammar

TARGET = Path(__file__).parents[1] / "src" / "tickertape" / "_tables.py"

HEAD = '''"""LALR(1) tables of the grammar. Generated from grammar/ by tools/build_tables.py; do not edit."""

# fmt: off
# ruff: noqa
from ._automaton import Production, Tables, Terminal

'''


def render() -> str:
    tables = compile_grammar()
    lines = [HEAD, "TABLES = Tables(\n    (\n"]
    lines += [f"        Terminal{tuple(terminal)!a},\n" for terminal in tables.terminals]
    lines.append(f"    ),\n    {tables.symbols!r},\n    (\n")
    lines += [f"        Production{tuple(production)!r},\n" for production in tables.productions]
    lines.append(f"    ),\n    {tables.actions!r},\n    (\n")
    lines += [f"        {row!r},\n" for row in tables.rows]
    lines.append("    ),\n    (\n")
    lines += [f"        {row!r},\n" for row in tables.gotos]
    lines.append(f"    ),\n    {tables.starts!r},\n)\n")
    return "".join(lines)


def main(arguments: list[str]) -> int:
    try:
        text = render()
    except TickertapeError as error:
        print(error, file=sys.stderr)
        return 1
    if "--check" in arguments:
        if TARGET.is_file() and TARGET.read_text("utf-8") == text:
            return 0
        print(f"{TARGET.name} is not what grammar/ says: run python tools/build_tables.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, "utf-8")
    print(f"{TARGET.name}: {len(text.encode()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
