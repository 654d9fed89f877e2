"""What a call writes to stdout and stderr, from Python, C or child processes, as events.

File descriptors 1 and 2 are pipes while a session lives. Python's own writes drain the other pipe
first when they change from one stream to the other, so their order is kept.
"""

from __future__ import annotations

import codecs
import ctypes
import io
import os
import select
import sys
import threading
import time
from collections import deque
from typing import Any

import msgspec

from funcx_lab.protocol.messages import Event

#: Bytes of output per call that are sent as they come; the same again is kept from its end.
HEAD_LIMIT = 1024 * 1024
TAIL_LIMIT = 1024 * 1024
#: Bytes of displays (figures, tables, HTML) per call; of what would go beyond, only the last is kept, if it
#: has no more than so many bytes: the end of an animation. All that a call says may leave in one frame, so
#: these, and head and tail, which grow threefold when they are no text, stay below `FRAME_LIMIT` together.
DISPLAY_LIMIT = 8 * 1024 * 1024
LAST_DISPLAY_LIMIT = 1024 * 1024
#: Output leaves when it is this old (seconds) or this much (bytes).
BATCH_S = 0.05
BATCH_BYTES = 8 * 1024
_CHUNK = 64 * 1024
#: A pipe holds no more than this many chunks; a child left behind may write for ever.
_ROUNDS = 3
_KINDS = {1: "stdout", 2: "stderr"}


class _Writer(io.RawIOBase):
    """Python's end of one pipe."""

    def __init__(self, capture: Capture, fd: int) -> None:
        self._capture, self._fd = capture, fd

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any) -> int:
        capture = self._capture
        if capture.last_fd != self._fd:
            capture.is_draining = True
            capture.drain()
            capture.is_draining = False
            capture.last_fd = self._fd
        return os.write(self._fd, data)


