"""The manifest line, the card of a task and tables."""

from __future__ import annotations

import os
from html.parser import HTMLParser

import pytest

from funcx_lab.looks import TASK_MIME
from funcx_lab.protocol.messages import Event
from funcx_lab.protocol.states import TaskState
from funcx_lab_magics.cell.capture import Capture
from funcx_lab_magics.cell.manifest import Manifest
from funcx_lab_magics.page.display import LOOKS, TAIL_LINES, Table, TaskView, clock
from funcx_lab_magics.page.failures import notebook_traceback, remote

CAPTURED = Capture(
    values={},
    sizes={"df": 3_200_000, "cfg": 1_000},
    functions=["helper"],
    imports=["import numpy", "import pandas"],
    imported=["numpy", "pandas"],
    large=["df"],
)


class Strict(HTMLParser):
    """Fails on scripts, ids and unbalanced tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        assert all(name != "id" and not name.startswith("on") for name, _ in attrs)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def text_of(markup: str) -> str:
    parser = Strict()
    parser.feed(markup)
    parser.close()
    assert parser.open == []
    return " ".join(parser.words)


def test_the_manifest_line() -> None:
    manifest = Manifest("local", CAPTURED, ["model", "score"], {"score"})
    line = (
        "→ local · sends df 3.2 MB, cfg 1.0 kB, helper() · replays numpy, pandas"
        " · brings back model, score (replaces) · large: df (-x leaves it out)"
    )
    assert manifest.text() == line
    assert text_of(manifest.html()) == line


def test_a_manifest_with_nothing_to_say() -> None:
    assert Manifest("local", Capture()).text() == "→ local"


def test_a_group_of_exceptions_has_the_remote_lines_as_a_note() -> None:
    class Group(Exception):  # ExceptionGroup is younger than the oldest Python we run on
        exceptions = (ValueError("x"),)

        def add_note(self, note: str) -> None:
            self.notes = [note]

    group = remote(Group(), '  File "<Cell In[3]>", line 2', "on local (node3)")
    assert group.notes == ["\nCell In[3], line 2\n  raised on local (node3)"]  # type: ignore[attr-defined]  # ours


def test_many_names_are_counted() -> None:
    text = Manifest("local", Capture(), [f"n{i}" for i in range(20)]).text()
    assert text.endswith("n7, 12 more")


def test_the_manifest_escapes() -> None:
    assert "<b>" not in Manifest("<b>", Capture()).html("<b>")


def test_every_state_has_a_look() -> None:
    assert set(LOOKS) == {str(state) for state in TaskState}


def test_a_view_follows_its_events() -> None:
    view = TaskView("0192aaaa-3f2a91c0", "cluster-gpu", "fit model", created=100.0)
    view.apply(Event(101.0, "state", {"state": "waiting-for-ep", "reason": "endpoint offline since 10:42"}))
    assert view.line(110.0) == "<Task …3f2a91c0 waiting-for-ep on cluster-gpu 0:10 'fit model'>"
    assert "endpoint offline since 10:42" in text_of(view.card(110.0))
    view.apply(Event(112.0, "state", {"state": "running"}))
    view.apply(Event(113.0, "stdout", "epoch 1\nepo"))
    view.apply(Event(113.1, "stdout", "ch 2\n"))
    assert view.line(120.0) == "<Task …3f2a91c0 running on cluster-gpu 0:08 'fit model'>"
    view.apply(Event(130.0, "state", {"state": "success"}))
    view.apply(Event(131.0, "state", {"state": "running"}))
    assert view.state == "success"
    assert view.elapsed(500.0) == "0:18"
    words = text_of(view.card())
    assert "✔" in words
    assert "epoch 1\nepoch 2" in words


def test_a_card_says_once_that_its_task_was_cancelled() -> None:
    view = TaskView("t", "local")
    text = "The task was cancelled."
    view.update({"state": "cancelled", "reason": text, "error": {"code": "TASK_CANCELLED", "message": text}})
    assert text_of(view.card()).lower().count("cancelled") == 1


def test_a_card_says_the_reason_of_a_failure_once() -> None:
    view = TaskView("t", "local")
    view.update({"state": "failed", "reason": "the worker died", "error": {"message": "the worker died"}})
    assert text_of(view.card()).count("the worker died") == 1


@pytest.mark.parametrize(
    ("writes", "tail"),
    [
        (["10%\r20%\r30%"], "30%"),
        (["10%\r", "20%\r", "30%\n", "done"], "30%\ndone"),
        (["a\r\nb\r\n"], "a\nb"),
        (["a", "b", "\n"], "ab"),
    ],
)
def test_a_carriage_return_starts_the_line_again(writes: list[str], tail: str) -> None:
    view = TaskView("t", "local")
    for text in writes:
        view.apply(Event(1.0, "stderr", text))
    assert f"<pre>{tail}</pre>" in view.card()


def test_a_card_keeps_only_the_last_lines_and_escapes_them() -> None:
    view = TaskView("t", "local", "<i>", error="ValueError: <b>")
    view.apply(Event(1.0, "stdout", "".join(f"line {i} <script>\n" for i in range(100))))
    words = text_of(view.card())
    assert "line 99 <script>" in words
    assert "line 80" not in words
    assert len(view.tail) <= TAIL_LINES + 1


def test_tables() -> None:
    table = Table("Endpoints", ["name", "state"], [["local", "online"], ["<b>", None]])
    assert repr(table) == "name   state\nlocal  online\n<b>"
    assert "local" in text_of(table._repr_html_())
    assert "<details>" in Table("Tasks", ["id"], [[i] for i in range(51)])._repr_html_()
    assert repr(Table("Tasks", ["id"], [])) == "Tasks: none"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (12.9, "0:12"), (185, "3:05"), (7200, "2:00:00"), (-5, "0:00")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_frames_of_a_cell_read_as_ipython_writes_them() -> None:
    remote = (
        "Traceback (most recent call last):\n"
        '  File "Cell In[3]", line 4, in <module>\n    f(0)\n'
        '  File "<Cell In[2] 3f2a>", line 7, in f\n    1 / x\n'
        '  File "/lib/x.py", line 1, in g\n'
        "ZeroDivisionError: division by zero\n"
    )
    assert notebook_traceback(remote).splitlines()[1:] == [
        "Cell In[3], line 4",
        "    f(0)",
        "Cell In[2], line 7, in f",
        "    1 / x",
        '  File "/lib/x.py", line 1, in g',
        "ZeroDivisionError: division by zero",
    ]


def test_jupyterlab_gets_the_facts_of_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("JPY_", "JUPYTERHUB_", "VSCODE_"))]:
        monkeypatch.delenv(name)
    view = TaskView("t-1", "cluster", "fit", state="running", reason="")
    assert set(view.bundle()) == {"text/plain", "text/html"}
    monkeypatch.setenv("JPY_SESSION_NAME", "fit.ipynb")
    assert view.bundle()[TASK_MIME].items() >= {"task_id": "t-1", "state": "running", "label": "fit"}.items()
