"""Another user of the same machine, and what our programs and tasks show (T20, T21)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from funcx_lab import FuncXClient, embedded, stream

NOBODY = 65534


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a service, its endpoint and a warm worker; the way to it is open to everybody."""
    base = tmp_path_factory.mktemp("open")
    for parent in (base, *base.parents[:2]):
        parent.chmod(0o755)
    home = base / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUNCX_LAB_HOME", str(home))
        patch.setenv("FUNCX_LAB_UNRELATED", "kept")
        old = os.umask(0o000)  # the most careless of users
        try:
            embedded.ensure_service()
            client = FuncXClient()
            assert client.submit(abs, -3).result(60) == 3
            yield home
            stream.close_streams(str(home))
            client.connection.transport.close()
        finally:
            os.umask(old)
            embedded.stop_service()


def programs(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("FUNCX_LAB_HOME") == str(home) and process.pid != os.getpid():
                found.append(process)
    return found


def secrets_of(home: Path) -> set[str]:
    """Return every token and secret key that lies in the home."""
    found = {(home / "token").read_text().strip(), (home / "hub" / "forwarder.key").read_text().strip()}
    for file in home.glob("endpoints/*/agent.key"):
        found.add(json.loads(file.read_text())["secret"])
    for file in home.glob("endpoints/*/*.json"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found.add(json.loads(file.read_text())["agent_token"])
    assert len(found) >= 4
    return found


def beginning(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(100_000)


def as_another(work: Callable[[], object]) -> str:
    """Do it as the user nobody, in a process of its own, which needs root; return what it says."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = b"it failed"
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            said = repr(work()).encode()
        except BaseException as err:  # told to the parent, then this process ends
            said = f"{type(err).__name__}: {err}".encode()
        finally:
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(said)
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe_:
        text = pipe_.read().decode()
    os.waitpid(pid, 0)
    return text


def test_modes_are_private(lab: Path) -> None:
    for path in (lab, *lab.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode & 0o077 == 0, f"{path} has mode {mode:o}"


def test_another_user_reads_nothing(lab: Path) -> None:
    paths = [str(path) for path in (lab, *lab.rglob("*"))]
    assert len(paths) > 10

    def readable() -> list[str]:
        found = []
        for path in paths:
            with contextlib.suppress(OSError):
                os.listdir(path) if os.path.isdir(path) else Path(path).read_bytes()
                found.append(path)
        return found

    assert as_another(readable) == "[]"


def test_another_user_learns_no_secret_from_proc(lab: Path) -> None:
    secrets = [secret.encode() for secret in secrets_of(lab)]
    pids = [process.pid for process in programs(lab)]
    assert len(pids) >= 3

    def look() -> list[str]:
        found = []
        for pid in pids:
            for name in ("cmdline", "environ", "maps", "fd", "cwd", "status", "stat", "io", "mem"):
                path = f"/proc/{pid}/{name}"
                with contextlib.suppress(OSError):
                    data = repr(os.listdir(path)).encode() if os.path.isdir(path) else beginning(path)
                    found += [path for secret in secrets if secret in data]
                    found += [path] if name in ("environ", "mem", "fd") else []
        return found

    assert as_another(look) == "[]"


def test_no_secret_in_arguments_environments_and_logs(lab: Path) -> None:
    secrets = secrets_of(lab)
    for process in programs(lab):
        with contextlib.suppress(psutil.Error):  # gone meanwhile
            shown = " ".join(process.cmdline()) + repr(process.environ())
            assert not [secret for secret in secrets if secret in shown], process.cmdline()
    for path in lab.rglob("*"):
        if path.is_file() and (path.suffix in (".log", ".txt", ".err", ".out") or "log" in path.name):
            text = path.read_text(errors="replace")
            assert not [secret for secret in secrets if secret in text], path


def test_another_users_connections_get_nothing(lab: Path) -> None:
    """Each port that one of our programs listens on: only loopback, and nothing without a key or a token."""
    ports: dict[int, str] = {}
    for process in programs(lab):
        with contextlib.suppress(psutil.Error):
            for each in process.net_connections():
                if each.status == "LISTEN":
                    ports[each.laddr.port] = each.laddr.ip
    assert len(ports) >= 3
    assert all(ip.removeprefix("::ffff:").startswith("127.") or ip == "::1" for ip in ports.values()), ports

    def knock() -> list[bytes]:
        import pickle
        import socket

        heard = []
        for port, ip in ports.items():
            for first in (
                b"GET /v3/whoami HTTP/1.1\r\nHost: %s:%d\r\n\r\n" % (ip.encode(), port),
                pickle.dumps(print),
            ):
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection((ip, port), timeout=1) as connection,
                ):
                    connection.settimeout(0.3)
                    connection.sendall(first)
                    heard.append(connection.recv(12)[:12])
        return [each for each in heard if b" 2" in each]

    assert as_another(knock) == "[]"


def look_around() -> dict[str, Any]:
    """Return what a task finds in the process that runs it and in that process's parent."""
    import contextlib
    import os
    from pathlib import Path

    found: dict[str, Any] = {"environment": dict(os.environ), "files": [], "memory": []}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found["files"].append(os.readlink(f"/proc/self/fd/{number}"))
    for pid in ("self", os.getppid()):
        for name in ("environ", "cmdline"):
            found[f"{name} of {pid}"] = Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    with open("/proc/self/mem", "rb") as memory:
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, mode = line.split()[:2]
            low, high = (int(each, 16) for each in span.split("-"))
            if mode.startswith("rw") and high - low < 1 << 28:
                with contextlib.suppress(OSError, ValueError):
                    memory.seek(low)
                    found["memory"] += re.findall(b"fxl" + b"_[0-9A-Za-z_-]{43}", memory.read(high - low))
    return found


def test_a_task_finds_no_secret_around_it(lab: Path) -> None:
    """In its own process and in its parent's. It may read the user's files: it is the user."""
    client = FuncXClient()
    found = client.submit(look_around).result(60)
    client.connection.transport.close()
    assert found["memory"] == []
    assert not [secret for secret in secrets_of(lab) if secret in repr(found)]
    assert not [name for name in found["files"] if name.endswith((".key", "/token", ".lock", ".db"))]
    names = [name for name in found["environment"] if name.startswith(("FUNCX", "JUPYTER", "JPY"))]
    assert not [name for name in names if "TOKEN" in name]
