"""One call: open function and arguments, run, pack the result or the exception."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from funcx_lab import serialize
from funcx_lab.errors import FuncxLabError, HashMismatch
from funcx_lab.protocol.messages import ErrorInfo, FunctionBody
from funcx_lab.protocol.payload import INLINE_LIMIT, Payload, is_payload, read_header
from funcx_lab.serialize import globus
from funcx_lab.serialize.cell import as_main, main_of
from funcx_lab.serialize.display import install_display
from funcx_lab.serialize.warm import WarmSpace
from funcx_lab_endpoint.worker.input import refuse_input
from funcx_lab_endpoint.worker.messages import Run
from funcx_lab_endpoint.worker.named import NamedSpaces
from funcx_lab_endpoint.worker.surroundings import Interrupter

#: Of the names in a session, so many are told.
NAMES_LIMIT = 500
#: What functions that print, write or draw return; packed once.
_NOTHING = serialize.pack_value(None)


@dataclass(slots=True)
class Ended:
    """How a call ended."""

    ok: bool
    payload: bytes = b""
    error: ErrorInfo | None = None
    #: a file that holds the payload instead
    path: str = ""
    #: as in `messages.Done`
    session: dict[str, Any] = field(default_factory=dict)
    is_session_over: bool = False


@dataclass(slots=True)
class _Function:
    call: Callable[..., Any]
    is_cell: bool
    is_globus: bool
    #: what is ``__main__`` while it runs, so that processes it makes find its functions by name
    main: ModuleType | None = None


class Caller:
    """Runs calls in the thread that asks.

    Parameters
    ----------
    sid : str
        The session; names result files.
    objects : Path
        Directory for results too large for a message.
    result_limit : int
        Bytes; a larger result fails the call and its file is kept.
    interrupter : Interrupter
        Armed while the user's function runs.
    add_event : callable
        Takes ``(kind, data)`` of display events.
    elsewhere : callable, optional
        Runs a call whose requirements this environment does not meet, and gives None for others.
    """

    def __init__(
        self,
        sid: str,
        objects: Path,
        result_limit: int,
        interrupter: Interrupter,
        add_event: Callable[[str, Any], None],
        elsewhere: Callable[[Run, FunctionBody | None], Ended | None] = lambda run, body: None,
    ) -> None:
        self._sid, self._objects, self._result_limit = sid, objects, result_limit
        self._interrupter = interrupter
        self._add_event = add_event
        self._elsewhere = elsewhere
        install_display(add_event)
        refuse_input()
        #: by named session and id
        self._functions: dict[tuple[str, str], _Function] = {}
        self._named = NamedSpaces(add_event)

    def perform(self, run: Run, body: FunctionBody | None) -> Ended:
        """Run one call to its end, in its named session if it has one."""
        if not run.session:
            return self._perform(run, body, None)
        space, is_new = self._named.enter(run.session, run.lost)
        with space.entered():
            ended = self._perform(run, body, space)
        ended.session = {"name": run.session, "is_new": is_new, "names": space.names[:NAMES_LIMIT]}
        if ended.error is not None:
            told = {"name": run.session, "is_new": is_new, "lost": run.lost}
            details = {**ended.error.details, "session": told}
            ended.error = msgspec.structs.replace(ended.error, details=details)
        if space.is_over:
            ended.is_session_over = True
            self.end_session(run.session)
        return ended

    def end_session(self, name: str) -> None:
        """Forget a named session and the functions that were opened in it."""
        self._named.end(name)
        self._functions = {key: each for key, each in self._functions.items() if key[0] != name}

    def _perform(self, run: Run, body: FunctionBody | None, space: WarmSpace | None) -> Ended:
        """Run one call; whatever the user's code raises is an outcome."""
        function: _Function | None = None
        try:
            if run.requires and (ended := self._elsewhere(run, body)) is not None:
                return ended
            with space.opening() if space is not None else nullcontext():
                function = self._function(run, body)
                args, kwargs = _arguments(run)
            if space is not None and function.is_cell:
                space.bring(kwargs)
            value = self._enter(function, args, kwargs)
            if function.is_cell:
                self._show_figures()
            return self._packed(run, _pack_value(function, value))
        except FuncxLabError as err:
            return Ended(False, error=_own_error(err))
        except BaseException as err:  # SystemExit and KeyboardInterrupt of the user's code too
            return self._failed(function, err)
        finally:
            self._interrupter.is_armed = False  # once more: the interrupt may have hit just before

    def _function(self, run: Run, body: FunctionBody | None) -> _Function:
        key = run.session, run.function_id
        known = self._functions.get(key)
        if known is not None:
            return known
        if body is None:
            raise FuncxLabError(
                f"The function {run.function_id} never reached this worker; run the task again."
            )
        if hashlib.sha256(body.body).hexdigest() != body.sha256:
            raise HashMismatch(f"The function {body.name} was damaged on its way to the worker.")
        self._functions[key] = function = _unpack_function(body, run.task_id)
        return function

    def _enter(self, function: _Function, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        with as_main(function.main):
            self._interrupter.is_armed = True
            try:
                return function.call(*args, **kwargs)
            finally:
                self._interrupter.is_armed = False

    def _show_figures(self) -> None:
        for bundle in serialize.collect_figures():
            self._add_event("display", {"data": bundle, "metadata": {}})

    def _packed(self, run: Run, payload: Payload) -> Ended:
        if payload.nbytes > self._result_limit:
            path = self._write(run, payload, "kept")
            return Ended(False, error=_too_large(payload.nbytes, self._result_limit, path))
        if payload.nbytes > INLINE_LIMIT:
            return Ended(True, path=self._write(run, payload, "result"))
        return Ended(True, payload.tobytes())

    def _failed(self, function: _Function | None, err: BaseException) -> Ended:
        payload, error = serialize.pack_exception(err)
        if function is not None and function.is_globus:
            return Ended(False, error=error)
        if payload.nbytes > INLINE_LIMIT:
            return Ended(False, error=error)
        return Ended(False, payload.tobytes(), error)

    def _write(self, run: Run, payload: Payload, suffix: str) -> str:
        path = self._objects / f"{self._sid}.{run.seq}.{suffix}"
        unfinished = path.with_suffix(".part")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb", buffering=0) as file:
            for chunk in payload:
                while chunk.nbytes:
                    chunk = chunk[file.write(chunk) :]
        os.replace(unfinished, path)
        return str(path)


def _own_error(err: FuncxLabError) -> ErrorInfo:
    """Return an error of ours as such, with the user's frames if it came out of their code."""
    traceback = serialize.pack_exception(err)[1].traceback
    shown = traceback if '  File "' in traceback else ""
    return ErrorInfo(err.code, err.message, type(err).__name__, traceback=shown, details=err.details)


def _unpack_function(body: FunctionBody, task_id: str) -> _Function:
    if body.format == "funcx-lab":
        is_cell = read_header(body.body)[0].format == "cell"
        call = serialize.unpack_function(body.body, task_id=task_id)
        return _Function(call, is_cell, False, main_of(call))
    if body.format == "globus-source":
        return _Function(globus.function_from_source(body.name, body.body.decode()), False, True)
    return _Function(globus.unpack_function(body.body, trusted=True), False, True)


def _arguments(run: Run) -> tuple[Sequence[Any], dict[str, Any]]:
    block: bytes | bytearray = run.payload
    if run.path:
        with open(run.path, "rb") as file:
            block = bytearray(os.fstat(file.fileno()).st_size)  # writable, so arrays in it are too
            file.readinto(block)
    if is_payload(block):
        return serialize.unpack_arguments(block)
    return globus.unpack_arguments(bytes(block))


def _pack_value(function: _Function, value: Any) -> Payload:
    if function.is_globus:
        return Payload([globus.pack_result(value).encode()])
    return _NOTHING if value is None else serialize.pack_value(value)


def _too_large(size: int, limit: int, path: str) -> ErrorInfo:
    return ErrorInfo(
        "RESULT_TOO_LARGE",
        f"The result has {size:,} bytes, the endpoint's limit is {limit:,}; "
        f"it is kept at the endpoint as {path}.",
        details={"size": size, "limit": limit, "path": path},
    )
