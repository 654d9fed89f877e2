"""The stream: one WebSocket a client, on which it submits, and hears outcomes and events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from funcx_lab.errors import MalformedMessage
from funcx_lab.protocol.stream import client_codec
from funcx_lab_hub_service.handlers.conversation import Conversation
from funcx_lab_hub_service.handlers.outbox import Outbox
from funcx_lab_hub_service.handlers.sockets import MALFORMED, TRY_AGAIN, UNSUPPORTED, SocketHandler

_MESSAGES_A_TURN = 32


class StreamHandler(SocketHandler):
    """One client's stream."""

    _conversation: Conversation | None = None

    def open(self, *args: str, **kwargs: str) -> None:
        """Begin."""
        super().open(*args, **kwargs)
        outbox = Outbox(
            lambda frame: self.send_frame(frame, binary=True),
            lambda: self.close(TRY_AGAIN, "come again, from your cursors"),
        )
        self._conversation = Conversation(self.services, self.principal, outbox)
        self._turns = 0

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Do what the client asks; what stands behind the message that ended the stream is dropped."""
        if self.is_over:
            return None
        if isinstance(message, str):
            self.close(UNSUPPORTED, "binary messages only")
            return None
        conversation = self._conversation
        assert conversation is not None  # noqa: S101  # tornado opens before it hands over messages
        try:
            request = client_codec.decode(message)
        except MalformedMessage as err:
            conversation.fail(0, err)
            self.close(MALFORMED, "malformed message")
            return None
        conversation.take(request)
        self._turns += 1
        if conversation.is_full:
            return conversation.has_room()
        # Messages that wait in the buffer are read without a pause: let the others have their turn.
        return asyncio.sleep(0) if self._turns % _MESSAGES_A_TURN == 0 else None

    def on_close(self) -> None:
        """Forget the client; its tasks go on."""
        super().on_close()
        if self._conversation is not None:
            self._conversation.stop()


routes = [("/v3/stream", StreamHandler)]
