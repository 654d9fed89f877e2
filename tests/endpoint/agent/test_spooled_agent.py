"""The agent as a program with its spool: killed, stopped, refused, without room, with a damaged file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from funcx_lab.protocol.messages import Heartbeat, Hello, Inventory, Results, Started, TaskOptions
from funcx_lab_endpoint.daemon import stop_agent
from funcx_lab_endpoint.files import EndpointFiles

Run = Callable[..., subprocess.CompletedProcess[str]]
Eventually = Callable[..., Any]


@pytest.fixture
def endpoint(home: Path, hub: Any, run: Run, engine: ModuleType) -> Iterator[EndpointFiles]:
    """An endpoint with the stand-in engine and hub; its agent is ended afterwards."""
    answer = run("configure", "cluster", FUNCX_LAB_URL=hub.url, FUNCX_LAB_TOKEN="user-token")
    assert answer.returncode == 0, answer.stderr
    files = EndpointFiles("cluster")
    files.config.write_text(engine.CONFIG)
    yield files
    stop_agent(files, now=True)


def start(run: Run) -> int:
    answer = run("start", "cluster", "--json")
    assert answer.returncode == 0, answer
    return int(json.loads(answer.stdout)["pid"])


def kill(pid: int, eventually: Eventually, files: EndpointFiles) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not files.runs_now)


def on_disk(files: EndpointFiles, text: bytes) -> bool:
    """Whether the spool's files hold ``text``; the agent alone may open them as a database."""
    return any(text in path.read_bytes() for path in files.directory.glob("spool.db*"))


def test_a_result_made_while_the_hub_service_is_away_outlives_a_killed_agent(
    endpoint: EndpointFiles, hub: Any, run: Run, tmp_path: Path, eventually: Eventually
) -> None:
    pid = start(run)
    hub.forwarder.task("a", 1, {"do": "wait", "file": str(tmp_path / "go")})
    eventually(lambda: hub.forwarder.got(Started))
    hub.forwarder.pause()
    (tmp_path / "go").write_text("made in the first life")
    eventually(lambda: on_disk(endpoint, b"made in the first life"), "it never reached the disk")
    (tmp_path / "go").unlink()
    kill(pid, eventually, endpoint)
    hub.forwarder.resume()
    start(run)
    (result,) = eventually(hub.forwarder.results)
    assert (result.task_id, result.tag, result.outcome.payload) == ("a", 1, b"made in the first life")
    assert result.execution.startswith(f"{pid}:")
    assert hub.forwarder.got(Inventory)[-1].tasks == [("a", 1)]
    assert len({hello.spool for hello in hub.forwarder.got(Hello)}) == 1
    assert len({hello.instance for hello in hub.forwarder.got(Hello)}) == 2


def test_a_killed_agent_runs_its_tasks_again(
    endpoint: EndpointFiles, hub: Any, run: Run, tmp_path: Path, eventually: Eventually
) -> None:
    pid = start(run)
    hub.forwarder.task("a", 1, {"do": "wait", "file": str(tmp_path / "go")})
    eventually(lambda: on_disk(endpoint, str(tmp_path / "go").encode()), "it never reached the disk")
    kill(pid, eventually, endpoint)
    start(run)
    (tmp_path / "go").write_text("second life")
    (result,) = eventually(hub.forwarder.results)
    assert (result.tag, result.outcome.payload) == (1, b"second life")


def test_what_a_stopped_agent_did_not_finish_runs_at_its_next_start(
    endpoint: EndpointFiles, hub: Any, run: Run, tmp_path: Path, eventually: Eventually
) -> None:
    start(run)
    hub.forwarder.task("a", 1, {"do": "wait", "file": str(tmp_path / "go")})
    eventually(lambda: hub.forwarder.got(Started))
    assert run("stop", "cluster", "--now").returncode == 0
    start(run)
    (tmp_path / "go").write_text("next time")
    (result,) = eventually(hub.forwarder.results)
    assert result.outcome.payload == b"next time"


def test_a_call_that_may_run_once_and_waits_for_a_worker_runs_after_the_next_start(
    endpoint: EndpointFiles, hub: Any, run: Run, tmp_path: Path, eventually: Eventually
) -> None:
    endpoint.config.write_text(endpoint.config.read_text().replace("drain_seconds=2", "drain_seconds=0"))
    start(run)
    order = {"do": "line", "file": str(tmp_path / "go")}
    hub.forwarder.task("a", 1, order, options=TaskOptions(at_most_once=True))
    eventually(lambda: on_disk(endpoint, str(tmp_path / "go").encode()), "its mark never reached the disk")
    eventually(lambda: (endpoint.directory / "in_line").exists(), "it never reached the engine")
    assert run("stop", "cluster").returncode == 0
    (tmp_path / "go").touch()
    start(run)
    (result,) = eventually(hub.forwarder.results)
    assert result.outcome.ok
    assert json.loads(result.outcome.payload) == order


