"""The watch over sessions that were asked for and do not come up although there are workers. Sans-IO.

Parsl can hang without a word: an idle worker that dies while it holds the lock of its node's queue
leaves all workers of that node waiting for ever, and the node goes on saying that it is well. So it
is compared with what is seen here: a node that has more sessions than have come up from it is given
time, then its block is ended; if nothing comes up at all, the whole engine is started anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

#: Seconds that a node may sit on a session, or all nodes on all sessions, until that is a fault ...
STUCK_S = 60.0
#: ... for a node that is known to have lost an idle worker, which may have held the lock ...
SHORT_STUCK_S = 10.0
#: ... while calls run there, which would be lost with it: then only if half of its workers are missing ...
BUSY_STUCK_S = 600.0
#: ... and for the engine, so that ending a block comes first. Doubles each time in a row.
ENGINE_STUCK_S = 100.0
LIMIT_S = 3600.0
#: Sessions that ended before they were up are asked for again after 1, 2, 4 ... seconds, at most this.
BACKOFF_LIMIT_S = 30.0


class Caution:
    """Asks ever more slowly for sessions that end before they are up."""

    def __init__(self) -> None:
        self._failures = 0
        #: monotonic seconds; and why
        self.until = 0.0
        self.trouble = ""

    def failed(self, reason: str, now: float) -> None:
        """Take note of a session that ended before it was up."""
        self._failures += 1
        self.until = now + min(2.0 ** (self._failures - 1), BACKOFF_LIMIT_S)
        self.trouble = f"workers cannot serve: {reason}"

    def forget(self) -> None:
        """Take note of a session that came up."""
        self._failures, self.trouble = 0, ""


@dataclass(frozen=True, slots=True)
class EndBlock:
    """A block whose node takes sessions and starts none of them."""

    block: str
    reason: str


@dataclass(frozen=True, slots=True)
class EndEngine:
    """An engine from which no session comes up."""

    reason: str


Fault: TypeAlias = EndBlock | EndEngine


@dataclass(slots=True)
class _Node:
    """A manager of Parsl's that had more sessions than came up from it when last looked at."""

    since: float
    up: int
    missing: int


class Progress:
    """Sees to it that sessions come up."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._suspects: set[str] = set()
        self._since = 0.0
        self._limit = ENGINE_STUCK_S

    def restart(self, now: float) -> None:
        """Begin again, for a new engine or after a time in which nobody looked."""
        self._nodes.clear()
        self._suspects.clear()
        self._since = now

    def came_up(self, now: float, node: str) -> None:
        """Take note of a session that came up."""
        self._since = now
        self._limit = ENGINE_STUCK_S
        self._suspects.discard(node)

    def lost_idle_worker(self, node: str) -> None:
        """Take note of a worker that died without a session."""
        self._suspects.add(node)

    def look(
        self,
        now: float,
        report: Mapping[str, Any],
        up: Collection[str],
        busy: Collection[str],
        *,
        waiting: int,
    ) -> Fault | None:
        """Return what must be ended now.

        Parameters
        ----------
        now : float
            Monotonic seconds.
        report : mapping
            The engine's status: ``nodes`` (by manager: block, tasks, workers) and ``workers``.
        up : collection of str
            The node of each session that came up and is not over for the engine; "" if it has none.
        busy : collection of str
            The nodes of sessions that run a call.
        waiting : int
            How many sessions were asked for and are not up.
        """
        nodes = report.get("nodes", {}) if waiting else {}
        self._note(now, nodes, up)
        for node, seen in self._nodes.items():
            limit = self._patience(node, busy)
            is_worth_it = node not in busy or 2 * seen.missing >= nodes[node]["workers"]
            if is_worth_it and now - seen.since > limit:
                self._since = now
                del self._nodes[node]
                reason = f"its node took sessions and started none for {limit:.0f} s"
                return EndBlock(nodes[node]["block"], reason)
        if not waiting or report.get("workers", 0) <= len(up):
            self._since = now
        elif now - self._since > max(self._limit, BUSY_STUCK_S if busy else 0.0):
            reason = f"no session came up for {now - self._since:.0f} s although workers are free"
            self._limit = min(2 * self._limit, LIMIT_S)
            return EndEngine(reason)
        return None

    def _patience(self, node: str, busy: Collection[str]) -> float:
        if node in busy:
            return BUSY_STUCK_S
        return SHORT_STUCK_S if node in self._suspects else STUCK_S

    def _note(self, now: float, nodes: Mapping[str, Any], up: Collection[str]) -> None:
        for node in [node for node in self._nodes if node not in nodes]:
            del self._nodes[node]
        self._suspects &= set(nodes)
        for node, facts in nodes.items():
            here = sum(other == node for other in up)
            seen = self._nodes.get(node)
            if facts["tasks"] <= here:
                self._nodes.pop(node, None)
            elif seen is None or here > seen.up:
                self._nodes[node] = _Node(now, here, facts["tasks"] - here)
            else:
                seen.up, seen.missing = here, facts["tasks"] - here
