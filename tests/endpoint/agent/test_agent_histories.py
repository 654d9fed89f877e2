"""Random histories of the real agent state against a small hub: crashes; frames lost, doubled, reordered."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from typing import Any

import pytest

from funcx_lab.protocol.messages import (
    Accepted,
    Cancel,
    Event,
    Events,
    EventsAck,
    FunctionBody,
    Heartbeat,
    Hello,
    Inventory,
    Lost,
    Outcome,
    Reconciled,
    ResultAck,
    Results,
    Stale,
    TaskItem,
    TaskOptions,
    Tasks,
    UnknownTasks,
    Welcome,
)
from funcx_lab_endpoint.agent_state import AgentState
from funcx_lab_endpoint.engine.contract import Call, CallDone, CallLost, CallOutput
from funcx_lab_endpoint.holdings import Holdings
from funcx_lab_endpoint.instructions import CancelCall, Reconnect, Save, Send, Submit

BODY = b"def f(): pass"
FUNCTION = FunctionBody("f", hashlib.sha256(BODY).hexdigest(), "funcx-lab", "f", BODY)
TASKS = [f"t{number}" for number in range(6)]
FINAL = ("done", "cancelled", "lost-unknown", "poisoned")


class Hub:
    """One row a task; each message is judged and committed at once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows: dict[str, dict[str, Any]] = {}
        self.boot = 0
        self.crash(keep=1.0)

    def crash(self, keep: float) -> None:
        """Lose the session, and inserts that were not yet on disk; their clients will send them again."""
        self.boot += 1
        self.counter = itertools.count(1)
        self.session = 0
        self.spool = ""
        self.ready = False
        for task_id, row in list(self.rows.items()):
            # What came after the insert was committed after it.
            fresh = row["state"] in ("queued", "leased") and not row["losses"] and not row["events"]
            if row["amo"]:  # committed before it leaves
                fresh = row["tag"] == 0
            if fresh and self.world.random.random() > keep:
                del self.rows[task_id]

    def number(self) -> int:
        return self.boot << 40 | next(self.counter)

    def submit(self, task_id: str) -> None:
        amo = task_id in self.world.amo
        self.rows.setdefault(
            task_id, {"state": "queued", "tag": 0, "losses": set(), "events": {}, "amo": amo}
        )

    def cancel(self, task_id: str) -> None:
        row = self.rows.get(task_id)
        if row and row["state"] not in FINAL:
            self.end(row, "cancelled", None)
            self.world.to_agent(Cancel(self.session, [(task_id, row["tag"])]))

    def end(self, row: dict[str, Any], state: str, result: Any) -> None:
        assert row["state"] not in FINAL
        row.update(state=state, result=result)

    def dispatch(self) -> None:
        if not self.ready:
            return
        for task_id, row in self.rows.items():
            fresh = row["state"] == "queued"
            if fresh:
                row.update(state="leased", tag=self.number(), session=self.session, spool=self.spool)
            if fresh or (row["state"] == "leased" and self.world.random.random() < 0.2):
                options = TaskOptions(at_most_once=row["amo"])
                item = TaskItem(task_id, row["tag"], "f", options=options)
                self.world.to_agent(Tasks(row["session"], [FUNCTION], [item]))

    def receive(self, message: Any) -> None:
        if isinstance(message, Hello):
            self.session, self.spool, self.ready = self.number(), message.spool, False
            self.world.to_agent(Welcome(self.session, message.nonce))
        elif message.session != self.session and isinstance(message, (Heartbeat, Inventory)):
            self.world.to_agent(Stale(message.session))
        elif isinstance(message, Inventory) and not self.ready:
            self.reconcile(dict(message.tasks))
        elif isinstance(message, Accepted):
            for task_id, tag in message.tasks:
                row = self.rows.get(task_id)
                if (
                    row
                    and row["state"] == "leased"
                    and row["tag"] == tag
                    and row["session"] == message.session
                ):
                    row["state"] = "accepted"
        elif isinstance(message, Events):
            self.events(message.session, message.batches)
        elif isinstance(message, Results):
            self.results(message)
        elif isinstance(message, Lost):
            self.losses(message)

    def reconcile(self, held: dict[str, int]) -> None:
        unknown, drop = [], []
        for task_id, row in self.rows.items():
            if row["state"] in ("leased", "accepted") and row["session"] < self.session:
                if held.get(task_id) == row["tag"]:
                    row.update(state="accepted", session=self.session)
                elif row["amo"] and row["spool"] != self.spool:
                    self.end(row, "lost-unknown", None)
                else:
                    row["state"] = "queued"
        for task_id, tag in held.items():
            row = self.rows.get(task_id)
            if row is None:
                unknown.append((task_id, tag))
            elif row["state"] in FINAL:
                drop.append((task_id, tag))
        self.ready = True
        self.world.to_agent(Reconciled(self.session, unknown, drop))

    def events(self, session: int, batches: list[Any]) -> None:
        for batch in batches:
            row = self.rows.get(batch.task_id)
            if row is None:
                continue
            stored = row["events"].setdefault(batch.execution, {})
            for number, event in enumerate(batch.events, batch.first):
                stored.setdefault(number, event.data)
            # Only what joins up is acknowledged: an earlier frame may be lost or late.
            below = next(number for number in itertools.count() if number not in stored)
            self.world.to_agent(EventsAck(session, [(batch.task_id, batch.execution, below)]))

    def results(self, message: Results) -> None:
        acked = []
        for item in message.results:
            row = self.rows.get(item.task_id)
            if row is None:
                self.world.to_agent(UnknownTasks(message.session, [(item.task_id, item.tag)]))
                continue
            if row["state"] not in FINAL:
                if item.events:
                    self.events(message.session, [item.events])
                self.end(row, "done", item)
            acked.append((item.task_id, item.execution))
        self.world.to_agent(ResultAck(message.session, acked))

    def losses(self, message: Lost) -> None:
        for task_id, tag, execution, _ in message.tasks:
            row = self.rows.get(task_id)
            if row and row["state"] not in FINAL:
                row["losses"].add(execution)
                if len(row["losses"]) >= 3:
                    self.end(row, "poisoned", None)
                elif row["tag"] == tag:
                    row["state"] = "queued"
            self.world.to_agent(ResultAck(message.session, [(task_id, execution)]))


