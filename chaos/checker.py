"""What three independent records say about a run. Pure: records in, verdict out.

* the client's: what it began to submit, what was acknowledged, which outcomes it saw;
* the hub service's: which tasks it has and how they ended;
* the executions' own: every run appended a token of its own before it began.

A value holds the token of the run that returned it, so an outcome that was replaced shows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.records import ACKED, INTENT, SEEN, SENT, Execution, HubTask, is_careful


@dataclass(slots=True)
class Verdict:
    """What is wrong, task by task, and how much there was.

    Attributes
    ----------
    lost : list of str
        Acknowledged tasks without an outcome that both the hub service and the client have.
    duplicated : list of str
        Tasks that exist twice, outcomes of tasks that nobody submitted, and second runs of tasks that must
        not have one.
    changed : list of str
        Outcomes that were not the same at every look, or that no run returned.
    failed : list of str
        Outcomes that are no values although the function always returns one.
    forgotten : int
        Submits without acknowledgement that never arrived: the client was killed first.
    unknown : int
        Tasks with ``at_most_once`` of which nobody can say how they ended, as they are allowed to.
    gone, replaced, told : int
        Only where the hub service's disk was hurt: outcomes that the client has and the service does not any
        more, or has from another run; tasks of which the client was told that the service has lost them.
    """

    tasks: int = 0
    executions: int = 0
    acknowledged: int = 0
    forgotten: int = 0
    unknown: int = 0
    gone: int = 0
    replaced: int = 0
    told: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.duplicated or self.changed or self.failed)

    def complaints(self) -> list[str]:
        """Return everything that is wrong, one line each."""
        kinds = ("lost", "duplicated", "changed", "failed")
        return [f"{kind}: {what}" for kind in kinds for what in getattr(self, kind)]


class _Books:
    """The client's entries, by task."""

    def __init__(self, entries: Sequence[Sequence[Any]]) -> None:
        self.intents: set[int] = set()
        self.task_of: dict[int, str] = {}
        self.acked: dict[str, int] = {}
        self.seen: dict[str, list[list[Any]]] = defaultdict(list)
        self.twice: list[int] = []
        for kind, what, _time, *rest in entries:
            if kind == INTENT:
                self.intents.add(what)
            elif kind == SENT:
                if what in self.task_of:
                    self.twice.append(what)
                self.task_of[what] = rest[0]
            elif kind == ACKED:
                self.acked[rest[0]] = what
            elif kind == SEEN:
                self.seen[what].append(rest)
        self.number_of = {task_id: number for number, task_id in self.task_of.items()}


def check(
    entries: Sequence[Sequence[Any]],
    hub: Iterable[HubTask],
    executions: Iterable[Execution],
    *,
    forgets: bool = False,
) -> Verdict:
    """Compare the three records.

    Parameters
    ----------
    entries
        The client's record in order.
    hub
        The tasks of the client's group.
    executions
        Every run that began.
    forgets
        Whether the hub service's disk was hurt, so that it may have lost outcomes which the client has seen.
    """
    books, runs = _Books(entries), {run.token: run for run in executions}
    tasks = {task.task_id: task for task in hub}
    verdict = Verdict(len(tasks), len(runs), len(books.acked))
    if forgets:
        _forgive(verdict, books, tasks)
    _find_lost(verdict, books, tasks)
    _find_duplicated(verdict, books, tasks, runs)
    for task_id in tasks.keys() | books.seen.keys():
        _compare(verdict, task_id, books, tasks.get(task_id), runs)
    return verdict


def _forgive(verdict: Verdict, books: _Books, tasks: dict[str, HubTask]) -> None:
    """Count what a hurt disk may take: outcomes that the client has. What it has not must be there."""
    for task_id, seen in list(books.seen.items()):
        task, kind, value = tasks.get(task_id), seen[0][0], seen[0][1:]
        if task is None and kind != "ok":
            books.acked.pop(task_id, None)
            verdict.unknown += value[0] == "LOST_UNKNOWN"
            verdict.told += value[0] != "LOST_UNKNOWN"
            del books.seen[task_id]
        elif task is None and kind == "ok":
            verdict.gone += 1
            books.acked.pop(task_id, None)
            tasks[task_id] = HubTask(task_id, True, value)
        elif task is not None and kind == "ok" and task.final and list(task.value or ()) != value:
            verdict.replaced += 1
            tasks[task_id] = HubTask(task_id, True, value)


