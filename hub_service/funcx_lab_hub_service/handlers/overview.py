"""How endpoints look in lists and to a watching page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from funcx_lab.protocol.states import EndpointState, TaskState
from funcx_lab_hub_service.store.records import STATES

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.conditions import Condition
    from funcx_lab_hub_service.handlers.services import Services
    from funcx_lab_hub_service.tasks import Live


def endpoint_documents(
    services: Services, principal: Principal, live: Live | None = None
) -> list[dict[str, Any]]:
    """Return the endpoints that the principal sees, oldest first, with what of theirs is there.

    ``live`` is what `Tasks.live` has just returned, to save asking again.
    """
    endpoints = services.endpoints
    queues = _queues(services.tasks.live(principal) if live is None else live)
    documents = []
    for record in endpoints.list(principal):
        condition = endpoints.condition(record.endpoint_id)
        waiting, running = queues.get(record.endpoint_id, (0, 0))
        documents.append(
            {
                "name": record.name,
                "endpoint_id": record.endpoint_id,
                **endpoints.sharing(principal, record),
                "state": str(condition.state),
                "status": str(condition.state),
                "reason": condition.reason or condition.waiting_reason,
                "since": condition.since,
                "queue": {"waiting": waiting, "running": running},
                "workers": _workers(condition),
                "blocks": _blocks(condition),
            }
        )
    return documents


def _queues(live: Live) -> dict[str, tuple[int, int]]:
    """Return how many tasks wait and run at each endpoint that has any."""
    queues: dict[str, tuple[int, int]] = {}
    for endpoint_id, code, n in live:
        waiting, running = queues.get(endpoint_id, (0, 0))
        is_running = STATES[code] is TaskState.RUNNING
        queues[endpoint_id] = (waiting + n * (not is_running), running + n * is_running)
    return queues


def _workers(condition: Condition) -> dict[str, int] | None:
    """Return the workers that its agent reports; None while it is away, or if it does not say."""
    up, busy = (_count(condition.details.get(name)) for name in ("workers", "busy"))
    if condition.state is not EndpointState.ONLINE or up is None:
        return None
    busy = min(busy or 0, up)
    blocks = _blocks(condition) or {}
    return {"busy": busy, "idle": up - busy, "pending": blocks.get("pending", 0)}


def _blocks(condition: Condition) -> dict[str, int] | None:
    """Return how many blocks are in which state; None while it is away, or if it does not say."""
    blocks = condition.details.get("blocks")
    if condition.state is not EndpointState.ONLINE or not isinstance(blocks, dict):
        return None
    states = (facts.get("state") for facts in blocks.values() if isinstance(facts, dict))
    return dict(Counter(state for state in states if isinstance(state, str)))


def _count(value: Any) -> int | None:
    """Return a number that an agent reports, None for anything else: it reports what it likes."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
