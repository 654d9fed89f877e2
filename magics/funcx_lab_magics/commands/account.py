"""``%funcx login``, ``logout`` and ``whoami``: which hub service, and who you are there."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from IPython.core.error import UsageError

from funcx_lab.accounts import log_in, read_token, who_am_i
from funcx_lab.config import Service
from funcx_lab.credentials import check_address, configured_service, forget_profile
from funcx_lab_magics.arguments import Parser
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.display import Table

#: Environment variables that choose the service before the saved login does, to how people call that.
_FIRST = {"FUNCX_LAB_URL": "FUNCX_LAB_URL", "FUNCX_LAB_JUPYTERHUB_URL": "JupyterHub"}


def _login_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("url", nargs="?", metavar="URL", help="address of the hub service, https://host/path")
    add("--token-file", type=Path, metavar="FILE", help="file with the token; asked for if left out")


def _login(notebook: Notebook, options: argparse.Namespace) -> None:
    if options.url is None:
        service = configured_service(notebook.settings.url or None)
        if service is None:
            raise UsageError(
                "%funcx login: say the address of the hub service, https://host/path. Without one your "
                "local service is used, which needs no login."
            )
        user = who_am_i(service)["user"]
        print(f"Logged in to {service.alias} as {user} already ({_source(notebook, service)}).")
        return
    check_address(options.url)
    service, user = log_in(options.url, read_token(options.url, options.token_file))
    notebook.forget_client()
    first = _chosen_first(notebook)
    print(
        f"Logged in to {service.alias} as {user}." + (f" But {first} is set and goes first." if first else "")
    )


def _logout(notebook: Notebook, options: argparse.Namespace) -> None:
    forgotten = forget_profile()
    notebook.forget_client()
    print(
        "Forgotten; your tasks there go on. The local hub service is used again."
        if forgotten
        else "There was no saved hub service."
    )
    if first := _chosen_first(notebook):
        print(f"{first} still names one.")


def _whoami(notebook: Notebook, options: argparse.Namespace) -> Table:
    service = notebook.client().connection.transport.service
    who = who_am_i(service)
    facts = [("user", who["user"]), ("hub service", service.alias), ("known by", _source(notebook, service))]
    facts += [(name, who[name]) for name in ("damage", "notice") if who.get(name)]
    return Table("Who you are", ("fact", "value"), facts)


def _chosen_first(notebook: Notebook) -> str:
    """Return what chooses the service before the saved login does; ``""`` for nothing."""
    if notebook.settings.url:
        return "FuncX.url"
    return next((name for variable, name in _FIRST.items() if os.environ.get(variable)), "")


def _source(notebook: Notebook, service: Service) -> str:
    return "it is your own" if service.embedded else _chosen_first(notebook) or "the saved login"


def _nothing(parser: Parser) -> None:
    """Add no arguments."""


COMMANDS = (
    Command("login", "Use a hub service that runs elsewhere, from now on.", _login_arguments, _login),
    Command("logout", "Forget the saved hub service.", _nothing, _logout),
    Command("whoami", "Say who you are, and at which hub service.", _nothing, _whoami),
)
