"""One request to the hub service, and its answer piece by piece: the next is read when the last was taken."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import tornado.util
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

import funcx_lab
from funcx_lab.config import Service
from funcx_lab.errors import ServiceTimeout, ServiceUnreachable

CONNECT_TIMEOUT_S = 10.0
#: For a whole answer; the longest wait that the hub service grants is shorter.
ANSWER_TIMEOUT_S = 300.0
#: Bytes of the largest answer.
ANSWER_LIMIT = 256 * 1024 * 1024
_HEADER_LIMIT = 64 * 1024
_TIMEOUTS = (asyncio.TimeoutError, tornado.util.TimeoutError)


class NotConnected(Exception):
    """Nothing listens there, so nothing was asked."""


class Answer(HTTPMessageDelegate):
    """What the hub service says.

    Parameters
    ----------
    take : callable
        Gets the answer and a piece of its body, and is awaited.

    Attributes
    ----------
    status : int
        0 until it is known.
    is_whole : bool
        Whether all of it came.
    """

    def __init__(self, take: Callable[[Answer, bytes], Awaitable[None]]) -> None:
        self.status, self.is_whole = 0, False
        self.headers = HTTPHeaders()
        self._take = take

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Take note of status and headers."""
        assert isinstance(start_line, ResponseStartLine)  # noqa: S101  # a client's connection gets no other
        self.status, self.headers = start_line.code, headers
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Hand a piece over; the connection waits."""
        return self._take(self, chunk)

    def finish(self) -> None:
        """Take note of the end."""
        self.is_whole = True


def bearer(service: Service) -> dict[str, str]:
    """Return the headers with which the hub service lets this server in."""
    agent = f"funcx-lab-labextension/{funcx_lab.__version__}"
    return {"Authorization": f"Bearer {service.token}", "User-Agent": agent}


async def ask(
    service: Service,
    method: str,
    path: str,
    answer: Answer,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float = ANSWER_TIMEOUT_S,
) -> None:
    """Ask the hub service, and fill ``answer``; redirects are not followed.

    Parameters
    ----------
    path : str
        With its query, relative to the service's URL.
    timeout_s : float
        Seconds for all of it.

    Raises
    ------
    NotConnected
        If nothing listens at the service's address.
    ServiceTimeout, ServiceUnreachable
        If no answer came, or not all of it.
    """
    parts = urlsplit(service.url)
    stream = await _connect(service, min(timeout_s, CONNECT_TIMEOUT_S))
    sent = HTTPHeaders({**(headers or {}), **bearer(service)})
    sent["Host"] = parts.netloc.rpartition("@")[2]
    sent["Connection"] = "close"
    if body or method not in ("GET", "HEAD"):
        sent["Content-Length"] = str(len(body))
    limits = HTTP1ConnectionParameters(
        no_keep_alive=True, max_header_size=_HEADER_LIMIT, max_body_size=ANSWER_LIMIT
    )
    connection = HTTP1Connection(stream, True, limits)
    try:
        await connection.write_headers(
            RequestStartLine(method, f"{parts.path}/{path}", "HTTP/1.1"), sent, body or None
        )
        connection.finish()
        await asyncio.wait_for(asyncio.ensure_future(connection.read_response(answer)), timeout_s)
    except _TIMEOUTS as err:
        raise ServiceTimeout(f"The hub service at {service.url} did not answer in time.") from err
    except StreamClosedError as err:
        raise ServiceUnreachable(f"The hub service at {service.url} hung up.") from err
    finally:
        stream.close()
    if not answer.is_whole:
        raise ServiceUnreachable(f"The hub service at {service.url} hung up in the middle of its answer.")


async def _connect(service: Service, timeout_s: float) -> IOStream:
    parts = urlsplit(service.url)
    secure = parts.scheme == "https"
    client = TCPClient()
    try:
        return await client.connect(
            parts.hostname or "",
            parts.port or (443 if secure else 80),
            ssl_options=ssl.create_default_context() if secure else None,
            timeout=timeout_s,
        )
    except (OSError, *_TIMEOUTS) as err:
        cause = getattr(err, "real_error", None) or err
        raise NotConnected(f"The hub service at {service.url} does not answer: {cause}.") from err
    finally:
        client.close()
