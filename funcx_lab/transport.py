"""HTTP to one hub service: blocking, pooled, every failure a typed error."""

from __future__ import annotations

import itertools
import json as jsonlib
import os
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from funcx_lab.config import Service
from funcx_lab.errors import (
    FuncxLabError,
    MalformedMessage,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    PayloadTooLarge,
    ServiceError,
    ServiceTimeout,
    ServiceUnavailable,
    ServiceUnreachable,
    StoreDamaged,
    TooManyRequests,
    TransportError,
    error_from_document,
)
from funcx_lab.pauses import Pause, asked_pause

if TYPE_CHECKING:
    import urllib3

#: Seconds to wait for a connection, and for each piece of an answer.
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
#: How often a request is sent at most, and how long one waits between.
_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
#: So long (seconds) a request is sent again to a service that is busy or full.
PATIENCE_S = 30.0
_TRY_LATER = (TooManyRequests.status, ServiceUnavailable.status)
_GATEWAY_TROUBLE = (502, 504)
#: What an answer without an error body means (HEAD never has one).
_BY_STATUS: dict[int, type[ServiceError]] = {
    cls.status: cls for cls in (NotAuthenticated, NotAuthorized, NotFound, PayloadTooLarge)
}


class Transport:
    """Requests to one hub service, safe to share between threads.

    Parameters
    ----------
    service : Service
        Where to and with which token.
    timeout : float
        Seconds to wait for each piece of an answer.
    attempts : int
        How often a request is sent at most.

    Attributes
    ----------
    service : Service
        The one in use now; an embedded service that was started again has a new address.
    """

    def __init__(
        self, service: Service, timeout: float = READ_TIMEOUT_S, *, attempts: int = _ATTEMPTS
    ) -> None:
        self.service = service
        self.timeout = timeout
        self.attempts = attempts
        self._pool: urllib3.PoolManager | None = None
        self._lock = threading.Lock()
        _transports.add(self)

    def json(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        repeatable: bool | None = None,
    ) -> Any:
        """Send a request with an optional JSON body and return the JSON answer.

        Parameters
        ----------
        method, path : str
            ``path`` starts with a slash and is relative to the service's URL.
        body : object, optional
            Anything JSON can say.
        query : mapping, optional
            Query arguments; those that are None are left out.
        repeatable : bool, optional
            Whether the request may be sent again when no answer came; by default all but POST.

        Raises
        ------
        ServiceUnreachable, ServiceTimeout
            If no answer came.
        ServiceError
            The subclass that the answer's code stands for.
        """
        if query := {key: value for key, value in (query or {}).items() if value is not None}:
            path = f"{path}?{urlencode(query)}"
        data = None if body is None else jsonlib.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        response = self.request(method, path, data, headers=headers, repeatable=repeatable)
        try:
            return jsonlib.loads(response.data)
        except ValueError as err:
            raise MalformedMessage(f"{self.service.url}{path} did not answer with JSON: {err}.") from err

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request until it is answered and return the answer, whose status is below 400.

        Parameters
        ----------
        body : bytes or iterable of bytes-like, optional
            An iterable must be iterable again.
        stream : bool
            Leave the body unread; the caller reads it and calls ``release_conn``.

        Raises
        ------
        ServiceUnreachable, ServiceTimeout, ServiceError
            As `json`.
        """
        if repeatable is None:
            repeatable = method != "POST"
        pause, patient_until = Pause(_FIRST_PAUSE_S, _LONGEST_PAUSE_S), time.monotonic() + PATIENCE_S
        for attempt in itertools.count(1):
            self._find_embedded()
            try:
                return self._answer(method, path, body, headers or {}, stream)
            except FuncxLabError as err:
                patient = self.attempts > 1 and time.monotonic() < patient_until
                if not _may_repeat(err, repeatable, tries_left=attempt < self.attempts, patient=patient):
                    raise
                time.sleep(pause.next(min(asked_pause(err), _LONGEST_PAUSE_S)))
        raise AssertionError("the loop returns or raises")

    def renew(self) -> Service:
        """Return the service, started again first if it is the embedded one and gone.

        Raises
        ------
        ServiceStartError
            If it does not start.
        """
        if self.service.embedded:
            from funcx_lab.embedded import ensure_service

            self.service = ensure_service()
        return self.service

    def _find_embedded(self) -> None:
        """See that the token goes to the embedded service, not to whoever has its port by now."""
        if self.service.embedded:
            from funcx_lab.embedded import is_current

            if not is_current(self.service):
                self.renew()

    def close(self) -> None:
        """Close the idle connections."""
        if self._pool is not None:
            self._pool.clear()

    def _answer(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], stream: bool
    ) -> urllib3.BaseHTTPResponse:
        response = self._send(method, path, body, headers, stream)
        if response.status < 300:
            return response
        raise _error(response, self.service.url + path)

    def _send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], stream: bool
    ) -> urllib3.BaseHTTPResponse:
        import urllib3.exceptions as trouble

        url = self.service.url + path
        headers = {**headers, "Authorization": f"Bearer {self.service.token}"}
        try:
            # A redirect would carry the token to wherever it points.
            return self._connections().request(
                method,
                url,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=not stream,
            )
        except (trouble.NewConnectionError, trouble.NameResolutionError) as err:
            raise unreachable(url, err) from err
        except trouble.SSLError as err:
            raise TransportError(
                f"{url}: no secure connection ({err}). If your group signs its own certificates, "
                "set SSL_CERT_FILE to their CA's file."
            ) from err
        except trouble.TimeoutError as err:
            raise ServiceTimeout(
                f"{method} {url}: no answer within {self.timeout:g} s. Check the service's load and log, "
                "then try again; what was sent under a task id may be sent again safely."
            ) from err
        except trouble.HTTPError as err:
            raise TransportError(f"{method} {url}: the connection broke ({err}). Try again.") from err

    def _connections(self) -> urllib3.PoolManager:
        with self._lock:
            if self._pool is None:
                import urllib3

                timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=self.timeout)
                self._pool = urllib3.PoolManager(maxsize=8, timeout=timeout)
            return self._pool

    def forget_connections(self) -> None:
        """Start anew in a forked child; the parent's connections are the parent's."""
        self._lock, self._pool = threading.Lock(), None


_transports: weakref.WeakSet[Transport] = weakref.WeakSet()


def _after_fork() -> None:
    for transport in _transports:
        transport.forget_connections()


os.register_at_fork(after_in_child=_after_fork)


def unreachable(url: str, cause: BaseException) -> ServiceUnreachable:
    """Return the error for a service that takes no connection."""
    parts = urlsplit(url)
    return ServiceUnreachable(
        f"The hub service at {parts.scheme}://{parts.netloc} cannot be reached ({cause}). "
        "Check the address and the network; for the local one see `funcx-lab status`."
    )


def _error(response: urllib3.BaseHTTPResponse, url: str) -> FuncxLabError:
    """Return the error that an answer stands for, also when a proxy made it."""
    try:
        document = jsonlib.loads(response.data)
    except ValueError:
        document = None
    details = {"gateway_status": response.status} if response.status in _GATEWAY_TROUBLE else {}
    if (wait := response.headers.get("Retry-After", "")).isdecimal():
        details["retry_after_s"] = int(wait)
    if isinstance(document, dict) and "code" in document:
        error = error_from_document(document)
        error.details = {**details, **error.details}
        return error
    if response.status in (*_TRY_LATER, *_GATEWAY_TROUBLE):
        return ServiceUnavailable(
            f"{url}: something before the hub service answered {response.status}. Try again later.",
            details=details,
        )
    if 300 <= response.status < 400:
        return ServiceError(
            f"{url} redirects to {response.headers.get('Location')}; use that address if you trust it."
        )
    cls = _BY_STATUS.get(response.status, ServiceError)
    return cls(f"{url} answered {response.status} without an error body; is this a hub service's address?")


def _may_repeat(error: FuncxLabError, repeatable: bool, *, tries_left: bool, patient: bool) -> bool:
    """Whether a request that failed is sent again; not if it might have been done and must not be twice."""
    if isinstance(error, StoreDamaged):
        return False
    if isinstance(error, (TooManyRequests, ServiceUnavailable)) and "gateway_status" not in error.details:
        return tries_left or patient  # nothing was done
    if isinstance(error, ServiceUnreachable):
        return tries_left
    broke = isinstance(error, TransportError) or "gateway_status" in error.details
    return repeatable and tries_left and broke
