"""Payloads that are too large for a message: uploaded and fetched as objects, named by their SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from funcx_lab.errors import HashMismatch, NotFound, PayloadTooLarge, TransportError
from funcx_lab.protocol.messages import ObjectRef
from funcx_lab.protocol.payload import PAYLOAD_LIMIT, Payload
from funcx_lab.transport import Transport

#: Bytes handed to the socket at once, so that its timeout is for a piece and not for the whole.
PIECE = 1024 * 1024


class _Pieces:
    """A payload's bytes in pieces, without joining or copying them; may be iterated again."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload

    def __iter__(self) -> Iterator[memoryview]:
        for chunk in self._payload:
            for start in range(0, chunk.nbytes, PIECE):
                yield chunk[start : start + PIECE]


def upload(transport: Transport, payload: Payload) -> ObjectRef:
    """Store a payload as an object, unless the service has it already.

    Raises
    ------
    PayloadTooLarge
        If it is over `PAYLOAD_LIMIT` or the service's own limit.
    TransportError, ServiceError
        If the service cannot be reached or does not take it.
    """
    if payload.nbytes > PAYLOAD_LIMIT:
        raise PayloadTooLarge(
            f"The arguments have {payload.nbytes:,} bytes; the limit is {PAYLOAD_LIMIT:,}. "
            "Send less, or a path that the endpoint can read.",
            details={"size": payload.nbytes, "limit": PAYLOAD_LIMIT},
        )
    ref = ObjectRef(payload.sha256(), payload.nbytes)
    path = f"/v3/objects/{ref.sha256}"
    try:
        transport.request("HEAD", path)
    except NotFound:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(ref.size)}
        transport.request("PUT", path, _Pieces(payload), headers=headers)
    return ref


def download(transport: Transport, ref: ObjectRef) -> bytearray:
    """Return an object's bytes, received into one block.

    Raises
    ------
    HashMismatch
        If the bytes are not those that ``ref`` names.
    TransportError, ServiceError
        If they cannot be had now.
    """
    import urllib3.exceptions as trouble

    response = transport.request("GET", f"/v3/objects/{ref.sha256}", stream=True)
    block, position, digest = bytearray(ref.size), 0, hashlib.sha256()
    try:
        while piece := response.read(PIECE):
            if position + len(piece) > ref.size:
                raise HashMismatch(f"Object {ref.sha256} is longer than the announced {ref.size} bytes.")
            block[position : position + len(piece)] = piece
            digest.update(piece)
            position += len(piece)
    except trouble.HTTPError as err:
        raise TransportError(
            f"Object {ref.sha256}: the connection broke after {position} of {ref.size} bytes ({err})."
        ) from err
    finally:
        response.release_conn()
    if digest.hexdigest() != ref.sha256:
        raise HashMismatch(f"The bytes received for object {ref.sha256} have another SHA-256. Ask again.")
    return block
