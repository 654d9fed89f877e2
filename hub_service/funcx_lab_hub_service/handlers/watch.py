"""What a page of people watches: one WebSocket of JSON, on which it hears how everything of theirs is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

from funcx_lab.errors import TooManyRequests
from funcx_lab_hub_service.handlers.page import Page
from funcx_lab_hub_service.handlers.sockets import TRY_AGAIN, UNSUPPORTED, SocketHandler
from funcx_lab_hub_service.limits import Buckets

#: Bytes that a page's message may have.
_MESSAGE_LIMIT = 16 * 1024
#: Messages of a page: so many a second are read in the long run, so many at once.
_RATE, _BURST = 20.0, 200
#: Pages of one user.
_MOST_PAGES = 100


class WatchHandler(SocketHandler):
    """One page."""

    for_pages = True
    max_message_size = _MESSAGE_LIMIT
    _page: Page | None = None

    def admit(self) -> None:
        """Check how many pages there are, too."""
        super().admit()
        mine = (one for one in self.open_sockets if one.principal.user == self.principal.user)
        pages = sum(isinstance(one, WatchHandler) and one.services is self.services for one in mine)
        if pages >= _MOST_PAGES:
            raise TooManyRequests(f"{_MOST_PAGES} pages of yours watch already; close some of them.")

    def open(self, *args: str, **kwargs: str) -> None:
        """Begin."""
        super().open(*args, **kwargs)
        self._messages = Buckets(_RATE, _BURST)
        self._page = Page(
            self.services,
            self.principal,
            lambda frame: self.send_frame(frame, binary=False),
            lambda: self.close(TRY_AGAIN, "come again"),
        )

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Do what the page asks; who asks too often is read more slowly."""
        if self.is_over or self._page is None:
            return None
        if isinstance(message, bytes):
            self.close(UNSUPPORTED, "text messages only")
            return None
        self._page.take(message)
        wait_s = self._messages.take(None, time.monotonic())
        return asyncio.sleep(wait_s) if wait_s else None

    def on_close(self) -> None:
        """Forget the page."""
        super().on_close()
        if self._page is not None:
            self._page.stop()


routes = [("/v3/watch", WatchHandler)]
