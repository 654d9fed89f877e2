"""The checker sees each kind of wrong, in records made up for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chaos.checker import Verdict, check
from chaos.records import ACKED, INTENT, SEEN, SENT, Execution, HubTask


class Records:
    """Three records of two tasks, without a flaw until a test makes one."""

    def __init__(self) -> None:
        self.client: list[list[Any]] = []
        self.hub = {f"id{n}": HubTask(f"id{n}", True, (n * n, f"token{n}")) for n in (2, 3)}
        self.runs = {n: Execution(n, f"token{n}", 100, 1.0, 2.0) for n in (2, 3)}
        for n in (2, 3):
            self.client += [[INTENT, n, 0.0], [SENT, n, 0.0, f"id{n}"], [ACKED, n, 0.0, f"id{n}"]]
            self.client += [[SEEN, f"id{n}", 3.0, "ok", n * n, f"token{n}"]]

    def without(self, kind: str, what: object) -> None:
        self.client = [entry for entry in self.client if entry[:2] != [kind, what]]

    def judge(self) -> Verdict:
        return check(self.client, self.hub.values(), self.runs.values())


@pytest.fixture
def records() -> Records:
    return Records()


def test_records_that_agree_are_clean(records: Records) -> None:
    verdict = records.judge()
    assert verdict.is_clean
    assert verdict.complaints() == []
    assert (verdict.tasks, verdict.executions, verdict.acknowledged, verdict.forgotten) == (2, 2, 2, 0)


def test_a_second_run_of_a_task_is_counted_and_no_flaw(records: Records) -> None:
    records.runs[9] = Execution(2, "token9", 100, 1.0, None)
    verdict = records.judge()
    assert verdict.is_clean
    assert verdict.executions == 3


def test_an_acknowledged_task_that_the_service_does_not_know_is_lost(records: Records) -> None:
    del records.hub["id2"]
    records.without(SEEN, "id2")
    assert "unknown to the hub service" in records.judge().lost[0]


def test_a_task_that_never_ended_is_lost(records: Records) -> None:
    records.hub["id2"] = HubTask("id2", False)
    records.without(SEEN, "id2")
    assert records.judge().lost == ["task 2 (id2) never ended"]


def test_an_outcome_that_the_client_never_saw_is_lost(records: Records) -> None:
    records.without(SEEN, "id3")
    assert records.judge().lost == ["task 3 (id3) ended, and the client never saw it"]


def test_an_outcome_that_the_service_forgot_is_lost(records: Records) -> None:
    del records.hub["id2"]
    records.without(ACKED, 2)
    assert "was seen as" in records.judge().lost[0]


def test_a_submit_that_was_not_acknowledged_may_be_forgotten(records: Records) -> None:
    del records.hub["id2"]
    records.without(SEEN, "id2")
    records.without(ACKED, 2)
    verdict = records.judge()
    assert verdict.is_clean
    assert verdict.forgotten == 1


def test_a_task_with_two_ids_is_duplicated(records: Records) -> None:
    records.hub["other"] = HubTask("other", True, (4, "token8"))
    records.runs[8] = Execution(2, "token8", 100, 1.0, 2.0)
    records.client.append([SEEN, "other", 3.0, "ok", 4, "token8"])
    assert "second id" in records.judge().duplicated[0]


def test_a_number_submitted_twice_is_duplicated(records: Records) -> None:
    records.client.append([SENT, 2, 9.0, "id3"])
    assert "submitted task 2 twice" in records.judge().duplicated[0]


def test_a_client_killed_before_it_wrote_down_the_id_is_no_duplicate(records: Records) -> None:
    records.without(SENT, 2)
    records.without(ACKED, 2)
    assert records.judge().is_clean


def test_two_different_sights_of_an_outcome_are_a_change(records: Records) -> None:
    records.client.append([SEEN, "id2", 4.0, "ok", 4, "token7"])
    assert "was seen as" in records.judge().changed[0]


def test_an_outcome_that_is_kept_otherwise_than_it_was_seen_is_a_change(records: Records) -> None:
    records.hub["id2"] = HubTask("id2", True, (4, "token7"))
    records.runs[7] = Execution(2, "token7", 100, 1.0, 2.0)
    assert "is kept as" in records.judge().changed[0]


def test_a_failure_seen_where_a_value_is_kept_is_a_change(records: Records) -> None:
    records.without(SEEN, "id2")
    records.client.append([SEEN, "id2", 3.0, "WorkerLost", "WORKER_LOST", "gone"])
    assert "is kept as a value" in records.judge().changed[0]


@pytest.mark.parametrize("ended", [None, 2.0])
def test_a_value_that_no_run_returned_is_a_change(records: Records, ended: float | None) -> None:
    if ended is None:
        records.runs[2] = dataclasses.replace(records.runs[2], ended=None)
    else:
        del records.runs[2]
    assert "never ended" in records.judge().changed[0]


def test_the_value_of_another_task_is_a_change(records: Records) -> None:
    records.runs[2] = dataclasses.replace(records.runs[2], number=5)
    assert "has the value of task 5" in records.judge().changed[0]


def test_a_failure_of_a_function_that_cannot_fail_is_told(records: Records) -> None:
    records.hub["id2"] = HubTask("id2", True, None, "TASK_POISONED", "three times")
    records.without(SEEN, "id2")
    records.client.append([SEEN, "id2", 3.0, "TaskPoisoned", "TASK_POISONED", "three times"])
    verdict = records.judge()
    assert verdict.failed == ["task 2 (id2): TASK_POISONED three times"]
    assert not verdict.is_clean


def test_another_failure_than_the_one_that_is_kept_is_a_change(records: Records) -> None:
    records.hub["id2"] = HubTask("id2", True, None, "TASK_POISONED", "three times")
    records.without(SEEN, "id2")
    records.client.append([SEEN, "id2", 3.0, "WorkerLost", "WORKER_LOST", "gone"])
    assert "is kept as TASK_POISONED" in records.judge().changed[0]


CAREFUL = 27


@pytest.fixture
def careful(records: Records) -> Records:
    """A third task, which must not begin twice."""
    records.hub["id27"] = HubTask("id27", True, (CAREFUL**2, "token27"))
    records.runs[CAREFUL] = Execution(CAREFUL, "token27", 100, 1.0, 2.0)
    records.client += [[INTENT, CAREFUL, 0.0], [SENT, CAREFUL, 0.0, "id27"], [ACKED, CAREFUL, 0.0, "id27"]]
    records.client += [[SEEN, "id27", 3.0, "ok", CAREFUL**2, "token27"]]
    return records


def test_a_second_run_of_a_task_that_must_not_have_one_is_duplicated(careful: Records) -> None:
    assert careful.judge().is_clean
    careful.runs[9] = Execution(CAREFUL, "token9", 100, 1.0, None)
    assert careful.judge().duplicated == ["task 27 began 2 times in spite of at_most_once"]


@pytest.mark.parametrize(("number", "is_fine"), [(CAREFUL, True), (2, False)])
def test_only_a_task_that_must_not_run_twice_may_end_as_unknown(
    careful: Records, number: int, is_fine: bool
) -> None:
    careful.hub[f"id{number}"] = HubTask(f"id{number}", True, None, "LOST_UNKNOWN", "")
    careful.without(SEEN, f"id{number}")
    careful.client.append([SEEN, f"id{number}", 3.0, "LostUnknown", "LOST_UNKNOWN", ""])
    verdict = careful.judge()
    assert (verdict.is_clean, verdict.unknown) == (is_fine, int(is_fine))
