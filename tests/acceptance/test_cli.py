"""The command funcx-lab, as a person or a script uses it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from funcx_lab import __version__
from funcx_lab.leftovers import find_leftovers


class Shell:
    """Runs funcx-lab with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FUNCX_LAB_")}
        self.environment = {**kept, "FUNCX_LAB_HOME": str(home)}

    def __call__(self, *arguments: str, code: int = 0, text: str | None = None) -> str:
        done = self.start(*arguments, stdin=subprocess.PIPE)
        out, err = done.communicate(text, timeout=90)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{out}\n{err}"
        return out + err

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "funcx_lab.cli", *arguments],
            env=self.environment,
            cwd=self.home.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """One service for all tests of this file: each leaves it running."""
    home = tmp_path_factory.mktemp("cli") / "home"
    shell = Shell(home)
    yield shell
    shell("stop")
    assert find_leftovers(home) == []


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "home")
    yield shell
    shell("stop")


@pytest.fixture
def script(shell: Shell) -> Path:
    path = shell.home.parent / "analysis.py"
    path.write_text(
        "import sys\n"
        "FACTOR = 2\n"
        "def double(x):\n"
        "    return helper(x)\n"
        "def helper(x):\n"
        "    return FACTOR * x\n"
        "def speak(*words):\n"
        "    print('out', *words)\n"
        "    print('err', file=sys.stderr)\n"
        "def fail():\n"
        "    raise KeyError('no such sample')\n"
        "def wait():\n"
        "    import time\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(600)\n"
    )
    return path


def test_status_of_nothing_says_so(fresh: Shell) -> None:
    assert "funcx-lab start" in fresh("status", code=3)
    assert json.loads(fresh("status", "--json", code=3))["running"] is False


def test_stop_of_nothing_is_fine(fresh: Shell) -> None:
    assert "Nothing was running" in fresh("stop")


def test_start_then_status_then_stop(fresh: Shell) -> None:
    started = json.loads(fresh("start", "--json"))
    status = json.loads(fresh("status", "--json"))
    assert status["url"] == started["url"]
    assert Path(status["token_file"]).read_text().startswith("fxl_")
    (local,) = status["endpoints"]
    assert (local["name"], local["state"]) == ("local", "online")
    assert len(local["endpoint_id"]) == 36
    shown = fresh("status")
    assert status["url"] in shown
    assert "local" in shown
    assert Path(status["token_file"]).read_text().strip() not in shown
    assert "the hub service" in fresh("stop")
    assert find_leftovers(fresh.home) == []
    fresh("status", code=3)


def test_doctor_finds_a_sound_installation(shell: Shell) -> None:
    shell("start")
    findings = json.loads(shell("doctor", "--json"))
    assert [finding for finding in findings if finding["level"] == "problem"] == []
    assert {"python", "extra", "home", "disk", "service", "endpoint"} <= {f["subject"] for f in findings}


def test_doctor_finds_an_open_home(fresh: Shell) -> None:
    fresh.home.mkdir(mode=0o755)
    fresh.home.chmod(0o755)
    assert f"{fresh.home} is open to others; chmod 700 it" in fresh("doctor", code=1)
    fresh.home.chmod(0o700)


def test_a_damaged_database_is_told_with_the_command_that_restores_it(fresh: Shell) -> None:
    fresh("start")
    fresh("stop")
    database = fresh.home / "hub" / "hub.db"
    newest = database.parent / "backups" / "hub-20260102-030405.db"
    newest.parent.mkdir(exist_ok=True)
    shutil.copy(database, newest)
    assert f"{database} is whole" in fresh("doctor")
    _spoil(database, "results")
    found = fresh("doctor", code=1)
    assert f"{database}: " in found
    assert "funcx-lab start" in found
    began = time.monotonic()
    for command in ("start", "status", "doctor"):
        said = fresh(command, code=1)
        assert "is damaged" in said
        assert f"--data {database.parent} restore {newest}" in said
    assert time.monotonic() - began < 20, "nobody waits for an endpoint that is not started"
    assert "is damaged" in json.loads(fresh("status", "--json", code=1))["damage"]
    fresh("stop")
    database.write_bytes(b"no database" * 1000)
    said = fresh("start", code=1)
    assert said.count(f"restore {newest}") == 1
    assert "restore" in fresh("doctor", code=1)
    restore = [*said[said.index(sys.executable) :].splitlines()[0].split()]
    assert subprocess.run(restore, capture_output=True, check=False).returncode == 0
    fresh("start")
    assert f"{database}" not in fresh("doctor")


def test_a_database_that_is_missing_is_told_with_the_command_that_restores_it(fresh: Shell) -> None:
    fresh("start")
    fresh("stop")
    database = fresh.home / "hub" / "hub.db"
    newest = database.parent / "backups" / "hub-20260102-030405.db"
    newest.parent.mkdir(exist_ok=True)
    shutil.move(database, newest)
    for command, code in (("start", 0), ("status", 0), ("doctor", 1)):
        said = fresh(command, code=code)
        assert f"{database} was missing and is new" in said
        assert f"restore {newest}" in said
    fresh("stop")
    fresh("start")
    assert "was missing" not in fresh("status")


