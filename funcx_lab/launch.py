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
_LOG_LIMIT = 10_000_000

#: The umask of whoever started a program of ours, octal; that of the program itself is 077.
_UMASK = "FUNCX_LAB_UMASK"
_USUAL_UMASK = 0o022

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
        If it ends or does not listen within 20 s: with the reason it gave, or the last lines of its log.
    """
    begin = _prepare_log(log_path(directory))
    read_end, write_end = os.pipe()
    try:
        process = _spawn(directory, write_end)
        answer = read_line(read_end, START_TIMEOUT_S)
    finally:
        os.close(read_end)
    if answer is None:
        process.kill()
        problem = f"The hub service did not listen within {START_TIMEOUT_S:.0f} s."
        raise ServiceStartError(with_log(problem, directory, begin))
    _check(answer, directory, begin)


def _spawn(directory: Path, ready: int) -> subprocess.Popen[bytes]:
    """Start the process; closes ``ready`` here, so that the pipe ends with the process."""
    log = os.open(log_path(directory), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "funcx_lab_hub_service", "--embedded", "--ready-fd", str(ready)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(ready,),
            start_new_session=True,  # a plain child would get the kernel's interrupts
            cwd=directory,
            env=service_environment(directory),
        )
    finally:
        os.close(log)
        os.close(ready)
    # It outlives us, or we outlive it: then nobody should see a zombie.
    threading.Thread(target=process.wait, name="funcx-lab-reaper", daemon=True).start()
    return process


def _prepare_log(path: Path) -> int:
    """Make room for the log and return where the next lines will begin."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    size = path.stat().st_size if path.exists() else 0
    if size > _LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
        return 0
    return size


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
    # SPT_NOENV: else whoever sets its process title (Parsl's interchange) overwrites its mark.
    environment |= {"FUNCX_LAB_HOME": str(directory), "SPT_NOENV": "1", **mark_for(directory)}
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    )
    return environment


def keep_private() -> None:
    """Let only this user read what this process makes; `users_umask` tells what was set before."""
    umask = os.umask(0o077)
    os.environ.setdefault(_UMASK, f"{umask:03o}")


def users_umask() -> int:
    """Return the umask under which the user's own code runs: that of whoever started the first program."""
    try:
        return int(os.environ[_UMASK], 8) & 0o777
    except (KeyError, ValueError):
        return _USUAL_UMASK


def log_path(directory: Path) -> Path:
    """Return the file that holds what the hub service of ``directory`` says."""
    return directory / "logs" / "hub.log"


def with_log(message: str, directory: Path, begin: int = 0) -> str:
    """Return ``message`` and the last lines that the hub service logged behind the byte ``begin``."""
    path = log_path(directory)
    try:
        with open(path, "rb") as file:
            file.seek(max(begin, os.fstat(file.fileno()).st_size - 16_384))
            lines = "\n".join(file.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:])
    except FileNotFoundError:
        lines = ""
    where = f"{message} The log is {path}"
    return f"{where}, its last lines:\n{lines}" if lines else f"{where}; it says nothing."


def _check(answer: bytes, directory: Path, begin: int) -> None:
    """Raise what the first line of the service complains of; its log repeats a reason that it gave."""
    try:
        error = json.loads(answer).get("error")
    except json.JSONDecodeError:
        problem = "The hub service ended before it listened."
        raise ServiceStartError(with_log(problem, directory, begin)) from None
    if error:
        reason = error.get("message", error)
        raise ServiceStartError(f"The hub service did not start: {reason}\nIts log is {log_path(directory)}")


def read_line(descriptor: int, timeout_s: float) -> bytes | None:
    """Return what the pipe brought up to a newline or its end, None if that took too long.

    Parameters
    ----------
    descriptor : int
        The end to read.
    timeout_s : float
        Seconds to wait in all.
    """
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
