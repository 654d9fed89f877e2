"""The agent's decisions, claim by claim: messages and facts in, messages and calls out."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from funcx_lab.protocol.messages import (
    MESSAGE_TARGET,
    Accepted,
    Cancel,
    ErrorInfo,
    Event,
    Events,
    EventsAck,
    FunctionBody,
    Heartbeat,
    Hello,
    Inventory,
    Lost,
    ObjectRef,
    Outcome,
    Reconciled,
    Refused,
    ResultAck,
    Results,
    Stale,
    Started,
    TaskItem,
    TaskOptions,
    Tasks,
    UnknownTasks,
    Welcome,
    digest_of,
)
from funcx_lab_endpoint.agent_state import DELIVERY_S, HEARTBEAT_S, ORPHAN_GRACE_S, AgentState
from funcx_lab_endpoint.digests import DIGEST_S
from funcx_lab_endpoint.engine.contract import CallDone, CallLost, CallOutput, CallStarted
from funcx_lab_endpoint.holdings import Holdings
from funcx_lab_endpoint.instructions import (
    CancelCall,
    Discard,
    Fetch,
    Fetched,
    GiveBack,
    Learn,
    Reconnect,
    Refusal,
    Release,
    Save,
    Send,
    Submit,
    Upload,
    Uploaded,
)
from funcx_lab_endpoint.link_session import HANDSHAKE_S
from funcx_lab_endpoint.outbox import ACCEPT_S, RESEND_S

BODY = b"def f(): pass"
FUNCTION = FunctionBody("f", hashlib.sha256(BODY).hexdigest(), "funcx-lab", "f", BODY)
OK = Outcome(ok=True, payload=b"42")
REFERENCE = ObjectRef("ab" * 32, 300_000)


class Bench:
    """An agent's state with a hub service played by the test."""

    def __init__(self, **options: Any) -> None:
        numbers = itertools.count(1)
        self.now = 100.0
        self.holdings = Holdings("spool")
        self.state = AgentState(
            instance="me", holdings=self.holdings, new_nonce=lambda: f"n{next(numbers)}", **options
        )

    def turn(self) -> list[Any]:
        """Return what is done now; the spool is quick and not looked at."""
        done = []
        while instructions := self.state.turn(self.now):
            done += [each for each in instructions if not isinstance(each, Save)]
            for each in instructions:
                if isinstance(each, Save):
                    self.state.saved(each.number)
        return done

    def later(self) -> list[Any]:
        """Return what is done once acceptances are due."""
        self.now += ACCEPT_S
        return self.turn()

    def sent(self, kind: type | None = None) -> list[Any]:
        messages = [each.message for each in self.turn() if isinstance(each, Send)]
        return [each for each in messages if kind is None or isinstance(each, kind)]

    def receive(self, message: Any) -> None:
        self.state.receive(message, self.now)

    def connect(self, session: int = 1) -> Bench:
        self.state.link_up(self.now)
        (hello,) = self.sent(Hello)
        self.receive(Welcome(session, hello.nonce))
        self.receive(Reconciled(session, [], []))
        self.turn()
        return self

    def task(self, task_id: str = "a", tag: int = 1, session: int = 1, **fields: Any) -> None:
        self.receive(Tasks(session, [FUNCTION], [TaskItem(task_id, tag, "f", **fields)]))

    def done(self, task_id: str = "a", tag: int = 1, execution: str = "x1", **fields: Any) -> None:
        fields = {"outcome": OK, "first": 0, "events": [], **fields}
        self.state.engine_fact(CallDone(task_id, tag, execution, **fields))

    def reconnect(self, session: int) -> list[Any]:
        """Connect again up to the inventory and return what was sent in the new session."""
        self.state.link_down()
        self.state.link_up(self.now)
        (hello,) = self.sent(Hello)
        self.receive(Welcome(session, hello.nonce))
        return self.sent()


@pytest.fixture
def bench() -> Bench:
    return Bench().connect()


def calls(instructions: list[Any]) -> list[tuple[str, int]]:
    return [(c.task_id, c.tag) for each in instructions if isinstance(each, Submit) for c in each.calls]


def event(text: str) -> Event:
    return Event(1.0, "stdout", text)


# --- sessions -------------------------------------------------------------------------------------------


