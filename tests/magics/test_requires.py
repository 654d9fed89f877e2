"""Cells that require packages."""

from __future__ import annotations

from typing import Any

import pytest


def test_requirements_are_named_and_travel(notebook: Any) -> None:
    ran = notebook.good("%%funcx local --requires 'numpy>=1,<9,scipy' --requires pandas\n1 + 1")
    assert ran.manifest == "→ local · requires numpy>=1,<9, scipy, pandas"
    (sent,) = notebook.client.submitted
    assert sent["options"].requires == ["numpy>=1,<9", "scipy", "pandas"]


@pytest.mark.parametrize("text", ["'numpy 2'", "'-r file'", "'numpy>=1,,scipy'"])
def test_what_is_no_requirement_is_one_line(notebook: Any, text: str) -> None:
    ran = notebook.run(f"%%funcx local --requires {text}\n1 + 1")
    assert "no requirement" in str(ran.error)
    assert "--help" in str(ran.error)
    assert notebook.client.submitted == []
