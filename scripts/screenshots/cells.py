"""Pictures of cells: what stands below them, and the notebook's toolbar."""

from __future__ import annotations

from playwright.sync_api import expect

from scripts.screenshots.studio import LOAD, Studio, area, keep
from tests.browser.lab import Notebook

FIGURE = """%%funcx local -o none
import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 4 * np.pi, 400)
plt.figure(figsize=(5, 2.2))
plt.plot(x, np.sin(x) * np.exp(-x / 6))
plt.show()"""
STEPS = """%%funcx local -b --task fit -n "long fit"
import time

for step in range(1, 100):
    print(f"step {step}: loss {1 / step:.3f}")
    time.sleep(1)"""
FAILS = """%%funcx local
def ratio(a, b):
    return a / b

ratio(1, 0)"""
MAP = """%%funcx local --map terms
import math

math.pi**2 / 6 - sum(1 / n**2 for n in range(1, terms + 1))"""
MAP_DATA = "terms = [10, 100, 1_000, 10_000, 100_000, 1_000_000]"
PICKED = """%%funcx
import platform

platform.system()"""
WATCHED = """import funcx_lab

fxc = funcx_lab.FuncXClient()


def sample(seed):
    import random
    import time

    random.seed(seed)
    time.sleep(random.uniform(0.05, 0.9))
    return 1 / (seed % 11)"""
WATCH = """futures = [fxc.submit(sample, seed, endpoint="local") for seed in range(1, 33)]
funcx_lab.watch(futures)"""


def figure(studio: Studio, name: str) -> None:
    """Take a cell with its figure."""
    _take(studio, name, LOAD, FIGURE)


def background(studio: Studio, name: str) -> None:
    """Take the card of a task that goes on."""
    _take(studio, name, LOAD, STEPS, until="step 3")
    studio.cancel()


def error(studio: Studio, name: str) -> None:
    """Take a traceback."""
    _take(studio, name, LOAD, FAILS)


def tasks(studio: Studio, name: str) -> None:
    """Take the tables of endpoints and tasks."""
    _take(studio, name, LOAD, "%funcx endpoints", "%funcx tasks -n 5")


def many(studio: Studio, name: str) -> None:
    """Take a map with its bar."""
    _take(studio, name, LOAD, MAP_DATA, MAP)


def watch(studio: Studio, name: str) -> None:
    """Take the figure of a watch, with bars that run and some that failed."""
    with studio.page(name, WATCHED, WATCH) as notebook:
        notebook.run(0)
        notebook.run(1)
        output = notebook.output(1)
        expect(output.locator(".bk-Figure")).to_be_visible()
        output.get_by_role("button", name="Task stream").click()
        notebook.wait_for(1, "success 1")
        expect(output.locator(".bk-Figure")).to_be_visible()
        _keep_cells(notebook, name)


def picker(studio: Studio, name: str) -> None:
    """Take the toolbar with the notebook's endpoint, and a cell that names none."""
    with studio.page(name, LOAD, PICKED, width=1000) as notebook:
        choice = notebook.page.get_by_label("Endpoint of this notebook")
        expect(choice).to_contain_text("local · online")
        with notebook.page.expect_response(lambda answer: "funcx-lab/notebooks" in answer.url):
            choice.select_option("local")
        notebook.run(0)
        notebook.run(1)
        choice.focus()
        keep(
            notebook.page, name, area(notebook.page.locator(".jp-NotebookPanel-toolbar"), notebook.cells.last)
        )


def reopened(studio: Studio, name: str) -> None:
    """Take cards that were painted from the service: the kernel was shut down, the tasks went on."""
    lines = FIGURE.replace("import m", "import time\n\nimport m")
    slow = lines.replace("%%funcx local", '%%funcx local -b -n "damped oscillation"').replace(
        "x = np", 'time.sleep(5)\nprint("computed while the notebook was closed")\nx = np'
    )
    with studio.page(name, LOAD, slow, FAILS.replace("local", "local -b -n ratio")) as notebook:
        for number in range(3):
            notebook.run(number)
        notebook.save()
        notebook.shut_down()
    with studio.lab.open(name) as notebook:
        notebook.page.set_viewport_size({"width": 1200, "height": 1200})
        notebook.wait_for(1, "success", "computed while")
        expect(notebook.output(1).locator("img")).to_be_visible()
        notebook.wait_for(2, "ZeroDivisionError")
        _keep_cells(notebook, name)


def _take(studio: Studio, name: str, *cells: str, until: str = "") -> None:
    """Run cells and keep a picture of them; the last one may still go on when ``until`` is seen."""
    with studio.page(name, *cells) as notebook:
        for number in range(len(cells)):
            notebook.run(number)
        if until:
            notebook.wait_for(len(cells) - 1, until)
        _keep_cells(notebook, name)


def _keep_cells(notebook: Notebook, name: str) -> None:
    """Keep the cells from the second one on, with their outputs."""
    notebook.cell(0).scroll_into_view_if_needed()
    keep(notebook.page, name, area(notebook.cell(1), notebook.cells.last))
