"""Objects: raw bytes, streamed in and out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import BinaryIO

import tornado.web

from funcx_lab.errors import FuncxLabError
from funcx_lab_hub_service.handlers.base import Guard, announced_length
from funcx_lab_hub_service.objects import Upload

#: Bytes that are handed to the disk at once.
_BLOCK = 1024 * 1024


@tornado.web.stream_request_body
class ObjectHandler(Guard):
    """One object by its SHA-256."""

    for_agents = True
    _upload: Upload | None = None

    async def prepare(self) -> None:
        """Check the right to upload before the first byte is kept."""
        self._block = bytearray()
        asking = super().prepare()
        if asking is not None:
            await asking
        if self.request.method == "PUT" and not self.refused:
            upload = self.services.objects.upload
            try:
                self._upload = await asyncio.to_thread(
                    upload, self.path_args[0], announced_length(self.request.headers) or 0
                )
            except FuncxLabError as err:
                self.refuse(err)

    def admit(self) -> None:
        """Check the announced object too."""
        super().admit()
        if self.request.method == "PUT":
            self.services.objects.check(
                self.principal, self.path_args[0], announced_length(self.request.headers)
            )

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Gather a block, then write it while the connection waits."""
        if self._upload is None:
            return None  # refused, or a body where none belongs
        self._block += chunk
        return self._write_block(self._upload) if len(self._block) >= _BLOCK else None

    async def _write_block(self, upload: Upload) -> None:
        block, self._block = self._block, bytearray()
        if self.refused:
            return
        try:
            await asyncio.to_thread(upload.write, block)
        except FuncxLabError as err:
            self.refuse(err)

    async def put(self, sha256: str) -> None:
        """Store the object; the answer comes when it is on disk."""
        upload = self._upload
        assert upload is not None  # noqa: S101  # prepare made it; for the type checker
        await asyncio.to_thread(upload.write, self._block)
        await asyncio.to_thread(upload.finish)
        await self.services.objects.store(self.principal, upload)
        self.answer({"sha256": sha256, "size": upload.size}, 201)

    def head(self, sha256: str) -> None:
        """Say whether the object is there already."""
        _, size = self.services.objects.find(self.principal, sha256)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Length", str(size))
        self.finish()

    async def get(self, sha256: str) -> None:
        """Send the object."""
        path, size = self.services.objects.find(self.principal, sha256)
        with await asyncio.to_thread(open, path, "rb") as file:
            self.set_header("Content-Type", "application/octet-stream")
            self.set_header("Content-Length", str(size))
            await self._send(file)
        self.finish()

    async def _send(self, file: BinaryIO) -> None:
        while block := await asyncio.to_thread(file.read, _BLOCK):
            self.write(block)
            await self.flush()

    def on_finish(self) -> None:
        """Leave nothing of a refused upload."""
        if self._upload is not None:
            self._upload.abort()

    def on_connection_close(self) -> None:
        """Leave nothing of a broken upload."""
        super().on_connection_close()
        if self._upload is not None:
            self._upload.abort()


routes = [("/v3/objects/{sha256}", ObjectHandler)]
