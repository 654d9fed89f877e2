"""What is told of a worker that is gone."""

import os
import platform
import signal
import subprocess
import sys

import pytest

from funcx_lab_endpoint.engine import evidence as evidence_module
from funcx_lab_endpoint.engine.contract import CallLost
from funcx_lab_endpoint.engine.evidence import Evidence

HERE = {"host": platform.node(), "pid": 0}


@pytest.fixture
def vmstat(tmp_path, monkeypatch):
    path = tmp_path / "vmstat"
    monkeypatch.setattr(evidence_module, "_VMSTAT", path)
    path.write_text("nr_free_pages 5\noom_kill 3\n")
    return path


def test_memory_kills_since_the_last_loss_are_a_hint(vmstat, tmp_path):
    evidence = Evidence(tmp_path)
    assert "out of memory" not in evidence.describe("sid", HERE, "the process died", 0)
    vmstat.write_text("nr_free_pages 5\noom_kill 4\n")
    assert "out of memory" in evidence.describe("sid", HERE, "the process died", 0)
    assert "out of memory" not in evidence.describe("sid", HERE, "the process died", 0)


def test_memory_kills_of_this_machine_say_nothing_about_another(vmstat, tmp_path):
    evidence = Evidence(tmp_path)
    vmstat.write_text("oom_kill 4\n")
    assert "out of memory" not in evidence.describe("sid", {"host": "elsewhere", "pid": 1}, "gone", 0)


def test_system_without_that_count_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(evidence_module, "_VMSTAT", tmp_path / "none")
    assert Evidence(tmp_path).describe("sid", HERE, "gone", 0).endswith(": gone")


def test_last_words_are_told_once(tmp_path):
    (tmp_path / "sid").write_text("Fatal Python error: Aborted\n\nThread 1\n")
    evidence = Evidence(tmp_path)
    assert "(Fatal Python error: Aborted)" in evidence.describe("sid", HERE, "signal 6", 0)
    assert not (tmp_path / "sid").exists()


def test_memory_in_use_is_told(tmp_path):
    assert "1,500 MB" in Evidence(tmp_path).describe("sid", HERE, "signal 9", 1_500_000_000)


def test_stopped_process_is_told(tmp_path):
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        sleeper.send_signal(signal.SIGSTOP)
        os.waitpid(sleeper.pid, os.WUNTRACED)
        words = Evidence(tmp_path).describe("sid", {**HERE, "pid": sleeper.pid}, "not heard for 20 s", 0)
        assert "SIGSTOP" in words
    finally:
        sleeper.kill()
        sleeper.wait()


def test_loss_of_a_real_worker_says_signal_and_memory(make_driver):
    driver = make_driver()

    def eat_and_die():
        import time

        ballast = bytearray(200_000_000)
        time.sleep(2.5)  # until a heartbeat has told
        os.kill(os.getpid(), 9 if ballast else 0)

    lost = driver.run(eat_and_die)
    assert isinstance(lost, CallLost)
    assert "signal 9" in lost.evidence
    megabytes = int(lost.evidence.partition("it used ")[2].partition(" MB")[0].replace(",", ""))
    assert 200 < megabytes < 500
