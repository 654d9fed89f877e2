"""Named sessions: where their calls go, claim by claim, without a socket or a clock."""

import pytest

from funcx_lab_endpoint.worker import messages as m
from tests.endpoint.engine.world import World


def test_calls_of_a_session_go_to_one_worker_one_after_another():
    world = World("a", "b").submit("f1", "g1", session="warm")
    assert (world.runs("a"), world.runs("b")) == (["f1"], [])
    assert world.done("a", 1).runs("a") == ["g1"]


def test_a_session_stays_where_it_is_while_others_are_free():
    world = World("a", "b").submit("f1", session="warm").done("a", 1)
    assert world.submit("f2", session="warm").runs("a") == ["f1", "f2"]
    assert world.runs("b") == []


def test_a_busy_home_is_waited_for():
    world = World("a", "b").submit("f1", session="warm").done("a", 1).submit("f2", "f3")
    world.submit("g1", session="warm")
    assert set(world.runs("a")) | set(world.runs("b")) == {"f1", "f2", "f3"}
    assert world.sessions.queued == 1
    assert world.done("b", 1).runs("b") == []
    assert world.done("a", 2).runs("a") == ["g1"]


def test_two_sessions_begin_on_two_workers():
    world = World("a", "b").submit("f1", session="one").done("a", 1).submit("g1", session="two")
    assert (world.runs("a"), world.runs("b")) == (["f1"], ["g1"])


def test_the_home_takes_other_calls_in_between():
    world = World("a").submit("f1", session="warm").done("a", 1).submit("g1")
    assert world.runs("a") == ["f1", "g1"]


def test_a_stream_of_short_calls_does_not_keep_a_session_waiting():
    world = World("a", short="f").submit("g1", session="warm").done("a", 1)
    world.submit(*(f"f{i}" for i in range(100))).submit("g2", session="warm")
    sent = world.runs("a")
    for seq in range(2, 2 + len(sent) - 1):
        world.done("a", seq)
    assert world.runs("a")[0] == "g2"


def test_a_stream_of_session_calls_does_not_keep_others_waiting():
    world = World("a").submit("f1", "f2", "f3", session="warm").submit("g1")
    order = []
    for seq in range(1, 5):
        order += world.runs("a")
        world.done("a", seq, seconds=5.0)
    assert order.index("g1") < 3
    assert [name for name in order if name != "g1"] == ["f1", "f2", "f3"]


def test_a_lost_session_goes_elsewhere_and_its_next_call_is_told():
    world = World("a").submit("f1", session="warm").done("a", 1)
    world.sessions.lost("a", "signal 9")
    world.sessions.up("b", {"host": "there"}, 2.0)
    run = world.submit("f2", session="warm").run("b", "f2")
    assert (run.session, run.lost) == ("warm", "signal 9")
    world.done("b", 1).submit("f3", session="warm")
    assert world.run("b", "f3").lost == ""


def test_the_loss_is_told_again_if_nobody_heard_of_it():
    world = World("a").submit("f1", session="warm").done("a", 1)
    world.sessions.lost("a", "signal 9")
    world.sessions.up("b", {}, 2.0)
    world.submit("f2", session="warm").take("b", m.Returned([1]))
    assert [run.lost for run in world.sent("b") if isinstance(run, m.Run)] == ["signal 9", "signal 9"]


def test_calls_that_waited_for_a_lost_session_keep_their_order():
    world = World("a").submit("f1", "f2", "f3", session="warm")
    world.sessions.lost("a", "signal 9")
    world.sessions.up("b", {}, 2.0)
    for seq in (1, 2, 3):
        world.take("b", m.Starting(seq)).done("b", seq)
    assert world.runs("b") == ["f1", "f2", "f3"]


def test_a_worker_with_a_session_is_not_idle_until_the_session_ends():
    world = World("a").submit("f1", session="warm").done("a", 1)
    assert world.sessions.idle(100.0) == []
    world.sessions.end_unused(0.5)
    assert world.sessions.idle(100.0) == []
    world.sent("a")
    world.sessions.end_unused(1.0)
    assert world.sent("a") == [m.EndNamed("warm")]
    assert world.sessions.idle(100.0) == ["a"]
    run = world.submit("f2", session="warm").run("a", "f2")
    assert "not been used" in run.lost


def test_a_session_with_a_call_does_not_expire():
    world = World("a").submit("f1", session="warm")
    world.sessions.end_unused(100.0)
    assert world.sessions.named == [{"name": "warm", "host": "", "calls": 1}]


def test_a_session_that_its_user_ended_is_forgotten_without_a_word():
    world = World("a").submit("f1", session="warm").done("a", 1, is_session_over=True)
    assert world.sessions.named == []
    assert world.submit("f2", session="warm").run("a", "f2").lost == ""


def test_the_outcome_tells_of_the_session():
    world = World("a").submit("f1", session="warm").done("a", 1, session={"name": "warm", "is_new": True})
    (fact,) = world.sessions.facts
    assert fact.outcome.worker == {"pid": 1, "session": {"name": "warm", "is_new": True}}


def test_one_worker_is_wanted_for_all_calls_of_a_session():
    world = World().submit("f1", "f2", "f3", session="warm")
    assert world.sessions.wanted(8) == 1
    world.sessions.up("a", {}, 0.0)
    assert world.sessions.wanted(8) == 1


@pytest.mark.parametrize("options", [{}, {"at_most_once": True}, {"session": "warm"}])
def test_calls_that_no_worker_has_are_given_back(options):
    world = World("a").submit("f1", "f2", **options)
    assert [world.sessions.give_back(name) for name in ("f1", "f2", "f3")] == [False, True, False]
    assert world.sessions.facts == []
    assert (world.sessions.queued, world.sessions.in_hand) == (0, 1)
    assert world.done("a", 1).runs("a") == ["f1"]
