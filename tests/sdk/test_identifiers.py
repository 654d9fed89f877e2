import os
import random
import time
import uuid

from funcx_lab.identifiers import new_id


def test_is_a_uuid_of_version_7_that_carries_the_time() -> None:
    before = time.time_ns() // 1_000_000
    text = new_id()
    value = uuid.UUID(text)
    assert str(value) == text
    assert value.int >> 76 & 0xF == 7
    assert value.variant == uuid.RFC_4122
    assert before <= value.int >> 80 <= time.time_ns() // 1_000_000


def test_many_differ() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_ids_differ_when_time_and_process_are_the_same(monkeypatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    assert new_id() != new_id()


def test_a_seeded_notebook_does_not_repeat_ids(monkeypatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    random.seed(0)
    first = new_id()
    random.seed(0)
    assert new_id() != first


def test_a_forked_child_makes_other_ids(monkeypatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, new_id().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    child = os.read(read, 100).decode()
    os.close(read)
    assert uuid.UUID(child).int >> 76 & 0xF == 7
    assert child != new_id()
