"""The commands of ``funcx-lab`` that deal with tasks: tasks, logs, run."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funcx_lab.errors import FuncxLabError, TaskNotFound, UsageError
from funcx_lab.protocol.states import TaskState

if TYPE_CHECKING:
    from funcx_lab.client import FuncXClient

AddCommand = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]

_COLUMNS = ("task_id", "state", "label", "endpoint_name", "received", "took", "reason")
_LABEL_WIDTH = 40


def add_commands(add: AddCommand) -> None:
    """Add the commands to the parser by ``add(name, command, text)``."""
    child = add("tasks", tasks, "list your tasks, the newest first")
    child.add_argument("-n", "--limit", type=int, default=20, help="how many (default: 20)")
    child.add_argument(
        "--state", choices=[str(state) for state in TaskState], help="only those in this state"
    )
    child.add_argument("--endpoint", help="only those of this endpoint (name or id)")
    child.add_argument("--json", action="store_true", help="print JSON")
    child = add("logs", logs, "print what a task wrote to its output")
    child.add_argument("task", metavar="TASK", help="task id, or the beginning of one of the last 1000")
    child.add_argument("-f", "--follow", action="store_true", help="go on until the task ends")
    child = add("run", run, "call one function of a Python file on an endpoint and print its result")
    child.add_argument("function", metavar="FILE.py::FUNCTION", help="file and function, 'analysis.py::fit'")
    child.add_argument(
        "arguments", metavar="ARG", nargs="*", help="arguments as JSON; what is not JSON is text"
    )
    child.add_argument("--endpoint", default="local", help="name or id (default: local)")
    child.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="how long to wait (default: for ever)"
    )
    child.add_argument("-b", "--background", action="store_true", help="print the task id and do not wait")


def tasks(options: argparse.Namespace) -> int:
    """List tasks."""
    records = _client().get_tasks(state=options.state, endpoint=options.endpoint, limit=options.limit)
    if options.json:
        print(json.dumps(records, indent=2))
    elif records:
        print_table(_COLUMNS, ([*_row(record)] for record in records))
    else:
        print("No tasks.")
    return 0


def logs(options: argparse.Namespace) -> int:
    """Print a task's output; stdout there to stdout here, stderr likewise."""
    client = _client()
    task_id = _complete(client, options.task)
    after = 0
    while True:
        answer = client.connection.transport.json(
            "GET", f"/v3/tasks/{task_id}/events", query={"after": after}
        )
        for seq, event in answer["events"]:
            after = seq
            print_event(event["kind"], event["data"])
        if not answer["events"]:
            if answer["ended"] or not options.follow:
                return 0
            time.sleep(0.2)


def run(options: argparse.Namespace) -> int:
    """Call a function, print its output while it runs, then its result."""
    function = load_function(options.function)
    client = _client()
    function_id = client.register_function(function)
    values = [_value(text) for text in options.arguments]
    task_id = client.run(*values, endpoint_id=options.endpoint, function_id=function_id)
    if options.background:
        print(task_id)
        return 0
    try:
        for _seq, event in client.follow(task_id):
            print_event(event.kind, event.data)
        result = client.get_result(task_id, timeout=options.timeout or math.inf)
    except KeyboardInterrupt:
        client.cancel(task_id)
        raise
    except FuncxLabError:
        raise
    except Exception as err:  # what the function raised; its cause is the traceback there
        print(err.__cause__ or f"{type(err).__name__}: {err}", file=sys.stderr)
        return 1
    if result is not None:
        print(_text(result))
    return 0


def load_function(where: str) -> Callable[..., Any]:
    """Return the function that ``FILE.py::FUNCTION`` names.

    Raises
    ------
    UsageError
        If there is no such file or function. An error in the file itself is raised as it is.
    """
    file, separator, name = where.partition("::")
    path = Path(file)
    if not separator or not name:
        raise UsageError(f"{where!r} should be FILE.py::FUNCTION, for instance analysis.py::fit.")
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"{path} has no function {name!r}.")
    found: Callable[..., Any] = function
    return found


def print_event(kind: str, data: Any) -> None:
    """Print an event if it is output."""
    if kind in {"stdout", "stderr"}:
        print(data, end="", flush=True, file=sys.stdout if kind == "stdout" else sys.stderr)
    elif kind == "display" and isinstance(data, dict):
        print(data.get("data", {}).get("text/plain", ""))


def print_table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print columns as wide as their widest cell."""
    table = [[title.upper() for title in titles], *([*row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _client() -> FuncXClient:
    from funcx_lab.client import FuncXClient  # commands that need none start faster

    return FuncXClient()


def _row(record: dict[str, Any]) -> Iterable[str]:
    for column in _COLUMNS:
        value = record.get(column)
        if column == "received":
            value = time.strftime("%m-%d %H:%M:%S", time.localtime(value)) if value else ""
        elif column == "took":
            started, ended = record.get("started"), record.get("ended")
            value = f"{ended - started:.2f} s" if started and ended else ""
        elif column == "label":
            value = " ".join(str(value or record.get("function_name") or "").split())
            value = value if len(value) <= _LABEL_WIDTH else value[: _LABEL_WIDTH - 3] + "..."
        elif column == "reason" and record.get("error"):
            error = record["error"]
            value = f"{error.get('type') or error['code']}: {error['message']}".splitlines()[0]
        yield str(value or "")


def _complete(client: FuncXClient, beginning: str) -> str:
    """Return the one task id that begins so."""
    if len(beginning) == 36:
        return beginning
    records = client.get_tasks(limit=1000)
    found = [record["task_id"] for record in records if record["task_id"].startswith(beginning)]
    if len(found) == 1:
        return str(found[0])
    raise TaskNotFound(
        f"{len(found) or 'None'} of your last 1000 tasks begin with {beginning!r}; see `funcx-lab tasks`."
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)
