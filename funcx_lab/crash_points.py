"""Places at which a test may end the process, as a power switch would.

Set ``FUNCX_LAB_CRASH_AT`` to ``NAME`` or ``NAME:N`` and the process ends with status 77 when it comes to
that place for the ``N``-th time (the first by default). Anyone who can set it could as well kill the process.
"""

from __future__ import annotations

import os

#: Every place, and what has just happened there.
CRASH_POINTS: dict[str, str] = {}

STATUS = 77
_name, _, _count = os.environ.get("FUNCX_LAB_CRASH_AT", "").partition(":")
_left = int(_count) if _count.isdigit() else 1


def crash_point(name: str) -> None:
    """End the process here if that was asked for."""
    if _name == name:
        _pass()


def _pass() -> None:
    global _left
    _left -= 1
    if _left <= 0:
        os._exit(STATUS)
