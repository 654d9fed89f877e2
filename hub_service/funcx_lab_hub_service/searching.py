"""Lists of tasks: filtered, in either order, a page at a time, however many there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funcx_lab.protocol.states import TaskState
from funcx_lab_hub_service.store import tasks as store
from funcx_lab_hub_service.store.records import CODES, STATES, TaskRecord

if TYPE_CHECKING:
    from funcx_lab_hub_service.store.database import Database

#: So many tasks are looked through at a time, with a turn for others between, and for one page at most.
_PIECE, _MOST = 500, 50_000


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """What to list; all filters hold together.

    Attributes
    ----------
    owner : str
        Whose tasks.
    group_id, endpoint_id : str or None
        Of which group, at which endpoint.
    states : frozenset of TaskState or None
        In which states, as people see them.
    text : str
        Part of the label, the function's name or the id, in whatever case.
    oldest : bool
        The oldest first.
    """

    owner: str
    group_id: str | None = None
    endpoint_id: str | None = None
    states: frozenset[TaskState] | None = None
    text: str = ""
    oldest: bool = False


class Search:
    """One page of what a query finds, looked for piece by piece.

    Parameters
    ----------
    database : Database
        Where the tasks are.
    query : TaskQuery
        What to find.
    refine : callable
        Returns a record as people see it.
    show : callable
        Returns the state that people see for an endpoint's id and a stored state.
    """

    def __init__(
        self,
        database: Database,
        query: TaskQuery,
        refine: Callable[[TaskRecord], TaskRecord],
        show: Callable[[str, TaskState], TaskState],
    ) -> None:
        self._database, self._query = database, query
        self._refine, self._show = refine, show
        self._codes = None if query.states is None else codes(query.states)

    async def page(self, limit: int, before: int | None) -> tuple[list[TaskRecord], int | None]:
        """Return up to ``limit`` records behind row ``before``, and where the next page begins, if at all.

        A page may be short, even empty, and have a next one: so much was looked through for it.
        """
        found, place = self.piece(limit, before)
        looked = _PIECE
        while place is not None and len(found) < limit and looked < _MOST:
            await asyncio.sleep(0)
            more, place = self.piece(limit - len(found), place)
            found += more
            looked += _PIECE
        return found, place

    def piece(self, limit: int, before: int | None) -> tuple[list[TaskRecord], int | None]:
        """Return what one look finds, and the row to go on from; None at the end."""
        query, reader = self._query, self._database.reader
        is_filtered = bool(query.text) or (query.states is not None)
        count = max(limit, _PIECE) if is_filtered else limit
        keys = store.select_keys(
            reader,
            query.owner,
            group_id=query.group_id,
            endpoint_id=query.endpoint_id,
            states=self._codes,
            limit=count,
            before=before,
            oldest=query.oldest,
        )
        named = self._in_state(keys) if query.states is not None else keys
        if query.text:
            named = store.matching(reader, named, query.text)
        found: list[TaskRecord] = []
        for start in range(0, len(named), limit):
            found += map(self._refine, store.select_by_keys(reader, named[start : start + limit]))
            if len(found) >= limit:
                return found[:limit], found[limit - 1].key
        return found, keys[-1] if len(keys) == count else None

    def _in_state(self, keys: Sequence[int]) -> list[int]:
        """Return the rows that people see in a wanted state."""
        wanted = self._query.states or frozenset()
        if self._codes == [CODES[state] for state in wanted]:
            return list(keys)
        places = store.places(self._database.reader, keys)
        shown = {place: self._show(place[1], STATES[place[0]]) for place in set(places.values())}
        return [key for key in keys if key in places and shown[places[key]] in wanted]


def codes(wanted: frozenset[TaskState]) -> list[int]:
    """Return the stored states behind visible ones; all that wait are told apart by their endpoint only."""
    waiting = {state for state in TaskState if CODES[state] < CODES[TaskState.RUNNING]}
    return [CODES[state] for state in (wanted | waiting if wanted & waiting else wanted)]
