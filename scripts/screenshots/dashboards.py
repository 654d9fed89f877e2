"""Pictures of the dashboards: their page, and one as a pane of JupyterLab."""

from __future__ import annotations

import re
import subprocess
import sys

from playwright.sync_api import Page, expect

from scripts.screenshots.studio import Studio, keep

WIDTH, HEIGHT = 1200, 830


def index_page(studio: Studio, name: str) -> None:
    """Take the first four dashboards of the service's own page."""
    studio.be_busy()
    done = subprocess.run(
        [sys.executable, "-m", "funcx_lab.cli", "dashboard"], check=True, capture_output=True, text=True
    )
    address = next(word for word in done.stdout.split() if word.startswith("http://"))
    with studio.busy_page(WIDTH, HEIGHT) as notebook:
        page = notebook.page
        page.goto(address)
        theme = "dark" if name.endswith("dark") else "light"
        page.goto(f"{re.sub(r'[?#].*', '', page.url)}?theme={theme}")
        for title in ("Task stream", "Queue", "Scaling", "Latency"):
            frame = page.frame_locator(f"iframe[title='{title}']")
            expect(frame.locator("html[data-ready=yes]")).to_have_count(1)
        page.wait_for_timeout(4000)  # plots are drawn once they are seen, and say nothing when they are
        keep(page, name)


def pane(studio: Studio, name: str) -> None:
    """Take the task stream below a notebook."""
    with studio.busy_page(WIDTH, HEIGHT) as notebook:
        page = notebook.page
        page.locator('.jp-SideBar [data-id="filebrowser"]').click()  # closes it
        _command(page, "Dashboards")
        for title in ("Task stream", "Queue", "Throughput", "Failures"):
            frame = page.frame_locator(f'.fxl-dashboard[role=region] iframe[title="Dashboard: {title}"]')
            expect(frame.locator("html[data-ready=yes]")).to_have_count(1)
        page.wait_for_timeout(4000)
        keep(page, name)


def _command(page: Page, words: str) -> None:
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+C")
    page.locator("#modal-command-palette input").fill(words)
    page.locator("#modal-command-palette .lm-CommandPalette-itemLabel", has_text=words).first.click()
