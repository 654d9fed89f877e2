"""What a call may change around itself, put back for the next one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from _signal import getsignal  # type: ignore[import-not-found]  # signal.getsignal makes enums, slowly
from collections.abc import Callable
from types import FrameType
from typing import Any

#: Never handed to the user's code; prefixes of environment variables. The last one is no secret, but
#: programs of ours that the user's code starts have a umask of their own to remember.
SECRET_VARIABLES = (
    "FUNCX_LAB_TOKEN",
    "FUNCX_LAB_JUPYTERHUB",
    "JUPYTERHUB_API_TOKEN",
    "JPY_API_TOKEN",
    "FUNCX_LAB_UMASK",
)


def scrub_environment(environment: Any = os.environ) -> None:
    """Remove credentials of funcx-lab and JupyterHub from the environment."""
    for name in [name for name in environment if name.startswith(SECRET_VARIABLES)]:
        del environment[name]


class Surroundings:
    """Working directory, umask, signals, timers and import path as they were at the start.

    Processes that the user's code makes start as they do in a process of its own: Parsl spawns its
    workers, and a spawned process would hand that on and not know the cell's functions.
    """

    def __init__(self) -> None:
        self._directory = os.getcwd()
        self._path = list(sys.path)
        self._handlers = {number: getsignal(number) for number in _catchable()}
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self._umask = os.umask(0)
        os.umask(self._umask)
        _forget_start_method()

    def disarm(self) -> None:
        """Stop the timer of the user's code: its handler must not run in ours."""
        signal.alarm(0)

    def restore(self) -> None:
        """Undo what the user's code left behind."""
        self.disarm()
        if signal.pthread_sigmask(signal.SIG_BLOCK, []) != self._mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, handler in self._handlers.items():
            if getsignal(number) is not handler:
                _set_handler(number, handler)
        try:
            if os.getcwd() != self._directory:
                os.chdir(self._directory)
        except OSError:  # the user's code removed the directory it stood in
            os.chdir(self._directory)
        os.umask(self._umask)
        if sys.path != self._path:
            sys.path[:] = self._path
        _forget_start_method()


def _forget_start_method() -> None:
    multiprocessing.set_start_method(None, force=True)  # None: the default


def _catchable() -> list[signal.Signals]:
    return [number for number in signal.valid_signals() if isinstance(number, signal.Signals)]


def _set_handler(number: int, handler: Any) -> None:
    # SIGKILL and SIGSTOP cannot be set, a handler from C cannot be put back.
    with contextlib.suppress(OSError, TypeError, ValueError):
        signal.signal(number, handler)


class Interrupter:
    """Raises `KeyboardInterrupt` in the user's function, and only there.

    Must be made in the main thread: Python runs signal handlers there, also in the middle of
    ``time.sleep`` and pure Python loops.
    """

    def __init__(self) -> None:
        #: set by the main thread while it is in the user's function
        self.is_armed = False
        #: cleared once the exception was raised
        self.is_wanted = False
        #: asked before raising; True puts it off
        self.is_shielded: Callable[[], bool] = lambda: False
        self._old = signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.is_wanted and self.is_armed and not self.is_shielded():
            self.is_wanted = False
            raise KeyboardInterrupt("the call was stopped")

    def close(self) -> None:
        """Give SIGINT back."""
        signal.signal(signal.SIGINT, self._old)
