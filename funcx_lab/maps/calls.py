"""The calls of a map's items as this process has them: packed, sent, and sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from funcx_lab.connection import Connection
from funcx_lab.futures import TaskFuture
from funcx_lab.maps.items import MapTask
from funcx_lab.maps.plan import Span, spread_again
from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.payload import Payload
from funcx_lab.serialize import in_chunks, pack_arguments, pack_function
from funcx_lab.stream.submit_queue import Route


class FunctionCalls:
    """The calls of one function, one for each item.

    Parameters
    ----------
    connection : Connection
        To the hub service.
    endpoint : str
        Where they run.
    calls : sequence of tuple
        The arguments for each item.
    function_ids : callable
        Gives the id of the registered function that computes a task of so many items: for one item it
        takes the item's arguments, for several a list of them.
    options : TaskOptions, optional
        Of each task.
    """

    def __init__(
        self,
        connection: Connection,
        endpoint: str,
        calls: Sequence[tuple[Any, ...]],
        function_ids: Callable[[int], tuple[str, bool]],
        options: TaskOptions | None = None,
    ) -> None:
        self.connection = connection
        self.endpoint = endpoint
        self._calls = calls
        self._function_ids = function_ids
        self._options = options or TaskOptions()

    def submit_all(self, group_id: str, spans: Sequence[Span]) -> list[MapTask]:
        """Send the tasks of a new map; all are packed before the first is sent.

        Raises
        ------
        CannotSerialize
            If an argument cannot be sent; nothing was sent.
        """
        packed = [(span, *self._pack(span)) for span in spans]
        return [
            MapTask(span, self._send(group_id, span, len(self._calls), function_id, payload))
            for span, function_id, payload in packed
        ]

    def again(self, group_id: str, items: Sequence[int], total: int) -> Iterator[MapTask]:
        """Send tasks that compute these items again."""
        for span in spread_again(items):
            yield MapTask(span, self._send(group_id, span, total, *self._pack(span)))

    def _pack(self, span: Span) -> tuple[str, Payload]:
        function_id, takes_list = self._function_ids(span.size)
        calls = self._calls[span.first : span.first + span.size]
        return function_id, pack_arguments((list(calls),) if takes_list else calls[0], {})

    def _send(
        self, group_id: str, span: Span, total: int, function_id: str, payload: Payload
    ) -> TaskFuture[Any]:
        options = msgspec.structs.replace(self._options, items=(*span, total))
        return self.connection.submit(Route(self.endpoint, function_id, group_id, options), payload)


def plain_or_chunks(
    connection: Connection, function: Callable[..., Any]
) -> Callable[[int], tuple[str, bool]]:
    """Return the ``function_ids`` of a Python function: itself for one item, in chunks for several."""
    known: dict[bool, str] = {}

    def function_ids(count: int) -> tuple[str, bool]:
        takes_list = count > 1
        if takes_list not in known:
            known[takes_list] = _register(connection, function, takes_list)
        return known[takes_list], takes_list

    return function_ids


def _register(connection: Connection, function: Callable[..., Any], takes_list: bool) -> str:
    if not takes_list:
        return connection.functions.find(function)
    name = str(getattr(function, "__name__", "") or type(function).__name__)
    return connection.functions.register(pack_function(in_chunks(function)), name)
