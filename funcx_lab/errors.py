"""Every error of funcx-lab, in one tree.

FuncxLabError
├─ UsageError (ValueError)               called wrongly, before anything was sent
│  └─ InvalidName
├─ ConfigError                           a settings or config file that cannot be used
│  ├─ MissingExtra
│  └─ ServiceStartError
├─ EnvMismatch                           the endpoint lacks what the call imports; nothing was sent
├─ TransportError                        no answer from the hub service
│  ├─ ServiceUnreachable
│  └─ ServiceTimeout (TimeoutError)
├─ ServiceError                          an answer that says no
│  ├─ InvalidRequest 400
│  ├─ NotAuthenticated 401 · NotAuthorized 403
│  ├─ NotFound 404: FunctionNotFound, EndpointNotFound, TaskNotFound, TaskGroupNotFound, ObjectNotFound
│  ├─ Conflict 409 · TaskGone 410
│  ├─ PayloadTooLarge 413 · HashMismatch 422 · TooManyRequests 429
│  └─ ServiceUnavailable 503: StorageFull, StoreDamaged
├─ SerializationError
│  ├─ CannotSerialize · CannotDeserialize
│  └─ PythonMismatch · UntrustedResult
├─ TaskPending                           asked for a result that is not there yet
│  └─ ResultTimeout (TimeoutError)       waited for it as long as was asked for
├─ TaskError                             the task ended without a value
│  ├─ RemoteError                        the function raised
│  ├─ WorkerLost · EndpointLost · TaskPoisoned
│  ├─ WalltimeReached · ResultTooLarge
│  ├─ ShellError · RequirementsRefused · RequirementsFailed
│  ├─ InputRefused (EOFError)            the function asked for input
│  ├─ TaskCancelled (concurrent.futures.CancelledError)
│  └─ TaskExpired
└─ ProtocolError
   ├─ VersionMismatch
   └─ MalformedMessage

A class's docstring is its default message. ``code`` is what travels; ``number`` is the page in
``docs/reference/errors.md``; ``status`` is the HTTP status the hub service answers with.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

__all__ = [
    "CannotDeserialize",
    "CannotSerialize",
    "ConfigError",
    "Conflict",
    "EndpointLost",
    "EndpointNotFound",
    "EnvMismatch",
    "FunctionNotFound",
    "FuncxLabError",
    "HashMismatch",
    "InputRefused",
    "InvalidName",
    "InvalidRequest",
    "MalformedMessage",
    "MissingExtra",
    "NotAuthenticated",
    "NotAuthorized",
    "NotFound",
    "ObjectNotFound",
    "PayloadTooLarge",
    "ProtocolError",
    "PythonMismatch",
    "RemoteError",
    "RequirementsFailed",
    "RequirementsRefused",
    "ResultTimeout",
    "ResultTooLarge",
    "SerializationError",
    "ServiceError",
    "ServiceStartError",
    "ServiceTimeout",
    "ServiceUnavailable",
    "ServiceUnreachable",
    "ShellError",
    "StorageFull",
    "StoreDamaged",
    "TaskCancelled",
    "TaskError",
    "TaskExpired",
    "TaskGone",
    "TaskGroupNotFound",
    "TaskNotFound",
    "TaskPending",
    "TaskPoisoned",
    "TooManyRequests",
    "TransportError",
    "UntrustedResult",
    "UsageError",
    "VersionMismatch",
    "WalltimeReached",
    "WorkerLost",
    "error_classes",
    "error_from_document",
]


class FuncxLabError(Exception):
    """Something went wrong in funcx-lab.

    Parameters
    ----------
    message : str, optional
        What went wrong, where and what to do next; the class's docstring when left out.
    details : mapping, optional
        Facts as JSON values, also readable as attributes of ``details``.
    """

    code: ClassVar[str] = "FUNCX_LAB_ERROR"
    number: ClassVar[str] = "FX000"
    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None, *, details: Mapping[str, Any] | None = None) -> None:
        self.message = message if message is not None else default_message(type(self))
        self.details: dict[str, Any] = dict(details or {})
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.details)

    def as_document(self) -> dict[str, Any]:
        """Return the JSON error body that every route of the hub service answers with."""
        return {
            "status": "Failed",
            "code": self.code,
            "message": self.message,
            "reason": self.message,
            "details": self.details,
            "error_args": [],
            "http_status_code": self.status,
        }


def _rebuild(cls: type[FuncxLabError], message: str, details: dict[str, Any]) -> FuncxLabError:
    return cls(message, details=details)


def default_message(cls: type[FuncxLabError]) -> str:
    """Return the first paragraph of the class's docstring as one line."""
    return " ".join((cls.__doc__ or cls.__name__).split("\n\n")[0].split())


