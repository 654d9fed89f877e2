"""The rules of tasks on a real store, without an endpoint's agent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from funcx_lab.errors import (
    EndpointNotFound,
    FunctionNotFound,
    InvalidRequest,
    NotAuthorized,
    StorageFull,
    TaskNotFound,
)
from funcx_lab.protocol.messages import ErrorInfo, ObjectRef, Outcome, ResultItem, TaskOptions
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.store import objects, retention

ME, OTHER = Principal("me"), Principal("other")
ZERO = "00000000-0000-0000-0000-000000000000"


async def end(core: Any, *results: ResultItem) -> Any:
    future = asyncio.get_running_loop().create_future()
    core.tasks.facts.store_results(core.endpoints.get(core.endpoint_id), results, future.set_result)
    return await future


def success(task_id: str, payload: bytes = b"out") -> ResultItem:
    return ResultItem(task_id, 0, "run", Outcome(True, payload, started=1.0, ended=2.0))


def test_a_task_without_an_agent_waits_and_says_why(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_id = await core.submit_one(options=TaskOptions(label="mine"))
            document = core.tasks.record(ME, task_id).as_document()
            assert document["state"] == "waiting-for-ep"
            assert document["reason"] == "endpoint has never connected"
            assert document["label"] == "mine"
            assert (document["endpoint_name"], document["function_name"]) == ("box", "f")
            assert core.tasks.counts(ME) == {TaskState.WAITING_FOR_EP: 1}

    tools.run(main())


def test_the_same_submit_again_changes_nothing(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task = NewTask(tools.new_id(), b"in")
            twice = await asyncio.gather(core.submit(task), core.submit(task))
            assert twice == [[], []]
            await end(core, success(task.task_id))
            assert await core.submit(task) == []
            assert core.tasks.record(ME, task.task_id).state is TaskState.SUCCESS
            assert core.tasks.counts(ME) == {TaskState.SUCCESS: 1}

    tools.run(main())


def test_another_task_under_the_same_id_is_refused_alone(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task, fresh = NewTask(tools.new_id(), b"in"), NewTask(tools.new_id(), b"in")
            await core.submit(task)
            refused = await core.submit(NewTask(task.task_id, b"else"), fresh)
            assert [(refusal.task_id, refusal.error["code"]) for refusal in refused] == [
                (task.task_id, "CONFLICT")
            ]
            assert core.tasks.record(ME, fresh.task_id)
            assert core.tasks.counts(ME) == {TaskState.WAITING_FOR_EP: 2}

    tools.run(main())


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (NewTask("not-a-uuid"), "INVALID_REQUEST"),
        (NewTask("../" * 12), "INVALID_REQUEST"),
        (
            NewTask(ZERO, bytes(10 * 1024 * 1024 + 1)),
            "TASK_PAYLOAD_TOO_LARGE",
        ),
        (NewTask(ZERO, b"", ObjectRef("ab" * 32, 9)), "OBJECT_NOT_FOUND"),
    ],
)
def test_what_cannot_be_taken_in_is_refused_and_the_rest_is_taken(
    tools: Any, task: NewTask, code: str
) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            good = NewTask(tools.new_id())
            refused = await core.submit(task, good)
            assert [refusal.error["code"] for refusal in refused] == [code]
            assert core.tasks.record(ME, good.task_id)

    tools.run(main())


def test_an_object_of_the_owner_is_taken(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            await core.database.write(
                lambda connection: objects.insert(connection, sha256="ab" * 32, size=9, user="me", now=0.0)
            )
            assert await core.submit(NewTask(tools.new_id(), b"", ObjectRef("ab" * 32, 9))) == []
            wrong_size = await core.submit(NewTask(tools.new_id(), b"", ObjectRef("ab" * 32, 10)))
            assert wrong_size[0].error["code"] == "OBJECT_NOT_FOUND"

    tools.run(main())


def test_unknown_endpoint_and_function_are_said_at_once(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            with pytest.raises(EndpointNotFound):
                core.tasks.submit(ME, "nowhere", core.function_id, core.group_id, [])
            with pytest.raises(FunctionNotFound):
                core.tasks.submit(ME, "box", tools.new_id(), core.group_id, [])
            agent = Principal("me", "endpoint", core.endpoint_id)
            with pytest.raises(NotAuthorized):
                core.tasks.submit(agent, "box", core.function_id, core.group_id, [])

    tools.run(main())


def test_what_is_not_yours_is_not_there(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_id = await core.submit_one()
            await end(core, success(task_id))
            absent = tools.new_id()
            for method, known, unknown in (
                (core.tasks.record, task_id, absent),
                (core.endpoints.resolve, core.endpoint_id, absent),
                (core.functions.get, core.function_id, absent),
            ):
                with pytest.raises(Exception, match="not yours") as forbidden:
                    method(OTHER, known)
                with pytest.raises(Exception, match="not yours") as missing:
                    method(OTHER, unknown)
                assert type(forbidden.value) is type(missing.value)
                assert str(forbidden.value).replace(known, "") == str(missing.value).replace(unknown, "")
            assert core.tasks.outcome(OTHER, task_id) is None
            assert core.tasks.outcomes_after(OTHER, core.group_id, 0) == []
            assert core.tasks.records(OTHER) == core.tasks.records(OTHER, task_ids=[task_id]) == []
            assert core.tasks.counts(OTHER) == {}
            assert await core.tasks.cancel(OTHER, [task_id]) == []
            with pytest.raises(TaskNotFound):
                core.tasks.events_after(OTHER, task_id, 0)

    tools.run(main())


def test_outcomes_come_in_commit_order_with_payload_to_the_feed_and_from_the_cursor(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_ids = [await core.submit_one() for _ in range(4)]
            lists: list[Any] = []
            stop = core.feed.group("me", core.group_id, lists.append)
            await end(core, success(task_ids[2], b"c"), success(task_ids[0], b"a"))
            await end(core, success(task_ids[3], b"d"))
            stop()
            await end(core, success(task_ids[1], b"b"))
            assert [[item.payload for item in items] for items in lists] == [[b"c", b"a"], [b"d"]]
            told = [item for items in lists for item in items]
            page = core.tasks.outcomes_after(ME, core.group_id, 0, 2)
            assert page == told[:2]
            rest = core.tasks.outcomes_after(ME, core.group_id, page[-1].cursor)
            assert [item.payload for item in rest] == [b"d", b"b"]

    tools.run(main())


def test_the_first_outcome_stays(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_id = await core.submit_one()
            failed = Outcome(False, error=ErrorInfo("TASK_FAILED", "division by zero", "ZeroDivisionError"))
            verdict = await end(core, ResultItem(task_id, 0, "a", failed), success(task_id))
            assert verdict.acked == [(task_id, "a"), (task_id, "run")]
            await end(core, success(task_id))
            record = core.tasks.record(ME, task_id)
            assert (record.state, record.reason) == (TaskState.FAILED, "division by zero")
            assert await core.tasks.cancel(ME, [task_id]) == []

    tools.run(main())


def test_a_later_outcome_is_acknowledged_and_counted_and_a_repeat_is_not(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_id, cancelled = await core.submit_one(), await core.submit_one()
            for execution in ("run", "run", "other", "run"):
                assert (await core.end(task_id, execution)).acked == [(task_id, execution)]
            assert core.tasks.late_outcomes(ME) == 1
            await core.tasks.cancel(ME, [cancelled])
            await core.end(cancelled)
            assert core.tasks.late_outcomes(ME) == 2
            assert core.tasks.late_outcomes(OTHER) == 0

    tools.run(main())


@pytest.mark.parametrize(
    "options",
    [
        TaskOptions(ttl_s=0),
        TaskOptions(ttl_s=-1.0),
        TaskOptions(ttl_s=float("nan")),
        TaskOptions(walltime_s=float("inf")),
        TaskOptions(walltime_s=1e12),
        TaskOptions(label="x" * 201),
        TaskOptions(retries=-1),
        TaskOptions(requires=["--index-url=http://127.0.0.1/"]),
        TaskOptions(retries=1_000_001),
        TaskOptions(retries=1, at_most_once=True),
        TaskOptions(session="two words"),
        TaskOptions(items=(0, 0, 5)),
        TaskOptions(items=(3, 3, 5)),
    ],
)
def test_options_that_cannot_be_are_refused(tools: Any, options: TaskOptions) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            with pytest.raises(InvalidRequest, match="options"):
                await core.submit_one(options=options)

    tools.run(main())


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome(True, object=ObjectRef("ab" * 32, 1 << 64 - 1)), "MALFORMED_MESSAGE"),
        (Outcome(True, object=ObjectRef("../x", 1)), "MALFORMED_MESSAGE"),
        (Outcome(False), "TASK_ERROR"),
    ],
)
def test_an_impossible_outcome_fails_the_task(tools: Any, outcome: Outcome, code: str) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_id = await core.submit_one()
            verdict = await end(core, ResultItem(task_id, 0, "run", outcome))
            assert verdict.acked == [(task_id, "run")]
            assert core.tasks.record(ME, task_id).error.code == code

    tools.run(main())


def test_a_result_of_another_endpoint_changes_nothing(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_id = await core.submit_one()
            await core.endpoints.register(ME, "stranger")
            stranger = core.endpoints.resolve(ME, "stranger")
            future = asyncio.get_running_loop().create_future()
            core.tasks.facts.store_results(stranger, [success(task_id)], future.set_result)
            await future
            assert core.tasks.outcome(ME, task_id) is None

    tools.run(main())


def test_cancel_at_every_state(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            queued, ended = await core.submit_one(), await core.submit_one()
            await end(core, success(ended))
            pending = core.tasks.submit(
                ME, "box", core.function_id, core.group_id, [NewTask(late := tools.new_id())]
            )
            assert await core.tasks.cancel(ME, [queued, ended, late, tools.new_id()]) == [queued, late]
            assert await pending == []
            assert await core.tasks.cancel(ME, [queued]) == [queued]
            assert core.tasks.outcome(ME, queued).error.code == "TASK_CANCELLED"

    tools.run(main())


def test_waiting_ends_with_the_last_outcome_or_the_time(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            first, second = await core.submit_one(), await core.submit_one()
            await end(core, success(first))
            waiting = asyncio.ensure_future(core.tasks.wait(ME, [first, second], 10))
            await core.tasks.wait(ME, [second], 0.01)
            assert not waiting.done()
            await end(core, success(second))
            await asyncio.wait_for(waiting, 5)
            await core.tasks.wait(ME, [first, second, tools.new_id()], 10)

    tools.run(main())


def test_records_are_paged_and_filtered(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_ids = [await core.submit_one() for _ in range(5)]
            await end(core, success(task_ids[0]))
            page = core.tasks.records(ME, limit=2)
            assert [record.task_id for record in page] == [task_ids[4], task_ids[3]]
            page = core.tasks.records(ME, limit=2, before=page[-1].key)
            assert [record.task_id for record in page] == [task_ids[2], task_ids[1]]
            done = core.tasks.records(ME, states=[TaskState.SUCCESS], group_id=core.group_id)
            assert [record.task_id for record in done] == [task_ids[0]]
            waiting = core.tasks.records(ME, states=[TaskState.WAITING_FOR_EP], endpoint_id=core.endpoint_id)
            assert len(waiting) == 4
            assert core.tasks.records(ME, states=[TaskState.WAITING_FOR_NODES]) == []
            assert core.tasks.records(ME, endpoint_id=tools.new_id()) == []

    tools.run(main())


def test_a_full_disk_refuses_the_submit_and_the_retry_is_taken(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            pages = core.database.reader.execute("PRAGMA page_count").fetchone()[0]

            def limit(count: int) -> Any:
                return core.database.write(
                    lambda connection: connection.execute(f"PRAGMA max_page_count = {count}") and None
                )

            await limit(pages + 1)
            task = NewTask(tools.new_id(), bytes(100_000))
            with pytest.raises(StorageFull):
                await core.submit(task)
            with pytest.raises(TaskNotFound):
                core.tasks.record(ME, task.task_id)
            await limit(1_000_000)
            assert await core.submit(task) == []
            assert core.tasks.record(ME, task.task_id)

    tools.run(main())


def test_a_follower_hears_why_the_task_waits(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_id = await core.submit_one()
            heard: list[Any] = []
            for _ in range(2):  # the reason is logged once
                core.feed.events(task_id, lambda events, last: heard.extend(events))
                await core.database.write(lambda connection: None)
            assert [event.data for _, event in heard] == [
                {"state": "waiting-for-ep", "reason": "endpoint has never connected"}
            ]
            assert [seq for seq, _ in core.tasks.events_after(ME, task_id, 0)] == [1, 2]

    tools.run(main())


def test_queries_over_many_tasks_use_an_index(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            await core.submit_one()
            statements: list[str] = []

            def watch(connection: Any) -> None:
                connection.set_trace_callback(statements.append)

            await core.database.write(watch)
            core.database.reader.set_trace_callback(statements.append)
            core.tasks.records(ME, group_id=core.group_id)
            core.tasks.records(ME, before=9)
            core.tasks.records(ME, states=[TaskState.RUNNING, TaskState.FAILED], endpoint_id=core.endpoint_id)
            retention.next_deadline(core.database.reader)
            core.tasks.outcomes_after(ME, core.group_id, 0)
            core.tasks.counts(ME)
            leased = asyncio.get_running_loop().create_future()
            endpoint = core.endpoints.get(core.endpoint_id)
            core.tasks.facts.lease_queued(endpoint, 1, [1], 1000, leased.set_result)
            await leased
            compared = asyncio.get_running_loop().create_future()
            core.tasks.facts.reconcile(endpoint, 2, "spool", {}, compared.set_result)
            await compared
            core.database.reader.set_trace_callback(None)
            for statement in {text for text in statements if text.lstrip().startswith("SELECT")}:
                plan = core.database.reader.execute("EXPLAIN QUERY PLAN " + statement).fetchall()
                steps = [row[3] for row in plan]
                assert not any(step.startswith("SCAN") or "TEMP B-TREE" in step for step in steps), statement

    tools.run(main())
