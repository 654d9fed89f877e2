"""The life of a cell in a real kernel: its line while it waits, interrupts, lost services, another kernel."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from funcx_lab.locks import holder_of
from tests.magics.kernels import Kernel, plain, running_kernel, streams


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    home = tmp_path_factory.mktemp("home")
    with running_kernel(home, JPY_SESSION_NAME=str(home / "fit.ipynb")) as kernel:
        kernel.run("%%funcx\n'a warm worker'")
        yield kernel


def service_pid(kernel: Kernel) -> int:
    pid = holder_of(Path(kernel.environment["FUNCX_LAB_HOME"]) / "service.lock")
    assert pid is not None
    return pid


def manifest(outputs: list[dict[str, Any]]) -> str:
    return str(outputs[0]["data"]["text/plain"])


def await_report(kernel: Kernel) -> None:
    """Wait until the endpoint's first worker has told its environment."""
    deadline = time.monotonic() + 60
    while "environment" not in kernel.run("%%funcx\n1")[0]["metadata"]["funcx"]:
        assert time.monotonic() < deadline, "no worker reported"


def test_the_line_tells_how_a_silent_task_is_and_adds_no_output(kernel: Kernel) -> None:
    await_report(kernel)
    kernel.updates.clear()
    outputs = kernel.run("%%funcx --progress-after 0.3\nimport time\ntime.sleep(1.7)\n5")
    assert [output["type"] for output in outputs] == ["display_data", "execute_result"]
    assert any(" · ▶ running · 0:01" in text for text in kernel.updates), kernel.updates
    assert manifest(outputs) == "→ local · ✔ success · 0:01"
    known = outputs[0]["metadata"]["funcx"]
    assert known["state"] == "success"
    assert [len(known[name]) for name in ("code_hash", "input_hash", "environment")] == [12, 12, 12]


def test_progress_after_minus_one_says_nothing(kernel: Kernel) -> None:
    kernel.updates.clear()
    assert manifest(kernel.run("%%funcx --progress-after -1\nimport time\ntime.sleep(0.6)")) == "→ local"
    assert set(kernel.updates) == {"→ local"}


def test_a_recorded_notebook_waits_for_its_cells_and_shows_no_progress(kernel: Kernel) -> None:
    kernel.run("%funcx config -b")
    kernel.updates.clear()
    cell = "%%funcx --progress-after 0.1\nimport time\ntime.sleep(0.8)\n4"
    outputs = kernel.run(cell, is_recorded=True)
    card = kernel.run("%%funcx -b\nimport time\ntime.sleep(0.5)\n5", is_recorded=True)[-1]
    assert plain(kernel.run("%funcx result", is_recorded=True), "execute_result") == ["5"]
    kernel.run("%funcx config --reset")
    assert manifest(outputs) == "→ local"
    assert plain(outputs, "execute_result") == ["4"]
    assert set(kernel.updates) == {"→ local"}
    assert "success" not in card["data"]["text/html"], "a card that nobody watches stays as it was"


def test_a_cell_that_clears_its_output_keeps_its_line(kernel: Kernel) -> None:
    cell = "%%funcx\nfrom IPython.display import clear_output\nfor i in range(3):\n"
    outputs = kernel.run(f"{cell}    clear_output(wait=True)\n    print(i)")
    last = max(i for i, output in enumerate(outputs) if output["type"] == "clear_output")
    assert [output["type"] for output in outputs[last + 1 :]] == ["display_data", "stream"]
    assert manifest(outputs[last + 1 :]).startswith("→ local")
    assert outputs[last + 1]["metadata"]["funcx"]["state"] == "success"
    hidden = kernel.run(f"{cell}    print(i)\n    clear_output()")
    assert [output["type"] for output in hidden[-2:]] == ["clear_output", "display_data"]


def test_what_is_captured_holds_no_progress(kernel: Kernel) -> None:
    cell = "%%capture caught\n%%funcx --progress-after 0\nimport time\ntime.sleep(0.5)\nprint('in')\n"
    assert kernel.run(f"{cell}display('shown')") == []
    assert plain(kernel.run("caught.stdout, len(caught.outputs)"), "execute_result") == ["('in\\n', 2)"]


