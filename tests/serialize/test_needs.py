"""What values and code need where they are opened."""

from __future__ import annotations

import ast
import collections
import textwrap
from typing import Any

import numpy
import pandas
import pytest
import sklearn.linear_model

from funcx_lab.serialize import needs_of
from funcx_lab.serialize.needs import Needs, imports_in, needed_module
from funcx_lab.serialize.values import encode


class Model:
    def fit(self) -> Any:
        import torch  # type: ignore[import-not-found,unused-ignore]  # read, not run

        return torch, sklearn.linear_model.Ridge


def helper() -> Any:
    return pandas.DataFrame()


def calls_helper() -> Any:
    return helper()


def modules_of(value: Any) -> set[str]:
    needs = Needs()
    encode(value, needs)
    return needs.modules


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, "a", {"b": None}], set()),
        (collections.OrderedDict(), set()),
        (numpy.zeros(10_000), {"numpy"}),
        ({"x": numpy.zeros(10_000)}, {"numpy"}),
        (pandas.DataFrame({"a": [1]}), {"pandas", "numpy"}),
        ([{"deep": pandas.Timestamp("2020-01-01")}], {"pandas"}),
        (sklearn.linear_model.Ridge(), {"sklearn"}),
        (numpy.float64, {"numpy"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_need_the_packages_of_their_types(value: Any, expected: set[str]) -> None:
    assert modules_of(value) == expected


def test_functions_need_what_they_import_and_what_they_use() -> None:
    assert needs_of(calls_helper).modules == {"pandas"}
    assert needs_of(numpy.linalg.norm).modules == {"numpy"}
    assert modules_of(Model) >= {"torch", "sklearn"}
    assert modules_of([Model()]) >= {"torch", "sklearn"}


def test_only_what_has_no_source_is_bound_to_this_python() -> None:
    assert not needs_of(calls_helper).bound
    assert needs_of(eval("lambda: 1")).bound


IMPORTS = {
    "import torch.nn as nn, os": {"torch": 1},
    "from jax.numpy import zeros": {"jax": 1},
    "from . import x\nfrom .y import z": {},
    "def f():\n    import numba": {"numba": 2},
    "x = 1\nfor i in x:\n    import numba\n    import numba.cuda": {"numba": 3},
    "try:\n    import torch\nexcept ImportError:\n    torch = None": {},
    "try:\n    import torch\nexcept (KeyError, ModuleNotFoundError):\n    pass": {},
    "try:\n    import torch\nexcept:\n    pass": {},
    "try:\n    import torch\nfinally:\n    pass": {"torch": 2},
    "try:\n    import torch\nexcept ValueError:\n    pass": {"torch": 2},
    "if gpu:\n    import cupy": {},
    "with contextlib.suppress(ImportError):\n    import torch": {},
    "with open('x'):\n    import torch": {"torch": 2},
    "import funcx_lab, funcx_lab_magics, __main__": {},
}


@pytest.mark.parametrize("source", IMPORTS)
def test_only_imports_that_must_succeed_are_needed(source: str) -> None:
    assert imports_in(ast.parse(textwrap.dedent(source))) == IMPORTS[source]


@pytest.mark.parametrize(("name", "top"), [("numpy.linalg", "numpy"), ("os.path", ""), ("funcx", "funcx")])
def test_the_standard_library_is_everywhere(name: str, top: str) -> None:
    assert needed_module(name) == top
