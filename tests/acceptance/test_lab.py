"""`make lab`: JupyterLab opens next to a running service, and its end stops nothing else."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from funcx_lab.embedded import running_service, stop_service
from funcx_lab.leftovers import find_leftovers


def test_lab_opens_and_leaves_the_service_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path / "home"))
    for name in ("CONFIG", "DATA", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(tmp_path / name.lower()))
    lab = subprocess.Popen(
        [sys.executable, "-m", "funcx_lab.cli", "lab", "--no-browser", "--port", "0", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    try:
        assert lab.stdout is not None
        address = re.search(r"http://\S+", lab.stdout.readline())
        assert address is not None
        with urllib.request.urlopen(address[0], timeout=30) as answer:
            assert answer.status == 200
            assert "JupyterLab" in answer.read().decode()
        status = address[0].replace("/lab?", "/funcx-lab/status?")
        with urllib.request.urlopen(status, timeout=60) as answer:
            panel = json.load(answer)
        assert (panel["ok"], panel["service"], panel["problem"]) == (True, "local", None)
        below = psutil.Process(lab.pid).children(recursive=True)
        assert any("jupyterlab" in process.cmdline() for process in below)
        lab.send_signal(signal.SIGINT)
        rest = lab.communicate(timeout=60)[0]
        assert lab.returncode == 130
        assert "keep running" in rest
        service = running_service()
        assert service is not None
        left = {process.pid for process in find_leftovers(tmp_path / "home")}
        assert [process for process in below if process.is_running() and process.pid not in left] == []
    finally:
        lab.kill()
        lab.communicate()
        stop_service()


def test_lab_on_a_directory_that_is_not_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "funcx_lab.cli", "lab", str(tmp_path / "gone")],
        env={**os.environ, "FUNCX_LAB_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "There is no directory" in done.stderr
    assert not (tmp_path / "home" / "service.json").exists()


def test_a_lab_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    code = (
        "import sys; from pathlib import Path; from funcx_lab.config import Service; "
        "from funcx_lab.lab import run_lab; "
        "sys.exit(run_lab(Path(sys.argv[1]), Service('http://127.0.0.1:9', ''), port=0, browser=False))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "FUNCX_LAB_HOME": str(tmp_path / "home"), "JUPYTER_RUNTIME_DIR": "/dev/null/x"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "JupyterLab did not start: NotADirectoryError" in done.stderr
    assert str(tmp_path / "home" / "logs" / "lab.log") in done.stderr
