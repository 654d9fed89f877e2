"""Messages of the stream, ``GET /v3/stream``: a WebSocket of binary msgpack frames.

The client submits under task ids of its own making (the idempotency keys), subscribes to task
groups from a cursor, watches single tasks, follows events. Everything it is told it can ask for
again from the cursor it has reached: a push is a hint, the cursor is the truth.
"""

from __future__ import annotations

from typing import Any

import msgspec

from funcx_lab.protocol.messages import Codec, ErrorInfo, Event, FunctionBody, Number, ObjectRef, TaskOptions

#: One stream message may have this many bytes; the sender splits.
STREAM_LIMIT = 4 * 1024 * 1024


class NewTask(msgspec.Struct, frozen=True, array_like=True):
    """One task of a `Submit`."""

    task_id: str
    payload: bytes = b""
    object: ObjectRef | None = None


class OutcomeItem(msgspec.Struct, frozen=True, array_like=True):
    """A task's visible outcome.

    ``state`` is a final `TaskState`. ``cursor`` grows in commit order. ``owned`` says whether the
    endpoint that made it belongs to the asking user, who may then unpickle it.
    """

    cursor: Number
    task_id: str
    state: str
    payload: bytes = b""
    object: ObjectRef | None = None
    error: ErrorInfo | None = None
    endpoint_id: str = ""
    owned: bool = True
    #: Unix seconds: received, started, ended (0 if never)
    times: tuple[float, float, float] = (0.0, 0.0, 0.0)


class TaskCall(msgspec.Struct, frozen=True, array_like=True):
    """What a task calls, for whoever made it: ``GET /v3/tasks/{task_id}/call``."""

    task_id: str
    group_id: str
    endpoint_id: str
    endpoint_name: str
    function: FunctionBody
    payload: bytes = b""
    object: ObjectRef | None = None
    options: TaskOptions | None = None


# --- from the client --------------------------------------------------------------------------------


class Submit(msgspec.Struct, frozen=True, tag=True):
    """Tasks of one function on one endpoint. Answered by `Submitted` with the same ``request``."""

    request: Number
    endpoint: str
    function_id: str
    group_id: str
    tasks: list[NewTask]
    options: TaskOptions | None = None
    #: seconds that the first of the tasks waited in the client; 0 if it cannot say
    waited_s: float = 0.0


class Subscribe(msgspec.Struct, frozen=True, tag=True):
    """Tell me the outcomes of this group behind ``after``, from now on too."""

    group_id: str
    after: Number = 0


class Watch(msgspec.Struct, frozen=True, tag=True):
    """Tell me the outcomes of these tasks, now or when they end."""

    task_ids: list[str]


class Check(msgspec.Struct, frozen=True, tag=True):
    """Tell me which of these tasks you have not, though you acknowledged them: a `Failed` for each."""

    task_ids: list[str]


class Follow(msgspec.Struct, frozen=True, tag=True):
    """Tell me the task's events behind ``after``, from now on too."""

    task_id: str
    after: Number = 0


class Unfollow(msgspec.Struct, frozen=True, tag=True):
    """No more events of this task."""

    task_id: str


class CancelTasks(msgspec.Struct, frozen=True, tag=True):
    """Cancel these tasks. Answered by `Cancelled` with the same ``request``."""

    request: Number
    task_ids: list[str]


ClientMessage = Submit | Subscribe | Watch | Check | Follow | Unfollow | CancelTasks


# --- from the hub service ---------------------------------------------------------------------------


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """One task that was not accepted and why (an error body of the REST routes)."""

    task_id: str
    error: dict[str, Any]


class Submitted(msgspec.Struct, frozen=True, tag=True):
    """All tasks of ``request`` but the refused ones are on disk."""

    request: Number
    refused: list[Refusal] = []


class Outcomes(msgspec.Struct, frozen=True, tag=True):
    """Outcomes of subscribed groups and watched tasks.

    ``submitted`` names requests that are on disk with nothing refused: a `Submitted` each, saved.
    """

    items: list[OutcomeItem]
    submitted: list[Number] = []


class TaskEvents(msgspec.Struct, frozen=True, tag=True):
    """Events of a followed task: ``(seq, event)``, ``seq`` growing. ``last``: nothing more will come."""

    task_id: str
    events: list[tuple[Number, Event]]
    last: bool = False


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    """Which of the tasks are cancelled now; the others had already ended."""

    request: Number
    task_ids: list[str]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A request failed as a whole (``request`` 0: none in particular). ``error`` is an error body."""

    request: Number
    error: dict[str, Any]
    task_id: str = ""


ServiceMessage = Submitted | Outcomes | TaskEvents | Cancelled | Failed

#: Decodes what a client sends.
client_codec: Codec[ClientMessage] = Codec(ClientMessage)
#: Decodes what the hub service sends.
service_codec: Codec[ServiceMessage] = Codec(ServiceMessage)
