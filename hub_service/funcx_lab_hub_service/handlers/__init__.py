"""The routes: one resource a file, each ends in its ``routes``."""

from __future__ import annotations

import re

from funcx_lab_hub_service.handlers import (
    calls,
    endpoints,
    functions,
    globus_tasks,
    login,
    objects,
    poll,
    service,
    shares,
    stream,
    submit,
    tasks,
    watch,
)
from funcx_lab_hub_service.handlers.base import Guard

#: ``(path with {names}, handler)``, as in ``openapi.yaml``.
routes: list[tuple[str, type[Guard]]] = [
    *service.routes,
    *functions.routes,
    *endpoints.routes,
    *shares.routes,
    *submit.routes,
    *tasks.routes,
    *calls.routes,
    *globus_tasks.routes,
    *objects.routes,
    *stream.routes,
    *poll.routes,
    *login.routes,
    *watch.routes,
]

#: What browsers see, beside the dashboards.
pages: list[tuple[str, type[Guard]]] = [*login.pages]


def pattern(path: str) -> str:
    """Return the regular expression of a path with ``{names}``."""
    return re.sub(r"\{(\w+)\}", r"([^/]+)", path)
