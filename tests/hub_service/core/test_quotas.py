"""Quotas: refused before the ack, by name, with a time to come back."""

from __future__ import annotations

from typing import Any

from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.admission import Admission, Quotas
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.store import tasks as store

ME, OTHER = Principal("me"), Principal("other")


def codes(refusals: list[Any]) -> list[tuple[str, str]]:
    return [(refusal.task_id, refusal.error["code"]) for refusal in refusals]


def test_a_batch_over_the_quota_is_refused_in_part_and_taken_when_others_end(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened(admission=Admission(Quotas(user_tasks=3))) as core:
            tasks = [tools.task() for _ in range(5)]
            refused = await core.submit(*tasks)
            assert codes(refused) == [(task.task_id, "TOO_MANY_REQUESTS") for task in tasks[3:]]
            assert refused[0].error["details"]["retry_after_s"] > 0
            assert len(core.tasks.records(ME)) == 3
            await core.end(tasks[0].task_id)
            assert codes(await core.submit(*tasks[3:])) == [(tasks[4].task_id, "TOO_MANY_REQUESTS")]
            assert await core.tasks.cancel(ME, [tasks[1].task_id])
            assert await core.submit(tasks[4]) == []

    tools.run(main())


def test_what_is_known_already_is_never_refused_for_want_of_room(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened(admission=Admission(Quotas(user_tasks=2))) as core:
            tasks = [tools.task() for _ in range(3)]
            pending = core.tasks.submit(ME, "box", core.function_id, core.group_id, tasks[:2])
            again = core.tasks.submit(ME, "box", core.function_id, core.group_id, tasks)
            assert await pending == []
            assert codes(await again) == [(tasks[2].task_id, "TOO_MANY_REQUESTS")]
            for _ in range(3):
                assert await core.submit(*tasks[:2]) == []
            await core.end(tasks[0].task_id)
            assert await core.submit(tasks[2]) == []  # the repeats were not counted

    tools.run(main())


def test_bytes_are_counted_and_one_large_task_always_fits(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened(admission=Admission(Quotas(user_bytes=1000))) as core:
            large = NewTask(tools.new_id(), bytes(5000))
            small = NewTask(tools.new_id(), bytes(10))
            assert await core.submit(large) == []
            assert codes(await core.submit(small)) == [(small.task_id, "TOO_MANY_REQUESTS")]
            await core.end(large.task_id)
            assert await core.submit(small) == []

    tools.run(main())


def test_everybody_shares_the_quota_of_the_whole_service(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened(admission=Admission(Quotas(user_tasks=9, all_tasks=2))) as core:
            await core.endpoints.register(OTHER, "theirs")
            function_id = await core.functions.register(OTHER, "f", b"body", "funcx-lab")
            assert await core.submit(tools.task(), tools.task()) == []
            refused = await core.tasks.submit(OTHER, "theirs", function_id, tools.new_id(), [tools.task()])
            assert "all users" in refused[0].error["message"]

    tools.run(main())


def test_an_insert_that_fails_or_conflicts_takes_no_room(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened(admission=Admission(Quotas(user_tasks=2))) as core:
            task = tools.task()
            await core.submit(task)
            for _ in range(3):
                assert codes(await core.submit(NewTask(task.task_id, b"else"))) == [
                    (task.task_id, "CONFLICT")
                ]
            assert await core.submit(tools.task()) == []

    tools.run(main())


def test_the_next_life_counts_what_is_open(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            first = NewTask(tools.new_id(), b"12345")
            await core.submit(first, tools.task())
            await core.end(first.task_id)
            open_tasks = store.live_by_owner(core.database.reader)
            assert open_tasks == {"me": (1, 0)}
        async with tools.opened(admission=Admission(Quotas(user_tasks=1), open_tasks)) as core:
            assert len(await core.submit(tools.task())) == 1

    tools.run(main())
