"""A cell that runs once per item: its map as the notebook sees it, and how a word finds one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from funcx_lab.errors import TaskNotFound
from funcx_lab.looks import WHOLE_LENGTH
from funcx_lab.maps.client import find_map
from funcx_lab.maps.items import MapTask
from funcx_lab.maps.progress import Failures, remote_traceback
from funcx_lab.maps.task_map import TaskMap
from funcx_lab.protocol.messages import Event
from funcx_lab.serialize.cell import CellResult
from funcx_lab_magics.page.display import TaskView
from funcx_lab_magics.page.failures import notebook_traceback, remote
from funcx_lab_magics.results import VALUE, deliver
from funcx_lab_magics.tasks import LOOKED_UP, Home, Task, fits

if TYPE_CHECKING:
    from funcx_lab import FuncXClient

#: So many of a notebook's earlier maps are looked up, the newest.
REMEMBERED = 20


class CellMap(TaskMap[Any]):
    """What ``%%funcx --map`` gives: the items' values, and names that become lists.

    Parameters
    ----------
    client : FuncXClient
        Where it runs.
    home : Home
        The notebook that its names go to.
    **made
        The arguments of `TaskMap`.
    """

    def __init__(self, client: FuncXClient, home: Home, **made: Any) -> None:
        super().__init__(**made)
        self.client = client
        self._home = home

    @property
    def task_id(self) -> str:
        """What ``%funcx`` finds it by: the id of its tasks' group."""
        return self.group_id

    def value(self, raw: Any) -> Any:
        """Return the value of a cell's last expression, or what stands for it here."""
        if not isinstance(raw, CellResult):
            return raw
        alone = CellResult(raw.value_present, raw.value, raw.display, {}, _only_value(raw.left_out))
        return deliver(alone, {}, self._home.say)

    def result(self, timeout: float | None = None, *, no_raise: bool = False) -> Any:
        """Wait for all items, bring names back as lists, and return the list of values.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; for ever if left out.
        no_raise : bool
            Put the exception of a failed item in the place of its value.

        Returns
        -------
        list or None
            None if the cell has no value.

        Raises
        ------
        concurrent.futures.TimeoutError
            If not all have ended by then; they go on.
        Exception
            What the first failed item raised.
        """
        try:
            values = self.results(timeout, no_raise=no_raise)
        except Exception as err:  # shown as it happened there; whatever the cell raised
            self._explain(err)
            raise
        self.bring_names()
        return None if all(value is None for value in values) else values

    def bring_names(self) -> None:
        """Bind each name that came back to the list of its items' values; None stands where there is none."""
        names: dict[str, list[Any]] = {}
        left_out: dict[str, str] = {}
        for item, raw in self.raw_results().items():
            if isinstance(raw, CellResult):
                left_out.update(raw.left_out)
                for name, value in raw.names.items():
                    names.setdefault(name, [None] * len(self))[item] = value
        left_out.pop(VALUE, None)
        deliver(CellResult(names=names, left_out=left_out), self._home.namespace, self._home.say)

    def _explain(self, error: Exception) -> None:
        """Let IPython show an item's error as it happened there, and how many others failed."""
        failures = self.failures()
        if error is not failures.first:
            return
        word = self.group_id[-8:]
        summary = (
            f"on {self.endpoint}, item {min(failures)}\n"
            f"{len(failures)} of {len(self)} items failed: {failures.words()}. "
            f"%funcx attach {word} shows the map, %funcx retry {word} runs them again; "
            "--no-raise gives what there is."
        )
        remote(error, remote_traceback(error), summary)

    def describe(self, failures: Failures) -> str:
        """Return what failed, with the notebook's own lines."""
        return notebook_traceback(super().describe(failures))

    def logs(self) -> str:
        """Return what the items have written so far, under a heading for each task that wrote something."""
        texts = []
        for task in self.tasks:
            text = self._log(task)
            if text:
                first, last = task.items[0], task.items[-1]
                heading = f"item {first}" if first == last else f"items {first} to {last}"
                texts.append(f"--- {heading}\n{text.rstrip()}\n")
        return "".join(texts)

    def item_events(self, item: int) -> Iterator[Event]:
        """Yield what an item has written and shown so far; items that share a task share that, too.

        Raises
        ------
        UsageError
            If there is no such item.
        """
        if not 0 <= item < len(self):
            raise UsageError(f"The map has items 0 to {len(self) - 1}, not {item}.")
        path, after = f"/v3/tasks/{self.task_of(item).future.task_id}/events", 0
        while True:
            page = self.client.connection.transport.json("GET", path, query={"after": after})["events"]
            for _, event in page:
                yield Event(event["time"], event["kind"], event["data"])
            if not page:
                return
            after = page[-1][0]

    def _log(self, task: MapTask) -> str:
        return Task(self.client, TaskView(task.future.task_id, self.endpoint), self._home).logs()


def _only_value(left_out: dict[str, str]) -> dict[str, str]:
    return {VALUE: left_out[VALUE]} if VALUE in left_out else {}


class NotebookMaps:
    """The maps of one notebook since its kernel started, and the way to any other of the user's.

    Parameters
    ----------
    home : Home
        The notebook.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._maps: dict[str, CellMap] = {}

    def __iter__(self) -> Iterator[CellMap]:
        return iter(list(self._maps.values()))

    def add(self, client: FuncXClient, **made: Any) -> CellMap:
        """Remember a map; ``made`` are the arguments of `TaskMap`."""
        found = CellMap(client, self._home, **made)
        self._maps[found.group_id] = found
        return found

    def forget(self, found: CellMap) -> None:
        """Forget a map that the hub service refused."""
        self._maps.pop(found.group_id, None)

    def remember(self, client: FuncXClient, group_ids: Sequence[str]) -> None:
        """Count maps of before the kernel started as the notebook's own, the newest few."""
        earlier: dict[str, CellMap] = {}
        for group_id in group_ids[-REMEMBERED:]:
            if group_id not in self._maps:
                with contextlib.suppress(TaskNotFound):
                    made = find_map(client.connection, group_id)
                    earlier[group_id] = CellMap(client, self._home, **made)
        self._maps = {**earlier, **self._maps}

    def last(self, after: float = 0.0) -> CellMap | None:
        """Return the newest map, if it began after that time (Unix seconds)."""
        newest = next(reversed(self._maps.values()), None)
        return newest if newest is not None and newest.created >= after else None

    def find(self, client: FuncXClient, word: str, *, by_task: bool) -> CellMap | None:
        """Return the map whose id is this, begins or ends with it; None if there is none.

        Parameters
        ----------
        word : str
            The id, or its beginning or end.
        by_task : bool
            Take the id of one of its tasks, too.

        Raises
        ------
        UsageError
            If the word fits several maps.
        """
        word = word.strip("…")
        known = [each for each in self if fits(word, each.group_id)]
        groups = {each.group_id for each in known} or self._elsewhere(client, word, by_task)
        if not groups:
            return None
        if len(groups) > 1:
            raise UsageError(f"{len(groups)} maps fit {word!r}; give more of the id.")
        (group_id,) = groups
        return self._maps.get(group_id) or self.add(client, **find_map(client.connection, group_id))

    def _elsewhere(self, client: FuncXClient, word: str, by_task: bool) -> set[str]:
        """Look among all of the user's tasks."""
        records = client.connection.group_records(word) if len(word) == WHOLE_LENGTH else []
        return {
            str(record["task_group_id"])
            for record in records or client.get_tasks(limit=LOOKED_UP)
            if record.get("items")
            and (fits(word, record["task_group_id"]) or (by_task and fits(word, record["task_id"])))
        }
