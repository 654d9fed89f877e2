"""How objects look in a notebook or terminal: states, times, tables, HTML without scripts or ids.

The HTML takes the front end's colours, light or dark, and still reads well with all style stripped.
State is shown by an icon's shape, a word and a colour.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

#: State to icon, word and colour.
LOOKS: dict[str, tuple[str, str, str]] = {
    "received": ("○", "received", "--jp-info-color1"),
    "waiting-for-ep": ("◌", "waiting for the endpoint", "--jp-warn-color1"),
    "waiting-for-nodes": ("◔", "waiting for nodes", "--jp-info-color1"),
    "waiting-for-launch": ("◑", "waiting for a worker", "--jp-info-color1"),
    "running": ("▶", "running", "--jp-brand-color1"),
    "success": ("✔", "success", "--jp-success-color1"),
    "failed": ("✖", "failed", "--jp-error-color1"),
    "cancelled": ("■", "cancelled", "--jp-ui-font-color2"),
    "expired": ("⧗", "expired", "--jp-ui-font-color2"),
}
#: A task for JupyterLab's own renderer. Other front ends may show an error for a type they do not know.
TASK_MIME = "application/vnd.funcx.task.v1+json"
#: Tables longer than this are folded.
FOLD_ROWS = 50
#: Cells up to this length, that of an id, are not broken into lines.
WHOLE_LENGTH = 36

STYLE = (
    "<style>"
    ".fx-repr{color:var(--jp-ui-font-color1,var(--vscode-foreground,inherit));background:transparent}"
    ".fx-repr pre{margin:.3em 0;max-height:20em;overflow:auto;background:transparent;color:inherit}"
    ".fx-repr .fx-dim{opacity:.7}"
    # The class twice: JupyterLab's own rule for tables, which aligns them right, is as specific as that.
    ".fx-repr.fx-repr td,.fx-repr.fx-repr th,.fx-repr caption{text-align:left;padding:.1em .8em .1em 0}"
    ".fx-repr .fx-whole{white-space:nowrap}"
    "</style>"
)


def short(task_id: str) -> str:
    """Return the end of an id, which people and ``%funcx`` take for it (the beginning tells the time)."""
    return f"…{task_id[-8:]}"


def clock(seconds: float) -> str:
    """Return a duration as ``0:12``, ``3:05`` or ``2:00:00``."""
    whole = max(0, int(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def when(seconds: float | None) -> str:
    """Return Unix seconds as local date and time; ``""`` for none."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""


def format_bytes(size: int) -> str:
    """Return a size for people, in decimal units: ``812 B``, ``3.2 MB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def block(inner: str) -> str:
    """Return HTML as the whole view of one object, with the style that all of them share."""
    return f'<div class="fx-repr">{STYLE}{inner}</div>'


def state_html(state: str) -> str:
    """Return a task's state as an icon in its colour, and as a word.

    The word has the text's own colour: some of a theme's state colours are too pale to be read.
    """
    icon, word, colour = LOOKS.get(state, ("?", state, "--jp-ui-font-color1"))
    mark = f'<span aria-hidden="true" style="color:var({colour},inherit)">{icon}</span>'
    return f"{mark} <strong>{html.escape(word)}</strong>"


def is_jupyterlab() -> bool:
    """Whether the front end is likely a JupyterLab, by what its server tells kernels."""
    served = any(name == "JPY_SESSION_NAME" or name.startswith("JUPYTERHUB_") for name in os.environ)
    return served and not any(name.startswith("VSCODE_") for name in os.environ)


def task_bundle(text: str, markup: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task as text, HTML and, for a JupyterLab, as facts for its renderer."""
    bundle: dict[str, Any] = {"text/plain": text, "text/html": markup}
    return {**bundle, TASK_MIME: dict(facts)} if is_jupyterlab() else bundle


def _cell(text: str) -> str:
    whole = ' class="fx-whole"' if len(text) <= WHOLE_LENGTH else ""
    return f"<td{whole}>{html.escape(text)}</td>"


class Table:
    """Rows under headings, as text and as an HTML table.

    Parameters
    ----------
    caption : str
        What the rows are.
    columns : sequence of str
        The headings.
    rows : iterable of sequences
        The cells, shown as text.
    """

    def __init__(self, caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        self.caption = caption
        self.columns = list(columns)
        self.rows = [["" if cell is None else str(cell) for cell in row] for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        if not self.rows:
            return f"{self.caption}: none"
        table = [self.columns, *self.rows]
        widths = [max(len(row[index]) for row in table) for index in range(len(self.columns))]
        padded = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table
        )
        return "\n".join(line.rstrip() for line in padded)

    def _repr_html_(self) -> str:
        if not self.rows:
            return block(f"{html.escape(self.caption)}: none")
        head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in self.columns)
        body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in self.rows)
        table = (
            f"<table><caption>{html.escape(self.caption)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )
        if len(self.rows) > FOLD_ROWS:
            summary = f"{html.escape(self.caption)} ({len(self.rows)})"
            table = f"<details><summary>{summary}</summary>{table}</details>"
        return block(table)
