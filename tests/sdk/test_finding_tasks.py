"""Tasks of earlier cells, kernels and days."""

import datetime

import pytest

from funcx_lab import Executor, queries


def double(x):
    return 2 * x


@pytest.fixture
def tasks(standin, client):
    """Six tasks, received at 1, 2, ... 6 seconds; every third has a label."""
    executor = Executor("cluster", client, "first")
    with Executor("cluster", client, "second", label="fit") as fits:
        futures = []
        for n in range(6):
            futures.append((fits if n % 3 == 2 else executor).submit(double, n))
            assert futures[-1].wait_accepted(10)
    return [future.task_id for future in futures]


def ids(records) -> list[str]:
    return [record["task_id"] for record in records]


def test_newest_first_and_no_more_than_asked_for(client, tasks) -> None:
    assert ids(client.get_tasks()) == tasks[::-1]
    assert ids(client.get_tasks(limit=2)) == tasks[:3:-1]
    assert ids(client.get_tasks(group="second")) == [tasks[5], tasks[2]]


def test_by_label_and_time(client, tasks) -> None:
    assert ids(client.get_tasks(label="fit")) == [tasks[5], tasks[2]]
    assert ids(client.get_tasks(label="fit", limit=1)) == [tasks[5]]
    assert ids(client.get_tasks(since=4.0)) == tasks[:2:-1]
    when = datetime.datetime.fromtimestamp(4.0, datetime.timezone.utc)
    assert ids(client.get_tasks(since=when, label="fit")) == [tasks[5]]
    assert client.get_tasks(since=7.0) == []


def test_more_than_a_page(client, tasks, monkeypatch) -> None:
    monkeypatch.setattr(queries, "_PAGE", 2)
    assert ids(client.get_tasks()) == tasks[::-1]
    assert ids(client.get_tasks(limit=5)) == tasks[:0:-1]
    assert ids(client.get_tasks(label="fit")) == [tasks[5], tasks[2]]


def test_as_futures(client, tasks) -> None:
    assert [future.result(10) for future in client.get_futures(label="fit")] == [10, 4]


def test_an_executor_finds_its_own_and_other_groups(client, tasks) -> None:
    executor = Executor("cluster", client, "second")
    assert [future.result(10) for future in executor.reload_tasks()] == [4, 10]
    assert [future.result(10) for future in executor.reload_tasks("first")] == [0, 2, 6, 8]
