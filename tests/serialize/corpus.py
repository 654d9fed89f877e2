"""Functions of a user's script, one for each way of being awkward. Run as a program:

corpus.py pack FOLDER    writes every function and its arguments
corpus.py check FOLDER   compares results that runner.py wrote with what the functions give here
"""

from __future__ import annotations

import abc
import asyncio
import collections
import contextlib
import dataclasses
import decimal
import enum
import functools
import itertools
import math as m
import sys
import typing
import xml.dom.minidom
from math import sqrt as root
from pathlib import Path

from funcx_lab import serialize

FACTOR = 3
TABLE = {"a": [1, 2], ("t", 1): {1, 2}}
T = typing.TypeVar("T")
Mode = enum.Enum("Mode", "FAST SLOW")
Pair = collections.namedtuple("Pair", "left right")  # made by call on purpose


def plain(a, b=2, *rest, c, d=4, **more):
    """Keep me."""
    return a, b, rest, c, d, sorted(more.items())


def documented():
    return plain.__doc__, plain.__name__, plain.__module__, __name__


def aliases(x):
    return m.floor(x), root(x), xml.dom.minidom.parseString("<a b='1'/>").documentElement.tagName


def uses_globals(x):
    return x * FACTOR, TABLE["a"], TABLE["t", 1]


def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def make_counter(start):
    def step():
        nonlocal start
        start += 1
        return start

    def twice():
        return step(), step()

    return twice


def make_recursive(limit):
    def down(n):
        return [n, *down(n - 1)] if n > limit else []

    return down


def scaled(by):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs) * by

        return wrapper

    return decorate


@scaled(by=FACTOR)
def decorated(x: int, *, k: float = 1.5) -> float:
    return x + k


@functools.lru_cache(maxsize=64)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


pair_of_lambdas = [lambda x: x + 1, lambda x: x * 2]
nested_lambda = lambda x: lambda y: lambda z: x + y + z  # noqa: E731
default_lambda = lambda x, f=(lambda v: v**2): f(x) + 1  # noqa: E731


def comprehensions(n):
    local = 2
    return (
        [i * local for i in range(n)],
        {i: [j + i for j in range(i)] for i in range(n)},
        list(x for x in range(n)),  # noqa: C400  # a generator on purpose
    )


def squares(n):
    def generate():
        for i in range(n):
            got = yield i * i
            if got:
                return

    return list(generate())


async def later(x):
    await asyncio.sleep(0)
    return [y async for y in counting(x)]


async def counting(n):
    for i in range(n):
        yield i


def with_everything(text):
    with contextlib.suppress(KeyError):
        {}["missing"]
    try:
        raise ValueError(text)
    except ValueError as err:
        found = str(err)
    finally:
        found += "!"
    total = 0
    while True:
        total += 1
        if total > 3:
            break
    if (n := len(found)) > 2:
        total += n
    first, *_rest = found
    return f"{found!r:>10} {total:04d} {first}"


def matched(value):
    match value:
        case {"kind": "circle", "r": r}:
            return 3 * r
        case [x, *others]:
            return x, others
        case _:
            return None


if FACTOR:

    def inside_if(x):
        text = """two
    lines"""
        return text * x


class Shape(abc.ABC):
    sides = 0
    made: typing.ClassVar[list] = []

    def __init__(self, size):
        self.size = size

    @property
    def area(self):
        return self.size * FACTOR

    @classmethod
    def unit(cls):
        return cls(1)

    @staticmethod
    def helper(x):
        return root(x)

    @abc.abstractmethod
    def name(self): ...

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self):
        return hash(self.size)


class Square(Shape):
    sides = 4

    def __init__(self, size):
        super().__init__(size)
        self.__secret = size

    def name(self):
        return f"{__class__.__name__} {self.__secret} {self.helper(self.size)}"

    def bigger(self):
        return Square(self.size + 1)


@functools.total_ordering
@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: float = FACTOR
    tags: list = dataclasses.field(default_factory=list)

    def norm(self) -> float:
        return m.hypot(self.x, self.y)

    def __lt__(self, other):
        return self.norm() < other.norm()


class Color(enum.Enum):
    RED = 1
    BLUE = 2

    @property
    def pretty(self):
        return self.name.title()


class Row(typing.NamedTuple):
    key: str
    value: int = FACTOR


class Stack(typing.Generic[T]):
    class Empty(Exception):
        def __init__(self, stack, why):
            super().__init__(why)
            self.items = stack.items

    def __init__(self):
        self.items: list[T] = []

    def push(self, item: T) -> Stack[T]:
        self.items.append(item)
        return self

    def pop(self):
        if not self.items:
            raise self.Empty(self, "nothing left")
        return self.items.pop()


