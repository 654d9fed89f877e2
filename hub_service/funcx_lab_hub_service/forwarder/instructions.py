"""What a dispatch state tells the forwarder to do, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.messages import EventBatch, ForwarderMessage, ResultItem, TaskItem

Lease: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a connection."""

    peer: bytes
    message: ForwarderMessage


@dataclass(frozen=True, slots=True)
class SendTasks:
    """Send leases, and first the bodies of these functions, split into messages of a bearable size."""

    peer: bytes
    session: int
    functions: Sequence[str]
    items: Sequence[TaskItem]


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Store a granted session."""

    session: int
    instance: str
    spool: str


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Compare the inventory with the leases; answer with ``reconciled``."""

    session: int
    spool: str
    inventory: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Lease queued tasks, one a tag, up to so many bytes; answer with ``fetched``."""

    session: int
    tags: Sequence[int]
    size_limit: int


@dataclass(frozen=True, slots=True)
class StoreStarted:
    """Store that these run: ``(task_id, tag, execution, time, worker)``."""

    tasks: Sequence[tuple[str, int, str, float, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class StoreEvents:
    """Store events; acknowledge them to ``peer`` after the commit."""

    peer: bytes
    session: int
    batches: Sequence[EventBatch]


@dataclass(frozen=True, slots=True)
class StoreResults:
    """Judge outcomes at their turn; answer with ``judged``."""

    peer: bytes
    session: int
    results: Sequence[ResultItem]


@dataclass(frozen=True, slots=True)
class StoreLosses:
    """Count lost executions at their turn; answer with ``judged``."""

    peer: bytes
    session: int
    tasks: Sequence[tuple[str, int, str, str]]


@dataclass(frozen=True, slots=True)
class AcknowledgeSoon:
    """Call ``acknowledge`` in a moment, for what gathers until then."""


@dataclass(frozen=True, slots=True)
class Online:
    """The endpoint is there; its last status report, and its environment if that is new."""

    details: dict[str, Any] = field(default_factory=dict)
    environment: Environment | None = None


@dataclass(frozen=True, slots=True)
class Offline:
    """The endpoint is gone.

    ``said``: what it said when it left, ``""`` if it fell silent; ``silence_s``: when it was heard last.
    """

    said: str
    silence_s: float = 0.0


Instruction: TypeAlias = (
    Send
    | SendTasks
    | OpenSession
    | Reconcile
    | Fetch
    | StoreStarted
    | StoreEvents
    | StoreResults
    | StoreLosses
    | AcknowledgeSoon
    | Online
    | Offline
)
