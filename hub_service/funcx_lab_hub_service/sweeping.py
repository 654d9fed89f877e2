"""What goes for its age: tasks past their time to live end, ended ones are purged, objects nobody needs go.

Everything is done in small writes with a pause between them, so that dispatch has its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from funcx_lab_hub_service.clock_watch import ClockWatch
from funcx_lab_hub_service.store import retention as store
from funcx_lab_hub_service.store import tombstones

if TYPE_CHECKING:
    from funcx_lab_hub_service.objects import Objects
    from funcx_lab_hub_service.store.database import Database
    from funcx_lab_hub_service.store.reserve import Reserve
    from funcx_lab_hub_service.tasks import Tasks

log = logging.getLogger(__name__)

DAY_S = 86400.0
#: Seconds between two looks at the clock and at times to live that tasks have of their own.
_TICK_S = 1.0
#: Seconds between two sweeps for the common time to live, and between two purges.
_EXPIRE_S, _PURGE_S = 60.0, 3600.0
#: Rows that one write ends or looks at, and the seconds that others have until the next one.
_PIECE, _PAUSE_S = 100, 0.02


@dataclass(frozen=True, slots=True)
class Ages:
    """How old things may become, in seconds.

    Parameters
    ----------
    ttl_s : float
        A task that has not ended so long after it was received expires, unless it says otherwise.
    retention_s : float
        An ended task is purged after this: record, arguments, result and log.
    tombstones_s : float
        A purged task's id stays known, and unusable, for this long.
    """

    ttl_s: float = 14 * DAY_S
    retention_s: float = 30 * DAY_S
    tombstones_s: float = 90 * DAY_S


class Sweeper:
    """Sweep from `start` to `stop`.

    Parameters
    ----------
    database : Database
        Open and sound, and nothing written to it in this life but its number: it tells of the clock before.
    tasks, objects
        Whose things go.
    ages : Ages
        When they go.
    reserve : Reserve, optional
        Made again when there is room.
    clock, monotonic : callable
        Unix seconds; seconds that never jump.
    """

    def __init__(
        self,
        database: Database,
        tasks: Tasks,
        objects: Objects,
        ages: Ages | None = None,
        reserve: Reserve | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._tasks = tasks
        self._objects = objects
        self._ages = ages or Ages()
        self._reserve = reserve
        self._clock, self._monotonic = clock, monotonic
        self._noted = store.is_clock_doubted(database.reader)
        signs = store.last_signs(database.reader)
        self._watch = ClockWatch(clock(), monotonic(), signs, doubted=self._noted)
        self._next_expire = self._next_purge = monotonic()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first sweep comes at once."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="sweeper")

    async def stop(self) -> None:
        """End between two writes."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self.sweep()
            except Exception:
                log.exception("A sweep failed; it is tried again")
            await asyncio.sleep(_TICK_S)

    async def sweep(self) -> None:
        """Do what is due now; nothing goes for its age while the clock cannot be believed."""
        self._database.check_file()
        if self._reserve is not None and not self._reserve.held:
            await asyncio.to_thread(self._reserve.restore)
        now, monotonic = self._clock(), self._monotonic()
        jump = self._watch.jumped(now, monotonic)
        if jump:
            log.warning("The clock jumped by %+.0f s; nothing expires or is purged for an hour.", jump)
        doubted = not self._watch.trusted(monotonic)
        if doubted != self._noted:  # a start with the same wrong clock must not believe it
            await self._database.write(lambda connection: store.note_doubt(connection, doubted))
            self._noted = doubted
        if doubted:
            return
        deadline = store.next_deadline(self._database.reader)
        if monotonic >= self._next_expire or (deadline is not None and deadline <= now):
            self._next_expire = monotonic + _EXPIRE_S
            await self._expire()
        if monotonic >= self._next_purge:
            self._next_purge = monotonic + _PURGE_S
            await self._purge(now)
            await _in_pieces(self._forget(tombstones.forget, now - self._ages.tombstones_s))
            await _in_pieces(self._forget(store.forget_sessions, now - self._ages.retention_s))
            await self._objects.sweep(now - self._ages.retention_s)

    async def _expire(self) -> None:
        total = await _in_pieces(lambda: self._tasks.expire(self._ages.ttl_s, _PIECE))
        if total:
            log.info("%d tasks expired", total)

    async def _purge(self, now: float) -> None:
        before, after, total = now - self._ages.retention_s, 0, 0
        while True:
            purged, following = await self._database.write(
                lambda connection, after=after: store.purge(connection, after, before, now, _PIECE)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            )
            self._tasks.purged(purged)
            total += sum(map(len, purged.values()))
            if following is None:
                break
            after = following
            await asyncio.sleep(_PAUSE_S)
        if total:
            log.info("%d ended tasks were purged", total)

    def _forget(
        self, forget: Callable[[Any, float, int], int], before: float
    ) -> Callable[[], Awaitable[int]]:
        return lambda: self._database.write(lambda connection: forget(connection, before, _PIECE))


async def _in_pieces(piece: Callable[[], Awaitable[int]]) -> int:
    """Repeat ``piece`` while it has its hands full; return what it did in all."""
    total = 0
    while True:
        done = await piece()
        total += done
        if done < _PIECE:
            return total
        await asyncio.sleep(_PAUSE_S)
