"""What a watching page still has to be told: gathered, bounded, and paced. No I/O, clock passed in.

A page is told states, not steps: whatever changes twice before it is told is told once. More changes than
fit become one wish to fetch again, so that what is kept for a page does not grow with what happens.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

#: So many changed tasks, or purged ones, are named; more become a `reload`.
MOST_TASKS = 500
#: A message of tasks is closed at so many bytes.
MESSAGE_BYTES = 1024 * 1024
#: So much of the service's time a page may take at most with each of the things that it is told of.
SHARE = 0.05
#: A page that fetches again has so many seconds for it before it is told of tasks again.
RELOAD_S = 1.0
#: After a failure, the next attempt waits this long, and twice as long after each further one.
_BACK_OFF_S, _LONGEST_BACK_OFF_S = 1.0, 60.0


class Kind(enum.Enum):
    """What a page is told of."""

    TASKS = "tasks"
    COUNTS = "counts"
    ENDPOINTS = "endpoints"


#: So many seconds lie between two messages of a kind at least.
INTERVALS_S = {Kind.TASKS: 0.25, Kind.COUNTS: 0.5, Kind.ENDPOINTS: 0.5}


@dataclass(slots=True)
class Batch:
    """What is due to be told of tasks."""

    #: tell everything, as at the beginning
    first: bool = False
    #: too much has changed to be named
    reload: bool = False
    #: tasks whose record is to be told
    changed: list[str] = field(default_factory=list)
    #: tasks that are not there any more
    gone: list[str] = field(default_factory=list)
    #: endpoints whose live tasks are to be told
    places: list[str] = field(default_factory=list)


class _Pace:
    """When something may be told again: after an interval, and never for more than its share of the time."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._back_off_s = 0.0
        self.due = float("-inf")

    def told(self, begun: float, took_s: float) -> None:
        self._back_off_s = 0.0
        self.due = begun + max(self._interval_s, took_s / SHARE)

    def failed(self, now: float) -> None:
        self._back_off_s = min(max(_BACK_OFF_S, 2 * self._back_off_s), _LONGEST_BACK_OFF_S)
        self.due = now + self._back_off_s


class Changes:
    """What has changed since the page was told last."""

    def __init__(self) -> None:
        self._paces = {kind: _Pace(INTERVALS_S[kind]) for kind in Kind}
        self._stale = set(Kind)
        self._batch = Batch(first=True)
        # in the order in which they changed
        self._changed: dict[str, None] = {}
        self._gone: dict[str, None] = {}
        self._places: dict[str, None] = {}
        self.paused = False

    # --- what happens -------------------------------------------------------------------------------

    def changed(self, task_ids: Iterable[str]) -> None:
        """Take note that these tasks have changed, or come."""
        self._stale |= set(Kind)
        self._name(self._changed, task_ids)

    def gone(self, task_ids: Iterable[str]) -> None:
        """Take note that these tasks are not there any more."""
        self._stale |= {Kind.TASKS, Kind.COUNTS}
        task_ids = list(task_ids)
        for task_id in task_ids:
            self._changed.pop(task_id, None)
        self._name(self._gone, task_ids)

    def endpoint(self, endpoint_id: str, *, moved: bool) -> None:
        """Take note that an endpoint has changed; ``moved``: and with it how its tasks are."""
        self._stale.add(Kind.ENDPOINTS)
        if moved:
            self._stale |= {Kind.TASKS, Kind.COUNTS}
            self._name(self._places, [endpoint_id])

    def _name(self, table: dict[str, None], names: Iterable[str]) -> None:
        if self._batch.first or self._batch.reload:
            return  # all is told anyway
        for name in names:
            table.pop(name, None)
            table[name] = None
        if len(table) > MOST_TASKS:
            self.reload()

    def reload(self) -> None:
        """Let the page fetch again instead of being told."""
        self._stale.add(Kind.TASKS)
        if not self._batch.first:
            self._batch = Batch(reload=True)
        for table in (self._changed, self._gone, self._places):
            table.clear()

    # --- what is due --------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when something is to be told, monotonic seconds; None for never as it stands."""
        if self.paused or not self._stale:
            return None
        return min(self._paces[kind].due for kind in self._stale)

    def take(self, now: float) -> set[Kind]:
        """Return what is to be told now, which then counts as told."""
        if self.paused:
            return set()
        kinds = {kind for kind in self._stale if self._paces[kind].due <= now}
        self._stale -= kinds
        return kinds

    def batch(self) -> Batch:
        """Return what is to be told of tasks, which then counts as told."""
        batch, self._batch = self._batch, Batch()
        batch.changed, batch.gone = list(self._changed), list(self._gone)
        batch.places = list(self._places)
        for table in (self._changed, self._gone, self._places):
            table.clear()
        return batch

    def told(self, kind: Kind, begun: float, took_s: float) -> None:
        """Take note that it was told, from ``begun`` on, in ``took_s`` seconds of the service's time."""
        self._paces[kind].told(begun, took_s)

    def failed(self, kind: Kind, batch: Batch | None, now: float) -> None:
        """Take note that it could not be told: it is tried again, later after each failure."""
        self._paces[kind].failed(now)
        self._stale.add(kind)
        if batch is not None:
            self._batch = Batch(first=batch.first)
            self.reload()


def in_messages(
    entries: Sequence[bytes], most: int = MOST_TASKS, size: int = MESSAGE_BYTES
) -> Iterable[Sequence[bytes]]:
    """Yield the entries in pieces of at most ``most`` entries and ``size`` bytes (one entry at least)."""
    first = total = 0
    for index, entry in enumerate(entries):
        if index > first and (index - first >= most or total + len(entry) > size):
            yield entries[first:index]
            first, total = index, 0
        total += len(entry)
    if entries:
        yield entries[first:]
