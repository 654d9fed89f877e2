"""Expiry, purge, quotas, backups and the reserve as a client of a running service meets them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from funcx_lab_hub_service import sweeping
from funcx_lab_hub_service.store import backup

SECOND = 1 / sweeping.DAY_S


def until(condition: Callable[[], Any], deadline_s: float = 15) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def route(ask: Any) -> tuple[str, str]:
    endpoint = ask("POST", "/v3/endpoints", {"endpoint_name": "box"}).document["endpoint_id"]
    function = ask("POST", "/v3/functions", {"function_name": "f", "function_code": "code"}).document
    return endpoint, function["function_uuid"]


def submit(ask: Any, *payloads: str) -> Any:
    endpoint, function = route(ask)
    return ask("POST", f"/v3/endpoints/{endpoint}/submit", {"tasks": {function: list(payloads)}})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_TICK_S", "_EXPIRE_S", "_PURGE_S"):
        monkeypatch.setattr(sweeping, name, 0.05)
    return


@pytest.mark.usefixtures("quick")
def test_a_task_expires_and_then_is_gone(start: Any, clients: Any) -> None:
    hub = start(ttl_days=0.5 * SECOND, retention_days=1.0 * SECOND)
    ask = clients(hub.url, hub.token)
    (task_ids,) = submit(ask, "00").document["tasks"].values()
    path = f"/v3/tasks/{task_ids[0]}"
    until(lambda: ask("GET", path).document.get("state") == "expired")
    until(lambda: ask("GET", path).status == 410)
    for url in (path, f"{path}/result", f"{path}/events", f"/v2/tasks/{task_ids[0]}"):
        answer = ask("GET", url)
        assert (answer.status, answer.document["code"]) == (410, "TASK_GONE")
    batch = ask("POST", "/v2/batch_status", {"task_ids": task_ids}).document["results"]
    assert batch[task_ids[0]]["status"] == "failed"


def test_more_than_the_quota_is_refused_with_a_time_to_come_back(start: Any, clients: Any) -> None:
    hub = start(user_tasks=1)
    ask = clients(hub.url, hub.token)
    assert submit(ask, "00").status == 200
    refused = submit(ask, "00")
    assert (refused.status, refused.document["code"]) == (429, "TOO_MANY_REQUESTS")
    assert float(refused.headers["Retry-After"]) > 0
    assert ask("GET", "/v3/stats").document == {"tasks": {"waiting-for-ep": 1}, "late_outcomes": 0}


def test_backups_are_made_while_the_service_runs(start: Any, clients: Any) -> None:
    hub = start(backup_minutes=0.001)
    ask = clients(hub.url, hub.token)
    route(ask)
    until(lambda: backup.backups(hub.config.database))


def test_without_the_reserve_submits_are_refused_until_it_is_back(start: Any, clients: Any) -> None:
    hub = start(disk_reserve=1 << 20)
    ask = clients(hub.url, hub.token)
    assert (hub.config.data / "ballast").stat().st_size == 1 << 20
    assert submit(ask, "00").status == 200
    hub.do(hub.service.reserve.give_up)
    refused = submit(ask, "00")
    assert refused.status in (200, 503)  # the sweeper may have been faster
    until(lambda: submit(ask, "00").status == 200)
    assert (hub.config.data / "ballast").exists()
