"""Pictures of the side panel, the task table and the view of a task."""

from __future__ import annotations

from playwright.sync_api import expect

from scripts.screenshots.studio import SPECTRUM, Studio, keep
from tests.browser.lab import Notebook
from tests.browser.panel import Panel


def side_panel(studio: Studio, name: str) -> None:
    """Take the panel beside a notebook, with tasks that run and wait."""
    with studio.busy_page() as notebook:
        panel = Panel(notebook.page)
        expect(panel.row("running", "fit spectrum")).to_contain_text("running")
        expect(panel.row("recent", "count_peaks").first).to_be_visible()
        expect(panel.row("functions", "simulate").first).to_be_visible()
        notebook.focus(len(SPECTRUM))  # not a row of the panel
        notebook.page.locator(".jp-WindowedPanel-outer").evaluate("node => node.scrollBy(0, -190)")
        keep(notebook.page, name)


def task_view(studio: Studio, name: str) -> None:
    """Take the view of a task that writes."""
    with studio.busy_page() as notebook:
        view = Panel(notebook.page).open_task("running", "fit spectrum")
        expect(view.get_by_role("region", name="Log")).to_contain_text("epoch")
        _close_panel(notebook)
        keep(notebook.page, name)


def task_table(studio: Studio, name: str) -> None:
    """Take the table, with some tasks selected."""
    with studio.busy_page() as notebook:
        table = Panel(notebook.page).open_table()
        _close_panel(notebook)
        expect(table.get_by_role("row", name="simulate").first).to_be_visible()
        rows = table.get_by_role("row", name="chain")
        rows.nth(0).click()
        rows.nth(2).click(modifiers=["Shift"])
        keep(notebook.page, name)


def _close_panel(notebook: Notebook) -> None:
    notebook.page.locator('.jp-SideBar [data-id="fxl-sidebar"]').click()
