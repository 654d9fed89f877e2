"""What a call gives back, on real worker processes."""

import hashlib
import os
import signal
import subprocess
import sys
import time

from funcx_lab import serialize
from funcx_lab.protocol.messages import FunctionBody
from funcx_lab.serialize import globus
from funcx_lab_endpoint.engine.contract import Call, CallDone, CallStarted


def test_value_comes_back(shared):
    assert shared.value(lambda a, b: {"sum": a + b}, 1, 2) == {"sum": 3}


def test_exception_comes_back_in_words_and_pickled(shared):
    def divide():
        return 1 / 0

    done = shared.run(divide)
    error = done.outcome.error
    assert (error.code, error.type, error.message) == ("TASK_FAILED", "ZeroDivisionError", "division by zero")
    assert "return 1 / 0" in error.traceback
    assert "funcx_lab_endpoint" not in error.traceback
    rebuilt = serialize.unpack_exception(done.outcome.payload, error)
    assert isinstance(rebuilt, ZeroDivisionError)


def test_outcome_says_where_it_ran(shared):
    done = shared.run(os.getpid)
    assert done.outcome.worker["pid"] == serialize.unpack_value(done.outcome.payload)
    assert done.outcome.started <= done.outcome.ended


def test_sys_exit_is_an_ordinary_failure(shared):
    pid = shared.value(os.getpid)
    assert shared.error(lambda: sys.exit(3)).type == "SystemExit"
    assert shared.value(os.getpid) == pid


def test_keyboard_interrupt_of_the_user_is_an_ordinary_failure(shared):
    def interrupt():
        raise KeyboardInterrupt("mine")

    error = shared.error(interrupt)
    assert (error.code, error.type) == ("TASK_FAILED", "KeyboardInterrupt")


def test_short_call_is_not_announced(shared):
    done = shared.run(os.getpid)
    assert shared.of(done.task_id, CallStarted) == []


def test_long_call_is_announced(shared):
    task_id = shared.submit(time.sleep, 0.2)
    assert shared.started(task_id).worker["pid"]
    assert shared.end_of(task_id).outcome.ok


def test_result_over_256_kb_travels_in_a_file(shared):
    done = shared.run(lambda: b"x" * 300_000)
    assert done.outcome.payload == b""
    assert serialize.unpack_value(done.path.read_bytes()) == b"x" * 300_000


def test_50_mb_result(shared):
    assert shared.value(lambda: b"y" * 50_000_000) == b"y" * 50_000_000


def test_result_over_the_limit_fails_and_is_kept(shared):
    error = shared.error(lambda: b"z" * 61_000_000)
    assert error.code == "RESULT_TOO_LARGE"
    assert error.details["size"] > 61_000_000
    kept = error.details["path"]
    assert os.path.getsize(kept) == error.details["size"]


def test_a_limit_below_the_inline_size_holds_too(make_driver):
    driver = make_driver('Config(engine="processes", max_workers_per_node={workers}, result_limit=1000)')
    assert driver.value(lambda: b"z" * 500) == b"z" * 500
    error = driver.error(lambda: b"z" * 5000)
    assert error.code == "RESULT_TOO_LARGE"
    assert os.path.getsize(error.details["path"]) == error.details["size"]


def test_arguments_from_a_file(shared):
    assert shared.value(len, b"a" * 3_000_000) == 3_000_000


def test_result_that_cannot_be_sent_is_told(shared):
    error = shared.error(lambda: (i for i in range(3)))
    assert error.code == "CANNOT_SERIALIZE"


def test_damaged_function_is_refused(shared):
    packed = serialize.pack_function(len)
    shared.host.learn(FunctionBody("damaged", "0" * 64, "funcx-lab", "len", packed.body))
    shared.host.submit([Call("damaged-1", 1, "damaged", serialize.pack_arguments(([],), {}).tobytes())])
    done = shared.end_of("damaged-1")
    assert done.outcome.error.code == "PAYLOAD_HASH_MISMATCH"


