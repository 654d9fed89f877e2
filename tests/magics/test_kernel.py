"""Notebooks in a real kernel against the real hub service and its endpoint ``local``."""

from __future__ import annotations

import re
import time
from typing import Any

from tests.magics.kernels import TIMEOUT_S, Kernel, plain, streams


def test_value_streams_and_metadata(kernel: Kernel) -> None:
    outputs = kernel.run("%%funcx -o none\nimport sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7")
    assert plain(outputs, "execute_result") == ["42"]
    assert streams(outputs, "stdout") == "out\n"
    assert streams(outputs, "stderr") == "err\n"
    manifest = outputs[0]
    assert manifest["data"]["text/plain"].startswith("→ local")
    known = manifest["metadata"]["funcx"]
    assert (known["endpoint"], known["state"]) == ("local", "success")
    assert len(known["task_id"]) == 36
    assert known["started"] <= known["ended"] <= time.time()
    assert plain(kernel.run("_"), "execute_result") == ["42"]


def test_output_comes_while_the_cell_runs(kernel: Kernel) -> None:
    seen: list[float] = []

    def note(output: dict[str, Any]) -> None:
        if output["type"] == "stream":
            seen.append(time.monotonic())

    kernel.run(
        "%%funcx\nimport time\nfor i in range(3):\n    print(i, flush=True)\n    time.sleep(0.5)",
        on_output=note,
    )
    assert len(seen) >= 3
    assert seen[-1] - seen[0] > 0.6


def test_arrays_and_frames_both_ways(kernel: Kernel) -> None:
    kernel.run(
        "import numpy as np, pandas as pd\nframe = pd.DataFrame({'a': np.arange(4)})\ngrid = np.eye(300)"
    )
    outputs = kernel.run("%%funcx -o grid,frame\ngrid = grid * 2\nframe['b'] = frame.a ** 2\nframe")
    table = next(output for output in outputs if output["type"] == "execute_result")
    assert "<table" in table["data"]["text/html"]
    assert plain(kernel.run("int(frame.b.sum()), float(grid.sum())"), "execute_result") == ["(14, 600.0)"]


def test_a_figure_is_shown(kernel: Kernel) -> None:
    outputs = kernel.run("%%funcx\nimport matplotlib.pyplot as plt\n_ = plt.plot([1, 3, 2])\nplt.show()")
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    assert streams(outputs, "stderr") == ""


def test_display_and_its_updates(kernel: Kernel) -> None:
    outputs = kernel.run(
        "%%funcx\nhandle = display('one', display_id=True)\nhandle.update('two')\ndisplay({'k': 1})"
    )
    assert plain(outputs, "display_data")[1:] == ["'two'", "{'k': 1}"]


def test_functions_and_classes_both_ways(kernel: Kernel) -> None:
    kernel.run(
        "def double(x):\n    return 2 * x\nclass Pair:\n    def __init__(self, a):\n        self.a = a"
    )
    kernel.run(
        "%%funcx\nlevel = 5\ndef lift(x):\n    return double(x) + level\n"
        "class Kept:\n    start = level\npair = Pair(lift(1))\nkept = Kept()"
    )
    outputs = kernel.run("lift(2), pair.a, isinstance(pair, Pair), Kept.start, isinstance(kept, Kept)")
    assert plain(outputs, "execute_result") == ["(9, 7, True, 5, True)"]
    again = kernel.run("%%funcx\nlift(pair.a), isinstance(pair, Pair), isinstance(kept, Kept)")
    assert plain(again, "execute_result") == ["(19, True, True)"]


def test_an_error_shows_the_notebooks_lines(kernel: Kernel) -> None:
    outputs = kernel.run("%%funcx\nvalues = [1, 2]\n\ndef pick(i):\n    return values[i]\n\npick(7)")
    error = next(output for output in outputs if output["type"] == "error")
    assert error["ename"] == "IndexError"
    text = "\n".join(error["traceback"])
    assert ", line 7\n    pick(7)" in text
    assert ", line 5, in pick\n    return values[i]" in text
    assert "funcx_lab" not in text
    assert "raised on local (" in text.splitlines()[-1]
    again = "get_ipython().run_cell_magic('funcx', '-q', '1 / 0')"
    caught = kernel.run(f"try:\n    {again}\nexcept ZeroDivisionError:\n    print('caught')")
    assert streams(caught, "stdout") == "caught\n"


def test_refusals_are_one_red_line(kernel: Kernel) -> None:
    for cell, words in {
        "%%funcx\nnowhere + 1": "line 2:  nowhere + 1",
        "%%funcx --cores 4\n1": "unrecognized arguments",
        "%%funcx\nx = = 1": "SyntaxError",
    }.items():
        outputs = kernel.run(cell)
        assert [output["type"] for output in outputs] == ["stream"]
        assert words in streams(outputs, "stderr")
    error = kernel.run("%%funcx nowhere\n1")[-1]
    assert (error["type"], error["ename"]) == ("error", "EndpointNotFound")
    assert len(error["traceback"]) == 1


