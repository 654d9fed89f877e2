"""Find, start and stop this user's own hub service, the one that runs when nothing is configured.

It lives outside the process that started it: a kernel's interrupt or end does not touch it, and the next
kernel finds it again. One lock says whether it lives (``service.lock``), one file says where it listens
(``service.json``), and one lock lets only one process start it (``start.lock``).
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from funcx_lab.config import Service, home, read_json
from funcx_lab.errors import ConfigError, ServiceStartError
from funcx_lab.launch import START_TIMEOUT_S, check_installed, start_service, with_log
from funcx_lab.leftovers import end_leftovers
from funcx_lab.locks import holder_of, is_held, locked, wait_released

STOP_TIMEOUT_S = 15.0
_PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """What :func:`stop_service` found and ended."""

    service: bool
    endpoint: bool
    leftovers: int


def ensure_service() -> Service:
    """Return the local hub service; start it if it does not run.

    Any number of processes may ask at once: one starts it, the others wait for it.

    Raises
    ------
    MissingExtra
        If the hub service is not installed here.
    ServiceStartError
        If it does not listen within 20 s, or another machine runs it on the same home directory.
    """
    if service := running_service():
        return service
    check_installed()
    directory = home()
    with locked(directory / "start.lock", wait_s=2 * START_TIMEOUT_S) as mine:
        if service := _settled_service(directory):
            return service
        if not mine:
            raise ServiceStartError(
                f"Another process has been starting the hub service of {directory} for too long."
            )
        start_service(directory)
        if service := running_service():
            return service
    raise ServiceStartError(
        with_log(f"The hub service of {directory} started and went away again.", directory)
    )


def running_service() -> Service | None:
    """Return the local hub service if it runs and answers, else None.

    Raises
    ------
    ConfigError
        If its files cannot be read.
    """
    directory = home()
    document = read_json(directory / "service.json")
    if document is None or not is_held(directory / "service.lock"):
        return None
    url = document.get("url")
    if not isinstance(url, str) or not _answers(url):
        return None
    return Service(url, _read_token(directory), embedded=True)


def is_current(service: Service) -> bool:
    """Return whether the local hub service still runs at that address with that token; only files are asked.

    Raises
    ------
    ConfigError
        If they cannot be read.
    """
    directory = home()
    document = read_json(directory / "service.json")
    if document is None or document.get("url") != service.url or not is_held(directory / "service.lock"):
        return False
    return _read_token(directory) == service.token  # another one when its database is new


def stop_service() -> Stopped:
    """Stop the local hub service, the endpoint ``local`` and everything that runs below them.

    A hub service that was killed leaves its endpoint running; that one is ended too. Does nothing when
    nothing runs. What is queued or stored stays and is there again after the next start.

    Raises
    ------
    ServiceStartError
        If another machine runs it on the same home directory.
    """
    directory = home()
    local = directory / "endpoints" / "local"
    with locked(directory / "start.lock", wait_s=START_TIMEOUT_S):
        endpoint = is_held(local / "agent.lock")
        service = _end_holder(directory / "service.lock")  # which ends the endpoint, too
        endpoint = _end_holder(local / "agent.lock") or endpoint
        leftovers = end_leftovers(directory)
        (directory / "service.json").unlink(missing_ok=True)
    return Stopped(service, endpoint, leftovers)


def _settled_service(directory: Path) -> Service | None:
    """Return the service once it is clear whether there is one; its holder may be starting or ending."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while is_held(directory / "service.lock"):
        if service := running_service():
            return service
        _check_host(directory)
        if time.monotonic() >= deadline:
            raise ServiceStartError(
                with_log(
                    f"The hub service of {directory} runs but does not answer. Try `funcx-lab stop`.",
                    directory,
                )
            )
        time.sleep(0.05)
    return None


def _check_host(directory: Path) -> None:
    """Refuse to go on if the service runs on another machine that shares this home directory."""
    here = socket.gethostname()
    host = (read_json(directory / "service.json") or {}).get("host", here)
    if host != here:
        raise ServiceStartError(
            f"The hub service of {directory} runs on {host}, and this is {here}: the directory is shared "
            "over the network and can serve one machine at a time. "
            f"Run `funcx-lab stop` on {host}, or set FUNCX_LAB_HOME to a directory of this machine."
        )


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _read_token(directory: Path) -> str:
    try:
        return (directory / "token").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(
            f"{directory / 'token'} cannot be read: {err}. Run `funcx-lab stop`, then start."
        ) from err


def _end_holder(lock: Path) -> bool:
    """End the process that holds a lock, politely first; False if nobody held it."""
    if not is_held(lock):
        return False
    _check_host(lock.parent)
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_TIMEOUT_S
        told = None
        while time.monotonic() < deadline:
            pid = holder_of(lock)
            if pid is not None and pid not in (told, os.getpid()):
                _signal(pid, number)
                told = pid
            if wait_released(lock, 0.1):
                return True
    raise ServiceStartError(f"Process {holder_of(lock)} holds {lock} and cannot be ended; end it by hand.")


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
