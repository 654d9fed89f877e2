"""The manners of a cell: no stream, no raise, here too, and who looks on."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.error import UsageError

from funcx_lab_magics.arguments import parse_cell_line
from funcx_lab_magics.page.front_end import is_recorded, is_watched, notebook_file
from funcx_lab_magics.page.replay import Replay
from funcx_lab_magics.running import foreground
from funcx_lab_magics.tasks import Task


def test_an_error_that_is_not_raised_is_shown_and_the_value_is_none(notebook: Any) -> None:
    ran = notebook.good("%%funcx --no-raise\nprint('before')\n1 / 0")
    assert ran.result is None
    assert ran.stdout == "before\n"
    assert "ZeroDivisionError: division by zero\n  raised on local (here), task …" in ran.stderr
    refused = notebook.good("%%funcx nowhere --no-raise\n1")
    assert "EndpointNotFound" in refused.stderr


def test_a_cell_without_stream_shows_all_at_its_end(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replay = Replay._show

    def note(self: Any, event: Any) -> None:
        order.append(event.kind)
        replay(self, event)

    monkeypatch.setattr(Replay, "_show", note)
    monkeypatch.setattr(
        Task, "result", lambda self, result=Task.result: (order.append("end"), result(self))[1]
    )
    assert notebook.good("%%funcx --no-stream\nprint('one')\n2").stdout.startswith("one\n")
    assert order[0] == "end"
    assert "stdout" in order


def test_a_cell_runs_here_too(notebook: Any) -> None:
    ran = notebook.good("%%funcx --local\nimport os\nwhere = os.getpid()\nprint('twice')")
    assert ran.stdout == "twice\ntwice\n"
    assert notebook["where"] == os.getpid()
    both = notebook.good("%%funcx held --local -b\nhere = 'this one'")
    assert notebook["here"] == "this one"
    assert both.result.state == "waiting-for-ep"


def test_a_terminal_is_told_each_state_once(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "is_captured", lambda shell: False)  # as all here is
    release = threading.Timer(0.6, notebook.client.release.set)
    release.start()
    ran = notebook.good("%%funcx held --progress-after 0.1\n1 + 1")
    release.join()
    notes = [bundle["text/plain"] for bundle in ran.shown[1:]]
    assert len(notes) in (2, 3), notes
    assert notes[0].startswith("◌ waiting for the endpoint · offline since 10:42 · 0:00 · with -b the cell")
    assert notes[-1] == "✔ success · 0:00"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--progress-after soon", "or -1 for never"),
        ("--progress-after -2", "-2"),
        ("--local --shell", "--local runs the cell here once"),
        ("--local --map x", "--local runs the cell here once"),
    ],
)
def test_manners_that_make_no_sense_are_refused(line: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_cell_line(line)


def test_patience_is_seconds_or_never() -> None:
    asked = [parse_cell_line(f"--progress-after {text}").progress_after for text in ("0", "1.5", "2m", "-1")]
    assert asked == [0.0, 1.5, 120.0, -1.0]


def test_a_terminal_a_notebook_and_a_recording_are_told_apart() -> None:
    def shell(**content: Any) -> SimpleNamespace:
        return SimpleNamespace(kernel=object(), get_parent=lambda: {"content": content})

    terminal = SimpleNamespace()
    assert (is_watched(terminal), is_recorded(terminal)) == (False, False)
    assert (is_watched(shell(allow_stdin=True)), is_recorded(shell(allow_stdin=True))) == (True, False)
    assert (is_watched(shell(allow_stdin=False)), is_recorded(shell(allow_stdin=False))) == (False, True)
    assert is_watched(SimpleNamespace(kernel=object(), get_parent=lambda: None))


def test_the_notebooks_file_is_what_the_front_end_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert notebook_file(SimpleNamespace(user_ns={})) is None
    monkeypatch.setenv("JPY_SESSION_NAME", "/data/fit.ipynb")
    assert str(notebook_file(SimpleNamespace(user_ns={}))) == "/data/fit.ipynb"
    in_code = SimpleNamespace(user_ns={"__vsc_ipynb_file__": "/data/other.ipynb"})
    assert str(notebook_file(in_code)) == "/data/other.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", "a console")
    assert notebook_file(SimpleNamespace(user_ns={})) is None
