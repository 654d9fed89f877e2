"""The service itself: is it up, what does it speak, who am I, how much is there."""

from __future__ import annotations

from typing import Any

import funcx_lab
from funcx_lab_hub_service.handlers.base import Handler


class HealthHandler(Handler):
    """Whether the process answers; tells nothing else."""

    public = True

    def get(self) -> None:
        """Answer; a damaged database is only read."""
        self.answer({"status": "read-only" if self.services.gate.damage else "ok"})


class VersionHandler(Handler):
    """What a Globus Compute client checks before it starts."""

    public = True

    def get(self) -> None:
        """Answer the versions; any client will do."""
        self.answer({"api": funcx_lab.__version__, "min_sdk_version": "0.0.1", "min_ep_version": "0.0.1"})


class WhoAmIHandler(Handler):
    """Who the token stands for, and what is wrong with the service's database or worth knowing of it."""

    for_agents = for_pages = True

    def get(self) -> None:
        """Answer user, kind and endpoint."""
        principal, gate = self.principal, self.services.gate
        document: dict[str, Any] = {
            "user": principal.user,
            "kind": principal.kind,
            "endpoint_id": principal.endpoint_id,
        }
        if self.services.hub is not None:
            document |= {"groups": sorted(principal.groups), "scopes": sorted(principal.scopes)}
        said = {"damage": gate.damage, "notice": gate.notice} if principal.kind == "user" else {}
        self.answer(document | {name: text for name, text in said.items() if text})


class StatsHandler(Handler):
    """How many tasks are in which state."""

    def get(self) -> None:
        """Answer the asking user's counts."""
        tasks, user = self.services.tasks, self.principal
        self.answer({"tasks": tasks.counts(user), "late_outcomes": tasks.late_outcomes(user)})


routes = [
    ("/healthz", HealthHandler),
    ("/v2/version", VersionHandler),
    ("/v3/whoami", WhoAmIHandler),
    ("/v3/stats", StatsHandler),
]
