"""The local hub service: one per home, found again, started again, ended without a trace."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from funcx_lab.config import Service
from funcx_lab.embedded import ensure_service, running_service, stop_service
from funcx_lab.errors import MissingExtra, ServiceStartError
from funcx_lab.leftovers import find_leftovers
from funcx_lab.locks import is_held, take_lock
from funcx_lab.transport import Transport

ASK = "from funcx_lab.embedded import ensure_service; print(ensure_service().url)"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tmp_path / "home"
    monkeypatch.setenv("FUNCX_LAB_HOME", str(directory))
    yield directory
    stop_service()
    assert find_leftovers(directory) == []


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def pid_of(home: Path) -> int:
    return int(json.loads((home / "service.json").read_text())["pid"])


def agent_is_up(home: Path) -> bool:
    return is_held(home / "endpoints" / "local" / "agent.lock")


def online(service: Service) -> bool:
    entries = Transport(service).json("GET", "/v3/endpoints")["endpoints"]
    return any(entry["name"] == "local" and entry["state"] == "online" for entry in entries)


def test_nothing_runs_before_it_is_asked_for(home: Path) -> None:
    assert running_service() is None
    assert not (home / "service.json").exists()


def test_it_starts_once_and_is_found_again(home: Path) -> None:
    service = ensure_service()
    pid = pid_of(home)
    assert service.embedded
    assert Transport(service).json("GET", "/v3/whoami")["kind"] == "user"
    assert ensure_service() == service == running_service()
    assert pid_of(home) == pid


def test_it_is_out_of_reach_of_our_interrupts(home: Path) -> None:
    ensure_service()
    assert os.getsid(pid_of(home)) == pid_of(home) != os.getsid(0)


def test_processes_that_ask_at_the_same_instant_get_one_service(home: Path) -> None:
    asking = [
        subprocess.Popen([sys.executable, "-c", ASK], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    urls = {process.communicate(timeout=60)[0].strip() for process in asking}
    service = running_service()
    assert service is not None
    assert urls == {service.url}
    services = [process for process in find_leftovers(home) if "funcx_lab_hub_service" in process.cmdline()]
    assert [process.pid for process in services] == [pid_of(home)]


def test_it_survives_the_process_that_started_it(home: Path) -> None:
    url = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, check=True
    ).stdout.strip()
    service = running_service()
    assert service is not None
    assert service.url == url


def test_after_a_kill_the_next_who_asks_starts_it_again_at_the_same_address(home: Path) -> None:
    service = ensure_service()
    pid = pid_of(home)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_held(home / "service.lock"))
    assert (home / "service.json").exists()  # a stale file is no service
    assert running_service() is None
    assert ensure_service() == service
    assert pid_of(home) != pid


def test_the_agent_outlives_a_killed_service_and_the_next_one_keeps_it(home: Path) -> None:
    service = ensure_service()
    until(lambda: online(service))
    agent = json.loads((home / "endpoints" / "local" / "agent.json").read_text())["pid"]
    os.kill(pid_of(home), signal.SIGKILL)
    until(lambda: not is_held(home / "service.lock"))
    assert psutil.pid_exists(agent)
    service = ensure_service()
    until(lambda: online(service))
    assert json.loads((home / "endpoints" / "local" / "agent.json").read_text())["pid"] == agent


def test_stop_ends_the_service_the_agent_and_the_workers(home: Path) -> None:
    service = ensure_service()
    until(lambda: online(service))
    stopped = stop_service()
    assert stopped.service
    assert find_leftovers(home) == []
    assert not is_held(home / "service.lock")
    assert not agent_is_up(home)
    assert not (home / "service.json").exists()


def test_stop_ends_the_agent_of_a_killed_service(home: Path) -> None:
    ensure_service()
    until(lambda: agent_is_up(home))
    os.kill(pid_of(home), signal.SIGKILL)
    until(lambda: not is_held(home / "service.lock"))
    assert agent_is_up(home)
    stopped = stop_service()
    assert (stopped.service, stopped.endpoint) == (False, True)
    assert find_leftovers(home) == []


def test_a_service_whose_database_was_deleted_has_a_new_token_which_is_used(home: Path) -> None:
    transport = Transport(ensure_service())
    old = transport.service.token
    assert transport.json("GET", "/v3/whoami")
    os.kill(pid_of(home), signal.SIGKILL)
    until(lambda: not is_held(home / "service.lock"))
    for path in (home / "hub").glob("hub.db*"):
        path.unlink()
    new = ensure_service()
    assert new.url == transport.service.url
    assert transport.json("GET", "/v3/whoami")
    assert transport.service.token == new.token != old


def test_stop_ends_a_service_whose_file_somebody_removed(home: Path) -> None:
    ensure_service()
    (home / "service.json").unlink()
    assert stop_service().service
    assert not is_held(home / "service.lock")
    assert find_leftovers(home) == []


def test_stop_where_nothing_runs_is_fine(home: Path) -> None:
    stopped = stop_service()
    assert (stopped.service, stopped.endpoint, stopped.leftovers) == (False, False, 0)


def test_a_killed_agent_is_started_again(home: Path) -> None:
    service = ensure_service()
    until(lambda: online(service))
    about = home / "endpoints" / "local" / "agent.json"
    pid = json.loads(about.read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: agent_is_up(home) and json.loads(about.read_text())["pid"] != pid)
    until(lambda: online(service))


def test_every_process_of_the_engine_can_be_found(home: Path) -> None:
    """Parsl's interchange sets its process title, which used to overwrite the mark in its environment."""
    service = ensure_service()
    until(lambda: online(service))

    def names() -> str:
        found = ""
        for process in find_leftovers(home):
            with contextlib.suppress(psutil.NoSuchProcess):  # a shell that just ended
                found += " ".join(process.cmdline())
        return found

    until(lambda: "interchange" in names() and "process_worker_pool" in names())


