"""Sets the wall clock of a program wrong: Python imports this first if its folder is on PYTHONPATH.

The file ``$CHAOS_CLOCKS/<program>`` holds by how many seconds, and may change at any time.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_PROGRAMS = {"hub": "funcx_lab_hub_service", "agent": "funcx_lab_endpoint.cli", "client": "chaos.client"}
#: So many seconds a look at the file serves.
_LOOK_S = 0.02
_time, _time_ns, _monotonic = time.time, time.time_ns, time.monotonic


class _Shift:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked, self._seconds = 0.0, 0

    def seconds(self) -> int:
        if _monotonic() > self._looked + _LOOK_S:
            self._looked = _monotonic()
            try:
                self._seconds = int(self._path.read_text())
            except (OSError, ValueError):
                self._seconds = 0
        return self._seconds


def _install(directory: str) -> None:
    command = " ".join(sys.orig_argv)
    for program, words in _PROGRAMS.items():
        if words in command:
            _shift(_Shift(Path(directory, program)))


def _shift(by: _Shift) -> None:
    time.time = lambda: _time() + by.seconds()
    time.time_ns = lambda: _time_ns() + 1_000_000_000 * by.seconds()


if directory := os.environ.get("CHAOS_CLOCKS"):
    _install(directory)
