"""Run one ``%%funcx`` cell: prepare it, say what leaves, submit it, wait or hand over its task."""

from __future__ import annotations

import argparse
from typing import Any

from funcx_lab_magics.arguments import with_defaults
from funcx_lab_magics.cell.capture import Cell
from funcx_lab_magics.cell.ready import ReadyCell, prepare
from funcx_lab_magics.cell.shell import prepare_shell, shown
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.front_end import is_recorded
from funcx_lab_magics.running import preflight
from funcx_lab_magics.running.foreground import Manner, stay
from funcx_lab_magics.running.manifest_line import ManifestLine
from funcx_lab_magics.running.map_run import run_map
from funcx_lab_magics.running.memo import announce, warn
from funcx_lab_magics.running.sending import submit


def run_cell(notebook: Notebook, options: argparse.Namespace, source: str) -> Any:
    """Run a cell with its line's options and the notebook's defaults; return what it shows as its value.

    Raises
    ------
    IPython.core.error.UsageError, funcx_lab.errors.FuncxLabError
        As `prepare` and `preflight.check`; nothing was sent.
    Exception
        As `wait`.
    """
    shell = notebook.shell
    if options.background is None and is_recorded(shell):
        options.background = False
    options.endpoint = options.endpoint or notebook.place()
    options = with_defaults(options, notebook.settings)
    cell = _place(shell, source)
    notebook.asked = cell, options
    if options.map and not options.shell:
        return run_map(notebook, options, cell)
    if options.shell:
        ready: ReadyCell = prepare_shell(cell, options, notebook.namespace())
    else:
        ready = prepare_cell(notebook, options, cell)
    notebook.last = ready = preflight.place(notebook, ready)
    line = ManifestLine(shell, ready.manifest, quiet=options.quiet and not options.dry_run)
    if options.dry_run:
        line.show(f"dry run: nothing was sent · {preflight.verdict(notebook, ready)}")
        return None
    line.show()
    preflight.check(notebook, ready)
    warn(options, cell, ready.manifest.captured.imports, notebook.say)
    task = submit(notebook, ready, line)
    line.name_task(task, has_card=options.background)
    if options.session:
        notebook.sessions.add(options.endpoint, options.session, task, set(ready.assigned))
    if options.task:
        shell.user_ns[options.task] = task
    if options.local:
        _run_here(shell, source)
    if options.background:
        task.wait_accepted()
        if options.memo:
            announce(task, notebook.say)
        return task
    manner = Manner(options.on_interrupt, options.progress_after, options.stream, options.no_raise)
    return shown(stay(shell, task, line, manner, notebook.say if options.memo else None))


def prepare_cell(notebook: Notebook, options: argparse.Namespace, cell: Cell) -> ReadyCell:
    """Prepare a cell with what the notebook knows of earlier ones.

    Raises
    ------
    IPython.core.error.UsageError, funcx_lab.errors.FuncxLabError
        As `prepare`.
    """
    namespace, held = notebook.namespace(), set()
    if options.session:
        sessions = notebook.sessions
        if options.endpoint == preflight.AUTO:
            options.endpoint = sessions.endpoint_of(options.session) or options.endpoint
        held = sessions.names(notebook.client(), options.endpoint, options.session, namespace)
    return prepare(cell, options, namespace, notebook.imports, held)


def _run_here(shell: Any, source: str) -> None:
    """Run a cell as a part of the one that runs; its error is shown, and the outer cell goes on."""
    outer = shell.displayhook.exec_result
    shell.run_cell(source)
    shell.displayhook.exec_result = outer


def _place(shell: Any, source: str) -> Cell:
    """Return the cell with its name and the line its body starts on."""
    history = shell.history_manager.input_hist_raw
    raw = history[-1].rstrip()
    body = source.rstrip()
    if body and raw.endswith(body):
        first_line = raw[: -len(body)].count("\n") + 1
        return Cell(source, first_line, f"Cell In[{len(history) - 1}]")
    return Cell(source, 2, f"Cell In[{shell.execution_count}]")
