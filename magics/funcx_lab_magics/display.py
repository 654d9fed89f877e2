"""How a task and lists of tasks and endpoints look: one line of text, and HTML without scripts or ids.

The HTML takes the front end's colours and still reads well with all style stripped. State is shown
by an icon's shape, a word and a colour.
"""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from funcx_lab.protocol.messages import Event
from funcx_lab.protocol.states import FINAL_STATES, TaskState

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
#: A card keeps so many of the last lines a task wrote.
TAIL_LINES = 12
#: Tables longer than this are folded.
FOLD_ROWS = 50
#: Cells up to this length, that of an id, are not broken into lines.
WHOLE_LENGTH = 36

_STYLE = (
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


@dataclass
class TaskView:
    """What is known of a task, kept up to date by its events.

    Attributes
    ----------
    task_id, endpoint, label : str
        Which task.
    state, reason : str
        Where it is, and why.
    created, started, ended : float
        Unix seconds; 0 if not yet.
    tail : list of str
        The last lines it wrote.
    error : str
        The last line of its error.
    """

    task_id: str
    endpoint: str
    label: str = ""
    state: str = "received"
    reason: str = ""
    created: float = field(default_factory=time.time)
    started: float = 0.0
    ended: float = 0.0
    tail: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the task has ended."""
        return self.state in FINAL_STATES

    @property
    def word(self) -> str:
        """The state in words."""
        return LOOKS[self.state][1] if self.state in LOOKS else self.state

    def apply(self, event: Event) -> None:
        """Take in one event of the task's log."""
        if event.kind == "state" and isinstance(event.data, dict):
            self.move(
                str(event.data.get("state", self.state)), event.time, str(event.data.get("reason") or "")
            )
        elif event.kind in ("stdout", "stderr"):
            self._write(str(event.data))

    def move(self, state: str, when: float, reason: str = "") -> None:
        """Enter a state; an ended task stays as it is."""
        if self.is_final:
            return
        self.state, self.reason = state, reason
        if state == TaskState.RUNNING and not self.started:
            self.started = when
        if state in FINAL_STATES:
            self.ended = when

    def _write(self, text: str) -> None:
        """Append to the tail; a carriage return starts the line again, as a terminal does."""
        lines = self.tail or [""]
        for index, part in enumerate(text.split("\n")):
            if index:
                lines.append("")
            pieces = (lines[-1] + part).split("\r")
            shown = next((piece for piece in reversed(pieces) if piece), "")
            lines[-1] = shown + "\r" * (pieces[-1] == "" and len(pieces) > 1)
        self.tail = lines[-TAIL_LINES - 1 :]

    def update(self, record: Mapping[str, Any]) -> None:
        """Take in the service's record of the task."""
        self.label = str(record.get("label") or self.label)
        self.endpoint = str(record.get("endpoint_name") or self.endpoint)
        self.created = float(record.get("received") or self.created)
        self.started = float(record.get("started") or self.started)
        self.ended = float(record.get("ended") or self.ended)
        self.state, self.reason = str(record.get("state") or self.state), str(record.get("reason") or "")
        if error := record.get("error"):
            kind = error.get("type") or error.get("code")
            self.error = f"{kind}: {error.get('message', '')}"

    def elapsed(self, now: float | None = None) -> str:
        """Return how long it ran, or has waited so far."""
        end = self.ended or (time.time() if now is None else now)
        return clock(end - (self.started or self.created))

    def line(self, now: float | None = None) -> str:
        """Return the one line that ``repr`` gives."""
        label = f" {self.label!r}" if self.label else ""
        where = f"{self.state} on {self.endpoint} {self.elapsed(now)}"
        return f"<Task {short(self.task_id)} {where}{label}>"

    def card(self, now: float | None = None) -> str:
        """Return the task as an HTML card."""
        icon, _, colour = LOOKS.get(self.state, ("?", "", "--jp-ui-font-color1"))
        label = f" <em>{html.escape(self.label)}</em>" if self.label else ""
        head = (
            f'<span style="color:var({colour},inherit)">{icon} '
            f"<strong>{html.escape(self.word)}</strong></span>"
            f" on {html.escape(self.endpoint)} · {self.elapsed(now)}{label}"
            f" · <code>{html.escape(self.task_id)}</code>"
        )
        parts = [f"<div>{head}</div>"]
        # That a cancelled task was cancelled is said already; an error may be the reason.
        is_told = self.state == TaskState.CANCELLED or self.reason in self.error
        if not is_told:
            parts.append(f'<div class="fx-dim">{html.escape(self.reason)}</div>')
        tail = "\n".join(line.rstrip("\r") for line in self.tail[-TAIL_LINES:]).strip("\n")
        if tail:
            parts.append(f"<pre>{html.escape(tail)}</pre>")
        if self.error and self.state != TaskState.CANCELLED:
            parts.append(f"<div><strong>{html.escape(self.error)}</strong></div>")
        return f'<div class="fx-repr">{_STYLE}{"".join(parts)}</div>'

    def metadata(self) -> dict[str, Any]:
        """Return what an output's metadata says about the task."""
        return {"funcx": {"task_id": self.task_id, "endpoint": self.endpoint, "label": self.label}}

    def bundle(self) -> dict[str, str]:
        """Return the task as text and HTML."""
        return {"text/plain": self.line(), "text/html": self.card()}


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
            return f'<div class="fx-repr">{html.escape(self.caption)}: none</div>'
        head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in self.columns)
        body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in self.rows)
        table = (
            f"<table><caption>{html.escape(self.caption)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )
        if len(self.rows) > FOLD_ROWS:
            summary = f"{html.escape(self.caption)} ({len(self.rows)})"
            table = f"<details><summary>{summary}</summary>{table}</details>"
        return f'<div class="fx-repr">{_STYLE}{table}</div>'
