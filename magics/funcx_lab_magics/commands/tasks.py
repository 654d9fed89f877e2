"""``%funcx tasks``, ``result``, ``logs`` and ``cancel``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from IPython.core.error import UsageError

from funcx_lab.maps.records import fold_maps
from funcx_lab.protocol.states import TaskState
from funcx_lab.record_lists import TaskList
from funcx_lab_magics.arguments import Parser, positive, variable
from funcx_lab_magics.commands.command import Command, add_task
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.display import Table, short
from funcx_lab_magics.page.replay import Replay
from funcx_lab_magics.tasks import LOOKED_UP, Task


def _tasks_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("-n", dest="count", type=positive, default=20, metavar="20", help="how many")
    add("--state", metavar="RUNNING,FAILED", help="only tasks in these states")
    add("--here", action="store_true", help="only tasks of this notebook since its kernel started")


def _tasks(notebook: Notebook, options: argparse.Namespace) -> Table:
    states = _states(options.state)
    here = {each.task_id for each in (*notebook.tasks, *notebook.maps)}
    found = fold_maps(notebook.client().get_tasks(state=states or None, limit=LOOKED_UP))
    return TaskList(each for each in found if not options.here or each["task_id"] in here).table(
        options.count
    )


def _states(text: str | None) -> list[str]:
    states = [state.strip() for state in (text or "").split(",") if state.strip()]
    for state in states:
        if state not in {str(known) for known in TaskState}:
            raise UsageError(f"%funcx tasks: no state {state!r}. There are: {', '.join(TaskState)}.")
    return states


def _result_arguments(parser: Parser) -> None:
    add_task(parser)
    parser.add_argument("-o", "--out", type=variable, metavar="VAR", help="store the value under this name")


def _result(notebook: Notebook, options: argparse.Namespace) -> Any:
    value = notebook.find(options.task).result()
    if options.out is None:
        return value
    notebook.shell.user_ns[options.out] = value
    return None


def _logs_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add_task(parser)
    add("-f", "--follow", action="store_true", help="go on until it ends")
    add("-n", dest="count", type=positive, metavar="100", help="only the last lines")


def _logs(notebook: Notebook, options: argparse.Namespace) -> None:
    task = notebook.find(options.task)
    text = task.logs() if not options.follow or options.count else ""
    if options.count:
        text = "".join(text.splitlines(keepends=True)[-options.count :])
    sys.stdout.write(text)
    if options.follow:
        _follow(notebook, task, skip=len(task.logs()) if options.count else 0)


def _follow(notebook: Notebook, task: Task, skip: int) -> None:
    replay = Replay(notebook.shell, task.view.metadata())
    for event in task.follow():
        if event is None or event.kind not in ("stdout", "stderr"):
            continue
        text = str(event.data)
        if skip >= len(text):
            skip -= len(text)
            continue
        replay(type(event)(event.time, event.kind, text[skip:]))
        skip = 0


def _cancel_arguments(parser: Parser) -> None:
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="ids, their beginnings or ends, or last")
    parser.add_argument("--all", action="store_true", help="every task of this notebook that has not ended")


def _cancel(notebook: Notebook, options: argparse.Namespace) -> None:
    if options.all == bool(options.tasks):
        raise UsageError("%funcx cancel: name tasks, or say --all for those of this notebook.")
    client = notebook.client()
    found = list(notebook.tasks) if options.all else [notebook.find(word) for word in options.tasks]
    ids = [task.task_id for task in found if not task.done()]
    cancelled = client.connection.stream.cancel(ids) if ids else frozenset()
    for task in found:
        if task.task_id in cancelled:
            print(f"Cancelled {short(task.task_id)} on {task.endpoint}.")
        elif not options.all:
            print(f"{short(task.task_id)} on {task.endpoint} had already ended: {task.state}.")
    if options.all and not cancelled:
        print("No task of this notebook was waiting or running.")


COMMANDS = (
    Command("tasks", "List tasks, the newest first.", _tasks_arguments, _tasks),
    Command(
        "result", "Wait for a task; give its value and bring its names back.", _result_arguments, _result
    ),
    Command("logs", "Print what a task has written.", _logs_arguments, _logs),
    Command("cancel", "Cancel tasks.", _cancel_arguments, _cancel),
)
