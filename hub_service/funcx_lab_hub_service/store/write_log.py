"""Whether the database's write-ahead log lost commits: SQLite stops at the first bad byte and says nothing.

What was written last before a power cut may be torn, and nobody was told that it is there. But a commit
begins only when the one before it is on disk: two whole commits behind the end of what SQLite could read
say that the log was damaged afterwards.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from dataclasses import dataclass
from pathlib import Path

_HEADER, _FRAME_HEADER = 32, 24
_PAGE_SIZE_AT = 8
_SALTS_AT = 16
_SALTS_IN_FRAME = 8
_TORN = 1


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of a log, valid or not: to which use of the file each belongs, and whether it commits.

    Attributes
    ----------
    salts : bytes
        Of the present use, by the header.
    """

    salts: bytes = b""
    frames: tuple[tuple[bytes, bool], ...] = ()


def read_frames(database: Path) -> Frames:
    """Return what stands in the log of a database; nothing if there is none."""
    try:
        descriptor = os.open(f"{database}-wal", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return Frames()
    try:
        header = os.pread(descriptor, _HEADER, 0)
        if len(header) < _HEADER:
            return Frames()
        (page_size,) = struct.unpack_from(">I", header, _PAGE_SIZE_AT)
        size = os.fstat(descriptor).st_size
        step = _FRAME_HEADER + max(page_size, 512)
        heads = (os.pread(descriptor, _FRAME_HEADER, at) for at in range(_HEADER, size - _FRAME_HEADER, step))
        return Frames(
            header[_SALTS_AT : _SALTS_AT + 8],
            tuple((head[_SALTS_IN_FRAME : _SALTS_IN_FRAME + 8], head[4:8] != bytes(4)) for head in heads),
        )
    finally:
        os.close(descriptor)


def lost_commits(connection: sqlite3.Connection, database: Path, found: Frames) -> int:
    """Return how many commits the log has lost at least, 0 if none is known to be; nothing is written yet.

    Parameters
    ----------
    connection : sqlite3.Connection
        Has just opened the database.
    found : Frames
        What stood in the log before that.
    """
    if not found.frames:
        return 0
    _, valid, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if read_frames(database) != found:
        return 0  # in use by another process: that one has looked
    uses = {found.salts, *(salts for salts, _ in found.frames[:1])}
    behind = found.frames[max(valid, 0) :]
    lost = max(sum(commits and salts == use for salts, commits in behind) for use in uses)
    if lost <= _TORN:
        return 0
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else the next start finds them again
    return lost
