"""Look at the environment of this process: Python, packages, what can be imported, the machine."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from funcx_lab.protocol.environment import NAMES_LIMIT, Environment

#: A program that lists accelerators gets so many seconds.
PROGRAM_S = 5.0
_TEXT_LIMIT = 300
_FIELD = re.compile(r"^(Name|Version):[ \t]*(.+?)[ \t]*$", re.MULTILINE)
#: Files of an installed distribution by the top-level name they belong to.
_TOP = re.compile(r"^([A-Za-z_]\w*)(?:/|\.py,|\.[\w.-]*so,|\.so,|\.[\w.-]*pyd,|\.pyd,)", re.MULTILINE)
_MODULE_FILE = re.compile(r"([A-Za-z_]\w*)(?:\.py|(?:\.[\w-]+)*\.(?:so|pyd))")


class Installed(NamedTuple):
    """What can be imported.

    ``packages``: versions by distribution; ``modules``: distribution by top-level name.
    """

    packages: dict[str, str]
    modules: dict[str, str]


def look(
    source: Literal["worker", "agent"],
    paths: Sequence[str] | None = None,
    limits: Mapping[str, int] | None = None,
) -> Environment:
    """Return the environment of this process; takes some 100 ms, more on a slow file system.

    Parameters
    ----------
    source : str
        Who looks.
    paths : sequence of str, optional
        In place of ``sys.path``.
    limits : mapping, optional
        What the endpoint allows.
    """
    installed = find_installed(sys.path if paths is None else paths)
    python = platform.python_version()
    return Environment(
        source=source,
        python=python,
        hash=hash_of(python, installed.packages),
        packages=installed.packages,
        modules=installed.modules,
        host=socket.gethostname()[:_TEXT_LIMIT],
        machine=f"{platform.system()} {platform.machine()}",
        accelerators=find_accelerators(),
        visible_devices=_cut(os.environ.get("CUDA_VISIBLE_DEVICES")),
        cores=_cores(),
        memory=_memory(),
        limits=dict(limits or {}),
    )


def hash_of(python: str, packages: Mapping[str, str]) -> str:
    """Return the sha256 (hex) of a Python version and distributions; the order of these does not matter."""
    lines = sorted(f"{plain_name(name)}=={version}" for name, version in packages.items())
    return hashlib.sha256("\n".join([python, *lines]).encode("utf-8", "replace")).hexdigest()


def find_installed(paths: Sequence[str]) -> Installed:
    """Return what the import system finds on ``paths``; what cannot be read is left out."""
    packages: dict[str, str] = {}
    modules: dict[str, str] = {}
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions(path=list(paths)):
        head = _text(distribution, "METADATA", "PKG-INFO").partition("\n\n")[0]  # a description follows
        fields = dict(_FIELD.findall(head))
        name, version = _cut(fields.get("Name")), _cut(fields.get("Version"))
        if not name or not version or plain_name(name) in seen or len(packages) >= NAMES_LIMIT:
            continue  # the first one on the path is the one that is imported
        seen.add(plain_name(name))
        packages[name] = version
        for top in _tops(distribution):
            modules.setdefault(top, name)
    for top in _loose_modules(paths):
        modules.setdefault(top, "")
    shown = sorted(modules.items(), key=lambda item: not item[1])[:NAMES_LIMIT]
    return Installed(dict(sorted(packages.items())), dict(sorted(shown)))


def fingerprint(paths: Sequence[str]) -> tuple[int, ...]:
    """Return what changes whenever something is installed or removed below ``paths``."""
    return tuple(_changed(path) for path in paths)


@functools.lru_cache(maxsize=512)
def version_here(distribution: str) -> str:
    """Return the version of a distribution in this process, ``""`` if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""


def find_accelerators() -> list[str]:
    """Return one line for each accelerator that the machine's own programs list."""
    listed = _output("nvidia-smi", "-L")
    found = [line.split(" (UUID")[0].strip() for line in listed if line.startswith("GPU ")]
    if not found:
        listed = _output("rocm-smi", "--showproductname")
        found = [line.strip() for line in listed if "card series" in line.lower()]
    return [line[:_TEXT_LIMIT] for line in found[:256]]


def _output(program: str, *arguments: str) -> list[str]:
    path = shutil.which(program)
    if path is None:
        return []
    try:
        done = subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROGRAM_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):  # it hangs when the driver does
        return []
    return done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 0 else []


def _text(distribution: importlib.metadata.Distribution, *names: str) -> str:
    for name in names:
        try:
            if text := distribution.read_text(name):
                return text
        except (OSError, ValueError):
            continue
    return ""


def _tops(distribution: importlib.metadata.Distribution) -> set[str]:
    """Return the top-level names of a distribution."""
    listed = {name for name in _text(distribution, "top_level.txt").split() if name.isidentifier()}
    found = listed or set(_TOP.findall(_text(distribution, "RECORD", "installed-files.txt")))
    return found - {"__pycache__"}


def _loose_modules(paths: Iterable[str]) -> Iterator[str]:
    """Yield what lies on the import path, also if no distribution claims it."""
    standard = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    standard |= {os.path.join(folder, "lib-dynload") for folder in standard}
    here = os.path.realpath(os.getcwd())
    for path in dict.fromkeys(os.path.realpath(path or here) for path in paths):
        if path not in standard:
            yield from _modules_in(path, any_folder=path != here)


def _modules_in(path: str, *, any_folder: bool) -> Iterator[str]:
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if match := _MODULE_FILE.fullmatch(entry.name):
                    yield match[1]
                elif _is_package(entry, any_folder=any_folder):
                    yield entry.name
    except OSError:  # a zip file, or a folder that is not there or not ours
        return


def _is_package(entry: os.DirEntry[str], *, any_folder: bool) -> bool:
    if not entry.name.isidentifier() or entry.name == "__pycache__" or not entry.is_dir():
        return False
    return any_folder or os.path.exists(os.path.join(entry.path, "__init__.py"))


def _changed(path: str) -> int:
    try:
        return os.stat(path or ".").st_mtime_ns
    except OSError:
        return 0


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on every system
        return os.cpu_count() or 0


def _memory() -> int:
    """Return the machine's memory, or less if a control group allows less."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
    try:
        allowed = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        allowed = ""
    return min(total, int(allowed)) if allowed.isdigit() else total


def plain_name(name: str) -> str:
    """Return a distribution's name as all spellings of it are compared: ``scikit-learn``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _cut(text: str | None) -> str | None:
    """Return what can travel: of bounded length, and without halves of characters."""
    return text if text is None else text[:_TEXT_LIMIT].encode("utf-8", "replace").decode()
