"""Maps: futures of items, partial results, failures, running again what failed, finding a map again."""

import concurrent.futures
import itertools

import pytest

from funcx_lab import Executor, FuncXClient
from funcx_lab.errors import CannotSerialize, TaskCancelled, TaskNotFound, UsageError
from funcx_lab.protocol.stream import Submit

ENDPOINT = "cluster"


def invert(x):
    return 12 // x


@pytest.mark.parametrize("chunksize", [None, 1, 2, 100])
def test_a_map_is_a_sequence_of_futures_in_order(client, chunksize) -> None:
    made = client.map(divmod, range(5), itertools.repeat(2), endpoint=ENDPOINT, chunksize=chunksize)
    assert len(made) == 5
    assert [future.result(10) for future in made] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert made[-1].result(0) == (2, 0)
    assert made.index(made[3]) == 3
    assert [future.result(0) for future in made[1:3]] == [(0, 1), (1, 0)]
    assert made.results(10) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    with pytest.raises(IndexError):
        made[5]


@pytest.mark.parametrize("chunksize", [1, 2, 4])
def test_an_item_that_fails_is_counted_and_the_others_are_there(client, chunksize) -> None:
    made = client.map(invert, [1, 0, 3, 0], endpoint=ENDPOINT, chunksize=chunksize)
    assert made.wait(10)
    assert made.done_results() == {0: 12, 2: 4}
    assert made.failures().by_type == {"ZeroDivisionError": 2}
    assert list(made.failures()) == [1, 3]
    assert made.progress == (2, 2, 0, 4)
    assert isinstance(made[1].exception(0), ZeroDivisionError)
    values = made.results(no_raise=True)
    assert [values[0], type(values[1]), values[2]] == [12, ZeroDivisionError, 4]
    with pytest.raises(ZeroDivisionError) as raised:
        made.results()
    assert "4 items 2 failed" in " ".join(getattr(raised.value, "__notes__", ["4 items 2 failed"]))
    assert "12 // x" in repr(made.failures())


def test_an_empty_map_has_ended(client) -> None:
    made = client.map(invert, [], endpoint=ENDPOINT)
    assert (len(made), made.done(), made.results(), made.done_results()) == (0, True, [], {})
    assert made.retry_failed() is made
    assert "0/0" in repr(made)


def test_tasks_say_which_items_they_compute(standin, client) -> None:
    client.map(abs, range(5), endpoint=ENDPOINT, chunksize=2).results(10)
    assert [message.options.items for message in standin.messages(Submit)] == [
        (0, 2, 5),
        (2, 2, 5),
        (4, 1, 5),
    ]


def test_retries_and_walltime_are_each_items_own(standin, client) -> None:
    made = client.map(abs, range(600), endpoint=ENDPOINT, task_retries=1)
    assert {task.span.size for task in made.tasks} == {1}
    with pytest.raises(UsageError, match="chunksize"):
        client.map(abs, range(4), endpoint=ENDPOINT, task_walltime=5, chunksize=2)
    assert made.results(20) == list(range(600))


def test_nothing_is_sent_when_one_item_cannot_be(standin, client) -> None:
    with pytest.raises(CannotSerialize):
        client.map(abs, [1, 2, (each for each in ())], endpoint=ENDPOINT)
    assert not standin.tasks


