"""What an agent's next life makes of its spool, and what never reaches the disk: decisions only."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from funcx_lab.protocol.messages import (
    Cancel,
    ErrorInfo,
    Event,
    FunctionBody,
    Hello,
    Inventory,
    Lost,
    ObjectRef,
    Outcome,
    Reconciled,
    ResultAck,
    Results,
    TaskItem,
    TaskOptions,
    Tasks,
    UnknownTasks,
    Welcome,
)
from funcx_lab_endpoint.agent_state import ALONE_S, AgentState
from funcx_lab_endpoint.changes import LAZY_S, SOON_S, Change
from funcx_lab_endpoint.engine.contract import Call, CallDone, CallLost, CallOutput, CallStarted
from funcx_lab_endpoint.holdings import revive
from funcx_lab_endpoint.instructions import (
    CancelCall,
    Discard,
    GiveBack,
    Kept,
    Learn,
    Save,
    Send,
    Submit,
    Upload,
    Uploaded,
)
from funcx_lab_endpoint.work import DEATH_LIMIT

BODY = b"def f(): pass"
FUNCTION = FunctionBody("f", hashlib.sha256(BODY).hexdigest(), "funcx-lab", "f", BODY)
OK = Outcome(ok=True, payload=b"42")
ONCE = TaskOptions(at_most_once=True)
FAILED = Outcome(ok=False, error=ErrorInfo("TASK_FAILED", "boom"))


class Lives:
    """The lives of one agent, with a disk that takes whatever it is given at once unless told to wait."""

    def __init__(self) -> None:
        self.disk: dict[tuple[str, str], bytes] = {}
        self.now = 100.0
        self.slow = False
        self.orders: list[Save] = []
        self.session = 0
        self._lives = itertools.count(1)
        self.begin()

    def begin(self) -> None:
        """Begin a life with what the disk holds."""
        life = next(self._lives)
        nonces = itertools.count(1)
        entries = [Change(kind, name, data) for (kind, name), data in self.disk.items()]
        self.holdings = revive("spool", entries)
        self.orders = []
        self.state = AgentState(
            instance=f"life{life}", holdings=self.holdings, new_nonce=lambda: f"{life}-{next(nonces)}"
        )

    def write(self) -> None:
        for order in self.orders:
            if order.whole:
                self.disk.clear()
            for kind, name, data in order.changes:
                if data is None:
                    self.disk.pop((kind, name), None)
                else:
                    self.disk[kind, name] = data
        orders, self.orders = self.orders, []
        for order in orders:
            self.state.saved(order.number)

    def turn(self, later: float = 0.0) -> list[Any]:
        """Return what is done from now on until ``later`` seconds from now, but for writes."""
        self.now += later
        done: list[Any] = []
        while instructions := self.state.turn(self.now):
            self.orders += [each for each in instructions if isinstance(each, Save)]
            done += [each for each in instructions if not isinstance(each, Save)]
            if not self.slow:
                self.write()
        return done

    def calls(self, later: float = 0.0) -> list[Call]:
        return [call for each in self.turn(later) if isinstance(each, Submit) for call in each.calls]

    def sent(self, kind: type, later: float = 0.0) -> list[Any]:
        messages = [each.message for each in self.turn(later) if isinstance(each, Send)]
        return [each for each in messages if isinstance(each, kind)]

    def connect(self, unknown: Any = (), drop: Any = ()) -> Lives:
        self.session += 1
        self.state.link_up(self.now)
        (hello,) = self.sent(Hello)
        self.state.receive(Welcome(self.session, hello.nonce), self.now)
        (self.inventory,) = self.sent(Inventory)
        self.state.receive(Reconciled(self.session, list(unknown), list(drop)), self.now)
        return self

    def task(self, task_id: str = "a", tag: int = 1, **fields: Any) -> None:
        item = TaskItem(task_id, tag, "f", **fields)
        self.state.receive(Tasks(self.session, [FUNCTION], [item]), self.now)

    def started(self, task_id: str = "a", tag: int = 1, execution: str = "x1") -> None:
        self.state.engine_fact(CallStarted(task_id, tag, execution, 1.0, {}))

    def done(self, task_id: str = "a", tag: int = 1, execution: str = "x1", **fields: Any) -> None:
        fields = {"outcome": OK, "first": 0, "events": [], **fields}
        self.state.engine_fact(CallDone(task_id, tag, execution, **fields))

    def kinds(self) -> list[str]:
        return sorted(kind for kind, _ in self.disk)

    def die(self) -> Lives:
        """Die without a word and live again."""
        self.begin()
        return self


@pytest.fixture
def agent() -> Lives:
    agent = Lives().connect()
    agent.turn()
    return agent


# --- what is written ------------------------------------------------------------------------------------


def test_a_short_task_never_touches_the_disk(agent: Lives) -> None:
    agent.slow = True
    for number in range(100):
        agent.task(f"t{number}", number + 1)
        agent.turn(0.01)
        agent.done(f"t{number}", number + 1, f"x{number}")
        agent.turn(0.01)
        agent.state.receive(ResultAck(1, [(f"t{number}", f"x{number}")]), agent.now)
    agent.turn(10 * LAZY_S)
    assert agent.orders == []
    assert agent.holdings.deadline == float("inf")


def test_a_waiting_task_is_written_with_its_function_after_a_while(agent: Lives) -> None:
    agent.task()
    agent.turn(LAZY_S / 2)
    assert agent.disk == {}
    agent.turn(LAZY_S)
    assert agent.kinds() == ["function", "task"]


def test_a_running_task_is_written_soon(agent: Lives) -> None:
    agent.task()
    agent.turn()
    agent.started()
    agent.turn()
    assert agent.state.next_deadline(agent.now) <= agent.now + SOON_S
    agent.turn(SOON_S)
    assert "task" in agent.kinds()


def test_a_result_that_nobody_takes_is_written_soon(agent: Lives) -> None:
    agent.task()
    agent.turn()
    agent.state.link_down()
    agent.done()
    agent.turn(SOON_S)
    agent.turn(SOON_S)
    assert agent.kinds() == ["result"]


def test_an_unacknowledged_result_is_written_soon_once_the_link_is_gone(agent: Lives) -> None:
    agent.task()
    agent.done()
    agent.turn()
    agent.state.link_down()
    agent.turn()
    agent.turn(SOON_S)
    assert agent.kinds() == ["result"]


def test_a_task_turns_into_its_result_in_one_write(agent: Lives) -> None:
    agent.task()
    agent.turn(LAZY_S)
    agent.turn(LAZY_S)
    agent.slow = True
    agent.done()
    agent.turn(LAZY_S)
    agent.turn(LAZY_S)
    (order,) = agent.orders
    assert [(change.kind, change.data is None) for change in order.changes] == [
        ("task", True),
        ("result", False),
    ]


def test_a_task_turns_into_its_loss_in_one_write(agent: Lives) -> None:
    agent.task()
    agent.turn()
    agent.started()
    agent.turn(SOON_S)
    agent.turn(SOON_S)
    agent.slow = True
    agent.state.engine_fact(CallLost("a", 1, "x1", "signal 9"))
    agent.turn(SOON_S)
    agent.turn(SOON_S)
    (order,) = agent.orders
    assert [(change.kind, change.data is None) for change in order.changes] == [
        ("task", True),
        ("loss", False),
    ]


def test_what_is_acknowledged_leaves_the_disk(agent: Lives) -> None:
    agent.task()
    agent.task("b", 2)
    agent.turn()
    agent.state.link_down()
    agent.done()
    agent.state.engine_fact(CallLost("b", 2, "x2", "signal 9"))
    agent.turn()
    agent.turn(SOON_S)
    assert agent.kinds() == ["loss", "result"]
    agent.connect()
    agent.state.receive(ResultAck(2, [("a", "x1"), ("b", "x2")]), agent.now)
    agent.turn()
    agent.turn(LAZY_S)
    assert agent.disk == {}


# --- the next life --------------------------------------------------------------------------------------


def test_results_and_losses_are_sent_again_by_the_next_life(agent: Lives) -> None:
    agent.task()
    agent.task("b", 2)
    agent.turn()
    agent.state.link_down()
    agent.state.engine_fact(CallOutput("a", "x1", 0, [Event(1.0, "stdout", "hello")]))
    agent.done(first=1)
    agent.state.engine_fact(CallLost("b", 2, "x2", "signal 9"))
    agent.turn()
    agent.turn(SOON_S)
    agent.die().state.link_up(agent.now)
    (hello,) = agent.sent(Hello)
    agent.state.receive(Welcome(9, hello.nonce), agent.now)
    inventory, results, lost = agent.sent(object)
    assert inventory.tasks == [("a", 1)]
    (result,) = results.results
    assert (result.tag, result.execution, result.outcome) == (1, "x1", OK)
    assert [event.data for event in result.events.events] == ["hello"]
    assert lost == Lost(9, [("b", 2, "x2", "signal 9")])


def test_a_task_without_a_result_runs_again_under_its_lease_once_the_hub_service_agrees(
    agent: Lives,
) -> None:
    agent.task("a", 1, payload=b"args")
    agent.task("b", 2)
    agent.turn(LAZY_S)
    agent.turn(LAZY_S)
    agent.die()
    assert [type(each) for each in agent.turn(1.0)] == [Learn]
    agent.connect(drop=[("b", 2)])
    assert agent.inventory.tasks == [("a", 1), ("b", 2)]
    (call,) = agent.calls()
    assert (call.task_id, call.tag, call.payload, call.suspect) == ("a", 1, b"args", False)


def test_it_runs_again_by_itself_while_the_hub_service_is_away(agent: Lives) -> None:
    agent.task()
    agent.turn(LAZY_S)
    agent.turn(LAZY_S)
    agent.die()
    assert agent.calls() == []
    assert agent.state.next_deadline(agent.now) <= agent.now + ALONE_S
    assert [call.task_id for call in agent.calls(ALONE_S)] == ["a"]


def test_one_that_the_hub_service_does_not_know_waits_until_it_is_known(agent: Lives) -> None:
    agent.task()
    agent.turn(LAZY_S)
    agent.turn(LAZY_S)
    agent.die().connect(unknown=[("a", 1)])
    assert agent.calls() == []
    agent.task("a", 5)
    assert [call.tag for call in agent.calls()] == [5]


def test_what_ran_when_the_agent_died_comes_back_as_a_suspect(agent: Lives) -> None:
    agent.task("a", 1)
    agent.task("b", 2)
    agent.turn()
    agent.started("a")
    agent.turn(LAZY_S)
    agent.turn(LAZY_S)
    calls = agent.die().connect().calls()
    assert {call.task_id: call.suspect for call in calls} == {"a": True, "b": False}


def test_a_task_that_runs_at_three_deaths_is_poisoned(agent: Lives) -> None:
    agent.task()
    for life in range(DEATH_LIMIT):
        assert len(agent.calls()) == 1
        agent.started("a", 1, f"x{life}")
        agent.turn(SOON_S)
        agent.turn(SOON_S)
        agent.die().connect()
    assert agent.calls() == []
    (holding,) = agent.holdings
    assert holding.outcome is not None
    assert holding.outcome.error is not None
    assert holding.outcome.error.code == "TASK_POISONED"
    assert "x0, x1, x2" in holding.outcome.error.message


def test_a_death_counts_once_however_often_the_agent_dies_after_it(agent: Lives) -> None:
    agent.task()
    agent.turn()
    agent.started()
    agent.turn(SOON_S)
    agent.turn(SOON_S)
    for _ in range(2 * DEATH_LIMIT):  # before it ran again
        agent.die()
        agent.turn()
    assert [call.suspect for call in agent.connect().calls()] == [True]


def test_a_stop_on_purpose_blames_nobody(agent: Lives) -> None:
    agent.task()
    agent.turn()
    agent.started()
    agent.turn(SOON_S)
    agent.turn(SOON_S)
    agent.state.drain()
    agent.turn()
    agent.state.leave()
    agent.turn()
    assert [call.suspect for call in agent.die().connect().calls()] == [False]


def test_draining_keeps_what_did_not_start_for_the_next_life(agent: Lives) -> None:
    agent.task("a", 1)
    agent.task("b", 2, options=ONCE)
    agent.slow = True
    agent.task("c", 3, options=ONCE)
    agent.turn()
    agent.state.drain()
    assert CancelCall("a") in agent.turn()
    assert agent.state.drained
    agent.state.leave()
    agent.slow = False
    agent.turn()
    agent.die().connect()
    # b's mark was on its way when the agent was told to stop, and c was in line: they never left
    agent.state.count_workers(2)
    assert [call.task_id for call in agent.calls()] == ["a", "b", "c"]


def test_a_drain_that_waits_for_all_runs_what_was_accepted(agent: Lives) -> None:
    agent.task("a", 1)
    agent.state.drain(wait_for_all=True)
    assert [call.task_id for call in agent.calls()] == ["a"]
    agent.task("b", 2)
    assert agent.calls() == []
    assert not agent.state.drained
    agent.done()
    agent.turn()
    agent.state.receive(ResultAck(1, [("a", "x1")]), agent.now)
    assert agent.state.drained


def test_results_safe_on_disk_hold_no_stop_up(agent: Lives) -> None:
    agent.task()
    agent.turn()
    agent.state.link_down()
    agent.done()
    agent.state.drain()
    agent.turn()
    assert agent.state.drained


def test_an_upload_goes_on_in_the_next_life(agent: Lives, tmp_path: Path) -> None:
    agent.task()
    agent.turn()
    agent.done(path=tmp_path / "result", outcome=Outcome(ok=True, started=3.0))
    agent.turn()
    agent.state.object_fact(Kept("a", "x1"))
    agent.turn()
    agent.turn(SOON_S)
    agent.die()
    (upload,) = [each for each in agent.turn() if isinstance(each, Upload)]
    assert upload == Upload("a", "x1", tmp_path / "result", Outcome(ok=True, started=3.0))
    agent.connect()
    assert agent.calls() == []


def test_a_file_that_a_power_cut_could_take_is_not_counted_on(agent: Lives, tmp_path: Path) -> None:
    agent.task()
    agent.turn()
    agent.done(path=tmp_path / "result")
    agent.turn()
    agent.turn(LAZY_S)
    assert [call.task_id for call in agent.die().connect().calls()] == ["a"]


def test_a_result_file_goes_when_its_outcome_is_acknowledged(agent: Lives, tmp_path: Path) -> None:
    agent.task()
    agent.turn()
    agent.done(path=tmp_path / "result")
    agent.state.object_fact(Kept("a", "x1"))
    agent.state.object_fact(Uploaded("a", "x1", OK, ObjectRef("ab" * 32, 5)))
    assert Discard(tmp_path / "result") not in agent.turn(LAZY_S)
    agent.turn(LAZY_S)
    agent.die().connect()
    agent.turn()
    agent.state.receive(ResultAck(agent.session, [("a", "x1")]), agent.now)
    assert Discard(tmp_path / "result") in agent.turn()


def test_a_result_file_of_a_cancelled_task_goes(agent: Lives, tmp_path: Path) -> None:
    agent.task()
    agent.turn()
    agent.done(path=tmp_path / "result")
    agent.turn()
    agent.state.receive(Cancel(1, [("a", 1)]), agent.now)
    assert Discard(tmp_path / "result") in agent.turn()


def test_a_result_file_that_is_gone_is_a_loss(agent: Lives, tmp_path: Path) -> None:
    agent.task()
    agent.turn()
    agent.done(path=tmp_path / "result")
    agent.turn()
    error = ErrorInfo("WORKER_LOST", "The result's file cannot be read")
    agent.state.object_fact(Uploaded("a", "x1", OK, error=error))
    assert agent.sent(Lost)[0].tasks[0][:3] == ("a", 1, "x1")


# --- at_most_once ---------------------------------------------------------------------------------------


def test_an_at_most_once_call_leaves_after_its_mark_is_on_disk(agent: Lives) -> None:
    agent.slow = True
    agent.task(options=ONCE)
    assert agent.calls() == []
    assert [change.kind for change in agent.orders[0].changes] == ["function", "task"]
    agent.write()
    assert [call.task_id for call in agent.calls()] == ["a"]


def test_no_more_of_them_are_marked_than_there_are_workers(agent: Lives) -> None:
    for number in range(1, 6):
        agent.task(f"t{number}", number, options=ONCE)
    assert [call.task_id for call in agent.calls()] == ["t1"]
    agent.state.count_workers(3)
    assert [call.task_id for call in agent.calls()] == ["t2", "t3"]
    agent.done("t1", 1)
    agent.state.receive(Cancel(1, [("t2", 2)]), agent.now)
    assert [call.task_id for call in agent.calls()] == ["t4", "t5"]
    agent.turn(LAZY_S)
    agent.die().connect()
    lost = [holding.task_id for holding in agent.holdings if holding.outcome and not holding.outcome.ok]
    assert lost == ["t3", "t4", "t5"]


def test_at_a_clean_stop_one_that_no_worker_had_is_kept_for_the_next_life(agent: Lives) -> None:
    agent.state.count_workers(2)
    agent.task("a", 1, options=ONCE)
    agent.task("b", 2, options=ONCE)
    assert [call.task_id for call in agent.calls()] == ["a", "b"]
    agent.state.drain()
    asked = [each.task_id for each in agent.turn() if isinstance(each, GiveBack)]
    assert asked == ["a", "b"]
    agent.state.given_back("b")  # the engine says so at once; a worker has the other one
    agent.state.leave()
    agent.turn()
    agent.die().connect()
    assert [call.task_id for call in agent.calls()] == ["b"]
    lost = agent.holdings.get("a")
    assert lost is not None
    assert lost.outcome is not None
    assert lost.outcome.error is not None
    assert lost.outcome.error.code == "LOST_UNKNOWN"


def test_it_is_not_run_again_after_a_death(agent: Lives) -> None:
    agent.task(options=ONCE)
    assert len(agent.calls()) == 1
    agent.die().connect()
    assert agent.calls() == []
    assert agent.disk
    (result,) = agent.holdings
    assert result.outcome is not None
    assert result.outcome.error is not None
    assert result.outcome.error.code == "LOST_UNKNOWN"


def test_a_death_before_the_mark_leaves_it_free_to_run(agent: Lives) -> None:
    agent.slow = True
    agent.task(options=ONCE)
    agent.turn()
    agent.slow = False
    agent.die().connect()
    agent.task(options=ONCE)
    assert [call.task_id for call in agent.calls()] == ["a"]


def test_one_that_is_cancelled_while_its_mark_is_written_never_leaves(agent: Lives) -> None:
    agent.slow = True
    agent.task(options=ONCE)
    agent.turn()
    agent.connect(drop=[("a", 1)])
    agent.write()
    assert agent.calls() == []
    assert len(agent.holdings) == 0


def test_one_whose_worker_is_lost_may_have_run(agent: Lives) -> None:
    agent.task(options=ONCE)
    agent.turn()
    agent.state.engine_fact(CallLost("a", 1, "x1", "signal 9"))
    (result,) = agent.sent(Results)[0].results
    assert (result.outcome.error.code, result.execution) == ("LOST_UNKNOWN", "x1")
    assert "signal 9" in result.outcome.error.message


# --- retries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["TASK_FAILED", "WALLTIME_REACHED"])
def test_a_failed_call_runs_again_as_often_as_asked(agent: Lives, code: str) -> None:
    agent.task(options=TaskOptions(retries=2))
    for run in range(3):
        assert len(agent.calls()) == 1
        failure = Outcome(ok=False, error=ErrorInfo(code, "boom"), worker={"pid": run})
        agent.done(execution=f"x{run}", outcome=failure)
    (result,) = agent.sent(Results)[0].results
    assert (result.execution, result.outcome.worker) == ("x2", {"pid": 2, "tries": 3})


def test_output_of_an_earlier_run_is_not_told_with_the_last(agent: Lives) -> None:
    agent.task(options=TaskOptions(retries=1))
    agent.turn()
    agent.done(outcome=FAILED, events=[Event(1.0, "stdout", "first")])
    agent.turn()
    agent.done(execution="x2", events=[Event(1.0, "stdout", "second")])
    (result,) = agent.sent(Results)[0].results
    assert [event.data for event in result.events.events] == ["second"]


@pytest.mark.parametrize(
    ("options", "code"),
    [(TaskOptions(retries=0), "TASK_FAILED"), (TaskOptions(retries=3), "RESULT_TOO_LARGE")],
)
def test_other_failures_are_not_tried_again(agent: Lives, options: TaskOptions, code: str) -> None:
    agent.task(options=options)
    agent.turn()
    agent.done(outcome=Outcome(ok=False, error=ErrorInfo(code, "no")))
    assert len(agent.sent(Results)) == 1
    assert agent.calls() == []


def test_retries_are_counted_over_lives(agent: Lives) -> None:
    agent.task(options=TaskOptions(retries=1))
    agent.turn()
    agent.done(outcome=FAILED)
    agent.turn(SOON_S)
    agent.turn(SOON_S)
    agent.die().connect()
    assert len(agent.calls()) == 1
    agent.done(execution="x2", outcome=FAILED)
    (result,) = agent.sent(Results)[0].results
    assert result.outcome.worker["tries"] == 2


# --- a spool in trouble ---------------------------------------------------------------------------------


def test_nothing_is_accepted_while_the_spool_has_no_room(agent: Lives) -> None:
    agent.state.closed = "the endpoint's spool is full"
    agent.task()
    assert agent.calls() == []
    assert len(agent.holdings) == 0
    agent.state.closed = ""
    agent.task()  # the hub service sends it again
    assert [call.task_id for call in agent.calls()] == ["a"]


def test_a_spool_that_was_made_anew_gets_all_there_is(agent: Lives) -> None:
    agent.task("a", 1)
    agent.task("b", 2)
    agent.task("c", 3)
    agent.turn()
    agent.state.engine_fact(CallLost("c", 3, "x3", "signal 9"))
    agent.done("b", 2, "x2")
    agent.turn(LAZY_S)
    agent.turn(LAZY_S)
    agent.disk.clear()
    agent.slow = True
    agent.state.spool_replaced()
    agent.turn()
    assert agent.orders[-1].whole == "spool"
    agent.write()
    assert agent.kinds() == ["function", "loss", "result", "task"]


def test_an_orphan_is_kept_over_a_death(agent: Lives) -> None:
    agent.task()
    agent.done()
    agent.turn()
    agent.state.receive(UnknownTasks(1, [("a", 1)]), agent.now)
    agent.turn(LAZY_S)
    agent.turn(LAZY_S)
    agent.die().connect(unknown=[("a", 1)])
    agent.turn()
    agent.task("a", 4)
    assert [result.tag for result in agent.sent(Results)[0].results] == [4]
