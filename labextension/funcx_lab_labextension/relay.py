"""HTTP from the browser to the hub service and back, piece by piece."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import tornado.web
from jupyter_server.auth.decorator import authorized
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

import funcx_lab
from funcx_lab.config import Service
from funcx_lab.errors import NotAuthenticated, NotFound, ServiceError, ServiceTimeout, ServiceUnreachable
from funcx_lab_labextension.handlers import Handler, tail_of
from funcx_lab_labextension.problems import page_of, with_advice
from funcx_lab_labextension.service import Finder
from funcx_lab_labextension.table import is_dashboard, methods_of, passed_query

CONNECT_TIMEOUT_S = 10.0
#: For a whole answer; the longest wait that the hub service grants is shorter.
ANSWER_TIMEOUT_S = 300.0
#: Bytes of the largest answer, and of an error.
ANSWER_LIMIT, ERROR_LIMIT = 256 * 1024 * 1024, 1024 * 1024
_CLIENTS = 64
_UP = ("Accept", "Content-Type", "If-None-Match", "If-Modified-Since")
_DOWN = ("Content-Type", "Content-Length", "Cache-Control", "ETag", "Last-Modified")
_NOT_MODIFIED = 304


def make_client() -> SimpleAsyncHTTPClient:
    """Return what asks the hub service, one for all pages.

    It belongs to the loop that runs, and no other extension can have set it up.
    """
    return SimpleAsyncHTTPClient(force_instance=True, max_clients=_CLIENTS, max_body_size=ANSWER_LIMIT)


def bearer(service: Service) -> dict[str, str]:
    """Return the headers with which the hub service lets this server in."""
    agent = f"funcx-lab-labextension/{funcx_lab.__version__}"
    return {"Authorization": f"Bearer {service.token}", "User-Agent": agent}


class RelayHandler(Handler):
    """Asks the hub service what the browser asked, and passes the answer on while it comes."""

    def initialize(self, finder: Finder, client: Callable[[], SimpleAsyncHTTPClient]) -> None:
        """Make room for an answer."""
        super().initialize(finder, client)
        self._hub_status = 0
        self._hub_headers = HTTPHeaders()
        self._hub_error = b""
        self._gone = False

    async def relay(self, path: str) -> None:
        """Answer with what the hub service says at ``path``, which was checked.

        Raises
        ------
        FuncxLabError
            If there is no hub service, or it gives no answer that may be passed on.
        """
        service = await self.finder.service()
        try:
            response = await self._ask(service, path)
        except ConnectionRefusedError as err:
            response = await self._ask_again(service, path, err)
        else:
            if response.code == NotAuthenticated.status and (moved := await self.finder.again(service)):
                response = await self._ask(moved, path)
        self._end(response)

    async def _ask_again(self, stale: Service, path: str, error: OSError) -> HTTPResponse:
        moved = await self.finder.again(stale)
        if moved is None:
            raise ServiceUnreachable(f"The hub service at {stale.url} does not answer.") from error
        try:
            return await self._ask(moved, path)
        except ConnectionRefusedError as err:
            raise ServiceUnreachable(f"The hub service at {moved.url} does not answer.") from err

    async def _ask(self, service: Service, path: str) -> HTTPResponse:
        query = passed_query(self.request.query)
        headers = {name: self.request.headers[name] for name in _UP if name in self.request.headers}
        self._hub_status, self._hub_headers, self._hub_error = 0, HTTPHeaders(), b""
        request = HTTPRequest(
            f"{service.url}/{path}" + (f"?{query}" if query else ""),
            method=self.request.method or "GET",
            headers=headers | bearer(service),
            body=self.request.body or None,
            allow_nonstandard_methods=True,  # a POST without a body, a DELETE with one
            follow_redirects=False,
            decompress_response=False,
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=ANSWER_TIMEOUT_S,
            header_callback=self._take_header,
            streaming_callback=self._pass_on,
        )
        try:
            return await self.client().fetch(request, raise_error=False)
        except ConnectionRefusedError:
            raise
        except HTTPTimeoutError as err:
            raise self._broken(
                ServiceTimeout(f"The hub service at {service.url} did not answer in time.")
            ) from err
        except (OSError, HTTPClientError) as err:
            raise self._broken(ServiceUnreachable(f"The hub service at {service.url}: {err}.")) from err

    def _broken(self, error: ServiceUnreachable | ServiceTimeout) -> Exception:
        """Return what to raise; an answer that had begun is cut off, or it would look whole."""
        if self._headers_written:
            self.detach().close()
        return error

    def _take_header(self, line: str) -> None:
        if not self._hub_status:
            self._hub_status = int(line.split()[1])
        elif line.strip():
            self._hub_headers.parse_line(line)

    @property
    def _is_good(self) -> bool:
        return 200 <= self._hub_status < 300 or self._hub_status == _NOT_MODIFIED

    async def _pass_on(self, chunk: bytes) -> None:
        if not self._is_good:
            self._hub_error += chunk[: max(0, ERROR_LIMIT - len(self._hub_error))]
        elif not self._gone:
            self._begin()
            self.write(chunk)
            try:
                await self.flush()  # the next piece is read when this one is on its way
            except StreamClosedError:
                self._gone = True

    def _begin(self) -> None:
        if self._headers_written:
            return
        self.set_status(self._hub_status)
        self.clear_header("Content-Type")
        for name in _DOWN:
            if name in self._hub_headers:
                self.set_header(name, self._hub_headers[name])

    def _end(self, response: HTTPResponse) -> None:
        if self._gone:
            return
        if self._is_good:
            self._begin()
            self.finish()
        elif 300 <= response.code < 400:
            raise ServiceUnreachable(
                "The hub service's address answers with a redirect, to a login perhaps; that is not followed."
            )
        else:
            self._refuse(response.code)

    def _refuse(self, status: int) -> None:
        """Answer with the hub service's own error."""
        try:
            document = json.loads(self._hub_error)
            if not isinstance(document, dict) or "code" not in document:
                raise ValueError
        except ValueError:
            document = ServiceError(f"The hub service answered {status} without saying why.").as_document()
        if retry_after := self._hub_headers.get("Retry-After"):
            self.set_header("Retry-After", retry_after)
        self.answer(with_advice(document), status)


