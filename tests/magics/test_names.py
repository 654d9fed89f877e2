"""A table of cells and the names they need and leave."""

from __future__ import annotations

import sys

import pytest

from funcx_lab_magics.cell.names import read_names

# cell, names it must have, names it takes when they exist, names it leaves
CELLS = [
    ("x + 1", "x", "", ""),
    ("x = 1\nx + 1", "", "", "x"),
    ("x = x + 1", "x", "", "x"),
    ("x += 1", "x", "", "x"),
    ("x: int = y", "int y", "", "x"),
    ("x: int\nx", "int x", "", ""),
    ("a, (b, *c) = f()", "f", "", "a b c"),
    ("d[k] = v", "v d k", "", ""),
    ("o.attribute = v", "v o", "", ""),
    ("del x", "", "", ""),
    ("x = 1\ndel x", "", "", ""),
    ("x = 1\ndel x\nx", "x", "", ""),
    ("if (n := len(a)) > 1:\n    n", "len a", "", "n"),
    ("print(f'{x!r:>{width}}')", "print x width", "", ""),
    ("[i * k for i in xs]", "xs k", "", ""),
    ("[(last := i) for i in xs]\nlast", "xs", "", "last"),
    ("[y for x in xs if (y := x)]", "xs", "", "y"),
    ("[y + z for x in xs if [z for _ in x if (z := x)] and (y := x)]", "xs", "", "y z"),
    ("[total := total + x for x in xs]", "total xs", "", "total"),
    ("{k: v for k, v in d.items() if ok(v)}", "d ok", "", ""),
    ("[[y for y in x] for x in xs]", "xs", "", ""),
    ("lambda a, b=c: a + b + d", "c d", "", ""),
    ("import numpy as np\nnp.mean(x)", "x", "", ""),
    ("import os.path\nos.getcwd()", "", "", ""),
    ("from math import *\nsqrt(x)", "", "sqrt x", ""),
    # functions
    ("def f(a):\n    return a + k\nf(1)", "k", "", "f"),
    ("def f(a):\n    return a + k", "", "k", "f"),
    ("def f(a):\n    return a + k\nk = 1\nf(1)", "", "", "f k"),
    ("def f(a):\n    return a + k\nf(1)\nk = 1", "k", "", "f k"),
    ("def f(a, b=c, *args, d: T, **more) -> R:\n    return a, b, args, d, more", "c T R", "", "f"),
    ("def f(n):\n    return f(n - 1)\nf(3)", "", "", "f"),
    ("@deco\ndef f(): pass", "deco", "", "f"),
    ("def f():\n    def g():\n        return x + k\n    x = 1\n    return g\nf()", "k", "", "f"),
    ("def f():\n    global total\n    total += 1\nf()", "total", "", "f total"),
    ("def f():\n    g()\ndef g():\n    return k\nf()", "k", "", "f g"),
    ("def f():\n    import json\n    return json.dumps(x)\nf()", "x", "", "f"),
    ("def f():\n    with open(p) as h, z as (a, b):\n        return h, a, b\nf()", "open p z", "", "f"),
    ("def f():\n    try:\n        pass\n    except E as err:\n        return err\nf()", "E", "", "f"),
    ("f = lambda: k\nk = 1\nf()", "", "", "f k"),
    ("fs = [lambda: k]\nk = 1", "k", "", "fs k"),
    ("async def f():\n    async for x in y:\n        await x\nf", "y", "", "f"),
    (
        "def f(s):\n    match s:\n        case {'a': a, **r}: a, r\n        case [b, *c]: b, c\nf(1)",
        "",
        "",
        "f",
    ),
    # classes
    ("class A(B):\n    x = k\n    def m(self):\n        return self.x + j", "B k", "j", "A"),
    ("class A:\n    x = k\n    def m(self):\n        return j\nA()", "k j", "", "A"),
    (
        "class A:\n    y = 1\n    z = y\n    def m(self):\n        return super().m() + y\nA()",
        "super y",
        "",
        "A",
    ),
    ("class A(metaclass=M):\n    pass", "M", "", "A"),
    (
        "def f():\n    class C:\n        a = k\n        def m(self): return a\n    return C\nf()",
        "k a",
        "",
        "f",
    ),
    # branches
    ("if c:\n    x = 1\nelse:\n    x = 2\nx", "c", "", "x"),
    ("if c:\n    x = 1\nx", "c", "x", "x"),
    ("if c:\n    x = 1\nelse:\n    raise E\nx", "c E", "", "x"),
    ("for i in xs:\n    t = i\nt", "xs", "t", "i t"),
    ("while c:\n    c = step(c)\n    n = c\nn", "c step", "n", "c n"),
    ("with a as b:\n    x = b\nx", "a", "", "b x"),
    ("try:\n    x = f()\nexcept ValueError:\n    x = None\nx", "f ValueError", "", "x"),
    ("try:\n    x = f()\nexcept ValueError:\n    pass\nx", "f ValueError", "x", "x"),
    ("try:\n    x\nexcept NameError:\n    x = 1\nx", "NameError", "x", "x"),
    ("try:\n    x = 1\nfinally:\n    y = x\n", "", "", "x y"),
    ("try:\n    pass\nexcept E as err:\n    err", "E", "", ""),
    (
        "match p:\n    case Point(x=0, y=y): y\n    case [a, *b] if a > k: b\n    case C.RED: pass",
        "p Point k C",
        "",
        "y a b",
    ),
    ("x = 1 if c else d", "c d", "", "x"),
    ("global x\nx = 1", "", "", "x"),
    ("", "", "", ""),
    ("# only a comment", "", "", ""),
    ("raise E(m) from cause", "E m cause", "", ""),
    ("assert ok, message", "ok message", "", ""),
    ("print(__name__)", "print __name__", "", ""),
]

if sys.version_info >= (3, 12):
    CELLS += [
        ("def f[T: B](x: T) -> list[T]:\n    y: T = x\n    return y\nf(k)", "B list k", "", "f"),
        ("class A[T](G[T]):\n    x: T\n    def m(self) -> T: return T\nA()", "G", "", "A"),
        ("type P[T] = dict[T, k]\nT", "dict k T", "", "P"),
    ]


@pytest.mark.parametrize(("cell", "required", "optional", "assigned"), CELLS, ids=[c[0][:40] for c in CELLS])
def test_names_of_a_cell(cell: str, required: str, optional: str, assigned: str) -> None:
    names = read_names(cell)
    assert {n for n, read in names.reads.items() if read.required} == set(required.split())
    assert {n for n, read in names.reads.items() if not read.required} == set(optional.split())
    assert set(names.assigned) == set(assigned.split())


def test_imports_are_told_apart_from_assigned_names() -> None:
    names = read_names("import numpy as np\nfrom math import pi\nimport os.path\nx = pi\nnp = 3")
    assert names.imported == {"pi": ["from math import pi"], "os": ["import os.path"]}
    assert names.assigned == ["x", "np"] or set(names.assigned) == {"x", "np"}


def test_a_read_knows_its_line() -> None:
    names = read_names("a = 1\n\nb = a + c\ndef f():\n    return d\nf()")
    assert {name: read.line for name, read in names.reads.items()} == {"c": 3, "d": 5}


def test_dotted_paths_are_kept() -> None:
    assert read_names("scipy.stats.norm.pdf(x.y)").attributes["scipy"] >= {"stats.norm.pdf"}


def test_a_syntax_error_keeps_its_line() -> None:
    with pytest.raises(SyntaxError) as caught:
        read_names("x = 1\ny = = 2")
    assert caught.value.lineno == 2
