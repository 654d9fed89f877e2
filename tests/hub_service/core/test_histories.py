"""Random histories: the service's half of the link against a toy agent over a network that loses,
repeats and reorders, with crashes of the service (what was not committed is gone), of the agent (all
is gone) and a full disk. In the end every accepted task has exactly one outcome, told once.
"""

from __future__ import annotations

import asyncio
import collections
import random
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from funcx_lab.errors import StorageFull
from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import (
    Accepted,
    Cancel,
    Heartbeat,
    Hello,
    Inventory,
    Lost,
    Outcome,
    Reconciled,
    Refused,
    ResultAck,
    ResultItem,
    Results,
    Stale,
    TaskItem,
    TaskOptions,
    UnknownTasks,
    Welcome,
    agent_codec,
    forwarder_codec,
)
from funcx_lab.protocol.messages import (
    Tasks as TasksMessage,
)
from funcx_lab.protocol.states import ALLOWED_MOVES, TaskState
from funcx_lab.protocol.stream import NewTask, OutcomeItem
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.endpoints import Endpoints
from funcx_lab_hub_service.feed import Feed
from funcx_lab_hub_service.forwarder import forwarder as forwarder_module
from funcx_lab_hub_service.functions import Functions
from funcx_lab_hub_service.store.schema import migrate
from funcx_lab_hub_service.tasks import Tasks

ME, KEY, GROUP = Principal("me"), "k" * 40, "00000000-0000-0000-0000-000000000001"
TASKS, STEPS, CALM = 8, 400, 6000


