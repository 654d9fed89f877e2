"""A worker's look at its own environment: at the start, and whenever something was installed."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable

from funcx_lab.environments.report import fingerprint, look
from funcx_lab.protocol.environment import Environment

log = logging.getLogger(__name__)

#: Seconds between looks at whether something was installed.
PAUSE_S = 5.0


class Surveyor:
    """Looks in a thread of its own, so that no call waits for a slow file system.

    Parameters
    ----------
    is_wanted : bool
        Whether to look at all: one worker of an endpoint does.
    look_around : callable, optional
        Takes the import path and returns the environment.
    """

    def __init__(
        self, *, is_wanted: bool, look_around: Callable[[list[str]], Environment] | None = None
    ) -> None:
        # The user's code may change the path; what its calls start with counts.
        self._paths = list(sys.path)
        self._look = look_around or (lambda paths: look("worker", paths))
        self._news: Environment | None = None
        self._over = threading.Event()
        if is_wanted:
            threading.Thread(target=self._watch, name="funcx-lab-survey", daemon=True).start()

    def take(self) -> Environment | None:
        """Return the environment if it was not taken since it changed."""
        news, self._news = self._news, None
        return news

    def close(self) -> None:
        """Look no more."""
        self._over.set()

    def _watch(self) -> None:
        known: tuple[int, ...] = ()
        last: Environment | None = None
        while not self._over.is_set():
            now = fingerprint(self._paths)
            if now != known:
                known = now
                found = self._try()
                if found is not None and found != last:
                    self._news = last = found
            self._over.wait(PAUSE_S)

    def _try(self) -> Environment | None:
        try:
            return self._look(self._paths)
        except Exception:  # the thread's edge: packages may be broken in any way
            log.exception("the environment of this worker cannot be told")
            return None
