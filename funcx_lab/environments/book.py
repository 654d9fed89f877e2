"""What endpoints reported of their environments, kept for a while; asking never fails or waits for long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from funcx_lab.errors import FuncxLabError
from funcx_lab.protocol.environment import Environment
from funcx_lab.transport import Transport

log = logging.getLogger(__name__)

#: Seconds for which an answer is good; and one that told no environment.
FRESH_S, UNKNOWN_S = 60.0, 5.0
#: Whoever only wants to know whether a call fits waits this long for an answer (seconds).
ASK_S = 2.0


class Reported(NamedTuple):
    """An endpoint's answer: ``environment`` is None if it never told, or could not be asked."""

    name: str
    state: str
    environment: Environment | None


class _Page(NamedTuple):
    reported: Reported
    asked: float


class EnvironmentBook:
    """The environments of endpoints.

    Parameters
    ----------
    fetch : callable
        Returns the service's document about one endpoint; may raise `FuncxLabError`.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self, fetch: Callable[[str], Mapping[str, Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._pages: dict[str, _Page] = {}
        self._lock = threading.Lock()

    def get(self, endpoint: str, *, fresh: bool = False) -> Reported:
        """Return what is known of an endpoint, by name or id.

        Parameters
        ----------
        fresh : bool
            Ask, whatever is known.
        """
        with self._lock:
            page = self._pages.get(endpoint)
            if fresh or page is None or self._is_old(page):
                page = self._pages[endpoint] = _Page(self._ask(endpoint), self._clock())
            return page.reported

    def _is_old(self, page: _Page) -> bool:
        good_for = UNKNOWN_S if page.reported.environment is None else FRESH_S
        return self._clock() - page.asked > good_for

    def _ask(self, endpoint: str) -> Reported:
        try:
            return read_document(self._fetch(endpoint))
        except FuncxLabError as err:
            log.debug("the environment of %s is not known: %s", endpoint, err)
            return Reported(endpoint, "unknown", None)


def book_of(transport: Transport) -> EnvironmentBook:
    """Return the book of the endpoints at a hub service; a slow answer counts as none."""

    def fetch(endpoint: str) -> Mapping[str, Any]:
        return ask(Transport(transport.service, ASK_S, attempts=1), endpoint)

    return EnvironmentBook(fetch)


def ask(transport: Transport, endpoint: str) -> Mapping[str, Any]:
    """Return the service's document about an endpoint's environment.

    Raises
    ------
    TransportError, ServiceError
        If there is no answer, or no such endpoint.
    """
    path = f"/v3/endpoints/{quote(endpoint, safe='')}/environment"
    return dict(transport.json("GET", path))


def read_document(document: Mapping[str, Any]) -> Reported:
    """Return what the service's JSON document says; an environment that cannot be read is none."""
    try:
        environment = msgspec.convert(document.get("environment"), Environment | None)
    except msgspec.ValidationError as err:
        log.debug("an environment cannot be read: %s", err)
        environment = None
    return Reported(str(document.get("name", "")), str(document.get("state", "")), environment)