def test_globus_function_is_answered_in_kind(shared):
    source = b"def add(a, b):\n    return a + b\n"
    shared.host.learn(FunctionBody("g", hashlib.sha256(source).hexdigest(), "globus-source", "add", source))
    packed = globus.join(["00\n" + globus._dill_text([1, 2]), "00\n" + globus._dill_text({})])
    shared.host.submit([Call("globus-1", 1, "g", packed.encode())])
    done = shared.end_of("globus-1")
    assert done.outcome.error is None
    assert done.outcome.payload == globus.pack_result(3).encode()


def test_cell_shows_its_figures(shared):
    packed = serialize.pack_cell(
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\n_ = 1",
        filename="cell",
        first_line=2,
        inputs=[],
        outputs=[],
        imports=[],
    )
    shared.host.learn(FunctionBody("cell", packed.sha256, "funcx-lab", "cell", packed.body))
    shared.host.submit([Call("cell-1", 1, "cell", serialize.pack_arguments((), {}).tobytes())])
    assert shared.end_of("cell-1").outcome.ok
    (display,) = [event for event in shared.events("cell-1") if event.kind == "display"]
    assert "image/png" in display.data["data"]


def test_processes_of_a_cell_know_its_functions(shared):
    text = (
        "from concurrent.futures import ProcessPoolExecutor\n"
        "def square(x): return x * x\n"
        "with ProcessPoolExecutor(2) as pool:\n"
        "    squares = list(pool.map(square, range(3)))"
    )
    cell = serialize.pack_cell(
        text, filename="Cell In[1]", first_line=1, inputs=[], outputs=["squares"], imports=[]
    )
    assert shared.value(cell).names == {"squares": [0, 1, 4]}


def test_processes_of_a_function_know_its_helpers(shared, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from multiprocessing import Pool\n"
        "def square(x): return x * x\n"
        "def squares(n):\n"
        "    with Pool(2) as pool: return pool.map(square, range(n))\n"
    )
    space = {"__name__": "__main__"}
    exec(compile(script.read_text(), script, "exec"), space)
    assert shared.value(space["squares"], 3) == [0, 1, 4]


def test_same_task_submitted_twice_runs_once(shared):
    call = shared.make(time.sleep, 0.05)
    shared.host.submit([call, call])
    shared.host.submit([call])
    shared.end_of(call.task_id)
    shared.value(os.getpid)
    assert len(shared.of(call.task_id, CallDone)) == 1


def leave_a_mess():
    os.chdir("/")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    sys.stdout = None
    sys.stderr.close()
    sys.path.insert(0, "/nowhere")
    os.close(1)


def look_around():
    print("still here")
    return os.getcwd(), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "/nowhere" in sys.path


def test_a_call_cannot_spoil_the_next(shared):
    before = shared.value(look_around)
    shared.run(leave_a_mess)
    task_id = shared.submit(look_around)
    done = shared.end_of(task_id)
    assert serialize.unpack_value(done.outcome.payload) == before
    assert shared.text(task_id) == "still here\n"
    sleeping = shared.submit(time.sleep, 30)
    shared.started(sleeping)
    shared.host.cancel(sleeping)
    assert shared.end_of(sleeping).outcome.error.code == "TASK_CANCELLED"


def test_workers_do_not_see_tokens(make_driver, monkeypatch):
    monkeypatch.setenv("FUNCX_LAB_TOKEN", "secret")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    monkeypatch.setenv("HARMLESS", "1")
    driver = make_driver()
    names = driver.value(lambda: sorted(os.environ))
    assert "HARMLESS" in names
    assert not {"FUNCX_LAB_TOKEN", "JUPYTERHUB_API_TOKEN"} & set(names)
    own = driver.value(lambda: subprocess.check_output(["cat", f"/proc/{os.getppid()}/environ"]))
    assert b"secret" not in own
