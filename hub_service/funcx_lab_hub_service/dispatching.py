"""What the rules of tasks ask of the forwarder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.stream import NewTask


class Offer(Protocol):
    """Leases for the first tasks of a submit, to be sent once their insert is in the writer's queue."""

    @property
    def session(self) -> int:
        """The session that they belong to."""

    @property
    def tags(self) -> Sequence[int]:
        """One a task, in the tasks' order."""

    def send(self) -> None:
        """Send the tasks to their endpoint."""


class Dispatcher(Protocol):
    """What the rules ask of the forwarder."""

    def offer(
        self, endpoint_id: str, function_id: str, tasks: Sequence[NewTask], options: TaskOptions | None
    ) -> Offer | None:
        """Return leases for as many of the tasks as may leave before their commit; None for none."""

    def queued(self, endpoint_id: str) -> None:
        """Tasks for this endpoint are in the writer's queue, to be leased from the store."""

    def withdraw(self, endpoint_id: str, leases: Sequence[tuple[str, int]]) -> None:
        """Forget these offered leases, and no others of the same tasks: their insert failed."""

    def cancelled(self, endpoint_id: str, leases: Sequence[tuple[str, int | None]]) -> None:
        """Tell the endpoint that these tasks have ended: it may stop them."""
