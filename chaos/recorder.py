"""A file system that writes down every write and sync, and the disks that a power loss could leave."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

#: What a disk writes as a whole.
SECTOR = 512
_KEPT = (0.0, 0.1, 0.5, 0.9, 1.0)


class Journal:
    """What happened, in order: ``(action, file, ...)``; also what was acknowledged meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.entries: list[tuple[Any, ...]] = []

    def add(self, *entry: Any) -> None:
        """Add an entry; any thread may."""
        with self._lock:
            self.entries.append(entry)


class RecordingFileSystem(apsw.VFS):
    """The usual file system, written down.

    Parameters
    ----------
    name : str
        Under which connections ask for it.
    journal : Journal
        Gets every write, truncation, sync and deletion.
    """

    def __init__(self, name: str, journal: Journal) -> None:
        self.journal = journal
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # apsw's name
        return _File(name, flags, self.journal)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self.journal.add("delete", Path(filename).name, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], journal: Journal) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name, self._journal = Path(path or "temporary").name, journal
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._journal.add("write", self._name, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._journal.add("truncate", self._name, newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._journal.add("sync", self._name)


@dataclass(slots=True)
class _OnDisk:
    """One file: what is surely there, and what may be."""

    sure: bytearray = field(default_factory=bytearray)
    maybe: list[tuple[Any, ...]] = field(default_factory=list)
    exists: bool = False
    #: deleted, and nobody has synced the directory
    leaving: bool = False

    def sync(self) -> None:
        for entry in self.maybe:
            _apply(self.sure, entry)
        self.maybe.clear()
        self.exists, self.leaving = True, False

    def after_power_loss(self, chance: random.Random) -> bytes | None:
        """Return one of the possible contents, None if the file may be missing and is."""
        if self.leaving and chance.random() < 0.5:
            return None
        if not self.exists and chance.random() < 0.5:
            return None
        content, kept = bytearray(self.sure), chance.choice(_KEPT)
        for entry in self.maybe:
            for piece in _torn(entry):
                if chance.random() < kept:
                    _apply(content, piece)
        return bytes(content)


class Disk:
    """All files, followed through a journal."""

    def __init__(self) -> None:
        self._files: dict[str, _OnDisk] = {}

    def follow(self, entry: tuple[Any, ...]) -> None:
        """Take the next entry."""
        action, name, *more = entry
        file = self._files.setdefault(name, _OnDisk())
        if action == "sync":
            # SQLite syncs the directory with a new journal or log.
            if not file.exists and name.endswith(("-wal", "-journal")):
                self._sync_directory()
            file.sync()
        elif action == "delete" and more[0]:
            del self._files[name]
        elif action == "delete":
            file.leaving = True
        else:
            if file.leaving:  # made anew
                file = self._files[name] = _OnDisk()
            file.maybe.append(entry)

    def _sync_directory(self) -> None:
        self._files = {name: file for name, file in self._files.items() if not file.leaving}
        for file in self._files.values():
            file.exists = True

    def lose_power(self, directory: Path, chance: random.Random) -> None:
        """Write into ``directory`` what could be found after a power loss now."""
        for name, file in self._files.items():
            content = file.after_power_loss(chance)
            if content is not None:
                (directory / name).write_bytes(content)


def _apply(content: bytearray, entry: tuple[Any, ...]) -> None:
    if entry[0] == "truncate":
        del content[entry[2] :]
        return
    _, _, offset, data = entry
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _torn(entry: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the parts of a write that reach the disk or do not, each by itself."""
    if entry[0] == "truncate":
        yield entry
        return
    action, name, offset, data = entry
    start = 0
    while start < len(data):
        end = min(len(data), start + SECTOR - (offset + start) % SECTOR)
        yield action, name, offset + start, data[start:end]
        start = end
