"""What subcommands do for a map: ``attach``, ``result``, ``logs``, ``cancel``, ``retry``, ``debug``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from typing import Any

from IPython.core.error import UsageError

from funcx_lab.looks import short
from funcx_lab_magics.arguments import Parser, whole
from funcx_lab_magics.cell_map import CellMap
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.replay import Replay
from funcx_lab_magics.running.map_run import stay_with_map

Run = Callable[[Notebook, CellMap, argparse.Namespace], Any]


def _attach(notebook: Notebook, found: CellMap, options: argparse.Namespace) -> Any:
    if getattr(options, "background", False):
        return found
    return stay_with_map(notebook.shell, found, on_interrupt="detach")


def _result(notebook: Notebook, found: CellMap, options: argparse.Namespace) -> Any:
    value = found.result()
    if options.out is None:
        return value
    notebook.shell.user_ns[options.out] = value
    return None


def _logs(notebook: Notebook, found: CellMap, options: argparse.Namespace) -> None:
    if options.item is not None:
        replay = Replay(notebook.shell, {})
        for event in found.item_events(options.item):
            replay(event)
        replay.finish()
        return
    text = found.logs()
    if options.count:
        text = "".join(text.splitlines(keepends=True)[-options.count :])
    sys.stdout.write(text)


def _retry(notebook: Notebook, found: CellMap, options: argparse.Namespace) -> CellMap | None:
    if options.endpoint is not None:
        raise UsageError("%funcx retry: the items of a map run again where the map runs; leave ENDPOINT out.")
    if not found.failures():
        print("No item failed.")
        return None
    return found.retry_failed()


_RUNS: dict[str, Run] = {"attach": _attach, "result": _result, "logs": _logs, "retry": _retry}

#: They show a map also for the id of one of its tasks; for the others that is the task alone.
_BY_TASK = ("attach", "result")


def with_maps(command: Command) -> Command:
    """Return a subcommand that also does its work for maps, if it can."""
    if command.name == "cancel":
        return dataclasses.replace(command, run=_cancel(command))
    if command.name == "debug":
        return dataclasses.replace(command, run=_debug(command))
    if command.name not in _RUNS:
        return command
    for_map = _RUNS[command.name]

    def run(notebook: Notebook, options: argparse.Namespace) -> Any:
        by_task = command.name in _BY_TASK
        found = None if getattr(options, "all", False) else notebook.find_map(options.task, by_task=by_task)
        return command.run(notebook, options) if found is None else for_map(notebook, found, options)

    add_arguments = _logs_arguments(command) if command.name == "logs" else command.add_arguments
    return dataclasses.replace(command, run=run, add_arguments=add_arguments)


def _logs_arguments(command: Command) -> Callable[[Parser], None]:
    def add_arguments(parser: Parser) -> None:
        command.add_arguments(parser)
        parser.add_argument("--item", type=whole, metavar="I", help="of a map: only this item, figures too")

    return add_arguments


def _debug(command: Command) -> Callable[[Notebook, argparse.Namespace], Any]:
    def run(notebook: Notebook, options: argparse.Namespace) -> Any:
        found = notebook.find_map(options.task)
        if found is not None:
            options.task = _first_failed(found)
        return command.run(notebook, options)

    return run


def _first_failed(found: CellMap) -> str:
    """Return the id of the task of the first item that failed."""
    failures = found.failures()
    if not failures:
        raise UsageError("%funcx debug: no item of this map has failed.")
    item = min(failures)
    task = found.task_of(item)
    if task.span.size > 1:
        raise UsageError(
            f"%funcx debug: item {item} shares its task with others. %funcx retry {found.group_id[-8:]} "
            "runs those that failed alone; debug one of them then."
        )
    return task.future.task_id


def _cancel(command: Command) -> Callable[[Notebook, argparse.Namespace], Any]:
    def run(notebook: Notebook, options: argparse.Namespace) -> Any:
        maps = {word: found for word in options.tasks if (found := notebook.find_map(word)) is not None}
        chosen = [found for found in notebook.maps if not found.done()] if options.all else maps.values()
        for found in chosen:
            _stop(found)
        options.tasks = [word for word in options.tasks if word not in maps]
        if options.tasks or not chosen:
            command.run(notebook, options)

    return run


def _stop(found: CellMap) -> None:
    name, count = short(found.group_id), found.cancel()
    if count:
        print(f"Cancelled {count} items of the map {name} on {found.endpoint}.")
    else:
        print(f"The map {name} on {found.endpoint} had already ended.")
