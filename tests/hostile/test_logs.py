"""What people choose to be called, against the log and the audit log (T23)."""

from __future__ import annotations

import contextlib
import json
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from funcx_lab.protocol import messages as m

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


@pytest.fixture
def audited(hub: Any, ada: Any, until: Callable[..., None]) -> Path:
    """The audit log after deeds under evil names; notes gather for about a second before they are written."""
    log: Path = hub.data / "audit.log"
    for name in (*EVIL_NAMES[:4], "the last one"):
        answer = ada("POST", "/v3/functions", {"function_name": name, "function_code": "3\nabc"})
        function_id = answer.document["function_uuid"]
        ada("DELETE", f"/v2/functions/{function_id}")
    until(lambda: log.exists() and function_id in log.read_text())
    return log


def verify(data: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "funcx_lab_hub_service", "--data", str(data), "audit", "--verify"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_audit_log_is_one_entry_a_line(hub: Any, audited: Path) -> None:
    assert verify(hub.data).returncode == 0
    assert stat.S_IMODE(audited.stat().st_mode) == 0o600
    text = audited.read_bytes()
    events = [json.loads(line)["event"] for line in text.rstrip(b"\n").split(b"\n")]
    assert len(events) >= 5
    for secret in hub.tokens.values():
        assert secret.encode() not in text


@pytest.mark.parametrize("fault", ["a line is missing", "a name is another"])
def test_an_audit_log_that_was_changed_is_noticed(audited: Path, fault: str, tmp_path: Path) -> None:
    good = audited.read_bytes()
    lines = good.splitlines(keepends=True)
    changed = {
        "a line is missing": b"".join([*lines[:1], *lines[2:]]),
        "a name is another": good.replace(b'"ada"', b'"eve"', 1),
    }[fault]
    assert changed != good
    (tmp_path / "audit.log").write_bytes(changed)
    done = verify(tmp_path)
    assert done.returncode == 1
    assert "line " in done.stdout + done.stderr
