"""``--memo`` in a cell, and the call of a task run here by ``%funcx debug``."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from funcx_lab.calls import Call
from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.messages import Event, FunctionBody
from funcx_lab.protocol.stream import TaskCall
from funcx_lab_magics.cell.capture import Cell
from funcx_lab_magics.running.memo import Announcing, announce, announce_items, hint


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import time\nt = time.time()", "the clock (time.time, line 3)"),
        ("from datetime import datetime as d\nd.now()", "the clock (datetime.datetime.now, line 3)"),
        ("import random\nrandom.random()", "random numbers (random.random, line 3)"),
        ("np.random.rand(3)", "random numbers (numpy.random.rand, line 2)"),
        ("import numpy as np\nnp.random.default_rng()", "random numbers (numpy.random.default_rng, line 3)"),
        ("import urllib.request\nurllib.request.urlopen(u)", "the network (urllib.request.urlopen, line 3)"),
        ("from requests import get\n[get(u) for u in us]", "the network (requests.get, line 3)"),
        ("from uuid import uuid4\ndef f(): return uuid4()", "random numbers (uuid.uuid4, line 3)"),
    ],
)
def test_what_never_gives_the_same_twice_is_named(source: str, what: str) -> None:
    assert hint(Cell(source), ["import numpy as np"]).startswith(f"--memo: the cell uses {what};")


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.sleep(1)",
        "import random\nx = 1",
        "rng = np.random.default_rng(42)\nrng.normal()",
        "import random\nrandom.seed(1)\nrandom.random()",
        "from datetime import date\ndate(2026, 1, 1)",
        "random = 3\nrandom + 1",
        "requests = [1]\nrequests.append(2)",
        "import os\nos.getcwd()",
    ],
)
def test_what_may_well_give_the_same_is_not(source: str) -> None:
    assert hint(Cell(source), ["import numpy as np"]) == ""


@pytest.mark.parametrize(
    ("saved", "words"), [(0.31, "0.3 s"), (45.2, "45 s"), (180.0, "3 min"), (7200.0, "2 h"), (2e5, "2 d")]
)
def test_what_was_saved_is_said(saved: float, words: str) -> None:
    record = {"reused_from": "x", "reason": "reused the result of …12345678, 2 d old", "saved_s": saved}
    said: list[str] = []
    task: Any = SimpleNamespace(record=lambda: record)
    announce(task, said.append)
    assert said == [f"reused the result of …12345678, 2 d old ({words} saved); --fresh runs it"]


def test_items_of_a_map_are_counted() -> None:
    said: list[str] = []
    ran: dict[str, Any] = {"reused_from": None, "items": (0, 2, 50)}
    announce_items([ran], said.append)
    assert said == []
    again = {"reused_from": "x", "saved_s": 90.0}
    announce_items([ran, {**again, "items": (2, 30, 50)}, {**again, "items": (32, 18, 50)}], said.append)
    assert said == ["reused the results of 48 of 50 items (3 min saved); --fresh runs them"]


def test_the_options_travel_and_a_run_is_not_announced(notebook: Any) -> None:
    ran = notebook.good("%%funcx --memo\nprint('hello')\n6 * 7")
    assert ran.result == 42
    options = notebook.client.submitted[-1]["options"]
    assert (options.memo, options.fresh) == ("", False)
    assert not any("reused" in str(bundle) for bundle in ran.shown)
    notebook.good("%%funcx --fresh\n6 * 7")
    options = notebook.client.submitted[-1]["options"]
    assert (options.memo, options.fresh) == ("", True)
    notebook.good("%%funcx\n6 * 7")
    assert notebook.client.submitted[-1]["options"].memo is None


def test_it_is_said_before_the_first_output_and_once() -> None:
    record = {"reused_from": "x", "reason": "reused", "saved_s": 1}
    seen: list[Any] = []
    task: Any = SimpleNamespace(record=lambda: record)
    show = Announcing(task, seen.append, seen.append)
    events = [Event(0.0, "stdout", text) for text in "ab"]
    for event in events:
        show(event)
    assert seen == ["reused (1.0 s saved); --fresh runs it", *events]


def test_a_reused_result_is_announced(notebook: Any, monkeypatch: Any) -> None:
    ask = notebook.client.connection.record

    def record(task_id: str) -> dict[str, Any]:
        told = {"reused_from": "other", "reason": "reused the result of …other, 3 min old", "saved_s": 61.0}
        return {**ask(task_id), **told}

    monkeypatch.setattr(notebook.client.connection, "record", record)
    line = "reused the result of …other, 3 min old (1 min saved); --fresh runs it"
    assert line in [bundle.get("text/plain") for bundle in notebook.good("%%funcx --memo\n1").shown]
    assert line in str(notebook.good("%%funcx --memo -b\n1").shown)


def test_memo_does_not_go_with_a_session(notebook: Any) -> None:
    ran = notebook.run("%%funcx --memo --session s\n1")
    assert "--session does not go with --memo" in str(ran.error)
    assert not notebook.client.submitted


# --- debug ------------------------------------------------------------------------------------------


@pytest.fixture
def debugged(notebook: Any) -> Any:
    """Let the stand-in tell the call of its last task."""

    def get_call(task_id: str) -> Call:
        last = notebook.client.submitted[-1]
        packed = last["function"]
        body = FunctionBody("f", packed.sha256, "funcx-lab", packed.name, packed.body)
        arguments = last["arguments"].tobytes()
        wire = TaskCall(task_id, "g", "e", "local", body, arguments, None, last["options"])
        return Call(notebook.client.connection, wire)

    notebook.client.get_call = get_call
    return notebook


def test_debug_opens_the_frames_with_the_notebooks_lines(debugged: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("MPLBACKEND", "mine")
    debugged.good("n = 0")
    debugged.run("%%funcx\ndef ratio(x):\n    rest = x - 1\n    return 1 / x\n\nratio(n)")
    ran = debugged.good("%funcx debug")
    assert "----> 4     return 1 / x" in ran.stdout + ran.stderr
    assert "ZeroDivisionError here and on local. " in ran.stdout
    assert "%debug opens the frames above." in ran.stdout
    frames = []
    traceback = sys.last_traceback
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code.co_name, traceback.tb_lineno))
        traceback, frame = traceback.tb_next, traceback.tb_frame
    assert frames == [("<module>", 6), ("ratio", 4)]
    assert frame.f_locals == {"x": 0, "rest": -1}
    assert "ratio" not in debugged.shell.user_ns  # it ran in a namespace of its own
    assert os.environ["MPLBACKEND"] == "mine"


def test_debug_names_what_differs(debugged: Any) -> None:
    packages = {"numpy": "0.0.1"}
    environment = Environment("worker", "3.99.1", "0" * 64, packages, {"numpy": "numpy"})
    reported = SimpleNamespace(environment=environment)
    debugged.client.connection.environments = SimpleNamespace(get=lambda name: reported)
    debugged.good("%%funcx --no-check\nimport numpy as np\nnp.ones(2).sum()")
    said = debugged.good("%funcx debug last").stdout
    assert "It ends here without an error; on local: success." in said
    assert "here, 3.99.1 there; numpy" in said
    assert "here, 0.0.1 there." in said


def test_debug_of_a_cell_that_awaits_in_a_kernels_loop(debugged: Any) -> None:
    debugged.run("%%funcx\nimport asyncio\nawait asyncio.sleep(0)\n1 / 0")
    ran = debugged.good(
        "import asyncio\nawait asyncio.sleep(0)\nget_ipython().run_line_magic('funcx', 'debug')"
    )
    assert "ZeroDivisionError here and on local. " in ran.stdout


def test_debug_of_no_task(notebook: Any) -> None:
    ran = notebook.run("%funcx debug 12345678")
    assert "None of your last 1000 tasks is '12345678'" in str(ran.error)