def test_each_attempt_has_a_new_nonce() -> None:
    bench = Bench()
    bench.state.link_up(0.0)
    bench.state.link_down()
    bench.state.link_up(1.0)
    assert [hello.nonce for hello in bench.sent(Hello)] == ["n1", "n2"]


def test_a_welcome_for_an_earlier_attempt_is_void() -> None:
    bench = Bench()
    bench.state.link_up(0.0)
    bench.state.link_up(0.0)
    bench.receive(Welcome(7, "n1"))
    assert bench.state.session is None
    bench.receive(Welcome(8, "n2"))
    assert bench.state.session == 8


def test_the_inventory_is_sent_in_the_granted_session(bench: Bench) -> None:
    bench.task("a", 1)
    bench.task("b", 2)
    sent = bench.reconnect(5)
    assert sent[0] == Inventory(5, [("a", 1), ("b", 2)])


def test_stale_leads_to_a_new_hello(bench: Bench) -> None:
    bench.receive(Stale(1))
    assert bench.state.session is None
    assert [hello.nonce for hello in bench.sent(Hello)] == ["n2"]


def test_stale_of_another_session_is_void(bench: Bench) -> None:
    bench.receive(Stale(0))
    assert bench.state.session == 1
    assert bench.turn() == []


def test_takeover_is_asked_for_until_granted() -> None:
    bench = Bench(takeover=True)
    for _ in range(2):
        bench.state.link_up(0.0)
    first, second = bench.sent(Hello)
    assert (first.takeover, second.takeover) == (True, True)
    bench.receive(Welcome(1, second.nonce))
    bench.receive(Stale(1))
    assert [hello.takeover for hello in bench.sent(Hello)] == [False]


def test_a_refusal_counts_only_for_the_present_attempt() -> None:
    bench = Bench()
    bench.state.link_up(0.0)
    bench.turn()
    bench.receive(Refused("other", "ENDPOINT_BUSY", "no"))
    assert bench.turn() == []
    bench.receive(Refused("n1", "ENDPOINT_BUSY", "another agent"))
    assert bench.turn() == [Refusal("ENDPOINT_BUSY", "another agent")]


@pytest.mark.parametrize("welcomed", [False, True])
def test_a_session_not_granted_in_time_is_given_up(welcomed: bool) -> None:
    bench = Bench()
    bench.state.link_up(0.0)
    if welcomed:
        bench.receive(Welcome(1, "n1"))
    bench.turn()
    bench.state.tick(HANDSHAKE_S - 0.1)
    assert bench.turn() == []
    bench.state.tick(HANDSHAKE_S)
    assert [type(each) for each in bench.turn()] == [Reconnect]


def test_heartbeats_are_due_every_five_seconds(bench: Bench) -> None:
    assert bench.state.beat_due(bench.now)
    bench.state.beat({"credit": 4}, bench.now)
    assert bench.sent() == [Heartbeat(1, {"credit": 4, "held": 0})]
    assert not bench.state.beat_due(bench.now + HEARTBEAT_S - 0.1)
    assert bench.state.next_deadline(bench.now) == bench.now + HEARTBEAT_S
    assert bench.state.beat_due(bench.now + HEARTBEAT_S)


# --- tasks ----------------------------------------------------------------------------------------------


def test_a_task_is_handed_over_before_its_acceptance_is_sent(bench: Bench) -> None:
    bench.task("a", 1, payload=b"args")
    learn, submit = bench.turn()
    assert learn == Learn(FUNCTION)
    assert (submit.calls[0].payload, submit.calls[0].options) == (b"args", TaskOptions())
    assert bench.state.next_deadline(bench.now) <= bench.now + ACCEPT_S
    assert bench.later() == [Send(Accepted(1, [("a", 1)]))]


def test_a_function_is_learned_once(bench: Bench) -> None:
    bench.task("a", 1)
    bench.task("b", 2)
    assert [type(each) for each in bench.turn()].count(Learn) == 1


def test_tasks_of_another_session_are_void(bench: Bench) -> None:
    bench.task("a", 1, session=2)
    assert bench.turn() == []


def test_a_copy_of_a_held_lease_is_accepted_again_and_not_run_again(bench: Bench) -> None:
    bench.task("a", 1)
    bench.turn()
    bench.task("a", 1)
    assert bench.later() == [Send(Accepted(1, [("a", 1)]))]


