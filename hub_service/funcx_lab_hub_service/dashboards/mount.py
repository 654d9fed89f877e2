"""The dashboards in the hub service's process; bokeh is loaded when somebody first looks."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import TYPE_CHECKING, Any

from funcx_lab.errors import MissingExtra
from funcx_lab_hub_service.dashboards.catalogue import MISSING
from funcx_lab_hub_service.dashboards.pages import has_bokeh
from funcx_lab_hub_service.dashboards.sampler import Sampler

if TYPE_CHECKING:
    from tornado.httputil import HTTPServerRequest
    from tornado.websocket import WebSocketHandler

    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.dashboards.application import BokehApplication
    from funcx_lab_hub_service.dashboards.entrance import Entrance
    from funcx_lab_hub_service.dashboards.history import History
    from funcx_lab_hub_service.endpoints import Endpoints
    from funcx_lab_hub_service.store.database import Database

_RESTART = 1012


class Dashboards:
    """What the dashboards' routes share.

    Parameters
    ----------
    database, endpoints, history
        What is shown.
    prefix : str
        Path of the service; the dashboards are below it at ``/dash``.

    Attributes
    ----------
    sampler : Sampler
        Reads for all pages.
    entrances : mapping
        Who a request that was handed to Bokeh is from.
    looking : dict
        The newest principal of each user who looked: groups may change.
    sockets : set
        WebSockets of pages that are open.
    """

    def __init__(self, database: Database, endpoints: Endpoints, history: History, prefix: str = "") -> None:
        self.sampler = Sampler(database, endpoints, history)
        self.prefix = prefix
        self.entrances: weakref.WeakKeyDictionary[HTTPServerRequest, Entrance] = weakref.WeakKeyDictionary()
        self.looking: dict[str, Principal] = {}
        self.sockets: set[WebSocketHandler] = set()
        self.watches: set[asyncio.Future[Any]] = set()
        self._bokeh: BokehApplication | None = None
        self._loading = asyncio.Lock()

    @property
    def bokeh(self) -> BokehApplication:
        """Bokeh's application; `load` it first."""
        if self._bokeh is None:
            raise RuntimeError("load() comes first")
        return self._bokeh

    async def load(self) -> None:
        """Import bokeh in a thread, once: the service goes on meanwhile.

        Raises
        ------
        MissingExtra
            If it is not installed.
        """
        async with self._loading:
            if self._bokeh is not None:
                return
            if not has_bokeh():
                raise MissingExtra(MISSING)
            make = await asyncio.to_thread(_import)
            self._bokeh = make(self)

    def owner_of(self, token: str) -> str | None:
        """Return whose session a page's token is for; Bokeh checks its signature."""
        return self.bokeh.owner_of(token)

    def enter(self, handler: Any) -> str | None:
        """Return the user behind one of Bokeh's handlers; None for a request that came by no entrance."""
        entrance = self.entrances.get(handler.request)
        if entrance is None:
            return None
        self.looking[entrance.principal.user] = entrance.principal
        entrance.handed(handler)
        return entrance.principal.user

    async def stop(self) -> None:
        """Hang up on all pages."""
        for handler in tuple(self.sockets):
            handler.close(_RESTART, "the hub service stops")
        for watch in tuple(self.watches):
            watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self.watches, return_exceptions=True)
        if self._bokeh is not None:
            self._bokeh.stop()


def _import() -> type[BokehApplication]:
    from funcx_lab_hub_service.dashboards.application import BokehApplication

    return BokehApplication
