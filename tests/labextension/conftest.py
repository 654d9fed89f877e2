"""One Jupyter server for all these tests, and hub services to point it at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from funcx_lab_hub_service.config import ServiceConfig
from tests.hub_service.http.conftest import Running
from tests.labextension.jupyter import JupyterServer, running_jupyter
from tests.labextension.stand_in import TOKEN, StandIn


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with running_jupyter(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("hub-service")
    running = Running(ServiceConfig(data=data, port=0))
    yield running
    running.stop()


@pytest.fixture
def jupyter(server: JupyterServer, service: Running) -> JupyterServer:
    """The Jupyter server, logged in to a real hub service."""
    server.use(service.url, service.token)
    return server


@pytest.fixture
def stand_in(server: JupyterServer) -> Iterator[StandIn]:
    """What the Jupyter server takes for its hub service."""
    stand_in = StandIn()
    server.use(stand_in.url, TOKEN)
    yield stand_in
    stand_in.stop()
