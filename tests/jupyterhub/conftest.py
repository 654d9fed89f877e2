"""One JupyterHub for all tests of the folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.jupyterhub.hub import JupyterHub, find_proxy


@pytest.fixture(scope="session")
def jupyterhub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterHub]:
    proxy = find_proxy()
    if proxy is None:
        pytest.fail("configurable-http-proxy is not installed: `cd labextension && jlpm install`.")
    hub = JupyterHub(tmp_path_factory.mktemp("jupyterhub") / "hub", proxy)
    try:
        yield hub
        # JupyterHub tells of accidents of its own, too.
        assert "funcx_lab_hub_service/" not in hub.said(), hub.said()[-5000:]
    finally:
        hub.stop()
