"""What the store's rows become: frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from funcx_lab.protocol.messages import ErrorInfo, TaskOptions
from funcx_lab.protocol.states import TaskState

#: The number that stands for a state in the database is its place here.
STATES: tuple[TaskState, ...] = tuple(TaskState)
CODES: dict[TaskState, int] = {state: code for code, state in enumerate(STATES)}

#: Hex digits that a record shows of a SHA-256.
HASH_LENGTH = 12


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


class Reused(msgspec.Struct, frozen=True, array_like=True):
    """The run whose result a task was given instead of one of its own."""

    task_id: str
    #: Unix seconds
    ended: float
    #: seconds that it ran
    took: float

    def reason(self, now: float) -> str:
        """Return what people read about it, as of ``now`` (Unix seconds)."""
        return f"reused the result of …{self.task_id[-8:]}, {age(now - self.ended)} old"


def age(seconds: float) -> str:
    """Return a time for people: ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


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
    #: begin the SHA-256 of its code and of its arguments, 12 hex digits
    code_hash: str = ""
    input_hash: str = ""
    reused: Reused | None = None

    @property
    def reused_reason(self) -> str:
        """What people read about the result's origin; ``""`` if the task ran."""
        return "" if self.reused is None else self.reused.reason(self.received)

    @property
    def attempts(self) -> int:
        """How many runs of it are known."""
        if self.reused is not None:
            return 0
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
            "owner": self.owner,
            "endpoint_id": self.endpoint_id,
            "endpoint_name": self.endpoint_name,
            "state": str(self.state),
            "reason": self.reason,
            "label": self.options.label,
            "items": self.options.items,
            "session": self.options.session,
            "memo": self.options.memo is not None,
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
            "code_hash": self.code_hash,
            "input_hash": self.input_hash,
            "reused_from": None if self.reused is None else self.reused.task_id,
            "saved_s": None if self.reused is None else self.reused.took,
            "repeats": self.options.repeats,
        }
