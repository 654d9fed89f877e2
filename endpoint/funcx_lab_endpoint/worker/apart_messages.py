"""Between a worker and the process that runs its calls in another environment: frames over a socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

import msgspec

from funcx_lab.protocol.messages import ErrorInfo, FunctionBody
from funcx_lab_endpoint.worker.messages import Run

_LENGTH = struct.Struct("!Q")
_CHUNK = 1 << 20


class Setup(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The first word: what a `funcx_lab_endpoint.worker.call.Caller` is made with."""

    sid: str
    objects: str
    result_limit: int


class Work(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Run this call."""

    run: Run
    function: FunctionBody | None


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The first answer: it can run calls."""


class Shown(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The call shows something; what it wrote before is in the pipes already."""

    kind: str
    data: Any


class Seen(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What was shown has its place in the task's events; what is written now comes behind it."""


class Finished(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """How the call ended."""

    ok: bool
    payload: bytes
    error: ErrorInfo | None
    path: str


Message = Setup | Work | Ready | Shown | Seen | Finished
_decoder = msgspec.msgpack.Decoder(Message)


class Gone(Exception):
    """The other end is gone."""


def send(connection: socket.socket, message: Message) -> None:
    """Send a message; raises `Gone`."""
    frame = msgspec.msgpack.encode(message, enc_hook=repr)
    connection.settimeout(None)
    try:
        connection.sendall(_LENGTH.pack(len(frame)) + frame)
    except OSError as err:
        raise Gone from err


def receive(connection: socket.socket, is_gone: Callable[[], bool], look_s: float | None = None) -> Message:
    """Return the next message.

    Parameters
    ----------
    connection : socket
        Where from.
    is_gone : callable
        Asked at each look whether the other end is gone though its socket is open (a child of it may
        hold that).
    look_s : float, optional
        Seconds between looks; none by default.

    Raises
    ------
    Gone
        If the other end is gone.
    """
    connection.settimeout(look_s)
    (length,) = _LENGTH.unpack(_read(connection, _LENGTH.size, is_gone))
    message: Message = _decoder.decode(_read(connection, length, is_gone))
    return message


def _read(connection: socket.socket, size: int, is_gone: Callable[[], bool]) -> bytes:
    data = bytearray()
    while len(data) < size:
        try:
            chunk = connection.recv(min(size - len(data), _CHUNK))
        except TimeoutError:
            if is_gone():
                raise Gone from None
            continue
        except OSError as err:
            raise Gone from err
        if not chunk:
            raise Gone
        data += chunk
    return bytes(data)
