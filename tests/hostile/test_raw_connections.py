"""The forwarder's port before anybody has shown a key: garbage, half handshakes, huge announcements."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from funcx_lab.protocol.messages import Heartbeat, Outcome, ResultItem, Results
from funcx_lab_hub_service.forwarder.doorkeeper import FROM_ONE

MIB = 1024 * 1024
SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
HOSTILE = 2000


def greeting(mechanism: bytes = b"CURVE", *, version: bytes = b"\x03\x01", as_server: int = 0) -> bytes:
    """Return the 64 bytes with which ZMTP begins."""
    return SIGNATURE + version + mechanism.ljust(20, b"\0") + bytes([as_server]) + bytes(31)


def command(name: bytes, data: bytes) -> bytes:
    body = bytes([len(name)]) + name + data
    if len(body) < 256:
        return b"\x04" + bytes([len(body)]) + body
    return b"\x06" + struct.pack(">Q", len(body)) + body


ANNOUNCED = b"\x06" + struct.pack(">Q", 10**9)
HELLO = command(b"HELLO", b"\x01\x00" + bytes(72) + bytes(32) + bytes(8) + bytes(80))


def openings(seed: int) -> Iterator[bytes]:
    """Yield what hostile connections send first; the same for the same seed."""
    chance = random.Random(seed)
    kinds: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: chance.randbytes(chance.randrange(1, 300)),
        lambda: greeting()[: chance.randrange(1, 64)],
        greeting,
        lambda: greeting(b"NULL") + command(b"READY", b"\x0bSocket-Type\0\0\0\x06DEALER"),
        lambda: greeting(b"PLAIN") + command(b"HELLO", b"\x05admin\x05admin"),
        lambda: greeting(b"GSSAPI"),
        lambda: greeting(version=b"\x01\x00"),
        lambda: greeting(as_server=1) + command(b"WELCOME", bytes(160)),
        lambda: greeting() + HELLO,
        lambda: greeting() + HELLO * 50,
        lambda: greeting() + command(b"INITIATE", chance.randbytes(400)),
        lambda: greeting() + command(b"MESSAGE", chance.randbytes(100)),
        lambda: greeting() + ANNOUNCED + bytes(1000),
        lambda: greeting() + b"\x02" + struct.pack(">Q", 2**63 - 1),
        lambda: greeting() + b"\x07" + struct.pack(">Q", 2**64 - 1),
        lambda: greeting() + chance.randbytes(200),
        lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500),
        lambda: b"\x80\x05\x95" + chance.randbytes(60),
    ]
    while True:
        yield chance.choice(kinds)()


class Heart:
    """A legitimate agent: it sends and waits for an answer again and again, and keeps the times."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self.times: list[float] = []
        self._stop = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._beat)
        self._thread.start()

    def _beat(self) -> None:
        number = 0
        while not self._stop.wait(0.02):
            number += 1
            began = time.monotonic()
            name = f"00000000-0000-4000-8000-{number:012d}"
            session = self._agent.session
            self._agent.send(Heartbeat(session, {"credit": 5}))
            # Of a task that nobody knows: it is judged by the writer, and answered.
            self._agent.send(Results(session, [ResultItem(name, number, name, Outcome(True))]))
            if self._agent.told(10) is None:
                self.times.append(10.0)
                return
            self.times.append(time.monotonic() - began)
            self._answered.set()

    def stop(self) -> float:
        """Return the time within which 99 of 100 answers came, of one at least."""
        self._answered.wait(20)
        self._stop.set()
        self._thread.join()
        return sorted(self.times)[int(0.99 * len(self.times))]


@pytest.fixture
def heart(ada: Any, agent_of: Callable[..., Any], hub: Any) -> Iterator[Heart]:
    agent = agent_of(ada, "cluster").connect()
    heart = Heart(agent)
    yield heart
    heart.stop()
    assert hub.lives()


@pytest.fixture
def dial(hub: Any) -> Iterator[Callable[[bytes], socket.socket | None]]:
    """Connect to the forwarder and send something; None if it did not take the connection."""
    with contextlib.ExitStack() as stack:

        def connect(first: bytes) -> socket.socket | None:
            try:
                connection = stack.enter_context(socket.create_connection(hub.forwarder, timeout=5))
                connection.sendall(first)
            except OSError:
                return None
            return connection

        yield connect


def open_still(connections: list[socket.socket]) -> int:
    """Return how many the service has not hung up on."""
    count = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            while connection.recv(65536):
                pass
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count


def test_two_thousand_hostile_connections(hub: Any, heart: Heart, dial: Any, until: Any) -> None:
    before = hub.rss
    opening = openings(7)
    for _ in range(HOSTILE // 50):
        connections = [dial(next(opening)) for _ in range(50)]
        for connection in connections:
            if connection is not None:
                connection.close()
    assert heart.stop() < 8.0
    assert hub.rss - before < 64 * MIB
    until(lambda: hub.process.num_fds() < 100, text="connections that were hung up on stay open")


def test_two_hundred_announce_a_gigabyte(hub: Any, heart: Heart, dial: Any, until: Any) -> None:
    before, room = hub.rss, hub.process.memory_info().vms
    connections = [one for _ in range(200) if (one := dial(greeting() + ANNOUNCED + bytes(64)))]
    assert connections
    until(lambda: open_still(connections) == 0, 30, "they are not closed")
    assert heart.stop() < 8.0
    assert hub.rss - before < 64 * MIB
    assert hub.process.memory_info().vms - room < 1024 * MIB


def test_announcements_just_below_the_limit_take_no_memory(
    hub: Any, heart: Heart, dial: Any, until: Any
) -> None:
    """Each makes ZeroMQ reserve what it announces, as address space; strangers are few and soon gone."""
    before, room = hub.rss, hub.process.memory_info().vms
    announced = b"\x06" + struct.pack(">Q", 15 * MIB)
    connections = [one for _ in range(300) if (one := dial(greeting() + announced + bytes(64)))]
    assert len(connections) > FROM_ONE
    # Those over the limit live for a moment; what they reserved is address space, and comes back.
    until(lambda: open_still(connections) <= FROM_ONE, text="more than the limit stay open")
    until(lambda: hub.process.memory_info().vms - room < 3072 * MIB, text="it keeps what they reserved")
    assert hub.rss - before < 64 * MIB
    assert heart.stop() < 8.0


def test_a_thousand_half_open_connections_are_capped(hub: Any, heart: Heart, dial: Any, until: Any) -> None:
    """They neither use up the service's descriptors nor stay."""
    before = hub.process.num_fds()
    connections = [one for _ in range(1000) if (one := dial(greeting()))]
    most = hub.process.num_fds() - before
    assert most < 600, f"{most} descriptors are held by strangers"
    until(lambda: open_still(connections) == 0, 30, "half handshakes stay open")
    assert heart.stop() < 8.0


def test_a_legitimate_agent_comes_in_meanwhile(
    hub: Any, eve: Any, agent_of: Callable[..., Any], dial: Any
) -> None:
    agent = agent_of(eve, "late")
    connections = [one for _ in range(400) if (one := dial(greeting()))]
    assert connections
    began = time.monotonic()
    agent.connect()
    assert time.monotonic() - began < 10
