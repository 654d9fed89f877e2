"""The link against a real ROUTER with CURVE and ZAP."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import zmq

from funcx_lab.errors import NotAuthenticated, ServiceUnreachable
from funcx_lab.protocol.messages import Bye, Heartbeat, Hello, ResultAck, Welcome
from funcx_lab_endpoint import link as link_module
from funcx_lab_endpoint.link import KeyPair, Link, LinkDown, LinkUp, Target, new_key_pair


class Bench:
    def __init__(self, forwarder: Any, keys: KeyPair) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.keys = keys
        self.forwarder = forwarder
        self.problem: Exception | None = None
        self.server_key = forwarder.public_key
        self.through = forwarder.address
        self.link = Link(self.context, self.find)
        self.now = 0.0
        self.facts: list[Any] = []

    def find(self) -> Future[Target]:
        found: Future[Target] = Future()
        if self.problem:
            found.set_exception(self.problem)
        else:
            found.set_result(Target(self.through, self.server_key, self.keys))
        return found

    def step(self) -> list[Any]:
        self.now += 0.01
        self.facts += self.link.poll(self.now)
        return self.facts

    def kinds(self) -> list[type]:
        return [type(each) for each in self.step()]


@pytest.fixture
def bench(hub: Any) -> Iterator[Bench]:
    keys = new_key_pair()
    hub.keys[keys.public] = "id-1"
    made = Bench(hub.forwarder, keys)
    yield made
    made.link.close(0)
    made.context.term()


def test_messages_go_both_ways(bench: Bench, eventually: Callable[..., Any]) -> None:
    eventually(lambda: LinkUp in bench.kinds())
    assert bench.link.send(Hello(1, "n", "i", "s"))
    eventually(lambda: Welcome(1, "n") in bench.step())
    assert bench.forwarder.messages == [Hello(1, "n", "i", "s")]


def test_nothing_is_sent_without_a_connection(bench: Bench) -> None:
    assert not bench.link.send(Heartbeat(1, {}))


def test_a_key_the_service_does_not_know_is_told_apart(bench: Bench, eventually: Callable[..., Any]) -> None:
    bench.keys = new_key_pair()
    eventually(lambda: LinkDown in bench.kinds())
    (down,) = [each for each in bench.facts if isinstance(each, LinkDown)]
    assert down.unauthorised
    assert "does not know this endpoint's key" in down.reason


def test_a_service_with_another_key_gets_no_connection(
    bench: Bench, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "CONNECT_TIMEOUT_S", 0.3)
    bench.server_key = new_key_pair().public
    eventually(lambda: LinkDown in bench.kinds())
    assert LinkUp not in bench.kinds()
    assert bench.forwarder.messages == []


def test_a_lost_service_is_found_again_with_a_new_socket(
    bench: Bench, eventually: Callable[..., Any]
) -> None:
    eventually(lambda: LinkUp in bench.kinds())
    bench.link.send(Hello(1, "n1", "i", "s"))
    eventually(lambda: Welcome(1, "n1") in bench.step())
    bench.forwarder.pause()
    eventually(lambda: LinkDown in bench.kinds())
    assert not bench.link.send(Heartbeat(1, {}))
    bench.facts.clear()
    bench.forwarder.resume()
    eventually(lambda: LinkUp in bench.kinds())
    bench.link.send(Hello(1, "n2", "i", "s"))
    eventually(lambda: Welcome(2, "n2") in bench.step())


def test_attempts_wait_longer_each_time_up_to_five_seconds(bench: Bench) -> None:
    bench.problem = ServiceUnreachable("gone")
    pauses = []
    for _ in range(10):
        bench.facts.clear()
        start = bench.now
        while not bench.facts:
            bench.now = max(bench.now, bench.link.next_deadline(bench.now))
            bench.facts += bench.link.poll(bench.now)  # asks where to
            bench.facts += bench.link.poll(bench.now)  # hears that nobody knows
        pauses.append(bench.now - start)
    assert bench.facts == [LinkDown("gone")]
    assert all(
        low / 2 <= pause <= low for pause, low in zip(pauses[1:6], (0.1, 0.2, 0.4, 0.8, 1.6), strict=True)
    )
    assert all(2.5 <= pause <= 5.0 for pause in pauses[7:])


def test_a_connection_without_a_session_does_not_shorten_the_pauses(
    bench: Bench, eventually: Callable[..., Any]
) -> None:
    pauses = []
    for _ in range(4):
        bench.facts.clear()
        eventually(lambda: LinkUp in bench.kinds())
        bench.link.reconnect("refused", bench.now)
        pauses.append(bench.link.next_deadline(bench.now) - bench.now)
    assert pauses[3] > 2 * pauses[0]
    bench.facts.clear()
    eventually(lambda: LinkUp in bench.kinds())
    bench.link.settle()
    bench.link.reconnect("lost", bench.now)
    assert bench.link.next_deadline(bench.now) - bench.now <= 0.1


class Relay:
    """A TCP relay that may fall silent without closing anything, as a network does that was cut."""

    def __init__(self, port: int) -> None:
        self.silent = False
        self._port = port
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing:
            for ready in select.select([self._listener, *self._ends], [], [], 0.02)[0]:
                if ready is self._listener:
                    near = self._listener.accept()[0]
                    far = socket.create_connection(("127.0.0.1", self._port))
                    self._ends.update({near: far, far: near})
                elif not (data := ready.recv(65536)):
                    del self._ends[ready]
                    ready.close()
                elif not self.silent:
                    self._ends[ready].sendall(data)

    def close(self) -> None:
        self._closing = True
        self._thread.join()
        for each in (self._listener, *self._ends):
            each.close()


def test_a_silent_network_is_noticed(
    bench: Bench, eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert link_module.PING_MS + link_module.SILENCE_MS < 15_000
    monkeypatch.setattr(link_module, "PING_MS", 50)
    monkeypatch.setattr(link_module, "SILENCE_MS", 200)
    relay = Relay(bench.forwarder.port)
    try:
        bench.through = relay.address
        eventually(lambda: LinkUp in bench.kinds())
        relay.silent = True
        eventually(lambda: LinkDown in bench.kinds())
        assert bench.facts[-1] == LinkDown("the connection was lost")
    finally:
        bench.link.close(0)
        relay.close()


def test_a_rejected_token_counts_as_unauthorised(bench: Bench) -> None:
    bench.problem = NotAuthenticated("revoked")
    assert (bench.step(), bench.step())[1] == [LinkDown("revoked", unauthorised=True)]


def test_garbage_does_not_end_the_link(bench: Bench, eventually: Callable[..., Any]) -> None:
    eventually(lambda: LinkUp in bench.kinds())
    bench.link.send(Hello(1, "n", "i", "s"))
    eventually(lambda: Welcome(1, "n") in bench.step())
    bench.forwarder._to_send.append((bench.forwarder._peer, b"\xff\x00garbage"))
    bench.forwarder.send(ResultAck(1, []))
    eventually(lambda: ResultAck(1, []) in bench.step())
    assert LinkDown not in bench.kinds()


def test_what_was_sent_last_leaves_before_the_close(bench: Bench, eventually: Callable[..., Any]) -> None:
    eventually(lambda: LinkUp in bench.kinds())
    bench.link.send(Bye(1, "stopped"))
    bench.link.close(500)
    eventually(lambda: bench.forwarder.messages == [Bye(1, "stopped")])


def test_a_secret_key_is_never_shown() -> None:
    keys = new_key_pair()
    assert keys.secret not in repr(Target("tcp://127.0.0.1:1", "k", keys))
