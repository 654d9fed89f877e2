"""The command ``funcx-lab``: start, look at and use a hub service from a shell.

Exit codes: 0 done, 1 it failed and the message says why, 2 wrong usage, 3 nothing runs, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import funcx_lab
from funcx_lab import cli_people, cli_tasks
from funcx_lab.accounts import log_in, read_token, who_am_i
from funcx_lab.config import Service, home, read_json
from funcx_lab.credentials import (
    check_address,
    configured_service,
    find_service,
    forget_profile,
    profile_path,
)
from funcx_lab.doctor import examine
from funcx_lab.embedded import ensure_service, running_service, stop_service
from funcx_lab.errors import FuncxLabError, UsageError
from funcx_lab.transport import Transport

FAILED, NOTHING_RUNS, INTERRUPTED = 1, 3, 130
_ENDPOINT_PATIENCE_S = 30.0

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``funcx-lab`` with ``arguments`` (default: the process's own) and return the exit code."""
    options = build_parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except FuncxLabError as err:
        print(f"{err.code} ({err.number}): {err}", file=sys.stderr)
        return 2 if isinstance(err, UsageError) else FAILED
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `funcx-lab tasks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; the docs are checked against it."""
    parser = argparse.ArgumentParser(
        prog="funcx-lab", description="Run functions and notebook cells on any machine."
    )
    parser.add_argument("--version", action="version", version=f"funcx-lab {funcx_lab.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        child = commands.add_parser(name, help=text, description=text)
        child.set_defaults(command=command)
        return child

    child = add("start", start, "start the local hub service and its endpoint 'local'")
    child.add_argument("--json", action="store_true", help="print what `status --json` prints")
    add("stop", stop, "stop the local hub service, the endpoint 'local' and all that runs below them")
    child = add("status", status, "show the hub service in use and its endpoints")
    child.add_argument("--json", action="store_true", help="print JSON")
    child = add("doctor", doctor, "examine this machine's installation and say what to do")
    child.add_argument("--json", action="store_true", help="print JSON")
    child = add("login", login, "use a hub service that runs elsewhere, from now on")
    child.add_argument("url", metavar="URL", help="its address, https://host/path")
    child.add_argument(
        "--token-file", type=Path, help="file with the token; asked for if left out ('-': stdin)"
    )
    add("logout", logout, "forget the saved hub service; the local one is used again")
    child = add("lab", lab, "start everything, then JupyterLab, and print its URL")
    child.add_argument(
        "directory", nargs="?", type=Path, help="where to open it (default: notebooks/, or here)"
    )
    child.add_argument("--no-browser", action="store_true", help="do not open a browser")
    child.add_argument("--port", type=int, default=8888, help="port to try first (default: 8888)")
    cli_tasks.add_commands(add)
    cli_people.add_commands(add)
    return parser


def start(options: argparse.Namespace) -> int:
    """Start the local service if it does not run and wait for its endpoint."""
    service = ensure_service()
    deadline = time.monotonic() + _ENDPOINT_PATIENCE_S
    while time.monotonic() < deadline:
        local = next((entry for entry in _endpoints(service) if entry["name"] == "local"), {})
        if local.get("state") == "online" or "Not installed" in str(local.get("reason")):
            break
        if who_am_i(service).get("damage"):  # nothing is started on it
            break
        time.sleep(0.1)
    return _show(service, options.json)


def stop(options: argparse.Namespace) -> int:
    """Stop the local service and everything below it."""
    stopped = stop_service()
    parts = {
        "the hub service": stopped.service,
        "the endpoint local": stopped.endpoint,
        f"{stopped.leftovers} left-over processes": stopped.leftovers,
    }
    found = [part for part, there in parts.items() if there]
    print(f"Stopped {', '.join(found)}." if found else "Nothing was running.")
    return 0


def status(options: argparse.Namespace) -> int:
    """Show the hub service that a notebook would use now; never start one."""
    service = configured_service() or running_service()
    if service is not None:
        return _show(service, options.json)
    if options.json:
        print(json.dumps({"running": False, "home": str(home()), "endpoints": []}, indent=2))
    else:
        print(f"No hub service runs for {home()}. `funcx-lab start` starts it; so does the first use.")
    return NOTHING_RUNS


def doctor(options: argparse.Namespace) -> int:
    """Print the findings; 1 if one of them keeps funcx-lab from working."""
    findings = examine()
    if options.json:
        print(json.dumps([finding.as_document() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
    return FAILED if any(finding.level == "problem" for finding in findings) else 0


def login(options: argparse.Namespace) -> int:
    """Check a token with its service, then keep both."""
    check_address(options.url)
    service, user = log_in(options.url, read_token(options.url, options.token_file))
    print(f"Logged in to {service.url} as {user}; kept in {profile_path()}.")
    return 0


def logout(options: argparse.Namespace) -> int:
    """Forget the saved service; the token stays valid until its service revokes it."""
    forgotten = forget_profile()
    print(
        "Forgotten; the local hub service is used again." if forgotten else "There was no saved hub service."
    )
    return 0


def lab(options: argparse.Namespace) -> int:
    """Run JupyterLab until it ends; what it talks to keeps running."""
    from funcx_lab.lab import check_lab, run_lab

    directory = options.directory or (Path("notebooks") if Path("notebooks").is_dir() else Path())
    check_lab(directory)
    service = find_service()  # the one that kernels and the panel find
    code = run_lab(directory, service, port=options.port, browser=not options.no_browser)
    said = "The hub service and your tasks keep running; `funcx-lab stop` stops them."
    print(said if service.embedded else "Your tasks keep running.")
    return code


def _show(service: Service, as_json: bool) -> int:
    document = _describe(service)
    code = FAILED if document["damage"] else 0
    if as_json:
        print(json.dumps(document, indent=2))
        return code
    print(f"Hub service {service.url} (version {document['version']}, user {document['user']})")
    print(f"Token       {document['token_file'] or 'from the environment'}")
    for entry in document["endpoints"]:
        reason = f"  {entry['reason']}" if entry.get("reason") else ""
        print(f"Endpoint    {entry['name']}  {entry['state']}  {entry['endpoint_id']}{reason}")
        for accelerator in entry["accelerators"]:
            print(f"              {accelerator}")
    if not document["endpoints"]:
        print("Endpoint    none yet")
    if document["damage"]:
        print(f"Database    only read: {document['damage']}")
    if document["notice"]:
        print(f"Database    {document['notice']}")
    return code


def _describe(service: Service) -> dict[str, Any]:
    """Return what ``status --json`` prints."""
    token_file = home() / "token" if service.embedded else _profile_of(service)
    who = who_am_i(service)
    return {
        "running": True,
        "url": service.url,
        "embedded": service.embedded,
        "home": str(home()),
        "token_file": str(token_file) if token_file else None,
        "version": Transport(service).json("GET", "/v2/version")["api"],
        "user": who["user"],
        "damage": who.get("damage", ""),
        "notice": who.get("notice", ""),
        "endpoints": _endpoints(service),
    }


def _endpoints(service: Service) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = Transport(service).json("GET", "/v3/endpoints")["endpoints"]
    return [
        {key: entry.get(key) for key in ("name", "endpoint_id", "state", "reason")}
        | {"accelerators": (entry.get("details") or {}).get("accelerators") or []}
        for entry in entries
    ]


def _profile_of(service: Service) -> Path | None:
    saved = read_json(profile_path())
    return profile_path() if saved and saved.get("url") == service.url else None


if __name__ == "__main__":
    sys.exit(main())