def _find_lost(verdict: Verdict, books: _Books, tasks: dict[str, HubTask]) -> None:
    for task_id, number in books.acked.items():
        if task_id not in tasks:
            verdict.lost.append(f"task {number} ({task_id}) is unknown to the hub service")
    for task_id, task in tasks.items():
        name = f"task {books.number_of.get(task_id, '?')} ({task_id})"
        if not task.final:
            verdict.lost.append(f"{name} never ended")
        elif task_id not in books.seen:
            verdict.lost.append(f"{name} ended, and the client never saw it")
    verdict.forgotten = len(
        [task_id for task_id in books.number_of if task_id not in tasks and task_id not in books.acked]
    )


def _find_duplicated(
    verdict: Verdict, books: _Books, tasks: dict[str, HubTask], runs: dict[str, Execution]
) -> None:
    verdict.duplicated += [f"the client submitted task {number} twice" for number in books.twice]
    # A client that dies between submitting a task and writing down its id cannot know the id.
    nameless = {number for number in books.intents if number not in books.task_of}
    owners = Counter(books.number_of.values())
    for task_id, task in tasks.items():
        if task_id in books.number_of:
            continue
        token = task.value[1] if isinstance(task.value, tuple | list) else None
        number = runs[token].number if token in runs else None
        if number in nameless:
            owners[number] += 1
        elif number is not None or len(nameless) == 0:
            verdict.duplicated.append(f"task {number} has a second id, {task_id}")
    verdict.duplicated += [f"task {number} has {n} ids" for number, n in owners.items() if n > 1]
    begun = Counter(run.number for run in runs.values() if is_careful(run.number))
    verdict.duplicated += [
        f"task {number} began {n} times in spite of at_most_once" for number, n in begun.items() if n > 1
    ]


def _compare(
    verdict: Verdict, task_id: str, books: _Books, task: HubTask | None, runs: dict[str, Execution]
) -> None:
    name = f"task {books.number_of.get(task_id, '?')} ({task_id})"
    seen = books.seen.get(task_id, [])
    if any(other != seen[0] for other in seen[1:]):
        verdict.changed.append(f"{name} was seen as {seen}")
    if task is None:
        if seen and (seen[0][0] == "ok" or task_id in books.acked):
            verdict.lost.append(f"{name} was seen as {seen[0]} and is unknown to the hub service")
        elif seen:
            verdict.failed.append(f"{name} was refused: {seen[0]}")
    elif task.final:
        _compare_final(verdict, name, books.number_of.get(task_id), seen, task, runs)


def _compare_final(
    verdict: Verdict,
    name: str,
    number: int | None,
    seen: list[list[Any]],
    task: HubTask,
    runs: dict[str, Execution],
) -> None:
    if task.value is None:
        if task.code == "LOST_UNKNOWN" and (number is None or is_careful(number)):
            verdict.unknown += 1
        else:
            verdict.failed.append(f"{name}: {task.code} {task.message}")
        if seen and seen[0][1] != task.code:
            verdict.changed.append(f"{name} was seen as {seen[0]} and is kept as {task.code}")
    elif seen and seen[0][:1] == ["ok"] and seen[0][1:] != list(task.value):
        verdict.changed.append(f"{name} was seen as {seen[0]} and is kept as {list(task.value)}")
    elif seen and seen[0][:1] != ["ok"]:
        verdict.changed.append(f"{name} was seen as {seen[0]} and is kept as a value")
    else:
        _check_value(verdict, name, number, list(task.value), runs)


def _check_value(
    verdict: Verdict, name: str, number: int | None, value: list[Any], runs: dict[str, Execution]
) -> None:
    run = runs.get(value[1])
    if run is None or run.ended is None:
        verdict.changed.append(f"{name} has the value of a run that never ended: {value}")
    elif value[0] != run.number**2 or (number is not None and run.number != number):
        verdict.changed.append(f"{name} has the value of task {run.number}: {value}")
