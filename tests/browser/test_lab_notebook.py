"""The extension in a notebook: outputs without their kernel, the endpoint in the toolbar, cells sent away."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import wait
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import expect

from funcx_lab import Executor, FuncXClient
from funcx_lab.looks import TASK_MIME
from tests.browser.lab import DARK, JupyterLab

pytestmark = pytest.mark.slow

_LOAD = "%load_ext funcx_lab"
#: None of it may become anything but text.
_HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>[x](javascript:alert(3))&lt;b&gt;"


def test_the_picker_sets_where_the_next_cell_runs(lab: JupyterLab) -> None:
    lab.write("picker", _LOAD, "%%funcx --dry-run\n1", "%%funcx --dry-run\n1", "%funcx config")
    with lab.open("picker") as notebook:
        notebook.run(0)
        notebook.run(1)
        notebook.wait_for(1, "→ local")
        picker = notebook.page.get_by_label("Endpoint of this notebook")
        expect(picker).to_contain_text("local · online")
        with notebook.page.expect_response(lambda answer: "funcx-lab/notebooks" in answer.url) as told:
            picker.select_option("auto")
        assert told.value.ok
        notebook.run(2)
        notebook.wait_for(2, "auto → local")
        notebook.run(3)
        notebook.wait_for(3, "this notebook")
        notebook.save()
    saved = json.loads((lab.directory / "picker.ipynb").read_text())
    assert saved["metadata"]["funcx"] == {"default_endpoint": "auto"}


def test_a_cell_is_run_remotely_by_a_shortcut_that_everybody_sees(lab: JupyterLab) -> None:
    lab.write("away", "import os\nos.getppid()", "%%funcx -q\n6 * 7")
    with lab.open("away") as notebook:
        notebook.focus(0)
        notebook.page.keyboard.press("Control+Alt+Enter")
        notebook.wait_for(0, "Cell magic `%%funcx` not found")
        notebook.page.get_by_role("button", name=f"Add {_LOAD} above").click()
        notebook.wait_for(1, "→ local")
        expect(notebook.cell(0).locator(".cm-content")).to_have_text(_LOAD)
        expect(notebook.cell(1).locator(".cm-content")).to_contain_text("%%funcx")
        notebook.page.get_by_label("Endpoint of this notebook").select_option("local")
        notebook.focus(2)
        notebook.page.keyboard.press("Control+Alt+Enter")
        notebook.wait_for(2, "42")
        expect(notebook.cell(2).locator(".cm-content")).to_contain_text("%%funcx local -q")
        notebook.cell(1).locator(".cm-content").click(button="right")
        notebook.page.locator(".lm-Menu-item", has_text="Run Cell on Endpoint").hover()
        expect(notebook.page.locator(".lm-Menu-item", has_text="local · online")).to_be_visible()
        notebook.page.keyboard.press("Escape")
        notebook.page.keyboard.press("Escape")


def test_a_notebook_without_its_kernel_is_painted_from_the_service(lab: JupyterLab, tmp_path: Path) -> None:
    """From running to its figure, in the dark theme; what the service says stays text."""
    flag = tmp_path / "go"
    figure = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()"
    wait = f"while not os.path.exists({str(flag)!r}):\n    time.sleep(0.05)\n"
    wait = f"import os, time\nprint({_HOSTILE!r}, flush=True)\n{wait}"
    lab.write(
        "dark",
        _LOAD,
        f"%%funcx local -b -n {_HOSTILE!r}\n{wait}{figure}",
        f"%%funcx local -b -n bad\nraise ValueError({_HOSTILE!r})",
    )
    with lab.open("dark") as notebook:
        for number in range(3):
            notebook.run(number)
        notebook.wait_for(1, "running", _HOSTILE)
        notebook.wait_for(2, "failed", f"ValueError: {_HOSTILE}")
        notebook.save()
        notebook.shut_down()
    lab.use_theme(DARK)
    with lab.open("dark") as notebook:
        notebook.wait_for(1, "▶ running", _HOSTILE)
        flag.touch()
        notebook.wait_for(1, "✔ success")
        image = notebook.output(1).locator("img")
        expect(image).to_have_count(1)
        expect(image).to_be_visible()
        notebook.wait_for(2, "✖ failed", f"ValueError: {_HOSTILE}", "Cell In[3], line 2")
        texts = notebook.contrasts(".fxl-TaskCard")
        assert {text: round(ratio, 1) for text, ratio in texts.items() if ratio < 4.5} == {}
        assert {"success", "failed", "Retry"} <= texts.keys()
        assert notebook.page.locator(".fxl-TaskCard script").count() == 0


def test_a_cell_whose_kernel_died_goes_on_from_the_service(lab: JupyterLab, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    wait_there = (
        f"print('before', flush=True)\nwhile not os.path.exists({str(flag)!r}):\n    time.sleep(0.05)"
    )
    lab.write(
        "died",
        f"{_LOAD}\nimport os\nos.getpid()",
        f"%%funcx local\nimport os, time\n{wait_there}\nprint('after')",
    )
    with lab.open("died") as notebook:
        pid = int(notebook.run(0).locator("pre").inner_text())
        notebook.start(1)
        notebook.wait_for(1, "before")
        expect(notebook.output(1).locator(".fxl-TaskLog-text")).to_have_count(0)
        os.kill(pid, signal.SIGKILL)
        notebook.agree()
        log = notebook.output(1).locator(".fxl-TaskLog-text")
        expect(log).to_contain_text("before")
        flag.touch()
        expect(log).to_contain_text("after")
        notebook.wait_for(1, "✔ success")


def test_a_button_cancels_a_task_while_the_kernel_is_busy(lab: JupyterLab, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    lab.write(
        "cancelled",
        _LOAD,
        f"%%funcx local -b --shell\necho $$ > {str(pid)!r}\necho begun\nsleep 600",
        "import time\nprint('busy', flush=True)\nwhile True:\n    time.sleep(0.1)",
        "%%funcx local\nimport time\nprint('begun', flush=True)\ntime.sleep(600)",
    )
    with lab.open("cancelled") as notebook:
        notebook.run(0)
        notebook.run(1)
        notebook.wait_for(1, "▶ running", "begun")
        notebook.start(2)
        notebook.wait_for(2, "busy")
        notebook.press(1, "Cancel")
        notebook.agree()
        notebook.wait_for(1, "■ cancelled")
        _wait_until_gone(int(pid.read_text()))
        notebook.interrupt()
        notebook.wait_for(2, "KeyboardInterrupt")
        notebook.start(3)
        notebook.wait_for(3, "begun")
        notebook.press(3, "Cancel")
        notebook.agree()
        notebook.wait_for(3, "TaskCancelled")


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.05)


def test_an_output_says_that_its_cell_or_an_input_changed(lab: JupyterLab) -> None:
    lab.write("stale", _LOAD, "number = 6", "%%funcx local -b\nnumber * 7", "number = 8")
    with lab.open("stale") as notebook:
        for number in range(4):
            notebook.run(number)
        notebook.wait_for(2, "✔ success")
        mark = notebook.output(2).locator(".fxl-TaskCard-stale")
        expect(mark).to_be_hidden()
        notebook.focus(1)
        notebook.page.keyboard.press("Control+Enter")
        expect(mark).to_have_text("stale: number may have changed since")
        notebook.edit(2, "%%funcx local -b --memo\nnumber * 7")
        expect(mark).to_have_text("stale: number may have changed since")
        notebook.edit(2, "%%funcx local -b\nnumber * 70")
        expect(mark).to_have_text("stale: the cell was edited since it ran")


def test_a_refused_cell_is_sent_by_one_click_that_edits_its_line(lab: JupyterLab) -> None:
    lab.write(
        "fixed",
        f"{_LOAD}\nimport threading\nlock = threading.Lock()",
        "%%funcx local\nif 0:\n    lock\nprint('without it')",
        "%%funcx local -b --timeout 1\nimport time\ntime.sleep(1.5)\nprint('in time')",
    )
    with lab.open("fixed") as notebook:
        notebook.run(0)
        notebook.run(1)
        notebook.wait_for(1, "CannotSerialize")
        notebook.press(1, "Run without sending lock")
        notebook.wait_for(1, "without it")
        expect(notebook.cell(1).locator(".cm-content")).to_contain_text("%%funcx local -x lock")
        notebook.run(2)
        notebook.press(2, "Run with --timeout 2s")
        notebook.wait_for(2, "in time", "✔ success")
        expect(notebook.cell(2).locator(".cm-content")).to_contain_text("%%funcx local -b --timeout 2s")


def test_a_retried_task_takes_the_place_of_the_first_in_the_saved_notebook(lab: JupyterLab) -> None:
    lab.write("again", _LOAD, "%%funcx local -b\nprint('ran')")
    with lab.open("again") as notebook:
        notebook.run(0)
        notebook.run(1)
        notebook.wait_for(1, "✔ success", "ran")
        first = notebook.output(1).locator(".fxl-TaskCard-id").get_attribute("title")
        notebook.press(1, "Retry")
        expect(notebook.output(1).locator(".fxl-TaskCard-id")).not_to_have_attribute("title", str(first))
        notebook.wait_for(1, "✔ success", "ran")
        second = notebook.output(1).locator(".fxl-TaskCard-id").get_attribute("title")
        notebook.save()
    saved = (lab.directory / "again.ipynb").read_text()
    assert second is not None
    assert second in saved
    assert FuncXClient().connection.record(second)["state"] == "success"


def _noisy(number: int) -> int:
    from IPython.display import HTML, display  # what a person's function may do

    if number == 0:
        display(HTML("<b>bold</b><script>window.ran = 1</script><i onclick='window.ran = 1'>press</i>"))
    print(f"number {number}")
    return number


def test_two_hundred_outputs_ask_only_for_what_is_seen(lab: JupyterLab) -> None:
    """Of a notebook that nobody trusts: displays are sanitised."""
    with Executor("local") as executor:
        futures = [executor.submit(_noisy, number) for number in range(200)]
        wait(futures, timeout=120)
        task_ids = [future.task_id for future in futures]
    lab.write_outputs("many", *(_card(task_id) for task_id in task_ids))
    asked: list[str] = []
    with lab.open("many", lambda request: asked.append(urlsplit(request.url).path)) as notebook:
        notebook.wait_for(0, "✔ success", "number 0", "bold", "press")
        notebook.output(0).get_by_text("press").click()
        assert notebook.page.evaluate("window.ran") is None
        seen = notebook.page.locator(".fxl-TaskCard-state").count()
        assert 1 <= seen < 60
        assert sum("/api/v3/tasks/" in path for path in asked) < 60
        notebook.cells.last.scroll_into_view_if_needed()
        notebook.wait_for(199, "✔ success", "number 199")


def _card(task_id: str) -> nbformat.NotebookNode:
    data = {TASK_MIME: {"task_id": task_id}, "text/html": "<p>as it was saved</p>", "text/plain": "saved"}
    return nbformat.v4.new_output("display_data", data, metadata={"funcx": {"task_id": task_id}})
