"""What can be told of a worker that is gone: its signal, its memory, its last words."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_VMSTAT = Path("/proc/vmstat")


class Evidence:
    """Describes lost workers.

    Parameters
    ----------
    last_words : Path
        Directory of the files that crashed interpreters leave, by session.
    """

    def __init__(self, last_words: Path) -> None:
        self._last_words = last_words
        self._oom_kills = _oom_kills()

    def describe(self, sid: str, worker: Mapping[str, Any], what: str, memory: int) -> str:
        """Return what is known of the end of a session's worker.

        Parameters
        ----------
        sid : str
            The session.
        worker : mapping
            What the worker told of itself: ``host`` and ``pid``.
        what : str
            How it ended, as far as known.
        memory : int
            Bytes that it used when last heard, 0 if unknown.
        """
        words = _take(self._last_words / sid)
        return "".join(
            (
                f"worker {worker.get('pid')} on {worker.get('host')}: {what}",
                f" ({words})" if words else "",
                f"; it used {memory / 1e6:,.0f} MB of memory when last heard" if memory else "",
                self._of_this_machine(worker) if is_here(worker) else "",
            )
        )

    def _of_this_machine(self, worker: Mapping[str, Any]) -> str:
        before, self._oom_kills = self._oom_kills, _oom_kills()
        if self._oom_kills > before:
            return "; out of memory: the kernel of this machine has ended a process"
        return "; it is stopped, as by SIGSTOP" if _is_stopped(worker.get("pid", 0)) else ""


def is_here(worker: Mapping[str, Any]) -> bool:
    """Return whether a worker runs on this machine."""
    return worker.get("host") == platform.node()


def _is_stopped(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[:1] in (["T"], ["t"])


def _take(path: Path) -> str:
    """Return the first line that a crashed interpreter left, if any, and delete the file."""
    try:
        line = path.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0].strip()
        path.unlink()
    except OSError:
        return ""
    return line


def _oom_kills() -> int:
    try:
        lines = _VMSTAT.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
