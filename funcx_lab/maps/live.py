"""Progress that changes in place: a display of a notebook, or a line of a terminal."""

from __future__ import annotations

import concurrent.futures
import logging
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from funcx_lab.maps.progress import Progress

log = logging.getLogger(__name__)

#: A view changes this often (seconds).
TICK_S = 0.25


class View(Protocol):
    """What can be shown while it goes on."""

    def line(self) -> str:
        """How far it is, in one line."""

    def _repr_html_(self) -> str: ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; False if that takes longer."""


class LiveView:
    """Shows how far something is, in one place.

    Parameters
    ----------
    view : View
        What goes on.
    shell : object, optional
        The IPython of a notebook, whose displays can change. None: a line of stderr.
    metadata : dict, optional
        Put into the display's metadata.
    """

    def __init__(self, view: View, shell: Any = None, metadata: dict[str, Any] | None = None) -> None:
        self._view, self._shell = view, shell
        self._metadata = metadata or {}
        self._display_id = uuid.uuid4().hex
        self._shown = ""
        self._is_over = False

    def show(self, *, final: bool = False) -> None:
        """Show how far it is; in a terminal that cannot go back in its line, only the end."""
        if self._is_over:
            return
        line, before = self._view.line(), self._shown
        if self._shell is None and not final and not sys.stderr.isatty():
            return
        # Remembered first: an interrupt on the way must not make a second view of it.
        self._shown, self._is_over = line, final
        if self._shell is None:
            sys.stderr.write(("\r" if before else "") + line.ljust(len(before)) + ("\n" if final else ""))
            sys.stderr.flush()
        elif line != before:
            self._publish(update=bool(before))

    def _publish(self, *, update: bool) -> None:
        self._shell.display_pub.publish(
            data={"text/plain": repr(self._view), "text/html": self._view._repr_html_()},
            metadata=self._metadata,
            transient={"display_id": self._display_id},
            update=update,
        )

    def follow(self) -> None:
        """Show how far it is until it has ended."""
        self.show()
        while not self._view.wait(TICK_S):
            self.show()
        self.show(final=True)

    def follow_beside(self) -> None:
        """Show how far it is, and go on doing so in a thread."""
        self.show()
        threading.Thread(target=self._follow_safely, name="funcx-progress", daemon=True).start()

    def _follow_safely(self) -> None:
        try:
            self.follow()
        except Exception:  # the thread's edge: a view must not end what it shows
            log.warning("A view of %s is not updated any more", type(self._view).__name__, exc_info=True)


class FutureList:
    """Futures of any kind, as something that goes on.

    Parameters
    ----------
    futures : sequence of Future
        The futures.
    """

    def __init__(self, futures: Sequence[concurrent.futures.Future[Any]]) -> None:
        self._futures = futures
        self._begun = time.time()
        self._ended: dict[int, str] = {}

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all have ended; False if that takes longer than ``timeout`` seconds."""
        return not concurrent.futures.wait(self._futures, timeout).not_done

    def line(self) -> str:
        """Return how far they are, in one line."""
        return self._count().line(self._seconds(), self._failed())

    def __repr__(self) -> str:
        return self.line()

    def _repr_html_(self) -> str:
        return self._count().html(self._seconds(), self._failed())

    def _count(self) -> Progress:
        for number, future in enumerate(self._futures):
            if number not in self._ended and future.done():
                self._ended[number] = _error_name(future)
        failed = sum(bool(name) for name in self._ended.values())
        return Progress(len(self._ended) - failed, failed, 0, len(self._futures))

    def _failed(self) -> str:
        names = Counter(filter(None, self._ended.values())).most_common()
        return ", ".join(f"{name} × {count}" if count > 1 else name for name, count in names)

    def _seconds(self) -> float:
        return time.time() - self._begun


def _error_name(future: concurrent.futures.Future[Any]) -> str:
    try:
        error = future.exception(0)
    except concurrent.futures.CancelledError as err:
        error = err
    return "" if error is None else type(error).__name__


def show_progress(futures: Iterable[concurrent.futures.Future[Any]]) -> None:
    """Show how far futures are: returns at once in a notebook, waits for them in a terminal.

    Parameters
    ----------
    futures : iterable of Future, or TaskMap
        What is waited for.
    """
    view: Any = futures if hasattr(futures, "line") else FutureList(list(futures))
    shell = _notebook()
    if shell is None:
        LiveView(view).follow()
    else:
        LiveView(view, shell).follow_beside()


def _notebook() -> Any:
    """Return the IPython of a notebook, if this is one; IPython is not imported for it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None
