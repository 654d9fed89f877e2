"""The rules of objects: content-addressed bytes that are too large for a message."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from funcx_lab.errors import (
    FuncxLabError,
    HashMismatch,
    InvalidRequest,
    NotAuthorized,
    ObjectNotFound,
    PayloadTooLarge,
    ServiceError,
    StorageFull,
)
from funcx_lab_hub_service.access import may_create
from funcx_lab_hub_service.store import objects as store

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.store.database import Database

#: An object that was uploaded or asked for within so many seconds is kept, whoever refers to it.
_WANTED_S = 3600.0
#: Entries looked through at once.
_SWEEP_PIECE = 200
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Upload:
    """One object on its way in. Its methods block on the disk: call them off the loop.

    Parameters
    ----------
    path : Path
        Where the object will stand.
    scratch : Path
        Directory of unfinished uploads, on the same file system.
    sha256 : str
        The announced digest.
    size : int
        The announced number of bytes.
    """

    def __init__(self, path: Path, scratch: Path, sha256: str, size: int) -> None:
        self.path, self.sha256, self.size = path, sha256, size
        self.received = 0
        self._digest = hashlib.sha256()
        try:
            descriptor, name = tempfile.mkstemp(dir=scratch)
        except OSError as err:
            raise _storage_error(err) from err
        self._scratch = Path(name)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)

    def write(self, chunk: bytes | bytearray) -> None:
        """Add bytes.

        Raises
        ------
        StorageFull
            If the disk is full.
        """
        self._digest.update(chunk)
        self.received += len(chunk)
        view = memoryview(chunk)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as err:
            raise _storage_error(err) from err

    def finish(self) -> None:
        """Check what came, put it on the disk and in its place.

        Raises
        ------
        HashMismatch
            If it is not what was announced; nothing is left behind.
        StorageFull
            If the disk is full.
        """
        if self.received != self.size or self._digest.hexdigest() != self.sha256:
            self.abort()
            raise HashMismatch(
                f"The {self.received} bytes sent are not the object {self.sha256} of {self.size} bytes; "
                "nothing was stored. Send them again."
            )
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            self._scratch.rename(self.path)
            _sync_directory(self.path.parent)
            _sync_directory(self.path.parent.parent)
        except OSError as err:
            self.abort()
            raise _storage_error(err) from err

    def abort(self) -> None:
        """Leave nothing behind; harmless after `finish`."""
        self._file.close()
        self._scratch.unlink(missing_ok=True)


class Objects:
    """Take in, find and hand out objects.

    Parameters
    ----------
    database : Database
        Knows owners and sizes.
    directory : Path
        Holds ``<2 hex>/<sha256>``; unfinished uploads of an earlier life are removed.
    limit : int
        Bytes of the largest object.
    check_disk : callable
        Raises `StorageFull` when the disk has no room for anything new.
    """

    def __init__(
        self, database: Database, directory: Path, limit: int, check_disk: Callable[[], None] = lambda: None
    ) -> None:
        self._database = database
        self._check_disk = check_disk
        self._directory = directory
        self._limit = limit
        self._scratch = directory / "unfinished"
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(mode=0o700, parents=True)

    def check(self, principal: Principal, sha256: str, size: int | None) -> None:
        """Let pass an object that may be uploaded.

        Raises
        ------
        InvalidRequest
            If the name is no digest or the size was not announced.
        PayloadTooLarge
            If it is over the limit.
        StorageFull
            If the disk has room for results only.
        """
        if not may_create(principal, "object"):
            raise NotAuthorized
        if not _SHA256.fullmatch(sha256):
            raise InvalidRequest(f"An object's name is its SHA-256 as 64 hex digits, not {sha256[:80]!r}.")
        if size is None:
            raise InvalidRequest("An object needs a Content-Length.")
        if size > self._limit:
            raise PayloadTooLarge(
                f"The object has {size} bytes; the limit is {self._limit}. Write large data to a file "
                "that both sides can reach, and send its path.",
                details={"size": size, "limit": self._limit},
            )
        if principal.endpoint_id is None:  # an endpoint's object is a result
            self._check_disk()

    def upload(self, sha256: str, size: int) -> Upload:
        """Return a place for the bytes of a checked object (blocks on the disk)."""
        return Upload(self._path(sha256), self._scratch, sha256, size)

    async def store(self, principal: Principal, upload: Upload) -> None:
        """Note a finished upload; it is on disk then."""
        await self._database.write(
            lambda connection: store.insert(
                connection, sha256=upload.sha256, size=upload.size, user=principal.user, now=time.time()
            )
        )

    def find(self, principal: Principal, sha256: str) -> tuple[Path, int]:
        """Return the file and the size of an object that ``principal`` may read.

        Raises
        ------
        ObjectNotFound
            If there is none, it is someone else's, or its file was removed: then it may be uploaded again.
        """
        reader = self._database.reader
        if principal.endpoint_id is not None:
            size = store.endpoint_size(reader, sha256, principal.endpoint_id)
        else:
            size = store.owned_size(reader, sha256, principal.user)
            if size is None:
                size = store.result_size(reader, sha256, principal.user)
        path = self._path(sha256)
        if size is None or not path.is_file():
            raise ObjectNotFound
        with contextlib.suppress(OSError):  # of a file that is still wanted; see `sweep`
            os.utime(path)
        return path, size

    async def sweep(self, before: float) -> int:
        """Delete objects that came in before ``before`` (Unix seconds) and that no task refers to.

        A file's mtime says when it was last uploaded or asked for; one that was wanted lately stays.

        Returns
        -------
        int
            How many were deleted.
        """
        place: int | None = 0
        total = 0
        while place is not None:
            found, place = store.unwanted(self._database.reader, place, before, _SWEEP_PIECE)
            idle = [sha256 for sha256 in found if self._is_idle(sha256)]
            if idle:
                gone = await self._database.write(
                    lambda connection, idle=idle: store.delete_unwanted(connection, idle, before)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                )
                await asyncio.to_thread(self._unlink, gone)
                total += len(gone)
            await asyncio.sleep(0)
        return total

    def _is_idle(self, sha256: str) -> bool:
        try:
            return time.time() - self._path(sha256).stat().st_mtime > _WANTED_S
        except FileNotFoundError:
            return True

    def _unlink(self, sha256s: list[str]) -> None:
        for sha256 in sha256s:
            if self._is_idle(sha256):
                self._path(sha256).unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        return self._directory / sha256[:2] / sha256


def _storage_error(err: OSError) -> FuncxLabError:
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull()
    return ServiceError(f"The hub service cannot write an object: {err.strerror}.")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
