"""Blocks that fail, fall silent or come back, claim by claim, on a stand-in for an executor."""

from types import SimpleNamespace

import pytest
from parsl.executors import HighThroughputExecutor
from parsl.jobs.states import JobState, JobStatus
from parsl.providers import SlurmProvider

from funcx_lab_endpoint.engine import block_care
from funcx_lab_endpoint.engine.block_care import (
    BACKOFF_LIMIT_S,
    BATCH_START_LIMIT_S,
    SILENT_LIMIT_S,
    START_LIMIT_S,
    BlockCare,
)


class Executor(HighThroughputExecutor):
    """An executor with blocks but without processes."""

    def __init__(self):
        super().__init__(address="127.0.0.1")
        self.provider.max_blocks = 4

    def block(self, name, state, message=""):
        self._status[name] = JobStatus(state, message)
        self.blocks_to_job_id[name] = f"job of {name}"


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(block_care, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def executor():
    return Executor()


def fail(care, executor, name):
    executor.block(name, JobState.FAILED, f"{name} is no good")
    care.handle(executor, executor.status_facade)


def test_failing_blocks_are_held_back_ever_longer(clock, executor):
    care = BlockCare(executor)
    waits = []
    for number in range(9):
        fail(care, executor, str(number))
        since = clock.now
        while executor.provider.max_blocks == 0:
            clock.now += 0.5
            care.handle(executor, executor.status_facade)
        waits.append(clock.now - since)
    assert waits[:4] == [1.0, 3.0, 7.0, 15.0]
    assert waits[-1] == BACKOFF_LIMIT_S


def test_failing_block_leaves_room_for_those_that_live(clock, executor):
    care = BlockCare(executor)
    executor.block("a", JobState.RUNNING)
    fail(care, executor, "b")
    assert executor.provider.max_blocks == 1


def test_reason_of_the_last_failure_stays_until_a_block_serves(clock, executor):
    care = BlockCare(executor)
    fail(care, executor, "a")
    assert "a is no good" in care.trouble
    executor.block("b", JobState.RUNNING)
    care.handle(executor, executor.status_facade)
    assert "a is no good" in care.trouble
    care.look([{"block_id": "b"}], clock.now)
    care.handle(executor, executor.status_facade)
    assert care.trouble == ""


def test_block_that_served_and_fails_is_replaced_at_once(clock, executor):
    care = BlockCare(executor)
    care.look([{"block_id": "a"}], clock.now)
    fail(care, executor, "a")
    assert executor.provider.max_blocks == 4


def test_block_whose_manager_is_silent_is_ended_after_a_while(executor):
    care = BlockCare(executor)
    executor.block("a", JobState.RUNNING)
    assert care.look([{"block_id": "a"}], 0.0) == []
    assert care.look([], 1.0) == []
    assert "not heard" in care.facts()["a"]["reason"]
    assert care.look([], 1.0 + SILENT_LIMIT_S) == []
    assert care.look([], 1.1 + SILENT_LIMIT_S) == ["a"]


def test_manager_that_is_heard_again_is_left_alone(executor):
    care = BlockCare(executor)
    executor.block("a", JobState.RUNNING)
    care.look([{"block_id": "a"}], 0.0)
    care.look([], 1.0)
    care.look([{"block_id": "a"}], 2.0)
    assert care.look([], 2.0 + SILENT_LIMIT_S) == []


def test_block_whose_manager_never_connects_is_ended_and_the_next_has_twice_the_time(executor):
    care = BlockCare(executor)
    executor.block("a", JobState.RUNNING)
    care.look([], 0.0)
    assert care.look([], START_LIMIT_S) == []
    assert "has not connected yet" in care.facts()["a"]["reason"]
    assert care.look([], START_LIMIT_S + 1) == ["a"]
    assert "did not connect within 60 s" in care.trouble
    executor.block("a", JobState.COMPLETED)
    executor.block("b", JobState.RUNNING)
    care.look([], 100.0)
    assert care.look([], 100.0 + 2 * START_LIMIT_S) == []
    assert care.look([{"block_id": "b"}], 101.0 + 2 * START_LIMIT_S) == []
    executor.block("c", JobState.RUNNING)
    care.look([{"block_id": "b"}], 300.0)
    assert care.look([{"block_id": "b"}], 301.0 + START_LIMIT_S) == ["c"]


def test_block_of_a_batch_system_has_more_time_to_connect(executor):
    executor._provider = SlurmProvider()
    care = BlockCare(executor)
    executor.block("a", JobState.RUNNING)
    care.look([], 0.0)
    assert care.look([], BATCH_START_LIMIT_S) == []
    assert care.look([], BATCH_START_LIMIT_S + 1) == ["a"]


def test_pending_block_is_no_silent_one(executor):
    care = BlockCare(executor)
    executor.block("a", JobState.PENDING)
    care.look([{"block_id": "a"}], 0.0)
    care.look([], 1.0)
    assert care.look([], 10 * SILENT_LIMIT_S) == []
    assert care.facts()["a"] == {"state": "pending", "job": "job of a", "reason": ""}


def test_unknown_block_cannot_be_ended(executor):
    assert not BlockCare(executor).end("a")
