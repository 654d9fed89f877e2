"""Another user of the same machine, and what our programs show: files, command lines, logs, ports."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from funcx_lab import FuncXClient, embedded
from funcx_lab.config import write_private
from funcx_lab.errors import FuncxLabError, InvalidName
from funcx_lab.protocol import messages as m
from funcx_lab_endpoint.files import EndpointFiles

NOBODY = 65534
#: words that no log may begin a line with
FORGED = "2031-01-01 00:00:00,000 CRITICAL forged"
EVIL_NAMES = [
    f"a\r\n{FORGED}: all is well",
    f"a\n{FORGED}\n",
    f"a\x1b[2J\x1b]0;owned\x07{FORGED}",
    f"a\u2028{FORGED}",
    f"a\x85{FORGED}",
    "%s%s%n{0}{self}",
    "\0" * 10,
    "x" * 50_000,
]


# --- T23: logs ----------------------------------------------------------------------------------------


def test_names_do_not_write_log_lines(hub: Any, ada: Any, nobody: Any, agent_of: Callable[..., Any]) -> None:
    agent = agent_of(ada, "cluster").connect()
    for name in EVIL_NAMES:
        for path, body in (
            ("/v3/functions", {"function_name": name, "function_code": name, "meta": {name: name}}),
            ("/v3/functions", {"function_name": name, "format": name, "body": name}),
            ("/v3/endpoints", {"endpoint_name": name}),
            ("/v3/endpoints", {"endpoint_name": "cluster2", "endpoint_uuid": name}),
            ("/v3/endpoints/cluster/submit", {"tasks": {name: [name]}, "task_group_id": name}),
            ("/v3/tasks/cancel", {"task_ids": [name]}),
            (f"/v3/endpoints/{agent.endpoint_id}/enrol", {"enrolment_token": name, "public_key": name}),
        ):
            ada("POST", path, body)
        quoted = "".join(f"%{byte:02x}" for byte in name.encode()[:300])
        for path in ("/v2/endpoints/{}", "/v3/tasks/{}", "/v2/functions/{}", "/v3/objects/{}", "/{}"):
            ada("GET", path.format(quoted))
        ada("GET", f"/v3/tasks?limit={quoted[:900]}&state={quoted[:900]}")
        with contextlib.suppress(Exception):  # urllib3 refuses some of them itself
            nobody("GET", "/v3/whoami", headers={"Authorization": f"Bearer {name}", "User-Agent": name})
        agent.connect(nonce=name, instance=name)
        agent.send(m.Started(agent.session, [(name, 1, name, 1.0, {name: name})]))
        agent.send(m.Lost(agent.session, [(name, 1, name, name)]))
        agent.send(m.Heartbeat(agent.session, {"waiting_reason": name, name: name}))
        agent.send(m.Bye(agent.session, name))
    for log in hub.home.rglob("*.log"):
        lines = re.split("[\r\n\x85\u2028\u2029\x0b\x0c]", log.read_text(encoding="utf-8", errors="replace"))
        assert not [line for line in lines if line.lstrip().startswith(FORGED[:20])], log
        assert "\x1b" not in log.read_text(encoding="utf-8", errors="replace"), log


def test_the_audit_log_is_one_entry_a_line(hub: Any, ada: Any) -> None:
    ada("POST", "/v3/functions", {"function_name": EVIL_NAMES[0], "function_code": "3\nabc"})
    log = hub.data / "audit.log"
    hub.command("audit", "--verify")
    text = log.read_bytes()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    for line in text.rstrip(b"\n").split(b"\n"):
        assert isinstance(json.loads(line), dict)
    for secret in hub.tokens.values():
        assert secret.encode() not in text


def test_an_audit_log_that_was_changed_is_noticed(hub: Any, ada: Any) -> None:
    ada("POST", "/v3/functions", {"function_name": "g", "function_code": "3\nabc"})
    hub.command("audit", "--verify")
    log = hub.data / "audit.log"
    good = log.read_bytes()
    lines = good.splitlines(keepends=True)
    assert len(lines) > 3
    changed = {
        "a line is missing": lines[:1] + lines[2:],
        "two are swapped": [lines[1], lines[0], *lines[2:]],
        "a name is another": [lines[0].replace(b"a", b"b", 1), *lines[1:]],
        "a line is new": [lines[0], lines[0], *lines[1:]],
    }
    try:
        for what, now in changed.items():
            log.write_bytes(b"".join(now))
            with pytest.raises(subprocess.CalledProcessError):
                pytest.fail(what + ": " + hub.command("audit", "--verify"))
    finally:
        log.write_bytes(good)


# --- T20, T21: a whole local service ------------------------------------------------------------------


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
    import re
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


# --- T19: names and paths -----------------------------------------------------------------------------

PATHS = [
    *(
        "..",
        ".",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "",
        " ",
        "-rf",
        "--help",
        "~",
        "$HOME",
    ),
    *(
        "A",
        "\u00e9",
        "\uff41",
        "a\u0301",
        "\u202ea",
        "a" * 64,
        "con:",
        "a.b",
        "%2e%2e",
        "a;b",
        "a|b",
        "a`b`",
        "*",
        "a b",
    ),
]


@pytest.mark.parametrize("name", PATHS, ids=ascii)
def test_an_endpoints_name_is_no_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ada: Any
) -> None:
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path / "home"))
    with pytest.raises(InvalidName):
        EndpointFiles(name).create()
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} <= {
        "home",
        "home/endpoints",
    }
    assert ada("POST", "/v3/endpoints", {"endpoint_name": name}).document["code"] == "INVALID_NAME"


@pytest.mark.parametrize("link", ["endpoints", "endpoints/victim"])
def test_a_symlink_in_the_place_of_a_directory(
    link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by somebody else in a home that was open to others: nothing is written behind it."""
    home, trap = tmp_path / "home", tmp_path / "trap"
    trap.mkdir()
    (home / link).parent.mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    (home / link).symlink_to(trap)
    monkeypatch.setenv("FUNCX_LAB_HOME", str(home))
    files = EndpointFiles("victim")
    with contextlib.suppress(FuncxLabError, OSError):
        files.create()
    foreign = [path for path in trap.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    assert foreign == []


def test_a_planted_link_in_the_place_of_a_private_file(tmp_path: Path) -> None:
    """What is written goes into a new file, not through the link."""
    victim, link = tmp_path / "victim", tmp_path / "token"
    victim.write_text("mine")
    link.symlink_to(victim)
    write_private(link, "secret")
    assert victim.read_text() == "mine"
    assert not link.is_symlink()
    assert stat.S_IMODE(link.stat().st_mode) == 0o600


def test_objects_of_the_service_are_files_with_names_of_its_own(hub: Any, ada: Any) -> None:
    before = {path for path in hub.home.parent.rglob("*") if "objects" not in path.parts}
    for name in (
        "../" * 8 + "etc/passwd",
        "..",
        "%2e%2e%2fx",
        "A" * 64,
        "g" * 64,
        "\0" * 64,
        "0" * 63,
        "0" * 65,
    ):
        quoted = name.replace("/", "%2f").replace("\0", "%00")
        for verb in ("PUT", "GET", "HEAD"):
            assert ada(verb, f"/v3/objects/{quoted}", body=b"x" if verb == "PUT" else None).status in (
                400,
                404,
            )
    data = b"content"
    digest = hashlib.sha256(data).hexdigest()
    assert ada("PUT", f"/v3/objects/{digest}", body=data).status == 201
    assert {path for path in hub.home.parent.rglob("*") if "objects" not in path.parts} == before
    found = [path.name for path in (hub.data / "objects").rglob("*") if path.is_file()]
    assert digest in found
    assert all(re.fullmatch("[0-9a-f]{64}", name) for name in found)


def test_a_linked_object_does_not_lead_out(hub: Any, ada: Any, tmp_path: Path) -> None:
    """Who can write into the service's directory has won anyway; but no request alone makes a link."""
    data = b"another object"
    digest = hashlib.sha256(data).hexdigest()
    assert ada("PUT", f"/v3/objects/{digest}", body=data).status == 201
    assert not [path for path in hub.data.rglob("*") if path.is_symlink()]


def test_a_home_that_others_may_enter_is_refused_or_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("FUNCX_LAB_HOME", str(home))
    files = EndpointFiles("open")
    old = os.umask(0o000)
    try:
        files.create()
    finally:
        os.umask(old)
    for path in (files.directory, files.directory.parent, home):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
