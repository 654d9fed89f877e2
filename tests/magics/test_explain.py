"""``%funcx explain``: what became of each name of the last cell, and why."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from IPython.core.error import UsageError


def fates(notebook: Any) -> dict[tuple[str, str], list[str]]:
    table = notebook.good("%funcx explain").result
    return {(row[0], row[1]): row[2:] for row in table.rows}


def test_what_was_sent_and_what_comes_back(notebook: Any) -> None:
    notebook.good("import math\ndata = list(range(100))\ntotal = 0\ndef double(x):\n    return 2 * x")
    notebook.good("%%funcx\nimport os\ntotal = double(sum(data))\n_hidden = math.pi\ndata[0] = 1")
    found = fates(notebook)
    assert found["data", "sent"][1:] == ["the cell reads it", "line 3:  total = double(sum(data))"]
    assert found["data", "sent"][0].endswith("B")
    assert found["double", "function sent"][2] == "line 3:  total = double(sum(data))"
    assert found["math", "imported there"][1] == "import math"
    assert found["total", "comes back"][1] == "if it has at most 1 MiB; replaces the value here"
    assert found["_hidden", "stays there"][1] == "its name begins with _"
    assert "imported by the cell" in found["os", "stays there"][1]
    assert found["data", "changes only there"][1] == "-o data brings it back"
    assert ("sum", "sent") not in found


def test_what_was_left_out_and_why(notebook: Any) -> None:
    notebook.good("a = 1\nb = 2\nbig = bytes(11_000_000)")
    notebook.good("%%funcx -x a\ntry:\n    a, big, c\nexcept NameError:\n    a = 3")
    found = fates(notebook)
    assert found["a", "left out"][1] == "-x names it"
    assert "-i names it" in found["big", "left out"][1]
    assert found["big", "left out"][0] == "11 MB"
    assert found["c", "not sent"][1] == "no value here; the cell may give it one first"
    notebook.good("%%funcx -i a -o none\ntry:\n    b + a\nexcept NameError:\n    d = 3")
    found = fates(notebook)
    assert found["b", "left out"][1] == "-i does not name it"
    assert found["d", "stays there"][1] == "-o none"


def test_items_sessions_and_scripts(notebook: Any) -> None:
    notebook.good("xs = [1, 2]\nk = 3")
    notebook.run("%%funcx --map xs --dry-run\nxs + k")
    table = notebook.good("%funcx explain").result
    assert table.caption.endswith("for local (dry run: nothing was sent)")
    assert fates(notebook)["xs", "one item a run"][1] == "--map names it"
    notebook.good("%%funcx --session warm\nmodel = k")
    assert fates(notebook)["model", "stays there"][1] == "in session warm; -o brings it back"
    notebook.good("%%funcx --session warm\nmodel + k")
    assert "an earlier cell of it left it there" in fates(notebook)["model", "in the session"][1]
    notebook.good("%%funcx --shell -i k\necho $k")
    assert fates(notebook)["k", "sent"][1] == "-i names it"


def test_a_refused_cell_says_which_name_was_in_the_way(notebook: Any) -> None:
    notebook.shell.user_ns.update(lock=threading.Lock(), good=5)
    notebook.run("%%funcx\nx = good\nwith lock:\n    y = nowhere")
    table = notebook.good("%funcx explain").result
    assert table.caption.endswith("for local (refused: nothing was sent)")
    found = {row[0]: row for row in table.rows}
    assert found["good"][1] == "not sent"
    assert found["lock"][1] == "cannot be sent"
    assert "a lock belongs to one process" in found["lock"][3]
    assert found["nowhere"][3:] == ["not defined here", "line 4:  y = nowhere"]
    assert "x" not in found


def test_a_value_is_refused_for_its_innermost_part(notebook: Any) -> None:
    notebook.shell.user_ns["deep"] = {"models": [1, {"guard": threading.Lock()}]}
    facts = dict(notebook.good("%funcx explain deep").result.rows)
    assert facts["travels"] == "no"
    assert facts["why"].startswith("deep['models'][1]['guard'] is a lock: a lock belongs to one process")
    assert "-x deep" in facts["try"]


def test_a_value_that_is_refused_itself_is_not_taken_apart(notebook: Any) -> None:
    notebook.shell.user_ns["workers"] = [threading.Thread()]
    facts = dict(notebook.good("%funcx explain workers").result.rows)
    assert facts["why"].startswith("workers[0] is a Thread: a thread belongs to one process")


def test_a_function_is_refused_for_what_it_uses(notebook: Any) -> None:
    notebook.good("import threading\nguard = threading.Lock()\ndef f():\n    with guard:\n        return 1")
    facts = dict(notebook.good("%funcx explain f").result.rows)
    assert "uses `guard` at line 4" in facts["why"]


@pytest.mark.parametrize(
    ("name", "fact", "text"),
    [
        ("data", "size", "1.0 MB"),
        ("data", "travels", "by value"),
        ("huge", "travels", "by value; from 10 MB only when -i names it"),
        ("np", "travels", "as a statement: import numpy as np"),
        ("f", "travels", "as source, with what it uses"),
    ],
)
def test_one_name(notebook: Any, name: str, fact: str, text: str) -> None:
    notebook.good(
        "import numpy as np\ndata = bytes(1_000_000)\nhuge = bytes(20_000_000)\ndef f():\n    return 1"
    )
    assert dict(notebook.good(f"%funcx explain {name}").result.rows)[fact] == text


def test_one_name_in_the_last_cell(notebook: Any) -> None:
    notebook.good("data = 5")
    notebook.good("%%funcx\ndata + 1")
    facts = dict(notebook.good("%funcx explain data").result.rows)
    assert facts["last cell"] == "sent: the cell reads it (line 2:  data + 1)"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "no %%funcx cell was read yet"),
        ("nowhere", "there is no name 'nowhere'"),
        ("1x", "is not a name"),
    ],
)
def test_nothing_to_explain(notebook: Any, line: str, text: str) -> None:
    ran = notebook.run(f"%funcx explain {line}")
    assert isinstance(ran.error, UsageError)
    assert text in ran.stderr


def test_a_remote_function_is_a_function(notebook: Any) -> None:
    notebook.good("import funcx_lab\n@funcx_lab.function(endpoint='cluster')\ndef half(x):\n    return x / 2")
    ran = notebook.good("%%funcx\nhalf(4)")
    assert ran.result == 2
    assert ran.manifest == "→ local · sends half()"
    assert fates(notebook)["half", "function sent"][1] == "with the names that it uses"
    facts = dict(notebook.good("%funcx explain half").result.rows)
    assert facts["travels"] == "as source, with what it uses"
