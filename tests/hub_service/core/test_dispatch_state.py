"""What the forwarder decides, claim by claim: no sockets, no store, no clock."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import (
    Accepted,
    Bye,
    Cancel,
    EventBatch,
    Events,
    EventsAck,
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
    Started,
    TaskItem,
    UnknownTasks,
    Welcome,
    digest_of,
)
from funcx_lab_hub_service.forwarder.acknowledgements import ACKS_AT_ONCE
from funcx_lab_hub_service.forwarder.dispatch_state import (
    BYTES_IN_FLIGHT,
    FIRST_CREDIT,
    RETRANSMIT_S,
    SILENCE_S,
    DispatchState,
)
from funcx_lab_hub_service.forwarder.instructions import (
    AcknowledgeSoon,
    Fetch,
    Offline,
    Online,
    OpenSession,
    Reconcile,
    Send,
    SendTasks,
    StoreEvents,
    StoreLosses,
    StoreResults,
    StoreStarted,
)

PEER, OTHER = b"peer", b"other"


def new_state() -> DispatchState:
    numbers = itertools.count(100, 100)
    return DispatchState(lambda n: next(numbers))


def hello(nonce: str = "n1", instance: str = "one", **options: Any) -> Hello:
    return Hello(options.pop("version", PROTOCOL_VERSION), nonce, instance, "spool", **options)


def ready(**options: Any) -> DispatchState:
    """A state whose session 100 is compared and whose store holds no queue."""
    state = new_state()
    state.receive(PEER, hello(), 0.0)
    state.receive(PEER, Inventory(100, []), 0.0)
    state.reconciled(100, options.get("kept", ()), [], [])
    state.fetched(100, [], True, 0.0)
    return state


def item(task_id: str, tag: int, size: int = 0, function_id: str = "f") -> TaskItem:
    return TaskItem(task_id, tag, function_id, bytes(size))


def leased(*task_ids: str, now: float = 0.0) -> tuple[DispatchState, dict[str, int]]:
    state = ready()
    tags = dict(zip(task_ids, state.offer([0] * len(task_ids)), strict=True))
    state.dispatch([item(task_id, tag) for task_id, tag in tags.items()], now)
    return state, tags


def result(task_id: str, tag: int) -> ResultItem:
    return ResultItem(task_id, tag, "run", Outcome(True))


# --- sessions ---------------------------------------------------------------------------------------


def test_hello_opens_a_session_and_echoes_the_nonce() -> None:
    out = new_state().receive(PEER, hello("mine"), 0.0)
    assert out == [OpenSession(100, "one", "spool"), Send(PEER, Welcome(100, "mine")), Online()]


def test_the_same_hello_again_gets_the_same_session() -> None:
    state = ready()
    assert state.receive(PEER, hello(), 1.0) == [Send(PEER, Welcome(100, "n1"))]


def test_a_new_nonce_gets_a_new_session() -> None:
    out = ready().receive(PEER, hello("n2"), 1.0)
    assert Send(PEER, Welcome(300, "n2")) in out


@pytest.mark.parametrize("version", [PROTOCOL_VERSION + 1, PROTOCOL_VERSION - 2])
def test_only_neighbouring_versions_talk(version: int) -> None:
    (out,) = new_state().receive(PEER, hello(version=version), 0.0)
    assert isinstance(out, Send)
    assert isinstance(out.message, Refused)
    assert out.message.code == "VERSION_MISMATCH"


def test_another_agent_is_refused_while_the_first_is_heard() -> None:
    state = ready()
    (out,) = state.receive(OTHER, hello("n2", "two"), SILENCE_S - 1)
    assert isinstance(out, Send)
    assert isinstance(out.message, Refused)
    assert (out.peer, out.message.nonce, out.message.code) == (OTHER, "n2", "ENDPOINT_BUSY")


def test_another_agent_is_let_in_after_silence_or_to_take_over() -> None:
    assert OpenSession(300, "two", "spool") in ready().receive(OTHER, hello("n2", "two"), SILENCE_S)
    assert OpenSession(300, "two", "spool") in ready().receive(OTHER, hello("n2", "two", takeover=True), 0.0)


@pytest.mark.parametrize(
    "message",
    [Inventory(7, []), Accepted(7, []), Started(7, []), Heartbeat(7, {}), Bye(7, "")],
    ids=lambda message: type(message).__name__,
)
def test_a_frame_of_another_session_is_stale(message: Any) -> None:
    assert ready().receive(OTHER, message, 1.0) == [Send(OTHER, Stale(7))]


def test_outcomes_count_in_whatever_session_they_were_made() -> None:
    state, results = ready(), [result("a", 1)]
    assert state.receive(OTHER, Results(7, results), 1.0) == [
        Send(OTHER, Stale(7)),
        StoreResults(OTHER, 7, results),
    ]
    lost = [("a", 1, "run", "died")]
    assert StoreLosses(OTHER, 7, lost) in state.receive(OTHER, Lost(7, lost), 1.0)


def test_a_refused_agent_brings_what_it_finished() -> None:
    state, tags = leased("a", "b")
    results, lost = [result("a", 1)], [("b", 1, "run", "died")]
    assert state.receive(OTHER, Results(0, results), 1.0) == [StoreResults(OTHER, 0, results)]
    assert state.receive(OTHER, Lost(0, lost), 1.0) == [StoreLosses(OTHER, 0, lost)]
    assert (state.leases.tag("a"), state.leases.tag("b")) == (tags["a"], tags["b"])
    assert state.judged(OTHER, 0, [("a", "run")], [("c", 3)], []) == [
        Send(OTHER, ResultAck(0, [("a", "run")])),
        Send(OTHER, UnknownTasks(0, [("c", 3)])),
    ]


def test_what_another_agent_finished_is_stopped_here_once_it_counts() -> None:
    state, tags = leased("a", "b")
    state.receive(OTHER, Results(0, [result("a", 1)]), 1.0)
    out = state.judged(OTHER, 0, [("a", "run"), ("b", "run")], [], [], ["a"])
    assert Send(PEER, Cancel(100, [("a", tags["a"])])) in out
    assert (state.leases.tag("a"), state.leases.tag("b")) == (None, tags["b"])


def test_who_is_taken_over_is_told_at_once() -> None:
    out = ready().receive(OTHER, hello("n2", "two", takeover=True), 1.0)
    assert out[0] == Send(PEER, Stale(100))
    assert Send(OTHER, Welcome(300, "n2")) in out


def test_silence_makes_it_offline_and_its_next_frame_stale() -> None:
    state = ready()
    assert state.tick(SILENCE_S - 0.1) == []
    assert state.tick(SILENCE_S) == [Offline("", SILENCE_S)]
    assert state.receive(PEER, Heartbeat(100, {}), SILENCE_S + 1) == [Send(PEER, Stale(100))]


def test_a_heartbeat_keeps_it_online_and_is_reported() -> None:
    state = ready()
    assert state.receive(PEER, Heartbeat(100, {"credit": 4}), 10.0) == [Online({"credit": 4})]
    assert state.tick(10.0 + SILENCE_S - 0.1) == []


def test_goodbye_is_offline_at_once() -> None:
    assert ready().receive(PEER, Bye(100, "stopped by its user"), 1.0) == [Offline("stopped by its user")]


# --- digests ----------------------------------------------------------------------------------------


def beat(state: DispatchState, *held: tuple[str, int], mark: int = 10**6) -> list[Any]:
    return state.receive(PEER, Heartbeat(100, {}, digest_of(mark, held)), 1.0)


def test_equal_books_go_on() -> None:
    state, tags = leased("a", "b")
    for _ in range(3):
        assert beat(state, *tags.items()) == [Online({})]


@pytest.mark.parametrize("held", [["a"], ["a", "b", "x"], []])
def test_the_same_difference_twice_ends_the_session(held: list[str]) -> None:
    state, tags = leased("a", "b")
    books = [(task_id, tags.get(task_id, 7)) for task_id in held]
    assert beat(state, *books) == [Online({})]
    _, stale, offline = beat(state, *books)
    assert stale == Send(PEER, Stale(100))
    assert isinstance(offline, Offline)
    assert state.session is None


def test_a_lease_under_another_tag_is_a_difference() -> None:
    state, tags = leased("a")
    beat(state, ("a", tags["a"] - 1))
    assert Send(PEER, Stale(100)) in beat(state, ("a", tags["a"] - 1))


def test_what_is_on_its_way_is_no_difference() -> None:
    state, tags = leased("a", "b", "c")
    # Each time another cancel is on its way to the agent.
    for task_id in "abc":
        held = list(tags.items())
        state.stop([(task_id, None)])
        del tags[task_id]
        assert Send(PEER, Stale(100)) not in beat(state, *held)
    # Leases above the mark have not reached the agent.
    state, tags = leased("a", "b")
    for _ in range(3):
        assert beat(state, ("a", tags["a"]), mark=tags["a"]) == [Online({})]


def test_a_difference_that_went_is_forgotten() -> None:
    state, tags = leased("a", "b")
    for _ in range(3):
        assert beat(state, ("a", tags["a"])) == [Online({})]
        assert beat(state, *tags.items()) == [Online({})]


@pytest.mark.parametrize("value", ["", "no number", "\u0663", "f" * 10_000])
def test_a_digest_that_is_no_number_differs(value: str) -> None:
    state, tags = leased("a")
    message = Heartbeat(100, {}, msgspec.structs.replace(digest_of(10**6, tags.items()), value=value))
    state.receive(PEER, message, 1.0)
    assert Send(PEER, Stale(100)) in state.receive(PEER, message, 1.0)


# --- reconcile --------------------------------------------------------------------------------------


def test_the_inventory_is_compared_in_the_store_once_and_the_verdict_repeated() -> None:
    state = new_state()
    state.receive(PEER, hello(), 0.0)
    inventory = Inventory(100, [("a", 1)])
    assert state.receive(PEER, inventory, 0.0) == [Reconcile(100, "spool", {"a": 1})]
    assert state.receive(PEER, inventory, 0.0) == []
    verdict = Send(PEER, Reconciled(100, [("a", 1)], []))
    assert verdict in state.reconciled(100, [], [("a", 1)], [])
    assert state.receive(PEER, inventory, 0.0) == [verdict]


def test_nothing_leaves_before_the_verdict() -> None:
    state = new_state()
    state.receive(PEER, hello(), 0.0)
    assert not state.offer([0])
    assert state.queued() == []


def test_a_verdict_of_an_older_session_is_void() -> None:
    state = new_state()
    state.receive(PEER, hello(), 0.0)
    state.receive(PEER, Inventory(100, []), 0.0)
    state.receive(PEER, hello("n2"), 0.0)
    assert state.reconciled(100, [], [], []) == []
    assert not state.ready


def test_kept_leases_use_credit_unless_they_ended_meanwhile() -> None:
    state = new_state()
    state.receive(PEER, hello(), 0.0)
    state.receive(PEER, Inventory(100, [("a", 1), ("b", 2)]), 0.0)
    state.receive(PEER, Results(100, [result("a", 1)]), 0.0)
    state.reconciled(100, [("a", 1), ("b", 2)], [], [])
    assert (state.leases.tag("a"), state.leases.tag("b")) == (None, 2)


# --- dispatch ---------------------------------------------------------------------------------------


def test_an_offer_is_bounded_by_credit() -> None:
    state = ready()
    assert len(state.offer([0] * 100)) == FIRST_CREDIT
    state.receive(PEER, Heartbeat(100, {"credit": 50}), 0.0)
    assert len(state.offer([0] * 100)) == 50


@pytest.mark.parametrize("credit", [0, -5])
def test_no_credit_no_offer(credit: int) -> None:
    state = ready()
    state.receive(PEER, Heartbeat(100, {"credit": credit}), 0.0)
    assert not state.offer([0])


@pytest.mark.parametrize("credit", ["many", None, True, 1.5])
def test_a_credit_that_is_no_number_is_ignored(credit: Any) -> None:
    state = ready()
    state.receive(PEER, Heartbeat(100, {"credit": credit}), 0.0)
    assert state.credit == FIRST_CREDIT


def test_an_offer_is_bounded_by_bytes_but_one_task_always_goes() -> None:
    assert len(ready().offer([BYTES_IN_FLIGHT // 2] * 3)) == 2
    assert len(ready().offer([BYTES_IN_FLIGHT * 2, 1])) == 1


def test_nobody_overtakes_the_queue() -> None:
    state = ready()
    state.queued()
    assert not state.offer([0])


def test_tags_grow_and_never_repeat() -> None:
    state = ready()
    first, second = state.offer([0]), state.offer([0])
    assert first[0] < second[0]


def test_a_function_goes_with_its_first_task_only() -> None:
    state = ready()
    assert state.dispatch([item("a", 1)], 0.0) == [SendTasks(PEER, 100, ("f",), [item("a", 1)])]
    assert state.dispatch([item("b", 2)], 0.0) == [SendTasks(PEER, 100, (), [item("b", 2)])]


def test_an_unaccepted_lease_is_sent_again_under_its_tag() -> None:
    state, tags = leased("a", "b")
    state.receive(PEER, Accepted(100, [("b", tags["b"])]), 1.0)
    assert state.tick(RETRANSMIT_S - 0.1) == []
    again = SendTasks(PEER, 100, ("f",), [item("a", tags["a"])])
    assert state.tick(RETRANSMIT_S) == [again]
    assert state.tick(RETRANSMIT_S + 1) == []
    assert state.tick(2 * RETRANSMIT_S) == [again]


def test_acceptance_of_another_tag_is_void() -> None:
    state, tags = leased("a")
    state.receive(PEER, Accepted(100, [("a", tags["a"] + 1)]), 0.0)
    assert len(state.tick(RETRANSMIT_S)) == 1


def test_the_queue_is_fetched_when_there_is_room() -> None:
    state = ready()
    (fetch,) = state.queued()
    assert isinstance(fetch, Fetch)
    assert (fetch.session, len(fetch.tags), fetch.size_limit) == (100, FIRST_CREDIT, BYTES_IN_FLIGHT)
    assert state.queued() == []  # one at a time


def test_what_queues_during_a_fetch_is_fetched_next() -> None:
    state = ready()
    state.queued()
    state.queued()
    (again,) = state.fetched(100, [], True, 0.0)
    assert isinstance(again, Fetch)
    assert state.fetched(100, [], True, 0.0) == []
    assert state.offer([0])


def test_a_result_makes_room_for_the_next_in_the_queue() -> None:
    state, tags = leased(*"abcdefgh")
    assert state.queued() == []
    out = state.receive(PEER, Results(100, [result("a", tags["a"])]), 0.0)
    assert [type(instruction) for instruction in out] == [StoreResults, Fetch]


def test_leases_fetched_for_a_session_that_is_over_are_not_sent() -> None:
    state = ready()
    state.queued()
    state.receive(PEER, hello("n2"), 0.0)
    assert state.fetched(100, [item("a", 1)], True, 0.0) == []
    assert len(state.leases) == 0


def test_a_failed_fetch_is_tried_again_at_the_next_tick() -> None:
    state = ready()
    state.queued()
    state.fetch_failed()
    assert isinstance(state.tick(1.0)[0], Fetch)


# --- facts ------------------------------------------------------------------------------------------


def test_a_committed_verdict_is_told_to_the_sender() -> None:
    out = ready().judged(OTHER, 7, [("a", "run")], [("b", 2)], [])
    assert out == [Send(OTHER, ResultAck(7, [("a", "run")])), Send(OTHER, UnknownTasks(7, [("b", 2)]))]


def test_acknowledgements_of_the_session_gather() -> None:
    state = ready()
    assert state.judged(PEER, 100, [("a", "run")], [], []) == [AcknowledgeSoon()]
    assert state.judged(PEER, 100, [("b", "run")], [], []) == []
    assert state.acknowledge() == [Send(PEER, ResultAck(100, [("a", "run"), ("b", "run")]))]
    assert state.acknowledge() == []


def test_many_acknowledgements_do_not_wait() -> None:
    acks = [(f"t{number}", "run") for number in range(ACKS_AT_ONCE)]
    assert ready().judged(PEER, 100, acks, [], []) == [Send(PEER, ResultAck(100, acks))]


def test_acknowledgements_end_with_their_session() -> None:
    state = ready()
    state.judged(PEER, 100, [("a", "run")], [], [])
    state.end_session("")
    assert state.acknowledge() == []


def test_results_that_could_not_be_stored_are_asked_for_again() -> None:
    state = ready()
    state.judging_failed(100)
    stale, offline = state.tick(1.0)
    assert stale == Send(PEER, Stale(100))
    assert isinstance(offline, Offline)


def test_requeued_tasks_are_fetched() -> None:
    out = ready().judged(PEER, 100, [("a", "run")], [], ["a"])
    assert [type(instruction) for instruction in out] == [AcknowledgeSoon, Fetch]


def test_a_start_counts_for_the_lease_it_names_only() -> None:
    state, tags = leased("a")
    good, bad = ("a", tags["a"], "run", 1.0, {}), ("a", tags["a"] + 1, "run", 1.0, {})
    assert state.receive(PEER, Started(100, [good, bad]), 0.0) == [StoreStarted([good])]
    assert state.receive(PEER, Started(100, [bad]), 0.0) == []


def test_events_are_stored_then_acknowledged() -> None:
    state, batches = ready(), [EventBatch("a", "run", 0, [])]
    assert state.receive(PEER, Events(100, batches), 0.0) == [StoreEvents(PEER, 100, batches)]
    assert state.events_stored(PEER, 100, [("a", "run", 3)]) == [
        Send(PEER, EventsAck(100, [("a", "run", 3)]))
    ]


def test_stopping_names_the_lease() -> None:
    state, tags = leased("a", "b")
    assert state.stop([("a", None), ("b", 77), ("c", None)]) == [
        Send(PEER, Cancel(100, [("a", tags["a"]), ("b", 77)]))
    ]
    assert len(state.leases) == 0
