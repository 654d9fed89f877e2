"""Bokeh's side: an application for each dashboard, whose documents are pages of one user's."""

from __future__ import annotations

import logging
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

from bokeh.application.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.resources import Resources
from bokeh.server.auth_provider import AuthProvider
from bokeh.server.tornado import BokehTornado
from bokeh.util.token import get_token_payload
from tornado.ioloop import IOLoop

from funcx_lab_hub_service.dashboards.bytes_moved import BytesMoved
from funcx_lab_hub_service.dashboards.document import Page
from funcx_lab_hub_service.dashboards.failures import Failures
from funcx_lab_hub_service.dashboards.latency import Latency
from funcx_lab_hub_service.dashboards.queue import Queue
from funcx_lab_hub_service.dashboards.scaling import Scaling
from funcx_lab_hub_service.dashboards.task_stream import TaskStream
from funcx_lab_hub_service.dashboards.throughput import Throughput

if TYPE_CHECKING:
    from bokeh.document import Document
    from tornado.httputil import HTTPServerRequest
    from tornado.web import RequestHandler

    from funcx_lab_hub_service.dashboards.component import Component
    from funcx_lab_hub_service.dashboards.mount import Dashboards

COMPONENTS: tuple[type[Component], ...] = (
    *(TaskStream, Queue, Scaling, Latency),
    *(Throughput, Failures, BytesMoved),
)
#: Under this name the signed token of a session says whose it is.
_USER = "funcx_user"
#: A page that went away has this long to come back, milliseconds; looked for so often.
_UNUSED_MS, _LOOK_MS = 15_000, 5_000
_PING_MS = 20_000
#: What a page sends is small.
_MESSAGE_LIMIT = 256 * 1024


#: Pages come and go: that is nothing to write down.
logging.getLogger("bokeh.server").setLevel(logging.WARNING)
logging.getLogger("bokeh.server.views.ws").setLevel(logging.ERROR)
logger = logging.getLogger(__name__)


def _log(handler: RequestHandler) -> None:
    request = handler.request
    logger.debug("%s %s %s", handler.get_status(), request.method, request.path)


class _Entered(AuthProvider):
    """Lets in what came by one of our entrances, and nothing else."""

    def __init__(self, dashboards: Dashboards) -> None:
        self._dashboards = dashboards
        super().__init__()

    @property
    def get_user(self) -> Any:
        """Not asked; see `get_user_async`."""
        return None

    @property
    def get_user_async(self) -> Any:
        """Return what tells who is behind a request."""

        async def enter(handler: Any) -> str | None:
            return self._dashboards.enter(handler)

        return enter

    @property
    def login_url(self) -> str | None:
        """Nobody comes so far without a login."""
        return "/"

    @property
    def get_login_url(self) -> Any:
        """See `login_url`."""
        return None

    @property
    def login_handler(self) -> Any:
        """None: the service has its own."""
        return None

    @property
    def logout_url(self) -> str | None:
        """None."""
        return None

    @property
    def logout_handler(self) -> Any:
        """None."""
        return None


class _Dashboard(Application):
    """One dashboard; its sessions' tokens say whose they are."""

    def __init__(self, dashboards: Dashboards, component: type[Component]) -> None:
        self._dashboards = dashboards
        super().__init__(FunctionHandler(partial(_fill, dashboards, component)))

    def process_request(self, request: HTTPServerRequest) -> dict[str, Any]:
        """Return what goes into the signed token."""
        entrance = self._dashboards.entrances[request]
        return {_USER: entrance.principal.user}


def _fill(dashboards: Dashboards, component: type[Component], document: Document) -> None:
    context: Any = document.session_context  # typed without what a server's context has
    user = context.token_payload[_USER]
    arguments = context.request.arguments if context.request is not None else {}
    Page(dashboards, component, user, arguments).fill(document)


class BokehApplication(BokehTornado):
    """All dashboards, below ``/dash`` of the service.

    No header and no cookie of a request goes into a session's token, which the browser holds: the proxy
    of a Jupyter server adds the user's own token to them.
    """

    def __init__(self, dashboards: Dashboards) -> None:
        applications = {f"/{each.name}": _Dashboard(dashboards, each) for each in COMPONENTS}
        super().__init__(
            applications,
            prefix=f"{dashboards.prefix}/dash",
            auth_provider=_Entered(dashboards),
            extra_websocket_origins=["*"],  # the entrance has checked it
            secret_key=secrets.token_bytes(32),
            sign_sessions=True,
            include_headers=[],
            include_cookies=[],
            use_index=False,
            ico_path="none",
            keep_alive_milliseconds=_PING_MS,
            check_unused_sessions_milliseconds=_LOOK_MS,
            unused_session_lifetime_milliseconds=_UNUSED_MS,
            websocket_max_message_size_bytes=_MESSAGE_LIMIT,
            log_function=_log,
        )
        self.initialize(IOLoop.current())
        self.start()

    def resources(self, absolute_url: str | bool | None = None) -> Resources:
        """Return nothing to load: the page names its own files, relative to itself."""
        return Resources(mode="server", root_url="./", components=[])

    @staticmethod
    def owner_of(token: str) -> str | None:
        """Return whose session a token says it is for; None if it says nothing."""
        try:
            user = get_token_payload(token).get(_USER)
        except Exception:  # whatever a stranger sends there
            return None
        return user if isinstance(user, str) else None
