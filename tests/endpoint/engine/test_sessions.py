"""Which call goes where, claim by claim, without a socket or a clock."""

import pytest

from funcx_lab.protocol.messages import Event
from funcx_lab_endpoint.engine.contract import Call, CallDone, CallLost, CallOutput, CallStarted
from funcx_lab_endpoint.engine.demand import AHEAD_CALLS, CREDIT_LIMIT, RunTimes, sessions_wanted
from funcx_lab_endpoint.engine.vitals import Load
from funcx_lab_endpoint.worker import messages as m
from tests.endpoint.engine.world import World


def test_call_waits_while_no_session_is_up():
    assert World().submit("f1").sessions.queued == 1


def test_call_goes_to_a_session_that_comes_up_later():
    world = World().submit("f1")
    world.sessions.up("a", {}, 0.0)
    assert world.runs("a") == ["f1"]


def test_function_travels_once_per_session_and_before_its_call():
    world = World("a", short="f").submit("f1", "f2")
    assert [type(item) for item in world.sent("a")] == [m.Learn, m.Run, m.Run]


def test_calls_spread_over_idle_sessions():
    world = World("a", "b").submit("f1", "f2")
    assert world.runs("a") + world.runs("b") == ["f1", "f2"]


def test_unknown_function_goes_out_one_at_a_time():
    assert World("a").submit("f1", "f2").runs("a") == ["f1"]


def test_long_function_goes_out_one_at_a_time():
    assert World("a", long="f").submit("f1", "f2").runs("a") == ["f1"]


def test_10_ms_function_has_one_queued_ahead():
    world = World("a")
    world.sessions.times.learn("f", 0.0103)
    assert world.submit("f1", "f2", "f3").runs("a") == ["f1", "f2"]


def test_short_function_goes_out_in_20_ms_worth():
    world = World("a", short="f").submit(*(f"f{i}" for i in range(100)))
    assert len(world.runs("a")) == 20


def test_batch_is_limited():
    world = World("a")
    world.sessions.times.learn("f", 1e-7)
    assert len(world.submit(*(f"f{i}" for i in range(AHEAD_CALLS + 100))).runs("a")) == AHEAD_CALLS


def test_functions_take_turns():
    world = World("a", short="fg").submit(*(f"f{i}" for i in range(30)), *(f"g{i}" for i in range(30)))
    runs = world.runs("a")
    assert abs(sum(name[0] == "f" for name in runs) - len(runs) / 2) <= 1


def test_done_makes_room_for_the_next():
    world = World("a").submit("f1", "f2")
    world.done("a", 1, seconds=5.0)
    assert world.runs("a") == ["f1", "f2"]


def test_done_is_told_with_its_execution():
    world = World("a").submit("f1").done("a", 1)
    (fact,) = world.sessions.facts
    assert (fact.task_id, fact.tag, fact.execution, fact.outcome.worker) == ("f1", 7, "a.1", {"pid": 1})


def test_done_twice_is_told_once():
    assert World("a").submit("f1").done("a", 1).done("a", 1).facts(CallDone) == ["f1"]


def test_same_task_twice_runs_once():
    assert World("a", short="f").submit("f1", "f1").submit("f1").runs("a") == ["f1"]


def test_output_is_told_under_the_execution():
    world = World("a").submit("f1").take("a", m.Output(1, 0, [Event(0.0, "stdout", "x")]))
    assert [(fact.execution, fact.first) for fact in world.sessions.facts] == [("a.1", 0)]


def test_output_of_an_ended_call_is_dropped():
    world = World("a").submit("f1").done("a", 1).take("a", m.Output(1, 0, []))
    assert world.facts(CallOutput) == []


def test_started_is_told():
    assert World("a").submit("f1").take("a", m.Started(1, 0.0)).facts(CallStarted) == ["f1"]


def test_calls_behind_a_long_one_are_recalled():
    world = World("a", short="f").submit("f1", "f2")
    world.sent("a")
    world.take("a", m.Started(1, 0.0))
    assert world.sent("a") == [m.Recall()]


def test_recalled_calls_go_elsewhere_in_order():
    world = World("a", short="f").submit("f1", "f2", "f3").take("a", m.Started(1, 0.0))
    world.sessions.up("b", {}, 0.0)
    world.take("a", m.Returned([2, 3]))
    assert world.runs("b") == ["f2", "f3"]


def test_session_with_a_long_call_gets_no_more():
    world = World("a", short="f").submit("f1").take("a", m.Started(1, 0.0)).submit("f2")
    assert world.runs("a") == ["f1"]


