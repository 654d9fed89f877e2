"""Send a cell that is ready; an interrupt on the way takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from funcx_lab.errors import FuncxLabError, TaskNotFound
from funcx_lab.identifiers import new_id
from funcx_lab_magics.cell.ready import ReadyCell
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.display import fingerprint, short
from funcx_lab_magics.page.failures import interrupted
from funcx_lab_magics.running.manifest_line import ManifestLine
from funcx_lab_magics.tasks import Task

if TYPE_CHECKING:
    from funcx_lab import FuncXClient


def submit(notebook: Notebook, ready: ReadyCell, line: ManifestLine) -> Task:
    """Submit a cell and remember its task.

    Raises
    ------
    CellInterrupted
        If the user interrupted: the cell is taken back.
    CannotSerialize, FuncxLabError
        If it cannot be sent.
    """
    options, task_id = ready.options, new_id()
    client: FuncXClient | None = None
    try:
        client = notebook.client()
        future = ready.submit(client, task_id)
        notebook.imports.update(ready.imported)
        outputs = ready.manifest.outputs
        task = notebook.tasks.add(client, future, options.endpoint, options.name or "", outputs)
        inputs = list(ready.manifest.captured.values)
        task.view.cell = {"source": fingerprint(ready.cell.source), "inputs": inputs}
        return task
    except KeyboardInterrupt:
        _take_back(client, task_id, options.endpoint, line)


def _take_back(client: FuncXClient | None, task_id: str, endpoint: str, line: ManifestLine) -> NoReturn:
    """Find out whether the interrupt came before the task was sent, and cancel it if not."""
    word = task_id[-8:]
    message = f"Interrupted before the cell was sent to {endpoint}."
    try:
        if client is not None:
            line.show("■ cancelling; interrupt once more to stop waiting for the answer")
            if client.connection.cancel(task_id):
                message = f"Cancelled {short(task_id)} on {endpoint} while it was being sent."
            elif _is_known(client, task_id):
                message = f"{short(task_id)} on {endpoint} had already ended; %funcx result {word} gives it."
            line.show("■ cancelled")
    except (KeyboardInterrupt, FuncxLabError):
        message = f"Interrupted while the cell was being sent; %funcx cancel {word} makes sure that it stops."
    interrupted(message)


def _is_known(client: FuncXClient, task_id: str) -> bool:
    try:
        client.connection.record(task_id)
    except TaskNotFound:
        return False
    return True
