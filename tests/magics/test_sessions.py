"""Cells in a session: which names travel, which stay there, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.error import UsageError

from funcx_lab_magics.session_book import SessionBook


def test_names_stay_there_and_the_next_cell_has_them(notebook: Any) -> None:
    ran = notebook.good("%%funcx --session warm\nmodel = [1, 2]\nlen(model)")
    assert ran.result == 2
    assert ran.manifest == "→ local · in session warm · keeps there model (-o brings names back)"
    assert "model" not in notebook
    ran = notebook.good("%%funcx --session warm\nmodel.append(3)\nsum(model)")
    assert ran.result == 6
    assert ran.manifest == "→ local · uses from session warm: model"


def test_other_sessions_and_other_cells_do_not_have_them(notebook: Any) -> None:
    notebook.good("%%funcx --session warm\nmodel = 1")
    for line in ("--session cold", ""):
        ran = notebook.run(f"%%funcx {line}\nmodel")
        assert type(ran.error) is UsageError
        assert "name 'model' is not defined. Nothing was sent." in str(ran.error)


def test_the_sessions_own_value_is_used_unless_i_sends_the_notebooks(notebook: Any) -> None:
    notebook.good("x = 1\nstep = 10")
    notebook.good("%%funcx --session warm\nx = 2")
    ran = notebook.good("%%funcx --session warm\nx + step")
    assert ran.result == 12
    assert ran.manifest == "→ local · uses from session warm: x · sends step 1 B"
    notebook.good("step = 20")
    assert notebook.good("%%funcx --session warm\nx + step").result == 22
    ran = notebook.good("%%funcx --session warm -i x\nx")
    assert (ran.result, ran.manifest) == (1, "→ local · in session warm · sends x 1 B")


def test_o_brings_names_back(notebook: Any) -> None:
    ran = notebook.good("%%funcx --session warm -o best\nbest = 1\nrest = 2")
    assert ran.manifest.endswith(
        "in session warm · brings back best · keeps there rest (-o brings names back)"
    )
    assert notebook["best"] == 1
    notebook.good("%%funcx --session warm -o rest\npass")
    assert notebook["rest"] == 2


def test_imports_and_functions_stay(notebook: Any) -> None:
    notebook.good("%%funcx --session warm\nimport math\ndef half(x):\n    return math.floor(x / 2)")
    ran = notebook.good("%%funcx --session warm\nhalf(9), math.pi > 3")
    assert ran.result == (4, True)
    assert ran.manifest == "→ local · uses from session warm: half, math"


def test_a_background_cell_counts_before_it_has_ended(notebook: Any) -> None:
    notebook.good("%%funcx held --session warm -b --task job\nmodel = 5")
    notebook.good("%%funcx held --session warm -b --task after\nmodel + 1")
    notebook.client.release.set()
    notebook["job"].result()
    assert "uses from session warm: model" in notebook.magics.notebook.last.manifest.text()


def test_a_cell_that_failed_leaves_what_it_made(notebook: Any) -> None:
    assert notebook.run("%%funcx --session warm\nmade = 1\n1 / 0\nnever = 2").error is not None
    assert notebook.good("%%funcx --session warm\nmade").result == 1
    assert type(notebook.run("%%funcx --session warm\nnever").error) is UsageError


def test_after_a_loss_the_notebooks_names_are_sent_again(notebook: Any) -> None:
    notebook.good("x = 1")
    notebook.good("%%funcx --session warm\nx = 2\ny = 3")
    notebook.client.sessions.clear()
    assert isinstance(notebook.run("%%funcx --session warm\nx + y").error, NameError)
    ran = notebook.run("%%funcx --session warm\nx + y")
    assert "name 'y' is not defined" in str(ran.error)
    assert notebook.good("%%funcx --session warm\nx").result == 1


def test_a_restarted_kernel_knows_the_session_again(notebook: Any) -> None:
    notebook.good("%%funcx --session warm\nmodel = 5\nlevel = 1")
    notebook.magics.notebook.sessions = SessionBook()
    notebook.good("level = 7")
    ran = notebook.good("%%funcx --session warm\nmodel + level")
    assert ran.result == 12
    assert ran.manifest == "→ local · uses from session warm: model · sends level 1 B"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--session 'two words'", "is not a name of at most 64"),
        ("--session warm --shell", "does not go with --shell"),
        ("--session warm --memo", "does not go with --memo"),
        ("--session", "expected one argument"),
    ],
)
def test_what_is_refused(notebook: Any, line: str, message: str) -> None:
    ran = notebook.run(f"%%funcx {line}\n1")
    assert type(ran.error) is UsageError
    assert message in str(ran.error)
    assert notebook.client.submitted == []


def test_explain_says_which_names_the_session_has(notebook: Any) -> None:
    notebook.good("%%funcx --session warm\nmodel = 5")
    notebook.good("%%funcx --session warm\nmodel + 1")
    assert "in the session" in repr(notebook.good("%funcx explain").result)
