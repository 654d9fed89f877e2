"""Cells run elsewhere as they would here: value, names, lines, figures."""

import base64
import os
import subprocess
import sys
import textwrap

import pytest

from funcx_lab import serialize
from funcx_lab.errors import CannotDeserialize, MalformedMessage
from funcx_lab.protocol import payload
from funcx_lab.serialize import display
from funcx_lab.serialize.cell import is_silenced

SCALE = 2


class Base:
    def __init__(self, x):
        self.x = x

    def scaled(self):
        return self.x * SCALE


def use_scale(x):
    return x * SCALE


def pack(text, **changes):
    given = {
        "filename": "<ipython-input-3-abc>",
        "first_line": 2,
        "inputs": [],
        "outputs": None,
        "imports": [],
    }
    return serialize.pack_cell(textwrap.dedent(text).strip("\n"), **{**given, **changes})


def run(text, *, inputs=None, outputs=None, imports=(), trusted=True):
    """Pack a cell, run it, and bring its result back, as the magic and the worker do."""
    inputs = inputs or {}
    packed = pack(text, inputs=list(inputs), outputs=outputs, imports=list(imports))
    _, kwargs = serialize.unpack_arguments(serialize.pack_arguments((), inputs).tobytes())
    result = serialize.unpack_function(packed.body, task_id="t")(**kwargs)
    return serialize.unpack_value(serialize.pack_value(result).tobytes(), trusted=trusted)


def test_the_last_expression_is_the_value():
    result = run("x = 3\nx + 1")
    assert (result.value_present, result.value, result.names) == (True, 4, {"x": 3})
    assert result.display == {"text/plain": "4"}


@pytest.mark.parametrize("text", ["x = 1", "1;", "1 ; # silent", "None", "", "# nothing", "for i in []: i"])
def test_without_a_last_expression_there_is_no_value(text):
    result = run(text)
    assert (result.value_present, result.value, result.display) == (False, None, {})


@pytest.mark.parametrize(
    ("text", "silenced"),
    [("a;", True), ("a; b", False), ("';'", False), ("a;\n\n# x;", True), ('"""\n;"""', False), ("(", False)],
)
def test_silence_is_the_last_semicolon_only(text, silenced):
    assert is_silenced(text) is silenced


def test_assigned_names_come_back_and_others_do_not():
    result = run(
        """
        import os
        from math import pi
        a = b, (c, *d) = 1, (2, 3)
        e: int = 5
        given += 1
        _private = 1
        def f(): inner = 1; return given
        class K(Base): pass
        k = K(4)
        with open(os.devnull) as handle: pass
        for i in range(3): pass
        [hidden for hidden in range(3)]
        if (w := 7): pass
        del b
        match [1, 2]:
            case [m, *n]: pass
        """,
        inputs={"given": 1, "Base": Base},
    )
    assert sorted(result.names) == ["K", "a", "c", "d", "e", "f", "given", "i", "k", "m", "n", "w"]
    assert result.names["f"]() == 2
    assert isinstance(result.names["k"], Base)
    assert type(result.names["k"]) is result.names["K"]
    assert list(result.left_out) == ["handle"]
    assert "open file" in result.left_out["handle"]


def test_only_the_wanted_names_come_back():
    result = run("a, b, c = 1, 2, 3", outputs=["b", "missing"])
    assert result.names == {"b": 2}
    assert result.left_out == {"missing": "the cell does not assign it"}
    assert run("a = 1", outputs=[]).names == {}


def test_large_names_come_back_only_when_asked_for():
    text = "big = bytes(2_000_000)"
    assert "2,000,0" in run(text).left_out["big"]
    assert len(run(text, outputs=["big"]).names["big"]) == 2_000_000


def test_a_value_that_cannot_be_sent_is_still_shown():
    result = run("(i for i in range(3))")
    assert result.value_present
    assert result.value is None
    assert "generator" in result.display["text/plain"]
    assert "list of its items" in result.left_out["_"]


def test_functions_that_were_sent_see_the_names_of_the_cell():
    inputs = {"use": use_scale, "thing": Base(1), "Base": Base}
    assert run("use(1), thing.scaled()", inputs=inputs).value == (2, 2)


def test_functions_of_the_notebook_see_what_the_cell_assigns(monkeypatch):
    space = {"__name__": "__main__", "SCALE": 2}
    text = "def use(x):\n    return x * SCALE\n"
    from funcx_lab.serialize import source

    source.register_text("<cell of the test>", text)
    exec(compile(text, "<cell of the test>", "exec"), space)
    result = run("first = use(1)\nSCALE = 10\nfirst, use(1)", inputs={"use": space["use"]})
    assert result.value == (2, 10)


