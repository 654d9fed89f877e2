import functools
import gc
import threading
import types
import weakref

import pytest

from funcx_lab.errors import UsageError
from funcx_lab.freshness import Snapshot
from funcx_lab.functions import Functions


def notebook(source: str) -> types.SimpleNamespace:
    """Run ``source`` as cells of a notebook would; the names are attributes of the answer."""
    space: dict = {"__name__": "__main__"}
    exec(source, space)
    again = lambda more: exec(more, space)  # noqa: E731
    return types.SimpleNamespace(space=space, run=again, f=space["f"])


def holds(source: str, change: str) -> bool:
    cells = notebook(source)
    snapshot = Snapshot(cells.f)
    assert snapshot.holds()
    cells.run(change)
    return snapshot.holds()


def test_a_function_that_stays_stays() -> None:
    assert holds("import math\nK = 2\ndef g(x): return x\ndef f(x): return g(x) * K + math.pi", "other = 1")


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("K = 2\ndef f(x): return x * K", "K = 3"),
        ("def g(x): return x\ndef f(x): return g(x)", "def g(x): return 2 * x"),
        ("def h(x): return x\ndef g(x): return h(x)\ndef f(x): return g(x)", "def h(x): return 2 * x"),
        ("def f(x): return len([y * K for y in x])\nK = 1\n", "K = 2"),
        ("def f(x=1): return x", "f.__defaults__ = (2,)"),
        ("def f(*, x=1): return x", "f.__kwdefaults__['x'] = 2"),
        ("def f(x): return x", "f.__code__ = (lambda x: 2 * x).__code__"),
        (
            "def make(n):\n    def f(x): return x + n\n    return f\nf = make(1)",
            "f.__closure__[0].cell_contents = 2",
        ),
        ("K = (1, (2, 3))\ndef f(x): return K", "K = (1, (2, 4))"),
        ("def f(n): return n and f(n - 1)\nkeep = f", "def f(n): return 0"),
    ],
)
def test_a_change_is_noticed(source, change) -> None:
    assert not holds(source, change)


@pytest.mark.parametrize(
    "source",
    [
        "table = {}\ndef f(x): return table[x]",
        "class C: pass\ndef f(x): return C()",
        "def make(n):\n    def f(x): return n\n    return f\nf = make([1])",
        "def f(x, y=[]): return y",
    ],
)
def test_what_may_change_inside_is_packed_each_time(source) -> None:
    assert not Snapshot(notebook(source).f).lasting


@pytest.mark.parametrize("function", [len, threading.active_count, "".join])
def test_installed_functions_are_compared_by_name(function) -> None:
    assert Snapshot(function).holds()


@pytest.mark.parametrize("thing", [functools.partial(print, 1), threading.Event().set, print.__call__])
def test_objects_that_can_be_called_are_packed_each_time(thing) -> None:
    assert not Snapshot(thing).lasting


def test_a_recursive_function_can_be_collected() -> None:
    cells = notebook("def f(n): return n and f(n - 1)")
    snapshot, gone = Snapshot(cells.f), weakref.ref(cells.f)
    cells.space.clear()
    del cells
    gc.collect()
    assert gone() is None
    assert not snapshot.holds()


@pytest.fixture
def functions(client) -> Functions:
    return client.connection.functions


def test_registered_once(standin, functions) -> None:
    def double(x):
        return 2 * x

    assert len({functions.find(double) for _ in range(5)}) == 1
    assert standin.posts == 1


def test_the_same_content_is_registered_once(standin, functions) -> None:
    made = []
    for _ in range(3):

        def double(x):
            return 2 * x

        made.append(functions.find(double))
    assert len(set(made)) == 1
    assert standin.posts == 1


def test_a_changed_helper_is_registered_anew(standin, functions) -> None:
    factor = 2

    def scale(x):
        return factor * x

    first = functions.find(scale)
    factor = 3
    assert functions.find(scale) != first
    assert standin.posts == 2


def test_forgotten_when_the_service_does_not_know_it(standin, functions) -> None:
    def double(x):
        return 2 * x

    functions.find(double)
    functions.forget()
    functions.find(double)
    assert standin.posts == 2


@pytest.mark.parametrize("thing", [3, "function-id", None])
def test_what_cannot_be_called_is_refused(functions, thing) -> None:
    with pytest.raises(UsageError, match="not a function"):
        functions.find(thing)


def test_many_threads_register_once(standin, functions) -> None:
    def double(x):
        return 2 * x

    threads = [threading.Thread(target=functions.find, args=(double,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert standin.posts == 1
