"""Which of the agent's entries the spool does not know as they are, and by when it has to. No I/O.

Most tasks are over before their time to be written comes, and never touch the disk.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

#: Patience, in seconds: what the hub service can tell again; what would be done twice; what must not be.
LAZY_S, SOON_S, AT_ONCE_S = 2.0, 0.2, 0.0

#: A task by its id, a loss by its task and execution.
Key: TypeAlias = str | tuple[str, str]


class Change(NamedTuple):
    """One entry of the spool as it is from now on; no data: it is gone."""

    kind: str
    name: str
    data: bytes | None


class Changes:
    """What has changed since it was written.

    Parameters
    ----------
    encode : callable
        Returns kind, name and data of what is held under a key now; None if nothing is.
    """

    def __init__(self, encode: Callable[[Key], Change | None]) -> None:
        self._encode = encode
        self._new: dict[Key, float] = {}
        self._due: dict[float, dict[Key, float]] = {AT_ONCE_S: {}, SOON_S: {}, LAZY_S: {}}
        #: what the spool holds, or will once it has written what it was given
        self._stored: dict[Key, Change] = {}
        #: when `take` wants to be called at the latest; always, while it has not seen what is new
        self.deadline = float("inf")
        self._first_due = float("inf")

    def note(self, key: Key, patience_s: float = LAZY_S) -> None:
        """Take note that ``key`` has changed; it is due when its patience is over."""
        self._new[key] = min(patience_s, self._new.get(key, patience_s))
        self.deadline = 0.0

    def note_gone(self, key: Key) -> None:
        """Take note that nothing is held under ``key`` any more."""
        self._new.pop(key, None)
        for waiting in self._due.values():
            waiting.pop(key, None)
        if key in self._stored:
            self.note(key)

    def stored(self, key: Key, kind: str, name: str) -> None:
        """Take note of an entry that the spool already has."""
        self._stored[key] = Change(kind, name, None)

    def hurry(self, keys: Iterable[Key]) -> None:
        """Have those of ``keys`` that wait to be written be written soon."""
        for key in keys:
            if key in self._new or any(key in waiting for waiting in self._due.values()):
                self.note(key, SOON_S)

    def take(self, now: float) -> list[Change]:
        """Return what is to be written at ``now``, in one transaction."""
        if self._new:
            for key, patience in self._new.items():
                self._due[patience].setdefault(key, now + patience)
                self._first_due = min(self._first_due, now + patience)
            self._new.clear()
        self.deadline = self._first_due
        if self._first_due > now:
            return []
        keys: dict[Key, None] = {}
        if any(due <= now for waiting in self._due.values() for due in _first(waiting)):
            # A write that happens takes along what would follow soon.
            keys = dict.fromkeys([*self._due[AT_ONCE_S], *self._due[SOON_S]])
            keys.update((key, None) for key, due in self._due[LAZY_S].items() if due <= now)
            for key in keys:
                for waiting in self._due.values():
                    waiting.pop(key, None)
        heads = [due for waiting in self._due.values() for due in _first(waiting)]
        self.deadline = self._first_due = min(heads, default=float("inf"))
        return [change for key in keys for change in self._write(key)]

    def take_all(self, keys: Iterable[Key]) -> list[Change]:
        """Return everything, for a spool that has nothing."""
        self._new.clear()
        self._stored.clear()
        for waiting in self._due.values():
            waiting.clear()
        return [change for key in keys for change in self._write(key)]

    def _write(self, key: Key) -> Iterator[Change]:
        entry = self._encode(key)
        old = self._stored.pop(key, None)
        if old is not None and (entry is None or entry.kind != old.kind):
            yield old
        if entry is not None:
            self._stored[key] = Change(entry.kind, entry.name, None)
            yield entry


def _first(waiting: dict[Key, float]) -> Iterable[float]:
    """Yield when the first of ``waiting`` is due, if there is one; they are in the order of their times."""
    return itertools.islice(waiting.values(), 1)
