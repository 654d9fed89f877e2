"""The commands of ``funcx-lab`` that open a service to people: dashboard, share."""

from __future__ import annotations

import argparse
import json
import webbrowser
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from funcx_lab.credentials import find_service
from funcx_lab.transport import Transport

AddCommand = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def add_commands(add: AddCommand) -> None:
    """Add the commands to the parser by ``add(name, command, text)``."""
    child = add("dashboard", dashboard, "print the address of the dashboards, which logs one browser in")
    child.add_argument("--open", action="store_true", help="open it in a browser, too")
    child = add("share", share, "let others submit to an endpoint of yours")
    child.add_argument("endpoint", metavar="ENDPOINT", help="its name or id")
    whom = child.add_mutually_exclusive_group(required=True)
    whom.add_argument("--group", metavar="NAME", help="a group of JupyterHub's")
    whom.add_argument("--user", metavar="NAME", help="one user")
    whom.add_argument("--list", action="store_true", help="only print with whom it is shared")
    child.add_argument(
        "--remove", action="store_true", help="share no more; tasks that were accepted still run"
    )
    child.add_argument("--json", action="store_true", help="print JSON")


def dashboard(options: argparse.Namespace) -> int:
    """Print an address with a code that works once, for five minutes."""
    service = find_service()
    answer = Transport(service).json("POST", "/v3/login-codes")
    address = f"{answer['public_url'] or service.url}{answer['path']}"
    print(address)
    if answer["expires_s"] is not None:
        print(f"It logs one browser in, once, within {answer['expires_s'] / 60:.0f} minutes.")
    if options.open:
        webbrowser.open(address)
    return 0


def share(options: argparse.Namespace) -> int:
    """Share an endpoint, share it no more, or list with whom it is shared."""
    transport = Transport(find_service())
    path = f"/v3/endpoints/{quote(options.endpoint, safe='')}/shares"
    if options.list:
        shares = transport.json("GET", path)["shares"]
    else:
        whom = {"group": options.group} if options.group is not None else {"user": options.user}
        method = "DELETE" if options.remove else "POST"
        # doing it twice is doing it once
        shares = transport.json(method, path, whom, repeatable=True)["shares"]
    print(json.dumps(shares, indent=2) if options.json else _in_words(options.endpoint, shares))
    return 0


def _in_words(endpoint: str, shares: list[dict[str, Any]]) -> str:
    whom = [f"{holder} {name}" for entry in shares for holder, name in entry.items()]
    return f"{endpoint} is shared with {', '.join(whom)}." if whom else f"{endpoint} is not shared."
