"""Cells in an IPython shell: values, names, streams, errors, refusals, background, subcommands."""

from __future__ import annotations

import re
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest
from IPython.core.error import UsageError

from funcx_lab.errors import CannotSerialize, EndpointNotFound
from funcx_lab_magics.page.failures import CellInterrupted


def test_the_last_expression_is_the_value(notebook: Any) -> None:
    ran = notebook.good("%%funcx\nx = 20\nx + 1")
    assert ran.result == 21
    assert notebook["_"] == 21
    assert notebook["x"] == 20
    assert ran.manifest == "→ local · brings back x"


def test_a_semicolon_silences_the_value(notebook: Any) -> None:
    assert notebook.good("%%funcx\n20 + 1;").result is None


def test_values_of_earlier_cells_can_be_used(notebook: Any) -> None:
    notebook.good("%%funcx\n20 + 1")
    assert notebook.good("%%funcx\n_ * 2").result == 42
    assert notebook.good("%%funcx\nfor _ in range(3): pass\n__").result == 21


def test_names_go_there_and_come_back(notebook: Any) -> None:
    notebook.good("import numpy as np\ndata = np.arange(5.0)\nfactor = 3\nscore = 0")
    ran = notebook.good("%%funcx\nscaled = data * factor\nscore = np.sum(scaled)")
    np.testing.assert_array_equal(notebook["scaled"], np.arange(5.0) * 3)
    assert notebook["score"] == 30.0
    told = r"→ local · sends data \d+ B, factor 1 B · replays np · brings back scaled, score \(replaces\)"
    assert re.fullmatch(told, ran.manifest)


def test_what_one_cell_imports_the_next_can_use(notebook: Any) -> None:
    notebook.good("%%funcx\nimport math\nfrom os import path as p")
    ran = notebook.good("%%funcx\nmath.sqrt(4), p.join('a', 'b')")
    assert ran.result == (2.0, "a/b")
    assert ran.manifest == "→ local · replays math, p"
    assert "math" not in notebook


def test_functions_and_classes_of_the_notebook_go_there(notebook: Any) -> None:
    notebook.good(
        "import math\nOFFSET = 1\n"
        "def area(r):\n    return math.pi * r ** 2 + OFFSET\n"
        "class Circle:\n    def __init__(self, r):\n        self.r = r\n"
        "    def area(self):\n        return area(self.r)\n"
        "circle = Circle(2)"
    )
    ran = notebook.good("%%funcx\nround(area(1), 2), round(Circle(1).area(), 2), round(circle.area(), 2)")
    assert ran.result == (4.14, 4.14, 13.57)
    assert "area()" in ran.manifest


def test_functions_defined_there_come_back(notebook: Any) -> None:
    notebook.good("%%funcx\nbase = 10\ndef add(x):\n    return x + base\nclass P:\n    n = 3\np = P()")
    assert notebook.good("add(5)").result == 15
    assert notebook.good("p.n, isinstance(p, P)").result == (3, True)


def test_output_choices(notebook: Any) -> None:
    notebook.good("%%funcx -o a\na = 1\nb = 2")
    assert "a" in notebook
    assert "b" not in notebook
    notebook.good("%%funcx -o none\nc = 1")
    assert "c" not in notebook
    notebook.good("%%funcx -o '*'\n_d = 1")
    assert notebook["_d"] == 1
    ran = notebook.run("%%funcx -o nowhere\na = 1")
    assert isinstance(ran.error, UsageError)
    assert "neither assigns nor uses" in ran.stderr


def test_a_change_that_stays_there_is_said(notebook: Any) -> None:
    notebook.good("d = {'a': 1}")
    ran = notebook.good("%%funcx\nd['b'] = 2")
    assert ran.manifest.endswith("· changes only there d (-o d brings it back)")
    assert notebook["d"] == {"a": 1}
    ran = notebook.good("%%funcx -o d\nd['b'] = 2")
    assert "only there" not in ran.manifest
    assert notebook["d"] == {"a": 1, "b": 2}


def test_what_is_too_large_to_come_back_unasked_is_said(notebook: Any) -> None:
    ran = notebook.good("%%funcx\nbig = bytes(2_000_000)\nsmall = 1")
    assert "big" not in notebook
    assert notebook["small"] == 1
    assert "not brought back: big" in ran.shown[-1]["text/plain"]
    notebook.good("%%funcx -o big\nbig = bytes(2_000_000)")
    assert len(notebook["big"]) == 2_000_000


def test_what_it_prints_is_printed_here(notebook: Any) -> None:
    ran = notebook.good("%%funcx\nprint('one')\nprint('two')")
    assert ran.stdout == "one\ntwo\n"


def test_an_error_has_its_type_and_the_notebooks_lines(notebook: Any) -> None:
    ran = notebook.run("\n%%funcx\nx = 1\n\ny = x / 0")
    assert isinstance(ran.error, ZeroDivisionError)
    assert "Cell In[1], line 5" in ran.stdout
    assert "y = x / 0" in ran.stdout
    assert "funcx_lab" not in ran.stdout
    assert "raised on local (here), task …" in ran.stdout


