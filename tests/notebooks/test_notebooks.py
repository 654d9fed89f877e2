"""The notebooks run as they are: in a kernel, under papermill and nbconvert, and so does the tutorial."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from funcx_lab import FuncXClient, stream
from funcx_lab.embedded import ensure_service, stop_service

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
#: `make demo` runs this one, and its test what it shows.
RUN_BY_DEMO = "01-quickstart"
#: A cell of the tutorial, and the output that stands right below it.
SHOWN = re.compile(r"```python\n(.*?)\n```\n(?:```\n(.*?)\n```\n)?", re.DOTALL)
#: Differ from run to run: who tells of the environment, hosts, versions, marks below a line of code, ids,
#: times of day, times taken, sizes of pickles, how far a task is that nobody waits for.
PASSING = re.compile(
    r" \(its agent's; no worker has reported yet\)|(?<=on local )\(.*?\)|(?<=Python )[\d.]+|\n[ ~^]+(?=\n)"
    r"|\b(?:received|running|waiting-for-\w+)(?= on local)"
    r"|…[0-9a-f]{8}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\b\d+:\d\d\b|\b\d+(\.\d+)? (ms|s|kB|B)\b"
)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module", autouse=True)
def _service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    root = tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUNCX_LAB_HOME", str(root / "home"))
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(root / name.lower()))
        ensure_service()
        await_report()
        yield
        stop_service()


def await_report() -> None:
    """Wait until a worker has told its environment: what a dry run says depends on it."""
    client = FuncXClient()
    client.submit(abs, -1, endpoint="local").result(60)
    deadline = time.monotonic() + 60
    while (known := client.get_environment("local")) is None or known.source == "agent":
        assert time.monotonic() < deadline, "no worker reported"
        time.sleep(0.1)
    stream.close_streams()
    client.connection.transport.close()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], NotebookNode]:
    """Return what gives a notebook as nbclient records it."""

    @functools.cache
    def by_nbclient(name: str) -> NotebookNode:
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        place = {"metadata": {"path": str(tmp_path_factory.mktemp(name))}}
        NotebookClient(notebook, timeout=100, resources=place).execute()
        return notebook

    return by_nbclient


@pytest.mark.parametrize("name", [name for name in NAMES if name != RUN_BY_DEMO])
def test_a_notebook_runs(name: str, record: Callable[[str], NotebookNode]) -> None:
    notebook = record(name)
    meant = any("raises-exception" in cell.metadata.get("tags", []) for cell in notebook.cells)
    assert has_errors(notebook) is meant


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != RUN_BY_DEMO])
def test_papermill_and_nbconvert_record_the_same(
    name: str, record: Callable[[str], NotebookNode], tmp_path: Path
) -> None:
    source = FOLDER / f"{name}.ipynb"
    by_nbconvert = ["nbconvert", "--execute", "--to=notebook", "--output=by_nbconvert"]
    run(*by_nbconvert, f"--output-dir={tmp_path}", source)
    # It runs all of a notebook with an error that is meant, and then calls that a failure.
    target = tmp_path / "by_papermill.ipynb"
    options = ("--no-progress-bar", "--cwd", tmp_path)
    run("papermill", source, target, *options, code=int(has_errors(record(name))))
    expected = shown(record(name))
    for by in ("by_papermill", "by_nbconvert"):
        assert shown(nbformat.read(tmp_path / f"{by}.ipynb", as_version=4)) == expected


@pytest.mark.slow
def test_the_tutorial_tells_the_truth(tmp_path: Path) -> None:
    examples = SHOWN.findall((ROOT / "docs" / "tutorial.md").read_text())
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source, _ in examples])
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=100, allow_errors=True, resources=place).execute()
    told = [steady(output) for _, output in examples if output]
    pairs = zip(examples, notebook.cells, strict=True)
    happened = [steady(text_of(cell.outputs)) for (_, output), cell in pairs if output]
    assert len(told) > 10
    assert told == happened


def has_errors(notebook: NotebookNode) -> bool:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return any(output.output_type == "error" for output in outputs)


def run(*command: str | Path, code: int = 0) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == code, done.stderr


def shown(notebook: NotebookNode) -> list[tuple[str, list[Any]]]:
    """Return each code cell with what stands under it, without what differs from run to run."""
    return [
        (cell.source, [plain(output) for output in cell.outputs])
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def plain(output: NotebookNode) -> Any:
    if output.output_type == "stream":
        return output.name, steady(output.text)
    if output.output_type == "error":
        return output.ename, [steady(line) for line in output.traceback]
    return output.output_type, sorted(output.data), steady(output.data["text/plain"])


def steady(text: str) -> str:
    return PASSING.sub("", COLOURS.sub("", text))


def text_of(outputs: list[NotebookNode]) -> str:
    """Return all that stands under a cell as text."""
    parts = []
    for output in outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        elif output.output_type == "error":
            parts.append("\n".join(output.traceback))
        else:
            parts.append(output.data["text/plain"])
    return "\n".join(COLOURS.sub("", part).strip("\n") for part in parts)
