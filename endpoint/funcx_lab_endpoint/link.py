"""The agent's connection to the forwarder: a DEALER with CURVE, a new socket for each attempt."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import zmq
from zmq.utils.monitor import recv_monitor_message

from funcx_lab.errors import FuncxLabError, MalformedMessage, NotAuthenticated
from funcx_lab.protocol.messages import (
    FRAME_LIMIT,
    AgentMessage,
    ForwarderMessage,
    agent_codec,
    forwarder_codec,
)

log = logging.getLogger(__name__)

#: A forwarder that does not answer one of ZeroMQ's own heartbeats for this long is given up, so that
#: silence is noticed within 15 s: it may begin just after an answer.
SILENCE_MS = 11_000
PING_MS = 3_000
CONNECT_TIMEOUT_S = 10.0
FIND_TIMEOUT_S = 60.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
#: Messages handled in one turn before results and other sockets get theirs.
TURN_LIMIT = 100

# pyzmq's flags are enums, whose & is slow enough to show.
_EVENTS, _INPUT = int(zmq.EVENTS), int(zmq.POLLIN)
_GONE = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The endpoint's identity: a CURVE key pair in Z85."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the forwarder listens, the key (Z85) it must prove to have, and the one we prove."""

    address: str
    server_key: str
    keys: KeyPair


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The handshake is done; messages may be sent."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection is gone or was never made; another attempt follows after a pause.

    ``unauthorised`` says that the forwarder does not know the endpoint's key.
    """

    reason: str
    unauthorised: bool = False


LinkFact: TypeAlias = LinkUp | LinkDown | ForwarderMessage


def new_key_pair() -> KeyPair:
    """Make a key pair; the secret never leaves this machine."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


