"""The pages that come from the code say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from funcx_lab_magics.arguments import cell_parser

ROOT = Path(__file__).parents[2]
IMAGE_LIMIT = 150_000
PROSE = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").rglob("*.md"),
]
VARIABLE = re.compile(r"\bFUNCX_LAB_[A-Z_]*[A-Z]\b")
# Not settings: marks of our own processes, an error code, the front of a longer name.
INTERNAL = {
    "FUNCX_LAB_UMASK",
    "FUNCX_LAB_EMBEDDED",
    "FUNCX_LAB_ENDPOINT",
    "FUNCX_LAB_ENGINE",
    "FUNCX_LAB_ERROR",
    "FUNCX_LAB_JUPYTERHUB",
}


def test_the_generated_pages_are_up_to_date() -> None:
    """Commands and options, routes, errors, settings: docs/reference is what the code says."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "write_reference.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_environment_variable_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    folders = ("funcx_lab", "magics", "endpoint", "hub_service", "labextension/funcx_lab_labextension")
    used = {
        name
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for name in VARIABLE.findall(path.read_text())
    }
    assert used - INTERNAL - set(VARIABLE.findall(page)) == set()


@pytest.mark.parametrize("page", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_picture_is_shown_and_small() -> None:
    text = "".join(page.read_text() for page in PROSE)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert f"images/{picture.name}" in text, f"no page shows {picture.name}"
        assert picture.stat().st_size <= IMAGE_LIMIT, f"{picture.name} is too large for a page"


def test_every_option_of_a_cell_is_explained() -> None:
    """In prose, not only in the generated list."""
    text = "".join(page.read_text() for page in PROSE if page.parent.name != "reference")
    options = [action.option_strings for action in cell_parser()._actions if action.option_strings]
    # What prose shows is the short form of some and the long form of others.
    silent = [
        names for names in options if not any(re.search(rf"(?<![-\w]){name}\b", text) for name in names)
    ]
    assert silent == []
