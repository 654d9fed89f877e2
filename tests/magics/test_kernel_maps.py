"""Maps in a real kernel: the bar in place, prints that stay in the log, interrupts, another kernel."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.magics.kernels import Kernel, plain, running_kernel, streams


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with running_kernel(tmp_path_factory.mktemp("home")) as kernel:
        kernel.run("%%funcx\n'a warm worker'")
        yield kernel


def cards(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [output for output in outputs if "TaskMap" in output.get("data", {}).get("text/plain", "")]


def test_one_bar_is_changed_in_place_and_right_at_the_end(kernel: Kernel) -> None:
    kernel.run("seed = list(range(6))")
    kernel.updates.clear()
    begun = time.monotonic()
    outputs = kernel.run(
        "%%funcx --map seed -o half\nimport time\nprint('item', seed)\ndisplay({'drawn': seed})\n"
        "time.sleep(0.4)\nif seed == 4: raise ValueError('no four')\nhalf = seed / 2\nhalf"
    )
    seconds = time.monotonic() - begun
    (card,) = cards(outputs)
    assert "6/6 · 1 failed" in card["data"]["text/plain"]
    assert "no four" in card["data"]["text/html"]
    assert card["metadata"]["funcx"]["map"]
    changes = [text for text in kernel.updates if "TaskMap" in text]
    assert any("running" in text for text in changes), changes
    assert len(changes) <= 4 * seconds + 2
    assert "item" not in streams(outputs, "stdout")
    (error,) = [output for output in outputs if output["type"] == "error"]
    assert error["ename"] == "ValueError"
    told = "\n".join(error["traceback"])
    assert told.count("raise ValueError") == 1
    assert "1 of 6 items failed" in told
    outputs = kernel.run("%funcx logs last --item 3")
    assert streams(outputs, "stdout") == "item 3\n"
    assert plain(outputs, "display_data") == ["{'drawn': 3}"]
    assert streams(kernel.run("%funcx logs last -n 2"), "stdout") == "--- item 5\nitem 5\n"


def test_another_kernel_takes_up_a_map_that_goes_on(kernel: Kernel) -> None:
    kernel.run("seed = list(range(700))")
    kernel.run("%%funcx --map seed -b -o twice\nimport time\ntime.sleep(0.004)\ntwice = 2 * seed")
    outputs = kernel.run("print(_.group_id)")
    group_id = streams(outputs, "stdout").strip()
    kernel.restart()
    outputs = kernel.run(f"%funcx attach {group_id[-8:]}")
    (card,) = cards(outputs)
    assert "700/700" in card["data"]["text/plain"]
    assert streams(kernel.run("print(twice == [2 * n for n in range(700)])"), "stdout") == "True\n"


def test_an_interrupt_stops_the_items_and_the_card_says_so(kernel: Kernel) -> None:
    kernel.run("seed = list(range(4))")

    def interrupt(output: dict[str, Any]) -> None:
        if "TaskMap" in output.get("data", {}).get("text/plain", ""):
            threading.Timer(0.5, os.kill, (kernel.pid, signal.SIGINT)).start()

    begun = time.monotonic()
    outputs = kernel.run("%%funcx --map seed\nimport time\ntime.sleep(60)", on_output=interrupt)
    assert time.monotonic() - begun < 20
    assert "4/4 · 4 failed" in cards(outputs)[0]["data"]["text/plain"]
    (error,) = [output for output in outputs if output["type"] == "error"]
    assert "Cancelled" in "".join(error["traceback"])


def test_progress_of_futures_goes_on_beside_other_work(kernel: Kernel) -> None:
    kernel.run(
        "import funcx_lab, time\nfxc = funcx_lab.FuncXClient()\n"
        "futures = [fxc.submit(time.sleep, 0.5) for _ in range(4)]"
    )
    begun = time.monotonic()
    (shown,) = [output for output in kernel.run("fxc.progress(futures)") if output["type"] == "display_data"]
    assert time.monotonic() - begun < 1.5
    kernel.wait_for(lambda: "4/4" in shown["data"]["text/plain"])
    assert plain(kernel.run("fxc.map(abs, range(-3, 0)).results()"), "execute_result") == ["[3, 2, 1]"]
