"""Calls that require packages: run here, refused, or run in an environment that is built for them."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from funcx_lab import serialize
from funcx_lab.errors import UsageError
from funcx_lab.protocol.payload import INLINE_LIMIT
from funcx_lab_endpoint.engine.contract import CallLost
from funcx_lab_endpoint.worker.requirements import lacking
from tests.endpoint.engine.driver import PROCESSES, Driver
from tests.endpoint.engine.wheels import make_wheels, pip_variables, unpack

ALLOWED = (
    'Config(engine="processes", max_workers_per_node={workers}, result_limit=60_000_000, '
    "allow_requirements=True, environments_kept=2)"
)
NEW, OLD, WIDGET = ["gadget>=2"], ["gadget<2"], ["widget"]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheels")
    make_wheels(directory)
    return directory


@pytest.fixture(scope="module", autouse=True)
def surroundings(wheels, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in pip_variables(wheels).items():
            patch.setenv(name, value)
        patch.setenv("FUNCX_LAB_TOKEN", "secret")
        patch.delenv("PYTHONPATH", raising=False)
        yield


@pytest.fixture(scope="module")
def driver(surroundings, tmp_path_factory):
    """One worker that may build; what one test has built is there for the next."""
    driver = Driver(tmp_path_factory.mktemp("endpoint"), ALLOWED.format(workers=1))
    yield driver
    driver.stop()


def ends(*pids, limit=10.0):
    deadline = time.monotonic() + limit
    while running := [pid for pid in pids if is_running(pid)]:
        if time.monotonic() > deadline:
            return running
        time.sleep(0.02)
    return []


def is_running(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def read_when_written(driver, path):
    driver.until(lambda: path.exists() and path.read_text().endswith("\n"))
    return [int(word) for word in path.read_text().split()]


def look():
    import os
    import sys

    import gadget

    print("hello from", gadget.version)
    return gadget.version, os.getpid(), os.getppid(), sys.prefix


def where():
    import os

    return os.getpid()


# --- where it runs ----------------------------------------------------------------------------------


def test_an_environment_is_built_once_and_its_process_stays(driver) -> None:
    task = driver.submit(look, requires=NEW)
    end = driver.end_of(task, 60)
    version, child, worker, prefix = serialize.unpack_value(end.outcome.payload)
    assert version == "2.0"
    assert worker == driver.value(where) != child
    assert Path(prefix).parent == driver.directory / "environments"
    log = driver.text(task)
    assert "building an environment with gadget>=2" in log
    assert "gadget" in log.partition("\n")[2] + driver.text(task, "stderr")  # what pip or uv says
    assert log.endswith("hello from 2.0\n")
    again = driver.submit(look, requires=NEW)
    assert serialize.unpack_value(driver.end_of(again).outcome.payload) == (version, child, worker, prefix)
    assert driver.text(again) == "hello from 2.0\n"


def test_what_is_there_is_used_as_it_is(driver) -> None:
    worker = driver.value(where)
    assert driver.value(where, requires=["pytest>=8", "msgspec"]) == worker
    assert driver.value(where, requires=["not-there; sys_platform == 'win32'"]) == worker


def test_an_endpoint_refuses_unless_its_owner_allows_it(make_driver) -> None:
    error = make_driver(PROCESSES).error(look, requires=["gadget>=2", "pytest>=1000", "msgspec"])
    assert error.code == "REQUIREMENTS_REFUSED"
    assert "gadget>=2 (not installed), pytest>=1000 (" in error.message
    assert "allow_requirements=True" in error.message
    assert len(error.details["missing"]) == 2


def test_a_named_session_stays_where_it_is(driver) -> None:
    error = driver.error(look, requires=NEW, session="warm")
    assert (error.code, "named session" in error.message) == ("REQUIREMENTS_REFUSED", True)
    assert driver.value(where, requires=["msgspec"], session="warm") == driver.value(where)


def test_a_build_that_fails_says_why_and_leaves_nothing(driver) -> None:
    task = driver.submit(look, requires=["gadget>=3"])
    error = driver.end_of(task, 60).outcome.error
    assert error.code == "REQUIREMENTS_FAILED"
    told = error.message.splitlines()[-1]
    assert "gadget" in told or "requirements" in told
    assert told in driver.text(task, "stderr")
    places = [path for path in (driver.directory / "environments").iterdir() if path.is_dir()]
    assert all((path / "ready.json").exists() for path in places)


def test_a_disk_that_cannot_be_written_is_no_error_of_the_function(make_driver, tmp_path) -> None:
    (tmp_path / "endpoint").mkdir()
    (tmp_path / "endpoint" / "environments").write_text("no directory")
    error = make_driver(ALLOWED, directory=tmp_path / "endpoint").error(look, requires=NEW)
    assert (error.code, "cannot be built" in error.message) == ("REQUIREMENTS_FAILED", True)


@pytest.mark.parametrize("text", ["gadget 2", "gadget @ file:///gadget.whl", "--pre"])
def test_what_is_no_requirement_never_reaches_pip(driver, text) -> None:
    task = driver.submit(where, requires=[text])
    error = driver.end_of(task).outcome.error
    assert (error.code, repr(text) in error.message) == ("USAGE_ERROR", True)
    assert driver.text(task) == ""


# --- what it gives ----------------------------------------------------------------------------------


def test_output_and_displays_keep_their_order(driver) -> None:
    def show():
        import os

        for number in range(3):
            print("line", number)
            os.write(1, b"raw\n")
            display(number)  # noqa: F821

    driver.value(look, requires=NEW)
    task = driver.submit(show, requires=NEW)
    assert driver.end_of(task).outcome.ok
    seen = [e.data["data"]["text/plain"] if e.kind == "display" else e.data for e in driver.events(task)]
    assert seen == [each for n in range(3) for each in (f"line {n}\nraw\n", str(n))]


def test_exceptions_large_results_and_arguments_travel(driver) -> None:
    def fail(word):
        raise KeyError(word)

    error = driver.error(fail, "lost", requires=NEW)
    assert (error.code, error.type) == ("TASK_FAILED", "KeyError")
    assert "apart_child" not in error.traceback
    size = 2 * INLINE_LIMIT
    assert driver.value(lambda data: data + b"!", bytes(size), requires=NEW) == bytes(size) + b"!"


def test_a_cell_runs_there(driver) -> None:
    source = "import gadget\nclass Part:\n    number = 1\npart = Part()\ngadget.version"
    cell = serialize.pack_cell(
        source, filename="Cell In[1]", first_line=2, inputs=[], outputs=["part"], imports=[]
    )
    result = driver.value(cell, requires=NEW)
    assert (result.value, type(result.names["part"]).__name__) == ("2.0", "Part")


def test_it_has_the_workers_packages_and_no_secret(driver) -> None:
    def inside():
        import os
        import subprocess
        import sys

        import msgspec

        python = subprocess.run(
            ["python", "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True
        )
        return msgspec.__name__, os.environ.get("FUNCX_LAB_TOKEN"), python.stdout.strip() == sys.prefix

    assert driver.value(inside, requires=NEW) == ("msgspec", None, True)


def test_files_of_the_working_directory_are_no_modules_of_ours(make_driver, driver, tmp_path) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('not this one')\n")
    config = ALLOWED.replace("Config(", f"Config(working_directory={str(tmp_path)!r}, ")
    (tmp_path / "endpoint").mkdir()
    (tmp_path / "endpoint" / "environments").symlink_to(driver.directory / "environments")
    other = make_driver(config, directory=tmp_path / "endpoint")
    assert other.value(look, requires=NEW)[0] == "2.0"


# --- how it ends ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "words"), [("os._exit(3)", "exit code 3"), ("os.kill(os.getpid(), 11)", "SIGSEGV")]
)
def test_a_crash_is_the_calls_and_not_the_workers(driver, end, words) -> None:
    def crash(end):
        import os
        import subprocess

        print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
        exec(end, {"os": os})

    worker = driver.value(where)
    task = driver.submit(crash, end, requires=NEW)
    error = driver.end_of(task).outcome.error
    assert (error.code, words in error.message) == ("WORKER_LOST", True), error
    assert ends(int(driver.text(task))) == []
    assert driver.value(where) == worker
    assert driver.value(look, requires=NEW)[0] == "2.0"


def linger(path, stubborn):
    import os
    import signal
    import subprocess
    import time
    from pathlib import Path

    child = subprocess.Popen(["sh", "-c", "trap '' INT; sleep 60"])
    if stubborn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path(path).write_text(f"{os.getpid()} {child.pid}\n")
    try:
        time.sleep(60)
    finally:
        print("cleaned up")


def test_a_cancel_ends_the_whole_group(driver, tmp_path) -> None:
    worker = driver.value(where)
    task = driver.submit(linger, str(tmp_path / "pids"), False, requires=NEW)
    pids = read_when_written(driver, tmp_path / "pids")
    driver.host.cancel(task)
    assert driver.end_of(task).outcome.error.code == "TASK_CANCELLED"
    assert driver.text(task) == "cleaned up\n"
    assert ends(*pids) == []
    assert driver.value(where) == worker


@pytest.mark.slow
def test_walltime_ends_one_that_does_not_hear(driver, tmp_path) -> None:
    worker = driver.value(look, requires=NEW)[2]  # built now: the walltime counts that, too
    task = driver.submit(linger, str(tmp_path / "pids"), True, requires=NEW, walltime_s=3.0)
    pids = read_when_written(driver, tmp_path / "pids")
    assert driver.end_of(task).outcome.error.code == "WALLTIME_REACHED"
    assert ends(*pids) == []
    assert driver.value(where) == worker


def test_it_ends_with_its_worker(make_driver, driver, tmp_path) -> None:
    (tmp_path / "endpoint").mkdir()
    (tmp_path / "endpoint" / "environments").symlink_to(driver.directory / "environments")
    other = make_driver(ALLOWED, directory=tmp_path / "endpoint")
    task = other.submit(linger, str(tmp_path / "pids"), True, requires=NEW)
    child, _ = read_when_written(other, tmp_path / "pids")
    os.kill(other.started(task).worker["pid"], signal.SIGKILL)
    other.until(lambda: other.of(task, CallLost))
    assert ends(child) == []


# --- building ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_workers_that_need_the_same_build_it_once(make_driver, wheels) -> None:
    driver = make_driver(ALLOWED, workers=2)
    driver.until(lambda: driver.host.status()["workers"] == 2 or driver.submit(where))
    tasks = [driver.submit(look, requires=NEW) for _ in range(2)]
    pids = {serialize.unpack_value(driver.end_of(task, 60).outcome.payload)[2] for task in tasks}
    assert len(pids) == 2
    texts = sorted(driver.text(task) for task in tasks)
    assert ["building an env" in text for text in texts] == [True, False]
    assert "waiting until another worker has built" in texts[1]


@pytest.mark.slow
def test_a_build_that_was_cancelled_is_begun_anew(make_driver, tmp_path, monkeypatch) -> None:
    """With a uv that takes its time, and shows with what it is called."""
    log = tmp_path / "log"
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "uv").write_text(
        f'#!/bin/sh\necho "$@" >> {log}\n'
        f'case "$1" in venv) exec "$3" -m venv --without-pip "$4";; esac\n'
        f"if [ ! -e {tmp_path}/begun ]; then echo $$ > {tmp_path}/begun; sleep 60; fi\n"
        'python="$4"; shift 5; exec "$python" -m pip install "$@"\n'
    )
    (programs / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    driver = make_driver(ALLOWED)
    task = driver.submit(look, requires=NEW)
    pids = read_when_written(driver, tmp_path / "begun")
    driver.host.cancel(task)
    assert driver.end_of(task).outcome.error.code == "TASK_CANCELLED"
    assert ends(*pids) == []
    assert driver.value(look, requires=NEW)[0] == "2.0"
    calls = [line.split()[:-1] for line in log.read_text().splitlines()]
    (place,) = [path for path in (driver.directory / "environments").iterdir() if path.is_dir()]
    assert calls[0] == ["venv", "--python", sys.executable]
    assert calls[1] == ["pip", "install", "--python", str(place / "bin" / "python"), "--"]


@pytest.mark.slow
def test_what_was_not_used_for_longest_goes(make_driver, monkeypatch, wheels, tmp_path) -> None:
    """Over a worker that has an older gadget itself: what is installed for the call comes first."""
    unpack(wheels, "gadget-1.0", tmp_path / "base")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "base"))
    driver = make_driver(ALLOWED, workers=1)
    assert driver.value(look, requires=OLD)[1] == driver.value(where)
    first = Path(driver.value(look, requires=NEW)[3])
    assert driver.value(look, requires=WIDGET)[0] == "2.0"
    (first.parent / "half-built").mkdir()
    assert driver.value(look, requires=["gadget==2.*"])[0] == "2.0"
    left = {path for path in first.parent.iterdir() if path.is_dir()}
    assert len(left) == 2
    assert first not in left


# --- what is there ----------------------------------------------------------------------------------


def test_requirements_are_compared_with_what_is_installed(tmp_path, monkeypatch) -> None:
    info = tmp_path / "thing-1.5rc1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: thing\nVersion: 1.5rc1\nProvides-Extra: fast\nProvides-Extra: all\n"
        'Requires-Dist: nowhere>1; extra == "fast"\nRequires-Dist: thing[fast]; extra == "all"\n'
        "Requires-Dist: never; python_version < '3'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert lacking(["thing", "Thing>=1.0", "thing<2", "x; python_version < '3'"]) == []
    assert lacking(["thing>=2"]) == ["thing>=2 (1.5rc1 is installed)"]
    assert lacking(["thing[fast]"]) == ["thing[fast]: nowhere>1 (not installed)"]
    assert lacking(["thing[all]"]) == ["thing[all]: thing[fast]: nowhere>1 (not installed)"]
    with pytest.raises(UsageError, match="address"):
        lacking(["thing @ https://example.org/thing.whl"])