class ApiHandler(RelayHandler):
    """``funcx-lab/api/``: the routes of the table, with its methods."""

    @tornado.web.authenticated
    @authorized
    async def get(self, tail: str) -> None:
        """Pass a question on."""
        await self._checked(tail)

    @tornado.web.authenticated
    @authorized
    async def post(self, tail: str) -> None:
        """Pass an order on."""
        await self._checked(tail)

    @tornado.web.authenticated
    @authorized
    async def delete(self, tail: str) -> None:
        """Pass the end of something on."""
        await self._checked(tail)

    async def _checked(self, tail: str) -> None:
        path = tail_of(self, tail)
        methods = methods_of(path)
        if not methods:
            raise NotFound("Pages have no such route.")
        if self.request.method not in methods:
            raise tornado.web.HTTPError(405, f"Pages may only {', '.join(sorted(methods))} here.")
        await self.relay(path)

    def _begin(self) -> None:
        super()._begin()
        if not self._headers_written:  # whatever it says, no browser takes it for a page
            self.set_header("Content-Type", "application/json")


class DashboardHandler(RelayHandler):
    """``funcx-lab/dash/``: the dashboards' pages and their scripts, for frames of our own pages."""

    guards_reading = False  # a page that is opened in a tab of its own comes from nowhere

    @property
    def content_security_policy(self) -> str:
        """Let pages of this server frame the answer."""
        return "frame-ancestors 'self'"

    def answer(self, document: Any, status: int = 200) -> None:
        """Send an error as a page to who expects one."""
        if "text/html" not in self.request.headers.get("Accept", ""):
            super().answer(document, status)
            return
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(page_of(document))

    @tornado.web.authenticated
    @authorized
    async def get(self, tail: str) -> None:
        """Pass the question on."""
        path = tail_of(self, tail)
        if not is_dashboard(path):
            raise NotFound("There is no such dashboard.")
        await self.relay(f"dash/{path}")