class Link:
    """Keeps one authenticated connection to the forwarder, and makes a new one when it is gone.

    Parameters
    ----------
    context : zmq.Context
        Owned by the caller.
    find_target : callable
        Asked before each attempt for a future of the `Target`; whoever completes it wakes the poller.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], find_target: Callable[[], Future[Target]]
    ) -> None:
        self._context = context
        self._find_target = find_target
        self._finding: Future[Target] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._target: Target | None = None
        self._up = False
        self._due: float | None = 0.0
        self._pause = FIRST_PAUSE_S

    def pollables(self) -> Sequence[zmq.Socket[bytes]]:
        """Return the sockets to poll for input; they change with each attempt."""
        return [each for each in (self._socket, self._monitor) if each is not None]

    def next_deadline(self, now: float) -> float:
        """Return the monotonic time at which `poll` wants to be called at the latest."""
        return self._due if self._due is not None else now + CONNECT_TIMEOUT_S

    def poll(self, now: float, ready: Collection[Any] | None = None) -> Iterator[LinkFact]:
        """Yield what happened; starts an attempt when one is due at monotonic ``now``.

        ``ready`` is what of `pollables` is known to have input; None: look at all of them.
        """
        if self._finding is not None and self._finding.done():
            finding, self._finding = self._finding, None
            yield from self._connect(finding, now)
        elif self._due is not None and now >= self._due:
            if self._finding is None and self._socket is None:
                self._finding = self._find_target()
                self._due = now + FIND_TIMEOUT_S
            else:
                yield self._drop("no answer in time", now)
        # Messages come before the news of a lost connection: they are still good.
        if ready is None or self._socket in ready:
            yield from self._messages()
        if ready is None or self._monitor in ready:
            yield from self._events(now)

    def send(self, message: AgentMessage) -> bool:
        """Send a message; False if there is no connection (what matters is sent again in the next one)."""
        if not self._up or self._socket is None:
            return False
        frame = agent_codec.encode(message)
        if len(frame) > FRAME_LIMIT:
            log.error("a %s of %d bytes is over the frame limit", type(message).__name__, len(frame))
            return False
        try:
            self._socket.send(frame, zmq.DONTWAIT, copy=len(frame) < 65536)
        except zmq.Again:
            return False
        return True

    def settle(self) -> None:
        """Take note that the connection is of use; the next pauses are short again."""
        self._pause = FIRST_PAUSE_S

    def reconnect(self, reason: str, now: float) -> LinkDown:
        """Give the connection up; the next attempt follows after a pause."""
        return self._drop(reason, now)

    def close(self, linger_ms: int = 500) -> None:
        """Close; what was sent gets ``linger_ms`` milliseconds to leave."""
        self._close(linger_ms)

    def _connect(self, finding: Future[Target], now: float) -> Iterator[LinkFact]:
        try:
            self._target = finding.result()
        except FuncxLabError as err:
            yield self._drop(err.message, now, unauthorised=isinstance(err, NotAuthenticated))
            return
        socket = self._context.socket(zmq.DEALER)
        socket.curve_publickey = self._target.keys.public.encode()
        socket.curve_secretkey = self._target.keys.secret.encode()
        socket.curve_serverkey = self._target.server_key.encode()
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, FRAME_LIMIT),
            (zmq.RECONNECT_IVL, -1),  # one socket is one attempt
            (zmq.SNDHWM, 0),  # the engine's credit bounds what is under way
            (zmq.RCVHWM, 0),
            (zmq.HEARTBEAT_IVL, PING_MS),
            (zmq.HEARTBEAT_TIMEOUT, SILENCE_MS),
            (zmq.HANDSHAKE_IVL, int(CONNECT_TIMEOUT_S * 1000)),
            (zmq.IPV6, 1),
        ):
            socket.setsockopt(option, value)
        self._monitor = socket.get_monitor_socket(_GONE | _REFUSED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._socket = socket
        self._due = now + CONNECT_TIMEOUT_S
        try:
            socket.connect(self._target.address)
        except zmq.ZMQError as err:
            yield self._drop(f"the address {self._target.address} cannot be used: {err}", now)

    def _messages(self) -> Iterator[LinkFact]:
        for number in range(TURN_LIMIT):
            if self._socket is None or not self._up:
                return
            # The last one is found by asking: an exception costs more.
            if number and not int(self._socket.get(_EVENTS)) & _INPUT:
                return
            try:
                frame = self._socket.recv(zmq.DONTWAIT, copy=True)
            except zmq.Again:
                return
            try:
                message: ForwarderMessage = forwarder_codec.decode(frame)
            except MalformedMessage as err:
                log.warning("%s", err)
                continue
            yield message

    def _events(self, now: float) -> Iterator[LinkFact]:
        while self._monitor is not None:
            try:
                event = recv_monitor_message(self._monitor, zmq.DONTWAIT)
            except zmq.Again:
                return
            kind = int(event["event"])
            if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._up, self._due = True, None
                yield LinkUp()
                yield from self._messages()
            elif kind & _REFUSED:
                yield self._refused(kind, now)
            elif kind & _GONE:
                where = self._target.address if self._target else "the forwarder"
                lost = "the connection was lost" if self._up else f"nobody answers at {where}"
                yield self._drop(lost, now)

    def _refused(self, kind: int, now: float) -> LinkDown:
        if kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return self._drop("the hub service does not know this endpoint's key", now, unauthorised=True)
        return self._drop("the handshake failed: the hub service's key is not the one expected", now)

    def _drop(self, reason: str, now: float, *, unauthorised: bool = False) -> LinkDown:
        self._close(0)
        # Many endpoints lose their hub service at once; the jitter spreads their return.
        self._due = now + self._pause * random.uniform(0.5, 1.0)  # noqa: S311  # not for secrets
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
        return LinkDown(reason, unauthorised)

    def _close(self, linger_ms: int) -> None:
        self._up = False
        self._finding = None
        if self._socket is not None:
            with contextlib.suppress(zmq.ZMQError):
                self._socket.disable_monitor()
            self._socket.close(linger_ms)
        if self._monitor is not None:
            self._monitor.close(0)
        self._socket = self._monitor = None
