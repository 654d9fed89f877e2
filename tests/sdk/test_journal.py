"""The journal on its own: files, locks, damage."""

import logging
import os
import subprocess
import sys
import threading

import pytest

from funcx_lab.config import Service
from funcx_lab.errors import UsageError
from funcx_lab.protocol.messages import ObjectRef, TaskOptions
from funcx_lab.protocol.stream import NewTask
from funcx_lab.stream import journal as module
from funcx_lab.stream.journal import Journal, journal_directory
from funcx_lab.stream.submit_queue import Route

ROUTE = Route("cluster", "function", "group")
OPTIONS = Route("cluster", "function", "group", TaskOptions(walltime_s=3.0, at_most_once=True))


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "service"


def tasks(*numbers: int, route: Route = ROUTE) -> list:
    return [(route, NewTask(str(number), b"payload %d" % number)) for number in numbers]


def logs(directory) -> list:
    return sorted(directory.glob("*.log"))


def adopted(directory) -> list:
    journal = Journal(directory)
    found = [(entry.route, entry.task) for entry in journal.adopt()]
    journal.close()
    return found


def test_what_is_open_is_adopted_once_and_as_it_was(directory) -> None:
    big = [(OPTIONS, NewTask("big", b"", ObjectRef("ab", 10**9)))]
    first = Journal(directory)
    first.add(tasks(1, 2) + tasks(3, route=OPTIONS) + big)
    first.settle([NewTask("2")])
    first.close()
    second = Journal(directory)
    assert [(e.route, e.task) for e in second.adopt()] == tasks(1) + tasks(3, route=OPTIONS) + big
    assert second.adopt() == []
    assert len(logs(directory)) == 1
    second.close()
    assert len(adopted(directory)) == 3


def test_a_journal_that_is_held_is_left_alone(directory) -> None:
    first = Journal(directory)
    first.add(tasks(1))
    assert adopted(directory) == []
    first.close()
    assert adopted(directory) == tasks(1)


def test_nothing_open_leaves_no_file(directory) -> None:
    journal = Journal(directory)
    journal.add(tasks(1, 2))
    assert logs(directory)[0].stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    journal.settle([NewTask("1"), NewTask("2")])
    journal.tend(module.time.monotonic() + module.SYNC_S)
    assert logs(directory)[0].stat().st_size == 0
    journal.close()
    assert logs(directory) == []


def test_an_empty_file_that_nobody_holds_is_removed(directory) -> None:
    directory.mkdir()
    (directory / "1-0.log").touch()
    assert adopted(directory) == []
    assert logs(directory) == []


def test_every_torn_end_leaves_the_records_before_it(directory, caplog) -> None:
    first = Journal(directory)
    first.add(tasks(1))
    whole = logs(directory)[0].stat().st_size
    first.add(tasks(2))
    first.close()
    (path,) = logs(directory)
    data = path.read_bytes()
    path.unlink()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        assert adopted(directory) == (tasks(1) if size >= whole else [])
        for log in logs(directory):
            log.unlink()
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("at", [0, 5, 9, 30])
def test_a_flipped_bit_ends_the_reading_with_a_word(directory, caplog, at) -> None:
    first = Journal(directory)
    first.add(tasks(1))
    first.close()
    (path,) = logs(directory)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert adopted(directory) == []
    assert "cannot be read" in caplog.text


def test_what_is_older_than_14_days_is_forgotten(directory, caplog, monkeypatch) -> None:
    first = Journal(directory)
    monkeypatch.setattr(module.time, "time", lambda: 1000.0)
    first.add(tasks(1))
    monkeypatch.setattr(module.time, "time", lambda: 1000.0 + module.KEEP_S)
    first.add(tasks(2))
    first.close()
    assert adopted(directory) == tasks(2)
    assert "14 days" in caplog.text


def test_what_is_acknowledged_is_crossed_out_soon_unless_it_is_open_again(directory, monkeypatch) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda _: None)  # which holds the lock while it lasts
    journal = Journal(directory)
    journal.add(tasks(1, 2, 3))
    journal.settle([NewTask("1"), NewTask("2")])
    journal.add(tasks(2))
    journal.tend(module.time.monotonic() + module.SYNC_S)
    journal.settle([NewTask("3")])
    journal.abandon()  # no last word, as after a kill
    assert adopted(directory) == tasks(2, 3)


def test_a_large_journal_is_written_anew_without_what_is_settled(directory, monkeypatch) -> None:
    monkeypatch.setattr(module, "REWRITE_BYTES", 10_000)
    first = Journal(directory)
    for number in range(1000):
        first.add(tasks(number))
        if number % 100:
            first.settle([NewTask(str(number))])
    assert sum(log.stat().st_size for log in logs(directory)) < 20_000
    assert len(logs(directory)) == 1
    assert adopted(directory) == []
    first.close()
    assert adopted(directory) == tasks(*range(0, 1000, 100))


