"""``%funcx cite``: a sentence for a methods section that says what was computed where, and with what."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from funcx_lab.looks import when
from funcx_lab_magics.arguments import Parser
from funcx_lab_magics.commands.command import Command, add_task
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.running.local_run import modules_of


def _arguments(parser: Parser) -> None:
    add_task(parser)
    parser.add_argument("--json", action="store_true", help="give the facts as a dictionary")


def _cite(notebook: Notebook, options: argparse.Namespace) -> dict[str, Any] | None:
    task = notebook.find(options.task)
    facts = _facts(notebook, task.record())
    if options.json:
        return facts
    print(sentence(facts))
    return None


def _facts(notebook: Notebook, record: Mapping[str, Any]) -> dict[str, Any]:
    client = notebook.client()
    worker = record.get("worker") or {}
    environment = client.connection.environments.get(record["endpoint_id"]).environment
    modules = sorted({*modules_of(client.get_call(record["task_id"]).function())})
    versions = {} if environment is None else {name: environment.version_of(name) for name in modules}
    return {
        "task": record["task_id"],
        "what": record.get("label") or record.get("function_name"),
        "state": record["state"],
        "endpoint": record["endpoint_name"],
        "host": worker.get("host"),
        "python": worker.get("python"),
        "funcx_lab": worker.get("package"),
        "started": record.get("started"),
        "ended": record.get("ended"),
        "code": record.get("code_hash"),
        "inputs": record.get("input_hash"),
        "environment": None if environment is None else environment.short_hash,
        "packages": {name: version for name, version in versions.items() if version},
        "reused_from": record.get("reused_from"),
    }


def sentence(facts: Mapping[str, Any]) -> str:
    """Return the facts of a task as one sentence; packages are those that are at the endpoint now."""
    return ", ".join(_clauses(facts)) + "."


def _clauses(facts: Mapping[str, Any]) -> Iterator[str]:
    host = f" ({facts['host']})" if facts["host"] else ""
    did = "was computed" if facts["state"] == "success" else f"is {facts['state']}"
    yield f"{facts['what']} {did} on {facts['endpoint']}{host}"
    if facts["ended"]:
        yield f"{when(facts['started'] or facts['ended'])} to {when(facts['ended'])}"
    if facts["python"]:
        yield f"with Python {facts['python']} and funcx-lab {facts['funcx_lab']}"
    yield from (f"{name} {version}" for name, version in facts["packages"].items())
    if facts["environment"]:
        yield f"environment {facts['environment']}"
    yield f"code {facts['code']}"
    yield f"inputs {facts['inputs']}"
    if facts["reused_from"]:
        yield f"the result being that of task {facts['reused_from']}"
    yield f"task {facts['task']}"


COMMANDS = (Command("cite", "Say what a task computed where and with what, for a paper.", _arguments, _cite),)
