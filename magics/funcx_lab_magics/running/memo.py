"""``--memo``: what a cell says of a result that was used again, and of code that never gives it twice."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from funcx_lab.protocol.messages import Event
from funcx_lab_magics.cell.capture import Cell
from funcx_lab_magics.tasks import Task

#: What gives another value each time, by dotted path or the beginning of one.
_CHANGING = {
    "time.time": "the clock",
    "time.time_ns": "the clock",
    "time.ctime": "the clock",
    "time.localtime": "the clock",
    "time.gmtime": "the clock",
    "time.strftime": "the clock",
    "datetime.datetime.now": "the clock",
    "datetime.datetime.utcnow": "the clock",
    "datetime.datetime.today": "the clock",
    "datetime.date.today": "the clock",
    "random": "random numbers",
    "secrets": "random numbers",
    "numpy.random": "random numbers",
    "os.urandom": "random numbers",
    "uuid.uuid1": "random numbers",
    "uuid.uuid4": "random numbers",
    "requests": "the network",
    "httpx": "the network",
    "aiohttp": "the network",
    "urllib.request": "the network",
    "socket": "the network",
    "ftplib": "the network",
}
#: A call of these with an argument makes random numbers that are the same each time.
_SEEDS = ("seed", "default_rng", "RandomState", "Random", "Generator")


class Announcing:
    """Shows a task's events, and before the first one that its result is another run's, if so.

    Parameters
    ----------
    task : Task
        The task.
    say : callable
        Shows one line.
    show : callable
        Shows one event.
    """

    def __init__(self, task: Task, say: Callable[[str], None], show: Callable[[Event], None]) -> None:
        self._task, self._say, self._show = task, say, show
        self._is_told = False

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if not self._is_told:
            self._is_told = True  # the first event comes when the service has the task, and has decided
            announce(self._task, self._say)
        self._show(event)


def announce(task: Task, say: Callable[[str], None]) -> None:
    """Say which earlier result a task was given, if it was given one.

    Raises
    ------
    FuncxLabError
        If the service does not answer.
    """
    record = task.record()
    if record.get("reused_from"):
        saved = _duration(float(record.get("saved_s") or 0.0))
        say(f"{record['reason']} ({saved} saved); --fresh runs it")


def announce_items(records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> None:
    """Say how many items of a map were given earlier results, by the records of its tasks."""
    reused = [record for record in records if record.get("reused_from")]
    if reused:
        count = sum(record["items"][1] for record in reused)
        saved = _duration(sum(float(record.get("saved_s") or 0.0) for record in reused))
        total = reused[0]["items"][2]
        say(f"reused the results of {count:,} of {total:,} items ({saved} saved); --fresh runs them")


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def warn(options: argparse.Namespace, cell: Cell, imports: Sequence[str], say: Callable[[str], None]) -> None:
    """Say what in a cell makes a reused result doubtful, if one is asked for with the line's options."""
    if options.memo and not (options.fresh or options.shell) and (text := hint(cell, imports)):
        say(text)


def hint(cell: Cell, imports: Sequence[str]) -> str:
    """Return one line about what in a cell gives another value each time; ``""`` if nothing is seen.

    Parameters
    ----------
    cell : Cell
        Python that can be parsed.
    imports : sequence of str
        Import statements that are run before it.
    """
    tree = ast.parse(cell.source)
    names = {name: path for text in imports for name, path in _imported(ast.parse(text))}
    names.update(_imported(tree))
    uses = list(_uses(tree, names))
    is_seeded = any(path.rpartition(".")[2] in _SEEDS for _, path, has_argument in uses if has_argument)
    for line, path, _ in uses:
        what = _what(path)
        if what and not (is_seeded and what == "random numbers"):
            number = line + cell.first_line - 1
            return (
                f"--memo: the cell uses {what} ({path}, line {number}); a reused result has what it had then"
            )
    return ""


def _what(path: str) -> str:
    parts = path.split(".")
    beginnings = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return next((_CHANGING[each] for each in beginnings if each in _CHANGING), "")


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that import statements bind, with the dotted path of each."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _uses(tree: ast.AST, names: dict[str, str]) -> Iterator[tuple[int, str, bool]]:
    """Yield line and dotted path of each use of an imported name, and whether it is called with arguments."""
    for node in ast.walk(tree):
        called = isinstance(node, ast.Call)
        path = _path(node.func if isinstance(node, ast.Call) else node, names)
        if path:
            yield node.lineno, path, called and bool(getattr(node, "args", []))  # type: ignore[attr-defined]  # an expression


def _path(node: Any, names: dict[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return ""
    return ".".join([names[node.id], *reversed(parts)])
