"""The agent's end of the wire to its serving sessions: one ROUTER, CURVE, who may dial in.

With encryption every session has a key pair of its own that travels in its arguments; ZAP lets in
exactly the opened ones, and a connection belongs to the session whose key it used, never to the one
it names. Without encryption the token of the hello decides.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import zmq
from zmq.utils import z85

from funcx_lab.errors import ConfigError, MalformedMessage
from funcx_lab.protocol.messages import FRAME_LIMIT, MESSAGE_TARGET
from funcx_lab_endpoint.worker import messages as m
from funcx_lab_endpoint.worker.channel import Channel
from funcx_lab_endpoint.worker.wire import HEARTBEAT_IVL_MS, HEARTBEAT_LIMIT_MS

logger = logging.getLogger(__name__)

#: Seconds between heartbeats to the sessions.
BEAT_S = 5.0
#: Frames read before the agent's other business gets its turn.
_FRAMES_A_TURN = 256
#: Unacknowledged frames from a session that are acknowledged without waiting for a heartbeat.
_OWED_FRAMES = 256
_EVENTS, _INPUT = int(zmq.EVENTS), int(zmq.POLLIN)
#: Combined once; it is slow.
_FIRST_PART = int(zmq.SNDMORE | zmq.NOBLOCK)
_ZAP_ADDRESS = "inproc://zeromq.zap.01"


@dataclass(slots=True, eq=False)
class Peer:
    """A session that was admitted; ``worker`` is None until it said hello."""

    sid: str
    token: str
    public_key: bytes
    heard: float
    route: bytes = b""
    worker: dict[str, Any] | None = None
    #: whether its connection stands, and bytes of memory it said it uses
    is_connected: bool = False
    memory: int = 0
    channel: Channel = field(default_factory=Channel)


class SideChannel:
    """Listens for sessions and moves numbered frames to and from them.

    Parameters
    ----------
    interface : str
        Address to bind, ``"127.0.0.1"`` or ``"*"``.
    addresses : sequence of str
        Addresses under which workers may reach it.
    ports : (int, int) or None
        Range to bind in; any free port if None.
    encrypted : bool
        Use CURVE.

    Raises
    ------
    ConfigError
        If no port of the range is free.
    """

    def __init__(
        self, interface: str, addresses: Sequence[str], ports: tuple[int, int] | None, *, encrypted: bool
    ) -> None:
        self.peers: dict[str, Peer] = {}
        self._by_route: dict[bytes, Peer] = {}
        self._by_key: dict[bytes, str] = {}
        self._next_beat = 0.0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._zap = self._context.socket(zmq.REP)
        self._router = self._context.socket(zmq.ROUTER)
        self._server_key = self._secure() if encrypted else b""
        port = self._bind(interface, ports)
        self._addresses = [f"tcp://{_bracketed(address)}:{port}" for address in addresses]

    @property
    def sockets(self) -> list[Any]:
        """What to poll for input."""
        return [self._router, self._zap]

    def admit(self, now: float, last_words: Path, **given: Any) -> m.Arguments:
        """Let one more session in and return what it is to be started with.

        Parameters
        ----------
        now : float
            Monotonic seconds.
        last_words : Path
            Directory for the file of that name.
        **given
            The same for every session, see `Arguments`.
        """
        sid = secrets.token_hex(8)
        public, secret = zmq.curve_keypair() if self._server_key else (b"", b"")
        peer = Peer(sid, secrets.token_hex(16), z85.decode(public) if public else b"", now)
        self.peers[sid] = peer
        if public:
            self._by_key[peer.public_key] = sid
        return m.Arguments(
            sid=sid,
            addresses=self._addresses,
            token=peer.token,
            last_words=str(last_words / sid),
            server_key=self._server_key.decode(),
            public_key=public.decode(),
            secret_key=secret.decode(),
            **given,
        )

    def expel(self, sid: str) -> None:
        """Take nothing more from a session."""
        peer = self.peers.pop(sid, None)
        if peer is not None:
            self._by_route.pop(peer.route, None)
            self._by_key.pop(peer.public_key, None)

    def send(self, sid: str, items: list[m.DownItem], now: float) -> None:
        """Send ``items`` in order; they arrive once, also across a reconnect."""
        peer = self.peers.get(sid)
        if peer is None:
            return
        for part in _split(items):
            number = peer.channel.next_number()
            frame = m.down_codec.encode(m.Down(number, peer.channel.have, part))
            peer.channel.keep(frame, now)
            self._put(peer.route, frame)

    def receive(self, now: float, ready: Collection[Any] | None = None) -> list[tuple[Peer, list[m.UpItem]]]:
        """Return what sessions report, in order of arrival; a first hello comes with its peer.

        Parameters
        ----------
        now : float
            Monotonic seconds.
        ready : collection, optional
            What of `sockets` is known to have input; both are looked at when left out.
        """
        if ready is None or self._zap in ready:
            self._answer_zap()
        reports: list[tuple[Peer, list[m.UpItem]]] = []
        if ready is not None and self._router not in ready:
            return reports
        for _ in range(_FRAMES_A_TURN):
            if not int(self._router.get(_EVENTS)) & _INPUT:
                break
            route = self._router.recv()
            frame = self._router.recv(copy=False)
            try:
                up = m.up_codec.decode(frame.buffer)
            except MalformedMessage as err:
                logger.warning("A session sent a frame that was refused: %s", err)
                continue
            peer = self._by_route.get(route)
            if up.number == 0:
                peer = self._greet(route, frame, up, now)
            if peer is None:
                continue
            peer.heard = now
            items = self._accept(peer, up, now)
            if items:
                reports.append((peer, items))
        return reports

    def beat(self, now: float) -> float:
        """Send heartbeats that are due and repeat what was lost; return when to come again."""
        if now >= self._next_beat:
            self._next_beat = now + BEAT_S
            for peer in self.peers.values():
                self.say_have(peer)
                for frame in peer.channel.repeat(now):
                    self._put(peer.route, frame)
        return self._next_beat

    def close(self) -> None:
        """Stop listening."""
        self._router.close(linger=0)
        self._zap.close(linger=0)
        self._context.term()

    def _secure(self) -> bytes:
        self._zap.bind(_ZAP_ADDRESS)
        public, secret = zmq.curve_keypair()
        self._router.curve_server = True
        self._router.curve_secretkey = secret
        self._router.setsockopt_string(zmq.ZAP_DOMAIN, "sessions")
        return public

    def _bind(self, interface: str, ports: tuple[int, int] | None) -> int:
        router = self._router
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.SNDHWM, 0)
        router.setsockopt(zmq.RCVHWM, 0)
        router.setsockopt(zmq.MAXMSGSIZE, FRAME_LIMIT)
        router.setsockopt(zmq.IPV6, 1)
        router.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_IVL_MS)
        router.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_LIMIT_MS)
        low, high = ports or (49152, 65536)
        try:
            return int(router.bind_to_random_port(f"tcp://{interface}", low, high, max_tries=200))
        except (zmq.ZMQError, zmq.ZMQBindError) as err:
            self.close()
            raise ConfigError(
                f"No port from {low} to {high - 1} is free on {interface} for the workers to dial ({err}); "
                "widen worker_port_range in the endpoint's config."
            ) from err

    def _answer_zap(self) -> None:
        while self._server_key and self._zap.poll(0):
            version, request, _domain, _address, _identity, _mechanism, *keys = self._zap.recv_multipart()
            sid = self._by_key.get(keys[0]) if keys else None
            verdict = (b"400", b"unknown key", b"") if sid is None else (b"200", b"OK", sid.encode())
            self._zap.send_multipart([version, request, *verdict, b""])

    def _greet(self, route: bytes, frame: zmq.Frame, up: m.Up, now: float) -> Peer | None:
        """Bind a connection to its session; a session that was expelled is told to end."""
        peer = self.peers.get(up.sid)
        hello = next((item for item in up.items if isinstance(item, m.Hello)), None)
        if peer is None or hello is None or not self._is_proven(peer, frame, hello):
            self._put(route, m.down_codec.encode(m.Down(0, 0, [m.Close()])))
            return None
        if peer.route != route:
            self._by_route.pop(peer.route, None)
            peer.route = route
            self._by_route[route] = peer
            self.say_have(peer)
            for kept in peer.channel.repeat(now, reconnected=True):
                self._put(route, kept)
        peer.is_connected, peer.memory = True, up.memory
        return peer

    def _is_proven(self, peer: Peer, frame: zmq.Frame, hello: m.Hello) -> bool:
        if hello.version != m.SESSION_VERSION:
            logger.error(
                "A worker speaks session version %s, this agent %s: install the same funcx-lab there.",
                hello.version,
                m.SESSION_VERSION,
            )
            return False
        if self._server_key and frame.get("User-Id") != peer.sid:
            return False
        return secrets.compare_digest(hello.token, peer.token)

    def _accept(self, peer: Peer, up: m.Up, now: float) -> list[m.UpItem]:
        if not peer.channel.accept(up.number, up.have, now):
            self.say_have(peer)
            return []
        for frame in peer.channel.repeat(now) if up.number == 0 else ():
            self._put(peer.route, frame)
        if peer.channel.owes >= _OWED_FRAMES or (up.number == 0 and peer.channel.owes):
            self.say_have(peer)
        return up.items

    def say_have(self, peer: Peer) -> None:
        """Send a heartbeat, which acknowledges what has come and tells whether the connection stands."""
        peer.is_connected = self._put(peer.route, m.down_codec.encode(m.Down(0, peer.channel.beat(), [])))

    def _put(self, route: bytes, frame: bytes) -> bool:
        if not route:
            return False
        try:
            self._router.send(route, _FIRST_PART)
            self._router.send(frame, zmq.NOBLOCK)
        except zmq.ZMQError:
            return False  # not connected now; what counts is kept and repeated
        return True


def _split(items: list[m.DownItem]) -> list[list[m.DownItem]]:
    """Cut items into frames that stay well below the frame limit."""
    parts: list[list[m.DownItem]] = [[]]
    size = 0
    for item in items:
        weight = len(item.payload) if isinstance(item, m.Run) else 0
        weight = len(item.function.body) if isinstance(item, m.Learn) else weight
        if size + weight > MESSAGE_TARGET and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += weight
    return parts


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def as_mapping(arguments: m.Arguments) -> dict[str, Any]:
    """Return a session's arguments as plain values, for JSON and for pickling without our classes."""
    return msgspec.structs.asdict(arguments)
