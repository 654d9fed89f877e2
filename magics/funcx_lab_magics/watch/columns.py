"""What the figures draw, as columns of plain values."""

from __future__ import annotations

import heapq
from typing import Any

from funcx_lab.looks import LOOKS, clock
from funcx_lab_magics.watch.board import STATES, Board, Row

#: Bars in the task stream, the newest.
BARS = 500

Columns = dict[str, list[Any]]

#: State to a colour that can be seen on white and on black.
COLOURS = {
    "received": "#90a4ae",
    "waiting-for-ep": "#c58b2a",
    "waiting-for-nodes": "#9575cd",
    "waiting-for-launch": "#5c9bd5",
    "running": "#1e88e5",
    "success": "#43a047",
    "failed": "#e53935",
    "cancelled": "#8d8d8d",
    "expired": "#a1887f",
}


def all_columns(board: Board) -> dict[str, Columns]:
    """Return the columns of each view by its name."""
    return {"progress": progress(board), "stream": stream(board), "endpoints": endpoints(board)}


def progress(board: Board) -> Columns:
    """Return the history: ``time`` in seconds, and for each state how many were in it."""
    counts = {state: [point[state] for point in board.history] for state in STATES}
    return {"time": [round(at, 2) for at in board.times], **counts}


def endpoints(board: Board) -> Columns:
    """Return ``endpoint`` and for each state how many are in it there."""
    names = board.endpoints
    found = [board.counts(name) for name in names]
    counts = {state: [each[state] for each in found] for state in STATES}
    return {"endpoint": [name or "?" for name in names], **counts}


def stream(board: Board) -> Columns:
    """Return a bar for each task that began: ``lane``, ``begin`` and ``end`` in seconds, and what it is."""
    begun = sorted((row for row in list(board.rows.values()) if row.started), key=lambda row: row.started)
    rows = begun[-BARS:]
    origin = board.begun
    now = board.begun + board.times[-1] if board.times else board.begun
    ends = [row.ended or max(now, row.started) for row in rows]
    return {
        "lane": lanes(rows, ends),
        "begin": [round(row.started - origin, 3) for row in rows],
        "end": [round(end - origin, 3) for end in ends],
        "colour": [COLOURS.get(row.state, COLOURS["received"]) for row in rows],
        "state": [LOOKS[row.state][1] if row.state in LOOKS else row.state for row in rows],
        "name": [row.label or "task" for row in rows],
        "task": [f"…{row.task_id[-8:]}" for row in rows],
        "place": [" on ".join(filter(None, [row.host, row.endpoint])) for row in rows],
        "took": [clock(end - row.started) for row, end in zip(rows, ends, strict=True)],
    }


def lanes(rows: list[Row], ends: list[float]) -> list[int]:
    """Return for each task, in order of their beginnings, the lowest lane that is free then."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    found = []
    for row, end in zip(rows, ends, strict=True):
        while busy and busy[0][0] <= row.started:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (end, lane))
        found.append(lane)
    return found
