"""What people choose to be called, against the log and the audit log (T23)."""

from __future__ import annotations

import contextlib
import json
import re
import stat
import subprocess
from collections.abc import Callable
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
    log = hub.data / "audit.log"
    good = log.read_bytes()
    lines = good.splitlines(keepends=True)
    assert len(lines) > 3
    changed = {
        "a line is missing": lines[:1] + lines[2:],
        "a name is another": [lines[0].replace(b"a", b"b", 1), *lines[1:]],
    }
    try:
        for what, now in changed.items():
            log.write_bytes(b"".join(now))
            with pytest.raises(subprocess.CalledProcessError):
                pytest.fail(what + ": " + hub.command("audit", "--verify"))
    finally:
        log.write_bytes(good)
