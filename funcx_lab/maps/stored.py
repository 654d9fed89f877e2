"""The calls of a map's items as the hub service keeps them: for a map whose kernel is gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from funcx_lab.connection import Connection
from funcx_lab.maps.items import MapTask
from funcx_lab.maps.plan import spread_again
from funcx_lab.objects import download
from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.payload import Buffer, Payload
from funcx_lab.protocol.stream import TaskCall
from funcx_lab.serialize import pack_arguments, unpack_arguments
from funcx_lab.stream.submit_queue import Route


class StoredCalls:
    """The calls of a map, one for each item, asked for when they are needed.

    Parameters
    ----------
    connection : Connection
        To the hub service.
    records : mapping
        Each item's number to the record of the task that answers for it.
    """

    def __init__(self, connection: Connection, records: Mapping[int, Mapping[str, Any]]) -> None:
        self.connection = connection
        self._records = dict(records)

    def again(self, group_id: str, items: Sequence[int], total: int) -> Iterator[MapTask]:
        """Send tasks that compute these items again.

        Raises
        ------
        TaskNotFound, TaskGone
            If the hub service does not have a call any more.
        """
        by_task: dict[str, list[int]] = {}
        for item in items:
            by_task.setdefault(str(self._records[item]["task_id"]), []).append(item)
        for task_id, own in by_task.items():
            first, count, _ = self._records[own[0]]["items"]
            call = self.connection.call(task_id)
            arguments = self._arguments(call)
            where = call.endpoint_name or call.endpoint_id
            for span in spread_again(own):
                options = msgspec.structs.replace(call.options or TaskOptions(), items=(*span, total))
                part = Payload([arguments]) if count == 1 else _part(arguments, span.first - first, span.size)
                route = Route(where, call.function.function_id, group_id, options)
                yield MapTask(span, self.connection.submit(route, part))

    def _arguments(self, call: TaskCall) -> Buffer:
        if call.object is None:
            return call.payload
        return download(self.connection.transport, call.object)


def _part(arguments: Buffer, first: int, count: int) -> Payload:
    """Return the arguments of some calls of a task that makes several."""
    (calls,), _ = unpack_arguments(arguments)
    return pack_arguments((list(calls[first : first + count]),), {})
