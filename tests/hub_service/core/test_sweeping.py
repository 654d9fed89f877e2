"""Times to live, retention, purge and tombstones, with a clock that the test turns."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest

from funcx_lab.errors import TaskGone
from funcx_lab.protocol.messages import ObjectRef, TaskOptions
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.objects import Objects
from funcx_lab_hub_service.store import objects as object_store
from funcx_lab_hub_service.sweeping import DAY_S, Ages, Sweeper

ME, OTHER = Principal("me"), Principal("other")


class Clock:
    """Wall and monotonic time that pass together, until the wall clock is set."""

    def __init__(self) -> None:
        self.wall, self.uptime = 1.8e9, 100.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.uptime

    def run_to(self, seconds: float, sweeper: Sweeper) -> Any:
        self.wall += seconds
        self.uptime += seconds
        return sweeper.sweep()


def sweeper_of(core: Any, clock: Clock, ages: Ages | None = None) -> Sweeper:
    objects = Objects(core.database, core.directory / "objects", 1000)
    return Sweeper(core.database, core.tasks, objects, ages, clock=clock.time, monotonic=clock.monotonic)


def rows(core: Any, table: str) -> int:
    return int(core.database.reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_task_expires_after_its_own_time_to_live_and_the_others_after_theirs(tools: Any) -> None:
    async def main() -> None:
        clock = Clock()
        async with tools.opened(clock=clock.time) as core:
            short = await core.submit_one(options=TaskOptions(ttl_s=10))
            usual = await core.submit_one()
            long = await core.submit_one(options=TaskOptions(ttl_s=30 * DAY_S))
            ended = await core.submit_one(options=TaskOptions(ttl_s=10))
            await core.end(ended)
            sweeper = sweeper_of(core, clock)
            await clock.run_to(9, sweeper)
            assert core.tasks.counts(ME)[TaskState.WAITING_FOR_EP] == 3
            await clock.run_to(2, sweeper)
            record = core.tasks.record(ME, short)
            assert (record.state, record.error.code) == (TaskState.EXPIRED, "TASK_EXPIRED")
            assert "10 seconds" in record.reason
            await clock.run_to(14 * DAY_S, sweeper)
            assert core.tasks.outcome(ME, usual).state == "expired"
            assert "14 days" in core.tasks.record(ME, usual).reason
            assert core.tasks.outcome(ME, long) is None
            assert core.tasks.outcome(ME, ended).state == "success"

    tools.run(main())


def test_many_expire_in_small_writes(tools: Any) -> None:
    async def main() -> None:
        clock = Clock()
        async with tools.opened(clock=clock.time) as core:
            tasks = [NewTask(tools.new_id()) for _ in range(250)]
            assert await core.submit(*tasks) == []
            sizes: list[int] = []
            core.feed.group("me", core.group_id, lambda items: sizes.append(len(items)))
            await clock.run_to(15 * DAY_S, sweeper_of(core, clock))
            assert sizes == [100, 100, 50]

    tools.run(main())


def test_a_running_task_that_expires_is_stopped_at_its_endpoint(tools: Any) -> None:
    async def main() -> None:
        clock = Clock()
        async with tools.opened(clock=clock.time) as core:
            stopped: list[Any] = []
            core.tasks.attach(
                SimpleNamespace(
                    offer=lambda *_: None,
                    queued=lambda *_: None,
                    cancelled=lambda endpoint_id, leases: stopped.append((endpoint_id, leases)),
                )
            )
            task_id = await core.submit_one(options=TaskOptions(ttl_s=5))
            leased = asyncio.get_running_loop().create_future()
            endpoint = core.endpoints.get(core.endpoint_id)
            core.tasks.facts.lease_queued(endpoint, 1, [77], 1000, leased.set_result)
            await leased
            core.tasks.facts.store_started(endpoint, [(task_id, 77, "run", 1.0, {})])
            await clock.run_to(6, sweeper_of(core, clock))
            assert stopped == [(core.endpoint_id, [(task_id, 77)])]
            assert core.tasks.record(ME, task_id).state is TaskState.EXPIRED
            assert (await core.end(task_id)).acked == [(task_id, "run")]
            assert core.tasks.record(ME, task_id).state is TaskState.EXPIRED
            assert core.tasks.late_outcomes(ME) == 1

    tools.run(main())


def test_a_purged_task_is_gone_with_all_it_had_and_never_runs_again(tools: Any) -> None:
    async def main() -> None:
        clock = Clock()
        async with tools.opened(clock=clock.time) as core:
            task = NewTask(tools.new_id(), b"in")
            await core.submit(task)
            # the endpoint's clock is 50 years behind: retention counts from when the end was stored
            await core.end(task.task_id, started=1.0, ended=2.0)
            sweeper = sweeper_of(core, clock)
            await clock.run_to(29 * DAY_S, sweeper)
            assert core.tasks.outcome(ME, task.task_id).payload == b"out"
            live = await core.submit_one(options=TaskOptions(ttl_s=99 * DAY_S))
            await clock.run_to(2 * DAY_S, sweeper)
            for method in (core.tasks.record, lambda *args: core.tasks.events_after(*args, 0)):
                with pytest.raises(TaskGone, match="retention"):
                    method(ME, task.task_id)
            with pytest.raises(Exception, match="no task"):
                core.tasks.record(OTHER, task.task_id)
            assert [rows(core, name) for name in ("tasks", "bodies", "results")] == [1, 1, 0]
            refused = await core.submit(task)
            assert [refusal.error["code"] for refusal in refused] == ["TASK_GONE"]
            stolen = await core.tasks.submit(
                OTHER, *await other_route(core), tools.new_id(), [NewTask(task.task_id, b"in")]
            )
            assert [refusal.error["code"] for refusal in stolen] == ["CONFLICT"]
            verdict = await core.end(task.task_id, "again")
            assert (verdict.acked, verdict.unknown) == ([(task.task_id, "again")], [])
            assert core.tasks.record(ME, live)
            await clock.run_to(91 * DAY_S, sweeper)
            assert rows(core, "tombstones") == 0

    tools.run(main())


async def other_route(core: Any) -> tuple[str, str]:
    await core.endpoints.register(OTHER, "theirs")
    return "theirs", await core.functions.register(OTHER, "f", b"body", "funcx-lab")


def test_a_purged_id_is_not_offered_to_the_endpoint(tools: Any) -> None:
    async def main() -> None:
        clock = Clock()
        async with tools.opened(clock=clock.time) as core:
            task = NewTask(tools.new_id(), b"in")
            await core.submit(task)
            await core.end(task.task_id)
            await clock.run_to(31 * DAY_S, sweeper_of(core, clock))
            offered: list[Any] = []
            core.tasks.attach(
                SimpleNamespace(offer=lambda *args: offered.append(args), queued=lambda *_: None)
            )
            await core.submit(task)
            assert offered == []

    tools.run(main())


def test_objects_go_with_the_last_task_that_refers_to_them(tools: Any) -> None:
    async def main() -> None:
        clock = Clock()
        async with tools.opened(clock=clock.time) as core:
            names = ["ab" * 32, "cd" * 32, "ef" * 32]
            for name in names:
                path = core.directory / "objects" / name[:2] / name
                path.parent.mkdir(parents=True)
                path.write_bytes(b"x")
                os.utime(path, (1.0, 1.0))
                await core.database.write(
                    lambda connection, name=name: object_store.insert(
                        connection, sha256=name, size=1, user="me", now=clock.wall
                    )
                )
            old, kept = (NewTask(tools.new_id(), b"", ObjectRef(name, 1)) for name in names[:2])
            assert await core.submit(old) == []
            await core.end(old.task_id)
            sweeper = sweeper_of(core, clock)
            await clock.run_to(29 * DAY_S, sweeper)
            assert await core.submit(kept) == []
            wanted = core.directory / "objects" / "ef" / names[2]
            os.utime(wanted)  # somebody asked for it just now
            await clock.run_to(2 * DAY_S, sweeper)
            left = sorted(path.name for path in (core.directory / "objects").glob("*/*"))
            assert left == sorted(names[1:])
            os.utime(wanted, (1.0, 1.0))
            await clock.run_to(4000, sweeper)
            assert rows(core, "objects") == 1
            again = await core.submit(NewTask(tools.new_id(), b"", ObjectRef(names[0], 1)))
            assert [refusal.error["code"] for refusal in again] == ["OBJECT_NOT_FOUND"]

    tools.run(main())


def test_old_sessions_go_but_those_that_leases_are_from(tools: Any) -> None:
    async def main() -> None:
        clock = Clock()
        async with tools.opened(clock=clock.time) as core:
            endpoint, sweeper = core.endpoints.get(core.endpoint_id), sweeper_of(core, clock)
            for session in (1, 2, 3):
                core.endpoints.open_session(endpoint, session, "instance", "spool")
            await core.database.write(
                lambda connection: connection.execute("UPDATE sessions SET started = 1")
            )
            await core.submit_one(options=TaskOptions(ttl_s=99 * DAY_S))
            leased = asyncio.get_running_loop().create_future()
            core.tasks.facts.lease_queued(endpoint, 2, [77], 1000, leased.set_result)
            await leased
            await clock.run_to(1, sweeper)
            assert core.database.reader.execute("SELECT id FROM sessions").fetchall() == [(2,)]

    tools.run(main())


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 10 * 365 * DAY_S, -10 * 365 * DAY_S])
def test_a_clock_that_jumps_ends_nothing_for_an_hour_of_uptime(tools: Any, jump: float) -> None:
    async def main() -> None:
        clock = Clock()
        async with tools.opened(clock=clock.time) as core:
            await core.submit_one(options=TaskOptions(ttl_s=1800))
            ended = await core.submit_one()
            await core.end(ended)
            sweeper = sweeper_of(core, clock, Ages(retention_s=1800))
            await sweeper.sweep()
            clock.wall += jump
            for _ in range(59):
                await clock.run_to(60, sweeper)
            counts = core.tasks.counts(ME)
            assert counts == {TaskState.WAITING_FOR_EP: 1, TaskState.SUCCESS: 1}
            await clock.run_to(121, sweeper)
            if jump > 0:
                assert TaskState.WAITING_FOR_EP not in core.tasks.counts(ME)

    tools.run(main())


@pytest.mark.parametrize("away", [-3600.0, 3650 * DAY_S])
def test_a_clock_that_was_wrong_at_the_start_ends_nothing_for_an_hour(tools: Any, away: float) -> None:
    async def main() -> None:
        clock = Clock()
        async with tools.opened(clock=clock.time) as core:
            task_id = await core.submit_one(options=TaskOptions(ttl_s=1))
            clock.wall += away
            sweeper = sweeper_of(core, clock)
            await clock.run_to(3599, sweeper)
            assert core.tasks.outcome(ME, task_id) is None

    tools.run(main())


async def begin_session(core: Any, number: int, clock: Clock) -> None:
    core.endpoints.open_session(core.endpoints.get(core.endpoint_id), number, "instance", "spool")
    values = clock.time(), number
    await core.database.write(
        lambda connection: connection.execute("UPDATE sessions SET started = ? WHERE id = ?", values) and None
    )


@pytest.mark.parametrize("noticed", [True, False])
def test_a_start_with_the_same_wrong_clock_does_not_believe_it_either(tools: Any, noticed: bool) -> None:
    async def main() -> None:
        clock = Clock()
        async with tools.opened(clock=clock.time) as core:
            await begin_session(core, 1, clock)
            old = await core.submit_one()
            await core.end(old)
            sweeper = sweeper_of(core, clock)
            clock.wall += 3650 * DAY_S
            if noticed:
                await sweeper.sweep()
                await begin_session(core, 2, clock)
            await core.submit_one()  # with the wrong time, just before the end
            sweeper = sweeper_of(core, clock)
            await clock.run_to(3599, sweeper)
            assert core.tasks.outcome(ME, old) is not None
            await clock.run_to(2, sweeper)
            assert core.tasks.outcome(ME, old) is None
            await begin_session(core, 3, clock)
            again = await core.submit_one(options=TaskOptions(ttl_s=10))
            await clock.run_to(11, sweeper_of(core, clock))  # believed again, and at once
            assert core.tasks.outcome(ME, again).state == "expired"

    tools.run(main())


def test_sweeping_goes_on_by_itself_and_survives_a_failure(
    tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            sweeper = sweeper_of(core, SimpleNamespace(time=core.clock, monotonic=core.clock))
            failures = [sqlite3.OperationalError("locked")]
            sweep = sweeper.sweep

            async def sweep_or_fail() -> None:
                if failures:
                    raise failures.pop()
                await sweep()

            monkeypatch.setattr(sweeper, "sweep", sweep_or_fail)
            monkeypatch.setattr("funcx_lab_hub_service.sweeping._TICK_S", 0.01)
            task_id = await core.submit_one(options=TaskOptions(ttl_s=0.01))
            sweeper.start()
            await tools.until(lambda: core.tasks.outcome(ME, task_id) is not None)
            await sweeper.stop()

    tools.run(main())
