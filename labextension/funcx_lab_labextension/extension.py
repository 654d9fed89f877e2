"""Puts the extension's routes into a Jupyter server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tornado.web
from jupyter_server.utils import url_path_join

from funcx_lab_labextension.machine import MachineActionHandler, MachineHandler, MachineServiceHandler
from funcx_lab_labextension.notebooks import NotebooksHandler
from funcx_lab_labextension.relay import ApiHandler, DashboardHandler
from funcx_lab_labextension.service import Finder
from funcx_lab_labextension.sockets import ApiSocket, DashboardSocket
from funcx_lab_labextension.status import StatusHandler

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

_SLASH = "funcx-lab"


def load(server: ServerApp) -> None:
    """Add the routes; nothing is started or asked before a page asks."""
    application: tornado.web.Application = server.web_app
    application.add_handlers(".*$", routes(application.settings["base_url"]))


def routes(base_url: str) -> list[tuple[Any, ...]]:
    """Return the routes below ``base_url``, with the finder that they share."""
    shared = {"finder": Finder()}

    def path(tail: str) -> str:
        return str(url_path_join(base_url, _SLASH, tail))

    return [
        (path("status"), StatusHandler, shared),
        (path("machine/endpoints"), MachineHandler, shared),
        (path("machine/endpoints/([^/]+)/(start|stop)"), MachineActionHandler, shared),
        (path("machine/service/start"), MachineServiceHandler, shared),
        (path("notebooks"), NotebooksHandler, shared),
        (path("api/(v3/watch)"), ApiSocket, shared),
        (path("api/(.*)"), ApiHandler, shared),
        (path("dash/(.*/ws|ws)"), DashboardSocket, shared),
        (path("dash/(.*)"), DashboardHandler, shared),
    ]
