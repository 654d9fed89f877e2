"""Calls wait, none runs, nothing moves: whatever the cause, the engine is started anew."""

import pytest

from funcx_lab.protocol.messages import FunctionBody
from funcx_lab_endpoint.engine import stall
from funcx_lab_endpoint.engine.contract import Call, CallDone
from funcx_lab_endpoint.engine.progress import EndBlock, Progress
from funcx_lab_endpoint.engine.roster import Roster
from funcx_lab_endpoint.engine.sessions import Sessions
from funcx_lab_endpoint.engine.stall import MOST_DOUBLINGS, STALL_S, START_STALL_S, EndAll, Stall, Watchdog
from funcx_lab_endpoint.engine.vitals import DOUBT_S
from funcx_lab_endpoint.worker import messages as m

CONNECTED = {"managers": 1, "blocks": {"0": {"state": "running"}}}
STARTING = {"managers": 0, "blocks": {"0": {"state": "running"}}}
QUEUED = {"managers": 0, "blocks": {"0": {"state": "pending"}}}
NO_BLOCK = {"managers": 0, "blocks": {}}


class World:
    """The engine's books, with a watchdog that looks every half second."""

    def __init__(self):
        self.sessions, self.roster = Sessions(), Roster()
        self.sessions.learn(FunctionBody("f", "", "", "f", b""))
        self.watchdog = Watchdog(Progress(), self.sessions, self.roster, lambda sid: "node")
        self.now = 100.0
        self.watchdog.restart(self.now)

    def submit(self, *names):
        self.sessions.submit([Call(name, 1, "f") for name in names])

    def up(self, sid):
        self.roster.ask(sid, "engine", self.now)
        self.roster[sid].is_up, self.roster[sid].heard = True, self.now
        self.sessions.up(sid, {}, self.now)

    def until_fault(self, report=CONNECTED, *, limit=300.0, silent=()):
        """Look until there is a fault; return it and after how many seconds."""
        since = self.now
        while self.now < since + limit:
            self.now += 0.5
            for sid, entry in self.roster:
                entry.heard = entry.heard if sid in silent else self.now
            fault = self.watchdog.look(self.now, report, "engine")
            if fault is not None:
                return fault, self.now - since
        return None, limit


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("report", [CONNECTED, NO_BLOCK, {}], ids=["connected", "no block", "no word"])
def test_calls_without_any_session_end_the_engine(world, report):
    world.submit("a", "b")
    fault, seconds = world.until_fault(report)
    assert isinstance(fault, EndAll)
    assert "2 calls wait" in fault.reason
    assert STALL_S < seconds < STALL_S + 2


def test_session_that_holds_calls_and_starts_none_ends_the_engine_although_it_is_heard(world):
    world.up("s")
    world.submit("a", "b")
    fault, seconds = world.until_fault()
    assert isinstance(fault, EndAll)
    assert seconds < STALL_S + 2


def test_calls_behind_sessions_that_are_leaving_end_the_engine(world):
    world.up("s")
    world.sessions.retire("s")
    world.submit("a")
    assert isinstance(world.until_fault()[0], EndAll)


def test_more_calls_are_no_move(world):
    for number in range(int(STALL_S) + 2):
        world.submit(f"call {number}")
        if world.until_fault(limit=1.0)[0] is not None:
            return
    pytest.fail("calls that came in passed for progress")


def test_nothing_to_do_is_no_stall(world):
    world.up("s")
    assert world.until_fault() == (None, 300.0)
    world.submit("a")
    assert world.until_fault()[1] > STALL_S  # counted from when there was a call


def test_call_that_runs_for_long_is_no_stall(world):
    world.up("s")
    world.submit("a", "b")
    world.sessions.take("s", [m.Started(1, 0.0)], world.now)
    assert world.until_fault() == (None, 300.0)


def test_silent_session_whose_connection_stands_may_keep_the_gil(world):
    world.up("s")
    world.submit("a")
    assert world.until_fault(silent=["s"]) == (None, 300.0)
    world.roster["s"].is_connected = False
    assert isinstance(world.until_fault(silent=["s"])[0], EndAll)