def test_lines_count_from_the_top_when_magics_are_stacked(notebook: Any) -> None:
    ran = notebook.run("%%capture --no-stdout\n%%funcx\nx = 1\nx / 0")
    assert "line 4\n    x / 0" in ran.stdout


def test_names_stay_untouched_when_a_cell_fails(notebook: Any) -> None:
    notebook.good("x = 1")
    notebook.run("%%funcx\nx = 2\nraise KeyError('k')")
    assert notebook["x"] == 1


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("%%funcx\nx = 1\ny = = 2", "line 3:  y = = 2"),
        ("%%funcx\nreturn 1", "outside function"),
        ("%%funcx\nx = 1\n!ls", "plain Python"),
        ("%%funcx\ny = 1\nnowhere + 1", "line 3:  nowhere + 1"),
        ("%%funcx --res gpus=1\n1", "unrecognized arguments: --res"),
        ("%%funcx -i ghost\n1", "'ghost', which is not defined"),
        ("%funcx frobnicate", "no subcommand"),
        ("%funcx tasks --state odd", "no state 'odd'"),
        ("%funcx cancel", "name tasks, or say --all"),
        ("%funcx logs", "No cell ran at an endpoint"),
    ],
)
def test_what_is_refused_before_anything_is_sent(notebook: Any, cell: str, message: str) -> None:
    ran = notebook.run(cell)
    assert type(ran.error) is UsageError
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr + ran.stdout
    assert notebook.client.submitted == []


def test_an_unknown_endpoint(notebook: Any) -> None:
    ran = notebook.run("%%funcx nowhere\n1")
    assert isinstance(ran.error, EndpointNotFound)
    assert "No endpoint 'nowhere'" in ran.stdout
    assert "Traceback" not in ran.stdout
    assert list(notebook.magics.notebook.tasks) == []


def test_a_name_that_cannot_be_sent(notebook: Any) -> None:
    notebook.good("import threading\nlock = threading.Lock()")
    ran = notebook.run("%%funcx\nx = 1\nwith lock:\n    pass")
    assert isinstance(ran.error, CannotSerialize)
    assert "`lock`" in ran.stdout
    assert "line 3:  with lock:" in ran.stdout
    assert "-x lock" in ran.stdout
    assert notebook.client.submitted == []


def test_a_large_name_needs_to_be_asked_for(notebook: Any) -> None:
    notebook.good("import numpy as np\ngrid = np.zeros(2_000_000)\nk = 2")
    ran = notebook.run("%%funcx\ngrid.sum() + k")
    assert isinstance(ran.error, UsageError)
    assert "grid 16 MB, k" in ran.stderr
    assert "-i grid,k" in ran.stderr
    assert notebook.good("%%funcx -i grid,k\ngrid.sum() + k").result == 2.0


def test_dry_run_sends_nothing(notebook: Any) -> None:
    notebook.good("x = 1")
    ran = notebook.good("%%funcx --dry-run -q\ny = x")
    assert "· brings back y · dry run: nothing was sent ·" in ran.manifest
    assert notebook.client.submitted == []


def test_quiet_shows_only_the_cells_output(notebook: Any) -> None:
    ran = notebook.good("%%funcx -q\nprint(1)")
    assert (ran.shown, ran.stdout) == ([], "1\n")


def test_name_timeout_and_what_is_run_again_travel(notebook: Any) -> None:
    notebook.good("%%funcx -n 'fit model' --timeout 2m\n1")
    options = notebook.client.submitted[0]["options"]
    assert (options.label, options.walltime_s) == ("fit model", 120.0)
    notebook.good("%%funcx --retries 2\n1")
    assert notebook.client.submitted[1]["options"].retries == 2
    notebook.good("%%funcx --at-most-once\n1")
    assert notebook.client.submitted[2]["options"].at_most_once


def test_background_gives_a_task(notebook: Any) -> None:
    ran = notebook.good("%%funcx held -b --task job -n slow\nz = 5\nprint('hi')\nz * 2")
    job = notebook["job"]
    assert ran.result is job
    assert notebook["_"] is job
    assert repr(job).startswith(f"<Task …{job.task_id[-8:]} ")
    assert "slow" in job._repr_html_()
    assert not job.done()
    assert "z" not in notebook
    notebook.client.release.set()
    assert notebook.good("%funcx result").result == 10
    assert notebook["z"] == 5
    assert " success on held" in repr(job)  # nobody had to ask how it is
    assert job.state == "success"
    assert notebook.good("%funcx logs").stdout == "hi\n"
    assert notebook.good(f"%funcx logs {job.task_id[-8:]} -f").stdout == "hi\n"
    notebook.good(f"%funcx result {job.task_id} -o kept")
    assert notebook["kept"] == 10


def run_and_interrupt(notebook: Any, cell: str) -> Any:
    """Interrupt the main thread while it waits for the cell."""

    def interrupt() -> None:
        with notebook.client.changed:
            notebook.client.changed.wait_for(lambda: any(notebook.client.logs.values()), 10)
        while not list(notebook.magics.notebook.tasks):
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]

    thread = threading.Thread(target=interrupt)
    thread.start()
    ran = notebook.run(cell)
    thread.join()
    return ran