def test_an_interrupt_is_said_at_once_and_a_second_one_detaches(kernel: Kernel) -> None:
    service = service_pid(kernel)

    def interrupt(output: dict[str, Any]) -> None:
        if output.get("text", "").startswith("running"):
            os.kill(service, signal.SIGSTOP)  # the cancel finds nobody who answers
            kernel.manager.interrupt_kernel()
            threading.Timer(1.0, os.kill, (kernel.pid, signal.SIGINT)).start()

    kernel.updates.clear()
    begun = time.monotonic()
    try:
        outputs = kernel.run(
            "%%funcx -o none\nimport time\nprint('running', flush=True)\ntime.sleep(30)", on_output=interrupt
        )
    finally:
        os.kill(service, signal.SIGCONT)
    assert time.monotonic() - begun < 20
    assert "→ local · ■ cancelling; interrupt once more to stop waiting for the answer" in kernel.updates
    message = outputs[-1]["traceback"][0]
    assert message.startswith("Stopped waiting for …")
    assert "which was asked to stop" in message
    kernel.run("import time, funcx_lab; client = funcx_lab.FuncXClient()")
    newest = "list(client.get_tasks(limit=1))[0]['state']"
    kernel.wait_for(lambda: plain(kernel.run(newest), "execute_result") == ["'cancelled'"])


@pytest.mark.slow
def test_a_service_that_is_killed_in_the_middle_costs_no_line_of_output(kernel: Kernel) -> None:
    restarted: list[threading.Thread] = []

    def kill(output: dict[str, Any]) -> None:
        if "line 20\n" in output.get("text", "") and not restarted:
            os.kill(service_pid(kernel), signal.SIGKILL)
            restarted.append(threading.Thread(target=kernel.cli, args=("start",)))
            restarted[0].start()

    outputs = kernel.run(
        "%%funcx --at-most-once\nimport time\nfor i in range(120):\n"
        "    print('line', i, flush=True)\n    time.sleep(0.05)\ni",
        on_output=kill,
    )
    restarted[0].join()
    assert streams(outputs, "stdout") == "".join(f"line {i}\n" for i in range(120))
    assert plain(outputs, "execute_result") == ["119"]


@pytest.mark.slow
def test_endless_output_leaves_the_kernel_small_and_quick(kernel: Kernel) -> None:
    process = psutil.Process(kernel.pid)
    before = process.memory_info().rss
    begun = time.monotonic()
    outputs = kernel.run(
        "%%funcx\nline = 'x' * 99\nfor _ in range(1_000_000):\n    print(line)\nprint('the end')"
    )
    took = time.monotonic() - begun
    text = streams(outputs, "stdout")
    assert text.endswith("x\nthe end\n")
    assert len(text) < 4_000_000
    assert "of output were dropped here" in streams(outputs, "stderr")
    grown = process.memory_info().rss - before
    print(f"100 MB of prints: {took:.1f} s, {len(outputs)} outputs, the kernel grew {grown / 1e6:.0f} MB")
    assert grown < 64_000_000
    begun = time.monotonic()
    assert plain(kernel.run("1 + 1"), "execute_result") == ["2"]
    assert time.monotonic() - begun < 2


def test_the_next_kernel_attaches_to_what_the_last_one_left(kernel: Kernel) -> None:
    kernel.run(
        "%%funcx -b\nimport time\nprint('step one', flush=True)\ntime.sleep(2)\n"
        "print('step two')\nmodel = 11\nmodel + 1"
    )
    kernel.restart()
    outputs = kernel.run("%funcx attach")
    assert manifest(outputs).startswith("↻ local · ")
    assert streams(outputs, "stdout") == "step one\nstep two\n"
    assert plain(outputs, "execute_result") == ["12"]
    assert plain(kernel.run("model"), "execute_result") == ["11"]
    kernel.restart()
    table = kernel.run("%funcx attach --all")
    assert "Tasks of this notebook" in table[-1]["data"]["text/html"]
    assert plain(kernel.run("model"), "execute_result") == ["11"]