class World:
    """A hub, an agent with a make-believe engine, and a bad network."""

    def __init__(self, seed: int, *, calm: bool = False) -> None:
        self.random = random.Random(seed)
        self.calm = calm
        self.now = 0.0
        self.amo = {task_id for task_id in TASKS if self.random.random() < 0.3}
        self.started: Counter[str] = Counter()
        self.values: dict[str, str] = {}
        self.network: list[tuple[str, Any]] = []
        self.lives = itertools.count(1)
        self.executions = itertools.count(1)
        self.hub = Hub(self)
        self.new_agent()

    def new_agent(self) -> None:
        name = f"life{next(self.lives)}"
        nonces = (f"{name}-{number}" for number in itertools.count())
        self.holdings = Holdings(name)
        self.agent = AgentState(instance=name, holdings=self.holdings, new_nonce=lambda: next(nonces))
        self.queued: list[Call] = []
        self.running: dict[str, tuple[Call, str, int]] = {}
        self.network = [each for each in self.network if each[0] == "hub"]
        self.agent.link_up(self.now)

    def to_agent(self, message: Any) -> None:
        self.network.append(("agent", message))

    def perform(self) -> None:
        for each in self.agent.turn(self.now):
            match each:
                case Send(message):
                    self.network.append(("hub", message))
                case Submit(calls):
                    self.queued += calls
                case CancelCall(task_id):
                    self.queued = [call for call in self.queued if call.task_id != task_id]
                    self.running.pop(task_id, None)
                case Save(number):
                    self.agent.saved(number)
                case Reconnect():
                    self.agent.link_down()
                    self.agent.link_up(self.now)

    def deliver(self) -> None:
        if not self.network:
            return
        index = 0 if self.calm else self.random.randrange(len(self.network))
        to, message = self.network.pop(index)
        luck = 1.0 if self.calm else self.random.random()
        if luck < 0.1:
            return
        if luck < 0.3:
            self.network.append((to, message))
        if to == "hub":
            self.hub.receive(message)
        else:
            self.agent.receive(message, self.now)

    def work(self) -> None:
        """Start a call or take a running one a step further."""
        if self.queued and self.random.random() < 0.5:
            call = self.queued.pop(0)
            execution = f"e{next(self.executions)}"
            assert call.task_id not in self.running, "the same task runs twice in one agent"
            self.running[call.task_id] = (call, execution, 0)
            self.started[call.task_id] += 1
        elif self.running:
            task_id = self.random.choice(list(self.running))
            call, execution, said = self.running[task_id]
            luck = self.random.random()
            if luck < 0.4 and said < 3:
                event = Event(0.0, "stdout", f"{execution}-{said}")
                self.running[task_id] = (call, execution, said + 1)
                self.agent.engine_fact(CallOutput(task_id, execution, said, [event]))
            elif luck < 0.5 and not self.calm and not call.options.at_most_once:
                del self.running[task_id]
                self.agent.engine_fact(CallLost(task_id, call.tag, execution, "killed"))
            elif luck > 0.6:
                del self.running[task_id]
                self.values[execution] = task_id
                last = [Event(0.0, "stdout", f"{execution}-{said}")]
                outcome = Outcome(ok=True, payload=execution.encode())
                self.agent.engine_fact(CallDone(task_id, call.tag, execution, outcome, said, last))

    def fault(self, luck: float) -> None:
        if luck < 0.01:
            self.hub.crash(keep=0.4)
        elif luck < 0.015:
            self.new_agent()
        elif luck < 0.03:
            self.agent.link_down()
            self.agent.link_up(self.now)
        else:
            self.hub.cancel(self.random.choice(TASKS))

    def step(self) -> None:
        self.now += 1.0 if self.calm else self.random.random()
        luck = self.random.random()
        if luck < 0.035:
            if not self.calm:
                self.fault(luck)
        elif luck < 0.1:
            for task_id in TASKS:
                self.hub.submit(task_id)
        elif luck < 0.3:
            self.hub.dispatch()
        elif luck < 0.5:
            self.work()
        elif luck < 0.6:
            self.agent.tick(self.now)
            if self.agent.beat_due(self.now):
                self.agent.beat({}, self.now)
        else:
            self.deliver()
        self.perform()

    def check(self) -> None:
        for task_id, row in self.hub.rows.items():
            assert row["state"] in FINAL, (task_id, row)
            if row["amo"]:
                assert self.started[task_id] <= 1, "at_most_once started twice"
            else:
                assert row["state"] != "lost-unknown"
            if row["state"] == "done":
                execution = row["result"].execution
                assert self.values[execution] == task_id
                assert row["result"].outcome.payload == execution.encode()
                shown = row["events"][execution]
                assert sorted(shown.values()) == [f"{execution}-{n}" for n in range(len(shown))], (
                    "output lost"
                )
        assert set(self.hub.rows) == set(TASKS)
        assert len(self.holdings) == 0
        assert self.holdings.losses == {}


@pytest.mark.parametrize("block", range(4))
def test_every_task_ends_once_whatever_fails(block: int) -> None:
    for seed in range(block * 50, block * 50 + 50):
        world = World(seed)
        for _ in range(600):
            world.step()
        world.calm = True
        for _ in range(3000):
            world.step()
        try:
            world.check()
        except AssertionError as err:
            raise AssertionError(f"seed {seed}: {err}") from err
