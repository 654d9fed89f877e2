"""Who an agent is: its key and nothing else, until that is revoked; a recording changes nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import (
    Accepted,
    ErrorInfo,
    Heartbeat,
    Hello,
    Inventory,
    Outcome,
    Refused,
    ResultItem,
    Results,
    Stale,
    Started,
    Welcome,
    agent_codec,
    forwarder_codec,
)
from funcx_lab.protocol.stream import NewTask, Submit, Submitted, client_codec, service_codec

#: A revocation counts within this many seconds.
REVOKED_S = 5.0
HELLO = agent_codec.encode(Hello(PROTOCOL_VERSION, "forged", "forged", "spool", takeover=True))


@pytest.fixture(scope="module")
def agent(ada: Any, agent_of: Callable[..., Any]) -> Any:
    return agent_of(ada, "cluster").connect()


@pytest.fixture
def stranger(agent: Any) -> Iterator[Callable[..., Any]]:
    """Dial the forwarder in ways that an agent of ours never would."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets = []

    def dial(kind: int = zmq.DEALER, **options: Any) -> Any:
        socket_ = context.socket(kind)
        sockets.append(socket_)
        socket_.setsockopt(zmq.LINGER, 0)
        for name, value in options.items():
            socket_.setsockopt(getattr(zmq, name.upper()), value)
        socket_.connect(agent.address)
        return socket_

    yield dial
    context.destroy(linger=0)


def says_nothing(socket_: Any, frame: bytes = HELLO) -> bool:
    for _ in range(3):
        socket_.send(frame, zmq.NOBLOCK)
    return not socket_.poll(700)


# --- T8: keys and names -------------------------------------------------------------------------------


def test_without_curve_nobody_is_heard(stranger: Any) -> None:
    assert says_nothing(stranger())
    assert says_nothing(stranger(plain_username=b"ada", plain_password=b"x"))


def test_a_key_that_nobody_enrolled_is_refused(stranger: Any, agent: Any, hub: Any, until: Any) -> None:
    public, secret = zmq.curve_keypair()
    assert says_nothing(
        stranger(curve_serverkey=agent.server_key, curve_publickey=public, curve_secretkey=secret)
    )
    until(lambda: "unknown key" in hub.said())
    assert secret.decode() not in hub.said()


def test_the_public_key_alone_is_no_identity(stranger: Any, agent: Any) -> None:
    """A public key is not secret: who has no secret to it, does not come in."""
    _, secret = zmq.curve_keypair()
    assert says_nothing(
        stranger(curve_serverkey=agent.server_key, curve_publickey=agent.keys[0], curve_secretkey=secret)
    )


def test_a_routing_identity_counts_for_nothing(
    eve: Any, agent: Any, agent_of: Callable[..., Any], ada: Any, submit: Any, function_id: str
) -> None:
    """ZeroMQ's own name of a peer can be chosen by the peer, also that of another endpoint or its key."""
    evil = agent_of(eve, "evil")
    evil.connect()
    task_id = submit(ada, "cluster", function_id)
    task = agent.take()
    for name in (agent.endpoint_id.encode(), agent.keys[0], b"cluster"):
        socket_ = evil.dial(identity=name)
        socket_.send(
            agent_codec.encode(
                Results(agent.session, [ResultItem(task_id, task.tag, "forged", Outcome(True, b"forged"))])
            )
        )
        socket_.send(agent_codec.encode(Heartbeat(agent.session, {"credit": 0})))
        answers = []
        while socket_.poll(500):
            answers.append(forwarder_codec.decode(socket_.recv()))
        assert any(isinstance(answer, Stale) for answer in answers)
        socket_.close()
    assert ada("GET", f"/v3/tasks/{task_id}").document["state"] != "success"
    agent.answer(task, Outcome(True, b"3\nabc"))
    assert ada("GET", f"/v3/tasks/{task_id}?wait=10").document["state"] == "success"
    assert b"forged" not in ada("GET", f"/v3/tasks/{task_id}/result").content