def test_an_interrupt_cancels(notebook: Any) -> None:
    ran = run_and_interrupt(notebook, "%%funcx held\n1")
    task = next(iter(notebook.magics.notebook.tasks))
    assert isinstance(ran.error, CellInterrupted)
    assert isinstance(ran.error, KeyboardInterrupt)
    assert ran.stdout.strip().endswith(f"Cancelled …{task.task_id[-8:]} on held after 0 s.")
    assert task.state == "cancelled"


def test_an_interrupt_may_detach(notebook: Any) -> None:
    ran = run_and_interrupt(notebook, "%%funcx held --on-interrupt detach\n1 + 1")
    task = next(iter(notebook.magics.notebook.tasks))
    assert isinstance(ran.error, CellInterrupted)
    assert f"%funcx cancel {task.task_id[-8:]}" in ran.stdout
    notebook.client.release.set()
    assert task.result(10) == 2


def test_a_second_interrupt_detaches(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(task_id: str) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(notebook.client.connection, "cancel", impatient)
    ran = run_and_interrupt(notebook, "%%funcx held\n1 + 1")
    assert "Stopped waiting" in str(ran.error)


def test_an_interrupt_while_the_cell_is_sent(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = notebook.client.submit_packed

    def interrupted_before(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def interrupted_behind(*args: Any, **options: Any) -> None:
        submit(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(notebook.client, "submit_packed", interrupted_before)
    ran = notebook.run("%%funcx held\n1")
    assert isinstance(ran.error, CellInterrupted)
    assert "Interrupted before the cell was sent to held." in ran.stdout
    monkeypatch.setattr(notebook.client, "submit_packed", interrupted_behind)
    assert "on held while it was being sent." in notebook.run("%%funcx held\n1").stdout
    assert [record["state"] for record in notebook.client.records.values()] == ["cancelled"]


def test_cancel(notebook: Any) -> None:
    notebook.good("%%funcx held -b\n1")
    task = next(iter(notebook.magics.notebook.tasks))
    assert notebook.good("%funcx cancel last").stdout == f"Cancelled …{task.task_id[-8:]} on held.\n"
    assert "had already ended: cancelled" in notebook.good("%funcx cancel last").stdout
    assert "No task" in notebook.good("%funcx cancel --all").stdout


def test_lists(notebook: Any) -> None:
    notebook.good("%%funcx -n first\n1")
    notebook.run("%%funcx -n second\n1 / 0")
    tasks = repr(notebook.good("%funcx tasks").result)
    assert tasks.index("second") < tasks.index("first")
    failed = repr(notebook.good("%funcx tasks --state failed,running").result)
    assert "second" in failed
    assert "first" not in failed
    assert "first" in repr(notebook.good("%funcx tasks --here -n 5").result)
    assert "held" in repr(notebook.good("%funcx endpoints").result)
    assert notebook.good("%funcx endpoints --json").result[0]["name"] == "local"
    assert "workers" in repr(notebook.good("%funcx status").result)
    assert "offline since" in repr(notebook.good("%funcx status held").result)
    assert "There are: local, held" in notebook.run("%funcx status nowhere").stderr
    assert isinstance(notebook.run("%funcx attach last").error, ZeroDivisionError)


def test_config(notebook: Any) -> None:
    shown = repr(notebook.good("%funcx config -e held -b -o a,b --on-interrupt detach").result)
    assert "held" in shown
    settings = notebook.magics.notebook.settings
    assert (settings.endpoint, settings.background, settings.out) == ("held", True, ["a", "b"])
    notebook.good("%funcx config -w")
    assert settings.background is False
    notebook.good("%funcx config --reset")
    assert (settings.endpoint, settings.out, settings.on_interrupt) == ("local", "auto", "cancel")
    notebook.good("%config FuncX.endpoint = 'held'")
    assert settings.endpoint == "held"


def test_help(notebook: Any) -> None:
    assert "--on-interrupt" in notebook.good("%%funcx -h\n1").stdout
    assert "--follow" in notebook.good("%funcx logs --help").stdout
    assert "endpoints" in notebook.good("%funcx").stdout
    assert "--dry-run" in notebook.magics.cell_funcx.__doc__


def test_other_magics_compose(notebook: Any) -> None:
    notebook.good("%%capture seen\n%%funcx\nprint('inside')")
    assert notebook["seen"].stdout == "inside\n"
    ran = notebook.good("%%time\n%%funcx\n1 + 1")
    assert ran.result == 2
    assert "Wall time" in ran.stdout


def test_ending_the_extension_takes_everything_away(notebook: Any) -> None:
    before = len(notebook.shell.configurables)
    notebook.good("%unload_ext funcx_lab")
    assert len(notebook.shell.configurables) == before - 3
    assert "not found" in notebook.run("%funcx tasks").stderr
    notebook.good("%load_ext funcx_lab")
    notebook.good("%reload_ext funcx_lab")
    assert len(notebook.shell.configurables) == before