def test_session_gets_calls_again_after_its_long_one():
    world = World("a", short="f").submit("f1").take("a", m.Started(1, 0.0)).submit("f2").done("a", 1)
    assert world.runs("a") == ["f1", "f2"]


def test_long_call_alone_is_not_followed_by_a_recall():
    world = World("a").submit("f1")
    world.sent("a")
    assert world.take("a", m.Started(1, 0.0)).sent("a") == []


# --- losses -----------------------------------------------------------------------------------------


def lose(world, sid="a"):
    world.sessions.lost(sid, "gone")
    return world


def test_running_call_of_a_lost_session_is_lost():
    assert lose(World("a").submit("f1").take("a", m.Started(1, 0.0))).facts(CallLost) == ["f1"]


def test_loss_is_told_once():
    world = lose(lose(World("a").submit("f1").take("a", m.Started(1, 0.0))))
    assert world.facts(CallLost) == ["f1"]


def test_calls_not_known_to_run_are_not_lost():
    world = lose(World("a", short="f").submit("f1", "f2").take("a", m.Started(1, 0.0)))
    assert world.facts(CallLost) == ["f1"]
    assert world.sessions.queued == 1


def test_calls_of_a_lost_session_keep_their_place():
    world = lose(World("a", short="f").submit(*(f"f{i}" for i in range(30))))
    world.sessions.up("b", {}, 0.0)
    assert world.runs("b") == ["f0"]


def test_suspects_are_tried_alone_and_ask_first():
    world = lose(World("a", short="f").submit("f1", "f2"))
    world.sessions.up("b", {}, 0.0)
    (run,) = [item for item in world.sent("b") if isinstance(item, m.Run)]
    assert (run.task_id, run.confirm) == ("f1", True)


def test_suspect_is_told_to_go():
    world = lose(World("a").submit("f1"))
    world.sessions.up("b", {}, 0.0)
    world.sent("b")
    assert world.take("b", m.Starting(1)).sent("b") == [m.Go(1)]


def test_suspect_that_kills_again_is_lost():
    world = lose(World("a").submit("f1"))
    world.sessions.up("b", {}, 0.0)
    assert lose(world.take("b", m.Starting(1)), "b").facts(CallLost) == ["f1"]


def test_suspect_that_never_began_is_tried_again():
    world = lose(World("a").submit("f1"))
    world.sessions.up("b", {}, 0.0)
    assert lose(world, "b").facts(CallLost) == []
    assert world.sessions.queued == 1


def test_at_most_once_call_is_lost_with_its_session_even_unstarted():
    assert lose(World("a").submit("f1", at_most_once=True)).facts(CallLost) == ["f1"]


def test_at_most_once_call_goes_out_alone():
    world = World("a", short="f").submit("f1", at_most_once=True).submit("f2")
    assert world.runs("a") == ["f1"]


def test_nothing_is_taken_from_a_lost_session():
    world = lose(World("a").submit("f1").take("a", m.Started(1, 0.0)))
    assert world.done("a", 1).facts(CallDone) == []


# --- cancel and retire ------------------------------------------------------------------------------


def test_cancel_in_line_leaves_no_trace():
    world = World().submit("f1")
    assert world.sessions.cancel("f1")
    assert (world.sessions.in_hand, world.sessions.queued, world.sessions.facts) == (0, 0, [])


def test_cancel_of_a_sent_call_stops_it_there():
    world = World("a").submit("f1")
    world.sent("a")
    assert world.sessions.cancel("f1")
    assert world.sent("a") == [m.Stop(1)]


def test_cancelled_call_that_comes_back_is_forgotten():
    world = World("a", short="f").submit("f1", "f2")
    world.sessions.cancel("f2")
    world.take("a", m.Returned([2]))
    assert (world.sessions.in_hand, world.sessions.facts) == (1, [])


def test_cancelled_call_of_a_lost_session_is_forgotten():
    world = World("a").submit("f1")
    world.sessions.cancel("f1")
    assert (lose(world).sessions.in_hand, world.sessions.facts) == (0, [])


def test_a_task_that_comes_again_while_its_cancelled_call_runs_waits_for_the_end_of_that():
    world = World("a").submit("f1")
    assert world.runs("a") == ["f1"]
    world.sessions.cancel("f1")
    world.sessions.submit([Call("f1", 8, "f")])
    assert world.runs("a") == []
    world.done("a", 1, ok=False)
    assert world.runs("a") == ["f1"]
    world.done("a", 2)
    assert [fact.tag for fact in world.sessions.facts] == [7, 8]


