"""How a task looks in its notebook: one line of text, and a card."""

from __future__ import annotations

import html
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from funcx_lab.looks import LOOKS, Table, block, clock, format_bytes, short, state_html, task_bundle, when
from funcx_lab.protocol.messages import Event
from funcx_lab.protocol.states import FINAL_STATES, TaskState

__all__ = ["LOOKS", "TAIL_LINES", "Table", "TaskView", "clock", "short", "when"]

#: A card keeps so many of the last lines a task wrote.
TAIL_LINES = 12


def fingerprint(source: str) -> str:
    """Return a cell's size and checksum: they tell an edited cell from the one that ran, and nothing else.

    JupyterLab's side computes the same where no cryptography is at hand (``fingerprint.ts``).
    """
    text = source.strip(" \t\r\n").encode("utf-8", "surrogatepass")
    return f"{len(text)}:{zlib.crc32(text):08x}"


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
    outputs : sequence of str
        The names it is expected to leave.
    size : int
        Bytes of its result; 0 if they are not known.
    hashes : dict
        ``code_hash``, ``input_hash`` and ``environment``, as far as the hub service knows them.
    cell : dict
        What the cell was when it ran, by which a front end sees that it changed: its ``source`` as
        `fingerprint` gives it, and the names of its ``inputs``.
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
    outputs: Sequence[str] = ()
    size: int = 0
    hashes: dict[str, str] = field(default_factory=dict)
    cell: dict[str, Any] = field(default_factory=dict)

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
        found = {name: record.get(name) for name in ("code_hash", "input_hash")}
        self.hashes.update({name: str(value) for name, value in found.items() if value})

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
        label = f" <em>{html.escape(self.label)}</em>" if self.label else ""
        head = (
            f"{state_html(self.state)}"
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
        if balance := self.balance():
            parts.append(f'<div class="fx-dim">{html.escape(balance)}</div>')
        return block("".join(parts))

    def ending(self) -> str:
        """Return the state with the time it took, in words; ``""`` while it goes on."""
        if not self.is_final:
            return ""
        icon = LOOKS[self.state][0]
        return f"{icon} {self.word} · {self.elapsed()}"

    def balance(self) -> str:
        """Return what an ended task took and left, in words; ``""`` while it goes on or if it never ran."""
        if not (self.is_final and self.started and self.ended):
            return ""
        parts = [f"ran {clock(self.ended - self.started)}", f"waited {clock(self.started - self.created)}"]
        if self.state == TaskState.SUCCESS:
            parts += [f"left {', '.join(self.outputs)}"] if self.outputs else []
            parts += [f"{format_bytes(self.size)} to fetch"] if self.size else []
        return " · ".join(parts)

    def identity(self) -> dict[str, Any]:
        """Return what the metadata of each of the task's outputs says: which task."""
        return {"funcx": {"task_id": self.task_id, "endpoint": self.endpoint, "label": self.label}}

    def metadata(self) -> dict[str, Any]:
        """Return what the metadata of a card or manifest line says: which task, of what, and how it went."""
        known = {"started": self.started, "ended": self.ended, "state": self.state if self.is_final else ""}
        known |= self.hashes | self.cell
        return {"funcx": {**self.identity()["funcx"], **{name: v for name, v in known.items() if v}}}

    def bundle(self) -> dict[str, Any]:
        """Return the task as text and HTML, and for a JupyterLab as facts."""
        facts = {**self.metadata()["funcx"], "state": self.state, "reason": self.reason}
        return task_bundle(self.line(), self.card(), facts)
