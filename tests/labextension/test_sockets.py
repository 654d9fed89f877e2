"""WebSockets of pages: one to the hub service for each, both ways, with their close codes."""

from __future__ import annotations

import json
import threading

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.hub_service.http.conftest import Running
from tests.labextension.jupyter import JUPYTER_TOKEN, JupyterServer, cookies_of
from tests.labextension.stand_in import PIECE, TOKEN, StandIn

WATCH = "api/v3/watch"
WAIT_S = 60


def close_of(error: pytest.ExceptionInfo[ConnectionClosed]) -> tuple[int, str]:
    assert error.value.rcvd is not None, "the connection broke off without a close code"
    return error.value.rcvd.code, error.value.rcvd.reason


def test_two_tabs_watch_the_hub_service(jupyter: JupyterServer) -> None:
    with jupyter.socket(WATCH) as one, jupyter.socket(WATCH) as other:
        for tab in (one, other):
            hello = json.loads(tab.recv(WAIT_S))
            assert (hello["type"], hello["user"]) == ("hello", "ada")
    with jupyter.socket(WATCH) as again:
        assert json.loads(again.recv(WAIT_S))["type"] == "hello"


def test_a_page_of_ours_may_watch_and_another_may_not(jupyter: JupyterServer) -> None:
    cookies, _ = cookies_of(jupyter)
    with jupyter.socket(WATCH, token=None, headers=cookies, origin=jupyter.origin) as tab:
        assert json.loads(tab.recv(WAIT_S))["type"] == "hello"
    with (
        pytest.raises(InvalidStatus) as refused,
        jupyter.socket(WATCH, token=None, headers=cookies, origin="http://evil.example"),
    ):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        (WATCH, None, 403),
        (WATCH, "a-wrong-one", 403),
        ("dash/tasks/ws", None, 403),
        ("api/v3/stream", JUPYTER_TOKEN, 404),
        ("dash/../v3/stream/ws", JUPYTER_TOKEN, 404),
        ("dash/%2e%2e/ws", JUPYTER_TOKEN, 404),
    ],
)
def test_what_is_refused_before_there_is_a_socket(
    jupyter: JupyterServer, path: str, token: str | None, status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused, jupyter.socket(path, token=token):
        pass
    assert refused.value.response.status_code == status


def test_messages_pass_both_ways_as_they_are(server: JupyterServer, stand_in: StandIn) -> None:
    with server.socket(WATCH) as tab:
        for message in ("text ä", b"\x00bytes", "", "x" * 1_000_000):
            tab.send(message)
            assert tab.recv(WAIT_S) == message
    assert stand_in.closed.wait(WAIT_S)


def test_a_dashboards_session_is_passed_on(server: JupyterServer, stand_in: StandIn) -> None:
    path = f"dash/tasks/ws?theme=dark&token={JUPYTER_TOKEN}"
    with server.socket(path, subprotocols=["bokeh", "the-session"], origin=server.origin) as tab:
        assert tab.subprotocol == "bokeh"
        tab.send("hello")
        assert tab.recv(WAIT_S) == "hello"
    (_, uri, headers), *_ = stand_in.asked
    assert uri == "/dash/tasks/ws?theme=dark"
    assert headers["Sec-WebSocket-Protocol"].replace(" ", "") == "bokeh,the-session"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert not {"Origin", "Cookie"}.intersection(headers.keys())


def test_the_services_close_code_reaches_the_page(server: JupyterServer, stand_in: StandIn) -> None:
    with server.socket(WATCH) as tab:
        tab.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            tab.recv(WAIT_S)
    assert close_of(closed) == (4321, "as you wish")


def test_the_pages_close_code_reaches_the_service(server: JupyterServer, stand_in: StandIn) -> None:
    with server.socket(WATCH) as tab:
        tab.send("hello")
        tab.recv(WAIT_S)
        tab.close(4007, "hidden")
    assert stand_in.closed.wait(WAIT_S)
    assert stand_in.close_code == 4007


def test_a_tab_that_dies_ends_the_other_side(server: JupyterServer, stand_in: StandIn) -> None:
    with server.socket(WATCH) as tab:
        tab.send("hello")
        tab.recv(WAIT_S)
        tab.socket.shutdown(2)
        assert stand_in.closed.wait(WAIT_S)


def test_a_service_that_dies_is_told_to_the_page(server: JupyterServer, stand_in: StandIn) -> None:
    with server.socket(WATCH) as tab:
        tab.send("hello")
        tab.recv(WAIT_S)
        stand_in.do(lambda: stand_in.sockets[-1].ws_connection.stream.close())  # type: ignore[union-attr]
        with pytest.raises(ConnectionClosed) as closed:
            tab.recv(WAIT_S)
    assert close_of(closed)[0] == 1011


def test_a_service_that_is_not_there_is_told_to_the_page(server: JupyterServer) -> None:
    server.use("http://127.0.0.1:9", "x")
    with server.socket(WATCH) as tab, pytest.raises(ConnectionClosed) as closed:
        tab.recv(WAIT_S)
    assert close_of(closed) == (4502, "SERVICE_UNREACHABLE")


def test_a_token_that_does_not_work_is_told_to_the_page(jupyter: JupyterServer, service: Running) -> None:
    jupyter.use(service.url, "fxl_no-such-token")
    with jupyter.socket(WATCH) as tab, pytest.raises(ConnectionClosed) as closed:
        tab.recv(WAIT_S)
    assert close_of(closed) == (4401, "NOT_AUTHENTICATED")


def test_a_slow_page_slows_the_service_down(server: JupyterServer, stand_in: StandIn) -> None:
    """What a page does not read is not gathered in the Jupyter server."""
    with server.socket(WATCH, max_queue=1) as tab:
        tab.send("flood")
        tab.recv(WAIT_S)
        stalled = threading.Event()

        async def watch() -> None:
            import asyncio

            before = -1
            while before != stand_in.sent:  # an unread socket's buffers are full at some point
                before = stand_in.sent
                await asyncio.sleep(0.5)
            stalled.set()

        stand_in.run(watch())
        assert stalled.is_set()
        assert stand_in.sent < 1000 * len(PIECE)
        for _ in range(20):
            assert tab.recv(WAIT_S) == PIECE  # and it goes on when it reads


def test_a_page_cannot_send_large_messages(server: JupyterServer, stand_in: StandIn) -> None:
    with server.socket(WATCH) as tab:
        tab.send("x" * (1024 * 1024 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            tab.recv(WAIT_S)
    assert close_of(closed)[0] == 1009
    assert stand_in.taken == []
