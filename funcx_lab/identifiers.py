"""Ids that clients make themselves; a task's id is also its idempotency key."""

from __future__ import annotations

import os
import random
import time

_VERSION_7 = 0x7000 << 64
_VARIANT = 0b10 << 62
_RANDOM_74 = (0xFFF << 64) | ((1 << 62) - 1)

# A source of our own: a notebook's random.seed(0) must not make two kernels draw the same ids. It is no
# secret, and cheaper than asking the kernel for each task.
_source = random.Random()  # noqa: S311  # ids need to be unique, not unguessable
os.register_at_fork(after_in_child=_source.seed)


def new_id() -> str:
    """Return a new UUID of version 7 as text: time-ordered, 74 random bits, safe after a fork."""
    milliseconds = time.time_ns() // 1_000_000
    drawn = _source.getrandbits(76) & _RANDOM_74
    text = f"{milliseconds << 80 | _VERSION_7 | _VARIANT | drawn:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