def test_stop_with_drain_waits_for_every_accepted_task(
    endpoint: EndpointFiles, hub: Any, run: Run, tmp_path: Path, eventually: Eventually
) -> None:
    endpoint.config.write_text(endpoint.config.read_text().replace("drain_seconds=2", "drain_seconds=0"))
    start(run)
    hub.forwarder.task("a", 1, {"do": "wait", "file": str(tmp_path / "go")})
    eventually(lambda: hub.forwarder.got(Started))
    program = [sys.executable, "-m", "funcx_lab_endpoint.cli", "stop", "cluster", "--drain"]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as stopping:
        eventually(lambda: endpoint.process()["state"] == "stopping")
        hub.forwarder.task("b", 2, {"do": "echo"})
        (tmp_path / "go").write_text("in its own time")
        assert stopping.wait(20) == 0
    assert [(r.task_id, r.outcome.payload) for r in hub.forwarder.results()] == [("a", b"in its own time")]


def test_a_drain_can_still_be_cut_short(
    endpoint: EndpointFiles, hub: Any, run: Run, tmp_path: Path, eventually: Eventually
) -> None:
    endpoint.config.write_text(endpoint.config.read_text().replace("drain_seconds=2", "drain_seconds=0"))
    pid = start(run)
    hub.forwarder.task("a", 1, {"do": "wait", "file": str(tmp_path / "never")})
    eventually(lambda: hub.forwarder.got(Started))
    os.kill(pid, signal.SIGUSR1)
    eventually(lambda: endpoint.process()["state"] == "stopping")
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not endpoint.runs_now)


def test_a_refused_agent_delivers_what_it_has(
    endpoint: EndpointFiles, hub: Any, run: Run, tmp_path: Path, eventually: Eventually
) -> None:
    pid = start(run)
    hub.forwarder.task("a", 1, {"do": "wait", "file": str(tmp_path / "go")})
    eventually(lambda: hub.forwarder.got(Started))
    hub.forwarder.pause()
    (tmp_path / "go").write_text("still counts")
    eventually(lambda: on_disk(endpoint, b"still counts"))
    hub.forwarder.busy = True
    hub.forwarder.resume()
    eventually(lambda: endpoint.process()["state"] == "refused")
    assert eventually(lambda: [m.session for m in hub.forwarder.got(Results)]) == [0]
    hub.forwarder.busy = False
    eventually(lambda: endpoint.process()["state"] == "connected")
    assert hub.forwarder.got(Inventory)[-1].tasks == []
    assert endpoint.pid() == pid


def test_an_agent_without_room_says_so_and_takes_nothing(
    endpoint: EndpointFiles, hub: Any, run: Run, eventually: Eventually
) -> None:
    endpoint.config.write_text(endpoint.config.read_text().replace("Config(", "Config(spool_limit=1, "))
    start(run)
    beat = eventually(lambda: hub.forwarder.got(Heartbeat))[-1]
    assert beat.status["credit"] == 0
    assert "spool is full" in beat.status["waiting_reason"]


def test_a_damaged_spool_is_set_aside_and_told(
    endpoint: EndpointFiles, hub: Any, run: Run, eventually: Eventually
) -> None:
    (endpoint.directory / "spool.db").write_bytes(b"not a database" * 1000)
    pid = start(run)
    status = run("status", "cluster")
    assert "the spool was damaged" in status.stdout
    assert list(endpoint.directory.glob("spool.damaged-*.db"))
    kill(pid, eventually, endpoint)
    start(run)
    assert json.loads(run("status", "cluster", "--json").stdout)["note"] == ""


def test_a_spool_deleted_under_the_agent_is_written_anew(
    endpoint: EndpointFiles, hub: Any, run: Run, tmp_path: Path, eventually: Eventually
) -> None:
    pid = start(run)
    hub.forwarder.task("a", 1, {"do": "wait", "file": str(tmp_path / "go")})
    eventually(lambda: on_disk(endpoint, str(tmp_path / "go").encode()))
    for path in endpoint.directory.glob("spool.db*"):
        path.unlink()
    hub.forwarder.task("b", 2, {"do": "wait", "file": str(tmp_path / "never")})
    for file in ("go", "never"):
        told = str(tmp_path / file).encode()
        eventually(lambda told=told: on_disk(endpoint, told), "it was never filled again")
    assert "deleted" in run("status", "cluster").stdout
    kill(pid, eventually, endpoint)
    start(run)
    assert sorted(hub.forwarder.got(Inventory)[-1].tasks) == [("a", 1), ("b", 2)]
    assert len({hello.spool for hello in hub.forwarder.got(Hello)}) == 1


def test_its_files_are_for_the_owner_only(
    endpoint: EndpointFiles, hub: Any, run: Run, tmp_path: Path, eventually: Eventually
) -> None:
    start(run)
    hub.forwarder.task("a", 1, {"do": "wait", "file": str(tmp_path / "go")})
    eventually(lambda: on_disk(endpoint, str(tmp_path / "go").encode()))
    loose = [
        path
        for path in [endpoint.directory, *endpoint.directory.rglob("*")]
        if path.stat().st_mode & 0o077 and not path.is_symlink() and path.name not in _OF_THE_TEST
    ]
    assert loose == []


#: Written by the test and by the stand-in engine.
_OF_THE_TEST = ("config.py", "child.pid", "environment.json")


def test_no_secret_reaches_the_log(
    endpoint: EndpointFiles, hub: Any, run: Run, eventually: Eventually
) -> None:
    start(run)
    hub.forwarder.task("a", 1, {"do": "echo"})
    eventually(hub.forwarder.results)
    assert run("stop", "cluster").returncode == 0
    log = endpoint.log.read_text()
    secrets = [hub.agent_token, json.loads(endpoint.key.read_text())["secret"], "user-token"]
    assert [secret for secret in secrets if secret in log] == []
