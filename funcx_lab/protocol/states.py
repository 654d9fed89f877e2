"""The states of a task and of an endpoint, and which move may follow which."""

from __future__ import annotations

import enum


class TaskState(str, enum.Enum):
    """Where a task is; funcX's spelling. Only the hub service changes it."""

    #: accepted by the hub service and on its disk
    RECEIVED = "received"
    #: its endpoint is offline or has no credit left
    WAITING_FOR_EP = "waiting-for-ep"
    #: at the endpoint, which has no worker up yet
    WAITING_FOR_NODES = "waiting-for-nodes"
    #: at the endpoint, in line for a worker
    WAITING_FOR_LAUNCH = "waiting-for-launch"
    #: a worker is in the user's function
    RUNNING = "running"
    #: ended with a value
    SUCCESS = "success"
    #: ended with an error
    FAILED = "failed"
    #: ended by its user
    CANCELLED = "cancelled"
    #: waited longer than its time to live
    EXPIRED = "expired"

    def __str__(self) -> str:
        return self.value

    @property
    def is_final(self) -> bool:
        """Whether no move leads out of this state."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED, TaskState.EXPIRED})

#: From each state, the states that may follow. A live task may go back and forth, since workers and
#: endpoints come and go, but never back to received; an ended one stays as it is.
ALLOWED_MOVES: dict[TaskState, frozenset[TaskState]] = {
    state: frozenset() if state.is_final else frozenset(TaskState) - {TaskState.RECEIVED, state}
    for state in TaskState
}


class EndpointState(str, enum.Enum):
    """Whether an endpoint can take tasks now."""

    #: registered, its agent never connected
    REGISTERED = "registered"
    #: its agent is connected and was heard within 15 seconds
    ONLINE = "online"
    #: its agent is not connected
    OFFLINE = "offline"

    def __str__(self) -> str:
        return self.value
