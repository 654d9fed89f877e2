"""What a map waits for, as its hub service tells."""

from __future__ import annotations

import time
from collections.abc import Sequence

from funcx_lab.connection import Connection
from funcx_lab.errors import FuncxLabError
from funcx_lab.maps.items import MapTask
from funcx_lab.protocol.states import FINAL_STATES, TaskState

#: The hub service is asked at most this often (seconds).
ASK_EVERY_S = 1.0


class MapWatch:
    """Knows which tasks of a map run, and if none does, why.

    Parameters
    ----------
    connection : Connection
        To the hub service.
    group_id : str
        The group of the map's tasks.

    Attributes
    ----------
    running : frozenset of str
        The ids of the tasks that ran when the service was asked last.
    note : str
        What the first open task waits for, if none ran.
    """

    def __init__(self, connection: Connection, group_id: str) -> None:
        self.running: frozenset[str] = frozenset()
        self.note = ""
        self._connection, self._group_id = connection, group_id
        self._asked = 0.0

    def ask(self, unfinished: Sequence[MapTask]) -> None:
        """Ask the service, unless nothing is open or it was asked a moment ago."""
        if not unfinished or time.monotonic() - self._asked < ASK_EVERY_S:
            return
        self._asked = time.monotonic()
        try:
            running = self._connection.group(self._group_id, state=TaskState.RUNNING.value)
            self.running = frozenset(running)
            self.note = "" if running else self._reason(unfinished[0])
        except FuncxLabError as err:  # a view must not fail because the service is away for a moment
            self.note = err.message.partition("\n")[0]

    def _reason(self, task: MapTask) -> str:
        if not task.future.wait_accepted(0):
            return "on its way to the hub service"
        record = self._connection.record(task.future.task_id)
        if record["state"] in FINAL_STATES:  # its outcome is on its way
            return ""
        return str(record.get("reason") or record["state"])
