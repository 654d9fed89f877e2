"""The watch itself: looks, lets its face show what it saw, and ends when there is nothing more to see."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from funcx_lab.errors import FuncxLabError, TransportError
from funcx_lab_magics.watch.board import Board
from funcx_lab_magics.watch.sources import Source, refusal

log = logging.getLogger(__name__)

#: A face changes at most this often (seconds).
FASTEST_S = 0.5
#: Between two looks, so many times as long as one took: many tasks are looked at less often.
_REST = 5.0


class Face(Protocol):
    """Shows a board."""

    def show(self, board: Board, title: str, *, is_over: bool) -> None:
        """Show how it is; ``is_over`` says that nothing will change any more."""


class Watch:
    """Tasks that are watched: what ``funcx_lab.watch`` gives.

    Parameters
    ----------
    source : Source
        Where the facts come from.

    Attributes
    ----------
    board : Board
        What was seen last.
    title : str
        What is watched, for people.
    """

    def __init__(self, source: Source) -> None:
        self.board = Board()
        self.title = source.title
        self._source = source
        self._faces: list[Face] = []
        self._woken = threading.Event()
        self._over = threading.Event()
        self._is_asleep = False
        self._is_cancelling = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        source.begin(self._woken.set)

    # --- for the user -----------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether it has ended: with its tasks, or because it was closed."""
        return self._over.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over; False if that takes longer than ``timeout`` seconds."""
        return self._over.wait(timeout)

    def cancel(self) -> int:
        """Cancel the tasks that have not ended, also those that run; return how many are cancelled now.

        Raises
        ------
        TransportError
            If the hub service does not answer.
        """
        count = self._source.cancel(self.board)
        self._woken.set()
        return count

    def close(self) -> None:
        """Stop watching; the tasks go on."""
        self._over.set()
        self._woken.set()

    def __repr__(self) -> str:
        return f"<Watch of {self.title}{': over' if self.is_over else ''}>"

    @property
    def has_end(self) -> bool:
        """Whether it ends with its tasks; an endpoint has always more."""
        return self._source.has_end

    # --- for faces --------------------------------------------------------------------------------

    def add(self, face: Face) -> None:
        """Let a face show it, too."""
        self._faces.append(face)

    def request_cancel(self) -> None:
        """Cancel the rest in the watch's own thread: a button's callback does not wait."""
        self._is_cancelling = True
        self._woken.set()

    def sleep(self) -> None:
        """Look no more until `wake_up`: nobody sees it."""
        self._is_asleep = True
        self._woken.set()

    def wake_up(self) -> None:
        """Look again."""
        self._is_asleep = False
        self._woken.set()
        self.start()

    def start(self) -> None:
        """Go on beside other work, in a thread that ends with the watch or when it is put to sleep."""
        with self._starting:
            if self.is_over or self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run_safely, name="funcx-watch", daemon=True)
            self._thread.start()

    def run(self) -> None:
        """Look and show until it is over or asleep."""
        while not self._over.is_set() and not self._is_asleep:
            begun = time.monotonic()
            self._woken.clear()
            self.look()
            if self._source.has_end and self.board.is_complete and not self.board.note:
                break
            self._show(is_over=False)
            took = time.monotonic() - begun
            # A limit of the pace first, then news or the next look.
            if not self._over.wait(FASTEST_S):
                self._woken.wait(max(FASTEST_S, _REST * took))
        if not self._is_asleep or self._over.is_set():
            self._over.set()
            self._show(is_over=True)

    def look_first(self) -> None:
        """Look for the first time.

        Raises
        ------
        FuncxLabError
            If there is no such task or endpoint, or it may not be seen.
        """
        try:
            self._source.look(self.board)
        except TransportError as err:  # it may come back
            self.board.note = refusal(err)
        self.board.remember()

    def look(self) -> None:
        """Bring the board up to date, and cancel if that was asked for; what goes wrong is noted on it."""
        try:
            if self._is_cancelling:
                self._source.cancel(self.board)
                self._is_cancelling = False
            self._source.look(self.board)
            self.board.note = ""
        except FuncxLabError as err:  # a view must not end because the service is away for a moment
            self.board.note = refusal(err)
        self.board.remember()

    # --- details ----------------------------------------------------------------------------------

    def _show(self, *, is_over: bool) -> None:
        for face in self._faces:
            face.show(self.board, self.title, is_over=is_over)

    def _run_safely(self) -> None:
        try:
            while not self._is_done():
                self.run()
        except Exception:  # the thread's edge: a view must not end what it shows
            log.warning("The watch of %s is not updated any more", self.title, exc_info=True)
            self._over.set()

    def _is_done(self) -> bool:
        """Whether the thread may end; one that is woken while it falls asleep goes on."""
        with self._starting:
            if self._over.is_set() or self._is_asleep:
                self._thread = None
                return True
            return False
