"""Who may dial in, what happens to garbage and to a connection that breaks."""

import threading
import time
from pathlib import Path

import msgspec
import pytest
import zmq

from funcx_lab.errors import ConfigError
from funcx_lab_endpoint.engine.side_channel import SideChannel
from funcx_lab_endpoint.worker import messages as m
from funcx_lab_endpoint.worker.wire import Wire


class Bench:
    def __init__(self, encrypted):
        self.channel = SideChannel("127.0.0.1", ["127.0.0.1"], None, encrypted=encrypted)
        self.reports = []

    def admit(self):
        return self.channel.admit(time.monotonic(), Path(), objects="", result_limit=1000)

    def pump(self, until, limit=30.0):
        deadline = time.monotonic() + limit
        poller = zmq.Poller()
        for socket in self.channel.sockets:
            poller.register(socket, zmq.POLLIN)
        while not until():
            assert time.monotonic() < deadline
            poller.poll(20)
            self.reports += [
                (peer.sid, item) for peer, items in self.channel.receive(time.monotonic()) for item in items
            ]

    def heard(self, sid, kind):
        return [item for who, item in self.reports if who == sid and isinstance(item, kind)]


@pytest.fixture(params=[True, False], ids=["encrypted", "plain"])
def bench(request):
    bench = Bench(request.param)
    yield bench
    bench.channel.close()


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


def dial(context, arguments, keys=True):
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    if arguments.server_key and keys:
        socket.curve_serverkey = arguments.server_key.encode()
        socket.curve_publickey = arguments.public_key.encode()
        socket.curve_secretkey = arguments.secret_key.encode()
    socket.connect(arguments.addresses[0])
    return socket


def hello(arguments, *, sid=None, token=None, version=m.SESSION_VERSION):
    item = m.Hello(version, token or arguments.token, {"pid": 1})
    return m.up_codec.encode(m.Up(0, 0, [item], sid or arguments.sid))


def test_admitted_session_is_heard(bench, context):
    arguments = bench.admit()
    with dial(context, arguments) as session:
        session.send(hello(arguments))
        bench.pump(lambda: bench.heard(arguments.sid, m.Hello))


def test_expelled_session_is_told_to_end(bench, context):
    arguments = bench.admit()
    with dial(context, arguments) as session:
        session.send(hello(arguments))
        bench.pump(lambda: bench.heard(arguments.sid, m.Hello))
        session.recv()
        bench.channel.expel(arguments.sid)
        session.send(hello(arguments))
        bench.pump(lambda: session.poll(0))
        assert m.down_codec.decode(session.recv()).items == [m.Close()]


@pytest.mark.parametrize("change", [{"token": "wrong"}, {"sid": "nobody"}, {"version": 99}])
def test_false_hello_is_turned_away(bench, context, change):
    arguments = bench.admit()
    with dial(context, arguments) as session:
        session.send(hello(arguments, **change))
        bench.pump(lambda: session.poll(0))
        assert m.down_codec.decode(session.recv()).items == [m.Close()]
    assert bench.reports == []


def test_one_session_cannot_speak_for_another(context):
    bench = Bench(encrypted=True)
    try:
        mine, other = bench.admit(), bench.admit()
        with dial(context, mine) as session:
            session.send(hello(other))
            bench.pump(lambda: session.poll(0))
        assert bench.reports == []
    finally:
        bench.channel.close()


def test_unlisted_key_is_not_let_in(context):
    bench = Bench(encrypted=True)
    try:
        known = bench.admit()
        stranger = context.socket(zmq.DEALER)
        stranger.linger = 0
        stranger.curve_serverkey = known.server_key.encode()
        stranger.curve_publickey, stranger.curve_secretkey = zmq.curve_keypair()
        monitor = stranger.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        stranger.connect(known.addresses[0])
        stranger.send(hello(known))
        bench.pump(lambda: monitor.poll(0))
        assert bench.reports == []
        stranger.disable_monitor()
        monitor.close()
        stranger.close()
    finally:
        bench.channel.close()


GARBAGE = [b"", b"\xff" * 1000, b"\x93\xa1x\x00\x90", b"\x94\x01\x00\x91\x92\xa3Foo\x01\xa0"]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_dropped_and_the_session_goes_on(bench, context, garbage):
    arguments = bench.admit()
    with dial(context, arguments) as session:
        session.send(garbage)
        session.send(hello(arguments))
        session.send(garbage)
        session.send(m.up_codec.encode(m.Up(1, 0, [m.Started(1, 0.0)])))
        bench.pump(lambda: bench.heard(arguments.sid, m.Started))


def test_calls_arrive_once_across_a_broken_connection(bench, context):
    arguments = bench.admit()
    now = time.monotonic()
    with dial(context, arguments) as session:
        session.send(hello(arguments))
        bench.pump(lambda: bench.heard(arguments.sid, m.Hello))
    bench.channel.send(arguments.sid, [m.Go(1)], now)  # into the void
    bench.channel.send(arguments.sid, [m.Go(2)], now)
    with dial(context, arguments) as session:
        session.send(hello(arguments))
        items = []

        def read():
            while session.poll(0):
                items.extend(m.down_codec.decode(session.recv()).items)
            return len(items) >= 2

        bench.pump(read)
    assert items == [m.Go(1), m.Go(2)]


def test_session_whose_key_is_refused_goes_on_and_hears_that_it_is_over():
    """ZeroMQ gives up a connection whose key is refused; to send there blocks for ever unless told not to."""
    bench = Bench(encrypted=True)
    wires = []
    try:
        arguments = bench.admit()
        bench.channel.expel(arguments.sid)
        brief = msgspec.structs.replace(arguments, agent_gone_s=0.5)

        def serve():
            wires.append(Wire(brief, {}, lambda: None))
            while not wires[0].is_fenced:
                wires[0].beat(time.monotonic())
            wires[0].send([m.Bye("")])
            wires[0].linger()
            wires[0].close()

        session = threading.Thread(target=serve, daemon=True)
        session.start()
        bench.pump(lambda: not session.is_alive(), limit=30.0)
    finally:
        bench.channel.close()


def test_port_range_that_is_taken_is_told():
    first = SideChannel("127.0.0.1", ["127.0.0.1"], None, encrypted=False)
    port = int(first.admit(0.0, Path(), objects="", result_limit=1).addresses[0].rpartition(":")[2])
    try:
        with pytest.raises(ConfigError, match=f"No port from {port} to {port} is free"):
            SideChannel("127.0.0.1", ["127.0.0.1"], (port, port + 1), encrypted=False)
    finally:
        first.close()
