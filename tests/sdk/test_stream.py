import concurrent.futures
import logging
import os
import threading
import time

import pytest

from funcx_lab.errors import (
    EndpointNotFound,
    NotAuthenticated,
    ServiceTimeout,
    TaskCancelled,
    VersionMismatch,
)
from funcx_lab.protocol.stream import CancelTasks, Follow, Submit, Subscribe, Watch
from funcx_lab.stream import loop

ENDPOINT = "cluster"


def double(x):
    return 2 * x


def test_a_loop_of_submits_leaves_in_few_messages(standin, client) -> None:
    futures = [client.submit(double, i, endpoint=ENDPOINT) for i in range(500)]
    assert [future.result(20) for future in futures] == [2 * i for i in range(500)]
    submits = standin.messages(Submit)
    assert sum(len(submit.tasks) for submit in submits) == 500
    assert len(submits) < 250
    assert standin.posts == 1  # the function was registered once


def test_after_a_break_submits_without_acknowledgement_are_sent_again_as_they_were(
    standin, client, until
) -> None:
    standin.mute = True
    futures = [client.submit(double, i, endpoint=ENDPOINT) for i in range(10)]
    until(lambda: len(standin.tasks) == 10)
    standin.mute = False
    standin.drop_connections()
    assert [future.result(10) for future in futures] == [2 * i for i in range(10)]
    assert len(standin.tasks) == 10
    assert sum(len(submit.tasks) for submit in standin.messages(Submit)) == 20


def test_acknowledged_submits_are_not_sent_again_and_the_group_resumes_from_its_cursor(
    standin, client, until
) -> None:
    assert client.submit(double, 1, endpoint=ENDPOINT).result(10) == 2
    standin.hold = True
    future = client.submit(double, 2, endpoint=ENDPOINT)
    assert future.wait_accepted(10)
    standin.drop_connections()
    until(lambda: standin.connected == 2 and len(standin.messages(Subscribe)) == 2)
    standin.release()
    assert future.result(10) == 4
    assert len(standin.messages(Submit)) == 2
    assert [message.after for message in standin.messages(Subscribe)] == [0, 1]


def test_outcomes_of_the_time_without_connection_are_not_missed(standin, client, until) -> None:
    standin.hold = True
    future = client.submit(double, 21, endpoint=ENDPOINT)
    assert future.wait_accepted(10)

    def end_behind_its_back() -> None:
        for connection in list(standin.connections):
            connection.cut()
        standin.run(*standin.tasks[future.task_id])

    standin.do(end_behind_its_back)
    assert future.result(10) == 42


def test_watches_and_follows_are_told_again_after_a_break(standin, client, until) -> None:
    standin.hold = True
    task_id = client.run(5, function=double, endpoint=ENDPOINT)
    watcher = client.task(task_id)
    events = client.follow(task_id, after=3)
    until(lambda: standin.messages(Watch) and standin.messages(Follow))
    standin.drop_connections()
    until(lambda: len(standin.messages(Watch)) == 2 and len(standin.messages(Follow)) == 2)
    assert standin.messages(Follow)[1].after == 3
    standin.release()
    assert watcher.result(10) == 10
    events.close()


def test_follow_right_after_submit_waits_for_the_acknowledgement(standin, client, until) -> None:
    standin.mute = True
    future = client.submit(double, 1, endpoint=ENDPOINT)
    events = client.follow(future.task_id)
    until(lambda: future.task_id in standin.tasks)
    assert not standin.messages(Follow)
    standin.mute = False
    standin.drop_connections()
    assert list(events) == []
    assert future.result(10) == 2


def test_follow_of_an_unknown_task_ends_with_the_error(standin, client) -> None:
    from funcx_lab.errors import TaskNotFound

    with pytest.raises(TaskNotFound):
        client.follow("00000000-0000-7000-8000-000000000000").get(10)


