"""How the items of a map are spread over tasks, and which task answers for an item; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from funcx_lab.errors import UsageError

#: Up to so many items travel one by one; more are sent as so many tasks.
MOST_TASKS = 512


class Span(NamedTuple):
    """Items ``first`` to ``first + size - 1``."""

    first: int
    size: int


def spread(total: int, chunksize: int | None) -> list[Span]:
    """Return the spans of a map's tasks, in order.

    Parameters
    ----------
    total : int
        How many items there are.
    chunksize : int, optional
        Items in one task; None: one, or as many as it takes to need no more than `MOST_TASKS` tasks.

    Raises
    ------
    UsageError
        If ``chunksize`` is no whole number above 0.
    """
    size = _fitting(total) if chunksize is None else check_chunksize(chunksize)
    return [Span(first, min(size, total - first)) for first in range(0, total, size)]


def spread_again(items: Sequence[int]) -> list[Span]:
    """Return the spans of tasks that compute some items again: each alone unless there are many.

    Parameters
    ----------
    items : sequence of int
        Their numbers, ascending.
    """
    size = _fitting(len(items))
    spans: list[Span] = []
    for item in items:
        last = spans[-1] if spans else None
        if last is not None and item == last.first + last.size and last.size < size:
            spans[-1] = Span(last.first, last.size + 1)
        else:
            spans.append(Span(item, 1))
    return spans


def check_chunksize(chunksize: int) -> int:
    """Return a number of items in one task.

    Raises
    ------
    UsageError
        If it is no whole number above 0.
    """
    if isinstance(chunksize, bool) or not isinstance(chunksize, int) or chunksize < 1:
        raise UsageError(f"chunksize must be at least 1, a whole number, not {chunksize!r}.")
    return chunksize


def _fitting(count: int) -> int:
    return max(1, -(-count // MOST_TASKS))


def answering(records: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return for each task of a map that still counts the items it answers for: of several, the latest does.

    Parameters
    ----------
    records : iterable of mapping
        The tasks' records, oldest first; those without ``items`` are passed over.
    """
    latest: dict[int, str] = {}
    for record in records:
        if record.get("items"):
            first, count, _ = record["items"]
            latest.update(dict.fromkeys(range(first, first + count), str(record["task_id"])))
    tasks: dict[str, list[int]] = {}
    for item in sorted(latest):
        tasks.setdefault(latest[item], []).append(item)
    return tasks
