"""No test touches the user's own state, and none leaves a process behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests that forget FUNCX_LAB_HOME off the user's; say which processes were left at the end."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FUNCX_LAB_")]:
            patch.delenv(name)
        patch.setenv("FUNCX_LAB_HOME", str(base / "forgotten"))
        yield
    left = [process for process in psutil.process_iter() if _is_below(process, base)]
    said = [f"{process.pid} {' '.join(process.cmdline())[:150]}" for process in left if process.is_running()]
    for process in left:
        process.kill()
    assert said == [], "these processes were left running (and are killed now)"
    assert not (base / "forgotten").exists(), (
        "a test used the default FUNCX_LAB_HOME instead of one of its own"
    )


@pytest.fixture(scope="module", autouse=True)
def _no_stream_left() -> Iterator[None]:
    """Find the module that leaves a stream: it would go on in another test's home."""
    yield
    deadline = time.monotonic() + 30
    while left := [thread for thread in threading.enumerate() if thread.name == "funcx-lab-stream"]:
        assert time.monotonic() < deadline, f"these threads were left running: {left}"
        time.sleep(0.01)


def _is_below(process: psutil.Process, base: Path) -> bool:
    """Return whether a process works in a home below ``base``."""
    try:
        home = process.environ().get("FUNCX_LAB_HOME", "")
    except psutil.Error:  # gone, or another user's
        return False
    return home.startswith(f"{base}{os.sep}") and process.pid != os.getpid()
