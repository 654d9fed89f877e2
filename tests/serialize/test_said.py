"""What people are told of functions and arguments: names, sizes and source, nothing of their values."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funcx_lab.protocol import payload
from funcx_lab.protocol.readable import INPUTS_LIMIT, inputs_of
from funcx_lab.serialize import pack_arguments, pack_function, unpack_arguments
from funcx_lab.serialize.said import SOURCE_LIMIT


@dataclasses.dataclass
class Secret:
    """Travels as a pickle."""

    word: str = "swordfish"


@dataclasses.dataclass
class Evil:
    """Says nothing about itself."""

    @property
    def nbytes(self) -> int:
        raise RuntimeError("no")

    @property
    def shape(self) -> tuple[int, ...]:
        raise RuntimeError("no")


def told(*args: Any, sizes: dict[str, int] | None = None, **kwargs: Any) -> dict[str, tuple[Any, Any]]:
    block = pack_arguments(args, kwargs, sizes=sizes).tobytes()
    again = unpack_arguments(bytearray(block))
    assert repr(again) == repr((list(args), kwargs))
    return {each.name: (each.size, each.type) for each in inputs_of(block, len(block), ["first", "second"])}


def test_pickled_arguments_are_told_by_name_size_and_type() -> None:
    inputs = told(Secret(), {1, 2}, "four", big=np.zeros((100, 100)), word=b"xyz")
    assert list(inputs) == ["first", "second", "argument 3", "big", "word"]
    assert inputs["first"] == (None, "Secret")
    assert inputs["second"] == (None, "set")
    assert inputs["argument 3"] == (4, "str")
    assert inputs["big"] == (80_000, "ndarray (100, 100)")
    assert inputs["word"] == (3, "bytes")


def test_few_bytes_are_measured_and_what_was_measured_is_taken() -> None:
    inputs = told(Secret(), x={1, 2}, y=frozenset(), sizes={"x": 77})
    assert 30 < inputs["first"][0] < 3000
    assert inputs["x"] == (77, "set")
    assert isinstance(inputs["y"][0], int)


def test_a_lone_argument_takes_all_bytes() -> None:
    ((size, kind),) = told(Secret("x" * 50_000)).values()
    assert kind == "Secret"
    assert 50_000 < size < 50_500


def test_no_value_is_in_what_is_told() -> None:
    block = pack_arguments((Secret(), {"hush"}), {"key": Secret("hush")}).tobytes()
    header, end = payload.read_header(block)
    assert header.inputs
    for word in (b"swordfish", b"hush"):
        assert word not in block[:end]


def test_arguments_that_refuse_to_say_anything_are_sent() -> None:
    assert told(Evil(), Evil())["first"][1] == "Evil"


def test_so_many_arguments_are_told() -> None:
    inputs = told(Secret(), **{f"a{n}": n for n in range(1000)})
    assert len(inputs) == INPUTS_LIMIT


def test_a_payload_of_plain_values_is_as_it_was() -> None:
    block = pack_arguments((1,), {"x": "y"}).tobytes()
    header, _ = payload.read_header(block)
    assert header.inputs == []
    assert block == payload.pack("values", [b"\x92\x91\x01\x81\xa1x\xa1y"]).tobytes()


def test_a_header_of_before_and_one_of_later_are_read() -> None:
    body = b"body"
    facts: list[Any] = ["pickle", "3.11", [4], b"0" * 32]
    for more in ([], [[["x", 4, "Secret"]]], [[["x", 4, "Secret"]], "news"]):
        header = payload._encode([*facts, *more])
        block = payload._PREFIX.pack(payload.MAGIC, payload.VERSION, len(header)) + header
        read, _ = payload.read_header(block + body)
        assert read.lengths == [4]
        assert read.inputs == ([("x", 4, "Secret")] if more else [])


@pytest.mark.parametrize("flaw", [b"\x93FXL", b"\x93FXL\x01\0\0\0\xff\xff\xff\xff", b"", b"\xff" * 100])
def test_any_bytes_are_told_of(flaw: bytes) -> None:
    assert inputs_of(flaw, 7) == [("arguments", 7, None)]


def function_of(text: str, tmp_path: Path, name: str = "f") -> Callable[..., Any]:
    path = tmp_path / "notebook_cell.py"
    path.write_text(text)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, str(path), "exec"), space)  # as a notebook would
    function: Callable[..., Any] = space[name]
    return function


def test_a_functions_source_and_parameters_are_told(tmp_path: Path) -> None:
    text = "def f(x, y=2, *rest, z=1):\n    return x + y  # so it is\n"
    function = function_of(text, tmp_path)
    packed = pack_function(function)
    assert packed.source.strip() == text.strip()
    assert packed.parameters == ("x", "y")
    assert pack_function(functools.partial(function, 1)).parameters == ("y",)


def test_no_source_is_told_of_what_travels_by_name_or_is_too_long(tmp_path: Path) -> None:
    assert pack_function(json.dumps).source == ""
    assert pack_function(json.dumps).parameters == ("obj",)
    long = "def f(x):\n    return '" + "y" * SOURCE_LIMIT + "'\n"
    assert pack_function(function_of(long, tmp_path)).source == ""
    assert pack_function(len).source == ""
