"""A notebook as a person sees it: JupyterLab in a browser, the local service, the endpoint ``local``."""

from __future__ import annotations

from concurrent.futures import wait
from pathlib import Path

import pytest
from playwright.sync_api import expect

from funcx_lab import FuncXClient
from tests.browser.lab import DARK, LIGHT, JupyterLab

pytestmark = pytest.mark.slow


def test_output_stands_under_its_own_cell_while_two_run(lab: JupyterLab) -> None:
    loop = "import time\nfor i in range({n}):\n    print('{word}', i, flush=True)\n    time.sleep(0.1)"
    lab.write(
        "two",
        "%load_ext funcx_lab",
        "%%funcx local -b -n behind\n" + loop.format(n=60, word="behind"),
        "%%funcx local\n" + loop.format(n=30, word="front"),
    )
    with lab.open("two") as notebook:
        notebook.run(0)
        notebook.run(1)
        notebook.start(2)
        notebook.wait_for(1, "behind 1", "running")
        notebook.wait_for(2, "front 1")
        assert "running" in notebook.output(1).inner_text()
        notebook.wait_for(2, "front 29")
        notebook.wait_for(1, "behind 59", "success")
        before, card, cell = notebook.texts()
    assert before == ""
    assert "front" not in card
    assert "behind" not in cell


def test_a_figure_is_seen(lab: JupyterLab) -> None:
    lab.write(
        "figure",
        "%load_ext funcx_lab",
        "%%funcx local\nimport matplotlib.pyplot as plt\n_ = plt.plot([1, 3, 2])\nplt.show()",
    )
    with lab.open("figure") as notebook:
        notebook.run(0)
        image = notebook.run(1).locator("img")
        expect(image).to_be_visible()
        box = image.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) > 200


def test_the_interrupt_button_cancels_the_cell(lab: JupyterLab) -> None:
    lab.write(
        "cancel",
        "%load_ext funcx_lab",
        "%%funcx local\nimport time\nprint('begun', flush=True)\ntime.sleep(600)",
        "%%funcx local\n6 * 7",
    )
    with lab.open("cancel") as notebook:
        notebook.run(0)
        notebook.start(1)
        notebook.wait_for(1, "begun")
        notebook.interrupt()
        notebook.wait_for(1, "Cancelled …")
        notebook.run(2)
        notebook.wait_for(2, "42")


def test_a_card_goes_through_its_states(lab: JupyterLab) -> None:
    lab.write(
        "states",
        "%load_ext funcx_lab",
        "%%funcx local -b -n good\nimport time\nprint('one', flush=True)\ntime.sleep(1)\nprint('two')",
        "%%funcx local -b -n bad\n1 / 0",
        "%%funcx local -b --task endless -n endless\nimport time\nwhile True:\n    time.sleep(0.1)",
        "endless.cancel()",
    )
    with lab.open("states") as notebook:
        notebook.run(0)
        notebook.run(1)
        notebook.wait_for(1, "▶ running", "one")
        notebook.wait_for(1, "✔ success", "two")
        notebook.run(2)
        notebook.wait_for(2, "✖ failed", "ZeroDivisionError: division by zero")
        notebook.run(3)
        notebook.wait_for(3, "▶ running")
        notebook.run(4)
        notebook.wait_for(3, "■ cancelled")
        assert all("running" not in text for text in notebook.texts())


def test_a_map_a_session_and_a_silent_cell_tell_how_they_are(lab: JupyterLab) -> None:
    lab.write(
        "telling",
        "%load_ext funcx_lab\nitems = list(range(8))",
        "%%funcx local --map items\nimport time\ntime.sleep(0.5)\n"
        "if items == 5:\n    raise ValueError('five')\nitems",
        "%%funcx local --session warm\nmodel = 41",
        "%%funcx local --session warm\nmodel + 1",
        "%%funcx local --progress-after 0.5\nimport time\ntime.sleep(3)\n'awake'",
    )
    with lab.open("telling") as notebook:
        notebook.run(0)
        notebook.start(1)
        notebook.wait_for(1, "8/8", "1 failed", "ValueError: five")
        notebook.run(2)
        notebook.run(3)
        notebook.wait_for(3, "uses from session warm: model", "42")
        notebook.start(4)
        notebook.wait_for(4, "▶ running")
        notebook.wait_for(4, "✔ success", "awake")


def test_a_restarted_kernel_takes_its_task_up_again(lab: JupyterLab, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    lab.write(
        "restarted",
        "%load_ext funcx_lab",
        f"flag = {str(flag)!r}",
        "%%funcx local -b\nimport os, time\nprint('before', flush=True)\nwhile not os.path.exists(flag):\n"
        "    time.sleep(0.05)\nprint('after')\nfound = 11",
        "%load_ext funcx_lab",
        "%funcx attach last",
        "found",
    )
    with lab.open("restarted") as notebook:
        for number in (0, 1, 2):
            notebook.run(number)
        notebook.wait_for(2, "running", "before")
        notebook.save()
        notebook.restart()
        notebook.run(3)
        notebook.start(4)
        notebook.wait_for(4, "running", "before")
        flag.touch()
        notebook.wait_for(4, "after")
        notebook.run(5)
        notebook.wait_for(5, "11")


def test_a_page_that_was_closed_finds_what_ran_meanwhile(lab: JupyterLab, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    lab.write(
        "reopened",
        "%load_ext funcx_lab",
        f"flag = {str(flag)!r}",
        "%%funcx local -b --task job -n overnight\nimport os, time\nprint('before', flush=True)\n"
        "while not os.path.exists(flag):\n    time.sleep(0.05)\nprint('after')\nfound = 11",
        "%funcx attach --all",
        "found",
        "%funcx attach last",
    )
    with lab.open("reopened") as notebook:
        for number in (0, 1, 2):
            notebook.run(number)
        notebook.wait_for(2, "running", "before")
        notebook.save()
    flag.touch()
    client = FuncXClient()
    task = client.task(client.get_tasks(label="overnight")[0]["task_id"])
    assert wait([task], timeout=60).done
    with lab.open("reopened") as notebook:
        notebook.wait_for(2, "before")
        notebook.run(3)
        notebook.wait_for(3, "overnight", "success", "brought back: found")
        notebook.run(4)
        notebook.wait_for(4, "11")
        notebook.run(5)
        notebook.wait_for(5, "before", "after")


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_every_word_can_be_read(lab: JupyterLab, theme: str) -> None:
    """What is written stands out from what is behind it by 4.5 to 1, as WCAG asks."""
    lab.write(
        theme[-5:].strip(),
        "%load_ext funcx_lab",
        "%%funcx local -b -n good\nprint('a line')",
        "%%funcx local -b -n bad\n1 / 0",
        "%funcx endpoints",
        "%funcx tasks -n 3",
    )
    lab.use_theme(theme)
    with lab.open(theme[-5:].strip()) as notebook:
        for number in range(5):
            notebook.run(number)
        notebook.wait_for(1, "✔ success", "a line")
        notebook.wait_for(2, "✖ failed", "ZeroDivisionError")
        notebook.wait_for(3, "local")
        notebook.wait_for(4, "good", "bad")
        texts = notebook.contrasts(".fx-repr, .fx-manifest, .fxl-TaskCard")
        assert {"success", "failed", "a line", "good"} <= texts.keys()
        assert {text: round(ratio, 1) for text, ratio in texts.items() if ratio < 4.5} == {}
        is_dark = notebook.page.locator("body").get_attribute("data-jp-theme-light") == "false"
        assert is_dark is (theme == DARK)
