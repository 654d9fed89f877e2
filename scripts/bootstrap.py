"""Make a virtual environment and install funcx-lab into it, editable, with all extras.

 noqa: PLW1510, UP022  python3 scripts/bootstrap.py .venv [DEPENDENCY_GROUP ...]

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
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def main(venv, groups):
 noqa: PLW1510, UP022  """Install into the directory ``venv``, with these dependency groups of pyproject.toml."""
 noqa: PLW1510, UP022  check_version()
 noqa: PLW1510, UP022  python = os.path.join(venv, "bin", "python")
 noqa: PLW1510, UP022  if not works(python):
 noqa: PLW1510, UP022      make_venv(venv)
 noqa: PLW1510, UP022  pip = [python, "-m", "pip", "install"]
 noqa: PLW1510, UP022  run("Updating pip", [*pip, "--upgrade", f"pip>={PIP_WITH_GROUPS}"])
 noqa: PLW1510, UP022  wanted = [option for group in groups for option in ("--group", group)]
 noqa: PLW1510, UP022  title = "Installing what tests and linters need" if groups else "Installing funcx-lab and what it needs"
 noqa: PLW1510, UP022  run(title, [*pip, "--editable", ".[all]", *wanted])


def check_version():
 noqa: PLW1510, UP022  """End with advice if this interpreter is too old."""
 noqa: PLW1510, UP022  if sys.version_info >= MINIMUM:
 noqa: PLW1510, UP022      return
 noqa: PLW1510, UP022  found = [name for name in NEWER if shutil.which(name)]
 noqa: PLW1510, UP022  fail(
 noqa: PLW1510, UP022      f"funcx-lab needs Python 3.{MINIMUM[1]} or newer; {sys.executable} is {sys.version.split()[0]}.",
 noqa: PLW1510, UP022      f"Try: make PYTHON={found[0]}"
 noqa: PLW1510, UP022      if found
 noqa: PLW1510, UP022      else "Install a newer one, then: make PYTHON=/path/to/python3",
 noqa: PLW1510, UP022  )


def make_venv(venv):
 noqa: PLW1510, UP022  """Create the environment; Debian keeps what that takes in a package of its own."""
 noqa: PLW1510, UP022  if importlib.util.find_spec("ensurepip") is None:
 noqa: PLW1510, UP022      install_debian_package(f"python3.{sys.version_info[1]}-venv")
 noqa: PLW1510, UP022  run(f"Making {venv}", [sys.executable, "-m", "venv", "--clear", venv])


def install_debian_package(package):
 noqa: PLW1510, UP022  """Install ``package`` if that needs nobody's password, else say how."""
 noqa: PLW1510, UP022  root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
 noqa: PLW1510, UP022  may = shutil.which("apt-get") and (not root or subprocess.call([*root, "true"], **QUIET) == 0)
 noqa: PLW1510, UP022  if not may:
 noqa: PLW1510, UP022      fail(f"The Debian package {package} is missing.", f"Try: sudo apt install {package}")
 noqa: PLW1510, UP022  subprocess.call([*root, "apt-get", "update", "--quiet"], **QUIET)
 noqa: PLW1510, UP022  run(f"Installing {package}", [*root, "apt-get", "install", "--yes", "--quiet", package])


def works(python):
 noqa: PLW1510, UP022  """Return whether ``python`` is an interpreter that is new enough and has pip."""
 noqa: PLW1510, UP022  test = f"import sys, pip; sys.exit(sys.version_info < {MINIMUM})"
 noqa: PLW1510, UP022  return os.path.exists(python) and subprocess.call([python, "-c", test], **QUIET) == 0


def run(title, command):
 noqa: PLW1510, UP022  """Run ``command``; show what it said only if it failed."""
 noqa: PLW1510, UP022  sys.stdout.write(f"{title} ... ")
 noqa: PLW1510, UP022  sys.stdout.flush()
 noqa: PLW1510, UP022  started = time.time()
 noqa: PLW1510, UP022  environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore")
 noqa: PLW1510, UP022  done = subprocess.run(  # noqa: PLW1510, UP022
 noqa: PLW1510, UP022      command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
 noqa: PLW1510, UP022  )
 noqa: PLW1510, UP022  if done.returncode != 0:
 noqa: PLW1510, UP022      sys.stdout.write(f"failed\n{done.stdout.decode('utf-8', 'replace')}\n")
 noqa: PLW1510, UP022      fail(f"This failed: {' '.join(command)}", "The lines above say why; run `make` again afterwards.")
 noqa: PLW1510, UP022  sys.stdout.write(f"{time.time() - started:.0f} s\n")


def fail(problem, advice):
 noqa: PLW1510, UP022  """Say what is wrong and what to do, and end."""
 noqa: PLW1510, UP022  sys.stdout.flush()
 noqa: PLW1510, UP022  sys.stderr.write(f"{problem}\n{advice}\n")
 noqa: PLW1510, UP022  sys.exit(1)


if __name__ == "__main__":
 noqa: PLW1510, UP022  try:
 noqa: PLW1510, UP022      main(sys.argv[1], sys.argv[2:])
 noqa: PLW1510, UP022  except KeyboardInterrupt:
 noqa: PLW1510, UP022      fail("", "Interrupted; run `make` again to go on.")
