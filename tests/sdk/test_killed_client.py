"""A client that is killed with tasks that the service has not got."""

import os
import signal
import subprocess
import sys

import pytest

from funcx_lab import Executor, FuncXClient
from funcx_lab.errors import EndpointNotFound, NotAuthenticated, UsageError
from funcx_lab.protocol.stream import Submit

#: Submits 50 tasks to a service that takes none of them, and waits to be killed.
SUBMITTER = """
import sys
from funcx_lab import FuncXClient

def double(x):
    return 2 * x

client = FuncXClient()
function_id = client.register_function(double)
print(client.task_group_id, flush=True)
sys.stdin.readline()
futures = [client.submit(double, n, endpoint="cluster") for n in range(50)]
print(*[future.task_id for future in futures], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def submitter(standin):
    process = subprocess.Popen(
        [sys.executable, "-c", SUBMITTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def submit_and_die(submitter, until, tmp_path, standin=None) -> list[str]:
    """Let it submit, kill it when its journal (or ``standin``) has all, and return the tasks' ids."""
    submitter.stdin.write("go\n")
    submitter.stdin.flush()
    task_ids = submitter.stdout.readline().split()
    until(lambda: any(task_ids[-1].encode() in log.read_bytes() for log in tmp_path.glob("journal/*/*.log")))
    if standin is not None:
        until(lambda: len(standin.tasks) == 50)
    os.kill(submitter.pid, signal.SIGKILL)
    submitter.wait(10)
    return task_ids


def submitted_ids(standin) -> list[str]:
    return [task.task_id for message in standin.messages(Submit) for task in message.tasks]


def test_its_tasks_are_handed_over_once_by_the_next_client(standin, submitter, until, tmp_path) -> None:
    group_id = submitter.stdout.readline().strip()
    standin.go_down()
    task_ids = submit_and_die(submitter, until, tmp_path)
    assert submitted_ids(standin) == []
    standin.come_up()
    futures = Executor("cluster", FuncXClient(), group_id).reload_tasks()
    assert [future.task_id for future in futures] == task_ids
    assert [future.result(10) for future in futures] == [2 * n for n in range(50)]
    assert submitted_ids(standin) == task_ids
    until(lambda: all(log.stat().st_size == 0 for log in tmp_path.glob("journal/*/*.log")))


def test_tasks_that_the_service_had_got_before_the_kill_are_not_submitted_twice(
    standin, submitter, until, tmp_path
) -> None:
    submitter.stdout.readline()
    standin.mute = True
    task_ids = submit_and_die(submitter, until, tmp_path, standin)
    standin.mute = False
    client = FuncXClient()
    assert client.connection.stream.flush(10)
    assert submitted_ids(standin) == 2 * task_ids
    assert len(standin.tasks) == 50


def test_what_the_service_refuses_is_said_and_not_tried_again(
    standin, submitter, until, tmp_path, caplog
) -> None:
    submitter.stdout.readline()
    standin.go_down()
    submit_and_die(submitter, until, tmp_path)
    standin.refuse = EndpointNotFound("There is no endpoint 'cluster'.")
    standin.come_up()
    client = FuncXClient()
    assert client.connection.stream.flush(10)
    assert caplog.text.count("There is no endpoint 'cluster'.") == 50
    submits = len(standin.messages(Submit))
    client.connection.stream.close()
    assert FuncXClient().connection.stream.flush(10)
    assert len(standin.messages(Submit)) == submits


def test_another_user_does_not_hand_them_over(standin, submitter, until, tmp_path, monkeypatch) -> None:
    submitter.stdout.readline()
    standin.go_down()
    submit_and_die(submitter, until, tmp_path)
    standin.come_up()
    standin.token = "of another user"
    monkeypatch.setenv("FUNCX_LAB_TOKEN", standin.token)
    assert FuncXClient().connection.stream.flush(10)
    assert standin.tasks == {}


def test_a_stream_that_is_closed_leaves_its_tasks_to_the_next(standin, client) -> None:
    client.register_function(abs)
    standin.go_down()
    future = client.submit(abs, -1, endpoint="cluster")
    client.connection.stream.close()
    with pytest.raises(UsageError, match="closed"):
        future.result(10)
    standin.come_up()
    assert client.connection.stream.flush(10)
    assert submitted_ids(standin) == [future.task_id]


def test_what_was_said_to_have_failed_does_not_run_later(standin, client, monkeypatch, until) -> None:
    client.register_function(abs)
    standin.mute = True
    future = client.submit(abs, -1, endpoint="cluster")
    until(lambda: standin.tasks)
    standin.tasks.clear()
    standin.token = "another"
    standin.drop_connections()
    with pytest.raises(NotAuthenticated):
        future.result(10)
    standin.token, standin.mute = "fxl_stand-in", False
    assert client.connection.stream.flush(10)
    assert standin.tasks == {}
