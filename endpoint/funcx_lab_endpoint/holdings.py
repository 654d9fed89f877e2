"""What the agent holds for the hub service: accepted tasks, outcomes and losses until acknowledged. No I/O.

Everything is in memory, and what changes is gathered for the spool, from which the next life is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from funcx_lab.protocol.messages import Outcome, TaskItem
from funcx_lab_endpoint.changes import LAZY_S, SOON_S, Change, Changes, Key
from funcx_lab_endpoint.function_book import FunctionBook
from funcx_lab_endpoint.holding import Holding, Loss
from funcx_lab_endpoint.spool_records import (
    FUNCTION,
    LOSS,
    RESULT,
    TASK,
    entry_of_function,
    entry_of_holding,
    entry_of_loss,
    read_function,
    read_loss,
    read_result,
    read_task,
)


class Holdings:
    """All of the agent's holdings.

    Parameters
    ----------
    spool : str
        Identity of this set of holdings; at-most-once tasks are never run again from another one.
    """

    def __init__(self, spool: str) -> None:
        self.spool = spool
        self.functions = FunctionBook()
        self.losses: dict[tuple[str, str], Loss] = {}
        self._tasks: dict[str, Holding] = {}
        self._changes = Changes(self._encode)
        self._patience_s = SOON_S
        #: functions that the spool has
        self._stored_functions: set[str] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Holding]:
        return iter(list(self._tasks.values()))

    def get(self, task_id: str) -> Holding | None:
        """Return the holding of a task, or None."""
        return self._tasks.get(task_id)

    def add(self, item: TaskItem) -> Holding:
        """Hold a new task."""
        holding = self._tasks[item.task_id] = Holding(item, item.tag)
        self._changes.note(item.task_id)
        return holding

    def rebind(self, holding: Holding, tag: int) -> None:
        """Put a held task under a newer lease."""
        holding.tag = tag
        holding.orphan_since = None
        self._changes.note(holding.task_id)

    def finish(self, holding: Holding, outcome: Outcome) -> None:
        """Keep the outcome of a task until `drop`."""
        holding.outcome = outcome
        self._changes.note(holding.task_id, self._patience_s)

    def lose(self, holding: Holding, execution: str, evidence: str) -> Loss:
        """Replace a task by the report that its execution was lost."""
        loss = Loss(holding.task_id, holding.tag, execution, evidence)
        self.losses[loss.task_id, execution] = loss
        self._tasks.pop(holding.task_id, None)
        # One transaction: a task that is still there would run again uncounted.
        self._changes.note(holding.task_id, SOON_S)
        self._changes.note((loss.task_id, execution), SOON_S)
        return loss

    def forget_loss(self, task_id: str, execution: str) -> bool:
        """Forget a loss; False if there is none."""
        if self.losses.pop((task_id, execution), None) is None:
            return False
        self._changes.note_gone((task_id, execution))
        return True

    def drop(self, holding: Holding) -> None:
        """Forget a task."""
        if self._tasks.pop(holding.task_id, None) is not None:
            self._changes.note_gone(holding.task_id)

    def inventory(self) -> list[tuple[str, int]]:
        """Return every task held with its lease."""
        return [(holding.task_id, holding.tag) for holding in self._tasks.values()]

    def result_files(self) -> list[Path]:
        """Return the files that hold results."""
        return [holding.upload.path for holding in self._tasks.values() if holding.upload is not None]

    # --- the spool ----------------------------------------------------------------------------------

    def changed(self, holding: Holding, patience_s: float = LAZY_S) -> None:
        """Take note that a task is not as it was; it is to be written in so many seconds."""
        self._changes.note(holding.task_id, patience_s)

    def expect_takers(self) -> None:
        """Give outcomes time: the hub service is about to take them."""
        self._patience_s = LAZY_S

    def hurry(self) -> None:
        """Have outcomes written soon: nobody takes them now."""
        self._patience_s = SOON_S
        self._changes.hurry(task.task_id for task in self._tasks.values() if task.outcome is not None)

    @property
    def deadline(self) -> float:
        """When `changes` has something to return, if nothing else happens (monotonic seconds)."""
        return self._changes.deadline

    def changes(self, now: float) -> list[Change]:
        """Return what is to be written at ``now``, in one transaction."""
        changes = self._changes.take(now)
        return self._with_functions(changes) if changes else changes

    def everything(self) -> list[Change]:
        """Return all there is, for a spool that has nothing."""
        self._stored_functions.clear()
        return self._with_functions(self._changes.take_all([*self._tasks, *self.losses]))

    def _with_functions(self, changes: list[Change]) -> list[Change]:
        """Put the functions that the tasks need and the spool lacks before them."""
        wanted = {
            self._tasks[change.name].item.function_id
            for change in changes
            if change.kind == TASK and change.data is not None
        } - self._stored_functions
        self._stored_functions |= wanted
        functions = [self.functions.get(function_id) for function_id in wanted]
        return [entry_of_function(function) for function in functions if function is not None] + changes

    def _encode(self, key: Key) -> Change | None:
        if isinstance(key, tuple):
            loss = self.losses.get(key)
            return entry_of_loss(loss) if loss is not None else None
        holding = self._tasks.get(key)
        return entry_of_holding(holding) if holding is not None else None

    def _restore(self, change: Change) -> None:
        data = change.data or b""
        if change.kind == LOSS:
            loss = read_loss(data)
            self.losses[loss.task_id, loss.execution] = loss
            self._changes.stored((loss.task_id, loss.execution), LOSS, change.name)
        elif change.kind == FUNCTION:
            self.functions.take(read_function(data))
            self._stored_functions.add(change.name)
        elif change.kind in (TASK, RESULT):
            holding = read_task(data) if change.kind == TASK else read_result(data)
            self._tasks[holding.task_id] = holding
            self._changes.stored(holding.task_id, change.kind, change.name)


def revive(spool: str, entries: Iterable[Change]) -> Holdings:
    """Make the holdings of a new life from what a spool holds.

    Parameters
    ----------
    spool : str
        The spool's identity.
    entries : iterable of Change
        In any order, each with its data.

    Raises
    ------
    msgspec.DecodeError
        If an entry is not what it should be.
    """
    holdings = Holdings(spool)
    for entry in entries:
        holdings._restore(entry)
    return holdings
