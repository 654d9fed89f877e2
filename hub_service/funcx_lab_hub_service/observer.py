"""What may look on while tasks pass: told of each step, on the loop's thread, and never asked anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from funcx_lab.protocol.messages import ResultItem, TaskItem
    from funcx_lab.protocol.stream import NewTask
    from funcx_lab_hub_service.conditions import Condition
    from funcx_lab_hub_service.store.outcomes import Ended


class Observer:
    """Looks on and does nothing; whoever wants to know more overrides what it needs.

    Every method is on the way of each task: none may wait, read the store or raise.
    """

    def submitted(self, tasks: Sequence[NewTask], waited_s: float) -> None:
        """Hear that a client sent these tasks; the first of them waited ``waited_s`` seconds there."""

    def dispatched(self, items: Sequence[TaskItem]) -> None:
        """Hear that these tasks leave for their endpoint."""

    def arrived(self, results: Sequence[ResultItem]) -> None:
        """Hear that these results came from an endpoint; they are not yet stored."""

    def ended(self, ended: Sequence[Ended]) -> None:
        """Hear that these tasks have ended; their clients are told in this turn of the loop."""

    def conditioned(self, endpoint_id: str, condition: Condition) -> None:
        """Hear of an endpoint's condition, at each of its heartbeats."""
