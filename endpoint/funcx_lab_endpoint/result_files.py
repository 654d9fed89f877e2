"""Results too large for a message: files that wait for their upload, or that the hub service did not take."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from funcx_lab_endpoint.engine.contract import CallDone, EngineFact

#: A result that the hub service did not take is kept for its owner to fetch.
KEPT_DAYS = 7
_DAY_S = 86400.0
_SWEEP_S = 3600.0


class ResultFiles:
    """A directory beside the engine's, which empties its own whenever it starts.

    Parameters
    ----------
    directory : Path
        Made when absent, mode 0700.
    wanted : collection of Path
        Files that an earlier life of the agent left to be uploaded.
    """

    def __init__(self, directory: Path, wanted: Collection[Path] = ()) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory
        self._wanted = set(wanted)
        self._next_sweep = 0.0

    def take(self, fact: EngineFact) -> EngineFact:
        """Take over the file of a result, if it has one; return the fact as it is then."""
        if not isinstance(fact, CallDone) or fact.path is None:
            return fact
        path = self._directory / fact.path.name
        try:
            os.rename(fact.path, path)
        except OSError:
            return fact  # its upload will say why
        self._wanted.add(path)
        self._sweep()
        return replace(fact, path=path)

    def _sweep(self) -> None:
        """Delete what an earlier life kept, and nobody has fetched for too long."""
        now = time.time()
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_S
        for path in self._directory.iterdir():
            with contextlib.suppress(OSError):
                if path not in self._wanted and path.stat().st_mtime < now - KEPT_DAYS * _DAY_S:
                    path.unlink()
