"""Rules of sharing: an owner lets users and groups use an endpoint or a function, until that is undone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from funcx_lab.errors import InvalidRequest, NotAuthorized
from funcx_lab_hub_service.access import may
from funcx_lab_hub_service.store import shares as store
from funcx_lab_hub_service.store.records import EndpointRecord
from funcx_lab_hub_service.store.shares import Share, Thing

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.store.database import Database
    from funcx_lab_hub_service.store.records import FunctionRecord

#: A thing may be shared with so many users and groups together.
SHARES_LIMIT = 100
_NAME_LIMIT = 255
_NOBODY: frozenset[Share] = frozenset()


class Sharing:
    """All shares, in memory.

    Parameters
    ----------
    database : Database
        Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shares: dict[tuple[Thing, int], frozenset[Share]] = {}
        self._on_change: list[Callable[[Thing, str], None]] = []
        # What is in memory changes in the order in which the store does.
        self._changing = asyncio.Lock()

    def start(self) -> None:
        """Load them; the database must be open."""
        for thing, key, share in store.select(self._database.reader):
            self._shares[thing, key] = self.of(thing, key) | {share}

    def of(self, thing: Thing, key: int) -> frozenset[Share]:
        """Return with whom a thing is shared."""
        return self._shares.get((thing, key), _NOBODY)

    def listed(self, principal: Principal, record: EndpointRecord | FunctionRecord) -> list[Share]:
        """Return with whom the principal shares a thing of theirs, sorted.

        Raises
        ------
        NotAuthorized
            If it belongs to somebody else.
        """
        self._check_owner(principal, record)
        return sorted(self.of(_thing(record), record.key))

    async def add(
        self, principal: Principal, record: EndpointRecord | FunctionRecord, share: Share
    ) -> list[Share]:
        """Share a thing of the principal's and return with whom it is shared then.

        Raises
        ------
        NotAuthorized
            If it belongs to somebody else.
        InvalidRequest
            If the name can be nobody's, or there are too many shares.
        """
        self._check_owner(principal, record)
        _check_name(share)
        thing, key = _thing(record), record.key
        async with self._changing:
            if len(self.of(thing, key) | {share}) > SHARES_LIMIT:
                raise InvalidRequest(
                    f"This is shared with {SHARES_LIMIT} users and groups already; share it with one group "
                    "of them all instead."
                )
            now = time.time()
            await self._database.write(lambda connection: store.add(connection, thing, key, share, now))
            self._set(record, self.of(thing, key) | {share})
        return self.listed(principal, record)

    async def remove(
        self, principal: Principal, record: EndpointRecord | FunctionRecord, share: Share
    ) -> list[Share]:
        """Take a share back, at once: no new task is taken in; what was accepted still runs.

        Raises
        ------
        NotAuthorized
            If it belongs to somebody else.
        """
        self._check_owner(principal, record)
        thing, key = _thing(record), record.key
        async with self._changing:
            # Nobody comes in by a share that is about to go.
            self._set(record, self.of(thing, key) - {share})
            await self._database.write(lambda connection: store.remove(connection, thing, key, share))
        return self.listed(principal, record)

    def forget(self, thing: Thing, key: int) -> None:
        """Drop the shares of a thing that was deleted; its rows are its own transaction's care."""
        self._shares.pop((thing, key), None)

    def when_changed(self, callback: Callable[[Thing, str], None]) -> None:
        """Call ``callback(thing, id)`` whenever a thing is shared or not shared any more."""
        self._on_change.append(callback)

    def _set(self, record: EndpointRecord | FunctionRecord, shares: frozenset[Share]) -> None:
        thing = _thing(record)
        if shares:
            self._shares[thing, record.key] = shares
        else:
            self._shares.pop((thing, record.key), None)
        for callback in self._on_change:
            callback(thing, record.endpoint_id if isinstance(record, EndpointRecord) else record.function_id)

    def _check_owner(self, principal: Principal, record: EndpointRecord | FunctionRecord) -> None:
        if not may(principal, "share", record.owner):
            raise NotAuthorized(f"{record.name!r} belongs to {record.owner!r}: only its owner shares it.")


def _thing(record: EndpointRecord | FunctionRecord) -> Thing:
    return "endpoint" if isinstance(record, EndpointRecord) else "function"


def _check_name(share: Share) -> None:
    name = share.name
    if not 0 < len(name) <= _NAME_LIMIT or not name.isprintable() or name != name.strip():
        raise InvalidRequest(f"{share.holder}: {name[:80]!r} is not a name.")
