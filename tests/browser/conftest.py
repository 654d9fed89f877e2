"""What the browser looks at has to be built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _panel_is_built() -> None:
    """Say so at once, where each test would wait a minute for a panel that never comes."""
    about = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "funcx-lab" / "package.json"
    assert about.exists(), "the front end is not built: make labextension"
