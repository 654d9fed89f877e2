"""The agent and the real hub service, both as programs, with the stand-in engine: who dies, what arrives."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from funcx_lab import embedded
from funcx_lab.config import read_json
from funcx_lab.transport import Transport
from funcx_lab_endpoint.daemon import stop_agent
from funcx_lab_endpoint.files import EndpointFiles

Eventually = Callable[..., Any]


class Service:
    """The embedded hub service and its endpoint ``local``."""

    def __init__(self, home: Path, eventually: Eventually) -> None:
        self.home = home
        self.files = EndpointFiles("local")
        self._eventually = eventually
        self.start()
        self.function_id = self.transport.json(
            "POST",
            "/v3/functions",
            {"function_name": "order", "format": "funcx-lab", "body": base64.b64encode(b"order").decode()},
        )["function_uuid"]

    def start(self) -> None:
        self.transport = Transport(embedded.ensure_service())
        self._eventually(lambda: self.state() == "online", "the endpoint never came online")

    def state(self) -> str | None:
        endpoints = self.transport.json("GET", "/v3/endpoints")["endpoints"]
        return endpoints[0]["state"] if endpoints else None

    def kill(self) -> None:
        document = read_json(self.home / "service.json")
        assert document is not None
        hub = psutil.Process(document["pid"])
        hub.kill()
        self._eventually(lambda: not hub.is_running() or hub.status() == psutil.STATUS_ZOMBIE)

    def submit(self, **order: Any) -> str:
        answer = self.transport.json(
            "POST",
            "/v3/endpoints/local/submit",
            {"create_queue": False, "tasks": {self.function_id: [json.dumps(order)]}},
        )
        return str(answer["tasks"][self.function_id][0])

    def record(self, task_id: str) -> dict[str, Any]:
        return dict(self.transport.json("GET", f"/v3/tasks/{task_id}"))

    def wait(self, task_id: str, state: str) -> dict[str, Any]:
        self._eventually(lambda: self.record(task_id)["state"] == state, f"never {state}")
        return self.record(task_id)


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, engine: ModuleType, eventually: Eventually
) -> Iterator[Service]:
    """One service for all tests here; each leaves it running."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("FUNCX_LAB_HOME", str(home))
        for name in ("FUNCX_LAB_URL", "FUNCX_LAB_TOKEN", "FUNCX_LAB_JUPYTERHUB_URL"):
            patch.delenv(name, raising=False)
        files = EndpointFiles("local")
        files.create()
        files.config.write_text(engine.CONFIG)
        try:
            yield Service(home, eventually)
        finally:
            embedded.stop_service()


@pytest.fixture
def run_here(service: Service) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``funcx-endpoint`` in the home of `service`."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "funcx_lab_endpoint.cli", *arguments]
        return subprocess.run(program, capture_output=True, text=True, timeout=60)

    return command


def test_a_task_goes_there_and_back(service: Service) -> None:
    task_id = service.submit(do="echo", text="hello")
    assert service.wait(task_id, "success")["attempts"] == 1


def test_a_result_made_while_the_hub_service_was_dead_arrives(
    service: Service, tmp_path: Path, eventually: Eventually
) -> None:
    agent = service.files.pid()
    task_id = service.submit(do="wait", file=str(tmp_path / "go"))
    service.wait(task_id, "running")
    service.kill()
    (tmp_path / "go").write_text("made while nobody listened")
    eventually(lambda: service.files.process()["state"] == "connecting")
    service.start()
    record = service.wait(task_id, "success")
    assert record["attempts"] == 1
    assert service.files.pid() == agent
    assert service.wait(service.submit(do="echo"), "success")


def test_a_call_runs_on_while_the_hub_service_is_started_again(service: Service, tmp_path: Path) -> None:
    task_id = service.submit(do="wait", file=str(tmp_path / "go"))
    service.wait(task_id, "running")
    service.kill()
    service.start()
    service.wait(task_id, "running")
    (tmp_path / "go").write_text("done")
    assert service.wait(task_id, "success")["attempts"] == 1


