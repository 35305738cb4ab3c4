"""The grammar is the one description of the format: its tables, its proof, its extensions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lark
import pytest

import tickertape
from tickertape import Grammar, GrammarError
from tickertape._builders import Builders
from tickertape._compiler import STARTS, compile_grammar, grammar_folder
from tickertape._tables import TABLES

ROOT = Path(__file__).parents[1]
TOOL = [sys.executable, str(ROOT / "tools" / "build_tables.py"), "--check"]


@pytest.mark.parametrize("seed", ["0", "1", "77"])
def test_the_generated_tables_are_what_the_grammar_says_whatever_the_hash_seed(seed: str) -> None:
    done = subprocess.run(TOOL, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_lark_reads_the_grammar_files_as_they_are() -> None:
    for start in STARTS:
        lark.Lark.open(str(grammar_folder() / "status_stream.lark"), parser="lalr", start=start)


def test_every_named_rule_makes_something_and_nothing_is_made_in_vain() -> None:
    rules = {production.rule for production in TABLES.productions if production.rule}
    assert rules == set(Builders(Grammar.default()).table())


def test_no_state_is_entered_in_which_a_reduction_is_all_there_is_to_do() -> None:
    states = len(TABLES.actions)
    reached = {target for row in (*TABLES.rows, *TABLES.gotos) for _, target in row if 0 <= target < states}
    for state in reached:
        actions = {action for _, action in TABLES.rows[TABLES.actions[state]]}
        assert not (len(actions) == 1 and min(actions) < 0)


# -- the proof names the clash ---------------------------------------------------------------------


def test_a_spelling_that_means_two_things_is_refused_by_both_names() -> None:
    with pytest.raises(GrammarError, match="'生成失败' is both FAILED and QUEUED"):
        compile_grammar('%extend QUEUED: "生成失败"')


def test_a_terminal_that_is_neither_strings_nor_a_run_is_refused_with_the_remedy() -> None:
    with pytest.raises(GrammarError, match=r"QUEUED .* is neither a literal .* nor a run .*: write it as"):
        compile_grammar("%extend QUEUED: /排队[0-9]*中/")


def test_a_rule_with_a_conflict_is_refused_as_not_lalr() -> None:
    with pytest.raises(GrammarError, match=r"is not LALR\(1\)"):
        compile_grammar("%override queued: QUEUED _SP? _MARKS?")


def test_a_grammar_that_lark_cannot_read_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.lark"
    path.write_text("%extend NO_SUCH_THING: 'x", "utf-8")
    with pytest.raises(GrammarError, match=r"mine\.lark"):
        Grammar.from_file(path)


def test_a_grammar_file_that_cannot_be_read_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(GrammarError, match=r"absent\.lark: cannot be read"):
        Grammar.from_file(tmp_path / "absent.lark")


# -- extensions -----------------------------------------------------------------------------------


def test_one_line_adds_a_spelling(tmp_path: Path) -> None:
    path = tmp_path / "mine.lark"
    path.write_text('%extend GENERATING: "画画ing" | "painting away"i\n', "utf-8")
    grammar = Grammar.from_file(path)
    content = "> 🎨 画画ing...\n> Painting Away...\n"
    assert tickertape.parse(content).stages == ()
    assert tickertape.parse(content, grammar=grammar).stages == ("generating", "generating")
    assert tickertape.parse("> 生成中...\n", grammar=grammar).stages == ("generating",)


def test_a_spelling_is_read_in_traditional_characters_too() -> None:
    grammar = Grammar.from_text('%extend QUEUED: "请您入队"\n%extend VARIANT: "您妳"')
    for spelling in ("请您入队", "請您入隊", "請妳入隊", "请妳入队"):
        assert tickertape.parse(f"> {spelling}\n", grammar=grammar).stages == ("queued",)
    with pytest.raises(GrammarError, match="'生成失敗' is both FAILED and QUEUED"):
        compile_grammar('%extend QUEUED: "生成失敗"')


def test_override_replaces_a_terminal() -> None:
    grammar = Grammar.from_text('%override QUEUED: "лежит в очереди"')
    assert tickertape.parse("лежит в очереди\n", grammar=grammar).stages == ("queued",)
    assert tickertape.parse("排队中\n", grammar=grammar).stages == ()


def test_the_longest_spelling_wins_whatever_it_means() -> None:
    grammar = Grammar.from_text('%extend RETRYING: "生成失败，排队再来"')
    assert tickertape.parse("生成失败，排队再来\n", grammar=grammar).status == "incomplete"
    assert tickertape.parse("生成失败，排队\n", grammar=grammar).status == "failed"
