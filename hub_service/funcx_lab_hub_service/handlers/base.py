"""What every handler shares: who asks, from where, with which body, and how errors are told."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import tornado.httputil
import tornado.web

from funcx_lab.errors import (
    FuncxLabError,
    InvalidRequest,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    PayloadTooLarge,
    ServiceError,
    ServiceUnavailable,
    TooManyRequests,
)
from funcx_lab_hub_service.access import check_scope
from funcx_lab_hub_service.auth.pages import session_of
from funcx_lab_hub_service.auth.principals import READ, SUBMIT

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.handlers.services import Services

logger = logging.getLogger(__name__)

#: A refused request's body is read and dropped up to this many bytes.
DROPPED_LIMIT = 64 * 1024 * 1024

#: Free values are taken, and shown where JSON cannot say them, down to so many levels; keys so long.
_DEPTH, _SHORT = 32, 80

T = TypeVar("T")


class Guard(tornado.web.RequestHandler):
    """Lets in who shows a good token at an address of ours, and words every error."""

    #: routes that need no token say so here
    public = False
    #: routes that an agent may use with its own token say so here
    for_agents = False
    #: routes that a browser may use with its session's cookie say so here
    for_pages = False
    #: what JupyterHub must have granted to who reads, and to who does anything else
    read_scope, write_scope = READ, SUBMIT
    principal: Principal
    #: what the client showed, unless the route is public
    token = ""
    #: whether the answer is known to be an error, so that the body is dropped
    refused = False
    #: whether the connection closes behind the answer, for there is more to come on it
    hangs_up = False

    @property
    def services(self) -> Services:
        """The rules, set by the composition root."""
        return self.application.settings["services"]  # type: ignore[no-any-return]  # tornado's settings are untyped

    def prepare(self) -> Awaitable[None] | None:
        """Check address and token before anything of the body is kept."""
        try:
            asking = self._ask_hub()
        except FuncxLabError as err:
            self.refuse(self.turned_away(err))
            return None
        if asking is not None:
            return self._admit_after(asking)
        self._try_to_admit()
        return None

    def _ask_hub(self) -> Awaitable[None] | None:
        """Begin to ask JupyterHub whose token this is, if that is not known."""
        if self.public or self.services.hub is None:
            return None
        try:
            return self.services.tokens.renew(self.shown_token())
        except (NotAuthenticated, NotAuthorized):
            return None  # in its turn, `admit` says so

    async def _admit_after(self, asking: Awaitable[None]) -> None:
        """Let JupyterHub say who this is; others have their turn meanwhile."""
        await asking
        self._try_to_admit()

    def _try_to_admit(self) -> None:
        try:
            self.admit()
        except FuncxLabError as err:
            self.refuse(self.turned_away(err))

    def shown_token(self) -> str:
        """Return the token of the header or, where pages are served, the one behind the session's cookie.

        Raises
        ------
        NotAuthenticated
            If there is none.
        """
        if self.for_pages and "Authorization" not in self.request.headers:
            session = session_of(self.services, self.request)
            if session is None:
                raise NotAuthenticated("Log in first, or send the header `Authorization: Bearer <token>`.")
            return session.token
        return _bearer(self.request.headers)

    def turned_away(self, error: FuncxLabError) -> FuncxLabError:
        """Write down who is not let in, and return what to answer."""
        what = f"{self.request.method} {self.request.path}"
        return self.services.gate.turn_away(error, str(self.request.remote_ip), what)

    def admit(self) -> None:
        """Check who asks.

        Raises
        ------
        NotAuthenticated, NotAuthorized, TooManyRequests, ServiceUnavailable
            If this may not go on.
        """
        if self.request.headers.get("Host", "").lower() not in self.services.hosts:
            raise NotAuthorized(
                "This hub service is not served under that host name; add it with --public-host."
            )
        self.services.gate.check_open()
        if not self.public:
            self.token = self.shown_token()
            self.principal = self.services.tokens.verify(self.token)
            if self.principal.kind == "endpoint" and not self.for_agents:
                raise NotAuthorized("An agent's token does not open this route.")
            self.services.gate.check_rate(self.principal)
            reads = self.request.method in ("GET", "HEAD")
            check_scope(self.principal, self.read_scope if reads else self.write_scope)

    def refuse(self, error: FuncxLabError) -> None:
        """Tell the error behind the body, or at once if that is too long or of unknown length.

        Who still sends while we answer and close would see a reset connection instead of the answer.
        """
        headers = self.request.headers
        if "Transfer-Encoding" in headers or (announced_length(headers) or 0) > DROPPED_LIMIT:
            self.hangs_up = True
            raise error
        self.refused = True

        def tell(*_path: str) -> None:
            raise error

        setattr(self, str(self.request.method).lower(), tell)

    def set_default_headers(self) -> None:
        """Answer in JSON, for programs only."""
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    def answer(self, document: Any, status: int = 200) -> None:
        """Send a JSON document."""
        self.set_status(status)
        self.finish(as_json(document))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Turn what was raised into the one error body."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        document = error_document(error, status_code)
        self.set_status(document["http_status_code"])
        if document["http_status_code"] == NotAuthenticated.status:
            self.set_header("WWW-Authenticate", "Bearer")
        if document["http_status_code"] in (TooManyRequests.status, ServiceUnavailable.status):
            self.set_header("Retry-After", _retry_after(document["details"]))
        if self.hangs_up:
            self.set_header("Connection", "close")
        self.finish(msgspec.json.encode(document))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log what is not the client's fault."""
        if isinstance(value, tornado.web.HTTPError):
            return
        if isinstance(value, FuncxLabError) and type(value) is not ServiceError:
            level = logging.DEBUG if value.status < ServiceError.status else logging.WARNING
            logger.log(level, "%s %s: %s", self.request.method, self.request.path, value)
            return
        logger.error(
            "%s %s failed",
            self.request.method,
            self.request.path,
            exc_info=(typ, value, tb),  # type: ignore[arg-type]  # tornado's optional triple
        )


