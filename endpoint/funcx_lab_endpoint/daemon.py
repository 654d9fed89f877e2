"""Start an agent as a process of its own, and end one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

from funcx_lab.config import home
from funcx_lab.errors import FuncxLabError, ServiceStartError, error_from_document
from funcx_lab.launch import read_line
from funcx_lab.leftovers import end_leftovers
from funcx_lab.locks import wait_released
from funcx_lab_endpoint.files import EndpointFiles
from funcx_lab_endpoint.surroundings import MARK, clean_environment

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 45.0
_KILLED_S = 5.0
_LOG_LINES = 8


@dataclass(frozen=True, slots=True)
class Started:
    """How a start went: ``connected``, ``refused`` or still ``connecting``, and why."""

    pid: int
    state: str
    reason: str = ""


def start_background(
    files: EndpointFiles,
    *,
    takeover: bool = False,
    embedded: bool = False,
    timeout_s: float = START_TIMEOUT_S,
) -> Started:
    """Start an agent in a session of its own and wait until it is connected.

    Parameters
    ----------
    timeout_s : float
        After so many seconds it is left trying.

    Raises
    ------
    FuncxLabError
        If it ended; the message says why.
    """
    read_end, write_end = os.pipe()
    log = os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    options = [name for name, on in (("--takeover", takeover), ("--embedded", embedded)) if on]
    command = [sys.executable, "-m", "funcx_lab_endpoint.cli", "start", files.name, "--foreground"]
    try:
        process = subprocess.Popen(
            [*command, "--ready-fd", str(write_end), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(write_end,),
            start_new_session=True,
            cwd=files.directory,
            env={**clean_environment(os.environ), "FUNCX_LAB_HOME": str(home())},
        )
    finally:
        os.close(log)
        os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        answer = read_line(pipe.fileno(), timeout_s)
    process.returncode = 0  # it lives on; its end is nothing to us
    return _judge(files, process.pid, answer)


def _judge(files: EndpointFiles, pid: int, answer: bytes | None) -> Started:
    if answer is None:
        return Started(pid, "connecting", str(files.process().get("reason") or "no answer yet"))
    if not answer.endswith(b"\n"):
        lines = last_lines(files, _LOG_LINES)
        raise ServiceStartError(
            f"The agent of {files.name} ended at once. Its log {files.log} ends:\n{lines}"
        )
    document = json.loads(answer)
    if "error" in document:
        error: FuncxLabError = error_from_document(document["error"])
        raise error
    return Started(pid, document["state"], document["reason"])


def stop_agent(
    files: EndpointFiles, *, timeout_s: float = STOP_TIMEOUT_S, now: bool = False, drain: bool = False
) -> bool:
    """End the agent and everything it started on this machine.

    Parameters
    ----------
    timeout_s : float
        After so many seconds it is killed.
    now : bool
        Do not let running calls end.
    drain : bool
        Let every accepted task end, however long that takes.

    Returns
    -------
    bool
        False if no agent ran.
    """
    pid = files.pid()
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1 if drain else signal.SIGTERM)
            if now:  # another number: two equal signals that wait are one
                os.kill(pid, signal.SIGINT)
        if not wait_released(files.lock, float("inf") if drain else timeout_s):
            _kill(pid)
            wait_released(files.lock, _KILLED_S)
    end_leftovers(files.directory, mark=MARK)
    return pid is not None


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:  # in the foreground of somebody's shell job
            os.kill(pid, signal.SIGKILL)


def last_lines(files: EndpointFiles, count: int, end: int | None = None) -> str:
    """Return the last lines of the agent's log, up to byte ``end``; empty if there is none."""
    try:
        with open(files.log, "rb") as file:
            size = os.fstat(file.fileno()).st_size if end is None else end
            start = file.seek(max(0, size - 400 * count))
            lines = file.read(size - start).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-count:]) if count else ""
