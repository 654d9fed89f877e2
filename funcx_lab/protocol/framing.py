"""Stream messages in one HTTP body (``POST /v3/poll``): each as its length, u32 big-endian, and its bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from funcx_lab.errors import MalformedMessage

_LENGTH = struct.Struct(">I")


def join_frames(frames: Iterable[bytes]) -> bytes:
    """Return the frames as one body."""
    return b"".join(part for frame in frames for part in (_LENGTH.pack(len(frame)), frame))


def split_frames(body: bytes) -> list[memoryview]:
    """Return the frames of a body, without copying them.

    Raises
    ------
    MalformedMessage
        If the body ends inside a frame or inside a length.
    """
    frames, view, start = [], memoryview(body), 0
    while start < len(view):
        first = start + _LENGTH.size
        end = first + _LENGTH.unpack_from(view, start)[0] if first <= len(view) else len(view) + 1
        if end > len(view):
            raise MalformedMessage(
                f"The body of {len(view)} bytes ends inside the frame at byte {start}; send it whole."
            )
        frames.append(view[first:end])
        start = end
    return frames
