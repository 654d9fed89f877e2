"""The rules of endpoints and functions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from funcx_lab.errors import (
    Conflict,
    EndpointNotFound,
    FunctionNotFound,
    InvalidName,
    InvalidRequest,
    NotAuthenticated,
    PayloadTooLarge,
)
from funcx_lab.protocol.states import TaskState
from funcx_lab_hub_service import endpoints as rules
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.auth.tokens import Tokens

ME, OTHER = Principal("me"), Principal("other")
KEY = "k" * 40


@pytest.mark.parametrize("name", ["", "../x", "Upper", "a b", "a" * 64, "-a", "a\n"])
def test_a_bad_name_is_refused(tools: Any, name: str) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            with pytest.raises(InvalidName):
                await core.endpoints.register(ME, name)

    tools.run(main())


def test_the_same_name_is_the_same_endpoint_for_its_owner_only(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            again, token = await core.endpoints.register(ME, "box", {"a": 1})
            theirs, _ = await core.endpoints.register(OTHER, "box")
            assert again == core.endpoint_id != theirs
            assert token != core.enrolment_token
            assert core.endpoints.resolve(ME, "box").metadata == {"a": 1}
            assert [record.endpoint_id for record in core.endpoints.list(OTHER)] == [theirs]

    tools.run(main())


def test_an_id_may_be_chosen_once(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            chosen = tools.new_id()
            assert (await core.endpoints.register(ME, "a", endpoint_id=chosen))[0] == chosen
            with pytest.raises(Conflict):
                await core.endpoints.register(OTHER, "b", endpoint_id=chosen)
            with pytest.raises(Conflict):
                await core.endpoints.register(ME, "box", endpoint_id=chosen)
            with pytest.raises(InvalidRequest):
                await core.endpoints.register(ME, "c", endpoint_id="../x")

    tools.run(main())


def test_an_enrolment_token_works_once_and_gives_the_agent_its_own(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            agent_token = await core.endpoints.enrol(core.endpoint_id, core.enrolment_token, KEY)
            principal = Tokens(core.database).verify(agent_token)
            assert (principal.user, principal.kind, principal.endpoint_id) == (
                "me",
                "endpoint",
                core.endpoint_id,
            )
            assert core.endpoints.endpoint_for_key(KEY) == core.endpoint_id
            with pytest.raises(NotAuthenticated):
                await core.endpoints.enrol(core.endpoint_id, core.enrolment_token, "j" * 40)

    tools.run(main())


def test_a_new_enrolment_voids_the_old_key_and_token(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            old = await core.endpoints.enrol(core.endpoint_id, core.enrolment_token, KEY)
            _, token = await core.endpoints.register(ME, "box")
            await core.endpoints.enrol(core.endpoint_id, token, "j" * 40)
            assert core.endpoints.endpoint_for_key(KEY) is None
            with pytest.raises(NotAuthenticated):
                Tokens(core.database).verify(old)

    tools.run(main())


def test_a_late_wrong_or_foreign_enrolment_is_refused(tools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            with pytest.raises(NotAuthenticated):
                await core.endpoints.enrol(core.endpoint_id, "wrong", KEY)
            with pytest.raises(NotAuthenticated):
                await core.endpoints.enrol(tools.new_id(), core.enrolment_token, KEY)
            with pytest.raises(InvalidRequest):
                await core.endpoints.enrol(core.endpoint_id, core.enrolment_token, "short")
            now = rules.time.time()
            monkeypatch.setattr(rules.time, "time", lambda: now + rules.ENROLMENT_S + 1)
            with pytest.raises(NotAuthenticated):
                await core.endpoints.enrol(core.endpoint_id, core.enrolment_token, KEY)

    tools.run(main())


def test_a_deleted_endpoint_is_gone_with_key_and_token(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            agent_token = await core.endpoints.enrol(core.endpoint_id, core.enrolment_token, KEY)
            told: list[Any] = []
            core.endpoints.when_deleted(lambda *what: told.append(what))
            await core.endpoints.delete(ME, "box")
            assert told == [(core.endpoint_id, KEY)]
            assert core.endpoints.endpoint_for_key(KEY) is None
            with pytest.raises(EndpointNotFound):
                core.endpoints.resolve(ME, core.endpoint_id)
            with pytest.raises(NotAuthenticated):
                Tokens(core.database).verify(agent_token)
            assert (await core.endpoints.register(ME, "box"))[0] != core.endpoint_id

    tools.run(main())


def test_tasks_of_a_deleted_endpoint_end(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_id, other = await core.submit_one(), await core.submit_one()
            await core.tasks.cancel(ME, [other])
            waiting = asyncio.create_task(core.tasks.wait(ME, [task_id], 10))
            await asyncio.sleep(0)
            await core.endpoints.delete(ME, "box")
            await asyncio.wait_for(waiting, 5)
            record = core.tasks.record(ME, task_id)
            assert (record.state, record.error.code) == (TaskState.FAILED, "ENDPOINT_NOT_FOUND")
            assert "'box' was deleted before the task ended" in record.reason
            assert core.tasks.record(ME, other).state is TaskState.CANCELLED
            assert core.tasks.counts(ME) == {TaskState.FAILED: 1, TaskState.CANCELLED: 1}

    tools.run(main())


def test_tasks_of_a_deleted_endpoint_end_also_if_the_service_was_killed_between(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            task_id = await core.submit_one()
            core.endpoints._on_delete.clear()  # nobody comes to end them
            await core.endpoints.delete(ME, "box")
            assert not core.tasks.record(ME, task_id).state.is_final
        async with tools.opened() as core:
            assert core.tasks.record(ME, task_id).error.code == "ENDPOINT_NOT_FOUND"

    tools.run(main())


def test_endpoints_are_known_after_a_restart(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            await core.endpoints.enrol(core.endpoint_id, core.enrolment_token, KEY)
            before = core.endpoint_id
        async with tools.opened() as core:
            assert core.endpoints.endpoint_for_key(KEY) == before
            assert core.endpoints.status(ME, "box")["status"] == "registered"

    tools.run(main())


def test_the_same_function_keeps_its_id(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            register = core.functions.register
            twice = await asyncio.gather(*(register(ME, "g", b"x", "globus") for _ in range(2)))
            assert twice[0] == twice[1]
            others = [
                await register(OTHER, "g", b"x", "globus"),
                await register(ME, "h", b"x", "globus"),
                await register(ME, "g", b"y", "globus"),
            ]
            assert len({twice[0], *others}) == 4

    tools.run(main())


def test_a_deleted_function_takes_no_new_tasks_but_still_runs(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            await core.functions.delete(ME, core.function_id)
            with pytest.raises(FunctionNotFound):
                core.functions.get(ME, core.function_id)
            assert core.functions.list(ME) == []
            assert core.functions.body(core.function_id).body == b"body"

    tools.run(main())


def test_bad_functions_are_refused(tools: Any) -> None:
    async def main() -> None:
        async with tools.opened() as core:
            for body, form, error in (
                (b"", "globus", InvalidRequest),
                (b"x", "pickle", InvalidRequest),
                (bytes(10 * 1024 * 1024 + 1), "funcx-lab", PayloadTooLarge),
            ):
                with pytest.raises(error):
                    await core.functions.register(ME, "f", body, form)

    tools.run(main())