def _spoil(database: Path, table: str) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_run_prints_the_result(shell: Shell, script: Path) -> None:
    assert shell("run", f"{script}::double", "21").strip() == "42"
    assert shell("run", f"{script}::double", '"ab"').strip() == '"abab"'


def test_run_prints_the_output(shell: Shell, script: Path) -> None:
    said = shell("run", f"{script}::speak", "hello", "[1, 2]")
    assert "out hello [1, 2]\n" in said
    assert "err\n" in said


def test_run_of_a_function_that_raises(shell: Shell, script: Path) -> None:
    said = shell("run", f"{script}::fail", code=1)
    assert "KeyError: 'no such sample'" in said
    assert "in fail" in said


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("analysis.py", "FILE.py::FUNCTION"),
        ("gone.py::f", "no file"),
        ("analysis.py::gone", "no function 'gone'"),
    ],
)
def test_run_of_something_that_is_not_there(shell: Shell, script: Path, where: str, what: str) -> None:
    assert what in shell("run", where, code=2)


def test_run_at_an_endpoint_that_is_not_there(shell: Shell, script: Path) -> None:
    assert "ENDPOINT_NOT_FOUND" in shell("run", f"{script}::double", "1", "--endpoint", "nowhere", code=1)


def test_an_interrupt_cancels_what_run_waits_for(shell: Shell, script: Path) -> None:
    process = shell.start("run", f"{script}::wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    process.communicate()
    newest = json.loads(shell("tasks", "-n", "1", "--json"))[0]
    assert newest["state"] == "cancelled"


def test_tasks_and_logs_of_a_background_task(shell: Shell, script: Path) -> None:
    task_id = shell("run", "-b", f"{script}::speak", "later").strip()
    assert shell("logs", "-f", task_id) == "out later\nerr\n"
    assert "out later" in shell("logs", task_id[:-4])
    deadline = time.monotonic() + 20
    while json.loads(shell("tasks", "--json", "-n", "1"))[0]["state"] != "success":
        assert time.monotonic() < deadline
    assert "speak" in shell("tasks", "--state", "success")
    assert "TASK_NOT_FOUND" in shell("logs", "nonsense", code=1)


def test_dashboard_prints_an_address_that_logs_one_browser_in(shell: Shell) -> None:
    address, words = shell("dashboard").splitlines()
    assert "once, within 5 minutes" in words
    browser = urllib3.PoolManager(retries=False)
    first = browser.request("GET", address, redirect=False)
    assert (first.status, first.headers["Location"]) == (302, "/dash/")
    assert "HttpOnly" in first.headers["Set-Cookie"]
    assert browser.request("GET", address, redirect=False).status == 401
    browser.clear()


def test_share_lists_adds_and_removes(shell: Shell) -> None:
    assert shell("share", "local", "--list") == "local is not shared.\n"
    assert shell("share", "local", "--user", "eve") == "local is shared with user eve.\n"
    shares = [{"group": "physics"}, {"user": "eve"}]
    assert json.loads(shell("share", "local", "--group", "physics", "--json")) == shares
    assert "user eve" in shell("share", "local", "--group", "physics", "--remove")
    assert shell("share", "local", "--user", "eve", "--remove") == "local is not shared.\n"
    assert "ENDPOINT_NOT_FOUND" in shell("share", "nowhere", "--list", code=1)
    assert "--list" in shell("share", "local", code=2)


def test_login_checks_the_token_before_it_is_kept(shell: Shell) -> None:
    url = json.loads(shell("start", "--json"))["url"]
    other = Shell(shell.home.parent / "elsewhere")
    assert "NOT_AUTHENTICATED" in other("login", url, "--token-file", "-", code=1, text="fxl_wrong\n")
    assert not (other.home / "profile.json").exists()
    other("login", url, "--token-file", str(shell.home / "token"))
    assert (other.home / "profile.json").stat().st_mode & 0o777 == 0o600
    status = json.loads(other("status", "--json"))
    assert (status["url"], status["embedded"]) == (url, False)
    assert status["token_file"] == str(other.home / "profile.json")
    assert status["version"] == __version__
    assert f"{url} answers" in other("doctor")
    other("logout")
    other("status", code=3)


def test_login_in_the_clear_is_refused(fresh: Shell) -> None:
    said = fresh("login", "http://example.org", "--token-file", "-", code=2, text="fxl_x\n")
    assert "https" in said
    assert "not an address" in fresh("login", "ftp://example.org", code=2)  # nobody was asked for a token


def test_login_without_a_token_is_refused(fresh: Shell) -> None:
    assert "No token" in fresh("login", "https://example.org", "--token-file", "-", code=2, text="\n")


def test_a_service_that_is_not_there(fresh: Shell) -> None:
    fresh.environment |= {"FUNCX_LAB_URL": "http://127.0.0.1:9", "FUNCX_LAB_TOKEN": "fxl_x"}
    assert "SERVICE_UNREACHABLE" in fresh("status", code=1)


def test_help_names_every_command(fresh: Shell) -> None:
    said = fresh("--help")
    for command in ("start", "stop", "status", "doctor", "login", "logout", "tasks", "logs", "run", "lab"):
        assert f"\n    {command} " in said
