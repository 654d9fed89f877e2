"""Start the local hub service as a program of its own and wait until it listens."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

from funcx_lab.errors import MissingExtra, ServiceStartError
from funcx_lab.leftovers import mark_for

START_TIMEOUT_S = 20.0
_LOG_LINES = 12

# What belongs to the process that happens to start the service, and not to the service.
_NOT_INHERITED = (
    "FUNCX_LAB_URL",
    "FUNCX_LAB_TOKEN",
    "FUNCX_LAB_JUPYTERHUB_URL",
    "MPLBACKEND",
    "PYTHONSTARTUP",
)
_NOT_INHERITED_PREFIXES = ("JPY_", "JUPYTERHUB_", "IPYKERNEL_", "COVERAGE_")


def start_service(directory: Path) -> None:
    """Start the hub service of the home ``directory`` and return when it listens.

    Raises
    ------
    ServiceStartError
        If it ends or does not listen within 20 s; the message ends with the last lines of its log.
    """
    log_path(directory).parent.mkdir(mode=0o700, exist_ok=True)
    read_end, write_end = os.pipe()
    try:
        log = os.open(log_path(directory), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "funcx_lab_hub_service", "--embedded", "--ready-fd", str(write_end)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(write_end,),
                start_new_session=True,  # a plain child would get the kernel's interrupts
                cwd=directory,
                env=service_environment(directory),
            )
        finally:
            os.close(log)
            os.close(write_end)
        # It outlives us, or we outlive it: then nobody should see a zombie.
        threading.Thread(target=process.wait, name="funcx-lab-reaper", daemon=True).start()
        answer = _read_line(read_end, START_TIMEOUT_S)
    finally:
        os.close(read_end)
    if answer is None:
        process.kill()
        message = f"The hub service did not listen within {START_TIMEOUT_S:.0f} s."
    elif (problem := _problem(answer)) is None:
        return
    else:
        message = problem
    raise ServiceStartError(with_log(message, directory))


def check_installed() -> None:
    """Check that the hub service can be started from this environment.

    Raises
    ------
    MissingExtra
        If a part of it is not installed.
    """
    needed = ("funcx_lab_hub_service", "sqlite_utils", "tornado", "zmq")
    missing = ", ".join(name for name in needed if importlib.util.find_spec(name) is None)
    if missing:
        raise MissingExtra(
            "No hub service is configured, and the local one is not installed in this environment "
            f"(missing: {missing}). Install it, `pip install 'funcx-lab[hub,endpoint]'`, "
            "or name a service: `funcx-lab login URL`, or FUNCX_LAB_URL and FUNCX_LAB_TOKEN."
        )


def service_environment(directory: Path) -> dict[str, str]:
    """Return the environment for programs of the local service.

    The caller's tokens, kernel and notebook settings stay out; the interpreter's own directory comes first
    on ``PATH``, since an environment that was never activated must find its own programs.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in _NOT_INHERITED and not name.startswith(_NOT_INHERITED_PREFIXES)
    }
    environment |= {"FUNCX_LAB_HOME": str(directory), **mark_for(directory)}
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    )
    return environment


def last_log_lines(directory: Path, count: int = _LOG_LINES) -> str:
    """Return the end of the hub service's log, empty if there is none."""
    try:
        with open(log_path(directory), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 16_384))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""


def log_path(directory: Path) -> Path:
    """Return the file that holds what the hub service of ``directory`` says."""
    return directory / "logs" / "hub.log"


def with_log(message: str, directory: Path) -> str:
    """Return ``message`` followed by the last lines of the hub service's log."""
    lines = last_log_lines(directory)
    where = f"{message} The log is {log_path(directory)}"
    return f"{where}, its last lines:\n{lines}" if lines else f"{where}."


def _problem(answer: bytes) -> str | None:
    """Return what the first line of the service complains of."""
    try:
        document = json.loads(answer)
    except json.JSONDecodeError:
        return "The hub service ended before it listened."
    error = document.get("error")
    return f"The hub service did not start: {error.get('message', error)}" if error else None


def _read_line(descriptor: int, timeout_s: float) -> bytes | None:
    """Return what the pipe brought up to a newline or its end, None if that took too long."""
    deadline = time.monotonic() + timeout_s
    received = b""
    while not received.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(descriptor, 4096)
        if not chunk:
            break
        received += chunk
    return received