class Capture:
    """The pipes behind fd 1 and 2 and the events of the current call."""

    def __init__(self) -> None:
        self.last_fd = 1
        #: the user's thread is in here on its way through a print; not to be interrupted
        self.is_draining = False
        #: held while the pipes are read or the events changed
        self.lock = threading.RLock()
        self._fflush = ctypes.CDLL(None).fflush
        self._saved = {fd: os.dup(fd) for fd in _KINDS}
        self._old_streams = (sys.stdout, sys.stderr)
        self.reading: dict[int, int] = {}
        self._writing: dict[int, int] = {}
        for fd in _KINDS:
            self.reading[fd], self._writing[fd] = os.pipe()
            os.set_blocking(self.reading[fd], False)
        self._identity = {fd: _identity(writing) for fd, writing in self._writing.items()}
        self._poller = _poller(self.reading.values())
        self._decoders = {fd: _decoder() for fd in _KINDS}
        self.stdout, self.stderr = _text(self, 1), _text(self, 2)
        self.restore()
        self.begin()

    def restore(self) -> None:
        """Put pipes and Python streams back in place, whatever the user's code did to them."""
        for fd, writing in self._writing.items():
            if _identity(fd) != self._identity[fd]:
                os.dup2(writing, fd)
        if self.stdout.closed:
            self.stdout = _text(self, 1)
        if self.stderr.closed:
            self.stderr = _text(self, 2)
        sys.stdout, sys.stderr = self.stdout, self.stderr

    def begin(self) -> None:
        """Start the events of a new call."""
        self.next_event = 0
        self._events: list[Event] = []
        self._text: list[str] = []
        self._text_kind = ""
        self._text_since = 0.0
        self._text_bytes = 0
        self._room = HEAD_LIMIT
        self._tail: deque[tuple[int, bytes]] = deque()
        self._tail_bytes = 0
        self._dropped = 0
        self._display_room = DISPLAY_LIMIT
        self._displays_dropped = 0
        self._last_display: Event | None = None

    def add(self, kind: str, data: Any) -> None:
        """Append an event that is not text, behind everything written so far."""
        self.flush()
        with self.lock:
            nbytes = _display_bytes(data)
            if nbytes > self._display_room:
                self._displays_dropped += 1
                event = Event(time.time(), kind, data)
                self._last_display = event if nbytes <= LAST_DISPLAY_LIMIT else None
                return
            self._display_room -= nbytes
            if nbytes:
                self._last_display = None  # what comes now is later
            self._close_text()
            self._events.append(Event(time.time(), kind, data))

    def flush(self) -> None:
        """Bring everything written so far, by Python or C, into events."""
        streams: list[Any] = [self.stdout, self.stderr]
        if sys.stdout is not self.stdout or sys.stderr is not self.stderr:
            streams += [sys.stdout, sys.stderr]
        for stream in streams:
            _flush(stream)
        self._fflush(None)
        self.drain()

    def drain(self) -> None:
        """Read what stands in the pipes."""
        with self.lock:
            for _ in range(_ROUNDS):
                ready = self._poller.poll(0)
                if not ready:
                    return
                for reading, _event in ready:
                    fd = 1 if reading == self.reading[1] else 2
                    self._take(fd, os.read(reading, _CHUNK))

    def take(self, now: float, *, final: bool = False) -> tuple[int, list[Event]]:
        """Return the events to send now and the number of the first one.

        Parameters
        ----------
        now : float
            Unix seconds.
        final : bool
            The call has ended: hand over everything, the kept tail too.
        """
        with self.lock:
            if final:
                self._finish()
            if final or self._text_bytes >= BATCH_BYTES or (self._text and now - self._text_since >= BATCH_S):
                self._close_text()
            first, events = self.next_event, self._events
            self.next_event += len(events)
            self._events = []
            return first, events

    @property
    def has_text(self) -> bool:
        """Whether text waits for the rest of its batch."""
        return bool(self._text)

    def close(self) -> None:
        """Give fd 1 and 2 back to what they were."""
        self.flush()
        sys.stdout, sys.stderr = self._old_streams
        for fd, saved in self._saved.items():
            os.dup2(saved, fd)
        for fd in (*self._saved.values(), *self.reading.values(), *self._writing.values()):
            os.close(fd)

    def _take(self, fd: int, data: bytes) -> None:
        head = data[: self._room] if self._room else b""
        if head:
            self._room -= len(head)
            self._append(_KINDS[fd], self._decoders[fd].decode(head), len(head))
        rest = data[len(head) :]
        if rest:
            self._tail.append((fd, rest))
            self._tail_bytes += len(rest)
            while self._tail_bytes - len(self._tail[0][1]) >= TAIL_LIMIT:
                dropped = len(self._tail.popleft()[1])
                self._tail_bytes -= dropped
                self._dropped += dropped

    def _append(self, kind: str, text: str, nbytes: int) -> None:
        if kind != self._text_kind:
            self._close_text()
            self._text_kind = kind
        if not self._text:
            self._text_since = time.time()
        self._text.append(text)
        self._text_bytes += nbytes

    def _close_text(self) -> None:
        text = "".join(self._text)
        if text:
            self._events.append(Event(self._text_since, self._text_kind, text))
        self._text, self._text_bytes = [], 0

    def _finish_displays(self) -> None:
        last = self._last_display
        if dropped := self._displays_dropped - (last is not None):
            limit = f"{DISPLAY_LIMIT // 1024 // 1024} MiB"
            self._append("stderr", f"\n[funcx-lab: {dropped:,} displays beyond {limit} were dropped]\n", 0)
        if last is not None:
            self._close_text()
            self._events.append(last)

    def _finish(self) -> None:
        if self._dropped:
            self._append("stderr", f"\n[funcx-lab: {self._dropped:,} bytes of output were dropped here]\n", 0)
        self._finish_displays()
        for fd, data in self._tail:
            self._append(_KINDS[fd], self._decoders[fd].decode(data), len(data))
        if self._room == HEAD_LIMIT:
            return  # nothing was read, nothing is left in the decoders
        for fd, decoder in self._decoders.items():
            rest = decoder.decode(b"", True)
            if rest:
                self._append(_KINDS[fd], rest, 0)
            decoder.reset()


def _display_bytes(data: Any) -> int:
    """Return how large a display is on the wire; 0 for events that show nothing."""
    shown = data.get("data") if isinstance(data, dict) else None
    if not isinstance(shown, dict):
        return 0
    return sum(_nbytes(value) for value in (*shown.values(), data.get("metadata")) if value)


def _nbytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    return len(msgspec.msgpack.encode(value))


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")


def _text(capture: Capture, fd: int) -> io.TextIOWrapper:
    raw = io.BufferedWriter(_Writer(capture, fd))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except (OSError, ValueError, AttributeError):  # closed or replaced by the user
        return


def _poller(fds: Any) -> Any:
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    return poller


def _identity(fd: int) -> tuple[int, int]:
    try:
        status = os.fstat(fd)
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)
