"""The forwarder's ZeroMQ socket: CURVE, and who may connect decided by public key.

Read on the loop's own poller rather than through zmq.asyncio: half the latency. ZeroMQ's descriptor
is edge-triggered, so every wake-up drains, and every send looks again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import zmq
from zmq.utils import z85

from funcx_lab.errors import ServiceStartError
from funcx_lab.protocol.messages import FRAME_LIMIT
from funcx_lab_hub_service.forwarder.connections import Connections
from funcx_lab_hub_service.forwarder.doorkeeper import HANDSHAKE_S
from funcx_lab_hub_service.listening import connection_limit

log = logging.getLogger(__name__)

#: Called with the connection, the sender's public key (Z85) and one frame.
OnFrame = Callable[[bytes, str, memoryview], None]

_ZAP = "inproc://zeromq.zap.01"
_HANDSHAKE_MS = int(1000 * HANDSHAKE_S)
_PING_MS, _SILENCE_MS = 5000, 15000
_HIGH_WATER = 10_000
#: Refused connections are logged once in so many seconds.
_LOG_S = 10.0
#: Frames read before the loop gets its turn.
_BURST = 200
# pyzmq's flags are enums, whose & and | are slow enough to show.
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)
_FIRST_PART, _LAST_PART = int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.NOBLOCK)


class AgentSocket:
    """A ROUTER that only enrolled agents can talk to.

    Parameters
    ----------
    secret_key : bytes
        CURVE secret key of the hub service (Z85).
    is_enrolled : callable
        Whether an agent with this public key (Z85) may connect.
    on_frame : callable
        Takes every frame.
    on_fatal : callable
        Called when the socket cannot be read any more.
    on_refused : callable
        Called with the address of each connection that showed no good key.
    """

    def __init__(
        self,
        secret_key: bytes,
        is_enrolled: Callable[[str], bool],
        on_frame: OnFrame,
        on_fatal: Callable[[BaseException], None],
        on_refused: Callable[[str], None],
    ) -> None:
        self._is_enrolled = is_enrolled
        self._on_frame, self._on_fatal, self._on_refused = on_frame, on_fatal, on_refused
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._zap = self._context.socket(zmq.REP)
        self._router = self._context.socket(zmq.ROUTER)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections = Connections(self._router, connection_limit())
        self._refused, self._logged = 0, 0.0
        #: frames that were not exactly one message
        self.malformed = 0
        for option, value in (
            (zmq.CURVE_SERVER, 1),
            (zmq.CURVE_SECRETKEY, secret_key),
            (zmq.ZAP_DOMAIN, b"funcx-lab"),
            (zmq.MAXMSGSIZE, FRAME_LIMIT),
            (zmq.HANDSHAKE_IVL, _HANDSHAKE_MS),
            (zmq.HEARTBEAT_IVL, _PING_MS),
            (zmq.HEARTBEAT_TIMEOUT, _SILENCE_MS),
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.SNDHWM, _HIGH_WATER),
            (zmq.RCVHWM, _HIGH_WATER),
            (zmq.LINGER, 200),
        ):
            self._router.setsockopt(option, value)

    def open(self, host: str, port: int, last_port: int) -> int:
        """Listen on ``port``, or if that is 0 on ``last_port`` when it is free, else on any; return it.

        Raises
        ------
        ServiceStartError
            If the address cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self._zap.bind(_ZAP)
        self._loop.add_reader(_number(self._zap, zmq.FD), self._on_zap)
        self._connections.watch()
        bound = self._bind(host, port, last_port)
        self._loop.add_reader(_number(self._router, zmq.FD), self._on_readable)
        self._loop.call_soon(self._on_readable)
        return bound

    def _bind(self, host: str, port: int, last_port: int) -> int:
        if ":" in host:
            self._router.setsockopt(zmq.IPV6, 1)
            host = f"[{host}]"
        for candidate in dict.fromkeys((port or last_port, port)):
            try:
                self._router.bind(f"tcp://{host}:{candidate or '*'}")
            except zmq.ZMQError as error:
                if candidate != port:
                    continue
                raise ServiceStartError(
                    f"The forwarder cannot listen on {host} port {port}: {error.strerror}. "
                    "Choose another port, or 0 for any that is free."
                ) from error
            break
        address = self._router.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(address, bytes)  # noqa: S101  # pyzmq says so; for the type checker
        return int(address.rstrip(b"\0").rpartition(b":")[2])

    def close(self) -> None:
        """Stop listening and hang up."""
        self._connections.close()
        for socket in (self._router, self._zap):
            if self._loop is not None:
                self._loop.remove_reader(_number(socket, zmq.FD))
            socket.close()
        self._context.term()

    def send(self, peer: bytes, data: bytes) -> bool:
        """Send one frame; False when the connection is gone or does not drain."""
        try:
            self._router.send(peer, _FIRST_PART)
            self._router.send(data, _LAST_PART)
        except (zmq.Again, zmq.ZMQError) as error:
            log.info("A connection takes nothing any more: %s", error)
            return False
        finally:
            self._look_again()
        return True

    def cut(self, key: str) -> None:
        """Close the connections of this key; it may dial again and is judged anew."""
        self._connections.cut_key(key)

    # --- reading ------------------------------------------------------------------------------------

    def _look_again(self) -> None:
        if self._loop is not None and _is_readable(self._router):
            self._loop.call_soon(self._on_readable)

    def _on_readable(self) -> None:
        try:
            for _ in range(_BURST):
                if self._router.closed or not _is_readable(self._router):
                    return
                self._read()
            self._look_again()
        except Exception as error:
            self._on_fatal(error)

    def _read(self) -> None:
        try:
            frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return
        if len(frames) != 2:
            self.malformed += 1
            return
        peer, frame = frames[0].bytes, frames[1]
        key = frame.get("User-Id")
        assert isinstance(key, str)  # noqa: S101  # ZAP has set it for every connection
        if peer not in self._connections.peers:
            self._connections.spoke(peer, key, int(frame.get(zmq.SRCFD)))
        self._on_frame(peer, key, frame.buffer)

    def _on_zap(self) -> None:
        try:
            while not self._zap.closed and _is_readable(self._zap):
                self._zap.send_multipart(self._judge(self._zap.recv_multipart()))
        except Exception as error:
            self._on_fatal(error)

    def _judge(self, request: list[bytes]) -> tuple[bytes, ...]:
        """Return ZAP's answer: the public key becomes the User-Id of each message."""
        version, request_id, _domain, address, _identity, mechanism, *credentials = request
        key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" and credentials else ""
        if key and self._is_enrolled(key):
            return version, request_id, b"200", b"OK", key.encode(), b""
        self._note_refused(address.decode(errors="replace"))
        return version, request_id, b"400", b"unknown key", b"", b""

    def _note_refused(self, address: str) -> None:
        self._refused += 1
        self._on_refused(address)
        now = time.monotonic()
        if now - self._logged >= _LOG_S:
            log.warning("Connections with an unknown key: %d, the last from %s", self._refused, address)
            self._refused, self._logged = 0, now


def _number(socket: zmq.Socket[bytes], option: int) -> int:
    return int(socket.getsockopt(option))


def _is_readable(socket: zmq.Socket[bytes]) -> bool:
    return bool(_number(socket, _EVENTS) & _POLLIN)
