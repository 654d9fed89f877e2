"""Tasks on their way out, split into messages of a bearable size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from funcx_lab.protocol.messages import MESSAGE_TARGET, FunctionBody, TaskItem, Tasks

#: What a task's ids and options cost beside its payload, in bytes.
_OVERHEAD = 256


def pack_tasks(
    session: int, functions: Iterable[FunctionBody], items: Iterable[TaskItem], target: int = MESSAGE_TARGET
) -> Iterator[Tasks]:
    """Yield messages with all functions first, each closed before it would pass ``target`` bytes.

    One function or one task alone may be larger than that; both have limits below the frame's.
    """
    some_functions: list[FunctionBody] = []
    some_items: list[TaskItem] = []
    size = 0
    entries: list[FunctionBody | TaskItem] = [*functions, *items]
    for entry in entries:
        weight = len(entry.body if isinstance(entry, FunctionBody) else entry.payload) + _OVERHEAD
        if size and size + weight > target:
            yield Tasks(session, some_functions, some_items)
            some_functions, some_items, size = [], [], 0
        size += weight
        if isinstance(entry, FunctionBody):
            some_functions.append(entry)
        else:
            some_items.append(entry)
    if size:
        yield Tasks(session, some_functions, some_items)
