"""Many items of a map in one task: each has an outcome of its own."""

import asyncio
import threading

import pytest

from funcx_lab import serialize
from funcx_lab.errors import CannotSerialize, MalformedMessage, UntrustedResult
from funcx_lab.protocol import payload
from funcx_lab.serialize.items import compute_items


def travelled(function, calls, *, trusted=True):
    """Pack a function in chunks, run it as a worker does, and bring its outcomes back."""
    there = serialize.unpack_function(serialize.pack_function(serialize.in_chunks(function)).body)
    return serialize.unpack_value(serialize.pack_value(there(calls)).tobytes(), trusted=trusted)


def opened(outcomes):
    return [outcomes.open(item) for item in range(len(outcomes))]


def test_an_item_that_raises_touches_no_other() -> None:
    values = opened(travelled(lambda x: 6 // x, [(1,), (0,), (3,)]))
    assert [value for value, _ in values] == [6, None, 2]
    assert [type(error) for _, error in values] == [type(None), ZeroDivisionError, type(None)]
    assert "6 // x" in str(values[1][1].__cause__)


def test_a_value_that_cannot_travel_and_an_exit_are_that_items_outcome() -> None:
    def odd(x):
        if x == 1:
            return threading.Lock()
        if x == 2:
            raise SystemExit(3)
        return x

    values = opened(travelled(odd, [(0,), (1,), (2,), (3,)]))
    assert (values[0], values[3]) == ((0, None), (3, None))
    assert isinstance(values[1][1], CannotSerialize)
    assert "SystemExit" in str(values[2][1])


def test_a_lone_item_is_its_call() -> None:
    there = serialize.unpack_function(serialize.pack_function(serialize.in_chunks(divmod)).body)
    assert there([(7, 2)]) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        there([(7, 0)])


def test_an_interrupt_stops_all_items() -> None:
    seen = []

    def stopped(item):
        seen.append(item)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute_items(stopped, 5)
    assert seen == [0]


def test_coroutine_functions_run_to_their_end() -> None:
    async def later(x):
        await asyncio.sleep(0)
        return x + 1

    assert opened(travelled(later, [(1,), (2,)])) == [(2, None), (3, None)]


def test_only_items_that_need_unpickling_are_refused_when_nobody_trusts_them() -> None:
    values = opened(travelled(lambda x: {1, 2} if x else "plain", [(0,), (1,)], trusted=False))
    assert values[0] == ("plain", None)
    assert isinstance(values[1][1], UntrustedResult)


@pytest.mark.parametrize("parts", [[b"\xc1"], [b"\x91\xc0"], [b"\x90", b"left over"]])
def test_damaged_outcomes_are_refused(parts) -> None:
    with pytest.raises(MalformedMessage):
        serialize.unpack_value(payload.pack("items", parts).tobytes())


def mapped(source, names, shared, items, outputs=()):
    cell = serialize.pack_cell(
        source, filename="Cell In[1]", first_line=2, inputs=list(shared), outputs=list(outputs), imports=[]
    )
    packed = serialize.map_cell(cell, names, serialize.pack_arguments((), shared))
    there = serialize.unpack_function(packed.body)
    return serialize.unpack_value(serialize.pack_value(there(items)).tobytes())


def test_a_cell_runs_once_per_item_with_values_of_its_own() -> None:
    outcomes = mapped("y = x * k.pop()\ny + 1", ["x"], {"k": [10]}, [(1,), (2,)], ["y"])
    results = [value for value, _ in opened(outcomes)]
    assert [result.value for result in results] == [11, 21]
    assert [result.names for result in results] == [{"y": 10}, {"y": 20}]


def test_several_names_go_in_step() -> None:
    results = opened(mapped("x + y", ["x", "y"], {}, [(1, 10), (2, 20)]))
    assert [result.value for result, _ in results] == [11, 22]


def test_a_damaged_mapped_cell_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        serialize.unpack_function(payload.pack("mapped-cell", [b"\x91\xa1x"]).tobytes())
