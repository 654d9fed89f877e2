"""A board in words: one line, a line for each state, a table, HTML without scripts."""

from __future__ import annotations

import html
from collections import Counter

from funcx_lab.looks import LOOKS, Table, block, clock, state_html
from funcx_lab.protocol.states import FINAL_STATES, TaskState
from funcx_lab_magics.watch.board import STATES, Board


def one_line(board: Board, title: str) -> str:
    """Return how many are where, in one line: ``fit on local: 3 running · 7 success · 0:12``."""
    counts = board.counts()
    words = [f"{counts[state]} {LOOKS[state][1]}" for state in STATES if counts[state]] or ["no tasks"]
    return f"{title}: {' · '.join([*words, clock(board.seconds), *_note(board)])}"


def lines(board: Board, title: str) -> str:
    """Return a heading and one line for each state that has tasks."""
    counts = board.counts()
    width = len(str(max(counts.values(), default=0)))
    rows = [
        f"  {LOOKS[state][0]} {counts[state]:>{width}} {LOOKS[state][1]}" for state in STATES if counts[state]
    ]
    heading = " · ".join([title, ended(counts), clock(board.seconds), *_note(board)])
    return "\n".join([heading, *rows])


def ended(counts: Counter[str]) -> str:
    """Return how many of all have ended: ``7/10 ended``."""
    return f"{sum(counts[state] for state in FINAL_STATES)}/{counts.total() if counts else 0} ended"


def as_html(board: Board, title: str, *, details: bool = False) -> str:
    """Return the same as HTML; with ``details`` the table by endpoint stands folded below."""
    counts = board.counts()
    states = " · ".join(f"{state_html(state)} {counts[state]}" for state in STATES if counts[state])
    about = " · ".join([html.escape(title), ended(counts), clock(board.seconds)])
    note = f'<div class="fx-dim">{html.escape(board.note)}</div>' if board.note else ""
    table = f"<details><summary>by endpoint</summary>{by_endpoint(board)._repr_html_()}</details>" * details
    return block(f"<div>{about}</div><div>{states or 'no tasks'}</div>{note}{table}")


def by_endpoint(board: Board) -> Table:
    """Return a table: how many are in which state at each endpoint, and seconds in functions."""
    used = [state for state in STATES if board.counts()[state]]
    rows = []
    for name in board.endpoints:
        counts = board.counts(name)
        rows.append((name or "?", *(counts[state] or "" for state in used), clock(_run_time(board, name))))
    return Table("By endpoint", ("endpoint", *(LOOKS[state][1] for state in used), "time in functions"), rows)


def failures(board: Board) -> int:
    """Return how many failed so far."""
    return board.counts()[TaskState.FAILED.value]


def _run_time(board: Board, endpoint: str) -> float:
    rows = [row for row in list(board.rows.values()) if row.endpoint == endpoint and row.started]
    return sum(row.ended - row.started for row in rows if row.ended)


def _note(board: Board) -> list[str]:
    return [board.note] if board.note else []
