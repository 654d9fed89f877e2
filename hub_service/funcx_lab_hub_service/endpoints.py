"""Rules of endpoints: registered by their owner, enrolled once by their agent, online while it is heard."""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from funcx_lab.errors import (
    Conflict,
    EndpointNotFound,
    InvalidName,
    InvalidRequest,
    NotAuthenticated,
    NotAuthorized,
)
from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.states import EndpointState
from funcx_lab_hub_service.access import Verb, may
from funcx_lab_hub_service.auth import tokens
from funcx_lab_hub_service.conditions import Condition, unheard_reason
from funcx_lab_hub_service.sharing import Sharing
from funcx_lab_hub_service.store import endpoints as store
from funcx_lab_hub_service.store import shares as share_store
from funcx_lab_hub_service.store import tokens as token_store
from funcx_lab_hub_service.store.records import EndpointRecord

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.store.database import Database

#: An enrolment token works this many seconds.
ENROLMENT_S = 15 * 60
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
#: 32 bytes in Z85
_KEY = re.compile(r"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")


class Endpoints:
    """The registered endpoints, all in memory, and the condition of each.

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
        self._sharing.when_changed(lambda thing, thing_id: self.tell_changed(thing_id))
        self._records: dict[str, EndpointRecord] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._by_key: dict[str, str] = {}
        self._conditions: dict[str, Condition] = {}
        #: what each reported last; kept while it is away
        self._reported: dict[str, Environment] = {}
        self._on_delete: list[Callable[[str, str | None], None]] = []
        self._on_revoke: list[Callable[[str, str], None]] = []
        self._on_change: list[Callable[[str], None]] = []
        self._started = time.time()

    def start(self) -> None:
        """Load them; the database must be open."""
        self._started = time.time()
        for record in store.select(self._database.reader):
            self._remember(record)

    def _remember(self, record: EndpointRecord) -> None:
        old = self._records.get(record.endpoint_id)
        if old is not None and old.public_key is not None:
            self._by_key.pop(old.public_key, None)
        self._records[record.endpoint_id] = record
        self._by_name[record.owner, record.name] = record.endpoint_id
        if record.public_key is not None:
            self._by_key[record.public_key] = record.endpoint_id

    # --- registering --------------------------------------------------------------------------------

    async def register(
        self,
        principal: Principal,
        name: str,
        metadata: dict[str, Any] | None = None,
        endpoint_id: str | None = None,
    ) -> tuple[str, str]:
        """Register an endpoint and return its id and a one-time enrolment token (15 minutes).

        The owner's endpoint of the same name keeps its id.

        Raises
        ------
        InvalidName, InvalidRequest
            If the name or the id is not well-formed.
        Conflict
            If the id belongs to another endpoint.
        """
        if not _NAME.fullmatch(name):
            raise InvalidName(f"Endpoint name {name!r} must match [a-z0-9][a-z0-9_-]{{0,62}}.")
        new_id = _checked_id(endpoint_id) if endpoint_id else str(uuid.uuid4())
        known = self._records.get(self._by_name.get((principal.user, name), ""))
        if endpoint_id and new_id != (known.endpoint_id if known else new_id):
            raise Conflict(
                f"Endpoint {name!r} is already registered as {known.endpoint_id if known else ''}."
            )
        new = EndpointRecord(0, new_id, principal.user, name, metadata or {}, time.time(), None, None)
        token = secrets.token_urlsafe(32)
        try:
            record = await self._database.write(
                lambda connection: store.upsert(connection, new, _digest(token), time.time() + ENROLMENT_S)
            )
        except sqlite3.IntegrityError:
            raise Conflict(f"Endpoint id {new_id} is already taken.") from None
        self._remember(record)
        self.tell_changed(record.endpoint_id)
        return record.endpoint_id, token

    async def enrol(self, endpoint_id: str, enrolment_token: str, public_key: str) -> str:
        """Bind the agent's CURVE key (Z85) with a one-time token and return the agent's own token.

        Raises
        ------
        NotAuthenticated
            If the enrolment token is wrong, used or too old.
        InvalidRequest
            If the key is not 40 characters of Z85.
        """
        if not _KEY.fullmatch(public_key):
            raise InvalidRequest("public_key: a CURVE key is 40 characters of Z85.")
        holder = self._by_key.get(public_key)
        if holder is not None and holder != endpoint_id:
            raise InvalidRequest("public_key: another endpoint uses this key; make a new one.")
        agent_token = tokens.new_token()

        def operation(connection: sqlite3.Connection) -> EndpointRecord | None:
            now = time.time()
            record = store.enrol(connection, endpoint_id, _digest(enrolment_token), public_key, now)
            if record is not None:
                token_store.revoke_endpoint(connection, endpoint_id, now)
                token_store.insert(
                    connection,
                    sha256=tokens.digest(agent_token),
                    user=record.owner,
                    kind="endpoint",
                    endpoint_id=endpoint_id,
                    label=f"agent of {record.name}",
                    now=now,
                )
            return record

        record = await self._database.write(operation)
        if record is None:
            raise NotAuthenticated(
                "The enrolment token is wrong, used or older than 15 minutes; register again."
            )
        old = self._records.get(endpoint_id)
        self._remember(record)
        if old is not None and old.public_key not in (None, public_key):
            self._tell_revoked(endpoint_id, old.public_key)
        return agent_token

    async def delete(self, principal: Principal, name_or_id: str) -> None:
        """Forget an endpoint; its agent's key and tokens stop working at once.

        Raises
        ------
        EndpointNotFound
            As `resolve`.
        """
        record = self.resolve(principal, name_or_id, "delete")

        def operation(connection: sqlite3.Connection) -> None:
            now = time.time()
            store.delete(connection, record.key, now)
            share_store.remove_all(connection, "endpoint", record.key)
            token_store.revoke_endpoint(connection, record.endpoint_id, now)

        await self._database.write(operation)
        self._records.pop(record.endpoint_id, None)
        self._by_name.pop((record.owner, record.name), None)
        self._conditions.pop(record.endpoint_id, None)
        self._reported.pop(record.endpoint_id, None)
        self._sharing.forget("endpoint", record.key)
        if record.public_key is not None:
            self._by_key.pop(record.public_key, None)
        for callback in self._on_delete:
            callback(record.endpoint_id, record.public_key)
        self._tell_revoked(record.endpoint_id, record.public_key)
        self.tell_changed(record.endpoint_id)

    def revoke_keys(self) -> None:
        """Void the key of every agent whose token was revoked; call it every few seconds."""
        enrolled = [record for record in self._records.values() if record.public_key is not None]
        if not enrolled:
            return
        working = token_store.endpoints_with_token(self._database.reader)
        for record in enrolled:
            if record.endpoint_id not in working:
                self._by_key.pop(record.public_key or "", None)
                self._records[record.endpoint_id] = replace(record, public_key=None)
                self._tell_revoked(record.endpoint_id, record.public_key)

    def _tell_revoked(self, endpoint_id: str, key: str | None) -> None:
        for callback in self._on_revoke if key is not None else ():
            callback(endpoint_id, key or "")

    def when_deleted(self, callback: Callable[[str, str | None], None]) -> None:
        """Call ``callback(endpoint_id, public_key)`` whenever an endpoint is deleted."""
        self._on_delete.append(callback)

    def when_revoked(self, callback: Callable[[str, str], None]) -> None:
        """Call ``callback(endpoint_id, public_key)`` whenever the key of an agent becomes void."""
        self._on_revoke.append(callback)

    def when_changed(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(endpoint_id)`` whenever one comes, goes, or is shown otherwise to somebody."""
        self._on_change.append(callback)

    def tell_changed(self, endpoint_id: str) -> None:
        """Let the pages that show the endpoint look at it again."""
        for callback in self._on_change:
            callback(endpoint_id)

    # --- asking -------------------------------------------------------------------------------------

    def resolve(self, principal: Principal, name_or_id: str, verb: Verb = "read") -> EndpointRecord:
        """Return the endpoint of that name or id that the principal may do ``verb`` to.

        A name is that of the principal's own endpoint, else of the one that somebody shares with them.
        Where several share one of that name, ``owner/name`` tells them apart.

        Raises
        ------
        EndpointNotFound
            If there is none, or it is another's.
        NotAuthorized
            If it is shared with the principal, and this is for its owner only.
        InvalidRequest
            If several are shared under that name.
        """
        record = self._find(principal, name_or_id)
        if record is None or not self._may(principal, "read", record):
            raise EndpointNotFound(
                f"There is no endpoint {name_or_id!r}, or it is not yours; `funcx-lab status` lists those "
                "that you may use, `funcx-endpoint configure NAME` makes one."
            )
        if not self._may(principal, verb, record):
            raise NotAuthorized(
                f"Endpoint {record.name!r} belongs to {record.owner!r}, who alone may do this."
            )
        return record

    def _may(self, principal: Principal, verb: Verb, record: EndpointRecord) -> bool:
        shares = self._sharing.of("endpoint", record.key)
        return may(principal, verb, record.owner, record.endpoint_id, shares)

    def _find(self, principal: Principal, name_or_id: str) -> EndpointRecord | None:
        own = self._records.get(self._by_name.get((principal.user, name_or_id), name_or_id))
        if own is not None:
            return own
        owner, slash, name = name_or_id.rpartition("/")
        if slash:
            return self._records.get(self._by_name.get((owner, name), ""))
        shared = [
            record
            for record in self._records.values()
            if record.name == name and self._may(principal, "read", record)
        ]
        if len(shared) > 1:
            owners = ", ".join(sorted(f"{record.owner}/{name}" for record in shared))
            raise InvalidRequest(f"Several endpoints {name!r} are shared with you; say which: {owners}.")
        return shared[0] if shared else None

    def list(self, principal: Principal) -> list[EndpointRecord]:
        """Return the endpoints that the principal may use, their own and shared ones, oldest first."""
        seen = (record for record in self._records.values() if self._may(principal, "submit", record))
        return sorted(seen, key=lambda record: record.key)

    def sharing(self, principal: Principal, record: EndpointRecord) -> dict[str, Any]:
        """Return whose it is, and for its owner with whom it is shared, as a JSON document."""
        shared = record.owner != principal.user
        shares = () if shared else sorted(self._sharing.of("endpoint", record.key))
        return {"owner": record.owner, "shared": shared, "shared_with": [str(share) for share in shares]}

    def status(self, principal: Principal, name_or_id: str) -> dict[str, Any]:
        """Return the condition as a JSON document.

        Raises
        ------
        EndpointNotFound
            As `resolve`.
        """
        condition = self.condition(self.resolve(principal, name_or_id).endpoint_id)
        return {
            "status": str(condition.state),
            "since": condition.since,
            "details": condition.details,
            "reason": condition.reason or condition.waiting_reason,
        }

    def environment(self, principal: Principal, name_or_id: str) -> dict[str, Any]:
        """Return what the endpoint's workers have, as a JSON document.

        Raises
        ------
        EndpointNotFound
            As `resolve`.
        """
        record = self.resolve(principal, name_or_id)
        return {
            "endpoint_id": record.endpoint_id,
            "name": record.name,
            "state": str(self.condition(record.endpoint_id).state),
            "environment": self._reported.get(record.endpoint_id),
        }

    # --- for the forwarder --------------------------------------------------------------------------

    def get(self, endpoint_id: str) -> EndpointRecord | None:
        """Return an endpoint that is not deleted, whoever owns it."""
        return self._records.get(endpoint_id)

    def endpoint_for_key(self, public_key: str) -> str | None:
        """Return the endpoint that enrolled this CURVE key (Z85)."""
        return self._by_key.get(public_key)

    def condition(self, endpoint_id: str) -> Condition:
        """Return the condition of an endpoint."""
        condition = self._conditions.get(endpoint_id)
        if condition is not None:
            return condition
        record = self._records.get(endpoint_id)
        if record is None:
            return Condition(EndpointState.OFFLINE, 0.0, "endpoint deleted")
        if record.seen is None:
            return Condition(EndpointState.REGISTERED, record.created, "endpoint has never connected")
        return Condition(EndpointState.OFFLINE, self._started, unheard_reason(self._started, record.seen))

    def environment_hash(self, endpoint_id: str) -> str:
        """Return the digest of the packages that an endpoint reported last; ``""`` for none."""
        reported = self._reported.get(endpoint_id)
        return "" if reported is None else reported.hash

    def open_session(self, endpoint: EndpointRecord, session: int, instance: str, spool: str) -> None:
        """Store a granted session; it stands in the writer's queue before any of its leases."""
        self._database.submit(
            lambda connection: store.open_session(
                connection, session, endpoint.key, instance, spool, time.time()
            ),
            _forget,
        )

    def set_environment(self, endpoint_id: str, environment: Environment) -> None:
        """Take what an endpoint reports of its workers' environment."""
        self._reported[endpoint_id] = environment

    def set_condition(self, endpoint_id: str, condition: Condition) -> None:
        """Take what the forwarder sees; coming and going is stored."""
        record = self._records.get(endpoint_id)
        if record is None:
            return
        old = self.condition(endpoint_id)
        self._conditions[endpoint_id] = condition
        if old.state is not condition.state:
            self._records[endpoint_id] = replace(record, seen=condition.since)
            self._database.submit(
                lambda connection: store.mark_seen(connection, record.key, condition.since), _forget
            )


def _forget(_value: object, _error: BaseException | None) -> None:
    """Take the answer to a write that nobody waits for."""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _checked_id(endpoint_id: str) -> str:
    try:
        return str(uuid.UUID(endpoint_id))
    except ValueError:
        raise InvalidRequest(f"endpoint id: {endpoint_id!r} is not a UUID.") from None
