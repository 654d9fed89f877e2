"""What the spool's entries say. No I/O."""

from __future__ import annotations

from pathlib import Path

import msgspec

from funcx_lab.protocol.messages import Event, FunctionBody, Outcome, TaskItem
from funcx_lab_endpoint.changes import Change
from funcx_lab_endpoint.holding import EventLog, Holding, Loss, Transfer

#: Kinds of entries.
TASK, RESULT, LOSS, FUNCTION = "task", "result", "loss", "function"
#: What a copied spool keeps: tasks are the original's to run.
KEPT_BY_COPIES = (RESULT, LOSS)


class _Ended(msgspec.Struct, frozen=True, array_like=True):
    """How an execution ended, and what of its output the hub service has not acknowledged."""

    execution: str
    outcome: Outcome
    first: int
    events: list[Event]
    #: the file that holds the result, if it was too large for a message
    path: str = ""


class _Task(msgspec.Struct, frozen=True, array_like=True):
    """A task whose outcome cannot be sent yet."""

    item: TaskItem
    tag: int
    handed: bool
    tries: int
    #: the execution that is in the user's function
    running: str
    deaths: list[str]
    upload: _Ended | None = None


class _Result(msgspec.Struct, frozen=True, array_like=True):
    """A task with its outcome."""

    task_id: str
    function_id: str
    tag: int
    ended: _Ended


class _Loss(msgspec.Struct, frozen=True, array_like=True):
    """An execution whose worker died."""

    task_id: str
    tag: int
    execution: str
    evidence: str


_encode = msgspec.msgpack.Encoder().encode
_task = msgspec.msgpack.Decoder(_Task)
_result = msgspec.msgpack.Decoder(_Result)
_loss = msgspec.msgpack.Decoder(_Loss)
_function = msgspec.msgpack.Decoder(FunctionBody)


def entry_of_holding(holding: Holding) -> Change:
    """Return the entry of a task: one of its outcome if it has one, else one that lets it run again."""
    if holding.outcome is not None:
        path = str(holding.upload.path) if holding.upload is not None else ""
        ended = _ended(holding, holding.outcome, path)
        record = _Result(holding.task_id, holding.item.function_id, holding.tag, ended)
        return Change(RESULT, holding.task_id, _encode(record))
    started = holding.started if holding.call_tag is not None else None
    running = started.execution if started is not None else ""
    upload = holding.upload
    task = _Task(
        *(holding.item, holding.tag, holding.handed, holding.tries, running, holding.deaths),
        _ended(holding, upload.outcome, str(upload.path)) if upload is not None and upload.is_safe else None,
    )
    return Change(TASK, holding.task_id, _encode(task))


def _ended(holding: Holding, outcome: Outcome, path: str = "") -> _Ended:
    log = holding.log
    if log is None:
        raise ValueError("only an execution has an outcome")
    return _Ended(log.execution, outcome, log.first, log.kept, path)


def entry_of_loss(loss: Loss) -> Change:
    """Return the entry of a loss."""
    record = _Loss(loss.task_id, loss.tag, loss.execution, loss.evidence)
    return Change(LOSS, f"{loss.task_id} {loss.execution}", _encode(record))


def entry_of_function(function: FunctionBody) -> Change:
    """Return the entry of a function."""
    return Change(FUNCTION, function.function_id, _encode(function))


def read_task(data: bytes) -> Holding:
    """Return a task; an execution that was in the user's function died with its agent.

    Raises
    ------
    msgspec.DecodeError
        If ``data`` is no such entry; so do the other readers.
    """
    record = _task.decode(data)
    holding = Holding(
        record.item, record.tag, handed=record.handed, tries=record.tries, deaths=list(record.deaths)
    )
    if record.upload is not None:
        holding.upload = Transfer(Path(record.upload.path), record.upload.outcome, is_safe=True)
        holding.log = _log(record.upload)
    elif record.running and record.running not in holding.deaths:
        holding.deaths.append(record.running)
    return holding


def read_result(data: bytes) -> Holding:
    """Return a task with its outcome."""
    record = _result.decode(data)
    holding = Holding(TaskItem(record.task_id, record.tag, record.function_id), record.tag)
    holding.log, holding.outcome = _log(record.ended), record.ended.outcome
    if record.ended.path:
        holding.upload = Transfer(Path(record.ended.path), holding.outcome, is_safe=True)
    return holding


def read_loss(data: bytes) -> Loss:
    """Return a loss."""
    record = _loss.decode(data)
    return Loss(record.task_id, record.tag, record.execution, record.evidence)


def read_function(data: bytes) -> FunctionBody:
    """Return a function."""
    return _function.decode(data)


def _log(ended: _Ended) -> EventLog:
    return EventLog(ended.execution, ended.first, ended.first, list(ended.events))