@pytest.mark.parametrize("end", ["lost", "returned"])
def test_a_task_that_comes_again_outlives_its_cancelled_call_however_that_ends(end):
    world = World("a", "b", long="f").submit("f1")
    first = "a" if world.runs("a") else "b"
    world.sessions.cancel("f1")
    world.sessions.submit([Call("f1", 8, "f")])
    if end == "lost":
        world.sessions.lost(first, "killed")
    else:
        world.take(first, m.Returned([1]))
    assert "f1" in world.runs("a") + world.runs("b")
    assert world.sessions.facts == []


def test_a_task_that_comes_again_can_be_cancelled_again():
    world = World("a").submit("f1")
    world.sessions.cancel("f1")
    world.sessions.submit([Call("f1", 8, "f")])
    assert world.sessions.cancel("f1")
    world.done("a", 1, ok=False)
    assert world.runs("a") == ["f1"]
    assert world.sessions.in_hand == 0


def test_cancel_of_the_unknown_is_refused():
    assert not World().sessions.cancel("f1")


def test_retired_session_hands_back_and_gets_nothing():
    world = World("a")
    world.sessions.retire("a")
    assert world.submit("f1").sent("a") == [m.Recall(), m.Close()]


def test_idle_sessions_are_found_longest_first():
    world = World("a", "b").submit("f1").done("a", 1)
    assert world.sessions.idle(0.5) == ["b"]
    assert world.sessions.idle(2.0) == ["b", "a"]


def test_heartbeat_is_no_work():
    world = World("a").take("a", m.Hello(1, ""))
    assert world.sessions.idle(0.5) == ["a"]


# --- demand -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "calls", "wanted"),
    [(None, 5, 5), (None, 50, 10), (60.0, 3, 3), (0.001, 10, 1), (0.01, 200, 4), (0.01, 0, 0), (0.3, 4, 2)],
)
def test_demand(mean, calls, wanted):
    times = RunTimes()
    if mean is not None:
        times.learn("f", mean)
    assert sessions_wanted(times, [("f", calls)], 10) == wanted


def test_call_behind_a_long_one_wants_a_session_of_its_own():
    world = World("a", short="f").submit("f1").take("a", m.Started(1, 0.0)).submit("f2")
    assert world.sessions.wanted(10) == 2


def test_first_slow_run_is_forgotten_soon():
    times = RunTimes()
    for seconds in (2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0):
        times.learn("f", seconds)
    assert times.mean("f") < 0.02


def test_credit_is_a_second_of_work():
    times = RunTimes()
    for _ in range(500):
        times.learn("f", 0.01)
    assert times.credit(4) == pytest.approx(400, rel=0.01)


def test_credit_has_bounds():
    slow, fast = RunTimes(), RunTimes()
    for _ in range(500):
        slow.learn("f", 100.0)
        fast.learn("f", 1e-6)
    assert (slow.credit(8), fast.credit(8)) == (16, CREDIT_LIMIT)


# --- doubt and questions ----------------------------------------------------------------------------


def test_silent_session_gets_no_call_until_it_is_heard():
    world = World("a")
    world.sessions.doubt("a")
    assert world.submit("f1").runs("a") == []
    assert world.sessions.serving == 0
    assert world.take("a", m.Hello(1, "")).runs("a") == ["f1"]


def test_question_names_the_last_call():
    world = World("a").submit("f1")
    world.sent("a")
    world.sessions.ask("a")
    assert world.sent("a") == [m.Ask(1)]


def test_session_that_holds_its_calls_is_right():
    world = World("a", short="f").submit("f1", "f2").done("a", 1).take("a", m.Answer(2, [2]))
    assert world.sessions.answers == {"a": ""}


def test_session_that_lost_a_call_is_found_out():
    world = World("a", short="f").submit("f1", "f2").take("a", m.Answer(2, [2]))
    assert "1 of its calls" in world.sessions.answers["a"]


def test_calls_sent_after_the_question_are_not_missed():
    world = World("a", short="f").submit("f1")
    world.sessions.ask("a")
    world.submit("f2").take("a", m.Answer(1, [1]))
    assert world.sessions.answers == {"a": ""}


def test_load_is_what_the_calls_say():
    world = World("a").submit("f1")
    loads = [World("a").sessions.load("a"), world.sessions.load("a")]
    loads.append(world.take("a", m.Started(1, 0.0)).sessions.load("a"))
    assert loads == [Load.IDLE, Load.HOLDING, Load.RUNNING]