@functools.singledispatch
def describe(thing):
    return "something"


@describe.register
def _(thing: int):
    return f"int {thing * FACTOR}"


class Node:
    count = 0
    root = None

    def __init__(self, value):
        self.value = value
        type(self).count += 1

    def above(self):
        return self.root.value, self.late(), self.count


Node.root = Node("root")
Node.late = lambda self: FACTOR


class Adder:
    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        return x + self.n

    def method(self, x):
        return self(x) * 2


def shapes(square):
    return square.name(), square.area, square.bigger(), Square.unit(), square.sides


def points(p):
    return (
        p,
        p.norm(),
        max(p, Point(9.0)),
        dataclasses.asdict(p),
        Color.RED.pretty,
        Color(2),
        Row("k"),
        Pair(1, p),
    )


def stacks():
    stack = Stack()
    stack.push(1).push("x")
    try:
        Stack().pop()
    except Stack.Empty as err:
        return stack.items, str(err), err.items


def apply(function, *args):
    return function(*args)


def odd_values():
    return [
        2**70,
        -0.0,
        (1, [2, (3,)]),
        {1, 2},
        frozenset("a"),
        {None: 1, 2: b"x"},
        decimal.Decimal("1.10"),
        1 + 2j,
    ]


def chained(n):
    return list(itertools.islice(itertools.chain(range(n), "ab"), 5)), sys.version_info[0]


CASES = {
    "plain": (plain, (1,), {"c": 3, "z": 5, "y": 6}),
    "documented": (documented, (), {}),
    "aliases": (aliases, (16.5,), {}),
    "globals": (uses_globals, (2,), {}),
    "recursive": (factorial, (6,), {}),
    "mutual": (even, (10,), {}),
    "closure": (make_counter(10), (), {}),
    "recursive-closure": (make_recursive(2), (6,), {}),
    "decorated": (decorated, (2,), {"k": 0.5}),
    "cached": (fibonacci, (20,), {}),
    "lambda-0": (pair_of_lambdas[0], (5,), {}),
    "lambda-1": (pair_of_lambdas[1], (5,), {}),
    "lambda-nested": (nested_lambda(1)(2), (3,), {}),
    "lambda-default": (default_lambda, (3,), {}),
    "comprehensions": (comprehensions, (4,), {}),
    "generator": (squares, (4,), {}),
    "async": (later, (3,), {}),
    "statements": (with_everything, ("hi",), {}),
    "match-map": (matched, ({"kind": "circle", "r": 2},), {}),
    "match-list": (matched, ([1, 2, 3],), {}),
    "inside-if": (inside_if, (2,), {}),
    "class": (shapes, (Square(4),), {}),
    "dataclass": (points, (Point(1.0, 2.0, ["t"]),), {}),
    "nested-class": (stacks, (), {}),
    "class-itself": (Square, (3,), {}),
    "partial": (functools.partial(plain, 1, c=2), (7,), {"q": 1}),
    "method": (Adder(3).method, (4,), {}),
    "class-method": (Square.unit, (), {}),
    "unbound": (Adder.method, (Adder(1), 2), {}),
    "instance": (Adder(3), (4,), {}),
    "builtin": (len, ([1, 2],), {}),
    "builtin-module": (m.sqrt, (4.0,), {}),
    "installed": (functools.reduce, (max, [1, 5, 2]), {}),
    "function-argument": (apply, (lambda x: x - FACTOR, 10), {}),
    "single-dispatch": (lambda: (describe(2), describe("x")), (), {}),
    "changed-class": (Node.above, (Node.root,), {}),
    "called-classes": (lambda: (Mode.FAST, Mode(2), Pair(1, right=2)), (), {}),
    "odd-values": (odd_values, (), {}),
    "chained": (chained, (2,), {}),
}


def local_result(name):
    function, args, kwargs = CASES[name]
    if name == "closure":  # calling it changes it
        return 11, 12
    value = function(*args, **kwargs)
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


def pack(folder):
    for name, (function, args, kwargs) in CASES.items():
        (folder / f"{name}.function").write_bytes(serialize.pack_function(function).body)
        (folder / f"{name}.arguments").write_bytes(serialize.pack_arguments(args, kwargs).tobytes())


def check(folder):
    for name in CASES:
        got = serialize.unpack_value((folder / f"{name}.result").read_bytes())
        expected = local_result(name)
        if name == "class-itself":
            assert type(got) is Square
        assert got == expected, (name, got, expected)
        assert type(got) is type(expected), name


if __name__ == "__main__":
    {"pack": pack, "check": check}[sys.argv[1]](Path(sys.argv[2]))
