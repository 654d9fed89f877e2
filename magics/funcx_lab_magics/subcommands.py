"""What ``%funcx SUBCOMMAND`` does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from funcx_lab.protocol.states import FINAL_STATES, TaskState
from funcx_lab_magics.cards import show_card
from funcx_lab_magics.display import LOOKS, Table, clock, short
from funcx_lab_magics.replay import Replay
from funcx_lab_magics.settings import FuncX
from funcx_lab_magics.tasks import NotebookTasks, Task

if TYPE_CHECKING:
    from funcx_lab import FuncXClient


class Subcommands:
    """The subcommands over one notebook.

    Parameters
    ----------
    shell : InteractiveShell
        The notebook's IPython.
    settings : FuncX
        Its defaults.
    tasks : NotebookTasks
        Its tasks.
    client : callable
        Gives the SDK's client, made at first use.
    """

    def __init__(
        self, shell: Any, settings: FuncX, tasks: NotebookTasks, client: Callable[[], FuncXClient]
    ) -> None:
        self._shell = shell
        self._settings = settings
        self._tasks = tasks
        self._client = client

    def run(self, name: str, options: argparse.Namespace) -> Any:
        """Perform one subcommand and return what the cell's value is."""
        method: Callable[[argparse.Namespace], Any] = getattr(self, name)
        return method(options)

    def endpoints(self, options: argparse.Namespace) -> Any:
        """List endpoints."""
        found = self._client().get_endpoints()
        if options.json:
            return found
        rows = (
            (each["name"], each["state"], each.get("reason") or "", each["endpoint_id"]) for each in found
        )
        return Table("Endpoints", ("name", "state", "reason", "id"), rows)

    def status(self, options: argparse.Namespace) -> Table:
        """Say how one endpoint is."""
        wanted = options.endpoint or self._settings.endpoint
        known = self._client().get_endpoints()
        for endpoint in known:
            if wanted in (endpoint["name"], endpoint["endpoint_id"]):
                return Table(f"Endpoint {endpoint['name']}", ("fact", "value"), _facts(endpoint))
        names = ", ".join(each["name"] for each in known) or "none"
        raise UsageError(f"No endpoint {wanted!r} here, or it is not yours. There are: {names}.")

    def tasks(self, options: argparse.Namespace) -> Table:
        """List tasks."""
        states = _states(options.state)
        here = {task.task_id for task in self._tasks}
        limit = 1000 if options.here else options.count
        records = self._client().get_tasks(state=states or None, limit=limit)
        rows = [_row(each) for each in records if not options.here or each["task_id"] in here]
        columns = ("received", "state", "endpoint", "took", "label", "task")
        return Table("Tasks", columns, rows[: options.count])

    def attach(self, options: argparse.Namespace) -> Task | None:
        """Show a task here, live where the front end can."""
        task = self._find(options.task)
        task.refresh()
        if getattr(self._shell, "kernel", None) is None:
            return task
        show_card(self._shell, task)
        return None

    def result(self, options: argparse.Namespace) -> Any:
        """Wait for a task and give its value."""
        value = self._find(options.task).result()
        if options.out is None:
            return value
        self._shell.user_ns[options.out] = value
        return None

    def logs(self, options: argparse.Namespace) -> None:
        """Print what a task has written."""
        task = self._find(options.task)
        text = task.logs() if not options.follow or options.count else ""
        if options.count:
            text = "".join(text.splitlines(keepends=True)[-options.count :])
        sys.stdout.write(text)
        if options.follow:
            self._follow(task, skip=len(task.logs()) if options.count else 0)

    def _follow(self, task: Task, skip: int) -> None:
        replay = Replay(self._shell, task.view.metadata())
        for event in task.follow():
            if event is None or event.kind not in ("stdout", "stderr"):
                continue
            text = str(event.data)
            if skip >= len(text):
                skip -= len(text)
                continue
            replay(type(event)(event.time, event.kind, text[skip:]))
            skip = 0

    def cancel(self, options: argparse.Namespace) -> None:
        """Cancel tasks."""
        if options.all == bool(options.tasks):
            raise UsageError("%funcx cancel: name tasks, or say --all for those of this notebook.")
        client = self._client()
        found = list(self._tasks) if options.all else [self._find(word) for word in options.tasks]
        ids = [task.task_id for task in found if not task.done()]
        cancelled = client.connection.stream.cancel(ids) if ids else frozenset()
        for task in found:
            if task.task_id in cancelled:
                print(f"Cancelled {short(task.task_id)} on {task.endpoint}.")
            elif not options.all:
                print(f"{short(task.task_id)} on {task.endpoint} had already ended: {task.state}.")
        if options.all and not cancelled:
            print("No task of this notebook was waiting or running.")

    def config(self, options: argparse.Namespace) -> Table:
        """Show or set defaults."""
        if options.reset:
            self._settings.reset()
        self._settings.set_from(options)
        return Table("Defaults of %%funcx", ("name", "value", "meaning"), self._settings.shown())

    def _find(self, word: str) -> Task:
        return self._tasks.find(self._client(), word)


def _states(text: str | None) -> list[str]:
    states = [state.strip() for state in (text or "").split(",") if state.strip()]
    for state in states:
        if state not in {str(known) for known in TaskState}:
            raise UsageError(f"%funcx tasks: no state {state!r}. There are: {', '.join(TaskState)}.")
    return states


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    started, ended = record.get("started"), record.get("ended")
    state = str(record["state"])
    now = datetime.now().timestamp()
    took = "" if not started else clock((ended if state in FINAL_STATES and ended else now) - started)
    return (
        _when(record.get("received")),
        f"{LOOKS[state][0]} {state}",
        str(record.get("endpoint_name") or ""),
        took,
        str(record.get("label") or record.get("function_name") or ""),
        str(record["task_id"]),
    )


def _when(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""


#: What people want to know of an endpoint's report, and how to call it; get_endpoint_status has it all.
_DETAILS = {
    "host": "host",
    "python": "Python",
    "version": "funcx-lab",
    "packages": "packages",
    "workers": "workers",
    "limit": "most workers",
    "busy": "busy workers",
    "queued": "waiting tasks",
    "waiting_reason": "they wait for",
    "trouble": "trouble",
}


def _facts(endpoint: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [("state", str(endpoint["state"])), ("reason", str(endpoint.get("reason") or ""))]
    facts += [("since", _when(endpoint.get("since"))), ("id", str(endpoint["endpoint_id"]))]
    details = endpoint.get("details") or {}
    facts += [(name, _fact(details.get(key))) for key, name in _DETAILS.items()]
    return [(name, value) for name, value in facts if value]


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return "" if value is None else str(value)
