"""Blocks that are jobs of a real batch system: cancelled under way, left behind, never begun.

Slurm runs here with one node on loopback and free ports, and leaves nothing outside its directory.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from funcx_lab_endpoint.engine.contract import CallLost

pytestmark = pytest.mark.slow

PACKAGES = {"sbatch": "slurm-client", "slurmctld": "slurmctld", "slurmd": "slurmd", "munged": "munge"}

CONF = """
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
InactiveLimit=0
KillWait=5
MinJobAge=300
SlurmctldPort={controller}
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes=n1 Default=YES MaxTime=01:00:00 State=UP
"""


class Slurm:
    def __init__(self, directory: Path) -> None:
        missing = sorted({package for name, package in PACKAGES.items() if shutil.which(name) is None})
        assert not missing, f"This test needs Slurm: run `apt-get install {' '.join(missing)}` as root first."
        self.directory = directory
        for name in ("", "state", "spool"):
            (directory / name).mkdir(mode=0o700, exist_ok=True)
        conf = directory / "slurm.conf"
        ports = dict(zip(("controller", "node"), free_ports(2), strict=True))
        conf.write_text(CONF.format(host=socket.gethostname().split(".")[0], directory=directory, **ports))
        self.environment = {"SLURM_CONF": str(conf)}
        self._processes = []

    def start(self) -> None:
        key = self.directory / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self._run("munged", "--foreground", "--force", *self._munge_files())
        self._await(lambda: (self.directory / "munge.socket").exists())
        self._run("slurmctld", "-i", "-D")
        self._run("slurmd", "-N", "n1", "-D")
        self._await(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%t"))

    def ask(self, *command: str) -> str:
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.stdout

    def jobs(self) -> list[str]:
        return self.ask("squeue", "-h", "-o", "%i").split()

    def stop(self) -> None:
        for job in self.jobs():
            self.ask("scancel", job)
        self.await_no_jobs()
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait(20)

    def await_no_jobs(self) -> None:
        self._await(lambda: not self.jobs())

    def _run(self, *command: str) -> None:
        with (self.directory / f"{command[0]}.out").open("wb") as out:
            environment = {**os.environ, **self.environment}
            self._processes.append(subprocess.Popen(command, stdout=out, stderr=out, env=environment))

    def _munge_files(self) -> list[str]:
        names = {
            "key-file": "key",
            "socket": "socket",
            "pid-file": "pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        return [f"--{option}={self.directory}/munge.{name}" for option, name in names.items()]

    def _await(self, condition) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "\n".join(
                f"{path.name}: {path.read_text(errors='replace')[-500:]}"
                for path in self.directory.glob("*.out")
            )
            time.sleep(0.2)


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    slurm = Slurm(tmp_path_factory.mktemp("slurm"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in slurm.environment.items():
            patch.setenv(name, value)
        try:
            slurm.start()
            yield slurm
        finally:
            slurm.stop()


CONFIG = """Config(
    provider=__import__("parsl.providers").providers.SlurmProvider(
        partition="debug", exclusive=False, init_blocks=1, max_blocks=1, walltime="00:10:00"
    ),
    address="127.0.0.1",
    max_workers_per_node=1,
)"""


def test_job_cancelled_under_way_costs_a_run_of_its_call_and_no_more(make_driver, slurm):
    driver = make_driver(CONFIG)
    task_id = driver.submit(time.sleep, 600)
    driver.started(task_id, limit=60)
    (job,) = slurm.jobs()
    slurm.ask("scancel", job)
    assert isinstance(driver.end_of(task_id, limit=60), CallLost)
    assert driver.end_of(driver.submit(len, "abc"), limit=90).outcome.ok  # the agent gives it again
    assert slurm.jobs() not in ([], [job])
    assert driver.host.status()["restarts"] == 0
    driver.stop()
    slurm.await_no_jobs()


AGENT = """
import sys, time
from pathlib import Path
from funcx_lab_endpoint.config import load_config
from funcx_lab_endpoint.engine.host import open_host
directory = Path(sys.argv[1])
host = open_host(load_config(directory / "config.py"), directory)
host.start()
while not host.status()["blocks"]:
    host.poll(time.monotonic())
    time.sleep(0.01)
print(host.status()["engine_pid"], flush=True)
while True:
    host.poll(time.monotonic())
    time.sleep(0.05)
"""


@contextlib.contextmanager
def agent_with_a_job(directory, slurm):
    """Start an agent and wait for its job; it is killed at the end."""
    directory.mkdir()
    (directory / "config.py").write_text(f"from funcx_lab_endpoint.config import Config\nconfig = {CONFIG}\n")
    with subprocess.Popen([sys.executable, "-c", AGENT, str(directory)], stdout=subprocess.PIPE) as agent:
        try:
            yield int(agent.stdout.readline())
            assert len(slurm.jobs()) == 1
        finally:
            agent.kill()


def test_job_of_a_killed_agent_is_given_back(tmp_path, slurm):
    with agent_with_a_job(tmp_path / "a", slurm):
        pass
    slurm.await_no_jobs()


def test_pending_job_that_nobody_could_give_back_is_cancelled_by_the_next_start(tmp_path, make_driver, slurm):
    slurm.ask("scontrol", "update", "partitionname=debug", "state=down")
    try:
        with agent_with_a_job(tmp_path / "a", slurm) as engine:
            (left,) = slurm.jobs()
            os.kill(engine, signal.SIGKILL)
        driver = make_driver(CONFIG, directory=tmp_path / "a")
        driver.until(lambda: left not in slurm.jobs(), limit=60)
        driver.until(lambda: "pending" in driver.host.waiting_reason, limit=60)
        driver.stop()
    finally:
        slurm.ask("scontrol", "update", "partitionname=debug", "state=up")
    slurm.await_no_jobs()
