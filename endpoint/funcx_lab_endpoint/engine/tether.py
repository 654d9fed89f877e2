"""``python -m funcx_lab_endpoint.engine.tether COMMAND ...``: a command that ends with its parent (Linux).

Parsl's interchange outlives whoever started it, and keeps the managers of all blocks waiting for a
program that is gone. Tethered, it is killed with the engine process, and the managers follow it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def signal_at_parents_end(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends; does nothing where it cannot."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def main() -> None:
    """Become the command."""
    signal_at_parents_end(signal.SIGKILL)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  # the words are the engine's own


if __name__ == "__main__":
    main()
