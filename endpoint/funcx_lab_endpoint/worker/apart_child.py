"""Runs a worker's calls in the Python of another environment; see `apart`."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from funcx_lab_endpoint.engine.tether import signal_at_parents_end
from funcx_lab_endpoint.worker import apart_messages as m
from funcx_lab_endpoint.worker.call import Caller
from funcx_lab_endpoint.worker.surroundings import Interrupter, Surroundings


def main() -> None:
    """Serve the worker at the other end of the socket until it hangs up."""
    signal_at_parents_end(signal.SIGKILL)
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]  # theirs are plain files
    faulthandler.enable()
    with contextlib.suppress(m.Gone):
        _serve(connection)


def _serve(connection: socket.socket) -> None:
    setup = _next(connection)
    if not isinstance(setup, m.Setup):
        raise TypeError(f"{type(setup).__name__} is no beginning")
    interrupter, surroundings, pid = Interrupter(), Surroundings(), os.getpid()
    fflush, lock = ctypes.CDLL(None).fflush, threading.Lock()

    def flush() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed or replaced by the user
                stream.flush()
        fflush(None)

    def show(kind: str, data: Any) -> None:
        if os.getpid() == pid:  # a fork of the user's has no place to show anything
            with lock:
                flush()
                m.send(connection, m.Shown(kind, data))
                _next(connection)

    caller = Caller(setup.sid, Path(setup.objects), setup.result_limit, interrupter, show)
    streams = sys.stdout, sys.stderr
    m.send(connection, m.Ready())
    while True:
        work = _next(connection)
        if not isinstance(work, m.Work):
            raise TypeError(f"{type(work).__name__} is no work")
        interrupter.is_wanted = True  # whoever sends SIGINT means the call
        ended = caller.perform(work.run, work.function)
        if os.getpid() != pid:
            os._exit(0)  # a fork of the user's that came back from its function
        interrupter.is_wanted = False
        flush()
        m.send(connection, m.Finished(ended.ok, ended.payload, ended.error, ended.path))
        sys.stdout, sys.stderr = streams
        surroundings.restore()


def _next(connection: socket.socket) -> m.Message:
    return m.receive(connection, lambda: False)
