"""Results that stand for another run of the same call."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from typing import Any

import pytest

from funcx_lab.errors import InvalidRequest, TaskGone, TaskNotFound
from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.messages import (
    ErrorInfo,
    Event,
    EventBatch,
    ObjectRef,
    Outcome,
    ResultItem,
    TaskOptions,
)
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import NewTask, OutcomeItem
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.store import objects, retention, reuse

ME, OTHER = Principal("me"), Principal("other")
CODE = "c0" * 32
MEMO = TaskOptions(memo=CODE)


async def run(core: Any, payload: bytes = b"in", options: TaskOptions = MEMO, **outcome: Any) -> str:
    """Submit a call and let the endpoint end it."""
    task_id = str(await core.submit_one(payload, options=options))
    lines = [Event(1.0, "stdout", "hello\n"), Event(2.0, "display", {"data": {"text/html": "<b>"}})]
    result = ResultItem(
        *(task_id, 0, f"run of {task_id}"),
        Outcome(**{"ok": True, "payload": b"out", "started": 1.0, "ended": 181.0, **outcome}),
        EventBatch(task_id, f"run of {task_id}", 0, lines),
    )
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    core.tasks.facts.store_results(core.endpoints.get(core.endpoint_id), [result], future.set_result)
    await future
    return task_id


def state(core: Any, task_id: str) -> TaskState:
    return TaskState(core.tasks.record(ME, task_id).state)


def test_a_result_is_used_again_with_what_its_run_printed(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened(clock=lambda: 181.0 + 2 * 86400) as core:
            first = await run(core)
            told: list[OutcomeItem] = []
            core.feed.group("me", core.group_id, told.extend)
            followed: list[Any] = []
            again = tools.new_id()
            core.feed.events(again, lambda events, last: followed.append((events, last)))
            assert await core.submit(NewTask(again, b"in"), options=MEMO) == []
            assert [(item.task_id, item.state, item.payload) for item in told] == [(again, "success", b"out")]

            document = core.tasks.record(ME, again).as_document()
            assert (document["reused_from"], document["saved_s"]) == (first, 180.0)
            assert document["reason"] == f"reused the result of …{first[-8:]}, 2 d old"
            assert (document["attempts"], document["started"]) == (0, None)
            events = core.tasks.events_after(ME, again, 0)
            assert [event.kind for _, event in events] == ["state", "stdout", "display", "state"]
            assert [seq for seq, _ in events] == [1, 2, 3, 4]
            assert events[-1][1].data == {"state": "success", "reason": document["reason"]}
            assert followed == [(events[1:], True)]
            assert core.tasks.outcome(ME, again).payload == b"out"

    tools.run(main())


def test_the_run_itself_is_named_when_a_reused_result_is_reused(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            first = await run(core)
            for _ in range(2):
                again = await core.submit_one(options=MEMO)
                assert core.tasks.record(ME, again).reused.task_id == first
            await core.database.write(  # the first is purged alone
                lambda connection: retention.purge(connection, 0, 1e12, 1.0, 1)
            )
            with pytest.raises(TaskGone):
                core.tasks.record(ME, first)
            again = await core.submit_one(options=MEMO)
            assert core.tasks.record(ME, again).reused.task_id == first
            assert core.tasks.events_after(ME, again, 0)[1][1].data == "hello\n"

    tools.run(main())


@pytest.mark.parametrize(
    ("payload", "options"),
    [
        (b"other", MEMO),
        (b"in", TaskOptions(memo="d0" * 32)),
        (b"in", TaskOptions(memo=CODE, requires=["numpy>=2"])),
        (b"in", TaskOptions(memo=CODE, fresh=True)),
        (b"in", TaskOptions()),
    ],
)
def test_another_call_runs(tools: Any, payload: bytes, options: TaskOptions) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            await run(core)
            assert state(core, await core.submit_one(payload, options=options)) is TaskState.WAITING_FOR_EP

    tools.run(main())


def test_a_fresh_run_is_the_one_that_is_used_from_then_on(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            await run(core)
            fresh = await run(core, options=TaskOptions(memo=CODE, fresh=True), payload=b"in")
            again = await core.submit_one(options=MEMO)
            assert core.tasks.record(ME, again).reused.task_id == fresh

    tools.run(main())


def test_a_failure_is_not_used_again(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            failed = await run(core, ok=False, payload=b"", error=ErrorInfo("TASK_FAILED", "no"))
            assert state(core, failed) is TaskState.FAILED
            assert state(core, await core.submit_one(options=MEMO)) is TaskState.WAITING_FOR_EP

    tools.run(main())


def test_other_packages_at_the_endpoint_make_another_call(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:

            def installed(digit: str) -> None:
                environment = Environment("worker", "3.12.4", digit * 64, {}, {})
                core.endpoints.set_environment(core.endpoint_id, environment)

            installed("a")
            await run(core)
            installed("b")
            waits = await core.submit_one(options=MEMO)
            assert not core.tasks.record(ME, waits).state.is_final
            installed("a")
            assert state(core, await core.submit_one(options=MEMO)) is TaskState.SUCCESS
            await core.end(waits)  # began among "b", ended among "a"
            installed("b")
            assert not core.tasks.record(ME, await core.submit_one(options=MEMO)).state.is_final

    tools.run(main())


def test_the_first_report_of_packages_comes_while_a_call_runs(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            first = await core.submit_one(options=MEMO)
            environment = Environment("worker", "3.12.4", "a" * 64, {}, {})
            core.endpoints.set_environment(core.endpoint_id, environment)
            await core.end(first)
            assert state(core, await core.submit_one(options=MEMO)) is TaskState.SUCCESS

    tools.run(main())


def test_what_was_purged_or_is_anothers_is_not_used(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            await run(core)
            await core.endpoints.register(OTHER, "box")
            function = await core.functions.register(OTHER, "f", b"body", "funcx-lab")
            foreign = NewTask(tools.new_id(), b"in")
            group = tools.new_id()
            assert await core.tasks.submit(OTHER, "box", function, group, [foreign], MEMO) == []
            assert not core.tasks.record(OTHER, foreign.task_id).state.is_final
            await core.database.write(lambda connection: retention.purge(connection, 0, 1e12, 1.0, 1000))
            assert state(core, await core.submit_one(options=MEMO)) is TaskState.WAITING_FOR_EP

    tools.run(main())


def test_the_same_submit_again_stays_one_task(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            await run(core)
            told: list[OutcomeItem] = []
            core.feed.group("me", core.group_id, told.extend)
            task = NewTask(tools.new_id(), b"in")
            answers = await asyncio.gather(*(core.submit(task, options=MEMO) for _ in range(3)))
            assert answers == [[], [], []]
            assert [item.task_id for item in told] == [task.task_id]
            assert core.tasks.counts(ME) == {TaskState.SUCCESS: 2}

    tools.run(main())


def test_objects_are_taken_and_given_by_name(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            for sha256, size in (("ab" * 32, 9), ("cd" * 32, 7)):
                await core.database.write(
                    lambda connection, sha256=sha256, size=size: objects.insert(
                        connection, sha256=sha256, size=size, user="me", now=0.0
                    )
                )

            async def submit() -> str:
                task = NewTask(tools.new_id(), b"", ObjectRef("ab" * 32, 9))
                assert await core.submit(task, options=MEMO) == []
                return task.task_id

            first = await submit()
            await core.end(first, object=ObjectRef("cd" * 32, 7))
            again = await submit()
            assert core.tasks.outcome(ME, again).object == ObjectRef("cd" * 32, 7)
            assert core.tasks.record(ME, again).input_hash == "ab" * 6
            assert core.tasks.call(ME, again).object == ObjectRef("ab" * 32, 9)

    tools.run(main())


def test_records_name_code_and_arguments(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            document = core.tasks.record(ME, await core.submit_one(b"in")).as_document()
            assert document["code_hash"] == hashlib.sha256(b"body").hexdigest()[:12]
            assert document["input_hash"] == hashlib.sha256(b"in").hexdigest()[:12]
            keyed = await core.functions.register(ME, "g", b"g", "funcx-lab", {"code_sha256": CODE})
            odd = await core.functions.register(ME, "h", b"h", "funcx-lab", {"code_sha256": ["x"]})
            for function, code in ((keyed, CODE), (odd, hashlib.sha256(b"h").hexdigest())):
                task = NewTask(tools.new_id())
                assert await core.tasks.submit(ME, "box", function, core.group_id, [task]) == []
                assert core.tasks.record(ME, task.task_id).code_hash == code[:12]

    tools.run(main())


def test_a_task_says_what_it_calls_also_when_the_function_was_deleted(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_id = await core.submit_one(b"in", options=TaskOptions(label="mine"))
            await core.functions.delete(ME, core.function_id)
            call = core.tasks.call(ME, task_id)
            assert (call.function.body, call.payload, call.options.label) == (b"body", b"in", "mine")
            assert (call.endpoint_id, call.endpoint_name) == (core.endpoint_id, "box")
            for principal, other in ((OTHER, task_id), (ME, tools.new_id())):
                with pytest.raises(TaskNotFound):
                    core.tasks.call(principal, other)

    tools.run(main())


@pytest.mark.parametrize(
    "options",
    [
        TaskOptions(memo="x"),
        TaskOptions(memo=""),
        TaskOptions(memo=CODE, session="s"),
        TaskOptions(repeats="x" * 100_000),
    ],
)
def test_keys_that_are_none_are_refused(tools: Any, options: TaskOptions) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            with pytest.raises(InvalidRequest, match=r"options\.(memo|repeats)"):
                await core.submit_one(options=options)

    tools.run(main())


def test_a_reuse_that_fails_takes_nothing_in_and_tells_nobody(tools: Any, monkeypatch: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            await run(core)
            told: list[OutcomeItem] = []
            core.feed.group("me", core.group_id, told.extend)
            task = NewTask(tools.new_id(), b"in")

            def broken(*_: Any) -> None:
                raise sqlite3.IntegrityError("half of it")

            with monkeypatch.context() as patch:
                patch.setattr(reuse, "give", broken)
                with pytest.raises(sqlite3.IntegrityError):
                    await core.submit(task, options=MEMO)
            with pytest.raises(TaskNotFound):
                core.tasks.record(ME, task.task_id)
            assert told == []
            assert await core.submit(task, options=MEMO) == []  # the client sends it again
            assert [item.task_id for item in told] == [task.task_id]

    tools.run(main())


def test_another_life_of_the_service_finds_the_result(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            first = await run(core)
        async with tools.opened() as core:
            again = await core.submit_one(options=MEMO)
            assert core.tasks.record(ME, again).reused.task_id == first

    tools.run(main())
