"""An HTTP proxy in front of a service, as hospitals and companies have them: it lets no WebSocket through."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from urllib.parse import urlsplit


class Proxy:
    """Forwards requests, one for each connection, with the service's own name as Host.

    Parameters
    ----------
    url : str
        The service's.
    refusal : bytes or None
        The answer to an upgrade; None: it is let through, and cut as soon as it is open.
    """

    def __init__(self, url: str, refusal: bytes | None) -> None:
        self.refusal = refusal
        self.lets_through = False
        self.upgrades = 0
        self.polls = 0
        self._parts = urlsplit(url)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy")

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._keep, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        upgrade = b"upgrade: websocket" in head.lower()
        self.upgrades += upgrade
        self.polls += b"/v3/poll" in head
        if upgrade and self.refusal is not None and not self.lets_through:
            writer.write(self.refusal)
            await writer.drain()
            return
        to, there = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        try:
            there.write(self._rewritten(head, upgrade))
            if upgrade and not self.lets_through:
                writer.write(await to.readuntil(b"\r\n\r\n"))
                await writer.drain()
                return
            ways = [asyncio.ensure_future(_pump(reader, there)), asyncio.ensure_future(_pump(to, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        finally:
            there.close()

    def _rewritten(self, head: bytes, upgrade: bool) -> bytes:
        lines = head.split(b"\r\n")[:-2]
        dropped = (b"host:",) if upgrade else (b"host:", b"connection:")
        lines = [line for line in lines if not line.lower().startswith(dropped)]
        lines.append(b"Host: " + self._parts.netloc.encode())
        if not upgrade:
            lines.append(b"Connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
