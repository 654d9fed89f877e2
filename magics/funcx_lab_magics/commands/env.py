"""``%funcx env``: the packages of an endpoint beside those of this kernel."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from IPython.core.error import UsageError

from funcx_lab.environments.report import find_installed, plain_name
from funcx_lab.looks import format_bytes
from funcx_lab.protocol.environment import Environment
from funcx_lab_magics.arguments import Parser
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.commands.endpoints import find_endpoint
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.display import Table


def _arguments(parser: Parser) -> None:
    text = "name or id (default: %%funcx config)"
    parser.add_argument("endpoint", nargs="?", metavar="ENDPOINT", help=text)
    parser.add_argument("--diff", action="store_true", help="only what differs from this kernel")


def _env(notebook: Notebook, options: argparse.Namespace) -> Table:
    name = str(find_endpoint(notebook, options.endpoint)["name"])
    environment = notebook.client().connection.environments.get(name, fresh=True).environment
    if environment is None:
        raise UsageError(f"Endpoint {name} has not reported its environment since the hub service started.")
    rows = [*_facts(environment), *_packages(environment)]
    if options.diff:
        rows = [row for row in rows if row[1] != row[2] and row[0] not in _ONLY_THERE]
    title = f"{'Differences' if options.diff else 'Environment'}: here and {name}"
    return Table(
        f"{title} ({environment.short_hash}, {_whose(environment)})", ("package", "here", name), rows
    )


#: Rows that say something of the endpoint only.
_ONLY_THERE = ("host", "processors", "memory", "accelerators", "CUDA_VISIBLE_DEVICES", "limits")


def _whose(environment: Environment) -> str:
    if environment.source == "worker":
        return "its workers'"
    return "its agent's own; no worker has reported yet"


def _facts(environment: Environment) -> Iterator[tuple[str, str, str]]:
    limits = ", ".join(f"{name} {value:,}" for name, value in environment.limits.items())
    yield "Python", platform.python_version(), environment.python
    yield "system", f"{platform.system()} {platform.machine()}", environment.machine
    memory = format_bytes(environment.memory) if environment.memory else ""
    values = (
        environment.host,
        str(environment.cores or ""),
        memory,
        ", ".join(environment.accelerators) or "none",
        environment.visible_devices,
        limits,
    )
    yield from ((name, "", value) for name, value in zip(_ONLY_THERE, values, strict=True) if value)


def _packages(environment: Environment) -> Iterator[tuple[str, str, str]]:
    here, there = _by_name(find_installed(sys.path).packages), _by_name(environment.packages)
    for name in sorted({*here, *there}):
        yield name, here.get(name, ""), there.get(name, "")


def _by_name(packages: Mapping[str, Any]) -> dict[str, str]:
    return {plain_name(name): str(version) for name, version in packages.items()}


COMMANDS = (Command("env", "Compare an endpoint's packages with this kernel's.", _arguments, _env),)
