"""``%funcx endpoints`` and ``status``: the user's endpoints, and how one of them is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from IPython.core.error import UsageError

from funcx_lab.record_lists import EndpointList
from funcx_lab_magics.arguments import Parser
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.display import Table, when

#: What people want to know of an endpoint's report, and how to call it; get_endpoint_status has it all.
_DETAILS = {
    "host": "host",
    "python": "Python",
    "version": "funcx-lab",
    "packages": "packages",
    "accelerators": "accelerators",
    "workers": "workers",
    "limit": "most workers",
    "busy": "busy workers",
    "queued": "waiting tasks",
    "waiting_reason": "they wait for",
    "trouble": "trouble",
}


def _endpoints_arguments(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="give a list of dictionaries")


def _endpoints(notebook: Notebook, options: argparse.Namespace) -> Any:
    found = notebook.client().get_endpoints()
    if options.json:
        return found
    return EndpointList(found).table()


def _status_arguments(parser: Parser) -> None:
    parser.add_argument(
        "endpoint", nargs="?", metavar="ENDPOINT", help="name or id (default: %%funcx config)"
    )


def _status(notebook: Notebook, options: argparse.Namespace) -> Table:
    endpoint = find_endpoint(notebook, options.endpoint)
    return Table(f"Endpoint {endpoint['name']}", ("fact", "value"), _facts(endpoint))


def find_endpoint(notebook: Notebook, word: str | None) -> Mapping[str, Any]:
    """Return the record of one of the user's endpoints by name or id; the default one for None.

    Raises
    ------
    IPython.core.error.UsageError
        If there is none.
    """
    wanted = word or notebook.place()
    known = notebook.client().get_endpoints()
    for endpoint in known:
        if wanted in (endpoint["name"], endpoint["endpoint_id"]):
            return endpoint
    names = ", ".join(each["name"] for each in known) or "none"
    raise UsageError(f"No endpoint {wanted!r} here, or it is not yours. There are: {names}.")


def _facts(endpoint: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [("state", str(endpoint["state"])), ("reason", str(endpoint.get("reason") or ""))]
    facts += [("since", when(endpoint.get("since"))), ("id", str(endpoint["endpoint_id"]))]
    details = endpoint.get("details") or {}
    facts += [(name, _fact(details.get(key))) for key, name in _DETAILS.items()]
    return [(name, value) for name, value in facts if value]


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


COMMANDS = (
    Command("endpoints", "List your endpoints.", _endpoints_arguments, _endpoints),
    Command("status", "Say how an endpoint is, and what it does.", _status_arguments, _status),
)
