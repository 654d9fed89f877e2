"""Run an agent in the calling process, from its lock to its end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from funcx_lab.config import write_private
from funcx_lab.errors import ConfigError, FuncxLabError
from funcx_lab.leftovers import end_leftovers
from funcx_lab.locks import take_lock
from funcx_lab_endpoint.agent import Agent
from funcx_lab_endpoint.agent_state import AgentState
from funcx_lab_endpoint.config import Config, EndpointConfig, load_config, template
from funcx_lab_endpoint.engine.contract import EngineHost
from funcx_lab_endpoint.environments import Environments
from funcx_lab_endpoint.files import EndpointFiles
from funcx_lab_endpoint.holdings import Holdings, revive
from funcx_lab_endpoint.objects import ObjectStore
from funcx_lab_endpoint.registration import HubAccess
from funcx_lab_endpoint.result_files import ResultFiles
from funcx_lab_endpoint.spool import Spool
from funcx_lab_endpoint.surroundings import MARK, describe, enter, log_to

log = logging.getLogger(__name__)

#: Embedded, whoever stops the service is waiting for us.
_EMBEDDED_DRAIN_S = 2.0

OpenHost = Callable[[EndpointConfig, Path], EngineHost]


class Reporter:
    """Tells what the agent is doing: to ``agent.json`` and, once, to whoever started it.

    Parameters
    ----------
    files : EndpointFiles
        Of the endpoint.
    ready_fd : int, optional
        Gets one line of JSON when the agent is connected, refused or failed.
    """

    def __init__(self, files: EndpointFiles, ready_fd: int | None = None) -> None:
        self._files = files
        self._ready_fd = ready_fd
        self._started = time.time()
        self._last = ("", "")
        self._note = ""

    def state(self, state: str, reason: str) -> None:
        """Write down a change of the agent's state."""
        if (state, reason) == self._last:
            return
        self._last = state, reason
        self._save()
        if state in ("connected", "refused"):
            self._answer({"state": state, "reason": reason})

    def note(self, text: str) -> None:
        """Write down what people should know about the spool."""
        if text != self._note:
            self._note = text
            self._save()

    def _save(self) -> None:
        self._files.save_process(*self._last, self._started, self._note)

    def failed(self, error: FuncxLabError) -> None:
        """Say why there is no agent."""
        self._answer({"error": error.as_document()})

    def _answer(self, document: dict[str, Any]) -> None:
        if self._ready_fd is None:
            return
        with contextlib.suppress(OSError), os.fdopen(self._ready_fd, "w") as pipe:  # nobody waits any more
            json.dump(document, pipe)
            pipe.write("\n")
        self._ready_fd = None


def run_foreground(
    files: EndpointFiles,
    *,
    embedded: bool = False,
    takeover: bool = False,
    ready_fd: int | None = None,
    open_host: OpenHost | None = None,
) -> None:
    """Run the agent of an endpoint until it is told to stop.

    Parameters
    ----------
    files : EndpointFiles
        Of a configured endpoint; ``embedded``, what is missing is made.
    embedded : bool
        Serve this user's own hub service, wherever it listens.
    takeover : bool
        End the session of another agent of this endpoint, on another machine for instance.
    ready_fd : int, optional
        A pipe that gets one line of JSON when it is clear whether the agent connects.
    open_host : callable, optional
        Makes the engine host; the real one by default.

    Raises
    ------
    ConfigError
        If it runs already, or cannot run as configured.
    """
    files.create()
    reporter = Reporter(files, ready_fd)
    lock = take_lock(files.lock, wait_s=1.0)
    try:
        if lock is None:
            raise ConfigError(f"Endpoint {files.name} runs already as process {files.pid()}.")
        _run(files, reporter, embedded, takeover, open_host or _open_host)
    except FuncxLabError as err:
        log.error("%s", err.message)
        reporter.failed(err)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _run(
    files: EndpointFiles, reporter: Reporter, embedded: bool, takeover: bool, open_host: OpenHost
) -> None:
    log_to(files.log)
    enter(files.directory)
    if count := end_leftovers(files.directory, mark=MARK):
        log.warning("ended %d processes that an earlier agent left running", count)
    if embedded and not files.config.exists():
        write_private(files.config, template(files.name, allow_requirements=True))
    config = load_config(files.config)
    if not embedded and files.enrolment() is None:
        raise ConfigError(
            f"Endpoint {files.name} is not registered; run `funcx-endpoint configure {files.name}`."
        )
    takeover = takeover or _was_here(files)  # before this agent writes down that it is here
    agent = _make_agent(files, config, reporter, embedded, takeover, open_host)
    reporter.state("connecting", "")
    _stop_on_signals(agent)
    log.info("the agent of %s starts as process %d", files.name, os.getpid())
    failure = agent.run()
    log.info("the agent of %s has stopped", files.name)
    if failure is not None:
        raise ConfigError(f"The hub service refuses this endpoint: {failure}")


def _revive(spool: Spool) -> Holdings:
    """Make this life's holdings of what the last one left."""
    try:
        return revive(spool.id, spool.entries())
    except msgspec.DecodeError as err:
        spool.set_aside(str(err))
        return revive(spool.id, [])


def _make_agent(
    files: EndpointFiles,
    config: Config,
    reporter: Reporter,
    embedded: bool,
    takeover: bool,
    open_host: OpenHost,
) -> Agent:
    spool = Spool(files.spool, config.spool_limit)
    holdings = _revive(spool)
    reporter.note(spool.note)
    access = HubAccess(files, embedded=embedded)
    files.runs.mkdir(mode=0o700, exist_ok=True)
    return Agent(
        AgentState(
            instance=secrets.token_hex(8),
            holdings=holdings,
            new_nonce=lambda: secrets.token_hex(16),
            takeover=takeover,
        ),
        open_host(config, files.directory),
        spool,
        access,
        lambda wake: ObjectStore(files.objects, config.object_cache_limit, access.transport, wake),
        ResultFiles(files.results, holdings.result_files()),
        facts=describe(),
        on_state=reporter.state,
        on_note=reporter.note,
        drain_s=min(config.drain_seconds, _EMBEDDED_DRAIN_S) if embedded else config.drain_seconds,
        environments=Environments({"result_bytes": config.result_limit}),
    )


def _was_here(files: EndpointFiles) -> bool:
    """Whether the last agent ran in this very directory: it is dead then, since we hold its lock."""
    last = files.process()
    return bool(last) and all(last.get(name) == value for name, value in files.identity().items())


def _stop_on_signals(agent: Agent) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: agent.request_stop())
    signal.signal(signal.SIGUSR1, lambda _number, _frame: agent.request_stop(wait_for_all=True))


def _open_host(config: EndpointConfig, directory: Path) -> EngineHost:
    from funcx_lab_endpoint.engine.host import open_host

    return open_host(config, directory)


def run_then_exit(run: Callable[[], None]) -> NoReturn:
    """Call ``run`` and end the process, 0 or 1, without waiting for a thread that waits for the network."""
    code = 0
    try:
        run()
    except FuncxLabError as err:
        print(f"funcx-endpoint: {err.message}", file=sys.stderr)
        code = 1
    except Exception:  # the process's edge: the log must say why it ended
        log.exception("the agent failed")
        code = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
