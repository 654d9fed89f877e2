"""Calls that wait for a serving session: one line for each function or named session, in turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from funcx_lab_endpoint.engine.jobs import Job


class Lines:
    """The lines; false when nobody waits."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Job]] = {}
        self._turns: deque[str] = deque()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[Job]:
        for line in self._lines.values():
            yield from line

    def heads(self) -> Iterator[tuple[Job, int]]:
        """Yield the first of each line and how many stand in it."""
        for line in self._lines.values():
            yield line[0], len(line)

    def add(self, job: Job, *, first: bool = False) -> None:
        """Put a call at the end of its line, or at its head."""
        line = self._lines.get(job.line)
        if line is None:
            self._lines[job.line] = line = deque()
            self._turns.append(job.line)
        if first:
            line.appendleft(job)
        else:
            line.append(job)

    def remove(self, job: Job) -> None:
        """Take a call out of its line, wherever it stands."""
        line = self._lines[job.line]
        line.remove(job)
        if not line:
            del self._lines[job.line]
            self._turns.remove(job.line)

    def head(self, name: str) -> Job | None:
        """Return the first of a line."""
        line = self._lines.get(name)
        return line[0] if line else None

    def next(self, fits: Callable[[Job], bool]) -> Job | None:
        """Take out the first call that fits; the line it came from has had its turn."""
        turns, lines = self._turns, self._lines
        for _ in range(len(turns)):
            name = turns[0]
            turns.rotate(-1)
            line = lines[name]
            if fits(line[0]):
                job = line.popleft()
                if not line:
                    turns.pop()
                    del lines[name]
                return job
        return None
