"""Run JupyterLab in the foreground, next to a hub service."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from funcx_lab.config import Service, home
from funcx_lab.errors import MissingExtra, UsageError

_START_TIMEOUT_S = 60.0
_INTERRUPTED = 130


def check_lab(directory: Path) -> None:
    """Check that JupyterLab can be run on ``directory``.

    Raises
    ------
    MissingExtra
        If JupyterLab is not installed.
    UsageError
        If there is no such directory.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingExtra("JupyterLab is not installed here: pip install 'funcx-lab[lab]'.")
    if not directory.is_dir():
        raise UsageError(f"There is no directory {directory}.")


def run_lab(directory: Path, service: Service, *, port: int, browser: bool) -> int:
    """Run JupyterLab on ``directory`` until it ends and return the exit code.

    What it says goes to ``logs/lab.log`` of the home directory.
    """
    log = home() / "logs" / "lab.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    process = _start(directory, log, port, browser)
    try:
        url = _wait_for_url(process)
        if url is None:
            print(f"JupyterLab did not start: {_last_line(log)}\nMore in {log}", file=sys.stderr)
        else:
            print(f"JupyterLab   {url}\nHub service  {service.url}", flush=True)
            print(f"Log          {log}\nCtrl-C ends JupyterLab.", flush=True)
        return process.wait()
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        process.terminate()
        process.wait()


def _start(directory: Path, log: Path, port: int, browser: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "jupyterlab", f"--port={port}"]
    command += [] if browser else ["--no-browser"]
    command += ["--allow-root"] if os.geteuid() == 0 else []  # in containers root is the only user
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        # In a session of its own: Ctrl-C is ours, and JupyterLab gets a polite end.
        return subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing."


def _wait_for_url(process: subprocess.Popen[bytes]) -> str | None:
    """Return the address with its token from the file that the server writes when it listens."""
    from jupyter_core.paths import jupyter_runtime_dir

    about = Path(jupyter_runtime_dir()) / f"jpserver-{process.pid}.json"
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            document = json.loads(about.read_text())
            return f"{document['url']}lab?token={document['token']}"
        except (OSError, ValueError, KeyError):  # not there yet, or half written
            time.sleep(0.1)
    return None
