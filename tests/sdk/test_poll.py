"""Long poll through proxies that let no WebSocket through, against the real hub service."""

import concurrent.futures
import threading
import time

import pytest

from funcx_lab import Executor, FuncXClient, stream
from funcx_lab.embedded import ensure_service, stop_service
from funcx_lab.errors import NotAuthenticated, TaskCancelled
from funcx_lab.stream import poll, reach
from tests.sdk.proxy import Proxy

PAGE = b"<h1>blocked</h1>"


def answer(status: str) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        status.encode(),
        len(PAGE),
        PAGE,
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("FUNCX_LAB_HOME", str(tmp_path_factory.mktemp("home")))
    yield ensure_service()
    stop_service()
    patch.undo()


@pytest.fixture
def proxied(service):
    """Make a client behind a proxy of some kind."""
    opened = []

    def make(refusal: bytes | None = answer("403 Forbidden")) -> tuple[FuncXClient, Proxy]:
        proxy = Proxy(service.url, refusal).__enter__()
        client = FuncXClient(funcx_service_address=proxy.url, token=service.token)
        opened.append((client, proxy))
        return client, proxy

    yield make
    for client, proxy in opened:
        stream.close_streams(proxy.url)
        client.connection.transport.close()
        proxy.__exit__()


def double(x):
    return 2 * x


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "403 Forbidden", "426 Upgrade Required"])
def test_tasks_run_behind_a_proxy_that_refuses_upgrades(proxied, status, caplog) -> None:
    client, proxy = proxied(answer(status))
    with Executor("local", client) as executor:
        futures = [executor.submit(double, n) for n in range(200)]
        assert [future.result(60) for future in futures] == [2 * n for n in range(200)]
    assert proxy.upgrades == 1
    assert caplog.text.count("No WebSocket gets through") == 1


def test_tasks_run_behind_a_proxy_that_cuts_websockets(proxied) -> None:
    client, proxy = proxied(None)
    assert client.submit(double, 1, endpoint="local").result(60) == 2
    assert proxy.upgrades == reach.TRIES


def test_a_submit_does_not_wait_for_the_poll_that_waits(proxied) -> None:
    client, _ = proxied()
    slow = client.submit(time.sleep, 60, endpoint="local")
    assert slow.wait_accepted(60)
    begin = time.monotonic()
    for n in range(5):
        assert client.submit(double, n, endpoint="local").result(30) == 2 * n
    assert time.monotonic() - begin < poll.WAIT_S / 2
    assert slow.cancel()
    with pytest.raises(TaskCancelled):
        slow.result(0)


def test_a_result_that_takes_longer_than_a_poll_arrives(proxied, monkeypatch) -> None:
    monkeypatch.setattr(poll, "WAIT_S", 0.2)
    client, proxy = proxied()
    assert client.submit(time.sleep, 1.0, endpoint="local").result(60) is None
    assert proxy.polls > 4


def test_events_are_followed_by_poll(proxied) -> None:
    client, _ = proxied()

    def talk():
        for n in range(3):
            print(n, flush=True)

    future = client.submit(talk, endpoint="local")
    text = "".join(event.data for _, event in client.follow(future.task_id) if event.kind == "stdout")
    assert text == "0\n1\n2\n"


def test_more_than_one_request_holds_is_sent_in_several(proxied, monkeypatch) -> None:
    monkeypatch.setattr(poll, "FULL_BYTES", 100_000)
    client, _ = proxied()
    blobs = [bytes(50_000) for _ in range(20)]
    futures = [client.submit(len, blob, endpoint="local") for blob in blobs]
    assert {future.result(60) for future in concurrent.futures.as_completed(futures, 60)} == {50_000}


def test_a_websocket_is_tried_again_after_a_while(proxied, monkeypatch, caplog) -> None:
    monkeypatch.setattr(reach, "POLLS_S", 0.3)
    client, proxy = proxied()
    assert client.submit(double, 1, endpoint="local").result(60) == 2
    proxy.lets_through = True
    deadline = time.monotonic() + 30
    while "works again" not in caplog.text:
        assert time.monotonic() < deadline
        assert client.submit(double, 1, endpoint="local").result(60) == 2
    polls = proxy.polls
    assert client.submit(double, 2, endpoint="local").result(60) == 4
    assert proxy.polls == polls


def test_a_wrong_token_is_said_by_poll_too(service, proxied) -> None:
    _, proxy = proxied()
    stranger = FuncXClient(funcx_service_address=proxy.url, token="fxl_wrong")
    with pytest.raises(NotAuthenticated):
        stranger.get_result("00000000-0000-7000-8000-000000000000", timeout=30)
    stranger.connection.transport.close()


def test_no_thread_is_left(proxied) -> None:
    client, proxy = proxied()
    assert client.submit(double, 1, endpoint="local").result(60) == 2
    waiting = client.submit(time.sleep, 60, endpoint="local")
    assert waiting.wait_accepted(60)
    stream.close_streams(proxy.url)
    deadline = time.monotonic() + 30
    ours = ("funcx-lab-stream", "funcx-lab-poll")
    while threads := [thread for thread in threading.enumerate() if thread.name in ours]:
        assert time.monotonic() < deadline, threads
        time.sleep(0.01)
    FuncXClient(funcx_service_address=proxy.url, token=client.connection.transport.service.token).cancel(
        waiting.task_id
    )