def test_a_worker_that_dies_is_our_error(kernel: Kernel) -> None:
    error = kernel.run("%%funcx\nimport os\nos._exit(1)")[-1]
    assert error["ename"] == "TaskPoisoned"
    assert "workers died" in error["traceback"][0]


def test_a_reused_result_shows_what_its_run_showed(kernel: Kernel) -> None:
    cell = "from IPython.display import HTML, display\nimport os\n"
    cell += "print('made')\ndisplay(HTML('<b>bold</b>'))\ntoken = os.getpid(), n\ntoken"
    kernel.run("n = 1")
    first = kernel.run(f"%%funcx --memo\n{cell}")
    kernel.run("token = None")
    again = kernel.run(f"%%funcx --memo\n\n# the same\n{cell}")
    for outputs in (first, again):
        assert streams(outputs, "stdout") == "made\n"
        assert any(output.get("data", {}).get("text/html") == "<b>bold</b>" for output in outputs)
    assert (
        plain(first, "execute_result")
        == plain(again, "execute_result")
        == plain(kernel.run("token"), "execute_result")
    )
    told = [text for text in plain(again, "display_data") if "reused the result of" in text]
    assert [text.rpartition("; ")[2] for text in told] == ["--fresh runs it"]
    kernel.run("n = 0")
    assert not any("reused" in str(output) for output in kernel.run(f"%%funcx --memo\n{cell}"))


def test_a_failed_cell_is_repeated_there_and_debugged_here(kernel: Kernel) -> None:
    kernel.run("%%funcx\nimport asyncio\nawait asyncio.sleep(0)\nbottom = 0\n1 / bottom")
    (card,) = [o for o in kernel.run("%funcx retry") if "fx-repr" in str(o)]
    task_id = card["metadata"]["funcx"]["task_id"]
    kernel.wait_for(lambda: "failed on local" in card["data"]["text/plain"])
    outputs = kernel.run("%funcx debug last")
    (shown,) = [output for output in outputs if output["type"] == "error"]
    assert "----> 5 1 / bottom" in re.sub(r"\x1b\[[\d;]*m", "", "\n".join(shown["traceback"]))
    assert "ZeroDivisionError here and on local." in streams(outputs, "stdout")
    seen = kernel.run(
        "import sys; sys.last_traceback.tb_frame.f_globals['bottom'], sys.last_traceback.tb_lineno"
    )
    assert plain(seen, "execute_result") == ["(0, 5)"]
    ask = f"import funcx_lab; funcx_lab.FuncXClient().get_task('{task_id}')['repeats'] is not None"
    assert plain(kernel.run(ask), "execute_result") == ["True"]


def test_a_background_cell_has_a_card_that_follows_it(kernel: Kernel) -> None:
    outputs = kernel.run(
        "%%funcx -b --task job -n 'long fit'\n"
        "import time\nprint('step one')\ntime.sleep(1)\nscore = 0.9\nscore * 10"
    )
    cards = [output for output in outputs if "fx-repr" in output.get("data", {}).get("text/html", "")]
    assert len(cards) == 1
    card = cards[0]
    assert card["metadata"]["funcx"]["label"] == "long fit"
    kernel.wait_for(lambda: "<strong>success</strong>" in card["data"]["text/html"])
    assert "step one" in card["data"]["text/html"]
    assert plain(kernel.run("job.state, 'score' in globals()"), "execute_result") == ["('success', False)"]
    assert plain(kernel.run("%funcx result"), "execute_result") == ["9.0"]
    assert plain(kernel.run("score"), "execute_result") == ["0.9"]
    assert streams(kernel.run("%funcx logs last"), "stdout") == "step one\n"
    assert "long fit" in plain(kernel.run("%funcx tasks -n 3"), "execute_result")[0]


def test_an_interrupt_cancels_the_task(kernel: Kernel) -> None:
    def interrupt(output: dict[str, Any]) -> None:
        if output.get("text", "").startswith("running"):
            kernel.manager.interrupt_kernel()

    outputs = kernel.run(
        "%%funcx\nimport time\nprint('running', flush=True)\ntime.sleep(600)", on_output=interrupt
    )
    error = outputs[-1]
    assert error["ename"] == "CellInterrupted"
    assert error["traceback"][0].startswith("Cancelled …")
    assert " on local after " in error["traceback"][0]
    state = kernel.run("list(__import__('funcx_lab').FuncXClient().get_tasks(limit=1))[0]['state']")
    assert plain(state, "execute_result") == ["'cancelled'"]
    assert plain(kernel.run("%%funcx\n'alive'"), "execute_result") == ["'alive'"]