def test_a_killed_agent_is_replaced_and_its_task_runs_again(
    service: Service, tmp_path: Path, eventually: Eventually
) -> None:
    agent = service.files.pid()
    assert agent is not None
    task_id = service.submit(do="wait", file=str(tmp_path / "go"))
    service.wait(task_id, "running")
    os.kill(agent, signal.SIGKILL)
    eventually(lambda: service.files.pid() not in (None, agent), "no new agent")
    (tmp_path / "go").write_text("done")
    assert service.wait(task_id, "success")["error"] is None


def test_a_lost_call_is_tried_again_until_it_counts_as_poisoned(service: Service) -> None:
    record = service.wait(service.submit(do="lose"), "failed")
    assert record["error"]["code"] == "TASK_POISONED"
    assert record["attempts"] == 3


def test_a_cancelled_call_is_stopped_at_the_endpoint(service: Service, tmp_path: Path) -> None:
    task_id = service.submit(do="wait", file=str(tmp_path / "go"))
    service.wait(task_id, "running")
    service.transport.json("POST", "/v3/tasks/cancel", {"task_ids": [task_id]})
    assert service.record(task_id)["state"] == "cancelled"
    (tmp_path / "go").write_text("too late")
    assert service.wait(service.submit(do="echo"), "success")
    assert service.record(task_id)["state"] == "cancelled"


def test_a_large_result_is_stored_as_an_object(service: Service, eventually: Eventually) -> None:
    task_id = service.submit(do="large", text="0123456789", times=100_000)
    service.wait(task_id, "success")
    assert not list(service.files.directory.glob("result-*"))


def test_output_of_a_running_call_arrives(service: Service, tmp_path: Path, eventually: Eventually) -> None:
    task_id = service.submit(do="wait", file=str(tmp_path / "go"))
    path = f"/v3/tasks/{task_id}/events"

    def output() -> list[Any]:
        events = service.transport.json("GET", path)["events"]
        return [event["data"] for _, event in events if event["kind"] == "stdout"]

    eventually(lambda: output() == ["waiting\n"], "the output never came")
    (tmp_path / "go").write_text("done")
    service.wait(task_id, "success")
    assert output() == ["waiting\n"]


def test_an_endpoint_that_the_hub_service_forgot_enrols_again(
    service: Service, eventually: Eventually
) -> None:
    first = service.files.enrolment()
    assert first is not None
    service.transport.json("DELETE", f"/v2/endpoints/{first.endpoint_id}")
    eventually(lambda: service.files.enrolment() != first, "it never enrolled again")
    eventually(lambda: service.state() == "online", "it never came back")
    second = service.files.enrolment()
    assert second is not None
    assert second.agent_token != first.agent_token


def test_a_copied_endpoint_is_refused_while_the_first_lives(
    service: Service, run_here: Callable[..., subprocess.CompletedProcess[str]], eventually: Eventually
) -> None:
    copy = EndpointFiles("copy")
    shutil.copytree(service.files.directory, copy.directory)
    try:
        answer = run_here("start", "copy", "--json")
        document = json.loads(answer.stdout)
        assert (answer.returncode, document["state"]) == (5, "refused"), answer
        assert service.state() == "online"
        assert stop_agent(copy, now=True)
        answer = run_here("start", "copy", "--takeover", "--json")
        assert (answer.returncode, json.loads(answer.stdout)["state"]) == (0, "connected"), answer
        eventually(lambda: service.files.process()["state"] == "refused", "two agents serve one endpoint")
    finally:
        stop_agent(copy, now=True)
        shutil.rmtree(copy.directory)
    eventually(lambda: service.files.process()["state"] == "connected", "the first never came back")


def test_the_local_endpoint_can_be_restarted_beside_its_supervisor(
    service: Service, run_here: Callable[..., subprocess.CompletedProcess[str]], eventually: Eventually
) -> None:
    before = service.files.pid()
    answer = run_here("restart", "local")
    assert answer.returncode == 0, answer
    eventually(lambda: service.files.process()["state"] == "connected")
    assert service.files.pid() not in (None, before)
    answer = run_here("stop", "local")
    assert "`funcx-lab stop` ends both" in answer.stdout
    eventually(lambda: service.files.pid() is not None, "its supervisor never started it again")
    eventually(lambda: service.state() == "online")


def test_stopping_the_service_leaves_no_process(service: Service) -> None:
    pid, child = service.files.pid(), int((service.files.directory / "child.pid").read_text())
    embedded.stop_service()
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert not psutil.pid_exists(child)
    service.start()
