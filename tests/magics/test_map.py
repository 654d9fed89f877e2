"""``%%funcx --map``: the cell runs once per item; what comes back, what is shown, what is refused."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter

from funcx_lab import FuncXClient
from funcx_lab.errors import EndpointNotFound
from funcx_lab.protocol.stream import Submit
from funcx_lab_magics.page.failures import CellInterrupted
from funcx_lab_magics.running.map_run import stay_with_map

# The stand-in for the hub service that the SDK's tests have.
_spec = importlib.util.spec_from_file_location(
    "funcx_lab_tests_standin", Path(__file__).parents[1] / "sdk" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_standin = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _standin
_spec.loader.exec_module(_standin)
standin = _standin.standin


@pytest.fixture
def lab(standin: Any, notebook: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A notebook whose client speaks to the stand-in."""
    client = FuncXClient()
    monkeypatch.setattr(notebook.magics.notebook, "_client", ("", client))
    notebook.standin = standin
    notebook.run("x = [1, 2, 3, 4]\ny = [10, 20, 30, 40]\nk = 2")
    yield notebook
    client.connection.transport.close()


def last(lab: Any) -> Any:
    return lab.magics.notebook.maps.last()


def test_the_value_of_the_cell_is_the_list_of_the_items_values(lab) -> None:
    ran = lab.good("%%funcx --map x\nx * k")
    assert ran.result == [2, 4, 6, 8]
    assert "maps x over 4 items · sends k 1 B" in ran.manifest
    assert "4/4" in ran.stderr
    assert lab["x"] == [1, 2, 3, 4]


def test_several_names_go_in_step_and_names_come_back_as_lists(lab) -> None:
    ran = lab.good("%%funcx --map x,y -o total\ntotal = x + y\nnot_back = 1")
    assert ran.result is None
    assert lab["total"] == [11, 22, 33, 44]
    assert "not_back" not in lab
    assert "brings back total" in ran.manifest


def test_a_failure_is_shown_once_in_full_and_counted_by_type(lab) -> None:
    ran = lab.run("%%funcx --map x --task M\nif x % 2: raise ValueError(f'odd {x}')\nx")
    assert isinstance(ran.error, ValueError)
    shown = ran.stdout + ran.stderr
    assert "line 2" in shown
    assert shown.count("raise ValueError") == 1
    assert "2 of 4 items failed: ValueError × 2" in shown
    assert lab["M"].done_results() == {1: 2, 3: 4}
    again = lab.run("M.results()")
    assert "line 2" in "".join(again.error.__cause__.details["traceback"])


def test_no_raise_gives_what_there_is(lab) -> None:
    ran = lab.good("%%funcx --map x --no-raise -o z\nz = 1 // (x - 2)\nz")
    assert [type(value) for value in ran.result] == [int, ZeroDivisionError, int, int]
    assert lab["z"] == [-1, None, 1, 0]
    assert "1 failed: ZeroDivisionError" in ran.stderr
    assert "Cell In[" in ran.stderr


def test_in_the_background_the_cell_gives_the_map(lab) -> None:
    ran = lab.good("%%funcx --map x -b\nx + k")
    assert ran.result.results(10) == [3, 4, 5, 6]
    assert "4/4" in repr(ran.result)
    assert lab.good("%funcx result last").result == [3, 4, 5, 6]
    assert lab.good("%funcx attach last").result == [3, 4, 5, 6]


def test_a_new_kernel_finds_a_map_by_its_id_or_that_of_a_task(lab) -> None:
    lab.good("%%funcx --map x -o z\nz = x * k\nz + 1")
    group_id = last(lab).group_id
    task_id = last(lab).tasks[2].future.task_id
    for word in (group_id, group_id[-8:], task_id, task_id[-8:]):
        lab.magics.notebook.maps._maps.clear()
        lab.shell.user_ns.pop("z", None)
        assert lab.good(f"%funcx result {word}").result == [3, 5, 7, 9]
        assert lab["z"] == [2, 4, 6, 8]


@pytest.mark.parametrize("command", ["%funcx attach", "%funcx result last", "%funcx attach --all"])
def test_a_new_kernel_finds_the_last_map_in_the_notebooks_file(lab, monkeypatch, tmp_path, command) -> None:
    lab.good("%%funcx --map x -o z\nz = x * k")
    output = {"metadata": {"funcx": {"map": last(lab).group_id}}}
    gone = {"metadata": {"funcx": {"map": "of another service"}}}
    (tmp_path / "fit.ipynb").write_text(json.dumps({"cells": [{"outputs": [output, gone]}]}))
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "fit.ipynb"))
    lab.magics.notebook.maps._maps.clear()
    del lab.shell.user_ns["z"]
    lab.good(command)
    assert lab["z"] == [2, 4, 6, 8]


