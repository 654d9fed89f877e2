import asyncio
import concurrent.futures
import threading

import pytest

from funcx_lab.errors import EndpointNotFound, ServiceUnreachable, TaskCancelled, WorkerLost
from funcx_lab.futures import TaskFuture
from funcx_lab.protocol.messages import ObjectRef
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import OutcomeItem


class Backend:
    """Opens to the outcome's cursor; remembers what was asked."""

    def __init__(self) -> None:
        self.opened = []
        self.trouble = []
        self.cancels = True
        self.refusals = []

    def open(self, item):
        self.opened.append(threading.current_thread())
        if self.trouble:
            raise self.trouble.pop()
        return (item.cursor, None) if item.state == "success" else (None, WorkerLost("gone"))

    def cancel(self, task_id):
        return self.cancels

    def state(self, task_id):
        return TaskState.RUNNING

    def refused(self, error):
        self.refusals.append(error)


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def future(backend) -> TaskFuture:
    return TaskFuture("01890000-0000-7000-8000-0000deadbeef", "cluster", backend)


def item(state: str, **fields) -> OutcomeItem:
    return OutcomeItem(7, "id", state, **fields)


def test_the_result_is_decoded_once_by_who_asks(future, backend) -> None:
    thread = threading.Thread(target=future.finish, args=(item("success"),))
    thread.start()
    thread.join()
    assert future.done()
    assert backend.opened == []
    assert [future.result(), future.result(), future.exception()] == [7, 7, None]
    assert backend.opened == [threading.current_thread()]


def test_what_the_task_raised_is_raised(future) -> None:
    future.finish(item("failed"))
    assert isinstance(future.exception(0), WorkerLost)
    with pytest.raises(WorkerLost):
        future.result(0)
    assert future.state() is TaskState.FAILED


def test_trouble_while_fetching_a_result_is_not_its_end(future, backend) -> None:
    future.finish(item("success"))
    backend.trouble.append(ServiceUnreachable())
    with pytest.raises(ServiceUnreachable):
        future.result(0)
    assert future.result(0) == 7


def test_times_out_as_the_standard_library_does(future) -> None:
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(0)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.exception(0.01)


def test_cancel(future) -> None:
    assert future.cancel()
    assert future.cancelled()
    with pytest.raises(TaskCancelled):
        future.result()
    with pytest.raises(concurrent.futures.CancelledError):
        future.exception()
    future.ended_by_cancel()
    future.finish(item("success"))
    assert future.cancelled()


def test_cancel_that_came_too_late_says_no(future, backend) -> None:
    backend.cancels = False
    assert not future.cancel()
    future.finish(item("success"))
    assert not future.cancel()
    assert future.result() == 7


def test_a_cancel_by_someone_else_is_seen(future) -> None:
    future.finish(item("cancelled"))
    assert future.cancelled()
    assert list(concurrent.futures.as_completed([future], timeout=1)) == [future]


def test_works_with_wait_and_as_completed(backend) -> None:
    futures = [TaskFuture(str(number), "", backend) for number in range(3)]
    done, waiting = concurrent.futures.wait(futures, timeout=0)
    assert (done, waiting) == (set(), set(futures))
    futures[1].finish(item("failed"))
    done, _ = concurrent.futures.wait(futures, timeout=5, return_when=concurrent.futures.FIRST_EXCEPTION)
    assert done == {futures[1]}
    for future in futures:
        future.finish(item("success"))
    assert set(concurrent.futures.as_completed(futures, timeout=5)) == set(futures)


def test_refusal(future, backend) -> None:
    future.fail(EndpointNotFound("no such place"))
    assert future.wait_accepted(0)
    assert isinstance(future.refusal, EndpointNotFound)
    assert backend.refusals == [future.refusal]
    with pytest.raises(EndpointNotFound, match="no such place"):
        future.result(0)


def test_wait_accepted(future) -> None:
    assert not future.wait_accepted(0.01)
    threading.Timer(0.02, future.accepted).start()
    assert future.wait_accepted(5)
    assert future.refusal is None


def test_state_asks_only_while_the_task_goes_on(future, backend) -> None:
    assert future.state() is TaskState.RECEIVED
    future.accepted()
    assert future.state() is TaskState.RUNNING
    assert future.running()
    future.finish(item("success"))
    backend.state = None
    assert future.state() is TaskState.SUCCESS
    assert not future.running()


def test_repr_is_one_line_with_state_and_place(future) -> None:
    assert repr(future) == "<Task …deadbeef pending on cluster>"
    future.finish(item("success"))
    assert repr(future) == "<Task …deadbeef success on cluster>"


@pytest.mark.parametrize("large", [None, ObjectRef("00", 1)])
def test_can_be_awaited_in_any_loop(backend, large) -> None:
    async def work():
        future = TaskFuture("id", "", backend)
        threading.Timer(0.02, future.finish, [item("success", object=large)]).start()
        return await future

    for _ in range(2):
        assert asyncio.run(work()) == 7
    assert (backend.opened[0] is threading.current_thread()) is (large is None)


def test_await_raises_what_the_task_raised(backend) -> None:
    async def work():
        future = TaskFuture("id", "", backend)
        future.finish(item("failed"))
        return await asyncio.gather(future, return_exceptions=True)

    assert isinstance(asyncio.run(work())[0], WorkerLost)


def test_a_loop_that_closed_meanwhile_does_no_harm(backend) -> None:
    future = TaskFuture("id", "", backend)

    async def give_up():
        async def wait():
            return await future

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait(), 0.01)

    asyncio.run(give_up())
    future.finish(item("success"))
    assert future.result(0) == 7


def test_wrap_future_of_asyncio_works_too(backend) -> None:
    async def work():
        future = TaskFuture("id", "", backend)
        threading.Timer(0.02, future.finish, [item("success")]).start()
        return await asyncio.wrap_future(future)

    assert asyncio.run(work()) == 7
