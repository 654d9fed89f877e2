"""``%autofuncx``: cells go to the endpoint, IPython's own lines stay here."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.error import UsageError

from funcx_lab_magics.autofuncx import transform


def remote(part: str) -> str:
    return f"get_ipython().run_cell_magic('autofuncx', 'cluster', {part!r})\n"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("x = 1\nx", remote("x = 1\nx")),
        ("%matplotlib inline\nx = 1\n", "%matplotlib inline\n" + remote("x = 1\n")),
        ("x = 1\n!ls\ny = 2\n", remote("x = 1\n") + "!ls\n" + remote("y = 2\n")),
        ("files = !ls\nlen(files)\n", "files = !ls\n" + remote("len(files)\n")),
        ("df.head?\n", "df.head?\n"),
        ("# a comment\n%time f()\n", "# a comment\n%time f()\n"),
        ("%%time\nf()\n", "%%time\nf()\n"),
        ("", ""),
        ("# nothing\n", "# nothing\n"),
        ("x = (7\n% 5)\n", remote("x = (7\n% 5)\n")),
        ("for i in x:\n    %time f(i)\n", remote("for i in x:\n    %time f(i)\n")),
        ("%autofuncx off\nx = 1\n", "%autofuncx off\nx = 1\n"),
        ("await f()\n", remote("await f()\n")),
        ("a = 'x\ny'", remote("a = 'x\ny'")),
    ],
)
def test_what_goes_there_and_what_stays(cell: str, expected: str) -> None:
    assert "".join(transform(cell.splitlines(keepends=True), "cluster")) == expected


def test_cells_go_there_until_it_is_switched_off(notebook: Any) -> None:
    notebook.good("%autofuncx local")
    assert notebook.client.submitted == []
    ran = notebook.good("x = 20\nx + 1")
    assert ran.result == 21
    assert notebook["x"] == 20
    assert len(notebook.client.submitted) == 1
    assert ran.shown[0]["text/plain"] == "autofuncx: on local · %autofuncx off ends it"
    assert "fx-manifest" in ran.shown[0]["text/html"]
    assert notebook.good("%autofuncx off\nlen('here')").result == 4
    notebook.good("y = 3")
    assert len(notebook.client.submitted) == 1


def test_lines_of_ipython_stay_here(notebook: Any) -> None:
    notebook.good("%autofuncx")
    ran = notebook.good("%config FuncX.quiet\nz = 4\nz * 2")
    assert ran.result == 8
    assert len(notebook.client.submitted) == 1
    notebook.good("%%capture seen\nprint('here')")
    assert notebook["seen"].stdout == "here\n"
    notebook.good("%%time\nhere = 1")
    notebook.good("%timeit -n 2 -r 2 here + 1")
    assert len(notebook.client.submitted) == 1
    notebook.good("%%funcx\n1")
    assert len(notebook.client.submitted) == 2


def test_a_semicolon_silences(notebook: Any) -> None:
    notebook.good("%autofuncx")
    assert notebook.good("20 + 1;").result is None


def test_options_hold_for_every_cell(notebook: Any) -> None:
    notebook.good("%autofuncx local -o none -q")
    ran = notebook.good("kept = 1")
    assert "kept" not in notebook
    assert len(ran.shown) == 1  # the banner is shown all the same


def test_errors_have_the_notebooks_lines(notebook: Any) -> None:
    notebook.good("%autofuncx")
    ran = notebook.run("x = 1\n1 / 0")
    assert isinstance(ran.error, ZeroDivisionError)
    assert "line 2" in ran.stdout
    assert "run_cell_magic" not in ran.stdout
    ran = notebook.run("x = nowhere")
    assert isinstance(ran.error, UsageError)
    assert "line 1:  x = nowhere" in ran.stderr


def test_what_a_cell_runs_here_in_turn_stays_here(notebook: Any) -> None:
    notebook.good("%autofuncx local --local")
    notebook.good("twice = 2")
    assert len(notebook.client.submitted) == 1


def test_a_wrong_line_switches_nothing_on(notebook: Any) -> None:
    assert "--nosuch" in notebook.run("%autofuncx --nosuch").stderr
    notebook.good("x = 1")
    assert notebook.client.submitted == []


def test_help(notebook: Any) -> None:
    assert "%autofuncx off" in notebook.good("%autofuncx --help").stdout
    notebook.good("x = 1")
    assert notebook.client.submitted == []


def test_it_goes_with_the_extension(notebook: Any) -> None:
    before = list(notebook.shell.input_transformers_cleanup)
    notebook.good("%autofuncx local")
    notebook.good("%unload_ext funcx_lab")
    assert len(notebook.shell.input_transformers_cleanup) == len(before) - 1
    assert "not found" in notebook.run("%autofuncx").stderr
    notebook.good("here = 1")
    assert notebook.client.submitted == []
    notebook.good("%load_ext funcx_lab")
