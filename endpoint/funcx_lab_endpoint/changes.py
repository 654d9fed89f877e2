"""Which of the agent's entries the spool does not know as they are, and by when it has to. No I/O.

Most tasks are over before their time to be written comes, and never touch the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

#: Patience, in seconds: what the hub service can tell again; what would be done twice; what must not be.
LAZY_S, SOON_S, AT_ONCE_S = 2.0, 0.2, 0.0
_NEVER = float("inf")

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
        #: what `take` has not seen yet, and its patience
        self._new: dict[Key, float] = {}
        #: when each of the others is due
        self._due: dict[Key, float] = {}
        #: what the spool holds, or will once it has written what it was given
        self._stored: dict[Key, Change] = {}
        #: when `take` wants to be called at the latest; always, while it has not seen what is new
        self.deadline = _NEVER
        self._first_due = _NEVER

    def note(self, key: Key, patience_s: float = LAZY_S) -> None:
        """Take note that ``key`` has changed; it is due when its patience is over."""
        if patience_s == LAZY_S and key in self._due:
            return  # it is written as it is then
        if patience_s < self._new.get(key, _NEVER):
            self._new[key] = patience_s
            self.deadline = 0.0

    def note_gone(self, key: Key) -> None:
        """Take note that nothing is held under ``key`` any more."""
        self._new.pop(key, None)
        self._due.pop(key, None)
        if key in self._stored:
            self.note(key)

    def stored(self, key: Key, kind: str, name: str) -> None:
        """Take note of an entry that the spool already has."""
        self._stored[key] = Change(kind, name, None)

    def hurry(self, keys: Iterable[Key]) -> None:
        """Have those of ``keys`` that wait to be written be written soon."""
        for key in keys:
            if key in self._new or key in self._due:
                self.note(key, SOON_S)

    def take(self, now: float) -> list[Change]:
        """Return what is to be written at ``now``, in one transaction."""
        for key, patience in self._new.items():
            due = now + patience
            if key not in self._due or due < self._due[key]:
                self._due[key] = due
                self._first_due = min(self._first_due, due)
        self._new.clear()
        keys = self._take_due(now) if self._first_due <= now else []
        self.deadline = self._first_due
        return [change for key in keys for change in self._write(key)]

    def _take_due(self, now: float) -> list[Key]:
        """Take out what is due and what would follow soon; nothing if the first is not there any more."""
        keys: list[Key] = []
        if min(self._due.values(), default=_NEVER) <= now:
            keys = [key for key, due in self._due.items() if due <= now + SOON_S]
            for key in keys:
                del self._due[key]
        self._first_due = min(self._due.values(), default=_NEVER)
        return keys

    def take_all(self, keys: Iterable[Key]) -> list[Change]:
        """Return everything, for a spool that has nothing."""
        self._new.clear()
        self._stored.clear()
        self._due.clear()
        return [change for key in keys for change in self._write(key)]

    def _write(self, key: Key) -> Iterator[Change]:
        entry = self._encode(key)
        old = self._stored.pop(key, None)
        if old is not None and (entry is None or entry.kind != old.kind):
            yield old
        if entry is not None:
            self._stored[key] = Change(entry.kind, entry.name, None)
            yield entry
