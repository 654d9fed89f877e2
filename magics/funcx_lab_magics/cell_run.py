"""Run one ``%%funcx`` cell: prepare it, say what leaves, submit it, wait or hand over its task."""

from __future__ import annotations

import argparse
from typing import Any

from funcx_lab_magics.capture import Cell
from funcx_lab_magics.failures import CellInterrupted, show_as
from funcx_lab_magics.manifest_line import ManifestLine
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.ready_cell import ReadyCell, prepare
from funcx_lab_magics.replay import Replay
from funcx_lab_magics.tasks import Task
from funcx_lab_magics.waiting import wait


def run_cell(notebook: Notebook, options: argparse.Namespace, source: str) -> Any:
    """Run a cell with the line's options, defaults filled in; return what its cell shows as its value.

    Raises
    ------
    IPython.core.error.UsageError, funcx_lab.errors.FuncxLabError
        As `prepare`; nothing was sent.
    Exception
        As `wait`.
    """
    shell = notebook.shell
    cell = _place(shell, source)
    notebook.asked = cell, options
    ready = prepare(cell, options, notebook.namespace(), notebook.imports)
    notebook.last = ready
    line = ManifestLine(shell, ready.manifest, quiet=options.quiet and not options.dry_run)
    line.show("dry run: nothing was sent" if options.dry_run else "")
    if options.dry_run:
        return None
    task = _submit(notebook, ready)
    line.name_task(task)
    if options.task:
        shell.user_ns[options.task] = task
    if options.background:
        task.wait_accepted()
        return task
    return wait(task, Replay(shell, task.view.metadata()), line.show, on_interrupt=options.on_interrupt)


def _submit(notebook: Notebook, ready: ReadyCell) -> Task:
    try:
        client = notebook.client()
        future = ready.submit(client)
    except KeyboardInterrupt:
        message = "Interrupted while the cell was being sent; %funcx tasks says whether it arrived."
        raise show_as(CellInterrupted(message), [message]) from None
    notebook.imports.update(ready.imported)
    return notebook.tasks.add(client, future, ready.options.endpoint, ready.options.name or "")


def _place(shell: Any, source: str) -> Cell:
    """Return the cell with its name and the line its body starts on."""
    history = shell.history_manager.input_hist_raw
    raw = history[-1].rstrip()
    body = source.rstrip()
    if body and raw.endswith(body):
        first_line = raw[: -len(body)].count("\n") + 1
        return Cell(source, first_line, f"Cell In[{len(history) - 1}]")
    return Cell(source, 2, f"Cell In[{shell.execution_count}]")
