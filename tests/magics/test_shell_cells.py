"""Cells that are bash scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from funcx_lab.shell import ShellResult


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_script_shows_its_lines_and_its_exit_code(notebook: Any) -> None:
    ran = notebook.good("%%funcx local --shell\nfor i in 1 2; do echo line $i; done\nexit 3")
    assert ran.stdout.startswith("line 1\nline 2\n")
    assert ran.manifest == "→ local"
    assert isinstance(ran.result, ShellResult)
    assert (ran.result.returncode, ran.result.stdout) == (3, "line 1\nline 2\n")
    assert repr(ran.result).startswith("exit code 3 after")
    assert "line 1" not in repr(ran.result)


def test_names_are_variables_and_the_text_stays_as_it_is(notebook: Any, here: Path) -> None:
    notebook.good(
        "from pathlib import Path\nn, x, yes, where, text = 3, 0.5, True, Path('/tmp/a b'), '$(id) {n}'"
    )
    ran = notebook.good('%%funcx local --shell -i n,x,yes,where,text\necho "$n $x $yes $where $text {n}"')
    assert ran.result.stdout == "3 0.5 true /tmp/a b $(id) {n} {n}\n"
    assert "sends n 1 B" in ran.manifest


@pytest.mark.parametrize(
    ("line", "body", "word"),
    [
        ("-i missing", "true", "not defined"),
        ("-i items", "true", "'items' is a list"),
        ("-i null", "true", "null byte"),
        ("-o a", "true", "-o"),
        ("-x a", "true", "-x does not go with --shell"),
        ("--local", "true", "not with --shell"),
        ("--map xs", "true", "--map does not go with --shell"),
        ("--session warm", "true", "does not go with --shell"),
        ("", "for i in 1 2; do", "syntax error"),
    ],
)
def test_what_a_script_cannot_have_is_refused_before_anything_is_sent(
    notebook: Any, line: str, body: str, word: str
) -> None:
    notebook.good("items, null = [1], 'a' + chr(0)")
    ran = notebook.run(f"%%funcx local --shell {line}\n{body}")
    assert word in str(ran.error)
    assert notebook.client.submitted == []


def test_what_the_notebook_brings_back_by_default_is_for_python(notebook: Any) -> None:
    notebook.good("%funcx config -o '*'")
    assert notebook.good("%%funcx local --shell\necho hi").stdout.startswith("hi\n")


def test_in_the_background_the_task_gives_the_whole_result(notebook: Any) -> None:
    notebook.good("%%funcx local --shell -b --task job\necho hello")
    assert "hello" in repr(notebook["job"].result())
