"""HTTP from the browser to the hub service and back, piece by piece."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import tornado.web
from jupyter_server.auth.decorator import authorized
from tornado.iostream import StreamClosedError

from funcx_lab.config import Service
from funcx_lab.errors import NotAuthenticated, NotFound, ServiceError, ServiceUnreachable, TransportError
from funcx_lab_labextension.asking import Answer, NotConnected, ask
from funcx_lab_labextension.handlers import Handler, tail_of
from funcx_lab_labextension.problems import page_of, with_advice
from funcx_lab_labextension.table import is_dashboard, methods_of, passed_query

#: Bytes of an error that are kept.
ERROR_LIMIT = 1024 * 1024
_UP = ("Accept", "Content-Type", "If-None-Match", "If-Modified-Since")
_DOWN = ("Content-Type", "Content-Length", "Cache-Control", "ETag", "Last-Modified")
_NOT_MODIFIED = 304


class RelayHandler(Handler):
    """Asks the hub service what the browser asked, and passes the answer on while it comes."""

    async def relay(self, path: str) -> None:
        """Answer with what the hub service says at ``path``, which was checked.

        Raises
        ------
        FuncxLabError
            If there is no hub service, or it gives no answer that may be passed on.
        """
        service = await self.finder.service()
        try:
            answer = await self._ask(service, path)
        except NotConnected as err:
            answer = await self._ask_again(service, path, err)
        else:
            if answer.status == NotAuthenticated.status and (moved := await self.finder.again(service)):
                answer = await self._ask(moved, path)
        self._end(answer)

    async def _ask_again(self, stale: Service, path: str, error: NotConnected) -> Answer:
        moved = await self.finder.again(stale)
        if moved is None:
            raise ServiceUnreachable(str(error)) from error
        try:
            return await self._ask(moved, path)
        except NotConnected as err:
            raise ServiceUnreachable(str(err)) from err

    async def _ask(self, service: Service, path: str) -> Answer:
        query = passed_query(self.request.query)
        answer = Answer(self._pass_on)
        self._kept = b""
        try:
            await ask(
                service,
                str(self.request.method),
                f"{path}?{query}" if query else path,
                answer,
                headers={name: self.request.headers[name] for name in _UP if name in self.request.headers},
                body=self.request.body,
            )
        except TransportError:
            if self._headers_written:  # what had begun is cut off, or it would look whole
                self.detach().close()
            raise
        return answer

    async def _pass_on(self, answer: Answer, piece: bytes) -> None:
        if not _is_good(answer):
            self._kept += piece[: max(0, ERROR_LIMIT - len(self._kept))]
            return
        self._begin(answer)
        self.write(piece)
        with contextlib.suppress(StreamClosedError):  # the browser has gone
            await self.flush()

    def _begin(self, answer: Answer) -> None:
        if self._headers_written:
            return
        self.set_status(answer.status)
        self.clear_header("Content-Type")
        for name in _DOWN:
            if name in answer.headers:
                self.set_header(name, answer.headers[name])

    def _end(self, answer: Answer) -> None:
        if _is_good(answer):
            self._begin(answer)
            self.finish()
        elif 300 <= answer.status < 400:
            raise ServiceUnreachable(
                "The hub service's address answers with a redirect, to a login perhaps; that is not followed."
            )
        else:
            self._refuse(answer)

    def _refuse(self, answer: Answer) -> None:
        """Answer with the hub service's own error."""
        try:
            document = json.loads(self._kept)
            if not isinstance(document, dict) or "code" not in document:
                raise ValueError
        except ValueError:
            message = f"The hub service answered {answer.status} without saying why."
            document = ServiceError(message).as_document()
        if retry_after := answer.headers.get("Retry-After"):
            self.set_header("Retry-After", retry_after)
        self.answer(with_advice(document), answer.status)


def _is_good(answer: Answer) -> bool:
    return 200 <= answer.status < 300 or answer.status == _NOT_MODIFIED


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

    def _begin(self, answer: Answer) -> None:
        super()._begin(answer)
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
