"""A disk that fills up: nothing new is taken in, what ends tasks still commits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from funcx_lab.errors import StorageFull, TaskNotFound
from funcx_lab.protocol.messages import Outcome, ResultItem
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.admission import Admission
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.objects import Objects
from funcx_lab_hub_service.store.reserve import Reserve
from funcx_lab_hub_service.sweeping import Sweeper

ME = Principal("me")
SIZE = 1 << 20


def test_the_ballast_is_made_given_up_and_made_again(tmp_path: Path) -> None:
    free = [10 * SIZE]
    reserve = Reserve(tmp_path, SIZE, lambda _: free[0])
    assert reserve.restore()
    ballast = tmp_path / "ballast"
    assert ballast.stat().st_blocks * 512 >= SIZE  # it really takes the room
    assert ballast.stat().st_mode & 0o777 == 0o600
    reserve.check()
    assert reserve.give_up()
    assert not ballast.exists()
    assert not reserve.give_up()
    free[0] = SIZE
    assert not reserve.restore()  # it would be all that is free
    free[0] = 2 * SIZE
    assert reserve.restore()
    assert Reserve(tmp_path, SIZE).held  # the next life finds it


def test_submits_are_refused_while_little_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("funcx_lab_hub_service.store.reserve._LOOK_S", -1.0)
    free = [10 * SIZE]
    reserve = Reserve(tmp_path, SIZE, lambda _: free[0])
    with pytest.raises(StorageFull):
        reserve.check()  # there is no ballast yet
    reserve.restore()
    reserve.check()
    free[0] = SIZE - 1
    with pytest.raises(StorageFull) as refused:
        reserve.check()
    assert refused.value.details["retry_after_s"] > 0
    free[0] = SIZE
    reserve.check()


def test_without_a_size_there_is_no_reserve(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, 0, lambda _: 0)
    assert reserve.restore()
    assert not reserve.give_up()
    reserve.check()
    assert list(tmp_path.iterdir()) == []


def test_on_a_full_disk_outcomes_commit_and_submits_do_not(tools: Any, tmp_path: Path) -> None:
    async def main() -> None:
        reserve = Reserve(tmp_path, SIZE)
        admission = Admission(check_disk=reserve.check)
        async with tools.opened(reserve=reserve, admission=admission) as core:
            ended, cancelled = await core.submit_one(), await core.submit_one()
            pages = core.database.reader.execute("PRAGMA page_count").fetchone()[0]

            def limit(count: int) -> Any:
                return lambda connection: connection.execute(f"PRAGMA max_page_count = {count}") and None

            await core.database.write(limit(pages))
            give_up = reserve.give_up

            def grow() -> bool:  # giving up the ballast is what makes room
                core.database._writer.execute(f"PRAGMA max_page_count = {pages + 1000}")
                return give_up()

            reserve.give_up = grow  # type: ignore[method-assign]
            new = NewTask(tools.new_id(), bytes(100_000))
            submitted = core.submit(new)
            result = ResultItem(ended, 0, "run", Outcome(True, bytes(100_000)))
            judged = asyncio.get_running_loop().create_future()
            refused = asyncio.ensure_future(submitted)
            await asyncio.sleep(0)
            core.tasks.facts.store_results(core.endpoints.get(core.endpoint_id), [result], judged.set_result)
            assert (await judged).acked == [(ended, "run")]
            with pytest.raises(StorageFull):
                await refused
            assert await core.tasks.cancel(ME, [cancelled]) == [cancelled]
            with pytest.raises(TaskNotFound):
                core.tasks.record(ME, new.task_id)
            assert core.tasks.counts(ME) == {TaskState.SUCCESS: 1, TaskState.CANCELLED: 1}
            with pytest.raises(StorageFull):  # before it comes to the writer
                core.tasks.submit(ME, "box", core.function_id, core.group_id, [new])
            objects = Objects(core.database, tmp_path / "objects", 1000, reserve.check)
            with pytest.raises(StorageFull):
                objects.check(ME, "ab" * 32, 10)
            objects.check(Principal("me", "endpoint", core.endpoint_id), "ab" * 32, 10)  # a result
            await Sweeper(core.database, core.tasks, objects, reserve=reserve).sweep()
            assert await core.submit(new) == []

    tools.run(main())
