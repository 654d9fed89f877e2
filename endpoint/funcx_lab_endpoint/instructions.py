"""What the agent's state machine asks its loop to do, and what the object store answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from funcx_lab.protocol.messages import AgentMessage, ErrorInfo, FunctionBody, ObjectRef, Outcome
from funcx_lab_endpoint.changes import Change
from funcx_lab_endpoint.engine.contract import Call


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to the forwarder; void if the connection is gone by then."""

    message: AgentMessage


@dataclass(frozen=True, slots=True)
class Learn:
    """Give the engine a function whose hash is right."""

    function: FunctionBody


@dataclass(frozen=True, slots=True)
class Submit:
    """Give the engine calls."""

    calls: list[Call]


@dataclass(frozen=True, slots=True)
class CancelCall:
    """Stop the call of a task."""

    task_id: str


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Have the engine forget the call of a task if no worker has it; `AgentState.given_back` if it did."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring the arguments of a task onto this machine; ends in `Fetched`."""

    task_id: str
    tag: int
    reference: ObjectRef


@dataclass(frozen=True, slots=True)
class Release:
    """The object fetched for this task is not needed any more."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Upload:
    """Store a result file at the hub service; ends in `Uploaded`."""

    task_id: str
    execution: str
    path: Path
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Discard:
    """Delete a result file that nobody waits for."""

    path: Path


@dataclass(frozen=True, slots=True)
class Save:
    """Write these changes in one transaction; it is answered with `AgentState.saved`.

    ``whole``: they are all there is, and the spool is the one named.
    """

    number: int
    changes: list[Change]
    whole: str = ""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Give the connection up for a new one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The hub service refused a session: ``ENDPOINT_BUSY``, ``VERSION_MISMATCH`` or ``REVOKED``."""

    code: str
    message: str


Instruction: TypeAlias = (
    Send
    | Learn
    | Submit
    | CancelCall
    | GiveBack
    | Fetch
    | Release
    | Upload
    | Discard
    | Save
    | Reconnect
    | Refusal
)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The end of a `Fetch`: a file, or why there is none."""

    task_id: str
    tag: int
    path: Path | None = None
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The end of an `Upload`: the object's name, or why the hub service did not take it."""

    task_id: str
    execution: str
    outcome: Outcome
    reference: ObjectRef | None = None
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """The file of an `Upload` is safe on disk; the upload itself goes on."""

    task_id: str
    execution: str


ObjectFact: TypeAlias = Fetched | Kept | Uploaded
