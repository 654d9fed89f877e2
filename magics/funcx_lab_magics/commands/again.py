"""``%funcx retry`` and ``debug``: the call of an earlier task again, at an endpoint or here."""

from __future__ import annotations

import argparse
import sys

from funcx_lab_magics.arguments import Parser
from funcx_lab_magics.commands.command import Command, add_task
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.display import short
from funcx_lab_magics.running.local_run import differences, run_here
from funcx_lab_magics.tasks import Task


def _retry_arguments(parser: Parser) -> None:
    add_task(parser)
    parser.add_argument(
        "endpoint", nargs="?", metavar="ENDPOINT", help="another endpoint (default: the same one)"
    )


def _retry(notebook: Notebook, options: argparse.Namespace) -> Task:
    task, client = notebook.find(options.task), notebook.client()
    call = client.get_call(task.task_id)
    where = options.endpoint or call.endpoint
    again = notebook.tasks.add(client, call.submit(options.endpoint), where, call.options.label or "")
    again.wait_accepted()
    notebook.say(f"{short(again.task_id)} on {where} repeats {short(task.task_id)} of {call.endpoint}")
    return again


def _debug(notebook: Notebook, options: argparse.Namespace) -> None:
    task = notebook.find(options.task)
    call = notebook.client().get_call(task.task_id)
    print(
        f"Running {call.name} of {short(task.task_id)} here, with the inputs that it had on {call.endpoint}."
    )
    ran = run_here(call)
    differing = "; ".join(differences(notebook.client(), call, ran.modules))
    differing = f"What differs: {differing}." if differing else "No difference of packages is known."
    record = task.record()
    there = str((record.get("error") or {}).get("type") or record["state"])
    if ran.error is None:
        print(f"It ends here without an error; on {call.endpoint}: {there}. {differing}")
        return
    notebook.shell.showtraceback((type(ran.error), ran.error, ran.error.__traceback__))
    here = type(ran.error).__name__
    same = (
        f"{here} here and on {call.endpoint}" if here == there else f"{here} here, {there} on {call.endpoint}"
    )
    if not notebook.has_front_end and sys.stdin.isatty():
        print(f"{same}. {differing}")
        notebook.shell.debugger(force=True)
    else:
        print(f"{same}. {differing} %debug opens the frames above.")


COMMANDS = (
    Command("retry", "Submit the call of a task again, as a new task.", _retry_arguments, _retry),
    Command("debug", "Run the call of a task here, and open its frames.", add_task, _debug),
)
