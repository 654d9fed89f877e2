"""The hub service's disk runs full while tasks run: submits wait, results are kept, nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, shutil, subprocess, sys, time
from pathlib import Path
from funcx_lab import FuncXClient

data = Path(os.environ["FUNCX_LAB_HOME"], "hub")
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", data], check=True)

def fill():
    with open(data / "filler", "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass

def slow(number):
    import time
    time.sleep(2)
    return number

client = FuncXClient()
assert client.submit(abs, -1).result(60) == 1
futures = [client.submit(slow, number) for number in range(2)]
assert all(future.wait_accepted(30) for future in futures)
fill()
assert shutil.disk_usage(data).free == 0
late = [client.submit(slow, number) for number in (7, 8)]
assert [future.result(60) for future in futures] == [0, 1]  # there is room left for results
assert not any(future.wait_accepted(0) for future in late)
(data / "filler").unlink()
assert [future.result(60) for future in late] == [7, 8]
print("all went on")
"""

# A small disk needs a mount namespace, which not every machine gives; what the store does when it is full is
# tested everywhere, in tests/hub_service/core.
_NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


def _has_namespaces() -> bool:
    try:
        return subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


if _has_namespaces():

    def test_a_full_disk_refuses_submits_and_loses_no_result(tmp_path: Path) -> None:
        home = tmp_path / "home"
        (home / "hub").mkdir(mode=0o700, parents=True)
        home.chmod(0o700)
        environment = {**os.environ, "FUNCX_LAB_HOME": str(home)}
        try:
            done = subprocess.run(
                [*_NAMESPACE, sys.executable, "-c", SCRIPT],
                env=environment,
                capture_output=True,
                text=True,
                timeout=110,
                check=False,
            )
        finally:
            subprocess.run([sys.executable, "-m", "funcx_lab.cli", "stop"], env=environment, check=True)
        assert done.stdout == "all went on\n", done.stderr
