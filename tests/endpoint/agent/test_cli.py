"""``funcx-endpoint`` as a program: every command, its exit code and its JSON."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from funcx_lab.protocol.messages import Bye, Heartbeat, ObjectRef, Started
from funcx_lab_endpoint.daemon import stop_agent
from funcx_lab_endpoint.files import EndpointFiles
from funcx_lab_endpoint.surroundings import MARK

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def configured(home: Path, hub: Any, run: Run, engine: ModuleType) -> Iterator[EndpointFiles]:
    """An endpoint ``cluster`` that uses the stand-in engine and hub; its agent is ended afterwards."""
    answer = run("configure", "cluster", FUNCX_LAB_URL=hub.url, FUNCX_LAB_TOKEN="user-token")
    assert answer.returncode == 0, answer.stderr
    files = EndpointFiles("cluster")
    files.config.write_text(engine.CONFIG)
    yield files
    stop_agent(files, now=True)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# --- configure ------------------------------------------------------------------------------------------


def test_configure_registers_with_the_users_token(configured: EndpointFiles, hub: Any) -> None:
    enrolment = configured.enrolment()
    assert enrolment is not None
    assert (enrolment.name, enrolment.endpoint_id, enrolment.url) == ("cluster", "id-1", hub.url)
    assert (enrolment.agent_token, enrolment.forwarder_key) == ("agent-token-1", hub.forwarder.public_key)
    assert json.loads(configured.key.read_text())["public"] in hub.keys


def test_secrets_are_for_the_owner_only(configured: EndpointFiles) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in configured.directory.iterdir()}
    assert configured.directory.stat().st_mode & 0o777 == 0o700
    assert (modes["agent.key"], modes["endpoint.json"]) == (0o600, 0o600)


def test_configure_with_an_enrolment_token_from_stdin(home: Path, hub: Any, run: Run) -> None:
    answer = run(
        "configure", "box", "--url", hub.url, "--id", "id-1", "--enrol", "-", "--json", text="once\n"
    )
    document = json.loads(answer.stdout)
    assert (answer.returncode, document["endpoint_id"]) == (0, "id-1")
    assert all(token != "user-token" for _, _, token in hub.requests)


def test_configure_keeps_a_config_file_that_is_there(configured: EndpointFiles, hub: Any, run: Run) -> None:
    text = configured.config.read_text()
    answer = run("configure", "cluster", FUNCX_LAB_URL=hub.url, FUNCX_LAB_TOKEN="user-token")
    assert answer.returncode == 0
    assert "Kept" in answer.stdout
    assert configured.config.read_text() == text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["../x"], "not a valid name"),
        (["A B"], "not a valid name"),
        (["a", "--url", "http://10.0.0.1:1", "--id", "i", "--enrol", "t"], "in the clear"),
        (["a", "--url", "ftp://host", "--id", "i", "--enrol", "t"], "not an address"),
        (["a", "--enrol", "t"], "--enrol needs --url"),
    ],
)
def test_configure_refuses_what_cannot_work(home: Path, run: Run, arguments: list[str], says: str) -> None:
    answer = run("configure", *arguments)
    assert (answer.returncode, says in answer.stderr) == (2, True), answer.stderr


def test_configure_tells_a_wrong_token(home: Path, hub: Any, run: Run) -> None:
    answer = run("configure", "a", "--json", FUNCX_LAB_URL=hub.url, FUNCX_LAB_TOKEN="wrong")
    assert answer.returncode == 1
    assert json.loads(answer.stdout)["error"]["code"] == "NOT_AUTHENTICATED"


# --- start, status, stop --------------------------------------------------------------------------------


def test_an_endpoint_from_start_to_stop(configured: EndpointFiles, hub: Any, run: Run) -> None:
    started = run("start", "cluster", "--json")
    document = json.loads(started.stdout)
    assert (started.returncode, document["state"]) == (0, "connected"), started
    pid = document["pid"]

    again = run("start", "cluster")
    assert again.returncode == 0
    assert f"runs already as process {pid}" in again.stdout
    foreground = run("start", "cluster", "--foreground")
    assert foreground.returncode == 1
    assert f"runs already as process {pid}" in foreground.stderr

    status = run("status", "id-1", "--json", FUNCX_LAB_URL=hub.url, FUNCX_LAB_TOKEN="user-token")
    document = json.loads(status.stdout)
    assert (status.returncode, document["state"], document["pid"]) == (0, "connected", pid)
    assert document["service"]["status"] == "online"
    listed = json.loads(run("list", "--json").stdout)
    assert [(each["name"], each["state"], each["endpoint_id"]) for each in listed] == [
        ("cluster", "connected", "id-1")
    ]
    refused = run("configure", "cluster", FUNCX_LAB_URL=hub.url, FUNCX_LAB_TOKEN="user-token")
    assert (refused.returncode, "stop it first" in refused.stderr) == (2, True)
    refused = run("delete", "cluster", "--yes")
    assert (refused.returncode, "stop it first" in refused.stderr) == (2, True)

    child = int((configured.directory / "child.pid").read_text())
    assert is_alive(child)
    stopped = run("stop", "cluster", "--json")
    assert (stopped.returncode, json.loads(stopped.stdout)["stopped"]) == (0, True)
    assert not is_alive(pid)
    assert not is_alive(child)
    assert hub.forwarder.messages[-1].reason == "stopped"

    assert run("stop", "cluster").returncode == 3
    status = run("status", "cluster", "--json")
    assert (status.returncode, json.loads(status.stdout)["state"]) == (3, "stopped")


def test_restart_gives_a_new_process(configured: EndpointFiles, run: Run) -> None:
    first = json.loads(run("start", "cluster", "--json").stdout)
    second = run("restart", "cluster", "--json")
    document = json.loads(second.stdout)
    assert (second.returncode, document["state"]) == (0, "connected")
    assert document["pid"] != first["pid"]


def test_no_secret_reaches_an_environment_or_a_command_line(configured: EndpointFiles, run: Run) -> None:
    secrets = {"FUNCX_LAB_TOKEN": "user-token", "JUPYTERHUB_API_TOKEN": "hub-token"}
    pid = json.loads(run("start", "cluster", "--json", **secrets).stdout)["pid"]
    environment = json.loads((configured.directory / "environment.json").read_text())
    seen = json.dumps(environment) + json.dumps(psutil.Process(pid).cmdline())
    for secret in (
        "user-token",
        "hub-token",
        "agent-token-1",
        json.loads(configured.key.read_text())["secret"],
    ):
        assert secret not in seen
        assert secret not in configured.log.read_text()
    assert environment[MARK] == os.path.realpath(configured.directory)
    assert configured.log.stat().st_mode & 0o777 == 0o600


def test_a_killed_agents_children_end_at_the_next_start(configured: EndpointFiles, run: Run) -> None:
    pid = json.loads(run("start", "cluster", "--json").stdout)["pid"]
    child = int((configured.directory / "child.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    status = run("status", "cluster", "--json")
    assert (status.returncode, json.loads(status.stdout)["state"]) == (3, "stopped")
    assert is_alive(child)
    started = json.loads(run("start", "cluster", "--json").stdout)
    assert started["state"] == "connected"
    assert not is_alive(child)


def test_stop_ends_what_a_killed_agent_left(configured: EndpointFiles, run: Run) -> None:
    pid = json.loads(run("start", "cluster", "--json").stdout)["pid"]
    child = int((configured.directory / "child.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    assert run("stop", "cluster").returncode == 3
    assert not is_alive(child)


def test_a_stuck_agent_is_killed_with_its_children(configured: EndpointFiles, run: Run) -> None:
    pid = json.loads(run("start", "cluster", "--json").stdout)["pid"]
    child = int((configured.directory / "child.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    stopped = run("stop", "cluster", "--timeout", "0.5")
    assert stopped.returncode == 0, stopped.stderr
    assert not is_alive(pid)
    assert not is_alive(child)


def test_stop_lets_running_calls_end(
    configured: EndpointFiles, hub: Any, run: Run, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    configured.config.write_text(configured.config.read_text().replace("drain_seconds=2", "drain_seconds=60"))
    pid = json.loads(run("start", "cluster", "--json").stdout)["pid"]
    hub.forwarder.task("a", 1, {"do": "wait", "file": str(tmp_path / "go")})
    eventually(lambda: hub.forwarder.got(Started))
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: configured.process()["state"] == "stopping")
    eventually(lambda: hub.forwarder.got(Heartbeat)[-1].status["credit"] == 0)
    (tmp_path / "go").write_text("ended in time")
    eventually(lambda: not configured.runs_now)
    assert [(item.task_id, item.outcome.payload) for item in hub.forwarder.results()] == [
        ("a", b"ended in time")
    ]
    assert isinstance(hub.forwarder.messages[-1], Bye)


def test_stop_now_waits_for_nothing(
    configured: EndpointFiles, hub: Any, run: Run, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    configured.config.write_text(
        configured.config.read_text().replace("drain_seconds=2", "drain_seconds=600")
    )
    run("start", "cluster")
    hub.forwarder.task("a", 1, {"do": "wait", "file": str(tmp_path / "never")})
    eventually(lambda: hub.forwarder.got(Started))
    assert run("stop", "cluster", "--now", "--timeout", "15").returncode == 0
    assert hub.forwarder.results() == []
    assert isinstance(hub.forwarder.messages[-1], Bye)  # it was not killed


def test_an_object_comes_before_its_call_and_goes_after_it(
    configured: EndpointFiles, hub: Any, run: Run, eventually: Callable[..., Any]
) -> None:
    run("start", "cluster")
    order = json.dumps({"do": "large", "text": "0123", "times": 100_000}).encode()
    sha256 = hashlib.sha256(order).hexdigest()
    hub.objects[sha256] = order
    hub.forwarder.task("a", 1, {}, ObjectRef(sha256, len(order)))
    (result,) = eventually(hub.forwarder.results)
    assert hub.objects[result.outcome.object.sha256] == b"0123" * 100_000


def test_start_says_why_it_is_not_connected(configured: EndpointFiles, hub: Any, run: Run) -> None:
    hub.forwarder.pause()
    answer = run("start", "cluster", "--json", "--timeout", "2")
    document = json.loads(answer.stdout)
    assert (answer.returncode, document["state"]) == (5, "connecting")
    assert "nobody answers at tcp://127.0.0.1" in document["reason"]
    assert run("status", "cluster").returncode == 5
    hub.forwarder.resume()


def test_start_says_that_the_service_refuses(configured: EndpointFiles, hub: Any, run: Run) -> None:
    hub.keys.clear()
    answer = run("start", "cluster", "--json")
    document = json.loads(answer.stdout)
    assert (answer.returncode, document["state"]) == (5, "refused")
    assert "does not know this endpoint's key" in document["reason"]


def test_a_reader_that_has_seen_enough_is_no_error(configured: EndpointFiles) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "funcx_lab_endpoint.cli", "status", configured.name, "--json"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_start_tells_an_error_of_the_config_file(configured: EndpointFiles, run: Run) -> None:
    configured.config.write_text("config = \n")
    answer = run("start", "cluster")
    assert answer.returncode == 1
    assert f"{configured.config}, line 1: SyntaxError" in answer.stderr


def test_a_damaged_enrolment_is_named(configured: EndpointFiles, run: Run) -> None:
    path = configured.directory / "endpoint.json"
    path.write_text("{\n  oops")
    answer = run("start", "cluster")
    assert (answer.returncode, f"{path}, line 2: not JSON" in answer.stderr) == (1, True), answer
    path.write_text('{"name": "cluster"}')
    answer = run("start", "cluster")
    assert (answer.returncode, "lacks endpoint_id, url" in answer.stderr) == (1, True), answer


def test_a_key_that_others_can_read_is_not_used(configured: EndpointFiles, hub: Any, run: Run) -> None:
    configured.key.chmod(0o644)
    answer = run("start", "cluster", "--json", "--timeout", "1.5")
    assert (answer.returncode, "can be read by others" in json.loads(answer.stdout)["reason"]) == (5, True)
    assert hub.forwarder.messages == []


def test_start_tells_an_engine_that_fails(configured: EndpointFiles, run: Run) -> None:
    text = configured.config.read_text()
    configured.config.write_text(
        text + "def fail(config, directory):\n    raise RuntimeError('no engine')\n"
        "sys.modules[spec.name].open_host = fail\n"
    )
    answer = run("start", "cluster")
    assert answer.returncode == 1
    assert "RuntimeError: no engine" in answer.stderr


def test_start_without_registration_is_refused(home: Path, run: Run) -> None:
    assert run("configure", "bare", "--no-register").returncode == 0
    answer = run("start", "bare")
    assert (answer.returncode, "run `funcx-endpoint configure bare`" in answer.stderr) == (1, True)


# --- the rest -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["start", "stop", "restart", "status", "logs", "delete"])
def test_an_unknown_endpoint_has_its_own_exit_code(home: Path, run: Run, command: str) -> None:
    answer = run(command, "nobody", "--json")
    assert answer.returncode == 4
    assert json.loads(answer.stdout)["error"]["code"] == "ENDPOINT_NOT_FOUND"


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["start"], ["logs", "a", "-n", "-3"], ["stop", "a", "--timeout", "x"]]
)
def test_wrong_usage_is_two(home: Path, run: Run, arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


def test_an_empty_list_says_what_to_do(home: Path, run: Run) -> None:
    assert "funcx-endpoint configure NAME" in run("list").stdout
    assert run("list", "--json").stdout.strip() == "[]"


def test_logs_shows_the_last_lines(configured: EndpointFiles, run: Run) -> None:
    configured.log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert run("logs", "cluster", "-n", "2").stdout == "line 98\nline 99\n"
    assert json.loads(run("logs", "cluster", "-n", "1", "--json").stdout)["lines"] == ["line 99"]


def test_logs_follows(configured: EndpointFiles, eventually: Callable[..., Any]) -> None:
    configured.log.write_text("first\n")
    command = [sys.executable, "-m", "funcx_lab_endpoint.cli", "logs", "cluster", "-f"]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "first\n"
            reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
            reader.start()
            with configured.log.open("a") as file:
                file.write("second\n")
            eventually(lambda: lines == ["second\n"])
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
            reader.join()
        finally:
            process.kill()
    assert lines == ["second\n"]


def test_delete_asks_the_service_and_leaves_nothing(configured: EndpointFiles, hub: Any, run: Run) -> None:
    user = {"FUNCX_LAB_URL": hub.url, "FUNCX_LAB_TOKEN": "user-token"}
    assert run("delete", "cluster", **user).returncode == 2  # nobody to ask
    answer = run("delete", "cluster", "--yes", "--json", **user)
    assert (answer.returncode, json.loads(answer.stdout)["deregistered"]) == (0, True)
    assert hub.deleted == ["id-1"]
    assert not configured.directory.exists()


def test_delete_without_the_service_needs_force(configured: EndpointFiles, hub: Any, run: Run) -> None:
    answer = run("delete", "cluster", "--yes", FUNCX_LAB_URL=hub.url, FUNCX_LAB_TOKEN="wrong")
    assert (answer.returncode, "--force" in answer.stderr) == (1, True)
    assert configured.directory.exists()
    answer = run("delete", "cluster", "--yes", "--force", FUNCX_LAB_URL=hub.url, FUNCX_LAB_TOKEN="wrong")
    assert (answer.returncode, "here only" in answer.stdout) == (0, True)
    assert not configured.directory.exists()


def test_help_names_every_exit_code(run: Run) -> None:
    text = run("--help").stdout
    assert [line for line in range(6) if f"  {line}  " in text] == list(range(6))
