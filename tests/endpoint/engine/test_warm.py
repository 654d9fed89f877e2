"""Named sessions in real workers: what stays there between calls, and what is told when it is gone."""

import os
import signal
from types import SimpleNamespace

import pytest

from funcx_lab import serialize
from funcx_lab.serialize import source, warm
from funcx_lab_endpoint.engine.contract import CallDone


@pytest.fixture(scope="module")
def driver(make_module_driver):
    return make_module_driver('Config(engine="processes", max_workers_per_node=2)', workers=2)


def cell(text, imports=(), **inputs):
    packed = serialize.pack_cell(
        text, filename="Cell In[1]", first_line=1, inputs=list(inputs), outputs=[], imports=list(imports)
    )
    return SimpleNamespace(packed=packed, inputs=inputs)


def run(driver, made, session):
    """Run a cell in a session; return its outcome and what it wrote to stderr."""
    call = driver.make(made.packed, session=session)
    payload = serialize.pack_arguments((), made.inputs).tobytes()
    object.__setattr__(call, "payload", payload)
    driver.host.submit([call])
    done = driver.end_of(call.task_id)
    assert isinstance(done, CallDone), done
    return done.outcome, driver.text(call.task_id, "stderr")


def value(driver, text, session, **inputs):
    outcome, _ = run(driver, cell(text, **inputs), session)
    assert outcome.ok, outcome.error
    return serialize.unpack_value(outcome.payload).value


def test_names_stay_between_cells_and_the_first_use_is_announced(driver):
    outcome, told = run(driver, cell("model = [1, 2]\ndef score(x):\n    return x * len(model)"), "names")
    assert told.startswith("session names is new on ")
    assert outcome.worker["session"] == {"name": "names", "is_new": True, "names": ["model", "score"]}
    outcome, told = run(driver, cell("model.append(3)\nscore(10)"), "names")
    assert (serialize.unpack_value(outcome.payload).value, told) == (30, "")
    assert outcome.worker["session"]["is_new"] is False


def test_sessions_do_not_see_each_others_names(driver):
    value(driver, "secret = 1", "mine")
    outcome, _ = run(driver, cell("secret"), "yours")
    assert outcome.error.type == "NameError"


def defined(text, name):
    """Return a function as a notebook has it."""
    filename = f"<{name}>"
    source.register_text(filename, text)
    names = {"__name__": "__main__"}
    exec(compile(text, filename, "exec"), names)
    return names[name]


def test_functions_from_the_notebook_see_the_sessions_names(driver):
    double = defined("def double(x):\n    return 2 * x + offset", "double")
    value(driver, "offset = 1", "functions")
    assert value(driver, "double(4)", "functions", double=double) == 9
    assert driver.value(double, 5, session="functions") == 11


def test_functions_of_a_session_share_its_worker_and_its_names(driver):
    value(driver, "import os\nkept = os.getpid()", "plain")
    pids = {driver.value(os.getpid, session="plain") for _ in range(4)}
    assert pids == {value(driver, "kept", "plain")}


def test_what_a_function_brings_along_does_not_replace_what_the_session_made():
    space = warm.WarmSpace()
    with space.entered():
        with space.opening():
            brought = {"model": None, "level": 1}
            space._names.update(brought)
        exec("model = 'trained'", space._names)
        with space.opening():
            space._names.update({"model": None, "level": 2})
    assert (space._names["model"], space._names["level"]) == ("trained", 2)


def test_what_the_notebook_sent_is_not_told_as_the_sessions_own(driver):
    outcome, _ = run(driver, cell("total = sum(data)\nstep += 1", data=[1, 2], step=0), "sent")
    assert outcome.worker["session"]["names"] == ["step", "total"]


def test_a_failed_cell_leaves_what_it_made(driver):
    run(driver, cell("kept = 5\n1 / 0"), "failing")
    assert value(driver, "kept", "failing") == 5


def test_a_killed_worker_is_told_with_the_name_that_is_missing(driver):
    value(driver, "model = 1", "killed")
    pid = value(driver, "import os\nos.getpid()", "killed")
    os.kill(pid, signal.SIGKILL)
    driver.until(lambda: pid not in driver.host.status()["worker_pids"])
    outcome, told = run(driver, cell("model + 1"), "killed")
    assert outcome.error.type == "NameError"
    assert "session killed is new on " in told
    assert f"worker {pid}" in told
    assert "signal 9" in told
    assert outcome.error.details["session"]["is_new"] is True


def test_a_cell_that_reaches_its_walltime_leaves_the_session(driver):
    value(driver, "kept = 7", "stopped")
    call = driver.make(cell("import time\ntime.sleep(60)").packed, session="stopped", walltime_s=0.3)
    driver.host.submit([call])
    done = driver.end_of(call.task_id)
    assert done.outcome.error.code == "WALLTIME_REACHED"
    assert done.outcome.worker["session"]["names"] == ["kept", "time"]
    assert value(driver, "kept", "stopped") == 7


def test_a_session_ends_when_told(driver):
    value(driver, "kept = 7", "ended")
    assert driver.value(warm.end, session="ended") is True
    assert "ended" not in [each["name"] for each in driver.host.status()["sessions"]]
    outcome, told = run(driver, cell("kept"), "ended")
    assert outcome.error.type == "NameError"
    assert told.startswith("session ended is new on ")
    assert "lost" not in told


def test_an_unused_session_ends_and_its_worker_goes_on(make_driver):
    config = 'Config(engine="processes", max_workers_per_node=1, session_idle_seconds=0.2)'
    driver = make_driver(config)
    pid = value(driver, "import os\nkept = 7\nos.getpid()", "unused")
    driver.until(lambda: not driver.host.status()["sessions"])
    assert driver.value(os.getpid) == pid
    outcome, told = run(driver, cell("kept"), "unused")
    assert outcome.error.type == "NameError"
    assert "it had not been used for so long that it was ended" in told
