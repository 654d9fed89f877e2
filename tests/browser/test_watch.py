"""Watching in a browser: the figure of a cell, dashboards below a cell and as panes, both themes."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import FrameLocator, Locator, Page, expect

from funcx_lab import stream
from tests.browser.lab import DARK, JupyterLab, jupyter_lab

pytestmark = pytest.mark.slow

#: Waits until a file is there: the test says when tasks end.
WATCHED = """
import funcx_lab
fxc = funcx_lab.FuncXClient()
def hold(flag, number):
    import pathlib, time
    while not pathlib.Path(flag).exists():
        time.sleep(0.1)
    return number
held = [fxc.submit(hold, FLAG, number, endpoint="local", task_label=f"hold {number}") for number in range(4)]
watch = funcx_lab.watch(held)
"""
#: A dashboard in the main area, not below a cell.
PANE = ".fxl-dashboard[role=region]"
#: Says how many watches go on.
THREADS = (
    "import threading\nprint([each.name for each in threading.enumerate()].count('funcx-watch'), 'watches')"
)
#: Waits until none does: what the page tells arrives although the kernel is busy.
STOPPED = "import time\nwhile watch._thread is not None:\n    time.sleep(0.1)\n" + THREADS


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    with (
        pytest.MonkeyPatch.context() as patch,
        jupyter_lab(tmp_path_factory.mktemp("lab"), patch.setenv) as lab,
    ):
        lab.use_theme(DARK)
        yield lab
        stream.close_streams()


def test_a_figure_follows_its_tasks_on_two_pages_while_the_kernel_is_busy(
    lab: JupyterLab, tmp_path: Path
) -> None:
    flag = tmp_path / "end"
    lab.write("watched", f"FLAG = {str(flag)!r}" + WATCHED, "[each.result() for each in held]", THREADS)
    with lab.open("watched") as notebook:
        output = notebook.run(0)
        figure = output.locator(".fxl-watch-figure")
        expect(figure).to_have_attribute("aria-label", re.compile("[1-4] running"))
        expect(output.locator(".bk-Figure")).to_be_visible()
        assert whitest(figure) < 0.02
        keep(output, "watch-progress")
        notebook.save()
        with lab.open("watched") as second:
            other = second.output(0).locator(".fxl-watch-figure")
            expect(second.output(0).locator(".bk-Figure")).to_be_visible()
            notebook.start(1)
            for each in (figure, other):  # busy or not: time goes on
                expect(each).not_to_have_attribute("aria-label", each.get_attribute("aria-label") or "")
            output.get_by_role("button", name="Task stream").click()
            expect(output.locator(".bk-Figure")).to_be_visible()
            point_at(notebook.page, figure)
            assert whitest(figure) < 0.02
            keep(output, "watch-stream")
            flag.touch()
            for each in (figure, other):
                expect(each).to_have_attribute("aria-label", re.compile("4 success"))
        notebook.wait_for(0, "4/4 ended")
        notebook.wait_for(1, "[0, 1, 2, 3]")
        output.get_by_role("button", name="Table").click()
        expect(figure.get_by_role("row").last).to_have_text(re.compile("local.*4"))
        assert "0 watches" in notebook.run(2).inner_text()


def test_a_deleted_output_stops_its_watch(lab: JupyterLab, tmp_path: Path) -> None:
    source = f"FLAG = {str(tmp_path / 'end')!r}" + WATCHED
    lab.write("deleted", source, THREADS, STOPPED, "watch.cancel()")
    with lab.open("deleted") as notebook:
        notebook.run(0)
        expect(notebook.output(0).locator(".bk-Figure")).to_be_visible()
        assert "1 watches" in notebook.run(1).inner_text()
        notebook.focus(0)
        command(notebook.page, "Clear Cell Output")
        expect(notebook.output(0).locator(".fxl-watch-figure")).to_have_count(0)
        notebook.run(2)
        notebook.wait_for(2, "0 watches")
        notebook.run(3)
        notebook.wait_for(3, "4")


def test_a_dashboard_is_shown_below_a_cell_and_as_panes(lab: JupyterLab) -> None:
    lab.write("dashboards", "%load_ext funcx_lab\n%funcx dashboard tasks --height 300")
    with lab.open("dashboards") as notebook:
        page = notebook.page
        notebook.run(0)
        frame = notebook.output(0).frame_locator("iframe")
        expect(frame.get_by_role("heading", name="Task stream")).to_be_visible()
        expect(frame.locator("html[data-ready=yes]")).to_have_count(1)
        assert whitest(notebook.output(0)) < 0.02

        command(page, "Dashboards")
        panes = page.locator(f"{PANE} iframe")
        expect(page.locator(".lm-DockPanel-tabBar .lm-TabBar-tabLabel", has_text="Queue")).to_be_visible()
        for name in ("Task stream", "Queue", "Throughput", "Failures"):
            expect(pane(page, name).get_by_role("heading", name=name)).to_be_visible()
            expect(pane(page, name).locator("html[data-ready=yes][data-theme=dark]")).to_have_count(1)
        expect(panes.locator("visible=true")).to_have_count(4)
        for element in panes.all():
            assert whitest(element) < 0.03
        keep(page.locator("#jp-main-dock-panel"), "dashboards-dark")

        command(page, "Use Theme: JupyterLab Light", "JupyterLab Light")
        expect(pane(page, "Queue").locator("html[data-theme=light]")).to_have_count(1)


def point_at(page: Page, element: Locator) -> None:
    """Put the mouse onto the middle of an element."""
    box = element.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def pane(page: Page, name: str) -> FrameLocator:
    return page.frame_locator(f'{PANE} iframe[title="Dashboard: {name}"]')


def command(page: Page, words: str, label: str = "") -> None:
    """Run a command of the palette."""
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+C")
    page.locator("#modal-command-palette input").fill(words)
    page.locator("#modal-command-palette .lm-CommandPalette-itemLabel", has_text=label or words).first.click()


def whitest(element: Locator) -> float:
    """Return which part of an element is white, 0 to 1."""
    image = Image.open(io.BytesIO(element.screenshot())).convert("L")
    histogram = image.histogram()
    return sum(histogram[240:]) / sum(histogram)


def keep(element: Locator, name: str) -> None:
    """Keep a picture where TEST_PICTURES says, for people."""
    if folder := os.environ.get("TEST_PICTURES"):
        element.screenshot(path=Path(folder) / f"{name}.png")
