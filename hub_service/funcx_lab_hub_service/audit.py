"""Who did what, in a file that shows when somebody has changed it.

One JSON object a line. Each ends in a hash over itself and the hash of the line before, so a line that
was changed, removed or put in breaks the chain from there on; only the last lines can be cut off unseen.
No token, key or argument is ever written. Notes gather in memory and are written about every second,
so that nobody waits for this file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from funcx_lab.protocol.stream import NewTask

logger = logging.getLogger(__name__)

#: What the first line's hash is over besides itself.
_ORIGIN = "0" * 64
_MARK = b',"hash":"'
_SUFFIX = len(_MARK) + 64 + len(b'"}\n')
#: The longest text of a field.
_TEXT_LIMIT = 200
#: Notes that may wait when the file cannot be written, and denials told apart in one writing.
_WAITING_LIMIT, _DENIAL_LIMIT = 10_000, 100


class Audit:
    """The audit log of one hub service.

    Parameters
    ----------
    path : Path
        The file; made with mode 0600 when absent.
    clock : callable
        Unix seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._notes: list[dict[str, Any]] = []
        self._submits: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._denials: dict[tuple[str, str], dict[str, Any]] = {}
        self._dropped = 0

    def note(self, event: str, **facts: Any) -> None:
        """Write down an event with its facts (text, numbers), in the next `flush`."""
        if len(self._notes) >= _WAITING_LIMIT:
            self._dropped += 1
            return
        self._notes.append(self._entry(event, facts))

    def submitted(
        self,
        user: str,
        endpoint: str,
        function_id: str,
        tasks: Sequence[NewTask],
        sha256: str,
    ) -> None:
        """Write down tasks as they come in; those of one function in the same second share a line."""
        key = (user, endpoint, function_id)
        entry = self._submits.get(key)
        if entry is not None:
            entry["count"] += len(tasks)
        elif tasks:
            facts = {"user": user, "endpoint": endpoint, "function": function_id, "sha256": sha256}
            counted = {"count": len(tasks), "first": tasks[0].task_id}
            self._submits[key] = self._entry("submit", {**facts, **counted})

    def cancelled(self, user: str, task_ids: Sequence[str]) -> None:
        """Write down tasks that a user cancelled."""
        if task_ids:
            self.note("cancel", user=user, count=len(task_ids), first=task_ids[0])

    def denied(self, address: str, code: str, what: str) -> None:
        """Write down that somebody was not let in; many of one address share a line."""
        entry = self._denials.get((address, code))
        if entry is None:
            if len(self._denials) >= _DENIAL_LIMIT:
                address = "others"
            entry = self._denials.setdefault(
                (address, code), self._entry("denied", {"address": address, "code": code, "count": 0})
            )
        entry["count"] += 1
        entry["last"] = what[:_TEXT_LIMIT]

    def flush(self) -> None:
        """Write what has gathered; what cannot be written waits for the next time."""
        with self._lock:
            notes, self._notes = self._notes, []
            submits, self._submits = self._submits, {}
            denials, self._denials = self._denials, {}
            entries = sorted([*notes, *submits.values(), *denials.values()], key=lambda entry: entry["time"])
            if self._dropped:
                entries.append(self._entry("dropped", {"count": self._dropped}))
            if not entries:
                return
            try:
                self._append(entries)
            except OSError as error:
                logger.error("The audit log %s cannot be written: %s", self._path, error)
                self._notes = [*entries, *self._notes][:_WAITING_LIMIT]
            else:
                self._dropped = 0

    def _entry(self, event: str, facts: dict[str, Any]) -> dict[str, Any]:
        short = {key: text[:_TEXT_LIMIT] if isinstance(text, str) else text for key, text in facts.items()}
        return {"time": round(self._clock(), 3), "event": event, **short}

    def _append(self, entries: list[dict[str, Any]]) -> None:
        """Chain the entries to the file's last line; others may write to it as well."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            last, end = _last_hash(file)
            file.seek(end)
            file.truncate()
            lines = []
            for entry in entries:
                line, last = _chained(entry, last)
                lines.append(line)
            file.write(b"".join(lines))


def verify(path: Path) -> tuple[int, str]:
    """Check the chain of an audit log.

    Returns
    -------
    tuple
        How many lines are as they were written, and what is wrong with the next one, ``""`` if nothing is.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    last, count = _ORIGIN, 0
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # or a line that is being written would look cut off
        for line in file:
            body, told = _split(line)
            if told is None:
                return count, f"line {count + 1} has no hash: it was cut off or put in"
            if told != _digest(body, last):
                return count, f"line {count + 1} was changed, or a line before it was changed or removed"
            last = told
            count += 1
    return count, ""


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of an audit log, oldest first."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _chained(entry: dict[str, Any], last: str) -> tuple[bytes, str]:
    body = json.dumps(entry, ensure_ascii=True, separators=(",", ":"), default=str).encode()[:-1]
    told = _digest(body, last)
    return body + _MARK + told.encode() + b'"}\n', told


def _digest(body: bytes, last: str) -> str:
    return hashlib.sha256(last.encode() + body).hexdigest()


def _split(line: bytes) -> tuple[bytes, str | None]:
    """Return a line without its hash, and the hash if it has one."""
    body, suffix = line[:-_SUFFIX], line[-_SUFFIX:]
    if not body or not suffix.startswith(_MARK) or not suffix.endswith(b'"}\n'):
        return line, None
    return body, suffix[len(_MARK) : -3].decode("ascii", "replace")


def _last_hash(file: IO[bytes]) -> tuple[str, int]:
    """Return the hash to go on from and where to write: a line that a crash cut off is written over."""
    end = file.seek(0, os.SEEK_END)
    start = max(0, end - 64 * 1024)
    file.seek(start)
    tail = file.read()
    whole = tail.rfind(b"\n") + 1
    lines = tail[:whole].splitlines(keepends=True)
    if not lines:
        return _ORIGIN, start + whole
    return _split(lines[-1])[1] or _ORIGIN, start + whole
