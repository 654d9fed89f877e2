"""Run a notebook in a real kernel against a hub service of its own, print it as it runs, leave nothing.

    python scripts/demo.py [--keep] [NOTEBOOK]

State lives in a temporary ``FUNCX_LAB_HOME``, so a service that runs already is not touched. Exits 0 if
every cell did what it should and no process was left.
"""

from __future__ import annotations

# ruff: noqa: E402 - the imports take seconds, and nothing runs yet: an interrupt then ends it without a word
import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from funcx_lab.embedded import ensure_service, stop_service
from funcx_lab.errors import FuncxLabError
from funcx_lab.leftovers import find_leftovers
from funcx_lab.locks import is_held
from funcx_lab.transport import Transport

ROOT = Path(__file__).resolve().parent.parent
CELL_TIMEOUT_S = 300
KERNEL_END_S = 5
INDENT = "      "
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class PrintingClient(NotebookClient):
    """Executes a notebook and prints each output when it arrives."""

    shown: dict[str, str]

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> Any:
        """Print what ``msg`` brings before it is stored in the cell; an update only if the text is new."""
        content = msg["content"]
        text = text_of(msg["msg_type"], content)
        display = (content.get("transient") or {}).get("display_id", "")
        if text and not (display and self.shown.get(display) == text):
            print_indented(text)
            self.shown[display] = text
        return super().process_message(msg, cell, cell_index)


def main() -> int:
    """Run the notebook and return the exit code."""
    parser = argparse.ArgumentParser(description="Run a notebook against a hub service of its own.")
    parser.add_argument("notebook", nargs="?", type=Path, default=ROOT / "notebooks" / "01-quickstart.ipynb")
    parser.add_argument("--keep", action="store_true", help="keep the state directory and say where it is")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    home = Path(tempfile.mkdtemp(prefix="funcx-lab-demo-"))
    isolate(home)
    code = 1
    try:
        code = 0 if run(arguments.notebook) else 1
    except KeyboardInterrupt:
        print("\nInterrupted.")
        code = 130
    except SystemExit as end:
        code = int(end.code or 0)
    except FuncxLabError as err:
        print(f"\n{err.code}: {err}", file=sys.stderr)
    finally:
        clean = stop(home)
        if arguments.keep or (code == 1 and (home / "logs").exists()):
            print(f"The state is kept in {home}")
        else:
            shutil.rmtree(home, ignore_errors=True)
    return code if clean else code or 1


def isolate(home: Path) -> None:
    """Let this process and the kernel use ``home`` and nothing of the user's settings."""
    for name in [name for name in os.environ if name.startswith(("FUNCX_LAB_", "JUPYTERHUB_"))]:
        del os.environ[name]
    os.environ |= {
        "FUNCX_LAB_HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_DATA_DIR": str(home / "jupyter-data"),
        "JUPYTER_RUNTIME_DIR": str(home / "jupyter-runtime"),
    }


def run(path: Path) -> bool:
    """Execute the notebook, print it and the tasks' outcomes; False if a cell failed that should not."""
    started = time.monotonic()
    service = ensure_service()
    print(f"Hub service: {service.url} (started in {time.monotonic() - started:.1f} s)")
    notebook = nbformat.read(path, as_version=4)
    succeeded = execute(notebook, path.parent)
    counts: dict[str, int] = Transport(service).json("GET", "/v3/stats")["tasks"]
    counts = {state: number for state, number in counts.items() if number}
    ends = ", ".join(
        f"{number} {state}" for state, number in sorted(counts.items(), key=lambda pair: -pair[1])
    )
    print(f"\n{sum(counts.values())} tasks in {time.monotonic() - started:.0f} s: {ends}.")
    return succeeded


def execute(notebook: NotebookNode, directory: Path) -> bool:
    """Execute the cells one after another; False at the first one that failed and should not have."""
    client = PrintingClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        extra_arguments=["--log-level=CRITICAL"],  # ipykernel warns of TCP on loopback at each start
        resources={"metadata": {"path": str(directory)}},
    )
    client.shown = {}
    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    number = 0
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                print_heading(cell.source)
                continue
            number += 1
            print(f"\n[{number:2}/{total}] {headline(cell.source)}", flush=True)
            try:
                client.execute_cell(cell, index)
            except CellExecutionError:
                print(f"\nCell {number} failed; the lines above say how.", file=sys.stderr)
                return False
            except DeadKernelError as err:
                print(f"\nCell {number}: {err}", file=sys.stderr)
                return False
    return True


def headline(source: str) -> str:
    """Return the lines that say what a cell does: the first one, and how many follow."""
    lines = [line for line in source.splitlines() if line.strip()] or [""]
    return lines[0] if len(lines) == 1 else f"{lines[0]}  (+{len(lines) - 1} lines)"


def print_heading(source: str) -> None:
    """Print the heading that a text cell begins with."""
    first = source.partition("\n")[0]
    if first.startswith("#"):
        print(f"\n{first.lstrip('# ')}", flush=True)


def text_of(kind: str, content: dict[str, Any]) -> str:
    """Return the text form of one output message."""
    if kind == "stream":
        return str(content["text"])
    if kind == "error":
        return "\n".join(content["traceback"])
    if kind in {"display_data", "execute_result", "update_display_data"}:
        data = content["data"]
        images = [mime for mime in data if mime.startswith("image/")]
        text = str(data.get("text/plain", ""))
        return f"[{images[0]}] {text}" if images else text
    return ""


def print_indented(text: str) -> None:
    """Print ``text`` below a cell's headline, without colours if this is no terminal."""
    if not sys.stdout.isatty():
        text = ESCAPE.sub("", text)
    for line in text.rstrip("\n").splitlines():
        print(f"{INDENT}{line}", flush=True)


def stop(home: Path) -> bool:
    """Stop everything and say whether a process was left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # cleaning up takes seconds and must come to its end
    stop_service()
    end_kernel()
    left = {
        process.pid: process
        for process in [*find_leftovers(home), *psutil.Process().children(recursive=True)]
    }
    held = [lock for lock in home.rglob("*.lock") if is_held(lock)]
    if not left and not held:
        print("Stopped; no process is left.")
        return True
    for process in left.values():
        print(f"Left: {process}", file=sys.stderr)
    for lock in held:
        print(f"Left: a process that holds {lock}", file=sys.stderr)
    return False


def end_kernel() -> None:
    """End a kernel that was just being started when an interrupt came: nobody else has its handle."""
    kernels = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "ipykernel_launcher" in child.cmdline():
                child.kill()
                kernels.append(child)
    psutil.wait_procs(kernels, timeout=KERNEL_END_S)


if __name__ == "__main__":
    sys.exit(main())
