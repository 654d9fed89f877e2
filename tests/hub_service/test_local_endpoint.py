"""The supervisor of the endpoint `local`: registered at once, started again, and silent about nothing."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from funcx_lab_hub_service import local_endpoint
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.endpoints import Endpoints
from funcx_lab_hub_service.local_endpoint import LocalEndpoint
from funcx_lab_hub_service.store.database import Database

ME = Principal("me")


@asynccontextmanager
async def supervised(home: Path) -> AsyncIterator[tuple[LocalEndpoint, Endpoints]]:
    home.mkdir(exist_ok=True)
    database = Database(home / "hub.db")
    await database.start()
    endpoints = Endpoints(database)
    endpoints.start()
    endpoint = LocalEndpoint(home, endpoints, ME)
    await endpoint.start()
    try:
        yield endpoint, endpoints
    finally:
        await endpoint.stop()
        await database.close()


async def until(condition: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(poll(), 10)


def without_parsl(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "parsl" else find_spec(name)
    )


def test_without_the_extra_people_read_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_parsl(monkeypatch)

    async def scenario() -> None:
        async with supervised(tmp_path / "home") as (endpoint, endpoints):
            await until(lambda: endpoint.reason is not None)
            status = endpoints.status(ME, "local")
            assert status["status"] == "registered"
            assert "parsl" in status["reason"]
            assert "pip install 'funcx-lab[endpoint]'" in status["reason"]

    asyncio.run(scenario())


def test_it_is_registered_once_and_keeps_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_parsl(monkeypatch)

    async def scenario() -> str:
        async with supervised(tmp_path / "home") as (_, endpoints):
            (record,) = endpoints.list(ME)
            return record.endpoint_id

    assert asyncio.run(scenario()) == asyncio.run(scenario())


def test_an_agent_that_ends_is_started_again_ever_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_endpoint, "_FIRST_PAUSE_S", 0.01)
    pauses: list[float] = []
    really_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await really_sleep(0)

    async def agent_ended(self: LocalEndpoint) -> int:
        (tmp_path / "home" / "endpoints" / "local" / "agent.log").write_text("one\nconfig.py, line 3: no\n")
        return 1

    monkeypatch.setattr(LocalEndpoint, "_agent_ended", agent_ended)

    async def scenario() -> None:
        async with supervised(tmp_path / "home") as (endpoint, _):
            monkeypatch.setattr(local_endpoint.asyncio, "sleep", sleep)
            while len(pauses) < 16:
                await really_sleep(0)
            monkeypatch.setattr(local_endpoint.asyncio, "sleep", really_sleep)
            assert endpoint.reason is not None
            assert endpoint.reason.startswith("The agent ended with 1")
            assert endpoint.reason.endswith("config.py, line 3: no")

    asyncio.run(scenario())
    assert pauses[:4] == [0.01, 0.02, 0.04, 0.08]
    assert max(pauses) == pauses[-1] == 60


def test_supervising_goes_on_when_the_endpoint_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_parsl(monkeypatch)
    monkeypatch.setattr(local_endpoint, "_FIRST_PAUSE_S", 0.01)

    async def scenario() -> None:
        async with supervised(tmp_path / "home") as (endpoint, endpoints):
            await endpoints.delete(ME, "local")
            endpoint.reason = None
            await until(lambda: endpoint.reason is not None)

    asyncio.run(scenario())
