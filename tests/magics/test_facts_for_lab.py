"""What a cell's outputs tell JupyterLab: whether a cell is the one that ran, and why it was refused."""

from __future__ import annotations

from typing import Any

import pytest

from funcx_lab.looks import TASK_MIME
from funcx_lab_magics.page.display import TaskView, fingerprint
from funcx_lab_magics.page.refusals import bundle
from funcx_lab_magics.running import cards


@pytest.mark.parametrize(
    ("source", "expected"),
    [("", "0:00000000"), (" \r\n\tx = 1\n\n", "5:475ba176"), ("größe = '😀'", "16:ec2c122b")],
)
def test_a_fingerprint_is_that_of_the_text_without_the_space_around_it(source: str, expected: str) -> None:
    assert fingerprint(source) == expected


def test_a_card_knows_the_cell_it_was_made_of(notebook: Any) -> None:
    notebook.good("number = 6\nunused = 7")
    task = notebook.good("%%funcx local -b\n\nnumber * 7\n").result
    _, metadata = task._repr_mimebundle_()
    assert metadata["funcx"]["source"] == fingerprint("number * 7")
    assert metadata["funcx"]["inputs"] == ["number"]


def test_a_manifest_line_knows_it_too_when_its_task_has_ended(
    notebook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    original = TaskView.metadata
    monkeypatch.setattr(TaskView, "metadata", lambda view: seen.append(original(view)) or seen[-1])
    notebook.good("%%funcx local\n6 * 7")
    assert seen[-1]["funcx"].items() >= {"state": "success", "source": fingerprint("6 * 7")}.items()


def test_a_card_that_is_updated_keeps_it(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    task = notebook.good("%%funcx local -b\n6 * 7").result
    shown: list[TaskView] = []
    monkeypatch.setattr(cards, "publish", lambda shell, view, display_id, *, update: shown.append(view))
    cards._follow(notebook.shell, task, TaskView(task.task_id, "local"), "d")
    assert shown[-1].metadata()["funcx"]["source"] == fingerprint("6 * 7")


def test_a_refusal_brings_its_facts(notebook: Any) -> None:
    notebook.good("import threading\nlock = threading.Lock()")
    error = notebook.run("%%funcx local\nlock.locked()").error
    assert bundle(error)[TASK_MIME] == {"refused": {"code": "CANNOT_SERIALIZE", "details": error.details}}
    assert error.details["name"] == "lock"


def test_a_refusal_is_shown_to_a_jupyterlab_alone(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook.good("import threading\nlock = threading.Lock()")
    monkeypatch.setattr("funcx_lab_magics.page.refusals.is_watched", lambda shell: True)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert notebook.run("%%funcx local\nlock.locked()").shown == []
    monkeypatch.setenv("JPY_SESSION_NAME", "/x/y.ipynb")
    (shown,) = notebook.run("%%funcx local\nlock.locked()").shown
    assert TASK_MIME in shown
    assert "hidden" in shown["text/html"]


def test_a_name_that_is_too_large_is_told_with_the_names_to_send(notebook: Any) -> None:
    notebook.good("big = bytes(11_000_000)\nsmall = 1")
    error = notebook.run("%%funcx local\nlen(big) + small").error
    assert "would be sent" in str(error)
    notebook.good("%%funcx local -x big --dry-run\nlen(big) + small")
