"""What subcommands do for a map: ``attach``, ``result``, ``logs``, ``cancel`` and ``retry``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from typing import Any

from funcx_lab.looks import short
from funcx_lab_magics.arguments import Parser, whole
from funcx_lab_magics.cell_map import CellMap
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.map_run import stay_with_map
from funcx_lab_magics.notebook import Notebook

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
    text = found.logs(options.item)
    if options.count:
        text = "".join(text.splitlines(keepends=True)[-options.count :])
    sys.stdout.write(text)


def _retry(notebook: Notebook, found: CellMap, options: argparse.Namespace) -> CellMap | None:
    if not found.failures():
        print("No item failed.")
        return None
    return found.retry_failed()


_RUNS: dict[str, Run] = {"attach": _attach, "result": _result, "logs": _logs, "retry": _retry}


def with_maps(command: Command) -> Command:
    """Return a subcommand that also does its work for maps, if it can."""
    if command.name == "cancel":
        return dataclasses.replace(command, run=_cancel(command))
    if command.name not in _RUNS:
        return command
    for_map = _RUNS[command.name]

    def run(notebook: Notebook, options: argparse.Namespace) -> Any:
        found = None if getattr(options, "all", False) else notebook.find_map(options.task)
        return command.run(notebook, options) if found is None else for_map(notebook, found, options)

    add_arguments = _logs_arguments(command) if command.name == "logs" else command.add_arguments
    return dataclasses.replace(command, run=run, add_arguments=add_arguments)


def _logs_arguments(command: Command) -> Callable[[Parser], None]:
    def add_arguments(parser: Parser) -> None:
        command.add_arguments(parser)
        parser.add_argument("--item", type=whole, metavar="I", help="of a map: only this item's task")

    return add_arguments


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
