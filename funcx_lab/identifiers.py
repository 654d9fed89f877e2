"""Ids that clients make themselves; a task's id is also its idempotency key."""

from __future__ import annotations

import os
import time

_VERSION_7 = 0x7000 << 64
_VARIANT = 0b10 << 62
_RANDOM_74 = (0xFFF << 64) | ((1 << 62) - 1)


def new_id() -> str:
    """Return a new UUID of version 7 as text: time-ordered, 74 random bits, safe after a fork."""
    # os.urandom asks the kernel: a forked child never repeats its parent's ids.
    random = int.from_bytes(os.urandom(10), "big") & _RANDOM_74
    milliseconds = time.time_ns() // 1_000_000
    text = f"{milliseconds << 80 | _VERSION_7 | _VARIANT | random:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
