"""Processes of an engine, known by a mark in their environment, on disk, so that none outlives it.

A pid alone may belong to a stranger after a reboot or a day; the mark cannot.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

logger = logging.getLogger(__name__)

#: The environment variable that every process of an engine inherits.
MARK = "FUNCX_LAB_ENGINE"


def marked(mark: str) -> list[psutil.Process]:
    """Return the living processes of this user that carry ``mark``."""
    mine = os.getuid()
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.uids().real != mine:
                continue
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue  # gone meanwhile, or another user's
    return found


def end_marked(mark: str, *, timeout: float = 5.0, spare: Sequence[int] = ()) -> int:
    """Kill every process that carries ``mark`` and return how many there were.

    Parameters
    ----------
    mark : str
        The engine's mark.
    timeout : float
        Seconds to wait for them to be gone.
    spare : sequence of int
        Pids to leave alone.
    """
    ended = 0
    deadline = time.monotonic() + timeout
    while victims := [process for process in marked(mark) if process.pid not in spare]:
        for process in victims:
            try:
                process.kill()
                ended += 1
            except psutil.Error:
                continue
        psutil.wait_procs(victims, timeout=0.2)
        if time.monotonic() > deadline:
            logger.error("Processes %s did not end after SIGKILL.", [process.pid for process in victims])
            break
    return ended


class Record:
    """The marks (and batch jobs) of engines that may have left something behind, in one file.

    A file that was copied from another place with its directory names engines of that place, which may
    live: it is read as empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = path.parent.stat().st_ino
        self.engines: dict[str, dict[str, Any]] = _read(path, self._place)

    def note(self, mark: str, **facts: Any) -> None:
        """Write down an engine or more facts about it; on disk when this returns."""
        entry = self.engines.setdefault(mark, {})
        if any(entry.get(key) != value for key, value in facts.items()) or not entry:
            entry.update(facts)
            self._save()

    def jobs(self, mark: str) -> list[str]:
        """Return an engine's batch jobs as far as they are known."""
        return list(map(str, self.engines.get(mark, {}).get("jobs", ())))

    def forget(self, mark: str) -> None:
        """Strike an engine out."""
        if self.engines.pop(mark, None) is not None:
            self._save()

    def reap(self) -> list[str]:
        """End what engines of earlier lives left behind; return their batch jobs."""
        jobs: list[str] = []
        for mark in list(self.engines):
            ended = end_marked(mark)
            if ended:
                logger.warning("Ended %s processes that an earlier engine left behind.", ended)
            jobs.extend(self.jobs(mark))
            self.forget(mark)
        return jobs

    def _save(self) -> None:
        unfinished = self._path.with_suffix(".part")
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump({"place": self._place, "engines": self.engines}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, self._path)


def clear_directories(objects: Path, last_words: Path) -> None:
    """Make the directories of results and last words, without what sessions of an earlier life left."""
    for path in (objects, last_words):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (*objects.glob("*.result"), *objects.glob("*.part"), *last_words.iterdir()):
        path.unlink(missing_ok=True)  # nobody asks for them any more


def _read(path: Path, place: int) -> dict[str, dict[str, Any]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        logger.warning("%s cannot be read (%s); processes of an earlier engine may be left.", path, err)
        return {}
    if not isinstance(document, dict) or not isinstance(engines := document.get("engines"), dict):
        return {}
    if document.get("place") != place:
        logger.warning("%s was copied from another place; the engines it names are not ours to end.", path)
        return {}
    return engines