class SteppedDatabase:
    """A writer that commits when the history says so, and forgets the rest in a crash."""

    def __init__(self, connection: sqlite3.Connection, boot: int) -> None:
        self.reader, self.boot, self.queue = connection, boot, collections.deque[Any]()

    def submit(self, operation: Any, done: Any, *, patience_s: float = 0.0) -> None:
        self.queue.append((operation, done))

    def write(self, operation: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(operation(self.reader))
        return future

    def commit(self, count: int, full: bool) -> None:
        for _ in range(min(count, len(self.queue))):
            operation, done = self.queue.popleft()
            if full:
                done(None, StorageFull())
            else:
                done(operation(self.reader), None)


class ToyAgent:
    """The agent's rules, in memory only."""

    def __init__(self, world: World, life: int) -> None:
        self.world, self.instance, self.session, self.nonce = world, f"life {life}", 0, ""
        self.ready, self.runs, self.held, self.losses = False, 0, {}, {}
        self.seen: set[tuple[str, int]] = set()

    def send(self, message: Any) -> None:
        self.world.network.append(("hub", agent_codec.encode(message)))

    def act(self, r: random.Random) -> None:
        if not self.session:
            self.nonce = self.nonce or f"{self.instance} {self.world.clock}"
            self.send(Hello(PROTOCOL_VERSION, self.nonce, self.instance, self.instance))
            return
        if not self.ready:
            self.send(Inventory(self.session, [(task_id, held.tag) for task_id, held in self.held.items()]))
        self.send(Heartbeat(self.session, {"credit": r.choice((0, 1, 3, 20)) if not self.world.calm else 20}))
        for task_id, held in list(self.held.items()):
            if held.result is None and not held.orphan and r.random() < 0.5:
                self.run(task_id, held, r)
            elif held.orphan and r.random() < 0.02:
                del self.held[task_id]
            elif held.result is not None and not held.orphan and r.random() < 0.7:
                item = ResultItem(task_id, held.tag, held.execution, Outcome(True, held.result))
                self.send(Results(self.session, [item]))
        for (task_id, execution), tag in self.losses.items():
            self.send(Lost(self.session, [(task_id, tag, execution, "killed")]))

    def run(self, task_id: str, held: Any, r: random.Random) -> None:
        self.runs += 1
        execution = f"{self.instance} run {self.runs}"
        self.world.starts[task_id] += 1
        if task_id in self.world.deadly or (r.random() < 0.1 and not held.once):
            del self.held[task_id]
            self.losses[task_id, execution] = held.tag
        else:
            held.execution, held.result = execution, execution.encode()

    def receive(self, data: bytes) -> None:  # noqa: C901  # one case a message
        match forwarder_codec.decode(data):
            case Welcome(session, nonce) if not self.session and nonce == self.nonce:
                self.session, self.ready, self.seen = session, False, set()
            case Refused(nonce) if nonce == self.nonce:
                self.nonce = ""
            case Stale(session) if session == self.session:
                self.session, self.nonce = 0, ""
            case Reconciled(session, unknown, drop) if session == self.session and not self.ready:
                self.ready = True
                for held in self.held.values():
                    held.orphan = False
                self.verdict(unknown, drop)
            case UnknownTasks(session, tasks) if session == self.session:
                self.verdict(tasks, [])
            case Cancel(session, tasks) if session == self.session:
                self.verdict([], tasks)
            case TasksMessage(session, _, tasks) if session == self.session:
                for task in tasks:
                    self.take(task)
            case ResultAck(_, results):
                for task_id, execution in results:
                    self.losses.pop((task_id, execution), None)
                    if task_id in self.held and self.held[task_id].execution == execution:
                        del self.held[task_id]

    def take(self, task: TaskItem) -> None:
        held, lease = self.held.get(task.task_id), (task.task_id, task.tag)
        if held is None:
            if lease in self.seen:
                return
            once = task.options is not None and task.options.at_most_once
            held = SimpleNamespace(tag=task.tag, result=None, execution=None, orphan=False, once=once)
            self.held[task.task_id] = held
        elif task.tag > held.tag:
            held.tag, held.orphan = task.tag, False
        self.seen.add(lease)
        if held.tag == task.tag:
            self.send(Accepted(self.session, [lease]))

    def verdict(self, unknown: list[Any], drop: list[Any]) -> None:
        for leases, is_drop in ((unknown, False), (drop, True)):
            for task_id, tag in leases:
                held = self.held.get(task_id)
                if held is not None and held.tag == tag:
                    if not is_drop:
                        held.orphan = True
                    elif held.result is None:
                        del self.held[task_id]


class World:
    """One history."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.r = random.Random(seed)
        self.directory, self.network, self.clock, self.calm = directory, [], 0.0, False
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.connection)
        self.task_ids = [f"{seed:08x}-0000-0000-0000-{number:012x}" for number in range(TASKS)]
        self.deadly = {task_id for task_id in self.task_ids if self.r.random() < 0.15}
        self.once = {task_id for task_id in self.task_ids if self.r.random() < 0.25}
        self.starts: collections.Counter[str] = collections.Counter()
        self.acked: set[str] = set()
        self.told: dict[str, OutcomeItem] = {}
        self.shown: dict[str, TaskState] = {}
        self.boot = self.lives = 0

    async def start_service(self) -> None:
        self.boot += 1
        self.database: Any = SteppedDatabase(self.connection, self.boot)
        self.endpoints, functions, feed = Endpoints(self.database), Functions(self.database), Feed()
        self.endpoints.start()
        if self.boot == 1:
            self.endpoint_id, token = await self.endpoints.register(ME, "box")
            await self.endpoints.enrol(self.endpoint_id, token, KEY)
            self.function_id = await functions.register(ME, "f", b"body", "globus")
        self.tasks = Tasks(self.database, self.endpoints, functions, feed)
        feed.group("me", GROUP, self.tell)
        self.forwarder = forwarder_module.Forwarder(
            self.tasks, self.endpoints, functions, boot=self.boot, key_file=self.directory / "key"
        )
        self.tasks.attach(self.forwarder)

    def tell(self, items: list[OutcomeItem]) -> None:
        for item in items:
            assert item.task_id not in self.told, "an outcome was told twice"
            self.told[item.task_id] = item

    def submit(self) -> None:
        task_id = self.r.choice(self.task_ids)
        options = TaskOptions(at_most_once=True) if task_id in self.once else None
        answer = self.tasks.submit(ME, "box", self.function_id, GROUP, [NewTask(task_id, b"in")], options)
        database = self.database

        def acked(future: asyncio.Future[Any]) -> None:
            if database is self.database and not future.cancelled() and future.exception() is None:
                assert future.result() == []
                self.acked.add(task_id)

        answer.add_done_callback(acked)

    def deliver(self) -> None:
        if not self.network:
            return
        place, chance = self.r.randrange(len(self.network)), 1.0 if self.calm else self.r.random()
        to, data = self.network[place]
        if chance > 0.1:  # else it stays, and comes once more
            self.network[place] = self.network[-1]
            self.network.pop()
        if 0.1 < chance < 0.2:
            return  # lost
        if to == "hub":
            self.forwarder._on_frame(b"peer", KEY, memoryview(data))
        elif to == "agent":
            self.agent.receive(data)

    async def fault(self) -> None:
        chance = self.r.random()
        if chance < 0.4:
            self.database.commit(self.r.choice((0, 0, 1, 3)), False)
            await self.start_service()
        elif chance < 0.7:
            self.start_agent()
        elif chance < 0.85:
            self.network.clear()
        else:
            self.clock += 20

    def start_agent(self) -> None:
        self.lives += 1
        self.agent = ToyAgent(self, self.lives)

    async def step(self) -> None:
        self.clock += 0.2
        chance = self.r.random()
        if (chance < 0.08 and not self.calm) or (self.calm and chance < 0.05 and len(self.acked) < TASKS):
            self.submit()
        elif chance < 0.3:
            self.database.commit(self.r.randint(1, 5), not self.calm and self.r.random() < 0.05)
        elif chance < 0.4 and len(self.network) < 60:
            self.agent.act(self.r)
        elif chance < 0.45:
            self.forwarder.tick(self.clock)
        elif chance < 0.46 and not self.calm:
            await self.fault()
        else:
            self.deliver()
        await asyncio.sleep(0)

    async def run(self) -> None:
        await self.start_service()
        self.start_agent()
        for number in range(STEPS):
            await self.step()
            if number % 10 == 0:
                self.look()
        self.calm = True
        for _ in range(CALM):
            await self.step()
            if len(self.acked) == TASKS and self.open() == 0 and not self.agent.held:
                break
        self.look()
        self.check()

    def look(self) -> None:
        """See what a person would see, and hold it against what was seen before."""
        for record in self.tasks.records(ME):
            before = self.shown.get(record.task_id, record.state)
            move = f"{record.task_id} moved from {before} to {record.state}"
            assert record.state == before or record.state in ALLOWED_MOVES[before], move
            self.shown[record.task_id] = record.state

    def open(self) -> int:
        return int(self.connection.execute("SELECT count(*) FROM tasks WHERE state < 5").fetchone()[0])

    def check(self) -> None:
        assert self.acked == set(self.task_ids)
        assert self.open() == 0, "a task has no outcome"
        assert not self.agent.held, "the agent keeps what nobody wants"
        for item in self.tasks.outcomes_after(ME, GROUP, 0):
            told = self.told.get(item.task_id)  # None: it was committed in the moment of a crash
            assert told is None or told == item, "an outcome changed"
            if item.error is not None:
                poisoned = item.error.code == "TASK_POISONED"
                assert poisoned or (item.error.code == "LOST_UNKNOWN" and item.task_id in self.once)
        for task_id in self.once - self.deadly:
            assert self.starts[task_id] <= 1, "at_most_once started twice"
        for record in self.tasks.records(ME):
            assert record.losses <= 3
        counted = dict(self.connection.execute("SELECT state, count(*) FROM tasks GROUP BY state"))
        tallied = dict(self.connection.execute("SELECT state, count(*) FROM tasks GROUP BY state"))
        assert counted == tallied


@pytest.fixture
def stand_in_socket(monkeypatch: pytest.MonkeyPatch) -> dict[str, World]:
    worlds: dict[str, World] = {}

    class Socket:
        malformed = 0

        def __init__(self, *_: Any) -> None:
            pass

        def send(self, peer: bytes, data: bytes) -> bool:
            worlds["now"].network.append(("agent", data))
            return True

    monkeypatch.setattr(forwarder_module, "AgentSocket", Socket)
    clock = SimpleNamespace(monotonic=lambda: worlds["now"].clock, time=lambda: worlds["now"].clock)
    monkeypatch.setattr(forwarder_module, "time", clock)
    return worlds


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_every_accepted_task_ends_once(stand_in_socket: dict[str, World], first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 50):
        world = stand_in_socket["now"] = World(seed, tmp_path)
        try:
            asyncio.run(world.run())
        except AssertionError as error:
            raise AssertionError(f"history {seed}: {error}") from error
        finally:
            world.connection.close()
