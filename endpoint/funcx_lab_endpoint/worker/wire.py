"""A session's end of the side channel: its socket, numbers, heartbeats."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import zmq

from funcx_lab.errors import MalformedMessage
from funcx_lab.protocol.environment import Environment
from funcx_lab_endpoint.worker import messages as m
from funcx_lab_endpoint.worker.channel import Channel
from funcx_lab_endpoint.worker.place import resident_bytes

#: Seconds between heartbeats; how long the last frames may take to leave.
BEAT_S = 2.0
LINGER_S = 5.0
#: ZeroMQ's own heartbeats, milliseconds: they break the connection of a process that is dead or
#: stopped, but not of one whose C code keeps Python from running.
HEARTBEAT_IVL_MS = 3000
HEARTBEAT_LIMIT_MS = 12000
#: The kernel repeats what finds no answer ever more slowly; a new attempt is made after so long.
CONNECT_LIMIT_MS = 4000
HANDSHAKE_LIMIT_MS = 8000
#: Unacknowledged frames from the agent that are acknowledged without waiting for a heartbeat.
_OWED_FRAMES = 64


class Wire:
    """Dials the agent and moves numbered frames; used by one thread at a time.

    Parameters
    ----------
    arguments : Arguments
        Where to dial and as whom.
    facts : dict
        Told in every heartbeat.
    survey : callable
        Returns this worker's environment when it has changed; told with a heartbeat.
    """

    def __init__(
        self, arguments: m.Arguments, facts: dict[str, Any], survey: Callable[[], Environment | None]
    ) -> None:
        self._sid, self._gone_s = arguments.sid, arguments.agent_gone_s
        self._items: list[m.UpItem] = [m.Hello(m.SESSION_VERSION, arguments.token, facts)]
        self._survey = survey
        self._channel = Channel()
        #: the agent takes nothing more from this session
        self.is_fenced = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._heard = time.monotonic()
        self.socket = self._dial(arguments)
        self.next_beat = time.monotonic()

    @property
    def heard(self) -> float:
        """When the agent was last heard (monotonic seconds)."""
        return self._heard

    def is_agent_gone(self, now: float) -> bool:
        """Whether nothing was heard for so long that nobody will come back."""
        return now - self._heard > self._gone_s

    def send(self, items: list[m.UpItem]) -> None:
        """Send ``items`` in one frame; they arrive once, also across a reconnect."""
        number = self._channel.next_number()
        frame = m.up_codec.encode(m.Up(number, self._channel.have, items))
        self._channel.keep(frame, time.monotonic())
        self._put(frame)

    def beat(self, now: float) -> None:
        """Say that this session lives, what it has, and again what the agent lacks."""
        self.next_beat = now + BEAT_S
        self._put(self._hello())
        for frame in self._channel.repeat(now):
            self._put(frame)
        if (environment := self._survey()) is not None:
            self.send([m.Surveyed(environment)])

    def wait(self) -> list[m.DownItem]:
        """Wait for one frame, at most a heartbeat; a blocking receive is the cheapest poll."""
        try:
            return self._open(self.socket.recv())
        except zmq.Again:
            return []

    def read(self) -> list[m.DownItem]:
        """Return what has come."""
        items: list[m.DownItem] = []
        while True:
            try:
                items += self._open(self.socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                return items

    def linger(self) -> None:
        """Wait until the agent has everything, or it takes too long."""
        deadline = time.monotonic() + LINGER_S
        self.beat(time.monotonic())
        while not (self._channel.is_clear or self.is_fenced or time.monotonic() > deadline):
            if self.socket.poll(200):
                self.read()
            else:
                self.beat(time.monotonic())

    def close(self) -> None:
        """Hang up."""
        self.socket.close(linger=0)
        self._context.term()

    def _put(self, frame: bytes) -> None:
        try:
            self.socket.send(frame)
        except zmq.Again:
            # There is no limit to what may wait, so ZeroMQ has given the connection up: our key was refused.
            self.is_fenced = True

    def _hello(self) -> bytes:
        return m.up_codec.encode(m.Up(0, self._channel.beat(), self._items, self._sid, resident_bytes()))

    def _open(self, frame: bytes) -> list[m.DownItem]:
        try:
            down = m.down_codec.decode(frame)
        except MalformedMessage:
            return []  # what was lost with it is repeated
        self._heard = now = time.monotonic()
        self.is_fenced = self.is_fenced or (down.number == 0 and bool(down.items))
        if not self._channel.accept(down.number, down.have, now):
            self.beat(now)
            return []
        if self._channel.owes >= _OWED_FRAMES:
            self.beat(now)
        return down.items

    def _dial(self, arguments: m.Arguments) -> zmq.Socket[bytes]:
        """Connect to the first of the addresses that answers a hello."""
        sockets = [_connect(self._context, arguments, address) for address in arguments.addresses]
        poller = zmq.Poller()
        for candidate in sockets:
            candidate.send(self._hello())
            poller.register(candidate, zmq.POLLIN)
        ready: dict[Any, int] = {}
        parent = os.getppid()
        while not ready and not self.is_agent_gone(time.monotonic()) and os.getppid() == parent:
            ready = dict(poller.poll(int(BEAT_S * 1000)))
        chosen = next((candidate for candidate in sockets if candidate in ready), sockets[0])
        for candidate in sockets:
            if candidate is not chosen:
                candidate.close(linger=0)
        if len(sockets) > 1:
            chosen.send(self._hello())  # the agent answers where it was greeted last
        chosen.setsockopt(zmq.RCVTIMEO, int(BEAT_S * 1000))
        return chosen


def _connect(
    context: zmq.Context[zmq.Socket[bytes]], arguments: m.Arguments, address: str
) -> zmq.Socket[bytes]:
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt(zmq.SNDHWM, 0)
    dealer.setsockopt(zmq.SNDTIMEO, 0)
    dealer.setsockopt(zmq.RCVHWM, 0)
    dealer.setsockopt(zmq.IPV6, 1)
    dealer.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_IVL_MS)
    dealer.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_LIMIT_MS)
    dealer.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
    dealer.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_LIMIT_MS)
    dealer.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_LIMIT_MS)
    if arguments.server_key:
        dealer.curve_serverkey = arguments.server_key.encode()
        dealer.curve_publickey = arguments.public_key.encode()
        dealer.curve_secretkey = arguments.secret_key.encode()
    dealer.connect(address)
    return dealer
