"""Tokens of a JupyterHub: asked for without blocking, known for seconds, never longer than it says."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
import tornado.web

from funcx_lab.errors import NotAuthenticated, NotAuthorized, ServiceUnavailable, TooManyRequests
from funcx_lab_hub_service.auth.jupyterhub import GRACE_S, STRANGER_BURST, JupyterHub, principal_of
from funcx_lab_hub_service.auth.principals import READ, SUBMIT
from funcx_lab_hub_service.config import jupyterhub_settings

ACCESS = "access:services!service=funcx"
ADA = {"kind": "user", "name": "ada", "groups": ["physics"], "scopes": [ACCESS, READ, "self"]}
TOKEN = "a" * 32


class StandIn:
    """Answers as the library does that asks JupyterHub."""

    access_scopes = {ACCESS}  # noqa: RUF012  # a set, as the library has it

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {TOKEN: ADA}
        self.asked: list[str] = []
        self.is_down = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def user_for_token(self, token: str, *, use_cache: bool, sync: bool) -> dict[str, Any] | None:
        assert not use_cache
        assert not sync
        self.asked.append(token)
        await self.gate.wait()
        if self.is_down:
            raise tornado.web.HTTPError(500, "no connection")
        return self.models.get(token)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def check(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def made() -> tuple[JupyterHub, StandIn, Clock]:
    oauth, clock = StandIn(), Clock()
    return JupyterHub(oauth, fresh_s=5.0, clock=clock), oauth, clock


async def verified(hub: JupyterHub, token: str = TOKEN) -> Any:
    asking = hub.renew(token)
    if asking is not None:
        await asking
    return hub.verify(token)


def test_who_it_is_with_groups_and_scopes() -> None:
    async def work() -> None:
        hub, oauth, _ = made()
        ada = await verified(hub)
        assert (ada.user, ada.kind, ada.groups, ada.scopes) == ("ada", "user", {"physics"}, {READ})
        assert hub.renew(TOKEN) is None
        assert len(oauth.asked) == 1, "what is fresh is not asked for"

    check(work())


def test_nobody_waits_for_what_is_half_old_and_everybody_for_what_is_old() -> None:
    async def work() -> None:
        hub, oauth, clock = made()
        await verified(hub)
        oauth.models[TOKEN] = {**ADA, "groups": ["others"]}
        clock.now += 3.0
        assert hub.renew(TOKEN) is None
        assert hub.verify(TOKEN).groups == {"physics"}, "it still counts"
        await asyncio.gather(*hub._asking.values())
        assert hub.verify(TOKEN).groups == {"others"}
        del oauth.models[TOKEN]
        clock.now += 6.0
        with pytest.raises(NotAuthenticated):
            await verified(hub)

    check(work())


def test_many_who_ask_at_once_are_one_question() -> None:
    async def work() -> None:
        hub, oauth, _ = made()
        oauth.gate.clear()
        waiting = [asyncio.ensure_future(verified(hub)) for _ in range(50)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # one who goes away takes the answer from nobody
        oauth.gate.set()
        answers = await asyncio.gather(*waiting[1:])
        assert {answer.user for answer in answers} == {"ada"}
        assert oauth.asked == [TOKEN]

    check(work())


def test_while_jupyterhub_restarts_its_last_word_counts_for_a_while() -> None:
    async def work() -> None:
        hub, oauth, clock = made()
        await verified(hub)
        oauth.is_down = True
        clock.now += GRACE_S - 1
        assert (await verified(hub)).user == "ada"
        clock.now += 10
        with pytest.raises(ServiceUnavailable) as error:
            await verified(hub)
        assert error.value.details["retry_after_s"] > 0
        with pytest.raises(ServiceUnavailable):
            await verified(hub, "b" * 32)
        oauth.is_down = False
        clock.now += 10
        assert (await verified(hub)).user == "ada"

    check(work())


@pytest.mark.parametrize("token", ["", "short", "a" * 257, "two words", "line\nbreak", "ünicode-token"])
def test_what_is_no_token_is_not_asked_for(token: str) -> None:
    async def work() -> None:
        hub, oauth, _ = made()
        with pytest.raises(NotAuthenticated):
            await verified(hub, token)
        assert oauth.asked == []

    check(work())


def test_guesses_do_not_flood_jupyterhub() -> None:
    async def work() -> None:
        hub, oauth, _ = made()
        for number in range(STRANGER_BURST):
            with pytest.raises(NotAuthenticated):
                await verified(hub, f"guess-{number:08}")
        with pytest.raises(TooManyRequests):
            await verified(hub, "one-guess-more")
        assert len(oauth.asked) == STRANGER_BURST

    check(work())


def test_only_people_who_may_use_the_service_come_in() -> None:
    with pytest.raises(NotAuthorized, match="is a service"):
        principal_of({"kind": "service", "name": "cull", "scopes": [ACCESS]}, {ACCESS})
    with pytest.raises(NotAuthorized, match=ACCESS):
        principal_of({**ADA, "scopes": [READ, "access:services!service=other"]}, {ACCESS})
    everything = principal_of({**ADA, "scopes": ["access:services", READ, SUBMIT, "admin:users"]}, {ACCESS})
    assert everything.scopes == {READ, SUBMIT}
    assert principal_of({**ADA, "scopes": [ACCESS, f"{READ}!user=eve"]}, {ACCESS}).scopes == frozenset()


def test_a_service_is_told_apart_from_a_users_server() -> None:
    server = {
        "JUPYTERHUB_API_TOKEN": "x",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ada/",
        "JUPYTERHUB_USER": "ada",
    }
    assert jupyterhub_settings(server) == {}
    service = {
        "JUPYTERHUB_SERVICE_NAME": "funcx",
        "JUPYTERHUB_SERVICE_PREFIX": "/services/funcx/",
        "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:10101",
        "JUPYTERHUB_PUBLIC_URL": "https://hub.example.org/services/funcx/",
    }
    assert jupyterhub_settings(service) == {
        "jupyterhub": True,
        "host": "127.0.0.1",
        "port": 10101,
        "prefix": "/services/funcx",
        "public_url": "https://hub.example.org/services/funcx",
        "public_hosts": ("hub.example.org",),
    }
