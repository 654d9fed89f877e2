"""What the browser looks at: the built front end, and a JupyterLab for each module."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from funcx_lab import stream
from tests.browser.lab import JupyterLab, jupyter_lab

#: A page may ask for a task a moment before the service has it, and the browser itself writes that down.
_EARLY = re.compile(r"404 .*/funcx-lab/api/v3/tasks/")


@pytest.fixture(scope="session", autouse=True)
def _panel_is_built() -> None:
    """Say so at once, where each test would wait a minute for a panel that never comes."""
    about = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "funcx-lab" / "package.json"
    assert about.exists(), "the front end is not built: make labextension"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    with (
        pytest.MonkeyPatch.context() as patch,
        jupyter_lab(tmp_path_factory.mktemp("lab"), patch.setenv) as lab,
    ):
        yield lab
        stream.close_streams()


@pytest.fixture(autouse=True)
def _nothing_strays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let no page ask for anything off this machine, or complain."""
    lab = request.getfixturevalue("lab") if "lab" in request.fixturenames else None
    yield
    if lab is not None:
        assert lab.strays == [], "a page asked for something that is not on this machine"
        complaints = [each for each in lab.complaints if not _EARLY.search(each)]
        lab.complaints.clear()
        assert complaints == []