def error_document(error: BaseException | None, status: int = 500) -> dict[str, Any]:
    """Return the error body for anything that was raised; what is ours to fix tells nothing."""
    if isinstance(error, FuncxLabError):
        return error.as_document()
    if isinstance(error, tornado.web.HTTPError) and status < ServiceError.status:
        known = NotFound() if status == NotFound.status else InvalidRequest(f"{error.reason or error}")
        return known.as_document() | {"http_status_code": status}
    return ServiceError().as_document()


def as_json(document: Any) -> bytes:
    """Return a document as JSON; of what JSON cannot say only what it is."""
    try:
        return msgspec.json.encode(document)
    except (TypeError, RecursionError):
        return msgspec.json.encode(_sayable(document))


def _sayable(value: Any, depth: int = _DEPTH) -> Any:
    """Return ``value`` without what JSON cannot say: an agent reports what it likes, and is shown."""
    if isinstance(value, dict) and depth:
        keys = (key if isinstance(key, str) else repr(key)[:_SHORT] for key in value)
        return dict(zip(keys, (_sayable(each, depth - 1) for each in value.values()), strict=True))
    if isinstance(value, list | tuple) and depth:
        return [_sayable(each, depth - 1) for each in value]
    if value is None or isinstance(value, str | int | float | bytes):
        return value
    return f"({type(value).__name__})"


def check_depth(name: str, value: Any, levels: int = _DEPTH) -> None:
    """Refuse a free value that is nested deeper than anybody's code should have to walk.

    Raises
    ------
    InvalidRequest
        If there are more than ``levels`` levels.
    """
    if not isinstance(value, dict | list):
        return
    if not levels:
        raise InvalidRequest(f"{name}: values may be nested {_DEPTH} levels deep, this one is deeper.")
    for each in value.values() if isinstance(value, dict) else value:
        check_depth(name, each, levels - 1)


def _retry_after(details: dict[str, Any]) -> str:
    """Return whole seconds for the header, never too few."""
    wait_s = details.get("retry_after_s", 1.0)
    return str(max(1, math.ceil(wait_s)) if isinstance(wait_s, int | float) else 1)


def announced_length(headers: tornado.httputil.HTTPHeaders) -> int | None:
    """Return the ``Content-Length`` if there is a good one."""
    text = headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _bearer(headers: tornado.httputil.HTTPHeaders) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() not in ("bearer", "token") or not token:  # JupyterHub's clients say `token`
        raise NotAuthenticated("This route needs the header `Authorization: Bearer <token>`.")
    return token.strip()


@tornado.web.stream_request_body
class Handler(Guard):
    """A REST route: the body is gathered up to the limit, and only after the token was checked."""

    @property
    def body_limit(self) -> int:
        """Bytes that a body may have."""
        return self.services.config.body_limit

    def prepare(self) -> Awaitable[None] | None:
        """Make room for the body, once it is clear who asks."""
        self.services.gate.busy.add(self)
        self._chunks: list[bytes] = []
        self._received = 0
        return super().prepare()

    def on_finish(self) -> None:
        """Take note that the answer is on its way."""
        self.services.gate.busy.discard(self)

    def on_connection_close(self) -> None:
        """Take note that nobody waits for an answer."""
        self.services.gate.busy.discard(self)

    def admit(self) -> None:
        """Check the announced length too."""
        super().admit()
        self._check_size(announced_length(self.request.headers) or 0)

    def _check_size(self, size: int) -> None:
        if size > self.body_limit:
            raise PayloadTooLarge(
                f"The request's body has {size} bytes; the limit is {self.body_limit}. Send large arguments "
                "as objects (FuncXClient and Executor do that by themselves), or fewer tasks at once.",
                details={"size": size, "limit": self.body_limit},
            )

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Gather the body; what is over the limit is read and dropped, so that the answer arrives."""
        self._received += len(chunk)
        if self._received <= self.body_limit and not self.refused:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()
        return None

    def raw_body(self) -> bytes:
        """Return the body as it came.

        Raises
        ------
        PayloadTooLarge
            If it is over the limit.
        """
        self._check_size(self._received)
        return b"".join(self._chunks)

    def body(self, kind: type[T]) -> T:
        """Return the JSON body as a ``kind``.

        Raises
        ------
        InvalidRequest
            If it is not JSON, or a field is missing, unknown or of the wrong type.
        PayloadTooLarge
            If it is over the limit.
        """
        body = self.raw_body()
        media_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise InvalidRequest(f"The body must be application/json, not {media_type or 'of no type'!r}.")
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, RecursionError) as err:
            raise InvalidRequest(f"The body was refused: {err}") from err

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Return a query argument as a number between ``low`` and ``high``.

        Raises
        ------
        InvalidRequest
            If it is none or outside.
        """
        text = self.get_query_argument(name, "")
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise InvalidRequest(f"{name}={text[:40]!r} must be a number from {low:g} to {high:g}.")
        return value


class NoRoute(Handler):
    """Any path that is not a route."""

    def admit(self) -> None:
        """Ask for the token first, then say that there is nothing."""
        super().admit()
        raise NotFound(f"There is no route {self.request.path[:200]}.")
