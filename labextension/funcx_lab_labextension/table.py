"""What the browser may ask of the hub service, and nothing else."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode

#: One part of a path; escapes are refused, so that no two programs can read a path differently.
_PART = r"[A-Za-z0-9_.~@:+=,-]+"
_WORD = r"[A-Za-z0-9_-]{1,128}"

#: Methods by path; ``{}`` is a name or an id.
_ROUTES: dict[str, frozenset[str]] = {
    path: frozenset(methods.split())
    for path, methods in {
        "v2/endpoints/{}": "GET",
        "v2/endpoints/{}/status": "GET",
        "v2/functions/{}": "GET",
        "v3/endpoints": "GET",
        "v3/endpoints/{}/environment": "GET",
        "v3/endpoints/{}/shares": "GET POST DELETE",
        "v3/functions": "GET",
        "v3/stats": "GET",
        "v3/tasks": "GET",
        "v3/tasks/cancel": "POST",
        "v3/tasks/{}": "GET",
        "v3/tasks/{}/events": "GET",
        "v3/tasks/{}/inputs": "GET",
        "v3/tasks/{}/retry": "POST",
        "v3/whoami": "GET",
    }.items()
}
_PATTERNS = [
    (re.compile(path.replace(".", r"\.").replace("{}", _WORD)), methods) for path, methods in _ROUTES.items()
]
_DASHBOARD_PATH = re.compile(rf"(?:{_PART}/)*(?:{_PART})?")
_SOCKETS = frozenset({"v3/watch"})
_LONGEST_PATH = 1000

#: Query arguments that are between the browser and the Jupyter server.
_NOT_PASSED = frozenset({"token", "_xsrf", "no_track_activity"})


def methods_of(path: str) -> frozenset[str]:
    """Return the methods with which ``path`` (behind ``funcx-lab/api/``) may be asked; none if it may not."""
    found: frozenset[str] = frozenset()
    for pattern, methods in _PATTERNS:
        if pattern.fullmatch(path):
            found |= methods
    return found


def is_socket(path: str) -> bool:
    """Return whether ``path`` (behind ``funcx-lab/api/``) is a WebSocket."""
    return path in _SOCKETS


def is_dashboard(path: str) -> bool:
    """Return whether ``path`` (behind ``funcx-lab/dash/``) stays below the dashboards."""
    if len(path) > _LONGEST_PATH or not _DASHBOARD_PATH.fullmatch(path):
        return False
    return not {".", ".."}.intersection(path.split("/"))


def passed_query(query: str) -> str:
    """Return the query arguments that the hub service gets.

    Those are not among them that pages add for the Jupyter server: its token, and a number against caches.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    return urlencode(
        [(name, value) for name, value in pairs if name not in _NOT_PASSED and (value or not name.isdigit())]
    )
