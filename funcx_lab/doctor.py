"""Examine an installation: what is there, what is wrong, what to do about it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import funcx_lab
from funcx_lab.config import home
from funcx_lab.credentials import configured_service
from funcx_lab.embedded import running_service
from funcx_lab.errors import FuncxLabError
from funcx_lab.leftovers import find_leftovers
from funcx_lab.locks import is_held
from funcx_lab.transport import Transport

_EXTRAS = {
    "hub": ("sqlite_utils", "tornado", "zmq"),
    "endpoint": ("parsl", "psutil", "zmq"),
    "magics": ("IPython", "ipykernel"),
    "lab": ("bokeh", "ipywidgets", "jupyterlab"),
    "science": ("matplotlib", "numpy", "pandas", "sklearn"),
}
_NEEDED_LOCALLY = {"hub", "endpoint"}
_NETWORK_FILE_SYSTEMS = {
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "panfs",
    "smb3",
    "smbfs",
}
_LITTLE_SPACE = 1_000_000_000

Level = Literal["fine", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:8} {self.subject:12} {self.text}"

    def as_document(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def examine() -> list[Finding]:
    """Look at everything; never starts or changes anything but the home directory, which is made."""
    checks: list[Callable[[], Iterator[Finding]]] = [_python, _extras, _home, _disk, _ports, _service]
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check()
        except (FuncxLabError, OSError) as err:
            findings.append(Finding("problem", check.__name__.strip("_"), str(err)))
    return findings


def _python() -> Iterator[Finding]:
    version = sys.version.split()[0]
    yield Finding("fine", "python", f"{version} at {sys.executable}; funcx-lab {funcx_lab.__version__}")


def _extras() -> Iterator[Finding]:
    for extra, modules in _EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if not missing:
            yield Finding("fine", "extra", extra)
            continue
        level: Level = "problem" if extra in _NEEDED_LOCALLY and not _configured() else "note"
        yield Finding(
            level, "extra", f"{extra}: {', '.join(missing)} missing; pip install 'funcx-lab[{extra}]'"
        )


def _configured() -> bool:
    """Return whether another service than the local one is in use; `_service` says what is wrong with it."""
    try:
        return configured_service() is not None
    except FuncxLabError:
        return True


def _home() -> Iterator[Finding]:
    directory = home()
    about = directory.stat()
    if about.st_uid != os.geteuid():
        yield Finding("problem", "home", f"{directory} belongs to another user; set FUNCX_LAB_HOME.")
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield Finding("problem", "home", f"{directory} is not writable; chmod 700 it.")
    elif about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("problem", "home", f"{directory} is open to others; chmod 700 it.")
    else:
        yield Finding("fine", "home", str(directory))
    for name in ("token", "profile.json"):
        path = directory / name
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield Finding("problem", "home", f"{path} can be read by others; chmod 600 it.")
    if (kind := file_system(directory)) in _NETWORK_FILE_SYSTEMS:
        yield Finding(
            "note",
            "home",
            f"{directory} is on a network file system ({kind}): slower, and one machine at a time. "
            "FUNCX_LAB_HOME moves it.",
        )


def file_system(path: Path) -> str:
    """Return the type of the file system that holds ``path``, empty where this cannot be told."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    real = path.resolve()
    fitting = [
        (len(point), kind) for point, kind in mounts if real.is_relative_to(point.replace("\\040", " "))
    ]
    return max(fitting, default=(0, ""))[1]


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(home()).free
    if free < _LITTLE_SPACE:
        yield Finding("problem", "disk", f"{free / 1e6:.0f} MB free at {home()}; large results will not fit.")
    else:
        yield Finding("fine", "disk", f"{free / 1e9:.1f} GB free")


def _ports() -> Iterator[Finding]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
    yield Finding("fine", "ports", "loopback takes listeners")


def _service() -> Iterator[Finding]:
    service = configured_service() or running_service()
    if service is None:
        yield from _no_service(home())
        return
    version = Transport(service).json("GET", "/v2/version")["api"]
    if version != funcx_lab.__version__:
        differs = f"{service.url} is version {version}, installed is {funcx_lab.__version__}"
        if service.embedded:
            yield Finding("problem", "service", f"{differs}; run `funcx-lab stop`, then start.")
        else:
            yield Finding("note", "service", f"{differs}.")
    else:
        yield Finding("fine", "service", f"{service.url} answers")
    who = Transport(service).json("GET", "/v3/whoami")
    for said in (who.get("damage"), who.get("notice")):
        if said:
            yield Finding("problem", "database", str(said))
    for entry in Transport(service).json("GET", "/v3/endpoints")["endpoints"]:
        level: Level = "fine" if entry["state"] == "online" else "note"
        reason = f": {entry['reason']}" if level == "note" and entry.get("reason") else ""
        accelerators = ", ".join(map(str, (entry.get("details") or {}).get("accelerators") or []))
        has = f" with {accelerators}" if accelerators else ""
        yield Finding(level, "endpoint", f"{entry['name']} is {entry['state']}{has}{reason}")


def _no_service(directory: Path) -> Iterator[Finding]:
    if is_held(directory / "service.lock"):
        yield Finding("problem", "service", "It runs but does not answer; `funcx-lab stop`, then start.")
    else:
        yield Finding("fine", "service", "The local hub service is not running; the first use starts it.")
        if importlib.util.find_spec("psutil") is not None and (left := find_leftovers(directory)):
            yield Finding(
                "problem",
                "service",
                f"{len(left)} left-over processes; `funcx-lab start` goes on with their tasks, "
                "`funcx-lab stop` ends them.",
            )
        yield from _database(directory / "hub" / "hub.db")


def _database(path: Path) -> Iterator[Finding]:
    """Look through the pages of the local service's database while nobody uses it."""
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as err:
        found = str(err)
    if found == "ok":
        yield Finding("fine", "database", f"{path} is whole")
    else:
        damage = " ".join(found.split())
        yield Finding("problem", "database", f"{path}: {damage}; `funcx-lab start` says how to restore it.")
