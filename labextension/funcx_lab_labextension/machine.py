"""What can be started and stopped on the Jupyter server's machine: endpoints, and the local hub service.

The commands of ``funcx-endpoint`` do it, as in a terminal; the endpoint's program is never imported.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from typing import Any

import tornado.web
from jupyter_server.auth.decorator import authorized

from funcx_lab.config import check_name
from funcx_lab.errors import ConfigError, MissingExtra, ServiceTimeout, error_from_document
from funcx_lab_labextension.handlers import Handler

_PROGRAM = "funcx_lab_endpoint"
_LIST_S, _ACTION_S = 60.0, 120.0


class MachineHandler(Handler):
    """``funcx-lab/machine/endpoints``."""

    @tornado.web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer name, state and id of each."""
        found = await _run(_LIST_S, "list", "--json") if _is_installed() else []
        self.answer({"endpoints": [_told(each) for each in found if isinstance(each, dict)]})


class MachineActionHandler(Handler):
    """``funcx-lab/machine/endpoints/{name}/start`` and ``stop``."""

    @tornado.web.authenticated
    @authorized
    async def post(self, name: str, action: str) -> None:
        """Answer when it is done: whether the endpoint runs now, and why it is not connected perhaps."""
        check_name(name)
        if not _is_installed():
            raise MissingExtra("Endpoints cannot run here: pip install 'funcx-lab[endpoint]'.")
        done = await _run(_ACTION_S, action, "--json", name)
        state = "running" if action == "start" else "stopped"
        self.answer({"name": name, "state": state, "reason": str(done.get("reason") or "")})


class MachineServiceHandler(Handler):
    """``funcx-lab/machine/service/start``: for who stopped their own hub service and is back."""

    @tornado.web.authenticated
    @authorized
    async def post(self) -> None:
        """Answer when it runs."""
        service = await self.finder.start()
        self.answer({"service": service.alias})


def _is_installed() -> bool:
    return importlib.util.find_spec(_PROGRAM) is not None


def _told(endpoint: dict[str, Any]) -> dict[str, Any]:
    state = "running" if endpoint.get("pid") else "stopped"
    return {"name": endpoint.get("name"), "state": state, "endpoint_id": endpoint.get("endpoint_id")}


async def _run(limit_s: float, *arguments: str) -> Any:
    """Run ``funcx-endpoint`` and return what it tells as JSON.

    Raises
    ------
    FuncxLabError
        The one that it tells, or that it told nothing.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"{_PROGRAM}.cli",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    what = f"funcx-endpoint {' '.join(arguments)}"
    try:
        said, complaint = await asyncio.wait_for(process.communicate(), limit_s)
    except asyncio.TimeoutError as err:
        raise ServiceTimeout(f"`{what}` did not end within {limit_s:.0f} s; it was given up.") from err
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        document = json.loads(said)
    except ValueError as err:
        lines = complaint.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise ConfigError(f"`{what}` failed: {lines[-1]}") from err
    if isinstance(document, dict) and isinstance(document.get("error"), dict):
        raise error_from_document(document["error"])
    return document
