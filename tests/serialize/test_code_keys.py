"""Keys of code: equal for what says the same, different for what may give another value."""

from __future__ import annotations

import linecache
import os
import subprocess
import sys
from typing import Any

import pytest

from funcx_lab.serialize import pack_cell, pack_function
from funcx_lab.serialize.code_keys import key_of_cell, key_of_function

BASE = """
K = 3
class C:
    x = 1
def g(x): return x + K
def f(x, y=2): return (g(x) + y + C.x)
"""
WRITTEN_OTHERWISE = """
# a comment
class C:

    x = 1  # its own

def g(x):
    return (x +
            K)
K = 3

def f(x, y = 2):
    # adds
    return g(x) + y + C.x
"""


def defined(text: str, name: str) -> Any:
    """Return ``f`` of a notebook cell with this text."""
    filename = f"<cell {name}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, filename, "exec"), space)
    return space["f"]


def test_comments_blank_lines_and_places_do_not_matter() -> None:
    one, other = defined(BASE, "1"), defined(WRITTEN_OTHERWISE, "2")
    assert key_of_function(one) == key_of_function(other)
    packed, again = pack_function(one), pack_function(other)
    assert packed.sha256 != again.sha256
    assert packed.code == again.code == key_of_function(one)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("K = 3", "K = 4"),
        ("x = 1", "x = 2"),
        ("x + K", "x - K"),
        ("y=2", "y=5"),
        ("def f(x, y=2)", "def f(x, *, y=2)"),
    ],
)
def test_what_it_uses_matters(old: str, new: str) -> None:
    assert key_of_function(defined(BASE, "3")) != key_of_function(defined(BASE.replace(old, new), "4"))


def test_closures_matter() -> None:
    def adder(n: int) -> Any:
        return lambda x: x + n

    assert key_of_function(adder(1)) == key_of_function(adder(1))
    assert key_of_function(adder(1)) != key_of_function(adder(2))


def test_another_process_finds_the_same_key() -> None:
    base = BASE.replace("+ y", "+ len(WORDS)") + "WORDS = {'one', 'two', 'three'}\n"
    code = (
        f"import sys; sys.path[:0] = [{os.path.dirname(__file__)!r}]; import test_code_keys as t;"
        f"print(t.key_of_function(t.defined({base!r}, 'x')))"
    )
    keys = {key_of_function(defined(base, "5"))}
    for seed in "17":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
        keys.add(ran.stdout.strip())
    assert len(keys) == 1


def test_cells() -> None:
    base = key_of_cell("x = 1\nx", None, ["import a", "import b"])
    assert base == key_of_cell("\nx=1  # one\n\nx", None, ["import b", "import a"])
    others = [
        ("x = 2\nx", None, ["import a", "import b"]),
        ("x = 1\nx;", None, ["import a", "import b"]),
        ("x = 1\nx", ["x"], ["import a", "import b"]),
        ("x = 1\nx", [], ["import a", "import b"]),
        ("x = 1\nx", None, ["import a"]),
    ]
    assert base not in {key_of_cell(*other) for other in others}
    assert key_of_cell("await f()", None, [])


def test_a_packed_cell_has_the_key_whatever_it_is_called() -> None:
    def packed(filename: str, first_line: int) -> Any:
        return pack_cell(
            "y = x", filename=filename, first_line=first_line, inputs=["x"], outputs=None, imports=[]
        )

    one, other = packed("Cell In[1]", 2), packed("Cell In[7]", 3)
    assert one.sha256 != other.sha256
    assert one.code == other.code
