"""A service that takes no tasks for now: they wait, with jitter, and nobody notices but by the time."""

import logging
import threading
import time

import pytest

from funcx_lab.errors import ServiceUnavailable, StorageFull, StoreDamaged, TooManyRequests
from funcx_lab.pauses import Pause
from funcx_lab.protocol.stream import Submit
from funcx_lab.stream import loop
from funcx_lab.stream.handover import Room

ENDPOINT = "cluster"


def double(x):
    return 2 * x


def quota(seconds: float = 0.0) -> TooManyRequests:
    return TooManyRequests("100000 tasks are queued already.", details={"retry_after_s": seconds})


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(loop, "FIRST_RESEND_S", 0.05)


@pytest.mark.parametrize("error", [quota(), ServiceUnavailable(), StorageFull("No room on the disk.")])
def test_tasks_wait_until_the_service_takes_them(standin, client, until, caplog, error) -> None:
    standin.refuse = error
    futures = [client.submit(double, n, endpoint=ENDPOINT) for n in range(20)]
    until(lambda: len(standin.messages(Submit)) >= 3)
    assert not any(future.done() for future in futures)
    standin.refuse = None
    assert [future.result(10) for future in futures] == [2 * n for n in range(20)]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert error.message in warnings[0].getMessage()


def test_the_service_is_not_asked_before_it_wants_to_be(standin, client, until) -> None:
    standin.refuse = quota(0.4)
    future = client.submit(double, 1, endpoint=ENDPOINT)
    until(lambda: standin.messages(Submit))
    begin = time.monotonic()
    standin.refuse = None
    assert future.result(10) == 2
    assert time.monotonic() - begin > 0.3
    assert len(standin.messages(Submit)) == 2


def test_results_arrive_while_tasks_wait(standin, client, until) -> None:
    standin.hold = True
    first = client.submit(double, 1, endpoint=ENDPOINT)
    assert first.wait_accepted(10)
    standin.refuse = quota(60.0)
    second = client.submit(double, 2, endpoint=ENDPOINT)
    until(lambda: len(standin.messages(Submit)) == 2)
    standin.release()
    assert first.result(10) == 2
    assert second.cancel()
    assert second.cancelled()


def test_submits_block_when_too_much_waits(standin, client, monkeypatch, until) -> None:
    monkeypatch.setattr(client.connection.stream._loop, "room", Room(2000))
    standin.refuse = quota()
    futures = []

    def submit_many() -> None:
        futures.extend(client.submit(double, n, endpoint=ENDPOINT) for n in range(30))

    thread = threading.Thread(target=submit_many)
    thread.start()
    until(lambda: len(standin.messages(Submit)) >= 2)
    thread.join(0.2)
    assert thread.is_alive()
    standin.refuse = None
    thread.join(20)
    assert not thread.is_alive()
    assert [future.result(10) for future in futures] == [2 * n for n in range(30)]


def test_a_damaged_store_is_said_at_once(standin, client) -> None:
    standin.refuse = StoreDamaged("Restore a backup.")
    with pytest.raises(StoreDamaged, match="Restore"):
        client.submit(double, 1, endpoint=ENDPOINT).result(10)


def test_pauses_double_up_to_a_limit_with_jitter_and_keep_to_what_is_asked() -> None:
    pause = Pause(1.0, 5.0)
    for limit in (1.0, 2.0, 4.0, 5.0, 5.0):
        assert limit / 2 <= pause.next() <= limit
    assert 10.0 <= pause.next(10.0) <= 15.0
    pause.reset()
    assert pause.is_first
    assert len({pause.next(10.0) for _ in range(20)}) == 20
