"""Two users and a group: what is private, what is shared, and what a kernel may do without a login."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from funcx_lab import FuncXClient
from funcx_lab.errors import EndpointNotFound
from funcx_lab.stream.streams import close_streams
from tests.jupyterhub.hub import LIMIT_S, Client, JupyterHub, until
from tests.jupyterhub.kernel import Kernel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ACCESS = "access:services!service=funcx"
READ = "custom:funcx:read"
SHARES = "/v3/endpoints/cluster/shares"


@pytest.fixture(scope="module")
def kernel(jupyterhub: JupyterHub) -> Iterator[Kernel]:
    """A kernel of ada's, in her own server, where no login was done."""
    jupyterhub.spawn("ada")
    kernel = Kernel(jupyterhub, "ada")
    yield kernel
    kernel.close()


@pytest.fixture(scope="module")
def cluster(jupyterhub: JupyterHub, kernel: Kernel) -> Iterator[str]:
    """An endpoint that ada sets up there, by the commands that everybody uses."""
    said = kernel.run("!funcx-endpoint configure cluster && funcx-endpoint start cluster")
    assert "Registered at" in said, said
    yield "cluster"
    home = jupyterhub.directory / "homes" / "ada" / ".funcx_lab"
    stop = [str(Path(sys.executable).parent / "funcx-endpoint"), "stop", "cluster"]
    subprocess.run(stop, env={**os.environ, "FUNCX_LAB_HOME": str(home)}, check=True, capture_output=True)


@pytest.fixture
def eve(jupyterhub: JupyterHub) -> Client:
    return jupyterhub.client("eve")


@pytest.fixture
def ada(jupyterhub: JupyterHub) -> Client:
    return jupyterhub.client("ada")


@pytest.fixture
def client_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, Client], FuncXClient]]:
    """Make clients of the SDK, with the token of another."""
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path))
    urls: list[str] = []

    def make(url: str, client: Client) -> FuncXClient:
        urls.append(url)
        return FuncXClient(funcx_service_address=url, token=client.token)

    yield make
    for url in urls:
        close_streams(url)


def names(client: Client) -> list[str]:
    return [entry["name"] for entry in client("GET", "/v3/endpoints").document["endpoints"]]


def double(value: Any) -> Any:
    return 2 * value


def drain(socket: ClientConnection) -> None:
    while True:
        socket.recv(LIMIT_S)


def test_a_cell_runs_without_a_login(kernel: Kernel, cluster: str) -> None:
    assert "Error" not in (said := kernel.run("%load_ext funcx_lab")), said
    assert "ada" in kernel.run("%funcx whoami")
    said = kernel.run(f"%%funcx {cluster}\nprint('computed', 6 * 7)")
    assert "computed 42" in said


def test_tasks_are_private_and_a_shared_endpoint_is_not(
    jupyterhub: JupyterHub,
    kernel: Kernel,
    cluster: str,
    ada: Client,
    eve: Client,
    client_of: Callable[[str, Client], FuncXClient],
) -> None:
    task_id = ada("GET", "/v3/tasks").document["tasks"][0]["task_id"]
    assert eve("GET", f"/v3/tasks/{task_id}").status == 404
    assert eve("GET", "/v3/tasks").document["tasks"] == []
    assert names(eve) == []

    said = kernel.run("!funcx-lab share cluster --group physics")
    assert "cluster is shared with group physics." in said
    assert names(eve) == ["cluster"]
    client = client_of(jupyterhub.url, eve)
    assert client.submit(double, 21, endpoint="cluster").result(LIMIT_S) == 42
    large = b"x" * 400_000  # travels as an object, there and back
    assert client.submit(double, large, endpoint="cluster").result(LIMIT_S) == 2 * large
    assert "cluster is not shared." in kernel.run("!funcx-lab share cluster --group physics --remove")
    with pytest.raises(EndpointNotFound):
        client.submit(double, 21, endpoint="cluster").result(LIMIT_S)
    assert names(eve) == []
    assert eve("GET", "/v2/endpoints/cluster").status == 404
    assert len(eve("GET", "/v3/tasks").document["tasks"]) == 2, "hers, and still there"


def test_who_leaves_the_group_loses_what_is_shared_with_it(
    jupyterhub: JupyterHub, cluster: str, ada: Client, eve: Client
) -> None:
    assert jupyterhub.admin("POST", "/groups/visitors").status == 201
    ada("POST", SHARES, {"group": "visitors"})
    assert names(eve) == []
    jupyterhub.admin("POST", "/groups/visitors/users", {"users": ["eve"]})
    until(lambda: names(eve) == ["cluster"], "she came into the group")
    jupyterhub.admin("DELETE", "/groups/visitors/users", {"users": ["eve"]})
    until(lambda: names(eve) == [], "she left the group")


def test_scopes_bound_what_a_token_opens(jupyterhub: JupyterHub, cluster: str, eve: Client) -> None:
    def refused(client: Client, verb: str, path: str, body: Any = None) -> str:
        answer = client(verb, path, body)
        assert (answer.status, answer.document["code"]) == (403, "NOT_AUTHORIZED")
        return str(answer.document["message"])

    assert "custom:funcx:read" in refused(jupyterhub.client("bob"), "GET", "/v3/tasks")
    assert ACCESS in refused(jupyterhub.client("eve", [READ]), "GET", "/v3/tasks")
    about = eve("GET", "/v3/whoami").document
    assert (about["groups"], about["scopes"]) == (["physics"], [READ, "custom:funcx:submit"])
    looks_on = jupyterhub.client("eve", [ACCESS, READ])
    assert looks_on("GET", "/v3/tasks").status == 200
    function = {"function_name": "f", "function_code": "3\nabc"}
    assert "custom:funcx:submit" in refused(looks_on, "POST", "/v3/functions", function)
    # She computes, but registers nothing: that is for another group.
    assert "custom:funcx:endpoints" in refused(eve, "POST", "/v3/endpoints", {"endpoint_name": "mine"})
    assert eve("POST", "/v3/functions", function).status == 200
    assert jupyterhub.admin("GET", "/user").status == 200
    assert "is a service" in refused(Client(jupyterhub.url, jupyterhub.admin.token), "GET", "/v3/tasks")


def test_a_revoked_token_opens_nothing_and_its_socket_closes(jupyterhub: JupyterHub, eve: Client) -> None:
    address = jupyterhub.url.replace("http", "ws", 1) + "/v3/watch"
    headers = {"Authorization": f"Bearer {eve.token}"}
    with connect(address, additional_headers=headers, proxy=None) as socket:
        assert '"user":"eve"' in str(socket.recv(LIMIT_S, decode=True))
        revoked = jupyterhub.admin("DELETE", f"/users/eve/tokens/{eve.token_id}")  # type: ignore[attr-defined]
        assert revoked.status == 204
        until(lambda: eve("GET", "/v3/tasks").status == 401, "the token was revoked")
        with pytest.raises(ConnectionClosed, match="1008"):
            drain(socket)
