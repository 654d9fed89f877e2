"""`make demo`: the quickstart runs, says what it did, and leaves nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, str(ROOT / "scripts" / "demo.py")]


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path)}


def processes_below(directory: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FUNCX_LAB_HOME", "").startswith(str(directory)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def notebook(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_the_quickstart_runs_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(DEMO, env=environment(tmp_path), capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "returned 15" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    counted = re.search(r"(\d+) tasks in \d+ s: (.*)\.\n", done.stdout)
    assert counted is not None
    assert re.search(r"\d+ success, 1 (failed|cancelled), 1 (failed|cancelled)", counted[2])
    assert "no process is left" in done.stdout
    assert list(tmp_path.glob("funcx-lab-demo-*")) == []
    assert processes_below(tmp_path) == []


def test_a_cell_that_fails_fails_the_demo(tmp_path: Path) -> None:
    broken = notebook(tmp_path / "broken.ipynb", "print('first')", "assert 1 == 2", "print('never')")
    done = subprocess.run(
        [*DEMO, str(broken)], env=environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "AssertionError" in done.stdout
    assert "never" not in done.stdout
    assert "Cell 2 failed" in done.stderr
    assert processes_below(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["begun", "Hub service"])  # the second: while the kernel starts
def test_interrupting_it_cleans_up(tmp_path: Path, number: signal.Signals, moment: str) -> None:
    slow = notebook(tmp_path / "slow.ipynb", "print('begun')\nimport time\ntime.sleep(600)")
    process = subprocess.Popen(
        [*DEMO, str(slow)],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    while moment not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number
    assert "no process is left" in rest
    assert list(tmp_path.glob("funcx-lab-demo-*")) == []
    assert processes_below(tmp_path) == []


def test_notebooks_are_committed_without_outputs() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs"), f"{path}: clear the outputs"
            assert not cell.get("execution_count"), f"{path}: clear the outputs"
