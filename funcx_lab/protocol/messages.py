"""Messages between the forwarder and an endpoint's agent (ZeroMQ), and what both wires share.

Every message is one frame of msgpack, decoded strictly into one of these structs. Ids are UUID
strings. A *tag* names one lease of one task: ``boot << 40 | counter`` of the hub service, so it
never repeats and a newer lease compares greater. A *session* is numbered likewise. An *execution*
(``execution``) names one run of a task at the agent and never repeats there.
Times are Unix seconds by the sender's clock and are for display only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import msgspec

from funcx_lab.errors import MalformedMessage
from funcx_lab.protocol.environment import Environment

#: One frame may have this many bytes; senders split below it.
FRAME_LIMIT = 16 * 1024 * 1024
#: Senders close a message when its payloads reach this many bytes.
MESSAGE_TARGET = 4 * 1024 * 1024

#: The longest walltime and time to live, in seconds (ten years): clocks end somewhere behind it.
LONGEST_S = 10 * 365 * 86400.0
#: What a session may be called.
SESSION_NAME = re.compile(r"[\w.-]{1,64}")
#: Characters of a label, and how often a call may be run again when asked to.
LABEL_LIMIT, RETRIES_LIMIT = 200, 1_000_000

#: What the database can hold: larger numbers are refused with the message they came in.
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

T = TypeVar("T")


class ObjectRef(msgspec.Struct, frozen=True, array_like=True):
    """A payload that is stored as an object because it is too large for a message."""

    #: hex digest, the object's name
    sha256: str
    #: bytes
    size: Number


class TaskOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a user may ask of one call."""

    #: stop the call after this many seconds
    walltime_s: float | None = None
    #: never run again once it may have started
    at_most_once: bool = False
    #: shown in tables
    label: str | None = None
    #: run it again so often when the function raised or was stopped at its walltime
    retries: Number = 0
    #: end it as expired when it has not ended so many seconds after it was received
    ttl_s: float | None = None
    #: run it in the warm namespace of this name, on the one worker that has it
    session: str | None = None
    #: key of the code; a stored result of the same code, input and environment may stand for a run
    memo: str | None = None
    #: with ``memo``: run it all the same, and store the result
    fresh: bool = False
    #: the items of a map that this task computes: ``(first, count, total)``
    items: tuple[Number, Number, Number] | None = None
    #: packages that must be there, as pip names them: ``["numpy>=2"]``
    requires: list[str] = []
    #: the task whose call this one repeats
    repeats: str | None = None


class FunctionBody(msgspec.Struct, frozen=True, array_like=True):
    """A registered function as it travels to where it runs."""

    function_id: str
    #: hex digest of ``body``; checked again before it runs
    sha256: str
    #: ``"funcx-lab"`` (a payload), ``"globus"`` (packed text) or ``"globus-source"`` (plain source)
    format: str
    name: str
    body: bytes


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a task's log.

    ``kind`` is one of ``stdout``, ``stderr`` (data: text), ``display``, ``update_display`` (data:
    mapping ``{"data": {mime: text}, "metadata": {...}, "transient": {...}}``), ``clear``,
    ``progress``, ``state`` (data: ``{"state": ..., "reason": ...}``) and ``error``.
    """

    time: float
    kind: str
    data: Any


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a task failed, in words that need no unpickling."""

    #: an error code of funcx_lab.errors; ``TASK_FAILED`` when the user's function raised
    code: str
    message: str
    #: the exception's type, e.g. ``"ZeroDivisionError"``
    type: str = ""
    #: the remote traceback as text, without frames of ours
    traceback: str = ""
    details: dict[str, Any] = {}


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """How an execution ended."""

    ok: bool
    #: the result, or the pickled exception; empty if it travels as ``object`` or there is none
    payload: bytes = b""
    object: ObjectRef | None = None
    error: ErrorInfo | None = None
    started: float = 0.0
    ended: float = 0.0
    #: facts about where it ran: host, pid, python, block, manager, worker
    worker: dict[str, Any] = {}


class EventBatch(msgspec.Struct, frozen=True, array_like=True):
    """Events ``first``, ``first + 1``, ... of one execution."""

    task_id: str
    execution: str
    first: Number
    events: list[Event]


class TaskItem(msgspec.Struct, frozen=True, array_like=True):
    """One task on its way to the agent."""

    task_id: str
    tag: Number
    function_id: str
    payload: bytes = b""
    object: ObjectRef | None = None
    options: TaskOptions | None = None


class ResultItem(msgspec.Struct, frozen=True, array_like=True):
    """One outcome on its way to the hub service, with the events it has not yet acknowledged."""

    task_id: str
    tag: Number
    execution: str
    outcome: Outcome
    events: EventBatch | None = None
    #: seconds from the task's coming to the agent until this left; 0 if the agent cannot say
    held_s: float = 0.0


# --- from the agent ---------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag=True):
    """Ask for a session. ``nonce`` is new at each connection attempt and comes back in `Welcome`."""

    version: int
    nonce: str
    instance: str
    spool: str
    takeover: bool = False