def test_a_full_disk_is_said_once_and_tasks_go_on(caplog) -> None:
    caplog.set_level(logging.WARNING)
    journal = Journal(module.Path("/proc/nowhere"))
    journal.add(tasks(1))
    journal.add(tasks(2))
    journal.settle([NewTask("1")])
    journal.close()
    assert len(caplog.records) == 1
    assert "without" in caplog.text


def test_a_write_that_fails_ends_the_journal_and_keeps_what_it_has(directory, caplog, monkeypatch) -> None:
    journal = Journal(directory)
    journal.add(tasks(1))
    monkeypatch.setattr(module.RecordFile, "append", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    journal.add(tasks(2))
    journal.settle([NewTask("2")])
    monkeypatch.undo()
    journal.add(tasks(3))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert adopted(directory) == tasks(1)


def test_it_is_synced_soon_and_in_another_thread(directory, monkeypatch) -> None:
    synced = threading.Event()
    callers = []

    def fdatasync(descriptor: int) -> None:
        callers.append(threading.current_thread())
        synced.set()

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    journal = Journal(directory)
    assert journal.tend(0.0) is None
    journal.add(tasks(1))
    now = module.time.monotonic()
    assert 0 < journal.tend(now) <= module.SYNC_S
    assert journal.tend(now + module.SYNC_S) is None
    assert synced.wait(10)
    assert threading.current_thread() not in callers
    journal.add(tasks(2))
    journal.settle([NewTask("1"), NewTask("2")])
    assert journal.tend(now + 100) is None
    assert len(callers) == 1
    journal.close()


def test_services_and_tokens_have_directories_of_their_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path))
    services = [
        Service("https://hub.example.org", "one"),
        Service("https://hub.example.org", "two"),
        Service("https://hub.example.org/lab", "one"),
        Service("http://127.0.0.1:1", "one", embedded=True),
    ]
    directories = [journal_directory(service) for service in services]
    assert len(set(directories)) == 4
    assert all(directory.parent == tmp_path / "journal" for directory in directories)
    # the embedded service has another port after each start
    assert journal_directory(Service("http://127.0.0.1:2", "one", embedded=True)) == directories[3]


def test_a_server_that_is_spawned_again_goes_on_with_its_users_journals(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path))
    url = "https://hub.example.org/services/funcx"
    before, after = Service(url, "one", user="ada"), Service(url, "two", user="ada")
    assert journal_directory(before) == journal_directory(after)
    others = [Service(url, "one", user="eve"), Service(url, "one"), Service(url + "x", "one", user="ada")]
    assert journal_directory(before) not in [journal_directory(other) for other in others]
    journal = Journal(journal_directory(before))
    journal.add(tasks(1))
    journal.close()
    (entry,) = Journal(journal_directory(after)).adopt()
    assert entry.task.task_id == "1"


CHILD = """
import os, sys
from pathlib import Path
from funcx_lab.protocol.stream import NewTask
from funcx_lab.stream.journal import Journal
from funcx_lab.stream.submit_queue import Route
journal = Journal(Path(sys.argv[1]))
journal.add([(Route("cluster", "function", "group"), NewTask("1", b"payload 1"))])
if os.fork() == 0:
    journal.abandon()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)
os._exit(1)
"""


def test_a_forked_child_does_not_hold_its_parents_journal(directory) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.wait(10)
        assert adopted(directory) == tasks(1)


def test_what_is_submitted_while_the_service_hangs_is_in_the_journal_at_once(
    standin, client, monkeypatch, until
) -> None:
    loop = client.connection.stream._loop
    directory = journal_directory(client.connection.transport.service)
    go, connect = threading.Event(), loop._reach.connect

    def hang(*, start: bool):
        assert go.wait(20)
        return connect(start=start)

    def kept(task_id: str) -> bool:
        return any(task_id.encode() in path.read_bytes() for path in logs(directory))

    monkeypatch.setattr(loop._reach, "connect", hang)
    futures = []
    for number in (-1, -2):
        futures.append(client.submit(abs, number, endpoint="cluster"))
        until(lambda: kept(futures[-1].task_id))
    go.set()
    assert [future.result(10) for future in futures] == [1, 2]


def test_a_stream_that_connects_is_closed_at_once(client, monkeypatch) -> None:
    stream = client.connection.stream
    begun, go, closed = threading.Event(), threading.Event(), threading.Event()

    class Late:
        close = closed.set

    def hang(*, start: bool) -> Late:
        begun.set()
        assert go.wait(20)
        return Late()

    monkeypatch.setattr(stream._loop._reach, "connect", hang)
    future = client.submit(abs, -1, endpoint="cluster")
    assert begun.wait(10)
    stream.close()
    with pytest.raises(UsageError, match="closed"):
        future.result(5)
    go.set()
    assert closed.wait(5)
