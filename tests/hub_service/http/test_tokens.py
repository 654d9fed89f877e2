"""Tokens: kept as hashes, verified from memory, revoked everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from funcx_lab.errors import ConfigError, NotAuthenticated, NotFound
from funcx_lab_hub_service.access import may, may_create
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.auth.tokens import FRESH_S, Tokens, new_token
from funcx_lab_hub_service.config import ServiceConfig, is_loopback
from funcx_lab_hub_service.store.database import Database


def with_database(path: Path, work: Callable[[Database], Awaitable[None]]) -> None:
    async def run() -> None:
        database = Database(path / "hub.db")
        await database.start()
        try:
            await work(database)
        finally:
            await database.close()

    asyncio.run(run())


def test_tokens_are_long_and_unlike() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {47}
    assert all(token.startswith("fxl_") for token in tokens)


def test_a_token_stands_for_its_user(tmp_path: Path) -> None:
    async def work(database: Database) -> None:
        tokens = Tokens(database)
        token = await tokens.create("ada")
        assert tokens.verify(token).user == "ada"
        assert tokens.verify(token) is tokens.verify(token), "the second time from memory"
        for wrong in ("", "x", token[:-1], token + "x", token.upper(), new_token()):
            with pytest.raises(NotAuthenticated):
                tokens.verify(wrong)

    with_database(tmp_path, work)


def test_a_revoked_token_works_no_more(tmp_path: Path) -> None:
    async def work(database: Database) -> None:
        tokens = Tokens(database)
        token = await tokens.create("ada")
        number = tokens.verify(token).token_id
        await tokens.revoke(number)
        with pytest.raises(NotAuthenticated):
            tokens.verify(token)
        with pytest.raises(NotFound, match="token list"):
            await tokens.revoke(number)

    with_database(tmp_path, work)


def test_a_revocation_elsewhere_is_seen_in_time(tmp_path: Path) -> None:
    async def work(database: Database) -> None:
        now = 0.0
        here, elsewhere = Tokens(database, lambda: now), Tokens(database)
        token = await here.create("ada")
        number = here.verify(token).token_id
        await elsewhere.revoke(number)
        now = FRESH_S
        with pytest.raises(NotAuthenticated):
            here.verify(token)

    with_database(tmp_path, work)


def test_an_endpoints_tokens_go_together(tmp_path: Path) -> None:
    async def work(database: Database) -> None:
        tokens = Tokens(database)
        user = await tokens.create("ada")
        agent = await tokens.create("ada", kind="endpoint", endpoint_id="e1")
        assert tokens.verify(agent) == Principal("ada", "endpoint", "e1", 2)
        await tokens.revoke_endpoint("e1")
        assert tokens.verify(user).kind == "user"
        with pytest.raises(NotAuthenticated):
            tokens.verify(agent)

    with_database(tmp_path, work)


def test_who_may_do_what() -> None:
    ada, agent = Principal("ada"), Principal("ada", "endpoint", "e1")
    assert may(ada, "delete", "ada")
    assert not may(ada, "read", "bob")
    assert may(agent, "read", "bob", "e1")
    assert not may(agent, "read", "ada", "e2")
    assert not may(agent, "read", "ada")
    assert not may(agent, "cancel", "ada", "e1")
    assert may_create(agent, "object")
    assert not may_create(agent, "task")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.evil.com", "")],
)
def test_what_is_loopback(host: str, expected: bool, tmp_path: Path) -> None:
    assert is_loopback(host) is expected
    if not expected:
        with pytest.raises(ConfigError, match="TLS"):
            ServiceConfig(data=tmp_path, host=host).check()


def test_agents_are_told_a_name_that_they_can_dial(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--forwarder-host"):
        ServiceConfig(data=tmp_path, forwarder_bind="0.0.0.0").check()
    ServiceConfig(data=tmp_path, forwarder_bind="0.0.0.0", forwarder_host="hub.example.org").check()


def test_agents_come_in_by_another_door(
    start: Callable[..., Any], clients: Callable[..., Any], agent_of: Callable[..., Any]
) -> None:
    """Behind a proxy, HTTP comes over loopback and agents do not."""
    hub = start(forwarder_bind="127.0.0.2", forwarder_host="127.0.0.2")
    agent = agent_of(clients(hub.url, hub.token), clients(hub.url, None), "cluster")
    assert agent.about["forwarder_address"].startswith("tcp://127.0.0.2:")