def test_session_silent_for_a_moment_is_none_that_may_run(world):
    world.up("s")
    world.submit("a")
    assert isinstance(world.until_fault(limit=STALL_S + DOUBT_S)[0], EndAll)


@pytest.mark.parametrize("move", ["up", "lost", "done"])
def test_each_move_gives_another_minute(world, move):
    world.up("s")
    world.submit("a", "b")
    assert world.until_fault(limit=STALL_S - 5)[0] is None
    if move == "up":
        world.up("another")
    elif move == "lost":
        world.sessions.lost("s", "gone")
        world.roster.drop("s", "node", "engine", world.now)
    else:
        world.sessions.take("s", [m.Done(1, True, b"", None, 0.0, 0.0, 0.0)], world.now)
    fault, seconds = world.until_fault()
    assert isinstance(fault, EndAll)
    assert seconds > STALL_S


def test_time_in_the_queue_of_a_batch_system_does_not_count(world):
    world.submit("a")
    assert world.until_fault(STARTING, limit=START_STALL_S - 10)[0] is None
    assert world.until_fault(QUEUED, limit=5000.0)[0] is None
    fault, seconds = world.until_fault(STARTING)
    assert isinstance(fault, EndAll)
    assert seconds < 15


def test_blocks_that_fail_for_ever_end_the_engine_in_the_end(world):
    world.submit("a")
    report = {**NO_BLOCK, "trouble": "block 7 failed"}
    fault, seconds = world.until_fault(report, limit=1000.0)
    assert isinstance(fault, EndAll)
    assert START_STALL_S <= seconds < START_STALL_S + 2


def test_next_engine_in_a_row_has_twice_the_time_up_to_an_hour(world):
    world.submit("a")
    waits = []
    for _ in range(MOST_DOUBLINGS + 2):
        waits.append(world.until_fault(limit=5000.0)[1])
        world.watchdog.restart(world.now)
    assert 2 * STALL_S < waits[1] < 2 * STALL_S + 2
    assert 3600 < waits[-2] < waits[-1] + 2 < 4000


def test_moment_between_a_late_block_and_the_next_does_not_count_for_more(world):
    world.submit("a")
    assert world.until_fault(STARTING, limit=START_STALL_S / 2)[0] is None
    assert world.until_fault(NO_BLOCK, limit=STALL_S / 4)[0] is None
    assert world.until_fault(STARTING, limit=START_STALL_S / 8)[0] is None


def test_time_in_which_nobody_looked_does_not_count():
    watch = Stall()
    watch.restart(0.0)
    assert watch.look(1.0, CONNECTED, calls=1, moves=0, may_run=False) is None
    assert watch.look(3600.0, CONNECTED, calls=1, moves=0, may_run=False) is None


def test_block_that_sits_on_sessions_is_ended_before_the_engine(world):
    report = {**CONNECTED, "nodes": {"node": {"block": "0", "tasks": 1, "workers": 1}}, "workers": 1}
    world.roster.ask("s", "engine", world.now)
    world.watchdog._progress.lost_idle_worker("node")
    world.submit("a")
    assert isinstance(world.until_fault(report)[0], EndBlock)
    assert world.until_fault(NO_BLOCK)[1] > STALL_S


def test_calls_that_a_session_was_never_sent_are_run_by_the_next_engine(make_driver, monkeypatch):
    """A real engine and worker that hear each other, while what they believe of the calls differs."""
    monkeypatch.setattr(stall, "STALL_S", 3.0)
    driver = make_driver()
    driver.value(len, "warm")
    channel = driver.host._pool.channel
    monkeypatch.setattr(channel, "send", lambda *_: None)
    tasks = [driver.submit(len, "abc") for _ in range(3)]
    driver.until(lambda: driver.host.status()["restarts"] == 1, limit=20)
    monkeypatch.undo()
    for task_id in tasks:
        assert isinstance(driver.end_of(task_id), CallDone)
    assert driver.host.status()["restarts"] == 1
