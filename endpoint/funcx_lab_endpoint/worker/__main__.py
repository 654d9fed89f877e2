"""``python -m funcx_lab_endpoint.worker``: one serving session without Parsl, arguments as JSON on stdin."""

from __future__ import annotations

import json
import sys

from funcx_lab_endpoint.worker.session import serve


def main() -> None:
    """Read the session's arguments (they hold keys, so they are no command line) and serve."""
    serve(json.loads(sys.stdin.readline()))


if __name__ == "__main__":
    main()
