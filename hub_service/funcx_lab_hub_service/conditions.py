"""How an endpoint is, in words that people read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from funcx_lab.protocol.states import EndpointState


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether an endpoint can take tasks now, as people are told."""

    state: EndpointState
    #: Unix seconds at which it came into this state
    since: float
    #: why it cannot take or start tasks; ``""`` if it can
    reason: str = ""
    #: the last heartbeat's status report
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def waiting_reason(self) -> str:
        """Why tasks at the endpoint have no worker yet, as its agent says."""
        reason = self.details.get("waiting_reason")
        return reason if isinstance(reason, str) else ""


def offline_reason(since: float) -> str:
    """Return what people read about an endpoint that is gone since ``since`` (Unix seconds)."""
    return f"endpoint offline since {_clock_text(since)}"


def unheard_reason(started: float, seen: float) -> str:
    """Return what people read about an endpoint that was there in an earlier life of the service."""
    return (
        f"endpoint not connected since the hub service started at {_clock_text(started)}; "
        f"it came or went last at {_clock_text(seen)}"
    )


def _clock_text(moment: float) -> str:
    """Return the local time, with the date unless that is today's."""
    then, now = time.localtime(moment), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M:%S", then)
