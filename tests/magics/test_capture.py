"""What of the notebook travels with a cell, and what is refused before anything is sent."""

from __future__ import annotations

import json
import math
import os.path
import sys
import types
import xml.etree.ElementTree as Tree
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funcx_lab.errors import CannotSerialize, UsageError
from funcx_lab.looks import format_bytes
from funcx_lab_magics.cell.capture import (
    LIMIT_BYTES,
    Capture,
    Cell,
    Request,
    capture,
    import_statement,
    payload_size,
)
from funcx_lab_magics.cell.names import read_names


def measure(value: object) -> int:
    if hasattr(value, "refuse"):
        raise CannotSerialize("It holds an open socket.")
    return getattr(value, "size", 100)


class Sized:
    def __init__(self, size: int) -> None:
        self.size = size


class Socket:
    refuse = True


def take(source: str, namespace: dict[str, Any], **options: Any) -> Capture:
    request = Request("cluster", **options)
    return capture(Cell(source), read_names(source), namespace, request, measure)


def in_main(source: str, name: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(source, namespace)
    return namespace[name]


@pytest.mark.parametrize(
    ("name", "value", "statement"),
    [
        ("math", math, "import math"),
        ("np", np, "import numpy as np"),
        ("Tree", Tree, "import xml.etree.ElementTree as Tree"),
        ("sqrt", math.sqrt, "from math import sqrt"),
        ("load", json.loads, "from json import loads as load"),
        ("OrderedDict", OrderedDict, "from collections import OrderedDict"),
        ("pi", math.pi, None),
        ("made", types.ModuleType("made_here"), None),
        ("main", sys.modules["__main__"], None),
        ("f", in_main("def f(): pass", "f"), None),
        ("C", in_main("class C: pass", "C"), None),
        ("inner", (lambda: lambda: 1)(), None),
    ],
)
def test_what_becomes_an_import(name: str, value: object, statement: str | None) -> None:
    assert import_statement(name, value) == statement


def test_modules_are_replayed_and_values_are_sent() -> None:
    f = in_main("def f(): pass", "f")
    found = take("np.mean(f(x))", {"np": np, "f": f, "x": [1], "unused": 2})
    assert found.imports == ["import numpy as np"]
    assert found.imported == ["np"]
    assert found.values == {"f": f, "x": [1]}
    assert found.functions == ["f"]
    assert found.sizes == {"x": 100}


def test_submodules_that_are_reached_by_dots_are_imported() -> None:
    found = take("os.path.join(a)", {"os": os, "a": "x"})
    assert found.imports[0] == "import os"
    import xml

    assert "import xml.etree" in take("xml.etree.ElementTree", {"xml": xml}).imports


@pytest.mark.parametrize("cell", ["y = 1\nz = nowhere + y", "def f():\n    return nowhere\nf()"])
def test_an_undefined_name_is_refused_with_its_line(cell: str) -> None:
    with pytest.raises(UsageError, match=r"(?s)'nowhere' is not defined.*line 3:.*-x nowhere"):
        take(cell, {})


def test_an_undefined_name_may_be_excluded() -> None:
    assert take("nowhere + 1", {}, exclude=["nowhere"]).values == {}


def test_a_name_that_may_not_be_needed_is_not_missed() -> None:
    assert take("if 1:\n    x = 2\nx\ntry:\n    y\nexcept NameError:\n    pass", {}).values == {}


def test_what_an_earlier_cell_imported_is_replayed() -> None:
    earlier = {"np": ["import numpy as np"], "x": ["import x"], "os": ["import os", "import os.path"]}
    found = take("np.mean(x)\nos.path", {"x": 1}, imports=earlier)
    assert found.imports == ["import numpy as np", "import os", "import os.path"]
    assert found.imported == ["np", "os"]
    assert found.values == {"x": 1}
    assert take("np.mean(1)", {}, imports=earlier, exclude=["np"]).imports == []


def test_builtins_need_nothing_unless_they_are_overshadowed() -> None:
    assert take("sum(print(__name__))", {"__name__": "__main__"}).values == {}
    assert take("sum(1)", {"sum": 5}).values == {"sum": 5}


def test_ipython_itself_is_refused() -> None:
    with pytest.raises(UsageError, match=r"(?s)IPython.*line 2:  get_ipython\(\)"):
        take("get_ipython()", {})


def test_a_name_that_cannot_be_sent_is_refused_with_line_and_remedy() -> None:
    with pytest.raises(CannotSerialize) as caught:
        take("a = 1\nread(engine)", {"engine": Socket(), "read": 1})
    message = str(caught.value)
    assert "`engine`" in message
    assert "line 3:  read(engine)" in message
    assert "It holds an open socket." in message
    assert "-x engine" in message
    assert caught.value.details["name"] == "engine"


def test_an_optional_name_that_cannot_be_sent_stays_here() -> None:
    assert take("if 1:\n    engine = 2\nengine", {"engine": Socket()}).values == {}


def test_include_sends_only_those_and_modules() -> None:
    found = take("np.f(a, b)", {"np": np, "a": 1, "b": 2, "c": 3}, include=["b", "c"])
    assert list(found.values) == ["b", "c"]
    assert found.imported == ["np"]


def test_include_of_an_undefined_name_is_refused() -> None:
    with pytest.raises(UsageError, match="-i names 'ghost'"):
        take("1", {}, include=["ghost"])


def test_a_large_name_is_refused_with_all_sizes() -> None:
    names = {"df": Sized(812_000_000), "cfg": Sized(1_200), "grid": Sized(LIMIT_BYTES)}
    with pytest.raises(UsageError) as caught:
        take("df, cfg, grid", names)
    message = str(caught.value)
    assert "`df` and `grid`" in message
    assert "df 812 MB, grid 10 MB, cfg 1.2 kB" in message
    assert "-i df,grid,cfg" in message


def test_a_name_worth_a_hint() -> None:
    df = Sized(2_000_000)
    assert take("df", {"df": df}).large == ["df"]
    assert take("df", {"df": df}, include=["df"]).large == []


def test_a_large_name_goes_when_it_is_asked_for() -> None:
    big = Sized(LIMIT_BYTES)
    assert take("df", {"df": big}, include=["df"]).values == {"df": big}


def test_a_large_name_that_the_cell_may_make_itself_is_left_out() -> None:
    found = take("for i in [1]:\n    df = i\ndf", {"df": Sized(LIMIT_BYTES)})
    assert found.values == {}
    assert found.left_out == {"df": LIMIT_BYTES}


def test_an_array_has_its_own_size() -> None:
    assert 8000 <= payload_size(np.zeros(1000)) < 8100


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1200, "1.2 kB"),
        (15_400, "15 kB"),
        (3_200_000, "3.2 MB"),
        (2 * 10**12, "2000 GB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert format_bytes(size) == text


def test_a_module_beside_the_notebook_is_sent_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_nb.py").write_text("K = 2\nUNUSED = open\ndef scale(x):\n    return K * x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import beside_nb  # type: ignore[import-not-found]  # written above

    found = take("beside_nb.scale(beside_nb.K)\nbeside_nb.missing", {"beside_nb": beside_nb})
    assert found.imports == []
    assert vars(found.values["beside_nb"]) == {"K": 2, "scale": beside_nb.scale}
    assert take("scale(1)", {"scale": beside_nb.scale}).functions == ["scale"]
    monkeypatch.chdir("/")
    assert take("beside_nb.scale(1)", {"beside_nb": beside_nb}).imports == ["import beside_nb"]
