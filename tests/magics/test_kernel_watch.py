"""``funcx_lab.watch`` in a real kernel: figure, record, capture, no widgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.magics.kernels import Kernel, plain, streams

NAPS = """
import concurrent.futures, time
import funcx_lab
fxc = funcx_lab.FuncXClient()
def nap(seconds):
    import time
    time.sleep(seconds)
    return 1 / (seconds - 0.2)
naps = [fxc.submit(nap, seconds, endpoint="local", task_label="nap") for seconds in (0.1, 0.2, 0.3)]
"""


def comms(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [output for output in outputs if output["type"].startswith("comm_")]


#: A nap that lasts until a file is there.
WAITS = """
def nap_until(path):
    import os, time
    while not os.path.exists(path):
        time.sleep(0.02)
naps.append(fxc.submit(nap_until, {path!r}, endpoint="local", task_label="nap"))
"""


def drawn_in(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what a figure was told to draw, one after the other."""
    states = [message["data"]["state"] for message in comms(messages) if "state" in message["data"]]
    return [state["columns"] for state in states if state.get("columns")]


def test_a_figure_changes_while_the_kernel_is_busy(kernel: Kernel, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    flag = tmp_path / "go on"

    def look(message: dict[str, Any]) -> None:
        seen.append(message)
        if drawn_in([message]):
            flag.touch()

    cell = "watch = funcx_lab.watch(naps)\nwhile not watch.is_over:\n    time.sleep(0.1)"
    kernel.run(NAPS + WAITS.format(path=str(flag)) + cell, look)
    drawn = drawn_in(seen)
    assert len(drawn) >= 2
    last = drawn[-1]
    assert last["endpoints"]["endpoint"] == ["local"]
    assert (last["endpoints"]["success"], last["endpoints"]["failed"]) == ([3], [1])
    assert sorted(last["stream"]["state"]) == ["failed", "success", "success", "success"]
    assert set(last["stream"]["name"]) == {"nap"}
    (text,) = [each for each in kernel.displays.values() if "funcx" in each["metadata"]][-1:]
    kernel.wait_for(lambda: "4/4 ended" in text["data"]["text/plain"])
    assert "✖ 1 failed" in text["data"]["text/plain"]


def test_one_library_serves_all_figures(kernel: Kernel) -> None:
    cell = NAPS + "one, two = funcx_lab.watch(naps), funcx_lab.watch(naps)\none.close(), two.close()"
    opened = [message for message in comms(kernel.run(cell)) if message["type"] == "comm_open"]
    assert sum("code" in message["data"]["state"] for message in opened) <= 1


def test_a_record_has_the_final_state_and_no_widgets(kernel: Kernel) -> None:
    outputs = kernel.run(NAPS + "funcx_lab.watch(naps)", is_recorded=True)
    assert comms(outputs) == []
    (text,) = plain(outputs, "display_data")
    assert text.splitlines()[1:] == ["  ✔ 2 success", "  ✖ 1 failed"]
    (output,) = [output for output in outputs if output["type"] == "display_data"]
    assert "by endpoint" in output["data"]["text/html"]


def test_an_endpoint_has_no_end_so_a_record_has_what_there_is(kernel: Kernel) -> None:
    outputs = kernel.run(NAPS + "fxc.endpoint('local').watch()", is_recorded=True)
    (text,) = plain(outputs, "display_data")
    assert text.startswith("endpoint local")
    assert plain(outputs, "execute_result") == []


def test_without_widgets_text_changes_in_its_place(kernel: Kernel) -> None:
    kernel.run("import sys\nhidden, sys.modules['anywidget'] = sys.modules.get('anywidget'), None")
    outputs = kernel.run(NAPS + "funcx_lab.watch(naps)")
    assert comms(outputs) == []
    (output,) = [output for output in outputs if output["type"] == "display_data"]
    kernel.wait_for(lambda: "3/3 ended" in output["data"]["text/plain"])
    kernel.run("sys.modules.pop('anywidget') if hidden is None else sys.modules.update(anywidget=hidden)")


def test_what_is_captured_does_not_change_and_leaves_no_thread(kernel: Kernel) -> None:
    kernel.run("%%capture told\n" + NAPS + "funcx_lab.watch(naps)")
    shown = kernel.run(
        "import threading\nprint(told.outputs[0].data['text/plain'].splitlines()[0])\n"
        "print([each.name for each in threading.enumerate() if each.name == 'funcx-watch'])"
    )
    assert streams(shown, "stdout").startswith("3 tasks on local · 0/3 ended")
    assert streams(shown, "stdout").endswith("[]\n")


def test_a_wrong_name_is_an_error(kernel: Kernel) -> None:
    (error,) = [
        output for output in kernel.run("funcx_lab.watch(endpoint='nowhere')") if output["type"] == "error"
    ]
    assert error["ename"] == "EndpointNotFound"