def test_the_cell_is_main_while_it_runs():
    before = sys.modules["__main__"]
    result = run(
        "import pickle\nclass Here: pass\n__name__, type(pickle.loads(pickle.dumps(Here()))) is Here"
    )
    assert result.value == ("__main__", True)
    assert sys.modules["__main__"] is before


def test_two_runs_share_nothing():
    function = serialize.unpack_function(pack("'seen' in globals(), exec('seen = 1')").body, task_id="t")
    assert [function().value[0], function().value[0]] == [False, False]


def test_imports_are_replayed_and_await_works_at_top_level():
    text = "await asyncio.sleep(0)\nx = m.pi\nawait asyncio.sleep(0, x)"
    result = run(text, imports=["import asyncio", "import math as m"])
    assert result.value == result.names["x"] == pytest.approx(3.14159, abs=1e-4)
    with pytest.raises(ModuleNotFoundError):
        run("1", imports=["import no_such_module"])


def test_tracebacks_have_the_notebooks_line_numbers():
    packed = pack("def f():\n    raise KeyError('x')\n\nf()", filename="/tmp/ipykernel_1/1.py")
    with pytest.raises(KeyError) as caught:
        serialize.unpack_function(packed.body, task_id="t")()
    _, info = serialize.pack_exception(caught.value)
    lines = [line.strip() for line in info.traceback.splitlines()]
    assert any(line.endswith("line 5, in <module>") for line in lines)
    assert lines[lines.index("raise KeyError('x')") - 1].endswith("line 3, in f")
    assert "ipykernel" not in info.traceback
    assert "funcx_lab/serialize" not in info.traceback


def test_broken_cells_are_refused_cleanly():
    with pytest.raises(CannotDeserialize, match="line 3"):
        run("x = 1\nx = = 2")
    with pytest.raises(MalformedMessage):
        serialize.unpack_function(payload.pack("cell", [b"\x93\x01"]).tobytes(), task_id="t")


def test_untrusted_results_keep_what_is_plain():
    result = run("a = [1]\nb = {1}\na", trusted=False)
    assert (result.value, result.names) == ([1], {"a": [1]})
    assert "unpickled" in result.left_out["b"]


class Rich:
    def _repr_html_(self):
        return "<b>x</b>"

    def _repr_png_(self):
        return b"\x89PNG"

    def _repr_latex_(self):
        raise RuntimeError("no LaTeX")

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"application/x-own": {"a": 1}}, {}


class Broken:
    def __repr__(self):
        raise RuntimeError("no text")

    def __getattr__(self, name):
        raise RuntimeError("no attributes")


def test_rich_values_are_shown_in_all_their_forms():
    bundle = serialize.mimebundle(Rich())
    assert bundle["text/html"] == "<b>x</b>"
    assert base64.b64decode(bundle["image/png"]) == b"\x89PNG"
    assert bundle["application/x-own"] == {"a": 1}
    assert "text/latex" not in bundle
    assert "Rich object" in bundle["text/plain"]


def test_a_broken_repr_does_not_fail_the_cell():
    assert serialize.mimebundle(Broken()) == {"text/plain": "<Broken whose repr raised RuntimeError>"}
    assert serialize.mimebundle(Rich).keys() == {"text/plain"}
    assert len(serialize.mimebundle("x" * 1_000_000)["text/plain"]) < 200_000


def test_a_display_that_is_not_data_does_not_fail_the_cell():
    result = run("class Odd:\n    def _repr_json_(self): return {'a': {1, 2}, 3: object}\nOdd()")
    assert "text/plain" in result.display


FIGURES = """
import os, sys, json
os.environ["MPLBACKEND"] = sys.argv[1]
from funcx_lab import serialize
text = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.figure(); plt.title('t')"
packed = serialize.pack_cell(text, filename="c", first_line=2, inputs=[], outputs=None, imports=[])
assert serialize.collect_figures() == []
serialize.pack_value(serialize.unpack_function(packed.body, task_id="t")())
figures = serialize.collect_figures()
assert serialize.collect_figures() == []
import matplotlib
kinds = [sorted(figure) for figure in figures]
print(json.dumps([matplotlib.get_backend().lower(), kinds, figures[0]["image/png"][:8]]))
"""


def test_open_figures_become_images_even_if_the_kernels_backend_was_inherited(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FIGURES, "module://matplotlib_inline.backend_inline"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.strip()
        == '["agg", [["image/png", "text/plain"], ["image/png", "text/plain"]], "iVBORw0K"]'
    )


def test_a_chosen_backend_is_kept(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "svg")
    display.prepare_matplotlib()
    assert os.environ["MPLBACKEND"] == "svg"
