"""The leases that are out to one endpoint in the current session. No I/O, no clock of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from funcx_lab.protocol.messages import TaskItem


class Leases:
    """Tags and sizes by task, and the items that the agent has not accepted yet."""

    def __init__(self) -> None:
        #: tag and payload bytes of each task in flight
        self._out: dict[str, tuple[int, int]] = {}
        #: sent and not accepted, oldest first: when it was sent last, and what
        self._unaccepted: dict[str, tuple[float, TaskItem]] = {}
        #: payload bytes in flight
        self.size = 0

    def __len__(self) -> int:
        return len(self._out)

    def items(self) -> Iterator[tuple[str, int]]:
        """Yield ``(task_id, tag)`` of each task in flight."""
        return ((task_id, tag) for task_id, (tag, _) in self._out.items())

    def tag(self, task_id: str) -> int | None:
        """Return the tag that a task is out under."""
        entry = self._out.get(task_id)
        return None if entry is None else entry[0]

    def fitting(self, sizes: Sequence[int], limit: int) -> int:
        """Return how many tasks of these sizes may join before ``limit`` bytes are out; one always may."""
        total, count = self.size, 0
        for nbytes in sizes:
            if total and total + nbytes > limit:
                break
            total += nbytes
            count += 1
        return count

    def sent(self, items: Iterable[TaskItem], now: float) -> None:
        """Take note of leases that leave now (monotonic seconds)."""
        for item in items:
            self.drop(item.task_id)
            self._out[item.task_id] = (item.tag, len(item.payload))
            self._unaccepted[item.task_id] = (now, item)
            self.size += len(item.payload)

    def kept(self, leases: Iterable[tuple[str, int]]) -> None:
        """Take note of leases that the agent held already."""
        for task_id, tag in leases:
            self._out[task_id] = (tag, 0)

    def accepted(self, task_id: str, tag: int) -> None:
        """Take note that the agent holds the lease; void for another tag."""
        if self.tag(task_id) == tag:
            self._unaccepted.pop(task_id, None)

    def drop(self, task_id: str) -> None:
        """Forget a lease, if there is one."""
        entry = self._out.pop(task_id, None)
        if entry is not None:
            self.size -= entry[1]
            self._unaccepted.pop(task_id, None)

    def overdue(self, now: float, after: float) -> list[TaskItem]:
        """Return what was sent ``after`` seconds ago or more and not accepted; it counts as sent now."""
        late = []
        for task_id, (sent, item) in self._oldest():
            if now - sent < after:
                break
            late.append((task_id, item))
        for task_id, item in late:
            del self._unaccepted[task_id]
            self._unaccepted[task_id] = (now, item)
        return [item for _, item in late]

    def _oldest(self) -> Iterator[tuple[str, tuple[float, TaskItem]]]:
        return iter(self._unaccepted.items())

    def clear(self) -> None:
        """Forget all: the session is over."""
        self._out.clear()
        self._unaccepted.clear()
        self.size = 0
