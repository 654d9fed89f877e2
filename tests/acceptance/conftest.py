"""A local service of a test's own, seen from outside: its programs by role, its files, its secrets."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from funcx_lab import FuncXClient, stream
from funcx_lab.errors import FuncxLabError
from funcx_lab.leftovers import find_leftovers

#: What the command line of each program holds.
ROLES = {
    "hub": "funcx_lab_hub_service --embedded",
    "agent": "funcx_lab_endpoint.cli start",
    "engine": "funcx_lab_endpoint.engine.child",
    "interchange": "HTEX interchange",
    "manager": "process_worker_pool.py --max_workers",
}


class Lab:
    """A local service in a home of its own; ``os.environ`` points there while it lives."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def processes(self) -> list[psutil.Process]:
        """Return all programs of this home, without this one."""
        found = []
        for process in psutil.process_iter():
            try:
                is_ours = process.environ().get("FUNCX_LAB_HOME") == str(self.home)
                is_alive = process.status() != psutil.STATUS_ZOMBIE
            except psutil.Error:  # gone, or another user's
                continue
            if is_ours and is_alive and process.pid != os.getpid():
                found.append(process)
        return found

    def find(self, role: str) -> psutil.Process:
        """Return the one program of a role, once its predecessor is gone."""
        until(lambda: len(self._all(role)) == 1)
        return self._all(role)[0]

    def _all(self, role: str) -> list[psutil.Process]:
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):  # gone meanwhile
                # Shells carry the command line of what they start.
                if ROLES[role] in " ".join(process.cmdline()) and process.name() not in ("bash", "sh"):
                    found.append(process)
        return found

    def run(self, module: str, *arguments: str, code: int = 0) -> str:
        """Run one of our commands and return all it says."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            cwd=self.home.parent,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def lab(self, *arguments: str, code: int = 0) -> str:
        return self.run("funcx_lab.cli", *arguments, code=code)

    def endpoint(self, *arguments: str, code: int = 0) -> str:
        return self.run("funcx_lab_endpoint.cli", *arguments, code=code)

    @property
    def url(self) -> str:
        return str(json.loads((self.home / "service.json").read_text())["url"])

    def secrets(self) -> set[str]:
        """Return every token and secret key that lies in the home."""
        found = {(self.home / "token").read_text().strip()}
        found.add((self.home / "hub" / "forwarder.key").read_text().strip())
        for file in self.home.glob("endpoints/*/endpoint.json"):
            found.add(json.loads(file.read_text())["agent_token"])
        for file in self.home.glob("endpoints/*/agent.key"):
            found.add(json.loads(file.read_text())["secret"])
        return found

    def check_tidiness(self) -> None:
        """Check that files are private and that no secret shows in a log or on a command line."""
        secrets = self.secrets()
        for path in [self.home, *self.home.rglob("*")]:
            if not path.is_symlink():
                assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        for path in self.home.rglob("*.log"):
            assert not [secret for secret in secrets if secret in path.read_text(errors="replace")], path
        for process in self.processes():
            with contextlib.suppress(psutil.Error):  # gone meanwhile
                line = " ".join(process.cmdline())
                assert not [secret for secret in secrets if secret in line], process

    def end(self) -> None:
        """End everything and check that nothing is left."""
        stream.close_streams(str(self.home))
        self.lab("stop")
        assert find_leftovers(self.home) == []
        assert self.processes() == []


def until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


@pytest.fixture(scope="session", name="until")
def _until() -> Callable[..., None]:
    return until


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One service for the tests of a file, which leave it running."""
    home = tmp_path_factory.mktemp("lab") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUNCX_LAB_HOME", str(home))
        lab = Lab(home)
        lab.lab("start")
        try:
            yield lab
            lab.check_tidiness()
        finally:
            lab.end()


@pytest.fixture
def client(lab: Lab) -> Iterator[FuncXClient]:
    client = FuncXClient()
    yield client
    client.connection.transport.close()


@pytest.fixture
def fails(client: FuncXClient) -> Callable[..., FuncxLabError]:
    """Run something that raises an error with that code; the service must be sound afterwards."""

    def fails(kind: type[FuncxLabError], code: str, action: Callable[[], object]) -> FuncxLabError:
        with pytest.raises(kind) as caught:
            action()
        assert caught.value.code == code
        assert client.submit(abs, -12).result(60) == 12
        return caught.value

    return fails
