"""Files and functions stay short enough to be read in one go."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
PACKAGES = (
    "funcx_lab",
    "magics/funcx_lab_magics",
    "endpoint/funcx_lab_endpoint",
    "hub_service/funcx_lab_hub_service",
    "labextension/funcx_lab_labextension",
    "scripts",
)
# Grows with each class, and is one list on purpose.
LONG_LISTS = {"funcx_lab/errors.py"}


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    if str(path.relative_to(ROOT)) not in LONG_LISTS:
        assert len(text.splitlines()) <= LONGEST_FILE, f"{path} is too long for one subject"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{path}:{node.lineno} {node.name} has {length} lines"


def front_end() -> list[Path]:
    return sorted(
        path for path in (ROOT / "labextension" / "src").rglob("*") if path.suffix in (".ts", ".tsx")
    )


@pytest.mark.parametrize("path", front_end(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_of_the_front_end_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE, f"{path} is too long for one subject"


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in sources() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