# --- T9: enrolment and revocation ---------------------------------------------------------------------


def enrolment(agent: Any, **changes: str) -> dict[str, str]:
    public = zmq.curve_keypair()[0].decode()
    return {"enrolment_token": agent.enrolment_token, "public_key": public, **changes}


def test_an_enrolment_token_works_once_and_at_its_endpoint(
    nobody: Any, eve: Any, agent: Any, agent_of: Callable[..., Any]
) -> None:
    path = f"/v3/endpoints/{agent.endpoint_id}/enrol"
    used = nobody("POST", path, enrolment(agent))
    other = eve("POST", "/v3/endpoints", {"endpoint_name": "elsewhere"}).document
    crossed = nobody("POST", path, enrolment(agent, enrolment_token=other["enrolment_token"]))
    unknown = nobody("POST", "/v3/endpoints/00000000-0000-4000-8000-000000000000/enrol", enrolment(agent))
    for answer in (used, crossed, unknown):
        assert (answer.status, answer.document["code"]) == (401, "NOT_AUTHENTICATED")
    assert used.content == crossed.content == unknown.content, "which of them it was, is not told"
    assert agent.session
    agent.send(Heartbeat(agent.session, {"credit": 1000}))


def test_two_that_enrol_at_once_are_not_both_let_in(nobody: Any, ada: Any, agent_of: Any) -> None:
    registered = ada("POST", "/v3/endpoints", {"endpoint_name": "raced"}).document
    path = f"/v3/endpoints/{registered['endpoint_id']}/enrol"
    statuses: list[int] = []

    def try_it() -> None:
        public = zmq.curve_keypair()[0].decode()
        document = {"enrolment_token": registered["enrolment_token"], "public_key": public}
        statuses.append(nobody("POST", path, document).status)

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [401] * 7


def test_anothers_key_cannot_be_enrolled(eve: Any, nobody: Any, agent: Any) -> None:
    registered = eve("POST", "/v3/endpoints", {"endpoint_name": "thief"}).document
    document = {"enrolment_token": registered["enrolment_token"], "public_key": agent.keys[0].decode()}
    answer = nobody("POST", f"/v3/endpoints/{registered['endpoint_id']}/enrol", document)
    assert answer.status == 400


@pytest.mark.parametrize(
    "key", ["", "k" * 39, "k" * 41, "\u00e9" * 40, "k" * 39 + "\n", "k" * 39 + "\0", " " * 40]
)
def test_what_is_no_key_is_not_enrolled(ada: Any, nobody: Any, key: str) -> None:
    registered = ada("POST", "/v3/endpoints", {"endpoint_name": "keyless"}).document
    document = {"enrolment_token": registered["enrolment_token"], "public_key": key}
    answer = nobody("POST", f"/v3/endpoints/{registered['endpoint_id']}/enrol", document)
    assert (answer.status, answer.document["code"]) == (400, "INVALID_REQUEST")


