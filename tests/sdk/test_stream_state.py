"""Decisions of the stream, without sockets or threads."""

import itertools
import random

import pytest

from funcx_lab.errors import (
    EndpointLost,
    EndpointNotFound,
    FuncxLabError,
    NotAuthenticated,
    ServiceUnavailable,
    StorageFull,
    StoreDamaged,
    TaskGone,
    TaskNotFound,
    TooManyRequests,
)
from funcx_lab.protocol.messages import Event, TaskOptions
from funcx_lab.protocol.stream import (
    Cancelled,
    CancelTasks,
    Check,
    Failed,
    Follow,
    NewTask,
    OutcomeItem,
    Outcomes,
    Refusal,
    Submit,
    Submitted,
    Subscribe,
    TaskEvents,
    Unfollow,
    Watch,
)
from funcx_lab.stream.state import StreamState
from funcx_lab.stream.submit_queue import RUN_BYTES, RUN_TASKS, TASK_BYTES, Route, cost

ROUTE = Route("cluster", "function", "group")


class Sink:
    def __init__(self) -> None:
        self.heard = []

    def accepted(self) -> None:
        self.heard.append("accepted")

    def finish(self, item) -> None:
        self.heard.append(item.state)

    def ended_by_cancel(self) -> None:
        self.heard.append("cancelled")

    def fail(self, error: FuncxLabError) -> None:
        self.heard.append(type(error))

    def push(self, events, last) -> None:
        self.heard.append(([seq for seq, _ in events], last))

    def answer(self, task_ids) -> None:
        self.heard.append(set(task_ids))


@pytest.fixture
def state() -> StreamState:
    state = StreamState()
    state.connected()
    return state


def sent(state: StreamState) -> list:
    messages = []
    while (message := state.next_message()) is not None:
        messages.append(message)
    return messages


def freed(state: StreamState) -> int:
    return sum(map(cost, state.settled))


def submit(state: StreamState, task_id: str, route: Route = ROUTE, payload: bytes = b"") -> Sink:
    sink = Sink()
    state.submit(route, NewTask(task_id, payload), sink)
    return sink


def outcome(task_id: str, cursor: int = 1, state: str = "success") -> Outcomes:
    return Outcomes([OutcomeItem(cursor, task_id, state)])


def test_subscribes_before_the_first_submit_of_a_group_and_once(state) -> None:
    submit(state, "1")
    submit(state, "2")
    first, second = sent(state)
    assert first == Subscribe("group", 0)
    assert second == Submit(1, "cluster", "function", "group", [NewTask("1"), NewTask("2")])
    submit(state, "3")
    assert [type(message) for message in sent(state)] == [Submit]


def test_runs_of_one_route_travel_together_in_order(state) -> None:
    other = ROUTE._replace(function_id="other")
    for number, route in enumerate([ROUTE, ROUTE, other, ROUTE, Route(*ROUTE)]):
        submit(state, str(number), route)
    submits = [message for message in sent(state) if isinstance(message, Submit)]
    assert [[task.task_id for task in message.tasks] for message in submits] == [
        ["0", "1"],
        ["2"],
        ["3", "4"],
    ]