def test_retry_runs_what_failed_again(lab, tmp_path) -> None:
    lab.good(f"path = {str(tmp_path / 'mended')!r}")
    cell = "%%funcx --map x\nimport os\nif x == 3 and not os.path.exists(path): raise OSError(x)\nx"
    assert isinstance(lab.run(cell).error, OSError)
    (tmp_path / "mended").touch()
    sent = len(lab.standin.tasks)
    assert lab.good("%funcx retry last").result.results(10) == [1, 2, 3, 4]
    assert len(lab.standin.tasks) == sent + 1
    assert "No item failed" in lab.good("%funcx retry last").stdout


def test_an_interrupt_cancels_the_map_and_a_detached_one_goes_on(lab, monkeypatch) -> None:
    lab.standin.hold = True
    for how, word in (("cancel", "Cancelled"), ("detach", "Stopped waiting")):
        found = lab.good("%%funcx --map x -b\nx").result
        with monkeypatch.context() as patch:
            patch.setattr(found, "wait", interrupt)
            with pytest.raises(CellInterrupted, match=word):
                stay_with_map(lab.shell, found, on_interrupt=how)
        assert found.done() == (how == "cancel")
        lab.standin.release()
        lab.standin.hold = True


def interrupt(timeout: float | None = None) -> bool:
    raise KeyboardInterrupt


def test_cancel_stops_a_map(lab) -> None:
    lab.standin.hold = True
    lab.good("%%funcx --map x -b\nx")
    assert "Cancelled 4 items" in lab.good("%funcx cancel last").stdout
    assert "had already ended" in lab.good("%funcx cancel last").stdout
    lab.good("%%funcx --map x -b\nx")
    assert "Cancelled 4 items" in lab.good("%funcx cancel --all").stdout


def test_what_all_items_share_travels_once(lab) -> None:
    lab.good("big = bytes(200_000)")
    lab.good("%%funcx --map x\nlen(big) + x")
    payloads = [len(task.payload) for message in lab.standin.messages(Submit) for task in message.tasks]
    assert len(payloads) == 4
    assert max(payloads) < 1000


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%%funcx --map nothing\n1", "'nothing', which is not defined"),
        ("%%funcx --map k\n1", "'k' has none: its type is int"),
        ("%%funcx --map x,short\n1", "differ in length: x 4, short 1"),
        ("%%funcx --map empty\n1", "empty"),
        ("%%funcx --map x --local\n1", "not with --shell or --map"),
        ("%%funcx --map x --session warm\n1", "--session does not go with --map"),
        ("%%funcx --map 1x\n1", "not a name"),
        ("%%funcx --map x\n1 +", "SyntaxError"),
        ("%%funcx --map x\nundefined + x", "'undefined' is not defined"),
        ("%%funcx --map x -i big\nlen(big)", "limit is 10 MB"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(lab, cell, words) -> None:
    lab.good("short = [1]; empty = []; big = bytes(11_000_000)")
    ran = lab.run(cell)
    assert ran.error is not None
    assert words in ran.stdout + ran.stderr
    assert not lab.standin.tasks


def test_a_map_that_the_service_refuses_is_an_error_and_not_the_last_one(lab) -> None:
    lab.good("%%funcx --map x\nx")
    before = last(lab)
    lab.standin.refuse = EndpointNotFound("No endpoint 'nowhere' here, or it is not yours.")
    ran = lab.run("%%funcx nowhere --map x\nx")
    assert "No endpoint 'nowhere'" in ran.stdout + ran.stderr
    assert last(lab) is before


def test_progress_after_minus_one_and_quiet_show_the_end_and_nothing(lab) -> None:
    assert lab.good("%%funcx --map x --progress-after -1\nx").stderr.count("4/4") == 1
    assert lab.good("%%funcx --map x -q\nx").stderr == ""


def test_a_dry_run_sends_nothing(lab) -> None:
    ran = lab.good("%%funcx --map x --dry-run\nx")
    assert "maps x over 4 items" in ran.manifest
    assert not lab.standin.tasks


def test_any_iterable_is_gone_through_once(lab) -> None:
    lab.good("x = (each * each for each in range(4))")
    assert lab.good("%%funcx --map x\nx").result == [0, 1, 4, 9]


def test_the_ids_of_maps_are_completed(lab) -> None:
    lab.good("%%funcx --map x\nx")
    line = "%funcx attach "
    with provisionalcompleter():
        matches = [found.text for found in lab.shell.Completer.completions(line, len(line))]
    assert last(lab).group_id[-8:] in matches
