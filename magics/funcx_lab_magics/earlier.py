"""The tasks and maps that a notebook had before its kernel started: named by its outputs, or of its group."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funcx_lab.errors import TaskNotFound

if TYPE_CHECKING:
    from funcx_lab import FuncXClient

log = logging.getLogger(__name__)

#: So many of a notebook's tasks are looked up, the newest.
LOOKED_UP = 200


def earlier_records(client: FuncXClient, file: Path | None, group: str | None) -> list[dict[str, Any]]:
    """Return the hub service's records of a notebook's tasks, oldest first.

    Parameters
    ----------
    client : FuncXClient
        Who asks.
    file : Path, optional
        The notebook's own file, as it was saved last.
    group : str, optional
        The group of its tasks.

    Raises
    ------
    FuncxLabError
        If the service does not answer.
    """
    records = {} if group is None else _by_id(client.get_tasks(group=group, limit=LOOKED_UP))
    for task_id in [] if file is None else task_ids_in(file)[-LOOKED_UP:]:
        if task_id not in records:
            try:
                records[task_id] = client.connection.record(task_id)
            except TaskNotFound:
                log.debug("The notebook names task %s, which the service does not know", task_id)
    return sorted(records.values(), key=lambda record: float(record["received"]))[-LOOKED_UP:]


def task_ids_in(file: Path) -> list[str]:
    """Return the ids of the tasks that a notebook's outputs name, in order; none if it cannot be read."""
    return _ids_in(file, "task_id")


def map_ids_in(file: Path) -> list[str]:
    """Return the ids of the maps that a notebook's outputs name, in order; none if it cannot be read."""
    return _ids_in(file, "map")


def _ids_in(file: Path, key: str) -> list[str]:
    try:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        return list(dict.fromkeys(_named(cells, key)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        log.info("The notebook %s cannot be read", file.name, exc_info=True)
        return []


def _named(cells: list[dict[str, Any]], key: str) -> Iterator[str]:
    for cell in cells:
        for output in cell.get("outputs") or ():
            named = ((output.get("metadata") or {}).get("funcx") or {}).get(key)
            if isinstance(named, str) and named:
                yield named


def _by_id(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(record["task_id"]): record for record in records}
