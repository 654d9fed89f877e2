"""Which hub service it is: down, back, elsewhere, with another token, or the user's own."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from funcx_lab.embedded import ensure_service, running_service, stop_service
from funcx_lab_hub_service.config import ServiceConfig
from tests.hub_service.http.conftest import Running
from tests.labextension.jupyter import JupyterServer, running_jupyter

WATCH = "api/v3/watch"
WAIT_S = 60


@pytest.fixture(scope="module")
def unconfigured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with running_jupyter(tmp_path_factory.mktemp("lone")) as server:
        yield server


@pytest.fixture
def lone(unconfigured: JupyterServer, monkeypatch: pytest.MonkeyPatch) -> JupyterServer:
    """A Jupyter server where nothing is configured; this process has the same home."""
    monkeypatch.setenv("FUNCX_LAB_HOME", str(unconfigured.home))
    return unconfigured


@pytest.fixture
def started(lone: JupyterServer) -> JupyterServer:
    """The same, with its own hub service, whatever the test before has made of it."""
    assert lone("POST", "machine/service/start").status == 200
    return lone


def read_to_end(tab: ClientConnection) -> None:
    while True:
        tab.recv(WAIT_S)


def test_a_service_that_is_down_and_comes_back(server: JupyterServer, tmp_path: Path) -> None:
    config = ServiceConfig(data=tmp_path)
    first = Running(config)
    token, url = first.token, first.url
    server.use(url, token)
    with server.socket(WATCH) as tab:
        assert json.loads(tab.recv(WAIT_S))["type"] == "hello"
        first.stop()
        with pytest.raises(ConnectionClosed):
            read_to_end(tab)
    status = server("GET", "status")
    assert status.status == 200
    assert (status.document["ok"], status.document["problem"]["code"]) == (False, "SERVICE_UNREACHABLE")
    assert status.document["problem"]["try"]
    assert status.document["service"] == url.removeprefix("http://")
    for method, path in [("GET", "api/v3/tasks"), ("POST", "api/v3/tasks/cancel"), ("GET", "dash/list")]:
        answer = server(method, path, {"task_ids": []} if method == "POST" else None)
        assert (answer.status, answer.code) == (502, "SERVICE_UNREACHABLE")
        assert answer.document["try"]
    second = Running(config)
    try:
        assert second.url == url
        assert server("GET", "status").document["ok"] is True
        with server.socket(WATCH) as tab:
            assert json.loads(tab.recv(WAIT_S))["type"] == "hello"
    finally:
        second.stop()


def revoke(service: Running, user: str) -> None:
    """Revoke a user's tokens, as ``python -m funcx_lab_hub_service token revoke`` does."""
    for record in service.do(service.service.tokens.list):
        if record.user == user:
            service.run(service.service.tokens.revoke(record.token_id))


def test_a_revoked_token_is_told_and_a_new_login_is_seen(jupyter: JupyterServer, service: Running) -> None:
    token = service.new_token("bob")
    jupyter.use(service.url, token)
    assert jupyter("GET", "status").document["user"] == "bob"
    revoke(service, "bob")
    problem = jupyter("GET", "status").document["problem"]
    assert problem["code"] == "NOT_AUTHENTICATED"
    assert "funcx-lab login" in problem["try"]
    answer = jupyter("GET", "api/v3/tasks")
    assert (answer.status, answer.code) == (401, "NOT_AUTHENTICATED")
    assert "WWW-Authenticate" not in answer.headers
    jupyter.use(service.url, service.token)
    assert jupyter("GET", "status").document["user"] == "ada"


def test_what_listens_there_is_no_hub_service(server: JupyterServer) -> None:
    server.use(f"{server.origin}/elsewhere", "x")
    status = server("GET", "status").document
    assert (status["ok"], status["problem"]["code"]) == (False, "SERVICE_UNREACHABLE")
    assert "no hub service" in status["problem"]["message"]


def test_a_damaged_profile_is_told(server: JupyterServer) -> None:
    (server.home / "profile.json").write_text("{")
    status = server("GET", "status")
    assert (status.status, status.document["problem"]["code"]) == (200, "CONFIG_ERROR")
    assert "profile.json, line 1" in status.document["problem"]["message"]
    assert server("GET", "api/v3/tasks").code == "CONFIG_ERROR"


def test_a_hubs_service_gets_the_hubs_token(tmp_path: Path, service: Running) -> None:
    token = service.new_token("carol")
    variables = {"FUNCX_LAB_JUPYTERHUB_URL": service.url, "JUPYTERHUB_API_TOKEN": token}
    with running_jupyter(tmp_path, **variables) as server:
        status = server("GET", "status").document
        assert (status["ok"], status["mode"], status["user"]) == (True, "jupyterhub", "carol")
        revoke(service, "carol")
        assert "control panel" in server("GET", "status").document["problem"]["try"]


def test_the_local_service_starts_at_first_use(lone: JupyterServer) -> None:
    assert not (lone.home / "service.json").exists()
    status = lone("GET", "status").document
    assert (status["ok"], status["service"], status["problem"]) == (True, "local", None)
    assert running_service() is not None


def test_a_local_service_that_crashed_is_started_again(started: JupyterServer) -> None:
    with started.socket(WATCH) as tab:
        assert json.loads(tab.recv(WAIT_S))["type"] == "hello"
        os.kill(json.loads((started.home / "service.json").read_text())["pid"], signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            read_to_end(tab)
    with started.socket(WATCH) as tab:
        assert json.loads(tab.recv(WAIT_S))["type"] == "hello"
    assert started("GET", "api/v3/tasks").status == 200


def test_a_local_service_that_was_stopped_stays_so(started: JupyterServer) -> None:
    stop_service()
    problem = started("GET", "status").document["problem"]
    assert (problem["code"], "was stopped" in problem["message"]) == ("SERVICE_UNREACHABLE", True)
    assert "funcx-lab start" in problem["try"]
    assert started("GET", "api/v3/tasks").status == 502
    assert running_service() is None
    assert started("POST", "machine/service/start").document == {"service": "local"}
    assert started("GET", "status").document["ok"] is True


def test_a_local_service_with_another_token_and_port_is_found(started: JupyterServer) -> None:
    before = running_service()
    stop_service()
    shutil.rmtree(started.home / "hub", ignore_errors=True)
    (started.home / "token").unlink()
    after = ensure_service()
    assert before is not None
    assert after.token != before.token
    assert started("GET", "api/v3/whoami").status == 200
    with started.socket(WATCH) as tab:
        assert json.loads(tab.recv(WAIT_S))["type"] == "hello"
