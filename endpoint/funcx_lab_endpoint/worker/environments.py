"""Environments that calls require: built once over the worker's Python, kept, and pruned.

Each has a directory that is named after what it holds, so it is built where it stays: programs in it
know their place. ``ready.json`` is written last and makes it one; without that file, whatever is
there is the rest of a build that was cut short. Beside it lies a lock: builders and those who remove
it hold it alone, users share it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import site
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from funcx_lab.errors import RequirementsFailed
from funcx_lab.shell.process import run_program
from funcx_lab.shell.result import last_lines
from funcx_lab_endpoint.worker.requirements import parse

_READY = "ready.json"
_POLL_S = 0.1
#: Of a failed build's log, so many lines are in the error.
_TOLD_LINES = 15
_PIP_OPTIONS = ("--no-input", "--disable-pip-version-check", "--progress-bar", "off")
#: Variables that would send the build elsewhere.
_NOT_FOR_PIP = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX")


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment in use; nobody removes it until `release`."""

    place: Path
    lock: int

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.place / "bin" / "python"

    def variables(self) -> dict[str, str]:
        """Return the environment variables of a process in it."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        path = os.pathsep.join([str(self.place / "bin"), kept.get("PATH", os.defpath)])
        return {**kept, "PATH": path, "VIRTUAL_ENV": str(self.place)}

    def release(self) -> None:
        """Take note that it is not used any more."""
        os.close(self.lock)


class Environments:
    """The environments below one directory.

    Parameters
    ----------
    directory : Path
        Where they are; shared by the workers of an endpoint.
    keep : int
        So many are kept, those that were used last.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self._directory, self._keep = directory, keep

    def obtain(self, requires: Sequence[str]) -> Environment:
        """Return the environment with these requirements, building it if there is none.

        What the build prints appears on stdout and stderr.

        Raises
        ------
        RequirementsFailed
            If it cannot be built.
        """
        wanted = sorted({str(each) for each in parse(requires)})
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self._directory / _key(wanted)
        lock = place.with_suffix(".lock")
        while True:
            held = _lock(lock, fcntl.LOCK_SH, f"waiting until another worker has built {', '.join(wanted)}")
            if (place / _READY).exists():
                os.utime(place / _READY)
                return Environment(place, held)
            os.close(held)
            building = _try_lock(lock, fcntl.LOCK_EX)
            if building is not None:
                with contextlib.closing(os.fdopen(building, "rb")):
                    if not (place / _READY).exists():
                        _build(place, wanted)
                self._prune(place)

    def _prune(self, newest: Path) -> None:
        """Remove what is not in use: builds cut short, and beyond the limit what was used longest ago."""
        places = [path for path in self._directory.iterdir() if path.is_dir() and path != newest]
        for place in sorted(places, key=_last_use, reverse=True)[max(0, self._keep - 1) :]:
            lock = _try_lock(place.with_suffix(".lock"), fcntl.LOCK_EX)
            if lock is not None:
                (place / _READY).unlink(missing_ok=True)
                shutil.rmtree(place, ignore_errors=True)
                os.close(lock)


def _last_use(place: Path) -> float:
    try:
        return (place / _READY).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _key(wanted: Sequence[str]) -> str:
    what = json.dumps([wanted, sys.version, sys.prefix, _base_paths()])
    return hashlib.sha256(what.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _base_paths() -> list[str]:
    """Return the directories in which this Python finds packages, ours among them."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    paths += site.getsitepackages()
    if site.ENABLE_USER_SITE:
        paths.append(site.getusersitepackages())
    return [os.path.abspath(path) for path in paths]


def _build(place: Path, wanted: Sequence[str]) -> None:
    print(f"[funcx-lab: building an environment with {', '.join(wanted)} on {platform.node()}]", flush=True)
    started = time.monotonic()
    shutil.rmtree(place, ignore_errors=True)
    try:
        for words in _steps(place, wanted):
            _perform(words, place, wanted)
    except RequirementsFailed:  # a cancel has no time for that; what it leaves is not ready, see `_prune`
        shutil.rmtree(place, ignore_errors=True)
        raise
    unfinished = place / f"{_READY}.part"
    unfinished.write_text(json.dumps({"requires": wanted, "python": sys.version, "built": time.time()}))
    unfinished.replace(place / _READY)
    print(f"[funcx-lab: built in {time.monotonic() - started:.0f} s]", flush=True)


def _steps(place: Path, wanted: Sequence[str]) -> Iterator[list[str]]:
    """Yield the commands of a build."""
    python = str(place / "bin" / "python")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    if uv := shutil.which("uv", path=path):
        yield [uv, "venv", "--python", sys.executable, str(place)]
        _overlay(place)
        yield [uv, "pip", "install", "--python", python, "--", *wanted]
        return
    yield [sys.executable, "-m", "venv", "--without-pip", str(place)]
    _overlay(place)
    if importlib.util.find_spec("pip") is None:
        yield [python, "-m", "ensurepip"]
    yield [python, "-m", "pip", "install", *_PIP_OPTIONS, "--", *wanted]


def _perform(words: Sequence[str], place: Path, wanted: Sequence[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_PIP}
    clean["PIP_USER"] = "0"
    try:
        ran = run_program(words, directory=place.parent, environment=clean)
    except OSError as err:
        raise RequirementsFailed(f"{words[0]} cannot be run on {platform.node()}: {err}") from err
    if ran.returncode:
        told = "\n".join(last_lines(ran.stderr or ran.stdout, _TOLD_LINES))
        raise RequirementsFailed(
            f"An environment with {', '.join(wanted)} cannot be built on {platform.node()} "
            f"(Python {platform.python_version()}):\n{told}",
            details={"requires": list(wanted), "log": told},
        )


def _overlay(place: Path) -> None:
    """Let the environment find what this Python has, behind what is installed in it."""
    # A virtual environment over another one would see that one's base only, so the paths are written down.
    # `addsitedir` heeds the .pth files in them: packages may be installed as links to their source.
    lines = [f"import site; site.addsitedir({path!r})" for path in _base_paths()]
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "funcx_lab_base.pth").write_text("\n".join(lines) + "\n")


def _lock(path: Path, how: int, patience: str) -> int:
    """Take a lock, saying so once if that takes a while."""
    is_told = False
    while (held := _try_lock(path, how)) is None:
        if not is_told:
            print(f"[funcx-lab: {patience}]", flush=True)
            is_told = True
        time.sleep(_POLL_S)
    return held


def _try_lock(path: Path, how: int) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