def test_refused_tasks_fail_with_the_typed_error(standin, client) -> None:
    standin.refuse = EndpointNotFound("There is no endpoint 'nowhere'.")
    future = client.submit(double, 1, endpoint="nowhere")
    with pytest.raises(EndpointNotFound, match="nowhere"):
        future.result(10)
    with pytest.raises(EndpointNotFound) as caught:
        client.run(1, function=double, endpoint="nowhere")
    assert len(caught.value.details["refused"]) == 1


def test_a_revoked_token_fails_all_who_wait_and_the_next_call_starts_anew(standin, client) -> None:
    standin.hold = True
    future = client.submit(double, 1, endpoint=ENDPOINT)
    assert future.wait_accepted(10)
    standin.token = "another"
    standin.drop_connections()
    with pytest.raises(NotAuthenticated):
        future.result(10)
    standin.token, standin.hold = "fxl_stand-in", False
    assert client.submit(double, 4, endpoint=ENDPOINT).result(10) == 8


@pytest.mark.parametrize(("code", "error"), [(1008, NotAuthenticated), (1002, VersionMismatch)])
def test_a_close_for_good_fails_all_who_wait(standin, client, code, error) -> None:
    standin.hold = True
    future = client.submit(double, 1, endpoint=ENDPOINT)
    assert future.wait_accepted(10)
    standin.close_connections(code, "for the test")
    with pytest.raises(error, match="for the test"):
        future.result(10)


def test_a_message_that_cannot_be_read_fails_all_who_wait(standin, client) -> None:
    from funcx_lab.errors import MalformedMessage

    standin.hold = True
    future = client.submit(double, 1, endpoint=ENDPOINT)
    assert future.wait_accepted(10)
    standin.do(lambda: [c.write_message(b"\xc1garbage", binary=True) for c in standin.connections])
    with pytest.raises(MalformedMessage):
        future.result(10)


def test_cancel_of_a_running_task(standin, client) -> None:
    standin.hold = True
    future = client.submit(double, 1, endpoint=ENDPOINT)
    assert future.wait_accepted(10)
    assert future.cancel() is True
    assert future.cancelled()
    assert future.cancel() is True
    with pytest.raises(TaskCancelled):
        future.result(0)
    assert concurrent.futures.wait([future], timeout=0).done == {future}


def test_cancel_of_an_ended_task_says_no(standin, client) -> None:
    future = client.submit(double, 1, endpoint=ENDPOINT)
    assert future.result(10) == 2
    assert future.cancel() is False
    assert not standin.messages(CancelTasks)


def test_cancel_that_is_not_answered_times_out(standin, client, monkeypatch) -> None:
    standin.hold = True
    future = client.submit(double, 1, endpoint=ENDPOINT)
    assert future.wait_accepted(10)
    monkeypatch.setattr(standin, "cancel", lambda task_id: 1 / 0)
    logging.getLogger("tornado.application").disabled = True
    with pytest.raises(ServiceTimeout, match="cancel"):
        client.connection.stream.cancel([future.task_id], timeout=0.2)
    logging.getLogger("tornado.application").disabled = False


def test_submit_waits_for_room_and_goes_on_when_there_is(standin, client, monkeypatch) -> None:
    from funcx_lab.stream.handover import Room

    monkeypatch.setattr(client.connection.stream._loop, "room", Room(10_000))
    standin.mute = True
    futures = []
    blob = bytes(3000)

    def submit_many() -> None:
        futures.extend(client.submit(len, blob, endpoint=ENDPOINT) for _ in range(10))

    thread = threading.Thread(target=submit_many)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert len(standin.tasks) <= 3
    standin.mute = False
    standin.drop_connections()
    thread.join(10)
    assert not thread.is_alive()
    assert [future.result(10) for future in futures] == [3000] * 10


