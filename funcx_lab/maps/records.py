"""Records of tasks for people: the many tasks of a map as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from funcx_lab.maps.plan import answering
from funcx_lab.protocol.states import TaskState
from funcx_lab.record_lists import TaskList

#: A map is in the first of these states that one of its tasks is in.
_BEFORE = (
    TaskState.RUNNING,
    TaskState.WAITING_FOR_LAUNCH,
    TaskState.WAITING_FOR_NODES,
    TaskState.WAITING_FOR_EP,
    TaskState.RECEIVED,
    TaskState.FAILED,
    TaskState.EXPIRED,
    TaskState.CANCELLED,
)


def fold_maps(records: Sequence[Mapping[str, Any]]) -> TaskList:
    """Return the records, newest first, with those of one map as one under the id of its group."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        key = str(record["task_group_id"]) if record.get("items") else str(record["task_id"])
        groups.setdefault(key, []).append(record)
    return TaskList(_folded(group) if group[0].get("items") else dict(group[0]) for group in groups.values())


def _folded(records: list[Mapping[str, Any]]) -> dict[str, Any]:
    counting = answering(reversed(records))
    counted = [record for record in records if record["task_id"] in counting]
    states = {str(record["state"]) for record in counted}
    started = [record["started"] for record in counted if record.get("started")]
    ended = [record["ended"] for record in counted if record.get("ended")]
    newest = records[0]
    total = newest["items"][2]
    return {
        **newest,
        "task_id": newest["task_group_id"],
        "label": f"{newest.get('label') or newest.get('function_name')} · map of {total:,}",
        "state": next((str(state) for state in _BEFORE if state in states), str(TaskState.SUCCESS)),
        "received": min(record["received"] for record in records),
        "started": min(started, default=None),
        "ended": max(ended, default=None) if len(ended) == len(counted) else None,
    }
