"""A locked file of checked records that grows at its end: each as length, CRC-32 and bytes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import struct
import zlib
from pathlib import Path

_HEAD = struct.Struct("<II")


class RecordFile:
    """An open file and the lock on it; made by `create` and `take`.

    Attributes
    ----------
    size : int
        Bytes.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    @classmethod
    def create(cls, directory: Path) -> RecordFile:
        """Create a file that no other process holds.

        Raises
        ------
        OSError
            If that cannot be done.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            path = directory / f"{os.getpid()}-{secrets.token_hex(4)}.log"
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            # Whoever looks for abandoned journals may be faster and remove it.
            if (descriptor := _locked(os.open(path, flags, 0o600))) is not None:
                return cls(path, descriptor)

    @classmethod
    def take(cls, path: Path) -> RecordFile | None:
        """Return the file if nobody holds it."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        locked = _locked(descriptor)
        return None if locked is None else cls(path, locked)

    def read(self) -> tuple[list[memoryview], int]:
        """Return the records up to the first that is torn, and how many bytes come from there on."""
        with open(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            data = memoryview(file.read())
        records: list[memoryview] = []
        start = 0
        while start + _HEAD.size <= len(data):
            length, checksum = _HEAD.unpack_from(data, start)
            end = start + _HEAD.size + length
            record = data[start + _HEAD.size : end]
            if end > len(data) or zlib.crc32(record) != checksum:
                break
            records.append(record)
            start = end
        return records, len(data) - start

    def append(self, record: bytes) -> None:
        """Write a record at the end.

        Raises
        ------
        OSError
            If that cannot be done; the file then ends in a torn record.
        """
        written = os.writev(self._descriptor, [_HEAD.pack(len(record), zlib.crc32(record)), record])
        self.size += written
        if written < _HEAD.size + len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._descriptor, 0)
        self.size = 0

    def sync(self) -> None:
        """Have it on disk."""
        with contextlib.suppress(OSError):  # closed meanwhile, or the disk is gone: the next write tells
            os.fdatasync(self._descriptor)

    def close(self, *, remove: bool) -> None:
        """Let go, and remove it first if asked to."""
        if remove:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._descriptor)


def _locked(descriptor: int) -> int | None:
    """Return the descriptor with a lock on its file; None, and closed, if another has it or it is gone."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