def test_done_callbacks_may_submit_and_cancel(standin, client) -> None:
    standin.hold = True
    other = client.submit(double, 1, endpoint=ENDPOINT)
    assert other.wait_accepted(10)
    standin.hold = False
    later, done = [], threading.Event()

    def go_on(future) -> None:
        later.append(client.submit(double, future.result(), endpoint=ENDPOINT))
        other.cancel()
        done.set()

    client.submit(double, 1, endpoint=ENDPOINT).add_done_callback(go_on)
    assert done.wait(10)
    assert later[0].result(10) == 4
    assert other.cancelled()


def test_a_forked_child_opens_its_own_stream(standin, client) -> None:
    assert client.submit(double, 1, endpoint=ENDPOINT).result(10) == 2
    standin.hold = True
    of_the_parent = client.submit(double, 3, endpoint=ENDPOINT)
    assert of_the_parent.wait_accepted(10)
    standin.hold = False
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, str(client.submit(double, 5, endpoint=ENDPOINT).result(10)).encode())
        except BaseException as err:
            os.write(write, repr(err).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert os.read(read, 1000) == b"10"
    os.close(read)
    standin.release()
    assert of_the_parent.result(10) == 6
    assert standin.connected == 2


def test_silence_is_noticed(standin, client, monkeypatch, until) -> None:
    monkeypatch.setattr(loop, "PING_S", 0.1)
    monkeypatch.setattr(loop, "SILENCE_S", 0.3)
    standin.hold = True
    future = client.submit(double, 1, endpoint=ENDPOINT)
    assert future.wait_accepted(10)
    time.sleep(0.5)  # pings are answered: no reconnect
    assert standin.connected == 1
    held, go = threading.Event(), threading.Event()

    def freeze() -> None:
        held.set()
        go.wait(10)

    standin.loop.call_soon_threadsafe(freeze)
    assert held.wait(10)
    until(lambda: client.connection.stream._loop.connection is None)
    go.set()
    standin.release()
    assert future.result(10) == 2


def test_nobody_waits_nobody_reconnects(standin, client, until) -> None:
    assert client.submit(double, 1, endpoint=ENDPOINT).result(10) == 2
    standin.drop_connections()
    until(lambda: client.connection.stream._loop.connection is None)
    assert standin.connected == 1
    assert client.submit(double, 2, endpoint=ENDPOINT).result(10) == 4
    assert standin.connected == 2


def test_a_machine_that_was_asleep_connects_anew_from_its_cursor(standin, client, monkeypatch, until) -> None:
    asleep = [0.0]
    monkeypatch.setattr(loop, "slept_s", lambda: asleep[0])
    monkeypatch.setattr(loop, "PING_S", 0.1)
    standin.hold = True
    future = client.submit(double, 1, endpoint=ENDPOINT)
    assert future.wait_accepted(10)
    asleep[0] = 3600.0
    until(lambda: standin.connected == 2)
    standin.release()
    assert future.result(10) == 2
    assert standin.connected == 2


def test_suspension_is_counted_by_a_clock_that_goes_on(monkeypatch) -> None:
    from funcx_lab import pauses

    before = pauses.slept_s()
    monotonic = time.monotonic
    monkeypatch.setattr(pauses.time, "monotonic", lambda: monotonic() - 100.0)
    assert 99.0 < pauses.slept_s() - before < 101.0


def test_a_bug_in_an_idle_streams_thread_is_told_and_the_next_submit_gets_a_new_one(
    standin, client, until, caplog
) -> None:
    assert client.submit(double, 1, endpoint=ENDPOINT).result(10) == 2
    standin.drop_connections()
    stream = client.connection.stream
    until(lambda: stream._loop.connection is None)

    def bug(_state) -> None:
        raise ZeroDivisionError("a bug")

    stream._loop.inbox.put((bug,))
    until(lambda: stream.error is not None)
    assert "ZeroDivisionError" in str(stream.error)
    assert "The stream to" in caplog.text
    assert client.submit(double, 2, endpoint=ENDPOINT).result(10) == 4
