"""What tests do with our side panel, task table and task views, and how they look at them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

_AXE = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
#: Pixels of a tile, and how bright it may be in a dark theme if all of it is.
_TILE, _BRIGHT = 10, 170


class Panel:
    """The side panel of one page, open.

    Parameters
    ----------
    page : playwright page
        It shows a JupyterLab.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.node = page.locator(".fxl-SidePanel")
        if not self.node.is_visible():
            page.locator('.jp-SideBar [data-id="fxl-sidebar"]').click()
        expect(self.node).to_be_visible()

    def section(self, name: str) -> Locator:
        """Return a section: ``endpoints``, ``running``, ``recent`` or ``functions``."""
        return self.node.locator(f"#fxl-section-{name}")

    def row(self, section: str, text: str) -> Locator:
        """Return the row of a section that has a text in it."""
        return self.section(section).locator(".fxl-Row", has_text=text)

    def open_task(self, section: str, text: str) -> Locator:
        """Click a task's row and return the task view."""
        self.row(section, text).locator(".fxl-Row-main").click()
        return self.task_view()

    def task_view(self) -> Locator:
        """Return the task view that is on the screen."""
        view = self.page.locator(".fxl-TaskView:not(.lm-mod-hidden .fxl-TaskView)")
        expect(view.locator("h2")).to_be_visible()
        return view

    def open_table(self) -> Locator:
        """Show the task table and return it."""
        self.node.get_by_role("button", name="Open the task table").click()
        table = self.page.locator(".fxl-TaskTableView")
        expect(table).to_be_visible()
        return table

    def accept(self) -> None:
        """Press the button of a dialog that does what it asks."""
        self.page.locator(".jp-Dialog .jp-mod-warn, .jp-Dialog .jp-mod-accept").last.click()


def violations(page: Page, selector: str) -> list[str]:
    """Return what axe-core finds below a selector that is serious or critical, one line for each rule."""
    assert _AXE.exists(), "run `jlpm install` in labextension/"
    if not page.evaluate("() => 'axe' in window"):
        page.add_script_tag(path=_AXE)
    found: dict[str, Any] = page.evaluate(
        "selector => axe.run(selector, {resultTypes: ['violations']})", selector
    )
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def bright_tiles(widget: Locator) -> list[tuple[int, int]]:
    """Return where a widget has tiles that are bright all over, as (row, column) in pixels."""
    image = Image.open(io.BytesIO(widget.screenshot())).convert("L")
    pixels = np.asarray(image)
    rows, columns = (length // _TILE for length in pixels.shape)
    tiles = pixels[: rows * _TILE, : columns * _TILE].reshape(rows, _TILE, columns, _TILE)
    return [
        (int(row) * _TILE, int(column) * _TILE) for row, column in np.argwhere(tiles.min((1, 3)) > _BRIGHT)
    ]
