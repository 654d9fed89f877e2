"""The outcomes that the hub service gives a task itself, and how it reads those of endpoints."""

from __future__ import annotations

import msgspec

from funcx_lab.protocol.messages import ErrorInfo, Outcome
from funcx_lab.protocol.states import TaskState

#: So many runs may die with their worker before the task is given up.
LOSS_LIMIT = 3
_SHA256_LENGTH, _SIZE_LIMIT = 64, 1 << 63
_STATES = {"TASK_CANCELLED": TaskState.CANCELLED, "TASK_EXPIRED": TaskState.EXPIRED}


def state_of(outcome: Outcome) -> TaskState:
    """Return the state that an outcome leads to."""
    if outcome.ok:
        return TaskState.SUCCESS
    code = "" if outcome.error is None else outcome.error.code
    return _STATES.get(code, TaskState.FAILED)


def checked(outcome: Outcome) -> Outcome:
    """Return the outcome, a failed one with an error, one with an impossible object as failed."""
    reference = outcome.object
    if reference is not None and not (
        len(reference.sha256) == _SHA256_LENGTH and 0 <= reference.size < _SIZE_LIMIT
    ):
        error = ErrorInfo("MALFORMED_MESSAGE", "The endpoint named an object that cannot be one.")
        return Outcome(False, error=error, worker=outcome.worker)
    if outcome.ok or outcome.error is not None:
        return outcome
    error = ErrorInfo("TASK_ERROR", "The endpoint reported a failure without saying why.")
    return msgspec.structs.replace(outcome, error=error)


def cancelled_by_user(now: float) -> Outcome:
    """Return the end of a task that its user cancelled at ``now`` (Unix seconds)."""
    return _failed("TASK_CANCELLED", "The task was cancelled.", now)


def expired(after_s: float, now: float) -> Outcome:
    """Return the end of a task whose time to live of ``after_s`` seconds was over at ``now``."""
    message = (
        f"The task had not ended {_duration(after_s)} after it was received, which is its time to live; "
        "submit it again, with a longer ttl if need be."
    )
    return _failed("TASK_EXPIRED", message, now)


def poisoned(evidence: str) -> Outcome:
    """Return the end of a task whose last worker died with ``evidence``."""
    message = (
        f"The task was running each time that {LOSS_LIMIT} workers died, so it is not tried again. {evidence}"
    )
    return _failed("TASK_POISONED", message.strip())


def abandoned(endpoint: str) -> Outcome:
    """Return the end of a task whose endpoint was deleted."""
    message = f"Endpoint {endpoint!r} was deleted before the task ended; submit it to another endpoint."
    return _failed("ENDPOINT_NOT_FOUND", message)


def lost_unknown() -> Outcome:
    """Return the end of an at_most_once task of which nobody knows whether it ran."""
    message = (
        "The task was handed to its endpoint once, and the endpoint cannot say how it ended; "
        "at_most_once forbids another run."
    )
    return _failed("LOST_UNKNOWN", message)


def _failed(code: str, message: str, ended: float = 0.0) -> Outcome:
    return Outcome(False, error=ErrorInfo(code, message), ended=ended)


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"
