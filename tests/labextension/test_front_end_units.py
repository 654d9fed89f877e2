"""What the front end decides without a browser: labextension/tests/*.test.js in Node's test runner."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "labextension"
TESTS = FOLDER / "tests"
_TSC = FOLDER / "node_modules" / "typescript" / "bin" / "tsc"
#: Modules that decide and do no I/O; what they import is compiled with them.
_PURE = (
    "service/{backoff,book,course,documents,follows,listing,problems,settings}",
    "shell/{endings,words}",
    "views/table/{columns,selection}",
    "views/task/{ansi,logStore}",
    "views/sidebar/{endpointFacts}",
    "./{looks}",
)
_LIMIT_S = 300


@pytest.fixture(scope="module")
def node() -> str:
    """Node, where the front end is built."""
    here = Path(sys.executable).parent  # where `make labextension` puts it if there was none
    found = shutil.which("node") or shutil.which("node", path=str(here))
    assert found is not None
    assert _TSC.exists(), "needs labextension/node_modules: make labextension"
    return found


@pytest.fixture(scope="module")
def compiled(node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pure modules as Node can load them."""
    place = tmp_path_factory.mktemp("compiled")
    options = ["--module", "commonjs", "--target", "ES2022", "--moduleResolution", "node", "--skipLibCheck"]
    command = [node, str(_TSC), "--rootDir", "src", "--outDir", str(place), "--strict", *options, *_sources()]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout
    # What is compiled loads the packages that the front end is built with.
    (place / "node_modules").symlink_to(FOLDER / "node_modules")
    return place


@pytest.mark.slow  # the quick tests need no Node
@pytest.mark.parametrize("test", sorted(path.name for path in TESTS.glob("*.test.js")))
def test_front_end_unit(test: str, node: str, compiled: Path) -> None:
    done = subprocess.run(
        [node, "--test", str(TESTS / test)],
        env=os.environ | {"FUNCX_LAB_COMPILED": str(compiled)},
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _sources() -> list[str]:
    found = []
    for pattern in _PURE:
        folder, names = pattern.removesuffix("}").split("/{")
        found += [f"src/{folder}/{name}.ts" for name in names.split(",")]
    return found
