"""The payload's layout: any parts come back as views, any damage is noticed."""

import hashlib
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funcx_lab.errors import FuncxLabError, HashMismatch, MalformedMessage, VersionMismatch
from funcx_lab.protocol import payload

PARTS = st.lists(st.binary(max_size=300), min_size=1, max_size=5)


@given(st.text(max_size=20), PARTS)
@settings(max_examples=100, deadline=None)
def test_parts_come_back(name, parts):
    packed = payload.pack(name, parts, python="3.10")
    block = packed.tobytes()
    header, got = payload.unpack(block)
    assert (header.format, header.python) == (name, "3.10")
    assert [bytes(part) for part in got] == parts
    assert packed.nbytes == len(block)
    assert packed.sha256() == hashlib.sha256(block).hexdigest()


def test_parts_are_aligned_views():
    block = bytearray(payload.pack("x", [b"a", bytes(100), b"c" * 5000]).tobytes())
    _, parts = payload.unpack(block)
    assert not parts[1].readonly
    assert block.index(b"c" * 5000) % 64 == 0
    parts[2][0] = 0
    assert b"c" * 5000 not in block


def test_large_parts_are_referred_to():
    part = bytearray(10_000)
    packed = payload.pack("x", [b"body", part])
    part[0] = 255
    assert packed.chunks[-1][0] == 255
    assert b"".join(packed) == packed.tobytes()


def test_views_of_any_shape_are_taken_as_bytes():
    view = memoryview(bytes(12)).cast("i", (1, 3))
    empty = memoryview(bytearray())
    _, parts = payload.unpack(payload.pack("x", [view, empty]).tobytes())
    assert [part.nbytes for part in parts] == [12, 0]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damage_gives_an_error_of_ours_or_the_same_parts(data):
    parts = data.draw(PARTS)
    block = bytearray(payload.pack("values", parts).tobytes())
    at = data.draw(st.integers(0, len(block) - 1))
    if data.draw(st.booleans()):
        block[at] ^= data.draw(st.integers(1, 255))
    else:
        del block[at:]
    try:
        _, got = payload.unpack(block)
    except FuncxLabError:
        return
    assert [bytes(part) for part in got] == parts  # padding, format or python was hit


def test_each_kind_of_damage_has_its_error():
    block = payload.pack("values", [b"body"]).tobytes()
    with pytest.raises(MalformedMessage, match="at least"):
        payload.unpack(block[:5])
    with pytest.raises(MalformedMessage, match="not a funcx-lab payload"):
        payload.unpack(b"x" + block[1:])
    with pytest.raises(VersionMismatch):
        payload.unpack(block[:4] + b"\x09" + block[5:])
    with pytest.raises(MalformedMessage, match="ends before"):
        payload.unpack(block[:20])
    with pytest.raises(MalformedMessage, match="shorter"):
        payload.unpack(block[:-1])
    with pytest.raises(HashMismatch):
        payload.unpack(block[:-1] + b"!")
    with pytest.raises(MalformedMessage, match="damaged"):
        payload.unpack(block.replace(b"values", b"\xff" * 6))
    assert payload.unpack(block[:-1] + b"!", verify=False)


def test_a_payload_is_recognised_by_its_first_bytes():
    assert payload.is_payload(payload.pack("x", [b""]).tobytes())
    assert not payload.is_payload(b"12\n00\n")
    assert not payload.is_payload(b"")


def test_the_header_says_which_python_wrote_it():
    header, end = payload.read_header(payload.pack("x", [b""]).tobytes())
    assert header.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert end > 12
