"""Rules of functions: who may register, see and delete what."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from funcx_lab.errors import FunctionNotFound, InvalidRequest, NotAuthorized, PayloadTooLarge
from funcx_lab.protocol.messages import FunctionBody
from funcx_lab.protocol.readable import source_of
from funcx_lab_hub_service.access import Verb, may
from funcx_lab_hub_service.sharing import Sharing
from funcx_lab_hub_service.store import functions as store
from funcx_lab_hub_service.store import shares as share_store
from funcx_lab_hub_service.store.database import NewWork
from funcx_lab_hub_service.store.records import FunctionRecord

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.store.database import Database

#: A function's body may have this many bytes.
BODY_LIMIT = 10 * 1024 * 1024
FORMATS = frozenset({"funcx-lab", "globus", "globus-source"})
#: Bodies of functions that were sent lately are kept up to this many bytes.
_CACHE_BYTES = 32 * 1024 * 1024
#: Records of functions that were used lately.
_CACHE_RECORDS = 10_000


class About(NamedTuple):
    """What people can be told of a function.

    Attributes
    ----------
    source : str or None
        Its plain source, if that is known.
    parameters : list of str
        The names of its positional parameters, as far as they are known.
    """

    source: str | None
    parameters: list[str]


class Functions:
    """The registered functions.

    Parameters
    ----------
    database : Database
        Where they are.
    sharing : Sharing, optional
        With whom they are shared.
    """

    def __init__(self, database: Database, sharing: Sharing | None = None) -> None:
        self._database = database
        self._sharing = sharing or Sharing(database)
        self._records: OrderedDict[str, FunctionRecord] = OrderedDict()
        self._bodies: OrderedDict[str, FunctionBody] = OrderedDict()
        self._bodies_size = 0

    async def register(
        self, principal: Principal, name: str, body: bytes, format: str, meta: dict[str, Any] | None = None
    ) -> str:
        """Store a function and return its id; the same content under the same name keeps its id.

        Raises
        ------
        InvalidRequest
            If ``format`` is unknown or the body empty.
        PayloadTooLarge
            If the body has more than 10 MiB.
        """
        if format not in FORMATS:
            raise InvalidRequest(f"format: {format!r} is none of {', '.join(sorted(FORMATS))}.")
        if not body:
            raise InvalidRequest("body: the function has no bytes.")
        if len(body) > BODY_LIMIT:
            raise PayloadTooLarge(
                f"Function {name!r} has {len(body)} bytes, the limit is {BODY_LIMIT}; "
                "pass large data as an argument instead of capturing it."
            )
        new = FunctionRecord(
            *(0, str(uuid.uuid4()), principal.user, name, format, hashlib.sha256(body).hexdigest()),
            *(meta or {}, time.time()),
        )
        operation = NewWork(lambda connection: store.insert(connection, new, body))
        return str(await self._database.write(operation))

    def get(self, principal: Principal, function_id: str, verb: Verb = "read") -> FunctionRecord:
        """Return a function of the principal's, or one that is shared with them.

        Raises
        ------
        FunctionNotFound
            If there is none of that id, or it is another's.
        NotAuthorized
            If it is shared with the principal, and this is for its owner only.
        """
        record = self._records.get(function_id)
        if record is None:
            record = store.find(self._database.reader, function_id)
            if record is not None:
                self._records[function_id] = record
                if len(self._records) > _CACHE_RECORDS:
                    self._records.popitem(last=False)
        if record is None or not self._may(principal, "read", record):
            raise FunctionNotFound(
                f"There is no function {function_id!r}, or it is not yours; register it first."
            )
        if not self._may(principal, verb, record):
            raise NotAuthorized(
                f"Function {record.name!r} belongs to {record.owner!r}, who alone may do this."
            )
        return record

    def _may(self, principal: Principal, verb: Verb, record: FunctionRecord) -> bool:
        if principal.user == record.owner:  # nobody's shares need be looked up
            return may(principal, verb, record.owner)
        return may(principal, verb, record.owner, shares=self._sharing.of("function", record.key))

    def list(self, principal: Principal) -> list[FunctionRecord]:
        """Return the principal's functions, newest first."""
        return store.select(self._database.reader, principal.user)

    async def delete(self, principal: Principal, function_id: str) -> None:
        """Forget a function; tasks that were accepted still run.

        Raises
        ------
        FunctionNotFound
            As `get`.
        """
        record = self.get(principal, function_id, "delete")

        def operation(connection: sqlite3.Connection) -> None:
            store.delete(connection, record.key, time.time())
            share_store.remove_all(connection, "function", record.key)

        await self._database.write(operation)
        self._records.pop(function_id, None)
        self._sharing.forget("function", record.key)

    async def revive(self, principal: Principal, function_id: str) -> str:
        """Return the id under which the principal may call a function; a deleted one of theirs gets another.

        Raises
        ------
        FunctionNotFound
            As `get`, and if it is not shared with the principal any more.
        """
        found = store.body(self._database.reader, function_id)
        if found is None or found[0].owner != principal.user:
            return self.get(principal, function_id, "submit").function_id
        with contextlib.suppress(FunctionNotFound):
            return self.get(principal, function_id, "submit").function_id
        record, body = found
        source, _ = store.told(self._database.reader, function_id)
        meta = record.meta if source is None else {**record.meta, store.SOURCE: source}
        return await self.register(principal, record.name, body, record.format, meta)

    def about(self, function: FunctionBody) -> About:
        """Return what can be told of a function without opening it; whoever asks has it."""
        source, parameters = store.told(self._database.reader, function.function_id)
        return About(source_of(function.format, function.body) or source, parameters)

    def source(self, principal: Principal, function_id: str) -> str | None:
        """Return the plain source of a function, if it is known.

        Raises
        ------
        FunctionNotFound
            As `get`.
        """
        self.get(principal, function_id)
        function = self.body(function_id)
        return None if function is None else self.about(function).source

    def body(self, function_id: str) -> FunctionBody | None:
        """Return a function as it travels to an endpoint; for the forwarder, which has checked nothing."""
        cached = self._bodies.get(function_id)
        if cached is not None:
            self._bodies.move_to_end(function_id)
            return cached
        found = store.body(self._database.reader, function_id)
        if found is None:
            return None
        record, body = found
        function = FunctionBody(function_id, record.sha256, record.format, record.name, body)
        self._bodies[function_id] = function
        self._bodies_size += len(body)
        while self._bodies_size > _CACHE_BYTES and len(self._bodies) > 1:
            self._bodies_size -= len(self._bodies.popitem(last=False)[1].body)
        return function
