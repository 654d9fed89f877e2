"""What a page of people watches: one WebSocket of JSON, on which it hears how everything of theirs is."""

from __future__ import annotations

from collections.abc import Awaitable

from funcx_lab_hub_service.handlers.page import Page
from funcx_lab_hub_service.handlers.sockets import TRY_AGAIN, UNSUPPORTED, SocketHandler

#: Bytes that a page's message may have.
_MESSAGE_LIMIT = 16 * 1024


class WatchHandler(SocketHandler):
    """One page."""

    for_pages = True
    max_message_size = _MESSAGE_LIMIT
    _page: Page | None = None

    def open(self, *args: str, **kwargs: str) -> None:
        """Begin."""
        super().open(*args, **kwargs)
        self._page = Page(
            self.services,
            self.principal,
            lambda frame: self.send_frame(frame, binary=False),
            lambda: self.close(TRY_AGAIN, "come again"),
        )

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Do what the page asks."""
        if self.is_over or self._page is None:
            return None
        if isinstance(message, bytes):
            self.close(UNSUPPORTED, "text messages only")
            return None
        self._page.take(message)
        return None

    def on_close(self) -> None:
        """Forget the page."""
        super().on_close()
        if self._page is not None:
            self._page.stop()


routes = [("/v3/watch", WatchHandler)]
