"""Globus Compute's text packing: strings that globus_compute_sdk 4.19 (Python 3.11, dill 0.3.9) wrote."""

import json
from pathlib import Path

import pytest

from funcx_lab.errors import (
    CannotDeserialize,
    CannotSerialize,
    FuncxLabError,
    MalformedMessage,
    PythonMismatch,
)
from funcx_lab.protocol import payload
from funcx_lab.serialize import globus

# double(x, plus=0) is 2 * x + plus; called with [4] and {"plus": 1}.
PACKED = json.loads(Path(__file__).with_name("globus_packed.json").read_text())
FUNCTIONS, ARGUMENTS, UNICODE = PACKED["functions"], PACKED["arguments"], PACKED["unicode"]


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions_of_every_kind_are_read(kind):
    packed = FUNCTIONS[kind].encode()
    assert globus.is_globus(packed)
    if kind == "DillCode" and payload.PYTHON != "3.11":
        with pytest.raises(PythonMismatch):
            globus.unpack_function(packed, python="3.11.7")
        return
    function = globus.unpack_function(packed, python="3.11.7")
    assert function(4, plus=1) == 9


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_arguments_of_every_kind_are_read(kind):
    packed = ARGUMENTS[kind].encode()
    assert globus.is_globus(packed)
    assert globus.unpack_arguments(packed) == ([4], {"plus": 1})


def test_lengths_are_in_characters():
    assert globus.unpack_arguments(UNICODE) == (["zwölf ☃", {1, 2}], {})
    assert globus.split(globus.join(["ä☃", "", "b"])) == ["ä☃", "", "b"]
    packed = globus.join(['11\n["zwölf ☃"]', "11\n{}"])
    assert globus.unpack_arguments(packed.encode()) == (["zwölf ☃"], {})


def test_bytecode_of_another_python_is_refused_and_source_beside_it_is_used():
    with pytest.raises(PythonMismatch, match=r"3\.9"):
        globus.unpack_function(FUNCTIONS["DillCode"], python="3.9.18")
    for kind in ("CombinedCode", "AllCodeStrategies"):
        assert globus.unpack_function(FUNCTIONS[kind], python="3.9.18")(1) == 2
    only_bytecode = globus.join(["12\n" + FUNCTIONS["DillCode"]])
    with pytest.raises(PythonMismatch):
        globus.unpack_function(only_bytecode, python="3.9.18")


def test_pickled_functions_are_loaded_only_where_trusted():
    packed = globus.join(["02\ngASVFAAAAAAAAACMCGJ1aWx0aW5zlIwDYWJzlJOULg==\n"])
    with pytest.raises(CannotDeserialize, match="02"):
        globus.unpack_function(packed)
    assert globus.unpack_function(packed, trusted=True)(-2) == 2


def test_plain_source_gives_the_function():
    text = "import math\ndef area(r):\n    return round(math.pi * r, 2)\n"
    assert globus.function_from_source("area", text)(1) == 3.14
    assert globus.function_from_source("later", "async def later(x):\n    return x\n")(3) == 3
    for name, text in (("missing", "def other(): pass"), ("broken", "def broken(:"), ("raises", "1/0")):
        with pytest.raises(CannotDeserialize):
            globus.function_from_source(name, text)


@pytest.mark.parametrize(
    ("serializers", "identifier"),
    [
        ((), "00"),
        (["globus_compute_sdk.serialize.JSONData"], "11"),
        (["11"], "11"),
        (["globus_compute_sdk.serialize.AllDataStrategies"], "13"),
        (["unknown.Thing", "globus_compute_sdk.serialize.concretes.DillDataBase64"], "00"),
    ],
)
def test_results_are_packed_as_asked(serializers, identifier):
    value = {"a": [1, 2.5, "x" * 300]}
    packed = globus.pack_result(value, serializers)
    assert packed.startswith(identifier + "\n")
    both = globus.join([globus.pack_result([value], serializers), "11\n{}"])
    assert globus.unpack_arguments(both) == ([value], {})
    if identifier == "00":
        assert max(map(len, packed.splitlines())) == 76


def test_a_result_that_json_cannot_hold_falls_to_the_next_or_fails_clearly():
    assert globus.pack_result({1, 2}, ["11", "00"]).startswith("00\n")
    with pytest.raises(CannotSerialize, match="set"):
        globus.pack_result({1, 2}, ["11"])
    assert json.loads(globus.pack_result([1], ["11"])[3:]) == [1]


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xff\xfe",
        b"5\n01\nx",
        b"-1\n",
        b"x\n11\n[]",
        b"2\n11",
        b"5\n99\n[]",
        b"5\n11\n[]",
        b"99999999999999999999999\n",
        b"6\n01\n!!!",
        b"8\n00\nAAAA\n",
        b"4\n11\n[4\n11\n{",
        b"4\nst\nx",
        "6\n11\n²²²".encode(),
        "²\nst".encode(),
    ],
)
def test_damaged_texts_give_errors_of_ours(packed):
    with pytest.raises(FuncxLabError):
        globus.unpack_function(packed)
    with pytest.raises(FuncxLabError):
        globus.unpack_arguments(packed)


def test_payloads_of_ours_are_not_taken_for_globus():
    assert not globus.is_globus(payload.pack("values", [b"x"]).tobytes())
    assert not globus.is_globus(b"def f(): pass")
    with pytest.raises(MalformedMessage):
        globus.unpack_arguments(globus.join(["11\n{}", "11\n[]"]))