def test_a_late_copy_of_an_ended_lease_is_void(bench: Bench) -> None:
    bench.task("a", 1)
    bench.done()
    bench.turn()
    bench.receive(ResultAck(1, [("a", "x1")]))
    bench.task("a", 1)
    assert bench.turn() == []


def test_seen_leases_are_forgotten_with_their_session(bench: Bench) -> None:
    bench.task("a", 1)
    bench.receive(Cancel(1, [("a", 1)]))
    bench.reconnect(2)
    bench.task("a", 1, session=2)
    assert calls(bench.turn()) == [("a", 1)]


def test_a_newer_lease_rebinds_a_running_task_without_running_it_again(bench: Bench) -> None:
    bench.task("a", 1)
    bench.state.engine_fact(CallStarted("a", 1, "x1", 5.0, {"pid": 7}))
    bench.turn()
    bench.task("a", 9)
    sent = bench.later()
    assert calls(sent) == []
    assert Send(Accepted(1, [("a", 9)])) in sent
    assert Send(Started(1, [("a", 9, "x1", 5.0, {"pid": 7})])) in sent
    bench.done("a", 1)
    assert [(r.task_id, r.tag) for r in bench.sent(Results)[0].results] == [("a", 9)]


def test_a_kept_result_is_sent_under_a_newer_lease(bench: Bench) -> None:
    bench.task("a", 1)
    bench.done()
    bench.turn()
    bench.task("a", 3)
    (results,) = bench.sent()
    assert [(r.tag, r.execution, r.outcome) for r in results.results] == [(3, "x1", OK)]


def test_an_older_lease_does_not_rebind(bench: Bench) -> None:
    bench.task("a", 5)
    bench.turn()
    bench.task("a", 4)
    assert bench.turn() == []
    assert bench.holdings.inventory() == [("a", 5)]


def test_a_damaged_function_is_never_given_to_the_engine(bench: Bench) -> None:
    damaged = FunctionBody("f", FUNCTION.sha256, "funcx-lab", "f", BODY + b"!")
    bench.receive(Tasks(1, [damaged], [TaskItem("a", 1, "f")]))
    instructions = bench.turn()
    assert not [each for each in instructions if isinstance(each, (Learn, Submit))]
    (result,) = next(each.message for each in instructions if isinstance(each.message, Results)).results
    assert result.outcome.error.code == "PAYLOAD_HASH_MISMATCH"
    assert result.execution.startswith("me:")
    bench.task("b", 2)
    assert calls(bench.turn()) == [("b", 2)]


def test_a_task_whose_function_was_lost_on_its_way_waits_for_both_to_be_sent_again(bench: Bench) -> None:
    bench.receive(Tasks(1, [], [TaskItem("a", 1, "f")]))
    bench.now += 10.0
    assert bench.turn() == []
    bench.task("a", 1)
    assert calls(bench.turn()) == [("a", 1)]


# --- verdicts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cancel", "drop"])
def test_a_dropped_call_is_stopped_and_its_facts_ignored(bench: Bench, kind: str, tmp_path: Path) -> None:
    bench.task("a", 1)
    bench.turn()
    if kind == "cancel":
        bench.receive(Cancel(1, [("a", 1)]))
        expected: list[Any] = [CancelCall("a")]
    else:
        bench.state.link_down()
        bench.connect(2)
        bench.state.link_up(bench.now)
        bench.receive(Welcome(3, bench.sent(Hello)[0].nonce))
        bench.turn()
        bench.receive(Reconciled(3, [], [("a", 1)]))
        expected = [CancelCall("a")]
    assert bench.turn() == expected
    assert len(bench.holdings) == 0
    bench.done("a", 1, path=tmp_path / "result")
    assert bench.turn() == [Discard(tmp_path / "result")]


def test_a_task_cancelled_in_its_own_turn_is_never_handed_over(bench: Bench) -> None:
    bench.task("a", 1)
    bench.receive(Cancel(1, [("a", 1)]))
    assert not [each for each in bench.turn() if isinstance(each, (Submit, CancelCall))]


@pytest.mark.parametrize("lease", [("a", 2), ("b", 1)])
def test_a_cancel_for_another_lease_is_void(bench: Bench, lease: tuple[str, int]) -> None:
    bench.task("a", 1)
    bench.turn()
    bench.receive(Cancel(1, [lease]))
    assert bench.turn() == []
    assert len(bench.holdings) == 1


