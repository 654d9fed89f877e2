"""Endpoints of the Jupyter server's machine, and what kernels are told of their notebooks."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from funcx_lab_endpoint import commands
from tests.hub_service.http.conftest import Running
from tests.labextension.jupyter import JupyterServer


@pytest.fixture
def configured(jupyter: JupyterServer, service: Running, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an endpoint that is configured here and does not run."""
    monkeypatch.setenv("FUNCX_LAB_HOME", str(jupyter.home))
    if not (jupyter.home / "endpoints" / "bench").exists():
        commands.configure("bench")
        (jupyter.home / "endpoints" / "bench" / "config.py").write_text(
            "from funcx_lab_endpoint.config import Config\nconfig = Config(engine='processes')\n"
        )
    return "bench"


def test_an_endpoint_is_listed_started_and_stopped(jupyter: JupyterServer, configured: str) -> None:
    def state() -> str:
        endpoints = jupyter("GET", "machine/endpoints").document["endpoints"]
        (found,) = [each for each in endpoints if each["name"] == configured]
        assert set(found) == {"name", "state", "endpoint_id"}
        return str(found["state"])

    assert state() == "stopped"
    try:
        answer = jupyter("POST", f"machine/endpoints/{configured}/start")
        assert answer.document == {"name": configured, "state": "running", "reason": ""}
        assert state() == "running"
    finally:
        answer = jupyter("POST", f"machine/endpoints/{configured}/stop")
    assert answer.document["state"] == "stopped"
    assert state() == "stopped"
    assert jupyter("POST", f"machine/endpoints/{configured}/stop").status == 200  # it does not run: as asked


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("machine/endpoints/nosuch/start", 404, "ENDPOINT_NOT_FOUND"),
        ("machine/endpoints/nosuch/stop", 404, "ENDPOINT_NOT_FOUND"),
        ("machine/endpoints/--help/start", 400, "INVALID_NAME"),
        ("machine/endpoints/-n/start", 400, "INVALID_NAME"),
        ("machine/endpoints/..%2f..%2fetc/start", 400, "INVALID_NAME"),
        ("machine/endpoints/a%20b/stop", 400, "INVALID_NAME"),
    ],
)
def test_a_name_that_leads_nowhere(jupyter: JupyterServer, path: str, status: int, code: str) -> None:
    answer = jupyter("POST", path)
    assert (answer.status, answer.code) == (status, code)


def test_there_are_two_things_to_do(jupyter: JupyterServer, configured: str) -> None:
    assert jupyter("POST", f"machine/endpoints/{configured}/delete").status == 404
    assert jupyter("GET", f"machine/endpoints/{configured}/start").status == 405


def test_a_kernel_is_told_the_default_endpoint(jupyter: JupyterServer) -> None:
    notebook = jupyter.root / "work" / "one ä.ipynb"
    document = {"path": "work/one ä.ipynb", "default_endpoint": "cluster"}
    answer = jupyter("PUT", "notebooks", document)
    assert answer.document == {"path": str(notebook), "default_endpoint": "cluster"}
    kept = kept_for(jupyter.home, notebook)
    assert json.loads(kept.read_text()) == {"path": str(notebook), "default_endpoint": "cluster"}
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    jupyter("PUT", "notebooks", document | {"default_endpoint": "laptop"})
    assert json.loads(kept.read_text())["default_endpoint"] == "laptop"
    assert jupyter("PUT", "notebooks", document | {"default_endpoint": None}).status == 200
    assert not kept.exists()


def kept_for(home: Path, notebook: Path) -> Path:
    return home / "notebooks" / f"{hashlib.sha256(os.fsencode(notebook)).hexdigest()}.json"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"path": ""},
        {"path": 3, "default_endpoint": None},
        {"path": "a\0b", "default_endpoint": "x"},
        {"path": "../../outside.ipynb", "default_endpoint": "x"},
        {"path": "a.ipynb", "default_endpoint": ""},
        {"path": "a.ipynb", "default_endpoint": ["x"]},
        {"path": "a.ipynb", "default_endpoint": "x" * 300},
        ["path"],
    ],
)
def test_what_is_no_notebook_or_no_endpoint(jupyter: JupyterServer, document: object) -> None:
    before = sorted(jupyter.home.glob("notebooks/*"))
    answer = jupyter("PUT", "notebooks", document)
    assert answer.status in (400, 404), answer.content
    assert answer.document["message"]
    assert sorted(jupyter.home.glob("notebooks/*")) == before