def test_homes_are_apart(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ensure_service()
    monkeypatch.setenv("FUNCX_LAB_HOME", str(tmp_path / "other"))
    try:
        second = ensure_service()
        assert (second.url, second.token) != (first.url, first.token)
    finally:
        stop_service()
    monkeypatch.setenv("FUNCX_LAB_HOME", str(home))
    assert running_service() == first


def test_state_is_private_and_survives(home: Path) -> None:
    token = ensure_service().token
    until(lambda: agent_is_up(home))
    stop_service()
    assert ensure_service().token == token
    modes = {
        path: stat.S_IMODE(path.stat().st_mode) for path in [home, *home.rglob("*")] if not path.is_socket()
    }
    assert [path for path, mode in modes.items() if path.parent in (home, home.parent) and mode & 0o077] == []
    assert modes[home] == 0o700
    assert modes[home / "token"] == modes[home / "service.json"] == modes[home / "logs" / "hub.log"] == 0o600


def test_a_service_that_cannot_start_says_why(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "hub").write_text("not a directory")
    with pytest.raises(ServiceStartError, match=r"hub\.log"):
        ensure_service()
    (home / "hub").unlink()


def test_a_home_in_use_on_another_machine_is_refused(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "service.json").write_text(
        json.dumps({"url": "http://127.0.0.1:9", "host": "elsewhere", "pid": 1})
    )
    lock = take_lock(home / "service.lock")
    assert lock is not None
    try:
        with pytest.raises(ServiceStartError, match="runs on elsewhere"):
            ensure_service()
        with pytest.raises(ServiceStartError, match="runs on elsewhere"):
            stop_service()
    finally:
        os.close(lock)


def test_without_the_extra_the_way_out_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tornado" else find_spec(name)
    )
    with pytest.raises(MissingExtra, match=r"missing: tornado.*pip install 'funcx-lab\[hub,endpoint\]'"):
        ensure_service()
