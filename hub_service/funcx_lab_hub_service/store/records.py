"""What the store's rows become: frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from funcx_lab.protocol.messages import ErrorInfo, TaskOptions
from funcx_lab.protocol.states import TaskState

#: The number that stands for a state in the database is its place here.
STATES: tuple[TaskState, ...] = tuple(TaskState)
CODES: dict[TaskState, int] = {state: code for code, state in enumerate(STATES)}


@dataclass(frozen=True, slots=True)
class FunctionRecord:
    """A registered function, without its body."""

    key: int
    function_id: str
    owner: str
    name: str
    #: ``"funcx-lab"``, ``"globus"`` or ``"globus-source"``
    format: str
    sha256: str
    meta: dict[str, Any]
    #: Unix seconds
    created: float


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """A registered endpoint."""

    key: int
    endpoint_id: str
    owner: str
    name: str
    metadata: dict[str, Any]
    #: Unix seconds
    created: float
    #: Unix seconds at which its agent last came or went; None if it never connected
    seen: float | None
    #: the agent's CURVE key (Z85); None before it enrolled
    public_key: str | None


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task as its owner sees it; payload and result are read on their own."""

    key: int
    task_id: str
    task_group_id: str
    owner: str
    function_id: str
    function_name: str
    endpoint_id: str
    endpoint_name: str
    state: TaskState
    #: why it is in this state, for people; ``""`` if there is nothing to say
    reason: str
    options: TaskOptions
    #: the lease it is out under, or None
    tag: int | None
    #: runs that a dying worker ended
    losses: int
    #: events in its log, the derived first and last ``state`` not counted
    events: int
    #: the execution that gave the outcome, if it left events
    execution: str | None
    #: Unix seconds; None if it never was
    received: float
    started: float | None
    ended: float | None
    outcome_seq: int | None
    error: ErrorInfo | None
    worker: dict[str, Any]

    @property
    def attempts(self) -> int:
        """How many runs of it are known."""
        poisoned = self.error is not None and self.error.code == "TASK_POISONED"
        ran_on = self.state is TaskState.SUCCESS or (self.started is not None and not poisoned)
        return self.losses + ran_on

    def as_document(self) -> dict[str, Any]:
        """Return the record as the REST routes show it."""
        error = self.error
        return {
            "task_id": self.task_id,
            "task_group_id": self.task_group_id,
            "function_id": self.function_id,
            "function_name": self.function_name,
            "endpoint_id": self.endpoint_id,
            "endpoint_name": self.endpoint_name,
            "state": str(self.state),
            "reason": self.reason,
            "label": self.options.label,
            "items": self.options.items,
            "received": self.received,
            "started": self.started,
            "ended": self.ended,
            "attempts": self.attempts,
            "error": None
            if error is None
            else {
                "code": error.code,
                "message": error.message,
                "type": error.type,
                "traceback": error.traceback,
            },
            "worker": self.worker,
        }