def test_a_cancel_of_another_session_is_void(bench: Bench) -> None:
    bench.task("a", 1)
    bench.turn()
    bench.receive(Cancel(2, [("a", 1)]))
    assert len(bench.holdings) == 1


def test_a_result_of_an_unknown_task_is_kept_and_not_sent_until_rebound(bench: Bench) -> None:
    bench.task("a", 1)
    bench.done()
    bench.turn()
    bench.receive(UnknownTasks(1, [("a", 1)]))
    bench.now += RESEND_S
    bench.state.tick(bench.now)
    assert bench.turn() == []
    bench.task("a", 2)
    assert [r.tag for r in bench.sent(Results)[0].results] == [2]


def test_an_orphan_goes_after_its_grace_time(bench: Bench) -> None:
    bench.task("a", 1)
    bench.done()
    bench.receive(UnknownTasks(1, [("a", 1)]))
    bench.state.tick(bench.now + ORPHAN_GRACE_S - 1)
    assert len(bench.holdings) == 1
    bench.state.tick(bench.now + ORPHAN_GRACE_S + 10)
    assert len(bench.holdings) == 0


def test_a_running_orphan_is_not_dropped(bench: Bench) -> None:
    bench.task("a", 1)
    bench.receive(UnknownTasks(1, [("a", 1)]))
    bench.state.tick(bench.now + ORPHAN_GRACE_S + 10)
    assert len(bench.holdings) == 1


def test_an_orphan_that_is_known_again_is_sent_again(bench: Bench) -> None:
    bench.task("a", 1)
    bench.done()
    bench.receive(UnknownTasks(1, [("a", 1)]))
    assert not [each for each in bench.reconnect(2) if isinstance(each, Results)]
    bench.receive(Reconciled(2, [], []))
    assert [r.task_id for r in bench.sent(Results)[0].results] == ["a"]


# --- outcomes and losses --------------------------------------------------------------------------------


def test_a_result_is_kept_and_sent_again_until_acknowledged(bench: Bench) -> None:
    bench.task("a", 1)
    bench.done()
    assert len(bench.sent(Results)) == 1
    sent = bench.reconnect(2)
    assert sent[0] == Inventory(2, [("a", 1)])
    assert [r.execution for r in sent[1].results] == ["x1"]
    bench.receive(ResultAck(2, [("a", "x1")]))
    assert bench.reconnect(3) == [Inventory(3, [])]


def test_a_result_unacknowledged_in_its_session_is_sent_again_later(bench: Bench) -> None:
    bench.task("a", 1)
    bench.done()
    bench.turn()
    bench.state.tick(bench.now + RESEND_S - 1)
    assert bench.turn() == []
    bench.state.tick(bench.now + RESEND_S)
    assert len(bench.sent(Results)) == 1


@pytest.mark.parametrize("ack", [ResultAck(2, [("a", "x1")]), ResultAck(1, [("a", "x0")])])
def test_acknowledgements_of_another_session_or_execution_are_void(bench: Bench, ack: ResultAck) -> None:
    bench.task("a", 1)
    bench.done()
    bench.turn()
    bench.receive(ack)
    assert len(bench.holdings) == 1


def test_results_of_one_turn_leave_together(bench: Bench) -> None:
    for number in range(50):
        bench.task(f"t{number}", number)
    for number in range(50):
        bench.done(f"t{number}", number, f"x{number}")
    (results,) = bench.sent()
    assert len(results.results) == 50
    assert not any(isinstance(each.message, Accepted) for each in bench.later())


def test_large_results_are_split_below_the_frame_limit(bench: Bench) -> None:
    big = Outcome(ok=True, payload=bytes(256 * 1024))
    for number in range(40):
        bench.task(f"t{number}", number)
        bench.done(f"t{number}", number, f"x{number}", outcome=big)
    messages = bench.sent(Results)
    assert len(messages) == 3
    assert all(sum(len(r.outcome.payload) for r in m.results) <= MESSAGE_TARGET for m in messages)
    assert sum(len(m.results) for m in messages) == 40


def test_a_fact_of_another_lease_is_ignored(bench: Bench) -> None:
    bench.task("a", 5)
    bench.turn()
    bench.done("a", 4)
    bench.state.engine_fact(CallLost("a", 4, "x1", "killed"))
    assert bench.turn() == []
    assert len(bench.holdings) == 1