class UsageError(FuncxLabError, ValueError):
    """The call cannot work as written; nothing was sent."""

    code, number, status = "USAGE_ERROR", "FX100", 400


class InvalidName(UsageError):
    """A name must match [a-z0-9][a-z0-9_-]{0,62}."""

    code, number, status = "INVALID_NAME", "FX101", 400


class ConfigError(FuncxLabError):
    """A settings or config file cannot be used; the message names the file and the line."""

    code, number = "CONFIG_ERROR", "FX110"


class MissingExtra(ConfigError):
    """A part of funcx-lab is not installed; install the extra that the message names."""

    code, number = "MISSING_EXTRA", "FX111"


class ServiceStartError(ConfigError):
    """The local hub service did not start; its log says why. Try `funcx-lab doctor`."""

    code, number = "SERVICE_START_FAILED", "FX112"


class EnvMismatch(FuncxLabError):
    """The endpoint lacks a module that the call imports, or bytecode would need another Python."""

    code, number, status = "ENV_MISMATCH", "FX120", 409


class TransportError(FuncxLabError):
    """The hub service did not answer."""

    code, number = "TRANSPORT_ERROR", "FX200"


class ServiceUnreachable(TransportError):
    """The hub service cannot be reached; check its address, or `funcx-lab status` for the local one."""

    code, number = "SERVICE_UNREACHABLE", "FX201"


class ServiceTimeout(TransportError, TimeoutError):
    """The hub service did not answer in time; what was sent under a task id may be sent again safely."""

    code, number = "SERVICE_TIMEOUT", "FX202"


class ServiceError(FuncxLabError):
    """The hub service failed to handle the request; its log holds the traceback."""

    code, number, status = "INTERNAL_ERROR", "FX300", 500


class InvalidRequest(ServiceError):
    """The request is not what the route takes; the message names the field."""

    code, number, status = "INVALID_REQUEST", "FX301", 400


class NotAuthenticated(ServiceError):
    """The token is missing, wrong or revoked; log in again with `funcx-lab login`."""

    code, number, status = "NOT_AUTHENTICATED", "FX302", 401


class NotAuthorized(ServiceError):
    """The token does not allow this; ask the owner or the administrator."""

    code, number, status = "NOT_AUTHORIZED", "FX303", 403


class NotFound(ServiceError):
    """There is no such thing here, or it is not yours."""

    code, number, status = "NOT_FOUND", "FX304", 404


class FunctionNotFound(NotFound):
    """No such function, or it is not yours; register it first."""

    code, number = "FUNCTION_NOT_FOUND", "FX305"


class EndpointNotFound(NotFound):
    """No such endpoint, or it is not yours; `funcx-lab status` lists yours."""

    code, number = "ENDPOINT_NOT_FOUND", "FX306"


class TaskNotFound(NotFound):
    """No such task, or it is not yours."""

    code, number = "TASK_NOT_FOUND", "FX307"


class TaskGroupNotFound(NotFound):
    """No such task group, or it is not yours."""

    code, number = "TASK_GROUP_NOT_FOUND", "FX308"


class ObjectNotFound(NotFound):
    """No such object, or it is not yours; upload it first."""

    code, number = "OBJECT_NOT_FOUND", "FX309"


class Conflict(ServiceError):
    """The name or id is already taken by something else."""

    code, number, status = "CONFLICT", "FX310", 409


class TaskGone(ServiceError):
    """The task ended and its retention time is over, so its result is gone; its id is never used again."""

    code, number, status = "TASK_GONE", "FX317", 410


class PayloadTooLarge(ServiceError):
    """The payload is over the limit; the message says its size and the limit."""

    code, number, status = "TASK_PAYLOAD_TOO_LARGE", "FX311", 413


class HashMismatch(ServiceError):
    """The bytes do not have the hash they were announced with; send them again."""

    code, number, status = "PAYLOAD_HASH_MISMATCH", "FX312", 422


class TooManyRequests(ServiceError):
    """Too many requests; wait as long as Retry-After says."""

    code, number, status = "TOO_MANY_REQUESTS", "FX313", 429


class ServiceUnavailable(ServiceError):
    """The hub service cannot take this now; nothing was accepted, try again later."""

    code, number, status = "SERVICE_UNAVAILABLE", "FX314", 503


class StorageFull(ServiceUnavailable):
    """The hub service's disk is full; nothing was accepted. Free space and send it again."""

    code, number = "STORAGE_FULL", "FX315"


class StoreDamaged(ServiceUnavailable):
    """The hub service's database is damaged, so it takes nothing in; restore a backup."""

    code, number = "STORE_DAMAGED", "FX316"


