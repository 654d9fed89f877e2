"""``%funcx dashboard``: a dashboard of the hub service under the cell."""

from __future__ import annotations

import argparse
import html
from typing import Any

from IPython.core.error import UsageError

from funcx_lab.errors import EndpointNotFound, NotFound
from funcx_lab.looks import block, is_jupyterlab
from funcx_lab_magics.arguments import Parser
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.notebook import Notebook
from funcx_lab_magics.page.display import Table

#: A dashboard for JupyterLab's own renderer.
DASHBOARD_MIME = "application/vnd.funcx.dashboard.v1+json"
#: The one that is shown when none is named.
FIRST = "tasks"
#: Pixels.
HEIGHT, LOWEST, HIGHEST = 480, 120, 4000


class Dashboard:
    """A dashboard as an output: JupyterLab shows it, other front ends say how to open it.

    Parameters
    ----------
    facts : dict
        ``name`` and ``height`` in pixels, and if they were chosen ``theme`` and ``endpoint``.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def __repr__(self) -> str:
        name = self.facts["name"]
        return (
            f"Dashboard {name!r}: JupyterLab shows it here with the extension of funcx-lab. "
            f"Elsewhere, `funcx-lab dashboard` prints its address; `--open` opens it in a browser."
        )

    def _repr_html_(self) -> str:
        return block(
            f"<div>Dashboard <strong>{html.escape(self.facts['name'])}</strong>: JupyterLab shows it here "
            "with the extension of funcx-lab. Elsewhere, <code>funcx-lab dashboard</code> prints its "
            "address; <code>--open</code> opens it in a browser.</div>"
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": repr(self), "text/html": self._repr_html_()}
        return {**bundle, DASHBOARD_MIME: self.facts} if is_jupyterlab() else bundle


def _arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", default=FIRST, help=f"which one; {FIRST} by default")
    add("--list", action="store_true", help="list the dashboards there are")
    add("--endpoint", metavar="ENDPOINT", help="show one endpoint only, by name or id")
    add("--theme", choices=("light", "dark"), help="colours; those of JupyterLab by default")
    add("--height", type=int, default=HEIGHT, metavar="PIXELS", help=f"{HEIGHT} by default")


def _run(notebook: Notebook, options: argparse.Namespace) -> Dashboard | Table:
    if not LOWEST <= options.height <= HIGHEST:
        raise UsageError(f"%funcx dashboard: --height is {LOWEST} to {HIGHEST} pixels.")
    titles = _titles(notebook)
    if options.list:
        return Table("Dashboards", ("name", "what it shows"), titles.items())
    if options.name not in titles:
        raise UsageError(f"%funcx dashboard: no dashboard {options.name!r}. There are: {', '.join(titles)}")
    facts: dict[str, Any] = {"name": options.name, "height": options.height}
    if options.theme:
        facts["theme"] = options.theme
    if options.endpoint:
        facts["endpoint"] = _endpoint_id(notebook, options.endpoint)
    return Dashboard(facts)


def _titles(notebook: Notebook) -> dict[str, str]:
    """Ask the hub service which dashboards it has; names to titles."""
    try:
        answer = notebook.client().connection.transport.json("GET", "/dash/list")
    except NotFound:
        raise UsageError(
            "%funcx dashboard: this hub service has no dashboards; they come with funcx-lab[lab] there. "
            "%funcx tasks, %funcx status and funcx_lab.watch(...) show how things are."
        ) from None
    return {str(each["name"]): str(each["title"]) for each in answer["dashboards"]}


def _endpoint_id(notebook: Notebook, word: str) -> str:
    found = [
        each for each in notebook.client().get_endpoints() if word in (each["name"], each["endpoint_id"])
    ]
    if not found:
        raise EndpointNotFound(
            f"There is no endpoint {word!r}, or it is not yours; %funcx endpoints lists yours."
        )
    return str(found[0]["endpoint_id"])


COMMANDS = (Command("dashboard", "Show a live dashboard of the hub service here.", _arguments, _run),)