def test_a_second_outcome_changes_nothing(bench: Bench) -> None:
    bench.task("a", 1)
    bench.done()
    bench.turn()
    bench.done("a", 1, "x2", outcome=Outcome(ok=False))
    assert bench.turn() == []


def test_a_loss_is_told_until_acknowledged_and_the_task_may_come_again(bench: Bench) -> None:
    bench.task("a", 1)
    bench.state.engine_fact(CallLost("a", 1, "x1", "signal 9"))
    assert bench.sent(Lost) == [Lost(1, [("a", 1, "x1", "signal 9")])]
    assert bench.reconnect(2)[1:] == [Lost(2, [("a", 1, "x1", "signal 9")])]
    bench.task("a", 2, session=2)
    assert calls(bench.turn()) == [("a", 2)]
    for _ in range(2):  # a doubled acknowledgement must not drop the second run
        bench.receive(ResultAck(2, [("a", "x1")]))
    assert bench.holdings.inventory() == [("a", 2)]
    assert [type(each) for each in bench.reconnect(3)] == [Inventory]


# --- events ---------------------------------------------------------------------------------------------


def test_output_is_batched_and_resent_until_acknowledged(bench: Bench) -> None:
    bench.task("a", 1)
    bench.turn()
    bench.state.engine_fact(CallOutput("a", "x1", 0, [event("1")]))
    bench.state.engine_fact(CallOutput("a", "x1", 1, [event("2")]))
    (batch,) = bench.sent(Events)[0].batches
    assert (batch.first, [e.data for e in batch.events]) == (0, ["1", "2"])
    bench.state.engine_fact(CallOutput("a", "x1", 2, [event("3")]))
    assert [b.first for b in bench.sent(Events)[0].batches] == [2]
    bench.receive(EventsAck(1, [("a", "x1", 1)]))
    (batch,) = bench.reconnect(2)[1].batches
    assert (batch.first, [e.data for e in batch.events]) == (1, ["2", "3"])


def test_events_not_acknowledged_ride_with_the_result(bench: Bench) -> None:
    bench.task("a", 1)
    bench.state.engine_fact(CallOutput("a", "x1", 0, [event("1"), event("2")]))
    bench.turn()
    bench.receive(EventsAck(1, [("a", "x1", 1)]))
    bench.done(first=2, events=[event("3")])
    (result,) = bench.sent(Results)[0].results
    assert (result.events.first, [e.data for e in result.events.events]) == (1, ["2", "3"])


def test_much_output_goes_ahead_of_the_result_in_parts(bench: Bench) -> None:
    bench.task("a", 1)
    events = [event("x" * 1_000_000) for _ in range(10)]
    bench.done(events=events)
    sent = [each for each in bench.sent() if isinstance(each, (Events, Results))]
    assert [type(each) for each in sent] == [Events, Events, Events, Results]
    assert [e.data for m in sent[:3] for b in m.batches for e in b.events] == [e.data for e in events]
    assert [b.first for m in sent[:3] for b in m.batches] == [0, 4, 8]
    assert sent[3].results[0].events is None


def test_repeated_events_of_the_engine_are_taken_once(bench: Bench) -> None:
    bench.task("a", 1)
    bench.state.engine_fact(CallOutput("a", "x1", 0, [event("1"), event("2")]))
    bench.done(first=1, events=[event("2"), event("3")])
    (result,) = bench.sent(Results)[0].results
    assert [e.data for e in result.events.events] == ["1", "2", "3"]


# --- objects --------------------------------------------------------------------------------------------


def test_arguments_in_an_object_are_fetched_before_the_call(bench: Bench, tmp_path: Path) -> None:
    bench.task("a", 1, object=REFERENCE)
    instructions = bench.turn()
    assert Fetch("a", 1, REFERENCE) in instructions
    assert calls(instructions) == []
    bench.state.object_fact(Fetched("a", 1, tmp_path / "args"))
    (submit,) = bench.turn()
    assert (submit.calls[0].path, submit.calls[0].payload) == (tmp_path / "args", b"")
    bench.done()
    assert Release("a") in bench.turn()