class SerializationError(FuncxLabError):
    """A function, argument or result could not be turned into bytes or back."""

    code, number, status = "SERIALIZATION_ERROR", "FX400", 400


class CannotSerialize(SerializationError):
    """Something cannot be sent; the message names what, where it is used and what to try."""

    code, number = "CANNOT_SERIALIZE", "FX401"


class CannotDeserialize(SerializationError):
    """The bytes cannot be turned back into an object here; a package may be missing."""

    code, number = "CANNOT_DESERIALIZE", "FX402"


class PythonMismatch(SerializationError):
    """Bytecode of another Python minor version is never run, since it can crash the worker."""

    code, number = "PYTHON_MISMATCH", "FX403"


class UntrustedResult(SerializationError):
    """The result comes from an endpoint you do not own and would have to be unpickled."""

    code, number = "UNTRUSTED_RESULT", "FX404"


class TaskPending(FuncxLabError):
    """The task has not ended yet; wait with get_result(task_id, timeout=seconds)."""

    code, number, status = "TASK_PENDING", "FX500", 409


class ResultTimeout(TaskPending, TimeoutError):
    """The task did not end within the time given; it goes on, so ask again later."""

    code, number, status = "RESULT_TIMEOUT", "FX501", 408


class TaskError(FuncxLabError):
    """The task ended without a value."""

    code, number = "TASK_ERROR", "FX510"


class RemoteError(TaskError):
    """The function raised at the endpoint; the remote traceback stands below."""

    code, number = "TASK_FAILED", "FX511"


class WorkerLost(TaskError):
    """The worker that ran the task died (killed, out of memory, sys.exit or a crash in native code)."""

    code, number = "WORKER_LOST", "FX512"


class EndpointLost(TaskError):
    """The task started once, and its endpoint cannot say how it ended; at_most_once forbids another run."""

    code, number = "LOST_UNKNOWN", "FX513"


class TaskPoisoned(TaskError):
    """The task was running each time that three workers died, so it is not tried again."""

    code, number = "TASK_POISONED", "FX514"


class WalltimeReached(TaskError):
    """The task ran longer than its walltime and was stopped."""

    code, number = "WALLTIME_REACHED", "FX515"


class ResultTooLarge(TaskError):
    """The result is over the endpoint's limit; the file is kept at the endpoint."""

    code, number = "RESULT_TOO_LARGE", "FX516"


class TaskCancelled(TaskError, concurrent.futures.CancelledError):
    """The task was cancelled."""

    code, number = "TASK_CANCELLED", "FX517"


class TaskExpired(TaskError):
    """The task waited longer than its time to live."""

    code, number = "TASK_EXPIRED", "FX518"


class ShellError(TaskError):
    """The shell command cannot be started, or ended with another exit code than 0 and was to be checked."""

    code, number = "SHELL_FAILED", "FX519"


class RequirementsRefused(TaskError):
    """The endpoint lacks packages that the call requires, and its owner does not let calls add them."""

    code, number = "REQUIREMENTS_REFUSED", "FX520"


class RequirementsFailed(TaskError):
    """The environment that the call requires could not be built at the endpoint; pip's last lines say why."""

    code, number = "REQUIREMENTS_FAILED", "FX521"


class InputRefused(TaskError, EOFError):
    """The function asked for input, which nobody can give where it runs."""

    code, number = "INPUT_REFUSED", "FX522"


class ProtocolError(FuncxLabError):
    """Two programs of funcx-lab do not understand each other."""

    code, number, status = "PROTOCOL_ERROR", "FX600", 400


class VersionMismatch(ProtocolError):
    """The other side speaks another protocol version; upgrade the older of the two."""

    code, number, status = "VERSION_MISMATCH", "FX601", 426


class MalformedMessage(ProtocolError):
    """A message does not have the announced form; it was refused whole."""

    code, number = "MALFORMED_MESSAGE", "FX602"


def error_classes(root: type[FuncxLabError] = FuncxLabError) -> Iterator[type[FuncxLabError]]:
    """Yield ``root`` and every class below it."""
    yield root
    for cls in root.__subclasses__():
        yield from error_classes(cls)


def error_from_document(document: Mapping[str, Any]) -> FuncxLabError:
    """Return the error that a JSON error body stands for.

    Parameters
    ----------
    document : mapping
        What :meth:`FuncxLabError.as_document` made. An unknown ``code`` gives `ServiceError`.
    """
    by_code = {cls.code: cls for cls in error_classes()}
    cls = by_code.get(str(document.get("code")), ServiceError)
    message = document.get("message") or document.get("reason")
    details = document.get("details")
    return cls(
        None if message is None else str(message), details=details if isinstance(details, Mapping) else None
    )