def is_cut(agent: Any, within_s: float) -> bool:
    """Whether the forwarder ends the agent's connection in time, as its own socket sees it."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if agent.monitor.poll(100) and recv_monitor_message(agent.monitor)["event"] == zmq.EVENT_DISCONNECTED:
            return True
    return False


@pytest.fixture
def watched(ada: Any, agent_of: Callable[..., Any]) -> Iterator[Any]:
    agent = agent_of(ada, "watched").connect()
    agent.monitor = agent.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    yield agent
    agent.socket.disable_monitor()
    agent.monitor.close()


def stays_out(agent: Any, client: Any) -> None:
    """Check that neither key nor token of the agent open anything."""
    deadline = time.monotonic() + REVOKED_S
    while client("GET", "/v3/link").status != 401:
        assert time.monotonic() < deadline, "the agent's token still works"
        time.sleep(0.1)
    socket_ = agent.dial()
    socket_.send(HELLO)
    answer = forwarder_codec.decode(socket_.recv()) if socket_.poll(700) else None
    assert answer is None or isinstance(answer, Refused)
    socket_.close()


def test_a_deleted_endpoint_is_cut_off(ada: Any, watched: Any, client_for: Any) -> None:
    client = client_for(watched.token)
    assert client("GET", "/v3/link").status == 200
    assert ada("DELETE", "/v2/endpoints/watched").status == 200
    assert is_cut(watched, REVOKED_S)
    stays_out(watched, client)


def test_enrolling_anew_cuts_off_the_old_key(ada: Any, nobody: Any, watched: Any, client_for: Any) -> None:
    """Whoever stole the key is out as soon as the owner enrols again; not only when he next dials."""
    client = client_for(watched.token)
    assert client("GET", "/v3/link").status == 200
    registered = ada("POST", "/v3/endpoints", {"endpoint_name": "watched"}).document
    public = zmq.curve_keypair()[0].decode()
    document = {"enrolment_token": registered["enrolment_token"], "public_key": public}
    path = f"/v3/endpoints/{watched.endpoint_id}/enrol"
    assert nobody("POST", path, document).status == 200
    assert is_cut(watched, REVOKED_S)
    stays_out(watched, client)


def test_a_token_revoked_by_another_process_is_dead_in_time(hub: Any, client_for: Any) -> None:
    token = hub.command("token", "create", "ada", "--label", "stolen").strip()
    number = next(line for line in hub.command("token", "list").splitlines() if "stolen" in line).split()[0]
    client = client_for(token)
    with client.stream() as connection:
        assert client("GET", "/v3/whoami").status == 200
        hub.command("token", "revoke", number)
        began = time.monotonic()
        while client("GET", "/v3/whoami").status == 200:
            assert time.monotonic() - began < REVOKED_S, "REST still takes the token"
            time.sleep(0.1)
        with pytest.raises(Exception, match="1008"):
            connection.recv(max(0.1, REVOKED_S + 1 - (time.monotonic() - began)))


# --- T10: somebody in between -------------------------------------------------------------------------


def test_a_forwarder_with_another_key_gets_no_agent(agent: Any) -> None:
    """What it would say to be let through: nothing, since the handshake does not succeed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    impostor = context.socket(zmq.ROUTER)
    impostor.setsockopt(zmq.LINGER, 0)
    impostor.curve_server = True
    impostor.curve_publickey, impostor.curve_secretkey = zmq.curve_keypair()
    port = impostor.bind_to_random_port("tcp://127.0.0.1")
    victim = context.socket(zmq.DEALER)
    victim.setsockopt(zmq.LINGER, 0)
    victim.curve_publickey, victim.curve_secretkey = agent.keys
    victim.curve_serverkey = agent.server_key
    victim.connect(f"tcp://127.0.0.1:{port}")
    assert says_nothing(victim)
    assert not impostor.poll(100), "the agent's hello reached an impostor"
    context.destroy(linger=0)


# --- T11: what was recorded ---------------------------------------------------------------------------