def test_calls_of_a_session_leave_in_their_order(bench: Bench, tmp_path: Path) -> None:
    bench.task("a", 1, object=REFERENCE, options=TaskOptions(session="warm"))
    bench.task("b", 2, options=TaskOptions(session="warm"))
    bench.task("c", 3, options=TaskOptions(session="cold"))
    bench.task("d", 4)
    assert [task_id for task_id, _ in calls(bench.turn())] == ["c", "d"]
    bench.state.object_fact(Fetched("a", 1, tmp_path / "args"))
    assert [task_id for task_id, _ in calls(bench.turn())] == ["a", "b"]
    bench.task("e", 5, options=TaskOptions(session="warm"))
    assert [task_id for task_id, _ in calls(bench.turn())] == ["e"]


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_session_does_not_wait_for_a_call_that_will_not_come(bench: Bench, how: str) -> None:
    bench.task("a", 1, object=REFERENCE, options=TaskOptions(session="warm"))
    bench.task("b", 2, options=TaskOptions(session="warm"))
    bench.turn()
    if how == "failed":
        bench.state.object_fact(Fetched("a", 1, error=ErrorInfo("OBJECT_NOT_FOUND", "gone")))
    else:
        bench.receive(Cancel(1, [("a", 1)]))
    assert [task_id for task_id, _ in calls(bench.turn())] == ["b"]


def test_arguments_that_cannot_be_fetched_fail_the_task(bench: Bench) -> None:
    bench.task("a", 1, object=REFERENCE)
    bench.turn()
    bench.state.object_fact(Fetched("a", 1, error=ErrorInfo("OBJECT_NOT_FOUND", "gone")))
    assert bench.sent(Results)[0].results[0].outcome.error.code == "OBJECT_NOT_FOUND"


def test_a_download_for_an_earlier_lease_is_ignored(bench: Bench, tmp_path: Path) -> None:
    bench.task("a", 1, object=REFERENCE)
    bench.receive(Cancel(1, [("a", 1)]))
    bench.task("a", 2, object=REFERENCE)
    bench.turn()
    bench.state.object_fact(Fetched("a", 1, tmp_path / "args"))
    assert bench.turn() == []


def test_a_result_file_is_uploaded_before_the_result_is_told(bench: Bench, tmp_path: Path) -> None:
    bench.task("a", 1)
    bench.turn()
    bench.done(outcome=Outcome(ok=True, started=1.0), path=tmp_path / "result")
    (upload,) = bench.turn()
    assert isinstance(upload, Upload)
    bench.state.object_fact(Uploaded("a", "x1", upload.outcome, REFERENCE))
    (result,) = bench.sent(Results)[0].results
    assert result.outcome == Outcome(ok=True, object=REFERENCE, started=1.0)


def test_a_result_that_is_not_taken_fails_the_task(bench: Bench, tmp_path: Path) -> None:
    bench.task("a", 1)
    bench.done(outcome=Outcome(ok=True), path=tmp_path / "result")
    bench.turn()
    error = ErrorInfo("TASK_PAYLOAD_TOO_LARGE", "1.2 GB")
    bench.state.object_fact(Uploaded("a", "x1", Outcome(ok=True), error=error))
    outcome = bench.sent(Results)[0].results[0].outcome
    assert (outcome.ok, outcome.error) == (False, error)


# --- refused: another agent of this endpoint is there -----------------------------------------------------


def refuse(bench: Bench) -> list[Any]:
    """Lose the connection, be refused, and return what is done then."""
    bench.state.link_down()
    bench.state.link_up(bench.now)
    (hello,) = bench.sent(Hello)
    bench.receive(Refused(hello.nonce, "ENDPOINT_BUSY", "another agent"))
    return bench.turn()


def test_a_refused_agent_delivers_what_is_finished_before_it_dials_again(bench: Bench) -> None:
    bench.task("a", 1)
    bench.task("b", 2)
    bench.task("c", 3)
    bench.done("a", 1)
    bench.state.engine_fact(CallLost("b", 2, "x2", "signal 9"))
    bench.state.engine_fact(CallStarted("c", 3, "x3", 1.0, {}))
    bench.turn()
    refusal, results, lost = refuse(bench)
    assert refusal == Refusal("ENDPOINT_BUSY", "another agent")
    assert (results.message.session, [r.task_id for r in results.message.results]) == (0, ["a"])
    assert lost.message == Lost(0, [("b", 2, "x2", "signal 9")])
    bench.state.tick(bench.now)
    assert bench.turn() == []
    bench.receive(ResultAck(0, [("a", "x1"), ("b", "x2")]))
    assert bench.holdings.inventory() == [("c", 3)]
    bench.state.tick(bench.now)
    assert bench.turn() == [Reconnect("another agent")]
    bench.state.tick(bench.now)
    assert bench.turn() == []


