"""Shell commands in a worker: lines as they come, and an end of the whole group."""

import time
from pathlib import Path

from funcx_lab import ShellFunction
from funcx_lab.shell import ShellScript


def ends(*pids):
    deadline = time.monotonic() + 30
    while any(is_running(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_lines_appear_while_it_runs_and_the_result_tells_the_rest(shared, tmp_path) -> None:
    wait = ShellFunction(
        "cd {place}; echo first; while [ ! -e go ]; do sleep 0.02; done; echo last >&2; exit 5"
    )
    call = shared.make(wait, str(tmp_path))
    shared.host.submit([call])
    shared.until(lambda: shared.text(call.task_id) == "first\n")
    (tmp_path / "go").touch()
    assert shared.end_of(call.task_id).outcome.ok
    assert shared.text(call.task_id, "stderr") == "last\n"
    assert shared.value(ShellScript("echo $((6 * 7))")).stdout == "42\n"


def test_each_run_has_a_directory_of_its_own(make_driver, tmp_path) -> None:
    driver = make_driver(
        f'Config(engine="processes", max_workers_per_node={{workers}}, working_directory={str(tmp_path)!r})'
    )
    write = ShellFunction("echo {word} > file", stdout="out.txt")
    places = [Path(driver.value(write, word).directory) for word in ("a", "b")]
    assert [(place / "file").read_text() for place in places] == ["a\n", "b\n"]
    assert {place.parent for place in places} == {tmp_path / "funcx-shell"}


def test_errors_are_those_of_the_command(shared) -> None:
    error = shared.error(ShellFunction("echo no such sample >&2; exit 2", check=True))
    assert (error.code, error.details["returncode"]) == ("SHELL_FAILED", 2)
    assert shared.error(ShellFunction("sleep 60", walltime=0.2)).code == "WALLTIME_REACHED"
    assert shared.error(ShellFunction("echo {a}")).code == "USAGE_ERROR"


def test_a_cancel_and_the_tasks_walltime_end_the_group(shared, tmp_path) -> None:
    worker = shared.value(lambda: __import__("os").getpid())
    stubborn = ShellFunction(
        "(trap '' TERM INT; sleep 60) & trap 'echo bye' TERM; "
        "echo $$ $! > {file}.part; mv {file}.part {file}; wait"
    )
    for name, walltime_s in (("cancelled", None), ("late", 2.0)):
        file = tmp_path / name
        task = shared.submit(stubborn, str(file), walltime_s=walltime_s)
        shared.until(file.exists)
        if walltime_s is None:
            shared.host.cancel(task)
        code = "WALLTIME_REACHED" if walltime_s else "TASK_CANCELLED"
        assert shared.end_of(task).outcome.error.code == code
        assert "bye" in shared.text(task)
        assert ends(*map(int, file.read_text().split()))
    assert shared.value(lambda: __import__("os").getpid()) == worker
