"""A program with a process group of its own: its output is shown as it comes, its end is kept."""

from __future__ import annotations

import codecs
import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Of each stream, so many bytes are kept, the last ones.
KEPT_BYTES = 1_000_000
#: Seconds that a program gets to end by itself when it is stopped.
PATIENCE_S = 1.0
#: Seconds between looks whether it has ended while something else holds its pipes.
_LOOK_S = 0.1
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ran.

    Attributes
    ----------
    returncode : int
        Its exit code; negative: the signal that ended it.
    seconds : float
        How long it ran.
    is_late : bool
        It was stopped at its walltime.
    stdout, stderr : str
        The last of what it wrote.
    stdout_dropped, stderr_dropped : int
        Bytes that came before those.
    """

    returncode: int
    seconds: float
    is_late: bool
    stdout: str
    stderr: str
    stdout_dropped: int
    stderr_dropped: int


def run_program(
    words: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    walltime: float | None = None,
    stdout: Path | None = None,
    stderr: Path | None = None,
) -> Ran:
    """Run a program to its end; what it leaves running is ended with it.

    Parameters
    ----------
    words : sequence of str
        The program and its arguments.
    directory : Path
        Where it runs.
    environment : mapping, optional
        Its environment; this process's by default.
    walltime : float, optional
        Stop it after so many seconds.
    stdout, stderr : Path, optional
        Files that get all it writes.

    Raises
    ------
    OSError
        If it cannot be started, or a file cannot be written.
    """
    with contextlib.ExitStack() as files:
        outputs = [
            _Output(name, None if path is None else files.enter_context(open(path, "wb")))
            for name, path in (("stdout", stdout), ("stderr", stderr))
        ]
        started = time.monotonic()
        deadline = float("inf") if walltime is None else started + walltime
        process, is_late = _run(words, outputs, deadline, cwd=directory, env=environment)
        seconds = time.monotonic() - started
        texts = outputs[0].close(), outputs[1].close()
    out, err = outputs
    return Ran(process.returncode, seconds, is_late, *texts, out.dropped, err.dropped)


class _Output:
    """One stream of a program: shown, written to a file if there is one, and its end kept."""

    def __init__(self, name: str, file: Any) -> None:
        self._name, self._file = name, file
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._kept = bytearray()
        self.dropped = 0

    def take(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)
        self._kept += data
        if len(self._kept) > 2 * KEPT_BYTES:
            self._trim()
        self._show(self._decoder.decode(data))

    def close(self) -> str:
        self._show(self._decoder.decode(b"", True))
        self._trim()
        return self._kept.decode("utf-8", "replace")

    def _show(self, text: str) -> None:
        if text:
            stream = getattr(sys, self._name)
            stream.write(text)
            stream.flush()

    def _trim(self) -> None:
        excess = len(self._kept) - KEPT_BYTES
        if excess <= 0:
            return
        while excess < len(self._kept) and self._kept[excess] & 0xC0 == 0x80:  # amid a character
            excess += 1
        del self._kept[:excess]
        self.dropped += excess


def _run(
    words: Sequence[str], outputs: list[_Output], deadline: float, **place: Any
) -> tuple[subprocess.Popen[bytes], bool]:
    """Show what a program writes until it has ended; say whether it was stopped at ``deadline``."""
    process: subprocess.Popen[bytes] | None = None
    pipe = subprocess.PIPE
    with selectors.DefaultSelector() as selector:
        try:
            with uninterrupted():
                process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True, **place
                )
            for each, output in zip((process.stdout, process.stderr), outputs, strict=True):
                os.set_blocking(each.fileno(), False)  # type: ignore[union-attr]  # a pipe, see above
                selector.register(each, selectors.EVENT_READ, output)  # type: ignore[arg-type]  # the same
            return process, not _read_to_end(process, selector, deadline)
        finally:  # an interrupt, too, passes here
            if process is not None:
                end_group(process)
                while selector.get_map() and selector.select(0):
                    _read(selector, 0)
                process.stdout.close()  # type: ignore[union-attr]  # as above
                process.stderr.close()  # type: ignore[union-attr]  # as above


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put a KeyboardInterrupt off until the end of the ``with`` block."""
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if heard:
        signal.raise_signal(signal.SIGINT)


def _read_to_end(process: subprocess.Popen[bytes], selector: selectors.BaseSelector, deadline: float) -> bool:
    pause = 0.001
    while not has_ended(process):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        if selector.get_map():
            _read(selector, min(_LOOK_S, left))
        else:
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LOOK_S)
    return True


def _read(selector: selectors.BaseSelector, timeout: float) -> None:
    for key, _ in selector.select(timeout):
        data = os.read(key.fd, _CHUNK)
        if data:
            key.data.take(data)
        else:
            selector.unregister(key.fileobj)


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a program has ended; nobody may have waited for it before."""
    # Nor is it waited for here, so its number stays its group's until the group has been ended.
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end_group(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> None:
    """End a program that leads a process group, and the group: ``number`` first, SIGKILL after a second."""
    if process.returncode is not None:
        return
    if not has_ended(process):
        _signal_group(process, number)
        deadline = time.monotonic() + PATIENCE_S
        while not has_ended(process) and time.monotonic() < deadline:
            time.sleep(0.01)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all gone, or become another user's
        os.killpg(process.pid, number)
