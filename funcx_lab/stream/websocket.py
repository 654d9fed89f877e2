"""One WebSocket to a hub service, over a socket of its own, never blocking once it is open."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from funcx_lab.config import Service
from funcx_lab.errors import (
    FuncxLabError,
    MalformedMessage,
    NotAuthenticated,
    ServiceUnreachable,
    TransportError,
    VersionMismatch,
    error_from_document,
)
from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import FRAME_LIMIT
from funcx_lab.protocol.stream import ClientMessage, client_codec

PATH = "/v3/stream"
#: How the two sides name their version at the upgrade.
VERSION_HEADER = "X-Funcx-Lab-Protocol"
CONNECT_TIMEOUT_S = 10.0
#: Messages are made until this many bytes wait for the socket.
HIGH_WATER = 1024 * 1024
_BLOCK = 256 * 1024
#: What a proxy answers when the service is down; any other answer without our words is the proxy's own.
_GATEWAY_TROUBLE = (429, 502, 503, 504)


class WebSocket:
    """An open WebSocket of binary messages.

    Parameters
    ----------
    service : Service
        Where to and with which token.

    Raises
    ------
    TransportError
        If there is no connection; another try may succeed.
    ServiceError, VersionMismatch
        If the service says no.
    """

    #: It is good until it breaks.
    ended = False

    def __init__(self, service: Service) -> None:
        parts = urlsplit(service.url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        self._url = f"{scheme}://{parts.netloc}{parts.path}{PATH}"
        self._protocol = ClientProtocol(parse_uri(self._url), max_size=FRAME_LIMIT)
        self._output = bytearray()
        self._message = bytearray()
        # One for all: a block of this size would be mapped and unmapped at each reading.
        self._input = memoryview(bytearray(_BLOCK))
        self._ended = False
        port = parts.port or _PORTS[parts.scheme]
        try:
            self._socket = _connect(parts.hostname or "", port, secure=scheme == "wss")
        except OSError as err:
            raise ServiceUnreachable(f"No stream to {service.url}: {err}.") from err
        try:
            self._shake_hands(service.token)
        except OSError as err:
            raise TransportError(f"No stream to {service.url}: {err}.") from err

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._socket.fileno()

    @property
    def waiting(self) -> int:
        """How many bytes wait for room in the socket."""
        return len(self._output)

    @property
    def takes_more(self) -> bool:
        """Whether another message is to be made now; what waits for the socket is enough if not."""
        return len(self._output) < HIGH_WATER

    def send(self, message: ClientMessage) -> None:
        """Queue a message; `flush` sends it."""
        self._protocol.send_binary(client_codec.encode(message))
        self._gather()

    def ping(self) -> None:
        """Queue a ping; any answer shows that the other side lives."""
        self._protocol.send_ping(b"")
        self._gather()

    def flush(self) -> None:
        """Write as much as the socket takes.

        Raises
        ------
        TransportError
            If the connection is gone.
        """
        while self._output:
            try:
                sent = self._socket.send(memoryview(self._output)[:_BLOCK])
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return
            except OSError as err:
                raise TransportError(f"{self._url}: the connection broke: {err}.") from err
            del self._output[:sent]

    def receive(self) -> tuple[list[bytes], bool]:
        """Return the messages that have arrived, and whether anything at all has.

        Raises
        ------
        TransportError
            If the connection is closed or gone.
        NotAuthenticated
            If the service closed it because the token no longer counts.
        """
        heard = self._ended or self._read()
        messages = []
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and (message := self._assemble(event)) is not None:
                messages.append(message)
        self._gather()
        if not messages and self._protocol.state is not State.OPEN:
            raise self._closed()
        return messages, heard

    def close(self) -> None:
        """Say good-bye if that needs no waiting, and close the socket."""
        with contextlib.suppress(OSError, FuncxLabError):
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1001)
                self._gather()
                self.flush()
        self._socket.close()

    def abandon(self) -> None:
        """Drop a descriptor that a fork copied, without a word to the other side."""
        with contextlib.suppress(OSError):
            socket.close(self._socket.detach())

    def _read(self) -> bool:
        """Feed what the socket holds to the protocol; a TLS socket may hold more than the poll shows."""
        heard = False
        while True:
            try:
                size = self._socket.recv_into(self._input)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return heard
            except OSError as err:
                raise TransportError(f"{self._url}: the connection broke: {err}.") from err
            if not size:
                self._ended = True
                self._protocol.receive_eof()
                return True
            heard = True
            self._protocol.receive_data(bytes(self._input[:size]))
            if size < _BLOCK and not isinstance(self._socket, ssl.SSLSocket):
                return True

    def _assemble(self, frame: Frame) -> bytes | None:
        """Return a whole message, or None for control frames and parts."""
        if frame.opcode is Opcode.TEXT:
            raise MalformedMessage(f"{self._url} sent text; the stream is binary.")
        if frame.opcode not in (Opcode.BINARY, Opcode.CONT):
            return None
        if frame.fin and not self._message:
            return bytes(frame.data)
        self._message += frame.data
        if len(self._message) > FRAME_LIMIT:
            raise MalformedMessage(f"{self._url} sent a message over {FRAME_LIMIT} bytes.")
        if not frame.fin:
            return None
        message, self._message = bytes(self._message), bytearray()
        return message

    def _gather(self) -> None:
        for data in self._protocol.data_to_send():
            self._output += data

    def _closed(self) -> FuncxLabError:
        close = self._protocol.close_rcvd
        if close is None:
            return TransportError(f"{self._url}: the connection broke.")
        cls = _CLOSE_CODES.get(close.code, TransportError)
        return cls(f"{self._url} was closed by the hub service ({close.code} {close.reason}).")

    def _shake_hands(self, token: str) -> None:
        request = self._protocol.connect()
        request.headers["Authorization"] = f"Bearer {token}"
        request.headers[VERSION_HEADER] = str(PROTOCOL_VERSION)
        self._protocol.send_request(request)
        for data in self._protocol.data_to_send():
            self._socket.sendall(data)
        while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
            data = self._socket.recv(_BLOCK)
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
        if (trouble := self._protocol.handshake_exc) is not None:
            self._socket.close()
            raise _refusal(self._url, trouble) from trouble
        # events_received would also hand out frames that came with the answer: keep them for `receive`.
        self._protocol.events[:] = [
            event for event in self._protocol.events if not isinstance(event, Response)
        ]
        self._socket.setblocking(False)


_PORTS = {"http": 80, "https": 443}
#: 1008 is "policy": the token was revoked. The others say that it did not understand us.
_CLOSE_CODES: dict[int, Callable[[str], FuncxLabError]] = {
    1002: VersionMismatch,
    1003: VersionMismatch,
    1007: VersionMismatch,
    1008: NotAuthenticated,
}


def _connect(host: str, port: int, *, secure: bool) -> socket.socket:
    connection = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not secure:
        return connection
    return ssl.create_default_context().wrap_socket(connection, server_hostname=host)


def _refusal(url: str, trouble: BaseException) -> FuncxLabError:
    """Return the error for a refused upgrade: the service's own words if it has any."""
    if not isinstance(trouble, InvalidStatus):
        return TransportError(f"{url} did not answer as a WebSocket: {trouble}.")
    document = _document(trouble.response.body)
    status = trouble.response.status_code
    if "code" in document:
        return error_from_document(document)
    details = {} if status in _GATEWAY_TROUBLE else {"upgrade_status": status}
    return TransportError(f"{url} refused the stream with HTTP status {status}.", details=details)


def _document(body: bytes | bytearray) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
