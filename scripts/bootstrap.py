"""Make a virtual environment and install funcx-lab into it, editable, with all extras.

    python3 scripts/bootstrap.py .venv [DEPENDENCY_GROUP ...]

Runs before anything is installed, on whatever ``python3`` there is: it is plain enough for Python 3.6 to
read it and say that it is too old.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time

MINIMUM = (3, 10)
NEWER = ["python3.13", "python3.12", "python3.11", "python3.10"]
PIP_WITH_GROUPS = "25.1"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: What slow tests run: a batch system, a browser, and what makes system calls fail and cuts networks.
TESTED_WITH = {
    "chromium": "chromium",
    "sbatch": "slurm-client",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "munged": "munge",
    "strace": "strace",
    "ss": "iproute2",
    "nft": "nftables",
}
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def main(venv, groups):
    """Install into the directory ``venv``, with these dependency groups of pyproject.toml."""
    check_version()
    python = os.path.join(venv, "bin", "python")
    if not works(python):
        make_venv(venv)
    pip = [python, "-m", "pip", "install"]
    run("Updating pip", [*pip, "--upgrade", f"pip>={PIP_WITH_GROUPS}"])
    wanted = [option for group in groups for option in ("--group", group)]
    title = f"Installing what {' and '.join(groups) or 'funcx-lab'} needs"
    run(title, [*pip, "--editable", ".[all]", *wanted])
    if "test" in groups:
        install_test_programs()


def check_version():
    """End with advice if this interpreter is too old."""
    if sys.version_info >= MINIMUM:
        return
    found = [name for name in NEWER if shutil.which(name)]
    fail(
        f"funcx-lab needs Python 3.{MINIMUM[1]} or newer; {sys.executable} is {sys.version.split()[0]}.",
        f"Try: make PYTHON={found[0]}" if found else "Install a newer one, then: make PYTHON=/path/to/it",
    )


def make_venv(venv):
    """Create the environment; Debian keeps what that takes in a package of its own."""
    if importlib.util.find_spec("ensurepip") is None:
        install_debian_package(f"python3.{sys.version_info[1]}-venv")
    run(f"Making {venv}", [sys.executable, "-m", "venv", "--clear", venv])


def install_debian_package(package):
    """Install ``package`` if that needs nobody's password, else say how."""
    root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    may = shutil.which("apt-get") and (not root or subprocess.call([*root, "true"], **QUIET) == 0)
    if not may:
        fail(f"The Debian package {package} is missing.", f"Try: sudo apt install {package}")
    apt_install(root, [package])


def install_test_programs():
    """Install what slow tests run, for root only: the batch system comes with daemons."""
    missing = sorted({package for program, package in TESTED_WITH.items() if shutil.which(program) is None})
    if not missing:
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        apt_install([], missing)
    else:
        sys.stdout.write(f"Some slow tests will need: sudo apt install {' '.join(missing)}\n")


def apt_install(root, packages):
    """Install Debian packages; ``root`` is what makes one root."""
    subprocess.call([*root, "apt-get", "update", "--quiet"], **QUIET)
    options = ["--yes", "--quiet", "--no-install-recommends"]
    run(f"Installing {' '.join(packages)}", [*root, "apt-get", "install", *options, *packages])


def works(python):
    """Return whether ``python`` is an interpreter that is new enough and has pip."""
    test = f"import sys, pip; sys.exit(sys.version_info < {MINIMUM})"
    return os.path.exists(python) and subprocess.call([python, "-c", test], **QUIET) == 0


def run(title, command):
    """Run ``command``; show what it said only if it failed."""
    sys.stdout.write(f"{title} ... ")
    sys.stdout.flush()
    started = time.time()
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore")
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        sys.stdout.write(f"failed\n{done.stdout.decode('utf-8', 'replace')}\n")
        fail(f"This failed: {' '.join(command)}", "The lines above say why; run `make` again afterwards.")
    sys.stdout.write(f"{time.time() - started:.0f} s\n")


def fail(problem, advice):
    """Say what is wrong and what to do, and end."""
    sys.stdout.flush()
    sys.stderr.write(f"{problem}\n{advice}\n")
    sys.exit(1)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except KeyboardInterrupt:
        fail("", "Interrupted; run `make` again to go on.")
