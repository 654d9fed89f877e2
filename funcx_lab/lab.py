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

from funcx_lab.config import Service
from funcx_lab.errors import MissingExtra, UsageError

_START_TIMEOUT_S = 60.0


def run_lab(directory: Path, service: Service, *, port: int, browser: bool) -> int:
    """Run JupyterLab on ``directory`` until it ends and return its exit code.

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
    command = [sys.executable, "-m", "jupyterlab", f"--port={port}", "--log-level=ERROR"]
    command += [] if browser else ["--no-browser"]
    command += ["--allow-root"] if os.geteuid() == 0 else []  # in containers root is the only user
    process = subprocess.Popen(command, cwd=directory)
    # Ctrl-C and a polite end are JupyterLab's to handle; we go when it has gone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _frame: process.send_signal(number))
    if (url := _wait_for_url(process)) is not None:
        print(f"JupyterLab   {url}\nHub service  {service.url}\nCtrl-C ends JupyterLab.", flush=True)
    return process.wait()


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
