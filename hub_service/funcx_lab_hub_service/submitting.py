"""Rules of taking tasks in: checked, counted, queued for the store, and handed on ahead of the commit."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from funcx_lab.crash_points import crash_point
from funcx_lab.errors import (
    Conflict,
    FuncxLabError,
    InvalidRequest,
    NotAuthorized,
    ObjectNotFound,
    PayloadTooLarge,
    TaskGone,
)
from funcx_lab.protocol.messages import LABEL_LIMIT, LONGEST_S, RETRIES_LIMIT, SESSION_NAME, TaskOptions
from funcx_lab.protocol.stream import NewTask, Refusal
from funcx_lab.requirements import why_not
from funcx_lab_hub_service.access import check_scope, may_create
from funcx_lab_hub_service.admission import Admission
from funcx_lab_hub_service.auth.principals import SUBMIT
from funcx_lab_hub_service.dispatching import Dispatcher, Offer
from funcx_lab_hub_service.store import objects as object_store
from funcx_lab_hub_service.store import tasks as store
from funcx_lab_hub_service.store.database import NewWork
from funcx_lab_hub_service.store.intake import Inserted, Insertion, TaskWriter
from funcx_lab_hub_service.store.outcomes import Ended, OutcomeWriter
from funcx_lab_hub_service.store.reuse import Memo

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.endpoints import Endpoints
    from funcx_lab_hub_service.functions import Functions
    from funcx_lab_hub_service.store.database import Database

#: Arguments inside a submit may have this many bytes; larger ones come as objects.
INLINE_LIMIT = 10 * 1024 * 1024
#: Seconds that the insert of tasks which were dispatched already may wait for company in its commit.
INSERT_PATIENCE_S = 0.002
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TAKEN = "Another task has this id; make a new one for each call."


class Submitting:
    """Take tasks in.

    Parameters
    ----------
    database : Database
        Where they go; open.
    endpoints, functions
        What they refer to.
    admission : Admission
        Whether there is room.
    clock : callable
        Unix seconds.
    outcomes : OutcomeWriter
        Ends tasks for which a stored result will do.
    publish : callable
        Told of those ends after their commit.
    changed : callable, optional
        Told ``(owner, task ids)`` of what went in, after its commit.
    """

    def __init__(
        self,
        database: Database,
        endpoints: Endpoints,
        functions: Functions,
        admission: Admission,
        clock: Callable[[], float],
        outcomes: OutcomeWriter,
        publish: Callable[[list[Ended]], None],
        changed: Callable[[str, list[str]], None] = lambda owner, task_ids: None,
    ) -> None:
        self._database = database
        self._endpoints = endpoints
        self._functions = functions
        self._admission = admission
        self._clock = clock
        self._outcomes = outcomes
        self._publish = publish
        self._changed = changed
        #: where tasks go ahead of their commit
        self.dispatcher: Dispatcher | None = None
        #: ids whose first insert is in the writer's queue
        self._pending: set[str] = set()
        self._writer = TaskWriter()

    def submit(
        self,
        principal: Principal,
        endpoint: str,
        function_id: str,
        group_id: str,
        tasks: Sequence[NewTask],
        options: TaskOptions | None,
    ) -> asyncio.Future[list[Refusal]]:
        """Take in tasks; see `Tasks.submit`."""
        if not may_create(principal, "task"):
            raise NotAuthorized("An endpoint's own token cannot submit tasks.")
        check_scope(principal, SUBMIT)
        _check_options(options)
        target = self._endpoints.resolve(principal, endpoint, "submit")
        function = self._functions.get(principal, function_id, "submit")
        taken, refused = self._sift(principal, tasks)
        if not taken:
            return _settled(refused)
        offer = self._offer(target.endpoint_id, function_id, taken, options)
        tags = offer.tags if offer else ()
        new = Insertion(
            *(principal.user, group_id, target.key, function.key, taken, options, tags),
            *(offer.session if offer else None, self._clock(), self._memo(target.endpoint_id, options)),
        )
        committed = self._insert(target.endpoint_id, new, refused)
        if offer is not None:
            offer.send()
            crash_point("hub.dispatched")
        if len(tags) < len(taken) and self.dispatcher is not None:
            self.dispatcher.queued(target.endpoint_id)
        return committed

    def _insert(
        self, endpoint_id: str, new: Insertion, refused: list[Refusal]
    ) -> asyncio.Future[list[Refusal]]:
        """Queue an insert; the future resolves after its commit to ``refused`` and what could not go in."""
        answer: asyncio.Future[list[Refusal]] = asyncio.get_running_loop().create_future()
        pending = {task.task_id for task in new.tasks} - self._pending
        self._pending |= pending

        def done(taken: tuple[Inserted, list[Ended]] | None, error: BaseException | None) -> None:
            self._pending -= pending
            inserted, ended = (None, []) if taken is None else taken
            self._publish(ended)
            if inserted is not None:
                self._changed(new.owner, [task.task_id for task in new.tasks])
            if inserted is None or not inserted.all_new:
                self._settle_leases(endpoint_id, new, inserted)
            if answer.cancelled():
                return
            if inserted is None:
                answer.set_exception(error or RuntimeError("an insert without an answer"))
            else:
                answer.set_result(refused if inserted.all_new else refused + _refusals(inserted))

        # A task that has left already may come back soon: one commit then serves its insert and its end.
        patience = INSERT_PATIENCE_S if len(new.tags) == len(new.tasks) else 0.0
        operation = NewWork(lambda connection: self._take_in(connection, new))
        self._database.submit(operation, done, patience_s=patience)
        return answer

    def _take_in(self, connection: sqlite3.Connection, new: Insertion) -> tuple[Inserted, list[Ended]]:
        """Insert tasks, and end at once those whose result is stored: no commit shows them waiting."""
        inserted = self._writer.insert(connection, new)
        ended: list[Ended] = []
        environment = "" if new.memo is None else new.memo.environment
        for task_id, memo in inserted.memos.items():
            ended += self._outcomes.reuse(connection, task_id, memo, environment, new.received)
        return inserted, ended

    def _memo(self, endpoint_id: str, options: TaskOptions | None) -> Memo | None:
        if options is None or options.memo is None:
            return None
        environment = self._endpoints.environment_hash(endpoint_id)
        return Memo(options.memo, endpoint_id, environment, tuple(options.requires), options.fresh)

    def _settle_leases(self, endpoint_id: str, new: Insertion, inserted: Inserted | None) -> None:
        """Take back what was offered and counted for tasks that did not go in."""
        old = None if inserted is None else inserted.old()
        sizes = [len(task.payload) for task in new.tasks if old is None or task.task_id in old]
        self._admission.forget(new.owner, sizes)
        refused = None if inserted is None else inserted.refused()
        leases = [(task.task_id, tag) for task, tag in zip(new.tasks, new.tags, strict=False)]
        void = [lease for lease in leases if refused is None or lease[0] in refused]
        if void and self.dispatcher is not None:
            self.dispatcher.withdraw(endpoint_id, void)

    def _sift(self, principal: Principal, tasks: Sequence[NewTask]) -> tuple[list[NewTask], list[Refusal]]:
        """Return the well-formed tasks that there is room for, each id once, and the refusals of others."""
        taken: dict[str, NewTask] = {}
        errors: list[tuple[str, FuncxLabError]] = []
        for task in tasks:
            error = self._fault(principal, task)
            if error is None and taken.setdefault(task.task_id, task) != task:
                error = Conflict(_TAKEN)
            if error is not None:
                errors.append((task.task_id, error))
        crowded = self._admission.admit(
            principal.user,
            list(taken.values()),
            lambda task_ids: self._pending.union(store.known_ids(self._database.reader, task_ids)),
        )
        if not errors and not crowded:
            return list(taken.values()), []
        errors += crowded.items()
        fitting = [task for task in taken.values() if task.task_id not in crowded]
        return fitting, [_refusal(task_id, error) for task_id, error in errors]

    def _fault(self, principal: Principal, task: NewTask) -> FuncxLabError | None:
        if not _UUID.fullmatch(task.task_id):
            return InvalidRequest(f"task_id: {task.task_id[:80]!r} is not a UUID in lower case.")
        if len(task.payload) > INLINE_LIMIT:
            return PayloadTooLarge(
                f"The arguments have {len(task.payload)} bytes, the limit inside a message is "
                f"{INLINE_LIMIT}; send them as an object."
            )
        if task.object is not None:
            size = object_store.owned_size(self._database.reader, task.object.sha256, principal.user)
            if size != task.object.size:
                return _no_object(task.object.sha256)
        return None

    def _offer(
        self, endpoint_id: str, function_id: str, tasks: Sequence[NewTask], options: TaskOptions | None
    ) -> Offer | None:
        """Return leases that may leave ahead of the commit: only of ids that nobody has seen."""
        if self.dispatcher is None or (options is not None and _waits_for_commit(options)):
            return None
        if any(task.object is not None for task in tasks):
            return None  # an agent may fetch an object once the task that names it is committed
        task_ids = [task.task_id for task in tasks]
        if not self._pending.isdisjoint(task_ids) or store.known_ids(self._database.reader, task_ids):
            return None
        return self.dispatcher.offer(endpoint_id, function_id, tasks, options)


def _waits_for_commit(options: TaskOptions) -> bool:
    """Whether it runs only once, in the order of its session, or perhaps not at all."""
    is_memo = options.memo is not None and not options.fresh
    return options.at_most_once or options.session is not None or is_memo


def _check_options(options: TaskOptions | None) -> None:
    if options is not None:
        _check_names(options)
        _check_numbers(options)


def _check_names(options: TaskOptions) -> None:
    if options.session is not None and not SESSION_NAME.fullmatch(options.session):
        raise InvalidRequest(
            f"options.session={options.session[:80]!r} must be at most 64 letters, digits, _, - and dots."
        )
    if options.memo is not None and (options.session is not None or not _SHA256.fullmatch(options.memo)):
        raise InvalidRequest(
            "options.memo is a SHA-256 in hex, and goes without a session: what a session holds has no key."
        )
    if options.repeats is not None and not _UUID.fullmatch(options.repeats):
        raise InvalidRequest(f"options.repeats={options.repeats[:80]!r} is no task's id.")
    if options.requires and (why := why_not(options.requires)):
        raise InvalidRequest(f"options.{why}")
    if options.label is not None and len(options.label) > LABEL_LIMIT:
        raise InvalidRequest(f"options.label has {len(options.label)} characters; {LABEL_LIMIT} may be.")


def _check_numbers(options: TaskOptions) -> None:
    for name in ("ttl_s", "walltime_s"):
        seconds = getattr(options, name)
        if seconds is not None and not 0 < seconds <= LONGEST_S:
            raise InvalidRequest(f"options.{name}={seconds!r} must be above 0 seconds, ten years at most.")
    if not 0 <= options.retries <= RETRIES_LIMIT or (options.retries and options.at_most_once):
        raise InvalidRequest(
            f"options.retries={options.retries} must be from 0 to {RETRIES_LIMIT}, and 0 with at_most_once: "
            "a task runs again or at most once."
        )
    if options.items is not None:
        first, count, total = options.items
        if count < 1 or first + count > total:
            raise InvalidRequest(f"options.items={options.items} must be first, count and total of a map.")


def _refusals(inserted: Inserted) -> list[Refusal]:
    gone = "The task of this id ended and its retention time is over; it does not run again."
    return [
        *(_refusal(task_id, Conflict(_TAKEN)) for task_id in inserted.conflicts),
        *(_refusal(task_id, TaskGone(gone)) for task_id in inserted.gone),
        *(_refusal(task_id, _no_object("")) for task_id in inserted.bereft),
    ]


def _no_object(sha256: str) -> ObjectNotFound:
    return ObjectNotFound(f"There is no object {sha256[:80]!r} of yours; upload it first.")


def _refusal(task_id: str, error: FuncxLabError) -> Refusal:
    return Refusal(task_id, error.as_document())


def _settled(value: list[Refusal]) -> asyncio.Future[list[Refusal]]:
    future: asyncio.Future[list[Refusal]] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future
