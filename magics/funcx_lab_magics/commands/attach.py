"""``%funcx attach``: show tasks here again and bring their names back."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from IPython.core.error import UsageError

from funcx_lab_magics.arguments import Parser
from funcx_lab_magics.cell.manifest import grey_line
from funcx_lab_magics.commands.command import Command, add_task
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.display import Table, short, when
from funcx_lab_magics.running.cards import show_card
from funcx_lab_magics.running.foreground import Manner, stay
from funcx_lab_magics.running.manifest_line import ManifestLine
from funcx_lab_magics.running.map_cards import show_map
from funcx_lab_magics.tasks import Task


@dataclass(frozen=True)
class _Headline:
    """What stands above a task that is shown again, in place of a manifest."""

    endpoint: str
    words: str

    def text(self, note: str = "") -> str:
        return " · ".join(filter(None, (f"↻ {self.endpoint}", self.words, note)))

    def html(self, note: str = "") -> str:
        return grey_line(self.text(note))


def _arguments(parser: Parser) -> None:
    add_task(parser)
    add = parser.add_argument
    add("--all", action="store_true", help="every task of this notebook, also from before its kernel started")
    add("-b", "--bg", action="store_true", dest="background", help="show its card and do not wait")


def _attach(notebook: Notebook, options: argparse.Namespace) -> Any:
    if options.all:
        return _attach_all(notebook)
    task = notebook.find(options.task)
    task.refresh()
    if options.background:
        return task
    words = " · ".join(filter(None, (task.view.label, short(task.task_id), when(task.view.created))))
    line = ManifestLine(notebook.shell, _Headline(task.endpoint, words), quiet=False)
    line.name_task(task)
    return stay(notebook.shell, task, line, Manner(on_interrupt="detach", patience_s=0.0))


def _attach_all(notebook: Notebook) -> Table:
    notebook.remember_earlier()
    tasks, maps = list(notebook.tasks), list(notebook.maps)
    if not tasks and not maps:
        raise UsageError(_nothing(notebook))
    before = dict(notebook.shell.user_ns)
    for task in tasks:
        if task.done():
            _bring_back(task)
        else:
            show_card(notebook.shell, task)
    for found in maps:
        show_map(notebook.shell, found)
        if found.done():
            found.bring_names()
    _keep(notebook, before)
    rows = [(when(task.view.created), *_state(task), task.view.label, task.task_id) for task in tasks]
    return Table("Tasks of this notebook", ("received", "state", "took", "label", "task"), rows)


def _state(task: Task) -> tuple[str, str]:
    return task.view.state, task.view.elapsed()


def _bring_back(task: Task) -> None:
    """Put a task's names into the notebook; why a task left none stands in the table."""
    if task.view.state == "success":
        try:
            task.result()
        except Exception as err:  # a result that was purged or cannot be opened: the others come all the same
            task.view.state = f"{task.view.state} ({type(err).__name__})"


def _keep(notebook: Notebook, before: dict[str, Any]) -> None:
    """Give names that were here before their values back, and say what is new."""
    names = notebook.shell.user_ns
    new = [name for name in names if name not in before]
    kept = [name for name in before if names[name] is not before[name]]
    names.update(before)
    if new:
        notebook.say(f"← brought back: {', '.join(new)}")
    if kept:
        notebook.say(f"← kept as they are here: {', '.join(kept)}; %funcx result TASK replaces them")


def _nothing(notebook: Notebook) -> str:
    if notebook.file is None:
        return (
            "The front end does not tell which file this notebook is, so its earlier tasks are not known; "
            "%funcx tasks lists all of yours, %funcx attach TASK shows one."
        )
    return f"No output of {notebook.file.name}, as it was saved last, names a task; %funcx tasks lists all."


COMMANDS = (
    Command(
        "attach",
        "Show what a task did and does, and bring its names and its value back.",
        _arguments,
        _attach,
    ),
)
