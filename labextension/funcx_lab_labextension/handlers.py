"""What every route of the extension shares: who may ask, and how errors are told."""

from __future__ import annotations

import json
import logging
from types import TracebackType
from typing import Any

import tornado.web
from jupyter_server.base.handlers import JupyterHandler

from funcx_lab.errors import FuncxLabError, InvalidRequest, PayloadTooLarge
from funcx_lab_labextension.problems import body_of
from funcx_lab_labextension.service import Finder

#: What an authorizer of the Jupyter server decides about.
RESOURCE = "funcx-lab"
#: Bytes that a browser may send in one request: ids and names, never data.
BODY_LIMIT = 1024 * 1024


class Handler(JupyterHandler):
    """A route for pages of this Jupyter server; answers in JSON.

    It does not count as activity: an idle server is culled though its pages look on.
    """

    auth_resource = RESOURCE
    #: Whether a GET, too, must show that it comes from a page of ours.
    guards_reading = True

    def initialize(self, finder: Finder) -> None:
        """Take what finds the hub service."""
        self.finder = finder

    async def prepare(self, **options: Any) -> None:
        """Refuse other origins and large bodies."""
        await super().prepare(**options)
        if not self.check_origin():
            raise tornado.web.HTTPError(403, "This comes from a page of another origin.")
        if self.guards_reading and self.request.method in ("GET", "HEAD") and self.current_user:
            self.check_xsrf_cookie()  # Jupyter itself checks the other methods
        if len(self.request.body) > BODY_LIMIT:
            raise PayloadTooLarge(f"A request may have {BODY_LIMIT} bytes here.")

    @property
    def content_security_policy(self) -> str:
        """Let a browser that shows an answer as a page load nothing."""
        return "default-src 'none'; frame-ancestors 'none'"

    def get_login_url(self) -> str:
        """Refuse, where a page would be sent to the login."""
        raise tornado.web.HTTPError(403, "Log in to the Jupyter server first.")

    def answer(self, document: Any, status: int = 200) -> None:
        """Send a JSON document."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(document))

    def document(self) -> dict[str, Any]:
        """Return the body, a JSON object.

        Raises
        ------
        InvalidRequest
            If it is none.
        """
        try:
            document = json.loads(self.request.body)
        except (ValueError, RecursionError) as err:
            raise InvalidRequest(f"The body is not JSON: {err}.") from err
        if not isinstance(document, dict):
            raise InvalidRequest("The body must be a JSON object.")
        return document

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tell any error in the form of the hub service's own."""
        status, document = body_of(kwargs.get("exc_info", (None, None, None))[1], status_code)
        self.answer(document, status)

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log the errors that we expect in one line."""
        if isinstance(value, FuncxLabError):
            self.log.log(logging.INFO, "funcx-lab: %s %s: %s", self.request.method, self.request.path, value)
        else:
            super().log_exception(typ, value, tb)


def tail_of(handler: JupyterHandler, tail: str) -> str:
    """Return the rest of a path if the browser sent it without escapes, else one that is nowhere allowed."""
    return tail if handler.request.path.endswith(f"/{tail}") else "%"
