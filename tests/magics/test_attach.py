"""%funcx attach: what a task did is shown again, its names come back, a notebook finds its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from funcx_lab_magics.earlier import task_ids_in
from funcx_lab_magics.tasks import NotebookTasks


def saved(path: Path, *task_ids: str) -> Path:
    named = [{"output_type": "display_data", "metadata": {"funcx": {"task_id": name}}} for name in task_ids]
    plain = [{"output_type": "stream", "text": "x"}, {"output_type": "error", "metadata": None}]
    cells = [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": [*plain, *named, *named]}]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4}))
    return path


def restart(notebook: Any) -> None:
    """Forget what a kernel forgets."""
    magics = notebook.magics.notebook
    magics.tasks = NotebookTasks(magics.tasks._home)
    for name in [name for name in notebook.shell.user_ns if name.startswith("kept")]:
        del notebook.shell.user_ns[name]


def test_attach_shows_the_output_again_and_gives_value_and_names(notebook: Any) -> None:
    notebook.good("%%funcx -b\nprint('seen')\nkept = 7\nkept * 2")
    ran = notebook.good("%funcx attach")
    assert (ran.stdout, ran.result, notebook["kept"]) == ("seen\nOut[2]: 14\n", 14, 7)
    assert re.match("↻ local · In.* · ….{8} · 20", ran.shown[0]["text/plain"])
    again = notebook.good("%funcx attach last")
    assert (again.stdout, again.result) == ("seen\nOut[3]: 14\n", 14)


def test_attach_in_the_background_gives_the_task(notebook: Any) -> None:
    notebook.good("%%funcx held -b\n1")
    assert notebook.good("%funcx attach -b").result.endpoint == "held"


def test_the_next_kernel_finds_the_last_task_by_the_notebooks_outputs(
    notebook: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notebook.good("%%funcx\nprint('one')\nkept = 1")
    notebook.good("%%funcx\nprint('two')\nkept_too = 2")
    file = saved(tmp_path / "fit.ipynb", *notebook.client.records, "gone")
    monkeypatch.setenv("JPY_SESSION_NAME", str(file))
    restart(notebook)
    assert notebook.good("%funcx attach").stdout == "two\n"
    assert notebook["kept_too"] == 2
    assert "kept" not in notebook


def test_all_brings_back_what_is_not_here(
    notebook: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notebook.good("%%funcx\nkept = 1\nkept_too = 1")
    notebook.good("%%funcx\nkept_too = 2")
    notebook.run("%%funcx\n1 / 0")
    notebook.good("%%funcx held -b\n1")
    monkeypatch.setenv("JPY_SESSION_NAME", str(saved(tmp_path / "fit.ipynb", *notebook.client.records)))
    restart(notebook)
    notebook.good("kept = 'mine'")
    ran = notebook.good("%funcx attach --all")
    assert (notebook["kept"], notebook["kept_too"]) == ("mine", 2)
    said = [bundle["text/plain"] for bundle in ran.shown]
    assert "← brought back: kept_too" in said
    assert "← kept as they are here: kept; %funcx result TASK replaces them" in said
    assert [row[1] for row in ran.result.rows] == ["success", "success", "failed", "waiting-for-ep"]
    assert any("waiting-for-ep on held" in text for text in said), "what goes on has a card"


def test_without_a_file_it_says_what_to_do(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert "does not tell which file this notebook is" in notebook.run("%funcx attach --all").stderr
    monkeypatch.setenv("JPY_SESSION_NAME", "/nowhere/fit.ipynb")
    assert "No output of fit.ipynb" in notebook.run("%funcx attach --all").stderr


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cells": 3}', '{"cells": [3]}', "\x00"])
def test_a_damaged_notebook_names_no_tasks(tmp_path: Path, text: str) -> None:
    file = tmp_path / "damaged.ipynb"
    file.write_text(text)
    assert task_ids_in(file) == []


def test_a_notebook_names_each_task_once(tmp_path: Path) -> None:
    assert task_ids_in(saved(tmp_path / "n.ipynb", "a", "b")) == ["a", "b"]
    assert task_ids_in(tmp_path / "missing.ipynb") == []
