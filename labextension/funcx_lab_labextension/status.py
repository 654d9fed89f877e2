"""How it is: which hub service, who we are there, what is wrong and what to do."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import tornado.web
from jupyter_server.auth.decorator import authorized

import funcx_lab
from funcx_lab.config import Service
from funcx_lab.errors import (
    FuncxLabError,
    NotAuthenticated,
    ServiceUnreachable,
    StoreDamaged,
    error_from_document,
)
from funcx_lab_labextension.asking import Answer, NotConnected, ask
from funcx_lab_labextension.handlers import Handler
from funcx_lab_labextension.problems import problem_of
from funcx_lab_labextension.service import mode

#: A page waits for this answer before it shows anything.
_TIMEOUT_S = 10.0
_OK = 200


class StatusHandler(Handler):
    """``funcx-lab/status``: always an answer for who is logged in to the Jupyter server."""

    @tornado.web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer how it is."""
        document: dict[str, Any] = {
            "ok": False,
            "version": funcx_lab.__version__,
            "service": "",
            "user": None,
            "mode": mode(),
            "read_only": False,
            "dashboards": False,
            "problem": None,
        }
        try:
            document |= await self._look()
        except FuncxLabError as err:
            document["problem"] = problem_of(err)
        self.answer(document)

    async def _look(self) -> dict[str, Any]:
        service = await self.finder.service()
        try:
            return await self._look_at(service)
        except (ServiceUnreachable, NotAuthenticated) as err:
            moved = await self.finder.again(service)
            if moved is None:
                return {"service": service.alias, "problem": problem_of(err)}
            service = moved
        try:
            return await self._look_at(service)
        except FuncxLabError as err:
            return {"service": service.alias, "problem": problem_of(err)}

    async def _look_at(self, service: Service) -> dict[str, Any]:
        (status, body), (dashboards, _) = await asyncio.gather(
            _ask(service, "v3/whoami"), _ask(service, "dash/list")
        )
        if status != _OK:
            raise _refusal(service, status, body)
        found = json.loads(body)
        damage = found.get("damage")
        return {
            "ok": True,
            "service": service.alias,
            "user": found.get("user"),
            "read_only": bool(damage),
            "dashboards": dashboards == _OK,
            "problem": problem_of(StoreDamaged(str(damage))) if damage else None,
        }


async def _ask(service: Service, path: str) -> tuple[int, bytes]:
    """Return status and body."""
    body = bytearray()

    async def gather(answer: Answer, piece: bytes) -> None:
        body.extend(piece)

    answer = Answer(gather)
    try:
        await ask(service, "GET", path, answer, timeout_s=_TIMEOUT_S)
    except NotConnected as err:
        raise ServiceUnreachable(str(err)) from err
    return answer.status, bytes(body)


def _refusal(service: Service, status: int, body: bytes) -> FuncxLabError:
    try:
        document = json.loads(body)
        if isinstance(document, dict) and "code" in document:
            return error_from_document(document)
    except ValueError:
        pass
    return ServiceUnreachable(
        f"There is no hub service at {service.url}: what listens there answered {status}."
    )
