"""Which environment an agent reports, and when: its own until a worker has told what calls will find."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from funcx_lab.environments.report import look
from funcx_lab.protocol.environment import Environment

log = logging.getLogger(__name__)


class Environments:
    """The environment of an endpoint, as its agent knows it.

    Parameters
    ----------
    limits : mapping
        What the endpoint allows, told with it.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = dict(limits)
        self._own: Environment | None = None
        self._reported: Environment | None = None
        self._current: Environment | None = None
        #: what was told last, and in which session of the link
        self._told: tuple[int | None, Environment | None] = (None, None)

    def start(self) -> None:
        """Look at the agent's own environment, in a thread: file systems may be slow."""
        threading.Thread(target=self._look, name="environment", daemon=True).start()

    def _look(self) -> None:
        try:
            self._own = look("agent")
        except Exception:  # the thread's edge: packages may be broken in any way
            log.exception("the environment of this agent cannot be told")

    def note(self, reported: Environment | None, most_workers: int) -> None:
        """Take note of what a worker has reported last, if one has, and of how many there may be."""
        self._reported = reported
        found = reported or self._own
        if found is not None:
            limits = {**self._limits, "workers": most_workers}
            self._current = msgspec.structs.replace(found, limits=limits)

    def is_news(self, reported: Environment | None) -> bool:
        """Whether a worker has reported something since `note`, or the agent's own look has ended."""
        return reported is not self._reported or (self._current is None and self._own is not None)

    @property
    def summary(self) -> dict[str, Any]:
        """What goes into each status report."""
        if self._current is None:
            return {}
        return {
            "environment_hash": self._current.hash,
            "python": self._current.python,
            "accelerators": self._current.accelerators,
        }

    def news(self, session: int | None) -> Environment | None:
        """Return the environment if the hub service has not been told it in this session of the link."""
        if session is None or (session, self._current) == self._told:
            return None
        self._told = session, self._current
        return self._current
