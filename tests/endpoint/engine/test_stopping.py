"""Cancel, walltime and calls that will not end."""

import ctypes
import os
import signal
import time

from funcx_lab_endpoint.engine.contract import CallDone


def spin():
    while True:
        pass


def sleep_in_c(seconds):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    ctypes.CDLL(None).sleep(seconds)


def refuse_to_end():
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            print("not yet")


def cancel(driver, function, *args):
    """Cancel a running call; return its end and how many seconds that took."""
    task_id = driver.submit(function, *args)
    driver.started(task_id)
    since = time.monotonic()
    assert driver.host.cancel(task_id)
    return driver.end_of(task_id), time.monotonic() - since


def test_sleep_is_cancelled_before_it_ends(shared):
    pid = shared.value(os.getpid)
    done, seconds = cancel(shared, time.sleep, 60)
    assert done.outcome.error.code == "TASK_CANCELLED"
    assert seconds < 20
    assert shared.value(os.getpid) == pid


def test_python_loop_is_cancelled_before_it_ends(shared):
    done, seconds = cancel(shared, spin)
    assert done.outcome.error.code == "TASK_CANCELLED"
    assert seconds < 20


def test_output_before_the_cancel_is_kept(shared):
    def print_and_sleep():
        print("so far")
        time.sleep(60)

    done, _ = cancel(shared, print_and_sleep)
    assert shared.text(done.task_id) == "so far\n"


def test_call_blocked_in_c_is_killed_after_its_grace(make_driver):
    driver = make_driver()
    pid = driver.value(os.getpid)
    done, seconds = cancel(driver, sleep_in_c, 60)
    assert done.outcome.error.code == "TASK_CANCELLED"
    assert 1.5 < seconds < 30
    assert driver.value(os.getpid) != pid


def test_call_that_swallows_the_interrupt_is_killed(make_driver):
    driver = make_driver()
    done, _ = cancel(driver, refuse_to_end)
    assert done.outcome.error.code == "TASK_CANCELLED"
    assert driver.text(done.task_id) == "not yet\n"


def test_walltime_stops_a_call(shared):
    since = time.monotonic()
    error = shared.error(time.sleep, 60, walltime_s=0.3)
    assert error.code == "WALLTIME_REACHED"
    assert "0.3 s" in error.message
    assert 0.25 < time.monotonic() - since < 20


def test_walltime_kills_what_does_not_end(make_driver):
    driver = make_driver()
    assert driver.error(sleep_in_c, 60, walltime_s=0.2).code == "WALLTIME_REACHED"
    assert driver.value(len, "ab") == 2


def test_call_in_time_is_not_stopped(shared):
    assert shared.value(len, "abc", walltime_s=5) == 3


def test_a_walltime_behind_the_end_of_clocks_ends_no_worker(shared):
    assert shared.value(len, "abc", walltime_s=1e300) == 3


def test_cancelled_call_that_never_ran_yields_no_fact(shared):
    blocker = shared.submit(time.sleep, 0.3)
    waiting = shared.submit(len, "abc")
    assert shared.host.cancel(waiting)
    shared.end_of(blocker)
    assert shared.value(len, "x") == 1
    assert shared.of(waiting, CallDone) == []


def test_unknown_task_cannot_be_cancelled(shared):
    assert not shared.host.cancel("never seen")


def test_subprocess_of_a_cancelled_call_ends(shared):
    def run_a_child():
        import subprocess

        print(os.getpid(), flush=True)
        subprocess.run(["sleep", "3600"], check=True)

    done, seconds = cancel(shared, run_a_child)
    assert done.outcome.error.code == "TASK_CANCELLED"
    assert seconds < 20


def test_worker_that_is_deaf_is_killed_from_outside(make_driver):
    """C code that keeps the GIL: no thread of the worker can hear the cancel."""
    driver = make_driver()
    pid = driver.value(os.getpid)

    def keep_the_gil():
        time.sleep(0.1)
        ctypes.PyDLL(None).sleep(60)

    driver.end_of(driver.submit(len, "x"))
    task_id = driver.submit(keep_the_gil)
    driver.started(task_id)
    time.sleep(0.1)  # until it is inside; nothing can tell
    driver.host.cancel(task_id)
    driver.end_of(task_id, limit=60)
    assert driver.value(os.getpid) != pid