def test_endpoint_names_complete(kernel: Kernel) -> None:
    def complete(text: str, at: int) -> list[str]:
        reply = kernel.client.complete(text, at, reply=True, timeout=TIMEOUT_S)
        matches: list[str] = reply["content"]["matches"]
        return matches

    assert complete("%%funcx lo\nx", 10) == ["local"]
    assert complete("%funcx sta", 10) == ["status"]
    assert complete("%%funcx -o be\nbest = 1", 13) == ["best"]


def test_a_task_is_found_again_by_the_next_kernel(kernel: Kernel) -> None:
    kernel.run("%%funcx -b --task job\nfound = 11\nfound + 1")
    task_id = plain(kernel.run("job.task_id"), "execute_result")[0].strip("'")
    kernel.restart()
    assert plain(kernel.run(f"%funcx result {task_id[-10:]}"), "execute_result") == ["12"]
    assert plain(kernel.run("found"), "execute_result") == ["11"]
    shown = kernel.run(f"%funcx attach {task_id}")
    assert "success" in shown[0]["data"]["text/html"]
    assert shown[-1]["data"]["text/plain"] == "12"


def test_a_session_keeps_its_names_until_its_worker_is_killed(kernel: Kernel) -> None:
    first = kernel.run("%%funcx --session warm\nimport os\nmodel = [1, 2]\nos.getpid()")
    assert "in session warm · keeps there model (-o" in first[0]["data"]["text/plain"]
    assert streams(first, "stderr").startswith("session warm is new on ")
    (pid,) = plain(first, "execute_result")
    second = kernel.run("%%funcx --session warm\nmodel.append(3)\nmodel, os.getpid()")
    assert "uses from session warm: model, os" in second[0]["data"]["text/plain"]
    assert plain(second, "execute_result") == [f"([1, 2, 3], {pid})"]
    assert streams(second, "stderr") == ""
    kernel.run("import os, signal, funcx_lab\nexecutor = funcx_lab.Executor('local', session='warm')")
    assert plain(kernel.run("executor.submit(os.getpid).result()"), "execute_result") == [pid]
    kernel.run(f"os.kill({pid}, signal.SIGKILL)")
    lost = kernel.run("%%funcx --session warm\nmodel")
    assert lost[-1]["ename"] == "NameError"
    told = streams(lost, "stderr")
    assert "session warm is new on " in told
    assert f"the names of its earlier cells are lost: worker {pid} on " in told
    assert "name 'model' is not defined" in streams(kernel.run("%%funcx --session warm\nmodel"), "stderr")


def test_sessions_are_listed_and_ended(kernel: Kernel) -> None:
    kernel.run("%%funcx --session listed\nmodel = 1")

    def is_listed() -> bool:
        return "listed" in plain(kernel.run("%funcx sessions"), "execute_result")[0]

    kernel.wait_for(is_listed)
    ended = kernel.run("%funcx sessions --end listed")
    assert plain(ended, "display_data") == ["session listed at local has ended"]
    again = kernel.run("%%funcx --session listed -x model\n'model' in globals()")
    assert plain(again, "execute_result") == ["False"]
    assert streams(again, "stderr").startswith("session listed is new on ")
    refused = kernel.run("%funcx sessions --end nothing")
    assert "No session 'nothing' at local" in streams(refused, "stderr")


def test_a_cell_that_does_not_fit_is_refused_before_it_is_sent(kernel: Kernel) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while "its workers'" not in streams(kernel.run("t = %funcx env local\nprint(t.caption)"), "stdout"):
        assert time.monotonic() < deadline, "no worker has reported its environment"
        kernel.run("%%funcx\n1")
    refused = kernel.run("%%funcx\nimport numpy\nimport nothing_like_it")[-1]
    assert (refused["ename"], refused["type"]) == ("EnvMismatch", "error")
    assert "line 3:  import nothing_like_it" in refused["traceback"][-1]
    assert kernel.run("%%funcx --no-check\nimport nothing_like_it")[-1]["ename"] == "ModuleNotFoundError"
    placed = kernel.run("%%funcx auto\nimport numpy\nnumpy.ones(2).sum() == 2")
    assert plain(placed, "display_data")[0].startswith("auto → local (has numpy ")
    kernel.run("import funcx_lab\nfxc = funcx_lab.FuncXClient()\ndef bad():\n    import nothing_like_it")
    for call in ("fxc.check(bad, 'local')", "funcx_lab.Executor('local', fxc, check=True).submit(bad)"):
        assert kernel.run(call)[-1]["ename"] == "EnvMismatch"
    same = kernel.run("fxc.check(lambda: numpy.ones(2)), fxc.get_environment('local').source")
    assert plain(same, "execute_result") == ["(None, 'worker')"]
