"""What the silence of a session means, claim by claim, without a process or a clock."""

import pytest

from funcx_lab_endpoint.engine.vitals import (
    ABANDONED_S,
    ANSWER_S,
    ASK_S,
    DOUBT_S,
    DYING_S,
    EXIT_CODE_S,
    IDLE_SILENCE_S,
    RUNNING_SILENCE_S,
    Load,
    Vitals,
)

HOUR = 3600.0


def up(**changes):
    vitals = Vitals("engine", 0.0, heard=0.0, is_up=True)
    for name, value in changes.items():
        setattr(vitals, name, value)
    return vitals


def why(vitals, now, load=Load.IDLE, *, tells_exit=False, engine_trouble=""):
    return vitals.why_lost(now, load, tells_exit=tells_exit, engine_trouble=engine_trouble)


def test_session_not_up_is_lost_when_its_engine_says_so():
    vitals = Vitals("engine", 0.0)
    assert why(vitals, HOUR) == ""
    vitals.ended = "exit code 1"
    assert why(vitals, HOUR) == "exit code 1"


@pytest.mark.parametrize("load", [Load.RUNNING, Load.HOLDING])
def test_connected_session_with_a_call_is_never_lost_by_silence(load):
    assert why(up(), HOUR, load) == ""
    assert why(up(ended="ManagerLost"), HOUR, load) == ""
    assert why(up(), HOUR, load, engine_trouble="the interchange died") == ""


@pytest.mark.parametrize(
    ("load", "limit"),
    [(Load.RUNNING, RUNNING_SILENCE_S), (Load.HOLDING, IDLE_SILENCE_S), (Load.IDLE, IDLE_SILENCE_S)],
)
def test_disconnected_session_is_lost_after_its_silence(load, limit):
    vitals = up(is_connected=False)
    assert why(vitals, limit - 0.1, load) == ""
    assert "not heard" in why(vitals, limit + 0.1, load)


def test_idle_session_has_no_excuse():
    assert why(up(), IDLE_SILENCE_S - 0.1) == ""
    assert "not heard" in why(up(), IDLE_SILENCE_S + 0.1)


def test_session_given_up_by_its_engine_is_lost_soon_unless_it_is_heard():
    vitals = up(ended="WorkerLost", is_connected=False)
    assert why(vitals, ABANDONED_S - 0.1, Load.RUNNING) == ""
    assert why(vitals, ABANDONED_S + 0.1, Load.RUNNING) == "WorkerLost"
    vitals.heard = 100.0
    assert why(vitals, 101.0, Load.RUNNING) == ""


def test_loss_after_an_engines_failure_names_it():
    trouble = "the interchange (pid 5) died"
    assert trouble in why(up(is_connected=False), ABANDONED_S + 0.1, Load.RUNNING, engine_trouble=trouble)
    assert trouble in why(up(dead_at=0.0), 1.0, Load.RUNNING, engine_trouble=trouble)


def test_dead_process_is_lost_once_its_exit_code_had_time_to_come():
    assert why(up(dead_at=0.0), DYING_S + 0.01) == "the process died"
    assert why(up(dead_at=0.0), EXIT_CODE_S - 0.1, tells_exit=True) == ""
    assert why(up(dead_at=0.0), EXIT_CODE_S + 0.1, tells_exit=True) == "the process died"
    assert why(up(dead_at=0.0, ended="signal 9"), DYING_S + 0.01, tells_exit=True) == "signal 9"


def test_session_without_a_running_call_is_asked_now_and_then():
    vitals = up()
    assert not vitals.wants_question(0.0, Load.IDLE)
    assert vitals.wants_question(ASK_S, Load.IDLE)
    assert not vitals.wants_question(ASK_S + 1, Load.IDLE)
    vitals.answered()
    assert vitals.wants_question(2 * ASK_S, Load.HOLDING)


def test_running_call_is_progress():
    vitals = up()
    vitals.wants_question(0.0, Load.IDLE)
    assert not vitals.wants_question(ASK_S, Load.RUNNING)
    assert not vitals.wants_question(ASK_S + 1, Load.IDLE)


def test_question_is_void_once_a_call_runs():
    vitals = up()
    vitals.wants_question(0.0, Load.IDLE)
    vitals.wants_question(ASK_S, Load.IDLE)
    vitals.wants_question(ASK_S + 1, Load.RUNNING)
    assert vitals.question_at is None


def test_idle_session_that_does_not_answer_is_lost_though_it_beats():
    vitals = up()
    vitals.wants_question(0.0, Load.IDLE)
    vitals.wants_question(ASK_S, Load.IDLE)
    vitals.heard = ASK_S + ANSWER_S
    assert why(vitals, ASK_S + ANSWER_S) == ""
    assert "did not answer" in why(vitals, ASK_S + ANSWER_S + 0.1)
    assert why(vitals, ASK_S + ANSWER_S + 0.1, Load.HOLDING) == ""


def test_silent_session_is_doubted_before_it_is_lost():
    assert not up().is_doubtful(DOUBT_S)
    assert up().is_doubtful(DOUBT_S + 0.1)
    assert not Vitals("engine", 0.0).is_doubtful(HOUR)


def test_orphan_is_a_session_that_its_engine_does_not_have():
    assert not up().is_orphan("engine")
    assert up().is_orphan("next engine")
    assert up(ended="ManagerLost").is_orphan("engine")
    assert not up(ended="ManagerLost", is_retired=True).is_orphan("engine")
    assert not Vitals("engine", 0.0).is_orphan("next engine")
