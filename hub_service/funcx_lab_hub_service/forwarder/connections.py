"""The TCP connections below the forwarder's socket: those that are too many, or whose key is void, are cut.

libzmq accepts by itself and tells afterwards, so a connection over the limit lives for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket as tcp
import time
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from funcx_lab_hub_service.forwarder.doorkeeper import Doorkeeper

log = logging.getLogger(__name__)

_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_ACCEPT_FAILED


class Connections:
    """The connections of one listening socket.

    Parameters
    ----------
    router : zmq.Socket
        The socket; not listening yet.
    limit : int
        Connections at most.
    """

    def __init__(self, router: zmq.Socket[bytes], limit: int) -> None:
        self._doorkeeper = Doorkeeper(limit)
        #: remote address and port by descriptor
        self._addresses: dict[int, Any] = {}
        #: by peer: its key and descriptor
        self.peers: dict[bytes, tuple[str, int]] = {}
        #: connections that were cut because they were too many
        self.excess = 0
        name = f"inproc://connections-{id(self)}"
        router.monitor(name, _EVENTS)
        self._router = router
        self._news = router.context.socket(zmq.PAIR)
        self._news.setsockopt(zmq.RCVHWM, 0)  # libzmq's thread must never wait for us
        self._news.connect(name)
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self) -> None:
        """Look at who comes and goes from now on, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(int(self._news.getsockopt(zmq.FD)), self._on_news)
        self._loop.call_soon(self._on_news)

    def close(self) -> None:
        """Look no more."""
        if self._loop is not None:
            self._loop.remove_reader(int(self._news.getsockopt(zmq.FD)))
        self._router.monitor(None, 0)
        self._news.close(0)

    def spoke(self, peer: bytes, key: str, descriptor: int) -> None:
        """Take note of the first frame of a connection."""
        if descriptor not in self._addresses:
            self._remember(descriptor)
        self.peers[peer] = (key, descriptor)
        self._doorkeeper.spoke(descriptor)

    def cut_key(self, key: str) -> None:
        """Close every connection of this key; it may dial again and is judged anew."""
        for peer, (whose, descriptor) in list(self.peers.items()):
            if whose == key:
                del self.peers[peer]
                self._cut(descriptor)

    def _on_news(self) -> None:
        while not self._news.closed and self._news.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            news = parse_monitor_message(self._news.recv_multipart())
            if news["event"] == zmq.EVENT_ACCEPTED:
                self._accepted(news["value"])
            elif news["event"] == zmq.EVENT_DISCONNECTED:
                self._closed(news["value"])
            else:
                log.warning("The forwarder cannot take a connection: %s", os.strerror(news["value"]))

    def _accepted(self, descriptor: int) -> None:
        self._closed(descriptor)  # the number is used again
        if not self._remember(descriptor):
            return
        address = str(self._addresses[descriptor][0])
        victim = self._doorkeeper.accepted(descriptor, address, time.monotonic())
        if victim is not None:
            self.excess += 1
            self._cut(victim)

    def _closed(self, descriptor: int) -> None:
        self._doorkeeper.closed(descriptor)
        self._addresses.pop(descriptor, None)
        for peer in [peer for peer, (_, known) in self.peers.items() if known == descriptor]:
            del self.peers[peer]

    def _remember(self, descriptor: int) -> bool:
        with contextlib.suppress(OSError), _duplicate(descriptor) as connection:
            self._addresses[descriptor] = connection.getpeername()
            return True
        return False

    def _cut(self, descriptor: int) -> None:
        with contextlib.suppress(OSError), _duplicate(descriptor) as connection:
            # The descriptor may belong to a later connection by now.
            if connection.getpeername() == self._addresses.get(descriptor):
                connection.shutdown(tcp.SHUT_RDWR)


def _duplicate(descriptor: int) -> tcp.socket:
    return tcp.socket(fileno=os.dup(descriptor))
