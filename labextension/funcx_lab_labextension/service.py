"""Which hub service the pages of this Jupyter server are about, found as the SDK finds it."""

from __future__ import annotations

import asyncio
import os

from funcx_lab.config import Service, home
from funcx_lab.credentials import configured_service
from funcx_lab.embedded import ensure_service, is_current, running_service
from funcx_lab.errors import ServiceUnreachable

STOPPED = "Your hub service on this machine was stopped."


class Finder:
    """Finds the hub service when it is needed first, and again when it moved or has a new token.

    The user's own local one is started at first use. One that crashed later is started again, one that
    was stopped is not: pages ask all the time, and ``funcx-lab stop`` is to be final.
    """

    def __init__(self) -> None:
        self._local: Service | None = None
        self._lock = asyncio.Lock()

    async def service(self) -> Service:
        """Return the hub service to ask.

        Raises
        ------
        UsageError, ConfigError
            If the settings are wrong, or the local one does not start.
        ServiceUnreachable
            If the local one was stopped.
        """
        if found := configured_service():  # asked anew each time: a login is seen at once
            return found
        async with self._lock:
            if self._local is None:
                self._local = await asyncio.to_thread(ensure_service)
            elif not await asyncio.to_thread(is_current, self._local):
                # Not asked first: another user's program may listen at the old address, and get the token.
                self._local = await asyncio.to_thread(_reopened)
            return self._local

    async def again(self, stale: Service) -> Service | None:
        """Return where to try once more after a refused connection or token; None if that is of no use.

        A local one that was started again may well be where it was. Errors are those of `service`.
        """
        if found := configured_service():
            return found if found != stale else None
        async with self._lock:
            if self._local is None or self._local == stale:
                self._local = await asyncio.to_thread(_reopened)
            return self._local

    async def start(self) -> Service:
        """Return the hub service; start the local one even if it was stopped.

        Errors are those of `service`.
        """
        if found := configured_service():
            return found
        async with self._lock:
            self._local = await asyncio.to_thread(ensure_service)
            return self._local


def mode() -> str:
    """Return ``jupyterhub`` if the service is JupyterHub's, else ``standalone``."""
    hub = os.environ.get("FUNCX_LAB_JUPYTERHUB_URL") and not os.environ.get("FUNCX_LAB_URL")
    return "jupyterhub" if hub else "standalone"


def _reopened() -> Service:
    if service := running_service():
        return service
    if not (home() / "service.json").exists():  # which one that ends leaves away
        raise ServiceUnreachable(STOPPED)
    return ensure_service()
