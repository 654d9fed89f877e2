"""Random lives of tasks on the real store and rules, each step held against a plain model of them."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from funcx_lab.errors import TaskGone, TaskNotFound
from funcx_lab.protocol.messages import ErrorInfo, Event, EventBatch, Outcome, ResultItem, TaskOptions
from funcx_lab.protocol.states import ALLOWED_MOVES, TaskState
from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.admission import Admission, Quotas
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.endpoints import Endpoints
from funcx_lab_hub_service.feed import Feed
from funcx_lab_hub_service.functions import Functions
from funcx_lab_hub_service.store import retention, tombstones
from funcx_lab_hub_service.store.schema import migrate
from funcx_lab_hub_service.store.tasks import live_by_owner
from funcx_lab_hub_service.tasks import Tasks

ME, OTHER = Principal("me"), Principal("other")
GROUP = "00000000-0000-0000-0000-00000000000a"
#: few ids, so that they meet again
IDS = [f"00000000-0000-0000-0000-{number:012x}" for number in range(6)]
TTL_S, RETENTION_S, TOMBSTONES_S = 100.0, 50.0, 200.0
QUOTA = 4
#: states that a model task is in besides the final ones
ABSENT, LIVE, GONE = "absent", "live", "gone"


class DirectDatabase:
    """A store in memory that commits each operation at once, or loses it."""

    def __init__(self, connection: sqlite3.Connection, boot: int) -> None:
        self.reader, self.boot = connection, boot
        self.loses = False

    def submit(self, operation: Any, done: Any, *, patience_s: float = 0.0) -> None:
        if self.loses:
            return
        self.reader.execute("BEGIN")
        value = operation(self.reader)
        self.reader.execute("COMMIT")
        done(value, None)

    def write(self, operation: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self.submit(operation, lambda value, error: future.set_result(value))
        return future


@dataclass
class Task:
    """What must be true of one task."""

    owner: Principal
    payload: bytes
    once: bool
    deadline: float
    phase: str = LIVE
    tag: int | None = None
    session: int = 0
    lost: set[str] = field(default_factory=set)
    outcome: Any = None
    winner: str = ""
    closed: float = 0.0


class TaskMachine(RuleBasedStateMachine):
    """Submits, leases, results, losses, cancels, inventories, time and crashes in any order."""

    template: sqlite3.Connection

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        self.template.backup(self.connection)
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.now, self.boot, self.session = 1000.0, 0, 1
        self.tags = itertools.count(1)
        self.spool = "spool"
        self.model: dict[str, Task] = {}
        self.purged: dict[str, tuple[Principal, float]] = {}
        self.shown: dict[str, TaskState] = {}
        self.late: Counter[str] = Counter()
        self.offers = False
        self.start()

    def teardown(self) -> None:
        self.connection.close()
        self.loop.close()

    def start(self) -> None:
        self.boot += 1
        self.session = self.boot << 40
        self.connection.execute(
            "INSERT INTO sessions VALUES (?, 1, 'i', ?, ?)", (self.session, self.spool, self.now)
        )
        self.database: Any = DirectDatabase(self.connection, self.boot)
        self.endpoints, functions = Endpoints(self.database), Functions(self.database)
        self.endpoints.start()
        self.function_id = functions.list(ME)[0].function_id
        self.route = {ME: ("box", self.function_id), OTHER: ("theirs", functions.list(OTHER)[0].function_id)}
        self.admission = Admission(Quotas(user_tasks=QUOTA), live_by_owner(self.connection))
        self.tasks = Tasks(
            *(self.database, self.endpoints, functions, Feed()),
            admission=self.admission,
            clock=lambda: self.now,
        )
        self.tasks.attach(
            SimpleNamespace(
                offer=self.offer, queued=lambda *_: None, withdraw=lambda *_: None, cancelled=lambda *_: None
            )
        )

    def offer(self, endpoint_id: str, function_id: str, tasks: Any, options: Any) -> Any:
        for task in tasks:  # a known or purged id must never leave ahead of its commit
            assert task.task_id not in self.purged
            assert task.task_id not in self.model
        if not self.offers:
            return None
        tags = [next(self.tags) for _ in tasks[:1]]
        return SimpleNamespace(session=self.session, tags=tags, send=lambda: None)

    def run(self, call: Callable[[], Any]) -> Any:
        async def main() -> Any:
            value = call()
            return await value if asyncio.isfuture(value) or asyncio.iscoroutine(value) else value

        return self.loop.run_until_complete(main())

    def live(self, owner: Principal) -> list[str]:
        return [task_id for task_id, task in self.model.items() if task.owner == owner and task.phase == LIVE]

    # --- what may happen ----------------------------------------------------------------------------

    @rule(
        task_ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True),
        owner=st.sampled_from([ME, ME, ME, OTHER]),
        payload=st.sampled_from([b"a", b"a", b"bb"]),
        once=st.booleans(),
        ttl=st.sampled_from([None, None, 10.0, 500.0]),
        offers=st.booleans(),
        lost=st.sampled_from([False] * 9 + [True]),
    )
    def submit(
        self,
        task_ids: list[str],
        owner: Principal,
        payload: bytes,
        once: bool,
        ttl: float | None,
        offers: bool,
        lost: bool,
    ) -> None:
        options = TaskOptions(at_most_once=once, ttl_s=ttl)
        self.offers, self.database.loses = offers and owner is ME, lost
        new = [NewTask(task_id, payload) for task_id in task_ids]
        call = lambda: self.tasks.submit(owner, *self.route[owner], GROUP, new, options)  # noqa: E731
        if lost:
            self.run(lambda: call() and None)
            self.start()
            return
        refused = {refusal.task_id: refusal.error["code"] for refusal in self.run(call)}
        open_before = len(self.live(owner))
        for task_id in task_ids:
            code = self.expected(task_id, owner, payload)
            if refused.get(task_id) == "TOO_MANY_REQUESTS":
                assert task_id not in self.model
                assert open_before + len(new) > QUOTA
                continue
            assert refused.get(task_id, "") == code
            if task_id not in self.model and not code:
                deadline = self.now + (TTL_S if ttl is None else ttl)
                self.model[task_id] = Task(owner, payload, once, deadline)
        self.adopt_leases()

    def expected(self, task_id: str, owner: Principal, payload: bytes) -> str:
        if task_id in self.purged:
            return "TASK_GONE" if self.purged[task_id][0] == owner else "CONFLICT"
        known = self.model.get(task_id)
        same = known is None or (known.owner, known.payload) == (owner, payload)
        return "" if same else "CONFLICT"

    def adopt_leases(self) -> None:
        """Take over which lease each live task is out under."""
        for task_id, tag, session in self.connection.execute(
            "SELECT task_id, tag, session FROM tasks WHERE outcome_seq IS NULL"
        ):
            self.model[task_id].tag, self.model[task_id].session = tag, session or 0

    @rule(count=st.integers(1, 3))
    def lease(self, count: int) -> None:
        tags = [next(self.tags) for _ in range(count)]
        queued = [task_id for task_id in self.live(ME) if self.model[task_id].tag is None]
        found: list[Any] = []
        endpoint = self.endpoints.resolve(ME, "box")
        self.run(lambda: self.tasks.facts.lease_queued(endpoint, self.session, tags, 1000, found.append))
        items, exhausted = found[0]
        assert len(items) == min(count, len(queued))
        assert {item.task_id for item in items} <= set(queued)
        assert exhausted == (len(queued) <= count)
        self.adopt_leases()

    @rule(
        task_id=st.sampled_from(IDS),
        execution=st.sampled_from(["e1", "e2", "e3"]),
        ok=st.booleans(),
        foreign=st.sampled_from([False] * 5 + [True]),
    )
    def result(self, task_id: str, execution: str, ok: bool, foreign: bool) -> None:
        error = None if ok else ErrorInfo("TASK_FAILED", "no", "ValueError")
        outcome = Outcome(ok, execution.encode(), None, error, 1.0, 2.0)
        batch = EventBatch(task_id, execution, 0, [Event(1.0, "stdout", execution)])
        endpoint = self.endpoints.resolve(OTHER, "theirs") if foreign else self.endpoints.resolve(ME, "box")
        found: list[Any] = []
        item = ResultItem(task_id, 0, execution, outcome, batch)
        self.run(lambda: self.tasks.facts.store_results(endpoint, [item], found.append))
        task = self.model.get(task_id)
        if task_id in self.purged:
            self.late[self.purged[task_id][0].user] += 1
        if task is None and task_id not in self.purged:
            assert (found[0].acked, found[0].unknown) == ([], [(task_id, 0)])
            return
        assert (found[0].acked, found[0].unknown) == ([(task_id, execution)], [])
        if task is None or foreign != (task.owner == OTHER):
            return
        if task.phase == LIVE:
            self.end(task_id, "success" if ok else "failed", execution)
        elif task.winner != execution:
            self.late[task.owner.user] += 1

    @rule(task_id=st.sampled_from(IDS), execution=st.sampled_from(["l1", "l2", "l3", "l4"]))
    def loss(self, task_id: str, execution: str) -> None:
        task = self.model.get(task_id)
        tag = (task.tag if task is not None else None) or 0
        found: list[Any] = []
        endpoint = self.endpoints.resolve(ME, "box")
        execution = f"{task_id} {execution}"
        losses = [(task_id, tag, execution, "signal 9")]
        self.run(lambda: self.tasks.facts.store_losses(endpoint, losses, found.append))
        assert found[0].acked == [(task_id, execution)]
        if task is None or task.phase != LIVE or task.owner is OTHER or execution in task.lost:
            assert not found[0].requeued
            return
        task.lost.add(execution)
        if len(task.lost) == 3:
            self.end(task_id, "failed", "poisoned")
        else:
            assert bool(found[0].requeued) == (task.tag is not None)
        self.adopt_leases()

    @rule(task_ids=st.lists(st.sampled_from(IDS), max_size=3), owner=st.sampled_from([ME, OTHER]))
    def cancel(self, task_ids: list[str], owner: Principal) -> None:
        cancelled = self.run(lambda: self.tasks.cancel(owner, task_ids))
        wanted = []
        for task_id in dict.fromkeys(task_ids):
            task = self.model.get(task_id)
            if task is None or task.owner != owner:
                continue
            if task.phase == LIVE:
                self.end(task_id, "cancelled", "")
            if task.phase == "cancelled":
                wanted.append(task_id)
        assert cancelled == wanted

    @rule(held=st.lists(st.sampled_from(IDS), max_size=4, unique=True), new_spool=st.booleans())
    def reconcile(self, held: list[str], new_spool: bool) -> None:
        inventory = {task_id: (self.tag_of(task_id) or 999_999) for task_id in held}
        before = {task_id: self.model[task_id].tag for task_id in self.live(ME)}
        self.session += 1
        old, self.spool = self.spool, f"spool {self.session}" if new_spool else self.spool
        endpoint = self.endpoints.resolve(ME, "box")
        self.connection.execute(
            "INSERT INTO sessions VALUES (?, 1, 'i', ?, ?)", (self.session, self.spool, self.now)
        )
        found: list[Any] = []
        self.run(
            lambda: self.tasks.facts.reconcile(endpoint, self.session, self.spool, inventory, found.append)
        )
        result = found[0]
        leased = {task_id for task_id, tag in before.items() if tag is not None}
        kept = {task_id for task_id in leased if inventory.get(task_id) == before[task_id]}
        assert {task_id for task_id, _ in result.kept} == kept
        for task_id in leased - kept:
            if self.model[task_id].once and old != self.spool:
                self.end(task_id, "failed", "unknown")
        unknown = {task_id for task_id in held if task_id not in self.model and task_id not in self.purged}
        assert {task_id for task_id, _ in result.unknown} == unknown
        live_mine = set(self.live(ME)) | {end.item.task_id for end in result.ended}
        assert {task_id for task_id, _ in result.drop} == set(held) - unknown - (
            live_mine & set(self.live(ME))
        )
        self.adopt_leases()
        assert all((self.model[task_id].tag is not None) == (task_id in kept) for task_id in self.live(ME))

    def tag_of(self, task_id: str) -> int | None:
        task = self.model.get(task_id)
        return None if task is None else task.tag

    @rule(seconds=st.sampled_from([1.0, 20.0, 40.0, 110.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.sweep()

    def sweep(self) -> None:
        ended = self.run(lambda: self.tasks.expire(TTL_S, 100))
        due = [
            task_id
            for task_id, task in self.model.items()
            if task.phase == LIVE and task.deadline <= self.now
        ]
        assert ended == len(due)
        for task_id in due:
            self.end(task_id, "expired", "")
        before = self.now - RETENTION_S
        self.connection.execute("BEGIN")
        purged, _ = retention.purge(self.connection, 0, before, self.now, 100)
        tombstones.forget(self.connection, self.now - TOMBSTONES_S, 100)
        self.connection.execute("COMMIT")
        old = [task_id for task_id, task in self.model.items() if task.phase != LIVE and task.closed < before]
        assert sorted(task_id for gone in purged.values() for task_id in gone) == sorted(old)
        for task_id in old:
            self.purged[task_id] = self.model.pop(task_id).owner, self.now
            self.shown.pop(task_id, None)
        forgotten = [task_id for task_id, (_, at) in self.purged.items() if at < self.now - TOMBSTONES_S]
        for task_id in forgotten:
            del self.purged[task_id]

    @rule()
    def crash(self) -> None:
        self.start()

    def end(self, task_id: str, state: str, winner: str) -> None:
        task = self.model[task_id]
        task.phase, task.winner, task.closed = state, winner, self.now

    # --- what must always be true -------------------------------------------------------------------

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        for task_id in IDS:
            for principal in (ME, OTHER):
                self.check_one(task_id, principal)

    def check_one(self, task_id: str, principal: Principal) -> None:
        task = self.model.get(task_id)
        outcome = self.tasks.outcome(principal, task_id)
        if task is None or task.owner != principal:
            assert outcome is None
            gone = self.purged.get(task_id, (None, 0.0))[0] == principal
            with pytest.raises(TaskGone if gone else TaskNotFound):
                self.tasks.record(principal, task_id)
            return
        record = self.tasks.record(principal, task_id)
        assert record.state.is_final == (task.phase != LIVE)
        before = self.shown.get(task_id, record.state)
        assert record.state == before or record.state in ALLOWED_MOVES[before]
        self.shown[task_id] = record.state
        if task.phase == LIVE:
            assert outcome is None
            return
        assert outcome is not None
        assert outcome.state == task.phase
        task.outcome = task.outcome or outcome
        assert outcome == task.outcome, "an outcome changed"

    @invariant()
    def nothing_is_left_over_and_all_is_counted(self) -> None:
        count = lambda query: self.connection.execute(f"SELECT count(*) FROM {query}").fetchone()[0]  # noqa: E731
        for table in ("bodies", "results", "events", "losses"):
            assert count(f"{table} WHERE task NOT IN (SELECT id FROM tasks)") == 0
        assert count("bodies") == count("tasks") == len(self.model)
        assert count("tasks WHERE (outcome_seq IS NULL) != (state < 5)") == 0
        assert dict(self.connection.execute("SELECT task_id, purged FROM tombstones")) == {
            task_id: at for task_id, (_, at) in self.purged.items()
        }
        for principal in (ME, OTHER):
            counted = self.tasks.counts(principal)
            assert sum(counted.values()) == sum(task.owner == principal for task in self.model.values())
            live = self.live(principal)
            assert len(live) <= QUOTA
            assert live_by_owner(self.connection).get(principal.user, (0, 0))[0] == len(live)
            account = self.admission._accounts.get(principal.user)
            assert (account.tasks if account else 0) == len(live)
            assert self.tasks.late_outcomes(principal) == self.late[principal.user]


def furnished() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    database: Any = DirectDatabase(connection, 0)

    async def furnish() -> None:
        endpoints, functions = Endpoints(database), Functions(database)
        for principal, name in ((ME, "box"), (OTHER, "theirs")):
            await endpoints.register(principal, name, endpoint_id=str(uuid.UUID(int=len(name))))
            await functions.register(principal, "f", b"body", "funcx-lab")

    asyncio.run(furnish())
    return connection


def test_the_rules_hold_in_any_order() -> None:
    TaskMachine.template = furnished()
    run_state_machine_as_test(
        TaskMachine,
        settings=settings(
            max_examples=200,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    TaskMachine.template.close()
