"""Faces without widgets: a display of a notebook that changes, and lines of a script or terminal."""

from __future__ import annotations

import time
import uuid
from typing import Any

from funcx_lab_magics.watch.board import Board
from funcx_lab_magics.watch.words import as_html, lines, one_line

#: A script's log gets a line at most this often (seconds) ...
LINE_S = 2.0


class DisplayFace:
    """Text and HTML under one cell, changed by display id: also recorded when nobody looks on.

    Parameters
    ----------
    publisher : DisplayPublisher
        Of the IPython that the cell belongs to.
    title : str
        Put into the display's metadata.
    """

    def __init__(self, publisher: Any, title: str) -> None:
        self._publisher = publisher
        self._metadata = {"funcx": {"watch": title}}
        self._display_id = uuid.uuid4().hex
        self._shown: object = None

    def show(self, board: Board, title: str, *, is_over: bool) -> None:
        """Publish how it is, if that has changed: a clock alone would keep the notebook unsaved."""
        known = (board.counts(), board.note)
        if known == self._shown and not is_over:
            return
        text = lines(board, title)
        self._publisher.publish(
            data={"text/plain": text, "text/html": as_html(board, title, details=is_over)},
            metadata=self._metadata,
            transient={"display_id": self._display_id},
            update=self._shown is not None,
        )
        self._shown = known


class LineFace:
    """A line on standard output whenever counts have changed, and one line for each state at the end."""

    def __init__(self) -> None:
        self._said: object = None
        self._when = 0.0

    def show(self, board: Board, title: str, *, is_over: bool) -> None:
        """Print how it is, if that has changed and the last line is not too young."""
        counts, now = (board.counts(), board.note), time.monotonic()
        if is_over:
            print(lines(board, title), flush=True)
        elif counts != self._said and now - self._when >= LINE_S:
            self._said, self._when = counts, now
            print(one_line(board, title), flush=True)
