"""Values come back equal and of the same type, large ones without copies, strange ones with an error."""

import collections
import contextlib
import dataclasses
import datetime
import enum
import math
import pickle
import random
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from funcx_lab import serialize
from funcx_lab.errors import (
    CannotDeserialize,
    CannotSerialize,
    FuncxLabError,
    HashMismatch,
    MalformedMessage,
    UntrustedResult,
)
from funcx_lab.protocol import payload


class Text(str):
    __slots__ = ()


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Sample:
    x: int
    data: list


Named = collections.namedtuple("Named", "a b")  # made by call on purpose


def there_and_back(value, **kwargs):
    return serialize.unpack_value(serialize.pack_value(value).tobytes(), **kwargs)


def form_of(value):
    return payload.read_header(serialize.pack_value(value).tobytes())[0].format


def same(one, other):
    """Equal, of the same type all the way down, NaN equal to NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(map(same, one, other)).count(False) == 0 and same(
            list(one.values()), list(other.values())
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, other) and (one == other or one != one)
    return bool(one == other)


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.dates()
    | st.just(Level.LOW)
    | st.builds(Text, st.text())
    | st.builds(np.float32, st.floats(width=32, allow_nan=False))
)
KEYS = st.text() | st.integers() | st.booleans() | st.tuples(st.integers())
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner) | st.lists(inner).map(tuple)
    ),
    max_leaves=20,
)


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_values_keep_their_exact_types(value):
    assert same(there_and_back(value), value)


@given(st.lists(VALUES, max_size=3), st.dictionaries(st.text(), VALUES, max_size=3))
@settings(max_examples=50, deadline=None)
def test_arguments_keep_their_exact_types(args, kwargs):
    got = serialize.unpack_arguments(serialize.pack_arguments(tuple(args), kwargs).tobytes())
    assert same(list(got), [args, kwargs])


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ({"a": [1, 2.5, None, True, "x", b"y", {"z": []}]}, "values"),
        (2**64 - 1, "values"),
        (2**64, "pickle"),
        ((1, 2), "pickle"),
        ([[(1,)]], "pickle"),
        ({1: 2}, "pickle"),
        ("\ud800", "pickle"),
        (Text("x"), "pickle"),
        (np.float64(1), "pickle"),
        (np.arange(3), "values"),
        ({"deep": [np.eye(2)]}, "values"),
        (Sample(1, []), "pickle"),
        (eval("lambda: 1"), "dill"),
    ],
    ids=repr,
)
def test_each_value_takes_the_plainest_format_that_keeps_it(value, form):
    assert form_of(value) == form


def test_a_list_that_occurs_twice_is_still_one_list():
    inner = [1]
    got = there_and_back([inner, inner])
    assert got[0] is got[1]
    circular = [1]
    circular.append(circular)
    got = there_and_back(circular)
    assert got[1] is got


ARRAYS = [
    np.arange(12.0).reshape(3, 4),
    np.asfortranarray(np.arange(12).reshape(3, 4)),
    np.arange(24).reshape(2, 3, 4)[:, ::2],
    np.array(1.5),
    np.empty((0, 3), "i4"),
    np.array(["2020-01-01", "NaT"], "M8[ns]"),
    np.array(["ä", "bcd"]),
    np.array([1, 2], ">i8"),
    np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
    np.array([1, "a", None], object),
    np.array([True, False]),
    np.float16([1, 2]),
    np.ma.array([1, 2], mask=[0, 1]),
    np.recarray(2, [("x", "f4")]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{type(a).__name__}-{a.dtype}-{a.shape}")
@pytest.mark.parametrize("writable_block", [True, False])
def test_arrays_come_back_equal_and_writable(array, writable_block):
    block = serialize.pack_value({"a": array}).tobytes()
    got = serialize.unpack_value(bytearray(block) if writable_block else block)["a"]
    assert type(got) is type(array)
    assert (got.dtype, got.shape) == (array.dtype, array.shape)
    assert got.tobytes() == array.tobytes() or array.dtype == object
    assert got.flags.writeable
    if got.size:
        got[...] = got.copy()


@given(numpy_strategies.arrays(numpy_strategies.scalar_dtypes(), numpy_strategies.array_shapes(min_side=0)))
@settings(max_examples=100, deadline=None)
def test_any_array_keeps_type_and_bytes(array):
    got = there_and_back(array)
    assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert got.flags.writeable


def test_a_read_only_array_stays_read_only():
    array = np.arange(3)
    array.flags.writeable = False
    assert not there_and_back(array).flags.writeable


def test_packing_large_arrays_and_bytes_copies_nothing():
    array, blob = np.ones(4_000_000), bytes(8_000_000)
    table = pd.DataFrame({"a": array})
    serialize.pack_arguments((table[:1],), {})  # imports on the way do not count
    tracemalloc.start()
    packed = serialize.pack_arguments((array,), {"blob": blob, "more": {"inner": array[:10]}})
    frame = serialize.pack_arguments((table, (array, 1)), {})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    assert packed.nbytes > 40_000_000
    assert any(np.shares_memory(array, np.frombuffer(chunk, "u1")) for chunk in packed.chunks)
    assert any(np.shares_memory(array, np.frombuffer(chunk, "u1")) for chunk in frame.chunks)


def test_unpacking_from_a_writable_block_copies_nothing():
    block = bytearray(serialize.pack_arguments((np.ones(500_000), (np.zeros(500_000), 1)), {}).tobytes())
    (plain, (pickled, _)), _ = serialize.unpack_arguments(block)
    view = np.frombuffer(block, "u1")
    assert np.shares_memory(pickled, view)
    assert np.shares_memory(plain, view)
    plain[0] = 5


def test_large_bytes_come_back_as_bytes():
    blob = random.Random(1).randbytes(100_000)
    assert there_and_back(blob) == blob
    args, kwargs = serialize.unpack_arguments(serialize.pack_arguments((blob, (1,)), {"b": blob}).tobytes())
    assert (args, kwargs) == ([blob, (1,)], {"b": blob})
    assert type(args[0]) is bytes


def test_data_frames_come_back():
    frame = pd.DataFrame(
        {
            "n": np.arange(5),
            "t": pd.date_range("2020", periods=5, tz="UTC"),
            "s": list("abcde"),
            "c": pd.Categorical(list("aabbc")),
            "o": [None, 1, "x", (1,), 2.5],
        },
        index=pd.Index(range(5), name="row"),
    )
    got = there_and_back(frame)
    pd.testing.assert_frame_equal(got, frame)
    got.loc[0, "n"] = 7
    pd.testing.assert_series_equal(there_and_back(frame["t"]), frame["t"])


def test_instances_come_back_as_instances_of_the_users_own_class():
    got = there_and_back([Sample(1, [Level.LOW]), Named(1, b"2"), Level.LOW])
    assert got == [Sample(1, [Level.LOW]), Named(1, b"2"), Level.LOW]
    assert [type(item) for item in got] == [Sample, Named, Level]


def test_a_class_goes_to_a_worker_and_back(tmp_path):
    def work(sample):
        return Sample(sample.x + 1, [type(sample) is Sample, Named(1, 2)])

    (tmp_path / "f").write_bytes(serialize.pack_function(work).body)
    (tmp_path / "a").write_bytes(serialize.pack_arguments((Sample(1, []),), {}).tobytes())
    script = (
        "import sys; from pathlib import Path; from funcx_lab import serialize as s; p = Path(sys.argv[1])\n"
        "f = s.unpack_function((p / 'f').read_bytes(), task_id='t')\n"
        "a, k = s.unpack_arguments((p / 'a').read_bytes())\n"
        "(p / 'r').write_bytes(s.pack_value(f(*a, **k)).tobytes())\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    got = serialize.unpack_value((tmp_path / "r").read_bytes())
    assert got == Sample(2, [True, Named(1, 2)])
    assert type(got.data[1]) is Named


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ((i for i in range(3)), "list of its items"),
        (threading.Lock(), "lock"),
        ([1, {"f": sys.stdin.buffer if False else open(__file__)}], "open file"),  # noqa: SIM115  # closed by the test
        (sys._getframe(), "frame"),
    ],
    ids=["generator", "lock", "file", "frame"],
)
def test_what_cannot_be_sent_says_why_and_what_to_try(value, hint):
    with pytest.raises(CannotSerialize, match=hint) as caught:
        serialize.pack_value(value)
    assert f"The result ({type(value).__name__}) cannot be sent back" in str(caught.value)
    with pytest.raises(CannotSerialize, match=hint) as caught:
        serialize.pack_arguments((1, 2), {"given": value})
    assert "Argument `given`" in str(caught.value)
    with pytest.raises(CannotSerialize, match="Argument 2 "):
        serialize.pack_arguments((1, value), {})
    if isinstance(value, list):
        value[1]["f"].close()


def test_an_object_that_refuses_to_be_pickled_is_reported():
    class Refuses:
        def __reduce__(self):
            raise RuntimeError("not me")

    with pytest.raises(CannotSerialize, match="not me"):
        serialize.pack_value([Refuses()])


def test_untrusted_results_open_only_if_plain():
    value = {"a": [1, "x", np.arange(3)]}
    assert there_and_back(value, trusted=False)["a"][2].tolist() == [0, 1, 2]
    evil = payload.pack("pickle", [b"cos\n_exit\n(I3\ntR."]).tobytes()
    with pytest.raises(UntrustedResult):
        serialize.unpack_value(evil, trusted=False)
    with pytest.raises(UntrustedResult):
        there_and_back((1, 2), trusted=False)


def test_untrusted_arrays_cannot_hold_objects():
    block = serialize.pack_value(np.arange(2)).tobytes()
    header, parts = payload.unpack(block)
    assert b"<i8" in bytes(parts[0])
    evil = payload.pack("values", [bytes(parts[0]).replace(b"\xa3<i8", b"\xa2|O"), parts[1]]).tobytes()
    with pytest.raises(MalformedMessage):
        serialize.unpack_value(evil, trusted=False)
    assert header.format == "values"


def test_a_value_that_cannot_be_rebuilt_says_what_is_missing():
    block = payload.pack("pickle", [b"cno_such_module\nthing\n."]).tobytes()
    with pytest.raises(CannotDeserialize, match="no_such_module"):
        serialize.unpack_value(block)


SEEDS = [
    serialize.pack_value({"a": [1, "text", 2.5, None], "b": np.arange(30)}).tobytes(),
    serialize.pack_value([1] * 50).tobytes(),
    serialize.pack_value(
        serialize.CellResult(True, 1, {"text/plain": "1"}, {"x": [1]}, {"y": "no"})
    ).tobytes(),
    serialize.pack_arguments((1, 2), {"k": "v"}).tobytes(),
]


def rehashed(block):
    """Return a damaged payload whose digest is right again, if its header can be read."""
    header, parts = payload.unpack(block, verify=False)
    return payload.pack(header.format, parts).tobytes()


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_payloads_give_errors_of_ours(data):
    block = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        how = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        at = data.draw(st.integers(0, max(0, len(block) - 1)))
        if how == "flip" and block:
            block[at] ^= data.draw(st.integers(1, 255))
        elif how == "cut":
            del block[at:]
        else:
            block[at:at] = data.draw(st.binary(max_size=8))
    for damaged in (lambda: bytes(block), lambda: rehashed(block)):
        for opened in (
            lambda block: serialize.unpack_value(block, trusted=False),
            lambda block: serialize.unpack_exception(block, ERROR, trusted=False),
        ):
            with contextlib.suppress(FuncxLabError):
                opened(damaged())


ERROR = serialize.pack_exception(ValueError("x"))[1]


def test_a_flipped_bit_anywhere_in_the_parts_is_noticed():
    block = bytearray(serialize.pack_value((1, "pickled")).tobytes())
    block[-3] ^= 1
    with pytest.raises(HashMismatch):
        serialize.unpack_value(bytes(block))


def test_deeply_nested_values_do_not_crash():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CannotSerialize):
        serialize.pack_value(deep)
    while deep:
        deep = deep[0]
    with pytest.raises(MalformedMessage):
        serialize.unpack_value(payload.pack("values", [b"\x91" * 100_000 + b"\x01"]).tobytes())


def test_arguments_that_are_not_arguments_are_refused():
    for value in (3, [1], [[], []], [[1], {"a": 1}, 2]):
        with pytest.raises(MalformedMessage):
            serialize.unpack_arguments(serialize.pack_value(value).tobytes())


def test_dates_and_times_come_back():
    zone = datetime.timezone(datetime.timedelta(hours=2))
    value = [datetime.datetime(2020, 1, 2, tzinfo=zone), datetime.timedelta(1), pd.Timestamp("2020")]
    assert same(there_and_back(value), value)


def test_a_pickle_is_protocol_5():
    _, parts = payload.unpack(serialize.pack_value((1,)).tobytes())
    assert pickle.loads(parts[0]) == (1,)
    assert bytes(parts[0][:2]) == b"\x80\x05"
