"""``%funcx sessions``: what is warm where, and the end of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from IPython.core.error import UsageError

from funcx_lab.errors import TaskExpired
from funcx_lab.serialize import warm
from funcx_lab_magics.arguments import Parser, session_name
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.commands.endpoints import find_endpoint
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.display import Table

#: Seconds until a session that was told to end counts as busy.
END_S = 60.0


def _arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("endpoint", nargs="?", metavar="ENDPOINT", help="only of this endpoint")
    add("--end", type=session_name, metavar="NAME", help="end this session: its names and its memory go")


def _sessions(notebook: Notebook, options: argparse.Namespace) -> Any:
    if options.end:
        return _end(notebook, options.end, options.endpoint)
    if options.endpoint:
        endpoints = [find_endpoint(notebook, options.endpoint)]
    else:
        endpoints = list(notebook.client().get_endpoints())
    rows = (
        (each["name"], endpoint["name"], each["host"], str(each["calls"]))
        for endpoint in endpoints
        for each in _up_at(endpoint)
    )
    return Table("Sessions", ("name", "endpoint", "host", "unfinished cells"), rows)


def _up_at(endpoint: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the sessions that an endpoint told with its last heartbeat, if it is there to ask."""
    if endpoint["state"] == "online":
        yield from (endpoint.get("details") or {}).get("sessions", ())


def _end(notebook: Notebook, name: str, where: str | None) -> None:
    """End a session from inside, behind the cells that were sent to it before."""
    endpoint = find_endpoint(notebook, where or notebook.sessions.endpoint_of(name))
    place = endpoint["name"]
    is_up = any(each["name"] == name for each in _up_at(endpoint))
    if not is_up and (place, name) not in notebook.sessions:
        raise UsageError(f"No session {name!r} at {place}; %funcx sessions lists them.")
    if endpoint["state"] != "online":
        raise UsageError(f"{place} is {endpoint['state']}; its sessions end with it, or when it is back.")
    future = notebook.client().submit(
        warm.end, endpoint=place, task_session=name, task_ttl=END_S, task_label=f"end of session {name}"
    )
    try:
        future.result()
    except TaskExpired:
        raise UsageError(f"Session {name!r} at {place} is busy; end it when its cells have ended.") from None
    except KeyboardInterrupt:
        future.cancel()
        raise
    notebook.sessions.forget(place, name)
    notebook.say(f"session {name} at {place} has ended")


COMMANDS = (
    Command(
        "sessions", "List the sessions of cells that ran with --session, or end one.", _arguments, _sessions
    ),
)
