"""Which of many file descriptors are ready, behind one that can be polled itself."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Hashable


class Readiness:
    """Watches pipes and processes of this machine (Linux: a process that ended is told at once)."""

    def __init__(self) -> None:
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._poll = select.poll()
        self._keys: dict[int, Hashable] = {}
        self._pidfds: dict[Hashable, int] = {}

    @property
    def fds(self) -> list[int]:
        """What to poll for input to hear of everything watched."""
        return [self._epoll.fileno()] if self._epoll is not None else list(self._keys)

    def watch(self, fd: int, key: Hashable) -> None:
        """Report ``key`` while ``fd`` can be read."""
        self._keys[fd] = key
        (self._epoll or self._poll).register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Report ``fd`` no more."""
        if self._keys.pop(fd, None) is not None:
            (self._epoll or self._poll).unregister(fd)

    def watch_process(self, pid: int, key: Hashable) -> None:
        """Report ``key`` once the process has ended, where the system can tell."""
        if not hasattr(os, "pidfd_open"):
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return  # already gone; heartbeats and the engine will say so
        self._pidfds[key] = pidfd
        self.watch(pidfd, key)

    def kill_process(self, key: Hashable) -> bool:
        """Kill a watched process, never a stranger with its pid; False if none is watched as ``key``."""
        pidfd = self._pidfds.get(key)
        if pidfd is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return True

    def unwatch_process(self, key: Hashable) -> None:
        """Report ``key`` no more."""
        pidfd = self._pidfds.pop(key, None)
        if pidfd is not None:
            self.unwatch(pidfd)
            os.close(pidfd)

    def ready(self) -> list[Hashable]:
        """Return the keys of what is ready now."""
        ready = (self._epoll or self._poll).poll(0)
        return [self._keys[fd] for fd, _ in ready if fd in self._keys]

    def close(self) -> None:
        """Stop watching."""
        for key in list(self._pidfds):
            self.unwatch_process(key)
        if self._epoll is not None:
            self._epoll.close()
