"""The sessions that were asked for, with the vitals of each and the engine that has it. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from funcx_lab.protocol.environment import Environment
from funcx_lab_endpoint.engine.vitals import Vitals
from funcx_lab_endpoint.worker import messages as m

#: Seconds that a worker may take to end its session for the engine too.
LEAVING_S = 15.0


class Roster:
    """Who was asked for, who is up, who is leaving."""

    def __init__(self) -> None:
        self._entries: dict[str, Vitals] = {}
        #: nodes of sessions that are over here but not yet for the engine, and since when
        self._leaving: dict[str, tuple[str, float]] = {}
        #: nodes of workers on this machine that their session left idle, by pid
        self.idle_workers: dict[int, str] = {}
        #: engines that failed and still have sessions
        self._failed: set[str] = set()
        #: the session that tells its environment, and what the last such one has told
        self._surveyor = ""
        self.environment: Environment | None = None

    def __contains__(self, sid: object) -> bool:
        return sid in self._entries

    def __iter__(self) -> Iterator[tuple[str, Vitals]]:
        return iter(list(self._entries.items()))

    def __getitem__(self, sid: str) -> Vitals:
        return self._entries[sid]

    def get(self, sid: str) -> Vitals | None:
        """Return a session's vitals, None if it is over."""
        return self._entries.get(sid)

    @property
    def wants_survey(self) -> bool:
        """Whether the next session shall tell its environment: one at a time does."""
        return self._surveyor not in self._entries

    def ask(self, sid: str, mark: str, now: float) -> None:
        """Take note of a session that an engine was asked for."""
        if self.wants_survey:
            self._surveyor = sid
        self._entries[sid] = Vitals(mark, now)

    def hear(self, items: Sequence[m.UpItem]) -> None:
        """Take note of an environment among what a session says."""
        for item in items:
            if isinstance(item, m.Surveyed):
                self.environment = item.environment

    def end(self, sid: str, how: str) -> Vitals | None:
        """Take note of what the engine says of a session's end; return its vitals if it is not over here."""
        self._leaving.pop(sid, None)
        entry = self._entries.get(sid)
        if entry is not None:
            entry.ended = how
        return entry

    def drop(self, sid: str, node: str, mark: str, now: float) -> None:
        """Strike out a session that ran on ``node``; ``mark`` is the engine that lives."""
        entry = self._entries.pop(sid, None)
        if entry is not None and entry.is_up and entry.ended is None and entry.mark == mark:
            self._leaving[sid] = (node, now)

    def fail(self, mark: str) -> list[str]:
        """Take note of an engine that failed; return the sessions that will never come up."""
        self._failed.add(mark)
        self._leaving.clear()
        return [sid for sid, entry in self._entries.items() if entry.mark == mark and not entry.is_up]

    def deserted(self) -> set[str]:
        """Return, once, the failed engines that have no session any more."""
        deserted = self._failed - {entry.mark for entry in self._entries.values()}
        self._failed -= deserted
        return deserted

    def serving(self, mark: str) -> int:
        """Return how many sessions an engine has or will have."""
        entries = self._entries.values()
        return sum(e.mark == mark and not e.is_retired and e.ended is None for e in entries)

    def orphans(self, mark: str) -> list[str]:
        """Return the sessions that serve although the engine that lives does not have them."""
        return [sid for sid, entry in self._entries.items() if entry.is_orphan(mark)]

    def up(self, mark: str) -> list[str]:
        """Return the sessions that came up and are not over for their engine."""
        return [sid for sid, e in self._entries.items() if e.mark == mark and e.is_up and e.ended is None]

    def waiting(self, mark: str) -> int:
        """Return how many sessions were asked for and are not up."""
        return sum(e.mark == mark and not e.is_up and e.ended is None for e in self._entries.values())

    def leaving(self, now: float) -> list[str]:
        """Return the nodes of sessions that are over here but not yet for the engine, as may well be."""
        return [node for node, since in self._leaving.values() if now - since < LEAVING_S]
