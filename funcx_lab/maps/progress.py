"""How far a map or a list of futures is: counts, a bar of text, HTML that needs no script; what failed."""

from __future__ import annotations

import html
from collections import Counter
from typing import NamedTuple

from funcx_lab.looks import block, clock, state_html

#: Characters of a bar.
WIDTH = 30
#: Ended well, failed, running, waiting.
_BLOCKS = ("█", "▒", "▓", "░")


class Progress(NamedTuple):
    """How many items are where."""

    #: ended well
    done: int
    failed: int
    #: in a worker now; an item that shares its task with others counts while the task runs
    running: int
    total: int

    @property
    def ended(self) -> int:
        """How many have ended, well or not."""
        return self.done + self.failed

    @property
    def is_complete(self) -> bool:
        """Whether all have ended."""
        return self.ended >= self.total

    def bar(self, width: int = WIDTH) -> str:
        """Return a bar of ``width`` characters; it is full when all have ended, and only then."""
        if not self.total:
            return _BLOCKS[0] * width
        marks, at = [], 0
        for count, character in zip((self.done, self.failed, self.running), _BLOCKS, strict=False):
            before, at = at, at + count
            marks.append(character * (at * width // self.total - before * width // self.total))
        return "".join(marks).ljust(width, _BLOCKS[3])

    def words(self) -> str:
        """Return the counts in words: ``57/100 · 3 failed · 4 running``."""
        words = [f"{self.ended}/{self.total}"]
        words += [f"{self.failed} failed"] if self.failed else []
        words += [f"{self.running} running"] if self.running else []
        return " · ".join(words)

    def line(self, seconds: float, note: str = "") -> str:
        """Return the bar with its words, how long it took so far, and a note."""
        return " · ".join([f"{self.bar()} {self.words()}", clock(seconds), *([note] if note else [])])

    def html(self, seconds: float, note: str = "", details: str = "") -> str:
        """Return the same as HTML; ``details`` is HTML that stands below."""
        counts = f"<code>{self.bar()}</code> {html.escape(self.words())} · {clock(seconds)}"
        dim = f'<div class="fx-dim">{html.escape(note)}</div>' if note else ""
        return block(f"<div>{state_html(self._state())} {counts}</div>{dim}{details}")

    def _state(self) -> str:
        if not self.is_complete:
            return "running" if self.running or self.ended else "received"
        return "failed" if self.failed else "success"


class Failures(dict[int, BaseException]):
    """The items of a map that failed, to their exceptions; shown by type, the first in full."""

    @property
    def by_type(self) -> dict[str, int]:
        """How many failed with which type of exception, the most frequent first."""
        return dict(Counter(type(error).__name__ for error in self.values()).most_common())

    @property
    def first(self) -> BaseException | None:
        """The exception of the first item that failed."""
        return self[min(self)] if self else None

    def words(self) -> str:
        """Return the counts in words: ``ValueError × 3, KeyError``."""
        return ", ".join(f"{name} × {count}" if count > 1 else name for name, count in self.by_type.items())

    def __repr__(self) -> str:
        if not self:
            return "No item failed."
        item = min(self)
        error = self[item]
        text = remote_traceback(error) or f"{type(error).__name__}: {error}"
        return f"{len(self)} failed: {self.words()}\nThe first, item {item}:\n{text.rstrip()}"


def remote_traceback(error: BaseException) -> str:
    """Return the traceback of where an exception was raised, at its endpoint; ``""`` if there is none."""
    told = [getattr(each, "details", {}).get("traceback") for each in (error, error.__cause__)]
    return str(next(filter(None, told), ""))
