"""The commands for a hub service's directory: tokens, the audit log, backups."""

from __future__ import annotations

import base64
import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from funcx_lab_hub_service.audit import entries

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(data: Path) -> Command:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "funcx_lab_hub_service", "--data", str(data), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ,
        )

    return run


def register(ask: Any, name: str) -> str:
    body = base64.b64encode(name.encode()).decode()
    document = {"function_name": name, "format": "funcx-lab", "body": body}
    return str(ask("POST", "/v3/functions", document).document["function_uuid"])


def damage(path: Path) -> None:
    """Overwrite the page that a table begins with, as a bad disk would."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'results'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_tokens_made_and_revoked_by_command_are_written_down(command: Command, data: Path) -> None:
    token = command("token", "create", "ada", "--label", "laptop").stdout.strip()
    assert command("token", "revoke", "1").returncode == 0
    made, revoked = entries(data / "audit.log")
    assert (made["event"], made["user"], made["label"]) == ("token-created", "ada", "laptop")
    assert (revoked["event"], revoked["token"], revoked["by"]) == ("token-revoked", 1, os.getuid())
    assert token not in (data / "audit.log").read_text()


def test_the_chain_of_service_and_commands_is_verified(start: Any, command: Command, data: Path) -> None:
    hub = start()
    command("token", "create", "bob")
    hub.stop()
    done = command("audit", "--verify")
    assert (done.returncode, "as they were written" in done.stdout) == (0, True), done.stderr
    assert "token-created" in command("audit").stdout
    log = data / "audit.log"
    log.write_bytes(log.read_bytes().replace(b"bob", b"eve"))
    done = command("audit", "--verify")
    assert done.returncode == 1
    assert "changed" in done.stderr


def test_an_audit_log_that_is_not_there_is_said(command: Command, data: Path) -> None:
    for arguments in (("audit",), ("audit", "--verify")):
        done = command(*arguments)
        assert done.returncode == 1
        assert str(data / "audit.log") in done.stderr
        assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(command: Command, data: Path) -> None:
    command("token", "create", "ada")
    for words in (["audit"], ["token", "list"]):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [sys.executable, "-m", "funcx_lab_hub_service", "--data", str(data), *words],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_backup_is_made_while_it_runs_and_put_back_when_it_is_damaged(
    start: Any, clients: Any, command: Command, data: Path, tmp_path: Path
) -> None:
    hub = start()
    ask = clients(hub.url, hub.token)
    kept = register(ask, "kept")
    copy = tmp_path / "copy.db"
    assert command("backup", str(copy)).returncode == 0
    assert copy.stat().st_mode & 0o777 == 0o600
    assert "exists already" in command("backup", str(copy)).stderr
    register(ask, "x" * 100_000)
    done = command("restore", str(copy))
    assert (done.returncode, "stop it first" in done.stderr) == (1, True)
    boot = hub.service.database.boot
    hub.stop()
    damage(data / "hub.db")

    sick = start()
    again = clients(sick.url, ask.token)
    assert sick.service.damage
    assert again("GET", "/healthz").document == {"status": "read-only"}
    assert again("GET", "/v3/whoami").document["damage"] == sick.service.damage
    assert again("GET", f"/v2/functions/{kept}").status == 200
    answer = again("POST", "/v3/endpoints", {"endpoint_name": "new"})
    assert (answer.status, answer.document["code"]) == (503, "STORE_DAMAGED")
    assert "restore" in answer.document["message"]
    assert sick.service.forwarder.port == 0
    sick.stop()

    done = command("restore", str(copy))
    assert done.returncode == 0, done.stderr
    healthy = start()
    assert not healthy.service.damage
    assert healthy.service.database.boot > boot
    ask = clients(healthy.url, ask.token)
    assert [f["function_name"] for f in ask("GET", "/v3/functions").document["functions"]] == ["kept"]
    assert [entry["event"] for entry in entries(data / "audit.log")].count("restored") == 1


@pytest.mark.parametrize("content", [b"", b"no database at all" * 1000])
def test_what_is_no_backup_is_not_put_back(
    start: Any, command: Command, data: Path, tmp_path: Path, content: bytes
) -> None:
    start().stop()
    before = (data / "hub.db").read_bytes()
    bad = tmp_path / "bad.db"
    bad.write_bytes(content)
    done = command("restore", str(bad))
    assert done.returncode == 1
    assert "bad.db" in done.stderr
    assert "Traceback" not in done.stderr
    assert (data / "hub.db").read_bytes() == before


def test_a_revocation_by_command_cuts_streams_and_agents_within_5_s(
    hub: Any, ask: Any, agent: Any, client_for: Any, command: Command
) -> None:
    watcher = client_for(hub.new_token("ada"))
    numbers = {record.kind: record.token_id for record in hub.do(hub.service.tokens.list)}
    user = hub.do(lambda: hub.service.tokens.verify(ask.token)).token_id
    with ask.stream() as connection:
        assert ask("GET", "/v3/whoami").status == 200
        command("token", "revoke", str(user))
        command("token", "revoke", str(numbers["endpoint"]))
        end = time.monotonic() + 5
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(end - time.monotonic())
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008
    assert ask("GET", "/v3/whoami").status == 401
    while watcher("GET", "/v2/endpoints/cluster/status").document["status"] != "offline":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "revoked" in watcher("GET", "/v2/endpoints/cluster/status").document["reason"]
    link = client_for(agent.about["agent_token"])("GET", "/v3/link")
    assert link.status == 401
