"""Exceptions to payloads and back: the original type where it can be rebuilt, the traceback as text."""

from __future__ import annotations

import builtins
import functools
import importlib
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import msgspec

from funcx_lab.errors import FuncxLabError, RemoteError, error_from_document
from funcx_lab.protocol import payload
from funcx_lab.protocol.messages import ErrorInfo
from funcx_lab.protocol.payload import Buffer, Payload
from funcx_lab.serialize import pickling, values

#: Longer tracebacks and messages lose their middle.
TEXT_LIMIT = 100_000
#: A pickled exception larger than this many bytes travels as text only.
EXCEPTION_LIMIT = 1_000_000

_OURS = ("funcx_lab", "funcx_lab_endpoint", "funcx_lab_magics", "funcx_lab_hub_service", "parsl")
_AROUND = (*_OURS, "asyncio", "concurrent", "threading")


class _Body(msgspec.Struct, frozen=True, array_like=True):
    module: str
    qualname: str
    message: str
    #: whether the pickle holds bytecode
    bound: bool
    pickle: bytes


def pack_exception(error: BaseException) -> tuple[Payload, ErrorInfo]:
    """Return what travels of an exception that a user's function raised.

    Frames of ours are cut out of the tracebacks of ``error`` and of all it was caused by.

    Returns
    -------
    payload : Payload
        The exception, pickled if it can be.
    info : ErrorInfo
        The same in words that need no unpickling.
    """
    for one in _chain(error):
        one.__traceback__ = _without_ours(one.__traceback__)
    cls = type(error)
    message = _shorten(_text(error))
    stream = _pickled(error)
    body = _Body(
        cls.__module__,
        cls.__qualname__,
        message,
        stream is not None and stream.bound,
        bytes(stream.data) if stream is not None else b"",
    )
    info = ErrorInfo(
        code=RemoteError.code,
        message=message,
        type=cls.__qualname__
        if cls.__module__ in ("builtins", "__main__")
        else f"{cls.__module__}.{cls.__qualname__}",
        traceback=_shorten(_scrubbed("".join(traceback.format_exception(error)))),
    )
    return payload.pack("exception", [msgspec.msgpack.encode(body)]), info


def unpack_exception(block: Buffer | None, error: ErrorInfo, *, trusted: bool = True) -> BaseException:
    """Return the exception that a failed task's outcome stands for, ready to be raised.

    If the function raised an `Exception` whose class exists or can be rebuilt here, it is of that class
    and its ``__cause__`` is a `RemoteError` that shows the remote traceback. Otherwise it is a
    `RemoteError`, or the class of ``error.code`` when the task failed without the function's doing.

    Parameters
    ----------
    block : bytes-like or None
        The payload of `pack_exception`, if there is one.
    error : ErrorInfo
        What is said about the failure.
    trusted : bool
        Whether the exception may be unpickled.
    """
    if error.code != RemoteError.code:
        return error_from_document({"code": error.code, "message": error.message, "details": error.details})
    original = _rebuild(block) if trusted and block else None
    details = {**error.details, "type": error.type, "traceback": error.traceback}
    if original is None:
        text = f"{error.type}: {error.message}" if error.type else error.message
        shown = f"\n\nRemote traceback:\n{error.traceback}" if error.traceback else ""
        return RemoteError(text + shown, details=details)
    original.__cause__ = RemoteError(f"at the endpoint:\n{error.traceback}", details=details)
    return original


# --- packing ----------------------------------------------------------------------------------------


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = getattr(one, "exceptions", ())
        members = [e for e in inner if isinstance(e, BaseException)] if isinstance(inner, tuple) else []
        waiting += [e for e in (one.__cause__, one.__context__, *members) if e is not None]


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    kept: list[TracebackType] = []
    around = True
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        # Between our frames and the user's, asyncio and the like only carry our call.
        around = package in _OURS or (around and package in _AROUND)
        if not around:
            kept.append(trace)
        trace = trace.tb_next
    result: TracebackType | None = None
    for one in reversed(kept):
        result = TracebackType(result, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return result


def _text(error: BaseException) -> str:
    try:
        return _scrubbed(str(error))
    except Exception as broken:  # a user's __str__ may raise anything
        return f"<str() of {type(error).__name__} raised {type(broken).__name__}>"


def _scrubbed(text: str) -> str:
    # Lone surrogates (undecodable file names) cannot be encoded as UTF-8.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _shorten(text: str) -> str:
    if len(text) <= TEXT_LIMIT:
        return text
    half = TEXT_LIMIT // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"


def _pickled(error: BaseException) -> pickling.Stream | None:
    for made in (error, _Parts(error)):
        try:
            stream = pickling.dumps(made)
            if stream.buffers:  # large arrays inside an exception: the text must do
                return None
            # An __init__ that takes other arguments than args shows only when it is loaded.
            copy = values.unpickle([memoryview(stream.data)])
            if len(stream.data) <= EXCEPTION_LIMIT and _is_like(copy, error):
                return stream
        except Exception:  # noqa: S112  # a user's __reduce__ or __init__ may raise anything
            continue
    return None


def _is_like(copy: Any, error: BaseException) -> bool:
    # By name: bytecode gives a new class at each load.
    names = [(type(one).__module__, type(one).__qualname__) for one in (copy, error)]
    return isinstance(copy, BaseException) and names[0] == names[1]


class _Parts:
    """An exception as class, arguments and those attributes that can be pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        attributes = {name: value for name, value in vars(self.error).items() if _can_travel(value)}
        arguments = tuple(arg if _can_travel(arg) else repr(arg) for arg in self.error.args)
        return make_exception, (type(self.error), arguments, attributes)


def _can_travel(value: Any) -> bool:
    try:
        return not pickling.dumps(value).buffers
    except Exception:  # as above
        return False


def make_exception(
    cls: type[BaseException], arguments: tuple[Any, ...], attributes: dict[str, Any]
) -> BaseException:
    """Return an exception of ``cls`` without calling its own ``__init__``."""
    error = cls.__new__(cls, *arguments)
    base = next(parent for parent in cls.__mro__ if parent.__module__ == "builtins")
    base.__init__(error, *arguments)  # type: ignore[misc]  # OSError and others keep facts in C
    error.__dict__.update(attributes)
    return error


# --- unpacking --------------------------------------------------------------------------------------


def _rebuild(block: Buffer) -> Exception | None:
    try:
        header, parts = payload.unpack(block)
        body = msgspec.msgpack.decode(parts[0], type=_Body)
        if header.format != "exception":
            return None
    except (FuncxLabError, msgspec.DecodeError, UnicodeDecodeError, IndexError):
        return None  # the text tells what happened
    made: Any = None
    if body.pickle and (not body.bound or header.python == payload.PYTHON):
        try:
            made = values.unpickle([memoryview(body.pickle)])
        except FuncxLabError:
            made = None
    if made is None:
        made = _by_name(body)
    # SystemExit and KeyboardInterrupt must not end the program that asks for a result.
    return made if isinstance(made, Exception) else None


def _by_name(body: _Body) -> Any:
    try:
        module = builtins if body.module == "builtins" else importlib.import_module(body.module)
        cls = functools.reduce(getattr, body.qualname.split("."), module)
        return make_exception(cls, (body.message,), {})  # type: ignore[arg-type]  # checked by the caller
    except Exception:  # the class may be anything by now
        return None