def test_a_result_made_while_refused_is_delivered_too(bench: Bench) -> None:
    bench.task("a", 1)
    bench.done("a", 1)
    bench.task("b", 2)
    bench.turn()
    refuse(bench)
    bench.done("b", 2, "x2")
    (results,) = bench.sent(Results)
    assert (results.session, [r.task_id for r in results.results]) == (0, ["b"])


def test_a_refused_agent_waits_a_while_for_acknowledgements_only(bench: Bench) -> None:
    bench.task("a", 1)
    bench.done("a", 1)
    bench.turn()
    refuse(bench)
    assert bench.state.next_deadline(bench.now) <= bench.now + DELIVERY_S
    bench.now += DELIVERY_S
    bench.state.tick(bench.now)
    assert bench.turn() == [Reconnect("another agent")]
    assert len(bench.holdings) == 1


def test_a_refused_agent_begins_nothing_until_it_is_welcome(bench: Bench) -> None:
    bench.task("a", 1, options=TaskOptions(retries=1))
    bench.turn()
    refuse(bench)
    failure = Outcome(ok=False, error=ErrorInfo("TASK_FAILED", "boom"))
    bench.done("a", 1, outcome=failure)
    bench.now += 1000.0
    assert calls(bench.turn()) == []
    bench.state.link_down()
    bench.connect(2)
    assert bench.holdings.inventory() == [("a", 1)]


def test_a_verdict_in_session_0_counts_only_while_refused(bench: Bench) -> None:
    bench.task("a", 1)
    bench.done("a", 1)
    bench.turn()
    bench.receive(ResultAck(0, [("a", "x1")]))
    assert len(bench.holdings) == 1


# --- digests --------------------------------------------------------------------------------------------


def beat(bench: Bench, seconds: float) -> Any:
    bench.now += seconds
    bench.state.beat({}, bench.now)
    return bench.sent(Heartbeat)[-1].digest


def test_a_digest_goes_out_every_thirty_seconds_and_each_mark_twice(bench: Bench) -> None:
    bench.task("a", 5)
    assert beat(bench, DIGEST_S - 1) is None
    assert beat(bench, 1) == digest_of(0, [])
    assert beat(bench, 1) is None
    bench.task("b", 9)
    assert beat(bench, DIGEST_S) == digest_of(0, [])
    assert beat(bench, DIGEST_S) == digest_of(5, [("a", 5)])
    assert beat(bench, DIGEST_S) == digest_of(5, [("a", 5)])
    assert beat(bench, DIGEST_S) == digest_of(9, [("a", 5), ("b", 9)])


def test_a_digest_leaves_out_what_has_ended_and_what_is_not_known(bench: Bench) -> None:
    for number in range(1, 5):
        bench.task(f"t{number}", number)
    reconnected = bench.reconnect(2)
    assert isinstance(reconnected[0], Inventory)
    bench.receive(Reconciled(2, [("t4", 4)], []))
    bench.done("t1", 1)
    assert beat(bench, DIGEST_S) == digest_of(3, [("t2", 2), ("t3", 3)])


# --- the end --------------------------------------------------------------------------------------------


def test_draining_takes_back_what_did_not_start_and_takes_nothing_new(bench: Bench) -> None:
    bench.task("a", 1)
    bench.task("b", 2)
    bench.task("c", 3, options=TaskOptions(at_most_once=True))
    bench.state.engine_fact(CallStarted("a", 1, "x1", 1.0, {}))
    bench.turn()
    bench.state.drain()
    bench.task("d", 4)
    assert bench.turn() == [CancelCall("b"), GiveBack("c")]
    assert not bench.state.drained
    bench.done("a", 1, "x1")
    bench.done("c", 3, "x2")
    bench.turn()
    assert not bench.state.drained
    bench.receive(ResultAck(1, [("a", "x1"), ("c", "x2")]))
    assert bench.state.drained


def test_a_result_tells_how_long_the_agent_held_its_task(bench: Bench) -> None:
    bench.task()
    bench.now += 3.5
    bench.done()
    (result,) = bench.sent(Results)[0].results
    assert result.held_s == pytest.approx(3.5)
