"""Run one ``%%funcx --map`` cell: once per item, as the tasks of one map."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from IPython.core.error import UsageError

from funcx_lab import serialize
from funcx_lab.errors import FuncxLabError
from funcx_lab.identifiers import new_id
from funcx_lab.looks import format_bytes
from funcx_lab.maps.calls import FunctionCalls
from funcx_lab.maps.client import check_alone
from funcx_lab.maps.plan import spread
from funcx_lab.serialize.functions import FUNCTION_LIMIT
from funcx_lab_magics.cell.capture import Cell
from funcx_lab_magics.cell.ready import ReadyCell, prepare
from funcx_lab_magics.cell_map import CellMap
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.failures import interrupted
from funcx_lab_magics.page.front_end import is_recorded
from funcx_lab_magics.running import preflight, waiting
from funcx_lab_magics.running.manifest_line import ManifestLine
from funcx_lab_magics.running.map_cards import map_card
from funcx_lab_magics.running.memo import announce_items, warn
from funcx_lab_magics.tasks import ACCEPTANCE_S


def run_map(notebook: Notebook, options: argparse.Namespace, cell: Cell) -> Any:
    """Run a cell once per item; return the list of values, or the map when it is not to be waited for.

    Raises
    ------
    IPython.core.error.UsageError, funcx_lab.errors.FuncxLabError
        As `prepare` and `preflight.check`, and if there is nothing to map over; nothing was sent.
    CellInterrupted
        If the user interrupted.
    Exception
        What the first item raised that failed.
    """
    namespace = notebook.namespace()
    items = _items(options, namespace)
    ready = _prepare(cell, options, namespace, notebook, len(items))
    notebook.last = ready = preflight.place(notebook, ready)
    line = ManifestLine(notebook.shell, ready.manifest, quiet=options.quiet and not options.dry_run)
    if options.dry_run:
        line.show(f"dry run: nothing was sent · {preflight.verdict(notebook, ready)}")
        return None
    line.show()
    preflight.check(notebook, ready)
    warn(options, cell, ready.manifest.captured.imports, notebook.say)
    found = _submit(notebook, ready, items)
    if options.task:
        notebook.shell.user_ns[options.task] = found
    _wait_accepted(notebook, found)
    if options.memo:
        announce_items(found.client.get_tasks(group=found.group_id, limit=len(items)), notebook.say)
    if options.background:
        return found
    return stay_with_map(
        notebook.shell,
        found,
        on_interrupt=options.on_interrupt,
        quiet=options.quiet,
        no_raise=options.no_raise,
        follow=options.progress_after >= 0,
    )


def _items(options: argparse.Namespace, namespace: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    if options.session:
        raise UsageError(
            "--session does not go with --map: items run apart from each other. Nothing was sent."
        )
    iterables = []
    for name in options.map:
        if name not in namespace:
            raise UsageError(f"--map names {name!r}, which is not defined here. Nothing was sent.")
        if not isinstance(namespace[name], Iterable):
            kind = type(namespace[name]).__name__
            raise UsageError(
                f"--map needs items, and {name!r} has none: its type is {kind}. Nothing was sent."
            )
        iterables.append(list(namespace[name]))
    lengths = {name: len(values) for name, values in zip(options.map, iterables, strict=True)}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UsageError(f"--map goes through its names in step, and they differ in length: {told}.")
    if not iterables or not iterables[0]:
        raise UsageError(f"--map has nothing to go through: {options.map or 'no name'} is empty.")
    return list(zip(*iterables, strict=True))


def _prepare(
    cell: Cell, options: argparse.Namespace, namespace: Mapping[str, Any], notebook: Notebook, count: int
) -> ReadyCell:
    """Read the cell; its items are not among what is sent with it, and only what ``-o`` names comes back."""
    asked = argparse.Namespace(**vars(options))
    asked.exclude = [*options.exclude, *options.map]
    asked.out = "none" if options.out == "auto" else options.out
    ready = prepare(cell, asked, namespace, notebook.imports)
    maps = f"{', '.join(options.map)} over {count:,} item{'s' * (count != 1)}"
    return dataclasses.replace(ready, manifest=dataclasses.replace(ready.manifest, maps=maps))


def _submit(notebook: Notebook, ready: ReadyCell, items: Sequence[tuple[Any, ...]]) -> CellMap:
    options, group_id = ready.options, new_id()
    try:
        client = notebook.client()
        captured = ready.manifest.captured
        shared = serialize.pack_arguments((), captured.values, sizes=captured.sizes)
        function = serialize.map_cell(ready.pack(), options.map, shared)
        _check_size(len(function.body), ready)
        asked = ready.task_options()
        function_id = client.connection.functions.register(function)
        calls = FunctionCalls(
            client.connection, options.endpoint, items, lambda count: (function_id, True), asked
        )
        tasks = calls.submit_all(group_id, spread(len(items), check_alone(asked, None)))
    except KeyboardInterrupt:
        word = group_id[-8:]
        interrupted(f"Interrupted while the map was being sent; %funcx cancel {word} stops what has arrived.")
    notebook.imports.update(ready.imported)
    made = {"calls": calls, "group_id": group_id, "tasks": tasks}
    return notebook.maps.add(client, **made, label=ready.label, endpoint=options.endpoint)


def _wait_accepted(notebook: Notebook, found: CellMap) -> None:
    """Wait until the hub service has the map; forget one that it refused."""
    begun = time.monotonic()
    try:
        found.wait_accepted(ACCEPTANCE_S)
    except FuncxLabError:
        notebook.maps.forget(found)
        raise
    except KeyboardInterrupt:
        waiting.cancel(found, lambda _: None, time.monotonic() - begun)


def _check_size(size: int, ready: ReadyCell) -> None:
    if size > FUNCTION_LIMIT:
        sizes = ready.manifest.captured.sizes
        largest = max(sizes, key=lambda name: sizes[name], default="the cell")
        raise UsageError(
            f"What all items share has {format_bytes(size)}, the limit is {format_bytes(FUNCTION_LIMIT)}; "
            f"`{largest}` has most of it. Nothing was sent.\n"
            f"  try:     read it inside the cell, or  -x {largest}"
        )


def stay_with_map(
    shell: Any,
    found: CellMap,
    *,
    on_interrupt: str = "cancel",
    quiet: bool = False,
    no_raise: bool = False,
    follow: bool = True,
) -> Any:
    """Show a map's progress until it ends; bring its names into the notebook and return its values.

    Parameters
    ----------
    shell : InteractiveShell
        Where the progress is shown.
    found : CellMap
        The map.
    on_interrupt : str
        ``"cancel"`` or ``"detach"``, as in `waiting.wait`.
    quiet : bool
        Show nothing.
    no_raise : bool
        Put the exceptions of failed items in the place of their values, and show what failed.
    follow : bool
        Show the progress while it goes on, not only its end.

    Raises
    ------
    CellInterrupted
        If the user interrupted.
    Exception
        What the first item raised that failed.
    """
    card, begun = map_card(shell, found), time.monotonic()
    try:
        if quiet or not follow or is_recorded(shell):
            found.wait()
        else:
            card.follow()
    except KeyboardInterrupt:
        if on_interrupt == "detach":
            waiting.detach(found)
        waiting.cancel(found, lambda _: None, time.monotonic() - begun)
    finally:
        if not quiet:
            card.show(final=True)
    value = found.result(no_raise=no_raise)
    failures = found.failures()
    if failures:
        sys.stderr.write(f"{found.describe(failures)}\n")
    return value