def test_runs_end_at_their_limits(state) -> None:
    for number in range(RUN_TASKS + 1):
        submit(state, str(number))
    big = bytes(RUN_BYTES // 2)
    for number in range(3):
        submit(state, f"big {number}", payload=big)
    lengths = [len(message.tasks) for message in sent(state) if isinstance(message, Submit)]
    assert lengths == [RUN_TASKS, 2, 1, 1]


def test_a_task_larger_than_a_run_travels_alone(state) -> None:
    submit(state, "1", payload=bytes(2 * RUN_BYTES))
    assert [len(message.tasks) for message in sent(state)[1:]] == [1]


def test_nothing_is_sent_without_a_connection() -> None:
    state = StreamState()
    submit(state, "1")
    state.watch("2", Sink())
    assert state.next_message() is None


def test_room_is_freed_by_the_acknowledgement(state) -> None:
    sink = submit(state, "1", payload=b"abc")
    sent(state)
    assert freed(state) == 0
    state.receive(Submitted(1))
    assert freed(state) == TASK_BYTES + 3
    assert sink.heard == ["accepted"]
    assert not state.unacknowledged
    assert not state.idle


def test_refusals_are_told_to_their_task_only(state) -> None:
    one, two = submit(state, "1"), submit(state, "2")
    sent(state)
    state.receive(Submitted(1, [Refusal("2", EndpointNotFound().as_document())]))
    assert (one.heard, two.heard) == (["accepted"], [EndpointNotFound])


@pytest.mark.parametrize("error", [TooManyRequests(), ServiceUnavailable(), StorageFull()])
def test_what_is_refused_for_now_waits_and_is_sent_again(state, error) -> None:
    sink = submit(state, "1")
    first = sent(state)[-1]
    state.receive(Failed(first.request, error.as_document()))
    assert state.resend_pending
    assert type(state.refusal) is type(error)
    submit(state, "2")
    assert sent(state) == []
    state.resend()
    (again,) = sent(state)
    assert again.tasks == [NewTask("1"), NewTask("2")]
    assert sink.heard == []
    assert freed(state) == 0
    state.receive(Submitted(again.request))
    assert sink.heard == ["accepted"]
    assert state.refusal is None


def test_of_a_batch_only_what_is_refused_for_now_is_sent_again(state) -> None:
    sinks = [submit(state, str(number)) for number in range(4)]
    sent(state)
    state.receive(
        Submitted(
            1,
            [
                Refusal("1", TooManyRequests(details={"retry_after_s": 2.5}).as_document()),
                Refusal("2", EndpointNotFound().as_document()),
                Refusal("3", TooManyRequests().as_document()),
            ],
        )
    )
    assert [sink.heard for sink in sinks] == [["accepted"], [], [EndpointNotFound], []]
    assert {task.task_id for task in state.settled} == {"0", "2"}
    state.resend()
    assert [message.tasks for message in sent(state)] == [[NewTask("1"), NewTask("3")]]


def test_a_service_that_refused_is_tried_with_one_message_and_then_with_all(state) -> None:
    submit(state, "1")
    state.receive(Failed(sent(state)[-1].request, TooManyRequests().as_document()))
    for number in range(3):
        submit(state, str(number), ROUTE._replace(function_id=str(number)))
    state.resend()
    (one,) = sent(state)
    assert sent(state) == []
    state.receive(Submitted(one.request))
    assert len(sent(state)) == 3


def test_a_break_does_not_shorten_the_pause_of_a_service_that_refused(state) -> None:
    submit(state, "1")
    state.receive(Failed(sent(state)[-1].request, TooManyRequests().as_document()))
    state.disconnected()
    state.connected()
    assert [type(message) for message in sent(state)] == [Subscribe]


def test_cancel_of_a_task_that_is_refused_for_now_needs_no_service(state) -> None:
    sink, canceller = submit(state, "1"), Sink()
    state.receive(Failed(sent(state)[-1].request, TooManyRequests().as_document()))
    state.cancel(["1"], canceller)
    assert (sink.heard, canceller.heard) == (["cancelled"], [{"1"}])
    state.resend()
    assert sent(state) == []
    assert freed(state) == TASK_BYTES


def test_cancel_that_crosses_a_refusal_for_now(state) -> None:
    sink, canceller = submit(state, "1"), Sink()
    request = sent(state)[-1].request
    state.cancel(["1"], canceller)
    (asked,) = sent(state)
    state.receive(Failed(request, TooManyRequests().as_document()))
    state.receive(Cancelled(asked.request, []))
    assert (sink.heard, canceller.heard) == (["cancelled"], [{"1"}])
    state.resend()
    assert sent(state) == []


@pytest.mark.parametrize("how", ["journal", "connection"])
def test_only_the_service_cancels_what_it_may_have_got_before_it_refused(state, how: str) -> None:
    sink, canceller = Sink(), Sink()
    if how == "journal":
        state.hand_over(ROUTE, NewTask("1"), sink)
    else:
        sink = submit(state, "1")
        sent(state)
        state.disconnected()
        state.connected()
        state.receive(Failed(sent(state)[-1].request, TooManyRequests().as_document()))
    state.cancel(["1"], canceller)
    (asked,) = [message for message in sent(state) if isinstance(message, CancelTasks)]
    state.receive(Cancelled(asked.request, []))
    assert (sink.heard, canceller.heard) == ([], [set()])


def test_tasks_of_the_journal_are_handed_over_and_then_forgotten(state) -> None:
    sink = Sink()
    state.hand_over(ROUTE, NewTask("1"), sink)
    assert state.taken == []
    assert not state.idle
    (message,) = sent(state)
    assert message.tasks == [NewTask("1")]
    state.receive(Submitted(message.request))
    assert sink.heard == ["accepted"]
    assert state.settled == [NewTask("1")]
    assert state.idle


def test_who_waits_for_a_task_of_the_journal_hears_its_end(state) -> None:
    watcher = Sink()
    state.hand_over(ROUTE, NewTask("1"), Sink())
    state.watch("1", watcher)
    (message,) = sent(state)
    state.receive(Submitted(message.request))
    assert sent(state) == [Watch(["1"])]
    state.receive(outcome("1"))
    assert watcher.heard == ["success"]


@pytest.mark.parametrize("error", [StoreDamaged(), EndpointNotFound()])
def test_a_submit_that_fails_for_good_fails_its_tasks(state, error) -> None:
    sink = submit(state, "1")
    state.receive(Failed(sent(state)[-1].request, error.as_document()))
    assert sink.heard == [type(error)]
    assert freed(state) == TASK_BYTES
    assert state.idle


def test_an_outcome_may_overtake_the_acknowledgement(state) -> None:
    sink = submit(state, "1")
    sent(state)
    state.receive(outcome("1"))
    state.receive(Submitted(1))
    assert sink.heard == ["success"]
    assert state.idle


def test_an_outcome_is_told_once(state) -> None:
    sink = submit(state, "1")
    sent(state)
    state.receive(outcome("1"))
    state.receive(outcome("1"))
    assert sink.heard == ["success"]


def test_after_a_break_only_the_unacknowledged_is_sent_again(state) -> None:
    submit(state, "1")
    submit(state, "2", ROUTE._replace(function_id="other"))
    messages = sent(state)
    state.receive(Submitted(1))
    state.disconnected()
    submit(state, "3")
    assert sent(state) == []
    state.connected()
    again = sent(state)
    assert again[0] == Subscribe("group", 0)
    assert again[1] == messages[2]
    assert again[2].tasks == [NewTask("3")]


def lose(state: StreamState, *task_ids: str) -> list:
    """Connect to a service that has lost tasks which it had acknowledged; return what is said then."""
    state.disconnected()
    state.doubts = True
    state.connected()
    said = sent(state)
    for task_id in task_ids:
        state.receive(Failed(0, TaskNotFound("no").as_document(), task_id))
    return said


def test_what_the_service_acknowledged_and_has_lost_is_sent_again(state) -> None:
    first, second = submit(state, "1"), submit(state, "2")
    sent(state)
    state.receive(Submitted(1))
    state.taken.clear()
    assert lose(state, "1") == [Subscribe("group", 0), Check(["1", "2"])]
    assert state.missing == [(ROUTE, NewTask("1"))]
    state.receive(Failed(0, TaskNotFound("again").as_document(), "1"))
    assert len(state.missing) == 1
    [again] = sent(state)
    assert again.tasks == [NewTask("1")]
    state.settled.clear()
    state.receive(Submitted(again.request))
    assert state.settled == [NewTask("1")]
    state.receive(outcome("1"))
    state.receive(outcome("2"))
    assert first.heard == ["accepted", "accepted", "success"]
    assert second.heard == ["accepted", "success"]
    assert state.idle


def test_a_connection_that_only_ended_asks_nothing(state) -> None:
    submit(state, "1")
    sent(state)
    state.receive(Submitted(1))
    state.disconnected()
    state.connected()
    assert sent(state) == [Subscribe("group", 0)]


def test_what_was_lost_and_may_run_only_once_fails(state) -> None:
    sink = submit(state, "1", ROUTE._replace(options=TaskOptions(at_most_once=True)))
    sent(state)
    state.receive(Submitted(1))
    lose(state, "1")
    assert sink.heard == ["accepted", EndpointLost]
    assert state.missing == sent(state) == []


def test_a_task_whose_retention_is_over_fails(state) -> None:
    sink = submit(state, "1")
    sent(state)
    state.receive(Submitted(1))
    lose(state)
    state.receive(Failed(0, TaskGone("gone").as_document(), "1"))
    assert sink.heard == ["accepted", TaskGone]


def test_a_group_resumes_behind_the_last_outcome_of_its_own_tasks(state) -> None:
    submit(state, "1")
    submit(state, "2")
    state.watch("elsewhere", Sink())
    sent(state)
    state.receive(outcome("1", cursor=7))
    state.receive(outcome("elsewhere", cursor=9))
    state.disconnected()
    state.connected()
    assert sent(state)[0] == Subscribe("group", 7)


def test_a_group_without_waiting_tasks_is_subscribed_when_it_gets_one(state) -> None:
    submit(state, "1")
    sent(state)
    state.receive(Submitted(1))
    state.receive(outcome("1", cursor=3))
    state.disconnected()
    state.connected()
    assert sent(state) == []
    submit(state, "2")
    assert sent(state)[0] == Subscribe("group", 3)


def test_cancel_of_a_task_that_was_never_sent_needs_no_service() -> None:
    state = StreamState()
    sink, canceller = submit(state, "1", payload=b"ab"), Sink()
    state.cancel(["1"], canceller)
    assert (sink.heard, canceller.heard) == (["cancelled"], [{"1"}])
    assert state.idle
    assert [task.task_id for task in state.settled] == ["1"]
    state.connected()
    assert sent(state) == []
    assert freed(state) == TASK_BYTES + 2


def test_cancelled_tasks_do_not_hide_what_waits_behind_them() -> None:
    state = StreamState()
    submit(state, "1")
    submit(state, "2", ROUTE._replace(function_id="other"))
    state.cancel(["1"], Sink())
    state.connected()
    assert sent(state)[-1].tasks == [NewTask("2")]


def test_cancel_of_a_sent_task_asks_and_asks_again_after_a_break(state) -> None:
    sink, canceller = submit(state, "1"), Sink()
    sent(state)
    state.cancel(["1", "elsewhere"], canceller)
    (asked,) = sent(state)
    assert asked == CancelTasks(2, ["1", "elsewhere"])
    state.disconnected()
    state.connected()
    assert [type(message) for message in sent(state)] == [Subscribe, Submit, CancelTasks]
    state.receive(Cancelled(2, ["1"]))
    assert (sink.heard, canceller.heard) == (["cancelled"], [{"1"}])
    state.receive(outcome("1", state="cancelled"))
    assert sink.heard == ["cancelled"]


def test_a_failed_cancel_is_told(state) -> None:
    canceller = Sink()
    state.cancel(["1"], canceller)
    state.receive(Failed(1, EndpointNotFound().as_document()))
    assert canceller.heard == [EndpointNotFound]


def test_all_who_watch_are_told_and_those_who_stopped_are_not(state) -> None:
    one, two, three = Sink(), Sink(), Sink()
    for sink in (one, two, three):
        state.watch("1", sink)
    state.unwatch("1", two)
    assert sent(state) == [Watch(["1"])] * 3
    state.receive(outcome("1"))
    assert (one.heard, two.heard, three.heard) == (["success"], [], ["success"])


def test_watches_are_told_again_in_large_portions(state) -> None:
    for number in range(25_000):
        state.watch(str(number), Sink())
    state.disconnected()
    state.connected()
    assert [len(message.task_ids) for message in sent(state)] == [10_000, 10_000, 5_000]


def test_watching_an_unknown_task_fails(state) -> None:
    sink = Sink()
    state.watch("1", sink)
    state.receive(Failed(0, EndpointNotFound().as_document(), "1"))
    assert sink.heard == [EndpointNotFound]
    assert state.idle


def test_follow_waits_until_the_service_knows_the_task(state) -> None:
    submit(state, "1")
    follower = Sink()
    state.follow("1", 0, follower)
    assert Follow("1", 0) not in sent(state)
    state.receive(Submitted(1))
    assert sent(state) == [Follow("1", 0)]


def test_a_follower_hears_each_event_once_also_after_a_break(state) -> None:
    follower = Sink()
    state.follow("1", 0, follower)
    event = Event(0.0, "stdout", "x")
    state.receive(TaskEvents("1", [(1, event), (2, event)]))
    state.disconnected()
    state.connected()
    assert sent(state) == [Follow("1", 2)]
    state.receive(TaskEvents("1", [(2, event), (3, event)], last=True))
    assert follower.heard == [([1, 2], False), ([3], True)]
    assert state.idle


def test_a_late_follower_hears_the_beginning_and_the_first_hears_nothing_twice(state) -> None:
    first, late = Sink(), Sink()
    event = Event(0.0, "stdout", "x")
    state.follow("1", 0, first)
    state.receive(TaskEvents("1", [(1, event)]))
    state.follow("1", 0, late)
    state.receive(TaskEvents("1", [(1, event), (2, event)]))
    assert first.heard == [([1], False), ([2], False)]
    assert late.heard == [([1, 2], False)]
    state.unfollow("1", first)
    assert Unfollow("1") not in sent(state)
    state.unfollow("1", late)
    assert sent(state) == [Unfollow("1")]


def test_a_refused_task_ends_its_followers(state) -> None:
    submit(state, "1")
    follower = Sink()
    state.follow("1", 0, follower)
    sent(state)
    state.receive(Submitted(1, [Refusal("1", EndpointNotFound().as_document())]))
    assert follower.heard == [EndpointNotFound]


def test_a_token_that_no_longer_counts_is_raised(state) -> None:
    with pytest.raises(NotAuthenticated):
        state.receive(Failed(0, NotAuthenticated().as_document()))


def test_fail_all_tells_everyone_and_frees_all_room(state) -> None:
    sinks = [submit(state, "1", payload=b"a")]
    sent(state)
    sinks.append(submit(state, "2", payload=b"ab"))
    for call in (state.watch, lambda name, sink: state.follow(name, 0, sink)):
        sinks.append(Sink())
        call("3", sinks[-1])
    sinks.append(Sink())
    state.cancel(["1"], sinks[-1])
    state.fail_all(NotAuthenticated())
    assert [sink.heard for sink in sinks] == [[NotAuthenticated]] * 5
    assert freed(state) == 2 * TASK_BYTES + 3
    assert state.idle
    assert not state.unacknowledged


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_every_task_ends_once_and_all_room_is_freed(seed: int) -> None:  # noqa: C901  # a whole model service
    """A random history: connections, acknowledgements and outcomes get lost, what is committed does not."""
    luck = random.Random(seed)
    state, sinks, committed, ended = StreamState(), {}, {}, {}
    ids, open_, cursor, waiting, subscribed = itertools.count(), False, 0, [], set()

    def serve(message) -> None:
        nonlocal cursor
        if isinstance(message, Submit):
            for task in message.tasks:
                committed.setdefault(task.task_id, message.group_id)
            waiting.append(Submitted(message.request))
        elif isinstance(message, Subscribe):
            subscribed.add(message.group_id)
            waiting.extend(
                Outcomes([item])
                for item in ended.values()
                if committed[item.task_id] == message.group_id and item.cursor > message.after
            )
        elif isinstance(message, CancelTasks):
            for task_id in message.task_ids:
                end(task_id, "cancelled")
            done = [t for t in message.task_ids if t in ended and ended[t].state == "cancelled"]
            waiting.append(Cancelled(message.request, done))

    def end(task_id: str, how: str) -> None:
        nonlocal cursor
        if task_id in committed and task_id not in ended:
            cursor += 1
            ended[task_id] = OutcomeItem(cursor, task_id, how)
            if committed[task_id] in subscribed:
                waiting.append(Outcomes([ended[task_id]]))

    def step(action: int) -> None:  # one branch an action
        nonlocal open_
        if action < 4:
            task_id = str(next(ids))
            sinks[task_id] = submit(state, task_id, ROUTE._replace(group_id=luck.choice("ab")))
        elif action == 4 and sinks:
            state.cancel([luck.choice(list(sinks))], Sink())
        elif action == 5 and luck.random() < 0.3:
            state.disconnected()
            waiting.clear()
            subscribed.clear()
            open_ = False
        elif action == 6 and not open_:
            state.connected()
            open_ = True
        elif action == 7 and (running := [t for t in committed if t not in ended]):
            end(luck.choice(running), luck.choice(["success", "failed"]))
        elif action == 8 and open_ and (message := state.next_message()) is not None:
            serve(message)
        elif action == 9 and waiting:
            state.receive(waiting.pop(0))

    for _ in range(400):
        step(luck.randrange(10))
    if not open_:
        state.connected()
    while (message := state.next_message()) is not None or waiting or len(ended) < len(committed):
        if message is not None:
            serve(message)
        elif waiting:
            state.receive(waiting.pop(0))
        else:
            end(next(t for t in committed if t not in ended), "success")
    for task_id, sink in sinks.items():
        finals = [word for word in sink.heard if word != "accepted"]
        assert len(finals) == 1, (task_id, sink.heard)
        if task_id in ended:
            assert finals == [ended[task_id].state]
    assert state.idle
    assert not state.unacknowledged
    assert freed(state) == len(sinks) * TASK_BYTES


def test_a_submit_tells_how_long_its_first_task_waited() -> None:
    now = [100.0]
    state = StreamState(clock=lambda: now[0])
    state.connected()
    for task_id in ("1", "2"):
        submit(state, task_id)
        now[0] += 0.25
    (told,) = [message for message in sent(state) if isinstance(message, Submit)]
    assert told.waited_s == pytest.approx(0.5)
