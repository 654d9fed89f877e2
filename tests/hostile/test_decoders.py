"""Frames that are not what they should be: every decoder answers with an error of ours, cheaply."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from funcx_lab.errors import FuncxLabError, MalformedMessage
from funcx_lab.protocol import messages as m
from funcx_lab.protocol import payload
from funcx_lab.protocol import stream as s
from funcx_lab_endpoint.worker import messages as w

FRAMES = 100_000
UUID = "01234567-89ab-4cde-8f01-23456789abcd"
BODY = b"body of a function"
EVENT = m.Event(1.5, "stdout", "text")
BATCH = m.EventBatch(UUID, "execution", 0, [EVENT, m.Event(2.0, "display", {"data": {"a/b": "x"}})])
FAILED = m.Outcome(False, b"", m.ObjectRef("0" * 64, 7), m.ErrorInfo("TASK_FAILED", "no"), 1.0, 2.0, {"a": 1})
FUNCTION = m.FunctionBody(UUID, hashlib.sha256(BODY).hexdigest(), "funcx-lab", "f", BODY)
LEASE = (UUID, 1 << 41)
OPTIONS = m.TaskOptions(1.5, True, "label", 3, 60.0)
TASK = m.TaskItem(UUID, 1 << 41, UUID, b"payload", m.ObjectRef("0" * 64, 7), OPTIONS)

#: decoder, and good messages of its wire to be damaged
WIRES: dict[str, tuple[m.Codec[Any], list[Any]]] = {
    "agent": (
        m.agent_codec,
        [
            m.Hello(1, "nonce", "instance", "spool", True),
            m.Inventory(5, [LEASE]),
            m.Accepted(5, [LEASE]),
            m.Started(5, [(UUID, 7, "execution", 1.0, {"host": "h"})]),
            m.Events(5, [BATCH]),
            m.Results(5, [m.ResultItem(UUID, 7, "execution", FAILED, BATCH)]),
            m.Lost(5, [(UUID, 7, "execution", "signal 9")]),
            m.Heartbeat(5, {"credit": 7, "deep": {"a": [1, None, 2.5]}}, m.digest_of(9, [LEASE])),
            m.Bye(5, "going"),
        ],
    ),
    "forwarder": (
        m.forwarder_codec,
        [
            m.Welcome(5, "nonce"),
            m.Refused("nonce", "ENDPOINT_BUSY", "no"),
            m.Reconciled(5, [LEASE], [LEASE]),
            m.Tasks(5, [FUNCTION], [TASK]),
            m.ResultAck(5, [(UUID, "execution")]),
            m.UnknownTasks(5, [LEASE]),
            m.EventsAck(5, [(UUID, "execution", 3)]),
            m.Cancel(5, [LEASE]),
            m.Stale(5),
        ],
    ),
    "client": (
        s.client_codec,
        [
            s.Submit(1, "local", UUID, UUID, [s.NewTask(UUID, b"x", m.ObjectRef("0" * 64, 7))], OPTIONS),
            s.Subscribe(UUID, 7),
            s.Watch([UUID]),
            s.Follow(UUID, 7),
            s.Unfollow(UUID),
            s.CancelTasks(7, [UUID]),
        ],
    ),
    "service": (
        s.service_codec,
        [
            s.Submitted(1, [s.Refusal(UUID, {"code": "CONFLICT"})]),
            s.Outcomes([s.OutcomeItem(7, UUID, "failed", b"x", None, FAILED.error, UUID, False)], [1, 2]),
            s.TaskEvents(UUID, [(1, EVENT)], True),
            s.Cancelled(7, [UUID]),
            s.Failed(7, {"code": "CONFLICT"}, UUID),
        ],
    ),
    "down": (
        w.down_codec,
        [
            w.Down(1, 2, [w.Learn(FUNCTION), w.Run(1, UUID, UUID, b"x", "", 1.5, True), w.Go(1)]),
            w.Down(0, 2, [w.Recall(), w.Stop(1), w.Close()]),
        ],
    ),
    "up": (
        w.up_codec,
        [
            w.Up(0, 2, [w.Hello(1, "token", {"pid": 1})], "sid"),
            w.Up(1, 2, [w.Starting(1), w.Started(1, 1.0), w.Output(1, 0, [EVENT])]),
            w.Up(1, 2, [w.Done(1, False, b"x", FAILED.error, 1.0, 2.0, 3.0, 0, [EVENT]), w.Returned([1])]),
        ],
    ),
}
#: lengths that announce far more than there is, and marks that begin something else
POISON = [
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"),
    *(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xd3\x80\0\0\0\0\0\0\0", b"\xcb\x7f\xf8\0\0\0\0\0\0"),
    *(b"\xc9\xff\xff\xff\xff\x05", b"\xd6\xff\xff\xff\xff\xff", b"\xc1", b"\x91" * 40, b"\x81\xa1a" * 20),
]


def damaged(frame: bytes, chance: random.Random) -> bytes:
    """Return the frame with one to four faults: bits, cuts, doubled parts, poison."""
    block = bytearray(frame)
    for _ in range(1 + int(4 * chance.random() ** 3)):
        at = int(chance.random() * (len(block) + 1))
        kind = chance.random()
        if kind < 0.45 and at < len(block):
            block[at] ^= 1 << int(chance.random() * 8)
        elif kind < 0.6:
            del block[at:]
        elif kind < 0.75:
            block[at:at] = block[at : at + 8]
        elif kind < 0.85:
            del block[at : at + 3]
        else:
            block[at : at + 2] = POISON[int(chance.random() * len(POISON))]
    return bytes(block)


def fuzz(frames: list[bytes], decode: Callable[[bytes], object], seed: int) -> int:
    """Decode `FRAMES` damaged frames; return how many were refused. Anything but our error gets out."""
    chance = random.Random(seed)
    process = psutil.Process()
    before = peak = process.memory_info().rss
    refused = 0
    for number in range(FRAMES):
        try:
            decode(damaged(frames[number % len(frames)], chance))
        except FuncxLabError:
            refused += 1
        if number % 10_000 == 0:
            peak = max(peak, process.memory_info().rss)
    assert peak - before < 64e6
    return refused


@pytest.mark.parametrize("wire", WIRES)
def test_a_hundred_thousand_damaged_frames(wire: str) -> None:
    codec, good = WIRES[wire]
    frames = [codec.encode(message) for message in good]
    assert [codec.decode(frame) for frame in frames] == good
    refused = fuzz(frames, codec.decode, seed=len(wire))
    assert FRAMES // 2 < refused < FRAMES, "the damage is neither always nor never noticed"


def test_a_hundred_thousand_damaged_payloads() -> None:
    frames = [
        payload.pack("values", [b"body"]).tobytes(),
        payload.pack("dill", [b"body", b"x" * 200, b""], python="3.9").tobytes(),
        payload.pack("cell-result", [b"b" * 70, b"c" * 64]).tobytes(),
    ]

    def decode(block: bytes) -> None:
        header, parts = payload.unpack(block)
        assert sum(part.nbytes for part in parts) <= len(block)
        assert len(header.lengths) == len(parts)

    assert fuzz(frames, decode, seed=9) > FRAMES // 2


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc0",
        b"\x91" * 100_000,
        b"\x81" * 100_000,
        b"\xdd\x7f\xff\xff\xff" + b"\xc0" * 1000,
        b"\x82\xa4type\xa4Evil\xa1x\x01",
        b"\x80\x05\x95",  # how a pickle begins
        b"\xff\xfe" * 1000,
    ],
)
def test_nonsense_is_refused(wire: str, frame: bytes) -> None:
    with pytest.raises(MalformedMessage):
        WIRES[wire][0].decode(frame)


@pytest.mark.parametrize("wire", WIRES)
def test_a_message_followed_by_more_is_refused(wire: str) -> None:
    codec, good = WIRES[wire]
    for message in good:
        with pytest.raises(MalformedMessage):
            codec.decode(codec.encode(message) + b"\xc0")
