"""The unmodified Globus Compute client against our hub service and our endpoint.

That client pins dill, so it lives in an environment of its own, ``.venv-globus``, made once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

VERSION = "4.19.0"
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENT = ROOT / f".venv-globus-{sys.version_info.major}.{sys.version_info.minor}"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="session")
def globus_python() -> Path:
    """Return the Python that has the Globus Compute client."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        wanted = f"globus-compute-sdk=={VERSION}"
        subprocess.run([python, "-m", "pip", "install", "--quiet", wanted], check=True)
        (ENVIRONMENT / "installed").touch()
    return python


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run the hub service with its endpoint; return the environment of its clients."""
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "FUNCX_LAB_HOME": str(home)}
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "funcx_lab_hub_service", "--embedded", "--ready-fd", str(write_end)],
        stdin=subprocess.DEVNULL,
        pass_fds=(write_end,),
        env=environment,
        start_new_session=True,
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as pipe:
            url = json.loads(pipe.readline())["url"]
        token = (home / "token").read_text().strip()
        wait_for_endpoint(url, token)
        yield {"FUNCX_LAB_URL": url, "FUNCX_LAB_TOKEN": token}
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def wait_for_endpoint(url: str, token: str) -> None:
    deadline = time.monotonic() + 60
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        headers = {"Authorization": f"Bearer {token}"}
        while True:
            listed = pool.request("GET", f"{url}/v3/endpoints", headers=headers).json()["endpoints"]
            if any(endpoint["state"] == "online" for endpoint in listed):
                return
            assert time.monotonic() < deadline, listed
            time.sleep(0.1)


def run(python: Path, script: str, service: dict[str, str], home: Path) -> Any:
    """Run a script with the Globus Compute client and return the JSON that it prints."""
    done = subprocess.run(
        [python, HERE / script],
        env={"PATH": os.defpath, "HOME": str(home), "PYTHONPATH": str(ROOT), **service},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def came(
    globus_python: Path, service: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return what came back to a user of that client."""
    return dict(run(globus_python, "session.py", service, tmp_path_factory.mktemp("user")))


def test_functions_run(came: dict[str, Any]) -> None:
    assert came["sum"] == 5
    assert came["task"]["result"] == 5
    assert came["source"] == 42
    assert came["portable"] == "ab"
    assert came["large"] == 1_000_001
    assert came["function"]["function_name"] == "add"


def test_the_details_are_the_workers(came: dict[str, Any]) -> None:
    assert came["python"] == list(sys.version_info[:2])
    version = ".".join(map(str, sys.version_info[:3]))
    assert came["task"]["details"]["python_version"] == version


def test_a_failure_is_a_traceback_of_the_users_code(came: dict[str, Any]) -> None:
    assert "ZeroDivisionError: division by zero" in came["failure"]
    assert "in divide" in came["failure"]
    assert "funcx_lab" not in came["failure"], "frames of ours are not the user's"


def test_batches_and_groups(came: dict[str, Any]) -> None:
    assert came["batch"] == [2 * number for number in range(10)]
    assert came["group"]
    assert came["task group"]


def test_the_endpoint_is_seen(came: dict[str, Any]) -> None:
    assert came["endpoint"]["name"] == "local"
    assert came["status"]["status"] == "online"


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ("endpoint", 404, "ENDPOINT_NOT_FOUND"),
        ("function", 404, "FUNCTION_NOT_FOUND"),
        ("task", 404, "TASK_NOT_FOUND"),
        ("token", 401, "NOT_AUTHENTICATED"),
        ("size", 413, "TASK_PAYLOAD_TOO_LARGE"),
    ],
)
def test_a_refusal_says_why(came: dict[str, Any], what: str, status: int, code: str) -> None:
    refusal = came["refusals"][what]
    assert (refusal["status"], refusal["code"]) == (status, code)
    assert len(refusal["message"]) > 20


def test_a_deleted_function_is_gone(came: dict[str, Any]) -> None:
    assert came["deleted"]["code"] == "FUNCTION_NOT_FOUND"


def test_an_executor_attaches_to_a_group(
    globus_python: Path, service: dict[str, str], tmp_path: Path
) -> None:
    assert run(globus_python, "reload.py", service, tmp_path) == [0, 2, 4]
