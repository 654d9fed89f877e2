"""A real kernel against the real hub service and its endpoint ``local``, in a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

TIMEOUT_S = 60.0


class Kernel:
    """Executes cells and collects their outputs; updates go to the display they name, as in a front end."""

    def __init__(
        self, manager: KernelManager, client: BlockingKernelClient, environment: dict[str, str]
    ) -> None:
        self.manager, self.client, self.environment = manager, client, environment
        self.displays: dict[str, dict[str, Any]] = {}
        #: the text of each display that was changed, oldest first
        self.updates: list[str] = []

    def run(
        self,
        cell: str,
        on_output: Callable[[dict[str, Any]], None] | None = None,
        *,
        is_recorded: bool = False,
    ) -> list[dict[str, Any]]:
        """Execute a cell, with nobody looking on if ``is_recorded``; return its outputs when it has ended."""
        asked = self.client.execute(cell, allow_stdin=not is_recorded)
        outputs: list[dict[str, Any]] = []
        while True:
            message = self.client.get_iopub_msg(timeout=TIMEOUT_S)
            kind, content = message["header"]["msg_type"], message["content"]
            mine = message["parent_header"].get("msg_id") == asked
            if kind == "status":
                if mine and content["execution_state"] == "idle":
                    self.client.get_shell_msg(timeout=TIMEOUT_S)
                    return outputs
            elif kind == "update_display_data":
                self.updates.append(content["data"].get("text/plain", ""))
                self.displays[content["transient"]["display_id"]].update(
                    data=content["data"], metadata=content["metadata"]
                )
            elif mine and kind != "execute_input":
                outputs.append({"type": kind, **content})
                display_id = content.get("transient", {}).get("display_id")
                if display_id:
                    self.displays[display_id] = outputs[-1]
                if on_output is not None:
                    on_output(outputs[-1])

    def wait_for(self, expression: Callable[[], bool]) -> None:
        """Use the kernel until the expression holds: updates are read on the way."""
        deadline = time.monotonic() + TIMEOUT_S
        while not expression():
            assert time.monotonic() < deadline, self.displays
            self.run("None")
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """The kernel's process."""
        provisioner = self.manager.provisioner
        assert isinstance(provisioner, LocalProvisioner)
        assert provisioner.pid is not None
        return provisioner.pid

    def restart(self) -> None:
        """End the kernel without asking it and start another in its place."""
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=TIMEOUT_S)
        self.run("%load_ext funcx_lab")

    def cli(self, *words: str) -> None:
        """Run ``funcx-lab`` in the kernel's home."""
        command = [sys.executable, "-m", "funcx_lab.cli", *words]
        subprocess.run(command, env=self.environment, check=True, timeout=TIMEOUT_S, capture_output=True)


@contextmanager
def running_kernel(home: Path, **variables: str) -> Iterator[Kernel]:
    """A kernel with the magics loaded; it and its hub service are ended behind the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FUNCX_LAB")}
    environment |= {"FUNCX_LAB_HOME": str(home / "funcx"), "IPYTHONDIR": str(home / "ipython"), **variables}
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=environment, cwd=str(home))
    client = manager.blocking_client()
    client.start_channels()
    kernel = Kernel(manager, client, environment)
    try:
        client.wait_for_ready(timeout=TIMEOUT_S)
        kernel.run("%load_ext funcx_lab")
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        kernel.cli("stop")


def streams(outputs: list[dict[str, Any]], name: str) -> str:
    return "".join(output["text"] for output in outputs if output.get("name") == name)


def plain(outputs: list[dict[str, Any]], kind: str) -> list[str]:
    return [output["data"]["text/plain"] for output in outputs if output["type"] == kind]
