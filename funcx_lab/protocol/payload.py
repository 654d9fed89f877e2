r"""The payload: a header, a body and out-of-band buffers. Nothing here opens one.

Layout, all integers big-endian::

    \x93FXL  version:u8  0:u8 0:u8 0:u8  header_length:u32  header (msgpack)
    zeros to a multiple of 64, part 0 (the body)
    zeros to a multiple of 64, part 1 (a buffer) ...

The header carries the format, the Python that wrote it, the length of each part and a SHA-256 over
the parts. A reader can slice every part out of one received block without a copy.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from funcx_lab.errors import HashMismatch, MalformedMessage, VersionMismatch

Buffer: TypeAlias = bytes | bytearray | memoryview

MAGIC = b"\x93FXL"
VERSION = 1
#: Payloads up to this many bytes travel inside messages; larger ones travel as objects.
INLINE_LIMIT = 256 * 1024
#: Default limit of one argument or result payload in bytes.
PAYLOAD_LIMIT = 1_000_000_000

_PREFIX = struct.Struct(">4sBxxxI")
_ALIGN = 64
#: A lone body below this many bytes is copied into one chunk with its header.
_SMALL = 4096
_ZEROS = bytes(_ALIGN)


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What is said about a payload's parts.

    Attributes
    ----------
    format : str
        What the parts are, e.g. ``"values"``, ``"source"``, ``"dill"``, ``"cell"``, ``"exception"``.
    python : str
        ``"3.11"``: the Python minor version that wrote it.
    lengths : list of int
        Bytes of each part; part 0 is the body.
    sha256 : bytes
        Digest over the parts in order.
    inputs : list
        Of arguments that are pickled, for people: name or position, bytes (None if unknown), type.
        Left out of the bytes where empty.
    """

    format: str
    python: str
    lengths: list[int]
    sha256: bytes
    inputs: list[tuple[str | int, int | None, str]] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Header).decode
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Payload:
    """Bytes to be sent, as a list of chunks that are never joined unless asked.

    Parameters
    ----------
    chunks : sequence of bytes-like
        In order; their concatenation is the payload.
    """

    __slots__ = ("chunks", "nbytes")

    def __init__(self, chunks: Sequence[Buffer]) -> None:
        self.chunks: list[memoryview] = [memoryview(chunk).cast("B") for chunk in chunks]
        self.nbytes = sum(chunk.nbytes for chunk in self.chunks)

    def tobytes(self) -> bytes:
        """Return the payload as one block (copies)."""
        return b"".join(self.chunks)

    def sha256(self) -> str:
        """Return the hex digest of the whole payload: its name as an object."""
        digest = hashlib.sha256()
        for chunk in self.chunks:
            digest.update(chunk)
        return digest.hexdigest()

    def __iter__(self) -> Iterator[memoryview]:
        return iter(self.chunks)


def pack(
    format: str,
    parts: Sequence[Buffer],
    *,
    python: str = PYTHON,
    inputs: Sequence[tuple[str | int, int | None, str]] = (),
) -> Payload:
    """Return a payload of ``parts``; part 0 is the body.

    Parameters
    ----------
    format : str
        What the parts are.
    parts : sequence of bytes-like
        Contiguous buffers; they are referred to, not copied.
    python : str
        ``"major.minor"`` of the Python that made them.
    inputs : sequence
        See `Header`.
    """
    if not inputs and len(parts) == 1 and type(parts[0]) is bytes and len(parts[0]) < _SMALL:
        return _pack_small(format, parts[0], python)
    views = [_bytes_of(part) for part in parts]
    digest = hashlib.sha256()
    for view in views:
        digest.update(view)
    facts = (format, python, [view.nbytes for view in views], digest.digest())
    header = _encode((*facts, inputs) if inputs else facts)
    chunks: list[Buffer] = [_PREFIX.pack(MAGIC, VERSION, len(header)), header]
    position = _PREFIX.size + len(header)
    for view in views:
        gap = -position % _ALIGN
        if gap:
            chunks.append(_ZEROS[:gap])
        if view.nbytes:
            chunks.append(view)
        position += gap + view.nbytes
    return Payload(chunks)


def _bytes_of(part: Buffer) -> memoryview:
    view = memoryview(part)
    # A view whose shape holds a zero cannot be cast.
    return view.cast("B") if view.nbytes else memoryview(b"")


def _pack_small(format: str, body: bytes, python: str) -> Payload:
    header = _encode((format, python, [len(body)], hashlib.sha256(body).digest()))
    size = _PREFIX.size + len(header)
    gap = _ZEROS[: -size % _ALIGN]
    return Payload((b"".join((_PREFIX.pack(MAGIC, VERSION, len(header)), header, gap, body)),))


def is_payload(block: Buffer) -> bool:
    """Whether ``block`` starts as a payload of ours (Globus Compute's text packing does not)."""
    return bytes(memoryview(block)[:4]) == MAGIC


def read_header(block: Buffer) -> tuple[Header, int]:
    """Return the header and the offset behind it.

    Raises
    ------
    MalformedMessage
        If the block is not a payload or its header is damaged.
    VersionMismatch
        If a newer funcx-lab wrote it.
    """
    view = memoryview(block).cast("B")
    if view.nbytes < _PREFIX.size:
        raise MalformedMessage(f"A payload has at least {_PREFIX.size} bytes, this one has {view.nbytes}.")
    magic, version, length = _PREFIX.unpack_from(view)
    if magic != MAGIC:
        raise MalformedMessage("These bytes are not a funcx-lab payload: the first four bytes are wrong.")
    if version != VERSION:
        raise VersionMismatch(f"The payload has version {version}, this funcx-lab reads version {VERSION}.")
    end = _PREFIX.size + length
    if view.nbytes < end:
        raise MalformedMessage(
            f"The payload's header should have {length} bytes but the payload ends before."
        )
    try:
        return _decode(view[_PREFIX.size : end]), end
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise MalformedMessage(f"The payload's header is damaged: {err}") from err


def unpack(block: Buffer, *, verify: bool = True) -> tuple[Header, list[memoryview]]:
    """Return header and parts as views into ``block``.

    Parameters
    ----------
    block : bytes-like
        The whole payload.
    verify : bool
        Check the digest over the parts.

    Raises
    ------
    MalformedMessage, VersionMismatch
        As `read_header`.
    HashMismatch
        If the parts are not those that were written.
    """
    header, position = read_header(block)
    view = memoryview(block).cast("B")
    parts = []
    for length in header.lengths:
        position += -position % _ALIGN
        part = view[position : position + length]
        if length < 0 or part.nbytes != length:
            raise MalformedMessage("The payload is shorter than its header says.")
        parts.append(part)
        position += length
    if verify:
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        if digest.digest() != header.sha256:
            raise HashMismatch("The payload's bytes do not match its SHA-256; it was damaged on the way.")
    return header, parts