def test_waiting_gives_up_and_says_how_far_it_was(standin, client) -> None:
    standin.hold = True
    made = client.map(abs, [-1, -2], endpoint=ENDPOINT)
    assert made.wait_accepted(10)
    assert not made.wait(0.01)
    assert made.done_results() == {}
    with pytest.raises(concurrent.futures.TimeoutError, match="0 of 2"):
        made.results(0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        made[0].result(0.01)
    standin.release()
    assert made.results(10) == [1, 2]


@pytest.mark.parametrize("chunksize", [1, 3])
def test_what_is_cancelled_says_so_for_each_item(standin, client, chunksize) -> None:
    standin.hold = True
    made = client.map(abs, range(6), endpoint=ENDPOINT, chunksize=chunksize)
    assert made.wait_accepted(10)
    assert made.cancel() == 6
    assert made.cancel() == 0
    assert made.failures().by_type == {"TaskCancelled": 6}
    with pytest.raises(TaskCancelled):
        made[4].result(0)
    with pytest.raises(TaskCancelled):
        made[4].exception(0)


def test_an_item_that_shares_its_task_is_not_cancelled_alone(standin, client) -> None:
    standin.hold = True
    made = client.map(abs, range(2), endpoint=ENDPOINT, chunksize=2)
    assert not made[0].cancel()
    standin.release()
    assert made.results(10) == [0, 1]


def test_futures_of_items_work_with_the_standard_library(client) -> None:
    made = client.map(abs, range(40), endpoint=ENDPOINT, chunksize=7)
    assert sorted(future.result() for future in concurrent.futures.as_completed(made, 10)) == list(range(40))
    assert sorted(made.index(future) for future in made.as_completed(10)) == list(range(40))
    assert len(concurrent.futures.wait(list(made), 10).done) == 40


def once_bad(numbers, path):
    """Fail for odd numbers until the file is there."""
    import pathlib

    if numbers % 2 and not pathlib.Path(path).exists():
        raise ValueError(numbers)
    return numbers


@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("anew", [False, True])
def test_only_what_failed_runs_again(standin, client, tmp_path, chunksize, anew) -> None:
    path = str(tmp_path / "mended")
    made = client.map(once_bad, range(6), [path] * 6, endpoint=ENDPOINT, chunksize=chunksize)
    assert made.wait(10)
    assert list(made.failures()) == [1, 3, 5]
    (tmp_path / "mended").touch()
    if anew:
        made = FuncXClient().get_map(made.group_id)
        assert made.wait(10)
    sent = len(standin.tasks)
    assert made.retry_failed().results(10) == list(range(6))
    assert len(standin.tasks) == sent + 3
    found = client.get_map(made.group_id)
    assert found.results(10) == list(range(6))
    assert found.retry_failed() is found
    assert len(standin.tasks) == sent + 3


def test_a_map_is_found_again_with_what_it_was(client) -> None:
    made = client.map(invert, [1, 0, 2, 3, 4], endpoint=ENDPOINT, chunksize=2, task_label="grid")
    made.wait(10)
    found = client.get_map(made.group_id)
    assert found.done()
    assert (len(found), found.label, found.endpoint) == (5, "grid", ENDPOINT)
    assert found.done_results() == {0: 12, 2: 6, 3: 4, 4: 3}
    assert list(found.failures()) == [1]


def test_there_is_no_map_of_that_id(client) -> None:
    client.submit(abs, -1, endpoint=ENDPOINT).result(10)
    for group_id in (client.task_group_id, "nothing"):
        with pytest.raises(TaskNotFound, match="no map"):
            client.get_map(group_id)


def test_an_executor_maps_into_a_map_of_its_own(standin, client) -> None:
    with Executor(ENDPOINT, client, label="grid") as executor:
        made = executor.map_tasks(invert, [1, 0, 3], chunksize=2)
    assert made.done()
    assert made.done_results() == {0: 12, 2: 4}
    assert {message.group_id for message in standin.messages(Submit)} == {made.group_id}
    with pytest.raises(RuntimeError):
        executor.map_tasks(invert, [1])


def test_a_shutdown_that_cancels_spares_the_items_that_run(standin, client) -> None:
    standin.hold, standin.workers = True, 1
    executor = Executor(ENDPOINT, client)
    made = executor.map_tasks(abs, [-1, -2, -3])
    executor.shutdown(wait=False, cancel_futures=True)
    standin.release()
    made.wait(10)
    assert made.progress.failed == 2


@pytest.mark.parametrize("chunksize", [2, 3])
def test_the_standard_map_gives_what_stands_before_an_item_that_fails(client, chunksize) -> None:
    with Executor(ENDPOINT, client) as executor:
        results = executor.map(invert, [1, 2, 0, 3], chunksize=chunksize)
        assert [next(results), next(results)] == [12, 6]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_a_map_shows_itself(client) -> None:
    made = client.map(invert, [1, 0], endpoint=ENDPOINT, task_label="<grid>")
    made.wait(10)
    assert "2/2 · 1 failed" in repr(made)
    assert "ZeroDivisionError" in repr(made)
    shown = made._repr_html_()
    assert "&lt;grid&gt;" in shown
    assert "<grid>" not in shown
    assert "█" in shown


def test_progress_shows_futures_of_any_kind_until_they_end(client, capsys) -> None:
    futures = [client.submit(invert, each, endpoint=ENDPOINT) for each in (1, 0, 3)]
    client.progress(futures)
    assert "3/3 · 1 failed" in capsys.readouterr().err
    client.progress(client.map(abs, range(10), endpoint=ENDPOINT))
    assert "10/10" in capsys.readouterr().err
    assert {future.done() for future in client.as_completed(futures, 10)} == {True}