class Tap:
    """A TCP proxy that keeps every byte that the agent sent."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.recorded = b""
        self._threads = [threading.Thread(target=self._serve)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    def _serve(self) -> None:
        client, _ = self._server.accept()
        service = socket.create_connection(self._target)
        self._sockets += [client, service]
        back = threading.Thread(target=self._copy, args=(service, client, False))
        back.start()
        self._copy(client, service, True)
        back.join()

    def _copy(self, source: socket.socket, sink: socket.socket, keep: bool) -> None:
        try:
            while data := source.recv(65536):
                self.recorded += data if keep else b""
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        for each in (self._server, *self._sockets):
            each.close()
        self._threads[0].join(10)


def state_of(client: Any) -> list[Any]:
    """Return all that a replay might change."""
    tasks = client("GET", "/v3/tasks?limit=1000").document["tasks"]
    events = [client("GET", f"/v3/tasks/{task['task_id']}/events").document for task in tasks]
    online = [
        (each["name"], each["state"], each["since"])
        for each in client("GET", "/v3/endpoints").document["endpoints"]
    ]
    return [tasks, events, online]


@pytest.fixture
def played(ada: Any, agent_of: Callable[..., Any], submit: Any, function_id: str) -> Any:
    """An agent that has run one task, with all frames it sent in the clear."""
    agent = agent_of(ada, "played")
    agent.frames = []
    send = agent.raw
    agent.raw = lambda frame: (agent.frames.append(frame), send(frame))
    agent.connect()
    agent.task_id = submit(ada, "played", function_id)
    task = agent.take()
    agent.send(Started(agent.session, [(task.task_id, task.tag, "run", 1.0, {"host": "h"})]))
    agent.answer(task, Outcome(False, error=ErrorInfo("TASK_FAILED", "no")))
    assert ada("GET", f"/v3/tasks/{agent.task_id}?wait=10").document["state"] == "failed"
    return agent


def test_recorded_bytes_are_worth_nothing(ada: Any, agent_of: Callable[..., Any], hub: Any) -> None:
    tap = Tap(hub.forwarder)
    agent = agent_of(ada, "tapped")
    agent.address = f"tcp://127.0.0.1:{tap.port}"
    agent.connect()
    before = state_of(ada)
    with socket.create_connection(hub.forwarder, timeout=10) as connection:
        connection.settimeout(10)
        connection.sendall(tap.recorded)
        try:
            while connection.recv(65536):  # greeting and cookie, then it is hung up on
                pass
        except ConnectionError:
            pass
    assert state_of(ada) == before
    agent.close()
    tap.close()


@pytest.mark.parametrize("order", ["forward", "backward"])
def test_frames_said_again_change_nothing(ada: Any, played: Any, order: str) -> None:
    """Even by somebody who could decrypt them: in the same session and in the next one."""
    before = state_of(ada)
    frames = [frame for frame in played.frames if not isinstance(agent_codec.decode(frame), Hello)]
    for frame in frames if order == "forward" else reversed(frames):
        played.socket.send(frame)
    time.sleep(0.2)
    assert state_of(ada)[:2] == before[:2]
    played.connect(nonce=f"new {order}", instance=f"new {order}")
    for frame in frames if order == "forward" else reversed(frames):
        played.socket.send(frame)
    time.sleep(0.2)
    assert state_of(ada)[:2] == before[:2]


def test_an_old_hello_gets_no_new_session(ada: Any, played: Any) -> None:
    hello = next(frame for frame in played.frames if isinstance(agent_codec.decode(frame), Hello))
    played.socket.send(hello)
    assert played.wait_for(Welcome).session == played.session


def test_another_agents_frames_are_void(
    ada: Any, eve: Any, played: Any, agent_of: Callable[..., Any]
) -> None:
    before = state_of(ada)
    evil = agent_of(eve, "parrot").connect()
    for frame in played.frames:
        evil.raw(frame)
    time.sleep(0.2)
    assert state_of(ada)[:2] == before[:2]
    assert agent_codec.decode(played.frames[1]) == Inventory(played.session, [])
    assert any(isinstance(agent_codec.decode(frame), Accepted) for frame in played.frames)


def test_a_submit_recorded_and_sent_again_is_one_task(ada: Any, played: Any, function_id: str) -> None:
    """Frames of the stream name their tasks: the same bytes again make no second task."""
    name = "00000000-0000-4000-8000-00000000abcd"
    frame = client_codec.encode(Submit(1, "played", function_id, name, [NewTask(name, b"x")]))
    for _ in range(3):
        with ada.stream() as connection:
            connection.send(frame)
            assert service_codec.decode(connection.recv(10)) == Submitted(1)
    assert len(ada("GET", f"/v3/tasks?group={name}").document["tasks"]) == 1
