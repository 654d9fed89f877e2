"""The stream by long poll, for networks whose proxies let no WebSocket through.

One `Poll` is one HTTP request: it says everything that the other side must know, as after any break, and
is answered as soon as there is news. Then another one follows. What is to be said while it only waits
for news ends it early.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from urllib.parse import urlsplit

from funcx_lab.config import Service
from funcx_lab.errors import (
    FuncxLabError,
    NotAuthenticated,
    NotAuthorized,
    TransportError,
    error_from_document,
)
from funcx_lab.protocol.framing import join_frames, split_frames
from funcx_lab.protocol.stream import CancelTasks, ClientMessage, Submit, client_codec

#: So long the service may wait for news, in seconds; shorter than what counts as silence.
WAIT_S = 10.0
#: One request takes no more messages from this many bytes on.
FULL_BYTES = 2 * 1024 * 1024
_TIMEOUT_S = WAIT_S + 20.0
_CONTENT_TYPE = "application/octet-stream"
_BY_STATUS: dict[int, type[FuncxLabError]] = {401: NotAuthenticated, 403: NotAuthorized}


class Poll:
    """One request; a connection that ends with its answer.

    Parameters
    ----------
    service : Service
        Where to and with which token.

    Attributes
    ----------
    ended : bool
        Whether the answer is here, or is not waited for any more.
    """

    #: Nothing waits for the socket: the request's thread writes.
    waiting = 0

    def __init__(self, service: Service) -> None:
        self.ended = False
        self._service = service
        self._frames: list[bytes] = []
        self._nbytes = 0
        self._only_waits = True
        self._connection: http.client.HTTPConnection | None = None
        self._answer: list[memoryview] | FuncxLabError | None = None
        self._ear, self._bell = socket.socketpair()

    @property
    def takes_more(self) -> bool:
        """Whether another message is to be made now."""
        if self._connection is None:
            return self._nbytes < FULL_BYTES
        return self._only_waits and not self.ended

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._ear.fileno()

    def send(self, message: ClientMessage) -> None:
        """Put a message into the request; if that has left, end the wait: the next one says it."""
        if self._connection is not None:
            self.ended = True
            return
        frame = client_codec.encode(message)
        self._frames.append(frame)
        self._nbytes += len(frame)
        self._only_waits = self._only_waits and not isinstance(message, (Submit, CancelTasks))

    def ping(self) -> None:
        """Do nothing: the answer comes soon."""

    def flush(self) -> None:
        """Send the request."""
        if self._connection is None:
            parts = urlsplit(self._service.url)
            self._connection = _connection(parts.scheme, parts.netloc)
            ask = (self._connection, f"{parts.path}/v3/poll?wait={WAIT_S:g}")
            threading.Thread(target=self._ask, args=ask, name="funcx-lab-poll", daemon=True).start()

    def receive(self) -> tuple[list[memoryview], bool]:
        """Return the messages of the answer, and that something was heard.

        Raises
        ------
        TransportError
            If there is no answer.
        ServiceError, VersionMismatch
            If the service says no.
        MalformedMessage
            If the answer cannot be read.
        """
        self.ended = True
        if isinstance(self._answer, FuncxLabError):
            raise self._answer
        return self._answer or [], True

    def close(self) -> None:
        """Wait no longer."""
        self.ended = True
        if self._connection is not None and (connected := self._connection.sock) is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        self._ear.close()
        self._bell.close()

    def abandon(self) -> None:
        """Drop the descriptors that a fork copied, without a word to the other side."""
        connected = self._connection.sock if self._connection is not None else None
        for copied in (connected, self._ear, self._bell):
            if copied is not None:
                with contextlib.suppress(OSError):
                    socket.close(copied.detach())

    # --- in the request's thread ------------------------------------------------------------------

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> None:
        try:
            self._answer = self._exchange(connection, path)
        except FuncxLabError as err:
            self._answer = err
        except (OSError, http.client.HTTPException) as err:
            self._answer = TransportError(f"No answer from {self._service.url}{path}: {err}.")
        finally:
            connection.close()
            with contextlib.suppress(OSError):  # closed meanwhile: nobody waits
                self._bell.send(b"\0")

    def _exchange(self, connection: http.client.HTTPConnection, path: str) -> list[memoryview]:
        headers = {
            "Authorization": f"Bearer {self._service.token}",
            "Content-Type": _CONTENT_TYPE,
        }
        connection.connect()
        if self.ended:
            return []
        connection.request("POST", path, join_frames(self._frames), headers)
        response = connection.getresponse()
        body = response.read()
        # A proxy may answer with a page of its own.
        if response.status == http.HTTPStatus.OK and response.headers.get_content_type() == _CONTENT_TYPE:
            return split_frames(body)
        raise _error(f"{self._service.url}{path}", response.status, body)


def _connection(scheme: str, address: str) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(address, timeout=_TIMEOUT_S, context=context)
    return http.client.HTTPConnection(address, timeout=_TIMEOUT_S)


def _error(url: str, status: int, body: bytes) -> FuncxLabError:
    with contextlib.suppress(ValueError):
        document = json.loads(body)
        if isinstance(document, dict) and "code" in document:
            return error_from_document(document)
    return _BY_STATUS.get(status, TransportError)(f"{url} answered with HTTP status {status}.")
