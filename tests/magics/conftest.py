"""An IPython shell with the magics loaded, over an endpoint that is a thread."""

from __future__ import annotations

import atexit
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from funcx_lab_magics import extension
from tests.magics.kernels import Kernel, running_kernel

# Named as a module of the endpoint, whose frames are cut out of tracebacks.
_spec = importlib.util.spec_from_file_location(
    "funcx_lab_endpoint.loopback", Path(__file__).parent / "loopback.py"
)
assert _spec is not None
assert _spec.loader is not None
loopback = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(loopback)


@dataclass
class Ran:
    """What running one cell gave."""

    result: Any
    error: BaseException | None
    stdout: str
    stderr: str
    shown: list[dict[str, Any]]

    @property
    def manifest(self) -> str:
        return next((bundle["text/plain"] for bundle in self.shown if "fx-manifest" in str(bundle)), "")


class Notebook:
    """Runs cells as a notebook would."""

    def __init__(self, shell: InteractiveShell, client: Any, magics: Any) -> None:
        self.shell, self.client, self.magics = shell, client, magics

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.shell.user_ns

    def run(self, cell: str) -> Ran:
        with capture_output() as captured:
            ran = self.shell.run_cell(cell, store_history=True)
        shown = [output.data for output in captured.outputs]
        error = ran.error_in_exec or ran.error_before_exec
        return Ran(ran.result, error, captured.stdout, captured.stderr, shown)

    def good(self, cell: str) -> Ran:
        ran = self.run(cell)
        if ran.error is not None:
            raise AssertionError(ran.stdout + ran.stderr) from ran.error
        return ran


@pytest.fixture(scope="package")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A real kernel that tests share: what they leave in it has names of its own."""
    with running_kernel(tmp_path_factory.mktemp("home")) as kernel:
        yield kernel


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Notebook]:
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path / "home"))
    config = Config()
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShell.colors = "nocolor"
    main, hook = sys.modules["__main__"], sys.displayhook
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "funcx_lab")
    magics = getattr(shell, extension._ADDED)[0]
    client = loopback.LoopbackClient()
    monkeypatch.setattr(magics.notebook, "_client", ("", client))
    yield Notebook(shell, client, magics)
    client.close()
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()
    sys.modules["__main__"], sys.displayhook = main, hook


Waiter = Callable[[Callable[[], bool]], None]