class Inventory(msgspec.Struct, frozen=True, tag=True):
    """Every task the agent holds: ``(task_id, tag)``. Sent once in a granted session."""

    session: Number
    tasks: list[tuple[str, Number]]


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The agent holds these leases now: ``(task_id, tag)``."""

    session: Number
    tasks: list[tuple[str, Number]]


class Started(msgspec.Struct, frozen=True, tag=True):
    """These are in the user's function now: ``(task_id, tag, execution, time, worker)``."""

    session: Number
    tasks: list[tuple[str, Number, str, float, dict[str, Any]]]


class Events(msgspec.Struct, frozen=True, tag=True):
    """New output of running tasks."""

    session: Number
    batches: list[EventBatch]


class Results(msgspec.Struct, frozen=True, tag=True):
    """Outcomes; each is kept by the agent until `ResultAck` names it.

    ``session`` is 0 from an agent that was refused as ``ENDPOINT_BUSY``: what it finished still counts.
    """

    session: Number
    results: list[ResultItem]


class Lost(msgspec.Struct, frozen=True, tag=True):
    """Executions whose worker died while they ran: ``(task_id, tag, execution, evidence)``.

    ``session`` may be 0 as in `Results`.
    """

    session: Number
    tasks: list[tuple[str, Number, str, str]]


class Digest(msgspec.Struct, frozen=True, array_like=True):
    """What the agent holds, in short: the unfinished leases up to tag ``mark``.

    Both sides make it with `digest_of`; the same difference twice in a row ends the session.
    """

    mark: Number
    count: Number
    #: hex
    value: str


class Heartbeat(msgspec.Struct, frozen=True, tag=True):
    """Alive, every 5 seconds, and a status report for people; every 30 s with a digest.

    ``environment``: what the workers have, once a session and when it has changed.
    """

    session: Number
    status: dict[str, Any]
    digest: Digest | None = None
    environment: Environment | None = None


class Bye(msgspec.Struct, frozen=True, tag=True):
    """The agent stops on purpose."""

    session: Number
    reason: str


AgentMessage = Hello | Inventory | Accepted | Started | Events | Results | Lost | Heartbeat | Bye


# --- from the forwarder -----------------------------------------------------------------------------


class Welcome(msgspec.Struct, frozen=True, tag=True):
    """The session is granted; ``nonce`` repeats the one of `Hello`."""

    session: Number
    nonce: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """No session: ``code`` is ``ENDPOINT_BUSY``, ``VERSION_MISMATCH`` or ``REVOKED``."""

    nonce: str
    code: str
    message: str


class Reconciled(msgspec.Struct, frozen=True, tag=True):
    """The inventory was compared; ``unknown`` and ``drop`` are leases ``(task_id, tag)``."""

    session: Number
    unknown: list[tuple[str, Number]]
    drop: list[tuple[str, Number]]


class Tasks(msgspec.Struct, frozen=True, tag=True):
    """Leases to run, with the functions that this session has not had yet."""

    session: Number
    functions: list[FunctionBody]
    tasks: list[TaskItem]


class ResultAck(msgspec.Struct, frozen=True, tag=True):
    """These results (or losses) are committed or void: ``(task_id, execution)``."""

    session: Number
    results: list[tuple[str, str]]


class UnknownTasks(msgspec.Struct, frozen=True, tag=True):
    """Results for tasks whose insert never committed; keep them for their grace time."""

    session: Number
    tasks: list[tuple[str, Number]]


class EventsAck(msgspec.Struct, frozen=True, tag=True):
    """Events below ``next`` are stored: ``(task_id, execution, next)``."""

    session: Number
    batches: list[tuple[str, str, Number]]


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Stop these leases: ``(task_id, tag)``."""

    session: Number
    tasks: list[tuple[str, Number]]


class Stale(msgspec.Struct, frozen=True, tag=True):
    """``session`` is over; say hello again."""

    session: Number


ForwarderMessage = (
    Welcome | Refused | Reconciled | Tasks | ResultAck | UnknownTasks | EventsAck | Cancel | Stale
)


def digest_of(mark: int, leases: Iterable[tuple[str, int]]) -> Digest:
    """Return the digest of the leases ``(task_id, tag)`` whose tag is ``mark`` or lower."""
    count = total = 0
    for task_id, tag in leases:
        if tag <= mark:
            count += 1
            total ^= int.from_bytes(
                hashlib.blake2b(f"{task_id} {tag}".encode(), digest_size=8).digest(), "big"
            )
    return Digest(mark, count, f"{total:016x}")


class Codec(Generic[T]):
    """Encode any message of a wire; decode one side's messages strictly.

    Parameters
    ----------
    union : type
        The union of message structs that may arrive.
    """

    def __init__(self, union: Any) -> None:
        self.encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(union).decode

    def decode(self, frame: bytes | memoryview) -> T:
        """Return the message in ``frame``.

        Raises
        ------
        MalformedMessage
            If the frame is not exactly one of the wire's messages.
        """
        try:
            return self._decode(frame)  # type: ignore[no-any-return]  # msgspec cannot type a union held as a value
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
            raise MalformedMessage(f"A frame of {len(frame)} bytes was refused: {err}") from err


#: Decodes what an agent sends.
agent_codec: Codec[AgentMessage] = Codec(AgentMessage)
#: Decodes what the forwarder sends.
forwarder_codec: Codec[ForwarderMessage] = Codec(ForwarderMessage)
