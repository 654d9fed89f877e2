"""Keep the endpoint ``local`` of an embedded hub service running: one agent, started again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from funcx_lab.errors import EndpointNotFound
from funcx_lab.launch import service_environment
from funcx_lab.locks import is_held
from funcx_lab.protocol.states import EndpointState
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.endpoints import Endpoints
from funcx_lab_hub_service.vitals import end_with

logger = logging.getLogger(__name__)

NAME = "local"
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_WATCH_S = 2.0
_SETTLED_S = 5.0
#: The agent has so many seconds for its own drain, and as many again after the second signal.
_STOP_TIMEOUT_S = 2.5
_NEEDED = ("funcx_lab_endpoint", "parsl", "psutil", "zmq")


class LocalEndpoint:
    """Supervisor of the endpoint ``local``.

    Parameters
    ----------
    home : Path
        ``$FUNCX_LAB_HOME`` of the embedded hub service. The agent finds address and token there; nothing
        secret is handed over on a command line.
    endpoints : Endpoints
        Where the endpoint is registered, and where people read why it cannot run.
    owner : Principal
        The user of the service.
    """

    def __init__(self, home: Path, endpoints: Endpoints, owner: Principal) -> None:
        self._home = home
        self._directory = home / "endpoints" / NAME
        self._endpoints = endpoints
        self._owner = owner
        self._agent: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        #: Why the endpoint does not run; None while it does.
        self.reason: str | None = None

    async def start(self) -> None:
        """Register the endpoint and begin to supervise; call it when the hub service listens."""
        # Tasks may be sent before the agent has come up for the first time.
        if all(record.name != NAME for record in self._endpoints.list(self._owner)):
            await self._endpoints.register(self._owner, NAME)
        self._task = end_with(asyncio.create_task(self._supervise(), name="local-endpoint"))

    async def stop(self) -> None:
        """End the agent, also one that an earlier hub service started, and all that runs below it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if not (await self._end(signal.SIGTERM) or await self._end(signal.SIGTERM)):
            logger.warning("the agent of %s did not end within %s s and is killed", NAME, 2 * _STOP_TIMEOUT_S)
            await self._end(signal.SIGKILL)
        if self._agent is not None:
            await self._agent.wait()

    async def _supervise(self) -> None:
        """Start the agent whenever none runs; wait longer each time that it ended soon."""
        pause = _FIRST_PAUSE_S
        while True:
            if is_held(self._directory / "agent.lock"):  # a hub service that was killed left it running
                self._tell(None)
                await asyncio.sleep(_WATCH_S)
                continue
            started = time.monotonic()
            try:
                reason = await self._run_agent()
            except Exception as err:  # the supervisor must outlive whatever one start brings
                logger.exception("the agent of %s cannot be started", NAME)
                reason = f"The agent cannot be started: {err}"
            if time.monotonic() - started > _LONGEST_PAUSE_S:
                pause = _FIRST_PAUSE_S
            self._tell(reason)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _run_agent(self) -> str:
        """Run one agent to its end and return why there is none now."""
        missing = ", ".join(name for name in _NEEDED if importlib.util.find_spec(name) is None)
        if missing:
            return (
                f"Not installed: {missing}. Try `pip install 'funcx-lab[endpoint]'`, then `funcx-lab stop`."
            )
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        runs_now = asyncio.get_running_loop().call_later(_SETTLED_S, self._tell, None)
        try:
            code = await self._agent_ended()
        finally:
            runs_now.cancel()
        return f"The agent ended with {code}; {self._last_line()}"

    async def _agent_ended(self) -> int:
        """Start the agent in a process session of its own and return its exit code when it has ended."""
        command = (
            sys.executable,
            "-m",
            "funcx_lab_endpoint.cli",
            "start",
            NAME,
            "--foreground",
            "--embedded",
        )
        log = os.open(self._directory / "agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._agent = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._home,
                env=service_environment(self._home),
            )
        finally:
            os.close(log)
        logger.info("the agent of %s runs as process %s", NAME, self._agent.pid)
        return await self._agent.wait()

    async def _end(self, number: signal.Signals) -> bool:
        """Send ``number`` to the agent, whoever started it; False if it runs on for too long."""
        pid = self._pid()
        if pid is None:
            return True
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL and os.getpgid(pid) == pid:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while self._pid() is not None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    def _pid(self) -> int | None:
        """Return the process id of the running agent."""
        if self._agent is not None and self._agent.returncode is None:
            return self._agent.pid
        if not is_held(self._directory / "agent.lock"):
            return None
        try:
            pid = json.loads((self._directory / "agent.json").read_text())["pid"]
        except (OSError, ValueError, KeyError):
            return None
        return pid if isinstance(pid, int) else None

    def _last_line(self) -> str:
        try:
            lines = (
                (self._directory / "agent.log").read_bytes()[-4096:].decode("utf-8", "replace").split("\n")
            )
        except OSError:
            return "it left no log."
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return f"its log ({self._directory / 'agent.log'}) ends: {last.strip()}"

    def _tell(self, reason: str | None) -> None:
        if reason == self.reason:
            return
        self.reason = reason
        if reason:
            logger.warning("endpoint %s: %s", NAME, reason)
            self._explain(reason)

    def _explain(self, reason: str) -> None:
        """Let people read the reason wherever the endpoint is shown."""
        try:
            endpoint_id = self._endpoints.resolve(self._owner, NAME).endpoint_id
        except EndpointNotFound:  # deleted; its agent will register it again
            return
        condition = self._endpoints.condition(endpoint_id)
        if condition.state is not EndpointState.ONLINE:
            self._endpoints.set_condition(endpoint_id, replace(condition, reason=reason))
